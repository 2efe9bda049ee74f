//! What must hold whatever the fault: functions that return violations.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage_core::{Cursor, ExportScope, InfoHash, Page, Peer, Result, Role, Storage};
use tokio::time::Instant;

use super::client_log::{CallKind, CallOutcome, ClientLog, RecordedCall, state_name};

/// What a call may take beyond `operation_timeout`.
const ALLOWANCE: Duration = Duration::from_millis(300);
/// What service may take to be back beyond `operation_timeout`.
const BACK_WITHIN: Duration = Duration::from_secs(1);
/// A call that is not answered after this time, without any fault, hangs.
const OVERDUE: Duration = Duration::from_millis(400);
/// The longest that a close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// How long connections may take to be closed after the load.
const SETTLE: Duration = Duration::from_secs(5);
/// The most violations of one kind that are reported one by one.
const EXAMPLES: usize = 3;
const PAGE: usize = 1000;

/// Everything that a storage holds.
#[derive(Debug, Default)]
pub struct StoredContents {
    /// Peers and their roles.
    pub peers: HashMap<(InfoHash, Peer), Role>,
    /// Downloads of swarms.
    pub downloads: BTreeMap<InfoHash, u64>,
    /// Data, of whatever context.
    pub data: BTreeMap<Bytes, Bytes>,
}

impl StoredContents {
    /// Reads everything, in pages.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn export(storage: &dyn Storage) -> Result<Self> {
        let mut contents = Self::default();
        let mut cursor = None;
        while let Some(page) =
            next(&mut cursor, async |from| storage.export_peers(ExportScope::All, from, PAGE).await).await?
        {
            contents.peers.extend(page.into_iter().map(|it| ((it.info_hash, it.peer), it.role)));
        }
        let mut cursor = None;
        while let Some(page) =
            next(&mut cursor, async |from| storage.export_downloads(from, PAGE).await).await?
        {
            contents.downloads.extend(page.into_iter().map(|it| (it.info_hash, it.downloads)));
        }
        let mut cursor = None;
        while let Some(page) = next(&mut cursor, async |from| storage.export_data(from, PAGE).await).await? {
            contents.data.extend(page.into_iter().map(|it| (it.key, it.value)));
        }
        Ok(contents)
    }
}

/// Where the next page begins; `Some(None)` after the last.
type ExportPosition = Option<Option<Cursor>>;

async fn next<T>(
    position: &mut ExportPosition,
    page: impl AsyncFnOnce(Option<&Cursor>) -> Result<Page<T>>,
) -> Result<Option<Vec<T>>> {
    let from = match position {
        None => None,
        Some(None) => return Ok(None),
        Some(Some(cursor)) => Some(&*cursor),
    };
    let page = page(from).await?;
    *position = Some(page.next);
    Ok(Some(page.records))
}

/// Every peer, swarm and entry of data is in a state that the log allows.
pub fn contents_match(log: &ClientLog, contents: &StoredContents) -> Vec<String> {
    let mut peers = Vec::new();
    let mut known = 0;
    for peer in &log.peers {
        let found = contents.peers.get(&(peer.info_hash, peer.peer)).copied();
        known += usize::from(found.is_some());
        if !peer.may_be(found) {
            peers.push(format!("{peer}; found {}", state_name(found)));
        }
    }
    let unexpected = contents.peers.len() - known;
    if unexpected > 0 {
        peers.push(format!("{unexpected} peers that no client has put"));
    }
    let mut downloads = Vec::new();
    for (info_hash, expected) in &log.downloads {
        let found = contents.downloads.get(info_hash).copied().unwrap_or_default();
        if !(expected.least..=expected.greatest).contains(&found) {
            downloads.push(format!(
                "swarm {info_hash}: {found} downloads, between {} and {} were counted",
                expected.least, expected.greatest
            ));
        }
    }
    let wrong = log.data.iter().filter(|entry| !entry.may_be(contents.data.get(&entry.key)));
    let data = wrong.map(|entry| format!("{entry}; found {:?}", contents.data.get(&entry.key))).collect();
    [summed("peers", peers), summed("downloads", downloads), summed("data", data)].concat()
}

/// Answers match the log, whatever the fault.
pub fn answers(log: &ClientLog) -> Vec<String> {
    summed("answers", log.wrong_answers.clone())
}

/// No call takes longer than it may.
pub fn calls_in_time(log: &ClientLog, operation_timeout: Duration) -> Vec<String> {
    let limit = operation_timeout + ALLOWANCE + log.starvation;
    let slow = log.calls.iter().filter(|call| call.took > limit);
    let slow = slow.map(|call| format!("{} took {:?}, limit {limit:?}", call.kind.name(), call.took));
    summed("slow calls", slow.collect())
}

/// Every kind of call succeeds again soon after the fault, or after the server's return, and from then on, until
/// the next fault, every call is answered soon.
pub fn service_is_back(
    log: &ClientLog,
    fault: Instant,
    operation_timeout: Duration,
    next_fault: Instant,
) -> Vec<String> {
    let back = fault + operation_timeout + BACK_WITHIN + log.starvation;
    let mut late = Vec::new();
    for kind in CallKind::ALL {
        let successes = log.calls.iter().filter(|call| {
            call.kind == kind && call.outcome == CallOutcome::Acknowledged && call.ended() >= fault
        });
        let first = successes.map(RecordedCall::ended).min();
        if first.is_none_or(|first| first > back) {
            let when = first.map_or("never".to_owned(), |first| format!("after {:?}", first - fault));
            late.push(format!("{} succeeds again {when}", kind.name()));
        }
    }
    // A call that the next fault may have hit is not meant, unless it was overdue then.
    let failed = log.calls.iter().filter(|call| {
        let is_of_this_fault = call.ended() < next_fault || call.begun + OVERDUE < next_fault;
        call.begun > back && is_of_this_fault && call.outcome != CallOutcome::Acknowledged
    });
    let failed = failed.map(|call| {
        let error = call.error.as_deref().unwrap_or_default();
        let name = call.kind.name();
        format!("{name}, made {:?} after the fault, fails after {:?}: {error}", call.begun - fault, call.took)
    });
    [summed("service back late", late), summed("calls fail after the fault", failed.collect())].concat()
}

/// Closes a storage, in time.
pub async fn clean_close(storage: &Arc<dyn Storage>) -> Vec<String> {
    let begun = Instant::now();
    match tokio::time::timeout(CLOSE_WITHIN, storage.close()).await {
        Ok(Ok(())) => Vec::new(),
        Ok(Err(error)) => vec![format!("close fails after {:?}: {error:?}", begun.elapsed())],
        Err(_) => vec![format!("close takes longer than {CLOSE_WITHIN:?}")],
    }
}

/// A number comes down to its limit soon.
pub async fn at_most<E: std::fmt::Display>(
    what: &str,
    limit: usize,
    count: impl AsyncFn() -> Result<usize, E>,
) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let violation = match count().await {
            Ok(number) if number <= limit => return Vec::new(),
            Ok(number) => format!("{number} {what}, at most {limit}"),
            Err(error) => format!("{what} cannot be counted: {error}"),
        };
        if begun.elapsed() > SETTLE {
            return vec![violation];
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The first few of some violations, and how many there are.
fn summed(what: &str, violations: Vec<String>) -> Vec<String> {
    let number = violations.len();
    let examples = violations.into_iter().take(EXAMPLES).map(|violation| format!("{what}: {violation}"));
    let more = (number > EXAMPLES).then(|| format!("{what}: and {} more", number - EXAMPLES));
    examples.chain(more).collect()
}
