//! What one run is made of, all of it from a seed: partitions, faults, inputs in the order in which they are sent, and
//! the seed of everything else that chance decides.

use crate::identity::generate::{Random, inputs};
use crate::identity::naive::Input;
use std::collections::BTreeSet;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scenario {
    /// 1 to 5.
    pub(super) partitions: u16,
    /// What goes wrong; each seed has its own choice, so that no fault hides what only shows without it.
    pub(super) faults: BTreeSet<Fault>,
    /// Seeds what happens when.
    pub(super) schedule: u64,
    /// In the order of sending.
    pub(super) inputs: Vec<Input>,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A call does not arrive.
    Loss,
    /// What a call asked for is durable, but its answer does not arrive.
    LostAnswer,
    /// A call arrives twice, the second time perhaps long after everything else.
    Duplicate,
    /// Calls overtake each other.
    Reorder,
    /// The messages of a call are worked off in another order.
    Shuffle,
    /// A partition dies before it has committed.
    CrashBefore,
    /// A partition dies when it has committed, and answers nobody.
    CrashAfter,
    /// One statement fails, and with it one message of a call.
    Statement,
    /// A partition leaves memory and is loaded again.
    Eviction,
    /// A frontend waits no longer, and its sender sends the same bytes again.
    GiveUp,
    /// Nobody delivers a parcel until an alarm does, and alarms come late, twice, and for a few parcels at a time.
    Alarm,
}

impl Fault {
    pub(super) const ALL: [Fault; 11] = [
        Fault::Loss,
        Fault::LostAnswer,
        Fault::Duplicate,
        Fault::Reorder,
        Fault::Shuffle,
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::Statement,
        Fault::Eviction,
        Fault::GiveUp,
        Fault::Alarm,
    ];
}

impl Scenario {
    pub(super) fn of(seed: u64) -> Scenario {
        let mut random = Random(seed ^ 0x5eed_5eed_5eed);
        let mut inputs = inputs(seed);
        random.shuffle(&mut inputs);
        let partitions = 1 + u16::try_from(random.below(5)).unwrap();
        let share = random.below(5);
        let faults = Fault::ALL.into_iter().filter(|_| random.below(4) < share).collect();
        Scenario { partitions, faults, schedule: random.next_u64(), inputs }
    }
}
