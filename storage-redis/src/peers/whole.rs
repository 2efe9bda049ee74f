//! Calls as scripts, each in one round trip, on one server.

use redis::{Cmd, Value};
use storage_core::{
    AddressFamily, Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Operation, Peer, PeerSelection, Result,
    Role, SwarmCounts, Timestamp,
};

use super::MOST_WANTED;
use crate::connection::{Call, read};
use crate::layout::{DOWNLOADS, SWARMS, Swarm, counter, peer_key, peer_key_length, read_peer_key};
use crate::scripts;
use crate::storage::{RedisStorage, keys_about, keys_of};

impl RedisStorage {
    pub(super) async fn put_whole(
        &self,
        swarm: Swarm,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> Result<()> {
        let mut command = scripts::PUT.call(&[
            &swarm.key(role),
            &swarm.key(role.other()),
            SWARMS,
            counter(role),
            counter(role.other()),
        ]);
        command.arg(peer_key(peer)).arg(announced.nanoseconds());
        self.connections.query(Call::repeatable(Operation::PutPeer), command).await
    }

    pub(super) async fn delete_whole(&self, swarm: Swarm, peer: &Peer, role: Role) -> Result<bool> {
        let mut command = scripts::DELETE.call(&[&swarm.key(role), SWARMS, counter(role)]);
        command.arg(peer_key(peer));
        self.connections.query(Call::once(Operation::DeletePeer), command).await
    }

    pub(super) async fn graduate_whole(&self, swarm: Swarm, peer: &Peer, announced: Timestamp) -> Result<()> {
        let mut command = scripts::GRADUATE.call(&[
            &swarm.key(Role::Seeder),
            &swarm.key(Role::Leecher),
            SWARMS,
            counter(Role::Seeder),
            counter(Role::Leecher),
            DOWNLOADS,
        ]);
        command.arg(peer_key(peer)).arg(announced.nanoseconds()).arg(swarm.info_hash.as_bytes());
        self.connections.query(Call::once(Operation::GraduatePeer), command).await
    }

    pub(super) async fn announce_whole(&self, selection: &PeerSelection) -> Result<Vec<Vec<u8>>> {
        let swarm = Swarm::new(selection.info_hash, selection.family);
        let mut command = scripts::ANNOUNCE.call(&[swarm.key(Role::Seeder), swarm.key(Role::Leecher)]);
        command
            .arg(selection.num_want)
            .arg(i32::from(selection.for_seeder))
            .arg(excluded(selection))
            .arg(peer_key_length(selection.family))
            .arg(rand::random_range(0..=i32::MAX));
        self.connections.query(Call::repeatable(Operation::AnnouncePeers), command).await
    }

    pub(super) async fn scrape_whole(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let call = Call::repeatable(Operation::ScrapeSwarm);
        let value = self.connections.query(call, scrape(info_hash)).await?;
        self.read_counts(call, value)
    }

    pub(super) async fn scrape_all_whole(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        let call = Call::repeatable(Operation::ScrapeSwarms);
        let values = self.connections.many(call, info_hashes.iter().map(scrape).collect()).await?;
        values.into_iter().map(|value| self.read_counts(call, value?)).collect()
    }

    pub(super) async fn announce_at_once(&self, announce: &Announce<'_>) -> Result<AnnounceAnswer> {
        let Announce { info_hash, peers, role, event, announced, .. } = announce;
        let mut selections = announce.selections().peekable();
        let for_seeder = selections.peek().is_some_and(|selection| selection.for_seeder);
        let families: String =
            selections.map(|selection| if selection.family.is_v6() { '6' } else { '4' }).collect();
        let mut command = scripts::WHOLE_ANNOUNCE.call(&keys_about(info_hash));
        command
            .arg(match (event, role) {
                (AnnounceEvent::Stopped, _) => "stopped",
                (AnnounceEvent::Completed, _) => "completed",
                (_, Role::Seeder) => "seeder",
                (_, Role::Leecher) => "leecher",
            })
            .arg(announced.nanoseconds())
            .arg(info_hash.as_bytes())
            .arg(announce.num_want.min(MOST_WANTED))
            .arg(i32::from(for_seeder))
            .arg(families)
            .arg(rand::random_range(0..=i32::MAX));
        for peer in *peers {
            command.arg(peer_key(peer));
        }
        // A download must not be counted twice; all else may be done again.
        let call = match event {
            AnnounceEvent::Completed => Call::once(Operation::Announce),
            _ => Call::repeatable(Operation::Announce),
        };
        let value = self.connections.query(call, command).await?;
        let (seeders, leechers, downloads, found): (_, _, _, Vec<Vec<u8>>) = read(call, value)?;
        let family = |key: &[u8]| {
            let is_v6 = key.len() == peer_key_length(AddressFamily::V6);
            if is_v6 { AddressFamily::V6 } else { AddressFamily::V4 }
        };
        let found_peers: Vec<_> = found.iter().filter_map(|key| read_peer_key(key, family(key))).collect();
        self.connections.note_unreadable("peers", (found.len() - found_peers.len()) as u64);
        let downloads = self.read_downloads(call, downloads)?;
        Ok(AnnounceAnswer { peers: found_peers, counts: SwarmCounts { seeders, leechers, downloads } })
    }

    fn read_counts(&self, call: Call, value: Value) -> Result<SwarmCounts> {
        let (seeders, leechers, downloads) = read(call, value)?;
        Ok(SwarmCounts { seeders, leechers, downloads: self.read_downloads(call, downloads)? })
    }
}

fn scrape(info_hash: &InfoHash) -> Cmd {
    let [seeders_v4, seeders_v6, leechers_v4, leechers_v6] = &keys_of(info_hash);
    let mut command = scripts::SCRAPE.call(&[seeders_v4, seeders_v6, leechers_v4, leechers_v6, DOWNLOADS]);
    command.arg(info_hash.as_bytes());
    command
}

/// The peer to leave out, or nothing.
pub(super) fn excluded(selection: &PeerSelection) -> Vec<u8> {
    let excluded = selection.exclude.filter(|peer| peer.family() == selection.family);
    excluded.map(|peer| peer_key(&peer)).unwrap_or_default()
}
