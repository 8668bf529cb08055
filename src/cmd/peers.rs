//! `brindle peers`: BGP peers, one of them, and what can be done to one.

use clap::Subcommand;

use super::ask::{self, Ask, Show};
use super::{Exit, complain};
use crate::control::Query;

/// Arguments of `brindle peers`.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    /// Show everything about this one; behind `--` if it is called like a subcommand
    #[arg(value_name = "NAME|ADDR", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    peer: Option<String>,
    #[command(subcommand)]
    deed: Option<Deed>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// End the session and let it come up again, or only exchange routes anew (root)
    Reset {
        #[command(flatten)]
        peer: Peer,
        /// Keep the session; ask the peer for its routes again
        #[arg(long)]
        soft_in: bool,
        /// Keep the session; send our routes again
        #[arg(long)]
        soft_out: bool,
    },
    /// Let a disabled peer come up again (root)
    Enable {
        #[command(flatten)]
        peer: Peer,
    },
    /// Shut the session down until it is enabled or the agent starts again (root)
    Disable {
        #[command(flatten)]
        peer: Peer,
        /// What the peer is told, at most 255 octets
        #[arg(long, value_name = "TEXT")]
        message: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Peer {
    /// Name or address of the peer
    #[arg(value_name = "NAME|ADDR", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    peer: String,
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    let Args { peer, deed, show, ask } = args;
    let query = match (peer, deed) {
        (None, None) => return ask::read(&ask, &show, Query::Peers, "no peers", |_| Exit::Fine),
        (Some(peer), None) => {
            return ask::read(&ask, &show, Query::Peer(peer), "", |_| Exit::Fine);
        }
        (None, Some(Deed::Reset { peer, soft_in, soft_out })) => {
            Query::PeerReset { peer: peer.peer, soft_in, soft_out }
        }
        (None, Some(Deed::Enable { peer })) => Query::PeerEnable(peer.peer),
        (None, Some(Deed::Disable { peer, message })) => {
            Query::PeerDisable { peer: peer.peer, message }
        }
        (Some(peer), Some(_)) => {
            complain(format_args!("the name stands last: brindle peers reset {peer}"));
            return Exit::Usage;
        }
    };
    ask::change(&ask, &show, &query)
}
