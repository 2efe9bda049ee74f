//! The suite on tables in use: whatever the queries do, it must not change the rows of others.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use libtest_mimic::{Completion, Failed, Trial};
use storage_core::config::Value;
use storage_core::conformance::{Outcome, Provider, Suite, Violation};
use storage_core::{Context, InfoHash, Peer, PeerId, PeerStorageExt, Role, Storage, Timestamp, When};

use crate::harness::unless_missing;
use crate::runtime::block_on;
use crate::servers::Schema;
use crate::storages::ByConfiguration;
use crate::storages::pg::Design;

/// A query that affects more rows than it should.
struct ExcessRows {
    title: &'static str,
    section: Option<&'static str>,
    key: &'static str,
    query: &'static str,
}

const QUERIES_WITH_EXCESS_ROWS: &[ExcessRows] = &[
    ExcessRows {
        title: "delete takes every peer",
        section: Some("peer"),
        key: "del_query",
        query: "DELETE FROM mo_peers",
    },
    ExcessRows {
        title: "delete takes the peer out of every swarm",
        section: Some("peer"),
        key: "del_query",
        query: "DELETE FROM mo_peers WHERE info_hash = info_hash AND peer_id = @peer_id \
                AND address = @address AND port = @port AND is_seeder = @is_seeder",
    },
    ExcessRows {
        title: "delete of many takes the peers out of every swarm",
        section: Some("peer"),
        key: "del_batch_query",
        query: "DELETE FROM mo_peers AS p \
                USING unnest(@request::int4[], @peer_id::bytea[], @address::inet[], @port::int4[], \
                @is_seeder::bool[]) AS r (request, peer_id, address, port, is_seeder) \
                WHERE (p.peer_id, p.address, p.port, p.is_seeder) = (r.peer_id, r.address, r.port, r.is_seeder) \
                RETURNING r.request",
    },
    ExcessRows {
        title: "graduate takes every peer at the address",
        section: Some("peer"),
        key: "graduate_query",
        query: "UPDATE mo_peers SET is_seeder = TRUE \
                WHERE info_hash = @info_hash AND peer_id = peer_id AND address = @address \
                AND port = @port AND NOT is_seeder",
    },
    ExcessRows {
        title: "graduate of many takes every peer at the address",
        section: Some("peer"),
        key: "graduate_batch_query",
        query: "WITH r AS (SELECT * FROM unnest(@request::int4[], @info_hash::bytea[], @address::inet[], \
                @port::int4[]) AS r (request, info_hash, address, port)), \
                moved AS (UPDATE mo_peers AS p SET is_seeder = TRUE FROM r \
                WHERE (p.info_hash, p.address, p.port) = (r.info_hash, r.address, r.port) AND NOT p.is_seeder \
                RETURNING r.request) \
                SELECT DISTINCT request, TRUE AS is_download FROM moved",
    },
    ExcessRows {
        title: "graduate takes every leecher",
        section: Some("peer"),
        key: "graduate_query",
        query: "UPDATE mo_peers SET is_seeder = TRUE, created = @created WHERE NOT is_seeder",
    },
    ExcessRows {
        title: "garbage collection takes every peer",
        section: None,
        key: "gc_query",
        query: "DELETE FROM mo_peers",
    },
    ExcessRows {
        title: "garbage collection takes the fresh",
        section: None,
        key: "gc_query",
        query: "DELETE FROM mo_peers WHERE created >= @created",
    },
    ExcessRows {
        title: "delete of data looks at no context",
        section: Some("data"),
        key: "del_query",
        query: "DELETE FROM mo_kv WHERE name = ANY(@key)",
    },
    ExcessRows {
        title: "delete of data looks at no key",
        section: Some("data"),
        key: "del_query",
        query: "DELETE FROM mo_kv WHERE context = @context",
    },
    ExcessRows {
        title: "forgetting takes every peer",
        section: Some("peer"),
        key: "forget_query",
        query: "DELETE FROM mo_peers WHERE info_hash = info_hash AND @info_hash <> ''::bytea",
    },
    ExcessRows {
        title: "forgetting many takes every peer",
        section: Some("peer"),
        key: "forget_batch_query",
        query: "DELETE FROM mo_peers WHERE info_hash = info_hash AND @info_hash <> '{}'::bytea[]",
    },
    ExcessRows {
        title: "forgetting many takes all downloads",
        section: Some("downloads"),
        key: "del_batch_query",
        query: "DELETE FROM mo_downloads WHERE @info_hash <> '{}'::bytea[]",
    },
    ExcessRows {
        title: "forgetting takes all downloads",
        section: Some("downloads"),
        key: "del_query",
        query: "DELETE FROM mo_downloads",
    },
];

/// A test for each query.
pub fn tests() -> Vec<Trial> {
    let test = |excess_rows: &'static ExcessRows| {
        Trial::ignorable_test(format!("safety/{}", excess_rows.title), move || {
            let design = Design::plain();
            let schema = match design.schema() {
                Ok(schema) => schema,
                Err(missing) => return unless_missing("pg", missing),
            };
            let result = block_on(is_found_and_harmless(excess_rows, &design, &schema));
            block_on(schema.remove())?;
            result.map(|()| Completion::Completed)
        })
    };
    QUERIES_WITH_EXCESS_ROWS.iter().map(test).collect()
}

async fn is_found_and_harmless(
    excess_rows: &'static ExcessRows,
    design: &Design,
    schema: &Schema,
) -> Result<(), Failed> {
    let mut config = design.config_for(schema);
    let sound = ByConfiguration::new(config.clone(), false).open().await?;
    fill(&*sound).await?;
    let before = schema.content().await?;

    excess_rows.put_into(&mut config.config);
    let failures = run_suite(ByConfiguration::new(config, false)).await;

    let after = schema.content().await?;
    sound.close().await?;
    if before != after {
        return Err(format!("rows of others changed\nbefore: {before:#?}\nafter:  {after:#?}").into());
    }
    let key = excess_rows.full_key();
    if !failures.iter().any(|failure| failure.likely_cause == Some(key.as_str())) {
        return Err(format!("no case names `{key}`; those that failed: {failures:?}").into());
    }
    Ok(())
}

impl ExcessRows {
    fn full_key(&self) -> String {
        self.section.map_or_else(|| self.key.to_owned(), |section| format!("{section}.{}", self.key))
    }

    fn put_into(&self, config: &mut Value) {
        let section = match self.section {
            Some(section) => entry(config, section),
            None => config,
        };
        let query = Value::Text(self.query.to_owned());
        let Value::Section(entries) = section else {
            panic!("`{}` is to be put into what is no section", self.key)
        };
        entries.retain(|(name, _)| name != self.key);
        entries.push((self.key.to_owned(), query));
    }
}

fn entry<'a>(section: &'a mut Value, key: &str) -> &'a mut Value {
    let Value::Section(entries) = section else { panic!("`{key}` is looked for in what is no section") };
    let found = entries.iter_mut().find(|(name, _)| name == key);
    found.map(|(_, value)| value).unwrap_or_else(|| panic!("there is no `{key}`"))
}

/// The content of a tracker in use: peers, also old ones, with downloads and data.
async fn fill(storage: &dyn Storage) -> Result<(), Failed> {
    let stale = Timestamp::from_seconds(0);
    for info_hash in [InfoHash::V1(rand::random()), InfoHash::V2(rand::random())] {
        for number in 0..20 {
            let role = Role::from_is_seeder(number % 2 == 0);
            let announced = if number % 3 == 0 { stale } else { Timestamp::now() };
            for address in [
                IpAddr::from([10, 0, 0, number]),
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()]),
            ] {
                let peer = Peer::new(PeerId([number; 20]), address, 6881);
                storage.put_peer(&info_hash, &peer, role, When::At(announced)).await?;
            }
        }
        let leecher = Peer::new(PeerId([1; 20]), IpAddr::from([10, 0, 0, 1]), 6881);
        storage.graduate_leecher(&info_hash, &leecher).await?;
    }
    for context in ["", "tokens", "approved"] {
        let entries = ["", "a", "b", "c", "k", "key", "one", "two", "\0"]
            .map(|key| (Bytes::from_static(key.as_bytes()), Bytes::from_static(b"kept")));
        storage.put_data(&Context::new(context)?, &entries).await?;
    }
    Ok(())
}

/// Runs every case and returns the failures.
async fn run_suite(provider: ByConfiguration) -> Vec<Violation> {
    let suite = Suite::new(Arc::new(provider));
    let mut failures = Vec::new();
    for case in Suite::cases() {
        if let Outcome::Failed(failure) = suite.run(case).await {
            failures.push(failure);
        }
    }
    failures
}
