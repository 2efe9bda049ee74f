//! `conformance`: the suite on a configured storage.

mod report;

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use storage_core::conformance::{Case, Provider, Suite, VERSION};
use storage_core::{OpenError, Storage};

use crate::arguments::ConformanceArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CommandError, CommandResult, Exit};
use crate::interrupt::Interrupt;
use crate::open::ConfiguredStorage;
use crate::output::note_code;
use report::ConformanceReport;

/// The most cases under way at once.
const PARALLEL_CASES: usize = 4;

/// Runs the chosen cases and prints a line for each as it ends.
pub(crate) async fn run(context: &mut CommandContext, arguments: &ConformanceArguments) -> CommandResult {
    let chosen = choose(arguments.filter.as_deref())?;
    let configured = context.read(&arguments.storage)?;
    let is_private = configured.driver()?.is_private();
    let is_exclusive = arguments.exclusive || is_private;
    let title = title(&configured, is_exclusive).await?;
    context.output.title(title, arguments.json)?;

    let suite = Suite::new(Arc::new(FromFile { configured, is_private, is_exclusive }));
    let interrupt = Interrupt::listen();
    let mut report = ConformanceReport::new(&mut context.output, arguments.json);
    let ended = stream::iter(chosen.iter().copied())
        .take_until(interrupt.clone().wait())
        .map(|case| {
            let (suite, interrupted) = (&suite, interrupt.clone().wait());
            async move { (case, suite.run_until(case, interrupted).await) }
        })
        .buffer_unordered(PARALLEL_CASES);
    let mut ended = pin!(ended);
    let mut written = Ok(());
    while let Some((case, outcome)) = ended.next().await {
        // An output that fails must not keep the other cases from cleaning up.
        written = written.and(report.case(case, &outcome));
    }
    written?;
    let counts = report.finish(chosen.len())?;
    Ok(match counts.failed {
        _ if interrupt.is_set() => Exit::Interrupted,
        0 => Exit::Success,
        _ => {
            note_code(ErrorCode::CaseFailed);
            Exit::Finding
        }
    })
}

fn choose(filter: Option<&str>) -> Result<Vec<&'static Case>, CommandError> {
    let filter = filter.unwrap_or_default();
    let text = filter.to_lowercase();
    let chosen: Vec<_> =
        Suite::cases().iter().filter(|case| case.name().to_lowercase().contains(&text)).collect();
    if chosen.is_empty() {
        let example = Suite::cases().first().map(Case::name).unwrap_or_default();
        let message =
            format!("--filter: no case has `{filter}` in its name; an example of a name is `{example}`");
        return Err(CommandError::usage(ErrorCode::Usage, message));
    }
    Ok(chosen)
}

/// What is tested; that it can be opened at all is tested on the way.
async fn title(configured: &ConfiguredStorage, is_exclusive: bool) -> Result<String, CommandError> {
    let storage = configured.open().await?.storage;
    let server = storage.diagnostics().await.map_err(|error| configured.failed(&error))?.server;
    let use_of_it = if is_exclusive { "exclusive" } else { "in use by others" };
    let title = format!("conformance suite {VERSION} on {} ({server}), {use_of_it}", storage.name());
    storage.close().await.map_err(|error| configured.failed(&error))?;
    Ok(title)
}

/// Opens the storage of a configuration file.
struct FromFile {
    configured: ConfiguredStorage,
    is_private: bool,
    is_exclusive: bool,
}

#[async_trait]
impl Provider for FromFile {
    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
        Ok(self.configured.try_open().await?.storage)
    }

    fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    fn is_private(&self) -> bool {
        self.is_private
    }
}
