//! A storage in use, on tables of a test's own, and the command run on it.

pub mod wrong_settings;

use std::collections::BTreeMap;
use std::str::FromStr;

use conformance_tests::harness::unless_missing;
use conformance_tests::runtime::block_on;
use conformance_tests::servers::{Schema, Servers};
use conformance_tests::storages::pg::Design;
use libtest_mimic::{Completion, Trial};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnectOptions;

use crate::common::{CommandOutput, command, connected, file};

/// A password that opens nothing.
pub const WRONG_PASSWORD: &str = "hunter2";

/// What a tracker in use keeps: two swarms, one of them stale, with a seeder and two leechers.
const ROWS: &str = r"
    INSERT INTO mo_peers (info_hash, peer_id, address, port, is_seeder, is_v6, created) VALUES
        (decode(repeat('1a', 20), 'hex'), '-TR4040-aaaaaaaaaaaa', '192.0.2.1', 6881, TRUE, FALSE, now()),
        (decode(repeat('1a', 20), 'hex'), '-TR4040-bbbbbbbbbbbb', '192.0.2.2', 6881, FALSE, FALSE, now()),
        (decode(repeat('2b', 32), 'hex'), '-TR4040-cccccccccccc', '2001:db8::1', 6881, FALSE, TRUE, '2000-01-01');
    INSERT INTO mo_downloads (info_hash, downloads) VALUES (decode(repeat('1a', 20), 'hex'), 7);
    INSERT INTO mo_kv (context, name, value) VALUES ('MW', '\x01', '\x02');";

/// Tables, indexes and columns; a table that was emptied has another file.
const CATALOG: &str = "
    SELECT format('%s %s %s %s', relname, oid, relfilenode, reloptions) FROM pg_class
    WHERE relnamespace = $1::regnamespace
    UNION ALL
    SELECT format('%s.%s %s %s', table_name, column_name, data_type, column_default)
    FROM information_schema.columns WHERE table_schema = $1
    ORDER BY 1";

/// A storage in use.
pub struct PgTables {
    schema: Schema,
    config: String,
    before: Snapshot,
}

/// What the server has of a storage.
#[derive(Debug, PartialEq)]
struct Snapshot {
    catalog: Vec<String>,
    rows: BTreeMap<String, Vec<String>>,
}

/// A test on a storage in use of this design; one without tables is empty.
pub fn on(name: &str, design: fn() -> Design, test: impl Fn(&PgTables) + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        let Design { tables, config } = design();
        let rows = if tables.is_empty() { "" } else { ROWS };
        let filled = Design { tables: tables + rows, config: String::new() };
        let schema = match filled.schema() {
            Ok(schema) => schema,
            Err(missing) => return unless_missing("pg", missing),
        };
        let pg = PgTables { before: snapshot(&schema), schema, config };
        test(&pg);
        block_on(pg.schema.remove())?;
        Ok(Completion::Completed)
    })
}

impl PgTables {
    /// Runs a command on the storage, with these settings in place of its own; whatever it says, it
    /// says no password.
    pub fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> CommandOutput {
        let file = file(&connected(&self.config, &self.schema.connection_string()));
        let mut command = command(&[arguments, &["-c", file.to_str().unwrap()]].concat());
        command.envs(settings.iter().map(|(key, text)| (variable(key), text)));
        let ran: CommandOutput = command.output().unwrap().into();
        let shown = format!("{ran:?}");
        assert!(!shown.contains(WRONG_PASSWORD), "{ran:?}");
        // One that is also the name of the user, say, may well be shown.
        let (password, others) = (self.password(), self.keywords(&[("password", "")]));
        assert!(!shown.contains(&password) || others.contains(&password), "{ran:?}");
        ran
    }

    /// `check` with these settings in place of its own.
    pub fn check(&self, settings: &[(&str, &str)]) -> CommandOutput {
        self.run(&["check"], settings)
    }

    /// Where the storage is, as keywords and values; those given go before.
    pub fn keywords(&self, given: &[(&str, &str)]) -> String {
        let server = PgConnectOptions::from_str(&server_url()).unwrap();
        let (port, password, schema) =
            (server.get_port().to_string(), self.password(), schema_name(&self.schema));
        let mut keywords = BTreeMap::from([
            ("host", server.get_host()),
            ("port", &port),
            ("user", server.get_username()),
            ("password", &password),
            ("dbname", server.get_database().unwrap_or_default()),
            ("search_path", &schema),
        ]);
        keywords.extend(given.iter().copied());
        keywords.iter().map(|(keyword, value)| format!("{keyword}='{value}' ")).collect()
    }

    /// The password of the server.
    fn password(&self) -> String {
        let url = server_url();
        let login = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(login, _)| login);
        let password = login.and_then(|login| login.split_once(':')).map(|(_, password)| password);
        password.expect("these tests need a server with a password").to_owned()
    }

    /// Runs statements where the storage is.
    pub fn execute(&self, script: &str) {
        let script = format!("SET search_path TO {}; {script}", schema_name(&self.schema));
        block_on(async {
            let mut connection = Servers::shared().postgres().unwrap().connect().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
        });
    }

    /// All tables and rows must be as they were.
    pub fn assert_unchanged(&self) {
        assert_eq!(snapshot(&self.schema), self.before);
    }
}

fn snapshot(schema: &Schema) -> Snapshot {
    block_on(async {
        let mut connection = Servers::shared().postgres().unwrap().connect().await.unwrap();
        let catalog = sqlx::query_scalar(CATALOG).bind(schema_name(schema));
        Snapshot {
            catalog: catalog.fetch_all(&mut connection).await.unwrap(),
            rows: schema.content().await.unwrap(),
        }
    })
}

fn server_url() -> String {
    Servers::shared().postgres().unwrap().url().to_owned()
}

fn schema_name(schema: &Schema) -> String {
    let url = schema.connection_string();
    url.rsplit_once("search_path=").unwrap().1.to_owned()
}

/// The environment variable that goes before a key of the configuration.
fn variable(key: &str) -> String {
    format!("TRACKER_STORAGE__CONFIG__{}", key.to_uppercase().replace('.', "__"))
}

/// A problem must be reported with its file, its key and these words.
pub fn assert_reported(ran: &CommandOutput, key: &str, words: &[&str]) {
    let beginning = format!("`{key}`: ");
    let about = |line: &&str| {
        line.contains(".yaml: ") && line.contains(&beginning) && words.iter().all(|word| line.contains(word))
    };
    assert!(ran.stdout.lines().any(|line| about(&line)), "nothing of {key} with {words:?}: {ran:#?}");
}

/// `check` must end with a finding, so many problems, and nothing else said.
pub fn assert_refused(ran: &CommandOutput, problems: usize) {
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let mut lines = ran.stdout.lines();
    assert_eq!(lines.next(), Some("failed"), "{ran:#?}");
    assert_eq!(lines.count(), problems, "{ran:#?}");
    assert_eq!(ran.stderr, "", "{ran:#?}");
}
