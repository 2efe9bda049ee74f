//! The API: what operators and sites read of a tracker, as JSON. Nothing here changes anything.

mod error;
mod parameters;
mod swarm_lists;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderName, X_CONTENT_TYPE_OPTIONS};
use serde::Serialize;
use storage_core::{
    Capability, InfoHash, MissingCapabilities, Storage, SwarmCounts, SwarmOrder, TaskSpawner,
};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use parameters::{ListKey, SwarmsQuery, cursor_text, no_parameters, read_info_hash};
use swarm_lists::SwarmLists;

pub(super) use error::{ApiError, ErrorCode};

/// The description of all paths of the admin address.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// Answers carry their age in them: nobody may keep them.
pub(super) const HEADERS: &[(HeaderName, &str)] =
    &[(CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// The description changes with the program alone.
pub(super) const OPENAPI_HEADERS: &[(HeaderName, &str)] =
    &[(CACHE_CONTROL, "max-age=300"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// Calls that read counts at once.
const SCRAPES: usize = 8;

/// How long such a call waits for its turn.
const SCRAPE_WAIT: Duration = Duration::from_secs(5);

/// Reads swarms for operators.
pub(super) struct SwarmReader {
    storage: Arc<dyn Storage>,
    lists: SwarmLists,
    scrapes: Semaphore,
}

/// The counts of a swarm. What the storage does not count is null.
#[derive(Debug, Serialize)]
struct SwarmJson {
    info_hash: InfoHash,
    seeders: u64,
    leechers: u64,
    downloads: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SwarmsJson {
    swarms: Vec<SwarmJson>,
    /// Where the next page begins; null after the last.
    next_cursor: Option<String>,
    /// How long ago the counts were read.
    age_seconds: u64,
}

impl SwarmReader {
    pub(super) fn new(storage: Arc<dyn Storage>, tasks: TaskSpawner) -> Self {
        let lists = SwarmLists::new(Arc::clone(&storage), tasks);
        Self { storage, lists, scrapes: Semaphore::new(SCRAPES) }
    }

    /// `/api/swarms`: a page of the list, or the counts of some swarms.
    pub(super) async fn swarms(&self, query: &[u8]) -> Result<Bytes, ApiError> {
        match SwarmsQuery::read(query)? {
            SwarmsQuery::Counts(info_hashes) => {
                let swarms = self.counts(&info_hashes).await?;
                json(&SwarmsJson { swarms, next_cursor: None, age_seconds: 0 })
            }
            SwarmsQuery::List(key) => self.list(&key).await,
        }
    }

    /// `/api/swarms/{info_hash}`: the counts of one swarm.
    pub(super) async fn swarm(&self, info_hash: &str, query: &[u8]) -> Result<Bytes, ApiError> {
        no_parameters(query)?;
        let counts = self.counts(&[read_info_hash(info_hash)?]).await?;
        counts.first().map_or_else(|| Err(ApiError::new(ErrorCode::StorageFailed, "no counts")), json)
    }

    async fn list(&self, key: &ListKey) -> Result<Bytes, ApiError> {
        let missing = self.storage.missing_capabilities();
        check(&missing, Capability::ListSwarms)?;
        if key.order == SwarmOrder::Downloads {
            check(&missing, Capability::Downloads)?;
        }
        let page = self.lists.page(key).await?;
        let has_downloads = missing.has(Capability::Downloads);
        let swarms =
            page.swarms.iter().map(|swarm| SwarmJson::new(swarm.info_hash, swarm.counts, has_downloads));
        json(&SwarmsJson {
            swarms: swarms.collect(),
            next_cursor: page.next.as_ref().map(|next| cursor_text(key.order, next)),
            age_seconds: self.storage.now().since(page.as_of).as_secs(),
        })
    }

    async fn counts(&self, info_hashes: &[InfoHash]) -> Result<Vec<SwarmJson>, ApiError> {
        let Ok(Ok(_permit)) = timeout(SCRAPE_WAIT, self.scrapes.acquire()).await else {
            return Err(ApiError::new(
                ErrorCode::Busy,
                format!("{SCRAPES} reads of counts are under way already"),
            ));
        };
        let counts = self.storage.scrape_swarms(info_hashes).await.map_err(|error| ApiError::from(&error))?;
        let has_downloads = self.storage.missing_capabilities().has(Capability::Downloads);
        let swarms = info_hashes.iter().zip(counts);
        Ok(swarms.map(|(info_hash, counts)| SwarmJson::new(*info_hash, counts, has_downloads)).collect())
    }
}

impl SwarmJson {
    fn new(info_hash: InfoHash, counts: SwarmCounts, has_downloads: bool) -> Self {
        let SwarmCounts { seeders, leechers, downloads } = counts;
        Self { info_hash, seeders, leechers, downloads: has_downloads.then_some(downloads) }
    }
}

/// Refuses what needs a capability that is missing.
fn check(missing: &MissingCapabilities, capability: Capability) -> Result<(), ApiError> {
    match missing.reason(capability) {
        Some(reason) => Err(ApiError::unsupported(capability, reason)),
        None => Ok(()),
    }
}

/// Takes no parameters, and answers with this.
pub(super) fn without_parameters(query: &[u8], answer: &impl Serialize) -> Result<Bytes, ApiError> {
    no_parameters(query)?;
    json(answer)
}

fn json(answer: &impl Serialize) -> Result<Bytes, ApiError> {
    let json = serde_json::to_vec(answer);
    json.map(Bytes::from).map_err(|error| ApiError::new(ErrorCode::StorageFailed, error.to_string()))
}
