//! What Calico fills in when an object is written (policy-semantics §3.4, §4).

use serde_json::{Value, json};

use super::found::Object;
use crate::cluster::kind::Kind;

/// The tier of a policy that names none.
const DEFAULT_TIER: &str = "default";

/// Fills in what Calico stores of an object that leaves it open: the tier and the types of a
/// policy, what a tier does with those that no rule decides.
pub fn default_as_stored(object: &mut Object) {
    let Value::Object(fields) = &mut object.value else { return };
    // The agent says it, or the server; who writes an object does not.
    fields.remove("status");
    let Some(Value::Object(spec)) = fields.get_mut("spec") else { return };
    let is_left_open = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    let is_staged = match object.id.kind {
        Kind::CalicoNetworkPolicy | Kind::GlobalNetworkPolicy => false,
        Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy
        | Kind::StagedKubernetesNetworkPolicy => true,
        Kind::Tier => {
            if is_left_open(spec.get("defaultAction")) {
                spec.insert("defaultAction".to_owned(), json!("Deny"));
            }
            return;
        }
        Kind::NetworkPolicy
        | Kind::ClusterNetworkPolicy
        | Kind::HostEndpoint
        | Kind::NetworkSet
        | Kind::GlobalNetworkSet
        | Kind::Profile
        | Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Pod
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::BgpConfiguration
        | Kind::BgpFilter
        | Kind::BgpPeer
        | Kind::Secret => return,
    };
    if is_staged && is_left_open(spec.get("stagedAction")) {
        spec.insert("stagedAction".to_owned(), json!("Set"));
    }
    // That one is Kubernetes' own policy, with Kubernetes' defaults; a deletion has no rules.
    let is_deletion = spec.get("stagedAction").and_then(Value::as_str) == Some("Delete");
    if object.id.kind == Kind::StagedKubernetesNetworkPolicy || is_deletion {
        return;
    }
    if is_left_open(spec.get("tier")) {
        spec.insert("tier".to_owned(), json!(DEFAULT_TIER));
    }
    if is_left_open(spec.get("types")) {
        let has = |rules: &str| !is_left_open(spec.get(rules));
        let types = match (has("ingress"), has("egress")) {
            (_, false) => json!(["Ingress"]),
            (false, true) => json!(["Egress"]),
            (true, true) => json!(["Ingress", "Egress"]),
        };
        spec.insert("types".to_owned(), types);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Id;

    /// C05.
    #[test]
    fn a_policy_is_stored_with_its_tier_and_types() {
        for (kind, spec, want) in [
            (
                Kind::GlobalNetworkPolicy,
                json!({}),
                json!({"tier": "default", "types": ["Ingress"]}),
            ),
            (
                Kind::CalicoNetworkPolicy,
                json!({"egress": [{}], "tier": "x"}),
                json!({"egress": [{}], "tier": "x", "types": ["Egress"]}),
            ),
            (
                Kind::CalicoNetworkPolicy,
                json!({"egress": [{}], "ingress": [{}], "types": []}),
                json!({
                    "egress": [{}], "ingress": [{}], "tier": "default",
                    "types": ["Ingress", "Egress"],
                }),
            ),
            (
                Kind::CalicoNetworkPolicy,
                json!({"egress": [{}], "ingress": [], "types": ["Ingress"]}),
                json!({"egress": [{}], "ingress": [], "tier": "default", "types": ["Ingress"]}),
            ),
            (
                Kind::StagedNetworkPolicy,
                json!({"egress": [{}]}),
                json!({
                    "egress": [{}], "stagedAction": "Set", "tier": "default", "types": ["Egress"],
                }),
            ),
            (
                Kind::StagedGlobalNetworkPolicy,
                json!({"stagedAction": "Delete"}),
                json!({"stagedAction": "Delete"}),
            ),
            (Kind::StagedKubernetesNetworkPolicy, json!({}), json!({"stagedAction": "Set"})),
            (Kind::Tier, json!({"order": 1}), json!({"order": 1, "defaultAction": "Deny"})),
            (Kind::Tier, json!({"defaultAction": "Pass"}), json!({"defaultAction": "Pass"})),
            (Kind::HostEndpoint, json!({"node": "n"}), json!({"node": "n"})),
            (Kind::NetworkPolicy, json!({}), json!({})),
        ] {
            let id = Id { kind, namespace: None, name: "a".to_owned() };
            let value = json!({"spec": spec, "status": {}});
            let mut object = Object { id, value };
            default_as_stored(&mut object);
            assert_eq!(object.value, json!({"spec": want}), "{kind:?} {spec}");
        }
    }
}
