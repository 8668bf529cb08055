//! What is asked about policies, answered from a [`World`]: the agent's, or that of a folder of
//! manifests.
//!
//! ```text
//!  agent: World, what the kernel holds ─┐
//!                                       ├─ Known ── answer(PolicyQuery) ──► Answer
//!  manifests: World ────────────────────┘
//! ```

use brindle_policy::World;

use crate::control::{Answer, Failure, PolicyQuery};
use crate::enforce::EnforceStatus;

mod find;
mod list;
mod words;

pub use find::at;
pub use words::rule_text;

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
}

/// Answers a question.
///
/// # Errors
/// If it asks for what is not there.
pub fn answer(known: &Known<'_>, query: &PolicyQuery) -> Result<Answer, Failure> {
    match query {
        PolicyQuery::List(namespace, page) => {
            Ok(Answer::Policies(list::list(known, namespace.as_deref(), page)?))
        }
        PolicyQuery::Show(name) => Ok(Answer::Policy(Box::new(list::show(known, name)?))),
        PolicyQuery::For(pod) => Ok(Answer::PodPolicies(Box::new(list::of_pod(known, pod)?))),
        _ => todo!(),
    }
}
