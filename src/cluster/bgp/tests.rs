//! What objects mean, by tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_bgp::net::{Prefix, Role};
use brindle_bgp::rib::{NextHopMode, PeerKind, PeerPolicy, SendPaths};
use brindle_config::{Config, ServiceAddresses};

use super::*;
use crate::cluster::Node;
use crate::cluster::claims::{Claims, settle};
use crate::cluster::manifest;
use crate::cluster::object::Object;
use crate::cluster::peers::{Identity, wanted_peers};
use crate::speaker::{Key, WantedPeer};

/// What a manifest holds: objects about BGP, nodes, and what is wrong or does nothing, by field.
#[derive(Default)]
struct Cluster {
    objects: BgpObjects,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    wrong: Vec<String>,
    idle: Vec<String>,
}

fn cluster(text: &str) -> Cluster {
    let mut cluster = Cluster::default();
    for document in manifest::read(text).expect("YAML") {
        for object in document.objects {
            match object {
                Object::Bgp(object) => cluster.objects.apply(object),
                Object::Node { routing, .. } => {
                    cluster.nodes.insert(Arc::clone(&routing.name), routing);
                }
                other => panic!("{other:?} is not about BGP"),
            }
        }
        let field = |field: Option<String>| field.unwrap_or_default();
        cluster.wrong.extend(document.refused.into_iter().map(|one| field(one.field)));
        cluster.idle.extend(document.doubts.into_iter().map(|one| field(one.field)));
    }
    cluster.objects.remember_keys();
    cluster
}

/// An object of Calico's.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}}}, spec: \
         {spec}}}\n"
    )
}

fn peer(name: &str, spec: &str) -> String {
    object("BGPPeer", name, spec)
}

/// Node `n<number>` at 10.0.0.<number> with 10.244.<number>.0/24, and these labels and
/// annotations.
fn node(number: u8, labels: &str, annotations: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Node, metadata: {{name: n{number}, labels: {{{labels}}}, \
         annotations: {{{annotations}}}}}, spec: {{podCIDR: 10.244.{number}.0/24}}, status: \
         {{addresses: [{{type: InternalIP, address: 10.0.0.{number}}}]}}}}\n"
    )
}

/// Three nodes, the third in a rack of its own.
fn nodes() -> String {
    [node(1, "rack: a", ""), node(2, "rack: a", ""), node(3, "rack: b", "")].concat()
}

/// What node `n<number>` makes of it, as it is configured so.
fn wanted(cluster: &Cluster, number: u8, yaml: &str) -> (Vec<WantedPeer>, Vec<String>) {
    let bgp = brindle_config::Config::from_yaml("test.yaml", yaml).expect("good").bgp;
    let name: Arc<str> = format!("n{number}").into();
    let node = cluster.nodes.get(&name);
    let effective = cluster.objects.effective(&bgp, &name);
    let own = Identity {
        name: Arc::clone(&name),
        addresses: vec![format!("10.0.0.{number}").parse().expect("an address")],
        router_id: format!("10.0.0.{number}").parse().expect("an id"),
        asn: node.and_then(|node| node.asn).unwrap_or(effective.asn),
        route_reflector: node.and_then(|node| node.route_reflector),
    };
    let claims = settle(&cluster.nodes, None, &Claims::default());
    let (peers, skipped) = wanted_peers(&bgp, &own, &cluster.nodes, &claims, &cluster.objects);
    let skipped = skipped.iter().map(|skip| format!("{}: {}", skip.what(), skip.why)).collect();
    (peers, skipped)
}

/// A peer in a line: `n2 10.0.0.2:179 AS64512 Internal mesh`.
fn line(peer: &WantedPeer) -> String {
    let WantedPeer { rib, port, session, .. } = peer;
    let mesh = if peer.mesh { " mesh" } else { "" };
    let leaving = if peer.leaving { " leaving" } else { "" };
    format!(
        "{} {}:{port} AS{} {:?}{mesh}{leaving}",
        rib.name, rib.address, session.remote_asn, rib.kind
    )
}

fn lines(cluster: &Cluster, number: u8, yaml: &str) -> Vec<String> {
    let (peers, skipped) = wanted(cluster, number, yaml);
    peers.iter().map(line).chain(skipped).collect()
}

const NO_MESH: &str = "{nodeToNodeMeshEnabled: false}";

#[test]
fn peers_are_those_of_the_nodes_that_objects_name() {
    let no_mesh = object("BGPConfiguration", "default", NO_MESH);
    let tor = "peerIP: 10.0.0.250, asNumber: 65001";
    let want = "tor 10.0.0.250:179 AS65001 External";
    for (spec, n1, n3) in [
        (format!("{{{tor}}}"), Some(want), Some(want)),
        (format!("{{{tor}, node: n1}}"), Some(want), None),
        (format!("{{{tor}, nodeSelector: rack == 'b'}}"), None, Some(want)),
        (format!("{{{tor}, nodeSelector: all()}}"), Some(want), Some(want)),
        (
            "{peerIP: '10.0.0.250:1179', asNumber: '1.10'}".to_owned(),
            Some("tor 10.0.0.250:1179 AS65546 External"),
            Some("tor 10.0.0.250:1179 AS65546 External"),
        ),
        (
            "{peerIP: '[2001:db8::1]:1179', asNumber: 64512, node: n3}".to_owned(),
            None,
            Some("tor 2001:db8::1:1179 AS64512 Internal"),
        ),
        // A node at that address is called as in the mesh, and listens where it says.
        (
            "{peerIP: 10.0.0.3, asNumber: 64512, node: n1}".to_owned(),
            Some("n3 10.0.0.3:179 AS64512 Internal mesh"),
            None,
        ),
    ] {
        let cluster = cluster(&[nodes(), no_mesh.clone(), peer("tor", &spec)].concat());
        assert_eq!((&cluster.wrong, &cluster.idle), (&vec![], &vec![]), "{spec}");
        // What the mesh would have is leaving; it is not what this is about.
        let of = |number| {
            let mut all = lines(&cluster, number, "{}");
            all.retain(|line| !line.ends_with("leaving"));
            all
        };
        assert_eq!(of(1), n1.into_iter().collect::<Vec<_>>(), "{spec}");
        assert_eq!(of(3), n3.into_iter().collect::<Vec<_>>(), "{spec}");
    }
}

#[test]
fn selected_nodes_have_the_session_at_both_ends_and_once() {
    let with = |objects: &[String]| {
        let no_mesh = object("BGPConfiguration", "default", NO_MESH);
        cluster(&[nodes(), no_mesh, objects.concat()].concat())
    };
    let names = |cluster: &Cluster, number| -> Vec<String> {
        let (peers, _) = wanted(cluster, number, "{}");
        let staying = peers.iter().filter(|peer| !peer.leaving);
        staying.map(|peer| peer.rib.name.to_string()).collect()
    };
    let to_b = "nodeSelector: rack == 'a', peerSelector: rack == 'b'";
    for (objects, want) in [
        (vec![peer("up", &format!("{{{to_b}}}"))], [vec!["n3"], vec!["n3"], vec!["n1", "n2"]]),
        (
            vec![peer("up", &format!("{{{to_b}, reversePeering: Manual}}"))],
            [vec!["n3"], vec!["n3"], vec![]],
        ),
        // Said from both ends, it is one session.
        (
            vec![
                peer("down", "{nodeSelector: rack == 'b', peerSelector: rack == 'a'}"),
                peer("up", &format!("{{{to_b}}}")),
            ],
            [vec!["n3"], vec!["n3"], vec!["n1", "n2"]],
        ),
        // A node is no peer of itself.
        (
            vec![peer("all", "{peerSelector: all()}")],
            [vec!["n2", "n3"], vec!["n1", "n3"], vec!["n1", "n2"]],
        ),
        (
            vec![peer("one", "{node: n2, peerSelector: all()}")],
            [vec!["n2"], vec!["n1", "n3"], vec!["n2"]],
        ),
    ] {
        let cluster = with(&objects);
        assert_eq!(cluster.wrong, Vec::<String>::new(), "{objects:?}");
        let got: [Vec<String>; 3] = [1, 2, 3].map(|number| names(&cluster, number));
        assert_eq!(got, want.map(|all| own(&all)), "{objects:?}");
    }
}

#[test]
fn sources_of_one_neighbour_make_one_session() {
    let tor = peer("tor", "{peerIP: 10.0.0.250, asNumber: 65001, nextHopMode: Self}");
    let again = peer("a-tor", "{peerIP: 10.0.0.250, asNumber: 65009}");
    let own = peer("own", "{node: n1, peerIP: 10.0.0.250, asNumber: 65002}");
    let to_n3 = peer("n3s", "{peerSelector: rack == 'b', sourceAddress: None}");
    let yaml = "bgp: {peers: [{name: t, peerIP: 10.0.0.250, asNumber: 65003, importFilters: [], \
                exportFilters: []}]}";
    let mesh = ["n2 10.0.0.2:179 AS64512 Internal mesh", "n3 10.0.0.3:179 AS64512 Internal mesh"];
    for (objects, yaml, want) in [
        // Objects beside the mesh.
        (vec![&tor], "{}", vec!["tor 10.0.0.250:179 AS65001 External"]),
        // Of two for all nodes the first by name counts; one of this node before them.
        (
            vec![&tor, &again],
            "{}",
            vec![
                "a-tor 10.0.0.250:179 AS65009 External",
                "BGPPeer/tor: 10.0.0.250 is already the address of peer a-tor",
            ],
        ),
        (
            vec![&tor, &own],
            "{}",
            vec![
                "own 10.0.0.250:179 AS65002 External",
                "BGPPeer/tor: 10.0.0.250 is already the address of peer own",
            ],
        ),
        // What is configured comes first.
        (
            vec![&tor],
            yaml,
            vec![
                "t 10.0.0.250:179 AS65003 External",
                "BGPPeer/tor: 10.0.0.250 is already the address of peer t",
            ],
        ),
    ] {
        let text: String = objects.iter().map(|text| text.as_str()).collect();
        let cluster = cluster(&(nodes() + &text));
        let (peers, skipped) = wanted(&cluster, 1, yaml);
        let mut got: Vec<String> = peers.iter().map(line).collect();
        got.retain(|line| !mesh.contains(&line.as_str()));
        assert_eq!(peers.len() - got.len(), 2, "the mesh is there");
        got.extend(skipped);
        assert_eq!(got, want, "{objects:?}");
    }
    // A node of the mesh that an object asks for, too: one session, as the object says.
    let both = cluster(&(nodes() + &to_n3));
    let (peers, skipped) = wanted(&both, 1, "{}");
    assert_eq!(skipped, Vec::<String>::new());
    let n3 = peers.iter().find(|peer| &*peer.rib.name == "n3").expect("n3");
    assert_eq!((peers.len(), n3.source, n3.mesh, n3.retain), (2, None, true, true));
    // It differs from that of the mesh in nothing but what the object says.
    let (mesh, _) = wanted(&cluster(&nodes()), 1, "{}");
    let of_mesh = mesh.iter().find(|peer| &*peer.rib.name == "n3").expect("n3");
    assert_eq!(*n3, WantedPeer { source: None, ..of_mesh.clone() });
}

#[test]
fn what_the_mesh_had_leaves_when_reflectors_or_objects_take_over() {
    let reflector = "projectcalico.org/RouteReflectorClusterID: 244.0.0.1";
    let reflecting = [node(1, "", ""), node(2, "", ""), node(3, "rr: 'yes'", reflector)].concat();
    let to_rr = peer("rr", "{nodeSelector: '!has(rr)', peerSelector: has(rr)}");
    let no_mesh = object("BGPConfiguration", "default", NO_MESH);
    let n2 = "n2 10.0.0.2:179 AS64512 Internal mesh leaving";
    let n3 = "n3 10.0.0.3:179 AS64512 Internal mesh";
    for (text, number, yaml, want) in [
        (reflecting.clone(), 1, "{}", vec![n2, n3]),
        (reflecting.clone() + &to_rr, 1, "{}", vec![n3, n2]),
        (reflecting.clone() + &to_rr + &no_mesh, 1, "{}", vec![n3, n2]),
        // The mesh was never there.
        (reflecting.clone() + &to_rr, 1, "{bgp: {nodeToNodeMesh: {enabled: false}}}", vec![n3]),
        (
            reflecting + &to_rr + &no_mesh,
            3,
            "{}",
            vec![
                "n1 10.0.0.1:179 AS64512 ReflectorClient mesh",
                "n2 10.0.0.2:179 AS64512 ReflectorClient mesh",
            ],
        ),
    ] {
        assert_eq!(lines(&cluster(&text), number, yaml), want, "{text} {yaml}");
    }
}

#[test]
fn reflectors_of_one_cluster_are_no_clients_of_each_other() {
    let own = |id: &str| format!("brindle.dev/route-reflector-cluster-id: {id}");
    let all = peer("all", "{peerSelector: all()}");
    let router = peer("tor", "{peerIP: 10.0.0.250, asNumber: 64512}");
    let text = [
        node(1, "", &own("1.1.1.1")),
        node(2, "", &own("1.1.1.1")),
        node(3, "", &own("2.2.2.2")),
        node(4, "", ""),
        node(5, "", "projectcalico.org/ASNumber: '65005'"),
        all,
        router,
    ];
    let (peers, _) = wanted(&cluster(&text.concat()), 1, "{}");
    let kinds: Vec<_> = peers.iter().map(|peer| (&*peer.rib.name, peer.rib.kind)).collect();
    use PeerKind::{External, Internal, ReflectorClient};
    assert_eq!(
        kinds,
        [
            ("n2", Internal),
            ("n3", ReflectorClient),
            ("n4", ReflectorClient),
            ("n5", External),
            ("tor", ReflectorClient),
        ]
    );
    assert!(peers.iter().all(|peer| peer.session.local_asn.get() == 64512));
}

#[test]
fn a_configuration_counts_where_brindle_yaml_says_nothing() {
    let default = "{asNumber: 64600, listenPort: 1179, nodeToNodeMeshEnabled: true}";
    let text = nodes()
        + &object("BGPConfiguration", "default", default)
        + &object("BGPConfiguration", "node.n2", "{listenPort: 2179}");
    let cluster = cluster(&text);
    assert_eq!(cluster.wrong, Vec::<String>::new());
    for (number, yaml, want) in [
        (1, "{}", ["n2 10.0.0.2:2179 AS64600", "n3 10.0.0.3:1179 AS64600"]),
        (2, "{}", ["n1 10.0.0.1:1179 AS64600", "n3 10.0.0.3:1179 AS64600"]),
        (
            1,
            "bgp: {asNumber: 64700, listen: {port: 3179}}",
            ["n2 10.0.0.2:3179 AS64700", "n3 10.0.0.3:3179 AS64700"],
        ),
    ] {
        let want = want.map(|start| format!("{start} Internal mesh"));
        assert_eq!(lines(&cluster, number, yaml), want, "n{number} {yaml}");
    }
    let bgp = brindle_config::Config::from_yaml("test.yaml", "{}").expect("good").bgp;
    let port = |node| cluster.objects.effective(&bgp, node).listen_port;
    assert_eq!((port("n1"), port("n2")), (1179, 2179));
}

#[test]
fn routers_are_told_of_the_cluster_and_nodes_of_what_is_theirs() {
    let text = nodes()
        + &peer("tor", "{peerIP: 10.0.0.250, asNumber: 65001, keepOriginalNextHop: true}")
        + &peer("n3s", "{peerSelector: rack == 'b'}");
    let (peers, _) = wanted(&cluster(&text), 1, "{}");
    let of = |name: &str| &peers.iter().find(|one| &*one.rib.name == name).expect("there").rib;
    let ranges = |texts: &[&str]| -> Arc<[Prefix]> {
        texts.iter().map(|text| text.parse().expect("a prefix")).collect()
    };
    let all = ranges(&["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]);
    assert_eq!(of("tor").import, PeerPolicy::AcceptAll);
    assert_eq!(of("tor").export, PeerPolicy::OriginatedOr(all));
    assert_eq!(of("tor").next_hop_mode, NextHopMode::Keep);
    assert_eq!(of("n3").import, PeerPolicy::Owned(ranges(&["10.244.3.0/24"]).into()));
    assert_eq!(of("n3").export, PeerPolicy::OriginatedOr(ranges(&["10.244.1.0/24"])));
}

#[test]
fn a_peer_that_lacks_something_is_not_started_and_says_what() {
    let tor = "peerIP: 10.0.0.250, asNumber: 65001";
    let secret = |at: &str| format!("{{{tor}, password: {{secretKeyRef: {at}}}}}");
    let one = "---\n{apiVersion: v1, kind: Secret, metadata: {name: keys, namespace: kube-system}, \
               stringData: {tor: hush}}\n";
    let two = one.replace("kube-system", "other");
    let (missing, no_key) = (secret("{name: other, key: tor}"), secret("{name: keys, key: x}"));
    let long = one.replace("hush", &"k".repeat(81));
    let of_tor = || secret("{name: keys, key: tor}");
    for (spec, more, want) in [
        (missing, one, "spec.password: there is no Secret other with its password"),
        (no_key, one, "spec.password: Secret keys has no key \"x\" for its password"),
        (
            of_tor(),
            &long,
            "spec.password: key \"tor\" of Secret keys has 81 octets; a key has 1 to 80",
        ),
        (
            of_tor(),
            &(one.to_owned() + &two),
            "spec.password: there are two Secrets keys, in kube-system and in other",
        ),
    ] {
        let cluster = cluster(&(nodes() + &peer("tor", &spec) + more));
        assert_eq!(cluster.wrong, Vec::<String>::new(), "{spec}");
        let (peers, skipped) = wanted(&cluster, 1, "{}");
        let refusal = peers.iter().find(|one| &*one.rib.name == "tor").expect("it is known");
        assert_eq!(refusal.protection.refusal(), Some(want), "and not spoken to: {spec}");
        assert_eq!(skipped, [format!("BGPPeer/tor: {want}")], "{spec}");
    }
    let unfiltered = format!("{{{tor}, filters: [none]}}");
    let (peers, skipped) = wanted(&cluster(&(nodes() + &peer("tor", &unfiltered))), 1, "{}");
    assert_eq!(peers.len(), 2, "the mesh alone");
    assert_eq!(skipped, ["BGPPeer/tor: spec.filters: there is no BGPFilter none"]);
    let optional = secret("{name: none, key: x, optional: true}");
    let (peers, skipped) = wanted(&cluster(&(nodes() + &peer("tor", &optional))), 1, "{}");
    assert_eq!((peers.len(), &peers[0].protection.key), (3, &Key::None), "it need not be there");
    assert!(skipped.is_empty(), "{skipped:?}");
}

#[test]
fn a_key_is_followed_kept_while_its_secret_is_away_and_forgotten_with_who_names_it() {
    let key = |text: &str| Key::Md5(brindle_config::Secret::new(text.as_bytes()).expect("a key"));
    let data = |tor: &str| -> BTreeMap<Arc<str>, Arc<[u8]>> {
        [("tor".into(), Arc::from(tor.as_bytes()))].into()
    };
    let secret = |data| {
        let (namespace, name) = ("kube-system".into(), "keys".into());
        BgpObject::Secret(Arc::new(Secret { namespace, name, data }))
    };
    let with =
        |password: &str| peer("tor", &format!("{{peerIP: 10.0.0.250, asNumber: 65001{password}}}"));
    let signed = with(", password: {secretKeyRef: {name: keys, key: tor}}");
    let mut all = cluster(&(nodes() + &signed));
    let tor = |all: &Cluster| {
        let (peers, skipped) = wanted(all, 1, "{}");
        let tor = peers.into_iter().find(|one| &*one.rib.name == "tor").expect("wanted");
        (tor.protection, skipped)
    };
    for name in ["one", "two"] {
        all.objects.apply(secret(Ok(data(name))));
        all.objects.remember_keys();
        let (protection, skipped) = tor(&all);
        assert_eq!((&protection.key, &protection.trouble), (&key(name), &None));
        assert_eq!(protection.source.as_deref(), Some("Secret keys, key tor"));
        assert!(skipped.is_empty(), "{skipped:?}");
    }
    let why = |why: &str| Some(format!("the key read before is used: spec.password: {why}"));
    let absent = NoData::Absent("there is no Secret keys in namespace kube-system".into());
    for (data, want) in [
        (Err(absent), "there is no Secret keys in namespace kube-system"),
        (
            Err(NoData::Unreadable("Secret keys may not be read".into())),
            "Secret keys may not be read",
        ),
        (Ok(BTreeMap::new()), "Secret keys has no key \"tor\" for its password"),
        (Ok(data("")), "key \"tor\" of Secret keys is empty; a key has 1 to 80 octets"),
    ] {
        all.objects.apply(secret(data));
        all.objects.remember_keys();
        let (protection, _) = tor(&all);
        assert_eq!((protection.key, protection.trouble), (key("two"), why(want)));
    }
    all.objects.delete(&BgpKey::Secret("kube-system".into(), "keys".into()));
    all.objects.remember_keys();
    assert_eq!(tor(&all).0.key, key("two"));
    // Who does not name it any more, and does again, is another.
    for text in [with(""), signed] {
        all.objects.apply(one(&text));
        all.objects.remember_keys();
    }
    assert!(tor(&all).0.refusal().is_some());
}

#[test]
fn the_mesh_is_signed_as_its_configuration_says_unless_brindle_yaml_does() {
    let password = "{nodeMeshPassword: {secretKeyRef: {name: keys, key: mesh}}}";
    let text = nodes() + &object("BGPConfiguration", "default", password);
    let secret = "---\n{apiVersion: v1, kind: Secret, metadata: {name: keys, namespace: a}, \
                  data: {mesh: aHVzaA==}}\n";
    let field = "nodeMeshPassword of BGPConfiguration default";
    let without = cluster(&text);
    let (peers, skipped) = wanted(&without, 1, "{}");
    let why = format!("{field}: there is no Secret keys with its password");
    assert!(peers.iter().all(|peer| peer.protection.refusal() == Some(&why)), "{peers:?}");
    assert_eq!(skipped, ["n2", "n3"].map(|node| format!("Node/{node}: {why}")));
    let all = cluster(&(text + secret));
    let hush = Key::Md5(brindle_config::Secret::new(b"hush").expect("a key"));
    let (peers, skipped) = wanted(&all, 1, "{}");
    assert!(peers.iter().all(|peer| peer.protection.key == hush), "{peers:?}");
    assert!(skipped.is_empty(), "{skipped:?}");
    // That is given its key by those who read files.
    let (peers, _) = wanted(&all, 1, "bgp: {nodeToNodeMesh: {password: {file: /k}}}");
    assert!(peers.iter().all(|peer| peer.protection.key == Key::None), "{peers:?}");
}

#[test]
fn peers_are_listened_for_everywhere_if_an_object_says_so_and_brindle_yaml_nothing() {
    let bind =
        |name: &str, mode: &str| object("BGPConfiguration", name, &format!("{{bindMode: {mode}}}"));
    let listens = |text: &str, yaml: &str| {
        let bgp = brindle_config::Config::from_yaml("test.yaml", yaml).expect("good").bgp;
        let effective = cluster(text).objects.effective(&bgp, "n1");
        effective.listen_addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let own = "bgp: {listen: {addresses: [10.0.0.1]}}";
    for (text, yaml, want) in [
        (bind("default", "None"), "{}", &["0.0.0.0", "::"][..]),
        (bind("default", "NodeIP"), "{}", &[]),
        (bind("default", "None") + &bind("node.n1", "NodeIP"), "{}", &[]),
        (bind("default", "None") + &bind("node.n2", "NodeIP"), "{}", &["0.0.0.0", "::"]),
        (bind("default", "None"), own, &["10.0.0.1"]),
    ] {
        assert_eq!(listens(&text, yaml), want, "{text} {yaml}");
    }
}

/// The only object of a text.
fn one(text: &str) -> BgpObject {
    match manifest::read(text).expect("YAML").remove(0).objects.remove(0) {
        Object::Bgp(object) => object,
        other => panic!("{other:?} is not about BGP"),
    }
}

#[test]
fn wrong_fields_are_named_and_refuse_their_object_alone() {
    let tor = "peerIP: 10.0.0.250, asNumber: 65001";
    let with = |more: &str| format!("{{{tor}, {more}}}");
    let rule = |rule: &str| format!("{{importV4: [{rule}]}}");
    let (peer, filter, configuration) = ("BGPPeer", "BGPFilter", "BGPConfiguration");
    for (kind, spec, want) in [
        (peer, "{}".to_owned(), vec!["spec.peerIP"]),
        (peer, "{peerIP: 10.0.0.250}".to_owned(), vec!["spec.asNumber"]),
        (peer, "{peerIP: tor, asNumber: 0}".to_owned(), vec!["spec.peerIP", "spec.asNumber"]),
        (peer, "{peerIP: '10.0.0.250:0', asNumber: 1}".to_owned(), vec!["spec.peerIP"]),
        (peer, "{peerIP: 'fe80::1', asNumber: 1}".to_owned(), vec!["spec.peerIP"]),
        (peer, "{peerIP: 10.0.0.250, asNumber: {}}".to_owned(), vec!["spec.asNumber"]),
        (peer, with("node: n1, nodeSelector: all()"), vec!["spec.nodeSelector"]),
        (peer, with("nodeSelector: a ="), vec!["spec.nodeSelector"]),
        (peer, with("peerSelector: all()"), vec!["spec.peerSelector"]),
        (peer, "{peerSelector: all(), asNumber: 1}".to_owned(), vec!["spec.asNumber"]),
        (peer, with("reversePeering: Auto"), vec!["spec.reversePeering"]),
        (peer, "{localWorkloadSelector: all()}".to_owned(), vec!["spec.localWorkloadSelector"]),
        (peer, with("nextHopMode: self"), vec!["spec.nextHopMode"]),
        (peer, with("sourceAddress: 10.0.0.1"), vec!["spec.sourceAddress"]),
        (peer, with("maxRestartTime: long"), vec!["spec.maxRestartTime"]),
        (peer, with("maxRestartTime: 2h"), vec!["spec.maxRestartTime"]),
        (peer, with("keepaliveTime: 0s"), vec!["spec.keepaliveTime"]),
        (peer, with("ttlSecurity: 256"), vec!["spec.ttlSecurity"]),
        (peer, with("reachableBy: 'fd00::1'"), vec!["spec.reachableBy"]),
        (peer, with("password: {}"), vec!["spec.password.secretKeyRef.name"]),
        (peer, with("password: {secretKeyRef: {name: a}}"), vec!["spec.password.secretKeyRef.key"]),
        (configuration, "{listenPort: 0}".to_owned(), vec!["metadata.name", "spec.listenPort"]),
        (filter, rule("{}"), vec!["spec.importV4[0].action"]),
        (filter, rule("{action: accept}"), vec!["spec.importV4[0].action"]),
        (
            filter,
            rule("{action: Accept, cidr: 10.0.0.0/8}"),
            vec!["spec.importV4[0].matchOperator"],
        ),
        (
            filter,
            rule("{action: Accept, cidr: 10.0.0.1/8, matchOperator: In}"),
            vec!["spec.importV4[0].cidr"],
        ),
        (
            filter,
            rule("{action: Accept, cidr: 'fd00::/8', matchOperator: In}"),
            vec!["spec.importV4[0].cidr"],
        ),
        (
            filter,
            rule("{action: Accept, prefixLength: {min: 8}}"),
            vec!["spec.importV4[0].prefixLength"],
        ),
        (
            filter,
            rule("{action: Accept, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {max: 4}}"),
            vec!["spec.importV4[0].prefixLength"],
        ),
        (
            filter,
            rule("{action: Reject, operations: [{addCommunity: {value: '1:1'}}]}"),
            vec!["spec.importV4[0].operations"],
        ),
        (
            filter,
            rule("{action: Accept, operations: [{}]}"),
            vec!["spec.importV4[0].operations[0]"],
        ),
        (
            filter,
            rule("{action: Accept, communities: {values: [no-export]}}"),
            vec!["spec.importV4[0].communities.values[0]"],
        ),
    ] {
        let good = object("BGPPeer", "good", &format!("{{{tor}}}"));
        let cluster = cluster(&(object(kind, "bad", &spec) + &good));
        assert_eq!(cluster.wrong, want, "{kind} {spec}");
        assert_eq!(cluster.objects.peers.len(), 1, "the other one: {spec}");
        let none = cluster.objects.filters.len() + cluster.objects.configurations.len();
        assert_eq!(none, 0, "{spec}");
    }
}

#[test]
fn blocks_of_services_and_communities_count_where_brindle_yaml_has_none() {
    let all = object(
        "BGPConfiguration",
        "default",
        "{serviceClusterIPs: [{cidr: 10.96.0.0/12}], serviceLoadBalancerIPs: [{cidr: \
         198.51.100.0/24}], serviceLoadBalancerAggregation: Disabled, communities: [{name: a, \
         value: '65001:1'}], prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a]}]}",
    );
    let own = object(
        "BGPConfiguration",
        "node.n1",
        "{prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: ['65001:1:2']}]}",
    );
    let yaml = |services: &str| {
        let text = format!("source: {{kind: files, path: /m}}\nbgp: {{services: {{{services}}}}}");
        Config::from_yaml("test.yaml", &text).unwrap().bgp
    };
    let objects = cluster(&(all + &own)).objects;
    for (services, node, clusters, communities) in [
        ("", "n1", "10.96.0.0/12", "65001:1:2"),
        ("", "n2", "10.96.0.0/12", "65001:1"),
        ("clusterIPs: [10.97.0.0/16]", "n2", "10.97.0.0/16", "65001:1"),
    ] {
        let bgp = objects.effective(&yaml(services), node);
        assert_eq!(bgp.services.cluster_ips[0].to_string(), clusters, "{services}");
        assert_eq!(bgp.services.load_balancer_ips[0].to_string(), "198.51.100.0/24");
        assert_eq!(bgp.services.host_routes, [ServiceAddresses::LoadBalancer].into());
        let advertised = &bgp.prefix_advertisements;
        assert_eq!(advertised[0].communities[0].to_string(), communities, "{node}");
    }
    for (spec, want) in [
        ("{serviceClusterIPs: [{cidr: 10.96.0.1/12}]}", "spec.serviceClusterIPs[0].cidr"),
        ("{serviceExternalIPs: [{}]}", "spec.serviceExternalIPs[0].cidr"),
        ("{serviceExternalIPs: [{cidr: 0.0.0.0/0}]}", "spec.serviceExternalIPs[0].cidr"),
        ("{serviceClusterIPs: [{cidr: 'ff00::/8'}]}", "spec.serviceClusterIPs[0].cidr"),
        ("{serviceLoadBalancerAggregation: No}", "spec.serviceLoadBalancerAggregation"),
        ("{ipv6NormalRoutePriority: 0}", "spec.ipv6NormalRoutePriority"),
        ("{communities: [{name: a, value: b}]}", "spec.communities[0].value"),
        (
            "{prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [b]}]}",
            "spec.prefixAdvertisements[0].communities[0]",
        ),
    ] {
        assert_eq!(cluster(&object("BGPConfiguration", "default", spec)).wrong, [want], "{spec}");
    }
}

#[test]
fn what_is_not_followed_is_said() {
    let blocks = "{serviceClusterIPs: [{cidr: 10.96.0.0/12}]}";
    for (kind, name, spec, want) in [
        ("BGPConfiguration", "node.n1", blocks, vec!["spec.serviceClusterIPs"]),
        ("BGPPeer", "p", "{peerSelector: all(), surprise: 1}", vec!["spec.surprise"]),
        ("BGPPeer", "p", "{peerSelector: all(), asNumber: 0}", vec![]),
        ("BGPConfiguration", "default", "{logSeverityScreen: Info}", vec![]),
        (
            "BGPConfiguration",
            "default",
            "{ignoredInterfaces: [eth9], programClusterRoutes: Disabled}",
            vec!["spec.ignoredInterfaces", "spec.programClusterRoutes"],
        ),
    ] {
        let cluster = cluster(&object(kind, name, spec));
        assert_eq!((cluster.wrong, cluster.idle), (vec![], own(&want)), "{kind} {spec}");
    }
}

fn own(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
}

const MESHLESS: &str = "bgp: {nodeToNodeMesh: {enabled: false}}";

/// A BGPPeer with the annotation whose keys are those of brindle.yaml.
fn peer_with(name: &str, spec: &str, extras: &str) -> String {
    format!(
        "---\n{{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {{name: {name}, \
         annotations: {{brindle.dev/peer: \"{extras}\"}}}}, spec: {spec}}}\n"
    )
}

#[test]
fn an_annotation_says_what_a_peer_of_calico_has_no_field_for() {
    let extras = "maxPrefixes: {ipv4: 7}\\naddPaths: {receive: true, send: all}\\nbfd: {}\\nrole: \
                  customer\\ngracefulRestart: false\\npassive: true";
    let tor = "{peerIP: 10.0.0.250, asNumber: 65001}";
    let cluster = cluster(&(nodes() + &peer_with("tor", tor, extras)));
    assert_eq!(cluster.wrong, own(&[]));
    let (peers, skipped) = wanted(&cluster, 1, MESHLESS);
    assert_eq!(skipped, own(&[]));
    let tor = peers.iter().find(|peer| &*peer.rib.name == "tor").expect("a peer");
    assert_eq!(tor.rib.limits.most, [Some(7), None]);
    assert_eq!((tor.rib.send_paths, tor.rib.role), (SendPaths::All, Some(Role::Customer)));
    let session = &tor.session;
    assert!(session.receive_paths && session.send_paths && session.passive && tor.bfd.is_some());
    assert_eq!((session.role, session.role_strict), (Some(Role::Customer), false));
    assert!(session.graceful_restart.is_none());
}

#[test]
fn what_is_wrong_in_the_annotation_refuses_its_object_or_its_session() {
    let (tor, nodes_too) = ("{peerIP: 10.0.0.250, asNumber: 65001}", "{peerSelector: all()}");
    for (spec, extras) in [
        (tor, "maxPrefixes: {}"),
        (tor, "peerIP: 10.0.0.1"),
        (tor, "{"),
        (nodes_too, "passive: true"),
    ] {
        let wrong = cluster(&peer_with("tor", spec, extras)).wrong;
        assert_eq!(wrong, own(&["metadata.annotations[brindle.dev/peer]"]), "{extras}");
    }
    let internal = "{peerIP: 10.0.0.250, asNumber: 64512}";
    let cluster = cluster(&(nodes() + &peer_with("rr", internal, "role: peer")));
    let (_, skipped) = wanted(&cluster, 1, MESHLESS);
    let why =
        "BGPPeer/rr: brindle.dev/peer: role: a peer of our own AS 64512 has no role (RFC 9234)";
    assert_eq!(skipped, own(&[why]));
}

#[test]
fn next_hops_are_kept_as_the_older_field_says_for_external_peers_alone() {
    use NextHopMode::{Auto, Keep, SelfAddress};
    for (spec, want) in [
        ("asNumber: 65001, keepOriginalNextHop: true", Keep),
        ("asNumber: 64512, keepOriginalNextHop: true", Auto),
        ("asNumber: 65001, keepOriginalNextHop: true, nextHopMode: Self", SelfAddress),
        ("asNumber: 64512, nextHopMode: Keep", Keep),
        ("asNumber: 65001", Auto),
    ] {
        let tor = peer("tor", &format!("{{peerIP: 10.0.0.250, {spec}}}"));
        let (peers, _) = wanted(&cluster(&(nodes() + &tor)), 1, MESHLESS);
        let tor = peers.iter().find(|peer| &*peer.rib.name == "tor").expect("a peer");
        assert_eq!(tor.rib.next_hop_mode, want, "{spec}");
    }
}
