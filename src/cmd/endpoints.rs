//! `brindle endpoints`: the pods of this node that policies apply to.

use super::Exit;
use super::ask::{self, Ask, Show};
use crate::control::view::EndpointState;
use crate::control::{Answer, PolicyQuery, Query};
use crate::flow::DEFAULT_NAMESPACE;

/// Arguments of `brindle endpoints`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this pod: shop/db-0, or db-0 of the namespace default
    #[arg(value_name = "POD", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pod: Option<String>,
    #[command(flatten)]
    show: Show,
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub fn run(args: Args) -> Exit {
    let pod = args.pod.map(|pod| match pod.contains('/') {
        true => pod,
        false => format!("{DEFAULT_NAMESPACE}/{pod}"),
    });
    let query = Query::Policy(PolicyQuery::Endpoints(pod));
    ask::read(&args.ask, &args.show, query, "no endpoints on this node", |answer| match answer {
        Answer::Endpoints(endpoints) => {
            let is_good = endpoints.iter().all(|one| one.state == EndpointState::Programmed);
            if is_good { Exit::Fine } else { Exit::Bad }
        }
        _ => Exit::Fine,
    })
}
