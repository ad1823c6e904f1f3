//! `npm start`: what is there after it, what survives a second one, and that it leaves nothing behind.

use crate::harness::events::{Person, now, rfc3339};
use crate::harness::instance::{lives, new_folder, root, spawn};
use crate::harness::{Instance, shared, snapshot, until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_second_start_finds_the_same_people_secrets_and_ids() {
    let mut instance = Instance::start();
    let events = [Person::new("ada"), Person::new("ben")].map(|person| person.email_click(now()));
    instance.api().currents(&events);
    let at = rfc3339(now());
    let before = snapshot::of_everybody(instance.api(), &at);
    assert_eq!(before.len(), 2);
    let secrets = |instance: &Instance| {
        [instance.state().join("secrets.json"), root().join(".dev.vars")].map(|file| fs::read(file).expect("a file"))
    };
    let (first, runtime) = (secrets(&instance), instance.runtime());

    assert_eq!(instance.stop().and_then(|status| status.code()), Some(0), "ended as asked");
    assert!(!lives(runtime), "and the runtime with it");
    assert!(!instance.state().join("runtime.json").exists());
    instance.restart();

    assert_eq!(secrets(&instance), first);
    snapshot::assert_same(&snapshot::of_everybody(instance.api(), &at), &before);
    assert_eq!(instance.api().currents(&events)["duplicates"], 2, "what was stored before is known");
}

#[test]
fn a_state_keeps_the_number_of_partitions_that_it_was_made_with() {
    let partitions = |instance: &Instance| instance.api().try_get("/healthz").expect("an answer").expect(200);
    assert_eq!(partitions(&Instance::start())["partitions"], 4, "what a new state starts with");
    let mut instance = Instance::start_with_partitions(1);
    assert_eq!(partitions(&instance)["partitions"], 1);
    let person = Person::new("early");
    instance.api().currents(&[person.email_click(now())]);

    instance.stop();
    instance.restart();

    assert_eq!(partitions(&instance)["partitions"], 1, "the default of today is for new states");
    assert!(instance.api().find(&format!("email:{}", person.email)).is_some());
}

#[test]
fn instances_side_by_side_know_nothing_of_each_other() {
    let (one, other) = (shared(), Instance::start());
    let person = Person::new("only-in-one");
    one.currents(&[person.email_click(now())]);
    assert!(one.find(&format!("email:{}", person.email)).is_some());
    assert!(other.api().find(&format!("email:{}", person.email)).is_none());
    // The same person has another id in each: ids are keyed.
    other.api().currents(&[person.email_click(now())]);
    let id = |api: &crate::harness::Api| api.prospect(&format!("email:{}", person.email))["id"].clone();
    assert_ne!(id(one), id(other.api()));
}

#[test]
fn a_state_folder_is_its_owners_and_of_one_instance_only() {
    let instance = Instance::start();
    let mode = |path| fs::metadata(path).expect("it is there").permissions().mode() & 0o077;
    assert_eq!(mode(instance.state()), 0, "personal data is for its owner only");
    assert_eq!(mode(instance.state().join("secrets.json")), 0);
    assert_eq!(mode(root().join(".dev.vars")), 0);

    let folder = new_folder();
    let log = folder.path().join("log");
    let mut second = spawn(&instance.state(), &log);
    let status = second.wait().expect("it ends by itself");
    assert!(!status.success());
    let said = fs::read_to_string(log).expect("a log");
    assert!(said.contains("in use by another instance"), "{said}");
    assert_eq!(instance.api().try_get("/healthz").expect("an answer").status, 200, "the first goes on");
}

#[test]
fn the_command_ends_when_its_runtime_dies_and_says_so() {
    let mut instance = Instance::start();
    let status = instance.kill_9();
    assert!(!status.success());
    assert!(instance.log().contains("The runtime has ended"), "{}", instance.log());
}

#[test]
fn the_runtime_ends_when_the_command_is_killed() {
    let folder = new_folder();
    let state = folder.path().join("state");
    let mut command = spawn(&state, &folder.path().join("log"));
    let about = crate::harness::eventually("it starts", || {
        let about: Value = serde_json::from_slice(&fs::read(state.join("runtime.json")).ok()?).ok()?;
        Some(about)
    });
    let runtime = about["pid"]
        .as_i64()
        .and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?))
        .expect("a process");
    assert!(lives(runtime));
    command.kill().expect("kill -9 reaches it");
    command.wait().expect("it is dead");
    until("the runtime has ended, too", || !lives(runtime));
}

#[test]
fn the_demo_shop_is_there_with_the_tracker_in_it() {
    let api = shared();
    for (path, content_type) in [
        ("/demo/", "text/html"),
        ("/demo/pricing", "text/html"),
        ("/demo/contact", "text/html"),
        ("/demo/thanks", "text/html"),
        ("/demo/style.css", "text/css"),
        ("/demo/links.js", "text/javascript"),
        ("/wb.js", "text/javascript"),
    ] {
        let answer = api.try_get(path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.header("content-type").is_some_and(|found| found.starts_with(content_type)),
            "{path}: {:?}",
            answer.header("content-type")
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        if content_type == "text/html" {
            assert!(answer.text().contains(&format!("data-site=\"{}\"", api.tokens.site)), "{path}");
        }
    }
    let tracker = api.try_get("/wb.js").expect("an answer");
    assert_eq!(tracker.header("access-control-allow-origin"), Some("*"));
    // A form that is sent the ordinary way arrives at a page, too.
    let sent = api.send(
        "POST",
        "/demo/thanks",
        &[("content-type", "application/x-www-form-urlencoded")],
        Some(b"email=ada%40example.com"),
    );
    assert_eq!(sent.expect("an answer").status, 200);

    // Who comes by a link to the bare name is still known by what it carries.
    let bare = api.try_get("/demo?braze_id=made-up&utm_source=braze").expect("an answer");
    assert_eq!((bare.status, bare.header("location")), (307, Some("demo/?braze_id=made-up&utm_source=braze")));
}
