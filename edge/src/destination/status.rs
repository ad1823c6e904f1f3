//! What people see of a connection and can have it do.

use super::connection::{Kept, NO_KEY};
use super::deliveries::{Deliveries, NEWEST};
use super::lane::Lane;
use super::reading::when;
use super::{Shared, fault};
use crate::error::ApiError;
use crate::now_ms;
use serde_json::{Value as Json, json};
use wingbeat_engine::destinations::braze::queue::LookUps;
use wingbeat_engine::destinations::braze::settings::WriteBack;
use wingbeat_engine::destinations::braze::track::{self, OBJECTS_MAX, Request};
use wingbeat_engine::destinations::ledger::{Due, Ledger, Values};
use wingbeat_engine::destinations::retry::Class;
use wingbeat_engine::store::{Row, Store, StoreError};

/// The most that a list answers.
const LIMIT_MAX: i64 = 200;

/// What a frontend is answered instead.
pub(crate) enum Refused {
    /// There is no such thing.
    Unknown,
    /// The caller's mistake.
    Bad(ApiError),
    /// Ours.
    Fault(worker::Error),
}

impl Refused {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Refused::Unknown => 404,
            Refused::Bad(_) => 400,
            Refused::Fault(_) => 500,
        }
    }

    pub(crate) fn json(&self) -> Json {
        match self {
            Refused::Unknown => Json::Null,
            Refused::Bad(error) => json!({ "message": error.message(), "path": error.path() }),
            Refused::Fault(error) => json!({ "message": error.to_string() }),
        }
    }
}

impl From<worker::Error> for Refused {
    fn from(error: worker::Error) -> Refused {
        Refused::Fault(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        Refused::Fault(fault(error))
    }
}

type Answer = Result<Json, Refused>;

impl Shared {
    /// Sets the connection. Answers it as it is shown.
    pub(crate) fn set(&self, id: &str, body: Json) -> Answer {
        let before = self.kept()?;
        let kept = Kept::read(&self.env, id, body, before.as_ref()).map_err(Refused::Bad)?;
        let than = |before: &Kept| kept.connection.asks_otherwise_than(&before.connection);
        let again = before.as_ref().is_none_or(than);
        let is_other = |before: &Kept| kept.connection.is_another_account_than(&before.connection);
        let elsewhere = before.as_ref().is_some_and(is_other);
        self.store.atomically(|| {
            self.keep(&kept).map_err(|error| StoreError(error.to_string()))?;
            if elsewhere {
                // What the other account said and holds is nobody's business here. It keeps what was written there.
                Ledger(&self.store).forget_all()?;
                LookUps(&self.store).forget_all()?;
            }
            if again {
                // Everybody is looked at once more, by the new settings; only what differs is sent.
                self.read_anew()?;
                Ledger(&self.store).try_again(None, when(&kept.connection))?;
                Ledger(&self.store).make_stale()?;
            }
            self.writing.suspects(&self.store).forget_all()?;
            self.looking.suspects(&self.store).forget_all()?;
            // A new key, or a new address, may have put it right.
            self.writing
                .clear(&self.store)
                .and(self.looking.clear(&self.store))
                .map_err(|error| StoreError(error.to_string()))
        })?;
        self.status()
    }

    /// The connection as it is shown, and how it fares.
    pub(crate) fn status(&self) -> Answer {
        let kept = self.kept()?.ok_or(Refused::Unknown)?;
        let mut shown = serde_json::to_value(&kept.connection).map_err(fault)?;
        let counts = Ledger(&self.store).counts()?;
        let (done, total) = self.backfill()?;
        let status = json!({
            "loading": self.is_loading()?,
            "backfill": { "done": done, "total": total },
            "behind": self.behind.get(),
            "write_back": {
                "profiles": counts.all,
                "pending": counts.pending,
                "confirmed": counts.confirmed,
                "stopped": counts.stopped,
                "absent": counts.absent,
                "shown_only": counts.shown_only,
                "not_theirs": counts.not_theirs,
                "requests_to_go": (counts.pending + counts.shown_only).div_ceil(OBJECTS_MAX as u64),
                "trouble": self.trouble(&kept, &self.writing)?,
            },
            "look_up": { "people": LookUps(&self.store).counts()?, "trouble": self.trouble(&kept, &self.looking)? },
        });
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("api_key".to_owned(), kept.shown_key.into());
            shown.insert("status".to_owned(), status);
        }
        Ok(shown)
    }

    fn trouble(&self, kept: &Kept, lane: &Lane) -> Answer {
        let show = wingbeat_engine::time::show;
        if !kept.has_key() {
            let none = Json::Null;
            return Ok(json!({
                "class": Class::Setup, "reason": NO_KEY, "failures": 0, "since": none, "next_attempt_at": none,
            }));
        }
        Ok(lane.trouble(&self.store)?.map_or(Json::Null, |trouble| {
            json!({
                "class": trouble.class,
                "reason": trouble.reason,
                "failures": trouble.failures,
                "since": show(trouble.since),
                "next_attempt_at": show(trouble.next_at),
            })
        }))
    }

    /// Newest first, of a kind and in a state, and older than one of a time and a number, if these are given.
    pub(crate) fn deliveries(
        &self,
        of: (Option<&str>, Option<&str>),
        before: (Option<String>, Option<String>),
        limit: Option<String>,
    ) -> Answer {
        let kept = self.kept()?.ok_or(Refused::Unknown)?;
        let bound = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(NEWEST);
        let before = (bound(before.0), bound(before.1));
        Ok(Deliveries(&self.store).list(&kept.connection.id, of, before, number(limit))?.into())
    }

    /// Tries again what a delivery did not deliver, at once.
    pub(crate) fn retry(&self, id: Option<String>) -> Answer {
        let kept = self.kept()?.ok_or(Refused::Unknown)?;
        let id = id.and_then(|id| id.parse().ok()).ok_or(Refused::Unknown)?;
        let delivery = Deliveries(&self.store).get(id)?.ok_or(Refused::Unknown)?;
        let is_look_up = delivery.kind == self.looking.name();
        let lane = if is_look_up { &self.looking } else { &self.writing };
        self.store.atomically(|| match is_look_up {
            true => LookUps(&self.store).try_again(&delivery.targets, now_ms()),
            false => Ledger(&self.store).try_again(Some(&delivery.targets), when(&kept.connection)),
        })?;
        if let Some(trouble) = lane.trouble(&self.store)? {
            // The series goes on: it is only not waited for.
            lane.keep(&self.store, &super::lane::Trouble { next_at: now_ms(), ..trouble })?;
        }
        Ok(Json::Null)
    }

    pub(crate) fn runs(&self, run: Option<String>, limit: Option<String>) -> Answer {
        self.kept()?.ok_or(Refused::Unknown)?;
        let run = run.map(|run| run.parse().map_err(|_| Refused::Unknown)).transpose()?;
        Ok(Deliveries(&self.store).runs(run, number(limit))?.into())
    }

    /// Profiles, and what is the matter with them.
    pub(crate) fn records(&self, state: Option<&str>, after: &str, limit: Option<String>) -> Answer {
        self.kept()?.ok_or(Refused::Unknown)?;
        let show = |row: &Row| {
            let values = |column| {
                let values: Values = serde_json::from_str(row.text(column)?).unwrap_or_default();
                Ok::<Json, StoreError>(track::attributes(&values).into())
            };
            Ok::<Json, StoreError>(json!({
                "record": row.text(0)?,
                "prospect": row.text(1)?,
                "state": row.text(7)?,
                "wanted": values(2)?,
                "confirmed": values(3)?,
                "failures": row.integer(4)?,
                "error": match row.text(7)? {
                    "not_theirs" => self.whose(row.text(0)?)?.into(),
                    _ if row.is_null(5) => Json::Null,
                    _ => row.text(5)?.into(),
                },
                "next_attempt_at": if row.is_null(6) { None } else { wingbeat_engine::time::show(row.integer(6)?) },
            }))
        };
        let rows = Ledger(&self.store).page(state, after, number(limit).unsigned_abs() as usize)?;
        let items = rows.iter().map(show).collect::<Result<Vec<Json>, StoreError>>()?;
        Ok(items.into())
    }

    /// Why nothing is told to the profile that a name leads to.
    fn whose(&self, name: &str) -> Result<String, StoreError> {
        let profile = LookUps(&self.store).known(name)?.and_then(|known| known.profile);
        let Some(profile) = profile else { return Ok("its profile is another prospect's".to_owned()) };
        // Nobody's, once they were erased: this one's, when it is next read.
        let holder = Ledger(&self.store).holder(&profile)?;
        let holder = holder.map(|holder| format!("prospect {holder}, who has that id"));
        Ok(format!("its profile is {profile}, which is told of {}", holder.as_deref().unwrap_or("another")))
    }

    /// Reads what there is to read, now. `full`: everybody once more.
    pub(crate) fn sync(&self, full: bool) -> Answer {
        self.kept()?.ok_or(Refused::Unknown)?;
        if full {
            self.store.atomically(|| {
                LookUps(&self.store).try_refused_again(now_ms())?;
                self.read_anew()
            })?;
        }
        Ok(Json::Null)
    }

    /// The exact bodies that would be sent now, so many requests of them, behind the profile that an earlier answer ended
    /// with.
    pub(crate) fn preview(&self, mut behind: Option<(i64, String)>, limit: Option<String>) -> Answer {
        let kept = self.kept()?.ok_or(Refused::Unknown)?;
        let settings: &WriteBack = &kept.connection.write_back;
        let limit = number(limit).unsigned_abs() as usize;
        let mut requests = Vec::new();
        let next = loop {
            let due = Ledger(&self.store).differing(behind.as_ref(), OBJECTS_MAX)?;
            let (places, due): (Vec<i64>, Vec<Due>) = due.into_iter().unzip();
            let request = Request::of(&due, settings, OBJECTS_MAX);
            let last = request.covers.checked_sub(1).and_then(|last| places.get(last).zip(due.get(last)));
            let Some((place, last)) = last else { break None };
            if requests.len() == limit {
                break behind.map(|(place, target)| format!("{place}.{target}"));
            }
            behind = Some((*place, last.target.clone()));
            if request.is_empty() {
                continue;
            }
            requests.push(json!({
                "method": "POST",
                "url": format!("{}{}", kept.connection.rest_endpoint, track::PATH),
                "body": request.body,
            }));
        };
        let counts = Ledger(&self.store).counts()?;
        let profiles = counts.pending + counts.shown_only;
        let requests_to_go = profiles.div_ceil(OBJECTS_MAX as u64);
        let people = Ledger(&self.store).people_differing()?;
        Ok(json!({
            "people": people,
            "profiles": profiles,
            "requests_to_go": requests_to_go,
            "items": requests,
            "next_cursor": next,
        }))
    }
}

fn number(limit: Option<String>) -> i64 {
    limit.and_then(|limit| limit.parse().ok()).unwrap_or(LIMIT_MAX).clamp(1, LIMIT_MAX)
}
