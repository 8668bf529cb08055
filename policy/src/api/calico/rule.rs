//! Rules of policies and profiles (policy-semantics 3.5).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::schema;

/// Matches packets for which everything that it says holds, and does something with them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Allow, Deny, Log (and go on with the next rule) or Pass (to the next tier).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, extend("enum" = ["Allow", "Deny", "Log", "Pass"]))]
    pub action: Option<String>,
    /// The packet's IP version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [4, 6]))]
    pub ip_version: Option<i64>,
    /// The packet's protocol: TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or its number from 1 to 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::IntOrString>")]
    pub protocol: Option<IntOrString>,
    /// The packet's ICMP message; needs protocol ICMP or ICMPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpFields>,
    /// Any other protocol than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::IntOrString>")]
    pub not_protocol: Option<IntOrString>,
    /// Any other ICMP message than this; needs protocol ICMP or ICMPv6.
    #[serde(rename = "notICMP", skip_serializing_if = "Option::is_none")]
    pub not_icmp: Option<IcmpFields>,
    /// Where the packet comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<EntityRule>,
    /// Where the packet goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<EntityRule>,
    /// The HTTP request. Nothing here evaluates it: an Allow rule that has it matches nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpMatch>,
    /// What people note about the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RuleMetadata>,
}

/// An ICMP message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IcmpFields {
    /// Its type, for instance 8 for an echo request.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 254))]
    pub kind: Option<i64>,
    /// Its code; needs type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255))]
    pub code: Option<i64>,
}

/// One end of a packet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntityRule {
    /// Its address is in one of these blocks, or is one of these addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nets: Option<Vec<String>>,
    /// Its address is one of an endpoint or a network set whose labels fit, for instance
    /// app == "web".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// Together with selector: in a namespace whose labels fit. Left out in a policy of a
    /// namespace, it is that one. global() is whatever is in no namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub namespace_selector: Option<String>,
    /// It is an endpoint of a Service. In an ingress rule only as source; in an egress rule only
    /// as destination, where the ports are those of the endpoints too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ServiceMatch>,
    /// Its port is one of these: numbers, ranges such as "8000:8080", and names. Numbers need
    /// protocol TCP, UDP or SCTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::IntOrString>>")]
    pub ports: Option<Vec<IntOrString>>,
    /// Its address is in none of these blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_nets: Option<Vec<String>>,
    /// Its address is not one of an endpoint or a network set whose labels fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub not_selector: Option<String>,
    /// Its port is none of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::IntOrString>>")]
    pub not_ports: Option<Vec<IntOrString>>,
    /// It is a pod of one of these service accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccountMatch>,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMatch {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace; left out, it is the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Service accounts; with both fields, both must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountMatch {
    /// Those of these names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Those whose labels fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
}

/// An HTTP request; with both fields, both must fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// One of these methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// One of these paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<HttpPath>>,
}

/// A path of HTTP requests, by one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpPath {
    /// This path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Paths that start so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// What people note about a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleMetadata {
    /// Keys and values of any meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}
