//! Waiting. Not by the `worker` crate's `Delay`: it takes the runtime's timer for a number and so cannot cancel it, and a
//! timer that fires after its closure is gone throws.

use js_sys::{Function, Promise};
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = setTimeout)]
    fn set_timeout(callback: &Function, ms: f64) -> Result<JsValue, JsValue>;
}

/// Waits for at least so long; `ZERO` is one turn of the event loop. The timer cannot be cancelled.
pub(crate) async fn sleep(duration: Duration) {
    let ms = duration.as_secs_f64() * 1_000.0;
    let promise = Promise::new(&mut |resolve, _| {
        if set_timeout(&resolve, ms).is_err() {
            // Not to wait is better than to wait for ever.
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    });
    let _ = JsFuture::from(promise).await;
}
