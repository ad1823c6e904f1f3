//! What two models differ in.

use serde::Serialize;
use serde_json::{Map, Value};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: steps from the root, lists by slug or id.
    pub place: String,
    /// What it was; `None` if it is new.
    pub before: Option<String>,
    /// What it is; `None` if it has gone.
    pub after: Option<String>,
}

/// Everything that two models differ in, in the order of the new one.
#[must_use]
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(place: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => fields(place, before, after, found),
        (Value::Array(before), Value::Array(after)) => {
            if let (Some(before_by), Some(after_by)) = (by_name(before), by_name(after)) {
                fields(place, &before_by, &after_by, found);
                let kept = |list: &Map<String, Value>, other: &Map<String, Value>| {
                    list.keys().filter(|name| other.contains_key(*name)).cloned().collect::<Vec<_>>()
                };
                // The order of rules, tags and stages means something.
                let (was, is) = (kept(&before_by, &after_by), kept(&after_by, &before_by));
                if was != is {
                    let place = format!("{place} (order)");
                    found.push(Difference { place, before: Some(was.join(", ")), after: Some(is.join(", ")) });
                }
            } else if before != after {
                found.push(changed(place, Some(&Value::Array(before.clone())), Some(&Value::Array(after.clone()))));
            }
        }
        _ if before != after => found.push(changed(place, Some(before), Some(after))),
        _ => {}
    }
}

fn fields(place: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<Difference>) {
    let at = |name: &String| if place.is_empty() { name.clone() } else { format!("{place}/{name}") };
    for (name, value) in after {
        match before.get(name) {
            Some(was) => compare(&at(name), was, value, found),
            None => found.push(changed(&at(name), None, Some(value))),
        }
    }
    for (name, value) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        found.push(changed(&at(name), Some(value), None));
    }
}

fn changed(place: &str, before: Option<&Value>, after: Option<&Value>) -> Difference {
    Difference { place: place.to_owned(), before: before.map(Value::to_string), after: after.map(Value::to_string) }
}

/// A list of things that have a slug or an id, by that.
fn by_name(list: &[Value]) -> Option<Map<String, Value>> {
    let named = |value: &Value| {
        let name = value.get("slug").or_else(|| value.get("id"))?.as_str()?;
        Some((name.to_owned(), value.clone()))
    };
    list.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn things_are_found_by_their_names_wherever_they_stand() {
        let before = json!({ "scores": [{ "slug": "s", "cap": 5, "rules": [{ "id": "a", "points": 1 }, { "id": "b", "points": 2 }] }] });
        let after = json!({ "scores": [{ "slug": "s", "floor": 0, "rules": [{ "id": "c", "points": 4 }, { "id": "b", "points": 3 }] }] });
        let found: Vec<_> = differences(&before, &after).into_iter().map(|d| (d.place, d.before, d.after)).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("scores/s/floor".to_owned(), None, text("0")),
                ("scores/s/rules/c".to_owned(), None, text("{\"id\":\"c\",\"points\":4}")),
                ("scores/s/rules/b/points".to_owned(), text("2"), text("3")),
                ("scores/s/rules/a".to_owned(), text("{\"id\":\"a\",\"points\":1}"), None),
                ("scores/s/cap".to_owned(), text("5"), None),
            ]
        );
    }

    #[test]
    fn who_wrote_a_rule_and_its_words_of_order_are_differences() {
        let rule = |author: &str, tags: &[&str]| json!({ "rules": [{ "id": "a", "author": author, "tags": tags }] });
        let found = differences(&rule("Ada", &["web"]), &rule("Ben", &["web", "2026"]));
        let places: Vec<&str> = found.iter().map(|difference| difference.place.as_str()).collect();
        assert_eq!(places, ["rules/a/author", "rules/a/tags"]);
    }

    #[test]
    fn order_is_a_difference_and_nothing_is_none() {
        let (one, two) = (json!([{ "id": "a" }, { "id": "b" }]), json!([{ "id": "b" }, { "id": "a" }]));
        let found = differences(&json!({ "rules": one }), &json!({ "rules": two }));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].place.as_str(), found[0].after.as_deref()), ("rules (order)", Some("b, a")));
        assert_eq!(differences(&one, &one), []);
    }

    #[test]
    fn lists_of_plain_values_are_compared_whole() {
        let before = json!({ "any_of": ["/pricing", "/demo"], "none_of": ["/jobs"] });
        let after = json!({ "any_of": ["/pricing", "/plans"], "none_of": ["/jobs"] });
        let [Difference { place, before, after }] = differences(&before, &after).try_into().unwrap();
        assert_eq!(place, "any_of");
        assert_eq!(
            (before.unwrap(), after.unwrap()),
            (r#"["/pricing","/demo"]"#.into(), r#"["/pricing","/plans"]"#.into())
        );
    }
}
