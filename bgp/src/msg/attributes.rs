//! Path attributes as values.

use std::fmt;
use std::net::Ipv4Addr;

use bytes::Bytes;

use super::{Community, ExtendedCommunity, LargeCommunity};
use crate::net::{Asn, ClusterId, RouterId};

/// The path attributes of a set of prefixes, without the next hop. Equal values mean
/// equal paths, whatever order and flags they had on the wire: what is interned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// ORIGIN (RFC 4271 §5.1.1).
    pub origin: Origin,
    /// AS_PATH (RFC 4271 §5.1.2), already merged with AS4_PATH (RFC 6793 §4.2.3).
    pub as_path: AsPath,
    /// MULTI_EXIT_DISC (RFC 4271 §5.1.4).
    pub med: Option<u32>,
    /// LOCAL_PREF (RFC 4271 §5.1.5).
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE (RFC 4271 §5.1.6).
    pub atomic_aggregate: bool,
    /// AGGREGATOR (RFC 4271 §5.1.7), already merged with AS4_AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997), sorted, each once.
    pub communities: Vec<Community>,
    /// ORIGINATOR_ID (RFC 4456 §8).
    pub originator_id: Option<RouterId>,
    /// CLUSTER_LIST (RFC 4456 §8), nearest cluster first.
    pub cluster_list: Vec<ClusterId>,
    /// EXTENDED COMMUNITIES (RFC 4360), sorted, each once.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// LARGE_COMMUNITY (RFC 8092), sorted, each once.
    pub large_communities: Vec<LargeCommunity>,
    /// ONLY_TO_CUSTOMER: the AS that said that the path goes to customers only, as it stands
    /// there (RFC 9234 §5).
    pub only_to_customer: Option<u32>,
    /// Optional transitive attributes that we do not know, by ascending code; passed on
    /// with the Partial bit set (RFC 4271 §9). Non-transitive ones are dropped on receipt.
    pub unknown: Vec<UnknownAttribute>,
}

/// How the prefix entered BGP (RFC 4271 §4.3 a); lower is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// 0: from within the originating AS.
    #[default]
    Igp,
    /// 1: from EGP.
    Egp,
    /// 2: by other means.
    Incomplete,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Igp => "igp",
            Origin::Egp => "egp",
            Origin::Incomplete => "incomplete",
        })
    }
}

/// The ASes that a path goes through, nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsPath(pub Vec<AsSegment>);

/// One segment of an AS path: at most 255 numbers, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsSegment {
    /// Ordered or not, in the path or of a confederation.
    pub kind: SegmentKind,
    /// The AS numbers.
    pub asns: Vec<Asn>,
}

/// The kind of an AS path segment (RFC 4271 §4.3 b, RFC 5065 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// 1: AS_SET; counts as one hop.
    Set,
    /// 2: AS_SEQUENCE.
    Sequence,
    /// 3: AS_CONFED_SEQUENCE; counts as none.
    ConfedSequence,
    /// 4: AS_CONFED_SET; counts as none.
    ConfedSet,
}

impl SegmentKind {
    /// Whether it is one of a confederation (RFC 5065 §3).
    pub fn is_confederation(self) -> bool {
        matches!(self, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)
    }
}

impl AsPath {
    /// A path of one AS_SEQUENCE; empty for no numbers.
    pub fn sequence(asns: impl IntoIterator<Item = Asn>) -> Self {
        let asns: Vec<Asn> = asns.into_iter().collect();
        let segments = asns
            .chunks(255)
            .map(|chunk| AsSegment { kind: SegmentKind::Sequence, asns: chunk.to_vec() });
        Self(segments.collect())
    }

    /// Its length for the decision process (RFC 4271 §9.1.2.2 a): a set counts one,
    /// confederation segments none.
    pub fn hops(&self) -> usize {
        let hops = self.0.iter().map(|segment| match segment.kind {
            SegmentKind::Sequence => segment.asns.len(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        });
        hops.sum()
    }

    /// Whether `asn` stands anywhere in it: a loop if it is ours (RFC 4271 §9.1.2).
    pub fn contains(&self, asn: Asn) -> bool {
        self.0.iter().any(|segment| segment.asns.contains(&asn))
    }

    /// How often it stands in the path.
    pub fn count(&self, asn: Asn) -> usize {
        self.0.iter().flat_map(|segment| &segment.asns).filter(|one| **one == asn).count()
    }

    /// Whether it says what means something inside a confederation only (RFC 5065 §3).
    pub fn has_confederations(&self) -> bool {
        self.0.iter().any(|segment| segment.kind.is_confederation())
    }

    /// Takes that out, as has to be done before others are told (RFC 5065 §4.1 c).
    pub fn leave_confederations(&mut self) {
        self.0.retain(|segment| !segment.kind.is_confederation());
    }

    /// The neighbouring AS that the path was learned from: the first number of a leading
    /// AS_SEQUENCE. `None` for an empty path and one that begins with a set.
    pub fn first(&self) -> Option<Asn> {
        match self.0.first() {
            Some(segment) if segment.kind == SegmentKind::Sequence => segment.asns.first().copied(),
            _ => None,
        }
    }

    /// The AS that the path began in: the last number of a trailing AS_SEQUENCE.
    pub fn last(&self) -> Option<Asn> {
        match self.0.last() {
            Some(segment) if segment.kind == SegmentKind::Sequence => segment.asns.last().copied(),
            _ => None,
        }
    }

    /// Puts `asn` in front, as a speaker does that passes the path to another AS
    /// (RFC 4271 §5.1.2 b).
    pub fn prepend(&mut self, asn: Asn) {
        match self.0.first_mut() {
            Some(segment) if segment.kind == SegmentKind::Sequence && segment.asns.len() < 255 => {
                segment.asns.insert(0, asn);
            }
            _ => self.0.insert(0, AsSegment { kind: SegmentKind::Sequence, asns: vec![asn] }),
        }
    }
}

impl fmt::Display for AsPath {
    /// `65001 65002 {65003,65004} (65005)`, as looking glasses write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let (open, separator, close) = match segment.kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfedSequence => ("(", " ", ")"),
                SegmentKind::ConfedSet => ("[", ",", "]"),
            };
            f.write_str(open)?;
            for (index, asn) in segment.asns.iter().enumerate() {
                if index > 0 {
                    f.write_str(separator)?;
                }
                asn.fmt(f)?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

/// Who aggregated the prefix (RFC 4271 §4.3 g).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// Its AS.
    pub asn: Asn,
    /// Its address.
    pub address: Ipv4Addr,
}

/// An optional transitive attribute that we pass on as it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownAttribute {
    /// The attribute type code.
    pub code: u8,
    /// Whether the Partial bit was set on receipt; it is always set when we pass it on.
    pub partial: bool,
    /// The value, as it came.
    pub value: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asn(number: u32) -> Asn {
        Asn::new(number).unwrap()
    }

    #[test]
    fn prepending_extends_the_leading_sequence_or_begins_one() {
        let mut path = AsPath::sequence([]);
        path.prepend(asn(2));
        path.prepend(asn(1));
        assert_eq!(path, AsPath::sequence([asn(1), asn(2)]));
        let mut full = AsPath::sequence((1..=255).map(asn));
        full.prepend(asn(300));
        assert_eq!((full.0.len(), full.hops(), full.first()), (2, 256, Some(asn(300))));
    }

    #[test]
    fn a_set_counts_one_hop_and_a_confederation_none() {
        let segment = |kind| AsSegment { kind, asns: vec![asn(1), asn(2)] };
        for (kind, want) in [
            (SegmentKind::Sequence, 2),
            (SegmentKind::Set, 1),
            (SegmentKind::ConfedSequence, 0),
            (SegmentKind::ConfedSet, 0),
        ] {
            assert_eq!(AsPath(vec![segment(kind)]).hops(), want, "{kind:?}");
        }
    }
}
