//! What the naive function says of the stories in the design.

use super::generate;
use super::naive::{Input, NaiveProspect, World, naive};
use super::policy::{Limits, Policy};
use super::{Decision, EvidenceRef, Reason, State, Trust};
use crate::event::{ClaimInput, FactInput, Record, Source};
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType};
use std::collections::BTreeSet;

const MINUTE: i64 = 60_000;

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"stories")
}

/// `x:`, `b:`, `crm:`, `e:`, `p:` and `v:` for the types; the rest is the value, e-mails being at example.com.
fn id(name: &str) -> Identifier {
    let (short, value) = name.split_once(':').unwrap();
    let (key_type, value) = match short {
        "x" => (KeyType::ExternalId, value.to_owned()),
        "b" => (KeyType::BrazeId, value.to_owned()),
        "crm" => (KeyType::CrmId, value.to_owned()),
        "e" if value.contains('@') || value.starts_with("sha256:") => (KeyType::Email, value.to_owned()),
        "e" => (KeyType::Email, format!("{value}@example.com")),
        "p" => (KeyType::Phone, value.to_owned()),
        "v" => (KeyType::Visitor, value.to_owned()),
        _ => panic!("{name}"),
    };
    Identifier::new(key_type, "", &value).unwrap()
}

fn key(name: &str) -> KeyHash {
    deployment().hash(&id(name))
}

fn ids(names: &str) -> Vec<Identifier> {
    names.split_whitespace().map(id).collect()
}

fn keys(names: &str) -> BTreeSet<KeyHash> {
    names.split_whitespace().map(key).collect()
}

/// A record whose event id is its time.
fn record(rec: &str, at: i64) -> Record {
    generate::record(&id(rec), at, at.to_string())
}

fn visit(browser: &str, at: i64) -> Input {
    Input::Record(record(browser, at))
}

/// A server names several keys of one person: the first is the one that the event is recorded under.
fn server(names: &str, at: i64) -> Input {
    let mut names = names.split_whitespace();
    let mut made = record(names.next().unwrap(), at);
    made.facts = names.map(|n| FactInput { other: id(n), explicit: false }).collect();
    Input::Record(made)
}

/// Later pages have smaller names: the time must decide.
fn page_at(at: i64) -> String {
    format!("page {:09}", 999_999_999 - at)
}

fn claim(browser: &str, names: &str, at: i64, trust: Trust, human: bool) -> Input {
    let mut made = record(browser, at);
    made.claims = ids(names)
        .into_iter()
        .map(|key| ClaimInput { browser: id(browser), key, trust, source: Source::Tracker, page: page_at(at), human })
        .collect();
    Input::Record(made)
}

/// A link whose page showed a human.
fn link(browser: &str, name: &str, at: i64) -> Input {
    claim(browser, name, at, Trust::Weak, true)
}

fn form(browser: &str, names: &str, at: i64) -> Input {
    claim(browser, names, at, Trust::Medium, false)
}

fn separate(left: &str, right: &str, at: i64) -> Input {
    Input::Decision(Decision::Separate { id: format!("s{at}"), at, left: ids(left), right: ids(right) })
}

/// The first key of each side is its founder.
fn merge(keep: &str, other: &str, at: i64) -> Input {
    let lifts = (ids(keep), ids(other));
    let (keep, other) = (lifts.0[0].clone(), lifts.1[0].clone());
    Input::Decision(Decision::Merge { id: format!("m{at}"), at, keep, other, lifts })
}

fn world_of(policy: &Policy, inputs: &[Input]) -> World {
    naive(&deployment(), policy, inputs)
}

fn world(inputs: &[Input]) -> World {
    world_of(&Policy::default(), inputs)
}

impl World {
    /// The prospect that holds this key.
    fn holding(&self, name: &str) -> &NaiveProspect {
        self.prospects.values().find(|p| p.keys.contains(&key(name))).unwrap_or_else(|| panic!("nobody holds {name}"))
    }

    /// The times of the events that one key recorded, on the prospect that holds another.
    fn times(&self, browser: &str, holder: &str) -> Vec<i64> {
        self.holding(holder).events.iter().filter(|e| e.0 == key(browser)).map(|e| e.1).collect()
    }

    /// Who there is, as sets of keys.
    fn who(&self) -> BTreeSet<BTreeSet<KeyHash>> {
        self.prospects.values().map(|p| p.keys.clone()).collect()
    }

    /// The states of all evidence that is between these two keys.
    fn states(&self, one: &str, two: &str) -> Vec<(State, Option<Reason>)> {
        let ends = BTreeSet::from([key(one), key(two)]);
        let between = |of: &EvidenceRef| match of {
            EvidenceRef::Fact(fact) => BTreeSet::from([fact.a, fact.b]) == ends,
            EvidenceRef::Claim { browser, key, .. } => BTreeSet::from([*browser, *key]) == ends,
        };
        self.evidence.iter().filter(|(of, _)| between(of)).map(|(_, state)| *state).collect()
    }
}

const ACTIVE: (State, Option<Reason>) = (State::Active, None);
const fn conflict(reason: Reason) -> (State, Option<Reason>) {
    (State::Conflict, Some(reason))
}

fn sets<const N: usize>(names: [&str; N]) -> BTreeSet<BTreeSet<KeyHash>> {
    names.map(keys).into()
}

#[test]
fn a_server_joins_the_keys_that_it_names() {
    let w = world(&[server("b:ada x:ada e:ada", 10)]);
    assert_eq!(w.who(), sets(["b:ada x:ada e:ada"]));
    assert_eq!(w.states("b:ada", "e:ada"), [ACTIVE]);
    assert_eq!(w.states("x:ada", "e:ada"), [], "a star, not all pairs");
}

#[test]
fn an_anonymous_browser_is_a_prospect_of_its_own() {
    let w = world(&[visit("v:1", 10), visit("v:1", 20), visit("v:2", 10)]);
    assert_eq!(w.who(), sets(["v:1", "v:2"]));
    assert_eq!(w.times("v:1", "v:1"), [10, 20]);
    assert_eq!(w.holding("v:1").browsers, keys(""));
    assert!(w.prospects.contains_key(&key("v:1").prospect_id()));
}

#[test]
fn a_key_without_events_is_no_prospect() {
    // The claim is all that is known of e:ada, and it is pending: the browser keeps its events.
    let w = world(&[claim("v:1", "e:ada", 10, Trust::Weak, false)]);
    assert_eq!(w.who(), sets(["v:1"]));
    // And here all of the browser's events are its.
    assert_eq!(world(&[form("v:1", "e:ada", 10)]).who(), sets(["e:ada"]));
}

#[test]
fn a_link_waits_for_a_human_and_then_reaches_back() {
    let scanner = [visit("v:1", 5), claim("v:1", "b:ada", 10, Trust::Weak, false)];
    let w = world(&scanner);
    assert_eq!(w.who(), sets(["v:1"]));
    assert_eq!(w.states("v:1", "b:ada"), [(State::Pending, Some(Reason::NoHuman))]);

    // The same page repeats the claim with the human signal, under another event.
    let mut human = record("v:1", 12);
    human.claims = vec![ClaimInput {
        browser: id("v:1"),
        key: id("b:ada"),
        trust: Trust::Weak,
        source: Source::Url,
        page: page_at(10),
        human: true,
    }];
    let w = world(&[scanner.as_slice(), &[Input::Record(human)]].concat());
    assert_eq!(w.who(), sets(["b:ada"]));
    assert_eq!(w.times("v:1", "b:ada"), [5, 10, 12]);
    assert_eq!(w.tables[&key("v:1")], [(10, key("b:ada"))], "at is the earliest of the copies");
}

#[test]
fn a_mail_forwarded_to_a_known_person_joins_nobody() {
    // Ada is known to the browser by a form. Ben's link is opened in it: two people stay two, and Ben keeps his own.
    let w = world(&[
        server("b:ada x:ada e:ada", 1),
        server("b:ben x:ben e:ben", 2),
        form("v:1", "e:ada", 10),
        link("v:1", "b:ben", 20),
        visit("v:1", 30),
    ]);
    assert_eq!(w.who(), sets(["b:ada x:ada e:ada", "b:ben x:ben e:ben"]));
    assert_eq!(w.times("v:1", "e:ada"), [10, 20, 30]);
    assert_eq!(w.times("v:1", "e:ben"), [] as [i64; 0]);
    assert_eq!(w.states("v:1", "b:ben"), [(State::Suspended, Some(Reason::Superseded))]);
    assert_eq!(w.states("b:ben", "e:ada"), [conflict(Reason::TwoExternalIds)], "the introduction");
    // Nor when Ben is a mere address and Ada a mere id: an e-mail of which something is known is not introduced.
    let w = world(&[
        server("b:ben e:ben", 1),
        server("crm:ada e:ada", 2),
        form("v:1", "e:ada", 10),
        link("v:1", "b:ben", 20),
    ]);
    assert_eq!(w.states("b:ben", "e:ada"), [conflict(Reason::EmailKnown)]);
}

#[test]
fn a_form_beats_a_link_whatever_came_first() {
    for (link_at, form_at) in [(10, 20), (20, 10)] {
        let w = world(&[
            server("b:ben e:ben", 1),
            server("x:ada e:ada", 2),
            link("v:1", "b:ben", link_at),
            form("v:1", "e:ada", form_at),
        ]);
        assert_eq!(w.times("v:1", "e:ada"), [10, 20]);
        assert_eq!(w.tables[&key("v:1")], [(form_at, key("e:ada"))]);
        assert_eq!(w.states("v:1", "b:ben"), [(State::Suspended, Some(Reason::Superseded))]);
    }
}

#[test]
fn a_lower_claim_for_the_same_person_is_not_suspended() {
    let w = world(&[server("b:ada e:ada", 1), link("v:1", "b:ada", 10), form("v:1", "e:ada", 20)]);
    assert_eq!(w.states("v:1", "b:ada"), [ACTIVE]);
}

#[test]
fn a_kiosk_keeps_each_persons_time_apart() {
    let w = world(&[
        server("x:ada e:ada", 1),
        server("x:ben e:ben", 2),
        visit("v:kiosk", 5),
        form("v:kiosk", "e:ada", 10),
        form("v:kiosk", "e:ada", 15),
        form("v:kiosk", "e:ben", 20),
        visit("v:kiosk", 25),
        form("v:kiosk", "e:ada", 30),
        visit("v:kiosk", 35),
    ]);
    assert_eq!(w.who(), sets(["x:ada e:ada", "x:ben e:ben"]));
    assert_eq!(w.times("v:kiosk", "e:ada"), [5, 10, 15, 30, 35]);
    assert_eq!(w.times("v:kiosk", "e:ben"), [20, 25]);
    assert_eq!(w.tables[&key("v:kiosk")], [(10, key("e:ada")), (20, key("e:ben")), (30, key("e:ada"))]);
}

#[test]
fn both_browsers_of_one_person_are_the_persons() {
    let w = world(&[
        server("b:ada e:ada", 1),
        visit("v:phone", 5),
        link("v:phone", "b:ada", 10),
        form("v:desk", "e:ada", 20),
    ]);
    assert_eq!(w.who(), sets(["b:ada e:ada"]));
    assert_eq!(w.holding("e:ada").browsers, keys("v:phone v:desk"));
    assert_eq!(w.holding("e:ada").events.len(), 4);
}

#[test]
fn several_keys_in_one_form_are_not_joined() {
    let w = world(&[form("v:1", "e:ada p:+15550100", 10), visit("v:1", 20)]);
    // Both claim the same instant; the order of hashes says which comes later, and has the time after it.
    assert_eq!(w.states("e:ada", "p:+15550100"), []);
    assert_eq!(w.tables[&key("v:1")].len(), 2);
}

#[test]
fn an_introduction_joins_an_id_with_an_email_that_nobody_knows() {
    let w = world(&[link("v:1", "b:ada", 10), form("v:1", "e:ada", 10 + 120 * MINUTE)]);
    assert_eq!(w.who(), sets(["b:ada e:ada"]));
    assert_eq!(w.states("b:ada", "e:ada"), [ACTIVE]);
    assert_eq!(w.states("v:1", "b:ada"), [ACTIVE], "of lower trust, but the same person's");

    // A millisecond too late: two people.
    let w = world(&[link("v:1", "b:ada", 10), form("v:1", "e:ada", 11 + 120 * MINUTE)]);
    assert_eq!(w.who(), sets(["e:ada"]));
    assert_eq!(w.states("b:ada", "e:ada"), []);

    // The link's page never showed a human.
    let w = world(&[claim("v:1", "b:ada", 10, Trust::Weak, false), form("v:1", "e:ada", 20)]);
    assert_eq!(w.states("b:ada", "e:ada"), []);
}

#[test]
fn another_email_in_between_prevents_an_introduction() {
    let w = world(&[link("v:1", "b:ada", 10), form("v:1", "e:ben", 15), form("v:1", "e:ada", 20)]);
    assert_eq!(w.states("b:ada", "e:ada"), []);
    assert_eq!(w.states("b:ada", "e:ben"), [ACTIVE]);
    // Even an undone one: it still says that the device is shared.
    let undone = separate("v:1", "e:ben", 30);
    let w = world(&[link("v:1", "b:ada", 10), form("v:1", "e:ben", 15), form("v:1", "e:ada", 20), undone]);
    assert_eq!(w.states("b:ada", "e:ada"), []);
    assert_eq!(w.states("b:ada", "e:ben"), []);
}

#[test]
fn a_key_is_introduced_once_and_the_earliest_counts() {
    let w = world(&[
        link("v:1", "b:ada", 10),
        form("v:1", "e:ada", 20),
        link("v:2", "b:ada", 5),
        form("v:2", "e:ben", 30),
        link("v:3", "b:cleo", 40),
        form("v:3", "e:ada", 50),
    ]);
    assert_eq!(w.states("b:ada", "e:ada"), [ACTIVE]);
    assert_eq!(w.states("b:ada", "e:ben"), [conflict(Reason::TwoEmails)]);
    assert_eq!(w.states("b:cleo", "e:ada"), [conflict(Reason::EmailKnown)]);

    // One id of a person that has no e-mail, through two of its keys: x:ada was not introduced, and yet has one now.
    let two = [server("b:ada x:ada", 1), link("v:1", "b:ada", 10), form("v:1", "e:ada", 20)];
    let w = world(&[two.as_slice(), &[link("v:2", "x:ada", 30), form("v:2", "e:ben", 40)]].concat());
    assert_eq!(w.states("x:ada", "e:ben"), [conflict(Reason::TwoEmails)]);
}

#[test]
fn a_later_fact_heals_an_introduction() {
    // Ben's forwarded link in Ada's browser: for a while Ada's address is Ben's.
    let story = [link("v:1", "b:ben", 10), form("v:1", "e:ada", 20)];
    assert_eq!(world(&story).who(), sets(["b:ben e:ada"]));
    // Braze tells Ben's address: two people, and the browser is Ada's.
    let w = world(&[story.as_slice(), &[server("b:ben e:ben", 90)]].concat());
    assert_eq!(w.who(), sets(["b:ben e:ben", "e:ada"]));
    assert_eq!(w.states("b:ben", "e:ada"), [conflict(Reason::TwoEmails)]);
    assert_eq!(w.states("v:1", "b:ben"), [(State::Suspended, Some(Reason::Superseded))]);
    assert_eq!(w.times("v:1", "e:ada"), [10, 20]);
}

#[test]
fn two_external_ids_are_joined_by_an_explicit_merge_only() {
    let story = [server("x:ada e:ada", 1), server("x:ben e:ada", 2)];
    let w = world(&story);
    assert_eq!(w.who(), sets(["x:ada e:ada", "x:ben"]));
    assert_eq!(w.states("x:ben", "e:ada"), [conflict(Reason::TwoExternalIds)]);

    let w = world(&[story.as_slice(), &[merge("x:ada e:ada", "x:ben", 3)]].concat());
    assert_eq!(w.who(), sets(["x:ada e:ada x:ben"]));
    assert_eq!(w.states("x:ben", "e:ada"), [ACTIVE], "within one component now");

    // Having two does not keep somebody from being given an e-mail, but from being introduced to one.
    let w = world(&[merge("x:ada", "x:ben", 1), server("x:ben b:ben", 2)]);
    assert_eq!(w.who(), sets(["x:ada x:ben b:ben"]));
    let both = [merge("x:ada", "x:ben", 1), server("x:ben b:ben", 2), link("v:1", "b:ben", 3), form("v:1", "e:ben", 4)];
    assert_eq!(world(&both).states("b:ben", "e:ben"), [conflict(Reason::TwoExternalIds)]);
}

#[test]
fn an_explicit_fact_between_other_keys_joins_the_external_ids_behind_them() {
    // Braze merges two profiles: its word is about its own ids, and each has an id of the customer's behind it.
    let orphan = |at| {
        let mut made = record("b:old", at);
        made.facts = vec![FactInput { other: id("b:new"), explicit: true }];
        Input::Record(made)
    };
    let story = [server("b:new x:new e:ada", 1), server("b:old x:old", 2), orphan(3)];
    let w = world(&story);
    assert_eq!(w.who(), sets(["b:new x:new e:ada b:old x:old"]));
    // There is room for those two, and for no third.
    let w = world(&[story.as_slice(), &[server("x:third e:ada", 4)]].concat());
    assert_eq!(w.states("x:third", "e:ada"), [conflict(Reason::TwoExternalIds)]);
    // Who is separated is not joined by it, so there is no room for a second either.
    let w = world(&[story.as_slice(), &[separate("b:old x:old", "b:new x:new e:ada", 5)]].concat());
    assert_eq!(w.who(), sets(["b:new x:new e:ada", "b:old x:old"]));
}

#[test]
fn user_orphan_joins_two_external_ids_but_lifts_no_separation() {
    let orphan = |at| {
        let mut made = record("x:ada", at);
        made.facts = vec![FactInput { other: id("x:ben"), explicit: true }];
        Input::Record(made)
    };
    let w = world(&[server("x:ben", 1), orphan(2)]);
    assert_eq!(w.who(), sets(["x:ada x:ben"]));
    let w = world(&[server("x:ben", 1), orphan(2), separate("x:ada", "x:ben", 3), orphan(4)]);
    assert_eq!(w.who(), sets(["x:ada", "x:ben"]));
    assert_eq!(w.states("x:ada", "x:ben"), [(State::Undone, Some(Reason::Separated))]);
}

#[test]
fn a_phone_belongs_but_never_joins() {
    let w = world(&[server("x:ada p:+15550100", 2), server("x:ben p:+15550100", 1)]);
    assert_eq!(w.who(), sets(["x:ada", "x:ben p:+15550100"]), "the earliest by event time");
    assert_eq!(w.states("x:ada", "p:+15550100"), [conflict(Reason::Limit)]);
}

#[test]
fn the_earliest_32_facts_join_through_an_email() {
    let many: Vec<Input> = (0..40).rev().map(|n| server(&format!("e:shared b:n{n}"), n)).collect();
    let w = world(&many);
    let held = w.holding("e:shared");
    assert_eq!(held.keys.len(), 33);
    for n in 0..40 {
        let admitted = n < 32;
        assert_eq!(held.keys.contains(&key(&format!("b:n{n}"))), admitted, "{n}");
        let state = if admitted { ACTIVE } else { conflict(Reason::Limit) };
        assert_eq!(w.states("e:shared", &format!("b:n{n}")), [state]);
    }
}

#[test]
fn a_prospect_holds_a_limited_number_of_a_type() {
    let policy = Policy { per_prospect: Limits::from([(KeyType::CrmId, 1)]), ..Policy::default() };
    let w = world_of(&policy, &[server("e:ada crm:1", 1), server("e:ada crm:2", 2), server("crm:2", 3)]);
    assert_eq!(w.who(), sets(["e:ada crm:1", "crm:2"]));
    assert_eq!(w.states("e:ada", "crm:2"), [conflict(Reason::Limit)]);
    // Explicit facts are exempt from the limit on external ids only.
    let w = world_of(&policy, &[server("e:ada crm:1", 1), server("crm:2", 2), merge("crm:1", "crm:2", 3)]);
    assert_eq!(w.who(), sets(["e:ada crm:1", "crm:2"]));
    assert_eq!(w.states("crm:1", "crm:2"), [conflict(Reason::Limit)]);
}

#[test]
fn the_earliest_64_browsers_may_claim_a_key() {
    let many: Vec<Input> = (0..70).rev().map(|n| form(&format!("v:n{n}"), "e:shared", n)).collect();
    let w = world(&many);
    assert_eq!(w.holding("e:shared").events.len(), 64);
    assert_eq!(w.states("v:n64", "e:shared"), [conflict(Reason::Limit)]);
    assert_eq!(w.times("v:n64", "v:n64"), [64], "anonymous, at home");
    // A higher trust comes before an earlier time.
    let token = claim("v:token", "e:shared", 1000, Trust::Strong, false);
    let w = world(&[many.as_slice(), &[token]].concat());
    assert_eq!(w.states("v:token", "e:shared"), [ACTIVE]);
    assert_eq!(w.states("v:n63", "e:shared"), [conflict(Reason::Limit)]);
}

#[test]
fn the_newest_claims_of_a_browser_count() {
    let policy = Policy { claims: 2, ..Policy::default() };
    let w = world_of(&policy, &[form("v:1", "e:1", 10), form("v:1", "e:2", 20), form("v:1", "e:3", 30)]);
    assert_eq!(w.tables[&key("v:1")], [(20, key("e:2")), (30, key("e:3"))]);
    assert_eq!(w.states("v:1", "e:1"), []);
    // Per trust: links do not displace forms.
    let w = world_of(&policy, &[form("v:1", "e:1", 10), link("v:1", "b:2", 20), link("v:1", "b:3", 30)]);
    assert_eq!(w.tables[&key("v:1")], [(10, key("e:1"))]);
}

#[test]
fn internal_and_other_people_are_never_one() {
    let policy = Policy { internal_domains: ["staff.example.com".to_owned()].into(), ..Policy::default() };
    let w = world_of(&policy, &[server("x:ada e:ada", 1), server("x:ada e:sales@staff.example.com", 2)]);
    assert_eq!(w.who(), sets(["x:ada e:ada"]));
    assert_eq!(w.states("x:ada", "e:sales@staff.example.com"), [conflict(Reason::Internal)]);
    let w = world_of(&policy, &[server("x:ada e:ben@staff.example.com", 1), server("x:ada e:cy@staff.example.com", 2)]);
    assert_eq!(w.prospects.len(), 1, "two internal ones may be");
}

#[test]
fn a_blocked_value_is_no_key() {
    let policy = Policy { blocked: [(KeyType::Email, "info@example.com".to_owned())].into(), ..Policy::default() };
    let w = world_of(
        &policy,
        &[
            server("x:ada e:info", 1),
            server("x:ben e:info", 2),
            server("e:info b:cleo", 3),
            form("v:1", "e:info", 4),
            merge("x:ada", "e:info", 5),
        ],
    );
    assert_eq!(w.who(), sets(["x:ada", "x:ben", "v:1"]));
    assert!(w.evidence.is_empty());
}

#[test]
fn what_was_separated_stays_so_when_it_is_said_again() {
    let story = [server("b:ada e:ada", 1), server("b:ada e:ben", 2), separate("b:ada e:ada", "e:ben", 10)];
    let w = world(&[story.as_slice(), &[server("e:ben", 5)]].concat());
    assert_eq!(w.who(), sets(["b:ada e:ada", "e:ben"]));
    assert_eq!(w.states("b:ada", "e:ben"), [(State::Undone, Some(Reason::Separated))]);
    // Neither a repeated fact nor a second path joins them again.
    let again = [server("b:ada e:ben", 20), server("x:new e:ada", 21), server("x:new e:ben", 22)];
    let w = world(&[story.as_slice(), &again].concat());
    assert_eq!(w.who(), sets(["b:ada e:ada x:new"]), "and e:ben, who did nothing, is none");
    assert_eq!(w.states("x:new", "e:ben"), [conflict(Reason::Separated)]);
}

#[test]
fn a_merge_lifts_a_separation_and_the_latest_decides() {
    let story = [server("b:ada e:ada", 1), server("b:ben e:ben", 2), merge("b:ada e:ada", "b:ben e:ben", 3)];
    assert_eq!(world(&story).who(), sets(["b:ada e:ada b:ben e:ben"]));
    let apart = [story.as_slice(), &[separate("b:ada e:ada", "b:ben e:ben", 4)]].concat();
    assert_eq!(world(&apart).who(), sets(["b:ada e:ada", "b:ben e:ben"]));
    let again = [apart.as_slice(), &[merge("b:ada e:ada", "b:ben e:ben", 5)]].concat();
    assert_eq!(world(&again).who(), sets(["b:ada e:ada b:ben e:ben"]));
    // The pairs that a later merge does not name stay separated: the two ids join, and the addresses part from them.
    let partly = [apart.as_slice(), &[merge("b:ada", "b:ben", 5)]].concat();
    let w = world(&partly);
    assert_eq!(w.who(), sets(["b:ada b:ben"]));
    assert_eq!(w.states("b:ada", "e:ada"), [conflict(Reason::Separated)]);
}

#[test]
fn separating_a_browser_undoes_its_claims() {
    let story = [server("e:ada", 1), form("v:1", "e:ada", 10), separate("v:1", "e:ada", 20)];
    let w = world(&story);
    assert_eq!(w.who(), sets(["e:ada", "v:1"]));
    assert_eq!(w.states("v:1", "e:ada"), [(State::Undone, Some(Reason::Separated))]);
    // A merge of the anonymous prospect into the person gives the browser back, and what it did.
    let w = world(&[story.as_slice(), &[merge("e:ada", "v:1", 30)]].concat());
    assert_eq!(w.who(), sets(["e:ada"]));
    assert_eq!(w.times("v:1", "e:ada"), [10]);
}

#[test]
fn the_oldest_key_founds_and_ties_go_by_type() {
    // Named by a form before Braze knew of it: the address is the founder.
    let w = world(&[form("v:1", "e:ada", 10), server("b:ada x:ada e:ada", 20)]);
    assert_eq!(w.holding("e:ada").founder, key("e:ada"));
    // All at one time: external_id before braze_id before email, whatever their hashes.
    for n in 0..10 {
        let w = world(&[server(&format!("b:{n}ada x:{n}ada e:{n}ada"), 20), server(&format!("e:{n}ben b:{n}ben"), 20)]);
        assert_eq!(w.holding(&format!("e:{n}ada")).founder, key(&format!("x:{n}ada")));
        assert_eq!(w.holding(&format!("e:{n}ben")).founder, key(&format!("b:{n}ben")));
    }
    // A separation gives the other part the id that it would have had.
    let w = world(&[
        server("b:ada e:ada", 5),
        server("b:ada e:ben", 2),
        server("e:ben", 3),
        separate("b:ada e:ada", "e:ben", 9),
    ]);
    assert_eq!(w.holding("b:ada").founder, key("b:ada"));
    assert!(w.prospects.contains_key(&key("e:ben").prospect_id()));
}

#[test]
fn duplicates_count_once() {
    let one = server("b:ada e:ada", 10);
    let w = world(&[one.clone(), one.clone(), visit("v:1", 10), visit("v:1", 10)]);
    assert_eq!(w, world(&[visit("v:1", 10), one]));
    assert_eq!(w.holding("b:ada").events.len(), 1);
}

/// Two customers' profiles in Braze share an address. Times, and at equal times hashes, decided who got it, and took a
/// profile's `braze_id` away from its `external_id`: a request to delete the one person erased the other.
#[test]
fn an_address_that_profiles_share_takes_neither_of_its_ids_from_a_profile() {
    for pair in 0..40 {
        let name = |of: &str| format!("{of}-{pair}");
        let (ada, ben) = (name("ada"), name("ben"));
        let address = name("e:info");
        let clicks = |who: &str, at| server(&format!("b:{who} x:{who} {address}"), at);
        let without_id = |who: &str, at| server(&format!("b:{who} {address}"), at);
        for inputs in [
            vec![clicks(&ada, 1), clicks(&ben, 2)],
            vec![clicks(&ada, 1), clicks(&ben, 1)],
            // Ben had no id of the customer's own yet.
            vec![clicks(&ada, 1), without_id(&ben, 2), clicks(&ben, 3)],
        ] {
            let world = world(&inputs);
            for who in [&ada, &ben] {
                let one = keys(&format!("b:{who} x:{who}"));
                assert!(world.who().iter().any(|person| one.is_subset(person)), "{inputs:?}");
            }
            assert_eq!(world.prospects.len(), 2, "{inputs:?}");
        }
    }
}
