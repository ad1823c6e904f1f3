//! `wingbeat replay` and `wingbeat explain`: what a model makes of files of events, and why.

use super::document::Trouble;
use super::people::{Person, Population};
use super::terminal::{BAD, FAINT, Progress, STRONG, Table, number, number_or_none, styled};
use crate::partition::view::Notice;
use crate::scoring::{Fold, Model, ScoreValue, Standing, explain};
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
        let standing = person.fold(model, at).standing(model, &person.attributes, at);
        standings.push((person.name, standing));
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
    let mut fold = Fold::default();
    let row = |fold: &Fold, at: i64, what: &str| {
        let standing = fold.standing(model, &person.attributes, at);
        let scores = standing.scores.iter().map(|(_, score)| shown(score)).collect::<Vec<_>>();
        let rest = [standing.temperature.to_owned(), standing.stage.unwrap_or_default(), standing.tags.join(", ")];
        [time::show(at).unwrap_or_default(), what.to_owned()].into_iter().chain(scores).chain(rest).collect()
    };
    for o in person.occurrences(at) {
        fold.push(model, &o, o.at);
        table.push(row(&fold, o.at, &o.body.name));
    }
    table.push(row(&fold, at, ""));
    writeln!(out, "{}", styled(STRONG, &person.name))?;
    Ok(table.write(out)?)
}

/// Writes why a score is what it is.
///
/// # Errors
/// When the model has no such score, or the stream does not take it.
pub fn why(out: &mut dyn Write, model: &Model, person: &Person, score: &str, at: i64) -> Result<(), Trouble> {
    let explanation = explain(model, &person.occurrences(at), &person.attributes, score, at).ok_or_else(|| {
        let slugs: Vec<_> = model.score_slugs().collect();
        Trouble(format!("there is no score `{score}`; there are {}, and temperature", slugs.join(", ")))
    })?;
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
    let too_old = (person.left_out > 0).then(|| Notice::events(person.events.len() as u64, person.left_out));
    for notice in too_old.into_iter().chain(explanation.crowded.iter().map(Notice::disappearing_points)) {
        writeln!(out, "{} {}", styled(BAD, "limit"), notice.message)?;
    }
    Ok(())
}
