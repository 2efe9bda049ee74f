//! What is kept of a peer beside the peer itself.

use storage_core::Timestamp;

/// The peer's role or membership is to be written.
const WRITE: u8 = 1;
/// The peer's time is to be written.
const TOUCH: u8 = 1 << 1;
/// The backend has the peer, or may have it.
const STORED: u8 = 1 << 2;
/// The peer announced later than the backend knows, but not so much later that it must know already.
const LATER: u8 = 1 << 3;
/// The backend did not take the last write: what it has of the peer counts.
const REFUSED: u8 = 1 << 4;

/// The peer announced since the backend was last asked for its swarm.
const SINCE_READ: u8 = 1 << 5;

/// The state of a peer in 13 bytes without padding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CachedPeer {
    /// When it last announced, in nanoseconds.
    announced: [u8; 8],
    /// The time that the backend has, in seconds.
    stored: [u8; 4],
    flags: u8,
}

/// What is to be written of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its role or membership.
    Write,
    /// Its time alone.
    Touch,
}

impl CachedPeer {
    /// A peer that the backend does not have.
    pub(crate) fn new(announced: Timestamp) -> Self {
        Self { announced: announced.nanoseconds().to_ne_bytes(), stored: [0; 4], flags: WRITE }
    }

    /// A peer as the backend has it.
    pub(crate) fn stored(announced: Timestamp) -> Self {
        let stored = seconds(announced).to_ne_bytes();
        Self { announced: announced.nanoseconds().to_ne_bytes(), stored, flags: STORED }
    }

    /// A peer that the backend may have, and of which the role or membership is to be written.
    pub(crate) fn unknown(announced: Timestamp) -> Self {
        Self { flags: WRITE | STORED, ..Self::new(announced) }
    }

    pub(crate) fn announced(&self) -> Timestamp {
        Timestamp::from_nanoseconds(i64::from_ne_bytes(self.announced))
    }

    /// Sets the time of the last announce; what is to be written stays.
    pub(crate) fn set_announced(&mut self, announced: Timestamp) {
        self.announced = announced.nanoseconds().to_ne_bytes();
        self.flags = self.flags & !REFUSED | SINCE_READ;
    }

    /// The backend is asked for its swarm.
    pub(crate) fn begin_read(&mut self) {
        self.flags &= !SINCE_READ;
    }

    /// Whether it announced since the backend was last asked for its swarm.
    pub(crate) fn has_announced_since_read(&self) -> bool {
        self.flags & SINCE_READ != 0
    }

    /// The time that the backend has, in seconds.
    pub(crate) fn stored_seconds(&self) -> u32 {
        u32::from_ne_bytes(self.stored)
    }

    pub(crate) fn due(&self) -> Option<Due> {
        match self.flags & (WRITE | TOUCH) {
            0 => None,
            TOUCH => Some(Due::Touch),
            _ => Some(Due::Write),
        }
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.flags & STORED != 0
    }

    /// Whether it announced later than the backend knows, and that is not to be written yet.
    pub(crate) fn is_later(&self) -> bool {
        self.flags & LATER != 0 && self.due().is_none()
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.flags & REFUSED != 0
    }

    /// Its role or membership is to be written.
    pub(crate) fn mark_write(&mut self) {
        self.flags = self.flags & !(TOUCH | LATER | REFUSED) | WRITE;
    }

    /// Its time is to be written.
    pub(crate) fn mark_touch(&mut self) {
        self.flags |= TOUCH;
    }

    /// It announced later than the backend knows.
    pub(crate) fn mark_later(&mut self) {
        self.flags |= LATER;
    }

    /// It is being sent to the backend.
    pub(crate) fn mark_sent(&mut self) {
        self.flags |= STORED;
    }

    /// The backend did not take what was sent.
    pub(crate) fn mark_refused(&mut self) {
        self.flags |= REFUSED;
    }

    /// The backend has the peer in its role as of this time, which may be earlier than that of the last announce.
    pub(crate) fn mark_stored(&mut self, stored: Timestamp) {
        self.stored = seconds(stored).to_ne_bytes();
        self.flags = self.flags & SINCE_READ | STORED | if stored < self.announced() { LATER } else { 0 };
    }
}

/// The seconds of a time, as far as 4 bytes hold them: to the year 2106.
pub(crate) fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.nanoseconds().div_euclid(1_000_000_000).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_thirteen_bytes_and_no_padding() {
        assert_eq!((size_of::<CachedPeer>(), align_of::<CachedPeer>()), (13, 1));
    }

    #[test]
    fn what_is_stored_later_than_a_peer_announced_again_leaves_it_later() {
        let at = Timestamp::from_seconds;
        let mut state = CachedPeer::new(at(100));
        assert_eq!((state.due(), state.is_stored()), (Some(Due::Write), false));
        state.mark_sent();
        state.set_announced(at(200));
        state.mark_stored(at(100));
        assert_eq!((state.due(), state.is_later(), state.stored_seconds()), (None, true, 100));
        state.mark_touch();
        assert_eq!((state.due(), state.is_later()), (Some(Due::Touch), false));
        state.mark_write();
        assert_eq!(state.due(), Some(Due::Write));
        state.mark_stored(at(200));
        assert_eq!((state.due(), state.is_later(), state.is_stored()), (None, false, true));
    }
}
