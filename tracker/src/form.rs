//! Reading a form that is being submitted: what it is called and who filled it in.

use crate::field::{Answers, Field, meaning};
use alloc::string::String;
use wasm_bindgen::JsCast;
use web_sys::{Document, Element, HtmlFormElement, HtmlInputElement};

const IGNORED: &str = "[data-wb-ignore]";
const HEADINGS: &str = "h1,h2,h3,h4,h5,h6";

/// Whether nothing of the form is to be recorded, because it or something around it says so.
pub(crate) fn is_ignored(element: &Element) -> bool {
    // The selector is valid, so an error cannot be; if it is, nothing is read.
    element.closest(IGNORED).map_or(true, |found| found.is_some())
}

/// The form's name: the first present of `data-wb-name`, id, name, aria-label and nearest heading; empty if none is.
/// Attributes, not properties: a field called `id` or `name` hides the form's property of that name.
pub(crate) fn name(form: &Element) -> String {
    for attribute in ["data-wb-name", "id", "name", "aria-label"] {
        let name = self::attribute(form, attribute);
        if !name.trim_ascii().is_empty() {
            return one_line(&name);
        }
    }
    heading(form).unwrap_or_default()
}

/// What the form's fields say. A field belongs to the form by its own account (`form=` included); the value of a
/// field that is not taken for anything is not even read.
pub(crate) fn answers(document: &Document, form: &HtmlFormElement) -> Answers {
    let mut answers = Answers::default();
    let Ok(inputs) = document.query_selector_all("input") else { return answers };
    for i in 0..inputs.length() {
        let Some(input) = inputs.get(i).and_then(|node| node.dyn_into::<HtmlInputElement>().ok()) else { continue };
        if input.form().as_ref() != Some(form) || is_ignored(&input) {
            continue;
        }
        let meaning = meaning(Field {
            input_type: &input.type_(),
            name: &attribute(&input, "name"),
            id: &attribute(&input, "id"),
            autocomplete: &attribute(&input, "autocomplete"),
        });
        if let Some(meaning) = meaning {
            answers.add(meaning, &input.value());
        }
    }
    answers
}

/// The first heading inside, else the closest one before: going back over what stands before the form, then before
/// what is around it.
fn heading(form: &Element) -> Option<String> {
    if let Some(name) = form.query_selector(HEADINGS).ok().flatten().and_then(|inside| text(&inside)) {
        return Some(name);
    }
    let mut around = Some(form.clone());
    while let Some(element) = around {
        let mut before = element.previous_element_sibling();
        while let Some(sibling) = before {
            if let Some(name) = last_heading(&sibling) {
                return Some(name);
            }
            before = sibling.previous_element_sibling();
        }
        around = element.parent_element();
    }
    None
}

/// The element's own text if it is a heading, else that of the last heading in it.
fn last_heading(element: &Element) -> Option<String> {
    if element.matches(HEADINGS).unwrap_or(false) {
        return text(element);
    }
    let inside = element.query_selector_all(HEADINGS).ok()?;
    let last = inside.get(inside.length().checked_sub(1)?)?;
    text(last.unchecked_ref())
}

fn text(element: &Element) -> Option<String> {
    element.text_content().map(|text| one_line(&text)).filter(|text| !text.is_empty())
}

fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_ascii_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

fn attribute(element: &Element, name: &str) -> String {
    element.get_attribute(name).unwrap_or_default()
}
