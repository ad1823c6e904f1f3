//! `wingbeat replay` and `wingbeat explain`: what a model makes of files of events, and why.

use super::document::Trouble;
use super::people::Population;
use super::person::Person;
use super::terminal::{BAD, FAINT, Progress, STRONG, Table, number, number_or_none, styled};
use crate::partition::view::{Notice, Part as Shown};
use crate::scoring::{Fold, Model, ScoreValue, Standing};
use crate::time;
use serde_json::{Value, json};
use std::io::Write;

/// Writes everybody's standing at a time, the highest main score first; as JSON one person a line.
///
/// # Errors
/// When the database fails or the stream does not take it.
pub fn everybody(
    out: &mut dyn Write,
    model: &Model,
    people: &Population,
    at: i64,
    as_json: bool,
    most: usize,
    progress: &Progress,
) -> Result<(), Trouble> {
    let mut standings: Vec<(String, Standing)> = Vec::with_capacity(people.len());
    people.each(progress, |person| {
        let standing = person.standing(model, at);
        standings.push((person.name.clone(), standing));
        Ok(())
    })?;
    let main = |standing: &Standing| {
        standing.scores.iter().find(|(slug, _)| slug == model.main_score()).and_then(|(_, score)| score.value)
    };
    standings.sort_by(|(left_name, left), (right_name, right)| {
        let by_value = main(right).unwrap_or(f64::NEG_INFINITY).total_cmp(&main(left).unwrap_or(f64::NEG_INFINITY));
        by_value.then_with(|| left_name.cmp(right_name))
    });
    let total = standings.len();
    standings.truncate(most);
    if as_json {
        for (name, standing) in &standings {
            writeln!(out, "{}", as_document(name, standing))?;
        }
        return Ok(());
    }
    let slugs: Vec<&str> = model.score_slugs().collect();
    let mut table = Table::new(&[&["person"], slugs.as_slice(), &["temperature", "stage", "tags"]].concat());
    for (name, standing) in &standings {
        let scores = standing.scores.iter().map(|(_, score)| shown(score));
        let rest =
            [standing.temperature.to_owned(), standing.stage.clone().unwrap_or_default(), standing.tags.join(", ")];
        table.push([name.clone()].into_iter().chain(scores).chain(rest).collect());
    }
    table.write(out)?;
    if total > standings.len() {
        writeln!(out, "{}", styled(FAINT, format!("and {} more", total - standings.len())))?;
    }
    Ok(())
}

fn shown(score: &ScoreValue) -> String {
    let band = score.band.as_ref().map(|band| format!(" {band}")).unwrap_or_default();
    format!("{}{band}", number_or_none(score.value))
}

fn as_document(name: &str, standing: &Standing) -> Value {
    let score =
        |(slug, score): &(String, ScoreValue)| (slug.clone(), json!({ "value": score.value, "band": score.band }));
    json!({
        "person": name,
        "scores": standing.scores.iter().map(score).collect::<serde_json::Map<_, _>>(),
        "tags": standing.tags,
        "temperature": standing.temperature,
        "stage": standing.stage,
        "excluded": standing.excluded,
    })
}

/// Writes one person's way, event by event: what the scores are after each.
///
/// # Errors
/// When the stream does not take it.
pub fn one(out: &mut dyn Write, model: &Model, person: &Person, at: i64) -> Result<(), Trouble> {
    let slugs: Vec<&str> = model.score_slugs().collect();
    let mut table = Table::new(&[&["at", "event"], slugs.as_slice(), &["temperature", "stage", "tags"]].concat());
    let row = |standing: Standing, at: i64, what: &str| {
        let scores = standing.scores.iter().map(|(_, score)| shown(score)).collect::<Vec<_>>();
        let rest = [standing.temperature.to_owned(), standing.stage.unwrap_or_default(), standing.tags.join(", ")];
        [time::show(at).unwrap_or_default(), what.to_owned()].into_iter().chain(scores).chain(rest).collect()
    };
    let (mut fold, mut attributes) = (Fold::default(), person.nothing_told());
    // What is dated ahead has not happened yet: it counts at the end only.
    for o in person.occurrences(at).iter().filter(|o| o.at <= at) {
        fold.push(model, o, o.at);
        attributes.learn(o.body, o.at);
        table.push(row(fold.standing(model, &attributes, o.at), o.at, &o.body.name));
    }
    table.push(row(person.standing(model, at), at, ""));
    writeln!(out, "{}", styled(STRONG, &person.name))?;
    Ok(table.write(out)?)
}

/// Writes why a score is what it is; as JSON in the form of the API's explanations, with the person's name.
///
/// # Errors
/// When the model has no such score, or the stream does not take it.
pub fn why(
    out: &mut dyn Write,
    model: &Model,
    person: &Person,
    score: &str,
    at: i64,
    as_json: bool,
) -> Result<(), Trouble> {
    let explanation = person.explanation(model, score, at).ok_or_else(|| {
        let slugs: Vec<_> = model.score_slugs().collect();
        Trouble(format!("there is no score `{score}`; there are {}, and temperature", slugs.join(", ")))
    })?;
    let too_old = (person.left_out > 0).then(|| Notice::events(person.events.len() as u64, person.left_out));
    let notices: Vec<Notice> =
        too_old.into_iter().chain(explanation.crowded.iter().map(Notice::disappearing_points)).collect();
    if as_json {
        let document = json!({
            "person": person.name,
            "score": explanation.score,
            "value": explanation.value,
            "excluded": explanation.excluded,
            "at": time::show(at),
            "parts": explanation.parts.into_iter().map(Shown::from).collect::<Vec<_>>(),
            "notices": notices,
        });
        return Ok(writeln!(out, "{document:#}")?);
    }
    let reason = explanation.excluded.as_deref().unwrap_or_default();
    let value = explanation.value.map_or_else(|| format!("not scored ({reason})"), number);
    let at = time::show(at).unwrap_or_default();
    writeln!(out, "{} {} {} at {at}", styled(STRONG, &person.name), score, styled(STRONG, value))?;
    let mut table = Table::new(&["at", "part", "rule", "points", "factor", "adds", "event"]);
    for part in &explanation.parts {
        table.push(vec![
            time::show(part.at).unwrap_or_default(),
            part.kind.slug().to_owned(),
            part.rule.clone().unwrap_or_default(),
            number(part.points),
            format!("{:.6}", part.factor),
            number(part.contribution),
            part.name.clone().unwrap_or_default(),
        ]);
    }
    table.write(out)?;
    for notice in notices {
        writeln!(out, "{} {}", styled(BAD, "limit"), notice.message)?;
    }
    Ok(())
}
