//! Swarms in memory, as small as they can be.
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
pub use swarm::Swarm;
