//! Several hosts in one connection string: one that is down is skipped, one that is back is used again.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use storage_core::{InfoHash, Peer, PeerId, PeerSelection, PeerStorageExt, Storage};
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, on_schema, open, proxies_for, test};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema, open_sockets_to};
use futures::future::join_all;

const SWARM: InfoHash = InfoHash::V1([1; 20]);

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("a node that is down is skipped, one that is back is used again", |url| {
            block_on(nodes_come_and_go(url))
        }),
        on_schema(
            "a standby that is promoted while the primary hangs is used at once",
            Recommendation::default(),
            |schema| block_on(a_standby_is_promoted(schema)),
        ),
        on_schema(
            "a role that may have fewer connections than the pool fails no call",
            Recommendation::default(),
            |schema| block_on(fewer_connections(schema)),
        ),
        test("connections have keepalive unless the operator turns it off", |url| {
            block_on(connections_are_kept_alive(url))
        }),
    ]
}

async fn nodes_come_and_go(url: &PgUrl) -> Result<(), Failed> {
    let (first, second, url) = {
        let (mut proxies, url) = proxies_for(url, 2).await?;
        let second = proxies.pop().ok_or("there are two proxies")?;
        (proxies.pop().ok_or("there are two proxies")?, second, url)
    };
    let retries = Arc::new(Counter::default());
    let storage = open(&url, Arc::clone(&retries)).await?;
    use_it(&*storage, 0).await?;
    ensure(first.accepted() > 0 && second.accepted() == 0, || "the hosts are not tried in order".into())?;

    first.take_down().await;
    use_it(&*storage, 1).await?;
    ensure(second.accepted() > 0, || "the second node was not used".into())?;

    first.bring_up().await?;
    let before = first.accepted();
    second.take_down().await;
    use_it(&*storage, 2).await?;
    ensure(first.accepted() > before, || "the first node was not used again".into())?;

    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders == 60 && counts.leechers == 0, || format!("found {counts:?}"))?;
    ensure(counts.downloads == 60, || format!("found {counts:?}"))?;
    Ok(storage.close().await?)
}

/// A promotion is simulated by a role that is read-only and then is not.
async fn a_standby_is_promoted(schema: &Schema) -> Result<(), Failed> {
    let (role, password) = (format!("{}_role", schema.name()), "promotion");
    schema.execute(&format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")).await?;
    let used = promoted_for(schema, &role, password).await;
    schema.execute(&format!("DROP ROLE {role}")).await?;
    used
}

async fn fewer_connections(schema: &Schema) -> Result<(), Failed> {
    let (role, password) = (format!("{}_role", schema.name()), "limited");
    // A superuser has no limit.
    let create = format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{password}' CONNECTION LIMIT 2;
         GRANT USAGE ON SCHEMA {} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {} TO {role}",
        schema.name(),
        schema.name()
    );
    schema.execute(&create).await?;
    let url = PgUrl::parse(&schema.connection_string()).of_role(&role, password).with("pool_max_conns", 8);
    let used = async {
        let storage = open(&url, Arc::default()).await?;
        for round in 0..4 {
            let calls = (0..64).map(|caller| use_it(&*storage, caller));
            join_all(calls).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            // Connections that are idle for long are verified first.
            tokio::time::sleep(Duration::from_millis(if round == 2 { 1_500 } else { 10 })).await;
        }
        Ok::<_, Failed>(storage.close().await?)
    };
    let used = used.await;
    let drop = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}';
         DROP OWNED BY {role}; DROP ROLE {role}"
    );
    schema.execute(&drop).await?;
    used
}

async fn promoted_for(schema: &Schema, role: &str, password: &str) -> Result<(), Failed> {
    let url = PgUrl::parse(&schema.connection_string()).of_role(role, password);
    let (mut proxies, _) = proxies_for(&url, 1).await?;
    let standby = proxies.pop().ok_or("there is a proxy")?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let hosts = [standby.address().to_string(), silent.local_addr()?.to_string()];
    let url = url.at(&hosts).with("target_session_attrs", "read-write").with("connect_timeout", 60);
    let storage = open(&url, Arc::default()).await?;

    let read_only = |turned| format!("ALTER ROLE {role} SET default_transaction_read_only = {turned}");
    schema.execute(&read_only("on")).await?;
    standby.take_down().await;
    standby.bring_up().await?;
    let promoted = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        schema.execute(&read_only("off")).await
    };
    // Less than `connect_timeout`.
    let deadline = Duration::from_secs(20);
    let (scraped, turned) =
        tokio::join!(tokio::time::timeout(deadline, storage.scrape_swarm(&SWARM)), promoted);
    turned?;
    scraped.map_err(|_| "the promoted standby was not asked again")??;
    Ok(storage.close().await?)
}

async fn connections_are_kept_alive(url: &PgUrl) -> Result<(), Failed> {
    for is_kept in [true, false] {
        let (proxies, url) = proxies_for(url, 1).await?;
        let url = url.with("keepalives", u8::from(is_kept));
        let storage = open(&url, Arc::default()).await?;
        let swarms: Vec<_> = (0..64).map(|number| InfoHash::V1([number; 20])).collect();
        join_all(swarms.iter().map(|swarm| storage.scrape_swarm(swarm))).await;
        // The timer of a connection that waits for an answer is another.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let open = open_sockets_to(proxies[0].address().port())?;
        let expected = if is_kept { open.all } else { 0 };
        ensure(open.all > 0 && open.kept_alive == expected, || format!("keepalives {is_kept}: {open:?}"))?;
        storage.close().await?;
    }
    Ok(())
}

/// Every call must succeed, also the first one after a node is down: its connections were idle, and the call can be
/// retried on another host.
async fn use_it(storage: &dyn Storage, round: u8) -> Result<(), Failed> {
    for number in 0..20 {
        let peer = Peer::new(PeerId([number; 20]), IpAddr::from([10, 0, round, number]), 6881);
        storage.put_leecher(&SWARM, &peer).await?;
        storage.delete_leecher(&SWARM, &peer).await?;
        storage.put_leecher(&SWARM, &peer).await?;
        storage.graduate_leecher(&SWARM, &peer).await?;
        storage.announce_peers(&PeerSelection::new(SWARM, 50)).await?;
        storage.scrape_swarm(&SWARM).await?;
    }
    Ok(())
}
