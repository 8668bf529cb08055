//! A path in sixteen octets, and the list of them that a prefix has.

use smallvec::SmallVec;

use super::attr_store::AttrId;
use super::next_hop::HopId;
use super::settings::{PeerKind, Stale};
use crate::filter::RouteSource;

/// A peer's place in the RIB's list of peers. Used again once nothing refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerIx(pub(super) u32);

impl PeerIx {
    /// Not a peer: the source of our own routes.
    pub(super) const OURS: PeerIx = PeerIx(u32::MAX);

    /// The place as a number for tables.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a path came from, as far as its further way depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// We originate it.
    Ours,
    /// Another AS.
    External,
    /// Our AS.
    Internal,
    /// Our AS, from a client that we reflect for.
    Client,
}

impl Source {
    /// Whether another speaker of our AS told us.
    pub(super) fn is_internal(self) -> bool {
        matches!(self, Source::Internal | Source::Client)
    }
}

impl From<PeerKind> for Source {
    fn from(kind: PeerKind) -> Self {
        match kind {
            PeerKind::External => Source::External,
            PeerKind::Internal => Source::Internal,
            PeerKind::ReflectorClient => Source::Client,
        }
    }
}

/// One way to reach a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Who told us.
    pub(super) peer: PeerIx,
    /// Its attributes after import; those that it came with, the set itself knows.
    pub(super) attributes: AttrId,
    /// Where it points; [`HopId::NONE`] for our own.
    pub(super) hop: HopId,
    /// What kind of peer told us.
    pub(super) source: Source,
    /// Where it comes from as filters have it.
    pub(super) origin: RouteSource,
    /// Import refused it: kept to be shown and judged again, never used. The reason follows
    /// from the path and the settings and is worked out when somebody asks.
    pub(super) refused: bool,
    /// The session that told it is over, and it is kept for this reason until the next one has
    /// told all, or until its peer is given up. Never of a refused path.
    pub(super) stale: Option<Stale>,
}

impl Path {
    /// The same whether stale or not: what others are told of it does not differ.
    pub(super) fn as_told(self) -> Self {
        Self { stale: None, ..self }
    }
}

/// The paths of a prefix, at most one a peer. Those in use stand first, the best before all.
pub(super) type PathList = SmallVec<[Path; 1]>;
