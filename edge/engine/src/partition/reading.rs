//! Tests of what is read: lists in exact order over all pages, timelines without gaps or repeats.

use super::list::{Comparison, Filter, List, Rank, Sort};
use super::message::{Ask, Message};
use super::read::explanation::{Changed, PartsCursor};
use super::read::{Looked, Position, Target};
use super::view::{Explanation, Prospect};
use super::{Outcome, Partition, Reply, decode};
use crate::event::{Body, ClaimInput, FactInput, Record, Source};
use crate::identity::generate::Random;
use crate::identity::policy::Policy;
use crate::identity::{Decision, Trust};
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::kinds::Kind;
use crate::scoring::Model;
use crate::store::native::Native;
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const DAY_MS: i64 = 86_400_000;
const NOW: i64 = 1_767_225_600_000;

fn key(identifier: &Identifier) -> KeyHash {
    DeploymentKey::new(b"test").hash(identifier)
}

fn partition() -> Partition<Native> {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let slots = SlotMap { partitions: 1 };
    Partition::open(Native::in_memory().unwrap(), (0, slots), DeploymentKey::new(b"test"), Policy::default(), model, 1)
        .unwrap()
}

fn visitor(n: u32) -> Identifier {
    Identifier::new(KeyType::Visitor, "", &format!("visitor-{n}")).unwrap()
}

fn record(rec: &Identifier, at: i64, id: &str, kind: Kind, url: &str) -> Record {
    let body = Body {
        url: Some(url.to_owned()),
        ..Body::bare(kind, format!("[{}] request a demo", kind.slug()), Source::Tracker)
    };
    Record { rec: rec.clone(), at, id: id.to_owned(), body, facts: Vec::new(), claims: Vec::new() }
}

fn take(partition: &mut Partition<Native>, record: Record) {
    let message = Message { key: key(&record.rec), ask: Ask::Take(vec![record]) };
    let outcomes = vec![(0, Outcome::Accepted)];
    assert_eq!(partition.apply(NOW, vec![message]).unwrap().replies, [Reply::Done { outcomes, onward: vec![] }]);
}

/// Three hundred visitors with pages and forms of the last hundred days: many scores, many ties, some at the cap.
fn crowd() -> Partition<Native> {
    let mut partition = partition();
    let mut random = Random(7);
    for n in 0..300 {
        for event in 0..1 + random.below(5) {
            let at = NOW - i64::from(random.below(100)) * DAY_MS - i64::from(random.below(3)) * 1_000;
            let (kind, url) = match random.below(3) {
                0 => (Kind::PageView, "https://shop.example/pricing"),
                1 => (Kind::FormSubmit, "https://shop.example/contact"),
                _ => (Kind::PageView, "https://shop.example/"),
            };
            take(&mut partition, record(&visitor(n), at, &format!("e{event}"), kind, url));
        }
    }
    for event in 0..30 {
        for n in 300..303 {
            take(
                &mut partition,
                record(&visitor(n), NOW - event, &format!("e{event}"), Kind::FormSubmit, "https://shop.example/"),
            );
        }
    }
    partition
}

/// All pages of a list, one after the other.
fn pages(
    partition: &Partition<Native>,
    sort: &Sort,
    descending: bool,
    limit: usize,
    filter: &Filter,
) -> Vec<serde_json::Value> {
    let (mut all, mut after): (Vec<serde_json::Value>, Option<Rank>) = (Vec::new(), None);
    loop {
        let list = List { sort: sort.clone(), descending, limit, as_of: NOW, after, filter: filter.clone() };
        let listed = partition.list(&list).unwrap().unwrap();
        after = listed.last().map(|last| last.rank);
        all.extend(listed.iter().map(|one| serde_json::from_slice::<serde_json::Value>(&one.prospect).unwrap()));
        if listed.len() < limit {
            return all;
        }
    }
}

fn everybody(partition: &Partition<Native>) -> BTreeMap<String, Prospect> {
    let all = (0..303).map(|n| partition.prospect(Target::key(key(&visitor(n))), NOW).unwrap().found().unwrap());
    all.map(|prospect| (prospect.id.clone(), prospect)).collect()
}

#[test]
fn lists_are_in_exact_order_and_complete_over_all_pages() {
    let partition = crowd();
    let everybody = everybody(&partition);
    let value = |prospect: &serde_json::Value| prospect["scores"]["engagement"]["value"].as_f64().unwrap();
    for (descending, limit) in [(true, 7), (true, 200), (false, 50)] {
        let listed = pages(&partition, &Sort::Main, descending, limit, &Filter::default());
        let ids: BTreeSet<&str> = listed.iter().map(|prospect| prospect["id"].as_str().unwrap()).collect();
        assert_eq!((listed.len(), ids.len()), (everybody.len(), everybody.len()), "each once");
        for prospect in &listed {
            let own = &everybody[prospect["id"].as_str().unwrap()];
            assert_eq!(serde_json::to_value(own).unwrap(), *prospect, "a list shows what a look-up shows");
        }
        let in_order = |pair: &[serde_json::Value]| {
            if descending { value(&pair[0]) >= value(&pair[1]) } else { value(&pair[0]) <= value(&pair[1]) }
        };
        assert!(listed.windows(2).all(in_order), "descending: {descending}");
    }
    assert_eq!(value(&pages(&partition, &Sort::Main, true, 1, &Filter::default())[0]), 200.0, "the cap");
    for sort in [Sort::LastActive, Sort::Created] {
        let field = if sort == Sort::Created { "created_at" } else { "last_active_at" };
        let listed = pages(&partition, &sort, true, 33, &Filter::default());
        assert_eq!(listed.len(), everybody.len());
        assert!(listed.windows(2).all(|pair| pair[0][field].as_str() >= pair[1][field].as_str()));
    }
}

#[test]
fn filters_keep_who_fulfils_all_of_them() {
    let partition = crowd();
    let filter = Filter {
        scores: vec![
            ("engagement".to_owned(), Comparison::Gte, 20.0),
            ("engagement".to_owned(), Comparison::Lt, 199.0),
        ],
        stage: Some("lead".to_owned()),
        identified: Some(false),
        ..Filter::default()
    };
    let listed = pages(&partition, &Sort::Main, true, 10, &filter);
    let wanted = everybody(&partition).into_values().filter(|prospect| {
        let value = prospect.scores["engagement"].value.unwrap();
        (20.0..199.0).contains(&value) && prospect.stage.as_deref() == Some("lead")
    });
    assert_eq!(listed.len(), wanted.count());
    assert!(listed.len() > 10, "the filter leaves something to page through");
    let nobody = Filter { identified: Some(true), ..Filter::default() };
    assert_eq!(pages(&partition, &Sort::Main, true, 10, &nobody).len(), 0);
    let found = Filter { query: Some("visitor-17".to_owned()), ..Filter::default() };
    assert_eq!(pages(&partition, &Sort::Main, true, 10, &found).len(), 1);
    let no_such =
        List { sort: Sort::Score("x".to_owned()), descending: true, limit: 1, as_of: NOW, after: None, filter: found };
    assert_eq!(partition.list(&no_such).unwrap(), None);
}

#[test]
fn a_timeline_has_every_event_once_over_all_pages_newest_first() {
    let mut partition = partition();
    let email = Identifier::new(KeyType::Email, "", "ada@example.com").unwrap();
    // Two browsers of one person, whose events have equal times and ids.
    for n in 0..2 {
        for event in 0..9 {
            let mut record = record(
                &visitor(n),
                NOW - i64::from(event / 3),
                &format!("e{event}"),
                Kind::PageView,
                "https://shop.example/",
            );
            if event == 0 {
                let (browser, key, page) = (visitor(n), email.clone(), "p".to_owned());
                record.claims =
                    vec![ClaimInput { browser, key, trust: Trust::Medium, source: Source::Form, page, human: true }];
            }
            take(&mut partition, record);
        }
    }
    let target = Target::key(key(&email));
    for limit in [1, 2, 5, 18, 50] {
        let (mut seen, mut behind): (Vec<(i64, String)>, Option<Position>) = (Vec::new(), None);
        loop {
            let page = partition.timeline(target, None, None, behind.as_ref(), limit).unwrap().found().unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.into_iter().map(|item| (item.at.0, item.id)));
            behind = page.end;
            if behind.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 18, "pages of {limit}");
        assert!(seen.windows(2).all(|pair| pair[0] >= pair[1]), "pages of {limit}: {seen:?}");
    }
    let before = partition.timeline(target, None, Some(NOW - 1), None, 50).unwrap().found().unwrap();
    assert_eq!(before.items.len(), 6, "before a time");
    let none = partition.timeline(target, Some(Kind::Purchase), None, None, 50).unwrap().found().unwrap();
    assert!(none.items.is_empty() && none.end.is_none(), "of a kind");
}

#[test]
fn an_id_that_was_merged_away_answers_with_where_it_has_gone() {
    let mut partition = partition();
    take(&mut partition, record(&visitor(1), NOW - 10, "e1", Kind::PageView, "https://shop.example/"));
    let anonymous = partition.prospect(Target::key(key(&visitor(1))), NOW).unwrap().found().unwrap();
    assert!(!anonymous.identified);
    let mut form = record(&visitor(1), NOW, "e2", Kind::FormSubmit, "https://shop.example/");
    let email = Identifier::new(KeyType::Email, "", "ada@example.com").unwrap();
    let (browser, page) = (visitor(1), "p".to_owned());
    form.claims =
        vec![ClaimInput { browser, key: email.clone(), trust: Trust::Medium, source: Source::Form, page, human: true }];
    take(&mut partition, form);
    let person = partition.prospect(Target::key(key(&email)), NOW).unwrap().found().unwrap();
    assert!(person.identified && person.events == 2);
    let old = partition
        .prospect(Target::id(KeyHash::from_prospect_id(&anonymous.id).unwrap()), NOW)
        .unwrap()
        .found()
        .unwrap();
    assert_eq!((old.life_cycle, old.merged_into), ("merged", Some(person.id.clone())));
    assert!(old.rev > anonymous.rev, "a reader keeps the highest");
    assert_eq!((old.identifiers.len(), old.scores.len(), old.events), (0, 0, 0));
    let by_visitor = partition.prospect(Target::key(key(&visitor(1))), NOW).unwrap().found().unwrap();
    assert_eq!((by_visitor.life_cycle, by_visitor.id), ("active", person.id));
}

/// Asks for an id as a frontend does.
fn by_id(partition: &Partition<Native>, identifier: &Identifier) -> Looked<Prospect> {
    let mut target = Target::id(key(identifier));
    for _ in 0..10 {
        match partition.prospect(target, NOW).unwrap() {
            Looked::Elsewhere(next) => target = next,
            looked => return looked,
        }
    }
    panic!("sent round in circles");
}

fn claim(n: u32, at: i64, id: &str, of: &Identifier, trust: Trust) -> Record {
    let mut form = record(&visitor(n), at, id, Kind::FormSubmit, "https://shop.example/");
    let (source, page) = (Source::Form, id.to_owned());
    form.claims = vec![ClaimInput { browser: visitor(n), key: of.clone(), trust, source, page, human: true }];
    form
}

#[test]
fn the_id_of_somebody_who_has_lost_everything_answers_with_who_has_it() {
    let email = |name: &str| Identifier::new(KeyType::Email, "", &format!("{name}@example.com")).unwrap();
    let (ada, ben, profile) = (email("ada"), email("ben"), Identifier::new(KeyType::BrazeId, "", "profile-1").unwrap());
    let mut partition = partition();
    take(&mut partition, claim(1, NOW - 30, "e1", &ada, Trust::Medium));
    let of_ada = by_id(&partition, &ada).found().unwrap();
    assert_eq!((of_ada.life_cycle, of_ada.events), ("active", 1));

    // Stronger evidence gives all that she had, her browser's time, to somebody else.
    take(&mut partition, claim(1, NOW - 20, "e2", &ben, Trust::Strong));
    let old = by_id(&partition, &ada).found().unwrap();
    let of_ben = key(&ben).prospect_id();
    assert_eq!((&old.id, old.life_cycle, &old.merged_into), (&of_ada.id, "merged", &Some(of_ben)));
    assert!(old.rev > of_ada.rev, "a reader keeps the highest");
    // By the address there is nobody.
    assert!(matches!(partition.prospect(Target::key(key(&ada)), NOW).unwrap(), Looked::Unknown));

    // A profile brings her events, under the id of her address, which appeared first; then a colleague parts the two.
    let mut opened = record(&profile, NOW - 10, "e3", Kind::EmailClick, "https://shop.example/");
    opened.facts = vec![FactInput { other: ada.clone(), explicit: false }];
    take(&mut partition, opened);
    let joined = by_id(&partition, &ada).found().unwrap();
    assert_eq!((joined.life_cycle, joined.events), ("active", 1));
    let (left, right) = (vec![ada.clone()], vec![profile.clone()]);
    let decision = Decision::Separate { id: "d1".to_owned(), at: NOW, left, right };
    partition.apply(NOW, vec![Message { key: key(&ada), ask: Ask::Decide(decision) }]).unwrap();
    let old = by_id(&partition, &ada).found().unwrap();
    assert_eq!((old.life_cycle, old.merged_into), ("merged", Some(key(&profile).prospect_id())));
    assert_eq!(by_id(&partition, &profile).found().unwrap().events, 1);
    // Who never was anybody has no id.
    assert!(matches!(by_id(&partition, &email("nobody")), Looked::Unknown));
}

#[test]
fn an_explanation_tells_which_events_a_limit_leaves_out() {
    let (model, slots) = (Model::parse(Model::SHIPPED).unwrap(), SlotMap { partitions: 1 });
    let policy = Policy { events_scored: 3, ..Policy::default() };
    let store = Native::in_memory().unwrap();
    let mut partition = Partition::open(store, (0, slots), DeploymentKey::new(b"test"), policy, model, 1).unwrap();
    for n in 0..5 {
        take(
            &mut partition,
            record(&visitor(1), NOW - n, &format!("e{n}"), Kind::PageView, "https://shop.example/pricing"),
        );
        let target = Target::key(key(&visitor(1)));
        let explanation =
            partition.explanation(target, "engagement", None, None, NOW).unwrap().found().unwrap().unwrap();
        let notices: Vec<_> = explanation.notices.iter().map(|n| (n.limit, n.most, n.left_out)).collect();
        // Two at a time: every further event would have all folded anew else.
        let expected = [vec![], vec![], vec![], vec![("events", 2, 2)], vec![("events", 3, 2)]];
        let expected = &expected[usize::try_from(n).unwrap()];
        assert_eq!(notices, *expected, "{} events", n + 1);
        // It began with what is not scored any more.
        let shown = partition.prospect(target, NOW).unwrap().found().unwrap();
        assert_eq!(shown.created_at.unwrap().0, NOW - n, "{} events", n + 1);
    }
}

#[test]
fn an_explanation_of_many_parts_comes_in_answers_that_add_up_and_is_of_one_moment() {
    let rules = (0..100).map(|n| json!({ "id": format!("r{n}"), "when": { "event": "page_view" }, "points": 0.25 }));
    let model = json!({ "scores": [{ "slug": "s", "rules": rules.collect::<Vec<_>>(), "half_life_days": 1 }] });
    let (model, slots) = (Model::parse(&model.to_string()).unwrap(), SlotMap { partitions: 1 });
    let store = Native::in_memory().unwrap();
    let deployment = DeploymentKey::new(b"test");
    let mut partition = Partition::open(store, (0, slots), deployment, Policy::default(), model, 1).unwrap();
    let view = |n: i64, id: &str| record(&visitor(1), NOW - n, id, Kind::PageView, "https://shop.example/pricing");
    for n in 0..250 {
        take(&mut partition, view(n * 60_000, &format!("e{n}")));
    }
    let ask = |partition: &Partition<Native>, (score, past): (&str, Option<i64>), behind: Option<&str>, now| {
        let behind: Option<PartsCursor> =
            behind.map(|cursor| decode(&BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap()).unwrap());
        partition
            .explanation(Target::key(key(&visitor(1))), score, past, behind.as_ref(), now)
            .unwrap()
            .found()
            .unwrap()
    };
    let whole = |answers: &[Explanation]| {
        let parts = answers.iter().flat_map(|answer| &answer.parts);
        parts.map(|part| (part.contribution * 1e6).round()).sum::<f64>() / 1e6
    };
    let mut answers = vec![ask(&partition, ("s", None), None, NOW).unwrap()];
    // However late the rest is asked for.
    while let Some(cursor) = &answers[answers.len() - 1].next_cursor {
        answers.push(ask(&partition, ("s", None), Some(cursor), NOW + 5_000_000).unwrap());
        // And whatever comes meanwhile, late or not.
        let nth = i64::try_from(answers.len()).unwrap();
        let message = Message { key: key(&visitor(1)), ask: Ask::Take(vec![view(nth, &format!("late{nth}"))]) };
        partition.apply(NOW + nth, vec![message]).unwrap();
    }
    let sizes: Vec<_> = answers.iter().map(|answer| answer.parts.len()).collect();
    assert_eq!(sizes, [10_000, 10_000, 5_000]);
    assert!(answers.iter().all(|answer| answer.value == answers[0].value && answer.at.0 == NOW));
    assert_eq!(Some(whole(&answers)), answers[0].value);

    let cursor = answers[0].next_cursor.clone().unwrap();
    let ask_again = |partition: &Partition<Native>, asked| ask(partition, asked, Some(&cursor), NOW + 10).err();
    assert_eq!(ask_again(&partition, ("temperature", None)), Some(Changed), "of another score");
    assert_eq!(ask_again(&partition, ("s", Some(NOW - 1))), Some(Changed), "of another time");
    assert_eq!(ask_again(&partition, ("s", Some(NOW))), None, "of the same");
    // In the same millisecond as the last that the first answer was of.
    take(&mut partition, view(30, "late"));
    assert_eq!(ask_again(&partition, ("s", None)), Some(Changed), "of what was before");
}
