//! Drafts: queries as configured, before the server is asked about them.

use storage_core::config::Problem;

use crate::config::PgConfig;
use crate::kind::Reading;
use crate::query_spec::{Columns, Need, Part, Query};
use crate::rewrite::{Rewritten, rewrite, without_semicolon};

/// A configured query, its arguments numbered.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) query: Query,
    pub(crate) rewritten: Rewritten,
    /// What is read from the result.
    pub(crate) columns: Vec<DraftColumn>,
}

/// A column that the result should have.
#[derive(Debug)]
pub(crate) struct DraftColumn {
    /// The configuration key that says so.
    pub(crate) key: &'static str,
    /// Its name; the first column if there is none.
    pub(crate) name: Option<String>,
    pub(crate) reading: Reading,
}

/// Which part of a storage is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    Everything,
    DataAlone,
}

impl Opened {
    /// The parts of a storage, in the order in which their queries are read.
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Everything => &[Part::Data, Part::Any, Part::Peers],
            Self::DataAlone => &[Part::Data, Part::Any],
        }
    }
}

/// Reads the queries of a configuration and collects the problems with them.
pub(crate) struct Drafts {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) problems: Vec<Problem>,
}

impl Drafts {
    pub(crate) fn of(config: &PgConfig, opened: Opened) -> Self {
        let mut drafts = Self { drafts: Vec::new(), problems: Vec::new() };
        for part in opened.parts() {
            for query in Query::ALL.iter().filter(|query| query.spec().part == *part) {
                drafts.read(*query, config);
            }
        }
        drafts.append_clause(&config.queries[Query::CountPeers]);
        drafts
    }

    fn read(&mut self, query: Query, config: &PgConfig) {
        let (spec, text) = (query.spec(), &config.queries[query]);
        if text.trim().is_empty() {
            if spec.need == Need::Required {
                self.problem(spec.key, "is missing or empty; a query is required here, such as `tracker-storage example-config pg` prints");
            }
            return;
        }
        match rewrite(text, spec.named, spec.numbered) {
            Ok(rewritten) => self.drafts.push(Draft { query, rewritten, columns: columns(query, config) }),
            Err(message) => self.problem(spec.key, message),
        }
    }

    /// The query for one swarm is the one for all with a clause after it; without that one the server
    /// cannot be asked about the clause.
    fn append_clause(&mut self, count_query: &str) {
        if !self.drafts.iter().any(|draft| draft.query == Query::CountPeers) {
            self.drafts.retain(|draft| draft.query != Query::CountSwarm);
        }
        let count_query = without_semicolon(count_query);
        for draft in &mut self.drafts {
            if draft.query == Query::CountSwarm {
                // A comment may be what the query ends with.
                draft.rewritten.sql = format!("{count_query}\n{}", draft.rewritten.sql);
            }
        }
    }

    fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), message: message.into() });
    }
}

fn columns(query: Query, config: &PgConfig) -> Vec<DraftColumn> {
    let key = query.key();
    match query.spec().columns {
        Columns::None => Vec::new(),
        Columns::First(reading) => vec![DraftColumn { key, name: None, reading }],
        Columns::Named(columns) => columns
            .iter()
            .map(|(name, reading)| DraftColumn { key, name: Some((*name).to_owned()), reading: *reading })
            .collect(),
        Columns::Configured(columns) => columns
            .iter()
            .map(|column| {
                let name = Some((column.name)(config).to_owned());
                DraftColumn { key: column.key, name, reading: column.reading }
            })
            .collect(),
    }
}
