//! What is put right when the kernel holds something else than what is wanted.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "compile/kernel.rs"]
mod kernel;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_policy::compile::{DenyLog, Settings, compile};
use brindle_policy::diff::diff;
use brindle_policy::model::HostSettings;
use brindle_policy::names::{ChainName, Fixed, SetName};
use brindle_policy::readback::{Installed, InstalledSet};
use brindle_policy::ruleset::{
    BuiltIn, ChainOp, Hook, Member, Members, Plan, SetKind, SetOp, Table, Target,
};
use brindle_policy::{Attachment, Change, Family, Ruleset, readback, render};
use cluster::{Size, node_name};
use kernel::Kernel;

fn want(family: Family) -> Ruleset {
    let mut world = Size { pods: 1_000, policies: 100 }.world();
    let local: Vec<_> = world.endpoints_on(&node_name(3)).cloned().collect();
    for (number, pod) in local.into_iter().enumerate() {
        world.apply(Change::Attached(Arc::new(Attachment {
            node: node_name(3),
            interface: format!("brn{number}").parse().expect("a name"),
            pod: Some(pod.key.clone()),
            addresses: pod.addresses.clone(),
        })));
    }
    let settings = Settings {
        node: node_name(3),
        pod_cidrs: BTreeSet::new(),
        masquerade: true,
        deny_log: Some(DenyLog { group: 98, per_second: 10 }),
        hosts: HostSettings::default(),
    };
    compile(&world, &settings, family)
}

fn forward() -> (Table, ChainName) {
    (Table::Filter, ChainName::fixed(Fixed::Forward))
}

/// The largest set of a type, in which there is much to break.
fn largest(want: &Ruleset, kind: SetKind) -> SetName {
    let sets = want.sets.iter().filter(|(_, set)| set.members.kind() == kind);
    sets.max_by_key(|(_, set)| set.members.len()).expect("there is one").0.clone()
}

/// Breaks something; gives what the plan has to be made of, in words.
type Break = fn(&Ruleset, &mut Installed);

const BROKEN: &[(&str, Break, &str)] = &[
    ("nothing", |_, _| {}, ""),
    (
        "counters and order of matches",
        |_, have| {
            for rule in have.chains.values_mut().flatten() {
                rule.packets += 1;
                rule.rule.as_mut().expect("ours").matches.reverse();
            }
        },
        "",
    ),
    (
        "a rule changed",
        |_, have| {
            let rules = have.chains.get_mut(&forward()).expect("ours");
            rules[0].rule.as_mut().expect("ours").target = Target::Return;
        },
        "write BRN-FORWARD",
    ),
    (
        "a rule that nobody writes like this",
        |_, have| have.chains.get_mut(&forward()).expect("ours")[0].rule = None,
        "write BRN-FORWARD",
    ),
    (
        "a rule gone",
        |_, have| drop(have.chains.get_mut(&forward()).expect("ours").remove(1)),
        "write BRN-FORWARD",
    ),
    (
        "a rule twice",
        |_, have| {
            let rules = have.chains.get_mut(&forward()).expect("ours");
            rules.push(rules[0].clone());
        },
        "write BRN-FORWARD",
    ),
    (
        "two rules the other way round",
        |_, have| have.chains.get_mut(&forward()).expect("ours").swap(0, 1),
        "write BRN-FORWARD",
    ),
    ("a chain gone", |_, have| drop(have.chains.remove(&forward())), "write BRN-FORWARD"),
    (
        "a chain too many",
        |_, have| drop(have.chains.insert((Table::Nat, ChainName::fixed(Fixed::To)), vec![])),
        "remove BRN-TO",
    ),
    ("hooks gone", |_, have| have.hooks.clear(), "hook FORWARD, hook INPUT, hook POSTROUTING"),
    (
        "a hook twice",
        |_, have| {
            let first = have.hooks[0].clone();
            have.hooks.push(first);
        },
        "hook INPUT",
    ),
    (
        "a hook behind somebody's rule",
        |_, have| {
            have.hooks[0].position = 2;
            have.hooks[0].before.push("-A INPUT -j ACCEPT".to_owned());
        },
        "hook INPUT",
    ),
    (
        "a hook in another chain, twice",
        |_, have| {
            let mut stray = have.hooks[0].clone();
            stray.hook.from = BuiltIn::Postrouting;
            have.hooks.extend([stray.clone(), stray]);
        },
        "unhook POSTROUTING",
    ),
    (
        "members gone and come",
        |want, have| {
            let members = members(have, &largest(want, SetKind::Addresses));
            let first = members.iter().next().expect("not empty");
            members.remove(first);
            members.insert(Member::Address(IpAddr::from([1, 1, 1, 1])));
        },
        "change 1 1",
    ),
    (
        "a set emptied",
        |want, have| {
            *members(have, &largest(want, SetKind::Ports)) = Members::Ports(BTreeSet::new());
        },
        "replace",
    ),
    (
        "a set of blocks with one that excepts",
        |want, have| {
            let set = have.sets.get_mut(&largest(want, SetKind::Blocks)).expect("ours");
            set.members = None;
        },
        "replace",
    ),
    (
        "a set of another type",
        |want, have| {
            let set = have.sets.get_mut(&largest(want, SetKind::Blocks)).expect("ours");
            *set = InstalledSet { kind: None, members: None };
        },
        "recreate",
    ),
    (
        "a set of a type for other things",
        |want, have| {
            let set = have.sets.get_mut(&largest(want, SetKind::Blocks)).expect("ours");
            let members = Some(Members::Addresses(BTreeSet::new()));
            *set = InstalledSet { kind: Some(SetKind::Addresses), members };
        },
        "recreate",
    ),
    ("a set gone", |want, have| drop(have.sets.remove(&largest(want, SetKind::Ports))), "create"),
    (
        "an interface closed, and another opened",
        |want, have| {
            let members = members(have, &largest(want, SetKind::Attached));
            let first = members.iter().next().expect("not empty");
            members.remove(first);
            let odd = "brnodd".parse().expect("a name");
            members.insert(Member::Attached(IpAddr::from([1, 1, 1, 1]), odd));
        },
        "change 1 0, then change 0 1",
    ),
    (
        "all interfaces closed",
        |want, have| {
            *members(have, &largest(want, SetKind::Attached)) = Members::none_of(SetKind::Attached);
        },
        "then change 0 100",
    ),
    (
        "the set of interfaces with what nobody writes",
        |want, have| {
            let set = have.sets.get_mut(&largest(want, SetKind::Attached)).expect("ours");
            set.members = None;
        },
        "then replace",
    ),
    (
        "the set of interfaces of another type",
        |want, have| {
            let set = have.sets.get_mut(&largest(want, SetKind::Attached)).expect("ours");
            *set = InstalledSet { kind: None, members: None };
        },
        "recreate, then change 0 100",
    ),
    (
        "the set of interfaces gone",
        |want, have| drop(have.sets.remove(&largest(want, SetKind::Attached))),
        "create, then change 0 100",
    ),
    (
        "a stand-in left behind",
        |want, have| {
            let set = InstalledSet { kind: None, members: None };
            have.sets.insert(largest(want, SetKind::Ports).stand_in(), set);
        },
        "destroy",
    ),
];

fn members<'a>(have: &'a mut Installed, set: &SetName) -> &'a mut Members {
    have.sets.get_mut(set).and_then(|set| set.members.as_mut()).expect("ours")
}

/// What a plan is made of.
fn words(plan: &Plan) -> String {
    let hook = |word: &str, hook: &Hook| format!("{word} {}", hook.from.as_str());
    let set = |op: &SetOp| match op {
        SetOp::Create(..) => "create".to_owned(),
        SetOp::Replace(..) => "replace".to_owned(),
        SetOp::Recreate(..) => "recreate".to_owned(),
        SetOp::Change { remove, add, .. } => format!("change {} {}", remove.len(), add.len()),
    };
    let chain = |(name, op): (&ChainName, &ChainOp)| match op {
        ChainOp::Write(_) => format!("write {name}"),
        ChainOp::Remove => format!("remove {name}"),
    };
    let mut words: Vec<String> = plan.unhook.iter().map(|one| hook("unhook", one)).collect();
    words.extend(plan.sets.iter().map(set));
    words.extend(plan.chains.values().flatten().map(chain));
    words.extend(plan.admit.iter().map(|op| format!("then {}", set(op))));
    let mut hooks: Vec<String> = plan.hook.iter().map(|one| hook("hook", one)).collect();
    hooks.sort();
    words.extend(hooks);
    words.extend(plan.destroy.iter().map(|_| "destroy".to_owned()));
    words.join(", ")
}

#[test]
fn what_is_broken_is_put_right_and_nothing_else() {
    let want = want(Family::V4);
    let whole = Kernel::holding(&want).installed();
    for (what, break_it, put_right) in BROKEN {
        let mut have = whole.clone();
        break_it(&want, &mut have);
        assert_eq!(words(&diff(&want, &have)), *put_right, "{what}");
    }
}

#[test]
fn nothing_of_ours_in_the_kernel_means_all_of_it() {
    let want = want(Family::V4);
    let plan = diff(&want, &Installed::new(Family::V4));
    let mut kernel = Kernel::holding(&Ruleset::new(Family::V4));
    kernel.apply(&plan);
    assert_eq!(kernel, Kernel::holding(&want));
    let plan = diff(&Ruleset::new(Family::V4), &kernel.installed());
    kernel.apply(&plan);
    assert_eq!(kernel, Kernel::holding(&Ruleset::new(Family::V4)));
}

#[test]
fn what_was_written_as_text_is_what_is_wanted() {
    for family in Family::ALL {
        let want = want(family);
        let text = render::ruleset(&want);
        let mut have = Installed::new(family);
        for table in Table::ALL {
            // As iptables-save prints it: counters first, hooks appended.
            let rules =
                text.rules.replace("\n-A ", "\n[1:60] -A ").replace(" 1 -m comment", " -m comment");
            let rules = rules.replace("\n-I ", "\n[1:60] -A ");
            readback::read_tables(&mut have, table, &rules);
        }
        readback::read_sets(&mut have, &text.sets.replace(" -exist", ""));
        assert_eq!(words(&diff(&want, &have)), "", "{family}");
    }
}
