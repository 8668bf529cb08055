//! `projectcalico.org/v3`.
//!
//! Source: the API's reference of its resource definitions, and policy-semantics 3 and 5.

mod rule;

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use rule::{
    EntityRule, HttpMatch, HttpPath, IcmpFields, Rule, RuleMetadata, ServiceAccountMatch,
    ServiceMatch,
};

use super::{Object, schema};

/// A `NetworkPolicy` of Calico: governs pods of its namespace.
pub type NetworkPolicy = Object<NetworkPolicySpec>;
/// A `GlobalNetworkPolicy`: governs pods of all namespaces, and host endpoints.
pub type GlobalNetworkPolicy = Object<GlobalNetworkPolicySpec>;
/// A `StagedNetworkPolicy`.
pub type StagedNetworkPolicy = Object<StagedNetworkPolicySpec>;
/// A `StagedGlobalNetworkPolicy`.
pub type StagedGlobalNetworkPolicy = Object<StagedGlobalNetworkPolicySpec>;
/// A `StagedKubernetesNetworkPolicy`.
pub type StagedKubernetesNetworkPolicy = Object<StagedKubernetesNetworkPolicySpec>;
/// A `HostEndpoint`.
pub type HostEndpoint = Object<HostEndpointSpec>;
/// A `NetworkSet`.
pub type NetworkSet = Object<NetworkSetSpec>;
/// A `GlobalNetworkSet`.
pub type GlobalNetworkSet = Object<GlobalNetworkSetSpec>;
/// A `Tier`.
pub type Tier = Object<TierSpec>;
/// A `Profile`.
pub type Profile = Object<ProfileSpec>;

/// Defines the spec of a policy kind from the fields that all of them have and its own.
macro_rules! policy_spec {
    ($(#[$doc:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($own)*
            /// The tier that the policy takes part in; "default" if left out. A policy of a
            /// tier that does not exist is not enforced.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub tier: Option<String>,
            /// Where the policy stands in its tier: lower comes first, none comes last, and
            /// equal ones go by name.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub order: Option<f64>,
            /// Rules for packets towards the endpoints, in order: the first that matches and
            /// does not only log decides.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub ingress: Option<Vec<Rule>>,
            /// Rules for packets from the endpoints, in order: the first that matches and does
            /// not only log decides.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub egress: Option<Vec<Rule>>,
            /// The endpoints that the policy governs, by their labels, for instance
            /// app == "web" && !has(legacy). Left out or empty is all of them.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 1024))]
            pub selector: Option<String>,
            /// The directions that the policy governs. Left out: Ingress if there are no
            /// egress rules, Egress if there are only those, both if there are both.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(with = "Option<Vec<schema::PolicyType>>", length(max = 2))]
            pub types: Option<Vec<String>>,
            /// Governs only pods whose service account's labels fit, for instance
            /// role == "web".
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 1024))]
            pub service_account_selector: Option<String>,
            /// Hints for Calico's own agent. They never change what a policy means.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(with = "Option<Vec<schema::PerformanceHint>>")]
            pub performance_hints: Option<Vec<String>>,
        }
    };
}

/// As [`policy_spec`], with the fields that only global kinds have.
macro_rules! global_policy_spec {
    ($(#[$doc:meta])* $name:ident { $($own:tt)* }) => {
        policy_spec! {
            $(#[$doc])* $name {
                $($own)*
                /// Governs only endpoints in namespaces whose labels fit, for instance
                /// env == "prod". all() is everything in a namespace, which host endpoints are
                /// not.
                #[serde(skip_serializing_if = "Option::is_none")]
                #[schemars(length(max = 1024))]
                pub namespace_selector: Option<String>,
                /// Judges packets of host endpoints before connection tracking, and leaves
                /// those that it allows untracked. Needs applyOnForward; not with preDNAT.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub do_not_track: Option<bool>,
                /// Judges packets that come in by host endpoints before their destination is
                /// translated. Needs applyOnForward; not with doNotTrack or egress rules.
                #[serde(rename = "preDNAT", skip_serializing_if = "Option::is_none")]
                pub pre_dnat: Option<bool>,
                /// Judges packets that a host forwards too, not only its own.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub apply_on_forward: Option<bool>,
            }
        }
    };
}

policy_spec! {
    /// What a NetworkPolicy does with packets of pods of its namespace.
    NetworkPolicySpec {}
}

policy_spec! {
    /// What a StagedNetworkPolicy would do if it were a NetworkPolicy.
    StagedNetworkPolicySpec {
        /// What is proposed for the NetworkPolicy of this name; Set if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("enum" = ["Set", "Delete", "Learn", "Ignore"]))]
        pub staged_action: Option<String>,
    }
}

global_policy_spec! {
    /// What a GlobalNetworkPolicy does with packets of pods and host endpoints.
    GlobalNetworkPolicySpec {}
}

global_policy_spec! {
    /// What a StagedGlobalNetworkPolicy would do if it were a GlobalNetworkPolicy.
    StagedGlobalNetworkPolicySpec {
        /// What is proposed for the GlobalNetworkPolicy of this name; Set if left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("enum" = ["Set", "Delete", "Learn", "Ignore"]))]
        pub staged_action: Option<String>,
    }
}

/// What a StagedKubernetesNetworkPolicy would do if it were a NetworkPolicy of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StagedKubernetesNetworkPolicySpec {
    /// What is proposed for the NetworkPolicy of this name; Set if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Set", "Delete", "Learn", "Ignore"]))]
    pub staged_action: Option<String>,
    /// The pods of the namespace that it governs; the empty selector is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::LabelSelector>")]
    pub pod_selector: Option<LabelSelector>,
    /// What is allowed towards the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::NetworkPolicyIngressRule>>")]
    pub ingress: Option<Vec<NetworkPolicyIngressRule>>,
    /// What is allowed from the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::NetworkPolicyEgressRule>>")]
    pub egress: Option<Vec<NetworkPolicyEgressRule>>,
    /// The directions that it governs. Left out: Ingress, and Egress if there are egress rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::PolicyType>>", length(max = 2))]
    pub policy_types: Option<Vec<String>>,
}

/// Interfaces of a node, as policies see them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostEndpointSpec {
    /// The name of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The name of an interface of the node, or * for all that no other host endpoint has. Left
    /// out: the one that has an address of expectedIPs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    /// Its addresses, for which it stands as a peer of rules.
    #[serde(rename = "expectedIPs", skip_serializing_if = "Option::is_none")]
    pub expected_ips: Option<Vec<String>>,
    /// Profiles, in order: they decide about packets that no policy decides about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<Vec<String>>,
    /// Ports that rules may name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<EndpointPort>>,
}

/// A port with a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointPort {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub name: Option<String>,
    /// TCP, UDP or SCTP, or the protocol's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, with = "Option<schema::IntOrString>")]
    pub protocol: Option<IntOrString>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, range(min = 1, max = 65535))]
    pub port: Option<i64>,
}

/// Networks that rules of policies of its namespace select by the set's labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSetSpec {
    /// Blocks and addresses, for instance 192.0.2.0/24 and fd00::7.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nets: Option<Vec<String>>,
}

/// Networks that rules of policies select by the set's labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GlobalNetworkSetSpec {
    /// Blocks and addresses, for instance 192.0.2.0/24 and fd00::7.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nets: Option<Vec<String>>,
}

/// A stage of the evaluation, with policies of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierSpec {
    /// Where it stands among the tiers: lower comes first, none comes last, and equal ones go
    /// by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<f64>,
    /// What becomes of packets of endpoints that a policy of the tier governs when no rule
    /// decided; Deny if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Deny", "Pass"]))]
    pub default_action: Option<String>,
}

/// Rules and labels for endpoints that list the profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSpec {
    /// Rules for packets towards the endpoints, about which no policy decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Vec<Rule>>,
    /// Rules for packets from the endpoints, about which no policy decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<Vec<Rule>>,
    /// Labels of the endpoints, where they have none of that key themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_to_apply: Option<BTreeMap<String, String>>,
}
