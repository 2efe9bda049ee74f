//! Swarms in memory, as small as they can be: what the backend `memory` and a cache of swarms are made of.
//!
//! Take [`Swarm`] for the peers of one swarm. It keeps a state of your choice for each peer, such as the time of its
//! last announce. Take [`CompactMap`] for a map of swarms. Neither has a lock.
//!
//! ```
//! use storage_core::{InfoHash, Peer, PeerId, PeerSelection, Role};
//! use storage_swarms::{PeerGroup, Swarm};
//!
//! let peer = Peer::new(PeerId(*b"-TR4040-abcdefghijkl"), [192, 0, 2, 1].into(), 6881);
//! // The time of the last announce in seconds, as bytes: these need no alignment, so entries need no padding.
//! let mut swarm = Swarm::<[u8; 4]>::default();
//! match swarm.find(&peer) {
//!     Some(at) => {
//!         *swarm.state_mut(at) = 60u32.to_ne_bytes();
//!         swarm.assign(at, PeerGroup::Seeder);
//!     }
//!     None => {
//!         swarm.insert(&peer, PeerGroup::Seeder, 60u32.to_ne_bytes());
//!     }
//! }
//! assert_eq!(swarm.count(Role::Seeder), 1);
//! assert_eq!(swarm.select(&PeerSelection::new(InfoHash::V1([1; 20]), 50)), [peer]);
//! ```
//!
//! | file | what is there |
//! | --- | --- |
//! | `swarm` | one swarm: its peers of both address families |
//! | `peer_list` | the peers of one swarm and one address family |
//! | `compact_map` | a hash map with little memory overhead |

mod compact_map;
mod peer_list;
mod swarm;

pub use compact_map::CompactMap;
pub use hashbrown::DefaultHashBuilder;
pub use peer_list::{PeerGroup, PeerKey, PeerList};
pub use swarm::{PeerPosition, Swarm};
