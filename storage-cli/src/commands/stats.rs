//! `stats`: how much a storage holds.

use serde::Serialize;
use storage_core::{Registry, Statistics};

use crate::arguments::StatsArguments;
use crate::exit::{Exit, Failure};
use crate::open::Configured;
use crate::output::{Output, note};

/// The storage made of two.
const MIRROR: &str = "mirror";

/// Why its counts don't tell of the tracker.
const OF_THIS_PROCESS: &str = "note: queued, applied and missed writes are those of this command, which writes \
                               nothing; the running tracker's are in its metrics \
                               (tracker_storage_mirror_missed_writes_total on each node must not have risen \
                               since the last migrate began)";

#[derive(Serialize)]
struct Counts {
    info_hashes: u64,
    seeders: u64,
    leechers: u64,
}

/// Counts and prints.
pub(crate) async fn run(
    registry: &Registry,
    arguments: &StatsArguments,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let configured = Configured::read(registry.clone(), &arguments.storage)?;
    let storage = configured.open().await?.storage;
    let counted = storage.statistics().await.map_err(|error| configured.failed(&error))?;
    let Statistics { info_hashes, seeders, leechers } = counted;
    if arguments.json {
        output.json(&Counts { info_hashes, seeders, leechers })?;
    } else {
        let rows = [("info hashes", info_hashes), ("seeders", seeders), ("leechers", leechers)];
        let mut rows: Vec<_> = rows.map(|(item, count)| [item.to_owned(), count.to_string()]).into();
        if storage.name() == MIRROR {
            // Whether it may be switched is what its operator wants to know.
            let inspection = storage.inspect().await.map_err(|error| configured.failed(&error))?;
            rows.extend(inspection.findings.into_iter().map(|(item, finding)| [item, finding]));
            note(OF_THIS_PROCESS);
        }
        output.table(rows)?;
    }
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(Exit::Success)
}
