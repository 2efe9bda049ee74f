//! Whether the server reports how many rows a query touched. Without it the storage cannot tell whether a peer was
//! there, what is a download, and when a garbage collection is done.

use std::sync::OnceLock;

use sqlx::Column as _;
use sqlx::postgres::PgColumn;

use crate::arguments::Argument;
use crate::pg_type::PgType;
use crate::query_spec::Query;
use crate::rewrite::{first_word, main_verb};
use crate::statement::Statement;

/// The first query that was found not to say how many rows it touched.
#[derive(Default)]
pub(crate) struct RowCounts(OnceLock<Query>);

impl RowCounts {
    /// What is known of the queries: a procedure that is called says nothing.
    pub(crate) fn of(statements: &[Statement]) -> Self {
        let this = Self::default();
        let decide = |statement: &&Statement| {
            matches!(statement.query, Query::GraduatePeer | Query::DeletePeer)
                && statement.types().row_count == RowCount::Unknown
        };
        if let Some(statement) = statements.iter().find(decide) {
            let _ = this.0.set(statement.query);
        }
        this
    }

    /// The query that does not say it, if one is known.
    pub(crate) fn missing(&self) -> Option<Query> {
        self.0.get().copied()
    }

    /// A query that touches a row each time it runs has said that it touched none.
    pub(crate) fn are_missing(&self, query: Query) {
        if self.0.set(query).is_ok() {
            let key = query.key();
            tracing::warn!(
                backend = crate::NAME,
                "`{key}` does not say how many rows it touched: every graduation counts as a download"
            );
        }
    }
}

/// What `check` says of queries that do not say how many rows they touched.
pub(crate) fn warnings(statements: &[Statement]) -> Vec<String> {
    let uncounted = statements.iter().filter(|statement| statement.types().row_count == RowCount::Unknown);
    let warning = |statement: &Statement| {
        let consequence = match statement.query {
            Query::CollectGarbage if statement.uses(Argument::Limit) => {
                "each collection removes only one batch, and `gc_max_share` is not enforced without `gc_count_query`"
            }
            Query::CollectGarbage => {
                "`gc_max_share` is not enforced without `gc_count_query`, and no metric counts them"
            }
            Query::DeletePeer => "peers that are not there are reported as deleted",
            Query::GraduatePeer => "each graduation is a download",
            Query::ForgetPeers | Query::ForgetPeersBatch => "it is not known how many peers a swarm had",
            _ => return None,
        };
        let key = statement.query.key();
        Some(format!(
            "`{key}` does not say how many rows it touched, so {consequence}; return their number as an integer in \
             one row, as in `SELECT f(…)` with a function that returns bigint"
        ))
    };
    uncounted.filter_map(warning).collect()
}

/// How it is known how many rows a statement touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowCount {
    /// The server counts them, or the rows that are returned are those.
    Server,
    /// The one integer that is returned says it.
    Returned,
    /// It is not known.
    Unknown,
}

impl RowCount {
    /// Of a statement with such a result.
    pub(crate) fn of(sql: &str, columns: &[PgColumn]) -> Self {
        let returned = match columns {
            [column] => PgType::is_integer(column.type_info()),
            _ => false,
        };
        Self::by(sql, returned)
    }

    fn by(sql: &str, returns_integer: bool) -> Self {
        let is_counted = matches!(main_verb(sql).as_str(), "delete" | "insert" | "merge" | "update");
        match (is_counted, returns_integer) {
            (true, _) => Self::Server,
            (false, true) => Self::Returned,
            // A subquery that deletes gives its rows to the statement.
            (false, false) if first_word(sql).eq_ignore_ascii_case("with") => Self::Server,
            (false, false) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_write_rows_itself_must_return_their_number() {
        for sql in [
            "CALL p($1)",
            "  call p($1)",
            "-- a comment\n/* more /* nested */ */ Call p($1)",
            "DO $$BEGIN END$$",
            "SELECT gc($1, $2)",
        ] {
            assert_eq!(RowCount::by(sql, false), RowCount::Unknown, "{sql}");
            assert_eq!(RowCount::by(sql, true), RowCount::Returned, "{sql}");
        }
        for sql in ["UPDATE t SET a = 1", "WITH a AS (SELECT) DELETE FROM t", "delete from t returning port"]
        {
            assert_eq!(RowCount::by(sql, false), RowCount::Server, "{sql}");
            assert_eq!(RowCount::by(sql, true), RowCount::Server, "{sql}");
        }
        let counted = "WITH a AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM a";
        assert_eq!(RowCount::by(counted, true), RowCount::Returned);
    }
}
