//! Acknowledged writes after a failover: downloads and data under load, orderly failovers and kills, with and without
//! `wait_replicas`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage_core::config::Value;
use storage_core::{AddressFamily, Announce, AnnounceEvent, ErrorKind, InfoHash, Result, Role, Storage};
use tokio::task::JoinSet;

use super::failover::{self, role};
use super::fixtures::{context, peer};
use super::test_env::open;
use crate::servers::Found;
use crate::servers::redis::{Node, Sentinel, SentinelSetup};

/// How many failovers of each kind a test goes through (1).
const ROUNDS_VARIABLE: &str = "TRACKER_STORAGE_TEST_FAILOVERS";

/// Concurrent calls.
const CALLERS: usize = 16;
/// One of this number of calls is for data.
const DATA_EVERY: u64 = 4;
/// How late an old primary's acknowledgement may count, after the first sentinel has named another.
const LATEST: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Swarms that are read in one call.
const PAGE: usize = 500;

/// What causes the failover.
#[derive(Debug, Clone, Copy)]
enum FailoverCause {
    /// The sentinels promote the replica, while the old primary works.
    Command,
    /// Its process is killed.
    Kill,
}

/// What has to happen before a write is acknowledged.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// The primary has it.
    Primary,
    /// The primary has it, and a replica: `min-replicas-to-write`.
    MinReplicas,
    /// A replica has it: `wait_replicas` is 1.
    Replica,
}

/// A primary that refuses writes without a replica.
pub(super) fn servers_with_min_replicas() -> Found<Sentinel> {
    let setting = "min-replicas-to-write 1\nmin-replicas-max-lag 2";
    Sentinel::start(&SentinelSetup { setting, ..failover::SETUP })
}

pub(super) async fn downloads_are_lost_for_a_second_at_most_in_an_orderly_failover(first: &Sentinel) {
    rounds(first, FailoverCause::Command, Wait::Primary).await;
}

pub(super) async fn downloads_that_a_replica_has_survive_an_orderly_failover(first: &Sentinel) {
    rounds(first, FailoverCause::Command, Wait::Replica).await;
}

pub(super) async fn downloads_are_lost_for_a_second_at_most_when_a_primary_is_killed(first: &Sentinel) {
    rounds(first, FailoverCause::Kill, Wait::Primary).await;
}

pub(super) async fn downloads_that_a_replica_has_survive_a_crash_of_the_primary(first: &Sentinel) {
    rounds(first, FailoverCause::Kill, Wait::Replica).await;
}

pub(super) async fn a_primary_that_refuses_writes_without_a_replica_loses_few_in_an_orderly_failover(
    first: &Sentinel,
) {
    rounds(first, FailoverCause::Command, Wait::MinReplicas).await;
}

async fn rounds(first: &Sentinel, cause: FailoverCause, wait: Wait) {
    let rounds = std::env::var(ROUNDS_VARIABLE).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let mut sum = WriteCount::default();
    for round in 0..rounds {
        let count = if round == 0 {
            fails_over(first, cause, wait).await
        } else {
            let start =
                if let Wait::MinReplicas = wait { servers_with_min_replicas } else { failover::servers };
            let servers = start().expect("servers, as there were before");
            let count = fails_over(&servers, cause, wait).await;
            servers.stop();
            count
        };
        sum.add(&count);
    }
    println!("{cause:?}, {wait:?}, {rounds} rounds: {sum}");
}

/// The operating system keeps what a killed process has written, whether or not it is on the disk yet.
pub(super) async fn downloads_in_the_append_only_file_survive_a_crash(server: &Node) {
    for policy in ["no", "everysec", "always"] {
        server.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg(policy)).unwrap();
        server.ask::<()>(&redis::cmd("FLUSHALL")).unwrap();
        let storage = open(server.settings(), &[]).await;
        let load = AckLoad::start(&storage);
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.kill().unwrap();
        let written = load.finish().await;
        storage.close().await.unwrap();
        server.start_again().unwrap();
        let clean = open(server.settings(), &[]).await;
        let lost = lost(&*clean, &written.acknowledged).await.unwrap().len();
        clean.close().await.unwrap();
        println!(
            "Kill, appendfsync {policy}: {} acknowledged, {lost} of them lost",
            written.acknowledged.len()
        );
        assert_eq!(lost, 0, "appendfsync {policy}");
    }
}

/// The outcomes of the writes.
#[derive(Default)]
struct WriteCount {
    acknowledged: usize,
    lost: usize,
    uncertain: u64,
    failed: u64,
}

impl WriteCount {
    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.uncertain += other.uncertain;
        self.failed += other.failed;
    }
}

impl fmt::Display for WriteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, lost, uncertain, failed } = self;
        write!(f, "{acknowledged} acknowledged, {lost} of them lost; {uncertain} uncertain, {failed} failed")
    }
}

async fn fails_over(servers: &Sentinel, cause: FailoverCause, wait: Wait) -> WriteCount {
    let wait_replicas = i64::from(matches!(wait, Wait::Replica));
    let mut settings = servers.settings(0);
    settings.push(("wait_replicas".into(), Value::Integer(wait_replicas)));
    let storage = open(settings, &[]).await;
    let load = AckLoad::start(&storage);
    tokio::time::sleep(Duration::from_secs(1)).await;

    match cause {
        FailoverCause::Kill => servers.primary().kill().unwrap(),
        FailoverCause::Command => servers.fail_over().unwrap(),
    }
    until(|| servers.names_replica()).await;
    let named = Instant::now();
    // An old primary that works serves until it is demoted.
    until(|| role(servers.primary()).as_deref() != Some("master")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let written = load.finish().await;
    storage.close().await.unwrap();

    let clean = open(servers.settings(0), &[]).await;
    let lost = lost(&*clean, &written.acknowledged).await.unwrap();
    clean.close().await.unwrap();
    let late: Vec<_> = lost.iter().filter(|written| written.at > named + LATEST).collect();
    assert!(late.is_empty(), "{} writes were lost that were acknowledged late", late.len());
    if let Wait::Primary = wait {
        let resumed = written.acknowledged.iter().any(|written| written.at > named + LATEST);
        assert!(resumed, "nothing was acknowledged after the failover");
    }
    if let Wait::Replica = wait {
        assert!(lost.is_empty(), "{} of {} are lost", lost.len(), written.acknowledged.len());
    }
    let (uncertain, failed) = (written.uncertain, written.failed);
    WriteCount { acknowledged: written.acknowledged.len(), lost: lost.len(), uncertain, failed }
}

async fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < TIMEOUT);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A write that was acknowledged, each with a swarm or a key of its own.
struct AckedWrite {
    number: u64,
    at: Instant,
}

#[derive(Default)]
struct WrittenPeer {
    acknowledged: Vec<AckedWrite>,
    uncertain: u64,
    failed: u64,
}

/// Writes downloads and data, each once, until it is stopped.
struct AckLoad {
    is_over: Arc<AtomicBool>,
    callers: JoinSet<WrittenPeer>,
}

impl AckLoad {
    fn start(storage: &Arc<dyn Storage>) -> Self {
        let (is_over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (storage, is_over, next) = (Arc::clone(storage), Arc::clone(&is_over), Arc::clone(&next));
            callers.spawn(async move {
                let mut written = WrittenPeer::default();
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    match write(&*storage, number).await.map_err(|error| error.kind()) {
                        Ok(()) => written.acknowledged.push(AckedWrite { number, at: Instant::now() }),
                        Err(ErrorKind::Uncertain) => written.uncertain += 1,
                        Err(_) => written.failed += 1,
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                written
            });
        }
        Self { is_over, callers }
    }

    async fn finish(mut self) -> WrittenPeer {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = WrittenPeer::default();
        while let Some(written) = self.callers.join_next().await {
            let written = written.unwrap();
            all.acknowledged.extend(written.acknowledged);
            all.uncertain += written.uncertain;
            all.failed += written.failed;
        }
        all
    }
}

fn is_data(number: u64) -> bool {
    number.is_multiple_of(DATA_EVERY)
}

fn swarm(number: u64) -> InfoHash {
    let mut bytes = [7; 20];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    InfoHash::V1(bytes)
}

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

async fn write(storage: &dyn Storage, number: u64) -> Result<()> {
    if is_data(number) {
        return storage.put_data(&context("durability"), &[(key(number), key(number))]).await;
    }
    let announce = Announce::new(swarm(number), [peer(1)])
        .with_role(Role::Seeder)
        .with_event(AnnounceEvent::Completed)
        .with_num_want(0)
        .with_families(&AddressFamily::BOTH);
    storage.announce(&announce).await.map(drop)
}

/// The writes that are missing.
async fn lost<'a>(storage: &dyn Storage, written: &'a [AckedWrite]) -> Result<Vec<&'a AckedWrite>> {
    let mut lost = Vec::new();
    let (data, downloads): (Vec<_>, Vec<_>) = written.iter().partition(|written| is_data(written.number));
    for page in data.chunks(PAGE) {
        let keys: Vec<_> = page.iter().map(|written| key(written.number)).collect();
        let found = storage.contains_data(&context("durability"), &keys).await?;
        lost.extend(page.iter().zip(found).filter(|(_, is_there)| !is_there).map(|(written, _)| *written));
    }
    for page in downloads.chunks(PAGE) {
        let swarms: Vec<_> = page.iter().map(|written| swarm(written.number)).collect();
        let counts = storage.scrape_swarms(&swarms).await?;
        let absent = page.iter().zip(counts).filter(|(_, counts)| counts.downloads == 0);
        lost.extend(absent.map(|(written, _)| *written));
    }
    Ok(lost)
}
