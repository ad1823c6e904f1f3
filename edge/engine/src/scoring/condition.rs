//! Conditions, compiled: over one event, and over a prospect's state.

use super::known::Known;
use super::operator::{Compare, Operator};
use super::subject::{Subject, Text};
use super::window::Times;
use crate::kinds::Kind;
use minicbor::{Decode, Encode};

/// A set of kinds, one bit per kind's place in the table.
pub(super) type KindMask = u64;

/// The bit of a kind.
pub(super) fn kind_bit(kind: Kind) -> KindMask {
    1 << (kind as u32)
}

/// Something that one event does or does not fulfil.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum EventCondition {
    All(Vec<EventCondition>),
    Any(Vec<EventCondition>),
    Not(Box<EventCondition>),
    /// Its kind is one of these: every operator on `event` comes down to this.
    Kind(KindMask),
    /// Its source is one of these, one bit per place in the list of sources.
    Source(u32),
    Text(Text, Operator),
    Utm(String, Operator),
    Property(String, Operator),
    /// `after` (inclusive) and `before` (exclusive), ms since 1970 UTC.
    After(i64),
    Before(i64),
}

impl EventCondition {
    pub(super) fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            EventCondition::All(parts) => parts.iter().all(|part| part.holds(subject)),
            EventCondition::Any(parts) => parts.iter().any(|part| part.holds(subject)),
            EventCondition::Not(part) => !part.holds(subject),
            EventCondition::Kind(mask) => mask & kind_bit(subject.body.kind) != 0,
            EventCondition::Source(mask) => mask & (1 << (subject.body.source as u32)) != 0,
            EventCondition::Text(field, operator) => operator.holds(subject.text(*field)),
            EventCondition::Utm(name, operator) => operator.holds(subject.utm(name)),
            EventCondition::Property(path, operator) => operator.holds(subject.property(path)),
            EventCondition::After(time) => subject.at >= *time,
            EventCondition::Before(time) => subject.at < *time,
        }
    }

    /// How many questions it asks.
    pub(super) fn questions(&self) -> usize {
        self.count(&|_| 1)
    }

    /// How much work it is at most to ask this of an event ([`Operator::steps`]).
    pub(super) fn steps(&self) -> usize {
        self.count(&|operator| operator.map_or(1, Operator::steps))
    }

    /// Sums up what each question counts, by its operator, if it has one.
    fn count(&self, each: &dyn Fn(Option<&Operator>) -> usize) -> usize {
        match self {
            EventCondition::All(parts) | EventCondition::Any(parts) => parts.iter().map(|part| part.count(each)).sum(),
            EventCondition::Not(part) => part.count(each),
            EventCondition::Text(_, operator)
            | EventCondition::Utm(_, operator)
            | EventCondition::Property(_, operator) => each(Some(operator)),
            EventCondition::Kind(_)
            | EventCondition::Source(_)
            | EventCondition::After(_)
            | EventCondition::Before(_) => each(None),
        }
    }

    /// The kinds that could fulfil it: events of others need not be looked at.
    pub(super) fn kinds(&self) -> KindMask {
        match self {
            EventCondition::All(parts) => parts.iter().fold(KindMask::MAX, |mask, part| mask & part.kinds()),
            EventCondition::Any(parts) => parts.iter().fold(0, |mask, part| mask | part.kinds()),
            EventCondition::Kind(mask) => *mask,
            EventCondition::Not(part) => match part.as_ref() {
                EventCondition::Kind(mask) => !mask,
                _ => KindMask::MAX,
            },
            _ => KindMask::MAX,
        }
    }
}

/// `count`: every comparison must hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CountTest(pub(super) Vec<(Compare, u64)>);

impl CountTest {
    /// What `count` omitted means (contract, section 1, row 11).
    pub(super) fn at_least_one() -> CountTest {
        CountTest(vec![(Compare::Gte, 1)])
    }

    pub(super) fn holds(&self, count: u64) -> bool {
        self.0.iter().all(|(compare, number)| compare.holds(count, *number))
    }

    /// A count that does not fulfil it, beside what it would take: `2 of 3`. Over a window no more are told apart than
    /// must be ([`CountTest::memory`]).
    pub(super) fn beside(&self, count: u64, is_windowed: bool) -> Option<String> {
        let (compare, number) = self.0.iter().find(|(compare, number)| !compare.holds(count, *number))?;
        let found = match is_windowed && count >= self.memory() as u64 {
            true => format!("more than {}", count.saturating_sub(1)),
            false => count.to_string(),
        };
        Some(match compare {
            Compare::Gt => format!("{found} of {}", number + 1),
            Compare::Gte | Compare::Equals => format!("{found} of {number}"),
            Compare::Lt => format!("{found} of at most {}", number.saturating_sub(1)),
            Compare::Lte => format!("{found} of at most {number}"),
        })
    }

    /// How many times must be remembered: one more than the highest number, so that "more" can be told from "equal".
    pub(super) fn memory(&self) -> usize {
        let highest = self.0.iter().map(|(_, number)| *number).max().unwrap_or(0);
        usize::try_from(highest).unwrap_or(usize::MAX).saturating_add(1)
    }
}

/// A question about a prospect's events: how many match, ever or inside the days before the time asked about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct History {
    pub(super) test: CountTest,
    pub(super) within_ms: Option<i64>,
}

/// What is remembered for a [`History`].
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub(super) struct Matches {
    #[n(0)]
    count: u64,
    /// The newest matching times, where a window asks for them.
    #[n(1)]
    times: Times,
}

impl Matches {
    pub(super) fn push(&mut self, history: &History, at: i64) {
        self.count += 1;
        if history.within_ms.is_some() {
            let _forgotten = self.times.push(at, history.test.memory());
        }
    }

    pub(super) fn holds(&self, history: &History, t: i64) -> bool {
        history.test.holds(match history.within_ms {
            Some(window) => self.times.within(t, window),
            None => self.count,
        })
    }

    /// The first time after `t` at which it holds or ceases to hold because events leave the window.
    pub(super) fn turns(&self, history: &History, t: i64) -> Option<i64> {
        let window = history.within_ms?;
        let now = self.holds(history, t);
        self.times
            .iter()
            .map(|at| at.saturating_add(window))
            .skip_while(|leaves| *leaves <= t)
            .find(|leaves| self.holds(history, *leaves) != now)
    }
}

/// Something that a prospect's state does or does not fulfil.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum StateCondition {
    All(Vec<StateCondition>),
    Any(Vec<StateCondition>),
    Not(Box<StateCondition>),
    /// By the attribute's place among those that the model asks for.
    Attribute(usize, Operator),
    /// By its place among the model's histories.
    History(usize),
}

/// What state conditions look at.
pub(super) struct StateView<'a> {
    pub(super) known: &'a Known<'a>,
    pub(super) histories: &'a [History],
    pub(super) matches: &'a [Matches],
    /// The time asked about.
    pub(super) t: i64,
}

impl StateCondition {
    /// When the newest of the attributes that it asks was told, of those that there are.
    pub(super) fn newest_told(&self, known: &Known<'_>) -> Option<i64> {
        match self {
            StateCondition::All(parts) | StateCondition::Any(parts) => {
                parts.iter().filter_map(|part| part.newest_told(known)).max()
            }
            StateCondition::Not(part) => part.newest_told(known),
            StateCondition::Attribute(place, _) => known.told_at(*place),
            StateCondition::History(_) => None,
        }
    }

    pub(super) fn holds(&self, view: &StateView<'_>) -> bool {
        match self {
            StateCondition::All(parts) => parts.iter().all(|part| part.holds(view)),
            StateCondition::Any(parts) => parts.iter().any(|part| part.holds(view)),
            StateCondition::Not(part) => !part.holds(view),
            StateCondition::Attribute(place, operator) => operator.holds(view.known.value(*place)),
            StateCondition::History(place) => match (view.histories.get(*place), view.matches.get(*place)) {
                (Some(history), Some(matches)) => matches.holds(history, view.t),
                _ => false,
            },
        }
    }
}
