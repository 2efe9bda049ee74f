//! Failover of a primary by its sentinels.

use std::time::Duration;

use super::load::{WriteLoad, holds_downloads, holds_peers};
use super::test_env::open;
use crate::servers::Found;
use crate::servers::redis::{Node, Sentinel, SentinelSetup};

/// How long calls are retried: sentinels mark a silent server as down after a second, and need two or three more to
/// choose another one.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) const SETUP: SentinelSetup =
    SentinelSetup { down_after: Duration::from_secs(1), secured: false, setting: "" };

pub(super) fn servers() -> Found<Sentinel> {
    Sentinel::start(&SETUP)
}

pub(super) fn secured_servers() -> Found<Sentinel> {
    Sentinel::start(&SentinelSetup { secured: true, ..SETUP })
}

/// The primary's process is killed.
pub(super) async fn writes_resume_when_the_primary_is_killed(servers: &Sentinel) {
    fails_over(servers, |servers| servers.primary().kill().unwrap()).await;
}

/// The sentinels promote the replica; the old primary rejects writes then.
pub(super) async fn writes_follow_when_the_primary_is_replaced(servers: &Sentinel) {
    fails_over(servers, |servers| servers.fail_over().unwrap()).await;
}

/// No write that may be repeated fails, each ends within the configured time, and no acknowledged write is missing
/// that the replica had or that came after the failover.
async fn fails_over(servers: &Sentinel, cause: impl FnOnce(&Sentinel)) {
    let retry_timeout = format!("{}s", RETRY_TIMEOUT.as_secs());
    let settings = [("retry_timeout", retry_timeout.as_str()), ("operation_timeout", "30s")];
    let storage = open(servers.settings(0), &settings).await;
    let load = WriteLoad::start(&storage);
    load.puts_more(300, TIMEOUT).await;

    let replicated = load.acknowledged();
    wait_until_replicated(servers.primary()).await;
    cause(servers);
    tokio::time::timeout(TIMEOUT, wait_until_replaced(servers)).await.expect("a new primary in time");
    let lost_perhaps = load.acknowledged();
    load.puts_more(300, TIMEOUT).await;

    let noted = load.finish().await;
    noted.only_graduations_failed();
    assert!(noted.longest < RETRY_TIMEOUT, "a call took {:?}", noted.longest);
    let later = &noted.acknowledged.put - &lost_perhaps.put;
    holds_peers(&*storage, &(&replicated.put | &later)).await;
    let later = noted.acknowledged.graduated - lost_perhaps.graduated;
    holds_downloads(&*storage, replicated.graduated + later, &noted).await;
}

/// Waits until the replica has all that was written so far: writes of other connections come before the marker.
async fn wait_until_replicated(primary: &Node) {
    let mut connection = primary.client().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("SET").arg(&["mark", ""]).exec_async(&mut connection).await.unwrap();
    let wait = redis::cmd("WAIT").arg(&[1, 10_000]).to_owned();
    assert_eq!(wait.query_async(&mut connection).await, Ok(1), "the replica lags behind");
}

/// Waits until the replica is the primary, and the primary is gone or a replica.
async fn wait_until_replaced(servers: &Sentinel) {
    while role(servers.replica()).as_deref() != Some("master")
        || role(servers.primary()).as_deref() == Some("master")
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Answers of the old primary may still be in flight.
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// The role that a server reports; none if it is down.
pub(super) fn role(node: &Node) -> Option<String> {
    let role: Vec<redis::Value> = node.ask(&redis::cmd("ROLE")).ok()?;
    redis::from_redis_value(role.into_iter().next()?).ok()
}
