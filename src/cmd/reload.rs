//! `brindle config reload`: has the agent read its configuration again.

use std::io;

use super::ask::{Ask, Show, lost};
use super::output::Printer;
use super::{Exit, complain};
use crate::control::{Answer, Query, view};

/// Arguments of `brindle config reload`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it: 0 if the files are in force, 2 if they were refused.
pub fn run(args: &Args) -> Exit {
    if args.show.watch {
        complain("--watch is for looking, not for changes");
        return Exit::Usage;
    }
    let answer = match args.ask.client().ask_blocking(&Query::Reload) {
        Ok(answer) => answer,
        Err(error) => {
            complain(&error);
            return error.exit();
        }
    };
    let exit = match &answer {
        Answer::Reload(reload) if reload.result == view::ReloadResult::Refused => Exit::Usage,
        _ => Exit::Fine,
    };
    let mut printer = Printer::new(io::stdout().lock(), args.show.style());
    match printer.print(&answer).and_then(|()| printer.finish()) {
        Ok(_) => exit,
        Err(error) => lost(&error, exit),
    }
}
