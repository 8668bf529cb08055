//! The source of the cluster's state as shown, and what is wrong with it.

use std::time::SystemTime;

use super::status::problem;
use crate::cluster::files::FilesStatus;
use crate::cluster::kubernetes::access::Need;
use crate::cluster::kubernetes::{self, KubernetesStatus};
use crate::control::view::{
    HeldDeletions, KubernetesSource, Problem, SourceError, SourceStatus, WatchedResource,
};
use crate::daemon::source::SourceState;

/// How the source is, and what it does not let us do.
pub(super) fn source_status(source: &SourceState, missing: &[Need]) -> SourceStatus {
    let mut shown = match source {
        SourceState::Files(status) => files_status(&status.load()),
        SourceState::Kubernetes(status) => kubernetes_status(&status.load()),
    };
    if let Some(kubernetes) = &mut shown.kubernetes {
        kubernetes.warnings = missing.iter().map(ToString::to_string).collect();
    }
    shown
}

fn files_status(files: &FilesStatus) -> SourceStatus {
    let folder = files.folder_problem.iter().chain(&files.watch_problem);
    let folder = folder.map(|message| SourceError {
        file: files.path.display().to_string(),
        document: None,
        line: None,
        message: message.clone(),
    });
    let problems = files.problems.iter().map(|problem| {
        let names = [&problem.object, &problem.field];
        let names: String = names.into_iter().flatten().map(|name| format!("{name}: ")).collect();
        SourceError {
            file: files.path.join(&problem.file).display().to_string(),
            document: problem.document,
            line: problem.line,
            message: format!("{names}{}", problem.message),
        }
    });
    SourceStatus {
        kind: "files".to_owned(),
        path: files.path.display().to_string(),
        in_sync: files.in_sync,
        nodes: files.objects.nodes,
        namespaces: files.objects.namespaces,
        pods: files.objects.pods,
        policies: files.objects.policies,
        tiers: files.objects.tiers,
        network_sets: files.objects.network_sets,
        host_endpoints: files.objects.host_endpoints,
        bgp_objects: files.objects.bgp,
        changed: files.last_change.map(Into::into),
        changed_seconds: files.last_change.map(seconds_since),
        errors: folder.chain(problems).collect(),
        kubernetes: None,
    }
}

fn kubernetes_status(status: &KubernetesStatus) -> SourceStatus {
    let errors = status.problems.iter().map(|problem| {
        let field = match problem.field.as_str() {
            "" => String::new(),
            field => format!("{field}: "),
        };
        SourceError {
            file: problem.object.clone(),
            document: None,
            line: None,
            message: format!("{field}{}", problem.message),
        }
    });
    let held = status.held.iter().map(|held| HeldDeletions {
        resource: held.resource.to_owned(),
        count: held.count,
        of: held.of,
        until: held.until.into(),
        until_seconds: held.until.duration_since(SystemTime::now()).unwrap_or_default().as_secs(),
    });
    SourceStatus {
        kind: "kubernetes".to_owned(),
        path: String::new(),
        in_sync: status.in_sync,
        nodes: status.objects.nodes,
        namespaces: status.objects.namespaces,
        pods: status.objects.pods,
        policies: status.objects.policies,
        tiers: status.objects.tiers,
        network_sets: status.objects.network_sets,
        host_endpoints: status.objects.host_endpoints,
        bgp_objects: status.objects.bgp,
        changed: status.last_change.map(Into::into),
        changed_seconds: status.last_change.map(seconds_since),
        errors: errors.collect(),
        kubernetes: Some(KubernetesSource {
            connected: status.is_connected(),
            heard: status.last_heard().map(Into::into),
            heard_seconds: status.last_heard().map(seconds_since),
            resources: status.resources.iter().map(resource).collect(),
            held: held.collect(),
            warnings: Vec::new(),
        }),
    }
}

fn resource(status: &kubernetes::ResourceStatus) -> WatchedResource {
    let trouble = status.trouble.as_ref();
    WatchedResource {
        resource: status.resource.to_owned(),
        served: if status.absent { Some(false) } else { status.group.map(|_| true) },
        group: status.other_group().map(str::to_owned),
        objects: status.objects,
        listed: status.listed,
        watching: status.watching,
        heard_seconds: status.heard.map(seconds_since),
        relists: status.relists.values().sum(),
        errors: status.errors.values().sum(),
        error: trouble.map(|trouble| trouble.message.clone()),
        next: trouble.map(|trouble| trouble.next.clone()),
        error_seconds: trouble.map(|trouble| seconds_since(trouble.since)),
    }
}

fn seconds_since(at: SystemTime) -> u64 {
    at.elapsed().unwrap_or_default().as_secs()
}

/// What is wrong with the source.
pub(super) fn source_problems(source: Option<&SourceStatus>, problems: &mut Vec<Problem>) {
    let Some(source) = source else { return };
    match &source.kubernetes {
        Some(kubernetes) => kubernetes_problems(source.in_sync, kubernetes, problems),
        None if !source.in_sync => problems.push(problem(
            "source",
            format!("{} has not been read yet", source.path),
            "check that the folder exists and can be read",
        )),
        None => {}
    }
    let next = if source.kubernetes.is_some() { "mend the object" } else { "mend the file" };
    for error in &source.errors {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        problems.push(problem("source", format!("{}{line}: {}", error.file, error.message), next));
    }
}

/// Resources with one trouble that are named one by one.
const NAMED: usize = 3;

fn kubernetes_problems(in_sync: bool, kubernetes: &KubernetesSource, problems: &mut Vec<Problem>) {
    // What keeps all resources from us is said once.
    let mut troubles: Vec<(bool, &str, &str, Vec<&WatchedResource>)> = Vec::new();
    for resource in &kubernetes.resources {
        let Some(error) = &resource.error else { continue };
        let next = resource.next.as_deref().unwrap_or_default();
        let alike = troubles.iter_mut().find(|it| (it.0, it.2) == (resource.listed, next));
        match alike {
            Some((.., resources)) => resources.push(resource),
            None => troubles.push((resource.listed, error, next, vec![resource])),
        }
    }
    let said = !troubles.is_empty();
    for (listed, error, next, resources) in troubles {
        let names: Vec<&str> =
            resources.iter().take(NAMED).map(|resource| &*resource.resource).collect();
        let names = match resources.len().saturating_sub(NAMED) {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        };
        let what = if listed {
            let seconds = resources.iter().filter_map(|resource| resource.error_seconds).max();
            format!(
                "{names} are not watched for {} s: {error}; what was known of them stays in force",
                seconds.unwrap_or_default()
            )
        } else {
            format!("{names} have not been listed yet: {error}")
        };
        problems.push(problem("source", what, next.to_owned()));
    }
    if !in_sync && !said {
        let what = "the API server has not told yet what there is";
        problems.push(problem("source", what, "wait"));
    }
    for held in &kubernetes.held {
        problems.push(problem(
            "source",
            format!(
                "{} of {} {} were missing from a listing; they stay in force for {} s more",
                held.count, held.of, held.resource, held.until_seconds
            ),
            format!(
                "see whether they were really deleted (kubectl get {}); source.holdDeletions \
                 says for how long they stay",
                held.resource
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::kubernetes::{Cause, CurrentTrouble, ResourceStatus};

    /// Nodes watched since 5 s, pods not for 40 s.
    fn status() -> KubernetesStatus {
        let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
        let nodes = ResourceStatus {
            resource: "nodes",
            listed: true,
            watching: true,
            heard: Some(ago(5)),
            ..ResourceStatus::default()
        };
        let trouble = CurrentTrouble {
            cause: Cause::Forbidden,
            message: "watch pods is forbidden".to_owned(),
            next: "grant it".to_owned(),
            since: ago(40),
        };
        let pods = ResourceStatus {
            resource: "pods",
            heard: Some(ago(40)),
            watching: false,
            trouble: Some(trouble),
            ..nodes.clone()
        };
        KubernetesStatus {
            in_sync: true,
            resources: vec![nodes, pods],
            ..KubernetesStatus::default()
        }
    }

    fn said(status: &KubernetesStatus) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        source_problems(Some(&kubernetes_status(status)), &mut problems);
        problems.into_iter().map(|problem| (problem.what, problem.next)).collect()
    }

    #[test]
    fn what_is_not_watched_is_said_with_what_to_do() {
        let mut status = status();
        let shown = kubernetes_status(&status).kubernetes.expect("the way to the API server");
        assert!(!shown.connected && shown.heard_seconds.is_some_and(|seconds| seconds >= 40));
        let problems = said(&status);
        let [(what, next)] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(what.starts_with("pods are not watched for 4"), "{what}");
        assert!(
            what.ends_with(" s: watch pods is forbidden; what was known of them stays in force")
        );
        assert_eq!(next, "grant it");
        status.resources[1].listed = false;
        assert_eq!(said(&status)[0].0, "pods have not been listed yet: watch pods is forbidden");
        status.resources.pop();
        assert_eq!(said(&status), []);
        status.in_sync = false;
        assert_eq!(said(&status)[0].1, "wait");
    }

    #[test]
    fn what_keeps_all_resources_from_us_is_said_once() {
        let mut status = status();
        let pods = status.resources[1].clone();
        let of = |resource, listed| ResourceStatus { resource, listed, ..pods.clone() };
        status.resources.extend([of("services", true), of("tiers", true), of("secrets", true)]);
        status.resources.push(of("profiles", false));
        let mut other = of("nodes", true);
        other.trouble.as_mut().expect("it has one").next = "grant another".to_owned();
        status.resources.push(other);
        let problems = said(&status);
        let [all, unlisted, other] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(all.0.starts_with("pods, services, tiers and 1 more are not watched"), "{all:?}");
        assert!(unlisted.0.starts_with("profiles have not been listed yet"), "{unlisted:?}");
        assert!(other.0.starts_with("nodes are not watched"), "{other:?}");
    }

    #[test]
    fn held_deletions_are_a_problem() {
        let held = kubernetes::HeldDeletions {
            resource: "nodes",
            count: 3,
            of: 4,
            until: SystemTime::now() + Duration::from_secs(50),
        };
        let status = KubernetesStatus {
            in_sync: true,
            held: vec![held],
            resources: vec![status().resources.remove(0)],
            ..KubernetesStatus::default()
        };
        let problems = said(&status);
        let [(what, next)] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(what.starts_with("3 of 4 nodes were missing from a listing"), "{what}");
        assert!(next.contains("kubectl get nodes"), "{next}");
    }
}
