//! `wingbeat diff`: what two models differ in, one difference a line.

use super::document::Trouble;
use super::terminal::{BAD, GOOD, STRONG, styled};
use crate::scoring::Difference;
use std::io::Write;

/// Writes the differences, one a line.
///
/// # Errors
/// When the stream does not take it.
pub fn write(out: &mut dyn Write, differences: &[Difference]) -> Result<(), Trouble> {
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
