//! `/api/connections`: where prospects are told to, how that fares, and having it done (DESIGN 8). What a connection is and
//! holds is its own object's; the Registry knows which there are.

use crate::body;
use crate::destination::connection::NO_KEY;
use crate::destination::deliveries::{KINDS, NEWEST, STATES};
use crate::directory::{self, Outgoing};
use crate::error::{ApiError, Result};
use crate::parameters::Parameters;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::cmp::{Ordering, Reverse};
use std::fmt;
use wingbeat_engine::destinations::braze::settings::WriteBack;
use wingbeat_engine::destinations::braze::track::Names;
use wingbeat_engine::time;
use worker::send::SendFuture;
use worker::{Env, Method, Request, RequestInit};

const BODY_BYTES_MAX: usize = 64 * 1024;
/// More would make every commit's news more calls.
const CONNECTIONS_MAX: usize = 16;

/// `GET /api/connections`: with the gaps that nobody would see otherwise, as nothing fails.
pub(crate) async fn list(State(env): State<Env>, parameters: Parameters) -> Result<Json<Value>> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let mut items = Vec::new();
        for connection in directory::read_anew(&env).await?.connections {
            items.extend(call(&env, &connection.id, Method::Get, "status", None).await?);
        }
        let gaps = gaps(&items);
        let Json(mut listed) = page(items);
        if let Some(listed) = listed.as_object_mut() {
            listed.insert("gaps".to_owned(), gaps.into());
        }
        Ok(Json(listed))
    })
    .await
}

/// `PUT /api/connections`: takes `{"items": [...]}` and replaces all connections by it.
pub(crate) async fn put_all(State(env): State<Env>, body: Body) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let request = read(body).await?;
        let items = request.get("items").and_then(Value::as_array);
        let items =
            items.ok_or_else(|| ApiError::invalid_field("/items", "`items` must be an array of connections"))?;
        let mut set = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let path = format!("/items/{place}");
            let id = item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            set.push(put_one(&env, &id, item.clone()).await.map_err(|error| error.below(&path))?);
        }
        let kept: Vec<&str> = set.iter().filter_map(|item| item.get("id").and_then(Value::as_str)).collect();
        let known = directory::read_anew(&env).await?.connections;
        for gone in known.iter().filter(|known| !kept.contains(&known.id.as_str())) {
            remove(&env, &gone.id).await?;
        }
        Ok(page(set))
    })
    .await
}

/// `GET /api/connections/{id}`
pub(crate) async fn one(State(env): State<Env>, Path(id): Path<String>) -> Result<Json<Value>> {
    SendFuture::new(async move { known(&env, &id, Method::Get, "status", None).await.map(Json) }).await
}

/// `PUT /api/connections/{id}`: makes a connection, or sets it anew. The key may be left out where it is known.
pub(crate) async fn put(State(env): State<Env>, Path(id): Path<String>, body: Body) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let request = read(body).await?;
        put_one(&env, &id, request).await.map(Json)
    })
    .await
}

/// `DELETE /api/connections/{id}`: forgets it, key and all. What was written on the other side stays there.
pub(crate) async fn delete(State(env): State<Env>, Path(id): Path<String>) -> Result<StatusCode> {
    SendFuture::new(async move {
        if !directory::read_anew(&env).await?.connections.iter().any(|known| known.id == id) {
            return Err(unknown());
        }
        remove(&env, &id).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// `POST /api/connections/{id}/test`: whether the key has its permissions, found out without a trace.
pub(crate) async fn test(State(env): State<Env>, Path(id): Path<String>) -> Result<Json<Value>> {
    SendFuture::new(async move { known(&env, &id, Method::Post, "test", None).await.map(Json) }).await
}

/// `POST /api/connections/{id}/sync`: now, not when the alarm rings. `?full=true`: everybody is looked at again.
pub(crate) async fn sync(
    State(env): State<Env>,
    Path(id): Path<String>,
    mut parameters: Parameters,
) -> Result<(StatusCode, Json<Value>)> {
    SendFuture::new(async move {
        let full = parameters.boolean("full")?.unwrap_or(false);
        parameters.none_left()?;
        known(&env, &id, Method::Post, if full { "sync?full=1" } else { "sync" }, None).await?;
        Ok((StatusCode::ACCEPTED, Json(json!({ "status": "running" }))))
    })
    .await
}

/// `GET /api/connections/{id}/preview`: the exact requests that would be made, `limit` of them.
pub(crate) async fn preview(
    State(env): State<Env>,
    Path(id): Path<String>,
    mut parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let limit = parameters.limit()?;
        let behind = parameters.parsed("cursor", "the `next_cursor` of another page", |text| {
            let (due, target) = text.split_once('.')?;
            let due: i64 = due.parse().ok().filter(|due| (0..=NEWEST).contains(due))?;
            Some(format!("&due={due}&target={}", form_urlencoded(target)))
        })?;
        parameters.none_left()?;
        let behind = behind.unwrap_or_default();
        known(&env, &id, Method::Get, &format!("preview?limit={limit}{behind}"), None).await.map(Json)
    })
    .await
}

/// `GET /api/connections/{id}/mapping`: which of our values is written as what.
pub(crate) async fn mapping(State(env): State<Env>, Path(id): Path<String>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let mut connection = known(&env, &id, Method::Get, "status", None).await?;
        Ok(Json(connection.get_mut("write_back").map(Value::take).unwrap_or_default()))
    })
    .await
}

/// `PUT /api/connections/{id}/mapping`
pub(crate) async fn put_mapping(State(env): State<Env>, Path(id): Path<String>, body: Body) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let mapping = read(body).await?;
        let mut connection = known(&env, &id, Method::Get, "status", None).await?;
        if let Some(connection) = connection.as_object_mut() {
            connection.insert("write_back".to_owned(), mapping);
        }
        let mut set = put_one(&env, &id, connection).await?;
        Ok(Json(set.get_mut("write_back").map(Value::take).unwrap_or_default()))
    })
    .await
}

/// `GET /api/connections/{id}/runs`
pub(crate) async fn runs(
    State(env): State<Env>,
    Path(id): Path<String>,
    mut parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let limit = parameters.limit()?;
        parameters.none_left()?;
        known(&env, &id, Method::Get, &format!("runs?limit={limit}"), None).await.map(page)
    })
    .await
}

/// `GET /api/connections/{id}/runs/{run}`
pub(crate) async fn run(State(env): State<Env>, Path((id, run)): Path<(String, u32)>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let found = known(&env, &id, Method::Get, &format!("runs?run={run}&limit=1"), None).await?;
        found.get(0).cloned().map(Json).ok_or_else(|| ApiError::not_found("there is no such run"))
    })
    .await
}

/// `GET /api/connections/{id}/records?state=`
pub(crate) async fn records(
    State(env): State<Env>,
    Path(id): Path<String>,
    mut parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        const STATES: [&str; 6] = ["pending", "stopped", "confirmed", "absent", "shown_only", "not_theirs"];
        const OR: &str = "pending, stopped, confirmed, absent, shown_only or not_theirs";
        let is_state = |text: &str| STATES.contains(&text).then(|| text.to_owned());
        let state = parameters.parsed("state", OR, is_state)?;
        let (limit, cursor) = (parameters.limit()?, parameters.text("cursor")?.unwrap_or_default());
        parameters.none_left()?;
        let after = form_urlencoded(&cursor);
        let state = state.map(|state| format!("&state={state}")).unwrap_or_default();
        let found = known(&env, &id, Method::Get, &format!("records?limit={limit}&after={after}{state}"), None).await?;
        let last = found
            .as_array()
            .filter(|found| found.len() == limit)
            .and_then(|found| found.last()?.get("record").cloned());
        Ok(Json(json!({ "items": found, "next_cursor": last })))
    })
    .await
}

/// `GET /api/deliveries?connection=&kind=&state=&cursor=`: newest first, over all connections.
pub(crate) async fn deliveries(State(env): State<Env>, mut parameters: Parameters) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let (limit, wanted) = (parameters.limit()?, parameters.text("connection")?);
        let mut filter = String::new();
        for (name, known) in [("kind", KINDS.as_slice()), ("state", STATES.as_slice())] {
            let value =
                parameters.parsed(name, &known.join(", "), |text| known.iter().find(|known| **known == text))?;
            filter.push_str(&value.map(|value| format!("&{name}={value}")).unwrap_or_default());
        }
        let behind = parameters.parsed("cursor", "the `next_cursor` of another page", Behind::read)?;
        parameters.none_left()?;
        let mut all = Vec::new();
        for connection in directory::read_anew(&env).await?.connections {
            if wanted.as_ref().is_none_or(|wanted| *wanted == connection.id) {
                let before = behind.as_ref().map(|behind| behind.in_connection(&connection.id)).unwrap_or_default();
                let path = format!("deliveries?limit={limit}{filter}{before}");
                let found = call(&env, &connection.id, Method::Get, &path, None).await?;
                let found = found.as_ref().and_then(Value::as_array).into_iter().flatten().cloned();
                all.extend(found.filter_map(|delivery| Some((Behind::of(&delivery)?, delivery))));
            }
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let next = all.get(limit.saturating_sub(1)).map(|(last, _)| last.to_string());
        let items: Vec<Value> = all.into_iter().take(limit).map(|(_, delivery)| delivery).collect();
        Ok(Json(json!({ "items": items, "next_cursor": next })))
    })
    .await
}

/// Behind which delivery a page begins: newest first, then by connection.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Behind {
    /// ms.
    at: Reverse<i64>,
    connection: String,
    number: Reverse<i64>,
}

impl Behind {
    fn of(delivery: &Value) -> Option<Behind> {
        let text = |name: &str| delivery.get(name).and_then(Value::as_str);
        let (connection, number) = text("id")?.rsplit_once('.')?;
        let (at, number) = (time::parse(text("at")?)?, number.parse().ok()?);
        Some(Behind { at: Reverse(at), connection: connection.to_owned(), number: Reverse(number) })
    }

    fn read(text: &str) -> Option<Behind> {
        let (at, id) = text.split_once('.')?;
        let (connection, number) = id.rsplit_once('.')?;
        let bound = |text: &str| text.parse().ok().filter(|number| (0..=NEWEST).contains(number));
        let (at, number) = (bound(at)?, bound(number)?);
        Some(Behind { at: Reverse(at), connection: connection.to_owned(), number: Reverse(number) })
    }

    /// Which are behind it in a connection.
    fn in_connection(&self, connection: &str) -> String {
        let number = match connection.cmp(&self.connection) {
            Ordering::Less => 0,
            Ordering::Equal => self.number.0,
            Ordering::Greater => NEWEST,
        };
        format!("&at={}&number={number}", self.at.0)
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}.{}.{}", self.at.0, self.connection, self.number.0)
    }
}

/// `POST /api/deliveries/{id}/retry`
pub(crate) async fn retry(State(env): State<Env>, Path(delivery): Path<String>) -> Result<(StatusCode, Json<Value>)> {
    SendFuture::new(async move {
        let no_such = || ApiError::not_found("there is no such delivery");
        let (id, number) = delivery.rsplit_once('.').ok_or_else(no_such)?;
        let number: u32 = number.parse().map_err(|_| no_such())?;
        let found = directory::read_anew(&env).await?.connections.iter().any(|known| known.id == id);
        if !found || call(&env, id, Method::Post, &format!("retry?delivery={number}"), None).await?.is_none() {
            return Err(no_such());
        }
        Ok((StatusCode::ACCEPTED, Json(json!({ "delivery": delivery, "status": "running" }))))
    })
    .await
}

/// Why people are not looked up, or scores not written, at all: there is no connection, or it has no key.
fn gaps(connections: &[Value]) -> Vec<Value> {
    const NONE: &str = "there is no connection to Braze: who comes without an e-mail is not looked up, and scores are not \
                        written; GET /api/sources/currents counts who came without (`no_email`)";
    if connections.is_empty() {
        return vec![json!({ "code": "no_connection", "connection": null, "message": NONE })];
    }
    let without_key = connections.iter().filter(|connection| connection.get("api_key") == Some(&Value::Null));
    let gap = |connection: &Value| {
        let status = |path: &str| connection.pointer(path).cloned().unwrap_or_default();
        json!({
            "code": "no_key",
            "connection": connection.get("id"),
            "message": NO_KEY,
            "people_to_look_up": status("/status/look_up/people/waiting").as_u64().unwrap_or(0),
            "profiles_to_write": status("/status/write_back/pending").as_u64().unwrap_or(0)
                + status("/status/write_back/absent").as_u64().unwrap_or(0),
        })
    };
    without_key.map(gap).collect()
}

/// Whose profiles a connection writes to, and which attributes.
pub(crate) async fn write_back(env: &Env, id: &str) -> Result<(String, WriteBack)> {
    let mut connection = known(env, id, Method::Get, "status", None).await.map_err(|error| error.at("/connection"))?;
    let workspace = connection.get("workspace").and_then(Value::as_str).unwrap_or_default().to_owned();
    let settings = connection.get_mut("write_back").map(Value::take).unwrap_or_default();
    let settings = serde_json::from_value(settings);
    Ok((workspace, settings.map_err(|error| ApiError::unavailable("a connection could not be read", error))?))
}

fn page(items: impl Into<Value>) -> Json<Value> {
    let page = [("items".to_owned(), items.into()), ("next_cursor".to_owned(), Value::Null)];
    Json(Value::Object(page.into_iter().collect()))
}

fn unknown() -> ApiError {
    ApiError::not_found("there is no such connection")
}

async fn read(body: Body) -> Result<Value> {
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid_json(error.to_string()))
}

async fn put_one(env: &Env, id: &str, connection: Value) -> Result<Value> {
    let is_id = (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if !is_id {
        return Err(ApiError::invalid_field("/id", "an id is 1 to 64 of a-z, 0-9, - and _"));
    }
    let directory = directory::read_anew(env).await?;
    let is_known = directory.connections.iter().any(|known| known.id == id);
    if directory.connections.len() >= CONNECTIONS_MAX && !is_known {
        return Err(ApiError::invalid_field("/id", format!("there can be {CONNECTIONS_MAX} connections")));
    }
    let before = if is_known { call(env, id, Method::Get, "status", None).await? } else { None };
    let before = before.and_then(|before| before.get("write_back").cloned());
    // What cannot be read is refused below. What is as it was is taken, whatever has become of the model.
    let settings = connection.get("write_back").filter(|set| Some(*set) != before.as_ref());
    if let Some(settings) = settings.and_then(|set| serde_json::from_value::<WriteBack>(set.clone()).ok()) {
        let checked = settings.check_scores(&Names::of(&directory.model.model).scores);
        checked.map_err(|(path, message)| ApiError::invalid_field(format!("/write_back{path}"), message))?;
    }
    let set = call(env, id, Method::Put, &format!("settings?id={id}"), Some(connection)).await?.ok_or_else(unknown)?;
    let debounce_ms = set.pointer("/pace/debounce_ms").and_then(Value::as_i64).unwrap_or(0);
    directory::write_connection(env, &Outgoing { id: id.to_owned(), debounce_ms }).await?;
    Ok(set)
}

async fn remove(env: &Env, id: &str) -> Result<()> {
    directory::remove_connection(env, id).await?;
    call(env, id, Method::Delete, "settings", None).await.map(drop)
}

/// Asks a connection that must be there.
async fn known(env: &Env, id: &str, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
    // An object is made by being called: only those that are known are.
    if !directory::read_anew(env).await?.connections.iter().any(|known| known.id == id) {
        return Err(unknown());
    }
    call(env, id, method, path, body).await?.ok_or_else(unknown)
}

/// Calls a connection's object. `None` when there is no such thing.
async fn call(env: &Env, id: &str, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>> {
    let failed = |cause: String| ApiError::unavailable("a connection could not be asked", cause);
    let mut response = send(env, id, method, path, body).await.map_err(|error| failed(error.to_string()))?;
    let text = response.text().await.map_err(|error| failed(error.to_string()))?;
    let answer: Value = serde_json::from_str(&text).map_err(|_| failed(text))?;
    match response.status_code() {
        200 => Ok(Some(answer)),
        404 => Ok(None),
        400 => {
            let words = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            Err(ApiError::invalid_field(words("path"), words("message")))
        }
        _ => Err(failed(answer.to_string())),
    }
}

async fn send(
    env: &Env,
    id: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> worker::Result<worker::Response> {
    let mut init = RequestInit::new();
    init.with_method(method).with_body(body.map(|body| body.to_string().into()));
    let request = Request::new_with_init(&format!("https://destination/{path}"), &init)?;
    // Renaming would lose every row.
    env.durable_object("DESTINATION")?.get_by_name(&format!("connection-{id}"))?.fetch_with_request(request).await
}

/// Tells connections that there is something to read. Whoever does not hear of it looks by itself, later.
pub(crate) async fn tell_news(env: &Env, connections: &[Outgoing]) {
    for connection in connections {
        if let Err(error) = send(env, &connection.id, Method::Post, "news", None).await {
            worker::console_warn!("connection {} could not be told of news: {error}", connection.id);
        }
    }
}

/// How far the slowest connection is behind, in lines of the feeds. One that does not answer shows in its own status.
pub(crate) async fn feed_lag(env: &Env, connections: &[Outgoing]) -> u64 {
    let mut slowest = 0;
    for connection in connections {
        let status = call(env, &connection.id, Method::Get, "status", None).await.ok().flatten();
        let behind = status.as_ref().and_then(|status| status.pointer("/status/behind")).and_then(Value::as_u64);
        slowest = slowest.max(behind.unwrap_or(0));
    }
    slowest
}

/// A value as it stands in a query.
fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
