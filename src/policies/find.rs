//! From names to what they mean in a [`World`].

use std::net::IpAddr;

use brindle_policy::model::{Pod, Policy, PolicyKind};
use brindle_policy::{Cidr, Family, PodKey, World};

use super::words::policy_name;
use crate::control::{Failure, view};
use crate::flow::End;

/// How many names are told of those that there are.
const TOLD: usize = 10;

/// The policy of this name: `name`, `namespace/name`, or either after its kind, as
/// `GlobalNetworkPolicy/name` or `CalicoNetworkPolicy namespace/name`.
///
/// # Errors
/// If there is none; names those that are near. If there are several; names them.
pub(super) fn policy<'w>(world: &'w World, name: &str) -> Result<&'w Policy, Failure> {
    let asked = PolicyName::read(name);
    let mut found: Vec<&Policy> = asked.among(world);
    if found.is_empty()
        && let Some(plain) = asked.without_kind(name)
    {
        found = plain.among(world);
    }
    match found[..] {
        [one] => Ok(one),
        [] => {
            let near = world.policies().filter(|policy| policy.namespace() == asked.namespace);
            let near: Vec<String> = near.map(|policy| policy_name(&policy.id)).collect();
            Err(missing("policy", name, asked.namespace, &near))
        }
        [first, ..] => {
            let names: Vec<String> = found.iter().map(|policy| policy.id.to_string()).collect();
            Err(Failure::Conflict(format!(
                "{name} is the name of several policies: {}; say which, for instance {}",
                names.join(", "),
                first.id
            )))
        }
    }
}

/// A policy's name as somebody wrote it.
#[derive(Clone, Copy)]
struct PolicyName<'n> {
    kind: Option<PolicyKind>,
    namespace: Option<&'n str>,
    name: &'n str,
}

impl<'n> PolicyName<'n> {
    fn read(text: &'n str) -> Self {
        let (kind, rest) = match text.split_once([' ', '/']) {
            Some((first, rest)) => match kind(first) {
                Some(kind) => (Some(kind), rest.trim_start()),
                None => (None, text),
            },
            None => (None, text),
        };
        Self { kind, ..Self::of_no_kind(rest) }
    }

    fn of_no_kind(text: &'n str) -> Self {
        match text.split_once('/') {
            Some((namespace, name)) => Self { kind: None, namespace: Some(namespace), name },
            None => Self { kind: None, namespace: None, name: text },
        }
    }

    /// The same text, where what could be a kind is the name of a namespace.
    fn without_kind(self, text: &'n str) -> Option<Self> {
        self.kind.map(|_| Self::of_no_kind(text))
    }

    /// The policies that it names. Without a namespace those that have none or are in the
    /// usual one, and only if there are none, those of any.
    fn among(self, world: &World) -> Vec<&Policy> {
        let is_named = |policy: &&Policy| {
            *policy.id.name == *self.name
                && self.kind.is_none_or(|kind| kind == policy.id.kind)
                && self.namespace.is_none_or(|name| policy.namespace() == Some(name))
        };
        let named: Vec<&Policy> =
            world.policies().map(|policy| &**policy).filter(is_named).collect();
        let is_near = |policy: &&Policy| {
            policy.namespace().is_none_or(|name| name == crate::flow::DEFAULT_NAMESPACE)
        };
        let near: Vec<&Policy> = named.iter().copied().filter(is_near).collect();
        if self.namespace.is_none() && !near.is_empty() { near } else { named }
    }
}

/// The kind of this name, in the singular or the plural, in capitals or not.
fn kind(text: &str) -> Option<PolicyKind> {
    let text = text.to_ascii_lowercase();
    PolicyKind::ALL.into_iter().find(|kind| {
        let name = kind.as_str().to_ascii_lowercase();
        let plural = name.strip_suffix('y').map(|stem| format!("{stem}ies"));
        text == name || plural.as_ref() == Some(&text)
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
        name: node.map(|node| format!("node/{}", node.name)).or_else(|| object(world, address)),
        address,
        node: node.map(|node| node.name.to_string()),
    }
}

/// The host endpoint or network set that gives an address a name.
fn object(world: &World, address: IpAddr) -> Option<String> {
    let host = world.host_endpoints().find(|host| host.expected.contains(&address));
    // What has everything in it names nobody.
    let has = |net: &Cidr| net.length() > 0 && net.contains(address);
    let set = || world.network_sets().find(|set| set.nets.iter().any(has));
    let host = host.map(|host| format!("HostEndpoint {}", host.name));
    host.or_else(|| set().map(|set| set.id.to_string()))
}
