//! What tests of the CNI plug-in have in common.

use std::fmt::Debug;
use std::path::Path;
use std::process::Child;

use brindle::cni::caller::{Call, CallError};
use integration_tests::cni::{Container, Node};
use integration_tests::wait::SOON;
use integration_tests::{Netns, until};
use serde_json::json;

/// The number of the error that a call must have failed with.
#[track_caller]
pub(crate) fn code_of<T: Debug>(outcome: Result<T, CallError>) -> u64 {
    let error = outcome.expect_err("it fails");
    error.code().unwrap_or_else(|| panic!("{error}"))
}

/// Whether one packet is answered.
pub(crate) fn pings(from: &Netns, address: &str) -> bool {
    from.run("ping", &["-n", "-c1", "-W1", address]).is_ok()
}

/// Waits until a packet is answered.
#[track_caller]
pub(crate) fn reaches(from: &Netns, address: &str) {
    until(&format!("{} reaches {address}", from.name()), SOON, || {
        from.run("ping", &["-n", "-c1", "-W2", address]).map(drop).map_err(|e| format!("{e:#}"))
    });
}

/// The MTU of an interface.
pub(crate) fn mtu_of(netns: &Netns, interface: &str) -> u32 {
    let text = netns.ip(&format!("-o link show {interface}")).expect("it is there");
    let (_, rest) = text.split_once(" mtu ").expect("every link has one");
    rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// No cable, no record, no route, and nothing in the containers.
#[track_caller]
pub(crate) fn nothing_is_left(node: &Node, pods: &[&Container]) {
    assert_eq!((node.cables(), node.records()), (vec![], vec![]));
    for family in ["-4", "-6"] {
        let routes = node.netns.ip(&format!("{family} route show proto static")).unwrap();
        assert_eq!(routes, "");
    }
    for pod in pods {
        let links = pod.netns.ip("-o link show").unwrap();
        assert!(!links.contains("eth0"), "{links}");
    }
}

/// Starts a call of the first plug-in and does not wait for its end.
pub(crate) fn start(node: &Node, verb: &str, container: &Container) -> Child {
    use std::io::Write;

    let configuration = node.configuration(0, &json!({}));
    let netns = container.netns.path();
    let program = node.plugin();
    let call = Call {
        program: &program,
        verb,
        container_id: &container.id,
        netns: Some(&netns),
        interface: "eth0",
        args: &container.args,
        path: Path::new(""),
        configuration: &configuration,
    };
    let mut child = node.netns.inside(|| call.command().spawn()).expect("it can be started");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(configuration.to_string().as_bytes()).expect("it reads");
    child
}

/// Kills it with SIGKILL, wherever it is.
pub(crate) fn kill(mut call: Child) {
    // It may have come to its end.
    let _ = call.kill();
    let _ = call.wait();
}
