//! The store on this machine: `rusqlite`, for tests, simulation, benchmarks and the CLI.

use super::{Row, Store, StoreError, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use std::cell::Cell;
use std::path::Path;

/// A SQLite database, in memory or in a file.
pub struct Native {
    connection: Connection,
    depth: Cell<u32>,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        StoreError(error.to_string())
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Real(value) => ValueRef::Real(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// All statements of the engine, so that none is prepared twice.
const STATEMENTS_KEPT: usize = 128;

impl Native {
    /// A database that is gone when this is dropped.
    ///
    /// # Errors
    /// When SQLite cannot make one.
    pub fn in_memory() -> Result<Native, StoreError> {
        Ok(Native::over(Connection::open_in_memory()?))
    }

    /// A database in a file, made if it is not there.
    ///
    /// # Errors
    /// When the file cannot be opened as one.
    pub fn open(path: &Path) -> Result<Native, StoreError> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        Ok(Native::over(connection))
    }

    fn over(connection: Connection) -> Native {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Native { connection, depth: Cell::new(0) }
    }
}

impl Store for Native {
    fn exec(&self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        let changed = self.connection.prepare_cached(sql)?.execute(params_from_iter(params))?;
        Ok(changed as u64)
    }

    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(params))?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns);
            for column in 0..columns {
                values.push(match row.get_ref(column)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(value) => Value::Integer(value),
                    ValueRef::Real(value) => Value::Real(value),
                    ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
                    ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
                });
            }
            out.push(Row(values));
        }
        Ok(out)
    }

    fn atomically<R, E: From<StoreError>>(&self, work: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let depth = self.depth.get();
        let run = |sql: String| self.connection.execute_batch(&sql).map_err(StoreError::from);
        run(format!("SAVEPOINT s{depth}"))?;
        self.depth.set(depth + 1);
        let result = work();
        self.depth.set(depth);
        if result.is_err() {
            run(format!("ROLLBACK TO s{depth}"))?;
        }
        run(format!("RELEASE s{depth}"))?;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[test]
    fn a_limit_that_is_a_sum_does_not_have_the_statement_prepared_again() {
        let store = Native::in_memory().unwrap();
        store.exec("CREATE TABLE t (a INTEGER) STRICT", &[]).unwrap();
        let again = |sql: &str| {
            let mut statement = store.connection.prepare(sql).unwrap();
            for limit in 1..10 {
                assert!(statement.query([limit]).unwrap().next().unwrap().is_none());
            }
            statement.get_status(StatementStatus::RePrepare)
        };
        assert_eq!(again("SELECT a FROM t ORDER BY a LIMIT ? + 0"), 0);
        assert_ne!(again("SELECT a FROM t ORDER BY a LIMIT ?"), 0, "the sum is needed no more");
    }

    #[test]
    fn what_failed_work_wrote_is_undone_and_what_stands_around_it_stays() {
        let store = Native::in_memory().unwrap();
        store.exec("CREATE TABLE t (a INTEGER) STRICT", &[]).unwrap();
        let outer: Result<(), StoreError> = store.atomically(|| {
            store.exec("INSERT INTO t VALUES (?)", &[Value::Integer(1)])?;
            let inner: Result<(), StoreError> = store.atomically(|| {
                store.exec("INSERT INTO t VALUES (?)", &[Value::Integer(2)])?;
                Err(StoreError("no".into()))
            });
            assert!(inner.is_err());
            Ok(())
        });
        outer.unwrap();
        let rows = store.query("SELECT a FROM t", &[]).unwrap();
        assert_eq!(rows, [Row(vec![Value::Integer(1)])]);
    }
}
