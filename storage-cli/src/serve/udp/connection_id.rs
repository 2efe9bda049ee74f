//! Stateless connection ids (BEP 15), which prove that a client receives packets at its address.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use siphasher::sip::SipHasher24;

/// How long an id is good after it was given.
const LIFETIME: u16 = 120;

/// The bits of an id that hold the second of its issue.
const SECOND_BITS: u32 = 16;

/// Gives and checks ids. An id is the second in which it was given, and a keyed hash of that second and
/// the address; the key is random and lives as long as the process.
pub(super) struct ConnectionIds {
    key: [u8; 16],
    begun: Instant,
}

impl ConnectionIds {
    pub(super) fn new() -> Self {
        Self { key: rand::random(), begun: Instant::now() }
    }

    /// An id for a client.
    pub(super) fn give(&self, client: IpAddr) -> u64 {
        self.at(self.second(), client)
    }

    /// Whether an id was given to this client within the last two minutes.
    pub(super) fn accepts(&self, id: u64, client: IpAddr) -> bool {
        self.is_good(id, client, self.second())
    }

    fn is_good(&self, id: u64, client: IpAddr, now: u64) -> bool {
        let [.., high, low] = now.to_be_bytes();
        let [first, second, ..] = id.to_be_bytes();
        let age = u16::from_be_bytes([high, low]).wrapping_sub(u16::from_be_bytes([first, second]));
        let given = now.checked_sub(age.into());
        age <= LIFETIME && given.is_some_and(|given| self.at(given, client) == id)
    }

    fn at(&self, second: u64, client: IpAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        (second, client.to_canonical()).hash(&mut hasher);
        second << (u64::BITS - SECOND_BITS) | hasher.finish() >> SECOND_BITS
    }

    fn second(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn an_id_is_good_for_two_minutes_and_never_before() {
        let ids = ConnectionIds::new();
        for given in [0, 1, 65_535, 65_536, 1 << 40] {
            let id = ids.at(given, CLIENT);
            assert!(ids.is_good(id, CLIENT, given));
            assert!(ids.is_good(id, CLIENT, given + 120));
            assert!(!ids.is_good(id, CLIENT, given + 121));
            assert!(!ids.is_good(id, CLIENT, given + 65_536), "the second as far as the id tells it");
            assert!(given == 0 || !ids.is_good(id, CLIENT, given - 1));
        }
    }

    #[test]
    fn an_id_is_good_for_its_client_alone() {
        let ids = ConnectionIds::new();
        let id = ids.give(CLIENT);
        assert!(ids.accepts(id, CLIENT));
        assert!(ids.accepts(id, "::ffff:192.0.2.1".parse().unwrap()));
        assert!(!ids.accepts(id, "192.0.2.2".parse().unwrap()));
        assert!(!ids.accepts(id, "2001:db8::1".parse().unwrap()));
        assert!(!ConnectionIds::new().accepts(id, CLIENT), "another process has another key");
    }

    proptest! {
        #[test]
        fn an_id_that_was_not_given_is_not_good(id: u64, now: u64) {
            prop_assert!(!ConnectionIds::new().is_good(id, CLIENT, now));
        }
    }
}
