//! What Node objects mean for routes: who owns a range, who is believed, what stays when an
//! agent is gone, and changes of all of it in running agents.

use std::path::Path;
use std::time::Duration;

use integration_tests::agent::{Agent, Config};
use integration_tests::kernel::{self, Monitor};
use integration_tests::process::Process;
use integration_tests::wait::{SOON, met, throughout};
use integration_tests::{Host, Lan, skip, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Hosts on one link with the folder of manifests that all their agents read.
pub(super) struct Cluster {
    hosts: Vec<Host>,
    folder: TempDir,
    lan: Lan,
}

impl Cluster {
    /// Of `count` nodes n1, n2, ..., each with 10.244.N.0/24.
    pub(super) fn new(count: u8) -> Self {
        let lan = Lan::new();
        let hosts = (1..=count).map(|n| lan.host(&format!("n{n}"), n)).collect();
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        let cluster = Self { hosts, folder, lan };
        for number in 1..=count {
            cluster.node(number, &format!("10.244.{number}.0/24"), "");
        }
        cluster
    }

    pub(super) fn host(&self, number: u8) -> &Host {
        &self.hosts[usize::from(number) - 1]
    }

    /// The Node of a host; `more` goes into its metadata.
    fn manifest(&self, number: u8, range: &str, more: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: n{number}\n{more}spec:\n  podCIDRs: \
             [{range}]\nstatus:\n  addresses:\n    - {{type: InternalIP, address: {}}}\n",
            self.host(number).v4
        )
    }

    /// Writes the Node of a host, in place of the one before.
    pub(super) fn node(&self, number: u8, range: &str, more: &str) {
        write(self.folder.path(), number, &self.manifest(number, range, more));
    }

    /// A host beside the nodes.
    pub(super) fn router(&self, number: u8) -> Host {
        self.lan.host(&format!("r{number}"), number)
    }

    /// Writes a manifest beside those of the nodes, in place of the one before.
    pub(super) fn manifest_file(&self, name: &str, text: &str) {
        let temporary = self.folder.path().join(format!(".{name}.tmp"));
        std::fs::write(&temporary, text).expect("the folder is ours");
        std::fs::rename(&temporary, self.folder.path().join(name)).expect("ours");
    }

    fn remove(&self, number: u8) {
        self.remove_file(&format!("n{number}.yaml"));
    }

    /// Removes a manifest.
    pub(super) fn remove_file(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).expect("it is there");
    }

    pub(super) fn config(&self) -> Config {
        let source = format!("source: {{kind: files, path: \"{}\"}}", self.folder.path().display());
        let mut config = Config::new(64512).rest(&source);
        config.mesh = true;
        config
    }

    fn agent(&self, number: u8) -> Agent {
        Agent::start(self.host(number), &self.config())
    }

    pub(super) fn agents(&self) -> Vec<Agent> {
        (1..=u8::try_from(self.hosts.len()).expect("few")).map(|n| self.agent(n)).collect()
    }

    /// What the agent of a host has learned and installed.
    fn learned(&self, number: u8) -> Vec<String> {
        let routes = kernel::routes(&self.host(number).netns, kernel::PROTOCOL);
        routes.into_iter().filter(|route| route.kind == "unicast").map(|one| one.prefix).collect()
    }

    #[track_caller]
    pub(super) fn has_routes(&self, number: u8, wanted: &[&str]) {
        until(&format!("n{number} has routes to {wanted:?}"), SOON, || {
            let have = self.learned(number);
            met(have == wanted, || format!("{have:?}"))
        });
    }
}

/// Writes as editors and tools do: beside it, then in its place.
fn write(folder: &Path, number: u8, text: &str) {
    let temporary = folder.join(format!(".n{number}.tmp"));
    std::fs::write(&temporary, text).expect("the folder is ours");
    std::fs::rename(&temporary, folder.join(format!("n{number}.yaml"))).expect("ours");
}

/// What `brindle peers` shows of all peers.
pub(super) fn peers(agent: &Agent) -> Vec<Value> {
    let peers = agent.ask(&["peers"]).unwrap_or_default();
    peers["items"].as_array().cloned().unwrap_or_default()
}

fn stale(agent: &Agent, peer: &str) -> u64 {
    let peer = agent.peer(peer);
    let families = peer["families"].as_array().cloned().unwrap_or_default();
    families.iter().filter_map(|family| family["stale"].as_u64()).sum()
}

/// Pings an address from a host as fast as it may until it is stopped.
pub(super) struct Traffic {
    ping: Process,
    _folder: TempDir,
}

impl Traffic {
    pub(super) fn start(host: &Host, to: &str) -> Self {
        Self::every(host, to, "0.005")
    }

    /// One packet each so many seconds.
    pub(super) fn every(host: &Host, to: &str, seconds: &str) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        let args = ["-n", "-q", "-i", seconds, to];
        let ping = Process::start(&host.netns, "ping", folder.path(), "ping", args);
        Self { ping: ping.expect("ping can be started"), _folder: folder }
    }

    /// Packets sent and answered.
    pub(super) fn stop(mut self) -> (u32, u32) {
        self.ping.running().expect("traffic ran all the time");
        self.ping.signal(Signal::SIGINT);
        self.ping.wait(SOON);
        let output = self.ping.output();
        let line = output.lines().find(|line| line.contains(" transmitted")).expect("statistics");
        let count = |word: &str| {
            let before = line.split(word).next().unwrap_or_default();
            let number = before.split([' ', ',']).rfind(|word| !word.is_empty());
            number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        (count(" packets transmitted"), count(" received"))
    }
}

#[test]
fn routes_of_a_dead_agent_stay_while_its_node_object_stands() {
    if !skip::can_run("routes_of_a_dead_agent_stay_while_its_node_object_stands", &["ping"]) {
        return;
    }
    let cluster = Cluster::new(3);
    let mut agents = cluster.agents();
    cluster.has_routes(1, &["10.244.2.0/24", "10.244.3.0/24"]);
    cluster.host(2).netns.add_address("lo", "10.244.2.1/32").expect("a stand-in for a pod");
    until("the pod answers", SOON, || {
        let ping = cluster.host(1).netns.run("ping", &["-c", "1", "-W", "1", "10.244.2.1"]);
        ping.map(drop).map_err(|error| format!("{error:#}"))
    });

    let monitor = Monitor::start(&cluster.host(1).netns);
    let traffic = Traffic::start(cluster.host(1), "10.244.2.1");
    agents[1].kill();
    until("the session is down and the route kept", SOON, || {
        let peer = agents[0].peer("n2");
        met(peer["state"] != "Established" && stale(&agents[0], "n2") == 1, || peer.to_string())
    });
    let reason = agents[0].peer("n2")["lastReason"].to_string();
    assert!(reason.contains("keeping 1 stale route"), "{reason}");
    assert_eq!(agents[0].learns("10.244.2.0/24")["stale"], true);
    let text = agents[0].run(&["peers"]).expect("it answers");
    let line = text.lines().find(|line| line.starts_with("n2 ")).expect("a row");
    assert!(line.contains(" 1* "), "{text}");
    let text = agents[0].run(&["routes"]).expect("it answers");
    assert!(
        text.contains("best (stale)") && text.contains("kept while its peer restarts"),
        "{text}"
    );
    throughout("it stays", Duration::from_secs(2), || {
        met(stale(&agents[0], "n2") == 1, || agents[0].peer("n2").to_string())
    });

    // The agent comes back and says the same; then it withdraws, which counts as always.
    agents[1].start_again();
    until("nothing is stale any more", SOON, || {
        let peer = agents[0].peer("n2");
        met(peer["state"] == "Established" && stale(&agents[0], "n2") == 0, || peer.to_string())
    });
    let (sent, answered) = traffic.stop();
    // One may have been on its way when it was stopped.
    assert!(sent > 100 && answered + 1 >= sent, "{answered} of {sent} packets");
    assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new());

    // We start again while it is dead, and believe what we find (and not what nobody claims).
    agents[1].kill();
    agents[0].kill();
    let netns = &cluster.host(1).netns;
    for route in ["10.244.9.0/24 via 10.9.0.2", "10.244.8.0/24 via 10.9.0.3"] {
        netns.ip(&format!("route add {route} proto 98 metric 512")).expect("any route");
    }
    agents[0].start_again_with(&cluster.config().rest("routes: {startupHold: 2s}"));
    until("leftovers are dealt with", SOON, || {
        let status = agents[0].ask(&["status"]).unwrap_or_default();
        met(status["kernel"]["ready"] == true && status["kernel"]["stale"] == 0, || {
            status.to_string()
        })
    });
    cluster.has_routes(1, &["10.244.2.0/24", "10.244.3.0/24"]);
    assert_eq!(stale(&agents[0], "n2"), 1, "{}", agents[0].peer("n2"));
    let removed = monitor.changes(kernel::PROTOCOL);
    assert!(removed.iter().all(|line| !line.contains("10.244.2.0/24")), "{removed:?}");

    // It goes at once with the Node, and with the range.
    cluster.node(2, "10.244.22.0/24", "");
    cluster.has_routes(1, &["10.244.3.0/24"]);
    agents[2].kill();
    until("n3 is kept as well", SOON, || {
        met(stale(&agents[0], "n3") == 1, || agents[0].peer("n3").to_string())
    });
    cluster.remove(3);
    cluster.has_routes(1, &[]);
}

#[test]
fn with_bgp_only_routes_go_with_their_session() {
    if !skip::can_run("with_bgp_only_routes_go_with_their_session", &[]) {
        return;
    }
    let cluster = Cluster::new(3);
    // Graceful restart would keep them for a while, whatever the mesh does.
    let config = cluster.config().bgp("gracefulRestart: {enabled: false}");
    let mut agents = [1, 2, 3].map(|number| Agent::start(cluster.host(number), &config));
    cluster.has_routes(1, &["10.244.2.0/24", "10.244.3.0/24"]);
    agents[1].kill();
    until("kept at first", SOON, || {
        met(stale(&agents[0], "n2") == 1, || agents[0].peer("n2").to_string())
    });
    agents[0].reload(&Config { retain: "bgp-only", ..config });
    cluster.has_routes(1, &["10.244.3.0/24"]);
    agents[0].up("n3");
    agents[2].kill();
    cluster.has_routes(1, &[]);
}

#[test]
fn of_two_nodes_that_claim_one_range_the_first_has_it() {
    if !skip::can_run("of_two_nodes_that_claim_one_range_the_first_has_it", &[]) {
        return;
    }
    let cluster = Cluster::new(3);
    let created = |second: u8| format!("  creationTimestamp: '2026-01-01T00:00:0{second}Z'\n");
    cluster.node(2, "10.244.2.0/24", &created(1));
    cluster.node(3, "10.244.2.128/25, \"fd00:3::/64\"", &created(2));
    let agents = cluster.agents();
    cluster.has_routes(1, &["10.244.2.0/24", "fd00:3::/64"]);
    cluster.has_routes(3, &["10.244.1.0/24", "10.244.2.0/24"]);
    let sentence = "10.244.2.128/25 of Node/n3 overlaps 10.244.2.0/24 of Node/n2";
    for agent in &agents {
        let status = agent.ask(&["status"]).unwrap_or_default();
        assert!(status["problems"].to_string().contains(sentence), "{status}");
    }
    let reason = agents[0].peer("n3")["lastReason"].to_string();
    assert!(reason.contains(sentence), "{reason}");
    let told = agents[2].ask(&["routes", "out", "n1"]).unwrap_or_default();
    assert!(!told.to_string().contains("10.244.2.128/25"), "we do not claim it: {told}");

    // Somebody who says it all the same is not believed.
    agents[2].reload(&cluster.config().networks(&["10.244.2.128/25", "0.0.0.0/0", "10.9.0.2/32"]));
    until("the refusals are named", SOON, || {
        let rejected = agents[0].ask(&["routes", "rejected"]).unwrap_or_default();
        let items = rejected["items"].as_array().cloned().unwrap_or_default();
        let is_named = |prefix: &str, owner: Option<&str>, words: &str| {
            items.iter().any(|one| {
                one["prefix"] == prefix
                    && one["owner"].as_str() == owner
                    && one["reason"].as_str().is_some_and(|reason| reason.starts_with(words))
            })
        };
        let all = is_named("10.244.2.128/25", Some("Node/n2"), "belongs to Node/n2; n3 owns fd00")
            && is_named("0.0.0.0/0", None, "belongs to no node and covers ranges of Node/n1")
            && is_named("10.9.0.2/32", Some("Node/n2"), "is an address of Node/n2");
        met(all, || rejected.to_string())
    });
    assert_eq!(cluster.learned(1), ["10.244.2.0/24", "fd00:3::/64"]);

    // The first goes: the second is taken at once.
    agents[2].reload(&cluster.config());
    cluster.remove(2);
    cluster.has_routes(1, &["10.244.2.128/25", "fd00:3::/64"]);
}

#[test]
fn a_node_that_comes_back_with_another_range_loses_the_old_one_first() {
    if !skip::can_run("a_node_that_comes_back_with_another_range_loses_the_old_one_first", &[]) {
        return;
    }
    let cluster = Cluster::new(2);
    cluster.node(2, "10.244.22.0/24", "");
    let agents = cluster.agents();
    cluster.has_routes(1, &["10.244.22.0/24"]);
    let up = agents[0].up("n2");
    let monitor = |number: u8| Monitor::start(&cluster.host(number).netns);
    let (other, own) = (monitor(1), monitor(2));
    // The new range stands before the old one in every order of prefixes.
    cluster.node(2, "10.244.2.0/24", "");
    cluster.has_routes(1, &["10.244.2.0/24"]);
    until("its own unreachable route follows", SOON, || {
        let routes = kernel::routes(&cluster.host(2).netns, kernel::PROTOCOL);
        let local: Vec<_> = routes.iter().filter(|route| route.kind != "unicast").collect();
        let is_new = local.len() == 1 && local[0].prefix == "10.244.2.0/24";
        met(is_new, || format!("{local:?}"))
    });
    for monitor in [&other, &own] {
        let changes = monitor.changes(kernel::PROTOCOL);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes[0].contains("Deleted") && changes[0].contains("10.244.22."), "{changes:?}");
        assert!(changes[1].contains("10.244.2."), "{changes:?}");
    }
    assert_eq!(agents[0].up("n2")["since"], up["since"], "the session is another matter");
}

#[test]
fn where_nodes_reflect_the_others_have_sessions_with_these_only() {
    if !skip::can_run("where_nodes_reflect_the_others_have_sessions_with_these_only", &[]) {
        return;
    }
    let cluster = Cluster::new(4);
    let agents = cluster.agents();
    let everybody = |sessions: [usize; 4]| {
        for number in 1..=4 {
            let others: Vec<String> =
                (1..=4).filter(|n| *n != number).map(|n| format!("10.244.{n}.0/24")).collect();
            cluster.has_routes(number, &others.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for (agent, sessions) in agents.iter().zip(sessions) {
            until("as many sessions, all up", SOON, || {
                let peers = peers(agent);
                let up = peers.iter().filter(|peer| peer["state"] == "Established").count();
                met(up == sessions && peers.len() == sessions, || format!("{peers:?}"))
            });
        }
    };
    everybody([3, 3, 3, 3]);
    let reflector =
        "  annotations: {brindle.dev/route-reflector-cluster-id: 10.9.0.100}\n".to_owned();
    for number in [3, 4] {
        cluster.node(number, &format!("10.244.{number}.0/24"), &reflector);
    }
    everybody([2, 2, 3, 3]);
    let status = agents[3].ask(&["status"]).unwrap_or_default();
    assert_eq!(status["bgp"]["routeReflector"], "10.9.0.100", "{status}");
    let path = agents[0].learns("10.244.2.0/24");
    assert_eq!(path["nextHop"], "10.9.0.2", "{path}");

    // What a node does not own is not believed by way of a reflector either.
    agents[1].reload(&cluster.config().networks(&["10.244.1.128/25"]));
    until("the reflectors refuse it", SOON, || {
        let rejected = agents[3].ask(&["routes", "rejected"]).unwrap_or_default();
        met(rejected.to_string().contains("10.244.1.128/25"), || rejected.to_string())
    });
    everybody([2, 2, 3, 3]);

    // And back to a mesh.
    for number in [3, 4] {
        cluster.node(number, &format!("10.244.{number}.0/24"), "");
    }
    everybody([3, 3, 3, 3]);
}

#[test]
fn a_node_may_get_its_range_later_and_another_address_while_it_runs() {
    if !skip::can_run("a_node_may_get_its_range_later_and_another_address_while_it_runs", &[]) {
        return;
    }
    let cluster = Cluster::new(2);
    cluster.node(1, "", "");
    let config = Config { by_node: true, ..cluster.config() };
    let agents = [1, 2].map(|number| Agent::start(cluster.host(number), &config));
    cluster.has_routes(1, &["10.244.2.0/24"]);
    cluster.has_routes(2, &[]);
    let up = agents[1].up("n1");
    cluster.node(1, "10.244.1.0/24", "");
    cluster.has_routes(2, &["10.244.1.0/24"]);
    assert_eq!(agents[1].up("n1")["since"], up["since"], "a range needs no new session");

    let monitor = Monitor::start(&cluster.host(1).netns);
    cluster.host(1).netns.add_address("eth0", "10.9.0.101/24").expect("a free address");
    let text = cluster.manifest(1, "10.244.1.0/24", "").replace("10.9.0.1}", "10.9.0.101}");
    write(cluster.folder.path(), 1, &text);
    until("n2 routes by the new address", SOON, || {
        let routes = kernel::routes(&cluster.host(2).netns, kernel::PROTOCOL);
        let is_new = routes.iter().any(|route| route.gateways == ["10.9.0.101"]);
        met(is_new, || format!("{routes:?}; {}", agents[1].peer("n1")))
    });
    let status = agents[0].ask(&["status"]).unwrap_or_default();
    assert_eq!(status["bgp"]["routerID"], "10.9.0.101", "{status}");
    agents[0].up("n2");
    until("nothing is left over", SOON, || {
        let status = agents[0].ask(&["status"]).unwrap_or_default();
        met(status["kernel"]["stale"] == 0, || status.to_string())
    });
    cluster.has_routes(1, &["10.244.2.0/24"]);
    assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new(), "on the node itself");
}

#[test]
fn the_as_number_of_a_node_changes_while_it_runs_and_its_routes_stay() {
    if !skip::can_run("the_as_number_of_a_node_changes_while_it_runs_and_its_routes_stay", &[]) {
        return;
    }
    let cluster = Cluster::new(3);
    let agents = cluster.agents();
    for number in 1..=3 {
        let others: Vec<String> =
            (1..=3).filter(|n| *n != number).map(|n| format!("10.244.{n}.0/24")).collect();
        cluster.has_routes(number, &others.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let monitor = Monitor::start(&cluster.host(1).netns);
    cluster.node(1, "10.244.1.0/24", "  annotations: {brindle.dev/as-number: '65001'}\n");
    for (agent, peer, number) in [(&agents[1], "n1", 65001), (&agents[0], "n2", 64512)] {
        until("the session is up in the new AS", SOON, || {
            let seen = agent.peer(peer);
            met(seen["state"] == "Established" && seen["asNumber"] == number, || seen.to_string())
        });
    }
    let status = agents[0].ask(&["status"]).unwrap_or_default();
    assert_eq!(status["bgp"]["asNumber"], 65001, "{status}");
    assert_eq!(status["bgp"]["asNumberReason"], "brindle.dev/as-number", "{status}");
    cluster.has_routes(2, &["10.244.1.0/24", "10.244.3.0/24"]);
    assert_eq!(agents[1].learns("10.244.1.0/24")["attributes"]["asPath"], "65001");
    until("nothing is left over", SOON, || {
        let status = agents[0].ask(&["status"]).unwrap_or_default();
        met(status["kernel"]["stale"] == 0, || status.to_string())
    });
    cluster.has_routes(1, &["10.244.2.0/24", "10.244.3.0/24"]);
    assert_eq!(monitor.changes(kernel::PROTOCOL), Vec::<String>::new(), "on the node itself");
}
