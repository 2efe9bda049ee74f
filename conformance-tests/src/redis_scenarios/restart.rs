//! A single server that is down for a while.

use std::time::Duration;

use super::load::{WriteLoad, holds_downloads, holds_peers};
use super::test_env::TestDatabase;
use crate::servers::Found;
use crate::servers::redis::{Node, Setup};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A server that keeps what it has acknowledged.
pub(super) fn server() -> Found<Node> {
    Node::start(&Setup::default().durable())
}

/// While it is down, calls fail with errors that advise to retry; once it is back they succeed on the same storage,
/// and no acknowledged write is missing.
pub(super) async fn calls_fail_while_the_server_is_gone_and_then_succeed(server: &Node) {
    let settings = [("retry_timeout", "200ms"), ("operation_timeout", "1s")];
    let storage = TestDatabase::of(server).open_with(&settings).await;
    let load = WriteLoad::start(&storage);
    load.puts_more(300, TIMEOUT).await;

    server.kill().unwrap();
    load.fails(TIMEOUT).await;
    let before = load.noted().acknowledged.put.len();
    load.fails(TIMEOUT).await;
    assert_eq!(load.noted().acknowledged.put.len(), before, "nothing is acknowledged without a server");

    server.start_again().unwrap();
    load.puts_more(300, TIMEOUT).await;

    let noted = load.finish().await;
    noted.failures_are_passing();
    assert!(noted.longest < Duration::from_millis(1_500), "a call took {:?}", noted.longest);
    holds_peers(&*storage, &noted.acknowledged.put).await;
    holds_downloads(&*storage, noted.acknowledged.graduated, &noted).await;
}

/// A short outage delays writes that may be repeated, without an error.
pub(super) async fn a_short_outage_is_retried(server: &Node) {
    let settings = [("retry_timeout", "10s"), ("operation_timeout", "15s")];
    let storage = TestDatabase::of(server).open_with(&settings).await;
    let load = WriteLoad::start(&storage);
    load.puts_more(300, TIMEOUT).await;

    server.kill().unwrap();
    server.start_again().unwrap();
    load.puts_more(300, TIMEOUT).await;

    let noted = load.finish().await;
    noted.only_graduations_failed();
    holds_peers(&*storage, &noted.acknowledged.put).await;
    holds_downloads(&*storage, noted.acknowledged.graduated, &noted).await;
}

/// Scripts that the server has lost are loaded again, without an error.
pub(super) async fn scripts_that_are_gone_are_loaded_again(server: &Node) {
    let storage = TestDatabase::of(server).open_with(&[("retry_timeout", "0s")]).await;
    let load = WriteLoad::start(&storage);
    for _ in 0..5 {
        load.puts_more(20, TIMEOUT).await;
        server.ask::<()>(redis::cmd("SCRIPT").arg("FLUSH")).unwrap();
    }
    load.puts_more(20, TIMEOUT).await;
    let noted = load.finish().await;
    assert!(noted.failures.is_empty(), "{:?}", noted.failures);
    holds_downloads(&*storage, noted.acknowledged.graduated, &noted).await;
}
