//! The page of the operator, in a browser.

#![allow(clippy::unwrap_used, reason = "everything here is a test, though not by that attribute")]

mod common;
mod tracker;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Trial};
use tracker::RunningTracker;
use tracker::http::{client, get};

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn main() -> ExitCode {
    let trial = Trial::ignorable_test("the_page_shows_what_the_state_is", || {
        let Some(browser) = BROWSERS.into_iter().find(|browser| is_there(browser)) else {
            return Ok(Completion::ignored_with("no browser: chromium is not installed"));
        };
        the_page_shows_what_the_state_is(browser);
        Ok(Completion::Completed)
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn is_there(browser: &str) -> bool {
    Command::new(browser).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn the_page_shows_what_the_state_is(browser: &str) {
    let tracker = RunningTracker::start();
    for letter in b'a'..=b'g' {
        client(letter, 1).announce(tracker.http(), &[letter % 3; 20], (letter % 2).into(), "");
    }
    get(tracker.http(), "/announce?info_hash=short");
    let stats = loop {
        let stats = get(tracker.admin(), "/stats").json();
        if stats["seeders"] == 3 && stats["leechers"] == 4 {
            break stats;
        }
    };

    let page = format!("http://{}/", tracker.admin());
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(&page)
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for id in ["swarms", "seeders", "leechers", "errors"] {
        assert_eq!(text(&shown, id), stats[id].to_string(), "{id} in {shown}");
    }
    assert_eq!(text(&shown, "backend"), "Tracker on memory");
    assert_eq!(text(&shown, "server"), stats["server"].as_str().unwrap_or_default());
    assert_eq!(text(&shown, "announces"), stats["requests"]["announces"].to_string());
    assert!(text(&shown, "refused").starts_with("1 malformed"), "{shown}");
    assert_eq!(text(&shown, "state"), "serving");
    assert!(shown.contains("L120,"), "the chart reaches the present: {shown}");
}

/// The text of an element.
fn text<'a>(page: &'a str, id: &str) -> &'a str {
    let element = page.split_once(&format!("id=\"{id}\"")).unwrap().1;
    element.split_once('>').unwrap().1.split('<').next().unwrap()
}
