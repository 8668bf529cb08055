//! From BGPFilters to what the RIB judges routes by.

use std::sync::Arc;

use brindle_bgp::filter::{
    AnyCommunity, CommunityPattern, Condition, Filter, FilterAction, FilterRule, Has,
    MatchOperator, RouteSource, Verdict,
};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{Owned, PeerPolicy};

use super::filter::{Rule, local_pref};
use super::{BgpFilter, BgpObjects};

/// Which way routes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    Import,
    /// To the peer.
    Export,
}

/// What becomes of a route that no rule of a filter is about.
#[derive(Clone, Debug)]
pub(super) enum Otherwise {
    /// It passes.
    Accept,
    /// It passes if it is among these.
    Inside(Owned),
    /// It passes inside of these, or if it is our own.
    OwnAnd(Arc<[Prefix]>),
}

impl BgpObjects {
    /// What a BGPFilter alone says in a direction; what no rule of it is about passes.
    pub fn filter(&self, name: &str, direction: Direction) -> Option<Arc<Filter>> {
        let found = self.filters.get(name)?;
        let alone = policy(&[found], self.normal_priorities(), direction, Otherwise::Accept);
        let filters = match alone {
            PeerPolicy::Filters(filters) => filters,
            _ => Vec::new(),
        };
        let nothing = || Filter { otherwise: Verdict::Accept, ..Filter::new(name, Vec::new()) };
        Some(filters.into_iter().next().unwrap_or_else(|| Arc::new(nothing())))
    }
}

/// What the filters say in that direction, asked in their order; `normal` are the priorities of
/// routes that nobody gave another, by [`Family::index`].
pub(super) fn policy(
    filters: &[&Arc<BgpFilter>],
    normal: [u32; 2],
    direction: Direction,
    otherwise: Otherwise,
) -> PeerPolicy {
    let rules_of = |filter: &Arc<BgpFilter>| match direction {
        Direction::Import => filter.import.clone(),
        Direction::Export => filter.export.clone(),
    };
    let filters: Vec<(&str, Vec<Rule>)> = filters
        .iter()
        .map(|filter| (&*filter.name, rules_of(filter)))
        .filter(|(_, rules)| !rules.is_empty())
        .collect();
    if filters.is_empty() {
        return match otherwise {
            Otherwise::Accept => PeerPolicy::AcceptAll,
            Otherwise::Inside(owned) => PeerPolicy::Owned(owned),
            Otherwise::OwnAnd(ranges) => PeerPolicy::OriginatedOr(ranges),
        };
    }
    let names: Vec<&str> = filters.iter().map(|(name, _)| *name).collect();
    let mut rules: Vec<FilterRule> =
        filters.iter().flat_map(|(name, rules)| numbered(name, direction, rules, normal)).collect();
    let accept = |operator, range: &Prefix| {
        let condition = Condition::Cidr(operator, *range);
        FilterRule::new(FilterAction::Accept, vec![condition])
    };
    let own = rules.len();
    let inside = |range: &Prefix| accept(MatchOperator::In, range);
    let verdict = match &otherwise {
        Otherwise::Accept => Verdict::Accept,
        Otherwise::Inside(owned) => {
            rules.extend(owned.inside.iter().map(inside));
            let exactly = owned.exactly.iter().flat_map(|all| all.iter());
            rules.extend(exactly.map(|own| accept(MatchOperator::Equal, own)));
            Verdict::Reject
        }
        Otherwise::OwnAnd(ranges) => {
            let ours = Condition::Source(vec![RouteSource::Local, RouteSource::Service]);
            rules.push(FilterRule::new(FilterAction::Accept, vec![ours]));
            rules.extend(ranges.iter().map(inside));
            Verdict::Reject
        }
    };
    let without: Arc<str> = "without filters".into();
    for (number, rule) in rules.iter_mut().skip(own).enumerate() {
        rule.stands_in = Some((Arc::clone(&without), number));
    }
    let filter = Filter {
        otherwise: verdict,
        ends_in_ownership: matches!(otherwise, Otherwise::Inside(_)),
        ..Filter::new(names.join("+"), rules)
    };
    PeerPolicy::Filters(vec![Arc::new(filter)])
}

/// The rules of a BGPFilter as the engine has them, which know where they are from: the second
/// of `importV4` in `fabric` stands second in `fabric importV4`.
fn numbered(
    filter: &str,
    direction: Direction,
    rules: &[Rule],
    normal: [u32; 2],
) -> Vec<FilterRule> {
    let mut all = Vec::new();
    for family in Family::ALL {
        let way = match direction {
            Direction::Import => "import",
            Direction::Export => "export",
        };
        let version = match family {
            Family::Ipv4Unicast => "V4",
            Family::Ipv6Unicast => "V6",
        };
        let list: Arc<str> = format!("{filter} {way}{version}").into();
        let of_family = rules.iter().filter(|rule| rule.family == family);
        for (number, rule) in of_family.enumerate() {
            let stands_in = Some((Arc::clone(&list), number));
            let parts = translated(rule, normal).into_iter();
            all.extend(parts.map(|part| FilterRule { stands_in: stands_in.clone(), ..part }));
        }
    }
    all
}

/// A rule as the engine has it: more than one where one of several things must hold.
fn translated(rule: &Rule, normal: [u32; 2]) -> Vec<FilterRule> {
    let mut conditions = vec![Condition::Family(rule.family)];
    if rule.from_peers {
        conditions.push(Condition::Source(vec![RouteSource::Mesh, RouteSource::Peer]));
    }
    conditions.extend(rule.peer_type.map(Condition::PeerType));
    conditions.extend(rule.interface.clone().map(Condition::Interface));
    if let Some(pattern) = rule.community.and_then(pattern) {
        conditions.push(Condition::Communities(Has::Any, vec![pattern]));
    }
    if !rule.as_path.is_empty() {
        conditions.push(Condition::AsPathPrefix(rule.as_path.clone()));
    }
    let action = if rule.accept { FilterAction::Accept } else { FilterAction::Reject };
    let with = |more: Vec<Condition>| {
        let conditions = conditions.iter().cloned().chain(more).collect();
        FilterRule { changes: rule.changes.clone(), ..FilterRule::new(action, conditions) }
    };
    // Our own routes have no LOCAL_PREF until a rule gives them one.
    let mut preferences =
        vec![rule.priority.map(|priority| Condition::LocalPref(Some(local_pref(priority))))];
    if rule.priority == Some(normal[rule.family.index()]) {
        preferences.push(Some(Condition::LocalPref(None)));
    }
    let prefixes = prefixes(rule);
    let both = preferences.iter().flat_map(|preference| {
        prefixes.iter().map(move |prefix| preference.iter().chain(prefix).cloned().collect())
    });
    both.map(with).collect()
}

/// The conditions that its prefix comes down to; any of them is enough.
fn prefixes(rule: &Rule) -> Vec<Vec<Condition>> {
    let Some(prefix) = &rule.prefix else { return vec![Vec::new()] };
    let inside = Condition::Cidr(MatchOperator::In, prefix.cidr);
    let (shortest, longest) = (*prefix.lengths.start(), *prefix.lengths.end());
    if !prefix.negated {
        return vec![vec![inside, Condition::PrefixLengths(shortest..=longest)]];
    }
    let mut rules = vec![vec![Condition::Cidr(MatchOperator::NotIn, prefix.cidr)]];
    if let Some(most) = shortest.checked_sub(1).filter(|most| *most >= prefix.cidr.length()) {
        let shorter = Condition::PrefixLengths(prefix.cidr.length()..=most);
        rules.push(vec![inside.clone(), shorter]);
    }
    if longest < rule.family.bits() {
        let longer = Condition::PrefixLengths(longest + 1..=rule.family.bits());
        rules.push(vec![inside, longer]);
    }
    rules
}

/// The pattern that is this very community.
fn pattern(community: AnyCommunity) -> Option<CommunityPattern> {
    match community {
        AnyCommunity::Standard(one) => {
            let [high, low] = [one.0 >> 16, one.0 & 0xFFFF].map(|half| u16::try_from(half).ok());
            Some(CommunityPattern::Standard(high, low))
        }
        AnyCommunity::Large(one) => {
            Some(CommunityPattern::Large(Some(one.global), Some(one.local1), Some(one.local2)))
        }
        AnyCommunity::Extended(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use brindle_bgp::filter::{PeerType, Route, Session, evaluate};
    use brindle_bgp::msg::Attributes;
    use brindle_bgp::net::Asn;

    use super::super::filter::NORMAL_PRIORITY;
    use super::super::{api, read_filter};
    use super::*;

    const NORMAL: [u32; 2] = [NORMAL_PRIORITY; 2];

    fn filter(name: &str, spec: &str) -> Arc<BgpFilter> {
        let text = format!("metadata: {{name: {name}}}\nspec: {spec}");
        let object: api::BgpFilter = serde_yaml::from_str(&text).expect("YAML");
        Arc::new(read_filter(&object).expect("a good one").0)
    }

    /// Whether routes with these prefixes pass, of a source and a kind of peer.
    fn passes(policy: &PeerPolicy, prefix: &str, source: RouteSource, peer: PeerType) -> bool {
        let PeerPolicy::Filters(filters) = policy else { panic!("{policy:?} has no rules") };
        let attributes = Attributes::default();
        let session = Session { peer_type: peer, asn: Asn::new(64512).expect("an AS") };
        let prefix = prefix.parse().expect("a prefix");
        let (next_hop, interface) = (None, None);
        let route = Route { prefix, attributes: &attributes, next_hop, interface, source, session };
        evaluate(filters, &route).verdict == Verdict::Accept
    }

    #[test]
    fn rules_mean_what_they_mean_in_calico() {
        use PeerType::{External, Internal};
        use RouteSource::{Local, Mesh, Peer};
        let rule = |rule: &str| format!("{{importV4: [{rule}]}}");
        let block = "cidr: 10.0.0.0/8, action: Reject";
        let long = "prefixLength: {min: 16, max: 24}";
        for (spec, rejected, accepted) in [
            (
                rule(&format!("{{{block}, matchOperator: In}}")),
                &["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32"][..],
                &["11.0.0.0/8", "0.0.0.0/0", "fd00::/8"][..],
            ),
            (
                rule(&format!("{{{block}, matchOperator: Equal}}")),
                &["10.0.0.0/8"],
                &["10.1.0.0/16", "11.0.0.0/8"],
            ),
            (
                rule(&format!("{{{block}, matchOperator: NotEqual}}")),
                &["10.1.0.0/16", "11.0.0.0/8", "0.0.0.0/0"],
                &["10.0.0.0/8", "fd00::/8"],
            ),
            (
                rule(&format!("{{{block}, matchOperator: NotIn}}")),
                &["11.0.0.0/8", "0.0.0.0/0"],
                &["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"],
            ),
            (
                rule(&format!("{{{block}, matchOperator: In, {long}}}")),
                &["10.1.0.0/16", "10.1.1.0/24"],
                &["10.0.0.0/8", "10.1.1.1/32"],
            ),
            (
                rule(&format!("{{{block}, matchOperator: NotIn, {long}}}")),
                &["10.0.0.0/8", "10.1.1.1/32", "11.1.0.0/16"],
                &["10.1.0.0/16", "10.1.1.0/24", "fd00::/8"],
            ),
            ("{importV6: [{action: Reject}]}".to_owned(), &["fd00::/8", "::/0"], &["0.0.0.0/0"]),
            // Of rules the first counts, whatever comes behind.
            (
                rule("{cidr: 10.1.0.0/16, matchOperator: In, action: Accept}, {action: Reject}"),
                &["10.2.0.0/16"],
                &["10.1.0.0/16"],
            ),
            (rule("{peerType: iBGP, action: Reject}"), &[], &["10.0.0.0/8"]),
            (rule("{peerType: eBGP, action: Reject}"), &["10.0.0.0/8"], &["fd00::/8"]),
            (
                rule(
                    "{communities: {values: ['1:2']}, action: Reject}, {asPathPrefix: [1], action: Reject}",
                ),
                &[],
                &["10.0.0.0/8"],
            ),
            // What has no preference of its own is of the normal priority.
            (rule("{priority: 7, action: Reject}"), &[], &["10.0.0.0/8"]),
            (rule("{priority: 1024, action: Reject}"), &["10.0.0.0/8"], &["fd00::/8"]),
            (
                rule("{priority: 1024, cidr: 10.0.0.0/8, matchOperator: NotEqual, action: Reject}"),
                &["10.1.0.0/16", "11.0.0.0/8"],
                &["10.0.0.0/8"],
            ),
        ] {
            let one = filter("f", &spec);
            let policy = policy(&[&one], NORMAL, Direction::Import, Otherwise::Accept);
            for (prefixes, want) in [(rejected, false), (accepted, true)] {
                for prefix in prefixes {
                    assert_eq!(passes(&policy, prefix, Peer, External), want, "{spec} {prefix}");
                }
            }
        }
        // Or of that which a BGPConfiguration says.
        let normal = filter("f", &rule("{priority: 1024, action: Reject}"));
        let normal = policy(&[&normal], [7, 1024], Direction::Import, Otherwise::Accept);
        assert!(passes(&normal, "10.0.0.0/8", Peer, External));
        let remote = filter("f", "{exportV4: [{source: RemotePeers, action: Reject}]}");
        let export = policy(&[&remote], NORMAL, Direction::Export, Otherwise::Accept);
        for (source, want) in [(Peer, false), (Mesh, false), (Local, true)] {
            assert_eq!(passes(&export, "10.0.0.0/8", source, Internal), want, "{source:?}");
        }
    }

    #[test]
    fn what_no_rule_is_about_goes_to_the_next_filter_and_then_on_as_without_any() {
        use PeerType::External;
        use RouteSource::{Local, Peer};
        let spec = |cidr: &str, action: &str| {
            format!("{{exportV4: [{{cidr: {cidr}, matchOperator: In, action: {action}}}]}}")
        };
        let one = filter("one", &spec("10.1.0.0/16", "Accept"));
        let two = filter("two", &spec("10.1.0.0/16", "Reject"));
        let three = filter("three", &spec("10.2.0.0/16", "Reject"));
        let ranges: Arc<[Prefix]> = Arc::from(["10.2.0.0/15".parse().expect("a prefix")]);
        let all = [&one, &two, &three];
        let export =
            policy(&all, NORMAL, Direction::Export, Otherwise::OwnAnd(Arc::clone(&ranges)));
        for (prefix, source, want) in [
            ("10.1.7.0/24", Peer, true),
            ("10.2.7.0/24", Local, false),
            ("10.3.7.0/24", Peer, true),
            ("192.0.2.0/24", Peer, false),
            ("192.0.2.0/24", Local, true),
        ] {
            assert_eq!(passes(&export, prefix, source, External), want, "{prefix} {source:?}");
        }
        let PeerPolicy::Filters(filters) = &export else { panic!("{export:?} has no rules") };
        let places: Vec<String> = (0..filters[0].rules.len())
            .map(|rule| filters[0].place(rule))
            .map(|(list, place)| format!("{list} {place}"))
            .collect();
        let names = ["one exportV4 0", "two exportV4 0", "three exportV4 0"];
        assert_eq!(places, [&names[..], &["without filters 0", "without filters 1"]].concat());
        assert!(!filters[0].ends_in_ownership, "nobody is told what is not his");
        // They say nothing of what comes in.
        let import =
            policy(&all, NORMAL, Direction::Import, Otherwise::Inside(Arc::clone(&ranges).into()));
        assert_eq!(import, PeerPolicy::Owned(ranges.into()));
    }

    #[test]
    fn a_priority_is_told_as_a_preference() {
        let one = filter(
            "f",
            "{importV4: [{priority: 512, action: Reject}], exportV4: [{action: Accept, operations: \
             [{setPriority: {value: 512}}]}]}",
        );
        let PeerPolicy::Filters(import) =
            policy(&[&one], NORMAL, Direction::Import, Otherwise::Accept)
        else {
            panic!("it has a rule")
        };
        let rejects = |local_pref| {
            let attributes = Attributes { local_pref: Some(local_pref), ..Attributes::default() };
            let condition = &import[0].rules[0].conditions[1];
            let session =
                Session { peer_type: PeerType::Internal, asn: Asn::new(64512).expect("an AS") };
            let route = Route {
                prefix: "10.0.0.0/8".parse().expect("a prefix"),
                attributes: &attributes,
                next_hop: None,
                interface: None,
                source: RouteSource::Mesh,
                session,
            };
            condition.holds(&route, &attributes)
        };
        assert!(rejects(2_147_483_135) && !rejects(100));
        let PeerPolicy::Filters(export) =
            policy(&[&one], NORMAL, Direction::Export, Otherwise::Accept)
        else {
            panic!("it has a rule")
        };
        let change = brindle_bgp::filter::Change::LocalPref(2_147_483_135);
        assert_eq!(export[0].rules[0].changes, [change]);
    }

    #[test]
    fn operations_change_the_route_in_their_order() {
        let one = filter(
            "f",
            "{exportV4: [{action: Accept, operations: [{addCommunity: {value: '65000:100'}}, \
             {addCommunity: {value: '65000:1:2'}}, {prependASPath: {prefix: [65001, 65002]}}]}]}",
        );
        let PeerPolicy::Filters(filters) =
            policy(&[&one], NORMAL, Direction::Export, Otherwise::Accept)
        else {
            panic!("it has a rule")
        };
        let changes = &filters[0].rules[0].changes;
        let mut attributes = Attributes::default();
        for change in changes {
            change.apply(&mut attributes, Asn::new(64512).expect("an AS"));
        }
        assert_eq!(attributes.as_path.to_string(), "65001 65002");
        assert_eq!(attributes.communities[0].to_string(), "65000:100");
        assert_eq!(attributes.large_communities[0].to_string(), "65000:1:2");
    }
}
