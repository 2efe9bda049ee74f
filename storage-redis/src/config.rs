//! The settings of a Redis storage.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use storage_core::config::{Problem, Section, Value, deserialize};

/// A configuration to begin with, for `storage:` of a configuration file.
pub const EXAMPLE_CONFIG: &str = include_str!("example_config.yaml");

const DEFAULT_ADDRESS: &str = "127.0.0.1:6379";
const DEFAULT_PORT: u16 = 6379;

/// With these in it a path is more likely a password with something before it.
const NOT_IN_PATHS: [char; 4] = [';', '&', '=', '@'];

/// More replicas than anybody waits for.
const MOST_REPLICAS: u32 = 100;

/// Where the servers are and how to talk to them. With serde it has the keys of a configuration file; what is
/// serialized has the passwords in it, `Debug` does not.
///
/// ```
/// use storage_redis::{DeploymentMode, RedisConfig};
///
/// let config = RedisConfig {
///     addresses: vec!["10.0.0.1:26379".into(), "10.0.0.2:26379".into()],
///     mode: DeploymentMode::Sentinel { master: "tracker".into() },
///     ..RedisConfig::default()
/// };
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Servers as `host:port` (port 6379 if it is left out; IPv6 addresses in brackets): the server, the
    /// sentinels, or some nodes of the cluster (`127.0.0.1:6379`).
    pub addresses: Vec<String>,
    /// What the addresses are.
    pub mode: DeploymentMode,
    /// Whether to use TLS, to the sentinels too.
    pub tls: bool,
    /// Files with the certificates (PEM) to trust instead of those of the system.
    pub ca_certs: Vec<PathBuf>,
    /// The number of the database (0).
    pub db: u32,
    /// The number of connections, each of which carries many calls at once (the cores, from 2 to 8).
    pub pool_size: usize,
    /// The user; with Sentinel that of the sentinels only, as in MoChi.
    pub login: Option<String>,
    /// The password; with Sentinel that of the sentinels only, as in MoChi.
    pub password: Option<String>,
    /// With Sentinel, the user of the data nodes.
    pub master_login: Option<String>,
    /// With Sentinel, the password of the data nodes.
    pub master_password: Option<String>,
    /// The longest to wait for an answer (15 s), to which [`write_timeout`](Self::write_timeout) is
    /// added.
    pub read_timeout: Duration,
    /// The longest that sending may take (15 s).
    pub write_timeout: Duration,
    /// The longest that connecting may take (15 s). The sentinels are given one second each.
    pub connect_timeout: Duration,
    /// How long opening tries again when no server can be reached (30 s).
    pub startup_timeout: Duration,
    /// How long a call is tried again while the server is out of reach, fails over or is busy (3 s);
    /// zero: not at all.
    pub retry_timeout: Duration,
    /// How many replicas must have a download, or data, before it is acknowledged (0). Fewer within
    /// [`wait_timeout`](Self::wait_timeout): [`Uncertain`](storage_core::ErrorKind::Uncertain).
    pub wait_replicas: u32,
    /// The longest to wait for the replicas (1 s).
    pub wait_timeout: Duration,
    /// Whether peers are acknowledged in the same way (false): they announce again, and one that is lost is back
    /// within their announce interval.
    pub wait_for_peers: bool,
}

/// How the servers work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentMode {
    /// One server.
    Single,
    /// A primary with replicas, found by asking sentinels.
    Sentinel {
        /// The name by which the sentinels know the primary.
        master: String,
    },
    /// A cluster.
    Cluster,
}

impl Default for RedisConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            addresses: vec![DEFAULT_ADDRESS.into()],
            mode: DeploymentMode::Single,
            tls: false,
            ca_certs: Vec::new(),
            db: 0,
            pool_size: cores.clamp(2, 8),
            login: None,
            password: None,
            master_login: None,
            master_password: None,
            read_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(15),
            startup_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(3),
            wait_replicas: 0,
            wait_timeout: Duration::from_secs(1),
            wait_for_peers: false,
        }
    }
}

impl fmt::Debug for RedisConfig {
    /// Without the passwords, and without what one may have been pasted into.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let are_addresses = self.addresses.iter().all(|address| read_address(address).is_ok());
        let addresses: &dyn fmt::Debug =
            if are_addresses { &self.addresses } else { &format_args!("(not all are host:port)") };
        let mode: &dyn fmt::Debug = match &self.mode {
            DeploymentMode::Single => &"Single",
            DeploymentMode::Sentinel { .. } => &"Sentinel",
            DeploymentMode::Cluster => &"Cluster",
        };
        f.debug_struct("RedisConfig")
            .field("addresses", addresses)
            .field("mode", mode)
            .field("tls", &self.tls)
            .field("db", &self.db)
            .field("pool_size", &self.pool_size)
            .finish_non_exhaustive()
    }
}

impl From<&RedisConfig> for Value {
    /// The settings as a configuration file has them, the passwords among them.
    fn from(config: &RedisConfig) -> Self {
        let texts = |texts: &[String]| Value::List(texts.iter().map(Value::from).collect());
        let ca_certs: Vec<_> =
            config.ca_certs.iter().map(|file| file.to_string_lossy().into_owned()).collect();
        let (sentinel, master) = match &config.mode {
            DeploymentMode::Sentinel { master } => (true, Some(master)),
            DeploymentMode::Single | DeploymentMode::Cluster => (false, None),
        };
        Value::section([
            ("addresses", texts(&config.addresses)),
            ("sentinel", sentinel.into()),
            ("sentinel_master", master.into()),
            ("cluster", (config.mode == DeploymentMode::Cluster).into()),
            ("tls", config.tls.into()),
            ("ca_certs", texts(&ca_certs)),
            ("db", config.db.into()),
            ("pool_size", config.pool_size.into()),
            ("login", config.login.as_ref().into()),
            ("password", config.password.as_ref().into()),
            ("master_login", config.master_login.as_ref().into()),
            ("master_password", config.master_password.as_ref().into()),
            ("read_timeout", config.read_timeout.into()),
            ("write_timeout", config.write_timeout.into()),
            ("connect_timeout", config.connect_timeout.into()),
            ("startup_timeout", config.startup_timeout.into()),
            ("retry_timeout", config.retry_timeout.into()),
            ("wait_replicas", config.wait_replicas.into()),
            ("wait_timeout", config.wait_timeout.into()),
            ("wait_for_peers", config.wait_for_peers.into()),
        ])
    }
}

impl Serialize for RedisConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Value::from(self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for RedisConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize(from, Self::read)
    }
}

impl RedisConfig {
    /// Reads the settings out of a configuration section; what is wrong is noted there.
    pub fn read(section: &mut Section) -> Self {
        let default = Self::default();
        let config = Self {
            addresses: read_addresses(section),
            mode: read_mode(section),
            tls: section.boolean("tls").unwrap_or(false),
            ca_certs: read_texts(section, "ca_certs").into_iter().map(PathBuf::from).collect(),
            db: section.number("db", 0..=i32::MAX as u32).unwrap_or(default.db),
            pool_size: read_pool_size(section, default.pool_size),
            login: read_text(section, "login"),
            password: read_text(section, "password"),
            master_login: read_text(section, "master_login"),
            master_password: read_text(section, "master_password"),
            read_timeout: section.positive_duration("read_timeout", default.read_timeout),
            write_timeout: section.positive_duration("write_timeout", default.write_timeout),
            connect_timeout: section.positive_duration("connect_timeout", default.connect_timeout),
            startup_timeout: section.positive_duration("startup_timeout", default.startup_timeout),
            retry_timeout: section.duration("retry_timeout").unwrap_or(default.retry_timeout),
            wait_replicas: section
                .number("wait_replicas", 0..=MOST_REPLICAS)
                .unwrap_or(default.wait_replicas),
            wait_timeout: section.positive_duration("wait_timeout", default.wait_timeout),
            wait_for_peers: section.boolean("wait_for_peers").unwrap_or(default.wait_for_peers),
        };
        for Problem { key, message, kind } in config.problems() {
            section.problem_of_kind(kind, &key, message);
        }
        for (key, message) in config.oddities() {
            section.warn(key, message);
        }
        config
    }

    /// What makes these settings unusable.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, message: String| problems.push(Problem::new(key, message));
        if self.addresses.is_empty() {
            problem("addresses", "is empty".into());
        }
        for (index, address) in self.addresses.iter().enumerate() {
            if let Err(message) = read_address(address) {
                problem("addresses", format!("number {} {message}", index + 1));
            }
        }
        for (index, file) in self.ca_certs.iter().enumerate() {
            if file.to_string_lossy().contains(NOT_IN_PATHS) {
                let message =
                    format!("number {} contains one of ; & = @: expected the path of a file", index + 1);
                problem("ca_certs", message);
            }
        }
        if matches!(&self.mode, DeploymentMode::Sentinel { master } if master.is_empty()) {
            problem(
                "sentinel_master",
                "is missing: expected the name of the primary, as the sentinels know it".into(),
            );
        }
        if self.mode == DeploymentMode::Cluster && self.db != 0 {
            problem("db", "must be 0 with `cluster`: a cluster has one database only".into());
        }
        if !self.ca_certs.is_empty() && !self.tls {
            problem("ca_certs", "is given, but `tls` is false: set it to true, or remove `ca_certs`".into());
        }
        if self.pool_size == 0 {
            problem("pool_size", "must be above zero".into());
        }
        problems
    }

    /// What is taken, though it has no effect or not the one that may be expected.
    fn oddities(&self) -> Vec<(&'static str, &'static str)> {
        let mut oddities = Vec::new();
        let is_sentinel = matches!(self.mode, DeploymentMode::Sentinel { .. });
        if self.mode == DeploymentMode::Single && self.addresses.len() > 1 {
            oddities.push(("addresses", "only the first is used: neither `sentinel` nor `cluster` is true"));
        }
        if !is_sentinel && (self.master_login.is_some() || self.master_password.is_some()) {
            oddities
                .push(("master_password", "`master_login` and `master_password` are for `sentinel` only"));
        }
        if self.wait_for_peers && self.wait_replicas == 0 {
            oddities.push(("wait_for_peers", "has no effect: `wait_replicas` is 0"));
        }
        if self.login.is_some() && self.password.is_none() {
            oddities.push(("login", "is not used: there is no `password`"));
        }
        if self.master_login.is_some() && self.master_password.is_none() {
            oddities.push(("master_login", "is not used: there is no `master_password`"));
        }
        oddities
    }
}

fn read_addresses(section: &mut Section) -> Vec<String> {
    let given = section.has("addresses");
    let addresses = read_texts(section, "addresses");
    if !addresses.is_empty() {
        return addresses;
    }
    if given {
        section.warn("addresses", format!("is empty; the default of {DEFAULT_ADDRESS} is used"));
    }
    vec![DEFAULT_ADDRESS.into()]
}

fn read_mode(section: &mut Section) -> DeploymentMode {
    let sentinel = section.boolean("sentinel").unwrap_or(false);
    let cluster = section.boolean("cluster").unwrap_or(false);
    let master = read_text(section, "sentinel_master");
    match (sentinel, cluster) {
        (true, true) => {
            section.problem("cluster", "can't be true together with `sentinel`: choose one of them");
            DeploymentMode::Cluster
        }
        (true, false) => DeploymentMode::Sentinel { master: master.unwrap_or_default() },
        (false, cluster) => {
            if master.is_some() {
                section.warn("sentinel_master", "is not used: `sentinel` is false");
            }
            if cluster { DeploymentMode::Cluster } else { DeploymentMode::Single }
        }
    }
}

fn read_pool_size(section: &mut Section, default: usize) -> usize {
    match section.number("pool_size", 0..=1024_usize) {
        Some(0) => {
            section.warn("pool_size", format!("must be above zero; the default of {default} is used"));
            default
        }
        given => given.unwrap_or(default),
    }
}

/// Text; blank is as good as absent, as in MoChi's example.
fn read_text(section: &mut Section, key: &str) -> Option<String> {
    section.text(key).filter(|text| !text.is_empty())
}

fn read_texts(section: &mut Section, key: &str) -> Vec<String> {
    let texts = section.list(key).unwrap_or_default();
    texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Reads `host:port`, `host`, `[address]:port` or an address alone. What is refused may have a password in it, and
/// the refusal repeats nothing of it.
pub(crate) fn read_address(text: &str) -> Result<(String, u16), &'static str> {
    const EXPECTED: &str = "is not an address such as 127.0.0.1:6379, [::1]:6379 or redis.example:6379";
    if text.contains("://") {
        return Err(
            "is a URL; expected host:port, and `tls`, `login`, `password`, `db` as keys of their own",
        );
    }
    if text.contains(['@', '/', '?', '=', ',', '&', ';', '#']) {
        return Err("contains more than host:port; `tls`, `login`, `password`, `db` are keys of their own");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(EXPECTED)?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(EXPECTED)?) })
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, None),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(EXPECTED)?,
        None => DEFAULT_PORT,
    };
    let may_be_in_host = |character: char| character.is_alphanumeric() || "-._:%".contains(character);
    if host.is_empty() || !host.chars().all(may_be_in_host) {
        return Err(EXPECTED);
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use storage_core::config::{ConfigDiagnostics, Value};

    fn read(entries: &[(&str, Value)]) -> (RedisConfig, ConfigDiagnostics) {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let mut section = Section::new(Value::Section(entries));
        let config = RedisConfig::read(&mut section);
        (config, section.finish())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn mochis_example_is_taken_as_it_is() {
        let (config, findings) = read(&[
            ("addresses", Value::List(vec![text("127.0.0.1:6379")])),
            ("db", Value::Integer(0)),
            ("pool_size", Value::Integer(10)),
            ("login", text("")),
            ("password", text("")),
            ("sentinel", Value::Boolean(false)),
            ("sentinel_master", text("")),
            ("cluster", Value::Boolean(false)),
            ("read_timeout", text("15s")),
            ("write_timeout", text("15s")),
            ("connect_timeout", text("15s")),
        ]);
        assert_eq!(findings, ConfigDiagnostics::default());
        assert_eq!(config, RedisConfig { pool_size: 10, ..RedisConfig::default() });
    }

    #[test]
    fn sentinel_and_cluster_exclude_each_other() {
        let (_, findings) = read(&[("sentinel", Value::Boolean(true)), ("cluster", Value::Boolean(true))]);
        assert_eq!(
            findings.problems[0].to_string(),
            "`cluster`: can't be true together with `sentinel`: choose one of them"
        );
    }

    #[test]
    fn a_cluster_has_one_database() {
        let (_, findings) = read(&[("cluster", Value::Boolean(true)), ("db", Value::Integer(3))]);
        assert_eq!(findings.problems[0].key, "db");
    }

    #[test]
    fn waiting_for_peers_alone_has_no_effect() {
        let (config, findings) = read(&[("wait_for_peers", Value::Boolean(true))]);
        assert_eq!((config.wait_replicas, findings.warnings[0].key.as_str()), (0, "wait_for_peers"));
    }

    #[test]
    fn sentinel_needs_the_name_of_the_primary() {
        let (_, findings) = read(&[("sentinel", Value::Boolean(true))]);
        assert_eq!(findings.problems[0].key, "sentinel_master");
    }

    #[test]
    fn of_several_addresses_a_single_server_is_the_first() {
        let (_, findings) = read(&[("addresses", Value::List(vec![text("a:1"), text("b:2")]))]);
        assert_eq!(findings.problems, []);
        assert_eq!(findings.warnings[0].key, "addresses");
    }

    #[test]
    fn a_wrong_address_is_named_by_its_place_and_not_repeated() {
        let (_, findings) = read(&[("addresses", text("redis://:hunter2@127.0.0.1"))]);
        let problem = findings.problems[0].to_string();
        assert!(problem.starts_with("`addresses`: number 1 is a URL"), "{problem}");
        assert!(!problem.contains("hunter2"));
    }

    #[test]
    fn a_config_is_read_back_with_its_passwords() {
        let sentinel = RedisConfig {
            addresses: vec!["a:1".into(), "[::1]:2".into()],
            mode: DeploymentMode::Sentinel { master: "tracker".into() },
            tls: true,
            ca_certs: vec!["/etc/ca.pem".into()],
            db: 3,
            pool_size: 5,
            login: Some("a".into()),
            password: Some("b".into()),
            master_login: Some("c".into()),
            master_password: Some("007".into()),
            read_timeout: Duration::from_millis(1),
            write_timeout: Duration::from_secs(90),
            connect_timeout: Duration::from_millis(1_500),
            startup_timeout: Duration::from_secs(7_200),
            retry_timeout: Duration::ZERO,
            wait_replicas: 1,
            wait_timeout: Duration::from_secs(2),
            wait_for_peers: true,
        };
        let cluster = RedisConfig { mode: DeploymentMode::Cluster, ..RedisConfig::default() };
        for config in [sentinel, cluster, RedisConfig::default()] {
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<RedisConfig>(&json).unwrap(), config, "{json}");
        }
        assert_eq!(serde_json::from_str::<RedisConfig>("{}").unwrap(), RedisConfig::default());
    }

    #[test]
    fn passwords_are_not_printed() {
        let config = RedisConfig {
            password: Some("hunter2".into()),
            master_password: Some("hunter2".into()),
            ..RedisConfig::default()
        };
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn addresses_are_host_and_port() {
        let cases = [
            ("127.0.0.1:7000", "127.0.0.1", 7000),
            ("redis.example", "redis.example", 6379),
            ("[::1]:7000", "::1", 7000),
            ("[::1]", "::1", 6379),
            ("::1", "::1", 6379),
        ];
        for (text, host, port) in cases {
            assert_eq!(read_address(text), Ok((host.to_owned(), port)), "{text}");
        }
        let none = [
            "",
            ":6379",
            "a:0",
            "a:b",
            "a:1:2",
            "[::1",
            "[::1]6379",
            "/run/redis.sock",
            "u@a:1",
            "a b",
            "a\n:1",
            "a:1?db=2",
            "a,b",
            "password=b",
            "a;b",
            "a&b",
            "a#b",
            "[u:p@a]:1",
            "u:p w@a:1",
            "\"a\"",
            "p!w",
            "p$w*",
        ];
        for text in none {
            assert!(read_address(text).is_err(), "{text}");
        }
    }

    /// In which users paste a password along with an address.
    const PASTED: [&str; 10] = [
        "redis://user:SECRET@redis.example:6379/0",
        "rediss://:SECRET@redis.example",
        "redis.example:6379?password=SECRET",
        "redis.example:6379/?user=a&password=SECRET",
        "user:SECRET@redis.example:6379",
        ":SECRET@redis.example",
        "redis.example:6379,password=SECRET,ssl=true",
        "redis.example,password=SECRET",
        "redis.example;password=SECRET",
        "redis.example:6379 -a SECRET",
    ];

    /// Pieces of a secret that nothing else has.
    fn pieces(secret: &str) -> impl Iterator<Item = &str> {
        (0..=secret.len() - 6).map(|start| &secret[start..start + 6])
    }

    proptest! {
        #[test]
        fn a_pasted_password_is_refused_and_never_repeated(
            secret in "[a-zA-Z0-9!$%^*(),/?@=&;:#._-]{8,24}",
            form in 0..PASTED.len(),
            is_list: bool,
        ) {
            let pasted = PASTED[form].replace("SECRET", &secret);
            let addresses =
                if is_list { Value::List(vec![text("127.0.0.1:1"), text(&pasted)]) } else { text(&pasted) };
            let (config, findings) = read(&[("addresses", addresses)]);
            prop_assert!(!findings.problems.is_empty());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let opening = crate::RedisStorage::open(config.clone());
            let error = runtime.block_on(opening).err().unwrap();
            let shown = format!("{findings:?} {config:?} {config:#?} {error} {error:?}");
            for problem in &findings.problems {
                prop_assert!(problem.to_string().starts_with("`addresses`: number "));
            }
            for piece in pieces(&secret) {
                prop_assert!(!shown.contains(piece), "{piece} of {pasted} in {shown}");
            }
        }

        #[test]
        fn a_password_in_another_field_is_never_repeated(
            secret in "[a-zA-Z0-9!$%^*(),/?@=&;:#._-]{8,24}",
            key in prop::sample::select(vec![
                "addresses", "tls", "ca_certs", "db", "pool_size", "login", "password", "master_login",
                "master_password", "sentinel", "sentinel_master", "cluster", "read_timeout", "write_timeout",
                "connect_timeout", "startup_timeout", "retry_timeout", "wait_replicas", "wait_timeout",
                "wait_for_peers",
            ]),
            form in prop::sample::select(PASTED.to_vec()),
            is_sentinel: bool,
        ) {
            let pasted = form.replace("SECRET", &secret);
            let mut entries = vec![(key, text(&pasted))];
            let addresses = ("addresses", text("127.0.0.1:1"));
            let others = [addresses, ("tls", Value::Boolean(true)), ("sentinel", Value::Boolean(is_sentinel))];
            entries.extend(others.into_iter().filter(|(other, _)| *other != key));
            let (config, findings) = read(&entries);
            let config = RedisConfig { startup_timeout: Duration::from_millis(1), ..config };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let opening = crate::RedisStorage::open(config.clone());
            let error = runtime.block_on(opening).err().unwrap();
            let shown = format!("{findings:?} {config:?} {error} {error:?}");
            for piece in pieces(&secret) {
                prop_assert!(!shown.contains(piece), "{piece} of {pasted} in {key}: {shown}");
            }
        }

        #[test]
        fn any_text_is_an_address_or_not(text in ".*") {
            if let Ok((host, port)) = read_address(&text) {
                prop_assert!(!host.is_empty());
                prop_assert!(port != 0);
            }
        }

        #[test]
        fn an_address_is_read_back(ip: std::net::IpAddr, port in 1..=u16::MAX) {
            let text = std::net::SocketAddr::new(ip, port).to_string();
            prop_assert_eq!(read_address(&text), Ok((ip.to_string(), port)));
        }
    }
}
