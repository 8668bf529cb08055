//! What the RIB should say, worked out from all that happened each time that it is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use brindle_bgp::msg::{Attributes, Community, NextHop};
use brindle_bgp::net::{ClusterId, Family, Prefix, RouterId};
use brindle_bgp::rib::{
    Forwarding, NextHopMode, Owned, PeerKind, PeerPolicy, RibPeer, RibSession, RibSettings,
    SendPaths,
};

use crate::support::{OUR_AS, OUR_CLUSTER, OUR_ID, along, asn, session};

/// Prefix, peer, and which of its paths.
pub(crate) type Key = (Prefix, u32, u32);

/// Everything that happened, as it stands: nothing is derived until somebody asks.
pub(crate) struct Model {
    pub(crate) settings: RibSettings,
    pub(crate) peers: BTreeMap<u32, RibPeer>,
    pub(crate) sessions: BTreeMap<u32, RibSession>,
    /// As received.
    pub(crate) learned: BTreeMap<Key, (Attributes, NextHop)>,
    /// Of those learned, what is kept from a session that is over.
    pub(crate) stale: BTreeSet<Key>,
    /// What peers have still to tell again, of families that they are about to.
    pub(crate) awaited: BTreeMap<(u32, Family), BTreeSet<Key>>,
    pub(crate) ours: BTreeMap<Prefix, Attributes>,
    pub(crate) costs: BTreeMap<NextHop, u32>,
    pub(crate) own: Vec<IpAddr>,
}

fn owns(owned: &Owned, prefix: &Prefix) -> bool {
    let exactly = owned.exactly.iter().any(|all| all.iter().any(|own| own == prefix));
    exactly || owned.inside.iter().any(|own| own.covers(prefix))
}

/// What the peer's sessions all say.
fn router_id(peer: u32) -> RouterId {
    session(peer).negotiated.their_open.router_id
}

#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// None for our own.
    pub(crate) from: Option<u32>,
    pub(crate) id: u32,
    pub(crate) attributes: Attributes,
    pub(crate) hop: Option<NextHop>,
    pub(crate) cost: u32,
    pub(crate) stale: bool,
}

impl Model {
    pub(crate) fn kind(&self, way: &Way) -> Option<PeerKind> {
        way.from.map(|from| self.peers[&from].kind)
    }

    /// What filters make of a path, and the next hop that they ask for.
    pub(crate) fn change(
        policy: &PeerPolicy,
        prefix: &Prefix,
        out: &mut Attributes,
    ) -> Option<NextHopMode> {
        let PeerPolicy::Filters(filters) = policy else { return None };
        let mut mode = None;
        match &*filters[0].name {
            "colours" => {
                let tag = Community((65001 << 16) | 1);
                if prefix.length() <= 12 {
                    out.local_pref = Some(50);
                    out.communities.push(tag);
                }
                if out.as_path.last() == Some(asn(65100)) {
                    out.med = Some(7);
                    out.as_path.prepend(asn(OUR_AS));
                    out.as_path.prepend(asn(OUR_AS));
                    mode = Some(NextHopMode::SelfAddress);
                }
                if out.communities.contains(&tag) {
                    out.med = Some(out.med.unwrap_or(0) + 3);
                    out.communities.retain(|community| *community != tag);
                    out.local_pref = Some(150);
                }
            }
            "loud" => {
                out.local_pref = Some(300);
                out.communities = vec![Community::NO_EXPORT];
                out.large_communities.clear();
                out.extended_communities.clear();
                mode = Some(NextHopMode::Keep);
            }
            _ => {}
        }
        mode
    }

    pub(crate) fn passes(
        policy: &PeerPolicy,
        prefix: &Prefix,
        hop: Option<&NextHop>,
        attributes: &Attributes,
    ) -> bool {
        match policy {
            PeerPolicy::AcceptAll => true,
            PeerPolicy::RefuseUnfiltered => false,
            PeerPolicy::Owned(owned) => owns(owned, prefix),
            PeerPolicy::OwnedByNextHop(owned) => hop
                .and_then(|hop| owned.get(&hop.address()))
                .is_some_and(|owned| owns(owned, prefix)),
            PeerPolicy::OriginatedOr(others) => {
                hop.is_none() || others.iter().any(|other| other.covers(prefix))
            }
            PeerPolicy::Filters(filters) => match &*filters[0].name {
                "no-default" => prefix.length() > 0,
                "colours" => {
                    (hop.is_some() || prefix.length() < 24)
                        && !attributes.as_path.contains(asn(65101))
                }
                _ => true,
            },
        }
    }

    pub(crate) fn is_accepted(
        &self,
        from: u32,
        prefix: &Prefix,
        attributes: &Attributes,
        hop: &NextHop,
    ) -> bool {
        let how = &self.peers[&from];
        let external = how.kind == PeerKind::External;
        let loops = attributes.as_path.contains(asn(OUR_AS))
            || attributes.originator_id == RouterId::new(OUR_ID).ok()
            || attributes.cluster_list.contains(&ClusterId(OUR_CLUSTER));
        let stranger = external && attributes.as_path.first() != Some(how.asn);
        !loops
            && !stranger
            && !self.own.contains(&hop.address())
            && Self::passes(&how.import, prefix, Some(hop), attributes)
    }

    pub(crate) fn forget(&mut self, key: Key) {
        self.learned.remove(&key);
        self.stale.remove(&key);
        self.note_told(key);
    }

    pub(crate) fn note_told(&mut self, key: Key) {
        if let Some(awaited) = self.awaited.get_mut(&(key.1, key.0.family())) {
            awaited.remove(&key);
        }
    }

    pub(crate) fn forget_stale(&mut self, from: u32, family: Family) {
        for key in self.stale.clone() {
            if key.1 == from && key.0.family() == family {
                self.forget(key);
            }
        }
    }

    /// What is refused is not kept.
    pub(crate) fn forget_refused_stale(&mut self) {
        for key in self.stale.clone() {
            let (prefix, from, _) = key;
            let (attributes, hop) = &self.learned[&key];
            if !self.peers.contains_key(&from) || !self.is_accepted(from, &prefix, attributes, hop)
            {
                self.forget(key);
            }
        }
    }

    /// Whether it was taken over.
    pub(crate) fn adopt(&mut self, from: u32, prefix: Prefix, hop: NextHop) -> bool {
        let sane = !hop.address().to_string().starts_with("203.0.113.9") || self.own.is_empty();
        let takes = self.peers.get(&from).is_some_and(|how| {
            Self::passes(&how.import, &prefix, Some(&hop), &Attributes::default())
                && !self.sessions.contains_key(&from)
        });
        let is_known = self.learned.keys().any(|&(at, by, _)| (at, by) == (prefix, from));
        if !takes || !sane || is_known {
            return false;
        }
        let how = &self.peers[&from];
        let path = if how.kind == PeerKind::External { vec![how.asn.get()] } else { vec![] };
        self.learned.insert((prefix, from, 0), (along(&path), hop));
        self.stale.insert((prefix, from, 0));
        true
    }

    pub(crate) fn ways(&self, prefix: &Prefix) -> Vec<Way> {
        let mut ways = Vec::new();
        if let Some(attributes) = self.ours.get(prefix) {
            ways.push(Way {
                from: None,
                id: 0,
                attributes: attributes.clone(),
                hop: None,
                cost: 0,
                stale: false,
            });
        }
        for (key @ (at, from, id), (attributes, hop)) in &self.learned {
            if at != prefix || !self.is_accepted(*from, prefix, attributes, hop) {
                continue;
            }
            let Some(&cost) = self.costs.get(hop) else { continue };
            let stale = self.stale.contains(key);
            if stale && cost > 0 {
                continue;
            }
            let mut attributes = attributes.clone();
            if self.peers[from].kind == PeerKind::External {
                attributes.local_pref = None;
            }
            if attributes.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
                attributes.local_pref = Some(0);
            }
            attributes.local_pref = Some(attributes.local_pref.unwrap_or(100));
            Self::change(&self.peers[from].import, prefix, &mut attributes);
            if attributes.communities.contains(&Community::GRACEFUL_SHUTDOWN) {
                attributes.local_pref = Some(0);
            }
            ways.push(Way { from: Some(*from), id: *id, attributes, hop: Some(*hop), cost, stale });
        }
        ways
    }

    /// The best way and all that are used.
    pub(crate) fn best(&self, prefix: &Prefix) -> (Option<Way>, Vec<Way>) {
        self.best_of(self.ways(prefix))
    }

    /// The ways that a peer with this setting is told of, if it is told several.
    fn chosen(&self, prefix: &Prefix, send: SendPaths) -> Vec<Way> {
        let mut left = self.ways(prefix);
        let most = match send {
            SendPaths::One => 1,
            SendPaths::Best(count) => usize::from(count),
            SendPaths::All => return left,
        };
        let mut chosen = Vec::new();
        while chosen.len() < most
            && let Some(best) = self.best_of(left.clone()).0
        {
            left.retain(|way| (way.from, way.id) != (best.from, best.id));
            chosen.push(best);
        }
        chosen
    }

    fn best_of(&self, mut ways: Vec<Way>) -> (Option<Way>, Vec<Way>) {
        if let Some(ours) = ways.iter().find(|way| way.from.is_none()) {
            return (Some(ours.clone()), vec![ours.clone()]);
        }
        let least = |ways: &mut Vec<Way>, of: &dyn Fn(&Way) -> u64| {
            let least = ways.iter().map(of).min();
            ways.retain(|way| Some(of(way)) == least);
        };
        least(&mut ways, &|way| way.stale.into());
        least(&mut ways, &|way| u64::MAX - u64::from(way.attributes.local_pref.unwrap()));
        least(&mut ways, &|way| way.attributes.as_path.hops() as u64);
        least(&mut ways, &|way| way.attributes.origin as u64);
        let rivals = ways.clone();
        ways.retain(|way| {
            !rivals.iter().any(|rival| {
                rival.attributes.as_path.first() == way.attributes.as_path.first()
                    && rival.attributes.med.unwrap_or(0) < way.attributes.med.unwrap_or(0)
            })
        });
        least(&mut ways, &|way| u64::from(self.kind(way) != Some(PeerKind::External)));
        least(&mut ways, &|way| way.cost.into());
        let id = |way: &Way| {
            way.attributes.originator_id.unwrap_or_else(|| router_id(way.from.unwrap()))
        };
        ways.sort_by_key(|way| (id(way), way.attributes.cluster_list.len(), way.from, way.id));
        let Some(best) = ways.first().cloned() else { return (None, vec![]) };
        let external = self.kind(&best) == Some(PeerKind::External);
        ways.retain(|way| {
            !external || way.attributes.as_path.first() == best.attributes.as_path.first()
        });
        let mut hops = BTreeSet::new();
        ways.retain(|way| hops.insert(way.hop));
        ways.truncate(self.settings.multipath);
        (Some(best), ways)
    }

    pub(crate) fn forwarding(&self, prefix: &Prefix) -> Forwarding {
        let (best, used) = self.best(prefix);
        match best {
            None => Forwarding::None,
            Some(way) if way.from.is_none() => Forwarding::Local,
            Some(_) => {
                let hops: BTreeSet<NextHop> = used.iter().filter_map(|way| way.hop).collect();
                Forwarding::Via(hops.into_iter().collect())
            }
        }
    }

    /// Whether a peer is told several paths.
    fn is_told_paths(&self, to: u32, prefix: &Prefix) -> bool {
        self.sessions[&to].negotiated.add_paths.send[prefix.family().index()]
    }

    pub(crate) fn told(&self, to: u32, prefix: &Prefix) -> Option<(Attributes, NextHop)> {
        if self.is_told_paths(to, prefix) {
            return None;
        }
        self.told_of(to, prefix, &self.best(prefix).0?)
    }

    /// All paths that a peer is told which is told several.
    pub(crate) fn told_paths(&self, to: u32, prefix: &Prefix) -> Vec<(Attributes, NextHop)> {
        if !self.is_told_paths(to, prefix) {
            return Vec::new();
        }
        let chosen = self.chosen(prefix, self.peers[&to].send_paths);
        chosen.into_iter().filter_map(|way| self.told_of(to, prefix, &way)).collect()
    }

    fn told_of(&self, to: u32, prefix: &Prefix, way: &Way) -> Option<(Attributes, NextHop)> {
        let (how, session) = (&self.peers[&to], &self.sessions[&to]);
        let agreed = &session.negotiated;
        if !agreed.families.contains(&prefix.family()) {
            return None;
        }
        if way.from == Some(to)
            || !Self::passes(&how.export, prefix, way.hop.as_ref(), &way.attributes)
        {
            return None;
        }
        let kind = self.kind(way);
        let external = how.kind == PeerKind::External;
        let reflected = matches!(kind, Some(PeerKind::Internal | PeerKind::ReflectorClient));
        if kind == Some(PeerKind::Internal) && how.kind == PeerKind::Internal {
            return None;
        }
        let has = |community| way.attributes.communities.contains(&community);
        if has(Community::NO_ADVERTISE)
            || external && (has(Community::NO_EXPORT) || has(Community::NO_EXPORT_SUBCONFED))
        {
            return None;
        }
        let mut out = way.attributes.clone();
        if external && way.from.is_some() {
            out.med = None;
        }
        let asked = Self::change(&how.export, prefix, &mut out);
        let how = &RibPeer { next_hop_mode: asked.unwrap_or(how.next_hop_mode), ..how.clone() };
        if external {
            out.as_path.prepend(asn(OUR_AS));
            out.local_pref = None;
            out.originator_id = None;
            out.cluster_list.clear();
        } else {
            out.local_pref.get_or_insert(100);
            if reflected {
                out.originator_id.get_or_insert(router_id(way.from.unwrap()));
                out.cluster_list.insert(0, ClusterId(OUR_CLUSTER));
            }
        }
        Some((out, self.told_hop(how, session, prefix, way)?))
    }

    pub(crate) fn told_hop(
        &self,
        how: &RibPeer,
        session: &RibSession,
        prefix: &Prefix,
        way: &Way,
    ) -> Option<NextHop> {
        let extended = session.negotiated.extended_next_hop;
        let own = match prefix.family() {
            Family::Ipv6Unicast => session.local_v6,
            Family::Ipv4Unicast if extended => session.local_v4.or(session.local_v6),
            Family::Ipv4Unicast => session.local_v4.filter(|hop| matches!(hop, NextHop::V4(_))),
        };
        let Some(hop) = way.hop else { return own };
        let shared = session.shared_link.iter().any(|link| link.contains(hop.address()));
        let is_link_local = hop.address().to_string().starts_with("fe80");
        let unreadable =
            prefix.family() == Family::Ipv4Unicast && hop.address().is_ipv6() && !extended;
        if unreadable || is_link_local && !shared || how.next_hop_mode == NextHopMode::SelfAddress {
            return own;
        }
        if how.next_hop_mode == NextHopMode::Keep || how.kind != PeerKind::External {
            return Some(hop);
        }
        if shared && own.is_some() && hop.address() != how.address { Some(hop) } else { own }
    }
}
