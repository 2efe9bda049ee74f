//! Graduations: how a client becomes a seeder, and whether that is a download.

use sqlx::postgres::PgConnection;
use storage_core::{InfoHash, Operation, Peer, Result, Role, Timestamp};

use crate::arguments;
use crate::error::QueryError;
use crate::query_spec::{Query, queries};
use crate::row_counts::RowCounts;
use crate::statement::{QueryStatement, tell};
use crate::storage::Core;

/// The queries of a graduation.
pub(crate) struct Graduation<'s> {
    graduate: QueryStatement<'s, queries::GraduatePeer>,
    put: QueryStatement<'s, queries::PutPeer>,
    delete: QueryStatement<'s, queries::DeletePeer>,
    increment: Option<QueryStatement<'s, queries::IncrementDownloads>>,
    row_counts: &'s RowCounts,
}

impl<'s> Graduation<'s> {
    pub(crate) fn of(core: &'s Core) -> Result<Self> {
        const OPERATION: Operation = Operation::GraduatePeers;
        Ok(Self {
            graduate: core.statement(queries::GraduatePeer, OPERATION)?,
            put: core.statement(queries::PutPeer, OPERATION)?,
            delete: core.statement(queries::DeletePeer, OPERATION)?,
            increment: core.find(queries::IncrementDownloads),
            row_counts: &core.row_counts,
        })
    }

    /// Makes a client a seeder at each of its addresses, within a transaction; whether it is a download.
    ///
    /// No query says whether a peer is a seeder, but the one that deletes seeders does: it is tried and taken
    /// back. The download comes before it, since graduations of a swarm take turns at its row: of two that find
    /// no leecher the second sees what the first has put. Where the queries don't say how many rows they touched
    /// every graduation is a download.
    pub(crate) async fn run(
        &self,
        connection: &mut PgConnection,
        info_hash: &InfoHash,
        peers: &[Peer],
        announced: Timestamp,
    ) -> Result<bool, QueryError> {
        let mut others = Vec::new();
        for peer in peers {
            let leecher = arguments::GraduatePeer { info_hash, peer, announced };
            if self.graduate.execute(connection, leecher).await? == 0 {
                others.push(peer);
            }
        }
        if self.row_counts.missing().is_some() {
            self.put(connection, info_hash, peers.iter(), announced).await?;
            others.clear();
        }
        if others.is_empty() {
            self.count(connection, info_hash).await?;
            return Ok(true);
        }
        tell(connection, "SAVEPOINT before_download").await?;
        self.count(connection, info_hash).await?;
        tell(connection, "SAVEPOINT before_deletion").await?;
        let (role, expires) = (Role::Seeder, None);
        let mut was_seeder = false;
        for peer in &others {
            let seeder = arguments::DeletePeer { info_hash, peer, role, expires };
            was_seeder |= self.delete.execute(connection, seeder).await? > 0;
        }
        let back = if was_seeder { "before_download" } else { "before_deletion" };
        tell(connection, &format!("ROLLBACK TO SAVEPOINT {back}")).await?;
        if self.put(connection, info_hash, others.into_iter(), announced).await? == 0 {
            self.row_counts.are_missing(Query::PutPeer);
        }
        Ok(!was_seeder)
    }

    async fn put(
        &self,
        connection: &mut PgConnection,
        info_hash: &InfoHash,
        peers: impl Iterator<Item = &Peer>,
        announced: Timestamp,
    ) -> Result<u64, QueryError> {
        let (role, expires, mut touched) = (Role::Seeder, None, 0);
        for peer in peers {
            let seeder = arguments::PutPeer { info_hash, peer, role, announced, expires };
            touched += self.put.execute(connection, seeder).await?;
        }
        Ok(touched)
    }

    async fn count(&self, connection: &mut PgConnection, info_hash: &InfoHash) -> Result<(), QueryError> {
        if let Some(increment) = self.increment {
            increment.execute(connection, arguments::Swarm { info_hash }).await?;
        }
        Ok(())
    }
}
