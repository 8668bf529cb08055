//! Where a peer of `bgp.peers` is: `peerIP`, `interface`, `reachableBy`, and the AS there.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use brindle_bgp::net::{Asn, Family};

use super::peer::{Around, Taken};
use crate::meaning::{ExpectedAs, PeerAs};
use crate::section::{Item, Section};
use crate::value;
use crate::yaml::quoted;

/// The most octets of an interface's name (`IFNAMSIZ` less one).
const LONGEST_NAME: usize = 15;

/// An address, and the interface of one that is link-local.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) link: Option<Arc<str>>,
    /// The address is the one that is found on the interface.
    pub(super) is_found: bool,
}

impl Place {
    /// Whether whoever is here may be there: of an interface, one neighbour is found.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        let is_same_link = self.link.is_some() && self.link == other.link;
        self == other || is_same_link && (self.is_found || other.is_found)
    }

    /// What stands for the places of a group of peers.
    pub(super) fn nowhere() -> Self {
        Self { address: Ipv6Addr::UNSPECIFIED.into(), link: None, is_found: false }
    }
}

/// Reads `peerIP` or `interface`, one of which there must be.
pub(super) fn read<'a>(
    section: &mut Section<'a>,
    around: &Around,
    taken: &mut Taken<'a>,
) -> Option<Place> {
    match (section.get("peerIP"), section.get("interface")) {
        (Some(_), Some(interface)) => {
            interface.refuse(
                "stands for an address that is found on it, so it goes without peerIP; a \
                 link-local address and its interface are one value, for instance \
                 \"peerIP: fe80::1%eth1\"",
            );
            None
        }
        (Some(peer_ip), None) => {
            let place = address(&peer_ip)?;
            taken.place(peer_ip, place, around)
        }
        (None, Some(item)) => {
            let link = Some(interface(&item)?);
            taken.place(item, Place { link, is_found: true, ..Place::nowhere() }, around)
        }
        (None, None) => {
            section.need("peerIP", "10.0.0.250");
            None
        }
    }
}

/// An address, which has its interface behind a `%` if it is link-local.
fn address(item: &Item) -> Option<Place> {
    let text = item.text()?;
    let plain = |address| Place { address, link: None, is_found: false };
    let Some((before, link)) = text.split_once('%') else {
        if text.parse::<Ipv6Addr>().is_ok_and(|address| address.is_unicast_link_local()) {
            item.refuse(format!(
                "{text} is link-local, and there is one on each interface; write it with its \
                 interface, for instance \"{text}%eth1\", or \"interface: eth1\" in place of peerIP"
            ));
            return None;
        }
        return value::host_address(item).map(plain);
    };
    match before.parse::<Ipv6Addr>() {
        Ok(address) if address.is_unicast_link_local() => {
            let link = Some(name(item, link)?);
            Some(Place { address: address.into(), link, is_found: false })
        }
        _ => {
            item.refuse(format!(
                "{} names an interface, which only a link-local address goes with, for instance \
                 \"fe80::1%eth1\"",
                quoted(text)
            ));
            None
        }
    }
}

fn interface(item: &Item) -> Option<Arc<str>> {
    name(item, item.text()?)
}

fn name(item: &Item, text: &str) -> Option<Arc<str>> {
    let is_name = (1..=LONGEST_NAME).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%' | '"' | '\''));
    if !is_name {
        item.refuse(format!(
            "{} is not the name of an interface; accepted are up to {LONGEST_NAME} letters, \
             digits and signs other than \"/\", \":\", \"%\" and quotes, for instance eth1",
            quoted(text)
        ));
        return None;
    }
    Some(text.into())
}

/// Reads `asNumber`: a number, or a word and some number that stands for it.
pub(super) fn as_number(item: &Item, around: &Around) -> Option<(Asn, Option<PeerAs>)> {
    match item.text()? {
        "external" => Some((ExpectedAs::External.example(around.asn), Some(PeerAs::External))),
        "internal" => Some((around.asn, Some(PeerAs::Internal))),
        word if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            item.refuse(format!(
                "{} is not an AS number; accepted are 1 to 4294967295, also written as 1.10, \
                 external (any AS but ours) and internal (ours)",
                quoted(word)
            ));
            None
        }
        _ => value::as_number(item).map(|asn| (asn, None)),
    }
}

/// What is read of `reachableBy`; `hops` is how far an external peer may be.
pub(super) fn reachable_by(
    section: &mut Section,
    place: Option<&Place>,
    external_hops: Option<u8>,
) -> Option<Option<IpAddr>> {
    let Some(item) = section.get("reachableBy") else { return Some(None) };
    let gateway = value::host_address(&item)?;
    let Some(Place { address, link, .. }) = place else { return Some(Some(gateway)) };
    if link.is_some() {
        item.refuse("a peer on an interface is on the link, and needs no gateway");
    } else if *address == gateway {
        item.refuse(format!("{gateway} is the peer's own address; leave reachableBy out"));
    } else if Family::of(*address) != Family::of(gateway) {
        item.refuse(format!(
            "{gateway} is an {} address and the peer's {address} an {} one; write a gateway of \
             the peer's family",
            Family::of(gateway),
            Family::of(*address)
        ));
    } else if external_hops == Some(1) {
        item.warn(
            "packets to an external peer reach no farther than the gateway without ebgpMultihop, \
             for instance \"ebgpMultihop: 2\"",
        );
    }
    Some(Some(gateway))
}
