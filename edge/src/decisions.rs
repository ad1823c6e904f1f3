//! `POST /api/prospects/merge` and `POST /api/prospects/{ref}/unmerge`: what people decide about who is who (contract,
//! row 37).

use crate::error::{ApiError, Result};
use crate::idempotency::Call;
use crate::now_ms;
use crate::parameters::{Parameters, Reference};
use crate::partitions::Partitions;
use crate::prospects::{json, target, unknown};
use crate::{body, idempotency};
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use wingbeat_engine::identity::Decision;
use wingbeat_engine::key::{Identifier, KeyHash, KeyType};
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::message::{Ask, Message};
use wingbeat_engine::partition::read::Target;
use wingbeat_engine::partition::read::holdings::Holdings;
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 64 * 1024;
/// The most prospects that one call merges into another.
const MERGED_MAX: usize = 50;

#[derive(Deserialize)]
struct MergeBody {
    keep: String,
    merge: Vec<String>,
}

#[derive(Deserialize)]
struct UnmergeBody {
    identifiers: Vec<Named>,
}

/// An identifier as callers write it.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "type")]
    key_type: String,
    value: String,
}

/// `POST /api/prospects/merge`
pub(crate) async fn merge(
    State(env): State<Env>,
    headers: HeaderMap,
    parameters: Parameters,
    body: Body,
) -> Result<Response> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        let request: MergeBody = read(&bytes)?;
        if request.merge.is_empty() || request.merge.len() > MERGED_MAX {
            return Err(ApiError::invalid_field("/merge", format!("`merge` takes 1 to {MERGED_MAX} references")));
        }
        let partitions = Partitions::open(&env).await?;
        let asked = ["merge", &request.keep].into_iter().chain(request.merge.iter().map(String::as_str));
        idempotency::ask_once(&partitions, &headers, &asked.collect::<Vec<_>>()).await?;
        let call = Call::of_caller(&partitions, &headers);
        if let Some(concerned) = call.outcome::<Vec<KeyHash>>(&partitions).await? {
            return results(&partitions, concerned).await;
        }
        // Everybody is found before anything is decided.
        let keep = holdings(&partitions, &request.keep, "").await.map_err(|error| error.at("/keep"))?;
        let key = partitions.key().hash(&keep.founder);
        let (mut group, mut decisions) = (Group::of(keep), Vec::new());
        for (place, other) in request.merge.iter().enumerate() {
            let id = idempotency::id(&partitions, 'm', &headers, &[&request.keep, other]);
            let path = format!("/merge/{place}");
            let other = holdings(&partitions, other, &id).await.map_err(|error| error.at(&path))?;
            // Its answer was lost before what it came to was kept.
            let made = other.decided.is_some();
            match group.join(other, id) {
                Ok(decision) => decisions.extend(decision.filter(|_| !made)),
                Err(NobodyToKeep) => {
                    let message =
                        "neither of the two has an identifier of a person: there is nobody to give the visits to";
                    return Err(ApiError::invalid_field(path, message));
                }
            }
        }
        let concerned: Vec<KeyHash> = group.founders.iter().map(|founder| partitions.key().hash(founder)).collect();
        for decision in decisions {
            partitions.tell(Message { key, ask: Ask::Decide(decision) }).await?;
        }
        let concerned = call.keep(&partitions, concerned).await?;
        results(&partitions, concerned).await
    })
    .await
}

/// `POST /api/prospects/{ref}/unmerge`
pub(crate) async fn unmerge(
    State(env): State<Env>,
    headers: HeaderMap,
    Reference(reference): Reference,
    parameters: Parameters,
    body: Body,
) -> Result<Response> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        let request: UnmergeBody = read(&bytes)?;
        if request.identifiers.is_empty() {
            return Err(ApiError::invalid_field("/identifiers", "`identifiers` must name at least one"));
        }
        let partitions = Partitions::open(&env).await?;
        let names: Vec<String> = request.identifiers.iter().map(|it| format!("{}:{}", it.key_type, it.value)).collect();
        let parts: Vec<&str> = [reference.as_str()].into_iter().chain(names.iter().map(String::as_str)).collect();
        idempotency::ask_once(&partitions, &headers, &[&["unmerge"], parts.as_slice()].concat()).await?;
        let call = Call::of_caller(&partitions, &headers);
        if let Some(concerned) = call.outcome::<Vec<KeyHash>>(&partitions).await? {
            return results(&partitions, concerned).await;
        }
        let id = idempotency::id(&partitions, 's', &headers, &parts);
        let held = holdings(&partitions, &reference, &id).await?;
        // Its answer was lost before what it came to was kept.
        if let Some(decided) = held.decided {
            return results(&partitions, decided.left.into_iter().chain(decided.right)).await;
        }
        let (left, right) = sides(&partitions, &held, &request.identifiers)?;
        let concerned: Vec<KeyHash> = left.iter().chain(&right).map(|ident| partitions.key().hash(ident)).collect();
        let (at, key) = (time_after(held.last_decision), partitions.key().hash(&held.founder));
        let decision = Decision::Separate { id, at, left, right };
        partitions.tell(Message { key, ask: Ask::Decide(decision) }).await?;
        let concerned = call.keep(&partitions, concerned).await?;
        results(&partitions, concerned).await
    })
    .await
}

/// The identifiers named, and the prospect's other person keys. A browser that is not named is not decided about: it goes
/// on by what it claims.
fn sides(partitions: &Partitions<'_>, held: &Holdings, named: &[Named]) -> Result<(Vec<Identifier>, Vec<Identifier>)> {
    let known: BTreeMap<KeyHash, &Identifier> =
        held.keys.iter().chain(&held.browsers).map(|ident| (partitions.key().hash(ident), ident)).collect();
    let mut left = BTreeMap::new();
    for (place, Named { key_type, value }) in named.iter().enumerate() {
        let (slug, workspace) = key_type.split_once('@').unwrap_or((key_type, ""));
        let path = format!("/identifiers/{place}");
        let Some(key_type) = KeyType::from_slug(slug) else {
            return Err(ApiError::invalid_field(format!("{path}/type"), "there is no such type of identifier"));
        };
        let ident = Identifier::new(key_type, workspace, value);
        let hash = ident.map(|ident| partitions.key().hash(&ident));
        match hash.and_then(|hash| known.get_key_value(&hash)) {
            Some((hash, ident)) => left.insert(*hash, (*ident).clone()),
            None => return Err(ApiError::invalid_field(path, "the prospect has no such identifier")),
        };
    }
    let right: Vec<Identifier> =
        held.keys.iter().filter(|ident| !left.contains_key(&partitions.key().hash(ident))).cloned().collect();
    if right.is_empty() {
        let message = "these are all the identifiers that the prospect has: there is nobody to separate them from";
        return Err(ApiError::invalid_field("/identifiers", message));
    }
    Ok((left.into_values().collect(), right))
}

/// Prospects that are to be one.
struct Group {
    /// Whose ids they bear, the one that the others are merged into first.
    founders: Vec<Identifier>,
    /// All that they hold.
    holds: Vec<Identifier>,
    has_person: bool,
    /// When it was last decided about them, ms.
    last_decision: Option<i64>,
}

/// None of them has a key of a person: there is nobody to give a browser's visits to.
struct NobodyToKeep;

impl Group {
    fn of(side: Holdings) -> Group {
        let has_person = !side.keys.is_empty();
        let last_decision = side.last_decision;
        Group { founders: vec![side.founder], holds: [side.keys, side.browsers].concat(), has_person, last_decision }
    }

    /// What has to be decided for somebody else to belong to them, if anything.
    fn join(&mut self, other: Holdings, id: String) -> std::result::Result<Option<Decision>, NobodyToKeep> {
        let other = Group::of(other);
        let ([keep, ..], [founder]) = (self.founders.as_slice(), other.founders.as_slice()) else { return Ok(None) };
        if self.founders.contains(founder) {
            return Ok(None);
        }
        if !self.has_person && !other.has_person {
            return Err(NobodyToKeep);
        }
        let at = time_after(self.last_decision.max(other.last_decision));
        let lifts = (self.holds.clone(), other.holds.clone());
        let decision = Decision::Merge { id, at, keep: keep.clone(), other: founder.clone(), lifts };
        self.has_person = true;
        self.last_decision = Some(at);
        self.founders.extend(other.founders);
        self.holds.extend(other.holds);
        Ok(Some(decision))
    }
}

/// Now, and after the decision before it: of two on the same keys the later counts, whatever clocks say.
fn time_after(last: Option<i64>) -> i64 {
    last.map_or(now_ms(), |last| now_ms().max(last.saturating_add(1)))
}

/// What a prospect holds, and a decision around it, if it was made before.
pub(crate) async fn holdings(partitions: &Partitions<'_>, reference: &str, decision: &str) -> Result<Holdings> {
    let target = target(partitions.key(), reference)?;
    match partitions.ask(Query::Holdings { target, decision: decision.to_owned() }).await? {
        Answer::Holdings(holdings) => Ok(*holdings),
        _ => Err(unknown(reference)),
    }
}

/// The prospects that these keys are now, each once.
async fn results(partitions: &Partitions<'_>, keys: impl IntoIterator<Item = KeyHash>) -> Result<Response> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    #[derive(serde::Serialize)]
    struct Items {
        items: Vec<Box<RawValue>>,
    }
    let unreadable = |error: serde_json::Error| ApiError::unavailable("a prospect could not be read", error);
    let mut items: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    for key in keys {
        if let Answer::Document(bytes) = partitions.ask(Query::Prospect(Target::key(key))).await? {
            let Id { id } = serde_json::from_slice(&bytes).map_err(unreadable)?;
            items.insert(id, serde_json::from_slice(&bytes).map_err(unreadable)?);
        }
    }
    json(&Items { items: items.into_values().collect() })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| ApiError::invalid_json(error.to_string()))?;
    serde_json::from_value(value).map_err(|error| ApiError::invalid_field("", error.to_string()))
}
