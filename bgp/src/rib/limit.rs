//! How many prefixes a peer may tell (RFC 4271 §6.7).
//!
//! Counted is what the peer has told and not withdrawn, refused paths included: they are kept,
//! too. Where it tells several paths of a prefix, each counts: each takes room. The limit holds in
//! the middle of an UPDATE: the first prefix beyond it is not taken, nor anything after it in that
//! session.
//!
//! Of one prefix a peer is believed [`PATHS_OF_ONE_PEER`] paths, whatever else it may tell: each
//! change of one makes all of them be compared.

use std::time::Duration;

use super::Rib;
use super::path::{PathKey, PeerIx};
use super::peer::Peer;
use super::settings::{PeerId, RibSession};
use crate::msg::Nlri;
use crate::net::{Family, Prefix};

/// The most paths to one prefix that are taken from one peer (RFC 7911): many more than a kernel
/// uses together, and as many as nodes of a large cluster share an address. Others are left out
/// until the peer tells them again when there is room, at the latest after a route refresh.
pub const PATHS_OF_ONE_PEER: usize = 512;

/// How many prefixes of each family a peer may tell, and what happens at that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixLimits {
    /// The most, by [`Family::index`]; `None` is no limit.
    pub most: [Option<u32>; 2],
    /// From how many percent of that it is warned.
    pub warn_percent: u8,
    /// What happens beyond it.
    pub action: LimitAction,
}

/// What happens to a peer that tells more prefixes than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAction {
    /// Its session ends, and the next one may begin after so long.
    Restart(Duration),
    /// It is said, and all is taken.
    Warn,
}

impl PrefixLimits {
    /// No limit.
    pub const NONE: Self = Self {
        most: [None; 2],
        warn_percent: 75,
        action: LimitAction::Restart(Duration::from_secs(300)),
    };

    /// How far `count` prefixes of a family are; `None` without a limit.
    pub fn level(&self, family: Family, count: usize) -> Option<LimitLevel> {
        let most = u64::from(self.most[family.index()]?);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        Some(if count > most {
            LimitLevel::Over
        } else if count.saturating_mul(100) >= most * u64::from(self.warn_percent) {
            LimitLevel::Near
        } else {
            LimitLevel::Below
        })
    }
}

/// How near a peer is to its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitLevel {
    /// Below the warning.
    #[default]
    Below,
    /// At the warning.
    Near,
    /// Beyond the limit.
    Over,
}

/// A peer has come nearer to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitNews {
    /// Which peer.
    pub peer: PeerId,
    /// Prefixes of which family.
    pub family: Family,
    /// How near.
    pub level: LimitLevel,
    /// Prefixes that it has told.
    pub count: usize,
    /// How many it may tell.
    pub most: u32,
}

/// What a peer's limits have led to, by [`Family::index`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limited {
    /// What was last said of it in this session.
    said: [LimitLevel; 2],
    /// The session is to end: nothing more is taken.
    pub(super) is_over: bool,
    /// Prefixes that were not taken for that, in all sessions.
    pub(super) beyond: [u64; 2],
    /// It was said in this session that paths to one prefix were too many.
    said_crowd: bool,
    /// Paths that were not taken for that, in all sessions.
    beyond_paths: [u64; 2],
}

impl Limited {
    /// A new session begins.
    pub(super) fn begin(&mut self) {
        (self.said, self.is_over, self.said_crowd) = (Default::default(), false, false);
    }
}

impl Peer {
    /// Prefixes that this session has told.
    fn told(&self, family: Family) -> usize {
        self.received[family.index()] - self.stale[family.index()]
    }

    /// Whether the session ends if the peer tells one more prefix of a family.
    pub(super) fn is_full(&self, family: Family) -> bool {
        match (self.how.limits.most[family.index()], self.how.limits.action) {
            (Some(most), LimitAction::Restart(_)) => {
                self.told(family) >= usize::try_from(most).unwrap_or(usize::MAX)
            }
            (None, _) | (_, LimitAction::Warn) => false,
        }
    }
}

impl Rib {
    /// Whether a path is one more than the peer may tell: one that it told before is not.
    pub(super) fn is_beyond(&self, ix: PeerIx, nlri: &Nlri) -> bool {
        let (family, key) = (nlri.family(), PathKey { peer: ix, id: nlri.path_id });
        let Some(peer) = self.peers.get(ix) else { return false };
        if !peer.limited.is_over && !peer.is_full(family) {
            return false;
        }
        let table = &self.tables[family.index()];
        let is_known =
            |id| table.entry(id).paths.iter().any(|p| p.key() == key && p.stale().is_none());
        peer.limited.is_over || !table.find(&nlri.prefix).is_some_and(is_known)
    }

    /// The peer tells `count` more prefixes than it may, or some after that.
    pub(super) fn pass_over(&mut self, ix: PeerIx, family: Family, count: usize) {
        let Some(peer) = self.peers.get_mut(ix) else { return };
        peer.limited.beyond[family.index()] += count as u64;
        if std::mem::replace(&mut peer.limited.is_over, true) {
            return;
        }
        let most = peer.how.limits.most[family.index()].unwrap_or_default();
        self.limit_news.push(LimitNews {
            peer: peer.id,
            family,
            level: LimitLevel::Over,
            count: peer.told(family) + count,
            most,
        });
    }

    /// Notes where a peer has come nearer to its limits.
    pub(super) fn note_limits(&mut self, ix: PeerIx) {
        let Some(peer) = self.peers.get_mut(ix) else { return };
        if peer.session.is_none() || peer.limited.is_over {
            return;
        }
        for family in Family::ALL {
            let count = peer.told(family);
            let Some(level) = peer.how.limits.level(family, count) else { continue };
            let said = &mut peer.limited.said[family.index()];
            if level == LimitLevel::Below {
                // Said again only after it was far below: counts go up and down around it.
                let is_far = peer.how.limits.level(family, count + count / 10 + 1);
                if is_far == Some(LimitLevel::Below) {
                    *said = level;
                }
            }
            if level <= *said {
                continue;
            }
            *said = level;
            let is_end = matches!(peer.how.limits.action, LimitAction::Restart(_));
            peer.limited.is_over |= level == LimitLevel::Over && is_end;
            let most = peer.how.limits.most[family.index()].unwrap_or_default();
            self.limit_news.push(LimitNews { peer: peer.id, family, level, count, most });
        }
    }

    /// Whether a path is one more to its prefix than is taken from a peer; if so, counts it.
    pub(super) fn is_crowded(&mut self, ix: PeerIx, nlri: &Nlri) -> bool {
        let (family, prefix) = (nlri.family(), nlri.prefix);
        let Some(peer) = self.peers.get_mut(ix) else { return false };
        let tells_several = |with: &RibSession| with.negotiated.add_paths.receive[family.index()];
        if !peer.session.as_ref().is_some_and(tells_several) {
            return false;
        }
        let table = &self.tables[family.index()];
        let Some(id) = table.find(&prefix) else { return false };
        let paths = &table.entry(id).paths;
        if paths.len() < PATHS_OF_ONE_PEER {
            return false;
        }
        let told = || paths.iter().filter(|path| path.peer == ix && path.stale().is_none());
        let is_known = told().any(|path| path.key().id == nlri.path_id);
        if is_known || told().count() < PATHS_OF_ONE_PEER {
            return false;
        }
        peer.limited.beyond_paths[family.index()] += 1;
        if !std::mem::replace(&mut peer.limited.said_crowd, true) {
            self.crowds.push((peer.id, prefix));
        }
        true
    }

    /// Peers that told more paths to a prefix than [`PATHS_OF_ONE_PEER`] since the last call:
    /// of each session the first such prefix.
    pub fn take_crowds(&mut self) -> Vec<(PeerId, Prefix)> {
        std::mem::take(&mut self.crowds)
    }

    /// Paths of a family that were not taken from a peer because it had told
    /// [`PATHS_OF_ONE_PEER`] to the same prefix, since it was configured.
    pub fn beyond_paths(&self, peer: PeerId, family: Family) -> u64 {
        let peer = self.peers.find(peer).and_then(|ix| self.peers.get(ix));
        peer.map_or(0, |peer| peer.limited.beyond_paths[family.index()])
    }

    /// Which peers came nearer to their limits since the last call. A session over its limit
    /// changes nothing any more, and is to be ended unless the action is to warn.
    pub fn take_limit_news(&mut self) -> Vec<LimitNews> {
        std::mem::take(&mut self.limit_news)
    }

    /// Prefixes of a family that were not taken from a peer because it had told more than it
    /// may, since it was configured.
    pub fn beyond_limit(&self, peer: PeerId, family: Family) -> u64 {
        let peer = self.peers.find(peer).and_then(|ix| self.peers.get(ix));
        peer.map_or(0, |peer| peer.limited.beyond[family.index()])
    }
}
