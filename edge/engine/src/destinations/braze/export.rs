//! `/users/export/ids`: people looked up by an id that came without an e-mail.

use super::answer::{Heard, Outcome, later, message, strange, success};
use super::settings::{LookUp, WriteBack};
use crate::destinations::prospect::Prospect;
use crate::event::{Body, FactInput, Record, Source};
use crate::key::{Identifier, KeyType};
use crate::kinds::Kind;
use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The path of the endpoint.
pub const PATH: &str = "/users/export/ids";
/// The most external ids of one call (facts on Braze, section 5). Braze ids and addresses go one by one.
pub const IDS_MAX: usize = 50;
/// What we ask for: never message histories, which would cost the higher rate.
pub const FIELDS: [&str; 10] = [
    "braze_id",
    "external_id",
    "email",
    "phone",
    "first_name",
    "last_name",
    "country",
    "language",
    "email_subscribe",
    "custom_attributes",
];
/// The profile's own fields that become attributes.
const ATTRIBUTES: [&str; 5] = ["first_name", "last_name", "country", "language", "email_subscribe"];
/// The most custom attributes that are kept of one profile.
const CUSTOM_MAX: usize = 100;
/// The longest value that is kept, bytes as JSON.
const VALUE_BYTES_MAX: usize = 1_024;
/// The type of event that an answer is recorded as.
pub const EVENT_TYPE: &str = "braze.export";

/// Whom to look up of a prospect, as `type:value`: all ids of who has no e-mail; the external ids of who has no Braze id, if
/// scores are `written` to the profiles that are found by them; the addresses, if profiles are to be found by those.
#[must_use]
pub fn wanted(prospect: &Prospect, workspace: &str, settings: &LookUp, written: bool) -> Vec<String> {
    if prospect.life_cycle != "active" {
        return Vec::new();
    }
    let names = names(prospect, workspace);
    let has_braze_id = names.iter().any(|name| name.starts_with("braze_id:"));
    let is_wanted = |name: &String| match name.split_once(':').map(|(key_type, _)| key_type) {
        // Fifty go into one call, and the answers name the Braze ids, which then need none of their own.
        Some("external_id") => prospect.email.is_none() || written && !has_braze_id && prospect.excluded.is_none(),
        Some("braze_id") => prospect.email.is_none(),
        _ => settings.by_email,
    };
    names.into_iter().filter(is_wanted).collect()
}

/// All that Braze may know a prospect by, as `type:value`.
#[must_use]
pub fn names(prospect: &Prospect, workspace: &str) -> Vec<String> {
    let of = |key_type: &'static str| {
        prospect.values(key_type, workspace).map(move |value| format!("{key_type}:{value}")).collect::<Vec<_>>()
    };
    // Addresses are the same in every workspace.
    let addresses = prospect.values("email", "").filter(|value| value.contains('@')).chain(prospect.plain_email());
    let addresses: BTreeSet<String> = addresses.map(|address| format!("email:{address}")).collect();
    [of("external_id"), of("braze_id"), addresses.into_iter().collect()].concat()
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Whom it asks for.
    pub targets: Vec<String>,
    /// The exact body.
    pub body: Value,
}

/// The first call that these need, in their order.
#[must_use]
pub fn ask(targets: &[String]) -> Option<Ask> {
    let (first, value) = targets.first()?.split_once(':')?;
    let (targets, name, value): (Vec<String>, _, Value) = match first {
        "external_id" => {
            let same: Vec<String> =
                targets.iter().filter(|target| target.starts_with("external_id:")).take(IDS_MAX).cloned().collect();
            let ids = same.iter().filter_map(|target| target.split_once(':')).map(|(_, id)| id).collect();
            (same, "external_ids", ids)
        }
        "email" => (targets.first().cloned().into_iter().collect(), "email_address", value.into()),
        _ => (targets.first().cloned().into_iter().collect(), "braze_id", value.into()),
    };
    let mut body = json!({ "fields_to_export": FIELDS });
    if let Some(body) = body.as_object_mut() {
        body.insert(name.to_owned(), value);
    }
    Some(Ask { targets, body })
}

/// A profile that Braze knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its own target: by its Braze id; by its external id if it has none.
    pub own: String,
    /// All that it answers to, as `type:value`: what waits to be looked up under any of these is answered.
    pub targets: BTreeSet<String>,
    /// Whether it has an e-mail.
    pub has_email: bool,
    /// What there is to record.
    pub record: Record,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// These are known; who was asked for and is not among them, Braze does not know.
    Known(Vec<Profile>),
    /// Nothing to be read: this call is at fault, or not now.
    Not(Outcome),
}

/// Reads an answer.
#[must_use]
pub fn read(heard: &Heard<'_>, workspace: &str, own: &WriteBack, now: i64, key: &str) -> Answer {
    if let Some(later) = later(heard, key) {
        return Answer::Not(later);
    }
    if !(200..300).contains(&heard.status) {
        return Answer::Not(Outcome::Refused(message(heard, key)));
    }
    let body = match success(heard, key) {
        Ok(body) => body,
        Err(strange) => return Answer::Not(strange),
    };
    // Without a list nobody is unknown.
    let Some(users) = body.get("users").and_then(Value::as_array) else { return Answer::Not(strange(heard, key)) };
    let users = users.iter().filter_map(Value::as_object);
    Answer::Known(users.filter_map(|user| profile(user, workspace, own, now)).collect())
}

fn profile(user: &Map<String, Value>, workspace: &str, own: &WriteBack, now: i64) -> Option<Profile> {
    let types = [
        (KeyType::BrazeId, "braze_id"),
        (KeyType::ExternalId, "external_id"),
        (KeyType::Email, "email"),
        (KeyType::Phone, "phone"),
    ];
    let named = types
        .into_iter()
        .filter_map(|(key_type, field)| Identifier::new(key_type, workspace, user.get(field).and_then(Value::as_str)?));
    let identifiers: Vec<Identifier> = named.collect();
    let target = |identifier: &Identifier| format!("{}:{}", identifier.key_type().slug(), identifier.value());
    let targets = identifiers.iter().map(target).collect();
    let own_target = identifiers.first().map(target)?;
    let has_email = identifiers.iter().any(|identifier| identifier.key_type() == KeyType::Email);
    let mut identifiers = identifiers.into_iter();
    // Recorded under an id: an address may be several profiles'.
    let rec = identifiers.next().filter(|rec| matches!(rec.key_type(), KeyType::BrazeId | KeyType::ExternalId))?;
    let facts: Vec<FactInput> = identifiers.map(|other| FactInput { other, explicit: false }).collect();
    let properties = json!({ "attributes": attributes(user, own) }).to_string();
    let body = Body {
        event_type: Some(EVENT_TYPE.to_owned()),
        properties,
        ..Body::bare(Kind::Other, format!("[Other] {EVENT_TYPE}"), Source::BrazeExport)
    };
    let mut hash = Sha256::new();
    hash.update(&body.properties);
    for fact in &facts {
        hash.update([0]);
        hash.update(target(&fact.other));
    }
    let id = HEXLOWER.encode(&hash.finalize());
    Some(Profile {
        own: own_target,
        targets,
        has_email,
        record: Record { rec, at: now, id, body, facts, claims: Vec::new() },
    })
}

/// What is worth knowing of a profile: but for what was written there by us.
fn attributes(user: &Map<String, Value>, own: &WriteBack) -> Map<String, Value> {
    let fields = ATTRIBUTES.iter().filter_map(|name| Some(((*name).to_owned(), user.get(*name)?.clone())));
    let custom = user.get("custom_attributes").and_then(Value::as_object).into_iter().flatten();
    let custom = custom.filter(|(name, _)| !own.is_ours(name)).take(CUSTOM_MAX);
    let custom = custom.map(|(name, value)| (name.clone(), value.clone()));
    let small = |value: &Value| !value.is_object() && value.to_string().len() <= VALUE_BYTES_MAX;
    // A customer's own `country` does not hide the profile's.
    custom.chain(fields).filter(|(_, value)| small(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::prospect::tests::ada;
    use super::*;
    use crate::destinations::prospect::Identifier as Named;
    use crate::destinations::rate::Limits;
    use crate::destinations::retry::Class;

    const NOW: i64 = 1_767_225_600_000;

    fn somebody(email: Option<&str>, keys: &[(&str, &str)]) -> Prospect {
        let named = |(key_type, value): &(&str, &str)| Named { key_type: (*key_type).into(), value: (*value).into() };
        Prospect { email: email.map(str::to_owned), identifiers: keys.iter().map(named).collect(), ..ada() }
    }

    fn heard(status: u16, body: &Value) -> Answer {
        let body = body.to_string();
        let heard = Heard { status, limits: Limits::default(), body: body.as_bytes() };
        read(&heard, "", &WriteBack::default(), NOW, "secret-key-0123456789")
    }

    #[test]
    fn who_has_no_address_is_looked_up_by_every_id_and_others_for_their_profiles() {
        let wanted = |email: Option<&str>, keys: &[(&str, &str)], by_email: bool, written: bool| {
            wanted(&somebody(email, keys), "", &LookUp { by_email, ..LookUp::default() }, written).join(" ")
        };
        let both = [("braze_id", "b"), ("external_id", "e")];
        assert_eq!(wanted(None, &both, false, true), "external_id:e braze_id:b");
        assert_eq!(wanted(None, &both[..1], false, true), "braze_id:b");
        assert_eq!(wanted(None, &[("visitor", "v")], true, true), "");
        let address = Some("ada@example.com");
        assert_eq!(wanted(address, &both, false, true), "");
        assert_eq!(wanted(address, &both, true, true), "email:ada@example.com", "whatever else is known");
        assert_eq!(wanted(address, &both[1..], false, true), "external_id:e", "to find the profile");
        assert_eq!(wanted(address, &both[1..], false, false), "");
        let addresses = [("email", "a.d.a@example.com"), ("email", "ada@example.com"), ("email", "sha256:ab")];
        assert_eq!(wanted(address, &addresses, true, true), "email:a.d.a@example.com email:ada@example.com");
        assert_eq!(wanted(Some("sha256:ab"), &[], true, true), "");
        let colleague = Prospect { excluded: Some("a colleague".into()), ..somebody(address, &both[1..]) };
        assert_eq!(super::wanted(&colleague, "", &LookUp::default(), true), Vec::<String>::new(), "nothing is written");
    }

    #[test]
    fn external_ids_go_by_fifty_and_others_alone() {
        let mut targets: Vec<String> = (0..60).map(|n| format!("external_id:e:{n}")).collect();
        targets.insert(1, "braze_id:b".to_owned());
        let first = ask(&targets).unwrap();
        assert_eq!(first.targets.len(), 50);
        assert_eq!(first.body["external_ids"][49], "e:49");
        assert_eq!(first.body["fields_to_export"].as_array().map(Vec::len), Some(FIELDS.len()));
        let rest: Vec<String> = targets.into_iter().filter(|target| !first.targets.contains(target)).collect();
        let second = ask(&rest).unwrap();
        assert_eq!((second.targets, &second.body["braze_id"]), (vec!["braze_id:b".to_owned()], &json!("b")));
        let by_email = ask(&["email:a@example.com".to_owned()]).unwrap();
        assert_eq!(by_email.body["email_address"], "a@example.com");
        assert_eq!(ask(&[]), None);
    }

    #[test]
    fn a_profile_becomes_a_record_of_who_it_is_and_what_is_known_of_it() {
        let user = json!({
            "braze_id": "5fbd99bac125ca40511f2cb1", "external_id": "A8i3", "email": " Ada@Example.com ",
            "phone": "+15555550123", "first_name": "Ada", "language": "en", "last_name": null,
            "custom_attributes": { "loyalty": 107, "vip": true, "sw_lead_score": 3.0, "lead_stage": "mql",
                                   "nested": { "a": 1 }, "tags": ["x"], "long": "x".repeat(2_000) },
        });
        let Answer::Known(profiles) = heard(201, &json!({ "message": "success", "users": [user] })) else { panic!() };
        let [Profile { own, targets, has_email, record }] = &profiles[..] else { panic!("{profiles:?}") };
        assert!(*has_email && own == "braze_id:5fbd99bac125ca40511f2cb1");
        let expected =
            ["braze_id:5fbd99bac125ca40511f2cb1", "email:ada@example.com", "external_id:A8i3", "phone:+15555550123"];
        assert!(targets.iter().map(String::as_str).eq(expected));
        assert_eq!((record.rec.key_type(), record.at, record.facts.len()), (KeyType::BrazeId, NOW, 3));
        let properties: Value = serde_json::from_str(&record.body.properties).unwrap();
        let expected = json!({ "loyalty": 107, "vip": true, "tags": ["x"], "first_name": "Ada", "language": "en", "last_name": null });
        assert_eq!(properties["attributes"], expected);
        assert!(record.id.len() == 64 && record.claims.is_empty());
    }

    #[test]
    fn who_is_unknown_to_braze_is_not_among_the_known() {
        let body = json!({ "message": "success", "users": [{ "external_id": "a" }, { "email": "x@example.com" }, 7],
                           "invalid_user_ids": ["b"] });
        let Answer::Known(profiles) = heard(200, &body) else { panic!() };
        assert_eq!(profiles.len(), 1, "a profile without an id is nobody's");
        assert!(!profiles[0].has_email);
    }

    #[test]
    fn trouble_and_refusals_are_told_apart() {
        let refused =
            heard(400, &json!({ "message": "The max number of external_ids and aliases per request was exceeded" }));
        assert!(matches!(refused, Answer::Not(Outcome::Refused(_))));
        for body in
            [json!({ "message": "success" }), json!({ "users": [] }), json!({ "message": "no", "users": [] }), json!(7)]
        {
            assert!(matches!(heard(200, &body), Answer::Not(Outcome::Later { class: Class::Outage, .. })), "{body}");
        }
        assert!(matches!(heard(429, &json!({})), Answer::Not(Outcome::Later { class: Class::Quota, .. })));
        assert!(matches!(heard(503, &json!({})), Answer::Not(Outcome::Later { class: Class::Outage, .. })));
    }
}
