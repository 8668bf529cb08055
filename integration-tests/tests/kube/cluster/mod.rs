//! A cluster whose nodes know of each other, of pods and of policies from a real API server
//! alone, each by a token that may do no more than an installation's role allows: what comes and
//! goes there, and what happens when it, or an agent, is gone for a while.

mod faults;
mod keys;
mod nodes;
mod stream;

use integration_tests::{TestLab, apiserver, skip};

/// A pod on each node, and one that nobody may reach.
const OBJECTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: a}}
spec: {nodeName: n1, containers: [{name: main, image: none}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, labels: {app: b}}
spec: {nodeName: n2, containers: [{name: main, image: none}]}
---
apiVersion: v1
kind: Pod
metadata: {name: c, labels: {app: c}}
spec: {nodeName: n3, containers: [{name: main, image: none}]}
---
apiVersion: v1
kind: Pod
metadata: {name: closed, labels: {app: closed}}
spec: {nodeName: n2, containers: [{name: main, image: none}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: closed}}}
";

/// What always holds.
const OPEN_AND_CLOSED: &str = "
    a -> b:80 OK
    b -> a:80 OK
    a -> c icmp OK
    c -> b:53/udp OK
    a -> closed:80 TIMEOUT
    b -> closed:80 TIMEOUT
    closed -> c:80 OK
    node/n2 -> closed:80 OK
";

#[test]
fn a_cluster_lives_by_its_api_server_and_survives_without() {
    const NAME: &str = "a cluster with an API server";
    let tools = ["iptables-nft", "ipset"];
    if apiserver::programs(NAME).is_none() || !skip::can_run(NAME, &tools) {
        return;
    }
    // an API server takes seconds to start: one lab for all
    let words = ["--kube", "--nodes", "3", "--dual-stack", "--backend", "nft"];
    let lab = TestLab::up("kube_cluster", &words, OBJECTS);
    nodes::are_known_from_their_objects_alone(&lab);
    lab.expect("the cluster as it was built", OPEN_AND_CLOSED);
    keys::come_from_secrets_that_the_role_names(&lab);
    faults::an_agent_is_killed_under_traffic(&lab);
    faults::the_api_server_is_away(&lab);
    nodes::one_goes_and_comes_back(&lab);
    lab.expect("the cluster after all that", OPEN_AND_CLOSED);
}
