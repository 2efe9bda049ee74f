//! What the operator sees, on an address of its own: metrics, health, the state as JSON and as a page.

mod history;
mod stats;

use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, X_CONTENT_TYPE_OPTIONS};
use prometheus::{Registry as Prometheus, TextEncoder};
use storage_core::Storage;

use super::health::Health;
use super::http::{Asked, HttpReply, Site};
use super::metrics::FrontMetrics;
use super::watch::Seen;
use stats::{Sources, Stats};

pub(crate) use history::History;

const PAGE: &str = include_str!("page.html");

/// The page loads nothing from elsewhere, and nothing can make it.
const HEADERS: &[(HeaderName, &str)] = &[
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

/// What the operator sees.
pub(crate) struct AdminSite {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) health: Arc<Health>,
    pub(crate) begun: Instant,
    pub(crate) prometheus: Prometheus,
    pub(crate) metrics: Arc<FrontMetrics>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) history: Arc<History>,
}

impl AdminSite {
    fn stats(&self) -> Stats {
        Stats::from(Sources {
            backend: self.storage.name(),
            server: self.storage.server(),
            clock: self.storage.clock(),
            begun: self.begun,
            last: self.seen.last(),
            errors: self.seen.failures(),
            totals: self.metrics.totals(),
            recent: self.history.recent(),
            http_connections: self.metrics.connections().get(),
        })
    }

    fn metrics(&self) -> HttpReply {
        match TextEncoder::new().encode_to_string(&self.prometheus.gather()) {
            Ok(text) => HttpReply {
                content_type: "text/plain; version=0.0.4",
                ..HttpReply::text(StatusCode::OK, text)
            },
            Err(error) => failed(&error),
        }
    }
}

impl Site for AdminSite {
    async fn get(&self, asked: Asked<'_>) -> HttpReply {
        let answer = match asked.path {
            "/" => HttpReply {
                content_type: "text/html; charset=utf-8",
                ..HttpReply::text(StatusCode::OK, PAGE)
            },
            "/stats" => match serde_json::to_vec(&self.stats()) {
                Ok(json) => {
                    HttpReply { content_type: "application/json", ..HttpReply::text(StatusCode::OK, json) }
                }
                Err(error) => failed(&error),
            },
            "/metrics" => self.metrics(),
            "/health" => HttpReply::health(self.health.is_healthy()),
            _ => HttpReply::text(StatusCode::NOT_FOUND, "there are /, /stats, /metrics and /health\n"),
        };
        HttpReply { headers: HEADERS, ..answer }
    }
}

fn failed(error: &dyn std::error::Error) -> HttpReply {
    HttpReply::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}
