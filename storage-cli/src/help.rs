//! What `--help` says beyond the options: sections about the command and examples, by command. `-h` shows the
//! examples only, `--help` everything. A section is a heading that ends with a colon, and indented lines below it.

use clap::Command;
use clap::builder::StyledStr;
use clap::builder::styling::{AnsiColor, Effects, Style, Styles};

/// The name of the program in the texts; another program's name takes its place.
pub(crate) const PROGRAM: &str = "tracker-storage";

/// The widest help, in columns.
pub(crate) const WIDTH: usize = 100;

const HEADING: Style = AnsiColor::Green.on_default().effects(Effects::BOLD);
const LITERAL: Style = AnsiColor::Cyan.on_default();

/// The colours of help and usage errors, on a terminal that has colours and where `NO_COLOR` is not set.
pub(crate) const STYLES: Styles = Styles::styled()
    .header(HEADING)
    .usage(HEADING)
    .literal(LITERAL.effects(Effects::BOLD))
    .placeholder(LITERAL)
    .error(AnsiColor::Red.on_default().effects(Effects::BOLD))
    .invalid(AnsiColor::Yellow.on_default())
    .valid(LITERAL);

/// The help of a command.
struct HelpPage {
    /// The names of the command and its subcommand, separated by a space; empty for the program itself.
    command: &'static str,
    /// Sections of `--help` only.
    details: &'static str,
    /// Sections of `-h` and `--help`, the examples last.
    examples: &'static str,
}

/// Adds the sections and examples to a command and its subcommands, for a program of this name.
pub(crate) fn add_help(command: Command, program: &str) -> Command {
    add_to(command, program, "")
}

fn add_to(mut command: Command, program: &str, path: &str) -> Command {
    let names: Vec<_> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command = command.mut_subcommand(name, |sub| add_to(sub, program, &path));
    }
    let Some(page) = PAGES.iter().find(|page| page.command == path) else { return command };
    let long = match page.details {
        "" => page.examples.to_owned(),
        details => format!("{details}\n\n{}", page.examples),
    };
    command.after_help(styled(page.examples, program)).after_long_help(styled(&long, program))
}

/// The text with coloured headings and commands. clap leaves the colours out where they do not belong.
fn styled(text: &str, program: &str) -> StyledStr {
    let mut styled = String::new();
    for line in text.lines() {
        let line = line.replace(PROGRAM, program);
        if is_heading(&line) {
            styled.push_str(&format!("{HEADING}{line}{HEADING:#}"));
        } else if let Some(code) = line.strip_prefix("  ").filter(|code| code.starts_with(program)) {
            let (code, comment) =
                code.split_once("  #").map_or((code, ""), |(code, _)| (code, &line[2 + code.len()..]));
            styled.push_str(&format!("  {LITERAL}{code}{LITERAL:#}{comment}"));
        } else {
            styled.push_str(&line);
        }
        styled.push('\n');
    }
    styled.trim_end().to_owned().into()
}

/// Whether a line begins a section.
pub(crate) fn is_heading(line: &str) -> bool {
    line.ends_with(':') && line.starts_with(|first: char| first.is_ascii_alphabetic())
}

const PAGES: &[HelpPage] = &[
    HelpPage {
        command: "",
        details: "\
Configuration:
  A YAML file, or TOML if it is named .toml, with the name of a backend and its settings:
      storage:
        name: pg
        config:
          connection_string: postgres://tracker@db1/tracker
  Environment variables override the file: TRACKER_STORAGE__CONFIG__CONNECTION_STRING is the key \
storage.config.connection_string (two underscores between levels).

Error codes:
  Every error ends with a code such as [TS-1004]. `tracker-storage explain TS-1004` says what it means and what to do.",
        examples: "\
Logging, for every command:
      --log <FILTER>         off, error, warn, info, debug, trace, or directives such as
                             info,sqlx=debug; overrides RUST_LOG [default: warn]
      --log-format <FORMAT>  human or json [default: human]

Exit codes:
  0 success, 1 a problem was found, 2 wrong usage or an unreadable file, 3 acknowledged writes were lost (serve), \
130 after Ctrl-C

Examples:
  tracker-storage example-config pg > tracker.yaml             # print a configuration to edit
  tracker-storage schema pg | psql tracker                     # create the tables
  tracker-storage check -c tracker.yaml                        # connect and check every query
  tracker-storage migrate --from redis.yaml --to tracker.yaml  # copy everything from Redis
  tracker-storage serve -c tracker.yaml                        # run a tracker",
    },
    HelpPage {
        command: "check",
        details: "\
What is checked:
  The keys and values of the file; the connection; with pg, every query: its syntax, tables, columns, types and \
permissions; and whether `serve` would accept the rest of the file. Nothing is written. All problems are reported at \
once. If the file has problems other than unknown keys, no server is contacted.

Output:
  The first line is `ok`, `ok, 2 warnings` or `failed`. Problems and warnings follow, one per line, then what was found: \
backend, server, missing capabilities.

Environment:
  Variables override the file: TRACKER_STORAGE__CONFIG__CONNECTION_STRING is the key \
storage.config.connection_string.",
        examples: "\
Examples:
  tracker-storage check -c tracker.yaml
  tracker-storage check -c tracker.yaml --verbose
  tracker-storage check -c mochi.yaml --at prehooks.0.config.storage --data-only",
    },
    HelpPage {
        command: "conformance",
        details: "\
Safety:
  Safe on a storage in use: the suite uses its own info hashes and contexts, removes them at the end, and skips cases \
whose query would touch other rows. Ctrl-C stops it after the running cases have cleaned up. --exclusive lifts these \
restrictions: use it only on a storage whose content may be lost.

Output:
  One line per case: `ok`, `FAILED` (a MUST does not hold; exit code 1), `warning` (a SHOULD does not hold; counted as \
passed), or `skipped` with the reason. The last line:
      N passed, N failed, N skipped",
        examples: "\
Examples:
  tracker-storage conformance -c tracker.yaml
  tracker-storage conformance -c tracker.yaml --filter graduate
  tracker-storage conformance -c test.yaml --exclusive --json",
    },
    HelpPage {
        command: "schema",
        details: "\
Upgrades:
  `tracker-storage check` reports the version of the tables. Each statement of an upgrade is printed with the lock it \
takes and what it costs. UPGRADING.md describes upgrades and downgrades.

Permissions:
  The output ends with the grants that the recommended queries need. Create the database role yourself \
(`createuser tracker`).",
        examples: "\
Examples:
  tracker-storage schema pg | psql tracker
  tracker-storage schema pg --dialect cockroachdb | cockroach sql
  tracker-storage schema pg --upgrade | psql tracker    # from the previous version, under load
  tracker-storage schema pg --from seed | psql mochi    # from the tables of MoChi's guide",
    },
    HelpPage {
        command: "example-config",
        details: "",
        examples: "\
Examples:
  tracker-storage example-config memory > tracker.yaml
  tracker-storage example-config pg --dialect cockroachdb > tracker.yaml
  tracker-storage example-config pg --for mochi > storage.yaml",
    },
    HelpPage {
        command: "export",
        details: "\
Format:
  The first line names the version of the format:
      {\"kind\":\"export\",\"version\":1,\"program\":\"tracker-storage 0.1.0\"}
  Every other line is one record. Info hashes, peer ids, keys and values are hexadecimal:
      {\"kind\":\"peer\",\"info_hash\":…,\"peer_id\":…,\"address\":\"192.0.2.1\",\"port\":6881,
       \"seeder\":true,\"announced\":\"2026-11-22T15:28:09.123456Z\"}
      {\"kind\":\"downloads\",\"info_hash\":…,\"downloads\":3}
      {\"kind\":\"data\",\"context\":\"text\",\"key\":…,\"value\":…}
  The counts and the progress go to the standard error.",
        examples: "\
Examples:
  tracker-storage export -c tracker.yaml > dump.jsonl
  tracker-storage export -c tracker.yaml --only downloads,data | gzip > dump.jsonl.gz",
    },
    HelpPage {
        command: "import",
        details: "\
Which record wins:
  The most recent announce wins, the larger download count wins, existing data is kept. Running it again is safe.

Unreadable lines:
  They are reported with their number and skipped; the exit code is then 1. --stop-on-error stops at the first one.",
        examples: "\
Examples:
  tracker-storage import -c tracker.yaml < dump.jsonl
  zcat dump.jsonl.gz | tracker-storage import -c tracker.yaml --json",
    },
    HelpPage {
        command: "migrate",
        details: "\
Which record wins:
  The most recent announce wins, the larger download count wins, existing data is kept. --downloads and --data change \
that. Running it again is safe, also after an interruption: it continues where records are missing.

Safety:
  Both storages are checked first, as `check` does, and you are asked before anything is written. Nothing is deleted \
at the source, and no garbage is collected on either side.

Moving a live tracker:
  Copy with --follow while the tracker runs on the source, switch the tracker when a pass has little to write, and stop \
with Ctrl-C. `verify` then compares both storages.",
        examples: "\
Examples:
  tracker-storage migrate --from redis.yaml --to pg.yaml --dry-run
  tracker-storage migrate --from redis.yaml --to pg.yaml --yes --rate 20000/s
  tracker-storage migrate --from redis.yaml --to pg.yaml --follow --until-quiet 1m",
    },
    HelpPage {
        command: "verify",
        details: "\
Differences:
  A record that one side lacks, and one that the target has with an older time, a smaller count or another value. Newer \
times and larger counts at the target are no differences. With --copied-at (`migrate` prints it), neither are peers that \
announced after the copy: use it if the target is in use. The exit code is 1 if anything differs.",
        examples: "\
Examples:
  tracker-storage verify --from redis.yaml --to pg.yaml --copied-at 2026-11-22T15:28:09Z
  tracker-storage verify --from redis.yaml --to pg.yaml --sample 10000",
    },
    HelpPage {
        command: "serve",
        details: "\
Configuration:
  The storage, and these keys at the top level of the file: announce_interval, min_announce_interval, max_numwant, \
default_numwant, max_scrape_infohashes, max_udp_answer, max_requests_per_address, max_burst_per_address, \
max_connections_per_address, real_ip_header, trusted_proxies, allow_ip_spoofing, announce_routes, scrape_routes, \
approval. Environment variables override them: TRACKER_STORAGE__NAME, TRACKER_ANNOUNCE_INTERVAL. Without a file, the \
storage is memory.

Addresses:
  An IPv6 address serves only IPv6: pass 0.0.0.0:6969 and [::]:6969 for both. Port 0 is any free port. The addresses \
are printed. --admin has no password: keep it on a private address.

Stopping:
  SIGTERM and Ctrl-C stop it within 10 seconds: it answers the requests in flight and flushes queued writes (those for \
the secondary of a mirror). The exit code is 3 if some writes were lost; the message says how many and what to do.",
        examples: "\
Examples:
  tracker-storage serve
  tracker-storage serve -c tracker.yaml --http 0.0.0.0:6969 --udp 0.0.0.0:6969
  tracker-storage serve -c tracker.yaml --udp none --admin 10.0.0.5:6880",
    },
    HelpPage {
        command: "ping",
        details: "\
Scripts:
  The exit code is 0 if the server responds, and 1 if not. At start, an unreachable server is retried for \
`startup_timeout` (30 s).

Environment:
  Variables override the file: TRACKER_STORAGE__CONFIG__CONNECTION_STRING is the key \
storage.config.connection_string.",
        examples: "\
Examples:
  tracker-storage ping -c tracker.yaml
  TRACKER_STORAGE__CONFIG__STARTUP_TIMEOUT=2s tracker-storage ping -c tracker.yaml",
    },
    HelpPage {
        command: "stats",
        details: "\
Rows:
  Downloads are summed over all swarms, including those without peers. The last rows are the maintenance settings of \
the file: how often `serve`, or another tracker with this file, collects garbage and takes statistics. The last and \
next runs of a running `serve` are on its admin page and in its metrics.",
        examples: "\
Examples:
  tracker-storage stats -c tracker.yaml
  tracker-storage stats -c tracker.yaml --peers
  tracker-storage stats -c tracker.yaml --json",
    },
    HelpPage {
        command: "gc",
        details: "\
What is removed:
  The peers whose last announce is older than `peer_lifetime`, as a tracker does every `gc_interval`.

When nothing is removed:
  If more than `gc_max_share` of all peers, and more than 20, are stale, none is removed and the exit code is 1: a wrong \
clock, a restored backup or an outage makes live peers look stale. --force removes them anyway.",
        examples: "\
Examples:
  tracker-storage gc -c tracker.yaml
  tracker-storage gc -c tracker.yaml --force --json",
    },
    HelpPage {
        command: "data",
        details: "\
Form of keys and values:
  Hexadecimal, or plain text with --text.

Storages that hold only data:
  Use --at for those of MoChi's hooks: --at prehooks.0.config.storage (not for list and contexts).",
        examples: "\
Examples:
  tracker-storage data contexts -c tracker.yaml
  tracker-storage data list -c tracker.yaml --context approved
  tracker-storage data put -c tracker.yaml --context tokens 616c696365 01
  tracker-storage data get -c tracker.yaml --context tokens --text alice",
    },
    HelpPage {
        command: "data contexts",
        details: "",
        examples: "\
Examples:
  tracker-storage data contexts -c tracker.yaml",
    },
    HelpPage {
        command: "data list",
        details: "",
        examples: "\
Examples:
  tracker-storage data list -c tracker.yaml --context approved
  tracker-storage data list -c tracker.yaml --context tokens --text",
    },
    HelpPage {
        command: "data get",
        details: "",
        examples: "\
Examples:
  tracker-storage data get -c tracker.yaml --context tokens --text alice
  tracker-storage data get -c tracker.yaml --context tokens 616c696365",
    },
    HelpPage {
        command: "data put",
        details: "",
        examples: "\
Examples:
  tracker-storage data put -c tracker.yaml --context tokens --text alice secret
  tracker-storage data put -c tracker.yaml --context tokens 616c696365 01",
    },
    HelpPage {
        command: "data delete",
        details: "",
        examples: "\
Examples:
  tracker-storage data delete -c tracker.yaml --context tokens --text alice bob
  tracker-storage data delete -c tracker.yaml --context tokens --yes 616c696365",
    },
    HelpPage {
        command: "swarm",
        details: "",
        examples: "\
Examples:
  tracker-storage swarm list -c tracker.yaml --sort seeders --limit 20
  tracker-storage swarm show -c tracker.yaml 0123456789abcdef0123456789abcdef01234567
  tracker-storage swarm remove -c tracker.yaml 0123456789abcdef0123456789abcdef01234567",
    },
    HelpPage {
        command: "swarm list",
        details: "\
What is listed:
  The swarms that have peers; with --sort downloads, the swarms with at least one completed download, with or without \
peers. Swarms with equal counts are sorted by info hash.

Cost:
  A storage that cannot list swarms is read page by page, all its peers (with --sort downloads, all its downloads), and \
each swarm found is scraped. --limit bounds the memory. `tracker-storage export` prints every swarm.",
        examples: "\
Examples:
  tracker-storage swarm list -c tracker.yaml
  tracker-storage swarm list -c tracker.yaml --sort downloads --limit 20 --json",
    },
    HelpPage {
        command: "swarm show",
        details: "",
        examples: "\
Examples:
  tracker-storage swarm show -c tracker.yaml 0123456789abcdef0123456789abcdef01234567
  tracker-storage swarm show -c tracker.yaml --json 0123456789abcdef0123456789abcdef01234567",
    },
    HelpPage {
        command: "swarm remove",
        details: "\
What is removed:
  All peers of the swarm, and its downloads if the storage can remove them. Clients that still have the torrent come \
back with their next announce.",
        examples: "\
Examples:
  tracker-storage swarm remove -c tracker.yaml 0123456789abcdef0123456789abcdef01234567
  tracker-storage swarm remove -c tracker.yaml --yes 0123456789abcdef0123456789abcdef01234567",
    },
    HelpPage {
        command: "bench",
        details: "\
Load:
  Every worker makes one call at a time. Half of the peers are seeders, half have IPv6 addresses. The sizes of the \
swarms of `tracker` follow Zipf's law: the second has half the peers of the largest, the third a third. A worker waits \
10 ms after a failed call. The exit code is 1 if all calls of a workload failed.

Safety:
  The run uses its own info hashes, which begin with the printed digits, and removes them at the end, also after Ctrl-C. \
It loads the storage like a busy tracker: do not run it on a storage that serves clients. No garbage is collected.

A day:
  `day` announces like the clients of a tracker in its day. It runs only if it is named. --peers is the number of \
clients in all --swarms together: by a power law a few swarms have thousands, most have one to five. Each client \
announces once in --announce-interval, always in the same shuffled order; they are loaded in the reverse of it. 90 % \
of the announces are regular, 4 % `started`, 2 % `completed`, 4 % `stopped`: a client stays for 25 announces, and is \
away for the interval after `stopped`. Half of the clients come back as the same peer. The others are new leechers \
that complete, and are replaced by new peers.

  Announces carry the times that they would have on a tracker: the last announce of a client is one interval ago, \
however fast the run is. None is in the future. Without --speed the run begins 24 hours before now; with --speed it \
ends now. Use --speed for storages that compare times with the clock.

  After the table come the announces made, and the processor time for 10,000 of them: of this process, which includes \
making the announces, and of the processes that --server-process names.

Trackers:
  --announce-url runs `tracker` against any tracker: every worker is a persistent connection (HTTP) or a socket (UDP). \
All peers announce `started` first, which takes a while, and `stopped` at the end; their address is the one that the \
tracker sees. The tracker keeps the downloads of the run's info hashes.

Bytes per peer:
  For storages within this process: how much its memory grows by 250,000 peers.",
        examples: "\
Examples:
  tracker-storage bench -c tracker.yaml
  tracker-storage bench -c tracker.yaml --workload tracker --concurrency 256 --json
  tracker-storage bench -c tracker.yaml --workload day --peers 1M --server-process postgres
  tracker-storage bench --announce-url udp://127.0.0.1:6969
  tracker-storage bench --announce-url http://127.0.0.1:6969/announce",
    },
    HelpPage {
        command: "completions",
        details: "\
Where to write it:
  bash        ~/.local/share/bash-completion/completions/tracker-storage
  zsh         a file named _tracker-storage in a directory of $fpath
  fish        ~/.config/fish/completions/tracker-storage.fish
  elvish      append it to ~/.config/elvish/rc.elv
  powershell  append it to the file named by $PROFILE",
        examples: "\
Examples:
  tracker-storage completions bash > ~/.local/share/bash-completion/completions/tracker-storage
  tracker-storage completions fish > ~/.config/fish/completions/tracker-storage.fish
  source <(tracker-storage completions bash)    # for this shell only",
    },
    HelpPage {
        command: "man",
        details: "\
Pages:
  One file for each command: tracker-storage.1, tracker-storage-check.1, tracker-storage-swarm-list.1, … Existing files \
are overwritten. DIR is created if it does not exist.",
        examples: "\
Examples:
  tracker-storage man | man -l -                    # read the main page
  tracker-storage man ~/.local/share/man/man1       # then: man tracker-storage-check",
    },
    HelpPage {
        command: "explain",
        details: "\
Where codes are found:
  At the end of the first line of an error, such as [TS-1004], and in the field `code` of JSON output. The first digit \
is the area: 1 configuration, 2 servers, 3 queries and tables, 4 operations, 5 migration and garbage collection, \
6 tracker and benchmark, 9 command line.",
        examples: "\
Examples:
  tracker-storage explain TS-1004
  tracker-storage explain --all > error-codes.md",
    },
];
