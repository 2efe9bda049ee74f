//! Storages that break one rule at a time: the suite must notice each of them.

mod storage;

use std::sync::Arc;

use async_trait::async_trait;
use libtest_mimic::{Failed, Trial};
use storage_core::conformance::{Outcome, Provider, Suite};
use storage_core::{OpenError, Storage};
use storage_memory::{MemoryConfig, MemoryStorage};

use crate::runtime::block_on;
pub(crate) use storage::Broken;

macro_rules! flaws {
    ($($flaw:ident breaks $rule:literal: $title:literal,)*) => {
        /// What is wrong with a storage.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Flaw {
            $($flaw,)*
        }

        impl Flaw {
            const ALL: &[Self] = &[$(Self::$flaw,)*];

            /// The rule that it breaks.
            fn rule(self) -> &'static str {
                match self {
                    $(Self::$flaw => $rule,)*
                }
            }

            /// What the storage does.
            fn title(self) -> &'static str {
                match self {
                    $(Self::$flaw => $title,)*
                }
            }
        }
    };
}

flaws! {
    PutKeepsTime breaks "P1": "put leaves the time of a known peer",
    PutByAnotherClock breaks "P1": "put goes by another clock",
    PutRoundsTime breaks "P1": "put keeps whole seconds",
    PutKeepsRole breaks "P2": "put leaves the role of a known peer",
    MoveInTwoSteps breaks "P2": "a peer that moves is in neither role for a while",
    DeleteAbsentSucceeds breaks "P3": "delete of an absent peer succeeds",
    DeleteInAnyRole breaks "P3": "delete does not look at the role",
    RemoveSeedersOnly breaks "P3": "remove leaves leechers",
    RemoveAbsentFails breaks "P3": "remove of an absent peer fails",
    GraduateTakesNeighbours breaks "P4": "graduate takes every peer at the address",
    GraduateKeepsTime breaks "P4": "graduate leaves the time",
    GraduateUncounted breaks "P4": "graduate counts no download",
    GraduateCountsSeeders breaks "P4": "graduate counts a download for a seeder",
    GraduateLeavesSeeders breaks "P4": "graduate does nothing to a seeder",
    GraduateForOneAddress breaks "P4": "graduate looks at one address of a client",
    GraduateEachAddress breaks "P4": "graduate counts a download for each address",
    GraduateAlwaysADownload breaks "P4": "graduate says every time that it was a download",
    GraduateNeedsLeecher breaks "P4": "graduate ignores a peer that is no leecher",
    AnnounceSeedersToSeeders breaks "P5": "announce gives a seeder other seeders",
    AnnounceOneTooMany breaks "P5": "announce gives one peer more than asked for",
    AnnounceTwice breaks "P5": "announce gives a peer twice",
    AnnounceBothFamilies breaks "P5": "announce gives peers of the other family",
    AnnounceOneself breaks "P5": "announce does not leave out the peer that asks",
    AnnounceLeechersFirst breaks "P5": "announce gives leechers before seeders",
    AnnounceNothingFails breaks "P5": "announce without peers is not found",
    AnnounceAlwaysTheSame breaks "P6": "announce gives the same peers every time",
    ScrapeOneFamily breaks "P7": "scrape leaves out IPv6",
    ScrapeUnknownFails breaks "P7": "scrape of an unknown swarm is an error",
    DownloadsDieWithPeers breaks "P7": "downloads are gone with the last peer",
    ScrapesInAnyOrder breaks "P7": "several swarms are scraped in another order",
    WholeAnnounceCountsFirst breaks "A1": "a whole announce counts before it writes",
    WholeAnnounceOfOneself breaks "A1": "a whole announce returns the client",
    WholeAnnounceStopsInOneRole breaks "A1": "a client that stopped stays in the other role",
    WholeAnnounceCountsAddresses breaks "A1": "each address of a client is a download",
    WholeAnnounceWithoutCounts breaks "A1": "a whole announce leaves the counts out",
    WholeAnnounceHidesDownloads breaks "A1": "a whole announce never says that it was a download",
    AnnouncesTogetherMixed breaks "A1": "announces made together have the answers of others",
    WholeAnnounceOneFamily breaks "A1": "a whole announce looks at one family",
    EmptyValueIsAbsent breaks "D1": "an empty value is absent",
    KeysInAnyCase breaks "D1": "keys are compared without regard to case",
    PutDataKeeps breaks "D2": "put of known data does nothing",
    FirstOfTwiceWins breaks "D2": "of a key given twice the first wins",
    ContextsAreOne breaks "D2": "all contexts are one",
    ContainsBackwards breaks "D2": "contains answers in another order",
    DeleteDataNeedsAll breaks "D2": "delete of many stops at one that is absent",
    GarbageBeforeCutoff breaks "U1": "garbage at the cutoff stays",
    GarbageSeedersOnly breaks "U1": "garbage collection leaves leechers",
    GarbageTakesAll breaks "U1": "garbage collection takes fresh peers",
    GarbageMiscounted breaks "U1": "garbage collection miscounts",
    GarbageOverTheLimit breaks "U1a": "garbage collection knows no limit",
    GarbageUpToTheLimit breaks "U1a": "garbage collection goes up to the limit",
    GarbageBelowTheLimit breaks "U1a": "garbage collection leaves as many as are allowed",
    StatisticsCountPeers breaks "U2": "statistics count a swarm once for each role",
    ListInOneOrder breaks "U4": "swarms are listed in the order of info hashes only",
    ListSkips breaks "U4": "a page of a list leaves out its last swarm",
    ListWithoutDownloads breaks "U4": "listed swarms have no downloads",
    ExportForgetsLeechers breaks "T1": "export leaves out leechers",
    ImportOverwrites breaks "T1": "import of an older peer overwrites",
    ImportLowersDownloads breaks "T1": "import of fewer downloads overwrites",
    ImportReplacesData breaks "T1": "import of known data overwrites",
    WritePutsOlder breaks "W1": "an older put overwrites",
    WriteKeepsLeecher breaks "W1": "at equal times a leecher stays",
    WriteTouchDoesNothing breaks "W1": "a touch changes nothing",
    WriteTouchInserts breaks "W1": "a touch inserts",
    WriteTouchAges breaks "W1": "an older touch sets the time back",
    WriteDeletesLeechersOnly breaks "W1": "a deletion leaves seeders",
    WriteDeletesNewer breaks "W1": "a deletion removes a peer that announced later",
    WriteGraduatesTwice breaks "W1": "a graduation of a seeder is a download",
    WriteGraduatesOlder breaks "W1": "a graduation of a peer that announced later is a download",
    WriteTouchPutsBack breaks "W1": "a touch puts back what was deleted meanwhile",
    WriteResultsBackwards breaks "W1": "results come in another order",
    WriteInTheOrderGiven breaks "W1": "writes of one peer are made in the order given",
    ReadOneFamily breaks "R1": "a swarm is read without IPv6",
    ReadTimesAreNow breaks "R1": "peers are read with the time of the reading",
    ReadIsAlwaysComplete breaks "R1": "a part of a swarm is said to be all of it",
    ReadWithoutLeechers breaks "R1": "a sample has no leechers",
    FindForgetsLeechers breaks "R1": "leechers are not found",
    ReadTooMany breaks "R1": "a sample has more than the limit",
    ReadInAnyOrder breaks "R1": "swarms are read in another order",
    OpenAfterClose breaks "L1": "calls succeed after close",
}

/// A test for each flaw.
pub fn tests() -> Vec<Trial> {
    let test = |flaw: Flaw| {
        let name = format!("broken/{} {}", flaw.rule(), flaw.title());
        Trial::test(name, move || block_on(is_noticed(flaw)))
    };
    Flaw::ALL.iter().copied().map(test).collect()
}

/// At least one of the cases of the rule must fail.
async fn is_noticed(flaw: Flaw) -> Result<(), Failed> {
    let suite = Suite::new(Arc::new(OpensBroken(flaw)));
    let mut passed = Vec::new();
    for case in Suite::cases().iter().filter(|case| case.rule() == flaw.rule()) {
        match suite.run(case).await {
            Outcome::Failed(_) | Outcome::Warned(_) => return Ok(()),
            Outcome::Passed | Outcome::Skipped(_) => passed.push(case.name()),
        }
    }
    Err(format!("not noticed by any of {passed:?}").into())
}

struct OpensBroken(Flaw);

#[async_trait]
impl Provider for OpensBroken {
    async fn open(&self) -> Result<Arc<dyn Storage>, OpenError> {
        let sound = Arc::new(MemoryStorage::new(MemoryConfig::default()));
        Ok(Arc::new(Broken::new(sound, self.0)))
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn is_private(&self) -> bool {
        true
    }
}
