//! The RIB: what was learned (Adj-RIB-In), what is best (Loc-RIB), what is told (Adj-RIB-Out).
//!
//! ```text
//!  UPDATE -> adj_in ----> table: prefix -> paths ----> best ----> changes -> kernel
//!            checks,      loc: books, what follows      |
//!            refusals     from each change              v
//!                                                  adj_out: per group of peers journals of
//!                                                  changed prefixes, per peer cursors + bits
//!                                                       |
//!                                     advertise(peer) -> export -> encoder -> messages
//! ```
//!
//! One path is sixteen octets: numbers of its peer, its attribute set, its next hop, and its
//! identifier where the peer tells several of a prefix. The sets and next hops are held once each
//! and counted by hand. Prefixes have small numbers, so that anything to be remembered of many
//! prefixes is a list or a set of bits; paths have some, too, while a peer is told several of a
//! prefix.

mod adj_in;
mod adj_out;
mod advertise;
mod attr_store;
mod best;
mod bits;
mod defer;
mod departure;
mod encoder;
mod export;
mod history;
mod journal;
mod judge;
mod limit;
mod links;
mod loc;
mod member;
mod next_hop;
mod offers;
mod path;
mod peer;
mod refreshing;
mod roles;
mod settings;
mod show;
mod stale;
mod table;
mod trace;
mod view;
mod watch;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::msg::{Attributes, NextHop, Nlri, Update};
use crate::net::{Family, Prefix};

pub use adj_in::prefer_last_if_going;
pub use attr_store::DEFAULT_LOCAL_PREF;
pub use departure::Departure;
pub use history::{Cause, Changes, Gap, Place, RouteChange, UsedPath};
pub use limit::{LimitAction, LimitLevel, LimitNews, PATHS_OF_ONE_PEER, PrefixLimits};
pub use settings::{
    NextHopMode, OwnRoute, Owned, PeerId, PeerKind, PeerPolicy, RibPeer, RibSession, RibSettings,
    SendPaths, SessionLink, Stale,
};
pub use trace::FilterTrace;
pub use view::{
    Advertisement, BestChange, Forwarding, Page, PathStatus, PathView, PeerCounts, Reason, Refusal,
    ToldView, Totals, Which,
};
pub use watch::{Look, LookedAt, WatchId, Watched};

use adj_in::{admit, import, refuse_path, route};
use adj_out::AdjOut;
use attr_store::AttrStore;
use best::Judge;
use encoder::Context;
use export::{Exporter, Treatment};
use history::History;
use judge::Workshop;
use loc::Edit;
use next_hop::{HopId, NextHops};
use path::{Path, PathKey, PeerIx, Source};
use peer::Peers;
use table::Table;
use watch::Watches;

/// Refused paths that are noted until somebody takes them.
const REJECTIONS: usize = 1 << 14;

/// The routing information bases of one speaker.
#[derive(Debug)]
pub struct Rib {
    settings: RibSettings,
    /// Addresses that are ours.
    own: FxHashSet<IpAddr>,
    peers: Peers,
    attributes: AttrStore,
    hops: NextHops,
    links: links::Links,
    /// By [`Family::index`], as all pairs here.
    tables: [Table; 2],
    /// Prefixes whose forwarding has changed since the last [`Rib::take_changes`].
    changed: [VecDeque<u32>; 2],
    out: AdjOut,
    departure: Departure,
    /// What peers announced that is not theirs, since the last [`Rib::take_refusals`].
    refusals: Vec<(PeerIx, Prefix)>,
    /// Which peers came nearer to their limits, since the last [`Rib::take_limit_news`].
    limit_news: Vec<LimitNews>,
    /// Which told too many paths to one prefix, since the last [`Rib::take_crowds`].
    crowds: Vec<(PeerId, Prefix)>,
    /// Paths that were refused, since the last [`Rib::take_rejections`].
    rejections: Vec<(PeerId, Nlri)>,
    /// Between [`Rib::defer`] and [`Rib::end_deferral`].
    deferring: bool,
    watches: Watches,
    /// What became of paths in use, while somebody wants to know.
    history: Option<History>,
}

impl Rib {
    /// An empty RIB.
    pub fn new(settings: RibSettings) -> Self {
        let hops = NextHops::new(settings.track_next_hops);
        Self {
            settings,
            own: FxHashSet::default(),
            peers: Peers::default(),
            attributes: AttrStore::default(),
            hops,
            links: links::Links::default(),
            tables: Family::ALL.map(Table::new),
            changed: Default::default(),
            out: AdjOut::default(),
            departure: Departure::Staying,
            refusals: Vec::new(),
            limit_news: Vec::new(),
            crowds: Vec::new(),
            rejections: Vec::new(),
            deferring: false,
            watches: Watches::default(),
            history: None,
        }
    }

    /// Adds a peer, or changes how one is treated. A changed import policy is applied to
    /// what was learned; a changed export policy sends only the difference. A change of the
    /// peer's AS, or between internal and external, takes full effect with its next session.
    pub fn configure_peer(&mut self, peer: PeerId, how: RibPeer) {
        let Some(ix) = self.peers.find(peer) else {
            self.peers.add(peer, how);
            return;
        };
        let Some(known) = self.peers.get_mut(ix) else { return };
        let before = known.treat(how);
        let how = &known.how;
        let is_judged_alike =
            (&before.import, before.kind, before.asn, before.address, before.source)
                == (&how.import, how.kind, how.asn, how.address, how.source)
                && (before.local_asn, before.allowed_own_asn)
                    == (how.local_asn, how.allowed_own_asn);
        let has_moved = before.address != how.address;
        let (deferring, departure, usual) = (self.deferring, self.departure, self.settings.asn);
        let treatment = known
            .session
            .as_ref()
            .map(|session| Treatment::of((usual, &self.links), how, session, deferring, departure));
        let address = how.address;
        self.note_limits(ix);
        if !is_judged_alike {
            self.judge_again(Some(ix), has_moved);
        }
        if let Some(treatment) = treatment {
            self.make_offers(&treatment);
            let exporter = Exporter {
                settings: &self.settings,
                attributes: &self.attributes,
                hops: &self.hops,
                links: &self.links,
                peers: &self.peers,
            };
            self.out.treat(ix, treatment, address, &exporter, &self.tables);
        }
    }

    /// Forgets a peer and all that was learned from it.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.session_down(peer);
        if let Some(ix) = self.peers.find(peer) {
            self.peers.remove(ix);
        }
    }

    /// The peer's session is Established: everything is to be told to it, End-of-RIB last.
    /// What was kept of an earlier session stays until the peer says End-of-RIB, or until
    /// [`Rib::drop_stale`]; but what was kept for a restart goes now in families that the peer
    /// did not go on forwarding.
    pub fn session_up(&mut self, peer: PeerId, session: RibSession) {
        let Some(ix) = self.peers.find(peer) else { return };
        if self.peers.get(ix).is_some_and(|known| known.session.is_some()) {
            self.session_down(peer);
        }
        for family in Family::ALL {
            if !session.negotiated.families.contains(&family) {
                self.forget_stale(ix, family);
            } else {
                self.forget_lost(ix, family, &session.negotiated);
            }
        }
        let Some(known) = self.peers.get_mut(ix) else { return };
        let treatment = Treatment::of(
            (self.settings.asn, &self.links),
            &known.how,
            &session,
            self.deferring,
            self.departure,
        );
        let negotiated = &session.negotiated;
        let has_marks = negotiated.route_refresh && negotiated.enhanced_refresh;
        known.begin(session);
        let address = known.how.address;
        self.make_offers(&treatment);
        self.out.join(ix, treatment, address, has_marks, &self.tables);
    }

    /// Numbers paths as far as a peer that is treated so is told several of a prefix.
    fn make_offers(&mut self, treatment: &Treatment) {
        for family in Family::ALL {
            if let Some(most) = treatment.paths[family.index()] {
                self.offer_paths(family, most);
            }
        }
    }

    /// The peer's session is over: what was learned from it goes.
    pub fn session_down(&mut self, peer: PeerId) {
        self.session_lost(peer, [None; 2]);
    }

    /// What peers announced since the last call that the owner of it did not, as far as it is
    /// still so; of very many only the first.
    pub fn take_refusals(&mut self) -> Vec<(PeerId, Prefix)> {
        let noted = std::mem::take(&mut self.refusals);
        let mut refusals: Vec<(PeerId, Prefix)> = noted
            .into_iter()
            .filter_map(|(ix, prefix)| {
                let table = &self.tables[prefix.family().index()];
                let entry = table.entry(table.find(&prefix)?);
                let mut paths = entry.paths.iter().filter(|path| path.peer == ix);
                let is_foreign =
                    paths.any(|path| self.refusal(&prefix, path) == Some(Refusal::NotOwned));
                is_foreign.then_some((self.peers.get(ix)?.id, prefix))
            })
            .collect();
        refusals.sort_unstable();
        refusals.dedup();
        refusals
    }

    /// Paths that were refused since the last call, in this order, one as often as it was told
    /// and when a changed filter refuses what it took before; of very many at once some are left
    /// out.
    pub fn take_rejections(&mut self) -> Vec<(PeerId, Nlri)> {
        std::mem::take(&mut self.rejections)
    }

    fn note_rejection(&mut self, ix: PeerIx, nlri: &Nlri) {
        if self.rejections.len() < REJECTIONS
            && let Some(peer) = self.peers.get(ix)
        {
            self.rejections.push((peer.id, *nlri));
        }
    }

    /// Takes in an UPDATE. Unknown peers and peers without session change nothing, nor do
    /// prefixes of families that were not agreed.
    pub fn learn(&mut self, from: PeerId, update: Update) {
        let Some(ix) = self.peers.find(from) else { return };
        let Some(peer) = self.peers.get(ix) else { return };
        let agreed = Family::ALL.map(|family| peer.has_family(family));
        if peer.limited.is_over {
            for announcement in &update.announced {
                for nlri in &announcement.prefixes {
                    self.pass_over(ix, nlri.family(), 1);
                }
            }
            return;
        }
        if peer.session.is_none() {
            // What is kept of an earlier session is not changed by late news of it.
            return;
        }
        for Nlri { prefix, path_id } in update.withdrawn {
            let family = prefix.family();
            if let Some(id) = self.tables[family.index()].find(&prefix) {
                self.edit(family, id, Edit::Remove(PathKey { peer: ix, id: path_id }));
            }
        }
        let Some(attributes) = update.attributes else { return };
        let Some(peer) = self.peers.get(ix) else { return };
        let (source, origin) = (Source::from(peer.how.kind), peer.how.source);
        let (session, import_policy) = (self.session_of(&peer.how), peer.how.import.clone());
        let came = self.attributes.intern(import(&peer.how, attributes));
        let attributes = Arc::clone(self.attributes.get(came));
        let mut shop = Workshop::default();
        for announcement in &update.announced {
            let Some(peer) = self.peers.get(ix) else { continue };
            let Some(session_now) = &peer.session else { continue };
            let next_hop = session_now.next_hop(announcement.next_hop);
            let refused =
                refuse_path(&self.settings, &self.own, &peer.how, &attributes, next_hop).is_some();
            let hop = self.hops.intern(next_hop);
            let over = self.links.interface(Some(next_hop)).cloned();
            for nlri in &announcement.prefixes {
                let Nlri { prefix, path_id } = nlri;
                let family = prefix.family();
                if !agreed[family.index()] {
                    continue;
                }
                if self.is_beyond(ix, nlri) {
                    self.pass_over(ix, family, 1);
                    continue;
                }
                if self.is_crowded(ix, nlri) {
                    continue;
                }
                let Some(id) = self.tables[family.index()].obtain(prefix) else { continue };
                let next_hop = (Some(next_hop), over.as_deref());
                let route = route(prefix, &attributes, next_hop, origin, session);
                let admitted = if refused { None } else { admit(&import_policy, &route).ok() };
                let refused = admitted.is_none();
                let matched = admitted.unwrap_or_default();
                let attributes = self.make(&mut shop, ix, &import_policy, came, matched);
                let key = PathKey { peer: ix, id: *path_id };
                let path = Path::new(key, (attributes, hop), source, origin).refused(refused);
                if refused {
                    self.note_rejection(ix, nlri);
                }
                self.edit(family, id, Edit::Put(path));
            }
            self.hops.release(hop);
        }
        self.empty(shop);
        self.attributes.release(came);
        self.note_limits(ix);
    }

    /// Notes the End-of-RIB of a family (RFC 4724 §2): what was kept of an earlier session and
    /// not told again goes.
    pub fn end_of_rib(&mut self, from: PeerId, family: Family) {
        let Some(ix) = self.peers.find(from) else { return };
        if let Some(peer) = self.peers.get_mut(ix)
            && peer.session.is_some()
        {
            peer.synced[family.index()] = true;
            self.forget_stale(ix, family);
        }
    }

    /// Whether the peer has sent its End-of-RIB for every agreed family of this session.
    pub fn is_synced(&self, peer: PeerId) -> bool {
        let peer = self.peers.find(peer).and_then(|ix| self.peers.get(ix));
        let Some((peer, session)) = peer.and_then(|peer| Some((peer, peer.session.as_ref()?)))
        else {
            return false;
        };
        session.negotiated.families.iter().all(|family| peer.synced[family.index()])
    }

    /// Sends a family to a peer again (RFC 2918 §4), between begin and end marks where
    /// agreed (RFC 7313 §4).
    pub fn refresh(&mut self, peer: PeerId, family: Family) {
        if let Some(ix) = self.peers.find(peer) {
            self.out.refresh(ix, family, &self.tables[family.index()]);
        }
    }

    /// Adds a prefix of our own with these attributes, or changes it; filters can tell `what`
    /// it is.
    pub fn originate(&mut self, prefix: Prefix, attributes: Attributes, what: OwnRoute) {
        let family = prefix.family();
        let Some(id) = self.tables[family.index()].obtain(&prefix) else { return };
        let set = self.attributes.intern(attributes);
        let path = Path::new(PathKey::OURS, (set, HopId::NONE), Source::Ours, what.into());
        self.edit(family, id, Edit::Put(path));
        self.attributes.release(set);
    }

    /// Removes a prefix of our own.
    pub fn withdraw(&mut self, prefix: &Prefix) {
        let family = prefix.family();
        if let Some(id) = self.tables[family.index()].find(prefix) {
            self.edit(family, id, Edit::Remove(PathKey::OURS));
        }
    }

    /// Next hops that came up since the last call and want [`Rib::resolve`], and those
    /// that no path uses any more. Always empty where next hops are not tracked.
    pub fn take_next_hops(&mut self) -> (Vec<NextHop>, Vec<NextHop>) {
        self.hops.take_news()
    }

    /// Whether [`Rib::take_next_hops`] would tell of one that wants [`Rib::resolve`]: until then
    /// what points there counts as unreachable.
    pub fn has_new_next_hops(&self) -> bool {
        self.hops.has_fresh()
    }

    /// Says how far a next hop is; `None` if it cannot be reached. Prefixes are decided anew
    /// when results are next asked for, for all next hops that changed until then.
    pub fn resolve(&mut self, next_hop: NextHop, cost: Option<u32>) {
        self.hops.resolve(next_hop, cost);
    }

    /// Tells which addresses are ours: next hops that are refused.
    pub fn set_own_addresses(&mut self, addresses: Vec<IpAddr>) {
        let own: FxHashSet<IpAddr> = addresses.into_iter().collect();
        if own != self.own {
            self.own = own;
            self.judge_again(None, false);
        }
    }

    /// What became best since the last call, each prefix once.
    pub fn take_changes(&mut self) -> Vec<BestChange> {
        self.take_some_changes(usize::MAX)
    }

    /// As [`Rib::take_changes`], but at most `limit` of them: what waits here takes a few
    /// octets a prefix, and one that changes again meanwhile takes none.
    pub fn take_some_changes(&mut self, limit: usize) -> Vec<BestChange> {
        self.settle_hops();
        let changes = self.collect_changes(limit);
        self.sweep();
        changes
    }

    /// Whether [`Rib::take_changes`] would tell of something that was noted before.
    pub fn has_changes(&self) -> bool {
        self.changed.iter().any(|changed| !changed.is_empty())
    }

    /// Passes over what [`Rib::take_changes`] and [`Rib::take_next_hops`] would tell: for
    /// whoever routes nothing, so that lists of it do not grow.
    pub fn forget_changes(&mut self) {
        self.settle_hops();
        for (table, changed) in self.tables.iter_mut().zip(&mut self.changed) {
            for id in std::mem::take(changed) {
                table.entry_mut(id).changed = false;
            }
        }
        self.hops.take_news();
        self.sweep();
    }

    /// Peers that have something to be told and had nothing before; each named once until
    /// [`Rib::advertise`] has given it all.
    pub fn take_woken(&mut self) -> Vec<PeerId> {
        self.settle_hops();
        let woken = self.out.take_woken();
        woken.into_iter().filter_map(|ix| self.peers.get(ix).map(|peer| peer.id)).collect()
    }

    /// The next messages for a peer, about `budget` octets of them; withdrawals first. Work
    /// is bounded, too: there may be more to come without a message yet.
    pub fn advertise(&mut self, to: PeerId, budget: usize) -> Advertisement {
        self.settle_hops();
        let Some(ix) = self.peers.find(to) else { return Advertisement::default() };
        let Self { settings, peers, attributes, hops, links, tables, out, .. } = self;
        let exporter = Exporter { settings, attributes, hops, links, peers };
        let contexts = Family::ALL.map(|family| Context {
            exporter: &exporter,
            table: &tables[family.index()],
            family,
        });
        let advertisement = out.advertise(ix, budget, contexts);
        self.sweep();
        advertisement
    }
}
