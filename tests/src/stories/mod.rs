#![doc = include_str!("README.md")]

mod act;
mod addresses;
mod decisions;
mod devices;
mod erasure;
mod forwarding;
mod in_braze;
mod law;
mod links_and_forms;
mod machines;
mod scene;
mod seen;

use crate::harness::instance::keep;
use crate::harness::{Api, Instance};
use scene::{Scene, Told};
use std::fmt::Write;
use std::sync::OnceLock;

/// How instances of stories run: several partitions, and a company that has said who its own people are.
const SETTINGS: [(&str, &str); 2] = [("PARTITIONS", "4"), ("INTERNAL_PEOPLE", STAFF_DOMAIN)];
/// One key for all of them, so that the same people have the same ids.
const DEPLOYMENT_KEY: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
/// Where the company's own people have their addresses.
const STAFF_DOMAIN: &str = "staff.example";

/// One story of the catalogue.
struct Story {
    name: &'static str,
    tell: fn(&Scene),
}

/// The catalogue, and a test for each story by its name.
macro_rules! catalogue {
    ($( $theme:ident: $($name:ident)* ; )*) => {
        /// All stories, in the order in which they are told.
        const STORIES: &[Story] = &[$($( Story { name: stringify!($name), tell: $theme::$name }, )*)*];

        $($(
            #[test]
            fn $name() {
                tell(&Story { name: stringify!($name), tell: $theme::$name }, theatre());
            }
        )*)*
    };
}

catalogue! {
    forwarding:
        forwarded_mail_to_a_stranger
        forwarded_mail_to_a_known_person
        forwarded_mail_that_is_only_looked_at
        signed_in_customer_opens_a_friends_link
        one_mail_to_many_recipients
        unsubscribed_by_a_stranger
        test_send_with_someone_elses_id
        staff_opening_customers_links;
    machines:
        link_scanner
        link_scanner_before_the_first_word_of_braze
        prefetch
        bot_agent
        link_preview_in_a_chat
        machine_open_and_suspected_bot_click;
    links_and_forms:
        link_before_form
        form_before_link
        late_currents_that_contradicts_an_introduction
        form_of_another_person_between_link_and_form
        unrendered_liquid
        placeholders_instead_of_ids
        both_url_parameters
        several_fields_in_one_form;
    devices:
        shared_kiosk
        family_tablet
        two_browsers_of_one_person
        private_window
        device_handed_on
        colleagues_laptop_at_a_conference_stand
        link_in_a_text_message
        phone_number_of_a_household
        offline_queue_that_delivers_yesterdays_visits_late;
    addresses:
        two_emails_one_person
        typo_in_a_forms_email_then_corrected
        email_in_other_case_and_with_plus
        email_hashed_in_the_browser
        gmail_and_business_address
        shared_info_address
        two_people_with_one_email_in_braze
        two_profiles_without_ids_of_ones_own
        address_that_everybody_types
        employee_changes_company;
    in_braze:
        reinstall_with_a_new_braze_id
        anonymous_profile_becomes_known
        merge_in_braze
        merge_in_braze_reported_before_anything_else
        conflicting_external_ids
        crm_id_as_external_id
        late_batch_about_yesterday
        duplicate_batches_in_shuffled_order;
    decisions:
        unmerge_then_the_same_event_again
        external_id_reused
        two_leads_merged_by_a_colleague
        merged_by_mistake_and_separated_again
        separated_by_a_slip_and_merged_again
        mistyped_address_merged_by_a_colleague
        browser_taken_away_from_a_person
        the_latest_decision_counts;
    erasure:
        erase_then_a_retry_of_the_old_batch
        erase_then_the_person_returns
        erase_one_of_the_people_at_a_kiosk
        erase_an_address_that_was_separated;
}

/// Tells a story to an instance. Everything that it says must be seen is looked for.
fn tell(story: &Story, api: &Api) -> Told {
    let scene = Scene::new(api, story.name);
    (story.tell)(&scene);
    let told = scene.told();
    assert!(told.looks > 0 && !told.acts.is_empty(), "{} tells nothing", story.name);
    assert!(told.rivals.contains("facts/market.md ") && !told.here.is_empty(), "{} compares with nobody", story.name);
    told
}

/// The instance that stories are told to side by side: each has identifiers of its own.
fn theatre() -> &'static Api {
    static API: OnceLock<Api> = OnceLock::new();
    API.get_or_init(|| keep("stories", Instance::start_with(DEPLOYMENT_KEY, &SETTINGS)))
}

/// A name as a title: `shared_info_address` is "Shared info@ address".
fn title(name: &str) -> String {
    // What a Rust name cannot say.
    let word = |word| match word {
        "elses" => "else's",
        "friends" => "friend's",
        "customers" => "customers'",
        "colleagues" => "colleague's",
        "yesterdays" => "yesterday's",
        "forms" => "form's",
        "ones" => "one's",
        "email" => "e-mail",
        "emails" => "e-mails",
        "info" => "info@",
        "braze" => "Braze",
        "currents" => "Currents",
        "liquid" => "Liquid",
        "gmail" => "Gmail",
        "url" => "URL",
        "crm" => "CRM",
        other => other,
    };
    let words = name.split('_').map(word).collect::<Vec<_>>().join(" ");
    let (first, rest) = words.split_at(1);
    first.to_uppercase() + rest
}

/// The table of all stories, as in README.md.
fn table(told: &[(&Story, Told)]) -> String {
    let mut table = String::from("| | story | what others do | what you see here |\n|---|---|---|---|\n");
    for (number, (story, told)) in (1..).zip(told) {
        let _ = writeln!(table, "| {number} | {} | {} | {} |", title(story.name), told.rivals, told.here);
    }
    table
}

/// The table of README.md.
fn readme_table() -> &'static str {
    let text = include_str!("README.md");
    text.find("| | story |").map_or("", |from| text[from..].trim())
}
