//! Labs of real agents and real routers.

use std::time::Duration;

use brindle::lab::{netns, process};

use crate::sandbox::{Sandbox, can_build, until};
use crate::skipped::note;

/// Whether the node's kernel has a route to exactly this prefix that leads somewhere.
fn has_route(sandbox: &Sandbox, node: &str, prefix: &str) -> bool {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let output = sandbox.lab(&["exec", node, "--", "ip", family, "route", "show", prefix]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().any(|line| line.contains("via") && !line.starts_with("unreachable"))
}

/// Waits until each of three nodes has the routes to the other two.
#[track_caller]
fn everywhere(sandbox: &Sandbox, limit: Duration) {
    for (node, others) in [("n1", [2, 3]), ("n2", [1, 3]), ("n3", [1, 2])] {
        for other in others {
            let prefix = format!("10.244.{other}.0/24");
            let what = format!("{node} has a route to {prefix}");
            until(&what, limit, || has_route(sandbox, node, &prefix));
        }
    }
}

#[test]
fn agents_carry_the_pods_traffic_and_mend_what_breaks() {
    let test = "agents_carry_the_pods_traffic_and_mend_what_breaks";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("tagents");
    let text = sandbox.expect(0, &["up"]);
    assert!(text.contains("3 nodes, 1 ToR, 6 pods"), "{text}");
    sandbox.expect(0, &["test"]);
    let text = sandbox.expect(0, &["ls"]);
    assert_eq!(text.matches("running").count(), 4, "{text}");
    for (pod, script, want) in [
        ("n2-p1", "ip -br addr show eth0", "10.244.2.11/32"),
        ("n2-p1", "echo $BRINDLE_SOCKET", "tagents/n2/brindle.sock"),
        ("n2", "ip route show 10.244.2.12", "10.244.2.12 dev brn"),
    ] {
        let text = sandbox.expect(0, &["exec", pod, "--", "sh", "-c", script]);
        assert!(text.contains(want), "{pod}: {script}: {text}");
    }
    // each node's own agent answers inside it
    for node in ["n1", "n3", "tor1"] {
        let text = sandbox.expect(0, &["exec", node, "--", "brindle", "status"]);
        assert!(text.contains(&format!("on {node}")), "{text}");
    }

    let soon = Duration::from_secs(10);
    let n2_pods = "10.244.2.0/24";
    sandbox.expect(0, &["fault", "del-route", "n1", n2_pods]);
    until("the route is back", soon, || has_route(&sandbox, "n1", n2_pods));

    // frozen, an agent is not needed for packets; dead, it leaves its routes where they are
    for (fault, mend) in [("stop", "cont"), ("kill", "start")] {
        sandbox.expect(0, &["fault", fault, "n1"]);
        let text = sandbox.expect(1, &["ls"]);
        assert!(text.contains(&format!("brindle lab fault {mend} n1")), "{text}");
        if fault == "stop" {
            sandbox.expect(0, &["test"]);
        }
        assert!(has_route(&sandbox, "n1", n2_pods), "{fault}");
        sandbox.expect(0, &["fault", mend, "n1"]);
        sandbox.expect(0, &["ls"]);
        everywhere(&sandbox, soon);
    }
    sandbox.expect(2, &["fault", "start", "n1"]);
    sandbox.expect(0, &["fault", "restart", "n1"]);
    everywhere(&sandbox, soon);
    sandbox.expect(0, &["test"]);

    sandbox.expect(0, &["fault", "link-down", "n2"]);
    until("the kernel drops what led over the link", soon, || {
        !has_route(&sandbox, "n2", "10.244.1.0/24")
    });
    sandbox.expect(0, &["fault", "link-up", "n2"]);
    everywhere(&sandbox, soon);
    sandbox.expect(0, &["test"]);

    let text = sandbox.expect(2, &["up"]);
    assert!(text.contains("--replace"), "{text}");
    let old = sandbox.id();
    sandbox.expect(0, &["up", "--replace", "--nodes", "2", "--pods", "1"]);
    assert_ne!(sandbox.id(), old);
    assert_eq!(process::members(old.as_deref(), &[]), [], "agents of the old lab");
    sandbox.expect(0, &["test"]);
    let id = sandbox.id();
    sandbox.expect(0, &["down"]);
    assert_eq!(sandbox.traces(id.as_deref()), [""; 0]);
}

#[test]
fn every_kind_of_lab_converges_and_carries_traffic() {
    let test = "every_kind_of_lab_converges_and_carries_traffic";
    if !can_build(test) {
        return;
    }
    for (what, args) in [
        ("both families", &["--dual-stack"][..]),
        ("two racks", &["--nodes", "4", "--tors", "2", "--dual-stack", "--pods", "1"]),
        ("BIRD", &["--tor", "bird", "--dual-stack"]),
        ("racks of BIRD", &["--tor", "bird", "--nodes", "3", "--tors", "3", "--dual-stack"]),
        ("one node", &["--nodes", "1"]),
    ] {
        if args.contains(&"bird") && netns::program("bird").is_err() {
            note(test, &format!("{what}: bird is not installed"));
            continue;
        }
        let sandbox = Sandbox::new("tkinds");
        sandbox.expect(0, &[&["up"], args].concat());
        let text = sandbox.expect(0, &["test"]);
        assert!(text.contains("all passed"), "{what}: {text}");
        let id = sandbox.id();
        sandbox.expect(0, &["down"]);
        assert_eq!(sandbox.traces(id.as_deref()), [""; 0], "{what}");
    }
}

#[test]
fn a_lab_that_does_not_converge_says_who_lacks_what() {
    let test = "a_lab_that_does_not_converge_says_who_lacks_what";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("tlate");
    let text = sandbox.expect(1, &["up", "--wait", "0", "--nodes", "20", "--tors", "4"]);
    assert!(text.contains("not converged: after 0ns"), "{text}");
    assert!(text.contains(" has no route to 10.244."), "{text}");
    assert!(text.contains("last lines of "), "{text}");
    for (args, want) in [
        (&["up", "--nodes", "0"][..], "--nodes 0: 1 to 200"),
        (&["up", "--nodes", "3", "--tors", "4"], "--tors 4"),
        (&["up", "--pods", "101"], "--pods 101"),
    ] {
        let text = sandbox.expect(2, &[args, &["--replace"]].concat());
        assert!(text.contains(want), "{args:?}: {text}");
    }
    sandbox.expect(0, &["exec", "n1", "--", "true"]);
}
