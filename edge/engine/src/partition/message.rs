//! What partitions are told, and the elements of which clusters are made.
//!
//! Messages are addressed to keys, never to objects. Every element has a merge rule that is idempotent, commutative and
//! associative, so messages may be repeated and reordered freely (README, architecture).

use super::decision::Decided;
use crate::event::{Body, ClaimInput, Record, Source};
use crate::identity::{Decision, Fact, FactClass, Trust};
use crate::key::{Identifier, KeyHash};
use minicbor::{Decode, Encode};

/// Something for the owner of a key.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Message {
    /// Whose owner this is for.
    #[n(0)]
    pub key: KeyHash,
    /// What it is.
    #[n(1)]
    pub ask: Ask,
}

impl Message {
    /// The events in it, if it brings any.
    pub fn events_mut(&mut self) -> impl Iterator<Item = &mut EventElement> {
        let elements = if let Ask::Put(elements) = &mut self.ask { elements.as_mut_slice() } else { &mut [] };
        elements.iter_mut().filter_map(|element| if let Element::Event(event) = element { Some(event) } else { None })
    }
}

/// What a key's owner is asked to do. Each is one transaction.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Ask {
    /// From a frontend: records under this key.
    #[n(0)]
    Take(#[n(0)] Vec<Record>),
    /// Merge elements into the cluster of this key; for a browser key, events that come home.
    #[n(1)]
    Put(#[n(0)] Vec<Element>),
    /// Point this key at a smaller one and send its cluster after it.
    #[n(2)]
    Union(#[n(0)] KeyHash),
    /// A fact whose other end is this key: rank it here too.
    #[n(3)]
    RankFact(#[n(0)] Ranked),
    /// A browser claims this key, or its claim has changed.
    #[n(4)]
    RankClaim(#[n(0)] Claim, #[n(1)] Identifier),
    /// All provisional facts that one browser now gives rise to at this key.
    #[n(5)]
    Introduce(#[n(0)] Introductions),
    /// The other end of a fact admits it; and what this key is.
    #[n(6)]
    FactAdmitted(#[n(0)] Fact, #[n(1)] Identifier),
    /// Whether a person key admits a browser's claim.
    #[n(7)]
    ClaimAdmitted(#[n(0)] ClaimId, #[n(1)] u64, #[n(2)] bool),
    /// Records that could not be read: kept aside.
    #[n(8)]
    Bury(#[n(0)] Vec<DeadLetter>),
    /// A claim that came with a record under another key than this browser's, and the time of that record, ms.
    #[n(9)]
    MakeClaim(#[n(0)] ClaimInput, #[n(1)] i64),
    /// What a person decided, for any of the keys that it is about: it tells the others.
    #[n(10)]
    Decide(#[n(0)] Decision),
    /// A decision that is about this key; and what this key is.
    #[n(11)]
    Heed(#[n(0)] Decided, #[n(1)] Identifier),
}

/// The canonical order of facts: explicit first, then event time, then bytes.
#[must_use]
pub fn order(fact: Fact, at: i64) -> (FactClass, i64, KeyHash, KeyHash) {
    (fact.class, at, fact.a, fact.b)
}

/// A fact as told to its other end.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Ranked {
    /// Which fact.
    #[n(0)]
    pub fact: Fact,
    /// When it was first said, ms. Merge rule: the smallest.
    #[n(1)]
    pub at: i64,
    /// Who said it then.
    #[n(2)]
    pub source: Source,
    /// What the key is that this is told to.
    #[n(3)]
    pub target: Identifier,
    /// What the other end is.
    #[n(4)]
    pub other: Identifier,
}

/// What a browser's claims introduce at one key: the whole list, so that what has gone is withdrawn.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Introductions {
    /// The browser in which the two keys met.
    #[n(0)]
    pub browser: KeyHash,
    /// The browser's version of this list: the highest counts.
    #[n(1)]
    pub version: u64,
    /// Provisional facts with their times, and what the other end of each is.
    #[n(2)]
    pub facts: Vec<(Fact, i64, Identifier)>,
    /// What the key is that this is told to.
    #[n(3)]
    pub target: Identifier,
}

/// One claim per (browser, key, trust, page).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct ClaimId {
    /// The browser that claims.
    #[n(0)]
    pub browser: KeyHash,
    /// The person key claimed.
    #[n(1)]
    pub key: KeyHash,
    /// How far it is believed.
    #[n(2)]
    pub trust: Trust,
    /// The page load that made it.
    #[n(3)]
    pub page: String,
}

/// What the browser's own table makes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// Weak, and its page has not shown a human.
    #[n(0)]
    Pending,
    /// It governs, or would if it came last.
    #[n(1)]
    Active,
    /// Lower than the trust that governs this browser.
    #[n(2)]
    Suspended,
    /// Newer ones have taken its place: it counts no more.
    #[n(3)]
    Withdrawn,
    /// A person separated the two.
    #[n(4)]
    Undone,
}

/// A claim as its browser's owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// Which claim.
    #[n(0)]
    pub id: ClaimId,
    /// The earliest time of a copy, ms.
    #[n(1)]
    pub at: i64,
    /// Whether any copy carried a human signal.
    #[n(2)]
    pub human: bool,
    /// How it came about.
    #[n(3)]
    pub source: Source,
    /// What the browser's table makes of it.
    #[n(4)]
    pub standing: Standing,
    /// Whose the browser was at that time by its table.
    #[n(6)]
    pub holder: KeyHash,
    /// What the browser is.
    #[n(7)]
    pub from: Identifier,
    /// The browser's version of this view: the highest counts.
    #[n(5)]
    pub version: u64,
}

impl Claim {
    /// A claim counts when it is more than a URL's word, or its page has shown a human.
    #[must_use]
    pub fn activated(&self) -> bool {
        self.standing != Standing::Withdrawn && (self.human || self.id.trust >= Trust::Medium)
    }
}

/// The best evidence that a key has of its own: a record under it, or a server's fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Seen {
    /// How far it is believed.
    #[n(0)]
    pub trust: Trust,
    /// Who told us.
    #[n(1)]
    pub source: Source,
    /// When, ms.
    #[n(2)]
    pub at: i64,
}

impl Seen {
    /// Of two, the stronger, then the earlier: idempotent, commutative, associative.
    #[must_use]
    pub fn best(self, other: Seen) -> Seen {
        let rank = |seen: &Seen| (std::cmp::Reverse(seen.trust), seen.at, seen.source);
        if rank(&other) < rank(&self) { other } else { self }
    }
}

/// A person key as its cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyInfo {
    /// The key.
    #[n(0)]
    pub k: KeyHash,
    /// Its short number, given by its owner.
    #[n(1)]
    pub no: i64,
    /// What it is. Merge rule: a plain e-mail beats its hash.
    #[n(2)]
    pub ident: Identifier,
    /// Its best own evidence, if it has any.
    #[n(3)]
    pub seen: Option<Seen>,
}

/// What a key's owner says of a fact at its end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Flag {
    /// Which fact.
    #[n(0)]
    pub fact: Fact,
    /// Which end speaks.
    #[n(1)]
    pub end: KeyHash,
    /// The highest counts.
    #[n(2)]
    pub version: u64,
    /// Whether the fact is among the first that may join through this key.
    #[n(3)]
    pub admitted: bool,
    /// When the fact was first said, ms.
    #[n(4)]
    pub at: i64,
    /// Who said it then; `None` for an introduction.
    #[n(5)]
    pub source: Option<Source>,
    /// What the other end is.
    #[n(6)]
    pub other: Identifier,
    /// An introduction whose claims count no more: it is no evidence now.
    #[n(7)]
    pub withdrawn: bool,
}

/// Whose a browser's events are, and for which time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Table {
    /// The browser.
    #[n(0)]
    pub browser: KeyHash,
    /// Its short number: its events are found by it.
    #[n(1)]
    pub no: i64,
    /// What it is.
    #[n(2)]
    pub ident: Identifier,
    /// The highest counts.
    #[n(3)]
    pub version: u64,
    /// The epochs by their start; the first reaches back to the beginning. Empty: the browser's own.
    #[n(4)]
    pub epochs: Vec<(i64, KeyHash)>,
}

impl Table {
    /// Whose an event at this time is: a person key, or the browser's own.
    #[must_use]
    pub fn owner(&self, at: i64) -> KeyHash {
        let governing = self.epochs.iter().rev().find(|(start, _)| *start <= at);
        governing.or(self.epochs.first()).map_or(self.browser, |(_, key)| *key)
    }
}

/// An event on its way to the cluster that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EventElement {
    /// The key that it is recorded under.
    #[n(0)]
    pub rec: KeyHash,
    /// That key's short number.
    #[n(1)]
    pub no: i64,
    /// When it happened, ms.
    #[n(2)]
    pub at: i64,
    /// The sender's id.
    #[n(3)]
    pub id: String,
    /// When we received it, ms: erasure goes by this.
    #[n(4)]
    pub rx: i64,
    /// What happened.
    #[n(5)]
    pub body: Body,
    /// Its place among the records of a request that still waits for its answer; none once it travels by itself.
    #[n(6)]
    pub place: Option<usize>,
}

/// What clusters are made of. The merge rule stands at each variant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Element {
    /// By key: the plain e-mail, the best evidence.
    #[n(0)]
    Key(#[n(0)] KeyInfo),
    /// By (fact, end): the highest version.
    #[n(1)]
    Flag(#[n(0)] Flag),
    /// By browser: the highest version.
    #[n(2)]
    Table(#[n(0)] Table),
    /// By claim: the highest version of the key's owner. With whether the key admits it.
    #[n(3)]
    Claim(#[n(0)] Claim, #[n(1)] u64, #[n(2)] bool),
    /// By (rec, at, id): the first copy.
    #[n(4)]
    Event(#[n(0)] EventElement),
    /// The largest: a prospect's `rev` grows across moves.
    #[n(5)]
    Rev(#[n(0)] u64),
    /// By key, the smallest: the earliest event under a person key, ms.
    #[n(6)]
    FirstEvent(#[n(0)] KeyHash, #[n(1)] i64),
    /// By id: the same everywhere.
    #[n(7)]
    Decided(#[n(0)] Decided),
}

/// A record that could not be read, kept aside with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeadLetter {
    /// Where it came from.
    #[n(0)]
    pub source: Source,
    /// One word.
    #[n(1)]
    pub reason: String,
    /// What is wrong, in words.
    #[n(2)]
    pub detail: String,
    /// As received, identity and all: it is data, not a log.
    #[n(3)]
    pub raw: String,
}
