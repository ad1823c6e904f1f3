//! Who is who: the words of identity, and the naive function that defines them.
//!
//! Only servers join known people (facts). A browser is never a bridge between two: what happens in it only says
//! whose its events are, and for which time (claims).

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
