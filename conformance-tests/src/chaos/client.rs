//! A client of the load: it makes one call after the other and logs them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use storage_core::{
    AddressFamily, Announce, AnnounceEvent, Context, Error, ErrorKind, InfoHash, Peer, PeerChange, PeerId,
    PeerSelection, PeerStorageExt, PeerWrite, Result, Role, Storage,
};
use tokio::time::Instant;

use super::client_log::{CallKind, CallOutcome, ClientLog, ExpectedEntry, ExpectedPeer, RecordedCall};

const NUM_WANT: usize = 10;
const PEERS_PER_SWARM: usize = 2;
const ENTRIES: usize = 4;
/// The share of whole announces, which are what a tracker makes.
const WHOLE_ANNOUNCES: f64 = 0.6;

/// The context of the load's data.
pub fn context() -> Context {
    Context::new("chaos").expect("a valid context")
}

/// A swarm of the load.
pub fn swarm(number: usize) -> InfoHash {
    let mut bytes = [7; 20];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    InfoHash::V1(bytes)
}

/// A peer that no other client writes.
pub fn peer(client: usize, number: usize) -> Peer {
    let mut id = *b"-TR4040-000000000000";
    id[8..16].copy_from_slice(&client.to_be_bytes());
    let [.., low] = number.to_be_bytes();
    id[19] = low;
    let [.., high, client_low] = client.to_be_bytes();
    Peer::new(PeerId(id), IpAddr::from([10, high, client_low, low]), 6881)
}

/// A client: the sole writer of its peers and its entries of data.
pub struct ChaosClient {
    storage: Arc<dyn Storage>,
    context: Context,
    rng: StdRng,
    log: ClientLog,
    writes: u64,
}

impl ChaosClient {
    /// A client with some peers in each swarm.
    pub fn new(storage: Arc<dyn Storage>, number: usize, swarms: usize, rng: StdRng) -> Self {
        let peers = (0..swarms * PEERS_PER_SWARM)
            .map(|index| ExpectedPeer::new(swarm(index % swarms), peer(number, index)))
            .collect();
        let data = (0..ENTRIES).map(|index| ExpectedEntry::new(format!("{number}/{index}").into())).collect();
        let log = ClientLog { peers, data, ..ClientLog::default() };
        Self { storage, context: context(), rng, log, writes: 0 }
    }

    /// What it knows in the end.
    pub fn into_log(self) -> ClientLog {
        self.log
    }

    /// A random pause between calls.
    pub fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(0..20))
    }

    /// Makes a random call.
    pub async fn step(&mut self) {
        let mut kind = CallKind::ALL[self.rng.random_range(0..CallKind::ALL.len())];
        if self.rng.random_bool(WHOLE_ANNOUNCES) {
            kind = CallKind::Announce;
        }
        let index = self.rng.random_range(0..self.log.peers.len());
        let begun = Instant::now();
        let (outcome, error) = match kind {
            CallKind::PutSeeder => self.put(index, Role::Seeder).await,
            CallKind::PutLeecher => self.put(index, Role::Leecher).await,
            CallKind::Delete => self.delete(index).await,
            CallKind::Graduate => self.graduate(index).await,
            CallKind::AnnouncePeers => self.announce_peers(index).await,
            CallKind::Scrape => self.scrape(index).await,
            CallKind::Announce => self.announce(index).await,
            CallKind::WritePeers => self.write_peers(index).await,
            CallKind::ReadSwarms => self.read_swarms(index).await,
            CallKind::PutData => self.put_data().await,
            CallKind::LoadData => self.load_data().await,
            CallKind::DeleteData => self.delete_data().await,
        };
        let took = begun.elapsed();
        if let Some(error) = &error
            && matches!(
                error.kind(),
                ErrorKind::Corrupt | ErrorKind::Unsupported(_) | ErrorKind::Rejected | ErrorKind::Full
            )
        {
            self.wrong(kind, format!("unexpected error: {error:?}"));
        }
        let error = error.filter(|error| !error.is_not_found()).map(|error| format!("{error:?}"));
        self.log.calls.push(RecordedCall { kind, begun, took, outcome, error });
    }

    async fn put(&mut self, index: usize, role: Role) -> (CallOutcome, Option<Error>) {
        let expected = &mut self.log.peers[index];
        let result = match role {
            Role::Seeder => self.storage.put_seeder(&expected.info_hash, &expected.peer).await,
            Role::Leecher => self.storage.put_leecher(&expected.info_hash, &expected.peer).await,
        };
        let outcome = CallOutcome::of(result.as_ref().err());
        expected.written(Some(role), outcome);
        (outcome, result.err())
    }

    async fn delete(&mut self, index: usize) -> (CallOutcome, Option<Error>) {
        let expected = &mut self.log.peers[index];
        let role = expected.likely_role();
        let result = self.storage.delete_peer(&expected.info_hash, &expected.peer, role).await;
        let answer = expected.deleted(role, &result);
        if let Err(message) = answer {
            self.wrong(CallKind::Delete, message);
        }
        (CallOutcome::of(result.as_ref().err()), result.err())
    }

    async fn graduate(&mut self, index: usize) -> (CallOutcome, Option<Error>) {
        let expected = &mut self.log.peers[index];
        let result = self.storage.graduate_leecher(&expected.info_hash, &expected.peer).await;
        let outcome = CallOutcome::of(result.as_ref().err());
        let is_download = result.as_ref().is_ok_and(|is_download| *is_download);
        let (info_hash, downloads) = (expected.info_hash, expected.graduated(outcome, is_download));
        self.count(CallKind::Graduate, info_hash, downloads);
        (outcome, result.err())
    }

    async fn announce_peers(&mut self, index: usize) -> (CallOutcome, Option<Error>) {
        let selection = PeerSelection::new(self.log.peers[index].info_hash, NUM_WANT);
        let result = self.storage.announce_peers(&selection).await;
        if let Ok(peers) = &result
            && peers.len() > NUM_WANT
        {
            self.wrong(CallKind::AnnouncePeers, format!("{} peers for {NUM_WANT}", peers.len()));
        }
        read(result)
    }

    async fn scrape(&mut self, index: usize) -> (CallOutcome, Option<Error>) {
        let info_hash = self.log.peers[index].info_hash;
        let result = self.storage.scrape_swarm(&info_hash).await;
        if let Ok(counts) = &result {
            let least = self.log.downloads.get(&info_hash).map_or(0, |downloads| downloads.least);
            if counts.downloads < least {
                self.wrong(CallKind::Scrape, format!("{} downloads, {least} acknowledged", counts.downloads));
            }
        }
        read(result)
    }

    async fn announce(&mut self, index: usize) -> (CallOutcome, Option<Error>) {
        let (event, role) = match self.rng.random_range(0..10) {
            0..3 => (AnnounceEvent::Started, Role::Leecher),
            3..5 => (AnnounceEvent::None, Role::Leecher),
            5..7 => (AnnounceEvent::None, Role::Seeder),
            7..9 => (AnnounceEvent::Completed, Role::Seeder),
            // In whichever role the peer is.
            _ => (AnnounceEvent::Stopped, Role::from_is_seeder(self.rng.random())),
        };
        let expected = &mut self.log.peers[index];
        let (info_hash, own) = (expected.info_hash, expected.peer);
        let announce = Announce::new(info_hash, [own])
            .with_role(role)
            .with_event(event)
            .with_num_want(NUM_WANT)
            .with_families(&[AddressFamily::V4]);
        let result = self.storage.announce(&announce).await;
        let outcome = CallOutcome::of(result.as_ref().err());
        match event {
            AnnounceEvent::Stopped => expected.written(None, outcome),
            AnnounceEvent::Completed => {
                let is_download = result.as_ref().is_ok_and(|answer| answer.is_download);
                let downloads = expected.graduated(outcome, is_download);
                self.count(CallKind::Announce, info_hash, downloads);
            }
            AnnounceEvent::Started | AnnounceEvent::None => expected.written(Some(role), outcome),
        }
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return (outcome, Some(error)),
        };
        if let Some(peers) = &answer.peers
            && (peers.len() > NUM_WANT || peers.contains(&own))
        {
            self.wrong(CallKind::Announce, format!("too many peers or the client itself: {peers:?}"));
        }
        // The write is logged; for the client the call has failed all the same.
        let outcome = if answer.failure.is_some() { CallOutcome::Refused } else { outcome };
        (outcome, answer.failure)
    }

    /// Writes two of its peers, each put or deleted as of now.
    async fn write_peers(&mut self, index: usize) -> (CallOutcome, Option<Error>) {
        let announced = self.storage.now();
        let (indices, mut writes) = ([index, (index + 1) % self.log.peers.len()], Vec::new());
        for index in indices {
            let change = match self.rng.random_range(0..3) {
                0 => PeerChange::Delete,
                role => PeerChange::Put(Role::from_is_seeder(role == 1)),
            };
            let ExpectedPeer { info_hash, peer, .. } = &self.log.peers[index];
            writes.push(PeerWrite { info_hash: *info_hash, peer: *peer, change, announced });
        }
        let results = self.storage.write_peers(&writes).await;
        let mut of_call = (CallOutcome::Acknowledged, None);
        for ((index, write), result) in indices.into_iter().zip(&writes).zip(results) {
            let outcome = CallOutcome::of(result.as_ref().err());
            let state = match write.change {
                PeerChange::Put(role) => Some(role),
                _ => None,
            };
            self.log.peers[index].written(state, outcome);
            if let Err(error) = result
                && of_call.0 != CallOutcome::Unknown
            {
                of_call = (outcome, Some(error));
            }
        }
        of_call
    }

    async fn read_swarms(&mut self, index: usize) -> (CallOutcome, Option<Error>) {
        let expected = &self.log.peers[index];
        let result = self.storage.read_swarms(&[expected.info_hash], usize::MAX).await;
        if let Ok(snapshots) = &result {
            let mut peers = snapshots.iter().flat_map(|snapshot| &snapshot.peers);
            let found = peers.find(|record| record.peer == expected.peer).map(|record| record.role);
            if !expected.may_be(found) {
                let message = format!("{expected}, read as {found:?}");
                self.wrong(CallKind::ReadSwarms, message);
            }
        }
        read(result)
    }

    async fn put_data(&mut self) -> (CallOutcome, Option<Error>) {
        self.writes += 1;
        let value = Bytes::from(self.writes.to_string());
        let entry = self.rng.random_range(0..ENTRIES);
        let entry = &mut self.log.data[entry];
        let result = self.storage.put_data(&self.context, &[(entry.key.clone(), value.clone())]).await;
        let outcome = CallOutcome::of(result.as_ref().err());
        entry.written(Some(value), outcome);
        (outcome, result.err())
    }

    async fn load_data(&mut self) -> (CallOutcome, Option<Error>) {
        let entry = self.rng.random_range(0..ENTRIES);
        let entry = &self.log.data[entry];
        let result = self.storage.load_data(&self.context, &entry.key).await;
        if let Ok(value) = &result
            && !entry.may_be(value.as_ref())
        {
            let message = format!("{entry}, loaded {value:?}");
            self.wrong(CallKind::LoadData, message);
        }
        read(result)
    }

    async fn delete_data(&mut self) -> (CallOutcome, Option<Error>) {
        let entry = self.rng.random_range(0..ENTRIES);
        let entry = &mut self.log.data[entry];
        let result = self.storage.delete_data(&self.context, std::slice::from_ref(&entry.key)).await;
        let outcome = CallOutcome::of(result.as_ref().err());
        entry.written(None, outcome);
        (outcome, result.err())
    }

    fn count(&mut self, kind: CallKind, info_hash: InfoHash, downloads: Result<(u64, u64), String>) {
        match downloads {
            Ok(downloads) => self.log.count(info_hash, downloads),
            Err(message) => self.wrong(kind, message),
        }
    }

    fn wrong(&mut self, kind: CallKind, message: String) {
        self.log.wrong_answers.push(format!("{}: {message}", kind.name()));
    }
}

/// A read changes nothing, however it ends.
fn read<T>(result: Result<T>) -> (CallOutcome, Option<Error>) {
    let error = result.err();
    match CallOutcome::of(error.as_ref()) {
        CallOutcome::Unknown => (CallOutcome::Refused, error),
        outcome => (outcome, error),
    }
}
