//! What may be written after `wingbeat`.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Scoring rules as code: checked, tested, explained and compared, over the engine that runs them.
///
/// Models are JSON or YAML. Files of events have one JSON document a line: events as `POST /api/events` takes them, or
/// as Braze Currents sends them, alone or in batches `{"events": […]}`; or what a deployment holds, as
/// `GET /api/exports/events` and `GET /api/exports/prospects` answer it. `-` is the standard input.
///
/// Exit codes: 0 all is well; 1 something was found: a mistake, a test that fails, events that were left out; 2 it could not
/// be done.
#[derive(Debug, Parser)]
#[command(name = "wingbeat", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    /// Show no progress bars.
    #[arg(long, global = true)]
    pub(super) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what is wrong with models, and where.
    Check {
        /// Models, or folders of them; the tests beside them are passed over.
        #[arg(required = true)]
        models: Vec<PathBuf>,
    },
    /// Run tests of rules: given these events, expect these scores at these times.
    Test {
        /// Files of tests, or folders of them; models beside them are checked.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Score everybody in files of events, or follow one person event by event.
    Replay {
        model: PathBuf,
        #[command(flatten)]
        events: Events,
        /// Follow this one: `email:ada@example.com`.
        #[arg(long)]
        who: Option<String>,
        /// One JSON document a line instead of a table.
        #[arg(long, conflicts_with = "who")]
        json: bool,
        /// How many people are written at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Say why a score is what it is: every point, its rule, its event.
    Explain {
        model: PathBuf,
        #[command(flatten)]
        events: Events,
        /// Whose: `email:ada@example.com`, `braze_id:…`, `visitor:…`.
        #[arg(long)]
        who: String,
        /// Which score, or `temperature`; the main score if not given.
        #[arg(long)]
        score: Option<String>,
        /// One JSON document instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Say what two models differ in.
    Diff {
        before: PathBuf,
        after: PathBuf,
        /// End with 1 if there is a difference.
        #[arg(long)]
        exit_code: bool,
        /// One JSON document instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of models, for editors.
    Schema,
    /// Run a draft over stored history beside the model in force: who would change stage, and how scores are spread.
    Backtest {
        current: PathBuf,
        draft: PathBuf,
        #[command(flatten)]
        events: Events,
        /// One JSON document instead of tables.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Events {
    /// Files of events, one JSON document a line.
    #[arg(required = true)]
    pub(super) events: Vec<PathBuf>,
    /// The time asked about, RFC 3339 or ms since 1970; that of the newest event if not given (of exported ones: when it
    /// came in).
    #[arg(long)]
    pub(super) at: Option<String>,
    /// The customer's own addresses and domains, as in `INTERNAL_PEOPLE`: recorded, never scored.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) internal: String,
}
