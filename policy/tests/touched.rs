//! That a change touches no more than what it changes: one row for each kind of change.

#[path = "support/cluster.rs"]
mod cluster;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::model::{
    AccountKey, Action, Criterion, DEFAULT_ALLOW_PROFILE, DEFAULT_TIER, DeviceAddresses,
    EndpointSlice, Holders, HostEndpoint, HostStage, Labels, NamedPort, NetworkSet, NetworkSetId,
    Node, PeerTerm, Pod, Policy, PolicyKind, PolicyOrder, PortMatch, PortTerm, Profile, Protocol,
    Rule, ServiceAccount, ServiceName, Side, SliceKey, StagedAction, Tier, TierAction,
};
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::world::Touched;
use brindle_policy::{Change, Cidr, Direction, Family, PodKey, PolicyId, World};
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
    let text = |blocks: &BTreeSet<Cidr>| blocks.iter().map(Cidr::to_string).collect();
    let selected = touched.selected.values().flat_map(|delta| {
        [members("-", "net", text(&delta.removed)), members("+", "net", text(&delta.added))]
    });
    let services = touched.services.iter().map(|name| format!("service {name}"));
    let nodes = touched.nodes.then(|| "nodes".to_owned());
    let hosts = touched.hosts.then(|| "hosts".to_owned());
    let sets = peers.chain(selected).chain(ports).flatten();
    let of_pods = endpoints.chain(policies).chain(sets);
    of_pods.chain(services).chain(nodes).chain(hosts).collect()
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

fn labelled(app: &str) -> Labels {
    Labels::from([("app".into(), app.into())])
}

fn of_account(name: &str, value: &str) -> Expr {
    let key = Key { scope: Scope::ServiceAccount, name: name.into() };
    Expr::is_in(key, BTreeSet::from([value.into()]))
}

/// `app=db` anywhere, hosts too, lets in `app=web` anywhere and pods whose account has
/// `team=ops`, to ports `http`.
fn global_policy() -> Policy {
    let web = Expr::or([own("app", "web"), of_account("team", "ops")]);
    let any_of = vec![PeerTerm::Selected(Arc::new(web))];
    let http = PortMatch::Named("http".into(), Holders::Endpoints);
    let ports = vec![PortTerm { protocol: Protocol::Tcp, port: http }];
    let criteria = vec![
        Criterion::Peer { side: Side::Source, any_of, negated: false },
        Criterion::Ports { side: Side::Destination, any_of: ports, negated: false },
    ];
    let id =
        PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: None, name: "global".into() };
    Policy {
        id,
        subject: Arc::new(own("app", "db")),
        ingress: Some(vec![Rule { action: Action::Allow, criteria }]),
        ..policy()
    }
}

/// A host endpoint with a port `http`, at an address that ends in `last`.
fn host(app: &str, last: u8) -> HostEndpoint {
    HostEndpoint {
        name: "left".into(),
        labels: labelled(app),
        node: "left".into(),
        interface: None,
        expected: [[10, 0, 0, last].into()].into(),
        ports: [NamedPort { name: "http".into(), protocol: Protocol::Tcp, number: 8080 }].into(),
        profiles: vec!["p".into()],
    }
}

fn set(name: &str, app: &str, nets: &[&str]) -> Change {
    let nets = nets.iter().map(|net| net.parse().expect("a block")).collect();
    let id = NetworkSetId { namespace: None, name: name.into() };
    Change::NetworkSetApplied(Arc::new(NetworkSet { id, labels: labelled(app), nets }))
}

fn set_gone(name: &str) -> Change {
    Change::NetworkSetDeleted(NetworkSetId { namespace: None, name: name.into() })
}

fn profile(name: &str, labels: Labels) -> Change {
    Change::ProfileApplied(Arc::new(Profile {
        name: name.into(),
        labels,
        ingress: Vec::new(),
        egress: Vec::new(),
        problems: Vec::new(),
    }))
}

fn tier(name: &str, order: f64, default_action: TierAction) -> Change {
    let order = PolicyOrder::new(Some(order));
    Change::TierApplied(Arc::new(Tier { name: name.into(), order, default_action }))
}

fn slice(name: &str, last: u8) -> Change {
    Change::SliceApplied(Arc::new(EndpointSlice {
        key: SliceKey { namespace: "space-1".into(), name: name.into() },
        service: Some(ServiceName { namespace: "space-1".into(), name: "db".into() }),
        addresses: [[10, 0, 0, last].into()].into(),
        ports: [(Protocol::Tcp, 8080)].into(),
    }))
}

/// A name, what is there before, what changes, what that touches.
type Row = (&'static str, Vec<Change>, Vec<Change>, &'static [&'static str]);

fn without_rules() -> Policy {
    Policy { ingress: Some(Vec::new()), ..policy() }
}

#[test]
fn what_is_no_pod_touches_what_it_changes_and_no_more() {
    let host = |app, last| Change::HostEndpointApplied(host(app, last).into());
    let host_gone = || Change::HostEndpointDeleted("left".into());
    let web_gone = || Change::PodDeleted(pod("web", "web", 2).key);
    let account = |name: &str, team: Option<&str>| {
        let key = AccountKey { namespace: "space-1".into(), name: name.into() };
        let labels = team.map(|team| ("team".into(), team.into())).into_iter().collect();
        Change::ServiceAccountApplied(Arc::new(ServiceAccount::new(key, labels)))
    };
    let policy = |change: &dyn Fn(&mut Policy)| {
        let mut policy = global_policy();
        change(&mut policy);
        Change::PolicyApplied(policy.into())
    };
    let rows: Vec<Row> = vec![
        (
            "a set that is let in, with what a pod has",
            vec![],
            vec![set("s", "web", &["10.0.0.2/32", "10.9.0.0/16"])],
            &["+net 10.9.0.0/16"],
        ),
        ("a set that is not", vec![], vec![set("s", "x", &["10.9.0.0/16"])], &[]),
        (
            "the pod goes, but a set has its address",
            vec![set("s", "web", &["10.0.0.2/32"])],
            vec![web_gone()],
            &["endpoint web", "-port 10.0.0.2 8080"],
        ),
        (
            "the set goes too",
            vec![set("s", "web", &["10.0.0.2/32"]), web_gone()],
            vec![set_gone("s")],
            &["-net 10.0.0.2/32"],
        ),
        (
            "one net of a set",
            vec![set("s", "web", &["10.8.0.0/16", "10.9.0.0/16"])],
            vec![set("s", "web", &["10.8.0.0/16", "fd09::/64"])],
            &["-net 10.9.0.0/16", "+net fd09::/64"],
        ),
        (
            "a net that another set has too",
            vec![set("s", "web", &["10.8.0.0/16"]), set("t", "web", &["10.8.0.0/16"])],
            vec![set_gone("s")],
            &[],
        ),
        (
            "a net that a set has too that is not let in",
            vec![set("s", "web", &["10.8.0.0/16"]), set("t", "x", &["10.8.0.0/16"])],
            vec![set_gone("s")],
            &["-net 10.8.0.0/16"],
        ),
        (
            "everything, a half of which was there",
            vec![set("t", "web", &["0.0.0.0/1"])],
            vec![set("s", "web", &["0.0.0.0/0"])],
            &["+net 128.0.0.0/1"],
        ),
        (
            "a set's label",
            vec![set("s", "x", &["10.8.0.0/16"])],
            vec![set("s", "web", &["10.8.0.0/16"])],
            &["+net 10.8.0.0/16"],
        ),
        (
            "a host that is let in",
            vec![],
            vec![host("web", 9)],
            &["+net 10.0.0.9/32", "+port 10.0.0.9 8080", "hosts"],
        ),
        ("a host with all that a pod has", vec![], vec![host("web", 2)], &["hosts"]),
        ("the pod of these goes", vec![host("web", 2)], vec![web_gone()], &["endpoint web"]),
        (
            "then the host",
            vec![host("web", 2), web_gone()],
            vec![host_gone()],
            &["-net 10.0.0.2/32", "-port 10.0.0.2 8080", "hosts"],
        ),
        ("or the host before", vec![host("web", 2)], vec![host_gone()], &["hosts"]),
        (
            "a host's label by its profile",
            vec![host("x", 9), {
                let mut labels = labelled("nobody's");
                labels.insert("pcsa.team".into(), "dev".into());
                profile("p", labels)
            }],
            vec![profile("p", Labels::from([("pcsa.team".into(), "ops".into())]))],
            &["+net 10.0.0.9/32", "hosts"],
        ),
        (
            "the profile that is always there",
            vec![],
            vec![profile(DEFAULT_ALLOW_PROFILE, labelled("web"))],
            &[],
        ),
        (
            "an account gets a label",
            vec![
                account("default", None),
                with(pod("job", "job", 3), |pod| {
                    pod.service_account = "robot".into();
                }),
            ],
            vec![account("robot", Some("ops"))],
            &["+net 10.0.0.3/32"],
        ),
        (
            "a pod gets an account",
            vec![account("robot", Some("ops"))],
            vec![with(pod("job", "job", 3), |pod| pod.service_account = "robot".into())],
            &["+net 10.0.0.3/32"],
        ),
        ("an account gets to be known", vec![], vec![account("default", None)], &[]),
        (
            "what a tier does in the end",
            vec![],
            vec![tier(DEFAULT_TIER, 1.0, TierAction::Pass)],
            &["endpoint db", "policy db", "policy global", "hosts"],
        ),
        (
            "where a tier stands that has its place",
            vec![],
            vec![tier(DEFAULT_TIER, 1.0, TierAction::Deny)],
            &[],
        ),
        ("another tier", vec![], vec![tier("other", 1.0, TierAction::Deny)], &["hosts"]),
        ("a slice", vec![slice("a", 1)], vec![slice("b", 2)], &["service space-1/db"]),
        ("the slice again", vec![slice("a", 1)], vec![slice("a", 1)], &[]),
        (
            "an address of the node",
            vec![],
            vec![Change::Devices(Arc::new(DeviceAddresses {
                devices: [("eth0".parse().expect("a name"), BTreeSet::new())].into(),
            }))],
            &["hosts"],
        ),
        (
            "a policy of pods only",
            vec![host("x", 9)],
            vec![policy(&|policy| policy.egress = Some(Vec::new()))],
            &["endpoint db", "policy global"],
        ),
        (
            "a policy of a host",
            vec![host("db", 9)],
            vec![policy(&|policy| policy.ingress = Some(Vec::new()))],
            &["policy global", "hosts"],
        ),
        (
            "it is for packets of hosts only",
            vec![host("db", 9)],
            vec![policy(&|policy| policy.stage = HostStage::PreDnat)],
            &["endpoint db", "policy global", "hosts"],
        ),
        (
            "it is only proposed",
            vec![host("db", 9)],
            vec![policy(&|policy| policy.staged = Some(StagedAction::Set))],
            &["endpoint db", "policy global", "hosts"],
        ),
    ];
    for (name, before, changes, want) in rows {
        let mut world = world();
        world.apply(policy(&|_| {}));
        // Its sets are not what this is about.
        world.apply(Change::PolicyApplied(without_rules().into()));
        before.into_iter().for_each(|change| world.apply(change));
        world.take_touched();
        changes.into_iter().for_each(|change| world.apply(change));
        assert_eq!(summary(&world.take_touched()), want, "{name}");
        assert!(world.take_touched().is_empty(), "{name}: taken already");
    }
}

/// policy-semantics 5.2 and 3.9.
#[test]
fn hosts_are_governed_stage_by_stage() {
    let host: Arc<HostEndpoint> = Arc::new(host("db", 9));
    let mut world = World::default();
    world.apply(Change::HostEndpointApplied(host.clone()));
    let db = pod("db", "db", 1);
    world.apply(Change::PodApplied(db.clone().into()));
    for (name, stage, staged) in [
        ("untracked", HostStage::Untracked, None),
        ("pre-dnat", HostStage::PreDnat, None),
        ("forward", HostStage::Forward, None),
        ("normal", HostStage::Normal, None),
        ("staged", HostStage::Normal, Some(StagedAction::Set)),
    ] {
        let mut policy = Policy { stage, staged, ..global_policy() };
        policy.id.name = name.into();
        world.apply(Change::PolicyApplied(policy.into()));
    }
    let names = |stages: Vec<(&Tier, Vec<&Arc<Policy>>)>| -> Vec<String> {
        let policies = stages.into_iter().flat_map(|(_, policies)| policies);
        policies.map(|policy| policy.id.name.to_string()).collect()
    };
    for (stage, want) in [
        (HostStage::Untracked, &["untracked"][..]),
        (HostStage::PreDnat, &["pre-dnat"]),
        (HostStage::Forward, &["forward"]),
        (HostStage::Normal, &["forward", "normal"]),
    ] {
        assert_eq!(names(world.governing_host(&host, stage, Direction::Ingress)), want, "{stage}");
        assert!(world.governing_host(&host, stage, Direction::Egress).is_empty(), "{stage}");
    }
    assert_eq!(names(world.governing(&db, Direction::Ingress)), ["forward", "normal"]);
    let staged: Vec<&str> = world.staged().map(|policy| &*policy.id.name).collect();
    assert_eq!(staged, ["staged"]);
}
