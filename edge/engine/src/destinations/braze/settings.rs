//! What is written to Braze and under which names; who is looked up; how patiently.

use crate::destinations::retry::BackOff;
use crate::scoring::one_of;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Scores written back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteBack {
    /// Whether anything is written.
    pub on: bool,
    /// What the names of attributes begin with.
    pub prefix: String,
    /// Other names by field (one of [`FIELDS`], or a score's slug); `null`: not written.
    pub names: BTreeMap<String, Option<String>>,
    /// A second copy of the main score, as `lead score`.
    pub main_score_copy: Option<String>,
    /// The attribute of the stage, without prefix; `null`: not written.
    pub stage: Option<String>,
    /// Whether a stage that changes is a custom event `lead_stage_changed`, too.
    pub stage_event: bool,
    /// Decimals of scores, 0 to 6. Fewer mean fewer data points.
    pub decimals: u32,
}

/// What is written besides scores: the field, and whether it is without being asked for.
pub const FIELDS: [&str; 7] =
    ["lead_score", "predictive_score", "tags", "last_active_at", "session_count", "favorite", "lead_owner"];

/// The custom event of a stage that changes.
pub const STAGE_EVENT: &str = "lead_stage_changed";

impl Default for WriteBack {
    fn default() -> WriteBack {
        WriteBack {
            on: true,
            prefix: "sw_".to_owned(),
            names: BTreeMap::new(),
            main_score_copy: None,
            stage: Some("lead_stage".to_owned()),
            stage_event: false,
            decimals: 1,
        }
    }
}

/// People looked up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LookUp {
    /// Whether anybody is.
    pub on: bool,
    /// Calls per second, 1 to 40: Braze's limit where `fields_to_export` names no message history, as ours never does.
    pub per_second: f64,
    /// Whether Braze's profiles of people whom we know by e-mail alone are looked up, too: one call each.
    pub by_email: bool,
    /// After how many days somebody without an e-mail is asked for again, 1 to 365.
    pub again_after_days: u32,
}

impl Default for LookUp {
    fn default() -> LookUp {
        LookUp { on: true, per_second: 30.0, by_email: false, again_after_days: 7 }
    }
}

/// How long what waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// From the first news to the feeds being read, ms: more news comes meanwhile.
    pub debounce_ms: i64,
    /// What is not urgent goes out when a multiple of this has passed, ms: several changes of one person are one.
    pub coalesce_ms: i64,
    /// The least time between two writes to one profile, ms: Braze works off requests in no order.
    pub gap_ms: i64,
    /// The wait after a first failure, ms; it doubles.
    pub retry_first_ms: i64,
    /// The longest wait, ms.
    pub retry_max_ms: i64,
    /// When an answer is given up, ms.
    pub timeout_ms: i64,
    /// `/users/track` calls per second, at most: contracts allow 50 and more.
    pub requests_per_second: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            debounce_ms: 5_000,
            coalesce_ms: 60_000,
            gap_ms: 5_000,
            retry_first_ms: 2_000,
            retry_max_ms: 900_000,
            timeout_ms: 30_000,
            requests_per_second: 20,
        }
    }
}

impl Pace {
    /// How failures are waited out.
    #[must_use]
    pub fn back_off(&self) -> BackOff {
        BackOff { first_ms: self.retry_first_ms, max_ms: self.retry_max_ms }
    }
}

/// A setting that cannot be: where (a JSON pointer below the settings), and what is wrong.
pub type BadSetting = (String, String);

impl WriteBack {
    /// The name of a field's attribute.
    #[must_use]
    pub fn name(&self, field: &str) -> Option<String> {
        match self.names.get(field) {
            Some(name) => name.clone(),
            None => Some(format!("{}{}", self.prefix, snake(field))),
        }
    }

    /// # Errors
    /// When an attribute could not be written under its name.
    pub fn check(&self) -> Result<(), BadSetting> {
        if self.decimals > 6 {
            return Err(("/decimals".to_owned(), "scores are shown with at most 6 decimals".to_owned()));
        }
        let fields = FIELDS.iter().map(|field| (format!("/names/{field}"), self.name(field)));
        let given = self.names.iter().map(|(field, name)| (format!("/names/{field}"), name.clone()));
        let others = [("/main_score_copy", &self.main_score_copy), ("/stage", &self.stage)];
        let others = others.into_iter().map(|(path, name)| (path.to_owned(), name.clone()));
        let mut seen = BTreeMap::new();
        for (path, name) in fields.chain(given).chain(others) {
            let Some(name) = name else { continue };
            if let Some(wrong) = wrong_name(&name) {
                return Err((path, wrong.to_owned()));
            }
            let other = seen.insert(name, path.clone());
            if other.is_some_and(|other| other != path) {
                return Err((path, "two fields can't have one attribute".to_owned()));
            }
        }
        Ok(())
    }

    /// Whether the names fit the model, whose scores but for the main one have these slugs: that each is of something, and
    /// that no two things have one attribute. Apart from [`WriteBack::check`], as models change.
    ///
    /// # Errors
    /// For a name of nothing, with the nearest word, and for an attribute of two.
    pub fn check_scores(&self, slugs: &[String]) -> Result<(), BadSetting> {
        let fields: Vec<&str> = FIELDS.into_iter().chain(slugs.iter().map(String::as_str)).collect();
        if let Some(unknown) = self.names.keys().find(|field| !fields.contains(&field.as_str())) {
            let or = one_of(unknown, fields.iter().copied());
            return Err((format!("/names/{unknown}"), format!("there is no field or score `{unknown}`{or}")));
        }
        let of_fields = fields.iter().map(|field| (format!("/names/{field}"), self.name(field)));
        let others = [("/main_score_copy", &self.main_score_copy), ("/stage", &self.stage)];
        let others = others.into_iter().map(|(path, name)| (path.to_owned(), name.clone()));
        let mut seen = BTreeMap::new();
        for (path, name) in of_fields.chain(others) {
            let Some(name) = name else { continue };
            if let Some(other) = seen.insert(name.clone(), path.clone()).filter(|other| *other != path) {
                return Err((path, format!("`{name}` is the attribute of `{other}`: two can't have one")));
            }
        }
        Ok(())
    }

    /// The names of all attributes that are ours by these settings, whatever the model.
    #[must_use]
    pub fn is_ours(&self, name: &str) -> bool {
        let named: BTreeSet<&str> =
            self.names.values().chain([&self.main_score_copy, &self.stage]).flatten().map(String::as_str).collect();
        named.contains(name) || (!self.prefix.is_empty() && name.starts_with(&self.prefix))
    }
}

impl LookUp {
    /// # Errors
    /// When a number is out of range.
    pub fn check(&self) -> Result<(), BadSetting> {
        if !(0.1..=40.0).contains(&self.per_second) {
            return Err(("/per_second".to_owned(), "Braze allows 40 calls a second".to_owned()));
        }
        if !(1..=365).contains(&self.again_after_days) {
            return Err(("/again_after_days".to_owned(), "a number of days from 1 to 365".to_owned()));
        }
        Ok(())
    }
}

impl Pace {
    /// # Errors
    /// When a number is out of range.
    pub fn check(&self) -> Result<(), BadSetting> {
        let ranges = [
            ("/debounce_ms", self.debounce_ms, 10, 20_000),
            ("/coalesce_ms", self.coalesce_ms, 0, 86_400_000),
            ("/gap_ms", self.gap_ms, 0, 600_000),
            ("/retry_first_ms", self.retry_first_ms, 10, 600_000),
            ("/retry_max_ms", self.retry_max_ms, 10, 86_400_000),
            ("/timeout_ms", self.timeout_ms, 100, 120_000),
            ("/requests_per_second", self.requests_per_second.into(), 1, 1_000),
        ];
        let bad = ranges.into_iter().find(|(_, value, least, most)| value < least || value > most);
        bad.map_or(Ok(()), |(path, _, least, most)| Err((path.to_owned(), format!("a number from {least} to {most}"))))
    }
}

/// Attributes that are Braze's own, or say whom an object is about: never ours to set.
const RESERVED: &[&str] = &[
    "_update_existing_only",
    "alias_name",
    "braze_id",
    "country",
    "current_location",
    "date_of_first_session",
    "date_of_last_session",
    "dob",
    "email",
    "email_open_tracking_disabled",
    "email_click_tracking_disabled",
    "email_subscribe",
    "external_id",
    "facebook",
    "first_name",
    "gender",
    "home_city",
    "language",
    "last_name",
    "marked_email_as_spam_at",
    "phone",
    "push_subscribe",
    "push_token_import",
    "push_tokens",
    "subscription_groups",
    "time_zone",
    "twitter",
    "user_alias",
];

/// Braze's limits on names of custom attributes (facts on Braze, section 4).
fn wrong_name(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("an attribute needs a name")
    } else if name.len() > 255 {
        Some("a name has at most 255 bytes")
    } else if name.starts_with('$') || name.chars().any(char::is_control) {
        Some("a name has no control characters and no leading $")
    } else if RESERVED.contains(&name) {
        Some("this attribute is Braze's own")
    } else {
        None
    }
}

/// `likeliness-to-meet` as `likeliness_to_meet`.
fn snake(slug: &str) -> String {
    slug.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn defaults_are_sound_and_names_can_be_changed_spaces_and_all() {
        let settings = WriteBack::default();
        assert_eq!((settings.check(), LookUp::default().check(), Pace::default().check()), (Ok(()), Ok(()), Ok(())));
        assert_eq!(settings.name("lead_score").as_deref(), Some("sw_lead_score"));
        assert_eq!(settings.name("likeliness-to-meet").as_deref(), Some("sw_likeliness_to_meet"));
        let settings: WriteBack =
            from_value(json!({ "prefix": "", "names": { "lead_score": "lead score", "tags": null } })).unwrap();
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(settings.name("lead_score").as_deref(), Some("lead score"));
        assert_eq!((settings.name("tags"), settings.name("fit")), (None, Some("fit".to_owned())));
    }

    #[test]
    fn no_name_takes_what_is_brazes_or_another_fields() {
        let check = |settings| from_value::<WriteBack>(settings).unwrap().check().map_err(|(path, _)| path);
        assert_eq!(check(json!({ "names": { "lead_score": "email" } })), Err("/names/lead_score".to_owned()));
        assert_eq!(check(json!({ "stage": "external_id" })), Err("/stage".to_owned()));
        assert_eq!(check(json!({ "main_score_copy": "sw_lead_score" })), Err("/main_score_copy".to_owned()));
        assert_eq!(check(json!({ "names": { "fit": " " } })), Err("/names/fit".to_owned()));
        assert_eq!(check(json!({ "names": { "fit": "$x" } })), Err("/names/fit".to_owned()));
        let check_scores = |settings| {
            let settings: WriteBack = from_value(settings).unwrap();
            settings.check_scores(&["fit".to_owned(), "b-fit".to_owned()])
        };
        let path = |settings| check_scores(settings).map_err(|(path, _)| path);
        let fine = json!({ "names": { "fit": "Fit, %", "lead_score": null }, "main_score_copy": "lead score" });
        assert_eq!(path(fine), Ok(()));
        let (at, words) = check_scores(json!({ "names": { "lead_scroe": "x" } })).unwrap_err();
        assert_eq!(at, "/names/lead_scroe");
        assert!(words.ends_with("did you mean `lead_score`?"), "{words}");
        assert_eq!(path(json!({ "names": { "b_fit": "x" } })), Err("/names/b_fit".to_owned()));
        assert_eq!(path(json!({ "main_score_copy": "sw_fit" })), Err("/main_score_copy".to_owned()));
        assert_eq!(path(json!({ "stage": "sw_b_fit" })), Err("/stage".to_owned()));
        assert_eq!(path(json!({ "names": { "tags": "sw_fit" } })), Err("/names/fit".to_owned()));
        assert_eq!(check(json!({ "decimals": 7 })), Err("/decimals".to_owned()));
        assert_eq!(
            LookUp { per_second: 41.0, ..LookUp::default() }.check().map_err(|bad| bad.0),
            Err("/per_second".into())
        );
    }
}
