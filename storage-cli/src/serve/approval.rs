//! Which torrents the tracker serves: a list of info hashes in the storage's data.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use storage_core::{Context, DataStorage, InfoHash, Result, Storage};
use tokio::time::timeout;

/// A list of info hashes, kept as keys of a context of the data; the values don't matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Approval {
    /// The context.
    pub(crate) context: Context,
    /// Whether the list names the torrents that are not served.
    pub(crate) inverted: bool,
}

/// The bytes of a v2 info hash that clients send where only 20 fit (BEP 52).
const TRUNCATED: usize = 20;

/// How much data is read to find out that a list is empty: pages, and entries of a page.
const PAGES: usize = 10;
const PAGE: usize = 1_000;

/// How long that may take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(2);

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context, inverted } = self;
        let which = if *inverted { "all torrents but those" } else { "only torrents" };
        write!(f, "{which} listed in the context {context}")
    }
}

impl Approval {
    /// For each info hash, whether it is served. A v2 info hash is on the list also where its first 20
    /// bytes are.
    ///
    /// # Errors
    /// Those of the storage; nothing is to be served then.
    pub(crate) async fn of(
        &self,
        storage: &(impl DataStorage + ?Sized),
        info_hashes: &[InfoHash],
    ) -> Result<Vec<bool>> {
        let keys: Vec<_> = info_hashes.iter().flat_map(keys_of).collect();
        let mut listed = storage.contains_data(&self.context, &keys).await?.into_iter();
        let is_listed = |info_hash| {
            let its_keys = listed.by_ref().take(keys_of(info_hash).count());
            its_keys.fold(false, |any, is| any | is)
        };
        Ok(info_hashes.iter().map(is_listed).map(|is_listed| is_listed != self.inverted).collect())
    }

    /// A warning if no torrent can be served because the list is empty; a context with another name may hold it.
    /// Storages with much data, slow ones and those that cannot export it are not searched to the end.
    pub(crate) async fn empty_warning(&self, storage: &dyn Storage) -> Option<String> {
        if self.inverted {
            return None;
        }
        let others = timeout(SEARCH_TIMEOUT, self.contexts_if_empty(storage)).await.ok().flatten()?;
        let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        Some(format!(
            "`approval.context`: no torrent is served, since the context {} is empty; contexts with data: {others}",
            self.context
        ))
    }

    /// Some contexts that have data, if that of the list has none.
    async fn contexts_if_empty(&self, storage: &dyn Storage) -> Option<Vec<String>> {
        let (mut from, mut others) = (None, BTreeSet::new());
        for _ in 0..PAGES {
            let page = storage.export_data(from.as_ref(), PAGE).await.ok()?;
            if page.records.iter().any(|record| record.context == self.context) {
                return None;
            }
            others.extend(page.records.into_iter().map(|record| record.context.to_string()));
            from = page.next;
            if from.is_none() {
                return Some(others.into_iter().take(10).collect());
            }
        }
        None
    }
}

fn keys_of(info_hash: &InfoHash) -> impl Iterator<Item = Bytes> + use<> {
    let whole = Bytes::copy_from_slice(info_hash.as_bytes());
    let truncated = (whole.len() > TRUNCATED).then(|| whole.slice(..TRUNCATED));
    std::iter::once(whole).chain(truncated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_memory::{MemoryConfig, MemoryStorage};

    const LISTED_V1: InfoHash = InfoHash::V1([1; 20]);
    const LISTED_V2: InfoHash = InfoHash::V2([2; 32]);
    const LISTED_TRUNCATED: InfoHash = InfoHash::V2([1; 32]);
    const OTHER_V1: InfoHash = InfoHash::V1([3; 20]);
    const OTHER_V2: InfoHash = InfoHash::V2([3; 32]);

    async fn of(inverted: bool) -> Vec<bool> {
        let storage = MemoryStorage::new(MemoryConfig::default());
        let context = Context::new("approved").unwrap();
        let entry = |info_hash: InfoHash| (Bytes::copy_from_slice(info_hash.as_bytes()), Bytes::new());
        storage.put_data(&context, &[entry(LISTED_V1), entry(LISTED_V2)]).await.unwrap();
        let asked = [LISTED_V1, OTHER_V2, LISTED_V2, OTHER_V1, LISTED_TRUNCATED];
        Approval { context, inverted }.of(&storage, &asked).await.unwrap()
    }

    #[tokio::test]
    async fn an_allow_list_serves_what_is_on_it() {
        assert_eq!(of(false).await, [true, false, true, false, true]);
    }

    #[tokio::test]
    async fn a_deny_list_serves_what_is_not_on_it() {
        assert_eq!(of(true).await, [false, true, false, true, false]);
    }
}
