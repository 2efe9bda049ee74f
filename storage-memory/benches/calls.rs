//! One call of each kind on 100 swarms of 100 peers, half of them seeders, half with IPv6 addresses:
//! bare, and with what a tracker has around a storage. `cargo bench -p tracker-storage-memory`

use std::cell::Cell;
use std::sync::{Arc, LazyLock};

use divan::{Bencher, black_box};
use futures::FutureExt;
use storage_core::layer::{DefaultLayers, Layered, Limits, Metrics};
use storage_core::{
    Announce, InfoHash, Peer, PeerId, PeerSelection, PeerStorageExt, Role, Storage, Timestamp, When,
    with_default_layers,
};
use storage_memory::{MemoryConfig, MemoryStorage};
use tokio::runtime::Runtime;

const SWARMS: usize = 100;
const PEERS: usize = 100;

/// What is around the storage.
#[derive(Debug, Clone, Copy)]
enum Around {
    Nothing,
    Limits,
    LimitsAndMetrics,
}

const AROUND: [Around; 3] = [Around::Nothing, Around::Limits, Around::LimitsAndMetrics];
const THREADS: [usize; 2] = [1, 2];

fn main() {
    divan::main();
}

/// Timeouts need a clock that runs.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap_or_else(|error| unreachable!("a runtime: {error}"))
});

/// A filled storage, and the peers in it.
struct Scene {
    storage: Arc<dyn Storage>,
    members: Vec<(InfoHash, Peer, Role)>,
}

thread_local! {
    /// Every thread that measures stays within the runtime.
    static ENTERED: () = std::mem::forget(RUNTIME.enter());
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

impl Scene {
    fn new(around: Around) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(MemoryConfig::default()));
        let storage: Arc<dyn Storage> = match around {
            Around::Nothing => storage,
            Around::Limits => with_default_layers(storage, Limits::default()),
            Around::LimitsAndMetrics => {
                let metrics = Metrics::register(&prometheus::Registry::new());
                let meter = metrics.unwrap_or_else(|error| unreachable!("metrics: {error}")).meter();
                Arc::new(Layered::new(storage, DefaultLayers::new(Limits::default(), Some(meter))))
            }
        };
        let members: Vec<_> = (0..SWARMS * PEERS).map(member).collect();
        for (info_hash, peer, role) in &members {
            done(storage.put_peer(info_hash, peer, *role, When::Now));
        }
        Self { storage, members }
    }

    /// A peer as if at random: the next one of this thread, a prime number further.
    fn next(&self) -> &(InfoHash, Peer, Role) {
        let place = PLACE.get();
        PLACE.set((place + 7919) % self.members.len());
        &self.members[place]
    }
}

fn member(number: usize) -> (InfoHash, Peer, Role) {
    let swarm = (number / PEERS) as u64;
    let mut info_hash = [7; 20];
    info_hash[..8].copy_from_slice(&swarm.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    (InfoHash::V1(info_hash), peer(number as u64), Role::from_is_seeder(number.is_multiple_of(2)))
}

fn peer(number: u64) -> Peer {
    let mut id = *b"-TR4040-............";
    id[12..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let [.., a, b, c] = number.to_be_bytes();
    let address = if (number / 2).is_multiple_of(2) {
        [10, a, b, c].into()
    } else {
        [0x2001, 0xdb8, 0, 0, 0, 0, u16::from(a), u16::from_be_bytes([b, c])].into()
    };
    Peer::new(PeerId(id), address, 6881)
}

/// What a call that never waits comes to.
fn done<T>(call: impl Future<Output = storage_core::Result<T>>) -> T {
    ENTERED.with(|()| ());
    match call.now_or_never() {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => unreachable!("{error}"),
        None => unreachable!("a call within the process waited"),
    }
}

#[divan::bench(args = AROUND, threads = THREADS)]
fn put(bencher: Bencher<'_, '_>, around: Around) {
    let scene = Scene::new(around);
    let now = Timestamp::now();
    bencher.bench(|| {
        let (info_hash, peer, role) = scene.next();
        done(scene.storage.put_peer(info_hash, peer, *role, When::At(now)));
    });
}

#[divan::bench(args = AROUND, threads = THREADS)]
fn announce(bencher: Bencher<'_, '_>, around: Around) {
    let scene = Scene::new(around);
    bencher.bench(|| {
        let selection = PeerSelection::new(scene.next().0, 50);
        black_box(done(scene.storage.announce_peers(&selection)))
    });
}

#[divan::bench(args = AROUND, threads = THREADS)]
fn scrape(bencher: Bencher<'_, '_>, around: Around) {
    let scene = Scene::new(around);
    bencher.bench(|| black_box(done(scene.storage.scrape_swarm(&scene.next().0))));
}

#[divan::bench(args = AROUND, threads = THREADS)]
fn lifecycle(bencher: Bencher<'_, '_>, around: Around) {
    let scene = Scene::new(around);
    let now = Timestamp::now();
    bencher.bench(|| {
        let (info_hash, place) = (scene.next().0, PLACE.get() as u64);
        // Nobody else's, on any thread.
        let thread = std::ptr::from_ref(&place).addr() as u64;
        let peer = peer(thread << 20 | 1 << 19 | place);
        done(scene.storage.put_peer(&info_hash, &peer, Role::Leecher, When::At(now)));
        done(scene.storage.graduate_peer(&info_hash, &peer, When::At(now)));
        done(scene.storage.delete_peer(&info_hash, &peer, Role::Seeder));
    });
}

#[divan::bench(args = AROUND, threads = THREADS)]
fn whole_announce(bencher: Bencher<'_, '_>, around: Around) {
    let scene = Scene::new(around);
    let announced = Timestamp::now();
    bencher.bench(|| {
        let (info_hash, peer, role) = *scene.next();
        let announce = Announce::new(info_hash, [peer])
            .with_role(role)
            .with_num_want(50)
            .with_families(peer.family().then_other())
            .at(announced);
        black_box(done(scene.storage.announce(&announce)))
    });
}
