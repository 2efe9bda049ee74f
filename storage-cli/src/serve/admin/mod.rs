//! What the operator sees, on an address of its own: metrics, health, the state as JSON and as a page, swarms.

mod api;
mod history;
mod routes;
mod stats;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, X_CONTENT_TYPE_OPTIONS};
use prometheus::{Registry as Prometheus, TextEncoder};
use storage_core::{Storage, TaskSpawner};

use super::health::Health;
use super::http::{HttpRequest, HttpResponse, HttpService};
use super::metrics::FrontMetrics;
use super::status::Status;
use api::{ApiError, ErrorCode, SwarmReader};
use routes::AdminRoute;

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
    storage: Arc<dyn Storage>,
    begun: Instant,
    prometheus: Prometheus,
    metrics: Arc<FrontMetrics>,
    status: Arc<Status>,
    history: Arc<History>,
    swarms: SwarmReader,
}

impl AdminService {
    /// Begins a history; the tasks read what is asked for.
    pub(crate) fn new(
        storage: &Arc<dyn Storage>,
        prometheus: Prometheus,
        metrics: Arc<FrontMetrics>,
        status: Arc<Status>,
        tasks: &TaskSpawner,
    ) -> Self {
        let history = Arc::new(History::new(Arc::clone(&metrics)));
        tasks.spawn_until_stopped(Arc::clone(&history).record());
        let swarms = SwarmReader::new(Arc::clone(storage), tasks.clone());
        let (storage, begun) = (Arc::clone(storage), Instant::now());
        Self { storage, begun, prometheus, metrics, status, history, swarms }
    }

    fn health(&self) -> &Health {
        &self.status.health
    }

    fn metrics(&self) -> HttpResponse {
        match TextEncoder::new().encode_to_string(&self.prometheus.gather()) {
            Ok(text) => HttpResponse::new("text/plain; version=0.0.4", text),
            Err(error) => HttpResponse::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// Text for people, JSON for programs.
    fn not_found(path: &str) -> HttpResponse {
        let paths: Vec<_> = routes::ROUTES.iter().map(|(path, _)| *path).collect();
        let message = format!("not found; the paths are {}", paths.join(", "));
        if routes::is_api(path) {
            return ApiError::new(ErrorCode::NotFound, message).response();
        }
        HttpResponse { headers: HEADERS, ..HttpResponse::text(StatusCode::NOT_FOUND, message + "\n") }
    }
}

impl HttpService for AdminService {
    async fn get(&self, request: HttpRequest<'_>) -> HttpResponse {
        let HttpRequest { path, query, .. } = request;
        let Some((route, argument)) = routes::find(path) else { return Self::not_found(path) };
        let answer = match route {
            AdminRoute::Page => HttpResponse::new("text/html; charset=utf-8", PAGE),
            AdminRoute::Metrics => self.metrics(),
            AdminRoute::Health => HttpResponse::health(self.health().is_healthy()),
            AdminRoute::Stats => {
                // The old path ignored parameters.
                let query = if routes::is_api(path) { query } else { &[] };
                return json(api::without_parameters(query, &self.stats()));
            }
            AdminRoute::Swarms => return json(self.swarms.swarms(query).await),
            AdminRoute::Swarm => return json(self.swarms.swarm(argument, query).await),
            AdminRoute::OpenApi => {
                let description = HttpResponse::new("application/json", api::OPENAPI);
                return HttpResponse { headers: api::OPENAPI_HEADERS, ..description };
            }
        };
        HttpResponse { headers: HEADERS, ..answer }
    }

    fn method_not_allowed(&self, path: &str) -> HttpResponse {
        let message = "only GET and HEAD";
        if routes::is_api(path) {
            return ApiError::new(ErrorCode::MethodNotAllowed, message).response();
        }
        HttpResponse::text(StatusCode::METHOD_NOT_ALLOWED, format!("{message}\n"))
    }
}

fn json(answer: Result<Bytes, ApiError>) -> HttpResponse {
    match answer {
        Ok(json) => HttpResponse { headers: api::HEADERS, ..HttpResponse::new("application/json", json) },
        Err(error) => error.response(),
    }
}
