//! What happened, as accepted from a source and as stored.

use crate::identity::Trust;
use crate::key::Identifier;
use crate::kinds::Kind;
use minicbor::{Decode, Encode};

/// Where something came from. Shown as `source` in the API (contract, section 6). Stored by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Source {
    /// Braze Currents.
    #[n(0)]
    Currents,
    /// The tracker's own events.
    #[n(1)]
    Tracker,
    /// A form submitted on a tracked page.
    #[n(2)]
    Form,
    /// `braze_id` / `br_user_id` in a page's URL.
    #[n(3)]
    Url,
    /// A trackable link.
    #[n(4)]
    Link,
    /// Our own API, with a token.
    #[n(5)]
    Api,
    /// Segment.
    #[n(6)]
    Segment,
    /// A CRM record.
    #[n(7)]
    Crm,
    /// Braze's `/users/export/ids`.
    #[n(8)]
    BrazeExport,
    /// A file.
    #[n(9)]
    Import,
    /// A person at the console.
    #[n(10)]
    Console,
    /// `wingbeat('identify')` in a page.
    #[n(11)]
    Identify,
}

impl Source {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Source::Currents => "currents",
            // `identify` is a call in the page: the API's closed list has no word of its own for it.
            Source::Tracker | Source::Identify => "tracker",
            Source::Form => "form",
            Source::Url => "url",
            Source::Link => "link",
            Source::Api => "api",
            Source::Segment => "segment",
            Source::Crm => "crm",
            Source::BrazeExport => "braze_export",
            Source::Import => "import",
            Source::Console => "console",
        }
    }
}

/// What an event says, without when and under which key: immutable once accepted.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Body {
    /// What sort of thing happened.
    #[n(0)]
    pub kind: Kind,
    /// The rendered label: the same string in timelines and for rules.
    #[n(1)]
    pub name: String,
    /// Who told us.
    #[n(2)]
    pub source: Source,
    /// The source's own type, as sent (`users.messages.email.Open`).
    #[n(3)]
    pub event_type: Option<String>,
    /// The page, without identity parameters.
    #[n(4)]
    pub url: Option<String>,
    /// Where the page was come from, without identity parameters.
    #[n(5)]
    pub referrer: Option<String>,
    /// A JSON object as text, nesting kept as sent, identity parameters removed from any URL in it.
    #[n(6)]
    pub properties: String,
    /// Campaign parameters (`utm.source`, …): a JSON object of strings as text; empty when there are none.
    #[n(7)]
    pub utm: Option<String>,
    /// Why this is taken for a machine's doing; `None` for a person's.
    #[n(8)]
    pub bot: Option<String>,
    /// The page load that it belongs to (tracker only).
    #[n(9)]
    pub page: Option<String>,
}

impl Body {
    /// An event of which nothing is known but what it is.
    #[must_use]
    pub fn bare(kind: Kind, name: String, source: Source) -> Body {
        let (event_type, url, referrer, utm, bot, page) = (None, None, None, None, None, None);
        Body { kind, name, source, event_type, url, referrer, properties: "{}".to_owned(), utm, bot, page }
    }
}

/// One thing that a source reported, checked and normalised: one event, and what it says about identity.
///
/// The event's identity is (`rec`, `at`, `id`): a repeat has all three equal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// The key that it is recorded under, for ever.
    #[n(0)]
    pub rec: Identifier,
    /// When it happened, ms since 1970 UTC, from the payload alone (never corrected here, or a retry becomes a second event).
    #[n(1)]
    pub at: i64,
    /// The sender's id, 1 to 64 of `A-Za-z0-9_-`.
    #[n(2)]
    pub id: String,
    /// What happened.
    #[n(3)]
    pub body: Body,
    /// Other person keys that a server says are the same person as `rec` (a star: `rec` to each).
    #[n(4)]
    pub facts: Vec<FactInput>,
    /// What a browser says about whose its events are.
    #[n(5)]
    pub claims: Vec<ClaimInput>,
}

/// A server's word that `rec` and `other` are one person.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FactInput {
    /// The other person key.
    #[n(0)]
    pub other: Identifier,
    /// Explicit facts (a merge, UserOrphan) may join two `external_id`s.
    #[n(1)]
    pub explicit: bool,
}

/// A browser's word that its events are this person's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClaimInput {
    /// The browser key: nearly always the record's own `rec`.
    #[n(0)]
    pub browser: Identifier,
    /// The person key claimed.
    #[n(1)]
    pub key: Identifier,
    /// How far it is believed.
    #[n(2)]
    pub trust: Trust,
    /// How the claim came about (`url`, `link`, `form`, `identify`, …).
    #[n(3)]
    pub source: Source,
    /// The page load that made it.
    #[n(4)]
    pub page: String,
    /// Whether that page has shown a human by now.
    #[n(5)]
    pub human: bool,
}

/// One item of a request that could not be taken, and why. The rest of the request goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub index: usize,
    /// A word of the contract: `invalid_event`, `missing_field`, `invalid_id`, `invalid_time`, `unknown_kind`, `too_large`.
    pub reason: &'static str,
    /// Which field, and what is wrong with it, in words.
    pub detail: String,
}
