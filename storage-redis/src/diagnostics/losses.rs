//! What of the acknowledged writes is lost by which event.

use super::{Info, ServerSettings};

/// What that depends on, of one server.
pub(super) struct Losses<'a> {
    pub(super) info: &'a Info,
    /// `None` where they are not told.
    pub(super) settings: Option<&'a ServerSettings>,
    pub(super) wait_replicas: u32,
    pub(super) wait_for_peers: bool,
}

impl Losses<'_> {
    /// The events, and what each of them costs.
    pub(super) fn findings(&self) -> [(&'static str, String); 3] {
        [
            ("lost when it is killed", self.by_a_kill().into()),
            ("lost with the power", self.by_a_power_cut().into()),
            ("lost in a failover", self.by_a_failover()),
        ]
    }

    fn by_a_kill(&self) -> &'static str {
        if self.has_log() {
            return "nothing";
        }
        match self.setting("save") {
            Some("") => "everything",
            Some(_) => "what came after the last snapshot",
            None => "what came after the last snapshot, if there are snapshots",
        }
    }

    fn by_a_power_cut(&self) -> &'static str {
        match self.setting("appendfsync") {
            _ if !self.has_log() => self.by_a_kill(),
            Some("always") => "nothing",
            Some("everysec") => "the last second or two (`appendfsync everysec`)",
            Some("no") => "what the system had not written yet (`appendfsync no`)",
            _ => "it depends on `appendfsync`",
        }
    }

    fn by_a_failover(&self) -> String {
        let replicas = self.replicas();
        let wait = u64::from(self.wait_replicas);
        if replicas == 0 {
            return "there is no replica".into();
        }
        if wait == 0 {
            let refuses = self.setting("min-replicas-to-write").is_some_and(|number| number != "0");
            let rest = if refuses {
                "an old primary takes writes until `min-replicas-max-lag` has passed"
            } else {
                "set `wait_replicas` to wait for them"
            };
            return format!("what the replicas have not got yet; {rest}");
        }
        let kept = if self.wait_for_peers { "nothing" } else { "peers only" };
        if wait < replicas {
            return format!(
                "{kept}, unless the new primary is not one of those that `wait_replicas` ({wait} of {replicas}) waited for"
            );
        }
        kept.into()
    }

    /// Why nothing lasting is acknowledged, if that is so.
    pub(super) fn warning(&self, address: &str) -> Option<String> {
        let (replicas, wait) = (self.replicas(), self.wait_replicas);
        (replicas < u64::from(wait)).then(|| {
            format!(
                "{address}: `wait_replicas` is {wait}, and there are {replicas} replicas: no download and no data is \
                 acknowledged"
            )
        })
    }

    fn has_log(&self) -> bool {
        self.info.get("aof_enabled") == "1"
    }

    fn replicas(&self) -> u64 {
        self.info.number("connected_slaves")
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings?.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(info: &str, settings: &[(&str, &str)], wait_replicas: u32) -> [String; 3] {
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let losses = Losses {
            info: &Info::read(info),
            settings: Some(&settings),
            wait_replicas,
            wait_for_peers: false,
        };
        losses.findings().map(|(_, lost)| lost)
    }

    #[test]
    fn without_a_log_what_came_after_the_snapshot_is_lost() {
        let [kill, power, failover] = losses("aof_enabled:0", &[("save", "3600 1")], 0);
        assert_eq!((kill, failover.as_str()), (power, "there is no replica"));
        assert_eq!(losses("aof_enabled:0", &[("save", "")], 0)[0], "everything");
    }

    #[test]
    fn with_a_log_it_is_a_matter_of_writing_it_out() {
        let by_power = |fsync| {
            let [kill, power, _] = losses("aof_enabled:1", &[("appendfsync", fsync)], 0);
            assert_eq!(kill, "nothing");
            power
        };
        assert_eq!(by_power("always"), "nothing");
        assert!(by_power("everysec").contains("second"));
        assert!(by_power("no").contains("system"));
    }

    #[test]
    fn a_failover_costs_what_was_not_waited_for() {
        let by_failover = |replicas: u32, refuses, wait| {
            let info = format!("connected_slaves:{replicas}");
            let [_, _, lost] = losses(&info, &[("min-replicas-to-write", refuses)], wait);
            lost
        };
        assert!(by_failover(1, "0", 0).contains("`wait_replicas`"));
        assert!(by_failover(1, "1", 0).contains("`min-replicas-max-lag`"));
        assert_eq!(by_failover(1, "0", 1), "peers only");
        assert!(by_failover(2, "0", 1).contains("(1 of 2)"));
    }

    #[test]
    fn more_replicas_than_there_are_can_not_be_waited_for() {
        let info = Info::read("connected_slaves:1");
        let losses =
            |wait_replicas| Losses { info: &info, settings: None, wait_replicas, wait_for_peers: true };
        assert_eq!(losses(1).warning("a:1"), None);
        assert!(losses(2).warning("a:1").is_some());
    }
}
