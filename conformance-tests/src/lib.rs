//! Runs the conformance suite on every backend, against real servers, and tests the suite itself.
//!
//! Every case on every storage is a test of its own (`pg/postgres-inet/P3 delete absent seeder`), so
//! that filters, counts and `cargo test -- --list` work. What tests mean:
//!
//! | name | proves |
//! | --- | --- |
//! | `<backend>/<configuration>/<case>` | the storage keeps the rule |
//! | `pg/seed/<case>` | MoChi's sample configuration breaks the rules for its known flaws, and no other |
//! | `<backend>/<configuration>/random stories` | it answers as a plain model does, whatever comes |
//! | `pg/stories/<story>` | writers in each other's way, poolers, nodes that come and go, lost answers, what `check` tells |
//! | `redis/<story>` | agreement of all backends, MoChi's data and layout, round trips, failover, what `check` tells |
//! | `migration/<story>` | everything arrives once, from each backend in each other, and a comparison finds what differs |
//! | `mirror/<story>` | both sides hold the same, trouble with the secondary is nobody else's, moving |
//! | `<backend>/<fault>/<variant>` in `tests/campaign.rs` | acknowledged writes survive the fault, calls end in time, service recovers (`docs/reliability.md`) |
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
//! | `TRACKER_STORAGE_TEST_SEQUENCES` | the number of random stories and of completions at the same time per storage, and of sequences that the backends are compared by (64) |
//! | `TRACKER_STORAGE_TEST_FAILOVERS` | how many failovers of each kind a test of what Redis loses goes through (1) |
//! | `TRACKER_STORAGE_CAMPAIGN_SEED` | the seed of every scenario of the fault campaign (random) |
//! | `TRACKER_STORAGE_CAMPAIGN_SECONDS` | run scenarios of the fault campaign in random order for this time, instead of each once |
//! | `TRACKER_STORAGE_TEST_CONTENTION_SECONDS` | how long 64 writers write to ten swarms (5) |
//! | `TRACKER_STORAGE_TEST_SLOTS` | how many slots of a Redis Cluster are moved to another node and back under load (400; 16384 are all) |
//! | `TRACKER_STORAGE_TEST_KILLS` | how often the command is killed in the middle of a migration (tests of `storage-cli`) |

// Test code: to stop at once, with a message, is what it is for.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod broken;
pub mod campaign;
pub mod harness;
pub mod matrix;
pub mod migration_stories;
pub mod mirror_stories;
pub mod pg_stories;
pub mod redis_stories;
pub mod runtime;
pub mod safety;
pub mod servers;
pub mod storages;
pub mod stories;
