//! `brindle flows`: what this node denied lately, and what it denies now.

use std::io;
use std::thread;

use super::ask::{self, Ask, Show};
use super::output::{Format, Printer, Style};
use super::{Exit, complain, note};
use crate::control::{Answer, PageRequest, PolicyQuery, Query};
use crate::flow::DEFAULT_NAMESPACE;

/// Arguments of `brindle flows`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only denied flows, which are all that the kernel tells about
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
    // There are no others: what is allowed is not told, for it would be every connection.
    let Args { denied: _, pod, follow, show, ask } = args;
    let pod = pod.map(|pod| match pod.contains('/') {
        true => pod,
        false => format!("{DEFAULT_NAMESPACE}/{pod}"),
    });
    let query = PolicyQuery::Flows(pod, PageRequest::first());
    if follow || show.watch {
        return go_on(&ask, &show, query);
    }
    ask::read(&ask, &show, Query::Policy(query), "no flow was denied lately", |_| Exit::Fine)
}

/// Prints flows as they come, until interrupted. An agent that does not answer at first is an
/// error; one that goes later is waited for.
fn go_on(ask: &Ask, show: &Show, mut query: PolicyQuery) -> Exit {
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
        let asked = client.follow(Query::Policy(query.clone()), |answer| {
            if let Answer::Flows(page) = &answer {
                newest = page.items.last().map(|flow| flow.sequence).or(newest);
            }
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
