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
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
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
    /// What we need it for.
    pub by: By,
}

/// Which part of us needs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// Any agent.
    All,
    /// An agent that enforces policies.
    Policy,
    /// An agent that routes.
    Routing,
}

/// Which parts an agent has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// It enforces policies.
    pub policy: bool,
    /// It routes.
    pub routing: bool,
}

const fn need(
    verb: &'static str,
    (group, resource, subresource): (&'static str, &'static str, &'static str),
    by: By,
    without: &'static str,
) -> Need {
    Need { verb, group, resource, subresource, without, by }
}

const NODES: (&str, &str, &str) = ("", "nodes", "");
const PODS: (&str, &str, &str) = ("", "pods", "");
const NAMESPACES: (&str, &str, &str) = ("", "namespaces", "");
const POLICIES: (&str, &str, &str) = ("networking.k8s.io", "networkpolicies", "");
const EVENTS: (&str, &str, &str) = ("events.k8s.io", "events", "");

/// Everything that we need: what `deploy/kubernetes/base/rbac.yaml` grants, no more and no less.
pub const NEEDS: [Need; 12] = [
    need("list", NODES, By::All, "no peers, pod ranges or own addresses are learned"),
    need("watch", NODES, By::All, "changed nodes are not noticed"),
    need("get", NODES, By::All, "Events on nodes do not show up in `kubectl describe node`"),
    need(
        "patch",
        ("", "nodes", "status"),
        By::Routing,
        "the node may keep NetworkUnavailable and get no pods",
    ),
    need("list", PODS, By::Policy, "no policy is applied to any pod"),
    need("watch", PODS, By::Policy, "new pods stay closed, and those that are gone stay known"),
    need("list", NAMESPACES, By::Policy, "no policy is applied to any pod"),
    need("watch", NAMESPACES, By::Policy, "changed labels of namespaces are not noticed"),
    need("list", POLICIES, By::Policy, "no policy is applied to any pod"),
    need("watch", POLICIES, By::Policy, "new and changed policies are not applied"),
    need("create", EVENTS, By::All, "what goes wrong is told in the log only, not as Events"),
    need("patch", EVENTS, By::All, "Events do not count how often something happened"),
];

impl Need {
    /// Whether an agent with these parts needs it.
    pub fn is_of(&self, parts: Parts) -> bool {
        match self.by {
            By::All => true,
            By::Policy => parts.policy,
            By::Routing => parts.routing,
        }
    }

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

/// Where it is said that the API server refused something. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Notify>);

impl Refusals {
    /// Has the rights looked at if `error` is that something is forbidden.
    pub fn look_at(&self, error: &kube::Error) {
        if matches!(error, kube::Error::Api(status) if status.code == 403) {
            self.0.notify_one();
        }
    }
}

/// What is missing, as far as is known; replaced as a whole.
pub type Missing = Arc<ArcSwap<Vec<Need>>>;

/// Looks at our rights now, and whenever something was refused; for ever.
pub async fn watch(client: Client, parts: Parts, refusals: Refusals, missing: Missing) {
    loop {
        let mut found = Vec::new();
        for need in NEEDS.iter().filter(|need| need.is_of(parts)) {
            if is_denied(&client, need).await {
                found.push(*need);
            }
        }
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
            true => refusals.0.notified().await,
            false => drop(timeout(WHILE_MISSING, refusals.0.notified()).await),
        }
    }
}

/// Whether the API server says that we may not; who does not say that does not forbid it.
async fn is_denied(client: &Client, need: &Need) -> bool {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let (params, review) = (PostParams::default(), need.review());
    match timeout(PATIENCE, reviews.create(&params, &review)).await {
        Ok(Ok(review)) => review.status.is_some_and(|status| !status.allowed),
        Ok(Err(error)) => {
            debug!(%error, "the API server does not say what we may do");
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
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
    fn each_half_needs_its_own() {
        let count = |policy, routing| {
            NEEDS.iter().filter(|need| need.is_of(Parts { policy, routing })).count()
        };
        assert_eq!((count(false, false), count(true, false), count(false, true)), (5, 11, 6));
        assert_eq!(count(true, true), NEEDS.len());
    }
}
