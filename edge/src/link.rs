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
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 4 * 1024;
/// As `www/bind.js` makes it: 128 random bits in hex.
const NAME_DIGITS: usize = 32;

/// `POST /link`.
#[derive(Debug, Deserialize)]
struct Followed {
    site: String,
    visitor: String,
    /// The origin that the link leads to.
    to: String,
    /// Its name.
    link: String,
}

/// `POST /link/redeem`.
#[derive(Debug, Deserialize)]
struct Arrived {
    site: String,
    /// The origin that the page was come to from, as its browser says: no page can make another's browser lie, so that a
    /// link which was forwarded, or put elsewhere within its minute, leads nobody into somebody else's visit.
    from: String,
    link: String,
}

pub(crate) async fn post(State(env): State<Env>, headers: HeaderMap, body: Body) -> Response {
    SendFuture::new(async move {
        let directory = match directory::read(&env).await {
            Ok(directory) => directory,
            Err(error) => return error.into_response(),
        };
        let from = origin::of(&headers);
        let keep = async {
            let followed: Followed = read(body).await?;
            origin::check(&directory, &followed.site, from)?;
            origin::check(&directory, &followed.site, &followed.to)?;
            let hash = hash(&followed.link)?;
            let visitor = cookie::as_visitor(&followed.visitor)
                .ok_or_else(|| ApiError::invalid_field("/visitor", "`visitor` must be a visitor's id"))?;
            let (site, from, to) = (followed.site, from.to_owned(), followed.to);
            directory::keep_link(&env, &Link { hash, site, visitor, from, to }).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        };
        origin::answer(&directory, from, keep.await)
    })
    .await
}

pub(crate) async fn redeem(State(env): State<Env>, headers: HeaderMap, body: Body) -> Response {
    SendFuture::new(async move {
        let directory = match directory::read(&env).await {
            Ok(directory) => directory,
            Err(error) => return error.into_response(),
        };
        let to = origin::of(&headers);
        let take = async {
            let arrived: Arrived = read(body).await?;
            origin::check(&directory, &arrived.site, to)?;
            let is_ours = cookie::is_same_site(&headers, to);
            if let Some(own) = cookie::visitor(&headers).filter(|_| is_ours) {
                return Ok(Json(json!({ "visitor": own, "own": true })).into_response());
            }
            let link = directory::take_link(&env, &hash(&arrived.link)?).await?;
            let link = link.filter(|link| link.site == arrived.site && link.from == arrived.from && link.to == to);
            let visitor = link.map(|link| link.visitor);
            let mut response = Json(json!({ "visitor": visitor, "own": false })).into_response();
            if let Some(visitor) = visitor.filter(|_| is_ours) {
                cookie::set(&env, &mut response, &visitor);
            }
            Ok(response)
        };
        origin::answer(&directory, to, take.await)
    })
    .await
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T> {
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ApiError::invalid_field("", error.to_string()),
        _ => ApiError::invalid_json(error.to_string()),
    })
}

/// What is written down in place of a link's name.
fn hash(name: &str) -> Result<String> {
    let is_name = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name {
        Ok(HEXLOWER.encode(&Sha256::digest(name.as_bytes())))
    } else {
        Err(ApiError::invalid_field("/link", "`link` must be 32 hex digits"))
    }
}
