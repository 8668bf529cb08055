//! From the criteria of a rule to matches of the kernel.
//!
//! A kernel rule is a conjunction, so a rule becomes one for each way in which its criteria
//! can hold: of an address, by each selector or by block; of protocol and port, by each
//! protocol and by each named port. All of them together hold for exactly the packets that the rule
//! matches.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::blocks;
use super::ports::Ranges;
use super::sets::{self, Source, Sources};
use crate::address::{Cidr, Family};
use crate::model::{
    Criterion, IpBlock, PeerTerm, PortMatch, PortName, PortTerm, Protocol, ServiceName, Side,
};
use crate::ruleset::Match;
use crate::selector::Expr;

/// The number of ICMP.
const ICMP: u8 = 1;
/// The number of ICMPv6.
const ICMP6: u8 = 58;

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
    let mut transport = Transport::new(family);
    for criterion in criteria {
        match criterion {
            Criterion::Peer { side, any_of, negated } => {
                let expr = criterion.peer_expr();
                let ways = peer(*side, any_of, expr, *negated, family, &mut noted);
                addresses = product(&addresses, &ways, Addresses::and);
            }
            Criterion::Service { side, service, with_ports } => {
                let way = of_service(*side, service, *with_ports, family, &mut noted);
                addresses = product(&addresses, &[way], Addresses::and);
            }
            Criterion::Ports { side, any_of, negated } => {
                transport.ports.push(PortTerms { side: *side, any_of, negated: *negated });
            }
            Criterion::Icmp { kind, code, negated } => {
                transport.icmp.push(Match::Icmp {
                    family,
                    kind: *kind,
                    code: *code,
                    negated: *negated,
                });
            }
            Criterion::Protocol { number, negated: false } => transport.protocols.only(*number),
            Criterion::Protocol { number, negated: true } => transport.protocols.never(*number),
            // Asked of all criteria above.
            Criterion::Family(_) => {}
        }
    }
    let transports = transport.matches(&mut noted);
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
    let expressions = any_of.iter().filter_map(|term| match term {
        PeerTerm::Selected(expr) => Some(expr),
        PeerTerm::Endpoints(_) | PeerTerm::Block(_) => None,
    });
    let stands_for_some = |expr: &Arc<Expr>| **expr != Expr::Nothing;
    let pods = expr.filter(stands_for_some).map(Source::Peers);
    let selected: BTreeSet<&Arc<Expr>> = expressions.filter(|e| stands_for_some(e)).collect();
    let selected = pods.into_iter().chain(selected.into_iter().cloned().map(Source::Selected));
    if negated {
        if is_everything {
            return Vec::new();
        }
        let blocks = (!prefixes.is_empty()).then_some(Source::Blocks(prefixes));
        let none_of = selected.chain(blocks).map(in_set);
        let none_of = none_of.reduce(|a, b| a.and(&b).expect("sets exclude no block"));
        return vec![none_of.unwrap_or_default()];
    }
    if is_everything {
        return vec![Addresses::default()];
    }
    let selected: Vec<Addresses> = selected.map(&mut in_set).collect();
    let listed = match (prefixes.first(), prefixes.len()) {
        (None, _) => None,
        (Some(only), 1) => Some(Addresses::block(side, *only)),
        (Some(_), _) => Some(in_set(Source::Blocks(prefixes))),
    };
    selected.into_iter().chain(listed).collect()
}

/// One end is an endpoint of a Service.
fn of_service(
    side: Side,
    service: &ServiceName,
    with_ports: bool,
    family: Family,
    sources: &mut Sources,
) -> Addresses {
    let source = match with_ports {
        true => Source::ServicePorts(service.clone()),
        false => Source::ServiceAddresses(service.clone()),
    };
    let set = sets::note(sources, source, family);
    let condition = match with_ports {
        true => Match::PortIn { side, set, negated: false },
        false => Match::InSet { side, set, negated: false },
    };
    Addresses { sets: vec![condition], ..Addresses::default() }
}

/// What must hold of protocol, ports, and type of message.
struct Transport<'c> {
    family: Family,
    protocols: Protocols,
    ports: Vec<PortTerms<'c>>,
    /// [`Match::Icmp`] each.
    icmp: Vec<Match>,
}

/// One criterion about ports.
#[derive(Clone, Copy)]
struct PortTerms<'c> {
    side: Side,
    any_of: &'c [PortTerm],
    negated: bool,
}

impl Transport<'_> {
    fn new(family: Family) -> Self {
        let (ports, icmp) = (Vec::new(), Vec::new());
        Self { family, protocols: Protocols::default(), ports, icmp }
    }

    /// The ways in which all of it holds. Each is of one protocol if it asks for more than
    /// that; what it asks for not to be holds for every other protocol.
    fn matches(mut self, sources: &mut Sources) -> Vec<Vec<Match>> {
        let is_icmp = |one: &Match| matches!(one, Match::Icmp { negated: false, .. });
        let needs_ports = self.ports.iter().any(|terms| !terms.negated);
        let needs_icmp = self.icmp.iter().any(is_icmp);
        let mut ways = Vec::new();
        for protocol in Protocol::ALL {
            let number = protocol.number();
            let is_free = !needs_ports && !self.has_numbers(protocol);
            if is_free || !self.protocols.allow(number) {
                continue;
            }
            if !needs_icmp {
                ways.extend(port_matches(protocol, &self.ports, self.family, sources));
            }
            self.protocols.never(number);
        }
        let icmp = match self.family {
            Family::V4 => ICMP,
            Family::V6 => ICMP6,
        };
        if !self.icmp.is_empty() && self.protocols.allow(icmp) {
            ways.extend((!needs_ports).then(|| self.icmp.clone()));
            self.protocols.never(icmp);
        }
        if !needs_ports && !needs_icmp {
            ways.extend(self.others(sources));
        }
        ways
    }

    /// Whether numbers of ports of a protocol are excluded. (Names are in sets, which hold
    /// nothing of other protocols.)
    fn has_numbers(&self, protocol: Protocol) -> bool {
        let is_number = |term: &PortTerm| match term.port {
            PortMatch::Any | PortMatch::Range(..) => term.protocol == protocol,
            PortMatch::Named(..) => false,
        };
        self.ports.iter().any(|terms| terms.any_of.iter().any(is_number))
    }

    /// The ways of all protocols that are left, of which no ports are asked for and only
    /// names may be excluded.
    fn others(&self, sources: &mut Sources) -> Vec<Vec<Match>> {
        let mut names = BTreeSet::new();
        for PortTerms { side, any_of, .. } in &self.ports {
            names.extend(any_of.iter().filter_map(|term| match &term.port {
                PortMatch::Named(name, holders) => {
                    Some((*side, name.clone(), term.protocol, *holders))
                }
                PortMatch::Any | PortMatch::Range(..) => None,
            }));
        }
        let names = names.into_iter().filter(|(.., protocol, _)| {
            let number = protocol.number();
            self.protocols.allow(number)
        });
        let named: Vec<(u8, Match)> = names
            .map(|(side, name, protocol, holders)| {
                let source = Source::Port(PortName { name, protocol, holders });
                let set = sets::note(sources, source, self.family);
                (protocol.number(), Match::PortIn { side, set, negated: true })
            })
            .collect();
        let with_names = |way: Vec<Match>| {
            let only = way.iter().find_map(|one| match one {
                Match::Protocol { number, negated: false } => Some(*number),
                _ => None,
            });
            let of_way = named.iter().filter(|(number, _)| only.is_none_or(|only| only == *number));
            let excluded: Vec<Match> = of_way.map(|(_, excluded)| excluded.clone()).collect();
            way.into_iter().chain(excluded).collect()
        };
        self.protocols.matches().into_iter().map(with_names).collect()
    }
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

    fn never(&mut self, number: u8) {
        self.not.insert(number);
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
    criteria: &[PortTerms<'_>],
    family: Family,
    sources: &mut Sources,
) -> Vec<Vec<Match>> {
    let mut ways = vec![Ports::all()];
    for PortTerms { side, any_of, negated } in criteria {
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
        let named = names.into_iter().map(|(name, holders)| {
            let source = Source::Port(PortName { name, protocol, holders });
            let set = sets::note(sources, source, family);
            Match::PortIn { side: *side, set, negated: *negated }
        });
        let these: Vec<Ports> = if *negated {
            let rest = ranges.complement();
            let named = named.collect();
            let none_of = Ports { named, ..Ports::numbers(*side, rest.clone()) };
            (!rest.is_empty()).then_some(none_of).into_iter().collect()
        } else {
            let numbered = (!ranges.is_empty()).then(|| Ports::numbers(*side, ranges));
            let named = named.map(|named| Ports { named: vec![named], ..Ports::all() });
            numbered.into_iter().chain(named).collect()
        };
        ways = product(&ways, &these, Ports::and);
    }
    ways.iter().flat_map(|way| way.matches(protocol)).collect()
}

#[cfg(test)]
mod tests;
