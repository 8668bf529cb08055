//! The words of the command line; what they do stands in `cmd/`.

use clap::{Parser, Subcommand};

use crate::cmd::{self, Exit};

/// A plain layer-3 network for clusters: BGP routes and network policy.
#[derive(Debug, Parser)]
#[command(name = "brindle", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon of this node.
    Agent(cmd::agent::Args),
    /// Check and show the configuration.
    Config(cmd::config::Args),
    /// A whole cluster of network namespaces on this machine.
    Lab(cmd::lab::Args),
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> Exit {
        match self.command {
            Command::Agent(args) => cmd::agent::run(args),
            Command::Config(args) => cmd::config::run(args),
            Command::Lab(args) => cmd::lab::run(args),
        }
    }
}
