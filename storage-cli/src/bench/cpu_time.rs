//! Processor time of this process and of servers on this machine.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The unit of times in `/proc`, in milliseconds: the same on all processors that Rust supports.
const TICK_MS: u64 = 10;
/// The kernel cuts off longer names of processes.
const MAX_NAME: usize = 15;

/// Processor time, of the user and of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CpuTime {
    /// Of this process; `None` if it is not known.
    pub(super) own: Option<Duration>,
    /// Of the servers; `None` if it is not known.
    pub(super) servers: Option<Duration>,
}

impl CpuTime {
    /// The time since they began of this process and of all processes with these names.
    pub(super) fn read(servers: &[String]) -> Self {
        let micros = |usage: Usage| (usage.user_time() + usage.system_time()).num_microseconds();
        let own = getrusage(UsageWho::RUSAGE_SELF).ok().map(micros);
        let own = own.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros);
        let processes = if servers.is_empty() { None } else { processes() };
        let times = processes.map(|all| {
            let named = all.iter().filter(|process| servers.iter().any(|name| process.is_named(name)));
            named.map(|process| process.time).sum()
        });
        Self { own, servers: times }
    }

    /// The time that passed since.
    pub(super) fn since(self, before: Self) -> Self {
        let passed = |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Self { own: passed(self.own, before.own), servers: passed(self.servers, before.servers) }
    }
}

/// Those of the names that no process has; none if the processes are not known.
pub(crate) fn missing_processes(names: &[String]) -> Vec<&str> {
    let Some(processes) = processes() else { return Vec::new() };
    let is_missing = |name: &&String| !processes.iter().any(|process| process.is_named(name));
    names.iter().filter(is_missing).map(String::as_str).collect()
}

/// A process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    name: String,
    /// With the time of its children that have ended, as backends of PostgreSQL do: their time is not lost then.
    time: Duration,
}

impl Process {
    fn is_named(&self, name: &str) -> bool {
        self.name.as_bytes() == &name.as_bytes()[..name.len().min(MAX_NAME)]
    }

    /// From `/proc/PID/stat`.
    fn parse(stat: &str) -> Option<Self> {
        // A name may have parentheses and spaces in it.
        let (before, fields) = stat.rsplit_once(") ")?;
        let (_, name) = before.split_once('(')?;
        // Of the whole process utime, stime, cutime and cstime, fields 14 to 17; the state is field 3.
        let mut times = fields.split(' ').skip(11).map_while(|field| field.parse::<u64>().ok());
        let ticks = times.next()? + times.next()? + times.next()? + times.next()?;
        Some(Self { name: name.to_owned(), time: Duration::from_millis(TICK_MS.saturating_mul(ticks)) })
    }
}

/// All processes; `None` where there is no `/proc` as on Linux.
fn processes() -> Option<Vec<Process>> {
    Process::parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let numbered =
        entries.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    // A process may end before its times are read.
    let stats = numbered.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    Some(stats.filter_map(|stat| Process::parse(&stat)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_process_are_read_with_those_of_its_ended_children() {
        let stat = "812 (a (b) c) S 1 812 812 0 -1 4194304 5000 0 9 0 150 50 20 5 20 0 1 0 100 1000 1 18446";
        let process = Process::parse(stat).unwrap();
        assert_eq!(process, Process { name: "a (b) c".to_owned(), time: Duration::from_millis(2_250) });
        assert_eq!(Process::parse("812 (a) S 1"), None);
    }

    #[test]
    fn long_names_are_known_by_their_first_15_bytes() {
        let process = Process { name: "a-server-with-a".to_owned(), time: Duration::ZERO };
        assert!(process.is_named("a-server-with-a-long-name"));
        assert!(!process.is_named("a-server"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processes_are_found_by_name() {
        let names = ["no such process".to_owned()];
        assert_eq!(missing_processes(&names), ["no such process"]);
        let name = fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
        let before = CpuTime::read(std::slice::from_ref(&name));
        assert!(before.own.is_some() && before.servers.is_some(), "{before:?}");
        assert_eq!(CpuTime::read(&[]).servers, None);
        assert_eq!(missing_processes(&[name]), [] as [&str; 0]);
    }
}
