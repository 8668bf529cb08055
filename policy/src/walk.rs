//! A packet's way through chains, rule by rule, as the kernel goes it. Knows nothing of
//! policies, so that what it finds can be held against the verdict.

use std::net::IpAddr;

use crate::address::Cidr;
use crate::model::{Protocol, Side};
use crate::names::{ChainName, Device, Interface, SetName};
use crate::ruleset::{Match, Members, Rule, Ruleset, Table, Target};

/// The most rules that are looked at: far more than any packet meets, so that chains which
/// somebody else has tied into a knot end too.
const PATIENCE: usize = 100_000;

/// Chains and sets, wanted or in the kernel.
pub trait Held {
    /// How many rules a chain has; `None` if there is no such chain.
    fn length(&self, table: Table, chain: &ChainName) -> Option<usize>;
    /// The rule at a place of a chain, from zero; `None` if it is not one that we write.
    fn rule(&self, table: Table, chain: &ChainName, index: usize) -> Option<&Rule>;
    /// The members of a set; `None` if there is no such set.
    fn members(&self, set: &SetName) -> Option<&Members>;
}

impl Held for Ruleset {
    fn length(&self, table: Table, chain: &ChainName) -> Option<usize> {
        let chain = self.chains.get(&(table, chain.clone()))?;
        Some(chain.rules.len())
    }

    fn rule(&self, table: Table, chain: &ChainName, index: usize) -> Option<&Rule> {
        self.chains.get(&(table, chain.clone()))?.rules.get(index)
    }

    fn members(&self, set: &SetName) -> Option<&Members> {
        Some(&self.sets.get(set)?.members)
    }
}

impl Held for crate::readback::Installed {
    fn length(&self, table: Table, chain: &ChainName) -> Option<usize> {
        Some(self.chains.get(&(table, chain.clone()))?.len())
    }

    fn rule(&self, table: Table, chain: &ChainName, index: usize) -> Option<&Rule> {
        self.chains.get(&(table, chain.clone()))?.get(index)?.rule.as_ref()
    }

    fn members(&self, set: &SetName) -> Option<&Members> {
        self.sets.get(set)?.members.as_ref()
    }
}

/// A packet as a table meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes: in the filter table, after destination translation.
    pub destination: IpAddr,
    /// The number of its protocol.
    pub protocol: u8,
    /// The source port, of protocols that have ports.
    pub source_port: Option<u16>,
    /// The destination port, likewise.
    pub destination_port: Option<u16>,
    /// Type and code of the message, of ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// What connection tracking says.
    pub state: State,
    /// Whether it came in through the loopback interface.
    pub is_from_loopback: bool,
    /// The pod's interface that it came in through, if that is one of our network plug-in's.
    pub interface: Option<Interface>,
    /// The interface of the host that it came in through, if that is none of the above.
    pub arrives: Option<Device>,
    /// The interface of the host that it leaves through.
    pub leaves: Option<Device>,
    /// Whether it leaves through the loopback interface.
    pub is_to_loopback: bool,
    /// Whether it carries our mark.
    pub is_marked: bool,
    /// Whether its source is an address of this host.
    pub is_from_this_host: bool,
    /// Whether its destination is an address of this host.
    pub is_for_this_host: bool,
}

/// What connection tracking says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The first of its connection.
    New,
    /// Of a connection that was seen both ways, or an error about one.
    Established,
    /// It cannot be placed.
    Invalid,
    /// Connection tracking was told to look away.
    Untracked,
}

/// Where a packet went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// How it ended.
    pub end: End,
    /// The rules that matched, in the order in which it met them; the last one decided, if
    /// one did.
    pub trail: Vec<Step>,
    /// The packet as the rules left it: marked or not, tracked or not.
    pub packet: Packet,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The chain.
    pub chain: ChainName,
    /// The place of the rule in it, from zero.
    pub index: usize,
}

/// How a walk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A rule accepted it.
    Accept,
    /// A rule dropped it.
    Drop,
    /// No rule decided: the rest of the chain of the kernel that jumped here does.
    Returned,
    /// It came to something that is missing or that we did not write.
    Lost(Lost),
}

/// Why a walk could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// There is no such chain.
    NoChain(ChainName),
    /// There is no such set.
    NoSet(SetName),
    /// The rule at this place, from zero, is not one that we write.
    Foreign(ChainName, usize),
    /// It met too many rules: the chains form a ring.
    Ring,
}

/// Walks `packet` from the start of `chain` of the filter table.
pub fn walk(held: &impl Held, chain: &ChainName, packet: &Packet) -> Walk {
    walk_in(held, Table::Filter, chain, packet)
}

/// Walks `packet` from the start of `chain` of a table.
pub fn walk_in(held: &impl Held, table: Table, chain: &ChainName, packet: &Packet) -> Walk {
    let (mut trail, mut packet) = (Vec::new(), *packet);
    let end = go(held, table, chain, &mut packet, &mut trail).unwrap_or_else(End::Lost);
    Walk { end, trail, packet }
}

fn go(
    held: &impl Held,
    table: Table,
    start: &ChainName,
    packet: &mut Packet,
    trail: &mut Vec<Step>,
) -> Result<End, Lost> {
    // Where it is, and where the jumps that brought it here come back to. A goto leaves
    // nothing to come back to.
    let (mut chain, mut index) = (start.clone(), 0);
    let mut back = Vec::new();
    for _ in 0..PATIENCE {
        let length = held.length(table, &chain).ok_or_else(|| Lost::NoChain(chain.clone()))?;
        if index >= length {
            match back.pop() {
                Some(place) => (chain, index) = place,
                None => return Ok(End::Returned),
            }
            continue;
        }
        let rule = held.rule(table, &chain, index);
        let rule = rule.ok_or_else(|| Lost::Foreign(chain.clone(), index))?;
        if !matches(held, rule, packet)? {
            index += 1;
            continue;
        }
        trail.push(Step { chain: chain.clone(), index });
        match &rule.target {
            Target::Accept => return Ok(End::Accept),
            Target::Drop => return Ok(End::Drop),
            Target::Return => index = usize::MAX,
            Target::Jump(to) => {
                back.push((std::mem::replace(&mut chain, to.clone()), index + 1));
                index = 0;
            }
            Target::Goto(to) => (chain, index) = (to.clone(), 0),
            Target::Log { .. } | Target::Masquerade => index += 1,
            Target::NoTrack => (packet.state, index) = (State::Untracked, index + 1),
            Target::Mark => (packet.is_marked, index) = (true, index + 1),
            Target::Unmark => (packet.is_marked, index) = (false, index + 1),
        }
    }
    Err(Lost::Ring)
}

fn matches(held: &impl Held, rule: &Rule, packet: &Packet) -> Result<bool, Lost> {
    for condition in &rule.matches {
        if !holds(held, condition, packet)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(held: &impl Held, condition: &Match, packet: &Packet) -> Result<bool, Lost> {
    let members = |set: &SetName| held.members(set).ok_or_else(|| Lost::NoSet(set.clone()));
    Ok(match condition {
        Match::FromLoopback => packet.is_from_loopback,
        Match::FromPod => packet.interface.is_some(),
        Match::NotAttached(set) => match (members(set)?, packet.interface) {
            (Members::Attached(pairs), Some(interface)) => {
                !pairs.contains(&(packet.source, interface))
            }
            (_, _) => true,
        },
        Match::In(side, cidr) => cidr.contains(packet.address(*side)),
        Match::InSet { side, set, negated } => {
            is_member(members(set)?, packet.address(*side)) != *negated
        }
        Match::PortIn { side, set, negated } => match (members(set)?, packet.ports_of(*side)) {
            (Members::Ports(ports), Some((protocol, port))) => {
                ports.contains(&(packet.address(*side), protocol, port)) != *negated
            }
            (
                Members::Addresses(_)
                | Members::Blocks(_)
                | Members::Ports(_)
                | Members::Attached(_),
                _,
            ) => *negated,
        },
        Match::Protocol { number, negated } => (packet.protocol == *number) != *negated,
        Match::Ports(side, protocol, ranges) => {
            packet.ports_of(*side).is_some_and(|(has, port)| {
                has == *protocol && ranges.iter().any(|(low, high)| (*low..=*high).contains(&port))
            })
        }
        Match::Icmp { kind, code, negated, .. } => {
            packet.icmp.is_some_and(|(has_kind, has_code)| {
                (has_kind == *kind && code.is_none_or(|code| code == has_code)) != *negated
            })
        }
        Match::Established => packet.state == State::Established,
        Match::Invalid => packet.state == State::Invalid,
        Match::Untracked => packet.state == State::Untracked,
        Match::Marked => packet.is_marked,
        Match::Arrives(device) => packet.arrives == Some(*device),
        Match::Leaves(device) => packet.leaves == Some(*device),
        Match::ToLoopback => packet.is_to_loopback,
        Match::SourceIsLocal => packet.is_from_this_host,
        Match::DestinationIsLocal => packet.is_for_this_host,
        // One packet is never too many.
        Match::Limit { .. } => true,
    })
}

fn is_member(members: &Members, address: IpAddr) -> bool {
    match members {
        Members::Addresses(addresses) => addresses.contains(&address),
        Members::Blocks(blocks) => {
            blocks.contains(&Cidr::host(address))
                || blocks.iter().any(|block| block.contains(address))
        }
        Members::Ports(_) | Members::Attached(_) => false,
    }
}

impl Packet {
    fn address(&self, side: Side) -> IpAddr {
        match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        }
    }

    fn ports_of(&self, side: Side) -> Option<(Protocol, u16)> {
        let port = match side {
            Side::Source => self.source_port,
            Side::Destination => self.destination_port,
        };
        Some((Protocol::of_number(self.protocol)?, port?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::address::Family;
    use crate::ruleset::{Chain, Purpose, Set};

    fn named(name: &str) -> ChainName {
        ChainName::other("T", &[name])
    }

    fn rule(matches: Vec<Match>, target: Target) -> Rule {
        Rule { matches, target, comment: None }
    }

    fn ruleset(chains: Vec<(&str, Vec<Rule>)>) -> Ruleset {
        let mut ruleset = Ruleset::new(Family::V4);
        for (name, rules) in chains {
            let chain = Arc::new(Chain { purpose: Purpose::Fixed, rules });
            ruleset.chains.insert((Table::Filter, named(name)), chain);
        }
        ruleset
    }

    fn packet() -> Packet {
        Packet {
            source: "10.1.0.1".parse().unwrap(),
            destination: "10.1.0.2".parse().unwrap(),
            protocol: 6,
            source_port: Some(40_000),
            destination_port: Some(80),
            icmp: None,
            arrives: None,
            leaves: None,
            is_to_loopback: false,
            is_marked: false,
            state: State::New,
            is_from_loopback: false,
            interface: None,
            is_from_this_host: false,
            is_for_this_host: false,
        }
    }

    #[test]
    fn jumps_come_back_and_gotos_come_back_to_the_jump_before() {
        let to = |name| Target::Jump(named(name));
        let held = ruleset(vec![
            ("top", vec![rule(vec![], to("a")), rule(vec![], Target::Drop)]),
            ("a", vec![rule(vec![], Target::Goto(named("b"))), rule(vec![], Target::Accept)]),
            ("b", vec![rule(vec![Match::Invalid], Target::Accept), rule(vec![], Target::Return)]),
        ]);
        let walked = walk(&held, &named("top"), &packet());
        let trail: Vec<_> = walked.trail.iter().map(|s| (s.chain.clone(), s.index)).collect();
        assert_eq!(walked.end, End::Drop, "the goto skips the accept in a");
        let want = [("top", 0), ("a", 0), ("b", 1), ("top", 1)];
        assert_eq!(trail, want.map(|(name, index)| (named(name), index)));
        assert_eq!(walk(&held, &named("b"), &packet()).end, End::Returned);
    }

    #[test]
    fn each_match_holds_for_what_it_says() {
        let mut held = ruleset(vec![]);
        let set = |kind, members| (SetName::of(kind, Family::V4, &[]), members);
        let addresses = Members::Addresses(BTreeSet::from(["10.1.0.2".parse().unwrap()]));
        let blocks = Members::Blocks(BTreeSet::from(["10.1.0.0/31".parse().unwrap()]));
        let ports = BTreeSet::from([("10.1.0.2".parse().unwrap(), Protocol::Tcp, 80)]);
        let pairs = |interface: &str| {
            let pair = ("10.1.0.1".parse().unwrap(), interface.parse().unwrap());
            Members::Attached(BTreeSet::from([pair]))
        };
        for (name, members) in [
            set('a', addresses),
            set('b', blocks),
            set('p', Members::Ports(ports)),
            set('i', pairs("brn1")),
            set('j', pairs("brn2")),
        ] {
            held.sets.insert(name, Set { about: "".into(), members });
        }
        let in_set = |side, kind, negated| Match::InSet {
            side,
            set: SetName::of(kind, Family::V4, &[]),
            negated,
        };
        let not_attached = |kind| Match::NotAttached(SetName::of(kind, Family::V4, &[]));
        let ports = |low, high| Match::Ports(Side::Destination, Protocol::Tcp, vec![(low, high)]);
        for (condition, want) in [
            (Match::In(Side::Source, "10.1.0.0/31".parse().unwrap()), true),
            (Match::In(Side::Destination, "10.1.0.0/31".parse().unwrap()), false),
            (in_set(Side::Destination, 'a', false), true),
            (in_set(Side::Source, 'a', false), false),
            (in_set(Side::Source, 'a', true), true),
            (in_set(Side::Source, 'b', false), true),
            (in_set(Side::Destination, 'b', false), false),
            (
                Match::PortIn {
                    side: Side::Destination,
                    set: SetName::of('p', Family::V4, &[]),
                    negated: false,
                },
                true,
            ),
            (
                Match::PortIn {
                    side: Side::Source,
                    set: SetName::of('p', Family::V4, &[]),
                    negated: false,
                },
                false,
            ),
            (Match::Protocol { number: 6, negated: false }, true),
            (Match::Protocol { number: 6, negated: true }, false),
            (ports(80, 80), true),
            (ports(81, 90), false),
            (Match::Ports(Side::Source, Protocol::Tcp, vec![(1, 2), (40_000, 40_000)]), true),
            (Match::Ports(Side::Destination, Protocol::Udp, vec![(80, 80)]), false),
            (Match::Established, false),
            (Match::Invalid, false),
            (Match::SourceIsLocal, false),
            (Match::DestinationIsLocal, false),
            (Match::FromLoopback, false),
            (Match::FromPod, true),
            (not_attached('i'), false),
            (not_attached('j'), true),
            (not_attached('a'), true),
            (Match::Icmp { family: Family::V6, kind: 128, code: None, negated: false }, false),
            (Match::Limit { per_second: 1, burst: 1 }, true),
        ] {
            let packet = Packet { interface: "brn1".parse().ok(), ..packet() };
            assert_eq!(holds(&held, &condition, &packet), Ok(want), "{condition:?}");
        }
    }

    #[test]
    fn a_packet_goes_on_as_the_rules_left_it_and_meets_chains_of_its_table_only() {
        let device = |name: &str| name.parse().expect("a name");
        let mut held = ruleset(vec![("hosts", vec![rule(vec![], Target::Drop)])]);
        let rules = vec![
            rule(vec![Match::Marked], Target::Drop),
            rule(vec![Match::Arrives(device("eth1"))], Target::Drop),
            rule(vec![Match::Leaves(device("eth0"))], Target::Drop),
            rule(vec![Match::ToLoopback], Target::Drop),
            rule(vec![Match::Arrives(device("eth0"))], Target::NoTrack),
            rule(vec![Match::Untracked], Target::Mark),
            rule(vec![Match::Marked], Target::Unmark),
            rule(vec![Match::Marked], Target::Drop),
            rule(vec![], Target::Mark),
        ];
        let chain = Arc::new(Chain { purpose: Purpose::Fixed, rules });
        held.chains.insert((Table::Raw, named("hosts")), chain);
        let packet = Packet { arrives: Some(device("eth0")), ..packet() };
        let walked = walk_in(&held, Table::Raw, &named("hosts"), &packet);
        assert_eq!(walked.end, End::Returned, "{walked:?}");
        assert!(walked.packet.is_marked && walked.packet.state == State::Untracked);
        assert_eq!(walk(&held, &named("hosts"), &packet).end, End::Drop);
    }

    #[test]
    fn what_is_missing_or_foreign_is_told() {
        let gone = SetName::of('a', Family::V4, &["gone"]);
        let in_gone = Match::InSet { side: Side::Source, set: gone.clone(), negated: false };
        let held = ruleset(vec![
            ("chain", vec![rule(vec![], Target::Goto(named("gone")))]),
            ("set", vec![rule(vec![in_gone], Target::Drop)]),
            ("ring", vec![rule(vec![], Target::Goto(named("ring")))]),
        ]);
        for (start, want) in [
            ("chain", Lost::NoChain(named("gone"))),
            ("set", Lost::NoSet(gone)),
            ("ring", Lost::Ring),
        ] {
            assert_eq!(walk(&held, &named(start), &packet()).end, End::Lost(want), "{start}");
        }
    }
}
