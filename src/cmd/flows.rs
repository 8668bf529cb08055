//! `brindle flows`: what this node denied lately, what policies log, and what staged ones would
//! decide otherwise.

use std::io;
use std::thread;

use super::ask::{self, Ask, Show};
use super::output::{Format, Printer, Style};
use super::{Exit, complain, note};
use crate::control::view::FlowOutcome;
use crate::control::{Answer, PageRequest, PolicyQuery, Query};
use crate::flow::DEFAULT_NAMESPACE;

/// Arguments of `brindle flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only flows that were denied, not those that policies log or staged ones are about
    #[arg(long)]
    denied: bool,
    /// Only flows from or to this pod: shop/db-0, or db-0 of the namespace default
    #[arg(long, value_name = "POD", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pod: Option<String>,
    /// Go on with those that come, as --watch does
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    let Args { denied, pod, follow, show, ask } = args;
    let pod = pod.map(|pod| match pod.contains('/') {
        true => pod,
        false => format!("{DEFAULT_NAMESPACE}/{pod}"),
    });
    let query = PolicyQuery::Flows(pod, PageRequest::first());
    if follow || show.watch {
        return go_on(&ask, &show, query, denied);
    }
    let nothing = "no flow was denied lately";
    let narrow = |answer: &mut Answer| narrow(answer, denied);
    ask::read_some(&ask, &show, Query::Policy(query), nothing, narrow, |_| Exit::Fine)
}

/// Leaves what was asked for.
fn narrow(answer: &mut Answer, only_denied: bool) {
    if let Answer::Flows(page) = answer {
        page.items.retain(|flow| !only_denied || flow.outcome == FlowOutcome::Denied);
    }
}

/// Prints flows as they come, until interrupted. An agent that does not answer at first is an
/// error; one that goes later is waited for.
fn go_on(ask: &Ask, show: &Show, mut query: PolicyQuery, only_denied: bool) -> Exit {
    let client = ask.client();
    let style = show.style();
    // A document a line: lines can be taken apart.
    let format = if style.format == Format::Json { Format::Jsonl } else { style.format };
    let mut printer = Printer::new(io::stdout(), Style { format, ..style });
    let mut was_there = false;
    let mut last_error = String::new();
    loop {
        let mut newest = None;
        let mut written = Ok(());
        let asked = client.follow(Query::Policy(query.clone()), |mut answer| {
            if let Answer::Flows(page) = &answer {
                newest = page.items.last().map(|flow| flow.sequence).or(newest);
            }
            narrow(&mut answer, only_denied);
            written = printer.print(&answer).and_then(|()| printer.flush());
            written.is_ok()
        });
        if let Err(error) = written {
            return ask::lost(&error, Exit::Fine);
        }
        match asked {
            Ok(()) => {
                was_there = true;
                last_error.clear();
            }
            Err(error) if was_there => {
                let error = error.to_string();
                if error != last_error {
                    note(&error);
                }
                last_error = error;
            }
            Err(error) => {
                complain(&error);
                return error.exit();
            }
        }
        if let (Some(newest), Some(page)) = (newest, query.page_mut()) {
            page.after = Some(newest.to_string());
        }
        thread::sleep(show.interval);
    }
}
