//! Pods.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod as Object, PodSpec, PodStatus};

use super::address::address;
use super::labels::labels;
use super::name::is_port_name;
use super::port::{PORT_NAMES, number, protocol};
use super::{Problems, name, shown};
use crate::address::Family;
use crate::model::{NamedPort, Pod, PodKey, Problem};

/// The ServiceAccount of pods that name none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// What policy needs of `object`, and what is wrong with it.
///
/// A pod that is being deleted counts until it is gone or has finished: its processes may run
/// for the grace period, so it stays governed (K45). An address that cannot be used does not
/// count, and is closed on the pod's node like any that no pod is known to have. Fails only if
/// it has no name.
pub fn pod(object: &Object) -> Result<(Pod, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("Pod", &object.metadata, &mut problems)?;
    let namespace = name::namespace(&object.metadata, &mut problems);
    let labels = labels(object.metadata.labels.as_ref(), &mut problems);
    let spec = object.spec.as_ref();
    let status = object.status.as_ref();
    let text = |text: Option<&String>| -> Option<Arc<str>> {
        text.filter(|text| !text.is_empty()).map(|text| text.as_str().into())
    };
    let account = |spec: &PodSpec| {
        text(spec.service_account_name.as_ref()).or_else(|| text(spec.service_account.as_ref()))
    };
    let phase = status.and_then(|status| status.phase.as_deref());
    // Seconds are all that the API keeps, and texts of one length sort by time.
    let created = object.metadata.creation_timestamp.as_ref().map(|time| format!("{:.0}", time.0));
    let pod = Pod {
        key: PodKey { namespace, name },
        labels,
        node: spec.and_then(|spec| text(spec.node_name.as_ref())),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        finished: matches!(phase, Some("Succeeded" | "Failed")),
        addresses: status.map(|status| addresses(status, &mut problems)).unwrap_or_default(),
        ports: spec.map(|spec| ports(spec, &mut problems)).unwrap_or_default(),
        created: created.unwrap_or_default().into(),
        service_account: spec.and_then(account).unwrap_or_else(|| DEFAULT_SERVICE_ACCOUNT.into()),
    };
    Ok((pod, problems.0))
}

/// `status.podIPs`, or `status.podIP` where that is all there is; of each family the first.
fn addresses(status: &PodStatus, problems: &mut Problems) -> Vec<IpAddr> {
    let list = status.pod_ips.as_deref().unwrap_or_default();
    let mut typed: Vec<(String, &str)> = (0..)
        .zip(list)
        .map(|(index, typed): (usize, _)| (format!("status.podIPs[{index}].ip"), &*typed.ip))
        .collect();
    if typed.is_empty() {
        let single = status.pod_ip.as_deref().filter(|text| !text.is_empty());
        typed.extend(single.map(|text| ("status.podIP".to_owned(), text)));
    }
    let follows = "the pod is known without it";
    let mut found: Vec<IpAddr> = Vec::new();
    for (field, text) in typed {
        match address(text) {
            Ok(address) => match found.iter().find(|a| Family::of(**a) == Family::of(address)) {
                Some(first) if *first == address => {}
                Some(first) => {
                    let family = Family::of(address);
                    let message =
                        format!("{address} after {first}; accepted is one {family} address");
                    problems.add(field, format!("{message}; {follows}"));
                }
                None => found.push(address),
            },
            Err(message) => problems.add(field, format!("{message}; {follows}")),
        }
    }
    found
}

/// Those of regular and init containers: init containers may run beside the others as long as
/// the pod lives (K25).
fn ports(spec: &PodSpec, problems: &mut Problems) -> BTreeSet<NamedPort> {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let mut found = BTreeSet::new();
    for (list, containers) in [("containers", &spec.containers[..]), ("initContainers", init)] {
        for (index, container) in containers.iter().enumerate() {
            let field = format!("spec.{list}[{index}].ports");
            container_ports(container, &field, &mut found, problems);
        }
    }
    found
}

fn container_ports(
    container: &Container,
    field: &str,
    found: &mut BTreeSet<NamedPort>,
    problems: &mut Problems,
) {
    for (index, typed) in container.ports.iter().flatten().enumerate() {
        // Rules that give a number need no port of a container.
        let Some(name) = typed.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        let mut bad = |field_name: &str, message: String| {
            problems.add(
                format!("{field}[{index}].{field_name}"),
                format!("{message}; rules that name this port do not find it"),
            );
        };
        if !is_port_name(name) {
            let name = shown(name);
            bad("name", format!("{name} is not the name of a port; accepted are {PORT_NAMES}"));
            continue;
        }
        let protocol =
            protocol(typed.protocol.as_deref()).map_err(|message| bad("protocol", message));
        let number = number(typed.container_port).map_err(|message| bad("containerPort", message));
        if let (Ok(protocol), Ok(number)) = (protocol, number) {
            found.insert(NamedPort { name: name.into(), protocol, number });
        }
    }
}
