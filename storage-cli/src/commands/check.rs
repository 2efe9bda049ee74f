//! `check`: whether a configuration works, and what it works on.

use storage_core::config::{ConfigFile, StorageConfig};
use storage_core::{Backend, Inspection, OpenError, Opened, Registry, Schedule};

use crate::arguments::{CheckArguments, StorageArguments};
use crate::exit::{Exit, Failure};
use crate::open::{Configured, Part};
use crate::output::Output;
use crate::serve::Settings;

/// Opens the storage, which checks every query, and prints what was found or what is wrong.
pub(crate) async fn run(
    registry: &Registry,
    arguments: &CheckArguments,
    output: &mut Output,
) -> Result<Exit, Failure> {
    match found(registry, arguments).await {
        Ok(rows) => {
            output.line("ok")?;
            output.table(rows)?;
            Ok(Exit::Success)
        }
        // The problems are the result that was asked for.
        Err(Failure { exit: Exit::Finding, message }) => {
            output.line(message)?;
            Ok(Exit::Finding)
        }
        Err(failure) => Err(failure),
    }
}

async fn found(registry: &Registry, arguments: &CheckArguments) -> Result<Vec<[String; 2]>, Failure> {
    let StorageArguments { config, at } = &arguments.storage;
    let (configured, file) = Configured::read_all(registry.clone(), config, at)?;
    let part = if arguments.data_only { Part::DataOnly } else { Part::Everything };
    let opened = configured.open_strictly(part).await?;
    let storage = &opened.storage;
    storage.ping().await.map_err(|error| configured.failed(&error))?;
    let inspection = storage.inspect().await.map_err(|error| configured.failed(&error))?;
    let queries = storage.check_queries().await.map_err(|error| configured.failed(&error))?;
    let mut rows = rows(&opened, inspection);
    rows.extend(queries.unknown.iter().map(|problem| ["warning".into(), problem.to_string()]));
    if at == StorageConfig::DEFAULT_PATH {
        rows.extend(of_serving(&file, &opened.schedule));
    }
    storage.close().await.map_err(|error| configured.failed(&error))?;
    if !queries.refused.is_empty() {
        return Err(configured.refused(&OpenError::Configuration(queries.refused)));
    }
    Ok(rows)
}

fn rows(opened: &Opened<dyn Backend>, inspection: Inspection) -> Vec<[String; 2]> {
    let storage = &opened.storage;
    let durable = if storage.durable() { "yes" } else { "no, gone with the process" };
    let mut rows = vec![
        ["backend".into(), storage.name().into()],
        ["server".into(), inspection.server],
        ["durable".into(), durable.into()],
    ];
    rows.extend(inspection.findings.into_iter().map(|(item, finding)| [item, finding]));
    let lacking = storage.lacking();
    rows.extend(lacking.iter().map(|(capability, reason)| [format!("lacks {capability}"), reason.into()]));
    rows.extend(opened.warnings.iter().map(|warning| ["warning".into(), warning.to_string()]));
    rows.extend(inspection.warnings.into_iter().map(|warning| ["warning".into(), warning]));
    rows
}

/// What `serve` would say to the rest of the file, which may be another tracker's.
fn of_serving(file: &ConfigFile, schedule: &Schedule) -> Vec<[String; 2]> {
    let (item, lines) = match Settings::read(file, false) {
        Ok((settings, mut warnings)) => {
            let warning = settings.lifetime_warning(schedule);
            warnings.extend(warning.map(|warning| format!("{}: {warning}", file.name().display())));
            ("serve warns", warnings)
        }
        Err(refusal) => ("serve refuses", refusal.message.lines().map(str::to_owned).collect()),
    };
    lines.into_iter().map(|line| [item.to_owned(), line]).collect()
}
