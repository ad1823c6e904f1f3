//! One message and all that follows from it, inside one savepoint: keys and clusters are loaded once, changed in memory,
//! written at the end; then the prospects that changed are brought up to date.

mod settle;

use super::browser::Browser;
use super::change::Change;
use super::cluster::{Cluster, Merged};
use super::decision;
use super::erasure::{self, Cut, Gone};
use super::intake::Tally;
use super::message::{
    Ask, ClaimId, DeadLetter, Element, EventElement, KeyInfo, Message, PIECE_BYTES, Ranked, Seen, Table, in_pieces,
};
use super::person::Span;
use super::star::Star;
use super::star::rows::Wanted;
use super::{Outcome, Partition, RefusedUnion, encode};
use crate::event::{ClaimInput, Record, Source};
use crate::identity::policy::Policy;
use crate::identity::{Fact, FactClass, Trust};
use crate::key::{Identifier, KeyHash, KeyType};
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
    /// When it was last erased, ms.
    #[n(4)]
    pub(super) erased: Option<i64>,
    /// Whether a record under it was taken since.
    #[n(5)]
    #[cbor(default)]
    pub(super) recorded: bool,
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
    pub(super) refused: Vec<RefusedUnion>,
    pub(super) intake: Tally,
}

/// A fact as said: when, by whom, and what its other end is.
type Saying = (Fact, i64, Source, Identifier);

/// A value, and the bytes that are stored of it: it is written when they differ at the end.
pub(super) struct Loaded<T> {
    value: T,
    stored: Option<Vec<u8>>,
}

pub(super) struct Work<'p, S: Store> {
    pub(super) partition: &'p Partition<S>,
    now: i64,
    nodes: BTreeMap<KeyHash, Loaded<Node>>,
    pub(super) clusters: BTreeMap<KeyHash, Loaded<Cluster>>,
    queue: VecDeque<Message>,
    /// Clusters go on when all else that is here has been worked off: they must take with them what was just told them.
    unions: VecDeque<Message>,
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
    pub(super) restructured: BTreeSet<KeyHash>,
    /// Founders whose prospect has gone into another.
    retired: BTreeSet<KeyHash>,
    changed: Vec<Change>,
    /// By key of another partition: the key of ours in whose cluster it is, if any.
    hosts: BTreeMap<KeyHash, Option<KeyHash>>,
    refused: Vec<RefusedUnion>,
    intake: Tally,
    /// By cluster and browser: tables that were read from rows of their own.
    pub(super) recalled: BTreeMap<(KeyHash, KeyHash), Table>,
}

impl<'p, S: Store> Work<'p, S> {
    pub(super) fn new(partition: &'p Partition<S>, now: i64) -> Work<'p, S> {
        Work {
            partition,
            now,
            nodes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            queue: VecDeque::new(),
            unions: VecDeque::new(),
            outgoing: Vec::new(),
            onward: Vec::new(),
            stale: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            arrived: Vec::new(),
            restructured: BTreeSet::new(),
            retired: BTreeSet::new(),
            changed: Vec::new(),
            hosts: BTreeMap::new(),
            refused: Vec::new(),
            intake: Tally::default(),
            recalled: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self, message: Message) -> Result<Done, StoreError> {
        self.queue.push_back(message);
        while let Some(message) = self.queue.pop_front().or_else(|| self.unions.pop_front()) {
            self.handle(message)?;
        }
        self.settle()?;
        self.put_bygone_by()?;
        self.write()?;
        let outcomes = self.outcomes.into_iter().collect();
        let Work { onward, outgoing, changed, refused, intake, .. } = self;
        Ok(Done { outcomes, onward, outgoing, changed, refused, intake })
    }

    fn handle(&mut self, Message { key, ask }: Message) -> Result<(), StoreError> {
        match ask {
            Ask::Take(records) => self.take(key, records),
            Ask::Put(elements) => self.put(key, elements),
            Ask::Unite(larger) => self.unite(key, larger),
            Ask::Union(into, keys) => self.union(key, into, keys),
            Ask::Hint(ahead) => self.hint(key, ahead),
            Ask::RankFact(ranked) => {
                if let Some(erased) = self.erased(key)?.filter(|erased| ranked.at <= *erased) {
                    let (other, blank) = (ranked.fact.other(key), Identifier::erased(ranked.other.key_type()));
                    self.send(other, Ask::ForgetFact(ranked.fact, erased, blank));
                    return Ok(());
                }
                if self.has_forgotten(key, ranked.fact, ranked.at)? {
                    return Ok(());
                }
                self.ensure(key, &ranked.target)?;
                self.see(key, Seen { trust: Trust::Strong, source: ranked.source, at: ranked.at }, false)?;
                let Ranked { fact, at, source, other, .. } = ranked;
                self.say(key, vec![(fact, at, source, other)]).map(drop)
            }
            Ask::RankClaims(claims, target) => {
                let erased = self.erased(key)?;
                if let Some(at) = erased.filter(|at| claims.since.is_some_and(|since| since <= *at)) {
                    // From before the erasure: the browser has not heard of it. It will say anew what remains.
                    self.send(claims.browser, Ask::ForgetKey(key, Cut { at, known: false }));
                    return Ok(());
                }
                // A withdrawal says nothing of whom it is about.
                if claims.since.is_some() {
                    self.ensure(key, &target)?;
                } else {
                    self.ensure_row(key, &target)?;
                }
                let wanted = Wanted::Browser(claims.browser);
                let messages = self.with_star(key, &wanted, |star, _, policy| star.claim(key, claims, policy))?;
                self.send_all(messages);
                Ok(())
            }
            Ask::Introduce(introductions) => {
                self.ensure_row(key, &introductions.target)?;
                let others = introductions.facts.iter().map(|(fact, ..)| fact.other(key)).collect();
                let wanted = Wanted::Introduced(introductions.browser, others);
                let messages = self.with_star(key, &wanted, |star, key_type, policy| {
                    star.introduce(introductions).then(|| star.rank(key, key_type, policy))
                })?;
                self.send_all(messages.into_iter().flatten());
                Ok(())
            }
            Ask::FactAdmitted(fact, target) => {
                self.ensure_row(key, &target)?;
                let wanted = Wanted::Fact(fact.other(key));
                let message = self.with_star(key, &wanted, |star, _, _| star.other_admits(fact))?;
                self.send_all(message);
                Ok(())
            }
            Ask::ClaimsAdmitted(claimed, version, admitted) => {
                let answered = self.browser(key)?.answered(claimed, version, admitted);
                if answered { self.recompute_browser(key) } else { Ok(()) }
            }
            Ask::Decide(decision) => {
                let messages = decision::messages(&decision, &self.partition.key, &self.partition.policy);
                self.send_all(messages);
                Ok(())
            }
            Ask::Heed(decided, ident) => {
                self.ensure_row(key, &ident)?;
                if !ident.key_type().is_browser() {
                    self.send(key, Ask::Put(vec![Element::Decided(decided)]));
                    Ok(())
                } else if self.browser(key)?.heed(key, &decided) {
                    self.recompute_browser(key)
                } else {
                    Ok(())
                }
            }
            Ask::Erase(erasure) => self.erase(&erasure),
            Ask::EraseKey(cut) => self.erase_key(key, cut),
            Ask::ForgetFact(fact, upto, target) => {
                self.ensure_row(key, &target)?;
                let wanted = Wanted::Facts(vec![fact.other(key)]);
                let messages = self.with_star(key, &wanted, |star, key_type, policy| {
                    star.forget(fact, upto).then(|| star.rank(key, key_type, policy))
                })?;
                self.send_all(messages.into_iter().flatten());
                Ok(())
            }
            Ask::ForgetKey(erased, cut) => {
                if self.load(key)? && self.browser(key)?.forget(erased, cut) {
                    self.recompute_browser(key)?;
                }
                Ok(())
            }
            Ask::Erased(id) => self.partition.complete_erasure(&id, self.now),
            Ask::Bury(letters) => self.bury(&letters),
            Ask::Exhume(letter) => self.partition.exhume(&letter),
            Ask::NoteBatch(batch) => self.partition.note_batch(&batch),
            Ask::ForgetLetters(of) => self.partition.forget_letters(&of),
            Ask::Once(print) => self.partition.once(key, &print),
            Ask::MakeClaim(claim, at) => {
                if self.erased(key)?.is_some_and(|erased| at <= erased) {
                    self.ensure_row(key, &claim.browser)?;
                } else {
                    self.ensure(key, &claim.browser)?;
                }
                if self.make_claim(key, claim, at)? { self.recompute_browser(key) } else { Ok(()) }
            }
        }
    }

    // Records -----------------------------------------------------------------------------------------------------

    fn take(&mut self, own: KeyHash, records: Vec<Record>) -> Result<(), StoreError> {
        let mut claims_changed = false;
        let mut events = Vec::with_capacity(records.len());
        let mut sayings = Vec::new();
        for (place, mut record) in records.into_iter().enumerate() {
            if self.partition.key.hash(&record.rec) != own {
                return Err(StoreError("a record was sent to a key that is not its own".into()));
            }
            let erased = self.erased(own)?;
            let is_from_before = erased.is_some_and(|erased| erasure::is_before(erased, record.at, self.now));
            if is_from_before && !record.rec.key_type().is_browser() {
                // A retry of what an erasure took: it was known, and stays away. (Of a browser's, its table decides.)
                self.outcomes.insert(place, Outcome::Duplicate);
                self.intake.event(&record.body, false);
                continue;
            }
            if is_from_before {
                self.ensure_row(own, &record.rec)?;
            } else {
                self.ensure(own, &record.rec)?;
            }
            let recorded = !self.partition.policy.is_blocked(&record.rec);
            if record.rec.key_type().is_browser() {
                self.node(own)?.body.recorded |= recorded;
            } else {
                self.see(own, Seen { trust: Trust::Strong, source: record.body.source, at: record.at }, recorded)?;
            }
            sayings.extend(self.facts_of(own, &record));
            let (no, claims) = (self.node(own)?.no, std::mem::take(&mut record.claims));
            claims_changed |= self.take_claims(own, claims, record.at)?;
            let Record { rec, at, id, body, facts, .. } = record;
            let keys = [&rec].into_iter().chain(facts.iter().map(|fact| &fact.other));
            let names_email = keys.into_iter().any(|key| key.key_type() == KeyType::Email);
            let (rx, place) = (self.now, Some(place));
            events.push(Element::Event(EventElement { rec: own, no, at, id, rx, body, place, names_email }));
        }
        let own_ident = self.node(own)?.body.ident.clone();
        for (fact, at, source, target) in self.say(own, sayings)? {
            let ranked = Ranked { fact, at, source, target, other: own_ident.clone() };
            self.send(fact.other(own), Ask::RankFact(ranked));
        }
        if claims_changed {
            self.recompute_browser(own)?;
        }
        // What identity says comes first, so that an event is placed once, where it belongs.
        self.send(own, Ask::Put(events));
        Ok(())
    }

    fn facts_of(&self, own: KeyHash, record: &Record) -> Vec<Saying> {
        let policy = &self.partition.policy;
        if policy.is_blocked(&record.rec) {
            return Vec::new();
        }
        let said = record.facts.iter().filter(|said| !policy.is_blocked(&said.other)).filter_map(|said| {
            let class = if said.explicit { FactClass::Explicit } else { FactClass::Strong };
            let fact = Fact::new(class, own, self.partition.key.hash(&said.other))?;
            Some((fact, record.at, record.body.source, said.other.clone()))
        });
        said.collect()
    }

    /// Merges facts into a key's star and ranks it. Answers those that were news.
    fn say(&mut self, key: KeyHash, sayings: Vec<Saying>) -> Result<Vec<Saying>, StoreError> {
        if sayings.is_empty() {
            return Ok(sayings);
        }
        let wanted = Wanted::Facts(sayings.iter().map(|(fact, ..)| fact.other(key)).collect());
        let (messages, news) = self.with_star(key, &wanted, |star, key_type, policy| {
            let mut news = sayings;
            news.retain(|(fact, at, source, other)| star.say(*fact, *at, *source, other));
            let messages = if news.is_empty() { Vec::new() } else { star.rank(key, key_type, policy) };
            (messages, news)
        })?;
        self.send_all(messages);
        Ok(news)
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
            let is_new = self.partition.bury(letter, self.now)?;
            self.intake.rejected(letter.source, letter.event_type.as_deref(), is_new);
        }
        Ok(())
    }

    // Keys and browsers -------------------------------------------------------------------------------------------

    /// When a key was last erased, ms.
    fn erased(&mut self, key: KeyHash) -> Result<Option<i64>, StoreError> {
        if self.load(key)? { Ok(self.node(key)?.body.erased) } else { Ok(None) }
    }

    /// Makes sure that a key has a row. What was erased of it stays so: the message may be from before.
    fn ensure_row(&mut self, key: KeyHash, ident: &Identifier) -> Result<(), StoreError> {
        if self.erased(key)?.is_some() { Ok(()) } else { self.ensure(key, ident) }
    }

    /// Makes sure that a key has a row, and that its cluster knows what it is.
    fn ensure(&mut self, key: KeyHash, ident: &Identifier) -> Result<(), StoreError> {
        let known = self.load(key)?;
        let is_browser = ident.key_type().is_browser();
        if !known {
            let no = (i64::from(key.slot()) << 36) | (self.partition.counter.get() + 1);
            self.partition.counter.set(self.partition.counter.get() + 1);
            let browser = is_browser.then(Browser::default);
            let body = NodeBody {
                ident: ident.clone(),
                seen: None,
                star: Star::default(),
                browser,
                erased: None,
                recorded: false,
            };
            self.nodes.insert(key, Loaded { value: Node { no, up: None, body }, stored: None });
        }
        let node = self.node(key)?;
        let plain_is_news = node.body.ident.plain_email().is_none() && ident.plain_email().is_some();
        let is_news = plain_is_news || node.body.ident.is_erased();
        if is_news {
            node.body.ident = ident.clone();
        }
        if !is_browser && (!known || is_news) {
            self.tell_cluster(key)?;
        }
        Ok(())
    }

    /// Notes evidence of a key's own: a record under it, or what others say.
    fn see(&mut self, key: KeyHash, seen: Seen, recorded: bool) -> Result<(), StoreError> {
        let body = &mut self.node(key)?.body;
        let best = body.seen.map_or(seen, |known| known.best(seen));
        if body.seen != Some(best) || (recorded && !body.recorded) {
            body.seen = Some(best);
            body.recorded |= recorded;
            self.tell_cluster(key)?;
        }
        Ok(())
    }

    pub(super) fn tell_cluster(&mut self, key: KeyHash) -> Result<(), StoreError> {
        let node = self.node(key)?;
        let info = KeyInfo {
            k: key,
            no: node.no,
            ident: node.body.ident.clone(),
            seen: node.body.seen,
            erased: node.body.erased,
            recorded: node.body.recorded,
        };
        self.send(key, Ask::Put(vec![Element::Key(info)]));
        Ok(())
    }

    /// Whether a fact of this time is one that an erasure of its other end took.
    fn has_forgotten(&mut self, key: KeyHash, fact: Fact, at: i64) -> Result<bool, StoreError> {
        if !self.load(key)? {
            return Ok(false);
        }
        self.with_star(key, &Wanted::Fact(fact.other(key)), |star, _, _| star.has_forgotten(fact, at))
    }

    /// Changes a star, of which what is wanted is there.
    pub(super) fn with_star<R>(
        &mut self,
        key: KeyHash,
        wanted: &Wanted,
        change: impl FnOnce(&mut Star, KeyType, &Policy) -> R,
    ) -> Result<R, StoreError> {
        let partition = self.partition;
        let body = &mut self.node(key)?.body;
        let key_type = body.ident.key_type();
        let part = partition.read_star(key, key_type, &mut body.star, wanted)?;
        let result = change(&mut body.star, key_type, &partition.policy);
        partition.write_star(key, &mut body.star, &part)?;
        Ok(result)
    }

    pub(super) fn recompute_browser(&mut self, own: KeyHash) -> Result<(), StoreError> {
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
            // The cluster may have gone before it heard of this table: then the browser's events were left behind. (Only
            // when the browser itself says so: tables that go with events may be old, and would send others round again.)
            if let [Element::Table(table)] = elements.as_slice() {
                self.give_away(table, key)?;
            }
            self.pass_on(root, elements);
            return Ok(());
        }
        let (events, others): (Vec<_>, Vec<_>) = elements.into_iter().partition(|e| matches!(e, Element::Event(_)));
        for element in others {
            if is_browser {
                // A browser's own table is the only authority: what comes home with its events is older or the same.
                continue;
            }
            if let Element::Rev(rev) = &element
                && *rev > 0
                && *rev >= self.cluster(root)?.rev
            {
                // What came ahead of this was told with lower ones: whoever keeps the highest must be told again.
                self.stale.insert(root);
            }
            let table = if let Element::Table(table) = &element { Some((table.browser, table.version)) } else { None };
            match &element {
                Element::Key(info) => {
                    self.welcome(info.k, root)?;
                    if !self.cluster(root)?.keys.contains_key(&info.k) {
                        self.recall_naming(root, info.k)?;
                    }
                }
                Element::Table(table) => self.recall(root, table.browser)?,
                Element::Decided(decided) => {
                    decided.left.iter().chain(&decided.right).try_for_each(|key| self.recall(root, *key))?;
                }
                _ => {}
            }
            let erased =
                if let Element::Key(info) = &element { info.erased.map(|at| (info.clone(), at)) } else { None };
            let of_key = matches!(element, Element::Key(_));
            if matches!(element, Element::Part(..)) {
                // Nobody has been folded since the first part came.
                self.stale.insert(root);
            }
            let merged = self.cluster(root)?.merge(element);
            // Which e-mail a prospect goes by is a matter of the evidence that its keys have.
            let structure = merged == Merged::Structure || (of_key && merged == Merged::Shown);
            if structure {
                self.restructured.insert(root);
                if let Some((info, at)) = erased {
                    self.delete_erased(&info, at, root)?;
                }
            }
            if let Some((browser, version)) = table
                && let Some(known) = self.cluster(root)?.tables.get(&browser).cloned()
                // Below what is known: it comes with another cluster, whose events are here by it.
                && (structure || known.version > version)
            {
                self.give_away(&known, root)?;
            }
        }
        for element in events {
            if let Element::Event(event) = element {
                if !is_browser && !self.cluster(root)?.keys.contains_key(&event.rec) {
                    self.recall(root, event.rec)?;
                }
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
    pub(super) fn give_away(&mut self, table: &Table, here: KeyHash) -> Result<(), StoreError> {
        if self.partition.delete_gone(table.no, &table.gone)? {
            self.stale.insert(here);
        }
        for (span, owner) in Span::by_table(table) {
            let home = if owner == table.browser { owner } else { self.root(owner)? };
            if home == here {
                continue;
            }
            if self.partition.holds(home) {
                self.stale.insert(home);
                // It may go elsewhere before its own copy comes, and must take these events with it.
                if home != table.browser {
                    self.send(home, Ask::Put(vec![Element::Table(table.clone())]));
                }
                continue;
            }
            let events = self.partition.cut_events(&span)?;
            for mut piece in in_pieces(events.into_iter().map(Element::Event).collect(), PIECE_BYTES)? {
                piece.insert(0, Element::Table(table.clone()));
                self.send(home, Ask::Put(piece));
            }
        }
        Ok(())
    }

    /// After a key has been erased: what was recorded under it until then goes.
    fn delete_erased(&mut self, info: &KeyInfo, at: i64, root: KeyHash) -> Result<(), StoreError> {
        let all = Span::whole(info.no, info.k, false);
        let gone = Gone { from: all.from, until: all.until, erased: at };
        if self.partition.delete_gone(info.no, &[gone])? {
            self.stale.insert(root);
        }
        let first = self.partition.first_event(info.no)?;
        self.cluster(root)?.first_event_is(info.k, first);
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
        let erased =
            if is_browser { None } else { self.cluster(here)?.keys.get(&event.rec).and_then(|info| info.erased) };
        if table.as_ref().is_some_and(|table| table.is_gone(event.at, event.rx))
            || erased.is_some_and(|erased| erasure::is_before(erased, event.at, event.rx))
        {
            if let Some(place) = event.place {
                self.outcomes.insert(place, Outcome::Duplicate);
                self.intake.event(&event.body, false);
            }
            return Ok(());
        }
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
            self.intake.event(&event.body, stored);
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

    /// Goes to the root of the smaller key's cluster, and from there, with its size, to the larger key.
    fn unite(&mut self, smaller: KeyHash, larger: KeyHash) -> Result<(), StoreError> {
        let root = self.root(smaller)?;
        let ask = if self.partition.holds(root) {
            let keys = self.cluster(root)?.keys.len();
            Message { key: larger, ask: Ask::Union(root, keys) }
        } else {
            Message { key: root, ask: Ask::Unite(larger) }
        };
        self.send_all([ask]);
        Ok(())
    }

    /// Points `x` at the smaller `y`, the root of a cluster of so many keys, and sends its cluster after it. When `x` has
    /// gone to `z` before, it is for the larger of `y` and `z` to point at the other: the larger key of the pair only
    /// ever gets smaller, so this ends.
    fn union(&mut self, x: KeyHash, y: KeyHash, keys: usize) -> Result<(), StoreError> {
        match self.node(x)?.up {
            Some(z) if z == y => Ok(()),
            Some(z) if z > y => {
                self.send(z, Ask::Union(y, keys));
                Ok(())
            }
            Some(z) => {
                self.send(z, Ask::Unite(y));
                Ok(())
            }
            None => {
                let own_keys = self.cluster(x)?.keys.len();
                if own_keys + keys > self.partition.policy.cluster_keys as usize {
                    let largest = if own_keys >= keys { x } else { y };
                    self.refused.push(RefusedUnion { from: x, into: y, keys: own_keys + keys, largest });
                    return Ok(());
                }
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
                let bygone = self.move_bygone(x, root)?;
                let rev = Element::Rev(cluster.rev);
                let parts = in_pieces(cluster.into_elements(), self.partition.piece_bytes)?;
                let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                for (number, mut part) in (0..).zip(parts) {
                    if count > 1 {
                        part.push(Element::Part(x, count, BTreeSet::from([number])));
                    }
                    self.send(y, Ask::Put(part));
                }
                for mut piece in in_pieces(bygone.into_iter().map(Element::Table).collect(), PIECE_BYTES)? {
                    // Never a table alone, which would be the browser's own word.
                    piece.push(rev.clone());
                    self.send(y, Ask::Put(piece));
                }
                for piece in in_pieces(events.into_iter().map(Element::Event).collect(), PIECE_BYTES)? {
                    self.send(y, Ask::Put(piece));
                }
                Ok(())
            }
        }
    }

    /// Shortens the way that a pointer begins. It is never made by a hint, and only ever decreases.
    fn hint(&mut self, key: KeyHash, ahead: KeyHash) -> Result<(), StoreError> {
        if self.load(key)? {
            let node = self.node(key)?;
            node.up = node.up.map(|up| up.min(ahead));
        }
        Ok(())
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

    pub(super) fn send(&mut self, key: KeyHash, ask: Ask) {
        self.send_all([Message { key, ask }]);
    }

    pub(super) fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            if !self.partition.holds(message.key) {
                self.outgoing.push(message);
            } else if matches!(message.ask, Ask::Union(..)) {
                self.unions.push_back(message);
            } else {
                self.queue.push_back(message);
            }
        }
    }

    /// Loads a key's row. Whether there is one.
    pub(super) fn load(&mut self, key: KeyHash) -> Result<bool, StoreError> {
        if self.nodes.contains_key(&key) {
            return Ok(true);
        }
        let Some((node, stored)) = self.partition.load_node(key)? else { return Ok(false) };
        self.nodes.insert(key, Loaded { value: node, stored: Some(stored) });
        Ok(true)
    }

    pub(super) fn node(&mut self, key: KeyHash) -> Result<&mut Node, StoreError> {
        self.load(key)?;
        let node = self.nodes.get_mut(&key).map(|loaded| &mut loaded.value);
        node.ok_or_else(|| StoreError(format!("key {key:?} has no row")))
    }

    pub(super) fn browser(&mut self, key: KeyHash) -> Result<&mut Browser, StoreError> {
        let browser = self.node(key)?.body.browser.as_mut();
        browser.ok_or_else(|| StoreError(format!("key {key:?} is no browser")))
    }

    /// Where the cluster of a key lives, as far as that is known here.
    fn root(&mut self, key: KeyHash) -> Result<KeyHash, StoreError> {
        let mut root = key;
        loop {
            let next = if self.load(root)? { self.node(root)?.up } else { self.host(root)? };
            let Some(next) = next else { return Ok(root) };
            root = next;
        }
    }

    /// A key of ours in whose cluster a key of another partition is.
    fn host(&mut self, guest: KeyHash) -> Result<Option<KeyHash>, StoreError> {
        if self.partition.holds(guest) {
            return Ok(None);
        }
        if !self.hosts.contains_key(&guest) {
            let sql = "SELECT host FROM guest WHERE k = ?";
            let rows = self.partition.store.query(sql, &[Value::from(guest.0.as_slice())])?;
            let host = rows.first().map(|row| row.blob(0)).transpose()?;
            self.hosts.insert(guest, host.and_then(|host| host.try_into().ok()).map(KeyHash));
        }
        Ok(self.hosts.get(&guest).copied().flatten())
    }

    /// Notes that a key of another partition is in a cluster here.
    fn welcome(&mut self, guest: KeyHash, host: KeyHash) -> Result<(), StoreError> {
        if self.partition.holds(guest) || self.host(guest)?.is_some() {
            return Ok(());
        }
        let params = [guest, host].map(|key| Value::from(key.0.as_slice()));
        self.partition.store.exec("INSERT OR REPLACE INTO guest VALUES (?, ?)", &params)?;
        self.hosts.insert(guest, Some(host));
        Ok(())
    }

    pub(super) fn cluster(&mut self, root: KeyHash) -> Result<&mut Cluster, StoreError> {
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
                self.partition.delete_cluster(*root)?;
            } else if !gone && loaded.stored.as_ref() != Some(&body) {
                let before = loaded.stored.as_ref().map_or(0, Vec::len);
                self.partition.save_cluster(*root, &body, before)?;
            }
        }
        Ok(())
    }
}
