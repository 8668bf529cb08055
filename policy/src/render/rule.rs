//! Rules as words of iptables.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::address::Family;
use crate::model::{Protocol, Side};
use crate::names::INTERFACE_MARK;
use crate::ruleset::{MARK, Match, Rule, Target};

/// The number of ICMP.
const ICMP: u8 = 1;
/// The number of ICMPv6.
const ICMP6: u8 = 58;
/// The type that iptables takes for any message of ICMP, which no message has.
pub(crate) const ANY_ICMP: u8 = 255;

/// What comes behind `-A CHAIN` for a rule.
pub fn rule(rule: &Rule) -> String {
    let mut matches: Vec<&Match> = rule.matches.iter().collect();
    // The kernel goes through them in the order of the text: cheap ones first, and last the
    // limit, which counts what all others hold for.
    matches.sort_by_key(|one| (cost(one), *one));
    let mut words: Vec<String> = Vec::with_capacity(matches.len() + 4);
    words.extend(matches.iter().filter_map(|one| basic(one)));
    // Once, whatever asks for it: iptables refuses two.
    let protocols: BTreeSet<u8> = matches.iter().filter_map(|one| implied(one)).collect();
    words.extend(protocols.into_iter().map(|number| format!("-p {}", protocol(number))));
    words.extend(matches.iter().filter_map(|one| extension(one)));
    words.extend(rule.comment.as_ref().map(|text| format!("-m comment --comment \"{text}\"")));
    words.push(target(&rule.target));
    words.join(" ")
}

fn cost(one: &Match) -> u8 {
    match one {
        Match::FromLoopback
        | Match::ToLoopback
        | Match::FromPod
        | Match::Arrives(_)
        | Match::Leaves(_)
        | Match::In(..)
        | Match::Protocol { .. } => 0,
        Match::Ports(..) | Match::Icmp { .. } | Match::Marked => 1,
        Match::Established | Match::Invalid | Match::Untracked => 2,
        Match::InSet { .. } | Match::PortIn { .. } | Match::NotAttached(_) => 3,
        Match::SourceIsLocal | Match::DestinationIsLocal => 4,
        Match::Limit { .. } => 5,
    }
}

/// The options that need no extension.
fn basic(one: &Match) -> Option<String> {
    match one {
        Match::FromLoopback => Some("-i lo".to_owned()),
        Match::ToLoopback => Some("-o lo".to_owned()),
        Match::FromPod => Some(format!("-i {INTERFACE_MARK}+")),
        Match::Arrives(device) => Some(format!("-i {device}")),
        Match::Leaves(device) => Some(format!("-o {device}")),
        Match::In(Side::Source, cidr) => Some(format!("-s {cidr}")),
        Match::In(Side::Destination, cidr) => Some(format!("-d {cidr}")),
        Match::Protocol { number, negated } => {
            Some(format!("{}-p {}", not(*negated), protocol(*number)))
        }
        Match::InSet { .. }
        | Match::PortIn { .. }
        | Match::NotAttached(_)
        | Match::Ports(..)
        | Match::Icmp { .. }
        | Match::Established
        | Match::Invalid
        | Match::Untracked
        | Match::Marked
        | Match::SourceIsLocal
        | Match::DestinationIsLocal
        | Match::Limit { .. } => None,
    }
}

/// The protocol that an extension wants to see named before it.
fn implied(one: &Match) -> Option<u8> {
    match one {
        Match::Ports(_, protocol, _) => Some(protocol.number()),
        Match::Icmp { family: Family::V4, .. } => Some(ICMP),
        Match::Icmp { family: Family::V6, .. } => Some(ICMP6),
        Match::FromLoopback
        | Match::ToLoopback
        | Match::FromPod
        | Match::Arrives(_)
        | Match::Leaves(_)
        | Match::In(..)
        | Match::InSet { .. }
        | Match::PortIn { .. }
        | Match::NotAttached(_)
        | Match::Protocol { .. }
        | Match::Established
        | Match::Invalid
        | Match::Untracked
        | Match::Marked
        | Match::SourceIsLocal
        | Match::DestinationIsLocal
        | Match::Limit { .. } => None,
    }
}

fn extension(one: &Match) -> Option<String> {
    Some(match one {
        Match::FromLoopback
        | Match::ToLoopback
        | Match::FromPod
        | Match::Arrives(_)
        | Match::Leaves(_)
        | Match::In(..)
        | Match::Protocol { .. } => return None,
        Match::NotAttached(set) => format!("-m set ! --match-set {set} src,src"),
        Match::InSet { side, set, negated } => {
            format!("-m set {}--match-set {set} {}", not(*negated), end(*side))
        }
        Match::PortIn { side, set, negated } => {
            format!("-m set {}--match-set {set} {1},{1}", not(*negated), end(*side))
        }
        Match::Ports(Side::Source, _, ranges) => format!("-m multiport --sports {}", list(ranges)),
        Match::Ports(Side::Destination, _, ranges) => {
            format!("-m multiport --dports {}", list(ranges))
        }
        Match::Icmp { family, kind, code, negated } => {
            let (extension, option) = match family {
                Family::V4 => ("icmp", "--icmp-type"),
                Family::V6 => ("icmp6", "--icmpv6-type"),
            };
            let kind = match (family, *kind) {
                // Refused, as it would mean another thing.
                (Family::V4, ANY_ICMP) => u16::from(ANY_ICMP) + 1,
                (Family::V4 | Family::V6, kind) => kind.into(),
            };
            let code = code.map(|code| format!("/{code}")).unwrap_or_default();
            format!("-m {extension} {}{option} {kind}{code}", not(*negated))
        }
        Match::Established => "-m conntrack --ctstate RELATED,ESTABLISHED".to_owned(),
        Match::Invalid => "-m conntrack --ctstate INVALID".to_owned(),
        Match::Untracked => "-m conntrack --ctstate UNTRACKED".to_owned(),
        Match::Marked => format!("-m mark --mark {MARK:#x}/{MARK:#x}"),
        Match::SourceIsLocal => "-m addrtype --src-type LOCAL".to_owned(),
        Match::DestinationIsLocal => "-m addrtype --dst-type LOCAL".to_owned(),
        Match::Limit { per_second, burst } => {
            format!("-m limit --limit {per_second}/sec --limit-burst {burst}")
        }
    })
}

fn list(ranges: &[(u16, u16)]) -> String {
    let one = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}:{last}") }
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

fn target(target: &Target) -> String {
    match target {
        Target::Accept => "-j ACCEPT".to_owned(),
        Target::Drop => "-j DROP".to_owned(),
        Target::Return => "-j RETURN".to_owned(),
        Target::Jump(chain) => format!("-j {chain}"),
        Target::Goto(chain) => format!("-g {chain}"),
        Target::Log { group, prefix } => {
            format!("-j NFLOG --nflog-prefix \"{prefix}\" --nflog-group {group}")
        }
        Target::Masquerade => "-j MASQUERADE".to_owned(),
        Target::NoTrack => "-j CT --notrack".to_owned(),
        Target::Mark => format!("-j MARK --set-xmark {MARK:#x}/{MARK:#x}"),
        Target::Unmark => format!("-j MARK --set-xmark 0x0/{MARK:#x}"),
    }
}

fn protocol(number: u8) -> impl Display {
    // Names that every iptables knows without asking the host; zero would mean all of them,
    // so it becomes a number that is refused.
    match (Protocol::of_number(number), number) {
        (Some(Protocol::Tcp), _) => "tcp".to_owned(),
        (Some(Protocol::Udp), _) => "udp".to_owned(),
        (Some(Protocol::Sctp), _) => "sctp".to_owned(),
        (None, ICMP) => "icmp".to_owned(),
        (None, ICMP6) => "ipv6-icmp".to_owned(),
        (None, 0) => "256".to_owned(),
        (None, number) => number.to_string(),
    }
}

fn end(side: Side) -> &'static str {
    match side {
        Side::Source => "src",
        Side::Destination => "dst",
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "! " } else { "" }
}
