//! What anybody can ask, against the naive function: prospects, their events, scores and evidence; look-ups from any id
//! or key; lists. At any time, that whoever was acknowledged is there.

use super::Check;
use super::world::World;
use crate::event::Record;
use crate::identity::naive::{self, EventRef, Input, NaiveProspect, naive};
use crate::partition::evidence_laws::check_evidence;
use crate::partition::list::{Filter, List, Sort};
use crate::partition::person::Person;
use crate::partition::read::{Looked, Target};
use crate::partition::view::{Identity, Prospect};
use crate::partition::{Partition, decode};
use crate::scoring::{Fold, Occurrence};
use crate::store::{Store, StoreError, Value};
use std::collections::{BTreeMap, BTreeSet};

/// As a frontend does: twice the hops of an event.
const HOPS_MAX: u32 = 16;

impl World<'_> {
    /// Asks for somebody as a frontend does: from one partition to the next, until one knows.
    fn look_up<T>(
        &self,
        mut target: Target,
        ask: impl Fn(&Partition<super::disk::Disk>, Target) -> Result<Looked<T>, StoreError>,
    ) -> Result<Looked<T>, String> {
        for _ in 0..HOPS_MAX {
            let number = usize::from(self.slots.partition_of(target.at));
            match ask(&self.partitions[number], target).map_err(|error| error.to_string())? {
                Looked::Elsewhere(next) => target = next,
                answer => return Ok(answer),
            }
        }
        Err(format!("reads: {target:?} is sent round in circles"))
    }

    fn prospect(&self, target: Target) -> Result<Looked<Prospect>, String> {
        self.look_up(target, |partition, target| partition.prospect(target, self.now))
    }

    /// While things move, somebody who was acknowledged may be on the way, but never nobody.
    pub(super) fn peek(&mut self) -> Check {
        let Some(key) = self.random.pick(&self.watch.known).copied() else { return Ok(()) };
        match self.prospect(Target::key(key))? {
            Looked::Unknown => Err(format!("reads: {key:?} was acknowledged, and now there is nobody")),
            _ => Ok(()),
        }
    }

    /// Everything at rest equals the naive function of the inputs.
    pub(super) fn compare(&mut self, inputs: &[Input]) -> Check {
        let world = naive(&self.machine.deployment, &self.machine.policy, inputs);
        self.compare_prospects(&world, inputs)?;
        self.compare_lists(&world)?;
        self.everybody_answers()?;
        self.reader.holds_everybody(&self.partitions, self.now)?;
        for (id, prospect) in &world.prospects {
            self.compare_look_ups(id, prospect)?;
            let laws = (&self.machine.deployment, &self.machine.policy);
            let identity = self.gather(Target::id(prospect.founder))?;
            check_evidence(&world, laws, prospect, identity).map_err(|error| format!("at rest: {id}: {error}"))?;
        }
        Ok(())
    }

    /// Whoever was acknowledged is somebody; and nobody with a row is on the way for ever. (Of somebody
    /// without events an id may be nobody's: the claim that gave it away may have been displaced by newer ones.)
    fn everybody_answers(&self) -> Check {
        for key in &self.watch.known {
            let found = self.prospect(Target::key(*key))?.found();
            found.ok_or_else(|| format!("at rest: {key:?} was acknowledged, and is not there"))?;
        }
        for target in self.watch.named().flat_map(|key| [Target::key(key), Target::id(key)]) {
            if let Looked::Settling = self.prospect(target)? {
                return Err(format!("at rest: {target:?} is on the way for ever"));
            }
        }
        Ok(())
    }

    fn compare_prospects(&self, world: &naive::World, inputs: &[Input]) -> Check {
        let records: BTreeMap<EventRef, &Record> = inputs
            .iter()
            .filter_map(|input| if let Input::Record(record) = input { Some(record) } else { None })
            .map(|record| ((self.machine.deployment.hash(&record.rec), record.at, record.id.clone()), record))
            .collect();
        let mut found = BTreeMap::new();
        for partition in &self.partitions {
            for row in partition.store().query("SELECT state FROM person", &[]).unwrap() {
                let person: Person = decode(row.blob(0).unwrap()).unwrap();
                let mut events = BTreeSet::new();
                for span in &person.spans {
                    let sql = "SELECT at, id FROM event WHERE rec = ? AND at >= ? AND at < ?";
                    let range = [Value::Integer(span.no), Value::Integer(span.from), Value::Integer(span.until)];
                    for row in partition.store().query(sql, &range).unwrap() {
                        events.insert((span.rec, row.integer(0).unwrap(), row.text(1).unwrap().to_owned()));
                    }
                }
                same("the fold", person.founder, &person.fold, &self.fold(&person, &events, &records))?;
                let id = person.founder.prospect_id();
                if found.insert(id.clone(), events).is_some() {
                    return Err(format!("at rest: prospect {id} is in two places"));
                }
            }
        }
        let expected: BTreeMap<_, _> =
            world.prospects.iter().map(|(id, prospect)| (id.clone(), prospect.events.clone())).collect();
        same("prospects and events", "all", &found, &expected)
    }

    /// The model over the newest events of a person, from nothing. (All events are long past: it does not depend on when
    /// they were folded in.)
    fn fold(&self, person: &Person, events: &BTreeSet<EventRef>, records: &BTreeMap<EventRef, &Record>) -> Fold {
        let mut newest: Vec<&EventRef> = events.iter().collect();
        newest.sort_by_key(|(rec, at, id)| (*at, id, *rec));
        let scored = self.machine.policy.scored(newest.len() as u64);
        let surplus = newest.len() - usize::try_from(scored).unwrap();
        let mut fold = Fold::default();
        for event in newest.split_off(surplus) {
            let (rec, at, id) = event;
            let Some(record) = records.get(event) else { continue };
            let browser = record.rec.key_type().is_browser();
            let occurrence =
                Occurrence { at: *at, id, rec: *rec, browser, internal: person.internal, body: &record.body };
            fold.push(&self.machine.model, &occurrence, self.now);
        }
        fold
    }

    /// Together, the partitions' lists have everybody once.
    fn compare_lists(&self, world: &naive::World) -> Check {
        let list = List {
            sort: Sort::Created,
            descending: true,
            limit: 200,
            as_of: self.now,
            after: None,
            filter: Filter::default(),
        };
        let mut listed: Vec<String> = Vec::new();
        for partition in &self.partitions {
            for entry in partition.list(&list).unwrap().unwrap() {
                let prospect: serde_json::Value = serde_json::from_slice(&entry.prospect).unwrap();
                listed.push(prospect["id"].as_str().unwrap().to_owned());
            }
        }
        listed.sort();
        same("the list", "all", &listed, &world.prospects.keys().cloned().collect())
    }

    /// Whoever asks for a prospect by its id or by one of its keys finds it, from wherever they start.
    fn compare_look_ups(&self, id: &str, prospect: &NaiveProspect) -> Check {
        let found = |target| match self.prospect(target)? {
            Looked::Found(prospect) => Ok(prospect),
            other => Err(format!("at rest: looking for {id} by {target:?} gives {other:?}")),
        };
        let by_id = found(Target::id(prospect.founder))?;
        same("life cycle", id, &(by_id.id.as_str(), by_id.life_cycle), &(id, "active"))?;
        for key in &prospect.keys {
            let by_key = found(Target::key(*key))?;
            same("who has a key", key, &(by_key.id.as_str(), by_key.events), &(id, prospect.events.len() as u64))?;
            let merged = (*key != prospect.founder).then(|| id.to_owned());
            same("where an old id has gone", key, &found(Target::id(*key))?.merged_into, &merged)?;
        }
        Ok(())
    }

    /// Gathers what is known of somebody's identity, as a frontend does: from whoever is named as knowing more.
    fn gather(&self, target: Target) -> Result<Identity, String> {
        let looked = self.look_up(target, Partition::identity)?;
        let Looked::Found(mut gathering) = looked else { return Err(format!("at rest: {target:?} has no identity")) };
        for _ in 0..HOPS_MAX {
            let questions = gathering.questions();
            if questions.is_empty() {
                return Ok(gathering.identity());
            }
            for question in questions {
                let owner = &self.partitions[usize::from(self.slots.partition_of(question.at()))];
                gathering.learn(owner.tell(&question).map_err(|error| error.to_string())?);
            }
        }
        Err(format!("reads: the evidence of {target:?} is sent for without end"))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, whose: impl std::fmt::Debug, got: &T, expected: &T) -> Check {
    if got == expected {
        return Ok(());
    }
    Err(format!("at rest: {what} of {whose:?}:\n   got {got:?}\n  want {expected:?}"))
}
