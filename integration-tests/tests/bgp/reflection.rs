//! Route reflection between nodes, chosen by what Node objects and BGPPeers say.

use std::time::Duration;

use integration_tests::agent::{Agent, Config};
use integration_tests::kernel::{self, Monitor};
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Lan, skip, until};
use nix::sys::signal::Signal;

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
    is_mesh_again(&agents);
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

    // All of it is given up at one stroke.
    cluster.remove_file("bgp.yaml");
    cluster.node(3, "10.244.3.0/24", "");
    is_mesh_again(&agents);

    let (sent, answered) = traffic.stop();
    assert!(sent > 100, "{sent} packets");
    // One may have been on its way when it was stopped.
    assert!(answered + 1 >= sent, "{answered} of {sent} packets");
}

/// The first two of three nodes have found one another again.
fn is_mesh_again(agents: &[Agent]) {
    has_sessions(&agents[0], &["n2", "n3"]);
    has_sessions(&agents[1], &["n1", "n3"]);
    until("the node itself tells it again", SOON, || {
        let path = agents[0].learns("10.244.2.0/24");
        met(path["from"] == "n2", || path.to_string())
    });
}

/// A reflector that writes no routes has none that would say that it is back.
#[test]
fn a_pure_reflector_that_is_started_again_lets_its_clients_keep_what_they_had() {
    let test = "a_pure_reflector_that_is_started_again_lets_its_clients_keep_what_they_had";
    if !skip::can_run(test, &[]) {
        return;
    }
    let lan = Lan::new();
    let (rr, clients) = (lan.host("rr", 1), [2, 3].map(|n| lan.host(&format!("n{n}"), n)));
    let client = ", reflectorClient: true, passive: true";
    let config = (2..)
        .zip(&clients)
        .fold(Config::new(64512), |config, (n, host)| {
            config.line(&format!("n{n}"), &host.v4.to_string(), 64512, client)
        })
        .rest("routes: {install: false, forwarding: false}");
    let mut reflector = Agent::start(&rr, &config);
    let prefixes = [["10.244.2.0/24", "fd00:2::/64"], ["10.244.3.0/24", "fd00:3::/64"]];
    let mut agents = [0, 1].map(|n| {
        let config = Config::new(64512).networks(&prefixes[n]).bgp("connectRetryTime: 500ms");
        Agent::start(&clients[n], &config.line("rr", &rr.v4.to_string(), 64512, ""))
    });
    let have_all = || {
        for (host, others) in clients.iter().zip([prefixes[1], prefixes[0]]) {
            until(&format!("{} has {others:?}", host.netns.name()), SOON, || {
                let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
                let is_there = |prefix: &&str| {
                    routes.iter().any(|route| route.prefix == **prefix && route.kind == "unicast")
                };
                met(others.iter().all(is_there), || format!("{routes:?}"))
            });
        }
    };
    have_all();
    let monitors = clients.each_ref().map(|host| Monitor::start(&host.netns));

    reflector.kill();
    // One comes back much later than the other.
    agents[1].process().signal(Signal::SIGSTOP);
    reflector.start_again();
    reflector.up("n2");
    throughout("the one keeps what the other told", Duration::from_secs(1), || {
        met(monitors[0].changes(kernel::PROTOCOL).is_empty(), || "it does not".to_owned())
    });
    agents[1].process().signal(Signal::SIGCONT);
    reflector.up("n3");
    for agent in &agents {
        until("nothing is kept any more", SOON, || {
            let peer = agent.peer("rr");
            let families = peer["families"].as_array().cloned().unwrap_or_default();
            let is_fresh = families.iter().all(|family| family["stale"].is_null());
            met(peer["state"] == "Established" && is_fresh, || peer.to_string())
        });
    }
    have_all();
    for monitor in &monitors {
        assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new());
    }
}
