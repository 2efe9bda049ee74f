//! The parameters of a connection by name, from wherever they come: what the connection string says
//! goes over the service file, and that over the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use storage_core::config::{nearest, parse_duration};

use super::connection_string::{parse_keywords, parse_url, strip_scheme};
use super::session::COMMON;

/// A key and its value.
pub(super) type KeyValue = (String, String);

/// Looks up an environment variable.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The forms of a connection string.
const EXPECTED: &str = "expected pairs with spaces between them, as in `host=db1 user=me password=secret`, or a URL \
                        such as `postgres://me:secret@db1/tracker?sslmode=require`";

/// Variables of libpq and pgx, and the parameters they stand for.
const VARIABLES: &[(&str, &str)] = &[
    ("PGAPPNAME", "application_name"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCLIENTENCODING", "client_encoding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGDATABASE", "dbname"),
    ("PGDATESTYLE", "datestyle"),
    ("PGGEQO", "geqo"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGKRBSRVNAME", "krbsrvname"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGOPTIONS", "options"),
    ("PGPASSFILE", "passfile"),
    ("PGPASSWORD", "password"),
    ("PGPORT", "port"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLPASSWORD", "sslpassword"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGTZ", "timezone"),
    ("PGUSER", "user"),
];

/// Where a parameter was given, as problems name it.
#[derive(Clone, Debug)]
pub(super) enum ParameterOrigin {
    ConnectionString { key: String, number: usize },
    Service { key: String, number: usize, file: PathBuf },
    Variable(&'static str),
}

impl fmt::Display for ParameterOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionString { key, .. } if is_shown(key) => write!(f, "`{key}`"),
            Self::ConnectionString { number, .. } => write!(f, "parameter {number}"),
            Self::Service { key, file, .. } if is_shown(key) => write!(f, "`{key}` in {}", file.display()),
            Self::Service { number, file, .. } => write!(f, "parameter {number} in {}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A value and where it was given.
pub(super) struct GivenParameter {
    pub(super) value: String,
    pub(super) place: ParameterOrigin,
}

/// Parameters being read: each method takes one out and notes what is wrong with it. No message
/// repeats a value, but for the path of a file, nor a key that may be a piece of a password.
#[derive(Default)]
pub(super) struct Parameters {
    given: BTreeMap<String, GivenParameter>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// The one name of a parameter that has several.
pub(super) fn canonical(key: &str) -> String {
    match key.to_ascii_lowercase().as_str() {
        "database" => "dbname".into(),
        lower => lower.into(),
    }
}

impl Parameters {
    /// Gathers what the connection string, its service and the environment say.
    pub(super) fn gather(text: &str, variable: Variable<'_>) -> Self {
        let mut parameters = Self::default();
        let text = text.trim();
        let parsed = match strip_scheme(text) {
            Some(rest) => parse_url(rest),
            None if has_scheme(text) => Err(vec!["a URL begins with postgres:// or postgresql://".into()]),
            None => parse_keywords(text).map_err(|problem| vec![problem]),
        };
        match parsed {
            Ok(pairs) => {
                parameters.add(pairs, |key, number| ParameterOrigin::ConnectionString { key, number })
            }
            Err(problems) => parameters.problems = problems,
        }
        parameters.add_service(variable);
        for (name, key) in VARIABLES {
            if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                parameters.add_absent(key, GivenParameter { value, place: ParameterOrigin::Variable(name) });
            }
        }
        parameters
    }

    fn add(&mut self, pairs: Vec<KeyValue>, place: impl Fn(String, usize) -> ParameterOrigin) {
        let mut seen = Vec::with_capacity(pairs.len());
        for (number, (key, value)) in (1..).zip(pairs) {
            let key = canonical(&key);
            let place = place(key.clone(), number);
            if seen.contains(&key) {
                self.problems.push(format!("{place} is given more than once"));
            }
            self.add_absent(&key, GivenParameter { value, place });
            seen.push(key);
        }
    }

    fn add_absent(&mut self, key: &str, given: GivenParameter) {
        if given.value.contains('\0') {
            self.problems.push(format!("{} contains a NUL character", given.place));
            return;
        }
        if self.given.contains_key(key) {
            return;
        }
        if let Some((position, stray)) = stray_character(key, &given.value) {
            self.problems.push(format!(
                "{}: character {position} of its value is a `{stray}`; {EXPECTED}",
                given.place
            ));
            return;
        }
        self.given.insert(key.to_owned(), given);
    }

    fn add_service(&mut self, variable: Variable<'_>) {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let service = self.text("service").or_else(|| given("PGSERVICE"));
        let file = self.text("servicefile").or_else(|| given("PGSERVICEFILE"));
        let Some(service) = service else { return };
        let mut files = Vec::new();
        match file {
            Some(file) => files.push(PathBuf::from(file)),
            None => files.extend(in_home(".pg_service.conf", variable)),
        }
        files.extend(given("PGSYSCONFDIR").map(|folder| Path::new(&folder).join("pg_service.conf")));
        for file in &files {
            match std::fs::read_to_string(file) {
                Ok(text) => match find_service(&text, &service) {
                    Ok(Some(pairs)) => {
                        self.add(pairs, |key, number| ParameterOrigin::Service {
                            key,
                            number,
                            file: file.clone(),
                        });
                        return;
                    }
                    Ok(None) => {}
                    Err(problem) => {
                        self.problems.push(format!("service file {}: {problem}", file.display()));
                        return;
                    }
                },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.problems.push(format!("service file {}: {error}", file.display())),
            }
        }
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        self.problems.push(format!("`service`: no service of that name in {}", files.join(" or ")));
    }

    /// Takes a parameter out as it was given; `None` if it is absent or empty.
    pub(super) fn take(&mut self, key: &str) -> Option<GivenParameter> {
        self.given.remove(key).filter(|given| !given.value.is_empty())
    }

    /// Puts back what was taken.
    pub(super) fn put_back(&mut self, key: &str, given: GivenParameter) {
        self.given.insert(key.to_owned(), given);
    }

    /// The names of what was not taken.
    pub(super) fn keys(&self) -> Vec<String> {
        self.given.keys().cloned().collect()
    }

    /// Takes a text out.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key).map(|given| given.value)
    }

    /// Takes one of a few words out.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let given = self.take(key)?;
        let found = choices.iter().find(|(name, _)| given.value.eq_ignore_ascii_case(name));
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.problems.push(format!("{}: expected one of {}", given.place, names.join(", ")));
        }
        found.map(|(_, choice)| *choice)
    }

    /// Takes a whole number out.
    pub(super) fn number<T: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        key: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let given = self.take(key)?;
        let number = given.value.trim().parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.problems.push(format!("{}: expected a whole number from {least} to {most}", given.place));
        }
        number
    }

    /// Takes a number of seconds out, which may have a unit; a negative one is zero.
    pub(super) fn seconds(&mut self, key: &str) -> Option<Duration> {
        let given = self.take(key)?;
        let text = given.value.trim();
        let whole =
            text.parse::<i32>().map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        let seconds = whole.ok().or_else(|| parse_duration(text));
        if seconds.is_none() {
            self.problems.push(format!("{}: expected seconds such as 5 or 5s", given.place));
        }
        seconds
    }

    /// Takes a duration out, as Go writes it; the default where it is absent.
    pub(super) fn duration(&mut self, key: &str, default: Duration) -> Duration {
        let Some(given) = self.take(key) else { return default };
        parse_duration(&given.value).unwrap_or_else(|| {
            self.problems.push(format!("{}: expected a duration such as 30m or 1h30m", given.place));
            default
        })
    }

    /// Takes a duration out that must be above zero, or else is the default.
    pub(super) fn positive_duration(&mut self, key: &str, default: Duration) -> Duration {
        match self.duration(key, default) {
            Duration::ZERO => {
                self.warnings.push(format!("`{key}` must be above zero; the default {default:?} is used"));
                default
            }
            given => given,
        }
    }

    /// Takes the path of a file out, which must be readable.
    pub(super) fn file(&mut self, key: &str) -> Option<PathBuf> {
        let given = self.take(key)?;
        let path = PathBuf::from(given.value);
        if let Err(error) = std::fs::File::open(&path) {
            self.problems.push(format!("{}: {}: {error}", given.place, path.display()));
        }
        Some(path)
    }

    /// Everything that was not taken.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = (String, GivenParameter)> + use<> {
        std::mem::take(&mut self.given).into_iter()
    }
}

/// A file in the home directory.
pub(super) fn in_home(name: &str, variable: Variable<'_>) -> Option<PathBuf> {
    variable("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(name))
}

fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let may_be_in_scheme = |character: char| character.is_ascii_alphanumeric() || "+-.:".contains(character);
    scheme.is_some_and(|scheme| scheme.chars().all(may_be_in_scheme))
}

// Which keys of a connection string may be shown, and which characters a value of them may have. A string in
// another form (`Host=db1;Password=…`) would be read as a key with a password in its value, which servers and
// messages repeat.

/// Parameters of connections, and settings of sessions that are common, and in none of the other tables.
const OTHERS: &[&str] = &[
    "default_query_exec_mode",
    "default_transaction_isolation",
    "description_cache_capacity",
    "extra_float_digits",
    "fallback_application_name",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "lock_timeout",
    "plan_cache_mode",
    "pool_health_check_period",
    "pool_max_conn_lifetime_jitter",
    "pool_min_idle_conns",
    "role",
    "search_path",
    "servicefile",
    "sslnegotiation",
    "sslsni",
    "statement_cache_capacity",
    "statement_timeout",
    "synchronous_commit",
    "tcp_user_timeout",
    "transaction_timeout",
    "work_mem",
];

/// Whether a key is one that is known, or nearly. Any other may be a piece of a password.
pub(super) fn is_shown(key: &str) -> bool {
    let in_tables = VARIABLES.iter().map(|(_, key)| *key).chain(REFUSED.iter().map(|(key, ..)| *key));
    nearest(key, in_tables.chain(COMMON).chain(OTHERS.iter().copied())).is_some()
}

/// The first character of a value that a value of this key does not have, and its position, from 1.
pub(super) fn stray_character(key: &str, value: &str) -> Option<(usize, char)> {
    match key {
        "password" | "sslpassword" | "options" => None,
        "host" | "hostaddr" => stray_in_hosts(value),
        "user" => first(value, |character| ";&=:/".contains(character)),
        "dbname" => first(value, |character| ";&=:@?".contains(character)),
        "passfile" | "servicefile" | "sslcert" | "sslkey" | "sslrootcert" => {
            first(value, |character| ";&=@".contains(character))
        }
        _ => first(value, |character| ";&=".contains(character)),
    }
}

fn first(value: &str, is_stray: impl Fn(char) -> bool) -> Option<(usize, char)> {
    (1..).zip(value.chars()).find(|(_, character)| is_stray(*character))
}

/// Names, addresses, or the folders of sockets, between commas.
fn stray_in_hosts(value: &str) -> Option<(usize, char)> {
    let mut before = 0;
    for host in value.split(',') {
        let (trimmed, indent) =
            (host.trim(), host.chars().take_while(|character| character.is_whitespace()).count());
        let address = trimmed.trim_start_matches('[').trim_end_matches(']');
        let is_address = address.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        let stray = if trimmed.starts_with('/') {
            first(trimmed, |character| ";&=@:".contains(character))
        } else {
            first(trimmed, |character| {
                let is_of_name = character.is_alphanumeric() || "-._%".contains(character);
                let is_of_address = is_address && "[]:".contains(character);
                !is_of_name && !is_of_address
            })
        };
        if let Some((position, character)) = stray {
            return Some((before + indent + position, character));
        }
        before += host.chars().count() + 1;
    }
    None
}

// Parameters of libpq and pgx that change nothing here: most are taken with a warning, those that
// ask for a protection we can't give are refused.

/// Beginnings of the names of parameters without effect.
const WITHOUT_EFFECT: &[&str] = &[
    "channel_binding",
    "datestyle",
    "description_cache_capacity",
    "extra_float_digits",
    "gss",
    "keepalives",
    "krb",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_",
    "pool_health_check_period",
    "pool_min_idle_conns",
    "pool_ping_timeout",
    "requiressl",
    "scram_",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslinline",
    "sslkeylogfile",
    "sslnegotiation",
    "sslsni",
    "statement_cache_capacity",
    "tcp_user_timeout",
];

/// Keys that are refused: with this value, or with any, and what to do instead.
const REFUSED: &[(&str, Option<&str>, &str)] = &[
    ("channel_binding", Some("require"), "channel binding needs TLS, which `sslmode` disable turns off"),
    ("gssencmode", Some("require"), "GSSAPI is not supported; use `sslmode`"),
    ("replication", None, "replication connections are not supported"),
    ("require_auth", None, "can't be enforced; set the method in the server's pg_hba.conf"),
    ("requirepeer", None, "can't be enforced; use `sslmode` verify-full over TCP"),
    ("ssl", None, "is not a parameter; write `sslmode=require`"),
    (
        "ssl_min_protocol_version",
        Some("TLSv1.3"),
        "can't be enforced; set it in the server's postgresql.conf",
    ),
    ("sslinline", Some("true"), "write the certificates to files and name these"),
    ("sslcrl", None, REVOCATION),
    ("sslcrldir", None, REVOCATION),
    ("sslpassword", None, "encrypted keys can't be read; decrypt the file of `sslkey`"),
];

const REVOCATION: &str =
    "revocation lists are not supported; remove it, or terminate TLS in front of the server";

/// Takes these parameters out.
pub(super) fn take_unsupported(parameters: &mut Parameters) {
    for (key, value, way_out) in REFUSED {
        let Some(given) = parameters.take(key) else { continue };
        if value.is_none_or(|value| given.value.eq_ignore_ascii_case(value)) {
            parameters.problems.push(format!("{}: {way_out}", given.place));
        } else {
            parameters.put_back(key, given);
        }
    }
    if let Some(given) = parameters.take("client_encoding") {
        let is_utf8 = ["utf8", "utf-8", "auto"].iter().any(|name| given.value.eq_ignore_ascii_case(name));
        if !is_utf8 {
            parameters.warnings.push(format!("{} has no effect here: connections use UTF8", given.place));
        }
    }
    for key in parameters.keys() {
        if WITHOUT_EFFECT.iter().any(|beginning| key.starts_with(beginning))
            && let Some(given) = parameters.take(&key)
        {
            parameters.warnings.push(format!("{} has no effect here", given.place));
        }
    }
}

/// The parameters of a service, as `service=tracker` asks for it; `None` if the file has no service of that name.
///
/// ```text
/// # comment
/// [tracker]
/// host=db1
/// user=tracker
/// ```
///
/// # Errors
/// The number of a malformed line within the service, without its text.
fn find_service(text: &str, service: &str) -> Result<Option<Vec<KeyValue>>, String> {
    let mut found: Option<Vec<KeyValue>> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            found = (name == service).then(Vec::new);
            continue;
        }
        let Some(pairs) = &mut found else { continue };
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| format!("line {number}: expected key=value, a [name] or a # comment"))?;
        if key.trim().eq_ignore_ascii_case("service") {
            return Err(format!("line {number}: a service can't refer to another one"));
        }
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {

    use super::*;
    use proptest::prelude::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn the_string_goes_over_the_service_and_that_over_the_environment() {
        let home = tempfile::tempdir().unwrap();
        let service = "[tracker]\nhost=service\nuser=service\n";
        std::fs::write(home.path().join(".pg_service.conf"), service).unwrap();
        let variable = |name: &str| match name {
            "HOME" => Some(home.path().display().to_string()),
            "PGSERVICE" => Some("tracker".into()),
            "PGHOST" | "PGUSER" | "PGDATABASE" => Some("environment".into()),
            _ => None,
        };
        let mut parameters = Parameters::gather("host=string", &variable);
        assert_eq!(parameters.text("host").unwrap(), "string");
        assert_eq!(parameters.text("user").unwrap(), "service");
        assert_eq!(parameters.text("dbname").unwrap(), "environment");
        assert!(parameters.problems.is_empty(), "{:?}", parameters.problems);
    }

    #[test]
    fn a_service_that_is_nowhere_is_a_problem() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("absent").display().to_string();
        let parameters = Parameters::gather(&format!("service=tracker servicefile={file}"), &nothing);
        assert_eq!(parameters.problems, [format!("`service`: no service of that name in {file}")]);
    }

    #[test]
    fn a_parameter_given_twice_is_a_problem() {
        let parameters = Parameters::gather("dbname=a database=b", &nothing);
        assert_eq!(parameters.problems, ["`dbname` is given more than once"]);
    }

    #[test]
    fn another_scheme_is_refused() {
        let parameters = Parameters::gather("mysql://user:hunter2@db1", &nothing);
        assert_eq!(parameters.problems, ["a URL begins with postgres:// or postgresql://"]);
    }

    #[test]
    fn problems_name_the_place_and_not_the_value() {
        let variable = |name: &str| (name == "PGCONNECT_TIMEOUT").then(|| "hunter2".to_owned());
        let mut parameters = Parameters::gather("pool_max_conns=hunter2 user='a\0b'", &variable);
        assert_eq!(parameters.number("pool_max_conns", 1..=9), None);
        assert_eq!(parameters.number("connect_timeout", 1..=9), None);
        assert_eq!(
            parameters.problems,
            [
                "`user` contains a NUL character",
                "`pool_max_conns`: expected a whole number from 1 to 9",
                "environment variable PGCONNECT_TIMEOUT: expected a whole number from 1 to 9",
            ]
        );
    }

    fn take(text: &str) -> Parameters {
        let mut parameters = Parameters::gather(text, &|_| None);
        take_unsupported(&mut parameters);
        parameters
    }

    #[test]
    fn settings_of_pgx_are_taken_with_a_warning() {
        let mut parameters =
            take("pool_health_check_period=1m krbsrvname=x gssencmode=disable search_path=a");
        assert_eq!(
            parameters.warnings,
            [
                "`gssencmode` has no effect here",
                "`krbsrvname` has no effect here",
                "`pool_health_check_period` has no effect here",
            ]
        );
        assert_eq!(parameters.text("search_path").unwrap(), "a");
        assert!(take("client_encoding=UTF8").warnings.is_empty());
        assert_eq!(take("client_encoding=latin1").warnings.len(), 1);
    }

    #[test]
    fn a_protection_that_cannot_be_given_is_refused() {
        for text in ["channel_binding=require", "sslcrl=/x", "require_auth=scram-sha-256", "ssl=true"] {
            assert_eq!(take(text).problems.len(), 1, "{text}");
        }
        assert!(take("channel_binding=prefer ssl_min_protocol_version=TLSv1.2").problems.is_empty());
    }

    const FILE: &str = "# all\n[other]\nhost=db0\n\n[tracker]\n host = db1 \npassword=a=b\n[last]\nbroken\n";

    #[test]
    fn only_the_service_asked_for_is_read() {
        let expected = [("host".to_owned(), "db1".to_owned()), ("password".to_owned(), "a=b".to_owned())];
        assert_eq!(find_service(FILE, "tracker").unwrap().unwrap(), expected);
        assert_eq!(find_service(FILE, "absent").unwrap(), None);
    }

    #[test]
    fn a_malformed_line_is_told_by_its_number() {
        assert_eq!(
            find_service(FILE, "last").unwrap_err(),
            "line 9: expected key=value, a [name] or a # comment"
        );
        assert!(find_service("[a]\nservice=b", "a").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(\\[a\\]|[a-z=#\\[\\]\n ])*") {
            let _ = find_service(&text, "a");
        }
    }
}
