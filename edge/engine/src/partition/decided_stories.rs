//! What is shown of decisions: what became of them, to whom they are about, and nothing from before an erasure.

use super::erasure::{Cut, Erasure};
use super::evidence_laws::check_evidence;
use super::message::{Ask, Message};
use super::read::{Looked, Target};
use super::view::Identity;
use super::{Partition, Reply};
use crate::event::{ClaimInput, FactInput, Source};
use crate::identity::generate::{inputs, record, small_policy};
use crate::identity::naive::{Input, naive};
use crate::identity::policy::Policy;
use crate::identity::{Decision, Trust};
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::scoring::Model;
use crate::store::native::Native;
use std::slice::from_ref;

const MERGED: &str = "active: a colleague has merged the two";
const SEPARATED: &str = "active: a colleague has separated the two";
const OVERRULED: &str = "undone: a later decision says otherwise";

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"wingbeat test deployment key 32b")
}

fn id(key_type: KeyType, value: &str) -> Identifier {
    Identifier::new(key_type, "", value).unwrap()
}

fn email(name: &str) -> Identifier {
    id(KeyType::Email, &format!("{name}@example.com"))
}

fn profile(name: &str) -> Identifier {
    id(KeyType::BrazeId, &format!("profile-{name}"))
}

struct Story(Partition<Native>);

impl Story {
    fn new(policy: Policy) -> Story {
        let (model, slots) = (Model::parse(Model::SHIPPED).unwrap(), SlotMap { partitions: 1 });
        Story(Partition::open(Native::in_memory().unwrap(), (0, slots), deployment(), policy, model, 1).unwrap())
    }

    /// Each with a profile in Braze and an address, in the order of time.
    fn of(names: &[&str]) -> Story {
        let mut story = Story::new(Policy::default());
        for (at, name) in (1..).zip(names) {
            story.click(name, at);
        }
        story
    }

    fn click(&mut self, name: &str, at: i64) {
        let mut click = record(&profile(name), at, format!("click-{name}-{at}"));
        click.facts.push(FactInput { other: email(name), explicit: false });
        self.input(&Input::Record(click));
    }

    /// A page of a browser, on which somebody may say who they are.
    fn page(&mut self, browser: &Identifier, at: i64, claimed: Option<Identifier>) {
        let mut page = record(browser, at, format!("page-{at}"));
        page.claims.extend(claimed.map(|key| {
            let (trust, source, page) = (Trust::Medium, Source::Form, format!("p{at}"));
            ClaimInput { browser: browser.clone(), key, trust, source, page, human: true }
        }));
        self.input(&Input::Record(page));
    }

    fn input(&mut self, input: &Input) {
        let (now, key, ask) = match input {
            Input::Record(record) => (record.at, deployment().hash(&record.rec), Ask::Take(vec![record.clone()])),
            Input::Decision(decision) => {
                let (Decision::Merge { at, .. } | Decision::Separate { at, .. }) = decision;
                (*at, KeyHash([0; 16]), Ask::Decide(decision.clone()))
            }
        };
        self.tell(now, Message { key, ask });
    }

    fn tell(&mut self, now: i64, message: Message) {
        let replies = self.0.apply(now, vec![message]).unwrap().replies;
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Done { .. })), "{replies:?}");
    }

    fn merge(&mut self, at: i64, keep: &[Identifier], other: &[Identifier]) {
        let lifts = (keep.to_vec(), other.to_vec());
        let (keep, other) = (keep[0].clone(), other[0].clone());
        self.input(&Input::Decision(Decision::Merge { id: format!("m{at}"), at, keep, other, lifts }));
    }

    fn separate(&mut self, at: i64, left: &[Identifier], right: &[Identifier]) {
        let (left, right) = (left.to_vec(), right.to_vec());
        self.input(&Input::Decision(Decision::Separate { id: format!("s{at}"), at, left, right }));
    }

    fn identity(&self, target: Target) -> Identity {
        let Looked::Found(mut gathering) = self.0.identity(target).unwrap() else { panic!("nobody") };
        assert_eq!(gathering.questions(), [], "all is here");
        gathering.identity()
    }

    /// The decisions that somebody's identity shows.
    fn shown(&self, of: &Identifier) -> Vec<String> {
        let identity = self.identity(Target::key(deployment().hash(of)));
        let decisions = identity.evidence.into_iter().filter(|piece| piece.kind == "decision");
        let mut lines: Vec<_> = decisions
            .map(|piece| {
                let mut two = [piece.from.value, piece.to.value];
                two.sort();
                format!("{} {}: {}: {}", piece.id, two.join(" "), piece.state, piece.reason.unwrap())
            })
            .collect();
        lines.sort();
        lines
    }
}

/// The keys of somebody, the founder first: it happened under the profile, when the address was named, too.
fn keys(name: &str) -> [Identifier; 2] {
    [profile(name), email(name)]
}

#[test]
fn a_merge_that_went_with_another_is_shown_as_undone() {
    let mut story = Story::of(&["f", "e", "g"]);
    let all = |names: &[&str]| names.iter().flat_map(|name| keys(name)).collect::<Vec<_>>();
    story.merge(10, &all(&["f"]), &all(&["g"]));
    story.merge(11, &all(&["f", "g"]), &all(&["e"]));
    let both = [format!("d_m10 profile-f profile-g: {MERGED}"), format!("d_m11 profile-e profile-f: {MERGED}")];
    assert_eq!(story.shown(&email("g")), both);
    story.separate(12, &all(&["f"]), &all(&["e", "g"]));
    let first = format!("d_m10 profile-f profile-g: {OVERRULED}");
    let second = format!("d_m11 profile-e profile-f: {OVERRULED}");
    let apart = |two: &str| format!("d_s12 {two}: {SEPARATED}");
    assert_eq!(story.shown(&email("e")), [second.clone(), apart("profile-e profile-f")]);
    assert_eq!(story.shown(&email("g")), [first.clone(), second.clone(), apart("profile-f profile-g")]);
    assert_eq!(story.shown(&email("f")), [first, second, apart("profile-e profile-f")]);
}

#[test]
fn a_separation_is_shown_by_what_still_counts_of_it() {
    // Four addresses of one profile, which is A's.
    let mut story = Story::new(Policy::default());
    let [a, b, c, e] = ["a", "b", "c", "e"].map(email);
    for (at, other) in [(1, &a), (2, &b), (3, &c), (4, &e)] {
        let mut click = record(&profile("one"), at, format!("click-{at}"));
        click.facts.push(FactInput { other: other.clone(), explicit: false });
        story.input(&Input::Record(click));
        story.input(&Input::Record(record(other, at + 4, format!("mail-{at}"))));
    }
    story.separate(10, from_ref(&a), &[b.clone(), c.clone(), e.clone(), profile("one")]);
    story.separate(11, from_ref(&c), &[b.clone(), e.clone(), profile("one")]);
    story.merge(12, from_ref(&a), from_ref(&c));
    let others = ["b@example.com", "e@example.com", "profile-one"];
    for of in [&a, &b, &c, &e] {
        let lines = story.shown(of);
        let counts = |line: &String, side: &str| {
            line.contains(side) && line.ends_with(SEPARATED) && others.iter().any(|other| line.contains(other))
        };
        assert!(counts(&lines[lines.len() - 2], "d_s10 ") && lines[lines.len() - 2].contains("a@"), "{lines:?}");
        assert!(counts(&lines[lines.len() - 1], "d_s11 ") && lines[lines.len() - 1].contains("c@"), "{lines:?}");
    }
    assert_eq!(story.shown(&a)[0], format!("d_m12 a@example.com c@example.com: {MERGED}"));
    assert_eq!(story.shown(&b).len(), 2, "the merge is of others");
}

#[test]
fn a_merge_with_a_browser_is_one_decision_and_the_browser_shows_what_became_of_it() {
    let mut story = Story::of(&["e"]);
    let browsers = ["visitor-1", "visitor-2", "visitor-3"].map(|name| id(KeyType::Visitor, name));
    story.page(&browsers[0], 2, Some(email("e")));
    story.page(&browsers[1], 3, Some(email("e")));
    story.page(&browsers[2], 4, None);
    assert_eq!(story.shown(&browsers[2]), [""; 0]);
    let held = [keys("e").to_vec(), browsers[..2].to_vec()].concat();
    story.merge(10, &held, &browsers[2..]);
    assert_eq!(story.shown(&email("e")), [format!("d_m10 profile-e visitor-3: {MERGED}")]);

    story.separate(11, &browsers[2..], &keys("e"));
    let apart = [format!("d_m10 profile-e visitor-3: {OVERRULED}"), format!("d_s11 profile-e visitor-3: {SEPARATED}")];
    assert_eq!(story.shown(&browsers[2]), apart, "of the browser that is nobody's now");
    assert_eq!(story.shown(&email("e")), apart);
}

#[test]
fn of_somebody_who_was_erased_and_is_back_no_decision_from_before_is_shown() {
    let mut story = Story::of(&["e", "f", "g"]);
    let browser = id(KeyType::Visitor, "visitor-1");
    story.page(&browser, 4, Some(email("e")));
    story.merge(10, &keys("e"), &keys("f"));
    story.separate(11, &keys("f"), &keys("e"));
    story.separate(12, from_ref(&browser), &keys("e"));
    story.merge(13, &keys("e"), &keys("g"));
    assert_eq!(story.shown(&email("e")).len(), 4);
    assert_eq!(story.shown(&browser).len(), 1);
    let erased = [keys("e"), keys("g")].concat().iter().map(|key| deployment().hash(key)).collect();
    let founder = deployment().hash(&profile("e"));
    let erasure = Erasure { founder, cut: Cut { at: 1_000, known: true }, keys: erased, completed: None };
    story.tell(1_000, Message { key: founder, ask: Ask::Erase(erasure) });
    for name in ["e", "g"] {
        story.click(name, 2_000);
    }
    story.page(&browser, 2_001, Some(email("e")));
    for of in [&email("e"), &email("f"), &email("g"), &browser] {
        assert_eq!(story.shown(of), [""; 0], "{of:?}");
    }
    story.merge(2_010, &keys("e"), &keys("f"));
    assert_eq!(story.shown(&email("e")), [format!("d_m2010 profile-e profile-f: {MERGED}")]);
}

#[test]
fn an_address_that_was_separated_can_be_decided_about_and_erased_though_nothing_happened_under_it() {
    let mut story = Story::of(&["e"]);
    let held = |story: &Story, of: &Identifier| {
        let looked = story.0.holdings(Target::key(deployment().hash(of)), "").unwrap();
        looked.found().map(|held| (held.founder, held.keys, held.is_somebody, held.last_decision))
    };
    let [profile, email] = keys("e");
    assert_eq!(held(&story, &email), Some((profile.clone(), vec![profile.clone(), email.clone()], true, None)));
    story.separate(10, from_ref(&email), from_ref(&profile));
    assert_eq!(held(&story, &email), Some((email.clone(), vec![email.clone()], false, Some(10))));
    assert_eq!(held(&story, &profile), Some((profile.clone(), vec![profile.clone()], true, Some(10))));
    // Nobody has such an id: no prospect ever had it.
    let by_id = story.0.holdings(Target::id(deployment().hash(&email)), "").unwrap();
    assert!(by_id.found().is_none());

    let key = deployment().hash(&email);
    let erasure = Erasure { founder: key, cut: Cut { at: 1_000, known: true }, keys: vec![key], completed: None };
    story.tell(1_000, Message { key, ask: Ask::Erase(erasure) });
    assert_eq!(held(&story, &email), None, "nobody knows any more what it was");
    assert_eq!(held(&story, &profile), Some((profile.clone(), vec![profile], true, Some(10))));
}

#[test]
fn the_law_of_evidence_notices_a_decision_that_is_missing_or_shown_as_another() {
    let (mut missing, mut altered) = (0, 0);
    for seed in 0..300 {
        let inputs = inputs(seed);
        let world = naive(&deployment(), &small_policy(), &inputs);
        let mut story = Story::new(small_policy());
        inputs.iter().for_each(|input| story.input(input));
        for prospect in world.prospects.values() {
            let identity = story.identity(Target::id(prospect.founder));
            let holds = |identity| check_evidence(&world, (&deployment(), &small_policy()), prospect, identity);
            let decisions = identity.evidence.iter().enumerate().filter(|(_, piece)| piece.kind == "decision");
            for (place, piece) in decisions {
                let mut other = identity.clone();
                other.evidence[place].state = if piece.state == "active" { "undone" } else { "active" };
                assert!(holds(other).is_err(), "seed {seed}: {piece:?} may be another");
                altered += 1;
                let mut fewer = identity.clone();
                fewer.evidence.remove(place);
                missing += usize::from(holds(fewer).is_err());
            }
            assert_eq!(holds(identity), Ok(()), "seed {seed}");
        }
    }
    assert!(altered > 100 && missing > 50, "{altered} shown, {missing} missed");
}
