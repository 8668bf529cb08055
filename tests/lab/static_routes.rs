//! Labs whose speakers have gone and left good routes, and such without: everything but
//! convergence.

use std::process::Command;

use brindle::lab::build;
use brindle::lab::plan::{Options, TorKind};
use brindle::lab::state::{Lab, Place};

use crate::sandbox::{BRINDLE, Sandbox, can_build, links};
use crate::skipped::note;

/// A lab of three nodes with good routes and nobody who would mend them: agents connect the pods,
/// write the routes and are killed.
fn routed_lab(sandbox: &Sandbox, dual_stack: bool) {
    let up: &[&str] = if dual_stack { &["up", "--dual-stack"] } else { &["up"] };
    sandbox.expect(0, up);
    // frozen first, so that none hears of another's end and withdraws its routes
    for fault in ["stop", "kill"] {
        for name in ["n1", "n2", "n3", "tor1"] {
            sandbox.expect(0, &["fault", fault, name]);
        }
    }
    // a detour through the router would hide what is missing on a node
    for family in ["-4", "-6"] {
        let flush = ["exec", "tor1", "--", "ip", family, "route", "flush", "proto", "98"];
        sandbox.expect(0, &flush);
    }
}

/// A lab of three nodes whose speakers were never started; so nobody connects its pods.
pub(crate) fn half_built_lab(sandbox: &Sandbox) -> Lab {
    let name = sandbox.name.parse().expect("a good name");
    let options = Options {
        name,
        nodes: 3,
        tors: 1,
        pods: 2,
        dual_stack: false,
        tor: TorKind::Brindle,
        policy: None,
        kube: None,
    };
    let lab = Lab::create(&Place::find(), options, BRINDLE.into()).expect("a lab");
    build::network(&lab).expect("a network");
    build::files(&lab).expect("files");
    lab
}

#[test]
fn traffic_passes_over_good_routes_and_every_fault_is_named() {
    let test = "traffic_passes_over_good_routes_and_every_fault_is_named";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("ttraffic");
    routed_lab(&sandbox, true);

    let text = sandbox.expect(0, &["test"]);
    assert!(text.contains("384 probes over IPv4 and IPv6 (96 pairs"), "{text}");
    assert!(text.contains("all passed"), "{text}");
    assert!(text.contains("uplinks of 48 pairs between nodes: not encapsulated"), "{text}");

    sandbox.expect(0, &["fault", "del-route", "n1", "10.244.2.0/24"]);
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("n1-p1 -> n2-p1 (10.244.2.11): no answer"), "{text}");
    assert!(text.contains("n1 has only its default route to 10.244.2.0/24"), "{text}");
    assert!(!text.contains("n3-p1 -> n2-p1"), "others are not affected\n{text}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.expect(1, &["test", "-o", "json"])).expect("JSON");
    assert_eq!(json["passed"], false);
    let add = ["exec", "n1", "--", "ip", "route", "add", "10.244.2.0/24", "via", "10.0.0.2"];
    sandbox.expect(0, &add);
    sandbox.expect(0, &["test"]);

    // a full-size packet alone fails where a cable is narrower
    for (place, link) in [("tor1", "n3"), ("n3", "eth0")] {
        sandbox.expect(0, &["exec", place, "--", "ip", "link", "set", link, "mtu", "1400"]);
    }
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("MTU on the path is below 1500  [1500-byte packets with DF]"), "{text}");
    assert!(!text.contains("[TCP"), "shorter packets pass\n{text}");
}

#[test]
fn a_translated_source_is_noticed() {
    let test = "a_translated_source_is_noticed";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("tmasq");
    routed_lab(&sandbox, false);
    let masquerade = "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE";
    if !sandbox.lab(&["exec", "n2", "--", "sh", "-c", masquerade]).status.success() {
        return note(test, "iptables cannot masquerade here");
    }
    let text = sandbox.expect(1, &["test"]);
    let want = "n2-p1 -> n1-p1 (10.244.1.11): source translated: 10.0.0.2 was seen instead of \
                10.244.2.11  [TCP, UDP, 1500-byte packets with DF]";
    assert!(text.contains(want), "{text}");
    // nobody tells whom an echo reply was sent to, so that one is caught on the wire
    let want = "eth0 of n2 never carried 10.244.2.11 -> 10.244.1.11 itself; it carried 10.0.0.2 \
                -> 10.244.1.11 (source translated)  [ICMP]";
    assert!(text.contains(want), "{text}");
    assert!(!text.contains("FAIL  n1-p1"), "only n2 translates\n{text}");
}

#[test]
fn an_encapsulation_is_noticed() {
    let test = "an_encapsulation_is_noticed";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("tvxlan");
    routed_lab(&sandbox, false);
    for (node, own, other, cidr) in
        [("n1", "1", "2", "10.244.2.0/24"), ("n2", "2", "1", "10.244.1.0/24")]
    {
        let script = format!(
            "ip link add vx0 type vxlan id 5 dstport 4789 remote 10.0.0.{other} dev eth0 && \
             ip addr add 192.168.9.{own}/24 dev vx0 && ip link set vx0 up && \
             ip route replace {cidr} via 192.168.9.{other}"
        );
        if !sandbox.lab(&["exec", node, "--", "sh", "-c", &script]).status.success() {
            return note(test, "this kernel has no VXLAN");
        }
    }
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("encapsulated: UDP, as VXLAN"), "{text}");
    assert!(text.contains("eth0 of n1 never carried 10.244.1.11 -> 10.244.2.11 itself"), "{text}");
    assert!(!text.contains("FAIL  n3-p1 -> n1"), "n3 does not encapsulate\n{text}");
}

#[test]
fn a_partition_loses_every_packet_until_it_is_healed() {
    let test = "a_partition_loses_every_packet_until_it_is_healed";
    if !can_build(test) {
        return;
    }
    let sandbox = Sandbox::new("tpart");
    routed_lab(&sandbox, false);
    sandbox.expect(0, &["fault", "partition", "n1", "n2"]);
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("FAIL  n1-p1 -> n2-p1"), "{text}");
    assert!(!text.contains("FAIL  n1-p1 -> n3-p1"), "{text}");
    // the link takes the neighbour entries along, the partition must stay
    sandbox.expect(0, &["fault", "link-down", "n1"]);
    sandbox.expect(0, &["fault", "link-up", "n1"]);
    for (to, via) in [("10.244.2.0/24", "10.0.0.2"), ("10.244.3.0/24", "10.0.0.3")] {
        sandbox.expect(0, &["exec", "n1", "--", "ip", "route", "replace", to, "via", via]);
    }
    let text = sandbox.expect(1, &["test"]);
    assert!(text.contains("FAIL  n1-p1 -> n2-p1"), "{text}");
    assert!(!text.contains("FAIL  n1-p1 -> n3-p1"), "{text}");
    sandbox.expect(0, &["fault", "heal", "n2", "n1"]);
    sandbox.expect(0, &["test"]);
    for (fault, want) in [
        (&["partition", "n1", "n1"][..], "cannot be kept apart from itself"),
        (&["partition", "n1", "n9"], "no node or router \"n9\""),
        (&["heal", "n1", "n2"], "are not kept apart"),
        (&["kill", "n1"], "the speaker of n1 does not run"),
        (&["kill", "n1-p1"], "n1-p1 is a pod and has no speaker; its node is n1"),
        (&["link-down", "tor1"], "no node \"tor1\""),
    ] {
        let text = sandbox.expect(2, &[&["fault"], fault].concat());
        assert!(text.contains(want), "{fault:?}: {text}");
    }
}

#[test]
fn commands_run_inside_and_their_exit_code_comes_out() {
    let test = "commands_run_inside_and_their_exit_code_comes_out";
    if Place::find().rootless {
        return note(test, "needs root");
    }
    let links_before = links();
    let sandbox = Sandbox::new("texec");
    drop(half_built_lab(&sandbox));
    assert_eq!(links(), links_before, "nothing appears in the machine's own namespace");
    for (target, script, code, want) in [
        ("n2", "exit 7", 7, ""),
        ("n2", "ip -br addr show eth0", 0, "10.0.0.2/24"),
        ("tor1", "ip -br addr show rack", 0, "10.0.0.250/24"),
        ("n2", "echo $BRINDLE_SOCKET", 0, "texec/n2/brindle.sock"),
        ("n2", "brindle --version", 0, "brindle "),
    ] {
        let text = sandbox.expect(code, &["exec", target, "--", "sh", "-c", script]);
        assert!(text.contains(want), "{target}: {script}: {text}");
    }
    let text = sandbox.expect(2, &["exec", "n7", "--", "true"]);
    assert!(text.contains("no \"n7\" in this lab; there is: n1, n2, n3, tor1; pods"), "{text}");

    let text = sandbox.expect(2, &["exec", "n2-p1", "--", "true"]);
    assert!(text.contains("network namespace brl-texec-n2-p1"), "not connected yet\n{text}");

    // seen by others' tools, too
    let status = Command::new("ip").args(["netns", "exec", "brl-texec-n1", "true"]).status();
    assert!(status.expect("ip runs").success());

    let text = sandbox.expect(1, &["ls"]);
    assert!(text.contains("half-built"), "no speaker was started\n{text}");
    let text = sandbox.expect(1, &["ls", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["items"].as_array().map(Vec::len), Some(10), "{text}");

    let text = sandbox.expect(2, &["up"]);
    assert!(text.contains("lab \"texec\" is there already"), "{text}");

    let id = sandbox.id();
    sandbox.expect(0, &["down"]);
    assert_eq!(sandbox.traces(id.as_deref()), [""; 0]);
    assert_eq!(links(), links_before);
    let text = sandbox.expect(0, &["down"]);
    assert!(text.contains("nothing to remove"), "{text}");
    for words in [&["ls"][..], &["test"], &["exec", "n1", "--", "true"], &["fault", "kill", "n1"]] {
        let text = sandbox.expect(2, words);
        assert!(text.contains("no lab \"texec\""), "{words:?}: {text}");
    }
}
