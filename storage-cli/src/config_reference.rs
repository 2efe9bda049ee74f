//! The configuration reference of the book has every key that is read, no other, and the right defaults.

#![allow(clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use storage_core::config::{ConfigDiagnostics, ConfigFile, Section, Settings, Value};
use storage_core::{Backends, Driver};
use storage_memory::{MemoryConfig, MemoryDriver};
use storage_mirror::{MirrorConfig, MirrorDriver};
use storage_pg::{PgConfig, PgDriver};
use storage_redis::{RedisConfig, RedisDriver};

use crate::serve::ServeSettings;

const REFERENCE: &str = "configuration.md";

const QUERIES: &str = "pg-queries.md";

/// An entry of the reference: a heading with a key, and what follows it.
struct ReferenceEntry {
    key: String,
    text: String,
}

impl ReferenceEntry {
    /// The default, as it would be written in a file: *number, default `7`*.
    fn default(&self) -> Option<&str> {
        self.kind().split_once("default `")?.1.strip_suffix("`*")
    }

    /// The line about type and default.
    fn kind(&self) -> &str {
        self.text.lines().find(|line| !line.is_empty()).unwrap_or_default()
    }

    fn states_a_default(&self) -> bool {
        let kind = self.kind();
        ["default `", "default: ", "no default*", "required", "optional*"]
            .iter()
            .any(|what| kind.contains(what))
    }

    /// The example as YAML: after `Example:`, or in a block.
    fn example(&self) -> Option<String> {
        let (_, after) = self.text.split_once("\nExample:")?;
        match after.split_once("```yaml\n") {
            Some((_, block)) => Some(block.split("```").next()?.to_owned()),
            None => Some(after.trim().strip_prefix('`')?.strip_suffix('`')?.to_owned()),
        }
    }
}

/// The entries of a page, or of one of its sections.
fn entries(page: &str, section: Option<&str>) -> Vec<ReferenceEntry> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src").join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found: Vec<ReferenceEntry> = Vec::new();
    let (mut is_here, mut in_entry) = (section.is_none(), false);
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            (is_here, in_entry) = (section.is_none_or(|section| section == title), false);
        } else if line.starts_with("### ") {
            let key = line.strip_prefix("### `").and_then(|heading| heading.strip_suffix('`'));
            in_entry = is_here && key.is_some();
            let entry = key.map(|key| ReferenceEntry { key: key.to_owned(), text: String::new() });
            found.extend(entry.filter(|_| in_entry));
        } else if let Some(entry) = found.last_mut().filter(|_| in_entry) {
            entry.text.push_str(line);
            entry.text.push('\n');
        }
    }
    assert!(!found.is_empty(), "{page}: no entries in {section:?}");
    found
}

/// A file with a text in YAML.
fn yaml(text: &str) -> Section {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
    std::fs::write(file.path(), text).expect("a file that can be written");
    let config = ConfigFile::read(file.path(), std::iter::empty());
    config.unwrap_or_else(|error| panic!("{error}:\n{text}")).section()
}

/// One line of YAML for a key in a section: `peer: {add_query: X}`.
fn line(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((section, key)) => format!("{section}: {{{key}: {value}}}\n"),
        None => format!("{key}: {value}\n"),
    }
}

/// Keys that hold further ones are sections, and no settings.
fn settings_of(known: &Section) -> BTreeSet<String> {
    let keys: BTreeSet<String> = known.known_keys().map(str::to_owned).collect();
    let holds_further = |key: &str| keys.iter().any(|other| other.starts_with(&format!("{key}.")));
    keys.iter().filter(|key| !holds_further(key)).cloned().collect()
}

/// Compares the keys of entries with those that are read; `ignored` are documented elsewhere.
fn check_keys(entries: &[ReferenceEntry], read: &BTreeSet<String>, ignored: &[&str]) {
    let documented: BTreeSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(documented.len(), entries.len(), "an entry is there twice");
    let missing: Vec<_> =
        read.difference(&documented).filter(|key| !ignored.contains(&key.as_str())).collect();
    let unknown: Vec<_> = documented.difference(read).collect();
    assert!(missing.is_empty(), "{REFERENCE} has no entry for {missing:?}");
    assert!(unknown.is_empty(), "{REFERENCE} has entries for keys that nothing reads: {unknown:?}");
}

/// Reads the documented default of each entry, which must mean the same as to leave the key out.
fn check_defaults<T: PartialEq + Debug>(entries: &[ReferenceEntry], mut read: impl FnMut(&mut Section) -> T) {
    let default = read(&mut Section::new(Value::Null));
    for entry in entries {
        assert!(entry.states_a_default(), "`{}`: {} states no default", entry.key, entry.kind());
        let Some(documented) = entry.default() else { continue };
        let mut section = yaml(&line(&entry.key, documented));
        let settings = read(&mut section);
        assert!(settings == default, "`{}`: `{documented}` is not the default", entry.key);
    }
}

/// The examples are taken as they are, beside what is always needed.
fn check_examples(entries: &[ReferenceEntry], always: &str, mut read: impl FnMut(&mut Section)) {
    for entry in entries {
        let example = entry.example().unwrap_or_else(|| panic!("`{}` has no example", entry.key));
        let further = always.lines().filter(|line| {
            let key = line.split(':').next().unwrap_or_default();
            !example.starts_with(&format!("{key}:"))
        });
        let text = format!("{example}\n{}\n", further.collect::<Vec<_>>().join("\n"));
        let mut section = yaml(&text);
        let name = entry.key.split('.').next().unwrap_or_default();
        assert!(section.has(name), "`{}`: its example is of another key", entry.key);
        read(&mut section);
        assert_eq!(section.finish(), ConfigDiagnostics::default(), "the example of `{}`:\n{text}", entry.key);
    }
}

/// Values that a default has must be stated as such.
fn check_absent_defaults(entries: &[ReferenceEntry], default: &Value) {
    for entry in entries.iter().filter(|entry| entry.kind().contains("no default*")) {
        let value = entry.key.split('.').try_fold(default, |value, key| match value {
            Value::Section(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        });
        assert!(
            value.is_none_or(|value| *value == Value::Null),
            "`{}` has a default that {REFERENCE} does not state",
            entry.key
        );
    }
}

fn known_to(driver: &dyn Driver, config: Value) -> BTreeSet<String> {
    let mut section = Section::new(config);
    drop(driver.configure(&mut section));
    settings_of(&section)
}

#[test]
fn the_settings_of_every_backend_are_documented() {
    let documented = entries(REFERENCE, Some("Every backend"));
    let mut section = Section::new(Value::Null);
    Settings::read(&mut section);
    check_keys(&documented, &settings_of(&section), &[]);
    check_defaults(&documented, Settings::read);
    check_examples(&documented, "", |section| {
        Settings::read(section);
    });
}

#[test]
fn the_settings_of_memory_are_documented() {
    let documented = entries(REFERENCE, Some("`memory`"));
    check_keys(&documented, &known_to(&MemoryDriver, Value::Null), &[]);
    check_defaults(&documented, MemoryConfig::read);
    check_absent_defaults(&documented, &Value::from(&MemoryConfig::default()));
    check_examples(&documented, "", |section| drop(MemoryDriver.configure(section)));
}

#[test]
fn the_settings_of_redis_are_documented() {
    let documented = entries(REFERENCE, Some("`redis`"));
    check_keys(&documented, &known_to(&RedisDriver, Value::Null), &[]);
    check_defaults(&documented, RedisConfig::read);
    check_absent_defaults(&documented, &Value::from(&RedisConfig::default()));
    check_examples(&documented, "", |section| drop(RedisDriver.configure(section)));
}

#[test]
fn the_settings_and_queries_of_pg_are_documented() {
    let mut documented = entries(REFERENCE, Some("`pg`"));
    check_examples(&documented, "connection_string: host=db1", |section| {
        drop(PgDriver.configure(section));
    });
    documented.extend(entries(QUERIES, None));
    check_keys(&documented, &known_to(&PgDriver, Value::Null), &[]);
    check_defaults(&documented, PgConfig::read);
    check_absent_defaults(&documented, &Value::from(&PgConfig::default()));
}

#[test]
fn the_settings_of_the_mirror_are_documented() {
    let documented = entries(REFERENCE, Some("`mirror`"));
    let driver = MirrorDriver::new(Backends::new().with(MemoryDriver));
    let memory = || Value::section([("name", Value::Text("memory".into()))]);
    let sides = Value::section([("primary", memory()), ("secondary", memory())]);
    let mut section = Section::new(sides);
    drop(driver.configure(&mut section));
    // What is within the sides is another backend's.
    let of_side = |key: &&str| key.contains(".config.") || ["primary", "secondary"].contains(key);
    let known = section.known_keys().filter(|key| !of_side(key)).map(str::to_owned).collect();
    check_keys(&documented, &known, &[]);
    check_defaults(&documented, MirrorConfig::read);
    let always = "primary: {name: memory}\nsecondary: {name: memory}";
    check_examples(&documented, always, |section| drop(driver.configure(section)));
}

#[test]
fn the_settings_of_serve_are_documented() {
    let documented = entries(REFERENCE, Some("`serve`"));
    let read = |section: &mut Section| ServeSettings::read_section(section, false);
    let mut section = yaml("approval: {context: approved}");
    read(&mut section);
    let elsewhere = ["storage", "metrics_addr", "frontends", "prehooks", "posthooks"];
    check_keys(&documented, &settings_of(&section), &elsewhere);
    let top_level: Vec<_> =
        documented.into_iter().filter(|entry| !entry.key.starts_with("approval.")).collect();
    check_defaults(&top_level, read);
    let approval: Vec<_> = entries(REFERENCE, Some("`serve`")).into_iter().skip(top_level.len()).collect();
    assert_eq!(approval.len(), 2, "the entries of `approval` come last");
    check_examples(&top_level, "", |section| drop(read(section)));
    check_examples(&approval, "", |section| drop(read(section)));
    let with_default = read(&mut yaml("approval: {context: approved, inverted: false}"));
    assert_eq!(with_default, read(&mut yaml("approval: {context: approved}")));
    assert_eq!(approval[1].default(), Some("false"));
}
