//! A step on a storage, and what the storage holds after all steps.

use std::time::Duration;

use futures::StreamExt;

use storage_core::{
    AnnounceAnswer, Cursor, Error, ExportScope, Page, PeerRecord, Record, Result, Storage, SwarmSnapshot,
    When,
};

use super::step::{SequenceStep, StepAnswer};

/// What every backend keeps of a time.
pub(super) const PRECISION: Duration = Duration::from_micros(1);

/// More peers than any swarm of a sequence has.
const LIMIT: usize = 50;

/// Small, so that there are several.
const PAGE: usize = 3;

pub(crate) async fn run_step(step: &SequenceStep, storage: &dyn Storage) -> StepAnswer {
    match try_step(step, storage).await {
        Ok(answer) => answer,
        Err(error) if error.is_not_found() => StepAnswer::NotFound,
        Err(error) => StepAnswer::Failed(format!("{error:?}")),
    }
}

async fn try_step(step: &SequenceStep, storage: &dyn Storage) -> Result<StepAnswer> {
    Ok(match step {
        SequenceStep::Put(PeerRecord { info_hash, peer, role, announced }) => {
            storage.put_peer(info_hash, peer, *role, When::At(*announced)).await?;
            StepAnswer::Done
        }
        SequenceStep::Delete(info_hash, peer, role) => {
            storage.delete_peer(info_hash, peer, *role).await?;
            StepAnswer::Done
        }
        SequenceStep::Remove(info_hash, peer) => {
            storage.remove_peer(info_hash, peer).await?;
            StepAnswer::Done
        }
        SequenceStep::Graduate(info_hash, peers, announced) => {
            StepAnswer::IsDownload(storage.graduate_peers(info_hash, peers, When::At(*announced)).await?)
        }
        SequenceStep::Announce(selection) => {
            let mut peers = storage.announce_peers(selection).await?;
            peers.sort();
            StepAnswer::Peers(peers)
        }
        SequenceStep::Scrape(info_hash) => StepAnswer::Counts(storage.scrape_swarm(info_hash).await?),
        SequenceStep::WholeAnnounce(announce) => announced(storage.announce(announce).await)?,
        SequenceStep::AnnounceMany(announces) => {
            let mut answers: Vec<_> = storage.announce_many(announces).collect().await;
            answers.sort_by_key(|(index, _)| *index);
            StepAnswer::All(answers.into_iter().map(|(_, answer)| announced(answer)).collect::<Result<_>>()?)
        }
        SequenceStep::Scrapes(info_hashes) => {
            StepAnswer::AllCounts(storage.scrape_swarms(info_hashes).await?)
        }
        SequenceStep::PutData(context, entries) => {
            storage.put_data(context, entries).await?;
            StepAnswer::Done
        }
        SequenceStep::Load(context, key) => StepAnswer::Value(storage.load_data(context, key).await?),
        SequenceStep::Contains(context, keys) => {
            StepAnswer::There(storage.contains_data(context, keys).await?)
        }
        SequenceStep::DeleteData(context, keys) => {
            storage.delete_data(context, keys).await?;
            StepAnswer::Done
        }
        SequenceStep::CollectGarbage(cutoff) => {
            StepAnswer::Removed(storage.collect_garbage(*cutoff).await?.removed)
        }
        SequenceStep::Statistics => StepAnswer::Statistics(storage.statistics().await?),
        SequenceStep::Forget(info_hash) => StepAnswer::Removed(storage.forget_swarm(info_hash).await?.peers),
        SequenceStep::ExportSwarm(info_hash) => {
            let mut records = peers(storage, ExportScope::Swarm(*info_hash)).await?;
            records.sort_by_key(|record| record.peer);
            StepAnswer::Records(records)
        }
        SequenceStep::WritePeers(writes) => {
            StepAnswer::WrittenEach(storage.write_peers(writes).await.into_iter().collect::<Result<_>>()?)
        }
        SequenceStep::ReadSwarms(info_hashes) => {
            let snapshots = storage.read_swarms(info_hashes, LIMIT).await?;
            let snapshots = snapshots.into_iter().map(|SwarmSnapshot { mut peers, counts, .. }| {
                peers.iter_mut().for_each(at_precision);
                peers.sort_by_key(|record| record.peer);
                (peers, counts)
            });
            StepAnswer::Snapshots(snapshots.collect())
        }
        SequenceStep::ImportPeers(records) => {
            StepAnswer::Written(storage.import_peers(records).await?.written)
        }
        SequenceStep::ImportDownloads(records) => {
            StepAnswer::Written(storage.import_downloads(records).await?.written)
        }
        SequenceStep::ImportData(records) => StepAnswer::Written(storage.import_data(records).await?.written),
    })
}

/// All that a storage holds, sorted, with times as every backend keeps them.
pub(crate) async fn export(storage: &dyn Storage) -> Result<Vec<Record>> {
    let downloads = pages(async |from| storage.export_downloads(from, PAGE).await).await?;
    let data = pages(async |from| storage.export_data(from, PAGE).await).await?;
    let mut content: Vec<_> = peers(storage, ExportScope::All).await?.into_iter().map(Record::Peer).collect();
    content.extend(downloads.into_iter().map(Record::Downloads));
    content.extend(data.into_iter().map(Record::Data));
    content.sort();
    Ok(content)
}

async fn peers(storage: &dyn Storage, scope: ExportScope) -> Result<Vec<PeerRecord>> {
    let mut records = pages(async |from| storage.export_peers(scope, from, PAGE).await).await?;
    records.iter_mut().for_each(at_precision);
    Ok(records)
}

fn at_precision(record: &mut PeerRecord) {
    record.announced = record.announced.at_precision(PRECISION);
}

/// The answer to a whole announce that has everything.
fn announced(answer: Result<AnnounceAnswer>) -> Result<StepAnswer> {
    let AnnounceAnswer { peers, counts, is_download, failure } = answer?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let mut peers = peers.unwrap_or_default();
    peers.sort();
    Ok(StepAnswer::Announced { peers, counts: counts.unwrap_or_default(), is_download })
}

/// The records of all pages.
pub(crate) async fn pages<T>(
    page: impl AsyncFn(Option<&Cursor>) -> Result<Page<T>, Error>,
) -> Result<Vec<T>> {
    let mut records = Vec::new();
    let mut next = None;
    loop {
        let page = page(next.as_ref()).await?;
        records.extend(page.records);
        next = page.next;
        if next.is_none() {
            return Ok(records);
        }
    }
}
