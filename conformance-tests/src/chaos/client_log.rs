//! What a client knows about its calls: their outcomes, and the states that its peers, swarms and data may be
//! in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use storage_core::{Error, ErrorKind, InfoHash, Peer, Result, Role};
use tokio::time::Instant;

/// The number of last writes that a violation reports.
const HISTORY: usize = 6;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// A kind of call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CallKind {
            $($(#[$doc])* $variant,)*
        }

        impl CallKind {
            /// Every kind.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant,)*];

            /// Its name in messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// `put_seeder`.
    PutSeeder => "put_seeder",
    /// `put_leecher`.
    PutLeecher => "put_leecher",
    /// `delete_peer`.
    Delete => "delete",
    /// `graduate_leecher`.
    Graduate => "graduate",
    /// `announce_peers`.
    AnnouncePeers => "announce_peers",
    /// `scrape_swarm`.
    Scrape => "scrape",
    /// A whole announce.
    Announce => "announce",
    /// `write_peers`.
    WritePeers => "write_peers",
    /// `read_swarms`.
    ReadSwarms => "read_swarms",
    /// `put_data`.
    PutData => "put_data",
    /// `load_data`.
    LoadData => "load_data",
    /// `delete_data`.
    DeleteData => "delete_data",
}

/// What is known about a call after it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was answered.
    Acknowledged,
    /// It failed and has changed nothing.
    Refused,
    /// It failed, and may have taken effect when it ended or before.
    Unknown,
}

impl CallOutcome {
    /// The outcome of a call by its error.
    pub fn of(error: Option<&Error>) -> Self {
        match error.map(Error::kind) {
            None | Some(ErrorKind::NotFound) => Self::Acknowledged,
            Some(
                ErrorKind::Closed
                | ErrorKind::Busy
                | ErrorKind::Timeout
                | ErrorKind::Unavailable
                | ErrorKind::Conflict
                | ErrorKind::Rejected
                | ErrorKind::Full,
            ) => Self::Refused,
            Some(_) => Self::Unknown,
        }
    }
}

/// A call that has ended.
#[derive(Debug, Clone)]
pub struct RecordedCall {
    /// Its kind.
    pub kind: CallKind,
    /// When it was made.
    pub begun: Instant,
    /// How long it took.
    pub took: Duration,
    /// Its outcome.
    pub outcome: CallOutcome,
    /// The error, if it failed.
    pub error: Option<String>,
}

impl RecordedCall {
    /// When it ended.
    pub fn ended(&self) -> Instant {
        self.begun + self.took
    }
}

/// The state of a peer: its role, or `None` if it is absent.
pub type PeerState = Option<Role>;

/// A peer and the states that it may be in.
#[derive(Debug, Clone)]
pub struct ExpectedPeer {
    /// Its swarm.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer: Peer,
    possible: BTreeSet<PeerState>,
    /// It may be a seeder by other ways than the graduations whose outcome is unknown.
    maybe_seeder: bool,
    /// A graduation has an unknown outcome, and nothing has been written since that would let another count.
    is_open: bool,
    history: VecDeque<String>,
}

impl ExpectedPeer {
    /// A peer that nobody has written yet.
    pub fn new(info_hash: InfoHash, peer: Peer) -> Self {
        Self {
            info_hash,
            peer,
            possible: BTreeSet::from([None]),
            maybe_seeder: false,
            is_open: false,
            history: VecDeque::new(),
        }
    }

    /// Whether it may be in this state.
    pub fn may_be(&self, state: PeerState) -> bool {
        self.possible.contains(&state)
    }

    /// Whether it is certainly in this state.
    pub fn is(&self, state: PeerState) -> bool {
        self.possible.len() == 1 && self.may_be(state)
    }

    /// A role that it may have.
    pub fn likely_role(&self) -> Role {
        if self.may_be(Some(Role::Seeder)) { Role::Seeder } else { Role::Leecher }
    }

    /// A write to this state has ended.
    pub fn written(&mut self, state: PeerState, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Acknowledged => {
                self.possible = BTreeSet::from([state]);
                self.maybe_seeder = state == Some(Role::Seeder);
                self.is_open = false;
            }
            CallOutcome::Unknown => {
                self.possible.insert(state);
                self.maybe_seeder |= state == Some(Role::Seeder);
                self.is_open &= state == Some(Role::Seeder);
            }
            CallOutcome::Refused => {}
        }
        self.note(format!("{} {outcome:?}", state_name(state)));
    }

    /// A graduation has ended. Returns the least and the greatest number of downloads that it adds.
    ///
    /// # Errors
    /// What is wrong with its answer: whether it was a download, if it was acknowledged.
    pub fn graduated(&mut self, outcome: CallOutcome, was_download: bool) -> Result<(u64, u64), String> {
        let was_seeder = self.maybe_seeder && self.is(Some(Role::Seeder));
        let (maybe_seeder, is_open) = (self.maybe_seeder, self.is_open);
        if outcome == CallOutcome::Acknowledged && !was_download && !self.may_be(Some(Role::Seeder)) {
            return Err(format!("no download, though it was no seeder: {self}"));
        }
        self.written(Some(Role::Seeder), outcome);
        // Of graduations one after the other one counts, whichever took effect.
        let greatest = u64::from(!was_seeder && !is_open);
        Ok(match outcome {
            CallOutcome::Acknowledged => (u64::from(!maybe_seeder), greatest),
            CallOutcome::Unknown => {
                (self.maybe_seeder, self.is_open) = (maybe_seeder, !was_seeder);
                (0, greatest)
            }
            CallOutcome::Refused => (0, 0),
        })
    }

    /// A deletion in a role has ended.
    ///
    /// # Errors
    /// What is wrong with its answer.
    pub fn deleted(&mut self, role: Role, result: &Result<()>) -> Result<(), String> {
        let error = result.as_ref().err();
        match (CallOutcome::of(error), error) {
            // Also where it was absent: a deletion that is sent again, since its answer was lost, succeeds.
            (CallOutcome::Acknowledged, None) => {
                self.written(None, CallOutcome::Acknowledged);
                Ok(())
            }
            (CallOutcome::Acknowledged, Some(_)) => {
                self.note(format!("not found as {role:?}"));
                if self.is(Some(role)) {
                    return Err(format!("not found as {role:?}, in which role it is: {self}"));
                }
                self.possible.remove(&Some(role));
                Ok(())
            }
            (outcome, _) => {
                self.written(None, outcome);
                Ok(())
            }
        }
    }

    fn note(&mut self, event: String) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(event);
    }
}

impl fmt::Display for ExpectedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let possible: Vec<_> = self.possible.iter().map(|state| state_name(*state)).collect();
        let history: Vec<_> = self.history.iter().map(String::as_str).collect();
        write!(
            f,
            "swarm {}, peer {}: must be {} after: {}",
            self.info_hash,
            self.peer.socket_address(),
            possible.join(" or "),
            history.join(", ")
        )
    }
}

/// The name of a state in messages.
pub fn state_name(state: PeerState) -> &'static str {
    match state {
        None => "absent",
        Some(Role::Leecher) => "leecher",
        Some(Role::Seeder) => "seeder",
    }
}

/// An entry of data and the values that it may have, `None` if it may be absent.
#[derive(Debug, Clone)]
pub struct ExpectedEntry {
    /// Its key.
    pub key: Bytes,
    possible: BTreeSet<Option<Bytes>>,
}

impl ExpectedEntry {
    /// An entry that nobody has written yet.
    pub fn new(key: Bytes) -> Self {
        Self { key, possible: BTreeSet::from([None]) }
    }

    /// Whether it may have this value.
    pub fn may_be(&self, value: Option<&Bytes>) -> bool {
        self.possible.contains(&value.cloned())
    }

    /// A write of this value has ended.
    pub fn written(&mut self, value: Option<Bytes>, outcome: CallOutcome) {
        match outcome {
            CallOutcome::Acknowledged => self.possible = BTreeSet::from([value]),
            CallOutcome::Unknown => drop(self.possible.insert(value)),
            CallOutcome::Refused => {}
        }
    }
}

impl fmt::Display for ExpectedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data {:?}: must be one of {:?}", self.key, self.possible)
    }
}

/// The least and the greatest number of downloads of a swarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpectedDownloads {
    /// Those that were acknowledged.
    pub least: u64,
    /// Those and the ones whose outcome is unknown.
    pub greatest: u64,
}

/// The log of one client, or of all.
#[derive(Debug, Default)]
pub struct ClientLog {
    /// Its peers.
    pub peers: Vec<ExpectedPeer>,
    /// Its entries of data.
    pub data: Vec<ExpectedEntry>,
    /// The downloads that it has counted.
    pub downloads: BTreeMap<InfoHash, ExpectedDownloads>,
    /// Its calls.
    pub calls: Vec<RecordedCall>,
    /// What was wrong with answers.
    pub wrong_answers: Vec<String>,
    /// The longest that the machine let a waiting thread wait for a core.
    pub starvation: Duration,
}

impl ClientLog {
    /// Adds the log of another client.
    pub fn add(&mut self, other: Self) {
        self.peers.extend(other.peers);
        self.data.extend(other.data);
        for (info_hash, downloads) in other.downloads {
            self.count(info_hash, (downloads.least, downloads.greatest));
        }
        self.calls.extend(other.calls);
        self.wrong_answers.extend(other.wrong_answers);
        self.starvation = self.starvation.max(other.starvation);
    }

    /// Counts downloads: the least number and the greatest.
    pub fn count(&mut self, info_hash: InfoHash, (least, greatest): (u64, u64)) {
        let downloads = self.downloads.entry(info_hash).or_default();
        downloads.least += least;
        downloads.greatest += greatest;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use storage_core::{Operation, PeerId};

    use super::*;

    fn peer() -> ExpectedPeer {
        let peer = Peer::new(PeerId([1; 20]), IpAddr::from([192, 0, 2, 1]), 6881);
        ExpectedPeer::new(InfoHash::V1([1; 20]), peer)
    }

    fn failed(kind: ErrorKind) -> Result<()> {
        Err(Error::new("x", Operation::DeletePeer, kind))
    }

    #[test]
    fn an_unknown_write_adds_a_state_until_the_next_acknowledged_one() {
        let mut peer = peer();
        peer.written(Some(Role::Leecher), CallOutcome::Unknown);
        assert!(peer.may_be(None) && peer.may_be(Some(Role::Leecher)));
        peer.written(Some(Role::Seeder), CallOutcome::Refused);
        assert!(!peer.may_be(Some(Role::Seeder)));
        peer.written(None, CallOutcome::Acknowledged);
        assert!(peer.is(None));
    }

    #[test]
    fn a_deletion_that_finds_nothing_contradicts_an_acknowledged_put() {
        let mut peer = peer();
        peer.written(Some(Role::Leecher), CallOutcome::Acknowledged);
        peer.deleted(Role::Seeder, &failed(ErrorKind::NotFound)).unwrap();
        peer.deleted(Role::Leecher, &failed(ErrorKind::NotFound)).unwrap_err();
        peer.deleted(Role::Leecher, &Ok(())).unwrap();
        peer.deleted(Role::Leecher, &Ok(())).unwrap();
        assert!(peer.is(None));
    }

    #[test]
    fn a_graduation_counts_once_at_most() {
        use CallOutcome::{Acknowledged, Unknown};
        let mut peer = peer();
        assert_eq!(peer.graduated(Unknown, false), Ok((0, 1)));
        assert_eq!(peer.graduated(Unknown, false), Ok((0, 0)));
        assert_eq!(peer.graduated(Acknowledged, false), Ok((1, 0)));
        assert_eq!(peer.graduated(Acknowledged, false), Ok((0, 0)));
        peer.written(None, Acknowledged);
        assert!(peer.graduated(Acknowledged, false).is_err());
        peer.written(Some(Role::Seeder), Unknown);
        assert_eq!(peer.graduated(Acknowledged, false), Ok((0, 1)));
        peer.written(None, Acknowledged);
        assert_eq!(peer.graduated(Unknown, false), Ok((0, 1)));
        peer.written(None, Unknown);
        assert_eq!(peer.graduated(Acknowledged, true), Ok((1, 1)));
    }
}
