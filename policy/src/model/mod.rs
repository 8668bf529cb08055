//! What policies are about: pods, namespaces, nodes, hosts, sets of networks; and what every
//! policy language comes down to: tiers of ordered policies of ordered rules.

mod change;
mod host;
mod place;
mod pod;
mod policy;
mod rule;
mod set;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use change::Change;
pub use host::{
    BGP_PORT, DEFAULT_ALLOW_PROFILE, DeviceAddresses, Failsafe, Failsafes, HostEndpoint,
    HostInterface, HostSettings, HostStage, Profile, ToHost,
};
pub use place::{
    ACCOUNT_NAME_LABEL, AccountKey, NAMESPACE_NAME_LABEL, Namespace, Node, ORCHESTRATOR_LABEL,
    SHORT_ACCOUNT_NAME_LABEL, ServiceAccount,
};
pub use pod::{Attachment, NamedPort, Pod, PodKey};
pub use policy::{
    ADMIN_TIER, BASELINE_TIER, DEFAULT_TIER, Policy, PolicyId, PolicyKind, PolicyOrder, Problem,
    StagedAction, Tier, TierAction,
};
pub use rule::{
    Action, Criterion, Direction, Holders, IpBlock, PeerTerm, PortMatch, PortName, PortTerm,
    Protocol, Rule, Side,
};
pub use set::{EndpointSlice, NetworkSet, NetworkSetId, ServiceName, SliceKey};

/// Labels of an object, by key.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;
