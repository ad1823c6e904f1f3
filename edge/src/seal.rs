//! Secrets at rest: AES-256-GCM by a key that only the Worker's secrets hold, so that what a Durable Object stores is
//! worth nothing by itself.

use crate::config;
use crate::error::{ApiError, Result};
use aes_gcm::aead::{Aead, Nonce, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use data_encoding::BASE64;
use wasm_bindgen::prelude::*;
use worker::Env;

const NONCE_BYTES: usize = 12;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> std::result::Result<JsValue, JsValue>;
}

/// Random bytes, by the runtime.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    get_random_values(&mut bytes)
        .map_err(|error| ApiError::unavailable("there are no random numbers", format!("{error:?}")))?;
    Ok(bytes)
}

/// Seals a secret for its owner: what is sealed for one opens for no other.
pub(crate) fn seal(env: &Env, owner: &str, secret: &str) -> Result<String> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let payload = Payload { msg: secret.as_bytes(), aad: owner.as_bytes() };
    let sealed = cipher(env)?.encrypt(&Nonce::<Aes256Gcm>::from(nonce), payload);
    let sealed = sealed.map_err(|error| ApiError::unavailable("a secret could not be sealed", error))?;
    Ok(BASE64.encode(&[nonce.as_slice(), &sealed].concat()))
}

/// Opens what was sealed for this owner.
pub(crate) fn open(env: &Env, owner: &str, sealed: &str) -> Result<String> {
    let failed =
        || ApiError::unavailable("a secret could not be opened", "it was sealed by another key, or for another");
    let bytes = BASE64.decode(sealed.as_bytes()).map_err(|_| failed())?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(failed)?;
    let payload = Payload { msg: sealed, aad: owner.as_bytes() };
    let secret = cipher(env)?.decrypt(&Nonce::<Aes256Gcm>::from(*nonce), payload).map_err(|_| failed())?;
    String::from_utf8(secret).map_err(|_| failed())
}

fn cipher(env: &Env) -> Result<Aes256Gcm> {
    // Derived: one key for an operator to keep, and none that is used for two things.
    let key = config::deployment_key(env)?.mac(b"\0secrets of connections");
    Aes256Gcm::new_from_slice(&key).map_err(|error| ApiError::unavailable("a key is of the wrong length", error))
}
