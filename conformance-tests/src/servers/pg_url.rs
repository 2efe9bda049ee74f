//! URLs of servers that speak PostgreSQL's protocol, and what tests change in them.

use std::fmt;

/// `postgres://login@hosts/database?settings`, in its parts.
#[derive(Debug, Clone)]
pub struct PgUrl {
    login: String,
    hosts: String,
    database: String,
    settings: Vec<String>,
}

impl PgUrl {
    /// Takes a URL apart.
    pub fn parse(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (rest, settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        Self {
            login: login.to_owned(),
            hosts: hosts.to_owned(),
            database: database.to_owned(),
            settings: settings.split('&').filter(|setting| !setting.is_empty()).map(str::to_owned).collect(),
        }
    }

    /// The name and password, if both are there and mean what they say.
    pub fn login(&self) -> Option<(&str, &str)> {
        self.login.split_once(':').filter(|_| !self.login.contains('%'))
    }

    /// The host and port, if there is one of each.
    pub fn host_and_port(&self) -> Option<(&str, &str)> {
        let (host, port) = self.hosts.rsplit_once(':').unwrap_or((&self.hosts, "5432"));
        let is_plain = !host.is_empty() && !self.hosts.contains([',', '%', '[']);
        is_plain.then_some((host, port))
    }

    /// The same with this name and password.
    #[must_use]
    pub fn of_role(self, name: &str, password: &str) -> Self {
        Self { login: format!("{name}:{password}"), ..self }
    }

    /// The same with these hosts.
    #[must_use]
    pub fn at(self, hosts: &[String]) -> Self {
        Self { hosts: hosts.join(","), ..self }
    }

    /// The same with this database.
    #[must_use]
    pub fn database(self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self }
    }

    /// The same with one more setting, whose value is written as URLs have it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.settings.push(format!("{name}={value}"));
        self
    }
}

impl fmt::Display for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { login, hosts, database, settings } = self;
        let at = if login.is_empty() { "" } else { "@" };
        write!(f, "postgres://{login}{at}{hosts}/{database}")?;
        if !settings.is_empty() {
            write!(f, "?{}", settings.join("&"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url_can_be_changed() {
        let url = PgUrl::parse("postgresql://me:secret@db1:5433/tracker?sslmode=disable");
        assert_eq!(url.login(), Some(("me", "secret")));
        assert_eq!(url.host_and_port(), Some(("db1", "5433")));
        let changed = url.at(&["a:1".into(), "b:2".into()]).database("other").with("geqo", "off");
        assert_eq!(changed.to_string(), "postgres://me:secret@a:1,b:2/other?sslmode=disable&geqo=off");
        assert_eq!(changed.host_and_port(), None);
    }

    #[test]
    fn parts_may_be_missing() {
        let url = PgUrl::parse("postgres://db1");
        assert_eq!((url.login(), url.host_and_port()), (None, Some(("db1", "5432"))));
        assert_eq!(url.to_string(), "postgres://db1/");
    }
}
