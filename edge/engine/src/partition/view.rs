//! What the API shows: the answers of a partition as JSON (DESIGN 8; names and meanings are contract).

use crate::event::Source;
use crate::identity::Trust;
use crate::scoring::{Crowded, EXPIRING_MAX};
use crate::time;
use serde::Serialize;
use serde::ser::Serializer;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A time in ms, shown as RFC 3339 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        time::show(self.0).serialize(serializer)
    }
}

/// A person, or a browser nobody has claimed.
#[derive(Debug, Clone, Serialize)]
pub struct Prospect {
    /// `p`, the founder's slot in hex, `_`, its keyed hash in base 32.
    pub id: String,
    /// Grows with every change; a reader keeps the highest.
    pub rev: u64,
    /// `active`, or `merged` into another.
    pub life_cycle: &'static str,
    /// The prospect that holds this one's keys now.
    pub merged_into: Option<String>,
    /// Whether it has an e-mail.
    pub identified: bool,
    /// The e-mail with the latest strong, else latest evidence.
    pub email: Option<String>,
    /// As given in a form, or set.
    pub first_name: Option<String>,
    /// As given in a form, or set.
    pub last_name: Option<String>,
    /// As given in a form, or set.
    pub company: Option<String>,
    /// Whose it is in sales.
    pub owner_email: Option<String>,
    /// Marked by a colleague.
    pub favorite: bool,
    /// Person keys, and the browsers that are its own now.
    pub identifiers: Vec<Identifier>,
    /// By slug.
    pub scores: BTreeMap<String, Score>,
    /// Slugs.
    pub tags: Vec<String>,
    /// `hot`, `warm`, `normal`, `cold` or `frozen`.
    pub temperature: &'static str,
    /// The last stage entered and not left.
    pub stage: Option<String>,
    /// The business domain of its e-mail.
    pub account: Option<String>,
    /// By name.
    pub attributes: BTreeMap<String, Attribute>,
    /// Why it is not scored at all.
    pub excluded: Option<String>,
    /// Runs of one browser's activity with gaps of at most 30 minutes.
    pub sessions: u64,
    /// Stored events, bots' included.
    pub events: u64,
    /// Its earliest event.
    pub created_at: Option<Time>,
    /// Its newest activity.
    pub last_active_at: Option<Time>,
    /// Which model its values are of.
    pub model_version: u64,
}

/// One key of a prospect.
#[derive(Debug, Clone, Serialize)]
pub struct Identifier {
    /// Its type, with the workspace outside the default one.
    #[serde(rename = "type")]
    pub key_type: String,
    /// Normalised.
    pub value: String,
    /// The best trust that speaks for it.
    pub trust: &'static str,
    /// Who speaks so.
    pub source: &'static str,
}

/// A score as shown.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// To 6 decimals; `null` for who is excluded.
    pub value: Option<f64>,
    /// The letter, for scores that have bands.
    pub band: Option<String>,
}

/// An attribute as shown.
#[derive(Debug, Clone, Serialize)]
pub struct Attribute {
    /// Of any JSON type.
    pub value: Box<RawValue>,
    /// Who told us.
    pub source: &'static str,
    /// When.
    pub at: Time,
}

/// One activity of a timeline.
#[derive(Debug, Clone, Serialize)]
pub struct TimelineItem {
    /// Opaque: what became of it is asked by this.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The sender's id.
    pub id: String,
    /// When it happened.
    pub at: Time,
    /// Of the closed table.
    pub kind: &'static str,
    /// The label.
    pub name: String,
    /// Without identity parameters.
    pub url: Option<String>,
    /// Who told us.
    pub source: &'static str,
    /// Why it is taken for a machine's.
    pub bot: Option<String>,
    /// As sent.
    pub properties: Box<RawValue>,
    /// What it earned, by score.
    pub points: BTreeMap<String, f64>,
}

/// An event in an export.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedEvent {
    /// The same for the same event, always, whoever it belongs to.
    pub key: String,
    /// Whose it is.
    pub prospect: String,
    /// As in the timeline.
    #[serde(flatten)]
    pub item: TimelineItem,
    /// When it came in.
    pub received_at: Time,
    /// Where the page was come from.
    pub referrer: Option<String>,
    /// The source's own type.
    pub event_type: Option<String>,
}

/// What became of an event.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// As in the timeline.
    #[serde(flatten)]
    pub item: TimelineItem,
    /// Whose it is.
    pub prospect: String,
    /// When it came in.
    pub received_at: Time,
    /// Where the page was come from.
    pub referrer: Option<String>,
    /// The source's own type.
    pub event_type: Option<String>,
    /// Whether it is among the newest events of the prospect, which are scored.
    pub is_scored: bool,
    /// Which model's rules these are.
    pub model_version: u64,
    /// The rules that it matched or nearly matched.
    pub rules: Vec<Rule>,
}

/// What a rule made of an event.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// The score's slug.
    pub score: String,
    /// The rule's id.
    pub rule: String,
    /// `earned`, `limited`, `count`, `bot`, `internal`, `excluded`, or `nearly`: all of its questions but one.
    pub outcome: &'static str,
    /// What it gave or would have given.
    pub points: f64,
    /// What stood in the way.
    pub failed: Option<Failed>,
}

/// A condition that did not hold.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// Where it stands in the model: a JSON pointer.
    pub path: String,
    /// It, as it stands there.
    pub condition: serde_json::Value,
    /// What the event has instead.
    pub found: Option<serde_json::Value>,
}

/// Why a score is what it is: the contributions of all parts add up to the value exactly.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Its slug.
    pub score: String,
    /// As shown; `null` for who is excluded.
    pub value: Option<f64>,
    /// Why this prospect is not scored; absent for who is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
    /// The time asked about.
    pub at: Time,
    /// Which model.
    pub model_version: u64,
    /// Every point; those of one answer, if there are more than fit into one.
    pub parts: Vec<Part>,
    /// What to ask for the next ones by; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What a limit keeps from counting; absent where none does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
}

/// A limit that keeps something from counting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// `events`: of all events, the newest are scored. `disappearing_points`: of a rule's points that disappear, the newest
    /// count.
    pub limit: &'static str,
    /// The rule's id, if it is about one.
    pub rule: Option<String>,
    /// How many count.
    pub most: u64,
    /// How many do not for that reason.
    pub left_out: u64,
    /// In words.
    pub message: String,
}

impl Notice {
    /// Of a person's events the newest are scored.
    #[must_use]
    pub fn events(most: u64, left_out: u64) -> Notice {
        let message = format!("of this person's events the newest {most} are scored; {left_out} older ones are not");
        Notice { limit: "events", rule: None, most, left_out, message }
    }

    /// Of a rule's points that disappear the newest count.
    #[must_use]
    pub fn disappearing_points(crowded: &Crowded) -> Notice {
        let (most, left_out) = (EXPIRING_MAX as u64, crowded.left_out as u64);
        let message = format!(
            "of the points of `{}` that disappear (`within_days` without `count`) the newest {most} count; {left_out} older \
             ones do not",
            crowded.rule
        );
        Notice { limit: "disappearing_points", rule: Some(crowded.rule.clone()), most, left_out, message }
    }
}

/// One part of a score.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// `rule`, `limited`, `set`, `inactivity`, `external`, `floor` or `cap`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The rule's id.
    pub rule: Option<String>,
    /// The event's id.
    pub event: Option<String>,
    /// The event's label.
    pub name: Option<String>,
    /// When it was earned.
    pub at: Time,
    /// What it was worth then.
    pub points: f64,
    /// What decay has left of it.
    pub factor: f64,
    /// What it adds to the value.
    pub contribution: f64,
}

/// Why these are one person, and why not more.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// As in the prospect.
    pub identifiers: Vec<Identifier>,
    /// Whatever names a key or browser of the prospect, refused and suspended too.
    pub evidence: Vec<Evidence>,
    /// The keys at which all places were taken: of what they refuse, evidence lists only the first.
    pub limits: Vec<Limit>,
}

/// How much a key has refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// The key.
    pub identifier: End,
    /// Facts that may not join through it.
    pub facts_refused: u64,
    /// Browsers that may not claim it: their events stay anonymous.
    pub browsers_refused: u64,
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Evidence {
    /// The same for the same evidence, always.
    pub id: String,
    /// `fact`, `claim`, `introduction` or `decision`.
    pub kind: &'static str,
    /// One end.
    pub from: End,
    /// The other.
    pub to: End,
    /// Who says so.
    pub source: &'static str,
    /// How far it is believed.
    pub trust: &'static str,
    /// `pending`, `active`, `suspended`, `conflict` or `undone`.
    pub state: &'static str,
    /// Why it is not active, in words.
    pub reason: Option<String>,
    /// When it was first said.
    pub at: Time,
}

/// An identifier as an end of evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct End {
    /// Its type, with the workspace outside the default one.
    #[serde(rename = "type")]
    pub key_type: String,
    /// Normalised.
    pub value: String,
}

impl Prospect {
    /// What an id answers that holds nothing any more.
    pub(super) fn hollow(id: String, rev: u64, life_cycle: &'static str) -> Prospect {
        Prospect {
            id,
            rev,
            life_cycle,
            merged_into: None,
            identified: false,
            email: None,
            first_name: None,
            last_name: None,
            company: None,
            owner_email: None,
            favorite: false,
            identifiers: Vec::new(),
            scores: BTreeMap::new(),
            tags: Vec::new(),
            temperature: "frozen",
            stage: None,
            account: None,
            attributes: BTreeMap::new(),
            excluded: None,
            sessions: 0,
            events: 0,
            created_at: None,
            last_active_at: None,
            model_version: 0,
        }
    }
}

impl Identifier {
    pub(super) fn of((ident, trust, source): &(crate::key::Identifier, Trust, Source)) -> Identifier {
        Identifier {
            key_type: ident.scoped_type(),
            value: ident.value().to_owned(),
            trust: trust.slug(),
            source: source.slug(),
        }
    }
}

impl Limit {
    pub(super) fn of(refused: &super::evidence::Refused) -> Limit {
        let identifier = End::of(&refused.ident);
        Limit { identifier, facts_refused: refused.facts, browsers_refused: refused.browsers }
    }
}

impl End {
    pub(super) fn of(ident: &crate::key::Identifier) -> End {
        End { key_type: ident.scoped_type(), value: ident.value().to_owned() }
    }
}

/// JSON text as it stands; anything that is none (never stored so) as `null`.
pub(super) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Text of an attribute that is a string.
pub(super) fn text(attributes: &crate::scoring::Attributes, name: &str) -> Option<String> {
    serde_json::from_str(&attributes.0.get(name)?.value).ok()
}

/// Attributes as shown.
pub(super) fn attributes(attributes: &crate::scoring::Attributes) -> BTreeMap<String, Attribute> {
    let shown = |attribute: &crate::scoring::Attribute| Attribute {
        value: raw(&attribute.value),
        source: Source::slug(attribute.source),
        at: Time(attribute.at),
    };
    attributes.0.iter().map(|(name, attribute)| (name.clone(), shown(attribute))).collect()
}
