//! The servers to try, in order.

use std::fmt;
use std::path::Path;

use super::Secret;
use super::parameters::Parameters;
use super::password_file::PasswordFile;

const DEFAULT_PORT: u16 = 5432;

/// Where servers put their sockets.
const SOCKET_FOLDERS: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];

/// A server: its name, address, or the folder of its Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    address: Option<String>,
    port: u16,
    password: Option<Secret>,
}

impl Host {
    /// What to connect to: the address, where one is given beside the name.
    pub(crate) fn target(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.name)
    }

    /// Its TCP port, or the number in the name of its socket.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The password for it.
    pub(crate) fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
