//! Staged policies (policy-semantics 3.9): policies that are reported and not enforced.

use k8s_openapi::api::networking::v1::{NetworkPolicy as Kubernetes, NetworkPolicySpec};

use super::policy::{Body, body, policy};
use super::{list, text};
use crate::api::calico::{
    StagedGlobalNetworkPolicy, StagedGlobalNetworkPolicySpec, StagedKubernetesNetworkPolicy,
    StagedKubernetesNetworkPolicySpec, StagedNetworkPolicy, StagedNetworkPolicySpec,
};
use crate::ingest::network_policy::network_policy;
use crate::ingest::shown;
use crate::model::{Policy, PolicyKind, Problem, StagedAction};

/// As [`super::network_policy_v3`].
pub fn staged_network_policy(object: &StagedNetworkPolicy) -> Result<Policy, Problem> {
    let nothing = StagedNetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);
    let (action, problem) = action(spec.staged_action.as_ref());
    let body = body!(namespaced spec);
    let policy = policy(PolicyKind::StagedNetworkPolicy, &object.metadata, &body, Some(action))?;
    Ok(with(policy, problem))
}

/// As [`super::global_network_policy`].
pub fn staged_global_network_policy(object: &StagedGlobalNetworkPolicy) -> Result<Policy, Problem> {
    let nothing = StagedGlobalNetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);
    let (action, problem) = action(spec.staged_action.as_ref());
    let kind = PolicyKind::StagedGlobalNetworkPolicy;
    let policy = policy(kind, &object.metadata, &body!(global spec), Some(action))?;
    Ok(with(policy, problem))
}

/// As [`network_policy`].
pub fn staged_kubernetes_network_policy(
    object: &StagedKubernetesNetworkPolicy,
) -> Result<Policy, Problem> {
    let nothing = StagedKubernetesNetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);
    let (action, problem) = action(spec.staged_action.as_ref());
    let mut policy = network_policy(&Kubernetes {
        metadata: object.metadata.clone(),
        spec: Some(NetworkPolicySpec {
            pod_selector: spec.pod_selector.clone(),
            ingress: spec.ingress.clone(),
            egress: spec.egress.clone(),
            policy_types: spec.policy_types.clone(),
        }),
    })?;
    policy.id.kind = PolicyKind::StagedKubernetesNetworkPolicy;
    policy.staged = Some(action);
    Ok(with(policy, problem))
}

fn with(mut policy: Policy, problem: Option<Problem>) -> Policy {
    policy.problems.extend(problem);
    policy
}

/// What is proposed, and what is wrong with that.
fn action(typed: Option<&String>) -> (StagedAction, Option<Problem>) {
    match text(typed) {
        None | Some("Set") => (StagedAction::Set, None),
        Some("Delete") => (StagedAction::Delete, None),
        Some("Learn") => (StagedAction::Learn, None),
        Some("Ignore") => (StagedAction::Ignore, None),
        Some(typed) => {
            let message = format!(
                "{} is not a staged action; accepted are Set, Delete, Learn and Ignore; it counts \
                 as Set",
                shown(typed)
            );
            let problem = Problem { field: "spec.stagedAction".to_owned(), message };
            (StagedAction::Set, Some(problem))
        }
    }
}
