//! Makes a failing scenario small: fewer inputs, then fewer faults, then fewer partitions, as long as it still fails.

use super::mistakes::Mistake;
use super::run;
use super::scenario::Scenario;
use super::world::Machine;
use crate::identity::naive::Input;

/// The most runs that a shrinking takes.
const RUNS_MAX: u32 = 5_000;
/// With fewer inputs the same schedule means something else: so many others are tried, too.
const SCHEDULES: u64 = 12;

pub(super) struct Shrinking<'m> {
    machine: &'m mut Machine,
    mistake: Option<Mistake>,
    runs: u32,
}

impl Shrinking<'_> {
    /// The smallest scenario found that fails, and how it does.
    pub(super) fn of(machine: &mut Machine, scenario: &Scenario, mistake: Option<Mistake>) -> (Scenario, String) {
        let mut shrinking = Shrinking { machine, mistake, runs: 0 };
        let error = run(shrinking.machine, scenario, mistake).err();
        let mut best = (scenario.clone(), error.unwrap_or_else(|| "it does not fail again".to_owned()));
        loop {
            let before = best.0.clone();
            shrinking.fewer_inputs(&mut best);
            shrinking.smaller_inputs(&mut best);
            for fault in best.0.faults.clone() {
                let mut smaller = best.0.clone();
                smaller.faults.remove(&fault);
                shrinking.attempt(&mut best, &smaller);
            }
            for partitions in 1..best.0.partitions {
                let smaller = Scenario { partitions, ..best.0.clone() };
                if shrinking.attempt(&mut best, &smaller) {
                    break;
                }
            }
            if best.0 == before || shrinking.runs >= RUNS_MAX {
                return best;
            }
        }
    }

    /// Halves first, then smaller parts, down to single inputs.
    fn fewer_inputs(&mut self, best: &mut (Scenario, String)) {
        let mut size = best.0.inputs.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < best.0.inputs.len() {
                let mut smaller = best.0.clone();
                let end = (start + size).min(smaller.inputs.len());
                smaller.inputs.drain(start..end);
                if !self.attempt(best, &smaller) {
                    start += size;
                }
            }
            size /= 2;
        }
    }

    /// Records that say less.
    fn smaller_inputs(&mut self, best: &mut (Scenario, String)) {
        for place in 0..best.0.inputs.len() {
            let Input::Record(record) = &best.0.inputs[place] else { continue };
            for said in (0..record.facts.len() + record.claims.len()).rev() {
                let mut smaller = best.0.clone();
                if let Input::Record(record) = &mut smaller.inputs[place] {
                    let facts = record.facts.len();
                    if said < facts {
                        record.facts.remove(said);
                    } else {
                        record.claims.remove(said - facts);
                    }
                }
                self.attempt(best, &smaller);
            }
        }
    }

    fn attempt(&mut self, best: &mut (Scenario, String), smaller: &Scenario) -> bool {
        for schedule in std::iter::once(smaller.schedule).chain(0..SCHEDULES) {
            if self.runs >= RUNS_MAX {
                return false;
            }
            self.runs += 1;
            let tried = Scenario { schedule, ..smaller.clone() };
            if let Err(error) = run(self.machine, &tried, self.mistake)
                && rule(&error) == rule(&best.1)
            {
                *best = (tried, error);
                return true;
            }
        }
        false
    }
}

/// Which rule is broken: what is made small must still break the same.
fn rule(error: &str) -> &str {
    error.split(':').next().unwrap_or_default()
}
