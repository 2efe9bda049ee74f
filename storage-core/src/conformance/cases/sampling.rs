//! P6: large swarms hand out different peers.

use std::collections::BTreeSet;

use crate::conformance::{Scene, Verdict, sample};
use crate::{Operation, Peer, PeerSelection, Role};

const SWARM: u32 = 200;
const NUM_WANT: usize = 20;

/// So many that even a window of neighbours at a random place, which is a sampling too, covers less
/// than half of the swarm with a probability far below one in a thousand million.
const ANNOUNCES: usize = 60;

pub(super) async fn seeders_vary(scene: &Scene) -> Verdict {
    let answers = answers(scene, Role::Seeder).await?;
    vary(scene, &answers)
}

pub(super) async fn leechers_vary(scene: &Scene) -> Verdict {
    let answers = answers(scene, Role::Leecher).await?;
    vary(scene, &answers)
}

fn vary(scene: &Scene, answers: &[BTreeSet<Peer>]) -> Verdict {
    let different: BTreeSet<_> = answers.iter().collect();
    let did = format!("announce {ANNOUNCES} times for {NUM_WANT} of {SWARM} peers: different answers");
    scene.holds(&did, Operation::AnnouncePeers, "at least 2", different.len() >= 2, different.len())
}

pub(super) async fn most_peers_appear(scene: &Scene) -> Verdict {
    let answers = answers(scene, Role::Seeder).await?;
    let seen: BTreeSet<_> = answers.into_iter().flatten().collect();
    let did = format!("announce {ANNOUNCES} times for {NUM_WANT} of {SWARM} peers: peers ever returned");
    let are_most = seen.len() > SWARM as usize / 2;
    scene.holds(&did, Operation::AnnouncePeers, "more than half of them", are_most, seen.len())
}

/// The answers to many announces in a swarm of this role alone.
async fn answers(scene: &Scene, role: Role) -> Verdict<Vec<BTreeSet<Peer>>> {
    let info_hash = scene.info_hash();
    scene.put_many(&info_hash, (0..SWARM).map(sample::peer), role).await?;
    let selection =
        PeerSelection { for_seeder: role == Role::Leecher, ..PeerSelection::new(info_hash, NUM_WANT) };
    let mut answers = Vec::new();
    for _ in 0..ANNOUNCES {
        answers.push(scene.announce(&selection).await?.into_iter().collect());
    }
    Ok(answers)
}
