//! Faults of the secondary.

use std::sync::Arc;
use std::time::Duration;

use storage_core::{Backend, Maintenance, PeerStorage, PeerStorageExt, Storage};
use storage_migration::{Migration, Options};
use storage_mirror::MirrorConfig;

use super::test_env::{InjectedFault, TestMirror, eventually, peer, swarm};
use crate::random_sequences::run::export;

/// Longer than any test may take: nothing below waits for it.
const FOREVER: Duration = Duration::from_secs(36_000);

pub(super) async fn that_hangs_delays_no_call() {
    let config = MirrorConfig { lanes: 1, queue: 10, secondary_timeout: FOREVER, ..MirrorConfig::default() };
    let env = TestMirror::new(config);
    env.secondary.layer().set_fault(InjectedFault::Hang);
    for number in 0..1_000 {
        env.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    assert_eq!(env.mirror.scrape_swarm(&swarm(1)).await.unwrap().leechers, 1_000);
    let status = env.mirror.status();
    assert_eq!(status.applied, 0);
    assert!((10..=10 + 64).contains(&status.queued), "{} are queued", status.queued);
    assert_eq!(status.queued + env.missed(), 1_000);
    env.secondary.layer().set_fault(InjectedFault::None);
    let status = env.quiet().await;
    assert_eq!(status.applied + env.missed(), 1_000);
}

pub(super) async fn that_fails_does_not_fail_the_query_check() {
    let env = TestMirror::new(MirrorConfig::default());
    env.secondary.layer().set_fault(InjectedFault::Unavailable);
    assert!(env.secondary.check_query_scope().await.is_err());
    assert_eq!(env.mirror.check_query_scope().await.unwrap(), env.primary.check_query_scope().await.unwrap());
}

pub(super) async fn that_fails_is_suspended_until_it_responds() {
    let probe_interval = Duration::from_millis(20);
    let env = TestMirror::new(MirrorConfig { suspend_after: 3, probe_interval, ..MirrorConfig::default() });
    env.mirror.put_leecher(&swarm(1), &peer(0)).await.unwrap();
    env.quiet().await;
    env.secondary.layer().set_fault(InjectedFault::Unavailable);
    for number in 1..=3 {
        env.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
        env.quiet().await;
        assert_eq!(env.mirror.status().suspended.is_some(), number == 3);
    }
    let asked = env.secondary.layer().writes();
    for number in 4..100 {
        env.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    assert_eq!(env.secondary.layer().writes(), asked, "a suspended secondary is not asked");
    assert_eq!(env.missed(), 99);
    assert!(finding(&env, "state").await.starts_with("suspended since"));

    env.secondary.layer().set_fault(InjectedFault::None);
    eventually("the secondary receives writes again", || env.mirror.status().suspended.is_none()).await;
    env.mirror.put_leecher(&swarm(1), &peer(100)).await.unwrap();
    env.quiet().await;
    assert_eq!((env.missed(), env.mirror.status().applied), (99, 2));
    assert_eq!(finding(&env, "state").await, "mirroring");
    assert!(finding(&env, "migration").await.starts_with("run `migrate` again"));

    let (from, to): (Arc<dyn Storage>, Arc<dyn Storage>) = (env.primary.clone(), env.secondary.clone());
    Migration::new(from, to, Options::default()).run().await.unwrap();
    assert_eq!(export(&*env.primary).await.unwrap(), export(&*env.secondary).await.unwrap());
}

pub(super) async fn that_rejects_writes_is_not_suspended() {
    let env = TestMirror::new(MirrorConfig { suspend_after: 1, ..MirrorConfig::default() });
    env.secondary.layer().set_fault(InjectedFault::Rejected);
    for number in 0..10 {
        env.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    let status = env.quiet().await;
    assert_eq!((env.missed(), status.suspended), (10, None));
}

pub(super) async fn that_hangs_until_close_misses_the_queued_writes() {
    let drain_timeout = Duration::from_millis(50);
    let config = MirrorConfig { secondary_timeout: FOREVER, drain_timeout, ..MirrorConfig::default() };
    let env = TestMirror::new(config);
    env.secondary.layer().set_fault(InjectedFault::Hang);
    for number in 0..200 {
        env.mirror.put_leecher(&swarm(number as u8), &peer(number)).await.unwrap();
    }
    let pending = env.mirror.pending_writes();
    assert_eq!(pending.count, 200);
    assert!(pending.oldest.unwrap() < Duration::from_secs(60), "{pending:?}");
    env.mirror.close().await.unwrap();
    let status = env.mirror.status();
    assert_eq!((status.applied, status.queued, env.missed()), (0, 0, 200));
    assert_eq!(env.mirror.pending_writes().count, 200, "they never reached the secondary");
    env.mirror.close().await.unwrap();
}

async fn finding(env: &TestMirror, item: &str) -> String {
    let findings = env.mirror.diagnostics().await.unwrap().findings;
    findings.into_iter().find(|(name, _)| name == item).unwrap().1
}
