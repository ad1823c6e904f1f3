//! Reading the partitions' feeds: what has changed becomes what should be where. The cursors are kept with it, in one
//! transaction, so a crash repeats a page at worst.

use super::connection::Connection;
use super::deliveries::Deliveries;
use super::look_up::EXTERNAL;
use super::{Shared, TURN_MS, fault};
use crate::directory;
use crate::feed;
use crate::now_ms;
use crate::partitions::Partitions;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use wingbeat_engine::destinations::braze::export;
use wingbeat_engine::destinations::braze::queue::{Known, LookUps, Seen};
use wingbeat_engine::destinations::braze::track::{self, Names};
use wingbeat_engine::destinations::ledger::{Displaced, Ledger, When, Wish, Wished};
use wingbeat_engine::destinations::prospect::Prospect;
use wingbeat_engine::destinations::retry::Class;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::change::Cause;
use wingbeat_engine::partition::feed::{Cursor, Item, Told, What};
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
    /// Reads as long as there is more, and not so long that calls wait.
    pub(crate) async fn read_for_a_turn(&self) -> Result<Read> {
        let until = now_ms() + TURN_MS;
        let mut read = self.read_feeds().await?;
        while read.more && read.failed == 0 && now_ms() < until && self.known()?.is_some() {
            let page = self.read_feeds().await?;
            read = Read { prospects: read.prospects + page.prospects, ..page };
        }
        Ok(read)
    }

    /// Reads one page of every partition.
    async fn read_feeds(&self) -> Result<Read> {
        let round = self.round.get();
        let partitions = Partitions::open(&self.env).await.map_err(|_| fault("the directory could not be read"))?;
        let number = partitions.directory().partitions;
        let mut cursors = (0..number).map(|partition| self.cursor(partition)).collect::<Result<Vec<_>>>()?;
        let mut read = Read::default();
        if !self.begin(&partitions, &mut cursors, round).await? {
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
        // Meanwhile everybody may have become due anew, or the connection be gone: then these pages are of no use.
        let Some(kept) = self.known()?.filter(|_| self.round.get() == round) else {
            return Ok(Read { more: true, ..read });
        };
        let connection = &kept.connection;
        self.behind.set(told.iter().map(|(_, page)| page.behind).sum());
        // First: who is back has been told of by whichever page was read last.
        let items = told.iter().flat_map(|(_, page)| &page.items);
        let mut erased = items.filter(|item| is_deleted(item)).map(|item| item.founder.prospect_id());
        self.store
            .atomically(|| erased.try_for_each(|prospect| self.withdraw(connection, &prospect)))
            .map_err(fault)?;
        for (partition, page) in told {
            read.prospects += page.items.len() as u64;
            read.more |= page.more;
            self.store.atomically(|| self.note(connection, &names, partition, &page)).map_err(fault)?;
        }
        Ok(read)
    }

    /// Takes a place in the feed of each partition where there is none yet, and keeps it before any is read on from there:
    /// what happens from now on is not missed, whatever fails first. Answers whether there is a place in all of them.
    async fn begin(&self, partitions: &Partitions<'_>, cursors: &mut Vec<Option<Cursor>>, round: u64) -> Result<bool> {
        let known: Vec<bool> = cursors.iter().map(Option::is_some).collect();
        // Why it failed has been logged.
        let has_begun = feed::begin(partitions, cursors).await.is_ok();
        let new = cursors.iter().zip(known).zip(0_u16..).filter(|((_, known), _)| !known);
        let new: Vec<_> = new.filter_map(|((cursor, _), partition)| Some((partition, cursor.as_ref()?))).collect();
        if new.is_empty() {
            return Ok(has_begun);
        }
        // How many there are to be read, for whoever waits for it.
        let totals = join_all(new.iter().map(|(partition, _)| async move {
            let answer = partitions.ask_one(*partition, Query::Stretch(-1, u32::MAX)).await;
            if let Ok(Answer::Stretch(stretch)) = answer { stretch.people } else { 0 }
        }))
        .await;
        if self.known()?.is_none() || self.round.get() != round {
            return Ok(has_begun);
        }
        let keep = |((partition, cursor), total): (&(u16, &Cursor), u64)| {
            let params = [i64::from(*partition).into(), Value::Blob(encode(*cursor)?), count(total)];
            self.store.exec("INSERT OR IGNORE INTO cursor VALUES (?, ?, 0, ?)", &params).map(drop)
        };
        self.store.atomically(|| new.iter().zip(totals).try_for_each(keep)).map_err(fault)?;
        Ok(has_begun)
    }

    /// How many people of how many are read, of those who are there already: all, once that is done.
    pub(crate) fn backfill(&self) -> Result<(u64, u64)> {
        let rows = self.store.query("SELECT body, read, total FROM cursor", &[]).map_err(fault)?;
        let (mut done, mut total) = (0, 0);
        for row in &rows {
            let read = |column| row.integer(column).map(i64::unsigned_abs).map_err(fault);
            let cursor: Cursor = decode(row.blob(0).map_err(fault)?).map_err(fault)?;
            total += read(2)?;
            done += if cursor.is_walking() { read(1)?.min(read(2)?) } else { read(2)? };
        }
        Ok((done, total))
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
        let trouble = self.looking.trouble(&self.store).map_err(|error| StoreError(error.to_string()))?;
        let is_refused = trouble.is_some_and(|trouble| trouble.class == Class::Setup);
        let asks = connection.look_up.on && !connection.dry_run && !is_refused;
        for item in &page.items {
            // Who has reached a stage has changed, too, and is told by itself.
            let What::Changed { prospect: Some(prospect), cause, .. } = &item.what else { continue };
            match serde_json::from_slice::<Prospect>(prospect) {
                Ok(prospect) if prospect.life_cycle == "active" => {
                    let how = How { loading, asks, active: *cause == Some(Cause::Event) };
                    self.note_one(connection, names, &prospect, how)?;
                }
                // Who was erased has been withdrawn; whom somebody has gone into changed, too.
                Ok(_) => {}
                Err(error) => worker::console_error!("a prospect could not be read: {error}"),
            }
        }
        let params = [Value::Blob(encode(&page.cursor)?), count(page.items.len() as u64), i64::from(partition).into()];
        self.store.exec("UPDATE cursor SET body = ?, read = read + ? WHERE partition = ?", &params).map(drop)
    }

    fn note_one(
        &self,
        connection: &Connection,
        names: &Names,
        prospect: &Prospect,
        how: How,
    ) -> std::result::Result<(), StoreError> {
        let (ledger, queue) = (Ledger(&self.store), LookUps(&self.store));
        let (workspace, settings) = (&connection.workspace, &connection.write_back);
        let again_ms = connection.pace.coalesce_ms.max(1);
        let seen = Seen { prospect: &prospect.id, active: how.active, now: now_ms(), again_ms };
        let asked_for = export::wanted(prospect, workspace, &connection.look_up, settings.on);
        for name in export::names(prospect, workspace) {
            queue.belongs(&name, &prospect.id)?;
            match asked_for.contains(&name) {
                _ if !connection.look_up.on => {}
                true => queue.want(&name, seen)?,
                false => queue.need_not(&name)?,
            }
        }
        if !settings.on {
            return Ok(());
        }
        let wanted = track::to_tell(prospect, names, settings);
        // A first load waits for nothing: there is nothing to be put together with.
        let urgent = |wanted: &_, confirmed: &_| how.loading || track::is_urgent(wanted, confirmed, names, settings);
        let mut targets = Vec::new();
        for target in track::targets(prospect, workspace) {
            let known = queue.known(&target)?;
            let is_external = target.starts_with(EXTERNAL);
            // Braze is silent about who it does not know, so that an external id is asked for before it is written to, and
            // who is unknown is not: what they were sent would be taken for what they hold.
            let absent = how.asks && Known::is_absent(known.as_ref(), is_external);
            let profile = known.and_then(|known| known.profile).filter(|_| is_external);
            targets.push((profile.unwrap_or_else(|| target.clone()), absent, target));
        }
        targets.sort();
        targets.dedup();
        // Names that lead to profiles of others, by those profiles.
        let mut not_theirs = BTreeMap::new();
        let mut theirs = Vec::new();
        for (target, absent, name) in targets {
            let own = !name.starts_with(EXTERNAL);
            let (wanted, (id, rev)) = (wanted.clone(), (&prospect.id, prospect.rev));
            let wish = Wish { target: &target, prospect: id, rev, wanted, absent, own };
            match ledger.wish(&wish, urgent, when(connection))? {
                Wished::Noted => theirs.push(target),
                Wished::Anothers => drop(not_theirs.insert(name, target)),
                Wished::InsteadOf(other) => {
                    for way in queue.ways(&target, &other.prospect)? {
                        ledger.is_anothers(&way, &target, &other, when(connection))?;
                    }
                    theirs.push(target);
                }
            }
        }
        let names = export::names(prospect, workspace);
        if theirs.is_empty() && not_theirs.is_empty() {
            // Addresses lead to profiles, too; these are told only once they are known to be the prospect's.
            for name in &names {
                let Some(profile) = queue.known(name)?.and_then(|known| known.profile) else { continue };
                if ledger.holder(&profile)?.is_some_and(|holder| holder != prospect.id) {
                    not_theirs.insert(name.clone(), profile);
                }
            }
        }
        let not_told = Displaced { prospect: prospect.id.clone(), rev: prospect.rev, wanted };
        let has_braze_id = theirs.iter().any(|target| !target.starts_with(EXTERNAL));
        for name in names.iter().filter(|name| !theirs.contains(name)) {
            match not_theirs.get(name) {
                Some(profile) => ledger.is_anothers(name, profile, &not_told, when(connection))?,
                None => ledger.is_nobody_elses(name)?,
            }
            // The same profile, perhaps, told by its Braze id from now on.
            if has_braze_id && name.starts_with(EXTERNAL) && !not_theirs.contains_key(name) {
                ledger.give_way(name, &prospect.id, &theirs, when(connection))?;
            }
        }
        Ok(())
    }

    /// Somebody was erased: what was written of them goes, nobody asks for them any more, and what is kept of calls does
    /// not speak of them.
    fn withdraw(&self, connection: &Connection, prospect: &str) -> std::result::Result<(), StoreError> {
        let mut names = Ledger(&self.store).withdraw(prospect, when(connection))?;
        names.extend(LookUps(&self.store).forget(prospect)?);
        self.writing.suspects(&self.store).forget(&names)?;
        self.looking.suspects(&self.store).forget(&names)?;
        Deliveries(&self.store).scrub(&names)
    }
}

/// How somebody came to be read.
#[derive(Clone, Copy)]
struct How {
    /// Because everybody is.
    loading: bool,
    /// Whether Braze can be asked who is there.
    asks: bool,
    /// Because they did something, or something was said of who they are.
    active: bool,
}

fn count(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(crate) fn when(connection: &Connection) -> When {
    When { now: now_ms(), coalesce_ms: connection.pace.coalesce_ms, gap_ms: connection.pace.gap_ms }
}

/// Whether somebody was erased and is not back.
fn is_deleted(item: &Item) -> bool {
    #[derive(serde::Deserialize)]
    struct Head {
        life_cycle: String,
    }
    let What::Changed { prospect: Some(prospect), .. } = &item.what else { return false };
    serde_json::from_slice(prospect).is_ok_and(|Head { life_cycle }| life_cycle == "deleted")
}

/// By which version of the model an item was made.
fn version(item: &Item) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Version {
        model_version: u64,
    }
    let What::Changed { prospect: Some(prospect), .. } = &item.what else { return None };
    serde_json::from_slice(prospect).ok().map(|Version { model_version }| model_version)
}
