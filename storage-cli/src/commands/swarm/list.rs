//! `swarm list`: the largest swarms of a storage.
//!
//! A storage that can list swarms is asked for them. Others give peers in an order of their own, and the peers of one
//! swarm need not come together (Redis has those of each address family apart). So every swarm of a page is scraped: its
//! exact counts decide whether it is one of the largest so far, and no more than these are kept.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use storage_core::{
    Capability, Cursor, DownloadsRecord, InfoHash, ListedSwarm, MissingCapabilities, Opened, Page,
    PeerRecord, Result as StorageResult, Storage, SwarmOrder, SwarmPage,
};

use super::NamedCounts;
use crate::arguments::{ListSwarmsArguments, SwarmSort};
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::open::WorkError;
use crate::output::note;
use crate::scan::PageScan;

/// How many swarms are scraped at once: a few more than a request over UDP asks for.
const SCRAPED_AT_ONCE: usize = 100;

/// Finds the largest swarms and prints them.
pub(super) async fn run(context: &mut CommandContext, arguments: &ListSwarmsArguments) -> CommandResult {
    let list = context.with_storage(&arguments.storage, async |Opened { storage, .. }, output| {
        let missing = storage.missing_capabilities();
        if let Some(reason) =
            arguments.sort.needed(&missing).iter().find_map(|needed| missing.reason(*needed))
        {
            let message = format!("cannot list swarms: {reason}");
            return Err(CommandError::finding(ErrorCode::CapabilityMissing, message).into());
        }
        let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
        let (found, left_out) = if missing.has(Capability::ListSwarms) {
            listed(&**storage, arguments.sort.order(), limit).await?
        } else {
            let mut largest = Largest::new(arguments.sort, limit);
            largest.find(&**storage).await?;
            (largest.recounted(&**storage).await?, largest.left_out)
        };
        if arguments.json {
            output.json_lines(found.iter())?;
        } else if !found.is_empty() {
            output.table(rows(&found))?;
        }
        if found.is_empty() {
            note(arguments.sort.none_listed());
        } else if left_out {
            note(format_args!("these are the first {}; a larger --limit lists more", found.len()));
        }
        Ok(Exit::Success)
    });
    list.await
}

impl SwarmSort {
    /// What a storage that lacks these needs to list swarms in this order.
    fn needed(self, missing: &MissingCapabilities) -> &'static [Capability] {
        match (self, missing.has(Capability::ListSwarms)) {
            (Self::Downloads, true) => &[Capability::Downloads],
            (Self::Downloads, false) => &[Capability::Downloads, Capability::ExportDownloads],
            (_, true) => &[],
            (_, false) => &[Capability::ExportPeers],
        }
    }

    fn order(self) -> SwarmOrder {
        match self {
            Self::Peers => SwarmOrder::Peers,
            Self::Seeders => SwarmOrder::Seeders,
            Self::Leechers => SwarmOrder::Leechers,
            Self::Downloads => SwarmOrder::Downloads,
            Self::InfoHash => SwarmOrder::InfoHash,
        }
    }

    /// What it means that the list is empty.
    fn none_listed(self) -> &'static str {
        match self {
            Self::Downloads => "no swarm has completed downloads",
            Self::Peers | Self::Seeders | Self::Leechers | Self::InfoHash => "no swarm has peers",
        }
    }

    /// Where a swarm is in this order.
    fn rank(self, counts: &NamedCounts) -> (Reverse<u64>, InfoHash) {
        (Reverse(self.order().rank(&counts.counts())), counts.info_hash)
    }

    /// Whether a swarm is listed in this order at all.
    fn lists(self, counts: &NamedCounts) -> bool {
        self.order().lists(&counts.counts())
    }
}

/// The first swarms that the storage lists in this order, and whether there are more.
async fn listed(
    storage: &dyn Storage,
    order: SwarmOrder,
    limit: usize,
) -> Result<(Vec<NamedCounts>, bool), WorkError> {
    // One more tells whether any are left out. A storage may read all counts for each page: so it is asked for one.
    let (enough, mut swarms) = (limit.saturating_add(1), Vec::new());
    let read = async |from: Option<&Cursor>| {
        let SwarmPage { swarms, next, .. } = storage.list_swarms(order, from, enough).await?;
        Ok(Page { records: swarms, next, ..Page::default() })
    };
    let each = async |page: Page<ListedSwarm>| {
        swarms.extend(page.records.iter().map(|swarm| NamedCounts::new(swarm.info_hash, swarm.counts)));
        Ok(if swarms.len() >= enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    PageScan::new().pages(read, each).await?;
    let left_out = swarms.len() > limit;
    swarms.truncate(limit);
    Ok((swarms, left_out))
}

/// The largest swarms so far.
struct Largest {
    sort: SwarmSort,
    limit: usize,
    /// These, and as many again at most that are not sorted in yet.
    swarms: Vec<NamedCounts>,
    /// Whether there are swarms beyond the limit.
    left_out: bool,
}

impl Largest {
    fn new(sort: SwarmSort, limit: usize) -> Self {
        Self { sort, limit, swarms: Vec::new(), left_out: false }
    }

    /// Looks at every swarm of a storage.
    async fn find(&mut self, storage: &dyn Storage) -> Result<(), WorkError> {
        let scan = PageScan::new();
        if self.sort == SwarmSort::Downloads {
            let each = async |records: Vec<DownloadsRecord>| {
                let swarms: Vec<_> = records.iter().map(|record| record.info_hash).collect();
                self.offer(scrape(storage, &swarms).await?);
                Ok(())
            };
            return scan.downloads(storage, each).await;
        }
        let mut last = None;
        let each = async |records: Vec<PeerRecord>| {
            let mut swarms: Vec<_> = records.iter().map(|record| record.info_hash).collect();
            swarms.dedup();
            // A swarm that continues from the previous page was scraped then.
            let begun = usize::from(last.is_some() && swarms.first().copied() == last);
            last = swarms.last().copied().or(last);
            self.offer(scrape(storage, &swarms[begun..]).await?);
            Ok(())
        };
        scan.peers(storage, each).await
    }

    fn offer(&mut self, swarms: Vec<NamedCounts>) {
        self.swarms.extend(swarms.into_iter().filter(|counts| self.sort.lists(counts)));
        if self.swarms.len() > self.limit.saturating_mul(2) {
            self.shrink();
        }
    }

    /// Keeps the largest, in their order, and each once: as it was counted last.
    fn shrink(&mut self) {
        self.swarms.reverse();
        self.swarms.sort_by_key(|counts| counts.info_hash);
        self.swarms.dedup_by_key(|counts| counts.info_hash);
        self.swarms.sort_by_key(|counts| self.sort.rank(counts));
        self.left_out |= self.swarms.len() > self.limit;
        self.swarms.truncate(self.limit);
    }

    /// The largest, in their order, with their counts as they are now.
    async fn recounted(&mut self, storage: &dyn Storage) -> StorageResult<Vec<NamedCounts>> {
        self.shrink();
        let swarms: Vec<_> = self.swarms.iter().map(|counts| counts.info_hash).collect();
        let mut counts = scrape(storage, &swarms).await?;
        counts.retain(|counts| self.sort.lists(counts));
        counts.sort_by_key(|counts| self.sort.rank(counts));
        Ok(counts)
    }
}

/// The counts of these swarms.
async fn scrape(storage: &dyn Storage, swarms: &[InfoHash]) -> StorageResult<Vec<NamedCounts>> {
    let mut found = Vec::with_capacity(swarms.len());
    for swarms in swarms.chunks(SCRAPED_AT_ONCE) {
        let counts = storage.scrape_swarms(swarms).await?;
        found.extend(
            swarms.iter().zip(counts).map(|(info_hash, counts)| NamedCounts::new(*info_hash, counts)),
        );
    }
    Ok(found)
}

/// A header, and a row a swarm with the numbers at the right.
fn rows(swarms: &[NamedCounts]) -> impl Iterator<Item = [String; 4]> {
    let header = ["info hash", "seeders", "leechers", "downloads"].map(str::to_owned);
    let row = |counts: &NamedCounts| {
        let NamedCounts { info_hash, seeders, leechers, downloads } = counts;
        [info_hash.to_string(), format!("{seeders:>7}"), format!("{leechers:>8}"), format!("{downloads:>9}")]
    };
    std::iter::once(header).chain(swarms.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(number: u8, [seeders, leechers, downloads]: [u64; 3]) -> NamedCounts {
        NamedCounts { info_hash: InfoHash::V1([number; 20]), seeders, leechers, downloads }
    }

    /// The first bytes of the swarms that are listed.
    fn listed(sort: SwarmSort, limit: usize, swarms: &[NamedCounts]) -> (Vec<u8>, bool) {
        let mut largest = Largest::new(sort, limit);
        swarms.iter().for_each(|counts| largest.offer(vec![counts.clone()]));
        largest.shrink();
        let first = |counts: &NamedCounts| counts.info_hash.as_bytes()[0];
        (largest.swarms.iter().map(first).collect(), largest.left_out)
    }

    #[test]
    fn the_largest_are_kept_in_their_order() {
        let swarms = [
            swarm(4, [3, 0, 1]),
            swarm(3, [1, 2, 9]),
            swarm(2, [0, 4, 0]),
            swarm(1, [2, 0, 2]),
            swarm(5, [0, 0, 7]),
        ];
        for (sort, all) in [
            (SwarmSort::Peers, vec![2, 3, 4, 1]),
            (SwarmSort::Seeders, vec![4, 1, 3, 2]),
            (SwarmSort::Leechers, vec![2, 3, 1, 4]),
            (SwarmSort::Downloads, vec![3, 5, 1, 4]),
            (SwarmSort::InfoHash, vec![1, 2, 3, 4]),
        ] {
            for limit in 1..6 {
                let expected = (all[..limit.min(4)].to_vec(), limit < 4);
                assert_eq!(listed(sort, limit, &swarms), expected, "{sort:?} {limit}");
            }
        }
    }

    #[test]
    fn a_swarm_that_comes_twice_is_listed_once_as_it_was_last() {
        let swarms = [swarm(1, [5, 0, 0]), swarm(2, [4, 0, 0]), swarm(1, [3, 0, 0])];
        assert_eq!(listed(SwarmSort::Peers, 2, &swarms), (vec![2, 1], false));
        assert_eq!(listed(SwarmSort::Peers, 1, &swarms[1..]), (vec![2], true));
    }
}
