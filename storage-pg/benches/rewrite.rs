//! Rewriting named arguments, which happens to each query once when a storage is opened.
//! `cargo bench -p tracker-storage-pg`

#![allow(dead_code, reason = "parts of the crate, of which this uses some")]

#[path = "../src/rewrite.rs"]
mod rewrite;

use divan::{Bencher, black_box};
use rewrite::Argument;
use storage_pg::Query;
use storage_pg::recommended::Recommendation;

const NAMED: [Argument; 7] = [
    Argument::InfoHash,
    Argument::PeerId,
    Argument::Address,
    Argument::Port,
    Argument::IsSeeder,
    Argument::IsV6,
    Argument::Created,
];

fn main() {
    divan::main();
}

#[divan::bench]
fn the_recommended_put(bencher: Bencher<'_, '_>) {
    let query = Recommendation::default().config().queries[Query::PutPeer].clone().unwrap_or_default();
    bencher.bench(|| rewrite::rewrite(black_box(&query), &NAMED, &[]));
}

#[divan::bench(args = [1, 10, 100])]
fn kibibytes_of_literals_and_comments(bencher: Bencher<'_, '_>, kibibytes: usize) {
    let query = "SELECT '@no', \"@no\", $$@no$$ /* @no */ @> @port -- @no\n".repeat(kibibytes * 1024 / 57);
    bencher.bench(|| rewrite::rewrite(black_box(&query), &NAMED, &[]));
}
