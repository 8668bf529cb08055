//! What the tables of a node do with packets that come to it, leave it or pass through it is
//! what the verdict says, on random worlds with host endpoints.

#[path = "support/passage.rs"]
mod passage;
#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/worlds.rs"]
mod worlds;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::compile::{Compiler, DenyLog, Settings, compile};
use brindle_policy::model::{
    DEFAULT_ALLOW_PROFILE, DeviceAddresses, Failsafe, Failsafes, HostEndpoint, HostInterface,
    HostSettings, HostStage, Policy, PolicyKind, Profile, Protocol, StagedAction, ToHost,
};
use brindle_policy::names::{ChainName, Comment, Device};
use brindle_policy::readback::{Installed, read_tables};
use brindle_policy::ruleset::Table;
use brindle_policy::selector::{Expr, Key, Scope};
use brindle_policy::verdict::{
    Flow, HostQuestion, HostReason, HostStep, HostVerdict, Outcome, Passage, Way, explain_hosts,
    host_verdict, hosts_verdict, staged_hosts,
};
use brindle_policy::walk::State;
use brindle_policy::{Change, Direction, Family, PolicyId, Ruleset, World, render};
use passage::pass;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;
use rounds::{Seen, until_seen};

/// Worlds that are tried in a round.
const WORLDS: u32 = 80;
/// Packets that are tried in each.
const PACKETS: usize = 100;
/// The node that is looked at.
const NODE: &str = "left";
const DEVICES: [&str; 5] = ["eth0", "eth0", "eth1", "eth2", "cali1"];
/// Those that interfaces have, and that host endpoints expect.
const ADDRESSES: [&str; 4] = ["192.168.0.1", "fd09::1", "10.3.0.1", "2001:db8::7"];
const PROFILES: [&str; 4] = [DEFAULT_ALLOW_PROFILE, "p0", "p1", "unknown"];
const PORTS: [u16; 4] = [53, 80, 443, 8080];

/// A world that was told, what is told later, and packets that pass the node.
#[derive(Debug)]
struct Case {
    world: worlds::Case,
    hosts: Vec<Change>,
    later: Vec<Change>,
    settings: HostSettings,
    ways: Vec<RawWay>,
}

/// How a packet passes, as chosen before the world is known.
#[derive(Clone, Debug)]
struct RawWay {
    way: u8,
    devices: [Index; 2],
    own: Index,
    original: Option<(u16, bool)>,
}

fn device(name: &str) -> Device {
    name.parse().expect("the name of an interface")
}

fn addresses() -> impl Strategy<Value = BTreeSet<IpAddr>> {
    let parse = |text: &str| text.parse().expect("an address");
    btree_set(select(&ADDRESSES[..]), 0..3)
        .prop_map(move |texts| texts.into_iter().map(parse).collect())
}

fn endpoint() -> impl Strategy<Value = Change> {
    let interface = prop_oneof![
        4 => select(&["eth0", "eth1"][..]).prop_map(|name| Some(HostInterface::Named(device(name)))),
        2 => Just(Some(HostInterface::Any)),
        2 => Just(None),
        1 => Just(Some(HostInterface::Named(device("lo")))),
    ];
    let names = select(&["h0", "h1", "h2", "h3"][..]);
    let node = select(&[NODE, NODE, NODE, "right"][..]);
    let profiles = vec(select(&PROFILES[..]), 0..3);
    (names, node, interface, addresses(), worlds::labels(&["app", "role"]), profiles).prop_map(
        |(name, node, interface, expected, labels, profiles)| {
            Change::HostEndpointApplied(Arc::new(HostEndpoint {
                name: name.into(),
                labels,
                node: node.into(),
                interface,
                expected,
                ports: BTreeSet::new(),
                profiles: profiles.into_iter().map(Arc::from).collect(),
            }))
        },
    )
}

fn profile() -> impl Strategy<Value = Change> {
    let rules = || vec(worlds::any_rule("a".into()), 0..3);
    (select(&PROFILES[1..3]), worlds::labels(&["app", "role"]), rules(), rules()).prop_map(
        |(name, labels, ingress, egress)| {
            Change::ProfileApplied(Arc::new(Profile {
                name: name.into(),
                labels,
                ingress,
                egress,
                problems: Vec::new(),
            }))
        },
    )
}

fn policy() -> impl Strategy<Value = Change> {
    let subject = prop_oneof![
        3 => Just(Expr::All),
        2 => select(&["app", "role"][..])
            .prop_map(|name| Expr::Has(Key { scope: Scope::Own, name: name.into() })),
    ];
    let names = select(&["g0", "g1", "g2", "g3", "g4", "g5"][..]);
    let staged = [StagedAction::Set, StagedAction::Set, StagedAction::Delete, StagedAction::Learn];
    let staged = option::weighted(0.2, select(staged.to_vec()));
    (worlds::any_policy(), subject, select(&HostStage::ALL[..]), names, staged).prop_map(
        |(mut policy, subject, stage, name, staged): (Policy, _, _, _, _)| {
            policy.id.kind = match staged {
                Some(_) => PolicyKind::StagedGlobalNetworkPolicy,
                None => PolicyKind::GlobalNetworkPolicy,
            };
            policy.id.name = name.into();
            policy.staged = staged;
            policy.subject = subject.into();
            policy.stage = stage;
            if stage == HostStage::PreDnat {
                policy.egress = None;
            }
            Change::PolicyApplied(policy.into())
        },
    )
}

fn devices() -> impl Strategy<Value = Change> {
    let device = |name| (Just(device(name)), addresses());
    (device("eth0"), device("eth1")).prop_map(|both| {
        let devices = [both.0, both.1].into();
        Change::Devices(DeviceAddresses { devices }.into())
    })
}

fn settings() -> impl Strategy<Value = HostSettings> {
    let net = option::of(select(&["203.0.113.0/24", "fd00::/8", "0.0.0.0/0", "::/0"][..]));
    let failsafe =
        (select(&Protocol::ALL[..]), select(&PORTS[..]), net).prop_map(|(protocol, port, net)| {
            let net = net.map(|text| text.parse().expect("a block"));
            Failsafe { protocol, port, net }
        });
    let to_host = select(&[ToHost::Accept, ToHost::Drop, ToHost::Return][..]);
    (btree_set(failsafe.clone(), 0..4), btree_set(failsafe, 0..4), to_host).prop_map(
        |(inbound, outbound, to_host)| HostSettings {
            failsafes: Failsafes { inbound, outbound },
            to_host,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let change = || prop_oneof![3 => policy(), 3 => endpoint(), 1 => profile(), 1 => devices()];
    let gone = select(&["h0", "h1", "h2", "h3"][..])
        .prop_map(|name| Change::HostEndpointDeleted(name.into()));
    let hosts = (vec(endpoint(), 1..5), vec(policy(), 3..11), vec(profile(), 0..3), devices());
    let hosts = hosts.prop_map(|(endpoints, policies, profiles, devices)| {
        endpoints.into_iter().chain(policies).chain(profiles).chain([devices]).collect()
    });
    let later = vec(prop_oneof![4 => change(), 1 => gone], 0..4);
    let way = (
        0..3u8,
        [any::<Index>(), any::<Index>()],
        any::<Index>(),
        option::weighted(0.3, (select(&PORTS[..]), any::<bool>())),
    );
    let way = way.prop_map(|(way, devices, own, original)| RawWay { way, devices, own, original });
    (worlds::case(PACKETS), hosts, later, settings(), vec(way, PACKETS)).prop_map(
        |(world, hosts, later, settings, ways)| Case { world, hosts, later, settings, ways },
    )
}

/// A packet that a node could meet; `None` if this flow cannot pass it so.
fn passage(world: &World, flow: &Flow, raw: &RawWay) -> Option<Passage> {
    let own = &world.node(NODE)?.addresses;
    let of_family = |address: &&IpAddr| address.is_ipv6() == flow.source.is_ipv6();
    let own: Vec<IpAddr> = own.iter().filter(of_family).copied().collect();
    let is_own = |address: IpAddr| own.contains(&address);
    let one = *raw.own.get(&own);
    let [from, to] = raw.devices.each_ref().map(|index| device(index.get::<&str>(&DEVICES)));
    // What has its address by an interface comes through that.
    let here = world.attachments().filter(|one| &*one.node == NODE);
    let attached = here.map(|one| one.interface);
    let attached = attached.filter(|one| world.is_attached(*one, flow.source)).last();
    let from = attached.map_or(from, |interface| device(interface.as_str()));
    let (way, flow) = match raw.way {
        0 => (Way::In { from }, Flow { destination: one, ..*flow }),
        1 => (Way::Out { to }, Flow { source: one, ..*flow }),
        _ => (Way::Through { from, to }, *flow),
    };
    let is_plausible = match way {
        Way::In { .. } => !is_own(flow.source),
        Way::Out { .. } => !is_own(flow.destination),
        Way::Through { .. } => !is_own(flow.source) && !is_own(flow.destination),
    };
    let original = raw.original.filter(|_| flow.destination_port.is_some());
    let original = original.map(|(port, to_other)| Flow {
        destination: if to_other { one } else { flow.destination },
        destination_port: Some(port),
        ..flow
    });
    is_plausible.then_some(Passage { flow, original, way })
}

fn note(seen: &mut Seen, said: &HostVerdict, passage: &Passage) {
    let mut add = |what: String| *seen.entry(what).or_default() += 1;
    let way = match passage.way {
        Way::In { .. } => "in",
        Way::Out { .. } => "out",
        Way::Through { .. } => "through",
    };
    add(format!("{way} {}", if said.is_allowed() { "allowed" } else { "denied" }));
    for step in &said.steps {
        let reason = match step.reason {
            HostReason::Failsafe(_) => "failsafe",
            HostReason::Rule { .. } => "rule",
            HostReason::NoRule { .. } => "no rule",
            HostReason::Undecided => "undecided",
            HostReason::Profile { .. } => "profile",
            HostReason::UnknownProfile(_) => "unknown profile",
            HostReason::Nothing => "nothing",
        };
        let outcome = step.outcome.map_or("goes on".to_owned(), |outcome| outcome.to_string());
        add(format!("{} {} {outcome}: {reason}", step.stage, step.direction));
    }
    for (direction, judgement) in &said.pods {
        add(format!("pods' {direction} {}", judgement.outcome));
    }
}

fn settings_of(case: &Case) -> Settings {
    Settings {
        node: NODE.into(),
        pod_cidrs: BTreeSet::new(),
        masquerade: true,
        deny_log: Some(DenyLog { group: 98, per_second: 10 }),
        hosts: case.settings.clone(),
    }
}

fn agrees(case: &Case, seen: &mut Seen) -> Result<(), TestCaseError> {
    let mut world = case.world.world();
    case.hosts.iter().for_each(|change| world.apply(change.clone()));
    world.take_touched();
    let compiler = |world: &World, family| Compiler::new(world, settings_of(case), family);
    let mut compilers = Family::ALL.map(|family| (family, compiler(&world, family)));
    for change in &case.later {
        world.apply(change.clone());
        let touched = world.take_touched();
        for (family, compiler) in &mut compilers {
            let before = compiler.ruleset().clone();
            let plan = compiler.update(&world, &touched);
            let fresh = compile(&world, &settings_of(case), *family);
            prop_assert_eq!(compiler.ruleset(), &fresh, "after {:?}", change);
            let is_changed = before != fresh;
            prop_assert_eq!(!plan.is_empty(), is_changed, "{:?} for {:?}", plan, change);
        }
    }
    let rulesets = compilers.map(|(family, compiler)| (family, compiler.ruleset().clone()));
    for (_, ruleset) in &rulesets {
        comes_back(ruleset)?;
    }
    let enforced = enforced(case);
    for (index, (flow, raw)) in case.world.flows.iter().zip(&case.ways).enumerate() {
        let Some(passage) = passage(&world, flow, raw) else { continue };
        if index % 10 == 0 {
            staged_as_enforced(case, [&world, &enforced], &rulesets, &passage, seen)?;
        }
        let family = Family::of(flow.source);
        let (_, ruleset) = rulesets.iter().find(|(f, _)| *f == family).expect("both are there");
        let said = host_verdict(&world, &case.settings, NODE, &passage);
        let passed = pass(ruleset, &world, NODE, &passage, State::New);
        if said.is_allowed() != passed.is_allowed {
            let text = render::ruleset(ruleset);
            let steps: Vec<_> = said.steps.iter().map(ToString::to_string).collect();
            let said = format!("{passage:?}: {steps:#?} {said:#?}\nbut {passed:#?}\n");
            return Err(TestCaseError::fail(said + &text.rules));
        }
        let is_untracked = said
            .of(HostStage::Untracked, direction(&passage))
            .is_some_and(|step| step.outcome == Some(Outcome::Allowed));
        prop_assert_eq!(passed.is_untracked(), is_untracked, "{:?}: {:#?}", passage, passed);
        if let Way::Through { from, to } = passage.way {
            let [from, to] = [from, to].map(|device| counting(&world, device));
            let is_of_pod = passed_from_pod(&world, &passage);
            let (from, to) = (from.as_ref(), to.as_ref());
            let question = HostQuestion::Crossing { from, to, is_of_pod };
            let alone = hosts_verdict(&world, &case.settings, question, flow, &passage.original());
            prop_assert_eq!(&alone.steps, &said.steps, "{:?}", passage);
            let told = explain_hosts(&world, &case.settings, question, flow);
            prop_assert_eq!(told.tiers.len(), told.verdict.steps.len(), "{:?}", passage);
        }
        note(seen, &said, &passage);
    }
    Ok(())
}

/// The host endpoint of an interface.
fn counting(world: &World, device: Device) -> Option<Arc<HostEndpoint>> {
    let addresses = world.devices().devices.get(&device).cloned().unwrap_or_default();
    let all = world.host_endpoints_on(NODE);
    let found = HostEndpoint::of_interface(all, device, &addresses);
    found.filter(|_| device.as_str() != "lo").cloned()
}

fn passed_from_pod(world: &World, passage: &Passage) -> bool {
    let Way::Through { from, .. } = passage.way else { return false };
    let pod = world.endpoint_at(passage.flow.source);
    from.as_str().starts_with("brn") || pod.is_some_and(|pod| pod.node.as_deref() == Some(NODE))
}

/// The world of a case with what is staged in effect.
fn enforced(case: &Case) -> World {
    let mut world = case.world.world();
    case.hosts.iter().chain(&case.later).for_each(|change| world.apply(change.clone()));
    for staged in world.staged().cloned().collect::<Vec<_>>() {
        let kind = staged.id.kind.enforced().expect("it is of a staged kind");
        let id = PolicyId { kind, ..staged.id.clone() };
        match staged.staged {
            Some(StagedAction::Set) => {
                let policy = Policy { id, staged: None, ..(*staged).clone() };
                world.apply(Change::PolicyApplied(policy.into()));
            }
            Some(StagedAction::Delete) => world.apply(Change::PolicyDeleted(id)),
            Some(StagedAction::Learn | StagedAction::Ignore) | None => {}
        }
        world.apply(Change::PolicyDeleted(staged.id.clone()));
    }
    world
}

/// What is staged would be judged at each stage as it is once it is enforced, and where that
/// is not as it is now, the packet is told.
fn staged_as_enforced(
    case: &Case,
    [world, enforced]: [&World; 2],
    rulesets: &[(Family, Ruleset)],
    passage: &Passage,
    seen: &mut Seen,
) -> Result<(), TestCaseError> {
    let Passage { flow, .. } = passage;
    let original = passage.original();
    for step in host_verdict(enforced, &case.settings, NODE, passage).steps {
        let HostStep { endpoint, stage, direction, outcome, .. } = &step;
        let mut all = world.host_endpoints_on(NODE);
        let host = all.find(|host| host.name == *endpoint).expect("it judged");
        let question = HostQuestion::Stage(host, *stage, *direction);
        let now = hosts_verdict(world, &case.settings, question, flow, &original);
        let now = now.steps.first().and_then(|step| step.outcome);
        let would = match staged_hosts(world, &case.settings, question, flow, &original) {
            Some(staged) => staged.verdict.steps.first().and_then(|step| step.outcome),
            None => now,
        };
        prop_assert_eq!(would, *outcome, "{:?}: {}", passage, step);
        let denies = |outcome| outcome == Some(Outcome::Denied);
        if denies(now) == denies(would) {
            continue;
        }
        *seen.entry("otherwise once what is staged is enforced".to_owned()).or_default() += 1;
        let family = Family::of(flow.source);
        let (_, ruleset) = rulesets.iter().find(|(f, _)| *f == family).expect("both are there");
        let chain = ChainName::host(endpoint, *stage, *direction, "");
        let mut chains = ruleset.chains.iter().filter(|((_, name), _)| *name == chain);
        let told = Some(Comment::new(&["staged"]));
        let is_told = chains.any(|(_, chain)| chain.rules.iter().any(|rule| rule.comment == told));
        prop_assert!(is_told, "{:?}: {}", passage, step);
    }
    Ok(())
}

fn direction(passage: &Passage) -> Direction {
    match passage.way {
        Way::In { .. } | Way::Through { .. } => Direction::Ingress,
        Way::Out { .. } => Direction::Egress,
    }
}

/// What is written is read as what it was.
fn comes_back(ruleset: &Ruleset) -> Result<(), TestCaseError> {
    let mut installed = Installed::new(ruleset.family);
    for table in Table::ALL {
        let chains = ruleset.chains.iter().filter(|((of, _), _)| *of == table);
        let lines = chains.flat_map(|((_, name), chain)| {
            let rules = chain.rules.iter().map(render::rule);
            rules.map(move |words| format!("[0:0] -A {name} {words}\n"))
        });
        let text = format!("*{table}\n{}COMMIT\n", lines.collect::<String>());
        read_tables(&mut installed, table, &text);
    }
    for ((table, name), chain) in ruleset.chains.iter().filter(|(_, one)| !one.rules.is_empty()) {
        let read = installed.chains.get(&(*table, name.clone()));
        let read: Vec<_> = read.into_iter().flatten().map(|one| one.rule.clone()).collect();
        let written: Vec<_> = chain.rules.iter().cloned().map(Some).collect();
        prop_assert_eq!(read, written, "{} {}", table, name);
    }
    Ok(())
}

#[test]
fn tables_of_a_node_do_what_the_verdict_on_hosts_says() {
    // Had one kind of case not come up, agreement on it would say nothing.
    let normal = ["ingress", "egress"].into_iter().flat_map(|direction| {
        let kinds = [
            "allowed: failsafe",
            "allowed: profile",
            "allowed: rule",
            "denied: no rule",
            "denied: nothing",
            "denied: rule",
            "denied: unknown profile",
        ];
        kinds.map(|kind| format!("normal {direction} {kind}"))
    });
    let others = [
        "forward egress allowed: rule",
        "forward egress denied: no rule",
        "forward egress denied: rule",
        "forward ingress allowed: rule",
        "forward ingress allowed: undecided",
        "forward ingress denied: no rule",
        "forward ingress denied: rule",
        "in allowed",
        "in denied",
        "out allowed",
        "out denied",
        "pods' egress allowed",
        "pods' egress denied",
        "pods' ingress allowed",
        "pods' ingress denied",
        "otherwise once what is staged is enforced",
        "pre-DNAT ingress allowed: rule",
        "pre-DNAT ingress denied: rule",
        "pre-DNAT ingress goes on: failsafe",
        "pre-DNAT ingress goes on: undecided",
        "through allowed",
        "through denied",
        "untracked egress allowed: rule",
        "untracked egress goes on: undecided",
        "untracked ingress allowed: rule",
        "untracked ingress goes on: failsafe",
        "untracked ingress goes on: undecided",
    ];
    let kinds = normal.chain(others.map(str::to_owned)).map(|what| (what, 1));
    until_seen(WORLDS, &case(), &kinds.collect::<Vec<_>>(), |case, seen| agrees(&case, seen));
}
