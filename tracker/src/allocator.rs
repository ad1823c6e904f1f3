//! The allocator: blocks of powers of two, each size with a list of what was freed. Libraries' (the smallest is
//! `lol_alloc`) are three times as long, search their lists, and the bytes are the page's.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::memory_grow;
use core::cell::UnsafeCell;

/// A page of WebAssembly's memory, in bytes.
const PAGE: usize = 65_536;

/// What is free.
struct Free {
    /// For each power of two the first free block; a free block begins with the address of the next.
    blocks: [usize; 32],
    /// Where what was never used begins, and where it ends.
    fresh: usize,
    end: usize,
}

/// The allocator of a module without threads.
pub(crate) struct Allocator(UnsafeCell<Free>);

// SAFETY: WebAssembly without threads: `build.mjs` does not enable them.
unsafe impl Sync for Allocator {}

impl Allocator {
    pub(crate) const fn new() -> Allocator {
        Allocator(UnsafeCell::new(Free { blocks: [0; 32], fresh: 0, end: 0 }))
    }
}

/// The power of two that holds a layout: at least an address, and aligned to itself, as blocks are only up to 8 bytes.
const fn power(size: usize) -> u32 {
    usize::BITS - (size.wrapping_sub(1) | 7).leading_zeros()
}

// SAFETY: a block is on one list or with one owner; fresh memory begins at a page, and every block is a multiple of 8
// bytes, which is the largest alignment that anything here asks for (`u64`).
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let free = unsafe { &mut *self.0.get() };
        let power = power(layout.size());
        let list = unsafe { free.blocks.get_unchecked_mut(power as usize & 31) };
        let block = *list;
        if block > 0 {
            *list = unsafe { *(block as *const usize) };
            return block as *mut u8;
        }
        let size = 1 << power;
        if free.end - free.fresh < size {
            let pages = size.div_ceil(PAGE);
            // Nobody else asks for memory, so that it goes on where it ended. If there is none, the next access traps.
            let grown = memory_grow(0, pages) * PAGE;
            if free.end != grown {
                free.fresh = grown;
            }
            free.end = grown + pages * PAGE;
        }
        let block = free.fresh;
        free.fresh += size;
        block as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let free = unsafe { &mut *self.0.get() };
        let list = unsafe { free.blocks.get_unchecked_mut(power(layout.size()) as usize & 31) };
        unsafe { *block.cast::<usize>() = *list };
        *list = block as usize;
    }
}
