//! `brindle status`: how the node is, on one screen.

use super::Exit;
use super::ask::{self, Ask, Show};
use crate::control::{Answer, Query};

/// Arguments of `brindle status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub fn run(args: &Args) -> Exit {
    ask::read(&args.ask, &args.show, Query::Status, "", |answer| match answer {
        Answer::Status(status) if !status.healthy => Exit::Bad,
        _ => Exit::Fine,
    })
}
