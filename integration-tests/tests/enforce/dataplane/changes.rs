//! What a plan changes, and what it leaves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brindle::enforce::dataplane::{Applied, Dataplane, Op};
use brindle_policy::model::Side;
use brindle_policy::ruleset::{
    Chain, ChainOp, Match, Member, Members, Plan, Rule, Ruleset, SetOp, Table, Target,
};
use brindle_policy::{Family, Protocol};

use super::host::{
    add_policy, add_set, address, assert_empty, bring, drift, each_host, rule, set_name, want,
};

/// How often chains or sets were written.
fn writes(dataplane: &Dataplane) -> u64 {
    let figures = dataplane.figures().read();
    let of = |op| [true, false].map(|is_ok| figures.get(&(op, is_ok)).map_or(0, |t| t.calls));
    [Op::Restore, Op::Fill].into_iter().flat_map(of).sum()
}

#[test]
fn what_is_wanted_comes_and_goes_and_nothing_else_changes() {
    each_host("comes and goes", |host| {
        host.furnish();
        let before = host.foreign();
        host.run(async || {
            let mut dataplane = host.detect().await;
            for family in Family::ALL {
                assert_eq!(bring(&mut dataplane, &want(family)).await, Applied::default());
            }
            for family in Family::ALL {
                assert_empty(&drift(&dataplane, &want(family)).await, "just applied");
            }
            assert_eq!(host.foreign(), before);
            for family in Family::ALL {
                let nothing = Ruleset::new(family);
                assert_eq!(bring(&mut dataplane, &nothing).await, Applied::default());
            }
            assert_eq!(host.ours(), Vec::<String>::new());
            assert_eq!(host.foreign(), before);
        });
    });
}

#[test]
fn what_is_there_already_is_not_written_again() {
    each_host("unchanged", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            for family in Family::ALL {
                bring(&mut dataplane, &want(family)).await;
            }
            assert!(writes(&dataplane) > 0);
            let before = host.ours();
            // As after a restart.
            let mut dataplane = host.detect().await;
            for family in Family::ALL {
                bring(&mut dataplane, &want(family)).await;
            }
            assert_eq!(writes(&dataplane), 0, "{:?}", dataplane.figures().read());
            assert_eq!(host.ours(), before);
        });
    });
}

#[test]
fn a_change_of_one_chain_leaves_the_counters_of_the_others() {
    each_host("one chain", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            let mut want = want(Family::V4);
            bring(&mut dataplane, &want).await;
            let mut chains = want.chains.keys().map(|(_, name)| name);
            let of_pod = chains.find(|name| name.as_str().starts_with("BRN-I-"));
            let of_pod = of_pod.expect("there is one").clone();
            // What counts packets can also be told what it has counted.
            let rule_3 =
                format!("-R {of_pod} 3 -c 7 420 -m comment --comment brindle:deny -j DROP");
            host.iptables("ip", &rule_3);
            let changed = add_policy(&mut want, "db", vec![rule(vec![], Target::Accept, "rule/0")]);
            let plan = drift(&dataplane, &want).await;
            assert_eq!(plan.chains[&Table::Filter].keys().collect::<Vec<_>>(), [&changed]);
            dataplane.apply(&plan).await.expect("it can be written");
            let have = dataplane.read(Family::V4).await.expect("it can be read");
            let rules = &have.chains[&(Table::Filter, of_pod)];
            assert_eq!((rules[2].packets, rules[2].bytes), (7, 420));
        });
    });
}

#[test]
fn sets_of_ten_thousand_members_come_change_and_go() {
    each_host("large sets", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            for family in Family::ALL {
                let mut wanted = want(family);
                let all: BTreeSet<_> = (1..=10_000).map(|number| address(family, number)).collect();
                add_set(&mut wanted, 's', Members::Addresses(all.clone()));
                assert_eq!(bring(&mut dataplane, &wanted).await, Applied::default());
                assert_empty(&drift(&dataplane, &wanted).await, "made");
                let (last, new) = (address(family, 10_000), address(family, 10_001));
                let mut plan = Plan::new(family);
                plan.sets.push(SetOp::Change {
                    set: set_name('s', family),
                    remove: vec![Member::Address(last)],
                    add: vec![Member::Address(new)],
                });
                dataplane.apply(&plan).await.expect("it can be written");
                let all = all.into_iter().filter(|one| *one != last).chain([new]).collect();
                add_set(&mut wanted, 's', Members::Addresses(all));
                assert_empty(&drift(&dataplane, &wanted).await, "changed");
                add_set(&mut wanted, 's', Members::Addresses([new].into()));
                assert_eq!(bring(&mut dataplane, &wanted).await, Applied::default());
                assert_empty(&drift(&dataplane, &wanted).await, "nearly emptied");
                bring(&mut dataplane, &Ruleset::new(family)).await;
            }
            assert_eq!(host.ours(), Vec::<String>::new());
        });
    });
}

#[test]
fn sets_that_are_there_in_another_form_are_brought_to_what_is_wanted() {
    let family = Family::V4;
    let (set, stand_in) = (set_name('s', family), set_name('s', family).stand_in());
    let with =
        |kind: &str, member: &str| format!("ipset create {set} {kind}; ipset add {set} {member}");
    each_host("sets in the way", |host| {
        for (what, script) in [
            ("with other members", with("hash:ip", "9.9.9.9")),
            ("of another type", with("hash:net", "9.9.9.0/24")),
            ("of the other family", with("hash:ip family inet6", "fd00::1")),
            ("too small", with("hash:ip maxelem 1", "9.9.9.9")),
            (
                "and a stand-in",
                format!("ipset create {set} hash:ip; ipset create {stand_in} hash:net"),
            ),
        ] {
            host.run(async || {
                let mut dataplane = host.detect().await;
                host.shell(&script);
                // As if nobody had known of it.
                let mut plan = Plan::new(family);
                for (name, set) in want(family).sets {
                    plan.sets.push(SetOp::Create(name, set.members));
                }
                let applied = dataplane.apply(&plan).await.expect("it can be written");
                assert_eq!(applied.broken_sets, [], "{what}");
                assert!(applied.is_astray, "{what}");
                bring(&mut dataplane, &want(family)).await;
                assert_empty(&drift(&dataplane, &want(family)).await, what);
                bring(&mut dataplane, &Ruleset::new(family)).await;
                assert_eq!(host.ours(), Vec::<String>::new(), "{what}");
            });
        }
    });
}

#[test]
fn a_set_goes_as_soon_as_no_rule_uses_it() {
    each_host("set in use", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            bring(&mut dataplane, &want(Family::V4)).await;
            let set = set_name('s', Family::V4);
            host.iptables("ip", &format!("-A OUTPUT -m set --match-set {set} dst -j RETURN"));
            bring(&mut dataplane, &Ruleset::new(Family::V4)).await;
            let sets = || host.shell("ipset list -n");
            assert_eq!(sets().trim(), set.as_str(), "only what somebody uses is left");
            host.iptables("ip", "-F OUTPUT");
            let begin = Instant::now();
            while !sets().is_empty() {
                assert!(begin.elapsed() < Duration::from_secs(30), "left: {}", sets());
                dataplane.apply(&Plan::new(Family::V4)).await.expect("it can be written");
            }
        });
    });
}

/// `count` chains of policies, three rules each.
fn many(family: Family, count: usize) -> Ruleset {
    let mut want = want(family);
    let peers = Match::InSet { side: Side::Source, set: set_name('s', family), negated: false };
    let ports = Match::Ports(Side::Destination, Protocol::Tcp, vec![(80, 90)]);
    for number in 0..count {
        let rule =
            |n| rule(vec![peers.clone(), ports.clone()], Target::Accept, &format!("rule/{n}"));
        add_policy(&mut want, &format!("p{number}"), (0..3).map(rule).collect());
    }
    want
}

/// Prints how long plans take; nothing depends on it.
#[test]
fn plans_of_a_thousand_chains_are_carried_out() {
    let family = Family::V4;
    let thousand = many(family, 1000);
    each_host("figures", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            for count in [1, 100, 1000] {
                bring(&mut dataplane, &want(family)).await;
                let plan = drift(&dataplane, &many(family, count)).await;
                let begin = Instant::now();
                assert_eq!(dataplane.apply(&plan).await.expect("written"), Applied::default());
                let made = begin.elapsed();
                bring(&mut dataplane, &thousand).await;
                let shorter = thousand.chains.iter().take(count).map(|((_, name), chain)| {
                    let rules: Vec<Rule> = chain.rules.iter().take(1).cloned().collect();
                    let chain = Chain { purpose: chain.purpose.clone(), rules };
                    (name.clone(), ChainOp::Write(Arc::new(chain)))
                });
                let mut plan = Plan::new(family);
                plan.chains.insert(Table::Filter, shorter.collect());
                let begin = Instant::now();
                assert_eq!(dataplane.apply(&plan).await.expect("written"), Applied::default());
                let among = begin.elapsed();
                let begin = Instant::now();
                dataplane.read(family).await.expect("read");
                let read = begin.elapsed();
                println!(
                    "{}: {count} chains made in {made:?}, changed among 1000 in {among:?}; all read in {read:?}",
                    host.backend
                );
            }
            bring(&mut dataplane, &thousand).await;
            assert_empty(&drift(&dataplane, &thousand).await, "in the end");
        });
    });
}
