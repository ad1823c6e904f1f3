//! Somebody who reads the partitions' feeds and keeps, of each prospect, what has the highest `rev`: read to the end, they
//! hold everybody who is there, as they are, and nobody else (contract, row 36).

use super::feed::{Cursor, Item, What};
use super::person::Person;
use super::read::{Looked, Target};
use super::view::Prospect;
use super::{Partition, decode};
use crate::identity::generate::Random;
use crate::key::SlotMap;
use crate::store::Store;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// More look-ups than lead anywhere, and more pages than there are lines.
const NO_END: u32 = 10_000;

/// Where the reader stands, and what they hold.
pub(super) struct Reader {
    slots: SlotMap,
    cursors: Vec<Option<Cursor>>,
    held: BTreeMap<String, Held>,
    random: Random,
}

/// What a reader holds of one prospect.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// The highest that was told of it.
    rev: u64,
    /// Whether that was told of one who is there.
    is_there: bool,
    /// Whether it was told both ways with this `rev`. While it moves that may be: a part of it that went ahead answers for
    /// it, and what comes after it has a higher one.
    is_doubtful: bool,
}

impl Reader {
    pub(super) fn new(slots: SlotMap, random: Random) -> Reader {
        Reader { slots, cursors: vec![None; usize::from(slots.partitions)], held: BTreeMap::new(), random }
    }

    /// Reads a page of some partition, one time in so many.
    pub(super) fn glance<S: Store>(
        &mut self,
        partitions: &[Partition<S>],
        now: i64,
        one_in: u32,
    ) -> Result<(), String> {
        if !self.random.one_in(one_in) {
            return Ok(());
        }
        self.begin(partitions, now)?;
        let number = self.random.below(self.slots.partitions.into()) as usize;
        let limit = 1 + self.random.below(4);
        self.page(partitions, number, limit, now).map(drop)
    }

    fn begin<S: Store>(&mut self, partitions: &[Partition<S>], now: i64) -> Result<(), String> {
        let missing = (0..self.cursors.len()).filter(|number| self.cursors[*number].is_none());
        missing.collect::<Vec<_>>().into_iter().try_for_each(|number| self.page(partitions, number, 0, now).map(drop))
    }

    /// Whether there was more. A page that tells of somebody who is on their way is read again later.
    fn page<S: Store>(&mut self, all: &[Partition<S>], number: usize, limit: u32, now: i64) -> Result<bool, String> {
        let told = all[number].read_feed(self.cursors[number].as_ref(), limit, now);
        let mut told = told.map_err(|error| error.to_string())?;
        for item in told.items.iter_mut().filter(|item| item.is_elsewhere()) {
            let answer = match self.ask(all, item.target(), now)? {
                Looked::Found(prospect) => Some(serde_json::to_vec(&prospect).map_err(|error| error.to_string())?),
                Looked::Unknown => None,
                Looked::Settling | Looked::Elsewhere(_) => return Ok(true),
            };
            item.learn(answer).map_err(|error| error.to_string())?;
        }
        told.items.iter().try_for_each(|item| self.learn(item))?;
        self.cursors[number] = Some(told.cursor);
        Ok(told.more)
    }

    fn ask<S: Store>(&self, all: &[Partition<S>], target: Target, now: i64) -> Result<Looked<Prospect>, String> {
        let mut target = target;
        for _ in 0..NO_END {
            let partition = &all[usize::from(self.slots.partition_of(target.at))];
            match partition.prospect(target, now).map_err(|error| error.to_string())? {
                Looked::Elsewhere(next) => target = next,
                looked => return Ok(looked),
            }
        }
        Err(format!("feed: {target:?} is sent round in circles"))
    }

    fn learn(&mut self, item: &Item) -> Result<(), String> {
        let What::Changed { prospect: Some(prospect), .. } = &item.what else { return Ok(()) };
        let prospect: serde_json::Value = serde_json::from_slice(prospect).map_err(|error| error.to_string())?;
        let (Some(id), Some(rev)) = (prospect["id"].as_str(), prospect["rev"].as_u64()) else {
            return Err(format!("feed: {prospect} has no id or no rev"));
        };
        let is_there = prospect["life_cycle"] == "active";
        let held = self.held.entry(id.to_owned()).or_default();
        match rev.cmp(&held.rev) {
            Ordering::Greater => *held = Held { rev, is_there, is_doubtful: false },
            Ordering::Equal => held.is_doubtful |= held.is_there != is_there,
            Ordering::Less => {}
        }
        Ok(())
    }

    /// At rest: reads all, and holds it against the prospects' rows.
    pub(super) fn holds_everybody<S: Store>(&mut self, partitions: &[Partition<S>], now: i64) -> Result<(), String> {
        self.begin(partitions, now)?;
        for number in 0..partitions.len() {
            let mut pages = 0;
            while self.page(partitions, number, 50, now)? {
                pages += 1;
                if pages > NO_END {
                    return Err(format!("feed: partition {number}'s has no end"));
                }
            }
        }
        let mut there = BTreeMap::new();
        for partition in partitions {
            for row in partition.store().query("SELECT state FROM person", &[]).unwrap() {
                let person: Person = decode(row.blob(0).unwrap()).unwrap();
                there.insert(person.founder.prospect_id(), person.rev);
            }
        }
        if let Some((id, held)) = self.held.iter().find(|(_, held)| held.is_doubtful) {
            return Err(format!("feed: {id} was both told as there and as gone with the highest rev: {held:?}"));
        }
        let held = self.held.iter().filter(|(_, held)| held.is_there);
        let held: BTreeMap<String, u64> = held.map(|(id, held)| (id.clone(), held.rev)).collect();
        match held.keys().chain(there.keys()).find(|id| held.get(*id) != there.get(*id)) {
            None => Ok(()),
            Some(id) => {
                Err(format!("feed: of {id} the reader holds {:?}, and there is {:?}", self.held.get(id), there.get(id)))
            }
        }
    }
}
