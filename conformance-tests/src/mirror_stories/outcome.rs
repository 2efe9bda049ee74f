//! What comes of a write when the primary's answer is another than yes.

use std::time::Duration;

use storage_core::{AddressFamily, Announce, AnnounceEvent, ErrorKind, PeerStorage, Role};
use storage_mirror::MirrorConfig;

use super::sides::{MirrorSides, Mood, peer, swarm};

pub(super) async fn in_doubt_is_a_missed_write() {
    let sides = MirrorSides::new(MirrorConfig::default());
    sides.primary.layer().becomes(Mood::Doubts);
    let put = sides.mirror.put_seeder(&swarm(1), &peer(1)).await.unwrap_err();
    assert_eq!((put.kind(), put.backend()), (ErrorKind::Uncertain, "mirror"));
    let status = sides.quiet().await;
    assert_eq!((sides.missed(), status.applied), (1, 0));
}

pub(super) async fn of_a_call_given_up_is_a_missed_write() {
    let sides = MirrorSides::new(MirrorConfig::default());
    sides.primary.layer().becomes(Mood::Hangs);
    let (swarm, peer) = (swarm(1), peer(1));
    let put = tokio::time::timeout(Duration::from_millis(20), sides.mirror.put_seeder(&swarm, &peer));
    put.await.unwrap_err();
    let status = sides.quiet().await;
    assert_eq!((sides.missed(), status.applied), (1, 0));
}

/// The write comes first, and who cannot read afterwards has written.
pub(super) async fn of_an_announce_that_cannot_read_is_a_missed_write() {
    let sides = MirrorSides::new(MirrorConfig::default());
    let peers = [peer(1)];
    let announce = Announce::new(swarm(1), peers.iter().copied())
        .with_role(Role::Seeder)
        .with_event(AnnounceEvent::Started)
        .with_num_want(50)
        .with_families(&[AddressFamily::V4]);
    sides.primary.layer().becomes(Mood::FailsAfterwards);
    sides.mirror.announce(&announce).await.unwrap_err();
    assert_eq!(sides.missed(), 1);
    let nobody = announce.with_peers([]);
    sides.mirror.announce(&nobody).await.unwrap_err();
    assert_eq!(
        (sides.missed(), sides.secondary.layer().writes()),
        (1, 0),
        "an announce of nobody writes nothing"
    );
}

pub(super) async fn of_a_refused_write_is_no_miss() {
    let sides = MirrorSides::new(MirrorConfig::default());
    for mood in [Mood::Refuses, Mood::Fails] {
        sides.primary.layer().becomes(mood);
        sides.mirror.put_seeder(&swarm(1), &peer(1)).await.unwrap_err();
    }
    sides.primary.layer().becomes(Mood::Works);
    let absent = sides.mirror.delete_seeder(&swarm(1), &peer(1)).await.unwrap_err();
    assert_eq!((absent.kind(), absent.backend()), (ErrorKind::NotFound, "mirror"));
    assert_eq!((sides.missed(), sides.secondary.layer().writes()), (0, 0));
}
