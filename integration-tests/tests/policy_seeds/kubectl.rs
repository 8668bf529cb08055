//! Every scenario once more, with a real API server: nodes and pods are its objects, and
//! policies come, change and go by kubectl.

use integration_tests::{TestLab, apiserver, skip};

use crate::{connectivity, frontend, namespaces, tiers};

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
}
