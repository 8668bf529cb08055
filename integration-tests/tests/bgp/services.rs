//! Addresses of Services from a folder of manifests, as a router hears of them.

use integration_tests::agent::Agent;
use integration_tests::bird::Bird;
use integration_tests::router::{Kind, Neighbor, Plan, Router};
use integration_tests::wait::{SOON, met};
use integration_tests::{kernel, until};

use super::node_objects::Cluster;

/// Blocks and communities, and a session of each node with the router.
fn bgp(router: &str) -> String {
    let object = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\n\
             spec: {spec}\n"
        )
    };
    let configuration = "{serviceClusterIPs: [{cidr: 10.96.0.0/16}], serviceLoadBalancerIPs: \
                         [{cidr: 192.0.2.0/24}], communities: [{name: lb, value: '65001:7'}], \
                         prefixAdvertisements: [{cidr: 192.0.2.0/24, communities: [lb, \
                         '64512:1:2']}]}";
    object("BGPConfiguration", "default", configuration)
        + &object("BGPPeer", "tor", &format!("{{peerIP: {router}, asNumber: 65001}}"))
}

/// A Service that wants its packets where its endpoints are, and one that does not mind.
fn services() -> String {
    let service = |name: &str, octet: u8, policy: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{type: LoadBalancer, clusterIP: 10.96.0.{octet}, externalTrafficPolicy: \
             {policy}}}\nstatus: {{loadBalancer: {{ingress: [{{ip: 192.0.2.{octet}}}]}}}}\n"
        )
    };
    service("web", 10, "Local") + &service("api", 20, "Cluster")
}

/// The endpoints of `web`, by the node of each and whether it is ready.
fn endpoints(of: &[(&str, bool)]) -> String {
    let endpoint = |(node, ready): &(&str, bool)| {
        format!("{{addresses: [10.244.9.9], nodeName: {node}, conditions: {{ready: {ready}}}}}")
    };
    let endpoints: Vec<String> = of.iter().map(endpoint).collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: \
         web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

const BLOCKS: [&str; 2] = ["10.96.0.0/16", "192.0.2.0/24"];
const HOSTS: [&str; 2] = ["10.96.0.10/32", "192.0.2.10/32"];

/// What the router has heard from a node of Services.
fn heard(bird: &Bird, cluster: &Cluster, node: u8) -> Vec<String> {
    let address = cluster.host(node).v4.to_string().replace('.', "_");
    let text = bird.ctl(&format!("show route protocol bgp_{address}")).unwrap_or_default();
    let prefixes = text.lines().filter_map(|line| line.split_whitespace().next());
    let of_services = prefixes
        .filter(|prefix| ["10.96.", "192.0.2."].iter().any(|start| prefix.starts_with(start)));
    let mut all: Vec<String> = of_services.map(str::to_owned).collect();
    all.sort();
    all
}

#[track_caller]
fn hears(bird: &Bird, cluster: &Cluster, what: &str, wanted: [&[&[&str]]; 2]) {
    let mut wanted = wanted.map(<[&[&str]]>::concat);
    wanted.iter_mut().for_each(|list| list.sort_unstable());
    until(what, SOON, || {
        let have = [1, 2].map(|node| heard(bird, cluster, node));
        met(have == wanted, || format!("{have:?} in place of {wanted:?}"))
    });
}

#[test]
fn a_router_hears_of_blocks_from_all_nodes_and_of_local_addresses_where_something_is_ready() {
    let test =
        "a_router_hears_of_blocks_from_all_nodes_and_of_local_addresses_where_something_is_ready";
    if !Kind::Bird.can_run(test) {
        return;
    }
    let cluster = Cluster::new(2);
    let tor = cluster.router(9);
    let neighbor = |node| Neighbor { keeps: true, ..Neighbor::new(cluster.host(node).v4, 64512) };
    let plan = Plan { asn: 65001, neighbors: vec![neighbor(1), neighbor(2)], originate: vec![] };
    let bird = Bird::start(&tor, plan);
    cluster.manifest_file("bgp.yaml", &bgp(&tor.v4.to_string()));
    cluster.manifest_file("services.yaml", &services());
    cluster.manifest_file("endpoints.yaml", &endpoints(&[("n1", true), ("n2", false)]));
    let mut agents: Vec<Agent> = cluster.agents();

    hears(&bird, &cluster, "ready on n1", [&[&BLOCKS, &HOSTS], &[&BLOCKS]]);
    let seen = bird.route("192.0.2.10/32").expect("it was heard");
    assert_eq!(
        (seen.communities, seen.large_communities),
        (own(&["65001:7"]), own(&["64512:1:2"]))
    );
    assert_eq!(bird.route("10.96.0.10/32").expect("heard").communities, own(&[]));
    // The other node believes it, and has its own block before that of others.
    let path = agents[1].learns("192.0.2.10/32");
    assert_eq!(path["from"], "n1", "{path}");
    let shown = agents[0].route("192.0.2.10/32").expect("its own");
    assert_eq!(shown["reason"], "load balancer IP of Service shop/web", "{shown}");
    let shown = agents[1].route("192.0.2.0/24").expect("its own");
    assert_eq!(shown["reason"], "load balancer IPs of Services", "{shown}");
    assert_eq!(shown.get("from"), None, "{shown}");
    let status = agents[0].ask(&["status"]).expect("it answers");
    assert_eq!(status["routes"][0]["originated"], 5, "{}", status["routes"]);
    // What kube-proxy answers to gets no route that would be in its way.
    let held = kernel::routes(&cluster.host(1).netns, kernel::PROTOCOL);
    let in_the_way = held.iter().filter(|route| route.prefix.starts_with("192.0.2."));
    assert_eq!(in_the_way.count(), 0, "{held:?}");
    // What it does not answer to goes no farther.
    let guarded = |node: u8| {
        let netns = &cluster.host(node).netns;
        let rules = netns.ip("rule show pref 32098").expect("it can be read");
        // Without routes there is no table.
        let routes = netns.ip("route show table 9898").unwrap_or_default();
        let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        (!rules.is_empty(), routes.lines().map(words).collect::<Vec<_>>())
    };
    let blocks = (true, BLOCKS.map(|block| format!("unreachable {block}")).to_vec());
    // That of the other node is a route; its packets go there.
    let mut but_those = (true, blocks.1.clone());
    but_those.1.extend(HOSTS.map(|host| format!("throw {}", host.trim_end_matches("/32"))));
    but_those.1.sort_by_key(|line| line.split_once(' ').map(|(_, prefix)| prefix.to_owned()));
    until("both are guarded", SOON, || {
        let have = (guarded(1), guarded(2));
        met(have == (blocks.clone(), but_those.clone()), || format!("{have:?}"))
    });
    let status = agents[0].ask(&["status"]).expect("it answers");
    assert_eq!(status["kernel"]["guarded"], 2, "{}", status["kernel"]);
    let since = [0, 1].map(|node: usize| agents[node].up("tor")["since"].clone());

    cluster.manifest_file("endpoints.yaml", &endpoints(&[("n1", false), ("n2", true)]));
    hears(&bird, &cluster, "ready on n2", [&[&BLOCKS], &[&BLOCKS, &HOSTS]]);
    assert_eq!(agents[0].learns("192.0.2.10/32")["from"], "n2");

    // Load balancers are kept from n2, which is led to no packets any more.
    let label = "  labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}\n";
    cluster.node(2, "10.244.2.0/24", label);
    hears(&bird, &cluster, "n2 is excluded", [&[&BLOCKS], &[]]);
    until("nothing is left of its guard", SOON, || {
        let have = guarded(2);
        met(have == (false, vec![]), || format!("{have:?}"))
    });
    cluster.node(2, "10.244.2.0/24", "");
    hears(&bird, &cluster, "n2 is back", [&[&BLOCKS], &[&BLOCKS, &HOSTS]]);

    // Nothing goes while an agent starts again.
    until("n2 guards again", SOON, || met(guarded(2) == blocks, || format!("{:?}", guarded(2))));
    agents[1].kill();
    assert_eq!(guarded(2), blocks, "it stays while nobody is there");
    agents[1].start_again();
    until("n2 has a session again", SOON, || {
        let (have, peer) = (heard(&bird, &cluster, 2), agents[1].peer("tor"));
        assert_eq!(have.len(), 4, "{have:?}");
        met(peer["state"] == "Established", || peer.to_string())
    });
    hears(&bird, &cluster, "all is told again", [&[&BLOCKS], &[&BLOCKS, &HOSTS]]);
    assert_eq!(agents[0].up("tor")["since"], since[0], "one session all the time");

    cluster.manifest_file("services.yaml", "");
    hears(&bird, &cluster, "no Services", [&[&BLOCKS], &[&BLOCKS]]);
    let none = bgp(&tor.v4.to_string()).replace("serviceLoadBalancerIPs", "serviceExternalIPs");
    cluster.manifest_file("bgp.yaml", &none.replace("192.0.2.0/24", "192.0.2.128/25"));
    let changed = ["10.96.0.0/16", "192.0.2.128/25"];
    hears(&bird, &cluster, "other blocks", [&[&changed], &[&changed]]);
    agents[0].run(&["drain", "--wait", "0s"]).expect("it drains");
    hears(&bird, &cluster, "n1 is drained", [&[], &[&changed]]);
    assert!(!agents[1].up("tor")["since"].is_null());
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
