//! The Durable Object around a partition: group commit, and nothing of its own.

use crate::config;
use crate::now_ms;
use crate::sql::ObjectStore;
use futures_channel::oneshot;
use std::cell::RefCell;
use std::time::Duration;
use wingbeat_engine::identity::policy::Policy;
use wingbeat_engine::partition::call::{Answer, Call};
use wingbeat_engine::partition::message::Message;
use wingbeat_engine::partition::{Partition as Engine, Reply, decode, encode};
use wingbeat_engine::scoring::Model;
use worker::{Delay, DurableObject, Env, Request, Response, Result, State, durable_object};

/// The most messages in one transaction: a commit must not hold up the object for long.
const MESSAGES_MAX: usize = 256;
/// The most bytes of messages in one transaction.
const BYTES_MAX: usize = 1_000_000;
/// Which version of the model this is: publishing others comes with the scoring console.
const MODEL_VERSION: u64 = 1;

/// A call that waits for the next commit.
struct Waiting {
    messages: Vec<Message>,
    bytes: usize,
    done: oneshot::Sender<std::result::Result<Vec<Reply>, String>>,
}

/// Some slots of the deployment.
#[durable_object(fetch)]
pub struct Partition {
    state: State,
    env: Env,
    engine: RefCell<Option<Engine<ObjectStore>>>,
    waiting: RefCell<Vec<Waiting>>,
}

impl DurableObject for Partition {
    fn new(state: State, env: Env) -> Self {
        Partition { state, env, engine: RefCell::new(None), waiting: RefCell::new(Vec::new()) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let bytes = request.bytes().await?;
        let call: Call = decode(&bytes).map_err(fault)?;
        let answer = match call {
            Call::Apply(messages) => Answer::Replies(self.apply(messages, bytes.len()).await?),
            Call::Ask(query) => {
                self.with_engine(|engine| engine.answer(&query, now_ms()).map_err(|e| e.to_string()))?
            }
        };
        Response::from_bytes(encode(&answer).map_err(fault)?)
    }
}

impl Partition {
    /// Waits for its place in a commit, which is made one turn of the event loop later: what arrives until then shares
    /// its transaction and its sync to disk. Every call sees to it that there is a commit (nearly always it finds nothing
    /// left to do): were it one call's duty, that one's caller hanging up would leave the others waiting.
    async fn apply(&self, messages: Vec<Message>, bytes: usize) -> Result<Vec<Reply>> {
        let (done, replies) = oneshot::channel();
        self.waiting.borrow_mut().push(Waiting { messages, bytes, done });
        Delay::from(Duration::ZERO).await;
        self.commit();
        // The answer leaves only when the commit is on disk: the runtime's output gate holds it back until then.
        let replies = replies.await.map_err(|_| worker::Error::from("the commit was given up"))?;
        replies.map_err(worker::Error::from)
    }

    /// Applies all that waits, in as few transactions as the limits allow. No `await` in here.
    fn commit(&self) {
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
            let applied =
                self.with_engine(|engine| engine.apply(now_ms(), messages).map_err(|error| error.to_string()));
            let mut replies = match applied {
                Ok(replies) => Ok(replies.into_iter()),
                Err(error) => Err(error.to_string()),
            };
            for (count, done) in batch {
                let own = replies
                    .as_mut()
                    .map(|replies| replies.by_ref().take(count).collect())
                    .map_err(|error| error.clone());
                // Whoever has gone away meanwhile sends again: a repeat is harmless.
                let _ = done.send(own);
            }
        }
    }

    fn with_engine<R>(
        &self,
        work: impl FnOnce(&mut Engine<ObjectStore>) -> std::result::Result<R, String>,
    ) -> Result<R> {
        let mut engine = self.engine.borrow_mut();
        let engine = match &mut *engine {
            Some(engine) => engine,
            empty => empty.insert(self.open()?),
        };
        work(engine).map_err(worker::Error::from)
    }

    fn open(&self) -> Result<Engine<ObjectStore>> {
        let key = config::deployment_key(&self.env).map_err(|_| worker::Error::from("DEPLOYMENT_KEY is not set"))?;
        let model = Model::parse(Model::SHIPPED).map_err(|errors| {
            worker::Error::from(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        Engine::open(ObjectStore::of(&self.state), key, Policy::default(), model, MODEL_VERSION).map_err(fault)
    }
}

fn fault(error: impl std::fmt::Display) -> worker::Error {
    worker::Error::from(error.to_string())
}
