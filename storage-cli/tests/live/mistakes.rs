//! Mistakes that operators make in settings of `pg`, and how `check` tells of them.

use conformance_tests::storages::pg::Design;
use libtest_mimic::Trial;

use super::{assert_refused, assert_told, on};

/// A setting with a mistake in it, and how that is told.
struct Mistake {
    title: &'static str,
    setting: (&'static str, &'static str),
    /// The key that is named.
    told_of: &'static str,
    words: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        title: "a table that is missing",
        setting: ("gc_query", "DELETE FROM mo_pears WHERE created <= @created"),
        told_of: "gc_query",
        words: &["relation \"mo_pears\" does not exist", "`tracker-storage schema pg` prints the tables"],
    },
    Mistake {
        title: "a table that is missing in the query of all counts",
        setting: ("peer.count_query", "SELECT 1 AS seeders, 2 AS leechers FROM mo_pears"),
        told_of: "peer.count_query",
        words: &["relation \"mo_pears\" does not exist"],
    },
    Mistake {
        title: "a column that is missing",
        setting: ("gc_query", "DELETE FROM mo_peers WHERE mo_peers.creatd <= @created"),
        told_of: "gc_query",
        words: &["column mo_peers.creatd does not exist", "\"mo_peers.created\""],
    },
    Mistake {
        title: "what is no SQL",
        setting: ("gc_query", "DELTE FROM mo_peers WHERE created <= @created"),
        told_of: "gc_query",
        words: &["syntax error at or near \"DELTE\""],
    },
    Mistake {
        title: "two statements in one query",
        setting: ("gc_query", "DELETE FROM mo_peers; DELETE FROM mo_kv"),
        told_of: "gc_query",
        words: &["multiple commands"],
    },
    Mistake {
        title: "an argument that does not exist",
        setting: ("downloads.get_query", "SELECT downloads FROM mo_downloads WHERE info_hash = @info_hsh"),
        told_of: "downloads.get_query",
        words: &["there is no argument `@info_hsh`", "did you mean `@info_hash`?"],
    },
    Mistake {
        title: "both styles of arguments in one query",
        setting: ("data.get_query", "SELECT value FROM mo_kv WHERE context = @context AND name = $2"),
        told_of: "data.get_query",
        words: &["both named arguments (`@context`) and numbered ones (`$2`)", "use one style"],
    },
    Mistake {
        title: "a fifth argument where four are given",
        setting: (
            "announce.query",
            "SELECT peer_id, address, port FROM mo_peers \
             WHERE info_hash = $1 AND is_seeder = $2 AND is_v6 = $3 LIMIT $4 OFFSET $5",
        ),
        told_of: "announce.query",
        words: &["uses `$5`", "4 arguments are given: `@info_hash`, `@is_seeder`, `@is_v6`, `@count`"],
    },
    Mistake {
        title: "a second argument where one is given",
        setting: ("gc_query", "DELETE FROM mo_peers WHERE created <= $2"),
        told_of: "gc_query",
        words: &["uses `$2`", "only one argument is given: `@created`"],
    },
    Mistake {
        title: "an argument left out between others",
        setting: (
            "announce.query",
            "SELECT peer_id, address, port FROM mo_peers WHERE info_hash = $1 AND is_seeder = $2 LIMIT $4",
        ),
        told_of: "announce.query",
        words: &["parameter $3", "`@is_v6` is not used", "to bool"],
    },
    Mistake {
        title: "a parameter of a type that cannot be fed",
        setting: ("gc_query", "DELETE FROM mo_peers WHERE created::date <= @created"),
        told_of: "gc_query",
        words: &["`@created` is date there", "expected timestamp or timestamptz"],
    },
    Mistake {
        title: "a result without the configured column",
        setting: ("announce.query", "SELECT peer_id, address FROM mo_peers WHERE info_hash = @info_hash"),
        told_of: "announce.port_column",
        words: &["the column `port`", "`announce.query` does not have", "it has `peer_id`, `address`"],
    },
    Mistake {
        title: "a column that no result has",
        setting: ("peer.count_seeders_column", "seedrs"),
        told_of: "peer.count_seeders_column",
        words: &["the column `seedrs`", "`peer.count_query` does not have", "it has `seeders`, `leechers`"],
    },
    Mistake {
        title: "a column of a type that cannot be read",
        setting: ("downloads.get_query", "SELECT 'many' AS downloads WHERE @info_hash = ''::bytea"),
        told_of: "downloads.get_query",
        words: &["column `downloads` is text", "expected int2, int4 or int8"],
    },
    Mistake {
        title: "an empty query where one is required",
        setting: ("peer.graduate_query", ""),
        told_of: "peer.graduate_query",
        words: &["is missing or empty", "a query is required"],
    },
    Mistake {
        title: "an empty query before a clause",
        setting: ("peer.count_query", " "),
        told_of: "peer.count_query",
        words: &["is missing or empty", "a query is required"],
    },
    Mistake {
        title: "a zone that is nowhere",
        setting: ("created_zone", "Mars/Olympus"),
        told_of: "created_zone",
        words: &["is no time zone", "Europe/Berlin", "UTC"],
    },
    Mistake {
        title: "a key that does not exist",
        setting: ("gc_querry", "DELETE FROM mo_peers"),
        told_of: "gc_querry",
        words: &["unknown key", "did you mean `gc_query`?"],
    },
];

/// A test for each mistake, made in the configuration of this design.
pub fn tests(design: fn() -> Design) -> Vec<Trial> {
    let test = |mistake: &'static Mistake| {
        let name = format!("{} is told once, and nothing is changed", mistake.title);
        on(&name, design, move |live| {
            let ran = live.check(&[mistake.setting]);
            assert_told(&ran, mistake.told_of, mistake.words);
            assert_refused(&ran, 1);
            live.assert_unchanged();
        })
    };
    MISTAKES.iter().map(test).collect()
}
