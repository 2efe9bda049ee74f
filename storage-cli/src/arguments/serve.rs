//! The arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use storage_core::config::StorageConfig;

pub(super) const HELP: &str = "\
Example: tracker-storage serve
Example: tracker-storage serve -c tracker.yaml --http 0.0.0.0:6969 --udp 0.0.0.0:6969

Top-level keys of the file: announce_interval, min_announce_interval, max_numwant, default_numwant, \
max_scrape_infohashes, max_udp_answer, max_requests_per_address, max_burst_per_address, max_connections_per_address, real_ip_header, trusted_proxies, allow_ip_spoofing, \
announce_routes, scrape_routes, approval. Environment variables are laid over it: TRACKER_STORAGE__NAME, TRACKER_ANNOUNCE_INTERVAL.

An IPv6 address serves IPv6 alone: give 0.0.0.0:6969 and [::]:6969 for both. Port 0 is any free port. \
SIGTERM and Ctrl-C stop it within 10 seconds: requests under way are answered, and writes that are queued \
(for the secondary of a mirror) are made. Exit code 3 if some of these were left: it says how many, and what \
to do.";

/// What to serve, and where.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The configuration: YAML, or TOML if it is named .toml [default: memory]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where in the file the storage is: keys and list indices between dots
    #[arg(long, value_name = "PATH", default_value = StorageConfig::DEFAULT_PATH)]
    pub(crate) at: String,
    /// Where to serve HTTP, or none; may be given several times
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6969")]
    pub(crate) http: Vec<Listen>,
    /// Where to serve UDP, or none; may be given several times
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6969")]
    pub(crate) udp: Vec<Listen>,
    /// Where to serve /metrics, /health, /stats and a page for the operator, or none; may be given several
    /// times
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6880")]
    pub(crate) admin: Vec<Listen>,
    /// Serve though the file has prehooks or posthooks, which are not run
    #[arg(long)]
    pub(crate) ignore_hooks: bool,
    /// Offer the counts under MoChi's names, too (mochi_storage_seeders_count and its like)
    #[arg(long)]
    pub(crate) mochi_metric_names: bool,
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Not at all.
    Nowhere,
    /// There.
    At(SocketAddr),
}

impl Listen {
    /// The address, if any.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Nowhere => None,
            Self::At(address) => Some(address),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self::Nowhere);
        }
        let expected = "expected an address and a port such as 127.0.0.1:6969 or [::1]:6969, or none";
        text.parse().map(Self::At).map_err(|_| expected.to_owned())
    }
}
