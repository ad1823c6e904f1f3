//! What servers with a token tell: events of their own, and what they know of a person, which rules may ask for.

use crate::harness::api::{Answer, items};
use crate::harness::events::{Person, now, rfc3339, uuid};
use crate::harness::{Api, Instance, shared, until};
use crate::write_back::change;
use serde_json::{Value, json};

/// A grade by what is known of somebody, a score from outside, and customers left out.
fn model() -> Value {
    json!({
        "scores": [
            { "slug": "engagement", "main": true, "rules": [
                { "id": "trial", "when": { "event": "custom", "property.plan": "pro" }, "points": 20 }] },
            { "slug": "fit", "kind": "profile", "bands": { "A": 60, "B": 40, "C": 0 }, "rules": [
                { "id": "saas", "when": { "attribute": "industry", "equals": "SaaS" }, "points": 40 },
                { "id": "large", "when": { "attribute": "employees", "gte": 100 }, "points": 30 }] },
            { "slug": "model", "kind": "external", "attribute": "likelihood" }],
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "model", "above": 70 }, "leave_below": 40 }],
        "exclude": { "any": [{ "attribute": "customer", "equals": true }] },
    })
}

fn start() -> Instance {
    let instance = Instance::start();
    assert_eq!(change(instance.api(), "PUT", "/api/model/draft", &model()).status, 200);
    assert_eq!(change(instance.api(), "POST", "/api/model/publish", &json!({})).expect(200)["version"], 2);
    instance
}

fn event(identity: &Value, more: &Value) -> Value {
    let mut event = json!({ "id": uuid(), "at": now(), "kind": "custom", "name": "Trial", "identity": identity });
    for (name, value) in more.as_object().expect("fields") {
        event[name] = value.clone();
    }
    event
}

fn email(person: &Person) -> Value {
    json!([{ "type": "email", "value": person.email }])
}

fn post(api: &Api, body: &Value) -> Answer {
    change(api, "POST", "/api/events", body)
}

fn patch(api: &Api, reference: &str, body: &Value) -> Answer {
    change(api, "PATCH", &format!("/api/prospects/{reference}"), body)
}

/// The band of the grade, the score from outside, and why somebody is left out.
fn scores(prospect: &Value) -> (Value, Value, Value) {
    let scores = &prospect["scores"];
    (scores["fit"]["band"].clone(), scores["model"]["value"].clone(), prospect["excluded"].clone())
}

/// A backend names whoever is logged in: what came before the second log-in of the same person is not all that counts.
#[test]
fn who_logs_in_again_after_somebody_else_is_who_they_are() {
    let api = shared();
    let [ada, ben] = ["ada", "ben"].map(Person::new);
    let (browser, start) = (uuid(), now() - 60_000);
    let browser = json!({ "type": "visitor", "value": browser });
    for (minute, person) in (0..).zip([&ada, &ben, &ada]) {
        let identity = json!([browser, { "type": "email", "value": person.email }]);
        post(api, &event(&identity, &json!({ "at": start + 10_000 * minute, "name": "Log-in" }))).expect(202);
        let view = json!({ "at": start + 10_000 * minute + 1_000, "name": "View" });
        post(api, &event(&json!([browser]), &view)).expect(202);
    }
    for (person, events) in [(&ada, 4), (&ben, 2)] {
        let by_email = format!("email:{}", person.email);
        until("each has what they did", || api.prospect(&by_email)["events"] == events);
    }
}

#[test]
fn events_of_ones_own_are_durable_before_they_are_acknowledged() {
    let mut instance = start();
    let people: Vec<Person> = (0..40).map(|n| Person::new(&format!("own{n}"))).collect();
    let sent: Vec<Value> =
        people.iter().map(|person| event(&email(person), &json!({ "properties": { "plan": "pro" } }))).collect();
    let answer = post(instance.api(), &json!({ "events": sent })).expect(202);
    assert_eq!(answer, json!({ "accepted": 40, "duplicates": 0, "rejected": [] }));
    instance.kill_9();
    instance.restart();
    let api = instance.api();
    for person in &people {
        let prospect = api.prospect(&format!("email:{}", person.email));
        assert_eq!((&prospect["events"], &prospect["scores"]["engagement"]["value"]), (&1.into(), &20.0.into()));
    }
    // All of it again, with one more and two that cannot be read: only these are named, by their place.
    let first = &people[0];
    let identity =
        json!([{ "type": "external_id", "value": first.external_id }, { "type": "email", "value": first.email }]);
    let one_more = event(
        &identity,
        &json!({ "at": rfc3339(now()), "url": "https://shop.example/?braze_id=5fbd99bac125ca40511f2cb1" }),
    );
    let mut again = sent;
    again.insert(3, event(&email(first), &json!({ "kind": "page-view" })));
    again.extend([one_more, json!({ "at": now(), "kind": "custom" })]);
    let answer = change(api, "POST", "/api/events/batches", &json!({ "events": again })).expect(207);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&1.into(), &40.into()));
    let rejected: Vec<(Value, Value)> = items(&answer["rejected"])
        .iter()
        .map(|rejected| (rejected["index"].clone(), rejected["reason"].clone()))
        .collect();
    assert_eq!(rejected, [(json!(3), json!("unknown_kind")), (json!(42), json!("missing_field"))]);
    // A server's word joins what it names.
    let joined = api.prospect(&format!("external_id:{}", first.external_id));
    assert_eq!((&joined["email"], &joined["events"]), (&first.email.as_str().into(), &2.into()));
    let newest = &api.timeline(&format!("email:{}", first.email))[0];
    assert_eq!((&newest["source"], &newest["url"]), (&json!("api"), &json!("https://shop.example/")));
    assert_eq!(newest["name"], "[Custom Event tracked] Trial");
}

#[test]
fn an_event_without_an_id_is_itself_when_it_comes_again() {
    let instance = start();
    let api = instance.api();
    let person = Person::new("again");
    let mut single = event(&email(&person), &json!({}));
    single.as_object_mut().expect("fields").remove("id");
    assert_eq!(post(api, &single).expect(202)["accepted"], 1);
    assert_eq!(post(api, &json!({ "events": [single] })).expect(202)["duplicates"], 1);
    let unreadable = post(api, &json!({ "kind": "custom" })).expect(207);
    assert_eq!((&unreadable["accepted"], &unreadable["rejected"][0]["index"]), (&0.into(), &0.into()));
    for (body, code, path) in [
        (json!([]), "invalid_json", Value::Null),
        (json!({ "events": {} }), "invalid_field", json!("/events")),
        (json!({ "events": [] }), "invalid_field", json!("/events")),
    ] {
        let error = post(api, &body).error(400);
        assert_eq!((&error["code"], &error["path"]), (&json!(code), &path), "{body}");
    }
    let token = format!("Bearer {}", api.tokens.admin);
    let send = |body: &[u8], headers: &[(&str, &str)]| api.send("POST", "/api/events", headers, Some(body));
    let large = vec![b' '; 8 * 1024 * 1024 + 1];
    let large = send(&large, &[("authorization", &token)]).expect("an answer");
    assert_eq!(large.error(413)["code"], "too_large");
    assert_eq!(send(b"{}", &[]).expect("an answer").error(401)["code"], "unauthorized");
    assert_eq!(change(api, "POST", "/api/events?dry_run=1", &single).error(400)["path"], "/dry_run");
}

#[test]
fn a_token_for_events_sends_events_and_no_more_and_one_that_writes_says_what_is_known() {
    let instance = start();
    let api = instance.api();
    let make = |wanted: Value| {
        let made = change(api, "POST", "/api/tokens", &wanted).expect(201);
        format!("Bearer {}", made["token"].as_str().expect("a token"))
    };
    let events = make(json!({ "scopes": ["events"], "workspace": "brand-b" }));
    let (write, read) = (make(json!({ "scopes": ["write"] })), make(json!({ "scopes": ["read"] })));
    let person = Person::new("scopes");
    let identity =
        json!([{ "type": "external_id", "value": person.external_id }, { "type": "email", "value": person.email }]);
    let event = event(&identity, &json!({})).to_string();
    let send = |token: &str, method: &str, path: &str, body: &str| {
        api.send(method, path, &[("authorization", token)], Some(body.as_bytes())).expect("an answer").status
    };
    for (token, expected) in [(&events, 202), (&write, 403), (&read, 403)] {
        assert_eq!(send(token, "POST", "/api/events", &event), expected);
    }
    let path = format!("/api/prospects/email:{}", person.email);
    for (token, expected) in [(&write, 200), (&events, 403), (&read, 403)] {
        assert_eq!(send(token, "PATCH", &path, r#"{"favorite": true}"#), expected);
    }
    // The token's workspace is that of the ids that it sends.
    let elsewhere = api.prospect(&format!("external_id@brand-b:{}", person.external_id));
    assert_eq!(elsewhere["favorite"], true);
    assert_eq!(api.find(&format!("external_id:{}", person.external_id)), None);
}

#[test]
fn what_is_known_of_a_person_is_scored_at_once_and_outlives_a_crash() {
    let mut instance = start();
    let person = Person::new("known");
    let by_email = format!("email:{}", person.email);
    let api = instance.api();
    assert_eq!(patch(api, &by_email, &json!({ "favorite": true })).error(404)["code"], "not_found");
    post(api, &event(&email(&person), &json!({}))).expect(202);
    let before = api.prospect(&by_email);
    assert_eq!(scores(&before), (json!("C"), json!(0.0), Value::Null));
    let (_, cursor) = crate::changes::read(api, "");

    let told = json!({ "first_name": "Ada", "company": "Engines", "owner_email": "Rep@Example.com", "favorite": true,
        "attributes": { "industry": "saas", "employees": 250, "likelihood": 72.5, "interests": ["tea", 7] } });
    let after = patch(api, &by_email, &told).expect(200);
    assert_eq!(scores(&after), (json!("A"), json!(72.5), Value::Null));
    for (field, expected) in [
        ("first_name", json!("Ada")),
        ("company", json!("Engines")),
        ("favorite", json!(true)),
        ("last_name", Value::Null),
    ] {
        assert_eq!(after[field], expected, "{field}");
    }
    assert_eq!(after["owner_email"], "rep@example.com");
    let industry = &after["attributes"]["industry"];
    assert_eq!((&industry["value"], &industry["source"]), (&json!("saas"), &json!("api")));
    assert_eq!(after["attributes"]["interests"]["value"], json!(["tea", 7]));
    let (changes, _) = crate::changes::read(api, &cursor);
    let of = |name: &str| changes.iter().filter(|line| line["type"] == name).collect::<Vec<_>>();
    let (changed, reached) = (of("prospect.changed"), of("stage.reached"));
    assert_eq!((changed.len(), &changed[0]["prospect"]["rev"]), (1, &after["rev"]), "one line of the feed");
    assert_eq!((&after["stage"], reached.len(), &reached[0]["stage"]), (&json!("mql"), 1, &json!("mql")));
    let why = api.read(&format!("/api/prospects/{by_email}/explanation?score=fit"));
    let set = &api.read(&format!("/api/prospects/{by_email}/explanation?score=model"))["parts"][0];
    assert_eq!((&set["type"], &set["name"], &set["contribution"]), (&json!("external"), &json!("api"), &json!(72.5)));
    let rules: Vec<&Value> = why["parts"].as_array().expect("parts").iter().map(|part| &part["rule"]).collect();
    assert_eq!(rules, ["saas", "large"]);

    instance.kill_9();
    instance.restart();
    let api = instance.api();
    assert_eq!(api.prospect(&by_email), after, "it was on disk");
    // What is no longer true is taken away; who has become a customer is not scored.
    let gone = patch(api, &by_email, &json!({ "company": null, "attributes": { "employees": null } })).expect(200);
    assert_eq!((scores(&gone).0, &gone["company"]), (json!("B"), &Value::Null));
    let by_id = after["id"].as_str().expect("an id");
    let customer = patch(api, by_id, &json!({ "attributes": { "customer": true } })).expect(200);
    assert_eq!(scores(&customer), (Value::Null, Value::Null, json!("customer equals true")));
    assert!(customer["attributes"].get("employees").is_none(), "{customer}");
    assert_eq!(patch(api, by_id, &json!({})).expect(200), customer, "nothing to change, nothing changed");
    let reason = api.read(&format!("/api/prospects/{by_email}/explanation?score=fit"));
    assert_eq!((&reason["value"], &reason["excluded"]), (&Value::Null, &json!("customer equals true")));
    // As it was: what has been said since does not count.
    let then = after["attributes"]["industry"]["at"].as_str().expect("a time");
    let why = api.read(&format!("/api/prospects/{by_email}/explanation?score=fit&at={then}"));
    assert_eq!(why["value"], 70.0);
}

#[test]
fn a_number_that_no_score_can_be_and_a_field_that_nobody_knows_are_refused_with_their_place() {
    let instance = start();
    let api = instance.api();
    let person = Person::new("beyond");
    let by_email = format!("email:{}", person.email);
    let score =
        |told: Value| event(&email(&person), &json!({ "kind": "identify", "properties": { "attributes": told } }));
    let answer = post(
        api,
        &json!({ "events": [
        score(json!({ "likelihood": 1e308 })),
        score(json!({ "likelihood": 1e9, "revenue": 1e12 })),
        event(&email(&person), &json!({ "naem": "Trial" })),
    ] }),
    )
    .expect(207);
    let detail = "`properties.attributes.likelihood`: is a score: it must be a number from -1000000000 to 1000000000";
    let unknown = "`naem`: unknown field; did you mean `name`?";
    let rejected = json!([
        { "index": 0, "reason": "invalid_event", "detail": detail },
        { "index": 2, "reason": "invalid_event", "detail": unknown },
    ]);
    assert_eq!(answer, json!({ "accepted": 1, "duplicates": 0, "rejected": rejected }));
    let told = |value: Value| patch(api, &by_email, &json!({ "attributes": { "likelihood": value, "revenue": 1e12 } }));
    let error = told(json!("-2e9")).error(400);
    assert_eq!((&error["code"], &error["path"]), (&json!("invalid_field"), &json!("/attributes/likelihood")));
    assert_eq!(scores(&api.prospect(&by_email)).1, 1e9);
    assert_eq!(scores(&told(json!(-1e9)).expect(200)).1, -1e9);
    let error = post(api, &json!({ "events": [], "event": [] })).error(400);
    assert_eq!((&error["code"], &error["path"]), (&json!("invalid_field"), &json!("/event")));
}

#[test]
fn the_same_call_again_says_nothing_new() {
    let instance = start();
    let api = instance.api();
    let person = Person::new("once");
    let by_email = format!("email:{}", person.email);
    post(api, &event(&email(&person), &json!({}))).expect(202);
    let token = format!("Bearer {}", api.tokens.admin);
    let send = |key: &str, body: &Value| {
        let headers = [("authorization", token.as_str()), ("idempotency-key", key)];
        let path = format!("/api/prospects/{by_email}");
        api.send("PATCH", &path, &headers, Some(body.to_string().as_bytes())).expect("an answer")
    };
    let (key, other) = (uuid(), uuid());
    let said = json!({ "attributes": { "industry": "SaaS" } });
    let first = send(&key, &said).expect(200);
    let later = send(&other, &json!({ "attributes": { "industry": "Steel" } })).expect(200);
    assert_eq!((&first["events"], &later["events"]), (&2.into(), &3.into()));
    assert_eq!(send(&key, &said).expect(200), later, "a retry that comes late does not bring back what was");
    assert_eq!(send(&key, &json!({ "favorite": true })).error(422)["code"], "conflict");
}

#[test]
fn what_is_known_goes_with_the_key_it_was_told_of() {
    let instance = start();
    let api = instance.api();
    let (one, other) = (Person::new("one"), Person::new("other"));
    let visitor = uuid();
    api.collect(&visitor, &[crate::harness::events::page_view(now(), "https://shop.example/")]);
    let anonymous =
        patch(api, &format!("visitor:{visitor}"), &json!({ "attributes": { "industry": "SaaS" } })).expect(200);
    assert_eq!(scores(&anonymous).0, "B", "a browser nobody has claimed");
    for person in [&one, &other] {
        post(api, &event(&email(person), &json!({}))).expect(202);
    }
    let [by_one, by_other] = [&one, &other].map(|person| format!("email:{}", person.email));
    patch(api, &by_one, &json!({ "attributes": { "industry": "SaaS" } })).expect(200);
    let merge = json!({ "keep": by_one, "merge": [by_other] });
    change(api, "POST", "/api/prospects/merge", &merge).expect(200);
    patch(api, &by_other, &json!({ "attributes": { "employees": 250 } })).expect(200);
    assert_eq!(scores(&api.prospect(&by_one)).0, "A");
    let apart = json!({ "identifiers": [{ "type": "email", "value": other.email }] });
    change(api, "POST", &format!("/api/prospects/{by_one}/unmerge"), &apart).expect(200);
    let attributes = |reference: &str| {
        let prospect = api.prospect(reference);
        let names: Vec<String> = prospect["attributes"].as_object().expect("attributes").keys().cloned().collect();
        names
    };
    assert_eq!(attributes(&by_one), ["email_domain", "industry"]);
    assert_eq!(attributes(&by_other), ["email_domain", "employees"]);
    // Erased with the person.
    let erased = change(api, "DELETE", &format!("/api/prospects/{by_other}"), &Value::Null).expect(202);
    let receipt = format!("/api/erasures/{}", erased["erasure"].as_str().expect("an id"));
    crate::harness::until("the erasure is complete", || api.read(&receipt)["status"] == "completed");
    assert_eq!(patch(api, &by_other, &json!({ "favorite": true })).error(404)["code"], "not_found");
}

#[test]
fn what_cannot_be_set_is_refused_with_its_place() {
    let api = crate::harness::shared();
    let person = Person::new("refused");
    api.currents(&[person.email_click(now())]);
    let by_email = format!("email:{}", person.email);
    for (body, path) in [
        (json!({ "email": "eve@example.com" }), "/email"),
        (json!({ "favorite": 1 }), "/favorite"),
        (json!({ "attributes": { "braze.plan": "pro" } }), "/attributes/braze.plan"),
        (json!({ "attributes": { "deep": { "er": 1 } } }), "/attributes/deep"),
    ] {
        let error = patch(api, &by_email, &body).error(400);
        assert_eq!((&error["code"], &error["path"]), (&json!("invalid_field"), &json!(path)), "{body}");
    }
    assert_eq!(patch(api, &by_email, &json!([])).error(400)["code"], "invalid_json");
    assert_eq!(patch(api, "nobody", &json!({})).status, 404);
    let identify = json!({ "kind": "identify", "properties": { "attributes": { "sf.industry": "SaaS" } } });
    let rejected = post(api, &event(&email(&person), &identify)).expect(207);
    assert_eq!(rejected["rejected"][0]["reason"], "invalid_event");
    let identify = json!({ "kind": "identify", "properties": { "attributes": { "industry": "SaaS" } } });
    post(api, &event(&email(&person), &identify)).expect(202);
    assert_eq!(scores_of_shipped(&api.prospect(&by_email)), json!({ "value": 40.0, "band": "C" }));
}

fn scores_of_shipped(prospect: &Value) -> Value {
    prospect["scores"]["fit"].clone()
}

#[test]
fn an_account_is_its_people_together_wherever_they_lie() {
    let instance = Instance::start();
    let api = instance.api();
    let score =
        |slug: &str| json!({ "slug": slug, "kind": "external", "attribute": "likelihood", "account_aggregate": slug });
    let scores: Vec<Value> = ["max", "sum", "average", "top3_average"].into_iter().map(score).collect();
    let model = json!({ "scores": scores, "exclude": { "any": [{ "attribute": "customer", "equals": true }] } });
    assert_eq!(change(api, "PUT", "/api/model/draft", &model).status, 200);
    assert_eq!(change(api, "POST", "/api/model/publish", &json!({})).status, 200);
    let domain = format!("{}.example", uuid().split('-').next().expect("a part"));
    let path = format!("/api/accounts/{domain}");
    assert_eq!(api.get(&path).error(404)["code"], "not_found");
    let people: Vec<Person> = (0..5).map(|n| Person::at(&format!("person{n}"), &domain)).collect();
    for (person, value) in people.iter().zip([10.0, 20.5, 60.0, 0.1, 99.0]) {
        post(api, &event(&email(person), &json!({}))).expect(202);
        patch(api, &format!("email:{}", person.email), &json!({ "attributes": { "likelihood": value } })).expect(200);
    }
    let customer = format!("email:{}", people[4].email);
    patch(api, &customer, &json!({ "attributes": { "customer": true } })).expect(200);
    let values = || {
        let account = api.read(&path);
        ["max", "sum", "average", "top3_average"]
            .map(|slug| account["scores"][slug]["value"].as_f64().expect("a value"))
    };
    assert_eq!(values(), [60.0, 90.6, 22.65, 30.166_667]);
    let account = api.read(&format!("/api/accounts/{}", domain.to_uppercase()));
    assert_eq!((&account["people"], &account["excluded"], &account["account"]), (&json!(4), &json!(1), &json!(domain)));
    assert!(account["temperature"].is_string() && account["model_version"] == 2, "{account}");
    // It moves when one is erased.
    let erased = change(api, "DELETE", &format!("/api/prospects/email:{}", people[2].email), &Value::Null).expect(202);
    let receipt = format!("/api/erasures/{}", erased["erasure"].as_str().expect("an id"));
    crate::harness::until("the erasure is complete", || api.read(&receipt)["status"] == "completed");
    assert_eq!(values(), [20.5, 30.6, 10.2, 10.2]);
}
