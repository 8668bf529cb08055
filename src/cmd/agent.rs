//! `brindle agent`.

use super::Exit;

/// Arguments of `brindle agent`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> Exit {
    Exit::Usage
}
