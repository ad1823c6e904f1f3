//! What was sent, what was answered, and when it is tried next: kept for people to look at.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use wingbeat_engine::destinations::braze::erased::scrub;
use wingbeat_engine::store::{Row, Store, StoreError, Value};

const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS delivery (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL) STRICT",
];
/// The kinds of deliveries, as [`super::Shared`] names its lanes.
pub(crate) const KINDS: [&str; 2] = ["write_back", "look_up"];
/// What may have become of one. `moot`: what it was to say need not be said any more.
pub(crate) const STATES: [&str; 7] = ["delivered", "partial", "refused", "waiting", "split", "dry_run", "moot"];
/// Behind every time, ms, and every number: the largest that a double holds exactly, as numbers go to SQLite here.
pub(crate) const NEWEST: i64 = (1 << 53) - 1;
/// How many of what went well are kept of each kind: a first load is thousands.
const DELIVERED_KEPT: i64 = 500;
/// How many runs are kept.
const RUNS_KEPT: i64 = 500;
/// How long anything is kept, ms.
const KEPT_MS: i64 = 30 * 86_400_000;

/// One series of attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// `write_back` or `look_up`.
    pub(crate) kind: String,
    /// Counts from 1.
    pub(crate) attempt: u32,
    /// When the next one is, ms.
    pub(crate) next_at: Option<i64>,
    /// HTTP's, if anything was answered.
    pub(crate) status: Option<u16>,
    /// Why it is not delivered, in words.
    pub(crate) reason: Option<String>,
    /// Where to.
    pub(crate) url: String,
    /// All that is shown of the key.
    pub(crate) key: String,
    /// The exact body.
    pub(crate) request: Json,
    /// What was answered, without the key.
    pub(crate) answer: Option<String>,
    /// Whom it was about.
    pub(crate) targets: Vec<String>,
    /// Who was refused, and why.
    pub(crate) refused: Vec<(String, String)>,
}

impl Delivery {
    /// The first attempt.
    pub(crate) fn new(kind: &str, shown_key: &str, url: &str, request: Json, targets: Vec<String>) -> Delivery {
        Delivery {
            kind: kind.to_owned(),
            attempt: 1,
            next_at: None,
            status: None,
            reason: None,
            url: url.to_owned(),
            key: shown_key.to_owned(),
            request,
            answer: None,
            targets,
            refused: Vec::new(),
        }
    }

    /// Takes some targets out of all that is shown: who they were was erased.
    pub(crate) fn scrub(&mut self, targets: &[String]) {
        if targets.is_empty() {
            return;
        }
        scrub(&mut self.request, targets);
        self.targets.retain(|target| !targets.contains(target));
        let before = self.refused.len();
        self.refused.retain(|(target, _)| !targets.contains(target));
        if self.refused.len() < before {
            // Why somebody was refused may name them.
            (self.answer, self.reason) = (None, None);
        }
    }
}

/// The deliveries and runs of one connection.
pub(crate) struct Deliveries<'s, S: Store>(pub(crate) &'s S);

impl<S: Store> Deliveries<'_, S> {
    pub(crate) fn open(&self) -> Result<(), StoreError> {
        TABLES.iter().try_for_each(|sql| self.0.exec(sql, &[]).map(drop))
    }

    /// Writes one down, in the place of its earlier attempt if there is one. Answers its number.
    pub(crate) fn write(&self, id: Option<i64>, at: i64, state: &str, delivery: &Delivery) -> Result<i64, StoreError> {
        let body = serde_json::to_string(delivery).map_err(|error| StoreError(error.to_string()))?;
        let sql = "INSERT OR REPLACE INTO delivery VALUES (?, ?, ?, ?) RETURNING id";
        let rows = self.0.query(sql, &[id.into(), at.into(), Value::from(state), Value::Text(body)])?;
        rows.first().map_or(Ok(0), |row| row.integer(0))
    }

    pub(crate) fn get(&self, id: i64) -> Result<Option<Delivery>, StoreError> {
        let rows = self.0.query("SELECT body FROM delivery WHERE id = ?", &[id.into()])?;
        rows.first().map(|row| read(row.text(0)?)).transpose()
    }

    /// Newest first, those that are older than one of a time, ms, and a number.
    pub(crate) fn list(
        &self,
        connection: &str,
        (kind, state): (Option<&str>, Option<&str>),
        (at, id): (i64, i64),
        limit: i64,
    ) -> Result<Vec<Json>, StoreError> {
        let sql = "SELECT id, at, state, body FROM delivery
                   WHERE coalesce(?1, state) = state AND coalesce(?2, body ->> 'kind') = body ->> 'kind'
                     AND (at, id) < (?3, ?4) ORDER BY at DESC, id DESC LIMIT ?5 + 0";
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let params = [text(state), text(kind), at.into(), id.into(), limit.into()];
        self.0.query(sql, &params)?.iter().map(|row| show(row, connection)).collect()
    }

    pub(crate) fn write_run(&self, at: i64, run: &Json) -> Result<(), StoreError> {
        self.0.exec("INSERT INTO run (at, body) VALUES (?, ?)", &[at.into(), Value::Text(run.to_string())]).map(drop)
    }

    /// Newest first; one of them, by its number.
    pub(crate) fn runs(&self, id: Option<i64>, limit: i64) -> Result<Vec<Json>, StoreError> {
        let filter = if id.is_some() { "WHERE id = ?" } else { "" };
        let sql = format!("SELECT id, body FROM run {filter} ORDER BY id DESC LIMIT ? + 0");
        let params: Vec<Value> = id.map(Value::from).into_iter().chain([limit.into()]).collect();
        let show = |row: &Row| {
            let mut run: Json = read(row.text(1)?)?;
            if let Some(run) = run.as_object_mut() {
                run.insert("id".to_owned(), row.integer(0)?.into());
            }
            Ok(run)
        };
        self.0.query(&sql, &params)?.iter().map(show).collect()
    }

    /// Takes some targets out of all that is kept.
    pub(crate) fn scrub(&self, targets: &[String]) -> Result<(), StoreError> {
        for target in targets {
            // Found by the target itself, as JSON writes it, in the list of them.
            let name = Json::from(target.as_str()).to_string();
            let rows = self.0.query("SELECT id, body FROM delivery WHERE instr(body, ?) > 0", &[Value::Text(name)])?;
            for row in &rows {
                let mut delivery: Delivery = read(row.text(1)?)?;
                delivery.scrub(targets);
                let body = serde_json::to_string(&delivery).map_err(|error| StoreError(error.to_string()))?;
                self.0
                    .exec("UPDATE delivery SET body = ? WHERE id = ?", &[Value::Text(body), row.integer(0)?.into()])?;
            }
        }
        Ok(())
    }

    /// Forgets what is old.
    pub(crate) fn prune(&self, now: i64) -> Result<(), StoreError> {
        for kind in KINDS {
            let of = "state = 'delivered' AND body ->> 'kind' = ?1";
            let kept = format!("SELECT id FROM delivery WHERE {of} ORDER BY id DESC LIMIT 1 OFFSET ?2");
            let sql = format!("DELETE FROM delivery WHERE {of} AND id <= ({kept})");
            self.0.exec(&sql, &[Value::from(kind), DELIVERED_KEPT.into()])?;
        }
        let statements = [
            ("DELETE FROM delivery WHERE at < ?".to_owned(), now - KEPT_MS),
            (
                "DELETE FROM run WHERE id <= (SELECT id FROM run ORDER BY id DESC LIMIT 1 OFFSET ?)".to_owned(),
                RUNS_KEPT,
            ),
        ];
        statements.iter().try_for_each(|(sql, param)| self.0.exec(sql, &[(*param).into()]).map(drop))
    }
}

fn read<T: for<'d> Deserialize<'d>>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError(error.to_string()))
}

fn show(row: &Row, connection: &str) -> Result<Json, StoreError> {
    let delivery: Delivery = read(row.text(3)?)?;
    let time = |ms: i64| wingbeat_engine::time::show(ms);
    let refused: Vec<Json> = delivery
        .refused
        .iter()
        .map(|(target, reason)| serde_json::json!({ "target": target, "reason": reason }))
        .collect();
    Ok(serde_json::json!({
        "id": format!("{connection}.{}", row.integer(0)?),
        "connection": connection,
        "kind": delivery.kind,
        "state": row.text(2)?,
        "at": time(row.integer(1)?),
        "attempt": delivery.attempt,
        "next_attempt_at": delivery.next_at.and_then(time),
        "status": delivery.status,
        "reason": delivery.reason,
        "request": {
            "method": "POST",
            "url": delivery.url,
            "headers": { "authorization": format!("Bearer {}", delivery.key), "content-type": "application/json" },
            "body": delivery.request,
        },
        "answer": delivery.answer,
        "targets": delivery.targets,
        "refused": refused,
    }))
}
