//! What Braze does with profiles and batches.

use super::scene::{Key, Scene};

pub(super) fn reinstall_with_a_new_braze_id(s: &Scene) {
    s.rivals("SalesWings matches Braze users by e-mail; an id of an app without one is not shown (facts/market.md 1.2, 1.6).")
        .here("One person with both ids, held together by the customer's own id; links with either are theirs.");
    let ada = s.person("ada");
    let new_id = s.braze_id("ada's new telephone");
    s.braze().knows(&ada);
    let id = s.sees(&ada.email).id();
    s.days_later(1);
    s.braze().reports(
        "users.behaviors.app.FirstSession",
        &[&new_id],
        serde_json::json!({ "app_id": "a", "session_id": "1" }),
    );
    s.sees_apart(&[&ada.braze_id, &new_id]);
    s.minutes_later(5);
    s.braze().reports(
        "users.behaviors.app.SessionStart",
        &[&new_id, &ada.external_id],
        serde_json::json!({ "app_id": "a", "session_id": "2" }),
    );
    let telephone = s.browser("telephone");
    telephone.opens_link("/pricing", &new_id);

    let seen = s.sees(&new_id).holds_exactly(&[&ada.braze_id, &new_id, &ada.external_id, &ada.email]);
    assert_eq!(seen.in_browsers(&[&telephone]).goes_by(&ada.email).earned(5).id(), id, "the id stays");
}

pub(super) fn anonymous_profile_becomes_known(s: &Scene) {
    s.rivals("SalesWings stores leads without an e-mail and does not show them until then (facts/market.md 1.2).")
        .here("The anonymous profile is a prospect from its first event; when Braze learns who it is, it keeps its id and what it did.");
    let ada = s.person("ada");
    s.braze().reports(
        "users.messages.contentcard.Click",
        &[&ada.braze_id],
        serde_json::json!({ "campaign_name": "Card" }),
    );
    let id = s.sees(&ada.braze_id).has_no_email().id();
    s.minutes_later(60);
    s.braze().knows(&ada);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);

    let seen = s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).earned(5);
    assert_eq!(seen.id(), id, "the id stays");
}

pub(super) fn merge_in_braze(s: &Scene) {
    s.rivals("Braze's merges are not reflected in what it exported before; who goes by e-mail notices nothing (facts/market.md 1.6).")
        .here("Braze's word joins even two customer ids: one person, and the id of the one that was merged away says into whom.");
    let (ada, double) = (s.person("ada"), s.person("double"));
    s.braze().knows(&ada);
    s.minutes_later(10);
    s.braze().knows(&double);
    s.braze().reports_click(&[&double.braze_id, &double.external_id, &double.email]);
    let old = s.sees(&double.email).id();
    s.sees_apart(&[&ada.email, &double.email]);
    s.minutes_later(60);
    s.braze().merges(&[&double.braze_id, &double.external_id], &ada.braze_id);

    s.sees(&ada.email)
        .holds_exactly(&[
            &ada.braze_id,
            &ada.external_id,
            &ada.email,
            &double.braze_id,
            &double.external_id,
            &double.email,
        ])
        .earned(5);
    s.sees_merged(&old, &ada.email);
    s.sees_evidence("fact", &double.braze_id, &ada.braze_id, "active", "");
}

pub(super) fn merge_in_braze_reported_before_anything_else(s: &Scene) {
    s.rivals("Braze keeps a queue per type of event and promises no order between them; who applies events as they come gets another result each time (facts/market.md 3.7).")
        .here("It makes no difference: the merge waits for what it merges.");
    let (ada, double) = (s.person("ada"), s.person("double"));
    let earlier = s.kept_back(|| {
        s.braze().knows(&ada);
        s.braze().knows(&double);
        s.braze().reports_click(&[&double.braze_id, &double.external_id, &double.email]);
    });
    s.minutes_later(60);
    s.braze().merges(&[&double.braze_id, &double.external_id], &ada.braze_id);
    s.arrives(earlier);

    s.sees(&ada.email)
        .holds_exactly(&[
            &ada.braze_id,
            &ada.external_id,
            &ada.email,
            &double.braze_id,
            &double.external_id,
            &double.email,
        ])
        .earned(5);
}

pub(super) fn conflicting_external_ids(s: &Scene) {
    s.rivals("The last one overwrites, or both become one; in Segment and Snowplow one can declare an id to be unique (facts/market.md 2 notes q and s).")
        .here("The first one counts. The second is a conflict, shown with its reason, and is not that person's.");
    let ada = s.person("ada");
    let second = Key::new("external_id", format!("{}-2", ada.external_id.value));
    s.braze().knows(&ada);
    s.minutes_later(60);
    s.braze().mails(&[&ada.braze_id, &second, &ada.email]);
    s.braze().reports_click(&[&second]);

    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).earned(0);
    s.sees(&second).holds_exactly(&[&second]).has_no_email().earned(5);
    s.sees_evidence("fact", &ada.braze_id, &second, "conflict", "two external ids");
}

pub(super) fn crm_id_as_external_id(s: &Scene) {
    s.rivals("Whether an id is a CRM's or one's own is not told apart in SalesWings' events: a reference is an e-mail or a client id (facts/market.md 1.3).")
        .here("It works like any id of one's own, in Braze and in links, with its case kept. It is an external id by type, so nothing that speaks of CRM ids is mixed up with it.");
    let ada = s.person("ada");
    let lead = Key::new("external_id", "00Q5f000004AbC1EAC");
    let other_case = Key::new("external_id", "00Q5F000004ABC1EAC");
    let laptop = s.browser("laptop");
    s.braze().mails(&[&ada.braze_id, &lead, &ada.email]);
    laptop.opens_link("/pricing", &lead);

    s.sees(&lead).holds_exactly(&[&lead, &ada.braze_id, &ada.email]).in_browsers(&[&laptop]).earned(5);
    s.sees_nobody(&other_case);
    s.sees_nobody(&Key::new("crm_id", lead.value.clone()));
}

pub(super) fn late_batch_about_yesterday(s: &Scene) {
    s.rivals("Batches come 5 to 30 minutes late and in any order; which product sorts them by time is not documented (facts/market.md 3.17).")
        .here("Everything is sorted by when it happened: the same timeline and the same id, whichever batch came first.");
    let ada = s.person("ada");
    let yesterday = s.kept_back(|| {
        s.braze().mails(&[&ada.external_id, &ada.email]);
        s.braze().reports_click(&[&ada.braze_id, &ada.external_id]);
    });
    s.minutes_later(1_200);
    let laptop = s.browser("laptop");
    laptop.opens_link("/pricing", &ada.braze_id);
    laptop.fills_form("demo", &ada.email);
    let introduced = s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.email]).id();

    s.arrives(yesterday);
    s.sees(&ada.email)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email])
        .did(&["[Email campaign engagement] Clicked in email Newsletter", "[Page view] /pricing", "[Form] demo"])
        .earned(30);
    // The key that appeared first gives the id: Braze has known the customer's own id since yesterday.
    s.sees_merged(&introduced, &ada.email);
}

pub(super) fn duplicate_batches_in_shuffled_order(s: &Scene) {
    s.rivals("Braze delivers at least once; who does not compare ids counts a click as often as it comes (facts/market.md 3.17).")
        .here("Every event counts once, however often and in whatever company it is sent.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    for person in [&ada, &ben, &ada] {
        s.braze().reports_click(&[&person.braze_id, &person.external_id, &person.email]);
        s.minutes_later(7);
    }
    s.everything_is_sent_again();
    s.everything_is_sent_again();

    s.sees(&ada.email).did(&["[Email campaign engagement] Clicked in email Newsletter"; 2]).earned(10);
    s.sees(&ben.email).did(&["[Email campaign engagement] Clicked in email Newsletter"]).earned(5);
}
