//! Writes that expired before the server ran them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libtest_mimic::{Failed, Trial};
use storage_core::layer::Limits;
use storage_core::{
    Context, ErrorKind, InfoHash, Peer, PeerChange, PeerId, PeerStorageExt, PeerWrite, Role, Storage,
};
use storage_pg::recommended::Recommendation;
use storage_pg::{PgConfig, Query};

use super::{Counter, ensure, open, open_with, test};
use crate::runtime::block_on;
use crate::servers::PgUrl;

const SWARM: InfoHash = InfoHash::V1([7; 20]);

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("expired writes change nothing", |url| block_on(expired_writes_change_nothing(url, false))),
        test("expired batches change nothing", |url| block_on(expired_writes_change_nothing(url, true))),
    ]
}

/// The recommended queries with a clock for which every write has expired.
fn expired(batch_when_idle: bool) -> PgConfig {
    const PAST: &str = "'2000-01-01 00:00:00+00'::timestamptz";
    let in_arrays = format!("array_fill({PAST}, ARRAY[cardinality(@info_hash::bytea[])])");
    let expired = |query: &str| {
        assert!(query.contains("@expires"), "{query}");
        query.replace("@expires::timestamptz[]", &in_arrays).replace("@expires", PAST)
    };
    let mut config = Recommendation::default().config();
    for query in [
        Query::PutPeer,
        Query::DeletePeer,
        Query::PutPeerBatch,
        Query::DeletePeerBatch,
        Query::GraduatePeerBatch,
        Query::BulkPut,
        Query::BulkTouch,
        Query::BulkDelete,
        Query::BulkGraduate,
        Query::PutData,
        Query::DeleteData,
    ] {
        config.queries[query] = config.queries[query].as_deref().map(expired);
    }
    PgConfig { batch_when_idle, ..config }
}

async fn expired_writes_change_nothing(url: &PgUrl, batch_when_idle: bool) -> Result<(), Failed> {
    let peer = |number| Peer::new(PeerId([number; 20]), [10, 0, 0, number].into(), 6881);
    let (context, key) = (Context::new("expiry")?, Bytes::from_static(b"key"));
    let value = |value: &'static str| [(key.clone(), Bytes::from_static(value.as_bytes()))];

    let storage = open(url, Arc::new(Counter::default())).await?;
    storage.put_seeder(&SWARM, &peer(1)).await?;
    storage.put_data(&context, &value("in time")).await?;

    let observer = Arc::new(Counter::default());
    let late: Arc<dyn Storage> =
        open_with(expired(batch_when_idle), url, observer, Limits::default()).await?;
    late.put_seeder(&SWARM, &peer(2)).await?;
    late.put_leecher(&SWARM, &peer(1)).await?;
    let deleted = late.delete_seeder(&SWARM, &peer(1)).await;
    let is_refused = matches!(&deleted, Err(error) if error.kind() == ErrorKind::NotFound);
    ensure(is_refused, || format!("{deleted:?}"))?;
    late.put_data(&context, &value("too late")).await?;
    late.delete_data(&context, std::slice::from_ref(&key)).await?;
    for change in
        [PeerChange::Put(Role::Leecher), PeerChange::Touch, PeerChange::Delete, PeerChange::Graduate]
    {
        let announced = late.now().after(Duration::from_secs(60));
        let of = |number| PeerWrite { info_hash: SWARM, peer: peer(number), change, announced };
        let _ = late.write_peers(&[of(1)]).await;
        // A graduation falls back to the single queries, for which it has not expired.
        if change != PeerChange::Graduate {
            let _ = late.write_peers(&[of(3)]).await;
        }
    }
    late.close().await?;

    let found = storage.find_peer(&SWARM, &peer(1)).await?;
    ensure(found.is_some_and(|record| record.announced <= storage.now()), || format!("{found:?}"))?;
    let counts = storage.scrape_swarm(&SWARM).await?;
    ensure((counts.seeders, counts.leechers) == (1, 0), || format!("{counts:?}"))?;
    let found = storage.load_data(&context, &key).await?;
    ensure(found.as_deref() == Some(b"in time".as_slice()), || format!("{found:?}"))?;
    Ok(storage.close().await?)
}
