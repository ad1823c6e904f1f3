//! Who is who: the words of identity, and the naive function that defines them.
//!
//! Only servers join known people (facts). A browser is never a bridge between two: what happens in it only says
//! whose its events are, and for which time (claims).

pub mod naive;
pub mod policy;

#[cfg(any(test, feature = "native"))]
pub mod generate;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod stories;

use crate::key::{Identifier, KeyHash, KeyType};
use minicbor::{Decode, Encode};

/// How far evidence is believed. The order is the order of belief.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Trust {
    /// A parameter in a URL: a signature says who made a link, not who clicked it. Pending until a human shows.
    #[n(1)]
    Weak,
    /// A form, `identify`, a Segment browser library.
    #[n(2)]
    Medium,
    /// A server with a token.
    #[n(3)]
    Strong,
}

impl Trust {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Trust::Weak => "weak",
            Trust::Medium => "medium",
            Trust::Strong => "strong",
        }
    }
}

/// What kind of fact. The order is the one in which facts are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum FactClass {
    /// A person's merge, Braze's `UserOrphan`: may join two `external_id`s.
    #[n(0)]
    Explicit,
    /// A server's word.
    #[n(1)]
    Strong,
    /// An introduction: one browser was seen with both keys, and nothing else is known of the e-mail.
    #[n(2)]
    Provisional,
}

/// That two person keys are one person. The same pair in two classes is two facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Fact {
    /// How it came about.
    #[n(0)]
    pub class: FactClass,
    /// The smaller key.
    #[n(1)]
    pub a: KeyHash,
    /// The greater key.
    #[n(2)]
    pub b: KeyHash,
}

impl Fact {
    /// The fact between two keys, in either order; `None` for a key and itself.
    #[must_use]
    pub fn new(class: FactClass, one: KeyHash, two: KeyHash) -> Option<Fact> {
        (one != two).then(|| Fact { class, a: one.min(two), b: one.max(two) })
    }

    /// Whether keys of these two types are the two ids of one profile in Braze, of which it has one each. Such facts come
    /// before others of their class: profiles may share an address, and what they share must not take one of a profile's
    /// ids away from the other.
    #[must_use]
    pub fn is_of_one_profile(one: KeyType, other: KeyType) -> bool {
        matches!((one, other), (KeyType::ExternalId, KeyType::BrazeId) | (KeyType::BrazeId, KeyType::ExternalId))
    }

    /// The other end.
    #[must_use]
    pub fn other(&self, end: KeyHash) -> KeyHash {
        if self.a == end { self.b } else { self.a }
    }
}

/// One piece of evidence, by what makes it the same piece when it comes again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum EvidenceRef {
    /// Two person keys; an introduction is the one of class [`FactClass::Provisional`].
    #[n(0)]
    Fact(#[n(0)] Fact),
    /// A browser and a person key.
    #[n(1)]
    Claim {
        /// The browser.
        #[n(0)]
        browser: KeyHash,
        /// The person key that it claims.
        #[n(1)]
        key: KeyHash,
        /// How far it is believed.
        #[n(2)]
        trust: Trust,
        /// The page load that made it.
        #[n(3)]
        page: String,
    },
}

/// What became of a piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum State {
    /// A weak claim whose page has shown no human yet.
    #[n(0)]
    Pending,
    /// It counts.
    #[n(1)]
    Active,
    /// A claim that says otherwise than one of higher trust.
    #[n(2)]
    Suspended,
    /// Refused, for a reason that is looked at again whenever anything near it changes.
    #[n(3)]
    Conflict,
    /// A person separated the two.
    #[n(4)]
    Undone,
}

impl State {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Active => "active",
            State::Suspended => "suspended",
            State::Conflict => "conflict",
            State::Undone => "undone",
        }
    }
}

/// Why a piece of evidence is not active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Reason {
    /// The page that made it has shown no human.
    #[n(0)]
    NoHuman,
    /// The browser has a claim of higher trust for somebody else.
    #[n(1)]
    Superseded,
    /// A limit of the policy: earlier evidence took the places.
    #[n(2)]
    Limit,
    /// A person separated the two, or others that it would bring together.
    #[n(3)]
    Separated,
    /// It would put two `external_id`s together.
    #[n(4)]
    TwoExternalIds,
    /// It would put an address of the internal list together with another.
    #[n(5)]
    Internal,
    /// An introduction whose e-mail belongs to somebody already.
    #[n(6)]
    EmailKnown,
    /// An introduction of an id that has another e-mail.
    #[n(7)]
    TwoEmails,
}

impl Reason {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Reason::NoHuman => "no_human",
            Reason::Superseded => "superseded",
            Reason::Limit => "limit",
            Reason::Separated => "separated",
            Reason::TwoExternalIds => "two_external_ids",
            Reason::Internal => "internal",
            Reason::EmailKnown => "email_known",
            Reason::TwoEmails => "two_emails",
        }
    }

    /// It said to a person.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Reason::NoHuman => "the page that made it has shown no human yet",
            Reason::Superseded => "this browser has a claim of higher trust for somebody else",
            Reason::Limit => "limit: earlier evidence has taken all the places that such a key offers",
            Reason::Separated => "a colleague has separated the two",
            Reason::TwoExternalIds => "it would put two external ids together",
            Reason::Internal => "it would put one of your own people together with another address",
            Reason::EmailKnown => "the e-mail belongs to somebody already",
            Reason::TwoEmails => "the id has another e-mail",
        }
    }
}

/// What a person decided about two prospects, on their key sets as they stood (browsers that they held included).
/// Per pair of keys the latest decides; at one and the same time a merge does.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Decision {
    /// No prospect may hold a key of each side, and a browser of one side claims no key of the other.
    #[n(0)]
    Separate {
        /// The decision's id.
        #[n(0)]
        id: String,
        /// The server's time, ms since 1970 UTC.
        #[n(1)]
        at: i64,
        /// The keys of one side.
        #[n(2)]
        left: Vec<Identifier>,
        /// The keys of the other.
        #[n(3)]
        right: Vec<Identifier>,
    },
    /// An explicit fact between the two founders, which lifts earlier separations of the two sides.
    ///
    /// The founder of an anonymous prospect is its browser, and browsers have no facts: merging one into a person is
    /// a strong claim, with the decision's id for a page. Two browsers cannot be merged: there is no person to claim.
    #[n(1)]
    Merge {
        /// The decision's id.
        #[n(0)]
        id: String,
        /// The server's time, ms since 1970 UTC.
        #[n(1)]
        at: i64,
        /// The founder of the one side.
        #[n(2)]
        keep: Identifier,
        /// The founder of the other.
        #[n(3)]
        other: Identifier,
        /// The keys of the two sides: separations between them end.
        #[n(4)]
        lifts: (Vec<Identifier>, Vec<Identifier>),
    },
}
