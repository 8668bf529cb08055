//! Pods that our network plug-in connects: what it is told, what of its work the policy half
//! is told, and the file that has the container runtime use it.

mod conflist;
mod interfaces;
mod records;
mod uplink;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use brindle_bgp::net::Family;
use brindle_policy::{Attachment, Change, Interface, PodKey};
use ipnetwork::IpNetwork;
use tokio::task::JoinHandle;

pub(super) use self::records::Records;

use super::answer::{Facts, Known};
use super::source::SourceState;
use crate::cni::protocol::{Attach, Attached, Detach, Detached, NodeAnswer};
use crate::cni::record::PodName;
use crate::control::{CniAnswer, CniQuery, Failure, MAX_WAIT_SECONDS};
use crate::enforce::Gone;

/// How often interfaces and the runtime's file are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The longest name of a namespace or pod (RFC 1123 §2.1).
const MAX_NAME: usize = 253;

/// What is wrong, by what it is about.
#[derive(Debug, Default)]
pub(super) struct Problems(Mutex<BTreeMap<Area, Vec<String>>>);

/// What a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Area {
    /// The plug-in's records.
    Records,
    /// Some of them, which are damaged.
    Damaged,
    /// The runtime's file.
    Conflist,
    /// Files of others that come before it.
    Others,
}

impl Problems {
    fn set(&self, area: Area, problems: Vec<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.insert(area, problems.clone()).unwrap_or_default();
        for new in problems.iter().filter(|problem| !before.contains(problem)) {
            tracing::warn!("{new}");
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().flatten().cloned().collect()
    }

    /// The first that keeps pods from being connected.
    pub(super) fn worst(&self) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [Area::Records, Area::Conflist].iter().find_map(|area| all.get(area)?.first().cloned())
    }
}

/// Looks at interfaces and at the runtime's file now and then.
#[derive(Debug, Default)]
pub(super) struct Caretaker {
    looked: Option<Instant>,
    looking: Option<JoinHandle<()>>,
}

impl Caretaker {
    /// To be called often. The file is looked at only once all is in place for pods.
    pub(super) fn look(&mut self, known: &Arc<Known>, is_ready: bool) {
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        let is_looking = self.looking.as_ref().is_some_and(|looking| !looking.is_finished());
        if !is_due || is_looking || !is_ready {
            return;
        }
        self.looked = Some(Instant::now());
        let known = Arc::clone(known);
        self.looking = Some(tokio::spawn(async move {
            conflist::see_to(&known).await;
            interfaces::see_to(&known).await;
        }));
    }
}

/// Answers the plug-in.
pub(super) async fn answer(
    known: &Known,
    facts: &Facts,
    query: CniQuery,
) -> Result<CniAnswer, Failure> {
    match query {
        CniQuery::Node => Ok(CniAnswer::Node(node(known, facts).await)),
        CniQuery::Attach(attach) => attached(known, &attach).await.map(CniAnswer::Attached),
        CniQuery::Detach(detach) => detached(known, &detach).await.map(CniAnswer::Detached),
    }
}

async fn node(known: &Known, facts: &Facts) -> NodeAnswer {
    let first = |family| facts.pod_cidrs.iter().find(|cidr| cidr.family() == family);
    let pod_cidrs = Family::ALL.into_iter().filter_map(first).filter_map(|cidr| {
        // Never None: a prefix is no longer than its family's.
        IpNetwork::new(cidr.address(), cidr.length()).ok()
    });
    let addresses: Vec<IpAddr> = facts.addresses.iter().map(|chosen| chosen.address).collect();
    NodeAnswer {
        node: known.name.to_string(),
        pod_cidrs: pod_cidrs.collect(),
        mtu: match facts.config.cni.mtu {
            Some(mtu) => mtu,
            None => uplink::mtu(&addresses).await,
        },
        problem: not_ready(known, facts),
    }
}

/// Why pods cannot be connected now.
fn not_ready(known: &Known, facts: &Facts) -> Option<String> {
    if facts.pod_cidrs.is_empty() {
        let is_in_sync = known.source.as_ref().is_none_or(SourceState::is_in_sync);
        return Some(match is_in_sync {
            false => "the cluster's state has not been read yet".to_owned(),
            true => format!(
                "Node/{} has no podCIDR yet, and node.podCIDRs is not set; who gives nodes theirs \
                 is the cluster's controller manager (--allocate-node-cidrs)",
                known.name
            ),
        });
    }
    let enforce = known.enforce.as_ref()?;
    let missing = enforce.status.load().unavailable.clone();
    missing.map(|missing| format!("policies cannot be enforced: {missing}"))
}

async fn attached(known: &Known, attach: &Attach) -> Result<Attached, Failure> {
    let attachment = attachment(&known.name, attach).map_err(Failure::Invalid)?;
    if !interfaces::is_there(attachment.interface) {
        let what = format!("hostInterface: there is no interface {}", attachment.interface);
        return Err(Failure::Invalid(what));
    }
    let Some(enforce) = &known.enforce else {
        return Ok(Attached { programmed: true, problem: None });
    };
    let interface = attachment.interface;
    let wait = match &attachment.pod {
        Some(_) => attach.wait_seconds.min(MAX_WAIT_SECONDS),
        // It stays closed: there is nothing to wait for.
        None => 0,
    };
    enforce.apply(vec![Change::Attached(Arc::new(attachment))]).await.map_err(stopping)?;
    let open = enforce.open(interface, Duration::from_secs(wait.into())).await.map_err(stopping)?;
    Ok(Attached { programmed: open.is_ok(), problem: open.err() })
}

async fn detached(known: &Known, detach: &Detach) -> Result<Detached, Failure> {
    let interface = interface(&detach.host_interface).map_err(Failure::Invalid)?;
    let Some(enforce) = &known.enforce else { return Ok(Detached { known: false }) };
    let is_known = enforce.read(move |view| view.world.attachment(interface).is_some());
    let known = is_known.await.map_err(stopping)?;
    enforce.apply(vec![Change::Detached(interface)]).await.map_err(stopping)?;
    Ok(Detached { known })
}

fn stopping(_: Gone) -> Failure {
    Failure::Unavailable("the agent is stopping".to_owned())
}

/// What the plug-in says, checked.
fn attachment(node: &Arc<str>, attach: &Attach) -> Result<Attachment, String> {
    Ok(Attachment {
        node: Arc::clone(node),
        interface: interface(&attach.host_interface)?,
        pod: attach.pod.as_ref().map(pod).transpose()?,
        addresses: addresses(&attach.addresses)?,
    })
}

fn interface(name: &str) -> Result<Interface, String> {
    name.parse().map_err(|bad| format!("hostInterface: {bad}"))
}

fn pod(pod: &PodName) -> Result<PodKey, String> {
    let name = |field: &str, text: &str| match text.len() {
        1..=MAX_NAME => Ok(Arc::<str>::from(text)),
        length => Err(format!("pod.{field}: it has {length} octets; accepted are 1 to {MAX_NAME}")),
    };
    Ok(PodKey { namespace: name("namespace", &pod.namespace)?, name: name("name", &pod.name)? })
}

fn addresses(given: &[IpAddr]) -> Result<Vec<IpAddr>, String> {
    let is_a_pods = |address: &IpAddr| {
        !address.is_unspecified()
            && !address.is_loopback()
            && !address.is_multicast()
            && match address {
                IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
                IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
            }
    };
    if let Some(odd) = given.iter().find(|address| !is_a_pods(address)) {
        return Err(format!("addresses: {odd} is none that a pod can have"));
    }
    let count = |family| given.iter().filter(|address| Family::of(**address) == family).count();
    if given.is_empty() || Family::ALL.into_iter().any(|family| count(family) > 1) {
        return Err(format!("addresses: {given:?}; accepted are one or two, at most one a family"));
    }
    Ok(given.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach(interface: &str, pod: Option<(&str, &str)>, addresses: &[&str]) -> Attach {
        Attach {
            pod: pod.map(|(namespace, name)| PodName {
                namespace: namespace.into(),
                name: name.into(),
                uid: None,
            }),
            host_interface: interface.into(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            wait_seconds: 1,
        }
    }

    #[test]
    fn what_the_plug_in_says_is_checked() {
        let long = "x".repeat(254);
        let web = Some(("shop", "web"));
        for (attach, want) in [
            (attach("brn1", web, &["10.244.1.2", "fd00::2"]), None),
            (attach("brn1", None, &["fd00::2"]), None),
            (attach("eth0", web, &["10.244.1.2"]), Some("hostInterface: \"eth0\" is no interface")),
            (attach("brn1\n-j", web, &["10.244.1.2"]), Some("hostInterface: ")),
            (attach("brn1", Some(("", "web")), &["10.244.1.2"]), Some("pod.namespace: it has 0")),
            (attach("brn1", Some(("shop", &long)), &["10.244.1.2"]), Some("pod.name: it has 254")),
            (attach("brn1", web, &[]), Some("addresses: []; accepted are one or two")),
            (attach("brn1", web, &["10.244.1.2", "10.244.1.3"]), Some("addresses: [10.244")),
            (attach("brn1", web, &["127.0.0.1"]), Some("addresses: 127.0.0.1 is none")),
            (attach("brn1", web, &["fe80::1"]), Some("addresses: fe80::1 is none")),
            (attach("brn1", web, &["::ffff:10.1.1.1"]), Some("addresses: ::ffff:10.1.1.1 is")),
        ] {
            let got = attachment(&"n1".into(), &attach).err();
            let fits = match (&got, want) {
                (Some(got), Some(want)) => got.starts_with(want),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(fits, "{attach:?}: {got:?}");
        }
    }
}
