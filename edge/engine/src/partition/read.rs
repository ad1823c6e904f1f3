//! What is asked about one prospect: itself, its timeline, why a score is what it is, why it is one person.

mod decided;
mod erased;
pub mod event;
mod evidence;
pub mod explanation;
pub mod holdings;

use super::browser::Browser;
use super::cluster::Cluster;
use super::message::{Flag, order};
use super::person::{Person, Span, Stored};
use super::view::{self, Prospect, Time, TimelineItem};
use super::work::{Node, NodeBody};
use super::{Partition, decode};
use crate::account;
use crate::attributes::{FAVORITE, OWNER_EMAIL};
use crate::event::Source;
use crate::identity::Trust;
use crate::key::{Identifier, KeyHash};
use crate::kinds::Kind;
use crate::scoring::points_of;
use crate::store::{Store, StoreError, Value};
use minicbor::{Decode, Encode};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Whom a question is about, and where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Target {
    /// The key whose owner to ask.
    #[n(0)]
    pub at: KeyHash,
    /// The key whose prospect is meant.
    #[n(1)]
    member: KeyHash,
    /// The prospect's id that was asked for, by its key: it may have been merged away since.
    #[n(2)]
    asked: Option<KeyHash>,
    /// The least `rev` of who has gone.
    #[n(3)]
    rev: u64,
    /// A browser's table names the member, or its owner has taken a record under it: there is somebody, even if their
    /// cluster has not heard of it yet.
    #[n(4)]
    named: bool,
    /// The browser whose table led here.
    #[n(5)]
    via: Option<Via>,
}

/// A browser's table on the way to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
struct Via {
    #[n(0)]
    browser: KeyHash,
    /// Of its table.
    #[n(1)]
    version: u64,
    /// Which of its owners is asked: those before are nobody.
    #[n(2)]
    place: usize,
}

impl Target {
    /// Whoever holds an identifier now.
    #[must_use]
    pub fn key(key: KeyHash) -> Target {
        Target { at: key, member: key, asked: None, rev: 0, named: false, via: None }
    }

    /// The prospect of an id, by the key that founded it.
    #[must_use]
    pub fn id(key: KeyHash) -> Target {
        Target { asked: Some(key), ..Target::key(key) }
    }

    /// The same, if nothing is left of it, with at least this `rev`: whoever keeps the highest was told all below.
    #[must_use]
    pub fn since(self, rev: u64) -> Target {
        Target { rev, ..self }
    }
}

/// What looking for somebody came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Looked<T> {
    /// Here it is.
    Found(T),
    /// Another partition knows more.
    Elsewhere(Target),
    /// On its way from one partition to another: ask again.
    Settling,
    /// Nobody.
    Unknown,
}

impl<T> Looked<T> {
    fn and_then<U>(self, look: impl FnOnce(T) -> Result<Looked<U>, StoreError>) -> Result<Looked<U>, StoreError> {
        match self {
            Looked::Found(found) => look(found),
            Looked::Elsewhere(target) => Ok(Looked::Elsewhere(target)),
            Looked::Settling => Ok(Looked::Settling),
            Looked::Unknown => Ok(Looked::Unknown),
        }
    }

    /// What was found, if it was found here.
    pub fn found(self) -> Option<T> {
        if let Looked::Found(found) = self { Some(found) } else { None }
    }
}

/// How an event stands in a timeline: newest first, by (at, id, key).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Position {
    /// ms.
    #[n(0)]
    pub at: i64,
    /// The sender's id.
    #[n(1)]
    pub id: String,
    /// The key that recorded it.
    #[n(2)]
    pub rec: KeyHash,
}

/// An event, and what it earned, by score.
pub(super) type Earned = (Stored, BTreeMap<String, f64>);

/// The newest activities that were asked for.
#[derive(Debug, Clone)]
pub struct TimelinePage {
    /// Newest first.
    pub items: Vec<TimelineItem>,
    /// Where it ended, if there are more.
    pub end: Option<Position>,
}

/// A prospect as found: its row and the cluster around it (none for a browser nobody claims).
struct Found {
    founder: KeyHash,
    /// The row's key.
    no: i64,
    person: Person,
    keys: BTreeSet<KeyHash>,
    cluster: Option<Cluster>,
    /// The key asked for, when it founded another prospect once, and the `rev` since.
    merged: Option<(KeyHash, u64)>,
}

impl<S: Store> Partition<S> {
    /// One prospect.
    ///
    /// # Errors
    /// When the store fails.
    pub fn prospect(&self, target: Target, now: i64) -> Result<Looked<Prospect>, StoreError> {
        let looked = match self.find(target)? {
            Looked::Unknown => self.find_heir(target)?,
            looked => looked,
        };
        match looked {
            Looked::Unknown => self.deleted(target),
            looked => looked.and_then(|found| {
                let Person { model_version, fold, .. } = &found.person;
                let is_old = *model_version != self.model_version || fold.ends().is_some_and(|ends| ends <= now);
                // Whoever is asked for by themselves is never shown under an old version, whether it is their turn yet or not.
                let anew = if is_old { self.under_the_newest(found.no, &found.person, now)? } else { None };
                let found = Found { person: anew.unwrap_or(found.person), ..found };
                Ok(Looked::Found(self.show(&found, now)))
            }),
        }
    }

    /// The newest activities before a time or a position.
    ///
    /// # Errors
    /// When the store fails.
    pub fn timeline(
        &self,
        target: Target,
        kind: Option<Kind>,
        before: Option<i64>,
        behind: Option<&Position>,
        limit: usize,
    ) -> Result<Looked<TimelinePage>, StoreError> {
        self.find(target)?.and_then(|found| self.timeline_of(&found, kind, before, behind, limit).map(Looked::Found))
    }

    fn timeline_of(
        &self,
        found: &Found,
        kind: Option<Kind>,
        before: Option<i64>,
        behind: Option<&Position>,
        limit: usize,
    ) -> Result<TimelinePage, StoreError> {
        let (events, end) = self.page_of_events(&found.person, kind, before, behind, limit)?;
        let items = events.into_iter().map(|(event, points)| item(found.founder, event, points)).collect();
        Ok(TimelinePage { items, end })
    }

    /// Somebody's newest events before a time or behind a position, with what each earned; and where they end, if there are
    /// more.
    pub(super) fn page_of_events(
        &self,
        person: &Person,
        kind: Option<Kind>,
        before: Option<i64>,
        behind: Option<&Position>,
        limit: usize,
    ) -> Result<(Vec<Earned>, Option<Position>), StoreError> {
        // The position's own (at, id) is read again: another key may have recorded an event of the same.
        let before = (before.unwrap_or(i64::MAX), String::new());
        let end = behind.map_or(before.clone(), |at| before.min((at.at, format!("{}\u{1}", at.id))));
        let mut events: Vec<Stored> = Vec::new();
        for span in &person.spans {
            events.extend(self.page_of(span, end.clone(), kind, behind, limit + 1)?);
        }
        events.sort_by(|one, other| other.order().cmp(&one.order()));
        let more = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| more);
        let next = next.map(|event| Position { at: event.at, id: event.id.clone(), rec: event.rec });

        let scored = self.events_of(&person.spans)?;
        let occurrences: Vec<_> = scored.iter().map(|event| event.occurrence(person.internal)).collect();
        let points = points_of(&self.model, &occurrences);
        let with_points = events.into_iter().map(|event| {
            let place = scored.binary_search_by(|one| one.order().cmp(&event.order())).ok();
            let points = place.and_then(|place| points.get(place)).cloned().unwrap_or_default();
            (event, points)
        });
        Ok((with_points.collect(), next))
    }

    /// The newest events of a span that are of a kind and behind a position. Reads on until it has enough: the kinds of
    /// a person's events are not indexed, which would bill a row for every event.
    fn page_of(
        &self,
        span: &Span,
        end: (i64, String),
        kind: Option<Kind>,
        behind: Option<&Position>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        const BLOCK: i64 = 512;
        let (mut kept, mut end) = (Vec::new(), end);
        loop {
            let block = self.events_before(span, (end.0, &end.1), BLOCK)?;
            let last_block = i64::try_from(block.len()).is_ok_and(|len| len < BLOCK);
            if let Some(oldest) = block.last() {
                end = (oldest.at, oldest.id.clone());
            }
            kept.extend(block.into_iter().filter(|event| {
                kind.is_none_or(|kind| event.body.kind == kind)
                    && behind.is_none_or(|at| event.order() < (at.at, at.id.as_str(), at.rec))
            }));
            if last_block || kept.len() >= limit {
                kept.truncate(limit);
                return Ok(kept);
            }
        }
    }

    /// Shows a prospect's row, by itself: what lists do.
    pub(super) fn show_person(&self, person: Person, now: i64) -> Result<Option<Prospect>, StoreError> {
        // By its id: a browser may have a prospect of its own beside those who claim it.
        let target = Target { at: person.home, ..Target::id(person.founder) };
        Ok(self.find(target)?.found().map(|found| self.show(&Found { person, ..found }, now)))
    }

    // Finding -----------------------------------------------------------------------------------------------------

    /// Key to browser's owner to cluster to prospect, as far as that goes here.
    fn find(&self, target: Target) -> Result<Looked<Found>, StoreError> {
        let mut target = target;
        if let Some((node, _)) = self.load_node(target.member)? {
            target.named |= node.body.recorded;
            if let Some(browser) = &node.body.browser {
                match self.find_by_browser(target, &node, browser)? {
                    Looked::Elsewhere(owner) => target = owner,
                    looked => return Ok(looked),
                }
            }
        }
        let root = self.root(target.at)?;
        if !self.holds(root) {
            return Ok(Looked::Elsewhere(Target { at: root, ..target }));
        }
        let cluster = self.load_cluster(root)?.map(|(cluster, _)| cluster).unwrap_or_default();
        if !cluster.is_whole() {
            return Ok(Looked::Settling);
        }
        if !cluster.keys.contains_key(&target.member) {
            // A key that points here is on its way here; one that nothing is known of is nobody's.
            return Ok(if root == target.member && !target.named { Looked::Unknown } else { Looked::Settling });
        }
        let prospect = cluster.prospects.iter().find(|(_, keys)| keys.contains(&target.member));
        let Some((founder, keys)) = prospect.map(|(founder, keys)| (*founder, keys.clone())) else {
            return Ok(Looked::Unknown);
        };
        let Some(no) = cluster.keys.get(&founder).map(|info| info.no) else { return Ok(Looked::Unknown) };
        let is_recorded = |key| cluster.keys.get(key).is_some_and(|info| info.recorded);
        let has_events = keys.iter().any(|key| is_recorded(key) || cluster.first_events.contains_key(key));
        // Whether the table that led here has come, and what it gave with it.
        let told = target.via.filter(|via| {
            cluster.tables.get(&via.browser).is_some_and(|table| table.owners().contains(&target.member))
        });
        // Above every `rev` that the merged one had and below any to come: a reader keeps the highest. Of a browser, and of a
        // key in another cluster, that is known already.
        let rev = if target.asked == Some(target.member) { cluster.rev.max(target.rev) } else { target.rev };
        let merged = target.asked.filter(|key| *key != founder).map(|key| (key, rev));
        let found =
            self.load_person(no)?.map(|person| Found { founder, no, person, keys, cluster: Some(cluster), merged });
        if let Some(found) = found {
            return Ok(Looked::Found(found));
        }
        Ok(match told {
            // The browser gave what it had when it claimed this key to whoever it claimed before.
            Some(via) if !has_events => Looked::Elsewhere(Target {
                at: via.browser,
                member: via.browser,
                via: Some(Via { place: via.place + 1, ..via }),
                ..target
            }),
            // A browser's events are on their way to whom they were given; a person's follow their keys in a message of
            // their own.
            _ if target.named || has_events => Looked::Settling,
            _ => Looked::Unknown,
        })
    }

    /// A browser is whoever's it was last, of those who are somebody: a claim may name a key that has no events.
    fn find_by_browser(&self, target: Target, node: &Node, browser: &Browser) -> Result<Looked<Found>, StoreError> {
        let own = target.member;
        let found = self.load_person(node.no)?.map(|person| Found {
            founder: own,
            no: node.no,
            person,
            keys: BTreeSet::new(),
            cluster: None,
            merged: target.asked.filter(|key| *key != own).map(|key| (key, target.rev)),
        });
        // An erasure may have given it a prospect of its own beside those who claim it.
        if target.asked == Some(own)
            && let Some(found) = found
        {
            return Ok(Looked::Found(found));
        }
        let table = browser.table(own, node.no, &node.body.ident);
        let mut owners = table.owners();
        // Who has what went with a person of whom nothing is left.
        owners.retain(|owner| target.asked != Some(*owner));
        let first = target.via.filter(|via| via.version == table.version).map_or(0, |via| via.place);
        if let Some(owner) = owners.get(first).copied().filter(|owner| *owner != own) {
            let via = Some(Via { browser: own, version: table.version, place: first });
            let rev = if target.asked == Some(own) { target.rev.max(browser.rev) } else { target.rev };
            return Ok(Looked::Elsewhere(Target { at: owner, member: owner, rev, named: true, via, ..target }));
        }
        let may_come_home = node.body.recorded && browser.may_be_coming_home();
        let nobody = if may_come_home { Looked::Settling } else { Looked::Unknown };
        Ok(found.map_or(nobody, Looked::Found))
    }

    /// Who has what a prospect once had of which nothing is left: its id goes on answering. It is whoever is at the other
    /// end of a fact that joins no more, or has the browser that claims the key.
    fn find_heir(&self, target: Target) -> Result<Looked<Found>, StoreError> {
        let Some(asked) = target.asked.filter(|key| *key == target.member) else { return Ok(Looked::Unknown) };
        let root = self.root(target.at)?;
        let cluster = self.load_cluster(root)?.map(|(cluster, _)| cluster).unwrap_or_default();
        if cluster.keys.get(&asked).is_none_or(|info| info.erased.is_some()) {
            return Ok(Looked::Unknown);
        }
        let rev = target.rev.max(cluster.rev);
        let mut facts: Vec<&Flag> = cluster.flags.values().collect();
        facts.retain(|flag| asked == flag.fact.a || asked == flag.fact.b);
        facts.sort_by_key(|flag| (!flag.admitted, order(flag.fact, flag.at)));
        for flag in facts {
            let other = Target { at: root, member: flag.fact.other(asked), rev, ..target };
            if let Looked::Found(heir) = self.find(other)? {
                return Ok(Looked::Found(heir));
            }
        }
        Ok(cluster.claimants(asked).first().map_or(Looked::Unknown, |claimant| {
            let browser = claimant.claims.browser;
            Looked::Elsewhere(Target { at: browser, member: browser, rev, ..target })
        }))
    }

    fn root(&self, key: KeyHash) -> Result<KeyHash, StoreError> {
        let mut root = key;
        while let Some(up) = self.load_node(root)?.and_then(|(node, _)| node.up) {
            root = up;
        }
        Ok(root)
    }

    pub(super) fn load_node(&self, key: KeyHash) -> Result<Option<(Node, Vec<u8>)>, StoreError> {
        let rows = self.store.query("SELECT no, body FROM node WHERE k = ?", &[Value::from(key.0.as_slice())])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (up, body): (Option<KeyHash>, NodeBody) = decode(row.blob(1)?)?;
        Ok(Some((Node { no: row.integer(0)?, up, body }, row.blob(1)?.to_vec())))
    }

    // Showing -----------------------------------------------------------------------------------------------------

    fn show(&self, found: &Found, now: i64) -> Prospect {
        let person = &found.person;
        let model = self.model_of(person.model_version);
        let standing = person.fold.standing(model, &person.attributes, now);
        let email = person.email.as_ref().map(|email| email.address.clone());
        let scores = standing.scores.into_iter().map(|(slug, score)| {
            let score = view::Score { value: score.value, band: score.band };
            (slug, score)
        });
        let prospect = Prospect {
            id: found.founder.prospect_id(),
            rev: person.rev,
            life_cycle: "active",
            merged_into: None,
            identified: email.is_some(),
            account: email.as_deref().and_then(account::of_email).map(str::to_owned),
            email,
            first_name: view::text(&person.attributes, "first_name"),
            last_name: view::text(&person.attributes, "last_name"),
            company: view::text(&person.attributes, "company"),
            owner_email: view::text(&person.attributes, OWNER_EMAIL),
            favorite: person.attributes.value(FAVORITE).is_some_and(|favorite| favorite == true),
            identifiers: self.identifiers(found).iter().map(view::Identifier::of).collect(),
            scores: scores.collect(),
            tags: standing.tags,
            temperature: standing.temperature,
            stage: standing.stage,
            attributes: view::attributes(&person.attributes),
            excluded: standing.excluded,
            sessions: person.fold.sessions(),
            events: person.events,
            created_at: person.created_at().map(Time),
            last_active_at: person.fold.last_active_at().map(Time),
            model_version: person.model_version,
        };
        match found.merged {
            // Contract, row 33: an id that was merged away answers with where it has gone, and holds nothing itself.
            Some((asked, rev)) => Prospect {
                id: asked.prospect_id(),
                rev,
                life_cycle: "merged",
                merged_into: Some(prospect.id),
                identified: false,
                email: None,
                first_name: None,
                last_name: None,
                company: None,
                owner_email: None,
                favorite: false,
                account: None,
                identifiers: Vec::new(),
                scores: std::collections::BTreeMap::new(),
                tags: Vec::new(),
                temperature: "frozen",
                stage: None,
                attributes: std::collections::BTreeMap::new(),
                sessions: 0,
                events: 0,
                ..prospect
            },
            None => prospect,
        }
    }

    /// Its keys and browsers, each with the best that speaks for it.
    fn identifiers(&self, found: &Found) -> Vec<(Identifier, Trust, Source)> {
        let Some(cluster) = &found.cluster else {
            let own = self.load_node(found.founder).ok().flatten();
            return own.map(|(node, _)| (node.body.ident, Trust::Strong, Source::Tracker)).into_iter().collect();
        };
        let mut identifiers = Vec::new();
        for info in found.keys.iter().filter_map(|key| cluster.keys.get(key)) {
            let claimed = cluster.claimed(info.k).map(|(trust, _, source)| (trust, source));
            let best = info.seen.map(|seen| (seen.trust, seen.source)).or(claimed);
            let (trust, source) = best.unwrap_or((Trust::Weak, Source::Url));
            identifiers.push((info.ident.clone(), trust, source));
        }
        for table in cluster.tables.values().filter(|table| found.keys.contains(&table.owner(i64::MAX))) {
            let claimants = cluster.claimants(table.owner(i64::MAX)).iter();
            let claims = claimants.filter(|claimant| claimant.claims.browser == table.browser);
            let best = claims.filter_map(|claimant| claimant.claims.best()).next();
            let (trust, source) = best.map_or((Trust::Weak, Source::Url), |(trust, _, source)| (trust, source));
            identifiers.push((table.ident.clone(), trust, source));
        }
        identifiers
            .sort_by(|(one, ..), (other, ..)| (one.key_type(), one.value()).cmp(&(other.key_type(), other.value())));
        identifiers
    }
}

/// An event as a timeline shows it.
pub(super) fn item(founder: KeyHash, event: Stored, points: BTreeMap<String, f64>) -> TimelineItem {
    TimelineItem {
        reference: event::seal(founder, &event),
        at: Time(event.at),
        kind: event.body.kind.slug(),
        source: event.body.source.slug(),
        properties: view::raw(&event.body.properties),
        id: event.id,
        name: event.body.name,
        url: event.body.url,
        bot: event.body.bot,
        points,
    }
}

/// Answers as JSON.
///
/// # Errors
/// Never in practice: memory is the only sink.
pub fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(format!("json: {error}")))
}
