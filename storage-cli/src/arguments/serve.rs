//! The arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use storage_core::config::StorageConfig;

/// What to serve, and where.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The configuration [default: a storage of the backend memory]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The path of the storage in the file
    ///
    /// Keys and list indices separated by dots, such as prehooks.0.config.storage.
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) at: String,
    /// Address for announces over HTTP, or none; may be repeated
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6969", value_parser = listen)]
    pub(crate) http: Vec<Option<SocketAddr>>,
    /// Address for announces over UDP, or none; may be repeated
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6969", value_parser = listen)]
    pub(crate) udp: Vec<Option<SocketAddr>>,
    /// Address for the admin page, the HTTP API, metrics and health, or none; may be repeated
    ///
    /// Paths: / (the admin page), /metrics (Prometheus), /health, /api/swarms (the largest swarms, or the counts of
    /// those you name), /api/stats (the state of the tracker), /api/openapi.json (describes all paths). It has no
    /// password.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6880", value_parser = listen)]
    pub(crate) admin: Vec<Option<SocketAddr>>,
    /// Serve although the file has hooks, which are not run
    ///
    /// MoChi's `prehooks` and `posthooks` may refuse clients. Without them, the tracker serves these clients too.
    #[arg(long)]
    pub(crate) ignore_hooks: bool,
    /// Also expose the counts under MoChi's metric names
    ///
    /// For dashboards made for MoChi: mochi_storage_seeders_count and others.
    #[arg(long)]
    pub(crate) mochi_metric_names: bool,
}

/// An address, or nothing for `none`.
fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let expected = "expected an address and a port such as 127.0.0.1:6969 or [::1]:6969, or none";
    text.parse().map(Some).map_err(|_| expected.to_owned())
}
