//! The prospect API: how people are found, listed, filtered and paged through, and what is said of each.

use crate::harness::api::items;
use crate::harness::events::{self, Person, link_visit, now, page_view, rfc3339, uuid};
use crate::harness::snapshot::{explanation, millionths};
use crate::harness::{Api, shared};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().map(Map::keys).into_iter().flatten().map(String::as_str).collect()
}

fn ids(people: &[Value]) -> Vec<&str> {
    people.iter().map(|person| person["id"].as_str().expect("an id")).collect()
}

/// People of one company nobody else's test knows: the first has one click, the second two, and so on; the later the
/// person, the longer ago the clicks.
fn company(api: &Api, size: usize) -> (String, Vec<Person>) {
    let domain = format!("{}.example", uuid().split('-').next().expect("a part"));
    let people: Vec<Person> = (0..size).map(|n| Person::at(&format!("person{n}"), &domain)).collect();
    let clicks = people
        .iter()
        .zip(1..)
        .flat_map(|(person, clicks)| (0..clicks).map(move |n| person.email_click(now() - clicks * MINUTE - n * 1_000)));
    assert_eq!(api.currents(&clicks.collect::<Vec<_>>())["dead_lettered"], 0);
    (domain, people)
}

fn list(api: &Api, query: &str) -> Vec<Value> {
    items(&api.read(&format!("/api/prospects?{query}"))["items"])
}

#[test]
fn health_is_told_without_a_token() {
    let health = shared().try_get("/healthz").expect("an answer").expect(200);
    assert_eq!(health["status"], "ok");
    assert!(health["version"].is_string() && health["partitions"].is_u64() && health["feed_lag"].is_u64(), "{health}");
}

#[test]
fn a_prospect_has_the_documented_fields_and_no_others() {
    let api = shared();
    let person = Person::new("fields");
    let (visitor, at) = (uuid(), now());
    api.collect(
        &visitor,
        &[
            link_visit(at - 2_000, "https://shop.example/pricing", &person.braze_id),
            page_view(at - 1_000, "https://shop.example/pricing"),
        ],
    );
    api.currents(&[person.email_click(at)]);
    let prospect = api.prospect(&format!("email:{}", person.email));
    let expected = [
        "id",
        "rev",
        "life_cycle",
        "merged_into",
        "identified",
        "email",
        "first_name",
        "last_name",
        "company",
        "owner_email",
        "favorite",
        "identifiers",
        "scores",
        "tags",
        "temperature",
        "stage",
        "account",
        "attributes",
        "excluded",
        "sessions",
        "events",
        "created_at",
        "last_active_at",
        "model_version",
    ];
    assert_eq!(names(&prospect), BTreeSet::from(expected));
    assert_eq!(
        (&prospect["life_cycle"], &prospect["merged_into"], &prospect["excluded"]),
        (&"active".into(), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&prospect["tags"], &prospect["stage"], &prospect["favorite"]),
        (&json!(["pricing"]), &"lead".into(), &false.into())
    );
    assert_eq!(
        (&prospect["sessions"], &prospect["events"], &prospect["model_version"]),
        (&1.into(), &3.into(), &1.into())
    );
    assert_eq!(
        prospect["created_at"].as_str().and_then(|at| at.parse().ok()),
        jiff::Timestamp::from_millisecond(at - 2_000).ok()
    );
    assert!(prospect["account"].is_string(), "{prospect}");
    assert_eq!(names(&prospect["scores"]), BTreeSet::from(["engagement", "fit"]));
    // Two looks at the prices and a click, 5 points each, a few seconds old.
    let value = millionths(&prospect["scores"]["engagement"]["value"]);
    assert!((14_990_000..=15_000_000).contains(&value), "{value}");
    assert_eq!(prospect["scores"]["engagement"]["band"], Value::Null);
    assert_eq!(prospect["scores"]["fit"], json!({ "value": 0.0, "band": "F" }));
    let identifiers = items(&prospect["identifiers"]);
    let held = |key_type: &str| {
        identifiers.iter().find(|held| held["type"] == key_type).unwrap_or_else(|| panic!("{identifiers:?}"))
    };
    assert_eq!(
        held("email"),
        &json!({ "type": "email", "value": person.email, "trust": "strong", "source": "currents" })
    );
    assert_eq!(held("braze_id")["source"], "currents");
    assert_eq!(held("visitor"), &json!({ "type": "visitor", "value": visitor, "trust": "weak", "source": "url" }));
    let timeline = api.timeline(&format!("email:{}", person.email));
    for item in &timeline {
        assert_eq!(
            names(item),
            BTreeSet::from(["ref", "id", "at", "kind", "name", "url", "source", "bot", "properties", "points"]),
            "{item}"
        );
    }
    let evidence = api.evidence(&format!("email:{}", person.email));
    let kinds: BTreeSet<&str> = evidence.iter().map(|evidence| evidence["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, BTreeSet::from(["claim", "fact"]));
    for one in &evidence {
        assert_eq!(
            names(one),
            BTreeSet::from(["id", "kind", "from", "to", "source", "trust", "state", "reason", "at"]),
            "{one}"
        );
        assert_eq!(
            (names(&one["from"]), names(&one["to"])),
            (BTreeSet::from(["type", "value"]), BTreeSet::from(["type", "value"]))
        );
    }
}

#[test]
fn lists_are_in_exact_order_both_ways() {
    let api = shared();
    let (domain, people) = company(api, 9);
    let id =
        |person: &Person| api.prospect(&format!("email:{}", person.email))["id"].as_str().expect("an id").to_owned();
    let by_clicks: Vec<String> = people.iter().map(id).collect();
    let reversed: Vec<String> = by_clicks.iter().rev().cloned().collect();
    let order = |sort: &str| {
        ids(&list(api, &format!("account={domain}{sort}"))).iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()
    };
    // The more clicks the higher the score; the first person's were the last.
    assert_eq!(order(""), reversed, "by the main score, highest first, if nothing is said");
    assert_eq!(order("&sort=-engagement"), reversed);
    assert_eq!(order("&sort=engagement"), by_clicks);
    assert_eq!(order("&sort=-last_active_at"), by_clicks);
    assert_eq!(order("&sort=last_active_at"), reversed);
    assert_eq!(order("&sort=-created_at"), by_clicks);
    assert_eq!(order("&sort=created_at"), reversed);
    assert_eq!(order("&sort=-fit").len(), 9, "all have the same fit, and all are there");
    let listed = list(api, &format!("account={domain}"));
    let values: Vec<i64> = listed.iter().map(|person| millionths(&person["scores"]["engagement"]["value"])).collect();
    assert!(values.is_sorted_by(|higher, lower| higher > lower), "{values:?}");
}

#[test]
fn pages_show_everybody_once_at_one_instant() {
    let api = shared();
    let (domain, people) = company(api, 11);
    for sort in ["-engagement", "engagement", "-fit", "last_active_at", "-created_at"] {
        let path = format!("/api/prospects?account={domain}&sort={sort}&limit=4");
        let whole = list(api, &format!("account={domain}&sort={sort}"));
        let mut page = api.read(&path);
        let as_of = page["as_of"].clone();
        assert!(as_of.is_string());
        let (mut seen, mut sizes) = (items(&page["items"]), vec![items(&page["items"]).len()]);
        while let Some(cursor) = page["next_cursor"].as_str() {
            page = api.read(&format!("{path}&cursor={cursor}"));
            assert_eq!(page["as_of"], as_of, "{sort}");
            sizes.push(items(&page["items"]).len());
            seen.extend(items(&page["items"]));
        }
        assert_eq!(sizes, [4, 4, 3], "{sort}");
        assert_eq!(ids(&seen), ids(&whole), "{sort}");
    }
    // A cursor goes on with its own order, and with no other.
    let page = api.read(&format!("/api/prospects?account={domain}&sort=created_at&limit=5"));
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let rest = list(api, &format!("account={domain}&sort=created_at&cursor={cursor}"));
    assert_eq!(rest.len(), people.len() - 5);
    assert_eq!(
        api.get(&format!("/api/prospects?account={domain}&sort=engagement&cursor={cursor}")).error(400)["path"],
        "/cursor"
    );
}

#[test]
fn filters_must_all_hold() {
    let api = shared();
    // 12 clicks are 60 points: over the 50 that make an MQL.
    let (domain, people) = company(api, 12);
    let at = now();
    let curious = &people[0];
    api.collect(&uuid(), &[link_visit(at - 2, "https://shop.example/pricing", &curious.braze_id)]);
    let visitor = uuid();
    api.collect(&visitor, &[link_visit(at - 1, "https://shop.example/pricing", &curious.braze_id)]);
    let emails = |query: &str| {
        let mut found: Vec<String> = list(api, &format!("account={domain}&limit=200{query}"))
            .iter()
            .map(|person| person["email"].as_str().expect("an address").to_owned())
            .collect();
        found.sort();
        found
    };
    let expected = |wanted: &dyn Fn(usize) -> bool| {
        let mut wanted: Vec<String> =
            people.iter().enumerate().filter(|(n, _)| wanted(*n)).map(|(_, person)| person.email.clone()).collect();
        wanted.sort();
        wanted
    };
    assert_eq!(emails("").len(), 12);
    assert_eq!(emails("&tag=pricing"), [curious.email.as_str()]);
    assert_eq!(emails("&tag=pricing&tag=nothing"), Vec::<String>::new(), "a repeated tag means all of them");
    // A little less than the points of so many clicks, because some minutes have passed: 5 clicks are 24.99.
    assert_eq!(emails("&score.engagement.gte=24.9"), expected(&|n| n >= 4));
    assert_eq!(emails("&score.engagement.gt=24.9&score.engagement.lt=40.5"), expected(&|n| (4..8).contains(&n)));
    assert_eq!(emails("&score.engagement.lte=9.5"), Vec::<String>::new());
    assert_eq!(emails("&score.fit.lte=0").len(), 12);
    assert_eq!(emails("&stage=mql"), expected(&|n| n >= 10));
    assert_eq!(emails("&stage=lead"), expected(&|n| n < 10));
    // 5 per click, a little decayed: hot from 40, warm from 20, normal from 8; two looks at the prices are 4.
    assert_eq!(emails("&temperature=hot"), expected(&|n| n >= 8));
    assert_eq!(emails("&temperature=warm"), expected(&|n| (4..8).contains(&n)));
    assert_eq!(emails("&identified=true").len(), 12);
    assert_eq!(emails("&identified=false"), Vec::<String>::new());
    assert_eq!(emails("&temperature=hot&stage=lead"), expected(&|n| (8..10).contains(&n)));
    // Words: every one begins a word of address, names or company; or the whole is an identifier.
    assert_eq!(emails("&q=PERSON3."), [people[3].email.as_str()]);
    assert_eq!(emails(&format!("&q={}", domain.to_uppercase())).len(), 12);
    assert_eq!(emails("&q=erson3"), Vec::<String>::new(), "not in the middle of a word");
    assert_eq!(emails("&q=person3+person4"), Vec::<String>::new());
    let found = list(api, &format!("q={}", people[2].braze_id));
    assert_eq!(
        found.iter().map(|person| person["email"].as_str()).collect::<Vec<_>>(),
        [Some(people[2].email.as_str())]
    );
    assert_eq!(list(api, &format!("q={visitor}")).len(), 1);
    // Browsers nobody has claimed are listed, too, unless they are not wanted.
    let anonymous = uuid();
    api.collect(&anonymous, &[page_view(at, "https://shop.example/")]);
    assert_eq!(list(api, &format!("q={anonymous}")).len(), 1);
    assert_eq!(list(api, &format!("q={anonymous}&identified=false")).len(), 1);
    assert_eq!(list(api, &format!("q={anonymous}&identified=true")).len(), 0);
}

#[test]
fn references_are_one_percent_encoded_segment() {
    let api = shared();
    let unique = uuid();
    let (plus, slash) = (format!("a+b/{unique}@example.com"), format!("org/42:{unique}?x#é"));
    let click = |address: &str| {
        events::currents(
            "users.messages.email.Click",
            now(),
            &json!({ "user_id": "", "external_user_id": slash }),
            &json!({ "email_address": address, "campaign_name": "x" }),
        )
    };
    assert_eq!(api.currents(&[click(&plus)])["accepted"], 1);
    let encoded = |text: &str| {
        text.bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect::<String>()
    };
    let prospect = api.prospect(&format!("email:{}", encoded(&plus)));
    assert_eq!(prospect["email"], plus.as_str());
    // A plus is a plus, encoded or not, and the type's colon may be encoded as well.
    assert_eq!(api.prospect(&format!("email:a+b%2F{unique}%40example.com"))["id"], prospect["id"]);
    assert_eq!(api.prospect(&encoded(&format!("email:{plus}")))["id"], prospect["id"]);
    assert_eq!(api.prospect(&format!("external_id:{}", encoded(&slash)))["id"], prospect["id"]);
    assert_eq!(api.timeline(&format!("external_id:{}", encoded(&slash))).len(), 1);
    // An address is the same in capitals, and by its hash.
    assert_eq!(api.prospect(&format!("email:{}", encoded(&plus.to_uppercase())))["id"], prospect["id"]);
    assert!(api.find(&format!("email:a%20b%2F{unique}%40example.com")).is_none());
}

#[test]
fn an_id_that_was_merged_away_says_into_whom() {
    let api = shared();
    let person = Person::new("merged");
    let at = now();
    // First two people are known, by the Braze id and by the address; then Braze says that they are one.
    let by_id = events::currents(
        "users.behaviors.CustomEvent",
        at - 2 * DAY,
        &person.braze_user(),
        &json!({ "name": "first" }),
    );
    let by_email = events::currents(
        "users.messages.email.Open",
        at - DAY,
        &json!({}),
        &json!({ "email_address": person.email, "campaign_name": "x" }),
    );
    assert_eq!(api.currents(&[by_id, by_email])["accepted"], 2);
    let survivor = api.prospect(&format!("braze_id:{}", person.braze_id));
    let other = api.prospect(&format!("email:{}", person.email));
    let visitor = uuid();
    api.collect(&visitor, &[page_view(at - DAY, "https://shop.example/")]);
    let anonymous = api.prospect(&format!("visitor:{visitor}"));
    assert_eq!(BTreeSet::from([&survivor, &other, &anonymous].map(|person| person["id"].to_string())).len(), 3);

    api.currents(&[person.email_click(at)]);
    api.collect(&visitor, &[link_visit(at, "https://shop.example/", &person.braze_id)]);

    let id = survivor["id"].as_str().expect("an id");
    for gone in [&other, &anonymous] {
        let gone = api.prospect(gone["id"].as_str().expect("an id"));
        assert_eq!((&gone["life_cycle"], &gone["merged_into"]), (&"merged".into(), &id.into()), "{gone}");
        assert_eq!(
            (&gone["identifiers"], &gone["scores"], &gone["tags"]),
            (&json!([]), &json!({}), &json!([])),
            "{gone}"
        );
        assert_eq!((&gone["identified"], &gone["email"]), (&false.into(), &Value::Null));
    }
    for reference in [
        format!("email:{}", person.email),
        format!("braze_id:{}", person.braze_id),
        format!("visitor:{visitor}"),
        id.to_owned(),
    ] {
        let found = api.prospect(&reference);
        assert_eq!(
            (&found["id"], &found["life_cycle"], &found["merged_into"]),
            (&id.into(), &"active".into(), &Value::Null),
            "{reference}"
        );
        assert_eq!(found["events"], 5);
        assert_eq!(api.timeline(&reference).len(), 5);
    }
    assert!(survivor["rev"].as_u64() < api.prospect(id)["rev"].as_u64());
    let listed = list(api, &format!("q={}", person.email));
    assert_eq!(ids(&listed), [id], "who was merged away is not listed");
}

#[test]
fn timelines_can_be_narrowed_and_paged() {
    let api = shared();
    let (person, visitor, at) = (Person::new("timeline"), uuid(), now());
    let views: Vec<Value> = (1..=7).map(|n| page_view(at - n * MINUTE, "https://shop.example/")).collect();
    api.collect(&visitor, &views);
    api.collect(&visitor, &[link_visit(at - 10 * MINUTE, "https://shop.example/", &person.braze_id)]);
    // Two things in the same millisecond.
    let second = at - at % 1_000;
    api.currents(&[person.email_click(second), person.email_click(second)]);
    let path = format!("/api/prospects/braze_id:{}/timeline", person.braze_id);
    let whole = items(&api.read(&path)["items"]);
    assert_eq!(whole.len(), 10);
    assert_eq!(api.pages(&format!("{path}?limit=3")), whole);
    assert_eq!(api.pages(&format!("{path}?limit=1")), whole);
    let of_kind = |kind: &str| api.pages(&format!("{path}?kind={kind}&limit=2")).len();
    assert_eq!((of_kind("page_view"), of_kind("email_click"), of_kind("purchase")), (8, 2, 0));
    let before = rfc3339(at - 3 * MINUTE);
    let narrowed = api.pages(&format!("{path}?before={before}&limit=200"));
    assert_eq!(narrowed.len(), 5, "strictly before");
    assert_eq!(narrowed, whole[5..]);
}

#[test]
fn an_explanation_traces_every_point_at_any_time() {
    let api = shared();
    let (person, visitor, at) = (Person::new("explained"), uuid(), now());
    // Five looks at the prices on one day, of which three count; a demo request; and 60 days of nothing since a month ago.
    let noon = at - at % DAY - 60 * DAY + DAY / 2;
    let looks: Vec<Value> = (0..5).map(|n| page_view(noon + n * MINUTE, "https://shop.example/pricing")).collect();
    api.collect(&visitor, &looks);
    api.collect(&visitor, &[events::form(noon + 5 * MINUTE, "Book a Demo", &person.email)]);
    let reference = format!("email:{}", person.email);

    let explain = |at: i64| {
        let explanation = api.read(&format!("/api/prospects/{reference}/explanation?at={}", rfc3339(at)));
        let sum: i64 = items(&explanation["parts"]).iter().map(|part| millionths(&part["contribution"])).sum();
        assert_eq!(sum, millionths(&explanation["value"]), "{explanation}");
        assert_eq!(names(&explanation), BTreeSet::from(["score", "value", "at", "model_version", "parts"]));
        explanation
    };
    let before = explain(noon - 1);
    assert_eq!(
        (&before["score"], &before["value"], &before["parts"]),
        (&"engagement".into(), &0.0.into(), &json!([])),
        "nothing had happened yet"
    );
    let fresh = explain(noon + 5 * MINUTE);
    let parts = items(&fresh["parts"]);
    let of = |kind: &str| parts.iter().filter(|part| part["type"] == kind).count();
    assert_eq!((of("rule"), of("limited")), (4, 2), "{fresh}");
    assert!((34_990_000..=35_000_000).contains(&millionths(&fresh["value"])), "{fresh}");
    let demo = parts.iter().find(|part| part["rule"] == "demo").expect("a part");
    assert_eq!((&demo["points"], &demo["factor"], &demo["contribution"]), (&20.0.into(), &1.0.into(), &20.0.into()));
    // 13 days later there is decay alone; from the 14th on silence costs, and never below the floor.
    let decayed = 35.0 * f64::exp2(-13.0 / 30.0);
    #[allow(clippy::cast_precision_loss)]
    let value = |explanation: &Value| millionths(&explanation["value"]) as f64 / 1e6;
    assert!((value(&explain(noon + 13 * DAY)) - decayed).abs() < 0.01);
    let silent = explain(noon + 15 * DAY);
    let inactivity = items(&silent["parts"]).into_iter().find(|part| part["type"] == "inactivity").expect("a part");
    assert!(millionths(&inactivity["contribution"]) < 0, "{inactivity}");
    assert!(value(&silent) < 35.0 * f64::exp2(-15.0 / 30.0) - 4.0);
    for day in 16..60 {
        assert!(millionths(&explain(noon + day * DAY)["value"]) >= 0);
    }
    // What the prospect shows is what the explanation explains.
    let shown = millionths(&api.prospect(&reference)["scores"]["engagement"]["value"]);
    let explained = millionths(&explanation(api, &reference, "engagement")["value"]);
    assert!((shown - explained).abs() <= 10, "{shown} {explained}");
    assert_eq!(millionths(&explanation(api, &reference, "fit")["value"]), 0);
}

#[test]
fn the_registry_says_which_model_and_which_sites_there_are() {
    let api = shared();
    let model = api.read("/api/model");
    let shipped: Value =
        serde_json::from_str(include_str!("../../edge/engine/src/scoring/shipped.json")).expect("the shipped model");
    assert_eq!((&model["version"], &model["model"]), (&1.into(), &shipped));
    let sites = items(&api.read("/api/sites")["items"]);
    assert!(sites.iter().any(|site| site["key"] == api.tokens.site && site["loopback"] == true), "{sites:?}");
    let hidden = [&api.tokens.admin, &api.tokens.currents];
    assert!(hidden.iter().all(|token| !api.get("/api/sites").text().contains(token.as_str())));
}
