//! How a visitor becomes somebody: links, forms, and what is none of either.

use super::scene::{Key, Scene};

pub(super) fn link_before_form(s: &Scene) {
    s.rivals("All merge at the form, for good; in SalesWings whoever filled it in becomes the lead that the link names (facts/market.md 1.2).")
        .here("One person: the link's id and the address are introduced to each other, for nobody knows anything else of either. It is shown as what it is, provisional.");
    let ada = s.person("ada");
    let laptop = s.browser("ada's laptop");
    laptop.opens_link("/pricing", &ada.braze_id);
    s.sees(&ada.braze_id).has_no_email();
    let id = s.sees(&ada.braze_id).id();
    s.minutes_later(10);
    laptop.fills_form("demo", &ada.email);

    let seen = s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.email]).in_browsers(&[&laptop]).earned(25);
    assert_eq!(seen.id(), id, "the id stays");
    s.sees_evidence("introduction", &ada.braze_id, &ada.email, "active", "");

    // Later Braze says the same.
    s.minutes_later(30);
    s.braze().knows(&ada);
    let seen = s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).earned(25);
    assert_eq!(seen.id(), id, "the id stays");
    s.sees_evidence("fact", &ada.braze_id, &ada.email, "active", "");
}

pub(super) fn form_before_link(s: &Scene) {
    s.rivals("Whichever comes last wins in HubSpot, where the cookie overwrites; elsewhere both are merged (facts/market.md 2 note o, 3.1).")
        .here("The same person as with the link first: order makes no difference.");
    let ada = s.person("ada");
    let laptop = s.browser("ada's laptop");
    laptop.fills_form("demo", &ada.email);
    s.minutes_later(90);
    laptop.opens_link("/pricing", &ada.braze_id);

    s.sees(&ada.braze_id)
        .holds_exactly(&[&ada.braze_id, &ada.email])
        .goes_by(&ada.email)
        .in_browsers(&[&laptop])
        .did(&["[Form] demo", "[Page view] /pricing"])
        .earned(25);
    s.sees_evidence("introduction", &ada.braze_id, &ada.email, "active", "");
}

pub(super) fn late_currents_that_contradicts_an_introduction(s: &Scene) {
    s.rivals("The wrong merge stays: PostHog calls it irreversible, Mixpanel and Customer.io cannot undo it (facts/market.md 2, 3.3).")
        .here("Braze says whose the id is, and the two part by themselves: the reader keeps the visit and the form, the customer gets none of it.");
    let (ada, ben) = (s.person("ada"), s.email("ben"));
    let bens_laptop = s.browser("ben's laptop");
    bens_laptop.opens_link("/pricing", &ada.braze_id);
    s.minutes_later(2);
    bens_laptop.fills_form("demo", &ben);
    // Nobody can know better yet.
    s.sees(&ben).holds_exactly(&[&ada.braze_id, &ben]).earned(25);

    s.minutes_later(25);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    s.sees(&ada.email)
        .holds_exactly(&[&ada.braze_id, &ada.email])
        .in_browsers(&[])
        .did(&["[Email campaign engagement] Clicked in email Newsletter"])
        .earned(5);
    s.sees(&ben).holds_exactly(&[&ben]).in_browsers(&[&bens_laptop]).earned(25);
    s.sees_evidence("introduction", &ada.braze_id, &ben, "conflict", "the id has another e-mail");
    s.sees_evidence("claim", &bens_laptop.key, &ada.braze_id, "suspended", "claim of higher trust");
}

pub(super) fn form_of_another_person_between_link_and_form(s: &Scene) {
    s.rivals("A shared browser merges all who use it, in SalesWings as in Mautic (facts/market.md 1.2, 2 row 33).")
        .here("The link's id is introduced to the first who fills in a form after it, and to nobody else: the device is a shared one.");
    let ada = s.person("ada");
    let ben = s.email("ben");
    let tablet = s.browser("a tablet");
    tablet.opens_link("/pricing", &ada.braze_id);
    s.minutes_later(1);
    tablet.fills_form("demo", &ada.email);
    s.minutes_later(20);
    tablet.fills_form("webinar", &ben);

    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.email]).did(&["[Page view] /pricing", "[Form] demo"]);
    s.sees(&ben).holds_exactly(&[&ben]).in_browsers(&[&tablet]).did(&["[Form] webinar"]);
    s.sees_no_evidence("introduction", &ada.braze_id, &ben);
}

pub(super) fn unrendered_liquid(s: &Scene) {
    s.rivals("Segment and PostHog have lists of blocked values; elsewhere the placeholder is an id that the whole database shares (facts/market.md 2 row 27, 3.13).")
        .here("It identifies nobody: every visitor stays themselves.");
    let liquid = Key::new("braze_id", "{{${braze_id}}}");
    let (one, other) = (s.browser("one"), s.browser("other"));
    one.opens_link("/pricing", &liquid);
    other.opens_link("/pricing", &liquid);
    one.fills_form("demo", &s.email("ada"));

    s.sees(&s.email("ada")).holds_exactly(&[&s.email("ada")]).in_browsers(&[&one]).earned(25);
    s.sees(&other.key).holds_exactly(&[]).has_no_email().earned(5);
    s.sees_nobody(&liquid);
    s.sees_no_evidence("claim", &other.key, &liquid);
}

pub(super) fn placeholders_instead_of_ids(s: &Scene) {
    s.rivals("Zeros, `null` and `anonymous` are ids like any other, but where somebody has blocked them, in Segment or PostHog (facts/market.md 2 row 27, 3.13).")
        .here("They are nobody, in links as in what Braze reports.");
    let words = ["null", "undefined", "anonymous", "00000000-0000-0000-0000-000000000000", "0"];
    let browsers = words.map(|word| s.browser(word));
    for (word, browser) in words.iter().zip(&browsers) {
        browser.opens_link("/pricing", &Key::new("external_id", *word));
    }
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    for person in [&ada, &ben] {
        s.braze().mails(&[&person.braze_id, &Key::new("external_id", "anonymous"), &person.email]);
    }

    for browser in &browsers {
        s.sees(&browser.key).holds_exactly(&[]).in_browsers(&[browser]);
    }
    s.sees_apart(&[&ada.email, &ben.email]);
    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.email]);
}

pub(super) fn both_url_parameters(s: &Scene) {
    s.rivals("In SalesWings, too, only braze_id counts if a link carries both (facts/market.md 1.2); what two different people in one link come to is not documented.")
        .here("Only braze_id counts. The other id is not stored, not even as a claim.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    s.braze().knows(&ada);
    s.braze().knows(&ben);
    let laptop = s.browser("laptop");
    laptop.opens_link_with("/pricing", &[&ben.external_id, &ada.braze_id]);

    s.sees(&ada.email).in_browsers(&[&laptop]).earned(5);
    s.sees(&ben.email).in_browsers(&[]).earned(0);
    s.sees_no_evidence("claim", &laptop.key, &ben.external_id);
}

pub(super) fn several_fields_in_one_form(s: &Scene) {
    s.rivals("A form's e-mail and phone are merged; Unomi's manual warns never to merge by what somebody typed (facts/market.md 2 note l).")
        .here("Each field says whose the browser may be, and none joins two people: the customer whose number was typed keeps their keys, and gets no other.");
    let (ada, phone) = (s.person("ada"), s.phone("ada"));
    let ben = s.email("ben");
    s.braze().knows(&ada);
    s.braze().reports(
        "users.messages.sms.ShortLinkClick",
        &[&ada.braze_id, &phone],
        serde_json::json!({
            "short_url": "https://brz.example/x", "url": "https://shop.example/"
        }),
    );
    let laptop = s.browser("laptop");
    laptop.fills_form_with("callback", &[&ben, &phone]);

    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email, &phone]);
    s.sees_evidence("claim", &laptop.key, &phone, "active", "");
    s.sees_no_evidence("fact", &ben, &phone);
    s.sees_no_evidence("introduction", &ben, &phone);
}
