//! `/api/model/properties`: the names of properties that events have brought, for whoever writes rules, and those that they
//! have added themselves: of events that are still to come.

use crate::directory::{self, AddedProperty};
use crate::error::{ApiError, Result};
use crate::parameters::Reference;
use crate::partitions::Partitions;
use crate::{body, now_ms};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::properties::{Properties, TYPES, check_name, document, merge};
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 16 * 1024;
const NOTE_CHARS_MAX: usize = 1_024;

/// `GET`: both, by name.
pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let mut properties = Properties::new();
        for answer in Partitions::open(&env).await?.ask_all(Query::Properties).await? {
            if let Answer::Properties(own) = answer {
                merge(&mut properties, own);
            }
        }
        let added = directory::added_properties(&env).await?;
        Ok(Json(json!({ "items": items(document(&properties), &added), "next_cursor": null })))
    })
    .await
}

/// Those that were seen, and those that were added, each once.
fn items(seen: Vec<Value>, added: &BTreeMap<String, AddedProperty>) -> Vec<Value> {
    let by_name = |item: Value| Some((item.get("name")?.as_str()?.to_owned(), item));
    let mut items: BTreeMap<String, Value> = seen.into_iter().filter_map(by_name).collect();
    for (name, AddedProperty { types, .. }) in added {
        items.entry(name.clone()).or_insert_with(
            || json!({ "name": name, "types": types, "samples": [], "kinds": [], "count": 0, "first_seen": null }),
        );
    }
    for (name, item) in &mut items {
        let own = added.get(name);
        if let Some(item) = item.as_object_mut() {
            let added_at = own.and_then(|own| wingbeat_engine::time::show(own.added_at));
            item.insert("added_at".to_owned(), added_at.into());
            item.insert("note".to_owned(), own.and_then(|own| own.note.clone()).into());
        }
    }
    items.into_values().collect()
}

/// `POST`: adds one; of the same name, in its place.
pub(crate) async fn post(State(env): State<Env>, body: Body) -> Result<Response> {
    SendFuture::new(async move {
        let (name, property) = read(&body::read(body, BODY_BYTES_MAX).await?, now_ms())?;
        let added = BTreeMap::from([(name, property)]);
        if !directory::add_properties(&env, &added).await? {
            return Err(ApiError::conflict("500 properties were added already: remove one first"));
        }
        Ok((StatusCode::CREATED, Json(items(Vec::new(), &added).pop())).into_response())
    })
    .await
}

/// `DELETE …/{name}`: takes back what was added; what was seen stays.
pub(crate) async fn delete(State(env): State<Env>, Reference(name): Reference) -> Result<StatusCode> {
    SendFuture::new(async move {
        if !directory::remove_property(&env, &name).await? {
            return Err(ApiError::not_found("no property of this name was added"));
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn read(bytes: &[u8], now: i64) -> Result<(String, AddedProperty)> {
    let fields: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| ApiError::invalid_json(error.to_string()))?;
    let wrong = |path: &str, message: &str| Err(ApiError::invalid_field(path, message));
    if let Some(unknown) = fields.keys().find(|name| !["name", "types", "note"].contains(&name.as_str())) {
        return wrong(&format!("/{unknown}"), "a property has a `name`, and may have `types` and a `note`");
    }
    let Some(name) = fields.get("name").and_then(Value::as_str) else {
        return wrong("/name", "`name` must be the name of a property, as conditions ask for it: `plan`, `cart.total`");
    };
    check_name(name).map_err(|message| ApiError::invalid_field("/name", message))?;
    let types = match fields.get("types") {
        None => Vec::new(),
        Some(Value::Array(types)) => types.clone(),
        Some(_) => return wrong("/types", "`types` must be a list"),
    };
    for (place, of) in types.iter().enumerate() {
        if !of.as_str().is_some_and(|of| TYPES.contains(&of)) {
            return wrong(&format!("/types/{place}"), &format!("a type is one of {}", TYPES.join(", ")));
        }
    }
    let note = match fields.get("note") {
        None | Some(Value::Null) => None,
        Some(Value::String(note)) if note.chars().count() <= NOTE_CHARS_MAX => Some(note.clone()),
        Some(_) => return wrong("/note", "`note` must be a text of at most 1024 characters"),
    };
    let types = types.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok((name.to_owned(), AddedProperty { types, note, added_at: now }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_stands_beside_what_was_seen() {
        let seen = vec![json!({ "name": "plan", "types": ["string"], "samples": ["pro"] })];
        let (name, plan) = read(br#"{"name": "plan", "types": ["number"], "note": "of the shop"}"#, 0).unwrap();
        let (other, total) = read(br#"{"name": "cart.total"}"#, 0).unwrap();
        let items = items(seen, &BTreeMap::from([(name, plan), (other, total)]));
        let names: Vec<&Value> = items.iter().map(|item| &item["name"]).collect();
        assert_eq!(names, ["cart.total", "plan"]);
        assert_eq!((&items[1]["types"], &items[1]["note"]), (&json!(["string"]), &json!("of the shop")), "as seen");
        assert_eq!((&items[0]["types"], &items[0]["added_at"]), (&json!([]), &json!("1970-01-01T00:00:00Z")));
    }

    #[test]
    fn what_is_no_property_is_refused_with_its_place() {
        for (body, path) in [
            ("{}", "/name"),
            (r#"{"name": ""}"#, "/name"),
            (r#"{"name": " "}"#, "/name"),
            (r#"{"name": "."}"#, "/name"),
            (r#"{"name": "a\n"}"#, "/name"),
            (r#"{"name": "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"}"#, "/name"),
            (r#"{"name": "plan", "types": "string"}"#, "/types"),
            (r#"{"name": "plan", "types": ["string", "date"]}"#, "/types/1"),
            (r#"{"name": "plan", "note": 7}"#, "/note"),
            (r#"{"name": "plan", "samples": ["pro"]}"#, "/samples"),
        ] {
            assert_eq!(read(body.as_bytes(), 0).unwrap_err().path(), Some(path), "{body}");
        }
    }
}
