//! What a cache tells of itself, for people to read.

use storage_core::{CacheStatus, Diagnostics};

/// Diagnostics of the storage inside, and of what is in memory.
pub(crate) fn diagnostics(
    name: &str,
    inside: Diagnostics,
    is_durable: bool,
    waits_for_storage: bool,
    status: &CacheStatus,
) -> Diagnostics {
    let mut whole = Diagnostics::new(inside.server.clone());
    let mut add = |item: &str, finding: String| whole.findings.push((item.into(), finding));
    add("storage", format!("{name}, {}", inside.server));
    for (item, finding) in inside.findings {
        add(&format!("storage {item}"), finding);
    }
    let state = match status.away_since {
        None => "the storage responds".into(),
        Some(since) => format!("the storage does not respond since {since}; memory serves without it"),
    };
    add("state", state);
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
    add("memory", format!("{} of {}", mebibytes(status.bytes), mebibytes(status.max_bytes)));
    add("swarms in memory", status.swarms.to_string());
    let waiting = match status.oldest {
        None => "nothing".into(),
        Some(age) => format!("{} changes, the oldest for {age:.1?}", status.waiting),
    };
    add("waiting to be stored", waiting);
    let loss = if waits_for_storage {
        "a crash loses times of last announces that were not due yet, and no acknowledged change"
    } else {
        "a crash loses the changes of `flush_interval` and one flush; downloads are lost only if it happens while the \
         storage is away"
    };
    add(
        "acknowledged",
        format!("{}; {loss}", if waits_for_storage { "by the storage" } else { "by memory" }),
    );
    let details = inside.details.into_iter().map(|(item, detail)| (format!("storage {item}"), detail));
    whole.details.extend(details);
    whole.warnings.extend(inside.warnings.into_iter().map(|warning| format!("storage: {warning}")));
    if status.away_since.is_some() {
        whole.warnings.push("the storage does not respond: changes wait in memory".into());
    }
    if !is_durable {
        whole
            .warnings
            .push("the storage inside keeps nothing beyond the process: `cached` gains nothing there".into());
    }
    whole
}
