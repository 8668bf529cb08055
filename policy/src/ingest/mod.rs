//! From Kubernetes' and Calico's objects to the model, with what the API server would have defaulted and
//! rejected done again (policy-semantics 2.1): objects from files never met one.
//!
//! What cannot be understood allows nothing, and no more than that: a bad element of a list
//! stands for nothing while its neighbours count, and a list of bad elements is not the empty
//! list, which would stand for everything. Every [`Problem`] says the value, what would be
//! accepted, and what follows.

mod address;
mod calico;
mod cluster_network_policy;
mod doubt;
mod endpoint_slice;
mod labels;
mod name;
mod namespace;
mod network_policy;
mod node;
mod peer;
mod pod;
mod port;
mod service_account;

pub use calico::{
    global_network_policy, global_network_set, host_endpoint, network_policy_v3, network_set,
    profile, staged_global_network_policy, staged_kubernetes_network_policy, staged_network_policy,
    tier,
};
pub use cluster_network_policy::cluster_network_policy;
pub use doubt::{closed_policy, distrust_rule, distrust_subject};
pub use endpoint_slice::endpoint_slice;
pub use namespace::namespace;
pub use network_policy::{closed_network_policy, ignored_rules, network_policy};
pub use node::node;
pub use pod::pod;
pub use service_account::service_account;

use crate::model::Problem;

/// What was found wrong so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { field: field.into(), message: message.into() });
    }
}

/// A foreign value as messages show it: quoted, nothing in it that a terminal acts on, and cut
/// where it is long.
fn shown(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
