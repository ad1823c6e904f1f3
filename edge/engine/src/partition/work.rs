//! One message and all that follows from it, inside one savepoint: keys and clusters are loaded once, changed in memory,
//! written at the end; then the prospects that changed are brought up to date.

mod clusters;
mod records;
mod rows;
mod settle;

use super::browser::Browser;
use super::change::Line;
use super::cluster::Cluster;
use super::decision;
use super::erasure::Cut;
use super::intake::Tally;
use super::message::{Ask, Element, EventElement, KeyInfo, Message, Ranked, Seen, Table};
use super::person::Stale;
use super::star::Star;
use super::star::rows::Wanted;
use super::{Outcome, Partition, RefusedUnion};
use crate::event::Source;
use crate::identity::policy::Policy;
use crate::identity::{Fact, Trust};
use crate::key::{Identifier, KeyHash, KeyType};
use crate::store::{Store, StoreError};
pub(super) use clusters::Before;
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
    pub(super) line: Line,
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
    /// Clusters and browsers whose prospects must be folded anew.
    stale: BTreeMap<KeyHash, Stale>,
    /// Clusters and browsers whose prospects must be computed anew.
    pub(super) restructured: BTreeSet<KeyHash>,
    /// What the feed is told.
    line: Line,
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
            stale: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            arrived: Vec::new(),
            restructured: BTreeSet::new(),
            line: Line::default(),
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
        let Work { onward, outgoing, line, refused, intake, .. } = self;
        Ok(Done { outcomes, onward, outgoing, line, refused, intake })
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
            Ask::Remains(info) => self.remains(key, info),
            Ask::ForgetFact(fact, upto, target) => {
                self.ensure_row(key, &target)?;
                let wanted = Wanted::Facts(vec![fact.other(key)]);
                let messages = self.with_star(key, &wanted, |star, key_type, policy| {
                    star.forget(fact, upto).then(|| star.rank(key, key_type, policy))
                })?;
                if let Some(messages) = messages {
                    self.send_all(messages);
                    self.send(fact.other(key), Ask::SayAgain(fact));
                }
                Ok(())
            }
            Ask::SayAgain(fact) => {
                let other = fact.other(key);
                let known = self.with_star(key, &Wanted::Fact(other), |star, _, _| star.said(fact))?;
                if let Some((at, source, target)) = known {
                    let ident = self.node(key)?.body.ident.clone();
                    self.send(other, Ask::RankFact(Ranked { fact, at, source, target, other: ident }));
                }
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

    // Keys and browsers ---------------------------------------------------------------------------------------------

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

    /// A cluster or browser may hold events which it has not been folded over.
    fn is_stale(&mut self, home: KeyHash) {
        self.stale.entry(home).or_insert(Stale::Events);
    }

    pub(super) fn recompute_browser(&mut self, own: KeyHash) -> Result<(), StoreError> {
        let policy = &self.partition.policy;
        let node = self.node(own)?;
        let (no, ident) = (node.no, node.body.ident.clone());
        let before = self.browser(own)?.table(own, no, &ident);
        let (messages, changed) = self.browser(own)?.recompute(own, no, &ident, policy);
        self.send_all(messages);
        if changed {
            self.restructured.insert(own);
            let table = self.browser(own)?.table(own, no, &ident);
            self.give_away(&table, Before::Table(&before), own)?;
        }
        Ok(())
    }
}
