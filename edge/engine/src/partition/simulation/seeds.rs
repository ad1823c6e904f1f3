//! How the simulator is run: a few thousand seeds with all tests, as many as asked by `npm run simulate`.

use super::mistakes::Mistake;
use super::run;
use super::scenario::Scenario;
use super::shrinking::Shrinking;
use super::world::Machine;
use crate::identity::generate::{inputs, record};
use crate::identity::naive::Input;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Seeds that `npm test` runs.
const SEEDS: u64 = 2_000;
/// Within so many seeds every planted mistake shows.
const SEEDS_TO_A_MISTAKE: u64 = 1_000;

/// A seed that fails, as text: how to repeat it, and what is left of it.
fn report(machine: &mut Machine, seed: u64, error: &str, mistake: Option<Mistake>) -> String {
    let (small, why) = Shrinking::of(machine, &Scenario::of(seed), mistake);
    format!(
        "seed {seed} fails: {error}\n\nrepeat it:  npm run simulate -- --first {seed} --seeds 1\n\n\
         shrunk to {} inputs, which fail so: {why}\n\n#[test]\nfn what_went_wrong() {{\n    holds(\"\n{}    \");\n}}\n",
        small.inputs.len(),
        small.to_string().lines().map(|line| format!("        {line}\n")).collect::<String>(),
    )
}

#[test]
fn a_few_thousand_seeds() {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    many(0, SEEDS, threads);
}

/// `npm run simulate`: seeds, first seed and threads come by the environment.
#[test]
#[ignore = "runs as many seeds as asked: npm run simulate"]
#[allow(clippy::disallowed_methods)] // How fast it is, is measured by the clock; nothing that is simulated reads it.
fn as_many_seeds_as_asked() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let (first, count) = (asked("WINGBEAT_FIRST_SEED").unwrap_or(0), asked("WINGBEAT_SEEDS").unwrap_or(SEEDS));
    many(first, count, asked("WINGBEAT_THREADS").unwrap_or(1));
}

/// Runs seeds on some threads, and tells now and then how far it is.
#[allow(clippy::disallowed_methods)] // How fast it is, is measured by the clock; nothing that is simulated reads it.
fn many(first: u64, count: u64, threads: u64) {
    let (next, done, steps) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let failure: Mutex<Option<String>> = Mutex::new(None);
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let rate = |done: u64| done as f64 / started.elapsed().as_secs_f64();
    let work = || {
        let mut machine = Machine::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || over.load(Ordering::Relaxed) {
                return;
            }
            match run(&mut machine, &Scenario::of(seed), None) {
                Ok(taken) => {
                    steps.fetch_add(taken.into(), Ordering::Relaxed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    over.store(true, Ordering::Relaxed);
                    *failure.lock().unwrap() = Some(report(&mut machine, seed, &error, None));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut told = Instant::now();
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                if told.elapsed() > Duration::from_secs(10) {
                    told = Instant::now();
                    let done = done.load(Ordering::Relaxed);
                    println!("{done} of {count} seeds, {:.0} a second", rate(done));
                }
            }
        });
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a thread of the simulator panicked");
    });
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("{failure}");
    }
    let done = done.into_inner();
    println!(
        "{done} seeds from {first} on, {} steps, {:.0} s, {:.0} seeds a second: all well",
        steps.into_inner(),
        started.elapsed().as_secs_f64(),
        rate(done)
    );
}

#[test]
fn every_planted_mistake_shows() {
    let mut machine = Machine::new();
    for mistake in Mistake::ALL {
        let shows = (0..SEEDS_TO_A_MISTAKE)
            .find_map(|seed| Some((seed, run(&mut machine, &Scenario::of(seed), Some(mistake)).err()?)));
        let Some((seed, error)) = shows else { panic!("{mistake:?} goes unnoticed for {SEEDS_TO_A_MISTAKE} seeds") };
        println!("{mistake:?}: seed {seed}: {}", error.lines().next().unwrap_or_default());
    }
}

#[test]
fn a_failing_seed_becomes_a_small_scenario_that_can_be_pasted() {
    let mut machine = Machine::new();
    let mistake = Some(Mistake::UnionIsLost);
    let fails = |seed: &u64| run(&mut Machine::new(), &Scenario::of(*seed), mistake).is_err();
    let seed = (0..SEEDS_TO_A_MISTAKE).find(fails).unwrap();
    let report = report(&mut machine, seed, "planted", mistake);
    let pasted = report.split('"').nth(1).unwrap();
    let small = Scenario::read(pasted);
    assert!(small.inputs.len() <= 3, "a union needs two ends: {report}");
    assert!(small.faults.is_empty(), "{report}");
    assert_eq!(small.partitions, 2, "{report}");
    assert!(run(&mut machine, &small, mistake).is_err(), "{report}");
    assert_eq!(run(&mut machine, &small, None).map(drop), Ok(()), "{report}");
}

#[test]
fn a_scenario_reads_back_as_it_was_written() {
    for seed in 0..50 {
        let mut scenario = Scenario::of(seed);
        scenario.inputs = inputs(seed);
        for input in &mut scenario.inputs {
            // A body says nothing: all are made from the id.
            if let Input::Record(made) = input {
                made.body = record(&made.rec, made.at, made.id.clone()).body;
            }
        }
        assert_eq!(Scenario::read(&scenario.to_string()), scenario);
    }
}
