//! What others may see of the speaker: its peers and its RIB.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use brindle_bgp::fsm::{Negotiated, PeerRestart, WireId};
use brindle_bgp::net::{Asn, Family};
use brindle_bgp::rib::{PeerId, Rib, RibPeer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::peer::Order;
use super::rejections::Rejections;
use super::status::{Counters, PeerStatus, Shared};
use super::wire::Wake;
use super::{DynamicPeers, WantedPeer};
use crate::bfd;

/// A peer as the owner keeps it.
pub struct PeerEntry {
    /// As it is wanted.
    pub wanted: Arc<WantedPeer>,
    /// Whether an operator switched it off.
    pub disabled: bool,
    pub(super) shared: Arc<Shared>,
    /// Which of its tasks lives: what an earlier one said last is not listened to.
    pub(super) life: u64,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) accepted: mpsc::Sender<TcpStream>,
    pub(super) session: Option<Session>,
    /// The AS that it said to be in last: what is kept of it came from there.
    pub(super) told_asn: Option<Asn>,
    /// What it said of graceful restart in its last session.
    pub(super) restart: Option<PeerRestart>,
}

/// Until when paths of earlier sessions are kept.
pub(super) type StaleUntil = HashMap<(PeerId, Family), Instant>;

/// An established session as the owner knows it.
pub(super) struct Session {
    pub(super) wire: WireId,
    /// Our address on it.
    pub(super) local: IpAddr,
    pub(super) wake: Wake,
    /// What both sides agreed on.
    pub(super) agreed: Box<Negotiated>,
}

impl PeerEntry {
    /// Its session now.
    pub fn status(&self) -> Arc<PeerStatus> {
        self.shared.status.load_full()
    }

    /// Its messages so far.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How the RIB is to treat it by these settings: in the AS that it says to be in, where any
    /// other than ours will do.
    pub(super) fn as_for_rib(&self, wanted: &WantedPeer) -> RibPeer {
        let told = self.told_asn.filter(|_| wanted.session.any_external);
        RibPeer { asn: told.unwrap_or(wanted.rib.asn), ..wanted.rib.clone() }
    }

    /// Its BFD session.
    pub fn bfd(&self) -> &bfd::Report {
        &self.shared.bfd
    }
}

/// How often a fault of ours has ended what was started anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A peer's task, with its session.
    pub peers: u64,
    /// All BFD sessions.
    pub bfd: u64,
}

/// What can be read of the speaker.
pub struct View<'a> {
    /// The RIB.
    pub rib: &'a Rib,
    /// The peers.
    pub peers: &'a HashMap<PeerId, PeerEntry>,
    /// Whoever may become one.
    pub groups: Arc<Vec<DynamicPeers>>,
    /// How often what is refused was told.
    pub rejections: &'a Rejections,
    /// BFD packets that were dropped.
    pub bfd_drops: &'a bfd::Drops,
    /// Faults of ours.
    pub faults: Faults,
    pub(super) stale_until: &'a StaleUntil,
}

impl View<'_> {
    /// The peer of that name or address.
    pub fn find(&self, name_or_address: &str) -> Option<(PeerId, &PeerEntry)> {
        find(self.peers, name_or_address).map(|id| (id, &self.peers[&id]))
    }

    /// Until when paths of an earlier session of a peer are kept; `None` if nothing limits that.
    pub fn kept_until(&self, peer: PeerId, family: Family) -> Option<Instant> {
        self.stale_until.get(&(peer, family)).copied()
    }

    /// The peer's name, for display.
    pub fn name(&self, peer: PeerId) -> Arc<str> {
        self.peers.get(&peer).map_or_else(|| "?".into(), |entry| Arc::clone(&entry.wanted.rib.name))
    }
}

/// The peer of that name, else the one at that address.
pub(super) fn find(peers: &HashMap<PeerId, PeerEntry>, name_or_address: &str) -> Option<PeerId> {
    let by = |is_it: &dyn Fn(&WantedPeer) -> bool| {
        peers.iter().find(|(_, entry)| is_it(&entry.wanted)).map(|(id, _)| *id)
    };
    by(&|wanted| &*wanted.rib.name == name_or_address).or_else(|| {
        let (address, link) = match name_or_address.split_once('%') {
            Some((address, link)) => (address, Some(link)),
            None => (name_or_address, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return by(&|wanted| wanted.is_found && wanted.link.as_deref() == Some(address));
        };
        by(&|wanted| {
            wanted.address == address && (link.is_none() || wanted.link.as_deref() == link)
        })
    })
}
