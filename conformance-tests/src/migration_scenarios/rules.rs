//! Which records are kept, left out and counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage_core::layer::{Layer, Layered};
use storage_core::{
    Context, DataRecord, DownloadsRecord, Operation, PeerRecord, PeerStorageExt, Result, Role, Storage,
    Timestamp, When,
};
use storage_migration::{DataRule, DownloadsRule, Follow, Migration, Options};

use super::pairs::{at, data, fill, options, peer, swarm};
use super::test_env::TestStorage;
use crate::random_sequences::run::export;

fn migration(from: &TestStorage, to: &TestStorage, options: Options) -> Migration {
    Migration::new(from.storage.clone(), to.storage.clone(), options)
}

/// Also long after it was copied, and by a later pass; what the target had of its own stays, and so does
/// what somebody has changed there.
pub(super) async fn gone_data(to: &TestStorage, from: &TestStorage) {
    let records: Vec<_> = (0..300).map(data).collect();
    from.storage.import_data(&records).await.unwrap();
    let own = [(Bytes::from_static(b"own"), Bytes::from_static(b"value"))];
    let context = Context::new("MW").unwrap();
    to.storage.put_data(&context, &own).await.unwrap();

    let migration = migration(from, to, options());
    migration.run().await.unwrap();
    let of_context: Vec<_> = records.iter().filter(|record| record.context == context).collect();
    let keys: Vec<_> = of_context.iter().map(|record| record.key.clone()).collect();
    from.storage.delete_data(&context, &keys).await.unwrap();
    let changed = (keys[0].clone(), Bytes::from_static(b"changed at the target"));
    to.storage.put_data(&context, &[changed]).await.unwrap();
    let again = migration.run().await.unwrap();

    assert_eq!(again.data.gone, keys.len() as u64 - 1);
    let left = to.storage.contains_data(&context, &keys).await.unwrap();
    assert_eq!(left.iter().filter(|there| **there).count(), 1, "the changed one");
    assert_eq!(to.storage.load_data(&context, b"own").await.unwrap(), Some(own[0].1.clone()));
    let others = records.iter().filter(|record| record.context != context).count() as u64;
    assert_eq!(export(&*to.storage).await.unwrap().len() as u64, others + 2);
}

/// An entry that comes back in both storages, as through a mirror, just before it is removed from one.
struct ComesBack {
    storages: [Arc<dyn Storage>; 2],
    entry: DataRecord,
}

impl Layer for ComesBack {
    async fn around<'a, T: Send + 'a>(
        &'a self,
        _backend: &'static str,
        operation: Operation,
        call: impl Future<Output = Result<T>> + Send + 'a,
    ) -> Result<T> {
        if operation == Operation::DeleteData {
            let DataRecord { context, key, value } = &self.entry;
            for storage in &self.storages {
                storage.put_data(context, &[(key.clone(), value.clone())]).await?;
            }
        }
        call.await
    }
}

pub(super) async fn data_that_comes_back(from: &TestStorage, to: &TestStorage) {
    let entry = data(1);
    from.storage.import_data(std::slice::from_ref(&entry)).await.unwrap();
    let storages = [from.storage.clone(), to.storage.clone()];
    let target = Layered::new(to.storage.clone(), ComesBack { storages, entry: entry.clone() });
    let migration = Migration::new(from.storage.clone(), Arc::new(target), options());
    migration.run().await.unwrap();
    from.storage.delete_data(&entry.context, std::slice::from_ref(&entry.key)).await.unwrap();
    assert_eq!(migration.run().await.unwrap().data.gone, 1);
    assert_eq!(export(&*to.storage).await.unwrap(), export(&*from.storage).await.unwrap());
    assert_eq!(to.storage.load_data(&entry.context, &entry.key).await.unwrap(), Some(entry.value));
}

pub(super) async fn replaced_downloads(to: &TestStorage, from: &TestStorage) {
    let record = |number, downloads| DownloadsRecord { info_hash: swarm(number), downloads };
    from.storage.import_downloads(&[record(1, 5), record(2, 5), record(3, 5)]).await.unwrap();
    to.storage.import_downloads(&[record(1, 9), record(2, 5), record(4, 7)]).await.unwrap();
    to.storage.put_seeder(&swarm(1), &peer(1)).await.unwrap();

    let kept = migration(from, to, options()).run().await.unwrap();
    assert_eq!((kept.downloads.written, kept.downloads.kept), (1, 2));
    assert_eq!(to.storage.scrape_swarm(&swarm(1)).await.unwrap().downloads, 9, "the greater stays");

    let replace = Options { downloads: DownloadsRule::Replace, ..options() };
    let replaced = migration(from, to, replace).run().await.unwrap();
    assert_eq!((replaced.downloads.written, replaced.downloads.kept), (1, 2));
    let counts = to.storage.scrape_swarm(&swarm(1)).await.unwrap();
    assert_eq!((counts.downloads, counts.seeders), (5, 1), "peers stay");
    assert_eq!(to.storage.scrape_swarm(&swarm(4)).await.unwrap().downloads, 7);
}

pub(super) async fn replaced_data(to: &TestStorage, from: &TestStorage) {
    let context = Context::new("MW").unwrap();
    let entry = |value: &'static str| [(Bytes::from_static(b"key"), Bytes::from_static(value.as_bytes()))];
    from.storage.put_data(&context, &entry("source")).await.unwrap();
    to.storage.put_data(&context, &entry("target")).await.unwrap();
    let value = async || to.storage.load_data(&context, b"key").await.unwrap().unwrap();

    assert_eq!(migration(from, to, options()).run().await.unwrap().data.kept, 1);
    assert_eq!(value().await, "target");
    let replace = || Options { data: DataRule::Replace, ..options() };
    assert_eq!(migration(from, to, replace()).run().await.unwrap().data.written, 1);
    assert_eq!(value().await, "source");
    assert_eq!(migration(from, to, replace()).run().await.unwrap().data.written, 0);
}

pub(super) async fn unreadable_entries(from: &TestStorage, to: &TestStorage) {
    fill(&*from.storage, 200).await;
    let expected = export(&*from.storage).await.unwrap();
    let mut connection = from.redis().unwrap().connect().await.unwrap();
    let key = [b"CHI_S4_", swarm(1).as_bytes()].concat();
    for (field, time) in [(&b"short"[..], "1"), (&[b'x'; 26], "soon")] {
        redis::cmd("HSET").arg(&key).arg(field).arg(time).exec_async(&mut connection).await.unwrap();
    }
    redis::cmd("HSET").arg("CHI_D").arg("no hash").arg(7).exec_async(&mut connection).await.unwrap();

    let moved = migration(from, to, options()).run().await.unwrap();
    assert_eq!((moved.peers.unreadable, moved.downloads.unreadable, moved.data.unreadable), (2, 1, 0));
    assert_eq!(moved.downloads.unreadable_names, [Bytes::from_static(b"no hash")]);
    assert!(moved.peers.unreadable_names.iter().any(|name| name.ends_with(b"short")));
    assert_eq!(export(&*to.storage).await.unwrap(), expected);
}

pub(super) async fn dry_run(from: &TestStorage, to: &TestStorage) {
    fill(&*from.storage, 100).await;
    let read = migration(from, to, Options { dry_run: true, ..options() }).run().await.unwrap();
    assert_eq!((read.peers.read, read.data.read, read.written()), (100, 100, 0));
    assert_eq!(export(&*to.storage).await.unwrap(), []);
}

pub(super) async fn stale_peers(from: &TestStorage, to: &TestStorage) {
    from.storage.put_peer(&swarm(1), &peer(1), Role::Seeder, When::At(at(0))).await.unwrap();
    from.storage.put_seeder(&swarm(1), &peer(2)).await.unwrap();
    let stale_after = Some(Duration::from_secs(1_800));
    let moved = migration(from, to, Options { stale_after, ..options() }).run().await.unwrap();
    assert_eq!((moved.peers.read, moved.peers.written, moved.peers.stale), (2, 1, 1));
}

pub(super) async fn contexts(from: &TestStorage, to: &TestStorage) {
    fill(&*from.storage, 90).await;
    let contexts = vec![Context::new("MW").unwrap()];
    let moved = migration(from, to, Options { contexts, ..options() }).run().await.unwrap();
    assert_eq!(moved.data.written, 30);
}

pub(super) async fn passes(from: &TestStorage, to: &TestStorage) {
    fill(&*from.storage, 100).await;
    let source = from.storage.clone();
    let mut number_of_passes = 0;
    let follow = Follow { pause: Duration::from_millis(200), until_quiet: Some(Duration::from_millis(300)) };
    let migration = migration(from, to, options());
    let total = migration.follow(follow, |_| {
        number_of_passes += 1;
        let source = source.clone();
        if number_of_passes == 1 {
            tokio::spawn(async move { source.put_seeder(&swarm(50), &peer(50)).await.unwrap() });
        }
    });
    let total = total.await.unwrap();
    assert!(number_of_passes >= 3, "{number_of_passes}");
    assert_eq!(total.peers.written, 101);
    assert_eq!(to.storage.scrape_swarm(&swarm(50)).await.unwrap().seeders, 1);
}

pub(super) async fn stopped(from: &TestStorage, to: &TestStorage) {
    let records: Vec<_> = (0..2_000)
        .map(|number| PeerRecord {
            info_hash: swarm(1),
            peer: peer(number),
            role: Role::Seeder,
            announced: Timestamp::now(),
        })
        .collect();
    from.storage.import_peers(&records).await.unwrap();
    let slow = migration(from, to, Options { rate: Some(500), ..options() });
    let stop = slow.stop();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        stop.stop();
    });
    let first = slow.run().await.unwrap();
    assert!(!first.complete);
    assert!(first.peers.written < 2_000);
    let second = migration(from, to, options()).run().await.unwrap();
    assert!(second.complete);
    assert_eq!(first.peers.written + second.peers.written, 2_000);
}
