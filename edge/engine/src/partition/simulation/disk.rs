//! The store of a simulated partition: SQLite, of which statements and commits can be made to fail.

use super::mistakes::Mistake;
use crate::store::native::Native;
use crate::store::{Row, Store, StoreError, Value};
use std::cell::Cell;

/// How the next call of a partition goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// After so many statements one fails; those behind it work.
    Statement(u32),
    /// After so many statements the power fails: nothing works any more.
    Power(u32),
    /// All statements work, and the commit does not.
    Commit,
}

pub(super) struct Disk {
    native: Native,
    depth: Cell<u32>,
    trouble: Cell<Option<Trouble>>,
    mistake: Option<Mistake>,
}

impl Disk {
    pub(super) fn new(native: Native, mistake: Option<Mistake>) -> Disk {
        Disk { native, depth: Cell::new(0), trouble: Cell::new(None), mistake }
    }

    pub(super) fn trouble(&self, trouble: Option<Trouble>) {
        self.trouble.set(trouble);
    }

    /// An empty database again, with its schema.
    pub(super) fn emptied(self) -> Native {
        let tables = self.native.query("SELECT name FROM sqlite_master WHERE type = 'table'", &[]).unwrap();
        for table in tables {
            let rows = if table.text(0).unwrap() == "meta" { " WHERE name <> 'schema'" } else { "" };
            self.native.exec(&format!("DELETE FROM {}{rows}", table.text(0).unwrap()), &[]).unwrap();
        }
        self.native
    }

    fn statement(&self) -> Result<(), StoreError> {
        match self.trouble.get() {
            Some(Trouble::Statement(0)) => self.trouble.set(None),
            Some(Trouble::Power(0)) => {}
            Some(Trouble::Statement(n)) => return self.later(Trouble::Statement(n - 1)),
            Some(Trouble::Power(n)) => return self.later(Trouble::Power(n - 1)),
            Some(Trouble::Commit) | None => return Ok(()),
        }
        Err(StoreError("a simulated fault of the disk".to_owned()))
    }

    fn later(&self, trouble: Trouble) -> Result<(), StoreError> {
        self.trouble.set(Some(trouble));
        Ok(())
    }
}

impl Store for Disk {
    fn exec(&self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        self.statement()?;
        if self.mistake == Some(Mistake::NumbersAreNotKept) && sql.contains("INTO meta VALUES ('counter'") {
            return Ok(1);
        }
        self.native.exec(sql, params)
    }

    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.statement()?;
        self.native.query(sql, params)
    }

    fn atomically<R, E: From<StoreError>>(&self, work: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let depth = self.depth.get();
        self.native.atomically(|| {
            self.depth.set(depth + 1);
            let result = work();
            self.depth.set(depth);
            if depth == 0 && matches!(self.trouble.get(), Some(Trouble::Commit | Trouble::Power(0))) {
                return Err(E::from(StoreError("a simulated crash before the commit".to_owned())));
            }
            result
        })
    }
}
