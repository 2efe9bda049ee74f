//! Tables with custom types: domains and `citext`.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use storage_core::layer::Limits;
use storage_core::{Context, InfoHash, Peer, PeerId, PeerSelection, PeerStorageExt};
use storage_pg::Query;
use storage_pg::recommended::Recommendation;

use super::{Counter, ensure, on_schema, open, open_with};
use crate::runtime::block_on;
use crate::servers::{PgUrl, Schema};

pub(super) fn tests() -> Vec<Trial> {
    let recommended = Recommendation::default();
    vec![
        on_schema("types: domains are what they are made of", recommended, |schema| {
            block_on(domains(schema))
        }),
        on_schema("types: citext is text", recommended, |schema| block_on(citext(schema))),
        on_schema("a comment at the end of `peer.count_query` hides no clause", recommended, |schema| {
            block_on(a_comment_at_the_end(schema))
        }),
        on_schema(
            "a role with fewer connections than the pool is reported by check",
            recommended,
            |schema| block_on(a_limited_role(schema)),
        ),
    ]
}

const DOMAINS: &str = "
CREATE DOMAIN word AS text;
CREATE DOMAIN bytes AS bytea;
CREATE DOMAIN port AS int4 CHECK (VALUE BETWEEN 0 AND 65535);
CREATE DOMAIN moment AS timestamptz;
ALTER TABLE mo_kv ALTER context TYPE word, ALTER name TYPE bytes, ALTER value TYPE bytes;
ALTER TABLE mo_peers ALTER peer_id TYPE bytes, ALTER port TYPE port, ALTER created TYPE moment";

async fn domains(schema: &Schema) -> Result<(), Failed> {
    schema.execute(DOMAINS).await?;
    everything_works(schema).await
}

async fn citext(schema: &Schema) -> Result<(), Failed> {
    schema.execute("CREATE EXTENSION IF NOT EXISTS citext").await?;
    let result = async {
        schema.execute("ALTER TABLE mo_kv ALTER context TYPE citext").await?;
        everything_works(schema).await
    };
    let result = result.await;
    schema.execute("DROP EXTENSION citext CASCADE").await?;
    result
}

async fn everything_works(schema: &Schema) -> Result<(), Failed> {
    let storage = open(&PgUrl::parse(&schema.connection_string()), Arc::new(Counter::default())).await?;
    let context = Context::new("c")?;
    storage.put_data(&context, &[("k".into(), "v".into()), ("l".into(), "w".into())]).await?;
    let loaded = storage.load_data(&context, b"k").await?;
    ensure(loaded.as_deref() == Some(b"v"), || format!("{loaded:?}"))?;
    storage.delete_data(&context, &["k".into(), "l".into()]).await?;
    ensure(storage.load_data(&context, b"l").await?.is_none(), || "it was not deleted".into())?;

    let (swarm, peer) = (InfoHash::V1([7; 20]), Peer::new(PeerId([1; 20]), [10, 0, 0, 1].into(), 6881));
    storage.put_leecher(&swarm, &peer).await?;
    storage.graduate_leecher(&swarm, &peer).await?;
    let selection = PeerSelection::new(swarm, 50);
    let found = storage.announce_peers(&selection).await?;
    ensure(found == [peer], || format!("{found:?}"))?;
    storage.delete_seeder(&swarm, &peer).await?;
    Ok(storage.close().await?)
}

async fn a_comment_at_the_end(schema: &Schema) -> Result<(), Failed> {
    let mut config = Recommendation::default().config();
    for end in [" -- of all swarms", "; -- of all swarms", "/* of all */ ;"] {
        config.queries[Query::CountPeers] = Some(format!(
            "SELECT COUNT(*) FILTER (WHERE is_seeder) AS seeders, COUNT(*) FILTER (WHERE NOT is_seeder) AS leechers \
             FROM mo_peers{end}"
        ));
        config.queries[Query::CountSwarm] = Some("WHERE info_hash = @info_hash".into());
        config.queries[Query::CountSwarmBatch] = None;
        let url = PgUrl::parse(&schema.connection_string());
        let storage =
            open_with(config.clone(), &url, Arc::new(Counter::default()), Limits::default()).await?;
        let peer = Peer::new(PeerId([1; 20]), [10, 0, 0, 1].into(), 6881);
        storage.put_seeder(&InfoHash::V1([7; 20]), &peer).await?;
        let other = storage.scrape_swarm(&InfoHash::V1([8; 20])).await?;
        storage.close().await?;
        ensure(other.seeders == 0, || format!("{end}: {other:?}"))?;
    }
    Ok(())
}

async fn a_limited_role(schema: &Schema) -> Result<(), Failed> {
    let role = format!("{}_limited", schema.name());
    let make = format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'limited' CONNECTION LIMIT 2");
    schema.execute(&make).await?;
    let url = PgUrl::parse(&schema.connection_string());
    let url = url.with("user", &role).with("password", "limited").with("pool_max_conns", 5);
    let warnings = async {
        let storage = open(&url, Arc::new(Counter::default())).await?;
        let warnings = storage.diagnostics().await?.warnings;
        storage.close().await?;
        Ok::<_, Failed>(warnings)
    };
    let warnings = warnings.await;
    schema.execute(&format!("DROP ROLE {role}")).await?;
    let warnings = warnings?;
    let is_told = |warning: &String| {
        warning.contains("`pool_max_conns` is 5, but the role") && warning.contains("allows 2")
    };
    ensure(warnings.iter().any(is_told), || format!("{warnings:?}"))
}
