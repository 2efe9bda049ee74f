//! Source and target of `migrate` and `verify`, opened and checked.

use std::time::Duration;

use storage_core::{Backends, Diagnostics, Opened, Storage};
use storage_migration::{MigrationError, Progress, RecordCounts, RecordKind, RecordProgress, Side, Stop};

use indicatif::HumanDuration;

use crate::arguments::EndpointsArguments;
use crate::error_code::ErrorCode;
use crate::exit_code::{CodedMessage, CommandError};
use crate::interrupt::Interrupt;
use crate::open::ConfiguredStorage;
use crate::output::note;
use crate::progress::with_progress;

/// A storage that was opened strictly and answers.
pub(crate) struct Endpoint {
    configured: ConfiguredStorage,
    pub(crate) opened: Opened<dyn Storage>,
    diagnostics: Diagnostics,
}

pub(crate) struct Endpoints {
    pub(crate) source: Endpoint,
    pub(crate) target: Endpoint,
}

impl Endpoints {
    /// Opens and checks both, as `check` does, and reports the problems of both.
    pub(crate) async fn open(
        backends: &Backends,
        arguments: &EndpointsArguments,
    ) -> Result<Self, CommandError> {
        let EndpointsArguments { from, from_at, to, to_at, .. } = arguments;
        let (source, _) = ConfiguredStorage::read(backends.clone(), from, from_at)?;
        let (target, _) = ConfiguredStorage::read(backends.clone(), to, to_at)?;
        if source.is_same(&target) {
            return Err(CommandError::usage(
                ErrorCode::SameStorage,
                "source and target are the same storage: --from and --to must differ",
            ));
        }
        match (Endpoint::of(source).await, Endpoint::of(target).await) {
            (Ok(source), Ok(target)) => Ok(Self { source, target }),
            (Err(one), Err(other)) => Err(one.and(other)),
            (Err(failure), Ok(opened)) | (Ok(opened), Err(failure)) => {
                opened.close().await?;
                Err(failure)
            }
        }
    }

    /// Prints which storages these are, without passwords, and their warnings.
    pub(crate) fn print_summary(&self) {
        for (side, endpoint) in [("from", &self.source), ("to", &self.target)] {
            note(format_args!("{side:<5}{}", endpoint.description()));
            let warnings = endpoint.opened.warnings.iter().map(ToString::to_string);
            for warning in warnings.chain(endpoint.diagnostics.warnings.iter().cloned()) {
                note(format_args!("     warning: {warning}"));
            }
        }
    }

    /// What went wrong, with the file.
    pub(crate) fn failed(&self, failure: &MigrationError) -> CommandError {
        let code = ErrorCode::of_migration(failure);
        let failed = match failure {
            MigrationError::Storage(Side::Source, error) => self.source.configured.failed(error),
            MigrationError::Storage(Side::Target, error) => self.target.configured.failed(error),
            other => return CommandError::finding(code, other.to_string()),
        };
        failed.with_code(code)
    }

    pub(crate) async fn close(self) -> Result<(), CommandError> {
        self.source.close().await?;
        self.target.close().await
    }
}

impl Endpoint {
    async fn of(configured: ConfiguredStorage) -> Result<Self, CommandError> {
        let opened = configured.open_all_strictly().await?;
        let storage = &opened.storage;
        storage.ping().await.map_err(|error| configured.failed(&error))?;
        let diagnostics = storage.diagnostics().await.map_err(|error| configured.failed(&error))?;
        Ok(Self { configured, opened, diagnostics })
    }

    fn description(&self) -> String {
        let mut parts = vec![self.diagnostics.server.clone()];
        let findings = &self.diagnostics.findings;
        let places = findings.iter().filter(|(item, _)| item == "connection" || item == "server");
        parts.extend(places.map(|(_, place)| place.clone()));
        let (name, file) = (self.opened.storage.name(), self.configured.file().display());
        format!("{name} ({file}): {}", parts.join(", "))
    }

    async fn close(&self) -> Result<(), CommandError> {
        self.opened.storage.close().await.map_err(|error| self.configured.failed(&error))
    }
}

/// The kinds asked for: all, if none is named.
pub(crate) fn kinds(only: &[RecordKind]) -> Vec<RecordKind> {
    if only.is_empty() { RecordKind::ALL.to_vec() } else { only.to_vec() }
}

/// Prints which entries were unreadable and left out.
pub(crate) fn note_unreadable(kind: RecordKind, tally: &RecordCounts) {
    if tally.unreadable == 0 {
        return;
    }
    let names: Vec<_> = tally.unreadable_names.iter().map(|name| shown(name)).collect();
    let first = if names.is_empty() { String::new() } else { format!(", the first: {}", names.join(" ")) };
    note(format_args!("{} unreadable {}{first}", tally.unreadable, kind.name()));
}

/// The name of an entry: text as it is; of `CHI_S4_` and a raw info hash the text and then hexadecimal.
fn shown(name: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(name)
        && !text.chars().any(char::is_control)
    {
        return format!("`{text}`");
    }
    let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let text = name.iter().take_while(|byte| is_text(byte)).enumerate();
    // What follows the second underscore may be the hash.
    let prefix = text.filter(|(_, byte)| **byte == b'_').take(2).last().map_or(0, |(index, _)| index + 1);
    let (text, raw) = name.split_at(prefix);
    format!("{}{}", text.escape_ascii(), hex::encode(raw))
}

/// Reports kinds that an endpoint cannot read or write, and what to do.
pub(crate) fn reject(refusals: Vec<(RecordKind, String)>) -> Result<(), CommandError> {
    if refusals.is_empty() {
        return Ok(());
    }
    let line = |(kind, reason): (RecordKind, String)| {
        let message = format!("{}: {reason}; configure it, or leave them out with --only", kind.name());
        CodedMessage::new(ErrorCode::CapabilityMissing, message)
    };
    Err(CommandError::findings(refusals.into_iter().map(line)))
}

/// Runs work, stops it at Ctrl-C, and shows its progress.
pub(crate) async fn with_kind_progress<T>(
    work: impl Future<Output = T>,
    progress: &Progress,
    kinds: &[RecordKind],
    stop: &Stop,
    interrupt: &Interrupt,
) -> T {
    let work = async {
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => return result,
            () = interrupt.clone().wait() => stop.stop(),
        }
        work.await
    };
    let mut last = (Duration::ZERO, 0);
    let describe = |elapsed| {
        let counts = kinds.iter().map(|kind| describe(*kind, progress.of(*kind), elapsed));
        let counts = counts.collect::<Vec<_>>().join("\n");
        let read: u64 = kinds.iter().map(|kind| progress.of(*kind).counts().read).sum();
        let (before, so_far) = std::mem::replace(&mut last, (elapsed, read));
        let rate = read.saturating_sub(so_far) as f64 / (elapsed - before).as_secs_f64().max(0.001);
        format!("{counts}\n{rate:.0} records per second")
    };
    with_progress(work, describe).await
}

/// How far a kind is, and about how long the rest takes.
fn describe(kind: RecordKind, progress: &RecordProgress, elapsed: Duration) -> String {
    let RecordCounts { read, written, kept, unreadable, .. } = progress.counts();
    let of_all = progress.expected().map_or(String::new(), |all| {
        let left = all.saturating_sub(read) as f64 / read.max(1) as f64;
        let left = Duration::try_from_secs_f64(elapsed.as_secs_f64() * left).unwrap_or_default();
        let is_known = read > 0 && !left.is_zero();
        let left = if is_known { format!(" (about {} left)", HumanDuration(left)) } else { String::new() };
        format!(" of {all}{left}")
    });
    let name = kind.name();
    format!("{name}: read {read}{of_all}, written {written}, kept {kept}, unreadable {unreadable}")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn names_are_text_and_raw_parts_hexadecimal() {
        assert_eq!(shown(b"CHI_D"), "`CHI_D`");
        assert_eq!(shown(b"CHI_S4_\x01ab\xFF"), "CHI_S4_016162ff");
        assert_eq!(shown(b"CHI_S4_ab_\x01"), "CHI_S4_61625f01");
        assert_eq!(shown(b"\x01_\x02"), "015f02");
    }
}
