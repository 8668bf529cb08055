//! The kinds of objects that a source delivers, and what else a folder of manifests may hold.

use brindle_policy::model::PolicyKind;

/// A kind that is used. Sorts as [`super::object::Key`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `v1` Pod.
    Pod,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `projectcalico.org/v3` Tier.
    Tier,
    /// `projectcalico.org/v3` Profile.
    Profile,
    /// `projectcalico.org/v3` NetworkSet.
    NetworkSet,
    /// `projectcalico.org/v3` GlobalNetworkSet.
    GlobalNetworkSet,
    /// `projectcalico.org/v3` HostEndpoint.
    HostEndpoint,
    /// `networking.k8s.io/v1` NetworkPolicy.
    NetworkPolicy,
    /// `projectcalico.org/v3` NetworkPolicy.
    CalicoNetworkPolicy,
    /// `projectcalico.org/v3` GlobalNetworkPolicy.
    GlobalNetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy.
    ClusterNetworkPolicy,
    /// `projectcalico.org/v3` StagedKubernetesNetworkPolicy.
    StagedKubernetesNetworkPolicy,
    /// `projectcalico.org/v3` StagedNetworkPolicy.
    StagedNetworkPolicy,
    /// `projectcalico.org/v3` StagedGlobalNetworkPolicy.
    StagedGlobalNetworkPolicy,
}

/// The API of Calico's kinds.
pub const CALICO: &str = "projectcalico.org/v3";

impl Kind {
    /// All of them.
    pub(super) const ALL: [Kind; 4] = [Kind::Node, Kind::Namespace, Kind::Pod, Kind::NetworkPolicy];

    /// That of a policy's kind.
    pub(super) fn of_policy(kind: PolicyKind) -> Self {
        match kind {
            PolicyKind::NetworkPolicy => Kind::NetworkPolicy,
            PolicyKind::CalicoNetworkPolicy => Kind::CalicoNetworkPolicy,
            PolicyKind::GlobalNetworkPolicy => Kind::GlobalNetworkPolicy,
            PolicyKind::ClusterNetworkPolicy => Kind::ClusterNetworkPolicy,
            PolicyKind::StagedKubernetesNetworkPolicy => Kind::StagedKubernetesNetworkPolicy,
            PolicyKind::StagedNetworkPolicy => Kind::StagedNetworkPolicy,
            PolicyKind::StagedGlobalNetworkPolicy => Kind::StagedGlobalNetworkPolicy,
        }
    }

    /// As `kind` has it. Two kinds of different APIs share one.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Node => "Node",
            Kind::Namespace => "Namespace",
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Pod => "Pod",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Tier => "Tier",
            Kind::Profile => "Profile",
            Kind::NetworkSet => "NetworkSet",
            Kind::GlobalNetworkSet => "GlobalNetworkSet",
            Kind::HostEndpoint => "HostEndpoint",
            Kind::NetworkPolicy | Kind::CalicoNetworkPolicy => "NetworkPolicy",
            Kind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            Kind::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Kind::StagedKubernetesNetworkPolicy => "StagedKubernetesNetworkPolicy",
            Kind::StagedNetworkPolicy => "StagedNetworkPolicy",
            Kind::StagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
        }
    }

    /// As the API's paths and roles have it.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Node => "nodes",
            Kind::Namespace => "namespaces",
            Kind::ServiceAccount => "serviceaccounts",
            Kind::Pod => "pods",
            Kind::EndpointSlice => "endpointslices",
            Kind::Tier => "tiers",
            Kind::Profile => "profiles",
            Kind::NetworkSet => "networksets",
            Kind::GlobalNetworkSet => "globalnetworksets",
            Kind::HostEndpoint => "hostendpoints",
            Kind::NetworkPolicy | Kind::CalicoNetworkPolicy => "networkpolicies",
            Kind::GlobalNetworkPolicy => "globalnetworkpolicies",
            Kind::ClusterNetworkPolicy => "clusternetworkpolicies",
            Kind::StagedKubernetesNetworkPolicy => "stagedkubernetesnetworkpolicies",
            Kind::StagedNetworkPolicy => "stagednetworkpolicies",
            Kind::StagedGlobalNetworkPolicy => "stagedglobalnetworkpolicies",
        }
    }

    /// Whether its objects are in namespaces.
    pub fn is_namespaced(self) -> bool {
        match self {
            Kind::ServiceAccount
            | Kind::Pod
            | Kind::EndpointSlice
            | Kind::NetworkSet
            | Kind::NetworkPolicy
            | Kind::CalicoNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::StagedNetworkPolicy => true,
            Kind::Node
            | Kind::Namespace
            | Kind::Tier
            | Kind::Profile
            | Kind::GlobalNetworkSet
            | Kind::HostEndpoint
            | Kind::GlobalNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy => false,
        }
    }

    /// As `apiGroups` of a role has it: empty for the core.
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Where the API has all of them.
    pub(super) fn path(self) -> String {
        let root = if self.group().is_empty() { "/api" } else { "/apis" };
        format!("{root}/{}/{}", self.api_version(), self.plural())
    }

    /// As `apiVersion` has it.
    pub fn api_version(self) -> &'static str {
        match self {
            Kind::Node | Kind::Namespace | Kind::ServiceAccount | Kind::Pod => "v1",
            Kind::EndpointSlice => "discovery.k8s.io/v1",
            Kind::NetworkPolicy => "networking.k8s.io/v1",
            Kind::ClusterNetworkPolicy => "policy.networking.k8s.io/v1alpha2",
            Kind::Tier
            | Kind::Profile
            | Kind::NetworkSet
            | Kind::GlobalNetworkSet
            | Kind::HostEndpoint
            | Kind::CalicoNetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy => CALICO,
        }
    }
}

/// What `apiVersion` and `kind` say that an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// One of a kind that is used.
    Object(Kind),
    /// A list; of one kind, or of any.
    List(Option<Kind>),
    /// Something for other readers of the folder, or for a later version of ours.
    Ignored,
    /// Nobody here knows it.
    Unknown,
}

impl Role {
    /// The role of an object.
    pub(super) fn of(api_version: &str, kind: &str) -> Self {
        let of_version = || Kind::ALL.into_iter().filter(|k| k.api_version() == api_version);
        if let Some(kind) = of_version().find(|k| k.name() == kind) {
            return Role::Object(kind);
        }
        if (api_version, kind) == ("v1", "List") {
            return Role::List(None);
        }
        let item = kind.strip_suffix("List");
        if let Some(kind) = item.and_then(|item| of_version().find(|k| k.name() == item)) {
            return Role::List(Some(kind));
        }
        if is_other(api_version, kind) { Role::Ignored } else { Role::Unknown }
    }
}

/// Kinds that are known and not used; a group that ends in a slash stands for all of its kinds.
const OTHERS: [(&str, &[&str]); 8] = [
    (
        "v1",
        &[
            "Service",
            "Endpoints",
            "ServiceAccount",
            "ConfigMap",
            "Secret",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "LimitRange",
            "Event",
            "ReplicationController",
            "PodTemplate",
        ],
    ),
    ("apps/", &[]),
    ("batch/", &[]),
    ("discovery.k8s.io/", &[]),
    ("networking.k8s.io/", &[]),
    ("policy.networking.k8s.io/", &[]),
    ("rbac.authorization.k8s.io/", &[]),
    ("projectcalico.org/", &[]),
];

fn is_other(api_version: &str, kind: &str) -> bool {
    OTHERS.iter().any(|(group, kinds)| {
        if group.ends_with('/') {
            api_version.starts_with(group)
        } else {
            api_version == *group && kinds.contains(&kind)
        }
    })
}
