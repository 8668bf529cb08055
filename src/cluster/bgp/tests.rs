//! What objects mean, by tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{NextHopMode, PeerKind, PeerPolicy};
use brindle_config::Config;

use super::*;
use crate::cluster::Node;
use crate::cluster::claims::{Claims, settle};
use crate::cluster::manifest;
use crate::cluster::object::Object;
use crate::cluster::peers::{Identity, wanted_peers};
use crate::speaker::{Key, WantedPeer};

mod objects;

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

/// The only object of a text.
fn one(text: &str) -> BgpObject {
    match manifest::read(text).expect("YAML").remove(0).objects.remove(0) {
        Object::Bgp(object) => object,
        other => panic!("{other:?} is not about BGP"),
    }
}

fn own(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
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
