//! Graduations: how a client becomes a seeder, and whether that is a download.

use sqlx::postgres::PgConnection;
use storage_core::{Operation, Result};

use crate::core::Core;
use crate::failure::Failure;
use crate::slot;
use crate::statement::{Inputs, Statement, tell};

/// The queries of a graduation.
pub(crate) struct Graduation<'a> {
    graduate: &'a Statement,
    put: &'a Statement,
    delete: &'a Statement,
    increment: Option<&'a Statement>,
}

impl<'a> Graduation<'a> {
    pub(crate) fn of(core: &'a Core) -> Result<Self> {
        let required = |slot| core.statement(slot, Operation::GraduatePeers);
        Ok(Self {
            graduate: required(slot::GRADUATE)?,
            put: required(slot::PUT_PEER)?,
            delete: required(slot::DELETE_PEER)?,
            increment: core.find(slot::INCREMENT_DOWNLOADS),
        })
    }

    /// Makes a client a seeder at each of its addresses, within a transaction; whether it is a download.
    ///
    /// No query says whether a peer is a seeder, but the one that deletes seeders does: it is tried and taken
    /// back. The download comes before it, since graduations of a swarm take turns at its row: of two that find
    /// no leecher the second sees what the first has put.
    pub(crate) async fn run(
        &self,
        connection: &mut PgConnection,
        peers: &[Inputs<'_>],
    ) -> Result<bool, Failure> {
        let mut others = Vec::new();
        for peer in peers {
            if self.graduate.execute(connection, *peer).await? == 0 {
                others.push(*peer);
            }
        }
        if others.is_empty() {
            self.count(connection, peers).await?;
            return Ok(true);
        }
        tell(connection, "SAVEPOINT before_download").await?;
        self.count(connection, peers).await?;
        tell(connection, "SAVEPOINT before_deletion").await?;
        let mut was_seeder = false;
        for peer in &others {
            was_seeder |= self.delete.execute(connection, *peer).await? > 0;
        }
        let back = if was_seeder { "before_download" } else { "before_deletion" };
        tell(connection, &format!("ROLLBACK TO SAVEPOINT {back}")).await?;
        for peer in &others {
            self.put.execute(connection, *peer).await?;
        }
        Ok(!was_seeder)
    }

    async fn count(&self, connection: &mut PgConnection, peers: &[Inputs<'_>]) -> Result<(), Failure> {
        if let (Some(increment), Some(swarm)) = (self.increment, peers.first()) {
            increment.execute(connection, *swarm).await?;
        }
        Ok(())
    }
}
