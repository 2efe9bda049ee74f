//! Query plans of the recommended queries on large tables: rows are found by an index.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use storage_core::layer::Limits;
use storage_core::{
    InfoHash, NoObserver, Peer, PeerChange, PeerId, PeerSelection, PeerStorageExt, PeerWrite, Role, Storage,
    SwarmOrder, When,
};
use storage_pg::PgConfig;
use storage_pg::recommended::Recommendation;

use super::{ensure, on_schema, open_with};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

/// A swarm of 50,000 peers and 25,000 swarms of two, each with downloads.
const MANY: &str = r"
    INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6)
    SELECT decode(lpad(to_hex(CASE WHEN n % 2 = 0 THEN 0 ELSE n / 4 + 1 END), 40, '0'), 'hex'),
      decode(lpad(to_hex(n), 40, '0'), 'hex'), '192.0.2.1', n % 65536, n % 3 = 0, false
    FROM generate_series(0, 99999) AS n;
    INSERT INTO mo_downloads (info_hash, downloads) SELECT DISTINCT info_hash, 1 FROM mo_peers;
    ANALYZE mo_peers, mo_swarms, mo_downloads";

/// How many sequential scans each table had, by sessions that have ended.
const SCANS: &str = "\
SELECT relname || ' ' || seq_scan FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname <> 'mo_kv' ORDER BY 1";

pub(super) fn tests() -> Vec<Trial> {
    vec![on_schema(
        "queries for many read no table from its beginning",
        Recommendation::default(),
        |schema| block_on(no_table_is_read_whole(schema)),
    )]
}

async fn no_table_is_read_whole(schema: &Schema) -> Result<(), Failed> {
    schema.execute(MANY).await?;
    let url = PgUrl::parse(&schema.connection_string());
    let config = PgConfig { batch_when_idle: true, ..Recommendation::default().config() };
    let open = || open_with(config.clone(), &url, Arc::new(NoObserver), Limits::default());
    let storage = open().await?;
    let before = schema.texts(SCANS).await?;
    // More than the number of runs after which the server chooses a generic plan.
    for round in 0..12 {
        call_for_many(&*storage, round).await?;
    }
    storage.close().await?;
    let after = schema.texts(SCANS).await?;
    ensure(before == after && before.len() == 3, || format!("before {before:?}, after {after:?}"))?;
    // Statistics do a sequential scan, and the counter shows it.
    let storage = open().await?;
    storage.statistics().await?;
    storage.close().await?;
    // The server counts what a session did when its process ends, a moment after it was closed.
    let begun = Instant::now();
    while schema.texts(SCANS).await? == after {
        let is_late = begun.elapsed() > Duration::from_secs(10);
        ensure(!is_late, || "what is read whole does not show".into())?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn swarm(number: u32) -> InfoHash {
    let mut bytes = [0; 20];
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    InfoHash::V1(bytes)
}

/// Every call that has a query for many, for peers of small swarms and of the large one, known ones and new ones.
async fn call_for_many(storage: &dyn Storage, round: u32) -> Result<(), Failed> {
    let swarms = [swarm(0), swarm(round + 1), swarm(round + 1_000_000)];
    for (swarm, number) in swarms.iter().zip(round * 8..) {
        let mut id = [0; 20];
        id[16..].copy_from_slice(&number.to_be_bytes());
        let peer = Peer::new(PeerId(id), [192, 0, 2, 1].into(), number as u16);
        storage.put_peer(swarm, &peer, Role::Leecher, When::Now).await?;
        storage.graduate_peer(swarm, &peer, When::Now).await?;
        storage.announce_peers(&PeerSelection::new(*swarm, 50)).await?;
        storage.scrape_swarms(&swarms).await?;
        storage.read_swarms(&swarms, 100).await?;
        let page = storage.list_swarms(SwarmOrder::InfoHash, None, 50).await?;
        storage.list_swarms(SwarmOrder::InfoHash, page.next.as_ref(), 50).await?;
        for change in
            [PeerChange::Touch, PeerChange::Graduate, PeerChange::Put(Role::Leecher), PeerChange::Delete]
        {
            let write = PeerWrite { info_hash: *swarm, peer, change, announced: storage.now() };
            storage.write_peers(&[write]).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        storage.remove_peer(swarm, &peer).await?;
    }
    Ok(())
}
