//! Policies on a node itself (policy-semantics 5), against a real kernel and real packets: its
//! processes, a host outside, and a pod behind it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use brindle::enforce::{BackendChoice, EnforceSettings, Flow, FlowOutcome};
use brindle_policy::{Change, Direction, PolicyId, ingest};
use integration_tests::Netns;
use integration_tests::wait::SOON;

use crate::support::{
    Outcome, PORT, Task, TestNode, TestPod, applied, is_alive, listen, namespace, node, on_both,
    pod, settings, v4,
};

/// The node's address, and that of the host outside.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
/// A port of processes that nobody needs.
const OTHER: u16 = 8080;
/// A port of the node that leads to the pod.
const NODE_PORT: u16 = 30_080;
/// Long enough for a packet to arrive if it does: there is no wire between.
const NEVER: Duration = Duration::from_millis(500);

/// The node with its processes, and who talks to it.
struct Lab {
    node: TestNode,
    outside: Arc<Netns>,
    pod: TestPod,
    _listeners: Vec<std::thread::JoinHandle<()>>,
}

impl Lab {
    fn new() -> Self {
        let node = TestNode::new();
        let outside = Netns::new("outside").expect("can_run was asked");
        node.netns.cable("eth0", &outside, "eth0").expect("the name is free");
        node.netns.ip(&format!("address add {NODE}/24 dev eth0")).expect("it is new");
        outside.ip(&format!("address add {OUTSIDE}/24 dev eth0")).expect("it is new");
        outside.ip(&format!("route add 10.244.1.0/24 via {NODE}")).expect("it is new");
        let pod = node.pod("web", 10);
        let any = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let here = [22, 179, OTHER].map(|port| listen(&node.netns, any(port)));
        let there = [6443, OTHER].map(|port| listen(&outside, any(port)));
        let listeners = here.into_iter().chain(there).collect();
        Self { node, outside, pod, _listeners: listeners }
    }

    fn start(&self, backend: BackendChoice) -> Task<'_> {
        self.start_with(settings(backend))
    }

    fn start_with(&self, settings: EnforceSettings) -> Task<'_> {
        let task = self.node.start(settings);
        let pod = applied(pod("web", 10, "web"));
        task.apply(vec![namespace(), node(), pod, Change::InSync]);
        task.until("it is ready", |status| status.ready);
        task
    }

    /// Who talks from where.
    fn netns(&self, from: &str) -> &Arc<Netns> {
        match from {
            "outside" => &self.outside,
            "node" => &self.node.netns,
            "pod" => &self.pod.netns,
            other => panic!("nobody is called {other}"),
        }
    }

    /// Tries connections, all at the same time: from whom, to where, whether it is open.
    #[track_caller]
    fn see(&self, what: &str, want: &[(&str, (IpAddr, u16), Outcome)]) {
        let tries: Vec<_> = want
            .iter()
            .map(|(from, to, _)| {
                let (netns, to) = (Arc::clone(self.netns(from)), SocketAddr::from(*to));
                std::thread::spawn(move || netns.inside(|| connect(to)).err())
            })
            .collect();
        let seen = tries.into_iter().map(|one| one.join().expect("it ends"));
        for ((from, to, want), seen) in want.iter().zip(seen) {
            assert_eq!(seen.unwrap_or(Outcome::Open), *want, "{what}: {from} -> {to:?}");
        }
    }
}

fn connect(to: SocketAddr) -> Result<TcpStream, Outcome> {
    TcpStream::connect_timeout(&to, NEVER).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::TimedOut => Outcome::TimedOut,
        // What the host itself may not send, it is told of at once.
        ErrorKind::PermissionDenied => Outcome::TimedOut,
        other => panic!("{to}: {other}"),
    })
}

/// A host endpoint of the node, `spec` without it in JSON.
fn host(name: &str, spec: &str) -> Change {
    let object = format!(
        r#"{{"metadata": {{"name": "{name}", "labels": {{"host": "{name}"}}}},
             "spec": {{"node": "n1", {spec}}}}}"#
    );
    let object = serde_json::from_str(&object).expect("the test wrote JSON");
    let (host, problems) = ingest::host_endpoint(&object).expect("it says where it is");
    assert_eq!(problems, [], "{name}");
    Change::HostEndpointApplied(Arc::new(host))
}

fn no_host(name: &str) -> Change {
    Change::HostEndpointDeleted(name.into())
}

/// A global policy on host endpoints, the rest of its `spec` in JSON.
fn policy(name: &str, spec: &str) -> Change {
    let object = format!(
        r#"{{"metadata": {{"name": "{name}"}}, "spec": {{"selector": "has(host)", {spec}}}}}"#
    );
    let object = serde_json::from_str(&object).expect("the test wrote JSON");
    let policy = ingest::global_network_policy(&object).expect("it has a name");
    assert_eq!(policy.problems, [], "{name}");
    Change::PolicyApplied(Arc::new(policy))
}

fn no_policy(name: &str) -> Change {
    let Change::PolicyApplied(policy) = policy(name, r#""types": ["Ingress"]"#) else {
        unreachable!("it was just made")
    };
    Change::PolicyDeleted(policy.id.clone())
}

use Outcome::{Open, Refused, TimedOut};

/// C32, C38 and S2.0: nothing but failsafe ports, and pods as before.
#[test]
fn a_host_endpoint_closes_all_but_failsafe_ports_until_a_policy_opens_them() {
    on_both("a_host_endpoint_closes_all_but_failsafe_ports", |backend, word| {
        let lab = Lab::new();
        let task = lab.start(backend);
        let web = (v4(10), PORT);
        lab.see("before", &[("outside", (NODE, OTHER), Open), ("node", (OUTSIDE, OTHER), Open)]);
        let mut old = lab.outside.inside(|| connect((NODE, OTHER).into())).expect("it is open");
        assert!(is_alive(&mut old));
        assert!(!lab.node.rules(word).contains("BRN-HOST"), "{word}: nothing for hosts");

        task.apply(vec![host("edge", r#""interfaceName": "eth0""#)]);
        task.settle();
        lab.see(
            "no policy",
            &[
                ("outside", (NODE, OTHER), TimedOut),
                ("outside", (NODE, 22), Open),
                ("outside", (NODE, 179), Open),
                ("node", (OUTSIDE, OTHER), TimedOut),
                ("node", (OUTSIDE, 6443), Open),
                ("outside", web, Open),
                ("outside", (v4(10), 22), Refused),
                ("pod", (OUTSIDE, OTHER), Open),
                ("pod", (NODE, OTHER), Open),
                ("node", web, Open),
            ],
        );
        assert!(is_alive(&mut old), "{word}: a connection from before lives on");
        told(&task, "edge", None);

        task.apply(vec![policy(
            "allow-other",
            r#""ingress": [{"action": "Allow", "protocol": "TCP", "source": {"nets": ["192.0.2.9/32"]},
                "destination": {"ports": [8080]}}]"#,
        )]);
        task.settle();
        lab.see(
            "a policy",
            &[
                ("outside", (NODE, OTHER), Open),
                ("outside", (NODE, 22), Open),
                ("outside", (NODE, 23), TimedOut),
                ("node", (OUTSIDE, OTHER), TimedOut),
                ("outside", web, Open),
            ],
        );
        task.apply(vec![policy(
            "allow-other",
            r#""ingress": [{"action": "Deny", "protocol": "TCP", "destination": {"ports": [8080]}}]"#,
        )]);
        task.settle();
        lab.see("it denies", &[("outside", (NODE, OTHER), TimedOut)]);
        told(&task, "edge", Some(0));

        task.apply(vec![no_policy("allow-other"), no_host("edge")]);
        task.settle();
        lab.see(
            "all gone",
            &[
                ("outside", (NODE, OTHER), Open),
                ("outside", (NODE, 23), Refused),
                ("node", (OUTSIDE, OTHER), Open),
            ],
        );
        let rules = lab.node.rules(word);
        assert!(!rules.contains("BRN-HOST") && !rules.contains("BRN-H"), "{word}: {rules}");
        assert_eq!(task.status().refused, Vec::<String>::new(), "{word}");
        assert_eq!(task.status().repairs, 0, "{word}: {:?}", task.status().last_repair);
    });
}

/// Waits until a denied flow is told that a host endpoint is about, by this rule of a policy.
#[track_caller]
fn told(task: &Task<'_>, host: &str, rule: Option<usize>) {
    told_of(task, &format!("HostEndpoint {host}, rule {rule:?}"), |flow| {
        flow.outcome == FlowOutcome::Denied
            && flow.host.as_deref() == Some(host)
            && flow.rule == rule
            && flow.destination.port == Some(OTHER)
    });
}

/// Waits until such a flow is told.
#[track_caller]
fn told_of(task: &Task<'_>, what: &str, is_it: impl Fn(&Flow) -> bool) {
    let begin = Instant::now();
    loop {
        let flows = task.handle.flows.after(0, usize::MAX).flows;
        if flows.iter().any(&is_it) {
            return;
        }
        assert!(begin.elapsed() < SOON, "no flow of {what}: {flows:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// C34 and C38: what is forwarded is judged only where `applyOnForward` says so, and then
/// failsafe ports count for nothing.
#[test]
fn forwarded_packets_are_judged_where_a_policy_says_so() {
    on_both("forwarded_packets_are_judged_where_a_policy_says_so", |backend, _| {
        let lab = Lab::new();
        let task = lab.start(backend);
        let only = r#""ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [8080]}}]"#;
        task.apply(vec![host("edge", r#""interfaceName": "eth0""#), policy("only", only)]);
        task.settle();
        let web = (v4(10), PORT);
        lab.see(
            "not on forward",
            &[
                ("outside", web, Open),
                ("outside", (v4(10), 22), Refused),
                ("pod", (OUTSIDE, OTHER), Open),
            ],
        );
        task.apply(vec![policy("only", &format!(r#""applyOnForward": true, {only}"#))]);
        task.settle();
        lab.see(
            "on forward",
            &[
                ("outside", web, TimedOut),
                ("outside", (v4(10), 22), TimedOut),
                ("outside", (v4(10), OTHER), Refused),
                // Egress is not governed: forwarded packets pass.
                ("pod", (OUTSIDE, OTHER), Open),
                ("outside", (NODE, OTHER), Open),
                ("outside", (NODE, 22), Open),
            ],
        );
    });
}

/// C35: before the destination is translated.
#[test]
fn a_node_port_is_closed_before_its_destination_is_translated() {
    on_both("a_node_port_is_closed_before_its_destination_is_translated", |backend, word| {
        let lab = Lab::new();
        let rule = format!(
            "-t nat -A PREROUTING -d {NODE} -p tcp --dport {NODE_PORT} -j DNAT --to {}:{PORT}",
            v4(10)
        );
        let words: Vec<&str> = rule.split(' ').collect();
        lab.node.netns.run(&format!("iptables-{word}"), &words).expect("it is a good rule");
        let task = lab.start(backend);
        task.apply(vec![host("edge", r#""interfaceName": "eth0""#)]);
        task.settle();
        let (through, direct) = ((NODE, NODE_PORT), (v4(10), PORT));
        lab.see("no policy", &[("outside", through, Open), ("outside", direct, Open)]);
        task.apply(vec![policy(
            "node-ports",
            r#""applyOnForward": true, "preDNAT": true, "ingress": [{"action": "Deny",
                "protocol": "TCP", "destination": {"ports": ["30000:32767"]}}]"#,
        )]);
        task.settle();
        lab.see(
            "denied",
            &[
                ("outside", through, TimedOut),
                ("outside", direct, Open),
                ("outside", (NODE, 22), Open),
            ],
        );
        task.apply(vec![policy(
            "node-ports",
            r#""applyOnForward": true, "preDNAT": true, "ingress": [{"action": "Allow",
                "protocol": "TCP", "destination": {"ports": [8080]}}]"#,
        )]);
        task.settle();
        // What is allowed there is final for the host, of what is not others decide.
        lab.see(
            "allowed",
            &[
                ("outside", (NODE, OTHER), Open),
                ("outside", (NODE, 23), TimedOut),
                ("outside", through, Open),
            ],
        );
        task.apply(vec![no_policy("node-ports")]);
        task.settle();
        lab.see("gone", &[("outside", (NODE, OTHER), TimedOut), ("outside", through, Open)]);
    });
}

/// C36: without connection tracking answers need a rule too.
#[test]
fn untracked_answers_are_dropped_unless_a_rule_allows_them() {
    on_both("untracked_answers_are_dropped_unless_a_rule_allows_them", |backend, _| {
        let lab = Lab::new();
        let task = lab.start(backend);
        let ingress = r#""doNotTrack": true, "applyOnForward": true, "ingress": [{"action": "Allow",
            "protocol": "TCP", "destination": {"ports": [8080]}}]"#;
        let both = format!(
            r#"{ingress}, "egress": [{{"action": "Allow", "protocol": "TCP",
                "source": {{"ports": [8080]}}}}], "types": ["Ingress", "Egress"]"#
        );
        let edge = host("edge", r#""interfaceName": "eth0""#);
        task.apply(vec![edge, policy("untracked", ingress)]);
        task.settle();
        lab.see(
            "one way",
            &[
                ("outside", (NODE, OTHER), TimedOut),
                ("outside", (NODE, 22), Open),
                ("outside", (v4(10), PORT), Open),
            ],
        );
        task.apply(vec![policy("untracked", &both)]);
        task.settle();
        lab.see(
            "both ways",
            &[
                ("outside", (NODE, OTHER), Open),
                ("outside", (NODE, 22), Open),
                ("outside", (NODE, 23), TimedOut),
                ("node", (OUTSIDE, 6443), Open),
                ("outside", (v4(10), PORT), Open),
            ],
        );
    });
}

/// C33 and C37: of several that fit an interface one counts; addresses and `*` find theirs.
#[test]
fn each_interface_has_one_host_endpoint() {
    on_both("each_interface_has_one_host_endpoint", |backend, word| {
        const OPEN: &str = r#""profiles": ["projectcalico-default-allow"]"#;
        let lab = Lab::new();
        let task = lab.start_with(EnforceSettings { automatic_hosts: true, ..settings(backend) });
        let see = |what: &str, outcome| {
            task.settle();
            let web = ("outside", (v4(10), PORT), Open);
            lab.see(&format!("{word}: {what}"), &[("outside", (NODE, OTHER), outcome), web]);
        };
        see("n1-auto-hep is open", Open);
        let open = format!(r#""interfaceName": "eth0", {OPEN}"#);
        task.apply(vec![host("b", &open), host("a", r#""interfaceName": "eth0""#)]);
        see("the smaller name counts", TimedOut);
        task.apply(vec![no_host("a")]);
        see("a profile leaves it open", Open);
        task.apply(vec![no_host("b"), host("all", r#""interfaceName": "*""#)]);
        see("* is for the rest", TimedOut);
        lab.see("* and pods", &[("node", (v4(10), PORT), Open), ("pod", (NODE, OTHER), Open)]);
        task.apply(vec![host("b", &open)]);
        see("a name goes before *", Open);
        task.apply(vec![no_host("b"), no_host("all")]);
        task.apply(vec![host("by-address", r#""expectedIPs": ["198.51.100.7"]"#)]);
        see("no interface has the address", Open);
        lab.node.netns.ip("address add 198.51.100.7/32 dev eth0").expect("it is new");
        let begin = Instant::now();
        let is_closed = || lab.outside.inside(|| connect((NODE, OTHER).into())).is_err();
        while !is_closed() {
            assert!(begin.elapsed() < SOON, "{word}: the interface has the address now");
        }
        task.apply(vec![host("by-address", r#""expectedIPs": ["198.51.100.8"]"#)]);
        see("it is for another address", Open);
        assert_eq!(task.status().repairs, 0, "{word}: {:?}", task.status().last_repair);
    });
}

/// C39 and C10: staged policies and rules with the action Log drop nothing, and are told.
#[test]
fn what_is_staged_or_logged_is_told_and_passes() {
    on_both("what_is_staged_or_logged_is_told_and_passes", |backend, word| {
        let lab = Lab::new();
        let task = lab.start(backend);
        let id = |policy: &Option<PolicyId>| policy.as_ref().map(ToString::to_string);
        let staged = |name: &str, selector: &str| {
            let text = format!(
                r#"{{"metadata": {{"name": "{name}"}}, "spec": {{"types": ["Ingress"],
                    "selector": "{selector}"}}}}"#
            );
            let staged = serde_json::from_str(&text).expect("the test wrote JSON");
            ingest::staged_global_network_policy(&staged).expect("it has a name")
        };
        let (staged, of_host) = (staged("soon", "app == 'web'"), staged("host-soon", "has(host)"));
        let staged_id = staged.id.clone();
        let open = r#""interfaceName": "eth0", "profiles": ["projectcalico-default-allow"]"#;
        let staged = [staged, of_host].map(|one| Change::PolicyApplied(Arc::new(one)));
        task.apply(staged.into_iter().chain([host("edge", open)]).collect());
        task.settle();
        lab.see(word, &[("outside", (v4(10), PORT), Open), ("outside", (NODE, OTHER), Open)]);
        told_of(&task, "a staged policy on a host", |flow| {
            flow.outcome == FlowOutcome::WouldDeny
                && flow.host.as_deref() == Some("edge")
                && id(&flow.policy).as_deref() == Some("StagedGlobalNetworkPolicy host-soon")
                && flow.destination.port == Some(OTHER)
        });
        told_of(&task, "a staged policy", |flow| {
            flow.outcome == FlowOutcome::WouldDeny
                && id(&flow.policy).as_deref() == Some("StagedGlobalNetworkPolicy soon")
                && flow.destination.port == Some(PORT)
        });
        task.until("it is counted", |s| s.staged.contains_key(&(Direction::Ingress, false)));

        let logs = r#"{"metadata": {"name": "logs"}, "spec": {"selector": "app == 'web'",
            "ingress": [{"action": "Log", "protocol": "TCP"}, {"action": "Allow"}]}}"#;
        let logs = serde_json::from_str(logs).expect("the test wrote JSON");
        let logs = ingest::global_network_policy(&logs).expect("it has a name");
        task.apply(vec![Change::PolicyDeleted(staged_id), Change::PolicyApplied(Arc::new(logs))]);
        task.settle();
        lab.see(word, &[("outside", (v4(10), PORT), Open)]);
        told_of(&task, "a rule that logs", |flow| {
            flow.outcome == FlowOutcome::Logged
                && id(&flow.policy).as_deref() == Some("GlobalNetworkPolicy logs")
                && flow.rule == Some(0)
        });
    });
}
