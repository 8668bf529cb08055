//! The chains that every node has, whatever its endpoints: where packets come in, what is
//! done with addresses that nobody has, and masquerading.

use std::collections::BTreeSet;

use super::sets::{self, Source, Sources};
use super::{Built, DenyLog};
use crate::address::{Cidr, Family};
use crate::model::{Protocol, Side, ToHost};
use crate::names::{ChainName, Comment, Fixed};
use crate::ruleset::{BuiltIn, Chain, Hook, Match, Purpose, Rule, Table, Target};

/// ICMPv6 types that are always open: neighbour discovery and multicast listeners
/// (policy-semantics 2.7; RFC 4861 §4, RFC 2710 §3, RFC 3810 §5).
const ALWAYS_OPEN: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// ICMPv6 types that a pod's interface may need before it has an address, and those that it
/// may send from its link-local one: the solicitations and advertisements of neighbours (133,
/// 135, 136) and the reports of multicast listeners (131, 132, 143).
const WITHOUT_ADDRESS: [u8; 6] = [131, 132, 133, 135, 136, 143];
/// The addresses that those come from: link-local ones, and none (RFC 4861 §4.1, §4.3).
const NO_ADDRESS: [&str; 2] = ["fe80::/10", "::/128"];

/// IP in IP (RFC 2003): what only nodes may make.
const IP_IN_IP: u8 = 4;
/// The port of VXLAN (RFC 7348 §8.1), likewise.
const VXLAN: u16 = 4789;

/// Where a chain's hash is cut in the prefix of log messages.
const SHOWN_OF_HASH: usize = 12;

/// What the fixed chains depend on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ground {
    /// The family.
    pub(super) family: Family,
    /// The ranges of this node's pods, apart from each other.
    pub(super) local: BTreeSet<Cidr>,
    /// Whether what leaves them for outside all ranges gets the node's address.
    pub(super) masquerade: bool,
    /// Whether other nodes' endpoints have addresses in them.
    pub(super) is_shared: bool,
    /// Who wants to know of dropped packets.
    pub(super) deny_log: Option<DenyLog>,
    /// What pods may do to their own host.
    pub(super) to_host: ToHost,
    /// What its host endpoints have chains for.
    pub(super) hosts: Hosted,
}

/// Whether the chains of host endpoints have to be led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hosted {
    /// There are host endpoints.
    pub(super) is_some: bool,
    /// One of them judges what is forwarded.
    pub(super) forwards: bool,
}

impl Ground {
    /// That of a node of which nothing is known.
    pub(super) fn none(family: Family) -> Self {
        Self {
            family,
            local: BTreeSet::new(),
            masquerade: false,
            is_shared: false,
            deny_log: None,
            to_host: ToHost::default(),
            hosts: Hosted::default(),
        }
    }
}

/// The fixed chains, those of the dispatch and of host endpoints apart.
pub(super) fn chains(ground: &Ground) -> Vec<((Table, ChainName), Built)> {
    let mut chains = vec![
        ((Table::Filter, ChainName::fixed(Fixed::Forward)), forward(ground)),
        ((Table::Filter, ChainName::fixed(Fixed::Input)), input(ground)),
        ((Table::Filter, ChainName::fixed(Fixed::Sent)), sent(ground)),
        ((Table::Filter, ChainName::fixed(Fixed::Spoofed)), spoofed(ground)),
    ];
    if has_masquerade(ground) {
        let name = ChainName::fixed(Fixed::Postrouting);
        chains.push(((Table::Nat, name), postrouting(ground)));
    }
    chains
}

/// The jumps to them. OUTPUT has none here: a node's own packets to its pods always pass
/// (policy-semantics 2.6), all others are for host endpoints to judge.
pub(super) fn hooks(ground: &Ground) -> BTreeSet<Hook> {
    let hook = |table, from, to| Hook { table, from, to: ChainName::fixed(to) };
    let mut hooks = BTreeSet::from([
        hook(Table::Filter, BuiltIn::Forward, Fixed::Forward),
        hook(Table::Filter, BuiltIn::Input, Fixed::Input),
    ]);
    if has_masquerade(ground) {
        hooks.insert(hook(Table::Nat, BuiltIn::Postrouting, Fixed::Postrouting));
    }
    hooks
}

fn has_masquerade(ground: &Ground) -> bool {
    ground.masquerade && !ground.local.is_empty()
}

/// Host endpoints judge first, then each end that is a local endpoint; an end that nobody has
/// is closed.
fn forward(ground: &Ground) -> Built {
    let mut sources = Sources::new();
    let mut rules =
        vec![not_attached(ground, &mut sources), rule(vec![Match::Established], Target::Accept)];
    rules.extend(neighbours(ground.family));
    if ground.hosts.forwards {
        rules.push(rule(Vec::new(), Target::Jump(ChainName::fixed(Fixed::HostForward))));
    }
    rules.extend(tunnels(ground, Fixed::Forward, &mut sources));
    if ground.to_host == ToHost::Return {
        rules.push(rule(Vec::new(), Target::Unmark));
    }
    rules.push(rule(Vec::new(), Target::Jump(ChainName::fixed(Fixed::From))));
    rules.extend(unknown(ground, Fixed::Forward, Side::Source, &mut sources));
    rules.push(rule(Vec::new(), Target::Jump(ChainName::fixed(Fixed::To))));
    rules.extend(unknown(ground, Fixed::Forward, Side::Destination, &mut sources));
    Built { chain: Chain { purpose: Purpose::Fixed, rules }, sources }
}

/// Packets for this host: those of its endpoints are judged by their egress, others by the
/// host endpoint that they come in by; what none of them is about is left to the host's own
/// rules.
fn input(ground: &Ground) -> Built {
    let mut sources = Sources::new();
    let from_local = from_local(ground, &mut sources);
    let of_host = match ground.hosts.is_some {
        true => Target::Goto(ChainName::fixed(Fixed::HostIn)),
        false => Target::Return,
    };
    let mut rules = vec![not_attached(ground, &mut sources)];
    rules.extend(neighbours(ground.family));
    rules.extend([
        rule(vec![Match::FromLoopback], Target::Return),
        rule(vec![Match::Established, from_local.clone()], Target::Accept),
        rule(vec![Match::Established], of_host.clone()),
        rule(vec![Match::SourceIsLocal], of_host.clone()),
    ]);
    rules.extend(tunnels(ground, Fixed::Input, &mut sources));
    if ground.to_host == ToHost::Return {
        rules.push(rule(vec![from_local.clone()], Target::Unmark));
    }
    rules.push(rule(Vec::new(), Target::Jump(ChainName::fixed(Fixed::From))));
    if ground.to_host == ToHost::Return {
        rules.push(rule(vec![Match::Marked, from_local], Target::Return));
    }
    rules.extend(unknown(ground, Fixed::Input, Side::Source, &mut sources));
    if ground.hosts.is_some {
        rules.push(rule(Vec::new(), of_host));
    }
    Built { chain: Chain { purpose: Purpose::Fixed, rules }, sources }
}

/// What may leave its endpoint: now the other end judges, if it is here. An address of the
/// host may lie among those of its pods (the gateway of a bridge) and is not closed.
fn sent(ground: &Ground) -> Built {
    let mut sources = Sources::new();
    let to_host = vec![Match::DestinationIsLocal];
    let mut rules = match ground.to_host {
        ToHost::Accept => Vec::new(),
        ToHost::Drop => {
            let comment = Some(Comment::new(&["to-host"]));
            let name = ChainName::fixed(Fixed::Sent);
            drop_rules(&to_host, &name, ground.deny_log, comment.as_ref())
        }
        // The mark tells those who jumped here, or to who came here, to return as well.
        ToHost::Return => {
            vec![rule(to_host.clone(), Target::Mark), rule(to_host, Target::Return)]
        }
    };
    rules.push(rule(Vec::new(), Target::Jump(ChainName::fixed(Fixed::To))));
    if ground.to_host == ToHost::Accept {
        for &cidr in &ground.local {
            let to_host = vec![Match::In(Side::Destination, cidr), Match::DestinationIsLocal];
            rules.push(rule(to_host, Target::Accept));
        }
    }
    rules.extend(unknown(ground, Fixed::Sent, Side::Destination, &mut sources));
    rules.push(rule(Vec::new(), Target::Accept));
    Built { chain: Chain { purpose: Purpose::Fixed, rules }, sources }
}

/// Drops what only nodes may send to each other, if a pod makes it: a node that takes it for
/// another node's would open it and let go what is inside (policy-semantics 5.4).
fn tunnels(ground: &Ground, chain: Fixed, sources: &mut Sources) -> Vec<Rule> {
    let from_local = from_local(ground, sources);
    let name = ChainName::fixed(chain);
    let comment = Some(Comment::new(&["tunnel"]));
    let kinds = [
        Match::Protocol { number: IP_IN_IP, negated: false },
        Match::Ports(Side::Destination, Protocol::Udp, vec![(VXLAN, VXLAN)]),
    ];
    let rules = kinds.into_iter().flat_map(|kind| {
        drop_rules(&[kind, from_local.clone()], &name, ground.deny_log, comment.as_ref())
    });
    rules.collect()
}

fn from_local(ground: &Ground, sources: &mut Sources) -> Match {
    let set = sets::note(sources, Source::Local, ground.family);
    Match::InSet { side: Side::Source, set, negated: false }
}

/// To [`Fixed::Spoofed`] with what no pod's interface may send. First of all: what is known as
/// part of a connection may be made up as well.
fn not_attached(ground: &Ground, sources: &mut Sources) -> Rule {
    let set = sets::note(sources, Source::Attached, ground.family);
    rule(
        vec![Match::FromPod, Match::NotAttached(set)],
        Target::Jump(ChainName::fixed(Fixed::Spoofed)),
    )
}

/// Drops it, but for what a pod sends to get to know its link.
fn spoofed(ground: &Ground) -> Built {
    let mut rules = Vec::new();
    if ground.family == Family::V6 {
        for kind in WITHOUT_ADDRESS {
            let sources = NO_ADDRESS.map(|text| text.parse().expect("a block"));
            rules.extend(sources.map(|block| {
                let matches = vec![Match::In(Side::Source, block), icmp6(kind)];
                rule(matches, Target::Return)
            }));
        }
    }
    let name = ChainName::fixed(Fixed::Spoofed);
    let comment = Some(Comment::new(&["spoofed"]));
    rules.extend(drop_rules(&[], &name, ground.deny_log, comment.as_ref()));
    Built { chain: Chain { purpose: Purpose::Fixed, rules }, sources: Sources::new() }
}

fn postrouting(ground: &Ground) -> Built {
    let mut sources = Sources::new();
    let ranges = sets::note(&mut sources, Source::Ranges, ground.family);
    let outside = Match::InSet { side: Side::Destination, set: ranges, negated: true };
    let masquerade =
        |cidr| rule(vec![Match::In(Side::Source, cidr), outside.clone()], Target::Masquerade);
    let rules = ground.local.iter().copied().map(masquerade).collect();
    Built { chain: Chain { purpose: Purpose::Fixed, rules }, sources }
}

/// Drops what has an address of this node's ranges that no endpoint owns.
fn unknown(ground: &Ground, chain: Fixed, side: Side, sources: &mut Sources) -> Vec<Rule> {
    let mut rules = Vec::new();
    for &cidr in &ground.local {
        let mut matches = vec![Match::In(side, cidr)];
        if ground.is_shared {
            let set = sets::note(sources, Source::Elsewhere, ground.family);
            matches.push(Match::InSet { side, set, negated: true });
        }
        let name = ChainName::fixed(chain);
        let comment = Some(Comment::new(&["unknown"]));
        rules.extend(drop_rules(&matches, &name, ground.deny_log, comment.as_ref()));
    }
    rules
}

/// Lets pass what nodes and their neighbours need to find each other.
pub(super) fn neighbours(family: Family) -> Vec<Rule> {
    match family {
        Family::V4 => Vec::new(),
        Family::V6 => {
            ALWAYS_OPEN.iter().map(|kind| rule(vec![icmp6(*kind)], Target::Accept)).collect()
        }
    }
}

fn icmp6(kind: u8) -> Match {
    Match::Icmp { family: Family::V6, kind, code: None, negated: false }
}

/// Tells of what `matches` hold for, not too often, and drops it.
pub(super) fn drop_rules(
    matches: &[Match],
    chain: &ChainName,
    deny_log: Option<DenyLog>,
    comment: Option<&Comment>,
) -> Vec<Rule> {
    let drop = Rule { matches: matches.to_vec(), target: Target::Drop, comment: comment.cloned() };
    log_rule(matches, "deny", chain, deny_log, comment).into_iter().chain([drop]).collect()
}

/// Tells of what `matches` hold for, not too often; `word` is what happens to it. `None` if
/// nobody listens.
pub(super) fn log_rule(
    matches: &[Match],
    word: &str,
    chain: &ChainName,
    deny_log: Option<DenyLog>,
    comment: Option<&Comment>,
) -> Option<Rule> {
    let DenyLog { group, per_second } = deny_log?;
    let place = chain.as_str().trim_start_matches(crate::names::CHAIN_MARK);
    let prefix = match place.rsplit_once('-') {
        Some((kind, hash)) => {
            let shown: String = hash.chars().take(SHOWN_OF_HASH).collect();
            Comment::new(&[word, kind, &shown])
        }
        None => Comment::new(&[word, place]),
    };
    let limit = Match::limit(per_second, per_second);
    let matches = matches.iter().cloned().chain([limit]).collect();
    Some(Rule { matches, target: Target::Log { group, prefix }, comment: comment.cloned() })
}

pub(super) fn rule(matches: Vec<Match>, target: Target) -> Rule {
    Rule { matches, target, comment: None }
}
