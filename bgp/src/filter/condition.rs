//! What a rule asks of a route.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use super::{AsPathRegex, CommunityPattern, Route};
use crate::msg::{AsPath, Attributes, SegmentKind};
use crate::net::{Asn, Family, Prefix};

/// One thing that a route must be like. Lists hold if one of their members does; an empty one
/// never holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The prefix, compared with this one.
    Cidr(MatchOperator, Prefix),
    /// The prefix length lies in this range.
    PrefixLengths(RangeInclusive<u8>),
    /// The prefix is of this family.
    Family(Family),
    /// The next hop lies in one of these; never so for our own routes, which have none.
    NextHop(Vec<Prefix>),
    /// The next hop is reached over such an interface; never so for our own routes, nor while
    /// it is not known how the next hop is reached.
    Interface(InterfacePattern),
    /// Where the route comes from.
    Source(Vec<RouteSource>),
    /// The peer that the route is learned from on import, told to on export.
    PeerType(PeerType),
    /// One of these ASes stands somewhere in the AS path.
    AsPathContains(Vec<Asn>),
    /// The AS path begins with one of these: the neighbour that told it.
    AsPathFirst(Vec<Asn>),
    /// The AS path ends with one of these: where the prefix comes from.
    AsPathLast(Vec<Asn>),
    /// The number of hops of the AS path lies in this range; a set counts one, what is of a
    /// confederation none (RFC 4271 §9.1.2.2 a).
    AsPathLength(RangeInclusive<u32>),
    /// The AS path begins with these, in this order.
    AsPathPrefix(Vec<Asn>),
    /// The expression is found in the AS path.
    AsPathRegex(AsPathRegex),
    /// The route has any or all of these communities.
    Communities(Has, Vec<CommunityPattern>),
    /// LOCAL_PREF has this value; `None` is that there is none, as with our own routes.
    LocalPref(Option<u32>),
}

/// How a prefix is compared with that of a rule: Calico's `matchOperator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOperator {
    /// The same prefix.
    Equal,
    /// Another prefix.
    NotEqual,
    /// It, or a part of it.
    In,
    /// Neither it nor a part of it; so is every prefix of the other family.
    NotIn,
}

/// How many of a list must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Has {
    /// At least one.
    Any,
    /// Each.
    All,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteSource {
    /// This node: its pods, and the networks that it was told to originate.
    Local,
    /// This node, for a Service.
    Service,
    /// Another node of the mesh.
    Mesh,
    /// A peer besides the mesh.
    Peer,
}

/// What a peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerType {
    /// In another AS: Calico's `eBGP`.
    External,
    /// In our AS: Calico's `iBGP`.
    Internal,
}

/// Names of interfaces, with `*` for any characters: `eth0`, `bond*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfacePattern(Arc<str>);

impl Condition {
    /// Whether it holds for a route that by now has these attributes.
    pub fn holds(&self, route: &Route<'_>, attributes: &Attributes) -> bool {
        let path = &attributes.as_path;
        match self {
            Condition::Cidr(operator, cidr) => operator.holds(&route.prefix, cidr),
            Condition::PrefixLengths(lengths) => lengths.contains(&route.prefix.length()),
            Condition::Family(family) => route.prefix.family() == *family,
            Condition::NextHop(cidrs) => route.next_hop.is_some_and(|hop| has(cidrs, hop)),
            Condition::Interface(pattern) => route.interface.is_some_and(|name| pattern.has(name)),
            Condition::Source(sources) => sources.contains(&route.source),
            Condition::PeerType(kind) => route.session.peer_type == *kind,
            Condition::AsPathContains(asns) => asns.iter().any(|&asn| path.contains(asn)),
            Condition::AsPathFirst(asns) => path.first().is_some_and(|asn| asns.contains(&asn)),
            Condition::AsPathLast(asns) => path.last().is_some_and(|asn| asns.contains(&asn)),
            Condition::AsPathLength(range) => {
                range.contains(&u32::try_from(path.hops()).unwrap_or(u32::MAX))
            }
            Condition::AsPathPrefix(asns) => begins_with(path, asns),
            Condition::AsPathRegex(regex) => regex.is_match(path),
            Condition::Communities(Has::Any, patterns) => {
                patterns.iter().any(|pattern| pattern.is_in(attributes))
            }
            Condition::Communities(Has::All, patterns) => {
                !patterns.is_empty() && patterns.iter().all(|pattern| pattern.is_in(attributes))
            }
            Condition::LocalPref(value) => attributes.local_pref == *value,
        }
    }

    /// Whether it asks for what rules can change.
    pub(super) fn asks_for_attributes(&self) -> bool {
        match self {
            Condition::Cidr(..)
            | Condition::PrefixLengths(_)
            | Condition::Family(_)
            | Condition::NextHop(_)
            | Condition::Interface(_)
            | Condition::Source(_)
            | Condition::PeerType(_) => false,
            Condition::AsPathContains(_)
            | Condition::AsPathFirst(_)
            | Condition::AsPathLast(_)
            | Condition::AsPathLength(_)
            | Condition::AsPathPrefix(_)
            | Condition::AsPathRegex(_)
            | Condition::Communities(..)
            | Condition::LocalPref(_) => true,
        }
    }
}

impl MatchOperator {
    fn holds(self, prefix: &Prefix, cidr: &Prefix) -> bool {
        match self {
            MatchOperator::Equal => prefix == cidr,
            MatchOperator::NotEqual => prefix != cidr,
            MatchOperator::In => cidr.covers(prefix),
            MatchOperator::NotIn => !cidr.covers(prefix),
        }
    }
}

impl RouteSource {
    /// Every source, in the order in which documents list them.
    pub const ALL: [Self; 4] = [Self::Local, Self::Service, Self::Mesh, Self::Peer];
}

fn has(cidrs: &[Prefix], address: IpAddr) -> bool {
    cidrs.iter().any(|cidr| cidr.contains(address))
}

/// Whether sequences at the front of `path` hold `asns` first; nothing is known of the order
/// within a set.
fn begins_with(path: &AsPath, asns: &[Asn]) -> bool {
    let is_sequence = |kind| matches!(kind, SegmentKind::Sequence | SegmentKind::ConfedSequence);
    let front = path.0.iter().take_while(|segment| is_sequence(segment.kind));
    let mut front = front.flat_map(|segment| &segment.asns);
    asns.iter().all(|asn| front.next() == Some(asn))
}

impl InterfacePattern {
    /// Whether it means the interface of this name.
    pub fn has(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl FromStr for InterfacePattern {
    type Err = BadInterfacePattern;

    fn from_str(text: &str) -> Result<Self, BadInterfacePattern> {
        /// As the kernel has it: IFNAMSIZ less the final zero.
        const LONGEST: usize = 15;
        let fits = (1..=2 * LONGEST).contains(&text.len())
            && text.chars().filter(|&c| c != '*').count() <= LONGEST
            && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':'));
        if fits { Ok(Self(text.into())) } else { Err(BadInterfacePattern(text.to_owned())) }
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text can be the name of no interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name of interfaces; accepted are up to 15 characters, and \"*\" for any, as \
     in eth0 or bond*"
)]
pub struct BadInterfacePattern(String);

/// What is asked, in the words of an operator: `inside 10.244.0.0/16`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Cidr(operator, cidr) => write!(f, "{operator} {cidr}"),
            Condition::PrefixLengths(lengths) => write!(f, "length {}", Range(lengths)),
            Condition::Family(family) => write!(f, "{family}"),
            Condition::NextHop(cidrs) => write!(f, "next hop in {}", List(cidrs)),
            Condition::Interface(pattern) => write!(f, "interface {pattern}"),
            Condition::Source(sources) => write!(f, "from {}", List(sources)),
            Condition::PeerType(kind) => write!(f, "{kind} peer"),
            Condition::AsPathContains(asns) => write!(f, "AS path has {}", List(asns)),
            Condition::AsPathFirst(asns) => write!(f, "AS path begins in {}", List(asns)),
            Condition::AsPathLast(asns) => write!(f, "AS path ends in {}", List(asns)),
            Condition::AsPathLength(range) => write!(f, "AS path length {}", Range(range)),
            Condition::AsPathPrefix(asns) => {
                write!(f, "AS path begins with {}", AsPath::sequence(asns.iter().copied()))
            }
            Condition::AsPathRegex(regex) => write!(f, "AS path like {regex}"),
            Condition::Communities(Has::Any, patterns) => {
                write!(f, "has community {}", List(patterns))
            }
            Condition::Communities(Has::All, patterns) => {
                f.write_str("has communities ")?;
                separated(f, patterns, " and ")
            }
            Condition::LocalPref(Some(value)) => write!(f, "local preference {value}"),
            Condition::LocalPref(None) => f.write_str("no local preference"),
        }
    }
}

struct Range<'a, T>(&'a RangeInclusive<T>);

impl<T: PartialEq + fmt::Display> fmt::Display for Range<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.start() == self.0.end() {
            self.0.start().fmt(f)
        } else {
            write!(f, "{}-{}", self.0.start(), self.0.end())
        }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, self.0, " or ")
    }
}

fn separated<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], by: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(by)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for MatchOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MatchOperator::Equal => "equal to",
            MatchOperator::NotEqual => "other than",
            MatchOperator::In => "inside",
            MatchOperator::NotIn => "outside",
        })
    }
}

impl fmt::Display for RouteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RouteSource::Local => "local",
            RouteSource::Service => "service",
            RouteSource::Mesh => "mesh",
            RouteSource::Peer => "peer",
        })
    }
}

impl fmt::Display for PeerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerType::External => "external",
            PeerType::Internal => "internal",
        })
    }
}
