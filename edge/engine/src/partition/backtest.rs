//! What a draft would change: both models over everybody's stored history, as of one moment, a slice at a time while events
//! go on. Nothing of anybody changes by it.

use super::person::Person;
use super::publish::{PEOPLE_A_SLICE, Progress, Work, parse};
use super::tally::{Tally, Way, crossings};
use super::{Partition, decode, encode, view};
use crate::key::KeyHash;
use crate::scoring::{Fold, Model, Standing};
use crate::store::{Store, StoreError, Value};
use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A backtest, as far as it has come.
///
/// Events are those that were stored at its moment; who is who is asked when each prospect's turn comes. So somebody whose
/// identity changes while it runs may be counted twice, or not at all, as in a list between two pages.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Backtest {
    /// The same in all partitions.
    #[n(0)]
    pub id: String,
    /// Both models are asked about this time, ms, over all that was stored then.
    #[n(1)]
    pub as_of: i64,
    /// The published version that the draft is compared with.
    #[n(2)]
    pub model_version: u64,
    /// How far it is.
    #[n(3)]
    pub progress: Progress,
    /// Whether it has ended.
    #[n(4)]
    pub state: State,
    /// What was counted so far.
    #[n(5)]
    pub tally: Tally,
    /// The row that was done last.
    #[n(6)]
    cursor: i64,
    /// Of which draft: its [`fingerprint`]. Empty in rows of earlier releases.
    #[cbor(n(7), default)]
    pub draft: String,
}

/// What a model is told apart by: the hex of the SHA-256 of its text.
#[must_use]
pub fn fingerprint(model: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(model.as_bytes()))
}

impl Backtest {
    /// Whether it is of this draft, by its fingerprint, beside this version: publishing would do what it says.
    #[must_use]
    pub fn is_of(&self, version: u64, draft: &str) -> bool {
        self.model_version == version && self.draft == draft
    }
}

/// Whether a backtest has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum State {
    /// All are counted.
    #[n(0)]
    Done,
    /// It goes on.
    #[n(1)]
    Running,
    /// Another version was published, or the draft changed: publishing would not do what it says.
    #[n(2)]
    Outdated,
}

impl State {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Running => "running",
            State::Outdated => "outdated",
        }
    }
}

/// A backtest under way, with its draft.
pub(super) struct Running {
    backtest: Backtest,
    draft: Option<Model>,
}

/// What is kept of somebody who crosses a stage.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Crosser {
    #[n(0)]
    founder: KeyHash,
    /// The stage under both models.
    #[n(1)]
    stages: [Option<String>; 2],
    /// The score that the crossed stage depends on, and its value under both.
    #[n(2)]
    score: String,
    #[n(3)]
    values: [Option<f64>; 2],
}

/// Somebody who crosses a stage, as the API shows them.
#[derive(Debug, Clone, Serialize)]
struct Crossing {
    id: String,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    company: Option<String>,
    /// The score that the crossed stage depends on, by the model in which it is held.
    score: String,
    before: Side,
    after: Side,
}

#[derive(Debug, Clone, Serialize)]
struct Side {
    stage: Option<String>,
    /// Of that score; none under a model that has no such score, or by which the person is excluded.
    value: Option<f64>,
}

impl<S: Store> Partition<S> {
    pub(super) fn load_backtest(&mut self) -> Result<(), StoreError> {
        let Some(bytes) = self.meta("backtest")? else { return Ok(()) };
        let backtest: Backtest = decode(&bytes)?;
        let draft = match self.meta("backtest/draft")? {
            Some(bytes) => Some(parse(&decode::<String>(&bytes)?)?),
            None => None,
        };
        self.backtest = Some(Running { backtest, draft });
        Ok(())
    }

    /// Begins a backtest of a draft; an earlier one is forgotten. One of this id goes on.
    ///
    /// # Errors
    /// When the draft is no model, or the store fails.
    pub fn begin_backtest(&mut self, id: &str, as_of: i64, draft: &str) -> Result<(), StoreError> {
        if self.backtest.as_ref().is_some_and(|running| running.backtest.id == id) {
            return Ok(());
        }
        let model = parse(draft)?;
        let backtest = self.store.atomically(|| {
            let rows = self.store.query("SELECT count(*) FROM person", &[])?;
            let total = rows.first().map_or(Ok(0), |row| row.integer(0))?.unsigned_abs();
            let backtest = Backtest {
                id: id.to_owned(),
                as_of,
                model_version: self.model_version,
                progress: Progress { done: 0, total },
                state: State::Running,
                tally: Tally::default(),
                cursor: -1,
                draft: fingerprint(draft),
            };
            self.store.exec("DELETE FROM crossing", &[])?;
            self.set_meta("backtest", &backtest)?;
            self.set_meta("backtest/draft", &draft)?;
            Ok::<_, StoreError>(backtest)
        })?;
        self.backtest = Some(Running { backtest, draft: Some(model) });
        Ok(())
    }

    /// The newest backtest.
    #[must_use]
    pub fn backtest(&self) -> Option<&Backtest> {
        self.backtest.as_ref().map(|running| &running.backtest)
    }

    /// Whether a backtest goes on.
    #[must_use]
    pub fn is_backtesting(&self) -> bool {
        self.backtest().is_some_and(|backtest| backtest.state == State::Running)
    }

    /// Counts the next slice of prospects, in one transaction.
    ///
    /// # Errors
    /// When the store fails: then nothing was kept.
    pub fn backtest_slice(&mut self) -> Result<(), StoreError> {
        let Some(Running { backtest, draft: Some(draft) }) = &self.backtest else { return Ok(()) };
        if backtest.state != State::Running {
            return Ok(());
        }
        let after = self.store.atomically(|| {
            let mut after = backtest.clone();
            if backtest.model_version == self.model_version {
                self.count_slice(&mut after, draft)?;
            } else {
                after.state = State::Outdated;
            }
            if after.state != State::Running {
                self.store.exec("DELETE FROM meta WHERE name = 'backtest/draft'", &[])?;
            }
            self.set_meta("backtest", &after)?;
            Ok::<_, StoreError>(after)
        })?;
        if let Some(running) = &mut self.backtest {
            running.backtest = after;
        }
        Ok(())
    }

    fn count_slice(&self, backtest: &mut Backtest, draft: &Model) -> Result<(), StoreError> {
        let sql = "SELECT no, state FROM person WHERE no > ? ORDER BY no LIMIT ? + 0";
        let rows = self.store.query(sql, &[backtest.cursor.into(), PEOPLE_A_SLICE.into()])?;
        // A slice that is not full is the last, unless it ends early.
        let mut is_last = i64::try_from(rows.len()).is_ok_and(|count| count < PEOPLE_A_SLICE);
        let mut work = Work::default();
        let (steps_an_event, steps_a_look) = [&self.model, draft]
            .iter()
            .fold((0, 0), |(event, look), model| (event + model.steps_an_event(), look + model.steps_a_look()));
        for row in &rows {
            let (no, person): (i64, Person) = (row.integer(0)?, decode(row.blob(1)?)?);
            if !work.takes(self.events_scored(&person).saturating_mul(steps_an_event).saturating_add(steps_a_look)) {
                is_last = false;
                break;
            }
            self.count(backtest, draft, no, &person)?;
            backtest.cursor = no;
            backtest.progress.done += 1;
        }
        if is_last {
            backtest.state = State::Done;
        }
        backtest.progress.total = backtest.progress.total.max(backtest.progress.done);
        Ok(())
    }

    /// Counts one prospect: both models over all its events that were stored at the time asked about.
    fn count(&self, backtest: &mut Backtest, draft: &Model, no: i64, person: &Person) -> Result<(), StoreError> {
        let mut events = self.events_of(&person.spans)?;
        events.retain(|event| event.rx <= backtest.as_of);
        if events.is_empty() {
            return Ok(());
        }
        let attributes = person.attributes_by(&events);
        let [before, after] = [&self.model, draft].map(|model| {
            let mut fold = Fold::default();
            events.iter().for_each(|event| fold.push(model, &event.occurrence(person.internal), backtest.as_of));
            fold.standing(model, &attributes, backtest.as_of)
        });
        backtest.tally.add(&before, &after, events.len() as u64);
        let value = |standing: &Standing, score: &str| {
            standing.scores.iter().find(|(slug, _)| slug == score).and_then(|(_, score)| score.value)
        };
        for (way, stage) in crossings(&before, &after) {
            let model = if way == Way::In { draft } else { &self.model };
            let score = model.score_of_stage(stage).unwrap_or_default();
            let crosser = Crosser {
                founder: person.founder,
                stages: [before.stage.clone(), after.stage.clone()],
                score: score.to_owned(),
                values: [value(&before, score), value(&after, score)],
            };
            let way = i64::from(way == Way::Out);
            let params = [Value::from(stage), way.into(), no.into(), Value::Blob(encode(&crosser)?)];
            self.store.exec("INSERT OR REPLACE INTO crossing VALUES (?, ?, ?, ?)", &params)?;
        }
        Ok(())
    }

    /// Who crosses a stage, as a JSON array, after a row; and the last row if there may be more.
    pub(super) fn crossings(
        &self,
        stage: &str,
        way: Way,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<u8>, Option<i64>), StoreError> {
        let way = i64::from(way == Way::Out);
        let count = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "SELECT no, body FROM crossing WHERE stage = ? AND way = ? AND no > ? ORDER BY no LIMIT ? + 0";
        let rows = self.store.query(sql, &[Value::from(stage), way.into(), after.into(), count.into()])?;
        let (mut items, mut last) = (Vec::with_capacity(rows.len()), None);
        for row in &rows {
            let Crosser { founder, stages: [before, after], score, values: [was, is] } = decode(row.blob(1)?)?;
            last = Some(row.integer(0)?);
            // Names are not kept twice: whoever is erased or merged since is an id here.
            let person = self.load_person(row.integer(0)?)?;
            let attribute = |name| person.as_ref().and_then(|person| view::text(&person.attributes, name));
            items.push(Crossing {
                id: founder.prospect_id(),
                email: person.as_ref().and_then(|person| person.email.as_ref().map(|email| email.address.clone())),
                first_name: attribute("first_name"),
                last_name: attribute("last_name"),
                company: attribute("company"),
                score,
                before: Side { stage: before, value: was },
                after: Side { stage: after, value: is },
            });
        }
        Ok((super::read::json(&items)?, last.filter(|_| items.len() == limit)))
    }
}
