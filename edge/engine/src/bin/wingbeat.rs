//! The `wingbeat` command: scoring rules as code. Everything is in [`wingbeat_engine::cli`].

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use wingbeat_engine::cli::args::Cli;
use wingbeat_engine::cli::{Ending, run};

fn main() -> ExitCode {
    // These streams drop colours for `NO_COLOR`, and where nobody is at a terminal.
    let (mut out, mut err) = (anstream::stdout().lock(), anstream::stderr());
    match run(Cli::parse(), &mut out, &mut err) {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(1),
        Err(trouble) => {
            // Where nobody reads the error either, the code says it.
            let _written = writeln!(err, "wingbeat: {trouble}");
            ExitCode::from(2)
        }
    }
}
