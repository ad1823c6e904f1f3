//! Made-up people and what they do, in the two wire formats.

use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Somebody nobody else has heard of.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// 24 hex digits, as Braze's are.
    pub(crate) braze_id: String,
    pub(crate) external_id: String,
    pub(crate) email: String,
}

impl Person {
    pub(crate) fn new(name: &str) -> Person {
        Person::at(name, "example.com")
    }

    /// With an address at this domain.
    pub(crate) fn at(name: &str, domain: &str) -> Person {
        let unique = Uuid::new_v4().simple().to_string();
        let (short, _) = unique.split_at(12);
        Person {
            braze_id: unique.chars().take(24).collect(),
            external_id: format!("customer-{short}"),
            email: format!("{name}.{short}@{domain}"),
        }
    }

    /// The `user` of an event that Braze knows both ids of.
    pub(crate) fn user(&self) -> Value {
        json!({ "user_id": self.braze_id, "external_user_id": self.external_id, "timezone": "Europe/Berlin" })
    }

    /// The `user` of an event that names nothing but the Braze id.
    pub(crate) fn braze_user(&self) -> Value {
        json!({ "user_id": self.braze_id })
    }

    /// A click in a campaign's mail, which names both the Braze id and the address.
    pub(crate) fn email_click(&self, at: i64) -> Value {
        let properties = json!({ "email_address": self.email, "campaign_name": "Spring sale", "url": "https://shop.example/spring" });
        currents("users.messages.email.Click", at, &self.braze_user(), &properties)
    }
}

/// A random UUID: an event's id, or a visitor's.
pub(crate) fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the sun dies")
}

/// A time in ms as the API takes and shows it.
pub(crate) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).expect("a time").to_string()
}

/// An event as Braze sends it. `at` is in ms, as everywhere here; Braze's own unit is the second.
pub(crate) fn currents(event_type: &str, at: i64, user: &Value, properties: &Value) -> Value {
    json!({ "event_type": event_type, "id": uuid(), "time": at / 1_000, "user": user, "properties": properties })
}

/// An event as the tracker sends it, of a page load of its own.
pub(crate) fn tracked(kind: &str, at: i64, more: Value) -> Value {
    let mut event = Map::new();
    event.insert("id".into(), uuid().into());
    event.insert("at".into(), at.into());
    event.insert("kind".into(), kind.into());
    event.insert("page".into(), uuid().into());
    if let Value::Object(more) = more {
        event.extend(more);
    }
    Value::Object(event)
}

pub(crate) fn page_view(at: i64, url: &str) -> Value {
    tracked("page_view", at, json!({ "url": url, "name": "A page" }))
}

/// What a link from a Braze mail makes the tracker claim, on a page that shows a human.
pub(crate) fn link_visit(at: i64, url: &str, braze_id: &str) -> Value {
    let claim = json!([{ "type": "braze_id", "value": braze_id, "from": "url" }]);
    tracked("page_view", at, json!({ "url": url, "name": "A page", "human": "pointer", "identity": claim }))
}

/// A form with an address in it.
pub(crate) fn form(at: i64, name: &str, email: &str) -> Value {
    let claim = json!([{ "type": "email", "value": email, "from": "form" }]);
    tracked(
        "form_submit",
        at,
        json!({ "url": "https://shop.example/contact", "name": name, "human": "key", "identity": claim }),
    )
}

/// The id of an event, as sent.
pub(crate) fn id(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}
