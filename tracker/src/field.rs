//! What a form's fields are, from their names alone: an e-mail address, a name, a company, a phone number, or nothing
//! of ours. Nothing else is read from a form.

use crate::identity::{Claim, email, usable};
use crate::json::{Object, cut};
use alloc::string::String;

/// The longest string on the wire, in bytes.
const STRING_BYTES_MAX: usize = 1024;

/// How an `<input>` names itself. Its value is not here: it is read only once this says that it may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Field<'a> {
    /// The `type` property, which is lower case and `text` for unknown ones.
    pub input_type: &'a str,
    /// The `name` attribute.
    pub name: &'a str,
    /// The `id` attribute.
    pub id: &'a str,
    /// The `autocomplete` attribute.
    pub autocomplete: &'a str,
}

/// What we take a field for. E-mails in the order in which they are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// `type=email`.
    EmailByType,
    /// Called e-mail by its name, id or autocomplete.
    EmailByName,
    /// Any other text: an e-mail if its value looks like one (a login's user name), else not taken.
    EmailByValue,
    /// A property of this name: `first_name`, `last_name`, `company`.
    Property(&'static str),
    /// A phone number.
    Phone,
}

/// What may not be read whatever its type, by a part of its name: a card, a secret, a one-time code.
const PRIVATE: [&str; 9] = ["card", "cvc", "cvv", "iban", "pass", "pwd", "secret", "onetimecode", "ssn"];

/// Whole names, without anything but letters. Ends of names, so that `contact[first_name]` is one.
const PROPERTIES: [(&str, &[&str], &[&str]); 3] = [
    ("first_name", &["fname"], &["firstname", "givenname", "forename"]),
    ("last_name", &["lname"], &["lastname", "familyname", "surname"]),
    ("company", &[], &["company", "companyname", "organization", "organisation", "organizationname", "organisationname"]),
];

const PHONES: [&str; 5] = ["phone", "phonenumber", "mobile", "mobilenumber", "telephone"];

/// What the field is taken for; `None` if it is not to be read.
#[must_use]
pub fn meaning(field: Field<'_>) -> Option<Meaning> {
    if !matches!(field.input_type, "text" | "email" | "tel") {
        return None;
    }
    // The last word of autocomplete is the field's; before it stand sections, `work`, `home`.
    let autocomplete = field.autocomplete.trim_ascii().rsplit(' ').next().unwrap_or("");
    if autocomplete.starts_with("cc-") {
        return None;
    }
    let names = [letters(autocomplete), letters(field.name), letters(field.id)];
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    if any(&|name| PRIVATE.iter().any(|part| name.contains(part))) {
        return None;
    }
    if field.input_type == "email" {
        return Some(Meaning::EmailByType);
    }
    if any(&|name| name.contains("email")) {
        return Some(Meaning::EmailByName);
    }
    for (property, whole, ends) in PROPERTIES {
        if any(&|name| whole.contains(&name) || ends.iter().any(|end| name.ends_with(end))) {
            return Some(Meaning::Property(property));
        }
    }
    if field.input_type == "tel" || any(&|name| name == "tel" || PHONES.iter().any(|end| name.ends_with(end))) {
        return Some(Meaning::Phone);
    }
    Some(Meaning::EmailByValue)
}

/// What a form says of who filled it in.
#[derive(Debug, Default)]
pub struct Answers {
    email: Option<(Meaning, Claim)>,
    phone: Option<Claim>,
    properties: [Option<String>; PROPERTIES.len()],
}

impl Answers {
    /// Takes a field's value in, if it says anything. Of several e-mails the one that is believed most counts, and
    /// of those the first; of anything else the first.
    pub fn add(&mut self, meaning: Meaning, value: &str) {
        match meaning {
            Meaning::Phone => {
                if self.phone.is_none() {
                    self.phone = Claim::new("phone", value, "form");
                }
            }
            Meaning::Property(property) => {
                let value = value.trim_ascii();
                for (slot, (name, ..)) in self.properties.iter_mut().zip(PROPERTIES) {
                    if name == property && slot.is_none() && usable(value).is_some() && email(value).is_none() {
                        *slot = Some(String::from(cut(value, STRING_BYTES_MAX)));
                    }
                }
            }
            _ => {
                if self.email.as_ref().is_none_or(|(known, _)| meaning < *known)
                    && let Some(claim) = Claim::new("email", value, "form")
                {
                    self.email = Some((meaning, claim));
                }
            }
        }
    }

    /// The claims and, as a JSON object (empty for none), the properties.
    #[must_use]
    pub fn finish(self) -> (alloc::vec::Vec<Claim>, String) {
        let mut json = Object::new();
        for ((name, ..), value) in PROPERTIES.iter().zip(&self.properties) {
            json = json.text_unless_empty(name, value.as_deref().unwrap_or(""));
        }
        (self.email.map(|(_, claim)| claim).into_iter().chain(self.phone).collect(), json.finish_unless_empty())
    }
}

/// A name's letters, lower case: `contact[First-Name]` is `contactfirstname`.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> Option<Meaning> {
        meaning(Field { input_type: "text", name, ..Field::default() })
    }

    #[test]
    fn never_read() {
        for input_type in ["password", "hidden", "file", "checkbox", "radio", "number", "date", "search", "submit"] {
            assert_eq!(meaning(Field { input_type, name: "email", ..Field::default() }), None, "{input_type}");
        }
        for name in ["card_number", "cc-card", "CVC", "iban", "user_password", "passwd", "pwd", "client-secret", "ssn"] {
            assert_eq!(text(name), None, "{name}");
        }
        for autocomplete in ["cc-name", "billing cc-number", "current-password", "one-time-code"] {
            assert_eq!(meaning(Field { input_type: "text", autocomplete, ..Field::default() }), None, "{autocomplete}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(meaning(Field { input_type: "email", name: "x", ..Field::default() }), Some(Meaning::EmailByType));
        for name in ["email", "E-Mail", "your_email", "contact[email]", "EmailAddress"] {
            assert_eq!(text(name), Some(Meaning::EmailByName), "{name}");
        }
        assert_eq!(
            meaning(Field { input_type: "text", autocomplete: "section-a work email", ..Field::default() }),
            Some(Meaning::EmailByName)
        );
        assert_eq!(meaning(Field { input_type: "text", id: "mc-EMAIL", ..Field::default() }), Some(Meaning::EmailByName));
        for (name, property) in [
            ("first_name", "first_name"),
            ("contact[firstName]", "first_name"),
            ("fname", "first_name"),
            ("given-name", "first_name"),
            ("last-name", "last_name"),
            ("lname", "last_name"),
            ("surname", "last_name"),
            ("Company", "company"),
            ("your-organisation", "company"),
        ] {
            assert_eq!(text(name), Some(Meaning::Property(property)), "{name}");
        }
        for name in ["phone", "mobile_number", "contact-telephone", "tel"] {
            assert_eq!(text(name), Some(Meaning::Phone), "{name}");
        }
        for name in ["username", "login", "name", "fullname", "message", ""] {
            assert_eq!(text(name), Some(Meaning::EmailByValue), "{name}");
        }
    }

    #[test]
    fn the_e_mail_that_is_believed_most() {
        let mut answers = Answers::default();
        answers.add(Meaning::EmailByValue, "user@example.com");
        answers.add(Meaning::EmailByName, "not an address");
        answers.add(Meaning::EmailByName, "Named@Example.com");
        answers.add(Meaning::EmailByName, "second@example.com");
        answers.add(Meaning::EmailByType, "");
        answers.add(Meaning::EmailByValue, "late@example.com");
        let (claims, properties) = answers.finish();
        assert_eq!(claims, [Claim::new("email", "named@example.com", "form").unwrap()]);
        assert_eq!(properties, "");
    }

    #[test]
    fn properties_and_phone() {
        let mut answers = Answers::default();
        answers.add(Meaning::Property("company"), " Example \"Ltd\" ");
        answers.add(Meaning::Property("first_name"), "Ada");
        answers.add(Meaning::Property("first_name"), "Bob");
        answers.add(Meaning::Property("last_name"), "");
        answers.add(Meaning::Phone, "020 7946 0958");
        answers.add(Meaning::Phone, "+44 20 7946 0958");
        answers.add(Meaning::EmailByValue, "I would like a demo");
        let (claims, properties) = answers.finish();
        assert_eq!(claims, [Claim::new("phone", "+442079460958", "form").unwrap()]);
        assert_eq!(properties, r#"{"first_name":"Ada","company":"Example \"Ltd\""}"#);
    }
}
