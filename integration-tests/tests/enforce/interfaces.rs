//! Pods that our own network plug-in connected, against a real kernel and real packets: their
//! interfaces are closed until their policies are in place, and no pod sends as another.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use brindle::enforce::EnforceSettings;
use brindle_policy::model::Pod;
use brindle_policy::names::{ChainName, Fixed};
use brindle_policy::ruleset::{Table, Target};
use brindle_policy::{Change, Family};
use integration_tests::until;
use integration_tests::wait::{SOON, met};

use crate::support::{
    Outcome, PORT, Task, TestNode, TestPod, applied, attached, clients_only, interface, is_alive,
    listen, namespace, node, on_both, pod, settings, v4, v6,
};

/// The node's address on its end of every cable.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// Long enough to find out what is missing.
const BRIEFLY: Duration = Duration::from_millis(300);

/// A pod as the API server has it while it is connected: without an address.
fn fresh(name: &str, number: u8, app: &str) -> Change {
    applied(Pod { addresses: Vec::new(), ..pod(name, number, app) })
}

/// A pod behind an interface of our plug-in's.
fn connected(host: &TestNode, name: &str, number: u8) -> TestPod {
    let made = host.pod_behind(&format!("brn{number}"), name, number);
    // What the kernel drops before it gets to our rules proves nothing about them.
    for name in ["all".to_owned(), format!("brn{number}")] {
        host.netns.sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), "0").expect("a sysctl");
    }
    made
}

/// What an interface still waits for.
fn missing(task: &Task<'_>, number: u8) -> String {
    let answer = task.block_on(task.handle.open(interface(number), BRIEFLY)).expect("it runs");
    answer.expect_err("it is not open")
}

/// Waits until it is open.
fn opened(task: &Task<'_>, number: u8) {
    let answer = task.block_on(task.handle.open(interface(number), SOON)).expect("it runs");
    answer.expect("it is open soon");
}

/// Packets that were dropped as spoofed.
fn spoofed(task: &Task<'_>) -> u64 {
    let chain = (Table::Filter, ChainName::fixed(Fixed::Spoofed));
    let of_family = |family| {
        let installed = task.block_on(task.handle.counters(family)).expect("it can be read");
        let rules = installed.chains[&chain].clone();
        let drops = rules
            .iter()
            .filter(|one| one.rule.as_ref().is_some_and(|rule| rule.target == Target::Drop));
        drops.map(|one| one.packets).sum::<u64>()
    };
    Family::ALL.map(of_family).iter().sum()
}

/// Sends a datagram from an address that the pod takes for its own.
fn send_as(pod: &TestPod, source: IpAddr, to: IpAddr) {
    let bits = if source.is_ipv4() { 32 } else { 128 };
    pod.netns.ip(&format!("address add {source}/{bits} dev eth0 nodad")).expect("it is not there");
    let sent = pod.netns.inside(|| {
        let mut from = SocketAddr::new(source, 0);
        if let SocketAddr::V6(from) = &mut from {
            // A link-local address is one of a link.
            from.set_scope_id(nix::net::if_::if_nametoindex("eth0")?);
        }
        UdpSocket::bind(from)?.send_to(b"x", SocketAddr::new(to, PORT))
    });
    sent.expect("a pod can send what it likes");
    pod.netns.ip(&format!("address del {source}/{bits} dev eth0")).expect("it is there");
}

#[test]
fn an_interface_is_closed_until_its_policies_are_in_place() {
    on_both("an_interface_is_closed_until_its_policies_are_in_place", |backend, word| {
        let host = TestNode::new();
        let task = host.start(settings(backend));
        task.apply(vec![namespace(), node(), clients_only(), Change::InSync]);
        task.until("it is ready", |status| status.ready);
        let _listener = listen(&host.netns, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT));
        let server = connected(&host, "server", 10);
        let client = connected(&host, "client", 11);
        let foreign = host.pod("foreign", 12);
        assert_eq!(client.reach(HOST), Outcome::TimedOut, "{word}: nobody knows the interface");
        assert!(missing(&task, 11).contains("no pod's interface that the agent knows"));

        task.apply(vec![attached("client", 11), attached("server", 10)]);
        assert_eq!(
            missing(&task, 11),
            "Pod default/client is not known yet: the API server has not told of it"
        );
        assert_eq!(client.reach(HOST), Outcome::TimedOut, "{word}: nobody knows the pod");

        task.apply(vec![fresh("client", 11, "client"), fresh("server", 10, "server")]);
        opened(&task, 10);
        opened(&task, 11);
        assert_eq!(client.reach(HOST), Outcome::Open);
        for address in [v4(10), v6(10)] {
            assert_eq!(client.reach(address), Outcome::Open, "{word} {address}");
            assert_eq!(foreign.reach(address), Outcome::TimedOut, "{word} {address}");
        }
        assert_eq!(server.reach(v6(11)), Outcome::Open);
        let status = task.until("both were waited for", |s| s.pod_wait.count() == 2);

        // What the API server tells later is known already.
        let full = [("client", 11, "client"), ("server", 10, "server")];
        task.apply(full.map(|(name, number, app)| applied(pod(name, number, app))).into());
        task.settle();
        assert_eq!(task.status().applied, status.applied, "nothing is written");

        // Another foreign pod is none the worse.
        task.apply(vec![applied(pod("foreign", 12, "client"))]);
        foreign.until(v4(10), Outcome::Open);

        // The interface goes: closed at once, also what was open.
        let mut stream = client.connect(v4(10)).expect("it is allowed");
        assert!(is_alive(&mut stream));
        task.apply(vec![Change::Detached(interface(11))]);
        until("the connection is closed", SOON, || met(!is_alive(&mut stream), || "alive".into()));
        assert_eq!(client.reach(HOST), Outcome::TimedOut);
        assert!(missing(&task, 11).contains("no pod's interface"));
    });
}

#[test]
fn no_pod_sends_with_the_address_of_another() {
    on_both("no_pod_sends_with_the_address_of_another", |backend, word| {
        let host = TestNode::new();
        host.netns.ip("address add fd00::1:1/128 dev lo nodad").expect("an address");
        let task = host.start(settings(backend));
        task.apply(vec![
            namespace(),
            node(),
            attached("server", 10),
            attached("client", 11),
            fresh("server", 10, "server"),
            fresh("client", 11, "client"),
            clients_only(),
            Change::InSync,
        ]);
        task.until("it is ready", |status| status.ready);
        let _server = connected(&host, "server", 10);
        let client = connected(&host, "client", 11);
        assert_eq!(client.reach(v4(10)), Outcome::Open);
        assert_eq!(spoofed(&task), 0, "{word}: neighbours may look for each other");

        let elsewhere: IpAddr = "198.51.100.7".parse().unwrap();
        let of_node: IpAddr = "fd00::1:1".parse().unwrap();
        let link_local: IpAddr = "fe80::10:11".parse().unwrap();
        let mut count = 0;
        for (source, to) in [
            (v4(10), HOST),
            (v4(12), v4(10)),
            (elsewhere, v4(10)),
            (v6(12), v6(10)),
            (of_node, v6(10)),
            // Only neighbour discovery comes from there.
            (link_local, of_node),
        ] {
            send_as(&client, source, to);
            until(&format!("{word}: {source} -> {to} is counted"), SOON, || {
                let now = spoofed(&task);
                met(now > count, || format!("{now}"))
            });
            count = spoofed(&task);
        }
        until("it is told", SOON, || {
            let page = task.handle.flows.after(0, 100);
            let told = page.flows.iter().find(|flow| flow.source.address == v4(10));
            let flow = told.ok_or_else(|| format!("{page:?}"))?;
            assert_eq!(flow.source.pod, Some(client.key()), "who sent it, not whose it is");
            assert_eq!(
                &*flow.why,
                "spoofed: 10.244.1.10 is no address of default/client behind brn11; it is that of \
                 default/server"
            );
            Ok(())
        });
        // What is its own goes on as before.
        for address in [v4(10), v6(10)] {
            assert_eq!(client.reach(address), Outcome::Open, "{word} {address}");
        }
    });
}

#[test]
fn interfaces_stay_as_they_are_while_nobody_is_there() {
    on_both("interfaces_stay_as_they_are_while_nobody_is_there", |backend, word| {
        let world = || {
            vec![
                attached("server", 10),
                attached("client", 11),
                namespace(),
                node(),
                applied(pod("server", 10, "server")),
                fresh("client", 11, "client"),
                clients_only(),
                Change::InSync,
            ]
        };
        let host = TestNode::new();
        let audit = Duration::from_secs(1);
        let task = host.start(EnforceSettings { audit, ..settings(backend) });
        task.apply(world());
        task.until("it is ready", |status| status.ready);
        let _server = connected(&host, "server", 10);
        let client = connected(&host, "client", 11);
        assert_eq!(client.reach(v4(10)), Outcome::Open);

        // Closed by somebody: opened again.
        let set = host.sets();
        let set = set.lines().find_map(|line| line.strip_prefix("create brn-a4-"));
        let set = format!("brn-a4-{}", set.and_then(|rest| rest.split(' ').next()).expect("a set"));
        host.netns.run("ipset", &["flush", &set]).expect("it is there");
        task.until("it is put right", |status| status.repairs > 0);
        client.until(v4(10), Outcome::Open);
        // Opened by somebody: closed again.
        let odd = connected(&host, "odd", 13);
        assert_eq!(odd.reach(v4(11)), Outcome::TimedOut);
        let repairs = task.status().repairs;
        let pair = format!("{},brn13", v4(13));
        host.netns.run("ipset", &["add", &set, &pair]).expect("it is new");
        task.until("it is put right", |status| status.repairs > repairs);
        assert!(!host.sets().contains("brn13"));
        task.stop();

        // Nobody is there, and a pod comes.
        let late = connected(&host, "late", 12);
        assert_eq!(late.reach(HOST), Outcome::TimedOut, "{word}");
        assert_eq!(late.reach(v4(11)), Outcome::TimedOut, "{word}");
        assert_eq!(client.reach(v4(10)), Outcome::Open, "{word}");
        for link in ["brn10", "brn11", "brn12", "brn13"] {
            host.netns.ip(&format!("link set {link} down")).expect("it is there");
        }
        let (rules, sets) = (host.rules(word), host.sets());
        let task = host.start(settings(backend));
        task.apply(world());
        let status = task.until("it is ready", |status| status.ready);
        assert_eq!((status.applied, status.repairs), ([0, 0], 0), "{word}");
        assert_eq!((host.rules(word), host.sets()), (rules, sets), "{word}");
        opened(&task, 11);
        assert_eq!(task.status().pod_wait.count(), 0, "nobody waited");
    });
}
