//! What a rule does to a route.

use std::fmt;

use super::{AnyCommunity, CommunityPattern};
use crate::msg::{Attributes, Community};
use crate::net::Asn;

/// One change of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// LOCAL_PREF; means nothing on the way to another AS.
    LocalPref(u32),
    /// MULTI_EXIT_DISC.
    Med(u32),
    /// More MULTI_EXIT_DISC, or less: none counts as 0, and it stays within its range.
    AddMed(i64),
    /// No MULTI_EXIT_DISC.
    RemoveMed,
    /// These communities besides those that are there.
    AddCommunities(Vec<AnyCommunity>),
    /// None of these communities.
    RemoveCommunities(Vec<CommunityPattern>),
    /// These communities in place of all that are there, of every kind.
    SetCommunities(Vec<AnyCommunity>),
    /// An AS, or ours, in front of the AS path, so many times. On the way to another AS ours
    /// comes in front of that once more, as always.
    Prepend(Option<Asn>, u8),
    /// Which next hop is told; means nothing on import.
    NextHop(NextHopChange),
}

/// Which next hop is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopChange {
    /// Ourselves.
    SelfAddress,
    /// That of the route.
    Keep,
}

impl Change {
    /// Changes `attributes`; `ours` is our AS.
    pub fn apply(&self, attributes: &mut Attributes, ours: Asn) {
        match self {
            Change::LocalPref(value) => attributes.local_pref = Some(*value),
            Change::Med(value) => attributes.med = Some(*value),
            Change::AddMed(by) => {
                let sum = i64::from(attributes.med.unwrap_or(0)).saturating_add(*by);
                attributes.med = Some(u32::try_from(sum.max(0)).unwrap_or(u32::MAX));
            }
            Change::RemoveMed => attributes.med = None,
            Change::AddCommunities(communities) => add(attributes, communities),
            Change::RemoveCommunities(patterns) => remove(attributes, patterns),
            Change::SetCommunities(communities) => {
                attributes.communities.retain(|&community| community == Community::LLGR_STALE);
                attributes.large_communities.clear();
                attributes.extended_communities.clear();
                add(attributes, communities);
            }
            Change::Prepend(asn, times) => {
                for _ in 0..*times {
                    attributes.as_path.prepend(asn.unwrap_or(ours));
                }
            }
            Change::NextHop(_) => {}
        }
    }
}

/// Adds communities to the lists of their kinds, which are sorted and hold each once.
fn add(attributes: &mut Attributes, communities: &[AnyCommunity]) {
    fn put<T: Ord>(list: &mut Vec<T>, one: T) {
        if let Err(place) = list.binary_search(&one) {
            list.insert(place, one);
        }
    }
    for &community in communities {
        match community {
            AnyCommunity::Standard(one) => put(&mut attributes.communities, one),
            AnyCommunity::Large(one) => put(&mut attributes.large_communities, one),
            AnyCommunity::Extended(one) => put(&mut attributes.extended_communities, one),
        }
    }
}

fn remove(attributes: &mut Attributes, patterns: &[CommunityPattern]) {
    let Attributes { communities, large_communities, extended_communities, .. } = attributes;
    for pattern in patterns {
        // Nobody may take away what says that a path is long dead (RFC 9494 §4.3).
        communities.retain(|&community| {
            community == Community::LLGR_STALE || !pattern.has_standard(community)
        });
        large_communities.retain(|&community| !pattern.has_large(community));
        extended_communities.retain(|&community| !pattern.has_extended(community));
    }
}

/// What is done, in the words of an operator: `local preference 200`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(
            f: &mut fmt::Formatter<'_>,
            word: &str,
            items: &[T],
        ) -> fmt::Result {
            write!(f, "{word} communities")?;
            items.iter().try_for_each(|item| write!(f, " {item}"))
        }
        match self {
            Change::LocalPref(value) => write!(f, "local preference {value}"),
            Change::Med(value) => write!(f, "MED {value}"),
            Change::AddMed(by) => write!(f, "MED {by:+}"),
            Change::RemoveMed => f.write_str("no MED"),
            Change::AddCommunities(communities) => list(f, "add", communities),
            Change::RemoveCommunities(patterns) => list(f, "remove", patterns),
            Change::SetCommunities(communities) => list(f, "set", communities),
            Change::Prepend(Some(asn), times) => write!(f, "prepend {asn} x{times}"),
            Change::Prepend(None, times) => write!(f, "prepend our AS x{times}"),
            Change::NextHop(NextHopChange::SelfAddress) => f.write_str("next hop self"),
            Change::NextHop(NextHopChange::Keep) => f.write_str("next hop kept"),
        }
    }
}
