//! End-to-end tests: the Worker on real workerd, started as `npm start` starts it, and a real Chromium.
//!
//! They see what a caller sees: HTTP, a page, the processes and the state folder. Each file is about one thing that a
//! user counts on; `harness` is how they get at it. Every test makes up its own people, so all but a few share one
//! instance and run side by side.
//!
//! `npm test` runs them. `cargo test -p wingbeat-tests` does too, with `chromium` and `chromedriver` on the PATH or
//! named by CHROMIUM and CHROMEDRIVER; `CRASH_ROUNDS` (3) says how often the crash test kills the runtime.

mod harness;

mod api;
mod bad_input;
mod collect;
mod crash;
mod currents;
mod links;
mod main_job;
mod model;
mod start;
