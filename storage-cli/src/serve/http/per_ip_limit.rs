//! How many connections one address may have, so that nobody takes the connections of all others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use prometheus::IntCounter;

/// The bits of an IPv6 address that tell one network from another; whoever has one has all addresses in it.
const NETWORK: u128 = !0 << 64;

/// The connections of each address.
#[derive(Clone)]
pub(crate) struct PerIpLimit(Arc<Inner>);

struct Inner {
    most: usize,
    /// Those that speak for many.
    exempt: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
    refused: IntCounter,
}

/// One connection; it ends with this.
pub(super) struct PerIpPermit {
    limit: PerIpLimit,
    from: Option<IpAddr>,
}

impl PerIpLimit {
    /// So many for each address, and any number for those exempt; counts those refused.
    pub(crate) fn new(most: usize, exempt: Vec<IpNet>, refused: IntCounter) -> Self {
        Self(Arc::new(Inner { most, exempt, open: Mutex::default(), refused }))
    }

    /// Counts a connection from there; none, if it would be one too many.
    pub(super) fn count(&self, from: IpAddr) -> Option<PerIpPermit> {
        let Inner { most, exempt, open, refused } = &*self.0;
        if exempt.iter().any(|network| network.contains(&from)) {
            return Some(PerIpPermit { limit: self.clone(), from: None });
        }
        let from = network(from);
        let mut open = open.lock();
        let count = open.entry(from).or_default();
        if *count >= *most {
            refused.inc();
            return None;
        }
        *count += 1;
        Some(PerIpPermit { limit: self.clone(), from: Some(from) })
    }
}

impl Drop for PerIpPermit {
    fn drop(&mut self) {
        let Some(from) = self.from else { return };
        let mut open = self.limit.0.open.lock();
        if let Some(count) = open.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                open.remove(&from);
            }
        }
    }
}

/// The address of whoever has this one: of IPv6 that of the /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(most: usize, exempt: &[&str]) -> PerIpLimit {
        let exempt = exempt.iter().map(|network| network.parse().unwrap()).collect();
        PerIpLimit::new(most, exempt, IntCounter::new("refused", "refused").unwrap())
    }

    fn count(limit: &PerIpLimit, from: &str) -> Option<PerIpPermit> {
        limit.count(from.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_connections_at_a_time_and_others_have_theirs() {
        let limit = limit(2, &[]);
        let first = count(&limit, "192.0.2.1");
        let _second = count(&limit, "192.0.2.1").unwrap();
        assert!(count(&limit, "192.0.2.1").is_none());
        assert!(count(&limit, "192.0.2.2").is_some());
        drop(first);
        assert!(count(&limit, "192.0.2.1").is_some());
        assert_eq!(limit.0.refused.get(), 1);
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_are_one() {
        let limit = limit(1, &[]);
        let _first = count(&limit, "2001:db8::1").unwrap();
        assert!(count(&limit, "2001:db8::ffff:1:2:3").is_none());
        assert!(count(&limit, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn those_exempt_have_any_number() {
        let limit = limit(1, &["10.0.0.0/8"]);
        let _first = count(&limit, "10.0.0.1").unwrap();
        assert!(count(&limit, "10.0.0.1").is_some());
    }

    #[test]
    fn nothing_is_remembered_of_addresses_without_a_connection() {
        let limit = limit(1, &[]);
        drop((count(&limit, "192.0.2.1"), count(&limit, "2001:db8::1")));
        assert!(limit.0.open.lock().is_empty());
    }
}
