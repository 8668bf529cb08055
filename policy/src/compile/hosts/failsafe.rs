//! Ports of hosts that stay open (policy-semantics 5.3).

use std::collections::{BTreeMap, BTreeSet};

use super::super::fixed::rule;
use super::super::ports::Ranges;
use crate::address::Family;
use crate::model::{Direction, Failsafe, Failsafes, Side};
use crate::ruleset::{Match, Rule, Target};

/// Does `target` with the first packets of connections that stay open, those of one direction
/// as the host sees it.
pub(super) fn first(
    failsafes: &Failsafes,
    direction: Direction,
    family: Family,
    target: &Target,
) -> Vec<Rule> {
    let open = match direction {
        Direction::Ingress => &failsafes.inbound,
        Direction::Egress => &failsafes.outbound,
    };
    rules(open, direction, Side::Destination, family, target)
}

/// Likewise with the replies of those that began the other way, where connection tracking
/// cannot tell.
pub(super) fn replies(
    failsafes: &Failsafes,
    direction: Direction,
    family: Family,
    target: &Target,
) -> Vec<Rule> {
    let open = match direction {
        Direction::Ingress => &failsafes.outbound,
        Direction::Egress => &failsafes.inbound,
    };
    rules(open, direction, Side::Source, family, target)
}

fn rules(
    open: &BTreeSet<Failsafe>,
    direction: Direction,
    side: Side,
    family: Family,
    target: &Target,
) -> Vec<Rule> {
    let peer = match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    };
    let mut groups: BTreeMap<_, Vec<(u16, u16)>> = BTreeMap::new();
    for one in open.iter().filter(|one| one.net.is_none_or(|net| net.family() == family)) {
        let net = one.net.filter(|net| net.length() > 0);
        groups.entry((net, one.protocol)).or_default().push((one.port, one.port));
    }
    let mut rules = Vec::new();
    for ((net, protocol), ports) in groups {
        for piece in Ranges::union(ports).pieces() {
            let number = protocol.number();
            let ports = match piece.is_empty() {
                true => Match::Protocol { number, negated: false },
                false => Match::Ports(side, protocol, piece),
            };
            let net = net.map(|net| Match::In(peer, net));
            rules.push(rule(net.into_iter().chain([ports]).collect(), target.clone()));
        }
    }
    rules
}
