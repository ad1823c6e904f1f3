//! The law: who people are, what they did and what they scored is a function of the set of what was reported. The order,
//! repeats, and what came in one request make no difference.
//!
//! All stories go to one instance in their order, event by event, and to others shuffled over all stories, partly twice,
//! in other batches. Decisions and erasures are acts in time: they are about people as they stood. What came before one
//! in its story comes before it everywhere, and what came after it, after. Within the two sides anything may be anywhere,
//! and what came before may come once more afterwards.

use super::act::{Act, Manner, send_braze, send_browser};
use super::scene::Told;
use super::{DEPLOYMENT_KEY, SETTINGS, STORIES, Story, readme_table, table, tell};
use crate::harness::events::{now, rfc3339};
use crate::harness::{Api, Instance, snapshot};
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::thread;

#[test]
fn order_repeats_and_batches_make_no_difference() {
    let in_order = Instance::start_with(DEPLOYMENT_KEY, &SETTINGS);
    let told: Vec<(&Story, Told)> = STORIES.iter().map(|story| (story, tell(story, in_order.api()))).collect();
    print(&told);
    let ids: BTreeSet<&String> = told.iter().flat_map(|(_, told)| &told.ids).collect();
    // In the past for all of them.
    let at = rfc3339(now() - 1_000);
    let expected = everything(in_order.api(), &ids, &at);
    // Every story has at least one person of its own.
    assert!(expected.0.len() >= STORIES.len(), "{}", expected.0.len());
    // The second one hears it from four callers at once.
    thread::scope(|scope| {
        for (seed, callers) in [(0x0DD, 1), (0xBA7C4, 4)] {
            let (told, ids, expected, at) = (&told, &ids, &expected, &at);
            scope.spawn(move || {
                let other = Instance::start_with(DEPLOYMENT_KEY, &SETTINGS);
                send_shuffled(other.api(), &sides(told), callers, &mut Rng::with_seed(seed));
                let found = everything(other.api(), ids, at);
                println!("seed {seed:#x}");
                snapshot::assert_same(&found.0, &expected.0);
                assert_eq!(found.1, expected.1, "what old ids answer");
            });
        }
    });
    assert_eq!(readme_table(), table(&told).trim(), "README.md has another table than the one printed above");
}

/// All people as the API shows them, and what each id says that was ever shown.
fn everything(api: &Api, ids: &BTreeSet<&String>, at: &str) -> (BTreeMap<String, Value>, Vec<Value>) {
    let mut people = snapshot::of_everybody(api, at);
    for person in people.values_mut() {
        // What colleagues decide is dated by the server's clock, which is another in every instance.
        let undated = |piece: &mut Value| {
            if piece["source"] == "api" {
                piece["at"] = Value::Null;
            }
        };
        let attributes = person["prospect"]["attributes"].as_object_mut().into_iter().flatten();
        attributes.for_each(|(_, attribute)| undated(attribute));
        let Some(evidence) = person["evidence"].as_array_mut() else { continue };
        evidence.iter_mut().for_each(undated);
        evidence.sort_by_key(Value::to_string);
    }
    let answers = ids.iter().map(|id| match api.find(id) {
        Some(found) => json!([id, found["life_cycle"], found["merged_into"]]),
        None => json!([id, "unknown"]),
    });
    (people, answers.collect())
}

/// The acts of all stories by how many decisions of their story came before them; and those decisions.
fn sides<'t>(told: &'t [(&Story, Told)]) -> Vec<(Vec<&'t Act>, Vec<&'t Act>)> {
    let mut sides: Vec<(Vec<&Act>, Vec<&Act>)> = Vec::new();
    for (_, told) in told {
        let mut side = 0;
        for act in &told.acts {
            if sides.len() == side {
                sides.push((Vec::new(), Vec::new()));
            }
            if act.is_decision() {
                sides[side].1.push(act);
                side += 1;
            } else {
                sides[side].0.push(act);
            }
        }
    }
    sides
}

/// Sends the acts of each side shuffled, some twice, with a few of the earlier sides' once more, in batches of any size;
/// then the decisions that end the side.
fn send_shuffled(api: &Api, sides: &[(Vec<&Act>, Vec<&Act>)], callers: usize, rng: &mut Rng) {
    let mut sent: Vec<&Act> = Vec::new();
    for (acts, decisions) in sides {
        let again: Vec<&Act> = acts.iter().copied().filter(|_| rng.f32() < 0.3).collect();
        let from_before = sent.iter().copied().filter(|_| rng.f32() < 0.5);
        let mut all: Vec<&Act> = acts.iter().copied().chain(again).chain(from_before).collect();
        rng.shuffle(&mut all);
        send_in_batches(api, &all, callers, rng);
        decisions.iter().for_each(|decision| decision.send(api));
        sent.extend(acts);
    }
}

/// A browser's events, or Braze's.
type Request<'t> = (Option<(&'t str, Manner)>, Vec<Value>);

/// Braze's events in arrays of 1 to 40, a browser's in requests of 1 to 5; the requests mixed.
fn send_in_batches(api: &Api, acts: &[&Act], callers: usize, rng: &mut Rng) {
    let mut of_braze: Vec<Value> = Vec::new();
    let mut of_browsers: BTreeMap<(&str, Manner), Vec<Value>> = BTreeMap::new();
    for act in acts {
        match act {
            Act::Braze(event) => of_braze.push(event.clone()),
            Act::Browser { visitor, manner, event } => {
                of_browsers.entry((visitor, *manner)).or_default().push(event.clone());
            }
            Act::Decision { .. } => unreachable!("decisions end a side"),
        }
    }
    let mut requests: Vec<Request<'_>> = Vec::new();
    let browsers = of_browsers.into_iter().map(|(browser, events)| (Some(browser), events, 5));
    for (browser, events, most) in browsers.chain([(None, of_braze, 40)]) {
        let mut rest = events.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(rng.usize(1..=most).min(rest.len()));
            requests.push((browser, batch.to_vec()));
            rest = after;
        }
    }
    rng.shuffle(&mut requests);
    let send = |(browser, events): &Request<'_>| match browser {
        Some((visitor, manner)) => send_browser(api, visitor, *manner, events),
        None => send_braze(api, events),
    };
    thread::scope(|scope| {
        for own in requests.chunks(requests.len().div_ceil(callers).max(1)) {
            scope.spawn(move || own.iter().for_each(send));
        }
    });
}

/// Shows the stories as a table, whether output is captured or not.
fn print(told: &[(&Story, Told)]) {
    let mut out = std::io::stderr().lock();
    let (events, looks): (usize, usize) =
        told.iter().fold((0, 0), |sum, (_, told)| (sum.0 + told.acts.len(), sum.1 + told.looks));
    let _ =
        writeln!(out, "\n{} stories, {events} events and decisions, {looks} looks at what came of them:\n", told.len());
    let _ = writeln!(out, "{}", table(told));
}
