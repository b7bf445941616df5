//! What a replay proves, by endpoint.

use std::collections::BTreeMap;

use super::endpoints::pattern;
use super::recording::Exchange;

/// What became of the exchanges with each endpoint.
#[derive(Default)]
pub(super) struct Tally(pub(super) BTreeMap<String, Counts>);

/// How many exchanges there were, and what became of them.
#[derive(Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) recorded: usize,
    pub(super) matching: usize,
    pub(super) differing: usize,
    pub(super) not_served: usize,
    pub(super) left_out: usize,
}

impl Tally {
    /// The counts of the endpoint that an exchange asks.
    pub(super) fn of(&mut self, exchange: &Exchange) -> &mut Counts {
        let request = &exchange.request;
        self.0.entry(format!("{} {}", pattern(&request.path), request.method)).or_default()
    }

    /// All endpoints together.
    pub(super) fn whole(&self) -> Counts {
        self.0.values().fold(Counts::default(), |whole, counts| Counts {
            recorded: whole.recorded + counts.recorded,
            matching: whole.matching + counts.matching,
            differing: whole.differing + counts.differing,
            not_served: whole.not_served + counts.not_served,
            left_out: whole.left_out + counts.left_out,
        })
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "recorded  matching  differing  not served  left out  endpoint")?;
        let whole = [("together".to_string(), self.whole())];
        for (endpoint, counts) in self.0.iter().chain(whole.iter().map(|(name, counts)| (name, counts))) {
            let Counts { recorded, matching, differing, not_served, left_out } = counts;
            writeln!(f, "{recorded:>8}  {matching:>8}  {differing:>9}  {not_served:>10}  {left_out:>8}  {endpoint}")?;
        }
        Ok(())
    }
}
