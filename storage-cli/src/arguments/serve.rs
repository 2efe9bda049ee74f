//! The arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use storage_core::config::StorageConfig;

pub(super) const HELP: &str = "\
Example: tracker-storage serve
Example: tracker-storage serve -c tracker.yaml --http 0.0.0.0:6969 --udp 0.0.0.0:6969

Top-level keys of the file: announce_interval, min_announce_interval, max_numwant, default_numwant, \
max_scrape_infohashes, max_udp_answer, max_requests_per_address, max_burst_per_address, max_connections_per_address, real_ip_header, trusted_proxies, allow_ip_spoofing, \
announce_routes, scrape_routes, approval. Environment variables override it: TRACKER_STORAGE__NAME, TRACKER_ANNOUNCE_INTERVAL.

The admin address has the HTTP API: /api/swarms lists the largest swarms or counts those you name, /api/stats is the \
state of the tracker, /api/openapi.json describes all paths.

An IPv6 address serves only IPv6: give 0.0.0.0:6969 and [::]:6969 for both. Port 0 is any free port. \
SIGTERM and Ctrl-C stop it within 10 seconds: it answers the requests in flight and flushes queued writes (those \
for the secondary of a mirror). Exit code 3 if some writes were lost; the message says how many and what to do.";

/// What to serve, and where.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The configuration: YAML, or TOML if it is named .toml [default: memory]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The path of the storage in the file: keys and list indices separated by dots
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) at: String,
    /// Address for HTTP, or none; may be repeated
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6969", value_parser = listen)]
    pub(crate) http: Vec<Option<SocketAddr>>,
    /// Address for UDP, or none; may be repeated
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6969", value_parser = listen)]
    pub(crate) udp: Vec<Option<SocketAddr>>,
    /// Address for the status page, /metrics, /health and the HTTP API, or none; may be repeated
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6880", value_parser = listen)]
    pub(crate) admin: Vec<Option<SocketAddr>>,
    /// Serve although the prehooks and posthooks of the file are not run
    #[arg(long)]
    pub(crate) ignore_hooks: bool,
    /// Also expose the counts under MoChi's metric names (mochi_storage_seeders_count, …)
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
