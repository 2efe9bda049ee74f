//! `verify`: compares two storages.

use storage_migration::{Comparison, Finding, RecordKind, Verification, VerifyOptions};

use crate::arguments::VerifyArguments;
use crate::commands::CommandContext;
use crate::endpoints::{Endpoints, kinds, note_unreadable, reject, with_kind_progress};
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::interrupt::Interrupt;
use crate::output::{Output, note, note_code};

/// Checks both endpoints, compares them, and prints what differs.
pub(crate) async fn run(context: &mut CommandContext, arguments: &VerifyArguments) -> CommandResult {
    let endpoints = Endpoints::open(&context.backends, &arguments.endpoints).await?;
    let compared = compare(&endpoints, arguments, &mut context.output).await;
    endpoints.close().await?;
    compared
}

async fn compare(endpoints: &Endpoints, arguments: &VerifyArguments, output: &mut Output) -> CommandResult {
    let lifetime = endpoints.source.opened.schedule.peer_lifetime;
    let options = VerifyOptions {
        kinds: kinds(&arguments.endpoints.only),
        contexts: arguments.endpoints.context.clone(),
        sample: arguments.sample,
        copied_at: arguments.copied_at,
        stale_after: arguments.endpoints.skip_stale.then_some(lifetime),
        peer_lifetime: Some(lifetime),
        batch: usize::try_from(arguments.endpoints.batch).unwrap_or(usize::MAX),
    };
    let kinds = options.kinds.clone();
    let (from, to) = (endpoints.source.opened.storage.clone(), endpoints.target.opened.storage.clone());
    let verification = Verification::new(from, to, options);
    reject(verification.refusals())?;
    endpoints.print_summary();
    let interrupt = Interrupt::listen();
    let (progress, stop) = (verification.progress(), verification.stop());
    let result = with_kind_progress(verification.run(), &progress, &kinds, &stop, &interrupt).await;
    let found = result.map_err(|failure| endpoints.failed(&failure))?;
    if arguments.endpoints.json {
        let code = is_different(&found).then_some(ErrorCode::StoragesDiffer);
        output.json_with_code(&found, code)?;
    } else {
        print(&found, &kinds, output)?;
    }
    for kind in &kinds {
        note_unreadable(*kind, &progress.of(*kind).counts());
    }
    if found.past_lifetime > 0 {
        note(format_args!(
            "{} peers are older than the source's `peer_lifetime` ({lifetime:?}): they differ as soon as one \
             side collects garbage; --skip-stale skips them",
            found.past_lifetime
        ));
    }
    if found.stale > 0 {
        note(format_args!(
            "{} stale peers of the source were not compared, because of --skip-stale",
            found.stale
        ));
    }
    if !found.complete {
        note("stopped before the end: the rest was not compared");
        return Ok(Exit::Interrupted);
    }
    if is_different(&found) {
        note_code(ErrorCode::StoragesDiffer);
        return Ok(Exit::Finding);
    }
    Ok(Exit::Success)
}

/// Whether the comparison came to its end, and found differences.
fn is_different(found: &Comparison) -> bool {
    found.complete && !found.is_equal()
}

fn print(found: &Comparison, kinds: &[RecordKind], output: &mut Output) -> Result<(), CommandError> {
    for kind in kinds {
        let (name, differences) = (kind.name(), found.of(*kind));
        output.line(format_args!("{name}: {} compared", differences.compared))?;
        for finding in Finding::ALL {
            let count = differences.count(finding);
            if count == 0 {
                continue;
            }
            let explained = if finding.is_explained() { " (expected, no difference)" } else { "" };
            output.line(format_args!("  {count} {}{explained}", finding.name()))?;
            for example in differences.examples(finding) {
                output.line(format_args!("    {example}"))?;
            }
        }
    }
    for warning in &found.wrong_counts {
        output.line(format_args!("counts: {warning}"))?;
    }
    output.line(if found.is_equal() { "equal" } else { "not equal" })?;
    Ok(())
}
