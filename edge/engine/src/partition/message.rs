//! What partitions are told, and the elements of which clusters are made.
//!
//! Messages are addressed to keys, never to objects. Every element has a merge rule that is idempotent, commutative and
//! associative, so messages may be repeated and reordered freely (README, architecture).

use super::dead::LetterId;
use super::decision::Decided;
use super::encode;
use super::erasure::{Cut, Erasure, Gone};
use super::intake::Batch;
use super::person::times;
use crate::event::{Body, ClaimInput, Record, Source};
use crate::identity::{Decision, Fact, FactClass, Trust};
use crate::key::{Identifier, KeyHash};
use crate::store::StoreError;
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Point this key at a smaller one, the root of a cluster of so many keys, and send its cluster after it.
    #[n(2)]
    Union(#[n(0)] KeyHash, #[n(1)] usize),
    /// A fact whose other end is this key: rank it here too.
    #[n(3)]
    RankFact(#[n(0)] Ranked),
    /// A browser claims this key, or what its claims come to has changed.
    #[n(4)]
    RankClaims(#[n(0)] ClaimSummary, #[n(1)] Identifier),
    /// All provisional facts that one browser now gives rise to at this key.
    #[n(5)]
    Introduce(#[n(0)] Introductions),
    /// The other end of a fact admits it; and what this key is.
    #[n(6)]
    FactAdmitted(#[n(0)] Fact, #[n(1)] Identifier),
    /// Whether a person key (the first) admits a browser's claims on it, by the key's version of that.
    #[n(7)]
    ClaimsAdmitted(#[n(0)] KeyHash, #[n(1)] u64, #[n(2)] bool),
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
    /// An order to erase a prospect, for its founder's owner: it keeps the receipt and tells every key.
    #[n(12)]
    Erase(#[n(0)] Erasure),
    /// Forget everything that is this key's.
    #[n(13)]
    EraseKey(#[n(0)] Cut),
    /// For a fact's other end, of this type: its first end was erased, and what was said of the two until this time, ms,
    /// goes.
    #[n(14)]
    ForgetFact(#[n(0)] Fact, #[n(1)] i64, #[n(2)] Identifier),
    /// For a fact's first end, which was erased, after the other has forgotten what was said until then: that may have hidden
    /// something that was said since. Say it again, if it was.
    #[n(17)]
    SayAgain(#[n(0)] Fact),
    /// For a browser: a person key that it claimed was erased.
    #[n(15)]
    ForgetKey(#[n(0)] KeyHash, #[n(1)] Cut),
    /// For the founder's owner: every owner has acknowledged the erasure of this id.
    #[n(16)]
    Erased(#[n(0)] String),
    /// The cluster of this key and that of a larger one are to be one. Goes to this one's root, which knows its size.
    #[n(20)]
    Unite(#[n(0)] KeyHash),
    /// From a frontend: a key further along the way that this key's pointer begins.
    #[n(21)]
    Hint(#[n(0)] KeyHash),
    /// For a whole partition, by any key in it: records that could not be read, and name one of these, go.
    #[n(22)]
    ForgetLetters(#[n(0)] Vec<Identifier>),
    /// A caller's `Idempotency-Key` (its keyed hash is the message's key), and the keyed hash of what is asked by it: the
    /// first counts.
    #[n(23)]
    Once(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// A record that was kept aside could be read after all: it is kept no more.
    #[n(30)]
    Exhume(#[n(0)] LetterId),
    /// From a frontend: it has answered a batch of Currents.
    #[n(31)]
    NoteBatch(#[n(0)] Batch),
    /// From the cluster of this key, which was erased: events since then remain, and this is what the key was.
    #[n(32)]
    Remains(#[n(0)] KeyInfo),
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

/// What all claims of one browser on one key come to, whatever page made them: as much as the key ranks its browsers by,
/// and founders go by. Page loads that add nothing to this are not told.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClaimSummary {
    /// The browser that claims.
    #[n(0)]
    pub browser: KeyHash,
    /// The browser's version of this: the highest counts.
    #[n(1)]
    pub version: u64,
    /// By trust: the earliest time of a claim that counts, ms, and how that one came about. A claim counts when it is
    /// more than a URL's word, or its page has shown a human.
    #[n(2)]
    pub activated: BTreeMap<Trust, (i64, Source)>,
    /// The earliest time of any claim, ms, though it may not count yet. `None`: newer ones have taken the places of all.
    #[n(3)]
    pub since: Option<i64>,
}

impl ClaimSummary {
    /// The highest trust of a claim that counts, with the earliest time of that trust, ms, and its source.
    #[must_use]
    pub fn best(&self) -> Option<(Trust, i64, Source)> {
        self.activated.last_key_value().map(|(trust, (at, source))| (*trust, *at, *source))
    }

    /// The earliest time at which the browser named the key by a claim that counts, ms.
    #[must_use]
    pub fn named(&self) -> Option<i64> {
        self.activated.values().map(|(at, _)| *at).min()
    }
}

/// A browser among those that claim a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Claimant {
    /// What its claims come to.
    #[n(0)]
    pub claims: ClaimSummary,
    /// Whether the key admits it: it is among the first of those that count.
    #[n(1)]
    pub admitted: bool,
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
    /// When it was last erased, ms. Merge rule: what is known since the latest erasure.
    #[n(4)]
    pub erased: Option<i64>,
    /// Whether a record under it was taken since: there is an event, here or on its way.
    #[n(5)]
    #[cbor(default)]
    pub recorded: bool,
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
    /// Whether the fact is among the first that may join through this key.
    #[n(2)]
    pub admitted: bool,
    /// When the fact was first said, ms.
    #[n(3)]
    pub at: i64,
    /// Who said it then; `None` for an introduction.
    #[n(4)]
    pub source: Option<Source>,
    /// What the other end is.
    #[n(5)]
    pub other: Identifier,
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
    /// What erasures have taken of its events.
    #[n(5)]
    pub gone: Vec<Gone>,
}

impl Table {
    /// Whether an erasure has taken an event of this time and receipt.
    #[must_use]
    pub fn is_gone(&self, at: i64, rx: i64) -> bool {
        self.gone.iter().any(|gone| gone.takes(at, rx))
    }

    /// Whose an event at this time is: a person key, or the browser's own.
    #[must_use]
    pub fn owner(&self, at: i64) -> KeyHash {
        let governing = self.epochs.iter().rev().find(|(start, _)| *start <= at);
        governing.or(self.epochs.first()).map_or(self.browser, |(_, key)| *key)
    }

    /// Whether a time, ms, from when until before when, is wholly somebody's.
    #[must_use]
    pub fn gives_all(&self, (from, until): (i64, i64), somebody: KeyHash) -> bool {
        let later = self.epochs.partition_point(|(start, _)| *start <= from);
        let later = self.epochs.iter().skip(later).take_while(|(start, _)| *start < until);
        self.owner(from) == somebody && later.into_iter().all(|(_, owner)| *owner == somebody)
    }

    /// Whether it gives somebody time by a claim of that time, ms, or before. One that another of the same time displaced
    /// gives none, and whoever lost nothing by it hears no more of the table.
    #[must_use]
    pub fn gives(&self, somebody: KeyHash, until: i64) -> bool {
        let next = self.epochs.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        let mut epochs = self.epochs.iter().zip(next).enumerate();
        // The first reaches back to the beginning.
        epochs.any(|(place, ((from, owner), next))| {
            *owner == somebody && *from <= until && (place == 0 || next.is_none_or(|next| *from < next))
        })
    }

    /// Each who has some of the browser's time, whoever has the latest first; the browser itself, where nobody has any.
    #[must_use]
    pub fn owners(&self) -> Vec<KeyHash> {
        let mut owners = Vec::new();
        let times: Vec<_> = times(self.browser, &self.epochs).collect();
        for (_, owner) in times.into_iter().rev() {
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        owners
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
    /// Whether its record names an e-mail: for the counts of what comes in, which go by events that somebody waits for.
    #[cbor(n(7), default)]
    pub names_email: bool,
}

/// What clusters are made of. The merge rule stands at each variant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Element {
    /// By key: the plain e-mail, the best evidence.
    #[n(0)]
    Key(#[n(0)] KeyInfo),
    /// By key: the highest version. The facts that end there, as far as they are listed.
    #[n(1)]
    Flags(#[n(0)] KeyHash, #[n(1)] u64, #[n(2)] Vec<Flag>),
    /// By browser: the highest version.
    #[n(2)]
    Table(#[n(0)] Table),
    /// By key: the highest version. The browsers that claim it, best first, as far as they are listed.
    #[n(3)]
    Claimants(#[n(0)] KeyHash, #[n(1)] u64, #[n(2)] Vec<Claimant>),
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
    /// By the key whose cluster is on its way in so many parts, all parts together: which of them this comes with.
    #[n(8)]
    Part(#[n(0)] KeyHash, #[n(1)] u32, #[n(2)] BTreeSet<u32>),
    /// By the founder of a prospect that is no more: all stages together that it was told to have reached.
    #[n(9)]
    Told(#[n(0)] KeyHash, #[n(1)] BTreeSet<String>),
}

/// The most bytes of elements in one message: a row of an outbox takes several (2 MB), and a transaction many.
pub const PIECE_BYTES: usize = 500_000;

/// Elements as several messages take them, each of at most so many bytes, if no single one is larger.
///
/// # Errors
/// Never in practice: memory is the only sink.
pub fn in_pieces(elements: Vec<Element>, bytes: usize) -> Result<Vec<Vec<Element>>, StoreError> {
    let (mut pieces, mut piece, mut size) = (Vec::new(), Vec::new(), 0);
    for element in elements {
        let length = encode(&element)?.len();
        if !piece.is_empty() && size + length > bytes {
            pieces.push(std::mem::take(&mut piece));
            size = 0;
        }
        size += length;
        piece.push(element);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    Ok(pieces)
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
    /// The source's own type, as far as that could be read.
    #[n(4)]
    pub event_type: Option<String>,
    /// The Braze workspace that it came from; empty for the default one.
    #[cbor(n(5), default)]
    pub workspace: String,
}
