//! Steps of a case that tell what went wrong.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{CaseError, CaseResult, TestContext};
use crate::{
    Context, Error, ErrorKind, InfoHash, Operation, Peer, PeerSelection, PeerStorageExt, Result, Role,
    Statistics, SwarmCounts, Timestamp, When,
};

/// How many calls are under way at once where many are made.
const CALLS_AT_ONCE: usize = 64;

/// How long a case waits for what must happen by itself.
const PATIENCE: Duration = Duration::from_secs(10);

impl TestContext {
    /// The value of a call that must succeed.
    pub fn ok<T>(&self, did: &str, result: Result<T>) -> CaseResult<T> {
        result.map_err(|error| CaseError::failed_call(did, &**self.storage(), &error))
    }

    /// The values of calls that must all succeed.
    pub fn all_ok<T>(&self, did: &str, results: Vec<Result<T>>) -> CaseResult<Vec<T>> {
        results.into_iter().map(|result| self.ok(did, result)).collect()
    }

    /// A call must fail in this way.
    pub fn fails<T: Debug>(
        &self,
        did: &str,
        operation: Operation,
        kind: ErrorKind,
        result: Result<T>,
    ) -> CaseResult<Error> {
        match result {
            Err(error) if error.kind() == kind => Ok(error),
            other => {
                let got = other.map_or_else(|error| format!("{error:?}"), |value| format!("{value:?}"));
                let expected = format!("the error {}", describe(kind));
                Err(CaseError::unexpected(did, &**self.storage(), operation, expected, got))
            }
        }
    }

    /// An answer must equal what is expected; `operation` is the one that would be to blame.
    pub fn equal<T: Debug + PartialEq>(
        &self,
        did: &str,
        operation: Operation,
        expected: T,
        got: T,
    ) -> CaseResult {
        if expected == got {
            return Ok(());
        }
        let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
        Err(CaseError::unexpected(did, &**self.storage(), operation, expected, got))
    }

    /// A condition must hold.
    pub fn holds(
        &self,
        did: &str,
        operation: Operation,
        expected: &str,
        holds: bool,
        got: impl Debug,
    ) -> CaseResult {
        if holds {
            return Ok(());
        }
        Err(CaseError::unexpected(did, &**self.storage(), operation, expected, format!("{got:?}")))
    }

    /// Puts a peer, now.
    pub async fn put(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> CaseResult {
        self.put_at(info_hash, peer, role, Timestamp::now()).await
    }

    /// Puts a peer that last announced at that time.
    pub async fn put_at(
        &self,
        info_hash: &InfoHash,
        peer: &Peer,
        role: Role,
        announced: Timestamp,
    ) -> CaseResult {
        let put = self.storage().put_peer(info_hash, peer, role, When::At(announced)).await;
        self.ok(&format!("put the {role} {peer}, last announced {announced}"), put)
    }

    /// Puts many peers, now.
    pub async fn put_many(
        &self,
        info_hash: &InfoHash,
        peers: impl IntoIterator<Item = Peer>,
        role: Role,
    ) -> CaseResult {
        let puts = peers.into_iter().map(|peer| async move { self.put(info_hash, &peer, role).await });
        let mut puts = stream::iter(puts.collect::<Vec<_>>()).buffer_unordered(CALLS_AT_ONCE);
        while puts.try_next().await?.is_some() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Deletes a peer that is there.
    pub async fn delete(&self, info_hash: &InfoHash, peer: &Peer, role: Role) -> CaseResult {
        let deleted = self.storage().delete_peer(info_hash, peer, role).await;
        self.ok(&format!("delete the {role} {peer}"), deleted)
    }

    /// Graduates a peer, now; whether it was a download.
    pub async fn graduate(&self, info_hash: &InfoHash, peer: &Peer) -> CaseResult<bool> {
        let graduated = self.storage().graduate_peer(info_hash, peer, When::Now).await;
        self.ok(&format!("graduate {peer}"), graduated)
    }

    /// Collects garbage; gives the number of peers removed.
    pub async fn collect(&self, cutoff: Timestamp) -> CaseResult<u64> {
        let collected = self.storage().collect_garbage(cutoff).await;
        Ok(self.ok(&format!("collect garbage up to {cutoff}"), collected)?.removed)
    }

    /// The counts of a swarm.
    pub async fn scrape(&self, info_hash: &InfoHash) -> CaseResult<SwarmCounts> {
        self.ok("scrape", self.storage().scrape_swarm(info_hash).await)
    }

    /// A scrape must give these counts of seeders and leechers; `operation` is the one before it that
    /// would be to blame.
    pub async fn counts(
        &self,
        did: &str,
        operation: Operation,
        info_hash: &InfoHash,
        seeders: u64,
        leechers: u64,
    ) -> CaseResult {
        let found = self.scrape(info_hash).await?;
        let expected = count_text(seeders, leechers);
        let got = count_text(found.seeders, found.leechers);
        self.holds(did, operation, &expected, expected == got, format_args!("{got}"))
    }

    /// A scrape must give these counts before long.
    pub async fn counts_in_the_end(
        &self,
        did: &str,
        operation: Operation,
        info_hash: &InfoHash,
        seeders: u64,
        leechers: u64,
    ) -> CaseResult {
        let arrival = async {
            while self.counts(did, operation, info_hash, seeders, leechers).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, arrival).await {
            Ok(()) => Ok(()),
            Err(_) => self.counts(did, operation, info_hash, seeders, leechers).await,
        }
    }

    /// A scrape must give this number of downloads.
    pub async fn downloads(
        &self,
        did: &str,
        operation: Operation,
        info_hash: &InfoHash,
        downloads: u64,
    ) -> CaseResult {
        let found = self.scrape(info_hash).await?.downloads;
        let expected = format!("{downloads} downloads");
        self.holds(did, operation, &expected, found == downloads, found)
    }

    /// The peers of an announce in the order they came.
    pub async fn announce(&self, selection: &PeerSelection) -> CaseResult<Vec<Peer>> {
        self.ok("announce", self.storage().announce_peers(selection).await)
    }

    /// An announce must give these peers in any order, and no other.
    pub async fn finds(
        &self,
        did: &str,
        operation: Operation,
        selection: &PeerSelection,
        expected: impl IntoIterator<Item = Peer>,
    ) -> CaseResult {
        let mut expected: Vec<_> = expected.into_iter().collect();
        let mut found = self.announce(selection).await?;
        expected.sort();
        found.sort();
        self.equal(did, operation, expected, found)
    }

    /// The key must have this value, or be absent.
    pub async fn loads(
        &self,
        did: &str,
        operation: Operation,
        context: &Context,
        key: &[u8],
        expected: Option<&[u8]>,
    ) -> CaseResult {
        let found = self.ok("load data", self.storage().load_data(context, key).await)?;
        let (expected_text, got) = (value_text(expected), value_text(found.as_deref()));
        self.holds(did, operation, &expected_text, expected == found.as_deref(), format_args!("{got}"))
    }

    /// For each key whether it is there.
    pub async fn contains(&self, context: &Context, keys: &[Bytes]) -> CaseResult<Vec<bool>> {
        self.ok("look for data", self.storage().contains_data(context, keys).await)
    }

    /// The statistics.
    pub async fn statistics(&self) -> CaseResult<Statistics> {
        self.ok("take statistics", self.storage().statistics().await)
    }
}

fn describe(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::Unsupported(capability) => format!("unsupported `{capability}`"),
        kind => kind.name().to_owned(),
    }
}

fn count_text(seeders: u64, leechers: u64) -> String {
    format!("{seeders} seeders, {leechers} leechers")
}

/// A value of the suite's own, cut short.
fn value_text(value: Option<&[u8]>) -> String {
    const SHOWN: usize = 32;
    match value {
        None => "no value".into(),
        Some([]) => "an empty value".into(),
        Some(bytes) if bytes.len() <= SHOWN => format!("b\"{}\"", bytes.escape_ascii()),
        Some(bytes) => format!("{} bytes, b\"{}…\"", bytes.len(), bytes[..SHOWN].escape_ascii()),
    }
}
