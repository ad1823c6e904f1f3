//! The border to the page: what `host.js` calls, and what it lends us. Only strings and numbers cross it.
//!
//! `host.js` never calls one of these inside another, and catches what they throw.

use crate::tracker::{Host, Tracker};
use alloc::string::String;
use core::cell::UnsafeCell;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/host.js")]
extern "C" {
    fn uuid() -> String;
    fn decode(text: &str) -> String;
    fn title() -> String;
    fn now() -> f64;
    #[wasm_bindgen(js_name = showAddress)]
    fn show_address(url: &str);
    fn keep(kept: &str);
    fn drop(lost: bool, kept: &str);
    fn wake(ms: u32);
    fn post(batch: u32, body: &str);
}

struct Page;

impl Host for Page {
    fn uuid(&self) -> String {
        uuid()
    }

    fn decode(&self, text: &str) -> String {
        decode(text)
    }

    fn title(&self) -> String {
        title()
    }

    fn now(&self) -> u64 {
        now() as u64
    }

    fn show_address(&self, url: &str) {
        show_address(url);
    }

    fn keep(&self, kept: &str) {
        keep(kept);
    }

    fn drop(&self, lost: bool, kept: &str) {
        drop(lost, kept);
    }

    fn wake(&self, ms: u32) {
        wake(ms);
    }

    fn post(&self, batch: u32, body: &str) {
        post(batch, body);
    }
}

/// The one tracker of the page.
struct Shared(UnsafeCell<Tracker<Page>>);
// SAFETY: WebAssembly without threads: `build.mjs` does not enable them.
unsafe impl Sync for Shared {}
static TRACKER: Shared = Shared(UnsafeCell::new(Tracker::new(Page)));

fn tracker() -> &'static mut Tracker<Page> {
    // SAFETY: each function below asks once, none calls another, and none is called while one runs: `host.js` does one
    // thing at a time, and what it lends us calls back only into the allocator. (A `RefCell` costs 60 bytes of brotli.)
    unsafe { &mut *TRACKER.0.get() }
}

/// See [`Tracker::start`].
#[wasm_bindgen]
pub fn start(href: &str, referrer: &str, page: &str, view: &str) {
    tracker().start(href, referrer, page, view);
}

/// See [`Tracker::navigated`].
#[wasm_bindgen]
pub fn navigated(href: &str) {
    tracker().navigated(href);
}

/// See [`Tracker::consent`].
#[wasm_bindgen]
pub fn consent(consent: u8, visitor: &str) {
    tracker().consent(consent, visitor);
}

/// See [`Tracker::restore`].
#[wasm_bindgen]
pub fn restore(kept: &str) {
    tracker().restore(kept);
}

/// See [`Tracker::signal`].
#[wasm_bindgen]
pub fn signal(human: &str, depth: u32) {
    tracker().signal(human, depth);
}

/// See [`Tracker::active`].
#[wasm_bindgen]
pub fn active(depth: u32) {
    tracker().active(depth);
}

/// See [`Tracker::click`].
#[wasm_bindgen]
pub fn click(download: bool, href: &str) {
    tracker().click(download, href);
}

/// See [`Tracker::event`].
#[wasm_bindgen]
pub fn event(name: &str, properties: &str) {
    tracker().event(name, properties);
}

/// See [`Tracker::claim`].
#[wasm_bindgen]
pub fn claim(key_type: &str, value: &str) {
    tracker().claim(key_type, value);
}

/// See [`Tracker::identify`].
#[wasm_bindgen]
pub fn identify() {
    tracker().identify();
}

/// See [`crate::field::meaning`].
#[wasm_bindgen]
pub fn meaning(input_type: &str, autocomplete: &str, name: &str, id: &str) -> u8 {
    crate::field::meaning(input_type, autocomplete, name, id)
}

/// See [`Tracker::field`].
#[wasm_bindgen]
pub fn field(meaning: u8, value: &str) {
    tracker().field(meaning, value);
}

/// See [`Tracker::submit`].
#[wasm_bindgen]
pub fn submit(name: &str) {
    tracker().submit(name);
}

/// See [`Tracker::woke`].
#[wasm_bindgen]
pub fn woke() {
    tracker().woke();
}

/// See [`Tracker::leave`].
#[wasm_bindgen]
pub fn leave(depth: u32) {
    tracker().leave(depth);
}

/// See [`Tracker::answered`].
#[wasm_bindgen]
pub fn answered(batch: u32, status: u32, retry_after: u32, random: u32, visitor: &str) {
    tracker().answered(batch, status, retry_after, random, visitor);
}
