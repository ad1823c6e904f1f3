//! Why some keys are one person, gathered from whoever knows: the cluster knows the facts, each browser's owner its claims,
//! and of a claim on somebody else only that one's cluster can say what became of it.
//!
//! A [`Gathering`] holds what is known and what must still be asked. Whoever gathers asks, lets it learn, and asks on until
//! nothing is open; it does not matter in which order.

use super::decision::Decided;
use super::view::{self, End, Time};
use crate::event::Source;
use crate::identity::{EvidenceRef, FactClass, Reason, State, Trust};
use crate::key::{Identifier, KeyHash};
use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// One piece of evidence, with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Piece {
    /// Which one.
    #[n(0)]
    pub evidence: EvidenceRef,
    /// What one end is: a claim's browser.
    #[n(1)]
    pub from: Identifier,
    /// What the other end is: the key claimed.
    #[n(2)]
    pub to: Identifier,
    /// Who says so.
    #[n(3)]
    pub source: Source,
    /// How far it is believed.
    #[n(4)]
    pub trust: Trust,
    /// When it was first said, ms.
    #[n(5)]
    pub at: i64,
    /// What became of it.
    #[n(6)]
    pub state: State,
    /// Why it is not active.
    #[n(7)]
    pub reason: Option<Reason>,
    /// A claim with one of higher trust beside it: the person key that had the browser then. It is suspended unless it
    /// claims the same prospect.
    #[n(8)]
    pub outranked_by: Option<KeyHash>,
}

/// A decision of people about a prospect: one pair of keys that it is about, and what became of that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct DecisionPiece {
    /// Which one.
    #[n(0)]
    pub id: String,
    /// When, ms.
    #[n(1)]
    pub at: i64,
    /// Whether it brought the two together.
    #[n(2)]
    pub merges: bool,
    /// Whether a later decision says otherwise.
    #[n(3)]
    pub overruled: bool,
    /// The two.
    #[n(4)]
    pub about: About,
}

/// What a decision is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum About {
    /// Two keys, and why a merge of the two has no effect.
    #[n(0)]
    Two(#[n(0)] Identifier, #[n(1)] Identifier, #[n(2)] Option<Reason>),
    /// A merge that is a browser's claim: what became of it is what became of that.
    #[n(1)]
    Claim(#[n(0)] EvidenceRef),
}

impl DecisionPiece {
    pub(super) fn of(decided: &Decided, overruled: bool, about: About) -> DecisionPiece {
        DecisionPiece { id: decided.id.clone(), at: decided.at, merges: decided.merges, overruled, about }
    }

    /// Nothing if the claim that it is has gone.
    fn show(&self, pieces: &[Piece]) -> Option<view::Evidence> {
        let (from, to, refused) = match &self.about {
            About::Two(from, to, refused) => (from, to, *refused),
            About::Claim(evidence) => {
                let claim = pieces.iter().find(|piece| piece.evidence == *evidence)?;
                (&claim.from, &claim.to, claim.reason)
            }
        };
        let (state, reason) = match (self.overruled, refused, self.merges) {
            (true, _, _) => (State::Undone, "a later decision says otherwise"),
            (false, Some(refused), _) => (State::Conflict, refused.words()),
            (false, None, true) => (State::Active, "a colleague has merged the two"),
            (false, None, false) => (State::Active, Reason::Separated.words()),
        };
        Some(view::Evidence {
            id: decision_id(&self.id),
            kind: "decision",
            from: End::of(from),
            to: End::of(to),
            source: Source::Api.slug(),
            trust: Trust::Strong.slug(),
            state: state.slug(),
            reason: Some(reason.to_owned()),
            at: Time(self.at),
        })
    }
}

/// What somebody is asked who knows more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Question {
    /// All claims of a browser.
    #[n(0)]
    Claims(#[n(0)] KeyHash),
    /// A browser's claims on some keys.
    #[n(1)]
    ClaimsOn(#[n(0)] KeyHash, #[n(1)] BTreeSet<KeyHash>),
    /// Whether two person keys are one prospect's.
    #[n(2)]
    AreOne {
        /// Whose owner is asked.
        #[n(0)]
        at: KeyHash,
        /// The two.
        #[n(1)]
        keys: (KeyHash, KeyHash),
    },
    /// What a person key has refused.
    #[n(3)]
    Limits(#[n(0)] KeyHash),
}

impl Question {
    /// The key whose owner to ask.
    #[must_use]
    pub fn at(&self) -> KeyHash {
        match self {
            Question::Claims(key)
            | Question::ClaimsOn(key, _)
            | Question::AreOne { at: key, .. }
            | Question::Limits(key) => *key,
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Told {
    /// The claims asked for.
    #[n(0)]
    Claims(#[n(0)] Vec<Piece>),
    /// Whether these two are one prospect's.
    #[n(1)]
    AreOne(#[n(0)] (KeyHash, KeyHash), #[n(1)] bool),
    /// Another partition knows: ask it so.
    #[n(2)]
    Elsewhere(#[n(0)] Question),
    /// What the key has refused, if anything.
    #[n(3)]
    Limits(#[n(0)] Option<Refused>),
    /// All claims of a browser, and what people decided about it.
    #[n(4)]
    Browser(#[n(0)] Vec<Piece>, #[n(1)] Vec<DecisionPiece>),
}

/// How much a key has refused because all its places were taken: of thousands, evidence lists only the first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Refused {
    /// What the key is.
    #[n(0)]
    pub ident: Identifier,
    /// Facts that end at it.
    #[n(1)]
    pub facts: u64,
    /// Browsers that claim it.
    #[n(2)]
    pub browsers: u64,
}

/// A prospect's identity, as far as it has been gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Gathering {
    /// Its person keys.
    #[n(0)]
    pub(super) keys: BTreeSet<KeyHash>,
    /// Its keys and browsers, each with the best that speaks for it.
    #[n(1)]
    pub(super) identifiers: Vec<(Identifier, Trust, Source)>,
    #[n(2)]
    pub(super) pieces: Vec<Piece>,
    #[n(3)]
    pub(super) open: Vec<Question>,
    #[n(4)]
    pub(super) limits: Vec<Refused>,
    /// What people decided about it.
    #[n(5)]
    pub(super) decisions: Vec<DecisionPiece>,
}

impl Gathering {
    /// What must be asked next. Every answer is for [`Gathering::learn`]; then there may be more.
    pub fn questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.open)
    }

    /// Puts questions back that could not be asked.
    pub fn ask_again(&mut self, questions: Vec<Question>) {
        self.open.extend(questions);
    }

    /// Takes up an answer.
    pub fn learn(&mut self, told: Told) {
        match told {
            Told::Claims(pieces) => self.learn_claims(pieces),
            Told::Browser(pieces, decisions) => {
                self.learn_claims(pieces);
                self.decisions.extend(decisions);
            }
            Told::AreOne(keys, same) => {
                for piece in &mut self.pieces {
                    if piece.rivals() == Some(keys) {
                        piece.judged(same);
                    }
                }
            }
            Told::Elsewhere(question) => self.open.push(question),
            Told::Limits(refused) => self.limits.extend(refused),
        }
    }

    fn learn_claims(&mut self, pieces: Vec<Piece>) {
        for mut piece in pieces {
            self.judge(&mut piece);
            self.pieces.push(piece);
        }
    }

    /// Says what became of an outranked claim, if the two that it is about can be told apart here; else asks.
    fn judge(&mut self, piece: &mut Piece) {
        let Some((holder, claimed)) = piece.rivals() else { return };
        match (self.keys.contains(&holder), self.keys.contains(&claimed)) {
            (false, false) if holder != claimed => {
                let question = Question::AreOne { at: claimed, keys: (holder, claimed) };
                if !self.open.contains(&question) {
                    self.open.push(question);
                }
            }
            (one, other) => piece.judged(one == other),
        }
    }

    /// Everything that was gathered, in the order of time.
    #[must_use]
    pub fn identity(&self) -> view::Identity {
        // Clusters and browsers may each know a decision: it is shown once, and as what still counts of it.
        let mut decisions: BTreeMap<&str, view::Evidence> = BTreeMap::new();
        let order = |evidence: &view::Evidence| (evidence.state != State::Active.slug(), evidence.clone());
        for decision in &self.decisions {
            let Some(shown) = decision.show(&self.pieces) else { continue };
            let known = decisions.entry(&decision.id).or_insert_with(|| shown.clone());
            if order(&shown) < order(known) {
                *known = shown;
            }
        }
        let pieces = self.pieces.iter().map(Piece::show);
        let mut evidence: Vec<view::Evidence> = pieces.chain(decisions.into_values()).collect();
        // Of two decisions in one millisecond the one that counts comes last.
        let place = |evidence: &view::Evidence| (evidence.at, evidence.state == "active", evidence.id.clone());
        evidence.sort_by_cached_key(place);
        let mut limits = self.limits.clone();
        limits.sort();
        view::Identity {
            identifiers: self.identifiers.iter().map(view::Identifier::of).collect(),
            evidence,
            limits: limits.iter().map(view::Limit::of).collect(),
        }
    }
}

impl Piece {
    /// For an outranked claim: the key that had the browser then, and the key that it claims.
    fn rivals(&self) -> Option<(KeyHash, KeyHash)> {
        let EvidenceRef::Claim { key, .. } = &self.evidence else { return None };
        Some((self.outranked_by?, *key))
    }

    fn judged(&mut self, same: bool) {
        self.outranked_by = None;
        if !same {
            (self.state, self.reason) = (State::Suspended, Some(Reason::Superseded));
        }
    }

    fn show(&self) -> view::Evidence {
        view::Evidence {
            id: id(&self.evidence),
            kind: match &self.evidence {
                EvidenceRef::Claim { .. } => "claim",
                EvidenceRef::Fact(fact) if fact.class == FactClass::Provisional => "introduction",
                EvidenceRef::Fact(_) => "fact",
            },
            from: End::of(&self.from),
            to: End::of(&self.to),
            source: self.source.slug(),
            trust: self.trust.slug(),
            state: self.state.slug(),
            reason: self.reason.map(|reason| reason.words().to_owned()),
            at: Time(self.at),
        }
    }
}

/// The id of a decision among evidence in the API.
pub(super) fn decision_id(id: &str) -> String {
    format!("d_{id}")
}

/// The id of a piece of evidence in the API: the same for the same piece, always.
#[must_use]
pub fn id(evidence: &EvidenceRef) -> String {
    let hex = |key: &KeyHash| HEXLOWER.encode(&key.0);
    match evidence {
        EvidenceRef::Fact(fact) => {
            let class = match fact.class {
                FactClass::Explicit => 'e',
                FactClass::Strong => 's',
                FactClass::Provisional => 'p',
            };
            format!("f{class}_{}_{}", hex(&fact.a), hex(&fact.b))
        }
        EvidenceRef::Claim { browser, key, trust, page } => {
            format!("c_{}_{}_{}_{page}", hex(browser), hex(key), trust.slug())
        }
    }
}
