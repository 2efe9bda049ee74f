//! The password file, `~/.pgpass`: lines `host:port:database:user:password`, `*` for any, a backslash
//! before a `:` or `\` that is meant.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use super::Secret;

/// The lines of a password file.
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
            return Err(ignored("it is no plain file"));
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
