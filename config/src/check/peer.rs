//! `bgp.peers:` whom the speaker talks to besides the mesh.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::bfd::Path;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Family, Role};
use brindle_bgp::rib::{NextHopMode, PrefixLimits};

use super::filter::Filters;
use super::place::{self, Place};
use super::{BGP_PORT, add_paths, auth, bfd, limits};
use crate::meaning::{AddPaths, Peer};
use crate::section::{Good, Item, Section};
use crate::value;
use crate::yaml::quoted;

/// What `nextHopMode` accepts.
pub(crate) const NEXT_HOP_MODES: [(&str, NextHopMode); 3] =
    [("Auto", NextHopMode::Auto), ("Self", NextHopMode::SelfAddress), ("Keep", NextHopMode::Keep)];

/// What `role` accepts.
pub(super) const ROLES: [(&str, Role); 5] = [
    ("provider", Role::Provider),
    ("customer", Role::Customer),
    ("peer", Role::Peer),
    ("rs-server", Role::RouteServer),
    ("rs-client", Role::RouteServerClient),
];

/// What the rest of the configuration says that a peer must fit to.
pub(super) struct Around<'c> {
    pub(super) asn: Asn,
    pub(super) hold_time: HoldTime,
    pub(super) ours: &'c [&'c Good<'c, IpAddr>],
    pub(super) filters: &'c Filters<'c>,
    pub(super) complete: bool,
}

/// Names and addresses in use, and by whom.
#[derive(Default)]
pub(super) struct Taken<'a> {
    names: Vec<Good<'a, String>>,
    places: Vec<Good<'a, Place>>,
}

/// Reads the list; peers with something wrong in them are missing.
pub(super) fn read(item: &Item, around: &Around) -> Vec<Peer> {
    let mut taken = Taken::default();
    let items = item.items().unwrap_or_default();
    items.iter().filter_map(|item| peer(item, around, &mut taken)).collect()
}

fn peer<'a>(item: &Item<'a>, around: &Around, taken: &mut Taken<'a>) -> Option<Peer> {
    read_peer(item.section()?, item, around, taken, None)
}

/// Reads what is left of a peer's section. One that stands for a `group` of dynamic peers has no
/// address, and an AS that stands for theirs.
pub(super) fn read_peer<'a>(
    mut section: Section<'a>,
    item: &Item<'a>,
    around: &Around,
    taken: &mut Taken<'a>,
    group: Option<Asn>,
) -> Option<Peer> {
    let name = section.need("name", "tor-a").and_then(|item| taken.name(item));
    let mut own = |key: &'static str, example: &str| match group {
        None => section.need(key, example),
        Some(_) => None,
    };
    let as_number = own("asNumber", "65001");
    let place = match group {
        None => place::read(&mut section, around, taken),
        Some(_) => Some(Place::nowhere()),
    };
    let address = place.as_ref().filter(|place| !place.is_found).map(|place| place.address);
    let named = as_number.and_then(|item| place::as_number(&item, around));
    let (asn, asn_word) = (group.or(named.map(|(asn, _)| asn)), named.and_then(|(_, word)| word));
    let local_asn = match section.get("localASNumber") {
        Some(item) => value::as_number(&item).map(Some),
        None => Some(None),
    };
    let ours = local_asn.flatten().unwrap_or(around.asn);
    let allowed_own_asn = section.get("numAllowedLocalASNumbers").map_or(Some(0), |item| {
        item.number(0, u8::MAX.into()).and_then(|number| u8::try_from(number).ok())
    });
    // Dynamic peers are never dialled.
    let mut dialled = |key: &'static str| if group.is_none() { section.get(key) } else { None };
    let port = dialled("port").map_or(Some(BGP_PORT), |item| value::port(&item));
    let source = dialled("sourceAddress");
    let passive = dialled("passive").map_or(Some(group.is_some()), |item| item.boolean());
    let source_address = match &source {
        Some(item) => value::host_address(item).map(Some),
        None => Some(None),
    };
    let auth = auth::signing(&mut section);
    let hops = auth::hops(&mut section, asn == Some(ours));
    let client = section.get("reflectorClient");
    let reflector_client = client.as_ref().map_or(Some(false), Item::boolean);
    let hold_time =
        section.get("holdTime").map_or(Some(around.hold_time), |item| value::hold_time(&item));
    let graceful_restart = match section.get("gracefulRestart") {
        Some(item) => item.boolean().map(Some),
        None => Some(None),
    };
    let restart_time = match section.get("maxRestartTime") {
        Some(item) => value::restart_time(&item).map(Some),
        None => Some(None),
    };
    let import = section.get("importFilters");
    let export = section.get("exportFilters");
    let next_hop_mode = section
        .get("nextHopMode")
        .map_or(Some(NextHopMode::Auto), |item| item.word(&NEXT_HOP_MODES));
    let limits = section.get("maxPrefixes");
    let limits = limits.map_or(Some(PrefixLimits::NONE), |item| limits::read(&item));
    let role = section.get("role");
    let role_word = role.as_ref().map_or(Some(None), |item| item.word(&ROLES).map(Some));
    let strict = section.get("roleStrict");
    let role_strict = strict.as_ref().map_or(Some(false), Item::boolean);
    let add_paths =
        section.get("addPaths").map_or(Some(AddPaths::OFF), |item| add_paths::read(&item));
    let link = place.as_ref().and_then(|place| place.link.as_deref());
    let bfd_item = section.get("bfd");
    let bfd = bfd_item.as_ref().and_then(|item| bfd::read(item, link));
    let far = |hops: &auth::Hops| hops.security.or(hops.multihop).unwrap_or(1);
    let is_external = asn.is_some_and(|asn| asn != around.asn);
    let hops_out = hops.as_ref().filter(|_| is_external).map(far);
    let reachable_by = match group {
        None => place::reachable_by(&mut section, place.as_ref(), hops_out),
        Some(_) => Some(None),
    };
    section.finish();
    if let (Some(item), Some(Path::SingleHop), Some(hops @ 2..)) =
        (&bfd_item, bfd.map(|bfd| bfd.path), hops_out)
    {
        item.warn(format!(
            "the peer may be {hops} hops away, and this is BFD over one (RFC 5881); with a router \
             between, both sides need BFD for several: \"multihop: true\""
        ));
    }
    if let (Some(item), Some(Place { link: Some(link), .. })) = (&source, &place) {
        item.refuse(format!(
            "a session on {link} is from our link-local address there; leave it out"
        ));
    }
    if let (Some(item), true) = (&role, asn == Some(ours)) {
        item.refuse(format!("a peer of our own AS {ours} has no role (RFC 9234)"));
    }
    if let (Some(item), Some(true), None) = (&strict, role_strict, &role) {
        item.refuse("without a role of ours there is none to ask for; write \"role: peer\" or another beside it");
    }

    if let (Some(item), Some(Some(ours)), Some(theirs)) = (&source, source_address, address) {
        source_fits(item, ours, theirs);
    }
    if let (Some(item), Some(true), Some(asn)) = (&client, reflector_client, asn)
        && asn != ours
    {
        item.refuse(format!(
            "only a peer of our own AS {ours} can be a reflector client; this one is AS {asn}",
        ));
    }
    if asn.is_some_and(|asn| asn != ours) {
        warn_of_silence(item, import.is_none(), export.is_none());
    }
    let resolve = |item: Option<Item>| match item {
        Some(item) => around.filters.resolve(&item, around.complete).map(Some),
        None => Some(None),
    };
    if let Some(import) = &import {
        around.filters.warn_of_next_hops(import);
    }
    let (import, export) = (resolve(import), resolve(export));
    Some(Peer {
        name: Arc::from(name?),
        address: place.as_ref()?.address,
        is_found: place.as_ref()?.is_found,
        link: place?.link,
        reachable_by: reachable_by?,
        port: port?,
        asn: asn?,
        asn_word,
        local_asn: local_asn?,
        allowed_own_asn: allowed_own_asn?,
        source_address: source_address?,
        passive: passive?,
        auth: auth?,
        ttl_security: hops?.security,
        ebgp_multihop: hops?.multihop,
        reflector_client: reflector_client?,
        hold_time: hold_time?,
        graceful_restart: graceful_restart?,
        restart_time: restart_time?,
        import: import?,
        export: export?,
        next_hop_mode: next_hop_mode?,
        limits: limits?,
        role: role_word?,
        role_strict: role_strict?,
        add_paths: add_paths?,
        bfd,
    })
}

impl<'a> Taken<'a> {
    fn name(&mut self, item: Item<'a>) -> Option<String> {
        let name = value::name(&item)?;
        if let Some(earlier) = self.names.iter().find(|earlier| earlier.value == name) {
            item.refuse(format!(
                "{} is the name of another peer, at {}",
                quoted(&name),
                earlier.item.node.place
            ));
            return None;
        }
        self.names.push(Good { value: name.clone(), item });
        Some(name)
    }

    /// Whether nobody has that place yet; it is taken from then on.
    pub(super) fn place(&mut self, item: Item<'a>, place: Place, around: &Around) -> Option<Place> {
        let address = place.address;
        if let Some(ours) = around.ours.iter().find(|ours| ours.value == address) {
            item.refuse(format!(
                "{address} is our own address, from {} at {}",
                ours.item.path, ours.item.node.place
            ));
            return None;
        }
        if let Some(earlier) = self.places.iter().find(|earlier| earlier.value == place) {
            let what = match &place.link {
                Some(link) if place.is_found => format!("{link} is the interface"),
                Some(link) => format!("{address}%{link} is the address"),
                None => format!("{address} is the address"),
            };
            item.refuse(format!("{what} of another peer, at {}", earlier.item.node.place));
            return None;
        }
        self.places.push(Good { value: place.clone(), item });
        Some(place)
    }
}

fn source_fits(item: &Item, ours: IpAddr, theirs: IpAddr) {
    if ours == theirs {
        item.refuse(format!("{ours} is the peer's own address"));
    } else if Family::of(ours) != Family::of(theirs) {
        item.refuse(format!(
            "{ours} is an {} address and cannot reach {theirs}; write an {} one of ours",
            Family::of(ours),
            Family::of(theirs)
        ));
    }
}

/// RFC 8212: an external peer without a filter gets and gives nothing, which surprises those
/// who do not know.
fn warn_of_silence(item: &Item, nothing_in: bool, nothing_out: bool) {
    let (missing, what) = match (nothing_in, nothing_out) {
        (true, true) => {
            ("importFilters and exportFilters", "nothing is taken from it or told to it")
        }
        (true, false) => ("importFilters", "nothing is taken from it"),
        (false, true) => ("exportFilters", "nothing is told to it"),
        (false, false) => return,
    };
    item.warn(format!(
        "{missing} missing for an external peer: {what} (RFC 8212); an empty list accepts everything"
    ));
}
