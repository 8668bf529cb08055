//! Which addresses of Services each node announces: pure.
//!
//! A block is announced by every node, whatever Services there are, since every node passes
//! packets on to endpoints elsewhere. A Service that wants its packets on nodes with endpoints
//! has its addresses announced by these besides: the longer prefix counts. Nodes that load
//! balancers are kept from announce nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use brindle_bgp::net::{Family, Prefix};
use brindle_config::{ServiceAddresses, ServiceSettings};
use brindle_policy::model::ServiceName;

use super::{Service, ServiceObjects};

/// Why a prefix is announced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// What kind of addresses it holds.
    pub addresses: ServiceAddresses,
    /// The Service whose address it is; `None` of a whole block.
    pub service: Option<ServiceName>,
}

impl fmt::Display for Reason {
    /// `cluster IPs of Services`, `external IP of Service shop/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.addresses {
            ServiceAddresses::Cluster => "cluster IP",
            ServiceAddresses::External => "external IP",
            ServiceAddresses::LoadBalancer => "load balancer IP",
        };
        match &self.service {
            Some(service) => write!(f, "{kind} of Service {service}"),
            None => write!(f, "{kind}s of Services"),
        }
    }
}

/// Prefixes, and why each is among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Prefixes {
    reasons: BTreeMap<Prefix, BTreeSet<Reason>>,
    /// The prefixes alone, as policies have them.
    set: Arc<BTreeSet<Prefix>>,
}

impl From<BTreeMap<Prefix, BTreeSet<Reason>>> for Prefixes {
    fn from(reasons: BTreeMap<Prefix, BTreeSet<Reason>>) -> Self {
        Self { set: Arc::new(reasons.keys().copied().collect()), reasons }
    }
}

/// What each node announces for Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// By every node that is not excluded.
    everywhere: Prefixes,
    /// By one node.
    of_node: BTreeMap<Arc<str>, Prefixes>,
    excluded: BTreeSet<Arc<str>>,
    /// The blocks that everything is in.
    blocks: BTreeSet<Prefix>,
}

/// What each node is to announce for these Services by these settings; `excluded` are the nodes
/// that load balancers are kept from.
pub fn advertise(
    settings: &ServiceSettings,
    objects: &ServiceObjects,
    excluded: BTreeSet<Arc<str>>,
) -> Advertised {
    let blocks: BTreeSet<Prefix> = settings.all_blocks().copied().collect();
    if blocks.is_empty() {
        return Advertised::default();
    }
    let ready = Ready::of(objects);
    let mut everywhere: BTreeMap<Prefix, BTreeSet<Reason>> = BTreeMap::new();
    let mut of_node: BTreeMap<Arc<str>, BTreeMap<Prefix, BTreeSet<Reason>>> = BTreeMap::new();
    for kind in ServiceAddresses::ALL {
        let blocks = settings.blocks(kind);
        let one_by_one = settings.host_routes.contains(&kind);
        for block in blocks.iter().filter(|block| !one_by_one && !block.is_host()) {
            let reason = Reason { addresses: kind, service: None };
            everywhere.entry(*block).or_default().insert(reason);
        }
        for service in objects.services.values().filter(|one| is_ours(one, kind, settings)) {
            for address in service.addresses(kind) {
                let prefix = Prefix::host(*address);
                if !blocks.iter().any(|block| block.covers(&prefix)) {
                    continue;
                }
                let ready = ready.at(&service.name, prefix.family());
                let reason = || Reason { addresses: kind, service: Some(service.name.clone()) };
                if service.is_local(kind) {
                    for node in ready.nodes.difference(&excluded) {
                        let of_node = of_node.entry(Arc::clone(node)).or_default();
                        of_node.entry(prefix).or_default().insert(reason());
                    }
                } else if ready.is_anywhere && (one_by_one || blocks.contains(&prefix)) {
                    everywhere.entry(prefix).or_default().insert(reason());
                }
            }
        }
    }
    let of_node = of_node.into_iter().map(|(node, prefixes)| (node, prefixes.into())).collect();
    Advertised { everywhere: everywhere.into(), of_node, excluded, blocks }
}

/// Whether addresses of that kind are announced of the Service at all.
fn is_ours(service: &Service, kind: ServiceAddresses, settings: &ServiceSettings) -> bool {
    match (&settings.load_balancer_classes, kind) {
        (Some(classes), ServiceAddresses::LoadBalancer) => {
            classes.contains(service.load_balancer_class.as_deref().unwrap_or_default())
        }
        _ => true,
    }
}

/// Where endpoints of Services are ready.
struct Ready<'a>(BTreeMap<(&'a ServiceName, Family), At>);

/// The same of one Service and family.
#[derive(Clone, Debug, Default)]
struct At {
    is_anywhere: bool,
    nodes: BTreeSet<Arc<str>>,
}

impl<'a> Ready<'a> {
    fn of(objects: &'a ServiceObjects) -> Self {
        let mut ready: BTreeMap<_, At> = BTreeMap::new();
        for endpoints in objects.endpoints.values() {
            let at = ready.entry((&endpoints.service, endpoints.family)).or_default();
            at.is_anywhere |= endpoints.is_ready;
            at.nodes.extend(endpoints.nodes.iter().cloned());
        }
        Self(ready)
    }

    fn at(&self, service: &'a ServiceName, family: Family) -> At {
        self.0.get(&(service, family)).cloned().unwrap_or_default()
    }
}

impl Advertised {
    fn common(&self, node: &str) -> Option<&Prefixes> {
        (!self.excluded.contains(node)).then_some(&self.everywhere)
    }

    fn all_of(&self, node: &str) -> impl Iterator<Item = &Prefixes> {
        self.common(node).into_iter().chain(self.of_node.get(node))
    }

    /// What the node announces.
    pub fn prefixes(&self, node: &str) -> BTreeSet<Prefix> {
        self.all_of(node).flat_map(|prefixes| prefixes.set.iter().copied()).collect()
    }

    /// The same, as policies have it.
    pub fn owned(&self, node: &str) -> Vec<Arc<BTreeSet<Prefix>>> {
        let sets = self.all_of(node).filter(|prefixes| !prefixes.set.is_empty());
        sets.map(|prefixes| Arc::clone(&prefixes.set)).collect()
    }

    /// Why the node announces the prefix; nothing if it does not.
    pub fn reasons(&self, node: &str, prefix: &Prefix) -> BTreeSet<&Reason> {
        self.all_of(node).filter_map(|all| all.reasons.get(prefix)).flatten().collect()
    }

    /// Why any node announces the prefix; nothing if none does.
    pub fn reasons_anywhere(&self, prefix: &Prefix) -> BTreeSet<&Reason> {
        let all = self.of_node.values().chain([&self.everywhere]);
        all.filter_map(|all| all.reasons.get(prefix)).flatten().collect()
    }

    /// The blocks that everything is in that nodes announce for Services.
    pub fn blocks(&self) -> &BTreeSet<Prefix> {
        &self.blocks
    }
}
