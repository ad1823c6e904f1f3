//! A destination: one Durable Object per connection. It reads the partitions' feeds by cursor, keeps what should be where
//! and what is there, and calls out by its alarm; it is woken when there is news, and polls nothing in between but for a
//! look every ten minutes, lest a lost wake-up is a lost change.
//!
//! - [`connection`]: what an operator sets; [`deliveries`]: what people see of it
//! - [`reading`]: feeds in; [`write_back`], [`look_up`]: calls out; [`probe`]: whether they could be made
//! - [`lane`]: budget and trouble of one endpoint; [`outgoing`]: HTTP

pub(crate) mod connection;
pub(crate) mod deliveries;
mod lane;
mod look_up;
mod outgoing;
mod probe;
mod reading;
mod status;
mod write_back;

use crate::alarm::Alarm;
use crate::now_ms;
use crate::sql::ObjectStore;
use connection::Kept;
use deliveries::Deliveries;
use futures_util::future::join;
use lane::Lane;
use reading::when;
use serde_json::{Value as Json, json};
use std::cell::Cell;
use std::rc::Rc;
use wingbeat_engine::destinations::braze::queue::LookUps;
use wingbeat_engine::destinations::ledger::Ledger;
use wingbeat_engine::partition::feed::Cursor;
use wingbeat_engine::partition::{decode, encode};
use wingbeat_engine::store::{Store, StoreError, Value};
use worker::{DurableObject, Env, Method, Request, Response, Result, State, durable_object};

const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID",
    // `read` of `total` people, when everybody is read.
    "CREATE TABLE IF NOT EXISTS cursor (partition INTEGER PRIMARY KEY, body BLOB NOT NULL, read INTEGER NOT NULL,
       total INTEGER NOT NULL) STRICT",
];
/// How long one alarm works before it lets the next one go on: far below what the runtime allows an alarm (15 minutes).
const SHIFT_MS: i64 = 20_000;
/// How long feeds are read before calls are made, and calls before the feeds are looked at again.
const TURN_MS: i64 = 2_000;
/// When feeds are read without news.
const HEARTBEAT_MS: i64 = 600_000;
/// When a run that failed by a fault of ours is made again.
const FAULT_MS: i64 = 5_000;

/// One connection.
#[durable_object]
pub struct Destination {
    state: State,
    shared: Rc<Shared>,
}

/// What outlives a single request of the object.
pub(crate) struct Shared {
    env: Env,
    store: ObjectStore,
    alarm: Alarm,
    writing: Lane,
    looking: Lane,
    /// There is something to read.
    news: Cell<bool>,
    running: Cell<bool>,
    /// Grows when everybody is to be read anew: a page of before is nobody's business any more.
    round: Cell<u64>,
    /// How many lines of the feeds were left after they were last read.
    behind: Cell<u64>,
    /// Whether the tables are there, and the alarm is set again in this life: local runtimes forget alarms.
    opened: Cell<bool>,
}

/// What calls came to.
#[derive(Default)]
pub(crate) struct Work {
    /// Calls made.
    requests: u64,
    /// Objects or people done.
    done: u64,
    /// Objects or people refused.
    refused: u64,
    /// Calls that failed as a whole.
    failed: u64,
    /// Whether there is more at once.
    more: bool,
}

impl Work {
    fn add(&mut self, more: &Work) {
        self.requests += more.requests;
        self.done += more.done;
        self.refused += more.refused;
        self.failed += more.failed;
    }

    fn json(&self) -> Json {
        json!({ "requests": self.requests, "done": self.done, "refused": self.refused, "failed": self.failed })
    }
}

impl DurableObject for Destination {
    fn new(state: State, env: Env) -> Self {
        let shared = Shared {
            env,
            store: ObjectStore::of(&state),
            alarm: Alarm::default(),
            writing: Lane::new("write_back"),
            looking: Lane::new("look_up"),
            news: Cell::new(true),
            running: Cell::new(false),
            round: Cell::new(0),
            behind: Cell::new(0),
            opened: Cell::new(false),
        };
        Destination { state, shared: Rc::new(shared) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        self.shared.open()?;
        let url = request.url()?;
        let parameter =
            |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        let answer = match (request.method(), url.path()) {
            (Method::Post, "/news") => Ok(Json::Null),
            (Method::Put, "/settings") => {
                let body = request.json().await?;
                self.shared.set(&parameter("id").unwrap_or_default(), body)
            }
            (Method::Delete, "/settings") => {
                self.shared.alarm.delete_with_all(&self.state.storage()).await?;
                self.shared.opened.set(false);
                self.shared.round.set(self.shared.round.get() + 1);
                return Response::from_json(&Json::Null);
            }
            (Method::Get, "/status") => self.shared.status(),
            (Method::Get, "/deliveries") => {
                let (kind, state) = (parameter("kind"), parameter("state"));
                let before = (parameter("at"), parameter("number"));
                self.shared.deliveries((kind.as_deref(), state.as_deref()), before, parameter("limit"))
            }
            (Method::Post, "/retry") => self.shared.retry(parameter("delivery")),
            (Method::Get, "/runs") => self.shared.runs(parameter("run"), parameter("limit")),
            (Method::Get, "/records") => {
                let (state, after) = (parameter("state"), parameter("after").unwrap_or_default());
                self.shared.records(state.as_deref(), &after, parameter("limit"))
            }
            (Method::Post, "/sync") => self.shared.sync(parameter("full").is_some()),
            (Method::Get, "/preview") => {
                let behind = parameter("due").and_then(|due| due.parse().ok()).zip(parameter("target"));
                self.shared.preview(behind, parameter("limit"))
            }
            (Method::Post, "/test") => self.shared.probe().await,
            _ => return Response::error("a destination has no such path", 404),
        };
        // Whatever it was, it may have made something due.
        if request.method() != Method::Get {
            self.shared.news.set(true);
        }
        self.arm().await?;
        match answer {
            Ok(json) => Response::from_json(&json),
            Err(refused) => Ok(Response::from_json(&refused.json())?.with_status(refused.status())),
        }
    }

    /// An alarm that fails too often is given up by the runtime, so it never fails: it rings again.
    async fn alarm(&self) -> Result<Response> {
        self.shared.alarm.has_rung();
        if !self.shared.running.replace(true) {
            let done = self.shared.work().await;
            self.shared.running.set(false);
            if let Err(error) = done {
                worker::console_error!("a destination could not do its work: {error}");
                self.shared.alarm.set_by(&self.state.storage(), now_ms() + FAULT_MS).await?;
                return Response::empty();
            }
        }
        self.arm().await?;
        Response::empty()
    }
}

impl Destination {
    /// Sets the alarm to what comes next.
    async fn arm(&self) -> Result<()> {
        // Who is at work sets it when that is done.
        if self.shared.running.get() {
            return Ok(());
        }
        match self.shared.wakes_at()? {
            Some(at) => self.shared.alarm.set_by(&self.state.storage(), at).await,
            None => Ok(()),
        }
    }
}

impl Shared {
    fn open(&self) -> Result<()> {
        if self.opened.get() {
            return Ok(());
        }
        TABLES.iter().try_for_each(|sql| self.store.exec(sql, &[]).map(drop)).map_err(fault)?;
        Ledger(&self.store).open().map_err(fault)?;
        LookUps(&self.store).open().map_err(fault)?;
        Deliveries(&self.store).open().map_err(fault)?;
        self.writing.suspects(&self.store).open().map_err(fault)?;
        // This life begins in the middle of a call: the last one ended so.
        if let Some(kept) = self.kept()? {
            self.store.atomically(|| Ledger(&self.store).doubt(when(&kept.connection))).map_err(fault)?;
        }
        self.opened.set(true);
        Ok(())
    }

    /// The connection, once it is set.
    fn kept(&self) -> Result<Option<Kept>> {
        let rows = self.store.query("SELECT body FROM meta WHERE name = 'connection'", &[]).map_err(fault)?;
        rows.first().map(|row| serde_json::from_str(row.text(0).map_err(fault)?).map_err(fault)).transpose()
    }

    fn keep(&self, kept: &Kept) -> Result<()> {
        let body = Value::Text(serde_json::to_string(kept).map_err(fault)?);
        self.store.exec("INSERT OR REPLACE INTO meta VALUES ('connection', ?)", &[body]).map_err(fault).map(drop)
    }

    /// The connection, whether it is on or not: one that makes no calls goes on keeping book, so that who is erased meanwhile
    /// is forgotten, and nobody has to be read anew.
    fn known(&self) -> Result<Option<Kept>> {
        self.open()?;
        self.kept()
    }

    /// The connection, if it is on: asked for before every call, so that a change of the settings or a pause counts from the
    /// next one on.
    fn active(&self) -> Result<Option<Kept>> {
        Ok(self.known()?.filter(|kept| kept.connection.on))
    }

    /// Whether an answer to a call that was made by the settings of `before` can be believed by those of now.
    fn is_believed(&self, before: &Kept, trouble: bool) -> Result<bool> {
        self.open()?;
        Ok(self.kept()?.is_some_and(|now| now.believes(before, trouble)))
    }

    /// Everybody is read anew, and then what was not read yet: an erasure is told there only.
    fn read_anew(&self) -> std::result::Result<(), StoreError> {
        self.round.set(self.round.get() + 1);
        for row in self.store.query("SELECT partition, body FROM cursor", &[])? {
            let cursor = decode::<Cursor>(row.blob(1)?)?.again();
            let params = [Value::Blob(encode(&cursor)?), row.integer(0)?.into()];
            self.store.exec("UPDATE cursor SET body = ?, read = 0 WHERE partition = ?", &params)?;
        }
        Ok(())
    }

    /// Everything that can be done now, for one shift.
    async fn work(&self) -> Result<()> {
        let began = now_ms();
        let (mut read, mut failed) = (0, 0);
        let (mut wrote, mut looked) = (Work::default(), Work::default());
        while self.known()?.is_some() {
            self.news.set(false);
            let page = self.read_for_a_turn().await?;
            (read, failed) = (read + page.prospects, failed + page.failed);
            let deadline = now_ms() + TURN_MS;
            let (written, found) = join(self.write_back(page.more, deadline), self.look_up(deadline)).await;
            let (written, found) = (written?, found?);
            wrote.add(&written);
            looked.add(&found);
            let more = page.more || written.more || found.more;
            if page.failed > 0 || !more && !self.news.get() {
                break;
            }
            if now_ms() - began > SHIFT_MS {
                self.news.set(true);
                break;
            }
        }
        self.open()?;
        let deliveries = Deliveries(&self.store);
        if read > 0 || wrote.requests > 0 || looked.requests > 0 {
            let run = json!({
                "at": wingbeat_engine::time::show(began),
                "milliseconds": now_ms() - began,
                "read": read,
                "partitions_failed": failed,
                "write_back": wrote.json(),
                "look_up": looked.json(),
            });
            deliveries.write_run(began, &run).map_err(fault)?;
            deliveries.prune(now_ms()).map_err(fault)?;
        }
        if failed > 0 {
            self.news.set(true);
            return Err(fault("not all partitions could be read"));
        }
        Ok(())
    }

    /// When there is something to do again, ms; `None` for a connection that is off or not set.
    fn wakes_at(&self) -> Result<Option<i64>> {
        let Some(kept) = self.known()? else { return Ok(None) };
        let now = now_ms();
        if self.news.get() {
            return Ok(Some(now));
        }
        let mut wakes = now + HEARTBEAT_MS;
        if !kept.connection.on {
            return Ok(Some(wakes));
        }
        if kept.connection.write_back.on
            && (kept.has_key() || kept.connection.dry_run)
            && let Some(due) = Ledger(&self.store).next_due().map_err(fault)?
        {
            wakes = wakes.min(due.max(self.writing.free_at(&self.store)?));
            if let Some(others) = self.writing.not_accused(&self.store)?
                && let Some(due) = Ledger(&self.store).next_due_of(&others).map_err(fault)?
            {
                wakes = wakes.min(due.max(self.writing.held_until()));
            }
        }
        if kept.connection.look_up.on
            && !kept.connection.dry_run
            && kept.has_key()
            && let Some(due) = LookUps(&self.store).next_due().map_err(fault)?
        {
            wakes = wakes.min(due.max(self.looking.free_at(&self.store)?));
            if let Some(others) = self.looking.not_accused(&self.store)?
                && let Some(due) = LookUps(&self.store).next_due_of(&others).map_err(fault)?
            {
                wakes = wakes.min(due.max(self.looking.held_until()));
            }
        }
        Ok(Some(wakes))
    }
}

pub(crate) fn fault(error: impl std::fmt::Display) -> worker::Error {
    worker::Error::from(error.to_string())
}
