//! Reading a model from JSON: everything but conditions. Every mistake is reported, not only the first.

use super::balance::EXPIRING_MAX;
use super::condition::StateCondition;
use super::known::{STEPS_TO_PREPARE, STEPS_TO_SORT};
use super::model::{Decay, Exclusion, Gate, Model, Rule, Score, ScoreKind, StageLine, Tag, Temperature};
use super::parse_condition::{Compiler, Over, days};
use super::parse_json::{JsonError, read_json};
use super::parse_operator::WILD_CHARS_MAX;
use super::parse_score::{NUMBER_MAX, RULES_MAX, number, read_score};
use super::reader::{ModelError, Object, Report, did_you_mean, one_of, step};
use crate::kinds::{KINDS, Kind};
use serde_json::Value;
use std::collections::BTreeSet;

/// The longest model, in bytes: it is held in every partition's memory and sent around whole.
const MODEL_BYTES_MAX: usize = 1 << 20;
pub(super) const SCORES_MAX: usize = 32;
pub(super) const TAGS_MAX: usize = 500;
pub(super) const STAGES_MAX: usize = 20;
/// How many scores one stage may ask for.
pub(super) const STAGE_QUESTIONS_MAX: usize = 8;
/// How many times all `count`s over a window and all rules whose points disappear may keep per prospect together: at
/// most 9 bytes each, so 144 KB in a row of at most 2 MB (limit of SQLite in a Durable Object).
const TIMES_MAX: usize = 16_384;
/// How many conditions rules, tags, `include` and `exclude` may have together, those inside `all`, `any` and `not` counted
/// one by one. Each may be asked at every event, and each that counts keeps some bytes per prospect.
const CONDITIONS_MAX: usize = 4_096;

/// How many steps of work ([`Model::steps_an_event`]) an event may be, whatever its kind: 500 rules of an event and three more
/// plain conditions are 2,500. They take a quarter of a millisecond natively, or some, where an event is made to be slow; a
/// person has up to 10,000 events, which are at times folded anew in one go. And how many a look at a prospect
/// ([`Model::steps_a_look`]), of which each event has some, and a page of a list one for each in it.
const STEPS_MAX: usize = 4_096;
/// What operators count, in words.
const STEPS_OF_OPERATORS: &str = "one for a condition, 2 with `contains`, 4 for each part of a `glob` between two stars, one \
                                  more for every 16 values of `in`";

/// How many words of order (`tags`) a rule, score or stage may have, and how long one may be.
pub(super) const LABELS_MAX: usize = 20;
pub(super) const LABEL_CHARS_MAX: usize = 64;

pub(super) const MODEL_FIELDS: [&str; 9] =
    ["name", "note", "author", "tags", "scores", "temperature", "stages", "include", "exclude"];
pub(super) const TAG_FIELDS: [&str; 7] = ["slug", "name", "note", "author", "color", "when", "include_bots"];
pub(super) const STAGE_FIELDS: [&str; 7] = ["slug", "name", "note", "author", "tags", "when", "leave_below"];
pub(super) const TEMPERATURE_FIELDS: [&str; 7] = ["half_life_days", "hot", "warm", "normal", "cold", "weights", "note"];

impl Model {
    /// Reads a model.
    ///
    /// # Errors
    /// Every mistake found, each with its place.
    pub fn parse(json: &str) -> Result<Model, Vec<ModelError>> {
        let report = Report::default();
        if json.len() > MODEL_BYTES_MAX {
            report.error("", format!("a model may have {MODEL_BYTES_MAX} bytes; this has {}", json.len()));
            return Err(report.into_errors());
        }
        let value = match read_json(json) {
            Ok(value) => value,
            Err(JsonError { path: Some(path), message }) => {
                report.error(&path, message);
                return Err(report.into_errors());
            }
            // serde_json reads no deeper than 127; conditions end long before that, at a depth that is named with its place.
            Err(error) if error.message.starts_with("recursion limit exceeded") => {
                report.error("", "is nested too deep to be read: at most 127 objects and lists within each other");
                return Err(report.into_errors());
            }
            Err(error) => {
                report.error("", format!("is no JSON: {error}"));
                return Err(report.into_errors());
            }
        };
        let model = read(json, &value, &report);
        let errors = report.into_errors();
        match model {
            Some(model) if errors.is_empty() => Ok(model),
            _ => Err(errors),
        }
    }
}

fn read(json: &str, value: &Value, report: &Report) -> Option<Model> {
    let root = Object::new(value, "", report)?;
    root.only(&MODEL_FIELDS);
    described(&root);
    let mut compiler = Compiler::new(report);
    let (mut scores, main) = read_scores(&root, &mut compiler);
    let (stages, gates) = read_stages(&root, &mut scores);
    let tags = read_tags(&root, &mut compiler);
    let include = root
        .fields
        .get("include")
        .and_then(|value| compiler.state(value, &root.at("include"), Over::Everything, false));
    let exclude = read_exclude(&root, &mut compiler);
    let by_kind = Model::index_by_kind(&compiler.matchers);
    let steps = Model::steps_of(&compiler.matchers, &by_kind);
    // Each history is looked up, too.
    let look_steps = compiler.asked.steps() + compiler.histories.len();
    check_size(&scores, &compiler, steps, look_steps);
    Some(Model {
        json: json.to_owned(),
        main,
        scores,
        tags,
        temperature: read_temperature(&root)?,
        stages,
        gates,
        include,
        exclude,
        by_kind,
        steps,
        look_steps,
        matchers: compiler.matchers,
        histories: compiler.histories,
        attributes: compiler.asked.into_names(),
    })
}

/// Reports what would make each event slow or each prospect large.
fn check_size(scores: &[Score], compiler: &Compiler<'_>, steps: usize, look_steps: usize) {
    let windows = compiler.histories.iter().filter(|history| history.within_ms.is_some());
    let of_tags: usize = windows.map(|history| history.test.memory()).sum();
    let rules = scores.iter().filter_map(|score| match &score.kind {
        ScoreKind::Behavior(behavior) => Some(&behavior.rules),
        ScoreKind::Profile(_) => None,
    });
    let of_rules: usize = rules.flatten().map(Rule::times_kept).sum();
    let times = of_tags + of_rules;
    let report = compiler.report;
    if times > TIMES_MAX {
        report.error(
            "",
            format!(
                "all `count`s with `within_days` together may go up to {TIMES_MAX}, and a rule whose points disappear \
                 counts as {EXPIRING_MAX}; these are {times}"
            ),
        );
    }
    let on_events: usize = compiler.matchers.iter().map(|matcher| matcher.condition.questions().max(1)).sum();
    let conditions = on_events + compiler.asked.questions();
    if conditions > CONDITIONS_MAX {
        report.error("", format!("has {conditions} conditions; {CONDITIONS_MAX} are allowed"));
    }
    if conditions <= CONDITIONS_MAX && steps > STEPS_MAX {
        report.error(
            "",
            format!(
                "asking an event of one kind all that it may be asked takes {steps} steps; {STEPS_MAX} are allowed: one for each \
                 rule and tag, {STEPS_OF_OPERATORS}"
            ),
        );
    }
    if conditions <= CONDITIONS_MAX && look_steps > STEPS_MAX {
        report.error(
            "",
            format!(
                "asking a prospect all that is asked of its attributes takes {look_steps} steps; {STEPS_MAX} are allowed: \
                 {STEPS_TO_PREPARE} for each attribute, {STEPS_TO_SORT} if `contains` is asked of it, one for each question about \
                 its events, {STEPS_OF_OPERATORS}"
            ),
        );
    }
    let chars = report.wild_chars();
    if chars > WILD_CHARS_MAX {
        report.error(
            "",
            format!("the parts of all `glob`s that have a `?` may have {WILD_CHARS_MAX} characters together; these have {chars}"),
        );
    }
}

/// `name`, `note` and `author`: for people, kept in the model's text.
pub(super) fn described(object: &Object<'_>) {
    for key in ["name", "note", "author"] {
        let _text = object.text(key);
    }
}

/// `tags` of a rule, score or stage: words by which people keep order among them. They mean nothing to anybody's score, and
/// have nothing to do with the tags of prospects.
pub(super) fn labelled(object: &Object<'_>) {
    for (path, label) in object.list("tags", LABELS_MAX) {
        let fits = label.as_str().is_some_and(|text| !text.is_empty() && text.chars().count() <= LABEL_CHARS_MAX);
        if !fits {
            object.report.error(&path, format!("must be a text of 1 to {LABEL_CHARS_MAX} characters"));
        }
    }
}

/// Reports a slug or id that an earlier one has.
pub(super) fn unique<'a>(seen: &mut BTreeSet<&'a str>, object: &Object<'_>, key: &str, value: &'a str) {
    if !seen.insert(value) {
        object.error(key, format!("`{value}` is taken by an earlier one"));
    }
}

fn read_scores(root: &Object<'_>, compiler: &mut Compiler<'_>) -> (Vec<Score>, usize) {
    let list = root.list("scores", SCORES_MAX);
    if !root.has("scores") || root.fields.get("scores").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        root.report.error(root.path, "`scores` must list at least one score");
    }
    let mut seen = BTreeSet::new();
    let mut main = None;
    let mut scores = Vec::new();
    for (place, (path, value)) in list.iter().enumerate() {
        let Some(object) = Object::new(value, path, root.report) else { continue };
        if object.flag("main") && main.replace(place).is_some() {
            object.error("main", "only one score can be the main one");
        }
        let Some(score) = read_score(&object, compiler) else { continue };
        if let Some(slug) = object.fields.get("slug").and_then(Value::as_str) {
            unique(&mut seen, &object, "slug", slug);
        }
        scores.push(score);
    }
    (scores, main.unwrap_or_default())
}

/// The condition that an object must have.
pub(super) fn required_state(
    object: &Object<'_>,
    compiler: &mut Compiler<'_>,
    over: Over,
    include_bots: bool,
) -> Option<StateCondition> {
    compiler.state(object.fields.get("when")?, &object.at("when"), over, include_bots)
}

fn read_tags(root: &Object<'_>, compiler: &mut Compiler<'_>) -> Vec<Tag> {
    let mut seen = BTreeSet::new();
    let mut tags = Vec::new();
    for (path, value) in &root.list("tags", TAGS_MAX) {
        let Some(tag) = Object::new(value, path, root.report) else { continue };
        tag.only(&TAG_FIELDS);
        tag.require("when");
        described(&tag);
        let is_color = |text: &str| {
            text.strip_prefix('#').is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        if tag.text("color").is_some_and(|color| !is_color(color)) {
            tag.error("color", "must be `#` and six hex digits, as in `#d97706`");
        }
        let include_bots = tag.flag("include_bots");
        let when = required_state(&tag, compiler, Over::Everything, include_bots);
        if let (Some(slug), Some(when)) = (tag.slug("slug"), when) {
            unique(&mut seen, &tag, "slug", slug);
            tags.push(Tag { slug: slug.to_owned(), when });
        }
    }
    tags
}

/// Each alternative of a topmost `any` has its own reason.
fn read_exclude(root: &Object<'_>, compiler: &mut Compiler<'_>) -> Vec<Exclusion> {
    let Some(value) = root.fields.get("exclude") else { return Vec::new() };
    let path = root.at("exclude");
    let alternatives: Vec<(String, &Value)> = match value.as_object() {
        Some(fields) if fields.len() == 1 && fields.contains_key("any") => {
            let Some(object) = Object::new(value, &path, root.report) else { return Vec::new() };
            if fields.get("any").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                object.error("any", "must list at least one condition");
            }
            object.list("any", RULES_MAX)
        }
        _ => vec![(path, value)],
    };
    let mut read = |(path, value): (String, &Value)| {
        let when = compiler.state(value, &path, Over::Everything, false)?;
        Some(Exclusion { when, reason: reason(value), path })
    };
    alternatives.into_iter().filter_map(&mut read).collect()
}

/// A condition in short: `email_domain in ["ourcompany.com"]`, else its JSON.
fn reason(condition: &Value) -> String {
    let short = condition.as_object().filter(|fields| fields.len() == 2).and_then(|fields| {
        let name = fields.get("attribute")?.as_str()?;
        let (operator, operand) = fields.iter().find(|(key, _)| *key != "attribute")?;
        Some(format!("{name} {operator} {operand}"))
    });
    short.unwrap_or_else(|| condition.to_string())
}

fn read_temperature(root: &Object<'_>) -> Option<Temperature> {
    const LEVELS: [(&str, f64); 4] = [("hot", 40.0), ("warm", 20.0), ("normal", 8.0), ("cold", 2.0)];
    const HALF_LIFE_MS: f64 = 7.0 * super::DAY_MS as f64;
    let mut weights = vec![0.0; KINDS.len()];
    let mut weigh = |kind: Kind, weight: f64| {
        if let Some(slot) = weights.get_mut(kind as usize) {
            *slot = weight;
        }
    };
    KINDS.iter().filter(|row| row.activity).for_each(|row| weigh(row.kind, row.weight));
    let Some(value) = root.fields.get("temperature") else {
        let decay = Decay { half_life_ms: Some(HALF_LIFE_MS) };
        return Some(Temperature { decay, levels: LEVELS.to_vec(), weights });
    };
    let path = root.at("temperature");
    let object = Object::new(value, &path, root.report)?;
    object.only(&TEMPERATURE_FIELDS);
    let _text = object.text("note");
    let half_life = days(&object, "half_life_days").map_or(HALF_LIFE_MS, |ms| ms as f64);
    let threshold = |(level, default)| {
        (level, if object.has(level) { object.number(level, 0.0..=NUMBER_MAX).unwrap_or(default) } else { default })
    };
    let levels: Vec<(&'static str, f64)> = LEVELS.into_iter().map(threshold).collect();
    for ((higher, from), (lower, to)) in levels.iter().zip(levels.iter().skip(1)) {
        if from <= to {
            object.error(lower, format!("must be below `{higher}` ({from})"));
        }
    }
    if levels.last().is_some_and(|(_, from)| *from <= 0.0) {
        object.error("cold", "must be above 0, or nobody would ever be frozen");
    }
    if let Some(value) = object.fields.get("weights") {
        let path = object.at("weights");
        let fields = Object::new(value, &path, root.report)?;
        for slug in fields.fields.keys() {
            match Kind::from_slug(slug) {
                Some(kind) if kind.row().activity => {
                    fields.number(slug, 0.0..=NUMBER_MAX).into_iter().for_each(|weight| weigh(kind, weight));
                }
                Some(_) => fields.error(slug, "is no activity: it cannot warm anybody"),
                None => {
                    let words = KINDS.iter().filter(|row| row.activity).map(|row| row.slug);
                    fields.error(slug, format!("unknown kind of event{}", did_you_mean(slug, words)));
                }
            }
        }
    }
    Some(Temperature { decay: Decay { half_life_ms: Some(half_life) }, levels, weights })
}

/// Reads the stages, and hangs each on the score that it depends on; what each asks besides is returned beside their slugs.
fn read_stages(root: &Object<'_>, scores: &mut [Score]) -> (Vec<String>, Vec<Gate>) {
    let written = root.fields.get("scores").and_then(Value::as_array).map_or(0, Vec::len);
    let all_read = !scores.is_empty() && scores.len() == written && scores.iter().all(|score| !score.slug.is_empty());
    let mut seen = BTreeSet::new();
    let (mut slugs, mut gates) = (Vec::new(), Vec::new());
    for (place, (path, value)) in root.list("stages", STAGES_MAX).iter().enumerate() {
        let Some(stage) = Object::new(value, path, root.report) else { continue };
        stage.only(&STAGE_FIELDS);
        described(&stage);
        labelled(&stage);
        if let Some(slug) = stage.slug("slug") {
            unique(&mut seen, &stage, "slug", slug);
        }
        slugs.push(stage.fields.get("slug").and_then(Value::as_str).unwrap_or_default().to_owned());
        if place > 0 {
            stage.require("when");
            gates.extend(read_stage_when(&stage, place, scores, all_read));
        } else {
            for key in ["when", "leave_below"] {
                if stage.has(key) {
                    stage.error(key, "the first stage is where everybody begins: it has no conditions");
                }
            }
        }
    }
    (slugs, gates)
}

/// The `when` of a stage: a behavior or an external score above a value, alone or in an `all` with profile scores.
fn read_stage_when(stage: &Object<'_>, place: usize, scores: &mut [Score], all_read: bool) -> Vec<Gate> {
    let Some(value) = stage.fields.get("when") else { return Vec::new() };
    let path = stage.at("when");
    let Some(when) = Object::new(value, &path, stage.report) else { return Vec::new() };
    if when.has("any") && !when.has("all") {
        when.error(
            "any",
            "a stage follows one score: `{\"score\", \"above\"}`, or that in an `all` with profile scores",
        );
        return Vec::new();
    }
    if !when.has("all") {
        read_stage_line(stage, &when, place, scores, all_read, false);
        return Vec::new();
    }
    when.only(&["all"]);
    let parts = when.list("all", STAGE_QUESTIONS_MAX);
    let mut gates = Vec::new();
    let mut lines = 0;
    for (path, value) in &parts {
        let Some(part) = Object::new(value, path, stage.report) else { return gates };
        let profile = scores.iter().position(|score| {
            matches!(score.kind, ScoreKind::Profile(_))
                && part.fields.get("score").is_some_and(|slug| *slug == *score.slug)
        });
        match profile {
            Some(score) => gates.extend(read_gate(&part, place, score, scores)),
            None => {
                lines += 1;
                if lines > 1 {
                    part.error(
                        "score",
                        "a stage follows one behavior or external score; beside it stand profile scores",
                    );
                } else {
                    read_stage_line(stage, &part, place, scores, all_read, parts.len() > 1);
                }
            }
        }
    }
    if lines == 0 && when.fields.get("all").is_some_and(Value::is_array) {
        when.error("all", "needs a behavior or an external score, beside which profile scores may stand");
    }
    gates
}

/// `{"score", "above"}`: what a stage asks, of whichever score.
fn read_question(when: &Object<'_>) -> Option<f64> {
    let refused = [
        ("below", "a stage is entered above a value; `leave_below` beside `when` says below which it is left"),
        ("tag", "a stage depends on scores and on nothing else"),
    ];
    refused.into_iter().filter(|(key, _)| when.has(key)).for_each(|(key, message)| when.error(key, message));
    when.only_but(&["score", "above"], &refused.map(|(key, _)| key));
    when.require("score");
    when.require("above");
    number(when, "above")
}

/// Reports a value that a score is never, or always, above.
fn check_reach(when: &Object<'_>, score: &Score, above: f64) {
    let slug = &score.slug;
    if let Some(cap) = score.clamp.cap.filter(|cap| above >= *cap) {
        when.error("above", format!("must be below the cap ({cap}) of `{slug}`: nobody would ever enter"));
    }
    if let Some(floor) = score.clamp.floor.filter(|floor| above < *floor) {
        let message = format!("must not be below the floor ({floor}) of `{slug}`: everybody would enter at once");
        when.error("above", message);
    }
}

fn read_gate(when: &Object<'_>, stage: usize, score: usize, scores: &[Score]) -> Option<Gate> {
    let above = read_question(when)?;
    check_reach(when, scores.get(score)?, above);
    Some(Gate { stage, score, above })
}

/// The score that a stage follows. `gated`: profile scores stand beside it.
fn read_stage_line(
    stage: &Object<'_>,
    when: &Object<'_>,
    place: usize,
    scores: &mut [Score],
    all_read: bool,
    gated: bool,
) -> Option<()> {
    let above = read_question(when);
    let leave_below = number(stage, "leave_below");
    let slug = when.text("score")?;
    let above = above?;
    if leave_below.is_some_and(|leave| leave > above) {
        stage.error("leave_below", format!("must not be above {above}, or who enters would leave at once"));
    }
    let words: Vec<String> = scores.iter().map(|score| score.slug.clone()).collect();
    let Some(score) = scores.iter_mut().find(|score| score.slug == slug) else {
        // Where a score could not be read, its mistake is told and this is none.
        if all_read {
            when.error("score", format!("unknown score `{slug}`{}", one_of(slug, words.iter().map(String::as_str))));
        }
        return None;
    };
    if let ScoreKind::Behavior(_) = score.kind {
        check_reach(when, score, above);
    }
    let ScoreKind::Behavior(behavior) = &mut score.kind else {
        // The stage at a time is the fold over all events (contract, section 1, row 21).
        let message = "follows from attributes as they are now: a stage needs a behavior or an external score beside it, in `all`";
        when.error("score", format!("`{slug}` {message}"));
        return None;
    };
    // With profile scores beside it, the same value is another stage.
    let too_low = |line: &&StageLine| if gated { line.above > above } else { line.above >= above };
    if let Some(earlier) = behavior.stages.iter().find(too_low) {
        let stages = step("/stages", earlier.stage);
        when.error("above", format!("must be higher than {} of the earlier stage at {stages}", earlier.above));
    }
    behavior.stages.push(StageLine { stage: place, above, leave_below });
    Some(())
}
