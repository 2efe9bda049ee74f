//! Counts that are wrong after writes that run no triggers: `check` finds each, and the statement that it
//! prints repairs it.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::layer::{Layered, Limits, Metrics, Observe};
use storage_core::{CountCheck, Diagnostics, NoObserver, Storage};
use storage_migration::{RecordKind, Verification, VerifyOptions};
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, on_schema, open, open_with};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

/// The statement that recounts, as in the warning.
const COUNT_AGAIN: &str = "SELECT mo_count_all_swarms()";

/// 1,500 swarms: one with a seeder and two leechers, all others with a leecher.
const MANY: &str = r"
    INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6)
    SELECT decode(md5(swarm::text) || '00000000', 'hex'), decode(repeat('01', 20), 'hex'), '192.0.2.1', n, n = 2, false
    FROM generate_series(1, 1500) AS swarm, generate_series(1, CASE WHEN swarm = 7 THEN 3 ELSE 1 END) AS n;";

/// One more leecher in each swarm.
const ONE_MORE: &str = r"
    INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6)
    SELECT DISTINCT info_hash, peer_id, address, 9, false, false FROM mo_peers;";

/// Two swarms without counts.
const NEW_SWARMS: &str = r"
    INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6)
    SELECT decode(repeat(swarm, bytes), 'hex'), decode(repeat('01', 20), 'hex'), '192.0.2.1', 1, true, false
    FROM (VALUES ('00', 20), ('ff', 32)) AS swarms (swarm, bytes);";

pub(super) fn tests() -> Vec<Trial> {
    let as_subscriber = |rows: &str| format!("SET session_replication_role = replica; {rows}");
    let untriggered = |rows: &str| {
        format!("ALTER TABLE mo_peers DISABLE TRIGGER USER; {rows} ALTER TABLE mo_peers ENABLE TRIGGER USER")
    };
    let delete = "DELETE FROM mo_peers WHERE port = 1;";
    let scenarios = [
        ("rows of a subscriber", as_subscriber(ONE_MORE), 1_000),
        ("deletions of a subscriber", as_subscriber(delete), 1_000),
        ("changes of a subscriber", as_subscriber("UPDATE mo_peers SET is_seeder = NOT is_seeder"), 1_000),
        ("swarms of a subscriber", as_subscriber(NEW_SWARMS), 0),
        ("rows with the triggers off", untriggered(ONE_MORE), 1_000),
        ("counts by hand", "UPDATE mo_swarms SET leechers = leechers - 2".into(), 1_000),
        ("counts that are gone", "DELETE FROM mo_swarms".into(), 1_000),
    ];
    let mut tests: Vec<_> = scenarios
        .into_iter()
        .map(|(name, statement, wrong)| {
            on_schema(&format!("wrong counts: {name}"), Recommendation::default(), move |schema| {
                block_on(noticed_and_mended(schema, &statement, wrong))
            })
        })
        .collect();
    tests.extend([
        on_schema(
            "wrong counts: a swarm that is there or counted alone",
            Recommendation::default(),
            |schema| block_on(either_alone(schema)),
        ),
        on_schema(
            "wrong counts: a check while peers are written finds none",
            Recommendation::default(),
            |schema| block_on(while_written(schema)),
        ),
        on_schema("wrong counts: `verify` is not equal", Recommendation::default(), |schema| {
            block_on(not_equal(schema))
        }),
        on_schema("wrong counts: metrics", Recommendation::default(), |schema| block_on(metrics(schema))),
        on_schema(
            "wrong counts: a check reads no table from its beginning",
            Recommendation::default(),
            |schema| block_on(by_index(schema)),
        ),
    ]);
    tests
}

/// Of many swarms 1,000 are compared, and all of them are wrong.
async fn noticed_and_mended(schema: &Schema, statement: &str, wrong: usize) -> Result<(), Failed> {
    schema.execute(if wrong == 0 { "" } else { MANY }).await?;
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    ensure_right(&*storage).await?;
    schema.execute(statement).await?;
    let check = check(&*storage).await?;
    let expected = if wrong == 0 { 2 } else { wrong };
    ensure(check.wrong.len() == expected && check.compared == expected as u64, || format!("{check:?}"))?;
    let Diagnostics { warnings, findings, .. } = storage.diagnostics().await?;
    let is_told = |warning: &String| warning.contains("counts of") && warning.contains(COUNT_AGAIN);
    ensure(warnings.iter().any(is_told), || format!("{warnings:?}"))?;
    let is_found = |(item, finding): &(String, String)| item == "checked counts" && finding.contains("wrong");
    ensure(findings.iter().any(is_found), || format!("{findings:?}"))?;
    schema.execute(COUNT_AGAIN).await?;
    ensure_right(&*storage).await?;
    Ok(storage.close().await?)
}

async fn check(storage: &dyn Storage) -> Result<CountCheck, Failed> {
    Ok(storage.check_counts().await?.ok_or("nothing was checked")?)
}

async fn ensure_right(storage: &dyn Storage) -> Result<(), Failed> {
    let check = check(storage).await?;
    ensure(check.wrong.is_empty(), || format!("{check:?}"))?;
    let Diagnostics { warnings, .. } = storage.diagnostics().await?;
    ensure(!warnings.iter().any(|warning| warning.contains("counts")), || format!("{warnings:?}"))
}

/// Also with the least and the greatest info hash.
async fn either_alone(schema: &Schema) -> Result<(), Failed> {
    let replica = "SET session_replication_role = replica;";
    let only_counted = r"INSERT INTO mo_swarms (info_hash, slot, seeders, leechers)
        VALUES ('\x', 1, 1, 0), (decode(repeat('77', 20), 'hex'), 1, 2, -1), (decode(repeat('ff', 32), 'hex'), 2, 0, 1);";
    schema.execute(&format!("{replica} {NEW_SWARMS} {only_counted}")).await?;
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    for _ in 0..5 {
        let check = check(&*storage).await?;
        let mut wrong: Vec<_> = check.wrong.iter().map(ToString::to_string).collect();
        wrong.sort();
        let expected = [
            format!("{} has 1 seeders and 0 leechers, counted as 0 and 0", "00".repeat(20)),
            format!("{} has 0 seeders and 0 leechers, counted as 2 and -1", "77".repeat(20)),
            format!("{} has 1 seeders and 0 leechers, counted as 0 and 1", "ff".repeat(32)),
        ];
        ensure(wrong == expected && check.compared == 4, || format!("{check:?}"))?;
    }
    Ok(storage.close().await?)
}

/// Each statement sees one state of both tables.
async fn while_written(schema: &Schema) -> Result<(), Failed> {
    schema.execute(MANY).await?;
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    let write = async {
        loop {
            schema.execute(ONE_MORE).await?;
            schema.execute("UPDATE mo_peers SET is_seeder = NOT is_seeder").await?;
            schema.execute("SELECT mo_merge_swarms(); DELETE FROM mo_peers WHERE port = 9").await?;
        }
    };
    let look = async {
        for _ in 0..40 {
            let check = check(&*storage).await?;
            ensure(check.wrong.is_empty() && check.compared == 1_000, || format!("{check:?}"))?;
        }
        Ok(())
    };
    let looked: Result<(), Failed> = tokio::select! {
        looked = look => looked,
        failed = write => failed,
    };
    looked?;
    Ok(storage.close().await?)
}

/// Although both storages hold the same content.
async fn not_equal(schema: &Schema) -> Result<(), Failed> {
    schema.execute(&format!("{MANY} UPDATE mo_swarms SET leechers = leechers * 2")).await?;
    let url = PgUrl::parse(&schema.connection_string());
    let open = || open(&url, Arc::new(Counter::default()));
    let (from, to) = (open().await?, open().await?);
    let verify = async |kinds: Vec<RecordKind>| {
        let options = VerifyOptions { kinds, ..VerifyOptions::default() };
        Ok::<_, Failed>(Verification::new(from.clone(), to.clone(), options).run().await?)
    };
    let found = verify(RecordKind::ALL.to_vec()).await?;
    let is_told =
        found.wrong_counts.len() == 2 && found.wrong_counts.iter().all(|it| it.contains(COUNT_AGAIN));
    ensure(!found.is_equal() && is_told, || format!("{found:?}"))?;
    ensure(found.wrong_counts[1].starts_with("target: "), || format!("{found:?}"))?;
    ensure(found.peers.is_equal(), || format!("{found:?}"))?;
    let found = verify(vec![RecordKind::Downloads, RecordKind::Data]).await?;
    ensure(found.is_equal(), || format!("{found:?}"))?;
    schema.execute(COUNT_AGAIN).await?;
    let found = verify(RecordKind::ALL.to_vec()).await?;
    ensure(found.is_equal(), || format!("{found:?}"))?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn metrics(schema: &Schema) -> Result<(), Failed> {
    schema.execute(&format!("{MANY} UPDATE mo_swarms SET leechers = 0")).await?;
    let prometheus = prometheus::Registry::new();
    let meter = Metrics::register(&prometheus)?.meter();
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    let storage: Arc<dyn Storage> = Arc::new(Layered::new(storage, Observe(meter)));
    let shown = || {
        let text = prometheus::TextEncoder::new().encode_to_string(&prometheus.gather()).unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with("tracker_storage_count_check"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (wrong, repaired) in [("1000", COUNT_AGAIN), ("0", "SELECT")] {
        check(&*storage).await?;
        let found = shown();
        let has = |name: &str, value: &str| {
            found.contains(&format!("tracker_storage_count_check_{name}{{backend=\"pg\"}} {value}"))
        };
        let is_shown = has("swarms", "1000") && has("wrong_swarms", wrong) && has("timestamp_seconds", "1");
        ensure(is_shown, || found.clone())?;
        schema.execute(repaired).await?;
    }
    Ok(storage.close().await?)
}

const SCANS: &str = "\
SELECT relname || ' ' || seq_scan FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname IN ('mo_peers', 'mo_swarms') ORDER BY 1";

/// Also if the connection knows the tables from when they were empty.
async fn by_index(schema: &Schema) -> Result<(), Failed> {
    let config = Recommendation::default().config();
    let url = PgUrl::parse(&schema.connection_string()).with("pool_max_conns", 1);
    let storage = open_with(config, &url, Arc::new(NoObserver), Limits::default()).await?;
    for _ in 0..8 {
        check(&*storage).await?;
    }
    schema.execute(MANY).await?;
    let before = schema.texts(SCANS).await?;
    for _ in 0..8 {
        check(&*storage).await?;
    }
    storage.close().await?;
    let after = schema.texts(SCANS).await?;
    ensure(before == after && before.len() == 2, || format!("before {before:?}, after {after:?}"))
}
