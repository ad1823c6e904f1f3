//! A Durable Object's SQLite behind the engine's port.
//!
//! Own bindings, because those of the `worker` crate let exceptions of a cursor through uncaught, which would tear wasm
//! frames, and have no `transactionSync` (facts on Workers, B.1 and B.2).

use js_sys::{Array, ArrayBuffer, Uint8Array};
use std::cell::Cell;
use wasm_bindgen::prelude::*;
use wingbeat_engine::store::{Row, Store, StoreError, Value};
use worker::State;

#[wasm_bindgen]
extern "C" {
    type DurableObjectStorage;

    #[wasm_bindgen(method, getter)]
    fn sql(this: &DurableObjectStorage) -> Sql;

    /// Runs the callback in a savepoint, which is rolled back when the callback throws.
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &DurableObjectStorage,
        callback: &mut dyn FnMut() -> Result<(), JsValue>,
    ) -> Result<JsValue, JsValue>;

    type Sql;

    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &Sql, query: &str, bindings: &Array) -> Result<Cursor, JsValue>;

    type Cursor;

    #[wasm_bindgen(method, getter, js_name = rowsWritten)]
    fn rows_written(this: &Cursor) -> f64;

    #[wasm_bindgen(method, catch)]
    fn raw(this: &Cursor) -> Result<RawRows, JsValue>;

    type RawRows;

    #[wasm_bindgen(method, catch, js_name = toArray)]
    fn to_array(this: &RawRows) -> Result<Array, JsValue>;
}

/// The storage of one Durable Object.
pub(crate) struct ObjectStore {
    storage: DurableObjectStorage,
    /// How many rows it was told to write since the object was loaded: what is billed, indexes and all.
    written: Cell<u64>,
}

impl ObjectStore {
    pub(crate) fn of(state: &State) -> ObjectStore {
        let raw: &JsValue = state.as_raw().as_ref();
        // A state without storage is no Durable Object's: every use of it would fail, and be reported.
        let storage = js_sys::Reflect::get(raw, &JsValue::from_str("storage")).unwrap_or(JsValue::UNDEFINED);
        ObjectStore { storage: storage.unchecked_into(), written: Cell::new(0) }
    }

    /// Rows written since the object was loaded.
    pub(crate) fn rows_written(&self) -> u64 {
        self.written.get()
    }

    fn run(&self, sql: &str, params: &[Value]) -> Result<Cursor, StoreError> {
        let bindings = Array::new();
        for param in params {
            bindings.push(&to_js(param)?);
        }
        self.storage.sql().exec(sql, &bindings).map_err(|error| failed(&error))
    }
}

impl Store for ObjectStore {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn exec(&self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        let rows = self.run(sql, params)?.rows_written() as u64;
        self.written.set(self.written.get() + rows);
        Ok(rows)
    }

    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let rows = self.run(sql, params)?.raw().and_then(|raw| raw.to_array()).map_err(|error| failed(&error))?;
        rows.iter()
            .map(|row| Array::from(&row).iter().map(|value| from_js(&value)).collect::<Result<_, _>>().map(Row))
            .collect()
    }

    fn atomically<R, E: From<StoreError>>(&self, work: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let (mut work, mut result) = (Some(work), None);
        let outcome = self.storage.transaction_sync(&mut || {
            let Some(work) = work.take() else { return Ok(()) };
            let done = work();
            // Only throwing undoes what was written.
            let thrown = if done.is_err() { Err(JsValue::from_str("undone")) } else { Ok(()) };
            result = Some(done);
            thrown
        });
        match (outcome, result) {
            (_, Some(Err(error))) => Err(error),
            (Ok(_), Some(Ok(done))) => Ok(done),
            (Err(error), _) => Err(failed(&error).into()),
            (Ok(_), None) => Err(StoreError("a transaction did not run".to_owned()).into()),
        }
    }
}

/// Only bytes, strings and doubles go in: a boolean would be stored as text.
#[allow(clippy::cast_precision_loss)]
fn to_js(value: &Value) -> Result<JsValue, StoreError> {
    const EXACT: u64 = 1 << 53;
    Ok(match value {
        Value::Null => JsValue::NULL,
        Value::Integer(value) if value.unsigned_abs() <= EXACT => JsValue::from_f64(*value as f64),
        Value::Integer(value) => return Err(StoreError(format!("{value} does not fit a double"))),
        Value::Real(value) => JsValue::from_f64(*value),
        Value::Text(text) => JsValue::from_str(text),
        Value::Blob(bytes) => Uint8Array::from(bytes.as_slice()).into(),
    })
}

fn from_js(value: &JsValue) -> Result<Value, StoreError> {
    if value.is_null() {
        Ok(Value::Null)
    } else if let Some(number) = value.as_f64() {
        Ok(Value::Real(number))
    } else if let Some(text) = value.as_string() {
        Ok(Value::Text(text))
    } else if let Some(buffer) = value.dyn_ref::<ArrayBuffer>() {
        Ok(Value::Blob(Uint8Array::new(buffer).to_vec()))
    } else {
        Err(StoreError("a column holds what SQLite has no type for".to_owned()))
    }
}

fn failed(error: &JsValue) -> StoreError {
    let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    StoreError(message.or_else(|| error.as_string()).unwrap_or_else(|| "an exception without words".to_owned()))
}
