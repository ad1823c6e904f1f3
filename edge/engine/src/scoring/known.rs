//! Attributes as conditions look at them: each prepared once for all that is asked of it.

use super::Attributes;
use super::model::Model;
use super::operator::Operator;
use super::seen::Seen;
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// What preparing an attribute counts, in steps (see [`Operator::steps`]): some 0.2 µs, and in one of 1 KB, the longest
/// ([`crate::attributes::VALUE_BYTES_MAX`]), up to twenty times that.
pub(super) const STEPS_TO_PREPARE: usize = 8;
/// And where `contains` is asked, for which the elements of a list are sorted: of 500, the most in 1 KB, in some 50 µs.
pub(super) const STEPS_TO_SORT: usize = 32;

/// Which attributes a model's conditions ask for, and how much that is: collected while it is read.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Each with its place, and whether `contains` is asked of it.
    places: BTreeMap<String, (usize, bool)>,
    questions: usize,
    steps: usize,
}

impl Asked {
    /// Notes what is asked of an attribute. Answers its place.
    pub(super) fn note(&mut self, name: &str, operators: &[Operator]) -> usize {
        self.questions += operators.len();
        self.steps += operators.iter().map(Operator::steps).sum::<usize>();
        let next = self.places.len();
        let (place, is_sorted) = self.places.entry(name.to_owned()).or_insert((next, false));
        *is_sorted |= operators.iter().any(Operator::asks_elements);
        *place
    }

    /// How many questions there are.
    pub(super) fn questions(&self) -> usize {
        self.questions
    }

    /// How much work it is at most to prepare all and to ask all, in steps.
    pub(super) fn steps(&self) -> usize {
        let prepared = self.places.values().map(|(_, sorted)| if *sorted { STEPS_TO_SORT } else { STEPS_TO_PREPARE });
        self.steps + prepared.sum::<usize>()
    }

    /// The names, by their places.
    pub(super) fn into_names(self) -> Vec<String> {
        let mut names: Vec<_> = self.places.into_iter().map(|(name, (place, _))| (place, name)).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }
}

/// One prospect's attributes under the eyes of a model's conditions.
pub(super) struct Known<'a> {
    attributes: &'a Attributes,
    /// Those that the model asks for.
    names: &'a [String],
    seen: Vec<OnceCell<Option<Seen>>>,
}

impl<'a> Known<'a> {
    pub(super) fn new(model: &'a Model, attributes: &'a Attributes) -> Known<'a> {
        let names = model.attributes.as_slice();
        Known { attributes, names, seen: names.iter().map(|_| OnceCell::new()).collect() }
    }

    /// The attribute of a place among those that the model asks for; `None` if there is none, or `null`.
    pub(super) fn value(&self, place: usize) -> Option<&Seen> {
        let (cell, name) = self.seen.get(place).zip(self.names.get(place))?;
        #[cfg(test)]
        counted::ASKED.set(counted::ASKED.get() + 1);
        let prepare = || {
            #[cfg(test)]
            counted::PREPARED.set(counted::PREPARED.get() + 1);
            self.attributes.value(name).and_then(Seen::json)
        };
        cell.get_or_init(prepare).as_ref()
    }

    /// When it was told, if it ever was.
    pub(super) fn told_at(&self, place: usize) -> Option<i64> {
        self.attributes.0.get(self.names.get(place)?).map(|attribute| attribute.at)
    }
}

/// What tests count instead of measuring it.
#[cfg(test)]
pub(super) mod counted {
    use std::cell::Cell;

    thread_local! {
        /// How often attributes were asked for, in this thread.
        pub(in crate::scoring) static ASKED: Cell<u64> = const { Cell::new(0) };
        /// How often one was prepared.
        pub(in crate::scoring) static PREPARED: Cell<u64> = const { Cell::new(0) };
    }
}
