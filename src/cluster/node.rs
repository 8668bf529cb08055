//! From a Kubernetes `Node` object to what routing needs of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use brindle_bgp::net::{Asn, ClusterId, Family, Prefix};
use k8s_openapi::api::core::v1::{Node as Object, NodeSpec};

use super::{Cordon, Node, Taint};

/// The annotation that says in which autonomous system a node speaks.
pub const AS_NUMBER: &str = "brindle.dev/as-number";

/// The annotation that says which further prefixes a node may advertise to the mesh, what it
/// has in `bgp.networks`: separated by commas.
pub const NETWORKS: &str = "brindle.dev/networks";

/// The annotation, or the label, that makes a node reflect routes between the others (RFC 4456),
/// and names the cluster for which it does: four octets such as 10.0.0.1.
pub const ROUTE_REFLECTOR: &str = "brindle.dev/route-reflector-cluster-id";

/// What Calico's users have said the same by: it counts where ours says nothing.
const CALICO_AS_NUMBER: &str = "projectcalico.org/ASNumber";
const CALICO_ROUTE_REFLECTOR: &str = "projectcalico.org/RouteReflectorClusterID";

/// What one field of an object has that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// The field, for instance `spec.podCIDRs[0]`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl BadField {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// What routing needs of `object`, checked at least as strictly as the API server checks it.
/// Fails with every field that is wrong, in the order of the object.
pub fn read(object: &Object) -> Result<Node, Vec<BadField>> {
    let mut bad = Vec::new();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    if let Err(field) = check_name(name) {
        bad.push(field);
    }
    let asn = as_number(object).unwrap_or_else(|field| {
        bad.push(field);
        None
    });
    let route_reflector = route_reflector(object).unwrap_or_else(|field| {
        bad.push(field);
        None
    });
    let networks = networks(object, &mut bad);
    let pod_cidrs = object.spec.as_ref().map(|spec| pod_cidrs(spec, &mut bad));
    let addresses = addresses(object, &mut bad);
    if !bad.is_empty() {
        return Err(bad);
    }
    Ok(Node {
        name: Arc::from(name),
        addresses,
        pod_cidrs: pod_cidrs.unwrap_or_default(),
        networks,
        asn,
        route_reflector,
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        cordon: object.spec.as_ref().map(cordon).unwrap_or_default(),
    })
}

fn check_name(name: &str) -> Result<(), BadField> {
    let field = "metadata.name";
    if name.is_empty() {
        return Err(BadField::new(field, "a Node must have a name"));
    }
    if !brindle_config::is_dns_subdomain(name) {
        return Err(BadField::new(
            field,
            format!(
                "{name:?} is not a name; accepted are up to 253 lower-case letters, digits, \"-\" \
                 and \".\", each part between dots with a letter or digit first and last"
            ),
        ));
    }
    Ok(())
}

fn annotation<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn cordon(spec: &NodeSpec) -> Cordon {
    let taints = spec.taints.iter().flatten().map(|taint| Taint {
        key: taint.key.clone(),
        value: taint.value.clone().unwrap_or_default(),
        effect: taint.effect.clone(),
    });
    Cordon { unschedulable: spec.unschedulable.unwrap_or(false), taints: taints.collect() }
}

fn networks(object: &Object, bad: &mut Vec<BadField>) -> Vec<Prefix> {
    let texts = annotation(object, NETWORKS).unwrap_or_default().split(',').map(str::trim);
    let mut networks = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        match text.parse() {
            Ok(prefix) => networks.push(prefix),
            Err(error) => bad.push(BadField::new(
                format!("metadata.annotations[{NETWORKS}]"),
                format!("{error}"),
            )),
        }
    }
    networks
}

fn as_number(object: &Object) -> Result<Option<Asn>, BadField> {
    let said = |name| Some((name, annotation(object, name)?));
    let Some((name, text)) = said(AS_NUMBER).or_else(|| said(CALICO_AS_NUMBER)) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|error: brindle_bgp::net::BadAsn| {
        BadField::new(format!("metadata.annotations[{name}]"), error.to_string())
    })
}

fn route_reflector(object: &Object) -> Result<Option<ClusterId>, BadField> {
    let said = |name| Some((format!("metadata.annotations[{name}]"), annotation(object, name)?));
    let label = || {
        let text = object.metadata.labels.as_ref()?.get(ROUTE_REFLECTOR)?;
        Some((format!("metadata.labels[{ROUTE_REFLECTOR}]"), text.as_str()))
    };
    let found = said(ROUTE_REFLECTOR).or_else(label).or_else(|| said(CALICO_ROUTE_REFLECTOR));
    let Some((field, text)) = found else { return Ok(None) };
    // Zero stands for no cluster with some speakers, and no two could be told apart by it.
    match text.parse::<Ipv4Addr>() {
        Ok(id) if !id.is_unspecified() => Ok(Some(ClusterId(id.to_bits()))),
        _ => Err(BadField::new(
            field,
            format!(
                "{text:?} is not a cluster id; accepted are four octets such as 10.0.0.1, not all \
                 zero"
            ),
        )),
    }
}

/// `spec.podCIDRs`, or `spec.podCIDR` where that is all there is: at most one a family, the
/// first of the list equal to the single one where both are given.
fn pod_cidrs(spec: &NodeSpec, bad: &mut Vec<BadField>) -> Vec<Prefix> {
    let list = spec.pod_cidrs.as_deref().unwrap_or_default();
    let single = spec.pod_cidr.as_deref().filter(|text| !text.is_empty());
    let mut found: Vec<Prefix> = Vec::new();
    let texts: Vec<(String, &str)> = match (list, single) {
        ([], Some(single)) => vec![("spec.podCIDR".to_owned(), single)],
        (list, _) => (0..)
            .zip(list)
            .map(|(index, text): (usize, _)| (format!("spec.podCIDRs[{index}]"), text.as_str()))
            .collect(),
    };
    for (field, text) in texts {
        let prefix: Prefix = match text.parse() {
            Ok(prefix) => prefix,
            Err(error) => {
                bad.push(BadField::new(field, format!("{error}")));
                continue;
            }
        };
        if prefix.length() == 0 {
            bad.push(BadField::new(field, format!("{prefix} is every address")));
        } else if let Some(other) = found.iter().find(|other| other.family() == prefix.family()) {
            let family = prefix.family();
            let message =
                format!("{prefix} is a second {family} range besides {other}; accepted is one");
            bad.push(BadField::new(field, message));
        } else {
            found.push(prefix);
        }
    }
    if let (Some(first), Some(single)) = (list.first(), single)
        && first != single
    {
        bad.push(BadField::new(
            "spec.podCIDR",
            format!("{single:?} differs from spec.podCIDRs[0], which is {first:?}"),
        ));
    }
    found
}

/// The addresses of type InternalIP; a node without any is there but cannot be reached yet.
fn addresses(object: &Object, bad: &mut Vec<BadField>) -> Vec<IpAddr> {
    let all = object.status.as_ref().and_then(|status| status.addresses.as_deref());
    let mut found = Vec::new();
    for (index, address) in all.unwrap_or_default().iter().enumerate() {
        if address.type_ != "InternalIP" {
            continue;
        }
        match check_address(&address.address) {
            Ok(good) if !found.contains(&good) => found.push(good),
            Ok(_) => {}
            Err(message) => {
                bad.push(BadField::new(format!("status.addresses[{index}].address"), message));
            }
        }
    }
    found
}

fn check_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| format!("{text:?} is not an IP address such as 10.0.0.1"))?;
    let why = match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            return Err(format!(
                "{address} is an IPv4 address in IPv6 clothes; write {}",
                address.to_canonical()
            ));
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link-local",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        _ if address.is_unspecified() => "every address",
        _ if address.is_multicast() => "multicast",
        _ => return Ok(address),
    };
    Err(format!("{address} is {why}; accepted is a unicast address that other nodes reach"))
}

/// Which families of `node`'s pod ranges have no address to be reached by.
pub(super) fn unreachable_families(node: &Node) -> Vec<Family> {
    let has = |family| node.addresses.iter().any(|address| Family::of(*address) == family);
    node.pod_cidrs.iter().map(Prefix::family).filter(|family| !has(*family)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a Node from its YAML; the name `n1` is put in where there is none.
    fn node(rest: &str) -> Result<Node, Vec<String>> {
        let name = if rest.contains("metadata") { "" } else { "metadata: {name: n1}\n" };
        let object: Object = serde_yaml::from_str(&format!("{name}{rest}")).expect("a Node");
        read(&object).map_err(|bad| {
            bad.into_iter().map(|bad| format!("{}: {}", bad.field, bad.message)).collect()
        })
    }

    #[test]
    fn a_node_is_read_as_kubernetes_writes_it() {
        let got = node(
            "
metadata:
  name: n1.example.org
  creationTimestamp: '2026-01-02T03:04:05Z'
  labels: {zone: a}
  annotations:
    brindle.dev/as-number: '65010'
    brindle.dev/networks: 192.0.2.0/24, 2001:db8::/32
    brindle.dev/route-reflector-cluster-id: 10.0.0.1
    other: x
spec:
  podCIDR: 10.244.1.0/24
  podCIDRs: [10.244.1.0/24, 'fd00:10:244:1::/64']
  unschedulable: true
  taints:
  - {key: a.b/c, effect: NoSchedule}
  - {key: maintenance, value: disk, effect: NoExecute}
status:
  addresses:
  - {type: Hostname, address: n1}
  - {type: ExternalIP, address: 192.0.2.1}
  - {type: InternalIP, address: 10.0.0.1}
  - {type: InternalIP, address: 'fd00::1'}
  - {type: InternalIP, address: 10.0.0.1}
",
        );
        let ip = |text: &str| text.parse().expect("an address");
        let prefix = |text: &str| text.parse().expect("a prefix");
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        };
        let want = Node {
            name: "n1.example.org".into(),
            addresses: vec![ip("10.0.0.1"), ip("fd00::1")],
            pod_cidrs: vec![prefix("10.244.1.0/24"), prefix("fd00:10:244:1::/64")],
            networks: vec![prefix("192.0.2.0/24"), prefix("2001:db8::/32")],
            asn: Some(Asn::new(65010).expect("not zero")),
            route_reflector: Some(ClusterId(0x0A00_0001)),
            created: Some("2026-01-02T03:04:05Z".parse().expect("a time")),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            cordon: Cordon {
                unschedulable: true,
                taints: vec![
                    taint("a.b/c", "", "NoSchedule"),
                    taint("maintenance", "disk", "NoExecute"),
                ],
            },
        };
        assert_eq!(got, Ok(want));
    }

    #[test]
    fn what_calico_is_told_of_a_node_counts_where_we_are_told_nothing() {
        let (ours, calicos) = ("brindle.dev/", "projectcalico.org/");
        let reflector = "route-reflector-cluster-id";
        for (metadata, want) in [
            (format!("annotations: {{{calicos}ASNumber: '65010'}}"), (Some(65010), None)),
            (
                format!("annotations: {{{calicos}ASNumber: '1', {ours}as-number: '2'}}"),
                (Some(2), None),
            ),
            (
                format!("annotations: {{{calicos}RouteReflectorClusterID: 244.0.0.1}}"),
                (None, Some(0xF400_0001)),
            ),
            (format!("labels: {{{ours}{reflector}: 10.0.0.1}}"), (None, Some(0x0A00_0001))),
            (
                format!(
                    "annotations: {{{ours}{reflector}: 10.0.0.2, {calicos}RouteReflectorClusterID: \
                     10.0.0.3}}, labels: {{{ours}{reflector}: 10.0.0.1}}"
                ),
                (None, Some(0x0A00_0002)),
            ),
        ] {
            let got = node(&format!("metadata: {{name: n1, {metadata}}}")).expect("a good node");
            let id = got.route_reflector.map(|id| id.0);
            assert_eq!((got.asn.map(Asn::get), id), want, "{metadata}");
        }
        let bad = "metadata: {name: n1, annotations: {projectcalico.org/ASNumber: x}}";
        let bad = node(bad).expect_err("no number");
        assert!(bad[0].starts_with("metadata.annotations[projectcalico.org/ASNumber]"), "{bad:?}");
    }

    #[test]
    fn a_node_that_has_only_joined_is_one_without_addresses_and_ranges() {
        for text in ["", "spec: {}", "status: {}", "spec: {podCIDR: ''}"] {
            let got = node(text).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
            assert_eq!((got.addresses, got.pod_cidrs, got.asn), (vec![], vec![], None), "{text}");
        }
        let single = node("spec: {podCIDR: 10.244.1.0/24}").expect("a good node");
        assert_eq!(single.pod_cidrs, ["10.244.1.0/24".parse().expect("a prefix")]);
    }

    #[test]
    fn wrong_fields_are_named() {
        let address = |text: &str| {
            format!("status: {{addresses: [{{type: InternalIP, address: '{text}'}}]}}")
        };
        for (text, want) in [
            ("metadata: {}", vec!["metadata.name: a Node must have a name"]),
            ("metadata: {name: ''}", vec!["metadata.name: a Node must have a name"]),
            (
                "metadata: {name: a_b}",
                vec![
                    "metadata.name: \"a_b\" is not a name; accepted are up to 253 lower-case letters, digits, \"-\" and \".\", each part between dots with a letter or digit first and last",
                ],
            ),
            (
                "metadata: {name: n1, annotations: {brindle.dev/networks: '192.0.2.1/24'}}",
                vec![
                    "metadata.annotations[brindle.dev/networks]: \"192.0.2.1/24\" has host bits set; its network is 192.0.2.0/24",
                ],
            ),
            (
                "metadata: {name: n1, annotations: {brindle.dev/route-reflector-cluster-id: '1'}}",
                vec![
                    "metadata.annotations[brindle.dev/route-reflector-cluster-id]: \"1\" is not a cluster id; accepted are four octets such as 10.0.0.1, not all zero",
                ],
            ),
            (
                "metadata: {name: n1, annotations: {brindle.dev/as-number: many}}",
                vec![
                    "metadata.annotations[brindle.dev/as-number]: \"many\" is not an AS number; accepted are 1 to 4294967295, also written as 1.10",
                ],
            ),
            (
                "spec: {podCIDRs: [10.244.1.0, 10.244.1.1/24, 0.0.0.0/0]}",
                vec![
                    "spec.podCIDRs[0]: \"10.244.1.0\" is not a prefix; accepted is address/length, for instance 10.244.0.0/16",
                    "spec.podCIDRs[1]: \"10.244.1.1/24\" has host bits set; its network is 10.244.1.0/24",
                    "spec.podCIDRs[2]: 0.0.0.0/0 is every address",
                ],
            ),
            (
                "spec: {podCIDR: x}",
                vec![
                    "spec.podCIDR: \"x\" is not a prefix; accepted is address/length, for instance 10.244.0.0/16",
                ],
            ),
            (
                "spec: {podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}",
                vec![
                    "spec.podCIDRs[1]: 10.2.0.0/24 is a second ipv4 range besides 10.1.0.0/24; accepted is one",
                ],
            ),
            (
                "spec: {podCIDR: 10.2.0.0/24, podCIDRs: [10.1.0.0/24]}",
                vec![
                    "spec.podCIDR: \"10.2.0.0/24\" differs from spec.podCIDRs[0], which is \"10.1.0.0/24\"",
                ],
            ),
            (
                &address("10.0.0"),
                vec![
                    "status.addresses[0].address: \"10.0.0\" is not an IP address such as 10.0.0.1",
                ],
            ),
            (
                &address("::ffff:10.0.0.1"),
                vec![
                    "status.addresses[0].address: ::ffff:10.0.0.1 is an IPv4 address in IPv6 clothes; write 10.0.0.1",
                ],
            ),
            (
                &address("fe80::1"),
                vec![
                    "status.addresses[0].address: fe80::1 is link-local; accepted is a unicast address that other nodes reach",
                ],
            ),
            (
                &address("::"),
                vec![
                    "status.addresses[0].address: :: is every address; accepted is a unicast address that other nodes reach",
                ],
            ),
            (
                &address("224.0.0.1"),
                vec![
                    "status.addresses[0].address: 224.0.0.1 is multicast; accepted is a unicast address that other nodes reach",
                ],
            ),
        ] {
            assert_eq!(node(text).expect_err(text), want, "{text}");
        }
    }
}
