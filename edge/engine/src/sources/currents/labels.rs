//! Templates of labels, and what they say where Braze sends nothing.
//!
//! A template is text with places in braces. `{a|b|=c}` is the first of the fields `a` and `b` that says something,
//! else the text `c`, else `(unnamed)`. `{ on ?a|b}` is ` on ` and that field, or nothing at all. Some names stand for
//! more than a field: see [`Fields::value`].

use crate::sources::json;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The longest label in characters. Braze allows events of 900 KB, and a message's text is part of some labels; the
/// whole text stays in the properties.
pub(super) const LABEL_CHARS_MAX: usize = 1_024;

/// What is said of something that has neither a name nor an id.
const UNNAMED: &str = "(unnamed)";

/// What a template may speak of.
pub(super) struct Fields<'a> {
    pub(super) event_type: &'a str,
    pub(super) properties: &'a Map<String, Value>,
    pub(super) groups: &'a BTreeMap<String, String>,
}

/// Fills in a template.
pub(super) fn render(template: &str, fields: &Fields<'_>) -> String {
    let mut label = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').unwrap_or((after, ""));
        label.push_str(before);
        match place.split_once('?') {
            Some((prefix, choices)) => {
                if let Some(value) = fields.first(choices) {
                    label.push_str(prefix);
                    label.push_str(&value);
                }
            }
            None => label.push_str(fields.first(place).as_deref().unwrap_or(UNNAMED)),
        }
        rest = after;
    }
    label.push_str(rest);
    if let Some((end, _)) = label.char_indices().nth(LABEL_CHARS_MAX) {
        let keep = label.get(..end).and_then(|kept| kept.char_indices().next_back()).map_or(0, |(at, _)| at);
        label.truncate(keep);
        label.push('…');
    }
    label
}

impl<'a> Fields<'a> {
    /// The first of `a|b|=c` that says something.
    fn first(&self, choices: &'a str) -> Option<Cow<'a, str>> {
        choices.split('|').find_map(|choice| match choice.strip_prefix('=') {
            Some(literal) => Some(Cow::Borrowed(literal)),
            None => self.value(choice),
        })
    }

    fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        match name {
            "event_type" => Some(Cow::Borrowed(self.event_type)),
            "message" => self.message(),
            "group" => self.group(),
            "amount" => self.amount(),
            "media" => self.media(),
            field => json::words(self.properties, field),
        }
    }

    /// The name of the message: a message belongs to a campaign or to a Canvas, and either's name may be unknown for
    /// a while after it was made or renamed (facts on Braze, section 1.6).
    fn message(&self) -> Option<Cow<'a, str>> {
        let field = |name| json::words(self.properties, name);
        let of_canvas = || {
            let canvas = field("canvas_name")?;
            Some(match field("canvas_step_name") {
                Some(step) => Cow::Owned(format!("{canvas} ({step})")),
                None => canvas,
            })
        };
        field("campaign_name").or_else(of_canvas).or_else(|| field("campaign_id")).or_else(|| field("canvas_id"))
    }

    /// What a subscription group is called: seed 000 names the campaign that caused the change; Braze never sends the
    /// group's own name.
    fn group(&self) -> Option<Cow<'a, str>> {
        let field = |name| json::words(self.properties, name);
        let configured = || {
            let id = field("subscription_group_id")?;
            self.groups.get(&*id).filter(|name| !name.is_empty()).map(|name| Cow::Borrowed(name.as_str()))
        };
        field("campaign_name")
            .or_else(|| field("canvas_name"))
            .or_else(configured)
            .or_else(|| field("subscription_group_id"))
    }

    /// Price and currency.
    fn amount(&self) -> Option<Cow<'a, str>> {
        let price = self.price()?;
        Some(match json::words(self.properties, "currency") {
            Some(currency) => Cow::Owned(format!("{price} {currency}")),
            None => price,
        })
    }

    /// Braze's prices are 32-bit floats, written out as 64-bit ones: 49.9 arrives as 49.900001525878906.
    fn price(&self) -> Option<Cow<'a, str>> {
        let sent = json::field(self.properties, "price")?.as_f64();
        #[allow(clippy::cast_possible_truncation, reason = "back to the precision that it came from")]
        let price = sent.map(|price| price as f32).filter(|price| price.is_finite());
        price.map_or_else(|| json::words(self.properties, "price"), |price| Some(Cow::Owned(price.to_string())))
    }

    /// What to say of a message that is pictures only.
    fn media(&self) -> Option<Cow<'a, str>> {
        let files = json::field(self.properties, "media_urls")?.as_array()?;
        match files.iter().filter(|file| !file.is_null()).count() {
            0 => None,
            1 => Some(Cow::Borrowed("(1 media file)")),
            n => Some(Cow::Owned(format!("({n} media files)"))),
        }
    }
}
