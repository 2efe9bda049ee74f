//! Connections to servers: TLS, passwords, keepalives.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use storage_core::config::Value;
use storage_core::{Error, ErrorKind, OpenError, PeerStorageExt};

use super::fixtures::{peer, swarm};
use super::test_env::TestDatabase;
use crate::servers::redis::{Node, Sentinel};
use crate::servers::{Found, Servers, open_sockets_to};
use crate::storages::backends;
use crate::storages::redis::config;

pub(super) fn servers() -> Found<Arc<Sentinel>> {
    Servers::shared().redis_sentinel_secured()
}

pub(super) async fn needs_a_trusted_certificate_authority(servers: &Arc<Sentinel>) {
    let error = refusal(servers, "ca_certs", Value::Null).await;
    assert!(error.message().contains("TLS"), "{error}");
}

pub(super) async fn needs_the_password_of_the_sentinels(servers: &Arc<Sentinel>) {
    let error = refusal(servers, "password", Value::Text("hunter2".into())).await;
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

pub(super) async fn needs_the_password_of_the_data_nodes(servers: &Arc<Sentinel>) {
    let error = refusal(servers, "master_password", Value::Text("hunter2".into())).await;
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

pub(super) async fn has_keepalive(node: &Node) {
    let storage = TestDatabase::of(node).open().await;
    storage.scrape_swarm(&swarm(1)).await.unwrap();
    // The timer of a connection that waits for an answer is another.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let open = open_sockets_to(node.port()).unwrap();
    assert!(open.all > 0 && open.kept_alive == open.all, "{open:?}");
    storage.close().await.unwrap();
}

/// Servers newer than Redis 7.0 name the user, whose name may have the password in it.
pub(super) async fn errors_do_not_name_the_user(node: &Node) {
    let (name, password) = ("tracker-Hunter2", "Hunter2");
    let mut user = redis::cmd("ACL");
    user.arg(&["SETUSER", name, "on", ">Hunter2", "~CHI_*", "+@all", "-evalsha", "-eval"]);
    node.ask::<()>(&user).unwrap();
    let mut settings = node.settings();
    for (key, value) in [("login", name), ("password", password)] {
        settings.retain(|(known, _)| known != key);
        settings.push((key.to_owned(), Value::Text(value.into())));
    }
    let storage = backends().open(config(settings)).await.unwrap().storage;
    let error = storage.put_seeder(&swarm(1), &peer(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.message().contains("user has no permissions to run the 'evalsha' command"), "{error}");
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(below) = source {
        shown += &format!(" {below} {below:?}");
        source = below.source();
    }
    assert!(!shown.contains("Hunter2"), "{shown}");
    storage.close().await.unwrap();
    node.ask::<()>(redis::cmd("ACL").arg("DELUSER").arg(name)).unwrap();
}

/// The error of opening with one setting changed; it must not retry until `startup_timeout`.
async fn refusal(servers: &Sentinel, key: &str, value: Value) -> Error {
    let mut settings = servers.settings(0);
    settings.retain(|(name, _)| name != key);
    settings.push((key.to_owned(), value));
    match backends().open(config(settings)).await {
        Err(OpenError::Storage(error)) => {
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
            error
        }
        Err(other) => panic!("not refused by the servers: {other}"),
        Ok(_) => panic!("opened all the same"),
    }
}
