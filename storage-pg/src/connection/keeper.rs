//! What the pool does between calls: connections too old or idle go, `pool_min_conns` stay.

use std::time::Duration;

use deadpool::managed::{Pool, Timeouts, WeakPool};
use futures::future::join_all;

use super::closing::close;
use super::manager::Manager;

/// The time between two rounds, at most.
const ROUND: Duration = Duration::from_secs(15);

/// Makes its rounds until the pool is gone.
pub(super) async fn keep(pool: WeakPool<Manager>) {
    while let Some(pool) = pool.upgrade() {
        discard_spare(&pool).await;
        top_up(&pool).await;
        let settings = pool.manager().pool_settings();
        let shortest = settings.max_idle.min(settings.max_lifetime);
        let wait = ROUND.min(shortest / 2).max(Duration::from_millis(100));
        drop(pool);
        tokio::time::sleep(wait).await;
    }
}

async fn discard_spare(pool: &Pool<Manager>) {
    let settings = pool.manager().pool_settings();
    let mut spare = pool.status().size.saturating_sub(settings.min_connections);
    let discarded = pool.retain(|slot, _| {
        let is_spare = spare > 0 && slot.is_idle_for(settings.max_idle);
        let goes = is_spare || slot.is_too_old();
        spare = spare.saturating_sub(usize::from(goes));
        !goes
    });
    join_all(discarded.removed.into_iter().filter_map(|slot| slot.connection).map(close)).await;
}

/// Takes connections out until there are enough; the last ones are new.
async fn top_up(pool: &Pool<Manager>) {
    let at_once = Timeouts { wait: Some(Duration::ZERO), ..Timeouts::default() };
    let mut taken = Vec::new();
    while pool.status().size < pool.manager().pool_settings().min_connections {
        match pool.timeout_get(&at_once).await {
            Ok(connection) => taken.push(connection),
            // All are in use, or there is no server; the next round will see.
            Err(_) => return,
        }
    }
}
