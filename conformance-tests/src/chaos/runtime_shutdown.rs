//! A process whose runtime is shut down while calls hang. It is a process of its own, for it may abort.

use std::net::SocketAddr;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use storage_core::PeerStorageExt;
use storage_core::config::StorageConfig;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::client::{peer, swarm};
use super::target::{TargetServer, open, pg_address, pg_config, redis_config};
use super::{OPERATION_TIMEOUT, Run, ScenarioReport, panics};
use crate::servers::tcp_proxy::{Direction, NetworkFault};
use crate::servers::{Found, Missing, TcpProxy};

/// The environment variable that makes this program the child: the backend and the server's address.
const CHILD_VARIABLE: &str = "TRACKER_STORAGE_CHAOS_CHILD";
const CALLS: usize = 200;
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that the child may take.
const CHILD_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the child and waits for its end.
///
/// # Errors
/// [`Missing`] if it does not start.
pub async fn in_child(mut run: Run) -> Found<ScenarioReport> {
    let backend = match &run.target.server {
        TargetServer::Pg(_) => "pg",
        TargetServer::Redis(_) => "redis",
    };
    let program = std::env::current_exe().map_err(Missing::failed)?;
    let mut command = std::process::Command::new(program);
    command.env(CHILD_VARIABLE, format!("{backend} {}", run.target.direct_address()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let mut child = command.kill_on_drop(true).spawn().map_err(Missing::failed)?;
    let errors = child.stderr.take();
    let ended = timeout(CHILD_TIMEOUT, async { tokio::join!(child.wait(), read_all(errors)) }).await;
    run.report.unknown += CALLS as u64;
    match ended {
        Ok((Ok(status), _)) if status.success() => {}
        Ok((status, errors)) => {
            run.report.violations.push(format!("the process ended with {status:?}:\n{errors}"));
        }
        Err(_) => run.report.violations.push(format!("the process runs longer than {CHILD_TIMEOUT:?}")),
    }
    Ok(run.report)
}

async fn read_all(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = String::new();
    if let Some(mut from) = from {
        let _ = from.read_to_string(&mut text).await;
    }
    text
}

/// What this process is if it is the child, and how it ended.
pub(super) fn child() -> Option<ExitCode> {
    let task = std::env::var(CHILD_VARIABLE).ok()?;
    panics::count();
    let ended = shut_down(&task);
    let panics = panics::take_all();
    if let Err(missing) = &ended {
        eprintln!("{missing}");
    }
    Some(if ended.is_ok() && panics.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shut_down(task: &str) -> Found<()> {
    let outside =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Missing::failed)?;
    let inside =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Missing::failed)?;
    let (backend, server) = task.split_once(' ').ok_or_else(|| Missing::failed("expected two words"))?;
    let address =
        if backend == "pg" { pg_address(server)? } else { server.parse().map_err(Missing::failed)? };
    let proxy = outside.block_on(TcpProxy::start(address)).map_err(Missing::failed)?;
    let storage = inside.block_on(open(config(backend, server, proxy.address())))?;
    proxy.fault_new(Direction::Both, NetworkFault::Hold);
    proxy.fault_open(Direction::ToClient, NetworkFault::Hold, 1.0, &mut StdRng::seed_from_u64(0));
    for number in 0..CALLS {
        let storage = storage.clone();
        inside.spawn(async move {
            let (swarm, peer) = (swarm(number % 7), peer(number, 0));
            match number % 3 {
                0 => drop(storage.put_leecher(&swarm, &peer).await),
                1 => drop(storage.graduate_leecher(&swarm, &peer).await),
                _ => drop(storage.scrape_swarm(&swarm).await),
            }
        });
    }
    inside.block_on(async { sleep(Duration::from_millis(300)).await });
    inside.shutdown_timeout(SHUTDOWN_TIMEOUT);
    drop(storage);
    outside.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(())
}

fn config(backend: &str, server: &str, proxy: SocketAddr) -> StorageConfig {
    match backend {
        "pg" => pg_config(server, &[proxy], OPERATION_TIMEOUT),
        _ => redis_config(&[proxy], OPERATION_TIMEOUT),
    }
}
