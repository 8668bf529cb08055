//! What is announced for Services is guarded against packets that would go to and fro between
//! the node and its router: real packets, both families.

use std::fs;
use std::sync::Arc;

use brindle::fib::Command;
use brindle::fib::guard::Guarded;
use integration_tests::wait::{SOON, met, until};
use integration_tests::{Netns, skip};

use crate::support::{Fib, Namespace};

const RULE: &str = "not from all iif lo lookup 9898";

/// A node whose default route leads to a router that has two blocks by the node; a client
/// behind the router, and a pod behind the node.
struct Fabric {
    node: Namespace,
    client: Arc<Netns>,
    _router: Arc<Netns>,
    _pod: Arc<Netns>,
}

impl Fabric {
    fn new() -> Self {
        let node = Namespace::new();
        let [router, client, pod] =
            ["router", "client", "pod"].map(|name| Netns::new(name).expect("can_run was asked"));
        router.cable("eth9", &client, "eth9").expect("a cable");
        node.ip(&format!("link set peer0 netns {}", router.path().display()));
        node.ip(&format!("link set peer1 netns {}", pod.path().display()));
        for (netns, link, v4, v6) in [
            (&router, "peer0", "10.0.0.9/24", "fd00::9/64"),
            (&router, "eth9", "10.9.0.1/24", "fd09::1/64"),
            (&client, "eth9", "10.9.0.2/24", "fd09::2/64"),
            (&pod, "peer1", "10.0.1.2/24", "fd00:1::2/64"),
        ] {
            netns.ip(&format!("link set {link} up")).expect("a link");
            netns.ip(&format!("addr add {v4} dev {link}")).expect("an address");
            netns.ip(&format!("addr add {v6} dev {link} nodad")).expect("an address");
        }
        for (netns, v4, v6) in [
            (&client, "default via 10.9.0.1", "default via fd09::1"),
            (&pod, "default via 10.0.1.1", "default via fd00:1::1"),
            (&router, "10.96.0.0/16 via 10.0.0.1", "fd00:96::/64 via fd00::1"),
        ] {
            netns.ip(&format!("route add {v4}")).expect("a route");
            netns.ip(&format!("-6 route add {v6}")).expect("a route");
        }
        node.ip("route add default via 10.0.0.9");
        node.ip("-6 route add default via fd00::9");
        let forward = || {
            for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                fs::write(format!("/proc/sys/net/{key}"), "1").expect(key);
            }
        };
        node.within(forward);
        router.inside(forward);
        Self { node, client, _router: router, _pod: pod }
    }

    /// What becomes of a packet from the client.
    fn fate(&self, address: &str) -> &'static str {
        fate(|| {
            let output = self.client.output("ping", &["-n", "-c1", "-W1", address]);
            String::from_utf8_lossy(&output.expect("ping runs").stdout).into_owned()
        })
    }

    /// What becomes of one of the node's own.
    fn own_fate(&self, address: &str) -> &'static str {
        fate(|| {
            let mut ping = std::process::Command::new("ping");
            let output =
                self.node.within(move || ping.args(["-n", "-c1", "-W1", address]).output());
            String::from_utf8_lossy(&output.expect("ping runs").stdout).into_owned()
        })
    }

    /// Has the node translate what comes in, and what it sends itself, as a Service proxy does.
    fn translate(&self, program: &str, from: &str, to: &str) {
        for chain in ["PREROUTING", "OUTPUT"] {
            let words = format!("-w -t nat -A {chain} -d {from} -j DNAT --to-destination {to}");
            let mut command = std::process::Command::new(program);
            let done = self.node.within(move || command.args(words.split(' ')).status());
            assert!(done.expect("it runs").success(), "{program}");
        }
    }

    /// The guard's table.
    fn table(&self, family: &str) -> Vec<String> {
        let routes = self.node.routes(family, "table 9898 proto 98");
        let words = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        routes.iter().map(words).collect()
    }

    fn rules(&self, family: &str) -> usize {
        let text = self.node.ip(&format!("{family} rule show pref 32098"));
        text.lines().filter(|line| line.contains(RULE)).count()
    }

    #[track_caller]
    fn has(&self, what: &str, rules: usize, v4: &[&str], v6: &[&str]) {
        until(what, SOON, || {
            let have = [("-4", v4), ("-6", v6)].map(|(family, want)| {
                let table = self.table(family);
                (table == want && self.rules(family) == rules, table)
            });
            met(have.iter().all(|(is_so, _)| *is_so), || format!("{have:?}"))
        });
    }
}

fn fate(ping: impl Fn() -> String) -> &'static str {
    // The first packet may wait for a neighbour for longer than ping does.
    for _ in 0..3 {
        let text = ping();
        for (words, fate) in
            [(" 0% packet loss", "answered"), ("exceeded", "loops"), ("nreachable", "rejected")]
        {
            if text.contains(words) {
                return fate;
            }
        }
    }
    "dropped"
}

fn guard(fib: &Fib, prefixes: &[&str], reject: bool) {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
    fib.send(Command::Guard(Guarded { prefixes, reject }));
}

const BLOCKS: [&str; 2] = ["10.96.0.0/16", "fd00:96::/64"];
const UNUSED: [&str; 2] = ["10.96.0.99", "fd00:96::99"];

#[test]
fn packets_to_what_nobody_answers_to_end_at_the_node_and_nothing_else_does() {
    let test = "packets_to_what_nobody_answers_to_end_at_the_node_and_nothing_else_does";
    if !skip::can_run(test, &["ip", "ping", "iptables", "ip6tables"]) {
        return;
    }
    let fabric = Fabric::new();
    fabric.translate("iptables", "10.96.0.1", "10.0.1.2");
    fabric.translate("ip6tables", "fd00:96::1", "fd00:1::2");
    let fib = fabric.node.start();
    let fates = |addresses: [&str; 2]| addresses.map(|address| fabric.fate(address));
    assert_eq!(fates(UNUSED), ["loops"; 2], "what is to be prevented");

    guard(&fib, &BLOCKS, false);
    fabric.has("guarded", 1, &["blackhole 10.96.0.0/16"], &["blackhole fd00:96::/64"]);
    assert_eq!(fib.status().guarded, [1, 1]);
    assert_eq!(fates(UNUSED), ["dropped"; 2]);
    let used = ["10.96.0.1", "fd00:96::1"];
    assert_eq!(fates(used), ["answered"; 2], "translated as it came in");
    assert_eq!(used.map(|address| fabric.own_fate(address)), ["answered"; 2], "and as it went out");

    // Where the main table has a longer prefix, that decides.
    fabric.node.ip("route add 10.96.7.0/24 via 10.0.0.9");
    fib.want("fd00:96:0:0:7::/96", &["fd00::9"]);
    fabric.has(
        "excepted",
        1,
        &["blackhole 10.96.0.0/16", "throw 10.96.7.0/24"],
        &["throw fd00:96:0:0:7::/96", "blackhole fd00:96::/64"],
    );
    assert_eq!(fates(["10.96.7.9", "fd00:96:0:0:7::9"]), ["loops"; 2]);
    assert_eq!(fates(UNUSED), ["dropped"; 2]);
    fabric.node.ip("route del 10.96.7.0/24");
    fib.want("fd00:96:0:0:7::/96", &[]);
    fabric.has("excepted no more", 1, &["blackhole 10.96.0.0/16"], &["blackhole fd00:96::/64"]);

    guard(&fib, &BLOCKS, true);
    fabric.has("rejected", 1, &["unreachable 10.96.0.0/16"], &["unreachable fd00:96::/64"]);
    assert_eq!(fates(UNUSED), ["rejected"; 2]);
    assert_eq!(fates(used), ["answered"; 2]);

    // Somebody tidies up what is not his.
    for family in ["-4", "-6"] {
        fabric.node.ip(&format!("{family} rule del pref 32098"));
        fabric.node.ip(&format!("{family} route flush table 9898"));
    }
    fabric.has("put back", 1, &["unreachable 10.96.0.0/16"], &["unreachable fd00:96::/64"]);

    // It stays when the agent ends, and until it is clear what is announced.
    fib.send(Command::Stop);
    drop(fib);
    let fib = fabric.node.start();
    assert_eq!(fates(UNUSED), ["rejected"; 2]);
    fabric.has("as it was left", 1, &["unreachable 10.96.0.0/16"], &["unreachable fd00:96::/64"]);
    guard(&fib, &["10.96.0.0/24"], false);
    until("only one", SOON, || {
        let have = (fabric.table("-4"), fabric.table("-6"), fabric.rules("-4"), fabric.rules("-6"));
        met(have == (vec!["blackhole 10.96.0.0/24".to_owned()], vec![], 1, 0), || {
            format!("{have:?}")
        })
    });
    guard(&fib, &[], false);
    fabric.has("nothing is announced", 0, &[], &[]);
    assert_eq!((fates(UNUSED), fib.status().guarded), (["loops"; 2], [0, 0]));

    // Who else uses the table is told, not disturbed.
    fabric.node.ip("route add 10.5.0.0/16 via 10.0.0.9 table 9898");
    guard(&fib, &BLOCKS, false);
    fib.until("it says so", |status| {
        status
            .last_error
            .as_ref()
            .is_some_and(|error| error.contains("9898 has 1 routes of others"))
    });
    assert_eq!((fabric.rules("-4"), fabric.table("-4").len()), (0, 0));
}
