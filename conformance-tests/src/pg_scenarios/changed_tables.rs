//! Tables that the operator changes while trackers use them: no call fails.

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use storage_core::layer::Limits;
use storage_core::{
    Context, ExportScope, InfoHash, Peer, PeerId, PeerRecord, PeerSelection, PeerStorageExt, Role, Storage,
    SwarmCounts, When,
};
use storage_pg::Query;
use storage_pg::recommended::{Recommendation, from_seed};

use super::{Counter, ensure, on_design, on_schema, open_with};
use crate::harness::unless_missing;
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema, Servers, SqlDatabase};
use crate::storages::backends;
use crate::storages::pg::Design;
use futures::future::try_join_all;

/// Changes of tables whose queries have no casts.
const CHANGES: &[&str] = &[
    "ALTER TABLE mo_downloads ALTER downloads TYPE int4",
    "ALTER TABLE mo_peers ALTER port TYPE int4",
    "ALTER TABLE mo_peers ALTER created TYPE timestamp USING created AT TIME ZONE 'UTC'",
    "ALTER TABLE mo_kv ALTER context TYPE varchar",
    "ALTER TABLE mo_peers ALTER address TYPE bytea
       USING substring(inet_send(address) from 5)",
    "ALTER TABLE mo_peers ALTER created TYPE timestamptz USING created AT TIME ZONE 'UTC'",
    "ALTER TABLE mo_downloads ALTER downloads TYPE int8",
];

pub(super) fn tests() -> Vec<Trial> {
    vec![
        on_design("no call fails when columns change their types", Design::plain(), |schema| {
            block_on(columns_change(&Design::plain(), schema))
        }),
        on_design("no call fails when the seed's tables are migrated", Design::seed(), |schema| {
            block_on(the_seed_is_migrated(&Design::seed(), schema))
        }),
        on_schema(
            "no call fails when a query that selects all columns finds others",
            Recommendation::default(),
            |schema| {
                let url = PgUrl::parse(&schema.connection_string());
                block_on(columns_come_and_go(&url, async |change| Ok(schema.execute(change).await?)))
            },
        ),
        Trial::ignorable_test("pg/scenarios/no call fails behind a pooler when columns come and go", || {
            let pooler = match Servers::shared().pgbouncer() {
                Ok(pooler) => pooler,
                Err(missing) => return unless_missing("pg", missing),
            };
            let database = block_on(pooler.database(&Recommendation::default().schema()))?;
            let result = block_on(columns_come_and_go_behind_a_pooler(&database));
            block_on(database.remove())?;
            result.map(|()| Completion::Completed)
        }),
    ]
}

/// Whether all peers have announced within the last minute.
const ALL_ANNOUNCED_NOW: &str = "\
SELECT (bool_and(created BETWEEN now() - interval '1 minute' AND now() + interval '1 minute'))::text FROM mo_peers";

async fn the_seed_is_migrated(design: &Design, schema: &Schema) -> Result<(), Failed> {
    let zone = [("CREATED_ZONE", "Asia/Tokyo")];
    let storage = backends().open(design.changed_config_at(schema.connection_string(), &zone)).await?.storage;
    let script = from_seed().replace("CONCURRENTLY", "").replace("'UTC'", "'Asia/Tokyo'");
    for script in ["", &script] {
        schema.execute(script).await?;
        for _ in 0..3 {
            let calls = (1..=8).map(async |number| {
                // Only queries that return a changed column show the change.
                storage.scrape_swarm(&swarm()).await?;
                storage.put_leecher(&swarm(), &peer(number)).await?;
                storage.graduate_leecher(&swarm(), &peer(number)).await?;
                storage.put_leecher(&swarm(), &peer(number)).await?;
                storage.announce_peers(&PeerSelection::new(swarm(), 50)).await?;
                storage.collect_garbage("2020-01-01T00:00:00Z".parse()?).await?;
                Ok::<_, Failed>(())
            });
            try_join_all(calls).await?;
        }
    }
    let are_right = schema.texts(ALL_ANNOUNCED_NOW).await?;
    ensure(are_right == ["true"], || "times are not those of the announces".into())?;
    Ok(storage.close().await?)
}

fn swarm() -> InfoHash {
    InfoHash::V1([7; 20])
}

fn peer(number: u8) -> Peer {
    Peer::new(PeerId([number; 20]), [10, 0, 0, number].into(), 6881)
}

async fn columns_change(design: &Design, schema: &Schema) -> Result<(), Failed> {
    let storage = backends().open(design.config_for(schema)).await?.storage;
    let mut downloads = 0;
    for change in [""].iter().chain(CHANGES) {
        schema.execute(change).await?;
        for _ in 0..2 {
            downloads += 1;
            // On several connections at once, each with statements of its own.
            let calls = (0..8).map(|_| use_it(&*storage));
            try_join_all(calls).await.map_err(|error| format!("after {change:?}: {error:?}"))?;
            graduate(&*storage, downloads).await.map_err(|error| format!("after {change:?}: {error:?}"))?;
        }
    }
    Ok(storage.close().await?)
}

/// Every kind of call but graduations.
async fn use_it(storage: &dyn Storage) -> Result<(), Failed> {
    let (swarm, context) = (swarm(), Context::new("text")?);
    storage.put_leecher(&swarm, &peer(1)).await?;
    let peers = storage.announce_peers(&PeerSelection::new(swarm, 50)).await?;
    ensure(peers.contains(&peer(1)), || format!("{peers:?}"))?;
    storage.put_data(&context, &[("key".into(), "value".into()), ("other".into(), "one".into())]).await?;
    let value = storage.load_data(&context, b"key").await?;
    ensure(value.as_deref() == Some(b"value"), || format!("{value:?}"))?;
    let record = PeerRecord {
        info_hash: swarm,
        peer: peer(3),
        role: Role::Leecher,
        announced: "2026-01-01T12:00:00Z".parse()?,
    };
    storage.import_peers(&[record]).await?;
    let page = storage.export_peers(ExportScope::Swarm(swarm), None, 100).await?;
    ensure(page.records.contains(&record) && page.unreadable == 0, || format!("{:?}", page.records))?;
    storage.export_downloads(None, 100).await?;
    storage.export_data(None, 100).await?;
    storage.collect_garbage("2020-01-01T00:00:00Z".parse()?).await?;
    storage.statistics().await?;
    storage.probe().await?;
    Ok(storage.ping().await?)
}

async fn graduate(storage: &dyn Storage, downloads: u64) -> Result<(), Failed> {
    storage.put_leecher(&swarm(), &peer(2)).await?;
    let is_download = storage.graduate_peer(&swarm(), &peer(2), When::Now).await?;
    ensure(is_download, || "it is no download".into())?;
    let counts = storage.scrape_swarm(&swarm()).await?;
    let expected = SwarmCounts { seeders: 1, leechers: 2, downloads };
    ensure(counts == expected, || format!("expected {expected:?}, found {counts:?}"))?;
    Ok(storage.delete_peer(&swarm(), &peer(2), Role::Seeder).await?)
}

/// The same where statements are prepared for each call, so that the server refuses none.
async fn columns_come_and_go_behind_a_pooler(database: &SqlDatabase) -> Result<(), Failed> {
    let execute = async |change: &str| {
        let mut connection = PgConnection::connect(&database.direct_url().to_string()).await?;
        sqlx::raw_sql(AssertSqlSafe(change.to_owned())).execute(&mut connection).await?;
        Ok(connection.close().await?)
    };
    columns_come_and_go(&database.url(), execute).await
}

async fn columns_come_and_go(
    url: &PgUrl,
    execute: impl AsyncFn(&str) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut config = Recommendation::default().config();
    config.queries[Query::ExportPeers] = Some(
        "SELECT * FROM mo_peers \
        WHERE (info_hash, peer_id, address, port) > (@info_hash, @peer_id, @address, @port) \
        ORDER BY info_hash, peer_id, address, port LIMIT @count"
            .into(),
    );
    let retries = Arc::new(Counter::default());
    let storage = open_with(config, url, retries.clone(), Limits::default()).await?;
    for change in [
        "",
        "ALTER TABLE mo_peers ADD note text",
        "ALTER TABLE mo_peers DROP note, ADD remark text",
        "ALTER TABLE mo_peers RENAME created TO former; ALTER TABLE mo_peers ADD created timestamptz;
         UPDATE mo_peers SET created = former; ALTER TABLE mo_peers DROP former",
    ] {
        execute(change).await?;
        let calls = (0..8).map(|_| use_it(&*storage));
        try_join_all(calls).await.map_err(|error| format!("after {change:?}: {error:?}"))?;
    }
    ensure(retries.retries("statement") > 0, || "nothing was prepared again".into())?;
    Ok(storage.close().await?)
}
