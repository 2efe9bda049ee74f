//! Taking records in: what is there is read, the rules of transfer decide here, and what is to be
//! written is written only if nothing has changed since; else it is decided again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures::future::try_join;
use futures::{StreamExt, TryStreamExt, stream};
use redis::Value;
use storage_core::{
    DataRecord, DownloadsRecord, ErrorKind, Imported, InfoHash, Operation, Peer, PeerRecord, Result, Role,
};

use crate::connection::{CLUSTER_WIDTH, Call, command, read};
use crate::layout::{DOWNLOADS, SWARMS, SwarmKey, context_key, counter, peer_key, read_decimal, read_time};
use crate::scripts;
use crate::storage::RedisStorage;

/// Records that one script writes.
const BATCH: usize = 250;
/// How often a decision is made again before giving up.
const MAX_ROUNDS: usize = 20;
/// Groups of peers taken in at once.
const CONCURRENCY: usize = 128;
/// The precision of PostgreSQL, and so of records that come from there.
const COARSE: Duration = Duration::from_micros(1);

/// Imports downloads.
pub(super) async fn import_downloads(
    storage: &RedisStorage,
    records: &[DownloadsRecord],
) -> Result<Imported> {
    let call = Call::repeatable(Operation::ImportDownloads);
    storage.connections.check_open(call.operation)?;
    let mut greatest: BTreeMap<InfoHash, i64> = BTreeMap::new();
    let mut imported = Imported::default();
    for record in records {
        let downloads = i64::try_from(record.downloads).map_err(|_| {
            let message = format!("downloads of {} are more than Redis can count", record.info_hash);
            call.error(ErrorKind::Rejected).with_message(message)
        })?;
        if let Some(known) = greatest.insert(record.info_hash, downloads) {
            imported.kept += 1;
            greatest.insert(record.info_hash, downloads.max(known));
        }
    }
    let greatest: Vec<_> = greatest.into_iter().collect();
    for batch in greatest.chunks(BATCH) {
        let mut open = batch.to_vec();
        for _ in 0..MAX_ROUNDS {
            open = import_batch(storage, call, open, &mut imported).await?;
            if open.is_empty() {
                break;
            }
        }
        check_done(call, open.is_empty())?;
    }
    Ok(imported)
}

async fn import_batch(
    storage: &RedisStorage,
    call: Call,
    batch: Vec<(InfoHash, i64)>,
    imported: &mut Imported,
) -> Result<Vec<(InfoHash, i64)>> {
    let asked: Vec<_> = batch.iter().map(|(info_hash, _)| info_hash.as_bytes()).collect();
    let ask = command("HMGET", DOWNLOADS).arg(asked).take();
    let found: Vec<Option<Vec<u8>>> = storage.connections.query(call, ask).await?;
    let (mut set, mut puts) = (scripts::SET_UNCHANGED.call(&[DOWNLOADS]), Vec::new());
    for ((info_hash, downloads), found) in batch.into_iter().zip(found) {
        let known: Option<i64> = found.as_deref().and_then(read_decimal);
        if known.is_some_and(|known| known >= downloads) {
            imported.kept += 1;
            continue;
        }
        set.arg(info_hash.as_bytes()).arg(found.unwrap_or_default()).arg(downloads);
        puts.push((info_hash, downloads));
    }
    if puts.is_empty() {
        return Ok(puts);
    }
    let done: Vec<bool> = storage.connections.query(call, set).await?;
    imported.written += done.iter().filter(|done| **done).count() as u64;
    Ok(puts.into_iter().zip(done).filter(|(_, done)| !done).map(|(put, _)| put).collect())
}

/// Imports data.
pub(super) async fn import_data(storage: &RedisStorage, records: &[DataRecord]) -> Result<Imported> {
    let call = Call::repeatable(Operation::ImportData);
    storage.connections.check_open(call.operation)?;
    let mut imported = Imported::default();
    let mut seen = HashSet::new();
    let first = records.iter().filter(|record| seen.insert((&record.context, &record.key)));
    let first: Vec<_> = first.collect();
    imported.kept += (records.len() - first.len()) as u64;
    for batch in first.chunks(BATCH) {
        let puts = batch.iter().map(|record| {
            command("HSETNX", &context_key(record.context.as_str()))
                .arg(record.key.as_ref())
                .arg(record.value.as_ref())
                .take()
        });
        for answer in storage.connections.many(call, puts.collect()).await? {
            match read(call, answer?)? {
                true => imported.written += 1,
                false => imported.kept += 1,
            }
        }
    }
    Ok(imported)
}

/// Other writes must not have got in the way in every round.
fn check_done(call: Call, is_done: bool) -> Result<()> {
    if is_done { Ok(()) } else { Err(call.error(ErrorKind::Conflict)) }
}

/// Some peers of one swarm.
type Group = (SwarmKey, Vec<PeerRecord>);

/// Imports peers.
pub(super) async fn import_peers(storage: &RedisStorage, records: &[PeerRecord]) -> Result<Imported> {
    let call = Call::repeatable(Operation::ImportPeers);
    storage.connections.check_open(call.operation)?;
    let mut swarms: HashMap<SwarmKey, HashMap<Peer, PeerRecord>> = HashMap::new();
    let mut imported = Imported::default();
    for record in records {
        let swarm = swarms.entry(SwarmKey::new(record.info_hash, record.peer.family())).or_default();
        let newest = swarm.get(&record.peer).map_or(*record, |known| known.newer(*record));
        if swarm.insert(record.peer, newest).is_some() {
            imported.kept += 1;
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (swarm, peers) in swarms {
        let peers: Vec<_> = peers.into_values().collect();
        groups.extend(peers.chunks(BATCH).map(|peers| (swarm, peers.to_vec())));
    }
    for groups in groups.chunks(CONCURRENCY) {
        let mut open = groups.to_vec();
        for _ in 0..MAX_ROUNDS {
            open = import_groups(storage, call, open, &mut imported).await?;
            if open.is_empty() {
                break;
            }
        }
        check_done(call, open.is_empty())?;
    }
    Ok(imported)
}

/// A peer to be put, and what was found of it: its times in the role that it gets and in the other.
struct Put {
    record: PeerRecord,
    time: Vec<u8>,
    other_time: Vec<u8>,
}

/// One attempt at some groups; gives those peers back that have changed under way.
async fn import_groups(
    storage: &RedisStorage,
    call: Call,
    groups: Vec<Group>,
    imported: &mut Imported,
) -> Result<Vec<Group>> {
    let asks = groups.iter().flat_map(|(swarm, peers)| {
        let asked: Vec<_> = peers.iter().map(|record| peer_key(&record.peer)).collect();
        Role::BOTH.map(|role| command("HMGET", &swarm.key(role)).arg(&asked).take())
    });
    let mut answers = storage.connections.many(call, asks.collect()).await?.into_iter();
    let mut times =
        || -> Result<Vec<Option<Vec<u8>>>> { read(call, answers.next().transpose()?.unwrap_or(Value::Nil)) };
    let mut puts: BTreeMap<(SwarmKey, Role), Vec<Put>> = BTreeMap::new();
    for (swarm, peers) in groups {
        let (seeders, leechers) = (times()?, times()?);
        for ((record, seeder), leecher) in peers.into_iter().zip(seeders).zip(leechers) {
            if !is_newer(&record, seeder.as_deref(), leecher.as_deref()) {
                imported.kept += 1;
                continue;
            }
            let (time, other_time) = match record.role {
                Role::Seeder => (seeder, leecher),
                Role::Leecher => (leecher, seeder),
            };
            let (time, other_time) = (time.unwrap_or_default(), other_time.unwrap_or_default());
            puts.entry((swarm, record.role)).or_default().push(Put { record, time, other_time });
        }
    }
    if storage.connections.is_cluster() {
        return put_on_cluster(storage, call, puts, imported).await;
    }
    put_by_script(storage, call, puts, imported).await
}

/// Whether a record is to replace what is there, by its times in both roles.
fn is_newer(record: &PeerRecord, seeder: Option<&[u8]>, leecher: Option<&[u8]>) -> bool {
    let found = [(Role::Seeder, seeder), (Role::Leecher, leecher)]
        .into_iter()
        .filter_map(|(role, time)| Some(PeerRecord { role, announced: read_time(time?)?, ..*record }));
    let Some(newest) = found.reduce(PeerRecord::newer) else { return true };
    // A record in whole microseconds may have lost what Redis still has.
    let is_coarse = record.announced == record.announced.at_precision(COARSE);
    let precision = if is_coarse { COARSE } else { Duration::ZERO };
    (record.announced, record.role) > (newest.announced.at_precision(precision), newest.role)
}

async fn put_by_script(
    storage: &RedisStorage,
    call: Call,
    puts: BTreeMap<(SwarmKey, Role), Vec<Put>>,
    imported: &mut Imported,
) -> Result<Vec<Group>> {
    let moves = puts.iter().map(|((swarm, role), puts)| {
        let (key, other) = (swarm.key(*role), swarm.key(role.other()));
        let keys = [&key, &other, SWARMS, counter(*role), counter(role.other())];
        let mut command = scripts::MOVE_UNCHANGED.call(&keys);
        for Put { record, time, other_time } in puts {
            command.arg(peer_key(&record.peer)).arg(time).arg(other_time).arg(record.announced.nanoseconds());
        }
        command
    });
    let answers = storage.connections.many(call, moves.collect()).await?;
    let mut changed = Vec::new();
    for (((swarm, _), puts), answer) in puts.into_iter().zip(answers) {
        let done: Vec<bool> = read(call, answer?)?;
        changed.extend(count_done(swarm, puts, &done, imported));
    }
    Ok(changed)
}

/// On a cluster: swarm by swarm, several at once.
async fn put_on_cluster(
    storage: &RedisStorage,
    call: Call,
    puts: BTreeMap<(SwarmKey, Role), Vec<Put>>,
    imported: &mut Imported,
) -> Result<Vec<Group>> {
    let done = stream::iter(puts).map(|((swarm, role), puts)| async move {
        let done = put_group(storage, call, swarm, role, &puts).await?;
        Ok((swarm, puts, done))
    });
    let done: Vec<_> = done.buffer_unordered(CLUSTER_WIDTH).try_collect().await?;
    let changed = done.into_iter().filter_map(|(swarm, puts, done)| count_done(swarm, puts, &done, imported));
    Ok(changed.collect())
}

/// The new role comes first. Then the other one is read, for a peer may have announced in it meanwhile:
/// the later of both stays. The set of swarms comes last.
async fn put_group(
    storage: &RedisStorage,
    call: Call,
    swarm: SwarmKey,
    role: Role,
    puts: &[Put],
) -> Result<Vec<bool>> {
    let (key, other) = (swarm.key(role), swarm.key(role.other()));
    let mut set = scripts::SET_UNCHANGED.call(&[&key]);
    let mut ask = command("HMGET", &other);
    for Put { record, time, .. } in puts {
        set.arg(peer_key(&record.peer)).arg(time).arg(record.announced.nanoseconds());
        ask.arg(peer_key(&record.peer));
    }
    let done: Vec<bool> = storage.connections.query(call, set).await?;
    let others: Vec<Option<Vec<u8>>> = storage.connections.query(call, ask).await?;

    let mut outdated = scripts::REMOVE_UNCHANGED.call(&[&key]);
    let mut left = scripts::REMOVE_UNCHANGED.call(&[&other]);
    let mut added = 0;
    let put = puts.iter().zip(&done).zip(others).filter(|((_, done), _)| **done);
    for ((Put { record, time, .. }, _), found) in put {
        added += i64::from(time.is_empty());
        let Some(found) = found else { continue };
        let announced_there = read_time(&found).map(|time| (time, role.other()));
        if announced_there > Some((record.announced, role)) {
            outdated.arg(peer_key(&record.peer)).arg(record.announced.nanoseconds());
        } else {
            left.arg(peer_key(&record.peer)).arg(found);
        }
    }
    let removals = try_join(
        storage.connections.query::<i64>(call, outdated),
        storage.connections.query::<i64>(call, left),
    );
    let (removed, left) = removals.await?;
    let join = command("SADD", SWARMS).arg(&key).take();
    storage.connections.query::<i64>(call, join).await?;
    storage.settle(call, &key).await?;
    storage.count(call, role, added - removed).await;
    storage.count(call, role.other(), -left).await;
    Ok(done)
}

/// Counts what was put and gives the rest back.
fn count_done(swarm: SwarmKey, puts: Vec<Put>, done: &[bool], imported: &mut Imported) -> Option<Group> {
    imported.written += done.iter().filter(|done| **done).count() as u64;
    let changed = puts.into_iter().zip(done).filter(|(_, done)| !**done).map(|(put, _)| put.record);
    let changed: Vec<_> = changed.collect();
    (!changed.is_empty()).then_some((swarm, changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::{InfoHash, PeerId, Timestamp};

    fn record(nanoseconds: i64, role: Role) -> PeerRecord {
        PeerRecord {
            info_hash: InfoHash::V1([1; 20]),
            peer: Peer::new(PeerId([2; 20]), [192, 0, 2, 1].into(), 1),
            role,
            announced: Timestamp::from_nanoseconds(nanoseconds),
        }
    }

    #[test]
    fn the_later_time_wins_and_at_equal_times_the_seeder() {
        assert!(is_newer(&record(5, Role::Leecher), None, None));
        assert!(is_newer(&record(5, Role::Leecher), Some(b"4"), None));
        assert!(!is_newer(&record(5, Role::Seeder), Some(b"5"), None));
        assert!(!is_newer(&record(5, Role::Leecher), Some(b"5"), None));
        assert!(is_newer(&record(5, Role::Seeder), None, Some(b"5")));
        assert!(!is_newer(&record(5, Role::Seeder), Some(b"4"), Some(b"6")));
    }

    #[test]
    fn a_record_in_microseconds_is_compared_in_microseconds() {
        assert!(is_newer(&record(2_000, Role::Seeder), None, Some(b"2999")));
        assert!(!is_newer(&record(2_001, Role::Seeder), None, Some(b"2999")));
        assert!(!is_newer(&record(2_000, Role::Leecher), None, Some(b"2999")));
    }

    #[test]
    fn an_unreadable_time_is_replaced() {
        assert!(is_newer(&record(5, Role::Leecher), Some(b"soon"), None));
    }
}
