//! Calls as scripts, each in one round trip, on one server.

use redis::{Cmd, Value};
use storage_core::{
    AddressFamily, Announce, AnnounceAnswer, AnnounceEvent, InfoHash, Operation, Peer, PeerSelection, Result,
    Role, SwarmCounts, Timestamp,
};

use super::MOST_WANTED;
use crate::connection::{Call, read};
use crate::layout::{DOWNLOADS, SWARMS, SwarmKey, counter, peer_key, peer_key_length, read_peer_key};
use crate::scripts;
use crate::storage::{RedisStorage, keys_about, keys_of};

/// Peers that answers have room for from the beginning.
const USUALLY_WANTED: usize = 64;

impl RedisStorage {
    pub(super) async fn put_by_script(
        &self,
        swarm: SwarmKey,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> Result<()> {
        let command = scripts::PUT
            .call(&[&swarm.key(role), &swarm.key(role.other()), SWARMS, counter(role), counter(role.other())])
            .arg(peer_key(peer))
            .arg(announced.nanoseconds())
            .take();
        self.connections.write(Call::repeatable(Operation::PutPeer), command).await
    }

    pub(super) async fn delete_by_script(&self, swarm: SwarmKey, peer: &Peer, role: Role) -> Result<bool> {
        let command =
            scripts::DELETE.call(&[&swarm.key(role), SWARMS, counter(role)]).arg(peer_key(peer)).take();
        self.connections.write(Call::once(Operation::DeletePeer), command).await
    }

    pub(super) async fn remove_by_script(&self, swarm: SwarmKey, peer: &Peer) -> Result<()> {
        let (seeders, leechers) = (swarm.key(Role::Seeder), swarm.key(Role::Leecher));
        let counters = Role::BOTH.map(counter);
        let command = scripts::REMOVE
            .call(&[&seeders, &leechers, SWARMS, counters[0], counters[1]])
            .arg(peer_key(peer))
            .take();
        self.connections.write::<i64>(Call::repeatable(Operation::RemovePeer), command).await.map(drop)
    }

    pub(super) async fn graduate_by_script(
        &self,
        info_hash: &InfoHash,
        peers: &[Peer],
        announced: Timestamp,
    ) -> Result<bool> {
        let mut command = scripts::GRADUATE.call(&keys_about(info_hash));
        command.arg(announced.nanoseconds()).arg(info_hash.as_bytes());
        for peer in peers {
            command.arg(peer_key(peer));
        }
        let call = Call::repeatable(Operation::GraduatePeers);
        let (is_download, may_have_committed): (bool, _) =
            self.connections.write_again(call, command).await?;
        // One that took effect, and was repeated because its answer was lost, finds a seeder.
        Ok(is_download || may_have_committed)
    }

    pub(super) async fn announce_by_script(&self, selection: &PeerSelection) -> Result<Vec<Peer>> {
        let swarm = SwarmKey::new(selection.info_hash, selection.family);
        let command = scripts::ANNOUNCE
            .call(&[swarm.key(Role::Seeder), swarm.key(Role::Leecher)])
            .arg(selection.num_want)
            .arg(i32::from(selection.for_seeder))
            .arg(excluded(selection))
            .arg(peer_key_length(selection.family))
            .arg(rand::random_range(0..=i32::MAX))
            .take();
        let found: Vec<u8> =
            self.connections.query(Call::repeatable(Operation::AnnouncePeers), command).await?;
        let mut peers = Vec::with_capacity(found.len() / peer_key_length(selection.family));
        self.read_peers(&found, selection.family, &mut peers);
        Ok(peers)
    }

    pub(super) async fn scrape_by_script(&self, info_hash: &InfoHash) -> Result<SwarmCounts> {
        let call = Call::repeatable(Operation::ScrapeSwarm);
        let value = self.connections.query(call, scrape(info_hash)).await?;
        self.read_counts(call, value)
    }

    pub(super) async fn scrape_many_by_script(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmCounts>> {
        let call = Call::repeatable(Operation::ScrapeSwarms);
        let values = self.connections.many(call, info_hashes.iter().map(scrape).collect()).await?;
        values.into_iter().map(|value| self.read_counts(call, value?)).collect()
    }

    pub(super) async fn announce_at_once(&self, announce: &Announce) -> Result<AnnounceAnswer> {
        let Announce { info_hash, role, event, announced, .. } = announce;
        let announced = announced.on(self);
        let selections: Vec<_> = announce.selections().collect();
        let for_seeder = selections.first().is_some_and(|selection| selection.for_seeder);
        let families: String =
            selections.iter().map(|selection| if selection.family.is_v6() { '6' } else { '4' }).collect();
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
        for peer in announce.peers() {
            command.arg(peer_key(peer));
        }
        let completes = *event == AnnounceEvent::Completed;
        let call = Call::repeatable(Operation::Announce).with_download(completes);
        let (answer, may_have_committed): (Vec<Value>, _) =
            self.connections.write_again(call, command).await?;
        let mut answer = answer.into_iter();
        let mut next = || answer.next().unwrap_or(Value::Nil);
        let is_download =
            read(call, next())? || may_have_committed && completes && !announce.peers().is_empty();
        let (seeders, leechers) = (read(call, next())?, read(call, next())?);
        let downloads = self.read_downloads(call, next())?;
        let mut peers = Vec::with_capacity(announce.num_want.min(USUALLY_WANTED));
        for selection in &selections {
            self.read_peers(&read::<Vec<u8>>(call, next())?, selection.family, &mut peers);
        }
        let counts = SwarmCounts { seeders, leechers, downloads };
        Ok(AnnounceAnswer::after_write(is_download, Ok(peers), Ok(counts)))
    }

    /// Reads peers of one family from a text in which they follow one another.
    fn read_peers(&self, text: &[u8], family: AddressFamily, peers: &mut Vec<Peer>) {
        let mut unreadable = 0;
        for key in text.chunks(peer_key_length(family)) {
            match read_peer_key(key, family) {
                Some(peer) => peers.push(peer),
                None => unreadable += 1,
            }
        }
        self.connections.note_unreadable("peers", unreadable);
    }

    fn read_counts(&self, call: Call, value: Value) -> Result<SwarmCounts> {
        let (seeders, leechers, downloads) = read(call, value)?;
        Ok(SwarmCounts { seeders, leechers, downloads: self.read_downloads(call, downloads)? })
    }
}

fn scrape(info_hash: &InfoHash) -> Cmd {
    let [seeders_v4, seeders_v6, leechers_v4, leechers_v6] = &keys_of(info_hash);
    scripts::SCRAPE
        .call(&[seeders_v4, seeders_v6, leechers_v4, leechers_v6, DOWNLOADS])
        .arg(info_hash.as_bytes())
        .take()
}

/// The peer to leave out, or nothing.
pub(super) fn excluded(selection: &PeerSelection) -> Vec<u8> {
    let excluded = selection.exclude.filter(|peer| peer.family() == selection.family);
    excluded.map(|peer| peer_key(&peer)).unwrap_or_default()
}
