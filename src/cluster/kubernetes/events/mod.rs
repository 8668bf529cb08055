//! Tells the cluster what happens: reports become Events (`events.k8s.io/v1`, which servers
//! have since 1.19) of the objects that they are about.
//!
//! Nothing waits for this, and nothing is kept for an API server that does not answer: an
//! Event tells what happens now.

mod limiter;

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use brindle_policy::PolicyId;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use rustc_hash::FxHasher;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tracing::{debug, warn};

use self::limiter::{Limiter, Outcome, Write};
use super::line::Line;
use crate::cluster::kind::{Kind, Place};
use crate::cluster::report::{Report, Subject};

pub use self::limiter::{BURST, REFILL};

/// Who reports, as Events have it.
const CONTROLLER: &str = "brindle";
/// What was done, as Events have it: nothing but to look.
const ACTION: &str = "Observe";
/// Where Events of objects without a namespace are,
const NO_NAMESPACE: &str = "default";
/// and where servers before 1.22 take them only, if they are not of the old kind.
const OLD_NO_NAMESPACE: &str = "kube-system";
/// The most octets of an Event's `note`, by its validation.
const MOST_NOTE: usize = 1024;
/// The most octets of the part of an Event's name that tells the object's.
const MOST_NAME: usize = 200;

/// Publishes reports of the node `node` until nobody can report any more.
pub async fn publish(line: Line, node: Arc<str>, mut reports: mpsc::Receiver<Report>) {
    let mut limiter = Limiter::new(Instant::now());
    let mut dropped = 0;
    loop {
        let deadline = limiter.deadline();
        tokio::select! {
            report = reports.recv() => match report {
                Some(report) => limiter.say(report, Instant::now(), SystemTime::now()),
                None => return,
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                if let Some(write) = limiter.next(Instant::now()) {
                    let outcome = line.ask(async |client| send(&client, &node, &write).await).await;
                    let outcome = outcome.unwrap_or_else(|error| {
                        debug!(error, reason = write.report.reason.as_str(), "no Event");
                        Outcome::Failed
                    });
                    limiter.settle(&write.report, outcome);
                }
            }
        }
        let lost = limiter.dropped() - dropped;
        // At the first and at every hundredth: it may be very many.
        if lost >= 100 || (dropped == 0 && lost > 0) {
            warn!(lost, "more is going on than Events may tell");
            dropped = limiter.dropped();
        }
    }
}

async fn send(client: &Client, node: &str, write: &Write) -> Result<Outcome, kube::Error> {
    if let Some(event) = &write.event {
        return count_up(client, event, write).await;
    }
    let found = find(client, &write.report.subject).await;
    let mut event = event(node, write, found);
    match create(client, &event).await {
        Err(kube::Error::Api(status)) if status.code == 422 && is_of_no_namespace(&event) => {
            event.metadata.namespace = Some(OLD_NO_NAMESPACE.to_owned());
            create(client, &event).await
        }
        outcome => outcome,
    }
}

async fn create(client: &Client, event: &Event) -> Result<Outcome, kube::Error> {
    let namespace = event.metadata.namespace.as_deref().unwrap_or(NO_NAMESPACE);
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let name = event.metadata.name.as_deref().unwrap_or_default();
    match events.create(&PostParams::default(), event).await {
        // Another node has said the same of the same policy.
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        answer => drop(answer?),
    }
    Ok(Outcome::Written(format!("{namespace}/{name}")))
}

async fn count_up(client: &Client, event: &str, write: &Write) -> Result<Outcome, kube::Error> {
    let (namespace, name) = event.split_once('/').unwrap_or((NO_NAMESPACE, event));
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let series = json!({"series": {
        "count": write.count,
        "lastObservedTime": MicroTime(timestamp(write.last)),
    }});
    match events.patch(name, &PatchParams::default(), &Patch::Merge(series)).await {
        Ok(_) => Ok(Outcome::Written(event.to_owned())),
        // Events live for an hour, usually.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Outcome::Gone),
        Err(error) => Err(error),
    }
}

fn is_of_no_namespace(event: &Event) -> bool {
    event.regarding.as_ref().is_some_and(|regarding| regarding.namespace.is_none())
}

/// The object as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// The API that has it.
    api: &'static str,
    /// Its uid: `kubectl describe` finds Events by it.
    uid: Option<String>,
}

/// The object that something is said about; without it, or an answer, the API that it is best
/// known by.
async fn find(client: &Client, subject: &Subject) -> Found {
    match subject {
        Subject::Node(name) => {
            let node = Api::<Node>::all(client.clone()).get_metadata(name).await;
            Found { api: Kind::Node.api_version(), uid: node.ok().and_then(|o| o.metadata.uid) }
        }
        Subject::Policy(id) => {
            let kind = Kind::of_policy(id.kind);
            find_of(client, kind, id.namespace.as_deref(), &id.name).await
        }
        Subject::Bgp(key) => find_of(client, key.kind(), key.namespace(), key.name()).await,
    }
}

/// The object of a kind and name.
async fn find_of(client: &Client, kind: Kind, namespace: Option<&str>, name: &str) -> Found {
    let apis = match kind.optional_apis() {
        [] => &[kind.api_version()],
        apis => apis,
    };
    for api in apis {
        if let Some(uid) = uid(client, Place { kind, api }, namespace, name).await {
            return Found { api, uid: Some(uid) };
        }
    }
    Found { api: kind.api_version(), uid: None }
}

/// The uid of an object, if it is there.
async fn uid(client: &Client, place: Place, namespace: Option<&str>, name: &str) -> Option<String> {
    let (kind, version) = (place.kind, place.api.rsplit('/').next()?);
    let group_version_kind = GroupVersionKind::gvk(place.group(), version, kind.name());
    let resource = ApiResource::from_gvk_with_plural(&group_version_kind, kind.plural());
    let client = client.clone();
    let objects: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    // We may list, but not get.
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    objects.list_metadata(&named).await.ok()?.items.pop()?.metadata.uid
}

/// Where the Event of a subject belongs.
fn namespace(subject: &Subject) -> &str {
    match subject {
        Subject::Node(_) => NO_NAMESPACE,
        Subject::Policy(id) => id.namespace.as_deref().unwrap_or(NO_NAMESPACE),
        Subject::Bgp(key) => key.namespace().unwrap_or(NO_NAMESPACE),
    }
}

fn event(node: &str, write: &Write, found: Found) -> Event {
    let Report { subject, reason, message } = &write.report;
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace(subject).to_owned()),
            name: Some(event_name(write, found.uid.as_deref())),
            ..ObjectMeta::default()
        },
        action: Some(ACTION.to_owned()),
        reason: Some(reason.as_str().to_owned()),
        note: Some(cut(message, MOST_NOTE).to_owned()),
        type_: Some(if reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(timestamp(write.first))),
        regarding: Some(reference(subject, found)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(cut(node, 128).to_owned()),
        ..Event::default()
    }
}

fn reference(subject: &Subject, found: Found) -> ObjectReference {
    let Found { api, uid } = found;
    let (kind, name, namespace) = match subject {
        Subject::Node(name) => (Kind::Node, name, None),
        Subject::Policy(PolicyId { kind, namespace, name }) => {
            (Kind::of_policy(*kind), name, namespace.as_deref())
        }
        Subject::Bgp(key) => (key.kind(), key.name(), key.namespace()),
    };
    ObjectReference {
        api_version: Some(api.to_owned()),
        kind: Some(kind.name().to_owned()),
        name: Some(name.to_string()),
        namespace: namespace.map(str::to_owned),
        uid,
        ..ObjectReference::default()
    }
}

/// An Event's name begins with that of its object. What all nodes say of a policy is one
/// Event, whoever says it first; what a node says of itself is one of its own each time.
fn event_name(write: &Write, uid: Option<&str>) -> String {
    let mut hasher = FxHasher::default();
    (&write.report, uid).hash(&mut hasher);
    let name = match &write.report.subject {
        Subject::Node(name) => {
            write.first.hash(&mut hasher);
            name
        }
        Subject::Policy(id) => &id.name,
        Subject::Bgp(key) => key.name(),
    };
    let name = cut(name, MOST_NAME).trim_end_matches(['.', '-']);
    format!("{name}.{:016x}", hasher.finish())
}

/// The beginning of a text that has at most so many octets.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use brindle_policy::model::PolicyKind;

    use super::*;
    use crate::cluster::kind::CALICO_STORE;
    use crate::cluster::report::Reason;

    fn write(subject: Subject, message: &str, seconds: u64) -> Write {
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let report = Report { subject, reason: Reason::PolicyInvalid, message: message.to_owned() };
        Write { report, event: None, count: 1, first, last: first }
    }

    fn found(api: &'static str, uid: Option<&str>) -> Found {
        Found { api, uid: uid.map(str::to_owned) }
    }

    fn policy(name: &str) -> Subject {
        Subject::Policy(PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: Some("shop".into()),
            name: name.into(),
        })
    }

    #[test]
    fn what_is_said_of_a_policy_has_one_name_on_all_nodes_and_of_a_node_one_each_time() {
        let name =
            |subject, message, seconds| event_name(&write(subject, message, seconds), Some("u"));
        assert_eq!(name(policy("db"), "wrong", 1), name(policy("db"), "wrong", 2));
        assert_ne!(name(policy("db"), "wrong", 1), name(policy("db"), "other", 1));
        let node = || Subject::Node("n1.example.".into());
        assert_ne!(name(node(), "wrong", 1), name(node(), "wrong", 2));
        assert!(name(node(), "wrong", 1).starts_with("n1.example."));
        let long = name(policy(&"a-".repeat(126)), "wrong", 1);
        assert!(long.len() <= 253 && long.contains("a."), "{long}");
    }

    #[test]
    fn an_event_is_where_its_object_is_and_fits_the_api() {
        let at_node =
            event("n1", &write(Subject::Node("n1".into()), "x", 1), found("v1", Some("u")));
        assert_eq!(at_node.metadata.namespace.as_deref(), Some("default"));
        let regarding = at_node.regarding.expect("it is about something");
        assert_eq!((regarding.kind.as_deref(), regarding.namespace), (Some("Node"), None));
        assert_eq!(regarding.uid.as_deref(), Some("u"));

        let long = "ä".repeat(2000);
        let at_policy =
            event("n1", &write(policy("db"), &long, 1), found("networking.k8s.io/v1", None));
        assert_eq!(at_policy.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(at_policy.note.map(|note| note.len()), Some(1024));
        let regarding = at_policy.regarding.expect("it is about something");
        assert_eq!(regarding.api_version.as_deref(), Some("networking.k8s.io/v1"));
        assert_eq!(regarding.namespace.as_deref(), Some("shop"));
        assert_eq!(at_policy.type_.as_deref(), Some("Warning"));

        // One without a namespace, as the API has it that it was found in.
        let global = PolicyKind::GlobalNetworkPolicy;
        let global = PolicyId { kind: global, namespace: None, name: "deny".into() };
        let write = write(Subject::Policy(global), "x", 1);
        let at_global = event("n1", &write, found(CALICO_STORE, Some("u")));
        assert_eq!(at_global.metadata.namespace.as_deref(), Some("default"));
        let regarding = at_global.regarding.expect("it is about something");
        assert_eq!(regarding.api_version.as_deref(), Some("crd.projectcalico.org/v1"));
        assert_eq!(regarding.kind.as_deref(), Some("GlobalNetworkPolicy"));
        assert_eq!((regarding.namespace, regarding.uid.as_deref()), (None, Some("u")));
    }
}
