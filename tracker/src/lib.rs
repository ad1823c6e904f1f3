//! The tracker: captures in the browser and sends, nothing else.
//!
//! All that decides is here and compiles natively; `cargo test -p wingbeat-tracker` tests it without a browser.
//! `host.js` is the side of the page: it loads this, guards the page against it, listens and reads the document. Only
//! strings and numbers cross between the two (`page`): each DOM object in WebAssembly's hands costs bytes on both
//! sides, and the budget is 10 KB of brotli for everything. Hence also: no `std`, no `format!`, no serde, no regex,
//! and no `dyn` (a table of function pointers keeps all of wasm-bindgen's own in the file).
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

pub mod event;
pub mod field;
pub mod identity;
pub mod json;
pub mod queue;
pub mod tracker;
pub mod url;

#[cfg(target_family = "wasm")]
pub mod page;

#[cfg(target_family = "wasm")]
mod allocator;
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator::new();

/// A panic becomes a trap, which `host.js` catches: nothing reaches the page.
#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
