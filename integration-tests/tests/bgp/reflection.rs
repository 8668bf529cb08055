//! Route reflection between nodes, chosen by what Node objects and BGPPeers say.

use integration_tests::agent::Agent;
use integration_tests::wait::{SOON, met};
use integration_tests::{skip, until};

use super::node_objects::{Cluster, Traffic, peers};

/// The peers of an agent by name, those with a session.
fn sessions(agent: &Agent) -> Vec<String> {
    let established = peers(agent).into_iter().filter(|peer| peer["state"] == "Established");
    established.filter_map(|peer| Some(peer["name"].as_str()?.to_owned())).collect()
}

#[track_caller]
fn has_sessions(agent: &Agent, wanted: &[&str]) {
    until(&format!("sessions with {wanted:?}"), SOON, || {
        let have = sessions(agent);
        met(have == wanted && peers(agent).len() == wanted.len(), || format!("{have:?}"))
    });
}

#[test]
fn a_mesh_moves_to_a_reflector_and_back_without_losing_a_packet() {
    if !skip::can_run("a_mesh_moves_to_a_reflector_and_back_without_losing_a_packet", &["ping"]) {
        return;
    }
    let cluster = Cluster::new(3);
    let mut config = cluster.config();
    // Nothing stays without a session that tells it.
    config.retain = "bgp-only";
    let agents: Vec<Agent> =
        (1..=3).map(|number| Agent::start(cluster.host(number), &config)).collect();
    cluster.has_routes(1, &["10.244.2.0/24", "10.244.3.0/24"]);
    cluster.has_routes(2, &["10.244.1.0/24", "10.244.3.0/24"]);
    for number in [1, 2] {
        let pod = format!("10.244.{number}.1/32");
        cluster.host(number).netns.add_address("lo", &pod).expect("a stand-in for a pod");
    }
    let ping = ["-c", "1", "-W", "1", "-I", "10.244.1.1", "10.244.2.1"];
    until("the pod answers", SOON, || {
        cluster.host(1).netns.run("ping", &ping).map(drop).map_err(|error| format!("{error:#}"))
    });
    let traffic = Traffic::every(cluster.host(1), "10.244.2.1", "0.001");

    // Calico's annotation says it; no agent is started anew.
    let reflector = "  annotations: {projectcalico.org/RouteReflectorClusterID: 244.0.0.3}\n";
    cluster.node(3, "10.244.3.0/24", reflector);
    has_sessions(&agents[0], &["n3"]);
    has_sessions(&agents[1], &["n3"]);
    has_sessions(&agents[2], &["n1", "n2"]);
    let path = agents[0].learns("10.244.2.0/24");
    assert_eq!(path["nextHop"], cluster.host(2).v4.to_string(), "untouched: {path}");
    assert_eq!(path["from"], "n3", "{path}");

    // It ceases to reflect: the others find one another again, and it goes on until they have.
    cluster.node(3, "10.244.3.0/24", "");
    has_sessions(&agents[0], &["n2", "n3"]);
    has_sessions(&agents[1], &["n1", "n3"]);
    until("the node itself tells it again", SOON, || {
        let path = agents[0].learns("10.244.2.0/24");
        met(path["from"] == "n2", || path.to_string())
    });
    cluster.node(3, "10.244.3.0/24", reflector);
    has_sessions(&agents[0], &["n3"]);
    has_sessions(&agents[2], &["n1", "n2"]);

    // What the mesh was is written down now, as Calico's users do: nothing happens to sessions.
    let before = agents[0].peer("n3")["flaps"].clone();
    cluster.manifest_file(
        "bgp.yaml",
        "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\n\
         spec: {nodeToNodeMeshEnabled: false}\n---\n\
         apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: rr}\n\
         spec: {node: n3, peerSelector: all()}\n",
    );
    until("the objects are read", SOON, || {
        let status = agents[0].ask(&["status"]).unwrap_or_default();
        met(status["source"]["bgpObjects"] == 2, || status["source"].to_string())
    });
    has_sessions(&agents[0], &["n3"]);
    assert_eq!(agents[0].peer("n3")["flaps"], before, "the session is the same");

    let (sent, answered) = traffic.stop();
    assert!(sent > 100, "{sent} packets");
    // One may have been on its way when it was stopped.
    assert!(answered + 1 >= sent, "{answered} of {sent} packets");
}
