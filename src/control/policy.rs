//! What can be asked about policies. None of it changes anything.

use super::{PageRequest, view};
use crate::flow::{End, Service};

/// A question about policies; those without the agent's state are answered from manifests too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyQuery {
    /// Policies, of one namespace or all, by name; answered by [`super::Answer::Policies`].
    List(Option<String>, PageRequest),
    /// One policy, `namespace/name`, or the name alone for kinds without a namespace; answered
    /// by [`super::Answer::Policy`].
    Show(String),
    /// The policies that govern a pod; answered by [`super::Answer::PodPolicies`].
    For(String),
    /// Who may reach whom; answered by [`super::Answer::Matrix`].
    Matrix {
        /// The pods of one namespace; else all.
        namespace: Option<String>,
        /// To this; else to any port.
        service: Option<Service>,
    },
    /// What looks like a mistake; answered by [`super::Answer::Findings`].
    Lint,
    /// What rules have met on this node; answered by [`super::Answer::Hits`].
    Hits,
    /// Local endpoints, or the one of a pod; answered by [`super::Answer::Endpoints`].
    Endpoints(Option<String>),
    /// What becomes of a flow; answered by [`super::Answer::Explanation`].
    Explain(FlowQuestion),
    /// Flows that were denied lately, of one pod or all, the oldest first; a page begins after
    /// the sequence number that [`PageRequest::after`] says. Answered by
    /// [`super::Answer::Flows`].
    Flows(Option<String>, PageRequest),
}

/// The flow that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowQuestion {
    /// Where it comes from.
    pub source: End,
    /// Where it goes.
    pub destination: End,
    /// To what.
    pub service: Service,
    /// Which addresses of the ends; `None` takes IPv4 if both have it.
    pub family: Option<view::Family>,
}

impl PolicyQuery {
    /// Which page it asks for, if its answer comes in pages.
    pub fn page_mut(&mut self) -> Option<&mut PageRequest> {
        match self {
            PolicyQuery::List(_, page) | PolicyQuery::Flows(_, page) => Some(page),
            PolicyQuery::Show(_)
            | PolicyQuery::For(_)
            | PolicyQuery::Matrix { .. }
            | PolicyQuery::Lint
            | PolicyQuery::Hits
            | PolicyQuery::Endpoints(_)
            | PolicyQuery::Explain(_) => None,
        }
    }
}
