use std::sync::Arc;

use super::FilterAction::{Accept, Continue, Reject};
use super::*;
use crate::msg::{AsPath, AsSegment, Attributes, Community, SegmentKind};
use crate::net::{Asn, Family, Prefix};

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn path(numbers: &[u32]) -> AsPath {
    AsPath::sequence(numbers.iter().copied().map(asn))
}

const SESSION: fn() -> Session =
    || Session { peer_type: PeerType::External, asn: Asn::new(64512).unwrap() };

fn route<'a>(text: &str, attributes: &'a Attributes) -> Route<'a> {
    Route {
        prefix: prefix(text),
        attributes,
        next_hop: Some("10.0.0.9".parse().unwrap()),
        interface: Some("eth0"),
        source: RouteSource::Peer,
        session: SESSION(),
    }
}

fn inside(text: &str) -> Condition {
    Condition::Cidr(MatchOperator::In, prefix(text))
}

fn filter(name: &str, rules: Vec<FilterRule>) -> Arc<Filter> {
    Arc::new(Filter::new(name, rules))
}

fn rule(action: FilterAction, conditions: Vec<Condition>, changes: Vec<Change>) -> FilterRule {
    FilterRule { changes, ..FilterRule::new(action, conditions) }
}

fn communities(texts: &[&str]) -> Vec<AnyCommunity> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn patterns(texts: &[&str]) -> Vec<CommunityPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_first_rule_that_decides_does_and_none_is_what_the_filter_says() {
    let rules = vec![
        rule(Reject, vec![inside("10.244.9.0/24")], vec![]),
        rule(Accept, vec![inside("10.244.0.0/16"), Condition::PrefixLengths(16..=32)], vec![]),
        rule(Accept, vec![inside("fd00::/8"), Condition::PrefixLengths(48..=64)], vec![]),
        rule(Reject, vec![Condition::PrefixLengths(0..=0)], vec![]),
    ];
    let strict = [filter("cluster-only", rules)];
    let lenient = [Arc::new(Filter { otherwise: Verdict::Accept, ..(*strict[0]).clone() })];
    let attributes = Attributes::default();
    for (text, want, by) in [
        ("10.244.0.0/16", Verdict::Accept, Some(1)),
        ("10.244.1.0/24", Verdict::Accept, Some(1)),
        ("10.244.9.0/24", Verdict::Reject, Some(0)),
        ("10.244.9.128/25", Verdict::Reject, Some(0)),
        ("10.244.8.0/23", Verdict::Accept, Some(1)),
        ("10.0.0.0/8", Verdict::Reject, None),
        ("10.245.0.0/16", Verdict::Reject, None),
        ("fd00:1::/48", Verdict::Accept, Some(2)),
        ("fd00::/8", Verdict::Reject, None),
        ("fd00::/128", Verdict::Reject, None),
        ("0.0.0.0/0", Verdict::Reject, Some(3)),
        ("::/0", Verdict::Reject, Some(3)),
    ] {
        let decision = evaluate(&strict, &route(text, &attributes));
        assert_eq!((decision.verdict, decision.by), (want, Some((0, by))), "{text}");
        let want = if by.is_none() { Verdict::Accept } else { want };
        assert_eq!(evaluate(&lenient, &route(text, &attributes)).verdict, want, "{text}");
    }
}

#[test]
fn without_rules_a_filter_rejects_and_without_filters_all_passes() {
    let attributes = Attributes::default();
    let ask = |filters: &[Arc<Filter>]| {
        let decision = evaluate(filters, &route("192.0.2.0/24", &attributes));
        (decision.verdict, decision.by)
    };
    assert_eq!(ask(&[]), (Verdict::Accept, None));
    assert_eq!(ask(&[filter("f", vec![])]), (Verdict::Reject, Some((0, None))));
    let all = || filter("f", vec![FilterRule::new(Accept, vec![])]);
    assert_eq!(ask(&[all()]), (Verdict::Accept, Some((0, Some(0)))));
    assert_eq!(ask(&[all(), filter("g", vec![])]), (Verdict::Reject, Some((1, None))));
}

#[test]
fn each_condition_holds_for_what_it_says_and_nothing_else() {
    let set = AsPath(vec![
        AsSegment { kind: SegmentKind::Sequence, asns: vec![asn(1), asn(2)] },
        AsSegment { kind: SegmentKind::Set, asns: vec![asn(3), asn(4)] },
    ]);
    let attributes = Attributes {
        as_path: set,
        communities: vec![Community((65001 << 16) | 5), Community::NO_EXPORT],
        ..Attributes::default()
    };
    let asns = |numbers: &[u32]| numbers.iter().copied().map(asn).collect::<Vec<_>>();
    let here = route("10.1.0.0/16", &attributes);
    for (condition, want) in [
        (Condition::Cidr(MatchOperator::In, prefix("10.0.0.0/8")), true),
        (Condition::Cidr(MatchOperator::In, prefix("10.1.0.0/16")), true),
        (Condition::Cidr(MatchOperator::In, prefix("10.1.0.0/17")), false),
        (Condition::Cidr(MatchOperator::In, prefix("::/0")), false),
        (Condition::Cidr(MatchOperator::NotIn, prefix("10.0.0.0/8")), false),
        (Condition::Cidr(MatchOperator::NotIn, prefix("10.1.0.0/17")), true),
        (Condition::Cidr(MatchOperator::NotIn, prefix("::/0")), true),
        (Condition::Cidr(MatchOperator::Equal, prefix("10.1.0.0/16")), true),
        (Condition::Cidr(MatchOperator::Equal, prefix("10.0.0.0/8")), false),
        (Condition::Cidr(MatchOperator::NotEqual, prefix("10.1.0.0/16")), false),
        (Condition::Cidr(MatchOperator::NotEqual, prefix("10.0.0.0/8")), true),
        (Condition::PrefixLengths(16..=16), true),
        (Condition::PrefixLengths(17..=32), false),
        (Condition::Family(Family::Ipv4Unicast), true),
        (Condition::Family(Family::Ipv6Unicast), false),
        (Condition::NextHop(vec![prefix("10.9.0.0/16"), prefix("10.0.0.0/24")]), true),
        (Condition::NextHop(vec![prefix("10.0.1.0/24")]), false),
        (Condition::NextHop(vec![]), false),
        (Condition::Interface("eth*".parse().unwrap()), true),
        (Condition::Interface("eth1".parse().unwrap()), false),
        (Condition::Source(vec![RouteSource::Mesh, RouteSource::Peer]), true),
        (Condition::Source(vec![RouteSource::Local, RouteSource::Service]), false),
        (Condition::PeerType(PeerType::External), true),
        (Condition::PeerType(PeerType::Internal), false),
        (Condition::AsPathContains(asns(&[9, 4])), true),
        (Condition::AsPathContains(asns(&[9])), false),
        (Condition::AsPathFirst(asns(&[9, 1])), true),
        (Condition::AsPathFirst(asns(&[2])), false),
        (Condition::AsPathLast(asns(&[3, 4])), false), // nobody knows which of a set is last
        (Condition::AsPathLength(3..=3), true),
        (Condition::AsPathLength(4..=u32::MAX), false),
        (Condition::AsPathPrefix(asns(&[1, 2])), true),
        (Condition::AsPathPrefix(asns(&[1])), true),
        (Condition::AsPathPrefix(asns(&[])), true),
        (Condition::AsPathPrefix(asns(&[2])), false),
        (Condition::AsPathPrefix(asns(&[1, 2, 3])), false),
        (Condition::AsPathRegex("^1 2 ".parse().unwrap()), true),
        (Condition::AsPathRegex("^2".parse().unwrap()), false),
        (Condition::Communities(Has::Any, patterns(&["1:1", "65001:*"])), true),
        (Condition::Communities(Has::Any, patterns(&["1:1"])), false),
        (Condition::Communities(Has::All, patterns(&["no-export", "65001:*"])), true),
        (Condition::Communities(Has::All, patterns(&["1:1", "65001:*"])), false),
        (Condition::Communities(Has::All, vec![]), false),
    ] {
        assert_eq!(condition.holds(&here, &attributes), want, "{condition}");
    }
    let ours = Route { next_hop: None, interface: None, source: RouteSource::Local, ..here };
    for (condition, want) in [
        (Condition::NextHop(vec![prefix("0.0.0.0/0"), prefix("::/0")]), false),
        (Condition::Interface("*".parse().unwrap()), false),
        (Condition::Source(vec![RouteSource::Local]), true),
    ] {
        assert_eq!(condition.holds(&ours, &attributes), want, "{condition}");
    }
}

#[test]
fn interface_names_match_with_stars_anywhere() {
    for (pattern, name, want) in [
        ("eth0", "eth0", true),
        ("eth0", "eth01", false),
        ("eth*", "eth0", true),
        ("eth*", "eth", true),
        ("*.calico", "vxlan.calico", true),
        ("*.calico", "calico", false),
        ("e*h*0", "eth0", true),
        ("e*h*0", "eth1", false),
        ("a*a", "a", false),
        ("*a*a*", "aa", true),
        ("*a*a*", "a", false),
        ("*", "lo", true),
    ] {
        let read: InterfacePattern = pattern.parse().unwrap();
        assert_eq!(
            (read.has(name), read.to_string().as_str()),
            (want, pattern),
            "{pattern} {name}"
        );
    }
    for text in ["", "a b", "a/b", "0123456789abcdef", "é"] {
        assert!(text.parse::<InterfacePattern>().is_err(), "{text:?}");
    }
}

#[test]
fn each_change_does_what_it_says() {
    let before = Attributes {
        as_path: path(&[1]),
        med: Some(10),
        communities: vec![Community((65001 << 16) | 1), Community((65001 << 16) | 3)],
        ..Attributes::default()
    };
    let changed = |change: &dyn Fn(&mut Attributes)| {
        let mut after = before.clone();
        change(&mut after);
        after
    };
    let c = |value: u32| Community((65001 << 16) | value);
    for (change, want) in [
        (Change::LocalPref(5), changed(&|a| a.local_pref = Some(5))),
        (Change::Med(0), changed(&|a| a.med = Some(0))),
        (Change::AddMed(5), changed(&|a| a.med = Some(15))),
        (Change::AddMed(-11), changed(&|a| a.med = Some(0))),
        (Change::AddMed(i64::MAX), changed(&|a| a.med = Some(u32::MAX))),
        (Change::AddMed(i64::MIN), changed(&|a| a.med = Some(0))),
        (Change::RemoveMed, changed(&|a| a.med = None)),
        (
            Change::AddCommunities(communities(&["65001:2", "65001:1"])),
            changed(&|a| a.communities = vec![c(1), c(2), c(3)]),
        ),
        (
            Change::AddCommunities(communities(&["1:2:3", "rt:1:1"])),
            changed(&|a| {
                let three = crate::msg::LargeCommunity { global: 1, local1: 2, local2: 3 };
                a.large_communities = vec![three];
                a.extended_communities =
                    vec![crate::msg::ExtendedCommunity([0, 2, 0, 1, 0, 0, 0, 1])];
            }),
        ),
        (
            Change::RemoveCommunities(patterns(&["*:3", "1:*:*"])),
            changed(&|a| a.communities = vec![c(1)]),
        ),
        (
            Change::SetCommunities(communities(&["65001:9", "65001:8", "65001:9"])),
            changed(&|a| a.communities = vec![c(8), c(9)]),
        ),
        (Change::SetCommunities(vec![]), changed(&|a| a.communities = vec![])),
        (Change::Prepend(None, 2), changed(&|a| a.as_path = path(&[64512, 64512, 1]))),
        (Change::Prepend(Some(asn(7)), 1), changed(&|a| a.as_path = path(&[7, 1]))),
        (Change::NextHop(NextHopChange::SelfAddress), before.clone()),
    ] {
        let mut after = before.clone();
        change.apply(&mut after, asn(64512));
        assert_eq!(after, want, "{change}");
    }
    let mut none = Attributes::default();
    Change::AddMed(7).apply(&mut none, asn(1));
    assert_eq!(none.med, Some(7));
}

#[test]
fn rules_see_what_those_before_changed_also_in_later_filters() {
    let tag = || Change::AddCommunities(communities(&["65001:1"]));
    let tagged = || Condition::Communities(Has::Any, patterns(&["65001:1"]));
    let filters = [
        filter(
            "first",
            vec![
                rule(Continue, vec![inside("10.0.0.0/8")], vec![tag(), Change::Med(1)]),
                rule(Accept, vec![tagged()], vec![Change::AddMed(1)]),
                rule(Reject, vec![inside("11.0.0.0/8")], vec![Change::Med(9)]),
                rule(Accept, vec![], vec![]),
            ],
        ),
        filter(
            "second",
            vec![
                rule(Accept, vec![tagged()], vec![Change::LocalPref(200), Change::AddMed(1)]),
                rule(Accept, vec![], vec![]),
            ],
        ),
    ];
    let attributes = Attributes::default();
    let ask = |text: &str| {
        let route = route(text, &attributes);
        let decision = evaluate(&filters, &route);
        let mut after = attributes.clone();
        apply(&filters, &decision.matched, &mut after, asn(64512));
        // The long way says the same.
        let steps = trace(&filters, &route);
        let last = steps.iter().rev().find_map(|step| step.changed.clone());
        if decision.verdict == Verdict::Accept {
            assert_eq!(last.unwrap_or_default(), after, "{text}");
        }
        assert_eq!(steps.last().map(|step| (step.filter, step.rule)), decision.by, "{text}");
        (decision.verdict, after.med, after.local_pref, steps.len())
    };
    assert_eq!(ask("10.1.0.0/16"), (Verdict::Accept, Some(3), Some(200), 3));
    assert_eq!(ask("11.0.0.0/8"), (Verdict::Reject, None, None, 1));
    assert_eq!(ask("12.0.0.0/8"), (Verdict::Accept, None, None, 2));
}

#[test]
fn the_last_rule_that_asks_for_a_next_hop_gets_it() {
    let hop = |action, which| rule(action, vec![], vec![Change::NextHop(which)]);
    let filters = [
        filter(
            "a",
            vec![hop(Continue, NextHopChange::Keep), hop(Accept, NextHopChange::SelfAddress)],
        ),
        filter("b", vec![hop(Accept, NextHopChange::Keep)]),
    ];
    let attributes = Attributes::default();
    let asked = |filters: &[Arc<Filter>]| {
        let decision = evaluate(filters, &route("10.0.0.0/8", &attributes));
        next_hop(filters, &decision.matched)
    };
    assert_eq!(asked(&filters[..1]), Some(NextHopChange::SelfAddress));
    assert_eq!(asked(&filters), Some(NextHopChange::Keep));
    assert_eq!(asked(&[]), None);
}
