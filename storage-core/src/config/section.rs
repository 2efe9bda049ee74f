//! Reading settings out of a configuration section.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};

use super::{Value, format_bytes, parse_bytes, parse_duration};

/// Something wrong in a configuration: the key, and what is wrong with it and what is expected.
/// Values are never repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, with the sections it is in: `peer.add_query`. Empty for the section itself.
    pub key: String,
    /// What is wrong and what is expected.
    pub message: String,
    /// What kind of problem it is.
    pub kind: ProblemKind,
}

/// What kind of problem it is: for programs that say what to do about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The value has the wrong type or form, is out of range, or conflicts with another one.
    #[default]
    Value,
    /// A required key is missing, or its value is empty.
    Missing,
    /// Nothing reads the key.
    UnknownKey,
    /// The file cannot be read, or is not YAML or TOML.
    File,
    /// There is no storage at this place of the file.
    Path,
    /// The key asks for something that this program does not do.
    Unsupported,
    /// The server cannot be reached, refuses, or cannot be used with this configuration.
    Server,
    /// The query cannot be parsed, or the server refuses it.
    Query,
    /// A table or column is missing, or has a type that does not fit.
    Table,
    /// The user of the server lacks a permission.
    Permission,
}

impl Problem {
    /// A problem of the kind [`ProblemKind::Value`].
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), kind: ProblemKind::default() }
    }

    /// The same problem, of this kind.
    #[must_use]
    pub fn of_kind(self, kind: ProblemKind) -> Self {
        Self { kind, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "`{}`: {}", self.key, self.message)
    }
}

/// What reading a section brought to light.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigDiagnostics {
    /// What makes the configuration unusable.
    pub problems: Vec<Problem>,
    /// Keys that nothing reads and that resemble a known one: something is not set that was meant to be.
    pub probable_typos: Vec<Problem>,
    /// Other keys that nothing reads; whether they are problems is the caller's choice.
    pub unknown: Vec<Problem>,
    /// What is taken, though not as written.
    pub warnings: Vec<Problem>,
}

/// A section of a configuration being read: each method takes one setting out, notes what is wrong
/// with it, and goes on, so that all problems are reported together. Keys match without regard to
/// case.
///
/// ```
/// use storage_core::config::{Section, Value};
///
/// let mut section = Section::new(Value::Section(vec![("Shard_Cuont".into(), Value::Integer(4))]));
/// let shards: Option<usize> = section.number("shard_count", 1..=1024);
/// let diagnostics = section.finish();
/// assert_eq!(shards, None);
/// assert_eq!(
///     diagnostics.probable_typos[0].to_string(),
///     "`Shard_Cuont`: unknown key; did you mean `shard_count`?"
/// );
/// ```
pub struct Section {
    path: String,
    entries: Vec<(String, Value)>,
    known: Vec<String>,
    known_within: Vec<String>,
    diagnostics: ConfigDiagnostics,
}

impl Section {
    /// Begins to read a value that should be a section.
    pub fn new(value: Value) -> Self {
        Self::at(String::new(), value)
    }

    fn at(path: String, value: Value) -> Self {
        let mut section = Self {
            path,
            entries: Vec::new(),
            known: Vec::new(),
            known_within: Vec::new(),
            diagnostics: ConfigDiagnostics::default(),
        };
        match value {
            Value::Section(entries) => section.entries = entries,
            Value::Null => {}
            other => {
                let message = format!("expected a section with keys, found {}", other.kind());
                section.diagnostics.problems.push(Problem::new(section.path.clone(), message));
            }
        }
        section
    }

    /// A section of its own with the same entries.
    pub(crate) fn copy(&self) -> Self {
        Self::at(self.path.clone(), Value::Section(self.entries.clone()))
    }

    /// Whether a key is there, without reading it.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, value)| name.eq_ignore_ascii_case(key) && *value != Value::Null)
    }

    /// Every key that has been read so far, whether it is there or not; those of a section within this one as
    /// `section.key`.
    ///
    /// ```
    /// use storage_core::config::{Section, Value};
    ///
    /// let mut section = Section::new(Value::Null);
    /// section.text("login");
    /// section.within("peer", |peer| peer.text("add_query"));
    /// assert!(section.known_keys().eq(["login", "peer", "peer.add_query"]));
    /// ```
    pub fn known_keys(&self) -> impl Iterator<Item = &str> {
        self.known.iter().chain(&self.known_within).map(String::as_str)
    }

    /// What is at a key, without reading it.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }

    /// Takes a value out, whatever it is.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        let mut taken = None;
        let mut times = 0;
        self.entries.retain_mut(|(name, value)| {
            if !name.eq_ignore_ascii_case(key) {
                return true;
            }
            times += 1;
            taken = Some(std::mem::replace(value, Value::Null));
            false
        });
        if times > 1 {
            self.problem(key, "is given more than once");
        }
        taken.filter(|value| *value != Value::Null)
    }

    /// Text; a number is taken as it was written.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::Text(text) | Value::Number(text) | Value::Variable { text, .. } => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            other => self.wrong_type(key, "text (in quotes)", &other),
        }
    }

    /// Text that must be there and not be blank; reported and empty if it is not.
    pub fn required_text(&mut self, key: &str) -> String {
        let has = self.has(key);
        let problems = self.diagnostics.problems.len();
        let text = self.text(key).unwrap_or_default();
        if text.trim().is_empty() && self.diagnostics.problems.len() == problems {
            let message = if has { "is empty" } else { "is missing" };
            self.problem_of_kind(ProblemKind::Missing, key, message);
        }
        text
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        match &value {
            Value::Boolean(boolean) => return Some(*boolean),
            Value::Variable { text, .. } => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => return Some(true),
                "false" | "no" | "off" | "0" => return Some(false),
                _ => {}
            },
            _ => {}
        }
        self.wrong_type(key, "true or false", &value)
    }

    /// A whole number within a range.
    pub fn number<T>(&mut self, key: &str, range: std::ops::RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + fmt::Display,
    {
        let value = self.take(key)?;
        let number = match &value {
            Value::Integer(number) => Some(*number),
            Value::Variable { text, .. } | Value::Number(text) => text.trim().parse().ok(),
            _ => None,
        };
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match number {
            None => self.wrong_type(key, &expected, &value),
            Some(number) => {
                let number = T::try_from(number).ok().filter(|number| range.contains(number));
                if number.is_none() {
                    self.problem(key, format!("expected {expected}, found a number out of this range"));
                }
                number
            }
        }
    }

    /// A number of bytes within a range, with or without a unit: `1073741824`, `1GiB`, `512MiB`.
    pub fn bytes(&mut self, key: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let bytes = match &value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) | Value::Variable { text, .. } | Value::Number(text) => parse_bytes(text),
            _ => None,
        };
        let expected = format!(
            "a size such as 512MiB or 1GiB, from {} to {}",
            format_bytes(*range.start()),
            format_bytes(*range.end())
        );
        match bytes {
            None => self.wrong_type(key, &expected, &value),
            Some(bytes) if range.contains(&bytes) => Some(bytes),
            Some(_) => {
                self.problem(key, format!("expected {expected}, found a size out of this range"));
                None
            }
        }
    }

    /// A duration as Go writes it; negative ones are zero.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let value = self.take(key)?;
        let duration = match &value {
            Value::Text(text) | Value::Variable { text, .. } => parse_duration(text),
            Value::Integer(number) if *number <= 0 => Some(Duration::ZERO),
            _ => None,
        };
        if duration.is_none() {
            return self.wrong_type(key, "a duration such as 300ms, 1.5s, 3m or 1h30m", &value);
        }
        duration
    }

    /// A duration above zero; absent it is the default, and so it is, with a warning, if it is zero
    /// or negative.
    pub fn positive_duration(&mut self, key: &str, default: Duration) -> Duration {
        match self.duration(key) {
            Some(Duration::ZERO) => {
                self.warn(key, format!("must be above zero; the default of {default:?} is used"));
                default
            }
            given => given.unwrap_or(default),
        }
    }

    /// A duration, or this word in whatever case for `None`.
    pub fn duration_or(&mut self, key: &str, word: &str) -> Option<Duration> {
        match self.peek(key) {
            Some(Value::Text(text) | Value::Variable { text, .. })
                if text.trim().eq_ignore_ascii_case(word) =>
            {
                self.take(key);
                None
            }
            _ => self.duration(key),
        }
    }

    /// A part of a whole, from 0 to 1.
    pub fn share(&mut self, key: &str) -> Option<f64> {
        let value = self.take(key)?;
        let share = match &value {
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Variable { text, .. } | Value::Number(text) => text.trim().parse().ok(),
            _ => None,
        };
        let expected = "a number from 0 to 1, such as 0.5";
        match share {
            None => self.wrong_type(key, expected, &value),
            Some(share) if (0.0..=1.0).contains(&share) => Some(share),
            Some(_) => {
                self.problem(key, format!("expected {expected}, found a number out of this range"));
                None
            }
        }
    }

    /// A list of texts; a single text is a list of one. In an environment variable: by commas, or as
    /// `["a","b"]`.
    pub fn list(&mut self, key: &str) -> Option<Vec<String>> {
        match self.take(key)? {
            Value::Text(text) => Some(vec![text]),
            Value::Variable { text, .. } => Some(split_list(&text)),
            Value::List(values) => {
                let mut texts = Vec::with_capacity(values.len());
                for value in values {
                    match value {
                        Value::Text(text) | Value::Number(text) | Value::Variable { text, .. } => {
                            texts.push(text);
                        }
                        Value::Integer(number) => texts.push(number.to_string()),
                        other => return self.wrong_type(key, "a list of text values", &other),
                    }
                }
                Some(texts)
            }
            other => self.wrong_type(key, "a list of text values", &other),
        }
    }

    /// Reads a section within this one; an absent one reads as empty.
    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Section) -> T) -> T {
        let value = self.take(key).unwrap_or_else(Value::empty_section);
        let mut section = Section::at(self.full_key(key), value);
        let result = read(&mut section);
        self.known_within.extend(section.known_keys().map(|known| format!("{key}.{known}")));
        let diagnostics = section.finish();
        self.diagnostics.problems.extend(diagnostics.problems);
        self.diagnostics.probable_typos.extend(diagnostics.probable_typos);
        self.diagnostics.unknown.extend(diagnostics.unknown);
        self.diagnostics.warnings.extend(diagnostics.warnings);
        result
    }

    /// Notes a problem with a key of this section.
    pub fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problem_of_kind(ProblemKind::Value, key, message);
    }

    /// Notes a problem of this kind with a key of this section.
    pub fn problem_of_kind(&mut self, kind: ProblemKind, key: &str, message: impl Into<String>) {
        let problem = Problem::new(self.full_key(key), message).of_kind(kind);
        self.diagnostics.problems.push(problem);
    }

    /// Notes something about a key that is taken, though not as written.
    pub fn warn(&mut self, key: &str, message: impl Into<String>) {
        let warning = Problem::new(self.full_key(key), message);
        self.diagnostics.warnings.push(warning);
    }

    /// Ends the reading: what is left over is unknown.
    pub fn finish(mut self) -> ConfigDiagnostics {
        for (name, _) in std::mem::take(&mut self.entries) {
            if !is_word(&name) {
                let message = format!(
                    "expected a key of letters, digits, `_` and `-` (is a space missing after `key:`?); known keys \
                     are {}",
                    quoted(&self.known)
                );
                self.diagnostics.unknown.push(unknown_key(self.path.clone(), message));
                continue;
            }
            let key = self.full_key(&name);
            match nearest(&name, self.known.iter().map(String::as_str)) {
                Some(known) => {
                    let message = format!("unknown key; did you mean `{known}`?");
                    self.diagnostics.probable_typos.push(unknown_key(key, message));
                }
                None => {
                    let message = format!("unknown key; known keys are {}", quoted(&self.known));
                    self.diagnostics.unknown.push(unknown_key(key, message));
                }
            }
        }
        self.diagnostics
    }

    fn full_key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong_type<T>(&mut self, key: &str, expected: &str, found: &Value) -> Option<T> {
        self.problem(key, format!("expected {expected}, found {}", found.kind()));
        None
    }
}

/// Deserializes settings by what reads them out of a section, so that keys, defaults and limits are the same in a
/// tracker's own file. A key that resembles a known one is an error; others that nothing reads are passed over.
///
/// # Errors
/// Every problem, by its key; values are never repeated.
pub fn deserialize<'de, T, D: Deserializer<'de>>(
    from: D,
    read: impl FnOnce(&mut Section) -> T,
) -> Result<T, D::Error> {
    let mut section = Section::new(Value::deserialize(from)?);
    let settings = read(&mut section);
    let ConfigDiagnostics { mut problems, probable_typos, .. } = section.finish();
    problems.extend(probable_typos);
    if problems.is_empty() {
        return Ok(settings);
    }
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Err(D::Error::custom(problems.join("; ")))
}

/// Whether a name may be repeated: one with other characters may be a value in the wrong place, as in
/// `password:hunter2` without a space, or a URL.
pub fn is_word(name: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    !name.is_empty() && name.len() <= 64 && name.chars().all(is_part)
}

/// The known name nearest to one that is not known, if it is near enough to be a slip.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn unknown_key(key: String, message: String) -> Problem {
    Problem::new(key, message).of_kind(ProblemKind::UnknownKey)
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "no keys".into();
    }
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner
        .split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(entries: &[(&str, Value)]) -> Section {
        Section::new(Value::Section(
            entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        ))
    }

    fn variable(text: &str) -> Value {
        Value::Variable { name: "TRACKER_STORAGE__CONFIG__X".into(), text: text.into() }
    }

    #[test]
    fn all_problems_are_reported_together_and_without_values() {
        let mut section = section(&[
            ("port", Value::Text("hunter2".into())),
            ("interval", Value::Text("hunter2".into())),
            ("flag", Value::Text("hunter2".into())),
        ]);
        let _: Option<u16> = section.number("port", 0..=65535);
        section.duration("interval");
        section.boolean("flag");
        section.required_text("query");
        let diagnostics = section.finish();
        let text = format!("{:?}", diagnostics.problems);
        assert_eq!(diagnostics.problems.len(), 4, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(diagnostics.problems[3].to_string(), "`query`: is missing");
    }

    #[test]
    fn a_key_that_may_be_a_value_is_not_repeated() {
        for name in ["password:hunter2", "postgres://me:hunter2@db1/tracker", "password=hunter2", ""] {
            let diagnostics = section(&[("port", Value::Integer(1)), (name, Value::Null)]).finish();
            let text = format!("{diagnostics:?}");
            assert_eq!(diagnostics.unknown.len(), 2, "{text}");
            assert!(!text.contains("hunter2") && text.contains("is a space missing"), "{text}");
        }
    }

    #[test]
    fn the_text_of_a_variable_is_converted_by_the_setting_it_is_for() {
        let mut section = section(&[
            ("password", variable("007")),
            ("port", variable("007")),
            ("addresses", variable("a:1, b:2")),
            ("others", variable(r#"["a:1","b:2"]"#)),
            ("maintenance", variable("false")),
            ("db", variable("seven")),
        ]);
        assert_eq!(section.text("password").unwrap(), "007");
        assert_eq!(section.number("port", 0..=65535), Some(7));
        assert_eq!(section.list("addresses").unwrap(), ["a:1", "b:2"]);
        assert_eq!(section.list("others").unwrap(), ["a:1", "b:2"]);
        assert_eq!(section.boolean("maintenance"), Some(false));
        assert_eq!(section.number("db", 0..=15), None);
        let diagnostics = section.finish();
        assert_eq!(
            diagnostics.problems[0].to_string(),
            "`db`: expected a whole number from 0 to 15, found the text of environment variable \
             TRACKER_STORAGE__CONFIG__X"
        );
    }

    #[test]
    fn sections_within_are_read_with_their_path() {
        let inner = Value::Section(vec![("querry".into(), Value::Text("x".into()))]);
        let mut section = section(&[("announce", inner), ("peer", Value::Integer(3))]);
        section.within("Announce", |announce| announce.required_text("query"));
        section.within("peer", |peer| peer.text("add_query"));
        let diagnostics = section.finish();
        assert_eq!(
            diagnostics.probable_typos[0].to_string(),
            "`Announce.querry`: unknown key; did you mean `query`?"
        );
        assert_eq!(diagnostics.problems[0].to_string(), "`Announce.query`: is missing");
        assert_eq!(
            diagnostics.problems[1].to_string(),
            "`peer`: expected a section with keys, found a number"
        );
    }

    #[test]
    fn zero_intervals_take_the_default_with_a_warning() {
        let mut section = section(&[("gc_interval", Value::Text("-3m".into()))]);
        let default = Duration::from_secs(180);
        assert_eq!(section.positive_duration("gc_interval", default), default);
        assert_eq!(section.finish().warnings.len(), 1);
    }
}
