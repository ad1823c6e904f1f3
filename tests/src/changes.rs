//! The feed as a reader of the API sees it: stages that are reached are told once an entry, whoever turns out to be whom,
//! and a reader who asks again by an old cursor is told the same again.

use crate::harness::events::{Person, form, now, uuid};
use crate::harness::{Api, Instance, until};
use crate::write_back::{change, clicks};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Reads on from a cursor until there is no more. Answers the items, and the cursor then.
#[track_caller]
pub(crate) fn read(api: &Api, cursor: &str) -> (Vec<Value>, String) {
    let (mut all, mut cursor) = (Vec::new(), cursor.to_owned());
    loop {
        let query = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        let page = api.read(&format!("/api/changes?limit=3{query}"));
        let items = page["items"].as_array().expect("items").clone();
        page["next_cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
        if items.is_empty() {
            return (all, cursor);
        }
        all.extend(items);
    }
}

fn reached(items: &[Value]) -> Vec<&Value> {
    items.iter().filter(|item| item["type"] == "stage.reached").collect()
}

#[test]
fn a_stage_that_is_reached_is_told_once_whoever_it_turns_out_to_be() {
    let instance = Instance::start();
    let api = instance.api();
    let (ada, visitor) = (Person::new("ada"), uuid());
    let (_, start) = read(api, "");
    // Three demos asked for in a browser are more than the 50 points of `mql`; then an address is given there.
    let demo = |n: i64| {
        let mut demo = form(now() + n, "Request a demo", &ada.email);
        demo.as_object_mut().expect("an object").remove("identity");
        demo
    };
    (0..3).for_each(|n| drop(api.collect(&visitor, &[demo(n)])));
    let anonymous = api.prospect(&format!("visitor:{visitor}"));
    let (items, cursor) = read(api, &start);
    let told = reached(&items);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["stage"], &told[0]["cause"], &told[0]["prospect"]["id"]),
        (&json!("mql"), &json!("event"), &anonymous["id"])
    );
    assert!(told[0]["at"].is_string() && told[0]["prospect"]["stage"] == "mql", "{}", told[0]);

    api.collect(&visitor, &[form(now() + 10, "Request a demo", &ada.email)]);
    // Braze knows the address by an id, whose partition may be another.
    api.currents(&clicks(std::slice::from_ref(&ada), now()));
    assert_eq!(api.prospect(&format!("email:{}", ada.email))["stage"], "mql");
    let (since, end) = read(api, &cursor);
    assert_eq!(reached(&since), Vec::<&Value>::new(), "she is who has reached it");
    // Again from before: the same notice by the same id; the prospect as it is by now.
    let (again, _) = read(api, &start);
    let again = reached(&again);
    assert_eq!((again.len(), &again[0]["id"]), (1, &told[0]["id"]));
    assert_eq!(again[0]["prospect"]["life_cycle"], "merged", "{}", again[0]);

    // A model by which others have reached it, too.
    let ben = Person::new("ben");
    api.currents(&clicks(std::slice::from_ref(&ben), now()));
    let (_, end) = read(api, &end);
    let mut model = api.read("/api/model")["model"].clone();
    model["stages"][1]["when"]["above"] = 4.into();
    model["stages"][1]["leave_below"] = 3.into();
    change(api, "PUT", "/api/model/draft", &model).expect(200);
    change(api, "POST", "/api/model/publish", &json!({})).expect(200);
    let told = crate::harness::eventually("the model tells", || {
        let (items, _) = read(api, &end);
        let told: Vec<Value> = reached(&items).into_iter().cloned().collect();
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(
        (told.len(), &told[0]["cause"], &told[0]["prospect"]["email"]),
        (1, &json!("publish"), &json!(ben.email))
    );
}

/// Whoever keeps what has the highest `rev` of each prospect, as the contract has it.
#[derive(Default)]
struct Mirror(BTreeMap<String, (u64, String)>);

impl Mirror {
    #[track_caller]
    fn keep(&mut self, items: &[Value]) {
        for item in items.iter().filter(|item| item["type"] != "stage.reached") {
            let prospect = &item["prospect"];
            let (Some(id), Some(rev)) = (prospect["id"].as_str(), prospect["rev"].as_u64()) else {
                panic!("without an id or a rev: {item}");
            };
            let life_cycle = prospect["life_cycle"].as_str().expect("a life cycle").to_owned();
            let told = match life_cycle.as_str() {
                "active" => "prospect.changed".to_owned(),
                gone => format!("prospect.{gone}"),
            };
            assert_eq!(item["type"], told.as_str(), "{item}");
            let held = self.0.entry(id.to_owned()).or_default();
            if rev > held.0 {
                *held = (rev, life_cycle);
            }
        }
    }

    fn active(&self) -> Vec<&String> {
        self.0.iter().filter(|(_, (_, life_cycle))| life_cycle == "active").map(|(id, _)| id).collect()
    }
}

#[test]
fn who_keeps_the_highest_rev_holds_whom_the_list_shows() {
    let instance = Instance::start();
    let api = instance.api();
    let people: Vec<Person> = (0..12).map(|n| Person::new(&format!("reader-{n}"))).collect();
    let (mut along, start) = (Mirror::default(), read(api, "").1);
    let mut cursor = start.clone();
    let mut read_on = |along: &mut Mirror| {
        let (items, end) = read(api, &cursor);
        along.keep(&items);
        cursor = end;
        items
    };
    // Browsers of their own first; then forms say whose they are.
    let visitors: Vec<String> = people.iter().map(|_| uuid()).collect();
    for visitor in &visitors {
        api.collect(visitor, &[crate::harness::events::page_view(now(), "https://shop.example/pricing")]);
    }
    read_on(&mut along);
    for (person, visitor) in people.iter().zip(&visitors) {
        api.collect(visitor, &[form(now(), "Request a demo", &person.email)]);
    }
    api.currents(&clicks(&people, now()));
    until("all are brought together", || {
        people.iter().zip(&visitors).all(|(person, visitor)| {
            let id = |reference: &str| api.prospect(reference)["id"].clone();
            id(&format!("visitor:{visitor}")) == id(&format!("braze_id:{}", person.braze_id))
        })
    });
    let told = read_on(&mut along);
    assert!(told.iter().any(|item| item["type"] == "prospect.merged"), "browsers have become people's");

    // Four are erased, and two of them come back.
    for person in &people[..4] {
        let answer = change(api, "DELETE", &format!("/api/prospects/email:{}", person.email), &json!({})).expect(202);
        let receipt = format!("/api/erasures/{}", answer["erasure"].as_str().expect("a receipt"));
        until("the erasure is complete", || api.read(&receipt)["completed_at"].is_string());
    }
    for person in &people[..2] {
        api.collect(&uuid(), &[form(now() + 1, "Request a demo", &person.email)]);
        api.prospect(&format!("email:{}", person.email));
    }
    let told = read_on(&mut along);
    assert!(told.iter().filter(|item| item["type"] == "prospect.deleted").count() >= 2, "{told:?}");

    let listed = api.pages("/api/prospects?limit=100");
    let mut listed: Vec<&str> = listed.iter().filter_map(|prospect| prospect["id"].as_str()).collect();
    listed.sort_unstable();
    assert_eq!(along.active(), listed, "who read along");
    let mut late = Mirror::default();
    late.keep(&read(api, &start).0);
    assert_eq!(late.active(), listed, "who reads it all at the end");
    let mut new = Mirror::default();
    new.keep(&read(api, "").0);
    assert_eq!(new.active(), listed, "who begins now");
}
