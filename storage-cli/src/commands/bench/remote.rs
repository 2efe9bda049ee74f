//! `bench --announce-url`: measures a tracker over the network.

use super::size;
use crate::arguments::BenchArguments;
use crate::bench::{self, AnnounceUrl, RemoteRun, SwarmSizes};
use crate::exit_code::{CommandError, Exit};
use crate::interrupt::Interrupt;
use crate::output::{Output, note};

/// Starts the clients, measures, stops them, and prints one line.
pub(super) async fn run(
    url: &AnnounceUrl,
    arguments: &BenchArguments,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let interrupt = Interrupt::listen();
    let (settings, keep) = (arguments.settings(), arguments.keep);
    let run = RemoteRun::new(url, size(SwarmSizes::Zipf, arguments), settings, keep, &interrupt).await?;
    let title = format!("{url}: {settings}");
    output.title(title, arguments.json)?;
    note(format_args!("info hashes begin with {}", run.prefix()));
    let report = run.measure().await?;
    if interrupt.is_set() {
        return Ok(Exit::Interrupted);
    }
    if let Some(complaint) = report.complaint() {
        note(complaint);
    }
    if arguments.json {
        output.json(&report)?;
    } else {
        output.table(bench::rows(std::slice::from_ref(&report)))?;
    }
    Ok(if report.is_failure() { Exit::Finding } else { Exit::Success })
}
