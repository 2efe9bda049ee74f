//! The servers to try, in order, and the password for each.

use std::borrow::Cow;
use std::fmt;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use super::parameters::Parameters;

const DEFAULT_PORT: u16 = 5432;

/// Where servers put their sockets.
const SOCKET_FOLDERS: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];

/// A server: its name, address, or the folder of its Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    address: Option<String>,
    /// Its TCP port, or the number in the name of its socket.
    pub(crate) port: u16,
    /// The password for it.
    pub(crate) password: Option<Secret>,
}

impl Host {
    /// What to connect to: the address, where one is given beside the name.
    pub(crate) fn target(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.name)
    }

    /// Whether it is reached by a Unix socket.
    pub(crate) fn is_socket(&self) -> bool {
        self.target().starts_with('/')
    }

    /// Whether it is reached by an address while its certificate may bear its name.
    pub(super) fn has_name_beside_address(&self) -> bool {
        self.address.as_ref().is_some_and(|address| *address != self.name)
    }

    /// The names by which a password file may list it.
    fn listed_as(&self) -> [&str; 2] {
        [&self.name, if self.is_socket() { "localhost" } else { &self.name }]
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            return write!(f, "[{}]:{}", self.name, self.port);
        }
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// Takes `host`, `hostaddr` and `port` out: lists by commas. One port is for all hosts.
pub(super) fn take_hosts(parameters: &mut Parameters) -> Vec<Host> {
    let (names, addresses) = (list(parameters, "host"), list(parameters, "hostaddr"));
    let ports = take_ports(parameters);
    let default_port = ports.first().copied().unwrap_or(DEFAULT_PORT);
    let (names, addresses) = match (names, addresses) {
        (None, None) => (vec![default_host(default_port)], None),
        (None, Some(addresses)) => (addresses.clone(), Some(addresses)),
        (Some(names), addresses) => (names, addresses),
    };
    if addresses.as_ref().is_some_and(|addresses| addresses.len() != names.len()) {
        parameters.problems.push("`hostaddr`: expected as many addresses as there are in `host`".into());
    }
    if ports.len() > 1 && ports.len() != names.len() {
        parameters.problems.push("`port`: expected one port, or as many as there are hosts".into());
    }
    let address = |index| addresses.as_ref().and_then(|addresses| addresses.get(index)).cloned();
    let hosts = names.into_iter().enumerate().map(|(index, name)| Host {
        name: if name.is_empty() { default_host(default_port) } else { name },
        address: address(index).filter(|address| !address.is_empty()),
        port: ports.get(index).copied().unwrap_or(default_port),
        password: None,
    });
    hosts.collect()
}

/// Gives every host its password: the one that is given, else that of the password file.
pub(super) fn give_passwords(
    hosts: &mut [Host],
    given: Option<&Secret>,
    file: &PasswordFile,
    database: &str,
    user: &str,
) {
    for host in hosts {
        let listed = || file.find(&host.listed_as(), host.port, database, user);
        host.password = given.cloned().or_else(listed);
    }
}

fn list(parameters: &mut Parameters, key: &str) -> Option<Vec<String>> {
    let text = parameters.text(key)?;
    let unbracketed = |item: &str| item.trim().trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(text.split(',').map(unbracketed).collect())
}

fn take_ports(parameters: &mut Parameters) -> Vec<u16> {
    let Some(given) = parameters.take("port") else { return Vec::new() };
    let read = |item: &str| match item.trim() {
        "" => Some(DEFAULT_PORT),
        digits => digits.parse().ok().filter(|port| *port > 0),
    };
    given.value.split(',').map(read).collect::<Option<_>>().unwrap_or_else(|| {
        parameters.problems.push(format!("{}: expected whole numbers from 1 to 65535", given.place));
        Vec::new()
    })
}

fn default_host(port: u16) -> String {
    let socket = format!(".s.PGSQL.{port}");
    let found = SOCKET_FOLDERS.iter().find(|folder| Path::new(folder).join(&socket).exists());
    (*found.unwrap_or(&"localhost")).to_owned()
}

/// A password; no `Debug` shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself, for the server only.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// What is shown in place of a text that is, or may have in it, a password.
pub(super) const MASK: &str = "***";

/// Shorter texts are in words by chance, and no password.
pub(super) const SHORTEST_MASKED: usize = 4;

/// A text without others that are in it.
pub(super) fn mask<'a>(text: &'a str, hidden: impl Iterator<Item = &'a str>) -> Cow<'a, str> {
    let is_in_it = |hidden: &&str| hidden.len() >= SHORTEST_MASKED && text.contains(hidden);
    let mut hidden: Vec<_> = hidden.filter(is_in_it).collect();
    // A longer one may have a shorter one in it.
    hidden.sort_by_key(|hidden| std::cmp::Reverse(hidden.len()));
    hidden.into_iter().fold(Cow::Borrowed(text), |text, hidden| Cow::Owned(text.replace(hidden, MASK)))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The lines of a password file, `~/.pgpass`: `host:port:database:user:password`, `*` for any, a backslash
/// before a `:` or `\` that is meant.
#[derive(Default)]
pub(super) struct PasswordFile(Vec<[String; 5]>);

impl PasswordFile {
    /// Reads a file; one that is not there has no lines.
    ///
    /// # Errors
    /// Why a file that is there is not used, with the way out.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let ignored = |why: &str| format!("the password file {} is ignored: {why}", path.display());
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(ignored(&error.to_string())),
        };
        if !metadata.is_file() {
            return Err(ignored("it is not a regular file"));
        }
        if others_may_read(&metadata) {
            return Err(ignored("group or others have access to it; give it mode 0600"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| ignored(&error.to_string()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(split_fields).collect())
    }

    /// The password of the first line that fits; `hosts` are the names by which the server may be
    /// listed.
    pub(super) fn find(&self, hosts: &[&str], port: u16, database: &str, user: &str) -> Option<Secret> {
        let port = port.to_string();
        let fits = |field: &str, wanted: &[&str]| field == "*" || wanted.contains(&field);
        self.0
            .iter()
            .find(|[host_field, port_field, database_field, user_field, _]| {
                fits(host_field, hosts)
                    && fits(port_field, &[&port])
                    && fits(database_field, &[database])
                    && fits(user_field, &[user])
            })
            .map(|[.., password]| Secret::new(password.clone()))
    }
}

/// Splits a line at its first four colons that are no escaped ones.
fn split_fields(line: &str) -> Option<[String; 5]> {
    let mut fields: [String; 5] = Default::default();
    let mut at = 0;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if at < 4 => at += 1,
            '\\' => fields[at].push(characters.next().unwrap_or('\\')),
            other => fields[at].push(other),
        }
    }
    (at == 4).then_some(fields)
}

#[cfg(unix)]
fn others_may_read(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_read(_metadata: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {

    use super::*;
    use proptest::prelude::*;

    fn hosts(text: &str) -> Result<Vec<String>, Vec<String>> {
        let mut parameters = Parameters::gather(text, &|_| None);
        let hosts = take_hosts(&mut parameters);
        if !parameters.problems.is_empty() {
            return Err(parameters.problems);
        }
        Ok(hosts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_port_is_for_all_hosts() {
        assert_eq!(hosts("host=db1,db2 port=5433").unwrap(), ["db1:5433", "db2:5433"]);
        assert_eq!(hosts("host=db1,db2").unwrap(), ["db1:5432", "db2:5432"]);
        assert_eq!(hosts("host=db1,db2 port=,5433").unwrap(), ["db1:5432", "db2:5433"]);
        assert_eq!(hosts("postgres://db1,[::1]:5433").unwrap(), ["db1:5432", "[::1]:5433"]);
    }

    #[test]
    fn ports_that_do_not_fit_the_hosts_are_refused() {
        assert_eq!(
            hosts("host=db1,db2,db3 port=1,2").unwrap_err(),
            ["`port`: expected one port, or as many as there are hosts"]
        );
        assert_eq!(hosts("host=db1 port=0").unwrap_err(), ["`port`: expected whole numbers from 1 to 65535"]);
        assert_eq!(hosts("host=a,b hostaddr=::1").unwrap_err().len(), 1);
    }

    #[test]
    fn an_address_is_where_to_connect_and_a_name_is_what_it_is_called() {
        let mut parameters = Parameters::gather("host=db1 hostaddr=192.0.2.1", &|_| None);
        let hosts = take_hosts(&mut parameters);
        assert_eq!((hosts[0].target(), hosts[0].to_string()), ("192.0.2.1", "db1:5432".into()));
    }

    #[test]
    fn a_folder_is_a_socket() {
        let mut parameters = Parameters::gather("postgres://%2Fvar%2Frun/x", &|_| None);
        assert!(take_hosts(&mut parameters)[0].is_socket());
    }

    fn find(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        let found = PasswordFile::parse(text).find(&[host], port, database, user);
        found.map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# comment\ndb1:5432:tracker:me:first\ndb1:*:*:me:second\n*:*:*:*:third\r\n";
        assert_eq!(find(text, "db1", 5432, "tracker", "me").unwrap(), "first");
        assert_eq!(find(text, "db1", 5433, "tracker", "me").unwrap(), "second");
        assert_eq!(find(text, "db2", 5433, "tracker", "me").unwrap(), "third");
        assert_eq!(find("db1:5432:tracker:me:x", "db2", 5432, "tracker", "me"), None);
    }

    #[test]
    fn escapes_are_undone() {
        let text = r"\:\:1:*:a\\b:*:p\:a\\ss:word";
        assert_eq!(find(text, "::1", 1, r"a\b", "me").unwrap(), r"p:a\ss:word");
    }

    #[test]
    fn malformed_lines_are_passed_over() {
        assert_eq!(find("db1:5432\n\n*:*:*:*:x", "db1", 5432, "t", "me").unwrap(), "x");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_ignored_with_a_warning() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "*:*:*:*:hunter2").unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let warning = PasswordFile::read(file.path()).err().unwrap();
        assert!(warning.contains("0600") && !warning.contains("hunter2"), "{warning}");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(PasswordFile::read(file.path()).unwrap().find(&["x"], 1, "t", "me").is_some());
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_found(host in "[^\r\n*#]{1,9}", user in "[^\r\n*]{1,9}", password in "[^\r\n]{1,9}") {
            let escape = |text: &str| text.replace('\\', r"\\").replace(':', r"\:");
            let line = format!("{}:1:*:{}:{}", escape(&host), escape(&user), escape(&password));
            prop_assert_eq!(find(&line, &host, 1, "any", &user), Some(password));
        }
    }
}
