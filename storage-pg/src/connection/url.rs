//! Connection URLs: `postgres://user:password@host1:5432,host2/database?key=value`.

use percent_encoding::percent_decode_str;

use super::parameters::{KeyValue, canonical};

/// The part after `postgres://` or `postgresql://`; `None` if the text is no such URL.
pub(super) fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
}

/// Reads a URL without its scheme. A parameter of the query goes over what the rest of the URL says.
///
/// # Errors
/// Everything that is malformed, without a word of the text.
pub(super) fn parse(rest: &str) -> Result<Vec<KeyValue>, Vec<String>> {
    let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    let mut reading = UrlParser::default();
    reading.refuse_stray_characters(path, query);

    let servers = match authority.rsplit_once('@') {
        Some((login, servers)) => {
            reading.login(login);
            servers
        }
        None => authority,
    };
    reading.servers(servers);
    if let Some(database) = path.strip_prefix('/').filter(|database| !database.is_empty()) {
        reading.add_decoded("dbname", database);
    }
    reading.query(query);
    if reading.problems.is_empty() { Ok(reading.pairs) } else { Err(reading.problems) }
}

#[derive(Default)]
struct UrlParser {
    pairs: Vec<KeyValue>,
    problems: Vec<String>,
}

impl UrlParser {
    /// These are most likely characters of a password, which would come to light as part of another
    /// setting.
    fn refuse_stray_characters(&mut self, path: &str, query: &str) {
        if path.contains('@') || path.get(1..).is_some_and(|name| name.contains('/')) {
            self.problems.push(format!("the URL has an `@` or a second `/` after the servers; {ENCODE}"));
        }
        // A password may have an `@` of its own, and so may the names of users in some clouds.
        let parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
        let may_have_at =
            |key: &str| ["password", "user"].iter().any(|known| key.eq_ignore_ascii_case(known));
        if parameters.into_iter().any(|(key, value)| value.contains('@') && !may_have_at(key)) {
            self.problems.push(format!("the URL has an `@` in a parameter; {ENCODE}"));
        }
        if path.contains('#') || query.contains('#') {
            self.problems.push(format!("the URL has a `#`; {ENCODE}"));
        }
    }

    fn login(&mut self, login: &str) {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        if user.contains('@') {
            self.problems.push(format!("the URL has more than one `@` before the servers; {ENCODE}"));
            return;
        }
        self.add_decoded("user", user);
        if !password.is_empty() {
            self.add_decoded("password", password);
        }
    }

    fn servers(&mut self, servers: &str) {
        if servers.is_empty() {
            return;
        }
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for server in servers.split(',') {
            match split_server(server) {
                Some((host, port)) => {
                    hosts.push(host);
                    ports.push(port);
                }
                None => {
                    self.problems.push(format!(
                        "`host` in the URL: expected host or host:port, IPv6 addresses in brackets; {ENCODE}"
                    ));
                    return;
                }
            }
        }
        self.add_decoded("host", &hosts.join(","));
        if ports.iter().any(|port| !port.is_empty()) {
            self.add_decoded("port", &ports.join(","));
        }
    }

    fn query(&mut self, query: &str) {
        let from_url = std::mem::take(&mut self.pairs);
        for (number, parameter) in (1..).zip(query.split('&').filter(|parameter| !parameter.is_empty())) {
            let Some((key, value)) = parameter.split_once('=') else {
                self.problems.push(format!("parameter {number} of the URL has no `=`; {ENCODE}"));
                continue;
            };
            // A plus is a space, as in forms and as pgx reads it.
            match (decode(key), decode(&value.replace('+', " "))) {
                (Some(key), Some(value)) => self.pairs.push((key, value)),
                _ => self.problems.push(format!("parameter {number} of the URL is {WRONGLY_ENCODED}")),
            }
        }
        let over = |key: &str| self.pairs.iter().any(|(known, _)| canonical(known) == key);
        let mut pairs: Vec<_> = from_url.into_iter().filter(|(key, _)| !over(key)).collect();
        pairs.append(&mut self.pairs);
        self.pairs = pairs;
    }

    fn add_decoded(&mut self, key: &str, text: &str) {
        match decode(text) {
            Some(value) => self.pairs.push((key.to_owned(), value)),
            None => self.problems.push(format!("`{key}` in the URL is {WRONGLY_ENCODED}")),
        }
    }
}

const ENCODE: &str = "in names and passwords the characters @ : / ? # % are written %40 %3A %2F %3F %23 %25";

const WRONGLY_ENCODED: &str =
    "wrongly percent-encoded: after a `%` stand two hexadecimal digits, and the whole is UTF-8";

fn split_server(server: &str) -> Option<(&str, &str)> {
    if let Some(bracketed) = server.strip_prefix('[') {
        let (address, after) = bracketed.split_once(']')?;
        let port = if after.is_empty() { "" } else { after.strip_prefix(':')? };
        return Some((address, port));
    }
    let (host, port) = server.split_once(':').unwrap_or((server, ""));
    (!port.contains(':')).then_some((host, port))
}

fn decode(text: &str) -> Option<String> {
    let mut after_signs = text.split('%').skip(1);
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let well_formed =
        after_signs.all(|after| after.as_bytes().get(..2).is_some_and(|two| two.iter().all(is_digit)));
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    well_formed.then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(strip_scheme(text).unwrap()).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_parts_are_read() {
        assert_eq!(
            read("postgres://me:pass@db1:5433/tracker?sslmode=require&search_path=a,b"),
            pairs(&[
                ("user", "me"),
                ("password", "pass"),
                ("host", "db1"),
                ("port", "5433"),
                ("dbname", "tracker"),
                ("sslmode", "require"),
                ("search_path", "a,b"),
            ])
        );
        assert_eq!(read("postgresql://"), pairs(&[]));
        assert_eq!(read("postgres:///tracker"), pairs(&[("dbname", "tracker")]));
        assert_eq!(read("postgres://db1?user=me"), pairs(&[("host", "db1"), ("user", "me")]));
    }

    #[test]
    fn several_servers_keep_their_ports() {
        assert_eq!(
            read("postgres://db1,db2:5433,[::1]:5434,[fe80::1]/x"),
            pairs(&[("host", "db1,db2,::1,fe80::1"), ("port", ",5433,5434,"), ("dbname", "x")])
        );
    }

    #[test]
    fn percent_encoding_is_undone_in_every_part() {
        assert_eq!(
            read("postgres://u%40x:p%3Aa%2Fss@%2Fvar%2Frun/d%20b?application_name=a+b%2Bc"),
            pairs(&[
                ("user", "u@x"),
                ("password", "p:a/ss"),
                ("host", "/var/run"),
                ("dbname", "d b"),
                ("application_name", "a b+c"),
            ])
        );
        assert_eq!(read("postgres://u:a@b+@db1")[1].1, "a@b+");
    }

    #[test]
    fn the_query_goes_over_the_rest() {
        let read = read("postgres://me@db1/x?host=/tmp&user=you");
        assert_eq!(read, pairs(&[("dbname", "x"), ("host", "/tmp"), ("user", "you")]));
    }

    #[test]
    fn a_password_with_characters_that_end_it_is_refused_and_not_repeated() {
        for text in [
            "u:12/hunter2@db1/x",
            "u:12?hunter2@db1/x",
            "u:12@db1/x#hunter2",
            "u:%hunter2@db1",
            "u:1:hunter2",
        ] {
            let problems = parse(text).unwrap_err();
            assert!(!problems.concat().contains("hunter2"), "{problems:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(user in ".+", password in ".+", database in ".+", value in any::<String>()) {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let url = format!(
                "{}:{}@db1/{}?key={}", encode(&user), encode(&password), encode(&database), encode(&value)
            );
            let expected =
                [("user", &*user), ("password", &*password), ("host", "db1"), ("dbname", &*database), ("key", &*value)];
            prop_assert_eq!(parse(&url).unwrap(), pairs(&expected));
        }

        #[test]
        fn any_text_is_read_or_refused_without_repeating_it(before in any::<String>(), after in any::<String>()) {
            if let Err(problems) = parse(&format!("{before}hunter2{after}")) {
                prop_assert!(!problems.concat().contains("hunter2"), "{:?}", problems);
            }
        }
    }
}
