//! A path in sixteen octets, and the list of them that a prefix has.

use std::fmt;

use smallvec::SmallVec;

use super::attr_store::AttrId;
use super::next_hop::HopId;
use super::settings::{PeerKind, Stale};
use crate::filter::RouteSource;
use crate::msg::PathId;

/// A peer's place in the RIB's list of peers. Used again once nothing refers to it. Three octets,
/// so that a path fits into sixteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PeerIx([u8; 3]);

impl PeerIx {
    /// Not a peer: the source of our own routes.
    pub(super) const OURS: PeerIx = PeerIx([u8::MAX; 3]);

    /// The place with this number.
    pub(super) fn new(index: usize) -> Self {
        match u32::try_from(index).map(u32::to_be_bytes) {
            Ok([0, place @ ..]) if place != Self::OURS.0 => PeerIx(place),
            _ => unreachable!("fewer peers than file descriptors"),
        }
    }

    /// The place as a number for tables.
    pub(super) const fn index(self) -> usize {
        let [high, middle, low] = self.0;
        u32::from_be_bytes([0, high, middle, low]) as usize
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

/// What tells the paths of a prefix apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PathKey {
    /// Who told us.
    pub(super) peer: PeerIx,
    /// Which of its paths to the prefix; zero where it tells one only.
    pub(super) id: PathId,
}

impl PathKey {
    /// Our own route to the prefix.
    pub(super) const OURS: PathKey = PathKey { peer: PeerIx::OURS, id: PathId(0) };
}

/// One way to reach a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Its attributes after import; those that it came with, the set itself knows.
    pub(super) attributes: AttrId,
    /// Where it points; [`HopId::NONE`] for our own.
    pub(super) hop: HopId,
    /// Which of the peer's paths to the prefix.
    pub(super) id: PathId,
    /// Who told us.
    pub(super) peer: PeerIx,
    marks: Marks,
}

const _: () = assert!(size_of::<Path>() == 16);

/// Eight bits of a path: source, origin, refused, stale, awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Marks(u8);

const SOURCES: [Source; 4] = [Source::Ours, Source::External, Source::Internal, Source::Client];
const ORIGINS: [RouteSource; 4] =
    [RouteSource::Local, RouteSource::Service, RouteSource::Mesh, RouteSource::Peer];
const STALES: [Option<Stale>; 4] =
    [None, Some(Stale::Restarting), Some(Stale::Owned), Some(Stale::LongLived)];

/// Where the two bits of each begin, and the single bits.
const SOURCE_AT: u8 = 0;
const ORIGIN_AT: u8 = 2;
const STALE_AT: u8 = 4;
const REFUSED: u8 = 1 << 6;
const AWAITED: u8 = 1 << 7;

impl Marks {
    fn get<T: Copy>(self, of: &[T; 4], at: u8) -> T {
        of[usize::from(self.0 >> at & 3)]
    }

    fn set<T: PartialEq>(self, of: &[T; 4], at: u8, value: &T) -> Self {
        let place = (0..4).zip(of).find(|(_, known)| *known == value).map_or(0, |(place, _)| place);
        Self(self.0 & !(3 << at) | place << at)
    }

    fn put(self, bit: u8, is_set: bool) -> Self {
        Self(if is_set { self.0 | bit } else { self.0 & !bit })
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, origin) = (self.get(&SOURCES, SOURCE_AT), self.get(&ORIGINS, ORIGIN_AT));
        let stale = self.get(&STALES, STALE_AT);
        let (refused, awaited) = (self.0 & REFUSED != 0, self.0 & AWAITED != 0);
        write!(f, "{source:?} {origin:?} stale {stale:?} refused {refused} awaited {awaited}")
    }
}

impl Path {
    /// A path of a live session that passed import.
    pub(super) fn new(
        key: PathKey,
        (attributes, hop): (AttrId, HopId),
        source: Source,
        origin: RouteSource,
    ) -> Self {
        let path = Self { attributes, hop, id: key.id, peer: key.peer, marks: Marks(0) };
        path.from(source, origin)
    }

    /// What tells it apart from others to the same prefix.
    pub(super) fn key(&self) -> PathKey {
        PathKey { peer: self.peer, id: self.id }
    }

    /// What kind of peer told us.
    pub(super) fn source(&self) -> Source {
        self.marks.get(&SOURCES, SOURCE_AT)
    }

    /// Where it comes from as filters have it.
    pub(super) fn origin(&self) -> RouteSource {
        self.marks.get(&ORIGINS, ORIGIN_AT)
    }

    /// Import refused it: kept to be shown and judged again, never used. The reason follows
    /// from the path and the settings and is worked out when somebody asks.
    pub(super) fn is_refused(&self) -> bool {
        self.marks.0 & REFUSED != 0
    }

    /// The session that told it is over, and it is kept for this reason until the next one has
    /// told all, or until its peer is given up. Never of a refused path.
    pub(super) fn stale(&self) -> Option<Stale> {
        self.marks.get(&STALES, STALE_AT)
    }

    /// The peer tells the family again, and this path not yet.
    pub(super) fn is_awaited(&self) -> bool {
        self.marks.0 & AWAITED != 0
    }

    /// The same from another kind of peer.
    pub(super) fn from(self, source: Source, origin: RouteSource) -> Self {
        let marks = self.marks.set(&SOURCES, SOURCE_AT, &source);
        Self { marks: marks.set(&ORIGINS, ORIGIN_AT, &origin), ..self }
    }

    /// The same with other attributes.
    pub(super) fn with(self, attributes: AttrId) -> Self {
        Self { attributes, ..self }
    }

    /// The same, refused or not.
    pub(super) fn refused(self, is_refused: bool) -> Self {
        Self { marks: self.marks.put(REFUSED, is_refused), ..self }
    }

    /// The same, kept for a reason or live.
    pub(super) fn kept_for(self, stale: Option<Stale>) -> Self {
        Self { marks: self.marks.set(&STALES, STALE_AT, &stale), ..self }
    }

    /// The same, still to be told again or not.
    pub(super) fn awaited(self, is_awaited: bool) -> Self {
        Self { marks: self.marks.put(AWAITED, is_awaited), ..self }
    }

    /// The same whether stale or not: what others are told of it does not differ.
    pub(super) fn as_told(self) -> Self {
        self.kept_for(None).awaited(false)
    }
}

/// The paths of a prefix, at most one of each key. Those in use stand first, the best before all.
pub(super) type PathList = SmallVec<[Path; 1]>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::attr_store::AttrStore;

    #[test]
    fn every_mark_is_kept_beside_every_other() {
        let attributes = AttrStore::default().intern(crate::msg::Attributes::default());
        let key = PathKey { peer: PeerIx::new(70_000), id: PathId(u32::MAX) };
        assert_eq!(key.peer.index(), 70_000);
        for source in SOURCES {
            for origin in ORIGINS {
                for stale in STALES {
                    for bits in 0..4 {
                        let (refused, awaited) = (bits & 1 != 0, bits & 2 != 0);
                        let path = Path::new(key, (attributes, HopId::NONE), source, origin)
                            .kept_for(stale)
                            .refused(refused)
                            .awaited(awaited);
                        let got = (path.source(), path.origin(), path.stale());
                        assert_eq!(got, (source, origin, stale));
                        assert_eq!((path.is_refused(), path.is_awaited()), (refused, awaited));
                        let told = path.as_told();
                        assert_eq!((told.stale(), told.is_awaited()), (None, false));
                        assert_eq!((told.source(), told.is_refused()), (source, refused));
                    }
                }
            }
        }
    }
}
