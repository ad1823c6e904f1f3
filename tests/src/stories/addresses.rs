//! E-mail addresses: several of one person, one of several people, and the same one written differently.

use super::scene::{Key, Scene};

pub(super) fn two_emails_one_person(s: &Scene) {
    s.rivals("Merged for good everywhere; which of the two a product shows is its own affair (facts/market.md 3.3).")
        .here("One person with both addresses, since Braze has both on one profile; the latest is shown.");
    let ada = s.person("ada");
    let private = s.email("private");
    s.braze().knows(&ada);
    s.minutes_later(60);
    s.braze().mails(&[&ada.braze_id, &private]);
    let laptop = s.browser("laptop");
    laptop.fills_form("demo", &ada.email);
    laptop.fills_form("trial", &private);

    s.sees(&private)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email, &private])
        .goes_by(&private)
        .did(&["[Form] demo", "[Form] trial"]);
}

pub(super) fn typo_in_a_forms_email_then_corrected(s: &Scene) {
    s.rivals("The wrong address is merged into the lead for good, or overwritten together with its history (facts/market.md 2 note o, 3.3).")
        .here("From the correction on, everything is the right address's. The mistyped one is a person by itself, whom Braze's word parts from the id; a colleague may merge it.");
    let ada = s.person("ada");
    let typo = s.email("aad");
    let laptop = s.browser("laptop");
    laptop.opens_link("/pricing", &ada.braze_id);
    laptop.fills_form("demo", &typo);
    s.sees(&typo).holds_exactly(&[&ada.braze_id, &typo]);
    s.minutes_later(1);
    laptop.fills_form("demo", &ada.email);
    laptop.visits("/thanks");
    s.minutes_later(20);
    s.braze().knows(&ada);

    s.sees(&ada.email)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email])
        .in_browsers(&[&laptop])
        .did(&["[Form] demo", "[Page view] /thanks"])
        .earned(20);
    s.sees(&typo).holds_exactly(&[&typo]).in_browsers(&[]).did(&["[Page view] /pricing", "[Form] demo"]);
    s.sees_evidence("introduction", &ada.braze_id, &typo, "conflict", "the id has another e-mail");
}

pub(super) fn email_in_other_case_and_with_plus(s: &Scene) {
    s.rivals("SalesWings goes by the e-mail; how addresses are compared was not found (facts/market.md 1.6).")
        .here("Case is no difference. A plus is: whose mailbox it ends in is the mail server's affair, so it takes a server's word to join them.");
    let ada = s.person("ada");
    let capitals = Key::new("email", ada.email.value.to_uppercase());
    let plus = Key::new("email", ada.email.value.replace("@", "+news@"));
    let (desk, tablet) = (s.browser("desk"), s.browser("tablet"));
    s.braze().knows(&ada);
    desk.fills_form("demo", &capitals);
    tablet.fills_form("webinar", &plus);

    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).in_browsers(&[&desk]).earned(20);
    s.sees(&plus).holds_exactly(&[&plus]).in_browsers(&[&tablet]);

    s.minutes_later(30);
    s.braze().mails(&[&ada.external_id, &plus]);
    s.sees(&plus).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email, &plus]).in_browsers(&[&desk, &tablet]);
}

pub(super) fn email_hashed_in_the_browser(s: &Scene) {
    s.rivals("SalesWings sells hashing in the browser as an extra, called Privacy Shield (facts/market.md 1.1).")
        .here("A hash and the address that it is of are one key: whoever has the hash in a form is the one whom Braze writes to.");
    let ada = s.person("ada");
    // SHA-256 of the address, as the tracker computes it.
    let hash = Key::new("email", "sha256:e265c5eba2fc142add1713ba66719b5b9034c60514734881be6e8c828baf1676");
    let laptop = s.browser("laptop");
    laptop.fills_form("demo", &hash);
    s.sees(&ada.email).holds_exactly(&[&hash]);
    s.minutes_later(5);
    s.braze().knows(&ada);

    s.sees(&hash).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).goes_by(&ada.email).earned(20);
}

pub(super) fn gmail_and_business_address(s: &Scene) {
    s.rivals("Two leads, or one if both were used in one browser (facts/market.md 1.2).")
        .here("Two people until a server says that they are one; the private address makes no company.");
    let (ada, private) = (s.person("ada"), s.email_at("ada", "gmail.com"));
    let (desk, sofa) = (s.browser("desk"), s.browser("sofa"));
    s.braze().knows(&ada);
    desk.fills_form("demo", &ada.email);
    sofa.fills_form("trial", &private);
    desk.visits("/pricing");

    s.sees_apart(&[&ada.email, &private]);
    s.sees(&ada.email).of_company(Some("example.com")).earned(25);
    s.sees(&private).of_company(None);

    s.minutes_later(500);
    s.braze().mails(&[&ada.external_id, &private]);
    s.sees(&private)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email, &private])
        .in_browsers(&[&desk, &sofa])
        .earned(25);
}

pub(super) fn shared_info_address(s: &Scene) {
    s.rivals("SalesWings names shared addresses among what merges the wrong people (facts/market.md 1.2).")
        .here("Customers with ids of your own stay apart, however many share info@: the first has the address, the others say why they have not.");
    let info = s.email("info");
    let people = ["ada", "ben", "cleo"].map(|name| s.person(name));
    for person in &people {
        s.braze().mails(&[&person.braze_id, &person.external_id, &info]);
        s.braze().reports_click(&[&person.braze_id, &info]);
    }
    let [ada, ben, cleo] = &people;

    s.sees_apart(&[&ada.braze_id, &ben.braze_id, &cleo.braze_id]);
    s.sees(&info).holds_exactly(&[&ada.braze_id, &ada.external_id, &info]).earned(5);
    for other in [ben, cleo] {
        s.sees(&other.external_id).holds_exactly(&[&other.braze_id, &other.external_id]).has_no_email().earned(5);
        s.sees_evidence("fact", &other.braze_id, &info, "conflict", "two external ids");
    }
}

pub(super) fn two_people_with_one_email_in_braze(s: &Scene) {
    s.rivals("SalesWings works by e-mail: one lead, and its score is written to both profiles (facts/market.md 1.6).")
        .here("Two people. When Braze tells the second one's own address, that one is found by it.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    s.braze().knows(&ada);
    s.braze().mails(&[&ben.braze_id, &ben.external_id, &ada.email]);
    let tablet = s.browser("ben's tablet");
    tablet.opens_link("/pricing", &ben.braze_id);

    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).in_browsers(&[]).earned(0);
    s.sees(&ben.external_id).has_no_email().in_browsers(&[&tablet]).earned(5);

    s.days_later(1);
    s.braze().knows(&ben);
    s.sees(&ben.email).holds_exactly(&[&ben.braze_id, &ben.external_id, &ben.email]).earned(5);
    s.sees_evidence("fact", &ben.braze_id, &ada.email, "conflict", "two external ids");
}

pub(super) fn two_profiles_without_ids_of_ones_own(s: &Scene) {
    s.rivals("SalesWings goes by the e-mail, too: one lead (facts/market.md 1.6).")
        .here("Nothing says that they are two: one person with both of Braze's ids, held together by the address, and shown why.");
    let email = s.email("ada");
    let (web, app) = (s.braze_id("web"), s.braze_id("app"));
    s.braze().reports_click(&[&web, &email]);
    s.braze().reports_click(&[&app, &email]);

    s.sees(&email).holds_exactly(&[&web, &app, &email]).earned(10);
    s.sees_evidence("fact", &app, &email, "active", "");
}

pub(super) fn address_that_everybody_types(s: &Scene) {
    s.rivals("The address collects everybody who types it, with all that is known of them (facts/market.md 1.2).")
        .here("It collects the browsers in which it was typed, for nothing else is known of them, and no customer: their ids and addresses stay theirs.");
    let (ada, ben, nobody) = (s.person("ada"), s.person("ben"), s.email("test"));
    s.braze().knows(&ada);
    s.braze().knows(&ben);
    let browsers = ["ada's", "ben's", "a stranger's"].map(|name| s.browser(name));
    let [adas, bens, strangers] = &browsers;
    adas.opens_link("/pricing", &ada.braze_id);
    bens.opens_link("/docs", &ben.braze_id);
    for browser in &browsers {
        browser.fills_form("download", &nobody);
    }

    s.sees(&nobody).holds_exactly(&[&nobody]).in_browsers(&[adas, bens, strangers]);
    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).earned(0);
    s.sees(&ben.email).holds_exactly(&[&ben.braze_id, &ben.external_id, &ben.email]).earned(0);
    s.sees_evidence("claim", &adas.key, &ada.braze_id, "suspended", "claim of higher trust");

    // Whoever then gives their own address has what follows.
    s.minutes_later(15);
    adas.fills_form("demo", &ada.email);
    adas.visits("/pricing");
    s.sees(&ada.email).in_browsers(&[adas]).did(&["[Form] demo", "[Page view] /pricing"]).earned(25);
}

pub(super) fn employee_changes_company(s: &Scene) {
    s.rivals(
        "A new address is a new lead, unless the form's cookie overwrites the old one (facts/market.md 2 note o).",
    )
    .here("The customer's own id holds the person together: one person with both addresses, of the new company.");
    s.begins_days_earlier(200);
    let ada = s.person("ada");
    let (old, new) = (s.email_at("ada", "old-company.example"), s.email_at("ada", "new-company.example"));
    s.braze().mails(&[&ada.braze_id, &ada.external_id, &old]);
    s.sees(&old).of_company(Some("old-company.example"));
    let id = s.sees(&old).id();
    s.days_later(190);
    s.braze().mails(&[&ada.braze_id, &ada.external_id, &new]);
    s.braze().reports_click(&[&ada.braze_id, &new]);

    let seen = s.sees(&old).holds_exactly(&[&ada.braze_id, &ada.external_id, &old, &new]).goes_by(&new);
    assert_eq!(seen.of_company(Some("new-company.example")).earned(5).id(), id, "the id stays");
}
