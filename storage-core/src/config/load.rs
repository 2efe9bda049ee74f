//! Configuration files.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};

use super::{Problem, ProblemKind, Section, StorageConfig, Value, environment, is_word, nearest, yaml};

/// A configuration that cannot be read, or has no storage where one was looked for.
#[derive(Debug)]
pub struct LoadError {
    file: PathBuf,
    /// What is wrong; values are never repeated.
    pub problems: Vec<Problem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        let problems: Vec<_> = self.problems.iter().map(|problem| format!("{file}: {problem}")).collect();
        f.write_str(&problems.join("\n"))
    }
}

impl std::error::Error for LoadError {}

/// A configuration file, with environment variables laid over it: storages are found in it, and what else
/// a program keeps there.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    file: PathBuf,
    root: Value,
}

impl ConfigFile {
    /// Reads a YAML file (TOML if it is named `.toml`). `variables` are usually
    /// [`variables()`](super::variables); those that begin with `TRACKER_` are used.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read or is malformed, or a variable does not fit it.
    pub fn read(file: &Path, variables: impl Iterator<Item = (String, String)>) -> Result<Self, LoadError> {
        let fail = |message: String| LoadError::new(file, ProblemKind::File, "", message);
        let bytes = std::fs::read(file).map_err(|error| fail(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| fail(no_text(error.as_bytes())))?;
        if text.starts_with(RECORDS) {
            return Err(fail(format!("expected a configuration, found the output of `export`; {TAKEN_IN}")));
        }
        let is_toml = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        let root = if is_toml {
            let parsed = Figment::from(Toml::string(&text)).extract::<Value>();
            parsed.map_err(|error| fail(format!("not TOML: {}", explain(&error))))?
        } else {
            yaml::parse(&text).map_err(|reason| fail(format!("not YAML: {reason}")))?
        };
        if !matches!(root, Value::Section(_) | Value::Null) {
            return Err(fail(format!("expected keys and values, found {}", root.kind())));
        }
        Self { file: file.to_owned(), root }.with(variables)
    }

    /// What environment variables alone say.
    ///
    /// # Errors
    /// [`LoadError`] if one of them has the wrong form.
    pub fn from_variables(variables: impl Iterator<Item = (String, String)>) -> Result<Self, LoadError> {
        Self { file: PathBuf::from("environment"), root: Value::empty_section() }.with(variables)
    }

    fn with(mut self, variables: impl Iterator<Item = (String, String)>) -> Result<Self, LoadError> {
        let problems = environment::lay_over(&mut self.root, variables);
        if problems.is_empty() { Ok(self) } else { Err(LoadError { file: self.file, problems }) }
    }

    /// The file's name; `environment` where there is none.
    pub fn name(&self) -> &Path {
        &self.file
    }

    /// Everything in it, to read settings out of.
    pub fn section(&self) -> Section {
        Section::new(self.root.clone())
    }

    /// The storage at `at`: keys and list indices between dots.
    ///
    /// # Errors
    /// [`LoadError`] if there is none.
    pub fn storage(&self, at: &str) -> Result<StorageConfig, LoadError> {
        let fail = |kind, key: &str, message| LoadError::new(&self.file, kind, key, message);
        let found = find(self.root.clone(), at).map_err(|message| fail(ProblemKind::Path, at, message))?;
        StorageConfig::from_value(found).map_err(|Problem { key, message, kind }| {
            let key = if key.is_empty() { at.to_owned() } else { format!("{at}.{key}") };
            fail(kind, &key, message)
        })
    }
}

impl LoadError {
    fn new(file: &Path, kind: ProblemKind, key: &str, message: String) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem::new(key, message).of_kind(kind)] }
    }

    /// The file that was read; `environment` if none was.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl StorageConfig {
    /// Where MoChi's configuration has its storage.
    pub const DEFAULT_PATH: &'static str = "storage";

    /// Reads a storage out of a YAML file (TOML if it is named `.toml`), with environment variables
    /// laid over it.
    ///
    /// `at` is where in the file the storage is, keys and list indices between dots:
    /// [`DEFAULT_PATH`](Self::DEFAULT_PATH), `prehooks.0.config.storage`. `variables` are usually
    /// [`variables()`](super::variables); those that begin with `TRACKER_` are used.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read, is malformed, or has no storage there.
    pub fn load(
        file: &Path,
        at: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, LoadError> {
        ConfigFile::read(file, variables)?.storage(at)
    }

    fn from_value(value: Value) -> Result<Self, Problem> {
        let Value::Section(entries) = value else {
            let message = format!("expected a section with `name` and `config`, found {}", value.kind());
            return Err(Problem::new("name", message));
        };
        let (mut name, mut config) = (None, Value::empty_section());
        for (key, value) in entries {
            match (key.to_ascii_lowercase().as_str(), value) {
                ("name", Value::Text(text) | Value::Variable { text, .. }) => name = Some(text),
                ("name", other) => {
                    return Err(Problem::new("name", format!("expected text, found {}", other.kind())));
                }
                ("config", value) => config = value,
                (unknown, _) if !is_word(unknown) => {
                    let message = "a key is not a word; a storage has the keys `name` and `config`";
                    return Err(Problem::new("", message).of_kind(ProblemKind::UnknownKey));
                }
                (unknown, _) => {
                    let hint = match nearest(unknown, ["name", "config"].into_iter()) {
                        Some(known) => format!("did you mean `{known}`?"),
                        None => "a storage has `name` and `config`".into(),
                    };
                    let message = format!("unknown key `{unknown}`; {hint}");
                    return Err(Problem::new("", message).of_kind(ProblemKind::UnknownKey));
                }
            }
        }
        let missing = || {
            let message = "is missing: expected the name of a backend, such as memory or pg";
            Problem::new("name", message).of_kind(ProblemKind::Missing)
        };
        Ok(Self { name: name.ok_or_else(missing)?, config })
    }
}

fn find(mut value: Value, at: &str) -> Result<Value, String> {
    for level in at.split('.') {
        value = match value {
            Value::Section(entries) => {
                let keys: Vec<_> = entries
                    .iter()
                    .map(|(key, _)| key)
                    .filter(|key| is_word(key))
                    .map(|key| format!("`{key}`"))
                    .collect();
                let found = entries.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(level));
                found.map(|(_, value)| value).ok_or_else(|| match keys.as_slice() {
                    [] => format!("no key `{level}` here: there are no keys"),
                    keys => format!("no key `{level}` here; the keys are {}", keys.join(", ")),
                })?
            }
            Value::List(values) => {
                let length = values.len();
                let index: Option<usize> = level.parse().ok();
                let found = index.and_then(|index| values.into_iter().nth(index));
                found.ok_or_else(|| environment::no_index(level, length))?
            }
            other => return Err(environment::no_section(level, &other)),
        };
    }
    Ok(value)
}

/// How the records of an export begin.
const RECORDS: &str = "{\"kind\":";

const TAKEN_IN: &str = "`tracker-storage import -c FILE` imports it";

/// What a file is that is no text.
fn no_text(bytes: &[u8]) -> String {
    if bytes.starts_with(b"REDIS") {
        return "expected a configuration, found a snapshot of Redis (RDB); start a Redis server on it \
                (`redis-server --dir FOLDER --dbfilename NAME`) and configure that server"
            .into();
    }
    "expected a configuration in YAML (TOML if it is named .toml), found a file that is not UTF-8 text".into()
}

/// What figment says, without the values and source lines it repeats.
fn explain(error: &figment::Error) -> String {
    use figment::error::Kind;
    match &error.kind {
        Kind::InvalidType(_, expected) => format!("expected {expected}"),
        Kind::Message(message) => {
            let lines = message.lines().filter(|line| !line.contains('|') && !line.trim().is_empty());
            let without_values = lines.map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join("…"));
            without_values.collect::<Vec<_>>().join(", ")
        }
        _ => "it has a form that cannot be read".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn load(suffix: &str, text: &str, at: &str, variables: &[(&str, &str)]) -> Result<StorageConfig, String> {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        StorageConfig::load(file.path(), at, variables)
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    #[test]
    fn yaml_and_toml_are_read_and_other_keys_are_left_alone() {
        let yaml = "mochi: {log: x}\nStorage:\n  Name: memory\n  Config:\n    shard_count: 4\n";
        let toml = "x = 1\n[storage]\nname = \"memory\"\n[storage.config]\nshard_count = 4\n";
        for (suffix, text) in [(".yaml", yaml), (".toml", toml)] {
            let config = load(suffix, text, "storage", &[]).unwrap();
            assert_eq!(config.name, "memory");
            assert!(matches!(&config.config, Value::Section(entries) if entries[0].1 == Value::Integer(4)));
        }
    }

    #[test]
    fn a_storage_deeper_in_the_file_is_found() {
        let yaml = "prehooks:\n  - name: hook\n    config:\n      storage: {name: memory}\n";
        assert_eq!(load(".yml", yaml, "prehooks.0.config.storage", &[]).unwrap().name, "memory");
        assert_eq!(
            load(".yml", yaml, "prehooks.1.config", &[]).unwrap_err(),
            "FILE: `prehooks.1.config`: index 1 is out of range: the list has 1 item"
        );
        assert_eq!(
            load(".yml", yaml, "storage", &[]).unwrap_err(),
            "FILE: `storage`: no key `storage` here; the keys are `prehooks`"
        );
    }

    #[test]
    fn a_password_that_looks_like_a_number_is_the_text_that_was_written() {
        for written in ["0x10", "012", "1e3", "1.50", "12", "0o17", "+5"] {
            let yaml = format!("storage:\n  name: redis\n  config:\n    password: {written}\n");
            let mut section = Section::new(load(".yaml", &yaml, "storage", &[]).unwrap().config);
            assert_eq!(section.text("password").as_deref(), Some(written));
        }
    }

    #[test]
    fn variables_are_laid_over_the_file() {
        let yaml = "storage: {name: memory}";
        let config = load(".yaml", yaml, "storage", &[("TRACKER_STORAGE__NAME", "pg")]).unwrap();
        assert_eq!(config.name, "pg");
    }

    #[test]
    fn a_file_has_other_settings_beside_its_storage() {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        file.write_all(b"announce_interval: 30m\nstorage: {name: memory}\n").unwrap();
        let variables = [("TRACKER_MAX_NUMWANT".to_owned(), "7".to_owned())];
        let config = ConfigFile::read(file.path(), variables.into_iter()).unwrap();
        assert_eq!(config.storage("storage").unwrap().name, "memory");
        let mut section = config.section();
        assert_eq!(section.duration("announce_interval"), Some(std::time::Duration::from_secs(1800)));
        assert_eq!(section.number("max_numwant", 1..=100), Some(7));
    }

    #[test]
    fn variables_alone_are_a_configuration() {
        let variables = [("TRACKER_STORAGE__NAME".to_owned(), "memory".to_owned())];
        let config = ConfigFile::from_variables(variables.into_iter()).unwrap();
        assert_eq!(config.storage("storage").unwrap().name, "memory");
        let nothing = ConfigFile::from_variables(std::iter::empty()).unwrap();
        let error = nothing.storage("storage").unwrap_err().to_string();
        assert_eq!(error, "environment: `storage`: no key `storage` here: there are no keys");
    }

    #[test]
    fn errors_do_not_repeat_values() {
        let malformed = [
            (".yaml", "hunter2"),
            (".yaml", "storage: {name: [hunter2"),
            (".yaml", "storage:\n  name: pg\n config: hunter2\n"),
            (".yaml", "storage: hunter2"),
            (".yaml", "storage: {password:hunter2}"),
            (".yaml", "storage: {name: memory, 'redis://:hunter2@db1'}"),
            (".yaml", "{'postgres://me:hunter2@db1': , other: 1}"),
            (".toml", "password = \"hunter2"),
            (".toml", "password = hunter2"),
        ];
        for (suffix, text) in malformed {
            let error = load(suffix, text, "storage", &[]).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_configuration_is_told_what_it_is() {
        for (content, words) in [
            (b"REDIS0010\xfa\x09redis-ver\xff".as_slice(), "a snapshot of Redis (RDB)"),
            (b"\xff\xfe\x00".as_slice(), "found a file that is not UTF-8 text"),
            (b"{\"kind\":\"downloads\",\"downloads\":3}\n".as_slice(), "`tracker-storage import"),
        ] {
            let mut file = tempfile::Builder::new().suffix(".rdb").tempfile().unwrap();
            file.write_all(content).unwrap();
            let error = StorageConfig::load(file.path(), "storage", std::iter::empty()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_missing_file_and_a_missing_name_are_named() {
        let missing = StorageConfig::load(Path::new("/nonexistent.yaml"), "storage", std::iter::empty());
        assert!(missing.unwrap_err().to_string().starts_with("/nonexistent.yaml: No such file"));
        let error = load(".yaml", "storage: {config: {}}", "storage", &[]).unwrap_err();
        assert_eq!(
            error,
            "FILE: `storage.name`: is missing: expected the name of a backend, such as memory or pg"
        );
        let error = load(".yaml", "storage: {nam: pg}", "storage", &[]).unwrap_err();
        assert_eq!(error, "FILE: `storage`: unknown key `nam`; did you mean `name`?");
    }
}
