//! Chains, rules and sets as values, of one family each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::address::{Cidr, Family};
use crate::model::{Direction, HostStage, PodKey, PolicyId, Protocol, Side};
use crate::names::{ChainName, Comment, Device, Interface, SetName};

/// Everything of ours in the kernel for one family. A [`Rule`] may name sets and chains of the
/// same ruleset only.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruleset {
    /// The family.
    pub family: Family,
    /// The chains, by table and name.
    pub chains: BTreeMap<(Table, ChainName), Arc<Chain>>,
    /// Where the kernel's own chains jump to ours.
    pub hooks: BTreeSet<Hook>,
    /// The sets.
    pub sets: BTreeMap<SetName, Set>,
}

impl Ruleset {
    /// The empty one: nothing of ours.
    pub fn new(family: Family) -> Self {
        Self { family, chains: BTreeMap::new(), hooks: BTreeSet::new(), sets: BTreeMap::new() }
    }
}

/// The bit of a packet's mark that is ours ([`Target::Mark`]). kube-proxy has 0x4000 and
/// 0x8000, the portmap plug-in 0x2000, Calico the sixteen above, Cilium 0x0f00.
pub const MARK: u32 = 0x0000_0010;

/// A table of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Where packets are judged.
    Filter,
    /// Where addresses are translated.
    Nat,
    /// Where packets are before connection tracking sees them.
    Raw,
    /// Where packets that come in are before their destination is translated.
    Mangle,
}

impl Table {
    /// All that we use.
    pub const ALL: [Table; 4] = [Table::Filter, Table::Nat, Table::Raw, Table::Mangle];

    /// As iptables calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Filter => "filter",
            Table::Nat => "nat",
            Table::Raw => "raw",
            Table::Mangle => "mangle",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Our jump from a chain of the kernel; it is to be the first rule there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hook {
    /// The table.
    pub table: Table,
    /// The kernel's chain.
    pub from: BuiltIn,
    /// Ours.
    pub to: ChainName,
}

/// A chain of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltIn {
    /// Packets for this host.
    Input,
    /// Packets through this host.
    Forward,
    /// Packets that leave it.
    Postrouting,
    /// Packets that come in, before anything is known of where they go.
    Prerouting,
    /// Packets that this host makes.
    Output,
}

impl BuiltIn {
    /// All that we use.
    pub const ALL: [BuiltIn; 5] = [
        BuiltIn::Input,
        BuiltIn::Forward,
        BuiltIn::Postrouting,
        BuiltIn::Prerouting,
        BuiltIn::Output,
    ];

    /// As iptables calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            BuiltIn::Input => "INPUT",
            BuiltIn::Forward => "FORWARD",
            BuiltIn::Postrouting => "POSTROUTING",
            BuiltIn::Prerouting => "PREROUTING",
            BuiltIn::Output => "OUTPUT",
        }
    }
}

/// A chain of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// What it is for; not in the kernel.
    pub purpose: Purpose,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What a chain is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A fixed one.
    Fixed,
    /// Part of the search for the endpoint of an address.
    Dispatch,
    /// Judges the packets of an endpoint.
    Endpoint(PodKey, Direction),
    /// The rules of a policy.
    Policy(PolicyId, Direction),
    /// Judges the packets of the host endpoint of this name in one of its stages.
    Host(Arc<str>, HostStage, Direction),
}

/// A rule: what it does with packets that all of its matches hold for.
#[derive(Clone, Debug, Eq)]
pub struct Rule {
    /// What must hold, in any order: the text of a rule has its own, and two rules are equal
    /// whatever theirs is.
    pub matches: Vec<Match>,
    /// What it does then.
    pub target: Target,
    /// What it is there for.
    pub comment: Option<Comment>,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        fn sorted(rule: &Rule) -> Vec<&Match> {
            let mut matches: Vec<_> = rule.matches.iter().collect();
            matches.sort();
            matches
        }
        self.target == other.target
            && self.comment == other.comment
            && self.matches.len() == other.matches.len()
            && (self.matches == other.matches || sorted(self) == sorted(other))
    }
}

/// A condition of a rule. At most one of each kind and side in a rule, those that can be
/// negated and [`Match::PortIn`] apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Comes in through the loopback interface.
    FromLoopback,
    /// Comes in through an interface whose name begins as those of our network plug-in do.
    FromPod,
    /// Its source and the interface that it comes in through are no pair of the set.
    NotAttached(SetName),
    /// One end's address is in the block (`-s`, `-d`), which is not of length zero.
    In(Side, Cidr),
    /// One end's address is in the set, or is not.
    InSet {
        /// Which end.
        side: Side,
        /// A set of addresses or blocks.
        set: SetName,
        /// Turns it round.
        negated: bool,
    },
    /// One end's address and port, with the protocol, are in the set, or are not.
    PortIn {
        /// Which end.
        side: Side,
        /// A set of addresses with ports.
        set: SetName,
        /// Turns it round.
        negated: bool,
    },
    /// Comes in through the interface of this name (`-i`).
    Arrives(Device),
    /// Leaves through the interface of this name (`-o`).
    Leaves(Device),
    /// Leaves through the loopback interface.
    ToLoopback,
    /// The protocol, or not that one (`-p`). Not together with [`Match::Ports`] and
    /// [`Match::Icmp`], which say it too.
    Protocol {
        /// Its number, from 1.
        number: u8,
        /// Turns it round.
        negated: bool,
    },
    /// The protocol, and one of these ports on one side. Ranges sorted, apart from each other,
    /// at most fifteen slots, of which a range takes two (multiport's limit).
    Ports(Side, Protocol, Vec<(u16, u16)>),
    /// A message of this type, and code if there is one, of ICMP or ICMPv6 (implies the
    /// protocol), or any other of that protocol.
    Icmp {
        /// Of which family.
        family: Family,
        /// The type; of ICMP not 255, which iptables takes for any.
        kind: u8,
        /// The code.
        code: Option<u8>,
        /// Turns it round.
        negated: bool,
    },
    /// Connection tracking has seen the connection, or it is an error about one.
    Established,
    /// Connection tracking cannot place it.
    Invalid,
    /// Connection tracking was told to look away ([`Target::NoTrack`]).
    Untracked,
    /// It carries our mark ([`Target::Mark`]).
    Marked,
    /// The source is an address of this host.
    SourceIsLocal,
    /// The destination is an address of this host.
    DestinationIsLocal,
    /// Not more often than so many times a second, after a first burst; [`Match::limit`]
    /// makes it. Packets count that all other matches hold for.
    Limit {
        /// Times a second, from 1 to 10 000, as the kernel counts it.
        per_second: u16,
        /// Packets before it limits.
        burst: u16,
    },
}

impl Match {
    /// At most `per_second` packets a second after a first `burst`: the nearest that the
    /// kernel can count, which divides a second into ten thousand steps. Exact up to 100.
    pub fn limit(per_second: u16, burst: u16) -> Self {
        let steps = 10_000 / per_second.clamp(1, 10_000);
        Match::Limit { per_second: 10_000 / steps, burst: burst.clamp(1, 10_000) }
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The packet goes on, past all other rules of the table.
    Accept,
    /// The packet is dropped.
    Drop,
    /// Back to the rule behind the last jump.
    Return,
    /// On in a chain, and back here from its end.
    Jump(ChainName),
    /// On in a chain, and from its end to where this chain was jumped to from.
    Goto(ChainName),
    /// Told to who listens to an NFLOG group; the next rule decides.
    Log {
        /// The group.
        group: u16,
        /// Tells where; of the alphabet of comments, at most 63 characters.
        prefix: Comment,
    },
    /// Its source becomes the address of the interface that it leaves through.
    Masquerade,
    /// Connection tracking shall not see it; the next rule decides.
    NoTrack,
    /// Our mark is put on it: a host's policy has let it pass, before its destination was
    /// translated or in the stage that it is in; or a pod's policy has, towards the host. The
    /// next rule decides.
    Mark,
    /// Our mark is taken off; the next rule decides.
    Unmark,
}

/// A set of addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// What it stands for, as operators read it; not in the kernel.
    pub about: Arc<str>,
    /// Its members.
    pub members: Members,
}

/// Members of a set, which give it its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Addresses (`hash:ip`).
    Addresses(BTreeSet<IpAddr>),
    /// Blocks, none of length zero (`hash:net`).
    Blocks(BTreeSet<Cidr>),
    /// Addresses with ports (`hash:ip,port`).
    Ports(BTreeSet<(IpAddr, Protocol, u16)>),
    /// Addresses with the interfaces that they are behind (`hash:net,iface`).
    Attached(BTreeSet<(IpAddr, Interface)>),
}

impl Members {
    /// None, of a type.
    pub fn none_of(kind: SetKind) -> Self {
        match kind {
            SetKind::Addresses => Members::Addresses(BTreeSet::new()),
            SetKind::Blocks => Members::Blocks(BTreeSet::new()),
            SetKind::Ports => Members::Ports(BTreeSet::new()),
            SetKind::Attached => Members::Attached(BTreeSet::new()),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Members::Addresses(members) => members.len(),
            Members::Blocks(members) => members.len(),
            Members::Ports(members) => members.len(),
            Members::Attached(members) => members.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each of them, in order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Member> + '_> {
        match self {
            Members::Addresses(members) => Box::new(members.iter().copied().map(Member::Address)),
            Members::Blocks(members) => Box::new(members.iter().copied().map(Member::Block)),
            Members::Ports(members) => {
                Box::new(members.iter().map(|(ip, protocol, n)| Member::Port(*ip, *protocol, *n)))
            }
            Members::Attached(members) => {
                Box::new(members.iter().map(|(ip, interface)| Member::Attached(*ip, *interface)))
            }
        }
    }

    /// Whether `member` is there.
    pub fn contains(&self, member: Member) -> bool {
        match (self, member) {
            (Members::Addresses(members), Member::Address(address)) => members.contains(&address),
            (Members::Blocks(members), Member::Block(block)) => members.contains(&block),
            (Members::Ports(members), Member::Port(address, protocol, number)) => {
                members.contains(&(address, protocol, number))
            }
            (Members::Attached(members), Member::Attached(address, interface)) => {
                members.contains(&(address, interface))
            }
            (
                Members::Addresses(_)
                | Members::Blocks(_)
                | Members::Ports(_)
                | Members::Attached(_),
                _,
            ) => false,
        }
    }

    /// Puts a member in; whether it was not there. One of another type than the others' is
    /// left out.
    pub fn insert(&mut self, member: Member) -> bool {
        match (self, member) {
            (Members::Addresses(members), Member::Address(address)) => members.insert(address),
            (Members::Blocks(members), Member::Block(block)) => members.insert(block),
            (Members::Ports(members), Member::Port(address, protocol, number)) => {
                members.insert((address, protocol, number))
            }
            (Members::Attached(members), Member::Attached(address, interface)) => {
                members.insert((address, interface))
            }
            (
                Members::Addresses(_)
                | Members::Blocks(_)
                | Members::Ports(_)
                | Members::Attached(_),
                _,
            ) => false,
        }
    }

    /// Takes a member out; whether it was there.
    pub fn remove(&mut self, member: Member) -> bool {
        match (self, member) {
            (Members::Addresses(members), Member::Address(address)) => members.remove(&address),
            (Members::Blocks(members), Member::Block(block)) => members.remove(&block),
            (Members::Ports(members), Member::Port(address, protocol, number)) => {
                members.remove(&(address, protocol, number))
            }
            (Members::Attached(members), Member::Attached(address, interface)) => {
                members.remove(&(address, interface))
            }
            (
                Members::Addresses(_)
                | Members::Blocks(_)
                | Members::Ports(_)
                | Members::Attached(_),
                _,
            ) => false,
        }
    }

    /// The type that the kernel has for them.
    pub fn kind(&self) -> SetKind {
        match self {
            Members::Addresses(_) => SetKind::Addresses,
            Members::Blocks(_) => SetKind::Blocks,
            Members::Ports(_) => SetKind::Ports,
            Members::Attached(_) => SetKind::Attached,
        }
    }
}

/// The type of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// `hash:ip`.
    Addresses,
    /// `hash:net`.
    Blocks,
    /// `hash:ip,port`.
    Ports,
    /// `hash:net,iface`.
    Attached,
}

impl SetKind {
    /// All of them.
    pub const ALL: [SetKind; 4] =
        [SetKind::Addresses, SetKind::Blocks, SetKind::Ports, SetKind::Attached];
}

/// A member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// An address.
    Address(IpAddr),
    /// A block.
    Block(Cidr),
    /// An address with a port.
    Port(IpAddr, Protocol, u16),
    /// An address with the interface that it is behind.
    Attached(IpAddr, Interface),
}

/// What to do so that the kernel holds what is wanted, in the order of the fields: hooks that
/// go, sets that come or change, chains, interfaces that are opened, hooks that come, sets that
/// go. Empty if nothing is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The family.
    pub family: Family,
    /// Jumps of ours that are not wanted.
    pub unhook: Vec<Hook>,
    /// Sets.
    pub sets: Vec<SetOp>,
    /// Chains, one transaction for each table.
    pub chains: BTreeMap<Table, BTreeMap<ChainName, ChainOp>>,
    /// Pairs of address and interface that may send from now on: none before the chains that
    /// judge what it sends. (Pairs that go, go with the sets, before those chains.)
    pub admit: Vec<SetOp>,
    /// Jumps that are missing, or not first, or there more than once.
    pub hook: Vec<Hook>,
    /// Sets that nothing names any more.
    pub destroy: Vec<SetName>,
}

impl Plan {
    /// Nothing to do.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            unhook: Vec::new(),
            sets: Vec::new(),
            chains: BTreeMap::new(),
            admit: Vec::new(),
            hook: Vec::new(),
            destroy: Vec::new(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.unhook.is_empty()
            && self.sets.is_empty()
            && self.chains.values().all(BTreeMap::is_empty)
            && self.admit.is_empty()
            && self.hook.is_empty()
            && self.destroy.is_empty()
    }

    /// All operations on sets, those that open interfaces last.
    pub fn set_ops(&self) -> impl Iterator<Item = &SetOp> {
        self.sets.iter().chain(&self.admit)
    }

    /// Notes an operation on a set where it belongs.
    pub(crate) fn note(&mut self, op: SetOp) {
        let add = |set: SetName, members: &Members| SetOp::Change {
            set,
            remove: Vec::new(),
            add: members.iter().collect(),
        };
        match op {
            SetOp::Create(set, members @ Members::Attached(_)) => {
                self.sets.push(SetOp::Create(set.clone(), Members::none_of(SetKind::Attached)));
                self.admit.extend((!members.is_empty()).then(|| add(set, &members)));
            }
            SetOp::Recreate(set, members @ Members::Attached(_)) => {
                self.sets.push(SetOp::Recreate(set.clone(), Members::none_of(SetKind::Attached)));
                self.admit.extend((!members.is_empty()).then(|| add(set, &members)));
            }
            // Emptied first it would close those that stay.
            SetOp::Replace(_, Members::Attached(_)) => self.admit.push(op),
            SetOp::Change { set, remove, add }
                if matches!(add.first(), Some(Member::Attached(..))) =>
            {
                if !remove.is_empty() {
                    self.sets.push(SetOp::Change { set: set.clone(), remove, add: Vec::new() });
                }
                self.admit.push(SetOp::Change { set, remove: Vec::new(), add });
            }
            SetOp::Create(..) | SetOp::Replace(..) | SetOp::Recreate(..) | SetOp::Change { .. } => {
                self.sets.push(op);
            }
        }
    }
}

/// A change of a set. Members leave before others come, so that an address which is used
/// again is nowhere for two.
#[derive(Clone, Debug, PartialEq)]
pub enum SetOp {
    /// Makes it, with all its members.
    Create(SetName, Members),
    /// Puts other members of the same type in place of all that it has, at once.
    Replace(SetName, Members),
    /// Destroys it, as it is none that we make, and makes it anew. Fails while a rule uses it.
    Recreate(SetName, Members),
    /// Takes members out and puts some in.
    Change {
        /// The set.
        set: SetName,
        /// Members that go.
        remove: Vec<Member>,
        /// Members that come.
        add: Vec<Member>,
    },
}

/// A change of a chain.
#[derive(Clone, Debug, PartialEq)]
pub enum ChainOp {
    /// Makes it, or puts these rules in place of those that it has.
    Write(Arc<Chain>),
    /// Removes it.
    Remove,
}
