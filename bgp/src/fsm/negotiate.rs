//! The OPEN that we send, and what follows from the one that comes back.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::msg::{AddPathFamily, AddPaths, Capability, HoldTime, Notification, Open};
use crate::net::{AfiSafi, Family};

use super::restart::{agree, offer};
use super::{Direction, OwnRestart, PeerRestart, PeerSettings};

/// The address family identifier of IPv6, as next hop family (RFC 8950 §4).
const AFI_IPV6: u16 = 2;

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Who opened the wire.
    pub direction: Direction,
    /// The hold time in force.
    pub hold_time: HoldTime,
    /// Time between KEEPALIVEs; `None` if the hold timer is off.
    pub keepalive: Option<Duration>,
    /// The families that both offered; IPv4 alone if the peer offered none (RFC 4760 §8).
    pub families: Vec<Family>,
    /// AS numbers have four octets in both directions (RFC 6793).
    pub four_octet_asns: bool,
    /// Messages may have 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Where prefixes have path identifiers (RFC 7911).
    pub add_paths: AddPaths,
    /// The peer understands ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// The peer understands its begin and end marks (RFC 7313).
    pub enhanced_refresh: bool,
    /// Both sides offer graceful restart (RFC 4724): what the peer said of it.
    pub restart: Option<PeerRestart>,
    /// The peer reads routes of those that have been away for long (RFC 9494 §4.3).
    pub long_lived_restart: bool,
    /// The peer's OPEN, for display.
    pub their_open: Open,
}

/// The OPEN that we send to the peer.
pub(super) fn our_open(settings: &PeerSettings, own: OwnRestart) -> Open {
    let families = offered(settings);
    let mut capabilities: Vec<Capability> =
        families.iter().map(|&family| Capability::Multiprotocol(family.into())).collect();
    capabilities.push(Capability::RouteRefresh);
    if offers_extended_next_hop(settings, &families) {
        let ipv4 = AfiSafi::from(Family::Ipv4Unicast);
        capabilities.push(Capability::ExtendedNextHop(vec![(ipv4, AFI_IPV6)]));
    }
    if settings.extended_message {
        capabilities.push(Capability::ExtendedMessage);
    }
    if let Some(role) = settings.external_role() {
        capabilities.push(Capability::Role(role.value()));
    }
    capabilities.push(Capability::FourOctetAsn(settings.local_asn.get()));
    if settings.receive_paths || settings.send_paths {
        let able = |&family: &Family| {
            AddPathFamily::new(family.into(), settings.receive_paths, settings.send_paths)
        };
        capabilities.push(Capability::AddPaths(families.iter().map(able).collect()));
    }
    capabilities.push(Capability::EnhancedRouteRefresh);
    capabilities.extend(offer(settings, own));
    Open {
        my_as: settings.local_asn.two_octets(),
        hold_time: settings.hold_time,
        router_id: settings.router_id,
        capabilities,
    }
}

/// Checks the peer's OPEN (RFC 4271 §6.2) and says what holds between it and ours, or
/// with which NOTIFICATION to refuse it. Capabilities that we do not know are no reason.
pub(super) fn negotiate(
    settings: &PeerSettings,
    direction: Direction,
    theirs: Open,
) -> Result<Negotiated, Notification> {
    if !settings.expects(theirs.asn()) {
        return Err(Notification::bad_peer_as());
    }
    // Equal identifiers in different ASes are allowed (RFC 6286 §2.1).
    if settings.is_internal() && theirs.router_id == settings.router_id {
        return Err(Notification::bad_router_id());
    }
    if !fits_role(settings, &theirs.capabilities) {
        return Err(Notification::role_mismatch());
    }
    let ours = offered(settings);
    let families = common_families(&ours, &theirs.capabilities);
    if families.is_empty() {
        return Err(Notification::unsupported_capability(missing(&ours)));
    }

    let has = |wanted: fn(&Capability) -> bool| theirs.capabilities.iter().any(wanted);
    let hold_time = settings.hold_time.negotiate(theirs.hold_time);
    Ok(Negotiated {
        direction,
        hold_time,
        // A third is what RFC 4271 §4.4 suggests.
        keepalive: hold_time.timeout().map(|timeout| timeout / 3),
        four_octet_asns: has(|c| matches!(c, Capability::FourOctetAsn(_))),
        extended_message: settings.extended_message
            && has(|c| matches!(c, Capability::ExtendedMessage)),
        extended_next_hop: offers_extended_next_hop(settings, &families)
            && has(|c| match c {
                Capability::ExtendedNextHop(pairs) => {
                    pairs.contains(&(Family::Ipv4Unicast.into(), AFI_IPV6))
                }
                _ => false,
            }),
        add_paths: common_paths(settings, &families, &theirs.capabilities),
        route_refresh: has(|c| matches!(c, Capability::RouteRefresh)),
        enhanced_refresh: has(|c| matches!(c, Capability::EnhancedRouteRefresh)),
        restart: agree(settings, &families, &theirs.capabilities),
        // Alone the capability means nothing (RFC 9494 §4.1).
        long_lived_restart: has(|c| matches!(c, Capability::LongLivedRestart(_)))
            && has(|c| matches!(c, Capability::GracefulRestart(_))),
        families,
        their_open: theirs,
    })
}

/// Where both sides want several paths of one prefix (RFC 7911 §4): what is said of a family last
/// counts, wherever it stands, and what says nothing that is known does not.
fn common_paths(settings: &PeerSettings, families: &[Family], theirs: &[Capability]) -> AddPaths {
    let said = theirs.iter().flat_map(|capability| match capability {
        Capability::AddPaths(families) => families.as_slice(),
        _ => &[],
    });
    let mut agreed = AddPaths::default();
    for family in said.filter(|said| said.receives() || said.sends()) {
        let Some(known) = family.family.family().filter(|known| families.contains(known)) else {
            continue;
        };
        agreed.receive[known.index()] = settings.receive_paths && family.sends();
        agreed.send[known.index()] = settings.send_paths && family.receives();
    }
    agreed
}

/// Whether what the peer says of its role fits ours (RFC 9234 §4.2).
fn fits_role(settings: &PeerSettings, theirs: &[Capability]) -> bool {
    let Some(ours) = settings.external_role() else { return true };
    let mut theirs = theirs.iter().filter_map(|capability| match capability {
        Capability::Role(role) => Some(*role),
        _ => None,
    });
    let wanted = ours.opposite().value();
    match theirs.next() {
        None => !settings.role_strict,
        Some(role) => role == wanted && theirs.all(|other| other == wanted),
    }
}

/// Our families, each once, IPv4 first.
fn offered(settings: &PeerSettings) -> Vec<Family> {
    Family::ALL.into_iter().filter(|family| settings.families.contains(family)).collect()
}

fn offers_extended_next_hop(settings: &PeerSettings, families: &[Family]) -> bool {
    settings.extended_next_hop && families.contains(&Family::Ipv4Unicast)
}

/// The capabilities of these families as an OPEN carries them (RFC 4760 §8, RFC 5492 §5).
fn missing(families: &[Family]) -> Bytes {
    let mut octets = BytesMut::with_capacity(families.len() * 6);
    for &family in families {
        let AfiSafi { afi, safi } = family.into();
        octets.put_slice(&[1, 4]);
        octets.put_u16(afi);
        octets.put_slice(&[0, safi]);
    }
    octets.freeze()
}

fn common_families(ours: &[Family], theirs: &[Capability]) -> Vec<Family> {
    let offers: Vec<AfiSafi> = theirs
        .iter()
        .filter_map(|capability| match capability {
            Capability::Multiprotocol(family) => Some(*family),
            _ => None,
        })
        .collect();
    let is_common = |family: &Family| match offers.is_empty() {
        // Who does not know the capability speaks IPv4 alone (RFC 4760 §8).
        true => *family == Family::Ipv4Unicast,
        false => offers.contains(&AfiSafi::from(*family)),
    };
    ours.iter().copied().filter(is_common).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Asn, Role, RouterId};

    const IPV4: Capability = Capability::Multiprotocol(AfiSafi { afi: 1, safi: 1 });
    const IPV6: Capability = Capability::Multiprotocol(AfiSafi { afi: 2, safi: 1 });
    const VPN: Capability = Capability::Multiprotocol(AfiSafi { afi: 1, safi: 128 });

    fn settings(local: u32, remote: u32) -> PeerSettings {
        let router_id = RouterId::new(1).unwrap();
        PeerSettings::new(Asn::new(local).unwrap(), router_id, Asn::new(remote).unwrap())
    }

    fn open(my_as: u16, id: u32, capabilities: Vec<Capability>) -> Open {
        let router_id = RouterId::new(id).unwrap();
        Open { my_as, hold_time: HoldTime::DEFAULT, router_id, capabilities }
    }

    fn answer(settings: &PeerSettings, open: Open) -> Result<Vec<Family>, (u8, u8)> {
        negotiate(settings, Direction::Dialled, open)
            .map(|agreed| agreed.families)
            .map_err(|n| (n.code, n.subcode))
    }

    #[test]
    fn an_open_is_refused_for_its_as_its_identifier_or_its_families() {
        use Family::{Ipv4Unicast as V4, Ipv6Unicast as V6};
        let unknown = || Capability::Unknown { code: 200, value: Bytes::from_static(b"?") };
        let big = Capability::FourOctetAsn;
        let (ibgp, ebgp) = (settings(64512, 64512), settings(64512, 65001));
        let (to_trans, to_big) = (settings(64512, 23456), settings(64512, 100_000));
        for (row, settings, theirs, want) in [
            ("another AS", &ebgp, open(65002, 2, vec![]), Err((2, 2))),
            ("AS 0", &ebgp, open(0, 2, vec![]), Err((2, 2))),
            ("AS 0 in four octets", &ebgp, open(65001, 2, vec![big(0)]), Err((2, 2))),
            ("four octets count", &to_big, open(23456, 2, vec![big(100_000)]), Ok(vec![V4])),
            ("others in four octets", &to_big, open(23456, 2, vec![big(100_001)]), Err((2, 2))),
            ("AS_TRANS alone", &to_big, open(23456, 2, vec![]), Err((2, 2))),
            ("AS 23456 itself", &to_trans, open(23456, 2, vec![]), Ok(vec![V4])),
            ("our identifier, iBGP", &ibgp, open(64512, 1, vec![]), Err((2, 3))),
            ("our identifier, eBGP", &ebgp, open(65001, 1, vec![]), Ok(vec![V4])),
            ("class E identifier", &ebgp, open(65001, 0xF000_0001, vec![]), Ok(vec![V4])),
            ("IPv6 alone", &ebgp, open(65001, 2, vec![IPV6]), Ok(vec![V6])),
            ("both, IPv6 first", &ebgp, open(65001, 2, vec![IPV6, IPV4]), Ok(vec![V4, V6])),
            ("twice the same", &ebgp, open(65001, 2, vec![IPV6, IPV6]), Ok(vec![V6])),
            ("another family", &ebgp, open(65001, 2, vec![VPN]), Err((2, 7))),
            ("one of them known", &ebgp, open(65001, 2, vec![VPN, IPV4]), Ok(vec![V4])),
            ("unknown capability", &ebgp, open(65001, 2, vec![unknown()]), Ok(vec![V4])),
        ] {
            assert_eq!(answer(settings, theirs), want, "{row}");
        }
        let ipv6_only = PeerSettings { families: vec![V6], ..ebgp };
        let refusal = negotiate(&ipv6_only, Direction::Dialled, open(65001, 2, vec![]));
        assert_eq!(&refusal.unwrap_err().data[..], [1, 4, 0, 2, 0, 1], "what was missing");
    }

    #[test]
    fn roles_must_be_opposites() {
        use Role::{Customer, Peer, Provider, RouteServer, RouteServerClient as Client};
        let role = |role: Role| Capability::Role(role.value());
        let fits = |ours, strict, theirs: &[Capability]| {
            let settings =
                PeerSettings { role: ours, role_strict: strict, ..settings(64512, 65001) };
            match answer(&settings, open(65001, 2, theirs.to_vec())) {
                Ok(_) => true,
                Err(code) => {
                    assert_eq!(code, (2, 11), "{ours:?} {theirs:?}");
                    false
                }
            }
        };
        let pairs = [(Provider, Customer), (RouteServer, Client), (Peer, Peer)];
        for ours in Role::ALL {
            for theirs in Role::ALL {
                let want = pairs.contains(&(ours, theirs)) || pairs.contains(&(theirs, ours));
                assert_eq!(fits(Some(ours), false, &[role(theirs)]), want, "{ours} and {theirs}");
            }
            assert!(!fits(Some(ours), false, &[Capability::Role(5)]), "{ours} and no role at all");
            assert!(fits(Some(ours), false, &[]) && !fits(Some(ours), true, &[]), "{ours} alone");
            let opposite = role(ours.opposite());
            assert!(fits(Some(ours), true, &[opposite.clone(), opposite.clone()]), "{ours} twice");
            let other = Capability::Role(200);
            assert!(!fits(Some(ours), true, &[opposite, other]), "{ours} and two roles");
        }
        assert!(fits(None, true, &[role(Peer)]), "without a role of ours nothing is looked at");
        // Inside an AS there are none.
        let inside = PeerSettings { role: Some(Peer), role_strict: true, ..settings(1, 1) };
        assert_eq!(answer(&inside, open(1, 2, vec![])), Ok(vec![Family::Ipv4Unicast]));
        let says = |settings: &PeerSettings| {
            our_open(settings, OwnRestart::default()).capabilities.contains(&role(Peer))
        };
        assert!(!says(&inside) && says(&PeerSettings { role: Some(Peer), ..settings(1, 2) }));
    }

    #[test]
    fn a_capability_holds_if_both_offer_it() {
        let everything = vec![
            IPV4,
            Capability::RouteRefresh,
            Capability::ExtendedNextHop(vec![(Family::Ipv4Unicast.into(), 2)]),
            Capability::ExtendedMessage,
            Capability::FourOctetAsn(65001),
            Capability::EnhancedRouteRefresh,
        ];
        let full = settings(64512, 65001);
        let plain =
            PeerSettings { extended_message: false, extended_next_hop: false, ..full.clone() };
        let other_next_hop =
            vec![Capability::ExtendedNextHop(vec![(Family::Ipv6Unicast.into(), 1)])];
        for (ours, theirs, want) in [
            // Four octets, extended messages, extended next hops, refresh, enhanced refresh.
            (&full, everything.clone(), [true, true, true, true, true]),
            (&full, vec![], [false, false, false, false, false]),
            (&full, other_next_hop, [false, false, false, false, false]),
            (&plain, everything, [true, false, false, true, true]),
        ] {
            let agreed = negotiate(ours, Direction::Accepted, open(65001, 2, theirs)).unwrap();
            let got = [
                agreed.four_octet_asns,
                agreed.extended_message,
                agreed.extended_next_hop,
                agreed.route_refresh,
                agreed.enhanced_refresh,
            ];
            assert_eq!(got, want, "{:?}", agreed.their_open);
        }
    }

    #[test]
    fn several_paths_are_told_where_one_sends_and_the_other_receives() {
        let [v4, v6] = Family::ALL.map(AfiSafi::from);
        let said = |family, able| Capability::AddPaths(vec![AddPathFamily { family, able }]);
        let both = Capability::AddPaths(vec![
            AddPathFamily::new(v4, true, true),
            AddPathFamily::new(v6, false, true),
        ]);
        let (none, v4_alone) = ([false; 2], [true, false]);
        for (row, ours, theirs, receive, send) in [
            ("we want none", [false, false], vec![both.clone()], none, none),
            ("they want none", [true, true], vec![], none, none),
            ("all that both want", [true, true], vec![both.clone()], [true; 2], v4_alone),
            ("we receive only", [true, false], vec![both.clone()], [true; 2], none),
            ("we send only", [false, true], vec![both], none, v4_alone),
            (
                "a capability each",
                [true, true],
                vec![said(v4, 2), said(v6, 1)],
                v4_alone,
                [false, true],
            ),
            ("an unknown value", [true, true], vec![said(v4, 0), said(v6, 7)], none, none),
            (
                "an unknown value behind",
                [true, true],
                vec![said(v4, 2), said(v4, 4)],
                v4_alone,
                none,
            ),
            ("the last one counts", [true, true], vec![said(v4, 3), said(v4, 1)], none, v4_alone),
            (
                "another family",
                [true, true],
                vec![said(AfiSafi { afi: 1, safi: 128 }, 3)],
                none,
                none,
            ),
        ] {
            let settings = PeerSettings {
                receive_paths: ours[0],
                send_paths: ours[1],
                ..settings(64512, 65001)
            };
            let theirs = open(65001, 2, [vec![IPV4, IPV6], theirs].concat());
            let agreed = negotiate(&settings, Direction::Dialled, theirs).unwrap().add_paths;
            assert_eq!(agreed, AddPaths { receive, send }, "{row}");
        }
        // Nothing is agreed for a family that is not.
        let settings = PeerSettings { receive_paths: true, ..settings(64512, 65001) };
        let theirs = open(65001, 2, vec![IPV4, said(v6, 2)]);
        let agreed = negotiate(&settings, Direction::Dialled, theirs).unwrap();
        assert_eq!(agreed.add_paths, AddPaths::default());
        let offers = |receive_paths, send_paths| {
            let settings = PeerSettings { receive_paths, send_paths, ..settings.clone() };
            let open = our_open(&settings, OwnRestart::default());
            open.capabilities.into_iter().find(|c| matches!(c, Capability::AddPaths(_)))
        };
        let offer = |able| {
            let family = |family| AddPathFamily { family, able };
            Some(Capability::AddPaths(vec![family(v4), family(v6)]))
        };
        assert_eq!(offers(false, false), None);
        assert_eq!(offers(true, false), offer(1));
        assert_eq!(offers(false, true), offer(2));
        assert_eq!(offers(true, true), offer(3));
    }

    #[test]
    fn the_smaller_hold_time_and_a_third_of_it_are_agreed() {
        for (ours, theirs, hold, keepalive) in
            [(90, 30, 30, Some(10)), (9, 90, 9, Some(3)), (90, 0, 0, None), (0, 3, 0, None)]
        {
            let secs = |secs| HoldTime::from_secs(secs).unwrap();
            let settings = PeerSettings { hold_time: secs(ours), ..settings(64512, 65001) };
            let open = Open { hold_time: secs(theirs), ..open(65001, 2, vec![]) };
            let agreed = negotiate(&settings, Direction::Dialled, open).unwrap();
            let want = (secs(hold), keepalive.map(Duration::from_secs));
            assert_eq!((agreed.hold_time, agreed.keepalive), want, "{ours} s and {theirs} s");
        }
    }

    #[test]
    fn our_open_offers_what_the_settings_say() {
        let ipv4 = || AfiSafi::from(Family::Ipv4Unicast);
        let full = our_open(&settings(100_000, 65001), OwnRestart::default());
        assert_eq!((full.my_as, full.asn()), (23456, Asn::new(100_000).ok()));
        assert_eq!(
            full.capabilities,
            [
                IPV4,
                IPV6,
                Capability::RouteRefresh,
                Capability::ExtendedNextHop(vec![(ipv4(), 2)]),
                Capability::ExtendedMessage,
                Capability::FourOctetAsn(100_000),
                Capability::EnhancedRouteRefresh,
            ]
        );
        let ipv6_alone = PeerSettings {
            families: vec![Family::Ipv6Unicast],
            extended_message: false,
            ..settings(64512, 65001)
        };
        assert_eq!(
            our_open(&ipv6_alone, OwnRestart::default()).capabilities,
            [
                IPV6,
                Capability::RouteRefresh,
                Capability::FourOctetAsn(64512),
                Capability::EnhancedRouteRefresh,
            ]
        );
    }
}
