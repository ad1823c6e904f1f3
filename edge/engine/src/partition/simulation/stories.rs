//! What the simulator has found once, or nearly: small scenarios that must hold for ever. They are pasted from what a
//! failing seed prints.

use super::run;
use super::scenario::Scenario;
use super::world::Machine;

/// Runs a scenario under its own schedule, and under some others: what went wrong under one must not under the next.
#[track_caller]
fn holds(text: &str) {
    let (mut machine, scenario) = (Machine::new(), Scenario::read(text));
    for schedule in std::iter::once(scenario.schedule).chain(0..40) {
        let scenario = Scenario { schedule, ..scenario.clone() };
        if let Err(error) = run(&mut machine, &scenario, None) {
            panic!("schedule {schedule}: {error}");
        }
    }
}

/// A parcel was given the number of one that had just been delivered; the answer to a second delivery of the old one then
/// made the sender forget the new one, and a union was never told.
#[test]
fn a_parcels_number_is_not_given_twice() {
    holds(
        "
        partitions 2
        schedule 3
        fault Loss
        fault Duplicate
        fault Reorder
        fault CrashBefore
        fault GiveUp
        record r8 5 visitor:visitor-0-124 claims visitor:visitor-0-124 segment_user:segment_user-0-124 weak url p0 -
        record r5 19 crm_id:crm_id-1-124 is crm_id:crm_id-0-124
        record r13-human 49 visitor:visitor-0-124
        ",
    );
}

/// The message with a cluster's elements failed and the one with its events, behind it in the same parcel, did not: the
/// prospect was told anew from `rev` 1, and whoever keeps the highest kept what was true before.
#[test]
fn a_prospect_that_moves_in_pieces_rests_at_its_highest_revision() {
    holds(
        "
        partitions 2
        schedule 7
        fault Statement
        fault GiveUp
        record r1 30 braze_id:braze_id-3-543 is segment_user:segment_user-0-543
        record r2 35 segment_anonymous:segment_anonymous-0-543
        record r0 11 email:ben.543@example.com is braze_id:braze_id-3-543
        ",
    );
}

/// The keys of a cluster had arrived and its events had not: who asked for the person then was told that there is nobody.
#[test]
fn somebody_whose_events_are_on_the_way_is_not_nobody() {
    holds(
        "
        partitions 3
        schedule 4
        fault Loss
        fault Duplicate
        fault Reorder
        fault Shuffle
        fault CrashAfter
        fault Statement
        fault GiveUp
        record r3 0 visitor:visitor-1-4
        record r9-form 8 segment_anonymous:segment_anonymous-0-4
        record r5 44 braze_id:braze_id-0-4 is phone:+15550000009
        record r2 8 email:cleo.4@example.com
        ",
    );
}
