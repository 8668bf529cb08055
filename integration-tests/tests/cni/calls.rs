//! The CNI plug-in with real namespaces, called as container runtimes call it; its agent is a
//! stand-in that does what the test wants.

use std::path::Path;

use integration_tests::cni::{Container, Node, OnAttach, StandIn, addresses};
use integration_tests::skip::can_run;
use serde_json::{Value, json};

use crate::support::{code_of, kill, mtu_of, nothing_is_left, pings, reaches, start};

const DUAL: [&str; 2] = ["10.244.1.0/24", "fd00:1::/64"];

#[test]
fn pods_of_a_node_reach_each_other_and_the_node_on_both_families() {
    if !can_run("pods_of_a_node_reach_each_other_and_the_node", &["ip", "ping"]) {
        return;
    }
    let node = Node::new();
    node.netns.add_address("lo", "192.0.2.1/32").unwrap();
    node.netns.add_address("lo", "2001:db8::1/128").unwrap();
    let agent = StandIn::listen(&node.socket(), &DUAL);
    let (a, b) = (Container::new("a"), Container::new("b"));
    let first = node.add(&a, &json!({})).unwrap();
    let second = node.add(&b, &json!({})).unwrap();
    assert_eq!(addresses(&first), ["10.244.1.1", "fd00:1::1"]);
    assert_eq!(addresses(&second), ["10.244.1.2", "fd00:1::2"]);
    for address in ["10.244.1.2", "fd00:1::2", "192.0.2.1", "2001:db8::1", "fe80::1%eth0"] {
        reaches(&a.netns, address);
    }
    for address in ["10.244.1.1", "fd00:1::1"] {
        reaches(&b.netns, address);
        reaches(&node.netns, address);
    }

    // The agent was told what a pod is known by, before its end was opened.
    let told = &agent.attached()[0];
    let pod = told.pod.as_ref().unwrap();
    assert_eq!((&*pod.namespace, &*pod.name), ("test", "a"));
    assert_eq!(
        told.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        addresses(&first)
    );
    assert_eq!(told.host_interface, first["interfaces"][0]["name"]);
    assert_eq!(told.wait_seconds, 20);

    // The next hop needs no answer: its neighbour entry is there from the start.
    for hop in ["169.254.1.1", "fe80::1"] {
        let entry = a.netns.ip(&format!("neigh show {hop} dev eth0")).unwrap();
        let mac = first["interfaces"][0]["mac"].as_str().unwrap();
        assert!(entry.contains("PERMANENT") && entry.contains(mac), "{entry}");
    }
    // No mistaking our routes for those that the agent learns.
    let route = node.netns.ip("-d route show 10.244.1.1").unwrap();
    assert!(route.contains("proto static scope link"), "{route}");
    let name = told.host_interface.as_str();
    let link = node.netns.ip(&format!("link show {name}")).unwrap();
    assert!(link.contains("alias test/a eth0 (network k8s)"), "{link}");
    for (setting, want) in [
        ("ipv4/conf/NAME/rp_filter", "1"),
        ("ipv4/conf/NAME/proxy_arp", "1"),
        ("ipv6/conf/NAME/proxy_ndp", "1"),
        ("ipv6/conf/NAME/accept_ra", "0"),
    ] {
        let path = format!("/proc/sys/net/{}", setting.replace("NAME", name));
        let value = node.netns.inside(|| std::fs::read_to_string(&path)).unwrap();
        assert_eq!(value.trim(), want, "{setting}");
    }

    for pod in [&a, &b] {
        node.del(pod, &json!({})).unwrap();
    }
    nothing_is_left(&node, &[&a, &b]);
    assert_eq!(agent.detached().len(), 2);
}

#[test]
fn a_pod_of_one_family_has_nothing_of_the_other() {
    if !can_run("a_pod_of_one_family_has_nothing_of_the_other", &["ip", "ping"]) {
        return;
    }
    for (cidr, own, other) in [("10.244.1.0/24", "-4", "-6"), ("fd00:1::/64", "-6", "-4")] {
        let node = Node::new();
        let _agent = StandIn::listen(&node.socket(), &[cidr]);
        let (a, b) = (Container::new("a"), Container::new("b"));
        node.add(&a, &json!({})).unwrap();
        let second = node.add(&b, &json!({})).unwrap();
        reaches(&a.netns, &addresses(&second)[0]);
        let show = |pod: &Container, words: &str| pod.netns.ip(words).unwrap();
        assert!(show(&a, &format!("{own} address show dev eth0")).contains("eth0"));
        assert_eq!(show(&a, &format!("{other} address show dev eth0")), "");
        assert_eq!(show(&a, &format!("{other} route show")), "");
        node.check(&a, &json!({})).unwrap();
    }
}

#[test]
fn the_mtu_is_the_configurations_or_else_the_agents() {
    if !can_run("the_mtu_is_the_configurations_or_else_the_agents", &["ip", "ping"]) {
        return;
    }
    let node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &DUAL);
    for (id, mtu, want) in
        [("a", json!(null), 1450), ("b", json!(0), 1450), ("c", json!(9000), 9000)]
    {
        let pod = Container::new(id);
        let result = node.call("ADD", &pod, 0, &json!({"mtu": mtu, "cniVersion": "1.1.0"}));
        let result = result.unwrap().unwrap();
        assert_eq!(mtu_of(&pod.netns, "eth0"), want, "{id}");
        let name = result["interfaces"][0]["name"].as_str().unwrap();
        assert_eq!(mtu_of(&node.netns, name), want, "{id}");
        assert_eq!(result["interfaces"][1]["mtu"], want, "{id}");
    }
    let error = node.call("ADD", &Container::new("d"), 0, &json!({"mtu": 1000})).unwrap_err();
    assert_eq!(error.code(), Some(7), "{error}");
    assert!(error.to_string().contains("mtu: 1000: accepted is at least 1280"), "{error}");
}

#[test]
fn every_version_gets_its_result_and_its_check() {
    if !can_run("every_version_gets_its_result_and_its_check", &["ip"]) {
        return;
    }
    let mut node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &DUAL);
    for (version, family) in [
        ("0.3.1", json!("4")),
        ("0.4.0", json!("4")),
        ("1.0.0", Value::Null),
        ("1.1.0", Value::Null),
    ] {
        node.list["cniVersion"] = json!(version);
        let pod = Container::new("pod");
        let result = node.add(&pod, &json!({})).unwrap();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["ips"][0]["version"], family, "{version}");
        assert_eq!(result["interfaces"][1]["sandbox"], pod.netns.path().to_str().unwrap());
        let shown = pod.netns.ip("link show eth0").unwrap();
        assert!(shown.contains(result["interfaces"][1]["mac"].as_str().unwrap()), "{shown}");
        match node.check(&pod, &json!({})) {
            Err(error) if version == "0.3.1" => assert_eq!(error.code(), Some(1), "{error}"),
            checked => checked.unwrap(),
        }
        node.del(&pod, &json!({})).unwrap();
    }
    node.list["cniVersion"] = json!("0.2.0");
    assert_eq!(code_of(node.add(&Container::new("pod"), &json!({}))), 1);
    let versions = node.call("VERSION", &Container::new("pod"), 0, &json!({})).unwrap().unwrap();
    assert_eq!(versions["supportedVersions"], json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
}

#[test]
fn a_del_succeeds_whatever_is_missing() {
    if !can_run("a_del_succeeds_whatever_is_missing", &["ip"]) {
        return;
    }
    let node = Node::new();
    let agent = StandIn::listen(&node.socket(), &DUAL);
    let connect = |id: &str| {
        let pod = Container::new(id);
        node.add(&pod, &json!({})).unwrap();
        pod
    };
    // Twice, and without an ADD.
    let pod = connect("twice");
    node.del(&pod, &json!({})).unwrap();
    node.del(&pod, &json!({})).unwrap();
    node.del(&Container::new("never"), &json!({})).unwrap();
    assert_eq!(agent.detached().len(), 1);
    // Without a namespace: not named, named and gone, and the kernel took the cable with it.
    let pod = connect("unnamed");
    node.call_with("DEL", &pod, None, 0, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);
    let pod = connect("gone");
    node.call_with("DEL", &pod, Some(Path::new("/run/netns/gone")), 0, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);
    let pod = connect("cut");
    pod.netns.ip("link del eth0").unwrap();
    node.del(&pod, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);
    // Without the agent.
    let pod = connect("alone");
    std::fs::remove_file(node.socket()).unwrap();
    node.del(&pod, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);
    // Without the data, as after somebody has cleaned up.
    std::fs::remove_dir_all(node.data_dir()).unwrap();
    node.del(&pod, &json!({})).unwrap();
}

#[test]
fn without_the_agents_word_nothing_is_made() {
    if !can_run("without_the_agents_word_nothing_is_made", &["ip"]) {
        return;
    }
    let node = Node::new();
    let pod = Container::new("pod");
    let fails = |code: u64, words: &[&str]| {
        let error = node.add(&pod, &json!({})).unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
        }
        nothing_is_left(&node, &[&pod]);
    };
    let socket = node.socket();
    let at = format!("the brindle agent does not answer at {}", socket.display());
    let again = "the pod stays closed and is tried again";
    fails(11, &[&at, "no such socket", again]);
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    fails(11, &[&at, "nobody listens", again]);
    std::fs::remove_file(&socket).unwrap();

    let agent = StandIn::listen(&socket, &[]);
    fails(11, &["node node-1 has no podCIDR yet", again]);
    agent.node(|node| node.problem = Some("still starting".to_owned()));
    fails(11, &["still starting", again]);
    agent.node(|node| {
        node.problem = None;
        node.pod_cidrs = vec!["10.244.1.0/24".parse().unwrap()];
    });
    agent.on_attach(OnAttach::Refuse("ipset: no memory".to_owned()));
    fails(102, &["10.244.1.1", "ipset: no memory", "within 20 s"]);
    assert_eq!(agent.detached().len(), 1);
    agent.on_attach(OnAttach::Program);
    // Something else that fails after all is made: the route is another's.
    node.netns.ip("route add 10.244.1.2 dev lo").unwrap();
    fails(100, &["the route to 10.244.1.2 over brn", "File exists"]);
    pod.netns.ip("link add eth0 type bridge").unwrap();
    let error = node.add(&pod, &json!({})).unwrap_err();
    assert_eq!(error.code(), Some(100), "{error}");
    assert!(node.cables().is_empty() && node.records().is_empty());
    assert!(pod.netns.ip("-d link show eth0").unwrap().contains("bridge"));
}

#[test]
fn a_pod_is_closed_until_its_isolation_is_programmed() {
    if !can_run("a_pod_is_closed_until_its_isolation_is_programmed", &["ip", "ping"]) {
        return;
    }
    let node = Node::new();
    let agent = StandIn::listen(&node.socket(), &DUAL);
    node.netns.add_address("lo", "192.0.2.1/32").unwrap();
    agent.on_attach(OnAttach::Hang);
    let pod = Container::new("pod");
    let add = start(&node, "ADD", &pod);
    integration_tests::until("the agent is asked", integration_tests::wait::SOON, || {
        agent.attached().pop().ok_or_else(|| "not yet".to_owned())
    });
    let cable = node.cables();
    let link = node.netns.ip(&format!("link show {}", cable[0])).unwrap();
    assert!(link.contains("state DOWN") && !link.contains(",UP"), "{link}");
    assert!(!pings(&pod.netns, "192.0.2.1") && !pings(&node.netns, "10.244.1.1"));
    // Whoever kills the call now leaves it so.
    kill(add);
    let link = node.netns.ip(&format!("link show {}", cable[0])).unwrap();
    assert!(!link.contains(",UP"), "{link}");
    assert_eq!(node.records().len(), 1);

    // The same container again has the same addresses, and there is one of everything.
    agent.on_attach(OnAttach::Program);
    let result = node.add(&pod, &json!({})).unwrap();
    assert_eq!(addresses(&result), ["10.244.1.1", "fd00:1::1"]);
    assert_eq!((node.cables(), node.records().len()), (cable, 1));
    reaches(&pod.netns, "192.0.2.1");
    node.check(&pod, &json!({})).unwrap();
    node.del(&pod, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);

    // Or it is not tried again but taken back, as with another container of the same pod.
    agent.on_attach(OnAttach::Hang);
    let add = start(&node, "ADD", &pod);
    integration_tests::until("the agent is asked", integration_tests::wait::SOON, || {
        (agent.attached().len() == 3).then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    kill(add);
    node.del(&pod, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);
}

#[test]
fn a_call_that_is_killed_anywhere_leaves_nothing_that_stays() {
    if !can_run("a_call_that_is_killed_anywhere_leaves_nothing_that_stays", &["ip"]) {
        return;
    }
    let node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &DUAL);
    let pod = Container::new("pod");
    for turn in 0..60 {
        let verb = if turn % 3 == 2 { "DEL" } else { "ADD" };
        let call = start(&node, verb, &pod);
        std::thread::sleep(std::time::Duration::from_millis(turn));
        kill(call);
        assert!(node.cables().len() <= 1, "{:?}", node.cables());
        if turn % 5 == 0 {
            node.add(&pod, &json!({})).unwrap();
            assert_eq!((node.cables().len(), node.records().len()), (1, 1));
            node.check(&pod, &json!({})).unwrap();
        }
    }
    node.del(&pod, &json!({})).unwrap();
    nothing_is_left(&node, &[&pod]);
}

#[test]
fn a_hundred_calls_at_once_give_a_hundred_addresses() {
    if !can_run("a_hundred_calls_at_once_give_a_hundred_addresses", &["ip"]) {
        return;
    }
    let node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &["10.244.1.0/25", "fd00:1::/64"]);
    let pods: Vec<Container> = (0..100).map(|n| Container::new(&format!("pod{n}"))).collect();
    let more = json!({"waitSeconds": 300});
    let begin = std::time::Instant::now();
    let results: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = pods
            .iter()
            .map(|pod| scope.spawn(|| node.call("ADD", pod, 0, &more).unwrap().unwrap()))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    println!("100 ADDs at once took {:?}", begin.elapsed());
    let mut all: Vec<String> = results.iter().flat_map(addresses).collect();
    assert_eq!(all.len(), 200);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 200, "an address was given twice");
    assert_eq!((node.cables().len(), node.records().len()), (100, 100));
    let routes = node.netns.ip("route show proto static").unwrap();
    assert_eq!(routes.lines().count(), 100, "{routes}");
}

#[test]
fn released_addresses_are_not_given_at_once_and_a_full_range_says_so() {
    if !can_run("released_addresses_are_not_given_at_once", &["ip"]) {
        return;
    }
    let node = Node::new();
    let agent = StandIn::listen(&node.socket(), &["10.244.1.0/29"]);
    let mut pods = Vec::new();
    let mut add = |node: &Node, id: &str| {
        let pod = Container::new(id);
        let address = addresses(&node.add(&pod, &json!({})).unwrap()).remove(0);
        pods.push(pod.clone());
        (pod, address)
    };
    let (first, address) = add(&node, "a");
    assert_eq!(address, "10.244.1.1");
    node.del(&first, &json!({})).unwrap();
    for (id, want) in [("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6), ("g", 1)] {
        assert_eq!(add(&node, id).1, format!("10.244.1.{want}"), "{id}");
    }
    let error = node.add(&Container::new("h"), &json!({})).unwrap_err();
    assert_eq!(error.code(), Some(101), "{error}");
    assert!(error.to_string().contains("10.244.1.0/29 of this node is full: all 6"), "{error}");
    let status =
        |node: &Node| node.call_with("STATUS", &first, None, 0, &json!({"cniVersion": "1.1.0"}));
    let error = status(&node).unwrap_err();
    assert_eq!(error.code(), Some(50), "{error}");
    node.del(&pods[2], &json!({})).unwrap();
    assert_eq!(status(&node).unwrap(), None);
    agent.node(|node| node.problem = Some("stopping".to_owned()));
    assert!(status(&node).unwrap_err().to_string().contains("stopping"));
    std::fs::remove_file(node.socket()).unwrap();
    assert_eq!(code_of(status(&node)), 50);
}

#[test]
fn addresses_that_are_asked_for_are_had_or_refused() {
    if !can_run("addresses_that_are_asked_for_are_had_or_refused", &["ip"]) {
        return;
    }
    let node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &DUAL);
    let asked = json!({"ips": ["10.244.1.77/24"]});
    let pod = Container::new("pod");
    let result = node.add(&pod, &asked).unwrap();
    assert_eq!(addresses(&result), ["10.244.1.77", "fd00:1::1"]);
    let other = Container::new("other");
    for (ips, want) in [
        (json!(["10.244.1.77"]), "10.244.1.77 is another container's"),
        (json!(["10.244.2.1"]), "accepted are those of 10.244.1.0/24, fd00:1::/64"),
    ] {
        let error = node.add(&other, &json!({"ips": ips})).unwrap_err();
        assert_eq!(error.code(), Some(104), "{error}");
        assert!(error.to_string().contains(want), "{error}");
    }
    assert_eq!(node.records(), ["pod@eth0.json"]);
    assert_eq!(node.cables().len(), 1);
}

#[test]
fn a_check_names_what_is_not_as_it_was_made() {
    if !can_run("a_check_names_what_is_not_as_it_was_made", &["ip"]) {
        return;
    }
    let node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &DUAL);
    type Spoil = fn(&Node, &Container, &str);
    let spoils: [(Spoil, &str); 7] = [
        (|n, _, name| drop(n.netns.ip(&format!("link set {name} down"))), "is down"),
        (|n, _, _| drop(n.netns.ip("route del 10.244.1.1")), "no route to 10.244.1.1 over brn"),
        (|_, p, _| drop(p.netns.ip("address del 10.244.1.1/32 dev eth0")), "eth0 lacks 10.244.1.1"),
        (|_, p, _| drop(p.netns.ip("-6 route del default")), "no route to ::/0"),
        (|_, p, _| drop(p.netns.ip("link set eth0 address 02:00:00:00:00:99")), "hardware address"),
        (|_, p, _| drop(p.netns.ip("link del eth0")), "the container has no eth0"),
        (|n, _, _| std::fs::remove_dir_all(n.data_dir()).unwrap(), "there is no record of it"),
    ];
    for (spoil, want) in spoils {
        // Each starts with the first address.
        let _ = std::fs::remove_dir_all(node.data_dir());
        let pod = Container::new("pod");
        let result = node.add(&pod, &json!({})).unwrap();
        node.check(&pod, &json!({})).unwrap();
        spoil(&node, &pod, result["interfaces"][0]["name"].as_str().unwrap());
        let error = node.check(&pod, &json!({})).unwrap_err().to_string();
        assert!(error.contains(want), "{want}: {error}");
        node.del(&pod, &json!({})).unwrap();
    }
}

#[test]
fn garbage_collection_takes_what_the_runtime_no_longer_knows() {
    if !can_run("garbage_collection_takes_what_the_runtime_no_longer_knows", &["ip"]) {
        return;
    }
    let node = Node::new();
    let _agent = StandIn::listen(&node.socket(), &DUAL);
    node.netns.ip("link add brn00000000000 type bridge").unwrap();
    node.netns.ip("link add veth9 type veth peer name veth8").unwrap();
    let pods = ["keep", "drop", "lost", "other"].map(Container::new);
    for pod in &pods[..3] {
        node.add(pod, &json!({})).unwrap();
    }
    node.call("ADD", &pods[3], 0, &json!({"name": "other"})).unwrap();
    // One whose record is lost is still found by its cable.
    std::fs::remove_file(node.data_dir().join("attachments/lost@eth0.json")).unwrap();
    let valid = json!([{"containerID": "keep", "ifname": "eth0"}]);
    let gc = |more: Value| node.call_with("GC", &pods[0], None, 0, &more);
    gc(json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": valid})).unwrap();
    assert_eq!(node.records(), ["keep@eth0.json", "other@eth0.json"]);
    assert_eq!(node.cables().len(), 3, "{:?}", node.cables());
    assert!(node.netns.ip("link show veth9").is_ok());
    node.check(&pods[0], &json!({})).unwrap();
    // A list that is missing is no empty list.
    assert_eq!(code_of(gc(json!({"cniVersion": "1.1.0"}))), 7);
    assert_eq!(node.records().len(), 2);
}

#[test]
fn what_is_no_namespace_of_a_container_is_refused() {
    if !can_run("what_is_no_namespace_of_a_container_is_refused", &["ip"]) {
        return;
    }
    let node = Node::new();
    let agent = StandIn::listen(&node.socket(), &DUAL);
    let pod = Container::new("pod");
    let own = node.netns.path();
    for (netns, code, want) in [
        (Path::new("/run/netns/none-such"), 3, "no such namespace"),
        (Path::new("/etc/passwd"), 4, "no network namespace"),
        (Path::new("/proc/self/ns/uts"), 4, "no network namespace"),
        (own.as_path(), 4, "the node's own"),
        (Path::new("/proc/self/../self/ns/net"), 4, "without \"..\""),
        (Path::new("x\ny"), 4, "absolute path"),
    ] {
        let error = node.call_with("ADD", &pod, Some(netns), 0, &json!({})).unwrap_err();
        assert_eq!(error.code(), Some(code), "{}: {error}", netns.display());
        assert!(error.to_string().contains(want), "{}: {error}", netns.display());
    }
    assert!(agent.attached().is_empty() && node.records().is_empty());
}

#[test]
fn what_is_on_standard_input_is_limited_and_output_is_only_json() {
    if !can_run("what_is_on_standard_input_is_limited", &["ip"]) {
        return;
    }
    let node = Node::new();
    let pod = Container::new("pod");
    let error = node.call("ADD", &pod, 0, &json!({"x": "y".repeat(2 << 20)})).unwrap_err();
    assert_eq!(error.code(), Some(6), "{error}");
    assert!(error.to_string().contains("too long; accepted are 1048576 octets"), "{error}");
    let error = node.call("ADD", &pod, 0, &json!({"prevResult": {"ips": []}})).unwrap_err();
    assert_eq!(error.code(), Some(2), "{error}");
    assert!(error.to_string().contains("must be the first of \"plugins\""), "{error}");
}

#[test]
fn without_a_call_it_explains_itself_and_puts_itself_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let program = integration_tests::agent::binary();
    let run = |program: &Path, words: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(words).env_remove("CNI_COMMAND").output().unwrap()
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let to = folder.path().to_str().unwrap();
    let done = run(program, &["cni", "install", "--to", to]);
    assert!(done.status.success() && said(&done).contains("brindle-cni is brindle"), "{done:?}");
    let again = run(program, &["cni", "install", "--to", to]);
    assert!(again.status.success() && said(&again).contains("already"), "{again:?}");
    let plugin = folder.path().join("brindle-cni");
    for (program, words) in [(program, &["cni"][..]), (plugin.as_path(), &[])] {
        let output = run(program, words);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(said(&output).contains("CNI_COMMAND is not set"), "{output:?}");
    }
    let gone = run(program, &["cni", "install", "--to", "/none/such"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(said(&gone).contains("--to /none/such: no such folder"), "{gone:?}");
}
