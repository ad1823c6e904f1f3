//! Reading one score.

use super::condition::EventCondition;
use super::model::{
    Aggregate, Bands, Behavior, Clamp, Decay, Effect, Inactivity, Limit, Matcher, ProfileRule, Rule, Score, ScoreKind,
    Target,
};
use super::parse::{described, labelled, required_state, unique};
use super::parse_condition::{Compiler, Over, days};
use super::reader::Object;
use super::window::Per;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// How many rules a score may have.
pub(super) const RULES_MAX: usize = 500;
pub(super) const LIMITS_MAX: usize = 4;
pub(super) const INACTIVITY_MAX: usize = 8;
pub(super) const BANDS_MAX: usize = 32;
pub(super) const BAND_CHARS_MAX: usize = 64;
/// The largest number of points, thresholds and weights. Sums of a thousand of them are whole millionths in a float.
pub(super) const NUMBER_MAX: f64 = 1e6;
/// What lists sort and explanations ask by besides scores: no slug of a score.
pub(super) const RESERVED: [&str; 3] = ["last_active_at", "created_at", "temperature"];

/// Which limits may be given how often.
pub(super) const LIMIT_TIMES: RangeInclusive<u32> = 1..=1_000_000;

/// Fields of every score.
pub(super) const SHARED: [&str; 11] =
    ["slug", "name", "note", "author", "tags", "main", "kind", "floor", "cap", "account_aggregate", "bands"];
/// Fields that some kinds of scores have and others have not.
const ELSEWHERE: [&str; 4] = ["half_life_days", "rules", "inactivity", "attribute"];
pub(super) const RULE_FIELDS: [&str; 10] =
    ["id", "name", "note", "author", "tags", "when", "points", "set", "limit", "include_bots"];
pub(super) const LIMIT_FIELDS: [&str; 2] = ["times", "per"];
pub(super) const INACTIVITY_FIELDS: [&str; 3] = ["after_days", "points", "repeat"];

#[derive(Clone, Copy)]
pub(super) enum KindWord {
    Behavior,
    Profile,
    External,
}

impl KindWord {
    pub(super) const WORDS: [(&'static str, KindWord); 3] =
        [("behavior", KindWord::Behavior), ("profile", KindWord::Profile), ("external", KindWord::External)];

    /// The fields of such scores beside the shared ones.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            KindWord::Behavior => &["half_life_days", "rules", "inactivity"],
            KindWord::Profile => &["rules"],
            KindWord::External => &["half_life_days", "attribute"],
        }
    }
}

pub(super) fn read_score(object: &Object<'_>, compiler: &mut Compiler<'_>) -> Option<Score> {
    let kind = if object.has("kind") { object.word("kind", &KindWord::WORDS)? } else { KindWord::Behavior };
    let own = kind.fields();
    let elsewhere = match kind {
        KindWord::Behavior => "a behavior score is earned by events: it has no ",
        KindWord::Profile => "a profile score is what the attributes say now: it has no ",
        KindWord::External => "an external score is what an attribute holds: it has no ",
    };
    for key in ELSEWHERE {
        if object.has(key) && !own.contains(&key) {
            object.error(key, format!("{elsewhere}`{key}`"));
        }
    }
    let known: Vec<&str> = SHARED.iter().chain(own).copied().collect();
    object.only_but(&known, &ELSEWHERE);
    described(object);
    labelled(object);
    let slug = object.slug("slug");
    if slug.is_some_and(|slug| RESERVED.contains(&slug)) {
        object.error("slug", format!("must be none of {}", RESERVED.join(", ")));
    }
    // What it was to be called is not known: no stage that asks for a score is told that there is none.
    let slug = slug.filter(|slug| !RESERVED.contains(slug));
    let mut clamp = Clamp { floor: number(object, "floor"), cap: number(object, "cap") };
    if let (Some(floor), Some(cap)) = (clamp.floor, clamp.cap)
        && floor > cap
    {
        object.error("cap", "must not be below the floor");
        // Which of them is wrong is not known: bands and stages are held to neither.
        clamp = Clamp::default();
    }
    let decay = Decay { half_life_ms: days(object, "half_life_days").map(|ms| ms as f64) };
    let kind = match kind {
        KindWord::Behavior => ScoreKind::Behavior(read_behavior(object, compiler, decay, clamp)),
        KindWord::Profile => ScoreKind::Profile(read_profile(object, compiler)),
        KindWord::External => {
            let attribute = if object.has("attribute") { object.text("attribute") } else { slug };
            let attribute = Some(attribute.unwrap_or_default().to_owned());
            ScoreKind::Behavior(Behavior { attribute, ..Behavior::without_rules(decay, clamp) })
        }
    };
    let account_aggregate = if object.has("account_aggregate") {
        object.word("account_aggregate", &Aggregate::WORDS).unwrap_or_default()
    } else {
        Aggregate::default()
    };
    let bands = read_bands(object, clamp);
    Some(Score { slug: slug.unwrap_or_default().to_owned(), clamp, bands, account_aggregate, kind })
}

/// A number of points or a threshold.
pub(super) fn number(object: &Object<'_>, key: &str) -> Option<f64> {
    object.number(key, -NUMBER_MAX..=NUMBER_MAX)
}

/// Points: a number that is not 0.
fn points(object: &Object<'_>) -> Option<f64> {
    let points = number(object, "points");
    if points == Some(0.0) {
        object.error("points", "must not be 0: the rule would do nothing");
    }
    points
}

fn read_bands(object: &Object<'_>, clamp: Clamp) -> Bands {
    let Some(value) = object.fields.get("bands") else { return Bands::default() };
    let path = object.at("bands");
    let Some(fields) = Object::new(value, &path, object.report) else { return Bands::default() };
    if fields.fields.len() > BANDS_MAX {
        object.error("bands", format!("has {} bands; {BANDS_MAX} are allowed", fields.fields.len()));
        return Bands::default();
    }
    for band in fields.fields.keys().filter(|band| band.is_empty() || band.chars().count() > BAND_CHARS_MAX) {
        fields.error(band, format!("the name of a band has 1 to {BAND_CHARS_MAX} characters"));
    }
    let mut bands: Vec<(String, f64)> =
        fields.fields.keys().filter_map(|band| Some((band.clone(), number(&fields, band)?))).collect();
    bands.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    if bands.iter().zip(bands.iter().skip(1)).any(|((_, higher), (_, lower))| higher == lower) {
        object.error("bands", "two bands begin at the same value");
    }
    for (band, from) in &bands {
        if let Some(cap) = clamp.cap.filter(|cap| from > cap) {
            fields.error(band, format!("must not be above the cap ({cap}): nobody would ever have it"));
        }
    }
    for ((higher, above), (band, _)) in bands.iter().zip(bands.iter().skip(1)) {
        if let Some(floor) = clamp.floor.filter(|floor| above <= floor) {
            fields.error(band, format!("nobody would ever have it: from the floor ({floor}) on, `{higher}` holds"));
        }
    }
    Bands(bands)
}

fn read_behavior(object: &Object<'_>, compiler: &mut Compiler<'_>, decay: Decay, clamp: Clamp) -> Behavior {
    let place = |compiler: &Compiler<'_>| u16::try_from(compiler.matchers.len()).unwrap_or(u16::MAX);
    let first = place(compiler);
    let mut rules: Vec<Rule> = Vec::new();
    let mut memories = 0;
    let mut seen = BTreeSet::new();
    for (path, value) in &object.list("rules", RULES_MAX) {
        let Some(rule) = Object::new(value, path, object.report) else { continue };
        rule.only(&RULE_FIELDS);
        let Some((mut read, condition)) = read_rule(&rule, compiler) else { continue };
        if let Some(id) = rule.text("id") {
            unique(&mut seen, &rule, "id", id);
        }
        if read.count.is_some() || !read.limits.is_empty() || matches!(read.effect, Effect::Expiring(..)) {
            read.memory = Some(memories);
            memories += 1;
        }
        let target = Target::Rule(rules.len());
        compiler.matchers.push(Matcher { condition, include_bots: rule.flag("include_bots"), target });
        rules.push(read);
    }
    let inactivity = object
        .list("inactivity", INACTIVITY_MAX)
        .iter()
        .filter_map(|(path, value)| read_inactivity(&Object::new(value, path, object.report)?))
        .collect();
    Behavior { rules, matchers: first..place(compiler), inactivity, ..Behavior::without_rules(decay, clamp) }
}

fn read_rule(rule: &Object<'_>, compiler: &Compiler<'_>) -> Option<(Rule, EventCondition)> {
    rule.require("id");
    rule.require("when");
    described(rule);
    labelled(rule);
    let id = rule.text("id").unwrap_or_default().to_owned();
    let points = points(rule);
    let set = number(rule, "set");
    let path = rule.at("when");
    let when = rule.fields.get("when").and_then(|when| compiler.rule(when, &path));
    let limits = read_limits(rule);
    if rule.has("points") == rule.has("set") {
        rule.report.error(rule.path, "needs either `points` or `set`");
        return None;
    }
    let when = when?;
    let expires_ms = when.within_ms.filter(|_| when.count.is_none());
    let effect = match (points, set, expires_ms) {
        (Some(points), None, Some(_)) if points < 0.0 => {
            rule.error("when", "`within_days` without `count` makes points disappear, which only positive points may");
            return None;
        }
        (Some(points), None, Some(window)) => Effect::Expiring(points, window),
        (Some(points), None, None) => Effect::Points(points),
        (None, Some(_), Some(_)) => {
            rule.error("when", "`within_days` without `count` makes points disappear; `set` gives none");
            return None;
        }
        (None, Some(value), None) => Effect::Set(value),
        _ => return None,
    };
    let count = when.count.map(|test| (test, when.within_ms));
    Some((Rule { id, effect, count, limits, memory: None }, when.condition))
}

/// `limit`: one limit, or a list of limits that must all have room.
fn read_limits(rule: &Object<'_>) -> Vec<Limit> {
    let path = rule.at("limit");
    let list = match rule.fields.get("limit") {
        None => Vec::new(),
        Some(Value::Array(_)) => rule.list("limit", LIMITS_MAX),
        Some(single) => vec![(path, single)],
    };
    let read = |(path, value): &(String, &Value)| {
        let limit = Object::new(value, path, rule.report)?;
        limit.only(&LIMIT_FIELDS);
        limit.require("times");
        limit.require("per");
        let (times, per) = (limit.whole("times", LIMIT_TIMES), limit.word("per", &Per::WORDS));
        Some(Limit { times: times?, per: per? })
    };
    list.iter().filter_map(read).collect()
}

fn read_inactivity(object: &Object<'_>) -> Option<Inactivity> {
    object.only(&INACTIVITY_FIELDS);
    object.require("after_days");
    object.require("points");
    let repeat = object.flag("repeat");
    let after_ms = days(object, "after_days");
    let points = number(object, "points");
    if points.is_some_and(|points| points >= 0.0) {
        object.error("points", "must be below 0: silence earns nothing");
    }
    // A lead silent for years has an entry per period: a day keeps that to some thousands.
    if after_ms.is_some_and(|after| after < super::DAY_MS) {
        object.error("after_days", "must be at least 1");
    }
    Some(Inactivity { after_ms: after_ms?, points: points?, repeat })
}

fn read_profile(object: &Object<'_>, compiler: &mut Compiler<'_>) -> Vec<ProfileRule> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::new();
    for (path, value) in &object.list("rules", RULES_MAX) {
        let Some(rule) = Object::new(value, path, object.report) else { continue };
        for key in ["set", "limit", "include_bots"] {
            if rule.has(key) {
                rule.error(key, format!("a profile score is what the attributes say now: its rules have no `{key}`"));
            }
        }
        rule.only(&RULE_FIELDS);
        for key in ["id", "when", "points"] {
            rule.require(key);
        }
        described(&rule);
        labelled(&rule);
        let when = required_state(&rule, compiler, Over::Attributes, false);
        let points = points(&rule);
        if let (Some(id), Some(when), Some(points)) = (rule.text("id"), when, points) {
            unique(&mut seen, &rule, "id", id);
            rules.push(ProfileRule { id: id.to_owned(), when, points });
        }
    }
    rules
}
