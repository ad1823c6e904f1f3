//! The tracker: captures in the browser and sends, nothing else.
//!
//! What can be decided without a browser is in modules that compile natively (`url`, `identity`, `field`, `json`,
//! `event`, `queue`); `cargo test -p wingbeat-tracker` tests those. What touches the page is in `tracker`, `form` and
//! `visitor`, for WebAssembly only. `host.js` is the side of the page: it loads this, guards the page against it,
//! and lends it what is shorter in JavaScript (promises, timers, random ids).
//!
//! The budget is 10 KB of brotli for all of it, so: no `std`, no `format!`, no serde, no regex.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

pub mod event;
pub mod field;
pub mod identity;
pub mod json;
pub mod queue;
pub mod url;

#[cfg(target_family = "wasm")]
mod form;
#[cfg(target_family = "wasm")]
pub mod tracker;
#[cfg(target_family = "wasm")]
mod visitor;

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// A panic becomes a trap, which `host.js` catches: nothing reaches the page.
#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
