//! The page of the operator, in a browser.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;
mod tracker;

use std::net::SocketAddr;
use std::process::{Command, ExitCode};

use conformance_tests::harness::unless_missing;
use conformance_tests::servers::Servers;
use conformance_tests::servers::redis::{Node, Setup};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tracker::RunningTracker;
use tracker::http::{client, get};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn main() -> ExitCode {
    let test = |name: &str, case: fn(&str) -> Result<Completion, Failed>| {
        Trial::ignorable_test(name, move || match find_browser() {
            Some(browser) => case(browser),
            None => Ok(Completion::ignored_with("no browser: chromium is not installed")),
        })
    };
    let trials = vec![
        test("the_page_shows_what_the_state_is", the_page_shows_what_the_state_is),
        test("the_page_says_why_there_is_no_list", the_page_says_why_there_is_no_list),
        test("the_page_shows_how_a_mirror_does", the_page_shows_how_a_mirror_does),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    Servers::shared().stop();
    conclusion.exit_code()
}

fn the_page_shows_what_the_state_is(browser: &str) -> Result<Completion, Failed> {
    let tracker = RunningTracker::start();
    for letter in b'a'..=b'g' {
        client(letter, 1).announce(tracker.http(), &[letter % 3; 20], (letter % 2).into(), "");
    }
    client(b'h', 1).announce(tracker.http6(), &[1; 20], 1, "");
    get(tracker.http(), "/announce?info_hash=short");
    let stats = loop {
        let stats = get(tracker.admin(), "/api/stats").json();
        if stats["seeders"] == 3 && stats["leechers"] == 5 {
            break stats;
        }
    };

    let page = shown(browser, tracker.admin());
    for id in ["swarms", "seeders", "leechers", "errors"] {
        assert_eq!(text(&page, id), stats[id].to_string(), "{id} in {page}");
    }
    assert_eq!(text(&page, "backend"), "Tracker on memory");
    assert_eq!(text(&page, "server"), stats["server"].as_str().unwrap_or_default());
    assert_eq!(text(&page, "announces"), stats["requests"]["announces"].to_string());
    assert_eq!((text(&page, "ipv4"), text(&page, "ipv6")), ("7", "1"));
    assert!(text(&page, "refused").starts_with("1 malformed"), "{page}");
    assert_eq!(text(&page, "state"), "serving");
    // The page's own requests are calls too.
    let calls = text(&page, "calls");
    assert!(matches!(calls.strip_suffix(" of at most 10,000"), Some("0" | "1" | "2")), "{calls}");
    assert_eq!((text(&page, "pool"), text(&page, "pending")), ("no server", "none"));
    assert_eq!(text(&page, "missing"), "none");
    assert!(page.contains("L120,"), "the chart reaches the present: {page}");

    let (_, rows) = page.split_once("id=\"rows\"").unwrap();
    let (rows, _) = rows.split_once("</tbody>").unwrap();
    assert_eq!(rows.matches("<tr>").count(), 3, "{rows}");
    let largest = "01".repeat(20);
    let first = format!("<tr><td title=\"{largest}\">{largest}</td>");
    assert!(
        rows.split_once("<tr>").is_some_and(|(_, rest)| format!("<tr>{rest}").starts_with(&first)),
        "{rows}"
    );
    assert!(text(&page, "age").starts_with("counted "), "{page}");
    Ok(Completion::Completed)
}

fn the_page_says_why_there_is_no_list(browser: &str) -> Result<Completion, Failed> {
    let node = match Node::start(&Setup::default()) {
        Ok(node) => node,
        Err(missing) => return unless_missing("redis", missing),
    };
    let config = format!("storage: {{name: redis, config: {{addresses: ['{}']}}}}\n", node.address());
    let page = shown(browser, RunningTracker::with(&config, &[]).admin());
    assert!(text(&page, "age").contains("lacks the capability `list swarms`"), "{page}");
    assert!(text(&page, "missing").contains("list swarms"), "{page}");
    assert!(text(&page, "pool").contains(" open, at most "), "{page}");
    node.stop();
    Ok(Completion::Completed)
}

/// The port of the secondary is one at which nobody listens.
fn the_page_shows_how_a_mirror_does(browser: &str) -> Result<Completion, Failed> {
    let secondary = "{name: redis, config: {addresses: ['127.0.0.1:1'], startup_timeout: 100ms}}";
    let sides = format!("primary: {{name: memory, config: {{}}}}, secondary: {secondary}");
    let tracker = RunningTracker::with(&format!("storage: {{name: mirror, config: {{{sides}}}}}\n"), &[]);
    client(b's', 1).announce(tracker.http(), &[1; 20], 0, "");
    let page = shown(browser, tracker.admin());
    assert_eq!(text(&page, "mirror"), "secondary suspended, missed writes: 1", "{page}");
    assert_eq!(text(&page, "state"), "degraded: mirror suspended");
    Ok(Completion::Completed)
}

/// A browser of this machine, if there is one.
fn find_browser() -> Option<&'static str> {
    let is_there = |browser: &&str| {
        Command::new(browser).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    BROWSERS.into_iter().find(is_there)
}

/// The elements of the page at this address after a few seconds.
fn shown(browser: &str, admin: SocketAddr) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{admin}/"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The text of an element.
fn text<'a>(page: &'a str, id: &str) -> &'a str {
    let element = page.split_once(&format!("id=\"{id}\"")).unwrap().1;
    element.split_once('>').unwrap().1.split('<').next().unwrap()
}
