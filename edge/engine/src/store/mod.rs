//! The port to SQLite. The same statements run natively on `rusqlite` and inside a Durable Object.
//!
//! What the port may not ask for, because a Durable Object's `sql` API has it not (facts on Workers, B.2): booleans
//! (bind 0 and 1), integers above 2^53 (they come back as doubles), more than 100 parameters, several statements with
//! parameters at once.
//!
//! A limit is written `LIMIT ? + 0`: a bare `?` there has SQLite plan for its value, and prepare the statement again each
//! time that it is used.

#[cfg(any(test, feature = "native"))]
pub mod native;

use thiserror::Error;

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL `NULL`.
    Null,
    /// At most 2^53 in size: a Durable Object gives every number back as a double.
    Integer(i64),
    /// A double.
    Real(f64),
    /// UTF-8.
    Text(String),
    /// Bytes; 2 MB at most with their row.
    Blob(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Integer(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Blob(value.to_vec())
    }
}

impl From<Option<f64>> for Value {
    fn from(value: Option<f64>) -> Value {
        value.map_or(Value::Null, Value::Real)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Value {
        value.map_or(Value::Null, Value::Integer)
    }
}

/// The storage failed, or gave back what was never put there: always our fault, never the caller's.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// The integer in a column; a double without fraction is one.
    ///
    /// # Errors
    /// When the column is missing or holds something else.
    pub fn integer(&self, column: usize) -> Result<i64, StoreError> {
        match self.0.get(column) {
            Some(Value::Integer(value)) => Ok(*value),
            // A Durable Object knows no other number than the double (facts on Workers, B.2, 3).
            #[allow(clippy::cast_possible_truncation)]
            Some(Value::Real(value)) if libm::trunc(*value) == *value && value.abs() <= 9_007_199_254_740_992.0 => {
                Ok(*value as i64)
            }
            other => Err(StoreError(format!("column {column}: expected an integer, found {other:?}"))),
        }
    }

    /// The number in a column.
    ///
    /// # Errors
    /// When the column is missing or holds something else.
    pub fn real(&self, column: usize) -> Result<f64, StoreError> {
        match self.0.get(column) {
            Some(Value::Real(value)) => Ok(*value),
            // SQLite keeps a whole double as an integer, and a Durable Object tells no difference.
            #[allow(clippy::cast_precision_loss)]
            Some(Value::Integer(value)) => Ok(*value as f64),
            other => Err(StoreError(format!("column {column}: expected a number, found {other:?}"))),
        }
    }

    /// The bytes in a column.
    ///
    /// # Errors
    /// When the column is missing or holds something else.
    pub fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        match self.0.get(column) {
            Some(Value::Blob(bytes)) => Ok(bytes),
            other => Err(StoreError(format!("column {column}: expected bytes, found {other:?}"))),
        }
    }

    /// The text in a column.
    ///
    /// # Errors
    /// When the column is missing or holds something else.
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text),
            other => Err(StoreError(format!("column {column}: expected text, found {other:?}"))),
        }
    }

    /// Whether a column is `NULL`.
    #[must_use]
    pub fn is_null(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(Value::Null))
    }
}

/// SQLite, wherever it runs.
pub trait Store {
    /// Runs one statement that gives no rows. Answers how many rows it wrote: only zero or not zero means the same in
    /// both adapters (a Durable Object counts index entries too).
    ///
    /// # Errors
    /// When SQLite refuses.
    fn exec(&self, sql: &str, params: &[Value]) -> Result<u64, StoreError>;

    /// Runs one statement and gives all its rows: the caller bounds them with `LIMIT`.
    ///
    /// # Errors
    /// When SQLite refuses.
    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// Runs `work` so that all it wrote is undone when it fails. May be nested.
    ///
    /// # Errors
    /// Those of `work`, and SQLite's own.
    fn atomically<R, E: From<StoreError>>(&self, work: impl FnOnce() -> Result<R, E>) -> Result<R, E>;
}
