//! Opening a mirror from its configuration.

use storage_core::OpenError;
use storage_core::PeerStorageExt;
use storage_core::config::{StorageConfig, Value};

use super::test_env::{peer, swarm};
use crate::storages::mirror::{config, memory};
use crate::storages::{backends, redis};

/// Nobody listens at this address.
const NOBODY: &str = "127.0.0.1:1";

fn text(key: &str, text: &str) -> (String, Value) {
    (key.to_owned(), Value::Text(text.to_owned()))
}

fn redis_at(address: &str) -> StorageConfig {
    redis::config(vec![text("addresses", address), text("startup_timeout", "100ms")])
}

async fn problems(config: StorageConfig) -> Vec<String> {
    match backends().open(config).await {
        Err(OpenError::Configuration(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

pub(super) async fn works_without_the_secondary() {
    let opened = backends().open(config(memory(), redis_at(NOBODY))).await;
    let storage = opened.unwrap_or_else(|error| panic!("{error}")).storage;
    storage.put_seeder(&swarm(1), &peer(1)).await.unwrap();
    assert_eq!(storage.scrape_swarm(&swarm(1)).await.unwrap().seeders, 1);
    let diagnostics = storage.diagnostics().await.unwrap();
    let finding = |item: &str| &diagnostics.findings.iter().find(|(name, _)| name == item).unwrap().1;
    assert!(finding("state").starts_with("suspended since"), "{diagnostics:?}");
    assert!(finding("missed writes").starts_with("1, the first at"), "{diagnostics:?}");
    storage.close().await.unwrap();

    let opened = backends().open(config(redis_at(NOBODY), memory())).await;
    assert!(matches!(opened.err(), Some(OpenError::Storage(_))), "there is no service without the primary");
}

pub(super) async fn reports_the_problems_of_both_storages() {
    let nothing = |name: &str| StorageConfig { name: name.into(), config: Value::empty_section() };
    let found = problems(config(nothing("rediss"), nothing("pg"))).await;
    assert!(
        found[0].starts_with("`primary.name`: there is no backend of this name; known backends: "),
        "{found:?}"
    );
    assert!(found.iter().any(|problem| problem.starts_with("`secondary.config.")), "{found:?}");

    let misspelt =
        StorageConfig { name: "memory".into(), config: Value::Section(vec![text("shard_cuont", "4")]) };
    let found = problems(config(memory(), misspelt)).await;
    assert_eq!(found, ["`secondary.config.shard_cuont`: unknown key; did you mean `shard_count`?"]);
}

pub(super) async fn rejects_a_mirror_in_a_mirror_and_one_storage_twice() {
    let found = problems(config(memory(), config(memory(), memory()))).await;
    assert_eq!(found, ["`secondary.name`: a mirror cannot be nested in a mirror"]);
    let found = problems(config(redis_at(NOBODY), redis_at(NOBODY))).await;
    assert_eq!(found, ["`secondary`: is the same storage as `primary`; expected another one"]);
}
