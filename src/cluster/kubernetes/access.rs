//! What we need from the API server, and what becomes of us without it: asked for at the start
//! and whenever something was refused, so that each missing verb is named.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::line::Line;
use crate::cluster::kind::{Kind, Place};

/// After a look, the next refusal is not followed by another one for so long.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// While something is missing: how often it is looked whether it was granted.
const WHILE_MISSING: Duration = Duration::from_secs(60);

/// One thing that we must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// `get`, `list`, ...
    pub verb: &'static str,
    /// The API group; empty for the first one.
    pub group: &'static str,
    /// The resource, in the plural.
    pub resource: &'static str,
    /// `status`, or nothing.
    pub subresource: &'static str,
    /// What is so without it.
    pub without: &'static str,
    /// Whether only an agent that routes needs it.
    pub for_routing: bool,
}

const fn need(
    verb: &'static str,
    (group, resource, subresource): (&'static str, &'static str, &'static str),
    without: &'static str,
) -> Need {
    Need { verb, group, resource, subresource, without, for_routing: false }
}

const NODES: (&str, &str, &str) = ("", "nodes", "");
const NODE_STATUS: (&str, &str, &str) = ("", "nodes", "status");
const PODS: (&str, &str, &str) = ("", "pods", "");
const NAMESPACES: (&str, &str, &str) = ("", "namespaces", "");
const ACCOUNTS: (&str, &str, &str) = ("", "serviceaccounts", "");
const POLICIES: (&str, &str, &str) = ("networking.k8s.io", "networkpolicies", "");
const EVENTS: (&str, &str, &str) = ("events.k8s.io", "events", "");

/// Everything that we need on every cluster: with [`optional_needs`] what
/// `deploy/kubernetes/base/rbac.yaml` grants, no more and no less.
pub const NEEDS: [Need; 14] = [
    need("list", NODES, "no peers, pod ranges or own addresses are learned"),
    need("watch", NODES, "changed nodes are not noticed"),
    need("get", NODES, "Events on nodes do not show up in `kubectl describe node`"),
    Need {
        for_routing: true,
        ..need("patch", NODE_STATUS, "the node may keep NetworkUnavailable and get no pods")
    },
    need("list", PODS, "no policy is applied to any pod"),
    need("watch", PODS, "new pods stay closed, and those that are gone stay known"),
    need("list", NAMESPACES, "no policy is applied to any pod"),
    need("watch", NAMESPACES, "changed labels of namespaces are not noticed"),
    need("list", ACCOUNTS, "no policy is applied to any pod"),
    need("watch", ACCOUNTS, "changed labels of service accounts are not noticed"),
    need("list", POLICIES, "no policy is applied to any pod"),
    need("watch", POLICIES, "new and changed policies are not applied"),
    need("create", EVENTS, "what goes wrong is told in the log only, not as Events"),
    need("patch", EVENTS, "Events do not count how often something happened"),
];

/// What we need where there are kinds that an API server need not have.
pub fn optional_needs() -> Vec<Need> {
    let optional = Kind::ALL.into_iter().filter(|kind| kind.is_optional());
    let mut needs: Vec<Need> = optional
        .flat_map(|kind| kind.optional_apis().iter().map(move |api| Place { kind, api }))
        .flat_map(|place| {
            let what = (place.group(), place.kind.plural(), "");
            [
                need("list", what, without(place.kind)),
                need("watch", what, "new, changed and deleted ones are not noticed"),
            ]
        })
        .collect();
    // Versions of one group are granted together.
    needs.sort();
    needs.dedup();
    needs
}

/// What is so while the objects of a kind cannot be listed.
fn without(kind: Kind) -> &'static str {
    match kind {
        Kind::Node | Kind::Namespace | Kind::ServiceAccount | Kind::Pod | Kind::NetworkPolicy => {
            "no policy is applied to any pod"
        }
        Kind::EndpointSlice => "rules that name a Service match nothing",
        Kind::Tier => "policies of other tiers than the built-in ones are not enforced",
        Kind::Profile => "host endpoints' profiles are not known, and allow nothing",
        Kind::NetworkSet | Kind::GlobalNetworkSet => "rules do not match what is in network sets",
        Kind::HostEndpoint => "no policy is applied to any host endpoint",
        Kind::CalicoNetworkPolicy | Kind::GlobalNetworkPolicy | Kind::ClusterNetworkPolicy => {
            "none of these policies is enforced"
        }
        Kind::StagedKubernetesNetworkPolicy
        | Kind::StagedNetworkPolicy
        | Kind::StagedGlobalNetworkPolicy => "what these policies would do is not reported",
        Kind::BgpConfiguration => "brindle.yaml alone says what holds for the mesh",
        Kind::BgpFilter => "peers that name such filters are not peered with",
        Kind::BgpPeer => "there are no sessions with these peers",
        Kind::Secret => "peers whose password is there are not peered with",
    }
}

impl Need {
    fn review(&self) -> SelfSubjectAccessReview {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: text(self.verb),
                    group: text(self.group),
                    resource: text(self.resource),
                    subresource: text(self.subresource),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, .. } = self;
        let mut what = (*resource).to_owned();
        if !self.subresource.is_empty() {
            what = format!("{what}/{}", self.subresource);
        }
        let of_group = match self.group {
            "" => String::new(),
            group => format!(" of {group}"),
        };
        write!(
            f,
            "the agent may not {verb} {what}: grant verb {verb} on {what}{of_group} to \
             ServiceAccount kube-system/brindle (deploy/kubernetes/base/rbac.yaml); without it, {}",
            self.without
        )
    }
}

/// What is missing, as far as is known; replaced as a whole.
pub type Missing = Arc<ArcSwap<Vec<Need>>>;

/// Looks at our rights now, and whenever something was refused; for ever. `routing` says
/// whether the agent routes, `is_served` whether there is what one of [`optional_needs`] is
/// about.
pub async fn watch(line: Line, routing: bool, missing: Missing, is_served: impl Fn(&Need) -> bool) {
    loop {
        let mut found = look(&line, routing).await;
        let optional: Vec<Need> = optional_needs().into_iter().filter(&is_served).collect();
        found.extend(denied(&line, &optional).await);
        let before = missing.load_full();
        for need in found.iter().filter(|need| !before.contains(need)) {
            warn!("{need}");
        }
        for need in before.iter().filter(|need| !found.contains(need)) {
            info!(verb = need.verb, resource = need.resource, "the agent may do this by now");
        }
        let is_complete = found.is_empty();
        missing.store(Arc::new(found));
        sleep(LOOK_AGAIN).await;
        match is_complete {
            true => line.until_refused().await,
            false => drop(timeout(WHILE_MISSING, line.until_refused()).await),
        }
    }
}

/// What we may not do by now. What the server does not tell is not missing.
pub async fn look(line: &Line, routing: bool) -> Vec<Need> {
    let needs: Vec<Need> =
        NEEDS.iter().filter(|need| routing || !need.for_routing).copied().collect();
    denied(line, &needs).await
}

/// Those of the needs that we are denied.
async fn denied(line: &Line, needs: &[Need]) -> Vec<Need> {
    let mut missing = Vec::new();
    for need in needs {
        if is_denied(line, need).await {
            missing.push(*need);
        }
    }
    missing
}

/// Whether the API server says that we may not; who does not say that does not forbid it.
async fn is_denied(line: &Line, need: &Need) -> bool {
    let (params, review) = (PostParams::default(), need.review());
    let ask = async |client: Client| {
        match Api::<SelfSubjectAccessReview>::all(client).create(&params, &review).await {
            // It does not even let us ask; that is no reason to ask again.
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
            answer => Ok(answer?.status.is_some_and(|status| !status.allowed)),
        }
    };
    line.ask(ask).await.unwrap_or_else(|error| {
        debug!(error, "the API server does not say what we may do");
        false
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize as _;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_missing_verb_is_named_with_what_to_grant_and_what_follows() {
        for (verb, resource, want) in [
            (
                "list",
                "pods",
                "the agent may not list pods: grant verb list on pods to ServiceAccount \
                 kube-system/brindle (deploy/kubernetes/base/rbac.yaml); without it, no policy is \
                 applied to any pod",
            ),
            (
                "watch",
                "networkpolicies",
                "the agent may not watch networkpolicies: grant verb watch on networkpolicies of \
                 networking.k8s.io to ServiceAccount kube-system/brindle \
                 (deploy/kubernetes/base/rbac.yaml); without it, new and changed policies are not \
                 applied",
            ),
        ] {
            let of = |need: &&Need| (need.verb, need.resource) == (verb, resource);
            assert_eq!(NEEDS.iter().find(of).unwrap().to_string(), want);
        }
    }

    #[test]
    fn the_shipped_role_grants_what_we_need_and_nothing_else() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/base/rbac.yaml");
        let text = std::fs::read_to_string(file).expect("it is shipped");
        let mut granted = BTreeSet::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).expect("YAML");
            if object["kind"] == "Role" {
                let rules = object["rules"].as_array().expect("rules");
                let [rule] = &rules[..] else { panic!("Secrets and nothing else: {rules:?}") };
                // Without a name it would be all of them.
                let want = serde_json::json!({"apiGroups": [""], "resources": ["secrets"],
                    "resourceNames": ["brindle-bgp-keys"], "verbs": ["list", "watch"]});
                assert_eq!(*rule, want);
            }
            if object["kind"] != "ClusterRole" {
                continue;
            }
            for rule in object["rules"].as_array().expect("rules") {
                assert!(rule.get("nonResourceURLs").is_none(), "{rule}");
                let words = |key: &str| {
                    let words = rule[key].as_array().expect(key).iter();
                    words.map(|word| word.as_str().expect("a word").to_owned()).collect::<Vec<_>>()
                };
                for group in words("apiGroups") {
                    for resource in words("resources") {
                        granted.extend(
                            words("verbs")
                                .into_iter()
                                .map(|verb| (verb, group.clone(), resource.clone())),
                        );
                    }
                }
            }
        }
        let optional = optional_needs();
        let needed = NEEDS.iter().chain(&optional).map(|need| {
            let slash = if need.subresource.is_empty() { "" } else { "/" };
            let resource = format!("{}{slash}{}", need.resource, need.subresource);
            (need.verb.to_owned(), need.group.to_owned(), resource)
        });
        assert_eq!(granted, needed.collect::<BTreeSet<_>>());
    }
}
