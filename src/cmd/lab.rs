//! `brindle lab`.

use super::Exit;

/// Arguments of `brindle lab`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub fn run(_args: Args) -> Exit {
    Exit::Usage
}
