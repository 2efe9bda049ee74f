//! The operations of a storage, as errors, metrics and traces name them.

use std::fmt;

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, $class:ident;)*) => {
        /// What a storage was asked to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$doc])* $variant,)*
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in errors, metrics and traces: `put_peer`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            const fn class(self) -> Class {
                match self {
                    $(Self::$variant => Class::$class,)*
                }
            }
        }
    };
}

#[derive(PartialEq, Eq)]
enum Class {
    Read,
    Write,
    LongRead,
    LongWrite,
}

operations! {
    /// A peer announces: [`PeerStorage::put_peer`](crate::PeerStorage::put_peer).
    PutPeer => "put_peer", Write;
    /// A peer leaves a role.
    DeletePeer => "delete_peer", Write;
    /// A peer leaves, in whichever role it is.
    RemovePeer => "remove_peer", Write;
    /// A client has everything now: [`PeerStorage::graduate_peers`](crate::PeerStorage::graduate_peers).
    GraduatePeers => "graduate_peers", Write;
    /// Peers for an announce.
    AnnouncePeers => "announce_peers", Read;
    /// Counts of one swarm.
    ScrapeSwarm => "scrape_swarm", Read;
    /// Counts of several swarms.
    ScrapeSwarms => "scrape_swarms", Read;
    /// Writes of many peers, each with its time.
    WritePeers => "write_peers", Write;
    /// What is stored of a peer.
    FindPeer => "find_peer", Read;
    /// What is stored of several swarms.
    ReadSwarms => "read_swarms", Read;
    /// A whole announce: [`PeerStorage::announce`](crate::PeerStorage::announce).
    Announce => "announce", Write;
    /// Data is written.
    PutData => "put_data", Write;
    /// Data is read.
    LoadData => "load_data", Read;
    /// Data is looked for.
    ContainsData => "contains_data", Read;
    /// Data is removed.
    DeleteData => "delete_data", Write;
    /// Stale peers are removed.
    CollectGarbage => "collect_garbage", LongWrite;
    /// All swarms and peers are counted.
    Statistics => "statistics", LongRead;
    /// Counts that are kept of swarms are compared with the peers that are there.
    CheckCounts => "check_counts", LongRead;
    /// A page of swarms with their counts is read.
    ListSwarms => "list_swarms", LongRead;
    /// A swarm is removed.
    ForgetSwarm => "forget_swarm", LongWrite;
    /// Each query is run once, and what it did is taken back.
    CheckQueries => "check_queries", LongRead;
    /// Destructive queries are tried on rows of their own.
    CheckQueryScope => "check_query_scope", LongRead;
    /// A page of peers is read.
    ExportPeers => "export_peers", LongRead;
    /// A page of downloads is read.
    ExportDownloads => "export_downloads", LongRead;
    /// A page of data is read.
    ExportData => "export_data", LongRead;
    /// Peers are taken in.
    ImportPeers => "import_peers", LongWrite;
    /// Downloads are taken in.
    ImportDownloads => "import_downloads", LongWrite;
    /// Data is taken in.
    ImportData => "import_data", LongWrite;
    /// Whether the server responds is checked.
    Ping => "ping", Read;
    /// A write is tried that leaves no trace.
    Probe => "probe", Read;
    /// The server and what is configured are described.
    Diagnostics => "diagnostics", LongRead;
    /// The storage is opened.
    Open => "open", LongRead;
    /// The storage is closed.
    Close => "close", LongRead;
}

impl Operation {
    /// Whether it changes what is stored.
    pub fn is_write(self) -> bool {
        matches!(self.class(), Class::Write | Class::LongWrite)
    }

    /// Whether it may rightly take long: maintenance and transfer, as opposed to what a peer waits for.
    pub fn is_long(self) -> bool {
        matches!(self.class(), Class::LongRead | Class::LongWrite)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
