//! The commands in the README and in the pages of the book.

use std::fs;

use crate::repository;

/// Why a block is not run, by the mark in its info string.
const REASONS: [(&str, &str); 7] = [
    ("takes-minutes", "it compiles, or runs for minutes"),
    ("until-ctrl-c", "it runs until it is interrupted"),
    ("in-another-terminal", "it needs what a block before it runs until it is interrupted"),
    ("needs-systemd", "it needs systemd, and changes the machine"),
    ("needs-docker", "it needs containers"),
    ("needs-cockroachdb", "it needs CockroachDB"),
    ("needs-public-address", "it listens on every interface"),
];

/// Info strings of blocks with commands that would be passed over.
const ALIASES: [&str; 4] = ["bash", "console", "shell", "zsh"];

/// A page of the book, or the README.
pub struct BookPage {
    /// From the root of the repository.
    pub name: String,
    pub blocks: Vec<CommandBlock>,
}

/// A block of commands.
pub struct CommandBlock {
    pub line: usize,
    pub runnable: Runnable,
    pub text: String,
}

/// Whether a block is run.
#[derive(Debug, PartialEq, Eq)]
pub enum Runnable {
    Yes,
    /// Not, for this reason.
    No(&'static str),
    /// The info string is wrong.
    Unclear(String),
}

/// The pages of the book, in the order of their names, and the README.
pub fn read_pages() -> Vec<BookPage> {
    let folder = repository().join("docs/src");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    assert!(files.len() > 10, "only {} pages in {}", files.len(), folder.display());
    files.push(repository().join("README.md"));
    let page = |file: &std::path::PathBuf| BookPage {
        name: file.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned(),
        blocks: blocks(&fs::read_to_string(file).unwrap()),
    };
    files.iter().map(page).collect()
}

/// Marks that no block has.
pub fn unused_reasons() -> Vec<&'static str> {
    let pages = read_pages();
    let is_used = |reason: &str| {
        let mut blocks = pages.iter().flat_map(|page| &page.blocks);
        blocks.any(|block| matches!(block.runnable, Runnable::No(found) if found == reason))
    };
    REASONS.iter().filter(|(_, reason)| !is_used(reason)).map(|(mark, _)| *mark).collect()
}

/// The blocks of commands in a page; within a list they are indented.
fn blocks(page: &str) -> Vec<CommandBlock> {
    let (mut found, mut lines) = (Vec::new(), (1..).zip(page.lines()));
    while let Some((line, opening)) = lines.next() {
        let fence = opening.trim_start();
        let ticks = fence.chars().take_while(|letter| *letter == '`').count();
        let info = fence[ticks..].trim();
        if ticks < 3 || info.contains('`') {
            continue;
        }
        let indent = opening.len() - fence.len();
        let end = "`".repeat(ticks);
        let content = lines.by_ref().map(|(_, text)| text).take_while(|text| text.trim() != end);
        let text: Vec<_> = content.map(|text| text.get(indent..).unwrap_or_default()).collect();
        if let Some(runnable) = runnable(info) {
            found.push(CommandBlock { line, runnable, text: text.join("\n") });
        }
    }
    found
}

/// `None` for a block without commands.
fn runnable(info: &str) -> Option<Runnable> {
    let (language, mark) =
        info.split_once(',').map_or((info, None), |(language, mark)| (language, Some(mark)));
    if ALIASES.contains(&language) {
        return Some(Runnable::Unclear(format!("`{language}`: commands are in blocks of the language `sh`")));
    }
    if language != "sh" {
        return None;
    }
    let Some(mark) = mark else { return Some(Runnable::Yes) };
    Some(match REASONS.iter().find(|(name, _)| *name == mark) {
        Some((_, reason)) => Runnable::No(reason),
        None => {
            let known: Vec<_> = REASONS.iter().map(|(name, _)| *name).collect();
            Runnable::Unclear(format!("`{mark}` is no reason; there are {}", known.join(", ")))
        }
    })
}
