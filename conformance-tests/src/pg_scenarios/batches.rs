//! Batches: calls of many tasks that are sent to the server together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use libtest_mimic::{Failed, Trial};
use sqlx::{Connection, Executor, PgConnection};
use storage_core::layer::Limits;
use storage_core::{
    Announce, AnnounceAnswer, ErrorKind, Event, InfoHash, NoObserver, Observer, Peer, PeerId, PeerSelection,
    PeerStorageExt, Role, Storage, SwarmCounts, When,
};
use storage_pg::PgConfig;
use storage_pg::recommended::Recommendation;

use super::{ensure, open_with, test};
use crate::runtime::block_on;
use crate::servers::PgUrl;

const SWARM: InfoHash = InfoHash::V1([7; 20]);
const CALLERS: u16 = 64;
/// The port of rows that the server rejects.
const REFUSED: u16 = 666;

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("a bad row fails only its caller", |url| block_on(a_bad_row_fails_only_its_caller(url))),
        test("whole announces go together, and a bad row fails only its announce", |url| {
            block_on(whole_announces_go_together(url))
        }),
        test("whole announces whose counts hang have peers", |url| {
            block_on(whole_announces_whose_counts_hang(url))
        }),
        test("64 callers put the same peers and none waits for good", |url| {
            block_on(callers_put_the_same_peers(url))
        }),
        test("the last put of a batch wins", |url| block_on(the_last_put_wins(url))),
        test("one of those who delete the same peer has found it", |url| {
            block_on(callers_delete_the_same_peers(url))
        }),
        test("a caller that gives up costs nothing", |url| block_on(a_caller_that_gives_up(url))),
        test("closing sends what was gathered", |url| block_on(closing_sends_what_was_gathered(url))),
        test("a full queue makes callers wait", |url| block_on(a_full_queue_makes_callers_wait(url))),
    ]
}

/// Counts batches, and the calls in them.
#[derive(Default)]
struct BatchCounter {
    number: AtomicU64,
    sizes: Mutex<Vec<u64>>,
}

impl BatchCounter {
    fn largest(&self) -> u64 {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().max().unwrap_or(0)
    }
}

impl Observer for BatchCounter {
    fn observe(&self, _backend: &'static str, event: Event) {
        if let Event::BatchSent { calls, .. } = event {
            self.number.fetch_add(1, Ordering::SeqCst);
            self.sizes.lock().unwrap_or_else(PoisonError::into_inner).push(calls);
        }
    }
}

async fn open(
    url: &PgUrl,
    change: impl FnOnce(PgConfig) -> PgConfig,
) -> Result<(Arc<dyn Storage>, Arc<BatchCounter>), Failed> {
    let batches = Arc::new(BatchCounter::default());
    let config = change(Recommendation::default().config());
    let observer = Arc::clone(&batches) as Arc<dyn Observer>;
    let storage = open_with(config, url, observer, Limits::default()).await?;
    Ok((storage, batches))
}

fn peer(number: u16, port: u16) -> Peer {
    let [high, low] = number.to_be_bytes();
    Peer::new(PeerId([b'x'; 20]), [10, 0, high, low].into(), port)
}

async fn execute(url: &PgUrl, statement: &'static str) -> Result<PgConnection, Failed> {
    // As sqlx writes a setting of the session.
    let url = url.to_string().replace("search_path=", "options[search_path]=");
    let mut connection = PgConnection::connect(&url).await?;
    connection.execute(statement).await?;
    Ok(connection)
}

async fn a_bad_row_fails_only_its_caller(url: &PgUrl) -> Result<(), Failed> {
    let (storage, batches) = open(url, |config| PgConfig { batch_when_idle: true, ..config }).await?;
    execute(url, "ALTER TABLE mo_peers ADD CHECK (port <> 666)").await?.close().await?;
    let is_bad = |number: u16| number % 20 == 7;
    let puts = (0..CALLERS).map(|number| {
        let peer = peer(number, if is_bad(number) { REFUSED } else { 6881 });
        let storage = Arc::clone(&storage);
        async move { storage.put_seeder(&SWARM, &peer).await }
    });
    for (number, put) in (0..).zip(join_all(puts).await) {
        match put {
            Ok(()) if !is_bad(number) => {}
            Err(error) if is_bad(number) && error.kind() == ErrorKind::Rejected => {}
            put => return Err(format!("put number {number}: {put:?}").into()),
        }
    }
    ensure(batches.largest() > 1, || format!("the largest batch had {}", batches.largest()))?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders == u64::from(CALLERS) - 3, || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}

/// Clients have two addresses; for some of them the server rejects one of the two rows.
async fn whole_announces_go_together(url: &PgUrl) -> Result<(), Failed> {
    let (storage, batches) = open(url, |config| PgConfig { batch_when_idle: true, ..config }).await?;
    execute(url, "ALTER TABLE mo_peers ADD CHECK (port <> 666)").await?.close().await?;
    let is_bad = |number: u16| number % 20 == 7;
    let announces = (0..CALLERS).map(|number| {
        let peers = [peer(number, 6881), peer(number, if is_bad(number) { REFUSED } else { 6882 })];
        let storage = Arc::clone(&storage);
        async move { storage.announce(&by(&peers, Role::Seeder)).await }
    });
    for (number, answer) in (0..).zip(join_all(announces).await) {
        match answer {
            Ok(AnnounceAnswer { peers: Some(peers), counts: Some(counts), failure: None, .. })
                if !is_bad(number) && peers.is_empty() && counts.seeders >= 2 => {}
            Err(error) if is_bad(number) && error.kind() == ErrorKind::Rejected => {}
            answer => return Err(format!("announce number {number}: {answer:?}").into()),
        }
    }
    ensure(batches.largest() > 1, || format!("the largest batch had {}", batches.largest()))?;
    // Three queries for each batch.
    let number = batches.number.load(Ordering::SeqCst);
    ensure(number < u64::from(CALLERS), || format!("{number} batches for {CALLERS} announces"))?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders == 2 * u64::from(CALLERS) - 3, || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}

/// The announces are written, and the answers have what can be read.
async fn whole_announces_whose_counts_hang(url: &PgUrl) -> Result<(), Failed> {
    let config = PgConfig { batch_when_idle: true, ..Recommendation::default().config() };
    let limits = Limits { operation_timeout: Duration::from_secs(2), ..Limits::default() };
    let storage = open_with(config, url, Arc::new(NoObserver), limits).await?;
    let mut other = execute(url, "BEGIN; LOCK TABLE mo_downloads IN ACCESS EXCLUSIVE MODE").await?;
    let announces = (0..8).map(|number| {
        let storage = Arc::clone(&storage);
        async move { storage.announce(&by(&[peer(number, 6881)], Role::Leecher)).await }
    });
    for answer in join_all(announces).await {
        let answer = answer?;
        let is_right = matches!(&answer, AnnounceAnswer { peers: Some(_), counts: None, failure: Some(error), .. }
            if error.kind() == ErrorKind::Timeout);
        ensure(is_right, || format!("{answer:?}"))?;
    }
    other.execute("ROLLBACK").await?;
    other.close().await?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.leechers == 8, || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}

fn by(peers: &[Peer], role: Role) -> Announce {
    Announce::new(SWARM, peers.iter().copied()).with_role(role).with_num_want(10)
}

async fn callers_put_the_same_peers(url: &PgUrl) -> Result<(), Failed> {
    const ROUNDS: u16 = 50;
    let (storage, batches) = open(url, |config| PgConfig { batches_in_flight: 4, ..config }).await?;
    let callers = (0..CALLERS).map(|caller| {
        let storage = Arc::clone(&storage);
        async move {
            for round in 0..ROUNDS {
                let number = (round * 7 + caller * 13) % 20;
                let role = Role::from_is_seeder((round + caller) % 2 == 0);
                storage.put_peer(&SWARM, &peer(number, 6881), role, When::Now).await?;
            }
            Ok::<_, storage_core::Error>(())
        }
    });
    for caller in join_all(callers.map(tokio::spawn)).await {
        caller??;
    }
    ensure(batches.largest() > 1, || "nothing was gathered".into())?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders + counts.leechers == 20, || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}

async fn callers_delete_the_same_peers(url: &PgUrl) -> Result<(), Failed> {
    const PEERS: u16 = 20;
    let (storage, batches) = open(url, |config| config).await?;
    // On a busy machine each may be answered before the next is called, so that there is no batch.
    for _ in 0..20 {
        delete_the_same_peers(&storage, PEERS).await?;
        if batches.largest() > 30 {
            break;
        }
    }
    ensure(batches.largest() > 30, || format!("the largest batch had {}", batches.largest()))?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts == SwarmCounts::default(), || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}

async fn delete_the_same_peers(storage: &Arc<dyn Storage>, peers: u16) -> Result<(), Failed> {
    for number in 0..peers {
        storage.put_seeder(&SWARM, &peer(number, 6881)).await?;
    }
    let deletions = (0..3 * peers).map(|caller| {
        let (storage, role) = (Arc::clone(storage), Role::from_is_seeder(caller % 3 > 0));
        async move { storage.delete_peer(&SWARM, &peer(caller / 3, 6881), role).await }
    });
    let results = join_all(deletions).await;
    for peer in results.chunks(3) {
        // The first looks for a leecher.
        let found: Vec<_> = peer.iter().map(Result::is_ok).collect();
        ensure(found == [false, true, false] || found == [false, false, true], || format!("{peer:?}"))?;
        let mut errors = peer.iter().filter_map(|result| result.as_ref().err());
        ensure(errors.all(|error| error.kind() == ErrorKind::NotFound), || format!("{peer:?}"))?;
    }
    Ok(())
}

async fn the_last_put_wins(url: &PgUrl) -> Result<(), Failed> {
    let (storage, _) =
        open(url, |config| PgConfig { batches_in_flight: 1, batch_when_idle: true, ..config }).await?;
    for round in 0..20 {
        let last = Role::from_is_seeder(round % 2 == 0);
        // The first is a batch of its own; the others arrive while it is in flight, in this order.
        let roles = [last.other(), last, last.other(), last.other(), last];
        let puts = roles.map(|role| {
            let storage = Arc::clone(&storage);
            async move { storage.put_peer(&SWARM, &peer(1, 6881), role, When::Now).await }
        });
        for put in join_all(puts).await {
            put?;
        }
        let counts = storage.scrape_swarm(&SWARM).await?;
        let found = Role::from_is_seeder(counts.seeders == 1);
        ensure(found == last && counts.seeders + counts.leechers == 1, || format!("{last}: {counts:?}"))?;
    }
    Ok(storage.close().await?)
}

/// Callers cancel puts that hang behind a lock; once the lock is released, calls succeed.
async fn a_caller_that_gives_up(url: &PgUrl) -> Result<(), Failed> {
    let (storage, batches) = open(url, |config| config).await?;
    let mut locker = execute(url, "BEGIN; LOCK TABLE mo_peers IN ACCESS EXCLUSIVE MODE").await?;
    let put = |number| {
        let storage = Arc::clone(&storage);
        async move { storage.put_seeder(&SWARM, &peer(number, 6881)).await }
    };
    // Two batches are in flight, the others wait.
    let mut under_way = Box::pin(join_all((0..2).map(put)));
    ensure(futures::poll!(&mut under_way).is_pending(), || "a call does not wait for the server".into())?;
    let given_up = tokio::time::timeout(Duration::from_millis(300), join_all((2..CALLERS).map(put))).await;
    ensure(given_up.is_err(), || "the lock held nobody up".into())?;
    locker.execute("COMMIT").await?;
    locker.close().await?;
    for result in under_way.await {
        result?;
    }
    for result in join_all((1_000..1_000 + CALLERS).map(put)).await {
        result?;
    }
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders == u64::from(CALLERS) + 2, || format!("{counts:?}"))?;
    ensure(batches.largest() <= u64::from(CALLERS), || "those given up were sent".into())?;
    Ok(storage.close().await?)
}

async fn closing_sends_what_was_gathered(url: &PgUrl) -> Result<(), Failed> {
    let (storage, _) = open(url, |config| config).await?;
    let puts = (0..CALLERS).map(|number| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move { storage.put_seeder(&SWARM, &peer(number, 6881)).await })
    });
    let puts: Vec<_> = puts.collect();
    tokio::task::yield_now().await;
    storage.close().await?;
    let mut written = 0;
    for put in puts {
        match put.await? {
            Ok(()) => written += 1,
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (storage, _) = open(url, |config| config).await?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders == written, || format!("{written} were acknowledged, {counts:?}"))?;
    Ok(storage.close().await?)
}

async fn a_full_queue_makes_callers_wait(url: &PgUrl) -> Result<(), Failed> {
    let (storage, batches) = open(url, |config| PgConfig { batch_queue: 3, batch_size: 2, ..config }).await?;
    let announces = (0..CALLERS).map(|number| {
        let storage = Arc::clone(&storage);
        async move {
            storage.put_seeder(&SWARM, &peer(number, 6881)).await?;
            let selection =
                PeerSelection { exclude: Some(peer(number, 6881)), ..PeerSelection::new(SWARM, 5) };
            storage.announce_peers(&selection).await.map(drop)
        }
    });
    for announced in join_all(announces).await {
        announced?;
    }
    ensure(batches.largest() == 2, || format!("the largest batch had {}", batches.largest()))?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure(counts.seeders == u64::from(CALLERS), || format!("{counts:?}"))?;
    Ok(storage.close().await?)
}
