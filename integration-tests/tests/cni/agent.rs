//! Agents whose pods our network plug-in connects: what it is told over the socket becomes
//! rules, what it has recorded outlives the agent, and the container runtime is told of it.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use brindle::cni::record::{self, PodName, Record};
use integration_tests::node::Node;
use integration_tests::wait::{SOON, met, until};
use integration_tests::{Netns, skip};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PROGRAMS: [&str; 4] = ["ip", "iptables-nft-save", "iptables-legacy-save", "ipset"];

/// A pod as the API server has it while it is connected.
fn fresh(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{nodeName: n1}}\n"
    )
}

/// A node with an agent that has the plug-in connect its pods.
fn node(backend: &str) -> Node {
    let node = Node::new();
    fs::remove_file(node.path("manifests/pod.yaml")).expect("it is there");
    node.netns.ip("link set eth0 mtu 1400").expect("it is a cable");
    node.configure(&format!(
        "bgp: {{enabled: false}}\npolicy: {{enabled: true, backend: {backend}}}\n\
         cni: {{enabled: true, configDir: {}, dataDir: {}}}",
        node.path("net.d").display(),
        node.path("data").display(),
    ));
    node
}

/// The node's end of a pod's cable, as the plug-in makes it, with its record.
fn connect(node: &Node, name: &str, number: u8) -> Arc<Netns> {
    let pod = Netns::new(name).expect("a network namespace");
    let interface = format!("brn{number}");
    node.netns.cable(&interface, &pod, "eth0").expect("the number is free");
    let address = IpAddr::from([10, 244, 1, number]);
    let record = Record {
        container_id: format!("c{number}"),
        interface: "eth0".into(),
        host_interface: interface,
        pod: Some(PodName { namespace: "shop".into(), name: name.into(), uid: None }),
        addresses: vec![address],
    };
    let folder = record::folder(&node.path("data"));
    fs::create_dir_all(&folder).expect("the folder is ours");
    let text = serde_json::to_vec(&record).expect("it can be JSON");
    fs::write(folder.join(format!("c{number}@eth0.json")), text).expect("the folder is ours");
    pod
}

fn attach(node: &Node, name: &str, number: u8, wait: u32) -> Value {
    let (status, answer) = node.call(
        "/v1/cni/attach",
        Some(json!({
            "pod": {"namespace": "shop", "name": name, "uid": null},
            "hostInterface": format!("brn{number}"),
            "addresses": [format!("10.244.1.{number}")],
            "waitSeconds": wait,
        })),
    );
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The pairs of address and interface that may send.
fn pairs(node: &Node) -> Vec<String> {
    let saved = node.netns.run("ipset", &["save"]).expect("it can be read");
    let pairs = saved.lines().filter(|line| line.starts_with("add brn-a4-"));
    pairs.filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect()
}

#[test]
fn what_the_plug_in_connects_is_opened_and_outlives_the_agent() {
    let name = "what_the_plug_in_connects_is_opened_and_outlives_the_agent";
    if !skip::can_run(name, &PROGRAMS) {
        return;
    }
    for backend in ["nft", "legacy"] {
        let mut node = node(backend);
        node.start(&[]);
        node.answers("/readyz", 200);
        let conflist = node.path("net.d/10-brindle.conflist");
        let text = until("the runtime is told", SOON, || {
            fs::read_to_string(&conflist).map_err(|error| error.to_string())
        });
        let list: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(list["plugins"][0]["dataDir"], node.path("data").display().to_string());

        let (_, answer) = node.call("/v1/cni/node", None);
        let want =
            json!({"node": "n1", "podCIDRs": ["10.244.1.0/24"], "mtu": 1400, "problem": null});
        assert_eq!(answer, want);

        let _web = connect(&node, "web", 2);
        let answer = attach(&node, "web", 2, 1);
        assert_eq!(
            answer,
            json!({
                "programmed": false,
                "problem": "Pod shop/web is not known yet: the API server has not told of it"
            })
        );
        assert!(pairs(&node).is_empty());
        let (_, endpoints) = node.call("/v1/endpoints", None);
        assert_eq!(endpoints["items"][0]["state"], "pending", "{endpoints}");
        assert_eq!(endpoints["items"][0]["interface"], "brn2", "{endpoints}");
        // It is told while somebody waits.
        let answer = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| attach(&node, "web", 2, 60));
            node.manifest("web", &fresh("web"));
            waiting.join().expect("it is answered")
        });
        assert_eq!(answer, json!({"programmed": true, "problem": null}));
        assert_eq!(pairs(&node), ["10.244.1.2,brn2"]);
        let (_, endpoints) = node.call("/v1/endpoints", None);
        assert_eq!(endpoints["items"][0]["interface"], "brn2", "{endpoints}");
        assert_eq!(endpoints["items"][0]["state"], "programmed", "{endpoints}");
        let metrics = node.answers("/metrics", 200);
        let line = "brindle_policy_pod_wait_seconds_count 1";
        assert!(metrics.lines().any(|found| found == line), "no {line} in {metrics}");

        // A container that Kubernetes does not know, and an interface that is not there.
        let mut nobodys = json!({
            "pod": null, "hostInterface": "brn2", "addresses": ["10.244.1.9"], "waitSeconds": 60,
        });
        nobodys["hostInterface"] = "brn9".into();
        let (status, answer) = node.call("/v1/cni/attach", Some(nobodys));
        assert_eq!(status, 400, "{answer}");
        assert_eq!(answer["message"], "hostInterface: there is no interface brn9");

        // Again, with what it recorded: nothing changes, not even by a write.
        let rules = node.rules(backend);
        node.process().signal(Signal::SIGTERM);
        assert!(node.process().wait(SOON).success());
        let _late = connect(&node, "late", 3);
        node.start(&[]);
        node.answers("/readyz", 200);
        let metrics = node.answers("/metrics", 200);
        let line = "brindle_policy_applies_total{result=\"ok\"} 0";
        assert!(metrics.lines().any(|found| found.starts_with(line)), "no {line} in {metrics}");
        assert_eq!((node.rules(backend), pairs(&node)), (rules, vec!["10.244.1.2,brn2".into()]));
        assert_eq!(attach(&node, "web", 2, 60)["programmed"], true);

        // What leads to a pod is put back, once its interface is on.
        node.netns.ip("link set brn2 up").expect("it is there");
        until("the route is there", SOON, || {
            let routes = node.netns.ip("route show dev brn2").map_err(|error| error.to_string())?;
            met(routes.starts_with("10.244.1.2 proto static scope link"), || routes.clone())
        });
        // So is what the kernel checks senders by.
        let setting = "net/ipv4/conf/brn2/rp_filter";
        let is_strict = || {
            let value = node.netns.run("cat", &[&format!("/proc/sys/{setting}")]);
            let value = value.map_err(|error| error.to_string())?;
            met(value.trim() == "1", || value.clone())
        };
        until("senders are checked", SOON, is_strict);
        node.netns.sysctl(setting, "0").expect("it is there");
        until("senders are checked again", SOON, is_strict);
        assert!(node.process().output().contains("put back what leads to pods: rp_filter of brn2"));
        // A pod that goes, told and not told.
        node.manifest("late", &fresh("late"));
        until("both are open", SOON, || {
            let pairs = pairs(&node);
            met(pairs.len() == 2, || format!("{pairs:?}"))
        });
        let (_, answer) = node.call("/v1/cni/detach", Some(json!({"hostInterface": "brn3"})));
        assert_eq!(answer, json!({"known": true}));
        until("one is closed", SOON, || {
            let pairs = pairs(&node);
            met(pairs == ["10.244.1.2,brn2"], || format!("{pairs:?}"))
        });
        node.netns.ip("link delete brn2").expect("it is there");
        until("the other is closed", SOON, || {
            let pairs = pairs(&node);
            met(pairs.is_empty(), || format!("{pairs:?}"))
        });
    }
}

#[test]
fn what_cannot_be_read_or_is_not_ours_is_told_and_left_alone() {
    let name = "what_cannot_be_read_or_is_not_ours_is_told_and_left_alone";
    if !skip::can_run(name, &PROGRAMS) {
        return;
    }
    let mut node = node("nft");
    node.manifest("web", &fresh("web"));
    let _web = connect(&node, "web", 2);
    fs::create_dir(node.path("net.d")).expect("it is new");
    fs::write(node.path("net.d/10-brindle.conflist"), "{}").expect("the folder is ours");
    fs::write(node.path("net.d/05-other.conf"), "{}").expect("the folder is ours");
    node.start(&[]);
    node.answers("/livez", 200);
    until("the file is told of", SOON, || {
        let status = node.status();
        let problems = status["problems"].to_string();
        let is_told = problems.contains("is left alone")
            && problems.contains("takes 05-other.conf before 10-brindle.conflist");
        met(is_told, || problems.clone())
    });
    let text = fs::read_to_string(node.path("net.d/10-brindle.conflist"));
    assert_eq!(text.expect("it is there"), "{}");
    assert_eq!(pairs(&node), ["10.244.1.2,brn2"], "from the record");
    let rules = node.rules("nft");
    node.process().signal(Signal::SIGKILL);
    node.process().wait(SOON);

    // Records that cannot be read: all stays as it is.
    let (folder, aside) = (node.path("data/attachments"), node.path("data/aside"));
    fs::rename(&folder, &aside).expect("one file system");
    fs::write(&folder, "").expect("it is away");
    fs::remove_file(node.path("manifests/web.yaml")).expect("it is there");
    node.start(&[]);
    until("it is told", SOON, || {
        let (_, verbose) = node.ask("/healthz?verbose")?;
        met(verbose.contains("pods' interfaces are not known"), || verbose.clone())
    });
    assert_eq!((node.rules("nft"), pairs(&node)), (rules, vec!["10.244.1.2,brn2".into()]));
    fs::remove_file(&folder).expect("it is there");
    fs::rename(&aside, &folder).expect("one file system");
    until("what changed meanwhile is seen to", SOON, || {
        let pairs = pairs(&node);
        met(pairs.is_empty(), || format!("{pairs:?}"))
    });
}
