//! A connection to a server, ready for use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisResult, Value};

use super::greeting::explain;
use super::node::{NodeConnection, ReplicaWait};

/// A connection to a server that has the scripts, and what is needed to know that it is closed.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) node: NodeConnection,
    pub(super) lost: Arc<AtomicBool>,
}

impl Link {
    /// Connects; to a replica only if nobody says that it is the primary.
    pub(super) async fn make(
        client: &Client,
        config: &AsyncConnectionConfig,
        wait: Option<ReplicaWait>,
        is_named_by_sentinels: bool,
    ) -> RedisResult<Self> {
        let lost = Arc::new(AtomicBool::new(false));
        let config = config.clone().set_push_sender(note_disconnection(&lost));
        let connected = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            if is_named_by_sentinels {
                check_role(&mut connection).await?;
            }
            let node = NodeConnection::new(connection, wait).await?;
            node.load_scripts().await?;
            Ok(node)
        };
        match connected.await {
            Ok(node) => Ok(Self { node, lost }),
            Err(error) => Err(explain(error, client.get_connection_info().addr()).await),
        }
    }

    /// Whether it is known to be closed.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Sentinels may name a server that has become a replica, and one that is not the primary yet.
async fn check_role(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let answer = connection.req_packed_command(&redis::cmd("HELLO")).await?.extract_error()?;
    let mut about: HashMap<String, Value> = redis::from_redis_value(answer)?;
    let role: String = redis::from_redis_value(about.remove("role").unwrap_or(Value::Nil))?;
    if role == "master" {
        return Ok(());
    }
    Err(std::io::Error::other("the sentinels name it as the primary, but it is a replica").into())
}

fn note_disconnection(lost: &Arc<AtomicBool>) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static {
    let lost = Arc::clone(lost);
    move |push| {
        if push.kind == PushKind::Disconnection {
            lost.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
