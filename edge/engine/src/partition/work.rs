//! One message and all that follows from it, inside one savepoint: keys and clusters are loaded once, changed in memory,
//! written at the end; then the prospects that changed are brought up to date.

mod settle;

use super::browser::Browser;
use super::change::Change;
use super::cluster::{Cluster, Merged};
use super::message::{Ask, ClaimId, DeadLetter, Element, EventElement, KeyInfo, Message, Ranked, Seen, Table};
use super::person::Span;
use super::star::Star;
use super::{Outcome, Partition, encode};
use crate::event::{ClaimInput, Record};
use crate::identity::{Fact, FactClass, Trust};
use crate::key::{Identifier, KeyHash};
use crate::store::{Store, StoreError, Value};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a key's row holds beside number and pointer.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct NodeBody {
    #[n(0)]
    pub(super) ident: Identifier,
    #[n(1)]
    pub(super) seen: Option<Seen>,
    #[n(2)]
    pub(super) star: Star,
    #[n(3)]
    pub(super) browser: Option<Browser>,
}

/// A key's row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) no: i64,
    pub(super) up: Option<KeyHash>,
    pub(super) body: NodeBody,
}

/// What one message came to.
pub(super) struct Done {
    pub(super) outcomes: Vec<(usize, Outcome)>,
    pub(super) onward: Vec<Message>,
    pub(super) outgoing: Vec<Message>,
    pub(super) changed: Vec<Change>,
}

/// How many events travel in one message when a cluster moves: a message stays well under 2 MB, the largest row.
const EVENTS_A_MESSAGE: usize = 100;

/// A value, and the bytes that are stored of it: it is written when they differ at the end.
struct Loaded<T> {
    value: T,
    stored: Option<Vec<u8>>,
}

pub(super) struct Work<'p, S: Store> {
    partition: &'p Partition<S>,
    now: i64,
    nodes: BTreeMap<KeyHash, Loaded<Node>>,
    clusters: BTreeMap<KeyHash, Loaded<Cluster>>,
    queue: VecDeque<Message>,
    /// Messages for other partitions.
    outgoing: Vec<Message>,
    /// Events of a waiting request that belong elsewhere.
    onward: Vec<Message>,
    outcomes: BTreeMap<usize, Outcome>,
    /// Events newly stored, and the cluster or browser that took them.
    arrived: Vec<(KeyHash, EventElement)>,
    /// Clusters and browsers that may hold events which they have not been folded over.
    stale: BTreeSet<KeyHash>,
    /// Clusters and browsers whose prospects must be computed anew.
    restructured: BTreeSet<KeyHash>,
    /// Founders whose prospect has gone into another.
    retired: BTreeSet<KeyHash>,
    changed: Vec<Change>,
}

impl<'p, S: Store> Work<'p, S> {
    pub(super) fn new(partition: &'p Partition<S>, now: i64) -> Work<'p, S> {
        Work {
            partition,
            now,
            nodes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            queue: VecDeque::new(),
            outgoing: Vec::new(),
            onward: Vec::new(),
            stale: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            arrived: Vec::new(),
            restructured: BTreeSet::new(),
            retired: BTreeSet::new(),
            changed: Vec::new(),
        }
    }

    pub(super) fn run(mut self, message: Message) -> Result<Done, StoreError> {
        self.queue.push_back(message);
        while let Some(message) = self.queue.pop_front() {
            self.handle(message)?;
        }
        self.settle()?;
        self.write()?;
        let outcomes = self.outcomes.into_iter().collect();
        Ok(Done { outcomes, onward: self.onward, outgoing: self.outgoing, changed: self.changed })
    }

    fn handle(&mut self, Message { key, ask }: Message) -> Result<(), StoreError> {
        match ask {
            Ask::Take(records) => self.take(key, records),
            Ask::Put(elements) => self.put(key, elements),
            Ask::Union(into) => self.union(key, into),
            Ask::RankFact(ranked) => {
                self.ensure(key, &ranked.target)?;
                self.see(key, Seen { trust: Trust::Strong, source: ranked.source, at: ranked.at })?;
                if self.node(key)?.body.star.say(ranked.fact, ranked.at, ranked.source, &ranked.other) {
                    self.rank(key)?;
                }
                Ok(())
            }
            Ask::RankClaim(claim, target) => {
                self.ensure(key, &target)?;
                let policy = &self.partition.policy;
                let messages = self.node(key)?.body.star.claim(key, claim, policy);
                self.send_all(messages);
                Ok(())
            }
            Ask::Introduce(introductions) => {
                self.ensure(key, &introductions.target)?;
                if self.node(key)?.body.star.introduce(introductions) {
                    self.rank(key)?;
                }
                Ok(())
            }
            Ask::FactAdmitted(fact, target) => {
                self.ensure(key, &target)?;
                let message = self.node(key)?.body.star.other_admits(fact);
                self.send_all(message);
                Ok(())
            }
            Ask::ClaimAdmitted(id, version, admitted) => {
                let answered = self.browser(key)?.answered(&id, version, admitted);
                if answered { self.recompute_browser(key) } else { Ok(()) }
            }
            Ask::Bury(letters) => self.bury(&letters),
            Ask::MakeClaim(claim, at) => {
                self.ensure(key, &claim.browser)?;
                if self.make_claim(key, claim, at)? { self.recompute_browser(key) } else { Ok(()) }
            }
        }
    }

    // Records -----------------------------------------------------------------------------------------------------

    fn take(&mut self, own: KeyHash, records: Vec<Record>) -> Result<(), StoreError> {
        let (mut facts_changed, mut claims_changed) = (false, false);
        let mut events = Vec::with_capacity(records.len());
        for (place, mut record) in records.into_iter().enumerate() {
            if self.partition.key.hash(&record.rec) != own {
                return Err(StoreError("a record was sent to a key that is not its own".into()));
            }
            self.ensure(own, &record.rec)?;
            if !record.rec.key_type().is_browser() {
                self.see(own, Seen { trust: Trust::Strong, source: record.body.source, at: record.at })?;
            }
            facts_changed |= self.take_facts(own, &record)?;
            let (no, claims) = (self.node(own)?.no, std::mem::take(&mut record.claims));
            claims_changed |= self.take_claims(own, claims, record.at)?;
            let Record { at, id, body, .. } = record;
            events.push(Element::Event(EventElement { rec: own, no, at, id, rx: self.now, body, place: Some(place) }));
        }
        if facts_changed {
            self.rank(own)?;
        }
        if claims_changed {
            self.recompute_browser(own)?;
        }
        // What identity says comes first, so that an event is placed once, where it belongs.
        self.send(own, Ask::Put(events));
        Ok(())
    }

    fn take_facts(&mut self, own: KeyHash, record: &Record) -> Result<bool, StoreError> {
        let mut changed = false;
        let source = record.body.source;
        for said in &record.facts {
            let policy = &self.partition.policy;
            if policy.is_blocked(&said.other) || policy.is_blocked(&record.rec) {
                continue;
            }
            let other = self.partition.key.hash(&said.other);
            let class = if said.explicit { FactClass::Explicit } else { FactClass::Strong };
            let Some(fact) = Fact::new(class, own, other) else { continue };
            if self.node(own)?.body.star.say(fact, record.at, source, &said.other) {
                changed = true;
                let (target, own_ident) = (said.other.clone(), record.rec.clone());
                let ranked = Ranked { fact, at: record.at, source, target, other: own_ident };
                self.send(other, Ask::RankFact(ranked));
            }
        }
        Ok(changed)
    }

    fn take_claims(&mut self, own: KeyHash, claims: Vec<ClaimInput>, at: i64) -> Result<bool, StoreError> {
        let mut changed = false;
        for claim in claims {
            let browser = self.partition.key.hash(&claim.browser);
            if browser == own {
                changed |= self.make_claim(own, claim, at)?;
            } else {
                self.send(browser, Ask::MakeClaim(claim, at));
            }
        }
        Ok(changed)
    }

    fn make_claim(&mut self, own: KeyHash, claim: ClaimInput, at: i64) -> Result<bool, StoreError> {
        let policy = &self.partition.policy;
        if policy.is_blocked(&claim.key) || claim.key.key_type().is_browser() {
            return Ok(false);
        }
        let ClaimInput { key, trust, page, human, source, .. } = claim;
        let id = ClaimId { browser: own, key: self.partition.key.hash(&key), trust, page };
        Ok(self.browser(own)?.make_claim(id, &key, at, human, source, policy))
    }

    fn bury(&mut self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        for letter in letters {
            let digest = self.partition.key.mac(letter.raw.as_bytes());
            let params = [Value::from(digest.as_slice()), Value::Integer(self.now), Value::Blob(encode(letter)?)];
            self.partition.store.exec("INSERT OR IGNORE INTO dead VALUES (?, ?, ?)", &params)?;
        }
        Ok(())
    }

    // Keys and browsers -------------------------------------------------------------------------------------------

    /// Makes sure that a key has a row, and that its cluster knows what it is.
    fn ensure(&mut self, key: KeyHash, ident: &Identifier) -> Result<(), StoreError> {
        let known = self.load(key)?;
        let is_browser = ident.key_type().is_browser();
        if !known {
            let no = (i64::from(key.slot()) << 36) | (self.partition.counter.get() + 1);
            self.partition.counter.set(self.partition.counter.get() + 1);
            let browser = is_browser.then(Browser::default);
            let body = NodeBody { ident: ident.clone(), seen: None, star: Star::default(), browser };
            self.nodes.insert(key, Loaded { value: Node { no, up: None, body }, stored: None });
        }
        let node = self.node(key)?;
        let plain_is_news = node.body.ident.plain_email().is_none() && ident.plain_email().is_some();
        if plain_is_news {
            node.body.ident = ident.clone();
        }
        if !is_browser && (!known || plain_is_news) {
            self.tell_cluster(key)?;
        }
        Ok(())
    }

    /// Notes evidence of a key's own.
    fn see(&mut self, key: KeyHash, seen: Seen) -> Result<(), StoreError> {
        let node = self.node(key)?;
        let best = node.body.seen.map_or(seen, |known| known.best(seen));
        if node.body.seen != Some(best) {
            node.body.seen = Some(best);
            self.tell_cluster(key)?;
        }
        Ok(())
    }

    fn tell_cluster(&mut self, key: KeyHash) -> Result<(), StoreError> {
        let node = self.node(key)?;
        let info = KeyInfo { k: key, no: node.no, ident: node.body.ident.clone(), seen: node.body.seen };
        self.send(key, Ask::Put(vec![Element::Key(info)]));
        Ok(())
    }

    fn rank(&mut self, key: KeyHash) -> Result<(), StoreError> {
        let policy = &self.partition.policy;
        let node = self.node(key)?;
        let messages = node.body.star.rank(key, node.body.ident.key_type(), policy);
        self.send_all(messages);
        Ok(())
    }

    fn recompute_browser(&mut self, own: KeyHash) -> Result<(), StoreError> {
        let policy = &self.partition.policy;
        let node = self.node(own)?;
        let (no, ident) = (node.no, node.body.ident.clone());
        let (messages, changed) = self.browser(own)?.recompute(own, no, &ident, policy);
        self.send_all(messages);
        if changed {
            self.restructured.insert(own);
            let table = self.browser(own)?.table(own, no, &ident);
            self.give_away(&table, own)?;
        }
        Ok(())
    }

    // Clusters ----------------------------------------------------------------------------------------------------

    fn put(&mut self, key: KeyHash, elements: Vec<Element>) -> Result<(), StoreError> {
        let is_browser = self.load(key)? && self.node(key)?.body.browser.is_some();
        let root = if is_browser { key } else { self.root(key)? };
        if !self.partition.holds(root) {
            self.pass_on(root, elements);
            return Ok(());
        }
        let (events, others): (Vec<_>, Vec<_>) = elements.into_iter().partition(|e| matches!(e, Element::Event(_)));
        for element in others {
            if is_browser {
                // A browser's own table is the only authority: what comes home with its events is older or the same.
                continue;
            }
            let table = if let Element::Table(table) = &element { Some(table.clone()) } else { None };
            if self.cluster(root)?.merge(element) == Merged::Structure {
                self.restructured.insert(root);
                if let Some(table) = table {
                    self.give_away(&table, root)?;
                }
            }
        }
        for element in events {
            if let Element::Event(event) = element {
                self.place(root, is_browser, event)?;
            }
        }
        Ok(())
    }

    /// Sends elements on to where their cluster has gone. Events of a request that waits go back to whoever waits, with
    /// the tables that say whose they are.
    fn pass_on(&mut self, to: KeyHash, elements: Vec<Element>) {
        let waits = |element: &Element| matches!(element, Element::Event(event) if event.place.is_some());
        let (waiting, mut others): (Vec<_>, Vec<_>) = elements.into_iter().partition(waits);
        if !waiting.is_empty() {
            let tables = others.iter().filter(|element| matches!(element, Element::Table(_))).cloned();
            let elements = tables.chain(waiting).collect();
            self.onward.push(Message { key: to, ask: Ask::Put(elements) });
            others.retain(|element| !matches!(element, Element::Table(_)));
        }
        if !others.is_empty() {
            self.send(to, Ask::Put(others));
        }
    }

    /// After a browser's table has changed: events stored here that are somebody's elsewhere go there; those of others
    /// here are folded in there, whether they knew of them or not.
    fn give_away(&mut self, table: &Table, here: KeyHash) -> Result<(), StoreError> {
        for (span, owner) in Span::by_table(table) {
            let home = if owner == table.browser { owner } else { self.root(owner)? };
            if home == here {
                continue;
            }
            if self.partition.holds(home) {
                self.stale.insert(home);
                continue;
            }
            let events = self.partition.cut_events(&span)?;
            if !events.is_empty() {
                let elements =
                    std::iter::once(Element::Table(table.clone())).chain(events.into_iter().map(Element::Event));
                self.send(home, Ask::Put(elements.collect()));
            }
        }
        Ok(())
    }

    /// Stores an event where it belongs, or passes it on to there, together with the table that says so.
    fn place(&mut self, here: KeyHash, is_browser: bool, event: EventElement) -> Result<(), StoreError> {
        let table = if is_browser {
            let node = self.node(here)?;
            let (no, ident) = (node.no, node.body.ident.clone());
            Some(self.browser(here)?.table(here, no, &ident))
        } else {
            self.cluster(here)?.tables.get(&event.rec).cloned()
        };
        let owner = table.as_ref().map_or(event.rec, |table| table.owner(event.at));
        // A key whose cluster is here may have sent its events ahead of what it is.
        let belongs = owner == here || (!is_browser && self.cluster(here)?.keys.contains_key(&owner));
        if !belongs {
            let elements = table.map(Element::Table).into_iter().chain([Element::Event(event)]).collect();
            if self.partition.holds(owner) {
                self.send(owner, Ask::Put(elements));
            } else {
                self.pass_on(owner, elements);
            }
            return Ok(());
        }
        let params = [
            Value::Integer(event.no),
            Value::Integer(event.at),
            Value::from(event.id.as_str()),
            Value::Integer(event.rx),
            Value::Blob(encode(&event.body)?),
        ];
        let stored = self.partition.store.exec("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)", &params)? > 0;
        if let Some(place) = event.place {
            self.outcomes.insert(place, if stored { Outcome::Accepted } else { Outcome::Duplicate });
        }
        if !stored {
            return Ok(());
        }
        if !is_browser
            && event.rec == owner
            && self.cluster(here)?.merge(Element::FirstEvent(owner, event.at)) == Merged::Structure
        {
            self.restructured.insert(here);
        }
        self.arrived.push((here, event));
        Ok(())
    }

    /// Points `x` at the smaller `y` and sends its cluster after it; or passes the union on with the smaller pair.
    fn union(&mut self, x: KeyHash, y: KeyHash) -> Result<(), StoreError> {
        if x == y {
            return Ok(());
        }
        self.load(x)?;
        match self.node(x)?.up {
            Some(z) if z == y => Ok(()),
            Some(z) => {
                self.send(z.max(y), Ask::Union(z.min(y)));
                Ok(())
            }
            None => {
                self.node(x)?.up = Some(y);
                let mut cluster = std::mem::take(self.cluster(x)?);
                for founder in std::mem::take(&mut cluster.prospects).into_keys() {
                    self.retire(founder, &mut cluster)?;
                }
                self.restructured.remove(&x);
                self.stale.remove(&x);
                // Events are grouped by the key that recorded them: inside a partition they stay where they are.
                let root = self.root(y)?;
                let events = if self.partition.holds(root) { Vec::new() } else { self.cut_cluster(&cluster)? };
                self.send(y, Ask::Put(cluster.into_elements()));
                for chunk in events.chunks(EVENTS_A_MESSAGE) {
                    self.send(y, Ask::Put(chunk.iter().cloned().map(Element::Event).collect()));
                }
                Ok(())
            }
        }
    }

    /// Takes all events of a cluster that moves out of this partition.
    fn cut_cluster(&mut self, cluster: &Cluster) -> Result<Vec<EventElement>, StoreError> {
        let mut events = Vec::new();
        for info in cluster.keys.values() {
            events.extend(self.partition.cut_events(&Span::whole(info.no, info.k, false))?);
        }
        for table in cluster.tables.values() {
            for (span, owner) in Span::by_table(table) {
                if cluster.keys.contains_key(&owner) {
                    events.extend(self.partition.cut_events(&span)?);
                }
            }
        }
        Ok(events)
    }

    // Rows --------------------------------------------------------------------------------------------------------

    fn send(&mut self, key: KeyHash, ask: Ask) {
        self.send_all([Message { key, ask }]);
    }

    fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            if self.partition.holds(message.key) {
                self.queue.push_back(message);
            } else {
                self.outgoing.push(message);
            }
        }
    }

    /// Loads a key's row. Whether there is one.
    fn load(&mut self, key: KeyHash) -> Result<bool, StoreError> {
        if self.nodes.contains_key(&key) {
            return Ok(true);
        }
        let Some((node, stored)) = self.partition.load_node(key)? else { return Ok(false) };
        self.nodes.insert(key, Loaded { value: node, stored: Some(stored) });
        Ok(true)
    }

    fn node(&mut self, key: KeyHash) -> Result<&mut Node, StoreError> {
        self.load(key)?;
        let node = self.nodes.get_mut(&key).map(|loaded| &mut loaded.value);
        node.ok_or_else(|| StoreError(format!("key {key:?} has no row")))
    }

    fn browser(&mut self, key: KeyHash) -> Result<&mut Browser, StoreError> {
        let browser = self.node(key)?.body.browser.as_mut();
        browser.ok_or_else(|| StoreError(format!("key {key:?} is no browser")))
    }

    /// Where the cluster of a key lives.
    fn root(&mut self, key: KeyHash) -> Result<KeyHash, StoreError> {
        let mut root = key;
        while self.load(root)? {
            let Some(up) = self.node(root)?.up else { break };
            root = up;
        }
        Ok(root)
    }

    fn cluster(&mut self, root: KeyHash) -> Result<&mut Cluster, StoreError> {
        if !self.clusters.contains_key(&root) {
            let (value, stored) = match self.partition.load_cluster(root)? {
                Some((cluster, stored)) => (cluster, Some(stored)),
                None => (Cluster::default(), None),
            };
            self.clusters.insert(root, Loaded { value, stored });
        }
        let cluster = self.clusters.get_mut(&root).map(|loaded| &mut loaded.value);
        cluster.ok_or_else(|| StoreError(format!("cluster {root:?} was not loaded")))
    }

    /// Writes what has changed.
    fn write(&self) -> Result<(), StoreError> {
        let store = &self.partition.store;
        for (key, loaded) in &self.nodes {
            let node = &loaded.value;
            let body = encode(&(node.up, &node.body))?;
            if loaded.stored.as_ref() != Some(&body) {
                let params = [Value::from(key.0.as_slice()), Value::Integer(node.no), Value::Blob(body)];
                store.exec("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", &params)?;
            }
        }
        for (root, loaded) in &self.clusters {
            let gone = loaded.value == Cluster::default();
            let body = encode(&loaded.value)?;
            if gone && loaded.stored.is_some() {
                store.exec("DELETE FROM cluster WHERE k = ?", &[Value::from(root.0.as_slice())])?;
            } else if !gone && loaded.stored.as_ref() != Some(&body) {
                let params = [Value::from(root.0.as_slice()), Value::Blob(body)];
                store.exec("INSERT OR REPLACE INTO cluster VALUES (?, ?)", &params)?;
            }
        }
        Ok(())
    }
}
