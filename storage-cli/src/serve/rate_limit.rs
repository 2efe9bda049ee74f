//! The rate limit of announces and scrapes for each address.
//!
//! Token buckets in a table of fixed size rather than in a map, such as the crate `governor` keeps: a map of
//! addresses grows with the flood that it is to bound (one /32 of IPv6 has 4 billion networks), or needs locks and a
//! rule for which address to forget. Each address has one bucket in each of two rows, chosen by a keyed hash.
//! Several addresses may share a bucket, so the fuller of the two counts: an address is refused wrongly only if
//! others empty both. While 1,000 addresses flood, that happens to 1 of 4,000 others.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use siphasher::sip::SipHasher24;

use super::http::network;

/// The buckets of a row: 1 MiB for both rows.
const BUCKETS: usize = 1 << 16;

/// Refusals are logged no more often than this.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A rate for each address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Requests per second; 0: unlimited.
    pub(crate) per_second: u32,
    /// The size of a burst.
    pub(crate) burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 100, burst: 1_000 }
    }
}

/// The buckets of all addresses, those of an IPv6 /64 as one.
pub(crate) struct RateLimit {
    /// When each bucket will be full again, in nanoseconds since `begun`.
    full_at: Option<[Box<[AtomicU64]>; 2]>,
    /// The time in which one token is added.
    interval: u64,
    /// The time in which an empty bucket fills.
    refill: u64,
    exempt: Vec<IpNet>,
    key: [u8; 16],
    begun: Instant,
    /// In nanoseconds since `begun`.
    next_warning: AtomicU64,
}

impl RateLimit {
    /// Loopback and exempt networks are not limited.
    pub(crate) fn new(rate: Rate, exempt: Vec<IpNet>) -> Self {
        let second = Duration::from_secs(1).as_nanos() as u64;
        let interval = second.checked_div(rate.per_second.into()).unwrap_or(0);
        let row = || (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self {
            full_at: (rate.per_second > 0).then(|| [row(), row()]),
            interval,
            refill: interval.saturating_mul(rate.burst.into()),
            exempt,
            key: rand::random(),
            begun: Instant::now(),
            next_warning: AtomicU64::new(0),
        }
    }

    /// Takes a token for a request from there; false if there is none.
    pub(crate) fn admits(&self, from: IpAddr) -> bool {
        let Some(rows) = &self.full_at else { return true };
        if from.is_loopback() || self.exempt.iter().any(|network| network.contains(&from)) {
            return true;
        }
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let is_admitted = self.take(rows, from, now);
        if !is_admitted && self.is_time_to_warn(now) {
            tracing::warn!(
                %from,
                "an address exceeds `max_requests_per_address`; if it is a proxy, add it to `trusted_proxies`"
            );
        }
        is_admitted
    }

    /// Once a minute, whichever address is refused.
    fn is_time_to_warn(&self, now: u64) -> bool {
        let next = self.next_warning.load(Ordering::Relaxed);
        let after = now.saturating_add(WARNING_INTERVAL.as_nanos() as u64);
        now >= next
            && self.next_warning.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Two requests of an address at the very same time may take one token; that is near enough.
    fn take(&self, rows: &[Box<[AtomicU64]>; 2], from: IpAddr, now: u64) -> bool {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        network(from).hash(&mut hasher);
        let hash = hasher.finish();
        let buckets = [&rows[0][hash as usize % BUCKETS], &rows[1][(hash >> 32) as usize % BUCKETS]];
        let full_at = buckets.map(|bucket| bucket.load(Ordering::Relaxed)).into_iter().min().unwrap_or(0);
        let full_at = full_at.max(now).saturating_add(self.interval);
        if full_at - now > self.refill {
            return false;
        }
        for bucket in buckets {
            bucket.fetch_max(full_at, Ordering::Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limit() -> RateLimit {
        RateLimit::new(Rate::default(), vec!["10.0.0.0/8".parse().unwrap()])
    }

    /// How many of so many requests at this time are admitted.
    fn admitted(limit: &RateLimit, from: &str, now: u64, requests: usize) -> usize {
        let (rows, from) = (limit.full_at.as_ref().unwrap(), from.parse().unwrap());
        (0..requests).filter(|_| limit.take(rows, from, now)).count()
    }

    #[test]
    fn an_address_has_a_burst_of_1000_and_100_a_second_after_it() {
        let limit = limit();
        assert_eq!(admitted(&limit, "192.0.2.1", 0, 60_000), 1_000);
        assert_eq!(admitted(&limit, "192.0.2.1", SECOND, 60_000), 100);
        assert_eq!(admitted(&limit, "192.0.2.1", SECOND + SECOND / 2, 60_000), 50);
        assert_eq!(admitted(&limit, "192.0.2.1", 60 * SECOND, 60_000), 1_000);
        assert_eq!(admitted(&limit, "192.0.2.2", 0, 60_000), 1_000, "another address has its own");
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_are_one() {
        let limit = limit();
        assert_eq!(admitted(&limit, "2001:db8::1", 0, 600), 600);
        assert_eq!(admitted(&limit, "2001:db8::ffff:1:2:3", 0, 600), 400);
        assert_eq!(admitted(&limit, "2001:db8:0:1::1", 0, 600), 600);
    }

    #[test]
    fn loopback_and_those_exempt_have_any_number() {
        let limit = limit();
        for from in ["127.0.0.1", "127.0.0.2", "::1", "10.1.2.3"] {
            assert!((0..2_000).all(|_| limit.admits(from.parse().unwrap())), "{from}");
        }
        assert!(!(0..2_000).all(|_| limit.admits([192, 0, 2, 1].into())));
        let unlimited = RateLimit::new(Rate { per_second: 0, burst: 1 }, Vec::new());
        assert!((0..2_000).all(|_| unlimited.admits([192, 0, 2, 1].into())));
    }

    #[test]
    fn refusals_are_logged_once_a_minute() {
        let limit = limit();
        assert!(limit.is_time_to_warn(0));
        assert!(!limit.is_time_to_warn(59 * SECOND));
        assert!(limit.is_time_to_warn(60 * SECOND));
        assert!(!limit.is_time_to_warn(61 * SECOND));
    }

    #[test]
    fn a_flood_from_many_addresses_takes_no_memory_and_no_place_from_others() {
        let limit = limit();
        let rows = limit.full_at.as_ref().unwrap();
        // Where two networks meet by chance, the later one has less.
        let mut short = 0;
        for network in 0..1_000u128 {
            let from = Ipv6Addr::from_bits((0x2001_0db8 << 96) | (network << 64)).into();
            short += u32::from((0..1_000).filter(|_| limit.take(rows, from, 0)).count() < 900);
        }
        assert!(short <= 5, "{short} of 1,000");
        let others = (0..10_000u32).map(|other| IpAddr::from(Ipv4Addr::from_bits(0xc633_0000 + other)));
        let refused = others.filter(|other| !limit.take(rows, *other, 0)).count();
        assert!(refused <= 20, "{refused} of 10,000");
        assert_eq!(rows.iter().map(|row| row.len() * size_of::<AtomicU64>()).sum::<usize>(), 1 << 20);
    }
}
