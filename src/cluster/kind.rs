//! The kinds of objects that a source delivers, and what else a folder of manifests may hold.

/// A kind that is used. Sorts as [`super::object::Key`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Node,
    Namespace,
    Pod,
    NetworkPolicy,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Kind; 4] = [Kind::Node, Kind::Namespace, Kind::Pod, Kind::NetworkPolicy];

    /// As `kind` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Node => "Node",
            Kind::Namespace => "Namespace",
            Kind::Pod => "Pod",
            Kind::NetworkPolicy => "NetworkPolicy",
        }
    }

    /// As the API's paths and roles have it.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Kind::Node => "nodes",
            Kind::Namespace => "namespaces",
            Kind::Pod => "pods",
            Kind::NetworkPolicy => "networkpolicies",
        }
    }

    /// As `apiGroups` of a role has it: empty for the core.
    pub(super) fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// Where the API has all of them.
    pub(super) fn path(self) -> String {
        let root = if self.group().is_empty() { "/api" } else { "/apis" };
        format!("{root}/{}/{}", self.api_version(), self.plural())
    }

    /// As `apiVersion` has it.
    pub(super) fn api_version(self) -> &'static str {
        match self {
            Kind::Node | Kind::Namespace | Kind::Pod => "v1",
            Kind::NetworkPolicy => "networking.k8s.io/v1",
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
