//! Real BitTorrent clients that exchange a file, and know each other only through the tracker.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "everything here is a test, though not by that attribute"
)]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod network;
mod torrent;
mod tracker;

use std::process::ExitCode;

use conformance_tests::harness::unless_missing;
use conformance_tests::servers::{Found, Missing, Servers};
use libtest_mimic::{Arguments, Completion, Trial};

use client::ClientProgram;
use network::{Machine, Network};
use torrent::{Format, NAME, Torrent};
use tracker::{TestTracker, TrackerBackend};

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for program in ClientProgram::ALL {
        for format in program.formats() {
            for protocol in ["http", "udp"] {
                for backend in TrackerBackend::ALL {
                    trials.push(test(program, *format, protocol, backend));
                }
            }
        }
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

fn test(program: ClientProgram, format: Format, protocol: &'static str, backend: TrackerBackend) -> Trial {
    let name = format!("{} exchanges {format:?} by {protocol} on {backend:?}", program.name());
    Trial::ignorable_test(name, move || match set(program, backend) {
        Ok((network, tracker)) => {
            exchange(program, &Torrent::new(format), protocol, &network, &tracker);
            tracker.stop();
            Ok(Completion::Completed)
        }
        Err(missing) => unless_missing("clients", missing),
    })
}

fn set(program: ClientProgram, backend: TrackerBackend) -> Found<(Network, TestTracker)> {
    if !program.is_there() {
        return Err(Missing::Absent(format!("{} is not installed", program.name())));
    }
    let network = Network::make()?;
    let tracker = TestTracker::start(backend, network.of_tracker())?;
    Ok((network, tracker))
}

fn exchange(
    program: ClientProgram,
    torrent: &Torrent,
    protocol: &str,
    network: &Network,
    tracker: &TestTracker,
) {
    let [of_seeder, of_leecher] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    std::fs::write(of_seeder.path().join(NAME), &torrent.content).unwrap();
    let start = |machine, directory: &tempfile::TempDir| {
        let file = directory.path().join("this.torrent");
        std::fs::write(&file, torrent.file(&format!("{protocol}://{}/announce", tracker.address))).unwrap();
        program.start(network, machine, &file, directory.path())
    };

    let mut seeder = start(Machine::Seeder, &of_seeder);
    torrent.wait_for(tracker.address, [1, 0, 0]);
    let mut leecher = start(Machine::Leecher, &of_leecher);
    torrent.wait_for(tracker.address, [2, 0, 1]);
    assert!(std::fs::read(of_leecher.path().join(NAME)).unwrap() == torrent.content);
    leecher.leave();
    torrent.wait_for(tracker.address, [1, 0, 1]);
    seeder.leave();
    torrent.wait_for(tracker.address, [0, 0, 1]);
}
