//! `serve`: a small tracker.

use prometheus::Registry as Prometheus;
use storage_core::PendingWrites;
use storage_core::layer::Metrics;
use tokio::signal::unix::{SignalKind, signal};

use std::net::SocketAddr;

use crate::arguments::ServeArguments;
use crate::commands::CommandContext;
use crate::error_code::ErrorCode;
use crate::exit_code::{CodedMessage, CommandError, CommandResult, Exit};
use crate::interrupt::Interrupt;
use crate::open::ConfiguredStorage;
use crate::output::note;
use crate::serve::{Addresses, ServeMetrics, ServeOptions, ServeSettings, TrackerServer};

/// Serves until SIGTERM or Ctrl-C.
pub(crate) async fn run(context: &mut CommandContext, arguments: &ServeArguments) -> CommandResult {
    let addresses = addresses(arguments)?;
    let prometheus = Prometheus::new();
    let metrics = Metrics::register(&prometheus).map_err(metrics_failed)?;
    let serve_metrics =
        ServeMetrics::register(&prometheus, arguments.mochi_metric_names).map_err(metrics_failed)?;
    let backends = context.backends.clone().with_metrics(metrics).with_observer(serve_metrics.observer());
    let (configured, file) =
        ConfiguredStorage::read_or_default(backends, arguments.config.as_deref(), &arguments.at)?;
    let (settings, warnings) = ServeSettings::read(&file, arguments.ignore_hooks)?;
    for warning in warnings {
        note(format_args!("warning: {warning}"));
    }

    for address in addresses.admin.iter().filter(|address| !address.ip().is_loopback()) {
        note(format_args!(
            "warning: --admin {address} has no password: anyone who can reach it sees the metrics, the state and the \
             swarms"
        ));
    }

    let terminated = signal(SignalKind::terminate());
    let mut terminated = terminated.map_err(|error| system_failure("cannot listen for SIGTERM", &error))?;
    let interrupt = Interrupt::listen();
    let opened = tokio::select! {
        opened = configured.open() => opened?,
        _ = terminated.recv() => return Ok(Exit::Success),
        () = interrupt.clone().wait() => return Ok(Exit::Interrupted),
    };
    let empty_list = match &settings.approval {
        Some(approval) => approval.empty_warning(&*opened.storage).await,
        None => None,
    };
    for warning in settings.lifetime_warning(&opened.schedule).into_iter().chain(empty_list) {
        note(format_args!("warning: {}: {warning}", file.name().display()));
    }
    let backend = opened.storage.name();
    let approval = settings.approval.as_ref().map(ToString::to_string);
    let options = ServeOptions { settings, addresses, prometheus, metrics: serve_metrics };
    let server = TrackerServer::start(opened, options).await?;
    context.output.line(format_args!("serving {backend}"))?;
    let listening = server.listening.iter().map(|(what, address)| [(*what).to_owned(), address.clone()]);
    let approval = approval.map(|approval| ["approval".to_owned(), approval]);
    context.output.table(listening.chain(approval))?;

    let exit = tokio::select! {
        _ = terminated.recv() => Exit::Success,
        () = interrupt.wait() => Exit::Interrupted,
    };
    let left = server.stop().await;
    if left.count > 0 {
        let message = CodedMessage::new(ErrorCode::WritesLost, lost_writes(backend, left));
        return Err(CommandError::of(Exit::WritesLost, message));
    }
    Ok(exit)
}

/// Which acknowledged writes were lost, and what to do.
fn lost_writes(backend: &str, left: PendingWrites) -> String {
    let PendingWrites { count, oldest, .. } = left;
    let age = oldest.map_or(String::new(), |age| format!(", the oldest of {:.1} s ago", age.as_secs_f64()));
    let way_out = if backend == storage_mirror::NAME {
        "the secondary does not have them: run `migrate` again before you switch to it"
    } else {
        "peers come back with their next announce, data does not"
    };
    format!("{backend}: {count} acknowledged writes were lost{age}; {way_out}")
}

fn addresses(arguments: &ServeArguments) -> Result<Addresses, CommandError> {
    let at = |given: &[Option<SocketAddr>]| -> Result<Vec<_>, CommandError> {
        if given.contains(&None) && given.len() > 1 {
            let message = "--http, --udp and --admin: `none` cannot be combined with an address";
            return Err(CommandError::usage(ErrorCode::Usage, message));
        }
        Ok(given.iter().copied().flatten().collect())
    };
    let addresses =
        Addresses { http: at(&arguments.http)?, udp: at(&arguments.udp)?, admin: at(&arguments.admin)? };
    if addresses.http.is_empty() && addresses.udp.is_empty() {
        let message = "nothing to serve: --http and --udp are both `none`; pass an address for one of them";
        return Err(CommandError::usage(ErrorCode::Usage, message));
    }
    Ok(addresses)
}

fn metrics_failed(error: prometheus::Error) -> CommandError {
    system_failure("cannot register the metrics", &error)
}

fn system_failure(what: &str, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::finding(ErrorCode::SystemFailure, format!("{what}: {error}"))
}
