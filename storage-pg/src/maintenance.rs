//! Garbage collection, statistics, forgetting a swarm.

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use storage_core::{
    AddressFamily, Backend, Collected, CountCheck, Cursor, Forgotten, InfoHash, ListedSwarm, Maintenance,
    Operation, PeerCounts, QueryScopeReport, Result, Role, Statistics, SwarmCounts, SwarmOrder, SwarmPage,
    Timestamp, WrongCounts, forget_swarms_one_by_one,
};

use crate::arguments::Argument;
use crate::arguments::{self, random_sample};
use crate::error::QueryError;
use crate::query_spec::queries;
use crate::retry::{TxMode, with_retries};
use crate::statement::{QueryStatement, ResultRow, Statement, tell};
use crate::storage::PgStorage;
use crate::transfer::{join, split};

/// How many peers a piece of a garbage collection removes, where the query takes a limit.
const ROWS_AT_ONCE: u64 = 10_000;

/// How many swarms a check of counts compares.
const CHECKED_SWARMS: usize = 1_000;

/// What to do about wrong counts. Tables of the operator's own may keep them in any way.
const COUNT_AGAIN: &str = "if the tables are those of `tracker-storage schema pg`, let their owner run \
    `SELECT mo_count_all_swarms()`; else count again what your triggers keep";

/// How many swarms are forgotten in one transaction.
const SWARMS_PER_TRANSACTION: usize = 100;

/// How many peers are deleted at a time where a swarm is forgotten peer by peer.
const PEERS_AT_A_TIME: usize = 500;

#[async_trait]
impl Maintenance for PgStorage {
    async fn collect_at_most(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        let collected = self.collect(cutoff, most).await?;
        if let Some(merge) = self.core.find(queries::MergeCounts)
            && collected.withheld == 0
        {
            with_retries!(&self.core, Operation::CollectGarbage, TxMode::Transaction, |connection| {
                merge.execute(connection, arguments::Nothing {}).await
            })?;
        }
        Ok(collected)
    }

    async fn statistics(&self) -> Result<Statistics> {
        let info_hashes = self.core.statement(queries::CountInfoHashes, Operation::Statistics)?;
        let peers = self.core.statement(queries::CountPeers, Operation::Statistics)?;
        with_retries!(&self.core, Operation::Statistics, TxMode::Autocommit, |connection| {
            let row = info_hashes.first(connection, arguments::Nothing {}).await?;
            let info_hashes = row.map_or(0, |row| info_hashes.read_count(&row, 0));
            let row = peers.first(connection, arguments::Nothing {}).await?;
            let read = |column| row.as_ref().map_or(0, |row| peers.read_count(row, column));
            Ok(Statistics::new(info_hashes, read(0), read(1)))
        })
    }

    async fn check_counts(&self) -> Result<Option<CountCheck>> {
        let Some(check) = self.core.find(queries::CheckCounts) else { return Ok(None) };
        let from = InfoHash::V1(rand::random());
        let swarms = arguments::CheckCounts { info_hash: &from, limit: CHECKED_SWARMS };
        let rows = with_retries!(&self.core, Operation::CheckCounts, TxMode::Autocommit, |connection| {
            check.rows(connection, swarms).await
        })?;
        let mut found = CountCheck::new(rows.len() as u64, Vec::new(), COUNT_AGAIN);
        let mut unreadable = 0;
        for row in &rows {
            let number = |column| check.read_integer(row, column).unwrap_or_default();
            let kept = PeerCounts { seeders: number(1), leechers: number(2) };
            let counted = PeerCounts { seeders: number(3), leechers: number(4) };
            if kept == counted {
                continue;
            }
            match check.read_bytes(row, 0).map(InfoHash::try_from) {
                Some(Ok(info_hash)) => found.wrong.push(WrongCounts { info_hash, kept, counted }),
                _ => unreadable += 1,
            }
        }
        self.core.skipped(&check, unreadable);
        Ok(Some(found))
    }

    async fn list_swarms(&self, order: SwarmOrder, from: Option<&Cursor>, limit: usize) -> Result<SwarmPage> {
        let list = self.core.statement(queries::ListSwarms, Operation::ListSwarms)?;
        let (as_of, limit) = (self.now(), limit.max(1));
        let (count, info_hash) = from.and_then(place).unwrap_or((i64::MAX, &[]));
        let page = arguments::ListSwarms { info_hash, count, limit, order: order.name().as_bytes() };
        let rows = with_retries!(&self.core, Operation::ListSwarms, TxMode::Autocommit, |connection| {
            list.rows(connection, page).await
        })?;
        let swarms: Vec<_> = rows.iter().filter_map(|row| read_swarm(&list, row)).collect();
        self.core.skipped(&list, (rows.len() - swarms.len()) as u64);
        let next = rows.last().filter(|_| rows.len() >= limit).map(|last| {
            let rank = order.rank(&read_counts(&list, last)).to_be_bytes();
            join([&rank, list.read_bytes(last, 0).unwrap_or_default()].into_iter())
        });
        // A query that leaves the place of the last page out of account would give the same page for ever.
        let next = next.filter(|next| Some(next) != from);
        Ok(SwarmPage { swarms, next, as_of })
    }

    async fn forget_swarm(&self, info_hash: &InfoHash) -> Result<Forgotten> {
        let delete_downloads = self.core.find(queries::DeleteDownloads);
        if let Some(forget) = self.core.find(queries::ForgetPeers) {
            let swarm = arguments::Swarm { info_hash };
            return with_retries!(&self.core, Operation::ForgetSwarm, TxMode::Transaction, |connection| {
                let peers = forget.execute(connection, swarm).await?;
                if let Some(delete_downloads) = delete_downloads {
                    delete_downloads.execute(connection, swarm).await?;
                }
                Ok(Forgotten { peers, downloads: delete_downloads.is_some() })
            });
        }
        let announce = self.core.statement(queries::SelectPeers, Operation::ForgetSwarm)?;
        let delete = self.core.statement(queries::DeletePeer, Operation::ForgetSwarm)?;
        with_retries!(&self.core, Operation::ForgetSwarm, TxMode::Autocommit, |connection| {
            let mut forgotten = Forgotten { peers: 0, downloads: delete_downloads.is_some() };
            for (role, family) in every_role_and_family() {
                forgotten.peers +=
                    self.forget_peers(announce, delete, connection, info_hash, role, family).await?;
            }
            if let Some(delete_downloads) = delete_downloads {
                delete_downloads.execute(connection, arguments::Swarm { info_hash }).await?;
            }
            Ok(forgotten)
        })
    }

    async fn forget_swarms(&self, info_hashes: &[InfoHash]) -> Result<Forgotten> {
        let queries =
            (self.core.find(queries::ForgetPeersBatch), self.core.find(queries::DeleteDownloadsBatch));
        let (Some(forget), Some(delete_downloads)) = queries else {
            return forget_swarms_one_by_one(self, info_hashes).await;
        };
        let mut all = Forgotten { peers: 0, downloads: true };
        for piece in info_hashes.chunks(SWARMS_PER_TRANSACTION) {
            let swarms: Vec<_> = piece.iter().map(|info_hash| arguments::Swarm { info_hash }).collect();
            let peers =
                with_retries!(&self.core, Operation::ForgetSwarm, TxMode::Transaction, |connection| {
                    let peers = forget.execute_batch(connection, &swarms).await?;
                    delete_downloads.execute_batch(connection, &swarms).await?;
                    Ok(peers)
                })?;
            all.peers += peers;
        }
        Ok(all)
    }

    async fn check_query_scope(&self) -> Result<Vec<QueryScopeReport>> {
        self.check_all_scopes().await
    }
}

impl PgStorage {
    async fn collect(&self, cutoff: Timestamp, most: u64) -> Result<Collected> {
        let collect = self.core.statement(queries::CollectGarbage, Operation::CollectGarbage)?;
        if most == u64::MAX {
            return self.collect_in_pieces(collect, cutoff).await;
        }
        let Some(count) = self.core.find(queries::CountStale) else {
            return self.collect_or_take_back(collect, cutoff, most).await;
        };
        let stale = with_retries!(&self.core, Operation::CollectGarbage, TxMode::Autocommit, |connection| {
            let row = count.first(connection, arguments::CountStale { cutoff }).await?;
            Ok(row.map_or(0, |row| count.read_count(&row, 0)))
        })?;
        if stale > most {
            return Ok(Collected::withheld(stale));
        }
        self.collect_in_pieces(collect, cutoff).await
    }

    async fn collect_in_pieces(
        &self,
        collect: QueryStatement<'_, queries::CollectGarbage>,
        cutoff: Timestamp,
    ) -> Result<Collected> {
        let in_pieces = collect.uses(Argument::Limit);
        let mut collected = Collected::default();
        loop {
            let removed =
                with_retries!(&self.core, Operation::CollectGarbage, TxMode::Autocommit, |connection| {
                    collect
                        .execute(connection, arguments::CollectGarbage { cutoff, limit: ROWS_AT_ONCE })
                        .await
                })?;
            collected.removed += removed;
            if !in_pieces || removed < ROWS_AT_ONCE {
                return Ok(collected);
            }
        }
    }

    /// Where nothing else counts the stale peers, their removal does; if they are too many it is taken back.
    async fn collect_or_take_back(
        &self,
        collect: QueryStatement<'_, queries::CollectGarbage>,
        cutoff: Timestamp,
        most: u64,
    ) -> Result<Collected> {
        with_retries!(&self.core, Operation::CollectGarbage, TxMode::Transaction, |connection| {
            tell(connection, "SAVEPOINT before_removal").await?;
            let stale = arguments::CollectGarbage { cutoff, limit: most + 1 };
            let removed = collect.execute(connection, stale).await?;
            if removed > most {
                tell(connection, "ROLLBACK TO SAVEPOINT before_removal").await?;
                return Ok(Collected::withheld(removed));
            }
            Ok(Collected::removed(removed))
        })
    }

    /// Deletes the peers of one role and family, as many at a time as an announce gives, until none is
    /// left or none can be deleted.
    async fn forget_peers(
        &self,
        announce: QueryStatement<'_, queries::SelectPeers>,
        delete: QueryStatement<'_, queries::DeletePeer>,
        connection: &mut PgConnection,
        info_hash: &InfoHash,
        role: Role,
        family: AddressFamily,
    ) -> Result<u64, QueryError> {
        let mut forgotten = 0;
        loop {
            let (count, sample) = (PEERS_AT_A_TIME, random_sample());
            let wanted = arguments::SelectPeers { info_hash, role, family, count, sample };
            let mut deleted = 0;
            for peer in self.peers_of(announce, connection, wanted).await? {
                let peer = arguments::DeletePeer { info_hash, peer: &peer, role, expires: None };
                deleted += delete.execute(connection, peer).await?;
            }
            forgotten += deleted;
            if deleted == 0 {
                return Ok(forgotten);
            }
        }
    }
}

fn read_swarm(list: &Statement, row: &ResultRow) -> Option<ListedSwarm> {
    let info_hash = InfoHash::try_from(list.read_bytes(row, 0)?).ok()?;
    Some(ListedSwarm { info_hash, counts: read_counts(list, row) })
}

fn read_counts(list: &Statement, row: &ResultRow) -> SwarmCounts {
    let count = |column| list.read_count(row, column);
    SwarmCounts { seeders: count(1), leechers: count(2), downloads: count(3) }
}

/// The count and the info hash of a cursor of a list, the latter as the server sent it.
fn place(cursor: &Cursor) -> Option<(i64, &[u8])> {
    let [rank, info_hash] = split(cursor)?;
    let rank = u64::from_be_bytes(rank.try_into().ok()?);
    Some((i64::try_from(rank).ok()?, info_hash))
}

fn every_role_and_family() -> impl Iterator<Item = (Role, AddressFamily)> {
    Role::BOTH.into_iter().flat_map(|role| AddressFamily::BOTH.map(|family| (role, family)))
}
