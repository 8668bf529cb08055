//! The kinds of objects that a source delivers, and what else a folder of manifests may hold.

use brindle_policy::model::PolicyKind;

/// A kind that is used. Sorts in the order in which objects are told.
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
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `projectcalico.org/v3` Tier.
    Tier,
    /// `projectcalico.org/v3` Profile.
    Profile,
    /// `projectcalico.org/v3` GlobalNetworkSet.
    GlobalNetworkSet,
    /// `projectcalico.org/v3` NetworkSet.
    NetworkSet,
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
    /// `projectcalico.org/v3` BGPConfiguration.
    BgpConfiguration,
    /// `projectcalico.org/v3` BGPFilter.
    BgpFilter,
    /// `projectcalico.org/v3` BGPPeer.
    BgpPeer,
    /// `v1` Secret: of an API server only those that sessions need, by name.
    Secret,
}

/// The API of Calico's kinds.
pub const CALICO: &str = "projectcalico.org/v3";
/// The API in which Calico keeps them where its API server is not there. It has the same kinds
/// with the same meaning, but for profiles.
pub(super) const CALICO_STORE: &str = "crd.projectcalico.org/v1";

impl Kind {
    /// All of them that are watched as a whole, in their order.
    pub(super) const ALL: [Kind; 21] = [
        Kind::Node,
        Kind::Namespace,
        Kind::ServiceAccount,
        Kind::Pod,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::Tier,
        Kind::Profile,
        Kind::GlobalNetworkSet,
        Kind::NetworkSet,
        Kind::HostEndpoint,
        Kind::NetworkPolicy,
        Kind::CalicoNetworkPolicy,
        Kind::GlobalNetworkPolicy,
        Kind::ClusterNetworkPolicy,
        Kind::StagedKubernetesNetworkPolicy,
        Kind::StagedNetworkPolicy,
        Kind::StagedGlobalNetworkPolicy,
        Kind::BgpConfiguration,
        Kind::BgpFilter,
        Kind::BgpPeer,
    ];

    /// The APIs that may have it: of those that an API server has, the first counts, alone.
    /// None for a kind that every server has.
    pub(super) fn optional_apis(self) -> &'static [&'static str] {
        match self {
            Kind::Node
            | Kind::Namespace
            | Kind::ServiceAccount
            | Kind::Pod
            | Kind::Service
            | Kind::NetworkPolicy
            | Kind::Secret => &[],
            // Servers before 1.21 have the older one only; what we use of it is the same.
            Kind::EndpointSlice => &["discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"],
            Kind::ClusterNetworkPolicy => &["policy.networking.k8s.io/v1alpha2"],
            Kind::Profile => &[CALICO],
            Kind::Tier
            | Kind::NetworkSet
            | Kind::GlobalNetworkSet
            | Kind::HostEndpoint
            | Kind::CalicoNetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::BgpConfiguration
            | Kind::BgpFilter
            | Kind::BgpPeer => &[CALICO, CALICO_STORE],
        }
    }

    /// Whether there are API servers that do not have it.
    pub(super) fn is_optional(self) -> bool {
        !self.optional_apis().is_empty()
    }

    /// Whether we do without it where we may not read it.
    pub(super) fn is_dispensable(self) -> bool {
        self.is_optional() || self == Kind::Service
    }

    /// Whether objects of this `apiVersion` are of this kind, if they are called so.
    fn is_of(self, api_version: &str) -> bool {
        self.api_version() == api_version || self.optional_apis().contains(&api_version)
    }

    /// In the API that it is best known by.
    pub(super) fn place(self) -> Place {
        Place { kind: self, api: self.api_version() }
    }

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
            Kind::Service => "Service",
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
            Kind::BgpConfiguration => "BGPConfiguration",
            Kind::BgpFilter => "BGPFilter",
            Kind::BgpPeer => "BGPPeer",
            Kind::Secret => "Secret",
        }
    }

    /// As the API's paths and roles have it.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Node => "nodes",
            Kind::Namespace => "namespaces",
            Kind::ServiceAccount => "serviceaccounts",
            Kind::Pod => "pods",
            Kind::Service => "services",
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
            Kind::BgpConfiguration => "bgpconfigurations",
            Kind::BgpFilter => "bgpfilters",
            Kind::BgpPeer => "bgppeers",
            Kind::Secret => "secrets",
        }
    }

    /// Whether its objects are in namespaces.
    pub fn is_namespaced(self) -> bool {
        match self {
            Kind::ServiceAccount
            | Kind::Pod
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::NetworkSet
            | Kind::NetworkPolicy
            | Kind::CalicoNetworkPolicy
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::Secret => true,
            Kind::Node
            | Kind::Namespace
            | Kind::Tier
            | Kind::Profile
            | Kind::GlobalNetworkSet
            | Kind::HostEndpoint
            | Kind::GlobalNetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::BgpConfiguration
            | Kind::BgpFilter
            | Kind::BgpPeer => false,
        }
    }

    /// As `apiGroups` of a role has it: empty for the core.
    pub fn group(self) -> &'static str {
        group(self.api_version())
    }

    /// A name that no other kind has: the plural, with the group for kinds that Kubernetes does
    /// not bring along. `kubectl get` takes it.
    pub fn resource(self) -> &'static str {
        match self {
            Kind::Node
            | Kind::Namespace
            | Kind::ServiceAccount
            | Kind::Pod
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::NetworkPolicy
            | Kind::Secret => self.plural(),
            Kind::Tier => "tiers.projectcalico.org",
            Kind::Profile => "profiles.projectcalico.org",
            Kind::GlobalNetworkSet => "globalnetworksets.projectcalico.org",
            Kind::NetworkSet => "networksets.projectcalico.org",
            Kind::HostEndpoint => "hostendpoints.projectcalico.org",
            Kind::CalicoNetworkPolicy => "networkpolicies.projectcalico.org",
            Kind::GlobalNetworkPolicy => "globalnetworkpolicies.projectcalico.org",
            Kind::ClusterNetworkPolicy => "clusternetworkpolicies.policy.networking.k8s.io",
            Kind::StagedKubernetesNetworkPolicy => {
                "stagedkubernetesnetworkpolicies.projectcalico.org"
            }
            Kind::StagedNetworkPolicy => "stagednetworkpolicies.projectcalico.org",
            Kind::StagedGlobalNetworkPolicy => "stagedglobalnetworkpolicies.projectcalico.org",
            Kind::BgpConfiguration => "bgpconfigurations.projectcalico.org",
            Kind::BgpFilter => "bgpfilters.projectcalico.org",
            Kind::BgpPeer => "bgppeers.projectcalico.org",
        }
    }

    /// As `apiVersion` has it.
    pub fn api_version(self) -> &'static str {
        match self {
            Kind::Node
            | Kind::Namespace
            | Kind::ServiceAccount
            | Kind::Pod
            | Kind::Service
            | Kind::Secret => "v1",
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
            | Kind::StagedGlobalNetworkPolicy
            | Kind::BgpConfiguration
            | Kind::BgpFilter
            | Kind::BgpPeer => CALICO,
        }
    }
}

/// The group of an `apiVersion`: empty for the core.
fn group(api_version: &'static str) -> &'static str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// A kind as one API has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The kind.
    pub(super) kind: Kind,
    /// The API, as `apiVersion` has it.
    pub(super) api: &'static str,
}

impl Place {
    /// As `apiGroups` of a role has it: empty for the core.
    pub(super) fn group(self) -> &'static str {
        group(self.api)
    }

    /// Where the API has all objects of the kind.
    pub(super) fn path(self) -> String {
        let root = if self.group().is_empty() { "/api" } else { "/apis" };
        format!("{root}/{}/{}", self.api, self.kind.plural())
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
        let all = || Kind::ALL.into_iter().chain([Kind::Secret]);
        let of_version = || all().filter(|k| k.is_of(api_version));
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
const OTHERS: [(&str, &[&str]); 9] = [
    (
        "v1",
        &[
            "Endpoints",
            "ConfigMap",
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
    ("crd.projectcalico.org/", &[]),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn kinds_sort_as_they_are_told_and_no_two_share_a_resource() {
        assert!(Kind::ALL.is_sorted());
        assert_eq!(Kind::ALL.map(Kind::resource).into_iter().collect::<BTreeSet<_>>().len(), 21);
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_optional()) {
            assert_eq!(kind.optional_apis()[0], kind.api_version(), "{kind:?}");
        }
    }

    #[test]
    fn an_object_is_what_its_api_and_its_kind_say() {
        use Role::{Ignored, List, Object, Unknown};
        for (api_version, kind, want) in [
            ("networking.k8s.io/v1", "NetworkPolicy", Object(Kind::NetworkPolicy)),
            (CALICO, "NetworkPolicy", Object(Kind::CalicoNetworkPolicy)),
            (CALICO_STORE, "NetworkPolicy", Object(Kind::CalicoNetworkPolicy)),
            (CALICO_STORE, "Tier", Object(Kind::Tier)),
            (CALICO, "Profile", Object(Kind::Profile)),
            (CALICO_STORE, "Profile", Ignored),
            (CALICO, "GlobalNetworkPolicyList", List(Some(Kind::GlobalNetworkPolicy))),
            ("v1", "ServiceAccount", Object(Kind::ServiceAccount)),
            ("v1", "Service", Object(Kind::Service)),
            ("v1", "ServiceAccountList", List(Some(Kind::ServiceAccount))),
            ("discovery.k8s.io/v1beta1", "EndpointSlice", Object(Kind::EndpointSlice)),
            (
                "policy.networking.k8s.io/v1alpha2",
                "ClusterNetworkPolicy",
                Object(Kind::ClusterNetworkPolicy),
            ),
            ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", Ignored),
            (CALICO, "BGPPeer", Object(Kind::BgpPeer)),
            (CALICO_STORE, "BGPFilter", Object(Kind::BgpFilter)),
            ("v1", "Secret", Object(Kind::Secret)),
            (CALICO, "IPPool", Ignored),
            (CALICO_STORE, "IPPool", Ignored),
            ("projectcalico.org/v4", "NetworkPolicy", Ignored),
            ("v1", "NetworkPolicy", Unknown),
            ("example.org/v1", "Tier", Unknown),
        ] {
            assert_eq!(Role::of(api_version, kind), want, "{api_version} {kind}");
        }
    }

    #[test]
    fn a_place_is_a_path_and_a_group() {
        for (place, group, path) in [
            (Kind::Pod.place(), "", "/api/v1/pods"),
            (
                Kind::NetworkPolicy.place(),
                "networking.k8s.io",
                "/apis/networking.k8s.io/v1/networkpolicies",
            ),
            (
                Place { kind: Kind::Tier, api: CALICO_STORE },
                "crd.projectcalico.org",
                "/apis/crd.projectcalico.org/v1/tiers",
            ),
        ] {
            assert_eq!((place.group(), place.path().as_str()), (group, path));
        }
    }
}
