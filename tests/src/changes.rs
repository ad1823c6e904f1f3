//! The feed as a reader of the API sees it: stages that are reached are told once an entry, whoever turns out to be whom,
//! and a reader who asks again by an old cursor is told the same again.

use crate::harness::events::{Person, form, now, uuid};
use crate::harness::{Api, Instance};
use crate::write_back::{change, clicks};
use serde_json::{Value, json};

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
