//! The `wingbeat` command, run as people run it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs the command in the folder of its fixtures: exit code, output, errors.
fn wingbeat(args: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wingbeat"));
    command.args(args.split_whitespace()).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"));
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The output with every run of spaces as one.
fn plain(output: &str) -> Vec<String> {
    output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn check_names_every_mistake_with_its_place() {
    let (code, out, err) = wingbeat("check model.yaml draft.json");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(plain(&out)[0], "ok model.yaml 1 score, 1 tag, 2 stages");
    let (code, out, _) = wingbeat("check model.yaml bad.yaml");
    assert_eq!(code, 1);
    let lines = plain(&out);
    assert!(lines[0].starts_with("ok model.yaml"), "{out}");
    assert_eq!(lines[1], "wrong bad.yaml");
    assert!(lines[2].contains("/scores/0/half_life_day: unknown field; did you mean `half_life_days`?"), "{out}");
    assert!(
        lines[3].contains("/scores/0/rules/0/when/event: unknown kind of event `page_veiw`; did you mean `page_view`?")
    );
}

#[test]
fn tests_of_rules_pass_or_say_what_differs() {
    let (code, out, err) = wingbeat("test passing.yaml");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(plain(&out), ["ok passing.yaml 1 case", "1 case, 0 failed"]);
    let (code, out, _) = wingbeat("test passing.yaml failing.yaml");
    assert_eq!(code, 1);
    assert_eq!(
        plain(&out)[1..],
        [
            "failed failing.yaml 2 cases",
            "a mail is worth ten points",
            "at 23h 59m 59s 999ms, score interest: expected 10, found 4.665165",
            "at 23h 59m 59s 999ms, stage: expected \"mql\", found \"lead\"",
            "3 cases, 1 failed"
        ]
    );
}

#[test]
fn a_folder_of_tests_is_every_file_in_it() {
    let (code, out, _) = wingbeat("test ../rules");
    assert_eq!(code, 0);
    assert!(out.contains("../rules/limits.yaml"), "{out}");
}

/// A new folder, gone with its owner.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Folder {
        let path = std::env::temp_dir().join(format!("wingbeat-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(path.join(name), text).unwrap());
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_model_beside_its_tests_is_checked() {
    let test = "model: model.yaml\ncases: [{ name: a, expect: [{ at: 1d, score: 0 }] }]\n";
    let folder = Folder::new("beside", &[("model.yaml", "scores: [{ slug: s }]\n"), ("test.yaml", test)]);
    let run = || wingbeat(&format!("test {}", folder.0.display()));
    let (code, out, err) = run();
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("model.yaml 1 score, 0 tags") && out.ends_with("1 case, 0 failed\n"), "{out}");
    std::fs::write(folder.0.join("other.json"), r#"{"scores": [{"slug": "s", "capp": 1}]}"#).unwrap();
    let (code, out, _) = run();
    assert!(code == 1 && out.contains("/scores/0/capp: unknown field; did you mean `cap`?"), "{out}");
    std::fs::remove_file(folder.0.join("test.yaml")).unwrap();
    let (code, _, err) = run();
    assert!(code == 2 && err.contains("no tests"), "{err}");
}

#[test]
fn the_test_in_the_readme_passes_on_the_shipped_model() {
    let readme = include_str!("../../../README.md");
    let (_, behind) = readme.split_once("A test:\n\n```yaml\n").unwrap();
    let (sample, _) = behind.split_once("```").unwrap();
    let folder =
        Folder::new("readme", &[("model.yaml", include_str!("../src/scoring/shipped.json")), ("test.yaml", sample)]);
    let (code, out, err) = wingbeat(&format!("test {}", folder.0.display()));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.ends_with("1 case, 0 failed\n"), "{out}");
}

#[test]
fn what_cannot_be_done_ends_with_2_and_says_why() {
    for (args, word) in [
        ("check missing.yaml", "missing.yaml"),
        ("check", "required"),
        ("chek model.yaml", "unrecognized"),
        ("test model.yaml", "model.yaml"),
        ("replay bad.yaml events.ndjson", "half_life_day"),
        ("explain model.yaml events.ndjson --who ada", "email:ada@example.com"),
        ("explain model.yaml events.ndjson --who email:eve@example.com", "nobody"),
        ("explain model.yaml events.ndjson --who email:ada@example.com --score fit", "interest"),
        ("replay model.yaml events.ndjson --at soon", "no time"),
    ] {
        let (code, out, err) = wingbeat(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args}: {err}");
        assert!(err.contains(word), "{args}: {err}");
    }
}

/// The command over a file of its own.
fn wingbeat_over(command: &str, name: &str, text: &str) -> (i32, String, String) {
    let path = std::env::temp_dir().join(format!("wingbeat-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let (code, out, err) = wingbeat(&format!("{command} {}", path.display()));
    std::fs::remove_file(&path).unwrap();
    let folder = format!("{}", path.display());
    (code, out.replace(&folder, name), err.replace(&folder, name))
}

#[test]
fn a_field_named_twice_is_a_mistake_in_either_format() {
    let json = r#"{"scores": [{"slug": "s", "rules": [{"id": "r", "id": "q"}]}]}"#;
    let yaml = "scores: [{ slug: s }]\nname: a\nname: b\n";
    let in_json = "/scores/0/rules/0/id: is given twice in one object at line 1 column 52";
    let in_yaml = "/: `name` is given twice in one object at line 3 column 1";
    for (name, text, mistake) in [("twice.json", json, in_json), ("twice.yaml", yaml, in_yaml)] {
        let (code, out, _) = wingbeat_over("check", name, text);
        assert_eq!((code, plain(&out)), (1, vec![format!("wrong {name}"), mistake.to_owned()]));
        let (code, _, err) = wingbeat_over("diff model.yaml", name, text);
        assert!(code == 2 && err.contains("is given twice"), "{err}");
        let test = "model: { scores: [{ slug: s }] }\ncases: [{ name: a, expect: [{ at: 1d, score: 0 }] }]\n";
        let folder = Folder::new(name, &[(name, text), ("test.yaml", test)]);
        for command in ["check", "test"] {
            let (code, out, err) = wingbeat(&format!("{command} {}", folder.0.display()));
            assert_eq!((code, err.as_str(), plain(&out)[1].as_str()), (1, "", mistake), "{command}");
        }
    }
    let (code, _, err) = wingbeat_over("check", "none.json", "{\"scores\": ");
    assert!(code == 2 && err.contains("EOF"), "{err}");
}

#[test]
fn a_folder_of_models_is_every_model_in_it() {
    let test = "model: model.yaml\ncases: [{ name: a, expect: [{ at: 1d, score: 0 }] }]\n";
    let folder = Folder::new("models", &[("model.yaml", "scores: [{ slug: s }]\n"), ("test.yaml", test)]);
    let run = || wingbeat(&format!("check {}", folder.0.display()));
    let (code, out, err) = run();
    assert_eq!((code, err.as_str(), out.lines().count()), (0, "", 1), "{out}");
    std::fs::write(folder.0.join("other.yml"), "score: [{ slug: s }]\n").unwrap();
    let (code, out, _) = run();
    assert!(code == 1 && out.contains("/score: unknown field; did you mean `scores`?"), "{out}");
    ["model.yaml", "other.yml"].iter().for_each(|name| std::fs::remove_file(folder.0.join(name)).unwrap());
    let (code, _, err) = run();
    assert!(code == 2 && err.contains("no models"), "{err}");
}

#[test]
fn what_yaml_makes_of_a_word_is_said() {
    let rule =
        |id: &str| format!("scores: [{{ slug: s, rules: [{{ id: {id}, when: {{ event: custom }}, points: 1 }}] }}]\n");
    for (id, made) in [
        ("n", "not true or false; YAML has made `false`"),
        ("1e3", "not a number; YAML has made `1000.0`"),
        ("~", "not null; YAML has made `null`"),
    ] {
        let (code, out, _) = wingbeat_over("check", "word.yaml", &rule(id));
        assert!(
            code == 1
                && out.contains(&format!("/scores/0/rules/0/id: must be a text, {made} of it: put it into quotes")),
            "{out}"
        );
    }
    assert_eq!(wingbeat_over("check", "word.yaml", &rule("'n'")).0, 0);
}

#[test]
fn a_test_that_asks_nothing_is_none() {
    let model = "model: { scores: [{ slug: s }] }\n";
    for (cases, word) in [
        ("cases: []", "`cases` is empty"),
        ("cases: [{ name: nothing, expect: [] }]", "case `nothing`: `expect` is empty"),
        ("cases: [{ name: nothing, expect: [{ at: 1d }] }]", "case `nothing`: expects nothing at \"1d\""),
        (
            "cases: [{ name: many, events: [{ at: 1d, kind: custom, times: 100001 }], expect: [{ at: 1d, score: 0 }] }]",
            "case `many`: `times` must be a whole number up to 100000",
        ),
    ] {
        let (code, out, err) = wingbeat_over("test", "empty.yaml", &format!("{model}{cases}\n"));
        assert!(code == 2 && out.is_empty() && err.contains(word), "{cases}: {err}");
    }
    let (code, ..) = wingbeat_over(
        "test",
        "full.yaml",
        &format!("{model}cases: [{{ name: a, expect: [{{ at: 1d, next_change: null }}] }}]\n"),
    );
    assert_eq!(code, 0);
}

#[test]
fn replay_scores_everybody_once_at_the_newest_event() {
    let (code, out, err) = wingbeat("replay model.yaml events.ndjson");
    assert_eq!(code, 1, "an event was left out");
    assert!(err.contains("left out events.ndjson:6: unknown_kind"), "{err}");
    assert!(err.ends_with("1 event was left out\n"), "{err}");
    assert_eq!(
        plain(&out),
        [
            "person interest temperature stage tags",
            "bob@example.com 20 frozen mql",
            "ada@example.com 14.971161 cold lead pricing"
        ]
    );
    let (_, out, _) = wingbeat("replay model.yaml events.ndjson --json --at 2026-11-02T10:00:00Z --limit 1");
    let first: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&first["person"], &first["scores"]["interest"]["value"]), (&"bob@example.com".into(), &40.0.into()));
}

#[test]
fn replay_follows_one_person_event_by_event() {
    let (code, out, _) = wingbeat("replay model.yaml events.ndjson --who braze_id:5fbd99bac125ca40511f2cb1");
    assert_eq!(code, 1, "an event was left out");
    assert_eq!(
        plain(&out),
        [
            "ada@example.com",
            "at event interest temperature stage tags",
            "2026-11-02T09:00:00Z [Page view] /pricing 20 cold lead pricing",
            "2026-11-12T10:00:00Z [Email campaign engagement] Clicked in email Spring on https://shop.example/ 14.971161 cold lead pricing",
            "2026-11-12T10:00:00Z 14.971161 cold lead pricing",
        ]
    );
}

#[test]
fn explain_traces_every_point() {
    let (code, out, _) = wingbeat("explain model.yaml events.ndjson --who email:ada@example.com");
    assert_eq!(code, 1, "an event was left out");
    assert_eq!(
        plain(&out),
        [
            "ada@example.com interest 14.971161 at 2026-11-12T10:00:00Z",
            "at part rule points factor adds event",
            "2026-11-02T09:00:00Z rule pricing 20 0.498558 9.971161 [Page view] /pricing",
            "2026-11-12T10:00:00Z rule mail 5 1.000000 5 [Email campaign engagement] Clicked in email Spring on https://shop.example/",
        ]
    );
}

/// Somebody of whom it becomes known first what they do, and then that they are a customer already.
const TOLD: &str = r#"
{"id":"1","at":"2026-10-01T00:00:00Z","kind":"custom","name":"Trial","identity":[{"type":"email","value":"ada@example.com"}]}
{"id":"2","at":"2026-11-01T00:00:00Z","kind":"identify","properties":{"attributes":{"industry":"SaaS"}},"identity":[{"type":"email","value":"ada@example.com"}]}
{"id":"3","at":"2026-11-10T00:00:00Z","kind":"identify","properties":{"attributes":{"customer":true}},"identity":[{"type":"email","value":"ada@example.com"}]}
"#;
const FIT: &str = r#"
scores:
  - { slug: fit, kind: profile, rules: [{ id: saas, when: { attribute: industry, equals: SaaS }, points: 40 }] }
exclude: { any: [{ attribute: customer, equals: true }, { attribute: email_domain, equals: ourcompany.example }] }
"#;

#[test]
fn the_past_goes_by_what_was_known_then() {
    let test = "model: fit.yaml\nstart: 2026-10-01T00:00:00Z\ncases:\n  - name: as told\n    events:\n      \
        - { at: 0d, kind: custom, name: Trial }\n      \
        - { at: 31d, kind: identify, properties: { attributes: { industry: SaaS } } }\n      \
        - { at: 40d, kind: identify, properties: { attributes: { customer: true } } }\n    expect:\n      \
        - { at: 14d, score: 0 }\n      - { at: 35d, score: 40 }\n      - { at: 40d, scores: { fit: null } }\n  \
        - name: as given\n    attributes: { industry: { value: SaaS, at: 31d }, customer: { value: true, at: 40d } }\n    \
          events: [{ at: 35d, kind: identify, properties: { attributes: { customer: false, industry: Steel } } }]\n    \
          expect:\n      - { at: 14d, score: 0 }\n      - { at: 32d, score: 40 }\n      - { at: 35d, score: 0 }\n      \
          - { at: 40d, scores: { fit: null } }\n";
    let draft = FIT.replace("40 }", "50 }");
    let folder = Folder::new(
        "told",
        &[("fit.yaml", FIT), ("draft.yaml", &draft), ("told.ndjson", TOLD.trim_start()), ("test.yaml", test)],
    );
    let place = folder.0.display();
    let (code, out, err) = wingbeat(&format!("test {place}/test.yaml"));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let events = format!("{place}/told.ndjson --at");
    for (at, value, changed) in [
        ("2026-10-15T00:00:00Z", Some(0.0), 0),
        ("2026-11-05T00:00:00Z", Some(40.0), 1),
        ("2026-11-10T00:00:00Z", None, 0),
    ] {
        let (_, out, _) = wingbeat(&format!("replay {place}/fit.yaml {events} {at} --json"));
        let person: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&person["scores"]["fit"]["value"], person["excluded"].is_null()), (&value.into(), value.is_some()));
        let (_, out, _) = wingbeat(&format!("explain {place}/fit.yaml {events} {at} --who email:ada@example.com"));
        let shown = value.map_or("not scored (customer equals true)".to_owned(), |value| value.to_string());
        assert_eq!(plain(&out)[0], format!("ada@example.com fit {shown} at {at}"));
        let (_, out, _) = wingbeat(&format!("backtest {place}/fit.yaml {place}/draft.yaml {events} {at}"));
        assert!(out.contains(&format!(": {changed} would change")), "{at}: {out}");
    }
    let (_, out, _) = wingbeat(&format!("replay {place}/fit.yaml {place}/told.ndjson --who email:ada@example.com"));
    let lines = plain(&out);
    let ends = |line: usize, end: &str| assert!(lines[line].ends_with(end), "{end}: {out}");
    ends(2, "[Custom Event tracked] Trial 0 frozen");
    ends(3, "[Identify] email 40 frozen");
    ends(4, "[Identify] email - frozen");
}

#[test]
fn diff_finds_things_by_name() {
    let (code, out, _) = wingbeat("diff model.yaml draft.json");
    assert_eq!(code, 0);
    let lines = plain(&out);
    assert_eq!(lines[0], "+ scores/interest/cap 100");
    assert_eq!(lines[1], "~ scores/interest/rules/pricing/points 20 -> 35");
    assert!(lines[2].starts_with("- scores/interest/rules/trial {"), "{out}");
    assert_eq!(lines.len(), 3);
    assert_eq!(wingbeat("diff model.yaml draft.json --exit-code").0, 1);
    let (code, out, _) = wingbeat("diff model.yaml model.yaml --exit-code");
    assert_eq!((code, out.as_str()), (0, "no difference\n"));
}

#[test]
fn backtest_names_who_crosses_a_stage() {
    let (code, out, _) = wingbeat("backtest model.yaml draft.json events.ndjson --at 2026-11-02T10:00:00Z");
    assert_eq!(code, 1, "an event was left out");
    let lines = plain(&out);
    assert_eq!(lines[0], "2 people, 2 events: 2 would change");
    assert_eq!(lines[3], "interest before 2 19.942321 40 40 40 40 40");
    assert_eq!(lines[4], "interest after 2 0 34.899062 34.899062 34.899062 34.899062 34.899062");
    assert_eq!(lines[5..], ["", "stage mql", "+ ada@example.com", "- bob@example.com"]);
}

#[test]
fn what_a_machine_reads_is_json() {
    let read = |args: &str, expected: i32| {
        let (code, out, _) = wingbeat(args);
        assert_eq!(code, expected, "{args}: {out}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let difference = &read("diff model.yaml draft.json --json --exit-code", 1)["differences"][1];
    let expected =
        serde_json::json!({ "place": "scores/interest/rules/pricing/points", "before": "20", "after": "35" });
    assert_eq!(*difference, expected);
    let none = read("diff model.yaml model.yaml --json --exit-code", 0);
    assert_eq!(none, serde_json::json!({ "differences": [] }));
    // Events were left out.
    let explained = read("explain model.yaml events.ndjson --who email:ada@example.com --json", 1);
    assert_eq!(
        (&explained["person"], &explained["score"], &explained["value"], &explained["at"]),
        (&"ada@example.com".into(), &"interest".into(), &14.971_161.into(), &"2026-11-12T10:00:00Z".into())
    );
    let part = &explained["parts"][1];
    assert_eq!((&part["type"], &part["rule"], &part["contribution"]), (&"rule".into(), &"mail".into(), &5.0.into()));
    let tested = read("backtest model.yaml draft.json events.ndjson --at 2026-11-02T10:00:00Z --json", 1);
    assert_eq!(
        (&tested["people"], &tested["changed"], &tested["at"]),
        (&2.into(), &2.into(), &"2026-11-02T10:00:00Z".into())
    );
    assert_eq!(
        (&tested["stages"]["mql"]["in"], &tested["scores"]["interest"]["before"]["max"]),
        (&1.into(), &40.0.into())
    );
    let crossings = serde_json::json!({ "mql": { "in": ["ada@example.com"], "out": ["bob@example.com"] } });
    assert_eq!(tested["crossings"], crossings);
}

/// A line of `GET /api/exports/events`, and the one of `GET /api/exports/prospects` about the same person.
const EXPORTED: [&str; 2] = [
    r#"{"key":"gxsAAAGh-KQ5KWZtMjM4NjVQACFCm6J5kWst08doP4JxrQ","prospect":"p002_aaqufg5cpgiwwloty5ud7atrvu","ref":"glAAIUKbonmRay3Tx2g_gnGtgxsAAAGh-KQ5KWZtMjM4NjVQACFCm6J5kWst08doP4JxrQ","id":"m23865","at":"2026-11-20T11:07:54.537Z","kind":"page_view","name":"[Page view] n","url":"https://shop.example/pricing","source":"api","bot":null,"properties":{},"points":{"interest":20.0},"received_at":"2026-11-23T12:12:04.741Z","referrer":null,"event_type":null}"#,
    r#"{"id":"p002_aaqufg5cpgiwwloty5ud7atrvu","rev":2,"life_cycle":"active","merged_into":null,"identified":true,"email":"kim@example.com","identifiers":[{"type":"email","value":"kim@example.com","trust":"strong","source":"api"}],"scores":{"interest":{"value":16.1,"band":null}},"tags":[],"attributes":{"email_domain":{"value":"example.com","source":"api","at":"2026-11-20T11:07:54.537Z"}},"events":1}"#,
];

#[test]
fn what_a_deployment_holds_is_scored_as_it_comes() {
    let [event, prospect] = EXPORTED;
    // Among other events.
    let both = format!("{event}\n{}\n{prospect}\n", include_str!("cli/events.ndjson").lines().next().unwrap());
    let (code, out, err) = wingbeat_over("replay --at 2026-11-20T11:07:54.537Z model.yaml", "both.ndjson", &both);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines = plain(&out);
    assert_eq!(lines[1], "kim@example.com 20 cold lead pricing");
    assert!(lines[2].starts_with("ada@example.com ") && lines.len() == 3, "{out}");
    // The time of the question is that at which the newest came in.
    let (code, out, _) = wingbeat_over("explain model.yaml --who email:kim@example.com", "both.ndjson", &both);
    assert!(code == 0 && out.contains(" at 2026-11-23T12:12:04.741Z"), "{out}");
    let (_, out, _) = wingbeat_over("replay model.yaml --internal example.com", "both.ndjson", &both);
    assert_eq!(plain(&out)[1..], ["ada@example.com 0 frozen lead", "kim@example.com 0 frozen lead"]);
    let command = "explain model.yaml --who p002_aaqufg5cpgiwwloty5ud7atrvu --json";
    let (code, out, err) = wingbeat_over(command, "event.ndjson", &format!("{event}\n"));
    let explained: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &explained["parts"][0]["event"]), (0, &"m23865".into()));
    assert!(err.starts_with("note 1 of 1 prospects have no line of `/api/exports/prospects`"), "{err}");
    let wrong = event.replace(r#""kind":"page_view""#, r#""kind":"page-view""#);
    let (code, _, err) = wingbeat_over("replay model.yaml", "wrong.ndjson", &format!("{event}\n{wrong}\n"));
    assert!(code == 1 && err.contains("left out wrong.ndjson:2: there is no kind `page-view`"), "{err}");
}

/// Of 10,001 events the API scores the newest 8,751: the oldest go 1,250 at a time (`Policy::left_out`).
#[test]
fn of_too_many_exported_events_as_many_are_left_out_as_a_deployment_leaves_out() {
    let [event, _] = EXPORTED;
    // The key says the id, too: bytes of `[at, id, …]` in base64.
    let key = event.split('"').nth(3).unwrap();
    let bytes = data_encoding::BASE64URL_NOPAD.decode(key.as_bytes()).unwrap();
    let place = bytes.windows(6).position(|window| window == b"m23865").unwrap();
    let numbered = |n: usize| {
        let id = format!("m{n}");
        let mut bytes = bytes.clone();
        bytes[place..place + 6].copy_from_slice(id.as_bytes());
        event.replace(key, &data_encoding::BASE64URL_NOPAD.encode(&bytes)).replace("m23865", &id)
    };
    let events: Vec<String> = (10_000..20_001).map(numbered).collect();
    let command = "replay --at 2026-11-20T11:07:54.537Z model.yaml";
    let (code, out, _) = wingbeat_over(command, "many.ndjson", &events.join("\n"));
    assert_eq!((code, plain(&out)[1].split(' ').nth(1)), (0, Some((8_751 * 20).to_string().as_str())), "{out}");
    let command = "explain model.yaml --who p002_aaqufg5cpgiwwloty5ud7atrvu";
    let (_, out, err) = wingbeat_over(command, "many.ndjson", &events.join("\n"));
    assert!(format!("{out}{err}").contains("the newest 8751 are scored; 1250 older ones are not"), "{out}{err}");
}

#[test]
fn schema_is_one_json_document() {
    let (code, out, _) = wingbeat("schema");
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &schema["title"]), (0, &"Wingbeat scoring model".into()));
}

#[test]
fn events_may_come_from_the_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wingbeat"))
        .args(["replay", "model.yaml", "-", "--json"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let event =
        r#"{"at":1793613600000,"kind":"page_view","url":"/pricing","identity":[{"type":"visitor","value":"b"}]}"#;
    child.stdin.take().unwrap().write_all(event.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let person: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&person["person"], &person["tags"][0]), (&"visitor:b".into(), &"pricing".into()));
}

#[test]
fn colours_are_for_terminals_only() {
    let colours = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wingbeat"));
        command.args(["check", "model.yaml"]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli"));
        for known in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(known);
        }
        command.env(name, value).output().unwrap().stdout.contains(&0x1b)
    };
    assert!(!colours("CLICOLOR", "1"), "no terminal");
    assert!(colours("CLICOLOR_FORCE", "1"));
    assert!(!colours("NO_COLOR", "1"));
}
