//! What a path becomes when it is told to a peer, the same for all peers of a group.

use std::net::IpAddr;
use std::sync::Arc;

use super::adj_in::{admit, route};
use super::attr_store::{AttrId, AttrStore, DEFAULT_LOCAL_PREF, Scope};
use super::departure::Departure;
use super::links::Links;
use super::next_hop::{HopId, NextHops};
use super::path::{Path, PeerIx, Source};
use super::peer::Peers;
use super::roles;
use super::settings::{NextHopMode, PeerKind, PeerPolicy, RibPeer, RibSession, RibSettings};
use crate::filter::{self, Filter, Matched, NextHopChange, Session};
use crate::msg::{AddPaths, Attributes, ExtendedCommunity, NextHop, WireFormat};
use crate::net::{Asn, Family, Prefix, Role, RouterId};

/// Everything that decides what a peer is told, apart from which peer it is. Peers with
/// equal treatment are told the same octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Treatment {
    pub(super) kind: PeerKind,
    /// Our AS as the peer sees it.
    pub(super) asn: Asn,
    pub(super) policy: PeerPolicy,
    pub(super) mode: NextHopMode,
    /// Our next hops by family, as far as the peer can read them.
    pub(super) own: [Option<NextHop>; 2],
    pub(super) shared_link: Vec<Prefix>,
    /// Reads what LLGR_STALE means (RFC 9494 §4.3).
    pub(super) long_lived: bool,
    /// Is told only what is our own yet, since it keeps the rest (RFC 4724 §4.1).
    pub(super) deferred: bool,
    pub(super) format: WireFormat,
    pub(super) departure: Departure,
    /// Our role towards the peer.
    pub(super) role: Option<Role>,
    /// By family, how many paths of a prefix it is told; none if it is told the best without
    /// saying which of them that is.
    pub(super) paths: [Option<u32>; 2],
    /// Which links its filters look at; zero if they look at none.
    pub(super) links: u64,
}

/// What is told of a path: equal values are equal on the wire to peers with one policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    pub(super) attributes: AttrId,
    pub(super) form: Form,
    pub(super) hop: ToldHop,
    /// The rules of the policy that change it.
    pub(super) matched: Matched,
    /// Who told us, and is not told.
    pub(super) source: PeerIx,
}

/// How a path's attributes are changed on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Form {
    /// To our AS, from us or from outside.
    Inside,
    /// To our AS, reflected for the speaker with this identifier.
    Reflected(u32),
    /// To another AS, our own: keeps its MED.
    OutsideOwn,
    /// To another AS.
    Outside,
}

/// The next hop that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ToldHop {
    /// Ourselves.
    Own,
    /// That of the path. The flag says that a peer with this very address gets ours instead.
    Kept(HopId, bool),
}

/// What export must see beside the path.
pub(super) struct Exporter<'a> {
    pub(super) settings: &'a RibSettings,
    pub(super) attributes: &'a AttrStore,
    pub(super) hops: &'a NextHops,
    pub(super) links: &'a Links,
    pub(super) peers: &'a Peers,
}

impl Treatment {
    /// How a peer with an established session is treated, where `usual` is our AS with others
    /// and `links` are this host's, also while we are `deferring` and how far we are with leaving.
    pub(super) fn of(
        (usual, links): (Asn, &Links),
        peer: &RibPeer,
        session: &RibSession,
        deferring: bool,
        departure: Departure,
    ) -> Self {
        let negotiated = &session.negotiated;
        let extended = negotiated.extended_next_hop;
        // An IPv6 next hop for IPv4 prefixes needs RFC 8950.
        let readable = |hop: &NextHop| extended || matches!(hop, NextHop::V4(_));
        let v6 = session.local_v6.filter(|hop| matches!(hop, NextHop::V6 { .. }));
        let v4 = session.local_v4.filter(readable).or(v6.filter(|_| extended));
        let mut families = negotiated.families.clone();
        families.sort_unstable();
        families.dedup();
        Self {
            kind: peer.kind,
            asn: peer.own_asn(usual),
            policy: peer.export.clone(),
            mode: peer.next_hop_mode,
            own: [v4, v6],
            shared_link: session.shared_link.clone(),
            long_lived: negotiated.long_lived_restart,
            deferred: deferring && negotiated.restart.is_some(),
            format: WireFormat {
                four_octet_asns: negotiated.four_octet_asns,
                extended_message: negotiated.extended_message,
                extended_next_hop: extended,
                families,
                // What comes is none of its business.
                add_paths: AddPaths { receive: [false; 2], ..negotiated.add_paths },
                internal: peer.kind != PeerKind::External,
            },
            departure,
            role: roles::of(peer),
            paths: negotiated.add_paths.send.map(|agreed| agreed.then(|| peer.send_paths.most())),
            links: if peer.export.asks_for_interface() { links.version } else { 0 },
        }
    }

    /// Whether what [`Exporter::says_same`] calls equal is the same octets under both treatments.
    pub(super) fn has_same_form(&self, other: &Self) -> bool {
        (self.kind == PeerKind::External) == (other.kind == PeerKind::External)
            && self.asn == other.asn
            && self.own == other.own
            && self.format == other.format
            && self.shared_link == other.shared_link
            && self.role == other.role
            && self.links == other.links
            && (self.departure == Departure::Staying) == (other.departure == Departure::Staying)
    }

    /// The filters of the policy, if that is what it is.
    pub(super) fn filters(&self) -> Option<&[Arc<Filter>]> {
        match &self.policy {
            PeerPolicy::Filters(filters) => Some(filters),
            _ => None,
        }
    }

    fn is_external(&self) -> bool {
        self.kind == PeerKind::External
    }

    fn is_shared(&self, address: IpAddr) -> bool {
        self.shared_link.iter().any(|link| link.contains(address))
    }

    /// The next hop as it goes into a message. Its link-local part only means something on
    /// the link itself (RFC 2545 §3).
    pub(super) fn next_hop(
        &self,
        hop: ToldHop,
        family: Family,
        hops: &NextHops,
    ) -> Option<NextHop> {
        match hop {
            ToldHop::Own => self.own[family.index()],
            ToldHop::Kept(id, _) => match hops.get(id)? {
                NextHop::V6 { global, .. } if !self.is_shared(global.into()) => {
                    Some(NextHop::V6 { global, link_local: None })
                }
                hop => Some(hop),
            },
        }
    }
}

impl Exporter<'_> {
    /// What peers with this treatment are told of `path` to `prefix` if it is the best, or one of
    /// several that they are told; none if they must not hear of it.
    pub(super) fn export(&self, to: &Treatment, prefix: &Prefix, path: &Path) -> Option<Told> {
        if path.source() == Source::Internal && to.kind == PeerKind::Internal {
            return None; // RFC 4271 §9.2, RFC 4456 §6: only to and from clients
        }
        if to.deferred && path.source() != Source::Ours || !to.departure.lets_pass(path.source()) {
            return None;
        }
        if !roles::lets_pass(to.role, self.attributes.get(path.attributes)) {
            return None;
        }
        let key = self.attributes.key(path.attributes);
        if key.long_lived && !to.long_lived {
            return None;
        }
        match key.scope {
            Scope::Everyone => {}
            Scope::OurAs if !to.is_external() => {}
            Scope::OurAs | Scope::Nobody => return None,
        }
        let attributes = self.attributes.get(path.attributes);
        let session = Session { peer_type: to.kind.peer_type(), asn: to.asn };
        let next_hop = self.hops.get(path.hop);
        let over = if to.links == 0 { None } else { self.links.interface(next_hop) };
        let next_hop = (next_hop, over.map(|name| &**name));
        let route = route(prefix, attributes, next_hop, path.origin(), session);
        let matched = admit(&to.policy, &route).ok()?;
        let mode = match to.filters().and_then(|filters| filter::next_hop(filters, &matched)) {
            None => to.mode,
            Some(NextHopChange::SelfAddress) => NextHopMode::SelfAddress,
            Some(NextHopChange::Keep) => NextHopMode::Keep,
        };
        let hop = self.told_hop(to, mode, prefix.family(), path)?;
        let form = match (to.is_external(), path.source()) {
            (true, Source::Ours) => Form::OutsideOwn,
            (true, _) => Form::Outside,
            (false, Source::Ours | Source::External) => Form::Inside,
            (false, Source::Internal | Source::Client) => {
                let key = self.attributes.key(path.attributes);
                Form::Reflected(key.originator_or(self.peers.tie_breakers(path.peer).router_id))
            }
        };
        let attributes = self.attributes.alone(path.attributes);
        Some(Told { attributes, form, hop, matched, source: path.peer })
    }

    fn told_hop(
        &self,
        to: &Treatment,
        mode: NextHopMode,
        family: Family,
        path: &Path,
    ) -> Option<ToldHop> {
        let own = to.own[family.index()].map(|_| ToldHop::Own);
        let Some(hop) = self.hops.get(path.hop) else { return own };
        let address = hop.address();
        let unreadable = matches!(
            (family, hop),
            (Family::Ipv4Unicast, NextHop::V6 { .. }) if !to.format.extended_next_hop
        );
        let off_link = is_link_local(address) && !to.is_shared(address);
        if unreadable || off_link {
            return own;
        }
        match (mode, to.is_external()) {
            (NextHopMode::SelfAddress, _) => own,
            (NextHopMode::Keep, _) | (NextHopMode::Auto, false) => {
                Some(ToldHop::Kept(path.hop, false))
            }
            // Without a next hop of ours the peer whose address it is could be told nothing.
            (NextHopMode::Auto, true) if own.is_some() && to.is_shared(address) => {
                Some(ToldHop::Kept(path.hop, true))
            }
            (NextHopMode::Auto, true) => own,
        }
    }

    /// Whether two peers whose treatments have the same form are told the same octets.
    pub(super) fn says_same(&self, a: (&Treatment, &Told), b: (&Treatment, &Told)) -> bool {
        let bare = |told: &Told| Told { matched: Matched::default(), ..told.clone() };
        bare(a.1) == bare(b.1)
            && ((a.1.matched.is_empty() && b.1.matched.is_empty())
                || self.transform(a.0, a.1) == self.transform(b.0, b.1))
    }

    /// The attributes as they are told. What stays in our AS goes before filters add theirs,
    /// which so go out, and our AS stands in front of what they prepend.
    pub(super) fn transform(&self, to: &Treatment, told: &Told) -> Attributes {
        let mut out = (**self.attributes.get(told.attributes)).clone();
        if matches!(told.form, Form::Outside | Form::OutsideOwn) {
            // Stay in the AS that they were meant for (RFC 4360 §6).
            out.extended_communities.retain(ExtendedCommunity::is_transitive);
            // An external peer would withdraw the path for them, or end its session.
            out.as_path.leave_confederations();
        }
        if told.form == Form::Outside {
            out.med = None; // RFC 4271 §5.1.4
        }
        if let Some(filters) = to.filters() {
            filter::apply(filters, &told.matched, &mut out, to.asn);
        }
        match told.form {
            Form::Inside => {
                out.local_pref.get_or_insert(DEFAULT_LOCAL_PREF);
            }
            Form::Reflected(originator) => {
                out.originator_id = RouterId::new(originator).ok();
                out.cluster_list.insert(0, self.settings.cluster_id);
            }
            Form::OutsideOwn | Form::Outside => {
                out.as_path.prepend(to.asn);
                out.local_pref = None;
                out.originator_id = None;
                out.cluster_list = Vec::new();
            }
        }
        roles::mark(to.role, to.asn, &mut out);
        to.departure.mark(to.kind, &mut out);
        out
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
