//! E1: errors say what failed, where, and whether trying again may help.

use bytes::Bytes;

use crate::conformance::sample::{self, CUTOFF, STALE};
use crate::conformance::{CaseResult, TestContext};
use crate::{
    Capability, DataRecord, DownloadsRecord, Error, ErrorKind, ExportScope, Operation, PeerRecord,
    PeerStorageExt, Result, Role, SwarmOrder,
};

pub(super) async fn an_absent_peer_is_named(test: &TestContext) -> CaseResult {
    let deleted = test.storage().delete_seeder(&test.info_hash(), &sample::peer(1)).await;
    let did = "delete an absent seeder";
    let error = test.fails(did, Operation::DeletePeer, ErrorKind::NotFound, deleted)?;
    names_its_origin(test, did, Operation::DeletePeer, &error)
}

fn names_its_origin(test: &TestContext, did: &str, operation: Operation, error: &Error) -> CaseResult {
    let did = format!("{did}: backend and operation of the error, and whether to try again");
    let expected = (test.storage().name(), operation, false);
    test.equal(&did, operation, expected, (error.backend(), error.operation(), error.is_retryable()))
}

pub(super) async fn a_closed_storage_is_named(test: &TestContext) -> CaseResult {
    let handle = test.handle_to_close().await?;
    test.ok("close the storage", handle.close().await)?;
    let scraped = handle.scrape_swarm(&test.info_hash()).await;
    let did = "scrape a closed storage";
    let error = test.fails(did, Operation::ScrapeSwarm, ErrorKind::Closed, scraped)?;
    names_its_origin(test, did, Operation::ScrapeSwarm, &error)
}

pub(super) async fn what_is_lacking_is_named(test: &TestContext) -> CaseResult {
    let mut called = 0;
    for (capability, _) in test.storage().missing_capabilities().iter() {
        if let Some((operation, result)) = call_for(test, capability).await? {
            called += 1;
            let did = format!("call {operation}, for which the storage says it lacks `{capability}`");
            test.fails(&did, operation, ErrorKind::Unsupported(capability), result)?;
        }
    }
    test.skip_unless(called > 0, "the storage lacks nothing that can be called for")
}

/// Calls for a capability; `None` if it is no call by itself.
async fn call_for(test: &TestContext, capability: Capability) -> CaseResult<Option<(Operation, Result<()>)>> {
    let (storage, info_hash) = (test.storage(), test.info_hash());
    Ok(Some(match capability {
        Capability::GarbageCollection => {
            (Operation::CollectGarbage, storage.collect_garbage(CUTOFF).await.map(drop))
        }
        Capability::Statistics => (Operation::Statistics, storage.statistics().await.map(drop)),
        Capability::ListSwarms => {
            (Operation::ListSwarms, storage.list_swarms(SwarmOrder::Peers, None, 1).await.map(drop))
        }
        Capability::ExportPeers => {
            let exported = storage.export_peers(ExportScope::Swarm(info_hash), None, 1).await;
            (Operation::ExportPeers, exported.map(drop))
        }
        Capability::ExportDownloads => {
            (Operation::ExportDownloads, storage.export_downloads(None, 1).await.map(drop))
        }
        Capability::ExportData => (Operation::ExportData, storage.export_data(None, 1).await.map(drop)),
        Capability::ImportPeers => {
            let record =
                PeerRecord { info_hash, peer: sample::peer(1), role: Role::Leecher, announced: STALE };
            (Operation::ImportPeers, storage.import_peers(&[record]).await.map(drop))
        }
        Capability::ImportDownloads => {
            let record = DownloadsRecord { info_hash, downloads: 1 };
            (Operation::ImportDownloads, storage.import_downloads(&[record]).await.map(drop))
        }
        Capability::ImportData => {
            let (context, key) = (test.context()?, Bytes::from_static(b"key"));
            test.adopt_data(&context, [key.clone()]);
            let record = DataRecord { context, key: key.clone(), value: key };
            (Operation::ImportData, storage.import_data(&[record]).await.map(drop))
        }
        Capability::Downloads
        | Capability::AtomicMove
        | Capability::AtomicGraduation
        | Capability::ExactDownloads
        | Capability::AtomicWrites
        | Capability::ForgetDownloads => return Ok(None),
    }))
}

pub(super) async fn no_value_is_repeated(test: &TestContext) -> CaseResult {
    const SECRET: &str = "hunter2-correct-horse";
    let handle = test.handle_to_close().await?;
    test.ok("close the storage", handle.close().await)?;
    let (context, key) = (test.context()?, Bytes::from_static(b"key"));
    test.adopt_data(&context, [key.clone()]);
    let put = handle.put_data(&context, &[(key, Bytes::from_static(SECRET.as_bytes()))]).await;
    let did = "put a value into a closed storage";
    let error = test.fails(did, Operation::PutData, ErrorKind::Closed, put)?;
    let text = format!("{error} {error:?}");
    let repeats = text.contains(SECRET) || text.contains(&hex::encode(SECRET));
    test.holds(did, Operation::PutData, "an error that does not repeat the value", !repeats, "it does")
}

pub(super) async fn a_number_too_large_is_kept_or_refused(test: &TestContext) -> CaseResult {
    let (info_hash, downloads) = (test.info_hash(), u64::MAX);
    let did = "import the greatest number of downloads";
    match test.storage().import_downloads(&[DownloadsRecord { info_hash, downloads }]).await {
        Err(error) if error.kind() == ErrorKind::Rejected => {
            test.downloads(&format!("{did}, which is refused"), Operation::ImportDownloads, &info_hash, 0)
                .await
        }
        result => {
            test.ok(did, result)?;
            test.downloads(did, Operation::ImportDownloads, &info_hash, downloads).await
        }
    }
}
