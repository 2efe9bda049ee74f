//! T1: export and import of peers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::conformance::sample::{self, CUTOFF, STALE, ago};
use crate::conformance::{CaseError, CaseResult, TestContext, Violation};
use crate::{
    Capability, Cursor, ExportScope, Imported, InfoHash, Operation, Page, PeerRecord, PeerStorageExt, Result,
    Role, Timestamp,
};

pub(super) const PEERS_BOTH_WAYS: &[Capability] = &[Capability::ExportPeers, Capability::ImportPeers];

const EXPORT: Operation = Operation::ExportPeers;
const IMPORT: Operation = Operation::ImportPeers;

/// The pages of an export; `fetch` gets the one that begins at a cursor.
pub(super) async fn pages<T, F>(
    test: &TestContext,
    did: &str,
    mut fetch: impl FnMut(Option<Cursor>) -> F,
) -> CaseResult<Vec<Vec<T>>>
where
    F: Future<Output = Result<Page<T>>>,
{
    let mut pages = Vec::new();
    let mut from: Option<Cursor> = None;
    loop {
        let page = test.ok(did, fetch(from.clone()).await)?;
        pages.push(page.records);
        match page.next {
            None => return Ok(pages),
            next if next == from => {
                let expected = "each page leads to another one, or is the last";
                return Err(CaseError::Failed(Violation::new(did, expected, "a page that leads to itself")));
            }
            next => from = next,
        }
    }
}

/// How often each of these records is in these pages, if not once.
pub(super) fn not_once<T: Ord>(
    records: impl IntoIterator<Item = T>,
    pages: Vec<Vec<T>>,
) -> BTreeMap<T, usize> {
    let mut times: BTreeMap<_, _> = records.into_iter().map(|record| (record, 0)).collect();
    for record in pages.into_iter().flatten() {
        times.entry(record).and_modify(|times| *times += 1);
    }
    times.retain(|_, times| *times != 1);
    times
}

/// A page of a swarm.
async fn page(
    test: &TestContext,
    info_hash: InfoHash,
    from: Option<Cursor>,
    limit: usize,
) -> Result<Page<PeerRecord>> {
    test.storage().export_peers(ExportScope::Swarm(info_hash), from.as_ref(), limit).await
}

/// A swarm's peers, sorted, duplicates kept.
async fn exported(test: &TestContext, info_hash: InfoHash, limit: usize) -> CaseResult<Vec<PeerRecord>> {
    let did = format!("export a swarm in pages of {limit}");
    let pages = pages(test, &did, |from| page(test, info_hash, from, limit)).await?;
    let mut records: Vec<_> = pages.into_iter().flatten().collect();
    records.sort();
    Ok(records)
}

/// Records of a new swarm: both roles, both families, each at a time of its own.
fn records(info_hash: InfoHash, count: u32) -> Vec<PeerRecord> {
    let begun = ago(60);
    let mut records: Vec<_> = (0..count)
        .map(|number| PeerRecord {
            info_hash,
            peer: if number % 3 == 0 { sample::peer_v6(number) } else { sample::peer(number) },
            role: Role::from_is_seeder(number % 2 == 0),
            announced: begun.after(Duration::from_micros(1_000_001) * (number % 30)),
        })
        .collect();
    records.sort();
    records
}

async fn put_records(test: &TestContext, records: &[PeerRecord]) -> CaseResult {
    for record in records {
        test.put_at(&record.info_hash, &record.peer, record.role, record.announced).await?;
    }
    Ok(())
}

async fn import(test: &TestContext, records: &[PeerRecord]) -> CaseResult<Imported> {
    let imported = test.storage().import_peers(records).await;
    test.ok(&format!("import {} peers", records.len()), imported)
}

pub(super) async fn export_gives_peers_as_they_were_put(test: &TestContext) -> CaseResult {
    let put = records(test.info_hash(), 12);
    put_records(test, &put).await?;
    let found = exported(test, put[0].info_hash, 100).await?;
    test.equal("put 12 peers of both roles and families, export the swarm", EXPORT, put, found)
}

pub(super) async fn pages_give_every_peer_once(test: &TestContext) -> CaseResult {
    let put = records(test.info_hash(), 30);
    put_records(test, &put).await?;
    for limit in [1, 7, 30] {
        let found = exported(test, put[0].info_hash, limit).await?;
        let did = format!("put 30 peers, export the swarm in pages of {limit}");
        test.equal(&did, EXPORT, put.clone(), found)?;
    }
    Ok(())
}

pub(super) async fn a_large_swarm_comes_in_pages(test: &TestContext) -> CaseResult {
    const LIMIT: usize = 200;
    let put = records(test.info_hash(), 3_000);
    for batch in put.chunks(500) {
        import(test, batch).await?;
    }
    let did = "export a swarm of 3,000 peers in pages of about 200";
    let pages = pages(test, did, |from| page(test, put[0].info_hash, from, LIMIT)).await?;
    let largest = pages.iter().map(Vec::len).max();
    let found: BTreeSet<_> = pages.into_iter().flatten().collect();
    test.equal(&format!("{did}: different peers"), EXPORT, put.len(), found.len())?;
    let is_small = largest <= Some(4 * LIMIT);
    test.holds(&format!("{did}: the largest page"), EXPORT, "at most 800 peers", is_small, largest)
}

pub(super) async fn a_swarm_is_exported_alone(test: &TestContext) -> CaseResult {
    let (short, long) = test.twin_info_hashes();
    put_records(test, &records(short, 3)).await?;
    let put = records(long, 5);
    put_records(test, &put).await?;
    let did = "export a v2 swarm beside the v1 swarm whose hash its own begins with";
    test.equal(did, EXPORT, put, exported(test, long, 2).await?)?;
    let found = exported(test, test.info_hash(), 2).await?;
    test.equal("export a swarm that is not known", EXPORT, Vec::new(), found)
}

pub(super) async fn writes_between_pages_hide_no_peer(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let put = records(info_hash, 24);
    put_records(test, &put).await?;
    let (leaving, staying) = put.split_at(8);
    let mut leaving = leaving.iter().copied();
    let mut newcomers = (100..).map(sample::peer);
    let fetch = |from| {
        let (leaver, newcomer) = (leaving.next(), newcomers.next());
        async move {
            if let (Some(leaver), Some(newcomer)) = (leaver, newcomer) {
                test.storage().delete_peer(&info_hash, &leaver.peer, leaver.role).await?;
                test.storage().put_leecher(&info_hash, &newcomer).await?;
            }
            page(test, info_hash, from, 3).await
        }
    };
    let did = "export a swarm while peers come and go between the pages: peers missed that stayed";
    let found: BTreeSet<_> = pages(test, did, fetch).await?.into_iter().flatten().collect();
    let missed: Vec<_> = staying.iter().filter(|record| !found.contains(record)).copied().collect();
    test.equal(did, EXPORT, Vec::new(), missed)
}

pub(super) async fn export_of_all_gives_every_peer_once(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let (short, long) = test.twin_info_hashes();
    let put = [records(short, 12), records(long, 12), records(test.info_hash(), 12)].concat();
    put_records(test, &put).await?;
    let did = "put 36 peers into three swarms, export everything in pages of 7: how often each came";
    let fetch = |from: Option<Cursor>| async move {
        test.storage().export_peers(ExportScope::All, from.as_ref(), 7).await
    };
    let found = not_once(put, pages(test, did, fetch).await?);
    test.equal(&format!("{did}, if not once"), EXPORT, BTreeMap::new(), found)
}

pub(super) async fn peers_come_in_with_roles(test: &TestContext) -> CaseResult {
    let records = records(test.info_hash(), 12);
    let imported = import(test, &records).await?;
    let did = "import 6 seeders and 6 leechers";
    test.equal(did, IMPORT, Imported { written: 12, kept: 0 }, imported)?;
    test.counts(did, IMPORT, &records[0].info_hash, 6, 6).await
}

pub(super) async fn what_came_in_goes_out_the_same(test: &TestContext) -> CaseResult {
    let (short, long) = test.twin_info_hashes();
    let (first, second) = (records(short, 12), records(long, 12));
    import(test, &[first.as_slice(), &second].concat()).await?;
    for records in [first, second] {
        let found = exported(test, records[0].info_hash, 5).await?;
        test.equal("import 12 peers into each of two swarms, export one", IMPORT, records, found)?;
    }
    Ok(())
}

/// A record of the one peer of a swarm.
fn record(info_hash: InfoHash, role: Role, announced: Timestamp) -> PeerRecord {
    PeerRecord { info_hash, peer: sample::peer(1), role, announced }
}

/// Imports a record; it must be written or kept, and leave the swarm's one peer in this role.
async fn leaves(
    test: &TestContext,
    did: &str,
    record: PeerRecord,
    is_written: bool,
    role: Role,
) -> CaseResult {
    let imported = import(test, &[record]).await?;
    let written = u64::from(is_written);
    let expected = Imported { written, kept: 1 - written };
    test.equal(&format!("{did}: records written and kept"), IMPORT, expected, imported)?;
    let seeders = u64::from(role.is_seeder());
    test.counts(did, IMPORT, &record.info_hash, seeders, 1 - seeders).await
}

pub(super) async fn the_newer_record_wins(test: &TestContext) -> CaseResult {
    let (info_hash, older, newer) = (test.info_hash(), ago(60), ago(30));
    test.put_at(&info_hash, &sample::peer(1), Role::Leecher, older).await?;
    let did = "put a leecher a minute ago, import it as seeder half a minute ago";
    leaves(test, did, record(info_hash, Role::Seeder, newer), true, Role::Seeder).await
}

pub(super) async fn an_older_record_is_not_taken(test: &TestContext) -> CaseResult {
    let (info_hash, older, newer) = (test.info_hash(), ago(60), ago(30));
    test.put_at(&info_hash, &sample::peer(1), Role::Leecher, newer).await?;
    let did = "put a leecher half a minute ago, import it as seeder a minute ago";
    leaves(test, did, record(info_hash, Role::Seeder, older), false, Role::Leecher).await
}

pub(super) async fn at_equal_times_a_seeder_comes_in(test: &TestContext) -> CaseResult {
    let (info_hash, announced) = (test.info_hash(), ago(60));
    import(test, &[record(info_hash, Role::Leecher, announced)]).await?;
    let did = "import a leecher, then the same as seeder at the same time";
    leaves(test, did, record(info_hash, Role::Seeder, announced), true, Role::Seeder).await
}

pub(super) async fn at_equal_times_a_seeder_stays(test: &TestContext) -> CaseResult {
    let (info_hash, announced) = (test.info_hash(), ago(60));
    import(test, &[record(info_hash, Role::Seeder, announced)]).await?;
    let did = "import a seeder, then the same as leecher at the same time";
    leaves(test, did, record(info_hash, Role::Leecher, announced), false, Role::Seeder).await
}

pub(super) async fn import_moves_a_peer_to_leecher(test: &TestContext) -> CaseResult {
    let (info_hash, older, newer) = (test.info_hash(), ago(60), ago(30));
    import(test, &[record(info_hash, Role::Seeder, older)]).await?;
    let did = "import a seeder a minute ago, then the same as leecher half a minute ago";
    leaves(test, did, record(info_hash, Role::Leecher, newer), true, Role::Leecher).await?;
    let selection = sample::for_leecher(info_hash, 9);
    test.finds(&format!("{did}, announce"), IMPORT, &selection, [sample::peer(1)]).await
}

pub(super) async fn a_newer_record_refreshes_the_peer(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put_at(&info_hash, &sample::peer(1), Role::Seeder, STALE).await?;
    import(test, &[record(info_hash, Role::Seeder, ago(30))]).await?;
    test.collect(CUTOFF).await?;
    let did = "put a seeder in 1990, import it half a minute ago, collect garbage up to 1991";
    test.counts(did, IMPORT, &info_hash, 1, 0).await
}

pub(super) async fn an_older_record_does_not_age_the_peer(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    import(test, &[record(info_hash, Role::Seeder, STALE)]).await?;
    test.collect(CUTOFF).await?;
    let did = "put a seeder now, import it as of 1990, collect garbage up to 1991";
    test.counts(did, IMPORT, &info_hash, 1, 0).await
}

pub(super) async fn importing_again_changes_nothing(test: &TestContext) -> CaseResult {
    let records = records(test.info_hash(), 12);
    import(test, &records).await?;
    let did = "import 12 peers twice";
    let imported = import(test, &records).await?;
    test.equal(did, IMPORT, Imported { written: 0, kept: 12 }, imported)?;
    test.counts(did, IMPORT, &records[0].info_hash, 6, 6).await
}

pub(super) async fn finer_times_are_the_same_time(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let finer = Timestamp::from_nanoseconds(ago(60).nanoseconds() + 999);
    import(test, &[record(info_hash, Role::Seeder, finer)]).await?;
    let did = "import a peer with a time finer than microseconds twice";
    leaves(test, did, record(info_hash, Role::Seeder, finer), false, Role::Seeder).await
}

pub(super) async fn of_a_peer_twice_in_a_batch_the_newer_wins(test: &TestContext) -> CaseResult {
    let (older, newer) = (ago(60), ago(30));
    let did = "import a peer twice in one batch, the newer one as seeder";
    let info_hash = test.info_hash();
    let (old, new) = (record(info_hash, Role::Leecher, older), record(info_hash, Role::Seeder, newer));
    import(test, &[old, new]).await?;
    test.counts(did, IMPORT, &info_hash, 1, 0).await?;
    let info_hash = test.info_hash();
    let (old, new) = (record(info_hash, Role::Leecher, older), record(info_hash, Role::Seeder, newer));
    import(test, &[new, old]).await?;
    test.counts(&format!("{did} and first"), IMPORT, &info_hash, 1, 0).await
}

pub(super) async fn an_empty_batch_is_no_error(test: &TestContext) -> CaseResult {
    let imported = import(test, &[]).await?;
    test.equal("import no peers", IMPORT, Imported::default(), imported)
}

pub(super) async fn an_import_beside_an_announce_takes_nothing_back(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let older = ago(60);
    let imports = (0..4).map(|_| {
        let storage = Arc::clone(test.storage());
        let records: Vec<_> = (0..32)
            .map(|number| PeerRecord {
                peer: sample::peer(number),
                ..record(info_hash, Role::Leecher, older)
            })
            .collect();
        let call: BoxFuture<'static, Result<()>> =
            Box::pin(async move { storage.import_peers(&records).await.map(drop) });
        call
    });
    let puts = (0..32).map(|number| {
        let storage = Arc::clone(test.storage());
        let call: BoxFuture<'static, Result<()>> =
            Box::pin(async move { storage.put_seeder(&info_hash, &sample::peer(number)).await });
        call
    });
    let did = "put 32 seeders while they are imported as leechers of a minute ago in 4 tasks";
    test.all_ok(did, test.at_once(imports.chain(puts).collect::<Vec<_>>()).await?)?;
    test.counts(did, IMPORT, &info_hash, 32, 0).await
}
