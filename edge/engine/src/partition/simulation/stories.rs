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
        partitions 4
        schedule 9
        fault Duplicate
        fault Reorder
        fault CrashBefore
        fault CrashAfter
        fault Statement
        fault Eviction
        fault GiveUp
        fault Alarm
        record r0-link 18 segment_anonymous:segment_anonymous-0-569
        record r7 29 visitor:visitor-1-569 claims visitor:visitor-1-569 email:sha256:2f259053488aefe3bb7ac171997093ea53ffe01b7af710d1495aafc72a8e28f4 weak url p3 -
        record r6 25 email:cleo.569@example.com is email:ben.569@example.com
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

/// One call made a cluster go to another here, and that one on to another partition: it went without the first one's keys,
/// and their events stayed behind, nobody's.
#[test]
fn a_cluster_that_goes_on_at_once_takes_along_who_has_just_come() {
    holds(
        "
        partitions 2
        schedule 0
        fault Reorder
        fault CrashBefore
        fault Eviction
        record r15 48 email:sha256:25237addfeb5693139c8732f83bf94c12ee641474935434585b584b47413defd merges email:ben.14354@example.com
        record r8-link 1 segment_anonymous:segment_anonymous-0-14354
        record r10 5 braze_id:braze_id-1-14354 is braze_id:braze_id-2-14354 is crm_id:crm_id-1-14354
        record r13-human 4 visitor:visitor-1-14354 claims visitor:visitor-1-14354 braze_id:braze_id-2-14354 weak url p1 human claims visitor:visitor-1-14354 email:sales.14354@staff.example.com weak url p2 human
        record r11 21 crm_id:crm_id-1-14354
        ",
    );
}

/// One call gave a browser's events to somebody and took them back: they were still away, so that the browser's prospect
/// went, and when they came home it was told from `rev` 1 again.
#[test]
fn a_browser_whose_events_come_home_goes_on_from_its_revision() {
    holds(
        "
        partitions 2
        schedule 7
        record r1-form 40 segment_anonymous:segment_anonymous-0-17321 claims segment_anonymous:segment_anonymous-0-17321 email:cleo.17321@example.com medium form r1 human
        record r0-link 23 visitor:visitor-2-17321 claims visitor:visitor-2-17321 external_id:external_id-2-17321 weak url r0 human
        record r0-form 29 visitor:visitor-2-17321 claims visitor:visitor-2-17321 email:cleo.17321@example.com medium form r0 human
        record r7 32 email:ben.17321@example.com
        record r11 43 visitor:visitor-0-17321 claims visitor:visitor-0-17321 email:cleo.17321@example.com medium url p3 - claims visitor:visitor-0-17321 braze_id:braze_id-3-17321 medium url p3 -
        record r13 0 crm_id:crm_id-0-17321
        separate r3 24 visitor:visitor-0-17321 segment_user:segment_user-0-17321 from braze_id:braze_id-2-17321 braze_id:braze_id-3-17321
        ",
    );
}

/// A cluster with an older table of a browser went to one here with a newer: the events that it held by the older one
/// stayed, though by the newer they are somebody's elsewhere.
#[test]
fn events_held_by_an_older_table_follow_the_newer_when_clusters_meet() {
    holds(
        "
        partitions 5
        schedule 3
        fault LostAnswer
        record r8-link 31 visitor:visitor-2-21064 claims visitor:visitor-2-21064 external_id:external_id-2-21064 weak url r8 human
        record r13 41 email:cleo.21064@example.com is email:ben.21064@example.com
        record r6 1 email:sha256:1deed033a9436a5f5f01fb3b5731e8fd190c9b74c77fb4d83673285b636feb6d
        record r8-form 41 visitor:visitor-2-21064 claims visitor:visitor-2-21064 email:ben.21064@example.com medium form r8 human
        record r2 39 email:sales.21064@staff.example.com is email:ben.21064@example.com is crm_id:crm_id-0-21064
        record r1-form 0 visitor:visitor-2-21064 claims visitor:visitor-2-21064 email:sha256:1deed033a9436a5f5f01fb3b5731e8fd190c9b74c77fb4d83673285b636feb6d medium form r1 human
        ",
    );
}

/// A cluster's tables moved in rows of their own, where nobody compared them with those that the other cluster knew: an
/// older one went on giving its events to somebody.
#[test]
fn a_table_that_moves_in_a_row_of_its_own_may_be_the_newest() {
    holds(
        "
        partitions 2
        schedule 10
        fault LostAnswer
        record r1-link 25 visitor:visitor-1-3027013 claims visitor:visitor-1-3027013 external_id:external_id-0-3027013 weak url r1 human
        record r1-server 37 external_id:external_id-0-3027013 is email:cleo.3027013@example.com
        record r0-human 21 visitor:visitor-1-3027013 claims visitor:visitor-1-3027013 email:ben.3027013@example.com weak url p3 human
        record r3 46 visitor:visitor-0-3027013
        record r1-form 37 visitor:visitor-1-3027013 claims visitor:visitor-1-3027013 email:ada.3027013@example.com medium form r1 human
        ",
    );
}

#[test]
fn a_browser_whose_newest_claim_is_on_nobody_is_the_one_s_before() {
    holds(
        "
        partitions 1
        schedule 3278954842755791955
        record r4-human 24 visitor:visitor-0-79 claims visitor:visitor-0-79 email:sha256:44b21b8863961e585199914c349b61e8a22ada5f80da4bdc114e8aca177872c5 strong url p1 human
        merge r5 28 phone:+15550000159 visitor:visitor-0-79 lifts phone:+15550000159 braze_id:braze_id-1-79 external_id:external_id-2-79 from visitor:visitor-0-79 external_id:external_id-2-79
        ",
    );
}

/// An event came back to its browser by an old table, from a cluster that moved into the browser's partition: so it stayed
/// where it was, and the browser had given it to somebody else meanwhile, who got another copy.
#[test]
fn what_comes_home_in_its_own_partition_goes_on_to_whose_it_is_by_now() {
    holds(
        "
        partitions 4
        schedule 4
        fault LostAnswer
        fault Reorder
        fault CrashAfter
        fault Statement
        fault Eviction
        fault GiveUp
        fault Alarm
        record r12 11 email:sha256:4b954ee37c1b3ca8d44e139627a298830a24a0e70a8fef7ff393764c6755c428
        record r13-link 13 visitor:visitor-0-30000395 claims visitor:visitor-0-30000395 external_id:external_id-2-30000395 weak url r13 human
        record r5 9 email:nobody@example.com
        record r2-human 46 visitor:visitor-1-30000395 claims visitor:visitor-1-30000395 email:cleo.30000395@example.com medium url p3 human
        record r1 10 visitor:visitor-0-30000395
        record r2 44 visitor:visitor-1-30000395 claims visitor:visitor-1-30000395 email:cleo.30000395@example.com medium url p3 -
        record r8 49 external_id:external_id-2-30000395
        record r7-form 42 visitor:visitor-2-30000395 claims visitor:visitor-2-30000395 email:cleo.30000395@example.com medium form r7 human
        record r4-human 39 segment_anonymous:segment_anonymous-0-30000395
        record r13-form 22 visitor:visitor-0-30000395 claims visitor:visitor-0-30000395 email:sales.30000395@staff.example.com medium form r13 human
        record r3 2 email:sha256:4b954ee37c1b3ca8d44e139627a298830a24a0e70a8fef7ff393764c6755c428 is email:sales.30000395@staff.example.com
        record r7-link 34 visitor:visitor-2-30000395 claims visitor:visitor-2-30000395 external_id:external_id-2-30000395 weak url r7 human
        record r10-link 0 segment_anonymous:segment_anonymous-0-30000395 claims segment_anonymous:segment_anonymous-0-30000395 external_id:external_id-2-30000395 weak url r10 human
        ",
    );
}

/// A cluster's elements were delivered once more after it had gone on: they went after it, overtook what had come of them
/// meanwhile, and the prospect's id answered as merged with the `rev` with which it had been told as there. What comes after
/// has a higher one: a reader holds the right thing in the end.
#[test]
fn a_repeat_that_overtakes_what_came_of_it_misleads_no_reader_for_long() {
    holds(
        "
        partitions 4
        schedule 12576105352319999163
        fault Loss
        fault LostAnswer
        fault Duplicate
        fault Reorder
        fault Shuffle
        fault CrashBefore
        fault CrashAfter
        fault Statement
        fault Eviction
        fault GiveUp
        fault Alarm
        record r6 26 email:ada.40030920@example.com
        record r5 31 email:sales.40030920@staff.example.com
        separate r0 34 braze_id:braze_id-0-40030920 from external_id:external_id-0-40030920 phone:+15550061841 email:nobody@example.com
        record r3 35 segment_user:segment_user-0-40030920
        record r10 35 braze_id:braze_id-0-40030920
        record r7 4 visitor:visitor-0-40030920 claims visitor:visitor-0-40030920 braze_id:braze_id-3-40030920 medium url p2 - claims visitor:visitor-0-40030920 phone:+15550061841 medium url p0 -
        record r4 23 email:cleo.40030920@example.com
        separate r1 46 external_id:external_id-1-40030920 external_id:external_id-0-40030920 from crm_id:crm_id-1-40030920
        record r12 23 email:ada.40030920@example.com is phone:+15550061840 is external_id:external_id-2-40030920
        record r9 19 braze_id:braze_id-0-40030920 is braze_id:braze_id-3-40030920
        record r11 40 email:nobody@example.com
        record r2 17 braze_id:braze_id-1-40030920 is phone:+15550061841
        record r8 39 visitor:visitor-1-40030920
        ",
    );
}

/// Events were ahead of their cluster and went round until it came; whenever an answer was lost there was a copy more of
/// each, and of the copies as well: 37,000 of three events after 460 steps.
#[test]
fn copies_of_an_event_that_goes_round_become_one_again() {
    holds(
        "
        partitions 5
        schedule 5
        fault LostAnswer
        fault Duplicate
        fault Shuffle
        fault Statement
        fault Eviction
        record r11-link 5 visitor:visitor-1-90041 claims visitor:visitor-1-90041 braze_id:braze_id-3-90041 weak url r11 human
        record r0 27 phone:+15550180082
        record r7-form 38 segment_anonymous:segment_anonymous-0-90041
        merge r2 36 external_id:external_id-0-90041 segment_user:segment_user-0-90041 lifts external_id:external_id-0-90041 phone:+15550180082 from segment_user:segment_user-0-90041 external_id:external_id-0-90041
        record r11-server 48 braze_id:braze_id-3-90041 is email:cleo.90041@example.com
        record r1 19 braze_id:braze_id-2-90041 is crm_id:crm_id-1-90041 is external_id:external_id-2-90041
        record r5 12 email:sha256:621b403be5cbe3fc184c358410813380ad8c32011622c2cb38ddf0f3307829e0 merges crm_id:crm_id-1-90041
        record r11-form 11 visitor:visitor-1-90041 claims visitor:visitor-1-90041 email:sales.90041@staff.example.com medium form r11 human
        record r12 10 email:sales.90041@staff.example.com
        record r9 22 email:nobody@example.com
        record r3-link 1 visitor:visitor-2-90041 claims visitor:visitor-2-90041 external_id:external_id-0-90041 weak url r3 human
        record r4 12 phone:+15550180083
        record r7-link 36 segment_anonymous:segment_anonymous-0-90041 claims segment_anonymous:segment_anonymous-0-90041 braze_id:braze_id-3-90041 weak url r7 human
        record r6 24 segment_user:segment_user-0-90041
        record r3-server 1 external_id:external_id-0-90041 is email:sha256:621b403be5cbe3fc184c358410813380ad8c32011622c2cb38ddf0f3307829e0
        ",
    );
}

/// A cluster that had a browser's events by an old table went to one in its partition which knew the newer table and had
/// counted these events as its own before they were there: nobody folded them in.
#[test]
fn events_held_by_an_older_table_are_folded_in_where_clusters_meet() {
    holds(
        "
        partitions 2
        schedule 2
        fault LostAnswer
        fault Duplicate
        fault Shuffle
        fault CrashAfter
        fault Statement
        fault Eviction
        fault Alarm
        record r13 10 segment_anonymous:test
        record r0 29 phone:+15550112602
        record r8-link 35 visitor:visitor-2-56301
        record r2 22 email:ada.56301@example.com is external_id:external_id-1-56301
        record r9-link 41 visitor:visitor-0-56301 claims visitor:visitor-0-56301 braze_id:braze_id-3-56301 weak url r9 human
        record r5 19 visitor:visitor-0-56301
        record r9-form 44 visitor:visitor-0-56301 claims visitor:visitor-0-56301 email:sales.56301@staff.example.com medium form r9 human
        record r7 20 phone:+15550112603
        record r1 11 phone:+15550112602 is external_id:external_id-0-56301
        record r12 4 email:sha256:6245e5fdb20921d43326599211a5a9c4d0a4756bc4c26c9aec05b59d93a03048 is phone:+15550112602 is external_id:external_id-2-56301
        record r6-link 48 segment_anonymous:test
        record r4 29 braze_id:braze_id-2-56301 is segment_user:segment_user-0-56301 is email:ada.56301@example.com
        record r3 11 email:sales.56301@staff.example.com is segment_user:segment_user-0-56301
        record r10 48 email:ada.56301@example.com
        record r11 36 braze_id:braze_id-1-56301
        ",
    );
}

/// Somebody else whom a merge was about, too, told of it without knowing that the browser was separated again.
#[test]
fn a_merge_with_a_browser_is_told_by_those_who_know_what_became_of_it() {
    holds(
        "
        partitions 2
        schedule 4
        record r6-form 26 visitor:visitor-1-267600 claims visitor:visitor-1-267600 email:sales.267600@staff.example.com medium form r6 human
        merge r7 21 braze_id:braze_id-3-267600 visitor:visitor-1-267600 lifts braze_id:braze_id-3-267600 email:sales.267600@staff.example.com email:cleo.267600@example.com from visitor:visitor-1-267600 email:sales.267600@staff.example.com
        separate r5 22 braze_id:braze_id-3-267600 braze_id:braze_id-0-267600 from visitor:visitor-1-267600
        ",
    );
}

/// A cluster that came in parts was folded anew and was the same, with a lower `rev` than it had been told with where it
/// came from: whoever keeps the highest did not hear that it is there.
#[test]
fn what_comes_in_parts_is_told_again_though_it_is_the_same() {
    for text in [
        "
        partitions 4
        schedule 4
        fault LostAnswer
        fault Duplicate
        fault Reorder
        fault Shuffle
        fault CrashBefore
        fault Alarm
        record r11-form 27 visitor:visitor-1-31052 claims visitor:visitor-1-31052 email:sha256:0a27b9d96deb563a4713a0128ea7ba943b2529f9b0eeca30c270b01e7a0bea46 medium form r11 human
        record r2-human 46 visitor:visitor-1-31052
        record r9-human 23 visitor:test
        record r6-link 47 visitor:visitor-2-31052 claims visitor:visitor-2-31052 external_id:external_id-2-31052 weak url r6 human
        record r6-server 15 external_id:external_id-2-31052 is email:ben.31052@example.com
        record r9 22 visitor:test
        merge r7 33 crm_id:crm_id-1-31052 visitor:visitor-1-31052 lifts crm_id:crm_id-1-31052 crm_id:crm_id-1-31052 braze_id:braze_id-0-31052 from visitor:visitor-1-31052 crm_id:crm_id-0-31052
        record r3-form 28 visitor:visitor-1-31052
        record r11-link 22 visitor:visitor-1-31052 claims visitor:visitor-1-31052 braze_id:braze_id-1-31052 weak url r11 human
        record r12-human 21 visitor:visitor-0-31052
        separate r1 15 crm_id:crm_id-1-31052 segment_user:segment_user-0-31052 segment_user:segment_user-0-31052 from braze_id:braze_id-0-31052
        record r3-link 27 visitor:visitor-1-31052 claims visitor:visitor-1-31052 external_id:external_id-2-31052 weak url r3 human
        record r0 25 visitor:visitor-1-31052
        record r10 3 segment_anonymous:segment_anonymous-0-31052
        record r12 21 visitor:visitor-0-31052 claims visitor:visitor-0-31052 external_id:external_id-1-31052 strong url p3 -
        record r5 34 phone:+15550062104
        record r8 26 braze_id:braze_id-3-31052
        ",
        "
        partitions 5
        schedule 11
        fault Loss
        fault LostAnswer
        fault Duplicate
        fault Reorder
        fault Shuffle
        fault CrashBefore
        fault CrashAfter
        fault Statement
        fault Eviction
        fault GiveUp
        fault Alarm
        record r3 11 visitor:test
        record r1 45 visitor:visitor-0-70878 claims visitor:visitor-0-70878 braze_id:braze_id-2-70878 weak url p2 -
        record r6-form 31 visitor:visitor-0-70878 claims visitor:visitor-0-70878 email:sha256:b083d11b4124658e0b9d44d18d40c984b9928df9f83cfb19348c00875485be1a medium form r6 human
        record r6-link 28 visitor:visitor-0-70878 claims visitor:visitor-0-70878 external_id:external_id-0-70878 weak url r6 human
        record r12 0 email:sha256:b083d11b4124658e0b9d44d18d40c984b9928df9f83cfb19348c00875485be1a
        record r1-human 46 visitor:visitor-0-70878 claims visitor:visitor-0-70878 email:sha256:b083d11b4124658e0b9d44d18d40c984b9928df9f83cfb19348c00875485be1a weak url p1 human claims visitor:visitor-0-70878 braze_id:braze_id-2-70878 weak url p2 human
        record r7-form 57 visitor:visitor-2-70878 claims visitor:visitor-2-70878 email:ben.70878@example.com medium form r7 human
        record r9-link 41 visitor:visitor-1-70878
        record r3-human 11 visitor:test
        record r4 12 braze_id:braze_id-0-70878 merges email:ben.70878@example.com
        record r11-form 48 visitor:test
        record r7-server 6 external_id:external_id-1-70878
        record r11-link 47 visitor:test
        merge r5 49 external_id:external_id-1-70878 braze_id:braze_id-3-70878 lifts external_id:external_id-1-70878 from braze_id:braze_id-3-70878
        record r7-link 49 visitor:visitor-2-70878 claims visitor:visitor-2-70878 external_id:external_id-1-70878 weak url r7 human
        record r9-server 12 external_id:external_id-1-70878
        record r9-form 45 visitor:visitor-1-70878
        record r11-server 9 external_id:external_id-1-70878
        separate r10 47 external_id:test email:sha256:b083d11b4124658e0b9d44d18d40c984b9928df9f83cfb19348c00875485be1a from phone:+15550141757 visitor:visitor-2-70878 braze_id:braze_id-2-70878
        record r0 9 visitor:visitor-0-70878
        record r6-form 31 visitor:visitor-0-70878
        record r8 15 email:ada.70878@example.com
        record r0 9 visitor:visitor-0-70878
        separate r2 45 external_id:test email:sha256:b083d11b4124658e0b9d44d18d40c984b9928df9f83cfb19348c00875485be1a from visitor:visitor-1-70878 email:cleo.70878@example.com email:cleo.70878@example.com
        ",
    ] {
        holds(text);
    }
}
