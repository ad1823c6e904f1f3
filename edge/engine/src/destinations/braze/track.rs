//! `/users/track`: scores written back. Absolute values of what changed, to profiles that exist, one object each.

use super::answer::Refused;
use super::settings::{FIELDS, STAGE_EVENT, WriteBack};
use crate::destinations::ledger::Due;
use crate::destinations::prospect::Prospect;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The most objects of all arrays of a request together (facts on Braze, section 4).
pub const OBJECTS_MAX: usize = 75;
/// The name in the ledger of the stage that an event has told of: no attribute can have it (`settings`).
const STAGE_TOLD: &str = "$lead_stage_changed";
/// The path of the endpoint. No trailing slash: it causes odd errors.
pub const PATH: &str = "/users/track";

/// What of a model Braze's readers are to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The main score's slug.
    pub main: String,
    /// The first stage's slug: who is there has reached nothing yet.
    pub first_stage: Option<String>,
    /// Names of tags by slug.
    pub tags: BTreeMap<String, String>,
    /// The other scores' slugs.
    pub scores: Vec<String>,
}

impl Names {
    /// As a model's JSON says.
    #[must_use]
    pub fn of(model: &Value) -> Names {
        let list = |name: &str| model.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let slug = |item: &Value| item.get("slug").and_then(Value::as_str).unwrap_or_default().to_owned();
        let main = list("scores").iter().find(|score| score.get("main") == Some(&Value::Bool(true)));
        let name = |tag: &Value| tag.get("name").and_then(Value::as_str).map_or_else(|| slug(tag), str::to_owned);
        let main = main.or(list("scores").first()).map(slug).unwrap_or_default();
        Names {
            scores: list("scores").iter().map(slug).filter(|slug| *slug != main).collect(),
            main,
            first_stage: list("stages").first().map(slug),
            tags: list("tags").iter().map(|tag| (slug(tag), name(tag))).collect(),
        }
    }
}

/// The profiles of a prospect: every Braze id, or, while none is known, every external id. (A profile with an external id
/// has a Braze id, too: naming both would write to it twice.)
#[must_use]
pub fn targets(prospect: &Prospect, workspace: &str) -> Vec<String> {
    let of = |key_type: &'static str| -> Vec<String> {
        prospect.values(key_type, workspace).map(|value| format!("{key_type}:{value}")).collect()
    };
    let by_braze = of("braze_id");
    if by_braze.is_empty() { of("external_id") } else { by_braze }
}

/// The attributes that a prospect's profiles should have. None at all for who is not scored, or is gone: what was written
/// before is removed.
#[must_use]
pub fn wanted(prospect: &Prospect, names: &Names, settings: &WriteBack) -> Map<String, Value> {
    let mut wanted = Map::new();
    if prospect.excluded.is_some() || prospect.life_cycle != "active" {
        return wanted;
    }
    for field in FIELDS {
        let Some(name) = settings.name(field) else { continue };
        let value = match field {
            "lead_score" => score(prospect, &names.main, settings.decimals),
            "predictive_score" => Some(prospect.temperature.to_uppercase().into()),
            "tags" => Some(tags(prospect, names)),
            "last_active_at" => prospect.last_active_at.clone().map(Value::from),
            "session_count" => Some(prospect.sessions.into()),
            "favorite" => prospect.favorite.then_some(Value::Bool(true)),
            _ => prospect.owner_email.clone().map(Value::from),
        };
        wanted.extend(value.map(|value| (name, value)));
    }
    for slug in prospect.scores.keys().filter(|slug| **slug != names.main) {
        let value = settings.name(slug).and_then(|name| Some((name, score(prospect, slug, settings.decimals)?)));
        wanted.extend(value);
    }
    if let Some(name) = &settings.main_score_copy {
        wanted.extend(score(prospect, &names.main, settings.decimals).map(|value| (name.clone(), value)));
    }
    if let (Some(name), Some(stage)) = (&settings.stage, &prospect.stage) {
        wanted.insert(name.clone(), stage.clone().into());
    }
    wanted
}

/// The names of all attributes that profiles may have by these settings, with a value or without.
#[must_use]
pub fn managed(names: &Names, settings: &WriteBack) -> BTreeSet<String> {
    let scores = names.scores.iter().map(String::as_str);
    let named = FIELDS.into_iter().chain(scores).filter_map(|field| settings.name(field));
    named.chain(settings.main_score_copy.clone()).chain(settings.stage.clone()).collect()
}

/// What the ledger is to have of a prospect's profiles: the attributes, and the stage that events have told of.
#[must_use]
pub fn to_tell(prospect: &Prospect, names: &Names, settings: &WriteBack) -> Map<String, Value> {
    let mut wanted = wanted(prospect, names, settings);
    let stage = settings.stage.as_ref().and_then(|name| wanted.get(name).cloned());
    wanted.extend(stage.map(|stage| (STAGE_TOLD.to_owned(), stage)));
    wanted
}

/// The attributes among what the ledger has.
#[must_use]
pub fn attributes(values: &Map<String, Value>) -> Map<String, Value> {
    values.iter().filter(|(name, _)| *name != STAGE_TOLD).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What a profile holds after an answer.
#[must_use]
pub fn holds(due: &Due, request: &Request, refused: &Refused) -> Map<String, Value> {
    let of_attributes = if refused.attributes.contains_key(&due.target) { &due.confirmed } else { &due.wanted };
    // Who was not to be told of the stage by an event has it with the attributes.
    let told = match request.events.contains(&due.target) {
        true if refused.events.contains_key(&due.target) => &due.confirmed,
        true => &due.wanted,
        false => of_attributes,
    };
    let told = told.get(STAGE_TOLD).map(|stage| (STAGE_TOLD.to_owned(), stage.clone()));
    attributes(of_attributes).into_iter().chain(told).collect()
}

/// Braze takes at most 500 items of an array.
const TAGS_MAX: usize = 500;

fn tags(prospect: &Prospect, names: &Names) -> Value {
    let name = |slug: &String| names.tags.get(slug).unwrap_or(slug).clone();
    prospect.tags.iter().take(TAGS_MAX).map(name).collect()
}

/// A score to so many decimals: always a float, since the first value decides the attribute's type in Braze.
fn score(prospect: &Prospect, slug: &str, decimals: u32) -> Option<Value> {
    let value = prospect.scores.get(slug)?.value?;
    let scale = libm::pow(10.0, f64::from(decimals.min(6)));
    // Adding zero makes a negative one positive.
    Some((libm::round(value * scale) / scale + 0.0).into())
}

/// Whether this should be told at once: a stage that is another than Braze has, unless it is the first one of somebody
/// new.
#[must_use]
pub fn is_urgent(
    wanted: &Map<String, Value>,
    confirmed: &Map<String, Value>,
    names: &Names,
    settings: &WriteBack,
) -> bool {
    let Some(name) = &settings.stage else { return false };
    let (now, before) = (wanted.get(name).and_then(Value::as_str), confirmed.get(name).and_then(Value::as_str));
    now.is_some() && now != before && (before.is_some() || now != names.first_stage.as_deref())
}

/// What a profile may hold besides, after a request whose answer is lost: of what it said nobody knows whether it counts, so
/// that it is said again even if what was there before is wanted by then.
#[must_use]
pub fn doubtful(due: &Due) -> Map<String, Value> {
    let said = attributes(&difference(&due.wanted, &due.confirmed));
    said.into_iter().map(|(name, _)| (name, json!({ "unknown": true }))).collect()
}

/// What must be told: values that are not confirmed, `null` for what is to be there no more.
#[must_use]
pub fn difference(wanted: &Map<String, Value>, confirmed: &Map<String, Value>) -> Map<String, Value> {
    let gone = confirmed.keys().filter(|name| !wanted.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let new = wanted.iter().filter(|(name, value)| confirmed.get(*name) != Some(value));
    new.map(|(name, value)| (name.clone(), value.clone())).chain(gone).collect()
}

/// A request, and whose its objects are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// How many of those who are due it is about. It may have nothing to say of them.
    pub covers: usize,
    /// Of `attributes`, in order; each is a target.
    pub attributes: Vec<String>,
    /// Of `events`, in order.
    pub events: Vec<String>,
    /// The exact body.
    pub body: Value,
}

impl Request {
    /// As many of these as fit.
    #[must_use]
    pub fn of(due: &[Due], settings: &WriteBack, objects_max: usize) -> Request {
        let (mut attributes, mut events) = (Vec::new(), Vec::new());
        let mut request = Request::default();
        for due in due {
            let (object, event) = (object(due), stage_event(due, settings));
            let objects = [&attributes, &events].map(Vec::len).iter().sum::<usize>();
            let objects = objects + usize::from(object.is_some()) + usize::from(event.is_some());
            // One profile's objects always fit.
            if request.covers > 0 && objects > objects_max.min(OBJECTS_MAX) {
                break;
            }
            request.covers += 1;
            request.attributes.extend(object.is_some().then(|| due.target.clone()));
            request.events.extend(event.is_some().then(|| due.target.clone()));
            attributes.extend(object);
            events.extend(event);
        }
        let arrays = [("attributes", attributes), ("events", events)];
        let arrays = arrays.into_iter().filter(|(_, objects)| !objects.is_empty());
        request.body = Value::Object(arrays.map(|(name, objects)| (name.to_owned(), objects.into())).collect());
        request
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.events.is_empty()
    }

    /// Whose an object is, by its array and place, as errors name it.
    #[must_use]
    pub fn target(&self, array: &str, index: usize) -> Option<&str> {
        let of = match array {
            "attributes" => &self.attributes,
            "events" => &self.events,
            _ => return None,
        };
        of.get(index).map(String::as_str)
    }
}

/// Who an object is about. Never creates anybody.
fn about(target: &str) -> Map<String, Value> {
    let (key_type, value) = target.split_once(':').unwrap_or(("braze_id", target));
    Map::from_iter([(key_type.to_owned(), value.into()), ("_update_existing_only".to_owned(), true.into())])
}

fn object(due: &Due) -> Option<Value> {
    let different = attributes(&difference(&due.wanted, &due.confirmed));
    if different.is_empty() {
        return None;
    }
    let mut object = about(&due.target);
    object.extend(different);
    Some(Value::Object(object))
}

/// The event of a stage that changed since events last told of one. None of somebody's first stage here: there was no
/// change.
fn stage_event(due: &Due, settings: &WriteBack) -> Option<Value> {
    if !settings.stage_event {
        return None;
    }
    let (from, to) = (due.confirmed.get(STAGE_TOLD)?, due.wanted.get(STAGE_TOLD)?);
    if from == to {
        return None;
    }
    let mut event = about(&due.target);
    event.insert("name".to_owned(), STAGE_EVENT.into());
    event.insert("time".to_owned(), crate::time::show(due.changed_at)?.into());
    let mut properties = Map::from_iter([("from".to_owned(), from.clone()), ("to".to_owned(), to.clone())]);
    let score = settings.name("lead_score").and_then(|name| due.wanted.get(&name).cloned());
    properties.extend(score.map(|score| ("score".to_owned(), score)));
    event.insert("properties".to_owned(), properties.into());
    Some(Value::Object(event))
}

#[cfg(test)]
mod tests {
    use super::super::super::prospect::tests::ada;
    use super::*;
    use serde_json::json;

    fn names() -> Names {
        Names::of(&json!({
            "scores": [{ "slug": "fit" }, { "slug": "engagement", "main": true }],
            "tags": [{ "slug": "pricing", "name": "Pricing" }],
            "stages": [{ "slug": "lead" }, { "slug": "mql" }],
        }))
    }

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn due(target: &str, wanted: Value, confirmed: Value) -> Due {
        let changed_at = 1_767_225_600_000;
        let (target, wanted, confirmed) = (target.to_owned(), map(wanted), map(confirmed));
        Due { target, wanted, confirmed, changed_at, failures: 0, withdrawn: false }
    }

    #[test]
    fn the_attributes_are_those_of_the_market_under_their_names() {
        let settings = WriteBack { main_score_copy: Some("lead score".into()), ..WriteBack::default() };
        let expected = json!({
            "sw_lead_score": 72.5, "sw_predictive_score": "HOT", "sw_tags": ["Pricing", "unheard-of"],
            "sw_last_active_at": "2026-03-01T10:00:00Z", "sw_session_count": 3, "sw_fit": 40.0,
            "lead score": 72.5, "lead_stage": "mql",
        });
        let wanted = wanted(&ada(), &names(), &settings);
        assert_eq!(wanted, map(expected));
        assert_eq!(wanted["sw_fit"].to_string(), "40.0", "a float from the first value on");
    }

    #[test]
    fn who_is_excluded_or_gone_has_no_attributes() {
        for prospect in [
            Prospect { excluded: Some("a colleague".into()), ..ada() },
            Prospect { life_cycle: "deleted".into(), ..ada() },
        ] {
            assert!(wanted(&prospect, &names(), &WriteBack::default()).is_empty());
        }
    }

    #[test]
    fn all_braze_ids_are_written_to_and_external_ids_only_without_one() {
        assert_eq!(targets(&ada(), ""), ["braze_id:5fbd99bac125ca40511f2cb1"]);
        assert_eq!(targets(&ada(), "eu"), ["external_id:42"]);
        assert_eq!(targets(&ada(), "us"), Vec::<String>::new());
    }

    #[test]
    fn only_what_differs_is_told_absolutely_and_what_has_gone_is_removed() {
        let wanted = map(json!({ "a": 1.0, "b": ["x"], "c": "new" }));
        let confirmed = map(json!({ "a": 1.0, "b": ["y"], "d": true }));
        assert_eq!(difference(&wanted, &confirmed), map(json!({ "b": ["x"], "c": "new", "d": null })));
        assert!(difference(&wanted, &wanted).is_empty());
    }

    #[test]
    fn a_stage_is_told_at_once_but_for_the_first_of_somebody_new() {
        let urgent = |wanted, confirmed| is_urgent(&map(wanted), &map(confirmed), &names(), &WriteBack::default());
        assert!(!urgent(json!({ "lead_stage": "lead" }), json!({})));
        assert!(urgent(json!({ "lead_stage": "mql" }), json!({})));
        assert!(urgent(json!({ "lead_stage": "lead" }), json!({ "lead_stage": "mql" })));
        assert!(!urgent(json!({ "lead_stage": "mql", "x": 1 }), json!({ "lead_stage": "mql" })));
        assert!(!urgent(json!({}), json!({ "lead_stage": "mql" })));
    }

    #[test]
    fn a_request_has_one_object_for_each_profile_and_75_at_most_events_included() {
        let many: Vec<Due> =
            (0..100).map(|n| due(&format!("braze_id:{n}"), json!({ "sw_lead_score": 1.5 }), json!({}))).collect();
        let request = Request::of(&many, &WriteBack::default(), OBJECTS_MAX);
        assert_eq!((request.attributes.len(), request.events.len()), (75, 0));
        let object = json!({ "braze_id": "0", "_update_existing_only": true, "sw_lead_score": 1.5 });
        assert_eq!(request.body["attributes"][0], object);
        assert_eq!(request.body.as_object().map(Map::len), Some(1));

        let settings = WriteBack { stage_event: true, ..WriteBack::default() };
        let moved = |n| {
            let wanted = json!({ "lead_stage": "mql", STAGE_TOLD: "mql", "sw_lead_score": 51.0 });
            let confirmed = json!({ "lead_stage": "lead", STAGE_TOLD: "lead", "sw_lead_score": 51.0 });
            due(&format!("external_id:{n}"), wanted, confirmed)
        };
        let many: Vec<Due> = (0..100).map(moved).collect();
        let request = Request::of(&many, &settings, OBJECTS_MAX);
        assert_eq!((request.attributes.len(), request.events.len()), (37, 37));
        let object = json!({ "external_id": "0", "_update_existing_only": true, "lead_stage": "mql" });
        assert_eq!(request.body["attributes"][0], object);
        let event = json!({
            "external_id": "0", "_update_existing_only": true, "name": "lead_stage_changed",
            "time": "2026-01-01T00:00:00Z", "properties": { "from": "lead", "to": "mql", "score": 51.0 },
        });
        assert_eq!(request.body["events"][0], event);
        assert_eq!(request.target("events", 36), Some("external_id:36"));
        assert_eq!((request.target("attributes", 37), request.target("purchases", 0)), (None, None));
    }

    #[test]
    fn somebodys_first_stage_is_no_change() {
        let settings = WriteBack { stage_event: true, ..WriteBack::default() };
        let mql = json!({ "lead_stage": "mql", STAGE_TOLD: "mql" });
        let request = Request::of(&[due("braze_id:1", mql, json!({}))], &settings, 75);
        assert_eq!((request.attributes.len(), request.events.len()), (1, 0));
    }

    #[test]
    fn the_ledger_has_the_stage_that_events_told_of_and_nobody_else_sees_it() {
        let settings = WriteBack::default();
        let told = to_tell(&ada(), &names(), &settings);
        assert_eq!((told[STAGE_TOLD].as_str(), attributes(&told)), (Some("mql"), wanted(&ada(), &names(), &settings)));
        let without = WriteBack { stage: None, ..settings };
        assert_eq!(to_tell(&ada(), &names(), &without), wanted(&ada(), &names(), &without));
    }

    #[test]
    fn a_stage_is_told_by_one_event_whatever_becomes_of_the_attributes_beside_it() {
        let settings = WriteBack { stage_event: true, ..WriteBack::default() };
        let of = |stage: &str| json!({ "lead_stage": stage, STAGE_TOLD: stage });
        let refused = |array: &str| {
            let refused = BTreeMap::from([("braze_id:1".to_owned(), "no".to_owned())]);
            match array {
                "attributes" => Refused { attributes: refused, ..Refused::default() },
                "events" => Refused { events: refused, ..Refused::default() },
                _ => Refused::default(),
            }
        };
        let arrays = |request: &Request| (request.attributes.len(), request.events.len());
        let mut due = due("braze_id:1", of("mql"), of("lead"));
        for (refuses, sent) in [("attributes", (1, 1)), ("attributes", (1, 0)), ("", (1, 0))] {
            let request = Request::of(&[due.clone()], &settings, 75);
            assert_eq!(arrays(&request), sent);
            due.confirmed = holds(&due, &request, &refused(refuses));
        }
        assert_eq!(due.confirmed, due.wanted);
        // And the other way round: what was taken is not written again.
        due.wanted = map(of("lead"));
        for (refuses, sent) in [("events", (1, 1)), ("events", (0, 1)), ("", (0, 1))] {
            let request = Request::of(&[due.clone()], &settings, 75);
            assert_eq!(arrays(&request), sent);
            due.confirmed = holds(&due, &request, &refused(refuses));
        }
        assert_eq!(due.confirmed, due.wanted);
        // Nobody wants to hear of it any more: there is nothing to say, and that is all there is to it.
        due.confirmed = map(json!({ "lead_stage": "lead", STAGE_TOLD: "mql" }));
        let request = Request::of(&[due.clone()], &WriteBack::default(), 75);
        assert!(request.is_empty() && request.covers == 1);
        assert_eq!(holds(&due, &request, &Refused::default()), due.wanted);
    }
}
