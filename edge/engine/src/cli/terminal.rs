//! What is written: colours where the terminal has them (never with `NO_COLOR`, never into a file), aligned columns,
//! progress on the standard error if that is a terminal.

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::io::{self, Write};

/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What did not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What to look at.
pub const STRONG: Style = Style::new().bold();
/// What is by the way.
pub const FAINT: Style = Style::new().dimmed();

/// A text in a style. Whether the codes reach the reader is for the stream to decide.
#[must_use]
pub fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Bars for what takes long.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Bars that are seen where the standard error is a terminal.
    #[must_use]
    pub fn shown() -> Progress {
        Progress { shown: true }
    }

    /// No bars.
    #[must_use]
    pub fn hidden() -> Progress {
        Progress { shown: false }
    }

    /// A bar of so many steps.
    #[must_use]
    pub fn bar(&self, what: &'static str, steps: usize) -> ProgressBar {
        let target = if self.shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        let style = ProgressStyle::with_template("{msg} {bar:40} {human_pos}/{human_len} {eta}");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what)
    }
}

/// Columns: texts to the left, numbers to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table under these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Table {
        Table { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// One more row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Writes the table; the headings are faint.
    ///
    /// # Errors
    /// When the stream does not take it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = (0..columns)
            .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or_default())
            .collect();
        let is_number = |cell: &String| cell.is_empty() || cell.parse::<f64>().is_ok();
        let right: Vec<bool> = (0..columns).map(|column| cells(column).skip(1).all(is_number)).collect();
        for (place, row) in self.rows.iter().enumerate() {
            let padded = row.iter().zip(widths.iter().zip(&right)).map(|(cell, (width, right))| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            let line = padded.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            if place == 0 { writeln!(out, "{}", styled(FAINT, line))? } else { writeln!(out, "{line}")? }
        }
        Ok(())
    }
}

/// So many of something: `1 case`, `2 cases`.
#[must_use]
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A value as shown, without a needless `.0`.
#[must_use]
pub fn number(value: f64) -> String {
    format!("{value}")
}

/// A value that may be none.
#[must_use]
pub fn number_or_none(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}
