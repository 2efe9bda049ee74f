//! The two forms of a connection string: a URL, `postgres://user:password@host1:5432,host2/database?key=value`,
//! and keywords with values, `host=db1 user=tracker`.

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
pub(super) fn parse_url(rest: &str) -> Result<Vec<KeyValue>, Vec<String>> {
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

const ENCODE: &str = "in names and passwords, write the characters @ : / ? # % as %40 %3A %2F %3F %23 %25";

const WRONGLY_ENCODED: &str = "not percent-encoded UTF-8: expected two hexadecimal digits after each `%`";

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

// Connection strings of keywords and values: `host=db1 password='it\'s'`.

/// Reads `keyword = value` pairs. A value with spaces stands between single quotes; a backslash takes
/// the meaning from the character after it.
///
/// # Errors
/// What is malformed, without a word of the text.
pub(super) fn parse_keywords(text: &str) -> Result<Vec<KeyValue>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let number = pairs.len() + 1;
        let (keyword, after) =
            rest.split_once('=').ok_or_else(|| format!("pair {number} has no `=`; {EXPECTED}"))?;
        let keyword = keyword.trim_end();
        if keyword.is_empty() || keyword.contains(char::is_whitespace) {
            return Err(format!("pair {number} does not have exactly one word before its `=`; {EXPECTED}"));
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => take_quoted(quoted)
                .ok_or_else(|| format!("the value of pair {number} has no closing quote; {EXPECTED}"))?,
            None => take_plain(after)
                .ok_or_else(|| format!("pair {number} ends in a backslash; write it twice to mean one"))?,
        };
        pairs.push((keyword.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

const EXPECTED: &str =
    "expected a URL postgres://… or pairs keyword=value, values with spaces in single quotes";

/// Takes a value up to its closing quote.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '\'' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

/// Takes a value up to the next space.
fn take_plain(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next() {
            None => return Some((value, "")),
            Some(space) if space.is_whitespace() => return Some((value, characters.as_str())),
            Some('\\') => value.push(characters.next()?),
            Some(character) => value.push(character),
        }
    }
}

#[cfg(test)]
mod url_tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse_url(strip_scheme(text).unwrap()).unwrap()
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
            let problems = parse_url(text).unwrap_err();
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
            prop_assert_eq!(parse_url(&url).unwrap(), pairs(&expected));
        }

        #[test]
        fn any_text_is_read_or_refused_without_repeating_it(before in any::<String>(), after in any::<String>()) {
            if let Err(problems) = parse_url(&format!("{before}hunter2{after}")) {
                prop_assert!(!problems.concat().contains("hunter2"), "{:?}", problems);
            }
        }
    }
}

#[cfg(test)]
mod keyword_tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse_keywords(text).unwrap()
    }

    fn pair(keyword: &str, value: &str) -> (String, String) {
        (keyword.into(), value.into())
    }

    #[test]
    fn spaces_around_the_sign_and_between_pairs_do_not_matter() {
        let expected = [pair("host", "db1"), pair("port", "5432")];
        assert_eq!(pairs("host=db1 port=5432"), expected);
        assert_eq!(pairs("  host = db1\n\tport =5432 "), expected);
    }

    #[test]
    fn quotes_keep_spaces_and_backslashes_keep_quotes() {
        assert_eq!(pairs(r"password = 'va\'l ue'"), [pair("password", "va'l ue")]);
        assert_eq!(pairs(r"password=va\'l\ ue user=x"), [pair("password", "va'l ue"), pair("user", "x")]);
        assert_eq!(pairs(r"password='' user=x"), [pair("password", ""), pair("user", "x")]);
        assert_eq!(pairs(r"password= "), [pair("password", "")]);
    }

    #[test]
    fn what_is_malformed_is_told_without_repeating_it() {
        for text in
            ["hunter2", "password='hunter2", "password=hunter2\\", "=hunter2", "password=a my hunter2 =x"]
        {
            let problem = parse_keywords(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    fn quote(value: &str) -> String {
        format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
    }

    fn escape(value: &str) -> String {
        let escaped = |character: char| match character {
            '\\' | '\'' => format!("\\{character}"),
            space if space.is_whitespace() => format!("\\{space}"),
            other => other.to_string(),
        };
        value.chars().map(escaped).collect()
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(values in prop::collection::vec(any::<String>(), 0..5)) {
            let text: Vec<_> = values.iter().map(|value| format!("keyword = {}", quote(value))).collect();
            let read = parse_keywords(&text.join(" ")).unwrap();
            prop_assert_eq!(read.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
        }

        #[test]
        fn what_is_escaped_is_read_back(value in ".+") {
            let read = parse_keywords(&format!("keyword={}", escape(&value))).unwrap();
            prop_assert_eq!(&read[0].1, &value);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse_keywords(&text);
        }
    }
}
