//! Trouble with the secondary.

use std::sync::Arc;
use std::time::Duration;

use storage_core::{Backend, Maintenance, PeerStorage, Storage};
use storage_migration::{Migration, Options};
use storage_mirror::MirrorConfig;

use super::sides::{MirrorSides, Mood, eventually, peer, swarm};
use crate::stories::play::export;

/// Longer than any test may take: nothing below waits for it.
const FOREVER: Duration = Duration::from_secs(36_000);

pub(super) async fn of_a_hanging_secondary_holds_up_no_call() {
    let config = MirrorConfig { lanes: 1, queue: 10, secondary_timeout: FOREVER, ..MirrorConfig::default() };
    let sides = MirrorSides::new(config);
    sides.secondary.layer().becomes(Mood::Hangs);
    for number in 0..1_000 {
        sides.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    assert_eq!(sides.mirror.scrape_swarm(&swarm(1)).await.unwrap().leechers, 1_000);
    let status = sides.mirror.status();
    assert_eq!(status.applied, 0);
    assert!((10..=10 + 64).contains(&status.queued), "{} are queued", status.queued);
    assert_eq!(status.queued + sides.missed(), 1_000);
    sides.secondary.layer().becomes(Mood::Works);
    let status = sides.quiet().await;
    assert_eq!(status.applied + sides.missed(), 1_000);
}

pub(super) async fn of_a_secondary_fails_no_query_check() {
    let sides = MirrorSides::new(MirrorConfig::default());
    sides.secondary.layer().becomes(Mood::Fails);
    assert!(sides.secondary.check_query_scope().await.is_err());
    assert_eq!(
        sides.mirror.check_query_scope().await.unwrap(),
        sides.primary.check_query_scope().await.unwrap()
    );
}

pub(super) async fn of_a_failing_secondary_suspends_it_until_it_answers() {
    let probe_interval = Duration::from_millis(20);
    let sides =
        MirrorSides::new(MirrorConfig { suspend_after: 3, probe_interval, ..MirrorConfig::default() });
    sides.mirror.put_leecher(&swarm(1), &peer(0)).await.unwrap();
    sides.quiet().await;
    sides.secondary.layer().becomes(Mood::Fails);
    for number in 1..=3 {
        sides.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
        sides.quiet().await;
        assert_eq!(sides.mirror.status().suspended.is_some(), number == 3);
    }
    let asked = sides.secondary.layer().writes();
    for number in 4..100 {
        sides.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    assert_eq!(sides.secondary.layer().writes(), asked, "a suspended secondary is not asked");
    assert_eq!(sides.missed(), 99);
    assert!(told(&sides, "state").await.starts_with("suspended since"));

    sides.secondary.layer().becomes(Mood::Works);
    eventually("the secondary is served again", || sides.mirror.status().suspended.is_none()).await;
    sides.mirror.put_leecher(&swarm(1), &peer(100)).await.unwrap();
    sides.quiet().await;
    assert_eq!((sides.missed(), sides.mirror.status().applied), (99, 2));
    assert_eq!(told(&sides, "state").await, "mirroring");
    assert!(told(&sides, "migration").await.starts_with("a new `migrate` is due"));

    let (from, to): (Arc<dyn Storage>, Arc<dyn Storage>) = (sides.primary.clone(), sides.secondary.clone());
    Migration::new(from, to, Options::default()).run().await.unwrap();
    assert_eq!(export(&*sides.primary).await.unwrap(), export(&*sides.secondary).await.unwrap());
}

pub(super) async fn with_one_write_does_not_suspend() {
    let sides = MirrorSides::new(MirrorConfig { suspend_after: 1, ..MirrorConfig::default() });
    sides.secondary.layer().becomes(Mood::Refuses);
    for number in 0..10 {
        sides.mirror.put_leecher(&swarm(1), &peer(number)).await.unwrap();
    }
    let status = sides.quiet().await;
    assert_eq!((sides.missed(), status.suspended), (10, None));
}

pub(super) async fn that_outlasts_closing_is_missed() {
    let drain_timeout = Duration::from_millis(50);
    let config = MirrorConfig { secondary_timeout: FOREVER, drain_timeout, ..MirrorConfig::default() };
    let sides = MirrorSides::new(config);
    sides.secondary.layer().becomes(Mood::Hangs);
    for number in 0..200 {
        sides.mirror.put_leecher(&swarm(number as u8), &peer(number)).await.unwrap();
    }
    let pending = sides.mirror.pending_writes();
    assert_eq!(pending.count, 200);
    assert!(pending.oldest.unwrap() < Duration::from_secs(60), "{pending:?}");
    sides.mirror.close().await.unwrap();
    let status = sides.mirror.status();
    assert_eq!((status.applied, status.queued, sides.missed()), (0, 0, 200));
    assert_eq!(sides.mirror.pending_writes().count, 200, "they never reached the secondary");
    sides.mirror.close().await.unwrap();
}

async fn told(sides: &MirrorSides, item: &str) -> String {
    let findings = sides.mirror.diagnostics().await.unwrap().findings;
    findings.into_iter().find(|(name, _)| name == item).unwrap().1
}
