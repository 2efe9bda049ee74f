//! Disconnecting.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::runtime::Handle;

/// A server that is gone is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells the server that the connection ends.
pub(super) async fn close(connection: PgConnection) {
    // An error means that it has ended already.
    let _ = tokio::time::timeout(PATIENCE, connection.close()).await;
}

/// The same, without making anybody wait.
pub(super) fn close_in_background(connection: PgConnection) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(close(connection));
    }
}
