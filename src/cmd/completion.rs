//! `brindle completion`: what a shell needs to complete our words.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Exit;
use super::ask::print;
use crate::cli::Cli;

/// Arguments of `brindle completion`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell; for bash: brindle completion bash > /etc/bash_completion.d/brindle
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "brindle", &mut script);
    print(&script)
}
