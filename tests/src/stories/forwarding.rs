//! Links that are opened by somebody else than whom they were sent to.

use super::scene::Scene;

pub(super) fn forwarded_mail_to_a_stranger(s: &Scene) {
    s.rivals("SalesWings merges the stranger's address into the customer's lead; in Pardot the link moves the customer's activities and score to the stranger for good (facts/market.md 1.2, 2 note p).")
        .here("Two people. The visit and its points are the stranger's; the link is shown as suspended, with the reason.");
    let (ada, ben) = (s.person("ada"), s.email("ben"));
    let bens_laptop = s.browser("ben's laptop");
    s.braze().knows(&ada);

    bens_laptop.opens_link("/pricing", &ada.braze_id);
    s.minutes_later(5);
    bens_laptop.fills_form("demo", &ben);

    s.sees(&ada.email)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email])
        .in_browsers(&[])
        .did(&[])
        .earned(0);
    s.sees(&ben)
        .holds_exactly(&[&ben])
        .in_browsers(&[&bens_laptop])
        .did(&["[Page view] /pricing", "[Form] demo"])
        .earned(25);
    s.sees_evidence("claim", &bens_laptop.key, &ada.braze_id, "suspended", "claim of higher trust for somebody else");
    s.sees_evidence("introduction", &ada.braze_id, &ben, "conflict", "the id has another e-mail");
}

pub(super) fn forwarded_mail_to_a_known_person(s: &Scene) {
    s.rivals("HubSpot: \"Pam steals Dwight's identity\"; SalesWings merges the two leads, and has no unmerge that is documented (facts/market.md 1.2, 3.1).")
        .here("Both stay who they were; the visit is that of the one whose browser it is.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    let bens_laptop = s.browser("ben's laptop");
    s.braze().knows(&ada);
    s.braze().knows(&ben);
    bens_laptop.fills_form("newsletter", &ben.email);
    s.minutes_later(30);

    bens_laptop.opens_link("/pricing", &ada.braze_id);
    s.minutes_later(1);
    bens_laptop.visits("/pricing");

    s.sees_apart(&[&ada.email, &ben.email]);
    s.sees(&ada.email).in_browsers(&[]).did(&[]).earned(0);
    s.sees(&ben.email)
        .holds_exactly(&[&ben.braze_id, &ben.external_id, &ben.email])
        .in_browsers(&[&bens_laptop])
        .did(&["[Form] newsletter", "[Page view] /pricing", "[Page view] /pricing"])
        .earned(10);
    s.sees_evidence("claim", &bens_laptop.key, &ada.braze_id, "suspended", "claim of higher trust");
    s.sees_evidence("introduction", &ada.braze_id, &ben.email, "conflict", "two external ids");
}

pub(super) fn forwarded_mail_that_is_only_looked_at(s: &Scene) {
    s.rivals("Every product takes the reader for the customer, and most keep that for good (facts/market.md 3.1).")
        .here("It is taken for the customer's second browser, by weak evidence and shown so. As soon as the reader says who they are, all of it is theirs.");
    let (ada, ben) = (s.person("ada"), s.email("ben"));
    let (adas_laptop, bens_laptop) = (s.browser("ada's laptop"), s.browser("ben's laptop"));
    s.braze().knows(&ada);
    adas_laptop.opens_link("/pricing", &ada.braze_id);
    bens_laptop.opens_link("/pricing", &ada.braze_id);

    s.sees(&ada.email).in_browsers(&[&adas_laptop, &bens_laptop]).earned(10);
    s.sees_evidence("claim", &bens_laptop.key, &ada.braze_id, "active", "");

    s.minutes_later(600);
    bens_laptop.fills_form("demo", &ben);
    s.sees(&ada.email).in_browsers(&[&adas_laptop]).did(&["[Page view] /pricing"]).earned(5);
    s.sees(&ben).in_browsers(&[&bens_laptop]).did(&["[Page view] /pricing", "[Form] demo"]).earned(25);
}

pub(super) fn signed_in_customer_opens_a_friends_link(s: &Scene) {
    s.rivals("PostHog, too, keeps two identified people apart; SalesWings merges the two leads (facts/market.md 1.2, 2 note r).")
        .here("Whoever is signed in has the visit. The friend's link is shown as suspended.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    let laptop = s.browser("ben's laptop");
    s.braze().knows(&ada);
    s.braze().knows(&ben);
    laptop.signs_in(&ben.external_id);
    s.minutes_later(5);
    laptop.opens_link("/pricing", &ada.braze_id);
    s.minutes_later(1);
    laptop.signs_in(&ben.external_id);

    s.sees(&ada.email).in_browsers(&[]).earned(0);
    s.sees(&ben.email).in_browsers(&[&laptop]).did(&["[Page view] /pricing"]).earned(5);
    s.sees_evidence("claim", &laptop.key, &ada.braze_id, "suspended", "claim of higher trust");
}

pub(super) fn one_mail_to_many_recipients(s: &Scene) {
    s.rivals(
        "SalesWings merges all who open a mail to many recipients around the first address (facts/market.md 1.2).",
    )
    .here("Everybody who says who they are is somebody; the one it was addressed to keeps what they did themselves.");
    let ada = s.person("ada");
    s.braze().knows(&ada);
    let readers = ["ben", "cleo", "dan", "eve"].map(|name| (s.email(name), s.browser(name)));
    for (_, browser) in &readers {
        browser.opens_link("/pricing", &ada.braze_id);
    }
    s.minutes_later(3);
    for (email, browser) in &readers {
        browser.fills_form("webinar", email);
    }

    for (email, browser) in &readers {
        s.sees(email).holds_exactly(&[email]).in_browsers(&[browser]).earned(5);
    }
    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).in_browsers(&[]).earned(0);
}

pub(super) fn unsubscribed_by_a_stranger(s: &Scene) {
    s.rivals("Braze itself does not filter unsubscribes by bots, and a forwarded link works for anybody; rivals merge whoever did it (facts/market.md 1.2, 3.1).")
        .here("The unsubscription counts for whose it is, since Braze says so; the stranger's browser stays the stranger's.");
    let (ada, ben) = (s.person("ada"), s.email("ben"));
    let bens_laptop = s.browser("ben's laptop");
    s.braze().knows(&ada);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    s.days_later(1);
    bens_laptop.fills_form("newsletter", &ben);
    s.minutes_later(10);
    bens_laptop.opens_link("/preferences", &ada.braze_id);
    let unsubscribe = serde_json::json!({ "campaign_name": "Newsletter" });
    s.braze().reports("users.messages.email.Unsubscribe", &[&ada.braze_id, &ada.email], unsubscribe);

    // Three clicks at 5 points, and 10 less.
    s.sees(&ada.email).in_browsers(&[]).earned(5);
    s.sees(&ben).holds_exactly(&[&ben]).did(&["[Form] newsletter", "[Page view] /preferences"]).earned(0);
}

pub(super) fn test_send_with_someone_elses_id(s: &Scene) {
    s.rivals("SalesWings merges staff with the contacts whose data a test mail was filled with, and advises not to click; Mautic ignores only administrators who are logged in (facts/market.md 1.2, 3.14).")
        .here("The tester's visits are the tester's, and score nothing, for the company's own people are listed. The customer is untouched.");
    let (ada, eve) = (s.person("ada"), s.email_at("eve", super::STAFF_DOMAIN));
    let eves_laptop = s.browser("eve's laptop");
    s.braze().knows(&ada);
    eves_laptop.signs_in(&eve);
    s.minutes_later(20);

    for _ in 0..3 {
        eves_laptop.opens_link("/pricing", &ada.braze_id);
    }

    s.sees(&ada.email)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email])
        .in_browsers(&[])
        .did(&[])
        .earned(0);
    s.sees(&eve).holds_exactly(&[&eve]).did(&["[Page view] /pricing"; 3]).earned(0);
    s.sees_evidence("introduction", &ada.braze_id, &eve, "conflict", "one of your own people");
}

pub(super) fn staff_opening_customers_links(s: &Scene) {
    s.rivals("SalesWings merges a colleague with every customer whose link they try; the advice is to avoid clicking (facts/market.md 1.2).")
        .here("Customers are credited only until the colleague says who they are; then all of it moves to the colleague, and scores nothing.");
    let (ada, ben, eve) = (s.person("ada"), s.person("ben"), s.email_at("eve", super::STAFF_DOMAIN));
    let eves_laptop = s.browser("eve's laptop");
    s.braze().knows(&ada);
    s.braze().knows(&ben);
    eves_laptop.opens_link("/pricing", &ada.braze_id);
    s.minutes_later(4);
    eves_laptop.opens_link("/pricing", &ben.braze_id);

    s.sees(&ada.email).earned(5);
    s.sees(&ben.email).earned(5);

    s.minutes_later(300);
    eves_laptop.fills_form("demo", &eve);
    s.sees(&ada.email).in_browsers(&[]).did(&[]).earned(0);
    s.sees(&ben.email).in_browsers(&[]).did(&[]).earned(0);
    s.sees(&eve)
        .holds_exactly(&[&eve])
        .in_browsers(&[&eves_laptop])
        .did(&["[Page view] /pricing", "[Page view] /pricing", "[Form] demo"])
        .earned(0);
    s.sees_evidence("claim", &eves_laptop.key, &ben.braze_id, "suspended", "claim of higher trust");
}
