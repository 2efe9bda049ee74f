//! Runs the conformance suite on every backend, against real servers, and tests the suite itself.
//!
//! Every case on every storage is a test of its own (`pg/postgres-inet/P3 delete absent seeder`), so
//! that filters, counts and `cargo test -- --list` work. What tests mean:
//!
//! | name | proves |
//! | --- | --- |
//! | `<backend>/<configuration>/<case>` | the storage keeps the rule |
//! | `pg/seed/<case>` | MoChi's sample configuration breaks the rules for its known flaws, and no other |
//! | `<backend>/<configuration>/random sequences` | random sequences of operations have the same results as in a simple model |
//! | `pg/scenarios/<scenario>` | write conflicts, poolers, failover, lost answers, reports of `check` |
//! | `redis/<scenario>` | the same answers as all other backends, MoChi's data and layout, round trips, failover, reports of `check` |
//! | `migration/<scenario>` | everything arrives once, between each two backends, and a comparison finds what differs |
//! | `mirror/<scenario>` | both storages hold the same content, faults of the secondary do not affect callers, migration under load |
//! | `<backend>/<fault>/<variant>` in `tests/chaos.rs` | acknowledged writes survive the fault, calls end in time, service recovers (`docs/src/reliability.md`) |
//! | `broken/<flaw>` | the suite notices a storage with that flaw |
//! | `safety/<flaw>` | the suite leaves a live table alone, whatever the queries |
//!
//! A server comes from a URL in the environment, from programs on this machine, or from a container. In a
//! run that asks for containers there are storages on further servers (`pg/postgres-19`,
//! `redis/valkey-8`, `cockroach/tls`); one whose image can't be had is one ignored test.
//!
//! | environment variable | means |
//! | --- | --- |
//! | `TRACKER_STORAGE_TEST_PG_URL`, `…_REDIS_URL`, `…_COCKROACH_URL` | a server to use instead of starting one |
//! | `TRACKER_STORAGE_TEST_WITH` | `containers`: servers come from containers even where there are programs |
//! | `TRACKER_STORAGE_TEST_IMAGE_POSTGRES`, `…_POSTGRES_15`, `…_POSTGRES_19`, `…_REDIS`, `…_REDIS_8`, `…_VALKEY_8`, `…_COCKROACH` | other images than those in `servers/containers/images.rs` |
//! | `TRACKER_STORAGE_TEST_REQUIRE` | `pg,redis/valkey-8,…`: the absence of the server for this backend, or for this storage of a further server, is a failure |
//! | `TRACKER_STORAGE_TEST_SEQUENCES` | the number of random sequences and of rounds of concurrent completions for each storage, and of sequences by which the backends are compared (64) |
//! | `TRACKER_STORAGE_TEST_FAILOVERS` | how many failovers of each kind a test of what Redis loses goes through (1) |
//! | `TRACKER_STORAGE_CHAOS_SEED` | the seed of every chaos scenario (random) |
//! | `TRACKER_STORAGE_CHAOS_SECONDS` | run chaos scenarios in random order for this time, instead of each once |
//! | `TRACKER_STORAGE_TEST_CONTENTION_SECONDS` | how long 64 writers write to ten swarms (5) |
//! | `TRACKER_STORAGE_TEST_SLOTS` | how many slots of a Redis Cluster are moved to another node and back under load (400; 16384 are all) |
//! | `TRACKER_STORAGE_TEST_KILLS` | how often the command is killed in the middle of a migration (tests of `storage-cli`) |

// Test code: to stop at once, with a message, is what it is for.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod broken;
pub mod chaos;
pub mod harness;
pub mod matrix;
pub mod migration_scenarios;
pub mod mirror_scenarios;
pub mod pg_scenarios;
pub mod random_sequences;
pub mod redis_scenarios;
pub mod runtime;
pub mod safety;
pub mod servers;
pub mod storages;
