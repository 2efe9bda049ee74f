//! W1, R1: writes and reads for many.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::put::others_like;
use crate::conformance::sample::{self, ago};
use crate::conformance::{CaseResult, TestContext};
use crate::{
    Capability, InfoHash, Operation, Peer, PeerChange, PeerRecord, PeerWrite, Result, Role, SwarmCounts,
    SwarmSnapshot, Timestamp, Written,
};

/// What storages without bulk calls of their own make them of.
pub(super) const BULK: &[Capability] = &[Capability::ExportPeers, Capability::ImportPeers];
pub(super) const BULK_AND_DOWNLOADS: &[Capability] =
    &[Capability::ExportPeers, Capability::ImportPeers, Capability::Downloads];
pub(super) const BULK_AT_ONCE: &[Capability] =
    &[Capability::ExportPeers, Capability::ImportPeers, Capability::AtomicWrites];
pub(super) const BULK_AND_DOWNLOADS_AT_ONCE: &[Capability] =
    &[Capability::ExportPeers, Capability::ImportPeers, Capability::Downloads, Capability::AtomicWrites];

const WRITE: Operation = Operation::WritePeers;
const READ: Operation = Operation::ReadSwarms;

use PeerChange::{Delete, Graduate, Put, Touch};
use Written::{Applied, Download, Unchanged};

const SEEDER: PeerChange = Put(Role::Seeder);
const LEECHER: PeerChange = Put(Role::Leecher);

/// Three minutes ago and two further ones, in whole microseconds.
fn times() -> [Timestamp; 3] {
    [180, 120, 60].map(|seconds| ago(seconds).at_precision(Duration::from_micros(1)))
}

fn write(info_hash: InfoHash, peer: Peer, change: PeerChange, announced: Timestamp) -> PeerWrite {
    PeerWrite { info_hash, peer, change, announced }
}

/// Makes writes that must all succeed.
async fn write_all(test: &TestContext, did: &str, writes: &[PeerWrite]) -> CaseResult<Vec<Written>> {
    test.all_ok(did, test.storage().write_peers(writes).await)
}

async fn read_one(test: &TestContext, info_hash: InfoHash, limit: usize) -> CaseResult<SwarmSnapshot> {
    let did = format!("read the swarm, up to {limit} peers");
    let mut snapshots = test.ok(&did, test.storage().read_swarms(&[info_hash], limit).await)?;
    test.holds(&did, READ, "one snapshot", snapshots.len() == 1, snapshots.len())?;
    Ok(snapshots.remove(0))
}

/// Makes writes of the one peer of a swarm, one after another: what becomes of each, and what is stored then.
async fn leads_to(
    test: &TestContext,
    steps: &[(PeerChange, Timestamp, Written)],
    stored: Option<(Role, Timestamp)>,
) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    let mut did = String::from("write one after another");
    for (change, announced, expected) in steps {
        did.push_str(&format!(", {change:?} of {announced}"));
        let written = write_all(test, &did, &[write(info_hash, peer, *change, *announced)]).await?;
        test.equal(&format!("{did}: what became of the last"), WRITE, vec![*expected], written)?;
    }
    let record = |(role, announced)| PeerRecord { info_hash, peer, role, announced };
    let found = read_one(test, info_hash, 9).await?.peers;
    test.equal(&format!("{did}: what is stored"), WRITE, Vec::from_iter(stored.map(record)), found)
}

pub(super) async fn a_later_put_is_written(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    leads_to(test, &[(SEEDER, early, Applied), (LEECHER, late, Applied)], Some((Role::Leecher, late))).await
}

pub(super) async fn an_earlier_put_changes_nothing(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    leads_to(test, &[(LEECHER, late, Applied), (SEEDER, early, Unchanged)], Some((Role::Leecher, late))).await
}

pub(super) async fn at_equal_times_a_seeder_wins(test: &TestContext) -> CaseResult {
    let [time, ..] = times();
    let steps = [(LEECHER, time, Applied), (SEEDER, time, Applied), (LEECHER, time, Unchanged)];
    leads_to(test, &steps, Some((Role::Seeder, time))).await
}

pub(super) async fn a_touch_refreshes(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    for (put, role) in [(LEECHER, Role::Leecher), (SEEDER, Role::Seeder)] {
        leads_to(test, &[(put, early, Applied), (Touch, late, Applied)], Some((role, late))).await?;
    }
    Ok(())
}

pub(super) async fn a_touch_never_inserts(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    leads_to(test, &[(Touch, late, Unchanged)], None).await?;
    leads_to(test, &[(SEEDER, early, Applied), (Delete, early, Applied), (Touch, late, Unchanged)], None)
        .await
}

pub(super) async fn an_earlier_touch_ages_nobody(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    leads_to(test, &[(SEEDER, late, Applied), (Touch, early, Applied)], Some((Role::Seeder, late))).await
}

pub(super) async fn a_deletion_removes_in_either_role(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    for put in [LEECHER, SEEDER] {
        leads_to(test, &[(put, early, Applied), (Delete, late, Applied)], None).await?;
    }
    leads_to(test, &[(SEEDER, early, Applied), (Delete, early, Applied), (Delete, early, Unchanged)], None)
        .await
}

pub(super) async fn a_peer_that_announced_later_stays(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    for (put, role) in [(LEECHER, Role::Leecher), (SEEDER, Role::Seeder)] {
        leads_to(test, &[(put, late, Applied), (Delete, early, Unchanged)], Some((role, late))).await?;
    }
    Ok(())
}

/// Writes of one peer that end with it as a seeder, and so many downloads.
async fn graduates(
    test: &TestContext,
    steps: &[(PeerChange, Timestamp, Written)],
    stored: (Role, Timestamp),
    downloads: u64,
) -> CaseResult {
    let (info_hash, peer) = (test.info_hash(), sample::peer(1));
    for (change, announced, expected) in steps {
        let did = format!("{steps:?} one after another, {change:?} of {announced}: what became of it");
        let written = write_all(test, &did, &[write(info_hash, peer, *change, *announced)]).await?;
        test.equal(&did, WRITE, vec![*expected], written)?;
    }
    let did = format!("{steps:?} one after another: what is stored, and its downloads");
    let snapshot = read_one(test, info_hash, 9).await?;
    let found: Vec<_> = snapshot.peers.iter().map(|record| (record.role, record.announced)).collect();
    test.equal(&did, WRITE, (vec![stored], downloads), (found, snapshot.counts.downloads))
}

pub(super) async fn a_graduation_is_one_download(test: &TestContext) -> CaseResult {
    let [early, late, later] = times();
    let absent = [(Graduate, early, Download), (Graduate, early, Applied), (Graduate, late, Applied)];
    graduates(test, &absent, (Role::Seeder, late), 1).await?;
    let leecher = [(LEECHER, early, Applied), (Graduate, late, Download), (Graduate, later, Applied)];
    graduates(test, &leecher, (Role::Seeder, later), 1).await?;
    let at_its_time = [(LEECHER, early, Applied), (Graduate, early, Download)];
    graduates(test, &at_its_time, (Role::Seeder, early), 1).await?;
    let seeder = [(SEEDER, late, Applied), (Graduate, early, Applied)];
    graduates(test, &seeder, (Role::Seeder, late), 0).await
}

pub(super) async fn an_earlier_graduation_changes_nothing(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    let steps = [(LEECHER, late, Applied), (Graduate, early, Unchanged)];
    graduates(test, &steps, (Role::Leecher, late), 0).await
}

pub(super) async fn each_write_has_its_result(test: &TestContext) -> CaseResult {
    let ([early, late, _], one, other) = (times(), test.info_hash(), test.info_hash());
    let peers = [sample::peer(1), sample::peer_v6(2), sample::peer(3)];
    let writes = [
        write(other, peers[1], Touch, late),
        write(one, peers[0], SEEDER, late),
        write(other, peers[0], LEECHER, early),
        write(one, peers[1], Delete, late),
        write(other, peers[2], SEEDER, early),
        write(one, peers[2], LEECHER, early),
    ];
    let written = write_all(test, "make six writes of two swarms", &writes).await?;
    let expected = vec![Unchanged, Applied, Applied, Unchanged, Applied, Applied];
    test.equal("make six writes of two swarms: what became of each", WRITE, expected, written)?;
    test.counts("make six writes of two swarms", WRITE, &one, 1, 1).await?;
    test.counts("make six writes of two swarms", WRITE, &other, 1, 1).await
}

pub(super) async fn of_several_writes_of_a_peer_the_latest_wins(test: &TestContext) -> CaseResult {
    let ([early, late, later], info_hash) = (times(), test.info_hash());
    let (back, gone, moved) = (sample::peer(1), sample::peer(2), sample::peer_v6(3));
    let writes = [
        write(info_hash, back, SEEDER, later),
        write(info_hash, gone, Delete, later),
        write(info_hash, moved, SEEDER, late),
        write(info_hash, back, Delete, late),
        write(info_hash, gone, SEEDER, late),
        write(info_hash, moved, Touch, later),
        write(info_hash, back, LEECHER, early),
        write(info_hash, moved, LEECHER, early),
    ];
    let did = "write three peers several times in one call, the latest first";
    let written = write_all(test, did, &writes).await?;
    test.equal(did, WRITE, vec![Applied; 8], written)?;
    let mut found = read_one(test, info_hash, 9).await?.peers;
    found.sort();
    let record = |peer| PeerRecord { info_hash, peer, role: Role::Seeder, announced: later };
    let mut expected = vec![record(back), record(moved)];
    expected.sort();
    test.equal(&format!("{did}: what is stored"), WRITE, expected, found)
}

pub(super) async fn at_one_time_a_deletion_comes_last(test: &TestContext) -> CaseResult {
    let ([time, ..], info_hash, peer) = (times(), test.info_hash(), sample::peer(1));
    let writes = [write(info_hash, peer, Delete, time), write(info_hash, peer, SEEDER, time)];
    let did = "delete a peer and put it, as of the same time, in one call";
    let written = write_all(test, did, &writes).await?;
    test.equal(did, WRITE, vec![Applied, Applied], written)?;
    test.counts(did, WRITE, &info_hash, 0, 0).await
}

pub(super) async fn many_writes_of_one_peer(test: &TestContext) -> CaseResult {
    let ([begun, ..], info_hash, peer) = (times(), test.info_hash(), sample::peer(1));
    let writes: Vec<_> = (0..100)
        .map(|number| write(info_hash, peer, SEEDER, begun.after(Duration::from_millis(number))))
        .collect();
    let did = "put a peer 100 times in one call, each time later";
    let written = write_all(test, did, &writes).await?;
    test.equal(did, WRITE, vec![Applied; 100], written)?;
    let found = read_one(test, info_hash, 9).await?.peers;
    test.equal(did, WRITE, vec![writes[99].record()], found)
}

pub(super) async fn nothing_to_write_is_an_empty_list(test: &TestContext) -> CaseResult {
    let written = write_all(test, "make no writes", &[]).await?;
    test.equal("make no writes", WRITE, Vec::new(), written)
}

pub(super) async fn many_writes_of_many_swarms(test: &TestContext) -> CaseResult {
    const SWARMS: usize = 20;
    let ([early, late, later], swarms) = (times(), Vec::from_iter((0..SWARMS).map(|_| test.info_hash())));
    let numbers = 0..600_u32;
    let of = |number: u32| (swarms[number as usize % SWARMS], sample::peer(number));
    let each = |change, time| {
        let write = |number| write(of(number).0, of(number).1, change, time);
        numbers.clone().map(write).collect::<Vec<_>>()
    };
    let did = "put 600 leechers of 20 swarms in one call";
    let written = write_all(test, did, &each(LEECHER, early)).await?;
    test.equal(did, WRITE, vec![Applied; 600], written)?;
    let did = "touch 300 of 600 leechers and make the others seeders in one call";
    let mut writes = each(Touch, late);
    writes.iter_mut().skip(300).for_each(|write| write.change = SEEDER);
    let written = write_all(test, did, &writes).await?;
    test.equal(did, WRITE, vec![Applied; 600], written)?;
    let snapshots = test.ok(did, test.storage().read_swarms(&swarms, 100).await)?;
    let records = snapshots.iter().flat_map(|snapshot| &snapshot.peers);
    let found = records.map(|record| (record.role.is_seeder(), record.announced == late));
    let found: Vec<_> =
        [true, false].map(|role| found.clone().filter(|found| *found == (role, true)).count()).into();
    test.equal(&format!("{did}: seeders and leechers with the new time"), WRITE, vec![300, 300], found)?;
    let did = "delete 600 peers of 20 swarms in one call";
    let written = write_all(test, did, &each(Delete, later)).await?;
    test.equal(did, WRITE, vec![Applied; 600], written)?;
    for info_hash in &swarms {
        test.counts(did, WRITE, info_hash, 0, 0).await?;
    }
    Ok(())
}

pub(super) async fn writes_at_once_leave_the_latest(test: &TestContext) -> CaseResult {
    const TASKS: u32 = 8;
    let (info_hash, begun) = (test.info_hash(), times()[0]);
    let calls = (0..TASKS).map(|task| {
        let storage = Arc::clone(test.storage());
        // Each in another order of times, so that the latest comes first, last and in between.
        let announced = begun.after(Duration::from_secs(u64::from(task * 5 % TASKS)));
        let change = Put(Role::from_is_seeder(announced == begun.after(Duration::from_secs(7))));
        let writes: Vec<_> =
            (0..50).map(|number| write(info_hash, sample::peer(number), change, announced)).collect();
        async move { storage.write_peers(&writes).await.into_iter().collect::<Result<Vec<_>>>() }
    });
    let did = "put 50 peers in 8 tasks, as seeders in the one with the latest time";
    test.all_ok(did, test.at_once(calls.collect::<Vec<_>>()).await?)?;
    test.counts(did, WRITE, &info_hash, 50, 0).await
}

/// Makes two kinds of writes of the same peers at once, which are there as leechers already: the snapshot after it.
async fn two_at_once(
    test: &TestContext,
    [one, other]: [(PeerChange, Timestamp); 2],
) -> CaseResult<(String, SwarmSnapshot)> {
    let (info_hash, begun) = (test.info_hash(), times()[0].before(Duration::from_secs(60)));
    let of = |(change, announced)| {
        (0..PEERS_AT_ONCE).map(|number| write(info_hash, sample::peer(number), change, announced)).collect()
    };
    let did = format!("put leechers, then {one:?} and {other:?} of the same at once");
    let put: Vec<_> = of((LEECHER, begun));
    write_all(test, &did, &put).await?;
    let calls = [one, other].map(|change| {
        let (storage, writes): (_, Vec<_>) = (Arc::clone(test.storage()), of(change));
        async move { storage.write_peers(&writes).await.into_iter().collect::<Result<Vec<_>>>() }
    });
    test.all_ok(&did, test.at_once(calls).await?)?;
    Ok((did, read_one(test, info_hash, 1_000).await?))
}

const PEERS_AT_ONCE: u32 = 200;

pub(super) async fn a_touch_at_once_brings_nobody_back(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    let (did, snapshot) = two_at_once(test, [(Delete, late), (Touch, early)]).await?;
    test.equal(&did, WRITE, 0, snapshot.peers.len())
}

pub(super) async fn a_deletion_at_once_takes_no_later_peer(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    let (did, snapshot) = two_at_once(test, [(SEEDER, late), (Delete, early)]).await?;
    let found = snapshot.peers.iter().filter(|record| record.announced == late).count();
    test.equal(&did, WRITE, PEERS_AT_ONCE as usize, found)
}

pub(super) async fn graduations_at_once_count_what_they_make(test: &TestContext) -> CaseResult {
    let [early, late, _] = times();
    for other in [Touch, LEECHER] {
        let (did, snapshot) = two_at_once(test, [(Graduate, early), (other, late)]).await?;
        let times: BTreeSet<_> = snapshot.peers.iter().map(|record| record.announced).collect();
        test.equal(&format!("{did}: times"), WRITE, BTreeSet::from([late]), times)?;
        let SwarmCounts { seeders, downloads, .. } = snapshot.counts;
        match other {
            // Whoever came first: a leecher that announced later stays one.
            Touch => {
                test.equal(&format!("{did}: downloads of as many seeders"), WRITE, seeders, downloads)?
            }
            _ => test.equal(&format!("{did}: seeders"), WRITE, 0, seeders)?,
        }
    }
    Ok(())
}

/// Peers of a swarm: so many of each role and family.
async fn put_groups(test: &TestContext, info_hash: InfoHash, count: u32) -> CaseResult<Vec<PeerRecord>> {
    let announced = times()[0];
    let peers = (0..2 * count).flat_map(|number| [sample::peer(number), sample::peer_v6(number)]);
    let record = |(place, peer)| PeerRecord {
        info_hash,
        peer,
        role: Role::from_is_seeder(place / 2 % 2 == 0),
        announced,
    };
    let mut records: Vec<_> = peers.enumerate().map(record).collect();
    records.sort();
    for PeerRecord { peer, role, .. } in &records {
        test.put_at(&info_hash, peer, *role, announced).await?;
    }
    Ok(records)
}

pub(super) async fn a_peer_is_found_as_it_was_put(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let put = put_groups(test, info_hash, 3).await?;
    for record in &put {
        let did = format!("put 3 peers of each role and family, find {}", record.peer);
        let found = test.ok(&did, test.storage().find_peer(&info_hash, &record.peer).await)?;
        test.equal(&did, Operation::FindPeer, Some(*record), found)?;
    }
    for peer in [sample::peer(100), others_like(put[0].peer)[0], others_like(put[0].peer)[2]] {
        let did = format!("put 12 peers, find {peer}, which is not among them");
        let found = test.ok(&did, test.storage().find_peer(&info_hash, &peer).await)?;
        test.equal(&did, Operation::FindPeer, None, found)?;
    }
    Ok(())
}

pub(super) async fn a_small_swarm_is_read_whole(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    let put = put_groups(test, info_hash, 3).await?;
    let did = "put 3 peers of each role and family, read up to 12";
    let mut snapshot = read_one(test, info_hash, 12).await?;
    snapshot.peers.sort();
    let counts = (snapshot.counts.seeders, snapshot.counts.leechers);
    test.equal(
        &format!("{did}: counts, and whether it is complete"),
        READ,
        (6, 6, true),
        (counts.0, counts.1, snapshot.is_complete),
    )?;
    test.equal(did, READ, put, snapshot.peers)
}

pub(super) async fn of_a_large_swarm_each_group_has_a_sample(test: &TestContext) -> CaseResult {
    const LIMIT: usize = 5;
    let info_hash = test.info_hash();
    let put: BTreeSet<_> = put_groups(test, info_hash, 20).await?.into_iter().collect();
    let did = "put 20 peers of each role and family, read up to 5";
    let snapshot = read_one(test, info_hash, LIMIT).await?;
    let counts = (snapshot.counts.seeders, snapshot.counts.leechers);
    test.equal(
        &format!("{did}: counts, and whether it is complete"),
        READ,
        (40, 40, false),
        (counts.0, counts.1, snapshot.is_complete),
    )?;
    let found: BTreeSet<_> = snapshot.peers.iter().copied().collect();
    test.equal(&format!("{did}: peers that came twice"), READ, 0, snapshot.peers.len() - found.len())?;
    let unknown: Vec<_> = found.difference(&put).collect();
    test.equal(&format!("{did}: peers, roles and times that were not put"), READ, Vec::new(), unknown)?;
    for role in Role::BOTH {
        for is_v6 in [false, true] {
            let of_group =
                |record: &&PeerRecord| record.role == role && record.peer.family().is_v6() == is_v6;
            let count = found.iter().filter(of_group).count();
            let group = format!("{did}: {role}s, IPv6 {is_v6}");
            test.equal(&group, READ, LIMIT, count)?;
        }
    }
    Ok(())
}

pub(super) async fn an_unknown_swarm_is_empty_and_complete(test: &TestContext) -> CaseResult {
    let snapshot = read_one(test, test.info_hash(), 9).await?;
    let found = (snapshot.peers, snapshot.counts, snapshot.is_complete);
    test.equal("read a swarm that is not known", READ, (Vec::new(), Default::default(), true), found)
}

pub(super) async fn a_limit_of_none_reads_no_peer(test: &TestContext) -> CaseResult {
    let info_hash = test.info_hash();
    test.put(&info_hash, &sample::peer(1), Role::Seeder).await?;
    let snapshot = read_one(test, info_hash, 0).await?;
    let found = (snapshot.peers, snapshot.counts.seeders, snapshot.is_complete);
    test.equal("put a seeder, read up to 0", READ, (Vec::new(), 1, false), found)
}

pub(super) async fn swarms_are_read_in_their_order(test: &TestContext) -> CaseResult {
    let swarms = [test.info_hash(), test.info_hash(), test.info_hash()];
    for (number, info_hash) in (1..).zip(&swarms) {
        test.put_many(info_hash, (0..number).map(sample::peer), Role::Leecher).await?;
    }
    let asked = [swarms[2], swarms[0], swarms[1], swarms[0]];
    let did = "read the third, first, second and first of three swarms with as many leechers";
    let snapshots = test.ok(did, test.storage().read_swarms(&asked, 9).await)?;
    let found: Vec<_> =
        snapshots.iter().map(|snapshot| (snapshot.info_hash, snapshot.peers.len() as u64)).collect();
    let expected: Vec<_> = asked.into_iter().zip([3, 1, 2, 1]).collect();
    test.equal(did, READ, expected, found)
}

pub(super) async fn no_swarm_is_an_empty_list(test: &TestContext) -> CaseResult {
    let snapshots = test.ok("read no swarm", test.storage().read_swarms(&[], 9).await)?;
    test.equal("read no swarm", READ, Vec::new(), snapshots)
}
