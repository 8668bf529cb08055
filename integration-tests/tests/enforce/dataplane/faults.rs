//! Programs and kernels that say no, or nothing.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use brindle::enforce::Backend;
use brindle::enforce::dataplane::{Applied, ApplyError};
use brindle_policy::model::{Direction, HostStage, Side};
use brindle_policy::names::{ChainName, SetName};
use brindle_policy::ruleset::{Match, Purpose, Rule, Ruleset, Target};
use brindle_policy::{Family, PodKey};

use super::host::{
    Host, a_host, add_chain, add_policy, assert_empty, bring, drift, each_host, policy, rule, want,
};

/// A rule that the program refuses: it knows of no such set.
fn without_set() -> Rule {
    let set = SetName::of('s', Family::V4, &["there is none"]);
    let matches = vec![Match::InSet { side: Side::Source, set, negated: false }];
    rule(matches, Target::Accept, "rule/7/NetworkPolicy/shop/bad")
}

/// A rule that only the kernel refuses: in the wrong table.
fn in_wrong_table() -> Rule {
    rule(vec![], Target::Masquerade, "rule/7/NetworkPolicy/shop/bad")
}

#[test]
fn a_bad_rule_costs_only_the_chain_that_it_is_in() {
    each_host("bad rule", |host| {
        for bad in [without_set(), in_wrong_table()] {
            host.run(async || {
                let family = Family::V4;
                let mut dataplane = host.detect().await;
                let good = rule(vec![], Target::Accept, "rule/0");
                let mut wanted = want(family);
                for number in 0..100 {
                    add_policy(&mut wanted, &format!("p{number}"), vec![good.clone()]);
                }
                let mut broken = Vec::new();
                for number in [17, 63] {
                    let rules = vec![good.clone(), bad.clone()];
                    broken.push(add_policy(&mut wanted, &format!("p{number}"), rules));
                }
                // Of one that also denies nothing is let through.
                let deny = rule(vec![], Target::Drop, "rule/1");
                let denies = add_policy(&mut wanted, "denies", vec![deny.clone(), bad.clone()]);
                let pod = PodKey { namespace: "shop".into(), name: "bad".into() };
                let of_pod = ChainName::endpoint(&pod, Direction::Egress);
                let purpose = Purpose::Endpoint(pod, Direction::Egress);
                add_chain(&mut wanted, of_pod.clone(), purpose, vec![bad.clone()]);
                // Of a host endpoint what comes before the bad rule stays: failsafe ports.
                let (stage, direction) = (HostStage::Normal, Direction::Ingress);
                let of_host = ChainName::host("eth", stage, direction, "");
                let purpose = Purpose::Host("eth".into(), stage, direction);
                let matches = vec![Match::Established];
                let safe = Rule { matches, target: Target::Accept, comment: None };
                add_chain(&mut wanted, of_host.clone(), purpose, vec![safe.clone(), bad.clone()]);
                // It is written only because something leads there.
                let target = Target::Jump(of_host.clone());
                let leads = Rule { matches: vec![], target, comment: None };
                add_policy(&mut wanted, "leads", vec![leads]);

                let applied = bring(&mut dataplane, &wanted).await;
                let mut found: Vec<_> = applied.broken_chains.iter().map(|b| &b.chain).collect();
                found.sort();
                let mut all =
                    [&broken[..], &[denies.clone(), of_pod.clone(), of_host.clone()]].concat();
                all.sort();
                assert_eq!(found, all.iter().collect::<Vec<_>>());
                let told = applied.broken_chains.iter().find(|b| b.chain == broken[0]);
                let told = told.expect("it is among them");
                let ours = Purpose::Policy(policy("p17"), Direction::Ingress);
                assert_eq!(told.purpose, ours);
                let why = "rule 2 (brindle:rule/7/NetworkPolicy/shop/bad): ";
                assert!(told.why.starts_with(why), "{}", told.why);

                let of_host_told = applied.broken_chains.iter().find(|b| b.chain == of_host);
                let blamed = &of_host_told.expect("it is among them").policies;
                assert_eq!(*blamed, [policy("bad")].into(), "whose rule it is");

                // All else is there, and what closes where these are not.
                for chain in &broken {
                    wanted_rules(&mut wanted, chain, vec![]);
                }
                let closed = rule(vec![], Target::Drop, "closed");
                wanted_rules(&mut wanted, &denies, vec![closed.clone()]);
                wanted_rules(&mut wanted, &of_pod, vec![closed.clone()]);
                wanted_rules(&mut wanted, &of_host, vec![safe, closed]);
                assert_empty(&drift(&dataplane, &wanted).await, "the rest");
                bring(&mut dataplane, &Ruleset::new(family)).await;
                assert_eq!(host.ours(), Vec::<String>::new());
            });
        }
    });
}

fn wanted_rules(want: &mut Ruleset, name: &ChainName, rules: Vec<Rule>) {
    let mut chains = want.chains.iter_mut();
    let (_, chain) = chains.find(|((_, one), _)| one == name).expect("it is wanted");
    *std::sync::Arc::make_mut(chain) =
        brindle_policy::ruleset::Chain { purpose: chain.purpose.clone(), rules };
}

#[test]
fn a_rule_of_others_that_uses_a_chain_of_ours_stops_nothing() {
    each_host("stray", |host| {
        host.run(async || {
            let family = Family::V4;
            let mut dataplane = host.detect().await;
            let mut wanted = want(family);
            let used = add_policy(&mut wanted, "used", vec![without_match()]);
            for number in 0..10 {
                add_policy(&mut wanted, &format!("p{number}"), vec![without_match()]);
            }
            bring(&mut dataplane, &wanted).await;
            host.iptables("ip", &format!("-A OUTPUT -o eth9 -j {used}"));
            let mut wanted = want(family);
            add_policy(&mut wanted, "new", vec![without_match()]);
            let applied = bring(&mut dataplane, &wanted).await;
            assert!(applied.warnings[0].contains(used.as_str()), "{:?}", applied.warnings);
            assert_eq!((applied.warnings.len(), &applied.broken_chains[..]), (1, &[][..]));
            host.iptables("ip", "-F OUTPUT");
            assert_eq!(bring(&mut dataplane, &wanted).await, Applied::default());
            assert_empty(&drift(&dataplane, &wanted).await, "when it is gone");
        });
    });
}

fn without_match() -> Rule {
    rule(vec![], Target::Accept, "rule/0")
}

#[test]
fn what_cannot_be_closed_leaves_the_table_as_it_was() {
    each_host("bad fixed chain", |host| {
        for bad in [without_set(), in_wrong_table()] {
            host.run(async || {
                let mut dataplane = host.detect().await;
                bring(&mut dataplane, &want(Family::V4)).await;
                let before = host.ours();
                let mut wanted = want(Family::V4);
                let forward = wanted.chains.keys().map(|(_, name)| name.clone());
                let forward = forward.into_iter().find(|name| name.as_str() == "BRN-FORWARD");
                wanted_rules(&mut wanted, &forward.expect("it is wanted"), vec![bad.clone()]);
                add_policy(&mut wanted, "new", vec![]);
                let plan = drift(&dataplane, &wanted).await;
                let error = dataplane.apply(&plan).await.expect_err("it cannot be written");
                assert!(matches!(error, ApplyError::Chains { .. }), "{error}");
                assert!(error.to_string().contains("IPv4 filter table"), "{error}");
                assert_eq!(host.ours(), before);
            });
        }
    });
}

#[test]
fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    each_host("hanging", |host| {
        host.run(async || {
            let limit = Duration::from_secs(2);
            let mut dataplane = host.detect_within(limit).await.expect("all is there");
            let program = host.program("ip", "-restore");
            let sleeper = format!("98765.{}", std::process::id());
            host.wrap(&program, &format!("sleep {sleeper}; exit 1"));
            let plan = drift(&dataplane, &want(Family::V4)).await;
            let begin = Instant::now();
            let error = dataplane.apply(&plan).await.expect_err("it hangs");
            assert!(error.to_string().contains("was killed"), "{error}");
            assert!(begin.elapsed() >= limit);
            let processes = host.shell("ps -eo args");
            assert!(!processes.contains(&sleeper), "{processes}");
            host.unwrap(&program);
            bring(&mut dataplane, &want(Family::V4)).await;
            assert_empty(&drift(&dataplane, &want(Family::V4)).await, "tried again");
        });
    });
}

#[test]
fn programs_that_fail_or_vanish_change_nothing_and_are_named() {
    each_host("failing", |host| {
        host.furnish();
        host.run(async || {
            let mut dataplane = host.detect().await;
            bring(&mut dataplane, &want(Family::V4)).await;
            let (before, foreign) = (host.ours(), host.foreign());
            let mut wanted = want(Family::V4);
            add_policy(&mut wanted, "new", vec![]);
            let plan = drift(&dataplane, &wanted).await;
            let program = host.program("ip", "-restore");
            for (script, says) in [
                ("echo 'out of order' >&2; exit 1", "out of order"),
                ("kill -9 $$", &*program),
                ("exec /no/such/program", &*program),
            ] {
                host.wrap(&program, script);
                let error = dataplane.apply(&plan).await.expect_err(script).to_string();
                assert!(error.contains(says), "{error}");
                assert_eq!((host.ours(), host.foreign()), (before.clone(), foreign.clone()));
            }
            host.unwrap(&program);
            dataplane.apply(&plan).await.expect("it works again");
            assert_empty(&drift(&dataplane, &wanted).await, "tried again");
        });
    });
}

/// Holds a lock until it is dropped.
struct Holder(Child);

impl Holder {
    fn new(host: &Host) -> Self {
        let lock = host.lock();
        let mut holder = Command::new("flock");
        let holder = holder.args([&lock, "sh", "-c", "echo; cat"]).stdin(Stdio::piped());
        let mut holder = holder.stdout(Stdio::piped()).spawn().expect("flock can be run");
        let mut octet = [0];
        let held = holder.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(held, &mut octet).expect("it says when it holds it");
        Self(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends with its input");
    }
}

#[test]
fn a_lock_held_by_others_is_waited_for_and_told() {
    let Some(host) = a_host("lock", Backend::Legacy) else { return };
    host.run(async || {
        let patient = Duration::from_secs(60);
        let mut dataplane = host.detect_within(patient).await.expect("all is there");
        let mut hasty = host.detect_within(Duration::from_secs(2)).await.expect("all is there");
        bring(&mut dataplane, &want(Family::V4)).await;
        let before = host.ours();
        let mut wanted = want(Family::V4);
        add_policy(&mut wanted, "new", vec![]);
        let plan = drift(&dataplane, &wanted).await;
        let holder = Holder::new(&host);
        let error = hasty.apply(&plan).await.expect_err("the lock is held");
        assert!(error.is_lock_held(), "{error}");
        assert_eq!(host.ours(), before);
        let waiting = dataplane.apply(&plan);
        let release = async {
            // It waits by now, or will find the lock free: both are fine.
            tokio::time::sleep(Duration::from_millis(300)).await;
            tokio::task::spawn_blocking(move || drop(holder)).await.expect("it ends");
        };
        let (applied, ()) = tokio::join!(waiting, release);
        applied.expect("it waited");
        assert_empty(&drift(&dataplane, &wanted).await, "after the lock");
    });
}
