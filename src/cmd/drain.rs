//! `brindle drain` and `undrain`: takes the node out of routing without a loss, and back.

use std::io;
use std::time::{Duration, Instant};

use super::ask::{self, Ask, Show, lost};
use super::output::Printer;
use super::{Exit, complain};
use crate::control::view::{Drain, DrainState};
use crate::control::{Answer, Query};

/// How often it looks how far the agent is.
const LOOK: Duration = Duration::from_millis(200);

/// What the agent may take beyond the wait for traffic: the other waits, and a busy machine.
const BEYOND: Duration = Duration::from_secs(30);

/// Arguments of `brindle drain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Longest wait for traffic to go elsewhere before our prefixes are withdrawn; by default
    /// bgp.drain.wait of the configuration
    #[arg(long, value_name = "TIME", value_parser = wait)]
    wait: Option<Duration>,
    /// What peers are told when sessions end, at most 255 octets
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

/// Arguments of `brindle undrain`.
#[derive(Debug, clap::Args)]
pub struct EndArgs {
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

fn wait(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        other => ask::duration(other),
    }
}

/// Runs it: 0 if nothing comes in any more, 1 if something still does.
pub fn run(args: Args) -> Exit {
    let Args { wait, message, show, ask } = args;
    if show.watch {
        complain("--watch is for looking, not for changes; see brindle status -w");
        return Exit::Usage;
    }
    let client = ask.client();
    let begun = Instant::now();
    let mut query = Query::Drain { wait, message };
    loop {
        let drain = match client.ask_blocking(&query) {
            Ok(Answer::Drain(drain)) => *drain,
            Ok(_) => {
                complain("the agent answers something else");
                return Exit::Unreachable;
            }
            Err(error) => {
                complain(&error);
                return error.exit();
            }
        };
        let limit = drain.wait_seconds.and_then(|wait| Duration::try_from_secs_f64(wait).ok());
        let is_late = begun.elapsed() > limit.unwrap_or_default().saturating_add(BEYOND);
        match drain.state {
            DrainState::Drained => {
                let exit = if drain.safe_to_stop { Exit::Fine } else { Exit::Bad };
                return print(&show, drain, exit);
            }
            DrainState::Serving => {
                complain("draining was undone meanwhile");
                return print(&show, drain, Exit::Bad);
            }
            _ if is_late => {
                complain("draining takes longer than it should; see brindle status");
                return print(&show, drain, Exit::Bad);
            }
            DrainState::Announcing | DrainState::Withdrawing | DrainState::Closing => {}
        }
        query = Query::DrainState;
        std::thread::sleep(LOOK);
    }
}

/// Ends it: sessions come up again.
pub fn end(args: &EndArgs) -> Exit {
    ask::change(&args.ask, &args.show, &Query::Undrain)
}

fn print(show: &Show, drain: Drain, exit: Exit) -> Exit {
    let mut printer = Printer::new(io::stdout().lock(), show.style());
    match printer.print(&Answer::Drain(Box::new(drain))).and_then(|()| printer.finish()) {
        Ok(_) => exit,
        Err(error) => lost(&error, exit),
    }
}
