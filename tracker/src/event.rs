//! One event as the wire has it (contract, section 4).

use crate::identity::{self, Claim};
use crate::json::{Object, cut};
use alloc::string::String;

/// The longest event on the wire, in bytes.
pub const EVENT_BYTES_MAX: usize = 16 * 1024;
/// The longest name on the wire, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// What happened. Empty members are not sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Event<'a> {
    /// A kind that a browser may send.
    pub kind: &'a str,
    /// Random, the event's own.
    pub id: &'a str,
    /// Milliseconds since 1970 by the browser's clock. Never changed afterwards.
    pub at: u64,
    /// The id of this page load.
    pub page: &'a str,
    /// The page's address, stripped.
    pub url: &'a str,
    /// Where the page was come to from, stripped.
    pub referrer: &'a str,
    /// The raw name, from which the server makes the label; cut if it is too long.
    pub name: &'a str,
    /// A JSON object.
    pub utm: &'a str,
    /// A JSON object.
    pub properties: &'a str,
    /// `pointer`, `key`, `touch`, `scroll` or `visible`, if a human was noticed.
    pub human: &'a str,
    /// Whose events this browser's are.
    pub claims: &'a [Claim],
}

impl Event<'_> {
    /// The event as JSON; `None` if it is so long that the server would reject it.
    #[must_use]
    pub fn to_json(&self) -> Option<String> {
        let mut json = Object::new()
            .text("id", self.id)
            .number("at", self.at)
            .text("kind", self.kind)
            .text("page", self.page)
            .text_unless_empty("human", self.human)
            .text_unless_empty("url", self.url)
            .text_unless_empty("referrer", self.referrer)
            .text_unless_empty("name", cut(self.name, NAME_BYTES_MAX));
        let claims = identity::to_json(self.claims);
        for (name, value) in [("utm", self.utm), ("properties", self.properties), ("identity", &claims)] {
            if !value.is_empty() {
                json = json.raw(name, value);
            }
        }
        Some(json.finish()).filter(|json| json.len() <= EVENT_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_the_contract_has_it() {
        let claims = [Claim::new("braze_id", "5fbd99bac125ca40511f2cb1", "url").unwrap()];
        let event = Event {
            kind: "engagement",
            id: "e1",
            at: 1_767_225_602_300,
            page: "p1",
            human: "visible",
            properties: r#"{"seconds":2,"scroll":10}"#,
            claims: &claims,
            ..Event::default()
        };
        assert_eq!(
            event.to_json().as_deref(),
            Some(concat!(
                r#"{"id":"e1","at":1767225602300,"kind":"engagement","page":"p1","human":"visible","#,
                r#""properties":{"seconds":2,"scroll":10},"#,
                r#""identity":[{"type":"braze_id","value":"5fbd99bac125ca40511f2cb1","from":"url"}]}"#
            ))
        );
    }

    #[test]
    fn limits() {
        let long = "é".repeat(EVENT_BYTES_MAX / 2);
        assert_eq!(Event { properties: &long, ..Event::default() }.to_json(), None);
        let json = Event { name: &long, ..Event::default() }.to_json().unwrap();
        assert!(json.ends_with(&["\"name\":\"", &"é".repeat(256), "\"}"].concat()));
    }
}
