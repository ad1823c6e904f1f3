//! Requests that are kept for people to look at, without whoever was erased since.

use serde_json::{Value, json};

/// Takes everything that a request says of some targets (`type:value`) out of it. Every other object stays at its place,
/// as errors name places.
pub fn scrub(request: &mut Value, targets: &[String]) {
    let is_gone = |key_type: &str, value: &Value| {
        value
            .as_str()
            .is_some_and(|value| targets.iter().any(|target| target.split_once(':') == Some((key_type, value))))
    };
    let gone = json!({ "erased": true });
    for array in ["attributes", "events"] {
        for object in request.get_mut(array).and_then(Value::as_array_mut).into_iter().flatten() {
            if ["braze_id", "external_id"]
                .iter()
                .any(|key_type| object.get(*key_type).is_some_and(|id| is_gone(key_type, id)))
            {
                *object = gone.clone();
            }
        }
    }
    for id in request.get_mut("external_ids").and_then(Value::as_array_mut).into_iter().flatten() {
        if is_gone("external_id", id) {
            *id = gone.clone();
        }
    }
    for (name, key_type) in [("braze_id", "braze_id"), ("email_address", "email")] {
        if let Some(id) = request.get_mut(name).filter(|id| is_gone(key_type, id)) {
            *id = gone.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(mut request: Value, targets: &[&str]) -> Value {
        scrub(&mut request, &targets.iter().map(|target| (*target).to_owned()).collect::<Vec<_>>());
        request
    }

    #[test]
    fn whoever_was_erased_is_in_no_request_and_the_others_stay_where_they_were() {
        let gone = json!({ "erased": true });
        let object = |key_type: &str, id: &str| json!({ key_type: id, "sw_lead_score": 1.0 });
        let track = json!({
            "attributes": [object("braze_id", "a"), object("external_id", "a:1"), object("braze_id", "b")],
            "events": [object("external_id", "a:1"), object("external_id", "a")],
        });
        let expected = json!({ "attributes": [gone, gone, object("braze_id", "b")], "events": [gone, object("external_id", "a")] });
        assert_eq!(without(track.clone(), &["braze_id:a", "external_id:a:1", "email:b"]), expected);
        assert_eq!(without(track.clone(), &[]), track);

        let ids = json!({ "external_ids": ["a", "b"], "fields_to_export": ["email"] });
        let expected = json!({ "external_ids": [gone, "b"], "fields_to_export": ["email"] });
        assert_eq!(without(ids, &["external_id:a", "braze_id:b"]), expected);
        for (name, target) in [("braze_id", "braze_id:a"), ("email_address", "email:a")] {
            let request = json!({ name: "a" });
            assert_eq!(without(request.clone(), &["external_id:a"]), request);
            assert_eq!(without(request, &[target]), json!({ name: gone }));
        }
    }
}
