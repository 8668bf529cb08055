//! What is asked about policies, answered from a [`World`]: the agent's, or that of a folder of
//! manifests.
//!
//! ```text
//!  agent: World, what the kernel holds ─┐
//!                                       ├─ Known ── answer(PolicyQuery) ──► Answer
//!  manifests: World ────────────────────┘
//! ```

use brindle_policy::World;
use brindle_policy::model::HostSettings;
use brindle_policy::readback::Installed;

use crate::control::{Answer, Failure, PolicyQuery};
use crate::enforce::EnforceStatus;

mod counting;
mod endpoints;
mod expect;
mod explain;
mod find;
mod hosts;
mod kernel;
mod lint;
mod list;
mod matrix;
mod services;
pub mod stand_ins;
mod words;

pub use expect::run as run_tests;

/// What answers are made from.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// All objects.
    pub world: &'a World,
    /// What only an agent knows; `None` for manifests.
    pub here: Option<Here<'a>>,
}

/// What an agent knows of its node.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// The node's name.
    pub node: &'a str,
    /// How enforcement is doing.
    pub status: &'a EnforceStatus,
    /// What the kernel holds, with counters; of the families that could be read.
    pub installed: &'a [Installed],
    /// What holds on this host whatever policies say.
    pub hosts: &'a HostSettings,
}

/// Answers a question.
///
/// # Errors
/// If it asks for what is not there, or for what only an agent knows.
pub fn answer(known: &Known<'_>, query: &PolicyQuery) -> Result<Answer, Failure> {
    match query {
        PolicyQuery::List(namespace, page) => {
            Ok(Answer::Policies(list::list(known, namespace.as_deref(), page)?))
        }
        PolicyQuery::Show(name) => Ok(Answer::Policy(Box::new(list::show(known, name)?))),
        PolicyQuery::For(pod) => Ok(Answer::PodPolicies(Box::new(list::of_pod(known, pod)?))),
        PolicyQuery::Matrix { namespace, service } => {
            let matrix = matrix::matrix(known, namespace.as_deref(), *service)?;
            Ok(Answer::Matrix(Box::new(matrix)))
        }
        PolicyQuery::Lint => Ok(Answer::Findings(lint::findings(known.world))),
        PolicyQuery::Hits => Ok(Answer::Hits(endpoints::hits(known, &here(known)?))),
        PolicyQuery::Endpoints(pod) => {
            let endpoints = endpoints::endpoints(known, &here(known)?, pod.as_deref())?;
            Ok(Answer::Endpoints(endpoints))
        }
        PolicyQuery::Explain(flow) => {
            Ok(Answer::Explanation(Box::new(explain::explain(known, flow)?)))
        }
        PolicyQuery::Flows(..) => {
            Err(Failure::Invalid("denied flows are not answered from objects".to_owned()))
        }
    }
}

fn here<'a>(known: &Known<'a>) -> Result<Here<'a>, Failure> {
    let what = "only an agent knows what its kernel holds: ask one, without --manifests";
    known.here.ok_or_else(|| Failure::Invalid(what.to_owned()))
}

#[cfg(test)]
mod tests;
