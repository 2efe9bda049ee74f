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
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use storage_core::TaskSpawner;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connection_limit::{ConnectionLimit, ConnectionPermit};
use super::write_timeout::WriteTimeout;

/// The longest request line and headers together; a scrape of 50 v2 torrents needs 6 KB.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The most headers.
const MAX_HEADERS: usize = 64;

/// How long a client may take for the request headers, and how long it may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an idle connection may stay open at shutdown: a response may still be on its way.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(250);

/// The pause after a failed accept, such as without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The methods that are served; HEAD as GET without the body.
const METHODS: &[(HeaderName, &str)] = &[(ALLOW, "GET, HEAD"), (CACHE_CONTROL, "no-store")];

/// Answers requests.
pub(crate) trait HttpService: Send + Sync + 'static {
    /// Answers a GET.
    fn get(&self, request: HttpRequest<'_>) -> impl Future<Output = HttpResponse> + Send;

    /// Answers a request of any other method than GET and HEAD; `Allow` is added.
    fn method_not_allowed(&self, _path: &str) -> HttpResponse {
        HttpResponse::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n")
    }
}

/// A request.
pub(crate) struct HttpRequest<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: &'a [u8],
    pub(crate) headers: &'a HeaderMap,
    /// Where the connection comes from.
    pub(crate) connection: IpAddr,
}

/// An answer.
pub(crate) struct HttpResponse {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: &'static [(HeaderName, &'static str)],
    pub(crate) body: Bytes,
}

impl HttpResponse {
    /// A success.
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, headers: &[], body: body.into() }
    }

    /// Text.
    pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, ..Self::new("text/plain; charset=utf-8", body) }
    }

    /// A health check for load balancers.
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

/// Accepts connections until it is time to stop. At the limit an idle connection is closed to make room.
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
        let Some((stream, from, permit)) = accepted else { continue };
        let make_room = Arc::clone(&limit.make_room);
        tasks.spawn(serve_connection(stream, from, Arc::clone(&service), permit, make_room, tasks.clone()));
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
            Some((stream, from, limit.count(permit, from)?))
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
    // Otherwise a response waits for the acknowledgement of the previous one.
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
    // Requests in flight are answered; idle connections are closed.
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

/// Request bodies are ignored.
async fn answer(service: &impl HttpService, request: &Request<Incoming>, connection: IpAddr) -> HttpResponse {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let refused = service.method_not_allowed(request.uri().path());
        return HttpResponse { headers: METHODS, ..refused };
    }
    let uri = request.uri();
    let query = uri.query().unwrap_or_default().as_bytes();
    service.get(HttpRequest { path: uri.path(), query, headers: request.headers(), connection }).await
}
