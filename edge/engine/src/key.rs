//! Identifiers: what types there are, which values are none, and the keyed hash that stands for one everywhere.

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use std::fmt;

/// The longest identifier in bytes: Braze's own limit on an external id (facts on Braze, section 7).
pub const IDENTIFIER_BYTES_MAX: usize = 987;

/// How many slots there are. Slots never change; partitions hold some of them.
pub const SLOTS: u16 = 4096;

/// How slots lie on partitions: equal runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotMap {
    /// How many partitions there are, 1 to [`SLOTS`].
    pub partitions: u16,
}

impl SlotMap {
    /// The partition that holds a key.
    #[must_use]
    pub fn partition_of(&self, key: KeyHash) -> u16 {
        let place = u32::from(key.slot()) * u32::from(self.partitions) / u32::from(SLOTS);
        u16::try_from(place).unwrap_or(0)
    }

    /// The first key that a partition holds, which may be nobody's: what concerns the whole of it is addressed so.
    #[must_use]
    pub fn first_key_of(&self, partition: u16) -> KeyHash {
        let slot = (u32::from(partition) * u32::from(SLOTS)).div_ceil(u32::from(self.partitions).max(1));
        let bytes = u16::try_from(slot).unwrap_or(0).wrapping_shl(4).to_be_bytes();
        let mut first = [0; 16];
        for (to, from) in first.iter_mut().zip(bytes) {
            *to = from;
        }
        KeyHash(first)
    }
}

/// What an identifier is. Person keys first, in the order that breaks ties between founders, then browser keys.
/// Stored by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyType {
    /// The customer's own id; Braze's `external_user_id`, `br_user_id` in URLs.
    #[n(0)]
    ExternalId,
    /// The id that Braze gives to a profile.
    #[n(1)]
    BrazeId,
    /// A Salesforce Lead or Contact id.
    #[n(2)]
    CrmId,
    /// An e-mail address, trimmed and lower case, or `sha256:` and the hex of that.
    #[n(3)]
    Email,
    /// A phone number, E.164.
    #[n(4)]
    Phone,
    /// Segment's `userId`.
    #[n(5)]
    SegmentUser,
    /// A browser: the tracker's random UUID.
    #[n(6)]
    Visitor,
    /// A browser: Segment's `anonymousId`.
    #[n(7)]
    SegmentAnonymous,
}

/// Every key type, persons' first, in the order that breaks ties between founders.
pub const KEY_TYPES: [KeyType; 8] = [
    KeyType::ExternalId,
    KeyType::BrazeId,
    KeyType::CrmId,
    KeyType::Email,
    KeyType::Phone,
    KeyType::SegmentUser,
    KeyType::Visitor,
    KeyType::SegmentAnonymous,
];

impl KeyType {
    /// Its name in the API, and in the hashed text.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            KeyType::ExternalId => "external_id",
            KeyType::BrazeId => "braze_id",
            KeyType::CrmId => "crm_id",
            KeyType::Email => "email",
            KeyType::Phone => "phone",
            KeyType::SegmentUser => "segment_user",
            KeyType::Visitor => "visitor",
            KeyType::SegmentAnonymous => "segment_anonymous",
        }
    }

    /// The type of this name, if there is one.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<KeyType> {
        KEY_TYPES.into_iter().find(|t| t.slug() == slug)
    }

    /// Whether this names a browser rather than a person.
    #[must_use]
    pub const fn is_browser(self) -> bool {
        matches!(self, KeyType::Visitor | KeyType::SegmentAnonymous)
    }

    /// Whether the value means something only inside one Braze workspace.
    const fn is_scoped(self) -> bool {
        matches!(self, KeyType::ExternalId | KeyType::BrazeId)
    }
}

/// `(type, value)`, checked and normalised: there is no `Identifier` that hygiene would drop, but for what an erasure
/// leaves of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Identifier {
    #[n(0)]
    key_type: KeyType,
    /// The Braze workspace, for `external_id` and `braze_id`; the default one is empty.
    #[n(1)]
    workspace: String,
    #[n(2)]
    value: String,
}

impl Identifier {
    /// Checks and normalises a value. `None` for what identifies nobody: empty, `null`, `undefined`, `anonymous`,
    /// zeros and dashes, unrendered Liquid, control characters, too long, or not of the type's form.
    ///
    /// `workspace` is kept for `external_id` and `braze_id` only; the default one is empty.
    #[must_use]
    pub fn new(key_type: KeyType, workspace: &str, value: &str) -> Option<Identifier> {
        let trimmed = value.trim();
        if !is_identifying(trimmed) {
            return None;
        }
        let value = match key_type {
            KeyType::Email => normal_email(trimmed)?,
            KeyType::Phone => normal_phone(trimmed)?,
            // Braze's ids are 24 hex digits in every example; case is not part of them.
            KeyType::BrazeId | KeyType::Visitor => trimmed.to_ascii_lowercase(),
            KeyType::ExternalId | KeyType::CrmId | KeyType::SegmentUser | KeyType::SegmentAnonymous => {
                trimmed.to_owned()
            }
        };
        let workspace = if key_type.is_scoped() { workspace.to_owned() } else { String::new() };
        Some(Identifier { key_type, workspace, value })
    }

    /// What remains of an identifier after an erasure: that there was one of this type.
    #[must_use]
    pub fn erased(key_type: KeyType) -> Identifier {
        Identifier { key_type, workspace: String::new(), value: String::new() }
    }

    /// Whether this is what an erasure has left.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.value.is_empty()
    }

    /// What sort of identifier this is.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The Braze workspace that it belongs to; empty for the default one and for unscoped types.
    #[must_use]
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The normalised value; an e-mail may be plain or `sha256:` and hex: both are the same key.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The plain address, if this is an e-mail and we know it.
    #[must_use]
    pub fn plain_email(&self) -> Option<&str> {
        let is_plain = !self.is_erased() && !self.value.starts_with(SHA256_PREFIX);
        (self.key_type == KeyType::Email && is_plain).then_some(self.value.as_str())
    }

    /// The type as callers write it: `external_id`, or `external_id@workspace` outside the default workspace.
    #[must_use]
    pub fn scoped_type(&self) -> String {
        if self.workspace.is_empty() {
            self.key_type.slug().to_owned()
        } else {
            format!("{}@{}", self.key_type.slug(), self.workspace)
        }
    }
}

const SHA256_PREFIX: &str = "sha256:";

/// Values that stand for "nobody" in somebody's template or database.
const NOBODY: [&str; 10] =
    ["null", "undefined", "anonymous", "none", "nil", "nan", "unknown", "(null)", "[object object]", "false"];

/// Whether a trimmed value can be an identifier at all.
fn is_identifying(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= IDENTIFIER_BYTES_MAX
        && !value.contains("{{")
        && !value.contains("${")
        && !value.chars().any(char::is_control)
        && !value.chars().all(|c| c == '0' || c == '-')
        && !NOBODY.contains(&value.to_ascii_lowercase().as_str())
}

/// Lower case, one `@`, something on both sides, no spaces: who can be written to is for the mail server to say.
fn normal_email(value: &str) -> Option<String> {
    let value = value.to_lowercase();
    if let Some(hex) = value.strip_prefix(SHA256_PREFIX) {
        return (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(value);
    }
    let (local, domain) = value.rsplit_once('@')?;
    let plausible = !local.is_empty()
        && !local.contains('@')
        && value.len() <= 254
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !value.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '<' | '>' | '"' | '(' | ')'));
    plausible.then_some(value)
}

/// E.164: a plus and 6 to 15 digits. Separators that people write are dropped, `00` is a plus, and digits alone are taken
/// for a number with its country; a national one, which begins with a zero, is no identifier.
fn normal_phone(value: &str) -> Option<String> {
    let bare: String = value.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let digits = bare.strip_prefix('+').or_else(|| bare.strip_prefix("00")).unwrap_or(&bare);
    let is_number = (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    // Braze sends `user_phone_number` with and without the plus; a leading zero would be a national number.
    (is_number && !digits.starts_with('0')).then(|| format!("+{digits}"))
}

/// The keyed hash of an identifier: what stands for it in messages, pointers and ids. Compared bytewise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct KeyHash(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl KeyHash {
    /// The slot: the first 12 bits.
    #[must_use]
    pub fn slot(&self) -> u16 {
        let [first, second, ..] = self.0;
        (u16::from(first) << 4) | (u16::from(second) >> 4)
    }

    /// The first 16 bytes of an HMAC.
    #[must_use]
    pub fn from_mac(mac: &[u8; 32]) -> KeyHash {
        let mut first = [0; 16];
        for (to, from) in first.iter_mut().zip(mac) {
            *to = *from;
        }
        KeyHash(first)
    }

    /// The prospect id that this key founds: `p`, the slot in 3 hex digits, `_`, the hash in base 32.
    #[must_use]
    pub fn prospect_id(&self) -> String {
        format!("p{:03x}_{}", self.slot(), BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }

    /// The key that founds the prospect of this id, if it is well formed.
    #[must_use]
    pub fn from_prospect_id(id: &str) -> Option<KeyHash> {
        let (slot, hash) = id.strip_prefix('p')?.split_once('_')?;
        let bytes = BASE32_NOPAD.decode(hash.to_ascii_uppercase().as_bytes()).ok()?;
        let key = KeyHash(bytes.try_into().ok()?);
        (slot.len() == 3 && u16::from_str_radix(slot, 16).ok()? == key.slot()).then_some(key)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The deployment key: makes hashes that nobody outside can compute. It can never change, and must be in the backup.
#[derive(Clone)]
pub struct DeploymentKey(Vec<u8>);

impl DeploymentKey {
    /// Any length of secret bytes; 32 random ones are right.
    #[must_use]
    pub fn new(secret: &[u8]) -> DeploymentKey {
        DeploymentKey(secret.to_vec())
    }

    /// `HMAC-SHA-256(deployment key, type ':' value)`, first 16 bytes. E-mails are hashed in their `sha256:` form, so
    /// that a plain address and its hash are one key.
    #[must_use]
    pub fn hash(&self, identifier: &Identifier) -> KeyHash {
        let mut text = identifier.scoped_type();
        text.push(':');
        match identifier.plain_email() {
            Some(plain) => {
                text.push_str(SHA256_PREFIX);
                text.push_str(&HEXLOWER.encode(&Sha256::digest(plain.as_bytes())));
            }
            None => text.push_str(&identifier.value),
        }
        KeyHash::from_mac(&self.mac(text.as_bytes()))
    }

    /// The whole HMAC-SHA-256 of some bytes under the deployment key.
    #[must_use]
    pub fn mac(&self, bytes: &[u8]) -> [u8; 32] {
        // HMAC takes a key of any length: the error branch is there for MACs of fixed key size.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for DeploymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeploymentKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key_type: KeyType, value: &str) -> Option<Identifier> {
        Identifier::new(key_type, "", value)
    }

    #[test]
    fn values_that_identify_nobody() {
        let long = "x".repeat(988);
        for value in [
            "",
            "  ",
            "null",
            "NULL",
            "undefined",
            "anonymous",
            "0000-0000",
            "-",
            "{{${braze_id}}}",
            "${user_id}",
            "a\nb",
            // Control characters that the tracker lets pass.
            "a\u{80}b",
            "a\u{9f}b",
            &long,
        ] {
            assert_eq!(id(KeyType::ExternalId, value), None, "{value:?}");
        }
        assert!(id(KeyType::ExternalId, &"x".repeat(987)).is_some());
    }

    #[test]
    fn emails_are_trimmed_and_lower_case_and_one_key_with_their_hash() {
        let key = DeploymentKey::new(b"test");
        let plain = id(KeyType::Email, " Ada@Example.COM ").unwrap();
        assert_eq!(plain.value(), "ada@example.com");
        let hashed = format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(b"ada@example.com")));
        let hashed = id(KeyType::Email, &hashed).unwrap();
        assert_eq!(hashed.plain_email(), None);
        assert_eq!(key.hash(&plain), key.hash(&hashed));
        for bad in ["ada", "@example.com", "ada@", "ada@host", "a b@example.com", "a@b@example.com", "sha256:12"] {
            assert_eq!(id(KeyType::Email, bad), None, "{bad}");
        }
    }

    #[test]
    fn phones_are_e164() {
        assert_eq!(id(KeyType::Phone, "+1 (555) 010-0123").unwrap().value(), "+15550100123");
        assert_eq!(id(KeyType::Phone, "15550100123").unwrap().value(), "+15550100123");
        assert_eq!(id(KeyType::Phone, "0155501"), None);
        assert_eq!(id(KeyType::Phone, "+12"), None);
    }

    #[test]
    fn hashes_are_pinned() {
        // Any change here would strand every stored row: keys are found by these bytes. (The values were computed by
        // another implementation: Python's hmac and hashlib.)
        let key = DeploymentKey::new(b"wingbeat test deployment key 32b");
        let vectors = [
            (KeyType::BrazeId, "", "5fbd99bac125ca40511f2cb1"),
            (KeyType::ExternalId, "", "user-42"),
            (KeyType::ExternalId, "brand-b", "user-42"),
            (KeyType::Email, "", "ada@example.com"),
            (KeyType::Visitor, "", "7b0c2c4e-0f5a-4d38-9d3b-5d2f4f1c9a10"),
        ];
        let got: Vec<String> =
            vectors.iter().map(|(t, w, v)| key.hash(&Identifier::new(*t, w, v).unwrap()).prospect_id()).collect();
        assert_eq!(got, PINNED);
    }

    const PINNED: [&str; 5] = [
        "p849_qslk4remkyly5ytgticmkj6b2y",
        "p399_hgmy7jefukauohgbefpsyewp2i",
        "p8c3_rq5w3ii6ymxyfmh7cidyg4gbjy",
        "p06d_a3oyrc4o6pawmz4qyje5usmwju",
        "pec5_5rjjomnnpamz7lwai3g4at4x7u",
    ];

    #[test]
    fn prospect_ids_read_back() {
        let key = DeploymentKey::new(b"k").hash(&id(KeyType::Email, "a@b.co").unwrap());
        assert_eq!(KeyHash::from_prospect_id(&key.prospect_id()), Some(key));
        for bad in ["", "p", "p123", "pzzz_aaaa", "p000_mzxw6ytboi"] {
            assert_eq!(KeyHash::from_prospect_id(bad), None, "{bad}");
        }
        assert!(key.slot() < SLOTS);
    }
}
