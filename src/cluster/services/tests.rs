use std::collections::BTreeSet;
use std::sync::Arc;

use brindle_config::{Config, ServiceSettings};
use k8s_openapi::api::core::v1::Service as RawService;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;

use brindle_bgp::net::Prefix;

use super::*;
use crate::cluster::kind::Kind;
use crate::cluster::object::Object;

fn settings(yaml: &str) -> ServiceSettings {
    let text = format!("source: {{kind: files, path: /m}}\nbgp: {{services: {{{yaml}}}}}");
    Config::from_yaml("test.yaml", &text).unwrap().bgp.services
}

/// A Service in namespace `shop` from what its YAML says.
fn service(name: &str, spec: &str) -> Service {
    let text = format!("metadata: {{name: {name}, namespace: shop}}\n{spec}");
    let object: RawService = serde_yaml::from_str(&text).unwrap();
    read_service(&object).unwrap()
}

/// An IPv4 slice of a Service with endpoints such as `n1`, `n2!` (not ready), `n3~` (ending) and
/// `-` (on no node).
fn slice(service: &str, endpoints: &[&str]) -> Endpoints {
    slice_of(service, "IPv4", endpoints)
}

fn slice_of(service: &str, family: &str, endpoints: &[&str]) -> Endpoints {
    let endpoints: Vec<String> = endpoints.iter().map(|text| endpoint(text)).collect();
    let text = format!(
        "metadata: {{name: {service}-{family}, namespace: shop, labels: \
         {{kubernetes.io/service-name: {service}}}}}\naddressType: {family}\nendpoints: [{}]",
        endpoints.join(", ")
    );
    let object: EndpointSlice = serde_yaml::from_str(&text).unwrap();
    read_endpoints(&object).unwrap()
}

fn endpoint(text: &str) -> String {
    let node = text.trim_end_matches(['!', '~']);
    let node = if node == "-" { String::new() } else { format!("nodeName: {node}, ") };
    let conditions = match text.chars().last() {
        Some('!') => "conditions: {ready: false}",
        // As of one that publishes what is not ready.
        Some('~') => "conditions: {ready: true, serving: true, terminating: true}",
        _ => "conditions: {}",
    };
    format!("{{addresses: [10.244.0.1], {node}{conditions}}}")
}

fn objects(services: Vec<Service>, slices: Vec<Endpoints>) -> ServiceObjects {
    let mut objects = ServiceObjects::default();
    services.into_iter().for_each(|service| objects.apply(Arc::new(service)));
    for slice in slices {
        objects.set_endpoints(&slice.key.clone(), Some(Arc::new(slice)));
    }
    objects
}

/// What `n1` and `n2` announce, as text; `n9` has the label that excludes it.
fn announced(settings: &ServiceSettings, objects: &ServiceObjects) -> [String; 3] {
    let advertised = advertise(settings, objects, ["n9".into()].into());
    ["n1", "n2", "n9"].map(|node| {
        let prefixes = advertised.prefixes(node);
        prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    })
}

const BLOCKS: &str = "clusterIPs: [10.96.0.0/16], externalIPs: [192.0.2.0/24], loadBalancerIPs: \
                      [198.51.100.0/24]";

#[test]
fn endpoints_of_the_first_beta_version_have_their_node_in_their_topology() {
    let endpoint = r#"{"addresses":["10.244.1.1"],"topology":{"kubernetes.io/hostname":"n1"}}"#;
    let rest = r#""metadata":{"name":"web-1","namespace":"shop","labels":
        {"kubernetes.io/service-name":"web"}},"addressType":"IPv4""#;
    // In a listing objects have no version of their own.
    for version in [r#""apiVersion":"discovery.k8s.io/v1beta1","kind":"EndpointSlice","#, ""] {
        let text = format!(r#"{{{version}{rest},"endpoints":[{endpoint}]}}"#);
        let reading = crate::cluster::typed::read_json(Kind::EndpointSlice, &text);
        let Ok(Object::Slice { routing: Some(slice), .. }) = reading.object else {
            panic!("{text}: {:?}", reading.object)
        };
        assert_eq!(slice.nodes, ["n1".into()].into(), "{version}");
    }
}

#[test]
fn load_balancers_of_other_classes_are_somebody_elses_where_classes_are_named() {
    let of_class = |name: &str, octet: u8, class: &str| {
        service(
            name,
            &format!(
                "spec: {{type: LoadBalancer, clusterIPs: [10.96.0.{octet}], {class}}}\nstatus: \
                 {{loadBalancer: {{ingress: [{{ip: 198.51.100.{octet}}}]}}}}"
            ),
        )
    };
    let services = vec![
        of_class("web", 1, ""),
        of_class("db", 2, "loadBalancerClass: example.com/bgp"),
        of_class("log", 3, "loadBalancerClass: example.com/other"),
    ];
    let slices = ["web", "db", "log"].map(|name| slice(name, &["n1"])).into();
    let objects = objects(services, slices);
    let cluster = "10.96.0.1/32 10.96.0.2/32 10.96.0.3/32";
    for (classes, want) in [
        ("", "198.51.100.1/32 198.51.100.2/32 198.51.100.3/32"),
        ("loadBalancerClasses: [\"\"],", "198.51.100.1/32"),
        ("loadBalancerClasses: [\"\", example.com/bgp],", "198.51.100.1/32 198.51.100.2/32"),
        ("loadBalancerClasses: [example.com/other],", "198.51.100.3/32"),
    ] {
        let yaml =
            format!("{BLOCKS}, {classes} hostRoutes: [clusterIPs, externalIPs, loadBalancerIPs]");
        let [n1, ..] = announced(&settings(&yaml), &objects);
        assert_eq!(n1, format!("{cluster} {want}"), "{classes}");
    }
}

#[test]
fn blocks_with_pods_or_nodes_in_them_are_told_with_their_field() {
    let node = |name: &str, address: &str, range: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, spec: {{podCIDRs: \
             ['{range}']}}, status: {{addresses: [{{type: InternalIP, address: '{address}'}}]}}}}"
        );
        let mut read = crate::cluster::manifest::read(&text).unwrap();
        match read.remove(0).objects.remove(0) {
            Object::Node { routing, .. } => (routing.name.clone(), routing),
            other => panic!("{other:?}"),
        }
    };
    let nodes =
        [node("n1", "10.0.0.1", "10.244.1.0/24"), node("n2", "fd00::2", "fd00:244::/64")].into();
    let claims = crate::cluster::claims::settle(&nodes, None, &Default::default());
    let yaml = settings("clusterIPs: [10.96.0.0/12, 10.240.0.0/12]");
    let all = ServiceSettings {
        external_ips: vec!["10.0.0.0/24".parse().unwrap(), "192.0.2.0/24".parse().unwrap()],
        load_balancer_ips: vec!["fd00:244::/80".parse().unwrap()],
        ..yaml.clone()
    };
    let found: Vec<String> =
        overlaps(&all, &yaml, &claims).iter().map(ToString::to_string).collect();
    let apart = "accepted are blocks apart from all pods and nodes";
    assert_eq!(
        found,
        [
            format!(
                "bgp.services.clusterIPs: 10.240.0.0/12 overlaps with 10.244.1.0/24, where pods of \
                 Node/n1 are; {apart}"
            ),
            format!(
                "BGPConfiguration/default: spec.serviceExternalIPs: 10.0.0.0/24 holds 10.0.0.1, an \
                 address of Node/n1; {apart}"
            ),
            format!(
                "BGPConfiguration/default: spec.serviceLoadBalancerIPs: fd00:244::/80 overlaps with \
                 fd00:244::/64, where pods of Node/n2 are; {apart}"
            ),
        ]
    );
}

#[test]
fn blocks_are_announced_by_all_and_local_addresses_where_something_is_ready() {
    let web = |more: &str| {
        format!(
            "spec: {{type: LoadBalancer, clusterIPs: [10.96.0.10], externalIPs: [192.0.2.1], \
             {more}}}\nstatus: {{loadBalancer: {{ingress: [{{ip: 198.51.100.1}}]}}}}"
        )
    };
    let local = web("externalTrafficPolicy: Local");
    let blocks = "10.96.0.0/16 192.0.2.0/24 198.51.100.0/24";
    let all = "10.96.0.0/16 10.96.0.10/32 192.0.2.0/24 192.0.2.1/32 198.51.100.0/24 \
               198.51.100.1/32";
    let hosts = "10.96.0.10/32 192.0.2.1/32 198.51.100.1/32";
    let ready = slice("web", &["n1", "n2!"]);
    let one_by_one = "hostRoutes: [clusterIPs, externalIPs, loadBalancerIPs]";
    for (what, yaml, spec, slice, want) in [
        ("a block alone", "", web(""), ready.clone(), [blocks, blocks, ""]),
        ("local", "", local.clone(), ready.clone(), [all, blocks, ""]),
        ("one by one", one_by_one, web(""), ready.clone(), [hosts, hosts, ""]),
        ("both", one_by_one, local.clone(), ready.clone(), [hosts, "", ""]),
        ("no endpoint", one_by_one, web(""), slice("web", &["n1!", "n2~"]), ["", "", ""]),
        ("none here", "", local.clone(), slice("web", &["-", "n3"]), [blocks, blocks, ""]),
        ("outside", one_by_one, web(""), slice("web", &["-"]), [hosts, hosts, ""]),
        ("ending", "", local.clone(), slice("web", &["n1~", "n2"]), [blocks, all, ""]),
        ("excluded", "", local.clone(), slice("web", &["n9"]), [blocks, blocks, ""]),
        (
            "inside only",
            "",
            web("internalTrafficPolicy: Local"),
            ready.clone(),
            ["10.96.0.0/16 10.96.0.10/32 192.0.2.0/24 198.51.100.0/24", blocks, ""],
        ),
        (
            "some one by one",
            "hostRoutes: [externalIPs]",
            web(""),
            ready,
            ["10.96.0.0/16 192.0.2.1/32 198.51.100.0/24"; 2]
                .into_iter()
                .chain([""])
                .collect::<Vec<_>>()
                .try_into()
                .unwrap(),
        ),
    ] {
        let settings = settings(format!("{BLOCKS}, {yaml}").trim_end_matches([',', ' ']));
        let objects = objects(vec![service("web", &spec)], vec![slice]);
        assert_eq!(announced(&settings, &objects), want, "{what}");
    }
}

#[test]
fn only_addresses_that_nodes_answer_to_and_blocks_hold_are_announced() {
    let yaml = format!("{BLOCKS}, hostRoutes: [clusterIPs, externalIPs, loadBalancerIPs]");
    let settings = settings(&yaml);
    let balanced = |ingress: &str| {
        format!(
            "spec: {{type: LoadBalancer, clusterIP: 10.97.0.1}}\nstatus: {{loadBalancer: \
             {{ingress: [{ingress}]}}}}"
        )
    };
    for (spec, want) in [
        ("spec: {clusterIP: 10.96.0.1}".to_owned(), "10.96.0.1/32"),
        ("spec: {clusterIPs: [10.96.0.1, 'fd00::1']}".to_owned(), "10.96.0.1/32"),
        // Outside of what the blocks hold.
        ("spec: {clusterIP: 10.97.0.1, externalIPs: [203.0.113.1]}".to_owned(), ""),
        // Not of this kind.
        ("spec: {clusterIP: 192.0.2.7}".to_owned(), ""),
        ("spec: {clusterIP: None, externalIPs: [192.0.2.7]}".to_owned(), ""),
        ("spec: {type: ExternalName, externalName: a.b, externalIPs: [192.0.2.7]}".to_owned(), ""),
        ("spec: {externalIPs: [192.0.2.7]}".to_owned(), ""),
        (
            "spec: {type: NodePort, clusterIP: 10.97.0.1, externalIPs: [192.0.2.7]}".to_owned(),
            "192.0.2.7/32",
        ),
        (balanced("{ip: 198.51.100.7}, {hostname: a.b}"), "198.51.100.7/32"),
        (balanced("{ip: 198.51.100.7, ipMode: VIP}"), "198.51.100.7/32"),
        (balanced("{ip: 198.51.100.7, ipMode: Proxy}"), ""),
        // What it had as another type.
        (balanced("{ip: 198.51.100.7}").replace("LoadBalancer,", "ClusterIP,"), ""),
    ] {
        let objects = objects(vec![service("web", &spec)], vec![slice("web", &["n1"])]);
        assert_eq!(announced(&settings, &objects), [want, want, ""], "{spec}");
    }
}

#[test]
fn each_family_has_its_own_endpoints() {
    let settings = settings("externalIPs: [192.0.2.0/24, '2001:db8::/64']");
    let spec = "spec: {clusterIP: 10.96.0.1, externalIPs: [192.0.2.1, '2001:db8::1'], \
                externalTrafficPolicy: Local}";
    let slices = vec![slice_of("web", "IPv4", &["n1"]), slice_of("web", "IPv6", &["n2"])];
    let objects = objects(vec![service("web", spec)], slices);
    let want =
        ["192.0.2.0/24 192.0.2.1/32 2001:db8::/64", "192.0.2.0/24 2001:db8::/64 2001:db8::1/128"];
    assert_eq!(announced(&settings, &objects)[..2], want);
}

#[test]
fn a_block_of_one_address_is_announced_while_a_service_has_it() {
    let settings = settings("externalIPs: [192.0.2.1/32]");
    let spec = "spec: {clusterIP: 10.96.0.1, externalIPs: [192.0.2.1]}";
    let ready = vec![slice("web", &["n1"])];
    let there = objects(vec![service("web", spec)], ready.clone());
    assert_eq!(announced(&settings, &there), ["192.0.2.1/32", "192.0.2.1/32", ""]);
    assert_eq!(announced(&settings, &objects(vec![], ready)), ["", "", ""]);
}

#[test]
fn reasons_name_every_service_that_shares_an_address() {
    let settings = settings("externalIPs: [192.0.2.0/24]");
    let spec = "spec: {clusterIP: 10.96.0.1, externalIPs: [192.0.2.1], externalTrafficPolicy: \
                Local}";
    let services = vec![service("web", spec), service("api", spec)];
    let objects = objects(services, vec![slice("web", &["n1"]), slice("api", &["n1", "n2"])]);
    let advertised = advertise(&settings, &objects, BTreeSet::new());
    let said = |node, prefix: &str| {
        let reasons = advertised.reasons(node, &prefix.parse().unwrap());
        reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let both = "external IP of Service shop/api, external IP of Service shop/web";
    assert_eq!(said("n1", "192.0.2.1/32"), both);
    assert_eq!(said("n2", "192.0.2.1/32"), "external IP of Service shop/api");
    assert_eq!(said("n3", "192.0.2.1/32"), "");
    assert_eq!(said("n3", "192.0.2.0/24"), "external IPs of Services");
}

#[test]
fn what_is_wrong_with_a_service_is_named() {
    for (spec, want) in [
        (
            "spec: {clusterIP: 10.96.0}",
            "spec.clusterIP: \"10.96.0\" is not an IP address such as 10.96.0.1",
        ),
        (
            "spec: {clusterIPs: [10.96.0.1], externalIPs: [192.0.2.1, web]}",
            "spec.externalIPs[1]: \"web\" is not an IP address such as 10.96.0.1",
        ),
    ] {
        let text = format!("metadata: {{name: web, namespace: shop}}\n{spec}");
        let bad = read_service(&serde_yaml::from_str(&text).unwrap()).unwrap_err();
        let bad: Vec<String> =
            bad.iter().map(|bad| format!("{}: {}", bad.field, bad.message)).collect();
        assert_eq!(bad, [want], "{spec}");
    }
}

/// Some Services whose one external IP is the last octet, with endpoints on some of three nodes.
fn worlds() -> impl Strategy<Value = Vec<(bool, u8, [bool; 3])>> {
    prop::collection::vec((any::<bool>(), 0..6_u8, any::<[bool; 3]>()), 0..6)
}

fn world(services: &[(bool, u8, [bool; 3])]) -> ServiceObjects {
    let mut all = ServiceObjects::default();
    for (index, (is_local, octet, nodes)) in services.iter().enumerate() {
        let name = format!("s{index}");
        let policy = if *is_local { "Local" } else { "Cluster" };
        let spec = format!(
            "spec: {{clusterIP: 10.96.0.{octet}, externalIPs: [192.0.2.{octet}], \
             externalTrafficPolicy: {policy}}}"
        );
        all.apply(Arc::new(service(&name, &spec)));
        let there = ["n1", "n2", "n9"].into_iter().zip(nodes).filter(|(_, is_there)| **is_there);
        let there: Vec<&str> = there.map(|(node, _)| node).collect();
        let slice = slice(&name, &there);
        all.set_endpoints(&slice.key.clone(), Some(Arc::new(slice)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_announced_is_what_each_service_asks_for(
        services in worlds(),
        one_by_one in any::<bool>(),
    ) {
        let routes = if one_by_one { ", hostRoutes: [externalIPs]" } else { "" };
        let settings = settings(&format!("externalIPs: [192.0.2.0/30]{routes}"));
        let advertised = advertise(&settings, &world(&services), ["n9".into()].into());
        for (place, node) in ["n1", "n2", "n9"].into_iter().enumerate() {
            let mut want: BTreeSet<Prefix> = BTreeSet::new();
            if node != "n9" && !one_by_one {
                want.insert("192.0.2.0/30".parse().unwrap());
            }
            for (is_local, octet, nodes) in services.iter().filter(|(_, octet, _)| *octet < 4) {
                let is_here =
                    if *is_local { nodes[place] } else { one_by_one && nodes.contains(&true) };
                if is_here && node != "n9" {
                    want.insert(format!("192.0.2.{octet}/32").parse().unwrap());
                }
            }
            let got = advertised.prefixes(node);
            prop_assert_eq!(&got, &want, "{}", node);
            let sets = advertised.owned(node);
            let owned: BTreeSet<Prefix> = sets.iter().flat_map(|set| set.iter().copied()).collect();
            prop_assert_eq!(owned, want, "{} may announce what it announces", node);
            for prefix in &got {
                prop_assert!(!advertised.reasons(node, prefix).is_empty());
                prop_assert!(!advertised.reasons_anywhere(prefix).is_empty());
            }
        }
    }
}
