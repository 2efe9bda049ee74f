//! Storages on servers that run in containers only: further versions, and CockroachDB with TLS.

use storage_pg::recommended::{Dialect, Recommendation};

use super::pg::Design;
use super::redis::config;
use super::{Fresh, TestTarget, UnderTest};
use crate::runtime::block_on;
use crate::servers::{FURTHER_POSTGRES, FURTHER_REDIS, Missing, Schema, Servers, containers_are_asked_for};

/// None, unless the environment asks for containers.
pub(super) fn all() -> Vec<UnderTest> {
    if !containers_are_asked_for().unwrap_or(false) {
        return Vec::new();
    }
    let postgres = (0..FURTHER_POSTGRES.len()).map(on_postgres);
    let redis = (0..FURTHER_REDIS.len()).map(on_redis);
    redis.chain(postgres).chain([on_secured_cockroach()]).collect()
}

fn on_postgres(index: usize) -> UnderTest {
    let design = Design::from(Recommendation::default());
    let server = move || Servers::shared().further_postgres(index);
    let under_test = UnderTest::new(FURTHER_POSTGRES[index].storage, move || {
        let schema = block_on(Schema::create(server()?, &design.tables)).map_err(Missing::failed)?;
        Ok(Fresh::new(design.config_for(&schema), TestTarget::Schema(schema)))
    });
    under_test.on_rare(server).required_by_name()
}

fn on_redis(index: usize) -> UnderTest {
    let server = move || Servers::shared().further_redis(index);
    let under_test = UnderTest::new(FURTHER_REDIS[index].storage, move || {
        let database = server()?.database();
        Ok(Fresh::new(config(database.settings()), TestTarget::Database(database)))
    });
    under_test.on_rare(server).required_by_name()
}

fn on_secured_cockroach() -> UnderTest {
    let recommendation = Recommendation { dialect: Dialect::Cockroachdb, ..Recommendation::default() };
    let design = Design::from(recommendation);
    let server = || Servers::shared().cockroach_secured();
    let under_test = UnderTest::new("cockroach/tls", move || {
        let database = block_on(server()?.database(&design.tables)).map_err(Missing::failed)?;
        Ok(Fresh::new(design.config_at(database.url().to_string()), TestTarget::SqlDatabase(database)))
    });
    under_test.on_rare(server).required_by_name()
}
