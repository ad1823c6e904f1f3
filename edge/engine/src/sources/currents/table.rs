//! The one table of Braze's event types: what kind each is, how it is called, when it is a machine's doing, and which
//! of its fields say who it is about. The first 19 rows are those of SalesWings' table, word for word: rules match on
//! them. The others follow in its style.

use crate::key::KeyType;
use crate::kinds::Kind;
use crate::sources::json;
use serde_json::{Map, Value};

/// How one type of event is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) event_type: &'static str,
    pub(super) kind: Kind,
    /// A template of `labels`.
    pub(super) label: &'static str,
    pub(super) bot: Bot,
    /// The properties that hold a key of the person, beside `user.user_id` and `user.external_user_id`. Never our own
    /// numbers (`inbound_phone_number`, `from_phone_number`).
    pub(super) keys: &'static [(KeyType, &'static str)],
}

/// When an event is not a person's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bot {
    /// Nothing in the event would tell.
    Never,
    /// A mail client's proxy fetched the pictures.
    MachineOpen,
    /// Braze suspects a link scanner.
    SuspectedClick,
    /// The button that closes a notification.
    PushClose,
    /// Somebody in the control group got no message.
    ControlGroup,
    /// The type itself says control group.
    AlwaysControlGroup,
}

impl Bot {
    /// The reason, if it holds.
    pub(super) fn reason(self, properties: &Map<String, Value>) -> Option<&'static str> {
        let (holds, reason) = match self {
            Bot::Never => (false, ""),
            Bot::MachineOpen => (is_machine_open(properties), "machine_open"),
            Bot::SuspectedClick => (is_suspected_click(properties), "suspected_bot_click"),
            Bot::PushClose => {
                let action = json::words(properties, "button_action_type");
                (action.is_some_and(|action| action.eq_ignore_ascii_case("close")), "push_close")
            }
            Bot::ControlGroup => (json::is_set(properties, "in_control_group"), "control_group"),
            Bot::AlwaysControlGroup => (true, "control_group"),
        };
        holds.then_some(reason)
    }
}

/// `machine_open` is the text `"true"` or null, and "may change over time for more granularity": anything but a no.
fn is_machine_open(properties: &Map<String, Value>) -> bool {
    json::words(properties, "machine_open").is_some_and(|value| !value.eq_ignore_ascii_case("false"))
}

/// The flag stays null until the workspace removes bot clicks; the reasons are filled in even so.
fn is_suspected_click(properties: &Map<String, Value>) -> bool {
    let has_reasons = match json::field(properties, "suspected_bot_click_reason") {
        Some(Value::Array(reasons)) => !reasons.is_empty(),
        Some(Value::String(reason)) => !reason.is_empty(),
        _ => false,
    };
    has_reasons || json::is_set(properties, "is_suspected_bot_click")
}

/// The row of a type, known or not.
pub(super) fn row(event_type: &str, properties: &Map<String, Value>) -> Row {
    if event_type == EMAIL_BOUNCE && json::is_set(properties, "is_drop") {
        return DROPPED_EMAIL;
    }
    ROWS.iter().find(|row| row.event_type == event_type).copied().unwrap_or(UNKNOWN)
}

/// One profile became another's (beta): its properties name the survivor.
pub(super) const USER_ORPHAN: &str = "users.UserOrphan";
/// Somebody is to be forgotten.
pub(super) const USER_DELETE_REQUEST: &str = "users.UserDeleteRequest";
const EMAIL_BOUNCE: &str = "users.messages.email.Bounce";

const OTHER: &str = "[Other] {event_type}";

/// A type that is newer than this table.
const UNKNOWN: Row = other("", NO_KEYS);

/// The mail provider did not try, because an earlier mail had bounced: no new bounce.
pub(super) const DROPPED_EMAIL: Row = row_of(
    EMAIL_BOUNCE,
    Kind::MessageSend,
    "[Nurturing] Email {message} was not sent: the address has bounced before",
    Bot::Never,
    EMAIL,
);

const NO_KEYS: &[(KeyType, &str)] = &[];
const EMAIL: &[(KeyType, &str)] = &[(KeyType::Email, "email_address")];
const EMAIL_AND_PHONE: &[(KeyType, &str)] = &[(KeyType::Email, "email_address"), (KeyType::Phone, "phone_number")];
const SENDER_PHONE: &[(KeyType, &str)] = &[(KeyType::Phone, "user_phone_number")];
const RECIPIENT_PHONE: &[(KeyType, &str)] = &[(KeyType::Phone, "to_phone_number")];

const fn row_of(
    event_type: &'static str,
    kind: Kind,
    label: &'static str,
    bot: Bot,
    keys: &'static [(KeyType, &'static str)],
) -> Row {
    Row { event_type, kind, label, bot, keys }
}

const fn other(event_type: &'static str, keys: &'static [(KeyType, &'static str)]) -> Row {
    row_of(event_type, Kind::Other, OTHER, Bot::Never, keys)
}

const fn send(event_type: &'static str, label: &'static str, keys: &'static [(KeyType, &'static str)]) -> Row {
    row_of(event_type, Kind::MessageSend, label, Bot::Never, keys)
}

/// Every type that Braze documents.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // SalesWings' table (seed 000), in its order.
    row_of("users.canvas.Entry", Kind::CanvasEntry, "[Nurturing] Added by marketing team onto the journey {canvas_name|canvas_id}", Bot::ControlGroup, NO_KEYS),
    row_of("users.behaviors.CustomEvent", Kind::Custom, "[Custom Event tracked] {name}", Bot::Never, NO_KEYS),
    row_of("users.behaviors.app.FirstSession", Kind::FirstSession, "[User Action] Today marks the user's first session", Bot::Never, NO_KEYS),
    row_of("users.behaviors.InstallAttribution", Kind::Install, "[User Action] User installed app from {source}", Bot::Never, NO_KEYS),
    row_of("users.behaviors.Purchase", Kind::Purchase, "[Purchase] Customer purchased {product_id}{ for ?amount}", Bot::Never, NO_KEYS),
    row_of("users.messages.contentcard.Click", Kind::ContentCardClick, "[Content Card engagement] Clicked on {message} content card", Bot::Never, NO_KEYS),
    row_of(EMAIL_BOUNCE, Kind::EmailBounce, "[Alerting or negative] Email hard-bounced. This person's email appears to be no longer valid", Bot::Never, EMAIL),
    row_of("users.messages.email.Click", Kind::EmailClick, "[Email campaign engagement] Clicked in email {message}{ on ?url|link_alias|link_id}", Bot::SuspectedClick, EMAIL),
    row_of("users.messages.email.Delivery", Kind::EmailDelivery, "[Nurturing] Received email {message}", Bot::Never, EMAIL),
    row_of("users.messages.email.Open", Kind::EmailOpen, "[Email campaign engagement] Opened email {message}", Bot::MachineOpen, EMAIL),
    row_of("users.messages.email.Unsubscribe", Kind::EmailUnsubscribe, "[Subscription status change] Unsubscribed from {message}", Bot::Never, EMAIL),
    row_of("users.messages.inappmessage.Click", Kind::InAppClick, "[In-app campaign engagement] Clicked on message {message}", Bot::Never, NO_KEYS),
    row_of("users.messages.pushnotification.Open", Kind::PushOpen, "[Push notification engagement] Clicked on notification {message}", Bot::PushClose, NO_KEYS),
    row_of("users.messages.sms.InboundReceive", Kind::SmsInbound, "[SMS/mobile campaign engagement] We received a message from this person to our internal number {inbound_phone_number|=(unknown)}: {message_body|media|=(no text)}", Bot::Never, SENDER_PHONE),
    row_of("users.messages.sms.ShortLinkClick", Kind::SmsClick, "[SMS/mobile campaign engagement] Clicked on {short_url|url}", Bot::SuspectedClick, SENDER_PHONE),
    row_of("users.messages.whatsapp.InboundReceive", Kind::WhatsappInbound, "[WhatsApp engagement] We received a message from this person to our WhatsApp number {inbound_phone_number|=(unknown)}: {message_body|quick_reply_text|flow_response_json|media|=(no text)}", Bot::Never, SENDER_PHONE),
    row_of("users.messages.whatsapp.Read", Kind::WhatsappRead, "[WhatsApp engagement] Lead read our message from the {message} campaign", Bot::Never, RECIPIENT_PHONE),
    row_of("users.behaviors.subscription.GlobalStateChange", Kind::SubscriptionGlobal, "[Subscription status change] Global marketing subscription setting set to {subscription_status|=(unknown)}", Bot::Never, EMAIL),
    row_of("users.behaviors.subscriptiongroup.StateChange", Kind::SubscriptionGroup, "[Subscription status change] {subscription_status|=(unknown)} to/from {group}", Bot::Never, EMAIL_AND_PHONE),

    // What people do in the app.
    row_of("users.behaviors.app.SessionStart", Kind::SessionStart, "[User Action] Session started", Bot::Never, NO_KEYS),
    other("users.behaviors.app.SessionEnd", NO_KEYS),
    other("users.behaviors.Location", NO_KEYS),
    other("users.behaviors.Uninstall", NO_KEYS),
    other("users.behaviors.liveactivity.PushToStartTokenChange", NO_KEYS),
    other("users.behaviors.liveactivity.UpdateTokenChange", NO_KEYS),
    other("users.behaviors.pushnotification.TokenStateChange", NO_KEYS),

    // Campaigns and Canvases.
    row_of("users.campaigns.Conversion", Kind::Conversion, "[Conversion] Converted after campaign {message}", Bot::Never, NO_KEYS),
    send("users.campaigns.UniqueReceipt", "[Nurturing] Received campaign {message}", NO_KEYS),
    row_of("users.campaigns.EnrollInControl", Kind::Other, OTHER, Bot::AlwaysControlGroup, NO_KEYS),
    row_of("users.canvas.Conversion", Kind::Conversion, "[Conversion] Converted after journey {message}", Bot::ControlGroup, NO_KEYS),
    row_of("users.canvas.costep.Conversion", Kind::Conversion, "[Conversion] Converted after journey {message}", Bot::ControlGroup, NO_KEYS),
    row_of("users.canvas.experimentstep.Conversion", Kind::Conversion, "[Conversion] Converted after journey {message}", Bot::ControlGroup, NO_KEYS),
    row_of("users.canvas.experimentstep.SplitEntry", Kind::Other, OTHER, Bot::ControlGroup, NO_KEYS),
    send("users.canvas.costep.Send", "[Nurturing] Sent message {message}", NO_KEYS),
    send("users.canvas.sendtodestination.Sent", "[Nurturing] Sent to destination {destination_name|destination_api_id} by journey {message}", NO_KEYS),
    send("users.canvas.sendtodestination.NotSent", "[Nurturing] Not sent to destination {destination_name|destination_api_id} by journey {message}", NO_KEYS),
    other("users.canvas.exit.MatchedAudience", NO_KEYS),
    other("users.canvas.exit.PerformedEvent", NO_KEYS),
    other("users.canvasstep.Progression", NO_KEYS),

    // Banners.
    send("users.messages.banner.Abort", "[Nurturing] Banner {message} was not shown", NO_KEYS),
    row_of("users.messages.banner.Click", Kind::MessageClick, "[Banner engagement] Clicked on {message} banner", Bot::Never, NO_KEYS),
    other("users.messages.banner.Dismiss", NO_KEYS),
    row_of("users.messages.banner.Impression", Kind::MessageOpen, "[Banner engagement] Saw {message} banner", Bot::Never, NO_KEYS),

    // Content cards.
    send("users.messages.contentcard.Abort", "[Nurturing] Content card {message} was not sent", NO_KEYS),
    other("users.messages.contentcard.Dismiss", NO_KEYS),
    row_of("users.messages.contentcard.Impression", Kind::MessageOpen, "[Content Card engagement] Saw {message} content card", Bot::Never, NO_KEYS),
    send("users.messages.contentcard.Send", "[Nurturing] Sent content card {message}", NO_KEYS),

    // E-mail. A soft bounce passes; its label must not look like the hard one's to rules.
    send("users.messages.email.Abort", "[Nurturing] Email {message} was not sent", EMAIL),
    send("users.messages.email.Deferral", "[Nurturing] Email {message} was deferred", EMAIL),
    row_of("users.messages.email.MarkAsSpam", Kind::EmailSpam, "[Alerting or negative] Marked email {message} as spam", Bot::Never, EMAIL),
    send("users.messages.email.Retry", "[Nurturing] Email {message} is tried again", EMAIL),
    send("users.messages.email.Send", "[Nurturing] Sent email {message}", EMAIL),
    row_of("users.messages.email.SoftBounce", Kind::EmailSoftBounce, "[Email delivery] Email {message} soft-bounced", Bot::Never, EMAIL),

    other("users.messages.featureflag.Impression", NO_KEYS),

    // In-app messages.
    send("users.messages.inappmessage.Abort", "[Nurturing] In-app message {message} was not shown", NO_KEYS),
    row_of("users.messages.inappmessage.Impression", Kind::MessageOpen, "[In-app campaign engagement] Saw message {message}", Bot::Never, NO_KEYS),

    // Landing pages have a name of their own; surveys belong to a message or to such a page.
    row_of("users.messages.landingpage.Click", Kind::LandingPage, "[Landing page engagement] Clicked on landing page {landing_page_name|landing_page_api_id}", Bot::Never, NO_KEYS),
    row_of("users.messages.landingpage.FormSubmission", Kind::LandingPage, "[Landing page engagement] Submitted the form of landing page {landing_page_name|landing_page_api_id}", Bot::Never, NO_KEYS),
    row_of("users.messages.landingpage.Impression", Kind::LandingPage, "[Landing page engagement] Saw landing page {landing_page_name|landing_page_api_id}", Bot::Never, NO_KEYS),
    row_of("users.messages.survey.Response", Kind::SurveyResponse, "[Survey engagement] Answered survey {message|landing_page_name|survey_id}", Bot::Never, NO_KEYS),

    // LINE.
    send("users.messages.line.Abort", "[Nurturing] LINE message {message} was not sent", NO_KEYS),
    row_of("users.messages.line.Click", Kind::MessageClick, "[LINE engagement] Clicked on {short_url|url}", Bot::SuspectedClick, NO_KEYS),
    row_of("users.messages.line.InboundReceive", Kind::MessageInbound, "[LINE engagement] We received a message from this person to our LINE channel {line_channel_name|line_channel_id|=(unknown)}: {message_body|=(no text)}", Bot::Never, NO_KEYS),
    send("users.messages.line.Retry", "[Nurturing] LINE message {message} is tried again", NO_KEYS),
    send("users.messages.line.Send", "[Nurturing] Sent LINE message {message}", NO_KEYS),

    // Live activities.
    other("users.messages.liveactivity.Outcome", NO_KEYS),
    send("users.messages.liveactivity.Send", "[Nurturing] Sent live activity {activity_attributes_type|activity_id}", NO_KEYS),

    // The retired news feed.
    send("users.messages.newsfeedcard.Abort", "[Nurturing] News feed card {card_id} was not shown", NO_KEYS),
    row_of("users.messages.newsfeedcard.Click", Kind::MessageClick, "[News feed engagement] Clicked on {card_id} news feed card", Bot::Never, NO_KEYS),
    row_of("users.messages.newsfeedcard.Impression", Kind::MessageOpen, "[News feed engagement] Saw {card_id} news feed card", Bot::Never, NO_KEYS),

    // Push notifications.
    send("users.messages.pushnotification.Abort", "[Nurturing] Notification {message} was not sent", NO_KEYS),
    send("users.messages.pushnotification.Bounce", "[Nurturing] Notification {message} bounced", NO_KEYS),
    send("users.messages.pushnotification.IosForeground", "[Nurturing] Received notification {message}", NO_KEYS),
    send("users.messages.pushnotification.Retry", "[Nurturing] Notification {message} is tried again", NO_KEYS),
    send("users.messages.pushnotification.Send", "[Nurturing] Sent notification {message}", NO_KEYS),

    // RCS.
    send("users.messages.rcs.Abort", "[Nurturing] RCS message {message} was not sent", NO_KEYS),
    row_of("users.messages.rcs.Click", Kind::MessageClick, "[RCS engagement] Clicked on {short_url|url|element_label}", Bot::SuspectedClick, SENDER_PHONE),
    send("users.messages.rcs.Delivery", "[Nurturing] Received RCS message {message}", RECIPIENT_PHONE),
    row_of("users.messages.rcs.InboundReceive", Kind::MessageInbound, "[RCS engagement] We received a message from this person to our RCS sender {to_rcs_sender|=(unknown)}: {message_body|media|=(no text)}", Bot::Never, SENDER_PHONE),
    row_of("users.messages.rcs.Read", Kind::MessageOpen, "[RCS engagement] Lead read our message from the {message} campaign", Bot::Never, RECIPIENT_PHONE),
    send("users.messages.rcs.Rejection", "[Nurturing] RCS message {message} was rejected", RECIPIENT_PHONE),
    send("users.messages.rcs.Send", "[Nurturing] Sent RCS message {message}", RECIPIENT_PHONE),

    // SMS and MMS.
    send("users.messages.sms.Abort", "[Nurturing] SMS {message} was not sent", NO_KEYS),
    send("users.messages.sms.CarrierSend", "[Nurturing] SMS {message} was handed to the carrier", RECIPIENT_PHONE),
    send("users.messages.sms.Delivery", "[Nurturing] Received SMS {message}", RECIPIENT_PHONE),
    send("users.messages.sms.DeliveryFailure", "[Nurturing] SMS {message} could not be delivered", RECIPIENT_PHONE),
    send("users.messages.sms.Rejection", "[Nurturing] SMS {message} was rejected", RECIPIENT_PHONE),
    send("users.messages.sms.Retry", "[Nurturing] SMS {message} is tried again", NO_KEYS),
    send("users.messages.sms.Send", "[Nurturing] Sent SMS {message}", RECIPIENT_PHONE),

    // Webhooks.
    send("users.messages.webhook.Abort", "[Nurturing] Webhook {message} was not sent", NO_KEYS),
    send("users.messages.webhook.Failure", "[Nurturing] Webhook {message} failed", NO_KEYS),
    send("users.messages.webhook.Retry", "[Nurturing] Webhook {message} is tried again", NO_KEYS),
    send("users.messages.webhook.Send", "[Nurturing] Sent webhook {message}", NO_KEYS),

    // WhatsApp.
    send("users.messages.whatsapp.Abort", "[Nurturing] WhatsApp message {message} was not sent", RECIPIENT_PHONE),
    row_of("users.messages.whatsapp.Click", Kind::MessageClick, "[WhatsApp engagement] Clicked on {short_url|url}", Bot::SuspectedClick, SENDER_PHONE),
    send("users.messages.whatsapp.Delivery", "[Nurturing] Received WhatsApp message {message}", RECIPIENT_PHONE),
    send("users.messages.whatsapp.Failure", "[Nurturing] WhatsApp message {message} failed", RECIPIENT_PHONE),
    send("users.messages.whatsapp.Retry", "[Nurturing] WhatsApp message {message} is tried again", RECIPIENT_PHONE),
    send("users.messages.whatsapp.Send", "[Nurturing] Sent WhatsApp message {message}", RECIPIENT_PHONE),

    // Profiles, and what concerns nobody in particular.
    other(USER_ORPHAN, NO_KEYS),
    other(USER_DELETE_REQUEST, NO_KEYS),
    other("users.profile.Update", EMAIL_AND_PHONE),
    other("agentconsole.AgentExecuted", NO_KEYS),
    other("agentconsole.ToolInvocation", NO_KEYS),
    other("contentoptimizer.ComponentStore", NO_KEYS),
];
