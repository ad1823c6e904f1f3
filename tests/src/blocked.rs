//! What identifies nobody by the customer's own list: it is recorded, joins nobody and is nobody.

use crate::harness::Instance;
use crate::harness::events::{Person, form, now, uuid};
use serde_json::json;

const KEY: &str = "4e738ca5563c06cfd0018299933d58db1dd8bf97f6973dc99bf6cdc64b5550bd";

#[test]
fn a_value_that_the_customer_blocks_joins_nobody() {
    let list = [("BLOCKED_IDENTIFIERS", "email:NoReply@shop.example, external_id:test")];
    let instance = Instance::start_with(KEY, &list);
    let api = instance.api();
    let people = ["ada", "ben"].map(Person::new);
    for person in &people {
        // Both of the shop's own address and id, as a test send has them.
        let mut click = person.email_click(now());
        click["user"]["external_user_id"] = json!("test");
        click["properties"]["email_address"] = json!("noreply@shop.example");
        api.currents(&[click]);
        let visitor = uuid();
        api.collect(&visitor, &[form(now(), "contact", "noreply@shop.example")]);
        let prospect = api.prospect(&format!("braze_id:{}", person.braze_id));
        assert_eq!((&prospect["email"], &prospect["events"]), (&json!(null), &json!(1)), "{prospect}");
        assert_eq!(prospect["identifiers"].as_array().map(Vec::len), Some(1), "{prospect}");
        assert_eq!(api.prospect(&format!("visitor:{visitor}"))["identified"], false);
    }
    for nobody in ["email:noreply@shop.example", "external_id:test"] {
        assert!(api.find(nobody).is_none(), "{nobody}");
    }
}
