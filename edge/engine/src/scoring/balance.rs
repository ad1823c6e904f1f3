//! The arithmetic of one behavior score: entries carried forward, limits, expiry, inactivity, stages.

use super::condition::CountTest;
use super::model::{Behavior, Decay, Effect, Inactivity, Limit, Rule};
use super::window::Times;
use minicbor::{Decode, Encode};

/// How many unexpired events of a rule whose points disappear count at most: the newest. Each is kept per prospect.
pub const EXPIRING_MAX: usize = 256;

/// Of a balance that no event has begun.
const UNBEGUN: i64 = i64::MIN;

/// Below this a float tells every millionth apart (from 2^33 on its steps are larger).
const MILLIONTHS_BELOW: f64 = 8e9;

/// Into how many parts a unit is divided where values are shown that come from such a sum: millionths; thousandths and
/// units where it is so large that a float would not tell millionths apart.
pub(super) fn resolution(sum: f64) -> f64 {
    let size = sum.abs();
    if size < MILLIONTHS_BELOW {
        1e6
    } else if size < MILLIONTHS_BELOW * 1e3 {
        1e3
    } else {
        1.0
    }
}

/// A value that comes from a sum, rounded to the decimals that are shown; never `-0`.
pub(super) fn shown(value: f64, sum: f64) -> f64 {
    let resolution = resolution(sum);
    whole(value, resolution) as f64 / resolution
}

/// A value in whole parts of a unit.
pub(super) fn whole(value: f64, resolution: f64) -> i64 {
    (value * resolution).round() as i64
}

/// The smallest time in `(from, until]` at which something holds that, once it holds, goes on holding, and holds at
/// `until`.
pub(super) fn earliest(from: i64, until: i64, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut before, mut after) = (from, until);
    while after.saturating_sub(before) > 1 {
        let middle = before.midpoint(after);
        if holds(middle) { after = middle } else { before = middle }
    }
    after
}

/// A decaying sum, carried forward from entry to entry: `S <- S * 2^(-dt/h) + p`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Encode, Decode)]
pub(super) struct Carry {
    #[n(0)]
    pub(super) sum: f64,
    /// The time of the newest entry.
    #[n(1)]
    pub(super) at: i64,
    /// Points of events dated after the time asked about: worth their face value. Never stored.
    #[cbor(skip)]
    pub(super) held: f64,
}

impl Carry {
    /// What the sum has become at a time, not before its newest entry.
    pub(super) fn value(&self, decay: Decay, t: i64) -> f64 {
        if self.sum == 0.0 { self.held } else { self.sum * decay.factor(self.at, t) + self.held }
    }

    /// Adds an entry. One that is older than the newest has decayed already.
    pub(super) fn add(&mut self, decay: Decay, points: f64, at: i64) {
        if self.sum == 0.0 {
            (self.sum, self.at) = (points, at);
        } else if at >= self.at {
            (self.sum, self.at) = (self.sum * decay.factor(self.at, at) + points, at);
        } else {
            self.sum += points * decay.factor(at, self.at);
        }
    }
}

/// How an event is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// At its own time.
    Own,
    /// It lies after the time asked about: as happening at that time, undecayed.
    Held,
    /// The same, for a bound on what the sum can ever be: what it earns as at its own time, what it costs as at this
    /// time.
    Bound(i64),
}

/// What happens to a score, for whoever explains it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Note {
    /// A rule, by its place, gave points.
    Points(usize, f64),
    /// A rule matched and would have given points, but for one of its limits, by its place.
    Limited(usize, f64, usize),
    /// A rule matched for the so-manieth time, at which its `count` does not hold.
    Counted(usize, u64),
    /// A rule set the score: everything before is discarded.
    Set(usize, f64),
    /// An attribute told the score, or that there is none any more: everything before is discarded.
    Told(Option<f64>),
    /// Points taken for inactivity at a time.
    Inactivity(i64, f64),
    /// The oldest points of this rule disappeared.
    Expired(usize),
    /// The oldest points of this rule, of this time, had to make room for newer ones before their time.
    Crowded(usize, i64),
}

/// The state of one score.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub(super) struct Balance {
    /// All entries but the expiring ones.
    #[n(0)]
    pub(super) carry: Carry,
    /// Of the rules that need one, in their order.
    #[n(1)]
    memories: Vec<Memory>,
    /// Per stage that depends on this score: when it was entered, if it is.
    #[n(2)]
    pub(super) entered: Vec<Option<i64>>,
    /// Everything that happens without an event, up to this time inclusive, has happened.
    #[n(3)]
    settled: i64,
}

/// What a rule remembers.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Memory {
    /// Per limit: the newest window, and how often it was used.
    #[n(0)]
    limits: Vec<Used>,
    /// How many events matched.
    #[n(1)]
    count: u64,
    /// The times of the newest matching events: for `count` over a window, or those whose points will disappear.
    #[n(2)]
    times: Times,
    /// The points that will disappear.
    #[n(3)]
    expiring: Carry,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Encode, Decode)]
struct Used {
    #[n(0)]
    window: i64,
    #[n(1)]
    times: u32,
}

impl Memory {
    fn new(rule: &Rule) -> Memory {
        Memory { limits: vec![Used::default(); rule.limits.len()], ..Memory::default() }
    }

    /// Notes a matching event, and says how many there are that the rule's `count` asks for.
    fn count(&mut self, test: &CountTest, window_ms: Option<i64>, at: i64) -> u64 {
        self.count += 1;
        match window_ms {
            None => self.count,
            Some(window) => {
                let _forgotten = self.times.push(at, test.memory());
                self.times.within(at, window)
            }
        }
    }

    /// Uses every limit; or none if one of them has no room, which is returned by its place.
    fn use_limits(&mut self, limits: &[Limit], at: i64) -> Option<usize> {
        let current: Vec<Used> = limits
            .iter()
            .zip(&self.limits)
            .map(|(limit, used)| {
                let window = limit.per.window(at);
                Used { window, times: if used.window == window { used.times } else { 0 } }
            })
            .collect();
        let used_up = limits.iter().zip(&current).position(|(limit, used)| used.times >= limit.times);
        if used_up.is_none() {
            self.limits = current.into_iter().map(|used| Used { times: used.times + 1, ..used }).collect();
        }
        used_up
    }

    /// Adds points that will disappear.
    fn expire_later(&mut self, decay: Decay, points: f64, at: i64, note: &mut dyn FnMut(Note), rule: usize) {
        self.expiring.add(decay, points, at);
        if let Some(oldest) = self.times.push(at, EXPIRING_MAX) {
            self.expiring.add(decay, -points, oldest);
            note(Note::Crowded(rule, oldest));
        }
    }

    /// Takes back the points of events that are `window` old at `t`.
    fn expire(&mut self, decay: Decay, points: f64, window: i64, t: i64, mut expired: impl FnMut()) {
        while let Some(oldest) = self.times.oldest().filter(|at| at.saturating_add(window) <= t) {
            let _oldest = self.times.take_oldest();
            let gone = oldest.saturating_add(window);
            self.expiring.add(decay, -points * decay.factor(oldest, gone), gone);
            expired();
        }
        // What is left of an empty sum is rounding.
        if self.times.is_empty() {
            self.expiring.sum = 0.0;
        }
    }
}

impl Balance {
    pub(super) fn new(behavior: &Behavior) -> Balance {
        let remembering = behavior.rules.iter().filter(|rule| rule.memory.is_some());
        Balance {
            carry: Carry::default(),
            memories: remembering.map(Memory::new).collect(),
            entered: vec![None; behavior.stages.len()],
            settled: UNBEGUN,
        }
    }

    /// The prospect's first event is at this time: before it nothing was.
    pub(super) fn begin(&mut self, at: i64) {
        self.settled = at.saturating_sub(1);
    }

    /// The sum of all entries at a time, before floor and cap.
    pub(super) fn sum(&self, behavior: &Behavior, t: i64) -> f64 {
        self.memories
            .iter()
            .fold(self.carry.value(behavior.decay, t), |sum, memory| sum + memory.expiring.value(behavior.decay, t))
    }

    /// The value as shown.
    pub(super) fn value(&self, behavior: &Behavior, t: i64) -> f64 {
        let sum = self.sum(behavior, t);
        shown(behavior.clamp.apply(sum), sum)
    }

    /// The times of all entries' sums, for whoever needs the newest.
    pub(super) fn newest_entry(&self) -> i64 {
        self.memories
            .iter()
            .map(|memory| memory.expiring)
            .chain([self.carry])
            .filter(|carry| carry.sum != 0.0)
            .map(|carry| carry.at)
            .max()
            .unwrap_or_default()
    }

    /// Makes happen what happens without an event before `until`, or up to it if `inclusive`. `silent_since`: the
    /// last activity, else the first event.
    pub(super) fn advance(
        &mut self,
        behavior: &Behavior,
        silent_since: Option<i64>,
        until: i64,
        inclusive: bool,
        note: &mut dyn FnMut(Note),
    ) {
        let last = if inclusive { until } else { until.saturating_sub(1) };
        while let Some(next) = self.next_change(behavior, silent_since).filter(|next| *next <= last) {
            self.settle(behavior, next.saturating_sub(1));
            self.expire(behavior, next, note);
            self.lapse(behavior, silent_since, next, note);
            self.enter_and_leave(behavior, next);
            self.settled = next;
        }
        self.settle(behavior, last);
        if !inclusive {
            // Points expire before the events of their millisecond: no stage is left between the two.
            self.expire(behavior, until, note);
        }
    }

    /// Crosses the stages' lines by decay alone, up to a time.
    fn settle(&mut self, behavior: &Behavior, t: i64) {
        if t > self.settled && self.settled != UNBEGUN {
            self.enter_and_leave(behavior, t);
            self.settled = t;
        }
    }

    /// The next time at which something other than decay happens without an event.
    pub(super) fn next_change(&self, behavior: &Behavior, silent_since: Option<i64>) -> Option<i64> {
        let expiry = expiring_rules(behavior).filter_map(|(_, rule, _, window)| {
            Some(self.memories.get(rule.memory?)?.times.oldest()?.saturating_add(window))
        });
        expiry.chain(self.next_inactivity(behavior, silent_since)).min()
    }

    /// The next time at which an inactivity entry may be made. None where none can ever be: at the floor.
    pub(super) fn next_inactivity(&self, behavior: &Behavior, silent_since: Option<i64>) -> Option<i64> {
        let since = silent_since?;
        let bound = inactivity_bound(behavior);
        let next = behavior.inactivity.iter().filter_map(|entry| self.next_lapse(entry, since)).min()?;
        // Without an event, a sum can only rise towards 0, and only by decay.
        let can_rise = bound < 0.0 && behavior.decay.half_life_ms.is_some();
        (can_rise || self.sum(behavior, next) > bound).then_some(next)
    }

    fn next_lapse(&self, entry: &Inactivity, since: i64) -> Option<i64> {
        let elapsed = self.settled.saturating_sub(since).max(0) / entry.after_ms;
        if elapsed > 0 && !entry.repeat {
            return None;
        }
        Some(since.saturating_add(entry.after_ms.saturating_mul(elapsed.saturating_add(1))))
    }

    /// Makes the inactivity entries of a time. They never take the sum below the floor, or below 0 if there is none.
    fn lapse(&mut self, behavior: &Behavior, silent_since: Option<i64>, t: i64, note: &mut dyn FnMut(Note)) {
        let Some(since) = silent_since else { return };
        for entry in &behavior.inactivity {
            if self.next_lapse(entry, since) != Some(t) {
                continue;
            }
            let room = self.sum(behavior, t) - inactivity_bound(behavior);
            if room <= 0.0 {
                continue;
            }
            let points = entry.points.max(-room);
            self.carry.add(behavior.decay, points, t);
            if points == -room {
                // Exactly at the bound, whatever was rounded: or there would be a next entry for the rest.
                let expiring = self.sum(behavior, t) - self.carry.value(behavior.decay, t);
                self.carry.sum = inactivity_bound(behavior) - expiring;
            }
            note(Note::Inactivity(t, points));
        }
    }

    fn expire(&mut self, behavior: &Behavior, t: i64, note: &mut dyn FnMut(Note)) {
        for (place, rule, points, window) in expiring_rules(behavior) {
            if let Some(memory) = rule.memory.and_then(|memory| self.memories.get_mut(memory)) {
                memory.expire(behavior.decay, points, window, t, || note(Note::Expired(place)));
            }
        }
    }

    /// Applies the rules that an event matches, in order.
    pub(super) fn apply<'r>(
        &mut self,
        behavior: &Behavior,
        rules: impl Iterator<Item = (usize, &'r Rule)>,
        at: i64,
        timing: Timing,
        note: &mut dyn FnMut(Note),
    ) {
        for (place, rule) in rules {
            self.apply_rule(behavior, place, rule, at, timing, note);
        }
        if timing == Timing::Own {
            self.enter_and_leave(behavior, at);
        }
    }

    /// Takes over what an attribute says of the score.
    pub(super) fn tell(
        &mut self,
        behavior: &Behavior,
        told: Option<f64>,
        at: i64,
        timing: Timing,
        note: &mut dyn FnMut(Note),
    ) {
        self.discard(behavior);
        if let Some(value) = told {
            self.enter(behavior.decay, value, at, timing);
        }
        note(Note::Told(told));
        if timing == Timing::Own {
            self.enter_and_leave(behavior, at);
        }
    }

    fn apply_rule(
        &mut self,
        behavior: &Behavior,
        place: usize,
        rule: &Rule,
        at: i64,
        timing: Timing,
        note: &mut dyn FnMut(Note),
    ) {
        let decay = behavior.decay;
        let mut memory = rule.memory.and_then(|memory| self.memories.get_mut(memory));
        if let (Some((test, window)), Some(memory)) = (&rule.count, &mut memory) {
            let count = memory.count(test, *window, at);
            if !test.holds(count) {
                note(Note::Counted(place, count));
                return;
            }
        }
        if let Some(limit) = memory.as_mut().and_then(|memory| memory.use_limits(&rule.limits, at)) {
            note(Note::Limited(place, rule.effect.value(), limit));
            return;
        }
        match (rule.effect, memory) {
            (Effect::Expiring(points, _), Some(memory)) if timing == Timing::Own => {
                note(Note::Points(place, points));
                memory.expire_later(decay, points, at, note, place);
            }
            (Effect::Points(points) | Effect::Expiring(points, _), _) => {
                self.enter(decay, points, at, timing);
                note(Note::Points(place, points));
            }
            (Effect::Set(value), _) => {
                self.discard(behavior);
                self.enter(decay, value, at, timing);
                note(Note::Set(place, value));
            }
        }
    }

    /// Removes all entries. Counts and limits stay (contract, section 1, row 3).
    pub(super) fn discard(&mut self, behavior: &Behavior) {
        self.carry = Carry::default();
        for (_, rule, _, _) in expiring_rules(behavior) {
            if let Some(memory) = rule.memory.and_then(|memory| self.memories.get_mut(memory)) {
                memory.times.clear();
                memory.expiring = Carry::default();
            }
        }
    }

    fn enter(&mut self, decay: Decay, points: f64, at: i64, timing: Timing) {
        match timing {
            Timing::Held => self.carry.held += points,
            Timing::Bound(now) if points.is_sign_negative() => self.carry.add(decay, points, now),
            Timing::Own | Timing::Bound(_) => self.carry.add(decay, points, at),
        }
    }

    /// Enters and leaves stages by the value at a time, which has been on its way there since `settled`.
    pub(super) fn enter_and_leave(&mut self, behavior: &Behavior, t: i64) {
        if behavior.stages.is_empty() {
            return;
        }
        let value = self.value(behavior, t);
        for (place, line) in behavior.stages.iter().enumerate() {
            let entered = self.entered.get(place).copied().flatten();
            if !line.turns(entered.is_some(), value) {
                continue;
            }
            let turned = match entered {
                None => Some(earliest(self.settled, t, |t| line.turns(false, self.value(behavior, t)))),
                Some(_) => None,
            };
            if let Some(slot) = self.entered.get_mut(place) {
                *slot = turned;
            }
        }
    }

    /// Which stages are entered or left at a value, by whether they are entered now.
    pub(super) fn stages_turning(&self, behavior: &Behavior, value: f64) -> Vec<bool> {
        let lines = behavior.stages.iter().zip(&self.entered);
        lines.map(|(line, entered)| line.turns(entered.is_some(), value)).collect()
    }
}

/// Where inactivity stops: the floor, else 0.
fn inactivity_bound(behavior: &Behavior) -> f64 {
    behavior.clamp.floor.unwrap_or(0.0)
}

/// Rules whose points disappear: their place, themselves, the points and the ms.
fn expiring_rules(behavior: &Behavior) -> impl Iterator<Item = (usize, &Rule, f64, i64)> {
    behavior.rules.iter().enumerate().filter_map(|(place, rule)| match rule.effect {
        Effect::Expiring(points, window) => Some((place, rule, points, window)),
        Effect::Points(_) | Effect::Set(_) => None,
    })
}
