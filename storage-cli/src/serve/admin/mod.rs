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
use super::http::{HttpRequest, HttpResponse, HttpService};
use super::metrics::FrontMetrics;
use super::status::Status;

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
pub(crate) struct AdminService {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) health: Arc<Health>,
    pub(crate) begun: Instant,
    pub(crate) prometheus: Prometheus,
    pub(crate) metrics: Arc<FrontMetrics>,
    pub(crate) status: Arc<Status>,
    pub(crate) history: Arc<History>,
}

impl HttpService for AdminService {
    async fn get(&self, request: HttpRequest<'_>) -> HttpResponse {
        let answer = match request.path {
            "/" => HttpResponse::new("text/html; charset=utf-8", PAGE),
            "/stats" => match serde_json::to_vec(&self.stats()) {
                Ok(json) => HttpResponse::new("application/json", json),
                Err(error) => failed(&error),
            },
            "/metrics" => match TextEncoder::new().encode_to_string(&self.prometheus.gather()) {
                Ok(text) => HttpResponse::new("text/plain; version=0.0.4", text),
                Err(error) => failed(&error),
            },
            "/health" => HttpResponse::health(self.health.is_healthy()),
            _ => HttpResponse::text(
                StatusCode::NOT_FOUND,
                "not found; the paths are /, /stats, /metrics and /health\n",
            ),
        };
        HttpResponse { headers: HEADERS, ..answer }
    }
}

fn failed(error: &dyn std::error::Error) -> HttpResponse {
    HttpResponse::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}
