//! What a record says: events, facts and claims, each to whom it concerns.

use super::super::Outcome;
use super::super::erasure;
use super::super::message::{Ask, ClaimId, DeadLetter, Element, EventElement, Ranked, Seen};
use super::super::star::rows::Wanted;
use super::{Saying, Work};
use crate::event::{ClaimInput, Record};
use crate::identity::{Fact, FactClass, Trust};
use crate::key::{KeyHash, KeyType};
use crate::store::{Store, StoreError};

impl<S: Store> Work<'_, S> {
    pub(super) fn take(&mut self, own: KeyHash, records: Vec<Record>) -> Result<(), StoreError> {
        let mut claims_changed = false;
        let mut events = Vec::with_capacity(records.len());
        let mut sayings = Vec::new();
        for (place, mut record) in records.into_iter().enumerate() {
            if self.partition.key.hash(&record.rec) != own {
                return Err(StoreError("a record was sent to a key that is not its own".into()));
            }
            let erased = self.erased(own)?;
            let is_from_before = erased.is_some_and(|erased| erasure::is_before(erased, record.at, self.now));
            if is_from_before && !record.rec.key_type().is_browser() {
                // A retry of what an erasure took: it was known, and stays away. (Of a browser's, its table decides.)
                self.outcomes.insert(place, Outcome::Duplicate);
                self.intake.event(&record.body, false);
                continue;
            }
            if is_from_before {
                self.ensure_row(own, &record.rec)?;
            } else {
                self.ensure(own, &record.rec)?;
            }
            let recorded = !self.partition.policy.is_blocked(&record.rec);
            if record.rec.key_type().is_browser() {
                self.node(own)?.body.recorded |= recorded;
            } else {
                self.see(own, Seen { trust: Trust::Strong, source: record.body.source, at: record.at }, recorded)?;
            }
            sayings.extend(self.facts_of(own, &record));
            let (no, claims) = (self.node(own)?.no, std::mem::take(&mut record.claims));
            claims_changed |= self.take_claims(own, claims, record.at)?;
            let Record { rec, at, id, body, facts, .. } = record;
            let keys = [&rec].into_iter().chain(facts.iter().map(|fact| &fact.other));
            let names_email = keys.into_iter().any(|key| key.key_type() == KeyType::Email);
            let (rx, place) = (self.now, Some(place));
            events.push(Element::Event(EventElement { rec: own, no, at, id, rx, body, place, names_email }));
        }
        let own_ident = self.node(own)?.body.ident.clone();
        for (fact, at, source, target) in self.say(own, sayings)? {
            let ranked = Ranked { fact, at, source, target, other: own_ident.clone() };
            self.send(fact.other(own), Ask::RankFact(ranked));
        }
        if claims_changed {
            self.recompute_browser(own)?;
        }
        // What identity says comes first, so that an event is placed once, where it belongs.
        self.send(own, Ask::Put(events));
        Ok(())
    }

    fn facts_of(&self, own: KeyHash, record: &Record) -> Vec<Saying> {
        let policy = &self.partition.policy;
        if policy.is_blocked(&record.rec) {
            return Vec::new();
        }
        let said = record.facts.iter().filter(|said| !policy.is_blocked(&said.other)).filter_map(|said| {
            let class = if said.explicit { FactClass::Explicit } else { FactClass::Strong };
            let fact = Fact::new(class, own, self.partition.key.hash(&said.other))?;
            Some((fact, record.at, record.body.source, said.other.clone()))
        });
        said.collect()
    }

    /// Merges facts into a key's star and ranks it. Answers those that were news.
    pub(super) fn say(&mut self, key: KeyHash, sayings: Vec<Saying>) -> Result<Vec<Saying>, StoreError> {
        if sayings.is_empty() {
            return Ok(sayings);
        }
        let wanted = Wanted::Facts(sayings.iter().map(|(fact, ..)| fact.other(key)).collect());
        let (messages, news) = self.with_star(key, &wanted, |star, key_type, policy| {
            let mut news = sayings;
            news.retain(|(fact, at, source, other)| star.say(*fact, *at, *source, other));
            let messages = if news.is_empty() { Vec::new() } else { star.rank(key, key_type, policy) };
            (messages, news)
        })?;
        self.send_all(messages);
        Ok(news)
    }

    fn take_claims(&mut self, own: KeyHash, claims: Vec<ClaimInput>, at: i64) -> Result<bool, StoreError> {
        let mut changed = false;
        for claim in claims {
            let browser = self.partition.key.hash(&claim.browser);
            if browser == own {
                changed |= self.make_claim(own, claim, at)?;
            } else {
                self.send(browser, Ask::MakeClaim(claim, at));
            }
        }
        Ok(changed)
    }

    pub(super) fn make_claim(&mut self, own: KeyHash, claim: ClaimInput, at: i64) -> Result<bool, StoreError> {
        let policy = &self.partition.policy;
        if policy.is_blocked(&claim.browser) || policy.is_blocked(&claim.key) || claim.key.key_type().is_browser() {
            return Ok(false);
        }
        let ClaimInput { key, trust, page, human, source, .. } = claim;
        let id = ClaimId { browser: own, key: self.partition.key.hash(&key), trust, page };
        Ok(self.browser(own)?.make_claim(id, &key, at, human, source, policy))
    }

    pub(super) fn bury(&mut self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        for letter in letters {
            let is_new = self.partition.bury(letter, self.now)?;
            self.intake.rejected(letter.source, letter.event_type.as_deref(), is_new);
        }
        Ok(())
    }
}
