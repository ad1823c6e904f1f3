//! One event as the wire has it (contract, section 4).

use crate::json::{Object, cut};
use alloc::string::String;

/// The longest event on the wire, in bytes.
const EVENT_BYTES_MAX: usize = 16 * 1024;
/// The longest name on the wire, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// An event that is being written. Empty members are left out.
#[derive(Debug)]
pub struct Event(Object);

impl Event {
    /// What every event has. `id` is its own, random; `at` is milliseconds since 1970 by the browser's clock, and never
    /// changes afterwards; `page` is the id of the page load; `human` is how a human was noticed, empty if none was.
    #[must_use]
    pub fn new(kind: &str, id: &str, at: u64, page: &str, human: &str) -> Event {
        let mut json = Object::new();
        json.text("id", id);
        json.number("at", at);
        json.text("kind", kind);
        json.text("page", page);
        json.text("human", human);
        Event(json)
    }

    /// Adds the page's address or where it was come to from (`url`, `referrer`), stripped.
    pub fn address(&mut self, member: &str, url: &str) {
        self.0.text(member, url);
    }

    /// Adds the raw name, from which the server makes the label; cut if it is too long.
    pub fn name(&mut self, name: &str) {
        self.0.text("name", cut(name, NAME_BYTES_MAX));
    }

    /// Adds `utm` or `properties`, JSON objects.
    pub fn object(&mut self, member: &str, json: &str) {
        self.0.raw(member, json);
    }

    /// Adds the claims and returns the event as JSON; empty if it is so long that the server would reject it.
    #[must_use]
    pub fn finish(mut self, claims: &str) -> String {
        if !claims.is_empty() {
            self.0.array("identity", claims);
        }
        let json = self.0.finish();
        if json.len() > EVENT_BYTES_MAX { String::new() } else { json }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::claim;

    #[test]
    fn is_as_the_contract_has_it() {
        let mut event = Event::new("engagement", "e1", 1_767_225_602_300, "p1", "visible");
        event.object("properties", r#"{"seconds":2,"scroll":10}"#);
        event.object("utm", "");
        event.name("");
        assert_eq!(
            event.finish(&claim("braze_id", "5fbd99bac125ca40511f2cb1", "url")),
            concat!(
                r#"{"id":"e1","at":1767225602300,"kind":"engagement","page":"p1","human":"visible","#,
                r#""properties":{"seconds":2,"scroll":10},"#,
                r#""identity":[{"type":"braze_id","value":"5fbd99bac125ca40511f2cb1","from":"url"}]}"#
            )
        );
    }

    #[test]
    fn limits() {
        let long = "é".repeat(EVENT_BYTES_MAX / 2);
        let mut event = Event::new("custom", "e1", 1, "p1", "");
        event.object("properties", &long);
        assert_eq!(event.finish(""), "");
        let mut event = Event::new("custom", "e1", 1, "p1", "");
        event.name(&long);
        assert!(event.finish("").ends_with(&["\"name\":\"", &"é".repeat(256), "\"}"].concat()));
    }
}
