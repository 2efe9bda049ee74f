//! How clients are spread over swarms.

/// Of the peers that a swarm has beside its first, the n-th has about n^-0.7 times as many as the largest. Popularity
/// of torrents falls slower than by Zipf's law.
const EXPONENT: f64 = 0.7;

/// Spreads clients over swarms by a power law: a few swarms have thousands, most have one to five, none is empty.
/// The swarm is computed from the number of the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct PowerLaw {
    swarms: u64,
    /// The clients beside the first one of each swarm.
    others: f64,
    /// The integral of the law over all swarms, but for a constant factor.
    total: f64,
}

impl PowerLaw {
    /// At least one client for each swarm.
    pub(super) fn new(swarms: u64, clients: u64) -> Self {
        let others = clients.saturating_sub(swarms) as f64;
        Self { swarms, others, total: (swarms as f64 + 1.0).powf(1.0 - EXPONENT) - 1.0 }
    }

    /// The swarm of a client.
    pub(super) fn swarm_of(&self, client: u64) -> u64 {
        let Some(other) = client.checked_sub(self.swarms) else { return client };
        let share = (other as f64 + 0.5) / self.others;
        let rank = (1.0 + share * self.total).powf(1.0 / (1.0 - EXPONENT)) - 1.0;
        (rank as u64).min(self.swarms - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(swarms: u64, clients: u64) -> Vec<u64> {
        let law = PowerLaw::new(swarms, clients);
        let mut sizes = vec![0; usize::try_from(swarms).unwrap()];
        for client in 0..clients {
            sizes[usize::try_from(law.swarm_of(client)).unwrap()] += 1;
        }
        sizes
    }

    #[test]
    fn every_client_has_a_swarm_and_no_swarm_is_empty() {
        for (swarms, clients) in [(1, 1), (1, 50), (7, 7), (7, 8), (1_000, 3_000)] {
            let sizes = sizes(swarms, clients);
            assert_eq!(sizes.iter().sum::<u64>(), clients, "{swarms}");
            assert!(sizes.iter().all(|size| *size >= 1), "{swarms} {clients}");
        }
    }

    #[test]
    fn few_swarms_are_large_and_most_have_up_to_five() {
        let sizes = sizes(100_000, 500_000);
        assert!((2_500..3_500).contains(&sizes[0]), "{}", sizes[0]);
        let share = |of: std::ops::Range<u64>| sizes.iter().filter(|size| of.contains(size)).count();
        assert!((75_000..85_000).contains(&share(1..6)), "{}", share(1..6));
        assert!((2..20).contains(&share(1_000..u64::MAX)), "{}", share(1_000..u64::MAX));
        // But for rounding, every swarm is as large as the next or larger.
        assert!(sizes.windows(2).all(|pair| pair[0] + 1 >= pair[1]));
    }
}
