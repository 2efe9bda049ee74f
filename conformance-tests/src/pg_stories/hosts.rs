//! Several hosts in one connection string: one that goes away is left, one that comes back is used
//! again.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use storage_core::{InfoHash, Peer, PeerId, PeerSelection, Storage};
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, open, test, ways_to};
use crate::runtime::block_on;
use crate::servers::{PgUrl, open_sockets_to};
use futures::future::join_all;

const SWARM: InfoHash = InfoHash::V1([1; 20]);

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("a node that goes away is left, one that comes back is used again", |url| {
            block_on(nodes_come_and_go(url))
        }),
        test("a standby that is promoted while the primary says nothing is used at once", |url| {
            block_on(a_standby_is_promoted(url))
        }),
        test("connections are kept alive unless the operator wants none of it", |url| {
            block_on(connections_are_kept_alive(url))
        }),
    ]
}

async fn nodes_come_and_go(url: &PgUrl) -> Result<(), Failed> {
    let (first, second, url) = {
        let (mut ways, url) = ways_to(url, 2).await?;
        let second = ways.pop().ok_or("there are two ways")?;
        (ways.pop().ok_or("there are two ways")?, second, url)
    };
    let retries = Arc::new(Counter::default());
    let storage = open(&url, Arc::clone(&retries)).await?;
    use_it(&*storage, 0).await?;
    ensure(first.taken() > 0 && second.taken() == 0, || "the hosts are not tried in order".into())?;

    first.cut().await;
    use_it(&*storage, 1).await?;
    ensure(second.taken() > 0, || "the second node was not used".into())?;

    first.mend().await?;
    let before = first.taken();
    second.cut().await;
    use_it(&*storage, 2).await?;
    ensure(first.taken() > before, || "the first node was not used again".into())?;

    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders == 60 && counts.leechers == 0, || format!("found {counts:?}"))?;
    ensure(counts.downloads == 60, || format!("found {counts:?}"))?;
    Ok(storage.close().await?)
}

/// In a database of its own: it is read-only for a while, which others must not meet.
async fn a_standby_is_promoted(url: &PgUrl) -> Result<(), Failed> {
    let mut server = PgConnection::connect(&url.to_string()).await?;
    let name = format!("promoted_{:016x}", rand::random::<u64>());
    server.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let promoted = on_a_promoted_standby(&url.clone().database(&name)).await;
    server.execute(AssertSqlSafe(format!("DROP DATABASE {name} (FORCE)"))).await?;
    promoted
}

/// Read-only and no longer so is what matters of a promotion here.
async fn on_a_promoted_standby(url: &PgUrl) -> Result<(), Failed> {
    let mut server = PgConnection::connect(&url.to_string()).await?;
    // The path names a schema that only the shared database has.
    let text = url.to_string();
    let (_, schema) = text.rsplit_once("search_path=").ok_or("a path")?;
    let tables = Recommendation::default().schema();
    let make = format!("CREATE SCHEMA {schema}; SET search_path TO {schema}; {tables}");
    server.execute(sqlx::raw_sql(AssertSqlSafe(make))).await?;
    let (mut ways, _) = ways_to(url, 1).await?;
    let standby = ways.pop().ok_or("there is a way")?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let hosts = [standby.address().to_string(), silent.local_addr()?.to_string()];
    let url = url.clone().at(&hosts).with("target_session_attrs", "read-write").with("connect_timeout", 60);
    let storage = open(&url, Arc::default()).await?;

    let turn = async |server: &mut PgConnection, read_only: &str| {
        let statement = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {read_only}',
                current_database()); END $$"
        );
        server.execute(AssertSqlSafe(statement)).await
    };
    turn(&mut server, "on").await?;
    standby.cut().await;
    standby.mend().await?;
    let promoted = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        turn(&mut server, "off").await
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
        let (ways, url) = ways_to(url, 1).await?;
        let url = url.with("keepalives", u8::from(is_kept));
        let storage = open(&url, Arc::default()).await?;
        let swarms: Vec<_> = (0..64).map(|number| InfoHash::V1([number; 20])).collect();
        join_all(swarms.iter().map(|swarm| storage.scrape_swarm(swarm))).await;
        // The timer of a connection that waits for an answer is another.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let open = open_sockets_to(ways[0].address().port())?;
        let expected = if is_kept { open.all } else { 0 };
        ensure(open.all > 0 && open.kept_alive == expected, || format!("keepalives {is_kept}: {open:?}"))?;
        storage.close().await?;
    }
    Ok(())
}

/// Every call must succeed, the first after a node has gone among them: its connections were idle, and
/// what a call does there first can be done again elsewhere.
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
