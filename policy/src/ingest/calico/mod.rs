//! Calico's objects (policy-semantics 3 and 5).

mod entity;
mod host_endpoint;
mod network_set;
mod policy;
mod ports;
mod profile;
mod rule;
mod staged;
mod tier;

pub use host_endpoint::host_endpoint;
pub use network_set::{global_network_set, network_set};
pub use policy::{global_network_policy, network_policy_v3};
pub use profile::profile;
pub use staged::{
    staged_global_network_policy, staged_kubernetes_network_policy, staged_network_policy,
};
pub use tier::tier;

/// The value of a text field; an empty one is as one that is left out.
fn text(typed: Option<&String>) -> Option<&str> {
    typed.map(String::as_str).filter(|text| !text.is_empty())
}

/// The elements of a list; none is as a list that is left out.
fn list<T>(typed: &Option<Vec<T>>) -> &[T] {
    typed.as_deref().unwrap_or_default()
}
