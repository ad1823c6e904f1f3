//! The Durable Object around a partition: group commit, delivery of what other partitions must be told, and the alarm at
//! which things happen by themselves.

use crate::alarm::Alarm;
use crate::now_ms;
use crate::partitions::call_partition;
use crate::sql::ObjectStore;
use crate::timer::sleep;
use crate::{config, connections, directory};
use futures_channel::oneshot;
use futures_util::future::{Either, join_all, select};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use wingbeat_engine::identity::policy::Policy;
use wingbeat_engine::partition::call::{Answer, Call, Envelope, Place, Query};
use wingbeat_engine::partition::message::Message;
use wingbeat_engine::partition::{Applied, Parcel, Partition as Engine, RefusedUnion, Reply, decode, encode};
use wingbeat_engine::scoring::Model;
use wingbeat_engine::store::{Store, Value};
use worker::{DurableObject, Env, Request, Response, Result, State, Storage, durable_object};

/// The most messages in one transaction: a commit must not hold up the object for long.
const MESSAGES_MAX: usize = 256;
/// The most bytes of messages in one transaction.
const BYTES_MAX: usize = 1_000_000;
/// How long a caller waits for other partitions to know what its messages caused. What takes longer is delivered later.
const DELIVERY: Duration = Duration::from_secs(2);
/// When deliveries that failed are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The most parcels that one round of a retry delivers.
const PARCELS_A_ROUND: u32 = 64;
/// How many prospects that change by themselves are brought up to date in one transaction.
const DUE_A_ROUND: u32 = 128;
/// How many such transactions one alarm makes, one turn of the event loop after the other, so that events come between.
const ROUNDS_AN_ALARM: u32 = 32;
/// Alarms for what is due are so far apart at least: when thousands cool down one after the other, they share commits. What
/// is told carries its computed instant, however late it is noticed.
const ALARM_GAP_MS: i64 = 1_000;

type Replies = std::result::Result<Vec<Reply>, String>;
/// Who waits for an answer, and the answer.
type Answers = Vec<(oneshot::Sender<Replies>, Replies)>;

/// A call that waits for the next commit.
struct Waiting {
    messages: Vec<Message>,
    bytes: usize,
    done: oneshot::Sender<Replies>,
}

/// Some slots of the deployment.
#[durable_object]
pub struct Partition {
    state: State,
    shared: Rc<Shared>,
}

/// What outlives a single request of the object.
struct Shared {
    env: Env,
    engine: RefCell<Option<(Place, Engine<ObjectStore>)>>,
    waiting: RefCell<Vec<Waiting>>,
    alarm: Alarm,
    /// When what was due was last looked at, ms.
    looked: Cell<i64>,
    /// How many transactions were committed since the object was loaded.
    commits: Cell<u64>,
    /// How much news there was when connections were last told of it; -1 until they are, once a life.
    told: Cell<i64>,
    /// Whether they are just being told.
    telling: Cell<bool>,
}

impl DurableObject for Partition {
    fn new(state: State, env: Env) -> Self {
        let shared = Shared {
            env,
            engine: RefCell::new(None),
            waiting: RefCell::new(Vec::new()),
            alarm: Alarm::default(),
            looked: Cell::new(0),
            commits: Cell::new(0),
            told: Cell::new(-1),
            telling: Cell::new(false),
        };
        Partition { state, shared: Rc::new(shared) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let bytes = request.bytes().await?;
        let envelope: Envelope = decode(&bytes).map_err(fault)?;
        let place = self.open(Some(envelope.place()))?;
        if !place.has(&envelope) {
            return Response::from_bytes(encode(&Answer::Moved(place.map)).map_err(fault)?);
        }
        let model_version = envelope.model_version;
        let answer = match envelope.call {
            Call::Publish { version, model } => {
                self.shared.with_engine(|engine| engine.publish(version, &model).map_err(fault))?;
                // Where there are few, all are done at once.
                self.shared.with_engine(|engine| engine.recompute(now_ms()).map_err(fault))?;
                self.arm();
                self.tell_news();
                self.shared.answer(&Query::Recompute)?
            }
            _ if self.shared.with_engine(|engine| Ok(engine.model_version() < model_version))? => Answer::Behind,
            Call::Backtest { id, as_of, draft } => {
                self.shared.with_engine(|engine| engine.begin_backtest(&id, as_of, &draft).map_err(fault))?;
                self.arm();
                self.shared.with_engine(|engine| engine.answer(&Query::Backtest, now_ms()).map_err(fault))?
            }
            Call::Apply(messages) => Answer::Replies(self.apply(messages, bytes.len()).await?),
            Call::Ask(query) => self.shared.answer(&query)?,
        };
        Response::from_bytes(encode(&answer).map_err(fault)?)
    }

    /// What happens by itself; and the safety net of deliveries, of which callers' own come first. An alarm that fails
    /// too often is given up by the runtime, so it never fails: it rings again.
    async fn alarm(&self) -> Result<Response> {
        self.shared.alarm.has_rung();
        if self.open(None).is_ok()
            && let Err(error) = self.act().await
        {
            worker::console_error!("the alarm's work could not be done: {error}");
            self.shared.alarm.set_by(&self.state.storage(), now_ms() + millis(RETRY)).await?;
        }
        Response::empty()
    }
}

impl Partition {
    /// Loads the partition at its first call, and says which one it is: for ever the one that it was first called for.
    fn open(&self, called: Option<Place>) -> Result<Place> {
        let mut engine = self.shared.engine.borrow_mut();
        if let Some((place, _)) = &*engine {
            return Ok(*place);
        }
        let store = ObjectStore::of(&self.state);
        let known = known_place(&store)?;
        let place = known.or(called).ok_or_else(|| fault("this partition does not know its place yet"))?;
        let key = config::deployment_key(&self.shared.env).map_err(|_| fault("DEPLOYMENT_KEY is not set"))?;
        // Version 0: whoever calls first tells of the one in force.
        let model = Model::parse(Model::SHIPPED)
            .map_err(|errors| fault(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
        let slots = (place.number, place.slots());
        let wanted = config::policy(&self.shared.env);
        let policy = match (known_policy(&store)?, wanted) {
            (None, wanted) => wanted.map_err(fault)?,
            (Some(known), wanted) => {
                if wanted.as_ref() != Ok(&known) {
                    let what = "INTERNAL_PEOPLE or BLOCKED_IDENTIFIERS";
                    worker::console_warn!("{what} has changed since this state was made, which has no effect");
                }
                known
            }
        };
        let opened = Engine::open(store, slots, key, policy.clone(), model, 0).map_err(fault)?;
        if known.is_none() {
            let body = Value::Blob(encode(&place).map_err(fault)?);
            opened.store().exec("INSERT OR REPLACE INTO meta VALUES ('place', ?)", &[body]).map_err(fault)?;
            // Who is one person was decided by it: another one would have to decide all of it anew.
            let body = Value::Blob(encode(&policy).map_err(fault)?);
            opened.store().exec("INSERT OR REPLACE INTO meta VALUES ('policy', ?)", &[body]).map_err(fault)?;
        }
        *engine = Some((place, opened));
        drop(engine);
        // What a crash has left is on its way again at the first touch: local runtimes may forget alarms.
        let (shared, storage) = (Rc::clone(&self.shared), self.state.storage());
        self.state.wait_until(async move {
            let round = async {
                shared.deliver_left().await?;
                shared.watch(&storage).await
            };
            if let Err(error) = round.await {
                worker::console_error!("what was left could not be seen to: {error}");
            }
        });
        // Connections, too: they are woken by news, and this life has not told any.
        self.tell_news();
        Ok(place)
    }

    /// What an alarm is for.
    async fn act(&self) -> Result<()> {
        self.shared.deliver_left().await?;
        self.turn().await?;
        self.tell_news();
        self.shared.watch(&self.state.storage()).await
    }

    /// Brings up to date who is due, and goes on with what goes through everybody.
    async fn turn(&self) -> Result<()> {
        for _ in 0..ROUNDS_AN_ALARM {
            self.shared.looked.set(now_ms());
            let more = self.shared.with_engine(|engine| {
                let due = engine.turn(now_ms(), DUE_A_ROUND).map_err(fault)?.prospects;
                if engine.recompute(now_ms()).map_err(fault)?.is_none() {
                    engine.backtest_slice().map_err(fault)?;
                }
                Ok(due >= DUE_A_ROUND as usize || engine.recomputing().is_some() || engine.is_backtesting())
            })?;
            if !more {
                break;
            }
            sleep(Duration::ZERO).await;
        }
        Ok(())
    }

    /// Sees to it that the alarm rings when there is something to do. No caller's own work: it may hang up.
    fn arm(&self) {
        let Some(due) = self.shared.wakes_at().filter(|due| self.shared.alarm.is_later_than(*due)) else { return };
        let (shared, storage) = (Rc::clone(&self.shared), self.state.storage());
        self.state.wait_until(async move {
            if let Err(error) = shared.alarm.set_by(&storage, due).await {
                worker::console_error!("the alarm could not be set: {error}");
            }
        });
    }

    /// Tells connections that the feed has grown: once, after what comes meanwhile has come, too.
    fn tell_news(&self) {
        if self.shared.has_news() && !self.shared.telling.replace(true) {
            let shared = Rc::clone(&self.shared);
            self.state.wait_until(async move { shared.tell_news().await });
        }
    }

    /// Waits for its place in a commit, which is made one turn of the event loop later: what arrives until then shares
    /// its transaction and its sync to disk. Every call sees to it that there is a commit (nearly always it finds nothing
    /// left to do): were it one call's duty, that one's caller hanging up would leave the others waiting.
    async fn apply(&self, messages: Vec<Message>, bytes: usize) -> Result<Vec<Reply>> {
        let (done, replies) = oneshot::channel();
        self.shared.waiting.borrow_mut().push(Waiting { messages, bytes, done });
        sleep(Duration::ZERO).await;
        let (parcels, answers) = self.shared.commit();
        self.arm();
        self.tell_news();
        if parcels.is_empty() {
            answer_all(answers);
        } else {
            // No request's own work: its caller may hang up, and the others of this commit wait, too.
            let (shared, state_of_alarm) = (Rc::clone(&self.shared), self.state.storage());
            self.state.wait_until(async move {
                // Before the answers, so that whoever reads next sees it all; but nobody waits for a partition that is down.
                let delivery = std::pin::pin!(shared.deliver(parcels));
                let arrived =
                    matches!(select(delivery, std::pin::pin!(sleep(DELIVERY))).await, Either::Left((true, _)));
                answer_all(answers);
                let retry = now_ms() + millis(RETRY);
                if !arrived && let Err(error) = shared.alarm.set_by(&state_of_alarm, retry).await {
                    worker::console_error!("the alarm for deliveries could not be set: {error}");
                }
            });
        }
        // The answer leaves only when the commit is on disk: the runtime's output gate holds it back until then.
        let replies = replies.await.map_err(|_| fault("the commit was given up"))?;
        replies.map_err(fault)
    }
}

impl Shared {
    /// Applies all that waits, in as few transactions as the limits allow. No `await` in here.
    fn commit(&self) -> (Vec<Parcel>, Answers) {
        let (mut all_parcels, mut answers) = (Vec::new(), Vec::new());
        let mut waiting = self.waiting.take().into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut batch, mut messages, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some(next) = waiting.next_if(|next: &Waiting| {
                messages.is_empty()
                    || (messages.len() + next.messages.len() <= MESSAGES_MAX && bytes + next.bytes <= BYTES_MAX)
            }) {
                bytes += next.bytes;
                batch.push((next.messages.len(), next.done));
                messages.extend(next.messages);
            }
            let applied = self.with_engine(|engine| engine.apply(now_ms(), messages).map_err(fault));
            let mut replies = match applied {
                Ok(Applied { replies, parcels, refused }) => {
                    self.commits.set(self.commits.get() + 1);
                    all_parcels.extend(parcels);
                    for RefusedUnion { from, into, keys, .. } in refused {
                        worker::console_error!(
                            "the clusters of {} and {} stay apart: {keys} keys are more than a cluster may have",
                            from.prospect_id(),
                            into.prospect_id()
                        );
                    }
                    Ok(replies.into_iter())
                }
                Err(error) => Err(error.to_string()),
            };
            for (count, done) in batch {
                let own = replies
                    .as_mut()
                    .map(|replies| replies.by_ref().take(count).collect())
                    .map_err(|error| error.clone());
                answers.push((done, own));
            }
        }
        (all_parcels, answers)
    }

    fn answer(&self, query: &Query) -> Result<Answer> {
        self.with_engine(|engine| {
            let mut answer = engine.answer(query, now_ms()).map_err(fault)?;
            if let Answer::Well { rows_written, commits, .. } = &mut answer {
                (*rows_written, *commits) = (engine.store().rows_written(), self.commits.get());
            }
            Ok(answer)
        })
    }

    /// Delivers what is left in the outbox.
    async fn deliver_left(&self) -> Result<()> {
        let left = self.with_engine(|engine| engine.undelivered(PARCELS_A_ROUND).map_err(fault))?;
        self.deliver(left).await;
        Ok(())
    }

    /// Sets the alarm while there is something to deliver, or somebody who will change by themselves.
    async fn watch(&self, storage: &Storage) -> Result<()> {
        let left = self.with_engine(|engine| engine.undelivered(1).map_err(fault))?;
        let retry = (!left.is_empty()).then(|| now_ms() + millis(RETRY));
        match retry.into_iter().chain(self.wakes_at()).min() {
            Some(at) => self.alarm.set_by(storage, at).await,
            None => Ok(()),
        }
    }

    /// Delivers parcels, and forgets those that have arrived. Whether all have.
    async fn deliver(&self, parcels: Vec<Parcel>) -> bool {
        let Some((place, _)) = self.engine.borrow().as_ref().map(|(place, _)| (*place, ())) else { return false };
        let delivered = join_all(parcels.into_iter().map(|parcel| async move {
            let envelope = place.envelope(parcel.to, Call::Apply(parcel.messages));
            match call_partition(&self.env, &envelope).await {
                Ok(Answer::Replies(replies)) if replies.iter().all(|reply| matches!(reply, Reply::Done { .. })) => {
                    Some(parcel.id)
                }
                // It stays in the outbox, here and in the next arm, and is tried again.
                Ok(Answer::Moved(map)) => {
                    worker::console_error!("by map {map}, partition {} is not what a parcel is for", parcel.to);
                    None
                }
                Ok(answer) => {
                    worker::console_error!("partition {} could not take a parcel: {answer:?}", parcel.to);
                    None
                }
                // It has been logged.
                Err(_) => None,
            }
        }))
        .await;
        let all = delivered.iter().all(Option::is_some);
        let forgotten =
            delivered.into_iter().flatten().map(|id| self.with_engine(|engine| engine.delivered(id).map_err(fault)));
        forgotten.fold(all, |all, forgotten| all && forgotten.is_ok())
    }

    /// When the alarm should ring: at once for what goes through everybody, else for who is due, if somebody is.
    fn wakes_at(&self) -> Option<i64> {
        let wakes = self.with_engine(|engine| {
            if engine.recomputing().is_some() || engine.is_backtesting() {
                return Ok(Some(now_ms()));
            }
            let due = engine.next_due().map_err(fault)?;
            Ok(due.map(|due| due.max(self.looked.get() + ALARM_GAP_MS)))
        });
        wakes.unwrap_or_else(|error| {
            worker::console_error!("who is due could not be read: {error}");
            Some(now_ms() + millis(RETRY))
        })
    }

    fn news(&self) -> i64 {
        self.with_engine(|engine| engine.feed_end().map_err(fault)).unwrap_or(0)
    }

    fn has_news(&self) -> bool {
        self.news() > self.told.get()
    }

    /// A connection that does not hear of it reads by itself, later.
    async fn tell_news(&self) {
        // Given back however this ends.
        let telling = Telling(&self.telling);
        let outgoing = directory::read(&self.env).await.map(|directory| directory.connections).unwrap_or_default();
        let soonest = outgoing.iter().map(|connection| connection.debounce_ms).min();
        if let Some(ms) = soonest {
            sleep(Duration::from_millis(ms.max(0).unsigned_abs())).await;
        }
        self.told.set(self.news());
        drop(telling);
        connections::tell_news(&self.env, &outgoing).await;
    }

    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine<ObjectStore>) -> Result<R>) -> Result<R> {
        match &mut *self.engine.borrow_mut() {
            Some((_, engine)) => work(engine),
            None => Err(fault("the partition is not open")),
        }
    }
}

/// Somebody is telling connections of news.
struct Telling<'s>(&'s Cell<bool>);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

fn answer_all(answers: Answers) {
    for (done, replies) in answers {
        // Whoever has gone away meanwhile sends again: a repeat is harmless.
        let _ = done.send(replies);
    }
}

/// The place that a partition was made for, if it was opened before.
fn known_place(store: &ObjectStore) -> Result<Option<Place>> {
    let bytes = known(store, "place")?;
    bytes.map(|bytes| decode(&bytes).map_err(fault)).transpose()
}

/// The policy that a partition goes by, if it was opened before.
fn known_policy(store: &ObjectStore) -> Result<Option<Policy>> {
    let bytes = known(store, "policy")?;
    bytes.map(|bytes| decode(&bytes).map_err(fault)).transpose()
}

/// What a partition has noted of itself.
fn known(store: &ObjectStore, name: &str) -> Result<Option<Vec<u8>>> {
    let tables =
        store.query("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'meta'", &[]).map_err(fault)?;
    if tables.is_empty() {
        return Ok(None);
    }
    let rows = store.query("SELECT body FROM meta WHERE name = ?", &[Value::from(name)]).map_err(fault)?;
    rows.first().map(|row| row.blob(0).map(<[u8]>::to_vec).map_err(fault)).transpose()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn fault(error: impl std::fmt::Display) -> worker::Error {
    worker::Error::from(error.to_string())
}
