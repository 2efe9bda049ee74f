//! An HTTP server with limits for each client.

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

use super::per_ip_limit::{PerIpLimit, PerIpPermit};
use super::write_timeout::WriteTimeout;

/// The longest request line and headers together; a scrape of 50 v2 torrents needs 6 KB.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The most headers; proxies add some.
const MAX_HEADERS: usize = 64;

/// How long a client may take for a request head, and how long it may be silent between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection that is not being answered may go on when it is time to stop: an answer may be
/// on its way out.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(250);

/// How long the process waits before it accepts again, where it was refused the means to.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What is served.
pub(crate) trait HttpService: Send + Sync + 'static {
    /// Answers a GET.
    fn get(&self, request: HttpRequest<'_>) -> impl Future<Output = HttpResponse> + Send;
}

/// A request.
pub(crate) struct HttpRequest<'a> {
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
pub(crate) struct HttpResponse {
    /// Whether it is one.
    pub(crate) status: StatusCode,
    /// What is in it.
    pub(crate) content_type: &'static str,
    /// Further headers.
    pub(crate) headers: &'static [(HeaderName, &'static str)],
    /// The content.
    pub(crate) body: Bytes,
}

impl HttpResponse {
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
pub(crate) struct ConnectionLimit {
    free: Arc<Semaphore>,
    taken: Option<IntGauge>,
    per_ip: Option<PerIpLimit>,
    /// Tells the connection that is there longest to make room.
    make_room: Arc<Notify>,
}

impl ConnectionLimit {
    /// So many.
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), taken: None, per_ip: None, make_room: Arc::default() }
    }

    /// So many, of which an address gets no more than its share; the gauge shows those taken.
    pub(crate) fn shared(count: usize, per_ip: PerIpLimit, taken: IntGauge) -> Self {
        Self { taken: Some(taken), per_ip: Some(per_ip), ..Self::new(count) }
    }

    async fn take(&self) -> Option<ConnectionPermit> {
        let free = Arc::clone(&self.free);
        let permit = match free.try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.make_room.notify_one();
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        Some(ConnectionPermit { counted: None, taken: None, _permit: permit })
    }
}

/// The permit of one connection.
struct ConnectionPermit {
    counted: Option<PerIpPermit>,
    taken: Option<IntGauge>,
    /// The last to go: whoever gets it next may come from the same address.
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    /// Counts a connection from there until this is dropped; none, if it is one too many of its address.
    fn taken_by(mut self, from: IpAddr, limit: &ConnectionLimit) -> Option<Self> {
        if let Some(per_ip) = &limit.per_ip {
            self.counted = Some(per_ip.count(from)?);
        }
        self.taken = limit.taken.clone();
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

/// Accepts connections until it is time to stop. Where all connections are taken, a connection that is not
/// being answered makes room.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Arc<impl HttpService>,
    limit: ConnectionLimit,
    tasks: TaskSpawner,
) {
    loop {
        let accepted = tokio::select! {
            () = tasks.stopped() => return,
            accepted = accept(&listener, &limit) => accepted,
        };
        let Some((stream, address, permit)) = accepted else { continue };
        let make_room = Arc::clone(&limit.make_room);
        tasks.spawn(serve_connection(
            stream,
            address,
            Arc::clone(&service),
            permit,
            make_room,
            tasks.clone(),
        ));
    }
}

async fn accept(
    listener: &TcpListener,
    limit: &ConnectionLimit,
) -> Option<(TcpStream, IpAddr, ConnectionPermit)> {
    let permit = limit.take().await?;
    match listener.accept().await {
        Ok((stream, address)) => {
            let from = address.ip().to_canonical();
            Some((stream, from, permit.taken_by(from, limit)?))
        }
        Err(error) => {
            tracing::debug!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    connection: IpAddr,
    service: Arc<impl HttpService>,
    permit: ConnectionPermit,
    make_room: Arc<Notify>,
    tasks: TaskSpawner,
) {
    // Without it an answer would wait for the client's word that it has the one before.
    let _ = stream.set_nodelay(true);
    let is_answering = AtomicBool::new(false);
    let answer = service_fn(async |request| {
        is_answering.store(true, Ordering::Relaxed);
        let answer = answer(&*service, &request, connection).await;
        is_answering.store(false, Ordering::Relaxed);
        Ok::<_, Infallible>(answer.into_response())
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream)), answer);
    let mut served = pin!(served);
    // What is being answered is answered; one that has not asked yet is not waited for.
    let grace = tokio::select! {
        _ = &mut served => return,
        () = tasks.stopped() => SHUTDOWN_GRACE,
        () = make_room.notified() => Duration::ZERO,
    };
    served.as_mut().graceful_shutdown();
    if is_answering.load(Ordering::Relaxed) {
        let _ = served.await;
    } else {
        let _ = timeout(grace, served).await;
    }
    drop(permit);
}

/// Bodies are not read: nothing here needs one.
async fn answer(service: &impl HttpService, request: &Request<Incoming>, connection: IpAddr) -> HttpResponse {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let refused = HttpResponse::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        return HttpResponse { headers: &[(ALLOW, "GET")], ..refused };
    }
    let uri = request.uri();
    let query = uri.query().unwrap_or_default().as_bytes();
    service.get(HttpRequest { path: uri.path(), query, headers: request.headers(), connection }).await
}
