//! Browsers, telephones and tablets, and who uses them.

use super::scene::Scene;
use serde_json::json;

pub(super) fn shared_kiosk(s: &Scene) {
    s.rivals("Shared devices merge everybody who uses them, or overwrite one by the other; of nine only Snowplow handles them fully (facts/market.md 2 row 33).")
        .here("Each person's time is kept apart: what was done since a form is that person's, until the next one's form.");
    let (ada, ben) = (s.email("ada"), s.email("ben"));
    let kiosk = s.browser("the kiosk");
    kiosk.visits("/");
    kiosk.fills_form("demo", &ada);
    kiosk.visits("/pricing");
    s.minutes_later(15);
    kiosk.fills_form("webinar", &ben);
    kiosk.visits("/docs");
    s.minutes_later(60);
    kiosk.fills_form("trial", &ada);
    kiosk.visits("/start");

    s.sees(&ada)
        .holds_exactly(&[&ada])
        .did(&["[Page view] /", "[Form] demo", "[Page view] /pricing", "[Form] trial", "[Page view] /start"])
        .earned(25);
    s.sees(&ben).holds_exactly(&[&ben]).did(&["[Form] webinar", "[Page view] /docs"]);
    s.sees(&kiosk.key).holds_exactly(&[&ada]);
}

pub(super) fn family_tablet(s: &Scene) {
    s.rivals("Both become one lead, since both links were opened in one browser (facts/market.md 1.2).")
        .here("Two people, whose mails are opened on one tablet: each has what followed their own link.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    let tablet = s.browser("the tablet");
    s.braze().knows(&ada);
    s.braze().knows(&ben);
    tablet.opens_link("/pricing", &ada.braze_id);
    tablet.visits("/pricing");
    s.minutes_later(200);
    tablet.opens_link("/sale", &ben.braze_id);
    s.minutes_later(200);
    tablet.opens_link("/news", &ada.braze_id);

    s.sees_apart(&[&ada.email, &ben.email]);
    s.sees(&ada.email).did(&["[Page view] /pricing", "[Page view] /pricing", "[Page view] /news"]).earned(10);
    s.sees(&ben.email).did(&["[Page view] /sale"]).earned(0);
    s.sees_evidence("claim", &tablet.key, &ben.braze_id, "active", "");
}

pub(super) fn two_browsers_of_one_person(s: &Scene) {
    s.rivals("All do this; it is what merging is for (facts/market.md 2 row 24).")
        .here("Telephone by link and computer by form are one person, with what was done before in either.");
    let ada = s.person("ada");
    let (phone, desk) = (s.browser("telephone"), s.browser("computer"));
    s.braze().knows(&ada);
    desk.visits("/blog");
    phone.opens_link("/pricing", &ada.braze_id);
    s.minutes_later(120);
    desk.fills_form("demo", &ada.email);

    s.sees(&ada.email)
        .in_browsers(&[&phone, &desk])
        .did(&["[Page view] /blog", "[Page view] /pricing", "[Form] demo"])
        .earned(25);
}

pub(super) fn private_window(s: &Scene) {
    s.rivals("Whoever deletes cookies is a new visitor everywhere, until they identify again (facts/market.md 2 row 24).")
        .here("The private window is a visitor of its own. It joins the person when its own form or link says so, and not before.");
    let ada = s.email("ada");
    let (window, private) = (s.browser("window"), s.browser("private window"));
    window.fills_form("demo", &ada);
    s.minutes_later(3);
    private.visits("/pricing");
    s.sees(&private.key).holds_exactly(&[]).has_no_email();
    s.sees(&ada).earned(20);

    s.minutes_later(3);
    private.fills_form("trial", &ada);
    s.sees(&ada).in_browsers(&[&window, &private]).earned(25);
}

pub(super) fn device_handed_on(s: &Scene) {
    s.rivals("The new owner takes over the old one's history, or both become one (facts/market.md 2 note o, 3.1).")
        .here("The old owner keeps what they did, the new one has what follows their own form.");
    s.begins_days_earlier(400);
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    let laptop = s.browser("the laptop");
    s.braze().knows(&ada);
    laptop.fills_form("demo", &ada.email);
    laptop.visits("/pricing");
    s.days_later(399);
    s.braze().knows(&ben);
    laptop.fills_form("trial", &ben.email);
    laptop.visits("/pricing");

    s.sees(&ada.email).in_browsers(&[]).did(&["[Form] demo", "[Page view] /pricing"]);
    s.sees(&ben.email).in_browsers(&[&laptop]).did(&["[Form] trial", "[Page view] /pricing"]).earned(5);
}

pub(super) fn colleagues_laptop_at_a_conference_stand(s: &Scene) {
    s.rivals("SalesWings merges every lead of the day into the one who was identified first (facts/market.md 1.2).")
        .here("Every lead is a person with what they did; the colleague's own clicks score nothing.");
    let eve = s.email_at("eve", super::STAFF_DOMAIN);
    let laptop = s.browser("the stand's laptop");
    laptop.signs_in(&eve);
    laptop.visits("/pricing");
    let leads = ["ada", "ben", "cleo"].map(|name| s.email(name));
    for lead in &leads {
        s.minutes_later(15);
        laptop.fills_form("demo", lead);
        laptop.visits("/pricing");
    }

    for lead in &leads {
        s.sees(lead).holds_exactly(&[lead]).did(&["[Form] demo", "[Page view] /pricing"]).earned(25);
    }
    s.sees(&eve).holds_exactly(&[&eve]).did(&["[Page view] /pricing"]).earned(0);
}

pub(super) fn link_in_a_text_message(s: &Scene) {
    s.rivals("SalesWings shows a Braze user only once there is an e-mail (facts/market.md 1.2).")
        .here("The click that Braze reports and the visit in the telephone's browser are one person, found by number as well.");
    let ada = s.person("ada");
    let number = s.phone("ada");
    let telephone = s.browser("ada's telephone");
    let link = json!({ "short_url": "https://brz.example/x", "url": "https://shop.example/pricing" });
    s.braze().reports("users.messages.sms.ShortLinkClick", &[&ada.braze_id, &number], link);
    telephone.opens_link("/pricing", &ada.braze_id);

    s.sees(&number)
        .holds_exactly(&[&ada.braze_id, &number])
        .has_no_email()
        .in_browsers(&[&telephone])
        .did(&["[SMS/mobile campaign engagement] Clicked on https://brz.example/x", "[Page view] /pricing"])
        .earned(5);
}

pub(super) fn phone_number_of_a_household(s: &Scene) {
    s.rivals("A number that two profiles share merges them, unless one has set a limit in Segment (facts/market.md 2 row 26).")
        .here("A number belongs to somebody and joins nobody: it is the first one's, and the others say why they do not have it.");
    let (ada, ben, number) = (s.person("ada"), s.person("ben"), s.phone("the household"));
    for person in [&ada, &ben] {
        let message = json!({ "inbound_phone_number": "+15550100", "message_body": "Yes", "action": "None" });
        s.braze().knows(person);
        s.braze().reports("users.messages.sms.InboundReceive", &[&person.braze_id, &number], message);
    }

    s.sees_apart(&[&ada.email, &ben.email]);
    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email, &number]);
    s.sees(&ben.email).holds_exactly(&[&ben.braze_id, &ben.external_id, &ben.email]);
    s.sees_evidence("fact", &ben.braze_id, &number, "conflict", "limit");
}

pub(super) fn offline_queue_that_delivers_yesterdays_visits_late(s: &Scene) {
    s.rivals("Only Segment and Snowplow have a queue that survives a reload; whose a late visit is, none of them says (facts/market.md 2 row 9).")
        .here("A visit is whose the browser was at its time, whenever it arrives.");
    let (ada, ben) = (s.email("ada"), s.email("ben"));
    let tablet = s.browser("the tablet");
    tablet.fills_form("demo", &ada);
    let late = s.kept_back(|| {
        tablet.visits("/pricing");
        tablet.visits("/docs");
    });
    s.minutes_later(1_000);
    tablet.fills_form("webinar", &ben);
    tablet.visits("/start");
    s.sees(&ada).did(&["[Form] demo"]);

    s.arrives(late);
    s.sees(&ada).did(&["[Form] demo", "[Page view] /pricing", "[Page view] /docs"]).earned(25);
    s.sees(&ben).did(&["[Form] webinar", "[Page view] /start"]);
}
