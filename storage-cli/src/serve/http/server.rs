//! Serving HTTP to strangers: everything that one of them can hold on to is bounded.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use storage_core::TaskSpawner;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::patience::Patient;
use super::per_address::{Counted, PerAddress};

/// The longest request line and headers together; a scrape of 50 v2 torrents needs 6 KB.
const MAX_HEAD: usize = 16 * 1024;

/// The most headers; proxies add some.
const MAX_HEADERS: usize = 64;

/// How long a client may take for a request head, and how long it may be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection that is not being answered may go on when it is time to stop: an answer may be
/// on its way out.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long the process waits before it accepts again, where it was refused the means to.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What is served.
pub(crate) trait Site: Send + Sync + 'static {
    /// Answers a GET.
    fn get(&self, asked: Asked<'_>) -> impl Future<Output = HttpReply> + Send;
}

/// A request.
pub(crate) struct Asked<'a> {
    /// The path.
    pub(crate) path: &'a str,
    /// What is behind the question mark.
    pub(crate) query: &'a [u8],
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
    /// Where the connection comes from.
    pub(crate) connection: IpAddr,
}

/// An answer.
pub(crate) struct HttpReply {
    /// Whether it is one.
    pub(crate) status: StatusCode,
    /// What is in it.
    pub(crate) content_type: &'static str,
    /// Further headers.
    pub(crate) headers: &'static [(HeaderName, &'static str)],
    /// The content.
    pub(crate) body: Bytes,
}

impl HttpReply {
    /// Text.
    pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", headers: &[], body: body.into() }
    }

    /// Whether clients are served, as load balancers ask.
    pub(crate) fn health(is_healthy: bool) -> Self {
        if is_healthy {
            Self::text(StatusCode::OK, "ok\n")
        } else {
            Self::text(StatusCode::SERVICE_UNAVAILABLE, "announces fail\n")
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// The connections that may be open at once.
#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    taken: Option<IntGauge>,
    per_address: Option<PerAddress>,
    /// Tells the connection that is there longest to make room.
    crowded: Arc<Notify>,
}

impl Places {
    /// So many.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            taken: None,
            per_address: None,
            crowded: Arc::default(),
        }
    }

    /// So many, of which an address gets no more than its share; those taken are shown by the gauge.
    pub(crate) fn shared(count: usize, per_address: PerAddress, taken: IntGauge) -> Self {
        Self { taken: Some(taken), per_address: Some(per_address), ..Self::new(count) }
    }

    async fn take(&self) -> Option<ConnectionPermit> {
        let free = Arc::clone(&self.free);
        let permit = match free.try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.crowded.notify_one();
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        Some(ConnectionPermit { counted: None, taken: None, _permit: permit })
    }
}

/// The place of one connection.
struct ConnectionPermit {
    counted: Option<Counted>,
    taken: Option<IntGauge>,
    /// The last to go: whoever gets it next may come from the same address.
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    /// Counts a connection from there until this is dropped; none, if it is one too many of its address.
    fn taken_by(mut self, from: IpAddr, places: &Places) -> Option<Self> {
        if let Some(per_address) = &places.per_address {
            self.counted = Some(per_address.count(from)?);
        }
        self.taken = places.taken.clone();
        if let Some(taken) = &self.taken {
            taken.inc();
        }
        Some(self)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(taken) = &self.taken {
            taken.dec();
        }
    }
}

/// Accepts connections until it is time to stop. Where all places are taken, a connection that is not
/// being answered makes room.
pub(crate) async fn serve(listener: TcpListener, site: Arc<impl Site>, places: Places, tasks: TaskSpawner) {
    loop {
        let accepted = tokio::select! {
            () = tasks.stopped() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, address, place)) = accepted else { continue };
        let crowded = Arc::clone(&places.crowded);
        tasks.spawn(attend(stream, address, Arc::clone(&site), place, crowded, tasks.clone()));
    }
}

async fn accept(listener: &TcpListener, places: &Places) -> Option<(TcpStream, IpAddr, ConnectionPermit)> {
    let place = places.take().await?;
    match listener.accept().await {
        Ok((stream, address)) => {
            let from = address.ip().to_canonical();
            Some((stream, from, place.taken_by(from, places)?))
        }
        Err(error) => {
            tracing::debug!(%error, "cannot accept a connection");
            tokio::time::sleep(EXHAUSTED).await;
            None
        }
    }
}

async fn attend(
    stream: TcpStream,
    connection: IpAddr,
    site: Arc<impl Site>,
    place: ConnectionPermit,
    crowded: Arc<Notify>,
    tasks: TaskSpawner,
) {
    // Without it an answer would wait for the client's word that it has the one before.
    let _ = stream.set_nodelay(true);
    let is_answering = AtomicBool::new(false);
    let answer = service_fn(async |request| {
        is_answering.store(true, Ordering::Relaxed);
        let answer = answer(&*site, &request, connection).await;
        is_answering.store(false, Ordering::Relaxed);
        Ok::<_, Infallible>(answer.into_response())
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(Patient::new(stream)), answer);
    let mut served = pin!(served);
    // What is being answered is answered; one that has not asked yet is not waited for.
    let last_words = tokio::select! {
        _ = &mut served => return,
        () = tasks.stopped() => LAST_WORDS,
        () = crowded.notified() => Duration::ZERO,
    };
    served.as_mut().graceful_shutdown();
    if is_answering.load(Ordering::Relaxed) {
        let _ = served.await;
    } else {
        let _ = timeout(last_words, served).await;
    }
    drop(place);
}

/// Bodies are not read: nothing here needs one.
async fn answer(site: &impl Site, request: &Request<Incoming>, connection: IpAddr) -> HttpReply {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let refused = HttpReply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        return HttpReply { headers: &[(ALLOW, "GET")], ..refused };
    }
    let uri = request.uri();
    let query = uri.query().unwrap_or_default().as_bytes();
    site.get(Asked { path: uri.path(), query, headers: request.headers(), connection }).await
}
