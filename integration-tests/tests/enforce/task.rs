//! The policy half against a real kernel and real packets: changes in, rules in the kernel.

use std::net::IpAddr;

use brindle::enforce::audit::Kind;
use brindle::enforce::{EnforceSettings, EstablishedFlows, Trigger};
use brindle::telemetry::Timings;
use brindle_policy::ruleset::Table;
use brindle_policy::{Change, Direction, Family};
use integration_tests::wait::{SOON, met};
use integration_tests::{skip, until};

use crate::support::{
    BACKENDS, Outcome, TestNode, applied, clients_only, is_alive, labels, namespace, node, on_both,
    pod, policy_id, settings, v4, v6,
};

#[test]
fn a_policy_closes_and_a_label_opens() {
    on_both("a_policy_closes_and_a_label_opens", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        let server = host.pod("server", 10);
        let client = host.pod("client", 11);
        task.apply(vec![
            namespace(),
            node(),
            applied(pod("server", 10, "server")),
            applied(pod("client", 11, "other")),
        ]);
        task.until("programs are found", |status| status.backend.is_some());
        assert!(!host.rules(word).contains("BRN-"), "nothing is written before all is told");
        assert_eq!(client.reach(v4(10)), Outcome::Open);

        task.apply(vec![clients_only(), Change::InSync]);
        let status = task.until("it is ready", |status| status.ready);
        assert_eq!((status.programmed, status.pending.len()), (2, 0));
        for address in [v4(10), v6(10)] {
            // Dropped, not refused.
            assert_eq!(client.reach(address), Outcome::TimedOut, "{word} {address}");
        }
        assert_eq!(server.reach(v4(11)), Outcome::Open, "the other way is open");

        task.apply(vec![applied(pod("client", 11, "client"))]);
        task.settle();
        for address in [v4(10), v6(10)] {
            assert_eq!(client.reach(address), Outcome::Open, "{word} {address}");
        }
        task.apply(vec![applied(pod("client", 11, "other"))]);
        task.settle();
        assert_eq!(client.reach(v4(10)), Outcome::TimedOut);

        let counted = task.block_on(task.handle.counters(Family::V4)).expect("it can be read");
        let dropped: u64 = counted.chains.values().flatten().map(|rule| rule.packets).sum();
        assert!(dropped > 0, "packets are counted");
        task.stop();
        assert!(host.rules(word).contains("BRN-FORWARD"), "all stays when it stops");
        assert_eq!(client.reach(v4(10)), Outcome::TimedOut);
    });
}

/// The world of most tests: a server that only clients reach, and a client.
fn world() -> Vec<Change> {
    vec![
        namespace(),
        node(),
        applied(pod("server", 10, "server")),
        applied(pod("client", 11, "client")),
        clients_only(),
        Change::InSync,
    ]
}

#[test]
fn a_restart_with_the_same_world_writes_nothing() {
    on_both("a_restart_with_the_same_world_writes_nothing", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        task.apply(world());
        task.until("it is ready", |status| status.ready);
        let client = host.pod("client", 11);
        let _server = host.pod("server", 10);
        assert_eq!(client.reach(v4(10)), Outcome::Open);
        task.stop();
        // The last packets of the connection, and neighbours looking for each other, count.
        for link in ["p10", "p11"] {
            host.netns.ip(&format!("link set {link} down")).expect("it is there");
        }
        // Counters would be zero again in a chain that is written anew.
        let (rules, sets) = (host.rules(word), host.sets());

        let task = host.start(settings(backend));
        let mut reversed = world();
        reversed[..5].reverse();
        task.apply(reversed[..5].to_vec());
        task.until("programs are found", |status| status.backend.is_some());
        assert_eq!(host.rules(word), rules, "not in sync: nothing is touched");
        task.apply(vec![Change::InSync]);
        let status = task.until("it is ready", |status| status.ready);
        assert_eq!(host.rules(word), rules);
        assert_eq!(host.sets(), sets);
        assert_eq!((status.applied, status.repairs), ([0, 0], 0));
        assert_eq!(status.programmed, 2);

        // What is not wanted any more goes, once all is known.
        task.apply(vec![Change::PolicyDeleted(policy_id("clients-only"))]);
        task.settle();
        assert!(!host.rules(word).contains("BRN-PI-"));
    });
}

#[test]
fn a_connection_that_is_denied_now_is_cut_only_in_strict_mode() {
    on_both("a_connection_that_is_denied_now_is_cut_only_in_strict_mode", |backend, word| {
        for established in [EstablishedFlows::Keep, EstablishedFlows::Recheck] {
            let host = TestNode::new();
            let task = host.start(EnforceSettings { established, ..settings(backend) });
            let _server = host.pod("server", 10);
            let (client, other) = (host.pod("client", 11), host.pod("other", 12));
            let mut all = world();
            all.insert(0, applied(pod("other", 12, "client")));
            task.apply(all);
            task.until("it is ready", |status| status.ready);
            for address in [v4, v6] {
                task.apply(vec![applied(pod("client", 11, "client"))]);
                task.settle();
                let mut streams = [&client, &client, &other]
                    .map(|pod| pod.connect(address(10)).expect("it is allowed"));
                assert!(streams.iter_mut().all(is_alive));
                let cut = task.status().flushed.denied;
                task.apply(vec![applied(pod("client", 11, "stranger"))]);
                task.settle();
                if established == EstablishedFlows::Recheck {
                    // The kernel may have picked up what was left of a former stream as a new one.
                    task.until("they are cut", |status| status.flushed.denied >= cut + 2);
                }
                let alive = streams.each_mut().map(is_alive);
                let lives = established == EstablishedFlows::Keep;
                assert_eq!(alive, [lives, lives, true], "{word} {established:?}");
                assert_eq!(client.reach(address(10)), Outcome::TimedOut);
            }
        }
    });
}

#[test]
fn an_address_that_passes_to_another_pod_takes_no_connection_along() {
    on_both("an_address_that_passes_to_another_pod_takes_no_connection_along", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        let _server = host.pod("server", 10);
        let (client, other) = (host.pod("client", 11), host.pod("other", 12));
        let mut all = world();
        all.insert(0, applied(pod("other", 12, "client")));
        task.apply(all);
        task.until("it is ready", |status| status.ready);
        let mut streams = [&client, &other].map(|pod| pod.connect(v4(10)).expect("allowed"));
        assert!(streams.iter_mut().all(is_alive));

        // The next pod at the client's address is none; that the old one is gone comes later.
        let mut next = pod("next", 11, "stranger");
        next.created = "2026-01-02T00:00:00Z".into();
        task.apply(vec![applied(next.clone())]);
        task.until("the entry is gone", |status| status.flushed.reused > 0);
        task.settle();
        assert_eq!(streams.each_mut().map(is_alive), [false, true], "{word}");
        assert_eq!(task.status().flushed.reused, 1, "no others");
        assert_eq!(client.reach(v4(10)), Outcome::TimedOut);
        task.apply(vec![Change::PodDeleted(client.key())]);
        next.labels = labels(&[("app", "client")]);
        task.apply(vec![applied(next.clone())]);
        task.settle();
        assert_eq!(client.reach(v4(10)), Outcome::Open);
        task.stop();

        // Passed on while nobody looked: the kernel still knows to whom it belonged.
        let mut stream = client.connect(v4(10)).expect("it is allowed");
        let task = host.start(settings(backend));
        let mut heir = pod("heir", 11, "stranger");
        heir.created = "2026-01-03T00:00:00Z".into();
        let mut all = world();
        all[3] = applied(heir);
        task.apply(all);
        task.until("the entry is gone", |status| status.flushed.reused > 0);
        task.settle();
        assert!(!is_alive(&mut stream), "{word}");
    });
}

#[test]
fn a_denied_flow_names_pods_and_policy() {
    on_both("a_denied_flow_names_pods_and_policy", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        let (server, client) = (host.pod("server", 10), host.pod("client", 11));
        task.apply(world());
        task.apply(vec![applied(pod("client", 11, "stranger"))]);
        task.until("it is ready", |status| status.ready);
        for address in [v4, v6] {
            let newest = task.handle.flows.after(0, usize::MAX).last;
            assert_eq!(client.reach(address(10)), Outcome::TimedOut);
            let flow = until("the flow is told", SOON, || {
                let page = task.handle.flows.after(newest, 1);
                page.flows.first().cloned().ok_or_else(|| "nothing".to_owned())
            });
            assert_eq!(flow.source.pod, Some(client.key()), "{word}");
            assert_eq!(flow.destination.pod, Some(server.key()));
            assert_eq!((flow.source.address, flow.destination.address), (address(11), address(10)));
            assert_eq!((flow.destination.port, flow.protocol), (Some(80), 6));
            assert_eq!(flow.tcp_flags, Some(2), "a SYN");
            assert_eq!(flow.direction, Direction::Ingress);
            assert_eq!(flow.policy, Some(policy_id("clients-only")));
            assert_eq!((flow.tier.as_deref(), flow.rule), (Some("default"), None));
        }
        assert!(task.status().denied[0] >= 2);
    });
}

#[test]
fn what_others_break_is_put_right() {
    on_both("what_others_break_is_put_right", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        task.apply(world());
        task.until("it is ready", |status| status.ready);
        // Its own writes may be looked at once more; the world does not change from here on.
        let rules = |host: &TestNode| {
            let text = host.netns.run(&format!("iptables-{word}-save"), &[]).expect("it is read");
            let lines = text.lines().filter(|l| l.starts_with("-A"));
            lines.map(|l| format!("{l}\n")).collect::<String>()
        };
        let before = rules(&host);
        let iptables = format!("iptables-{word}");
        let sets = host.sets();
        let member = sets.lines().find_map(|line| line.strip_prefix("add brn-"));
        let set = member.and_then(|rest| rest.split(' ').next()).expect("a set has members");
        let set = format!("brn-{set}");
        let filter = Some(Table::Filter);
        for (kind, program, words) in [
            ((filter, Kind::Jump), &*iptables, vec!["-w", "-F", "FORWARD"]),
            ((filter, Kind::Chain), &*iptables, vec!["-w", "-I", "BRN-FORWARD", "-j", "ACCEPT"]),
            ((None, Kind::Set), "ipset", vec!["flush", &set]),
        ] {
            let repairs = task.status().repairs;
            host.netns.run(program, &words).expect("root may");
            let status = task.until("it is repaired", |status| status.repairs > repairs);
            assert_eq!(rules(&host), before, "{word}: {kind:?}");
            assert!(status.repaired.contains_key(&kind), "{:?}", status.repaired);
            let (_, what) = status.last_repair.expect("there was one");
            if word == "nft" && program != "ipset" {
                assert!(what.contains("; changed by iptables-nft ("), "{what}");
            }
        }
    });
}

#[test]
fn a_label_flip_among_a_thousand_pods_is_in_the_kernel_soon() {
    const FLIPS: u64 = 1000;
    on_both("a_label_flip_among_a_thousand_pods_is_in_the_kernel_soon", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        let far = |number: u16, app: &str| {
            let [high, low] = number.to_be_bytes();
            let mut far = pod(&format!("far-{number}"), 0, app);
            far.node = Some("n2".into());
            far.addresses = vec![
                IpAddr::from([10, 245, high, low]),
                IpAddr::from([0xfd00, 0x10, 0x245, 0, 0, 0, 0, number]),
            ];
            applied(far)
        };
        let mut all = vec![namespace(), node(), clients_only()];
        all.extend(
            (0..100).map(|number| applied(pod(&format!("near-{number}"), number, "server"))),
        );
        all.extend((0..900).map(|number| far(number, "client")));
        all.push(Change::InSync);
        task.apply(all);
        task.until("it is ready", |status| status.ready);
        for flip in 0..FLIPS {
            let app = if flip < FLIPS / 2 { "stranger" } else { "client" };
            let settled = task.status().latency.get(&Trigger::Pod).map_or(0, Timings::count);
            task.apply(vec![far(u16::try_from(flip % (FLIPS / 2)).unwrap(), app)]);
            task.until("it is settled", |status| {
                status.latency.get(&Trigger::Pod).map_or(0, Timings::count) > settled
            });
        }
        let status = task.status();
        assert_eq!(status.applied[1], 0);
        let of_hundred = |n| status.percentile(n).expect("there were flips");
        println!(
            "{word}: {FLIPS} label flips among 1000 pods: half within {:?}, 90 % {:?}, 99 % {:?}, \
             all {:?}",
            of_hundred(50),
            of_hundred(90),
            of_hundred(99),
            of_hundred(100)
        );
        // What was flipped there and back is as it was.
        let members = host.sets().lines().filter(|line| line.contains(" 10.245.")).count();
        assert_eq!(members, 900);
    });
}

#[test]
fn the_other_backend_takes_over_before_the_first_is_cleared() {
    let programs =
        ["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy", "ipset"];
    if !skip::can_run("the_other_backend_takes_over_before_the_first_is_cleared", &programs) {
        return;
    }
    let host = TestNode::new();
    let [(_, first), (word, second)] = BACKENDS;
    let task = host.start(settings(first));
    let _server = host.pod("server", 10);
    let client = host.pod("client", 11);
    task.apply(world());
    task.apply(vec![applied(pod("client", 11, "stranger"))]);
    task.until("it is ready", |status| status.ready);
    let settings = EnforceSettings { masquerade: true, ..settings(second) };
    task.block_on(task.handle.set_settings(settings)).expect("it runs");
    // As long as one of them holds it, it is closed.
    until("the first holds nothing of ours", SOON, || {
        assert_eq!(client.reach(v4(10)), Outcome::TimedOut);
        met(!host.rules("nft").contains("BRN-"), || "it does".to_owned())
    });
    let rules = host.rules(word);
    assert!(rules.contains("BRN-FORWARD") && rules.contains("MASQUERADE"), "{rules}");
    assert_eq!(client.reach(v4(10)), Outcome::TimedOut);
    let status = task.status();
    assert_eq!((status.failing, status.repairs), (None, 0));
}
