//! What colleagues decide about who is who, and that it holds.

use super::scene::Scene;

pub(super) fn unmerge_then_the_same_event_again(s: &Scene) {
    s.rivals("Hardly anybody can unmerge: PostHog has a button, Segment a private beta, CleverTap may lose events; none says what the next event does (facts/market.md 2 rows 30, 3.3).")
        .here("Two people, each with their own history. Neither the same event again nor a new one of its kind joins them: both are shown as undone, with the reason.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    s.braze().knows(&ada);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    // The customer's own id of Ada's was given to Ben's address by mistake.
    s.braze().reports_click(&[&ben.braze_id, &ben.email]);
    s.braze().mails(&[&ben.braze_id, &ada.external_id]);
    s.sees(&ben.email)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email, &ben.braze_id, &ben.email])
        .earned(10);

    s.colleague().separates(&ada.email, &[&ben.braze_id, &ben.email]);
    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).earned(5);
    s.sees(&ben.email).holds_exactly(&[&ben.braze_id, &ben.email]).earned(5);

    s.everything_is_sent_again();
    s.minutes_later(60);
    s.braze().mails(&[&ben.braze_id, &ada.external_id]);
    s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).earned(5);
    s.sees(&ben.email).holds_exactly(&[&ben.braze_id, &ben.email]).earned(5);
    s.sees_evidence("fact", &ben.braze_id, &ada.external_id, "undone", "a colleague has separated the two");
}

pub(super) fn external_id_reused(s: &Scene) {
    s.rivals("An id that is given to a second person joins the two for good; Segment's limits notice it, nobody can undo it with its history (facts/market.md 2 rows 26 and 30).")
        .here("The id joins them, since that is what it says. A colleague who separates the new person's keys gives each their own again; the id stays with the first.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    s.braze().knows(&ada);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    let id = s.sees(&ada.email).id();
    s.days_later(1);
    // Ada's account was closed, and its number given to Ben.
    s.braze().mails(&[&ben.braze_id, &ada.external_id, &ben.email]);
    let laptop = s.browser("ben's laptop");
    laptop.opens_link("/pricing", &ben.braze_id);
    s.sees(&ada.email)
        .holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email, &ben.braze_id, &ben.email])
        .earned(10);

    s.colleague().separates(&ada.email, &[&ben.braze_id, &ben.email]);
    s.minutes_later(30);
    s.braze().mails(&[&ben.braze_id, &ada.external_id, &ben.email]);
    laptop.visits("/pricing");
    let seen =
        s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).in_browsers(&[]).earned(5);
    assert_eq!(seen.id(), id, "the id stays");
    s.sees(&ben.email).holds_exactly(&[&ben.braze_id, &ben.email]).in_browsers(&[&laptop]).earned(10);
}

pub(super) fn two_leads_merged_by_a_colleague(s: &Scene) {
    s.rivals("Merges by hand are permanent: Customer.io carries 29 days of events over, PostHog calls it irreversible (facts/market.md 2 note r, end of 2).")
        .here("One person with both histories, even if each has an id of your own; the old ids say into whom they have gone.");
    let (ada, double) = (s.person("ada"), s.person("double"));
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    s.braze().reports_click(&[&double.braze_id, &double.email]);
    s.minutes_later(10);
    s.braze().knows(&ada);
    s.braze().knows(&double);
    let laptop = s.browser("laptop");
    laptop.fills_form("demo", &double.email);
    let old = s.sees(&double.email).id();

    s.colleague().merges(&ada.email, &double.email);
    s.sees(&ada.email)
        .holds_exactly(&[
            &ada.braze_id,
            &ada.external_id,
            &ada.email,
            &double.braze_id,
            &double.external_id,
            &double.email,
        ])
        .in_browsers(&[&laptop])
        .earned(30);
    s.sees_merged(&old, &ada.email);
}

pub(super) fn merged_by_mistake_and_separated_again(s: &Scene) {
    s.rivals("Irreversible in PostHog, Customer.io and Mixpanel (facts/market.md 2, 3.3).")
        .here("Each has again what was theirs, what came while they were merged included, under the id of before.");
    let (ada, ben) = (s.person("ada"), s.person("ben"));
    let (adas_laptop, bens_laptop) = (s.browser("ada's laptop"), s.browser("ben's laptop"));
    s.braze().knows(&ada);
    s.braze().knows(&ben);
    adas_laptop.fills_form("demo", &ada.email);
    bens_laptop.opens_link("/pricing", &ben.braze_id);
    let (adas, bens) = (s.sees(&ada.email).id(), s.sees(&ben.email).id());

    s.colleague().merges(&ada.email, &ben.email);
    adas_laptop.visits("/pricing");
    bens_laptop.visits("/pricing");
    s.braze().reports_click(&[&ben.braze_id, &ben.email]);
    s.sees(&ben.email).in_browsers(&[&adas_laptop, &bens_laptop]).earned(40);
    s.sees_merged(&bens, &ada.email);

    s.colleague().separates(&ada.email, &[&ben.braze_id, &ben.external_id, &ben.email]);
    let seen = s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]);
    assert_eq!(seen.in_browsers(&[&adas_laptop]).earned(25).id(), adas);
    let seen = s.sees(&ben.email).holds_exactly(&[&ben.braze_id, &ben.external_id, &ben.email]);
    assert_eq!(seen.in_browsers(&[&bens_laptop]).earned(15).id(), bens);
}

pub(super) fn separated_by_a_slip_and_merged_again(s: &Scene) {
    s.rivals("There is no unmerge to slip with; what was merged by a slip stays so (facts/market.md 2, 3.3).")
        .here("The address that only Braze has named, and under which nothing happens, is nobody's while it is separated. Merged again, it is Ada's as before.");
    let ada = s.person("ada");
    s.braze().knows(&ada);
    s.braze().reports_click(&[&ada.braze_id, &ada.email]);
    let id = s.sees(&ada.email).id();

    s.colleague().separates(&ada.braze_id, &[&ada.email]);
    s.sees(&ada.braze_id).holds_exactly(&[&ada.braze_id, &ada.external_id]).has_no_email();
    s.sees_nobody(&ada.email);

    s.colleague().merges(&ada.braze_id, &ada.email);
    let seen = s.sees(&ada.email).holds_exactly(&[&ada.braze_id, &ada.external_id, &ada.email]).earned(5);
    assert_eq!(seen.id(), id);
}

pub(super) fn mistyped_address_merged_by_a_colleague(s: &Scene) {
    s.rivals("The typo's lead is merged by hand and for good, or deleted with what it did (facts/market.md 3.3).")
        .here("One person, with the visits from before the correction; the mistyped address is kept as one of theirs.");
    let (ada, typo) = (s.email("ada"), s.email("aad"));
    let laptop = s.browser("laptop");
    laptop.visits("/pricing");
    laptop.fills_form("demo", &typo);
    s.minutes_later(1);
    laptop.fills_form("demo", &ada);
    s.sees_apart(&[&ada, &typo]);

    s.colleague().merges(&ada, &typo);
    s.sees(&ada)
        .holds_exactly(&[&ada, &typo])
        .in_browsers(&[&laptop])
        .did(&["[Page view] /pricing", "[Form] demo", "[Form] demo"])
        .earned(45);
}

pub(super) fn browser_taken_away_from_a_person(s: &Scene) {
    s.rivals("Pardot: the visitor's association can be changed, and the one who lost it cannot get it back (facts/market.md 2 note p).")
        .here("The browser is nobody's again, with all it did; the same form in it again changes nothing, another person's does.");
    let (ada, ben) = (s.email("ada"), s.email("ben"));
    let laptop = s.browser("the showroom's laptop");
    let own = s.browser("ada's laptop");
    laptop.visits("/pricing");
    laptop.fills_form("demo", &ada);
    own.fills_form("demo", &ada);
    s.sees(&ada).in_browsers(&[&laptop, &own]).earned(45);

    s.colleague().separates(&ada, &[&laptop.key]);
    s.sees(&ada).in_browsers(&[&own]).earned(20);
    s.sees(&laptop.key).holds_exactly(&[]).has_no_email().earned(25);
    s.minutes_later(5);
    laptop.fills_form("demo", &ada);
    s.sees(&ada).in_browsers(&[&own]).earned(20);
    s.sees_evidence("claim", &laptop.key, &ada, "undone", "a colleague has separated the two");

    s.minutes_later(5);
    laptop.fills_form("webinar", &ben);
    s.sees(&ben).holds_exactly(&[&ben]).in_browsers(&[&laptop]).earned(45);
}

pub(super) fn the_latest_decision_counts(s: &Scene) {
    s.rivals("Nobody keeps what speaks for or against a link, so there is nothing that could decide (facts/market.md 2 row 32, 3.3).")
        .here("Merged, separated, merged: one person. Every decision is listed among the evidence.");
    let (ada, ben) = (s.email("ada"), s.email("ben"));
    let (adas, bens) = (s.browser("ada's"), s.browser("ben's"));
    adas.fills_form("demo", &ada);
    bens.fills_form("webinar", &ben);
    s.colleague().merges(&ada, &ben);
    s.colleague().separates(&ada, &[&ben]);
    s.sees_apart(&[&ada, &ben]);
    s.colleague().merges(&ben, &ada);
    s.everything_is_sent_again();

    s.sees(&ada).holds_exactly(&[&ada, &ben]).in_browsers(&[&adas, &bens]).earned(20);
    s.sees_evidence("decision", &ben, &ada, "active", "a colleague has merged the two");
}
