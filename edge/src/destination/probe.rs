//! Whether the key works and has both permissions: asked without a trace, about somebody whom nobody is.

use super::connection::{Connection, NO_KEY};
use super::outgoing::post_json;
use super::status::Refused;
use super::{Shared, fault};
use crate::error::ApiError;
use crate::now_ms;
use crate::seal;
use data_encoding::HEXLOWER;
use serde_json::{Value as Json, json};
use std::time::Duration;
use wingbeat_engine::destinations::braze::answer::{Heard, Outcome, message, redact, success};
use wingbeat_engine::destinations::braze::{export, host, track};

/// What Braze says of a key that lacks a permission.
const MAKE_A_NEW_KEY: &str = "Keys can't be edited: make a new one with both permissions.";

impl Shared {
    /// `POST …/test`
    pub(crate) async fn probe(&self) -> Result<Json, Refused> {
        let kept = self.kept()?.ok_or(Refused::Unknown)?;
        let connection = &kept.connection;
        if !kept.has_key() {
            return Err(Refused::Bad(ApiError::invalid_field("/api_key", NO_KEY)));
        }
        let key = kept.key(&self.env).map_err(|_| fault("the key could not be opened"))?;
        let random: [u8; 16] = seal::random().map_err(|_| fault("there are no random numbers"))?;
        let nobody = format!("wingbeat-probe-{}", HEXLOWER.encode(&random));
        let name = connection.write_back.name("lead_score").unwrap_or_else(|| "sw_lead_score".to_owned());
        let asked = [
            (
                "users.export.ids",
                export::PATH,
                json!({ "external_ids": [nobody], "fields_to_export": ["external_id"] }),
            ),
            // To remove an attribute of somebody who is not there, and is not to be made: nothing, twice over.
            (
                "users.track",
                track::PATH,
                json!({ "attributes": [{ "external_id": nobody, "_update_existing_only": true, name: null }] }),
            ),
        ];
        let timeout = Duration::from_millis(connection.pace.timeout_ms.unsigned_abs());
        let mut permissions = Vec::new();
        for (permission, path, body) in asked {
            let url = format!("{}{path}", connection.rest_endpoint);
            let (ok, status, words) = match post_json(&url, &key, &body.to_string(), timeout).await {
                Ok(reply) => {
                    let heard = Heard { status: reply.status, limits: reply.limits, body: &reply.body };
                    let words = words_of_refusal(&heard, path, connection, &key);
                    (words.is_none(), Some(reply.status), words)
                }
                Err(words) => (false, None, Some(redact(&words, &key))),
            };
            let hint = (status == Some(403)).then_some(MAKE_A_NEW_KEY);
            permissions
                .push(json!({ "permission": permission, "ok": ok, "status": status, "message": words, "hint": hint }));
        }
        let ok = permissions.iter().all(|permission| permission.get("ok") == Some(&Json::Bool(true)));
        let instance = host::instance(&connection.rest_endpoint);
        Ok(
            json!({ "ok": ok, "instance": instance, "rest_endpoint": connection.rest_endpoint, "permissions": permissions }),
        )
    }
}

/// Why an answer is not what the endpoint answers to whom it lets in; none if it is.
fn words_of_refusal(heard: &Heard<'_>, path: &str, connection: &Connection, key: &str) -> Option<String> {
    if !(200..300).contains(&heard.status) {
        return Some(message(heard, key));
    }
    let strange = if path == export::PATH {
        match export::read(heard, &connection.workspace, &connection.write_back, now_ms(), key) {
            export::Answer::Known(_) => return None,
            export::Answer::Not(outcome) => outcome,
        }
    } else {
        success(heard, key).err()?
    };
    Some(match strange {
        Outcome::Later { reason, .. } | Outcome::Refused(reason) => reason,
        Outcome::Taken(_) | Outcome::Partly { .. } => message(heard, key),
    })
}
