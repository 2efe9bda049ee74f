//! PostgreSQL beyond the suite: write conflicts, poolers, servers that go away, lost answers.

mod batches;
mod changed_tables;
mod check;
mod contention;
mod count_checks;
mod counts;
mod custom_types;
mod expiry;
mod hosts;
mod layouts;
mod lost_answers;
mod password_masking;
mod plans;
mod pooler;
mod query_checks;
mod rights;
mod row_counts;
mod versions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Completion, Failed, Trial};
use storage_core::layer::Limits;
use storage_core::{Event, Observer, OpenError, Storage};
use storage_pg::recommended::Recommendation;
use storage_pg::{PgConfig, PgStorage};

use crate::harness::unless_missing;
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema, TcpProxy};
use crate::storages::pg::Design;

/// The body of a scenario.
type PgScenario = fn(&PgUrl) -> Result<(), Failed>;

/// All scenarios.
pub fn tests() -> Vec<Trial> {
    [
        batches::tests(),
        changed_tables::tests(),
        check::tests(),
        contention::tests(),
        count_checks::tests(),
        counts::tests(),
        expiry::tests(),
        layouts::tests(),
        plans::tests(),
        pooler::tests(),
        query_checks::tests(),
        password_masking::tests(),
        rights::tests(),
        versions::tests(),
        row_counts::tests(),
        custom_types::tests(),
        hosts::tests(),
        lost_answers::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A scenario on the recommended tables, in a schema of their own.
fn test(name: &str, scenario: PgScenario) -> Trial {
    on_schema(name, Recommendation::default(), move |schema| {
        scenario(&PgUrl::parse(&schema.connection_string()))
    })
}

/// A scenario that needs the schema and not only its URL.
fn on_schema(
    name: &str,
    recommendation: Recommendation,
    scenario: impl FnOnce(&Schema) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    on_design(name, Design::from(recommendation), scenario)
}

/// The same on other tables.
fn on_design(
    name: &str,
    design: Design,
    scenario: impl FnOnce(&Schema) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(format!("pg/scenarios/{name}"), move || {
        let schema = match design.schema() {
            Ok(schema) => schema,
            Err(missing) => return unless_missing("pg", missing),
        };
        let result = scenario(&schema);
        block_on(schema.remove())?;
        result.map(|()| Completion::Completed)
    })
}

/// Opens the storage as a tracker would.
async fn open(url: &PgUrl, observer: Arc<Counter>) -> Result<Arc<dyn Storage>, OpenError> {
    open_with(Recommendation::default().config(), url, observer, Limits::default()).await
}

/// The same with other settings and limits.
async fn open_with(
    config: PgConfig,
    url: &PgUrl,
    observer: Arc<dyn Observer>,
    limits: Limits,
) -> Result<Arc<dyn Storage>, OpenError> {
    let config = PgConfig { connection_string: Some(url.to_string()), ..config };
    let storage = PgStorage::open_observed(config, observer).await?;
    Ok(storage_core::with_default_layers(Arc::new(storage), limits))
}

/// Counts retries by reason.
#[derive(Default)]
struct Counter(Mutex<BTreeMap<&'static str, u64>>);

impl Counter {
    fn retries(&self, reason: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(reason).copied().unwrap_or(0)
    }
}

impl Observer for Counter {
    fn observe(&self, _backend: &'static str, event: Event) {
        if let Event::Retried { reason } = event {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
        }
    }
}

/// Fails with a message unless a condition holds.
fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(message().into()) }
}

/// This number of proxies in front of the server, and the URL that has them all as hosts.
async fn proxies_for(url: &PgUrl, number: usize) -> Result<(Vec<TcpProxy>, PgUrl), Failed> {
    let server = url.host_and_port().ok_or("the server's URL has no single host")?;
    let server = format!("{}:{}", server.0, server.1);
    let mut proxies = Vec::new();
    for _ in 0..number {
        proxies.push(TcpProxy::start(server.as_str()).await?);
    }
    let hosts: Vec<_> = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
    Ok((proxies, url.clone().at(&hosts)))
}
