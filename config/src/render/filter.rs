//! `bgp.filters:` from what is meant to the section that says it.

use std::fmt::Display;
use std::sync::Arc;

use brindle_bgp::filter::{
    Change, Condition, Filter, FilterAction, FilterRule, Has, MatchOperator, NextHopChange,
    PeerType, RouteSource, Verdict,
};
use brindle_bgp::net::{Asn, Family};

use super::bgp::as_number;
use super::cidr;
use crate::schema::{
    Action, AsNumber, AsPathSection, CommunitiesSection, FamilyWord, FilterSection, HopWord, Hops,
    Lengths, Operator, Otherwise, PeerTypeWord, PrependSection, RuleSection, SetSection,
    SourceWord,
};

/// The section that says it.
pub(super) fn filter(filter: &Arc<Filter>) -> FilterSection {
    FilterSection {
        name: filter.name.to_string(),
        rules: filter.rules.iter().map(rule).collect(),
        otherwise: match filter.otherwise {
            Verdict::Accept => Otherwise::Accept,
            Verdict::Reject => Otherwise::Reject,
        },
    }
}

fn rule(rule: &FilterRule) -> RuleSection {
    let action = match rule.action {
        FilterAction::Accept => Action::Accept,
        FilterAction::Reject => Action::Reject,
        FilterAction::Continue => Action::Continue,
    };
    let mut out = RuleSection { action: Some(action), ..RuleSection::default() };
    for one in &rule.conditions {
        condition(&mut out, one);
    }
    if !rule.changes.is_empty() {
        let mut set = SetSection::default();
        for one in &rule.changes {
            change(&mut set, one);
        }
        out.set = Some(set);
    }
    out
}

fn condition(out: &mut RuleSection, condition: &Condition) {
    match condition {
        Condition::Cidr(operator, prefix) => {
            out.cidr = Some(cidr(prefix));
            out.match_operator = match operator {
                MatchOperator::In => None,
                MatchOperator::NotIn => Some(Operator::NotIn),
                MatchOperator::Equal => Some(Operator::Equal),
                MatchOperator::NotEqual => Some(Operator::NotEqual),
            };
        }
        Condition::PrefixLengths(lengths) if lengths.start() == lengths.end() => {
            out.prefix_lengths = Some(Lengths::One(*lengths.start()));
        }
        Condition::PrefixLengths(lengths) => {
            let range = format!("{}-{}", lengths.start(), lengths.end());
            out.prefix_lengths = Some(Lengths::Range(range));
        }
        Condition::Family(Family::Ipv4Unicast) => out.family = Some(FamilyWord::Ipv4),
        Condition::Family(Family::Ipv6Unicast) => out.family = Some(FamilyWord::Ipv6),
        Condition::NextHop(cidrs) => out.next_hops = cidrs.iter().map(cidr).collect(),
        Condition::Interface(pattern) => out.interface = Some(pattern.to_string()),
        // Priorities of Calico's rules, which no configuration has.
        Condition::LocalPref(_) => {}
        Condition::Source(sources) => {
            let word = |source: &RouteSource| match source {
                RouteSource::Local => SourceWord::Local,
                RouteSource::Service => SourceWord::Service,
                RouteSource::Mesh => SourceWord::Mesh,
                RouteSource::Peer => SourceWord::Peer,
            };
            out.sources = sources.iter().map(word).collect();
        }
        Condition::PeerType(PeerType::External) => out.peer_type = Some(PeerTypeWord::External),
        Condition::PeerType(PeerType::Internal) => out.peer_type = Some(PeerTypeWord::Internal),
        Condition::AsPathContains(asns) => path(out).contains = numbers(asns),
        Condition::AsPathFirst(asns) => path(out).first = numbers(asns),
        Condition::AsPathLast(asns) => path(out).last = numbers(asns),
        Condition::AsPathPrefix(asns) => path(out).prefix = numbers(asns),
        Condition::AsPathLength(range) if range.start() == range.end() => {
            path(out).length = Some(Hops::One(*range.start()));
        }
        Condition::AsPathLength(range) => {
            path(out).length = Some(Hops::Range(format!("{}-{}", range.start(), range.end())));
        }
        Condition::AsPathRegex(regex) => path(out).regex = Some(regex.to_string()),
        Condition::Communities(has, patterns) => {
            let section = out.communities.get_or_insert_with(CommunitiesSection::default);
            match has {
                Has::Any => section.any = texts(patterns),
                Has::All => section.all = texts(patterns),
            }
        }
    }
}

fn change(out: &mut SetSection, change: &Change) {
    match change {
        Change::LocalPref(value) => out.local_pref = Some(*value),
        Change::Med(value) => out.med = Some(*value),
        Change::AddMed(by) => out.add_med = Some(*by),
        Change::RemoveMed => out.remove_med = Some(true),
        Change::SetCommunities(communities) => out.communities = Some(texts(communities)),
        Change::RemoveCommunities(patterns) => out.remove_communities = texts(patterns),
        Change::AddCommunities(communities) => out.add_communities = texts(communities),
        Change::Prepend(asn, times) => {
            out.prepend = Some(PrependSection { as_number: asn.map(as_number), times: *times });
        }
        Change::NextHop(NextHopChange::SelfAddress) => out.next_hop = Some(HopWord::SelfAddress),
        Change::NextHop(NextHopChange::Keep) => out.next_hop = Some(HopWord::Keep),
    }
}

fn path(out: &mut RuleSection) -> &mut AsPathSection {
    out.as_path.get_or_insert_with(AsPathSection::default)
}

fn numbers(asns: &[Asn]) -> Vec<AsNumber> {
    asns.iter().copied().map(as_number).collect()
}

fn texts<T: Display>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
