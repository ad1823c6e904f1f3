//! Reading a partition's feed as a whole: what it leaves open, because another partition knows it, is asked there.

use crate::error::{ApiError, Result};
use crate::partitions::Partitions;
use futures_util::future::try_join_all;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::feed::{Cursor, Item, Told};

/// Makes a cursor for each partition that has none yet, of all of them before any is read on: of somebody who has gone from
/// one to another, one tells where the other stands.
///
/// # Errors
/// When a partition cannot be reached.
pub(crate) async fn begin(partitions: &Partitions<'_>, cursors: &mut Vec<Option<Cursor>>) -> Result<()> {
    cursors.resize(partitions.directory().partitions.into(), None);
    let missing = cursors.iter_mut().zip(0..).filter(|(cursor, _)| cursor.is_none());
    try_join_all(missing.map(|(cursor, partition)| async move {
        *cursor = Some(read(partitions, partition, None, 0).await?.cursor);
        Ok::<_, ApiError>(())
    }))
    .await
    .map(drop)
}

/// About so many items after a cursor; everybody, without one.
///
/// # Errors
/// When a partition cannot be reached, or somebody is just being brought together: read again from the same cursor.
pub(crate) async fn read(
    partitions: &Partitions<'_>,
    partition: u16,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Told> {
    let Answer::Feed(mut told) = partitions.ask_one(partition, Query::Feed { cursor, limit }).await? else {
        return Err(ApiError::unavailable("a partition failed", "it gave another answer than its feed"));
    };
    try_join_all(told.items.iter_mut().filter(|item| item.is_elsewhere()).map(|item| ask(partitions, item))).await?;
    Ok(told)
}

async fn ask(partitions: &Partitions<'_>, item: &mut Item) -> Result<()> {
    let answer = partitions.ask(Query::Prospect(item.target())).await?;
    let answer = if let Answer::Document(prospect) = answer { Some(prospect) } else { None };
    item.learn(answer).map_err(|error| ApiError::unavailable("a change could not be shown", error))
}
