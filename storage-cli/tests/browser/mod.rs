//! Pages as a browser shows them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::process::Command;

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser of this machine, if there is one.
pub fn find() -> Option<&'static str> {
    let is_there = |browser: &&str| {
        Command::new(browser).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    BROWSERS.into_iter().find(is_there)
}

/// The elements of the page at this address after a few seconds.
pub fn shown(browser: &str, admin: SocketAddr) -> String {
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
pub fn text<'a>(page: &'a str, id: &str) -> &'a str {
    let element = page.split_once(&format!("id=\"{id}\"")).unwrap().1;
    element.split_once('>').unwrap().1.split('<').next().unwrap()
}
