//! Erasing a person: what every key's owner is told, what it forgets, and the receipt.
//!
//! An erasure is an act in time: what is dated before it, or was here when it came, goes and stays away, also when it is
//! sent again. What happens later under the same key founds a prospect that holds nothing from before. Keyed hashes and
//! the pointers between them stay: without them a retried batch would bring the person back.

use super::message::{Ask, KeyInfo, Seen};
use super::star::rows::Wanted;
use super::work::Work;
use super::{Partition, decode, encode};
use crate::key::{Identifier, KeyHash};
use crate::store::{Row, Store, StoreError, Value};
use data_encoding::BASE32_NOPAD;
use minicbor::{Decode, Encode};
use std::cmp::Reverse;

/// From when on nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Cut {
    /// What is dated until then, ms, goes; events also when they were received by then.
    #[n(0)]
    pub at: i64,
    /// Whether facts and claims that are dated later, but known already, go too: clocks run ahead.
    #[n(1)]
    pub known: bool,
}

/// An order to erase a prospect, and its receipt.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Erasure {
    /// Whose prospect: its founder.
    #[n(0)]
    pub founder: KeyHash,
    /// What of it.
    #[n(1)]
    pub cut: Cut,
    /// The keys of the prospect: persons', or a browser's that nobody claims.
    #[n(2)]
    pub keys: Vec<KeyHash>,
    /// When it was found complete, ms.
    #[n(3)]
    pub completed: Option<i64>,
}

impl Erasure {
    /// `er_`, the founder's hash and the time: whoever is asked for the receipt finds out from it whom to ask.
    #[must_use]
    pub fn id(&self) -> String {
        let mut bytes = self.founder.0.to_vec();
        bytes.extend_from_slice(&self.cut.at.to_be_bytes());
        format!("er_{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }

    /// The founder and the time in an id, if it is well formed.
    #[must_use]
    pub fn parse_id(id: &str) -> Option<(KeyHash, i64)> {
        let bytes = BASE32_NOPAD.decode(id.strip_prefix("er_")?.to_ascii_uppercase().as_bytes()).ok()?;
        let (founder, at) = bytes.split_at_checked(16)?;
        Some((KeyHash(founder.try_into().ok()?), i64::from_be_bytes(at.try_into().ok()?)))
    }
}

/// A time in which a browser's events were an erased person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Gone {
    /// Events from this time on, ms,
    #[n(0)]
    pub from: i64,
    /// and before this time, ms,
    #[n(1)]
    pub until: i64,
    /// if they are dated before this, or were received by then, ms.
    #[n(2)]
    pub erased: i64,
}

impl Gone {
    /// Whether an event of this time and receipt is gone.
    #[must_use]
    pub fn takes(&self, at: i64, rx: i64) -> bool {
        (self.from..self.until).contains(&at) && is_before(self.erased, at, rx)
    }
}

/// Whether something of this time and receipt belongs to what an erasure took.
#[must_use]
pub fn is_before(erased: i64, at: i64, rx: i64) -> bool {
    at <= erased || rx <= erased
}

impl<S: Store> Work<'_, S> {
    /// Keeps the receipt, and tells every key.
    pub(super) fn erase(&mut self, erasure: &Erasure) -> Result<(), StoreError> {
        let params = [Value::from(erasure.id().as_str()), Value::Blob(encode(erasure)?)];
        self.partition.store.exec("INSERT OR IGNORE INTO erasure VALUES (?, ?)", &params)?;
        for key in &erasure.keys {
            self.send(*key, Ask::EraseKey(erasure.cut));
        }
        Ok(())
    }

    /// A key's owner forgets what it knows, and says so to whoever knows of the key: the other ends of its facts, the
    /// browsers that claim it, its cluster.
    pub(super) fn erase_key(&mut self, key: KeyHash, cut: Cut) -> Result<(), StoreError> {
        if !self.load(key)? {
            return Ok(());
        }
        let node = self.node(key)?;
        if node.body.browser.is_some() {
            return self.erase_browser(key, cut.at);
        }
        if node.body.erased.is_some_and(|known| known >= cut.at) {
            return Ok(());
        }
        node.body.erased = Some(cut.at);
        node.body.seen = None;
        node.body.recorded = false;
        let (messages, remains, seen) = self.with_star(key, &Wanted::All, |star, key_type, policy| {
            let mut messages = star.erase(key, cut);
            messages.extend(star.rank(key, key_type, policy));
            (messages, star.is_named_since(cut), star.seen())
        })?;
        let body = &mut self.node(key)?.body;
        if remains {
            body.seen = seen;
        } else {
            body.ident = Identifier::erased(body.ident.key_type());
        }
        self.send_all(messages);
        self.tell_cluster(key)
    }

    /// What is dated after an erasure has come before it: its cluster still has events, and knows what the key was.
    pub(super) fn remains(&mut self, key: KeyHash, info: KeyInfo) -> Result<(), StoreError> {
        if !self.load(key)? || self.node(key)?.body.erased != info.erased {
            return Ok(());
        }
        let body = &mut self.node(key)?.body;
        if body.ident.is_erased() {
            body.ident = info.ident;
        }
        body.recorded = true;
        body.seen = [body.seen, info.seen].into_iter().flatten().reduce(Seen::best);
        self.tell_cluster(key)
    }

    /// A browser that nobody claims: the time that is its own goes.
    fn erase_browser(&mut self, key: KeyHash, at: i64) -> Result<(), StoreError> {
        let node = self.node(key)?;
        let number = node.no;
        node.body.ident = Identifier::erased(node.body.ident.key_type());
        node.body.erased = node.body.erased.max(Some(at));
        let rev = self.partition.load_person(number)?.map_or(0, |person| person.rev);
        let browser = self.browser(key)?;
        browser.rev = browser.rev.max(rev);
        if browser.erase_own(key, at) { self.recompute_browser(key) } else { Ok(()) }
    }
}

impl<S: Store> Partition<S> {
    /// The receipt of an erasure that was ordered here.
    ///
    /// # Errors
    /// When the store fails.
    pub fn erasure(&self, id: &str) -> Result<Option<Erasure>, StoreError> {
        let rows = self.store.query("SELECT body FROM erasure WHERE id = ?", &[Value::from(id)])?;
        rows.first().map(|row: &Row| decode(row.blob(0)?)).transpose()
    }

    /// The receipts of erasures that were ordered here, latest first, behind a time and id.
    ///
    /// # Errors
    /// When the store fails.
    pub fn erasures(&self, behind: Option<&(i64, String)>, limit: usize) -> Result<Vec<Erasure>, StoreError> {
        let rows = self.store.query("SELECT id FROM erasure", &[])?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = row.text(0)?;
            // The time stands in the id: only those that are shown are read.
            found.extend(Erasure::parse_id(id).map(|(_, at)| (Reverse(at), id)));
        }
        found.sort_unstable();
        let is_behind = |(at, id): &(Reverse<i64>, &str)| {
            behind.is_none_or(|(last, known)| (*at, *id) > (Reverse(*last), known.as_str()))
        };
        let shown = found.into_iter().filter(is_behind).take(limit);
        shown.filter_map(|(_, id)| self.erasure(id).transpose()).collect()
    }

    /// Notes that every owner has acknowledged.
    pub(super) fn complete_erasure(&self, id: &str, now: i64) -> Result<(), StoreError> {
        let Some(erasure) = self.erasure(id)?.filter(|erasure| erasure.completed.is_none()) else { return Ok(()) };
        let body = encode(&Erasure { completed: Some(now), ..erasure })?;
        let params = [Value::Blob(body), Value::from(id)];
        self.store.exec("UPDATE erasure SET body = ? WHERE id = ?", &params).map(drop)
    }

    /// Deletes the events that an erased person's browser time takes with it. Whether there were any.
    pub(super) fn delete_gone(&self, number: i64, gone: &[Gone]) -> Result<bool, StoreError> {
        let mut any = false;
        for Gone { from, until, erased } in gone {
            let sql = "DELETE FROM event WHERE rec = ? AND at >= ? AND at < ? AND (at <= ? OR rx <= ?)";
            let params = [number, *from, *until, *erased, *erased].map(Value::Integer);
            any |= self.store.exec(sql, &params)? > 0;
        }
        Ok(any)
    }
}
