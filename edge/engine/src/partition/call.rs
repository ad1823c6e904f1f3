//! How a frontend calls a partition: the one place that knows both questions and answers (`answering` gives them). Bytes on
//! the way, so that the wire format is versioned by field numbers: old and new code run side by side while a deployment
//! rolls out.

use super::backtest::Backtest;
use super::company::Company;
use super::dead::{Kept, LetterId};
use super::erasure::Erasure;
use super::evidence::{Gathering, Question, Told};
use super::export::{Export, Exported, Stretch};
use super::feed;
use super::intake::{self, Batch, Hour};
use super::list::{List, Listed};
use super::message::Message;
use super::properties::Properties;
use super::read::explanation::PartsCursor;
use super::read::holdings::Holdings;
use super::read::{Position, Target};
use super::tally::Way;
use super::{Progress, Reply};
use crate::key::{KeyHash, SlotMap};
use crate::kinds::Kind;
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// A call, with the map of slots that its sender goes by: a partition that does not hold what is meant must not answer.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Envelope {
    /// Which partition is meant.
    #[n(0)]
    pub partition: u16,
    /// Of how many.
    #[n(1)]
    pub of: u16,
    /// What for.
    #[n(2)]
    pub call: Call,
    /// The version of that map: 0 at the first start of a deployment.
    #[cbor(n(3), default)]
    pub map: u64,
    /// The newest version of the model that the sender knows of; 0 of who knows none. A partition that is behind it
    /// answers [`Answer::Behind`] and nothing else.
    #[cbor(n(4), default)]
    pub model_version: u64,
}

/// Which partition one is, and by which map of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// Its number.
    #[n(0)]
    pub number: u16,
    /// Of how many.
    #[n(1)]
    pub of: u16,
    /// The version of the map: 0 at the first start of a deployment.
    #[cbor(n(2), default)]
    pub map: u64,
}

impl Place {
    /// How slots lie.
    #[must_use]
    pub fn slots(&self) -> SlotMap {
        SlotMap { partitions: self.of }
    }

    /// An envelope from here to another partition, which goes by whichever version of the model it knows: frontends see
    /// to it that it is the newest.
    #[must_use]
    pub fn envelope(&self, to: u16, call: Call) -> Envelope {
        Envelope { partition: to, of: self.of, map: self.map, call, model_version: 0 }
    }

    /// Whether all that a call means is here. By any map, a key is asked for where it is; the whole of a partition is
    /// another by another map.
    #[must_use]
    pub fn has(&self, envelope: &Envelope) -> bool {
        let holds = |key| self.slots().partition_of(key) == self.number;
        let same_map = (self.of, self.map) == (envelope.of, envelope.map);
        envelope.partition == self.number
            && match &envelope.call {
                Call::Apply(messages) => messages.iter().all(|message| holds(message.key)),
                // The object itself is meant.
                Call::Publish { .. } => true,
                Call::Ask(query) if matches!(**query, Query::Health) => true,
                Call::Backtest { .. } => same_map,
                Call::Ask(query) => query.keys().map_or(same_map, |keys| keys.into_iter().all(holds)),
            }
    }
}

impl Envelope {
    /// The place that is meant: a partition's own, from its first call on.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { number: self.partition, of: self.of, map: self.map }
    }
}

/// What a partition is called for.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Call {
    /// To apply messages; answered by [`Answer::Replies`] once they are durable.
    #[n(0)]
    Apply(#[n(0)] Vec<Message>),
    /// To read.
    #[n(1)]
    Ask(#[n(0)] Box<Query>),
    /// To go by a version of the model from now on; answered by how far that is ([`Answer::Recompute`]) once it is durable.
    #[n(2)]
    Publish {
        /// Which.
        #[n(0)]
        version: u64,
        /// As JSON.
        #[n(1)]
        model: String,
    },
    /// To begin a backtest; answered by [`Answer::Backtest`].
    #[n(3)]
    Backtest {
        /// The same for all partitions.
        #[n(0)]
        id: String,
        /// The time asked about, ms.
        #[n(1)]
        as_of: i64,
        /// As JSON.
        #[n(2)]
        draft: String,
    },
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Query {
    /// One prospect.
    #[n(0)]
    Prospect(#[n(0)] Target),
    /// Its activities, newest first.
    #[n(1)]
    Timeline {
        /// Whose.
        #[n(0)]
        target: Target,
        /// Only these.
        #[n(1)]
        kind: Option<Kind>,
        /// Only those before this time, ms.
        #[n(2)]
        before: Option<i64>,
        /// Where the page before ended.
        #[n(3)]
        behind: Option<Position>,
        /// 1 to 200.
        #[n(4)]
        limit: usize,
    },
    /// Why a score is what it is.
    #[n(2)]
    Explanation {
        /// Whose.
        #[n(0)]
        target: Target,
        /// Its slug; the main score if absent.
        #[n(1)]
        score: Option<String>,
        /// The time asked about, ms; now if absent.
        #[n(2)]
        at: Option<i64>,
        /// Where the answer before ended: then that says the time.
        #[n(3)]
        behind: Option<PartsCursor>,
    },
    /// Why these are one person.
    #[n(3)]
    Identity(#[n(0)] Target),
    /// The first prospects of a list.
    #[n(4)]
    List(#[n(0)] List),
    /// Records that could not be read, newest first: at most so many, behind a position.
    #[n(5)]
    DeadLetters(#[n(0)] usize, #[n(1)] Option<Position>),
    /// Whether it is well.
    #[n(6)]
    Health,
    /// What gathering an identity came to ask.
    #[n(7)]
    Evidence(#[n(0)] Vec<Question>),
    /// What a prospect holds, and what a decision was, if it was made before.
    #[n(8)]
    Holdings {
        /// Whose.
        #[n(0)]
        target: Target,
        /// The decision's id.
        #[n(1)]
        decision: String,
    },
    /// The receipt of an erasure that was ordered here: its id.
    #[n(9)]
    Erasure(#[n(0)] String),
    /// Receipts of erasures that were ordered here, newest first: at most so many, behind a time and id.
    #[n(43)]
    Erasures(#[n(0)] usize, #[n(1)] Option<(i64, String)>),
    /// Whether nothing of a key from before a time, ms, is left.
    #[n(10)]
    Erased {
        /// Which key.
        #[n(0)]
        target: Target,
        /// ms.
        #[n(1)]
        since: i64,
    },
    /// Which of these persons' keys are somebody's: heard of, and not erased since.
    #[n(41)]
    Known(#[n(0)] Vec<KeyHash>),
    /// What comes after a cursor of its feed.
    #[n(40)]
    Feed {
        /// `None`: everybody, then what changes.
        #[n(0)]
        cursor: Option<feed::Cursor>,
        /// About how many items at most.
        #[n(1)]
        limit: u32,
    },
    /// How far folding everybody by the newest version of the model is.
    #[n(11)]
    Recompute,
    /// The newest backtest.
    #[n(12)]
    Backtest,
    /// Who crosses a stage in it.
    #[n(13)]
    Crossings {
        /// Its slug.
        #[n(0)]
        stage: String,
        /// In or out.
        #[n(1)]
        way: Way,
        /// Where the page before ended; -1 for the first.
        #[n(2)]
        after: i64,
        /// 1 to 200.
        #[n(3)]
        limit: usize,
    },
    /// The names of properties.
    #[n(14)]
    Properties,
    /// What became of an event.
    #[n(15)]
    Event {
        /// Whose.
        #[n(0)]
        target: Target,
        /// Which.
        #[n(1)]
        position: Position,
    },
    /// How many people there are after a row (-1: before the first), up to so many, and where the feed stands.
    #[n(16)]
    Stretch(#[n(0)] i64, #[n(1)] u32),
    /// The next piece of an export.
    #[n(17)]
    Export(#[n(0)] Export),
    /// A record that could not be read, whole.
    #[n(30)]
    DeadLetter(#[n(0)] LetterId),
    /// What came from Currents, by type and hour.
    #[n(31)]
    Intake(#[n(0)] intake::Question),
    /// What was first asked by an `Idempotency-Key`: its keyed hash.
    #[n(35)]
    AskedOnce(#[n(0)] KeyHash),
    /// What the people of an account come to.
    #[n(36)]
    Company {
        /// A domain, in lower case.
        #[n(0)]
        domain: String,
        /// The time asked about, ms.
        #[n(1)]
        as_of: i64,
    },
}

impl Query {
    /// The keys whose owner is asked; `None` when the whole partition is.
    #[must_use]
    pub fn keys(&self) -> Option<Vec<KeyHash>> {
        match self {
            Query::Prospect(target)
            | Query::Timeline { target, .. }
            | Query::Explanation { target, .. }
            | Query::Identity(target)
            | Query::Erased { target, .. }
            | Query::Event { target, .. }
            | Query::Holdings { target, .. } => Some(vec![target.at]),
            Query::Evidence(questions) => Some(questions.iter().map(Question::at).collect()),
            Query::Known(keys) => Some(keys.clone()),
            Query::Erasure(id) => Erasure::parse_id(id).map(|(founder, _)| vec![founder]),
            Query::AskedOnce(key) => Some(vec![*key]),
            Query::DeadLetter(id) => Some(vec![id.key()]),
            Query::List(_)
            | Query::DeadLetters(..)
            | Query::Erasures(..)
            | Query::Intake(_)
            | Query::Health
            | Query::Recompute
            | Query::Backtest
            | Query::Crossings { .. }
            | Query::Properties
            | Query::Company { .. }
            | Query::Stretch(..)
            | Query::Export(_)
            | Query::Feed { .. } => None,
        }
    }

    /// Whom it is about, if it is about somebody.
    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Query::Prospect(target)
            | Query::Timeline { target, .. }
            | Query::Explanation { target, .. }
            | Query::Identity(target)
            | Query::Erased { target, .. }
            | Query::Event { target, .. }
            | Query::Holdings { target, .. } => Some(target),
            Query::List(_)
            | Query::AskedOnce(_)
            | Query::DeadLetters(..)
            | Query::DeadLetter(_)
            | Query::Intake(_)
            | Query::Health
            | Query::Erasure(_)
            | Query::Erasures(..)
            | Query::Evidence(_)
            | Query::Known(_)
            | Query::Recompute
            | Query::Backtest
            | Query::Crossings { .. }
            | Query::Properties
            | Query::Company { .. }
            | Query::Stretch(..)
            | Query::Export(_)
            | Query::Feed { .. } => None,
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Answer {
    /// One per message.
    #[n(0)]
    Replies(#[n(0)] Vec<Reply>),
    /// A document of the API, as JSON.
    #[n(1)]
    Document(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The items of a page as a JSON array, and where it ended if there are more.
    #[n(2)]
    Page {
        /// JSON.
        #[cbor(n(0), with = "minicbor::bytes")]
        items: Vec<u8>,
        /// For the next page.
        #[n(1)]
        end: Option<Position>,
    },
    /// A part of a list, to be merged with other partitions'.
    #[n(3)]
    List(#[n(0)] Vec<Listed>),
    /// Nobody of that name.
    #[n(4)]
    Unknown,
    /// No score of that slug.
    #[n(5)]
    NoSuchScore,
    /// It is not any more what the cursor is of.
    #[n(42)]
    Changed,
    /// Why these are one person, as far as is known here; what is open is asked by [`Query::Evidence`].
    #[n(7)]
    Identity(#[n(0)] Box<Gathering>),
    /// One per question.
    #[n(10)]
    Told(#[n(0)] Vec<Told>),
    /// Another partition knows more: ask it so.
    #[n(8)]
    Elsewhere(#[n(0)] Target),
    /// Whom it is about is on the way from one partition to another: ask again.
    #[n(9)]
    Settling,
    /// What a prospect holds.
    #[n(13)]
    Holdings(#[n(0)] Box<Holdings>),
    /// The receipt of an erasure.
    #[n(11)]
    Erasure(#[n(0)] Erasure),
    /// Several of them.
    #[n(45)]
    Erasures(#[n(0)] Vec<Erasure>),
    /// Whether it has reached everything that it is about.
    #[n(12)]
    Erased(#[n(0)] bool),
    /// It is well.
    #[n(6)]
    Well {
        /// Clusters that were refused to grow.
        #[cbor(n(1), default)]
        clusters_over_limit: BTreeSet<KeyHash>,
        /// Rows that the store was told to write since the object was loaded, as whoever runs it counts them.
        #[cbor(n(2), default)]
        rows_written: u64,
        /// Transactions committed since then.
        #[cbor(n(3), default)]
        commits: u64,
    },
    /// Records that could not be read.
    #[n(30)]
    DeadLetters(#[n(0)] Vec<Kept>),
    /// What came from Currents, and the last batches of the workspaces that are noted here.
    #[n(31)]
    Intake {
        /// Newest hour first, by type.
        #[n(0)]
        hours: Vec<Hour>,
        /// At most one per workspace.
        #[n(1)]
        last: Vec<Batch>,
    },
    /// Those that are.
    #[n(41)]
    Known(#[n(0)] Vec<KeyHash>),
    /// What comes after a cursor.
    #[n(40)]
    Feed(#[n(0)] feed::Told),
    /// The keyed hash of what was first asked by an `Idempotency-Key`, if anything was.
    #[n(35)]
    AskedOnce(#[cbor(n(0), with = "minicbor::bytes")] Option<Vec<u8>>),
    /// What is meant is not here, by the map of this version: nothing was done.
    #[n(20)]
    Moved(#[n(0)] u64),
    /// The sender knows of a newer version of the model: tell this partition of it, and ask again.
    #[n(14)]
    Behind,
    /// How far folding everybody anew is.
    #[n(15)]
    Recompute(#[n(0)] Progress),
    /// It is done, and so many were folded anew.
    #[n(44)]
    Recomputed(#[n(0)] Progress),
    /// The newest backtest, if there was one.
    #[n(16)]
    Backtest(#[n(0)] Option<Box<Backtest>>),
    /// Who crosses a stage, as a JSON array; and where it ended if there may be more.
    #[n(17)]
    Crossings {
        /// JSON.
        #[cbor(n(0), with = "minicbor::bytes")]
        items: Vec<u8>,
        /// For the next page.
        #[n(1)]
        end: Option<i64>,
    },
    /// The names of properties.
    #[n(18)]
    Properties(#[n(0)] Properties),
    /// How many people there are.
    #[n(19)]
    Stretch(#[n(0)] Stretch),
    /// A piece of an export.
    #[n(21)]
    Exported(#[n(0)] Exported),
    /// What the people of an account come to here.
    #[n(36)]
    Company(#[n(0)] Box<Company>),
}

#[cfg(test)]
mod tests {
    use super::super::message::{Ask, Message};
    use super::super::{decode, encode};
    use super::*;

    /// Keys at the first and at the last of several partitions.
    const FIRST: KeyHash = KeyHash([0; 16]);
    const LAST: KeyHash = KeyHash([0xff; 16]);

    fn messages(keys: &[KeyHash]) -> Call {
        Call::Apply(keys.iter().map(|key| Message { key: *key, ask: Ask::Hint(FIRST) }).collect())
    }

    fn ask(query: Query) -> Call {
        Call::Ask(Box::new(query))
    }

    #[test]
    fn a_partition_takes_only_what_it_holds_whatever_map_its_caller_goes_by() {
        let here = Place { number: 3, of: 4, map: 7 };
        for (of, map) in [(4, 7), (4, 8), (5, 6)] {
            let holds = |call| here.has(&Envelope { partition: 3, of, map, call, model_version: 0 });
            assert!(holds(messages(&[LAST, LAST])));
            assert!(!holds(messages(&[LAST, FIRST])), "all of them, or none is applied");
            assert!(holds(ask(Query::Prospect(Target::key(LAST)))));
            assert!(!holds(ask(Query::Prospect(Target::key(FIRST)))));
            assert!(!holds(ask(Query::Evidence(vec![Question::Claims(FIRST)]))));
            assert!(holds(ask(Query::Health)), "the object itself is meant");
        }
        assert!(!here.has(&here.envelope(2, messages(&[LAST]))), "another partition is meant");
    }

    #[test]
    fn the_whole_of_a_partition_is_another_by_another_map() {
        let here = Place { number: 3, of: 4, map: 7 };
        let whole = || ask(Query::DeadLetters(1, None));
        assert!(here.has(&here.envelope(3, whole())));
        for (of, map) in [(4, 6), (4, 8), (5, 7)] {
            assert!(
                !here.has(&Envelope { partition: 3, of, map, call: whole(), model_version: 0 }),
                "{of} by map {map}"
            );
        }
    }

    #[test]
    fn who_names_no_map_goes_by_the_first() {
        #[derive(Encode)]
        struct WithoutMap {
            #[n(0)]
            partition: u16,
            #[n(1)]
            of: u16,
            #[n(2)]
            call: Call,
        }
        let bytes = encode(&WithoutMap { partition: 1, of: 4, call: ask(Query::Health) }).unwrap();
        let envelope: Envelope = decode(&bytes).unwrap();
        assert_eq!(envelope.place(), Place { number: 1, of: 4, map: 0 });
        let bytes = encode(&(1_u16, 4_u16)).unwrap();
        assert_eq!(decode::<Place>(&bytes).unwrap(), Place { number: 1, of: 4, map: 0 });
    }
}
