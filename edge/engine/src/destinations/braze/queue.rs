//! Who waits to be looked up, who was found, and who Braze does not know: a negative answer is kept for a while, so that
//! nobody is asked for again and again.

use super::export::Profile;
use crate::destinations::retry::{BackOff, RECORD_ATTEMPTS_MAX};
use crate::store::{Row, Store, StoreError, Value};
use std::collections::{BTreeMap, BTreeSet};

const TABLES: &[&str] = &[
    // `due`: when to ask (again); NULL once there is nothing more to learn. `unknown`: how often in a row Braze did not
    // know it. `profile`: the target of the profile that answers to it. `answer`: of a profile's own target, what was last
    // learnt.
    "CREATE TABLE IF NOT EXISTS lookup (target TEXT PRIMARY KEY, prospect TEXT NOT NULL, state TEXT NOT NULL, due INTEGER,
       failures INTEGER NOT NULL, asked_at INTEGER NOT NULL, unknown INTEGER NOT NULL, profile TEXT, answer TEXT)
       STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS lookup_due ON lookup (due) WHERE due IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS lookup_prospect ON lookup (prospect)",
];
/// The state of a target that Braze does not know.
pub const UNKNOWN: &str = "unknown";
/// The state of a target that was not asked for yet.
pub const WAITING: &str = "waiting";
/// The state of a target whose calls were refused until it was given up for a while.
pub const FAILED: &str = "failed";

/// Somebody whom a feed has shown, and what they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'s> {
    /// Whose the target is.
    pub prospect: &'s str,
    /// Whether they did something, or something was said of who they are: Braze may know them by now.
    pub active: bool,
    /// ms.
    pub now: i64,
    /// Who was unknown to Braze and does something is asked for again after this, ms; then after twice that, and so on.
    pub again_ms: i64,
}

/// What is known of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// `waiting`, `found`, `no_email`, `unknown` or `failed`.
    pub state: String,
    /// The target of the profile that answers to it.
    pub profile: Option<String>,
}

impl Known {
    /// Whether Braze has no profile of that name, as far as is known. An external id is somebody's only once Braze has said
    /// so: what is written to one that nobody has is taken, and gone. A `braze_id` is Braze's own.
    #[must_use]
    pub fn is_absent(known: Option<&Known>, is_external: bool) -> bool {
        let Some(known) = known else { return is_external };
        // Who is asked for once more is who they were.
        known.state == UNKNOWN || is_external && known.profile.is_none() && [WAITING, FAILED].contains(&&*known.state)
    }
}

/// The queue of one connection.
pub struct LookUps<'s, S: Store>(pub &'s S);

impl<S: Store> LookUps<'_, S> {
    /// Makes its tables.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(&self) -> Result<(), StoreError> {
        TABLES.iter().try_for_each(|sql| self.0.exec(sql, &[]).map(drop))
    }

    /// Has somebody looked up, if that was not done before, or might have another answer by now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn want(&self, target: &str, seen: Seen<'_>) -> Result<(), StoreError> {
        let rows = self
            .0
            .query("SELECT state, due, asked_at, unknown FROM lookup WHERE target = ?", &[Value::from(target)])?;
        let Some(row) = rows.first() else {
            let sql = "INSERT INTO lookup VALUES (?, ?, 'waiting', ?, 0, 0, 0, NULL, NULL)";
            return self.0.exec(sql, &[target.into(), seen.prospect.into(), seen.now.into()]).map(drop);
        };
        if row.text(0)? != UNKNOWN || !seen.active || row.is_null(1) {
            return Ok(());
        }
        let doublings = u32::try_from(row.integer(3)? - 1).unwrap_or(0).min(40);
        let again = row.integer(2)?.saturating_add(seen.again_ms.saturating_mul(1 << doublings));
        let due = row.integer(1)?.min(again.max(seen.now));
        self.0.exec("UPDATE lookup SET due = ? WHERE target = ?", &[due.into(), Value::from(target)]).map(drop)
    }

    /// There is no need to ask for a target, or no more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn need_not(&self, target: &str) -> Result<(), StoreError> {
        self.0.exec("DELETE FROM lookup WHERE target = ? AND due IS NOT NULL", &[Value::from(target)]).map(drop)
    }

    /// Whose a target is from now on, if it is known.
    ///
    /// # Errors
    /// When the store fails.
    pub fn belongs(&self, target: &str, prospect: &str) -> Result<(), StoreError> {
        let sql = "UPDATE lookup SET prospect = ?1 WHERE target = ?2 AND prospect <> ?1";
        self.0.exec(sql, &[Value::from(prospect), Value::from(target)]).map(drop)
    }

    /// What is known of a target.
    ///
    /// # Errors
    /// When the store fails.
    pub fn known(&self, target: &str) -> Result<Option<Known>, StoreError> {
        let rows = self.0.query("SELECT state, profile FROM lookup WHERE target = ?", &[Value::from(target)])?;
        let read = |row: &Row| {
            let profile = if row.is_null(1) { None } else { Some(row.text(1)?.to_owned()) };
            Ok(Known { state: row.text(0)?.to_owned(), profile })
        };
        rows.first().map(read).transpose()
    }

    /// By which of its names a prospect has led to a profile, given by its own target.
    ///
    /// # Errors
    /// When the store fails.
    pub fn ways(&self, profile: &str, prospect: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT target FROM lookup WHERE prospect = ? AND profile = ? AND target <> profile";
        let rows = self.0.query(sql, &[Value::from(prospect), Value::from(profile)])?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// Forgets all of a prospect that was erased. Answers what it was known by.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(&self, prospect: &str) -> Result<Vec<String>, StoreError> {
        let rows = self.0.query("DELETE FROM lookup WHERE prospect = ? RETURNING target", &[Value::from(prospect)])?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// Forgets everybody: what was answered was another Braze account's word.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget_all(&self) -> Result<(), StoreError> {
        self.0.exec("DELETE FROM lookup", &[]).map(drop)
    }

    /// Whom to ask for now, who waits longest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn due(&self, now: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        self.due_of("1", now, limit)
    }

    /// Whom of those for whom a condition in SQL holds to ask for now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn due_of(&self, condition: &str, now: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        let limit = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
        // External ids first: their answers name Braze ids, which then need no call of their own.
        let sql = format!(
            "SELECT target FROM lookup WHERE due <= ? AND {condition}
             ORDER BY (target NOT LIKE 'external%'), due, target LIMIT ? + 0"
        );
        let rows = self.0.query(&sql, &[now.into(), limit])?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// When somebody is next to be asked for, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_due(&self) -> Result<Option<i64>, StoreError> {
        self.next_due_of("1")
    }

    /// When somebody for whom a condition in SQL holds is next to be asked for, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_due_of(&self, condition: &str) -> Result<Option<i64>, StoreError> {
        let sql = format!("SELECT due FROM lookup WHERE due IS NOT NULL AND {condition} ORDER BY due LIMIT 1");
        self.0.query(&sql, &[])?.first().map(|row| row.integer(0)).transpose()
    }

    /// Which of these profiles tell anything that they did not tell when they were last asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub fn news<'p>(&self, profiles: &'p [Profile]) -> Result<Vec<&'p Profile>, StoreError> {
        let mut news = Vec::new();
        for profile in profiles {
            let params = [Value::from(profile.own.as_str()), Value::from(profile.record.id.as_str())];
            if self.0.query("SELECT 1 FROM lookup WHERE target = ? AND answer = ?", &params)?.is_empty() {
                news.push(profile);
            }
        }
        Ok(news)
    }

    /// What came of asking for some: who has no e-mail, or is unknown to Braze, is asked for `again`, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn answered(&self, asked: &[String], known: &[Profile], again: i64, now: i64) -> Result<(), StoreError> {
        let mut named = BTreeSet::new();
        for profile in known {
            let (state, due) = if profile.has_email { ("found", None) } else { ("no_email", Some(again)) };
            let Some(asked) = asked.iter().find(|target| profile.targets.contains(*target)) else { continue };
            // The profile's own target keeps the answer, whether it was asked for or not; and an external id that the answer
            // names, which whoever was asked for is about to have, has been asked for by it. (An address has not: it may
            // lead to other profiles, too.)
            let sql = "INSERT INTO lookup SELECT ?1, prospect, 'waiting', NULL, 0, 0, 0, NULL, NULL FROM lookup
                       WHERE target = ?2 ON CONFLICT DO NOTHING";
            let is_external = |target: &&String| target.starts_with("external_id:");
            for target in profile.targets.iter().filter(is_external).chain([&profile.own]) {
                self.0.exec(sql, &[Value::from(target.as_str()), Value::from(asked.as_str())])?;
            }
            let sql = "UPDATE lookup SET answer = ? WHERE target = ?";
            self.0.exec(sql, &[Value::from(profile.record.id.as_str()), Value::from(profile.own.as_str())])?;
            for target in &profile.targets {
                named.insert(target.as_str());
                let sql = "UPDATE lookup SET state = ?, due = ?, failures = 0, asked_at = ?, unknown = 0, profile = ?
                           WHERE target = ?";
                let own = Value::from(profile.own.as_str());
                self.0.exec(sql, &[Value::from(state), due.into(), now.into(), own, Value::from(target.as_str())])?;
            }
        }
        let sql = "UPDATE lookup SET state = 'unknown', due = ?, failures = 0, asked_at = ?, unknown = unknown + 1,
                   profile = NULL, answer = NULL WHERE target = ?";
        asked.iter().filter(|target| !named.contains(target.as_str())).try_for_each(|target| {
            self.0.exec(sql, &[again.into(), now.into(), Value::from(target.as_str())]).map(drop)
        })
    }

    /// A call for one was refused, or fails by itself: it is tried later, and given up with `again` when that has happened
    /// [`RECORD_ATTEMPTS_MAX`] times.
    ///
    /// # Errors
    /// When the store fails.
    pub fn refused(&self, target: &str, back_off: BackOff, again: i64, now: i64) -> Result<(), StoreError> {
        let rows = self.0.query("SELECT failures FROM lookup WHERE target = ?", &[Value::from(target)])?;
        let failures = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        let failures = u32::try_from(failures).unwrap_or(u32::MAX).saturating_add(1);
        let given_up = failures >= RECORD_ATTEMPTS_MAX;
        let (state, due) = if given_up { (FAILED, again) } else { (WAITING, now + back_off.wait(failures, 0)) };
        let params = [Value::from(state), due.into(), i64::from(failures).into(), Value::from(target)];
        self.0.exec("UPDATE lookup SET state = ?, due = ?, failures = ? WHERE target = ?", &params).map(drop)
    }

    /// Asks for one no sooner than at a time, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put_off(&self, target: &str, due: i64) -> Result<(), StoreError> {
        let sql = "UPDATE lookup SET due = ? WHERE target = ? AND due IS NOT NULL";
        self.0.exec(sql, &[due.into(), Value::from(target)]).map(drop)
    }

    /// Asks for some again now, whom there is still something to learn of.
    ///
    /// # Errors
    /// When the store fails.
    pub fn try_again(&self, targets: &[String], now: i64) -> Result<(), StoreError> {
        let sql = "UPDATE lookup SET due = ?, failures = 0 WHERE target = ? AND due IS NOT NULL";
        targets.iter().try_for_each(|target| self.0.exec(sql, &[now.into(), Value::from(target.as_str())]).map(drop))
    }

    /// Asks for everybody again now whose calls were refused.
    ///
    /// # Errors
    /// When the store fails.
    pub fn try_refused_again(&self, now: i64) -> Result<(), StoreError> {
        let sql = "UPDATE lookup SET state = ?1, due = ?2, failures = 0 WHERE failures > 0";
        self.0.exec(sql, &[Value::from(WAITING), now.into()]).map(drop)
    }

    /// How many people have an id in which state: `waiting`, `found`, `no_email`, `unknown`, `failed`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self.0.query("SELECT state, count(DISTINCT prospect) FROM lookup GROUP BY state", &[])?;
        let read = |row: &Row| Ok((row.text(0)?.to_owned(), row.integer(1)?.unsigned_abs()));
        rows.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Record, Source};
    use crate::key::{Identifier, KeyType};
    use crate::kinds::Kind;
    use crate::store::native::Native;

    const SEEN: Seen<'_> = Seen { prospect: "p", active: false, now: 10, again_ms: 100 };

    /// A profile of which so much is known; its own target is the first.
    fn profile(targets: &[&str], has_email: bool, id: &str) -> Profile {
        let body = Body::bare(Kind::Other, String::new(), Source::BrazeExport);
        let rec = Identifier::new(KeyType::BrazeId, "", "b").unwrap();
        let record = Record { rec, at: 1, id: id.to_owned(), body, facts: Vec::new(), claims: Vec::new() };
        let own = targets[0].to_owned();
        Profile { own, targets: targets.iter().map(|target| (*target).to_owned()).collect(), has_email, record }
    }

    fn opened() -> Native {
        let store = Native::in_memory().unwrap();
        LookUps(&store).open().unwrap();
        store
    }

    fn owned(targets: &[&str]) -> Vec<String> {
        targets.iter().map(|target| (*target).to_owned()).collect()
    }

    #[test]
    fn everybody_is_asked_for_once_and_who_is_unknown_again_after_a_while() {
        let store = opened();
        let queue = LookUps(&store);
        for (prospect, target) in
            [("p1", "braze_id:1"), ("p1", "external_id:1"), ("p2", "external_id:2"), ("p3", "external_id:3")]
        {
            queue.want(target, Seen { prospect, ..SEEN }).unwrap();
        }
        let due = queue.due(10, 50).unwrap();
        assert_eq!(due, ["external_id:1", "external_id:2", "external_id:3", "braze_id:1"]);
        // The answer names the Braze ids: they need no call of their own.
        let known = [
            profile(&["braze_id:1", "external_id:1", "email:a@example.com"], true, "1"),
            profile(&["braze_id:2", "external_id:2"], false, "2"),
        ];
        queue.answered(&due[..3], &known, 1_000, 20).unwrap();
        assert_eq!(queue.due(999, 50).unwrap(), Vec::<String>::new());
        queue.want("external_id:3", Seen { prospect: "p3", now: 500, ..SEEN }).unwrap();
        assert_eq!(queue.next_due(), Ok(Some(1_000)), "a negative answer is kept");
        assert_eq!(queue.due(1_000, 50).unwrap(), ["external_id:2", "external_id:3", "braze_id:2"]);
        let counts = queue.counts().unwrap();
        assert_eq!(
            counts.into_iter().map(|(state, n)| format!("{state} {n}")).collect::<Vec<_>>(),
            ["found 1", "no_email 1", "unknown 1"]
        );
        let known = queue.known("external_id:2").unwrap().unwrap();
        assert_eq!((known.state.as_str(), known.profile.as_deref()), ("no_email", Some("braze_id:2")));
        assert_eq!(queue.known("external_id:3").unwrap().unwrap().profile, None);
        queue.need_not("external_id:2").unwrap();
        queue.need_not("external_id:1").unwrap();
        assert_eq!(queue.counts().unwrap().get("found"), Some(&1), "who was found stays found");
        assert_eq!(queue.due(1_000, 50).unwrap(), ["external_id:3", "braze_id:2"]);
    }

    #[test]
    fn an_external_id_that_an_answer_brought_is_not_asked_for_once_more() {
        let store = opened();
        let queue = LookUps(&store);
        queue.want("braze_id:1", SEEN).unwrap();
        let known = [profile(&["braze_id:1", "external_id:1", "email:a@example.com"], false, "1")];
        queue.answered(&owned(&["braze_id:1"]), &known, 1_000, 20).unwrap();
        // The feed shows what was learnt.
        for name in ["external_id:1", "braze_id:1"] {
            queue.want(name, Seen { active: true, now: 30, ..SEEN }).unwrap();
        }
        assert_eq!(queue.due(999, 50).unwrap(), Vec::<String>::new());
        assert_eq!(queue.due(1_000, 50).unwrap(), ["external_id:1", "braze_id:1"]);
        let known = queue.known("external_id:1").unwrap().unwrap();
        assert_eq!((known.state.as_str(), known.profile.as_deref()), ("no_email", Some("braze_id:1")));
        // By an address others may be found.
        queue.want("email:a@example.com", Seen { now: 40, ..SEEN }).unwrap();
        assert_eq!(queue.due(40, 50).unwrap(), ["email:a@example.com"]);
    }

    #[test]
    fn an_external_id_that_braze_does_not_know_hides_no_braze_id() {
        let store = opened();
        let queue = LookUps(&store);
        for target in ["external_id:stale", "braze_id:1"] {
            queue.want(target, SEEN).unwrap();
        }
        let due = queue.due(10, 50).unwrap();
        queue.answered(&due[..1], &[], 1_000, 20).unwrap();
        assert_eq!(queue.due(20, 50).unwrap(), ["braze_id:1"]);
    }

    #[test]
    fn who_was_unknown_and_does_something_is_asked_for_again_ever_more_rarely() {
        let store = opened();
        let queue = LookUps(&store);
        let asked = owned(&["external_id:1"]);
        queue.want(&asked[0], SEEN).unwrap();
        for (now, due) in [(1_000, 1_100), (2_000, 2_200), (3_000, 3_400)] {
            queue.answered(&asked, &[], 90_000, now).unwrap();
            queue.want(&asked[0], Seen { now, ..SEEN }).unwrap();
            assert_eq!(queue.next_due(), Ok(Some(90_000)), "nothing was done");
            queue.want(&asked[0], Seen { now, active: true, ..SEEN }).unwrap();
            assert_eq!(queue.next_due(), Ok(Some(due)));
        }
        queue.answered(&asked, &[], 3_500, 3_400).unwrap();
        queue.want(&asked[0], Seen { now: 3_450, active: true, ..SEEN }).unwrap();
        assert_eq!(queue.next_due(), Ok(Some(3_500)), "never later than it is asked for anyway");
    }

    #[test]
    fn an_answer_is_news_once() {
        let store = opened();
        let queue = LookUps(&store);
        let asked = owned(&["external_id:1"]);
        queue.want(&asked[0], SEEN).unwrap();
        let one = [profile(&["braze_id:1", "external_id:1"], false, "one")];
        let other = [profile(&["braze_id:1", "external_id:1"], false, "other")];
        for (profiles, is_news) in [(&one, true), (&one, false), (&other, true), (&other, false), (&one, true)] {
            assert_eq!(!queue.news(profiles).unwrap().is_empty(), is_news);
            queue.answered(&asked, profiles, 1_000, 20).unwrap();
        }
        // Found under its Braze id, it tells the same.
        queue.answered(&owned(&["braze_id:1"]), &one, 1_000, 20).unwrap();
        assert_eq!(queue.news(&one).unwrap(), Vec::<&Profile>::new());
        queue.forget("p").unwrap();
        assert_eq!(queue.news(&one).unwrap().len(), 1, "who was erased and is back is told of again");
    }

    #[test]
    fn who_is_erased_waits_no_more_under_any_name() {
        let store = opened();
        let queue = LookUps(&store);
        for target in ["external_id:1", "external_id:2", "email:a@example.com"] {
            queue.want(target, SEEN).unwrap();
        }
        queue.want("external_id:3", Seen { prospect: "q", ..SEEN }).unwrap();
        // The profile's own id is nobody else's.
        queue
            .answered(&owned(&["external_id:1"]), &[profile(&["braze_id:1", "external_id:1"], false, "1")], 99, 20)
            .unwrap();
        // One of them went into another prospect.
        queue.belongs("external_id:2", "q").unwrap();
        queue.belongs("external_id:9", "q").unwrap();
        assert_eq!(queue.forget("p").unwrap(), ["braze_id:1", "email:a@example.com", "external_id:1"]);
        assert_eq!(queue.due(1_000, 50).unwrap(), ["external_id:2", "external_id:3"]);
        // An answer that comes after that is nobody's.
        queue
            .answered(&owned(&["external_id:1"]), &[profile(&["braze_id:1", "external_id:1"], false, "1")], 99, 20)
            .unwrap();
        assert_eq!(queue.due(1_000, 50).unwrap(), ["external_id:2", "external_id:3"]);
    }

    #[test]
    fn an_external_id_is_absent_until_braze_has_named_its_profile() {
        let known = |state: &str, profile: Option<&str>| {
            Some(Known { state: state.to_owned(), profile: profile.map(str::to_owned) })
        };
        for (known, of_external, of_braze_id) in [
            (None, true, false),
            (known(WAITING, None), true, false),
            (known(FAILED, None), true, false),
            (known(UNKNOWN, None), true, true),
            (known(FAILED, Some("braze_id:1")), false, false),
            (known(WAITING, Some("braze_id:1")), false, false),
            (known("no_email", Some("braze_id:1")), false, false),
            (known("found", Some("braze_id:1")), false, false),
        ] {
            let absent = [true, false].map(|is_external| Known::is_absent(known.as_ref(), is_external));
            assert_eq!(absent, [of_external, of_braze_id], "{known:?}");
        }
    }

    #[test]
    fn who_cannot_be_asked_for_is_given_up_for_a_while() {
        let store = opened();
        let queue = LookUps(&store);
        queue.want("braze_id:x", Seen { now: 0, ..SEEN }).unwrap();
        let refused = |_| queue.refused("braze_id:x", BackOff { first_ms: 10, max_ms: 10 }, 9_999, 0).unwrap();
        (1..RECORD_ATTEMPTS_MAX).for_each(refused);
        assert_eq!((queue.next_due(), queue.counts().unwrap().get(WAITING)), (Ok(Some(10)), Some(&1)));
        refused(0);
        assert_eq!((queue.next_due(), queue.counts().unwrap().get(FAILED)), (Ok(Some(9_999)), Some(&1)));
        assert_eq!(queue.due(9_999, 50).unwrap(), ["braze_id:x"], "it is asked for again after a while");
        // Or when somebody says so: nobody else is asked for by that.
        let asked = owned(&["external_id:1"]);
        queue.want(&asked[0], SEEN).unwrap();
        queue.answered(&asked, &[], 5_000, 20).unwrap();
        queue.try_refused_again(30).unwrap();
        assert_eq!(queue.due(30, 50).unwrap(), ["braze_id:x"]);
        assert_eq!((queue.counts().unwrap().get(WAITING), queue.counts().unwrap().get(UNKNOWN)), (Some(&1), Some(&1)));
    }
}
