//! Reading who came from a URL, and taking that out of it again.
//!
//! `braze_id` and `br_user_id` are read in the query and in the fragment (`#braze_id=`, `#/route?braze_id=`,
//! `#part&braze_id=`), in any case, percent-decoded, a `+` staying a plus: Braze's links carry ids unescaped. They are
//! removed from the address bar and from every URL that is sent; all other bytes stay as they are. `lid`, which Braze
//! adds to make each link of a mail its own, stays in the address bar, because it is no secret and a site may own a
//! parameter of that name, and leaves the URLs that are sent, because one page must not have as many URLs as mails.

use crate::identity::{among, claim, email};
use crate::json::{Object, copy, cut, lower, part, put};
use alloc::string::String;

/// The longest URL on the wire, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// The longest string on the wire, in bytes.
const STRING_BYTES_MAX: usize = 1024;

/// Not sent: the link's alias, the name of a link between domains, which `bind.js` reads, and secrets that sign-in
/// redirects leave in fragments.
const NOT_SENT: &str = "lid|wb_link|access_token|id_token|refresh_token|password";

/// What advertisers tell their clicks by.
const CLICK_IDS: &str = "gclid|gbraid|wbraid|dclid|fbclid|msclkid|ttclid|twclid|li_fat_id|yclid";

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
pub struct Landing {
    /// What the address bar is to show: without identity.
    pub address: String,
    /// What is sent: without identity, link alias, secrets and e-mail addresses.
    pub sent: String,
    /// Who the link was made for, as a claim; empty if it does not say.
    pub claim: String,
    /// The `utm_` parameters as a JSON object; empty if there are none.
    pub utm: String,
    /// Advertisers' click ids as a JSON object; empty if there are none.
    pub clicks: String,
}

/// Reads a URL. Of a repeated parameter the first usable value counts. Any `braze_id`, usable or not, suppresses
/// `br_user_id`, which is the customer's own id and so of type `external_id`.
///
/// A parameter begins after `?`, `&` or `#` and ends before the next of them. A second `?` separates too
/// (`/?a=b?braze_id=x` is a common way to get it wrong), except inside an identity's value.
///
/// `decode` is the browser's `decodeURIComponent`, which leaves what it cannot read; our own is 300 bytes of brotli.
#[must_use]
pub fn read(url: &str, decode: impl Fn(&str) -> String) -> Landing {
    let bytes = url.as_bytes();
    let mut at = end_of(bytes, 0, b"?#");
    let before = part(url, 0, at);
    let mut address = Rest::after(before);
    let mut sent = Rest::after(before);
    let mut utm = Object::new();
    let mut clicks = Object::new();
    let mut braze_id = String::new();
    let mut br_user_id = String::new();
    let mut has_braze_id = false;

    while at < bytes.len() {
        let name_end = end_of(bytes, at + 1, b"=?&#");
        let name = lower(&decode(part(url, at + 1, name_end)));
        let is_braze_id = name == "braze_id";
        let is_identity = is_braze_id || name == "br_user_id";
        let end = end_of(bytes, name_end, if is_identity { b"&#" } else { b"?&#" });
        let written = part(url, name_end + 1, end);
        let value = decode(written);
        let piece = part(url, at, end);

        if is_identity {
            has_braze_id |= is_braze_id;
            let (found, key_type) =
                if is_braze_id { (&mut braze_id, "braze_id") } else { (&mut br_user_id, "external_id") };
            if found.is_empty() {
                *found = claim(key_type, &value, "url");
            }
        } else if let Some(campaign) = name.strip_prefix("utm_")
            && !campaign.is_empty()
            && !utm.has(campaign)
        {
            // The first of each. Here `+` is a space, as form encoding and every campaign builder have it.
            let mut spaced = String::new();
            for byte in written.bytes() {
                put(&mut spaced, if byte == b'+' { b' ' } else { byte });
            }
            utm.text(campaign, cut(&decode(&spaced), STRING_BYTES_MAX));
        } else if among(&name, CLICK_IDS) && !clicks.has(&name) {
            clicks.text(&name, cut(&value, STRING_BYTES_MAX));
        }
        address.take(piece, is_identity);
        let private = among(&name, NOT_SENT) || email(&value).is_some();
        sent.take(piece, is_identity || private);
        at = end;
    }
    // Over the wire's limit an event is rejected: rather than losing it we send less of its URL.
    let sent = if sent.url.len() > URL_BYTES_MAX { copy(cut(before, URL_BYTES_MAX)) } else { sent.url };
    let claim = if has_braze_id { braze_id } else { br_user_id };
    Landing { address: address.url, sent, claim, utm: utm.finish_unless_empty(), clicks: clicks.finish_unless_empty() }
}

/// A URL that is put together again, all but some of its parameters, byte for byte.
struct Rest {
    url: String,
    /// The separator of a removed first parameter, which what follows it takes over; else `&`.
    first: u8,
}

impl Rest {
    fn after(before: &str) -> Rest {
        Rest { url: copy(before), first: b'&' }
    }

    /// Takes in the next parameter, with its separator.
    fn take(&mut self, piece: &str, removed: bool) {
        let separator = piece.bytes().next().unwrap_or(b'&');
        if removed {
            if separator != b'&' {
                self.first = separator;
            }
        } else {
            let first = core::mem::replace(&mut self.first, b'&');
            put(&mut self.url, if separator == b'&' { first } else { separator });
            self.url.push_str(part(piece, 1, usize::MAX));
        }
    }
}

/// Where the first of some bytes stands, from `start` on; the end if none does.
fn end_of(bytes: &[u8], start: usize, ends: &[u8]) -> usize {
    let mut at = start;
    while at < bytes.len() && !ends.contains(&bytes[at]) {
        at += 1;
    }
    at
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::borrow::ToOwned;

    /// What `decodeURIComponent` makes of a text, and the text itself where that throws.
    pub(crate) fn decode(text: &str) -> String {
        let valid = |(i, _): (usize, &str)| {
            let digits = text.as_bytes().get(i + 1..i + 3);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        match percent_encoding::percent_decode_str(text).decode_utf8() {
            Ok(decoded) if text.match_indices('%').all(valid) => decoded.into_owned(),
            _ => text.to_owned(),
        }
    }

    fn read(url: &str) -> Landing {
        super::read(url, decode)
    }

    const ID: &str = "5fbd99bac125ca40511f2cb1";

    /// One link: what it is, what the address bar and the event show of it, and whom it claims.
    struct Link {
        href: &'static str,
        address: &'static str,
        sent: &'static str,
        claim: Option<(&'static str, &'static str)>,
    }

    const fn link(
        href: &'static str,
        address: &'static str,
        sent: &'static str,
        claim: Option<(&'static str, &'static str)>,
    ) -> Link {
        Link { href, address, sent, claim }
    }

    const BRAZE: Option<(&str, &str)> = Some(("braze_id", ID));

    #[rustfmt::skip]
    const LINKS: &[Link] = &[
        // 1 Nothing there, nothing touched: not an empty query, not an odd escape.
        link("https://x.example/a?&b=%zz&&c#", "https://x.example/a?&b=%zz&&c#", "https://x.example/a?&b=%zz&&c#", None),
        // 2 The plain case.
        link("https://x.example/?braze_id=5fbd99bac125ca40511f2cb1", "https://x.example/", "https://x.example/", BRAZE),
        // 3 After other parameters.
        link("https://x.example/p?a=1&braze_id=5fbd99bac125ca40511f2cb1", "https://x.example/p?a=1", "https://x.example/p?a=1", BRAZE),
        // 4 Before others.
        link("https://x.example/p?braze_id=5fbd99bac125ca40511f2cb1&a=1", "https://x.example/p?a=1", "https://x.example/p?a=1", BRAZE),
        // 5 Between others, whose order and bytes stay.
        link("https://x.example/p?b=%20+&braze_id=5fbd99bac125ca40511f2cb1&a", "https://x.example/p?b=%20+&a", "https://x.example/p?b=%20+&a", BRAZE),
        // 6 Upper case.
        link("https://x.example/?BRAZE_ID=5fbd99bac125ca40511f2cb1&Br_User_Id=u", "https://x.example/", "https://x.example/", BRAZE),
        // 7 Both: only braze_id.
        link("https://x.example/?br_user_id=u7&braze_id=5fbd99bac125ca40511f2cb1#top", "https://x.example/#top", "https://x.example/#top", BRAZE),
        // 8 Both, braze_id unusable: nobody.
        link("https://x.example/?br_user_id=u7&braze_id=", "https://x.example/", "https://x.example/", None),
        // 9 br_user_id alone is the customer's id.
        link("https://x.example/?br_user_id=u7", "https://x.example/", "https://x.example/", Some(("external_id", "u7"))),
        // 10 Empty, because the person is anonymous to Braze.
        link("https://x.example/?br_user_id=&a=1", "https://x.example/?a=1", "https://x.example/?a=1", None),
        // 11 Unrendered Liquid, as typed and as a browser encodes it.
        link("https://x.example/?braze_id={{${braze_id}}}&a=1", "https://x.example/?a=1", "https://x.example/?a=1", None),
        // 12
        link("https://x.example/?br_user_id=%7B%7B%24%7Buser_id%7D%20|%20url_param_escape%7D%7D", "https://x.example/", "https://x.example/", None),
        // 13 In the fragment, alone.
        link("https://x.example/p#braze_id=5fbd99bac125ca40511f2cb1", "https://x.example/p", "https://x.example/p", BRAZE),
        // 14 After an anchor, as links are lengthened "at the end".
        link("https://x.example/p?a=1#prices?braze_id=5fbd99bac125ca40511f2cb1", "https://x.example/p?a=1#prices", "https://x.example/p?a=1#prices", BRAZE),
        // 15 In the query of a hash route, with others.
        link("https://x.example/#/r?braze_id=5fbd99bac125ca40511f2cb1&tab=2", "https://x.example/#/r?tab=2", "https://x.example/#/r?tab=2", BRAZE),
        // 16 Repeated: the first usable.
        link("https://x.example/?braze_id=null&braze_id=5fbd99bac125ca40511f2cb1&braze_id=f", "https://x.example/", "https://x.example/", BRAZE),
        // 17 A second question mark.
        link("https://x.example/?a=b?braze_id=5fbd99bac125ca40511f2cb1", "https://x.example/?a=b", "https://x.example/?a=b", BRAZE),
        // 18 Escapes are decoded, a plus is a plus, a question mark in the value is the value's.
        link("https://x.example/?br_user_id=ada+b%40example.com%2F%C3%B6?=&a=1", "https://x.example/?a=1", "https://x.example/?a=1", Some(("external_id", "ada+b@example.com/ö?="))),
        // 19 lid and utm: both stay in the address bar, lid is not sent.
        link("https://x.example/?lid=ab12&utm_source=mail&braze_id=5fbd99bac125ca40511f2cb1", "https://x.example/?lid=ab12&utm_source=mail", "https://x.example/?utm_source=mail", BRAZE),
        // 20 Without a value, and names that only look alike.
        link("https://x.example/?braze_id&xbraze_id=1&braze_ids=2#br_user_id", "https://x.example/?xbraze_id=1&braze_ids=2", "https://x.example/?xbraze_id=1&braze_ids=2", None),
        // 21 What cannot be decoded is as written.
        link("https://x.example/?br_user_id=50%25%ff&a=1", "https://x.example/?a=1", "https://x.example/?a=1", Some(("external_id", "50%25%ff"))),
        // 22 An escaped name is the same name; a path is not a query.
        link("https://x.example/a&braze_id=1?braze%5Fid=5fbd99bac125ca40511f2cb1", "https://x.example/a&braze_id=1", "https://x.example/a&braze_id=1", BRAZE),
        // 23 What sign-in left in the fragment stays in the address bar and is not sent.
        link("https://x.example/#access_token=s3cret&state=1", "https://x.example/#access_token=s3cret&state=1", "https://x.example/#state=1", None),
        // 24 What a form sent with GET leaves in the query.
        link("https://x.example/?q=1&mail=Ada%40example.com&password=p", "https://x.example/?q=1&mail=Ada%40example.com&password=p", "https://x.example/?q=1", None),
        // 25 The name of a link between domains, where nobody reads it.
        link("https://x.example/?a=1&wb_link=0f&b=2", "https://x.example/?a=1&wb_link=0f&b=2", "https://x.example/?a=1&b=2", None),
    ];

    #[test]
    fn table_of_links() {
        for (i, link) in LINKS.iter().enumerate() {
            let landing = read(link.href);
            let number = i + 1;
            assert_eq!(landing.address, link.address, "address of {number}: {}", link.href);
            assert_eq!(landing.sent, link.sent, "sent of {number}: {}", link.href);
            let expected = link.claim.map(|(key_type, value)| claim(key_type, value, "url")).unwrap_or_default();
            assert_eq!(landing.claim, expected, "claim of {number}: {}", link.href);
        }
    }

    #[test]
    fn cleaning_twice_changes_nothing() {
        for link in LINKS {
            let once = read(link.href);
            let again = read(&once.address);
            assert_eq!(read(&once.sent).sent, once.sent, "{}", link.href);
            assert_eq!((again.address, again.claim), (once.address, String::new()), "{}", link.href);
        }
    }

    #[test]
    fn campaign_parameters() {
        let landing = read(
            "https://x.example/?utm_source=mail&UTM_Campaign=spring+sale%21%2B&utm_source=second&utm_=x&utm_term=#utm_id=7",
        );
        assert_eq!(landing.utm, r#"{"source":"mail","campaign":"spring sale!+","id":"7"}"#);
        assert_eq!(read("https://x.example/?utm=1").utm, "");
    }

    #[test]
    fn click_ids() {
        let landing = read("https://x.example/?gclid=Cj0K%2B_1&a=2&FBCLID=Iw&gclid=second");
        assert_eq!(landing.clicks, r#"{"gclid":"Cj0K+_1","fbclid":"Iw"}"#);
        assert_eq!(read("https://x.example/?gclid=&xgclid=1").clicks, "");
    }

    #[test]
    fn no_url_is_too_long_to_be_accepted() {
        let mut long = String::from("https://x.example/path?q=");
        long.extend(core::iter::repeat_n('y', URL_BYTES_MAX));
        assert_eq!(read(&long).sent, "https://x.example/path");
        assert_eq!(read(&long).address, long);
        let path = long.replace('?', "/");
        assert_eq!(read(&path).sent.len(), URL_BYTES_MAX);
    }
}
