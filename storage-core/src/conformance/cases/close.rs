//! L1: closing.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::conformance::sample::{self, CUTOFF, STALE};
use crate::conformance::{CaseResult, TestContext};
use crate::{
    AddressFamily, Announce, Context, DataRecord, DownloadsRecord, ErrorKind, ExportScope, InfoHash,
    Operation, PeerChange, PeerRecord, PeerStorageExt, PeerWrite, Result, Role, Storage, SwarmOrder,
};

pub(super) async fn closing_twice_is_no_error(test: &TestContext) -> CaseResult {
    let handle = test.handle_to_close().await?;
    test.ok("close the storage", handle.close().await)?;
    test.ok("close the storage again", handle.close().await)
}

pub(super) async fn every_later_call_is_closed(test: &TestContext) -> CaseResult {
    let handle = test.handle_to_close().await?;
    test.ok("close the storage", handle.close().await)?;
    let (info_hash, context) = (test.info_hash(), test.context()?);
    test.adopt_data(&context, [Bytes::from_static(b"key")]);
    for (operation, result) in every_call(&*handle, info_hash, &context).await {
        test.fails(&format!("close, then {operation}"), operation, ErrorKind::Closed, result)?;
    }
    Ok(())
}

/// The result of every call that a storage has, except close.
async fn every_call(
    storage: &dyn Storage,
    info_hash: InfoHash,
    context: &Context,
) -> Vec<(Operation, Result<()>)> {
    let (peer, key) = (sample::peer(1), Bytes::from_static(b"key"));
    let keys = [key.clone()];
    let record = PeerRecord { info_hash, peer, role: Role::Leecher, announced: STALE };
    let data = DataRecord { context: context.clone(), key: key.clone(), value: key.clone() };
    let downloads = DownloadsRecord { info_hash, downloads: 1 };
    let announce = sample::for_leecher(info_hash, 9);
    let whole =
        Announce::new(info_hash, [peer]).with_num_want(9).with_families(&AddressFamily::BOTH).at(STALE);
    let write = PeerWrite { info_hash, peer, change: PeerChange::Touch, announced: STALE };
    let entries = [(key.clone(), key.clone())];
    let mut calls = vec![
        (Operation::Ping, storage.ping().await),
        (Operation::Diagnostics, storage.diagnostics().await.map(drop)),
        (Operation::PutPeer, storage.put_leecher(&info_hash, &peer).await),
        (Operation::DeletePeer, storage.delete_leecher(&info_hash, &peer).await),
        (Operation::GraduatePeers, storage.graduate_leecher(&info_hash, &peer).await.map(drop)),
        (Operation::RemovePeer, storage.remove_peer(&info_hash, &peer).await),
        (Operation::AnnouncePeers, storage.announce_peers(&announce).await.map(drop)),
        (Operation::ScrapeSwarm, storage.scrape_swarm(&info_hash).await.map(drop)),
        (Operation::ScrapeSwarms, storage.scrape_swarms(&[info_hash]).await.map(drop)),
        (Operation::Announce, storage.announce(&whole).await.map(drop)),
        (
            Operation::WritePeers,
            storage.write_peers(&[write]).await.into_iter().collect::<Result<Vec<_>>>().map(drop),
        ),
        (Operation::FindPeer, storage.find_peer(&info_hash, &peer).await.map(drop)),
        (Operation::ReadSwarms, storage.read_swarms(&[info_hash], 1).await.map(drop)),
        (Operation::PutData, storage.put_data(context, &entries).await),
        (Operation::LoadData, storage.load_data(context, &key).await.map(drop)),
        (Operation::ContainsData, storage.contains_data(context, &keys).await.map(drop)),
        (Operation::DeleteData, storage.delete_data(context, &keys).await),
        (Operation::CollectGarbage, storage.collect_garbage(CUTOFF).await.map(drop)),
        (Operation::Statistics, storage.statistics().await.map(drop)),
        (Operation::ListSwarms, storage.list_swarms(SwarmOrder::Peers, None, 1).await.map(drop)),
        (Operation::ForgetSwarm, storage.forget_swarm(&info_hash).await.map(drop)),
        (
            Operation::ExportPeers,
            storage.export_peers(ExportScope::Swarm(info_hash), None, 1).await.map(drop),
        ),
        (Operation::ExportDownloads, storage.export_downloads(None, 1).await.map(drop)),
        (Operation::ExportData, storage.export_data(None, 1).await.map(drop)),
        (Operation::ImportPeers, storage.import_peers(&[record]).await.map(drop)),
        (Operation::ImportDownloads, storage.import_downloads(&[downloads]).await.map(drop)),
        (Operation::ImportData, storage.import_data(&[data]).await.map(drop)),
    ];
    let checked = storage.check_query_scope().await;
    // A storage that never has anything to check need not notice that it is closed.
    if !checked.as_ref().is_ok_and(Vec::is_empty) {
        calls.push((Operation::CheckQueryScope, checked.map(drop)));
    }
    let checked = storage.check_counts().await;
    if !checked.as_ref().is_ok_and(Option::is_none) {
        calls.push((Operation::CheckCounts, checked.map(drop)));
    }
    calls
}

pub(super) async fn closing_waits_for_running_work(test: &TestContext) -> CaseResult {
    const WRITERS: u32 = 16;
    let (info_hash, handle) = (test.info_hash(), test.handle_to_close().await?);
    let calls = (0..=WRITERS).map(|writer| -> BoxFuture<'static, Result<u64>> {
        let handle = Arc::clone(&handle);
        if writer == WRITERS {
            return Box::pin(async move { close_soon(&*handle).await.map(|()| 0) });
        }
        Box::pin(
            async move { put_until_closed(&*handle, &info_hash, writer * 100..writer * 100 + 100).await },
        )
    });
    let did = "put seeders in 16 tasks and close the node meanwhile";
    let acknowledged: u64 = test.all_ok(did, test.at_once(calls).await?)?.iter().sum();
    if test.is_private() {
        return Ok(());
    }
    let did = format!("{did}: {acknowledged} puts succeeded, the others found it closed; scrape on another");
    test.counts(&did, Operation::Close, &info_hash, acknowledged, 0).await
}

async fn close_soon(storage: &dyn Storage) -> Result<()> {
    for _ in 0..3 {
        storage.ping().await?;
        tokio::task::yield_now().await;
    }
    storage.close().await
}

/// Puts seeders one after another; gives how many were acknowledged before the storage was closed.
async fn put_until_closed(storage: &dyn Storage, info_hash: &InfoHash, numbers: Range<u32>) -> Result<u64> {
    let mut acknowledged = 0;
    for number in numbers {
        match storage.put_seeder(info_hash, &sample::peer(number)).await {
            Err(error) if error.kind() == ErrorKind::Closed => break,
            result => result?,
        }
        acknowledged += 1;
    }
    Ok(acknowledged)
}

pub(super) async fn closing_a_node_leaves_others_open(test: &TestContext) -> CaseResult {
    test.only_if_shared()?;
    let (info_hash, handle) = (test.info_hash(), test.handle_to_close().await?);
    test.ok("put a seeder", handle.put_seeder(&info_hash, &sample::peer(1)).await)?;
    test.ok("close the node", handle.close().await)?;
    let did = "put a seeder on one node, close that node, scrape on another";
    test.counts(did, Operation::Close, &info_hash, 1, 0).await
}
