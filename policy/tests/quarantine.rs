//! A policy that cannot be installed as it is still governs, and allows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brindle_policy::compile::{Compiler, Settings};
use brindle_policy::model::{
    Action, Criterion, DEFAULT_TIER, HostEndpoint, HostInterface, HostSettings, HostStage, Node,
    PeerTerm, Pod, Policy, PolicyKind, PolicyOrder, PortMatch, PortTerm, Protocol, Rule, Side,
};
use brindle_policy::names::ChainName;
use brindle_policy::ruleset::Table;
use brindle_policy::selector::Expr;
use brindle_policy::{Change, Direction, Family, PodKey, PolicyId, World, render};

fn key() -> PodKey {
    PodKey { namespace: "a".into(), name: "pod".into() }
}

fn id() -> PolicyId {
    PolicyId { kind: PolicyKind::NetworkPolicy, namespace: Some("a".into()), name: "p".into() }
}

/// One pod, and one policy with these rules for ingress, each about all endpoints.
fn world(actions: &[Action]) -> World {
    let peer = Criterion::Peer {
        side: Side::Source,
        any_of: vec![PeerTerm::Endpoints(Arc::new(Expr::All))],
        negated: false,
    };
    let rule = |action: &Action| Rule { action: *action, criteria: vec![peer.clone()] };
    let pod = Pod {
        key: key(),
        labels: BTreeMap::new(),
        node: Some("n".into()),
        host_network: false,
        finished: false,
        addresses: vec![[10, 1, 0, 1].into()],
        ports: BTreeSet::new(),
        created: "".into(),
        service_account: "default".into(),
    };
    let policy = Policy {
        id: id(),
        tier: DEFAULT_TIER.into(),
        order: PolicyOrder::KUBERNETES,
        subject: Arc::new(Expr::All),
        stage: HostStage::Normal,
        staged: None,
        ingress: Some(actions.iter().map(rule).collect()),
        egress: None,
        problems: Vec::new(),
    };
    let range = "10.1.0.0/24".parse().expect("a block");
    let node = Node {
        name: "n".into(),
        addresses: BTreeSet::new(),
        pod_cidrs: BTreeSet::from([range]),
        labels: Default::default(),
    };
    let mut world = World::default();
    world.apply(Change::NodeApplied(Arc::new(node)));
    world.apply(Change::PodApplied(Arc::new(pod)));
    world.apply(Change::PolicyApplied(Arc::new(policy)));
    world
}

/// The rules of a chain, without comments; `None` if there is no such chain.
fn rules(compiler: &Compiler, chain: ChainName) -> Option<Vec<String>> {
    let chain = compiler.ruleset().chains.get(&(Table::Filter, chain))?;
    let text = chain.rules.iter().map(|rule| {
        let mut rule = rule.clone();
        rule.comment = None;
        render::rule(&rule)
    });
    Some(text.collect())
}

#[test]
fn what_would_allow_is_gone_and_what_would_deny_denies_all() {
    use Action::{Allow, Deny, Log, Pass};
    for (actions, want) in [
        (&[][..], &[][..]),
        (&[Allow], &[]),
        (&[Log, Allow, Log], &[]),
        (&[Allow, Deny], &["-j DROP"]),
        (&[Pass, Allow], &["-j DROP"]),
    ] {
        let world = world(actions);
        let settings = Settings {
            node: "n".into(),
            pod_cidrs: BTreeSet::new(),
            masquerade: false,
            deny_log: None,
            hosts: HostSettings::default(),
        };
        let mut compiler = Compiler::new(&world, settings, Family::V4);
        let before = compiler.ruleset().clone();
        compiler.quarantine(&world, BTreeSet::from([id()]));
        let chain = ChainName::policy(&id(), Direction::Ingress);
        let endpoint = ChainName::endpoint(&key(), Direction::Ingress);
        let jump = format!("-j {chain}");
        assert_eq!(rules(&compiler, chain).expect("it governs a pod here"), want, "{actions:?}");
        let judging = rules(&compiler, endpoint).expect("the pod is here");
        assert!(judging[1] == jump && judging[2] == "-j DROP", "{judging:?}");
        let uses_a_peer_set = |name: &str| name.starts_with("brn-s");
        assert!(!compiler.ruleset().sets.keys().any(|set| uses_a_peer_set(set.as_str())));
        compiler.quarantine(&world, BTreeSet::new());
        assert_eq!(*compiler.ruleset(), before, "{actions:?}");
    }
}

/// Host endpoints have the rules of all policies in one chain: those of the others stay.
#[test]
fn on_a_host_only_the_policy_that_is_refused_allows_nothing() {
    let policy = |name: &str, port: u16| {
        let port = PortMatch::Range(port, port);
        let any_of = vec![PortTerm { protocol: Protocol::Tcp, port }];
        let ports = Criterion::Ports { side: Side::Destination, any_of, negated: false };
        let rules = vec![Rule { action: Action::Allow, criteria: vec![ports] }];
        Policy {
            id: PolicyId {
                kind: PolicyKind::GlobalNetworkPolicy,
                namespace: None,
                name: name.into(),
            },
            tier: DEFAULT_TIER.into(),
            order: PolicyOrder::new(None),
            subject: Arc::new(Expr::All),
            stage: HostStage::Normal,
            staged: None,
            ingress: Some(rules),
            egress: None,
            problems: Vec::new(),
        }
    };
    let mut world = world(&[]);
    world.apply(Change::HostEndpointApplied(Arc::new(HostEndpoint {
        name: "eth".into(),
        labels: BTreeMap::new(),
        node: "n".into(),
        interface: Some(HostInterface::Any),
        expected: BTreeSet::new(),
        ports: BTreeSet::new(),
        profiles: Vec::new(),
    })));
    let (bad, good) = (policy("bad", 8001), policy("good", 8002));
    let id = bad.id.clone();
    for one in [bad, good] {
        world.apply(Change::PolicyApplied(one.into()));
    }
    let settings = Settings {
        node: "n".into(),
        pod_cidrs: BTreeSet::new(),
        masquerade: false,
        deny_log: None,
        hosts: HostSettings::default(),
    };
    let mut compiler = Compiler::new(&world, settings, Family::V4);
    let chain = || ChainName::host("eth", HostStage::Normal, Direction::Ingress, "");
    let has = |compiler: &Compiler, port: &str| {
        let rules = rules(compiler, chain()).expect("the host endpoint judges");
        rules.iter().any(|rule| rule.contains(port))
    };
    assert!(has(&compiler, "8001") && has(&compiler, "8002"));
    let before = compiler.ruleset().clone();
    compiler.quarantine(&world, BTreeSet::from([id]));
    assert!(!has(&compiler, "8001") && has(&compiler, "8002") && has(&compiler, "DROP"));
    compiler.quarantine(&world, BTreeSet::new());
    assert_eq!(*compiler.ruleset(), before);
}
