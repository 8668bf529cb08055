//! Agents that find each other by a folder of manifests.

use std::path::Path;

use integration_tests::agent::{Agent, Config};
use integration_tests::kernel;
use integration_tests::wait::{SOON, met};
use integration_tests::{Host, Lan, skip, until};
use tempfile::TempDir;

fn manifest(host: &Host, number: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: {}\nspec:\n  podCIDRs: \
         [10.244.{number}.0/24, \"fd00:10:244:{number}::/64\"]\nstatus:\n  addresses:\n    \
         - {{type: InternalIP, address: {}}}\n    - {{type: InternalIP, address: \"{}\"}}\n",
        host.netns.name(),
        host.v4,
        host.v6
    )
}

/// Writes as editors and tools do: beside it, then in its place.
fn write(folder: &Path, name: &str, text: &str) {
    let temporary = folder.join(format!(".{name}.tmp"));
    std::fs::write(&temporary, text).expect("the folder is ours");
    std::fs::rename(&temporary, folder.join(name)).expect("the folder is ours");
}

fn prefixes(host: &Host) -> Vec<String> {
    let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
    let learned = routes.into_iter().filter(|route| route.kind == "unicast");
    learned.map(|route| route.prefix).collect()
}

#[track_caller]
fn routes_to(host: &Host, numbers: &[u8]) {
    let mut wanted: Vec<String> = numbers
        .iter()
        .flat_map(|n| [format!("10.244.{n}.0/24"), format!("fd00:10:244:{n}::/64")])
        .collect();
    wanted.sort();
    until(&format!("{} has routes to {numbers:?}", host.netns.name()), SOON, || {
        let have = prefixes(host);
        met(have == wanted, || format!("{have:?}"))
    });
}

/// Peers of an agent whose name begins with that of a node, as it shows them.
fn sessions(agent: &Agent, node: &str) -> Vec<serde_json::Value> {
    let peers = agent.ask(&["peers"]).unwrap_or_default();
    let items = peers["items"].as_array().cloned().unwrap_or_default();
    let is_of =
        |peer: &serde_json::Value| peer["name"].as_str().is_some_and(|name| name.starts_with(node));
    items.into_iter().filter(is_of).collect()
}

#[test]
fn a_node_that_is_added_changed_or_removed_changes_exactly_its_peer() {
    if !skip::can_run("a_node_that_is_added_changed_or_removed_changes_exactly_its_peer", &[]) {
        return;
    }
    let lan = Lan::new();
    let hosts: Vec<Host> = (1..=3).map(|n| lan.host(&format!("n{n}"), n)).collect();
    let folder = TempDir::new().expect("a folder for temporary files can be made");
    let source = format!("source: {{kind: files, path: \"{}\"}}", folder.path().display());
    for (host, number) in hosts.iter().zip(1..) {
        write(folder.path(), &format!("n{number}.yaml"), &manifest(host, number));
    }
    let mut config = Config::new(64512).rest(&source);
    config.mesh = true;
    let agents: Vec<Agent> = hosts.iter().map(|host| Agent::start(host, &config)).collect();
    routes_to(&hosts[0], &[2, 3]);
    routes_to(&hosts[1], &[1, 3]);
    routes_to(&hosts[2], &[1, 2]);
    let before = sessions(&agents[0], "n2");
    assert!(!before.is_empty() && before.iter().all(|peer| peer["state"] == "Established"));

    // One node goes, by its manifest.
    std::fs::remove_file(folder.path().join("n3.yaml")).expect("it is there");
    routes_to(&hosts[0], &[2]);
    until("the peer is gone", SOON, || {
        let left = sessions(&agents[0], "n3");
        met(left.is_empty(), || format!("{left:?}"))
    });

    // It comes back with other pod CIDRs, in one file with a document that is none of ours.
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n---\n{}",
        manifest(&hosts[2], 33)
    );
    write(folder.path(), "n3.yaml", &text);
    routes_to(&hosts[0], &[2, 33]);

    // A file that cannot be read keeps what it said last, and is reported.
    write(folder.path(), "n2.yaml", "kind: Node\nspec: [\n");
    until("the file is reported", SOON, || {
        let status = agents[0].ask(&["status"]).unwrap_or_default();
        let errors = status["source"]["errors"].to_string();
        met(errors.contains("n2.yaml"), || status.to_string())
    });
    write(folder.path(), "unrelated.yaml~", "{{{");
    routes_to(&hosts[0], &[2, 33]);
    write(folder.path(), "n2.yaml", &manifest(&hosts[1], 2));
    until("the report is gone", SOON, || {
        let status = agents[0].ask(&["status"]).unwrap_or_default();
        let errors = &status["source"]["errors"];
        met(errors.as_array().is_none_or(Vec::is_empty), || status.to_string())
    });

    let after = sessions(&agents[0], "n2");
    let since = |peers: &[serde_json::Value]| -> Vec<_> {
        peers.iter().map(|peer| (peer["since"].clone(), peer["flaps"].clone())).collect()
    };
    assert_eq!(since(&before), since(&after), "the session with n2 was not what this was about");
}

#[test]
fn a_node_that_announces_what_it_does_not_own_is_not_believed() {
    if !skip::can_run("a_node_that_announces_what_it_does_not_own_is_not_believed", &[]) {
        return;
    }
    let lan = Lan::new();
    let hosts: Vec<Host> = (1..=2).map(|n| lan.host(&format!("n{n}"), n)).collect();
    let folder = TempDir::new().expect("a folder for temporary files can be made");
    let source = format!("source: {{kind: files, path: \"{}\"}}", folder.path().display());
    for (host, number) in hosts.iter().zip(1..) {
        write(folder.path(), &format!("n{number}.yaml"), &manifest(host, number));
    }
    let mut config = Config::new(64512).rest(&source);
    config.mesh = true;
    let honest = Agent::start(&hosts[0], &config);
    let _thief = Agent::start(&hosts[1], &config.networks(&["10.244.7.0/24"]));
    routes_to(&hosts[0], &[2]);
    until("the refusal is shown", SOON, || {
        let rejected = honest.ask(&["routes", "rejected"]).unwrap_or_default();
        let items = rejected["items"].as_array().cloned().unwrap_or_default();
        met(items.iter().any(|one| one["prefix"] == "10.244.7.0/24"), || rejected.to_string())
    });
    routes_to(&hosts[0], &[2]);
}

#[test]
fn the_unreachable_route_for_our_own_pods_is_worse_than_any_other() {
    if !skip::can_run("the_unreachable_route_for_our_own_pods_is_worse_than_any_other", &[]) {
        return;
    }
    let lan = Lan::new();
    let host = lan.host("n1", 1);
    let folder = TempDir::new().expect("a folder for temporary files can be made");
    write(folder.path(), "n1.yaml", &manifest(&host, 1));
    let source = format!("source: {{kind: files, path: \"{}\"}}", folder.path().display());
    let mut config = Config::new(64512).rest(&source);
    config.mesh = true;
    let _agent = Agent::start(&host, &config);
    until("both are there", SOON, || {
        let routes = kernel::routes(&host.netns, kernel::PROTOCOL);
        let is_there = |prefix: &str| {
            routes.iter().any(|route| {
                route.prefix == prefix
                    && (route.kind == "unreachable" || route.kind == "blackhole")
                    && route.metric > 4096
            })
        };
        let both = is_there("10.244.1.0/24") && is_there("fd00:10:244:1::/64");
        met(both, || format!("{routes:?}"))
    });
}
