//! Text of policy rules and sets against the real programs: what is written is taken, and
//! printed again so that it reads as what was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use brindle_policy::compile::{DenyLog, Settings, compile};
use brindle_policy::diff::diff;
use brindle_policy::model::{
    Action, Criterion, DEFAULT_TIER, HostSettings, HostStage, Labels, Node, PeerTerm, Pod, PodKey,
    Policy, PolicyId, PolicyKind, PolicyOrder, PortMatch, PortTerm, Rule as PolicyRule, Side,
};
use brindle_policy::names::{ChainName, Comment, Fixed, SetName};
use brindle_policy::readback::{Installed, read_sets, read_tables};
use brindle_policy::render;
use brindle_policy::ruleset::{
    BuiltIn, Chain, ChainOp, Hook, Match, Member, Members, Plan, Purpose, Rule, SetOp, Table,
    Target,
};
use brindle_policy::selector::Expr;
use brindle_policy::{Change, Cidr, Family, Protocol, World};
use integration_tests::{Netns, skip};

/// One iptables of one family, in a namespace of its own.
struct Kernel {
    netns: Arc<Netns>,
    family: Family,
    backend: &'static str,
}

/// Calls `test` with each backend and family that this host has.
fn each_kernel(name: &str, test: impl Fn(&Kernel)) {
    for backend in ["nft", "legacy"] {
        let programs = [format!("iptables-{backend}-restore"), format!("ip6tables-{backend}-save")];
        let needed = [&*programs[0], &*programs[1], "ipset"];
        if !skip::can_run(name, &needed) {
            continue;
        }
        for family in Family::ALL {
            let netns = Netns::new("policy").expect("can_run was asked");
            test(&Kernel { netns, family, backend });
        }
    }
}

impl Kernel {
    fn program(&self, what: &str) -> String {
        let name = match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        format!("{name}-{}{what}", self.backend)
    }

    fn load(&self, program: &str, args: &[&str], text: &str) -> Result<(), String> {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), text).expect("it can be written");
        let path = file.path().to_str().expect("it is named in ASCII");
        let loaded = self.netns.run(program, &[args, &[path]].concat());
        loaded.map(drop).map_err(|error| format!("{error:#}\n{text}"))
    }

    fn sets(&self, text: &str) -> Result<(), String> {
        self.load("ipset", &["restore", "-file"], text)
    }

    fn chains(&self, text: &str) -> Result<(), String> {
        self.load(&self.program("-restore"), &["--noflush"], text)
    }

    fn apply(&self, plan: &Plan) {
        let ops: Vec<_> = plan.set_ops().cloned().collect();
        self.sets(&render::sets_up(&ops, self.family)).expect("sets are taken");
        for text in render::tables(plan).values() {
            self.chains(text).expect("chains are taken");
        }
        for hook in &plan.hook {
            let rule = render::hook_rule(hook);
            let mut words = vec!["-t", hook.table.as_str(), "-I", hook.from.as_str(), "1"];
            words.extend(rule.split(' '));
            self.netns.run(&self.program(""), &words).expect("a hook is taken");
        }
        self.sets(&render::destroy(&plan.destroy)).expect("sets can go");
    }

    fn read(&self) -> Installed {
        let mut installed = Installed::new(self.family);
        for table in Table::ALL {
            let saved = self.netns.run(&self.program("-save"), &["-c", "-t", table.as_str()]);
            read_tables(&mut installed, table, &saved.expect("tables can be read"));
        }
        let saved = self.netns.run("ipset", &["save"]).expect("sets can be read");
        read_sets(&mut installed, &saved);
        installed
    }

    fn cidr(&self, v4: &str, v6: &str) -> Cidr {
        match self.family {
            Family::V4 => v4.parse().expect("a block"),
            Family::V6 => v6.parse().expect("a block"),
        }
    }

    fn address(&self, last: u8) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::from([10, 0, 0, last]),
            Family::V6 => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last.into()]),
        }
    }

    fn set(&self, kind: char) -> SetName {
        SetName::of(kind, self.family, &[])
    }

    /// Sets of each kind with members at the edges.
    fn members(&self) -> BTreeMap<SetName, Members> {
        let (one, two) = (self.address(1), self.address(255));
        let blocks = [
            self.cidr("0.0.0.0/1", "::/1"),
            self.cidr("10.0.0.0/8", "fd00::/8"),
            self.cidr("10.0.0.0/31", "fd00::/127"),
            self.cidr("255.255.255.255/32", "::ffff:1.2.3.4/128"),
        ];
        let pairs = [(one, "brn1"), (two, "brn0123456789ab")]
            .map(|(address, interface)| (address, interface.parse().expect("a name")));
        let ports = Protocol::ALL.map(|protocol| (one, protocol, 0)).into_iter();
        let ports = ports.chain([(two, Protocol::Tcp, 65535), (two, Protocol::Udp, 53)]);
        BTreeMap::from([
            (self.set('s'), Members::Addresses(BTreeSet::from([one, two]))),
            (self.set('e'), Members::Addresses(BTreeSet::new())),
            (self.set('n'), Members::Blocks(BTreeSet::from(blocks))),
            (self.set('p'), Members::Ports(ports.collect())),
            (self.set('a'), Members::Attached(pairs.into())),
        ])
    }

    /// Every condition, at the edges of its values.
    fn matches(&self) -> Vec<Match> {
        let mut all = vec![
            Match::FromLoopback,
            Match::FromPod,
            Match::NotAttached(self.set('a')),
            Match::Established,
            Match::Invalid,
            Match::SourceIsLocal,
            Match::DestinationIsLocal,
            Match::ToLoopback,
            Match::Untracked,
            Match::Marked,
        ];
        for name in ["eth0", "eth0.100", "a@b_c-d", "0123456789abcde"] {
            let device = name.parse().expect("a name");
            all.extend([Match::Arrives(device), Match::Leaves(device)]);
        }
        for side in [Side::Source, Side::Destination] {
            for length in [1, 8, 31, 32, 64, 127, 128] {
                all.extend(Cidr::new(self.address(1), length).map(|cidr| Match::In(side, cidr)));
            }
            for negated in [false, true] {
                all.push(Match::InSet { side, set: self.set('s'), negated });
                all.push(Match::InSet { side, set: self.set('n'), negated });
            }
            for negated in [false, true] {
                all.push(Match::PortIn { side, set: self.set('p'), negated });
            }
            for protocol in Protocol::ALL {
                let full: Vec<_> = (0..7).map(|n| (n * 10, n * 10 + 1)).chain([(90, 90)]).collect();
                for ranges in [vec![(0, 0)], vec![(0, 65535)], vec![(1, 1), (5, 65535)], full] {
                    all.push(Match::Ports(side, protocol, ranges));
                }
            }
        }
        for number in 1..=255 {
            for negated in [false, true] {
                all.push(Match::Protocol { number, negated });
            }
        }
        let rates = (1..=100).chain([101, 150, 300, 333, 999, 5000, 7000, 10_000, u16::MAX]);
        all.extend(rates.map(|rate| Match::limit(rate, rate)));
        all.extend([Match::limit(1, 5), Match::limit(10, 1), Match::limit(7, u16::MAX)]);
        // ICMP has no type 255: iptables takes that for any.
        let last = match self.family {
            Family::V4 => 254,
            Family::V6 => 255,
        };
        for kind in 0..=last {
            for negated in [false, true] {
                for code in [None, Some(0), Some(255)] {
                    all.push(Match::Icmp { family: self.family, kind, code, negated });
                }
            }
        }
        all
    }

    /// Every target.
    fn targets(&self) -> Vec<Target> {
        let longest = Comment::new(&[&"x".repeat(63 - "brindle:".len())]);
        vec![
            Target::Accept,
            Target::Drop,
            Target::Return,
            Target::Jump(ChainName::fixed(Fixed::To)),
            Target::Goto(ChainName::fixed(Fixed::To)),
            Target::Log { group: 0, prefix: Comment::new(&["deny/I/ABC"]) },
            Target::Log { group: 98, prefix: Comment::new(&["a.b_c:d-e"]) },
            Target::Log { group: u16::MAX, prefix: longest },
        ]
    }

    /// A plan that makes all of it, from nothing.
    fn everything(&self) -> Plan {
        let mut plan = Plan::new(self.family);
        plan.sets =
            self.members().into_iter().map(|(name, set)| SetOp::Create(name, set)).collect();
        let comment = Some(Comment::new(&[&"y".repeat(999)]));
        let matches = self.matches().into_iter().enumerate().map(|(index, one)| Rule {
            matches: vec![one],
            target: Target::Drop,
            comment: comment.clone().filter(|_| index % 2 == 0),
        });
        let targets = self.targets().into_iter().map(|target| Rule {
            matches: Vec::new(),
            target,
            comment: comment.clone(),
        });
        let many = Rule {
            matches: vec![
                Match::limit(10, 10),
                Match::SourceIsLocal,
                Match::DestinationIsLocal,
                Match::PortIn { side: Side::Destination, set: self.set('p'), negated: false },
                Match::InSet { side: Side::Source, set: self.set('n'), negated: true },
                Match::InSet { side: Side::Source, set: self.set('s'), negated: false },
                Match::Established,
                Match::Ports(Side::Destination, Protocol::Udp, vec![(53, 53), (60, 70)]),
                Match::Ports(Side::Source, Protocol::Udp, vec![(1024, 65535)]),
                Match::In(Side::Destination, Cidr::host(self.address(1))),
                Match::In(Side::Source, self.cidr("10.0.0.0/8", "fd00::/8")),
                Match::FromLoopback,
            ],
            target: Target::Goto(ChainName::fixed(Fixed::To)),
            comment: comment.clone(),
        };
        let icmp = |code, negated| Match::Icmp { family: self.family, kind: 3, code, negated };
        let several = Rule {
            matches: vec![icmp(None, false), icmp(Some(4), true), icmp(Some(1), true)],
            target: Target::Accept,
            comment: None,
        };
        let before =
            [Target::NoTrack, Target::Mark, Target::Unmark, Target::Accept].map(|target| {
                let matches =
                    vec![Match::Arrives("eth0.100".parse().expect("a name")), Match::Marked];
                Rule { matches, target, comment: comment.clone() }
            });
        let after = Rule {
            matches: vec![Match::Leaves("eth0".parse().expect("a name")), Match::Untracked],
            target: Target::NoTrack,
            comment: None,
        };
        let chain = |rules| ChainOp::Write(Arc::new(Chain { purpose: Purpose::Fixed, rules }));
        let filter = BTreeMap::from([
            (
                ChainName::fixed(Fixed::Forward),
                chain(matches.chain(targets).chain([many, several]).collect()),
            ),
            (ChainName::fixed(Fixed::To), chain(Vec::new())),
        ]);
        let masquerade = Rule {
            matches: vec![Match::InSet {
                side: Side::Destination,
                set: self.set('n'),
                negated: true,
            }],
            target: Target::Masquerade,
            comment: None,
        };
        let nat = BTreeMap::from([(ChainName::fixed(Fixed::Postrouting), chain(vec![masquerade]))]);
        let first = BTreeMap::from([
            (ChainName::fixed(Fixed::From), chain(before.to_vec())),
            (ChainName::fixed(Fixed::To), chain(vec![after])),
        ]);
        let [_, mark, unmark, accept] = before;
        let early =
            BTreeMap::from([(ChainName::fixed(Fixed::From), chain(vec![mark, unmark, accept]))]);
        plan.chains = BTreeMap::from([
            (Table::Filter, filter),
            (Table::Nat, nat),
            (Table::Raw, first),
            (Table::Mangle, early),
        ]);
        let hook = |table, from, to| Hook { table, from, to: ChainName::fixed(to) };
        plan.hook = vec![
            hook(Table::Filter, BuiltIn::Forward, Fixed::Forward),
            hook(Table::Nat, BuiltIn::Postrouting, Fixed::Postrouting),
            hook(Table::Raw, BuiltIn::Prerouting, Fixed::From),
            hook(Table::Raw, BuiltIn::Output, Fixed::To),
            hook(Table::Mangle, BuiltIn::Prerouting, Fixed::From),
        ];
        plan
    }
}

#[test]
fn everything_that_is_written_is_read_back_as_it_was_meant() {
    each_kernel("everything_that_is_written_is_read_back_as_it_was_meant", |kernel| {
        let what = format!("{} {}", kernel.backend, kernel.family);
        let plan = kernel.everything();
        kernel.apply(&plan);
        let installed = kernel.read();
        for (table, chains) in &plan.chains {
            for (name, op) in chains {
                let ChainOp::Write(chain) = op else { panic!("nothing is removed") };
                let there = &installed.chains[&(*table, name.clone())];
                assert_eq!(there.len(), chain.rules.len(), "{what}: {name}");
                for (want, there) in chain.rules.iter().zip(there) {
                    assert_eq!(there.rule.as_ref(), Some(want), "{what}: {}", there.text);
                }
            }
        }
        assert_eq!(installed.chains.len(), 6, "{what}: chains of others are passed over");
        let sets = installed.sets.into_iter().map(|(name, set)| (name, set.members));
        let want = kernel.members().into_iter().map(|(name, members)| (name, Some(members)));
        assert_eq!(sets.collect::<Vec<_>>(), want.collect::<Vec<_>>(), "{what}");
        let hooks: Vec<_> = installed.hooks.iter().map(|there| there.hook.clone()).collect();
        assert_eq!(hooks, plan.hook, "{what}");
        assert!(installed.hooks.iter().all(|there| there.position == 1), "{what}");
        assert_eq!(installed.strays, [], "{what}");
    });
}

#[test]
fn a_transaction_may_be_carried_out_again_and_removes_chains_that_use_each_other() {
    let test = "a_transaction_may_be_carried_out_again_and_removes_chains_that_use_each_other";
    each_kernel(test, |kernel| {
        let what = format!("{} {}", kernel.backend, kernel.family);
        let mut plan = kernel.everything();
        kernel.apply(&plan);
        plan.sets.clear();
        plan.hook.clear();
        let before = kernel.read();
        kernel.apply(&plan);
        assert_eq!(kernel.read(), before, "{what}: once more");

        for hook in before.hooks {
            let rule = render::hook_rule(&hook.hook);
            let mut words = vec!["-t", hook.hook.table.as_str(), "-D", hook.hook.from.as_str()];
            words.extend(rule.split(' '));
            kernel.netns.run(&kernel.program(""), &words).expect("a hook can go");
        }
        for chains in plan.chains.values_mut() {
            for op in chains.values_mut() {
                *op = ChainOp::Remove;
            }
        }
        plan.destroy = kernel.members().into_keys().collect();
        kernel.apply(&plan);
        assert_eq!(kernel.read(), Installed::new(kernel.family), "{what}: all gone");
        kernel.apply(&plan);
        assert_eq!(kernel.read(), Installed::new(kernel.family), "{what}: gone before");
    });
}

#[test]
fn sets_are_changed_replaced_and_made_anew_while_rules_use_them() {
    each_kernel("sets_are_changed_replaced_and_made_anew_while_rules_use_them", |kernel| {
        let what = format!("{} {}", kernel.backend, kernel.family);
        kernel.apply(&kernel.everything());
        let (one, two) = (Member::Address(kernel.address(1)), Member::Address(kernel.address(2)));
        let port = |port| Member::Port(kernel.address(255), Protocol::Udp, port);
        let block = Member::Block(kernel.cidr("10.0.0.0/8", "fd00::/8"));
        let other = Members::Blocks(BTreeSet::from([kernel.cidr("10.9.0.0/16", "fd09::/16")]));
        let made_by_others = kernel.set('o');
        let family = match kernel.family {
            Family::V4 => "inet6",
            Family::V6 => "inet",
        };
        kernel
            .sets(&format!("create {made_by_others} hash:ip family {family}\n"))
            .expect("sets are taken");
        assert_eq!(kernel.read().sets[&made_by_others].members, None, "{what}");

        let mut plan = Plan::new(kernel.family);
        plan.sets = vec![
            SetOp::Change { set: kernel.set('s'), remove: vec![one], add: vec![two] },
            SetOp::Change { set: kernel.set('p'), remove: vec![port(53)], add: vec![port(54)] },
            SetOp::Change { set: kernel.set('n'), remove: vec![block], add: vec![] },
            SetOp::Recreate(made_by_others.clone(), other.clone()),
        ];
        kernel.apply(&plan);
        let mut want = kernel.members();
        let Some(Members::Addresses(addresses)) = want.get_mut(&kernel.set('s')) else { panic!() };
        addresses.remove(&kernel.address(1));
        addresses.insert(kernel.address(2));
        let Some(Members::Ports(ports)) = want.get_mut(&kernel.set('p')) else { panic!() };
        ports.remove(&(kernel.address(255), Protocol::Udp, 53));
        ports.insert((kernel.address(255), Protocol::Udp, 54));
        let Some(Members::Blocks(blocks)) = want.get_mut(&kernel.set('n')) else { panic!() };
        blocks.remove(&kernel.cidr("10.0.0.0/8", "fd00::/8"));
        want.insert(made_by_others, other.clone());
        let there = |kernel: &Kernel| -> BTreeMap<_, _> {
            let sets = kernel.read().sets.into_iter();
            sets.filter_map(|(name, set)| set.members.map(|members| (name, members))).collect()
        };
        assert_eq!(there(kernel), want, "{what}");

        plan.sets = vec![SetOp::Replace(kernel.set('n'), other.clone())];
        want.insert(kernel.set('n'), other.clone());
        // A stand-in that a killed process left behind.
        let stand_in = SetOp::Create(kernel.set('n').stand_in(), other);
        kernel.sets(&render::sets_up(&[stand_in], kernel.family)).expect("sets are taken");
        kernel.apply(&plan);
        assert_eq!(there(kernel), want, "{what}: replaced, and the stand-in is gone");
    });
}

#[test]
fn what_cannot_be_said_is_refused_as_a_whole() {
    each_kernel("what_cannot_be_said_is_refused_as_a_whole", |kernel| {
        let what = format!("{} {}", kernel.backend, kernel.family);
        let tcp = |ranges| Match::Ports(Side::Destination, Protocol::Tcp, ranges);
        let udp = Match::Protocol { number: 17, negated: false };
        // Of ICMPv6 it is a type as any other; here the protocol is the wrong one.
        let any_icmp = Match::Icmp { family: Family::V4, kind: 255, code: None, negated: false };
        for matches in [
            vec![Match::Protocol { number: 0, negated: false }],
            vec![Match::Protocol { number: 0, negated: true }],
            vec![tcp(vec![])],
            vec![tcp(vec![(1, 1)]), udp],
            vec![any_icmp],
            vec![tcp((0..8).map(|n| (n * 10, n * 10 + 1)).collect())],
            vec![Match::InSet { side: Side::Source, set: kernel.set('z'), negated: false }],
        ] {
            let mut plan = Plan::new(kernel.family);
            let rule = Rule { matches, target: Target::Accept, comment: None };
            let chain = Chain { purpose: Purpose::Fixed, rules: vec![rule.clone()] };
            let chains =
                BTreeMap::from([(ChainName::fixed(Fixed::To), ChainOp::Write(Arc::new(chain)))]);
            plan.chains.insert(Table::Filter, chains);
            let text = &render::tables(&plan)[&Table::Filter];
            assert!(kernel.chains(text).is_err(), "{what}: {}", render::rule(&rule));
            assert_eq!(kernel.read(), Installed::new(kernel.family), "{what}: {text}");
        }
    });
}

/// A node full of pods, each governed by ten policies in both directions.
fn crowded_node() -> World {
    let mut world = World::default();
    let pod_cidrs = ["10.1.0.0/24", "fd00:1::/64"].map(|text| text.parse().expect("a block"));
    world.apply(Change::NodeApplied(Arc::new(Node {
        name: "here".into(),
        addresses: BTreeSet::new(),
        pod_cidrs: pod_cidrs.into(),
        labels: Default::default(),
    })));
    for number in 1..=250u8 {
        let addresses = [
            IpAddr::from([10, 1, 0, number]),
            IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 0, number.into()]),
        ];
        world.apply(Change::PodApplied(Arc::new(Pod {
            key: PodKey { namespace: "a".into(), name: format!("p{number}").into() },
            labels: Labels::new(),
            node: Some("here".into()),
            host_network: false,
            finished: false,
            addresses: addresses.into(),
            ports: BTreeSet::new(),
            created: "".into(),
            service_account: "default".into(),
        })));
    }
    let allow = |side, port| PolicyRule {
        action: Action::Allow,
        criteria: vec![
            Criterion::Peer {
                side,
                any_of: vec![PeerTerm::Endpoints(Arc::new(Expr::InNamespace("a".into())))],
                negated: false,
            },
            Criterion::Ports {
                side: Side::Destination,
                any_of: vec![PortTerm {
                    protocol: Protocol::Tcp,
                    port: PortMatch::Range(port, port),
                }],
                negated: false,
            },
        ],
    };
    for number in 0..10 {
        world.apply(Change::PolicyApplied(Arc::new(Policy {
            id: PolicyId {
                kind: PolicyKind::NetworkPolicy,
                namespace: Some("a".into()),
                name: format!("np{number}").into(),
            },
            tier: DEFAULT_TIER.into(),
            order: PolicyOrder::KUBERNETES,
            subject: Arc::new(Expr::InNamespace("a".into())),
            stage: HostStage::Normal,
            staged: None,
            ingress: Some(vec![allow(Side::Source, number)]),
            egress: Some(vec![allow(Side::Destination, number)]),
            problems: Vec::new(),
        })));
    }
    world
}

#[test]
fn a_crowded_node_is_taken_whole_and_read_back_without_a_difference() {
    let world = crowded_node();
    let settings = Settings {
        node: "here".into(),
        pod_cidrs: BTreeSet::new(),
        masquerade: true,
        deny_log: Some(DenyLog { group: 98, per_second: 10 }),
        hosts: HostSettings::default(),
    };
    let test = "a_crowded_node_is_taken_whole_and_read_back_without_a_difference";
    each_kernel(test, |kernel| {
        let what = format!("{} {}", kernel.backend, kernel.family);
        let want = compile(&world, &settings, kernel.family);
        let plan = diff(&want, &kernel.read());
        let begun = Instant::now();
        kernel.apply(&plan);
        let lines: usize = render::tables(&plan).values().map(|text| text.lines().count()).sum();
        println!("{what}: {lines} lines in {:?}", begun.elapsed());
        assert_eq!(diff(&want, &kernel.read()), Plan::new(kernel.family), "{what}");
    });
}
