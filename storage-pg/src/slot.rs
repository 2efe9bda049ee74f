//! The places in the configuration where an operator writes a query, and what each must take and
//! give.

use storage_core::{Capability, Operation};

use crate::argument::Argument;
use crate::kind::Reading;

use Argument as A;

/// What is written at a place: its key, its arguments, what it returns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The configuration key.
    pub(crate) key: &'static str,
    /// What may be used by name.
    pub(crate) named: &'static [Argument],
    /// What may be used by number, in this order.
    pub(crate) positional: &'static [Argument],
    /// What is read from the result.
    pub(crate) result: &'static [Reading],
    /// Whether it is about many rows at once: every argument is an array then.
    pub(crate) takes_arrays: bool,
}

const PEER: [Argument; 7] = [A::InfoHash, A::PeerId, A::Address, A::Port, A::IsSeeder, A::IsV6, A::Created];

const PUT: [Argument; 8] =
    [A::InfoHash, A::PeerId, A::Address, A::Port, A::IsSeeder, A::IsV6, A::Created, A::Expires];

macro_rules! slots {
    ($($name:ident = $key:literal, named $named:expr, positional $positional:expr, result [$($reading:ident),*];)*) => {
        $(pub(crate) const $name: Slot = Slot {
            key: $key,
            named: &$named,
            positional: &$positional,
            result: &[$(Reading::$reading),*],
            takes_arrays: false,
        };)*
    };
}

slots! {
    ANNOUNCE = "announce.query",
        named [A::InfoHash, A::IsSeeder, A::IsV6, A::Count, A::Sample],
        positional [A::InfoHash, A::IsSeeder, A::IsV6, A::Count, A::Sample],
        result [Bytes, Address, Integer];
    PUT_PEER = "peer.add_query", named PUT, positional PUT, result [];
    DELETE_PEER = "peer.del_query",
        named [A::InfoHash, A::PeerId, A::Address, A::Port, A::IsSeeder, A::IsV6, A::Expires],
        positional [A::InfoHash, A::PeerId, A::Address, A::Port, A::IsSeeder, A::Expires],
        result [];
    GRADUATE = "peer.graduate_query",
        named [A::InfoHash, A::PeerId, A::Address, A::Port, A::Created, A::IsV6],
        positional [A::InfoHash, A::PeerId, A::Address, A::Port, A::Created],
        result [];
    COUNT_ALL = "peer.count_query", named [], positional [], result [Integer, Integer];
    COUNT_SWARM = "peer.by_info_hash_clause",
        named [A::InfoHash], positional [A::InfoHash], result [Integer, Integer];
    NEWEST_PEER = "peer.newest_query", named [], positional [], result [Time];
    FORGET_PEERS = "peer.forget_query", named [A::InfoHash], positional [A::InfoHash], result [];
    GET_DOWNLOADS = "downloads.get_query", named [A::InfoHash], positional [A::InfoHash], result [Integer];
    INCREMENT_DOWNLOADS = "downloads.inc_query", named [A::InfoHash], positional [A::InfoHash], result [];
    DELETE_DOWNLOADS = "downloads.del_query", named [A::InfoHash], positional [A::InfoHash], result [];
    PUT_DATA = "data.add_query",
        named [A::Context, A::Key, A::Value, A::Expires],
        positional [A::Context, A::Key, A::Value, A::Expires],
        result [];
    DELETE_DATA = "data.del_query",
        named [A::Context, A::Keys, A::Expires], positional [A::Context, A::Keys, A::Expires], result [];
    GET_DATA = "data.get_query", named [A::Context, A::Key], positional [A::Context, A::Key], result [Bytes];
    PING = "ping_query", named [], positional [], result [];
    COLLECT_GARBAGE = "gc_query", named [A::Created, A::Limit], positional [A::Created, A::Limit], result [];
    COUNT_STALE = "gc_count_query", named [A::Created], positional [A::Created], result [Integer];
    COUNT_INFO_HASHES = "info_hash_count_query", named [], positional [], result [Integer];
    EXPORT_PEERS = "export.peers_query",
        named [A::InfoHash, A::PeerId, A::Address, A::Port, A::Count],
        positional [A::InfoHash, A::PeerId, A::Address, A::Port, A::Count],
        result [Bytes, Bytes, Address, Integer, Boolean, Time];
    EXPORT_DOWNLOADS = "export.downloads_query",
        named [A::InfoHash, A::Count], positional [A::InfoHash, A::Count], result [Bytes, Integer];
    EXPORT_DATA = "export.data_query",
        named [A::Context, A::Key, A::Count],
        positional [A::Context, A::Key, A::Count],
        result [Text, Bytes, Bytes];
    IMPORT_PEERS = "import.peers_query", named PEER, positional PEER, result [];
    IMPORT_DOWNLOADS = "import.downloads_query",
        named [A::InfoHash, A::Count], positional [A::InfoHash, A::Count], result [];
    IMPORT_DATA = "import.data_query",
        named [A::Context, A::Key, A::Value], positional [A::Context, A::Key, A::Value], result [];
}

/// Many at once, with arrays for the arguments of the query for one.
pub(crate) const IMPORT_PEERS_BATCH: Slot = IMPORT_PEERS.batched("import.peers_batch_query");
pub(crate) const IMPORT_DOWNLOADS_BATCH: Slot = IMPORT_DOWNLOADS.batched("import.downloads_batch_query");
pub(crate) const IMPORT_DATA_BATCH: Slot = IMPORT_DATA.batched("import.data_batch_query");

/// For the calls of many tasks together.
pub(crate) const PUT_PEERS: Slot = PUT_PEER.batched("peer.add_batch_query");
pub(crate) const DELETE_PEERS: Slot = Slot {
    key: "peer.del_batch_query",
    named: &[A::Request, A::InfoHash, A::PeerId, A::Address, A::Port, A::IsSeeder, A::IsV6, A::Expires],
    positional: &[A::Request, A::InfoHash, A::PeerId, A::Address, A::Port, A::IsSeeder, A::Expires],
    result: &[Reading::Integer],
    takes_arrays: true,
};
pub(crate) const GRADUATE_PEERS: Slot = Slot {
    key: "peer.graduate_batch_query",
    named: &[A::Request, A::InfoHash, A::PeerId, A::Address, A::Port, A::IsV6, A::Created, A::Expires],
    positional: &[A::Request, A::InfoHash, A::PeerId, A::Address, A::Port, A::IsV6, A::Created, A::Expires],
    result: &[Reading::Integer, Reading::Boolean],
    takes_arrays: true,
};
pub(crate) const CONTAINS_DATA: Slot = Slot {
    key: "data.contains_batch_query",
    named: &[A::Request, A::Context, A::Key],
    positional: &[A::Request, A::Context, A::Key],
    result: &[Reading::Integer],
    takes_arrays: true,
};
pub(crate) const ANNOUNCE_BATCH: Slot = Slot {
    key: "announce.batch_query",
    named: &[A::Request, A::InfoHash, A::ForSeeder, A::IsV6, A::Sample, A::Limit],
    positional: &[A::Request, A::InfoHash, A::ForSeeder, A::IsV6, A::Sample, A::Limit],
    result: &[Reading::Integer, Reading::ManyBytes, Reading::ManyAddresses, Reading::ManyIntegers],
    takes_arrays: true,
};
pub(crate) const COUNT_BATCH: Slot = Slot {
    key: "peer.count_batch_query",
    named: &[A::Request, A::InfoHash],
    positional: &[A::Request, A::InfoHash],
    result: &[Reading::Integer, Reading::Integer, Reading::Integer, Reading::Integer],
    takes_arrays: true,
};

impl Slot {
    /// Whether an argument is an array here. The limit of a batch is one for all its calls.
    pub(crate) fn takes_array_of(&self, argument: Argument) -> bool {
        argument == A::Keys || self.takes_arrays && argument != A::Limit
    }

    /// Whether the query writes: those return nothing, but the deletion and the graduation of many. A ping returns
    /// nothing either.
    pub(crate) fn writes(&self) -> bool {
        let returns_nothing = self.result.is_empty() && self.key != PING.key;
        returns_nothing || [DELETE_PEERS.key, GRADUATE_PEERS.key].contains(&self.key)
    }

    const fn batched(self, key: &'static str) -> Self {
        Self { key, takes_arrays: true, ..self }
    }

    /// The capabilities that need this query.
    pub(crate) fn capabilities(&self) -> &'static [Capability] {
        match self.key {
            "downloads.get_query" | "downloads.inc_query" => &[Capability::Downloads],
            "downloads.del_query" => &[Capability::ForgetDownloads],
            "gc_query" => &[Capability::GarbageCollection],
            "info_hash_count_query" => &[Capability::Statistics],
            "export.peers_query" => &[Capability::ExportPeers],
            "export.downloads_query" => &[Capability::ExportDownloads],
            "export.data_query" => &[Capability::ExportData],
            "import.peers_query" => &[Capability::ImportPeers],
            "import.downloads_query" => &[Capability::ImportDownloads],
            "import.data_query" => &[Capability::ImportData],
            _ => &[],
        }
    }
}

/// The query that decides how an operation behaves.
pub(crate) fn responsible_for(operation: Operation) -> Option<Slot> {
    Some(match operation {
        Operation::PutPeer | Operation::WritePeers => PUT_PEER,
        Operation::DeletePeer | Operation::RemovePeer => DELETE_PEER,
        Operation::GraduatePeers => GRADUATE,
        Operation::AnnouncePeers | Operation::Announce => ANNOUNCE,
        Operation::ScrapeSwarm | Operation::ScrapeSwarms => COUNT_SWARM,
        Operation::PutData => PUT_DATA,
        Operation::LoadData | Operation::ContainsData => GET_DATA,
        Operation::DeleteData => DELETE_DATA,
        Operation::CollectGarbage => COLLECT_GARBAGE,
        Operation::Statistics => COUNT_INFO_HASHES,
        Operation::ForgetSwarm => DELETE_DOWNLOADS,
        Operation::ExportPeers | Operation::FindPeer | Operation::ReadSwarms => EXPORT_PEERS,
        Operation::ExportDownloads => EXPORT_DOWNLOADS,
        Operation::ExportData => EXPORT_DATA,
        Operation::ImportPeers => IMPORT_PEERS,
        Operation::ImportDownloads => IMPORT_DOWNLOADS,
        Operation::ImportData => IMPORT_DATA,
        Operation::Ping => PING,
        Operation::Probe => PUT_PEER,
        Operation::Rehearse | Operation::Inspect | Operation::Open | Operation::Close => return None,
    })
}
