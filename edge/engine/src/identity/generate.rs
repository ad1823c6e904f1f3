//! Random inputs for property tests and simulation: few keys of each type and small times, so that windows, limits and
//! conflicts happen in every handful of records.

use super::naive::Input;
use super::policy::{Limits, Policy};
use super::{Decision, Trust};
use crate::event::{Body, ClaimInput, FactInput, Record, Source};
use crate::key::{Identifier, KEY_TYPES, KeyType};
use crate::kinds::Kind;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// A policy under which a few records reach every limit.
#[must_use]
pub fn small_policy() -> Policy {
    Policy {
        joins: Limits::from([
            (KeyType::ExternalId, 6),
            (KeyType::BrazeId, 3),
            (KeyType::CrmId, 2),
            (KeyType::Email, 3),
            (KeyType::Phone, 1),
            (KeyType::SegmentUser, 2),
        ]),
        per_prospect: Limits::from([
            (KeyType::ExternalId, 1),
            (KeyType::BrazeId, 3),
            (KeyType::CrmId, 1),
            (KeyType::Email, 2),
            (KeyType::Phone, 1),
        ]),
        browsers: 2,
        events_scored: 8,
        introduction_ms: 12,
        claims: 5,
        blocked: KEY_TYPES
            .into_iter()
            .filter_map(nobody)
            .map(|nobody| (nobody.key_type(), nobody.value().to_owned()))
            .collect(),
        internal_addresses: [].into(),
        internal_domains: ["staff.example.com".to_owned()].into(),
        cluster_keys: 10_000,
    }
}

/// The value of a type that identifies nobody under [`small_policy`].
fn nobody(key_type: KeyType) -> Option<Identifier> {
    let value = match key_type {
        KeyType::Email => "nobody@example.com",
        KeyType::Phone => "+15550000000",
        _ => "test",
    };
    Identifier::new(key_type, "", value)
}

/// The inputs of a seed. Names contain it, so that hashes, and with them every tie and every root, differ by seed.
#[must_use]
pub fn inputs(seed: u64) -> Vec<Input> {
    let mut random = Random(seed);
    let pool = Pool::of(seed);
    let mut made = Vec::new();
    for n in 0..4 + random.below(14) {
        let id = format!("r{n}");
        match random.below(13) {
            0..=4 => made.extend(pool.server(&mut random, id)),
            5..=6 => made.extend(pool.visit(&mut random, &id).unwrap_or_default()),
            7..=8 => made.extend(pool.link_then_form(&mut random, &id).unwrap_or_default()),
            9..=10 => made.extend(pool.anything(&mut random, id)),
            _ => {
                let before =
                    made.iter().filter_map(|input| if let Input::Decision(one) = input { Some(one) } else { None });
                let before: Vec<&Decision> = before.collect();
                let before = random.pick(&before).copied().filter(|_| random.one_in(2));
                let decision = match before {
                    Some(before) => pool.second_thought(&mut random, id, before),
                    None => pool.decision(&mut random, id),
                };
                made.extend(decision);
            }
        }
    }
    // Retries are byte-identical.
    for _ in 0..random.below(3) {
        made.extend(random.pick(&made).cloned());
    }
    made
}

/// A small company's identifiers.
struct Pool {
    people: Vec<Identifier>,
    /// For the ordinary story of an introduction.
    ids: Vec<Identifier>,
    emails: Vec<Identifier>,
    browsers: Vec<Identifier>,
}

impl Pool {
    fn of(seed: u64) -> Pool {
        let make = |names: &[(KeyType, String)]| -> Vec<Identifier> {
            names.iter().filter_map(|(t, name)| Identifier::new(*t, "", name)).collect()
        };
        let named = |t: KeyType, n: u32| -> Vec<(KeyType, String)> {
            (0..n).map(|i| (t, format!("{}-{i}-{seed}", t.slug()))).collect()
        };
        let ada = format!("ada.{seed}@example.com");
        let mut emails = make(&[
            (KeyType::Email, format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&ada)))),
            (KeyType::Email, ada),
            (KeyType::Email, format!("ben.{seed}@example.com")),
            (KeyType::Email, format!("cleo.{seed}@example.com")),
            (KeyType::Email, format!("sales.{seed}@staff.example.com")),
        ]);
        let mut ids = make(&[named(KeyType::ExternalId, 3), named(KeyType::BrazeId, 4)].concat());
        let phones = [0, 1].map(|n| (KeyType::Phone, format!("+1555{:07}", seed % 5_000_000 * 2 + n)));
        let mut others = make(&[named(KeyType::CrmId, 2), named(KeyType::SegmentUser, 1), phones.to_vec()].concat());
        let mut browsers = make(&[named(KeyType::Visitor, 3), named(KeyType::SegmentAnonymous, 1)].concat());
        // Of each seed two types have a value that identifies nobody.
        let (people_types, browser_types) = KEY_TYPES.split_at(6);
        for types in [people_types, browser_types] {
            let key_type = usize::try_from(seed).ok().and_then(|seed| types.get(seed % types.len()));
            if let Some(nobody) = key_type.and_then(|key_type| nobody(*key_type)) {
                match nobody.key_type() {
                    KeyType::ExternalId | KeyType::BrazeId => ids.push(nobody),
                    KeyType::Email => emails.push(nobody),
                    key_type if key_type.is_browser() => browsers.push(nobody),
                    _ => others.push(nobody),
                }
            }
        }
        Pool { people: [ids.clone(), emails.clone(), others].concat(), ids, emails, browsers }
    }

    /// A server's record: a star of up to two facts.
    fn server(&self, random: &mut Random, id: String) -> Option<Input> {
        let explicit = random.one_in(10);
        let mut record = record(random.pick(&self.people)?, random.time(), id);
        for _ in 0..random.below(3) {
            record.facts.push(FactInput { other: random.pick(&self.people)?.clone(), explicit });
        }
        Some(Input::Record(record))
    }

    /// A page with claims of some trust, and mostly its second event that shows a human and repeats them.
    fn visit(&self, random: &mut Random, id: &str) -> Option<Vec<Input>> {
        let trust = *random.pick(&[Trust::Weak, Trust::Weak, Trust::Weak, Trust::Medium, Trust::Strong])?;
        let browser = random.pick(&self.browsers)?;
        let mut page = record(browser, random.time(), id.to_owned());
        for _ in 0..1 + random.below(2) {
            page.claims.push(ClaimInput {
                browser: browser.clone(),
                key: random.pick(&self.people)?.clone(),
                trust,
                source: Source::Url,
                page: format!("p{}", random.below(4)),
                human: false,
            });
        }
        let mut seen = page.clone();
        seen.id.push_str("-human");
        seen.at += i64::from(random.below(3));
        for claim in &mut seen.claims {
            claim.human = true;
        }
        let seen = (!random.one_in(3)).then_some(Input::Record(seen));
        Some([Input::Record(page)].into_iter().chain(seen).collect())
    }

    /// What an introduction is made of, sometimes too far apart or with a server's word about the id.
    fn link_then_form(&self, random: &mut Random, id: &str) -> Option<Vec<Input>> {
        let (browser, link, email) =
            (random.pick(&self.browsers)?, random.pick(&self.ids)?, random.pick(&self.emails)?);
        let at = random.time();
        let claim = |key: &Identifier, trust, source| ClaimInput {
            browser: browser.clone(),
            key: key.clone(),
            trust,
            source,
            page: id.to_owned(),
            human: true,
        };
        let mut landing = record(browser, at, format!("{id}-link"));
        landing.claims.push(claim(link, Trust::Weak, Source::Url));
        let mut form = record(browser, at + i64::from(random.below(16)), format!("{id}-form"));
        form.claims.push(claim(email, Trust::Medium, Source::Form));
        let mut server = record(link, random.time(), format!("{id}-server"));
        server.facts.push(FactInput { other: random.pick(&self.emails)?.clone(), explicit: false });
        let server = random.one_in(3).then_some(Input::Record(server));
        Some([Input::Record(landing), Input::Record(form)].into_iter().chain(server).collect())
    }

    /// An event without evidence.
    fn anything(&self, random: &mut Random, id: String) -> Option<Input> {
        let key = if random.one_in(2) { random.pick(&self.browsers)? } else { random.pick(&self.people)? };
        Some(Input::Record(record(key, random.time(), id)))
    }

    fn decision(&self, random: &mut Random, id: String) -> Option<Input> {
        let sides = (self.side(random)?, self.side(random)?);
        Self::decided(random, id, sides)
    }

    /// A decision on those of whom people decided before, or on one of them and others; the sides may be the other way round.
    fn second_thought(&self, random: &mut Random, id: String, before: &Decision) -> Option<Input> {
        let (left, mut right) = match before {
            Decision::Merge { lifts, .. } => lifts.clone(),
            Decision::Separate { left, right, .. } => (left.clone(), right.clone()),
        };
        if random.one_in(3) {
            right = self.side(random)?;
        }
        let sides = if random.one_in(2) { (left, right) } else { (right, left) };
        Self::decided(random, id, sides)
    }

    fn decided(random: &mut Random, id: String, (left, right): (Vec<Identifier>, Vec<Identifier>)) -> Option<Input> {
        let at = random.time() + i64::from(random.below(10));
        Some(Input::Decision(if random.one_in(2) {
            Decision::Merge { id, at, keep: left.first()?.clone(), other: right.first()?.clone(), lifts: (left, right) }
        } else {
            Decision::Separate { id, at, left, right }
        }))
    }

    /// One to three keys, browsers among them.
    fn side(&self, random: &mut Random) -> Option<Vec<Identifier>> {
        let mut keys = Vec::new();
        for _ in 0..1 + random.below(3) {
            let from = if random.one_in(5) { &self.browsers } else { &self.people };
            keys.push(random.pick(from)?.clone());
        }
        Some(keys)
    }
}

/// A page view without evidence.
pub(crate) fn record(rec: &Identifier, at: i64, id: String) -> Record {
    let body = Body::bare(Kind::PageView, format!("[Page view] {id}"), Source::Tracker);
    Record { rec: rec.clone(), at, id, body, facts: Vec::new(), claims: Vec::new() }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): a seed must mean the
/// same on every machine and with every version of every library.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `n`; 0 if `n` is.
    pub fn below(&mut self, n: u32) -> u32 {
        // The upper half of a product of two 32-bit numbers is below either.
        let product = (self.next_u64() >> 32) * u64::from(n);
        u32::try_from(product >> 32).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One of them; `None` if there are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let n = self.below(u32::try_from(from.len()).unwrap_or(u32::MAX));
        from.get(usize::try_from(n).unwrap_or(0))
    }

    /// Any order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.below(u32::try_from(end + 1).unwrap_or(u32::MAX));
            items.swap(end, usize::try_from(other).unwrap_or(0));
        }
    }

    /// A time in ms that windows and limits of [`small_policy`] tell apart.
    fn time(&mut self) -> i64 {
        i64::from(self.below(50))
    }
}
