//! The codes of errors: short, stable, and easy to search for. Each is defined once, here, with its explanation.
//! The first digit is the area. A code is never reused; its text may be improved.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use storage_core::config::ProblemKind;
use storage_core::{Error, ErrorKind, Operation};
use storage_migration::{MigrationError, Side};

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $title:literal, $explanation:literal, $way_out:literal;)*) => {
        /// What kind of error a command reported.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum ErrorCode {
            $($variant,)*
        }

        impl ErrorCode {
            /// Every code, in ascending order.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code: `TS-1001`.
            pub(crate) const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// What happened, in a few words.
            pub(crate) const fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                }
            }

            /// What happened and why, in a paragraph of Markdown.
            pub(crate) const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$variant => $explanation,)*
                }
            }

            /// What to do about it.
            pub(crate) const fn way_out(self) -> &'static str {
                match self {
                    $(Self::$variant => $way_out,)*
                }
            }

            #[cfg(test)]
            const fn variant(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }
    };
}

error_codes! {
    ConfigurationUnreadable = "TS-1001",
        "The configuration cannot be read",
        "The file does not exist, is not readable, is not YAML (or TOML if it is named `.toml`), or an environment \
         variable that begins with `TRACKER_` does not fit into it. The message gives the line and column, but never \
         repeats the text, which may contain a password.",
        "Check the path and the permissions of the file. For a syntax error, look at the line before the one in the \
         message too: a missing quote or bracket shows only later. `example-config` prints a file to start from.";
    NoStorageAtPath = "TS-1002",
        "There is no storage at this path of the file",
        "The file was read, but the path of the storage (`storage`, or the argument of `--at`, `--from-at` or \
         `--to-at`) leads nowhere. The message lists the keys that are there.",
        "Correct the path: keys and list indices separated by dots, such as `--at prehooks.0.config.storage`. Indices \
         start at 0.";
    UnknownBackend = "TS-1003",
        "There is no backend of this name",
        "`name` is not one of the backends of this program. The message lists the known names. PostgreSQL and \
         CockroachDB are `pg`, Valkey is `redis`. MoChi's `keydb` and `lmdb` are not supported.",
        "Set `name` to one of the listed backends.";
    UnknownKey = "TS-1004",
        "The configuration has an unknown key",
        "Nothing reads this key. If it resembles a known key, it is an error in every command, since a setting that \
         was meant is not in effect. Any other unknown key is an error in `check`, in `migrate` and `verify`, and with \
         `strict: true`; elsewhere it is a warning.",
        "Correct the spelling or remove the key. A key in the wrong section is unknown too: `add_query` belongs in \
         `peer` or `data`.";
    MissingSetting = "TS-1005",
        "A required setting is missing",
        "The backend cannot be opened without this setting, or it is given and empty.",
        "Add the key. `example-config` prints a configuration with all required keys.";
    InvalidSetting = "TS-1006",
        "A setting has an invalid value",
        "The value has the wrong type or form, is out of range, or conflicts with another setting. The message says \
         what was expected and what kind of value was found. It does not repeat the value.",
        "Correct the value. Durations have a unit (`300ms`, `3m`, `1h30m`); text with special characters belongs in \
         quotes.";
    UnsupportedSetting = "TS-1007",
        "The configuration asks for something that this program does not do",
        "The setting is known, but this program or this build does not implement it: `serve` does not run MoChi's \
         `prehooks` and `posthooks`, and a build without TLS cannot connect with `tls: true`.",
        "Remove the setting, or use a program or build that implements it. `serve --ignore-hooks` serves without the \
         hooks; `approval` restricts the torrents that are served.";

    ServerUnavailable = "TS-2001",
        "The server is not available",
        "No server responded: nothing listens at the address, the network does not reach it, it is starting or \
         shutting down, it has no connection left, or no server of the list is a primary. At start the connection is \
         retried for `startup_timeout` (30 s).",
        "Check that the server runs, and the addresses in the configuration. Test with `ping`. If the server has too \
         many connections, lower the size of the pool or raise the limit of the server.";
    ConnectionRefused = "TS-2002",
        "The server refused the connection",
        "The server responded and refused: wrong user or password, no such database, an untrusted certificate, a \
         parameter that it does not know, or a version that is too old. Retrying does not help, so there was no wait.",
        "The message names the settings to check. On PostgreSQL also check `pg_hba.conf`; on Redis, the ACL of the \
         user.";
    UnsuitableServer = "TS-2003",
        "The server cannot be used with this configuration",
        "The server was not reached while other problems of the configuration were being checked, or it cannot do what \
         the configuration needs: it is read-only, or a pooler in front of it does not allow transactions.",
        "Correct the other problems first. Connect to the primary (`target_session_attrs=read-write`). With PgBouncer, \
         set `pool_mode` to `transaction` or `session`.";

    QueryRefused = "TS-3001",
        "A query is wrong",
        "A query in the configuration cannot be parsed, the server refuses it, or it does not return the columns that \
         are read. The message names the key of the query, and the SQLSTATE if the server refused it.",
        "Correct the query. `example-config pg` prints queries that work with the tables of `schema pg`; \
         `check --verbose` shows the arguments of every query and their types.";
    TableMismatch = "TS-3002",
        "A table or column does not fit",
        "A query names a table or column that does not exist, or whose type cannot hold the value.",
        "Create the tables with `schema pg`, upgrade them with `schema pg --upgrade`, or change the query. If the table \
         exists, check `search_path` and the database in `connection_string`.";
    PermissionMissing = "TS-3003",
        "The user lacks a permission",
        "The user of the connection may not run this query on the tables it names. The message lists the missing \
         permissions where the server tells them.",
        "Grant them. The output of `schema pg` ends with the grants that the recommended queries need.";
    CapabilityMissing = "TS-3004",
        "The storage lacks a capability",
        "The command needs something that this storage cannot do, usually because an optional query is not configured: \
         without `gc_query`, for example, no garbage can be collected. The message gives the reason. `check` lists all \
         missing capabilities.",
        "Configure the query that the message names. `export`, `migrate` and `verify` can leave kinds of records out \
         with `--only`.";
    CaseFailed = "TS-3005",
        "A case of the conformance suite failed",
        "The storage breaks a rule that every backend must follow. The report says what was done, what was expected \
         and what came back, and names the query that is the likely cause.",
        "Correct the query and run the case again with `--filter`. A tracker on this storage may give wrong answers \
         until then.";

    Timeout = "TS-4001",
        "No answer in time",
        "The server did not answer within `operation_timeout` (maintenance: `maintenance_timeout`), or no connection \
         became free. Nothing was changed.",
        "Run the command again. If it happens often, look for slow queries and locks on the server, and for a pool that \
         is too small; raise the timeout only if the server needs that long.";
    Busy = "TS-4002",
        "Too many calls are waiting",
        "`max_waiting` calls were waiting for the storage, and this one was refused at once. Nothing was sent.",
        "Try again later. The storage is slower than the load: look at its latency, and raise `max_waiting` only for \
         short peaks.";
    Uncertain = "TS-4003",
        "It is not known whether the write took effect",
        "The connection was lost, or the time ran out, after the write was sent and before the answer came.",
        "Run the command again. Every write may be repeated: none counts twice.";
    Conflict = "TS-4004",
        "Write conflict",
        "Other transactions changed the same rows, and retrying for `retry_timeout` did not help (a serialization \
         conflict or a deadlock).",
        "Run the command again. If it happens often, run fewer writers at once: with `migrate`, lower `--parallel` and \
         `--batch`.";
    Rejected = "TS-4005",
        "The server refused the operation",
        "The connection works, and the server refused this operation: a missing permission, no space left, a \
         constraint, a value out of range, or a table that changed while the command ran.",
        "The message repeats what the server said. After a change of the tables, run `check`.";
    Full = "TS-4006",
        "The storage is full",
        "The storage holds as many peers as it is allowed to. New peers are refused; existing ones are still refreshed.",
        "Raise the limit that the message names, or shorten `peer_lifetime` so that stale peers are removed earlier.";
    Corrupt = "TS-4007",
        "The stored content cannot be understood",
        "The server holds or returned something in another form than expected: a key of another type, a value that is \
         not a time or a counter, an address of the wrong length. Usually another program wrote it.",
        "Check that the database or prefix belongs to the tracker alone. MoChi's `keydb` storage uses the same keys with \
         other types and cannot share a server with `redis`.";
    Closed = "TS-4008",
        "The storage is closed",
        "The operation began after the storage was closed, usually because the program was stopping.",
        "Nothing, if the program was being stopped. Otherwise report it, with the logs of `--log debug`.";
    NotFound = "TS-4009",
        "Nothing was found",
        "The swarm, key or peer that the command names does not exist in this storage.",
        "Check the info hash, or the context and the form of the key (hexadecimal, or text with `--text`). \
         `swarm list` and `data list` show what exists.";

    SameStorage = "TS-5001",
        "Source and target are the same storage",
        "Both configurations name the same backend with the same settings.",
        "Pass the configuration of the old storage with `--from` and that of the new one with `--to`.";
    SourceLost = "TS-5002",
        "The source of the migration was lost",
        "The source stopped responding, and retrying for 60 s did not help. What was copied before is at the target.",
        "Make the source available and run the same command again: it continues where records are missing and changes \
         nothing else. `--rate` reads more slowly.";
    TargetLost = "TS-5003",
        "The target of the migration was lost",
        "The target stopped responding, and retrying for 60 s did not help. What was copied before is at the target.",
        "Make the target available and run the same command again. Lower `--parallel` if the target was overloaded.";
    TemporaryFile = "TS-5004",
        "The temporary file of the migration cannot be written",
        "`migrate` keeps the keys of the data it has written in a temporary file, to remove data that disappears from \
         the source meanwhile.",
        "Free some space in the temporary directory, or name another one with the environment variable `TMPDIR`.";
    UnreadableRecords = "TS-5005",
        "Some records are unreadable",
        "Lines of an import, or entries of a source, are not records in the expected form. They were reported and \
         skipped; all others were processed.",
        "Look at the reported lines or entries. Entries of Redis that another program wrote can be ignored: run \
         `migrate` without `--strict`.";
    StoragesDiffer = "TS-5006",
        "The two storages differ",
        "`verify` found records at the source that the target does not have, or has with other values.",
        "Pass `--copied-at` with the time that `migrate` printed, so that later announces are not counted as \
         differences. Then run `migrate` again, which copies what is missing, and `verify` again.";
    CollectionWithheld = "TS-5007",
        "Garbage collection was withheld",
        "More than `gc_max_share` of all peers, and more than 20, are stale. A wrong clock, a restored backup or an \
         outage of the tracker makes live peers look stale, so none was removed.",
        "Check the clocks of the tracker and the server. After an outage, wait until the clients have announced again. \
         If the peers are stale indeed, run `gc --force`.";
    PeersUncounted = "TS-5008",
        "The peers cannot be counted before garbage collection",
        "`gc` removes at most `gc_max_share` of all peers, and this storage cannot count them.",
        "Configure `count_query`, or run `gc --force` if you are sure that the clocks are right.";

    CannotListen = "TS-6001",
        "The tracker cannot listen on an address",
        "The address is in use by another program, does not belong to this host, or its port needs privileges.",
        "Stop the other program (`ss -lntup` lists it), or pass another address with `--http`, `--udp` or `--admin`. \
         Ports below 1024 need privileges (`CAP_NET_BIND_SERVICE`).";
    WritesLost = "TS-6002",
        "Acknowledged writes were lost",
        "`serve` stopped with writes that clients were told had succeeded, and that did not reach their storage in \
         time. The exit code is 3.",
        "Peers come back with their next announce; data does not. If it was the secondary of a `mirror`, run `migrate` \
         again before you switch to it.";
    TrackerFailed = "TS-6003",
        "The tracker under test failed",
        "`bench --announce-url` could not resolve or reach the tracker, or the tracker refused the first or the last \
         announces of the run.",
        "Check the URL with a BitTorrent client. Raise the tracker's limits for each address: the whole load comes from \
         one.";
    WorkloadFailed = "TS-6004",
        "Every call of a workload failed",
        "`bench` measured a workload in which no call succeeded, so the figures mean nothing. The errors are listed \
         above the table.",
        "Run `check` on the configuration, and look at the listed errors.";

    Usage = "TS-9001",
        "Wrong usage",
        "An option or argument is unknown, missing, or does not go with the others.",
        "`--help` after the command describes all its options.";
    ConfirmationImpossible = "TS-9002",
        "The confirmation cannot be asked for",
        "The command changes or removes something and asks first, but the standard input is not a terminal.",
        "Pass `--yes` in scripts.";
    Declined = "TS-9003",
        "The confirmation was declined",
        "You did not answer `y` or `yes`. Nothing was changed.",
        "Run the command again and confirm, or pass `--yes`.";
    OutputFailed = "TS-9004",
        "The output cannot be written",
        "The standard output or a file that the command writes cannot be written: the disk is full, or a directory is \
         missing or not writable.",
        "Free some space, or write to another place.";
    SystemFailure = "TS-9005",
        "The program cannot start or continue",
        "The operating system refused something that the program needs: threads, signals, or memory. Rarely, it is an \
         error in this program.",
        "Check the limits of the process (`ulimit -a`). If they are sufficient, report it, with the message and the \
         logs of `--log debug`.";
}

/// The areas, by the first digit of their codes.
const AREAS: [(char, &str); 7] = [
    ('1', "Configuration"),
    ('2', "Servers and connections"),
    ('3', "Queries, tables and capabilities"),
    ('4', "Operations"),
    ('5', "Migration, import and garbage collection"),
    ('6', "Tracker and benchmark"),
    ('9', "Command line and system"),
];

impl ErrorCode {
    /// A failure to open a storage, or of a call.
    pub(crate) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Closed => Self::Closed,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Uncertain => Self::Uncertain,
            ErrorKind::Unavailable => Self::ServerUnavailable,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Full => Self::Full,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Unsupported(_) => Self::CapabilityMissing,
            ErrorKind::Rejected if error.operation() == Operation::Open => Self::ConnectionRefused,
            _ => Self::Rejected,
        }
    }

    /// The end of a migration or a comparison.
    pub(crate) fn of_migration(error: &MigrationError) -> Self {
        match error {
            MigrationError::Storage(Side::Source, error) if error.is_retryable() => Self::SourceLost,
            MigrationError::Storage(Side::Target, error) if error.is_retryable() => Self::TargetLost,
            MigrationError::Storage(_, error) => Self::of(error),
            MigrationError::WrittenKeys(_) => Self::TemporaryFile,
            _ => Self::SystemFailure,
        }
    }

    fn area(self) -> Option<char> {
        self.code().chars().find(char::is_ascii_digit)
    }

    /// Code and title, explanation, and what to do: plain text.
    pub(crate) fn entry(self) -> String {
        let (explanation, way_out) = (self.explanation(), format!("What to do: {}", self.way_out()));
        let [explanation, way_out] = [explanation, &way_out].map(|text| wrapped(text, COLUMNS));
        format!("{self}: {}\n\n{explanation}\n\n{way_out}\n", self.title())
    }

    /// All entries, as a page of Markdown.
    pub(crate) fn page() -> String {
        let mut page = String::from(
            "# Error codes\n\n\
             <!-- Generated by `tracker-storage explain --all`. The text is in `storage-cli/src/error_code.rs`. -->\n\n\
             Every error with which `tracker-storage` ends carries a code, at the end of the first line of the message\n\
             (`[TS-1004]`; of wrong usage, on a line of its own) and in the field `code` of JSON output. Codes do not change between releases.\n\
             `tracker-storage explain TS-1004` prints the entry of a code.\n",
        );
        for (area, title) in AREAS {
            page.push_str(&format!("\n## {title}\n"));
            for code in Self::ALL.iter().filter(|code| code.area() == Some(area)) {
                let way_out = format!("*What to do:* {}", code.way_out());
                let [explanation, way_out] =
                    [code.explanation(), &way_out].map(|text| wrapped(text, PAGE_COLUMNS));
                page.push_str(&format!("\n### {code}: {}\n\n{explanation}\n\n{way_out}\n", code.title()));
            }
        }
        page
    }
}

/// The width of an entry, for terminals of any size.
const COLUMNS: usize = 80;

/// The width of the page, as that of the other pages of the book.
const PAGE_COLUMNS: usize = 120;

/// The text in lines of at most this width, broken at spaces.
fn wrapped(text: &str, columns: usize) -> String {
    let (mut wrapped, mut column) = (String::with_capacity(text.len()), 0);
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 {
            let fits = column + 1 + width <= columns;
            wrapped.push(if fits { ' ' } else { '\n' });
            column = if fits { column + 1 } else { 0 };
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

impl From<ProblemKind> for ErrorCode {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::File => Self::ConfigurationUnreadable,
            ProblemKind::Path => Self::NoStorageAtPath,
            ProblemKind::UnknownKey => Self::UnknownKey,
            ProblemKind::Missing => Self::MissingSetting,
            ProblemKind::Unsupported => Self::UnsupportedSetting,
            ProblemKind::Server => Self::UnsuitableServer,
            ProblemKind::Query => Self::QueryRefused,
            ProblemKind::Table => Self::TableMismatch,
            ProblemKind::Permission => Self::PermissionMissing,
            _ => Self::InvalidSetting,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.code())
    }
}

impl FromStr for ErrorCode {
    type Err = String;

    /// Accepts `TS-1001`, also in lower case and without the letters.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().trim_start_matches(['T', 't', 'S', 's', '-']);
        let is_meant = |code: &&Self| !digits.is_empty() && code.code().ends_with(&format!("-{digits}"));
        let found = Self::ALL.iter().find(is_meant).copied();
        found.ok_or_else(|| "there is no such code; --all lists all codes".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn codes_are_unique_ascending_and_in_an_area() {
        assert!(ErrorCode::ALL.is_sorted_by(|one, other| one.code() < other.code()));
        for code in ErrorCode::ALL {
            let area = code.area();
            assert!(AREAS.iter().any(|(digit, _)| Some(*digit) == area), "{code}");
            assert_eq!(code.code().len(), "TS-1001".len());
            assert!(!code.title().ends_with('.') && code.explanation().ends_with('.'), "{code}");
            assert!(code.way_out().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_typed() {
        for text in ["TS-1004", "ts-1004", "TS1004", "1004", " 1004 "] {
            assert_eq!(text.parse(), Ok(ErrorCode::UnknownKey), "{text}");
        }
        for text in ["", "TS-", "TS-0000", "4", "TS-1004x"] {
            assert!(text.parse::<ErrorCode>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_page_of_the_book_is_the_output_of_explain() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/error-codes.md");
        let page = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(page, ErrorCode::page(), "run: tracker-storage explain --all > docs/src/error-codes.md");
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrapped("one two three", 7), "one two\nthree");
        assert_eq!(wrapped("longer-than-that a", 7), "longer-than-that\na");
        let widest = |text: String| text.lines().map(|line| line.chars().count()).max();
        assert!(ErrorCode::ALL.iter().all(|code| widest(code.entry()) <= Some(COLUMNS)));
    }

    /// A code that no line of the program uses would be listed and never seen.
    #[test]
    fn every_code_is_used() {
        let mut sources = String::new();
        let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let text = std::fs::read_to_string(&path).unwrap();
                    sources.push_str(text.split("#[cfg(test)]\nmod tests").next().unwrap());
                }
            }
        }
        for code in ErrorCode::ALL {
            let uses = [format!("ErrorCode::{},", code.variant()), format!("ErrorCode::{})", code.variant())];
            let derived = [format!("=> Self::{},", code.variant())];
            let is_used = uses.iter().chain(&derived).any(|text| sources.contains(text.as_str()));
            assert!(is_used, "{} ({code}) is used nowhere", code.variant());
        }
    }
}
