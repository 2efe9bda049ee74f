//! Which keys of a connection string may be shown, and which characters a value of them may have. A string in
//! another form (`Host=db1;Password=…`) would be read as a key with a password in its value, which servers and
//! messages repeat.

use std::net::Ipv6Addr;

use storage_core::config::nearest;

/// Parameters of connections, and settings of sessions that are common.
const KNOWN: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "database",
    "datestyle",
    "dbname",
    "default_query_exec_mode",
    "default_transaction_isolation",
    "description_cache_capacity",
    "extra_float_digits",
    "fallback_application_name",
    "geqo",
    "gssencmode",
    "host",
    "hostaddr",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "lock_timeout",
    "options",
    "passfile",
    "password",
    "plan_cache_mode",
    "pool_health_check_period",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conns",
    "pool_min_conns",
    "pool_min_idle_conns",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "role",
    "search_path",
    "service",
    "servicefile",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcrl",
    "sslcrldir",
    "sslinline",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "statement_cache_capacity",
    "statement_timeout",
    "synchronous_commit",
    "target_session_attrs",
    "tcp_user_timeout",
    "timezone",
    "transaction_timeout",
    "user",
    "work_mem",
];

/// Whether a key is one that is known, or nearly. Any other may be a piece of a password.
pub(super) fn is_shown(key: &str) -> bool {
    nearest(key, KNOWN.iter().copied()).is_some()
}

/// The first character of a value that a value of this key does not have, and its position, from 1.
pub(super) fn stray_character(key: &str, value: &str) -> Option<(usize, char)> {
    match key {
        "password" | "sslpassword" | "options" => None,
        "host" | "hostaddr" => stray_in_hosts(value),
        "user" => first(value, |character| ";&=:/".contains(character)),
        "dbname" => first(value, |character| ";&=:@?".contains(character)),
        "passfile" | "servicefile" | "sslcert" | "sslkey" | "sslrootcert" => {
            first(value, |character| ";&=@".contains(character))
        }
        _ => first(value, |character| ";&=".contains(character)),
    }
}

fn first(value: &str, is_stray: impl Fn(char) -> bool) -> Option<(usize, char)> {
    (1..).zip(value.chars()).find(|(_, character)| is_stray(*character))
}

/// Names, addresses, or the folders of sockets, between commas.
fn stray_in_hosts(value: &str) -> Option<(usize, char)> {
    let mut before = 0;
    for host in value.split(',') {
        let (trimmed, indent) =
            (host.trim(), host.chars().take_while(|character| character.is_whitespace()).count());
        let address = trimmed.trim_start_matches('[').trim_end_matches(']');
        let is_address = address.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        let stray = if trimmed.starts_with('/') {
            first(trimmed, |character| ";&=@:".contains(character))
        } else {
            first(trimmed, |character| {
                let is_of_name = character.is_alphanumeric() || "-._%".contains(character);
                let is_of_address = is_address && "[]:".contains(character);
                !is_of_name && !is_of_address
            })
        };
        if let Some((position, character)) = stray {
            return Some((before + indent + position, character));
        }
        before += host.chars().count() + 1;
    }
    None
}
