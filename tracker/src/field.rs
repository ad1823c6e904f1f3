//! What a form's fields are, from their names alone: an e-mail address, a name, a company, a phone number, or nothing
//! of ours. Nothing else is read from a form.

use crate::identity::{self, Words, holds};
use crate::json::{Object, cut, part, put};
use alloc::string::String;

/// The longest string on the wire, in bytes.
const STRING_BYTES_MAX: usize = 1024;

/// No name or company has as many digits, whatever the field is called: a social security number has 9, a payment card
/// 12 to 19 (whether or not Luhn's sum is right).
const NUMBER_DIGITS_MIN: usize = 9;

/// What we take a field for, as a number that `host.js` hands back with the value; the more certain e-mail first.
/// 0 is a field that is not to be read.
pub const NOT_READ: u8 = 0;
/// `type=email`.
pub const EMAIL_BY_TYPE: u8 = 1;
/// Called e-mail by its name, id or autocomplete.
pub const EMAIL_BY_NAME: u8 = 2;
/// Any other text: an e-mail if its value looks like one (a login's user name), else not taken.
pub const EMAIL_BY_VALUE: u8 = 3;
/// The first of [`PROPERTIES`]; the others follow.
pub const PROPERTY: u8 = 4;
/// A phone number: as [`NAMES`] count, after the properties.
pub const PHONE: u8 = PROPERTY + 3;

/// The properties that a form's fields become.
const PROPERTIES: &str = "first_name|last_name|company";

/// What may not be read whatever its type, by a part of its name: a card, a secret, a code, a social security number.
const PRIVATE: &str = "card|cvc|cvv|iban|pass|pwd|secret|code|ssn|security";

/// What names mean, without anything but letters: their end, so that `contact[first_name]` is one. Those of each of
/// [`PROPERTIES`], then [`PHONE`]'s, an empty word between them; last what only ends in one of them (`lname`).
const NAMES: &str = "fname|firstname|givenname|forename||lname|lastname|familyname|surname||company|companyname|\
    organization|organisation|organizationname|organisationname||tel|phone|phonenumber|mobile|mobilenumber||fullname";

/// What an `<input>` is taken for. `input_type` is the `type` property, which is lower case and `text` if unknown;
/// `autocomplete` is the attribute, since Firefox's property is empty for the words that it does not know.
#[must_use]
pub fn meaning(input_type: &str, autocomplete: &str, name: &str, id: &str) -> u8 {
    let mut meaning = match input_type {
        "text" => EMAIL_BY_VALUE,
        "tel" => PHONE,
        // Whatever it is called: `passenger_email` is no password.
        "email" => return EMAIL_BY_TYPE,
        _ => return NOT_READ,
    };
    // The last word of autocomplete is the field's; before it stand sections, `work`, `home`.
    let last = autocomplete.bytes().rposition(|byte| byte == b' ').map_or(0, |space| space + 1);
    let autocomplete = letters(part(autocomplete, last, usize::MAX));
    // `cc-number` and its like: a card's.
    if autocomplete.starts_with("cc") {
        return NOT_READ;
    }
    if autocomplete == "email" {
        return EMAIL_BY_NAME;
    }
    for name in &[autocomplete, letters(name), letters(id)] {
        if Words(PRIVATE).any(|part| holds(name, part)) {
            return NOT_READ;
        }
        if holds(name, "email") {
            meaning = EMAIL_BY_NAME;
        }
        if meaning == EMAIL_BY_VALUE {
            let mut meant = PROPERTY;
            for end in Words(NAMES) {
                if end.is_empty() {
                    meant += 1;
                // A very short one must be all of it: `hotel` ends in `tel`.
                } else if name == end || end.len() > 4 && name.ends_with(end) {
                    meaning = if meant > PHONE { EMAIL_BY_VALUE } else { meant };
                }
            }
        }
    }
    meaning
}

/// What a form, or a call of `identify`, says of who somebody is.
#[derive(Debug)]
pub struct Answers {
    /// Claims, as [`identity::join`] has them.
    claims: String,
    /// A form's e-mail, as a claim, and how certain it is.
    email: String,
    certainty: u8,
    properties: [String; 3],
}

impl Answers {
    /// What nobody answered yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "const, for the static tracker")]
    pub const fn new() -> Answers {
        const NONE: String = String::new();
        Answers { claims: NONE, email: NONE, certainty: 0, properties: [NONE; 3] }
    }

    /// Takes a claim in, if its value can identify anybody.
    pub fn claim(&mut self, key_type: &str, value: &str, from: &str) {
        let claim = identity::claim(key_type, value, from);
        identity::join(&mut self.claims, &claim);
    }

    /// Takes a field's value in, if it says anything. Of several e-mails the most certain counts, and of those the
    /// first; of anything else the first.
    pub fn field(&mut self, meaning: u8, value: &str) {
        if meaning == PHONE {
            if self.claims.is_empty() {
                self.claim("phone", value, "form");
            }
        } else if let Some(known) = self.properties.get_mut(usize::from(meaning.wrapping_sub(PROPERTY))) {
            let digits = value.bytes().filter(u8::is_ascii_digit).count();
            if known.is_empty() && digits < NUMBER_DIGITS_MIN && identity::usable(value) {
                known.push_str(cut(value, STRING_BYTES_MAX));
            }
        } else if self.email.is_empty() || meaning < self.certainty {
            let claim = identity::claim("email", value, "form");
            if !claim.is_empty() {
                self.email = claim;
                self.certainty = meaning;
            }
        }
    }

    /// The claims and, as a JSON object (empty for none), the properties. Then it is as new.
    pub fn take(&mut self) -> (String, String) {
        let mut json = Object::new();
        for (name, value) in Words(PROPERTIES).zip(&mut self.properties) {
            json.text(name, &core::mem::take(value));
        }
        let mut claims = core::mem::take(&mut self.claims);
        identity::join(&mut claims, &core::mem::take(&mut self.email));
        (claims, json.finish_unless_empty())
    }
}

/// A name's letters, lower case: `contact[First-Name]` is `contactfirstname`.
fn letters(name: &str) -> String {
    let mut letters = String::new();
    for byte in name.bytes().filter(u8::is_ascii_alphabetic) {
        put(&mut letters, byte.to_ascii_lowercase());
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> u8 {
        meaning("text", "", name, "")
    }

    #[test]
    fn never_read() {
        for input_type in ["password", "hidden", "file", "checkbox", "radio", "number", "date", "search", "submit"] {
            assert_eq!(meaning(input_type, "email", "email", "email"), NOT_READ, "{input_type}");
        }
        for name in ["card_number", "cc-card", "CVC", "iban", "user_password", "passwd", "pwd", "client-secret", "ssn"]
        {
            assert_eq!(text(name), NOT_READ, "{name}");
        }
        for autocomplete in ["cc-name", "billing CC-Number", "current-password", "one-time-code"] {
            assert_eq!(meaning("text", autocomplete, "x", ""), NOT_READ, "{autocomplete}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(meaning("email", "", "company", ""), EMAIL_BY_TYPE);
        for name in ["email", "E-Mail", "your_email", "contact[email]", "EmailAddress", "company_email"] {
            assert_eq!(text(name), EMAIL_BY_NAME, "{name}");
        }
        assert_eq!(meaning("text", "section-a work email", "", ""), EMAIL_BY_NAME);
        for name in ["business-newsletter-email", "passenger_email", "signup-card-email", "discount-code-email"] {
            assert_eq!(meaning("email", "", "email", name), EMAIL_BY_TYPE, "{name}");
            assert_eq!(meaning("text", "email", name, ""), EMAIL_BY_NAME, "{name}");
        }
        assert_eq!(meaning("text", "", "", "mc-EMAIL"), EMAIL_BY_NAME);
        assert_eq!(meaning("text", "", "company", "email"), EMAIL_BY_NAME);
        for (name, property) in [
            ("first_name", 0),
            ("contact[firstName]", 0),
            ("fname", 0),
            ("given-name", 0),
            ("last-name", 1),
            ("lname", 1),
            ("surname", 1),
            ("Company", 2),
            ("your-organisation", 2),
        ] {
            assert_eq!(text(name), PROPERTY + property, "{name}");
        }
        for name in ["phone", "mobile_number", "contact-telephone", "work_phone", "tel"] {
            assert_eq!(text(name), PHONE, "{name}");
        }
        assert_eq!(meaning("tel", "", "x", ""), PHONE);
        for name in ["username", "login", "name", "fullname", "your-full-name", "hotel", "message", ""] {
            assert_eq!(text(name), EMAIL_BY_VALUE, "{name}");
        }
    }

    #[test]
    fn the_e_mail_that_is_believed_most() {
        let mut answers = Answers::new();
        answers.field(EMAIL_BY_VALUE, "user@example.com");
        answers.field(EMAIL_BY_NAME, "not an address");
        answers.field(EMAIL_BY_NAME, "Named@Example.com");
        answers.field(EMAIL_BY_NAME, "second@example.com");
        answers.field(EMAIL_BY_TYPE, "");
        answers.field(EMAIL_BY_VALUE, "late@example.com");
        let (claims, properties) = answers.take();
        assert_eq!(claims, identity::claim("email", "named@example.com", "form"));
        assert_eq!(properties, "");
    }

    #[test]
    fn numbers_of_cards_and_people_are_never_read() {
        let mut answers = Answers::new();
        for value in ["4111 1111 1111 1111", "378282246310005", "078-05-1120", "card 5555-5555-5555-4444"] {
            for meaning in EMAIL_BY_TYPE..=PROPERTY + 2 {
                answers.field(meaning, value);
            }
            assert_eq!(answers.take(), (String::new(), String::new()), "{value}");
        }
        answers.field(PROPERTY + 2, "Studio 54, 1977");
        assert_eq!(answers.take().1, r#"{"company":"Studio 54, 1977"}"#);
    }

    #[test]
    fn properties_and_phone() {
        let mut answers = Answers::new();
        answers.field(PROPERTY + 2, "Example \"Ltd\"");
        answers.field(PROPERTY, "Ada");
        answers.field(PROPERTY, "Bob");
        answers.field(PROPERTY + 1, "");
        answers.field(PHONE, "020 7946 0958");
        answers.field(PHONE, "+44 20 7946 0958");
        answers.field(PHONE, "+44 20 7946 0959");
        answers.field(EMAIL_BY_VALUE, "I would like a demo");
        let (claims, properties) = answers.take();
        assert_eq!(claims, identity::claim("phone", "+442079460958", "form"));
        assert_eq!(properties, r#"{"first_name":"Ada","company":"Example \"Ltd\""}"#);
        assert_eq!(answers.take(), (String::new(), String::new()));
    }
}
