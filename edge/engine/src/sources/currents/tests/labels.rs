use super::{event, record};
use crate::kinds::Kind;
use crate::sources::currents::labels::LABEL_CHARS_MAX;
use crate::sources::currents::table::{Bot, ROWS};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn label(event_type: &str, properties: &Value) -> String {
    record(event(event_type, properties)).body.name
}

/// The label with its message's name as `{N}`, the kind, and the properties that it is made of.
fn seed_rows() -> Vec<(&'static str, Kind, &'static str, Value)> {
    vec![
        (
            "users.canvas.Entry",
            Kind::CanvasEntry,
            "[Nurturing] Added by marketing team onto the journey Trial",
            json!({ "canvas_id": "cv-1", "canvas_name": "Trial", "canvas_step_name": "Welcome", "in_control_group": false }),
        ),
        (
            "users.behaviors.CustomEvent",
            Kind::Custom,
            "[Custom Event tracked] webinar_joined",
            json!({ "name": "webinar_joined", "custom_properties": {} }),
        ),
        (
            "users.behaviors.app.FirstSession",
            Kind::FirstSession,
            "[User Action] Today marks the user's first session",
            json!({ "app_id": "app-1", "session_id": "s-1" }),
        ),
        (
            "users.behaviors.InstallAttribution",
            Kind::Install,
            "[User Action] User installed app from adjust",
            json!({ "source": "adjust" }),
        ),
        (
            "users.behaviors.Purchase",
            Kind::Purchase,
            "[Purchase] Customer purchased pro-plan for 49.9 EUR",
            json!({ "product_id": "pro-plan", "price": 49.900_001_525_878_906, "currency": "EUR" }),
        ),
        (
            "users.messages.contentcard.Click",
            Kind::ContentCardClick,
            "[Content Card engagement] Clicked on {N} content card",
            json!({ "content_card_id": "cc-1" }),
        ),
        (
            "users.messages.email.Bounce",
            Kind::EmailBounce,
            "[Alerting or negative] Email hard-bounced. This person's email appears to be no longer valid",
            json!({ "email_address": "ada@example.com", "bounce_reason": "550 no such user" }),
        ),
        (
            "users.messages.email.Click",
            Kind::EmailClick,
            "[Email campaign engagement] Clicked in email {N} on https://shop.example/?x=1",
            json!({ "email_address": "ada@example.com", "url": "https://shop.example/?braze_id=00aa&x=1&BR_USER_ID=u" }),
        ),
        (
            "users.messages.email.Delivery",
            Kind::EmailDelivery,
            "[Nurturing] Received email {N}",
            json!({ "email_address": "ada@example.com" }),
        ),
        (
            "users.messages.email.Open",
            Kind::EmailOpen,
            "[Email campaign engagement] Opened email {N}",
            json!({ "email_address": "ada@example.com", "machine_open": null }),
        ),
        (
            "users.messages.email.Unsubscribe",
            Kind::EmailUnsubscribe,
            "[Subscription status change] Unsubscribed from {N}",
            json!({ "email_address": "ada@example.com" }),
        ),
        (
            "users.messages.inappmessage.Click",
            Kind::InAppClick,
            "[In-app campaign engagement] Clicked on message {N}",
            json!({ "button_id": null }),
        ),
        (
            "users.messages.pushnotification.Open",
            Kind::PushOpen,
            "[Push notification engagement] Clicked on notification {N}",
            json!({ "button_action_type": "uri" }),
        ),
        (
            "users.messages.sms.InboundReceive",
            Kind::SmsInbound,
            "[SMS/mobile campaign engagement] We received a message from this person to our internal number +15550100: STOP",
            json!({ "inbound_phone_number": "+15550100", "message_body": "STOP", "action": "Unsubscribed", "user_phone_number": "+15550101234" }),
        ),
        (
            "users.messages.sms.ShortLinkClick",
            Kind::SmsClick,
            "[SMS/mobile campaign engagement] Clicked on https://brz.ai/x",
            json!({ "short_url": "https://brz.ai/x", "url": "https://shop.example/" }),
        ),
        (
            "users.messages.whatsapp.InboundReceive",
            Kind::WhatsappInbound,
            "[WhatsApp engagement] We received a message from this person to our WhatsApp number +15550100: Hello",
            json!({ "inbound_phone_number": "+15550100", "message_body": "Hello", "action": "None" }),
        ),
        (
            "users.messages.whatsapp.Read",
            Kind::WhatsappRead,
            "[WhatsApp engagement] Lead read our message from the {N} campaign",
            json!({ "from_phone_number": "+15550100" }),
        ),
        (
            "users.behaviors.subscription.GlobalStateChange",
            Kind::SubscriptionGlobal,
            "[Subscription status change] Global marketing subscription setting set to Opted In",
            json!({ "subscription_status": "Opted In" }),
        ),
        (
            "users.behaviors.subscriptiongroup.StateChange",
            Kind::SubscriptionGroup,
            "[Subscription status change] Subscribed to/from {N}",
            json!({ "subscription_status": "Subscribed", "subscription_group_id": "group-9" }),
        ),
    ]
}

fn with(properties: &Value, more: &Value) -> Value {
    let mut properties = properties.clone();
    properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    properties
}

#[test]
fn the_nineteen_labels() {
    let rows = seed_rows();
    assert_eq!(rows.len(), 19);
    let campaign = json!({ "campaign_id": "cp-1", "campaign_name": "Spring sale" });
    for (event_type, kind, expected, properties) in rows {
        let record = record(event(event_type, &with(&properties, &campaign)));
        assert_eq!(record.body.name, expected.replace("{N}", "Spring sale"), "{event_type}");
        assert_eq!((record.body.kind, record.body.bot), (kind, None), "{event_type}");
        assert_eq!(record.body.event_type.as_deref(), Some(event_type));
        assert_eq!(record.at, 1_767_225_600_000);
    }
}

#[test]
fn messages_without_a_campaign_name() {
    let cases = [
        (
            json!({ "campaign_id": "cp-1", "campaign_name": null, "canvas_name": "Trial", "canvas_step_name": null }),
            "Trial",
            "Trial",
        ),
        (
            json!({ "canvas_id": "cv-1", "canvas_name": "Trial", "canvas_step_name": "Welcome" }),
            "Trial (Welcome)",
            "Trial",
        ),
        (json!({ "campaign_id": "cp-1", "campaign_name": null, "canvas_name": null }), "cp-1", "group-9"),
        (json!({ "canvas_id": "cv-1", "canvas_name": "", "campaign_name": "null" }), "cv-1", "group-9"),
        (json!({ "campaign_id": null, "canvas_id": null }), "(unnamed)", "group-9"),
    ];
    for (event_type, _, expected, properties) in seed_rows() {
        let is_group = event_type.contains("subscriptiongroup");
        if !expected.contains("{N}") {
            continue;
        }
        for (names, message, group) in &cases {
            let name = if is_group { group } else { message };
            let expected = expected.replace("{N}", name);
            assert_eq!(label(event_type, &with(&properties, names)), expected);
        }
    }
}

#[test]
fn labels_where_other_fields_are_missing() {
    let cases = [
        (
            "users.canvas.Entry",
            json!({ "canvas_id": "cv-1", "canvas_name": null }),
            "[Nurturing] Added by marketing team onto the journey cv-1",
        ),
        (
            "users.messages.email.Click",
            json!({ "campaign_name": "Spring", "url": null }),
            "[Email campaign engagement] Clicked in email Spring",
        ),
        (
            "users.messages.email.Click",
            json!({ "campaign_name": "Spring", "link_alias": "hero" }),
            "[Email campaign engagement] Clicked in email Spring on hero",
        ),
        (
            "users.messages.whatsapp.InboundReceive",
            json!({ "inbound_phone_number": "+15550100", "message_body": null, "quick_reply_text": "Yes" }),
            "[WhatsApp engagement] We received a message from this person to our WhatsApp number +15550100: Yes",
        ),
        (
            "users.messages.whatsapp.InboundReceive",
            json!({ "inbound_phone_number": "+15550100", "flow_response_json": "{\"size\":\"L\"}" }),
            "[WhatsApp engagement] We received a message from this person to our WhatsApp number +15550100: {\"size\":\"L\"}",
        ),
        (
            "users.messages.whatsapp.InboundReceive",
            json!({ "inbound_phone_number": "+15550100", "media_urls": ["https://m.example/1", null, "https://m.example/2"] }),
            "[WhatsApp engagement] We received a message from this person to our WhatsApp number +15550100: (2 media files)",
        ),
        (
            "users.messages.sms.InboundReceive",
            json!({ "inbound_phone_number": "+15550100", "message_body": "" }),
            "[SMS/mobile campaign engagement] We received a message from this person to our internal number +15550100: (no text)",
        ),
        (
            "users.messages.sms.ShortLinkClick",
            json!({ "url": "https://shop.example/?lid=9" }),
            "[SMS/mobile campaign engagement] Clicked on https://shop.example/",
        ),
        (
            "users.behaviors.subscriptiongroup.StateChange",
            json!({ "subscription_status": "Unsubscribed", "subscription_group_id": "group-1" }),
            "[Subscription status change] Unsubscribed to/from Product news",
        ),
        (
            "users.behaviors.Purchase",
            json!({ "product_id": "tea", "price": 1200.0, "currency": "JPY" }),
            "[Purchase] Customer purchased tea for 1200 JPY",
        ),
        (
            "users.behaviors.Purchase",
            json!({ "product_id": "tea", "price": 0.1_f32 }),
            "[Purchase] Customer purchased tea for 0.1",
        ),
        (
            "users.behaviors.Purchase",
            json!({ "product_id": "tea", "currency": "EUR" }),
            "[Purchase] Customer purchased tea",
        ),
        ("users.messages.NewThing.Click", json!({ "anything": 1 }), "[Other] users.messages.NewThing.Click"),
    ];
    for (event_type, properties, expected) in cases {
        assert_eq!(label(event_type, &properties), expected);
    }
    let long = label("users.behaviors.CustomEvent", &json!({ "name": "é".repeat(5000) }));
    assert_eq!((long.chars().count(), long.chars().last()), (LABEL_CHARS_MAX, Some('…')));
}

#[test]
fn the_table_is_in_order() {
    let types: BTreeSet<_> = ROWS.iter().map(|row| row.event_type).collect();
    assert_eq!(types.len(), ROWS.len(), "a type twice");
    for row in ROWS {
        assert_eq!(row.label.matches('{').count(), row.label.matches('}').count(), "{}", row.label);
        assert_eq!(row.kind == Kind::Other, row.label.starts_with("[Other]"), "{}", row.event_type);
    }
    for row in &ROWS[19..] {
        // Messages that are only sent are no doing of the person's, and are told so.
        assert_eq!(row.kind == Kind::MessageSend, row.label.starts_with("[Nurturing]"), "{}", row.event_type);
    }
}

/// Every field that a label, an identity or a bot rule reads.
const FIELDS: &[&str] = &[
    "campaign_name",
    "campaign_id",
    "canvas_name",
    "canvas_id",
    "canvas_step_name",
    "name",
    "source",
    "product_id",
    "price",
    "currency",
    "url",
    "short_url",
    "link_alias",
    "link_id",
    "inbound_phone_number",
    "message_body",
    "quick_reply_text",
    "flow_response_json",
    "media_urls",
    "subscription_status",
    "subscription_group_id",
    "email_address",
    "phone_number",
    "user_phone_number",
    "to_phone_number",
    "to_rcs_sender",
    "line_channel_name",
    "line_channel_id",
    "element_label",
    "card_id",
    "activity_id",
    "activity_attributes_type",
    "machine_open",
    "is_suspected_bot_click",
    "suspected_bot_click_reason",
    "button_action_type",
    "in_control_group",
    "is_drop",
    "landing_page_name",
    "landing_page_api_id",
    "survey_id",
    "destination_name",
    "destination_api_id",
    "orphaned_by_id",
    "custom_properties",
    "purchase_properties",
];

/// Every type, with what Braze may leave out left out: sends of a campaign, of a Canvas, of something that was just made
/// and has no name yet, and of nothing at all; each with absent fields and with nulls.
#[test]
fn every_type_reads_well_whatever_is_left_out() {
    let campaign = json!({ "campaign_id": "cp-1", "campaign_name": "Spring sale", "message_variation_name": "B" });
    let canvas =
        json!({ "canvas_id": "cv-1", "canvas_name": "Trial", "canvas_step_id": "st-1", "canvas_step_name": "Welcome" });
    let unnamed_campaign = json!({ "campaign_id": "cp-1", "campaign_name": null });
    let unnamed_canvas =
        json!({ "canvas_id": "cv-1", "canvas_name": null, "canvas_step_id": "st-1", "canvas_step_name": null });
    let cases = [
        (json!({}), "(unnamed)", "(unnamed)"),
        (campaign, "Spring sale", "(unnamed)"),
        (canvas, "Trial (Welcome)", "Trial"),
        (unnamed_campaign, "cp-1", "(unnamed)"),
        (unnamed_canvas, "cv-1", "cv-1"),
    ];
    let nulls: serde_json::Map<String, Value> = FIELDS.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
    let mut read = 0;
    for row in ROWS {
        for (said, message, journey) in &cases {
            for others in [json!({}), Value::Object(nulls.clone())] {
                let record = record(event(row.event_type, &with(&others, said)));
                let name = &record.body.name;
                let context = format!("{} {said} {others}: {name}", row.event_type);
                for nothing in ["null", "undefined", "None", "{", "}", "|", "  ", "()"] {
                    assert!(!name.contains(nothing), "{context}");
                }
                assert!(!name.is_empty() && name.trim() == name, "{context}");
                if row.label.contains("{message}") {
                    assert!(name.contains(message), "{context}");
                }
                if row.event_type == "users.canvas.Entry" {
                    assert!(name.ends_with(&format!("journey {journey}")), "{context}");
                }
                assert_eq!((record.body.kind, record.rec.value()), (row.kind, super::BRAZE_ID), "{context}");
                let bot = (row.bot == Bot::AlwaysControlGroup).then_some("control_group");
                assert_eq!(record.body.bot.as_deref(), bot, "what is not said is no machine's: {context}");
                read += 1;
            }
        }
        for part in ["properties", "user"] {
            // Without properties it is still somebody's; without anybody it is told apart by the type's own keys.
            let mut bare = event(
                row.event_type,
                &json!({ "email_address": "ada@example.com", "phone_number": "+15550101234", "user_phone_number": "+15550101234", "to_phone_number": "+15550101234" }),
            );
            bare[part] = Value::Null;
            let batch = super::read(&[bare]);
            assert_eq!(batch.dead.is_empty(), part == "properties" || !row.keys.is_empty(), "{}", row.event_type);
        }
    }
    assert!(ROWS.len() >= 96 && read == ROWS.len() * 10, "{} types", ROWS.len());
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        prop_oneof![
            Just(""),
            Just("  "),
            Just("null"),
            Just("undefined"),
            Just("Spring"),
            Just("https://a.example/?braze_id=1")
        ]
        .prop_map(|text| Some(json!(text))),
        prop_oneof![
            Just(json!(3)),
            Just(json!(1e300)),
            Just(json!(-0.0)),
            Just(json!(true)),
            Just(json!([])),
            Just(json!({}))
        ]
        .prop_map(Some),
    ]
}

proptest! {
    #[test]
    fn no_label_speaks_of_nothing(row in 0..ROWS.len(), values in proptest::collection::vec(any_value(), FIELDS.len())) {
        let mut properties = json!({});
        for (field, value) in FIELDS.iter().zip(values) {
            if let Some(value) = value {
                properties[field] = value;
            }
        }
        let label = label(ROWS[row].event_type, &properties);
        for word in ["null", "undefined", "braze_id", "  "] {
            prop_assert!(!label.contains(word), "{}", label);
        }
        prop_assert_eq!(label.trim(), &label);
    }
}
