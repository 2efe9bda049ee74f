//! Settings of the session: whatever is no parameter of the connection is one of the server.

use storage_core::config::nearest;

use super::parameters::{KeyValue, Parameters, is_shown};

/// Parameters that are likely meant where a name is near to theirs.
pub(super) const COMMON: [&str; 16] = [
    "application_name",
    "connect_timeout",
    "database",
    "dbname",
    "host",
    "password",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conns",
    "pool_min_conns",
    "port",
    "service",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// What the server is told when a session begins.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionSettings {
    /// Names and values of settings.
    pub(crate) settings: Vec<KeyValue>,
    /// `TimeZone`, apart from the others because sqlx sets it to UTC, which only a statement undoes.
    pub(crate) time_zone: Option<String>,
    /// `synchronous_commit` for the writes of peers, not what the server has by default: transactions
    /// that ask for the default get that.
    pub(crate) commit: Option<SynchronousCommit>,
}

impl SessionSettings {
    /// What is not shown where a server repeats it: a password that was pasted in the wrong form may have become a
    /// setting.
    pub(super) fn hidden(&self) -> impl Iterator<Item = &str> {
        let settings =
            self.settings.iter().flat_map(|(name, value)| [(!is_shown(name)).then_some(name), Some(value)]);
        settings.flatten().chain(&self.time_zone).map(String::as_str)
    }
}

/// Takes everything out that is left over, and `options`.
pub(super) fn take_session(parameters: &mut Parameters) -> SessionSettings {
    let mut settings = Vec::new();
    if let Some(given) = parameters.take("options") {
        match parse_options(&given.value) {
            Some(pairs) => settings = pairs,
            None => parameters
                .problems
                .push(format!("{}: expected settings as -c name=value or --name=value", given.place)),
        }
    }
    for (name, given) in parameters.rest() {
        if !is_name(&name) {
            parameters
                .problems
                .push(format!("{}: expected the name of a setting: letters, digits, _ and .", given.place));
            continue;
        }
        if let Some(near) = nearest(&name, COMMON.into_iter()) {
            parameters
                .warnings
                .push(format!("{} is sent to the server as a setting; did you mean `{near}`?", given.place));
        }
        settings.retain(|(known, _)| *known != name);
        settings.push((name, given.value));
    }
    let mut session = SessionSettings::default();
    for (name, value) in settings {
        match name.as_str() {
            "timezone" => session.time_zone = Some(value),
            _ => session.settings.push((name, value)),
        }
    }
    session
}

/// Reads command-line options: separated by spaces, a backslash before a space that is meant.
fn parse_options(text: &str) -> Option<Vec<KeyValue>> {
    let mut pairs = Vec::new();
    let mut words = split_words(text).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next()?,
            Some(attached) => attached.to_owned(),
            None => word.strip_prefix("--")?.to_owned(),
        };
        let (name, value) = setting.split_once('=')?;
        let name = name.to_ascii_lowercase().replace('-', "_");
        if !is_name(&name) {
            return None;
        }
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, value.to_owned()));
    }
    Some(pairs)
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let meant = if character == '\\' { characters.next().unwrap_or('\\') } else { character };
        word.get_or_insert_default().push(meant);
    }
    words.extend(word);
    words
}

fn is_name(name: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_.".contains(character);
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && name.chars().all(is_part)
}

/// How long a commit waits: a value of PostgreSQL's setting `synchronous_commit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynchronousCommit {
    /// Nobody waits; after a crash of the server what was acknowledged last may be missing.
    Off,
    /// Until it is on the server's own disk.
    Local,
    /// Until synchronous standbys have it in memory.
    RemoteWrite,
    /// Until it is on the disks of the server and of synchronous standbys.
    On,
    /// Until synchronous standbys show it.
    RemoteApply,
}

impl SynchronousCommit {
    pub(crate) const ALL: [Self; 5] =
        [Self::Off, Self::Local, Self::RemoteWrite, Self::On, Self::RemoteApply];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Local => "local",
            Self::RemoteWrite => "remote_write",
            Self::On => "on",
            Self::RemoteApply => "remote_apply",
        }
    }

    /// In any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|commit| commit.name().eq_ignore_ascii_case(name.trim()))
    }

    /// Sets it for a session.
    pub(crate) fn set(self) -> String {
        format!("SET synchronous_commit TO {}", self.name())
    }

    /// Begins a transaction with it.
    pub(crate) fn begin(self) -> String {
        format!("BEGIN; SET LOCAL synchronous_commit TO {}", self.name())
    }

    /// Begins a transaction with what the server has by default.
    pub(crate) const BEGIN_WITH_DEFAULT: &'static str = "BEGIN; SET LOCAL synchronous_commit TO DEFAULT";
}

#[cfg(test)]
mod tests {

    use super::*;
    use proptest::prelude::*;

    fn take(text: &str) -> (SessionSettings, Parameters) {
        let mut parameters = Parameters::gather(text, &|_| None);
        (take_session(&mut parameters), parameters)
    }

    fn pair(name: &str, value: &str) -> KeyValue {
        (name.into(), value.into())
    }

    #[test]
    fn what_is_left_over_is_a_setting() {
        let (session, _) = take("search_path='a, b' Statement_Timeout=5s TimeZone=Europe/Berlin");
        assert_eq!(session.settings, [pair("search_path", "a, b"), pair("statement_timeout", "5s")]);
        assert_eq!(session.time_zone.unwrap(), "Europe/Berlin");
    }

    #[test]
    fn options_are_settings_too_and_what_is_written_outside_goes_over_them() {
        let (session, parameters) =
            take(r"options='-c geqo=off -csearch_path=a,\\ b  --work-mem=1MB' geqo=on");
        let expected = [pair("search_path", "a, b"), pair("work_mem", "1MB"), pair("geqo", "on")];
        assert_eq!(session.settings, expected);
        assert!(parameters.problems.is_empty());
        for text in ["options=-e", "options=-c", "options='-c geqo'", "options='-c 1=2'"] {
            assert_eq!(take(text).1.problems.len(), 1, "{text}");
        }
    }

    #[test]
    fn a_slip_is_hinted_at() {
        let (_, parameters) = take("pasword=hunter2");
        assert_eq!(
            parameters.warnings,
            ["`pasword` is sent to the server as a setting; did you mean `password`?"]
        );
        for name in
            ["search_path", "statement_timeout", "lock_timeout", "work_mem", "role", "jit", "timezone"]
        {
            assert!(take(&format!("{name}=x")).1.warnings.is_empty(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_options_are_read_or_refused(text in any::<String>()) {
            let _ = parse_options(&text);
        }
    }
}
