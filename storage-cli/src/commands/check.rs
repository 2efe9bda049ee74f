//! `check`: checks a configuration and its server.

use std::hash::Hash;

use storage_core::config::{ConfigFile, StorageConfig};
use storage_core::{Backend, Backends, Diagnostics, OpenError, Opened, QueryCheck, Review, Schedule};

use crate::arguments::{CheckArguments, StorageArguments};
use crate::commands::CommandContext;
use crate::exit_code::{CodedMessage, CommandError, CommandResult, Exit};
use crate::open::ConfiguredStorage;
use crate::progress::with_progress;
use crate::serve::ServeSettings;

/// Problems, warnings and findings, in the order in which they are printed.
#[derive(Default)]
struct CheckReport {
    problems: Vec<CodedMessage>,
    warnings: Vec<String>,
    rows: Vec<[String; 2]>,
}

/// Opens the storage, which checks every query, and prints the problems and findings.
pub(crate) async fn run(context: &mut CommandContext, arguments: &CheckArguments) -> CommandResult {
    let examined =
        with_progress(examine(&context.backends, arguments), |took| format!("checking: {took:.0?}"));
    let CheckReport { mut problems, mut warnings, rows } = match examined.await {
        Ok(report) => report,
        // The problems are the result that was asked for.
        Err(CommandError { exit: Exit::Finding, messages }) => {
            CheckReport { problems: messages, ..CheckReport::default() }
        }
        Err(failure) => return Err(failure),
    };
    let output = &mut context.output;
    remove_repeated(&mut problems);
    remove_repeated(&mut warnings);
    output.line(match (problems.len(), warnings.len()) {
        (0, 0) => "ok".to_owned(),
        (0, 1) => "ok, 1 warning".to_owned(),
        (0, warnings) => format!("ok, {warnings} warnings"),
        _ => "failed".to_owned(),
    })?;
    for problem in &problems {
        output.line(problem)?;
    }
    for warning in &warnings {
        output.line(format_args!("warning: {warning}"))?;
    }
    if !rows.is_empty() {
        output.table(rows)?;
    }
    Ok(if problems.is_empty() { Exit::Success } else { Exit::Finding })
}

async fn examine(backends: &Backends, arguments: &CheckArguments) -> Result<CheckReport, CommandError> {
    let StorageArguments { config, at } = &arguments.storage;
    let (configured, file) = ConfiguredStorage::read(backends.clone(), config, at)?;
    let name = file.name().display();
    let mut report = CheckReport::default();
    let schedule = match configured.review(arguments.data_only) {
        Ok(Review { schedule, problems, warnings, .. }) => {
            report
                .problems
                .extend(problems.iter().map(|problem| CodedMessage::of_problem(file.name(), problem)));
            report.warnings.extend(warnings.iter().map(|warning| format!("{name}: {warning}")));
            Some(schedule)
        }
        Err(failure) => {
            report.problems.extend(failure.messages);
            None
        }
    };
    let is_readable = schedule.is_some();
    if at == StorageConfig::DEFAULT_PATH {
        add_serving(&mut report, &file, arguments.ignore_hooks, &schedule.unwrap_or_default());
    }
    if is_readable {
        // Opening repeats the problems of the file; duplicates are removed.
        match configured.open_strictly(arguments.data_only).await {
            Ok(opened) => add_opened(&mut report, &configured, opened, arguments.verbose).await?,
            Err(refused) => report.problems.extend(refused.messages),
        }
    }
    Ok(report)
}

async fn add_opened(
    report: &mut CheckReport,
    configured: &ConfiguredStorage,
    opened: Opened<dyn Backend>,
    verbose: bool,
) -> Result<(), CommandError> {
    let storage = &opened.storage;
    storage.ping().await.map_err(|error| configured.failed(&error))?;
    let Diagnostics { server, findings, details, warnings, .. } =
        storage.diagnostics().await.map_err(|error| configured.failed(&error))?;
    let QueryCheck { refused, unknown, .. } =
        storage.check_queries().await.map_err(|error| configured.failed(&error))?;
    if !refused.is_empty() {
        let failure = configured.refused(&OpenError::Configuration(refused));
        report.problems.extend(failure.messages);
    }
    report.warnings.extend(unknown.iter().map(ToString::to_string));
    let durable =
        if storage.durable() { "yes, it outlives this process" } else { "no, lost when the process ends" };
    report.rows.extend([
        ["backend".into(), storage.name().into()],
        ["server".into(), server],
        ["durable".into(), durable.into()],
    ]);
    report.rows.extend(findings.into_iter().map(|(item, finding)| [item, finding]));
    let missing = storage.missing_capabilities();
    report
        .rows
        .extend(missing.iter().map(|(capability, reason)| [format!("lacks {capability}"), reason.into()]));
    if verbose {
        report.rows.extend(details.into_iter().map(|(item, detail)| [item, detail]));
    }
    // Warnings about the file are listed already, with its name.
    let is_told = |warning: &String| report.warnings.iter().any(|told| told.ends_with(warning.as_str()));
    let further: Vec<_> = warnings.into_iter().filter(|warning| !is_told(warning)).collect();
    report.warnings.extend(further);
    storage.close().await.map_err(|error| configured.failed(&error))
}

/// What `serve` would say to the rest of the file, which may be another tracker's.
fn add_serving(report: &mut CheckReport, file: &ConfigFile, ignore_hooks: bool, schedule: &Schedule) {
    match ServeSettings::read(file, ignore_hooks) {
        Ok((settings, warnings)) => {
            report.warnings.extend(warnings.into_iter().map(|warning| format!("{warning} (serve)")));
            let warning = settings.lifetime_warning(schedule);
            report
                .warnings
                .extend(warning.map(|warning| format!("{}: {warning} (serve)", file.name().display())));
        }
        Err(refusal) => {
            let of_serve = refusal.messages.into_iter().map(|CodedMessage { code, text }| {
                CodedMessage::new(code, format!("{text} (serve refuses)"))
            });
            report.problems.extend(of_serve);
        }
    }
}

/// Keeps the first of equal ones.
fn remove_repeated<T: Clone + Eq + Hash>(lines: &mut Vec<T>) {
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
}
