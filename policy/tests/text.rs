//! Text for iptables and ipset, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brindle_policy::model::Side;
use brindle_policy::names::{ChainName, Comment, Device, Fixed, SetName};
use brindle_policy::readback::{Installed, read_sets, read_tables};
use brindle_policy::render;
use brindle_policy::ruleset::{
    BuiltIn, Chain, ChainOp, Match, Member, Members, Plan, Purpose, Rule, SetOp, Table, Target,
};
use brindle_policy::{Cidr, Family, Protocol};
use proptest::prelude::*;

fn chain(name: &str) -> ChainName {
    ChainName::read(name).unwrap()
}

fn set(name: &str) -> SetName {
    SetName::read(name).unwrap()
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn device(text: &str) -> Device {
    text.parse().unwrap()
}

fn read(family: Family, text: &str) -> Installed {
    let mut installed = Installed::new(family);
    read_tables(&mut installed, Table::Filter, text);
    installed
}

/// What a line in chain BRN-A is read as.
fn read_rule(words: &str) -> Option<Rule> {
    let installed = read(Family::V4, &format!("*filter\n[7:420] -A BRN-A {words}\nCOMMIT\n"));
    let rules = &installed.chains[&(Table::Filter, chain("BRN-A"))];
    assert_eq!((rules[0].packets, rules[0].bytes), (7, 420), "{words}");
    rules[0].rule.clone()
}

#[test]
fn each_rule_has_one_text_that_reads_as_the_rule() {
    use Match as M;
    let brindle = |text: &str| Comment::read(text).unwrap();
    for (matches, target, comment, want) in [
        (vec![M::FromLoopback], Target::Return, None, "-i lo -j RETURN"),
        (
            vec![M::NotAttached(set("brn-a4-A")), M::FromPod],
            Target::Jump(chain("BRN-SPOOFED")),
            None,
            "-i brn+ -m set ! --match-set brn-a4-A src,src -j BRN-SPOOFED",
        ),
        (
            vec![
                M::limit(20, 5),
                M::Established,
                M::Ports(Side::Destination, Protocol::Tcp, vec![(80, 80), (90, 100)]),
                M::In(Side::Destination, cidr("10.1.0.0/16")),
                M::In(Side::Source, cidr("10.0.0.1/32")),
            ],
            Target::Accept,
            Some(brindle("brindle:rule/3/NetworkPolicy/shop/db")),
            "-s 10.0.0.1/32 -d 10.1.0.0/16 -p tcp -m multiport --dports 80,90:100 \
             -m conntrack --ctstate RELATED,ESTABLISHED -m limit --limit 20/sec --limit-burst 5 \
             -m comment --comment \"brindle:rule/3/NetworkPolicy/shop/db\" -j ACCEPT",
        ),
        (
            vec![
                M::Ports(Side::Source, Protocol::Sctp, vec![(0, 65535)]),
                M::Ports(Side::Destination, Protocol::Sctp, vec![(1, 1)]),
            ],
            Target::Drop,
            None,
            "-p sctp -m multiport --sports 0:65535 -m multiport --dports 1 -j DROP",
        ),
        (
            vec![
                M::InSet { side: Side::Source, set: set("brn-s4-A"), negated: false },
                M::InSet { side: Side::Destination, set: set("brn-n4-A"), negated: true },
                M::PortIn { side: Side::Destination, set: set("brn-p4-A"), negated: false },
                M::Protocol { number: 17, negated: false },
            ],
            Target::Goto(chain("BRN-SENT")),
            None,
            "-p udp -m set --match-set brn-s4-A src -m set ! --match-set brn-n4-A dst \
             -m set --match-set brn-p4-A dst,dst -g BRN-SENT",
        ),
        (
            vec![M::Protocol { number: 47, negated: true }, M::SourceIsLocal],
            Target::Jump(chain("BRN-FROM")),
            None,
            "! -p 47 -m addrtype --src-type LOCAL -j BRN-FROM",
        ),
        (
            vec![M::In(Side::Destination, cidr("10.0.0.0/8")), M::DestinationIsLocal],
            Target::Accept,
            None,
            "-d 10.0.0.0/8 -m addrtype --dst-type LOCAL -j ACCEPT",
        ),
        (
            vec![M::Invalid, M::limit(10, 10)],
            Target::Log { group: 98, prefix: brindle("brindle:deny/I/ABC") },
            None,
            "-m conntrack --ctstate INVALID -m limit --limit 10/sec --limit-burst 10 \
             -j NFLOG --nflog-prefix \"brindle:deny/I/ABC\" --nflog-group 98",
        ),
        (
            vec![M::Icmp { family: Family::V6, kind: 135, code: None, negated: false }],
            Target::Accept,
            None,
            "-p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT",
        ),
        (
            vec![
                M::Icmp { family: Family::V4, kind: 3, code: None, negated: false },
                M::Icmp { family: Family::V4, kind: 3, code: Some(4), negated: true },
            ],
            Target::Accept,
            None,
            "-p icmp -m icmp --icmp-type 3 -m icmp ! --icmp-type 3/4 -j ACCEPT",
        ),
        (
            vec![
                M::PortIn { side: Side::Source, set: set("brn-p4-A"), negated: true },
                M::Leaves(device("eth0.100")),
                M::Arrives(device("eth1")),
            ],
            Target::Return,
            None,
            "-i eth1 -o eth0.100 -m set ! --match-set brn-p4-A src,src -j RETURN",
        ),
        (
            vec![M::Marked, M::Untracked, M::ToLoopback],
            Target::Unmark,
            None,
            "-o lo -m mark --mark 0x10/0x10 -m conntrack --ctstate UNTRACKED \
             -j MARK --set-xmark 0x0/0x10",
        ),
        (vec![], Target::Mark, None, "-j MARK --set-xmark 0x10/0x10"),
        (vec![], Target::NoTrack, None, "-j CT --notrack"),
        (vec![], Target::Masquerade, None, "-j MASQUERADE"),
    ] {
        let rule = Rule { matches, target, comment };
        let text = render::rule(&rule);
        assert_eq!(text, want);
        assert_eq!(read_rule(&text).as_ref(), Some(&rule), "{text}");
    }
}

#[test]
fn what_iptables_leaves_out_or_calls_by_name_is_understood() {
    let rule = |matches, target| Rule { matches, target, comment: None };
    let host = Match::In(Side::Source, cidr("10.0.0.1/32"));
    let gre = Match::Protocol { number: 47, negated: false };
    let burst = Match::Limit { per_second: 10, burst: 5 };
    let log = Target::Log { group: 0, prefix: Comment::new(&["deny"]) };
    let commented = Rule { comment: Comment::read("brindle:x"), ..rule(vec![], Target::Drop) };
    for (text, want) in [
        ("-m limit --limit 10/sec -j RETURN", rule(vec![burst], Target::Return)),
        ("-j NFLOG --nflog-prefix \"brindle:deny\"", rule(vec![], log)),
        ("-p gre -j DROP", rule(vec![gre], Target::Drop)),
        ("-s 10.0.0.1 -j DROP", rule(vec![host], Target::Drop)),
        ("-m comment --comment brindle:x -j DROP", commented),
    ] {
        assert_eq!(read_rule(text), Some(want), "{text}");
    }
}

#[test]
fn what_we_do_not_write_is_told_apart() {
    for text in [
        "",
        "-s 10.0.0.1/32",
        "! -s 10.0.0.1/32 -j ACCEPT",
        "-s fd00::1/128 -j ACCEPT",
        "! -i eth0 -j ACCEPT",
        "-i eth+ -j ACCEPT",
        "-i cali+ -j ACCEPT",
        "! -i lo -j ACCEPT",
        "! -o lo -j ACCEPT",
        "-o brn+ -j ACCEPT",
        "-p 0 -j ACCEPT",
        "-p tcp -p udp -j ACCEPT",
        "-p tcp -m tcp --dport 80 -j ACCEPT",
        "-m multiport --dports 80 -j ACCEPT",
        "! -p tcp -m multiport --dports 80 -j ACCEPT",
        "-p icmp -m multiport --dports 80 -j ACCEPT",
        "-p tcp -m multiport ! --dports 80 -j ACCEPT",
        "-p tcp -m multiport --ports 80 -j ACCEPT",
        "-p tcp -m multiport --dports 80,,90 -j ACCEPT",
        "-p tcp -m multiport --dports 65536 -j ACCEPT",
        "-p tcp -m multiport --dports +80 -j ACCEPT",
        "-p tcp -m icmp6 --icmpv6-type 133 -j ACCEPT",
        "-p ipv6-icmp -m icmp6 --icmpv6-type +1 -j ACCEPT",
        "-p ipv6-icmp -m icmp6 --icmpv6-type 1/256 -j ACCEPT",
        "-p icmp -m icmp --icmp-type any -j ACCEPT",
        "-p icmp -m icmp --icmp-type 255 -j ACCEPT",
        "! -p icmp -m icmp --icmp-type 8 -j ACCEPT",
        "-p icmp -m icmp6 --icmpv6-type 8 -j ACCEPT",
        "-m set --match-set other src -j ACCEPT",
        "-m set --match-set brn-s4-A src,dst -j ACCEPT",
        "-m set --match-set brn-s4-A src,src,src -j ACCEPT",
        "-m set --match-set brn-s4-A src --return-nomatch -j ACCEPT",
        "-m conntrack --ctstate ESTABLISHED -j ACCEPT",
        "-m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT",
        "-m conntrack ! --ctstate INVALID -j ACCEPT",
        "-m addrtype --dst-type UNICAST -j RETURN",
        "-m limit --limit 10/min -j ACCEPT",
        "-m comment --comment \"no mark\" -j ACCEPT",
        "-m comment --comment \"brindle:a b\" -j ACCEPT",
        "-m comment --comment brindle:a -m comment --comment brindle:b -j ACCEPT",
        "-m comment --comment \"brindle:a -j ACCEPT",
        "-m comment --comment \"brindle:a\\",
        "-m mark --mark 0x1 -j ACCEPT",
        "-m mark --mark 0x20/0x20 -j ACCEPT",
        "-m mark --mark 0x10 -j ACCEPT",
        "-m mark ! --mark 0x10/0x10 -j ACCEPT",
        "-j MARK --set-xmark 0x10/0xffffffff",
        "-j MARK --set-xmark 0x20/0x20",
        "-j CT --notrack --zone 1",
        "-j CT --zone 1",
        "-j NOTRACK",
        "-j ACCEPT -j DROP",
        "-j ACCEPT extra",
        "-j REJECT --reject-with icmp-port-unreachable",
        "-j KUBE-FORWARD",
        "-g OTHER",
        "-g ACCEPT",
        "-j NFLOG --nflog-group 98",
        "-j NFLOG --nflog-prefix \"brindle:a\" --nflog-group 98 --nflog-size 10",
        "-j MASQUERADE --random",
        "!",
        "-j",
    ] {
        assert_eq!(read_rule(text), None, "{text}");
    }
}

#[test]
fn hooks_are_found_with_what_stands_before_them() {
    let text = "\
# Generated
*nat
:POSTROUTING ACCEPT [0:0]
[1:2] -A FORWARD -m comment --comment \"brindle:hook\" -j BRN-FORWARD
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [5:500]
:KUBE-FORWARD - [0:0]
:BRN-FORWARD - [0:0]
:BRN-EMPTY - [0:0]
[1:60] -A INPUT -m comment --comment \"brindle:hook\" -j BRN-INPUT
[2:61] -A FORWARD -m comment --comment \"kubernetes rules\" -j KUBE-FORWARD
[3:62] -A FORWARD -m comment --comment brindle:hook -j BRN-FORWARD
[4:63] -A FORWARD -s 10.0.0.1/32 -j ACCEPT
[5:64] -A FORWARD -m comment --comment \"brindle:hook\" -j BRN-FORWARD
[6:65] -A FORWARD -s 10.0.0.2/32 -m comment --comment \"brindle:hook\" -j BRN-FORWARD
[7:66] -A KUBE-FORWARD -m comment --comment \"brindle:hook\" -j BRN-TO
[8:67] -A KUBE-FORWARD -g BRN-FROM
[9:68] -A KUBE-FORWARD -m comment --comment \"-j BRN-FROM\" -j ACCEPT
COMMIT
# Completed
";
    let installed = read(Family::V4, text);
    let names: Vec<_> = installed.chains.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["BRN-EMPTY", "BRN-FORWARD"]);
    let hooks = installed.hooks.iter();
    let hooks = hooks.map(|one| (one.hook.from, one.position, one.before.len(), one.packets));
    assert_eq!(
        hooks.collect::<Vec<_>>(),
        [(BuiltIn::Input, 1, 0, 1), (BuiltIn::Forward, 2, 1, 3), (BuiltIn::Forward, 4, 2, 5),]
    );
    let first = "-A FORWARD -m comment --comment \"kubernetes rules\" -j KUBE-FORWARD";
    assert_eq!(installed.hooks[1].before, [first]);
    let strays: Vec<_> = installed.strays.iter().map(|stray| stray.text.as_str()).collect();
    assert_eq!(
        strays,
        [
            "-A FORWARD -s 10.0.0.2/32 -m comment --comment \"brindle:hook\" -j BRN-FORWARD",
            "-A KUBE-FORWARD -m comment --comment \"brindle:hook\" -j BRN-TO",
            "-A KUBE-FORWARD -g BRN-FROM",
        ]
    );
    let hook = &installed.hooks[1].hook;
    assert_eq!(render::hook_rule(hook), "-m comment --comment brindle:hook -j BRN-FORWARD");
}

#[test]
fn reading_again_replaces_only_what_was_read() {
    let mut installed = Installed::new(Family::V4);
    let text = |table: &str, name: &str| {
        format!(
            "*{table}\n:{name} - [0:0]\n\
             -A FORWARD -m comment --comment brindle:hook -j {name}\n-A INPUT -j {name}\nCOMMIT\n"
        )
    };
    read_tables(&mut installed, Table::Filter, &text("filter", "BRN-A"));
    read_tables(&mut installed, Table::Nat, &text("nat", "BRN-A"));
    read_tables(&mut installed, Table::Filter, &text("filter", "BRN-B"));
    let keys: Vec<_> = installed.chains.keys().cloned().collect();
    assert_eq!(keys, [(Table::Filter, chain("BRN-B")), (Table::Nat, chain("BRN-A"))]);
    assert_eq!((installed.hooks.len(), installed.strays.len()), (2, 2));
    read_tables(&mut installed, Table::Filter, "");
    assert_eq!((installed.hooks.len(), installed.strays.len()), (1, 1));
}

#[test]
fn a_plan_becomes_one_transaction_for_each_table() {
    let mut plan = Plan::new(Family::V4);
    let rule = Rule { matches: vec![], target: Target::Drop, comment: None };
    let write = |rules| ChainOp::Write(Arc::new(Chain { purpose: Purpose::Fixed, rules }));
    let chains = BTreeMap::from([
        (chain("BRN-A"), ChainOp::Remove),
        (chain("BRN-B"), write(vec![rule.clone(), rule])),
        (chain("BRN-C"), write(vec![])),
    ]);
    plan.chains = BTreeMap::from([(Table::Filter, chains), (Table::Nat, BTreeMap::new())]);
    let want = "*filter\n:BRN-A - [0:0]\n:BRN-B - [0:0]\n:BRN-C - [0:0]\n\
                -A BRN-B -j DROP\n-A BRN-B -j DROP\n-X BRN-A\nCOMMIT\n";
    assert_eq!(render::tables(&plan), BTreeMap::from([(Table::Filter, want.to_owned())]));
}

#[test]
fn members_leave_all_sets_before_any_comes() {
    let address = |text: &str| Member::Address(text.parse().unwrap());
    let port = |port| Member::Port("10.0.0.1".parse().unwrap(), Protocol::Udp, port);
    let blocks = Members::Blocks(BTreeSet::from([cidr("10.0.0.0/8")]));
    let ops = [
        SetOp::Create(set("brn-n4-A"), blocks.clone()),
        SetOp::Change { set: set("brn-s4-A"), remove: vec![], add: vec![address("10.0.0.1")] },
        SetOp::Change { set: set("brn-p4-A"), remove: vec![port(53)], add: vec![port(54)] },
        SetOp::Recreate(set("brn-n4-B"), blocks),
    ];
    assert_eq!(
        render::sets_up(&ops, Family::V4),
        "del brn-p4-A 10.0.0.1,udp:53 -exist\n\
         create brn-n4-A hash:net family inet hashsize 64 maxelem 1048576\n\
         add brn-n4-A 10.0.0.0/8 -exist\n\
         add brn-s4-A 10.0.0.1 -exist\n\
         add brn-p4-A 10.0.0.1,udp:54 -exist\n\
         destroy brn-n4-B -exist\n\
         create brn-n4-B hash:net family inet hashsize 64 maxelem 1048576\n\
         add brn-n4-B 10.0.0.0/8 -exist\n"
    );
    let replace = SetOp::Replace(set("brn-s6-A"), Members::Addresses(BTreeSet::new()));
    let stand_in = set("brn-s6-A").stand_in();
    assert_eq!(
        render::sets_up(&[replace], Family::V6),
        format!(
            "destroy {stand_in} -exist\n\
             create {stand_in} hash:ip family inet6 hashsize 64 maxelem 1048576\n\
             swap {stand_in} brn-s6-A\n\
             destroy {stand_in} -exist\n"
        )
    );
    assert_eq!(render::destroy(&[set("brn-s4-A")]), "destroy brn-s4-A -exist\n");
}

#[test]
fn only_sets_as_we_make_them_have_members() {
    let made = "hash:ip family inet hashsize 64 maxelem 1048576 bucketsize 12 initval 0x1";
    let one = |text: &str| Some(Members::Addresses(BTreeSet::from([text.parse().unwrap()])));
    for (text, want) in [
        (format!("create brn-s4-A {made}\nadd brn-s4-A 10.0.0.1\n"), one("10.0.0.1")),
        (format!("create brn-s4-A {made}\n"), Some(Members::Addresses(BTreeSet::new()))),
        (format!("create brn-s4-A {made} timeout 60\nadd brn-s4-A 10.0.0.1 timeout 9\n"), None),
        (format!("create brn-s4-A {made} counters\n"), None),
        (format!("create brn-s4-A {made}\nadd brn-s4-A 10.0.0.1 timeout 9\n"), None),
        (format!("create brn-s4-A {made}\nadd brn-s4-A 10.0.0.0/24\n"), None),
        (format!("create brn-s4-A {made}\nadd brn-s4-A fd00::1\nadd brn-s4-A 10.0.0.1\n"), None),
        (format!("create brn-s4-A {made}\nadd brn-s4-A\n"), None),
        ("create brn-s4-A hash:ip family inet6 hashsize 64 maxelem 1048576\n".into(), None),
        ("create brn-s4-A hash:ip family inet hashsize 64 maxelem 65536\n".into(), None),
        ("create brn-s4-A hash:ip hashsize 64 maxelem 1048576\n".into(), None),
        ("create brn-s4-A bitmap:ip family inet maxelem 1048576\n".into(), None),
        ("create brn-s4-A\n".into(), None),
        ("add brn-s4-A 10.0.0.1\n".into(), None),
    ] {
        let mut installed = Installed::new(Family::V4);
        read_sets(&mut installed, &text);
        assert_eq!(installed.sets[&set("brn-s4-A")].members, want, "{text}");
    }
    let mut installed = Installed::new(Family::V4);
    for foreign in ["brn-s6-A", "KUBE-CLUSTER-IP", "brn-", "brn-é4-A"] {
        read_sets(&mut installed, &format!("create {foreign} {made}\nadd {foreign} 10.0.0.1\n"));
        assert!(installed.sets.is_empty(), "{foreign}");
    }
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Source), Just(Side::Destination)]
}

fn set_name() -> impl Strategy<Value = SetName> {
    "[a-z]".prop_map(|part| SetName::of('s', Family::V4, &[&part]))
}

fn chain_name() -> impl Strategy<Value = ChainName> {
    prop_oneof![
        Just(ChainName::fixed(Fixed::Sent)),
        "[a-z]".prop_map(|part| ChainName::other("T", &[&part])),
    ]
}

fn one_match() -> impl Strategy<Value = Match> {
    let block = (any::<[u8; 4]>(), 1..=32u8)
        .prop_map(|(address, length)| Cidr::new(address.into(), length).unwrap());
    let in_set = (side(), set_name(), any::<bool>());
    prop_oneof![
        Just(Match::FromLoopback),
        Just(Match::FromPod),
        Just(Match::ToLoopback),
        Just(Match::Untracked),
        Just(Match::Marked),
        "eth[0-9]([.][0-9]{1,4})?".prop_map(|name| Match::Arrives(device(&name))),
        "eth[0-9]([.][0-9]{1,4})?".prop_map(|name| Match::Leaves(device(&name))),
        "[a-z]".prop_map(|part| Match::NotAttached(SetName::of('a', Family::V4, &[&part]))),
        (side(), block).prop_map(|(side, block)| Match::In(side, block)),
        in_set.prop_map(|(side, set, negated)| Match::InSet { side, set, negated }),
        (side(), set_name(), any::<bool>()).prop_map(|(side, set, negated)| Match::PortIn {
            side,
            set,
            negated
        }),
        (1..=255u8, any::<bool>())
            .prop_map(|(number, negated)| Match::Protocol { number, negated }),
        Just(Match::Established),
        Just(Match::Invalid),
        Just(Match::SourceIsLocal),
        Just(Match::DestinationIsLocal),
        any::<(u16, u16)>().prop_map(|(rate, burst)| Match::limit(rate, burst)),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::Accept),
        Just(Target::Drop),
        Just(Target::Return),
        Just(Target::Masquerade),
        Just(Target::NoTrack),
        Just(Target::Mark),
        Just(Target::Unmark),
        chain_name().prop_map(Target::Jump),
        chain_name().prop_map(Target::Goto),
        (any::<u16>(), ".{0,20}")
            .prop_map(|(group, text)| Target::Log { group, prefix: Comment::new(&[&text]) }),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let ports = (side(), prop::sample::select(Protocol::ALL.to_vec()), any::<(u16, u16)>());
    let ports = ports.prop_map(|(side, protocol, (a, b))| {
        Match::Ports(side, protocol, vec![(a.min(b), a.max(b))])
    });
    let icmp = (0..=254u8, any::<Option<u8>>(), any::<bool>())
        .prop_map(|(kind, code, negated)| Match::Icmp { family: Family::V4, kind, code, negated });
    // Both say the protocol, so only one of them.
    let transport =
        prop_oneof![prop::collection::vec(ports, 0..=1), prop::collection::vec(icmp, 1..3),];
    let matches = prop::collection::vec(one_match(), 0..5);
    (matches, transport, target(), prop::option::of(".{0,40}")).prop_map(
        |(mut matches, ports, target, comment)| {
            let mut has_protocol = !ports.is_empty();
            matches.retain(|one| match one {
                Match::Protocol { .. } => !std::mem::replace(&mut has_protocol, true),
                _ => true,
            });
            matches.extend(ports);
            Rule { matches, target, comment: comment.map(|text| Comment::new(&[&text])) }
        },
    )
}

/// Words that rules are made of.
const WORDS: [&str; 26] = [
    "-s",
    "-d",
    "10.0.0.0/8",
    "-p",
    "tcp",
    "-m",
    "multiport",
    "--dports",
    "80",
    "set",
    "!",
    "--match-set",
    "brn-s4-A",
    "src",
    "dst,dst",
    "-j",
    "ACCEPT",
    "-g",
    "BRN-X",
    "NFLOG",
    "--nflog-prefix",
    "\"brindle:a\"",
    "comment",
    "--comment",
    "limit",
    "1/sec",
];

proptest! {
    #[test]
    fn any_rule_reads_back_as_itself_and_is_one_line_of_a_small_alphabet(rule in rule()) {
        let text = render::rule(&rule);
        prop_assert!(text.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{}", text);
        prop_assert_eq!(read_rule(&text), Some(rule));
    }

    #[test]
    fn a_rule_that_is_read_means_its_text(
        words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..6),
        target in prop::sample::select(vec!["-j ACCEPT", "-g BRN-X", ""]),
    ) {
        if let Some(rule) = read_rule(&format!("{} {target}", words.join(" "))) {
            prop_assert_eq!(read_rule(&render::rule(&rule)), Some(rule));
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(
        lines in prop::collection::vec(
            "([\\[\\]:0-9 ]{0,4}(-A (BRN-A|FORWARD)|:BRN-A|create brn-s4-A|add brn-s4-A)?[ -~é]{0,40})",
            0..8,
        ),
    ) {
        let text = format!("*filter\n{}", lines.join("\n"));
        for family in Family::ALL {
            let mut installed = read(family, &text);
            read_sets(&mut installed, &text);
        }
    }
}
