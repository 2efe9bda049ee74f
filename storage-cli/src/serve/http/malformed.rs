//! What is wrong with a request, in words for whoever wrote the client.

use storage_core::{InvalidInfoHash, InvalidPeerId};

/// Why a request was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// A parameter that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value has a `%` that no two hexadecimal digits follow.
    #[error("`{0}` is not percent-encoded: two hexadecimal digits follow each %")]
    NotEncoded(&'static str),
    /// An announce is for one swarm.
    #[error("`info_hash` is given more than once")]
    SeveralInfoHashes,
    /// Not an info hash.
    #[error("`info_hash`: {0}")]
    InfoHash(#[from] InvalidInfoHash),
    /// Not a peer id.
    #[error("`peer_id`: {0}")]
    PeerId(#[from] InvalidPeerId),
    /// Not a port that can be connected to.
    #[error("`port`: expected a whole number from 1 to 65535")]
    Port,
    /// Not a number of bytes.
    #[error("`left`: expected a number of bytes")]
    Left,
    /// A proxy named no address.
    #[error("the proxy did not send the address of the client")]
    Address,
}
