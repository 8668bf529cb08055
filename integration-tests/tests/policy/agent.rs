//! Agents that enforce policies: alone beside another plugin, and beside BGP.

use std::fs;

use integration_tests::node::Node;
use integration_tests::wait::{SOON, met, until};
use integration_tests::{kernel, skip};
use nix::sys::signal::Signal;

const PROGRAMS: [&str; 4] = ["ip", "iptables-nft-save", "iptables-legacy-save", "ipset"];

const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
";

/// The nft and the legacy configuration of policies.
const BACKENDS: [&str; 2] = ["nft", "legacy"];

#[test]
fn an_agent_without_bgp_enforces_policies_and_touches_nothing_else() {
    if !skip::can_run("an_agent_without_bgp_enforces_policies_and_touches_nothing_else", &PROGRAMS)
    {
        return;
    }
    for backend in BACKENDS {
        let mut node = Node::new();
        node.netns.sysctl("net/ipv4/ip_forward", "0").expect("a sysctl");
        node.configure(&format!(
            "bgp: {{enabled: false}}\npolicy: {{enabled: true, backend: {backend}}}"
        ));
        node.start(&[]);
        node.answers("/readyz", 200);
        let verbose = node.answers("/healthz?verbose", 200);
        for check in ["daemon", "enforce", "source", "policy"] {
            assert!(verbose.contains(&format!("[+]{check} ok")), "{verbose}");
        }
        assert!(!verbose.contains("peers") && !verbose.contains("fib"), "{verbose}");

        let rules = node.rules(backend);
        assert!(rules.iter().any(|rule| rule.contains("10.244.1.2")), "{rules:#?}");
        let masquerades = |rule: &&String| rule.contains("MASQUERADE");
        assert_eq!(rules.iter().find(masquerades), None, "translation is the other plugin's");
        assert_eq!(kernel::routes(&node.netns, "98"), [], "routes are the other plugin's");
        let forwarding = node.netns.run("cat", &["/proc/sys/net/ipv4/ip_forward"]);
        assert_eq!(forwarding.expect("it is there").trim(), "0", "so is forwarding");
        let status = node.status();
        assert!(status.get("bgp").is_none() && status.get("kernel").is_none(), "{status}");
        assert_eq!(status["source"]["pods"], 1, "{status}");
        assert_eq!(status["healthy"], true, "{status}");

        let metrics = node.answers("/metrics", 200);
        for line in [
            "brindle_policy_endpoints{state=\"programmed\"} 1.0",
            "brindle_policy_objects{kind=\"Pod\",state=\"active\"} 1.0",
            "brindle_in_sync{source=\"files\"} 1.0",
        ] {
            assert!(metrics.lines().any(|found| found == line), "no {line} in {metrics}");
        }
        assert!(metrics.contains(&format!("iptables_backend=\"{backend}\"")), "{metrics}");

        // A policy comes by a file, and goes by one.
        let governed = |rules: &[String]| rules.iter().any(|rule| rule.contains("INVALID"));
        assert!(!governed(&rules), "{rules:#?}");
        node.manifest("policy", POLICY);
        until("the policy is in the kernel", SOON, || {
            let rules = node.rules(backend);
            met(governed(&rules), || format!("{rules:#?}"))
        });
        fs::remove_file(node.path("manifests/policy.yaml")).expect("it is there");
        until("the policy has gone from the kernel", SOON, || {
            let rules = node.rules(backend);
            met(!governed(&rules), || format!("{rules:#?}"))
        });

        node.process().signal(Signal::SIGTERM);
        let ended = node.process().wait(SOON);
        assert!(ended.success(), "{ended}\n{}", node.process().tail());
        assert_eq!(node.rules(backend).len(), rules.len(), "what is enforced stays");
    }
}

#[test]
fn policies_that_an_earlier_run_left_are_told_of_where_none_are_enforced() {
    let name = "policies_that_an_earlier_run_left_are_told_of_where_none_are_enforced";
    if !skip::can_run(name, &PROGRAMS) {
        return;
    }
    for backend in BACKENDS {
        let mut node = Node::new();
        let stop = |node: &mut Node| {
            node.process().signal(Signal::SIGTERM);
            assert!(node.process().wait(SOON).success(), "{}", node.process().tail());
        };
        let enabled = format!("policy: {{enabled: true, backend: {backend}}}");
        node.configure(&enabled);
        node.start(&[]);
        node.answers("/readyz", 200);
        assert_eq!(node.status()["healthy"], true, "{}", node.status());
        stop(&mut node);
        let rules = node.rules(backend);

        node.configure("policy: {enabled: false}");
        node.start(&[]);
        node.answers("/readyz", 200);
        let what = "policies of an earlier run are still enforced in the kernel";
        until("it is told", SOON, || {
            let problems = node.status()["problems"].to_string();
            let is_told = problems.contains(what)
                && problems
                    .contains(&format!("BRN-FORWARD (IPv4 filter table, iptables-{backend})"))
                && problems.contains("`brindle cleanup` removes them");
            met(is_told, || problems.clone())
        });
        assert_eq!(node.rules(backend), rules, "and they are left alone");
        stop(&mut node);
        let warnings = |node: &mut Node| {
            node.process().output().lines().filter(|line| line.contains(what)).count()
        };
        assert_eq!(warnings(&mut node), 1, "{}", node.process().tail());

        // Not where they are enforced. (The log goes on where it was.)
        node.configure(&enabled);
        node.start(&[]);
        node.answers("/readyz", 200);
        assert_eq!(node.status()["healthy"], true, "{}", node.status());
        stop(&mut node);
        assert_eq!(warnings(&mut node), 1, "{}", node.process().tail());
    }
}

#[test]
fn a_flag_does_what_the_configuration_would() {
    if !skip::can_run("a_flag_does_what_the_configuration_would", &PROGRAMS) {
        return;
    }
    let mut node = Node::new();
    node.configure("policy: {backend: nft}");
    node.start(&["--policy-only"]);
    node.answers("/readyz", 200);
    assert!(node.status().get("bgp").is_none());
    assert!(!node.rules("nft").is_empty());
    // Also after the configuration was read again.
    node.configure("policy: {backend: nft, auditInterval: 5s}");
    node.process().signal(Signal::SIGHUP);
    until("the configuration was read again", SOON, || {
        let (_, metrics) = node.ask("/metrics")?;
        let line = "brindle_config_reloads_total{result=\"ok\"} 1.0";
        met(metrics.lines().any(|found| found == line), || metrics.clone())
    });
    assert!(node.status().get("bgp").is_none());
    node.answers("/readyz", 200);
}

#[test]
fn both_halves_run_beside_each_other_and_a_taken_port_stops_neither() {
    if !skip::can_run("both_halves_run_beside_each_other_and_a_taken_port_stops_neither", &PROGRAMS)
    {
        return;
    }
    let mut node = Node::new();
    let taken = node.netns.inside(|| std::net::TcpListener::bind("127.0.0.1:9799"));
    let taken = taken.expect("a free port");
    node.configure(
        "policy: {enabled: true, backend: nft}\n\
         telemetry: {listen: ['127.0.0.1:9799', '127.0.0.1:9798']}",
    );
    node.start(&[]);
    let verbose = node.answers("/readyz?verbose", 200);
    for check in ["source", "routes", "peers", "policy"] {
        assert!(verbose.contains(&format!("[+]{check} ok")), "{verbose}");
    }
    let status = node.status();
    assert_eq!(status["bgp"]["asNumber"], 64512, "{status}");
    assert_eq!(status["healthy"], true, "a taken port makes nobody ill: {status}");
    let warning = status["telemetry"]["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("127.0.0.1:9799: another program listens there"), "{status}");
    let routes = kernel::routes(&node.netns, "98");
    assert_eq!(routes.len(), 1, "the node's own range: {routes:?}");
    let rules = node.rules("nft");
    assert!(rules.iter().any(|rule| rule.contains("MASQUERADE")), "{rules:#?}");
    drop(taken);
}
