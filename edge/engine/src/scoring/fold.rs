//! The state of one prospect under one model, event by event.

use super::Occurrence;
use super::ahead::{Ahead, Beyond};
use super::balance::{Balance, Carry, Note, Timing};
use super::condition::{Matches, StateView};
use super::known::Known;
use super::model::{Behavior, Model, Rule, Target};
use super::outside::score_of;
use super::subject::Subject;
use crate::attributes;
use crate::key::KeyHash;
use minicbor::{Decode, Encode};

/// A session ends after this long without activity of its browser (contract, section 2, row 35).
const SESSION_GAP_MS: i64 = 30 * 60_000;
/// Of how many browsers the newest activity is kept, the most recent ones: 64 browsers may claim one key (DESIGN 4).
/// Where a person has more, one that comes back after 64 others begins a new session.
const BROWSERS_MAX: usize = 64;
/// How many events dated after `now` are kept one by one until their time comes: the earliest. A device whose clock is wrong
/// by years may have more: see [`Beyond`].
const LATER_MAX: usize = 256;
/// And how many bytes they may take as they are stored: with what rules and tags remember (`TIMES_MAX`, `CONDITIONS_MAX`)
/// and with all attributes, a person stays below the 2 MB of a row (limit of SQLite in a Durable Object).
const LATER_BYTES_MAX: usize = 128 * 1024;

/// The state of one prospect under one model: what scores, tags, temperature and stages are read from.
///
/// Its size is bounded, whatever the number of events: see the limits of `count` and of rules whose points
/// disappear. It means something only with the model that it was folded under.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Fold {
    #[n(0)]
    events: u64,
    #[n(1)]
    newest: Option<Place>,
    #[n(2)]
    state: Option<State>,
    /// Events dated after the `now` of the newest push, in order.
    #[n(3)]
    later: Vec<Matched>,
    /// Those that come after all of these, if there is no room for more.
    #[cbor(n(4), default)]
    beyond: Option<Beyond>,
}

/// An event's place in the order of folding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(super) struct Place {
    #[n(0)]
    at: i64,
    #[n(1)]
    id: String,
    #[n(2)]
    rec: KeyHash,
}

impl Place {
    pub(super) fn order(&self) -> (i64, &str, KeyHash) {
        (self.at, self.id.as_str(), self.rec)
    }
}

/// What an event comes down to under a model.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Matched {
    #[n(0)]
    place: Place,
    #[n(1)]
    browser: bool,
    /// The weight in the temperature, if it is activity.
    #[n(2)]
    activity: Option<f64>,
    /// The matchers that it fulfils, in order.
    #[n(3)]
    hits: Vec<u16>,
    /// What it says of attributes whose numbers are scores; nothing, where it says that one is no number, or one
    /// that no score can have.
    #[cbor(n(4), default)]
    told: Vec<(String, Option<f64>)>,
}

impl Matched {
    pub(super) fn new(model: &Model, o: &Occurrence<'_>) -> Matched {
        let bot = o.body.bot.is_some();
        let activity = o.body.kind.row().activity && !bot && !o.internal;
        let (mut hits, mut told) = (Vec::new(), Vec::new());
        // Bot and internal events match nothing, but for rules that ask for bots.
        if !o.internal {
            let subject = Subject::new(o.at, o.body);
            let candidates = model.by_kind.get(o.body.kind as usize).map_or(&[][..], Vec::as_slice);
            hits.extend(candidates.iter().copied().filter(|place| {
                let matcher = model.matchers.get(usize::from(*place));
                matcher.is_some_and(|m| (m.include_bots || !bot) && m.condition.holds(&subject))
            }));
            if attributes::tells(o.body) && model.attributes_scored().next().is_some() {
                let asked = |name: &String| model.attributes_scored().any(|asked| asked == name);
                told.extend(attributes::told(o.body).into_iter().filter(|(name, _)| asked(name)));
            }
        }
        let told = told.into_iter().map(|(name, value)| (name, score_of(&value))).collect();
        Matched {
            place: Place { at: o.at, id: o.id.to_owned(), rec: o.rec },
            browser: o.browser,
            activity: activity.then(|| model.temperature.weight(o.body.kind)),
            hits,
            told,
        }
    }

    pub(super) fn at(&self) -> i64 {
        self.place.at
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// How many bytes it takes as it is stored, at most.
    pub(super) fn bytes(&self) -> usize {
        const FIXED: usize = 64;
        const HIT: usize = 3;
        const TOLD: usize = 16;
        let told: usize = self.told.iter().map(|(name, _)| name.len() + TOLD).sum();
        FIXED + self.place.id.len() + HIT * self.hits.len() + told
    }

    /// The weight in the temperature, if it is activity.
    pub(super) fn activity(&self) -> Option<f64> {
        self.activity
    }

    /// Whether it matches a rule of this score.
    fn concerns(&self, behavior: &Behavior) -> bool {
        self.hits.iter().any(|hit| behavior.matchers.contains(hit))
    }

    /// What it says of this score, if that comes from outside and it says anything of it.
    fn told(&self, behavior: &Behavior) -> Option<Option<f64>> {
        let attribute = behavior.attribute.as_ref()?;
        self.told.iter().rev().find(|(name, _)| name == attribute).map(|(_, value)| *value)
    }

    /// The rules of this score that it matches, in order, each with its place.
    pub(super) fn rules<'r>(
        &self,
        model: &'r Model,
        behavior: &'r Behavior,
    ) -> impl Iterator<Item = (usize, &'r Rule)> {
        let hits = self.hits.iter().filter(|hit| behavior.matchers.contains(hit));
        hits.filter_map(|hit| match model.matchers.get(usize::from(*hit))?.target {
            Target::Rule(place) => Some((place, behavior.rules.get(place)?)),
            Target::History(_) => None,
        })
    }
}

/// Everything that events up to some time have made.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct State {
    #[n(0)]
    first_at: Option<i64>,
    #[n(1)]
    last_active_at: Option<i64>,
    #[n(2)]
    pub(super) warmth: Carry,
    /// Of the scores that events make, in their order.
    #[n(3)]
    pub(super) balances: Vec<Balance>,
    #[n(4)]
    pub(super) matches: Vec<Matches>,
    #[n(5)]
    pub(super) sessions: Sessions,
}

/// Runs of browser activity of one visitor with gaps of at most [`SESSION_GAP_MS`].
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub(super) struct Sessions {
    #[n(0)]
    count: u64,
    /// The newest activity per browser, the most recent last.
    #[n(1)]
    browsers: Vec<(KeyHash, i64)>,
}

impl Sessions {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn visit(&mut self, event: &Matched) {
        if !event.browser || event.activity.is_none() {
            return;
        }
        let (at, rec) = (event.place.at, event.place.rec);
        let known = self.browsers.iter().position(|(known, _)| *known == rec);
        let last = known.map(|place| self.browsers.remove(place).1);
        if last.is_none_or(|last| at.saturating_sub(last) > SESSION_GAP_MS) {
            self.count += 1;
        }
        self.browsers.push((rec, at));
        if self.browsers.len() > BROWSERS_MAX {
            let _longest_silent = self.browsers.remove(0);
        }
    }
}

impl Balance {
    /// Applies events that lie after the time that this balance has been advanced to.
    pub(super) fn hold(
        &mut self,
        model: &Model,
        behavior: &Behavior,
        future: &[Matched],
        timing: Timing,
        note: &mut dyn FnMut(Note),
    ) {
        for event in future {
            self.apply(behavior, event.rules(model, behavior), event.at(), timing, note);
            if let Some(told) = event.told(behavior) {
                self.tell(behavior, told, event.at(), timing, note);
            }
        }
    }
}

/// Tells what happens to the score of a place.
pub(super) type Notes<'n> = &'n mut dyn FnMut(usize, Note);

impl State {
    pub(super) fn new(model: &Model) -> State {
        State {
            first_at: None,
            last_active_at: None,
            warmth: Carry::default(),
            balances: model.behaviors().map(|(_, behavior)| Balance::new(behavior)).collect(),
            matches: model.histories.iter().map(|_| Matches::default()).collect(),
            sessions: Sessions::default(),
        }
    }

    /// From when inactivity counts: the last activity, else the first event.
    pub(super) fn silent_since(&self) -> Option<i64> {
        self.last_active_at.or(self.first_at)
    }

    /// Applies an event that is not before any applied one.
    pub(super) fn apply(&mut self, model: &Model, event: &Matched, notes: Notes<'_>) {
        let at = event.place.at;
        if self.first_at.is_none() {
            self.first_at = Some(at);
            self.balances.iter_mut().for_each(|balance| balance.begin(at));
        }
        let silent_since = self.silent_since();
        for ((score, behavior), balance) in model.behaviors().zip(&mut self.balances) {
            let resets_silence = event.activity.is_some() && !behavior.inactivity.is_empty();
            let note = &mut |note| notes(score, note);
            if event.concerns(behavior) || resets_silence {
                balance.advance(behavior, silent_since, at, false, note);
                balance.apply(behavior, event.rules(model, behavior), at, Timing::Own, note);
            } else if let Some(told) = event.told(behavior) {
                balance.advance(behavior, silent_since, at, false, note);
                balance.tell(behavior, told, at, Timing::Own, note);
            }
        }
        self.remember(model, event);
    }

    /// Takes events that lie after `now`, which this state has been advanced to, as happening then.
    pub(super) fn hold(&mut self, model: &Model, future: &[Matched], now: i64, notes: Notes<'_>) {
        self.hold_all(model, Ahead::of(future), now, notes);
    }

    /// The same with all that lies ahead.
    pub(super) fn hold_all(&mut self, model: &Model, ahead: Ahead<'_>, now: i64, notes: Notes<'_>) {
        if self.first_at.is_none() {
            self.balances.iter_mut().for_each(|balance| balance.begin(now));
        }
        for (place, ((score, behavior), balance)) in model.behaviors().zip(&mut self.balances).enumerate() {
            ahead.happen(model, (place, behavior), balance, Timing::Held, &mut |note| notes(score, note));
            balance.enter_and_leave(behavior, now);
        }
        self.warmth.held += ahead.activity();
    }

    /// What of an event is no score.
    fn remember(&mut self, model: &Model, event: &Matched) {
        let at = event.place.at;
        for matcher in event.hits.iter().filter_map(|hit| model.matchers.get(usize::from(*hit))) {
            if let Target::History(place) = matcher.target
                && let (Some(matches), Some(history)) = (self.matches.get_mut(place), model.histories.get(place))
            {
                matches.push(history, at);
            }
        }
        if let Some(weight) = event.activity {
            self.warmth.add(model.temperature.decay, weight, at);
            self.last_active_at = Some(at);
        }
        self.sessions.visit(event);
    }

    /// Makes happen what happens without an event up to `now`.
    pub(super) fn advance(&mut self, model: &Model, now: i64, notes: Notes<'_>) {
        let silent_since = self.silent_since();
        for ((score, behavior), balance) in model.behaviors().zip(&mut self.balances) {
            balance.advance(behavior, silent_since, now, true, &mut |note| notes(score, note));
        }
    }

    /// What state conditions look at.
    pub(super) fn view<'v>(&'v self, model: &'v Model, known: &'v Known<'v>, t: i64) -> StateView<'v> {
        StateView { known, histories: &model.histories, matches: &self.matches, t }
    }
}

impl Fold {
    /// The newest event that is folded in for good, by `(at, id, rec)`. Events dated after `now` are not: others may
    /// still come before them.
    #[must_use]
    pub fn newest(&self) -> Option<(i64, &str, KeyHash)> {
        self.newest.as_ref().map(Place::order)
    }

    /// Whether an event that is dated after `now` is known already, and waits for its time.
    #[must_use]
    pub fn awaits(&self, (at, id, rec): (i64, &str, KeyHash)) -> bool {
        self.later.iter().any(|event| event.place.order() == (at, id, rec))
    }

    /// The last event of all, those included that are dated after `now`.
    #[must_use]
    pub fn last(&self) -> Option<(i64, &str, KeyHash)> {
        let ahead = self.beyond.as_ref().map(|beyond| &beyond.last).or(self.later.last().map(Matched::place));
        ahead.or(self.newest.as_ref()).map(Place::order)
    }

    /// Whether an event of this place can be folded in by [`Fold::push`]. When it can not, the caller folds all events anew,
    /// in order, from [`Fold::default`].
    #[must_use]
    pub fn takes(&self, place: (i64, &str, KeyHash)) -> bool {
        self.newest().is_none_or(|newest| newest < place)
            && self.beyond.as_ref().is_none_or(|beyond| beyond.takes(place))
    }

    /// Until when it tells what is: from then on, all events have to be folded anew. `None` if it always does.
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        self.beyond.as_ref().map(|beyond| beyond.from)
    }

    /// Folds in one event that it [takes](Fold::takes).
    ///
    /// `now` decides which events are still to come, and is before [`Fold::ends`]. It makes no difference to what is read
    /// at a later time.
    pub fn push(&mut self, model: &Model, o: &Occurrence<'_>, now: i64) {
        self.push_keeping(LATER_MAX, model, o, now);
    }

    /// The same, where at most so many events are kept one by one.
    pub(super) fn push_keeping(&mut self, most: usize, model: &Model, o: &Occurrence<'_>, now: i64) {
        self.events += 1;
        let event = Matched::new(model, o);
        if let Some(beyond) = &mut self.beyond {
            beyond.take(model, &event);
        } else if self.later.is_empty() && event.place.at <= now {
            self.absorb(model, event);
        } else {
            let place = self.later.partition_point(|other| other.place <= event.place);
            self.later.insert(place, event);
        }
        let due = self.later.partition_point(|event| event.place.at <= now);
        let due: Vec<Matched> = self.later.drain(..due).collect();
        due.into_iter().for_each(|event| self.absorb(model, event));
        let crowded_out = self.later.split_off(self.room(most));
        for event in &crowded_out {
            match &mut self.beyond {
                Some(beyond) => beyond.take(model, event),
                None => {
                    let state = self.state.clone().unwrap_or_else(|| State::new(model));
                    self.beyond = Some(Beyond::begin(model, state, &self.later, event));
                }
            }
        }
    }

    /// For how many of the events that are still to come there is room: the earliest, at most so many.
    fn room(&self, most: usize) -> usize {
        let mut bytes = 0;
        let fits = |event: &&Matched| {
            bytes += event.bytes();
            bytes <= LATER_BYTES_MAX
        };
        self.later.iter().take(most).take_while(fits).count()
    }

    fn absorb(&mut self, model: &Model, event: Matched) {
        self.state.get_or_insert_with(|| State::new(model)).apply(model, &event, &mut |_, _| {});
        self.newest = Some(event.place);
    }

    /// The state at a time, and what is still to come then.
    pub(super) fn at(&self, model: &Model, now: i64) -> (State, Ahead<'_>) {
        let mut state = self.state.clone().unwrap_or_else(|| State::new(model));
        let (past, kept) = self.later.split_at(self.later.partition_point(|event| event.place.at <= now));
        past.iter().for_each(|event| state.apply(model, event, &mut |_, _| {}));
        state.advance(model, now, &mut |_, _| {});
        (state, Ahead { kept, beyond: self.beyond.as_ref() })
    }

    /// How many events there are, bots' included.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Runs of browser activity of one visitor with gaps of at most 30 minutes.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        if let Some(beyond) = &self.beyond {
            return beyond.sessions;
        }
        let Some(state) = &self.state else { return self.sessions_after(Sessions::default()) };
        if self.later.is_empty() { state.sessions.count } else { self.sessions_after(state.sessions.clone()) }
    }

    fn sessions_after(&self, mut sessions: Sessions) -> u64 {
        self.later.iter().for_each(|event| sessions.visit(event));
        sessions.count
    }

    /// When the earliest event happened, ms since 1970 UTC.
    #[must_use]
    pub fn created_at(&self) -> Option<i64> {
        let first = self.state.as_ref().and_then(|state| state.first_at);
        let ahead = || self.later.first().map(Matched::at).or(self.ends());
        first.or_else(ahead)
    }

    /// When the newest activity happened, ms since 1970 UTC: no bot's, no internal person's, no delivery.
    #[must_use]
    pub fn last_active_at(&self) -> Option<i64> {
        let beyond = self.beyond.as_ref().and_then(|beyond| beyond.last_active_at);
        let later = || self.later.iter().rev().find(|event| event.activity.is_some()).map(Matched::at);
        beyond.or_else(later).or(self.state.as_ref().and_then(|state| state.last_active_at))
    }
}
