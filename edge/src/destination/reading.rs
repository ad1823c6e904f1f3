//! Reading the partitions' feeds: what has changed becomes what should be where. The cursors are kept with it, in one
//! transaction, so a crash repeats a page at worst.

use super::connection::Connection;
use super::{Shared, fault};
use crate::directory;
use crate::feed;
use crate::now_ms;
use crate::partitions::Partitions;
use futures_util::future::join_all;
use wingbeat_engine::destinations::braze::export;
use wingbeat_engine::destinations::braze::queue::LookUps;
use wingbeat_engine::destinations::braze::track::{self, Names};
use wingbeat_engine::destinations::ledger::{Ledger, When, Wish};
use wingbeat_engine::destinations::prospect::Prospect;
use wingbeat_engine::partition::feed::{Cursor, Told, What};
use wingbeat_engine::partition::{decode, encode};
use wingbeat_engine::store::{Store, StoreError, Value};
use worker::Result;

/// About how many prospects one call of a partition brings.
const PAGE: u32 = 100;

/// What reading once came to.
#[derive(Default)]
pub(crate) struct Read {
    /// How many prospects.
    pub(crate) prospects: u64,
    /// Whether there is more at once.
    pub(crate) more: bool,
    /// Partitions that could not be read.
    pub(crate) failed: u64,
}

impl Shared {
    /// Reads one page of every partition.
    pub(crate) async fn read_feeds(&self, connection: &Connection) -> Result<Read> {
        let partitions = Partitions::open(&self.env).await.map_err(|_| fault("the directory could not be read"))?;
        let number = partitions.directory().partitions;
        let mut cursors = (0..number).map(|partition| self.cursor(partition)).collect::<Result<Vec<_>>>()?;
        let mut read = Read::default();
        if feed::begin(&partitions, &mut cursors).await.is_err() {
            // It has been logged.
            read.failed += 1;
            return Ok(read);
        }
        let pages = cursors.into_iter().zip(0..).map(|(cursor, partition)| {
            let partitions = &partitions;
            async move { (partition, feed::read(partitions, partition, cursor, PAGE).await) }
        });
        let mut told = Vec::new();
        for (partition, answer) in join_all(pages).await {
            match answer {
                Ok(page) => told.push((partition, page)),
                // It has been logged; the cursor stays.
                Err(_) => read.failed += 1,
            }
        }
        let newest = told.iter().flat_map(|(_, page)| &page.items).filter_map(version).max().unwrap_or(0);
        let model = if newest > partitions.directory().model.version {
            directory::read_anew(&self.env).await.map_err(|_| fault("the directory could not be read"))?.model
        } else {
            partitions.directory().model.clone()
        };
        let names = Names::of(&model.model);
        self.behind.set(told.iter().map(|(_, page)| page.behind).sum());
        for (partition, page) in told {
            read.prospects += page.items.len() as u64;
            read.more |= page.more;
            self.store.atomically(|| self.note(connection, &names, partition, &page)).map_err(fault)?;
        }
        Ok(read)
    }

    /// Whether anybody is still read for the first time.
    pub(crate) fn is_loading(&self) -> Result<bool> {
        let rows = self.store.query("SELECT body FROM cursor", &[]).map_err(fault)?;
        let cursors = rows.iter().map(|row| decode::<Cursor>(row.blob(0)?));
        let cursors = cursors.collect::<std::result::Result<Vec<_>, StoreError>>().map_err(fault)?;
        Ok(cursors.is_empty() || cursors.iter().any(Cursor::is_walking))
    }

    fn cursor(&self, partition: u16) -> Result<Option<Cursor>> {
        let number = Value::Integer(partition.into());
        let rows = self.store.query("SELECT body FROM cursor WHERE partition = ?", &[number]).map_err(fault)?;
        rows.first().map(|row| decode(row.blob(0).map_err(fault)?).map_err(fault)).transpose()
    }

    fn note(
        &self,
        connection: &Connection,
        names: &Names,
        partition: u16,
        page: &Told,
    ) -> std::result::Result<(), StoreError> {
        let known = self.store.query("SELECT body FROM cursor WHERE partition = ?", &[i64::from(partition).into()])?;
        let loading = match known.first() {
            Some(row) => decode::<Cursor>(row.blob(0)?)?.is_walking(),
            None => true,
        };
        for item in &page.items {
            // Who has reached a stage has changed, too, and is told by itself.
            let What::Changed { prospect: Some(prospect), .. } = &item.what else { continue };
            match serde_json::from_slice::<Prospect>(prospect) {
                Ok(prospect) => match prospect.life_cycle.as_str() {
                    "active" => self.note_one(connection, names, &prospect, loading)?,
                    "deleted" => self.withdraw(connection, &prospect.id)?,
                    // Whom it has gone into changed, too.
                    _ => {}
                },
                Err(error) => worker::console_error!("a prospect could not be read: {error}"),
            }
        }
        let params = [i64::from(partition).into(), Value::Blob(encode(&page.cursor)?)];
        self.store.exec("INSERT OR REPLACE INTO cursor VALUES (?, ?)", &params).map(drop)
    }

    fn note_one(
        &self,
        connection: &Connection,
        names: &Names,
        prospect: &Prospect,
        loading: bool,
    ) -> std::result::Result<(), StoreError> {
        let now = now_ms();
        if connection.look_up.on {
            let queue = LookUps(&self.store);
            for target in export::wanted(prospect, &connection.workspace, connection.look_up.by_email) {
                queue.want(&target, now)?;
            }
            if prospect.email.is_some() {
                for target in track::targets(prospect, &connection.workspace) {
                    queue.need_not(&target)?;
                }
            }
        }
        if !connection.write_back.on {
            return Ok(());
        }
        let ledger = Ledger(&self.store);
        let settings = &connection.write_back;
        let wanted = track::wanted(prospect, names, settings);
        let targets = track::targets(prospect, &connection.workspace);
        // A first load waits for nothing: there is nothing to be put together with.
        let urgent = |wanted: &_, confirmed: &_| loading || track::is_urgent(wanted, confirmed, names, settings);
        for target in &targets {
            let wish = Wish { target, prospect: &prospect.id, rev: prospect.rev, wanted: wanted.clone() };
            ledger.wish(&wish, urgent, when(connection))?;
        }
        if targets.iter().any(|target| target.starts_with("braze_id:")) {
            // The same profile, told by its Braze id from now on.
            for id in prospect.values("external_id", &connection.workspace) {
                ledger.replace(&format!("external_id:{id}"), &targets, when(connection))?;
            }
        }
        Ok(())
    }

    /// Somebody was erased: what was written of them goes, too.
    fn withdraw(&self, connection: &Connection, prospect: &str) -> std::result::Result<(), StoreError> {
        let ledger = Ledger(&self.store);
        for target in ledger.targets_of(prospect)? {
            // Nobody's from now on: who founds a prospect of this id again is somebody new.
            let wish = Wish { target: &target, prospect: "", rev: 0, wanted: serde_json::Map::new() };
            ledger.wish(&wish, |_, _| true, when(connection))?;
        }
        Ok(())
    }
}

pub(crate) fn when(connection: &Connection) -> When {
    When { now: now_ms(), coalesce_ms: connection.pace.coalesce_ms, gap_ms: connection.pace.gap_ms }
}

/// By which version of the model an item was made.
fn version(item: &wingbeat_engine::partition::feed::Item) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Version {
        model_version: u64,
    }
    let What::Changed { prospect: Some(prospect), .. } = &item.what else { return None };
    serde_json::from_slice(prospect).ok().map(|Version { model_version }| model_version)
}
