//! What one station has been told, and what it is told next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::message::{
    DownReason, PeerHeader, PeerKind, Statistic, peer_down, peer_up, route_monitoring, statistics,
};
use super::monitoring::{Record, Speaker, Up};
use crate::msg::{
    AddPaths, Attributes, NextHop, Nlri, WireFormat, encode_attributes, end_of_rib, pack_announce,
    pack_withdraw,
};
use crate::net::Family;
use crate::rib::{Look, LookedAt, PeerId, Rib, WatchId, Watched};

/// Prefixes that are looked at in one go: enough to fill messages with those that share
/// attributes.
const LOOKS: usize = 2048;

/// Prefixes that one pull may pass to find out what there is of peers that came up.
const WORK: usize = 1 << 17;

/// What an UPDATE of 4096 octets has beside attributes and prefixes, and room for the longest
/// prefix and next hop.
const AROUND: usize = 128;

/// What the Loc-RIB's only table is called (RFC 9069 §5.3).
const TABLE: &str = "global";

/// A station; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(pub(super) u32);

/// Which routes a station is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Views {
    /// What peers told, before import filters (RFC 7854).
    pub pre_policy: bool,
    /// What is left of it behind them (RFC 7854).
    pub post_policy: bool,
    /// What is best (RFC 9069).
    pub loc_rib: bool,
}

/// What a station is told next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Whole messages, in their order.
    pub messages: Vec<Bytes>,
    /// Whether there is more to be told.
    pub more: bool,
    /// Times that a route changed and the station was told only what became of it later, since
    /// it began to listen.
    pub superseded: u64,
}

/// A peer that the station believes to be up.
#[derive(Debug)]
struct Told {
    generation: u64,
    up: Arc<Up>,
    /// End-of-RIB is still due: what is told of it now is no news.
    begins: Vec<Family>,
}

#[derive(Debug)]
pub(super) struct Station {
    watch: WatchId,
    views: Views,
    told: BTreeMap<PeerId, Told>,
    /// Peers whose session is another than the station believes, or may be.
    changed: BTreeSet<PeerId>,
    /// Sessions to be told the end of, whose peers are gone.
    gone: Vec<(Arc<Up>, DownReason, SystemTime)>,
    /// Families of the Loc-RIB whose End-of-RIB is due; `None` before its Peer Up.
    loc_begins: Option<Vec<Family>>,
    /// The peer that was looked at last, so that no peer with many changes hides the others.
    last: Option<PeerId>,
    asleep: bool,
}

impl Station {
    pub(super) fn new(watch: WatchId, views: Views) -> Self {
        Self {
            watch,
            views,
            told: BTreeMap::new(),
            changed: BTreeSet::new(),
            gone: Vec::new(),
            loc_begins: None,
            last: None,
            asleep: false,
        }
    }

    pub(super) fn watch(&self) -> WatchId {
        self.watch
    }

    pub(super) fn session_changed(&mut self, peer: PeerId) {
        self.changed.insert(peer);
    }

    /// Nothing will be known of the peer any more.
    pub(super) fn peer_removed(&mut self, peer: PeerId, record: &Record) {
        self.changed.remove(&peer);
        if let (Some(told), Some((why, at))) = (self.told.remove(&peer), &record.down) {
            self.gone.push((told.up, why.clone(), *at));
        }
    }

    /// Whether it must be woken; it then counts as awake.
    pub(super) fn wakes(&mut self, is_marked: bool) -> bool {
        let has_news = is_marked || !self.changed.is_empty() || !self.gone.is_empty();
        has_news && std::mem::take(&mut self.asleep)
    }

    pub(super) fn pull(
        &mut self,
        rib: &mut Rib,
        sessions: &BTreeMap<PeerId, Record>,
        speaker: &Speaker,
        budget: usize,
        now: SystemTime,
    ) -> Pulled {
        let mut out = Out { messages: Vec::new(), octets: 0, budget };
        let mut work = 0;
        for (up, why, at) in self.gone.drain(..) {
            out.push(peer_down(&up.header(Some(at)), &why));
        }
        if self.views.loc_rib && self.loc_begins.is_none() {
            let open = speaker.open();
            let header = loc_header(speaker, Some(now));
            out.push(peer_up(&header, (None, [0; 2]), [&open, &open], TABLE));
            work += rib.follow(self.watch, Watched::Best);
            self.loc_begins = Some(Family::ALL.to_vec());
        }
        for (peer, told) in &mut self.told {
            if rib.is_lost_track_of(self.watch, *peer) {
                // No session has this number: the end of this one is told, and it begins anew.
                told.generation = 0;
                self.changed.insert(*peer);
            }
        }
        while work < WORK
            && out.has_room()
            && let Some(peer) = self.changed.pop_first()
        {
            work += self.tell_session(peer, rib, sessions.get(&peer), &mut out);
        }
        let is_done = self.tell_routes(rib, speaker, now, &mut out);
        let more = !is_done || !self.changed.is_empty();
        self.asleep = !more;
        if !more {
            rib.has_looked(self.watch);
        }
        Pulled { messages: out.messages, more, superseded: rib.superseded(self.watch) }
    }

    /// Tells the present session of a peer; answers how many prefixes were passed for it.
    fn tell_session(
        &mut self,
        peer: PeerId,
        rib: &mut Rib,
        record: Option<&Record>,
        out: &mut Out,
    ) -> usize {
        let Some(record) = record else { return 0 };
        let is_new = match self.told.get(&peer) {
            Some(told) => told.generation != record.generation || record.up.is_none(),
            None => true,
        };
        if !is_new {
            return 0;
        }
        if let Some(told) = self.told.remove(&peer) {
            let (why, at) = match &record.down {
                Some((why, at)) => (why.clone(), Some(*at)),
                None => (DownReason::Lost, None),
            };
            out.push(peer_down(&told.up.header(at), &why));
        }
        let Some(up) = &record.up else { return 0 };
        let (local, remote) = (up.ends.local, up.ends.remote);
        let ends = (Some(local.ip()), [local.port(), remote.port()]);
        out.push(peer_up(&up.header, ends, [&up.opens.sent, &up.opens.received], &up.name));
        let told =
            Told { generation: record.generation, up: Arc::clone(up), begins: up.families.clone() };
        self.told.insert(peer, told);
        rib.follow(self.watch, Watched::Peer(peer))
    }

    /// Tells routes until there is no room; whether all are told.
    fn tell_routes(
        &mut self,
        rib: &mut Rib,
        speaker: &Speaker,
        now: SystemTime,
        out: &mut Out,
    ) -> bool {
        if let Some(begins) = &mut self.loc_begins {
            for family in Family::ALL {
                let at = (!begins.contains(&family)).then_some(now);
                let header = loc_header(speaker, at);
                let format = format(AddPaths::default());
                loop {
                    if !out.has_room() {
                        return false;
                    }
                    let looks = rib.look(self.watch, Watched::Best, family, LOOKS);
                    if looks.is_empty() {
                        break;
                    }
                    out.routes((&header, &format), family, &looks, |path| path.after.as_ref());
                }
                if at.is_none() {
                    out.push(route_monitoring(&header, &end_of_rib(family)));
                    begins.retain(|due| *due != family);
                }
            }
        }
        let Views { pre_policy, post_policy, .. } = self.views;
        if !pre_policy && !post_policy {
            return true;
        }
        // From behind the one that was last, all around.
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.told.range((after, Bound::Unbounded)).map(|(peer, _)| *peer);
        let upto = self.last.map(|last| self.told.range(..=last).map(|(peer, _)| *peer));
        let order: Vec<PeerId> = behind.chain(upto.into_iter().flatten()).collect();
        for peer in order {
            // Of a session that is over there is nothing to tell but its end.
            if self.changed.contains(&peer) {
                continue;
            }
            let Some(told) = self.told.get_mut(&peer) else { continue };
            // What we took LOCAL_PREF for is nothing that an external peer told.
            let internal = told.up.header.asn == speaker.asn;
            // As the OPENs of the Peer Up have it (RFC 7854 §4.2).
            let format = format(AddPaths { send: told.up.path_ids, ..AddPaths::default() });
            let as_came = WireFormat { internal, ..format.clone() };
            for family in told.up.families.clone() {
                let begins = told.begins.contains(&family);
                let header = told.up.header((!begins).then_some(now));
                let post = PeerHeader { is_post_policy: true, ..header };
                loop {
                    if !out.has_room() {
                        return false;
                    }
                    let looks = rib.look(self.watch, Watched::Peer(peer), family, LOOKS);
                    if looks.is_empty() {
                        break;
                    }
                    self.last = Some(peer);
                    if pre_policy {
                        out.routes((&header, &as_came), family, &looks, |path| Some(&path.before));
                    }
                    if post_policy {
                        out.routes((&post, &format), family, &looks, |path| path.after.as_ref());
                    }
                }
                if begins {
                    let end = end_of_rib(family);
                    for header in [(pre_policy, &header), (post_policy, &post)] {
                        if let (true, header) = header {
                            out.push(route_monitoring(header, &end));
                        }
                    }
                    told.begins.retain(|due| *due != family);
                }
            }
        }
        true
    }

    pub(super) fn statistics(
        &self,
        rib: &Rib,
        speaker: &Speaker,
        withdrawn: impl Fn(PeerId) -> u32,
        now: SystemTime,
    ) -> Vec<Bytes> {
        let mut messages = Vec::new();
        if self.loc_begins.is_some() {
            let prefixes = rib.totals().prefixes.map(|count| count as u64);
            let mut figures = vec![Statistic::Best(prefixes.iter().sum())];
            let of = |family: &Family| Statistic::BestOf(*family, prefixes[family.index()]);
            figures.extend(Family::ALL.iter().map(of));
            messages.push(statistics(&loc_header(speaker, Some(now)), &figures));
        }
        for (peer, told) in &self.told {
            let counts: Vec<_> = told
                .up
                .families
                .iter()
                .filter_map(|family| Some((*family, rib.counts(*peer, *family)?)))
                .collect();
            let received = counts.iter().map(|(_, counts)| counts.received as u64).sum();
            let advertised = counts.iter().map(|(_, counts)| counts.advertised as u64).sum();
            let mut figures = vec![Statistic::Received(received)];
            figures.extend(
                counts
                    .iter()
                    .map(|(family, counts)| Statistic::ReceivedOf(*family, counts.received as u64)),
            );
            figures.push(Statistic::TreatedAsWithdraw(withdrawn(*peer)));
            figures.push(Statistic::Advertised(advertised));
            figures.extend(counts.iter().map(|(family, counts)| {
                Statistic::AdvertisedOf(*family, counts.advertised as u64)
            }));
            messages.push(statistics(&told.up.header(Some(now)), &figures));
        }
        messages
    }
}

fn loc_header(speaker: &Speaker, at: Option<SystemTime>) -> PeerHeader {
    let Speaker { asn, router_id } = *speaker;
    PeerHeader { kind: PeerKind::LocRib, asn, router_id, is_post_policy: false, at }
}

/// Messages in the making.
struct Out {
    messages: Vec<Bytes>,
    octets: usize,
    budget: usize,
}

impl Out {
    fn has_room(&self) -> bool {
        self.octets < self.budget
    }

    fn push(&mut self, message: Bytes) {
        self.octets += message.len();
        self.messages.push(message);
    }

    /// Tells paths of a family with the attributes that `pick` takes of them, or that they are
    /// gone where it takes none.
    fn routes(
        &mut self,
        (header, format): (&PeerHeader, &WireFormat),
        family: Family,
        looks: &[Look],
        pick: impl Fn(&LookedAt) -> Option<&Arc<Attributes>>,
    ) {
        // Equal sets are held once, so that they are known by where they are.
        let mut groups: FxHashMap<_, (&Arc<Attributes>, NextHop, Vec<Nlri>)> = FxHashMap::default();
        let mut gone = Vec::new();
        for Look { nlri, path } in looks {
            match path.as_ref().and_then(|path| Some((pick(path)?, path.next_hop))) {
                None => gone.push(*nlri),
                Some((attributes, next_hop)) => {
                    let next_hop = next_hop.unwrap_or(unspecified(family));
                    let group = groups
                        .entry((Arc::as_ptr(attributes), next_hop))
                        .or_insert_with(|| (attributes, next_hop, Vec::new()));
                    group.2.push(*nlri);
                }
            }
        }
        let mut updates = Vec::new();
        pack_withdraw(gone.into_iter(), family, format, &mut updates);
        for (attributes, next_hop, prefixes) in groups.into_values() {
            let attributes = encode_attributes(attributes, format);
            // What came in a longer message must go out in one.
            let extended_message = attributes.len() > format.max_message() - AROUND;
            let format = WireFormat { extended_message, ..format.clone() };
            let prefixes = prefixes.into_iter();
            pack_announce(prefixes, &next_hop, &attributes, family, &format, &mut updates);
        }
        for update in updates {
            self.push(route_monitoring(header, &update));
        }
    }
}

/// How UPDATEs for stations are written, whatever else was agreed with the peer.
fn format(add_paths: AddPaths) -> WireFormat {
    WireFormat {
        add_paths,
        four_octet_asns: true,
        extended_message: false,
        extended_next_hop: true,
        families: Family::ALL.to_vec(),
        internal: true,
    }
}

/// The next hop of our own routes.
fn unspecified(family: Family) -> NextHop {
    match family {
        Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::UNSPECIFIED).into(),
        Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::UNSPECIFIED).into(),
    }
}
