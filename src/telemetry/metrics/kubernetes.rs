//! Metrics of the way to the API server.

use std::time::SystemTime;

use super::Metric;
use crate::cluster::kubernetes::KubernetesStatus;

pub(super) fn metrics(status: &KubernetesStatus) -> Vec<Metric> {
    let mut up = Metric::gauge("brindle_kube_watch_up", "Whether the resource is watched now");
    let mut age = Metric::gauge(
        "brindle_kube_watch_age_seconds",
        "Since when nothing is known of what happened to the resource",
    );
    let mut relists =
        Metric::counter("brindle_kube_relists", "Times that everything was listed again");
    let mut errors = Metric::counter("brindle_kube_errors", "Requests that failed");
    let mut objects = Metric::gauge("brindle_kube_objects", "Objects in force");
    // What the server does not have is not down.
    for resource in status.resources.iter().filter(|resource| !resource.absent) {
        let name = resource.resource;
        up = up.with([("resource", name)], resource.watching);
        if let Some(heard) = resource.heard {
            let seconds = SystemTime::now().duration_since(heard).unwrap_or_default();
            age = age.with([("resource", name)], seconds.as_secs_f64());
        }
        for (reason, count) in &resource.relists {
            relists = relists.with([("resource", name), ("reason", *reason)], *count);
        }
        for (reason, count) in &resource.errors {
            errors = errors.with([("resource", name), ("reason", *reason)], *count);
        }
        objects = objects.with([("resource", name)], resource.objects);
    }
    let mut held = Metric::gauge(
        "brindle_kube_held_deletions",
        "Objects that a listing lacked and that stay in force for a while",
    );
    for deletions in &status.held {
        held = held.with([("resource", deletions.resource)], deletions.count);
    }
    vec![up, age, relists, errors, objects, held]
}
