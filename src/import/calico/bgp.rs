//! From Calico's BGP objects (`BGPConfiguration`, `BGPPeer`, `BGPFilter`).

use serde_json::Value;

use super::super::Imported;
use super::super::draft::{Filter, Peer, PrefixAdvertisement, Rule};
use super::super::object::title;
use super::{Cluster, as_number, filter, name, says, settings};

/// The AS that both Calico and brindle are in if nobody says another.
const DEFAULT_AS: u32 = 64512;
/// What exported routes are held to: Calico tells peers of nothing but its pools.
const POOLS: &str = "calico-pools";

pub(super) fn import(cluster: &Cluster<'_>, imported: &mut Imported) {
    for one in cluster.of_kind("BGPConfiguration") {
        if name(one) == "default" {
            configuration(one, imported);
        } else {
            let reason = "is for one node: brindle takes a node's AS from the annotation \
                          brindle.dev/as-number and the rest from the node's own file";
            imported.refuse(&title(one), "", reason);
        }
    }
    let ours = cluster.this_node.as_ref().and_then(|node| node.as_number);
    let ours = ours.or(imported.config.bgp.as_number).unwrap_or(DEFAULT_AS);
    for one in cluster.of_kind("BGPPeer") {
        peer(cluster, one, ours, imported);
    }
}

fn configuration(one: &Value, imported: &mut Imported) {
    let (title, spec) = (title(one), &one["spec"]);
    let bgp = &mut imported.config.bgp;
    bgp.as_number = as_number(&spec["asNumber"]);
    bgp.node_to_node_mesh.enabled = spec["nodeToNodeMeshEnabled"].as_bool();
    bgp.listen.port = spec["listenPort"].as_u64().and_then(|port| port.try_into().ok());
    let blocks = |field: &str| {
        let blocks = spec[field].as_array().into_iter().flatten();
        blocks.filter_map(|block| block["cidr"].as_str()).map(str::to_owned).collect()
    };
    bgp.services.cluster_ips = blocks("serviceClusterIPs");
    bgp.services.external_ips = blocks("serviceExternalIPs");
    bgp.services.load_balancer_ips = blocks("serviceLoadBalancerIPs");
    if spec["serviceLoadBalancerAggregation"] == "Disabled" {
        bgp.services.host_routes.push("loadBalancerIPs");
    }
    let advertised = spec["prefixAdvertisements"].as_array().into_iter().flatten();
    bgp.prefix_advertisements = advertised.map(|one| advertisement(one, spec)).collect();
    if says(&spec["nodeMeshPassword"]) {
        let reason = "keys are not imported. While this object stays in the cluster, agents sign \
                      with what its Secret holds, if Role brindle-bgp-keys names that; else add \
                      password: {file: ...} to bgp.nodeToNodeMesh";
        imported.refuse(&title, "spec.nodeMeshPassword", reason);
    }
    let known = [
        "asNumber",
        "nodeToNodeMeshEnabled",
        "listenPort",
        "serviceClusterIPs",
        "serviceExternalIPs",
        "serviceLoadBalancerIPs",
        "serviceLoadBalancerAggregation",
        "communities",
        "prefixAdvertisements",
        "nodeMeshPassword",
        // How much Calico writes into its log.
        "logSeverityScreen",
    ];
    imported.refuse_others(&title, spec, &known, "brindle has no such setting");
}

/// Names of communities in it become what they stand for.
fn advertisement(one: &Value, spec: &Value) -> PrefixAdvertisement {
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let value = |text: String| {
        let named = spec["communities"].as_array().into_iter().flatten();
        let mut named = named.filter(|named| named["name"] == text.as_str());
        let value = named.next().and_then(|named| named["value"].as_str());
        value.map_or(text, str::to_owned)
    };
    PrefixAdvertisement {
        cidr: one["cidr"].as_str().unwrap_or_default().to_owned(),
        communities: texts(&one["communities"]).into_iter().map(value).collect(),
    }
}

const WITHOUT_PASSWORD: &str = "keys are not imported: add password: {file: ...} to the peer, or it \
                                will not come up; or leave it out of bgp.peers and the object in \
                                the cluster, whose Secret then counts, if Role brindle-bgp-keys \
                                names that";

/// Fields of a BGPPeer that are followed, or that mean what brindle does anyway.
const FOLLOWED: [&str; 16] = [
    "node",
    "nodeSelector",
    "peerIP",
    "asNumber",
    "peerSelector",
    "password",
    "keepOriginalNextHop",
    "nextHopMode",
    "filters",
    "maxRestartTime",
    "sourceAddress",
    "ttlSecurity",
    "localASNumber",
    "numAllowedLocalASNumbers",
    "keepaliveTime",
    "reachableBy",
];

fn peer(cluster: &Cluster<'_>, one: &Value, ours: u32, imported: &mut Imported) {
    let (title, spec) = (title(one), &one["spec"]);
    match is_for_this(cluster, spec) {
        Ok(true) => {}
        // Another node's, which its own import tells.
        Ok(false) => return,
        Err((field, reason)) => return imported.refuse(&title, field, reason),
    }
    if says(&spec["password"]) {
        imported.refuse(&title, "spec.password", WITHOUT_PASSWORD);
    }
    if says(&spec["keepaliveTime"]) {
        let reason = "brindle says it by holdTime of the peer, three times as long: add that";
        imported.refuse(&title, "spec.keepaliveTime", reason);
    }
    imported.refuse_others(&title, spec, &FOLLOWED, "brindle has no such setting");
    if let Some(selector) = spec["peerSelector"].as_str().filter(|text| !text.is_empty()) {
        return nodes_as_peers(cluster, &title, selector, imported);
    }
    let Some((address, port)) = spec["peerIP"].as_str().and_then(address_and_port) else {
        let reason = "is not an address, with or without a port";
        return imported.refuse(&title, "spec.peerIP", reason);
    };
    let Some(theirs) = as_number(&spec["asNumber"]) else {
        return imported.refuse(&title, "spec.asNumber", "is missing or not an AS number");
    };
    let Some(filters) = filters(cluster, one, imported) else { return };
    let local = as_number(&spec["localASNumber"]);
    let is_external = theirs != local.unwrap_or(ours);
    let hops = |field: &str| spec[field].as_u64().filter(|number| *number > 0);
    let ttl_security = hops("ttlSecurity");
    let imports = direction(one, "import", filters.import, is_external, None, imported);
    let pools = (!settings::pools(cluster).is_empty()).then_some(POOLS);
    if pools.is_some() && (is_external || !filters.export.is_empty()) {
        pool_filter(cluster, imported);
    }
    let exports = direction(one, "export", filters.export, is_external, pools, imported);
    let next_hop_mode = match (spec["nextHopMode"].as_str(), spec["keepOriginalNextHop"] == true) {
        (Some("Self"), _) => Some("Self"),
        (Some("Keep"), _) | (None, true) => Some("Keep"),
        (Some(_), _) | (None, false) => None,
    };
    let reachable_by = spec["reachableBy"].as_str().filter(|text| !text.is_empty());
    let reachable_by = reachable_by.map(str::to_owned);
    imported.config.bgp.peers.push(Peer {
        name: name(one).chars().take(63).collect(),
        peer_ip: address.to_string(),
        port,
        as_number: theirs,
        reachable_by,
        import_filters: imports,
        export_filters: exports,
        next_hop_mode,
        max_restart_time: spec["maxRestartTime"].as_str().map(str::to_owned),
        local_as_number: local,
        num_allowed_local_as_numbers: hops("numAllowedLocalASNumbers"),
        ttl_security,
        // Calico's may be any number of hops away.
        ebgp_multihop: (is_external && ttl_security.is_none()).then_some(255),
    });
}

/// Whether the configuration's node has the peer; the field that leaves it open, and why.
fn is_for_this(cluster: &Cluster<'_>, spec: &Value) -> Result<bool, (&'static str, String)> {
    if let Some(node) = spec["node"].as_str().filter(|node| !node.is_empty()) {
        return match &cluster.this_node {
            Some(this) => Ok(this.name == node),
            None if cluster.is_for_one => Ok(false),
            None => {
                Err(("spec.node", format!("is for node {node} only: import with --node {node}")))
            }
        };
    }
    match spec["nodeSelector"].as_str().filter(|selector| !selector.is_empty()) {
        Some(selector) => {
            cluster.selects_this(selector).map_err(|reason| ("spec.nodeSelector", reason))
        }
        None => Ok(true),
    }
}

/// Nodes that are peers of nodes: brindle's mesh is between all, or where some reflect routes,
/// with those.
fn nodes_as_peers(cluster: &Cluster<'_>, title: &str, selector: &str, imported: &mut Imported) {
    let mut selected = Vec::new();
    for node in &cluster.nodes {
        match node.is_selected(selector) {
            Ok(true) => selected.push(node),
            Ok(false) => {}
            Err(reason) => return imported.refuse(title, "spec.peerSelector", reason),
        }
    }
    if !selected.is_empty() && selected.iter().all(|node| node.reflector.is_some()) {
        // What a mesh is with reflectors in it.
        imported.config.bgp.node_to_node_mesh.enabled = Some(true);
    } else {
        let reason = "selects nodes that are no route reflectors (or none that is among the \
                      objects): brindle's nodes peer with all other nodes, or with those that \
                      have the annotation brindle.dev/route-reflector-cluster-id";
        imported.refuse(title, "spec.peerSelector", reason);
    }
}

/// The rules that a peer's filters come to.
struct Filters {
    import: Vec<Rule>,
    export: Vec<Rule>,
}

/// `None` if one of them cannot be followed: without it, the peer would be told or believed
/// more than was meant.
fn filters(cluster: &Cluster<'_>, one: &Value, imported: &mut Imported) -> Option<Filters> {
    let mut all = Filters { import: Vec::new(), export: Vec::new() };
    let mut is_whole = true;
    let left_out = "so the peer is left out";
    for (index, named) in one["spec"]["filters"].as_array().into_iter().flatten().enumerate() {
        let named = named.as_str().unwrap_or_default();
        let Some(found) = cluster.of_kind("BGPFilter").find(|filter| name(filter) == named) else {
            let field = format!("spec.filters[{index}]");
            imported.refuse(
                &title(one),
                field,
                format!("there is no BGPFilter {named:?}, {left_out}"),
            );
            is_whole = false;
            continue;
        };
        for (direction, rules) in [("import", &mut all.import), ("export", &mut all.export)] {
            match filter::rules(found, direction) {
                Ok(more) => rules.extend(more),
                Err(refused) => {
                    is_whole = false;
                    for (field, reason) in refused {
                        let reason = format!("{reason}; {} uses it, {left_out}", title(one));
                        imported.refuse(&title(found), field, reason);
                    }
                }
            }
        }
    }
    is_whole.then_some(all)
}

/// The names of the filters of one direction. Without rules of its own an internal peer needs
/// none; an external one says that it takes everything, or what `otherwise` lets through.
fn direction(
    one: &Value,
    word: &str,
    mut rules: Vec<Rule>,
    is_external: bool,
    otherwise: Option<&str>,
    imported: &mut Imported,
) -> Option<Vec<String>> {
    let otherwise: Vec<String> = otherwise.into_iter().map(str::to_owned).collect();
    if rules.is_empty() {
        return is_external.then_some(otherwise);
    }
    // What no rule of a BGPFilter is about passes it.
    rules.push(Rule::all("accept"));
    let name: String = format!("{word}-{}", name(one)).chars().take(63).collect();
    imported.config.bgp.filters.push(Filter { name: name.clone(), rules });
    let otherwise = if is_external { otherwise } else { Vec::new() };
    Some([name].into_iter().chain(otherwise).collect())
}

/// A filter that lets pools through and nothing else.
fn pool_filter(cluster: &Cluster<'_>, imported: &mut Imported) {
    let filters = &mut imported.config.bgp.filters;
    if filters.iter().any(|filter| filter.name == POOLS) {
        return;
    }
    let inside = |cidr: &&str| {
        let (_, length) = cidr.split_once('/')?;
        let bits = if cidr.contains(':') { 128 } else { 32 };
        Some(Rule {
            action: "accept",
            cidr: Some((*cidr).to_owned()),
            prefix_lengths: Some(format!("{length}-{bits}")),
            ..Rule::default()
        })
    };
    let mut rules: Vec<Rule> = settings::pools(cluster).iter().filter_map(inside).collect();
    if imported.config.bgp.services.has_blocks() {
        rules.push(Rule { action: "accept", sources: &["service"], ..Rule::default() });
    }
    rules.push(Rule::all("reject"));
    filters.push(Filter { name: POOLS.to_owned(), rules });
}

/// `192.0.2.1`, `192.0.2.1:1179`, `2001:db8::1`, `[2001:db8::1]:1179`.
fn address_and_port(text: &str) -> Option<(std::net::IpAddr, Option<u16>)> {
    match text.parse() {
        Ok(address) => Some((address, None)),
        Err(_) => {
            let both: std::net::SocketAddr = text.parse().ok()?;
            Some((both.ip(), Some(both.port()).filter(|port| *port != 179)))
        }
    }
}
