//! That a change touches no more than what it changes: one row for each kind of change.

#[path = "support/cluster.rs"]
mod cluster;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    Action, Criterion, Holders, HostStage, Labels, NamedPort, Node, Pod, Policy, PolicyKind,
    PolicyOrder, PortMatch, PortTerm, Protocol, Rule, Side,
};
use brindle_policy::selector::Expr;
use brindle_policy::world::Touched;
use brindle_policy::{Change, Family, PodKey, PolicyId, World};
use cluster::{endpoints, here, namespace, namespace_label, own};

/// A pod of namespace `space-1` on node `left`, at an address that ends in `last`.
fn pod(name: &str, app: &str, last: u8) -> Pod {
    Pod {
        key: PodKey { namespace: "space-1".into(), name: name.into() },
        labels: Labels::from([("app".into(), app.into())]),
        node: Some("left".into()),
        host_network: false,
        finished: false,
        addresses: vec![[10, 0, 0, last].into()],
        ports: [NamedPort { name: "http".into(), protocol: Protocol::Tcp, number: 8080 }].into(),
        created: "2026-01-01T00:00:00Z".into(),
        service_account: "default".into(),
    }
}

/// `app=db` lets in `app=web` of the namespace and everything of the team `team1`, on its
/// port `http`.
fn policy() -> Policy {
    let home = "space-1".into();
    let peers = [here(&home, own("app", "web")), namespace_label("team", "team1")];
    let any_of = peers.map(endpoints).into();
    let port =
        PortTerm { protocol: Protocol::Tcp, port: PortMatch::Named("http".into(), Holders::Pods) };
    let criteria = vec![
        Criterion::Peer { side: Side::Source, any_of, negated: false },
        Criterion::Ports { side: Side::Destination, any_of: vec![port], negated: false },
    ];
    Policy {
        id: policy_id(),
        tier: "default".into(),
        order: PolicyOrder::KUBERNETES,
        subject: Arc::new(here(&home, own("app", "db"))),
        stage: HostStage::Normal,
        staged: None,
        ingress: Some(vec![Rule { action: Action::Allow, criteria }]),
        egress: None,
        problems: Vec::new(),
    }
}

fn policy_id() -> PolicyId {
    PolicyId {
        kind: PolicyKind::NetworkPolicy,
        namespace: Some("space-1".into()),
        name: "db".into(),
    }
}

/// The pods `db` and `web`, and the policy, in a namespace of no team.
fn world() -> World {
    let mut world = World::default();
    let pods = [pod("db", "db", 1), pod("web", "web", 2), pod("job", "job", 3)];
    pods.into_iter().for_each(|pod| world.apply(Change::PodApplied(pod.into())));
    world.apply(Change::PolicyApplied(policy().into()));
    world.apply(Change::NamespaceApplied(namespace(2).into()));
    world.take_touched();
    world
}

fn with(mut pod: Pod, change: impl FnOnce(&mut Pod)) -> Change {
    change(&mut pod);
    Change::PodApplied(pod.into())
}

/// Short for what was touched: `+` and `-` are members of sets.
fn summary(touched: &Touched) -> Vec<String> {
    let endpoints = touched.endpoints.iter().map(|key| format!("endpoint {}", key.name));
    let policies = touched.policies.iter().map(|id| format!("policy {}", id.name));
    let members = |sign: &str, kind: &str, members: Vec<String>| -> Vec<String> {
        members.into_iter().map(|member| format!("{sign}{kind} {member}")).collect()
    };
    let text = |addresses: &BTreeSet<IpAddr>| addresses.iter().map(IpAddr::to_string).collect();
    let peers = touched.peers.values().flat_map(|delta| {
        [members("-", "peer", text(&delta.removed)), members("+", "peer", text(&delta.added))]
    });
    let text = |ports: &BTreeSet<(IpAddr, u16)>| {
        ports.iter().map(|(address, number)| format!("{address} {number}")).collect()
    };
    let ports = touched.named_ports.values().flat_map(|delta| {
        [members("-", "port", text(&delta.removed)), members("+", "port", text(&delta.added))]
    });
    let nodes = touched.nodes.then(|| "nodes".to_owned());
    let sets = peers.chain(ports).flatten();
    endpoints.chain(policies).chain(sets).chain(nodes).collect()
}

#[test]
fn a_change_touches_what_it_changes_and_no_more() {
    let (db, web) = (|| pod("db", "db", 1), || pod("web", "web", 2));
    let label = |key: &str, value: &str, pod| {
        with(pod, |pod| drop(pod.labels.insert(key.into(), value.into())))
    };
    let team = |name: &str| {
        let mut namespace = namespace(1);
        namespace.labels.insert("team".into(), name.into());
        Change::NamespaceApplied(namespace.into())
    };
    let edit = |change: &dyn Fn(&mut Policy)| {
        let mut policy = policy();
        change(&mut policy);
        Change::PolicyApplied(policy.into())
    };
    let rows: Vec<(&str, Vec<Change>, &[&str])> = vec![
        ("a label that nobody looks at", vec![label("x", "y", web())], &[]),
        ("a value that nobody looks for", vec![label("app", "other", pod("job", "job", 3))], &[]),
        ("out of a peer set", vec![label("app", "x", web())], &["-peer 10.0.0.2"]),
        ("out and in again", vec![label("app", "x", web()), Change::PodApplied(web().into())], &[]),
        (
            "into the subject",
            vec![label("app", "db", pod("job", "job", 3))],
            &["endpoint job", "policy db"],
        ),
        (
            "from peer to subject",
            vec![label("app", "db", web())],
            &["endpoint web", "policy db", "-peer 10.0.0.2"],
        ),
        ("another service account", vec![with(web(), |p| p.service_account = "x".into())], &[]),
        ("another node", vec![with(web(), |p| p.node = Some("right".into()))], &["endpoint web"]),
        (
            "another number",
            vec![with(db(), |pod| {
                pod.ports =
                    [NamedPort { name: "http".into(), protocol: Protocol::Tcp, number: 81 }].into();
            })],
            &["-port 10.0.0.1 8080", "+port 10.0.0.1 81"],
        ),
        (
            "another name of a port",
            vec![with(db(), |pod| {
                let dns = NamedPort { name: "dns".into(), protocol: Protocol::Udp, number: 53 };
                pod.ports.insert(dns);
            })],
            &[],
        ),
        (
            "finished",
            vec![with(web(), |pod| pod.finished = true)],
            &["endpoint web", "-peer 10.0.0.2", "-port 10.0.0.2 8080"],
        ),
        (
            "another address",
            vec![with(web(), |pod| pod.addresses = vec![[10, 0, 0, 9].into()])],
            &[
                "endpoint web",
                "-peer 10.0.0.2",
                "+peer 10.0.0.9",
                "-port 10.0.0.2 8080",
                "+port 10.0.0.9 8080",
            ],
        ),
        (
            "a pod that is no endpoint yet",
            vec![with(pod("new", "db", 0), |pod| {
                pod.addresses.clear();
            })],
            &[],
        ),
        (
            "a pod that came and went",
            vec![
                Change::PodApplied(pod("new", "web", 7).into()),
                Change::PodDeleted(pod("new", "web", 7).key),
            ],
            &["endpoint new"],
        ),
        (
            "a newer pod with the address of a peer",
            vec![with(pod("new", "job", 2), |pod| {
                pod.created = "2026-01-02T00:00:00Z".into();
            })],
            &["endpoint new", "endpoint web", "-peer 10.0.0.2"],
        ),
        (
            "an older one",
            vec![with(pod("new", "job", 2), |pod| pod.created = "".into())],
            &["endpoint new"],
        ),
        (
            "the namespace gets to be known",
            vec![Change::NamespaceApplied({
                let mut namespace = namespace(1);
                namespace.labels.remove("team");
                namespace.into()
            })],
            &[],
        ),
        ("a team that nobody looks for", vec![team("team2")], &[]),
        // The peers of `app=web` are in already.
        ("a team that is let in", vec![team("team1")], &["+peer 10.0.0.1", "+peer 10.0.0.3"]),
        ("in a team for a moment", vec![team("team1"), team("team2")], &[]),
        ("the policy again", vec![edit(&|_| {})], &[]),
        ("other rules", vec![edit(&|policy| policy.ingress = Some(Vec::new()))], &["policy db"]),
        (
            "another direction",
            vec![edit(&|policy| policy.egress = Some(Vec::new()))],
            &["endpoint db", "policy db"],
        ),
        (
            "another order",
            vec![edit(&|policy| policy.order = PolicyOrder::new(None))],
            &["endpoint db", "policy db"],
        ),
        (
            "another subject",
            vec![edit(&|policy| {
                policy.subject = Arc::new(here(&"space-1".into(), own("app", "job")));
            })],
            &["endpoint db", "endpoint job", "policy db"],
        ),
        (
            "the policy gone",
            vec![Change::PolicyDeleted(policy_id())],
            &["endpoint db", "policy db"],
        ),
        // Out of use and back: what changed meanwhile has to be told.
        (
            "the policy gone and back",
            vec![
                Change::PolicyDeleted(policy_id()),
                label("app", "web", pod("job", "job", 3)),
                edit(&|_| {}),
            ],
            &["endpoint db", "policy db", "+peer 10.0.0.3"],
        ),
        (
            "what is not there goes",
            vec![
                Change::PodDeleted(PodKey { namespace: "x".into(), name: "y".into() }),
                Change::NamespaceDeleted("space-1".into()),
                Change::NodeDeleted("x".into()),
            ],
            &[],
        ),
        ("a node", vec![Change::NodeApplied(cluster::node(1).into())], &["nodes"]),
    ];
    for (name, changes, want) in rows {
        let mut world = world();
        changes.into_iter().for_each(|change| world.apply(change));
        assert_eq!(summary(&world.take_touched()), want, "{name}");
        assert!(world.take_touched().is_empty(), "{name}: taken already");
    }
}

#[test]
fn a_set_that_comes_in_use_is_read_whole_and_told_of_from_then_on() {
    let mut world = World::default();
    world.apply(Change::PodApplied(pod("web", "web", 2).into()));
    world.take_touched();
    world.apply(Change::PolicyApplied(policy().into()));
    world.apply(Change::PodApplied(pod("new", "web", 3).into()));
    let touched = world.take_touched();
    assert!(touched.peers.is_empty() && touched.named_ports.is_empty(), "{touched:?}");
    let expr = policy().ingress.unwrap()[0].criteria[0].peer_expr().unwrap();
    let want = [2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
    assert_eq!(world.peer_addresses(&expr, Family::V4), BTreeSet::from(want));
    world.apply(Change::PodDeleted(pod("new", "web", 3).key));
    let touched = world.take_touched();
    assert_eq!(summary(&touched), ["endpoint new", "-peer 10.0.0.3", "-port 10.0.0.3 8080"]);
    assert_eq!(touched.peers.keys().collect::<Vec<_>>(), [&expr]);
}

/// policy-semantics 2.2: the name is a label, whether the object was told or not.
#[test]
fn a_namespace_that_is_not_known_has_its_name_as_its_only_label() {
    let web = pod("web", "web", 2);
    let by_name = namespace_label("kubernetes.io/metadata.name", "space-1");
    let by_team = Expr::not(namespace_label("team", "team1"));
    let mut world = World::default();
    // One that is not in the world, then one that is, then the namespace that is known.
    assert!(world.matches(&by_name, &web) && world.matches(&by_team, &web));
    world.apply(Change::PodApplied(web.clone().into()));
    assert!(world.matches(&by_name, &web) && world.matches(&by_team, &web));
    assert_eq!(world.namespace("space-1"), None);
    world.apply(Change::NamespaceApplied(namespace(1).into()));
    assert!(world.matches(&by_name, &web) && !world.matches(&by_team, &web));
    world.apply(Change::NamespaceDeleted("space-1".into()));
    assert!(world.matches(&by_name, &web) && world.matches(&by_team, &web));
    assert_eq!(world.namespaces().count(), 0);
}

#[test]
fn a_node_that_is_not_known_can_have_endpoints() {
    let mut world = World::default();
    world.apply(Change::PodApplied(pod("web", "web", 2).into()));
    assert_eq!(world.endpoints_on("left").count(), 1);
    assert_eq!((world.node("left"), world.nodes().count()), (None, 0));
    let node = Node {
        name: "left".into(),
        addresses: [].into(),
        pod_cidrs: [].into(),
        labels: Default::default(),
    };
    world.apply(Change::NodeApplied(node.into()));
    world.apply(Change::NodeDeleted("left".into()));
    assert_eq!(world.endpoints_on("left").count(), 1);
}
