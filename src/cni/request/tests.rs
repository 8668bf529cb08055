//! Tests of what calls are taken and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn environment(verb: &str) -> Environment {
    Environment {
        command: Some(verb.to_owned()),
        container_id: Some("0123abc".to_owned()),
        netns: Some("/run/netns/pod".to_owned()),
        interface: Some("eth0".to_owned()),
        args: None,
    }
}

fn configuration(more: &Value) -> Vec<u8> {
    let mut all = json!({"cniVersion": "1.1.0", "name": "k8s", "type": "brindle-cni"});
    let map = all.as_object_mut().unwrap();
    map.extend(more.as_object().unwrap().clone());
    serde_json::to_vec(&all).unwrap()
}

#[test]
fn what_is_not_said_has_its_default() {
    let Ok(Request::Add(attachment, netns, network)) =
        read(&environment("ADD"), &configuration(&json!({"capabilities": {"ips": true}, "x": 1})))
    else {
        panic!("no ADD");
    };
    assert_eq!(attachment.key.container_id, "0123abc");
    assert_eq!((attachment.key.interface.as_str(), attachment.pod), ("eth0", None));
    assert_eq!(netns, Path::new("/run/netns/pod"));
    let want = Network {
        version: SpecVersion::V1_1_0,
        name: "k8s".to_owned(),
        socket: "/run/brindle/brindle.sock".into(),
        data_dir: "/var/lib/brindle/cni".into(),
        mtu: None,
        wait_seconds: 20,
        addresses: vec![],
        dns: None,
    };
    assert_eq!(network, want);
}

#[test]
fn everything_that_is_ours_is_read() {
    let mut environment = environment("ADD");
    environment.args = Some(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0.a;K8S_POD_INFRA_CONTAINER_ID=9;K8S_POD_UID=1-2;"
            .to_owned(),
    );
    let Ok(Request::Add(attachment, _, network)) = read(
        &environment,
        &configuration(&json!({
            "cniVersion": "0.3.1", "socket": "/s", "dataDir": "/d", "mtu": 1400, "waitSeconds": 3,
            "runtimeConfig": {"ips": ["10.0.0.1/24", "fd00::1"], "portMappings": []},
            "dns": {"nameservers": ["192.0.2.1"]}, "prevResult": null,
        })),
    ) else {
        panic!("no ADD");
    };
    let pod = attachment.pod.unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, pod.uid.as_deref()), ("shop", "web-0.a", Some("1-2")));
    let want = Network {
        version: SpecVersion::V0_3_1,
        name: "k8s".to_owned(),
        socket: "/s".into(),
        data_dir: "/d".into(),
        mtu: Some(1400),
        wait_seconds: 3,
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        dns: Some(json!({"nameservers": ["192.0.2.1"]})),
    };
    assert_eq!(network, want);
}

#[test]
fn hostile_environments_are_refused_by_name() {
    type Spoil = fn(&mut Environment);
    let spoils: &[(Spoil, &str)] = &[
        (|e| e.command = None, "CNI_COMMAND is missing"),
        (|e| e.command = Some("add".into()), "CNI_COMMAND \"add\""),
        (|e| e.container_id = None, "CNI_CONTAINERID is missing"),
        (|e| e.container_id = Some("../../etc".into()), "CNI_CONTAINERID"),
        (|e| e.container_id = Some(".hidden".into()), "CNI_CONTAINERID"),
        (|e| e.container_id = Some("a/b".into()), "CNI_CONTAINERID"),
        (|e| e.container_id = Some("a@b".into()), "CNI_CONTAINERID"),
        (|e| e.container_id = Some("a\0b".into()), "CNI_CONTAINERID"),
        (|e| e.container_id = Some("a\nb".into()), "CNI_CONTAINERID"),
        (|e| e.container_id = Some("ä".into()), "CNI_CONTAINERID"),
        (|e| e.container_id = Some("a".repeat(201)), "CNI_CONTAINERID"),
        (|e| e.interface = None, "CNI_IFNAME is missing"),
        (|e| e.interface = Some("sixteen_letters_".into()), "CNI_IFNAME"),
        (|e| e.interface = Some(".".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("..".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("a/b".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("a:b".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("a b".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("a\u{7f}".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("eth%d".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("lo".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("all".into()), "CNI_IFNAME"),
        (|e| e.interface = Some("default".into()), "CNI_IFNAME"),
        (|e| e.netns = None, "CNI_NETNS is missing"),
        (|e| e.netns = Some("run/netns/x".into()), "CNI_NETNS"),
        (|e| e.netns = Some("/run/netns/../x".into()), "CNI_NETNS"),
        (|e| e.netns = Some("/run/netns/x\n".into()), "CNI_NETNS"),
        (|e| e.netns = Some("/run/\0".into()), "CNI_NETNS"),
        (|e| e.netns = Some(format!("/{}", "x".repeat(5000))), "CNI_NETNS"),
        (|e| e.args = Some("K8S_POD_NAME".into()), "CNI_ARGS"),
        (|e| e.args = Some("=x".into()), "CNI_ARGS"),
        (|e| e.args = Some("a b=x".into()), "CNI_ARGS"),
        (|e| e.args = Some("A=\u{1b}[2J".into()), "CNI_ARGS"),
        (|e| e.args = Some("A=1".repeat(2000)), "CNI_ARGS has 6000 octets"),
        (|e| e.args = Some("K8S_POD_NAMESPACE=a;K8S_POD_NAME=../b".into()), "K8S_POD_NAME"),
        (|e| e.args = Some("K8S_POD_NAMESPACE=a/b;K8S_POD_NAME=b".into()), "K8S_POD_NAMESPACE"),
        (|e| e.args = Some("K8S_POD_NAMESPACE=a;K8S_POD_NAME=$(x)".into()), "K8S_POD_NAME"),
        (|e| e.args = Some("K8S_POD_NAMESPACE=a".into()), "K8S_POD_NAME"),
        (|e| e.args = Some("K8S_POD_NAME=a".into()), "K8S_POD_NAMESPACE"),
        (|e| e.args = Some("K8S_POD_NAME=a;K8S_POD_NAME=b".into()), "K8S_POD_NAME once"),
    ];
    for (number, (spoil, want)) in spoils.iter().enumerate() {
        let mut environment = environment("ADD");
        spoil(&mut environment);
        let failure = read(&environment, &configuration(&json!({}))).unwrap_err();
        assert_eq!(failure.code, Code::InvalidEnvironment, "{number}: {failure}");
        assert!(failure.message.contains(want), "{number}: {failure}");
    }
}

#[test]
fn wrong_configurations_are_refused_by_key_and_value() {
    use Code::{Decode, IncompatibleVersion, InvalidConfig, UnsupportedField};
    for (verb, stdin, code, want) in [
        ("ADD", Vec::new(), Decode, "standard input: EOF"),
        ("ADD", b"[]".to_vec(), Decode, "no JSON object"),
        ("ADD", b"{\xff".to_vec(), Decode, "standard input"),
        ("ADD", "[".repeat(100_000).into_bytes(), Decode, "recursion limit"),
        ("ADD", b"{}".to_vec(), IncompatibleVersion, "cniVersion null: accepted are 0.3.1"),
        ("ADD", configuration(&json!({"cniVersion": "0.2.0"})), IncompatibleVersion, "\"0.2.0\""),
        ("ADD", configuration(&json!({"cniVersion": 1})), IncompatibleVersion, "cniVersion 1:"),
        (
            "CHECK",
            configuration(&json!({"cniVersion": "0.3.1"})),
            IncompatibleVersion,
            "CHECK exists since 0.4.0",
        ),
        (
            "GC",
            configuration(&json!({"cniVersion": "1.0.0"})),
            IncompatibleVersion,
            "GC exists since 1.1.0",
        ),
        (
            "STATUS",
            configuration(&json!({"cniVersion": "1.0.0"})),
            IncompatibleVersion,
            "STATUS exists",
        ),
        ("ADD", configuration(&json!({"name": "a/b"})), InvalidConfig, "name: \"a/b\""),
        ("ADD", configuration(&json!({"name": null})), InvalidConfig, "name: null"),
        (
            "ADD",
            configuration(&json!({"socket": 7})),
            InvalidConfig,
            "socket: 7: accepted is an absolute",
        ),
        ("ADD", configuration(&json!({"socket": "run/x"})), InvalidConfig, "socket: \"run/x\""),
        ("ADD", configuration(&json!({"dataDir": ["/x"]})), InvalidConfig, "dataDir: [\"/x\"]"),
        ("ADD", configuration(&json!({"dataDir": "/x\u{0}"})), InvalidConfig, "dataDir"),
        (
            "ADD",
            configuration(&json!({"mtu": "1500"})),
            InvalidConfig,
            "mtu: \"1500\": accepted is a number from 576 to 65535, or 0",
        ),
        ("ADD", configuration(&json!({"mtu": 100})), InvalidConfig, "mtu: 100"),
        ("ADD", configuration(&json!({"mtu": 1e9})), InvalidConfig, "mtu: 1000000000.0"),
        (
            "ADD",
            configuration(&json!({"waitSeconds": 0})),
            InvalidConfig,
            "waitSeconds: 0: accepted is a number from 1 to 600",
        ),
        (
            "ADD",
            configuration(&json!({"runtimeConfig": {"ips": "10.0.0.1"}})),
            InvalidConfig,
            "runtimeConfig.ips: \"10.0.0.1\"",
        ),
        (
            "ADD",
            configuration(&json!({"runtimeConfig": {"ips": ["x"]}})),
            InvalidConfig,
            "runtimeConfig.ips: \"x\"",
        ),
        (
            "ADD",
            configuration(&json!({"runtimeConfig": {"ips": ["10.0.0.1", "10.0.0.2"]}})),
            InvalidConfig,
            "at most one a family",
        ),
        (
            "ADD",
            configuration(&json!({"prevResult": {"ips": []}})),
            UnsupportedField,
            "must be the first of \"plugins\"",
        ),
        ("CHECK", configuration(&json!({})), InvalidConfig, "prevResult is missing"),
        (
            "CHECK",
            configuration(&json!({"prevResult": {"ips": 3}})),
            InvalidConfig,
            "prevResult is no result",
        ),
        ("GC", configuration(&json!({})), InvalidConfig, "cni.dev/valid-attachments null"),
        (
            "GC",
            configuration(&json!({"cni.dev/valid-attachments": [{"containerID": "a"}]})),
            InvalidConfig,
            "cni.dev/valid-attachments {",
        ),
    ] {
        let failure = read(&environment(verb), &stdin).unwrap_err();
        assert_eq!(failure.code, code, "{want}: {failure}");
        assert!(failure.message.contains(want), "{want}: {failure}");
    }
}

#[test]
fn a_del_needs_no_namespace_and_a_version_needs_nothing() {
    let mut gone = environment("DEL");
    for netns in [None, Some(String::new()), Some("../x".to_owned())] {
        gone.netns = netns;
        assert!(matches!(read(&gone, &configuration(&json!({}))), Ok(Request::Del(..))));
    }
    let version = Environment { command: Some("VERSION".to_owned()), ..Environment::default() };
    assert_eq!(read(&version, b""), Ok(Request::Version));
}

#[test]
fn what_garbage_collection_keeps_is_read_under_both_names() {
    let list = json!([{"containerID": "a", "ifname": "eth0"}]);
    for name in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let Ok(Request::Gc(valid, _)) =
            read(&environment("GC"), &configuration(&json!({name: list})))
        else {
            panic!("{name}");
        };
        assert_eq!(valid, [Key { container_id: "a".to_owned(), interface: "eth0".to_owned() }]);
    }
}

#[test]
fn errors_answer_in_the_version_that_was_asked_for() {
    for (stdin, want) in [
        (configuration(&json!({"cniVersion": "0.4.0"})), SpecVersion::V0_4_0),
        (configuration(&json!({"cniVersion": "9"})), SpecVersion::LATEST),
        (b"nonsense".to_vec(), SpecVersion::LATEST),
    ] {
        assert_eq!(version_to_answer_in(&stdin), want);
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(verb in "ADD|DEL|CHECK|GC|STATUS|.*", id in ".*", netns in ".*",
        interface in ".*", args in ".*", stdin in prop::collection::vec(any::<u8>(), 0..100)) {
        let environment = Environment {
            command: Some(verb),
            container_id: Some(id),
            netns: Some(netns),
            interface: Some(interface),
            args: Some(args),
        };
        let _ = read(&environment, &stdin);
        if let Ok(Request::Add(attachment, netns, _)) = read(&environment, &configuration(&json!({})))
        {
            prop_assert!(!attachment.key.container_id.contains(['/', '\0', '@']));
            prop_assert!(!attachment.key.interface.contains(['/', '\0']));
            prop_assert!(netns.is_absolute());
        }
    }
}
