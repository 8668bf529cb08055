//! Criteria and the matches that they become.

use super::*;
use crate::model::Holders;
use crate::render;
use crate::ruleset::{Rule, Target};

fn block(text: &str) -> PeerTerm {
    let mut parts = text.split(" - ").map(|part| part.parse().unwrap());
    PeerTerm::Block(IpBlock { cidr: parts.next().unwrap(), except: parts.collect() })
}

fn selector(namespace: &str) -> PeerTerm {
    PeerTerm::Endpoints(Arc::new(Expr::InNamespace(namespace.into())))
}

fn from(any_of: Vec<PeerTerm>) -> Criterion {
    Criterion::Peer { side: Side::Source, any_of, negated: false }
}

fn to(any_of: Vec<PeerTerm>) -> Criterion {
    Criterion::Peer { side: Side::Destination, any_of, negated: false }
}

fn not_from(any_of: Vec<PeerTerm>) -> Criterion {
    Criterion::Peer { side: Side::Source, any_of, negated: true }
}

/// `tcp`, `udp/53`, `sctp/1-9`, `tcp/http`.
fn terms(text: &[&str]) -> Vec<PortTerm> {
    let term = |text: &&str| {
        let (protocol, port) = text.split_once('/').unwrap_or((text, ""));
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => Protocol::Sctp,
        };
        let (first, last) = port.split_once('-').unwrap_or((port, port));
        let port = match (port, first.parse(), last.parse()) {
            ("", ..) => PortMatch::Any,
            (_, Ok(first), Ok(last)) => PortMatch::Range(first, last),
            _ => PortMatch::Named(port.into(), Holders::Pods),
        };
        PortTerm { protocol, port }
    };
    text.iter().map(term).collect()
}

fn selected(namespace: &str) -> PeerTerm {
    PeerTerm::Selected(Arc::new(Expr::InNamespace(namespace.into())))
}

fn not_ports(text: &[&str]) -> Criterion {
    Criterion::Ports { side: Side::Destination, any_of: terms(text), negated: true }
}

fn icmp(kind: u8, code: Option<u8>, negated: bool) -> Criterion {
    Criterion::Icmp { kind, code, negated }
}

fn service(side: Side, with_ports: bool) -> Criterion {
    let service = ServiceName { namespace: "a".into(), name: "db".into() };
    Criterion::Service { side, service, with_ports }
}

fn ports(text: &[&str]) -> Criterion {
    Criterion::Ports { side: Side::Destination, any_of: terms(text), negated: false }
}

fn source_ports(text: &[&str]) -> Criterion {
    Criterion::Ports { side: Side::Source, any_of: terms(text), negated: false }
}

fn protocol(number: u8) -> Criterion {
    Criterion::Protocol { number, negated: false }
}

fn not_protocol(number: u8) -> Criterion {
    Criterion::Protocol { number, negated: true }
}

/// Each way as iptables writes it; sets by what they stand for.
fn ways(criteria: &[Criterion], family: Family) -> Vec<String> {
    let mut sources = Sources::new();
    let alternatives = alternatives(criteria, family, &mut sources);
    let text = |matches| render::rule(&Rule { matches, target: Target::Accept, comment: None });
    let mut used = BTreeSet::new();
    let ways = alternatives.into_iter().map(|matches| {
        used.extend(matches.iter().filter_map(sets::of_match).cloned());
        let mut text = text(matches).replace("-j ACCEPT", "").trim().to_owned();
        for (name, source) in &sources {
            text = text.replace(name.as_str(), &format!("{{{}}}", source.about()));
        }
        text.replace("-m set --match-set ", "").replace("-m set ! --match-set ", "! ")
    });
    let ways = ways.collect();
    assert_eq!(used, sources.keys().cloned().collect(), "every set that is noted is used");
    ways
}

fn check(rows: &[(Vec<Criterion>, &[&str])]) {
    for (criteria, want) in rows {
        assert_eq!(ways(criteria, Family::V4), *want, "{criteria:?}");
    }
}

#[test]
fn peers_become_a_set_and_a_block_of_which_one_has_to_hold() {
    check(&[
        (vec![], &[""]),
        (vec![from(vec![])], &[]),
        (vec![from(vec![selector("a"), selector("b")])], &["{ns=a or ns=b} src"]),
        (vec![from(vec![PeerTerm::Endpoints(Arc::new(Expr::All))])], &["{all} src"]),
        (vec![from(vec![PeerTerm::Endpoints(Arc::new(Expr::Nothing))])], &[]),
        (vec![to(vec![block("10.0.0.0/8")])], &["-d 10.0.0.0/8"]),
        (vec![to(vec![block("10.0.0.0/31 - 10.0.0.0/32")])], &["-d 10.0.0.1/32"]),
        (vec![to(vec![block("10.0.0.0/8 - 10.0.0.0/8")])], &[]),
        (vec![from(vec![block("0.0.0.0/0")])], &[""]),
        (vec![from(vec![block("0.0.0.0/0"), selector("a")])], &[""]),
        (vec![from(vec![block("0.0.0.0/0 - 0.0.0.0/1"), block("0.0.0.0/1")])], &[""]),
        (
            vec![from(vec![block("10.0.0.0/8"), selector("a"), block("11.0.0.0/32")])],
            &["{ns=a} src", "{10.0.0.0/8, 11.0.0.0/32} src"],
        ),
        // Of the other family: nothing is left, or the rest is.
        (vec![from(vec![block("fd00::/8")])], &[]),
        (vec![not_from(vec![block("fd00::/8")])], &[]),
        (vec![from(vec![block("fd00::/8"), selector("a")])], &["{ns=a} src"]),
        (vec![from(vec![block("fd00::/8"), block("10.0.0.0/8")])], &["-s 10.0.0.0/8"]),
    ]);
    let six = [from(vec![block("::/0"), block("10.0.0.0/8")])];
    assert_eq!(ways(&six, Family::V6), [""]);
}

#[test]
fn negated_peers_all_have_to_fail() {
    check(&[
        (vec![not_from(vec![])], &[""]),
        (vec![not_from(vec![selector("a")])], &["! {ns=a} src"]),
        (vec![not_from(vec![block("10.0.0.0/8")])], &["! {10.0.0.0/8} src"]),
        (
            vec![not_from(vec![block("10.0.0.0/8"), selector("a")])],
            &["! {10.0.0.0/8} src ! {ns=a} src"],
        ),
        (vec![not_from(vec![block("0.0.0.0/0")])], &[]),
        (vec![not_from(vec![block("10.0.0.1/32 - 10.0.0.0/8")])], &[""]),
        (
            vec![from(vec![selector("a")]), not_from(vec![selector("b")])],
            &["{ns=a} src ! {ns=b} src"],
        ),
    ]);
}

#[test]
fn several_criteria_about_one_side_hold_together() {
    check(&[
        (
            vec![from(vec![block("10.0.0.0/8")]), from(vec![block("10.1.0.0/16")])],
            &["-s 10.1.0.0/16"],
        ),
        (
            vec![from(vec![block("10.1.0.0/16")]), from(vec![block("10.0.0.0/8")])],
            &["-s 10.1.0.0/16"],
        ),
        (vec![from(vec![block("10.0.0.0/8")]), from(vec![block("11.0.0.0/8")])], &[]),
        (
            vec![from(vec![block("10.0.0.0/8")]), to(vec![block("11.0.0.0/8")])],
            &["-s 10.0.0.0/8 -d 11.0.0.0/8"],
        ),
        (
            vec![from(vec![selector("a")]), from(vec![block("10.0.0.0/8")])],
            &["-s 10.0.0.0/8 {ns=a} src"],
        ),
        (vec![from(vec![selector("a")]), from(vec![selector("a")])], &["{ns=a} src"]),
    ]);
}

#[test]
fn ports_become_one_way_for_each_protocol_and_name() {
    check(&[
        (vec![ports(&[])], &[]),
        (vec![ports(&["udp"])], &["-p udp"]),
        (vec![ports(&["tcp/0-65535"])], &["-p tcp"]),
        (vec![ports(&["tcp/80", "tcp", "tcp/http"])], &["-p tcp"]),
        (
            vec![ports(&["udp/53", "tcp/53", "tcp/80-90", "tcp/91"])],
            &["-p tcp -m multiport --dports 53,80:91", "-p udp -m multiport --dports 53"],
        ),
        (vec![ports(&["tcp/http"])], &["-p tcp {port http/TCP} dst,dst"]),
        (
            vec![ports(&["sctp/http", "sctp/7"]), from(vec![selector("a")])],
            &[
                "-p sctp -m multiport --dports 7 {ns=a} src",
                "-p sctp {ns=a} src {port http/SCTP} dst,dst",
            ],
        ),
        (
            vec![source_ports(&["tcp/1024-65535"]), ports(&["tcp/80", "udp/53"])],
            &["-p tcp -m multiport --sports 1024:65535 -m multiport --dports 80"],
        ),
        (
            vec![ports(&["tcp/80-90"]), ports(&["tcp/85-99"])],
            &["-p tcp -m multiport --dports 85:90"],
        ),
        (vec![ports(&["tcp/80"]), ports(&["tcp/81"])], &[]),
        (
            vec![ports(&["tcp/a"]), ports(&["tcp/b"])],
            &["-p tcp {port b/TCP} dst,dst {port a/TCP} dst,dst"],
        ),
    ]);
}

#[test]
fn protocols_narrow_ports_and_each_other() {
    check(&[
        (vec![protocol(1)], &["-p icmp"]),
        (vec![not_protocol(6)], &["! -p tcp"]),
        (vec![protocol(6), protocol(6)], &["-p tcp"]),
        (vec![protocol(6), protocol(17)], &[]),
        (vec![protocol(6), not_protocol(6)], &[]),
        (vec![protocol(6), not_protocol(17)], &["-p tcp"]),
        (vec![protocol(1), ports(&["tcp/80"])], &[]),
        (vec![protocol(6), ports(&["tcp/80", "udp/53"])], &["-p tcp -m multiport --dports 80"]),
        (vec![not_protocol(6), ports(&["tcp/80", "udp/53"])], &["-p udp -m multiport --dports 53"]),
        // iptables takes zero for any protocol.
        (vec![protocol(0)], &[]),
        (vec![not_protocol(0)], &[""]),
    ]);
    let two = ways(&[not_protocol(6), not_protocol(17)], Family::V4);
    assert!(two.len() == 253 && two.contains(&"-p icmp".to_owned()));
    assert!(!two.iter().any(|way| way.contains("tcp") || way.contains("udp") || way.contains('!')));
}

#[test]
fn what_a_selector_of_all_kinds_means_is_one_set_of_its_own() {
    let everything = PeerTerm::Selected(Arc::new(Expr::All));
    let nothing = PeerTerm::Selected(Arc::new(Expr::Nothing));
    check(&[
        (vec![from(vec![selected("a")])], &["{ns=a; hosts and network sets too} src"]),
        (vec![from(vec![everything])], &["{all; hosts and network sets too} src"]),
        (vec![from(vec![nothing.clone()])], &[]),
        (vec![not_from(vec![nothing])], &[""]),
        (vec![not_from(vec![selected("a")])], &["! {ns=a; hosts and network sets too} src"]),
        (
            vec![from(vec![selected("a")]), not_from(vec![selected("b")])],
            &["{ns=a; hosts and network sets too} src ! {ns=b; hosts and network sets too} src"],
        ),
        (
            vec![from(vec![selected("a")]), from(vec![block("10.0.0.0/8"), block("::/0")])],
            &["-s 10.0.0.0/8 {ns=a; hosts and network sets too} src"],
        ),
        // Pods alone are another set.
        (
            vec![from(vec![selected("a"), selector("a"), block("10.0.0.0/8")])],
            &["{ns=a} src", "{ns=a; hosts and network sets too} src", "-s 10.0.0.0/8"],
        ),
        (
            vec![not_from(vec![selected("a"), selected("b"), selected("a")])],
            &["! {ns=a; hosts and network sets too} src ! {ns=b; hosts and network sets too} src"],
        ),
    ]);
}

#[test]
fn negated_ports_leave_all_others() {
    check(&[
        (vec![not_ports(&[]), protocol(6)], &["-p tcp"]),
        (
            vec![not_ports(&["tcp/80"]), protocol(6)],
            &["-p tcp -m multiport --dports 0:79,81:65535"],
        ),
        (vec![not_ports(&["tcp"]), protocol(6)], &[]),
        (vec![not_ports(&["udp/80"]), protocol(6)], &["-p tcp"]),
        (
            vec![not_ports(&["tcp/80", "tcp/http"]), protocol(6)],
            &["-p tcp -m multiport --dports 0:79,81:65535 ! {port http/TCP} dst,dst"],
        ),
        (
            vec![ports(&["tcp/80-90"]), not_ports(&["tcp/85"])],
            &["-p tcp -m multiport --dports 80:84,86:90"],
        ),
        (
            vec![ports(&["tcp/http"]), not_ports(&["tcp/dns"])],
            &["-p tcp {port http/TCP} dst,dst ! {port dns/TCP} dst,dst"],
        ),
        (
            vec![source_ports(&["tcp/7"]), not_ports(&["tcp/80", "udp/53"])],
            &["-p tcp -m multiport --sports 7 -m multiport --dports 0:79,81:65535"],
        ),
        // Names alone: of whatever protocol a packet is, it is in no set.
        (
            vec![not_ports(&["tcp/http", "udp/http"])],
            &["! {port http/TCP} dst,dst ! {port http/UDP} dst,dst"],
        ),
        (
            vec![not_ports(&["tcp/http", "udp/http"]), protocol(17)],
            &["-p udp ! {port http/UDP} dst,dst"],
        ),
        (vec![not_ports(&["tcp/http"]), protocol(1)], &["-p icmp"]),
        (vec![not_ports(&["tcp/80"]), protocol(1)], &["-p icmp"]),
        (vec![not_ports(&["tcp/80"])], &["-p tcp -m multiport --dports 0:79,81:65535", "! -p tcp"]),
    ]);
    // All but every second of a hundred ports: as many single ones, and a range.
    let singles: Vec<String> = (0..50).map(|n| format!("tcp/{}", n * 2)).collect();
    let singles: Vec<&str> = singles.iter().map(String::as_str).collect();
    let rest = ways(&[protocol(6), not_ports(&singles)], Family::V4);
    let slots = rest.iter().map(|way| way.matches(',').count() + 1 + way.matches(':').count());
    assert_eq!(slots.collect::<Vec<_>>(), [15, 15, 15, 6]);
    // Two protocols apart, each other one for itself.
    let two = ways(&[not_ports(&["tcp/80", "udp/53"])], Family::V4);
    assert!(two.len() == 255 && two.contains(&"-p icmp".to_owned()), "{two:?}");
}

#[test]
fn messages_are_of_the_family_and_hold_together() {
    let echo = [protocol(1), Criterion::Family(Family::V4), icmp(8, None, false)];
    assert_eq!(ways(&echo, Family::V4), ["-p icmp -m icmp --icmp-type 8"]);
    assert_eq!(ways(&echo, Family::V6), [""; 0]);
    let echo = [protocol(58), Criterion::Family(Family::V6), icmp(128, Some(0), false)];
    assert_eq!(ways(&echo, Family::V6), ["-p ipv6-icmp -m icmp6 --icmpv6-type 128/0"]);
    check(&[
        (vec![icmp(8, None, false)], &["-p icmp -m icmp --icmp-type 8"]),
        (vec![icmp(8, None, false), protocol(6)], &[]),
        (vec![icmp(8, None, false), not_protocol(1)], &[]),
        (vec![icmp(8, None, false), ports(&["tcp/80"])], &[]),
        (vec![icmp(8, None, false), not_ports(&["tcp/80"])], &["-p icmp -m icmp --icmp-type 8"]),
        (vec![protocol(1), icmp(8, Some(0), true)], &["-p icmp -m icmp ! --icmp-type 8/0"]),
        (
            vec![protocol(1), icmp(3, None, false), icmp(3, Some(4), true)],
            &["-p icmp -m icmp --icmp-type 3 -m icmp ! --icmp-type 3/4"],
        ),
        (vec![icmp(8, None, true)], &["-p icmp -m icmp ! --icmp-type 8", "! -p icmp"]),
        (vec![icmp(8, None, true), protocol(6)], &["-p tcp"]),
        (vec![icmp(8, None, true), ports(&["tcp/80"])], &["-p tcp -m multiport --dports 80"]),
    ]);
}

#[test]
fn services_are_sets_of_addresses_with_or_without_ports() {
    let (from, to) = (Side::Source, Side::Destination);
    check(&[
        (vec![service(from, false)], &["{endpoints of service a/db} src"]),
        (vec![service(to, true)], &["{endpoints of service a/db with their ports} dst,dst"]),
        (
            vec![service(to, true), protocol(6), source_ports(&["tcp/7"])],
            &["-p tcp -m multiport --sports 7 {endpoints of service a/db with their ports} \
                 dst,dst"],
        ),
    ]);
}

#[test]
fn a_port_that_hosts_may_have_too_is_another_set() {
    let of = |holders| Criterion::Ports {
        side: Side::Destination,
        any_of: vec![PortTerm {
            protocol: Protocol::Tcp,
            port: PortMatch::Named("http".into(), holders),
        }],
        negated: false,
    };
    check(&[
        (vec![of(Holders::Pods)], &["-p tcp {port http/TCP} dst,dst"]),
        (vec![of(Holders::Endpoints)], &["-p tcp {port http/TCP, of hosts too} dst,dst"]),
    ]);
}
