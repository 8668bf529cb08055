//! From Calico's objects (`projectcalico.org/v3`, or `crd.projectcalico.org/v1` as its CRDs
//! store them).

mod bgp;
mod filter;
mod settings;

use serde_json::Value;

use super::Imported;
use super::object::{self, annotation, as_written, flat, group, kind, name, title};

/// The groups whose objects count.
const GROUPS: [&str; 2] = ["projectcalico.org", "crd.projectcalico.org"];
/// What brindle reads as it is.
const POLICIES: [&str; 10] = [
    "NetworkPolicy",
    "GlobalNetworkPolicy",
    "HostEndpoint",
    "NetworkSet",
    "GlobalNetworkSet",
    "Tier",
    "Profile",
    "StagedNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
];

/// The resources to ask an API server for, whichever of the groups it has.
pub const RESOURCES: [(&str, &str); 17] = [
    ("BGPConfiguration", "bgpconfigurations"),
    ("BGPPeer", "bgppeers"),
    ("BGPFilter", "bgpfilters"),
    ("IPPool", "ippools"),
    ("FelixConfiguration", "felixconfigurations"),
    ("KubeControllersConfiguration", "kubecontrollersconfigurations"),
    ("IPReservation", "ipreservations"),
    ("NetworkPolicy", "networkpolicies"),
    ("GlobalNetworkPolicy", "globalnetworkpolicies"),
    ("HostEndpoint", "hostendpoints"),
    ("NetworkSet", "networksets"),
    ("GlobalNetworkSet", "globalnetworksets"),
    ("Tier", "tiers"),
    ("Profile", "profiles"),
    ("StagedNetworkPolicy", "stagednetworkpolicies"),
    ("StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies"),
    ("StagedKubernetesNetworkPolicy", "stagedkubernetesnetworkpolicies"),
];

/// A configuration for `node`, or what is the same for all nodes if none is named.
pub fn import(objects: &[Value], node: Option<&str>) -> Imported {
    let objects: Vec<&Value> = objects.iter().flat_map(flat).collect();
    let mut imported = Imported::default();
    let cluster = Cluster::new(&objects, node);
    if let Some(wanted) = node.filter(|_| cluster.this_node.is_none()) {
        let reason = "no Node of this name is among the objects; peers that are chosen by labels \
                      of nodes are left out";
        imported.refuse(&format!("Node {wanted}"), "", reason);
    }
    cluster.nodes(&mut imported);
    settings::import(&cluster, &mut imported);
    bgp::import(&cluster, &mut imported);
    for object in cluster.all.iter().filter(|object| is_policy(object)) {
        imported.policies.push(as_written(object));
    }
    for object in cluster.calico().filter(|object| !is_known(object)) {
        imported.refuse(&title(object), "", "brindle has nothing of this kind");
    }
    imported
}

fn is_calico(object: &Value) -> bool {
    GROUPS.contains(&group(object))
}

fn is_policy(object: &Value) -> bool {
    // Made by Calico itself for each namespace and service account; brindle makes its own.
    let is_made = kind(object) == "Profile"
        && ["kns.", "ksa.", "projectcalico-default-allow"]
            .iter()
            .any(|p| name(object).starts_with(p));
    // The tiers that are always there, and copies of what the API server has anyway.
    let is_built_in = kind(object) == "Tier"
        && [
            "default",
            "kube-admin",
            "kube-baseline",
            "adminnetworkpolicy",
            "baselineadminnetworkpolicy",
        ]
        .contains(&name(object));
    let is_copy = name(object).starts_with("knp.");
    // An automatic host endpoint comes back by the configuration.
    let created_by = &object["metadata"]["labels"]["projectcalico.org/created-by"];
    let is_automatic = kind(object) == "HostEndpoint" && !created_by.is_null();
    is_calico(object)
        && POLICIES.contains(&kind(object))
        && !(is_made || is_built_in || is_copy || is_automatic)
}

fn is_known(object: &Value) -> bool {
    POLICIES.contains(&kind(object))
        || kind(object) == "Node"
        || (RESOURCES.iter().any(|(known, _)| *known == kind(object))
            && kind(object) != "IPReservation")
        // Books that Calico keeps for itself.
        || ["BlockAffinity", "IPAMBlock", "IPAMConfig", "IPAMConfiguration", "IPAMHandle",
            "ClusterInformation", "CalicoNodeStatus"].contains(&kind(object))
}

/// The objects, sorted out.
struct Cluster<'o> {
    all: Vec<&'o Value>,
    this_node: Option<Node>,
    nodes: Vec<Node>,
    /// Whether a node was named.
    is_for_one: bool,
}

/// What a Node says about BGP.
#[derive(Clone, Debug, Default)]
struct Node {
    name: String,
    labels: brindle_policy::model::Labels,
    as_number: Option<u32>,
    reflector: Option<String>,
}

impl<'o> Cluster<'o> {
    fn new(objects: &[&'o Value], this: Option<&str>) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        for object in objects.iter().filter(|object| kind(object) == "Node") {
            let read = Node::read(object);
            match nodes.iter_mut().find(|known| known.name == read.name) {
                Some(known) => known.add(read),
                None => nodes.push(read),
            }
        }
        let this_node = nodes.iter().find(|node| Some(&*node.name) == this).cloned();
        Self { all: objects.to_vec(), this_node, nodes, is_for_one: this.is_some() }
    }

    /// Calico's own objects.
    fn calico(&self) -> impl Iterator<Item = &'o Value> {
        self.all.iter().copied().filter(|object| is_calico(object))
    }

    /// Those of a kind.
    fn of_kind(&self, wanted: &'static str) -> impl Iterator<Item = &'o Value> {
        self.calico().filter(move |object| kind(object) == wanted)
    }

    /// What nodes have to say of themselves from now on.
    fn nodes(&self, imported: &mut Imported) {
        for node in &self.nodes {
            let mut annotate = |key: &str, value: &str| {
                let Node { name, .. } = node;
                imported
                    .to_do
                    .push(format!("kubectl annotate node {name} brindle.dev/{key}={value}"));
            };
            if let Some(number) = node.as_number {
                annotate("as-number", &number.to_string());
            }
            if let Some(id) = &node.reflector {
                annotate("route-reflector-cluster-id", id);
            }
        }
    }

    /// Whether the node that the configuration is for is one that `selector` selects; why that
    /// cannot be said.
    fn selects_this(&self, selector: &str) -> Result<bool, String> {
        if selector.trim() == "all()" {
            return Ok(true);
        }
        let Some(node) = &self.this_node else {
            return Err("is for some nodes only: import once for each, with --node NAME".to_owned());
        };
        node.is_selected(selector)
    }
}

impl Node {
    /// Of Kubernetes, with Calico's annotations, or Calico's own.
    fn read(object: &Value) -> Self {
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        let labels =
            labels.filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())));
        let bgp = &object["spec"]["bgp"];
        let text = |field: &str, key: &str| {
            let own = match &bgp[field] {
                Value::Number(number) => Some(number.to_string()),
                Value::String(text) => Some(text.clone()),
                _ => None,
            };
            own.or_else(|| annotation(object, key).map(str::to_owned))
        };
        Self {
            name: name(object).to_owned(),
            labels: labels.collect(),
            as_number: text("asNumber", "projectcalico.org/ASNumber")
                .and_then(|text| as_number(&Value::String(text))),
            reflector: text("routeReflectorClusterID", "projectcalico.org/RouteReflectorClusterID"),
        }
    }

    fn add(&mut self, other: Node) {
        self.labels.extend(other.labels);
        self.as_number = self.as_number.or(other.as_number);
        self.reflector = self.reflector.take().or(other.reflector);
    }

    fn is_selected(&self, selector: &str) -> Result<bool, String> {
        let expr = brindle_policy::selector::parse(selector).map_err(|error| error.to_string())?;
        Ok(expr.matches(&brindle_policy::selector::Subject {
            namespace: None,
            own: &self.labels,
            of_namespace: None,
            of_account: None,
        }))
    }
}

/// An AS number, as a number or as text: 64512, `"64512"`, `"1.10"`.
fn as_number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        Value::String(text) => match text.split_once('.') {
            Some((high, low)) => {
                let (high, low): (u16, u16) = (high.parse().ok()?, low.parse().ok()?);
                Some(u32::from(high) << 16 | u32::from(low))
            }
            None => text.parse().ok(),
        },
        _ => None,
    }
    .filter(|number| *number > 0)
}

/// Whether a list or text says something.
fn says(value: &Value) -> bool {
    !object::says_nothing(value)
}
