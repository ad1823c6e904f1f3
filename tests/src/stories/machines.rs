//! Links that no human opens.

use super::act::Manner;
use super::scene::Scene;
use serde_json::json;

pub(super) fn link_scanner(s: &Scene) {
    s.rivals("Scanners that open every link of a mail are contacts in Mautic and clicks everywhere; no product keeps identity from them (facts/market.md 2 row 17, 3.2).")
        .here("The scanner's visit stays anonymous and its link is pending: the page has shown no human. The customer's own click counts.");
    let ada = s.person("ada");
    s.braze().knows(&ada);
    let scanner = s.browser("a scanner that looks like Chrome");
    scanner.fetches_link("/pricing", &ada.braze_id);

    s.sees(&scanner.key).holds_exactly(&[]).has_no_email().did(&["[Page view] /pricing"]);
    s.sees(&ada.email).in_browsers(&[]).did(&[]).earned(0);
    s.sees_evidence("claim", &scanner.key, &ada.braze_id, "pending", "has shown no human yet");

    s.minutes_later(45);
    let laptop = s.browser("ada's laptop");
    laptop.opens_link("/pricing", &ada.braze_id);
    s.sees(&ada.email).in_browsers(&[&laptop]).did(&["[Page view] /pricing"]).earned(5);
    s.sees_evidence("claim", &scanner.key, &ada.braze_id, "pending", "has shown no human yet");
}

pub(super) fn link_scanner_before_the_first_word_of_braze(s: &Scene) {
    s.rivals("A scanner's click makes a lead, or merges into one (facts/market.md 3.2).").here(
        "A link that only a machine has opened makes nobody: the id is unknown until a human or Braze speaks for it.",
    );
    let ada = s.person("ada");
    let scanner = s.browser("a scanner that looks like Chrome");
    scanner.fetches_link("/pricing", &ada.braze_id);
    s.sees_nobody(&ada.braze_id);
    s.sees(&scanner.key).holds_exactly(&[]);
}

pub(super) fn prefetch(s: &Scene) {
    s.rivals("Only two of the nine compared filter bots on page views, none on identity (facts/market.md 2 rows 16 and 17).")
        .here("What a browser loads ahead is marked as a machine's and earns nothing; when the person then looks, that counts.");
    let ada = s.person("ada");
    s.braze().knows(&ada);
    let ahead = s.machine("ada's laptop", Manner::PREFETCH);
    ahead.fetches_link("/pricing", &ada.braze_id);

    s.sees(&ada.email).in_browsers(&[]).earned(0);
    s.sees(&ahead.key).holds_exactly(&[]).did(&["[Page view] /pricing (bot)"]).earned(0);

    s.minutes_later(1);
    s.browser("ada's laptop").opens_link("/pricing", &ada.braze_id);
    s.sees(&ada.email).in_browsers(&[&ahead]).did(&["[Page view] /pricing (bot)", "[Page view] /pricing"]).earned(5);
}

pub(super) fn bot_agent(s: &Scene) {
    s.rivals(
        "A crawler that runs scripts is a visitor, and with an id in the link a customer (facts/market.md 2 row 17).",
    )
    .here(
        "An agent that names itself is a machine, even if its page says that it was touched: no points, no identity.",
    );
    let ada = s.person("ada");
    s.braze().knows(&ada);
    let crawler = s.machine("a crawler", Manner::GOOGLEBOT);
    crawler.opens_link("/pricing", &ada.braze_id);

    s.sees(&crawler.key).holds_exactly(&[]).did(&["[Page view] /pricing (bot)"]).earned(0);
    s.sees(&ada.email).in_browsers(&[]).did(&[]).earned(0);
    s.sees_evidence("claim", &crawler.key, &ada.braze_id, "pending", "no human");
}

pub(super) fn link_preview_in_a_chat(s: &Scene) {
    s.rivals("The preview is a click, and the colleagues who follow the link are all merged into one lead (facts/market.md 1.2, 3.2).")
        .here("The preview is a machine's. The colleague who follows the link and signs up is a person of their own.");
    let (ada, ben) = (s.person("ada"), s.email("ben"));
    s.braze().knows(&ada);
    let preview = s.machine("the chat", Manner::SLACK);
    preview.fetches_link("/pricing", &ada.braze_id);
    s.minutes_later(2);
    let bens_laptop = s.browser("ben's laptop");
    bens_laptop.opens_link("/pricing", &ada.braze_id);
    bens_laptop.fills_form("demo", &ben);

    s.sees(&ada.email).in_browsers(&[]).earned(0);
    s.sees(&ben).holds_exactly(&[&ben]).in_browsers(&[&bens_laptop]).earned(25);
    s.sees(&preview.key).holds_exactly(&[]).earned(0);
}

pub(super) fn machine_open_and_suspected_bot_click(s: &Scene) {
    s.rivals("SalesWings lists 19 types of event that it takes and says nothing of the rest (facts/market.md 3.17).")
        .here("What Braze suspects to be a machine's is shown as such and earns nothing; a real click beside it does.");
    let ada = s.person("ada");
    let keys = [&ada.braze_id, &ada.email];
    s.braze().reports("users.messages.email.Open", &keys, json!({ "campaign_name": "News", "machine_open": "true" }));
    let suspected = json!({ "campaign_name": "News", "suspected_bot_click_reason": ["user_agent", "ip_address"] });
    s.braze().reports("users.messages.email.Click", &keys, suspected);
    s.minutes_later(60);
    s.braze().reports("users.messages.email.Click", &keys, json!({ "campaign_name": "News" }));

    s.sees(&ada.email)
        .did(&[
            "[Email campaign engagement] Opened email News (bot)",
            "[Email campaign engagement] Clicked in email News (bot)",
            "[Email campaign engagement] Clicked in email News",
        ])
        .earned(5);
}
