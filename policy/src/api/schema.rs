//! Schemas of values whose types are not ours.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A number or a text: Kubernetes' `IntOrString`.
pub(super) struct IntOrString;

impl JsonSchema for IntOrString {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "IntOrString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "x-kubernetes-int-or-string": true,
        })
    }
}

/// A direction that a policy governs.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "read by the macro")]
pub(super) enum PolicyType {
    Ingress,
    Egress,
}

/// A hint for Calico's own agent.
#[derive(JsonSchema)]
#[schemars(inline)]
#[expect(dead_code, reason = "read by the macro")]
pub(super) enum PerformanceHint {
    AssumeNeededOnEveryNode,
}

/// Selects objects by their labels; the empty one selects all.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "read by the macro")]
pub(super) struct LabelSelector {
    /// Labels with these values; all must be there.
    match_labels: Option<BTreeMap<String, String>>,
    /// Conditions on labels; all must hold.
    match_expressions: Option<Vec<LabelRequirement>>,
}

/// A condition on a label.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(super) struct LabelRequirement {
    /// The label's key.
    key: String,
    /// How the label is compared.
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    operator: String,
    /// The values of In and NotIn.
    values: Option<Vec<String>>,
}

/// An ingress rule of Kubernetes' NetworkPolicy.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(super) struct NetworkPolicyIngressRule {
    /// Who may connect; left out or empty is everybody.
    from: Option<Vec<NetworkPolicyPeer>>,
    /// To which ports; left out or empty is all.
    ports: Option<Vec<NetworkPolicyPort>>,
}

/// An egress rule of Kubernetes' NetworkPolicy.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(super) struct NetworkPolicyEgressRule {
    /// Where connections may go; left out or empty is everywhere.
    to: Option<Vec<NetworkPolicyPeer>>,
    /// To which ports; left out or empty is all.
    ports: Option<Vec<NetworkPolicyPort>>,
}

/// A peer of Kubernetes' NetworkPolicy.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "read by the macro")]
pub(super) struct NetworkPolicyPeer {
    /// A block of addresses; goes with no other field.
    ip_block: Option<IpBlock>,
    /// The namespaces of pods; left out is that of the policy.
    namespace_selector: Option<LabelSelector>,
    /// The pods.
    pod_selector: Option<LabelSelector>,
}

/// A block of addresses.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the macro")]
pub(super) struct IpBlock {
    /// The block, for instance 192.0.2.0/24.
    cidr: String,
    /// Smaller blocks inside it that do not count.
    except: Option<Vec<String>>,
}

/// Ports of Kubernetes' NetworkPolicy.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "read by the macro")]
pub(super) struct NetworkPolicyPort {
    /// TCP (if left out), UDP or SCTP.
    protocol: Option<String>,
    /// A number, or the name of a port of containers; left out is all.
    port: Option<IntOrString>,
    /// The last port of a range that starts at port.
    end_port: Option<i32>,
}
