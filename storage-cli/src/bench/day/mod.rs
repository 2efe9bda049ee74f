//! The workload `day`: the clients of a tracker, each of which announces once in an interval.

mod permutation;
mod power_law;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use storage_core::{Announce, AnnounceEvent, PeerRecord, Role, Timestamp};

use super::dataset::{Dataset, scatter};
use super::workers::NUM_WANT;
use permutation::Permutation;
use power_law::PowerLaw;

pub(super) use worker::measure;

/// Announces of a visit: the first is `started`, the last `stopped`.
const VISIT: u64 = 25;
/// How long before now the announces begin if they are made as fast as possible.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What only this workload has.
#[derive(Debug, Clone)]
pub(crate) struct DaySettings {
    /// Every client announces once in this time.
    pub(crate) interval: Duration,
    /// How much faster than real time; `None`: as fast as possible.
    pub(crate) speed: Option<f64>,
    /// Names of processes whose processor time counts as that of the server.
    pub(crate) server_processes: Vec<String>,
}

/// All clients: what each announces in which interval is computed from its number, so they take no memory here.
///
/// Clients visit their swarm for 25 announces and are away for the interval after `stopped`. Half of them come back
/// as the same peer in the same role. The other half come as leechers, complete during the visit, and are replaced by
/// new peers.
#[derive(Debug)]
pub(super) struct Day {
    dataset: Arc<Dataset>,
    clients: u64,
    swarm_sizes: PowerLaw,
    order: Permutation,
    settings: DaySettings,
    /// How long before now the announces begin, so that none is in the future.
    lead: Duration,
}

/// What a client announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClientState {
    swarm: u64,
    /// The number of its peer.
    number: u64,
    role: Role,
    event: AnnounceEvent,
}

impl Day {
    /// The clients of a run of this length. The dataset gives the names of its swarms and peers.
    pub(super) fn new(dataset: &Arc<Dataset>, clients: u64, length: Duration, settings: DaySettings) -> Self {
        let swarm_sizes = PowerLaw::new(dataset.swarms(), clients);
        let lead = settings.speed.map_or(DAY, |speed| length.mul_f64((speed - 1.0).max(0.0)));
        let (dataset, order) = (Arc::clone(dataset), Permutation::new(clients));
        Self { dataset, clients, swarm_sizes, order, settings, lead }
    }

    pub(super) fn clients(&self) -> u64 {
        self.clients
    }

    /// The peer that the announce `turn` of the interval before the run left, if it is there. The last one comes
    /// first: loading takes a while, and this way no peer is older than an interval when the announces begin.
    pub(super) fn record(&self, turn: u64) -> Option<PeerRecord> {
        let position = self.clients - 1 - turn;
        let ClientState { swarm, number, role, event } = self.state(position);
        let age = self.lead + self.settings.interval - self.after(position);
        (event != AnnounceEvent::Stopped).then(|| PeerRecord {
            info_hash: self.dataset.info_hash(swarm),
            peer: self.dataset.peer(number),
            role,
            announced: Timestamp::now().before(age),
        })
    }

    /// An announce of the run.
    fn announce(&self, index: u64, announced: Timestamp) -> Announce {
        let ClientState { swarm, number, role, event } = self.state(self.clients + index);
        let peer = self.dataset.peer(number);
        Announce::new(self.dataset.info_hash(swarm), [peer])
            .with_role(role)
            .with_event(event)
            .with_num_want(NUM_WANT)
            .with_families(peer.family().then_other())
            .at(announced)
    }

    /// The time from the first announce to this one.
    fn after(&self, index: u64) -> Duration {
        let nanoseconds = u128::from(index) * self.settings.interval.as_nanos() / u128::from(self.clients);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Announces a second in real time.
    fn rate(&self) -> f64 {
        self.clients as f64 / self.settings.interval.as_secs_f64()
    }

    /// What is announced. The first interval is the one before the run.
    fn state(&self, index: u64) -> ClientState {
        let (interval, position) = (index / self.clients, index % self.clients);
        let client = self.order.get(position);
        let swarm = self.swarm_sizes.swarm_of(client);
        let bits = scatter(client);
        let turn = interval + (bits >> 32) % VISIT;
        let (visit, step) = (turn / VISIT, turn % VISIT);
        let comes_back = bits.is_multiple_of(2);
        let completed = 1 + scatter(bits ^ visit) % (VISIT - 2);
        let role = if comes_back { (bits / 2).is_multiple_of(2) } else { step >= completed };
        let number = if comes_back { client } else { client + visit * self.clients };
        let event = match step {
            0 => AnnounceEvent::Started,
            step if step == VISIT - 1 => AnnounceEvent::Stopped,
            step if step == completed && !comes_back => AnnounceEvent::Completed,
            _ => AnnounceEvent::None,
        };
        ClientState { swarm, number, role: Role::from_is_seeder(role), event }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1800);

    fn day(swarms: u64, clients: u64, speed: Option<f64>) -> Day {
        let settings = DaySettings { interval: INTERVAL, speed, server_processes: Vec::new() };
        Day::new(&Arc::new(Dataset::even(swarms, 0)), clients, Duration::from_secs(10), settings)
    }

    #[test]
    fn shares_of_events_and_roles_are_those_promised() {
        let day = day(2_000, 10_000, None);
        for interval in [0, 7] {
            let states = (interval * 10_000..(interval + 1) * 10_000).map(|index| day.state(index));
            let states: Vec<_> = states.collect();
            let share = |event| states.iter().filter(|state| state.event == event).count();
            assert!((330..470).contains(&share(AnnounceEvent::Started)), "{interval}");
            assert!((330..470).contains(&share(AnnounceEvent::Stopped)), "{interval}");
            assert!((150..250).contains(&share(AnnounceEvent::Completed)), "{interval}");
            let seeders = states.iter().filter(|state| state.role.is_seeder()).count();
            assert!((4_700..5_300).contains(&seeders), "{seeders}");
        }
    }

    #[test]
    fn every_client_keeps_its_turn_and_its_events_follow_from_each_other() {
        let day = day(200, 1_000, None);
        let mut present = HashMap::new();
        let mut known = HashSet::new();
        for position in 0..1_000 {
            for interval in 0..60 {
                let state = day.state(interval * 1_000 + position);
                let ClientState { swarm, number, role, event } = state;
                match event {
                    AnnounceEvent::Started => assert!(present.insert(position, state).is_none(), "{state:?}"),
                    _ if interval == 0 => drop(present.insert(position, state)),
                    AnnounceEvent::Stopped => {
                        assert_eq!(present.remove(&position).unwrap().number, number);
                    }
                    _ => {
                        let before = present.insert(position, state).unwrap();
                        assert_eq!((before.swarm, before.number), (swarm, number));
                        let was_completed = before.role != role;
                        assert_eq!(was_completed, event == AnnounceEvent::Completed, "{state:?}");
                    }
                }
                if interval == 0 && event == AnnounceEvent::Stopped {
                    present.remove(&position);
                }
                known.insert((position, number));
            }
        }
        let numbers: HashSet<_> = known.iter().map(|(_, number)| number).collect();
        assert_eq!(numbers.len(), known.len(), "two clients have the same peer");
    }

    #[test]
    fn the_run_begins_as_long_before_now_as_it_is_faster() {
        assert_eq!(day(1, 10, Some(1.0)).lead, Duration::ZERO);
        assert_eq!(day(1, 10, Some(0.5)).lead, Duration::ZERO);
        assert_eq!(day(1, 10, Some(4.0)).lead, Duration::from_secs(30));
        let day = day(1, 10, None);
        assert_eq!((day.after(5), day.after(25)), (INTERVAL / 2, INTERVAL * 5 / 2));
        let now = Timestamp::now();
        let ages = (0..10).filter_map(|turn| day.record(turn)).map(|record| now.since(record.announced));
        assert!(ages.into_iter().all(|age| age <= day.lead + INTERVAL && age > day.lead));
    }
}
