//! The API server goes away, or an agent dies: what is in the kernel stays, and works.

use std::time::Duration;

use integration_tests::TestLab;
use integration_tests::wait::{SOON, met, throughout, until};

use super::OPEN_AND_CLOSED;
use super::stream::Streams;

/// For how long nobody may touch anything.
const AWAY: Duration = Duration::from_secs(4);

/// Everything of ours in the kernels of all nodes, without counters: rules, sets, routes.
fn kernels(lab: &TestLab) -> Vec<String> {
    let mut lines = Vec::new();
    for node in &lab.plan().nodes {
        for words in [
            &["iptables-nft-save"][..],
            &["ip6tables-nft-save"],
            &["ipset", "save"],
            &["ip", "-4", "route", "show"],
            &["ip", "-6", "route", "show"],
            &["ip", "-4", "route", "show", "table", "local"],
        ] {
            let text = lab.exec(&node.name, words);
            let mut own: Vec<String> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                // chains end with counters, and sets are in no order
                .map(|line| line.split(" [").next().unwrap_or(line).to_owned())
                .collect();
            own.sort();
            lines.extend(own.iter().map(|line| format!("{}: {line}", node.name)));
        }
    }
    lines
}

/// The API server is killed: nothing changes. It comes back: what changes then is heard.
pub(crate) fn the_api_server_is_away(lab: &TestLab) {
    let before = kernels(lab);
    lab.good(&["fault", "kill", "api"]);
    throughout("nothing changes without the API server", AWAY, || {
        let now = kernels(lab);
        let differs = before.iter().filter(|line| !now.contains(line));
        let new = now.iter().filter(|line| !before.contains(line));
        met(before == now, || format!("{:?}", differs.chain(new).collect::<Vec<_>>()))
    });
    lab.expect("without an API server", OPEN_AND_CLOSED);
    lab.good(&["fault", "start", "api"]);
    until("the API server is back", SOON, || {
        let answer = lab.run(&["kubectl", "get", "--raw", "/readyz"]);
        met(answer.status.success(), || String::from_utf8_lossy(&answer.stderr).into_owned())
    });
    assert_eq!(kernels(lab), before, "it has only come back");
    lab.apply(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec:
  podSelector: {matchLabels: {app: closed}}
  ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: late, labels: {app: late}}
spec: {nodeName: n1, containers: [{name: main, image: none}]}
",
    );
    lab.expect(
        "what was changed after its return",
        "a -> closed:80 OK
         b -> closed:80 TIMEOUT
         late -> closed:80 TIMEOUT
         late -> b:80 OK",
    );
    lab.delete("pod", "late");
    lab.label("pod", "a", &["app=x"]);
    lab.expect("and a label", "a -> closed:80 TIMEOUT");
    lab.label("pod", "a", &["app=a"]);
    lab.expect("and back", "a -> closed:80 OK");
    lab.apply(super::OBJECTS);
    lab.expect("as it was", OPEN_AND_CLOSED);
}

/// The agents of both ends are killed and started again, one after the other, under a stream of
/// datagrams and new connections: none is lost, and none gets where it may not.
pub(crate) fn an_agent_is_killed_under_traffic(lab: &TestLab) {
    let streams = Streams::start(lab, "a", "b", "closed");
    for node in ["n1", "n2"] {
        lab.good(&["fault", "kill", node]);
        streams.go_on(Duration::from_millis(500));
        lab.good(&["fault", "start", node]);
        until("the agent is back", SOON, || {
            let status = lab.run(&["exec", node, "--", "brindle", "status"]);
            met(status.status.success(), || String::from_utf8_lossy(&status.stdout).into_owned())
        });
        streams.go_on(Duration::from_secs(1));
    }
    let seen = streams.end();
    assert!(seen.sent > 1000 && seen.connections > 100, "there was no traffic: {seen:?}");
    assert_eq!(seen.sent, seen.arrived, "datagrams were lost: {seen:?}");
    assert_eq!(seen.failed, Vec::<String>::new(), "connections failed: {seen:?}");
    assert_eq!(seen.retried, 0, "packets of new connections were lost: {seen:?}");
    assert_eq!(seen.trespassed, 0, "datagrams got where they may not: {seen:?}");
}
