//! Many completions of one client at the same time, as retries and repeated packets bring them.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::{join, join_all};
use libtest_mimic::{Completion, Failed, Trial};
use storage_core::{InfoHash, Peer, PeerId, PeerStorageExt, Storage};

use super::number;
use crate::harness::with_fresh;
use crate::runtime::block_on;
use crate::storages::{Fresh, UnderTest};

const COMPLETIONS: usize = 20;
const STOPS: usize = 5;

/// The test of a storage.
pub fn test(under_test: &Arc<UnderTest>) -> Trial {
    let under_test = Arc::clone(under_test);
    Trial::ignorable_test(
        format!("{}/one completion at a time is one download", under_test.name),
        move || with_fresh(&under_test, |fresh| block_on(check_all(fresh))),
    )
}

async fn check_all(fresh: &Fresh) -> Result<Completion, Failed> {
    fresh.empty().await?;
    let storage = fresh.provider().open().await?;
    for round in 0..number()? {
        let stops = if round % 2 == 0 { 0 } else { STOPS };
        check(&*storage, round, stops).await.map_err(|error| format!("round {round}: {error:?}"))?;
    }
    storage.close().await?;
    Ok(Completion::Completed)
}

/// A client that is in no swarm completes and stops, all at once.
async fn check(storage: &dyn Storage, round: u32, stops: usize) -> Result<(), Failed> {
    let mut bytes = [1; 20];
    bytes[..4].copy_from_slice(&round.to_be_bytes());
    let (swarm, peer) = (InfoHash::V1(bytes), Peer::new(PeerId([1; 20]), IpAddr::from([192, 0, 2, 1]), 6881));
    let completions = join_all((0..COMPLETIONS).map(|_| storage.graduate_leecher(&swarm, &peer)));
    let removals = join_all((0..stops).map(|_| storage.remove_peer(&swarm, &peer)));
    let (completions, removals) = join(completions, removals).await;
    removals.into_iter().collect::<Result<Vec<_>, _>>()?;
    let completions: Vec<_> = completions.into_iter().collect::<Result<_, _>>()?;
    let downloads = completions.into_iter().filter(|is_download| *is_download).count();
    // Between two downloads of one client there must have been a stop.
    if !(1..=1 + stops).contains(&downloads) {
        return Err(format!("{downloads} downloads by one client that stopped {stops} times").into());
    }
    let counts = storage.scrape_swarm(&swarm).await?;
    if counts.downloads != downloads as u64 {
        return Err(format!("{downloads} completions were downloads, and the swarm has {counts:?}").into());
    }
    let was_seeder = counts.seeders == 1;
    if storage.graduate_leecher(&swarm, &peer).await? == was_seeder {
        return Err(format!("a client that was a seeder ({was_seeder}) got the opposite answer").into());
    }
    Ok(())
}
