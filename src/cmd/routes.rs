//! `brindle routes`: what is best, what peers told and were told, what the kernel holds.

use std::net::IpAddr;
use std::path::PathBuf;

use brindle_bgp::net::Prefix;
use clap::{Subcommand, ValueEnum};

use super::ask::{self, Ask, Show};
use super::{Exit, complain, dump, follow};
use crate::control::{Answer, PageRequest, Query, RouteFilter, view};

/// Arguments of `brindle routes`.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    /// Show all paths of this prefix, or of the longest one that holds this address
    #[arg(value_name = "PREFIX|ADDR", value_parser = which)]
    which: Option<Which>,
    /// Only routes of this family
    #[arg(long, value_enum, conflicts_with = "which")]
    family: Option<OneFamily>,
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

/// A family, on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OneFamily {
    Ipv4,
    Ipv6,
}

impl From<OneFamily> for view::Family {
    fn from(family: OneFamily) -> Self {
        match family {
            OneFamily::Ipv4 => view::Family::Ipv4,
            OneFamily::Ipv6 => view::Family::Ipv6,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Prefix(Prefix),
    Address(IpAddr),
}

fn which(text: &str) -> Result<Which, String> {
    if text.contains('/') {
        return text
            .parse()
            .map(Which::Prefix)
            .map_err(|bad: brindle_bgp::net::BadPrefix| bad.to_string());
    }
    text.parse().map(Which::Address).map_err(|_| {
        format!(
            "{text:?} is neither a prefix nor an address nor one of in, out, rejected, kernel, diff, dump"
        )
    })
}

#[derive(Debug, Subcommand)]
enum What {
    /// What a peer told us, and what became of it
    In {
        /// Name or address of the peer
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        peer: String,
    },
    /// What we told a peer
    Out {
        /// Name or address of the peer
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        peer: String,
    },
    /// What was refused, by which rule and why
    Rejected {
        /// Only from this peer, by name or address
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        peer: Option<String>,
    },
    /// What the kernel's table shall hold and holds
    Kernel,
    /// What the kernel's table holds otherwise than wanted; exit code 1 if anything
    Diff,
    /// Write all accepted paths to a file in MRT format (RFC 6396), which is replaced as a whole
    Dump {
        /// The file; - is standard output
        file: PathBuf,
        /// Only routes of this family
        #[arg(long, value_enum)]
        family: Option<OneFamily>,
    },
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    let Args { which, family, what, show, ask } = args;
    let page = PageRequest::first();
    let family = family.map(|family| view::Family::from(family).into());
    let fine = |_: &Answer| Exit::Fine;
    if (which.is_some() || family.is_some()) && what.is_some() {
        complain(
            "in, out, rejected, kernel, diff and dump take no prefix, address or family before them",
        );
        return Exit::Usage;
    }
    let (query, nothing) = match what {
        None => {
            let filter = match which {
                None => RouteFilter::All(family),
                Some(Which::Prefix(prefix)) => RouteFilter::Exact(prefix),
                Some(Which::Address(address)) => RouteFilter::Longest(address),
            };
            if show.watch {
                return follow::run(&ask, &show, filter);
            }
            let query = Query::Routes(filter, page);
            if which.is_none() {
                return ask::read(&ask, &show, query, "no routes", fine);
            }
            return ask::read(&ask, &show, query, "no such route", |answer| match answer {
                Answer::Routes(found) if found.items.is_empty() => Exit::Bad,
                _ => Exit::Fine,
            });
        }
        Some(What::Dump { file, family }) => {
            let family = family.map(|family| view::Family::from(family).into());
            return dump::run(&ask, &show, family, &file);
        }
        Some(What::In { peer }) => (Query::RoutesIn(peer, page), "no routes from this peer"),
        Some(What::Out { peer }) => (Query::RoutesOut(peer, page), "no routes told to this peer"),
        Some(What::Rejected { peer }) => (Query::Rejected(peer, page), "nothing was refused"),
        Some(What::Kernel) => (Query::Kernel { only_diff: false, page }, "no routes"),
        Some(What::Diff) => {
            let query = Query::Kernel { only_diff: true, page };
            let nothing = "the kernel holds what is wanted";
            return ask::read(&ask, &show, query, nothing, |answer| match answer {
                Answer::Kernel(found) if !found.items.is_empty() => Exit::Bad,
                _ => Exit::Fine,
            });
        }
    };
    ask::read(&ask, &show, query, nothing, fine)
}
