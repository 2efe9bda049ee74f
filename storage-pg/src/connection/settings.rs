//! What a connection string means.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::host::{Host, MASK, PasswordFile, SHORTEST_MASKED, Secret, give_passwords, mask, take_hosts};
use super::parameters::{Parameters, Variable, in_home, take_unsupported};
use super::session::{SessionSettings, take_session};
#[cfg(target_os = "linux")]
use super::socket::{SocketSettings, take_socket};
use super::tls::{TlsMode, TlsSettings, take_tls};

const DEFAULT_APPLICATION_NAME: &str = "tracker-storage";

/// Short enough that a call can try a second host within its own timeout.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Everything needed to connect, out of `connection_string`, the environment, and the files these
/// name. `Debug` shows no password.
#[derive(Clone, PartialEq)]
pub(crate) struct ConnectionSettings {
    /// The servers, in the order to be tried.
    pub(crate) hosts: Vec<Host>,
    /// The name to log in with.
    pub(crate) user: String,
    /// The database.
    pub(crate) database: String,
    /// The name by which the server lists our connections.
    pub(crate) application_name: String,
    /// Encryption.
    pub(crate) tls: TlsSettings,
    /// Which of the servers will do.
    pub(crate) target: TargetSession,
    /// The longest that connecting to one host may take (3 s).
    pub(crate) connect_timeout: Duration,
    /// Keepalives and the like; of other systems the keys are taken with a warning.
    #[cfg(target_os = "linux")]
    pub(crate) socket: SocketSettings,
    /// What the server is told when a session begins.
    pub(crate) session: SessionSettings,
    /// The size of the pool and the age of its connections.
    pub(crate) pool: PoolSettings,
    /// Whether a pooler in front of the server may give each transaction another session.
    pub(crate) pooler_mode: bool,
    /// Whether the operator has said by `default_query_exec_mode` if that is so.
    pub(crate) names_query_mode: bool,
    /// What was taken though not as written.
    pub(crate) warnings: Vec<String>,
}

/// How many connections there are and how long they live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolSettings {
    /// The most at once (the greater of 4 and the number of cores).
    pub(crate) max_connections: usize,
    /// As many are kept, even when idle (none).
    pub(crate) min_connections: usize,
    /// The age at which one is replaced (1 h).
    pub(crate) max_lifetime: Duration,
    /// The most that is added to that age, by chance, for each (nothing).
    pub(crate) max_lifetime_jitter: Duration,
    /// How long one may be idle (30 min).
    pub(crate) max_idle: Duration,
}

/// `target_session_attrs`: which of several servers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetSession {
    /// Whichever answers.
    Any,
    /// One where transactions can write.
    ReadWrite,
    /// One where they can't.
    ReadOnly,
    /// One that is no standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or else whichever answers.
    PreferStandby,
}

impl TargetSession {
    const NAMES: &[(&str, Self)] = &[
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];
}

/// `default_query_exec_mode`, and whether it means that a pooler is in front of the server.
const QUERY_MODES: &[(&str, bool)] = &[
    ("cache_statement", false),
    ("cache_describe", false),
    ("describe_exec", false),
    ("exec", true),
    ("simple_protocol", true),
];

impl ConnectionSettings {
    /// Reads a connection string, URL or keywords and values; `variable` looks up environment
    /// variables.
    ///
    /// # Errors
    /// Every problem: the key or variable, and what is expected, never a value.
    pub(crate) fn parse(text: &str, variable: Variable<'_>) -> Result<Self, Vec<String>> {
        let mut parameters = Parameters::gather(text, variable);
        // What is read beside a text that can't be read is not what was meant.
        if !parameters.problems.is_empty() {
            return Err(parameters.problems);
        }
        let mut hosts = take_hosts(&mut parameters);
        let user = take_user(&mut parameters);
        let database = parameters.text("dbname").unwrap_or_else(|| user.clone());
        take_passwords(&mut parameters, &mut hosts, &database, &user, variable);
        let fallback_name = parameters.text("fallback_application_name");
        let application_name = parameters.text("application_name").or(fallback_name);
        let tls = take_tls(&mut parameters, variable);
        if tls.mode == TlsMode::VerifyFull && hosts.iter().any(Host::has_name_beside_address) {
            parameters.warnings.push(
                "`hostaddr`: with `sslmode` verify-full the certificate must contain the address".into(),
            );
        }
        let target = parameters.choice("target_session_attrs", TargetSession::NAMES);
        let connect_timeout = take_connect_timeout(&mut parameters);
        #[cfg(target_os = "linux")]
        let socket = take_socket(&mut parameters);
        let pool = take_pool(&mut parameters);
        let query_mode = parameters.choice("default_query_exec_mode", QUERY_MODES);
        take_unsupported(&mut parameters);
        let session = take_session(&mut parameters);

        if !parameters.problems.is_empty() {
            return Err(parameters.problems);
        }
        Ok(Self {
            hosts,
            user,
            database,
            application_name: application_name.unwrap_or_else(|| DEFAULT_APPLICATION_NAME.into()),
            tls,
            target: target.unwrap_or(TargetSession::Any),
            connect_timeout,
            #[cfg(target_os = "linux")]
            socket,
            session,
            pool,
            pooler_mode: query_mode.unwrap_or(false),
            names_query_mode: query_mode.is_some(),
            warnings: parameters.warnings,
        })
    }

    /// What a server says, without what it repeats of these settings and may be a password or have one in it.
    pub(super) fn mask<'a>(&'a self, said: &'a str) -> Cow<'a, str> {
        let names = [&self.user, &self.database].into_iter().filter(|name| self.has_password_in(name));
        let hidden = names.flat_map(|name| [name, as_server_cuts(name)]).chain(self.session.hidden());
        mask(said, hidden)
    }

    /// Whether a name has a password in it. Not where that is the user's name: what is hidden then would tell what
    /// the password is.
    fn has_password_in(&self, name: &str) -> bool {
        let passwords = self.hosts.iter().filter_map(|host| host.password.as_ref()).map(Secret::expose);
        passwords
            .filter(|password| password.len() >= SHORTEST_MASKED && *password != self.user)
            .any(|password| name.contains(password))
    }

    /// For people to read: `postgres://user:***@host1:5432,host2:5433/database`.
    pub(crate) fn masked(&self) -> String {
        let encode = |text: &str| match self.has_password_in(text) {
            true => MASK.to_owned(),
            false => utf8_percent_encode(text, ENCODED).to_string(),
        };
        let has_password = self.hosts.iter().any(|host| host.password.is_some());
        let password = if has_password { ":***" } else { "" };
        let hosts: Vec<_> = self.hosts.iter().map(|host| host.to_string().replace('/', "%2F")).collect();
        let (user, hosts, database) = (encode(&self.user), hosts.join(","), encode(&self.database));
        format!("postgres://{user}{password}@{hosts}/{database}")
    }
}

impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionSettings").field(&self.masked()).finish()
    }
}

/// A name as servers repeat it: of a longer one the first 63 bytes.
fn as_server_cuts(name: &str) -> &str {
    (0..=63).rev().find_map(|end| name.get(..end)).unwrap_or(name)
}

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn take_user(parameters: &mut Parameters) -> String {
    let user = parameters.text("user").unwrap_or_else(|| whoami::username().unwrap_or_default());
    if user.is_empty() {
        parameters.problems.push("`user`: is missing".into());
    }
    user
}

fn take_passwords(
    parameters: &mut Parameters,
    hosts: &mut [Host],
    database: &str,
    user: &str,
    variable: Variable<'_>,
) {
    let given = parameters.text("password").map(Secret::new);
    let file = parameters.text("passfile").map(PathBuf::from).or_else(|| in_home(".pgpass", variable));
    let Some(file) = file.filter(|_| given.is_none()) else {
        return give_passwords(hosts, given.as_ref(), &PasswordFile::default(), database, user);
    };
    match PasswordFile::read(&file) {
        Ok(file) => give_passwords(hosts, None, &file, database, user),
        Err(warning) => parameters.warnings.push(warning),
    }
}

fn take_connect_timeout(parameters: &mut Parameters) -> Duration {
    match parameters.seconds("connect_timeout") {
        Some(timeout) if !timeout.is_zero() => timeout,
        Some(_) => {
            parameters.warnings.push(format!(
                "`connect_timeout` must be above zero; the default {DEFAULT_CONNECT_TIMEOUT:?} is used"
            ));
            DEFAULT_CONNECT_TIMEOUT
        }
        None => DEFAULT_CONNECT_TIMEOUT,
    }
}

fn take_pool(parameters: &mut Parameters) -> PoolSettings {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let max_connections = parameters.number("pool_max_conns", 1..=10_000).unwrap_or(cores.max(4));
    let mut min_connections = parameters.number("pool_min_conns", 0..=10_000).unwrap_or(0);
    if min_connections > max_connections {
        min_connections = max_connections;
        parameters.warnings.push(format!(
            "`pool_min_conns` is above the {max_connections} of `pool_max_conns`, which are used"
        ));
    }
    PoolSettings {
        max_connections,
        min_connections,
        max_lifetime: parameters.positive_duration("pool_max_conn_lifetime", Duration::from_secs(3600)),
        max_lifetime_jitter: parameters.duration("pool_max_conn_lifetime_jitter", Duration::ZERO),
        max_idle: parameters.positive_duration("pool_max_conn_idle_time", Duration::from_secs(1800)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn parse(text: &str) -> Result<ConnectionSettings, Vec<String>> {
        ConnectionSettings::parse(text, &nothing)
    }

    #[test]
    fn both_forms_mean_the_same() {
        let url = "postgres://me:pass@db1:5433,db2/tracker?pool_max_conns=7&search_path=a";
        let pairs = "host=db1,db2 port=5433,5432 user=me password=pass database=tracker \
                     pool_max_conns=7 search_path=a";
        assert_eq!(parse(url).unwrap(), parse(pairs).unwrap());
    }

    #[test]
    fn absent_settings_have_the_documented_defaults() {
        let settings = parse("host=db1 user=me").unwrap();
        assert_eq!(settings.database, "me");
        assert_eq!(settings.application_name, "tracker-storage");
        assert_eq!(settings.target, TargetSession::Any);
        assert_eq!(settings.connect_timeout, Duration::from_secs(3));
        assert!(settings.pool.max_connections >= 4);
        assert_eq!(settings.pool.min_connections, 0);
        assert_eq!(settings.pool.max_lifetime, Duration::from_secs(3600));
        assert_eq!(settings.pool.max_idle, Duration::from_secs(1800));
        assert!(!settings.pooler_mode && settings.warnings.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn the_user_is_that_of_the_system_unless_it_is_given() {
        let id = std::process::Command::new("id").arg("-un").output().unwrap();
        let settings = parse("host=db1").unwrap();
        assert_eq!(settings.user, String::from_utf8(id.stdout).unwrap().trim());
    }

    #[test]
    fn all_settings_are_read() {
        let settings = parse(
            "host=db1 user=me connect_timeout=10 target_session_attrs=read-write pool_max_conns=20 \
             pool_min_conns=2 pool_max_conn_lifetime=2h pool_max_conn_lifetime_jitter=5m \
             pool_max_conn_idle_time=90s default_query_exec_mode=simple_protocol",
        )
        .unwrap();
        assert_eq!(settings.connect_timeout, Duration::from_secs(10));
        assert_eq!(settings.target, TargetSession::ReadWrite);
        let expected = PoolSettings {
            max_connections: 20,
            min_connections: 2,
            max_lifetime: Duration::from_secs(7200),
            max_lifetime_jitter: Duration::from_secs(300),
            max_idle: Duration::from_secs(90),
        };
        assert_eq!(settings.pool, expected);
        assert!(settings.pooler_mode);
    }

    #[test]
    fn seconds_may_have_a_unit() {
        for (text, seconds) in [("5", 5.0), ("5s", 5.0), ("1500ms", 1.5), ("1m", 60.0), (" 7 ", 7.0)] {
            let settings = parse(&format!("host=db1 user=me connect_timeout='{text}'")).unwrap();
            assert_eq!(settings.connect_timeout, Duration::from_secs_f64(seconds), "{text}");
        }
        assert_eq!(
            parse("host=db1 user=me connect_timeout=soon").unwrap_err(),
            ["`connect_timeout`: expected seconds such as 5 or 5s"]
        );
        let negative = parse("host=db1 user=me connect_timeout=-1").unwrap();
        assert_eq!(negative.connect_timeout, DEFAULT_CONNECT_TIMEOUT);
    }

    #[test]
    fn channel_binding_that_is_required_is_replaced_by_a_certificate_that_is_verified() {
        let neon = "postgresql://me:secret@db1.neon.example/tracker?sslmode=require&channel_binding=require";
        let settings = parse(neon).unwrap();
        assert_eq!((settings.tls.mode, settings.warnings.len()), (TlsMode::VerifyFull, 1), "{settings:?}");
        assert!(settings.warnings[0].starts_with("`channel_binding`: "), "{:?}", settings.warnings);
        for mode in ["", "sslmode=prefer", "sslmode=verify-full", "sslmode=allow"] {
            let settings = parse(&format!("host=db1 user=me channel_binding=require {mode}")).unwrap();
            assert_eq!(settings.tls.mode, TlsMode::VerifyFull, "{mode}");
        }
        let ca = parse("host=db1 user=me channel_binding=require sslmode=verify-ca").unwrap();
        assert_eq!(ca.tls.mode, TlsMode::VerifyAuthority);
        assert_eq!(parse("host=db1 user=me channel_binding=require sslmode=disable").unwrap_err().len(), 1);
    }

    #[test]
    fn every_problem_is_reported() {
        let problems = parse(
            "host=db1 port=x connect_timeout=x pool_max_conns=0 pool_max_conn_lifetime=x sslmode=x \
             target_session_attrs=x default_query_exec_mode=x",
        )
        .unwrap_err();
        assert_eq!(problems.len(), 7, "{problems:#?}");
    }

    #[test]
    fn zero_takes_the_default_with_a_warning() {
        let settings = parse("host=db1 user=me connect_timeout=0 pool_max_conn_idle_time=0s").unwrap();
        assert_eq!(settings.connect_timeout, DEFAULT_CONNECT_TIMEOUT);
        assert_eq!(settings.warnings.len(), 2);
    }

    #[test]
    fn the_environment_fills_in_what_the_string_leaves_out() {
        let variable = |name: &str| match name {
            "PGHOST" => Some("db1,db2".to_owned()),
            "PGPORT" => Some("5433".to_owned()),
            "PGUSER" => Some("me".to_owned()),
            "PGPASSWORD" => Some("hunter2".to_owned()),
            "PGTZ" => Some("Asia/Tokyo".to_owned()),
            _ => None,
        };
        let settings = ConnectionSettings::parse("dbname=tracker", &variable).unwrap();
        assert_eq!(settings.masked(), "postgres://me:***@db1:5433,db2:5433/tracker");
        assert_eq!(settings.session.time_zone.unwrap(), "Asia/Tokyo");
    }

    #[test]
    fn each_host_has_its_own_password_in_the_password_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "db1:*:*:*:first\nlocalhost:*:*:*:third\n").unwrap();
        let text = format!("host=db1,db2,/tmp user=me passfile={}", file.path().display());
        let hosts = parse(&text).unwrap().hosts;
        let passwords: Vec<_> = hosts.iter().map(|host| host.password.as_ref().map(Secret::expose)).collect();
        assert_eq!(passwords, [Some("first"), None, Some("third")]);
        assert_eq!(
            parse(&format!("{text} password=given")).unwrap().hosts[1].password.as_ref().unwrap().expose(),
            "given"
        );
    }

    #[test]
    fn names_with_the_password_in_them_are_masked() {
        let settings = parse("host=db1 user=me password=hunter2 dbname=tracker-hunter2").unwrap();
        assert_eq!(settings.masked(), "postgres://me:***@db1:5432/***");
        let said = "database \"tracker-hunter2\" does not exist";
        assert_eq!(settings.mask(said), "database \"***\" does not exist");
        let settings = parse("host=db1 user=hunter2-me password=hunter2 dbname=tracker").unwrap();
        assert_eq!(settings.masked(), "postgres://***:***@db1:5432/tracker");
        let said = "password authentication failed for user \"hunter2-me\"";
        assert_eq!(settings.mask(said), "password authentication failed for user \"***\"");
        let long = "ü".repeat(40);
        let settings = parse(&format!("host=db1 user=me password=üüüü dbname={long}")).unwrap();
        assert_eq!(
            settings.mask(&format!("database \"{}\" does not exist", &long[..62])),
            "database \"***\" does not exist"
        );
    }

    #[test]
    fn a_password_that_is_the_name_of_the_user_is_not_told_by_a_mask() {
        let settings = parse("host=db1 user=tracker password=tracker dbname=tracker-2").unwrap();
        assert_eq!(settings.masked(), "postgres://tracker:***@db1:5432/tracker-2");
        let said = "database \"tracker-2\" does not exist";
        assert_eq!(settings.mask(said), said);
    }

    #[test]
    fn a_masked_string_can_be_read_again() {
        let settings = parse("host=/var/run/x,::1 user='m e' dbname='a/b'").unwrap();
        assert_eq!(settings.masked(), "postgres://m%20e@%2Fvar%2Frun%2Fx:5432,[::1]:5432/a%2Fb");
        assert_eq!(parse(&settings.masked()).unwrap(), settings);
    }

    /// In which a password is pasted: strings of other drivers, other separators, other fields.
    const PASTED: &[&str] = &[
        "Host=db1;Username=me;Password=SECRET",
        "Server=db1;Port=5432;Database=tracker;User Id=me;Password=SECRET;",
        "User ID=me;Password=SECRET;Host=db1",
        "jdbc:postgresql://db1/tracker?user=me&password=SECRET",
        "postgresql+psycopg2://me:SECRET@db1/tracker",
        "Postgres://me:SECRET@db1/tracker",
        "me:SECRET@db1/tracker",
        "me/SECRET@db1",
        "postgres://me@db1/tracker&password=SECRET",
        "postgres://me@db1/tracker;password=SECRET",
        "postgres://me@db1/tracker,password=SECRET",
        "postgres://me@db1;password=SECRET",
        "postgres://me@db1,password=SECRET/tracker",
        "postgres://me;password=SECRET@db1/tracker",
        "postgres://me@SECRET@db1/tracker",
        "postgres://me@db1/tracker?sslmode=require;password=SECRET",
        "postgres://me@db1/tracker?sslmode=require,password=SECRET",
        "postgres://me@db1/tracker?search_path=a;password=SECRET",
        "postgres://me@db1/tracker?application_name=a;password=SECRET",
        "postgres://me@db1/tracker?password=SECRET",
        "postgres://me:SECRET@db1:5432,db2/tracker",
        "postgres://me:SECRET@db1/x?sslmode=wrong&pool_max_conns=0",
        "user=me;password=SECRET",
        "user=me,password=SECRET",
        "user=me&password=SECRET",
        "user=me/SECRET host=db1",
        "user=me:SECRET host=db1",
        "user=me:SECRET@db1",
        "host=db1,password=SECRET",
        "host=db1;password=SECRET",
        "host=db1&password=SECRET",
        "host=me:SECRET@db1",
        "host=postgres://me:SECRET@db1/tracker",
        "host='db1 password=SECRET'",
        "host=/tmp;password=SECRET",
        "host=db1 hostaddr=::1,password=SECRET",
        "port=5432;password=SECRET",
        "dbname=tracker;password=SECRET",
        "dbname=tracker,password=SECRET",
        "dbname=postgres://me:SECRET@db1/tracker",
        "dbname=me:SECRET@db1",
        "sslmode=verify-full;password=SECRET",
        "sslrootcert=/nonexistent;password=SECRET",
        "sslcert=/nonexistent,password=SECRET sslkey=/nonexistent",
        "sslkey=/nonexistent&password=SECRET",
        "passfile=/tmp,password=SECRET",
        "service=x servicefile=/nonexistent;password=SECRET",
        "service=x;password=SECRET",
        "connect_timeout=5;password=SECRET",
        "pool_max_conns=5;password=SECRET",
        "pool_max_conn_lifetime=5m;password=SECRET",
        "target_session_attrs=any;password=SECRET",
        "application_name=a;password=SECRET",
        "search_path=a;password=SECRET",
        "timezone=UTC;password=SECRET",
        "password=first SECRET host=db1",
        "password=first SECRET=1 host=db1",
        "password=SECRET host=db1",
        "password='SECRET' host=db1",
        "connect_timeout=x password=SECRET",
        "pasword=SECRET host=db1",
    ];

    /// Pieces of a secret that nothing else has.
    fn pieces(secret: &str) -> impl Iterator<Item = &str> {
        (0..=secret.len() - 6).map(|start| &secret[start..start + 6])
    }

    /// All that is ever shown of a connection string, and what a server would repeat of it.
    fn shown(text: &str, variable: Variable<'_>) -> String {
        let settings = match ConnectionSettings::parse(text, variable) {
            Ok(settings) => settings,
            Err(problems) => return problems.concat(),
        };
        let session = &settings.session;
        let repeated = session.settings.iter().map(|(name, value)| {
            settings.mask(&format!("invalid value for parameter \"{name}\": \"{value}\"")).into_owned()
        });
        let zone = session.time_zone.as_ref().map(|zone| settings.mask(zone).into_owned());
        let repeated: String = repeated.chain(zone).collect();
        format!(
            "{settings:?}{:?}{} {} {:?} {repeated}",
            settings.warnings, settings.user, settings.database, settings.tls
        )
    }

    proptest! {
        #[test]
        fn no_text_makes_a_password_show(
            before in "[a-z0-9=:/?#@%&' ]{0,20}",
            after in "[a-z0-9:/?#@%&' ]{0,20}",
            frame in prop::sample::select(vec![
                ("password='", "' host=db1"),
                ("postgres://me:", "@db1:5432/tracker"),
                ("postgres://me:", "@db1/x?sslmode=wrong&pool_max_conns=0"),
                ("connect_timeout=x password=", ""),
            ]),
        ) {
            let text = format!("{}{before}hunter2{after}{}", frame.0, frame.1);
            if let Err(problems) = parse(&text) {
                prop_assert!(!problems.concat().contains("hunter2"), "{:?}", problems);
            }
            if let Ok(settings) = parse(&format!("password='hunter2' host=db1 user=me {before}")) {
                let shown = format!("{settings:?}{:?}", settings.warnings);
                prop_assert!(!shown.contains("hunter2"), "{}", shown);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_pasted_password_is_never_repeated(
            secret in "[a-zA-Z0-9!$%^*(),/?@=&;:#._-]{8,24}",
            form in prop::sample::select(PASTED),
        ) {
            let text = form.replace("SECRET", &secret);
            let shown = shown(&text, &nothing);
            for piece in pieces(&secret) {
                prop_assert!(!shown.contains(piece), "{} of {} in {}", piece, text, shown);
            }
        }

        #[test]
        fn a_password_pasted_into_a_variable_is_never_repeated(
            secret in "[a-zA-Z0-9!$%^*(),/?@=&;:#._-]{8,24}",
            name in prop::sample::select(vec!["PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSSLROOTCERT"]),
            form in prop::sample::select(vec!["db1;password=SECRET", "db1,password=SECRET", "postgres://me:SECRET@db1/t"]),
        ) {
            let text = form.replace("SECRET", &secret);
            let shown = shown("", &|asked| (asked == name).then(|| text.clone()));
            for piece in pieces(&secret) {
                prop_assert!(!shown.contains(piece), "{} of {} in {}", piece, text, shown);
            }
        }
    }

    #[test]
    fn what_no_name_has_in_it_is_told_by_its_position() {
        let expected = "expected pairs with spaces between them, as in `host=db1 user=me password=secret`, or a URL such \
                        as `postgres://me:secret@db1/tracker?sslmode=require`";
        for (text, place) in [
            ("Host=db1;Username=me;Password=hunter2", "`host`: character 4 of its value is a `;`"),
            ("postgres://u@h/t&password=hunter2", "`dbname`: character 2 of its value is a `&`"),
            ("user=x;password=hunter2", "`user`: character 2 of its value is a `;`"),
            ("host=h,password=hunter2", "`host`: character 11 of its value is a `=`"),
        ] {
            assert_eq!(parse(text).unwrap_err(), [format!("{place}; {expected}")], "{text}");
        }
    }
}
