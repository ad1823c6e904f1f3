//! Forms, from plain to hostile, filled in by a person in a real browser: which events they make, exactly.
//!
//! Each is a file in `forms/`. The comment at its top says what a person does there and what is sent:
//!
//! - `type SELECTOR := TEXT`, `keys TEXT` (into what has the focus), `click SELECTOR`, `run SCRIPT`, `frame` (goes into
//!   the first frame); ` >>> ` in a selector goes into a shadow tree, `\n` in a text is the Enter key, `\b` the one that deletes, `\s` a space;
//! - `sends {"name", "properties", "identity": {TYPE: VALUE}}`: a `form_submit`; one line for each, none for none.

use crate::harness::browser::Kind;
use crate::harness::{Browser, Site, eventually, shared, until};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;

/// What every page has: the call that may come before the tracker, and the tracker.
fn tracker(site: &Site) -> String {
    format!(
        "<script>window.wingbeat = function () {{ (wingbeat.q = wingbeat.q || []).push(arguments) }}</script>{}",
        site.tag("")
    )
}

struct Fixture {
    name: String,
    html: String,
    steps: Vec<(String, String)>,
    sends: Vec<Value>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where")).join("src/forms");
    let files = fs::read_dir(folder).expect("the fixtures are there").map(|entry| entry.expect("an entry").path());
    let mut fixtures: Vec<Fixture> = files.map(|path| read(&path)).collect();
    fixtures.sort_by(|one, other| one.name.cmp(&other.name));
    fixtures
}

fn read(path: &Path) -> Fixture {
    let html = fs::read_to_string(path).expect("a fixture");
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let (mut steps, mut sends) = (Vec::new(), Vec::new());
    let script = html.strip_prefix("<!--").and_then(|rest| rest.split_once("-->")).map_or("", |(script, _)| script);
    for line in script.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "sends" => sends.push(serde_json::from_str(rest).unwrap_or_else(|error| panic!("{name}: {rest}: {error}"))),
            "type" | "keys" | "click" | "run" | "frame" => steps.push((word.to_owned(), rest.to_owned())),
            _ => {}
        }
    }
    Fixture { name, html, steps, sends }
}

/// A form's event as a fixture says it: what is not the same in every run.
fn told(event: &Value) -> Value {
    let mut told = Map::new();
    for member in ["name", "properties"] {
        if let Some(value) = event.get(member) {
            told.insert(member.to_owned(), value.clone());
        }
    }
    let mut identity = Map::new();
    for claim in event["identity"].as_array().into_iter().flatten() {
        assert_eq!(claim["from"], "form", "{event}");
        identity.insert(claim["type"].as_str().expect("a type").to_owned(), claim["value"].clone());
    }
    if !identity.is_empty() {
        told.insert("identity".to_owned(), Value::Object(identity));
    }
    assert!(event["human"].is_string(), "a person did it: {event}");
    Value::Object(told)
}

/// The forms that were sent from pages of this name.
fn sent(site: &Site, name: &str) -> Vec<Value> {
    let of_page = |event: &Value| {
        let path = event["url"].as_str().unwrap_or_default().strip_prefix(&format!("{}/forms/", site.origin));
        path.is_some_and(|path| path == name || path == format!("{name}_inside"))
    };
    site.events().iter().filter(|event| event["kind"] == "form_submit" && of_page(event)).map(told).collect()
}

fn fill_in(site: &Site, browser: &Browser, fixture: &Fixture) {
    let name = &fixture.name;
    let text = |text: &str| text.replace("\\n", "\u{e007}").replace("\\b", "\u{e003}").replace("\\s", " ");
    browser.go(&format!("{}/forms/{name}", site.origin));
    if fixture.steps.iter().any(|(step, _)| step == "frame") {
        browser.enter_frame();
    }
    let page = browser.run("return location.href");
    let views = |event: &Value| event["kind"] == "page_view" && event["url"] == page;
    until(&format!("{name} is viewed"), || site.events().iter().any(views));
    for (step, rest) in &fixture.steps {
        match step.as_str() {
            "type" => {
                let (selector, typed) = rest.split_once(" := ").unwrap_or_else(|| panic!("{name}: {rest}"));
                browser.type_into(selector, &text(typed));
            }
            "keys" => browser.type_text(&text(rest)),
            "click" => browser.click(rest),
            "run" => _ = browser.run(rest),
            _ => {}
        }
    }
    // On whichever page the form has led to, or is leading to.
    let after = format!("return window.wingbeat && (wingbeat('event', {{ name: 'after {name}' }}), true)");
    until(&format!("the page after {name}"), || browser.try_run(&after) == Some(true.into()));
    site.heard_of(&format!("after {name}"));
    let expected = fixture.sends.len();
    until(&format!("{name} sends {expected}"), || sent(site, name).len() >= expected);
    assert_eq!(sent(site, name), fixture.sends, "{name}");
}

fn all_forms(kind: Kind) -> bool {
    let Some(browser) = Browser::open_as(kind, &json!({})) else { return false };
    let site = Site::new(shared());
    site.put("/thanks", &format!("<!doctype html><title>Thanks</title>{}<p>Thanks</p>", tracker(&site)));
    let mut fixtures = fixtures();
    for fixture in &fixtures {
        site.put(&format!("/forms/{}", fixture.name), &fixture.html.replace("{{tracker}}", &tracker(&site)));
    }
    // The page within a frame is part of another's.
    fixtures.retain(|fixture| !fixture.name.ends_with("_inside"));
    assert!(fixtures.len() > 25, "{}", fixtures.len());
    for fixture in &fixtures {
        fill_in(&site, &browser, fixture);
    }
    // Nothing came late, and the Worker took all of it.
    for fixture in &fixtures {
        assert_eq!(sent(&site, &fixture.name), fixture.sends, "{}", fixture.name);
    }
    assert_eq!(site.rejected(), [] as [Value; 0]);
    let found = eventually("the Worker knows who it was", || shared().find("email:ada@example.com"));
    assert_eq!(found["identified"], true, "{found}");
    true
}

#[test]
fn in_chromium() {
    assert!(all_forms(Kind::Chromium));
}

#[test]
fn in_firefox() {
    if !all_forms(Kind::Firefox) {
        // Past the test runner, which shows nothing of a test that passes.
        let _ = writeln!(std::io::stderr(), "forms::in_firefox: SKIPPED, FIREFOX and GECKODRIVER are not set");
    }
}
