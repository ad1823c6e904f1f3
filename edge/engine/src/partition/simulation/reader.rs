//! Somebody who reads the partitions' feeds and keeps, of each prospect, what has the highest `rev`: at rest they hold
//! everybody who is there, as they are, and nobody else (contract, row 36).

use super::Check;
use super::world::World;
use crate::identity::generate::Random;
use crate::partition::decode;
use crate::partition::feed::{Cursor, Item, What};
use crate::partition::person::Person;
use crate::partition::read::Looked;
use crate::store::Store;
use std::collections::BTreeMap;

/// Where the reader stands, and what they hold.
pub(super) struct Reader {
    cursors: Vec<Option<Cursor>>,
    /// By id: the highest `rev`, and whether that was told of one who is there.
    held: BTreeMap<String, (u64, bool)>,
    /// Chance of their own: seeds mean the same schedule with and without them.
    random: Random,
}

impl Reader {
    pub(super) fn new(partitions: u16, schedule: u64) -> Reader {
        let cursors = vec![None; usize::from(partitions)];
        Reader { cursors, held: BTreeMap::new(), random: Random(schedule ^ 0x5EED) }
    }

    fn learn(&mut self, item: &Item) -> Check {
        let What::Changed { prospect: Some(prospect), .. } = &item.what else { return Ok(()) };
        let prospect: serde_json::Value = serde_json::from_slice(prospect).map_err(|error| error.to_string())?;
        let (Some(id), Some(rev)) = (prospect["id"].as_str(), prospect["rev"].as_u64()) else {
            return Err(format!("feed: {prospect} has no id or no rev"));
        };
        let is_there = prospect["life_cycle"] == "active";
        let held = self.held.entry(id.to_owned()).or_insert((0, false));
        if rev > held.0 {
            *held = (rev, is_there);
        }
        if rev == held.0 && is_there != held.1 {
            return Err(format!("feed: at {rev}, {id} was both there and not"));
        }
        Ok(())
    }
}

impl World<'_> {
    /// Now and then the reader reads a page of some partition.
    pub(super) fn read_on(&mut self) -> Check {
        if !self.reader.random.one_in(12) {
            return Ok(());
        }
        if self.reader.cursors.contains(&None) {
            for number in 0..self.partitions.len() {
                self.read_page(number, 0)?;
            }
        }
        let number = self.reader.random.below(self.slots.partitions.into()) as usize;
        let limit = 1 + self.reader.random.below(4);
        self.read_page(number, limit).map(drop)
    }

    /// Whether there was more. A page that tells of somebody who is on their way is read again later.
    fn read_page(&mut self, number: usize, limit: u32) -> Result<bool, String> {
        let cursor = self.reader.cursors[number].clone();
        let read = self.partitions[number].read_feed(cursor.as_ref(), limit, self.now);
        let mut told = read.map_err(|error| error.to_string())?;
        for item in told.items.iter_mut().filter(|item| item.is_elsewhere()) {
            let answer = match self.prospect(item.target())? {
                Looked::Found(prospect) => Some(serde_json::to_vec(&prospect).map_err(|error| error.to_string())?),
                Looked::Unknown => None,
                Looked::Settling | Looked::Elsewhere(_) => return Ok(true),
            };
            item.learn(answer).map_err(|error| error.to_string())?;
        }
        told.items.iter().try_for_each(|item| self.reader.learn(item))?;
        let more = told.more || self.reader.cursors[number].is_none();
        self.reader.cursors[number] = Some(told.cursor);
        Ok(more)
    }

    /// At rest and read to the end.
    pub(super) fn reader_holds_everybody(&mut self) -> Check {
        for number in 0..self.partitions.len() {
            // Lines are fewer than this by far.
            let read_all =
                (0..10_000).try_fold(true, |more, _| if more { self.read_page(number, 50) } else { Ok(false) });
            if read_all? {
                return Err(format!("feed: partition {number}'s has no end"));
            }
        }
        let mut there = BTreeMap::new();
        for partition in &self.partitions {
            for row in partition.store().query("SELECT state FROM person", &[]).unwrap() {
                let person: Person = decode(row.blob(0).unwrap()).unwrap();
                there.insert(person.founder.prospect_id(), person.rev);
            }
        }
        let held = self.reader.held.iter().filter(|(_, (_, is_there))| *is_there);
        let held: BTreeMap<String, u64> = held.map(|(id, (rev, _))| (id.clone(), *rev)).collect();
        if held == there {
            return Ok(());
        }
        let differs = |id: &&String| held.get(*id) != there.get(*id);
        let who = held.keys().chain(there.keys()).find(differs);
        let told = who.and_then(|who| self.reader.held.get(who));
        Err(format!(
            "feed: of {who:?} the reader holds {told:?}, and there is {:?}",
            who.and_then(|who| there.get(who))
        ))
    }
}
