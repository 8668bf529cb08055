use std::collections::BTreeSet;

use super::{lines, read};
use crate::ingest::{namespace, node, pod};
use crate::model::{NamedPort, Protocol};

#[test]
fn a_pod_is_what_its_fields_say() {
    let object = read(
        "{metadata: {name: db-0, namespace: shop, labels: {app: db},
           creationTimestamp: '2024-03-01T00:00:05.25Z'},
          spec: {nodeName: n1, serviceAccountName: db, containers: [{name: c}]},
          status: {phase: Running, podIP: 10.1.0.7, podIPs: [{ip: 10.1.0.7}, {ip: 'fd00::7'}]}}",
    );
    let (pod, problems) = pod(&object).unwrap();
    assert_eq!(lines(&problems), Vec::<String>::new());
    assert_eq!((pod.key.to_string().as_str(), pod.node.as_deref()), ("shop/db-0", Some("n1")));
    assert_eq!(&*pod.created, "2024-03-01T00:00:05Z");
    assert_eq!((&*pod.service_account, &*pod.labels["app"]), ("db", "db"));
    let addresses: Vec<_> = pod.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.7", "fd00::7"]);
    assert!(pod.is_endpoint());
}

#[test]
fn whether_a_pod_is_an_endpoint_depends_on_its_network_and_phase() {
    let running = "phase: Running, podIP: 10.1.0.7";
    let deleting = "deletionTimestamp: '2024-03-01T00:00:05Z', deletionGracePeriodSeconds: 30";
    for (id, metadata, spec, status, want) in [
        ("", "", "", running, true),
        ("", "", "", "phase: Pending, podIP: 10.1.0.7", true),
        ("", "", "", "podIP: 10.1.0.7", true),
        ("", "", "", "phase: Running", false),
        ("K11", "", "hostNetwork: true", running, false),
        ("", "", "hostNetwork: false", running, true),
        ("K44", "", "", "phase: Succeeded, podIP: 10.1.0.7", false),
        ("K44", "", "", "phase: Failed, podIP: 10.1.0.7", false),
        ("K45", deleting, "", running, true),
        ("K45", deleting, "", "phase: Failed, podIP: 10.1.0.7", false),
    ] {
        let object = read(&format!(
            "{{metadata: {{name: a, {metadata}}}, spec: {{containers: [], {spec}}}, \
             status: {{{status}}}}}"
        ));
        let (pod, problems) = pod(&object).unwrap();
        assert_eq!(pod.is_endpoint(), want, "{id} {metadata} {spec} {status}");
        assert_eq!(lines(&problems), Vec::<String>::new());
        assert_eq!((&*pod.created, &*pod.service_account), ("", "default"));
    }
}

#[test]
fn addresses_of_a_pod_are_checked() {
    for (status, addresses, problem) in [
        ("podIPs: [], podIP: ''", "[]", None),
        ("podIPs: [{ip: 10.1.0.7}], podIP: 10.1.0.8", "[10.1.0.7]", None),
        ("podIPs: [{ip: 10.1.0.7}, {ip: 10.1.0.7}]", "[10.1.0.7]", None),
        (
            "podIPs: [{ip: 10.1.0.7}, {ip: 10.1.0.8}]",
            "[10.1.0.7]",
            Some(
                "status.podIPs[1].ip: 10.1.0.8 after 10.1.0.7; accepted is one IPv4 address; the pod \
               is known without it",
            ),
        ),
        (
            "podIP: 10.1.0.07",
            "[]",
            Some(
                "status.podIP: \"10.1.0.07\" is not an address; accepted \
          are for instance 10.1.0.7 and fd00::7; the pod is known without it",
            ),
        ),
        (
            "podIP: 127.0.0.1",
            "[]",
            Some("status.podIP: \"127.0.0.1\" is an address that nobody else can reach"),
        ),
        (
            "podIPs: [{ip: '::ffff:10.1.0.7'}]",
            "[]",
            Some(
                "status.podIPs[0].ip: \"::ffff:10.1.0.7\" is an IPv4 address written as an IPv6 one",
            ),
        ),
    ] {
        let object = read(&format!("{{metadata: {{name: a}}, status: {{{status}}}}}"));
        let (pod, problems) = pod(&object).unwrap();
        assert_eq!(format!("{:?}", pod.addresses), addresses, "{status}");
        let got = lines(&problems);
        assert_eq!(got.len(), usize::from(problem.is_some()), "{status}: {got:?}");
        assert!(got.iter().zip(problem).all(|(got, want)| got.starts_with(want)), "{got:?}");
    }
}

#[test]
fn named_ports_are_those_of_all_containers() {
    let object = read(
        "{metadata: {name: a}, spec: {
           containers: [
             {name: a, ports: [{name: http, containerPort: 80}, {containerPort: 9}]},
             {name: b, ports: [{name: http, containerPort: 80, hostPort: 8080},
                               {name: dns, containerPort: 53, protocol: UDP},
                               {name: http, containerPort: 81}]}],
           initContainers: [
             {name: c, restartPolicy: Always, ports: [{name: mesh, containerPort: 15001}]},
             {name: d, ports: [{name: dns, containerPort: 53}, {name: bad_name, containerPort: 1},
                               {name: zero, containerPort: 0},
                               {name: odd, containerPort: 1, protocol: udp}]}]}}",
    );
    let (pod, problems) = pod(&object).unwrap();
    let port = |name: &str, protocol, number| NamedPort { name: name.into(), protocol, number };
    let want = [
        port("http", Protocol::Tcp, 80),
        port("http", Protocol::Tcp, 81),
        port("dns", Protocol::Udp, 53),
        port("dns", Protocol::Tcp, 53),
        port("mesh", Protocol::Tcp, 15001),
    ];
    assert_eq!(pod.ports, BTreeSet::from(want), "K22, K25");
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    let want = [
        "spec.initContainers[1].ports[1].name",
        "spec.initContainers[1].ports[2].containerPort",
        "spec.initContainers[1].ports[3].protocol",
    ];
    assert_eq!(fields, want);
}

#[test]
fn bad_labels_of_objects_count_and_are_told() {
    let object = read("{metadata: {name: a, labels: {'a b': c, d: 'e f', g: h}}}");
    let (pod, problems) = pod(&object).unwrap();
    assert_eq!(pod.labels.len(), 3);
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["metadata.labels[\"a b\"]", "metadata.labels[d]"]);
}

#[test]
fn a_namespace_always_carries_its_name() {
    for (labels, problems) in [
        ("{}", 0),
        ("{kubernetes.io/metadata.name: shop}", 0),
        ("{kubernetes.io/metadata.name: lab}", 1),
    ] {
        let object = read(&format!("{{metadata: {{name: shop, labels: {labels}}}}}"));
        let (namespace, found) = namespace(&object).unwrap();
        assert_eq!(&*namespace.labels["kubernetes.io/metadata.name"], "shop", "K49 {labels}");
        assert_eq!(found.len(), problems, "{labels}");
    }
    assert!(namespace(&read("{}")).is_err());
}

#[test]
fn a_node_is_its_addresses_and_ranges() {
    let object = read(
        "{metadata: {name: n1}, spec: {podCIDR: 10.9.0.0/24, podCIDRs: [10.1.0.0/24, x]},
          status: {addresses: [{type: InternalIP, address: 10.0.0.1},
            {type: ExternalIP, address: 'fd00::1'}, {type: InternalIP, address: n1},
            {type: Hostname, address: n1}, {type: Hostname, address: 10.0.0.2}]}}",
    );
    let (node, problems) = node(&object).unwrap();
    let text = format!("{:?}", node.addresses);
    assert_eq!(text, "{10.0.0.1, 10.0.0.2, fd00::1}");
    assert_eq!(node.pod_cidrs, BTreeSet::from(["10.1.0.0/24".parse().unwrap()]));
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["status.addresses[2].address", "spec.podCIDRs[1]"]);
    let single = read("{metadata: {name: n1}, spec: {podCIDR: 10.9.0.0/24}}");
    let ranges = super::super::node(&single).unwrap().0.pod_cidrs;
    assert_eq!(ranges, BTreeSet::from(["10.9.0.0/24".parse().unwrap()]));
}
