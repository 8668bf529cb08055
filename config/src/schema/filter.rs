//! `bgp.filters:` what peers may tell us and are told, and how it is changed on the way.

use schemars::JsonSchema;
use serde::Serialize;

use super::{AsNumber, Cidr, Lengths};

/// Ordered rules, asked until one accepts or rejects.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FilterSection {
    /// What peers name it by; unique.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) name: String,
    /// The rules, in order.
    pub(crate) rules: Vec<RuleSection>,
    /// What is done with a route that no rule accepts or rejects.
    #[serde(default = "reject", skip_serializing_if = "is_reject")]
    pub(crate) otherwise: Otherwise,
}

/// One rule: all of its conditions must hold; without conditions it matches everything. Lists
/// of conditions hold if one of their members does.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RuleSection {
    /// What becomes of a match, after its changes. Needed unless there is set, which then goes
    /// on with the next rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<Action>,
    /// The prefix is compared with this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cidr: Option<Cidr>,
    /// How: by default it must lie inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) match_operator: Option<Operator>,
    /// The prefix length must lie in this range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix_lengths: Option<Lengths>,
    /// The prefix must be of this family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) family: Option<FamilyWord>,
    /// The next hop must lie in one of these; our own routes have none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) next_hops: Vec<Cidr>,
    /// The next hop must be on the link of such an interface, with * for any characters, as
    /// in eth0 or bond*; our own routes have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 30))]
    pub(crate) interface: Option<String>,
    /// Where the route must come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<SourceWord>,
    /// What the peer must be that the route is learned from or told to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_type: Option<PeerTypeWord>,
    /// What the AS path must be like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) as_path: Option<AsPathSection>,
    /// Communities that the route must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) communities: Option<CommunitiesSection>,
    /// What is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) set: Option<SetSection>,
}

/// What an AS path must be like.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct AsPathSection {
    /// One of these stands somewhere in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) contains: Vec<AsNumber>,
    /// It begins with one of these: the neighbour.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) first: Vec<AsNumber>,
    /// It ends with one of these: where the prefix comes from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) last: Vec<AsNumber>,
    /// It begins with these, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) prefix: Vec<AsNumber>,
    /// The number of its hops: 3, or a range such as 1-5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) length: Option<Hops>,
    /// A regular expression over it, written as 65001 65002 {65003,65004}; _ is the border of
    /// a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) regex: Option<String>,
}

/// Communities that a route must have: 65001:1, 65001:*, no-export, large ones as 65001:1:2,
/// extended ones as rt:65001:1.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CommunitiesSection {
    /// At least one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) any: Vec<String>,
    /// Each of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) all: Vec<String>,
}

/// What a rule changes.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SetSection {
    /// LOCAL_PREF: higher is preferred, within our AS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local_pref: Option<u32>,
    /// MULTI_EXIT_DISC: lower is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) med: Option<u32>,
    /// More MULTI_EXIT_DISC, or less if negative; none counts as 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add_med: Option<i64>,
    /// No MULTI_EXIT_DISC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove_med: Option<bool>,
    /// These communities in place of all that are there, of every kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) communities: Option<Vec<String>>,
    /// None of these communities; * stands for any number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) remove_communities: Vec<String>,
    /// These communities besides those that are there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) add_communities: Vec<String>,
    /// An AS so many times in front of the AS path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prepend: Option<PrependSection>,
    /// Which next hop the peer is told, before its nextHopMode; for export filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_hop: Option<HopWord>,
}

/// An AS so many times in front of the AS path.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct PrependSection {
    /// Default: ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) as_number: Option<AsNumber>,
    /// How many times.
    #[schemars(range(min = 1, max = 32))]
    pub(crate) times: u8,
}

impl Default for PrependSection {
    fn default() -> Self {
        Self { as_number: None, times: 1 }
    }
}

/// A number of hops: 3, or a range such as 1-5.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Hops {
    /// One number.
    One(u32),
    /// From one to another.
    Range(#[schemars(regex(pattern = "^[0-9]{1,10}(-[0-9]{1,10})?$"))] String),
}

/// What a filter rule does.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action {
    /// Take the route.
    Accept,
    /// Refuse the route.
    Reject,
    /// Go on with the next rule.
    Continue,
}

/// What a filter does with a route that no rule accepts or rejects.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Otherwise {
    /// Take the route.
    Accept,
    /// Refuse the route.
    Reject,
}

/// How a prefix is compared.
#[derive(Serialize, JsonSchema)]
pub(crate) enum Operator {
    /// The same.
    Equal,
    /// Another.
    NotEqual,
    /// It, or a part of it.
    #[allow(dead_code)] // accepted from users, never written by us: it is the default
    In,
    /// Neither it nor a part of it.
    NotIn,
}

/// A family of addresses.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FamilyWord {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Where a route comes from.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SourceWord {
    /// This node: its pods, and bgp.networks.
    Local,
    /// This node, for a Service.
    Service,
    /// Another node of the mesh.
    Mesh,
    /// A peer besides the mesh.
    Peer,
}

/// What a peer is to us.
#[derive(Serialize, JsonSchema)]
pub(crate) enum PeerTypeWord {
    /// In another AS.
    #[serde(rename = "eBGP")]
    External,
    /// In our AS.
    #[serde(rename = "iBGP")]
    Internal,
}

/// Which next hop is told.
#[derive(Serialize, JsonSchema)]
pub(crate) enum HopWord {
    /// Ourselves.
    #[serde(rename = "Self")]
    SelfAddress,
    /// That of the route.
    Keep,
}

fn reject() -> Otherwise {
    Otherwise::Reject
}

fn is_reject(otherwise: &Otherwise) -> bool {
    *otherwise == Otherwise::Reject
}
