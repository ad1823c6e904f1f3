//! What a request's own headers say about who sent it.
//!
//! Only those that say so themselves are taken for machines: known agents, and browsers that fetch ahead. Unknown
//! agents, automated and headless browsers and HTTP libraries are not bots by themselves (contract, row 48).

/// Parts of user agents, in lower case, of crawlers, link previewers, mail scanners, auditors and uptime monitors that
/// name themselves. The choice follows the public lists behind `monperrus/crawler-user-agents` and npm's `isbot`; there
/// is no well-kept crate of them. HTTP libraries (`curl`, `python-requests`, …) are left out on purpose: servers use them
/// to relay events.
const AGENTS: &[&str] = &[
    // Their own convention: `(compatible; Name/1.0; +https://about-me)`. No browser does this.
    "+http://",
    "+https://",
    "crawler",
    "spider",
    // Search.
    "googlebot",
    "google-inspectiontool",
    "adsbot-google",
    "mediapartners-google",
    "storebot-google",
    "feedfetcher-google",
    "google-read-aloud",
    "googleother",
    "bingbot",
    "bingpreview",
    "adidxbot",
    "msnbot",
    "duckduckbot",
    "yandexbot",
    "applebot",
    "petalbot",
    "seznambot",
    "slurp",
    "qwantbot",
    "mojeekbot",
    // Language models.
    "gptbot",
    "chatgpt-user",
    "oai-searchbot",
    "claudebot",
    "claude-user",
    "claude-searchbot",
    "perplexitybot",
    "perplexity-user",
    "ccbot",
    "amazonbot",
    "meta-externalagent",
    "diffbot",
    // Link previews.
    "facebookexternalhit",
    "facebookcatalog",
    "twitterbot",
    "linkedinbot",
    "slackbot",
    "slack-imgproxy",
    "discordbot",
    "telegrambot",
    "whatsapp/",
    "skypeuripreview",
    "pinterestbot",
    "redditbot",
    "embedly",
    "iframely",
    "vkshare",
    // Mail and security scanners.
    "barracuda",
    "mimecast",
    "proofpoint",
    "googleimageproxy",
    "yahoomailproxy",
    "virustotal",
    "urlscan",
    // Auditors and monitors.
    "ahrefs",
    "semrushbot",
    "siteauditbot",
    "mj12bot",
    "dotbot",
    "rogerbot",
    "dataforseobot",
    "screaming frog",
    "chrome-lighthouse",
    "page speed insights",
    "gtmetrix",
    "pingdom",
    "uptimerobot",
    "statuscake",
    "site24x7",
    "datadogsynthetics",
    // Archives.
    "archive.org_bot",
    "ia_archiver",
    "heritrix",
];

/// Why a request is a machine's, if its headers say so: `prerender`, `prefetch` or `known_bot`.
///
/// `purposes` are the values of the `Sec-Purpose`, `Purpose`, `X-Purpose` and `X-Moz` headers that were sent.
#[must_use]
pub fn bot_reason(user_agent: &str, purposes: &[&str]) -> Option<&'static str> {
    let says = |word: &str| purposes.iter().any(|value| value.to_ascii_lowercase().contains(word));
    // `Sec-Purpose: prefetch;prerender` says both.
    if says("prerender") {
        return Some("prerender");
    }
    // `preview` is Safari's word for it (`X-Purpose: preview`).
    if says("prefetch") || says("preview") {
        return Some("prefetch");
    }
    let user_agent = user_agent.to_ascii_lowercase();
    AGENTS.iter().any(|agent| user_agent.contains(agent)).then_some("known_bot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_name_themselves() {
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0) Chrome/116.0 Safari/537.36",
            "facebookexternalhit/1.1",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "Mozilla/5.0 (compatible; NewThing/1.0; +https://new.example/about)",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36 Chrome-Lighthouse",
        ] {
            assert_eq!(bot_reason(agent, &[]), Some("known_bot"), "{agent}");
        }
    }

    #[test]
    fn people_automation_and_libraries_are_none() {
        for agent in [
            "",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148 Safari/604.1",
            "curl/8.5.0",
            "node",
            "python-requests/2.31.0",
        ] {
            assert_eq!(bot_reason(agent, &[]), None, "{agent}");
        }
    }

    #[test]
    fn fetching_ahead() {
        assert_eq!(bot_reason("", &["prefetch"]), Some("prefetch"));
        assert_eq!(bot_reason("", &["prefetch;prerender"]), Some("prerender"));
        assert_eq!(bot_reason("", &["preview"]), Some("prefetch"));
        assert_eq!(bot_reason("", &["navigate", ""]), None);
    }
}
