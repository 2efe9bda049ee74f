//! The settings of `serve`, by MoChi's names, at the top level of the configuration.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use hyper::header::HeaderName;
use ipnet::IpNet;
use storage_core::config::{ConfigDiagnostics, ConfigFile, ProblemKind, Section, Value, is_word};
use storage_core::{AnnounceAnswer, Context, Schedule};

use super::approval::Approval;
use super::http::{AddressRules, Route, Routes};
use super::rate_limit::Rate;
use crate::exit_code::{CodedMessage, CommandError};

/// The connections of clients that may be open at once, where the system allows so many.
pub(super) const CONNECTIONS: usize = 10_000;

/// Everything that `serve` reads beside the storage.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ServeSettings {
    pub(crate) limits: ClientLimits,
    /// Where the address of a client is found.
    pub(crate) addresses: AddressRules,
    /// The paths of announces and scrapes over HTTP.
    pub(crate) routes: Routes,
    /// Which torrents are served; all, if absent.
    pub(crate) approval: Option<Approval>,
}

/// The announce interval after an incomplete answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Intervals and limits of a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientLimits {
    /// How long clients shall wait between two announces.
    pub(crate) announce_interval: Duration,
    /// How long they must wait.
    pub(crate) min_announce_interval: Duration,
    /// The most peers in an answer.
    pub(crate) max_numwant: usize,
    /// How many peers to return to a client that does not say.
    pub(crate) default_numwant: usize,
    /// The most swarms of a scrape.
    pub(crate) max_scrape_infohashes: usize,
    /// The most bytes of an answer over UDP.
    pub(crate) max_udp_answer: usize,
    /// How many announces and scrapes an address, or a network of IPv6, may send.
    pub(crate) rate: Rate,
    /// The connections of one address, or of one network of IPv6, over HTTP.
    pub(crate) max_connections_per_address: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            announce_interval: Duration::from_secs(30 * 60),
            min_announce_interval: Duration::from_secs(15 * 60),
            max_numwant: 100,
            default_numwant: 50,
            max_scrape_infohashes: 50,
            // What every path of IPv6 carries (1,280 bytes) less the headers.
            max_udp_answer: 1_232,
            rate: Rate::default(),
            max_connections_per_address: 100,
        }
    }
}

impl ClientLimits {
    /// How many peers to return.
    pub(crate) fn num_want(&self, wanted: Option<usize>) -> usize {
        wanted.unwrap_or(self.default_numwant).min(self.max_numwant)
    }

    /// The announce interval and the minimum interval after this answer; short if the answer is incomplete.
    pub(crate) fn intervals(&self, answer: &AnnounceAnswer) -> (Duration, Duration) {
        let longest = if answer.failure.is_some() { RETRY_INTERVAL } else { Duration::MAX };
        (self.announce_interval.min(longest), self.min_announce_interval.min(longest))
    }

    fn read(section: &mut Section) -> Self {
        let mut limits = Self::default();
        limits.announce_interval = section.positive_duration("announce_interval", limits.announce_interval);
        let shortest = limits.min_announce_interval.min(limits.announce_interval);
        limits.min_announce_interval = section.positive_duration("min_announce_interval", shortest);
        let mut set = |limit: &mut usize, key, range| *limit = section.number(key, range).unwrap_or(*limit);
        set(&mut limits.max_numwant, "max_numwant", 1..=2_000);
        set(&mut limits.default_numwant, "default_numwant", 1..=2_000);
        set(&mut limits.max_scrape_infohashes, "max_scrape_infohashes", 1..=1_000);
        // No less than the longest scrape, no more than a datagram holds.
        set(&mut limits.max_udp_answer, "max_udp_answer", 1_000..=65_507);
        set(&mut limits.max_connections_per_address, "max_connections_per_address", 1..=CONNECTIONS);
        let Rate { per_second, burst } = &mut limits.rate;
        *per_second = section.number("max_requests_per_address", 0..=1_000_000).unwrap_or(*per_second);
        *burst = section.number("max_burst_per_address", 1..=1_000_000).unwrap_or(*burst);
        if limits.min_announce_interval > limits.announce_interval {
            section.problem("min_announce_interval", "is longer than `announce_interval`");
        }
        limits
    }
}

/// Hooks that MoChi would run.
const HOOKS: [&str; 2] = ["prehooks", "posthooks"];

/// Keys of other programs in the same file.
const OF_OTHERS: [&str; 2] = ["storage", "metrics_addr"];

impl ServeSettings {
    /// A warning if peers become stale before they are late: clients announce a little after their interval, and
    /// collected peers disappear until then.
    pub(crate) fn lifetime_warning(&self, schedule: &Schedule) -> Option<String> {
        let interval = self.limits.announce_interval;
        let shortest = interval + interval / 30;
        (schedule.enabled && schedule.peer_lifetime < shortest).then(|| {
            format!(
                "`peer_lifetime` of {:?} is short for an `announce_interval` of {interval:?}: a client that announces a \
                 little late disappears for a moment; set {shortest:?} or more",
                schedule.peer_lifetime
            )
        })
    }

    /// Reads the settings, with warnings.
    ///
    /// # Errors
    /// Every problem, a line each.
    pub(crate) fn read(config: &ConfigFile, ignore_hooks: bool) -> Result<(Self, Vec<String>), CommandError> {
        let mut section = config.section();
        let settings = Self::read_section(&mut section, ignore_hooks);
        // Keys that resemble none are other programs' own.
        let ConfigDiagnostics { mut problems, probable_typos, warnings, .. } = section.finish();
        problems.extend(probable_typos);
        let file = config.name();
        if !problems.is_empty() {
            let messages = problems.iter().map(|problem| CodedMessage::of_problem(file, problem));
            return Err(CommandError::findings(messages));
        }
        Ok((settings, lines(file, warnings)))
    }

    /// Takes the settings out of the top level of a file; what is wrong is noted there.
    pub(crate) fn read_section(section: &mut Section, ignore_hooks: bool) -> Self {
        let hooks = HOOKS.map(|key| (key, section.take(key)));
        if section.take("frontends").is_some() {
            section.warn(
                "frontends",
                "is ignored: set addresses with --http and --udp, and options such as `max_numwant` and \
                 `announce_routes` at the top level",
            );
        }
        let settings = Self {
            limits: ClientLimits::read(section),
            addresses: read_addresses(section),
            routes: read_routes(section),
            approval: read_approval(section),
        };
        for (key, hooks) in hooks {
            let names = hook_names(hooks);
            if names.is_empty() {
                continue;
            }
            let what = format!("{} would not be run", names.join(", "));
            if ignore_hooks {
                section.warn(key, what);
            } else {
                section.problem_of_kind(
                    ProblemKind::Unsupported,
                    key,
                    format!(
                        "{what}, so the tracker might serve clients that it should refuse: remove them (for a \
                         list of torrents see `approval`), or serve without them with --ignore-hooks"
                    ),
                );
            }
        }
        let misplaced = keys_inside_storage(section);
        for (key, of_storage) in misplaced {
            section.problem(&of_storage, format!("belongs to the top level of the file, as `{key}`"));
        }
        for key in OF_OTHERS {
            section.take(key);
        }
        settings
    }
}

/// The settings read so far that are in the configuration of the storage, where nothing reads them: a tracker would
/// serve without what they ask for.
fn keys_inside_storage(section: &Section) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some(Value::Section(storage)) = section.peek("storage") else { return found };
    for (name, value) in storage {
        let (true, Value::Section(config)) = (name.eq_ignore_ascii_case("config"), value) else { continue };
        for (name, _) in config {
            let setting = section.known_keys().find(|known| name.eq_ignore_ascii_case(known));
            found.extend(setting.map(|setting| (setting.to_owned(), format!("storage.config.{name}"))));
        }
    }
    found
}

fn lines(file: &Path, findings: Vec<impl fmt::Display>) -> Vec<String> {
    findings.iter().map(|finding| format!("{}: {finding}", file.display())).collect()
}

fn read_addresses(section: &mut Section) -> AddressRules {
    let mut rules = AddressRules {
        allow_ip_spoofing: section.boolean("allow_ip_spoofing").unwrap_or(false),
        ..AddressRules::default()
    };
    for text in section.list("trusted_proxies").unwrap_or_default() {
        match network(&text) {
            Some(network) => rules.trusted_proxies.push(network),
            None => section.problem(
                "trusted_proxies",
                "expected addresses or networks such as 192.0.2.1 or 2001:db8::/32",
            ),
        }
    }
    let Some(header) = section.text("real_ip_header").filter(|header| !header.is_empty()) else {
        return rules;
    };
    if rules.trusted_proxies.is_empty() {
        section.problem(
            "real_ip_header",
            "needs `trusted_proxies`: the addresses or networks of the proxies that set the header",
        );
    }
    match HeaderName::try_from(header) {
        Ok(name) => rules.real_ip_header = Some(name),
        Err(_) => section.problem("real_ip_header", "expected the name of a header such as X-Real-IP"),
    }
    rules
}

fn read_routes(section: &mut Section) -> Routes {
    let mut read = |key| {
        let routes = section.list(key).filter(|routes| !routes.is_empty());
        routes.map(|routes| routes.iter().map(|route| Route::new(route)).collect::<Vec<_>>())
    };
    let (announce, scrape) = (read("announce_routes"), read("scrape_routes"));
    let routes = Routes::new(announce.unwrap_or_else(|| Routes::default().announce), scrape);
    if routes.scrape.iter().any(|route| routes.announce.contains(route)) {
        section.problem("scrape_routes", "contains a route of `announce_routes`");
    }
    routes
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn read_approval(section: &mut Section) -> Option<Approval> {
    if !section.has("approval") {
        // A name that resembles it is an error all the same.
        section.take("approval");
        return None;
    }
    section.within("approval", |section| {
        let name = section.required_text("context");
        let inverted = section.boolean("inverted").unwrap_or(false);
        match Context::new(name) {
            Ok(context) => Some(Approval { context, inverted }),
            Err(error) => {
                section.problem("context", error.to_string());
                None
            }
        }
    })
}

/// The names of hooks, as MoChi's configuration has them.
fn hook_names(hooks: Option<Value>) -> Vec<String> {
    let name = |hook: Value| {
        let Value::Section(entries) = hook else { return "a hook".to_owned() };
        let name = entries.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("name"));
        match name {
            Some((_, Value::Text(name))) if name.split(' ').all(is_word) => format!("`{name}`"),
            _ => "a hook without a name".to_owned(),
        }
    };
    match hooks {
        None => Vec::new(),
        Some(Value::List(hooks)) => hooks.into_iter().map(name).collect(),
        Some(other) => vec![name(other)],
    }
}
