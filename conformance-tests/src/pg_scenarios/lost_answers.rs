//! Lost answers: the call is retried, and counts once.

use std::net::IpAddr;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::layer::Limits;
use storage_core::{
    Announce, AnnounceEvent, InfoHash, Observer, Peer, PeerChange, PeerId, PeerStorageExt, PeerWrite, Role,
    Storage, SwarmCounts, When,
};
use storage_pg::PgConfig;
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, open_with, proxies_for, test};
use crate::runtime::block_on;
use crate::servers::{CutPoint, PgUrl, TcpProxy};

const SWARM: InfoHash = InfoHash::V1([1; 20]);
/// Bytes that only statements about this peer have in them.
const PEER_ID: PeerId = PeerId(*b"-TR4040-only-one-has");

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("a put whose answer is lost is done again", |url| block_on(put(url))),
        test("a delete whose answer is lost is a success", |url| block_on(delete(url, false))),
        test("a delete in a batch whose answer is lost is a success", |url| block_on(delete(url, true))),
        test("a client that stopped is gone though its answer is lost", |url| block_on(stop(url, false))),
        test("a client that stopped in a batch is gone though its answer is lost", |url| {
            block_on(stop(url, true))
        }),
        test("writes for many whose answers are lost are done again", |url| block_on(write_many(url))),
        test("a graduation whose answer is lost counts once", |url| {
            block_on(graduate(url, b"COMMIT", CutPoint::Answer))
        }),
        test("a graduation whose commit is lost counts once", |url| {
            block_on(graduate(url, b"COMMIT", CutPoint::Request))
        }),
        test("a graduation that is lost before its commit counts once", |url| {
            block_on(graduate(url, &PEER_ID.0, CutPoint::Answer))
        }),
    ]
}

/// A storage behind a proxy that can be cut.
struct LossyServer {
    storage: Arc<dyn Storage>,
    proxy: TcpProxy,
    retries: Arc<Counter>,
}

impl LossyServer {
    async fn new(url: &PgUrl) -> Result<Self, Failed> {
        Self::of(url, Recommendation::default().config()).await
    }

    async fn of(url: &PgUrl, config: PgConfig) -> Result<Self, Failed> {
        let (mut proxies, url) = proxies_for(url, 1).await?;
        let proxy = proxies.pop().ok_or("there is a proxy")?;
        let retries = Arc::new(Counter::default());
        let observer = Arc::clone(&retries) as Arc<dyn Observer>;
        let storage = open_with(config, &url, observer, Limits::default()).await?;
        Ok(Self { storage, proxy, retries })
    }

    /// Asserts that the connection was cut, how often the call was retried, and the counts of the swarm.
    async fn ends_with(&self, retries: u64, expected: SwarmCounts) -> Result<(), Failed> {
        ensure(!self.proxy.is_cut_pending(), || "the connection was not cut".into())?;
        let made = self.retries.retries("connection");
        ensure(made == retries, || format!("{made} attempts were made again, expected {retries}"))?;
        let found = self.storage.scrape_swarm(&SWARM).await?;
        ensure(found == expected, || format!("expected {expected:?}, found {found:?}"))?;
        Ok(self.storage.close().await?)
    }
}

async fn put(url: &PgUrl) -> Result<(), Failed> {
    let server = LossyServer::new(url).await?;
    server.proxy.cut_at(&PEER_ID.0, CutPoint::Answer);
    server.storage.put_leecher(&SWARM, &peer()).await?;
    server.ends_with(1, SwarmCounts { leechers: 1, ..SwarmCounts::default() }).await
}

async fn delete(url: &PgUrl, in_a_batch: bool) -> Result<(), Failed> {
    let config = PgConfig { batch_when_idle: in_a_batch, ..Recommendation::default().config() };
    let server = LossyServer::of(url, config).await?;
    server.storage.put_leecher(&SWARM, &peer()).await?;
    server.proxy.cut_at(&PEER_ID.0, CutPoint::Answer);
    server.storage.delete_peer(&SWARM, &peer(), Role::Leecher).await?;
    server.ends_with(1, SwarmCounts::default()).await
}

/// A client is stored in one role and stops in the other; the answer to the first statement is lost.
async fn stop(url: &PgUrl, in_a_batch: bool) -> Result<(), Failed> {
    for role in Role::BOTH {
        let config = PgConfig { batch_when_idle: in_a_batch, ..Recommendation::default().config() };
        let server = LossyServer::of(url, config).await?;
        server.storage.put_peer(&SWARM, &peer(), role, When::Now).await?;
        server.proxy.cut_at(&PEER_ID.0, CutPoint::Answer);
        let announce = Announce::new(SWARM, [peer()])
            .with_role(role.other())
            .with_event(AnnounceEvent::Stopped)
            .with_num_want(0)
            .with_families(&[]);
        server.storage.announce(&announce).await?;
        server.ends_with(1, SwarmCounts::default()).await?;
    }
    Ok(())
}

/// Each kind of write, whose answer is lost.
async fn write_many(url: &PgUrl) -> Result<(), Failed> {
    let leecher = SwarmCounts { leechers: 1, ..SwarmCounts::default() };
    for (change, expected) in [
        (PeerChange::Put(Role::Seeder), SwarmCounts { seeders: 1, ..SwarmCounts::default() }),
        (PeerChange::Touch, leecher),
        (PeerChange::Delete, SwarmCounts::default()),
        (PeerChange::Graduate, SwarmCounts { seeders: 1, leechers: 0, downloads: 1 }),
    ] {
        let server = LossyServer::new(url).await?;
        server.storage.forget_swarm(&SWARM).await?;
        server.storage.put_leecher(&SWARM, &peer()).await?;
        for at in [PEER_ID.0.as_slice(), b"COMMIT"] {
            server.proxy.cut_at(at, CutPoint::Answer);
            let announced = server.storage.now();
            let write = PeerWrite { info_hash: SWARM, peer: peer(), change, announced };
            let results = server.storage.write_peers(&[write]).await;
            results.into_iter().collect::<Result<Vec<_>, _>>()?;
            ensure(!server.proxy.is_cut_pending(), || format!("{change:?}: the connection was not cut"))?;
        }
        server.ends_with(2, expected).await?;
    }
    Ok(())
}

async fn graduate(url: &PgUrl, at: &[u8], cut: CutPoint) -> Result<(), Failed> {
    let server = LossyServer::new(url).await?;
    server.storage.put_leecher(&SWARM, &peer()).await?;
    server.proxy.cut_at(at, cut);
    let is_download = server.storage.graduate_leecher(&SWARM, &peer()).await?;
    ensure(is_download, || "it was no download".into())?;
    server.ends_with(1, SwarmCounts { seeders: 1, leechers: 0, downloads: 1 }).await
}

fn peer() -> Peer {
    Peer::new(PEER_ID, IpAddr::from([192, 0, 2, 1]), 6881)
}
