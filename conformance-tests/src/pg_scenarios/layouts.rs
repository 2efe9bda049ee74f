//! The recommended tables in other layouts: partitioned, in schemas of any name, renamed.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::{InfoHash, Peer, PeerId, PeerStorageExt, QueryCheck, Storage, Timestamp};
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, on_design, on_schema, open};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};
use crate::storages::pg::Design;

pub(super) fn tests() -> Vec<Trial> {
    let recommended = Recommendation::default();
    vec![
        on_design("partitions: counts are right and the check is ok", Design::partitioned(), |schema| {
            block_on(partitioned(schema))
        }),
        on_design(
            "partitions: rows written straight into one are noticed",
            Design::partitioned(),
            |schema| block_on(straight_into_a_partition(schema)),
        ),
        on_schema("schemas of any name work", recommended, |schema| block_on(schemas_of_any_name(schema))),
        on_schema(
            "a renamed schema is reported by the check, and the script repairs it",
            recommended,
            |schema| block_on(renamed_schema(schema)),
        ),
        on_schema("renamed tables are reported by the check", recommended, |schema| {
            block_on(renamed(schema))
        }),
    ]
}

fn peer(number: u8) -> Peer {
    Peer::new(PeerId([number; 20]), [192, 0, 2, number].into(), 6881)
}

/// Puts, graduates, deletes and collects, with counts that must be right at every step.
async fn live_on(storage: &dyn Storage) -> Result<(), Failed> {
    for number in 1..30 {
        let swarm = InfoHash::V1([number; 20]);
        storage.put_leecher(&swarm, &peer(1)).await?;
        storage.put_leecher(&swarm, &peer(2)).await?;
        storage.put_seeder(&swarm, &peer(3)).await?;
        ensure(storage.graduate_leecher(&swarm, &peer(1)).await?, || "no download".into())?;
        ensure(!storage.graduate_leecher(&swarm, &peer(1)).await?, || "a download again".into())?;
        ensure(storage.graduate_leecher(&swarm, &peer(4)).await?, || "no download of a new peer".into())?;
        storage.remove_peer(&swarm, &peer(2)).await?;
        let counts = storage.scrape_swarm(&swarm).await?;
        ensure((counts.seeders, counts.leechers, counts.downloads) == (3, 0, 2), || format!("{counts:?}"))?;
        if number % 2 == 0 {
            storage.forget_swarm(&swarm).await?;
        }
    }
    let check = storage.check_counts().await?.ok_or("nothing was checked")?;
    ensure(check.compared == 15 && check.wrong.is_empty(), || format!("{check:?}"))?;
    let queries = storage.check_queries().await?;
    ensure(queries == QueryCheck::default(), || format!("{queries:?}"))?;
    let collected = storage.collect_garbage(Timestamp::now()).await?;
    let left = storage.statistics().await?;
    ensure(collected.removed == 45 && left.info_hashes == 0, || format!("{collected:?}, {left:?}"))
}

async fn partitioned(schema: &Schema) -> Result<(), Failed> {
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    live_on(&*storage).await?;
    Ok(storage.close().await?)
}

/// No trigger of the peers table runs for them.
async fn straight_into_a_partition(schema: &Schema) -> Result<(), Failed> {
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    for number in 1..30 {
        storage.put_leecher(&InfoHash::V1([number; 20]), &peer(1)).await?;
    }
    let wrong = async || {
        let check = storage.check_counts().await?.ok_or("nothing was checked")?;
        let warnings = storage.diagnostics().await?.warnings;
        let is_told = warnings.iter().any(|warning| warning.contains("SELECT mo_count_all_swarms()"));
        ensure(is_told != check.wrong.is_empty(), || format!("{check:?}, {warnings:?}"))?;
        Ok::<_, Failed>(check.wrong.len())
    };
    ensure(wrong().await? == 0, || "wrong from the beginning".into())?;
    let partition =
        "SELECT tableoid::regclass::text FROM mo_peers WHERE info_hash = decode(repeat('01', 20), 'hex')";
    let partition = schema.texts(partition).await?.remove(0);
    let twice = format!(
        "INSERT INTO {partition} (info_hash, peer_id, address, port, is_seeder, is_v6)
         SELECT info_hash, peer_id, address, 1, true, is_v6 FROM {partition}"
    );
    let changed = schema.texts(&format!("SELECT count(1)::text FROM {partition}")).await?.remove(0);
    for statement in [twice, format!("UPDATE {partition} SET is_seeder = false WHERE port = 1")] {
        schema.execute(&statement).await?;
        let found = wrong().await?;
        ensure(found.to_string() == changed, || format!("{found} of {changed}"))?;
        schema.execute("SELECT mo_count_all_swarms()").await?;
        ensure(wrong().await? == 0, || "wrong after they were counted again".into())?;
    }
    Ok(storage.close().await?)
}

/// A schema whose name needs quotes, and one beside another schema with the same tables.
async fn schemas_of_any_name(schema: &Schema) -> Result<(), Failed> {
    let script = Recommendation::default().schema();
    for suffix in ["Upper", " it's \"\"quoted\"\" é %", "_plain"] {
        let name = format!("\"{}{suffix}\"", schema.name());
        for _ in 0..2 {
            schema
                .execute(&format!("CREATE SCHEMA IF NOT EXISTS {name}; SET search_path TO {name}; {script}"))
                .await?;
        }
        let lived = live_in(schema, &name).await;
        schema.execute(&format!("DROP SCHEMA {name} CASCADE")).await?;
        lived.map_err(|error| format!("{name}: {error:?}"))?;
    }
    let rows = schema.rows().await?;
    ensure(rows.values().all(Vec::is_empty), || format!("{rows:?}"))
}

async fn live_in(schema: &Schema, name: &str) -> Result<(), Failed> {
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("search_path={}", schema.name());
    let url = schema.connection_string().replace(&path, &format!("search_path={encoded}"));
    let storage = open(&PgUrl::parse(&url), Arc::new(Counter::default())).await?;
    live_on(&*storage).await?;
    Ok(storage.close().await?)
}

async fn renamed_schema(schema: &Schema) -> Result<(), Failed> {
    let (before, after) = (format!("{}_before", schema.name()), format!("{}_after", schema.name()));
    let script = Recommendation::default().schema();
    let run_in =
        |name: &str| format!("CREATE SCHEMA IF NOT EXISTS {name}; SET search_path TO {name}; {script}");
    schema.execute(&run_in(&before)).await?;
    schema.execute(&format!("ALTER SCHEMA {before} RENAME TO {after}")).await?;
    let url = schema.connection_string().replace(&format!("={}", schema.name()), &format!("={after}"));
    let storage = open(&PgUrl::parse(&url), Arc::new(Counter::default())).await?;
    let found = storage.check_queries().await?;
    storage.close().await?;
    schema.execute(&run_in(&after)).await?;
    let lived = live_in(schema, &after).await;
    schema.execute(&format!("DROP SCHEMA {after} CASCADE")).await?;
    let is_told = |key: &str| {
        let words = format!("\"{before}.mo_swarms\" does not exist");
        found.refused.iter().any(|problem| problem.key == key && problem.message.contains(&words))
    };
    ensure(is_told("peer.add_query") && is_told("gc_merge_query"), || format!("{found:?}"))?;
    lived
}

/// Trigger functions contain names: the check reports which, and where.
async fn renamed(schema: &Schema) -> Result<(), Failed> {
    schema.execute("ALTER TABLE mo_swarms RENAME TO swarms_of_mine").await?;
    let mut config = Recommendation::default().config();
    for query in storage_pg::Query::ALL {
        config.queries[*query] =
            config.queries[*query].as_ref().map(|sql| sql.replace("mo_swarms", "swarms_of_mine"));
    }
    // Its function is named as it was.
    config.queries[storage_pg::Query::MergeCounts] = Some("SELECT mo_merge_swarms()".into());
    let url = PgUrl::parse(&schema.connection_string());
    let storage =
        super::open_with(config, &url, Arc::new(Counter::default()), storage_core::layer::Limits::default())
            .await?;
    let found = storage.check_queries().await?;
    for key in ["peer.add_query", "peer.del_query", "gc_query", "gc_merge_query", "bulk.graduate_query"] {
        let is_told = found.refused.iter().any(|problem| {
            problem.key == key
                && problem.message.contains("mo_swarms\" does not exist")
                && problem.message.contains("PL/pgSQL function")
        });
        ensure(is_told, || format!("{key}: {found:?}"))?;
    }
    ensure(!found.refused.iter().any(|problem| problem.key.starts_with("data.")), || format!("{found:?}"))?;
    Ok(storage.close().await?)
}
