//! The counts of each swarm in the recommended tables: they are right whatever writes the peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use storage_core::PeerChange::Graduate;
use storage_core::layer::Limits;
use storage_core::{
    Backend, BulkPeerStorage, InfoHash, NoObserver, Peer, PeerId, PeerStorageExt, PeerWrite, Storage,
    Timestamp,
};
use storage_memory::{MemoryConfig, MemoryStorage};
use storage_mirror::{MirrorConfig, MirrorStorage};
use storage_pg::Query;
use storage_pg::recommended::Recommendation;

use super::contention::{one_after_the_other, open_patiently, write_at_once};
use super::{Counter, ensure, on_schema, open, open_with};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

/// Peers in swarms of 3 and of 2, one of them a seeder, written by a plain statement.
pub(super) const THREE_AND_TWO: &str = r"
    INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6)
    SELECT decode(repeat(swarm, 20), 'hex'), decode(repeat('0' || n, 20), 'hex'), '192.0.2.1', n, n = 1, false
    FROM (VALUES ('aa', 3), ('bb', 2)) AS swarms (swarm, peers), generate_series(1, peers) AS n;";

pub(super) fn tests() -> Vec<Trial> {
    let logged = Recommendation::default();
    let unlogged = Recommendation { unlogged: true, ..logged };
    vec![
        on_schema("counts: changes at the same time lose nothing", logged, |schema| {
            block_on(at_the_same_time(schema))
        }),
        on_schema("counts: a secondary that takes no downloads in counts its own", logged, |schema| {
            block_on(on_a_secondary(schema))
        }),
        on_schema("counts: statements by hand are counted", logged, |schema| block_on(by_hand(schema))),
        on_schema("counts: swarms without peers leave nothing", logged, |schema| block_on(emptied(schema))),
        on_schema("counts: peers that were there before are counted", logged, |schema| {
            block_on(there_before(schema))
        }),
        on_schema("counts: a restored dump is counted once", logged, |schema| block_on(restored(schema))),
        on_schema("counts: rights on the tables of MoChi are enough to write", logged, |schema| {
            block_on(by_a_role(schema))
        }),
        on_schema("counts: an owner who is no superuser makes and merges them", logged, |schema| {
            block_on(by_an_owner(schema))
        }),
        on_schema("counts: published tables can be written", logged, |schema| block_on(published(schema))),
        on_schema("counts: unlogged where peers are", unlogged, |schema| block_on(unlogged_too(schema))),
    ]
}

async fn at_the_same_time(schema: &Schema) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string()).with("pool_max_conns", 16);
    let storage = open_patiently(&url, Arc::new(Counter::default())).await?;
    let _alone = one_after_the_other().await;
    let upkeep = async {
        loop {
            schema.execute("SELECT mo_merge_swarms()").await?;
            schema.execute("SELECT mo_merge_swarms(), mo_count_all_swarms()").await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (_, _, expected) = tokio::select! {
        written = write_at_once(std::slice::from_ref(&storage), Duration::from_secs(3)) => written?,
        failed = upkeep => return failed,
    };
    for (swarm, expected) in &expected {
        let found = storage.scrape_swarm(swarm).await?;
        ensure(found == *expected, || format!("{swarm}: expected {expected:?}, found {found:?}"))?;
    }
    storage.close().await?;
    // Maintenance in the background may still run for a moment.
    let before = counts(schema).await?;
    let begun = Instant::now();
    loop {
        schema.execute("SELECT mo_merge_swarms()").await?;
        let tables = schema.rows().await?;
        let (_, rows) = tables.iter().find(|(table, _)| table.ends_with("mo_swarms")).ok_or("no counts")?;
        let after = counts(schema).await?;
        ensure(before == after, || format!("{before:?}, {after:?}"))?;
        if rows.len() == expected.len() {
            return Ok(());
        }
        ensure(begun.elapsed() < Duration::from_secs(10), || format!("{rows:?}"))?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Behind a mirror, with completions one by one and in a list.
async fn on_a_secondary(schema: &Schema) -> Result<(), Failed> {
    let mut config = Recommendation::default().config();
    config.queries[Query::ImportDownloads] = None;
    let url = PgUrl::parse(&schema.connection_string());
    let secondary = open_with(config, &url, Arc::new(NoObserver), Limits::default()).await?;
    let primary: Arc<dyn Storage> = Arc::new(MemoryStorage::new(MemoryConfig::default()));
    let mirror = MirrorStorage::new(primary, secondary, MirrorConfig::default());
    let swarm = InfoHash::V1([7; 20]);
    let peer = |number| Peer::new(PeerId([number; 20]), [10, 0, 0, number].into(), 6881);
    mirror.graduate_leecher(&swarm, &peer(1)).await?;
    let announced = mirror.now();
    let completed = |number| PeerWrite { info_hash: swarm, peer: peer(number), change: Graduate, announced };
    let results = mirror.write_peers(&[completed(2), completed(3)]).await;
    results.into_iter().collect::<Result<Vec<_>, _>>()?;
    mirror.close().await?;
    let storage = open(&url, Arc::new(Counter::default())).await?;
    let counts = storage.scrape_swarm(&swarm).await?;
    ensure((counts.seeders, counts.downloads) == (3, 3), || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}

async fn by_hand(schema: &Schema) -> Result<(), Failed> {
    let of = |swarm: &str, counts: &str| format!("(\"\\\\x{}\",{counts})", swarm.repeat(20));
    for (statement, expected) in [
        (THREE_AND_TWO, vec![of("aa", "1,2"), of("bb", "1,1")]),
        ("UPDATE mo_peers SET is_seeder = true WHERE port = 2", vec![of("aa", "2,1"), of("bb", "2,0")]),
        ("UPDATE mo_peers SET created = now()", vec![of("aa", "2,1"), of("bb", "2,0")]),
        ("DELETE FROM mo_peers WHERE port = 1", vec![of("aa", "1,1"), of("bb", "1,0")]),
        (
            "UPDATE mo_peers SET info_hash = decode(repeat('aa', 20), 'hex'), port = 9 WHERE \
             info_hash = decode(repeat('bb', 20), 'hex')",
            vec![of("aa", "2,1")],
        ),
        ("TRUNCATE mo_peers", vec![]),
        (THREE_AND_TWO, vec![of("aa", "1,2"), of("bb", "1,1")]),
    ] {
        schema.execute(statement).await?;
        let found = counts(schema).await?;
        ensure(found == expected, || format!("{statement}: expected {expected:?}, found {found:?}"))?;
    }
    // From a session whose `search_path` does not have the tables.
    schema.empty().await?;
    let found = counts(schema).await?;
    ensure(found.is_empty(), || format!("{found:?}"))
}

async fn emptied(schema: &Schema) -> Result<(), Failed> {
    schema.execute(THREE_AND_TWO).await?;
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    let before = storage.statistics().await?;
    storage.collect_garbage(Timestamp::now()).await?;
    let after = storage.statistics().await?;
    storage.close().await?;
    let swarms = (before.info_hashes, after.info_hashes);
    ensure(swarms == (2, 0), || format!("swarms before and after: {swarms:?}"))?;
    let left = counts(schema).await?;
    ensure(left.is_empty(), || format!("{left:?}"))
}

async fn there_before(schema: &Schema) -> Result<(), Failed> {
    // As if the tables were from before there were counts.
    schema
        .execute(&format!("DROP TABLE mo_swarms; DROP FUNCTION mo_count_peers CASCADE; {THREE_AND_TWO}"))
        .await?;
    let script = Recommendation::default().schema();
    for _ in 0..2 {
        schema.execute(&script).await?;
        let found = counts(schema).await?;
        ensure(found.len() == 2 && found[0].ends_with(",1,2)"), || format!("{found:?}"))?;
    }
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    let scraped = storage.scrape_swarm(&InfoHash::V1([0xbb; 20])).await?;
    storage.close().await?;
    ensure((scraped.seeders, scraped.leechers) == (1, 1), || format!("{scraped:?}"))
}

/// As `pg_dump --data-only` writes them: in either order, the rows of both tables.
async fn restored(schema: &Schema) -> Result<(), Failed> {
    let rows = "INSERT INTO mo_swarms (info_hash, slot, seeders, leechers)
        VALUES (decode(repeat('aa', 20), 'hex'), 0, 1, 2), (decode(repeat('bb', 20), 'hex'), 3, 1, 1);";
    for dump in [format!("{rows}{THREE_AND_TWO}"), format!("{THREE_AND_TWO}{rows}")] {
        schema.execute("TRUNCATE mo_peers").await?;
        schema.execute(&dump).await?;
        let found = counts(schema).await?;
        ensure(found.len() == 2 && found[0].ends_with(",1,2)") && found[1].ends_with(",1,1)"), || {
            format!("{found:?}")
        })?;
    }
    Ok(())
}

/// A live MoChi, whose role knows nothing of the counts.
async fn by_a_role(schema: &Schema) -> Result<(), Failed> {
    let role = format!("{}_mochi", schema.name());
    let rights = format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {} TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON mo_peers, mo_downloads, mo_kv TO {role}",
        schema.name()
    );
    schema.execute(&rights).await?;
    let writes = format!(
        "SET ROLE {role}; {THREE_AND_TWO}
         UPDATE mo_peers SET is_seeder = true WHERE port = 2; DELETE FROM mo_peers WHERE port = 3; RESET ROLE"
    );
    let written = schema.execute(&writes).await;
    schema.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await?;
    written?;
    let found = counts(schema).await?;
    ensure(found.len() == 2 && found.iter().all(|row| row.ends_with(",2,0)")), || format!("{found:?}"))
}

/// The tables of a role without further rights.
async fn by_an_owner(schema: &Schema) -> Result<(), Failed> {
    let role = format!("{}_owner", schema.name());
    schema.execute(&format!("CREATE ROLE {role}; CREATE SCHEMA {role} AUTHORIZATION {role}")).await?;
    let script = Recommendation::default().schema();
    let merged = format!(
        "SET ROLE {role}; SET search_path = {role}; {script}
         {THREE_AND_TWO} SELECT mo_merge_swarms(), mo_count_all_swarms(); RESET ROLE"
    );
    // Only functions write counts: what a dump brings is passed over afterwards, as it is without them.
    let restored = format!(
        "SET search_path = {role}; BEGIN; SELECT mo_merge_swarms(), mo_count_all_swarms();
         INSERT INTO mo_swarms SELECT decode(repeat('cc', 20), 'hex'), 0, 1, 1; COMMIT;
         DO $$ BEGIN ASSERT (SELECT sum(seeders + leechers) FROM mo_swarms) = 5; END $$"
    );
    let written = async {
        schema.execute(&merged).await?;
        schema.execute(&restored).await
    };
    let written = written.await;
    schema.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await?;
    written?;
    Ok(())
}

/// A publication needs the identity of each row that is written.
async fn published(schema: &Schema) -> Result<(), Failed> {
    let publication = format!("{}_publication", schema.name());
    schema.execute(&format!("CREATE PUBLICATION {publication} FOR TABLE mo_peers, mo_swarms")).await?;
    let written = schema
        .execute(&format!(
            "{THREE_AND_TWO} UPDATE mo_peers SET is_seeder = true; DELETE FROM mo_peers WHERE port = 3;
             SELECT mo_merge_swarms()"
        ))
        .await;
    schema.execute(&format!("DROP PUBLICATION {publication}")).await?;
    written?;
    let found = counts(schema).await?;
    ensure(found.len() == 2 && found.iter().all(|row| row.ends_with(",2,0)")), || format!("{found:?}"))
}

/// After a crash both tables are empty, and not the peers alone.
async fn unlogged_too(schema: &Schema) -> Result<(), Failed> {
    schema
        .execute(
            "DO $$ BEGIN
               ASSERT (SELECT count(DISTINCT relpersistence) = 1 AND max(relpersistence) = 'u' FROM pg_class
                 WHERE oid IN ('mo_peers'::regclass, 'mo_swarms'::regclass));
             END $$",
        )
        .await?;
    Ok(())
}

/// What the rows of the table of counts add up to, as text and sorted.
pub(super) async fn counts(schema: &Schema) -> Result<Vec<String>, Failed> {
    let rows = schema.content().await?;
    let table = rows.into_iter().find(|(table, _)| table.ends_with("mo_swarms"));
    Ok(table.ok_or("there is no table `mo_swarms`")?.1)
}
