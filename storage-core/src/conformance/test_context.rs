//! What a case runs with: the storage, and swarms and data of its own, which are removed when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use super::{CaseError, CaseResult, Provider, is_alone};
use crate::{Context, ErrorKind, InfoHash, Result, Storage};

/// What a case runs with. Info hashes and contexts taken from it are unused, and removed when the case ends.
pub struct TestContext {
    storage: Arc<dyn Storage>,
    provider: Arc<dyn Provider>,
    used: Mutex<Used>,
    tasks: watch::Sender<()>,
}

#[derive(Default)]
struct Used {
    info_hashes: BTreeSet<InfoHash>,
    data: BTreeMap<Context, BTreeSet<Bytes>>,
    nodes: Vec<Arc<dyn Storage>>,
}

impl TestContext {
    pub(super) fn new(storage: Arc<dyn Storage>, provider: Arc<dyn Provider>) -> Self {
        Self { storage, provider, used: Mutex::default(), tasks: watch::Sender::default() }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The storage under test.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Whether nobody else uses the storage.
    pub fn is_exclusive(&self) -> bool {
        is_alone(&*self.provider)
    }

    /// Whether each opening gives an empty storage of its own.
    pub fn is_private(&self) -> bool {
        self.provider.is_private()
    }

    /// Skips the case where others use the storage too.
    pub fn only_if_exclusive(&self) -> CaseResult {
        self.skip_unless(self.is_exclusive(), "others use the storage, and this counts all that is in it")
    }

    /// Skips the case where openings share nothing.
    pub fn only_if_shared(&self) -> CaseResult {
        self.skip_unless(!self.is_private(), "each opening has a storage of its own")?;
        self.skip_unless(!self.is_for_one_node(), "the storage is for one node")
    }

    /// Whether no other node may use the storage.
    fn is_for_one_node(&self) -> bool {
        self.storage.visible_within() == Duration::MAX
    }

    /// Skips the case unless a condition holds.
    pub fn skip_unless(&self, holds: bool, reason: &str) -> CaseResult {
        if holds { Ok(()) } else { Err(CaseError::Skipped(reason.to_owned())) }
    }

    /// The storage as one more node opens it; the same one where openings share nothing.
    pub async fn another_node(&self) -> CaseResult<Arc<dyn Storage>> {
        if self.is_private() || self.is_for_one_node() {
            return Ok(Arc::clone(&self.storage));
        }
        self.handle_to_close().await
    }

    /// One more opening that the case may close. Where openings share nothing it is another storage.
    pub async fn handle_to_close(&self) -> CaseResult<Arc<dyn Storage>> {
        let opened = self.provider.open().await;
        let opened = opened.map_err(|error| CaseError::could_not("open the storage once more", &error))?;
        self.used().nodes.push(Arc::clone(&opened));
        Ok(opened)
    }

    /// A new v1 info hash.
    pub fn info_hash(&self) -> InfoHash {
        self.adopt(InfoHash::V1(rand::random()))
    }

    /// A new v1 info hash and the v2 info hash that begins with it.
    pub fn twin_info_hashes(&self) -> (InfoHash, InfoHash) {
        let long: [u8; 32] = rand::random();
        let mut short = [0; 20];
        short.copy_from_slice(&long[..20]);
        (self.adopt(InfoHash::V1(short)), self.adopt(InfoHash::V2(long)))
    }

    /// Sees to it that a swarm is removed at the end.
    pub fn adopt(&self, info_hash: InfoHash) -> InfoHash {
        self.used().info_hashes.insert(info_hash);
        info_hash
    }

    /// A new context.
    pub fn context(&self) -> CaseResult<Context> {
        self.context_named(&format!("conformance-{:032x}", rand::random::<u128>()))
    }

    /// The context of this name. Others may use it: take [random keys](Self::key).
    pub fn context_named(&self, name: &str) -> CaseResult<Context> {
        let did = format!("make the context {name:?}");
        Context::new(name).map_err(|error| CaseError::could_not(&did, &error))
    }

    /// A new key of 16 bytes.
    pub fn key(&self) -> Bytes {
        Bytes::copy_from_slice(&rand::random::<[u8; 16]>())
    }

    /// Puts data and sees to it that it is removed at the end.
    pub async fn put_data(&self, context: &Context, entries: &[(Bytes, Bytes)]) -> CaseResult {
        self.adopt_data(context, entries.iter().map(|(key, _)| key.clone()));
        self.ok("put data", self.storage.put_data(context, entries).await)
    }

    /// Sees to it that data is removed at the end.
    pub fn adopt_data(&self, context: &Context, keys: impl IntoIterator<Item = Bytes>) {
        self.used().data.entry(context.clone()).or_default().extend(keys);
    }

    /// Makes calls at the same time, each in a task of its own, and gives their results in order.
    pub async fn at_once<T: Send + 'static>(
        &self,
        calls: impl IntoIterator<Item: Future<Output = T> + Send + 'static>,
    ) -> CaseResult<Vec<T>> {
        let calls: Vec<_> = calls.into_iter().collect();
        let start = Arc::new(Barrier::new(calls.len()));
        let mut tasks = JoinSet::new();
        for (place, call) in calls.into_iter().enumerate() {
            let (start, running) = (Arc::clone(&start), self.tasks.subscribe());
            tasks.spawn(async move {
                let _running = running;
                start.wait().await;
                (place, call.await)
            });
        }
        let mut results = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            results.push(joined.map_err(|error| match error.try_into_panic() {
                Ok(panic) => CaseError::panicked("make calls at the same time", &*panic),
                Err(error) => CaseError::could_not("make calls at the same time", &error),
            })?);
        }
        results.sort_by_key(|(place, _)| *place);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// Removes all that the case used, as far as the storage can.
    pub(super) async fn clean_up(&self) -> CaseResult {
        self.tasks.closed().await;
        let used = std::mem::take(&mut *self.used());
        let mut removed = used.remove_from(&*self.storage).await;
        if removed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed) {
            removed = if self.is_private() {
                Ok(())
            } else {
                let reopened = self.provider.open().await;
                let reopened =
                    reopened.map_err(|error| CaseError::could_not("open the storage to clean up", &error))?;
                let removed = used.remove_from(&*reopened).await;
                removed.and(reopened.close().await)
            };
        }
        for node in used.nodes {
            removed = removed.and(node.close().await);
        }
        self.ok("clean up", removed)
    }
}

impl Used {
    /// Removes everything that can be removed, and gives the first error.
    async fn remove_from(&self, storage: &dyn Storage) -> Result<()> {
        let mut removed = Ok(());
        for info_hash in &self.info_hashes {
            removed = removed.and(storage.forget_swarm(info_hash).await.map(drop));
        }
        for (context, keys) in &self.data {
            let keys: Vec<_> = keys.iter().cloned().collect();
            removed = removed.and(storage.delete_data(context, &keys).await);
        }
        removed
    }
}
