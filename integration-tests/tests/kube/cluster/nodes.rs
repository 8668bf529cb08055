//! Nodes as the API server has them: the mesh, and the routes to everybody's pods.

use integration_tests::TestLab;
use integration_tests::wait::{SOON, met, until};

use brindle::lab::speakers;

/// Nothing but the name of a node stands in its file: addresses, pod ranges and all other nodes
/// come from Node objects, and still there is a mesh with routes to all pods.
pub(crate) fn are_known_from_their_objects_alone(lab: &TestLab) {
    let plan = lab.plan();
    for node in &plan.nodes {
        until("routes to the pods of all others", SOON, || missing(lab, &node.name, &[]));
    }
}

/// What `node` lacks of the routes to the pods of all others but `gone`, or has of those.
fn missing(lab: &TestLab, node: &str, gone: &[&str]) -> Result<(), String> {
    let plan = lab.plan();
    let routes = ["-4", "-6"].map(|family| {
        lab.exec(node, &["ip", family, "route", "show", "proto", "98", "type", "unicast"])
    });
    let routes = routes.concat();
    let has = |cidr: &str| routes.lines().any(|line| line.split(' ').next() == Some(cidr));
    for other in plan.nodes.iter().filter(|other| other.name != node) {
        let wanted = !gone.contains(&other.name.as_str());
        for cidr in &other.pod_cidrs {
            let cidr = cidr.to_string();
            met(has(&cidr) == wanted, || format!("{node}: {cidr} wanted: {wanted}\n{routes}"))?;
        }
    }
    Ok(())
}

/// A Node object is deleted and made anew while everything runs.
pub(crate) fn one_goes_and_comes_back(lab: &TestLab) {
    lab.kubectl(&["delete", "node", "n3"]);
    for node in ["n1", "n2"] {
        until("n3 is out of the mesh", SOON, || missing(lab, node, &["n3"]));
    }
    lab.expect("the others go on", "a -> b:80 OK\na -> closed:80 TIMEOUT");
    let plan = lab.plan();
    lab.apply(&speakers::manifest(plan.node("n3").expect("it was deleted from the API server")));
    for node in ["n1", "n2"] {
        until("n3 is back in the mesh", SOON, || missing(lab, node, &[]));
    }
}
