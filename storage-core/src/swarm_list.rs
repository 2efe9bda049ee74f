//! Lists of swarms with their counts, page by page, in an order of choice.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::{Cursor, InfoHash, SwarmCounts, Timestamp};

/// The order of a list of swarms. Swarms that are equal in it are in the order of their info hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SwarmOrder {
    /// The info hash, as a byte string.
    InfoHash,
    /// The most peers of both roles first.
    Peers,
    /// The most seeders first.
    Seeders,
    /// The most leechers first.
    Leechers,
    /// The most downloads first.
    Downloads,
}

impl SwarmOrder {
    /// Every order.
    pub const ALL: &'static [Self] =
        &[Self::InfoHash, Self::Peers, Self::Seeders, Self::Leechers, Self::Downloads];

    /// Its name, as queries of operators know it: `info_hash`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InfoHash => "info_hash",
            Self::Peers => "peers",
            Self::Seeders => "seeders",
            Self::Leechers => "leechers",
            Self::Downloads => "downloads",
        }
    }

    /// The number that this order compares, the greatest first; 0 where it compares info hashes alone.
    pub fn rank(self, counts: &SwarmCounts) -> u64 {
        match self {
            Self::InfoHash => 0,
            Self::Peers => counts.seeders.saturating_add(counts.leechers),
            Self::Seeders => counts.seeders,
            Self::Leechers => counts.leechers,
            Self::Downloads => counts.downloads,
        }
    }

    /// Whether a swarm with these counts is in the list: for [`Downloads`](Self::Downloads) those that have downloads,
    /// else those that have peers.
    pub fn lists(self, counts: &SwarmCounts) -> bool {
        match self {
            Self::Downloads => counts.downloads > 0,
            _ => counts.seeders > 0 || counts.leechers > 0,
        }
    }
}

/// A swarm of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedSwarm {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Its counts.
    pub counts: SwarmCounts,
}

/// A page of a list of swarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmPage {
    /// The swarms, in the order asked for.
    pub swarms: Vec<ListedSwarm>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
    /// The time that the counts are of: that of the call, unless the storage answers from counts that it took before.
    pub as_of: Timestamp,
}

/// Makes a page out of swarms that come in any order. It holds no more swarms than the page.
///
/// ```
/// use storage_core::{InfoHash, ListedSwarm, SwarmCounts, SwarmOrder, SwarmPageBuilder, Timestamp};
///
/// let mut page = SwarmPageBuilder::new(SwarmOrder::Seeders, None, 2);
/// for seeders in [3, 9, 5] {
///     let counts = SwarmCounts { seeders, ..SwarmCounts::default() };
///     page.offer(ListedSwarm { info_hash: InfoHash::V1([seeders as u8; 20]), counts });
/// }
/// let page = page.finish(Timestamp::now());
/// let seeders: Vec<_> = page.swarms.iter().map(|swarm| swarm.counts.seeders).collect();
/// assert_eq!(seeders, [9, 5]);
/// assert!(page.next.is_some());
/// ```
#[derive(Debug)]
pub struct SwarmPageBuilder {
    order: SwarmOrder,
    after: Option<Place>,
    limit: usize,
    found: BTreeMap<Place, SwarmCounts>,
    is_left_out: bool,
}

/// Where a swarm is in the list.
type Place = (Reverse<u64>, InfoHash);

impl SwarmPageBuilder {
    /// A page of up to `limit` swarms after the cursor; a limit of 0 is 1.
    pub fn new(order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Self {
        let after = from.and_then(Cursor::ranked_swarm).map(|(rank, info_hash)| (Reverse(rank), info_hash));
        Self { order, after, limit: limit.max(1), found: BTreeMap::new(), is_left_out: false }
    }

    /// Takes a swarm into account. Each may be offered once.
    pub fn offer(&mut self, swarm: ListedSwarm) {
        let ListedSwarm { info_hash, counts } = swarm;
        let place = (Reverse(self.order.rank(&counts)), info_hash);
        if !self.order.lists(&counts) || self.after.is_some_and(|after| place <= after) {
            return;
        }
        let is_full = self.found.len() >= self.limit;
        if is_full && self.found.last_key_value().is_some_and(|(last, _)| place > *last) {
            self.is_left_out = true;
            return;
        }
        self.found.insert(place, counts);
        if self.found.len() > self.limit {
            self.found.pop_last();
            self.is_left_out = true;
        }
    }

    /// The page.
    pub fn finish(self, as_of: Timestamp) -> SwarmPage {
        let last = self.found.last_key_value().filter(|_| self.is_left_out);
        let next = last.map(|((Reverse(rank), info_hash), _)| Cursor::after_ranked_swarm(*rank, info_hash));
        let swarms = self
            .found
            .into_iter()
            .map(|((_, info_hash), counts)| ListedSwarm { info_hash, counts })
            .collect();
        SwarmPage { swarms, next, as_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(number: u8, [seeders, leechers, downloads]: [u64; 3]) -> ListedSwarm {
        ListedSwarm {
            info_hash: InfoHash::V1([number; 20]),
            counts: SwarmCounts { seeders, leechers, downloads },
        }
    }

    /// The first bytes of the swarms that are listed in pages of `limit`.
    fn listed(order: SwarmOrder, limit: usize, swarms: &[ListedSwarm]) -> Vec<Vec<u8>> {
        let (mut pages, mut from) = (Vec::new(), None);
        loop {
            let mut page = SwarmPageBuilder::new(order, from.as_ref(), limit);
            swarms.iter().for_each(|swarm| page.offer(*swarm));
            let page = page.finish(Timestamp::from_seconds(0));
            pages.push(page.swarms.iter().map(|swarm| swarm.info_hash.as_bytes()[0]).collect());
            from = page.next;
            if from.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_follow_the_order() {
        let swarms = [
            swarm(4, [3, 0, 1]),
            swarm(3, [1, 2, 9]),
            swarm(2, [0, 4, 0]),
            swarm(1, [2, 0, 2]),
            swarm(5, [0, 0, 7]),
        ];
        for (order, all) in [
            (SwarmOrder::Peers, [2, 3, 4, 1]),
            (SwarmOrder::Seeders, [4, 1, 3, 2]),
            (SwarmOrder::Leechers, [2, 3, 1, 4]),
            (SwarmOrder::Downloads, [3, 5, 1, 4]),
            (SwarmOrder::InfoHash, [1, 2, 3, 4]),
        ] {
            for limit in 0..6 {
                let expected: Vec<_> = all.chunks(limit.max(1)).map(<[u8]>::to_vec).collect();
                assert_eq!(listed(order, limit, &swarms), expected, "{order:?} {limit}");
            }
        }
    }

    #[test]
    fn nothing_is_one_empty_page() {
        assert_eq!(listed(SwarmOrder::Peers, 3, &[]), [[0; 0]]);
    }
}
