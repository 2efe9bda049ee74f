//! The command on a real PostgreSQL: its reports, and that it changes nothing.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "everything here is a test, though not by that attribute"
)]

mod common;
mod pg_tables;

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use conformance_tests::servers::Servers;
use conformance_tests::storages::pg::Design;
use libtest_mimic::{Arguments, Trial};
use storage_core::conformance::Suite;

use common::{CommandOutput, run, run_on};
use pg_tables::{PgTables, WRONG_PASSWORD, assert_refused, assert_reported, on, wrong_settings};

fn main() -> ExitCode {
    // Those that take longest begin first.
    let mut trials = vec![
        on("the suite leaves a storage in use as it was", recommended, the_suite_on_a_storage_in_use),
        on("the example for MoChi passes the suite", for_mochi, the_example_for_mochi),
    ];
    trials.extend(wrong_settings::tests(recommended));
    trials.extend([
        offline("a connection string that cannot be read is not repeated", unreadable_connection_strings),
        offline("an unreachable server is a failure after `startup_timeout`", no_server),
        on("a wrong password is reported at once", recommended, a_wrong_password),
        on("a missing database is named", recommended, a_wrong_database),
        on("an invalid variable is named without its text", recommended, wrong_variables),
        on("all problems are reported at once", recommended, all_problems_at_once),
        on(
            "what is wrong in the file is told at once, with its warnings",
            recommended,
            what_the_file_alone_tells,
        ),
        on("without tables each query is reported with what to do", without_tables, no_tables),
        on("a port of type int2 has no room for all ports", with_narrow_ports, narrow_ports),
        on("queries of data alone are not enough for `check`", data_alone, queries_of_data_alone),
        on("a query that deletes too much is rolled back", recommended, a_query_that_takes_too_much),
        on("the recommended configuration is ok and lacks nothing", recommended, what_is_recommended),
        on("MoChi's sample is ok and its missing capabilities are listed", sample, the_sample),
        on("a missing privilege of a trigger is named", recommended, a_right_behind_a_trigger),
        on("no log shows the password", recommended, no_log_shows_the_password),
        on("ping and stats report a storage in use", recommended, ping_and_stats),
        on("swarms are not listed without the queries for it", recommended, unlisted_swarms),
        on("swarms are listed alike by the query and by a scan", recommended, listed_swarms),
        on("the schema run again changes nothing", recommended, the_schema_again),
    ]);
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

/// A test that needs no server.
fn offline(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

fn printed(arguments: &[&str]) -> String {
    let ran = run(arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

fn recommended() -> Design {
    Design { tables: printed(&["schema", "pg"]), config: printed(&["example-config", "pg"]) }
}

fn for_mochi() -> Design {
    Design { config: printed(&["example-config", "pg", "--for", "mochi"]), ..recommended() }
}

fn sample() -> Design {
    Design {
        tables: include_str!("../../conformance-tests/data/seed.sql").into(),
        config: include_str!("../../conformance-tests/data/seed.yaml").into(),
    }
}

fn without_tables() -> Design {
    Design { tables: String::new(), ..recommended() }
}

fn with_narrow_ports() -> Design {
    let Design { tables, config } = recommended();
    Design { tables: tables.replace("port int4", "port int2"), config }
}

fn data_alone() -> Design {
    let config = "
storage:
  name: pg
  config:
    connection_string: filled in by the test
    data:
      add_query: INSERT INTO mo_kv VALUES (@context, @key, @value)
      del_query: DELETE FROM mo_kv WHERE context = @context AND name = ANY(@key)
      get_query: SELECT value FROM mo_kv WHERE context = @context AND name = @key
";
    Design { config: config.into(), ..recommended() }
}

fn unreadable_connection_strings() {
    let unreadable = [
        ("", "is empty"),
        (
            "postgres://tracker:hunter2@127.0.0.1:port/tracker",
            "`port`: expected whole numbers from 1 to 65535",
        ),
        ("mysql://tracker:hunter2@127.0.0.1/tracker", "a URL begins with postgres:// or postgresql://"),
        ("host=127.0.0.1 password='hunter2 user=tracker", "the value of pair 2 has no closing quote"),
        ("127.0.0.1 hunter2", "has no `=`; expected a URL postgres://… or pairs keyword=value"),
        ("host=127.0.0.1 pool_max_conns=hunter2", "`pool_max_conns`: expected a whole number"),
        ("host=127.0.0.1 password=hunter2 sslmode=hunter2", "`sslmode`: expected one of"),
    ];
    let config = recommended().config;
    let (before, rest) = config.split_once("connection_string: ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    for (connection_string, words) in unreadable {
        let ran =
            run_on(&format!("{before}connection_string: \"{connection_string}\"\n{after}"), "check", &[]);
        assert_reported(&ran, "connection_string", &[words]);
        assert_refused(&ran, 1);
        assert!(!ran.stdout.contains(WRONG_PASSWORD), "{ran:?}");
    }
}

/// An address where nobody listens.
fn nowhere() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("127.0.0.1:{port}")
}

fn no_server() {
    let nowhere = nowhere();
    let connection_string = format!("postgres://tracker:{WRONG_PASSWORD}@{nowhere}/tracker");
    let config = recommended().config.replace("startup_timeout: 30s", "startup_timeout: 1s");
    let config = config.replace("host=127.0.0.1 port=5432 database=tracker user=tracker", &connection_string);
    let begun = Instant::now();
    let ran = run_on(&config, "check", &[]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let words = [nowhere.as_str(), "Connection refused", "given up after 1s (`startup_timeout`)"];
    assert_reported(&ran, "connection_string", &words);
    assert!(
        ran.stderr.lines().all(|line| line.contains("WARN") && line.contains("cannot connect; retrying")),
        "{ran:?}"
    );
    assert!(!format!("{ran:?}").contains(WRONG_PASSWORD), "{ran:?}");
}

fn a_wrong_password(pg: &PgTables) {
    let ran = pg.check(&[("connection_string", &pg.keywords(&[("password", WRONG_PASSWORD)]))]);
    let words = ["password authentication failed for user", "check `user` and `password`"];
    assert_reported(&ran, "connection_string", &words);
    assert_refused(&ran, 1);
    pg.assert_unchanged();
}

fn a_wrong_database(pg: &PgTables) {
    let ran = pg.check(&[("connection_string", &pg.keywords(&[("dbname", "nowhere")]))]);
    let words = ["database \"nowhere\" does not exist", "create it, or check `dbname`"];
    assert_reported(&ran, "connection_string", &words);
    assert_refused(&ran, 1);
    pg.assert_unchanged();
}

fn wrong_variables(pg: &PgTables) {
    let ran = pg.check(&[("startup_timeout", WRONG_PASSWORD)]);
    let variable = "the text of environment variable TRACKER_STORAGE__CONFIG__STARTUP_TIMEOUT";
    assert_reported(&ran, "startup_timeout", &["expected a duration such as 300ms", variable]);
    assert_refused(&ran, 1);

    let ran = pg.check(&[("gc_query.more", WRONG_PASSWORD)]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let words = "environment variable TRACKER_STORAGE__CONFIG__GC_QUERY__MORE: expected a section with the key `more`";
    assert!(ran.stderr.contains(words), "{ran:?}");
    pg.assert_unchanged();
}

fn all_problems_at_once(pg: &PgTables) {
    let ran = pg.check(&[
        ("peer.graduate_query", ""),
        ("downloads.get_query", "SELECT downloads FROM mo_downloads WHERE info_hash = @info_hsh"),
        ("info_hash_count_query", "SELECT COUNT(DISTINCT info_hash) FROM mo_pears"),
        ("announce.port_column", "door"),
        ("created_zone", "Mars/Olympus"),
        ("gc_querry", "DELETE FROM mo_peers"),
    ]);
    for (key, words) in [
        ("peer.graduate_query", "is missing or empty"),
        ("downloads.get_query", "did you mean `@info_hash`?"),
        ("info_hash_count_query", "relation \"mo_pears\" does not exist"),
        ("announce.port_column", "names the column `door`"),
        ("created_zone", "expected a time zone"),
        ("gc_querry", "did you mean `gc_query`?"),
    ] {
        assert_reported(&ran, key, &[words]);
    }
    assert_refused(&ran, 6);
    pg.assert_unchanged();
}

fn what_the_file_alone_tells(pg: &PgTables) {
    let ran = pg.check(&[
        ("gc_interval", "often"),
        ("peer_lifetime", "0s"),
        ("retry_timeout", "long"),
        ("peer.graduate_query", ""),
        ("gc_querry", "DELETE FROM mo_peers"),
        ("connection_string", "host=127.0.0.1;password=hunter2"),
    ]);
    for (key, words) in [
        ("gc_interval", "expected a duration"),
        ("retry_timeout", "expected a duration"),
        ("peer.graduate_query", "is missing or empty"),
        ("gc_querry", "did you mean `gc_query`?"),
        ("connection_string", "character 10 of its value is a `;`"),
        ("peer_lifetime", "must be above zero"),
    ] {
        assert_reported(&ran, key, &[words]);
    }
    assert_refused(&ran, 6);
    pg.assert_unchanged();
}

fn no_tables(pg: &PgTables) {
    let ran = pg.check(&[]);
    for (key, table) in [
        ("announce.query", "mo_peers"),
        ("peer.add_query", "mo_peers"),
        ("downloads.inc_query", "mo_downloads"),
        ("data.add_query", "mo_kv"),
        ("import.data_query", "mo_kv"),
    ] {
        let missing = format!("relation \"{table}\" does not exist");
        assert_reported(&ran, key, &[&missing, "`tracker-storage schema pg` prints the tables"]);
    }
    assert_eq!(ran.code, Some(1), "{ran:?}");
    pg.assert_unchanged();
}

fn narrow_ports(pg: &PgTables) {
    let ran = pg.check(&[]);
    for key in ["peer.add_query", "peer.del_query", "peer.graduate_query"] {
        let words = ["`@port` has the type int2", "expected int4 or int8", "no room for ports above 32767"];
        assert_reported(&ran, key, &words);
    }
    assert_eq!(ran.code, Some(1), "{ran:?}");
    pg.assert_unchanged();
}

fn queries_of_data_alone(pg: &PgTables) {
    let ran = pg.check(&[]);
    let missing = [
        "announce.query",
        "peer.add_query",
        "peer.del_query",
        "peer.graduate_query",
        "peer.count_query",
        "peer.by_info_hash_clause",
    ];
    for key in missing {
        assert_reported(&ran, key, &["is missing or empty", "expected a query"]);
    }
    assert_refused(&ran, missing.len());
    pg.assert_unchanged();
}

fn a_query_that_takes_too_much(pg: &PgTables) {
    let ran = pg.check(&[
        ("gc_query", "DELETE FROM mo_peers"),
        ("ping_query", "DELETE FROM mo_downloads WHERE FALSE"),
        ("downloads.del_query", "DELETE FROM mo_downloads"),
        ("data.del_query", "TRUNCATE mo_kv"),
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    pg.assert_unchanged();
}

/// The findings of `check` about an item.
fn findings<'a>(ran: &'a CommandOutput, item: &'a str) -> Vec<&'a str> {
    ran.stdout.lines().filter_map(|line| line.strip_prefix(item)).map(str::trim).collect()
}

/// `check` must be content, with these warnings and no other, but for the role that the tests' own server
/// has.
fn assert_ok(ran: &CommandOutput, warned: &[&str]) {
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let all = findings(ran, "warning:");
    let first = match all.len() {
        0 => "ok".to_owned(),
        1 => "ok, 1 warning".to_owned(),
        count => format!("ok, {count} warnings"),
    };
    assert_eq!(ran.stdout.lines().next(), Some(first.as_str()), "{ran:#?}");
    let mut warnings = all;
    warnings.retain(|warning| !warning.starts_with("the role is a superuser"));
    assert_eq!(warnings.len(), warned.len(), "{ran:#?}");
    for (warning, part) in warnings.iter().zip(warned) {
        assert!(warning.contains(part), "{ran:#?}");
    }
    assert_eq!(ran.stderr, "", "{ran:#?}");
}

fn what_is_recommended(pg: &PgTables) {
    let ran = pg.check(&[]);
    assert_ok(&ran, &[]);
    assert_eq!(findings(&ran, "lacks"), [""; 0], "{ran:#?}");
    assert_eq!(findings(&ran, "backend"), ["pg"]);
    assert_eq!(findings(&ran, "durable"), ["yes, it outlives this process"]);
    assert!(findings(&ran, "server")[0].starts_with("PostgreSQL "), "{ran:#?}");
    assert!(findings(&ran, "connection")[0].contains(":***@"), "{ran:#?}");
    let arguments = "@info_hash bytea, @peer_id bytea, @address inet, @port int4, @is_seeder bool, \
                     @expires timestamptz";
    assert_eq!(findings(&ran, "peer.del_query"), [""; 0], "without --verbose: {ran:#?}");
    assert_eq!(findings(&pg.run(&["check", "--verbose"], &[]), "peer.del_query"), [arguments]);
    assert!(findings(&ran, "newest announce")[0].ends_with('Z'), "{ran:#?}");
    pg.assert_unchanged();
}

fn the_sample(pg: &PgTables) {
    let ran = pg.check(&[]);
    assert_ok(
        &ran,
        &["`DROP INDEX CONCURRENTLY mo_peers_created_idx`", "`ALTER TABLE mo_peers SET (fillfactor = 85)`"],
    );
    let missing = [
        ("forget downloads", "downloads.del_query"),
        ("export peers", "export.peers_query"),
        ("export downloads", "export.downloads_query"),
        ("export data", "export.data_query"),
        ("import peers", "import.peers_query"),
        ("import downloads", "import.downloads_query"),
        ("import data", "import.data_query"),
        ("list swarms", "swarm.list_query"),
        ("atomic writes", "bulk.add_query"),
    ];
    for (capability, key) in missing {
        assert_eq!(findings(&ran, &format!("lacks {capability}")), [format!("no `{key}` is configured")]);
    }
    assert_eq!(findings(&ran, "lacks").len(), missing.len(), "{ran:#?}");
    pg.assert_unchanged();
}

/// A trigger of the operator, which runs with the privileges of the writer.
fn a_right_behind_a_trigger(pg: &PgTables) {
    let role = format!("tracker_{:016x}", rand::random::<u64>());
    pg.execute(&format!(
        "CREATE ROLE {role};
         DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema()); END $$;
         GRANT SELECT, INSERT, UPDATE, DELETE ON mo_peers, mo_downloads, mo_kv TO {role};
         GRANT SELECT ON mo_swarms TO {role};
         ALTER FUNCTION mo_count_peers() SECURITY INVOKER"
    ));
    let ran = pg.check(&[("connection_string", &pg.keywords(&[("role", &role)]))]);
    pg.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    for key in ["peer.add_query", "peer.del_query", "gc_query", "bulk.add_query"] {
        let words = [
            "permission denied for table mo_swarms",
            "mo_count_peers()",
            "INSERT, UPDATE, DELETE are missing on table mo_swarms",
        ];
        assert_reported(&ran, key, &words);
    }
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert_eq!(ran.stderr, "", "{ran:#?}");
    assert!(!ran.stdout.contains("data.add_query"), "{ran:#?}");
    pg.assert_unchanged();
}

/// That it is not shown is what every [`PgTables::run`] makes sure of; here it is tried in every way.
fn no_log_shows_the_password(pg: &PgTables) {
    let traced = |arguments: &[&str], settings: &[(&str, &str)]| {
        pg.run(&[arguments, &["--log", "trace"]].concat(), settings)
    };
    assert_eq!(traced(&["check"], &[]).code, Some(0));
    assert_eq!(traced(&["check"], &[("connection_string", &pg.keywords(&[]))]).code, Some(0));
    assert_eq!(traced(&["check"], &[("gc_query", "DELTE")]).code, Some(1));
    assert_eq!(traced(&["conformance", "--filter", "E1"], &[]).code, Some(0));

    let (host, port) = ("127.0.0.1", nowhere().replace("127.0.0.1:", ""));
    let elsewhere = pg.keywords(&[("host", host), ("port", &port)]);
    let ran = traced(&["check"], &[("connection_string", &elsewhere), ("startup_timeout", "1s")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("cannot connect; retrying"), "{ran:?}");
}

fn ping_and_stats(pg: &PgTables) {
    let ran = pg.run(&["ping"], &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("ok: pg responds in "), "{ran:?}");

    let ran = pg.run(&["stats", "--json"], &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let counts: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let maintenance = serde_json::json!({
        "enabled": true,
        "gc_interval_seconds": 180.0,
        "peer_lifetime_seconds": 1860.0,
        "reporting_interval_seconds": 60.0,
    });
    let mut expected = serde_json::json!({
        "info_hashes": 2,
        "seeders": 1,
        "leechers": 2,
        "downloads": 7,
        "maintenance": maintenance,
    });
    assert_eq!(counts, expected);
    let ran = pg.run(&["stats", "--json", "--peers"], &[]);
    let counts: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    expected["peers"] = serde_json::json!({"ipv4": 2, "ipv6": 1, "stale": 1});
    assert_eq!(counts, expected, "{ran:?}");

    let ran = pg.run(&["stats"], &[("export.downloads_query", ""), ("maintenance", "false")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (item, value) in [
        ("downloads", "unknown: no `export.downloads_query` is configured"),
        ("garbage collection", "off: `maintenance` is false"),
    ] {
        let row = ran.stdout.lines().find(|line| line.starts_with(item)).unwrap();
        assert!(row.ends_with(value), "{ran:?}");
    }
    let ran = pg.run(&["stats", "--peers"], &[("export.peers_query", "")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no `export.peers_query` is configured"), "{ran:?}");

    let ran = pg.run(&["stats"], &[("info_hash_count_query", "")]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no `info_hash_count_query` is configured"), "{ran:?}");
    pg.assert_unchanged();
}

fn unlisted_swarms(pg: &PgTables) {
    for (sort, key) in [("peers", "export.peers_query"), ("downloads", "export.downloads_query")] {
        let list = ["swarm", "list", "--sort", sort];
        let ran = pg.run(&list, &[("swarm.list_query", ""), (key, "")]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
        assert!(ran.stderr.contains(&format!("cannot list swarms: no `{key}` is configured")), "{ran:?}");
    }
    pg.assert_unchanged();
}

fn listed_swarms(pg: &PgTables) {
    for sort in ["peers", "seeders", "leechers", "downloads", "info-hash"] {
        for limit in ["1", "50"] {
            let list = ["swarm", "list", "--json", "--sort", sort, "--limit", limit];
            let (listed, scanned) = (pg.run(&list, &[]), pg.run(&list, &[("swarm.list_query", "")]));
            assert_eq!((listed.code, scanned.code), (Some(0), Some(0)), "{listed:?} {scanned:?}");
            assert_ne!(listed.stdout, "", "{sort}");
            assert_eq!((listed.stdout, listed.stderr), (scanned.stdout, scanned.stderr), "{sort} {limit}");
        }
    }
    pg.assert_unchanged();
}

/// Every case must have passed, MUST and SHOULD, or been skipped for one of these reasons.
fn assert_conforms(ran: &CommandOutput, reasons: &[&str]) {
    let is_expected = |line: &&str| {
        let is_skipped = line.starts_with("skipped ") && reasons.iter().any(|reason| line.contains(reason));
        is_skipped || line.starts_with("ok ")
    };
    let (expected, others): (Vec<_>, Vec<_>) = ran.stdout.lines().partition(is_expected);
    let others = others.join("\n");
    assert_eq!(expected.len(), Suite::cases().len(), "{others}\n{}", ran.stderr);
    assert_eq!(ran.code, Some(0), "{others}\n{}", ran.stderr);
}

fn the_suite_on_a_storage_in_use(pg: &PgTables) {
    for _ in 0..2 {
        let ran = pg.run(&["conformance"], &[]);
        assert_conforms(&ran, &["others use the storage", "the storage lacks nothing"]);
        pg.assert_unchanged();
    }
}

fn the_example_for_mochi(pg: &PgTables) {
    let ran = pg.run(&["conformance", "--exclusive"], &[]);
    let queries = ["no query of `forget_swarm`", "no query of `write_peers`"];
    let lacks = ["lacks `export", "lacks `import", "lacks `forget", "lacks `atomic writes", "lacks `list"];
    assert_conforms(&ran, &[lacks.as_slice(), &queries].concat());
}

fn the_schema_again(pg: &PgTables) {
    pg.execute(&printed(&["schema", "pg"]));
    pg.assert_unchanged();
}
