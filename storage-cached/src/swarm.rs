//! A swarm in memory: its peers, what of them is to be written, and how much of it is known.

use std::collections::HashMap;

use smallvec::SmallVec;
use storage_core::{
    Announce, InfoHash, Peer, PeerChange, PeerRecord, PeerWrite, Role, SwarmCounts, SwarmSnapshot, Timestamp,
};
use storage_swarms::{PeerGroup, PeerPosition, Swarm};

use crate::cached_peer::{CachedPeer, Due, seconds};

/// Everything that the backend has of it was read once.
const KNOWN: u8 = 1;
/// The backend is to be asked for it before it is relied upon.
const UNREAD: u8 = 1 << 1;
/// It has more peers than memory keeps: the backend answers for it.
const TOO_LARGE: u8 = 1 << 2;
/// It waits in the queue of its shard.
const QUEUED: u8 = 1 << 3;
/// It was used since the last time that its place was looked for.
const USED: u8 = 1 << 4;
/// Peers of it announced later than the backend knows.
const HAS_LATER: u8 = 1 << 5;

/// Two times that a backend may not tell apart are a microsecond apart at most.
const PRECISION: std::time::Duration = std::time::Duration::from_micros(1);

/// What changes of peers go by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A stored time may be so many seconds older than the last announce.
    pub(crate) stored_age: u32,
    /// Peers whose stored time is no later than this one, in seconds, may have been collected at the backend.
    pub(crate) collected: Option<u32>,
    /// The most peers of a swarm.
    pub(crate) max_peers: usize,
}

/// The time of a write, and whether the caller insists on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteTime {
    pub(crate) time: Timestamp,
    /// Whether it is stored as it is, also where it is earlier than what is stored.
    pub(crate) is_given: bool,
}

impl WriteTime {
    /// The time of a write that changes a peer last written at `before`. `None` where it must not be later than
    /// that: the backend, which keeps the later time, would not take it.
    fn over(self, before: Timestamp, is_change: bool) -> Option<Timestamp> {
        let Self { time, is_given } = self;
        match (is_given, is_change) {
            (false, false) => Some(time.max(before)),
            (false, true) => Some(time.max(before.after(PRECISION))),
            (true, false) => (time >= before).then_some(time),
            (true, true) => (time.microseconds() > before.microseconds()).then_some(time),
        }
    }
}

/// What a write changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing, or a time alone.
    Time,
    /// A role or a membership.
    Membership,
}

/// A completion that memory has taken.
pub(crate) struct Completed {
    pub(crate) time: Timestamp,
    /// Whether the client was a seeder at none of its addresses.
    pub(crate) is_download: bool,
    /// What was to be written of its peers, which the backend has to know before it can tell a download.
    pub(crate) before_it: SmallVec<[PeerWrite; 1]>,
}

/// Why a write was not made in memory. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It must be made at the backend: its time is earlier than what is stored.
    WriteThrough,
    /// There is no memory for a further peer.
    NoRoom,
    /// The peer is not there in that role.
    NotFound,
}

/// What the backend did with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteAnswer {
    /// It has it.
    Stored,
    /// It has something else.
    Unchanged,
    /// It never will.
    Rejected,
    /// Nobody knows: the write is to be made again.
    Failed,
}

/// A swarm in memory.
#[derive(Default)]
pub(crate) struct CachedSwarm {
    peers: Swarm<CachedPeer>,
    /// Downloads, as the backend has them.
    pub(crate) downloads: u64,
    /// Peers of which something is to be written.
    due: u32,
    /// Completions that wait; nothing else is written before them.
    pub(crate) completions: u16,
    status: u8,
}

impl CachedSwarm {
    /// A swarm of which nothing is known, since the backend is away.
    pub(crate) fn unread() -> Self {
        Self { status: UNREAD, ..Self::default() }
    }

    fn has(&self, flag: u8) -> bool {
        self.status & flag != 0
    }

    fn set(&mut self, flag: u8, is_set: bool) {
        self.status = self.status & !flag | if is_set { flag } else { 0 };
    }

    pub(crate) fn is_known(&self) -> bool {
        self.has(KNOWN)
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.has(UNREAD)
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.has(TOO_LARGE)
    }

    /// The backend has, or may have, something else: it is to be read again.
    pub(crate) fn mark_unread(&mut self) {
        self.set(UNREAD, true);
    }

    /// Nothing of a swarm too large for memory is known any more.
    pub(crate) fn begin_unread(&mut self) {
        self.set(TOO_LARGE | KNOWN, false);
        self.set(UNREAD, true);
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.has(QUEUED)
    }

    pub(crate) fn set_queued(&mut self, is_queued: bool) {
        self.set(QUEUED, is_queued);
    }

    /// Notes a use.
    pub(crate) fn mark_used(&mut self) {
        self.set(USED, true);
    }

    /// Forgets that it was used; whether it was.
    pub(crate) fn take_used(&mut self) -> bool {
        let was_used = self.has(USED);
        self.set(USED, false);
        was_used
    }

    /// Peers of which something is to be written.
    pub(crate) fn due(&self) -> u32 {
        self.due
    }

    /// Whether nothing of it waits for the backend.
    pub(crate) fn is_clean(&self) -> bool {
        self.due == 0 && self.completions == 0 && !self.has(HAS_LATER)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.peers.heap_bytes()
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn counts(&self) -> SwarmCounts {
        SwarmCounts {
            seeders: self.peers.count(Role::Seeder) as u64,
            leechers: self.peers.count(Role::Leecher) as u64,
            downloads: self.downloads,
        }
    }

    /// The peers that an announce asks for.
    pub(crate) fn peers_for(&self, announce: &Announce) -> Vec<Peer> {
        self.peers.peers_for(announce)
    }

    /// All peers, those that left not among them.
    pub(crate) fn swarm(&self) -> &Swarm<CachedPeer> {
        &self.peers
    }

    /// What is known of a peer.
    pub(crate) fn get(&self, peer: &Peer) -> Option<(Role, Timestamp)> {
        let at = self.peers.find(peer)?;
        Some((self.peers.group(at).role()?, self.peers.state(at).announced()))
    }

    /// Whether something of a peer is to be written before it is acknowledged by the backend.
    pub(crate) fn is_waiting(&self, peer: &Peer) -> bool {
        self.peers.find(peer).is_some_and(|at| self.peers.state(at).due() == Some(Due::Write))
    }

    /// Whether a put would change no more than the time of a peer.
    pub(crate) fn is_there(&self, peer: &Peer, role: Role) -> bool {
        self.get(peer).is_some_and(|(held, _)| held == role)
    }

    /// Changes the state of a peer, and counts whether something of it is due.
    fn with_state(&mut self, at: PeerPosition, change: impl FnOnce(&mut CachedPeer)) {
        let state = self.peers.state_mut(at);
        let was_due = state.due().is_some();
        change(state);
        let (is_due, is_later) = (state.due().is_some(), state.is_later());
        if is_later {
            self.set(HAS_LATER, true);
        }
        match (was_due, is_due) {
            (false, true) => self.due += 1,
            (true, false) => self.due -= 1,
            _ => {}
        }
    }

    fn insert(&mut self, peer: &Peer, group: PeerGroup, state: CachedPeer) {
        self.due += u32::from(state.due().is_some());
        self.peers.insert(peer, group, state);
    }

    fn remove(&mut self, at: PeerPosition) {
        self.due -= u32::from(self.peers.state(at).due().is_some());
        self.peers.remove(at);
    }

    /// Puts a peer in a role.
    pub(crate) fn put(
        &mut self,
        peer: &Peer,
        role: Role,
        when: WriteTime,
        rules: &Rules,
        has_room: bool,
    ) -> Result<Change, Refused> {
        let Some(at) = self.peers.find(peer) else {
            if !has_room {
                return Err(Refused::NoRoom);
            }
            self.insert(peer, role.into(), CachedPeer::new(when.time));
            return Ok(Change::Membership);
        };
        let (group, before) = (self.peers.group(at), self.peers.state(at).announced());
        let is_change = group != role.into();
        let time = when.over(before, is_change).ok_or(Refused::WriteThrough)?;
        if is_change {
            let at = self.peers.assign(at, role.into());
            self.with_state(at, |state| {
                state.set_announced(time);
                state.mark_write();
            });
            return Ok(Change::Membership);
        }
        if time > before {
            self.with_state(at, |state| announced_again(state, time, rules));
        }
        Ok(if self.peers.state(at).due() == Some(Due::Write) { Change::Membership } else { Change::Time })
    }

    /// Takes a peer out of a role, or of whichever it is in.
    pub(crate) fn delete(
        &mut self,
        peer: &Peer,
        role: Option<Role>,
        when: WriteTime,
        has_room: bool,
    ) -> Result<Change, Refused> {
        let Some(at) = self.peers.find(peer) else {
            if self.is_known() {
                return Err(Refused::NotFound);
            }
            if !has_room {
                return Err(Refused::NoRoom);
            }
            self.insert(peer, PeerGroup::Hidden, CachedPeer::unknown(when.time));
            return Ok(Change::Membership);
        };
        let Some(held) = self.peers.group(at).role() else { return Err(Refused::NotFound) };
        if role.is_some_and(|role| role != held) {
            return Err(Refused::NotFound);
        }
        if !self.peers.state(at).is_stored() {
            self.remove(at);
            return Ok(Change::Time);
        }
        let time = when.time.max(self.peers.state(at).announced());
        let at = self.peers.assign(at, PeerGroup::Hidden);
        self.with_state(at, |state| {
            state.set_announced(time);
            state.mark_write();
        });
        Ok(Change::Membership)
    }

    /// Makes a client a seeder at all of its addresses, of which the backend is told as of a completion.
    pub(crate) fn complete(
        &mut self,
        info_hash: &InfoHash,
        peers: &[Peer],
        when: WriteTime,
        has_room: bool,
    ) -> Result<Completed, Refused> {
        let (mut time, mut is_download, mut before_it) = (when.time, true, SmallVec::new());
        for peer in peers {
            let Some(at) = self.peers.find(peer) else {
                if !has_room {
                    return Err(Refused::NoRoom);
                }
                continue;
            };
            let before = self.peers.state(at).announced();
            let is_change = self.peers.group(at) != PeerGroup::Seeder;
            is_download &= is_change;
            before_it.extend(self.due_write(info_hash, peer, at));
            time = time.max(when.over(before, is_change).ok_or(Refused::WriteThrough)?);
        }
        for peer in peers {
            let at = match self.peers.find(peer) {
                Some(at) => self.peers.assign(at, PeerGroup::Seeder),
                None => {
                    self.insert(peer, PeerGroup::Seeder, CachedPeer::unknown(time));
                    continue;
                }
            };
            self.with_state(at, |state| {
                state.set_announced(time);
                state.mark_write();
                state.mark_sent();
            });
        }
        Ok(Completed { time, is_download, before_it })
    }

    /// What is to be written of a peer.
    fn due_write(&self, info_hash: &InfoHash, peer: &Peer, at: PeerPosition) -> Option<PeerWrite> {
        let state = self.peers.state(at);
        let change = change_of(self.peers.group(at), state.due()?);
        Some(PeerWrite { info_hash: *info_hash, peer: *peer, change, announced: state.announced() })
    }

    /// Lets go of peers of which nothing is to be written: the backend is about to have something else of them, with
    /// an earlier time.
    pub(crate) fn let_go(&mut self, peers: &[Peer]) {
        for peer in peers {
            if let Some(at) = self.peers.find(peer).filter(|at| self.peers.state(*at).due().is_none()) {
                self.remove(at);
            }
        }
    }

    /// Takes what is to be written, up to this many writes in `writes`; whether there was room for all. What the
    /// backend refused waits until the swarm is read again.
    pub(crate) fn take_due(
        &mut self,
        info_hash: &InfoHash,
        limit: usize,
        writes: &mut Vec<PeerWrite>,
    ) -> bool {
        let (mut left, mut has_room) = (self.due, true);
        if left == 0 {
            return true;
        }
        self.peers.visit_from(0, |peer, group, state| {
            let Some(due) = state.due() else { return true };
            if writes.len() >= limit {
                has_room = false;
                return false;
            }
            if !state.is_refused() {
                let change = change_of(group, due);
                state.mark_sent();
                writes.push(PeerWrite { info_hash: *info_hash, peer, change, announced: state.announced() });
            }
            left -= 1;
            left > 0
        });
        has_room
    }

    /// What became of a write that was taken. The peer may have changed since.
    pub(crate) fn answered(&mut self, write: &PeerWrite, answer: WriteAnswer) {
        if answer == WriteAnswer::Failed {
            return;
        }
        if answer == WriteAnswer::Unchanged {
            self.mark_unread();
        }
        let Some(at) = self.peers.find(&write.peer) else { return };
        let (group, state) = (self.peers.group(at), self.peers.state(at));
        let is_alike = match write.change {
            PeerChange::Delete => group == PeerGroup::Hidden,
            PeerChange::Put(role) => group == role.into(),
            PeerChange::Graduate => group == PeerGroup::Seeder,
            PeerChange::Touch => group.role().is_some() && state.due() != Some(Due::Write),
        };
        let is_same = is_alike && state.announced() == write.announced;
        match (write.change, answer) {
            // A put of a peer that has left since, or a deletion of one that has come back.
            _ if !is_alike => {}
            (PeerChange::Delete, _) if is_same => self.remove(at),
            (PeerChange::Delete, _) => {}
            (_, WriteAnswer::Stored) => self.with_state(at, |state| state.mark_stored(write.announced)),
            (_, WriteAnswer::Unchanged) if is_same => self.with_state(at, CachedPeer::mark_refused),
            (PeerChange::Touch, WriteAnswer::Rejected) => {
                self.with_state(at, |state| state.mark_stored(write.announced));
            }
            (_, WriteAnswer::Rejected) if is_same => self.remove(at),
            _ => {}
        }
    }

    /// The backend is asked for the swarm.
    pub(crate) fn begin_read(&mut self) {
        self.peers.visit_from(0, |_, _, state| {
            state.begin_read();
            true
        });
    }

    /// Takes in what the backend has. Of a peer the later of both stays; one that the backend does not have leaves
    /// memory too, unless it is to be written, or announced since the backend was asked. With `restores` it is
    /// written again.
    pub(crate) fn merge(&mut self, snapshot: &SwarmSnapshot, rules: &Rules, restores: bool) {
        self.downloads = snapshot.counts.downloads;
        self.set(UNREAD, false);
        if !snapshot.is_complete || snapshot.peers.len() > rules.max_peers {
            self.set(KNOWN, false);
            self.set(TOO_LARGE, true);
            return self.shed();
        }
        self.set(KNOWN, true);
        self.set(TOO_LARGE, false);
        let mut records: HashMap<Peer, PeerRecord> = HashMap::new();
        if !self.peers.is_empty() {
            records.extend(snapshot.peers.iter().map(|record| (record.peer, *record)));
        }
        let (mut replaced, mut taken_in) = (Vec::new(), Vec::new());
        if records.is_empty() {
            taken_in.extend_from_slice(&snapshot.peers);
        }
        let has_completions = self.completions > 0;
        self.peers.retain(|peer, group, state| {
            let Some(record) = records.remove(&peer) else {
                // A completion that waits brings back a peer that has left since.
                let stays = if group == PeerGroup::Hidden {
                    has_completions
                } else {
                    is_to_be_written_again(state, restores)
                };
                if stays {
                    state.mark_write();
                }
                return stays;
            };
            if record_counts(group, state, &record) {
                replaced.push(record);
            } else if state.due() != Some(Due::Write) {
                let is_due = state.due().is_some() && !state.is_refused();
                state.mark_stored(record.announced);
                if is_due && state.is_later() {
                    state.mark_touch();
                }
            }
            true
        });
        for record in replaced {
            if let Some(at) = self.peers.find(&record.peer) {
                let at = self.peers.assign(at, record.role.into());
                *self.peers.state_mut(at) = CachedPeer::stored(record.announced);
            }
        }
        taken_in.extend(records.into_values());
        for record in taken_in {
            self.peers.insert(&record.peer, record.role.into(), CachedPeer::stored(record.announced));
        }
        self.recount();
    }

    /// Lets go of the peers of which nothing is to be written.
    fn shed(&mut self) {
        self.peers.retain(|_, _, state| {
            if state.is_later() {
                state.mark_touch();
            }
            state.due().is_some()
        });
        self.recount();
    }

    /// Hands a swarm that has become too large over to the backend; what is to be written is written first.
    pub(crate) fn give_up_if_too_large(&mut self, rules: &Rules) {
        if self.is_known() && self.len() > rules.max_peers {
            self.set(KNOWN, false);
            self.set(TOO_LARGE, true);
            self.shed();
        }
    }

    fn recount(&mut self) {
        let (mut due, mut has_later) = (0, false);
        for (_, _, state) in self.peers.iter() {
            due += u32::from(state.due().is_some());
            has_later |= state.is_later();
        }
        self.due = due;
        self.set(HAS_LATER, has_later);
    }

    /// The times of those peers become due whose stored time, in seconds, is no later than this.
    pub(crate) fn mark_due(&mut self, stored_until: u32) {
        if !self.has(HAS_LATER) {
            return;
        }
        let (mut newly_due, mut has_later) = (0, false);
        self.peers.visit_from(0, |_, _, state| {
            if state.is_later() {
                if state.stored_seconds() <= stored_until {
                    state.mark_touch();
                    newly_due += 1;
                } else {
                    has_later = true;
                }
            }
            true
        });
        self.due += newly_due;
        self.set(HAS_LATER, has_later);
    }

    /// Takes out those that last announced at or before the cutoff, unless something of them is to be written. Those
    /// that announced later than the backend knew are written again, since it may have collected them.
    pub(crate) fn collect(&mut self, cutoff: Timestamp) {
        let cutoff_seconds = seconds(cutoff);
        let mut newly_due = 0;
        self.peers.retain(|_, _, state| {
            if state.due() == Some(Due::Write) {
                return true;
            }
            if state.announced() <= cutoff {
                newly_due -= i64::from(state.due().is_some());
                return false;
            }
            if state.stored_seconds() <= cutoff_seconds && (state.is_later() || state.due().is_some()) {
                newly_due += i64::from(state.due().is_none());
                state.mark_write();
            }
            true
        });
        self.due = u32::try_from(i64::from(self.due) + newly_due).unwrap_or(0);
    }

    /// Takes out what the backend knew all of when it forgot the swarm; what announced since is new.
    pub(crate) fn forget(&mut self, downloads: bool) {
        if downloads {
            self.downloads = 0;
        }
        self.peers.retain(|_, group, state| {
            let stays = group.role().is_some() && (state.due().is_some() || state.is_later());
            if stays {
                state.mark_write();
            }
            stays
        });
        self.recount();
    }
}

fn change_of(group: PeerGroup, due: Due) -> PeerChange {
    match (group.role(), due) {
        (None, _) => PeerChange::Delete,
        (Some(role), Due::Write) => PeerChange::Put(role),
        (Some(_), Due::Touch) => PeerChange::Touch,
    }
}

/// A peer announced again in its role.
fn announced_again(state: &mut CachedPeer, time: Timestamp, rules: &Rules) {
    state.set_announced(time);
    if state.due() == Some(Due::Write) {
        return;
    }
    if rules.collected.is_some_and(|collected| state.stored_seconds() <= collected) {
        // The backend may have collected it: a touch would not bring it back.
        state.mark_write();
    } else if seconds(time).saturating_sub(state.stored_seconds()) > rules.stored_age {
        state.mark_touch();
    } else {
        state.mark_later();
    }
}

/// Whether a peer that the backend does not have is written, rather than forgotten.
fn is_to_be_written_again(state: &CachedPeer, restores: bool) -> bool {
    let is_new = state.due() == Some(Due::Write) && !state.is_refused();
    is_new || restores || !state.is_refused() && state.has_announced_since_read()
}

/// Whether what the backend has of a peer counts, and not what memory has.
fn record_counts(group: PeerGroup, state: &CachedPeer, record: &PeerRecord) -> bool {
    let (stored, held) = (record.announced.microseconds(), state.announced().microseconds());
    match group.role() {
        None => stored > held,
        Some(role) if state.due() == Some(Due::Write) && !state.is_refused() => {
            (stored, record.role) > (held, role)
        }
        // Of a peer that the backend knew all of, it knows better now.
        Some(_) if state.due().is_none() && !state.is_later() => true,
        Some(role) => state.is_refused() || stored > held || record.role != role,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_core::PeerId;

    const RULES: Rules = Rules { stored_age: 100, collected: None, max_peers: 10 };
    const SWARM: InfoHash = InfoHash::V1([7; 20]);

    fn peer(number: u8) -> Peer {
        Peer::new(PeerId([number; 20]), [192, 0, 2, number].into(), 6881)
    }

    fn now(seconds: i64) -> WriteTime {
        WriteTime { time: Timestamp::from_seconds(seconds), is_given: false }
    }

    fn known(records: &[(u8, Role, i64)]) -> CachedSwarm {
        let mut swarm = CachedSwarm::unread();
        swarm.merge(&snapshot(records), &RULES, false);
        swarm
    }

    fn snapshot(records: &[(u8, Role, i64)]) -> SwarmSnapshot {
        let record = |(number, role, seconds): &(u8, Role, i64)| PeerRecord {
            info_hash: SWARM,
            peer: peer(*number),
            role: *role,
            announced: Timestamp::from_seconds(*seconds),
        };
        let peers: Vec<_> = records.iter().map(record).collect();
        SwarmSnapshot { info_hash: SWARM, peers, counts: SwarmCounts::default(), is_complete: true }
    }

    fn taken(swarm: &mut CachedSwarm) -> Vec<PeerWrite> {
        let mut writes = Vec::new();
        assert!(swarm.take_due(&SWARM, usize::MAX, &mut writes));
        writes
    }

    #[test]
    fn a_new_time_is_due_once_the_stored_one_is_too_old() {
        let mut swarm = known(&[(1, Role::Seeder, 1_000)]);
        swarm.put(&peer(1), Role::Seeder, now(1_050), &RULES, true).unwrap();
        assert_eq!((swarm.due(), swarm.is_clean()), (0, false));
        swarm.mark_due(999);
        assert_eq!(swarm.due(), 0);
        swarm.mark_due(1_000);
        assert_eq!(taken(&mut swarm)[0].change, PeerChange::Touch);
        swarm.put(&peer(1), Role::Seeder, now(1_101), &RULES, true).unwrap();
        assert_eq!(taken(&mut swarm)[0].announced, Timestamp::from_seconds(1_101));
    }

    #[test]
    fn a_peer_that_was_never_sent_leaves_without_a_trace() {
        let mut swarm = known(&[]);
        swarm.put(&peer(1), Role::Leecher, now(1), &RULES, true).unwrap();
        swarm.delete(&peer(1), None, now(2), true).unwrap();
        assert!(swarm.is_clean() && swarm.len() == 0);
        swarm.put(&peer(1), Role::Leecher, now(3), &RULES, true).unwrap();
        let sent = taken(&mut swarm);
        swarm.delete(&peer(1), Some(Role::Leecher), now(4), true).unwrap();
        swarm.answered(&sent[0], WriteAnswer::Stored);
        assert_eq!(taken(&mut swarm)[0].change, PeerChange::Delete, "the backend may have it");
    }

    #[test]
    fn an_answer_cleans_only_what_was_sent() {
        let mut swarm = known(&[]);
        swarm.put(&peer(1), Role::Leecher, now(1), &RULES, true).unwrap();
        let sent = taken(&mut swarm);
        swarm.put(&peer(1), Role::Seeder, now(2), &RULES, true).unwrap();
        swarm.answered(&sent[0], WriteAnswer::Stored);
        let sent = taken(&mut swarm);
        assert_eq!(sent[0].change, PeerChange::Put(Role::Seeder));
        swarm.put(&peer(1), Role::Seeder, now(3), &RULES, true).unwrap();
        swarm.answered(&sent[0], WriteAnswer::Stored);
        assert_eq!(swarm.due(), 0, "its membership is stored, and its time is not due");
        assert!(!swarm.is_clean());
    }

    #[test]
    fn what_the_backend_lacks_leaves_memory_unless_it_announced_since() {
        let mut swarm = known(&[(1, Role::Seeder, 10), (2, Role::Seeder, 10), (3, Role::Leecher, 10)]);
        swarm.begin_read();
        swarm.put(&peer(2), Role::Seeder, now(60), &RULES, true).unwrap();
        swarm.merge(&snapshot(&[(3, Role::Seeder, 20)]), &RULES, false);
        assert_eq!((swarm.counts().seeders, swarm.counts().leechers), (2, 0));
        let writes = taken(&mut swarm);
        assert_eq!((writes.len(), writes[0].peer), (1, peer(2)));
    }

    #[test]
    fn a_write_that_the_backend_did_not_take_gives_way_to_what_it_has() {
        let mut swarm = known(&[(1, Role::Seeder, 10)]);
        swarm.put(&peer(1), Role::Leecher, now(20), &RULES, true).unwrap();
        let sent = taken(&mut swarm);
        swarm.answered(&sent[0], WriteAnswer::Unchanged);
        assert!(swarm.is_unread());
        swarm.merge(&snapshot(&[(1, Role::Seeder, 15)]), &RULES, false);
        assert_eq!((swarm.get(&peer(1)).unwrap().0, swarm.due()), (Role::Seeder, 0));
    }

    #[test]
    fn a_deletion_during_an_outage_outlives_what_is_read_later() {
        let mut swarm = CachedSwarm::unread();
        swarm.delete(&peer(1), None, now(20), true).unwrap();
        swarm.delete(&peer(2), None, now(20), true).unwrap();
        let stored = [(1, Role::Seeder, 10), (2, Role::Leecher, 30)];
        swarm.merge(&snapshot(&stored), &RULES, false);
        assert_eq!((swarm.counts().seeders, swarm.counts().leechers), (0, 1));
        assert_eq!(taken(&mut swarm).len(), 1);
    }

    #[test]
    fn a_peer_that_left_after_a_completion_that_waits_is_deleted_after_it() {
        let mut swarm = known(&[]);
        assert!(swarm.complete(&SWARM, &[peer(1)], now(10), true).is_ok_and(|taken| taken.is_download));
        swarm.completions = 1;
        swarm.delete(&peer(1), None, now(20), true).unwrap();
        swarm.merge(&snapshot(&[]), &RULES, false);
        assert_eq!(taken(&mut swarm)[0].change, PeerChange::Delete);
    }

    #[test]
    fn collected_peers_that_announce_are_written_anew() {
        let mut swarm = known(&[(1, Role::Seeder, 1_000), (2, Role::Seeder, 1_000)]);
        let rules = Rules { collected: Some(1_000), ..RULES };
        swarm.put(&peer(1), Role::Seeder, now(1_010), &rules, true).unwrap();
        swarm.collect(Timestamp::from_seconds(1_000));
        assert_eq!(swarm.counts().seeders, 1);
        assert_eq!(taken(&mut swarm)[0].change, PeerChange::Put(Role::Seeder));
    }

    #[test]
    fn an_earlier_time_that_is_given_goes_to_the_backend() {
        let mut swarm = known(&[(1, Role::Seeder, 1_000)]);
        let given = |seconds| WriteTime { is_given: true, ..now(seconds) };
        let put = swarm.put(&peer(1), Role::Seeder, given(999), &RULES, true);
        assert_eq!(put, Err(Refused::WriteThrough));
        assert_eq!(swarm.put(&peer(1), Role::Seeder, given(1_000), &RULES, true), Ok(Change::Time));
        let put = swarm.put(&peer(1), Role::Leecher, given(1_000), &RULES, true);
        assert_eq!(put, Err(Refused::WriteThrough));
        assert_eq!(swarm.put(&peer(1), Role::Leecher, given(1_001), &RULES, true), Ok(Change::Membership));
    }
}
