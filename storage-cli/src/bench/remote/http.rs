//! Announces over HTTP (BEP 3), on a persistent connection.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use storage_core::{Announce, AnnounceEvent, ErrorKind, Result};
use tokio::net::TcpStream;

use super::{BoxError, TrackerUrl, failed, with_timeout};
use crate::bench::clients::Announcer;
use crate::serve::{FailureResponse, TrackerProtocol};

/// The beginning of a refusal (BEP 3).
const REFUSAL: &[u8] = b"d14:failure reason";

/// A client over HTTP.
pub(super) struct HttpAnnouncer {
    tracker: Arc<TrackerUrl>,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl HttpAnnouncer {
    pub(super) fn new(tracker: Arc<TrackerUrl>) -> Self {
        Self { tracker, connection: None }
    }

    async fn ask(&mut self, target: String) -> Result<()> {
        let answer = self.get(target).await;
        let (status, body) = answer
            .map_err(|cause| failed(TrackerProtocol::Http, ErrorKind::Unavailable).with_source(cause))?;
        let refused = |reason| Err(failed(TrackerProtocol::Http, ErrorKind::Rejected).with_message(reason));
        match body.strip_prefix(REFUSAL) {
            _ if status != StatusCode::OK => refused(status.to_string()),
            Some(_) => refused(match serde_bencode::from_bytes::<FailureResponse<'_>>(&body) {
                Ok(failure) => failure.reason.escape_debug().to_string(),
                Err(_) => body.escape_ascii().to_string(),
            }),
            None if body.starts_with(b"d") => Ok(()),
            None => Err(failed(TrackerProtocol::Http, ErrorKind::Corrupt)),
        }
    }

    async fn get(&mut self, target: String) -> Result<(StatusCode, Bytes), BoxError> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => connect(&self.tracker).await?,
        };
        let request = Request::get(target).header(HOST, &self.tracker.url.host).body(Empty::new())?;
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        // Only after a whole response: not after an error or a timeout.
        self.connection = Some(connection);
        Ok((status, body))
    }
}

impl Announcer for HttpAnnouncer {
    async fn announce(&mut self, announce: &Announce) -> Result<()> {
        let target = self.tracker.url.path_for_more() + &parameters(announce);
        with_timeout(TrackerProtocol::Http, self.ask(target)).await
    }
}

async fn connect(tracker: &TrackerUrl) -> Result<SendRequest<Empty<Bytes>>, BoxError> {
    let stream = TcpStream::connect(tracker.address).await?;
    stream.set_nodelay(true)?;
    let (connection, speaking) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(speaking);
    Ok(connection)
}

/// The query parameters; the tracker takes the address from the connection.
fn parameters(announce: &Announce) -> String {
    let encoded = |bytes| percent_encode(bytes, NON_ALPHANUMERIC);
    let event = match announce.event {
        AnnounceEvent::None => "",
        AnnounceEvent::Started => "&event=started",
        AnnounceEvent::Completed => "&event=completed",
        AnnounceEvent::Stopped => "&event=stopped",
    };
    let left = i32::from(!announce.role.is_seeder());
    let (info_hash, num_want) = (encoded(announce.info_hash.as_bytes()), announce.num_want);
    let client = announce.peers().first().map_or_else(String::new, |peer| {
        format!("&peer_id={}&port={}", encoded(peer.id().as_bytes()), peer.port())
    });
    format!(
        "info_hash={info_hash}{client}&uploaded=0&downloaded=0&left={left}&compact=1&numwant={num_want}{event}"
    )
}
