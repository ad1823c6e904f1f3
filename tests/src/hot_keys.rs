//! One address that hundreds of browsers and hundreds of Braze profiles give: the limits hold, and everybody else goes on
//! being served. `WINGBEAT_HOT` says how many (300). Others' times and the runtime's memory are printed, not tested.

use crate::harness::api::items;
use crate::harness::events::{Person, currents, form, now, page_view, uuid};
use crate::harness::state::deployment_key;
use crate::harness::{Api, Instance};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use wingbeat_engine::identity::policy::Policy;
use wingbeat_engine::key::{Identifier, KeyType};

const CLIENTS: usize = 6;
/// A prime: steps of it through a list whose length it does not divide come by each once.
const STRIDE: usize = 7_919;
/// How many requests of other people an idle run takes the time of.
const OTHERS: usize = 300;
/// How many of those beyond a limit are looked at one by one.
const LOOKED_AT: usize = 40;

/// Resident memory of the runtime, MB.
fn memory_mb(instance: &Instance) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", instance.runtime().as_raw_nonzero())).expect("it runs");
    let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    kb.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Other people's ordinary requests, one after the other, and how long each took.
fn others(api: &Api, goes_on: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    while goes_on(times.len()) {
        let began = Instant::now();
        if times.len() % 2 == 0 {
            api.collect(&uuid(), &[page_view(now(), "https://shop.example/pricing")]);
        } else {
            api.currents(&[Person::new("other").email_click(now())]);
        }
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}

fn at_share(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let place = (sorted.len() as f64 * share) as usize;
    sorted[place.min(sorted.len() - 1)]
}

/// Does something for each by clients side by side, in another order than that of time: again and again somebody earlier
/// comes, who takes a later one's place.
fn by_clients<T: Sync>(all: &[T], work: impl Fn(&T) + Sync) {
    let shuffled: Vec<&T> = (0..all.len()).map(|n| &all[n * STRIDE % all.len()]).collect();
    assert!(!all.len().is_multiple_of(STRIDE), "each once");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (work, shuffled) = (&work, &shuffled);
            scope.spawn(move || shuffled.iter().skip(client).step_by(CLIENTS).for_each(|one| work(one)));
        }
    });
}

/// The claims or facts at an address, by their state.
fn states<'e>(evidence: &'e [Value], kind: &'e str) -> impl Fn(&str) -> BTreeSet<String> + use<'e> {
    let ends = |piece: &Value| [&piece["from"], &piece["to"]].map(|end| end["value"].as_str().unwrap_or("").to_owned());
    move |state| {
        let pieces = evidence.iter().filter(|piece| piece["kind"] == kind && piece["state"] == state);
        pieces.flat_map(ends).filter(|value| !value.contains('@')).collect()
    }
}

#[test]
fn a_key_that_everybody_gives_has_its_limits_and_harms_nobody_else() {
    let hot: usize =
        std::env::var("WINGBEAT_HOT").ok().map_or(300, |hot| hot.parse().expect("WINGBEAT_HOT is a number"));
    let instance = Instance::start();
    let (api, key, policy) = (instance.api(), deployment_key(&instance), Policy::default());
    let (browsers_max, joins_max) = (policy.browsers as usize, policy.joins_max(KeyType::Email));
    let (shared_form, shared_mail) = (Person::new("reception").email, Person::new("family").email);
    let start = now() - 86_400_000;
    let at = |n: usize| start + i64::try_from(n).expect("few") * 1_000;
    let visitors: Vec<(String, i64)> = (0..hot).map(|n| (uuid(), at(n))).collect();
    let profiles: Vec<(Person, i64)> = (0..hot).map(|n| (Person::new("member"), at(n))).collect();
    let batches: Vec<&[(Person, i64)]> = profiles.chunks(50).collect();

    others(api, |done| done < OTHERS / 3);
    let before = memory_mb(&instance);
    let idle = others(api, |done| done < OTHERS);
    let loaded = AtomicBool::new(false);
    let (meanwhile, browsers_took, profiles_took) = thread::scope(|scope| {
        let meanwhile = scope.spawn(|| others(api, |done| done < 20 || !loaded.load(Ordering::SeqCst)));
        let began = Instant::now();
        by_clients(&visitors, |(visitor, at)| {
            api.collect(visitor, &[form(*at, "newsletter", &shared_form)]);
        });
        let browsers_took = began.elapsed();
        let began = Instant::now();
        by_clients(&batches, |batch| {
            let click = |(person, at): &(Person, i64)| {
                let properties = json!({ "email_address": shared_mail, "campaign_name": "Spring sale" });
                currents("users.messages.email.Click", *at, &person.braze_user(), &properties)
            };
            let events: Vec<Value> = batch.iter().map(click).collect();
            api.currents(&events);
        });
        loaded.store(true, Ordering::SeqCst);
        (meanwhile.join().expect("the others are served"), browsers_took, began.elapsed())
    });
    let after = memory_mb(&instance);
    println!(
        "{hot} browsers took {browsers_took:.1?}, {hot} profiles {profiles_took:.1?}; memory {before} MB before, {after} MB after"
    );
    for (name, share) in [("median", 0.5), ("95th percentile", 0.95)] {
        let (idle, meanwhile) = (at_share(&idle, share), at_share(&meanwhile, share));
        let ratio = meanwhile.as_secs_f64() / idle.as_secs_f64();
        println!("others' {name}: {idle:.1?} alone, {meanwhile:.1?} meanwhile: {ratio:.1} times");
    }

    // The earliest browsers are the address's; the others stay at home, by themselves, and say why.
    let reference = format!("email:{shared_form}");
    let prospect = api.prospect(&reference);
    let held = items(&prospect["identifiers"]);
    let held: BTreeSet<&str> =
        held.iter().filter(|key| key["type"] == "visitor").map(|key| key["value"].as_str().expect("a value")).collect();
    let (admitted, refused) = visitors.split_at(browsers_max);
    assert_eq!(held, admitted.iter().map(|(visitor, _)| visitor.as_str()).collect());
    assert_eq!(prospect["events"], browsers_max);
    let evidence = api.evidence(&reference);
    assert_eq!(states(&evidence, "claim")("active").len(), browsers_max);
    for (visitor, _) in refused.iter().step_by((refused.len() / LOOKED_AT).max(1)) {
        let own = Identifier::new(KeyType::Visitor, "", visitor).expect("an id");
        let prospect = api.prospect(&format!("visitor:{visitor}"));
        assert_eq!(prospect["id"], key.hash(&own).prospect_id(), "an anonymous prospect of its own");
        assert_eq!((&prospect["identified"], &prospect["events"]), (&false.into(), &1.into()));
        let evidence = api.evidence(&format!("visitor:{visitor}"));
        assert_eq!((evidence.len(), &evidence[0]["state"]), (1, &"conflict".into()));
        assert!(evidence[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{evidence:?}");
    }

    // So do the profiles: the earliest join through the address, the others are people of their own.
    let reference = format!("email:{shared_mail}");
    let joined = api.prospect(&reference);
    let held = items(&joined["identifiers"]);
    let held: BTreeSet<&str> = held
        .iter()
        .filter(|key| key["type"] == "braze_id")
        .map(|key| key["value"].as_str().expect("a value"))
        .collect();
    let (earliest, others) = profiles.split_at(joins_max);
    assert_eq!(held, earliest.iter().map(|(person, _)| person.braze_id.as_str()).collect());
    assert_eq!(joined["events"], joins_max);
    for (person, _) in others.iter().step_by((others.len() / LOOKED_AT).max(1)) {
        let prospect = api.prospect(&format!("braze_id:{}", person.braze_id));
        assert_ne!(prospect["id"], joined["id"]);
        assert_eq!((&prospect["email"], &prospect["events"]), (&Value::Null, &1.into()));
        let evidence = api.evidence(&format!("braze_id:{}", person.braze_id));
        assert!(states(&evidence, "fact")("conflict").contains(&person.braze_id), "{evidence:?}");
    }
}
