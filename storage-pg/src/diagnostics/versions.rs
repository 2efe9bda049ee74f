//! Which version the recommended tables have, by the comments of tables, triggers and functions. A look that fails
//! tells nothing, and fails nothing.

use sqlx::Row;
use storage_core::{Operation, Result};

use super::advice::failed;
use crate::core::Core;
use crate::recommended::{STAMP, TABLES_VERSION};
use crate::retry::{TxMode, with_retries};
use crate::server::Product;

/// What belongs to the tables, if they are the recommended ones, and its comment.
const OBJECTS: &str = "\
WITH counts AS (SELECT to_regclass('mo_peers') AS peers, to_regclass('mo_swarms') AS swarms)
SELECT 'mo_peers' AS name, obj_description(peers, 'pg_class') AS comment FROM counts WHERE swarms IS NOT NULL
UNION ALL
SELECT 'mo_swarms', obj_description(swarms, 'pg_class') FROM counts WHERE swarms IS NOT NULL
UNION ALL
SELECT t.tgname::text, obj_description(t.oid, 'pg_trigger') FROM counts JOIN pg_trigger t ON t.tgrelid IN (peers, swarms)
WHERE swarms IS NOT NULL AND NOT t.tgisinternal AND t.tgname LIKE 'mo\\_%'
UNION ALL
SELECT DISTINCT p.proname::text || '()', obj_description(p.oid, 'pg_proc')
FROM counts JOIN pg_trigger t ON t.tgrelid IN (peers, swarms) JOIN pg_proc p ON p.oid = t.tgfoid
WHERE swarms IS NOT NULL AND NOT t.tgisinternal AND p.proname LIKE 'mo\\_%'";

/// The same where there are no triggers.
const TABLE: &str = "\
SELECT 'mo_peers', obj_description('mo_peers'::regclass, 'pg_class') FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = 'mo_peers' AND column_name = 'sample'";

/// A version of tables, and what is amiss with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TablesVersion {
    pub(super) finding: String,
    pub(super) warning: Option<String>,
}

/// The version; none of tables that are not the recommended ones.
pub(super) async fn tables_version(core: &Core, product: Product) -> Result<Option<TablesVersion>> {
    with_retries!(core, Operation::Diagnostics, TxMode::Autocommit, |connection| {
        let objects = if product == Product::Cockroach { TABLE } else { OBJECTS };
        let rows =
            sqlx::query(objects).persistent(false).fetch_all(&mut *connection).await.map_err(failed)?;
        let mut versions = Vec::new();
        for row in rows {
            let comment: Option<String> = row.try_get(1).map_err(failed)?;
            versions.push((row.try_get(0).map_err(failed)?, version(comment.as_deref())));
        }
        Ok(judge(&versions))
    })
}

/// The version that a comment names; version 1 has no comments.
fn version(comment: Option<&str>) -> u32 {
    let named = comment.and_then(|comment| comment.strip_prefix(STAMP));
    let digits =
        named.map(|named| named.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(1)
}

/// `versions` has a name and a version each.
fn judge(versions: &[(String, u32)]) -> Option<TablesVersion> {
    let oldest = versions.iter().map(|(_, version)| *version).min()?;
    let newest = versions.iter().map(|(_, version)| *version).max()?;
    let warning = if newest > TABLES_VERSION {
        Some(format!(
            "the tables have version {newest}, which is newer than this program's, {TABLES_VERSION}: take a newer \
             program, or have the one that made them print the way back by `tracker-storage schema pg --downgrade`"
        ))
    } else if oldest < newest {
        let of_oldest = versions.iter().filter(|(_, version)| *version == oldest);
        let names: Vec<_> = of_oldest.map(|(name, _)| format!("`{name}`")).collect();
        Some(format!(
            "the tables have version {newest}, but {} version {oldest}: run what `tracker-storage schema pg --upgrade` \
             prints",
            names.join(", ")
        ))
    } else if newest < TABLES_VERSION {
        Some(format!(
            "the tables have version {newest}, and this program makes version {TABLES_VERSION}: run what `tracker-storage \
             schema pg --upgrade` prints; see UPGRADING.md"
        ))
    } else {
        None
    };
    Some(TablesVersion { finding: format!("version {newest}"), warning })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(versions: &[(&str, u32)]) -> Option<TablesVersion> {
        let versions: Vec<_> =
            versions.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect();
        judge(&versions)
    }

    #[test]
    fn a_version_is_what_the_comment_begins_with() {
        assert_eq!(version(None), 1);
        assert_eq!(version(Some("our peers")), 1);
        assert_eq!(version(Some(&format!("{STAMP}12; do not touch"))), 12);
    }

    #[test]
    fn tables_of_this_version_need_nothing_and_others_are_not_known() {
        assert_eq!(judged(&[]), None);
        let current = judged(&[("mo_peers", TABLES_VERSION), ("mo_swarms", TABLES_VERSION)]).unwrap();
        assert_eq!(current.warning, None);
    }

    #[test]
    fn other_versions_are_told_with_the_way_out() {
        let warning = |versions: &[(&str, u32)]| judged(versions).unwrap().warning.unwrap();
        assert!(warning(&[("mo_peers", 1), ("mo_swarms", 1)]).contains("--upgrade"));
        assert!(warning(&[("mo_peers", TABLES_VERSION), ("mo_peers_came", 1)]).contains("`mo_peers_came`"));
        assert!(warning(&[("mo_peers", TABLES_VERSION + 1)]).contains("--downgrade"));
    }
}
