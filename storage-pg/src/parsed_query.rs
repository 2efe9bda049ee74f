//! Parsed queries: queries as configured, before the server is asked about them.

use storage_core::config::{Problem, ProblemKind};

use crate::config::PgConfig;
use crate::pg_type::ColumnType;
use crate::query_spec::{Columns, Need, Query, StoragePart};
use crate::rewrite::{Rewritten, rewrite, without_semicolon};

/// A configured query, its arguments numbered.
#[derive(Debug)]
pub(crate) struct ParsedQuery {
    pub(crate) query: Query,
    pub(crate) rewritten: Rewritten,
    /// What is read from the result.
    pub(crate) columns: Vec<ParsedColumn>,
}

/// A column that the result should have.
#[derive(Debug)]
pub(crate) struct ParsedColumn {
    /// The configuration key that says so.
    pub(crate) key: &'static str,
    /// Its name; the first column if there is none.
    pub(crate) name: Option<String>,
    pub(crate) column_type: ColumnType,
}

/// Which part of a storage is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenedParts {
    Everything,
    DataAlone,
}

impl OpenedParts {
    /// The parts of a storage, in the order in which their queries are read.
    fn parts(self) -> &'static [StoragePart] {
        match self {
            Self::Everything => &[StoragePart::Data, StoragePart::Any, StoragePart::Peers],
            Self::DataAlone => &[StoragePart::Data, StoragePart::Any],
        }
    }
}

/// Reads the queries of a configuration and collects the problems with them.
pub(crate) struct ParsedQueries {
    pub(crate) queries: Vec<ParsedQuery>,
    pub(crate) problems: Vec<Problem>,
}

impl ParsedQueries {
    pub(crate) fn of(config: &PgConfig, opened: OpenedParts) -> Self {
        let mut queries = Self { queries: Vec::new(), problems: Vec::new() };
        for part in opened.parts() {
            for query in Query::ALL.iter().filter(|query| query.spec().part == *part) {
                queries.read(*query, config);
            }
        }
        queries.append_clause(config.queries[Query::CountPeers].as_deref().unwrap_or_default());
        queries
    }

    fn read(&mut self, query: Query, config: &PgConfig) {
        let spec = query.spec();
        let Some(text) = config.queries[query].as_ref().filter(|text| !text.trim().is_empty()) else {
            if spec.need == Need::Required {
                let message = "is missing or empty: expected a query, such as the one that \
                               `tracker-storage example-config pg` prints";
                self.problems.push(Problem::new(spec.key, message).of_kind(ProblemKind::Missing));
            }
            return;
        };
        match rewrite(text, spec.named, spec.numbered) {
            Ok(rewritten) => {
                self.queries.push(ParsedQuery { query, rewritten, columns: columns(query, config) })
            }
            Err(message) => self.problem(spec.key, message),
        }
    }

    /// The query for one swarm is the one for all with a clause after it; without that one the server
    /// cannot be asked about the clause.
    fn append_clause(&mut self, count_query: &str) {
        if !self.queries.iter().any(|parsed| parsed.query == Query::CountPeers) {
            self.queries.retain(|parsed| parsed.query != Query::CountSwarm);
        }
        let count_query = without_semicolon(count_query);
        for parsed in &mut self.queries {
            if parsed.query == Query::CountSwarm {
                // A comment may be what the query ends with.
                parsed.rewritten.sql = format!("{count_query}\n{}", parsed.rewritten.sql);
            }
        }
    }

    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(key, message).of_kind(ProblemKind::Query));
    }
}

fn columns(query: Query, config: &PgConfig) -> Vec<ParsedColumn> {
    let key = query.key();
    match query.spec().columns {
        Columns::None => Vec::new(),
        Columns::First(column_type) => vec![ParsedColumn { key, name: None, column_type }],
        Columns::Named(columns) => columns
            .iter()
            .map(|(name, column_type)| ParsedColumn {
                key,
                name: Some((*name).to_owned()),
                column_type: *column_type,
            })
            .collect(),
        Columns::Configured(columns) => columns
            .iter()
            .map(|column| {
                let name = Some((column.name)(config).to_owned());
                ParsedColumn { key: column.key, name, column_type: column.column_type }
            })
            .collect(),
    }
}
