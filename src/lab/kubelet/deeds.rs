//! What is to be done for the pods of an API server: decided anew from all that is known, so that
//! nothing is lost when a deed fails or an event is missed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use crate::lab::connected::Connected;
use crate::lab::plan::Plan;

/// As much of a Pod as matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// `spec.nodeName`.
    pub(super) node: Option<String>,
    /// It shares its node's addresses.
    pub(super) on_host: bool,
    /// Somebody has asked to delete it.
    pub(super) deleting: bool,
    /// `status.podIPs` of one that is said to run.
    pub(super) running_at: Option<Vec<String>>,
    /// Its containers' names and images.
    pub(super) containers: Vec<(String, String)>,
}

impl Seen {
    pub(super) fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let runs = |phase: &Option<String>| phase.as_deref() == Some("Running");
        let containers = spec.iter().flat_map(|spec| &spec.containers);
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()),
            on_host: spec.and_then(|spec| spec.host_network) == Some(true),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            running_at: status
                .filter(|status| runs(&status.phase))
                .map(|status| status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect()),
            containers: containers
                .map(|c| (c.name.clone(), c.image.clone().unwrap_or_default()))
                .collect(),
        }
    }
}

/// Something to do. They are in the order in which they are to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// The pod with this uid is gone from the API server: take its cable away.
    Disconnect(String),
    /// It was to be deleted and has no cable any more: delete the object.
    Remove(Seen),
    /// Give it a node.
    Bind(Seen, String),
    /// Make its namespace and its cable.
    Connect(Seen, String),
    /// Tell that it runs, and at which addresses.
    Tell(Seen, String, Vec<IpAddr>),
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (word, pod, rest) = match self {
            Deed::Disconnect(uid) => return write!(f, "disconnect {uid}"),
            Deed::Remove(pod) => ("remove", pod, String::new()),
            Deed::Bind(pod, node) => ("bind", pod, format!(" to {node}")),
            Deed::Connect(pod, node) => ("connect", pod, format!(" on {node}")),
            Deed::Tell(pod, _, addresses) => ("tell", pod, format!(" at {addresses:?}")),
        };
        write!(f, "{word} {}/{}{rest}", pod.namespace, pod.name)
    }
}

/// What is to be done for `pods`, when `connected` have their cables.
pub(super) fn decide(pods: &[Seen], connected: &[Connected], plan: &Plan) -> Vec<Deed> {
    let wanted: BTreeSet<&str> =
        pods.iter().filter(|pod| !pod.deleting).map(|pod| pod.uid.as_str()).collect();
    let gone = connected.iter().filter(|c| !wanted.contains(c.uid.as_str()));
    let mut deeds: Vec<Deed> = gone.map(|c| Deed::Disconnect(c.uid.clone())).collect();
    deeds.extend(pods.iter().filter(|pod| pod.deleting).cloned().map(Deed::Remove));

    let mut load: Vec<(usize, &str)> = plan.nodes.iter().map(|n| (0, n.name.as_str())).collect();
    for (count, name) in &mut load {
        *count = pods.iter().filter(|pod| pod.node.as_deref() == Some(*name)).count();
    }
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        let Some(node) = &pod.node else {
            // the emptiest; of those the first
            let Some(best) = load.iter_mut().min_by_key(|(count, _)| *count) else { continue };
            best.0 += 1;
            deeds.push(Deed::Bind(pod.clone(), best.1.to_owned()));
            continue;
        };
        // a node that is not of this lab: nobody is there
        let Some(node) = plan.node(node) else { continue };
        let own = connected.iter().find(|c| c.uid == pod.uid);
        let addresses = match own {
            _ if pod.on_host => node.ips().collect(),
            Some(own) => own.pod.addresses.clone(),
            None => {
                deeds.push(Deed::Connect(pod.clone(), node.name.clone()));
                continue;
            }
        };
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if pod.running_at.as_ref() != Some(&texts) {
            deeds.push(Deed::Tell(pod.clone(), node.name.clone(), addresses));
        }
    }
    deeds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::{Options, Pod as LabPod, TorKind};

    fn plan() -> Plan {
        let name = "demo".parse().expect("a good name");
        Plan::new(&Options {
            name,
            nodes: 2,
            tors: 1,
            pods: 0,
            dual_stack: false,
            tor: TorKind::Brindle,
            policy: None,
            kube: Some("/assets".into()),
        })
        .expect("within limits")
    }

    fn pod(name: &str, node: Option<&str>) -> Seen {
        let node = node.map(str::to_owned);
        let (name, uid) = (name.to_owned(), format!("uid of {name}"));
        Seen { namespace: "default".into(), name, uid, node, ..Seen::default() }
    }

    fn cabled(pod: &Seen, node: &str) -> Connected {
        let pod_of_lab = LabPod {
            name: pod.name.clone(),
            namespace: format!("brl-demo-{}", pod.name),
            kube_namespace: pod.namespace.clone(),
            interface: "pod1".into(),
            addresses: vec![[10, 244, 1, 11].into()],
        };
        Connected { uid: pod.uid.clone(), node: node.into(), pod: pod_of_lab }
    }

    fn words(deeds: &[Deed]) -> Vec<String> {
        deeds.iter().map(|deed| deed.to_string().replace("default/", "")).collect()
    }

    #[test]
    fn a_pod_lives_step_by_step() {
        let new = pod("a", None);
        let bound = pod("a", Some("n1"));
        let running = Seen { running_at: Some(vec!["10.244.1.11".into()]), ..bound.clone() };
        let elsewhere = Seen { running_at: Some(vec!["10.244.1.99".into()]), ..bound.clone() };
        let deleting = Seen { deleting: true, ..running.clone() };
        let cable = cabled(&bound, "n1");
        for (what, seen, cables, want) in [
            ("new", vec![new], vec![], vec!["bind a to n1"]),
            ("bound", vec![bound.clone()], vec![], vec!["connect a on n1"]),
            ("cabled", vec![bound], vec![cable.clone()], vec!["tell a at [10.244.1.11]"]),
            ("running", vec![running], vec![cable.clone()], vec![]),
            ("misreported", vec![elsewhere], vec![cable.clone()], vec!["tell a at [10.244.1.11]"]),
            (
                "being deleted",
                vec![deleting.clone()],
                vec![cable.clone()],
                vec!["disconnect uid of a", "remove a"],
            ),
            ("without its cable", vec![deleting], vec![], vec!["remove a"]),
            ("gone", vec![], vec![cable], vec!["disconnect uid of a"]),
        ] {
            assert_eq!(words(&decide(&seen, &cables, &plan())), want, "{what}");
        }
    }

    #[test]
    fn pods_go_to_the_emptiest_node_and_nobody_plays_foreign_ones() {
        let on_host = Seen { on_host: true, ..pod("proxy", Some("n1")) };
        let pods = [pod("there", Some("n9")), on_host, pod("a", None), pod("b", None)];
        let want = ["tell proxy at [10.0.0.1]", "bind a to n2", "bind b to n1"];
        assert_eq!(words(&decide(&pods, &[], &plan())), want);
    }

    #[test]
    fn another_pod_of_the_same_name_gets_another_cable() {
        let old = pod("a", Some("n1"));
        let new = Seen { uid: "another".into(), ..old.clone() };
        let want = ["disconnect uid of a", "connect a on n1"];
        assert_eq!(words(&decide(&[new], &[cabled(&old, "n1")], &plan())), want);
    }
}
