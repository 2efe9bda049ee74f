//! Wrong settings of `pg`, and how `check` reports them.

use conformance_tests::storages::pg::Design;
use libtest_mimic::Trial;

use super::{assert_refused, assert_reported, on};

/// A wrong setting, and how it is reported.
struct WrongSetting {
    title: &'static str,
    setting: (&'static str, &'static str),
    /// The key that is named.
    key: &'static str,
    words: &'static [&'static str],
}

const WRONG_SETTINGS: &[WrongSetting] = &[
    WrongSetting {
        title: "a table that is missing",
        setting: ("gc_query", "DELETE FROM mo_pears WHERE created <= @created"),
        key: "gc_query",
        words: &["relation \"mo_pears\" does not exist", "`tracker-storage schema pg` prints the tables"],
    },
    WrongSetting {
        title: "a table that is missing in the query of all counts",
        setting: ("peer.count_query", "SELECT 1 AS seeders, 2 AS leechers FROM mo_pears"),
        key: "peer.count_query",
        words: &["relation \"mo_pears\" does not exist"],
    },
    WrongSetting {
        title: "a column that is missing",
        setting: ("gc_query", "DELETE FROM mo_peers WHERE mo_peers.creatd <= @created"),
        key: "gc_query",
        words: &["column mo_peers.creatd does not exist", "\"mo_peers.created\""],
    },
    WrongSetting {
        title: "what is no SQL",
        setting: ("gc_query", "DELTE FROM mo_peers WHERE created <= @created"),
        key: "gc_query",
        words: &["syntax error at or near \"DELTE\""],
    },
    WrongSetting {
        title: "two statements in one query",
        setting: ("gc_query", "DELETE FROM mo_peers; DELETE FROM mo_kv"),
        key: "gc_query",
        words: &["multiple commands"],
    },
    WrongSetting {
        title: "an argument that does not exist",
        setting: ("downloads.get_query", "SELECT downloads FROM mo_downloads WHERE info_hash = @info_hsh"),
        key: "downloads.get_query",
        words: &["there is no argument `@info_hsh`", "did you mean `@info_hash`?"],
    },
    WrongSetting {
        title: "both styles of arguments in one query",
        setting: ("data.get_query", "SELECT value FROM mo_kv WHERE context = @context AND name = $2"),
        key: "data.get_query",
        words: &["both named arguments (`@context`) and numbered ones (`$2`)", "use one style"],
    },
    WrongSetting {
        title: "a fifth argument where four are given",
        setting: (
            "announce.query",
            "SELECT peer_id, address, port FROM mo_peers \
             WHERE info_hash = $1 AND is_seeder = $2 AND is_v6 = $3 LIMIT $4 OFFSET $5",
        ),
        key: "announce.query",
        words: &["uses `$5`", "4 arguments are given: `@info_hash`, `@is_seeder`, `@is_v6`, `@count`"],
    },
    WrongSetting {
        title: "a second argument where one is given",
        setting: ("gc_query", "DELETE FROM mo_peers WHERE created <= $2"),
        key: "gc_query",
        words: &["uses `$2`", "only one argument is given: `@created`"],
    },
    WrongSetting {
        title: "an argument left out between others",
        setting: (
            "announce.query",
            "SELECT peer_id, address, port FROM mo_peers WHERE info_hash = $1 AND is_seeder = $2 LIMIT $4",
        ),
        key: "announce.query",
        words: &["parameter $3", "`@is_v6` is not used", "to bool"],
    },
    WrongSetting {
        title: "a parameter of a type that cannot be fed",
        setting: ("gc_query", "DELETE FROM mo_peers WHERE created::date <= @created"),
        key: "gc_query",
        words: &["`@created` has the type date", "expected timestamp or timestamptz"],
    },
    WrongSetting {
        title: "a result without the configured column",
        setting: ("announce.query", "SELECT peer_id, address FROM mo_peers WHERE info_hash = @info_hash"),
        key: "announce.port_column",
        words: &["the column `port`", "`announce.query` does not have", "it has `peer_id`, `address`"],
    },
    WrongSetting {
        title: "a column that no result has",
        setting: ("peer.count_seeders_column", "seedrs"),
        key: "peer.count_seeders_column",
        words: &["the column `seedrs`", "`peer.count_query` does not have", "it has `seeders`, `leechers`"],
    },
    WrongSetting {
        title: "a column of a type that cannot be read",
        setting: ("downloads.get_query", "SELECT 'many' AS downloads WHERE @info_hash = ''::bytea"),
        key: "downloads.get_query",
        words: &["column `downloads` is text", "expected int2, int4 or int8"],
    },
    WrongSetting {
        title: "an empty query where one is required",
        setting: ("peer.graduate_query", ""),
        key: "peer.graduate_query",
        words: &["is missing or empty", "expected a query"],
    },
    WrongSetting {
        title: "an empty query before a clause",
        setting: ("peer.count_query", " "),
        key: "peer.count_query",
        words: &["is missing or empty", "expected a query"],
    },
    WrongSetting {
        title: "a zone that is nowhere",
        setting: ("created_zone", "Mars/Olympus"),
        key: "created_zone",
        words: &["expected a time zone", "Europe/Berlin", "UTC"],
    },
    WrongSetting {
        title: "a key that does not exist",
        setting: ("gc_querry", "DELETE FROM mo_peers"),
        key: "gc_querry",
        words: &["unknown key", "did you mean `gc_query`?"],
    },
];

/// A test for each mistake, made in the configuration of this design.
pub fn tests(design: fn() -> Design) -> Vec<Trial> {
    let test = |mistake: &'static WrongSetting| {
        let name = format!("{} is told once, and nothing is changed", mistake.title);
        on(&name, design, move |pg| {
            let ran = pg.check(&[mistake.setting]);
            assert_reported(&ran, mistake.key, mistake.words);
            assert_refused(&ran, 1);
            pg.assert_unchanged();
        })
    };
    WRONG_SETTINGS.iter().map(test).collect()
}
