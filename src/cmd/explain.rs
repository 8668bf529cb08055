//! `brindle explain`: what becomes of a flow, and why.

use super::Exit;
use super::ask::{Ask, Show};
use super::manifests::Manifests;
use super::policy;
use super::routes::OneFamily;
use crate::control::view::Outcome;
use crate::control::{Answer, FlowQuestion, PolicyQuery};
use crate::flow::{Destination, End};

/// Arguments of `brindle explain`.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "Ends are pods (shop/cart-7d9; cart-7d9 is one of the namespace default), \
                        nodes (node/n2) and addresses (10.1.2.3, [fd00::7]:53/udp). Protocols \
                        are tcp, udp, sctp and icmp. Exit code 1 if the kernel would do something \
                        else than the policies say.")]
pub struct Args {
    /// Where the flow comes from: a pod, a node, an address
    #[arg(value_name = "SRC")]
    source: End,
    /// Where it goes, and to which port: shop/db-0:5432, 10.1.2.3:53/udp, node/n2:icmp
    #[arg(value_name = "DST[:PORT[/PROTOCOL]]")]
    destination: Destination,
    /// Judge their addresses of this family
    #[arg(long, value_enum)]
    family: Option<OneFamily>,
    /// Exit code 1 if the flow is denied
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    manifests: Manifests,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    let Args { source, destination, family, exit_code, manifests, show, ask } = args;
    let query = PolicyQuery::Explain(FlowQuestion {
        source,
        destination: destination.end,
        service: destination.service,
        family: family.map(Into::into),
    });
    policy::answer(&ask, &show, &manifests, query, "", |answer| match answer {
        Answer::Explanation(explained) => {
            let is_denied = exit_code && explained.verdict == Outcome::Denied;
            match is_denied || !explained.disagreements.is_empty() {
                true => Exit::Bad,
                false => Exit::Fine,
            }
        }
        _ => Exit::Fine,
    })
}
