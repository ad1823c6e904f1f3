//! Planted mistakes: what an implementation of the protocol could get wrong, done to the messages, the outbox or the disk
//! from outside. The simulator must notice each.

use super::disk::Disk;
use crate::identity::generate::Random;
use crate::key::KeyHash;
use crate::partition::Partition;
use crate::partition::message::{Ask, Element, EventElement, Flag, Message};

/// A way to break the protocol, and why it would be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A key that an earlier version of the table named keeps events that have gone to somebody else.
    TablesOnlyToKeysNamedNow,
    /// A pointer that goes up may close a circle, and a walk along it never ends.
    UnionPointsUp,
    /// Both ends admit a fact, and their clusters never meet.
    UnionIsLost,
    /// The smaller end waits for ever to hear that the larger one agrees.
    AdmissionIsNotTold,
    /// A browser never hears that a key has no place for it, and gives it its events.
    RefusalIsNotTold,
    /// The other end of a fact never ranks it.
    FactIsNotTold,
    /// A key never hears who claims it.
    ClaimIsNotTold,
    /// A fact that earlier evidence has pushed out joins on.
    DemotionIsNotTold,
    /// What claims no longer introduce stays introduced.
    IntroductionIsNotWithdrawn,
    /// An old table that arrives late undoes a newer one.
    OldTableWins,
    /// Every table is as new as any other: the first to arrive stays.
    TablesHaveNoVersion,
    /// An event under another number than its key's is found by nobody.
    EventUnderAnotherNumber,
    /// What a key has gone to never hears of what arrives for it later.
    MovedKeySwallows,
    /// A cluster moves and its events do not.
    EventsStayBehind,
    /// A prospect that moves counts its revisions from 1 again, and readers take the old for the new.
    RevisionIsNotCarried,
    /// A parcel that is lost on its way is lost.
    AtMostOnce,
    /// What was acknowledged is not there.
    AnsweredBeforeCommitted,
    /// The cause is durable, and what it caused is not.
    CrashLosesTheOutbox,
    /// A retry that is not the same bytes is another event.
    RetriesAreNewEvents,
    /// After a restart, two keys get one number, and with it each other's events.
    NumbersAreNotKept,
}

impl Mistake {
    pub(super) const ALL: [Mistake; 20] = [
        Mistake::TablesOnlyToKeysNamedNow,
        Mistake::UnionPointsUp,
        Mistake::UnionIsLost,
        Mistake::AdmissionIsNotTold,
        Mistake::RefusalIsNotTold,
        Mistake::FactIsNotTold,
        Mistake::ClaimIsNotTold,
        Mistake::DemotionIsNotTold,
        Mistake::IntroductionIsNotWithdrawn,
        Mistake::OldTableWins,
        Mistake::TablesHaveNoVersion,
        Mistake::EventUnderAnotherNumber,
        Mistake::MovedKeySwallows,
        Mistake::EventsStayBehind,
        Mistake::RevisionIsNotCarried,
        Mistake::AtMostOnce,
        Mistake::AnsweredBeforeCommitted,
        Mistake::CrashLosesTheOutbox,
        Mistake::RetriesAreNewEvents,
        Mistake::NumbersAreNotKept,
    ];

    /// What arrives instead of a message. Only what goes from one partition to another passes here.
    pub(super) fn tamper(self, message: Message, receiver: &Partition<Disk>, random: &mut Random) -> Vec<Message> {
        let Message { key, mut ask } = message;
        let lost = match (self, &ask) {
            (Mistake::UnionPointsUp, Ask::Union(_, keys)) if !has_moved(receiver, key) => {
                return vec![Message { key, ask: Ask::Union(KeyHash([0xff; 16]), *keys) }];
            }
            (Mistake::UnionIsLost, Ask::Union(..))
            | (Mistake::AdmissionIsNotTold, Ask::FactAdmitted(..))
            | (Mistake::RefusalIsNotTold, Ask::ClaimsAdmitted(_, _, false))
            | (Mistake::FactIsNotTold, Ask::RankFact(_))
            | (Mistake::ClaimIsNotTold, Ask::RankClaims(..)) => true,
            (Mistake::IntroductionIsNotWithdrawn, Ask::Introduce(introductions)) => introductions.facts.is_empty(),
            (Mistake::MovedKeySwallows, Ask::Put(elements)) => !elements.iter().any(waits) && has_moved(receiver, key),
            (Mistake::TablesOnlyToKeysNamedNow, Ask::Put(elements)) => {
                matches!(elements.as_slice(), [Element::Table(table)] if table.epochs.iter().all(|(_, named)| *named != key))
            }
            _ => false,
        };
        if lost {
            return Vec::new();
        }
        if let Ask::Put(elements) = &mut ask {
            self.tamper_elements(elements, receiver, random);
        }
        vec![Message { key, ask }]
    }

    fn tamper_elements(self, elements: &mut Vec<Element>, receiver: &Partition<Disk>, random: &mut Random) {
        match self {
            Mistake::DemotionIsNotTold => {
                let tells = |flags: &[Flag]| flags.iter().any(|flag| !flag.admitted);
                elements.retain(
                    |element| !matches!(element, Element::Flags(_, version, flags) if *version > 1 && tells(flags)),
                );
            }
            Mistake::RevisionIsNotCarried => elements.retain(|element| !matches!(element, Element::Rev(_))),
            Mistake::EventsStayBehind => {
                let moves = |element: &Element| matches!(element, Element::Event(event) if event.place.is_none());
                let all_move = elements.iter().all(moves);
                elements.retain(|_| !all_move);
            }
            _ => {}
        }
        for element in elements {
            match (self, element) {
                // (Where the browser is, the two would send its events to and fro for ever, in one call.)
                (Mistake::OldTableWins, Element::Table(table))
                    if !receiver.holds(table.browser) && random.one_in(4) =>
                {
                    table.version += 1_000;
                }
                (Mistake::TablesHaveNoVersion, Element::Table(table)) => table.version = 1,
                (Mistake::EventUnderAnotherNumber, Element::Event(event)) if event.place.is_none() => event.no += 1,
                _ => {}
            }
        }
    }
}

fn waits(element: &Element) -> bool {
    matches!(element, Element::Event(EventElement { place: Some(_), .. }))
}

fn has_moved(receiver: &Partition<Disk>, key: KeyHash) -> bool {
    receiver.load_node(key).unwrap().is_some_and(|(node, _)| node.up.is_some())
}
