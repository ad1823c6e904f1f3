//! Partitions, the network between them and the frontends that call them. What happens is decided by [`super::schedule`];
//! here it takes place, and everything that it changes is checked at once.

use super::Check;
use super::disk::{Disk, Trouble};
use super::invariants::Watch;
use super::mistakes::Mistake;
use super::scenario::{Fault, Scenario};
use crate::identity::Decision;
use crate::identity::generate::{Random, small_policy};
use crate::identity::naive::Input;
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash, SlotMap};
use crate::partition::feed_reader::Reader;
use crate::partition::message::{Ask, Message};
use crate::partition::{Applied, Parcel, Partition, Reply};
use crate::scoring::Model;
use crate::store::Store;
use crate::store::native::Native;
use std::collections::{BTreeMap, BTreeSet};

/// As a frontend does: after so many hops an event travels by itself.
const HOPS_MAX: u32 = 8;

/// What all runs share: made once, for it costs more than a run.
pub(super) struct Machine {
    pub(super) deployment: DeploymentKey,
    pub(super) policy: Policy,
    pub(super) model: Model,
    /// Empty databases that a run before has left.
    spare: Vec<Native>,
}

impl Machine {
    pub(super) fn new() -> Machine {
        Machine {
            deployment: DeploymentKey::new(b"wingbeat test deployment key 32b"),
            policy: small_policy(),
            model: Model::parse(Model::SHIPPED).unwrap(),
            spare: Vec::new(),
        }
    }

    fn disk(&mut self, mistake: Option<Mistake>) -> Disk {
        Disk::new(self.spare.pop().unwrap_or_else(|| Native::in_memory().unwrap()), mistake)
    }

    fn open(&self, disk: Disk, number: u16, slots: SlotMap) -> Partition<Disk> {
        let (deployment, policy) = (self.deployment.clone(), self.policy.clone());
        let mut partition = Partition::open(disk, (number, slots), deployment, policy, self.model.clone(), 1).unwrap();
        // From all in rows to nearly all inline.
        partition.star_inline = 2 * usize::from(number);
        partition.bygone_inline = usize::from(number);
        // From an element a message to a cluster.
        partition.piece_bytes = if number.is_multiple_of(2) { 1 } else { 400 * usize::from(number) };
        partition
    }
}

/// A call on its way to a partition.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) to: u16,
    messages: Vec<Sent>,
    /// Whose parcel it is.
    parcel: Option<ParcelRef>,
}

/// A parcel by its sender, and which of the sender's lives waits for the answer: the next knows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ParcelRef {
    from: u16,
    life: u32,
    id: i64,
}

#[derive(Clone)]
struct Sent {
    message: Message,
    waiter: Option<Waiter>,
}

/// Who waits for what becomes of a message: a frontend, for records that it has promised to store.
#[derive(Clone)]
struct Waiter {
    task: usize,
    attempt: u32,
    hops: u32,
    /// Records that are safe once the message is, because their events travel by themselves from here on.
    by_themselves: Vec<usize>,
}

/// Records under one key that a frontend has been sent, as one message; or a decision.
struct Task {
    message: Message,
    /// Which of the records nobody has confirmed yet. A decision is one.
    waiting: BTreeSet<usize>,
    attempt: u32,
    /// Messages on their way for this attempt.
    out: u32,
}

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    /// It never arrives.
    Lost,
    /// Something fails before the commit; with a crash after it, if the power failed.
    Fails(Trouble),
    /// All is committed, and then the partition dies.
    DiesAfter,
}

pub(super) struct World<'m> {
    pub(super) machine: &'m mut Machine,
    pub(super) faults: BTreeSet<Fault>,
    pub(super) mistake: Option<Mistake>,
    pub(super) slots: SlotMap,
    pub(super) partitions: Vec<Partition<Disk>>,
    /// How often each has been loaded.
    lives: Vec<u32>,
    pub(super) random: Random,
    /// The time, ms: it only moves forward.
    pub(super) now: i64,
    pub(super) flights: Vec<Flight>,
    /// Second copies that arrive long after the first.
    pub(super) late: Vec<Flight>,
    tasks: Vec<Task>,
    pub(super) watch: Watch,
    /// Somebody who reads the feeds all the while.
    pub(super) reader: Reader,
}

impl<'m> World<'m> {
    pub(super) fn new(machine: &'m mut Machine, scenario: &Scenario, mistake: Option<Mistake>) -> World<'m> {
        let slots = SlotMap { partitions: scenario.partitions };
        let disks: Vec<Disk> = (0..scenario.partitions).map(|_| machine.disk(mistake)).collect();
        let partitions = disks.into_iter().zip(0..).map(|(disk, number)| machine.open(disk, number, slots)).collect();
        World {
            machine,
            faults: scenario.faults.clone(),
            mistake,
            slots,
            partitions,
            lives: vec![0; usize::from(scenario.partitions)],
            random: Random(scenario.schedule),
            now: 1_000,
            flights: Vec::new(),
            late: Vec::new(),
            tasks: Vec::new(),
            watch: Watch::new(usize::from(scenario.partitions)),
            // Chance of its own: seeds mean the same schedule with and without a reader.
            reader: Reader::new(slots, Random(scenario.schedule ^ 0x5EED)),
        }
    }

    /// The databases are used again: opening one costs more than a run.
    pub(super) fn end(self) {
        let emptied = self.partitions.into_iter().map(|partition| partition.into_store().emptied());
        self.machine.spare.extend(emptied);
    }

    fn owner(&self, key: KeyHash) -> u16 {
        self.slots.partition_of(key)
    }

    pub(super) fn on_their_way(&self) -> impl Iterator<Item = &Message> {
        self.flights.iter().flat_map(|flight| &flight.messages).map(|sent| &sent.message)
    }

    // Frontends ---------------------------------------------------------------------------------------------------

    /// One request: records grouped by key, one call for each partition that holds one.
    pub(super) fn request(&mut self, inputs: &[Input]) {
        let mut by_key: BTreeMap<KeyHash, Vec<_>> = BTreeMap::new();
        let mut decisions = Vec::new();
        for input in inputs {
            match input {
                Input::Record(record) => {
                    by_key.entry(self.machine.deployment.hash(&record.rec)).or_default().push(record.clone());
                }
                // Any of the keys that it is about will do. (An erasure will be sent to the root of its prospect.)
                Input::Decision(decision) => {
                    let (Decision::Separate { left, right, .. } | Decision::Merge { lifts: (left, right), .. }) =
                        decision;
                    let named: Vec<&Identifier> = left.iter().chain(right).collect();
                    let key = self.random.pick(&named).map(|named| self.machine.deployment.hash(named));
                    decisions.extend(key.map(|key| Message { key, ask: Ask::Decide(decision.clone()) }));
                }
            }
        }
        let first = self.tasks.len();
        for (key, records) in by_key {
            let waiting = (0..records.len()).collect();
            let message = Message { key, ask: Ask::Take(records) };
            self.tasks.push(Task { message, waiting, attempt: 0, out: 0 });
        }
        for message in decisions {
            self.tasks.push(Task { message, waiting: [0].into(), attempt: 0, out: 0 });
        }
        self.send((first..self.tasks.len()).collect());
    }

    /// Sends tasks, from the beginning: one call for each partition.
    fn send(&mut self, tasks: Vec<usize>) {
        let mut calls: BTreeMap<u16, Vec<Sent>> = BTreeMap::new();
        for task in tasks {
            let owner = self.owner(self.tasks[task].message.key);
            let Task { message, attempt, out, .. } = &mut self.tasks[task];
            if self.mistake == Some(Mistake::RetriesAreNewEvents)
                && *attempt > 0
                && let Ask::Take(records) = &mut message.ask
            {
                records.iter_mut().for_each(|record| record.id.push_str("-again"));
            }
            *out += 1;
            let waiter = Waiter { task, attempt: *attempt, hops: 0, by_themselves: Vec::new() };
            calls.entry(owner).or_default().push(Sent { message: message.clone(), waiter: Some(waiter) });
        }
        self.flights.extend(calls.into_iter().map(|(to, messages)| Flight { to, messages, parcel: None }));
    }

    /// Tasks that have failed, or whose sender waits no longer: some of them, or all.
    pub(super) fn retry(&mut self, give_up: bool) -> bool {
        let failed = |task: &Task| !task.waiting.is_empty() && (give_up || task.out == 0);
        let again: Vec<usize> = (0..self.tasks.len()).filter(|task| failed(&self.tasks[*task])).take(3).collect();
        for task in &again {
            let task = &mut self.tasks[*task];
            (task.attempt, task.out) = (task.attempt + 1, 0);
        }
        let any = !again.is_empty();
        self.send(again);
        any
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.tasks.iter().all(|task| task.waiting.is_empty())
    }

    /// What a frontend does with an answer, or with the news that there is none.
    fn answered(&mut self, waiter: &Waiter, reply: Option<Reply>) -> Check {
        let task = &mut self.tasks[waiter.task];
        let current = task.attempt == waiter.attempt;
        if current {
            task.out -= 1;
        }
        let Some(Reply::Done { outcomes, onward }) = reply else { return Ok(()) };
        if matches!(task.message.ask, Ask::Decide(_)) {
            task.waiting.clear();
        }
        let safe: Vec<usize> =
            outcomes.into_iter().map(|(place, _)| place).chain(waiter.by_themselves.iter().copied()).collect();
        for place in safe {
            if let Ask::Take(records) = &task.message.ask {
                self.watch.acknowledged(task.message.key, &records[place], &self.machine.policy)?;
            }
            task.waiting.remove(&place);
        }
        if current {
            for message in onward {
                self.send_on(waiter, message);
            }
        }
        Ok(())
    }

    fn send_on(&mut self, waiter: &Waiter, mut message: Message) {
        let mut waiter = Waiter { hops: waiter.hops + 1, by_themselves: Vec::new(), ..waiter.clone() };
        if waiter.hops > HOPS_MAX {
            waiter.by_themselves = message.events_mut().filter_map(|event| event.place.take()).collect();
        }
        self.hint(&waiter, message.key);
        self.tasks[waiter.task].out += 1;
        let to = self.owner(message.key);
        self.flights.push(Flight { to, messages: vec![Sent { message, waiter: Some(waiter) }], parcel: None });
    }

    /// From the third call on, the first key's owner is told where the way led.
    fn hint(&mut self, waiter: &Waiter, ahead: KeyHash) {
        let Task { message: Message { key, ask: Ask::Take(records) }, .. } = &self.tasks[waiter.task] else { return };
        let of_a_person = records.iter().all(|record| !record.rec.key_type().is_browser());
        if waiter.hops >= 2 && of_a_person {
            let message = Message { key: *key, ask: Ask::Hint(ahead) };
            let to = self.owner(message.key);
            self.flights.push(Flight { to, messages: vec![Sent { message, waiter: None }], parcel: None });
        }
    }

    // The network -------------------------------------------------------------------------------------------------

    /// A second copy of a call: nobody waits for what becomes of it.
    pub(super) fn copy(&mut self, flight: usize) -> Flight {
        let mut copy = self.flights[flight].clone();
        copy.messages.iter_mut().for_each(|sent| sent.waiter = None);
        copy
    }

    /// Calls arrive at one partition and share a transaction. `answered` says for each whether its answer arrives.
    pub(super) fn arrive(&mut self, mut flights: Vec<Flight>, fate: Fate, answered: &[bool]) -> Check {
        let to = flights[0].to;
        if fate == Fate::Lost {
            return self.fail(flights);
        }
        if self.faults.contains(&Fault::Shuffle) {
            flights.iter_mut().for_each(|flight| self.random.shuffle(&mut flight.messages));
        }
        for flight in flights.iter().filter(|flight| flight.parcel.is_some()) {
            self.loses_before_delivery(flight)?;
        }
        let messages: Vec<Message> =
            flights.iter().flat_map(|flight| &flight.messages).map(|sent| sent.message.clone()).collect();
        let trouble = if let Fate::Fails(trouble) = fate { Some(trouble) } else { None };
        let (now, mistake) = (self.now, self.mistake);
        let partition = &mut self.partitions[usize::from(to)];
        let messages = messages
            .into_iter()
            .map(|message| match mistake {
                Some(mistake) => mistake.tamper(message, partition, &mut self.random),
                None => vec![message],
            })
            .collect::<Vec<_>>();
        let counts: Vec<usize> = messages.iter().map(Vec::len).collect();
        partition.store().trouble(trouble);
        let applied = partition.apply(now, messages.into_iter().flatten().collect());
        partition.store().trouble(None);
        if matches!(trouble, Some(Trouble::Power(_) | Trouble::Commit)) {
            self.crash(to)?;
        }
        self.watch.observe(&self.partitions[usize::from(to)], usize::from(to), &self.machine.policy)?;
        let Applied { replies, parcels, .. } = match applied {
            Ok(applied) => applied,
            Err(_) if self.mistake == Some(Mistake::AnsweredBeforeCommitted) => {
                let done = |count: usize| vec![Reply::Done { outcomes: Vec::new(), onward: Vec::new() }; count];
                Applied {
                    replies: counts.iter().flat_map(|count| done(*count)).collect(),
                    parcels: Vec::new(),
                    refused: Vec::new(),
                }
            }
            Err(error) if trouble.is_none() => return Err(format!("a call failed by itself: {error}")),
            Err(_) => return self.fail(flights),
        };
        if trouble.is_none()
            && let Some(Reply::Failed(error)) = replies.iter().find(|reply| matches!(reply, Reply::Failed(_)))
        {
            return Err(format!("a message failed by itself: {error}"));
        }
        if fate == Fate::DiesAfter {
            self.crash(to)?;
        }
        if fate == Fate::DiesAfter || matches!(trouble, Some(Trouble::Power(_))) {
            return self.fail(flights);
        }
        self.launch(to, parcels);
        let mut replies = replies.into_iter();
        let mut of_message = counts
            .into_iter()
            .map(|count| replies.by_ref().take(count).collect::<Vec<_>>())
            .collect::<Vec<_>>()
            .into_iter();
        for (flight, answered) in flights.into_iter().zip(answered) {
            let replies = of_message.by_ref().take(flight.messages.len()).collect();
            if *answered {
                self.answer(flight, replies)?;
            } else {
                self.fail(vec![flight])?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, flight: Flight, replies: Vec<Vec<Reply>>) -> Check {
        let all_done = replies.iter().flatten().all(|reply| matches!(reply, Reply::Done { .. }));
        for (sent, replies) in flight.messages.into_iter().zip(replies) {
            if let Some(waiter) = sent.waiter {
                let reply = replies.into_iter().next();
                self.answered(&waiter, reply)?;
            }
        }
        match flight.parcel {
            Some(parcel) if all_done => self.delivered(parcel),
            _ => Ok(()),
        }
    }

    /// Nobody hears what became of these calls.
    fn fail(&mut self, flights: Vec<Flight>) -> Check {
        for waiter in flights.into_iter().flat_map(|flight| flight.messages).filter_map(|sent| sent.waiter) {
            self.answered(&waiter, None)?;
        }
        Ok(())
    }

    fn delivered(&mut self, parcel: ParcelRef) -> Check {
        let from = usize::from(parcel.from);
        if self.lives[from] != parcel.life {
            return Ok(());
        }
        self.partitions[from].delivered(parcel.id).map_err(|error| error.to_string())?;
        self.watch.observe(&self.partitions[from], from, &self.machine.policy)
    }

    /// Planted: a sender that forgets a parcel when it sends it.
    fn loses_before_delivery(&mut self, flight: &Flight) -> Check {
        match flight.parcel {
            Some(ParcelRef { from, id, .. }) if self.mistake == Some(Mistake::AtMostOnce) => {
                self.partitions[usize::from(from)].delivered(id).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }

    /// Whoever called delivers what its messages caused, or leaves it to the alarm.
    fn launch(&mut self, from: u16, parcels: Vec<Parcel>) {
        for parcel in parcels {
            if !(self.faults.contains(&Fault::Alarm) && self.random.one_in(3)) {
                self.push(from, parcel);
            }
        }
    }

    fn push(&mut self, from: u16, parcel: Parcel) {
        let messages = parcel.messages.into_iter().map(|message| Sent { message, waiter: None }).collect();
        let life = self.lives[usize::from(from)];
        self.flights.push(Flight { to: parcel.to, messages, parcel: Some(ParcelRef { from, life, id: parcel.id }) });
    }

    /// Delivers the oldest parcels that are still waiting; those on their way, too, if calls may be repeated.
    pub(super) fn alarm(&mut self, from: u16, slice: u32) -> Check {
        let parcels = self.partitions[usize::from(from)].undelivered(slice).map_err(|error| error.to_string())?;
        for parcel in parcels {
            let sent = ParcelRef { from, life: self.lives[usize::from(from)], id: parcel.id };
            let on_its_way = self.flights.iter().any(|flight| flight.parcel == Some(sent));
            if !on_its_way || (self.faults.contains(&Fault::Duplicate) && self.random.one_in(8)) {
                self.push(from, parcel);
            }
        }
        Ok(())
    }

    /// All that is not in the store is gone.
    pub(super) fn crash(&mut self, number: u16) -> Check {
        let place = usize::from(number);
        let disk = self.partitions.remove(place).into_store();
        if self.mistake == Some(Mistake::CrashLosesTheOutbox) {
            disk.exec("DELETE FROM outbox", &[]).unwrap();
        }
        let opened = self.machine.open(disk, number, self.slots);
        self.partitions.insert(place, opened);
        self.lives[place] += 1;
        self.watch.observe(&self.partitions[place], place, &self.machine.policy)
    }
}
