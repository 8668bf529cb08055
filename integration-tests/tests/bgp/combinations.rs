//! What works alone works together: restarts that silence BFD, and on links without addresses;
//! Services of nodes behind a reflector of which one leaves.

use std::time::Duration;

use integration_tests::agent::{Agent, Config};
use integration_tests::bird::Bird;
use integration_tests::kernel::{self, Monitor};
use integration_tests::router::{Kind, Neighbor, Plan, Router};
use integration_tests::stream::Stream;
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Host, Lan, skip, until};
use nix::sys::signal::Signal;

use super::bfd::{self, ASN, BFD, Other};
use super::drain::{self, Echo};
use super::next_hops::{self, BY_INTERFACE, OPEN, OUR_AS, OURS, THEIR_AS, THEIRS};
use super::node_objects::Cluster;

/// Datagrams that a test sends at the very least.
const LEAST: u64 = 100;

/// What a restarting agent tells, and an address in it.
const POD: &str = "192.0.2.1";
const PODS: &str = "192.0.2.0/24";

#[track_caller]
fn nothing_lost(streams: Vec<Stream>) {
    let lost: Vec<String> = streams.into_iter().flat_map(|stream| stream.lost(LEAST)).collect();
    assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), &lost[..lost.len().min(5)]);
}

#[track_caller]
fn nothing_deleted(monitor: &Monitor, protocol: &str) {
    let changes = monitor.changes(protocol);
    let gone: Vec<_> = changes.iter().filter(|line| line.starts_with("Deleted")).collect();
    assert_eq!(gone, Vec::<&String>::new(), "protocol {protocol}");
}

#[track_caller]
fn installed(host: &Host, protocol: &str, prefix: &str) {
    until(&format!("{} has a route to {prefix}", host.netns.name()), SOON, || {
        let routes = kernel::routes(&host.netns, protocol);
        met(routes.iter().any(|route| route.prefix == prefix), || format!("{routes:?}"))
    });
}

/// Waits until a peer of an agent is shown in `state`.
#[track_caller]
fn shown(agent: &Agent, peer: &str, state: &str) {
    until(&format!("{peer} is {state}"), SOON, || {
        let peer = agent.peer(peer);
        met(peer["state"] == state, || peer.to_string())
    });
}

/// Waits until a session is up and all that was kept of the one before was told again.
#[track_caller]
fn fresh(agent: &Agent, peer: &str) {
    until(&format!("{peer} is up and nothing of it stale"), SOON, || {
        let peer = agent.peer(peer);
        let families = peer["families"].as_array().cloned().unwrap_or_default();
        let is_fresh = families.iter().all(|family| family["stale"].is_null());
        met(peer["state"] == "Established" && is_fresh, || peer.to_string())
    });
}

/// BFD of an agent does not outlive it, and says so (C bit zero, RFC 5882 §4.3): its silence is
/// that of a restart, for FRR and for brindle.
#[test]
fn a_restart_that_silences_bfd_loses_no_packet() {
    let test = "a_restart_that_silences_bfd_loses_no_packet";
    if !bfd::can_run(test, Kind::Frr) {
        return;
    }
    let lan = Lan::new();
    let (us, frr, brindle) = (lan.host("n1", 1), lan.host("other", 2), lan.host("n3", 3));
    us.netns.add_address("lo", &format!("{POD}/32")).expect("a free address");
    let mut other = Other::start(Kind::Frr, &frr, &us, false);
    // A second's silence, so that the end of the connection is heard of before that of BFD also on
    // a busy machine.
    let patient = BFD.replace("multiplier: 3", "multiplier: 10");
    let more = format!(", holdTime: 90s, bfd: {{{patient}}}");
    let config = Config::new(ASN).networks(&[PODS]).peer("other", &frr, ASN, &more).line(
        "n3",
        &brindle.v4.to_string(),
        ASN,
        &more,
    );
    let mut agent = Agent::start(&us, &config);
    let config = Config::new(ASN).line("n1", &us.v4.to_string(), ASN, &more);
    let helper = Agent::start(&brindle, &config.bgp("connectRetryTime: 200ms"));
    let is_whole = |agent: &Agent, other: &mut Other| {
        bfd::up(agent, other);
        fresh(&helper, "n1");
        until("BFD is up on all sides", SOON, || {
            let peer = helper.peer("n1");
            met(peer["bfd"]["state"] == "Up", || peer.to_string())
        });
        until("FRR has the route", SOON, || {
            met(other.router().route(PODS).is_some(), || "no".into())
        });
        installed(&frr, "186", PODS);
        installed(&brindle, kernel::PROTOCOL, PODS);
    };
    is_whole(&agent, &mut other);

    let pod = POD.parse().expect("an address");
    let monitors = [Monitor::start(&frr.netns), Monitor::start(&brindle.netns)];
    let streams = [&frr, &brindle].map(|from| Stream::start(&from.netns, &us.netns, pod));
    let [from_frr, from_brindle] = streams;
    for (way, end) in [("killed", Agent::kill as fn(&mut Agent)), ("stopped", Agent::stop)] {
        end(&mut agent);
        shown(&helper, "n1", "Restarting");
        until(&format!("{way}: BFD is down on all sides"), SOON, || {
            let (peer, text) = (helper.peer("n1"), other.text());
            let is_down = peer["bfd"]["state"] == "Down" && !text.contains("Status: up");
            met(is_down, || format!("{peer}\n{text}"))
        });
        throughout(&format!("{way}: both keep the route"), Duration::from_millis(500), || {
            met(other.router().route(PODS).is_some(), || "FRR has dropped it".into())?;
            met(helper.route(PODS).is_some(), || helper.peer("n1").to_string())
        });
        agent.start_again();
        is_whole(&agent, &mut other);
    }
    nothing_lost(vec![from_frr]);
    nothing_deleted(&monitors[0], "186");

    // BFD is the first to notice: the agent hangs, and its connections are still there.
    agent.process().signal(Signal::SIGSTOP);
    shown(&helper, "n1", "Restarting");
    let why = helper.peer("n1")["lastReason"].to_string();
    assert!(why.contains("BFD") && why.contains("keeping 1 stale route"), "{why}");
    agent.process().signal(Signal::SIGCONT);
    fresh(&helper, "n1");
    nothing_lost(vec![from_brindle]);
    nothing_deleted(&monitors[1], kernel::PROTOCOL);
}

/// Killed and started again on a link without addresses, with a session that is signed.
#[test]
fn an_unnumbered_session_restarts_without_a_loss() {
    let test = "an_unnumbered_session_restarts_without_a_loss";
    if !skip::can_run(test, &["ip"]) {
        return;
    }
    let (us, them) = next_hops::pair(false);
    let key = tempfile::NamedTempFile::new().expect("a file for a key");
    std::fs::write(key.path(), "the first").expect("it is ours");
    let line = format!(
        "{{name: other, {BY_INTERFACE}, {OPEN}, password: {{file: \"{}\"}}}}",
        key.path().display()
    );
    let config = |asn, addresses| next_hops::config(asn, addresses, &[&line]);
    let mut agent = Agent::start(&us, &config(OUR_AS, OURS));
    let other = Agent::start(&them, &config(THEIR_AS, THEIRS));
    let (ours, theirs) = (next_hops::prefixes(OURS), next_hops::prefixes(THEIRS));
    let is_whole = |agent: &Agent| {
        fresh(agent, "other");
        fresh(&other, "other");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let alone =
                |prefix: &str| prefix.trim_end_matches("/32").trim_end_matches("/128").to_owned();
            let has = |host: &Host, prefix: &str| {
                until(&format!("{} has {prefix}", host.netns.name()), SOON, || {
                    let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
                    let is_it = |route: &kernel::Route| {
                        alone(&route.prefix) == alone(prefix) && !route.gateways.is_empty()
                    };
                    met(routes.iter().any(is_it), || format!("{routes:?}"))
                });
            };
            has(&us, theirs);
            has(&them, ours);
        }
    };
    is_whole(&agent);

    let monitors = [&us, &them].map(|host| Monitor::start(&host.netns));
    let mut streams = Vec::new();
    for (ours, theirs) in OURS.into_iter().zip(THEIRS) {
        let address = |text: &str| text.parse().expect("an address");
        streams.push(Stream::start(&us.netns, &them.netns, address(theirs)));
        streams.push(Stream::start(&them.netns, &us.netns, address(ours)));
    }
    agent.kill();
    shown(&other, "other", "Restarting");
    agent.start_again();
    is_whole(&agent);

    // Another key for who restarts, while its routes are kept.
    agent.kill();
    shown(&other, "other", "Restarting");
    std::fs::write(key.path(), "the second").expect("it is ours");
    other.reload(&config(THEIR_AS, THEIRS));
    agent.start_again();
    is_whole(&agent);
    nothing_lost(streams);
    for monitor in &monitors {
        nothing_deleted(monitor, kernel::PROTOCOL);
    }
}

/// Clients of a reflector announce the address of a Service to a router; one of them leaves.
#[test]
fn a_client_of_a_reflector_leaves_and_its_services_go_on_elsewhere() {
    let test = "a_client_of_a_reflector_leaves_and_its_services_go_on_elsewhere";
    if !Kind::Bird.can_run(test) {
        return;
    }
    let cluster = Cluster::new(3);
    cluster.node(
        3,
        "10.244.3.0/24",
        "  annotations: {projectcalico.org/RouteReflectorClusterID: 244.0.0.3}\n",
    );
    let tor = cluster.router(9);
    let neighbor = |node| Neighbor { keeps: true, ..Neighbor::new(cluster.host(node).v4, 64512) };
    let plan = Plan { asn: 65001, neighbors: vec![neighbor(1), neighbor(2)], originate: vec![] };
    let bird = Bird::start(&tor, plan);
    let (address, _) = drain::SERVICE;
    cluster.manifest_file(
        "bgp.yaml",
        &format!(
            "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {{name: default}}\n\
             spec: {{serviceLoadBalancerIPs: [{{cidr: 192.0.2.0/24}}]}}\n---\n\
             apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {{name: tor}}\n\
             spec: {{peerIP: {}, asNumber: 65001}}\n",
            tor.v4
        ),
    );
    cluster.manifest_file(
        "service.yaml",
        &format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
             spec: {{type: LoadBalancer, clusterIP: 10.96.0.1, externalTrafficPolicy: Local}}\n\
             status: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
             metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\n\
             endpoints: [{{addresses: [10.244.1.9], nodeName: n1, conditions: {{ready: true}}}}, \
             {{addresses: [10.244.2.9], nodeName: n2, conditions: {{ready: true}}}}]\n"
        ),
    );
    let _echoes = [1, 2].map(|node| Echo::start(cluster.host(node)));
    let agents = cluster.agents();
    let service = format!("{address}/32");
    let hops = |nodes: &[u8]| {
        until(&format!("the router has the Service by {nodes:?}"), SOON, || {
            let have = bird.next_hops(&service);
            let want: Vec<std::net::IpAddr> =
                nodes.iter().map(|node| cluster.host(*node).v4.into()).collect();
            met(have == want, || format!("{have:?}"))
        });
    };
    hops(&[1, 2]);
    // The reflector has both, and its clients have each other's pods from it.
    let pods = |node: usize, of: &str| agents[node - 1].learns(of)["from"].clone();
    assert_eq!(pods(2, "10.244.1.0/24"), "n3");
    assert_eq!(pods(1, "10.244.2.0/24"), "n3");
    let of_reflector = || agents[2].learns(&service)["from"].clone();
    let sessions = [1, 2]
        .map(|node: usize| agents[node].up(if node == 1 { "n3" } else { "n2" })["since"].clone());

    let stream = drain::Stream::start(&tor);
    let said = agents[0].run(&["drain", "--wait", "2s"]);
    hops(&[2]);
    until("the reflector knows the other one alone", SOON, || {
        let from = of_reflector();
        met(from == "n2", || from.to_string())
    });
    agents[1].forgets("10.244.1.0/24");
    let lost = stream.end();
    assert!(lost.sent > LEAST, "{lost:?}");
    // BIRD replaces a route by removing it first.
    assert!(lost.unanswered == 0 && lost.unsent <= 2, "{lost:?}: {said:?}");

    agents[0].run(&["undrain"]).expect("it runs");
    hops(&[1, 2]);
    assert_eq!(pods(2, "10.244.1.0/24"), "n3");
    let after = [1, 2]
        .map(|node: usize| agents[node].up(if node == 1 { "n3" } else { "n2" })["since"].clone());
    assert_eq!(after, sessions, "sessions of others are the same all the time");
}
