//! The ledger, by itself.

use super::*;
use crate::destinations::braze::settings::WriteBack;
use crate::destinations::braze::track::{self, Request};
use crate::store::native::Native;
use serde_json::json;

const WHEN: When = When { now: 1_000_500, coalesce_ms: 60_000, gap_ms: 5_000 };
const BACK_OFF: BackOff = BackOff { first_ms: 1_000, max_ms: 64_000 };

fn map(value: serde_json::Value) -> Values {
    serde_json::from_value(value).unwrap()
}

fn wish(rev: u64, wanted: serde_json::Value) -> Wish<'static> {
    Wish { target: "braze_id:a", prospect: "p", rev, wanted: map(wanted), absent: false, own: false }
}

fn calm(_: &Values, _: &Values) -> bool {
    false
}

fn opened() -> Native {
    let store = Native::in_memory().unwrap();
    Ledger(&store).open().unwrap();
    store
}

#[test]
fn a_change_waits_for_the_next_full_minute_and_an_urgent_one_for_nothing() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(1, json!({ "x": 1 })), calm, WHEN).unwrap();
    assert_eq!(ledger.next_due(), Ok(Some(1_020_000)));
    assert_eq!(ledger.due(WHEN.now, 10).unwrap(), []);
    ledger.wish(&wish(2, json!({ "x": 2 })), |_, _| true, WHEN).unwrap();
    let due = ledger.due(WHEN.now, 10).unwrap();
    assert_eq!((due.len(), &due[0].wanted["x"]), (1, &json!(2)));
    // Another change does not put it off again.
    ledger.wish(&wish(3, json!({ "x": 3 })), calm, When { now: WHEN.now + 1, ..WHEN }).unwrap();
    assert_eq!(ledger.next_due(), Ok(Some(WHEN.now)));
}

#[test]
fn what_was_confirmed_is_not_sent_again_and_what_comes_back_to_it_is_not_sent_at_all() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(1, json!({ "x": 1, "y": 2 })), calm, WHEN).unwrap();
    let later = When { now: 1_020_000, ..WHEN };
    let due = ledger.due(later.now, 10).unwrap();
    ledger.confirm(&due[0], &due[0].wanted, later).unwrap();
    ledger.wish(&wish(2, json!({ "y": 2, "x": 1 })), calm, later).unwrap();
    assert_eq!(ledger.next_due(), Ok(None));
    ledger.wish(&wish(3, json!({ "x": 9, "y": 2 })), calm, later).unwrap();
    assert_eq!(ledger.next_due(), Ok(Some(1_080_000)));
    ledger.wish(&wish(4, json!({ "x": 1, "y": 2 })), calm, later).unwrap();
    assert_eq!(ledger.next_due(), Ok(None));
    // The order of names is nobody's business.
    assert_eq!(ledger.differing(None, 10).unwrap(), []);
    ledger.wish(&wish(5, json!({ "x": 3, "y": 2 })), |_, _| true, later).unwrap();
    assert_eq!(ledger.next_due(), Ok(Some(1_025_000)), "two writes to one target are apart");
}

#[test]
fn what_changes_while_it_is_sent_is_sent_again() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
    let sent = ledger.due(WHEN.now, 1).unwrap().remove(0);
    ledger.wish(&wish(2, json!({ "x": 2 })), calm, WHEN).unwrap();
    ledger.confirm(&sent, &sent.wanted, When { now: WHEN.now + 10, ..WHEN }).unwrap();
    let next = ledger.due(WHEN.now + 10 + WHEN.gap_ms, 1).unwrap().remove(0);
    assert_eq!((&next.confirmed["x"], &next.wanted["x"]), (&json!(1), &json!(2)));
}

#[test]
fn an_older_word_of_the_same_prospect_counts_nothing() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(5, json!({ "x": 5 })), calm, WHEN).unwrap();
    ledger.wish(&wish(4, json!({ "x": 4 })), calm, WHEN).unwrap();
    assert_eq!(ledger.differing(None, 1).unwrap()[0].1.wanted["x"], 5);
    let other = Wish { prospect: "q", ..wish(1, json!({ "x": 1 })) };
    ledger.wish(&other, calm, WHEN).unwrap();
    assert_eq!(ledger.differing(None, 1).unwrap()[0].1.wanted["x"], 1, "another prospect holds it now");
    assert_eq!((ledger.withdraw("p", WHEN).unwrap().len(), ledger.withdraw("q", WHEN).unwrap().len()), (0, 1));
}

#[test]
fn a_refused_target_waits_longer_each_time_then_stops_until_its_values_change() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
    let (mut now, mut attempts) = (WHEN.now, 0);
    while let Some(at) = ledger.next_due().unwrap() {
        assert!(attempts == 0 || at > now);
        now = at;
        let sent = ledger.due(now, 1).unwrap().remove(0);
        ledger.refuse(&sent, &sent.confirmed, "no", BACK_OFF, When { now, ..WHEN }).unwrap();
        attempts += 1;
    }
    assert_eq!(attempts, RECORD_ATTEMPTS_MAX);
    assert_eq!(ledger.counts(), Ok(Counts { all: 1, stopped: 1, ..Counts::default() }));
    ledger.try_again(Some(&["braze_id:a".to_owned()]), When { now, ..WHEN }).unwrap();
    let now = now + WHEN.gap_ms;
    assert_eq!(ledger.due(now, 1).unwrap()[0].failures, 0);
    let sent = ledger.due(now, 1).unwrap().remove(0);
    let sent = Due { failures: RECORD_ATTEMPTS_MAX, ..sent };
    ledger.refuse(&sent, &sent.confirmed, "no", BACK_OFF, When { now, ..WHEN }).unwrap();
    ledger.wish(&wish(2, json!({ "x": 2 })), calm, When { now, ..WHEN }).unwrap();
    assert_eq!(ledger.counts(), Ok(Counts { all: 1, pending: 1, ..Counts::default() }));
}

fn told(ledger: &Ledger<'_, Native>, target: &str, wanted: serde_json::Value, when: When) {
    let wish = Wish { target, prospect: target, rev: 1, wanted: map(wanted), absent: false, own: false };
    ledger.wish(&wish, |_, _| true, when).unwrap();
    let sent = ledger.due(i64::MAX >> 11, 1).unwrap().remove(0);
    ledger.confirm(&sent, &sent.wanted, when).unwrap();
}

#[test]
fn a_name_that_may_be_of_the_same_record_gives_way_and_the_others_are_told_everything() {
    let store = opened();
    let ledger = Ledger(&store);
    told(&ledger, "braze_id:a", json!({ "x": 2 }), WHEN);
    told(&ledger, "external_id:a", json!({ "x": 1 }), WHEN);
    let by = ["braze_id:a".to_owned()];
    ledger.give_way("external_id:a", "p", &by, WHEN).unwrap();
    let due = ledger.due(i64::MAX >> 11, 10).unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].target.as_str(), &due[0].wanted["x"], due[0].confirmed.len()), ("braze_id:a", &json!(2), 0));
    ledger.confirm(&due[0], &due[0].wanted, WHEN).unwrap();
    ledger.give_way("external_id:a", "p", &by, WHEN).unwrap();
    assert_eq!(ledger.next_due(), Ok(None), "a name that was told nothing changes nothing");
    assert_eq!(ledger.counts().unwrap().all, 1);
    assert_eq!(ledger.withdraw("p", WHEN).unwrap(), ["external_id:a"], "but it is remembered whose it was");
}

#[test]
fn what_a_name_was_told_the_record_of_that_name_holds() {
    let later = When { now: WHEN.now + 1, ..WHEN };
    for (name_at, own_at, held) in
        [(WHEN, later, json!({ "x": 2, "y": 1, "z": 2 })), (later, WHEN, json!({ "x": 1, "y": 1, "z": 2 }))]
    {
        let store = opened();
        let ledger = Ledger(&store);
        told(&ledger, "external_id:a", json!({ "x": 1, "y": 1 }), name_at);
        told(&ledger, "braze_id:a", json!({ "x": 2, "z": 2 }), own_at);
        ledger.is_also("external_id:a", "braze_id:a", later).unwrap();
        let due = ledger.due(i64::MAX >> 11, 10).unwrap();
        assert_eq!((due.len(), &due[0].confirmed, &due[0].wanted), (1, &map(held), &map(json!({ "x": 2, "z": 2 }))));
    }
    // A record that was not heard of before takes over what was wanted and told.
    let store = opened();
    let ledger = Ledger(&store);
    told(&ledger, "external_id:a", json!({ "x": 1 }), WHEN);
    ledger.is_also("external_id:a", "braze_id:a", later).unwrap();
    ledger.is_also("external_id:a", "braze_id:a", later).unwrap();
    assert_eq!((ledger.next_due(), ledger.counts().unwrap().confirmed), (Ok(None), 1));
    assert_eq!(ledger.withdraw("external_id:a", later).unwrap(), ["braze_id:a", "external_id:a"]);
}

#[test]
fn nothing_is_sent_to_or_believed_of_what_is_not_there_and_all_of_it_once_it_is() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&Wish { absent: true, ..wish(1, json!({ "x": 1 })) }, calm, WHEN).unwrap();
    assert_eq!((ledger.next_due(), ledger.due(i64::MAX >> 11, 1)), (Ok(None), Ok(Vec::new())));
    assert_eq!(ledger.counts(), Ok(Counts { all: 1, absent: 1, ..Counts::default() }));
    ledger.is_there("braze_id:a").unwrap();
    let sent = ledger.due(i64::MAX >> 11, 1).unwrap().remove(0);
    ledger.confirm(&sent, &sent.wanted, WHEN).unwrap();
    assert_eq!(ledger.counts(), Ok(Counts { all: 1, confirmed: 1, ..Counts::default() }));
    // It turns out that whoever said so meant nobody.
    ledger.is_not_there("braze_id:a", WHEN.now).unwrap();
    ledger.confirm(&sent, &sent.wanted, WHEN).unwrap();
    ledger.wish(&Wish { absent: true, ..wish(2, json!({ "x": 1, "y": 2 })) }, calm, WHEN).unwrap();
    assert_eq!(ledger.due(i64::MAX >> 11, 1), Ok(Vec::new()));
    ledger.take_for_there("external_id:").unwrap();
    assert_eq!(ledger.next_due(), Ok(None), "it is none of these");
    ledger.take_for_there("braze_id:").unwrap();
    let all = ledger.due(i64::MAX >> 11, 1).unwrap().remove(0);
    assert_eq!((all.confirmed.len(), all.wanted.len()), (0, 2));
}

#[test]
fn who_is_erased_loses_what_was_confirmed_and_what_may_have_arrived() {
    let store = opened();
    let ledger = Ledger(&store);
    told(&ledger, "braze_id:b", json!({ "x": 1 }), WHEN);
    ledger.wish(&wish(1, json!({ "x": 1 })), calm, WHEN).unwrap();
    ledger.wish(&Wish { target: "external_id:a", absent: true, ..wish(1, json!({ "x": 1 })) }, calm, WHEN).unwrap();
    assert_eq!(ledger.withdraw("p", WHEN).unwrap(), ["braze_id:a", "external_id:a"]);
    let due = ledger.due(WHEN.now, 10).unwrap();
    assert_eq!(due.len(), 1, "who is not there has nothing to lose");
    assert!(due[0].withdrawn && due[0].wanted.is_empty() && due[0].confirmed.contains_key("x"), "{due:?}");
    ledger.confirm(&due[0], &due[0].wanted, WHEN).unwrap();
    assert_eq!(ledger.counts(), Ok(Counts { all: 1, confirmed: 1, ..Counts::default() }), "others are not concerned");
}

#[test]
fn what_is_wanted_no_more_is_removed_and_forgotten() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(1, json!({})), calm, WHEN).unwrap();
    assert_eq!(ledger.counts(), Ok(Counts::default()), "nobody is told of who was never told anything");
    ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
    let sent = ledger.due(WHEN.now, 1).unwrap().remove(0);
    ledger.confirm(&sent, &sent.wanted, WHEN).unwrap();
    ledger.wish(&wish(2, json!({})), |_, _| true, WHEN).unwrap();
    let sent = ledger.due(WHEN.now + WHEN.gap_ms, 1).unwrap().remove(0);
    assert!(sent.wanted.is_empty() && !sent.confirmed.is_empty());
    ledger.confirm(&sent, &sent.wanted, WHEN).unwrap();
    assert_eq!(ledger.counts(), Ok(Counts::default()));
}

#[test]
fn what_was_wanted_by_other_settings_is_not_sent_until_it_is_noted_by_the_present_ones() {
    let store = opened();
    let ledger = Ledger(&store);
    told(&ledger, "braze_id:b", json!({ "x": 1 }), WHEN);
    ledger.withdraw("braze_id:b", WHEN).unwrap();
    ledger.wish(&wish(1, json!({ "old": 1 })), |_, _| true, WHEN).unwrap();
    let under_way = ledger.due(WHEN.now, 10).unwrap().remove(0);
    ledger.make_stale().unwrap();
    let due = ledger.due(i64::MAX >> 11, 10).unwrap();
    assert!(due.len() == 1 && due[0].withdrawn, "only what was of somebody erased: {due:?}");
    ledger.confirm(&due[0], &due[0].wanted, WHEN).unwrap();
    // What was under way arrives all the same.
    ledger.confirm(&under_way, &under_way.wanted, WHEN).unwrap();
    assert_eq!((ledger.next_due(), ledger.counts().unwrap().pending), (Ok(None), 1));
    ledger.wish(&wish(1, json!({ "new": 1 })), calm, WHEN).unwrap();
    let due = ledger.due(i64::MAX >> 11, 10).unwrap();
    assert!(due[0].confirmed.contains_key("old") && due[0].wanted.contains_key("new"), "{due:?}");
    // The same by other settings: nothing to send, and no longer in doubt.
    ledger.confirm(&due[0], &due[0].wanted, WHEN).unwrap();
    ledger.make_stale().unwrap();
    ledger.wish(&wish(1, json!({ "new": 1 })), calm, WHEN).unwrap();
    assert_eq!((ledger.next_due(), ledger.counts().unwrap().confirmed), (Ok(None), 1));
}

/// What is due now, set out to be told.
fn set_out(ledger: &Ledger<'_, Native>) -> Due {
    let due = ledger.due(WHEN.now + WHEN.gap_ms, 1).unwrap().remove(0);
    ledger.set_out(&[(due.target.clone(), track::doubtful(&due))]).unwrap();
    due
}

#[test]
fn a_value_that_goes_back_while_a_call_is_under_way_that_nobody_hears_of_again_is_said_again() {
    let store = opened();
    let ledger = Ledger(&store);
    told(&ledger, "braze_id:a", json!({ "x": 1, "y": 1 }), WHEN);
    let changed = |rev, x| ledger.wish(&wish(rev, json!({ "x": x, "y": 1 })), |_, _| true, When { gap_ms: 0, ..WHEN });
    changed(2, 2).unwrap();
    set_out(&ledger);
    changed(3, 1).unwrap();
    assert_eq!(ledger.next_due(), Ok(None), "it is what was confirmed");
    // A crash, and whoever comes after it.
    Ledger(&store).doubt(WHEN).unwrap();
    let due = ledger.due(WHEN.now + WHEN.gap_ms, 1).unwrap().remove(0);
    let said = Request::of(std::slice::from_ref(&due), &WriteBack::default(), 75).body;
    assert_eq!((&said["attributes"][0]["x"], &said["attributes"][0]["y"]), (&json!(1), &json!(null)), "{said}");
    // Once it is known, it is not doubted again.
    set_out(&ledger);
    ledger.confirm(&due, &due.wanted, WHEN).unwrap();
    ledger.came_back().unwrap();
    ledger.doubt(WHEN).unwrap();
    assert_eq!((ledger.next_due(), ledger.counts().unwrap().confirmed), (Ok(None), 1));
}

#[test]
fn what_waits_for_another_account_is_no_doubt_about_this_one() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
    set_out(&ledger);
    ledger.forget_all().unwrap();
    told(&ledger, "braze_id:a", json!({ "x": 1 }), WHEN);
    ledger.doubt(WHEN).unwrap();
    assert_eq!((ledger.next_due(), ledger.counts().unwrap().confirmed), (Ok(None), 1));
}

#[test]
fn who_fails_alone_is_tried_as_often_as_who_is_refused_and_what_it_holds_stays_unknown() {
    let store = opened();
    let ledger = Ledger(&store);
    ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
    let (mut now, mut attempts) = (WHEN.now, 0);
    while let Some(at) = ledger.next_due().unwrap() {
        now = at.max(now + 1);
        let sent = ledger.due(now, 1).unwrap().remove(0);
        ledger.set_out(&[(sent.target.clone(), track::doubtful(&sent))]).unwrap();
        ledger.doubt(When { now, ..WHEN }).unwrap();
        ledger.fail_alone(&sent, "HTTP 500", BACK_OFF, When { now, ..WHEN }).unwrap();
        attempts += 1;
    }
    assert_eq!((attempts, ledger.counts().unwrap().stopped), (RECORD_ATTEMPTS_MAX, 1));
    let row = &ledger.page(Some("stopped"), "", 10).unwrap()[0];
    assert_eq!((row.text(5), values(row, 3).unwrap()), (Ok("HTTP 500"), map(json!({ "x": { "unknown": true } }))));
    assert_eq!(ledger.differing(None, 10).unwrap(), [], "it would not be sent");
}

/// Braze works off a call that was given up as lost, and does not keep to any order (facts on Braze, section 4).
#[test]
fn a_call_that_nobody_heard_the_end_of_is_a_write_and_the_next_keeps_the_gap() {
    let soonest = WHEN.now + WHEN.gap_ms;
    let back_off = BackOff { first_ms: 1, max_ms: 1 };
    let lost = |after: &dyn Fn(&Ledger<'_, Native>, &Due)| {
        let store = opened();
        let ledger = Ledger(&store);
        ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
        let sent = set_out(&ledger);
        ledger.doubt(WHEN).unwrap();
        after(&ledger, &sent);
        ledger.next_due().unwrap()
    };
    assert_eq!(lost(&|_, _| ()), Some(soonest));
    let urgent = |ledger: &Ledger<'_, Native>, _: &Due| {
        ledger.wish(&wish(2, json!({ "x": 2 })), |_, _| true, WHEN).unwrap();
    };
    assert_eq!(lost(&urgent), Some(soonest), "whatever is wanted meanwhile");
    assert_eq!(lost(&|ledger, _| ledger.try_again(None, WHEN).unwrap()), Some(soonest), "whoever does not wait for it");
    assert_eq!(lost(&|ledger, _| drop(ledger.withdraw("p", WHEN).unwrap())), Some(soonest), "and who is erased");
    let alone = |ledger: &Ledger<'_, Native>, sent: &Due| {
        ledger.fail_alone(sent, "HTTP 500", back_off, When { now: WHEN.now + 1, ..WHEN }).unwrap();
        ledger.wish(&wish(2, json!({ "x": 2 })), |_, _| true, WHEN).unwrap();
    };
    assert_eq!(lost(&alone), Some(soonest + 1));
    let refused = |ledger: &Ledger<'_, Native>, sent: &Due| {
        ledger.refuse(sent, &sent.confirmed, "no", back_off, When { now: WHEN.now + 1, ..WHEN }).unwrap();
    };
    assert_eq!(lost(&refused), Some(soonest + 1), "an object of two may have been taken");
}

#[test]
fn a_target_is_told_of_who_has_its_own_name_whoever_else_is_led_there() {
    let (has, led) = (
        |rev, x| Wish { prospect: "has", own: true, ..wish(rev, json!({ "x": x })) },
        |rev, x| Wish { prospect: "led", ..wish(rev, json!({ "x": x })) },
    );
    let told = |ledger: &Ledger<'_, Native>| {
        let due = ledger.due(i64::MAX >> 11, 10).unwrap();
        due.iter().map(|due| format!("{} {}", due.target, due.wanted["x"])).collect::<Vec<_>>().join(", ")
    };
    let store = opened();
    let ledger = Ledger(&store);
    assert_eq!(ledger.wish(&led(1, 1), calm, WHEN), Ok(Wished::Noted), "as long as nobody is known to have it");
    let displaced = Displaced { prospect: "led".to_owned(), rev: 1, wanted: map(json!({ "x": 1 })) };
    assert_eq!(ledger.wish(&has(1, 2), calm, WHEN), Ok(Wished::InsteadOf(displaced.clone())));
    assert_eq!(ledger.wish(&led(2, 3), calm, WHEN), Ok(Wished::Anothers));
    assert_eq!((told(&ledger).as_str(), ledger.holder("braze_id:a")), ("braze_id:a 2", Ok(Some("has".to_owned()))));
    // A look-up says so after it was told by the other name: what that wrote is put right, and nothing more told by it.
    let sent = ledger.due(i64::MAX >> 11, 1).unwrap().remove(0);
    ledger.confirm(&sent, &sent.wanted, WHEN).unwrap();
    self::told(&ledger, "external_id:e", json!({ "x": 1 }), WHEN);
    assert_eq!(told(&ledger), "");
    ledger.is_also("external_id:e", "braze_id:a", WHEN).unwrap();
    assert_eq!(told(&ledger), "braze_id:a 2");
    ledger.try_again(None, WHEN).unwrap();
    ledger.take_for_there("external_id:").unwrap();
    assert_eq!((told(&ledger).as_str(), ledger.counts().unwrap().not_theirs), ("braze_id:a 2", 1));
    let shown = ledger.page(Some("not_theirs"), "", 10).unwrap();
    assert_eq!((shown[0].text(0), shown[0].text(7)), (Ok("external_id:e"), Ok("not_theirs")));
    // Who has nothing to tell has it all the same.
    let sent = ledger.due(i64::MAX >> 11, 1).unwrap().remove(0);
    ledger.confirm(&sent, &sent.wanted, WHEN).unwrap();
    ledger.wish(&Wish { wanted: Values::new(), ..has(2, 0) }, calm, WHEN).unwrap();
    ledger.confirm(&ledger.due(i64::MAX >> 11, 1).unwrap()[0], &Values::new(), WHEN).unwrap();
    assert_eq!(ledger.wish(&led(3, 3), calm, WHEN), Ok(Wished::Anothers));
    let new = Wish { target: "braze_id:new", wanted: Values::new(), ..has(3, 0) };
    ledger.wish(&new, calm, WHEN).unwrap();
    assert_eq!(ledger.wish(&Wish { target: "braze_id:new", ..led(3, 3) }, calm, WHEN), Ok(Wished::Anothers));
    // Who is erased has nothing.
    ledger.withdraw("has", WHEN).unwrap();
    assert_eq!(ledger.wish(&led(4, 4), calm, WHEN), Ok(Wished::Noted));
    ledger.is_nobody_elses("external_id:e").unwrap();
    assert_eq!((told(&ledger).as_str(), ledger.counts().unwrap().not_theirs), ("braze_id:a 4", 0));
    // An account that tells nobody anything shows nobody.
    ledger.is_anothers("external_id:f", "braze_id:a", &Displaced { wanted: Values::new(), ..displaced }, WHEN).unwrap();
    assert_eq!(ledger.counts().unwrap().all, 1);
}
