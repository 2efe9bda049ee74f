//! The arguments that queries may use, by their names in the configuration.

use std::fmt;

/// A value that we hand to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    InfoHash,
    PeerId,
    Address,
    Port,
    IsSeeder,
    IsV6,
    Created,
    /// The time by the server's clock from which on a write must not take effect any more.
    Expires,
    Count,
    Context,
    Key,
    /// Several keys as an array; named as [`Argument::Key`] is.
    Keys,
    Value,
    /// A random number from 0 to 2³¹ - 1, new for each call: where a sample begins.
    Sample,
    /// How many rows a piece of a large deletion may have, or the most that any call of a batch wants.
    Limit,
    /// Whether the peers are for a seeder, who needs no other seeders.
    ForSeeder,
    /// The number of a call in its batch, by which its answer is found.
    Request,
}

impl Argument {
    /// The name, without the `@`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InfoHash => "info_hash",
            Self::PeerId => "peer_id",
            Self::Address => "address",
            Self::Port => "port",
            Self::IsSeeder => "is_seeder",
            Self::IsV6 => "is_v6",
            Self::Created => "created",
            Self::Expires => "expires",
            Self::Count => "count",
            Self::Context => "context",
            Self::Key | Self::Keys => "key",
            Self::Value => "value",
            Self::Sample => "sample",
            Self::Limit => "limit",
            Self::ForSeeder => "for_seeder",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.name())
    }
}
