//! What a server says before it hangs up.
//!
//! A server that has no connection left, or that is protected from other machines, says so as soon as somebody
//! connects, and closes the connection. redis-rs has sent several commands by then and wants an answer to each, so
//! that it reports no more than a connection that was reset.

use std::time::Duration;

use redis::{ConnectionAddr, RedisError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest to wait for it. A server that takes the connection waits for a command, and says nothing.
const GREETING: Duration = Duration::from_millis(500);

/// More than a refusal is long.
const LONGEST: u64 = 1024;

/// The refusal of the server, if it is why the connection was lost; otherwise the error itself. One that wants TLS
/// says nothing to those who do not speak it.
pub(super) async fn explain(error: RedisError, server: &ConnectionAddr) -> RedisError {
    let ConnectionAddr::Tcp(host, port) = server else { return error };
    if !is_hanging_up(&error) {
        return error;
    }
    timeout(GREETING, refusal(host, *port)).await.ok().flatten().unwrap_or(error)
}

/// Whether the server may have closed the connection by itself.
fn is_hanging_up(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Io && !error.is_connection_refusal() && !error.is_timeout()
}

async fn refusal(host: &str, port: u16) -> Option<RedisError> {
    let stream = TcpStream::connect((host, port)).await.ok()?;
    let mut said = Vec::new();
    stream.take(LONGEST).read_to_end(&mut said).await.ok()?;
    redis::parse_redis_value(&said).ok()?.extract_error().err()
}
