//! Host endpoints: each case through the verdict and through the tables of the node.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::compile::{Compiler, DenyLog, Settings, compile, shadowed};
use brindle_policy::model::{
    Action, Criterion, DEFAULT_ALLOW_PROFILE, DEFAULT_TIER, DeviceAddresses, HostEndpoint,
    HostInterface, HostSettings, HostStage, Policy, PolicyKind, PolicyOrder, PortMatch, PortTerm,
    Profile, Rule, Side, StagedAction, Tier, TierAction, ToHost,
};
use brindle_policy::names::{Comment, Device};
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::verdict::{
    HostQuestion, HostVerdict, Passage, Way, host_verdict, staged_hosts,
};
use brindle_policy::walk::{End, State};
use brindle_policy::{Change, Direction, Family, PolicyId, Protocol};

use crate::ground::{Ground, policy};
use crate::passage::{Passed, pass};

use Action::{Allow, Deny, Pass};
use HostStage::{Forward, Normal, PreDnat, Untracked};

/// The cluster of the other criteria, and what n1 has besides.
struct Node {
    ground: Ground,
    settings: HostSettings,
}

impl Node {
    /// n1 with these host endpoints, each written as its interface.
    fn with(interfaces: &[&str]) -> Self {
        let mut node = Self { ground: Ground::with(""), settings: HostSettings::default() };
        for interface in interfaces {
            node.tell(endpoint(&format!("on-{interface}"), interface, &[]));
        }
        node
    }

    fn tell(&mut self, change: Change) {
        self.ground.tell(change);
    }

    fn settings(&self) -> Settings {
        Settings {
            node: "n1".into(),
            pod_cidrs: BTreeSet::new(),
            masquerade: true,
            deny_log: None,
            hosts: self.settings.clone(),
        }
    }

    fn verdict(&self, text: &str) -> HostVerdict {
        host_verdict(&self.ground.world, &self.settings, "n1", &passage(text))
    }

    fn walk(&self, text: &str, state: State) -> Passed {
        let passage = passage(text);
        let family = Family::of(passage.flow.source);
        let ruleset = compile(&self.ground.world, &self.settings(), family);
        pass(&ruleset, &self.ground.world, "n1", &passage, state)
    }

    /// Asserts for passages whether they are allowed.
    fn check(&self, rows: &[(&str, bool)]) {
        for (text, want) in rows {
            let said = self.verdict(text);
            assert_eq!(said.is_allowed(), *want, "verdict on {text}: {said:#?}");
            let passed = self.walk(text, State::New);
            assert_eq!(passed.is_allowed, *want, "walk of {text}: {passed:#?}");
        }
    }
}

/// A host endpoint of n1 that policies know by the label `host`.
fn endpoint(name: &str, interface: &str, profiles: &[&str]) -> Change {
    Change::HostEndpointApplied(Arc::new(HostEndpoint {
        name: name.into(),
        labels: [("host".into(), "n1".into())].into(),
        node: "n1".into(),
        interface: match interface {
            "" => None,
            "*" => Some(HostInterface::Any),
            name => Some(HostInterface::Named(device(name))),
        },
        expected: ["192.168.0.1", "fd09::1"].map(|text| text.parse().expect("an address")).into(),
        ports: BTreeSet::new(),
        profiles: profiles.iter().map(|name| (*name).into()).collect(),
    }))
}

/// A policy of hosts, of the order in which they are made.
fn of_hosts(
    name: &str,
    stage: HostStage,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    let host = Key { scope: Scope::Own, name: "host".into() };
    Policy {
        id: PolicyId { kind: PolicyKind::GlobalNetworkPolicy, namespace: None, name: name.into() },
        tier: DEFAULT_TIER.into(),
        order: PolicyOrder::new(None),
        subject: Expr::Has(host).into(),
        stage,
        staged: None,
        ingress,
        egress,
        problems: Vec::new(),
    }
}

fn applied(policy: Policy) -> Change {
    Change::PolicyApplied(policy.into())
}

/// Does something with TCP packets to a port, or from one.
fn port(action: Action, side: Side, port: u16) -> Rule {
    let port = PortMatch::Range(port, port);
    let any_of = vec![PortTerm { protocol: Protocol::Tcp, port }];
    Rule { action, criteria: vec![Criterion::Ports { side, any_of, negated: false }] }
}

fn to(action: Action, number: u16) -> Rule {
    port(action, Side::Destination, number)
}

fn all(action: Action) -> Rule {
    Rule { action, criteria: Vec::new() }
}

fn device(name: &str) -> Device {
    name.parse().expect("the name of an interface")
}

/// `outside n1 tcp/80 in eth0`, `outside api tcp/8080 eth0 > brn1`, `n1 outside tcp/80 out eth0`;
/// with `for n1 tcp/30080` behind it that is what it was before translation.
fn passage(text: &str) -> Passage {
    let words: Vec<&str> = text.split(' ').collect();
    let flow = |to: &str, port: &str| crate::ground::flow(&format!("{} -> {to} {port}", words[0]));
    let (way, rest) = match &words[3..] {
        ["in", from, rest @ ..] => (Way::In { from: device(from) }, rest),
        ["out", to, rest @ ..] => (Way::Out { to: device(to) }, rest),
        [from, ">", to, rest @ ..] => (Way::Through { from: device(from), to: device(to) }, rest),
        _ => panic!("{text}"),
    };
    let original = match rest {
        [] => None,
        ["for", to, port] => Some(flow(to, port)),
        _ => panic!("{text}"),
    };
    Passage { flow: flow(words[1], words[2]), original, way }
}

#[test]
fn c32_a_host_endpoint_alone_closes_all_but_failsafes_and_leaves_pods_alone() {
    let node = Node::with(&["eth0"]);
    node.check(&[
        ("outside n1 tcp/80 in eth0", false),
        ("outside6 n16 tcp/80 in eth0", false),
        ("outside n1 icmp in eth0", false),
        ("n1 outside tcp/80 out eth0", false),
        ("n16 outside6 icmp out eth0", false),
        // Failsafes of both directions.
        ("outside n1 tcp/22 in eth0", true),
        ("outside6 n16 tcp/179 in eth0", true),
        ("outside n1 udp/68 in eth0", true),
        ("outside n1 udp/53 in eth0", false),
        ("n1 outside udp/53 out eth0", true),
        ("n1 outside tcp/6443 out eth0", true),
        ("n1 outside tcp/22 out eth0", false),
        // Of pods, from them to their host, and from it to them.
        ("outside api tcp/80 eth0 > brn1", true),
        ("api outside tcp/80 cali1 > eth0", true),
        ("api n1 tcp/80 in cali1", true),
        ("n1 api tcp/80 out eth0", true),
        // No host endpoint has those interfaces.
        ("outside n1 tcp/80 in eth1", true),
        ("n1 outside tcp/80 out eth1", true),
        ("outside n1 tcp/80 in lo", true),
    ]);
    for (text, state, want) in [
        ("outside n1 tcp/80 in eth0", State::Established, true),
        ("n1 outside tcp/80 out eth0", State::Established, true),
        ("outside n1 tcp/80 in eth0", State::Invalid, false),
        ("n1 outside tcp/80 out eth0", State::Invalid, false),
        ("outside n1 tcp/22 in eth0", State::Invalid, true),
    ] {
        assert_eq!(node.walk(text, state).is_allowed, want, "{text}, {state:?}");
    }
}

#[test]
fn c32_an_endpoint_of_all_interfaces_has_those_that_no_other_has_but_never_lo() {
    let mut node = Node::with(&["*", "eth1"]);
    node.tell(endpoint("on-eth1", "eth1", &[DEFAULT_ALLOW_PROFILE]));
    node.check(&[
        ("outside n1 tcp/80 in eth0", false),
        ("n1 outside tcp/80 out eth7", false),
        ("outside n1 tcp/80 in eth1", true),
        ("n1 outside tcp/80 out eth1", true),
        ("n1 n1 tcp/80 in lo", true),
        ("n1 n1 tcp/80 out lo", true),
        ("api n1 tcp/80 in cali1", true),
        ("n1 api tcp/80 out cali1", true),
        ("outside api tcp/80 eth0 > cali1", true),
    ]);
}

#[test]
fn c33_a_profile_that_allows_keeps_a_host_open_until_a_policy_selects_it() {
    let mut node = Node::with(&[]);
    node.tell(endpoint("e", "eth0", &[DEFAULT_ALLOW_PROFILE]));
    let rows = ["outside n1 tcp/80 in eth0", "n1 outside udp/99 out eth0"];
    node.check(&rows.map(|text| (text, true)));
    node.tell(applied(of_hosts("p", Normal, Some(vec![to(Allow, 443)]), None)));
    node.check(&[
        ("outside n1 tcp/443 in eth0", true),
        ("outside n1 tcp/80 in eth0", false),
        ("outside n1 tcp/22 in eth0", true),
        // Not governed in that direction.
        ("n1 outside udp/99 out eth0", true),
    ]);
    // A profile that nobody knows may say anything.
    node.tell(endpoint("e", "eth0", &["gone", DEFAULT_ALLOW_PROFILE]));
    node.check(&[("n1 outside udp/99 out eth0", false), ("n1 outside udp/53 out eth0", true)]);
    node.tell(Change::ProfileApplied(Arc::new(Profile {
        name: "gone".into(),
        labels: Default::default(),
        ingress: Vec::new(),
        egress: vec![to(Allow, 1), to(Deny, 2), to(Pass, 3), all(Deny)],
        problems: Vec::new(),
    })));
    node.check(&[
        ("n1 outside tcp/1 out eth0", true),
        ("n1 outside tcp/2 out eth0", false),
        ("n1 outside tcp/3 out eth0", true),
        ("n1 outside tcp/4 out eth0", false),
    ]);
}

#[test]
fn c34_only_policies_that_apply_on_forward_judge_what_goes_to_pods() {
    for (stage, want) in [(Normal, true), (Forward, false)] {
        let mut node = Node::with(&["eth0"]);
        let rules = || Some(vec![to(Allow, 8080)]);
        node.tell(applied(of_hosts("p", stage, rules(), rules())));
        node.check(&[
            ("outside api tcp/80 eth0 > cali1", want),
            ("outside6 api6 tcp/80 eth0 > cali1", want),
            ("api outside tcp/80 cali1 > eth0", want),
            ("outside api tcp/8080 eth0 > cali1", true),
            ("api outside tcp/8080 cali1 > eth0", true),
            ("outside api tcp/80 eth1 > cali1", true),
            ("api cart tcp/80 cali1 > cali2", true),
            // Both judge packets of the host itself.
            ("outside n1 tcp/8080 in eth0", true),
            ("outside n1 tcp/80 in eth0", false),
        ]);
        // The policies of pods judge what the host lets pass.
        node.ground.apply(&policy("closed", "{podSelector: {}}"));
        node.check(&[("outside api tcp/8080 eth0 > cali1", false)]);
    }
    // With all interfaces, those of pods are among them.
    let mut node = Node::with(&["*"]);
    node.tell(applied(of_hosts("p", Forward, Some(vec![to(Allow, 8080)]), None)));
    node.check(&[
        ("api cart tcp/80 cali1 > cali2", false),
        ("api cart tcp/8080 cali1 > cali2", true),
        ("api n1 tcp/80 in cali1", true),
    ]);
}

#[test]
fn c35_what_pre_dnat_denies_is_dropped_before_its_destination_is_translated() {
    let mut node = Node::with(&["eth0"]);
    let rules = vec![to(Deny, 30_080), to(Allow, 30_081)];
    node.tell(applied(of_hosts("p", PreDnat, Some(rules), None)));
    node.check(&[
        ("outside api tcp/8080 eth0 > cali1 for n1 tcp/30080", false),
        ("outside api tcp/8080 eth0 > cali1 for n1 tcp/30082", true),
        ("outside api tcp/30080 eth0 > cali1 for n1 tcp/30082", true),
        ("outside api tcp/8080 eth1 > cali1 for n1 tcp/30080", true),
        // What it allows, the other stages do not judge; without it nothing does.
        ("outside n1 tcp/8080 in eth0 for n1 tcp/30081", true),
        ("outside n1 tcp/8080 in eth0 for n1 tcp/30082", false),
        ("outside n1 tcp/30081 in eth0", true),
    ]);
    node.tell(applied(of_hosts("q", Forward, Some(Vec::new()), None)));
    node.check(&[
        ("outside api tcp/8080 eth0 > cali1 for n1 tcp/30081", true),
        ("outside api tcp/8080 eth0 > cali1 for n1 tcp/30082", false),
    ]);
    let denied = "outside api tcp/8080 eth0 > cali1 for n1 tcp/30080";
    assert!(node.walk(denied, State::Established).is_allowed, "established packets go on");
    // The policies of pods judge what pre-DNAT lets pass.
    node.ground.apply(&policy("closed", "{podSelector: {}}"));
    node.check(&[("outside api tcp/8080 eth0 > cali1 for n1 tcp/30081", false)]);
    // No policy locks anybody out.
    node.tell(applied(of_hosts("p", PreDnat, Some(vec![all(Deny)]), None)));
    node.check(&[("outside n1 tcp/22 in eth0", true), ("outside n1 tcp/30081 in eth0", false)]);
}

#[test]
fn c35_pre_dnat_on_all_interfaces_leaves_out_those_of_pods() {
    let mut node = Node::with(&["*"]);
    node.tell(applied(of_hosts("p", PreDnat, Some(vec![all(Deny)]), None)));
    node.check(&[
        ("outside api tcp/80 eth0 > cali1", false),
        ("api outside tcp/80 cali1 > eth0", true),
        ("api n1 tcp/80 in cali1", true),
    ]);
}

#[test]
fn c36_what_is_not_tracked_needs_rules_both_ways() {
    let mut node = Node::with(&["eth0"]);
    node.tell(applied(of_hosts("in", Untracked, Some(vec![to(Allow, 80)]), None)));
    let request = "outside n1 tcp/80 in eth0";
    node.check(&[(request, true), ("outside n1 tcp/81 in eth0", false)]);
    assert!(node.walk(request, State::New).is_untracked());
    // Connection tracking never saw the request.
    let reply = "n1 outside tcp/40000 out eth0";
    for state in [State::New, State::Invalid] {
        assert!(!node.walk(reply, state).is_allowed, "{state:?}");
    }
    let replies = vec![port(Allow, Side::Source, 40_000)];
    node.tell(applied(of_hosts("out", Untracked, None, Some(replies))));
    let passed = node.walk(reply, State::New);
    assert!(passed.is_allowed && passed.is_untracked(), "{passed:#?}");
    node.check(&[(reply, true)]);
    // The policies of pods judge what is not tracked, too.
    let rules = vec![to(Allow, 80), all(Deny)];
    node.tell(applied(of_hosts("in", Untracked, Some(rules.clone()), Some(rules))));
    node.check(&[("outside api tcp/80 eth0 > cali1", true), (request, true)]);
    node.ground.apply(&policy("closed", "{podSelector: {}}"));
    node.check(&[("outside api tcp/80 eth0 > cali1", false), (request, true)]);
    // Failsafes stay open and tracked, both ways, and so do the replies.
    for open in ["outside n1 tcp/22 in eth0", "n1 outside tcp/6443 out eth0"] {
        assert!(node.walk(open, State::New).is_allowed && node.verdict(open).is_allowed());
        assert!(!node.walk(open, State::New).is_untracked(), "{open}");
    }
    let mut replies = passage("n1 outside tcp/40000 out eth0");
    replies.flow.source_port = Some(22);
    let ruleset = compile(&node.ground.world, &node.settings(), Family::V4);
    let passed = pass(&ruleset, &node.ground.world, "n1", &replies, State::Established);
    assert!(passed.is_allowed, "{passed:#?}");
    // Not supported on all interfaces at once.
    let mut node = Node::with(&["*"]);
    node.tell(applied(of_hosts("in", Untracked, Some(vec![to(Allow, 80)]), None)));
    node.check(&[(request, false)]);
}

#[test]
fn c37_of_two_host_endpoints_of_an_interface_the_smallest_name_counts() {
    let mut node = Node::with(&[]);
    node.tell(endpoint("b", "eth0", &[DEFAULT_ALLOW_PROFILE]));
    node.check(&[("outside n1 tcp/80 in eth0", true)]);
    node.tell(endpoint("a", "eth0", &[]));
    node.check(&[("outside n1 tcp/80 in eth0", false)]);
    let lost = |node: &Node| shadowed(&node.ground.world, "n1");
    let pair = |loser: &str, winner: &str| (loser.into(), winner.into());
    assert_eq!(lost(&node), [pair("b", "a")]);
    // One that is found by its addresses fits when an interface has one of them.
    node.tell(endpoint("0", "", &[DEFAULT_ALLOW_PROFILE]));
    node.check(&[("outside n1 tcp/80 in eth0", false)]);
    let addresses = BTreeSet::<IpAddr>::from(["192.168.0.1".parse().expect("an address")]);
    let devices = [(device("eth0"), addresses), (device("eth1"), BTreeSet::new())];
    node.tell(Change::Devices(DeviceAddresses { devices: devices.into() }.into()));
    node.check(&[("outside n1 tcp/80 in eth0", true), ("outside n1 tcp/80 in eth1", true)]);
    assert_eq!(lost(&node), [pair("a", "0"), pair("b", "0")]);
    // Of all interfaces likewise, but only for those that no other has.
    node.tell(endpoint("y", "*", &[]));
    node.tell(endpoint("z", "*", &[DEFAULT_ALLOW_PROFILE]));
    node.check(&[("outside n1 tcp/80 in eth0", true), ("outside n1 tcp/80 in eth1", false)]);
    assert_eq!(lost(&node), [pair("a", "0"), pair("b", "0"), pair("z", "y")]);
    assert!(shadowed(&node.ground.world, "n2").is_empty());
}

#[test]
fn c38_failsafes_do_not_open_what_is_forwarded() {
    let mut node = Node::with(&["eth0"]);
    let deny = || Some(vec![all(Deny)]);
    node.tell(applied(of_hosts("p", Forward, deny(), deny())));
    node.check(&[
        ("outside api tcp/22 eth0 > cali1", false),
        ("api outside tcp/6443 cali1 > eth0", false),
        ("outside n1 tcp/22 in eth0", true),
        ("n1 outside tcp/6443 out eth0", true),
    ]);
    let (text, state) = ("outside api tcp/80 eth0 > cali1", State::Invalid);
    assert!(!node.walk(text, state).is_allowed);
    assert!(node.walk(text, State::Established).is_allowed);
}

#[test]
fn tiers_of_hosts_are_left_by_pass_in_every_stage() {
    for stage in HostStage::ALL {
        let mut node = Node::with(&["eth0"]);
        // More than the kernel could follow if each led to the next.
        for number in 0..20u16 {
            let name: Arc<str> = format!("t{number:02}").into();
            let order = PolicyOrder::new(Some(f64::from(number)));
            let default_action = TierAction::Deny;
            let tier = Tier { name: name.clone(), order, default_action };
            node.tell(Change::TierApplied(tier.into()));
            let rules = vec![to(Allow, 1000 + number), to(Deny, 2000 + number), all(Pass)];
            let egress = (stage != PreDnat).then(|| rules.clone());
            let policy = of_hosts(&name, stage, Some(rules), egress);
            node.tell(applied(Policy { tier: name, ..policy }));
        }
        let (through, inward) = (stage == Forward, stage != Forward);
        for (port, want) in [(1000, true), (1019, true), (2000, false), (2019, false)] {
            let rows = [
                (through, format!("outside api tcp/{port} eth0 > cali1")),
                (through, format!("api outside tcp/{port} cali1 > eth0")),
                (inward, format!("outside n1 tcp/{port} in eth0")),
                (inward && stage != PreDnat, format!("n1 outside tcp/{port} out eth0")),
            ];
            for (_, text) in rows.iter().filter(|(is_seen, _)| *is_seen) {
                node.check(&[(text, want)]);
            }
        }
        // No tier decided: what comes then is another stage's, or allowed, or a profile's.
        node.check(&[
            ("outside api tcp/80 eth0 > cali1", true),
            ("outside n1 tcp/80 in eth0", false),
        ]);
    }
}

#[test]
fn quarantined_policies_close_hosts_but_for_failsafes() {
    let mut node = Node::with(&["eth0"]);
    let rules = || Some(vec![to(Allow, 80), to(Deny, 81)]);
    for (name, stage) in [("u", Untracked), ("d", PreDnat), ("f", Forward), ("n", Normal)] {
        let egress = if stage == PreDnat { None } else { rules() };
        node.tell(applied(of_hosts(name, stage, rules(), egress)));
    }
    let world = &node.ground.world;
    let mut compiler = Compiler::new(world, node.settings(), Family::V4);
    let walk = |compiler: &Compiler, text: &str| {
        pass(compiler.ruleset(), world, "n1", &passage(text), State::New).is_allowed
    };
    assert!(walk(&compiler, "outside n1 tcp/80 in eth0"));
    let ids = world.policies().map(|policy| policy.id.clone()).collect();
    let before = compiler.ruleset().clone();
    assert!(!compiler.quarantine(world, ids).is_empty());
    for (text, want) in [
        ("outside n1 tcp/80 in eth0", false),
        ("n1 outside tcp/80 out eth0", false),
        ("outside api tcp/80 eth0 > cali1", false),
        ("outside n1 tcp/22 in eth0", true),
        ("n1 outside tcp/6443 out eth0", true),
    ] {
        assert_eq!(walk(&compiler, text), want, "{text}");
    }
    compiler.quarantine(world, BTreeSet::new());
    assert_eq!(*compiler.ruleset(), before);
}

#[test]
fn pods_may_do_to_their_host_what_the_setting_says() {
    for (to_host, want) in [(ToHost::Accept, true), (ToHost::Drop, false), (ToHost::Return, true)] {
        for tier_is_left in [false, true] {
            let mut node = Node::with(&["*"]);
            node.settings.to_host = to_host;
            let egress = "egress: [{ports: [{port: 80}]}, {ports: [{port: 81}]}]";
            let selected = format!("{{podSelector: {{}}, policyTypes: [Egress], {egress}}}");
            node.ground.apply(&policy("some", &selected));
            if tier_is_left {
                let rules = Some(vec![to(Deny, 99), all(Pass)]);
                let first = of_hosts("first", Normal, None, rules);
                let tier = "kube-admin".into();
                node.tell(applied(Policy { subject: Expr::All.into(), tier, ..first }));
            }
            node.check(&[
                ("api n1 tcp/80 in cali1", want),
                ("api n1 tcp/82 in cali1", false),
                // One that no policy governs.
                ("outside n1 tcp/22 in eth0", true),
                ("n1 api tcp/82 out cali1", true),
                ("api outside tcp/82 cali1 > eth0", false),
            ]);
            // To the host's own rules, or past them.
            let end = match to_host {
                ToHost::Accept => End::Accept,
                ToHost::Drop => End::Drop,
                ToHost::Return => End::Returned,
            };
            let walks = node.walk("api n1 tcp/80 in cali1", State::New).walks;
            assert_eq!(walks.last().map(|(.., walk)| &walk.end), Some(&end), "{to_host:?}");
        }
    }
}

#[test]
fn what_pods_send_to_look_like_a_node_is_dropped_before_any_policy() {
    let tunnel = |text: &str, protocol: u8| {
        let mut passage = passage(text);
        passage.flow.protocol = protocol;
        if protocol == 4 {
            (passage.flow.source_port, passage.flow.destination_port) = (None, None);
        }
        passage
    };
    let node = Node::with(&[]);
    let world = &node.ground.world;
    for family in Family::ALL {
        let six = if family == Family::V6 { "6" } else { "" };
        let ruleset = compile(world, &node.settings(), family);
        for (from, to, way, protocol, want) in [
            ("api", "outside", "cali1 > eth0", 4, false),
            ("api", "n2", "cali1 > eth0", 17, false),
            ("api", "n1", "in cali1", 4, false),
            ("api", "n1", "in cali1", 17, false),
            ("api", "n1", "in cali1", 6, true),
            ("n2", "n1", "in eth0", 4, true),
            ("n2", "n1", "in eth0", 17, true),
        ] {
            let passage = tunnel(&format!("{from}{six} {to}{six} udp/4789 {way}"), protocol);
            let said = host_verdict(world, &node.settings, "n1", &passage);
            assert_eq!(said.is_allowed(), want, "{passage:?}: {said:#?}");
            let passed = pass(&ruleset, world, "n1", &passage, State::New);
            assert_eq!(passed.is_allowed, want, "{passage:?}: {passed:#?}");
        }
    }
}

/// C39 for hosts: at each stage what is staged changes nothing, and says what it would.
#[test]
fn c39_staged_policies_on_hosts_change_nothing_and_are_told_of() {
    let staged = |name: &str, stage, action, rules| {
        let mut policy = of_hosts(name, stage, Some(rules), None);
        policy.id.kind = PolicyKind::StagedGlobalNetworkPolicy;
        policy.staged = Some(action);
        applied(policy)
    };
    for (stage, way) in [
        (Untracked, "outside n1 tcp/80 in eth0"),
        (PreDnat, "outside n1 tcp/80 in eth0"),
        (Forward, "outside api tcp/80 eth0 > cali1"),
        (Normal, "outside n1 tcp/80 in eth0"),
    ] {
        let enforced = |rules| applied(of_hosts("p", stage, Some(rules), None));
        for (now, proposed, is_allowed, would_be) in [
            (vec![], staged("p", stage, StagedAction::Set, vec![all(Deny)]), true, false),
            (
                vec![enforced(vec![all(Deny)])],
                staged("p", stage, StagedAction::Set, vec![all(Allow)]),
                false,
                true,
            ),
            (
                vec![enforced(vec![all(Deny)]), enforced(vec![to(Deny, 80), all(Allow)])],
                staged("p", stage, StagedAction::Delete, vec![]),
                false,
                true,
            ),
            (
                vec![enforced(vec![all(Allow)])],
                staged("p", stage, StagedAction::Learn, vec![all(Deny)]),
                true,
                true,
            ),
        ] {
            let mut node = Node::with(&[]);
            node.tell(endpoint("e", "eth0", &[DEFAULT_ALLOW_PROFILE]));
            now.into_iter().for_each(|change| node.tell(change));
            node.check(&[(way, is_allowed)]);
            let told = |node: &Node| {
                let deny_log = Some(DenyLog { group: 98, per_second: 10 });
                let settings = Settings { deny_log, ..node.settings() };
                let ruleset = compile(&node.ground.world, &settings, Family::V4);
                let rules = ruleset.chains.values().flat_map(|chain| &chain.rules);
                let word = Comment::new(&["staged"]);
                rules.filter(|rule| rule.comment.as_ref() == Some(&word)).count()
            };
            assert_eq!(told(&node), 0, "{stage}");
            let is_said = !format!("{proposed:?}").contains("Learn");
            node.tell(proposed);
            node.check(&[(way, is_allowed)]);
            assert_eq!(told(&node) > 0, is_said, "{stage}");
            let world = &node.ground.world;
            let host = world.host_endpoints().next().expect("it is there");
            let question = HostQuestion::Stage(host, stage, Direction::Ingress);
            let flow = passage(way).flow;
            let said = staged_hosts(world, &node.settings, question, &flow, &flow);
            assert_eq!(said.is_some(), is_said, "{stage}");
            let Some(said) = said else { continue };
            let outcomes = (said.now.is_allowed(), said.verdict.is_allowed());
            assert_eq!(outcomes, (is_allowed, would_be), "{stage}: {said:#?}");
            assert_eq!(said.policies.len(), 1, "{stage}");
        }
    }
}

#[test]
fn a_node_without_host_endpoints_has_nothing_of_them() {
    let mut node = Node::with(&[]);
    for stage in HostStage::ALL {
        node.tell(applied(of_hosts(&stage.to_string(), stage, Some(vec![all(Deny)]), None)));
    }
    let mut compiler = Compiler::new(&node.ground.world, node.settings(), Family::V4);
    let bare = compiler.ruleset().clone();
    assert!(bare.chains.keys().all(|(_, name)| !name.as_str().contains("HOST")));
    node.ground.world.take_touched();
    for change in [endpoint("e", "eth0", &[]), Change::HostEndpointDeleted("e".into())] {
        node.tell(change);
        let touched = node.ground.world.take_touched();
        let plan = compiler.update(&node.ground.world, &touched);
        assert!(!plan.is_empty());
        let fresh = compile(&node.ground.world, &node.settings(), Family::V4);
        assert_eq!(*compiler.ruleset(), fresh);
    }
    assert_eq!(*compiler.ruleset(), bare);
}
