//! Stages that are reached, each told once an entry, whoever brings the prospect together with whom (contract, row 22).
//!
//! A prospect's row knows which of its stages have been told. When the prospect goes, into another or to another
//! partition, its cluster carries that on, until whoever holds its keys next has a row.

use super::change::{Cause, Reached};
use super::cluster::Cluster;
use super::person::Person;
use crate::key::KeyHash;
use std::collections::{BTreeMap, BTreeSet};

impl Person {
    /// Notes which stages it has reached that nobody was told of, in order, and forgets which it has left.
    pub(super) fn reach(&mut self, entered: &[(String, i64)], cause: Cause) -> Vec<Reached> {
        // One that came with somebody else's keys is left only once it was seen here: their events may be on the way.
        let is_there = |stage: &String| entered.iter().any(|(known, _)| known == stage);
        self.told.retain(|stage, seen| is_there(stage) || !*seen);
        let mut reached = Vec::new();
        for (stage, at) in entered {
            if self.told.insert(stage.clone(), true).is_none() {
                let (founder, rev, home) = (self.founder, self.rev, self.home);
                reached.push(Reached { founder, rev, at: *at, cause, stage: stage.clone(), home });
            }
        }
        reached
    }

    /// The stages that have been told of it.
    pub(super) fn stages_told(&self) -> BTreeSet<String> {
        self.told.keys().cloned().collect()
    }

    /// What was told of those who have become this one.
    pub(super) fn inherit(&mut self, told: &BTreeSet<String>) {
        for stage in told {
            self.told.entry(stage.clone()).or_insert(false);
        }
    }
}

impl Cluster {
    /// Whose stages, told before, are a prospect's: its keys' and its browsers'.
    pub(super) fn told_of(&self, keys: &BTreeSet<KeyHash>) -> BTreeMap<KeyHash, BTreeSet<String>> {
        let is_own = |key: &KeyHash| {
            let has = |owner: &KeyHash| keys.contains(owner);
            keys.contains(key)
                || self.tables.get(key).is_some_and(|table| table.epochs.iter().any(|(_, owner)| has(owner)))
        };
        self.told.iter().filter(|(key, _)| is_own(key)).map(|(key, told)| (*key, told.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::Line;
    use super::super::decode;
    use super::super::several::{Several, descending, hash};
    use super::*;
    use crate::event::{Body, ClaimInput, FactInput, Record, Source};
    use crate::identity::Trust;
    use crate::identity::generate::Random;
    use crate::identity::policy::Policy;
    use crate::key::{Identifier, KeyType};
    use crate::kinds::Kind;
    use crate::scoring::Model;
    use crate::store::Store;

    /// Asks for a demo: 20 points of the 50 that `mql` is above.
    fn demo(rec: &Identifier, n: i64) -> Record {
        let body = Body::bare(Kind::FormSubmit, "[Form] Request a demo".to_owned(), Source::Api);
        Record { rec: rec.clone(), at: n, id: format!("e{n}"), body, facts: Vec::new(), claims: Vec::new() }
    }

    fn take(several: &mut Several, record: &Record) {
        several.take(record);
        several.deliver(&mut Random(1));
    }

    /// Every stage that was told, in every partition: through what.
    fn told(several: &Several) -> Vec<(String, &'static str)> {
        let rows = several
            .partitions
            .iter()
            .flat_map(|partition| partition.store().query("SELECT body FROM feed ORDER BY seq", &[]).unwrap());
        let reached = rows.flat_map(|row| decode::<Line>(row.blob(0).unwrap()).unwrap().reached);
        reached.map(|reached| (reached.stage, reached.cause.slug())).collect()
    }

    fn mql(cause: &'static str) -> (String, &'static str) {
        ("mql".to_owned(), cause)
    }

    #[test]
    fn a_stage_is_told_once_an_entry() {
        let mut several = Several::new(1, &Policy::default());
        let ada = Identifier::new(KeyType::ExternalId, "", "ada").unwrap();
        (0..2).for_each(|n| take(&mut several, &demo(&ada, n)));
        assert_eq!(told(&several), []);
        (2..6).for_each(|n| take(&mut several, &demo(&ada, n)));
        assert_eq!(told(&several), [mql("event")]);
        // Below 35 it is left, by itself; three more, and it is entered anew.
        let year = 365 * 86_400_000;
        several.partitions[0].turn(year, 10).unwrap();
        let again = (0..3).map(|n| demo(&ada, year + n));
        again.for_each(|record| {
            let message =
                super::super::message::Message { key: hash(&ada), ask: super::super::message::Ask::Take(vec![record]) };
            several.partitions[0].apply(year + 10, vec![message]).unwrap();
        });
        assert_eq!(told(&several), [mql("event"), mql("event")]);
    }

    #[test]
    fn another_model_tells_with_its_cause() {
        let mut several = Several::new(1, &Policy::default());
        let ada = Identifier::new(KeyType::ExternalId, "", "ada").unwrap();
        take(&mut several, &demo(&ada, 1));
        let lower =
            Model::SHIPPED.replace("\"above\": 50 }, \"leave_below\": 35", "\"above\": 5 }, \"leave_below\": 3");
        assert_ne!(lower, Model::SHIPPED);
        several.partitions[0].publish(2, &lower).unwrap();
        while several.partitions[0].recompute(1_000).unwrap().is_some() {}
        assert_eq!(told(&several), [mql("publish")]);
    }

    #[test]
    fn what_was_told_of_one_is_told_of_no_other_who_they_become() {
        // Everybody at partitions of their own, so that each step is a move.
        for partitions in [1, 4] {
            let mut several = Several::new(partitions, &Policy::default());
            let [braze_id, external_id, email] = descending();
            (0..3).for_each(|n| take(&mut several, &demo(&braze_id, n)));
            assert_eq!(told(&several), [mql("event")], "{partitions}");
            let one = |of: &Identifier, n, other: &Identifier| {
                let facts = vec![FactInput { other: other.clone(), explicit: false }];
                Record { facts, ..demo(of, n) }
            };
            take(&mut several, &one(&braze_id, 3, &external_id));
            take(&mut several, &one(&external_id, 4, &email));
            take(&mut several, &demo(&email, 5));
            assert_eq!(told(&several), [mql("event")], "{partitions}");
        }
    }

    #[test]
    fn what_was_told_of_a_browser_is_not_told_of_whose_it_turns_out_to_be() {
        for (partitions, who) in [(1, 0), (4, 0), (4, 1), (4, 2)] {
            let mut several = Several::new(partitions, &Policy::default());
            let person = &descending()[who];
            let visitor = Identifier::new(KeyType::Visitor, "", "visitor-1").unwrap();
            (0..3).for_each(|n| take(&mut several, &demo(&visitor, n)));
            assert_eq!(told(&several), [mql("event")], "{partitions}, {who}");
            let (browser, page, source) = (visitor.clone(), "p".to_owned(), Source::Form);
            let claim = ClaimInput { browser, key: person.clone(), trust: Trust::Medium, source, page, human: true };
            take(&mut several, &Record { claims: vec![claim], ..demo(&visitor, 3) });
            take(&mut several, &demo(person, 4));
            assert_eq!(told(&several), [mql("event")], "{partitions}, {who}");
        }
    }

    #[test]
    fn two_halves_of_a_stage_are_one_by_merging() {
        let mut several = Several::new(1, &Policy::default());
        let [braze_id, external_id, _] = descending();
        (0..2).for_each(|n| take(&mut several, &demo(&braze_id, n)));
        take(&mut several, &demo(&external_id, 2));
        assert_eq!(told(&several), []);
        let facts = vec![FactInput { other: external_id.clone(), explicit: false }];
        take(&mut several, &Record { facts, ..demo(&braze_id, 1) });
        assert_eq!(told(&several), [mql("merge")], "the event was known");
    }

    #[test]
    fn what_came_with_somebodys_keys_waits_for_their_events() {
        let mut several = Several::new(1, &Policy::default());
        let ada = Identifier::new(KeyType::ExternalId, "", "ada").unwrap();
        take(&mut several, &demo(&ada, 0));
        let partition = &several.partitions[0];
        let mut person = partition.people_between(-1, super::super::export::LAST_ROW, 1).unwrap().remove(0).1;
        person.inherit(&BTreeSet::from(["mql".to_owned()]));
        let there = [("mql".to_owned(), 1)];
        // Some of the events, then all, then fewer again, then all: told is what was left and is entered anew.
        for (entered, times) in [(&[][..], 0), (&there, 0), (&[], 0), (&there, 1)] {
            assert_eq!(person.reach(entered, Cause::Event).len(), times, "{entered:?}");
        }
    }
}
