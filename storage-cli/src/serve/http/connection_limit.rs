//! The limits of connections, in total and for each IP address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The network part of an IPv6 address: clients own a whole /64.
const NETWORK: u128 = !0 << 64;

/// Counts the connections of each address, and all of them.
pub(crate) struct PerIpLimit {
    most: usize,
    /// Proxies, which speak for many clients.
    exempt: Vec<IpNet>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    open: IntGauge,
    refused: IntCounter,
}

/// A permit for one connection, returned on drop.
struct PerIpPermit {
    limit: Arc<PerIpLimit>,
    /// Nothing if the address is exempt.
    from: Option<IpAddr>,
}

impl PerIpLimit {
    /// Allows `most` connections for each address that is not exempt; shows those that are open, and counts refusals.
    pub(crate) fn new(most: usize, exempt: Vec<IpNet>, open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { most, exempt, by_address: Mutex::default(), open, refused })
    }

    /// Takes a permit for a connection from there; `None` if the address has too many.
    fn count(self: &Arc<Self>, from: IpAddr) -> Option<PerIpPermit> {
        let is_exempt = self.exempt.iter().any(|network| network.contains(&from));
        let from = (!is_exempt).then(|| network(from));
        if let Some(from) = from {
            let mut by_address = self.by_address.lock();
            let count = by_address.entry(from).or_default();
            if *count >= self.most {
                self.refused.inc();
                return None;
            }
            *count += 1;
        }
        self.open.inc();
        Some(PerIpPermit { limit: Arc::clone(self), from })
    }
}

impl Drop for PerIpPermit {
    fn drop(&mut self) {
        self.limit.open.dec();
        let Some(from) = self.from else { return };
        let mut by_address = self.limit.by_address.lock();
        if let Some(count) = by_address.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&from);
            }
        }
    }
}

/// The connections that may be open at once.
#[derive(Clone)]
pub(crate) struct ConnectionLimit {
    free: Arc<Semaphore>,
    per_ip: Option<Arc<PerIpLimit>>,
    /// Wakes the oldest connection to make room.
    pub(super) make_room: Arc<Notify>,
}

/// The permit of one connection.
pub(super) struct ConnectionPermit {
    _counted: Option<PerIpPermit>,
    /// Dropped last: the next connection may come from the same address.
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimit {
    /// So many, of which an address gets no more than its share.
    pub(crate) fn new(count: usize, per_ip: Option<Arc<PerIpLimit>>) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), per_ip, make_room: Arc::default() }
    }

    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        self.make_room.notify_one();
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Counts a connection from there; none, if it is one too many of its address.
    pub(super) fn count(&self, permit: OwnedSemaphorePermit, from: IpAddr) -> Option<ConnectionPermit> {
        let counted = match &self.per_ip {
            Some(per_ip) => Some(per_ip.count(from)?),
            None => None,
        };
        Some(ConnectionPermit { _counted: counted, _permit: permit })
    }
}

/// The address to which limits apply: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(most: usize, exempt: &[&str]) -> Arc<PerIpLimit> {
        let exempt = exempt.iter().map(|network| network.parse().unwrap()).collect();
        let open = IntGauge::new("open", "open").unwrap();
        PerIpLimit::new(most, exempt, open, IntCounter::new("refused", "refused").unwrap())
    }

    fn count(limit: &Arc<PerIpLimit>, from: &str) -> Option<PerIpPermit> {
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
        assert_eq!(limit.refused.get(), 1);
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
        assert!(limit.by_address.lock().is_empty());
    }
}
