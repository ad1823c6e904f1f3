//! What a user sees through the API.

use super::scene::{Browser, Key, Scene};
use crate::harness::api::items;
use crate::harness::snapshot::{explanation, millionths};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One prospect, looked at.
pub(crate) struct Seen<'s> {
    scene: &'s Scene,
    prospect: Value,
}

/// What is no deed of the person's: how long a page was read, what was sent, who a page says that it is.
const NO_DEEDS: [&str; 4] = ["engagement", "email_delivery", "identify", "other"];

impl Scene {
    /// Whoever holds this key now, or whoever's this browser is now.
    #[track_caller]
    pub(crate) fn sees(&self, key: &Key) -> Seen<'_> {
        self.look();
        let prospect = self.api.prospect(&key.reference());
        assert_eq!(prospect["life_cycle"], "active", "{prospect}");
        self.told.borrow_mut().ids.insert(text(&prospect["id"]).to_owned());
        Seen { scene: self, prospect }
    }

    #[track_caller]
    pub(crate) fn sees_nobody(&self, key: &Key) {
        self.look();
        assert_eq!(self.api.find(&key.reference()), None, "{key:?}");
    }

    /// As many people as keys.
    #[track_caller]
    pub(crate) fn sees_apart(&self, keys: &[&Key]) {
        let ids: Vec<String> = keys.iter().map(|key| self.sees(key).id()).collect();
        let different: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(different.len(), keys.len(), "{ids:?} of {keys:?}");
    }

    /// What has become of what is known between two keys, and why. `why` is a part of the reason; empty for none.
    #[track_caller]
    pub(crate) fn sees_evidence(&self, kind: &str, one: &Key, other: &Key, state: &str, why: &str) {
        let found = self.evidence(kind, one, other);
        let Some(latest) = found.last() else { panic!("no {kind} between {one:?} and {other:?}") };
        assert_eq!(latest["state"], state, "{latest}");
        let reason = latest["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(why) && reason.is_empty() == why.is_empty(), "{latest}");
    }

    /// That nothing of a kind was ever known between two keys.
    #[track_caller]
    pub(crate) fn sees_no_evidence(&self, kind: &str, one: &Key, other: &Key) {
        assert_eq!(self.evidence(kind, one, other), Vec::<Value>::new());
    }

    /// An id that was shown once says into whom it has gone.
    #[track_caller]
    pub(crate) fn sees_merged(&self, id: &str, into: &Key) {
        self.look();
        let (old, now) = (self.api.prospect(id), self.api.prospect(&into.reference()));
        assert_eq!((&old["id"], &old["life_cycle"]), (&id.into(), &"merged".into()), "{old}");
        assert_eq!(old["merged_into"], now["id"]);
        assert_eq!(items(&old["identifiers"]), Vec::<Value>::new());
    }

    fn look(&self) {
        self.told.borrow_mut().looks += 1;
    }

    /// Whatever either end is asked about it, in the order of time.
    #[track_caller]
    fn evidence(&self, kind: &str, one: &Key, other: &Key) -> Vec<Value> {
        self.look();
        let ends = BTreeSet::from([one.json().to_string(), other.json().to_string()]);
        let asked = [one, other].map(Key::reference);
        let asked = asked.iter().filter(|reference| self.api.find(reference).is_some());
        let all = asked.flat_map(|reference| self.api.evidence(reference)).filter(|piece| {
            piece["kind"] == kind && BTreeSet::from([piece["from"].to_string(), piece["to"].to_string()]) == ends
        });
        let by_id: BTreeMap<(String, String), Value> =
            all.map(|piece| ((text(&piece["at"]).to_owned(), text(&piece["id"]).to_owned()), piece)).collect();
        by_id.into_values().collect()
    }
}

impl Seen<'_> {
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        text(&self.prospect["id"]).to_owned()
    }

    /// These are the person's keys, and there are no others.
    #[track_caller]
    pub(crate) fn holds_exactly(self, keys: &[&Key]) -> Self {
        let expected: BTreeSet<(&str, &str)> = keys.iter().map(|key| (key.key_type, key.value.as_str())).collect();
        assert_eq!(self.held(|key_type| key_type != "visitor"), expected, "{}", self.prospect["id"]);
        self
    }

    /// These browsers are the person's now, and no others.
    #[track_caller]
    pub(crate) fn in_browsers(self, browsers: &[&Browser<'_>]) -> Self {
        let expected: BTreeSet<(&str, &str)> =
            browsers.iter().map(|browser| ("visitor", browser.key.value.as_str())).collect();
        assert_eq!(self.held(|key_type| key_type == "visitor"), expected, "{}", self.prospect["id"]);
        self
    }

    /// The address that the person is shown with.
    #[track_caller]
    pub(crate) fn goes_by(self, email: &Key) -> Self {
        assert_eq!(self.prospect["email"], email.value.as_str());
        assert_eq!(self.prospect["identified"], true);
        self
    }

    /// Nobody knows the person's address.
    #[track_caller]
    pub(crate) fn has_no_email(self) -> Self {
        assert_eq!(self.prospect["email"], Value::Null);
        assert_eq!(self.prospect["identified"], false);
        self
    }

    #[track_caller]
    pub(crate) fn of_company(self, domain: Option<&str>) -> Self {
        assert_eq!(self.prospect["account"].as_str(), domain);
        self
    }

    /// What the person did, from the first to the last. A machine's doing ends in `(bot)`.
    #[track_caller]
    pub(crate) fn did(self, deeds: &[&str]) -> Self {
        let timeline = self.scene.api.timeline(&self.id());
        let named =
            |item: &Value| format!("{}{}", text(&item["name"]), if item["bot"].is_null() { "" } else { " (bot)" });
        let mut found: Vec<String> =
            timeline.iter().filter(|item| !NO_DEEDS.contains(&text(&item["kind"]))).map(named).collect();
        found.reverse();
        assert_eq!(found, deeds, "of {}", self.prospect["id"]);
        self
    }

    /// How many points of engagement that earned, before any of it decays. The score's parts must add up to its value.
    #[track_caller]
    pub(crate) fn earned(self, points: i64) -> Self {
        let timeline = self.scene.api.timeline(&self.id());
        let earned = timeline.iter().map(|item| item["points"].get("engagement").map_or(0, millionths)).sum::<i64>();
        assert_eq!(earned, points * 1_000_000, "{}: {timeline:#?}", self.prospect["id"]);
        let value = millionths(&explanation(&self.scene.api, &self.id(), "engagement")["value"]);
        assert_eq!(value > 0, points > 0, "the score is {value} millionths");
        self
    }

    fn held(&self, is_meant: impl Fn(&str) -> bool) -> BTreeSet<(&str, &str)> {
        let held = self.prospect["identifiers"].as_array().into_iter().flatten();
        let held = held.map(|key| (text(&key["type"]), text(&key["value"])));
        held.filter(|(key_type, _)| is_meant(key_type)).collect()
    }
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
