//! From names to what they mean in a [`World`].

use std::net::IpAddr;

use brindle_policy::model::{Pod, Policy, PolicyKind};
use brindle_policy::{Family, PodKey, PolicyId, World};

use super::words::policy_name;
use crate::control::{Failure, view};
use crate::flow::End;

/// How many names are told of those that there are.
const TOLD: usize = 10;

/// The policy of this name, `namespace/name` or the name alone.
///
/// # Errors
/// If there is none; names those that are near.
pub(super) fn policy<'w>(world: &'w World, name: &str) -> Result<&'w Policy, Failure> {
    let (namespace, short) = match name.split_once('/') {
        Some((namespace, short)) => (Some(namespace), short),
        None => (None, name),
    };
    let id = PolicyId {
        kind: PolicyKind::NetworkPolicy,
        namespace: namespace.map(Into::into),
        name: short.into(),
    };
    world.policy(&id).map(|policy| &**policy).ok_or_else(|| {
        let near = world.policies().filter(|policy| policy.namespace() == namespace);
        let near: Vec<String> = near.map(|policy| policy_name(&policy.id)).collect();
        missing("policy", name, namespace, &near)
    })
}

/// The pod of this name, `namespace/name`.
///
/// # Errors
/// If there is none; names those that are near.
pub(super) fn pod<'w>(world: &'w World, name: &str) -> Result<&'w Pod, Failure> {
    let (namespace, short) = name.split_once('/').unwrap_or((crate::flow::DEFAULT_NAMESPACE, name));
    let key = PodKey { namespace: namespace.into(), name: short.into() };
    world.pod(&key).map(|pod| &**pod).ok_or_else(|| {
        let near = world.pods().filter(|pod| *pod.key.namespace == *namespace);
        let near: Vec<String> = near.map(|pod| pod.key.to_string()).collect();
        missing("pod", &key.to_string(), Some(namespace), &near)
    })
}

fn missing(what: &str, name: &str, namespace: Option<&str>, near: &[String]) -> Failure {
    let place = namespace.map(|name| format!(" in {name}")).unwrap_or_default();
    let there = match near {
        [] => "none".to_owned(),
        near if near.len() > TOLD => format!("{}, ... ({})", near[..TOLD].join(", "), near.len()),
        near => near.join(", "),
    };
    Failure::NotFound(format!("there is no {what} {name}; there are{place}: {there}"))
}

/// One end of a flow, with its address of one family.
#[derive(Clone, Debug)]
pub(super) struct Located<'w> {
    /// The address.
    pub(super) address: IpAddr,
    /// The endpoint that has it.
    pub(super) endpoint: Option<&'w Pod>,
    /// As it is shown.
    pub(super) shown: view::FlowEnd,
}

/// Both ends of a flow with addresses of one family: the one asked for, else IPv4 if both
/// have it.
///
/// # Errors
/// If one is not known, has no network, or they have no family in common.
pub(super) fn both<'w>(
    world: &'w World,
    source: &End,
    destination: &End,
    family: Option<Family>,
) -> Result<[Located<'w>; 2], Failure> {
    let (from, to) = (addresses(world, source)?, addresses(world, destination)?);
    let of = |addresses: &[IpAddr], family| {
        addresses.iter().copied().find(|address| Family::of(*address) == family)
    };
    for candidate in Family::ALL.into_iter().filter(|f| family.is_none_or(|only| only == *f)) {
        if let (Some(from), Some(to)) = (of(&from, candidate), of(&to, candidate)) {
            return Ok([locate(world, source, from), locate(world, destination, to)]);
        }
    }
    let family = family.map_or("of a family that both have".to_owned(), |f| format!("of {f}"));
    Err(Failure::Conflict(format!("{source} and {destination} have no addresses {family}")))
}

/// The addresses that an end may have in a flow.
fn addresses(world: &World, end: &End) -> Result<Vec<IpAddr>, Failure> {
    match end {
        End::Address(address) => Ok(vec![*address]),
        End::Node(name) => match world.node(name) {
            Some(node) if !node.addresses.is_empty() => {
                Ok(node.addresses.iter().copied().collect())
            }
            Some(_) => Err(Failure::Conflict(format!("node {name} has no address"))),
            None => {
                let there: Vec<String> = world.nodes().map(|node| node.name.to_string()).collect();
                Err(missing("node", name, None, &there))
            }
        },
        End::Pod(key) => {
            let pod = pod(world, &key.to_string())?;
            let addresses =
                if pod.is_endpoint() { world.owned_addresses(pod) } else { pod.addresses.clone() };
            if pod.finished {
                return Err(Failure::Conflict(format!(
                    "pod {key} has finished: it has no network"
                )));
            }
            if addresses.is_empty() {
                let why = match pod.addresses.is_empty() {
                    true => "has no address yet",
                    false => "has lost its address to another pod",
                };
                return Err(Failure::Conflict(format!("pod {key} {why}")));
            }
            Ok(addresses)
        }
    }
}

fn locate<'w>(world: &'w World, end: &End, address: IpAddr) -> Located<'w> {
    let endpoint = world.endpoint_at(address).map(|pod| &**pod);
    let shown = at(world, address);
    let name = match end {
        // A pod with its node's network has no address of its own.
        End::Pod(key) => Some(key.to_string()),
        End::Node(_) => Some(end.to_string()),
        End::Address(_) => shown.name,
    };
    Located { address, endpoint, shown: view::FlowEnd { name, ..shown } }
}

/// Whose address it is.
fn at(world: &World, address: IpAddr) -> view::FlowEnd {
    if let Some(pod) = world.endpoint_at(address) {
        let node = pod.node.as_ref().map(ToString::to_string);
        return view::FlowEnd { name: Some(pod.key.to_string()), address, node };
    }
    let node = world.nodes().find(|node| node.addresses.contains(&address));
    view::FlowEnd {
        name: node.map(|node| format!("node/{}", node.name)),
        address,
        node: node.map(|node| node.name.to_string()),
    }
}
