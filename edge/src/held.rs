//! The bodies of requests that an isolate holds at a time.
//!
//! What is still coming is kept here, and not by whoever reads it: when a client resets its connection, workerd neither goes
//! on with the reading nor ends it, and what the reader held would be held for ever.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;

/// The most bytes of bodies that an isolate holds. It has 128 MB, and what is read from a body takes up to twice its size
/// again.
pub(crate) const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long nothing of a body may come before its place is given to others that need it, ms.
pub(crate) const STALLED_MS: i64 = 30_000;
/// For how long what has come is worked on at most before its place is given to others that need it, ms. Calls within the
/// Worker end by themselves long before.
const WORKED_ON_MS: i64 = 300_000;

thread_local! {
    static HELD: RefCell<Held> = RefCell::default();
}

#[derive(Default)]
struct Held {
    /// The number of the newest.
    newest: u64,
    bodies: BTreeMap<u64, Slot>,
    /// The bytes of all.
    bytes: usize,
}

struct Slot {
    /// What has come; nothing any more, when all has.
    coming: Vec<u8>,
    length: usize,
    /// Others may have its place from then on, ms.
    until: i64,
}

impl Held {
    fn remove(&mut self, number: u64) -> Option<Slot> {
        let slot = self.bodies.remove(&number)?;
        self.bytes -= slot.length;
        Some(slot)
    }

    /// Room for so many bytes more, by what is given up if need be.
    fn has_room(&mut self, more: usize, now: i64) -> bool {
        if self.bytes + more > HELD_BYTES_MAX {
            let over: Vec<u64> =
                self.bodies.iter().filter(|(_, slot)| slot.until < now).map(|(number, _)| *number).collect();
            over.into_iter().for_each(|number| drop(self.remove(number)));
        }
        self.bytes + more <= HELD_BYTES_MAX
    }
}

/// A body's place among them: it ends with this.
#[derive(Debug)]
pub(crate) struct Place(u64);

impl Place {
    /// A place for a body that is about to come, ms since 1970.
    pub(crate) fn new(now: i64) -> Place {
        HELD.with_borrow_mut(|held| {
            held.newest += 1;
            held.bodies.insert(held.newest, Slot { coming: Vec::new(), length: 0, until: now + STALLED_MS });
            Place(held.newest)
        })
    }

    /// How much of it has come.
    pub(crate) fn length(&self) -> usize {
        HELD.with_borrow(|held| held.bodies.get(&self.0).map_or(0, |slot| slot.length))
    }

    /// More of it; `false` if there is no room, or its place has gone to others.
    pub(crate) fn add(&self, more: &[u8], now: i64) -> bool {
        HELD.with_borrow_mut(|held| {
            if let Some(slot) = held.bodies.get_mut(&self.0) {
                slot.until = now + STALLED_MS;
            }
            let has_room = held.has_room(more.len(), now);
            let Some(slot) = held.bodies.get_mut(&self.0).filter(|_| has_room) else { return false };
            slot.coming.extend_from_slice(more);
            slot.length += more.len();
            held.bytes += more.len();
            true
        })
    }

    /// All of it, which counts until the place ends. `None` if its place has gone to others.
    pub(crate) fn take(&self, now: i64) -> Option<Vec<u8>> {
        HELD.with_borrow_mut(|held| {
            let slot = held.bodies.get_mut(&self.0)?;
            slot.until = now + WORKED_ON_MS;
            Some(mem::take(&mut slot.coming))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let slot = HELD.with_borrow_mut(|held| held.remove(self.0));
        drop(slot);
    }
}

/// How many bytes are held.
#[cfg(test)]
pub(crate) fn bytes() -> usize {
    HELD.with_borrow(|held| held.bytes)
}
