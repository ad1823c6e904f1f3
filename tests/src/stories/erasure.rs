//! People who want to be forgotten.

use super::scene::Scene;

pub(super) fn erase_then_a_retry_of_the_old_batch(s: &Scene) {
    s.rivals("SalesWings deletes what a person did, on request by mail, and keeps the lead (facts/market.md 1.8).")
        .here("Nothing is held on them, and an old batch that Braze sends once more brings nothing back.");
    let ada = s.person("ada");
    let laptop = s.browser("ada's laptop");
    s.braze().knows(&ada);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    laptop.opens_link("/pricing", &ada.braze_id);
    laptop.fills_form("demo", &ada.email);
    s.sees(&ada.email).earned(30);

    s.colleague().erases(&ada.email);
    for key in [&ada.email, &ada.braze_id, &ada.external_id] {
        s.sees_nobody(key);
    }
    s.everything_is_sent_again();
    for key in [&ada.email, &ada.braze_id, &ada.external_id] {
        s.sees_nobody(key);
    }
}

pub(super) fn erase_then_the_person_returns(s: &Scene) {
    s.rivals(
        "In SalesWings they were never gone: what they did is deleted, the lead is not (facts/market.md 1.8, 3.19).",
    )
    .here("They begin anew: what they do from then on is there, and nothing from before.");
    let ada = s.person("ada");
    let laptop = s.browser("ada's laptop");
    s.braze().knows(&ada);
    laptop.fills_form("demo", &ada.email);
    laptop.visits("/pricing");

    s.colleague().erases(&ada.email);
    s.sees_nobody(&ada.email);
    // Two days before now and four days on: after the erasure, whenever that is.
    s.days_later(4);
    s.everything_is_sent_again();
    laptop.fills_form("trial", &ada.email);
    s.sees(&ada.email).holds_exactly(&[&ada.email]).did(&["[Form] trial"]).in_browsers(&[&laptop]);
}

pub(super) fn erase_one_of_the_people_at_a_kiosk(s: &Scene) {
    s.rivals("Who was merged with others can only be deleted with them: there is no unmerge to do before (facts/market.md 1.2, 3.3).")
        .here("The neighbours keep what is theirs, and get nothing of what was hers.");
    let (ada, ben, cleo) = (s.email("ada"), s.email("ben"), s.email("cleo"));
    let kiosk = s.browser("the kiosk");
    for (email, page) in [(&ben, "/docs"), (&ada, "/pricing"), (&cleo, "/start")] {
        kiosk.fills_form("demo", email);
        kiosk.visits(page);
        s.minutes_later(20);
    }

    s.colleague().erases(&ada);
    s.everything_is_sent_again();
    s.sees_nobody(&ada);
    s.sees(&ben).holds_exactly(&[&ben]).did(&["[Form] demo", "[Page view] /docs"]);
    s.sees(&cleo).holds_exactly(&[&cleo]).in_browsers(&[&kiosk]).did(&["[Form] demo", "[Page view] /start"]);
}

pub(super) fn erase_an_address_that_was_separated(s: &Scene) {
    s.rivals("Nobody can separate an address from a person, so nobody can erase it by itself (facts/market.md 3.3).")
        .here("The address goes, though it is nobody's and nothing has happened under it; the profile that it was separated from stays.");
    let ada = s.person("ada");
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    s.colleague().separates(&ada.braze_id, &[&ada.email]);

    s.colleague().erases(&ada.email);
    s.sees_nobody(&ada.email);
    s.sees(&ada.braze_id).holds_exactly(&[&ada.braze_id]).has_no_email().earned(5);
}
