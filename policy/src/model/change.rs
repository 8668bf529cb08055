//! Changes of the cluster's state.

use std::sync::Arc;

use super::{
    AccountKey, Attachment, DeviceAddresses, EndpointSlice, HostEndpoint, Namespace, NetworkSet,
    NetworkSetId, Node, Pod, PodKey, Policy, PolicyId, Profile, ServiceAccount, SliceKey, Tier,
};
use crate::names::Interface;

/// A change of the cluster's state; an object that is applied replaces what had its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A namespace is there.
    NamespaceApplied(Arc<Namespace>),
    /// A namespace is gone. Its pods and policies are told on their own.
    NamespaceDeleted(Arc<str>),
    /// A pod is there.
    PodApplied(Arc<Pod>),
    /// A pod is gone.
    PodDeleted(PodKey),
    /// A node is there.
    NodeApplied(Arc<Node>),
    /// A node is gone.
    NodeDeleted(Arc<str>),
    /// A policy is there.
    PolicyApplied(Arc<Policy>),
    /// A policy is gone.
    PolicyDeleted(PolicyId),
    /// A pod's interface is there. As long as it is, the pod of that name on the same node has
    /// its addresses, whatever [`Pod::addresses`] says; several add up.
    Attached(Arc<Attachment>),
    /// A pod's interface is gone.
    Detached(Interface),
    /// A tier is there. One with the name of a built-in tier changes its default action.
    TierApplied(Arc<Tier>),
    /// A tier is gone; a built-in one is as it was.
    TierDeleted(Arc<str>),
    /// A host endpoint is there.
    HostEndpointApplied(Arc<HostEndpoint>),
    /// A host endpoint is gone, by name.
    HostEndpointDeleted(Arc<str>),
    /// A network set is there.
    NetworkSetApplied(Arc<NetworkSet>),
    /// A network set is gone.
    NetworkSetDeleted(NetworkSetId),
    /// A profile is there.
    ProfileApplied(Arc<Profile>),
    /// A profile is gone, by name.
    ProfileDeleted(Arc<str>),
    /// A service account is there.
    ServiceAccountApplied(Arc<ServiceAccount>),
    /// A service account is gone; its pods have its name nevertheless.
    ServiceAccountDeleted(AccountKey),
    /// Endpoints of a Service are there.
    SliceApplied(Arc<EndpointSlice>),
    /// Endpoints of a Service are gone.
    SliceDeleted(SliceKey),
    /// The interfaces of the node that a ruleset is compiled for have these addresses.
    Devices(Arc<DeviceAddresses>),
    /// Everything that there was at the start has been told.
    InSync,
}
