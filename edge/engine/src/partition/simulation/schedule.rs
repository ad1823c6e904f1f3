//! What happens when: chance chooses, step by step, among what can happen, until nothing is left to do.

use super::Check;
use super::disk::Trouble;
use super::scenario::{Fault, Scenario};
use super::world::{Fate, Flight, World};
use crate::identity::naive::Input;

/// After so many steps something goes round in circles.
const STEPS_MAX: u32 = 3_000;
/// An event that is ahead of its cluster goes to and fro until that comes, and each answer that is lost makes a copy: with so
/// many on their way, it does not come.
const MESSAGES_MAX: usize = 5_000;

/// The most statements that a fault of the disk waits for: more than most calls run.
const STATEMENTS: u32 = 60;

impl World<'_> {
    /// Sends all inputs and lets everything come to rest. Answers the number of steps.
    pub(super) fn run(&mut self, scenario: &Scenario) -> Result<u32, String> {
        let mut rest = scenario.inputs.as_slice();
        for step in 0..STEPS_MAX {
            // Mostly moments; now and then more than a day.
            self.now += if self.random.one_in(50) { 100_000_000 } else { i64::from(self.random.below(50)) };
            if !self.step(&mut rest)? {
                return Ok(step);
            }
            if self.on_their_way().count() > MESSAGES_MAX {
                return Err(format!("liveness: ever more messages, {MESSAGES_MAX} after {step} steps"));
            }
        }
        let left: Vec<_> = self.on_their_way().collect();
        Err(format!("liveness: no end of it after {STEPS_MAX} steps, with {left:?} on their way"))
    }

    /// One thing happens. Whether anything was left to do.
    fn step(&mut self, rest: &mut &[Input]) -> Result<bool, String> {
        if self.strikes(Fault::Eviction, 40) {
            let number = self.any_partition();
            self.crash(number)?;
        }
        if self.strikes(Fault::GiveUp, 30) {
            self.retry(true);
        }
        // An alarm rings sooner or later whatever else goes on: an event that is ahead of its cluster goes to and fro until
        // the cluster comes.
        if self.random.one_in(if self.faults.contains(&Fault::Alarm) { 8 } else { 24 }) {
            self.any_alarm()?;
        }
        if !self.late.is_empty() && self.random.one_in(60) {
            self.late_copies();
        }
        if self.random.one_in(16) {
            self.peek()?;
        }
        self.reader.glance(&self.partitions, self.now, 12)?;
        if !rest.is_empty() && (self.flights.is_empty() || self.random.one_in(4)) {
            let count = (1 + self.random.below(4) as usize).min(rest.len());
            let (inputs, later) = rest.split_at(count);
            *rest = later;
            self.request(inputs);
            return Ok(true);
        }
        if !self.flights.is_empty() {
            self.next_arrival()?;
            return Ok(true);
        }
        if self.retry(false) {
            return Ok(true);
        }
        if self.any_alarm()? {
            return Ok(true);
        }
        self.late_copies();
        Ok(!self.flights.is_empty() || !self.nobody_waits())
    }

    fn strikes(&mut self, fault: Fault, one_in: u32) -> bool {
        self.faults.contains(&fault) && self.random.one_in(one_in)
    }

    fn any_partition(&mut self) -> u16 {
        u16::try_from(self.random.below(self.slots.partitions.into())).unwrap()
    }

    /// Whether any partition had parcels to deliver.
    fn any_alarm(&mut self) -> Result<bool, String> {
        let Some(from) = self.random.pick(&self.watch.undelivered()).copied() else { return Ok(false) };
        let slice = 1 + self.random.below(8);
        self.alarm(from, slice)?;
        Ok(true)
    }

    fn late_copies(&mut self) {
        self.flights.append(&mut self.late);
    }

    /// The next call arrives, and with it perhaps others for the same partition: they share a transaction.
    fn next_arrival(&mut self) -> Check {
        let next = if self.faults.contains(&Fault::Reorder) {
            self.random.below(u32::try_from(self.flights.len()).unwrap()) as usize
        } else {
            0
        };
        if self.strikes(Fault::Duplicate, 8) {
            let copy = self.copy(next);
            let to = if self.random.one_in(2) { &mut self.late } else { &mut self.flights };
            to.push(copy);
        }
        let mut arriving: Vec<Flight> = vec![self.flights.remove(next)];
        let others = self.random.below(3) as usize;
        let to = arriving[0].to;
        while arriving.len() <= others
            && let Some(place) = self.flights.iter().position(|flight| flight.to == to)
        {
            arriving.push(self.flights.remove(place));
        }
        let fate = self.fate();
        let answered: Vec<bool> = arriving.iter().map(|_| !self.strikes(Fault::LostAnswer, 6)).collect();
        self.arrive(arriving, fate, &answered)
    }

    fn fate(&mut self) -> Fate {
        let statement = self.random.below(STATEMENTS);
        if self.strikes(Fault::Loss, 8) {
            Fate::Lost
        } else if self.strikes(Fault::CrashBefore, 24) {
            Fate::Fails(if self.random.one_in(2) { Trouble::Commit } else { Trouble::Power(statement) })
        } else if self.strikes(Fault::CrashAfter, 16) {
            Fate::DiesAfter
        } else if self.strikes(Fault::Statement, 12) {
            Fate::Fails(Trouble::Statement(statement))
        } else {
            Fate::Well
        }
    }
}
