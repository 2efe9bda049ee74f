//! Migrations between storages on real servers: all records arrive, also after interruptions, and a
//! comparison reports what differs.

mod mochi;
mod pairs;
mod rules;
mod test_env;
mod verify;

use libtest_mimic::Trial;

use test_env::{BackendKind, test};

/// All of them.
pub fn tests() -> Vec<Trial> {
    let mut tests = vec![mochi::test()];
    for from in BackendKind::ALL {
        for to in BackendKind::ALL {
            tests.push(test(
                format!("{from:?} to {to:?} moves everything once"),
                [from, to],
                pairs::everything,
            ));
        }
    }
    for kind in BackendKind::ALL {
        let both = [kind, BackendKind::Memory];
        tests.extend([
            test(format!("to {kind:?} data that disappears is not left behind"), both, rules::gone_data),
            test(format!("to {kind:?} downloads are replaced where asked"), both, rules::replaced_downloads),
            test(format!("to {kind:?} data is replaced where asked"), both, rules::replaced_data),
        ]);
    }
    let redis = [BackendKind::Redis, BackendKind::Pg];
    let memory = [BackendKind::Memory, BackendKind::Memory];
    tests.extend([
        test("unreadable entries are counted and all others arrive".into(), redis, rules::unreadable_entries),
        test("a dry run writes nothing".into(), memory, rules::dry_run),
        test("data that comes back while it is removed stays".into(), memory, rules::data_that_comes_back),
        test("stale peers are left out where asked".into(), memory, rules::stale_peers),
        test("only the contexts asked for are moved".into(), memory, rules::contexts),
        test("passes write what is newer until the source is quiet".into(), memory, rules::passes),
        test("a stop ends it and the next run completes it".into(), memory, rules::stopped),
        test("a comparison reports every difference".into(), memory, verify::differences),
        test("a comparison tells announces after the copy from differences".into(), memory, verify::live),
        test(
            "a comparison counts peers of the source past their lifetime".into(),
            redis,
            verify::past_lifetime,
        ),
        test("a comparison of a sample finds what is wrong everywhere".into(), memory, verify::sample),
        test("a comparison of large swarms looks at every peer".into(), redis, verify::large_swarm),
    ]);
    tests
}
