//! A stand-in for Braze's REST interface, as strict as the documented one: limits per endpoint, rate limits with their
//! headers, errors of single objects, the bodies of errors; and it can be made to fail in every way that is known.
//!
//! It knows profiles, writes down every value that was written and whether its writer was told so, and complains of what
//! the real one would let pass but nobody should send.

use super::server::{Answered, Asked, serve};
use hyper::Response;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is worked off and answered.
    Answered,
    /// It is worked off, and answered after so many ms: too late for whoever asked.
    TooLate(u64),
    /// The connection breaks before anything was done.
    LostBefore,
    /// The connection breaks when all was done.
    LostAfter,
    /// The connection breaks, and so many ms later it is worked off all the same.
    LostAndLate(u64),
    /// Nothing is done, and this status answered; 429 with `x-ratelimit-retry-after` of so many seconds, if any.
    Refused(u16, Option<u32>),
    /// Nothing is done, and somebody else answers in Braze's place: a page that says that it is down, and 200.
    Strayed,
}

/// A person as Braze knows them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Profile {
    pub(crate) braze_id: String,
    pub(crate) external_id: Option<String>,
    pub(crate) email: Option<String>,
    /// Custom attributes.
    pub(crate) attributes: Map<String, Value>,
}

/// One value written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    pub(crate) braze_id: String,
    pub(crate) name: String,
    pub(crate) value: Value,
    /// Whether the answer was sent: else the writer has to write it again.
    pub(crate) acknowledged: bool,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) at: Instant,
    /// 0 if it was not answered.
    pub(crate) status: u16,
    pub(crate) body: Value,
}

type FateOf = dyn Fn(&str) -> Fate + Send + Sync;

/// The stand-in. Serves until the process ends.
pub(crate) struct Braze {
    /// `http://127.0.0.1:<port>`
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    fate: Mutex<Arc<FateOf>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Permissions by key.
    keys: BTreeMap<String, BTreeSet<String>>,
    profiles: Vec<Profile>,
    /// Whose objects are refused, in which array (by its name; all of them, if it is empty), and how often yet.
    refused: BTreeMap<(String, &'static str), u32>,
    /// What was said of nobody who is there: taken, counted as processed, and gone, as the real one does with
    /// `_update_existing_only`.
    ignored: Vec<Value>,
    calls: Vec<Call>,
    writes: Vec<Write>,
    /// Custom events: whose, and as sent.
    events: Vec<(String, Value)>,
    /// What the real one would let pass.
    complaints: Vec<String>,
    windows: BTreeMap<&'static str, VecDeque<Instant>>,
    /// Any call that is about one of these is answered with this status.
    poison: BTreeMap<String, u16>,
    /// Errors of single objects do not say which: "an entry without index cannot be attributed".
    unplaced: BTreeSet<String>,
}

/// `/users/track`: 3,000 requests in 3 seconds.
const TRACK: (&str, usize, Duration) = ("/users/track", 3_000, Duration::from_secs(3));
/// `/users/export/ids` without message histories: 40 a second.
const EXPORT: (&str, usize, Duration) = ("/users/export/ids", 40, Duration::from_secs(1));
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const OBJECTS_MAX: usize = 75;
const IDS_MAX: usize = 50;

impl Braze {
    /// One that knows a key with both permissions.
    pub(crate) fn start(key: &str) -> Braze {
        let shared = Arc::new(Shared { fate: Mutex::new(Arc::new(|_| Fate::Answered)), state: Mutex::default() });
        let of_server = shared.clone();
        let port = serve(move |asked| of_server.clone().answer(&asked));
        let braze = Braze { endpoint: format!("http://127.0.0.1:{port}"), shared };
        braze.allow(key, &["users.track", "users.export.ids"]);
        braze
    }

    /// Gives a key exactly these permissions.
    pub(crate) fn allow(&self, key: &str, permissions: &[&str]) {
        let permissions = permissions.iter().map(|name| (*name).to_owned()).collect();
        self.state().keys.insert(key.to_owned(), permissions);
    }

    /// Adds somebody.
    pub(crate) fn add(&self, profile: Profile) {
        self.state().profiles.push(profile);
    }

    /// Refuses objects about somebody so many times.
    pub(crate) fn refuse(&self, braze_id: &str, times: u32) {
        self.refuse_in("", braze_id, times);
    }

    /// Refuses objects of one array about somebody so many times.
    pub(crate) fn refuse_in(&self, array: &'static str, braze_id: &str, times: u32) {
        self.state().refused.insert((braze_id.to_owned(), array), times);
    }

    /// Changes what is known of somebody.
    pub(crate) fn change(&self, braze_id: &str, change: impl FnOnce(&mut Profile)) {
        let mut state = self.state();
        change(state.profiles.iter_mut().find(|profile| profile.braze_id == braze_id).expect("a profile"));
    }

    /// What was said of nobody who is there: the answer says nothing of that.
    pub(crate) fn ignored(&self) -> Vec<Value> {
        self.state().ignored.clone()
    }

    /// Decides what happens to each call from now on, by its path.
    pub(crate) fn decide(&self, fate: impl Fn(&str) -> Fate + Send + Sync + 'static) {
        *lock(&self.shared.fate) = Arc::new(fate);
    }

    /// From now on, any call that is about somebody fails as if all were out of order.
    pub(crate) fn poison(&self, braze_id: &str) {
        self.state().poison.insert(braze_id.to_owned(), 500);
    }

    /// From now on, any call that is about somebody is refused without a word of whom.
    pub(crate) fn spoil(&self, braze_id: &str) {
        self.state().poison.insert(braze_id.to_owned(), 400);
    }

    /// Calls about everybody are answered as they should be again.
    pub(crate) fn heal(&self) {
        self.state().poison.clear();
    }

    /// Errors about somebody do not say where in the request they stand.
    pub(crate) fn name_no_place_of(&self, braze_id: &str) {
        self.state().unplaced.insert(braze_id.to_owned());
    }

    pub(crate) fn profiles(&self) -> Vec<Profile> {
        self.state().profiles.clone()
    }

    /// The custom attributes of somebody.
    pub(crate) fn attributes(&self, braze_id: &str) -> Map<String, Value> {
        let state = self.state();
        let found = state.profiles.iter().find(|profile| profile.braze_id == braze_id);
        found.map(|profile| profile.attributes.clone()).unwrap_or_default()
    }

    pub(crate) fn calls(&self, path: &str) -> Vec<Call> {
        self.state().calls.iter().filter(|call| call.path == path).cloned().collect()
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        self.state().events.clone()
    }

    /// What nobody should send; empty when all is well.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.state().complaints.clone()
    }

    /// Values that were written again to somebody who was known to hold them.
    pub(crate) fn written_twice(&self) -> Vec<Write> {
        let mut known: BTreeMap<(String, String), Value> = BTreeMap::new();
        let mut twice = Vec::new();
        for write in self.writes() {
            let place = (write.braze_id.clone(), write.name.clone());
            if known.get(&place) == Some(&write.value) {
                twice.push(write.clone());
            }
            if write.acknowledged {
                known.insert(place, write.value);
            } else {
                // Whoever was not told must write again.
                known.remove(&place);
            }
        }
        twice
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl Shared {
    fn answer(self: Arc<Self>, asked: &Asked) -> Option<Answered> {
        let path = asked.uri().path().to_owned();
        let body: Value = serde_json::from_slice(asked.body()).unwrap_or_default();
        let fate = lock(&self.fate).clone()(&path);
        let mut state = lock(&self.state);
        let before = state.writes.len();
        let poison = state.poison.iter().find(|(id, _)| body.to_string().contains(id.as_str()));
        let fate = poison.map_or(fate, |(_, status)| Fate::Refused(*status, None));
        let answered = match fate {
            Fate::LostBefore | Fate::LostAndLate(_) => None,
            Fate::Refused(status, retry_after) => Some(refusal(status, retry_after)),
            Fate::Strayed => {
                let page = Response::builder().header("content-type", "text/html");
                Some(page.body(b"<html>We are down for maintenance</html>".to_vec()).expect("a valid answer"))
            }
            Fate::Answered | Fate::TooLate(_) | Fate::LostAfter => Some(state.work_off(asked, &path, &body)),
        };
        let answered = answered.filter(|_| fate != Fate::LostAfter);
        let acknowledged = answered.is_some() && !matches!(fate, Fate::TooLate(_));
        state.writes.iter_mut().skip(before).for_each(|write| write.acknowledged = acknowledged);
        let status = answered.as_ref().map_or(0, |answered| answered.status().as_u16());
        state.calls.push(Call { path, at: Instant::now(), status, body });
        drop(state);
        if let Fate::TooLate(ms) = fate {
            std::thread::sleep(Duration::from_millis(ms));
        }
        if let Fate::LostAndLate(ms) = fate {
            let asked = asked.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(ms));
                let mut state = lock(&self.state);
                let path = asked.uri().path().to_owned();
                let body = serde_json::from_slice(asked.body()).unwrap_or_default();
                drop(state.work_off(&asked, &path, &body));
            });
        }
        answered
    }
}

impl State {
    fn work_off(&mut self, asked: &Asked, path: &str, body: &Value) -> Answered {
        let (limit, permission) = match path {
            "/users/track" => (TRACK, "users.track"),
            "/users/export/ids" => (EXPORT, "users.export.ids"),
            _ => return message(404, "Not Found"),
        };
        if asked.method() != "POST" {
            return message(404, "Not Found");
        }
        let header = |name: &str| asked.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let key = header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let Some(permissions) = self.keys.get(key) else {
            // As the real one does: the key stands in the answer.
            return message(401, &format!("Invalid API key: {key}"));
        };
        if !permissions.contains(permission) {
            return message(403, "Access Denied");
        }
        if !header("content-type").starts_with("application/json") {
            return message(415, "Unsupported Media Type");
        }
        if asked.body().len() > BODY_BYTES_MAX {
            return message(413, "Request Entity Too Large");
        }
        let (name, most, span) = limit;
        let window = self.windows.entry(name).or_default();
        let now = Instant::now();
        while window.front().is_some_and(|first| now.duration_since(*first) >= span) {
            window.pop_front();
        }
        if window.len() >= most {
            self.complaints.push(format!("{name}: more than {most} calls in {} s", span.as_secs()));
            return refusal(429, Some(1));
        }
        window.push_back(now);
        let remaining = most - window.len();
        let Some(body) = body.as_object() else { return message(400, "Bad Request") };
        let mut answered = if name == TRACK.0 { self.track(body) } else { self.export(body) };
        for (name, value) in
            [("x-ratelimit-limit", most), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", 3)]
        {
            answered.headers_mut().insert(name, value.into());
        }
        answered
    }

    fn track(&mut self, body: &Map<String, Value>) -> Answered {
        let arrays = ["attributes", "events", "purchases"];
        if let Some(unknown) = body.keys().find(|name| !arrays.contains(&name.as_str())) {
            self.complaints.push(format!("what is `{unknown}`?"));
        }
        let of = |name: &str| body.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let total: usize = arrays.iter().map(|name| of(name).len()).sum();
        if total > OBJECTS_MAX {
            return message(400, "Max Input Length Exceeded");
        }
        let (mut errors, mut processed) = (Vec::new(), BTreeMap::new());
        for name in arrays {
            let mut seen = BTreeSet::new();
            for (index, object) in of(name).iter().enumerate() {
                match self.object(name, object) {
                    Ok(whose) => {
                        *processed.entry(name).or_insert(0) += 1;
                        if !whose.is_empty() && !seen.insert(whose.clone()) {
                            self.complaints.push(format!("two objects of `{name}` about {whose} in one request"));
                        }
                    }
                    Err(words) if self.unplaced.iter().any(|id| object.to_string().contains(id.as_str())) => {
                        errors.push(json!({ "type": words }));
                    }
                    Err(words) => errors.push(json!({ "type": words, "input_array": name, "index": index })),
                }
            }
        }
        if errors.len() == total {
            let words = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields.";
            return answer(400, &json!({ "message": words, "errors": errors }));
        }
        let mut answered = json!({ "message": "success" });
        for (name, count) in processed {
            answered[format!("{name}_processed")] = count.into();
        }
        if !errors.is_empty() {
            answered["errors"] = errors.into();
        }
        answer(201, &answered)
    }

    /// Works off one object. Answers whose it is: nobody's, if it is to make nobody and nobody is there.
    fn object(&mut self, array: &str, object: &Value) -> Result<String, String> {
        let object = object.as_object().ok_or("an object is needed")?;
        let ids = ["external_id", "user_alias", "braze_id"];
        let primary: Vec<&str> = ids.into_iter().filter(|name| object.contains_key(*name)).collect();
        let [primary] = primary[..] else {
            let words = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required";
            return Err(if primary.is_empty() { words } else { "only one of the identifiers can be given" }.to_owned());
        };
        let id = object[primary].as_str().ok_or("an identifier is a text")?.to_owned();
        if id.len() >= 988 {
            return Err("'external_id' must be fewer than 988 bytes".to_owned());
        }
        let is_meant = |profile: &Profile| match primary {
            "braze_id" => profile.braze_id == id,
            _ => profile.external_id.as_deref() == Some(id.as_str()),
        };
        let found = self.profiles.iter().position(is_meant);
        if object.get("_update_existing_only") != Some(&Value::Bool(true)) {
            self.complaints.push(format!("{primary} {id} could have been made by this"));
        }
        let Some(found) = found else {
            self.ignored.push(Value::Object(object.clone()));
            return Ok(String::new());
        };
        let braze_id = self.profiles[found].braze_id.clone();
        let is_of = |((whose, of), times): &(&(String, &str), &mut u32)| {
            *whose == braze_id && (of.is_empty() || *of == array) && **times > 0
        };
        if let Some((_, times)) = self.refused.iter_mut().find(is_of) {
            *times -= 1;
            return Err("BLACKLISTED_EXTERNAL_USER_ID".to_owned());
        }
        let rest = object.iter().filter(|(name, _)| ![primary, "_update_existing_only"].contains(&name.as_str()));
        if array == "events" {
            let is_time =
                object.get("time").and_then(Value::as_str).is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok());
            if !is_time || !object.get("name").is_some_and(Value::is_string) {
                return Err("'name' and 'time' are required".to_owned());
            }
            self.events.push((braze_id.clone(), Value::Object(object.clone())));
            return Ok(braze_id);
        }
        let mut any = false;
        for (name, value) in rest {
            any = true;
            if value.is_object() {
                self.complaints.push(format!("`{name}` of {braze_id} is no absolute value: {value}"));
            }
            let attributes = &mut self.profiles[found].attributes;
            if value.is_null() {
                attributes.remove(name)
            } else {
                attributes.insert(name.clone(), value.clone())
            };
            let (braze_id, name, value) = (braze_id.clone(), name.clone(), value.clone());
            self.writes.push(Write { braze_id, name, value, acknowledged: false });
        }
        if !any {
            self.complaints.push(format!("nothing is said about {braze_id}"));
        }
        Ok(braze_id)
    }

    fn export(&mut self, body: &Map<String, Value>) -> Answered {
        let Some(fields) = body.get("fields_to_export").and_then(Value::as_array) else {
            return message(400, "'fields_to_export' is required");
        };
        let fields: Vec<&str> = fields.iter().filter_map(Value::as_str).collect();
        let ids = body.get("external_ids").and_then(Value::as_array).cloned().unwrap_or_default();
        if ids.len() > IDS_MAX {
            return message(400, "The max number of external_ids and aliases per request was exceeded");
        }
        let single = ["braze_id", "email_address", "phone", "device_id"];
        let named: Vec<&str> = single.into_iter().filter(|name| body.contains_key(*name)).collect();
        let is_meant = |profile: &Profile| match named[..] {
            [] => profile.external_id.as_ref().is_some_and(|id| ids.contains(&json!(id))),
            ["braze_id"] => body["braze_id"] == profile.braze_id.as_str(),
            ["email_address"] => profile.email.as_ref().is_some_and(|email| body["email_address"] == email.as_str()),
            _ => false,
        };
        if named.len() > 1 || named.is_empty() == ids.is_empty() {
            return message(400, "one kind of identifier is needed");
        }
        let show = |profile: &Profile| {
            let all = [
                ("braze_id", Some(json!(profile.braze_id))),
                ("external_id", profile.external_id.clone().map(Value::from)),
                ("email", profile.email.clone().map(Value::from)),
                ("custom_attributes", (!profile.attributes.is_empty()).then(|| profile.attributes.clone().into())),
            ];
            // The least data possible: what is not there is left out.
            let shown = all.into_iter().filter(|(name, _)| fields.contains(name));
            Value::Object(shown.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
        };
        let users: Vec<Value> = self.profiles.iter().filter(|profile| is_meant(profile)).map(show).collect();
        let known = |id: &&Value| self.profiles.iter().any(|profile| profile.external_id.as_deref() == id.as_str());
        let invalid: Vec<&Value> = ids.iter().filter(|id| !known(id)).collect();
        let mut answered = json!({ "message": "success", "users": users });
        if !invalid.is_empty() {
            answered["invalid_user_ids"] = json!(invalid);
        }
        answer(200, &answered)
    }
}

fn message(status: u16, words: &str) -> Answered {
    answer(status, &json!({ "message": words }))
}

fn answer(status: u16, body: &Value) -> Answered {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(body.to_string().into_bytes()).expect("a valid answer")
}

fn refusal(status: u16, retry_after: Option<u32>) -> Answered {
    let words = if status == 429 { "Rate limit exceeded" } else { "Service unavailable" };
    let mut answered = message(status, words);
    if let Some(seconds) = retry_after {
        answered.headers_mut().insert("x-ratelimit-retry-after", seconds.into());
    }
    answered
}

fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
