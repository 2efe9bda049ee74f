//! Whether it is said how many rows the queries of a graduation touched: by that it is known what is a download.

use std::sync::OnceLock;

use crate::query_spec::Query;
use crate::rewrite::first_word;
use crate::statement::Statement;

/// The first query that was found not to say how many rows it touched.
#[derive(Default)]
pub(crate) struct RowCounts(OnceLock<Query>);

impl RowCounts {
    /// What the texts of the queries show: a procedure that is called says nothing.
    pub(crate) fn of(statements: &[Statement]) -> Self {
        let this = Self::default();
        let decide = |statement: &&Statement| {
            matches!(statement.query, Query::GraduatePeer | Query::DeletePeer) && !says_rows(&statement.sql)
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

/// Whether the server says how many rows a statement of this kind touched.
fn says_rows(sql: &str) -> bool {
    !["call", "do"].iter().any(|kind| first_word(sql).eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_a_procedure_says_nothing() {
        for sql in [
            "CALL p($1)",
            "  call p($1)",
            "-- a comment\n/* more /* nested */ */ Call p($1)",
            "DO $$BEGIN END$$",
        ] {
            assert!(!says_rows(sql), "{sql}");
        }
        for sql in
            ["UPDATE t SET a = 1", "WITH a AS (SELECT) DELETE FROM t", "SELECT calling()", "", "-- call"]
        {
            assert!(says_rows(sql), "{sql}");
        }
    }
}
