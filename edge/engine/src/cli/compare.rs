//! `wingbeat diff`: what two models differ in.

use super::document::Trouble;
use super::terminal::{BAD, GOOD, STRONG, styled};
use crate::scoring::Difference;
use serde_json::json;
use std::io::Write;

/// Writes the differences, one a line; as JSON all in one document.
///
/// # Errors
/// When the stream does not take it.
pub fn write(out: &mut dyn Write, differences: &[Difference], as_json: bool) -> Result<(), Trouble> {
    if as_json {
        return Ok(writeln!(out, "{:#}", json!({ "differences": differences }))?);
    }
    for Difference { place, before, after } in differences {
        match (before, after) {
            (None, Some(after)) => writeln!(out, "{} {} {after}", styled(GOOD, "+"), styled(STRONG, place))?,
            (Some(before), None) => writeln!(out, "{} {} {before}", styled(BAD, "-"), styled(STRONG, place))?,
            (Some(before), Some(after)) => writeln!(out, "~ {} {before} -> {after}", styled(STRONG, place))?,
            (None, None) => {}
        }
    }
    if differences.is_empty() {
        writeln!(out, "no difference")?;
    }
    Ok(())
}
