//! End-to-end tests: the Worker on real workerd, started as `npm start` starts it, and a real Chromium.
//!
//! They see what a caller sees: HTTP, a page, the processes and the state folder. Each file is about one thing that a
//! user counts on; `harness` is how they get at it. Every test makes up its own people, so all but a few share one
//! instance and run side by side.
//!
//! `npm test` runs them. `cargo test -p wingbeat-tests` does too, with `chromium` and `chromedriver` on the PATH or
//! named by CHROMIUM and CHROMEDRIVER; FIREFOX and GECKODRIVER name a second browser to fill in forms in. `CRASH_ROUNDS`
//! (3) and `WINGBEAT_KILLS` (8) say how often the runtime is killed under load and in the midst of unions, `FAULT_EVENTS`
//! (100) how many events of a page go through faults, `WINGBEAT_HOT` (300) how many browsers and profiles give one address.

mod harness;

mod api;
mod attributes;
mod bad_input;
mod blocked;
mod carried_over;
mod changes;
mod collect;
mod connections;
mod connector;
mod consent;
mod crash;
mod currents;
mod decisions;
mod delivery;
mod erasing;
mod exports;
mod forget;
mod forms;
mod frames;
mod hostile;
mod hot_keys;
mod install;
mod kill_in_unions;
mod linked_domains;
mod links;
mod look_up;
mod main_job;
mod model;
mod navigation;
mod partitions;
mod refused;
mod saleswings;
mod start;
mod stories;
mod tag_manager;
mod tokens;
mod write_back;
