//! Rules as code: the `wingbeat` command, over the same engine as the Worker.
//!
//! Unlike the rest of this crate it reads files and writes to a terminal; it still reads no clock: where a time is
//! needed and not given, it is that of the newest event, so that the same files give the same answer tomorrow.
//!
//! - [`args`]: what may be written on the command line
//! - [`document`], [`people`], [`exported`]: models, tests and events in
//! - [`person`]: one person at any time
//! - [`moment`], [`suite`], [`verdict`]: tests of rules, and what becomes of them
//! - [`score`], [`compare`], [`backtest`]: the other commands
//! - [`terminal`]: what is written

pub mod args;
pub mod backtest;
pub mod compare;
pub mod document;
pub mod exported;
pub mod moment;
pub mod people;
pub mod person;
pub mod score;
pub mod suite;
pub mod terminal;
pub mod verdict;

use crate::scoring::{Model, differences, schema};
use crate::time;
use args::{Cli, Command, Events};
use backtest::Backtest;
use document::Trouble;
use people::Population;
use serde_json::Value;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use suite::Suite;
use terminal::{BAD, FAINT, GOOD, Progress, STRONG, counted, styled};

/// How a command that could be done has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All is well.
    Well,
    /// Something was found: a mistake, a test that fails, a difference.
    Found,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble(format!("writing: {error}"))
    }
}

/// Does what a command line says; results go to `out`, warnings to `err`.
///
/// # Errors
/// When it cannot be done at all.
pub fn run(cli: Cli, out: &mut dyn Write, err: &mut dyn Write) -> Result<Ending, Trouble> {
    let progress = if cli.quiet { Progress::hidden() } else { Progress::shown() };
    match cli.command {
        Command::Check { models } => check(out, &Rules::read(&models, Sort::Model)?.models),
        Command::Test { files } => test(out, &files, &progress),
        Command::Replay { model, events, who, json, limit } => {
            let model = document::sound_model(&model)?;
            let (people, at) = read(&events, &progress, err)?;
            match who {
                Some(who) => score::one(out, &model, &people.find(&who)?, at)?,
                None => score::everybody(out, &model, &people, at, json, limit, &progress)?,
            }
            Ok(whole(&people))
        }
        Command::Explain { model, events, who, score, json } => {
            let model = document::sound_model(&model)?;
            let (people, at) = read(&events, &progress, err)?;
            let score = score.unwrap_or_else(|| model.main_score().to_owned());
            score::why(out, &model, &people.find(&who)?, &score, at, json)?;
            Ok(whole(&people))
        }
        Command::Diff { before, after, exit_code, json } => {
            let [before, after] = [before, after].map(|path| json_of(&document::sound_model(&path)?));
            let differences = differences(&before?, &after?);
            compare::write(out, &differences, json)?;
            Ok(if exit_code && !differences.is_empty() { Ending::Found } else { Ending::Well })
        }
        Command::Schema => {
            writeln!(out, "{:#}", schema())?;
            Ok(Ending::Well)
        }
        Command::Backtest { current, draft, events, json } => {
            let (current, draft) = (document::sound_model(&current)?, document::sound_model(&draft)?);
            let (people, at) = read(&events, &progress, err)?;
            let backtest = Backtest::run([&current, &draft], &people, at, &progress)?;
            match json {
                true => writeln!(out, "{:#}", backtest.document())?,
                false => backtest.write(out)?,
            }
            Ok(whole(&people))
        }
    }
}

fn json_of(model: &Model) -> Result<Value, Trouble> {
    serde_json::from_str(model.json()).map_err(|error| Trouble(error.to_string()))
}

/// The people of some files, and the time asked about.
fn read(events: &Events, progress: &Progress, err: &mut dyn Write) -> Result<(Population, i64), Trouble> {
    const TOLD: usize = 10;
    let at = match &events.at {
        Some(text) => Some(time::parse(text).ok_or_else(|| Trouble(format!("--at: `{text}` is no time")))?),
        None => None,
    };
    let people = Population::read(&events.events, &events.internal, progress)?;
    for why in people.rejected.iter().take(TOLD) {
        writeln!(err, "{} {why}", styled(BAD, "left out"))?;
    }
    match people.rejected.len() {
        0 => {}
        1 => writeln!(err, "1 event was left out")?,
        count => writeln!(
            err,
            "{count} events were left out{}",
            if count > TOLD { ", of which these are the first" } else { "" }
        )?,
    }
    let (exported, described) = people.exported();
    if described < exported {
        writeln!(
            err,
            "{} {} of {exported} prospects have no line of `/api/exports/prospects`: of which domain their e-mails are, and \
             whether they are internal, is not known",
            styled(STRONG, "note"),
            exported - described
        )?;
    }
    let newest = people.newest;
    Ok((people, at.unwrap_or(newest)))
}

/// How what rests on files of events ends: not well if some could not be read.
fn whole(people: &Population) -> Ending {
    if people.rejected.is_empty() { Ending::Well } else { Ending::Found }
}

fn check(out: &mut dyn Write, models: &[PathBuf]) -> Result<Ending, Trouble> {
    let mut ending = Ending::Well;
    for path in models {
        match document::model(path)? {
            Ok(model) => {
                let counts = [
                    counted(model.score_slugs().count(), "score", "scores"),
                    counted(model.tag_slugs().count(), "tag", "tags"),
                    counted(model.stage_slugs().count(), "stage", "stages"),
                ];
                let counts = counts.join(", ");
                writeln!(out, "{} {} {}", styled(GOOD, "ok"), path.display(), styled(FAINT, counts))?;
            }
            Err(errors) => {
                ending = Ending::Found;
                writeln!(out, "{} {}", styled(BAD, "wrong"), path.display())?;
                for error in &errors {
                    let place = if error.path.is_empty() { "/" } else { &error.path };
                    writeln!(out, "  {}: {}", styled(STRONG, place), error.message)?;
                }
            }
        }
    }
    Ok(ending)
}

fn test(out: &mut dyn Write, paths: &[PathBuf], progress: &Progress) -> Result<Ending, Trouble> {
    let Rules { models, tests: files } = Rules::read(paths, Sort::Test)?;
    let checked = check(out, &models)?;
    let suites = files.iter().map(|file| Suite::read(file)).collect::<Result<Vec<_>, _>>()?;
    let cases: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let bar = progress.bar("testing", cases);
    let mut failed = 0;
    for (file, suite) in files.iter().zip(&suites) {
        let mut failures = Vec::new();
        for case in &suite.cases {
            let found = verdict::judge(suite, case);
            if !found.is_empty() {
                failures.push((&case.name, found));
            }
            bar.inc(1);
        }
        failed += failures.len();
        let mark = if failures.is_empty() { styled(GOOD, "ok") } else { styled(BAD, "failed") };
        bar.suspend(|| {
            let count = counted(suite.cases.len(), "case", "cases");
            writeln!(out, "{mark} {} {}", file.display(), styled(FAINT, count))?;
            for (name, found) in failures {
                writeln!(out, "  {}", styled(STRONG, name))?;
                for failure in found {
                    let verdict::Failure { at, what, expected, found } = failure;
                    writeln!(out, "    at {at}, {what}: expected {expected}, found {found}")?;
                }
            }
            Ok::<(), io::Error>(())
        })?;
    }
    bar.finish_and_clear();
    writeln!(out, "{}, {failed} failed", counted(cases, "case", "cases"))?;
    Ok(if failed == 0 { checked } else { Ending::Found })
}

/// A file of rules is one of these.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Model,
    Test,
}

/// What files and folders of rules hold.
#[derive(Default)]
struct Rules {
    models: Vec<PathBuf>,
    tests: Vec<PathBuf>,
}

impl Rules {
    /// The files named, which are of the sort that is asked for, and those in the folders named, of which some must be.
    fn read(paths: &[PathBuf], wanted: Sort) -> Result<Rules, Trouble> {
        let mut rules = Rules::default();
        for path in paths {
            if !path.is_dir() {
                rules.of(wanted).push(path.clone());
                continue;
            }
            let before = rules.of(wanted).len();
            for file in files(path).map_err(|error| Trouble(format!("{}: {error}", path.display())))? {
                // What is neither is told as a model what is wrong with it.
                let sort = if document::is_test(&file)? { Sort::Test } else { Sort::Model };
                rules.of(sort).push(file);
            }
            if rules.of(wanted).len() == before {
                let sort = if wanted == Sort::Test { "tests" } else { "models" };
                return Err(Trouble(format!("{}: no {sort} (*.yaml, *.yml, *.json) in this folder", path.display())));
            }
        }
        Ok(rules)
    }

    fn of(&mut self, sort: Sort) -> &mut Vec<PathBuf> {
        match sort {
            Sort::Model => &mut self.models,
            Sort::Test => &mut self.tests,
        }
    }
}

/// The files of rules in a folder, by name.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_ours =
        |path: &PathBuf| path.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|known| e == *known));
    let entries: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().filter(is_ours).collect();
    files.sort();
    Ok(files)
}
