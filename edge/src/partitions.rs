//! Calling partitions: which one holds a key, many at once, and merging what they answer.

use crate::config;
use crate::directory::{self, Directory, PublishedModel};
use crate::error::{ApiError, Result};
use crate::timer::sleep;
use futures_util::future::{join, join_all, try_join_all};
use js_sys::Uint8Array;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;
use wingbeat_engine::event::Record;
use wingbeat_engine::key::{DeploymentKey, KeyHash, SlotMap};
use wingbeat_engine::partition::call::{Answer, Call, Envelope, Query};
use wingbeat_engine::partition::evidence::{Gathering, Question};
use wingbeat_engine::partition::list::{List, Listed};
use wingbeat_engine::partition::message::{Ask, DeadLetter, Message};
use wingbeat_engine::partition::view::Identity;
use wingbeat_engine::partition::{Outcome, Reply, decode, encode};
use worker::{Env, Method, Request, RequestInit};

/// All partitions of a deployment, as one request sees them.
pub(crate) struct Partitions<'e> {
    env: &'e Env,
    key: DeploymentKey,
    directory: Directory,
    /// How slots lie, and by which version of the map.
    map: Cell<(u64, SlotMap)>,
    /// Whether this request has read the map anew.
    read_anew: Cell<bool>,
}

impl<'e> Partitions<'e> {
    pub(crate) async fn open(env: &'e Env) -> Result<Partitions<'e>> {
        let directory = directory::read(env).await?;
        let map = Cell::new((directory.map, directory.slots()));
        Ok(Partitions { env, key: config::deployment_key(env)?, directory, map, read_anew: Cell::new(false) })
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn key(&self) -> &DeploymentKey {
        &self.key
    }

    /// Stores records. Answers one outcome for each, in order, when all are durable.
    pub(crate) async fn take(&self, records: Vec<Record>, dead: Vec<DeadLetter>) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Accepted; records.len()];
        let mut by_key: BTreeMap<KeyHash, (Vec<usize>, Vec<Record>)> = BTreeMap::new();
        for (place, record) in records.into_iter().enumerate() {
            let (places, records) = by_key.entry(self.key.hash(&record.rec)).or_default();
            places.push(place);
            records.push(record);
        }
        let mut sent: Vec<Sent> = by_key
            .into_iter()
            .map(|(key, (places, records))| {
                let is_person = records.iter().all(|record| !record.rec.key_type().is_browser());
                let waits = Waits { places, first: is_person.then_some(key) };
                Sent { message: Message { key, ask: Ask::Take(records) }, waits }
            })
            .collect();
        for letter in dead {
            // Each by its own bytes: in whatever batch it comes again, it finds the same partition, and the same row there.
            let key = KeyHash::from_mac(&self.key.mac(letter.raw.as_bytes()));
            let waits = Waits { places: Vec::new(), first: None };
            sent.push(Sent { message: Message { key, ask: Ask::Bury(vec![letter]) }, waits });
        }
        for hop in 0.. {
            let hints = if hop >= HINTS_FROM { sent.iter().filter_map(Sent::hint).collect() } else { Vec::new() };
            // In the same wave: who waits for the events does not wait for hints, too.
            let (onward, ()) = join(self.hop(sent, &mut outcomes), self.give(hints)).await;
            let onward = onward?;
            if onward.is_empty() {
                break;
            }
            // A chase never fails a request: from here on the events travel by themselves, durably.
            let last = hop == HOPS_MAX;
            sent = onward.into_iter().map(|(message, first)| Sent::onward(message, first, last)).collect();
        }
        Ok(outcomes)
    }

    /// Has a message applied by whoever holds its key. Answers when that is durable.
    pub(crate) async fn tell(&self, message: Message) -> Result<()> {
        let sent = vec![Sent { message, waits: Waits { places: Vec::new(), first: None } }];
        self.hop(sent, &mut []).await.map(drop)
    }

    /// Has something done by every partition. Answers when all of it is durable.
    pub(crate) async fn tell_all(&self, ask: Ask) -> Result<()> {
        let (_, slots) = self.map.get();
        let all = (0..slots.partitions).map(|partition| {
            let message = Message { key: slots.first_key_of(partition), ask: ask.clone() };
            Sent { message, waits: Waits { places: Vec::new(), first: None } }
        });
        self.hop(all.collect(), &mut []).await.map(drop)
    }

    /// One call to every partition that messages are for. Answers the messages that must go on, and the key that each
    /// chase began at.
    async fn hop(&self, sent: Vec<Sent>, outcomes: &mut [Outcome]) -> Result<Vec<(Message, Option<KeyHash>)>> {
        let (mut rest, mut all_onward) = (sent, Vec::new());
        loop {
            let calls = self.by_partition(rest, |sent| sent.message.key);
            let answered = try_join_all(calls.into_iter().map(|(partition, sent)| self.apply(partition, sent))).await?;
            let mut moved = None;
            rest = Vec::new();
            for answer in answered {
                let applied = match answer {
                    Applied::Here(applied) => applied,
                    Applied::Moved(map, sent) => {
                        moved = Some(map);
                        rest.extend(sent);
                        continue;
                    }
                };
                for (Waits { places, first }, of_message, onward) in applied {
                    for (place, outcome) in of_message {
                        if let Some(slot) = places.get(place).and_then(|place| outcomes.get_mut(*place)) {
                            *slot = outcome;
                        }
                    }
                    for mut message in onward {
                        for event in message.events_mut() {
                            event.place = event.place.and_then(|place| places.get(place).copied());
                        }
                        all_onward.push((message, first));
                    }
                }
            }
            match moved {
                Some(map) => self.learn(map).await?,
                None => return Ok(all_onward),
            }
        }
    }

    async fn apply(&self, partition: u16, sent: Vec<Sent>) -> Result<Applied> {
        let (waits, messages): (Vec<_>, Vec<_>) = sent.into_iter().map(|sent| (sent.waits, sent.message)).unzip();
        let envelope = self.envelope(partition, Call::Apply(messages));
        let replies = match self.send(&envelope).await? {
            Answer::Replies(replies) => replies,
            Answer::Moved(map) => {
                let Call::Apply(messages) = envelope.call else { return Ok(Applied::Moved(map, Vec::new())) };
                let sent = waits.into_iter().zip(messages).map(|(waits, message)| Sent { message, waits });
                return Ok(Applied::Moved(map, sent.collect()));
            }
            _ => return Err(ApiError::unavailable("a partition failed", "it gave another answer than replies")),
        };
        let mut applied = Vec::with_capacity(waits.len());
        for (waits, reply) in waits.into_iter().zip(replies) {
            match reply {
                Reply::Done { outcomes, onward } => applied.push((waits, outcomes, onward)),
                Reply::Failed(why) => return Err(ApiError::unavailable("events could not be stored", why)),
            }
        }
        Ok(Applied::Here(applied))
    }

    /// Gives hints. One that does not arrive costs the next chase a hop: nobody is told.
    async fn give(&self, hints: Vec<Message>) {
        let calls = self.by_partition(hints, |hint| hint.key);
        join_all(calls.into_iter().map(|(partition, hints)| self.call(partition, Call::Apply(hints)))).await;
    }

    fn by_partition<T>(&self, items: Vec<T>, key: impl Fn(&T) -> KeyHash) -> BTreeMap<u16, Vec<T>> {
        let (_, slots) = self.map.get();
        let mut grouped: BTreeMap<u16, Vec<T>> = BTreeMap::new();
        for item in items {
            grouped.entry(slots.partition_of(key(&item))).or_default().push(item);
        }
        grouped
    }

    /// A partition did not hold what it was called for, by its map: reads the directory anew, at most once a request.
    async fn learn(&self, partitions_map: u64) -> Result<()> {
        let (map, _) = self.map.get();
        if self.read_anew.replace(true) {
            let cause = format!("by map {map}; the partition that was called goes by map {partitions_map}");
            return Err(ApiError::unavailable("slots are being moved", cause));
        }
        let directory = directory::read_anew(self.env).await?;
        self.map.set((directory.map, directory.slots()));
        Ok(())
    }

    /// Asks whoever knows, starting where the query says, until somebody answers.
    pub(crate) async fn ask(&self, mut query: Query) -> Result<Answer> {
        let mut settling = 0;
        for _ in 0..=2 * HOPS_MAX {
            let Some(at) = query.target_mut().map(|target| target.at) else { return Ok(Answer::Unknown) };
            match self.ask_owner(at, query.clone()).await? {
                Answer::Elsewhere(next) => {
                    if let Some(target) = query.target_mut() {
                        *target = next;
                    }
                }
                Answer::Settling if settling == SETTLING_RETRIES => break,
                Answer::Settling => {
                    settling += 1;
                    sleep(Duration::from_millis(20 * settling)).await;
                }
                answer => return Ok(answer),
            }
        }
        Err(ApiError::settling())
    }

    /// Asks on until all is known of why somebody is one person.
    pub(crate) async fn gather(&self, mut gathering: Gathering) -> Result<Identity> {
        for _ in 0..=2 * HOPS_MAX {
            let (_, slots) = self.map.get();
            let mut calls: BTreeMap<u16, Vec<Question>> = BTreeMap::new();
            for question in gathering.questions() {
                calls.entry(slots.partition_of(question.at())).or_default().push(question);
            }
            if calls.is_empty() {
                return Ok(gathering.identity());
            }
            let calls = calls.into_iter().map(|(partition, questions)| async move {
                let asked = Call::Ask(Box::new(Query::Evidence(questions.clone())));
                Ok::<_, ApiError>((questions, self.call(partition, asked).await?))
            });
            let mut moved = None;
            for (questions, answer) in try_join_all(calls).await? {
                match answer {
                    Answer::Told(told) => told.into_iter().for_each(|told| gathering.learn(told)),
                    Answer::Moved(map) => {
                        moved = Some(map);
                        gathering.ask_again(questions);
                    }
                    _ => {
                        return Err(ApiError::unavailable(
                            "a partition failed",
                            "it gave another answer than evidence",
                        ));
                    }
                }
            }
            if let Some(map) = moved {
                self.learn(map).await?;
            }
        }
        Err(ApiError::settling())
    }

    /// Asks the partition that holds a key.
    pub(crate) async fn ask_owner(&self, key: KeyHash, query: Query) -> Result<Answer> {
        loop {
            let (_, slots) = self.map.get();
            match self.call(slots.partition_of(key), Call::Ask(Box::new(query.clone()))).await? {
                Answer::Moved(map) => self.learn(map).await?,
                answer => return Ok(answer),
            }
        }
    }

    /// Which of these persons' keys are somebody's.
    pub(crate) async fn known(&self, keys: Vec<KeyHash>) -> Result<Vec<KeyHash>> {
        let (mut rest, mut known) = (keys, Vec::new());
        while !rest.is_empty() {
            let calls = self.by_partition(std::mem::take(&mut rest), |key| *key);
            let calls = calls.into_iter().map(|(partition, keys)| async move {
                let asked = Call::Ask(Box::new(Query::Known(keys.clone())));
                Ok::<_, ApiError>((keys, self.call(partition, asked).await?))
            });
            let mut moved = None;
            for (keys, answer) in try_join_all(calls).await? {
                match answer {
                    Answer::Known(those) => known.extend(those),
                    Answer::Moved(map) => {
                        moved = Some(map);
                        rest.extend(keys);
                    }
                    _ => return Err(ApiError::unavailable("a partition failed", "it gave another answer than keys")),
                }
            }
            if let Some(map) = moved {
                self.learn(map).await?;
            }
        }
        Ok(known)
    }

    /// Asks every partition.
    pub(crate) async fn ask_all(&self, query: Query) -> Result<Vec<Answer>> {
        self.call_all(&Call::Ask(Box::new(query))).await
    }

    /// Calls every partition.
    pub(crate) async fn call_all(&self, call: &Call) -> Result<Vec<Answer>> {
        loop {
            let (_, slots) = self.map.get();
            let calls = (0..slots.partitions).map(|partition| self.call(partition, call.clone()));
            let answers = try_join_all(calls).await?;
            let moved =
                answers.iter().find_map(|answer| if let Answer::Moved(map) = answer { Some(*map) } else { None });
            match moved {
                Some(map) => self.learn(map).await?,
                None => return Ok(answers),
            }
        }
    }

    /// The first prospects of a list over all partitions; `None` when there is no such score.
    pub(crate) async fn list(&self, list: List) -> Result<Option<Vec<Listed>>> {
        let limit = list.limit;
        let mut merged = Vec::new();
        for answer in self.ask_all(Query::List(list)).await? {
            match answer {
                Answer::List(listed) => merged.extend(listed),
                _ => return Ok(None),
            }
        }
        merged.sort_by(|one, other| other.rank.partial_cmp(&one.rank).unwrap_or(std::cmp::Ordering::Equal));
        merged.truncate(limit);
        Ok(Some(merged))
    }

    /// Asks one partition.
    pub(crate) async fn ask_one(&self, partition: u16, query: Query) -> Result<Answer> {
        self.call(partition, Call::Ask(Box::new(query))).await
    }

    /// Tells every partition of a version of the model. Answers when all go by it.
    pub(crate) async fn publish(&self, published: &PublishedModel) -> Result<Vec<Answer>> {
        self.call_all(&told(published)).await
    }

    async fn call(&self, partition: u16, call: Call) -> Result<Answer> {
        self.send(&self.envelope(partition, call)).await
    }

    /// Calls a partition; one that has not heard of the newest version of the model is told of it first.
    async fn send(&self, envelope: &Envelope) -> Result<Answer> {
        match call_partition(self.env, envelope).await? {
            Answer::Behind => {
                call_partition(self.env, &self.envelope(envelope.partition, told(&self.directory.model))).await?;
                match call_partition(self.env, envelope).await? {
                    Answer::Behind => Err(ApiError::unavailable("a partition failed", "it knows no newer model")),
                    answer => Ok(answer),
                }
            }
            answer => Ok(answer),
        }
    }

    fn envelope(&self, partition: u16, call: Call) -> Envelope {
        let (map, slots) = self.map.get();
        Envelope { partition, of: slots.partitions, map, call, model_version: self.directory.model.version }
    }
}

/// The message that tells of a version.
fn told(published: &PublishedModel) -> Call {
    Call::Publish { version: published.version, model: published.model.to_string() }
}

/// Calls a partition.
pub(crate) async fn call_partition(env: &Env, envelope: &Envelope) -> Result<Answer> {
    let failed = |cause: worker::Error| ApiError::unavailable("a partition failed", cause);
    let bytes = encode(envelope).map_err(|error| ApiError::unavailable("a partition could not be called", error))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(Uint8Array::from(bytes.as_slice()).into()));
    // The host means nothing: the stub decides who is called.
    let request = Request::new_with_init("https://partition/", &init).map_err(failed)?;
    let namespace = env.durable_object("PARTITION").map_err(failed)?;
    let stub = namespace.get_by_name(&Directory::object_name(envelope.partition)).map_err(failed)?;
    let mut response = stub.fetch_with_request(request).await.map_err(failed)?;
    let bytes = response.bytes().await.map_err(failed)?;
    if response.status_code() != 200 {
        return Err(ApiError::unavailable("a partition failed", String::from_utf8_lossy(&bytes)));
    }
    decode(&bytes).map_err(|error| ApiError::unavailable("a partition failed", error))
}

/// A message, and who waits for its events.
struct Sent {
    message: Message,
    waits: Waits,
}

/// Who waits for the events of a message.
struct Waits {
    /// Their places in the request: by their own number in the message.
    places: Vec<usize>,
    /// The person key that recorded them. (A browser has no pointer: its table says whose its events are.)
    first: Option<KeyHash>,
}

/// What came of events, by their numbers in a message.
type Outcomes = Vec<(usize, Outcome)>;

/// What came of messages to one partition.
enum Applied {
    /// For each who waits: what came of the events, and what must go on.
    Here(Vec<(Waits, Outcomes, Vec<Message>)>),
    /// Nothing: not all of them are for it, by its map of this version.
    Moved(u64, Vec<Sent>),
}

impl Sent {
    /// A message that a partition has sent on. `last`: nobody waits for it any more.
    fn onward(mut message: Message, first: Option<KeyHash>, last: bool) -> Sent {
        let mut places = Vec::new();
        for event in message.events_mut() {
            let place = event.place.take();
            if let Some(place) = place.filter(|_| !last) {
                event.place = Some(places.len());
                places.push(place);
            }
        }
        Sent { message, waits: Waits { places, first } }
    }

    /// Tells the owner of the first key how far the chase has come: the next event goes there at once.
    fn hint(&self) -> Option<Message> {
        let ahead = self.message.key;
        let first = self.waits.first.filter(|first| ahead < *first)?;
        Some(Message { key: first, ask: Ask::Hint(ahead) })
    }
}

/// The hop from which on a chase is told to where it began: the first after two pointers.
const HINTS_FROM: u32 = 2;

/// How often events are sent on before they travel by themselves.
const HOPS_MAX: u32 = 8;
/// How often somebody on the way between partitions is asked for again.
const SETTLING_RETRIES: u64 = 5;
