//! The stage: who there is in a story and what they do, sent as the tracker and as Braze send it.
//!
//! A story has a clock of its own and identifiers of its own, and both are the same whenever it is told: so its acts can
//! be kept and sent again to another instance, in another order.

use super::act::{Act, Decision, Manner};
use crate::harness::Api;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// When stories begin: two days ago, in whole seconds, which are Braze's unit.
fn began() -> i64 {
    static BEGAN: OnceLock<i64> = OnceLock::new();
    *BEGAN.get_or_init(|| (crate::harness::events::now() - 2 * DAY) / SECOND * SECOND)
}

/// An identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) key_type: &'static str,
    pub(crate) value: String,
}

impl Key {
    pub(crate) fn new(key_type: &'static str, value: impl Into<String>) -> Key {
        Key { key_type, value: value.into() }
    }

    /// As one segment of a path.
    pub(crate) fn reference(&self) -> String {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        format!("{}:{}", self.key_type, self.value.bytes().map(encode).collect::<String>())
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "type": self.key_type, "value": self.value })
    }
}

/// Somebody with a profile in Braze and an address.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) braze_id: Key,
    pub(crate) external_id: Key,
    pub(crate) email: Key,
}

/// What remains of a story when it has been told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) rivals: String,
    pub(crate) here: String,
    pub(crate) acts: Vec<Act>,
    /// Prospect ids that were shown: each must keep answering.
    pub(crate) ids: BTreeSet<String>,
    /// How many things were looked at.
    pub(crate) looks: usize,
}

/// A story as it is being told to an instance.
pub(crate) struct Scene {
    pub(super) api: Api,
    story: &'static str,
    clock: Cell<i64>,
    numbers: Cell<u32>,
    /// Acts that have happened and have not arrived, while there are any such.
    kept_back: RefCell<Option<Vec<Act>>>,
    pub(super) told: RefCell<Told>,
}

impl Scene {
    pub(crate) fn new(api: &Api, story: &'static str) -> Scene {
        Scene {
            api: api.clone(),
            story,
            clock: Cell::new(began()),
            numbers: Cell::new(0),
            kept_back: RefCell::new(None),
            told: RefCell::default(),
        }
    }

    /// What other products do in such a case, with the section of the facts on the market that says so.
    pub(crate) fn rivals(&self, sentence: &str) -> &Self {
        self.told.borrow_mut().rivals = sentence.to_owned();
        self
    }

    /// What a user sees here.
    pub(crate) fn here(&self, sentence: &str) {
        self.told.borrow_mut().here = sentence.to_owned();
    }

    pub(crate) fn told(self) -> Told {
        self.told.into_inner()
    }

    // Who there is ------------------------------------------------------------------------------------------------

    /// A customer whom Braze has a profile of. Whether Braze has told us of it is another matter.
    pub(crate) fn person(&self, name: &str) -> Person {
        Person {
            braze_id: self.braze_id(name),
            external_id: Key::new("external_id", format!("{}-{name}", self.slug())),
            email: self.email(name),
        }
    }

    /// A profile's id in Braze: 24 hex digits.
    pub(crate) fn braze_id(&self, name: &str) -> Key {
        let digits = format!("{:016x}{:016x}", self.dice(name, 1), self.dice(name, 2));
        Key::new("braze_id", digits.chars().take(24).collect::<String>())
    }

    /// An address that is this story's alone.
    pub(crate) fn email(&self, name: &str) -> Key {
        self.email_at(name, "example.com")
    }

    pub(crate) fn email_at(&self, name: &str, domain: &str) -> Key {
        Key::new("email", format!("{name}.{}@{domain}", self.slug()))
    }

    /// A number of the range that is reserved for stories.
    pub(crate) fn phone(&self, name: &str) -> Key {
        Key::new("phone", format!("+1555{:07}", self.dice(name, 3) % 10_000_000))
    }

    /// A browser with a person before it.
    pub(crate) fn browser(&self, name: &str) -> Browser<'_> {
        self.machine(name, Manner::PERSON)
    }

    /// A browser, or what behaves like one.
    pub(crate) fn machine(&self, name: &str, manner: Manner) -> Browser<'_> {
        let hex = format!("{:016x}{:016x}", self.dice(name, 4), self.dice(name, 5));
        let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].map(|(from, to)| &hex[from..to]);
        Browser { scene: self, key: Key::new("visitor", parts.join("-")), manner }
    }

    pub(crate) fn braze(&self) -> Braze<'_> {
        Braze { scene: self }
    }

    /// Somebody of ours at the console.
    pub(crate) fn colleague(&self) -> Colleague<'_> {
        Colleague { scene: self }
    }

    // Time --------------------------------------------------------------------------------------------------------

    pub(crate) fn minutes_later(&self, minutes: i64) {
        self.clock.set(self.clock.get() + minutes * MINUTE);
    }

    pub(crate) fn days_later(&self, days: i64) {
        self.clock.set(self.clock.get() + days * DAY);
    }

    /// The story begins so many days earlier than others.
    pub(crate) fn begins_days_earlier(&self, days: i64) {
        self.days_later(-days);
    }

    /// What happens in here happens now, and arrives later.
    pub(crate) fn kept_back(&self, what: impl FnOnce()) -> Late {
        assert!(self.kept_back.replace(Some(Vec::new())).is_none(), "something is kept back already");
        what();
        Late(self.kept_back.take().unwrap_or_default())
    }

    /// What was kept back reaches us now.
    #[track_caller]
    pub(crate) fn arrives(&self, late: Late) {
        late.0.into_iter().for_each(|act| self.act(act));
    }

    /// What has reached us already is sent again, all of it.
    #[track_caller]
    pub(crate) fn everything_is_sent_again(&self) {
        let sent: Vec<Act> = self.told.borrow().acts.iter().filter(|act| !act.is_decision()).cloned().collect();
        sent.into_iter().for_each(|act| self.act(act));
    }

    // What happens ------------------------------------------------------------------------------------------------

    #[track_caller]
    fn act(&self, act: Act) {
        if let Some(kept_back) = self.kept_back.borrow_mut().as_mut() {
            kept_back.push(act);
            return;
        }
        act.send(&self.api);
        self.told.borrow_mut().acts.push(act);
    }

    /// The time of what happens now; the next thing happens a second later.
    fn tick(&self) -> i64 {
        self.clock.replace(self.clock.get() + SECOND)
    }

    fn slug(&self) -> String {
        self.story.replace('_', "-")
    }

    /// An id that nothing else has.
    fn id(&self) -> String {
        let number = self.numbers.replace(self.numbers.get() + 1);
        // 64 characters are allowed.
        let slug: String = self.slug().chars().take(56).collect();
        format!("{slug}-{number}")
    }

    /// The same every time for a name, and for no other.
    fn dice(&self, name: &str, die: u8) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.story, name, die).hash(&mut hasher);
        hasher.finish()
    }
}

/// What has happened and not arrived.
pub(crate) struct Late(Vec<Act>);

/// A browser, by its visitor id.
pub(crate) struct Browser<'s> {
    scene: &'s Scene,
    pub(crate) key: Key,
    manner: Manner,
}

impl Browser<'_> {
    /// Somebody looks at a page.
    #[track_caller]
    pub(crate) fn visits(&self, path: &str) {
        self.page(path, &[], true);
    }

    /// Somebody follows a link from a Braze message, which carries whose message it was (`braze_id` or `br_user_id`).
    #[track_caller]
    pub(crate) fn opens_link(&self, path: &str, of: &Key) {
        self.page(path, &[(of, "url")], true);
    }

    /// A link whose parameters are given as they stand in the address.
    #[track_caller]
    pub(crate) fn opens_link_with(&self, path: &str, of: &[&Key]) {
        let claims: Vec<(&Key, &str)> = of.iter().map(|key| (*key, "url")).collect();
        self.page(path, &claims, true);
    }

    /// The link is loaded, and nothing shows that somebody looks at the page.
    #[track_caller]
    pub(crate) fn fetches_link(&self, path: &str, of: &Key) {
        self.page(path, &[(of, "url")], false);
    }

    /// Somebody fills in a form and gives an address.
    #[track_caller]
    pub(crate) fn fills_form(&self, form: &str, email: &Key) {
        self.fills_form_with(form, &[email]);
    }

    /// A form with several fields that say who it is.
    #[track_caller]
    pub(crate) fn fills_form_with(&self, form: &str, fields: &[&Key]) {
        let identity: Vec<Value> = fields.iter().map(|key| claim(key, "form")).collect();
        let page = self.scene.id();
        self.sends("form_submit", &page, json!({ "name": form, "human": "key", "identity": identity }));
    }

    /// The site itself says who is signed in: `wingbeat('identify', {…})`.
    #[track_caller]
    pub(crate) fn signs_in(&self, key: &Key) {
        let page = self.scene.id();
        self.sends("identify", &page, json!({ "identity": [claim(key, "identify")] }));
    }

    /// As the tracker reports it: the page at once, and the human, with the claims again, when one has shown.
    #[track_caller]
    fn page(&self, path: &str, claims: &[(&Key, &str)], human: bool) {
        let page = self.scene.id();
        let identity: Vec<Value> = claims.iter().map(|(key, from)| claim(key, from)).collect();
        let url = format!("https://shop.example{path}");
        self.sends("page_view", &page, json!({ "url": url, "name": path, "identity": identity }));
        if human {
            let more =
                json!({ "human": "pointer", "properties": { "seconds": 1, "scroll": 10 }, "identity": identity });
            self.sends("engagement", &page, more);
        }
    }

    #[track_caller]
    fn sends(&self, kind: &str, page: &str, more: Value) {
        let mut event = more;
        event["id"] = self.scene.id().into();
        event["at"] = self.scene.tick().into();
        event["kind"] = kind.into();
        event["page"] = page.into();
        self.scene.act(Act::Browser { visitor: self.key.value.clone(), manner: self.manner, event });
    }
}

fn claim(key: &Key, from: &str) -> Value {
    json!({ "type": key.key_type, "value": key.value, "from": from })
}

/// Braze, which reports what its users do.
pub(crate) struct Braze<'s> {
    scene: &'s Scene,
}

impl Braze<'_> {
    /// A mail was delivered to somebody: with it Braze tells that these three are one person's.
    #[track_caller]
    pub(crate) fn knows(&self, person: &Person) {
        self.mails(&[&person.braze_id, &person.external_id, &person.email]);
    }

    /// A mail was delivered to whom these keys name. No points: nobody has done anything.
    #[track_caller]
    pub(crate) fn mails(&self, keys: &[&Key]) {
        self.reports("users.messages.email.Delivery", keys, json!({ "campaign_name": "Newsletter" }));
    }

    /// Somebody clicks in a mail: 5 points.
    #[track_caller]
    pub(crate) fn reports_click(&self, keys: &[&Key]) {
        self.reports("users.messages.email.Click", keys, json!({ "campaign_name": "Newsletter" }));
    }

    /// One profile of Braze's became another's.
    #[track_caller]
    pub(crate) fn merges(&self, dead: &[&Key], into: &Key) {
        self.reports("users.UserOrphan", dead, json!({ "orphaned_by_id": into.value }));
    }

    /// Any event, about whom these keys name.
    #[track_caller]
    pub(crate) fn reports(&self, event_type: &str, keys: &[&Key], properties: Value) {
        let (mut user, mut properties) = (json!({}), properties);
        for key in keys {
            match key.key_type {
                "braze_id" => user["user_id"] = key.value.clone().into(),
                "external_id" => user["external_user_id"] = key.value.clone().into(),
                "email" => properties["email_address"] = key.value.clone().into(),
                "phone" => properties["user_phone_number"] = key.value.clone().into(),
                other => panic!("Braze does not send {other}"),
            }
        }
        let event = json!({
            "event_type": event_type,
            "id": self.scene.id(),
            "time": self.scene.tick() / SECOND,
            "user": user,
            "properties": properties,
        });
        self.scene.act(Act::Braze(event));
    }
}

/// Somebody of ours who decides.
pub(crate) struct Colleague<'s> {
    scene: &'s Scene,
}

impl Colleague<'_> {
    /// These are one person after all.
    #[track_caller]
    pub(crate) fn merges(&self, keep: &Key, other: &Key) {
        self.decides(Decision::Merge { keep: keep.clone(), other: other.clone() });
    }

    /// These keys are not the person's.
    #[track_caller]
    pub(crate) fn separates(&self, from: &Key, keys: &[&Key]) {
        let keys = keys.iter().map(|key| (*key).clone()).collect();
        self.decides(Decision::Separate { from: from.clone(), keys });
    }

    /// Somebody wants to be forgotten.
    #[track_caller]
    pub(crate) fn erases(&self, who: &Key) {
        self.decides(Decision::Erase { who: who.clone() });
    }

    #[track_caller]
    fn decides(&self, decision: Decision) {
        self.scene.act(Act::Decision { id: self.scene.id(), decision });
    }
}
