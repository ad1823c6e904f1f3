//! A deterministic simulation of several partitions: the real state machines over real SQLite, and between them a network
//! and disks that fail in every way that they can. At each step the invariants hold; at rest the whole equals the naive
//! function. Everything follows from a seed: a seed that fails is printed with the command that repeats it, made small,
//! and becomes a named test.
//!
//! - [`scenario`]: what a seed stands for; [`notation`]: the same as text
//! - [`schedule`]: what happens when; [`world`]: partitions, network and frontends; [`disk`]: the store that fails
//! - [`census`]: what is durable where; [`invariants`]: what must hold of it; [`comparison`]: against the naive function
//! - [`mistakes`]: ways to break the protocol that it must notice; [`shrinking`]: small scenarios from large ones

mod census;
mod comparison;
mod disk;
mod invariants;
mod mistakes;
mod notation;
mod scenario;
mod schedule;
mod seeds;
mod shrinking;
mod stories;
mod world;

use mistakes::Mistake;
use scenario::Scenario;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Machine, World};

/// Holds, or says what is broken.
type Check = Result<(), String>;

/// Runs a scenario to its end. Answers how many steps it took, or what was broken.
fn run(machine: &mut Machine, scenario: &Scenario, mistake: Option<Mistake>) -> Result<u32, String> {
    let mut world = World::new(machine, scenario, mistake);
    let checked = catch_unwind(AssertUnwindSafe(|| {
        let steps = world.run(scenario)?;
        world.watch.at_rest(world.slots)?;
        world.compare(&scenario.inputs)?;
        Ok(steps)
    }));
    match checked {
        Ok(result) => {
            world.end();
            result
        }
        // Its databases are left in the middle of a transaction: others are opened for the next run.
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("a panic: {}", said.unwrap_or_default()))
        }
    }
}
