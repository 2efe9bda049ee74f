//! Which writes count as missed when the primary does not acknowledge them.

use std::time::Duration;

use storage_core::{AddressFamily, Announce, AnnounceEvent, ErrorKind, PeerStorage, PeerStorageExt, Role};
use storage_mirror::MirrorConfig;

use super::test_env::{InjectedFault, TestMirror, peer, swarm};

pub(super) async fn include_writes_with_an_unknown_outcome() {
    let env = TestMirror::new(MirrorConfig::default());
    env.primary.layer().set_fault(InjectedFault::Uncertain);
    let put = env.mirror.put_seeder(&swarm(1), &peer(1)).await.unwrap_err();
    assert_eq!((put.kind(), put.backend()), (ErrorKind::Uncertain, "mirror"));
    let status = env.quiet().await;
    assert_eq!((env.missed(), status.applied), (1, 0));
}

pub(super) async fn include_cancelled_calls() {
    let env = TestMirror::new(MirrorConfig::default());
    env.primary.layer().set_fault(InjectedFault::Hang);
    let (swarm, peer) = (swarm(1), peer(1));
    let put = tokio::time::timeout(Duration::from_millis(20), env.mirror.put_seeder(&swarm, &peer));
    put.await.unwrap_err();
    let status = env.quiet().await;
    assert_eq!((env.missed(), status.applied), (1, 0));
}

/// The write comes first, so that it has taken effect when the read fails.
pub(super) async fn include_announces_that_write_and_cannot_read() {
    let env = TestMirror::new(MirrorConfig::default());
    let peers = [peer(1)];
    let announce = Announce::new(swarm(1), peers.iter().copied())
        .with_role(Role::Seeder)
        .with_event(AnnounceEvent::Started)
        .with_num_want(50)
        .with_families(&[AddressFamily::V4]);
    env.primary.layer().set_fault(InjectedFault::UnavailableAfterCall);
    env.mirror.announce(&announce).await.unwrap_err();
    assert_eq!(env.missed(), 1);
    let nobody = announce.with_peers([]);
    env.mirror.announce(&nobody).await.unwrap_err();
    assert_eq!(
        (env.missed(), env.secondary.layer().writes()),
        (1, 0),
        "an announce of nobody writes nothing"
    );
}

pub(super) async fn exclude_rejected_writes() {
    let env = TestMirror::new(MirrorConfig::default());
    for fault in [InjectedFault::Rejected, InjectedFault::Unavailable] {
        env.primary.layer().set_fault(fault);
        env.mirror.put_seeder(&swarm(1), &peer(1)).await.unwrap_err();
    }
    env.primary.layer().set_fault(InjectedFault::None);
    let absent = env.mirror.delete_seeder(&swarm(1), &peer(1)).await.unwrap_err();
    assert_eq!((absent.kind(), absent.backend()), (ErrorKind::NotFound, "mirror"));
    assert_eq!((env.missed(), env.secondary.layer().writes()), (0, 0));
}
