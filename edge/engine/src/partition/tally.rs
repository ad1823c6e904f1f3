//! What a backtest counts: both models side by side, in a form that adds up over partitions and needs no more room for more
//! people.

use crate::scoring::{ScoreValue, Standing};
use minicbor::{Decode, Encode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Something under the published model, and under the draft.
type Pair = [u64; 2];

/// Everybody under two models at one time.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Tally {
    /// How many people there are.
    #[n(0)]
    pub people: u64,
    /// How many would be shown otherwise.
    #[n(1)]
    pub changed: u64,
    /// How many events were read.
    #[n(2)]
    pub events: u64,
    #[n(3)]
    excluded: Pair,
    #[n(4)]
    scores: BTreeMap<String, [Distribution; 2]>,
    /// How many stand at each stage.
    #[n(5)]
    stages: BTreeMap<String, Pair>,
    /// How many cross each stage: in, out.
    #[n(6)]
    crossed: BTreeMap<String, Pair>,
    #[n(7)]
    temperatures: BTreeMap<String, Pair>,
    #[n(8)]
    tags: BTreeMap<String, Pair>,
    #[n(9)]
    bands: BTreeMap<String, BTreeMap<String, Pair>>,
}

/// How the values of one score are distributed.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Distribution {
    #[n(0)]
    people: u64,
    /// In millionths: adding up in any order gives the same.
    #[n(1)]
    sum: i64,
    #[n(2)]
    least: Option<f64>,
    #[n(3)]
    most: Option<f64>,
    #[n(4)]
    bins: BTreeMap<i64, u64>,
}

/// The bin of a value: 0 of zero, then one each up to 1, 2, 5, 10, 20, 50, …; negative ones below. The upper end is
/// outside.
fn bin(value: f64) -> i64 {
    let magnitude = value.abs();
    let bin = if magnitude == 0.0 { 0 } else { 1 + (0..).find(|step| magnitude < line(*step)).unwrap_or_default() };
    if value < 0.0 { -bin } else { bin }
}

/// 1, 2, 5, 10, 20, 50, …
fn line(step: i64) -> f64 {
    let mantissa = match step.rem_euclid(3) {
        0 => 1.0,
        1 => 2.0,
        _ => 5.0,
    };
    (0..step.div_euclid(3)).fold(mantissa, |line, _| line * 10.0)
}

/// The ends of a bin, the lower one first.
fn ends(bin: i64) -> (f64, f64) {
    let near = |bin: i64| if bin < 2 { 0.0 } else { line(bin - 2) };
    let far = |bin: i64| if bin < 1 { 0.0 } else { line(bin - 1) };
    if bin < 0 { (-far(-bin), -near(-bin)) } else { (near(bin), far(bin)) }
}

impl Distribution {
    #[allow(clippy::cast_possible_truncation)] // Values are at most 10^9: see the limits of models.
    fn add(&mut self, value: f64) {
        self.people += 1;
        self.sum = self.sum.saturating_add(libm::round(value * 1e6) as i64);
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.most = Some(self.most.map_or(value, |most| most.max(value)));
        *self.bins.entry(bin(value)).or_default() += 1;
    }

    fn merge(&mut self, other: Distribution) {
        self.people += other.people;
        self.sum = self.sum.saturating_add(other.sum);
        self.least = [self.least, other.least].into_iter().flatten().reduce(f64::min);
        self.most = [self.most, other.most].into_iter().flatten().reduce(f64::max);
        for (bin, people) in other.bins {
            *self.bins.entry(bin).or_default() += people;
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn document(&self) -> Value {
        let bins = self.bins.iter().map(|(bin, people)| {
            let (from, to) = ends(*bin);
            json!({ "from": from, "to": to, "people": people })
        });
        let mean = (self.people > 0).then(|| libm::round(self.sum as f64 / self.people as f64) / 1e6);
        json!({ "people": self.people, "min": self.least, "mean": mean, "max": self.most, "bins": bins.collect::<Vec<_>>() })
    }
}

fn side(pair: &mut Pair, side: usize) {
    if let Some(count) = pair.get_mut(side) {
        *count += 1;
    }
}

/// The stages that somebody has crossed into and not out of.
pub(super) fn entered(standing: &Standing) -> impl Iterator<Item = &str> {
    standing.stages_entered.iter().map(|(stage, _)| stage.as_str())
}

impl Tally {
    /// Counts one person under both models.
    pub(crate) fn add(&mut self, before: &Standing, after: &Standing, events: u64) {
        self.people += 1;
        self.events += events;
        self.changed += u64::from(differ(before, after));
        for (place, standing) in [before, after].into_iter().enumerate() {
            if standing.excluded.is_some() {
                side(&mut self.excluded, place);
            }
            for (slug, ScoreValue { value, band }) in &standing.scores {
                let both = self.scores.entry(slug.clone()).or_default();
                if let (Some(distribution), Some(value)) = (both.get_mut(place), value) {
                    distribution.add(*value);
                }
                if let Some(band) = band {
                    side(self.bands.entry(slug.clone()).or_default().entry(band.clone()).or_default(), place);
                }
            }
            if let Some(stage) = &standing.stage {
                side(self.stages.entry(stage.clone()).or_default(), place);
            }
            side(self.temperatures.entry(standing.temperature.to_owned()).or_default(), place);
            for tag in &standing.tags {
                side(self.tags.entry(tag.clone()).or_default(), place);
            }
        }
        for (way, stage) in crossings(before, after) {
            side(self.crossed.entry(stage.to_owned()).or_default(), usize::from(way == Way::Out));
        }
    }

    /// Adds what another partition has counted.
    pub fn merge(&mut self, other: Tally) {
        self.people += other.people;
        self.changed += other.changed;
        self.events += other.events;
        add(&mut self.excluded, other.excluded);
        for (slug, [before, after]) in other.scores {
            let [own_before, own_after] = self.scores.entry(slug).or_default();
            own_before.merge(before);
            own_after.merge(after);
        }
        let Tally { stages, crossed, temperatures, tags, bands, .. } = other;
        add_all(&mut self.stages, stages);
        add_all(&mut self.crossed, crossed);
        add_all(&mut self.temperatures, temperatures);
        add_all(&mut self.tags, tags);
        for (slug, own) in bands {
            add_all(self.bands.entry(slug).or_default(), own);
        }
    }

    /// As the API shows it.
    #[must_use]
    pub fn document(&self) -> Map<String, Value> {
        let both = |[before, after]: &Pair| json!({ "before": before, "after": after });
        let counts = |counts: &BTreeMap<String, Pair>| {
            counts.iter().map(|(name, pair)| (name.clone(), both(pair))).collect::<Map<_, _>>()
        };
        let scores = self.scores.iter().map(|(slug, [before, after])| {
            let bands = self.bands.get(slug).map(counts).unwrap_or_default();
            (slug.clone(), json!({ "before": before.document(), "after": after.document(), "bands": bands }))
        });
        let stages = self.stages.keys().chain(self.crossed.keys()).map(|stage| {
            let [before, after] = self.stages.get(stage).copied().unwrap_or_default();
            let [entering, leaving] = self.crossed.get(stage).copied().unwrap_or_default();
            (stage.clone(), json!({ "before": before, "after": after, "in": entering, "out": leaving }))
        });
        let document = json!({
            "people": self.people,
            "changed": self.changed,
            "excluded": both(&self.excluded),
            "scores": scores.collect::<Map<_, _>>(),
            "stages": stages.collect::<Map<_, _>>(),
            "temperatures": counts(&self.temperatures),
            "tags": counts(&self.tags),
        });
        if let Value::Object(document) = document { document } else { Map::new() }
    }
}

fn add(own: &mut Pair, other: Pair) {
    for (own, other) in own.iter_mut().zip(other) {
        *own += other;
    }
}

fn add_all(own: &mut BTreeMap<String, Pair>, other: BTreeMap<String, Pair>) {
    for (name, pair) in other {
        add(own.entry(name).or_default(), pair);
    }
}

/// Whether somebody would be shown otherwise: in anything but what orders lists, and since when stages are held.
fn differ(before: &Standing, after: &Standing) -> bool {
    let shown = |standing: &Standing| {
        let Standing { scores, tags, temperature, stage, excluded, .. } = standing.clone();
        (scores, tags, temperature, stage, excluded)
    };
    shown(before) != shown(after)
}

/// Into a stage, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Way {
    /// In it under the draft only.
    #[n(0)]
    In,
    /// In it under the published model only.
    #[n(1)]
    Out,
}

impl Way {
    /// `in` or `out`.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Way> {
        match slug {
            "in" => Some(Way::In),
            "out" => Some(Way::Out),
            _ => None,
        }
    }
}

/// Which stages somebody crosses between two models: those that are entered and not left under one of them only. The first,
/// where everybody begins, is none.
pub(crate) fn crossings<'s>(before: &'s Standing, after: &'s Standing) -> Vec<(Way, &'s str)> {
    let only = |one: &'s Standing, other: &'s Standing, way: Way| {
        entered(one)
            .filter(|stage| !entered(other).any(|held| held == *stage))
            .map(move |stage| (way, stage))
            .collect::<Vec<_>>()
    };
    let mut crossings = only(after, before, Way::In);
    crossings.extend(only(before, after, Way::Out));
    crossings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bin() {
        let cases = [
            (0.0, (0.0, 0.0)),
            (0.5, (0.0, 1.0)),
            (1.0, (1.0, 2.0)),
            (4.999_999, (2.0, 5.0)),
            (5.0, (5.0, 10.0)),
            (10.0, (10.0, 20.0)),
            (199.0, (100.0, 200.0)),
            (1_000_000.0, (1_000_000.0, 2_000_000.0)),
            (-0.5, (-1.0, 0.0)),
            (-7.0, (-10.0, -5.0)),
        ];
        for (value, expected) in cases {
            assert_eq!(ends(bin(value)), expected, "{value}");
        }
    }
}
