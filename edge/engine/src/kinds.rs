//! The closed table of event kinds (contract, section 5). Parser, validation, default weights, bot rules,
//! labels and the README's reference are all made from this one table.

use minicbor::{Decode, Encode};

macro_rules! kinds {
    ($( $n:literal $variant:ident $slug:literal collect:$collect:literal activity:$activity:literal weight:$weight:literal ; )*) => {
        /// What sort of thing happened. Stored by number: numbers never change meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Kind {
            $( #[doc = concat!("`", $slug, "`")] #[n($n)] $variant, )*
        }

        /// Every kind, in the order of the contract's table.
        pub const KINDS: &[Row] = &[
            $( Row { kind: Kind::$variant, slug: $slug, collect: $collect, activity: $activity, weight: $weight }, )*
        ];

        impl Kind {
            /// This kind's row of the table.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $( Kind::$variant => Row { kind: Kind::$variant, slug: $slug, collect: $collect, activity: $activity, weight: $weight }, )*
                }
            }

            /// The kind of this name, if there is one.
            #[must_use]
            pub fn from_slug(slug: &str) -> Option<Kind> {
                match slug {
                    $( $slug => Some(Kind::$variant), )*
                    _ => None,
                }
            }
        }
    };
}

/// One row of the table of kinds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Its name in the API, in models and on the wire.
    pub slug: &'static str,
    /// May come from a browser through `/collect`.
    pub collect: bool,
    /// Feeds `last_active_at`, temperature and inactivity (unless the event is marked as a bot's).
    pub activity: bool,
    /// Default weight in the temperature; a model's `weights` override it.
    pub weight: f64,
}

kinds! {
    0  PageView "page_view" collect:true activity:true weight:2.0;
    1  Engagement "engagement" collect:true activity:false weight:0.0;
    2  FormSubmit "form_submit" collect:true activity:true weight:10.0;
    3  ClickOutbound "click_outbound" collect:true activity:true weight:1.0;
    4  Download "download" collect:true activity:true weight:5.0;
    5  Custom "custom" collect:true activity:true weight:1.0;
    6  Identify "identify" collect:true activity:false weight:0.0;
    7  LinkClick "link_click" collect:false activity:true weight:5.0;
    8  SessionStart "session_start" collect:false activity:true weight:1.0;
    9  FirstSession "first_session" collect:false activity:true weight:1.0;
    10 Install "install" collect:false activity:true weight:1.0;
    11 Purchase "purchase" collect:false activity:true weight:10.0;
    12 CanvasEntry "canvas_entry" collect:false activity:false weight:0.0;
    13 EmailClick "email_click" collect:false activity:true weight:5.0;
    14 SmsClick "sms_click" collect:false activity:true weight:5.0;
    15 ContentCardClick "content_card_click" collect:false activity:true weight:5.0;
    16 InAppClick "in_app_click" collect:false activity:true weight:5.0;
    17 PushOpen "push_open" collect:false activity:true weight:5.0;
    18 MessageClick "message_click" collect:false activity:true weight:5.0;
    19 EmailOpen "email_open" collect:false activity:true weight:1.0;
    20 MessageOpen "message_open" collect:false activity:true weight:1.0;
    21 WhatsappRead "whatsapp_read" collect:false activity:true weight:1.0;
    22 SmsInbound "sms_inbound" collect:false activity:true weight:8.0;
    23 WhatsappInbound "whatsapp_inbound" collect:false activity:true weight:8.0;
    24 MessageInbound "message_inbound" collect:false activity:true weight:8.0;
    25 EmailDelivery "email_delivery" collect:false activity:false weight:0.0;
    26 MessageSend "message_send" collect:false activity:false weight:0.0;
    27 EmailBounce "email_bounce" collect:false activity:false weight:0.0;
    28 EmailSoftBounce "email_soft_bounce" collect:false activity:false weight:0.0;
    29 EmailSpam "email_spam" collect:false activity:false weight:0.0;
    30 EmailUnsubscribe "email_unsubscribe" collect:false activity:false weight:0.0;
    31 SubscriptionGlobal "subscription_global" collect:false activity:false weight:0.0;
    32 SubscriptionGroup "subscription_group" collect:false activity:false weight:0.0;
    33 Conversion "conversion" collect:false activity:true weight:5.0;
    34 SurveyResponse "survey_response" collect:false activity:true weight:5.0;
    35 LandingPage "landing_page" collect:false activity:true weight:5.0;
    36 CrmChange "crm_change" collect:false activity:false weight:0.0;
    37 Other "other" collect:false activity:false weight:0.0;
}

impl Kind {
    /// Its name in the API, in models and on the wire.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        self.row().slug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slug_reads_back() {
        for row in KINDS {
            assert_eq!(Kind::from_slug(row.slug), Some(row.kind));
        }
        assert_eq!(Kind::from_slug("page-view"), None);
    }
}
