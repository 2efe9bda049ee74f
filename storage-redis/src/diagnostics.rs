//! What the servers are and how they are set up.

use std::collections::HashMap;
use std::time::Duration;

use redis::Value;
use storage_core::{Diagnostics, Error, ErrorKind, Operation, Result};
use tokio::time::Instant;

use crate::NAME;
use crate::connection::{Call, Connections, command};
use crate::layout::{CONTEXT_PATTERN, DOWNLOADS, SWARMS};
use crate::scan::Scan;

/// The first version with all commands that are used (HRANDFIELD, SMISMEMBER).
const OLDEST_VERSION: (u64, u64) = (6, 2);

/// How far two clocks may be apart before somebody should look at them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// How long keys in MoChi's layout are looked for.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What `HELLO` says, which every user may ask.
struct Hello(HashMap<String, Value>);

impl Hello {
    fn get(&self, key: &str) -> String {
        let text = self.0.get(key).cloned().map(redis::from_redis_value::<String>);
        text.and_then(std::result::Result::ok).unwrap_or_default()
    }

    /// Product and version: `Redis 7.0.15`, `Valkey 9.1.2`.
    fn server(&self) -> String {
        let product = self.get("server");
        let mut letters = product.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let product: String = first.into_iter().chain(letters).collect();
        format!("{product} {}", self.get("version"))
    }

    /// The version, as far as it is told. Valkey's own began above that of the Redis whose commands it has.
    fn version(&self) -> Option<(u64, u64)> {
        let version = self.get("version");
        let mut numbers = version.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    fn is_replica(&self) -> bool {
        ["replica", "slave"].contains(&self.get("role").as_str())
    }
}

async fn hello(connections: &Connections, call: Call) -> Result<Vec<(String, Hello)>> {
    let mut hello = redis::cmd("HELLO");
    // The version of the protocol is the one that the connection has already.
    hello.arg(3);
    let answers = connections.query_primaries(call, hello).await?;
    Ok(answers.into_iter().map(|(address, answer)| (address, Hello(answer))).collect())
}

/// What `CONFIG GET` says, by its keys.
type ServerSettings = HashMap<String, String>;

/// What `INFO` says, by its keys.
struct Info(HashMap<String, String>);

impl Info {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim().split_once(':'));
        Self(lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or(0)
    }
}

/// Refuses servers that are too old; one that doesn't tell is believed to be new enough. Product and version of
/// the first server, if it tells.
pub(crate) async fn check_version(connections: &Connections) -> Result<Option<String>> {
    let answers = match hello(connections, Call::repeatable(Operation::Open)).await {
        Err(error) if error.kind() == ErrorKind::Rejected => return Ok(None),
        answers => answers?,
    };
    for (address, hello) in &answers {
        if hello.version().is_some_and(|version| version < OLDEST_VERSION) {
            let message = format!("{address} is {}; Redis 6.2 or later is needed", hello.server());
            return Err(Error::new(NAME, Operation::Open, ErrorKind::Rejected).with_message(message));
        }
    }
    Ok(answers.first().map(|(_, hello)| hello.server()))
}

/// Describes the servers, and warns of what may lose data. What the user may not look at is left out, with a
/// warning.
pub(crate) async fn diagnostics(connections: &Connections) -> Result<Diagnostics> {
    let call = Call::repeatable(Operation::Diagnostics);
    let servers = hello(connections, call).await?;

    let mut diagnostics = Diagnostics::default();
    let Diagnostics { server, findings, warnings, .. } = &mut diagnostics;
    let mut finding = |item: &str, found: String| findings.push((item.into(), found));
    if let Some((_, first)) = servers.first() {
        *server = first.server();
        finding("version", first.server());
        finding("mode", mode(connections, first, servers.len()));
    }
    let infos = info(connections, call, warnings).await?;
    let settings = settings(connections, call, warnings).await?;
    for (address, hello) in &servers {
        let role = if hello.is_replica() { "replica" } else { "primary" };
        finding("server", format!("{address}, role {role}"));
        if let Some(info) = infos.get(address) {
            finding("memory used", info.get("used_memory_human").into());
            finding("memory limit", memory_limit(info));
            finding("memory policy", info.get("maxmemory_policy").into());
            finding("persistence", persistence(info, settings.get(address)));
            let losses = losses(connections, info, settings.get(address));
            losses.findings().into_iter().for_each(|(event, lost)| finding(event, lost));
            warnings.extend(warnings_of(address, info, settings.get(address)));
            warnings.extend(losses.warning(address));
        }
        if hello.is_replica() {
            warnings.push(format!("{address} is a replica: writes are refused; give the primary's address"));
        }
    }
    warnings.dedup();
    warnings.extend(
        connections.connector().silent_sentinels().into_iter().map(|(address, error)| {
            format!("the sentinel {address} can't be asked for the primary: {error}")
        }),
    );
    warnings.extend(wrong_types(connections, call).await?);
    foreign_keys(connections, call, warnings).await?;
    warnings
        .extend(connections.connector().time().reading().and_then(|clock| clock.warning(CLOCK_TOLERANCE)));
    Ok(diagnostics)
}

/// An answer that only describes; `None`, and a warning, where the user may not have it or the server has no such
/// command.
fn unless_refused<T>(
    answer: Result<T>,
    what: &str,
    (command, right): (&str, &str),
    warnings: &mut Vec<String>,
) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::Rejected => {
            warnings.push(format!(
                "cannot inspect {what}: the server refuses {command} ({}); grant `{right}` to the user",
                error.message()
            ));
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

/// What each server says of itself, by its address.
async fn info(
    connections: &Connections,
    call: Call,
    warnings: &mut Vec<String>,
) -> Result<HashMap<String, Info>> {
    let answers = connections.query_primaries::<String>(call, redis::cmd("INFO")).await;
    let what = "memory, its limit and policy, and persistence";
    let answers = unless_refused(answers, what, ("INFO", "+info"), warnings)?.unwrap_or_default();
    Ok(answers.into_iter().map(|(address, text)| (address, Info::read(&text))).collect())
}

/// The settings of each server on which it depends what is lost, by its address.
async fn settings(
    connections: &Connections,
    call: Call,
    warnings: &mut Vec<String>,
) -> Result<HashMap<String, ServerSettings>> {
    let mut all = HashMap::<String, ServerSettings>::new();
    for name in ["save", "appendfsync", "min-replicas-to-write"] {
        // Redis 6.2 takes one name at a time.
        let get = redis::cmd("CONFIG").arg("GET").arg(name).take();
        let answers = connections.query_primaries::<ServerSettings>(call, get).await;
        let what = "snapshots, and how a log is written";
        let Some(answers) = unless_refused(answers, what, ("CONFIG GET", "+config|get"), warnings)? else {
            break;
        };
        for (address, settings) in answers {
            all.entry(address).or_default().extend(settings);
        }
    }
    Ok(all)
}

fn losses<'a>(connections: &Connections, info: &'a Info, settings: Option<&'a ServerSettings>) -> Losses<'a> {
    let (wait_replicas, wait_for_peers) = connections.waits_for();
    Losses { info, settings, wait_replicas, wait_for_peers }
}

/// Says of the keys that all swarms share whether they are what they should be.
async fn wrong_types(connections: &Connections, call: Call) -> Result<Vec<String>> {
    let is_member = command("SISMEMBER", SWARMS).arg("").take();
    let mut warnings = Vec::new();
    for look in [is_member, command("HLEN", DOWNLOADS)] {
        match connections.query::<i64>(call, look).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => warnings.push(error.message().to_owned()),
            answer => drop(answer?),
        }
    }
    Ok(warnings)
}

/// Warns if there are keys, and none of them is in MoChi's layout.
async fn foreign_keys(connections: &Connections, call: Call, warnings: &mut Vec<String>) -> Result<()> {
    let sizes = connections.query_primaries::<u64>(call, redis::cmd("DBSIZE")).await;
    let sizes = unless_refused(sizes, "the number of keys", ("DBSIZE", "+dbsize"), warnings)?;
    let keys: u64 = sizes.unwrap_or_default().iter().map(|(_, size)| size).sum();
    if keys == 0 {
        return Ok(());
    }
    for key in [SWARMS, DOWNLOADS] {
        if connections.query(call, command("EXISTS", key)).await? {
            return Ok(());
        }
    }
    let begun = Instant::now();
    let mut none = "none of them";
    for node in connections.nodes(call).await? {
        let mut scan = Scan::keys(connections, call, node, CONTEXT_PATTERN);
        while let Some(found) = scan.next::<Vec<u8>>().await? {
            if !found.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > LONGEST_LOOK {
                none = "none of those inspected";
                break;
            }
        }
    }
    warnings.push(format!(
        "the database has {keys} keys, {none} in MoChi's layout (CHI_…): was it written by another program, or is \
         `db` wrong?"
    ));
    Ok(())
}

fn mode(connections: &Connections, hello: &Hello, nodes: usize) -> String {
    let mode = hello.get("mode");
    match mode.as_str() {
        _ if connections.is_cluster() => format!("cluster of {nodes} primaries"),
        "standalone" if connections.connector().is_sentinel() => "primary named by sentinels".into(),
        "standalone" => "single node".into(),
        _ => mode,
    }
}

fn memory_limit(info: &Info) -> String {
    match info.number("maxmemory") {
        0 => "none".into(),
        _ => info.get("maxmemory_human").into(),
    }
}

fn persistence(info: &Info, settings: Option<&ServerSettings>) -> String {
    let append_only = if info.get("aof_enabled") == "1" { "on" } else { "off" };
    let snapshots = match snapshots(settings) {
        Some("") => "off",
        Some(_) => "on",
        None => "unknown",
    };
    format!("append only file {append_only}, snapshots {snapshots}")
}

/// When snapshots are made; empty: never.
fn snapshots(settings: Option<&ServerSettings>) -> Option<&str> {
    settings?.get("save").map(String::as_str)
}

fn warnings_of(address: &str, info: &Info, settings: Option<&ServerSettings>) -> Vec<String> {
    let (mut warnings, save) = (Vec::new(), snapshots(settings));
    let policy = info.get("maxmemory_policy");
    if policy.starts_with("allkeys-") {
        let now = if info.number("maxmemory") == 0 { " (there is no limit at present)" } else { "" };
        warnings.push(format!(
            "{address}: `maxmemory-policy` is {policy}: when its memory is full, the server evicts whole swarms, \
             downloads and data{now}; set it to noeviction"
        ));
    }
    if info.get("aof_enabled") == "0" && save == Some("") {
        warnings.push(format!(
            "{address}: persistence is off: a restart loses everything; set `save` or `appendonly`"
        ));
    }
    if save.is_some() && info.get("rdb_last_bgsave_status") == "err" {
        warnings.push(format!("{address}: the last snapshot failed: see the server's log"));
    }
    warnings
}

/// What that depends on, of one server.
struct Losses<'a> {
    info: &'a Info,
    /// `None` where they are not told.
    settings: Option<&'a ServerSettings>,
    wait_replicas: u32,
    wait_for_peers: bool,
}

impl Losses<'_> {
    /// The events, and what each of them costs.
    fn findings(&self) -> [(&'static str, String); 3] {
        [
            ("lost when it is killed", self.by_a_kill().into()),
            ("lost in a power failure", self.by_a_power_cut().into()),
            ("lost in a failover", self.by_a_failover()),
        ]
    }

    fn by_a_kill(&self) -> &'static str {
        if self.has_log() {
            return "nothing";
        }
        match self.setting("save") {
            Some("") => "everything",
            Some(_) => "what came after the last snapshot",
            None => "what came after the last snapshot, if there are snapshots",
        }
    }

    fn by_a_power_cut(&self) -> &'static str {
        match self.setting("appendfsync") {
            _ if !self.has_log() => self.by_a_kill(),
            Some("always") => "nothing",
            Some("everysec") => "the last second or two (`appendfsync everysec`)",
            Some("no") => "what the system had not written yet (`appendfsync no`)",
            _ => "it depends on `appendfsync`",
        }
    }

    fn by_a_failover(&self) -> String {
        let replicas = self.replicas();
        let wait = u64::from(self.wait_replicas);
        if replicas == 0 {
            return "there is no replica".into();
        }
        if wait == 0 {
            let refuses = self.setting("min-replicas-to-write").is_some_and(|number| number != "0");
            let rest = if refuses {
                "an old primary accepts writes until `min-replicas-max-lag` has passed"
            } else {
                "set `wait_replicas` to wait for them"
            };
            return format!("what the replicas have not received yet; {rest}");
        }
        let kept = if self.wait_for_peers { "nothing" } else { "peers only" };
        if wait < replicas {
            return format!(
                "{kept}, unless the new primary is not one of those that `wait_replicas` ({wait} of {replicas}) waited for"
            );
        }
        kept.into()
    }

    /// Why nothing lasting is acknowledged, if that is so.
    fn warning(&self, address: &str) -> Option<String> {
        let (replicas, wait) = (self.replicas(), self.wait_replicas);
        (replicas < u64::from(wait)).then(|| {
            format!(
                "{address}: `wait_replicas` is {wait}, and there are {replicas} replicas: no download and no data is \
                 acknowledged"
            )
        })
    }

    fn has_log(&self) -> bool {
        self.info.get("aof_enabled") == "1"
    }

    fn replicas(&self) -> u64 {
        self.info.number("connected_slaves")
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings?.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn info(lines: &[&str]) -> Info {
        Info::read(&lines.join("\r\n"))
    }

    fn hello(server: &str, version: &str) -> Hello {
        let text = |text: &str| Value::BulkString(text.into());
        Hello(HashMap::from([("server".into(), text(server)), ("version".into(), text(version))]))
    }

    #[test]
    fn product_and_version_are_told_apart() {
        assert_eq!(hello("redis", "6.0.16").server(), "Redis 6.0.16");
        assert_eq!(hello("redis", "6.0.16").version(), Some((6, 0)));
        assert_eq!(hello("valkey", "9.1.2").server(), "Valkey 9.1.2");
        assert_eq!(hello("valkey", "unstable").version(), None);
    }

    #[test]
    fn what_is_refused_is_left_out_and_named() {
        let mut warnings = Vec::new();
        let refused =
            |kind| Err::<(), _>(Error::new(NAME, Operation::Diagnostics, kind).with_message("NOPERM"));
        let mut look = |kind| unless_refused(refused(kind), "memory", ("INFO", "+info"), &mut warnings);
        assert_eq!(look(ErrorKind::Rejected).unwrap(), None);
        assert_eq!(look(ErrorKind::Timeout).unwrap_err().kind(), ErrorKind::Timeout);
        let expected = "cannot inspect memory: the server refuses INFO (NOPERM); grant `+info` to the user";
        assert_eq!(warnings, [expected]);
    }

    #[test]
    fn eviction_of_any_key_is_warned_of_and_that_of_keys_with_an_expiry_is_not() {
        let any = info(&["maxmemory_policy:allkeys-lru", "maxmemory:1000", "aof_enabled:1"]);
        assert_eq!(warnings_of("a:1", &any, None).len(), 1);
        let volatile = info(&["maxmemory_policy:volatile-lru", "maxmemory:1000", "aof_enabled:1"]);
        assert_eq!(warnings_of("a:1", &volatile, None), [""; 0]);
    }

    #[test]
    fn neither_snapshots_nor_log_is_warned_of() {
        let off = info(&["maxmemory_policy:noeviction", "aof_enabled:0"]);
        let saves = |when: &str| Some(ServerSettings::from([("save".into(), when.into())]));
        assert_eq!(warnings_of("a:1", &off, saves("").as_ref()).len(), 1);
        assert_eq!(warnings_of("a:1", &off, saves("3600 1").as_ref()), [""; 0]);
        assert_eq!(warnings_of("a:1", &off, None), [""; 0]);
    }

    fn losses(info: &str, settings: &[(&str, &str)], wait_replicas: u32) -> [String; 3] {
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let losses = Losses {
            info: &Info::read(info),
            settings: Some(&settings),
            wait_replicas,
            wait_for_peers: false,
        };
        losses.findings().map(|(_, lost)| lost)
    }

    #[test]
    fn without_a_log_what_came_after_the_snapshot_is_lost() {
        let [kill, power, failover] = losses("aof_enabled:0", &[("save", "3600 1")], 0);
        assert_eq!((kill, failover.as_str()), (power, "there is no replica"));
        assert_eq!(losses("aof_enabled:0", &[("save", "")], 0)[0], "everything");
    }

    #[test]
    fn with_a_log_it_is_a_matter_of_writing_it_out() {
        let by_power = |fsync| {
            let [kill, power, _] = losses("aof_enabled:1", &[("appendfsync", fsync)], 0);
            assert_eq!(kill, "nothing");
            power
        };
        assert_eq!(by_power("always"), "nothing");
        assert!(by_power("everysec").contains("second"));
        assert!(by_power("no").contains("system"));
    }

    #[test]
    fn a_failover_costs_what_was_not_waited_for() {
        let by_failover = |replicas: u32, refuses, wait| {
            let info = format!("connected_slaves:{replicas}");
            let [_, _, lost] = losses(&info, &[("min-replicas-to-write", refuses)], wait);
            lost
        };
        assert!(by_failover(1, "0", 0).contains("`wait_replicas`"));
        assert!(by_failover(1, "1", 0).contains("`min-replicas-max-lag`"));
        assert_eq!(by_failover(1, "0", 1), "peers only");
        assert!(by_failover(2, "0", 1).contains("(1 of 2)"));
    }

    #[test]
    fn more_replicas_than_there_are_can_not_be_waited_for() {
        let info = Info::read("connected_slaves:1");
        let losses =
            |wait_replicas| Losses { info: &info, settings: None, wait_replicas, wait_for_peers: true };
        assert_eq!(losses(1).warning("a:1"), None);
        assert!(losses(2).warning("a:1").is_some());
    }
}
