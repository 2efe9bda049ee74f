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

/// Counts the connections of each address.
#[derive(Clone)]
pub(crate) struct PerIpLimit(Arc<Inner>);

struct Inner {
    most: usize,
    /// Proxies, which speak for many clients.
    exempt: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
    refused: IntCounter,
}

/// A permit for one connection, returned on drop.
struct PerIpPermit {
    limit: PerIpLimit,
    from: Option<IpAddr>,
}

impl PerIpLimit {
    /// Allows `most` connections for each address that is not exempt; counts refusals.
    pub(crate) fn new(most: usize, exempt: Vec<IpNet>, refused: IntCounter) -> Self {
        Self(Arc::new(Inner { most, exempt, open: Mutex::default(), refused }))
    }

    /// Takes a permit for a connection from there; `None` if the address has too many.
    fn count(&self, from: IpAddr) -> Option<PerIpPermit> {
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

/// The connections that may be open at once.
#[derive(Clone)]
pub(crate) struct ConnectionLimit {
    free: Arc<Semaphore>,
    taken: Option<IntGauge>,
    per_ip: Option<PerIpLimit>,
    /// Wakes the oldest connection to make room.
    pub(super) make_room: Arc<Notify>,
}

impl ConnectionLimit {
    /// So many.
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: None, per_ip: None, make_room: Arc::default() }
    }

    /// So many, of which an address gets no more than its share; the gauge shows those taken.
    pub(crate) fn shared(count: usize, per_ip: PerIpLimit, taken: IntGauge) -> Self {
        Self { taken: Some(taken), per_ip: Some(per_ip), ..Self::new(count) }
    }

    pub(super) async fn take(&self) -> Option<ConnectionPermit> {
        let free = Arc::clone(&self.free);
        let permit = match free.try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.make_room.notify_one();
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        Some(ConnectionPermit { counted: None, taken: None, _permit: permit })
    }
}

/// The permit of one connection.
pub(super) struct ConnectionPermit {
    counted: Option<PerIpPermit>,
    taken: Option<IntGauge>,
    /// Dropped last: the next connection may come from the same address.
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    /// Counts a connection from there until this is dropped; none, if it is one too many of its address.
    pub(super) fn taken_by(mut self, from: IpAddr, limit: &ConnectionLimit) -> Option<Self> {
        if let Some(per_ip) = &limit.per_ip {
            self.counted = Some(per_ip.count(from)?);
        }
        self.taken = limit.taken.clone();
        if let Some(taken) = &self.taken {
            taken.inc();
        }
        Some(self)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(taken) = &self.taken {
            taken.dec();
        }
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
