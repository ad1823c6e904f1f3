//! The reference: a score's value by the sum formula, from the list of all events, without any state carried along.
//!
//! It knows the small family of models that [`Spec`] describes, renders them as JSON for the real thing, and evaluates
//! them by brute force.

use super::*;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value, json};

#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) half_life_days: Option<u8>,
    pub(super) floor: Option<i16>,
    pub(super) cap: Option<i16>,
    pub(super) rules: Vec<RuleSpec>,
    /// Days, points to take, repeated.
    pub(super) inactivity: Vec<(u8, u8, bool)>,
    /// `above` and `leave_below`, without the fraction.
    pub(super) stages: Vec<(i16, Option<i16>)>,
    /// Whether lines and bands are whole numbers, which sums often are exactly, or off them by a fraction.
    pub(super) exact: bool,
    pub(super) tag: Question,
    pub(super) exclude: Option<Question>,
}

/// A kind of event, how many of it, within how many days.
pub(super) type Question = (Kind, CountSpec, Option<u8>);

const BANDS: [(&str, i16); 3] = [("A", 30), ("B", 5), ("C", -10)];

#[derive(Debug, Clone)]
pub(super) struct RuleSpec {
    pub(super) kinds: Vec<Kind>,
    pub(super) include_bots: bool,
    /// Set instead of points.
    pub(super) set: bool,
    pub(super) points: i16,
    pub(super) count: Option<CountSpec>,
    pub(super) within_days: Option<u8>,
    pub(super) limits: Vec<(u8, &'static str)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct CountSpec(pub(super) &'static str, pub(super) u8);

impl CountSpec {
    fn holds(self, count: usize) -> bool {
        let number = usize::from(self.1);
        match self.0 {
            "gt" => count > number,
            "gte" => count >= number,
            "lt" => count < number,
            "lte" => count <= number,
            _ => count == number,
        }
    }
}

const FRACTION: f64 = 0.370_001;

/// A question as a condition.
fn asked((kind, CountSpec(word, number), within): Question) -> Value {
    let mut when = json!({ "event": kind.slug(), "count": { word: number } });
    if let Some(days) = within {
        when["within_days"] = json!(days);
    }
    when
}

fn holds((kind, count, within): Question, events: &[Event], t: i64) -> bool {
    let from = within.map_or(i64::MIN, |days| t - i64::from(days) * DAY);
    let matching = events.iter().filter(|event| {
        event.body.kind == kind && !event.internal && event.body.bot.is_none() && event.at > from && event.at <= t
    });
    count.holds(matching.count())
}

impl RuleSpec {
    /// What is refused, or says the same as less, is left out.
    fn expires_ms(&self) -> Option<i64> {
        self.within_days.filter(|_| self.count.is_none() && !self.set && self.points > 0).map(|d| i64::from(d) * DAY)
    }

    fn json(&self, id: &str) -> Value {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.slug()).collect();
        let mut when = json!({ "event": { "in": kinds } });
        if let Some(CountSpec(word, number)) = self.count {
            when["count"] = json!({ word: number });
        }
        if let Some(days) = self.within_days.filter(|_| self.count.is_some() || self.expires_ms().is_some()) {
            when["within_days"] = json!(days);
        }
        let effect = if self.set { "set" } else { "points" };
        let limits: Vec<Value> = self.limits.iter().map(|(times, per)| json!({ "times": times, "per": per })).collect();
        let mut rule = json!({ "id": id, "when": when, effect: self.points });
        rule["limit"] = json!(limits);
        rule["include_bots"] = json!(self.include_bots);
        rule
    }

    fn matches(&self, event: &Event) -> bool {
        self.kinds.contains(&event.body.kind) && !event.internal && (self.include_bots || event.body.bot.is_none())
    }
}

/// Something that counts, or a `set`.
#[derive(Debug, Clone, Copy)]
struct Entry {
    at: i64,
    points: f64,
    set: bool,
    expires_at: Option<i64>,
}

impl Spec {
    pub(super) fn model(&self) -> Model {
        let stages = self.stages_of("s").into_iter();
        let stages: Vec<Value> = [json!({ "slug": "first" })].into_iter().chain(stages).collect();
        let mut model = json!({ "scores": [self.score("s")], "stages": stages,
            "tags": [{ "slug": "t", "when": asked(self.tag) }], "temperature": { "half_life_days": 3 } });
        if let Some(question) = self.exclude {
            model["exclude"] = asked(question);
        }
        parse(&model)
    }

    /// The score as a model writes it. Its rules are named after it.
    pub(super) fn score(&self, slug: &str) -> Value {
        let rules = self.rules.iter().enumerate().map(|(place, rule)| rule.json(&format!("{slug}{place}")));
        let inactivity = self.inactivity.iter().map(
            |(days, points, repeat)| json!({ "after_days": days, "points": -f64::from(*points), "repeat": repeat }),
        );
        let mut score = json!({ "slug": slug, "rules": rules.collect::<Vec<_>>(), "inactivity": inactivity.collect::<Vec<_>>(),
            "bands": BANDS.map(|(band, from)| (band.to_owned(), json!(self.line(from)))).into_iter().collect::<Map<_, _>>() });
        for (key, value) in
            [("floor", self.floor), ("cap", self.cap), ("half_life_days", self.half_life_days.map(i16::from))]
        {
            if let Some(value) = value {
                score[key] = json!(value);
            }
        }
        score
    }

    /// The stages after the first, as a model writes them, with the score's slug before their place.
    pub(super) fn stages_of(&self, score: &str) -> Vec<Value> {
        let stage = |(place, (above, leave)): (usize, &(i16, Option<i16>))| {
            let mut stage =
                json!({ "slug": format!("{score}{place}"), "when": { "score": score, "above": self.line(*above) } });
            if let Some(leave) = leave {
                stage["leave_below"] = json!(self.line(*leave));
            }
            stage
        };
        self.stages.iter().enumerate().map(stage).collect()
    }

    fn line(&self, whole: i16) -> f64 {
        f64::from(whole) + if self.exact { 0.0 } else { FRACTION }
    }

    fn factor(&self, at: i64, t: i64) -> f64 {
        self.half_life_days.map_or(1.0, |days| libm::exp2(-((t - at).max(0) as f64) / (f64::from(days) * DAY as f64)))
    }

    /// The entries of the first events, in their order.
    fn entries(&self, events: &[Event]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut earned: Vec<Vec<i64>> = vec![Vec::new(); self.rules.len()];
        for (place, event) in events.iter().enumerate() {
            for (rule, earned) in self.rules.iter().zip(&mut earned) {
                if !rule.matches(event) {
                    continue;
                }
                let from = rule.within_days.map_or(i64::MIN, |days| event.at - i64::from(days) * DAY);
                let matching = events[..=place].iter().filter(|other| rule.matches(other) && other.at > from).count();
                let full = |(times, per): &(u8, &str)| {
                    earned.iter().filter(|at| window(**at, per) == window(event.at, per)).count() >= usize::from(*times)
                };
                if rule.count.is_some_and(|count| !count.holds(matching)) || rule.limits.iter().any(full) {
                    continue;
                }
                earned.push(event.at);
                let expires_at = rule.expires_ms().map(|ms| event.at + ms);
                entries.push(Entry { at: event.at, points: f64::from(rule.points), set: rule.set, expires_at });
            }
        }
        entries
    }

    fn sum(&self, entries: &[Entry], t: i64) -> f64 {
        let from = entries.iter().rposition(|entry| entry.set).unwrap_or(0);
        let living = entries[from..].iter().filter(|entry| entry.expires_at.is_none_or(|expires| expires > t));
        living.map(|entry| entry.points * self.factor(entry.at, t)).sum()
    }

    /// The instants after `since` at which silence is noticed, if it lasts, with the points taken, before `until`.
    fn lapses(&self, since: i64, until: i64) -> Vec<(i64, usize, f64)> {
        let mut lapses = Vec::new();
        for (place, (days, points, repeat)) in self.inactivity.iter().enumerate() {
            let after = i64::from(*days) * DAY;
            let most = if *repeat { i64::MAX } else { 1 };
            let instants = (1..=most).map(|n| since + n * after).take_while(|at| *at < until);
            lapses.extend(instants.map(|at| (at, place, -f64::from(*points))));
        }
        lapses
    }

    /// The entries of these events and of inactivity before `until`, in the order of happening.
    fn with_inactivity(&self, events: &[Event], until: i64) -> Vec<Entry> {
        let mut activity: Vec<i64> = events.iter().filter(|event| is_activity(event)).map(|event| event.at).collect();
        if let Some(first) = events.first()
            && activity.first().is_none_or(|active| *active > first.at)
        {
            activity.insert(0, first.at);
        }
        let mut lapses: Vec<_> = activity
            .iter()
            .zip(activity.iter().skip(1).chain([&until]))
            .flat_map(|(since, next)| self.lapses(*since, (*next).min(until)))
            .collect();
        lapses.sort_by_key(|(at, place, _)| (*at, *place));
        let mut earned = self.entries(events).into_iter().peekable();
        let mut entries = Vec::new();
        for (at, _, points) in lapses {
            while let Some(entry) = earned.next_if(|entry| entry.at <= at) {
                entries.push(entry);
            }
            let room = self.sum(&entries, at) - self.floor.map_or(0.0, f64::from);
            // A room of rounding errors is none.
            if room > 1e-9 {
                entries.push(Entry { at, points: points.max(-room), set: false, expires_at: None });
            }
        }
        entries.extend(earned);
        entries
    }

    fn clamped(&self, sum: f64) -> f64 {
        let capped = self.cap.map_or(sum, |cap| sum.min(f64::from(cap)));
        let clamped = self.floor.map_or(capped, |floor| capped.max(f64::from(floor)));
        (clamped * 1e6).round() / 1e6
    }

    /// The value at a time, of all events in order.
    pub(super) fn value(&self, events: &[Event], t: i64) -> f64 {
        self.value_of(events, t, t + 1)
    }

    /// The value at `t` with what inactivity took before `until`.
    fn value_of(&self, events: &[Event], t: i64, until: i64) -> f64 {
        let past = events.partition_point(|event| event.at <= t);
        let mut entries = self.with_inactivity(&events[..past], until);
        let earned_by_past = self.entries(&events[..past]).len();
        entries.extend(self.entries(events).into_iter().skip(earned_by_past));
        self.clamped(self.sum(&entries, t))
    }

    /// The stage at a time.
    pub(super) fn stage(&self, events: &[Event], t: i64) -> String {
        let entered = self.entered(events, t);
        entered.iter().rposition(|entered| *entered).map_or("first".to_owned(), |place| format!("s{place}"))
    }

    /// Which stages are entered at a time: looks at the value after every event, and on both sides of every instant at
    /// which something else than decay happens; last, at what it is with all events that are still to come.
    pub(super) fn entered(&self, events: &[Event], t: i64) -> Vec<bool> {
        // (time, events that have happened, what inactivity took before)
        let mut looks: Vec<(i64, usize, i64)> = Vec::new();
        let happened = |at: i64| events.partition_point(|event| event.at <= at);
        let past = happened(t);
        for (place, event) in events[..past].iter().enumerate() {
            looks.push((event.at, place + 1, event.at));
            if happened(event.at - 1) > 0 {
                looks.push((event.at - 1, happened(event.at - 1), event.at));
            }
        }
        let instants = self
            .with_inactivity(&events[..past], t + 1)
            .into_iter()
            .flat_map(|entry| [Some(entry.at), entry.expires_at]);
        let mut instants: Vec<i64> = instants.flatten().filter(|at| *at <= t).collect();
        if past > 0 {
            instants.push(t);
        }
        for at in instants {
            looks.push((at, happened(at), at + 1));
            if happened(at - 1) > 0 {
                looks.push((at - 1, happened(at - 1), at));
            }
        }
        looks.sort_unstable();
        if past < events.len() {
            looks.push((t, events.len(), t + 1));
        }
        let mut entered = vec![false; self.stages.len()];
        for (at, count, until) in looks {
            let value = self.value_of(&events[..count], at, until);
            for (entered, (above, leave)) in entered.iter_mut().zip(&self.stages) {
                *entered = match (*entered, leave) {
                    (false, _) => value > self.line(*above),
                    (true, Some(leave)) => value >= self.line(*leave),
                    (true, None) => true,
                };
            }
        }
        entered
    }

    pub(super) fn tagged(&self, events: &[Event], t: i64) -> bool {
        holds(self.tag, events, t)
    }

    pub(super) fn excluded(&self, events: &[Event], t: i64) -> bool {
        self.exclude.is_some_and(|question| holds(question, events, t))
    }

    /// The band of a value.
    pub(super) fn band(&self, value: f64) -> Option<String> {
        BANDS.iter().find(|(_, from)| value >= self.line(*from)).map(|(band, _)| (*band).to_owned())
    }

    pub(super) fn temperature(&self, events: &[Event], t: i64) -> &'static str {
        let decayed = |event: &Event| {
            event.body.kind.row().weight * libm::exp2(-((t - event.at).max(0) as f64) / (3.0 * DAY as f64))
        };
        let sum: f64 = events.iter().filter(|event| is_activity(event)).map(decayed).sum();
        let sum = (sum * 1e6).round() / 1e6;
        let levels = [(40.0, "hot"), (20.0, "warm"), (8.0, "normal"), (2.0, "cold")];
        levels.into_iter().find(|(from, _)| sum >= *from).map_or("frozen", |(_, level)| level)
    }
}

fn is_activity(event: &Event) -> bool {
    event.body.kind.row().activity && !event.internal && event.body.bot.is_none()
}

/// A calendar window by its name.
fn window(at: i64, per: &str) -> String {
    let date = Timestamp::from_millisecond(at).unwrap().to_zoned(TimeZone::UTC).date();
    match per {
        "day" => date.to_string(),
        "week" => format!("{:?}", date.iso_week_date().first_of_week().unwrap()),
        "month" => date.first_of_month().to_string(),
        _ => String::new(),
    }
}
