//! Reading who came from a URL, and taking that out of it again.
//!
//! `braze_id` and `br_user_id` are read in the query and in the fragment (`#braze_id=`, `#/route?braze_id=`,
//! `#part&braze_id=`), in any case, percent-decoded, a `+` staying a plus: Braze's links carry ids unescaped. They are
//! removed from the address bar and from every URL that is sent; all other bytes stay as they are. `lid`, which Braze
//! adds to make each link of a mail its own, stays in the address bar, because it is no secret and a site may own a
//! parameter of that name, and leaves the URLs that are sent, because one page must not have as many URLs as mails.

use crate::identity::{Claim, usable};
use crate::json::{Object, cut};
use alloc::{borrow::ToOwned, string::String, vec::Vec};

/// The longest URL on the wire, in bytes.
const URL_BYTES_MAX: usize = 2048;
/// The longest string on the wire, in bytes.
const STRING_BYTES_MAX: usize = 1024;

const BRAZE_ID: &str = "braze_id";
const BR_USER_ID: &str = "br_user_id";
/// Not sent: the link's alias, and secrets that sign-in redirects leave in fragments.
const NOT_SENT: [&str; 5] = ["lid", "access_token", "id_token", "refresh_token", "password"];

/// What a page's address says.
#[derive(Debug, PartialEq, Eq)]
pub struct Landing {
    /// What the address bar is to show.
    pub address: String,
    /// What is sent as `url`.
    pub sent: String,
    /// Who the link was made for, if it says.
    pub claim: Option<Claim>,
    /// The `utm_` parameters as a JSON object; empty if there are none.
    pub utm: String,
}

/// Reads a page's address. Of a repeated parameter the first usable value counts. Any `braze_id`, usable or not,
/// suppresses `br_user_id`, which is the customer's own id and so of type `external_id`.
#[must_use]
pub fn read(href: &str) -> Landing {
    let pieces = pieces(href);
    let claim = if pieces.iter().any(|piece| is(piece, BRAZE_ID)) {
        first_usable(&pieces, BRAZE_ID).and_then(|value| Claim::new("braze_id", &value, "url"))
    } else {
        first_usable(&pieces, BR_USER_ID).and_then(|value| Claim::new("external_id", &value, "url"))
    };
    Landing { address: without(&pieces, is_identity), sent: sendable(&pieces), claim, utm: utm(&pieces) }
}

/// A URL as it is sent: without identity, link alias and secrets.
#[must_use]
pub fn sent(url: &str) -> String {
    sendable(&pieces(url))
}

/// Cuts a URL, losing nothing, into what comes before the query and one piece per parameter with the separator
/// before it (`?`, `&` or `#`). A second `?` separates too (`/?a=b?braze_id=x` is a common way to get it wrong),
/// except inside an identity's value.
fn pieces(url: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (i, byte) in url.bytes().enumerate() {
        let separates = match byte {
            b'#' => true,
            b'?' => start == 0 || !is_identity(&url[start..i]),
            b'&' => start > 0,
            _ => false,
        };
        if separates && i > 0 {
            pieces.push(&url[start..i]);
            start = i;
        }
    }
    pieces.push(&url[start..]);
    pieces
}

/// Name and value of a piece, as written; `None` for what comes before the query.
fn parameter(piece: &str) -> Option<(&str, &str)> {
    let text = piece.strip_prefix(['?', '&', '#'])?;
    Some(text.split_once('=').unwrap_or((text, "")))
}

fn is(piece: &str, name: &str) -> bool {
    parameter(piece).is_some_and(|(written, _)| percent_decode(written).eq_ignore_ascii_case(name))
}

fn is_identity(piece: &str) -> bool {
    is(piece, BRAZE_ID) || is(piece, BR_USER_ID)
}

fn first_usable(pieces: &[&str], name: &str) -> Option<String> {
    pieces.iter().filter(|piece| is(piece, name)).find_map(|piece| {
        let value = percent_decode(parameter(piece)?.1);
        usable(value.trim_ascii()).map(ToOwned::to_owned)
    })
}

/// Puts the pieces together again but for some. What follows a removed first parameter takes over its separator.
fn without(pieces: &[&str], removed: impl Fn(&str) -> bool) -> String {
    let mut url = String::new();
    let mut separator = None;
    for piece in pieces {
        if removed(piece) {
            if !piece.starts_with('&') {
                separator = piece.get(..1);
            }
            continue;
        }
        match (separator.take(), piece.strip_prefix('&')) {
            (Some(first), Some(rest)) => {
                url.push_str(first);
                url.push_str(rest);
            }
            _ => url.push_str(piece),
        }
    }
    url
}

/// Over the wire's limit an event is rejected: rather than losing it we send less of its URL.
fn sendable(pieces: &[&str]) -> String {
    let url = without(pieces, |piece| is_identity(piece) || NOT_SENT.iter().any(|name| is(piece, name)));
    if url.len() <= URL_BYTES_MAX {
        return url;
    }
    cut(url.split(['?', '#']).next().unwrap_or(""), URL_BYTES_MAX).to_owned()
}

/// The first of each. Here `+` is a space, as form encoding and every campaign builder have it.
fn utm(pieces: &[&str]) -> String {
    let mut json = Object::new();
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in pieces.iter().filter_map(|piece| parameter(piece)) {
        let name = percent_decode(name).to_ascii_lowercase();
        let Some(name) = name.strip_prefix("utm_") else { continue };
        let value = percent_decode(&value.replace('+', " "));
        if name.is_empty() || value.is_empty() || seen.iter().any(|s| s == name) {
            continue;
        }
        json = json.text(cut(name, STRING_BYTES_MAX), cut(&value, STRING_BYTES_MAX));
        seen.push(name.to_owned());
    }
    json.finish_unless_empty()
}

/// Decodes `%xx`; what is not well formed stays as written.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            bytes.push(high << 4 | low);
            rest = &rest[3..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // 21 An escaped name is the same name; a path is not a query.
        link("https://x.example/a&braze_id=1?braze%5Fid=5fbd99bac125ca40511f2cb1", "https://x.example/a&braze_id=1", "https://x.example/a&braze_id=1", BRAZE),
        // 22 What sign-in left in the fragment stays in the address bar and is not sent.
        link("https://x.example/#access_token=s3cret&state=1", "https://x.example/#access_token=s3cret&state=1", "https://x.example/#state=1", None),
    ];

    #[test]
    fn table_of_links() {
        for (i, link) in LINKS.iter().enumerate() {
            let landing = read(link.href);
            let number = i + 1;
            assert_eq!(landing.address, link.address, "address of {number}: {}", link.href);
            assert_eq!(landing.sent, link.sent, "sent of {number}: {}", link.href);
            let claim = landing.claim.as_ref().map(|claim| (claim.key_type, claim.value.as_str()));
            assert_eq!(claim, link.claim, "claim of {number}: {}", link.href);
            assert!(landing.claim.is_none_or(|claim| claim.from == "url"), "{number}");
            assert_eq!(sent(link.href), link.sent, "sent as a referrer, {number}");
        }
    }

    #[test]
    fn cleaning_twice_changes_nothing() {
        for link in LINKS {
            let once = read(link.href);
            let again = read(&once.address);
            assert_eq!((again.address.as_str(), again.claim), (once.address.as_str(), None), "{}", link.href);
            assert_eq!(sent(&once.sent), once.sent, "{}", link.href);
        }
    }

    #[test]
    fn campaign_parameters() {
        let landing = read("https://x.example/?utm_source=mail&UTM_Campaign=spring+sale%21&utm_source=second&utm_=x&utm_term=#utm_id=7");
        assert_eq!(landing.utm, r#"{"source":"mail","campaign":"spring sale!","id":"7"}"#);
        assert_eq!(read("https://x.example/?utm=1").utm, "");
    }

    #[test]
    fn no_url_is_too_long_to_be_accepted() {
        let mut long = String::from("https://x.example/path?q=");
        long.extend(core::iter::repeat_n('y', URL_BYTES_MAX));
        assert_eq!(read(&long).sent, "https://x.example/path");
        assert_eq!(read(&long).address, long);
        let path = long.replace('?', "/");
        assert_eq!(sent(&path).len(), URL_BYTES_MAX);
    }

    #[test]
    fn bad_escapes_stay_as_written() {
        assert_eq!(percent_decode("%"), "%");
        assert_eq!(percent_decode("%4"), "%4");
        assert_eq!(percent_decode("%+1%41"), "%+1A");
        assert_eq!(percent_decode("%ff"), "%ff");
        assert_eq!(percent_decode("100%25"), "100%");
    }
}
