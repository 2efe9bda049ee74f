//! `migrate`: everything from one storage to another.

use std::time::Duration;

use storage_migration::{self as migration, Follow, Migration, Options, RecordCounts, RecordKind, Summary};

use crate::arguments::MigrateArguments;
use crate::commands::CommandContext;
use crate::endpoints::{Endpoints, kinds, note_unreadable, reject, with_kind_progress};
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::interrupt::Interrupt;
use crate::output::{Output, confirm, note, note_code};

/// Checks both endpoints, asks for confirmation, copies, and prints a summary.
pub(crate) async fn run(context: &mut CommandContext, arguments: &MigrateArguments) -> CommandResult {
    let endpoints = Endpoints::open(&context.backends, &arguments.endpoints).await?;
    let copied = copy(&endpoints, arguments, &mut context.output).await;
    endpoints.close().await?;
    copied
}

async fn copy(endpoints: &Endpoints, arguments: &MigrateArguments, output: &mut Output) -> CommandResult {
    let options = options(arguments, endpoints.source.opened.schedule.peer_lifetime);
    let kinds = options.kinds.clone();
    let (from, to) = (endpoints.source.opened.storage.clone(), endpoints.target.opened.storage.clone());
    let migration = Migration::new(from, to, options);
    reject(migration.refusals())?;
    endpoints.print_summary();
    if !is_confirmed(arguments, &kinds)? {
        return Err(CommandError::usage(ErrorCode::Declined, "nothing was copied"));
    }
    let interrupt = Interrupt::listen();
    let (progress, stop) = (migration.progress(), migration.stop());
    let work = async {
        if !arguments.follow {
            return migration.run().await;
        }
        let follow = Follow { pause: arguments.pause, until_quiet: arguments.until_quiet };
        migration.follow(follow, print_pass).await
    };
    let result = with_kind_progress(work, &progress, &kinds, &stop, &interrupt).await;
    let summary = match result {
        Ok(summary) => summary,
        Err(failure) => {
            note(format_args!("copied before the failure: {}", written(&progress)));
            note("run the command again to continue");
            return Err(endpoints.failed(&failure));
        }
    };
    print(&summary, &kinds, arguments, output)?;
    Ok(match summary.unreadable() {
        _ if interrupt.is_set() => Exit::Interrupted,
        1.. if arguments.strict => {
            note_code(ErrorCode::UnreadableRecords);
            Exit::Finding
        }
        _ => Exit::Success,
    })
}

fn options(arguments: &MigrateArguments, peer_lifetime: Duration) -> Options {
    let endpoints = &arguments.endpoints;
    Options {
        kinds: kinds(&endpoints.only),
        contexts: endpoints.context.clone(),
        downloads: arguments.downloads,
        data: arguments.data,
        stale_after: endpoints.skip_stale.then_some(peer_lifetime),
        peer_lifetime: Some(peer_lifetime),
        batch: usize::try_from(endpoints.batch).unwrap_or(usize::MAX),
        parallel: usize::try_from(arguments.parallel).unwrap_or(usize::MAX),
        rate: arguments.rate,
        dry_run: arguments.dry_run,
    }
}

/// Whether the operator confirms.
fn is_confirmed(arguments: &MigrateArguments, kinds: &[RecordKind]) -> Result<bool, CommandError> {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let what = names.join(", ");
    if arguments.dry_run {
        note(format_args!("{what}: dry run, nothing is written"));
        return Ok(true);
    }
    if arguments.yes {
        note(format_args!("copying {what}"));
        return Ok(true);
    }
    confirm(format_args!("Copy {what}?"))
}

/// What a pass of `--follow` did, and how far the target is behind.
fn print_pass(pass: &Summary) {
    let read: u64 = RecordKind::ALL.iter().map(|kind| pass.of(*kind).read).sum();
    note(format_args!(
        "pass of {:.1?}: read {read}, written {}; all announces before {} are at the target",
        pass.took,
        pass.written(),
        pass.began
    ));
}

fn written(progress: &migration::Progress) -> String {
    let parts = RecordKind::ALL.map(|kind| format!("{} {}", progress.of(kind).counts().written, kind.name()));
    parts.join(", ")
}

fn print(
    summary: &Summary,
    kinds: &[RecordKind],
    arguments: &MigrateArguments,
    output: &mut Output,
) -> Result<(), CommandError> {
    if arguments.endpoints.json {
        let fails = arguments.strict && summary.unreadable() > 0;
        output.json_with_code(summary, fails.then_some(ErrorCode::UnreadableRecords))?;
    } else {
        output.table(rows(summary, kinds))?;
        let read: u64 = kinds.iter().map(|kind| summary.of(*kind).read).sum();
        let rate = read as f64 / summary.took.as_secs_f64().max(0.001);
        output.line(format_args!("{read} records in {:.1?}, {rate:.0} per second", summary.took))?;
    }
    for kind in kinds {
        note_unreadable(*kind, summary.of(*kind));
    }
    let past_lifetime = summary.of(RecordKind::Peers).past_lifetime;
    if past_lifetime > 0 {
        note(format_args!(
            "{past_lifetime} peers are older than the source's `peer_lifetime`: clients may be given them until \
             garbage collection at the target removes them; --skip-stale skips them"
        ));
    }
    if !summary.complete {
        note("stopped before the end; run the command again to continue");
    } else if !arguments.dry_run {
        let (from, to) = (arguments.endpoints.from.display(), arguments.endpoints.to.display());
        note(format_args!(
            "compare both with: tracker-storage verify --from {from} --to {to} --copied-at {}",
            summary.began
        ));
    }
    Ok(())
}

/// A count of a summary, with its name.
type MigrationCount = (&'static str, fn(&RecordCounts) -> u64);

/// A row a count, a column a kind.
fn rows(summary: &Summary, kinds: &[RecordKind]) -> Vec<Vec<String>> {
    let header = std::iter::once(String::new()).chain(kinds.iter().map(|kind| kind.name().to_owned()));
    let mut rows = vec![header.collect()];
    let counts: [MigrationCount; 7] = [
        ("read", |tally| tally.read),
        ("written", |tally| tally.written),
        ("already newer or the same", |tally| tally.kept),
        ("stale", |tally| tally.stale),
        ("in both roles", |tally| tally.in_both_roles),
        ("unreadable", |tally| tally.unreadable),
        ("gone meanwhile", |tally| tally.gone),
    ];
    for (name, count) in counts {
        let cells = kinds.iter().map(|kind| count(summary.of(*kind)).to_string());
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    rows
}
