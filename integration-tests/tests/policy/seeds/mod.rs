//! What tutorials on network policies walk their readers through, with real packets: every
//! step of the scenarios, on both backends of iptables, over
//! IPv4 and IPv6, between pods of one node and of two.
//!
//! The objects come from a folder of manifests or, in [`kubectl`], from an API server.
//!
//! The numbers S0.1 and so on are those of the scenarios.

mod calico;
mod connectivity;
mod dns;
mod frontend;
mod hosts;
mod kubectl;
mod namespaces;
mod tiers;

use integration_tests::{TestLab, skip};

/// The iptables that a scenario runs with.
const BACKENDS: [&str; 2] = ["nft", "legacy"];

/// Plays `scenario` in a lab of two nodes and both families for each backend that this machine
/// has; `name` must be the scenario's own, at most 14 letters.
fn play(name: &str, manifests: &str, scenario: impl Fn(&TestLab, &str)) {
    for backend in BACKENDS {
        let program = format!("iptables-{backend}");
        if !skip::can_run(&format!("{name} on {backend}"), &[&program, "ipset"]) {
            continue;
        }
        let lab = TestLab::up(
            &format!("{name}_{backend}"),
            &["--nodes", "2", "--dual-stack", "--backend", backend],
            manifests,
        );
        scenario(&lab, backend);
    }
}

/// A pod as `kubectl run` would make it, on a node; `labels` and `ports` as YAML.
fn pod(namespace: &str, name: &str, node: &str, labels: &str, ports: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: \
         {{{labels}}}}}\nspec: {{nodeName: {node}, containers: [{{name: main, image: any, ports: \
         [{ports}]}}]}}\n"
    )
}

/// A namespace; `labels` as YAML.
fn namespace(name: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
    )
}
