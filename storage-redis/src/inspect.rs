//! What the servers are and how they are set up.

use std::collections::HashMap;
use std::time::Duration;

use redis::Cmd;
use storage_core::{Error, ErrorKind, Inspection, Operation, Result};

use crate::NAME;
use crate::connection::{Call, Connections};

/// The first version with all commands that are used (HRANDFIELD, SMISMEMBER).
const OLDEST_VERSION: (u64, u64) = (6, 2);

/// How far two clocks may be apart before somebody should look at them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

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

    /// Product and version: `Redis 7.0.15`.
    fn server(&self) -> String {
        match self.get("valkey_version") {
            "" => format!("Redis {}", self.get("redis_version")),
            version => format!("Valkey {version}"),
        }
    }

    /// The version of the commands, as far as it is told.
    fn version(&self) -> Option<(u64, u64)> {
        let mut numbers = self.get("redis_version").split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

fn info(sections: &[&str]) -> Cmd {
    let mut command = redis::cmd("INFO");
    for section in sections {
        command.arg(section);
    }
    command
}

/// Refuses servers that are too old; one that doesn't tell is believed to be new enough. Product and version of
/// the first server, if it tells.
pub(crate) async fn check_version(connections: &Connections) -> Result<Option<String>> {
    let call = Call::repeatable(Operation::Open);
    let answers = connections.query_primaries::<String>(call, info(&["server"])).await;
    let answers = match answers {
        Err(error) if error.kind() == ErrorKind::Rejected => return Ok(None),
        answers => answers?,
    };
    let mut first = None;
    for (address, text) in answers {
        let info = Info::read(&text);
        if info.version().is_some_and(|version| version < OLDEST_VERSION) {
            let message = format!("{address} is {}; Redis 6.2 or later is needed", info.server());
            return Err(Error::new(NAME, Operation::Open, ErrorKind::Rejected).with_message(message));
        }
        first.get_or_insert_with(|| info.server());
    }
    Ok(first)
}

/// Describes the servers, and warns of what may lose data.
pub(crate) async fn inspect(connections: &Connections) -> Result<Inspection> {
    let call = Call::repeatable(Operation::Inspect);
    let all = connections.query_primaries::<String>(call, info(&["all"])).await?;
    let nodes: Vec<_> = all.iter().map(|(address, text)| (address.as_str(), Info::read(text))).collect();

    let mut inspection = Inspection::default();
    let mut finding = |item: &str, found: String| inspection.findings.push((item.into(), found));
    if let Some((_, first)) = nodes.first() {
        inspection.server = first.server();
        finding("version", first.server());
        finding("mode", mode(connections, first, nodes.len()));
    }
    let save = setting(connections, call, "save").await;
    for (address, info) in &nodes {
        finding("server", format!("{address}, role {}", role(info)));
        finding("memory used", info.get("used_memory_human").into());
        finding("memory limit", memory_limit(info));
        finding("memory policy", info.get("maxmemory_policy").into());
        finding("persistence", persistence(info, save.as_deref()));
    }
    for (address, info) in &nodes {
        inspection.warnings.extend(warnings(address, info, save.as_deref()));
    }
    inspection.warnings.dedup();
    inspection.warnings.extend(connections.time().reading().and_then(|clock| clock.warning(CLOCK_TOLERANCE)));
    Ok(inspection)
}

/// A setting of the server; `None` where it may not be asked.
async fn setting(connections: &Connections, call: Call, name: &str) -> Option<String> {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg(name);
    let settings = connections.query_primaries::<HashMap<String, String>>(call, get).await.ok()?;
    settings.into_iter().find_map(|(_, mut settings)| settings.remove(name))
}

fn mode(connections: &Connections, info: &Info, nodes: usize) -> String {
    match info.get("redis_mode") {
        _ if connections.is_cluster() => format!("cluster of {nodes} primaries"),
        "standalone" if connections.is_sentinel() => "primary named by sentinels".into(),
        "standalone" => "single node".into(),
        other => other.into(),
    }
}

fn role(info: &Info) -> &'static str {
    if info.get("role") == "slave" { "replica" } else { "primary" }
}

fn memory_limit(info: &Info) -> String {
    match info.number("maxmemory") {
        0 => "none".into(),
        _ => info.get("maxmemory_human").into(),
    }
}

fn persistence(info: &Info, save: Option<&str>) -> String {
    let append_only = if info.get("aof_enabled") == "1" { "on" } else { "off" };
    let snapshots = match save {
        Some("") => "off",
        Some(_) => "on",
        None => "unknown",
    };
    format!("append only file {append_only}, snapshots {snapshots}")
}

fn warnings(address: &str, info: &Info, save: Option<&str>) -> Vec<String> {
    let mut warnings = Vec::new();
    let policy = info.get("maxmemory_policy");
    if policy.starts_with("allkeys-") {
        let now = if info.number("maxmemory") == 0 { " (there is no limit at present)" } else { "" };
        warnings.push(format!(
            "{address}: `maxmemory-policy` is {policy}: at the limit of memory the server removes whole swarms, \
             downloads and data at its own choice{now}; set it to noeviction"
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
    if role(info) == "replica" {
        warnings.push(format!("{address} is a replica: writes are refused; give the primary's address"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(lines: &[&str]) -> Info {
        Info::read(&lines.join("\r\n"))
    }

    #[test]
    fn product_and_version_are_told_apart() {
        assert_eq!(info(&["# Server", "redis_version:7.0.15"]).server(), "Redis 7.0.15");
        let valkey = info(&["redis_version:7.2.4", "server_name:valkey", "valkey_version:8.0.1"]);
        assert_eq!(valkey.server(), "Valkey 8.0.1");
        assert_eq!(valkey.version(), Some((7, 2)));
    }

    #[test]
    fn eviction_of_any_key_is_warned_of_and_that_of_keys_with_an_expiry_is_not() {
        let any = info(&["maxmemory_policy:allkeys-lru", "maxmemory:1000", "aof_enabled:1"]);
        assert_eq!(warnings("a:1", &any, None).len(), 1);
        let volatile = info(&["maxmemory_policy:volatile-lru", "maxmemory:1000", "aof_enabled:1"]);
        assert_eq!(warnings("a:1", &volatile, None), [""; 0]);
    }

    #[test]
    fn neither_snapshots_nor_log_is_warned_of() {
        let off = info(&["maxmemory_policy:noeviction", "aof_enabled:0"]);
        assert_eq!(warnings("a:1", &off, Some("")).len(), 1);
        assert_eq!(warnings("a:1", &off, Some("3600 1")), [""; 0]);
        assert_eq!(warnings("a:1", &off, None), [""; 0]);
    }
}
