//! The tracker over HTTP.

mod address;
mod connection_limit;
mod forwarded;
mod query;
mod request;
mod response;
mod routes;
mod server;
mod write_timeout;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;

use super::metrics::{FrontMetrics, RequestOutcome, ServedAction, TrackerProtocol};
use super::tracker::{Refusal, Tracker};
use request::{read_announce, read_scrape};
use routes::RouteTarget;

pub(crate) use address::AddressRules;
pub(crate) use connection_limit::{ConnectionLimit, PerIpLimit, network};
pub(crate) use query::{Encoded, parameters};
pub(crate) use response::FailureResponse;
pub(crate) use routes::{Route, Routes};
pub(crate) use server::{HttpRequest, HttpResponse, HttpService, serve};

/// What clients see.
pub(crate) struct TrackerService {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) rules: AddressRules,
    pub(crate) routes: Routes,
    pub(crate) metrics: Arc<FrontMetrics>,
}

impl TrackerService {
    async fn announce(&self, request: &HttpRequest<'_>) -> Result<Bytes, Refusal> {
        let from = self.rules.client(request.connection, request.headers)?;
        self.tracker.admit(from)?;
        let limits = &self.tracker.limits;
        let (announce, format) = read_announce(request.query, from, self.rules.allow_ip_spoofing, limits)?;
        let answer = self.tracker.announce(&announce).await?;
        Ok(response::announced(&answer, format, limits))
    }

    async fn scrape(&self, request: &HttpRequest<'_>) -> Result<Bytes, Refusal> {
        self.tracker.admit(self.rules.client(request.connection, request.headers)?)?;
        let info_hashes = read_scrape(request.query, self.tracker.limits.max_scrape_infohashes)?;
        let counts = self.tracker.scrape(&info_hashes).await?;
        Ok(response::scraped(&info_hashes, &counts))
    }

    /// Counts and times a request. A tracker reports failures in responses with status 200.
    async fn measured(
        &self,
        action: ServedAction,
        work: impl Future<Output = Result<Bytes, Refusal>>,
    ) -> HttpResponse {
        let begun = Instant::now();
        let result = work.await;
        self.metrics.record(TrackerProtocol::Http, action, RequestOutcome::of(&result), begun.elapsed());
        let body = result.unwrap_or_else(|refusal| response::failed(&refusal.to_string()));
        HttpResponse::new("text/plain", body)
    }
}

impl HttpService for TrackerService {
    async fn get(&self, request: HttpRequest<'_>) -> HttpResponse {
        match self.routes.target(request.path) {
            Some(RouteTarget::Announce) => {
                self.measured(ServedAction::Announce, self.announce(&request)).await
            }
            Some(RouteTarget::Scrape) => self.measured(ServedAction::Scrape, self.scrape(&request)).await,
            Some(RouteTarget::Health) => HttpResponse::health(self.tracker.health.is_healthy()),
            None => HttpResponse::text(
                StatusCode::NOT_FOUND,
                "nothing here: is the path of the announce URL right?\n",
            ),
        }
    }
}
