//! The tracker over HTTP.

mod address;
mod announce;
mod answer;
mod forwarded;
mod malformed;
mod patience;
mod per_address;
mod query;
mod routes;
mod scrape;
mod server;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::StatusCode;

use super::metrics::{AnnounceOutcome, FrontMetrics, ServedAction, ServedProtocol};
use super::tracker::{Refusal, Tracker};
use malformed::Malformed;

use routes::RouteTarget;

pub(crate) use address::AddressRules;
pub(crate) use per_address::{PerAddress, network};
pub(crate) use routes::{Route, Routes};
pub(crate) use server::{Asked, HttpReply, Places, Site, serve};

/// What clients see.
pub(crate) struct TrackerSite {
    tracker: Arc<Tracker>,
    rules: AddressRules,
    routes: Routes,
    metrics: Arc<FrontMetrics>,
}

/// Why a request is answered with a reason.
#[derive(thiserror::Error, Debug)]
enum Failed {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Refused(Refusal),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<&Failed> for AnnounceOutcome {
    fn from(failed: &Failed) -> Self {
        match failed {
            Failed::Malformed(_) => Self::Malformed,
            Failed::Refused(refusal) => (*refusal).into(),
        }
    }
}

impl TrackerSite {
    /// The site of a tracker.
    pub(crate) fn new(
        tracker: Arc<Tracker>,
        rules: AddressRules,
        routes: Routes,
        metrics: Arc<FrontMetrics>,
    ) -> Self {
        Self { tracker, rules, routes, metrics }
    }

    async fn announce(&self, asked: &Asked<'_>) -> Result<Bytes, Failed> {
        let from = self.rules.client(asked.connection, asked.headers)?;
        self.tracker.admit(from)?;
        let (client, form) = announce::read(asked.query, from, self.rules.allow_ip_spoofing)?;
        let answer = self.tracker.announce(&client).await?;
        Ok(answer::announced(&answer, form, self.tracker.limits()))
    }

    async fn scrape(&self, asked: &Asked<'_>) -> Result<Bytes, Failed> {
        self.tracker.admit(self.rules.client(asked.connection, asked.headers)?)?;
        let info_hashes = scrape::read(asked.query, self.tracker.limits().max_scrape_infohashes)?;
        let counts = self.tracker.scrape(&info_hashes).await?;
        Ok(answer::scraped(&info_hashes, &counts))
    }

    /// Counts and times a request; trackers tell of failures in answers that are fine by HTTP.
    async fn measured(
        &self,
        action: ServedAction,
        work: impl Future<Output = Result<Bytes, Failed>>,
    ) -> HttpReply {
        let begun = Instant::now();
        let result = work.await;
        let outcome = result.as_ref().map_or_else(AnnounceOutcome::from, |_| AnnounceOutcome::Ok);
        self.metrics.record(ServedProtocol::Http, action, outcome, begun.elapsed());
        let body = result.unwrap_or_else(|failed| answer::failed(&failed.to_string()));
        HttpReply { content_type: "text/plain", ..HttpReply::text(StatusCode::OK, body) }
    }
}

impl Site for TrackerSite {
    async fn get(&self, asked: Asked<'_>) -> HttpReply {
        match self.routes.target(asked.path) {
            Some(RouteTarget::Announce) => self.measured(ServedAction::Announce, self.announce(&asked)).await,
            Some(RouteTarget::Scrape) => self.measured(ServedAction::Scrape, self.scrape(&asked)).await,
            Some(RouteTarget::Health) => HttpReply::health(self.tracker.is_healthy()),
            None => HttpReply::text(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }
}
