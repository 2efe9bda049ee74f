//! P6: large swarms hand out different peers.

use std::collections::BTreeSet;

use crate::conformance::{CaseResult, TestContext, sample};
use crate::{Operation, Peer, PeerSelection, Role};

const SWARM: u32 = 200;
const NUM_WANT: usize = 20;

/// So many that even a window of neighbours at a random place, which is a sampling too, covers less
/// than half of the swarm with a probability far below one in a thousand million.
const ANNOUNCES: usize = 60;

pub(super) async fn seeders_vary(test: &TestContext) -> CaseResult {
    let answers = answers(test, Role::Seeder).await?;
    vary(test, &answers)
}

pub(super) async fn leechers_vary(test: &TestContext) -> CaseResult {
    let answers = answers(test, Role::Leecher).await?;
    vary(test, &answers)
}

fn vary(test: &TestContext, answers: &[BTreeSet<Peer>]) -> CaseResult {
    let different: BTreeSet<_> = answers.iter().collect();
    let did = format!("announce {ANNOUNCES} times for {NUM_WANT} of {SWARM} peers: different answers");
    test.holds(&did, Operation::AnnouncePeers, "at least 2", different.len() >= 2, different.len())
}

pub(super) async fn most_peers_appear(test: &TestContext) -> CaseResult {
    let answers = answers(test, Role::Seeder).await?;
    let seen: BTreeSet<_> = answers.into_iter().flatten().collect();
    let did = format!("announce {ANNOUNCES} times for {NUM_WANT} of {SWARM} peers: peers ever returned");
    let are_most = seen.len() > SWARM as usize / 2;
    test.holds(&did, Operation::AnnouncePeers, "more than half of them", are_most, seen.len())
}

/// The answers to many announces in a swarm of this role alone.
async fn answers(test: &TestContext, role: Role) -> CaseResult<Vec<BTreeSet<Peer>>> {
    let info_hash = test.info_hash();
    test.put_many(&info_hash, (0..SWARM).map(sample::peer), role).await?;
    let selection =
        PeerSelection { for_seeder: role == Role::Leecher, ..PeerSelection::new(info_hash, NUM_WANT) };
    let mut answers = Vec::new();
    for _ in 0..ANNOUNCES {
        answers.push(test.announce(&selection).await?.into_iter().collect());
    }
    Ok(answers)
}
