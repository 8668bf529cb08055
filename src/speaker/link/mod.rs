//! Peers on links without addresses of their own ("unnumbered"): a peer is named by the
//! interface that it is on, and its address is the link-local one that it is found by.
//!
//! ```text
//!  links ◄── advertisement, lifetime 0 ── finder ──► Sighting ──► owner: which address is it?
//!        ─── advertisement ─────────────►   ▲                       │ as a peer with that address
//!                                           └──── our link-local ───┘ from then on
//! ```
//!
//! Both ends advertise themselves (RFC 4861) as routers that are nobody's default router, and
//! hear of each other so, as other implementations do it, too. Once its address is known the
//! peer is like any other, but that its address goes with its interface everywhere.

mod finder;
mod pace;
mod packet;
mod socket;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::info;

use super::WantedPeer;
use super::owner::Owner;
use crate::fib::LocalAddress;
use finder::Finder;
pub(super) use finder::{Link, Sighting};

/// How long an address with a session must have been silent for another one to count: more
/// than two of the advertisements that are due meanwhile.
const SILENT: Duration = Duration::from_secs(25);

/// The least time between two changes of the address: who advertises many has no more of us.
const CALM: Duration = Duration::from_secs(1);

impl WantedPeer {
    /// Where it is, as long as there is no other peer: its address, and its interface where the
    /// address alone does not say.
    pub(super) fn place(&self) -> (IpAddr, Option<Arc<str>>) {
        (self.address, self.link.clone())
    }

    /// Whether its address is known.
    pub(super) fn is_known(&self) -> bool {
        !(self.is_found && self.address.is_unspecified())
    }

    /// Whether `other` is at the same place.
    pub(super) fn is_at_place_of(&self, other: &WantedPeer) -> bool {
        (self.address, &self.link) == (other.address, &other.link)
            && (self.is_known() || self.link.is_some())
    }

    /// Where it is dialled.
    ///
    /// # Errors
    /// A sentence: it cannot be dialled now.
    pub(super) fn socket_address(&self) -> Result<SocketAddr, String> {
        let Some(link) = &self.link else {
            return Ok(SocketAddr::new(self.address, self.port));
        };
        let number = nix::net::if_::if_nametoindex(&**link)
            .map_err(|_| format!("this host has no interface {link}"))?;
        match self.address {
            _ if !self.is_known() => Err(format!(
                "nobody is found on {link} yet: no router advertisement came; does the other \
                 end have a peer on that interface?"
            )),
            IpAddr::V6(address) => Ok(SocketAddrV6::new(address, self.port, 0, number).into()),
            address => Ok(SocketAddr::new(address, self.port)),
        }
    }
}

/// The link-local addresses of ours on links with peers.
#[derive(Default)]
pub(super) struct Links {
    /// The peers as they were last asked for, with those on links as they are without address.
    asked: Vec<WantedPeer>,
    found: BTreeMap<Arc<str>, Found>,
    finder: Option<Finder>,
}

/// The neighbour on a link.
#[derive(Clone, Copy, Debug)]
struct Found {
    address: Ipv6Addr,
    since: Instant,
    heard: Instant,
}

impl Links {
    /// Keeps what is asked for, and fills in the addresses that were found.
    fn resolve(&mut self, wanted: Vec<WantedPeer>) -> Vec<WantedPeer> {
        self.asked = wanted;
        self.found.retain(|link, _| {
            self.asked.iter().any(|peer| peer.is_found && peer.link.as_ref() == Some(link))
        });
        self.asked.iter().cloned().map(|peer| self.fill_in(peer)).collect()
    }

    fn fill_in(&self, mut peer: WantedPeer) -> WantedPeer {
        let found = peer.link.as_ref().filter(|_| peer.is_found);
        if let Some(found) = found.and_then(|link| self.found.get(link)) {
            peer.address = found.address.into();
            peer.rib.address = peer.address;
        }
        peer
    }

    /// Our link-local addresses on the links that peers are on.
    fn of_peers(&self, own: &[LocalAddress], is_found: bool) -> Vec<Link> {
        let mut links = Vec::new();
        for local in own {
            let IpAddr::V6(address) = local.address else { continue };
            let is_on = |peer: &WantedPeer| {
                peer.link.as_ref() == Some(&local.interface) && (peer.is_found || !is_found)
            };
            if address.is_unicast_link_local() && self.asked.iter().any(is_on) {
                let name = Arc::clone(&local.interface);
                links.push(Link { name, index: local.index, address });
            }
        }
        links.sort();
        links.dedup();
        links
    }
}

impl Owner {
    /// Wants these peers, each on a link at the address that it was found by.
    pub(super) fn ask_for_peers(&mut self, wanted: Vec<WantedPeer>) {
        let wanted = self.links.resolve(wanted);
        self.follow_links();
        self.set_peers(wanted);
    }

    /// Which links there are with which addresses of ours, or which have peers, has changed:
    /// listens there, and looks for who else is there.
    pub(super) fn follow_links(&mut self) {
        let all = self.links.of_peers(&self.own, false);
        self.listeners.follow_links(&all);
        let sought = self.links.of_peers(&self.own, true);
        let is_gone = |link: &Arc<str>| !sought.iter().any(|other| other.name == *link);
        let gone: Vec<Arc<str>> =
            self.links.found.keys().filter(|link| is_gone(link)).cloned().collect();
        if !sought.is_empty() && self.links.finder.is_none() {
            let (finder, sightings) = Finder::new();
            (self.links.finder, self.sightings) = (Some(finder), Some(sightings));
        }
        if let Some(finder) = &mut self.links.finder {
            finder.set(sought);
        }
        if !gone.is_empty() {
            for link in gone {
                info!(interface = %link, "the interface is gone, and the neighbour on it");
                self.links.found.remove(&link);
            }
            self.set_found();
        }
    }

    /// Somebody is on a link. Who is there first stays the peer while it is heard of: a second
    /// one on the same link does not take a session away.
    pub(super) fn sighted(&mut self, sighting: Sighting) {
        let Sighting { link, neighbour } = sighting;
        let now = Instant::now();
        let is_peers = |peer: &WantedPeer| peer.is_found && peer.link.as_ref() == Some(&link);
        if !self.links.asked.iter().any(is_peers) {
            return;
        }
        if let Some(found) = self.links.found.get_mut(&link) {
            if found.address == neighbour {
                found.heard = now;
                return;
            }
            let has_session =
                self.peers.values().any(|entry| is_peers(&entry.wanted) && entry.session.is_some());
            if has_session && now < found.heard + SILENT || now < found.since + CALM {
                return;
            }
        }
        info!(interface = %link, address = %neighbour, "found the neighbour");
        self.links.found.insert(link, Found { address: neighbour, since: now, heard: now });
        self.set_found();
    }

    fn set_found(&mut self) {
        let asked = std::mem::take(&mut self.links.asked);
        let wanted = self.links.resolve(asked);
        self.set_peers(wanted);
    }

    /// The session with a peer has ended: it may be at another address by now.
    pub(super) fn look_for(&self, wanted: &WantedPeer) {
        if let (Some(finder), Some(link), true) =
            (&self.links.finder, &wanted.link, wanted.is_found)
        {
            finder.ask(link);
        }
    }
}

/// Where sightings come in, once there are links to look at.
pub(super) type Sightings = Option<mpsc::Receiver<Sighting>>;
