//! Which connections are judged again, and which of them are cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_policy::model::{
    DEFAULT_ALLOW_PROFILE, DeviceAddresses, EndpointSlice, HostInterface, Namespace, Pod,
    ServiceName, SliceKey,
};
use brindle_policy::{Change, PodKey, Protocol, ingest};

use super::*;

fn tuple(source: &str, destination: &str, ports: (u16, u16)) -> Tuple {
    Tuple {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: 6,
        source_port: Some(ports.0),
        destination_port: Some(ports.1),
        icmp: None,
    }
}

/// `web` is closed, `free` is not; both are on `n1`. `far`, on `n2`, is closed too.
fn world() -> World {
    let mut world = World::default();
    let labels = [("kubernetes.io/metadata.name".into(), "a".into())].into();
    world.apply(Change::NamespaceApplied(Arc::new(Namespace { name: "a".into(), labels })));
    for (name, node, address) in
        [("web", "n1", "10.1.0.1"), ("free", "n1", "10.1.0.2"), ("far", "n2", "10.2.0.1")]
    {
        let app = if name == "free" { "free" } else { "closed" };
        world.apply(Change::PodApplied(Arc::new(Pod {
            key: PodKey { namespace: "a".into(), name: name.into() },
            labels: [("app".into(), app.into())].into(),
            node: Some(node.into()),
            host_network: false,
            finished: false,
            addresses: vec![address.parse().unwrap()],
            ports: BTreeSet::new(),
            created: "".into(),
            service_account: "default".into(),
        })));
    }
    let object = serde_json::json!({
        "metadata": {"name": "closed", "namespace": "a"},
        "spec": {"podSelector": {"matchLabels": {"app": "closed"}}}
    });
    let object = serde_json::from_value(object).unwrap();
    let policy = brindle_policy::ingest::network_policy(&object).unwrap();
    world.apply(Change::PolicyApplied(Arc::new(policy)));
    world
}

#[test]
fn exactly_what_could_not_begin_any_more_is_guilty() {
    let world = world();
    let hosts = HostSettings::default();
    let law = Law { world: &world, node: "n1", hosts: &hosts };
    let (service, outside) = ("10.96.0.1", "192.0.2.1");
    let plain = |from: &str, to: &str| {
        Entry::new(tuple(from, to, (4000, 80)), tuple(to, from, (80, 4000)), None)
    };
    let control = tuple(outside, "10.1.0.1", (4001, 21));
    let allowed = tuple("10.1.0.1", outside, (4001, 21));
    for (what, entry, is_guilty) in [
        ("into the closed one", plain(outside, "10.1.0.1"), true),
        ("from the closed one", plain("10.1.0.1", outside), false),
        ("into the free one", plain(outside, "10.1.0.2"), false),
        ("not of this node", plain(outside, "10.2.0.1"), false),
        ("of this node, denied at the other", plain("10.1.0.2", "10.2.0.1"), true),
        (
            "through a Service",
            Entry::new(
                tuple(outside, service, (4000, 443)),
                tuple("10.1.0.1", outside, (80, 4000)),
                None,
            ),
            true,
        ),
        (
            "from behind the node's address",
            Entry::new(
                tuple("10.1.0.1", outside, (4000, 80)),
                tuple(outside, "192.0.2.9", (80, 61000)),
                None,
            ),
            false,
        ),
        (
            "related to one that is allowed",
            Entry::new(
                tuple(outside, "10.1.0.1", (20, 5000)),
                tuple("10.1.0.1", outside, (5000, 20)),
                Some(allowed),
            ),
            false,
        ),
        (
            "related to one that is denied",
            Entry::new(
                tuple("10.1.0.1", outside, (5001, 5000)),
                tuple(outside, "10.1.0.1", (5000, 5001)),
                Some(control),
            ),
            true,
        ),
    ] {
        let masters = [
            Entry::new(control, tuple("10.1.0.1", outside, (21, 4001)), None),
            Entry::new(allowed, tuple(outside, "10.1.0.1", (21, 4001)), None),
        ];
        // In slices of one, the related one told first.
        let entries = [entry.clone()].into_iter().chain(masters).collect();
        let mut trial = Trial::new(entries);
        let guilty = std::iter::repeat_with(|| trial.go_on(law, 1));
        let guilty = guilty.take(3).flatten().next().expect("three are judged in three turns");
        assert_eq!(guilty.contains(&entry), is_guilty, "{what}");
        assert_eq!(guilty.len(), 1 + usize::from(is_guilty), "{what}: the control denied");
    }
}

#[test]
fn what_is_affected_follows_from_what_was_touched() {
    let mut world = world();
    drop(world.take_touched());
    let free = PodKey { namespace: "a".into(), name: "free".into() };
    let mut pod = Pod::clone(world.pod(&free).expect("it is there"));
    pod.labels = [("app".into(), "closed".into())].into();
    world.apply(Change::PodApplied(Arc::new(pod)));
    let touched = world.take_touched();
    let mut affected = Affected::of(&world, "n1", &touched);
    let there =
        |from: &str, to: &str| Entry::new(tuple(from, to, (1, 2)), tuple(to, from, (2, 1)), None);
    assert!(affected.concerns(&there("192.0.2.1", "10.1.0.2")));
    assert!(affected.concerns(&there("10.1.0.2", "192.0.2.1")));
    assert!(!affected.concerns(&there("192.0.2.1", "192.0.2.2")));
    let nodes = Touched { nodes: true, ..Touched::default() };
    affected.add(Affected::of(&world, "n1", &nodes));
    assert!(affected.concerns(&there("192.0.2.1", "192.0.2.2")));
    affected.add(Affected::none());
    assert_eq!(affected, Affected::All);
    assert!(Affected::of(&world, "n1", &Touched::default()).is_empty());
}

fn there(from: &str, to: &str) -> Entry {
    Entry::new(tuple(from, to, (1, 2)), tuple(to, from, (2, 1)), None)
}

fn calico(world: &mut World, spec: &serde_json::Value) {
    let object = serde_json::json!({"metadata": {"name": "out", "namespace": "a"}, "spec": spec});
    let object = serde_json::from_value(object).unwrap();
    let policy = ingest::network_policy_v3(&object).unwrap();
    world.apply(Change::PolicyApplied(Arc::new(policy)));
    drop(world.take_touched());
}

#[test]
fn a_network_set_that_changes_affects_connections_with_its_blocks() {
    let mut world = world();
    let rule = serde_json::json!({
        "action": "Allow",
        "destination": {"namespaceSelector": "global()", "selector": "role == 'office'"}
    });
    calico(&mut world, &serde_json::json!({"selector": "app == 'free'", "egress": [rule]}));
    let set = |nets: &[&str]| {
        let object = serde_json::json!({
            "metadata": {"name": "offices", "labels": {"role": "office"}},
            "spec": {"nets": nets}
        });
        let object = serde_json::from_value(object).unwrap();
        let (set, problems) = ingest::global_network_set(&object).unwrap();
        assert_eq!(problems, []);
        Change::NetworkSetApplied(Arc::new(set))
    };
    let many: Vec<String> = (0..=MOST_BLOCKS).map(|i| format!("203.0.{i}.0/24")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    // With the two nets before that went, and the one that came.
    for (nets, near, far) in [
        (&["192.0.2.0/25", "198.51.100.7/32"][..], &["192.0.2.1", "198.51.100.7"][..], true),
        (&["198.51.100.7/32", "192.0.2.128/25"], &["192.0.2.1", "192.0.2.200"], true),
        (&many, &["203.0.7.7", "8.8.8.8"], false),
    ] {
        world.apply(set(nets));
        let touched = world.take_touched();
        let affected = Affected::of(&world, "n1", &touched);
        for address in near {
            assert!(affected.concerns(&there("10.1.0.2", address)), "{nets:?}: {address}");
        }
        assert_eq!(!affected.concerns(&there("10.1.0.2", "8.8.8.8")), far, "{nets:?}");
    }
}

#[test]
fn a_service_that_loses_an_endpoint_affects_who_has_a_rule_for_it() {
    let mut world = world();
    let rule = serde_json::json!({
        "action": "Allow",
        "destination": {"services": {"name": "shop", "namespace": "a"}}
    });
    calico(&mut world, &serde_json::json!({"selector": "app == 'free'", "egress": [rule]}));
    let slice = |service: &str, addresses: &[&str]| {
        Change::SliceApplied(Arc::new(EndpointSlice {
            key: SliceKey { namespace: "a".into(), name: service.into() },
            service: Some(ServiceName { namespace: "a".into(), name: service.into() }),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ports: [(Protocol::Tcp, 80)].into(),
        }))
    };
    for (service, addresses, is_about_free) in [
        ("shop", &["192.0.2.1", "192.0.2.2"][..], true),
        ("shop", &["192.0.2.2"], true),
        ("other", &["192.0.2.1"], false),
    ] {
        world.apply(slice(service, addresses));
        let touched = world.take_touched();
        let affected = Affected::of(&world, "n1", &touched);
        let lost = there("10.1.0.2", "192.0.2.1");
        assert_eq!(affected.concerns(&lost), is_about_free, "{service} {addresses:?}");
        assert!(!affected.concerns(&there("10.1.0.1", "192.0.2.1")), "who names it not");
    }
}

/// `n1` with two interfaces that a host endpoint each is for, of which a policy governs the
/// first, an interface without one, and a third address of its own.
fn hosts() -> World {
    let mut world = world();
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let devices = [("eth0", "192.0.2.10"), ("eth1", "198.51.100.10"), ("eth2", "203.0.113.10")];
    let devices = devices.map(|(name, held)| (name.parse().unwrap(), [address(held)].into()));
    world.apply(Change::Devices(Arc::new(DeviceAddresses { devices: devices.into() })));
    for (name, device, profiles) in
        [("front", "eth0", vec![]), ("open", "eth1", vec![DEFAULT_ALLOW_PROFILE.into()])]
    {
        world.apply(Change::HostEndpointApplied(Arc::new(HostEndpoint {
            name: name.into(),
            labels: [("role".into(), name.into())].into(),
            node: "n1".into(),
            interface: Some(HostInterface::Named(device.parse().unwrap())),
            expected: BTreeSet::new(),
            ports: BTreeSet::new(),
            profiles,
        })));
    }
    world
}

fn front(rule: &serde_json::Value) -> Change {
    let object = serde_json::json!({
        "metadata": {"name": "front"},
        "spec": {"selector": "role == 'front'", "types": ["Ingress"], "ingress": [rule]}
    });
    let object = serde_json::from_value(object).unwrap();
    Change::PolicyApplied(Arc::new(ingest::global_network_policy(&object).unwrap()))
}

#[test]
fn connections_of_the_node_are_judged_by_the_interface_that_has_its_address() {
    let mut world = hosts();
    let rule = serde_json::json!(
        {"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]}}
    );
    world.apply(front(&rule));
    let settings = HostSettings::default();
    let law = Law { world: &world, node: "n1", hosts: &settings };
    let (near, peer) = ("192.0.2.10", "192.0.2.1");
    for (what, from, to, port, is_denied) in [
        ("what a rule allows", peer, near, 80, false),
        ("what none allows", peer, near, 81, true),
        ("a failsafe", peer, near, 22, false),
        ("what goes out, of which no policy is", near, peer, 80, true),
        ("a failsafe that goes out", near, peer, 6443, false),
        ("by an interface whose profile allows it", peer, "198.51.100.10", 81, false),
        ("by an interface without a host endpoint", peer, "203.0.113.10", 81, false),
        ("from the node to itself", near, "198.51.100.10", 81, false),
        ("from the node to its pod", near, "10.1.0.2", 81, false),
        ("from its pod to the node", "10.1.0.2", near, 81, false),
        ("from a pod elsewhere", "10.2.0.1", near, 81, true),
        ("what it only forwards", peer, "10.1.0.2", 81, false),
        ("what is not about it", peer, "192.0.2.99", 81, false),
    ] {
        let entry = Entry::new(tuple(from, to, (4000, port)), tuple(to, from, (port, 4000)), None);
        assert_eq!(law.denies(&entry), is_denied, "{what}");
    }
    // An address that no interface has may be reached by each: all have to deny.
    let mut world = hosts();
    let node = |addresses: &[&str]| {
        Change::NodeApplied(Arc::new(brindle_policy::model::Node {
            name: "n1".into(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            pod_cidrs: BTreeSet::new(),
            labels: BTreeMap::new(),
        }))
    };
    world.apply(node(&["10.9.9.9"]));
    let entry =
        Entry::new(tuple(peer, "10.9.9.9", (1, 81)), tuple("10.9.9.9", peer, (81, 1)), None);
    for (devices, is_denied) in [(&["eth0", "eth1"][..], false), (&["eth0"], true), (&[], false)] {
        let devices = devices.iter().map(|name| (name.parse().unwrap(), BTreeSet::new()));
        let devices = DeviceAddresses { devices: devices.collect() };
        world.apply(Change::Devices(Arc::new(devices)));
        let law = Law { world: &world, node: "n1", hosts: &settings };
        assert_eq!(law.denies(&entry), is_denied, "{:?}", world.devices());
    }
}

#[test]
fn what_changes_about_host_endpoints_affects_connections_of_the_node() {
    let mut world = hosts();
    let of_node = there("192.0.2.1", "192.0.2.10");
    let of_pod = there("192.0.2.1", "10.1.0.2");
    let rule = serde_json::json!({
        "action": "Allow",
        "source": {"services": {"name": "shop", "namespace": "a"}}
    });
    let slice = EndpointSlice {
        key: SliceKey { namespace: "a".into(), name: "shop".into() },
        service: Some(ServiceName { namespace: "a".into(), name: "shop".into() }),
        addresses: ["192.0.2.7".parse().unwrap()].into(),
        ports: [(Protocol::Tcp, 80)].into(),
    };
    let front = front(&rule);
    let Change::PolicyApplied(policy) = &front else { panic!("{front:?}") };
    let gone = Change::PolicyDeleted(policy.id.clone());
    drop(world.take_touched());
    for (change, is_about_node) in [
        (front, true),
        (Change::SliceApplied(Arc::new(slice.clone())), true),
        (gone, true),
        (Change::SliceDeleted(slice.key), false),
        (Change::HostEndpointDeleted("open".into()), true),
        // None is left that could deny.
        (Change::HostEndpointDeleted("front".into()), false),
    ] {
        let what = format!("{change:?}");
        world.apply(change);
        let touched = world.take_touched();
        let affected = Affected::of(&world, "n1", &touched);
        assert_eq!(affected.concerns(&of_node), is_about_node, "{what}");
        assert!(!affected.concerns(&of_pod), "{what}");
    }
}

#[test]
fn connections_that_the_node_forwards_are_judged_by_what_they_cross() {
    let settings = HostSettings::default();
    let (outside, beyond) = ("192.0.2.1", "198.51.100.1");
    let at = |stage: &str| {
        let mut spec = serde_json::json!({
            "selector": "role == 'front'", "applyOnForward": true, "types": ["Ingress"],
            "ingress": [{"action": "Deny", "protocol": "TCP", "destination": {"ports": [81]}},
                        {"action": "Allow"}]
        });
        if stage == "preDNAT" {
            spec["preDNAT"] = true.into();
        }
        let object = serde_json::json!({"metadata": {"name": "crossed"}, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        Change::PolicyApplied(Arc::new(ingest::global_network_policy(&object).unwrap()))
    };
    let devices = |names: &[&str]| {
        let devices = names.iter().map(|name| (name.parse().unwrap(), BTreeSet::new())).collect();
        Change::Devices(Arc::new(DeviceAddresses { devices }))
    };
    // Asked for at one port, and answered at another.
    let entry = |from: &str, to: &str, asked: u16, answered: u16| {
        Entry::new(tuple(from, to, (4000, asked)), tuple(to, from, (answered, 4000)), None)
    };
    for (stage, names, what, entry, is_denied) in [
        ("forward", &["eth0"][..], "through", entry(outside, beyond, 81, 81), true),
        ("forward", &["eth0"], "another port", entry(outside, beyond, 80, 80), false),
        ("forward", &["eth0"], "to a pod", entry(outside, "10.1.0.2", 81, 81), true),
        ("forward", &["eth0"], "from a pod", entry("10.1.0.2", outside, 81, 81), false),
        ("forward", &["eth0"], "translated away", entry(outside, beyond, 81, 80), false),
        ("forward", &["eth0", "eth2"], "maybe by another", entry(outside, beyond, 81, 81), false),
        ("preDNAT", &["eth0"], "translated away", entry(outside, beyond, 81, 80), true),
        ("preDNAT", &["eth0"], "translated to it", entry(outside, beyond, 80, 81), false),
    ] {
        let mut world = hosts();
        world.apply(devices(names));
        drop(world.take_touched());
        let law = Law { world: &world, node: "n1", hosts: &settings };
        assert!(!law.denies(&entry), "{stage} {names:?}: {what} without the policy");
        world.apply(at(stage));
        let touched = world.take_touched();
        let law = Law { world: &world, node: "n1", hosts: &settings };
        assert_eq!(law.denies(&entry), is_denied, "{stage} {names:?}: {what}");
        assert!(Affected::of(&world, "n1", &touched).concerns(&entry), "{stage}: {what}");
    }
}
