//! Views of the RIB for people: pages in the order of prefixes, lookups, counts.

use std::net::IpAddr;
use std::sync::Arc;

use super::adj_out::AdjOut;
use super::encoder::Context;
use super::export::{Exporter, ToldHop};
use super::offers::Offers;
use super::path::{Path, PeerIx};
use super::settings::PeerId;
use super::table::{Entry, Table};
use super::view::{Page, PathStatus, PathView, PeerCounts, Refusal, ToldView, Totals, Which};
use super::{Judge, Rib};
use crate::net::{Family, Prefix};

/// Prefixes that one page looks at beyond the rows that it gives.
const LOOKS: usize = 1 << 16;

impl Rib {
    /// All paths of a prefix, the best first, then those used together with it, then those
    /// that lost, then refused ones.
    pub fn paths(&self, prefix: &Prefix) -> Vec<PathView> {
        let table = &self.tables[prefix.family().index()];
        table.find(prefix).map(|id| self.views(table, id)).unwrap_or_default()
    }

    /// The longest prefix with a usable path that `address` lies in, and all its paths.
    pub fn lookup(&self, address: IpAddr) -> Option<(Prefix, Vec<PathView>)> {
        let table = &self.tables[Family::of(address).index()];
        let mut covering = table.covering(address).into_iter().rev();
        let id = covering.find(|&id| table.entry(id).selected > 0)?;
        Some((table.prefix(id), self.views(table, id)))
    }

    /// A page of paths of a family in the order of their prefixes, from behind `after`, with
    /// about `limit` rows: the paths of one prefix are not parted. The table may change
    /// between pages; a prefix that stays is neither missed nor listed twice.
    pub fn page(
        &self,
        family: Family,
        which: Which,
        after: Option<&Prefix>,
        limit: usize,
    ) -> Page<PathView> {
        let table = &self.tables[family.index()];
        let from = match which {
            Which::From(peer) | Which::RefusedFrom(peer) => match self.peers.find(peer) {
                Some(ix) => Some(ix),
                None => return Page { rows: Vec::new(), next: None },
            },
            Which::Used | Which::All | Which::Refused => None,
        };
        let refused = matches!(which, Which::Refused | Which::RefusedFrom(_));
        let is_asked = |entry: &Entry, place: usize, path: &Path| match which {
            Which::Used => place < usize::from(entry.selected),
            _ => from.is_none_or(|ix| path.peer == ix) && (path.is_refused() || !refused),
        };
        let views = |id| {
            let entry = table.entry(id);
            let mut asked = entry.paths.iter().enumerate();
            // Working out the reasons costs; most prefixes of most questions are passed over.
            if !asked.any(|(place, path)| is_asked(entry, place, path)) {
                return Vec::new();
            }
            let mut views = self.ranked(table, id);
            views.retain(|&(place, _)| is_asked(entry, place, &entry.paths[place]));
            views.into_iter().map(|(_, view)| view).collect()
        };
        paged(table, after, limit, views)
    }

    /// A page of what a peer was told of a family, as [`Rib::page`].
    pub fn told(
        &self,
        to: PeerId,
        family: Family,
        after: Option<&Prefix>,
        limit: usize,
    ) -> Page<ToldView> {
        let table = &self.tables[family.index()];
        let found = self.peers.find(to).and_then(|ix| Some((ix, self.out.member(ix)?)));
        let Some((ix, member)) = found else { return Page { rows: Vec::new(), next: None } };
        let Some(group) = self.out.group_of(member) else {
            return Page { rows: Vec::new(), next: None };
        };
        let exporter = self.exporter();
        let with = Context { exporter: &exporter, table, family };
        let lane = &member.lanes[family.index()];
        let journals = &group.lanes[family.index()];
        let view = |prefix: u32, number: u32| {
            if !lane.told.has(number) {
                return None;
            }
            let told = self.out.wanted(ix, &with, number)?;
            let treatment = &group.treatment;
            let own = treatment.next_hop(ToldHop::Own, family, &self.hops);
            let kept = treatment.next_hop(told.hop, family, &self.hops);
            let is_self = matches!(told.hop, ToldHop::Kept(_, true))
                && kept.is_some_and(|hop| hop.address() == member.address);
            Some(ToldView {
                prefix: table.prefix(prefix),
                from: self.peers.get(told.source).map(|peer| peer.id),
                path_id: lane.by_path.then(|| Offers::path_id(number)),
                next_hop: (if is_self { own } else { kept })?,
                attributes: Arc::new(exporter.transform(treatment, &told)),
                is_pending: lane.owed.has(number)
                    || lane.owed_withdraw.has(number)
                    || journals.is_pending(lane.announce_cursor, number),
            })
        };
        let views = |id| -> Vec<ToldView> {
            match table.offers().filter(|_| lane.by_path) {
                None => view(id, id).into_iter().collect(),
                Some(offers) => {
                    offers.numbers_of(id).filter_map(|number| view(id, number)).collect()
                }
            }
        };
        paged(table, after, limit, views)
    }

    /// Counts of a peer in one family; none if it is unknown.
    pub fn counts(&self, peer: PeerId, family: Family) -> Option<PeerCounts> {
        let ix = self.peers.find(peer)?;
        let peer = self.peers.get(ix)?;
        let (received, rejected) = (peer.received[family.index()], peer.refused[family.index()]);
        let advertised =
            self.out.member(ix).map_or(0, |member| member.lanes[family.index()].told.len());
        let stale = peer.stale[family.index()];
        Some(PeerCounts { received, rejected, accepted: received - rejected, stale, advertised })
    }

    /// Counts of the whole RIB.
    pub fn totals(&self) -> Totals {
        let AdjOut { groups, .. } = &self.out;
        let mut totals = Totals {
            prefixes: [0, 1].map(|index| self.tables[index].len()),
            paths: [0, 1].map(|index| self.tables[index].paths),
            attributes: self.attributes.len(),
            next_hops: self.hops.len(),
            ..Totals::default()
        };
        for group in groups.iter().flatten() {
            totals.groups += 1;
            totals.encoded += group.encoder.encoded;
            for lane in &group.lanes {
                let (entries, octets) = lane.held();
                totals.noted += entries;
                totals.held_octets += octets;
            }
        }
        totals
    }

    pub(super) fn exporter(&self) -> Exporter<'_> {
        Exporter {
            settings: &self.settings,
            attributes: &self.attributes,
            hops: &self.hops,
            links: &self.links,
            peers: &self.peers,
        }
    }

    fn views(&self, table: &Table, id: u32) -> Vec<PathView> {
        self.ranked(table, id).into_iter().map(|(_, view)| view).collect()
    }

    /// All paths of a prefix with their places, in the order of [`Rib::paths`].
    fn ranked(&self, table: &Table, id: u32) -> Vec<(usize, PathView)> {
        let entry = table.entry(id);
        let prefix = table.prefix(id);
        let judge = Judge {
            attributes: &self.attributes,
            hops: &self.hops,
            peers: &self.peers,
            together: (&self.settings).into(),
        };
        let reasons = judge.explain(&entry.paths);
        let mut ranked: Vec<(usize, PathView)> = (0..)
            .zip(&entry.paths)
            .map(|(place, path)| {
                let reason =
                    reasons.iter().find(|&&(at, _)| at as usize == place).map(|&(_, why)| why);
                let status = match (path.is_refused(), reason) {
                    (true, _) => self
                        .refusal(&prefix, path)
                        .map_or(PathStatus::Unreachable, PathStatus::Refused),
                    (false, None) => PathStatus::Unreachable,
                    (false, Some(Some(reason))) => PathStatus::Lost(reason),
                    (false, Some(None)) if place == 0 => PathStatus::Best,
                    (false, Some(None)) => PathStatus::Multipath,
                };
                let view = PathView {
                    prefix,
                    from: self.peers.get(path.peer).map(|peer| peer.id),
                    path_id: self.peers.says_which(path, prefix.family()).then_some(path.id),
                    next_hop: self.hops.get(path.hop),
                    attributes: Arc::clone(self.attributes.get(path.attributes)),
                    status,
                    stale: path.stale(),
                };
                (place, view)
            })
            .collect();
        ranked.sort_by_key(|(place, view)| {
            let rank = match view.status {
                PathStatus::Best => 0,
                PathStatus::Multipath => 1,
                // What got furthest in the decision process stands nearest to the best.
                PathStatus::Lost(reason) => 100 - reason as usize,
                PathStatus::Unreachable => 101,
                PathStatus::Refused(_) => 102,
            };
            (rank, *place)
        });
        ranked
    }

    /// Why a path is refused.
    pub(super) fn refusal(&self, prefix: &Prefix, path: &Path) -> Option<Refusal> {
        if path.peer == PeerIx::OURS {
            return None;
        }
        let how = &self.peers.get(path.peer)?.how;
        let next_hop = self.hops.get(path.hop)?;
        self.judge(how, prefix, self.attributes.before(path.attributes), next_hop).err()
    }
}

/// Collects rows prefix by prefix until there are enough of them or enough was looked at.
fn paged<T>(
    table: &Table,
    after: Option<&Prefix>,
    limit: usize,
    rows_of: impl Fn(u32) -> Vec<T>,
) -> Page<T> {
    let mut page = Page { rows: Vec::new(), next: None };
    for (looks, id) in table.from(after).enumerate() {
        page.rows.extend(rows_of(id));
        if page.rows.len() >= limit.max(1) || looks == LOOKS {
            page.next = Some(table.prefix(id));
            break;
        }
    }
    page
}
