//! A case: its name, what it needs, and what it may harm.

use futures::future::BoxFuture;

use super::{CaseResult, TestContext, Violation};
use crate::{Capability, MissingCapabilities, Operation};

/// Whether a rule binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A storage that breaks it is wrong.
    Must,
    /// A storage that breaks it is worse than it could be.
    Should,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The rule holds.
    Passed,
    /// The rule is broken.
    Failed(Violation),
    /// A SHOULD does not hold.
    Warned(Violation),
    /// The case did not run, or not to its end, for this reason.
    Skipped(String),
}

pub(super) type CaseFn = for<'a> fn(&'a TestContext) -> BoxFuture<'a, CaseResult>;

/// A test of one rule.
pub struct Case {
    rule: &'static str,
    title: &'static str,
    level: Level,
    needs: &'static [Capability],
    uses_swarms: bool,
    uses_data: bool,
    graduates: bool,
    collects: bool,
    raises_downloads: bool,
    runs_alone: bool,
    body: CaseFn,
}

impl Case {
    /// A case about a MUST; it uses swarms and no data.
    pub(super) const fn must(rule: &'static str, title: &'static str, body: CaseFn) -> Self {
        Self {
            rule,
            title,
            level: Level::Must,
            needs: &[],
            uses_swarms: true,
            uses_data: false,
            graduates: false,
            collects: false,
            raises_downloads: false,
            runs_alone: false,
            body,
        }
    }

    /// A case about a SHOULD.
    pub(super) const fn should(rule: &'static str, title: &'static str, body: CaseFn) -> Self {
        Self { level: Level::Should, ..Self::must(rule, title, body) }
    }

    /// It is skipped where one of these is lacking.
    pub(super) const fn needs(self, needs: &'static [Capability]) -> Self {
        Self { needs, ..self }
    }

    /// It uses data and no swarms.
    pub(super) const fn on_data(self) -> Self {
        Self { uses_swarms: false, uses_data: true, ..self }
    }

    /// It uses swarms and data.
    pub(super) const fn on_both(self) -> Self {
        Self { uses_swarms: true, uses_data: true, ..self }
    }

    /// It leaves nothing that would have to be removed.
    pub(super) const fn on_nothing(self) -> Self {
        Self { uses_swarms: false, uses_data: false, ..self }
    }

    /// It graduates leechers.
    pub(super) const fn graduates(self) -> Self {
        Self { graduates: true, raises_downloads: true, ..self }
    }

    /// It raises a swarm's downloads.
    pub(super) const fn raises_downloads(self) -> Self {
        Self { raises_downloads: true, ..self }
    }

    /// It collects garbage, and so runs while no other case does.
    pub(super) const fn collects(self) -> Self {
        Self { collects: true, runs_alone: true, ..self }
    }

    /// It counts all that is stored, and so runs while no other case does.
    pub(super) const fn alone(self) -> Self {
        Self { runs_alone: true, ..self }
    }

    /// The rule's name and what is shown about it: `P3 delete absent seeder`.
    pub fn name(&self) -> String {
        format!("{} {}", self.rule, self.title)
    }

    /// The rule: `P3`.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// Whether the rule binds.
    pub fn level(&self) -> Level {
        self.level
    }

    pub(super) fn runs_alone(&self) -> bool {
        self.runs_alone
    }

    pub(super) fn run<'a>(&self, test: &'a TestContext) -> BoxFuture<'a, CaseResult> {
        (self.body)(test)
    }

    /// Why it can't be decided on a storage that lacks this.
    pub(super) fn is_hindered_by(&self, lacking: &MissingCapabilities) -> Option<String> {
        let collecting = self.collects.then_some(Capability::GarbageCollection);
        self.needs.iter().copied().chain(collecting).find_map(|capability| {
            let reason = lacking.reason(capability)?;
            Some(format!("lacks `{capability}`: {reason}"))
        })
    }

    /// Why it would leave downloads behind on a storage that lacks this.
    pub(super) fn leaves_downloads(&self, lacking: &MissingCapabilities) -> Option<String> {
        let forget = Capability::ForgetDownloads;
        let reason = lacking.reason(forget)?;
        let raises = self.raises_downloads && lacking.has(Capability::Downloads);
        raises.then(|| {
            format!("would leave downloads behind on a storage in use, which lacks `{forget}`: {reason}")
        })
    }

    /// Whether the case, or cleaning up after it, runs this operation, so that it must not run on a
    /// storage in use where the operation touches more than it should.
    pub(super) fn runs(&self, operation: Operation) -> bool {
        match operation {
            Operation::DeletePeer | Operation::ForgetSwarm => self.uses_swarms,
            Operation::DeleteData => self.uses_data,
            Operation::GraduatePeers => self.graduates,
            Operation::CollectGarbage => self.collects,
            Operation::WritePeers => self.rule == "W1",
            _ => self.uses_swarms || self.uses_data,
        }
    }
}
