//! What is announced for Services is guarded against packets that would go to and fro between
//! the node and its router: real packets, both families.

use std::sync::Arc;

use brindle::fib::guard::Guarded;
use brindle::fib::{self, Command, Tuning};
use integration_tests::wait::{SOON, met, until};
use integration_tests::{Netns, skip};

use crate::support::{Fib, settings};

const RULE: &str = "not from all iif lo lookup 9898";

/// A node whose default route leads to a router that has two blocks by the node; a client
/// behind the router, and a pod behind the node.
struct Fabric {
    node: Arc<Netns>,
    client: Arc<Netns>,
    _router: Arc<Netns>,
    _pod: Arc<Netns>,
}

impl Fabric {
    fn new() -> Self {
        let [node, router, client, pod] = ["node", "router", "client", "pod"]
            .map(|name| Netns::new(name).expect("can_run was asked"));
        node.cable("eth0", &router, "eth0").expect("a cable");
        node.cable("eth1", &pod, "eth0").expect("a cable");
        router.cable("eth1", &client, "eth0").expect("a cable");
        for (netns, link, address) in [
            (&node, "eth0", "10.0.0.1/24"),
            (&node, "eth0", "fd00::1/64"),
            (&router, "eth0", "10.0.0.9/24"),
            (&router, "eth0", "fd00::9/64"),
            (&node, "eth1", "10.0.1.1/24"),
            (&node, "eth1", "fd00:1::1/64"),
            (&pod, "eth0", "10.0.1.2/24"),
            (&pod, "eth0", "fd00:1::2/64"),
            (&router, "eth1", "10.9.0.1/24"),
            (&router, "eth1", "fd09::1/64"),
            (&client, "eth0", "10.9.0.2/24"),
            (&client, "eth0", "fd09::2/64"),
        ] {
            netns.add_address(link, address).expect("a new address");
        }
        for (netns, route) in [
            (&client, "default via 10.9.0.1"),
            (&client, "default via fd09::1"),
            (&pod, "default via 10.0.1.1"),
            (&pod, "default via fd00:1::1"),
            (&router, "10.96.0.0/16 via 10.0.0.1"),
            (&router, "fd00:96::/64 via fd00::1"),
            (&node, "default via 10.0.0.9"),
            (&node, "default via fd00::9"),
        ] {
            netns.ip(&format!("route add {route}")).expect("a new route");
        }
        for netns in [&node, &router] {
            for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                netns.sysctl(key, "1").expect("it can be set");
            }
        }
        Self { node, client, _router: router, _pod: pod }
    }

    fn start(&self) -> Fib {
        Fib::of(self.node.inside(|| fib::start_tuned(settings(), Tuning::default())))
    }

    fn ip(&self, words: &str) -> String {
        self.node.ip(words).expect("the words are right")
    }

    /// Waits until this becomes of packets from the client: the first may wait for a neighbour.
    #[track_caller]
    fn until_fates(&self, addresses: [&str; 2], want: &str) {
        until(want, SOON, || {
            let have = self.fates(addresses);
            met(have == [want; 2], || format!("{addresses:?}: {have:?}"))
        });
    }

    /// What becomes of packets from the client.
    fn fates(&self, addresses: [&str; 2]) -> [&'static str; 2] {
        addresses.map(|address| fate(&self.client, address))
    }

    /// Has the node translate what comes in, and what it sends itself, as a Service proxy does.
    fn translate(&self, program: &str, from: &str, to: &str) {
        for chain in ["PREROUTING", "OUTPUT"] {
            let words = format!("-w -t nat -A {chain} -d {from} -j DNAT --to-destination {to}");
            self.node.run(program, &words.split(' ').collect::<Vec<_>>()).expect("a rule");
        }
    }

    /// The guard's table, which is not there before it has something.
    fn table(&self, family: &str) -> Vec<String> {
        let text = self.node.ip(&format!("{family} route show table 9898 proto 98"));
        let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        text.unwrap_or_default().lines().map(words).collect()
    }

    fn rules(&self, family: &str) -> usize {
        let text = self.ip(&format!("{family} rule show pref 32098"));
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

/// What becomes of a packet.
fn fate(from: &Netns, address: &str) -> &'static str {
    let output = from.output("ping", &["-n", "-c1", "-W0.5", address]).expect("ping runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let fates =
        [(" 0% packet loss", "answered"), ("exceeded", "loops"), ("nreachable", "rejected")];
    fates.iter().find(|(words, _)| text.contains(words)).map_or("dropped", |(_, fate)| fate)
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
    let fib = fabric.start();
    fabric.until_fates(UNUSED, "loops");

    guard(&fib, &BLOCKS, false);
    fabric.has("guarded", 1, &["blackhole 10.96.0.0/16"], &["blackhole fd00:96::/64"]);
    fib.until("it says so", |status| status.guarded == [1, 1]);
    assert_eq!(fabric.fates(UNUSED), ["dropped"; 2]);
    let used = ["10.96.0.1", "fd00:96::1"];
    fabric.until_fates(used, "answered");
    for address in used {
        let is_answered = || met(fate(&fabric.node, address) == "answered", || address.to_owned());
        until("what the node sends itself is translated on its way out", SOON, is_answered);
    }

    // Where the main table has a longer prefix, that decides.
    fabric.ip("route add 10.96.7.0/24 via 10.0.0.9");
    fib.want("fd00:96:0:0:7::/96", &["fd00::9"]);
    fabric.has(
        "excepted",
        1,
        &["blackhole 10.96.0.0/16", "throw 10.96.7.0/24"],
        &["throw fd00:96:0:0:7::/96", "blackhole fd00:96::/64"],
    );
    fabric.until_fates(["10.96.7.9", "fd00:96:0:0:7::9"], "loops");
    assert_eq!(fabric.fates(UNUSED), ["dropped"; 2]);
    fabric.ip("route del 10.96.7.0/24");
    fib.want("fd00:96:0:0:7::/96", &[]);
    fabric.has("excepted no more", 1, &["blackhole 10.96.0.0/16"], &["blackhole fd00:96::/64"]);

    guard(&fib, &BLOCKS, true);
    fabric.has("rejected", 1, &["unreachable 10.96.0.0/16"], &["unreachable fd00:96::/64"]);
    fabric.until_fates(UNUSED, "rejected");
    fabric.until_fates(used, "answered");

    // Somebody tidies up what is not his.
    for family in ["-4", "-6"] {
        fabric.ip(&format!("{family} rule del pref 32098"));
        fabric.ip(&format!("{family} route flush table 9898"));
    }
    fabric.has("put back", 1, &["unreachable 10.96.0.0/16"], &["unreachable fd00:96::/64"]);

    // It stays when the agent ends, and until it is clear what is announced.
    fib.send(Command::Stop);
    drop(fib);
    let fib = fabric.start();
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
    fabric.until_fates(UNUSED, "loops");
    fib.until("it says so", |status| status.guarded == [0, 0]);

    // Who else uses the table is told, not disturbed.
    fabric.ip("route add 10.5.0.0/16 via 10.0.0.9 table 9898");
    guard(&fib, &BLOCKS, false);
    fib.until("it says so", |status| {
        status.unguarded.as_ref().is_some_and(|error| error.contains("9898 has 1 routes of others"))
    });
    assert_eq!((fabric.rules("-4"), fabric.table("-4").len()), (0, 0));
}
