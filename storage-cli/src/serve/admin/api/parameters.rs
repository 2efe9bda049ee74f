//! The parameters of the API. Those that are unknown or given twice are errors, so that a typo cannot pass unnoticed.

use bytes::Bytes;
use hashbrown::HashSet;
use storage_core::{Cursor, InfoHash, SwarmOrder};

use super::error::{ApiError, ErrorCode};
use crate::serve::http::{Encoded, parameters};

/// The most swarms whose counts are read in one call.
pub(super) const MAX_INFO_HASHES: usize = 100;

/// The most swarms of a page.
pub(super) const MAX_LIMIT: usize = 500;

/// The swarms of a page, if the request does not say.
const DEFAULT_LIMIT: usize = 50;

/// The longest cursor in bytes; those of the backends have up to 44.
const MAX_CURSOR: usize = 256;

/// A page of the list of swarms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ListKey {
    pub(super) order: SwarmOrder,
    pub(super) limit: usize,
    /// Where it begins, as the storage wrote it.
    pub(super) cursor: Option<Bytes>,
}

/// What `/api/swarms` is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SwarmsQuery {
    /// The counts of these, each once.
    Counts(Vec<InfoHash>),
    List(ListKey),
}

impl SwarmsQuery {
    pub(super) fn read(query: &[u8]) -> Result<Self, ApiError> {
        let (mut sort, mut limit, mut cursor, mut info_hashes) = (None, None, None, Vec::new());
        for (name, value) in parameters(query) {
            match &*name {
                b"info_hash" => info_hashes.push(read_info_hash(&text("info_hash", value)?)?),
                b"sort" => set(&mut sort, "sort", value)?,
                b"limit" => set(&mut limit, "limit", value)?,
                b"cursor" => set(&mut cursor, "cursor", value)?,
                _ => return Err(unknown(&name, "`sort`, `limit`, `cursor` and `info_hash`")),
            }
            if info_hashes.len() > MAX_INFO_HASHES {
                let expected = format_args!("at most {MAX_INFO_HASHES} of them in one call");
                return Err(ApiError::invalid("info_hash", expected));
            }
        }
        if info_hashes.is_empty() {
            let order = sort.as_deref().map_or(Ok(SwarmOrder::Peers), read_order)?;
            let limit = limit.as_deref().map_or(Ok(DEFAULT_LIMIT), read_limit)?;
            let cursor = cursor.map(|cursor| read_cursor(order, &cursor)).transpose()?;
            return Ok(Self::List(ListKey { order, limit, cursor }));
        }
        if sort.is_some() || limit.is_some() || cursor.is_some() {
            let expected = "cannot be combined with `sort`, `limit` and `cursor`";
            return Err(ApiError::invalid("info_hash", expected));
        }
        let mut seen = HashSet::with_capacity(info_hashes.len());
        info_hashes.retain(|info_hash| seen.insert(*info_hash));
        Ok(Self::Counts(info_hashes))
    }
}

/// Refuses any parameter.
pub(super) fn no_parameters(query: &[u8]) -> Result<(), ApiError> {
    match parameters(query).next() {
        Some((name, _)) => Err(unknown(&name, "none")),
        None => Ok(()),
    }
}

pub(super) fn read_info_hash(text: &str) -> Result<InfoHash, ApiError> {
    text.parse().map_err(|error| ApiError::invalid("info_hash", error))
}

/// A cursor as clients see it: opaque, and of use for its own order alone.
pub(super) fn cursor_text(order: SwarmOrder, cursor: &Cursor) -> String {
    format!("{}-{}", order.name(), hex::encode(cursor.as_bytes()))
}

fn read_cursor(order: SwarmOrder, text: &str) -> Result<Bytes, ApiError> {
    let invalid = || ApiError::invalid("cursor", "expected the `next_cursor` of a page with the same `sort`");
    let (name, digits) = text.split_once('-').ok_or_else(invalid)?;
    if name != order.name() || digits.is_empty() || digits.len() > 2 * MAX_CURSOR {
        return Err(invalid());
    }
    hex::decode(digits).map(Bytes::from).map_err(|_| invalid())
}

fn read_order(text: &str) -> Result<SwarmOrder, ApiError> {
    let found = SwarmOrder::ALL.iter().find(|order| order.name() == text);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = SwarmOrder::ALL.iter().map(|order| order.name()).collect();
        ApiError::invalid("sort", format_args!("expected one of {}", names.join(", ")))
    })
}

fn read_limit(text: &str) -> Result<usize, ApiError> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        ApiError::invalid("limit", format_args!("expected a whole number from 1 to {MAX_LIMIT}"))
    })
}

fn set(parameter: &mut Option<String>, name: &str, value: Encoded<'_>) -> Result<(), ApiError> {
    let text = text(name, value)?;
    match parameter.replace(text) {
        Some(_) => Err(ApiError::invalid(name, "is given more than once")),
        None => Ok(()),
    }
}

fn text(name: &str, value: Encoded<'_>) -> Result<String, ApiError> {
    value.text().ok_or_else(|| ApiError::invalid(name, "expected UTF-8 text, percent-encoded"))
}

fn unknown(name: &[u8], known: &str) -> ApiError {
    let name = String::from_utf8_lossy(name);
    ApiError::new(
        ErrorCode::UnknownParameter,
        format!("`{name}` is no parameter of this path; it takes {known}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(query: &str) -> ErrorCode {
        SwarmsQuery::read(query.as_bytes()).unwrap_err().code()
    }

    fn list(query: &str) -> ListKey {
        match SwarmsQuery::read(query.as_bytes()).unwrap() {
            SwarmsQuery::List(key) => key,
            SwarmsQuery::Counts(_) => panic!("{query}"),
        }
    }

    fn counts(query: &str) -> Vec<InfoHash> {
        match SwarmsQuery::read(query.as_bytes()).unwrap() {
            SwarmsQuery::Counts(info_hashes) => info_hashes,
            SwarmsQuery::List(_) => panic!("{query}"),
        }
    }

    #[test]
    fn the_largest_swarms_come_first_unless_asked_otherwise() {
        assert_eq!(list(""), ListKey { order: SwarmOrder::Peers, limit: 50, cursor: None });
        let key = list("sort=downloads&limit=500&cursor=downloads-00ff");
        let cursor = Some(Bytes::from_static(&[0, 0xff]));
        assert_eq!(key, ListKey { order: SwarmOrder::Downloads, limit: 500, cursor });
    }

    #[test]
    fn values_out_of_range_are_errors() {
        for query in
            ["limit=0", "limit=501", "limit=-1", "limit=", "limit=1e3", "sort=size", "sort=", "sort=%ff"]
        {
            assert_eq!(code(query), ErrorCode::InvalidParameter, "{query}");
        }
        for query in ["sort=peers&sort=peers", "limit=1&limit=2", "info_hash=zz", "info_hash="] {
            assert_eq!(code(query), ErrorCode::InvalidParameter, "{query}");
        }
        for query in ["order=peers", "Sort=peers", "limit=5&x", "=1", "%ff=1"] {
            assert_eq!(code(query), ErrorCode::UnknownParameter, "{query}");
        }
    }

    #[test]
    fn a_cursor_is_of_use_for_its_own_order() {
        let cursor = Cursor::after_ranked_swarm(7, &InfoHash::V2([9; 32]));
        for order in SwarmOrder::ALL {
            let query = format!("sort={}&cursor={}", order.name(), cursor_text(*order, &cursor));
            assert_eq!(list(&query).cursor.as_deref(), Some(cursor.as_bytes()), "{query}");
        }
        let too_long = format!("cursor=peers-{}", "00".repeat(MAX_CURSOR + 1));
        for query in
            ["cursor=seeders-00", "cursor=00", "cursor=", "cursor=peers-", "cursor=peers-0", &too_long]
        {
            assert_eq!(code(query), ErrorCode::InvalidParameter, "{query}");
        }
    }

    #[test]
    fn counts_are_of_each_swarm_once_and_of_no_more_than_the_limit() {
        let (a, b) = ("a1".repeat(20), "B2".repeat(32));
        let query = format!("info_hash={a}&info_hash={b}&info_hash={a}");
        assert_eq!(counts(&query), [InfoHash::V1([0xa1; 20]), InfoHash::V2([0xb2; 32])]);
        let many = |count| vec![format!("info_hash={b}"); count].join("&");
        assert_eq!(counts(&many(MAX_INFO_HASHES)).len(), 1);
        assert_eq!(code(&many(MAX_INFO_HASHES + 1)), ErrorCode::InvalidParameter);
        assert_eq!(code(&format!("{query}&sort=peers")), ErrorCode::InvalidParameter);
    }

    #[test]
    fn the_longest_query_is_within_the_bounds_of_the_server() {
        let parameter = "&info_hash=".len() + 64;
        assert!(MAX_INFO_HASHES * parameter < 12 * 1024);
    }

    proptest! {
        #[test]
        fn any_query_is_read_without_a_panic(query: Vec<u8>) {
            let _ = SwarmsQuery::read(&query);
        }
    }
}
