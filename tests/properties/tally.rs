//! What the cases were like: promises that are only ever held against trivial playbooks prove nothing.

use std::fmt;

use homelab::run::event::{Mark, Status, What};

use crate::common::Told;
use crate::printer::Printed;

/// How many cases there were of each kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub cases: usize,
    pub changed: usize,
    pub all_sure: usize,
    pub unknown_written: usize,
    pub deferred: usize,
    pub maybe: usize,
    pub fog: usize,
    pub failed: usize,
    pub fights: usize,
    pub resumed: usize,
    pub skipped: usize,
}

impl Tally {
    /// Counts a case by its plan and its run.
    pub fn count(&mut self, case: &Printed, planned: &Told, done: &Told) {
        let changes = planned.changes();
        let deferred = planned.statuses().values().any(|status| *status == Status::Deferred)
            || planned.messages().iter().any(|text| text.starts_with("deferred: "));
        let has = |mark: Mark| changes.iter().any(|change| change.mark == mark);
        self.cases += 1;
        self.changed += usize::from(!done.done().is_empty());
        self.all_sure += usize::from(!changes.is_empty() && !deferred && !has(Mark::Maybe) && !has(Mark::Fog));
        let unknown = changes.iter().any(|change| change.diff.iter().any(|field| field.unknown));
        self.unknown_written += usize::from(unknown);
        self.deferred += usize::from(deferred);
        self.maybe += usize::from(has(Mark::Maybe));
        self.fog += usize::from(has(Mark::Fog));
        self.failed += usize::from(done.result != "ok");
        self.fights += usize::from(case.has.fight);
    }

    /// Counts a run that went on after another.
    pub fn resumed(&mut self, told: &Told) {
        self.resumed += 1;
        let skipped = told.events.iter().any(
            |event| matches!(&event.what, What::StepFinished { reason: Some(reason), .. } if reason == "done before, resumed"),
        );
        self.skipped += usize::from(skipped);
    }

    /// These and others.
    pub fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        self.changed += other.changed;
        self.all_sure += other.all_sure;
        self.unknown_written += other.unknown_written;
        self.deferred += other.deferred;
        self.maybe += other.maybe;
        self.fog += other.fog;
        self.failed += other.failed;
        self.fights += other.fights;
        self.resumed += other.resumed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cases: {} changed something, {} of them all sure; {} wrote an unknown, {} deferred, {} with `?`, {} with `~`; \
             {} failed, {} fights; {} resumed, {} of them over finished steps",
            self.cases,
            self.changed,
            self.all_sure,
            self.unknown_written,
            self.deferred,
            self.maybe,
            self.fog,
            self.failed,
            self.fights,
            self.resumed,
            self.skipped
        )
    }
}
