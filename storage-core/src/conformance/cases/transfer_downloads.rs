//! T1: export and import of downloads.

use std::collections::BTreeMap;

use super::transfer::{not_once, pages};
use crate::conformance::{CaseResult, TestContext};
use crate::{Capability, Cursor, DownloadsRecord, Imported, InfoHash, Operation};

pub(super) const BOTH_WAYS: &[Capability] =
    &[Capability::Downloads, Capability::ExportDownloads, Capability::ImportDownloads];
pub(super) const IN: &[Capability] = &[Capability::Downloads, Capability::ImportDownloads];

const IMPORT: Operation = Operation::ImportDownloads;

async fn import(test: &TestContext, records: &[DownloadsRecord]) -> CaseResult<Imported> {
    let imported = test.storage().import_downloads(records).await;
    test.ok(&format!("import the downloads of {} swarms", records.len()), imported)
}

/// Imports downloads; they must be written or kept, and leave the swarm with this number.
async fn leaves(
    test: &TestContext,
    did: &str,
    info_hash: InfoHash,
    downloads: u64,
    is_written: bool,
    left: u64,
) -> CaseResult {
    let imported = import(test, &[DownloadsRecord { info_hash, downloads }]).await?;
    let written = u64::from(is_written);
    let expected = Imported { written, kept: 1 - written };
    test.equal(&format!("{did}: records written and kept"), IMPORT, expected, imported)?;
    test.downloads(did, IMPORT, &info_hash, left).await
}

pub(super) async fn downloads_come_in(test: &TestContext) -> CaseResult {
    let (short, long) = test.twin_info_hashes();
    leaves(test, "import 3 downloads of a v1 swarm", short, 3, true, 3).await?;
    leaves(test, "import 4 downloads of a v2 swarm", long, 4, true, 4).await?;
    test.downloads("import downloads of a v1 and a v2 swarm", IMPORT, &short, 3).await
}

pub(super) async fn the_greater_number_comes_in(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    import(test, &[DownloadsRecord { info_hash, downloads: 3 }]).await?;
    leaves(test, "import 3 downloads, then 5 of the same swarm", info_hash, 5, true, 5).await
}

pub(super) async fn the_greater_number_stays(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    import(test, &[DownloadsRecord { info_hash, downloads: 5 }]).await?;
    leaves(test, "import 5 downloads, then 3 of the same swarm", info_hash, 3, false, 5).await
}

pub(super) async fn importing_again_changes_nothing(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    import(test, &[DownloadsRecord { info_hash, downloads: 5 }]).await?;
    leaves(test, "import 5 downloads of a swarm twice", info_hash, 5, false, 5).await
}

pub(super) async fn of_a_swarm_twice_in_a_batch_the_greater_wins(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let records = [3, 5, 4].map(|downloads| DownloadsRecord { info_hash, downloads });
    import(test, &records).await?;
    let did = "import 3, 5 and 4 downloads of one swarm in one batch";
    test.downloads(did, IMPORT, &info_hash, 5).await
}

pub(super) async fn graduations_count_on(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    import(test, &[DownloadsRecord { info_hash, downloads: 41 }]).await?;
    test.graduate(&info_hash, &crate::conformance::sample::peer(1)).await?;
    test.downloads("import 41 downloads, graduate a peer", IMPORT, &info_hash, 42).await
}

pub(super) async fn an_empty_batch_is_no_error(test: &TestContext) -> CaseResult {
    let imported = import(test, &[]).await?;
    test.equal("import no downloads", IMPORT, Imported::default(), imported)
}

pub(super) async fn pages_give_every_swarm_once(test: &TestContext) -> CaseResult {
    test.only_if_exclusive()?;
    let (short, long) = test.twin_info_hashes();
    let info_hashes = [short, long].into_iter().chain((0..20).map(|_| test.info_hash()));
    let records: Vec<_> =
        info_hashes.zip(1..).map(|(info_hash, downloads)| DownloadsRecord { info_hash, downloads }).collect();
    import(test, &records).await?;
    let did = "import the downloads of 22 swarms, export all in pages of 7: how often each came";
    let fetch = |from: Option<Cursor>| async move { test.storage().export_downloads(from.as_ref(), 7).await };
    let found = not_once(records, pages(test, did, fetch).await?);
    test.equal(&format!("{did}, if not once"), Operation::ExportDownloads, BTreeMap::new(), found)
}
