//! What a mirror tells of itself, for people to read.

use super::MirrorStatus;
use storage_core::{Diagnostics, MissingCapabilities};

/// Diagnostics of both sides and of what is between them.
pub(super) fn diagnostics(
    primary_name: &str,
    primary: Diagnostics,
    secondary_storage: Option<(&str, MissingCapabilities)>,
    secondary: Option<Diagnostics>,
    status: &MirrorStatus,
) -> Diagnostics {
    let mut whole = Diagnostics::new(primary.server.clone());
    add_side(&mut whole, "primary", primary_name, primary);
    match (&secondary_storage, secondary) {
        (Some((name, _)), Some(diagnostics)) => add_side(&mut whole, "secondary", name, diagnostics),
        (Some((name, _)), None) => add(&mut whole, "secondary", format!("{name}, does not respond")),
        (None, _) => add(&mut whole, "secondary", "not opened yet".into()),
    }
    add_status(&mut whole, status);
    if let Some((_, lacking)) = secondary_storage {
        whole.warnings.extend(lacking.iter().map(|(capability, reason)| {
            format!("the secondary lacks `{capability}` ({reason}): operations that need it are not mirrored")
        }));
    }
    whole
}

fn add(whole: &mut Diagnostics, item: &str, finding: String) {
    whole.findings.push((item.into(), finding));
}

fn add_side(whole: &mut Diagnostics, side: &str, name: &str, diagnostics: Diagnostics) {
    add(whole, side, format!("{name}, {}", diagnostics.server));
    for (item, finding) in diagnostics.findings {
        add(whole, &format!("{side} {item}"), finding);
    }
    whole
        .details
        .extend(diagnostics.details.into_iter().map(|(item, detail)| (format!("{side} {item}"), detail)));
    whole.warnings.extend(diagnostics.warnings.into_iter().map(|warning| format!("{side}: {warning}")));
}

fn add_status(whole: &mut Diagnostics, status: &MirrorStatus) {
    let MirrorStatus { started, applied, queued, missed, suspended } = status;
    let state = match suspended {
        None => "mirroring".into(),
        Some(suspended) => format!("suspended since {}: {}", suspended.since, suspended.reason),
    };
    add(whole, "state", state);
    add(whole, "counted since", format!("{started}, by this process only; every node counts separately"));
    add(whole, "queued writes", queued.to_string());
    add(whole, "applied writes", applied.to_string());
    let missed_writes = match missed {
        None => "0".into(),
        Some(missed) => {
            format!("{}, the first at {}, the last at {}", missed.writes, missed.first, missed.last)
        }
    };
    add(whole, "missed writes", missed_writes);
    add(whole, "migration", migration_advice(status));
    if suspended.is_some() {
        whole.warnings.push("the secondary is suspended and misses all writes".into());
    }
}

/// Whether a new migration is due before the sides change places.
fn migration_advice(status: &MirrorStatus) -> String {
    let MirrorStatus { started, queued, missed, suspended, .. } = status;
    match (suspended, missed) {
        (Some(_), _) => "run `migrate` again before switching, once the secondary is available".into(),
        (None, Some(missed)) => {
            let last = missed.last;
            format!("run `migrate` again before switching, unless one began after {last}")
        }
        (None, None) if *queued > 0 => {
            format!("not needed because of this process; before switching, wait for {queued} queued writes")
        }
        (None, None) => {
            format!("not needed because of this process, if one has completed, before {started} or since")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Missed, Suspended};
    use storage_core::Timestamp;

    fn status() -> MirrorStatus {
        let started = Timestamp::from_seconds(1_795_000_000);
        MirrorStatus { started, applied: 7, queued: 0, missed: None, suspended: None }
    }

    #[test]
    fn a_migration_is_due_after_a_miss_and_while_suspended() {
        assert!(migration_advice(&status()).starts_with("not needed"));
        assert!(
            migration_advice(&MirrorStatus { queued: 3, ..status() }).ends_with("wait for 3 queued writes")
        );
        let at = Timestamp::from_seconds(1_795_000_001);
        let missed = MirrorStatus { missed: Some(Missed { writes: 1, first: at, last: at }), ..status() };
        assert!(
            migration_advice(&missed).starts_with("run `migrate` again"),
            "{}",
            migration_advice(&missed)
        );
        assert!(migration_advice(&missed).ends_with(&at.to_string()));
        let suspended = Suspended { since: at, reason: "gone".into() };
        let suspended = MirrorStatus { suspended: Some(suspended), ..status() };
        assert!(migration_advice(&suspended).starts_with("run `migrate` again"));
    }
}
