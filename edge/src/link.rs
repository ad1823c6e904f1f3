//! Links from one of a site's domains to another (`www/bind.js`): `POST /link` when one is followed, `POST /link/redeem`
//! by the page that it leads to, which so learns the visitor and never from an address.
//!
//! The browser makes up the link's name in the click, and tells us what it stands for. So nothing is waited for, the
//! address holds nothing but a random number, and whoever comes with another, again, later than a minute, or on another
//! way than from the one page to the other, is told nothing.

use crate::directory;
use crate::error::{ApiError, Result};
use crate::link_table::Link;
use crate::{body, cookie, origin};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 4 * 1024;
/// As `www/bind.js` makes it: 128 random bits in hex.
const NAME_DIGITS: usize = 32;

/// `{"site","visitor","to","link"}`: `visitor` follows a link of this name to a page of the origin `to`.
pub(crate) async fn post(State(env): State<Env>, headers: HeaderMap, body: Body) -> Response {
    SendFuture::new(async move {
        let from = origin::of(&headers);
        let keep = async {
            let directory = directory::read(&env).await?;
            let said = read(body).await?;
            let (site, to) = (text(&said, "site")?, text(&said, "to")?);
            origin::check(&directory, site, from)?;
            origin::check(&directory, site, to)?;
            let visitor = cookie::as_visitor(text(&said, "visitor")?)
                .ok_or_else(|| ApiError::invalid_field("/visitor", "`visitor` must be a visitor's id"))?;
            let (site, from, to) = (site.to_owned(), from.to_owned(), to.to_owned());
            directory::keep_link(&env, &Link { hash: hash(&said)?, site, visitor, from, to }).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        };
        origin::answer(from, keep.await)
    })
    .await
}

/// `{"site","from","link"}`, `from` being the origin that the page was come to from. Its browser says that, and no page can
/// make another's browser lie: so a link which was forwarded, or put elsewhere within its minute, leads nobody into
/// somebody else's visit.
pub(crate) async fn redeem(State(env): State<Env>, headers: HeaderMap, body: Body) -> Response {
    SendFuture::new(async move {
        let to = origin::of(&headers);
        let take = async {
            let directory = directory::read(&env).await?;
            let said = read(body).await?;
            let (site, from) = (text(&said, "site")?, text(&said, "from")?);
            origin::check(&directory, site, to)?;
            let is_ours = cookie::is_same_site(&headers, to);
            if let Some(own) = cookie::visitor(&headers).filter(|_| is_ours) {
                return Ok(Json(json!({ "visitor": own, "own": true })).into_response());
            }
            let link = directory::take_link(&env, &hash(&said)?).await?;
            let link = link.filter(|link| link.site == site && link.from == from && link.to == to);
            let visitor = link.map(|link| link.visitor);
            let mut response = Json(json!({ "visitor": visitor, "own": false })).into_response();
            if let Some(visitor) = visitor.filter(|_| is_ours) {
                cookie::set(&env, &mut response, &visitor);
            }
            Ok(response)
        };
        origin::answer(to, take.await)
    })
    .await
}

async fn read(body: Body) -> Result<Value> {
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid_json(error.to_string()))
}

fn text<'v>(said: &'v Value, name: &str) -> Result<&'v str> {
    let text = said.get(name).and_then(Value::as_str);
    text.ok_or_else(|| ApiError::invalid_field(format!("/{name}"), format!("`{name}` must be a text")))
}

/// What is written down in place of a link's name.
fn hash(said: &Value) -> Result<String> {
    let name = text(said, "link")?;
    let is_name = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name {
        Ok(HEXLOWER.encode(&Sha256::digest(name.as_bytes())))
    } else {
        Err(ApiError::invalid_field("/link", "`link` must be 32 hex digits"))
    }
}
