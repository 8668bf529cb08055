//! What others do to what is ours, and how it is found and put right.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use brindle::enforce::Backend;
use brindle::enforce::audit::{Kind, Tampering, tampering};
use brindle::enforce::dataplane::Applied;
use brindle::enforce::monitor::Monitor;
use brindle_policy::Family;
use brindle_policy::ruleset::Target;
use integration_tests::skip;
use integration_tests::wait::{SOON, met, until};

use super::host::{
    Host, a_host, add_policy, assert_empty, bring, drift, each_host, rule, set_name, want,
};

/// Ways to spoil what is ours in IPv4, as shell scripts, and what is to be told. `$I` is
/// iptables, `$E` our chain of the pod.
fn ways() -> Vec<(&'static str, String, Kind)> {
    let (set, ports) = (set_name('s', Family::V4), set_name('p', Family::V4));
    let way = |what, script: &str, kind| (what, script.to_owned(), kind);
    vec![
        way("FORWARD flushed", "$I -F FORWARD", Kind::Jump),
        way(
            "our jump deleted",
            "$I -D INPUT -m comment --comment brindle:hook -j BRN-INPUT",
            Kind::Jump,
        ),
        way(
            "our jump in nat deleted",
            "$I -t nat -D POSTROUTING -m comment --comment brindle:hook -j BRN-POSTROUTING",
            Kind::Jump,
        ),
        way(
            "our jump twice",
            "$I -I FORWARD -m comment --comment brindle:hook -j BRN-FORWARD",
            Kind::Jump,
        ),
        way("a rule before our jump", "$I -I FORWARD -i eth9 -j ACCEPT", Kind::Jump),
        way("a rule deleted", "$I -D $E 1", Kind::Chain),
        way("a rule inserted", "$I -I $E -s 9.9.9.9 -j ACCEPT", Kind::Chain),
        way("a rule appended", "$I -A BRN-TO -j ACCEPT", Kind::Chain),
        way("a rule replaced", "$I -R $E 3 -j ACCEPT", Kind::Chain),
        way("a chain flushed", "$I -F $E", Kind::Chain),
        way("a chain of our kind added", "$I -N BRN-NEW; $I -A BRN-NEW -j ACCEPT", Kind::Chain),
        way("a set flushed", &format!("ipset flush {set}"), Kind::Set),
        way("a set with more", &format!("ipset add {set} 9.9.9.9"), Kind::Set),
        way("a set with less", &format!("ipset del {set} 10.1.0.2"), Kind::Set),
        way("a set of our kind added", "ipset create brn-s4-NEW hash:ip", Kind::Set),
        way(
            "a set destroyed with the rule that used it",
            &format!(
                "$I -F $(${{I}}-save | sed -n 's/^:\\(BRN-PI-[^ ]*\\) .*/\\1/p'); \
                      for n in 1 2 3 4 5 6 7 8; do ipset destroy {ports} && break; sleep 0.1; done"
            ),
            Kind::Set,
        ),
        way(
            "all sets swapped empty",
            &format!("ipset create other hash:ip; ipset swap other {set}; ipset destroy other"),
            Kind::Set,
        ),
        way("all flushed", "$I -F; $I -t nat -F", Kind::Chain),
        way("all removed", "$I -F; $I -X; $I -t nat -F; $I -t nat -X", Kind::Ruleset),
        way(
            "all replaced",
            "printf '*filter\\n:FORWARD ACCEPT [0:0]\\n-A FORWARD -i eth5 -j DROP\\nCOMMIT\\n*nat\\nCOMMIT\\n' | ${I}-restore",
            Kind::Ruleset,
        ),
    ]
}

/// Runs such a script.
fn spoil(host: &Host, script: &str) {
    let word = host.program("ip", "");
    let of_pod = "$(${I}-save | sed -n 's/^:\\(BRN-I-[^ ]*\\) .*/\\1/p')";
    host.shell(&format!("I={word}; E={of_pod}; {script}"));
}

#[test]
fn whatever_is_spoilt_is_told_and_put_right_and_nothing_else_is_touched() {
    each_host("spoilt", |host| {
        host.furnish();
        for (what, script, kind) in ways() {
            host.run(async || {
                let mut dataplane = host.detect().await;
                for family in Family::ALL {
                    bring(&mut dataplane, &want(family)).await;
                }
                spoil(host, &script);
                let foreign = host.foreign();
                let (plan, have) = dataplane.drift(&want(Family::V4)).await.expect("read");
                let culprits: BTreeSet<_> = ["nft (1)".to_owned()].into();
                let told = tampering(&plan, &have, &culprits);
                let of_kind = told.iter().find(|one| one.kind == kind);
                let of_kind = of_kind.unwrap_or_else(|| panic!("{what}: {told:#?}"));
                assert!(of_kind.to_string().ends_with("; changed by nft (1)"), "{what}: {of_kind}");
                let applied = dataplane.apply(&plan).await.expect("it can be written");
                assert_eq!(applied, Applied::default(), "{what}");
                for family in Family::ALL {
                    assert_empty(&drift(&dataplane, &want(family)).await, what);
                }
                assert_eq!(host.foreign(), foreign, "{what}");
            });
        }
    });
}

#[test]
fn who_keeps_a_rule_before_ours_is_told_and_not_fought() {
    each_host("a fight", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            let wanted = want(Family::V4);
            bring(&mut dataplane, &wanted).await;
            let mut warned = None;
            for round in 1..=5 {
                host.iptables("ip", &format!("-I FORWARD -i eth{round} -j ACCEPT"));
                let applied = bring(&mut dataplane, &wanted).await;
                if let Some(warning) = applied.warnings.first() {
                    warned = Some((round, warning.clone()));
                    break;
                }
                assert_empty(&drift(&dataplane, &wanted).await, "put first again");
            }
            let (round, warning) = warned.expect("it gives in");
            assert_eq!(round, 4, "{warning}");
            let want = "in IPv4 filter FORWARD, another program keeps this rule before our jump: \
                        -i eth4 -j ACCEPT";
            assert_eq!(warning, want);
            // A jump that is gone comes back all the same.
            host.iptables("ip", "-F FORWARD");
            bring(&mut dataplane, &wanted).await;
            assert_empty(&drift(&dataplane, &wanted).await, "flushed");
        });
    });
}

#[test]
fn our_jump_is_there_all_the_time_while_it_is_moved() {
    each_host("a move", |host| {
        host.run(async || {
            let mut dataplane = host.detect().await;
            let wanted = want(Family::V4);
            bring(&mut dataplane, &wanted).await;
            host.iptables("ip", "-I FORWARD -i eth1 -j ACCEPT");
            // Each write of the jump is looked at when it is done.
            let program = host.program("ip", "");
            let real = skip::find(&program).expect("it is installed");
            let (real, lock) = (real.display(), host.lock());
            let log = format!("{lock}.log");
            host.wrap(
                &program,
                &format!("export XTABLES_LOCKFILE={lock}; {real} \"$@\" || exit; {real} -S FORWARD | grep -c BRN-FORWARD >>{log}; exit 0"),
            );
            bring(&mut dataplane, &wanted).await;
            assert_empty(&drift(&dataplane, &wanted).await, "moved");
            let counts = std::fs::read_to_string(&log).expect("it was run");
            assert!(counts.lines().count() >= 4, "{counts}");
            assert!(counts.lines().all(|count| count != "0"), "{counts}");
        });
    });
}

/// What was told, as it came.
type Told = Mutex<Vec<Tampering>>;

/// Ends the guard when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts right what a monitor notices, until `done`.
async fn guard(host: &Host, is_ready: &AtomicBool, done: &AtomicBool, told: &Told) {
    let mut dataplane = host.detect().await;
    for family in Family::ALL {
        bring(&mut dataplane, &want(family)).await;
    }
    let mut monitor = Monitor::start(dataplane.watched()).expect("it starts");
    is_ready.store(true, Ordering::Relaxed);
    while !done.load(Ordering::Relaxed) {
        let pause = Duration::from_millis(20);
        let Ok(notice) = tokio::time::timeout(pause, monitor.next()).await else { continue };
        for family in notice.families {
            let (plan, have) = dataplane.drift(&want(family)).await.expect("it can be read");
            let found = tampering(&plan, &have, &notice.culprits);
            told.lock().expect("no panic").extend(found);
            dataplane.apply(&plan).await.expect("it can be written");
        }
    }
}

/// Prints how long repairs take; they only have to come.
#[test]
fn a_monitor_notices_what_is_spoilt_and_names_who_did_it() {
    each_host("monitor", |host| {
        let (is_ready, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let told = Told::default();
        std::thread::scope(|scope| {
            // Also by a panic, which waits for the guard.
            let end = End(&done);
            let guard =
                scope.spawn(|| host.run(async || guard(host, &is_ready, &done, &told).await));
            until("the guard is ready", SOON, || {
                met(is_ready.load(Ordering::Relaxed), String::new)
            });
            let whole = host.ours();
            // Of more than one command the first could be put right before the second; and a
            // member that took the place of another is for the audit.
            let mut ways = ways();
            ways.retain(|(_, script, _)| !script.contains(';'));
            if host.backend == Backend::Nft {
                ways.push(("all rulesets flushed", "nft flush ruleset".to_owned(), Kind::Ruleset));
            }
            for (what, script, kind) in ways {
                told.lock().expect("no panic").clear();
                spoil(host, &script);
                let begin = Instant::now();
                until(what, SOON, || {
                    let told = told.lock().expect("no panic");
                    met(told.iter().any(|one| one.kind == kind), || format!("{told:?}"))
                });
                until(what, SOON, || {
                    let now = host.ours();
                    met(now == whole, || format!("{now:#?}"))
                });
                println!("{}: {what}: whole again after {:?}", host.backend, begin.elapsed());
                let told = told.lock().expect("no panic");
                let culprit =
                    told.iter().find(|one| one.kind == kind).expect("seen").culprit.clone();
                match (host.backend, kind) {
                    (Backend::Nft, Kind::Chain | Kind::Jump | Kind::Ruleset) => {
                        let culprit = culprit.unwrap_or_else(|| panic!("{what}: nobody"));
                        let name = if script.starts_with("nft") { "nft (" } else { "iptables-nft" };
                        assert!(culprit.starts_with(name), "{what}: {culprit}");
                    }
                    (Backend::Nft, Kind::Set) | (Backend::Legacy, _) => assert_eq!(culprit, None),
                }
            }
            drop(end);
            guard.join().expect("no panic");
        });
    });
}

#[test]
fn what_we_write_ourselves_is_not_taken_for_a_change_by_others() {
    let Some(host) = a_host("own writes", Backend::Nft) else { return };
    host.run(async || {
        let mut dataplane = host.detect().await;
        let mut wanted = want(Family::V4);
        bring(&mut dataplane, &wanted).await;
        let mut monitor = Monitor::start(dataplane.watched()).expect("it starts");
        // Of what was before; it comes at once.
        monitor.next().await;
        for number in 0..20 {
            let accept = rule(vec![], Target::Accept, "rule/0");
            add_policy(&mut wanted, &format!("p{number}"), vec![accept]);
            bring(&mut dataplane, &wanted).await;
        }
        host.iptables("ip", "-I FORWARD -i eth9 -j ACCEPT");
        bring(&mut dataplane, &wanted).await;
        let notice = monitor.next().await;
        assert_eq!(notice.families, [Family::V4].into());
        assert_eq!(notice.culprits.len(), 1, "{notice:?}");
        // Rules of others behind our jump are theirs.
        host.iptables("ip", "-t nat -A PREROUTING -i eth9 -j RETURN");
        host.iptables("ip", "-N OTHER");
        host.shell("nft add table ip other");
        host.iptables("ip6", "-I INPUT -i eth9 -j ACCEPT");
        let notice = monitor.next().await;
        assert_eq!(notice.families, [Family::V6].into());
        assert!(notice.culprits.first().is_some_and(|c| c.starts_with("ip6tables-nft (")));
    });
}
