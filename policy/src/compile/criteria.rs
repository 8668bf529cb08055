//! From the criteria of a rule to matches of the kernel.
//!
//! A kernel rule is a conjunction, so a rule becomes one for each way in which its criteria
//! can hold: of an address, by selector or by block; of protocol and port, by each protocol
//! and by each named port. All of them together hold for exactly the packets that the rule
//! matches.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::blocks;
use super::ports::Ranges;
use super::sets::{self, Source, Sources};
use crate::address::{Cidr, Family};
use crate::model::{Criterion, IpBlock, PeerTerm, PortMatch, PortName, PortTerm, Protocol, Side};
use crate::ruleset::Match;
use crate::selector::Expr;

/// The conjunctions of which one has to hold; none if the rule cannot match in this family.
pub(super) fn alternatives(
    criteria: &[Criterion],
    family: Family,
    sources: &mut Sources,
) -> Vec<Vec<Match>> {
    if !criteria.iter().all(|criterion| criterion.is_of(family)) {
        return Vec::new();
    }
    // Notes go to the sources only when it is known that the rule is there at all.
    let mut noted = Sources::new();
    let mut addresses = vec![Addresses::default()];
    let mut ports = Vec::new();
    let mut protocols = Protocols::default();
    for criterion in criteria {
        match criterion {
            Criterion::Peer { side, any_of, negated } => {
                let expr = criterion.peer_expr();
                let ways = peer(*side, any_of, expr, *negated, family, &mut noted);
                addresses = product(&addresses, &ways, Addresses::and);
            }
            Criterion::Ports { side, any_of, .. } => ports.push((*side, any_of.as_slice())),
            Criterion::Family(_) | Criterion::Icmp { .. } | Criterion::Service { .. } => {}
            Criterion::Protocol { number, negated: false } => protocols.only(*number),
            Criterion::Protocol { number, negated: true } => drop(protocols.not.insert(*number)),
        }
    }
    let transports = if ports.is_empty() {
        protocols.matches()
    } else {
        let with_ports = Protocol::ALL.into_iter().filter(|p| protocols.allow(p.number()));
        with_ports.flat_map(|p| port_matches(p, &ports, family, &mut noted)).collect()
    };
    let all =
        product(&addresses, &transports, |address, transport| Some(address.matches(transport)));
    if !all.is_empty() {
        let rules = all.iter().flatten();
        for set in rules.filter_map(sets::of_match).collect::<BTreeSet<_>>() {
            if let Some(source) = noted.remove(set) {
                sets::note(sources, source, family);
            }
        }
    }
    all
}

/// Every pair that can hold together.
fn product<A, B, C>(a: &[A], b: &[B], and: impl Fn(&A, &B) -> Option<C>) -> Vec<C> {
    a.iter().flat_map(|a| b.iter().filter_map(|b| and(a, b)).collect::<Vec<_>>()).collect()
}

/// What must hold of the two addresses.
#[derive(Clone, Default)]
struct Addresses {
    source: Option<Cidr>,
    destination: Option<Cidr>,
    sets: Vec<Match>,
}

impl Addresses {
    fn block(side: Side, cidr: Cidr) -> Self {
        match side {
            Side::Source => Self { source: Some(cidr), ..Self::default() },
            Side::Destination => Self { destination: Some(cidr), ..Self::default() },
        }
    }

    /// Both; `None` if they exclude each other.
    fn and(&self, other: &Self) -> Option<Self> {
        let mut sets = self.sets.clone();
        sets.extend(other.sets.iter().filter(|set| !self.sets.contains(set)).cloned());
        Some(Self {
            source: common(self.source, other.source)?,
            destination: common(self.destination, other.destination)?,
            sets,
        })
    }

    /// With what must hold of protocol and ports: what costs the kernel least comes first.
    fn matches(&self, transport: &[Match]) -> Vec<Match> {
        let source = self.source.map(|cidr| Match::In(Side::Source, cidr));
        let destination = self.destination.map(|cidr| Match::In(Side::Destination, cidr));
        let (lookups, plain): (Vec<_>, Vec<_>) =
            transport.iter().cloned().partition(|m| matches!(m, Match::PortIn { .. }));
        let blocks = source.into_iter().chain(destination);
        blocks.chain(plain).chain(self.sets.iter().cloned()).chain(lookups).collect()
    }
}

/// The addresses in both blocks, where no block is everything; `None` if there are none.
fn common(a: Option<Cidr>, b: Option<Cidr>) -> Option<Option<Cidr>> {
    match (a, b) {
        (Some(a), Some(b)) if a.covers(b) => Some(Some(b)),
        (Some(a), Some(b)) if b.covers(a) => Some(Some(a)),
        (Some(_), Some(_)) => None,
        (a, b) => Some(a.or(b)),
    }
}

/// The ways in which one end's address can be among `any_of`, or among none of them.
fn peer(
    side: Side,
    any_of: &[PeerTerm],
    expr: Option<Arc<Expr>>,
    negated: bool,
    family: Family,
    sources: &mut Sources,
) -> Vec<Addresses> {
    let blocks = any_of.iter().filter_map(|term| match term {
        PeerTerm::Endpoints(_) | PeerTerm::Selected(_) => None,
        PeerTerm::Block(block) => Some(block),
    });
    let listed: Vec<&IpBlock> = blocks.filter(|block| block.cidr.family() == family).collect();
    let prefixes = blocks::union(listed);
    let is_everything = prefixes.first().is_some_and(|first| first.length() == 0);
    let mut in_set = |source: Source| {
        let set = sets::note(sources, source, family);
        Addresses { sets: vec![Match::InSet { side, set, negated }], ..Addresses::default() }
    };
    let selected = expr.filter(|expr| **expr != Expr::Nothing).map(Source::Peers);
    if negated {
        if is_everything {
            return Vec::new();
        }
        let blocks = (!prefixes.is_empty()).then_some(Source::Blocks(prefixes));
        let none_of = selected.into_iter().chain(blocks).map(in_set);
        let none_of = none_of.reduce(|a, b| a.and(&b).expect("sets exclude no block"));
        return vec![none_of.unwrap_or_default()];
    }
    if is_everything {
        return vec![Addresses::default()];
    }
    let selected = selected.map(&mut in_set);
    let listed = match (prefixes.first(), prefixes.len()) {
        (None, _) => None,
        (Some(only), 1) => Some(Addresses::block(side, *only)),
        (Some(_), _) => Some(in_set(Source::Blocks(prefixes))),
    };
    selected.into_iter().chain(listed).collect()
}

/// What criteria say of the protocol alone.
#[derive(Default)]
struct Protocols {
    /// The only one; a second, different one leaves none.
    only: Option<Option<u8>>,
    /// None of these.
    not: BTreeSet<u8>,
}

impl Protocols {
    fn only(&mut self, number: u8) {
        self.only = Some(match self.only {
            None => Some(number),
            Some(before) => before.filter(|before| *before == number),
        });
    }

    fn allow(&self, number: u8) -> bool {
        self.only.is_none_or(|only| only == Some(number)) && !self.not.contains(&number)
    }

    /// The ways in which they hold. Zero means any protocol to iptables, and no packet has it.
    fn matches(&self) -> Vec<Vec<Match>> {
        let is = |number| vec![Match::Protocol { number, negated: false }];
        match self.only {
            Some(Some(number)) if number > 0 && self.allow(number) => return vec![is(number)],
            Some(_) => return Vec::new(),
            None => {}
        }
        let not: Vec<u8> = self.not.iter().copied().filter(|number| *number > 0).collect();
        match not[..] {
            [] => vec![Vec::new()],
            [number] => vec![vec![Match::Protocol { number, negated: true }]],
            // A rule takes one protocol only.
            _ => (1..=u8::MAX).filter(|number| self.allow(*number)).map(is).collect(),
        }
    }
}

/// What must hold of the two ports, for one protocol.
#[derive(Clone)]
struct Ports {
    source: Ranges,
    destination: Ranges,
    named: Vec<Match>,
}

impl Ports {
    fn all() -> Self {
        Self { source: Ranges::all(), destination: Ranges::all(), named: Vec::new() }
    }

    fn numbers(side: Side, ranges: Ranges) -> Self {
        match side {
            Side::Source => Self { source: ranges, ..Self::all() },
            Side::Destination => Self { destination: ranges, ..Self::all() },
        }
    }

    /// Both; `None` if they exclude each other.
    fn and(&self, other: &Self) -> Option<Self> {
        let mut named = self.named.clone();
        named.extend(other.named.iter().filter(|name| !self.named.contains(name)).cloned());
        let both = Self {
            source: self.source.intersection(&other.source),
            destination: self.destination.intersection(&other.destination),
            named,
        };
        (!both.source.is_empty() && !both.destination.is_empty()).then_some(both)
    }

    fn matches(&self, protocol: Protocol) -> Vec<Vec<Match>> {
        product(&self.source.pieces(), &self.destination.pieces(), |source, destination| {
            let sides = [(Side::Source, source), (Side::Destination, destination)];
            let numbered: Vec<Match> = sides
                .into_iter()
                .filter(|(_, ranges)| !ranges.is_empty())
                .map(|(side, ranges)| Match::Ports(side, protocol, ranges.clone()))
                .collect();
            let number = protocol.number();
            let bare = numbered.is_empty().then_some(Match::Protocol { number, negated: false });
            Some(bare.into_iter().chain(numbered).chain(self.named.iter().cloned()).collect())
        })
    }
}

/// The ways in which all criteria about ports hold for one protocol.
fn port_matches(
    protocol: Protocol,
    criteria: &[(Side, &[PortTerm])],
    family: Family,
    sources: &mut Sources,
) -> Vec<Vec<Match>> {
    let mut ways = vec![Ports::all()];
    for (side, any_of) in criteria {
        let mine = any_of.iter().filter(|term| term.protocol == protocol);
        let (mut ranges, mut names) = (Vec::new(), BTreeSet::new());
        for term in mine {
            match &term.port {
                PortMatch::Any => ranges.push((0, u16::MAX)),
                PortMatch::Range(first, last) => ranges.push((*first, *last)),
                PortMatch::Named(name, holders) => drop(names.insert((name.clone(), *holders))),
            }
        }
        let ranges = Ranges::union(ranges);
        if ranges.is_all() {
            names.clear();
        }
        let numbered = (!ranges.is_empty()).then(|| Ports::numbers(*side, ranges));
        let named = names.into_iter().map(|(name, holders)| {
            let source = Source::Port(PortName { name, protocol, holders });
            let set = sets::note(sources, source, family);
            Ports {
                named: vec![Match::PortIn { side: *side, set, negated: false }],
                ..Ports::all()
            }
        });
        let these: Vec<Ports> = numbered.into_iter().chain(named).collect();
        ways = product(&ways, &these, Ports::and);
    }
    ways.iter().flat_map(|way| way.matches(protocol)).collect()
}

#[cfg(test)]
mod tests;
