//! Every scenario once more, with a real API server: nodes and pods are its objects, and
//! policies come, change and go by kubectl.

use integration_tests::{TestLab, apiserver, skip};

use super::{calico, connectivity, frontend, hosts, namespaces, tiers};

/// The definitions of Calico's kinds, as we ship them.
const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/crds");

#[test]
fn every_scenario_works_by_kubectl() {
    const NAME: &str = "the scenarios with an API server";
    const BACKEND: &str = "nft";
    let tools = ["iptables-nft", "ipset", "dnsmasq"];
    if apiserver::programs(NAME).is_none() || !skip::can_run(NAME, &tools) {
        return;
    }
    // an API server takes seconds to start: one lab for all
    let words = ["--kube", "--nodes", "2", "--dual-stack", "--backend", BACKEND];
    let lab = TestLab::up("seeds_kube", &words, &connectivity::pods());
    connectivity::deny_egress(&lab);
    connectivity::masquerade(&lab);
    type Scenario = (String, fn(&TestLab));
    let rest: [Scenario; 3] = [
        (frontend::manifests(), |lab| frontend::let_in_by_label(lab, BACKEND)),
        (namespaces::manifests(), namespaces::one_label_in_one_namespace),
        (tiers::manifests(), |lab| tiers::three_tiers(lab, BACKEND)),
    ];
    for (manifests, scenario) in rest {
        lab.clear();
        lab.apply(&manifests);
        scenario(&lab);
    }
    calicos(&lab);
}

/// The scenarios with policies of Calico's: a cluster that never had Calico gets its
/// definitions while the agents run; then by kubectl, and by our own words.
fn calicos(lab: &TestLab) {
    let file = lab.file(calico::DENY_EGRESS);
    let missing = lab.run(&["exec", "api", "--", "brindle", "apply", "-f", &file]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && said.contains("brindle crds"), "what is missing: {said}");
    lab.kubectl(&["apply", "-f", DEFINITIONS]);
    lab.clear();
    lab.apply(&calico::pods());
    calico::deny_egress(
        lab,
        |lab| lab.apply(calico::DENY_EGRESS),
        calico::delete_global("default-deny"),
    );
    let ours = |lab: &TestLab, verb: &str, want: &str| {
        let file = lab.file(calico::DENY_POD2);
        let said = lab.exec("api", &["brindle", verb, "-f", &file]);
        assert_eq!(said.trim(), format!("Successfully {want} 1 'GlobalNetworkPolicy' resource(s)"));
    };
    calico::deny_pod2(
        lab,
        |lab| ours(lab, "apply", "applied"),
        |lab| ours(lab, "delete", "deleted"),
    );
    lab.clear();
    lab.apply(&calico::namespaces());
    calico::two_namespaces(lab);
    lab.clear();
    lab.apply(&connectivity::pods());
    hosts::host(lab);
}
