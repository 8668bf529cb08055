//! From Calico's settings (`FelixConfiguration`, `IPPool`, `KubeControllersConfiguration`).

use serde_json::Value;

use super::super::Imported;
use super::super::draft::Failsafe;
use super::super::object::title;
use super::{Cluster, name, says};

/// Fields of a FelixConfiguration that say nothing about what packets do, or that brindle has
/// no need of.
const WITHOUT_MEANING: [&str; 22] = [
    "bpfLogLevel",
    "floatingIPs",
    "healthEnabled",
    "healthHost",
    "healthPort",
    "healthTimeoutOverrides",
    "iptablesLockFilePath",
    "iptablesLockProbeIntervalMillis",
    "iptablesLockTimeout",
    "iptablesPostWriteCheckInterval",
    "iptablesRefreshInterval",
    "ipsetsRefreshInterval",
    "routeRefreshInterval",
    "logFilePath",
    "logSeverityFile",
    "logSeverityScreen",
    "logSeveritySys",
    "prometheusMetricsEnabled",
    "prometheusMetricsHost",
    "prometheusMetricsPort",
    "reportingInterval",
    "usageReportingEnabled",
];

pub(super) fn import(cluster: &Cluster<'_>, imported: &mut Imported) {
    for pool in cluster.of_kind("IPPool") {
        ip_pool(pool, imported);
    }
    for felix in cluster.of_kind("FelixConfiguration") {
        let is_this = cluster
            .this_node
            .as_ref()
            .is_some_and(|node| name(felix).strip_prefix("node.") == Some(&*node.name));
        if name(felix) == "default" || is_this {
            configuration(felix, imported);
        } else {
            let reason = "is for one node: import with --node NAME to follow it there";
            imported.refuse(&title(felix), "", reason);
        }
    }
    for one in cluster.of_kind("KubeControllersConfiguration") {
        let host = &one["spec"]["controllers"]["node"]["hostEndpoint"];
        if host["autoCreate"] == "Enabled" {
            imported.config.policy.host_endpoints.auto = Some(true);
        }
    }
}

fn ip_pool(pool: &Value, imported: &mut Imported) {
    let (title, spec) = (title(pool), &pool["spec"]);
    if spec["disabled"] == true {
        return;
    }
    for mode in ["ipipMode", "vxlanMode"] {
        if spec[mode].as_str().is_some_and(|mode| mode != "Never") {
            let reason = "brindle encapsulates nothing: nodes of one subnet route directly, and \
                          between subnets the fabric has to route pod ranges (see docs/fabrics.md)";
            imported.refuse(&title, format!("spec.{mode}"), reason);
        }
    }
    if spec["natOutgoing"] == true {
        imported.config.policy.masquerade = Some(true);
    } else {
        imported.config.policy.masquerade.get_or_insert(false);
    }
    if spec["nodeSelector"].as_str().is_some_and(|selector| selector != "all()") {
        let reason = "a node's pods get addresses of the podCIDRs of its Node";
        imported.refuse(&title, "spec.nodeSelector", reason);
    }
    if let Some(cidr) = spec["cidr"].as_str() {
        imported.to_do.push(format!(
            "give every Node podCIDRs (kube-controller-manager --allocate-node-cidrs \
             --cluster-cidr={cidr}): brindle has no address blocks of its own, and pods get new \
             addresses when they are started again"
        ));
    }
}

fn configuration(felix: &Value, imported: &mut Imported) {
    let (title, spec) = (title(felix), &felix["spec"]);
    let hosts = &mut imported.config.policy.host_endpoints;
    match spec["defaultEndpointToHostAction"].as_str() {
        Some("Accept") => hosts.default_endpoint_to_host_action = Some("Accept"),
        Some("Return") => hosts.default_endpoint_to_host_action = Some("Return"),
        Some("Drop") => hosts.default_endpoint_to_host_action = Some("Drop"),
        Some(_) | None => {}
    }
    hosts.failsafe_inbound =
        failsafes(&spec["failsafeInboundHostPorts"]).or(hosts.failsafe_inbound.take());
    hosts.failsafe_outbound =
        failsafes(&spec["failsafeOutboundHostPorts"]).or(hosts.failsafe_outbound.take());
    match spec["iptablesBackend"].as_str() {
        Some("NFT") => imported.config.policy.backend = Some("nft"),
        Some("Legacy") => imported.config.policy.backend = Some("legacy"),
        Some(_) | None => {}
    }
    imported.config.bgp.services.loop_prevention = match spec["serviceLoopPrevention"].as_str() {
        Some("Drop") => Some("drop"),
        Some("Reject") => Some("reject"),
        Some("Disabled") => Some("disabled"),
        Some(_) | None => imported.config.bgp.services.loop_prevention,
    };
    for field in ["wireguardEnabled", "wireguardEnabledV6", "ipipEnabled", "vxlanEnabled"] {
        if spec[field] == true {
            imported.refuse(&title, format!("spec.{field}"), "brindle encapsulates nothing");
        }
    }
    if spec["bpfEnabled"] == true {
        let reason = "brindle enforces with iptables and leaves Services to kube-proxy: start \
                      that first";
        imported.refuse(&title, "spec.bpfEnabled", reason);
    }
    let mut known = vec![
        "defaultEndpointToHostAction",
        "failsafeInboundHostPorts",
        "failsafeOutboundHostPorts",
        "iptablesBackend",
        "wireguardEnabled",
        "wireguardEnabledV6",
        "ipipEnabled",
        "vxlanEnabled",
        "bpfEnabled",
        "serviceLoopPrevention",
    ];
    known.extend(WITHOUT_MEANING);
    imported.refuse_others(&title, spec, &known, "brindle has no such setting");
}

fn failsafes(list: &Value) -> Option<Vec<Failsafe>> {
    let one = |typed: &Value| {
        let protocol = typed["protocol"].as_str().unwrap_or("tcp").to_uppercase();
        let port = typed["port"].as_u64().and_then(|port| port.try_into().ok())?;
        let everywhere = |net: &&str| !matches!(*net, "" | "0.0.0.0/0");
        let net = typed["net"].as_str().filter(everywhere).map(str::to_owned);
        Some(Failsafe { protocol, port, net })
    };
    Some(list.as_array()?.iter().filter_map(one).collect())
}

/// The ranges of the pools that are in use.
pub(super) fn pools<'o>(cluster: &Cluster<'o>) -> Vec<&'o str> {
    let pools = cluster.of_kind("IPPool").filter(|pool| !says(&pool["spec"]["disabled"]));
    pools.filter_map(|pool| pool["spec"]["cidr"].as_str()).collect()
}
