//! The swarms of a run and their peers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::RngExt;
use rand::rngs::SmallRng;
use storage_core::{InfoHash, Peer, PeerId, Role};

/// Swarms and peers by number. They are computed from the number, so millions of them take no memory here.
#[derive(Debug)]
pub(crate) struct Dataset {
    prefix: [u8; 4],
    seed: u64,
    /// The number of each swarm's first peer, and at the end the number of peers.
    starts: Vec<u64>,
    /// How many swarms may have peers, with those opened since.
    opened: AtomicU64,
}

/// A peer in a swarm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) info_hash: InfoHash,
    pub(super) peer: Peer,
    pub(super) role: Role,
}

impl Dataset {
    /// Swarms of equal size.
    pub(super) fn even(swarms: u64, peers: u64) -> Self {
        Self::new((0..=swarms).map(|swarm| swarm * peers).collect())
    }

    /// Swarms by Zipf's law: the n-th has an n-th of the peers of the largest, and at least one.
    pub(super) fn zipf(swarms: u64, largest: u64) -> Self {
        let mut starts = vec![0];
        let mut total = 0;
        for rank in 1..=swarms {
            total += (largest / rank).max(1);
            starts.push(total);
        }
        Self::new(starts)
    }

    fn new(starts: Vec<u64>) -> Self {
        let opened = AtomicU64::new(starts.len() as u64 - 1);
        Self { prefix: rand::random(), seed: rand::random(), starts, opened }
    }

    /// The prefix of the info hashes, in hexadecimal.
    pub(crate) fn prefix(&self) -> String {
        hex::encode(self.prefix)
    }

    pub(super) fn swarms(&self) -> u64 {
        self.starts.len() as u64 - 1
    }

    pub(super) fn peers(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// How many swarms may have peers.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Opens one more swarm.
    pub(super) fn open_swarm(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }

    /// The numbers of a swarm's initial peers.
    pub(super) fn numbers(&self, swarm: u64) -> std::ops::Range<u64> {
        let index = usize::try_from(swarm).unwrap_or(usize::MAX);
        match self.starts.get(index..).unwrap_or_default() {
            [first, end, ..] => *first..*end,
            _ => 0..0,
        }
    }

    /// The swarm of an initial peer.
    pub(super) fn swarm_of(&self, number: u64) -> u64 {
        self.starts.partition_point(|start| *start <= number) as u64 - 1
    }

    /// The info hash of any swarm.
    pub(super) fn info_hash(&self, swarm: u64) -> InfoHash {
        let [one, other] = self.bits(swarm);
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.prefix);
        bytes[4..12].copy_from_slice(&one.to_be_bytes());
        bytes[12..].copy_from_slice(&other.to_be_bytes());
        InfoHash::V1(bytes)
    }

    /// Half of the peers are seeders, half of each role have IPv6 addresses.
    pub(super) fn member(&self, swarm: u64, number: u64) -> Member {
        let role = Role::from_is_seeder(number.is_multiple_of(2));
        Member { info_hash: self.info_hash(swarm), peer: self.peer(number), role }
    }

    /// No two peers have the same id.
    pub(super) fn peer(&self, number: u64) -> Peer {
        let [one, other] = self.bits(number);
        // The ids of one client have the same prefix.
        let mut id = *b"-TR4040-............";
        id[8..16].copy_from_slice(&one.to_be_bytes());
        id[16..].copy_from_slice(&other.to_be_bytes()[4..]);
        let [a, b, c, d, ..] = other.to_be_bytes();
        let address = if (number / 2).is_multiple_of(2) {
            IpAddr::from([10, b, c, d])
        } else {
            let [e, f, g, h, ..] = one.to_le_bytes();
            IpAddr::from([0x20, 0x01, 0x0d, 0xb8, a, b, c, d, 0, 0, 0, 0, e, f, g, h])
        };
        Peer::new(PeerId(id), address, 1024 + (other >> 20) as u16 % 60_000)
    }

    /// A random initial swarm.
    pub(super) fn any_swarm(&self, random: &mut SmallRng) -> u64 {
        random.random_range(0..self.swarms())
    }

    fn bits(&self, number: u64) -> [u64; 2] {
        let one = scatter(number ^ self.seed);
        [one, scatter(one.wrapping_add(0x9e37_79b9_7f4a_7c15))]
    }
}

/// The finalizer of SplitMix64: a bijection that scatters neighbours.
pub(super) fn scatter(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use storage_core::AddressFamily;

    use super::*;

    #[test]
    fn half_of_a_swarm_are_seeders_and_half_of_each_role_have_ipv6() {
        let dataset = Dataset::even(3, 100);
        assert_eq!((dataset.swarms(), dataset.peers()), (3, 300));
        let members: Vec<_> = dataset.numbers(1).map(|number| dataset.member(1, number)).collect();
        for role in Role::BOTH {
            for family in AddressFamily::BOTH {
                let alike = members.iter().filter(|one| one.role == role && one.peer.family() == family);
                assert_eq!(alike.count(), 25, "{role} {family:?}");
            }
        }
        let ids: HashSet<_> = members.iter().map(|member| *member.peer.id()).collect();
        assert_eq!(ids.len(), 100);
    }

    #[test]
    fn sizes_of_swarms_fall_as_zipf_has_it() {
        let dataset = Dataset::zipf(10_000, 10_000);
        let sizes = [0, 1, 2, 99, 9_999].map(|swarm| dataset.numbers(swarm).count());
        assert_eq!(sizes, [10_000, 5_000, 3_333, 100, 1]);
        for swarm in [0, 7, 9_999] {
            let numbers = dataset.numbers(swarm);
            assert_eq!(dataset.swarm_of(numbers.start), swarm);
            assert_eq!(dataset.swarm_of(numbers.end - 1), swarm);
        }
    }

    #[test]
    fn two_grounds_have_no_swarm_in_common() {
        let (one, other) = (Dataset::even(2, 1), Dataset::even(2, 1));
        assert_ne!(one.info_hash(0), one.info_hash(1));
        assert_ne!(one.info_hash(0), other.info_hash(0));
        assert!(one.info_hash(0).to_string().starts_with(&one.prefix()));
    }
}
