//! The `brindle` program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    brindle::cli::Cli::parse().run().into()
}
