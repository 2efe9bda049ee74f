//! Counting: the lengths of all hashes that the set of swarms names.

use std::collections::HashMap;

use storage_core::{AddressFamily, InfoHash, Operation, Result, Role, Statistics};

use crate::connection::{Call, command, read};
use crate::layout::SwarmKey;
use crate::scan::Scan;
use crate::storage::RedisStorage;

/// Counts by the data, not by MoChi's counters. It costs one HLEN a key, whatever the number of peers,
/// and some 50 bytes of memory an info hash while it runs.
pub(super) async fn count(storage: &RedisStorage) -> Result<Statistics> {
    let call = Call::repeatable(Operation::Statistics);
    let mut statistics = Statistics::default();
    let mut seen: HashMap<InfoHash, u8> = HashMap::new();
    let mut scan = Scan::swarms(&storage.connections, call);
    while let Some(members) = scan.next::<Vec<u8>>().await? {
        let keys: Vec<_> = members.iter().filter_map(|member| SwarmKey::read_key(member)).collect();
        let lengths = keys.iter().map(|(swarm, role)| command("HLEN", &swarm.key(*role)));
        let lengths = storage.connections.many(call, lengths.collect()).await?;
        for ((swarm, role), length) in keys.into_iter().zip(lengths) {
            // Of another type; garbage collection names such keys.
            let Ok(length) = length else { continue };
            let length: u64 = read(call, length)?;
            if length == 0 || !first_time(&mut seen, &swarm, role) {
                continue;
            }
            match role {
                Role::Seeder => statistics.seeders += length,
                Role::Leecher => statistics.leechers += length,
            }
        }
    }
    statistics.info_hashes = seen.len() as u64;
    Ok(statistics)
}

/// Whether a key has not come before: a walk over a set that shrinks may repeat members.
fn first_time(seen: &mut HashMap<InfoHash, u8>, swarm: &SwarmKey, role: Role) -> bool {
    let bit = match (role, swarm.family) {
        (Role::Seeder, AddressFamily::V4) => 1,
        (Role::Seeder, AddressFamily::V6) => 2,
        (Role::Leecher, AddressFamily::V4) => 4,
        (Role::Leecher, AddressFamily::V6) => 8,
    };
    let keys = seen.entry(swarm.info_hash).or_default();
    let is_first = *keys & bit == 0;
    *keys |= bit;
    is_first
}
