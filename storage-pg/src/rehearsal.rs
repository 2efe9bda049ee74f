//! Rehearsals: queries that delete or change rows are tried on probe rows of our own, in a
//! transaction that is always rolled back, and must touch no other row.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use storage_core::{
    Context, ErrorKind, InfoHash, Operation, Peer, PeerId, Rehearsal, Result, Role, Timestamp,
};

use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;
use crate::slot;
use crate::statement::{Inputs, Statement};
use crate::storage::{PgStorage, not_connected};

/// A query that runs longer than this touches more than a few probe rows.
const LONGEST: Duration = Duration::from_secs(20);

/// How often a rehearsal is begun again that others got in the way of.
const CONFLICTS: usize = 16;

/// More rows than there are probes.
const MANY: u64 = 1_000;

/// How many neighbours share a swarm.
const IN_THE_SWARM: u64 = 6;

/// Probe rows and what a query did to them.
struct Probe<'a> {
    storage: &'a PgStorage,
    connection: &'a mut PgConnection,
    swarm: InfoHash,
    other_swarm: InfoHash,
}

impl PgStorage {
    pub(crate) async fn rehearse_all(&self) -> Result<Vec<Rehearsal>> {
        let queries = [
            (Operation::DeletePeer, slot::DELETE_PEER),
            (Operation::DeletePeer, slot::DELETE_PEERS),
            (Operation::GraduatePeers, slot::GRADUATE),
            (Operation::GraduatePeers, slot::GRADUATE_PEERS),
            (Operation::GraduatePeers, slot::INCREMENT_DOWNLOADS),
            (Operation::CollectGarbage, slot::COLLECT_GARBAGE),
            (Operation::DeleteData, slot::DELETE_DATA),
            (Operation::ForgetSwarm, slot::FORGET_PEERS),
            (Operation::ForgetSwarm, slot::DELETE_DOWNLOADS),
        ];
        let mut rehearsals = Vec::new();
        for (operation, slot) in queries {
            if let Some(statement) = self.core.find(slot) {
                // What others are writing may be in the way.
                let overreach = (|| self.rehearse_one(statement))
                    .retry(waits())
                    .when(|error| error.kind() == ErrorKind::Conflict)
                    .await?;
                rehearsals.push(Rehearsal { operation, key: slot.key, overreach });
            }
        }
        Ok(rehearsals)
    }

    async fn rehearse_one(&self, statement: &Statement) -> Result<Option<String>> {
        let fail = |error: Failure| error.into_error(Operation::Rehearse, true);
        let end = Instant::now() + LONGEST + LONGEST / 4;
        let leased = self.core.pool.lease(end, true).await;
        let mut lease = leased.map_err(|error| not_connected(Operation::Rehearse, error))?;
        let Some(connection) = lease.connection() else { return Err(fail(Failure::out_of_time())) };
        let begun = timeout_at(end, connection.begin()).await.map_err(|_| fail(Failure::out_of_time()))?;
        let mut transaction = begun.map_err(|error| fail(Failure::of("", error)))?;
        let mut probe = Probe {
            storage: self,
            connection: &mut transaction,
            swarm: InfoHash::V1(rand::random()),
            other_swarm: InfoHash::V2(rand::random()),
        };
        let overreach = tokio::time::timeout(LONGEST, probe.run(statement)).await;
        let Ok(overreach) = overreach else {
            // The lease is dropped in the middle of the query: its connection ends and with it the
            // transaction.
            return Ok(Some(format!("ran for over {LONGEST:?} with a few probe rows to touch")));
        };
        let rolled_back = timeout_at(end, transaction.rollback()).await;
        let rolled_back = rolled_back.map_err(|_| fail(Failure::out_of_time()))?;
        rolled_back.map_err(|error| fail(Failure::of("", error)))?;
        lease.release();
        overreach.map_err(fail)
    }
}

fn waits() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_millis(500))
        .with_max_times(CONFLICTS)
        .with_jitter()
}

impl Probe<'_> {
    async fn run(&mut self, statement: &Statement) -> Result<Option<String>, Failure> {
        match statement.slot.key {
            key if key == slot::DELETE_PEER.key => self.delete_peer(statement).await,
            key if key == slot::DELETE_PEERS.key => self.delete_peers(statement).await,
            key if key == slot::GRADUATE.key => self.graduate_peer(statement).await,
            key if key == slot::GRADUATE_PEERS.key => self.graduate_peers(statement).await,
            key if key == slot::INCREMENT_DOWNLOADS.key => self.increment_downloads(statement).await,
            key if key == slot::COLLECT_GARBAGE.key => self.collect_garbage(statement).await,
            key if key == slot::DELETE_DATA.key => self.delete_data(statement).await,
            key if key == slot::FORGET_PEERS.key => self.forget_peers(statement).await,
            _ => self.delete_downloads(statement).await,
        }
    }

    async fn delete_peer(&mut self, delete: &Statement) -> Result<Option<String>, Failure> {
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let swarm = self.swarm;
        let touched =
            delete.execute(self.connection, Inputs::peer(&swarm, &probe_peer(1, 1), Role::Seeder)).await?;
        Ok(overreach(touched, 1, "one peer was to be deleted"))
    }

    async fn delete_peers(&mut self, delete: &Statement) -> Result<Option<String>, Failure> {
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let swarm = self.swarm;
        let (meant, in_other_role) = (probe_peer(1, 1), probe_peer(3, 1));
        let deletion = |request, peer| Inputs::deletion(request, &swarm, peer, Role::Seeder);
        let batch = [deletion(0, &meant), deletion(1, &in_other_role)];
        let touched = delete.execute_batch(self.connection, &batch).await?;
        Ok(overreach(touched, 1, "one peer was to be deleted, and one has the other role"))
    }

    async fn graduate_peer(&mut self, graduate: &Statement) -> Result<Option<String>, Failure> {
        let (announced, cutoff) = long_ago();
        self.put_neighbours(Role::Leecher, announced).await?;
        let swarm = self.swarm;
        let meant = probe_peer(1, 1);
        let inputs = Inputs::announced(&swarm, &meant, Role::Seeder, Timestamp::now());
        let touched = graduate.execute(self.connection, inputs).await?;
        let Some(mut overreach) = overreach(touched, 1, "one leecher was to be graduated") else {
            return Ok(None);
        };
        // The cases that would show this are refused for such a query.
        if let Some(collect) = self.storage.core.find(slot::COLLECT_GARBAGE) {
            collect.execute(self.connection, Inputs::stale(cutoff, MANY)).await?;
            let delete = self.storage.core.find(slot::DELETE_PEER);
            let found = match delete {
                Some(delete) => delete.execute(self.connection, inputs).await?,
                None => 1,
            };
            if found == 0 {
                overreach.push_str("; nor did it set the time of the last announce");
            }
        }
        Ok(Some(overreach))
    }

    async fn graduate_peers(&mut self, graduate: &Statement) -> Result<Option<String>, Failure> {
        self.put_neighbours(Role::Leecher, Timestamp::now()).await?;
        let (swarm, before) = (self.swarm, self.leechers().await?);
        let meant = probe_peer(1, 1);
        let inputs = Inputs::announced(&swarm, &meant, Role::Seeder, Timestamp::now());
        graduate.rows_of_batch(self.connection, &[inputs]).await?;
        let touched = before.saturating_sub(self.leechers().await?);
        Ok(overreach(touched, 1, "one leecher was to be graduated"))
    }

    /// How many leechers there are in both swarms.
    async fn leechers(&mut self) -> Result<u64, Failure> {
        let Some(count) = self.storage.core.find(slot::COUNT_SWARM) else { return Ok(0) };
        let (swarm, other_swarm) = (self.swarm, self.other_swarm);
        let mut leechers = 0;
        for info_hash in [&swarm, &other_swarm] {
            let row = count.first(self.connection, Inputs::swarm(info_hash)).await?;
            leechers += row.map_or(0, |row| count.read_count(&row, 1));
        }
        Ok(leechers)
    }

    async fn collect_garbage(&mut self, collect: &Statement) -> Result<Option<String>, Failure> {
        // 1990, 1991.
        let (announced, cutoff) =
            (Timestamp::from_seconds(631_152_000), Timestamp::from_seconds(662_688_000));
        let swarm = self.swarm;
        for (number, role) in (1..).zip(Role::BOTH) {
            self.put(&swarm, &probe_peer(number, 1), role, announced).await?;
            self.put(&swarm, &probe_peer_v6(number), role, announced).await?;
        }
        self.put(&swarm, &probe_peer(9, 1), Role::Seeder, Timestamp::now()).await?;
        let touched = collect.execute(self.connection, Inputs::stale(cutoff, MANY)).await?;
        Ok(overreach(touched, 4, "4 peers of the year 1990 were to be removed"))
    }

    async fn delete_data(&mut self, delete: &Statement) -> Result<Option<String>, Failure> {
        let Some(put) = self.storage.core.find(slot::PUT_DATA) else { return Ok(None) };
        let run: u128 = rand::random();
        let name = |number: u8| Context::new(format!("rehearsal-{run:032x}-{number}"));
        let (Ok(context), Ok(other)) = (name(1), name(2)) else { return Ok(None) };
        let keys = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
        for (context, key) in [(&context, &keys[0]), (&context, &keys[1]), (&other, &keys[0])] {
            put.execute(self.connection, Inputs::entry(context, key, b"probe")).await?;
        }
        let touched = delete.execute(self.connection, Inputs::keys(&context, &keys[..1])).await?;
        Ok(overreach(touched, 1, "one key was to be deleted"))
    }

    async fn forget_peers(&mut self, forget: &Statement) -> Result<Option<String>, Failure> {
        self.put_neighbours(Role::Seeder, Timestamp::now()).await?;
        let swarm = self.swarm;
        let touched = forget.execute(self.connection, Inputs::swarm(&swarm)).await?;
        Ok(overreach(touched, IN_THE_SWARM, "the 6 peers of one swarm were to be deleted"))
    }

    async fn increment_downloads(&mut self, increment: &Statement) -> Result<Option<String>, Failure> {
        let (swarm, other_swarm) = (self.swarm, self.other_swarm);
        let mut touched = 0;
        for info_hash in [&swarm, &other_swarm, &swarm] {
            touched = increment.execute(self.connection, Inputs::swarm(info_hash)).await?;
        }
        Ok(overreach(touched, 1, "the downloads of one swarm were to be raised"))
    }

    async fn delete_downloads(&mut self, delete: &Statement) -> Result<Option<String>, Failure> {
        let Some(increment) = self.storage.core.find(slot::INCREMENT_DOWNLOADS) else { return Ok(None) };
        let (swarm, other_swarm) = (self.swarm, self.other_swarm);
        for info_hash in [&swarm, &other_swarm] {
            increment.execute(self.connection, Inputs::swarm(info_hash)).await?;
        }
        let touched = delete.execute(self.connection, Inputs::swarm(&swarm)).await?;
        Ok(overreach(touched, 1, "the downloads of one swarm were to be deleted"))
    }

    /// The peer that is meant, and those that differ from it in one thing each: [`IN_THE_SWARM`] are in
    /// its swarm, one is in another.
    async fn put_neighbours(&mut self, role: Role, announced: Timestamp) -> Result<(), Failure> {
        let (swarm, other_swarm) = (self.swarm, self.other_swarm);
        let meant = probe_peer(1, 1);
        let other_id = Peer::new(*probe_peer(2, 1).id(), meant.address(), meant.port());
        let other_address = Peer::new(*meant.id(), probe_peer(2, 1).address(), meant.port());
        for peer in [meant, other_id, other_address, probe_peer(1, 2)] {
            self.put(&swarm, &peer, role, announced).await?;
        }
        self.put(&swarm, &probe_peer_v6(1), role, announced).await?;
        self.put(&swarm, &probe_peer(3, 1), role.other(), announced).await?;
        self.put(&other_swarm, &meant, role, announced).await
    }

    async fn put(
        &mut self,
        info_hash: &InfoHash,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> Result<(), Failure> {
        let Some(put) = self.storage.core.find(slot::PUT_PEER) else { return Ok(()) };
        put.execute(self.connection, Inputs::announced(info_hash, peer, role, announced)).await.map(drop)
    }
}

fn overreach(touched: u64, meant: u64, what: &str) -> Option<String> {
    (touched > meant).then(|| format!("{what}, and {touched} rows were touched"))
}

/// A time of announce in 1990 and a cutoff in 1991: no real peer is that old.
fn long_ago() -> (Timestamp, Timestamp) {
    (Timestamp::from_seconds(631_152_000), Timestamp::from_seconds(662_688_000))
}

fn probe_id(number: u8) -> PeerId {
    let mut id = *b"-TR4040-rehearsal--.";
    id[19] = number;
    PeerId(id)
}

/// At an address for documentation (RFC 5737).
pub(crate) fn probe_peer(number: u8, port: u16) -> Peer {
    Peer::new(probe_id(number), IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)), port)
}

/// At an address for documentation (RFC 3849).
fn probe_peer_v6(number: u8) -> Peer {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into());
    Peer::new(probe_id(number), IpAddr::V6(address), 1)
}
