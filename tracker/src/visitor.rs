//! Who this browser is: a random UUID that the site's storage remembers. Where storage is denied, every page load is
//! a visitor of its own.

use crate::identity::is_uuid;
use alloc::string::String;
use web_sys::{Storage, Window};

/// The same in `fallback.js`.
const STORAGE_KEY: &str = "wb_v";

/// The visitor that storage remembers, if it remembers one.
pub(crate) fn recall(window: &Window) -> Option<String> {
    storage(window)?.get_item(STORAGE_KEY).ok()?.filter(|id| is_uuid(id))
}

/// Asks storage to remember the visitor; it may refuse.
pub(crate) fn remember(window: &Window, visitor: &str) {
    if let Some(storage) = storage(window) {
        let _ = storage.set_item(STORAGE_KEY, visitor);
    }
}

fn storage(window: &Window) -> Option<Storage> {
    window.local_storage().ok()?
}
