//! Capabilities on the wire (RFC 5492 §4): code, length, value.

use bytes::{BufMut, Bytes, BytesMut};

use super::read::{self, Read};
use crate::msg::{AddPathFamily, Capability, GracefulRestart, LongLivedFamily, RestartFamily};
use crate::net::AfiSafi;

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGE: u8 = 6;
const ROLE: u8 = 9;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_ASN: u8 = 65;
const ADD_PATHS: u8 = 69;
const ENHANCED_ROUTE_REFRESH: u8 = 70;
const LONG_LIVED_RESTART: u8 = 71;

/// Splits one capability off a parameter; fails if the parameter ends before it does. A
/// known one with a value that its RFC does not allow counts as unknown: nothing was offered.
pub(super) fn decode<'a>(input: &'a [u8], octets: &Bytes) -> Read<'a, Capability> {
    let (input, code) = read::u8(input)?;
    let (input, value) = read::take_u8(input)?;
    let capability = known(code, value)
        .unwrap_or_else(|| Capability::Unknown { code, value: octets.slice_ref(value) });
    Ok((input, capability))
}

fn known(code: u8, value: &[u8]) -> Option<Capability> {
    match code {
        MULTIPROTOCOL => {
            let [afi_high, afi_low, _reserved, safi] = read::exactly(value)?;
            let afi = u16::from_be_bytes([afi_high, afi_low]);
            Some(Capability::Multiprotocol(AfiSafi { afi, safi }))
        }
        ROUTE_REFRESH => value.is_empty().then_some(Capability::RouteRefresh),
        EXTENDED_NEXT_HOP => extended_next_hop(value).map(Capability::ExtendedNextHop),
        EXTENDED_MESSAGE => value.is_empty().then_some(Capability::ExtendedMessage),
        ROLE => read::exactly(value).map(|[role]| Capability::Role(role)),
        GRACEFUL_RESTART => graceful_restart(value).map(Capability::GracefulRestart),
        FOUR_OCTET_ASN => {
            read::exactly(value).map(u32::from_be_bytes).map(Capability::FourOctetAsn)
        }
        ADD_PATHS => add_paths(value).map(Capability::AddPaths),
        ENHANCED_ROUTE_REFRESH => value.is_empty().then_some(Capability::EnhancedRouteRefresh),
        LONG_LIVED_RESTART => long_lived_restart(value).map(Capability::LongLivedRestart),
        _ => None,
    }
}

/// RFC 8950 §4: AFI, SAFI (in two octets) and next hop AFI, as often as needed.
fn extended_next_hop(value: &[u8]) -> Option<Vec<(AfiSafi, u16)>> {
    let (tuples, []) = value.as_chunks::<6>() else { return None };
    let tuple = |&[a0, a1, s0, s1, n0, n1]: &[u8; 6]| {
        let safi = u8::try_from(u16::from_be_bytes([s0, s1])).ok()?;
        let family = AfiSafi { afi: u16::from_be_bytes([a0, a1]), safi };
        Some((family, u16::from_be_bytes([n0, n1])))
    };
    tuples.iter().map(tuple).collect()
}

/// RFC 4724 §3: four bits of flags, twelve of time, and four octets a family.
fn graceful_restart(value: &[u8]) -> Option<GracefulRestart> {
    let (&[high, low], families) = value.split_first_chunk()?;
    let (families, []) = families.as_chunks::<4>() else { return None };
    let head = u16::from_be_bytes([high, low]);
    let family = |&[a0, a1, safi, flags]: &[u8; 4]| RestartFamily {
        family: AfiSafi { afi: u16::from_be_bytes([a0, a1]), safi },
        forwarding: flags & 0x80 != 0,
    };
    Some(GracefulRestart {
        restarting: head & 0x8000 != 0,
        notification: head & 0x4000 != 0,
        restart_secs: head & 0x0FFF,
        families: families.iter().map(family).collect(),
    })
}

/// RFC 7911 §4: AFI, SAFI and what the sender is able to do, as often as needed.
fn add_paths(value: &[u8]) -> Option<Vec<AddPathFamily>> {
    let (families, []) = value.as_chunks::<4>() else { return None };
    let family = |&[a0, a1, safi, able]: &[u8; 4]| AddPathFamily {
        family: AfiSafi { afi: u16::from_be_bytes([a0, a1]), safi },
        able,
    };
    Some(families.iter().map(family).collect())
}

/// RFC 9494 §3.1: AFI, SAFI, flags and 24 bits of time for each family.
fn long_lived_restart(value: &[u8]) -> Option<Vec<LongLivedFamily>> {
    let (families, []) = value.as_chunks::<7>() else { return None };
    let family = |&[a0, a1, safi, flags, t0, t1, t2]: &[u8; 7]| LongLivedFamily {
        family: AfiSafi { afi: u16::from_be_bytes([a0, a1]), safi },
        forwarding: flags & 0x80 != 0,
        stale_secs: u32::from_be_bytes([0, t0, t1, t2]),
    };
    Some(families.iter().map(family).collect())
}

/// Appends a capability; what goes over the 255 octets of its value is cut off, for lists
/// at an item.
pub(super) fn encode(capability: &Capability, out: &mut BytesMut) {
    match capability {
        Capability::Multiprotocol(AfiSafi { afi, safi }) => {
            out.put_slice(&[MULTIPROTOCOL, 4]);
            out.put_u16(*afi);
            out.put_slice(&[0, *safi]);
        }
        Capability::RouteRefresh => out.put_slice(&[ROUTE_REFRESH, 0]),
        Capability::ExtendedNextHop(tuples) => {
            let tuples = tuples.get(..255 / 6).unwrap_or(tuples);
            put_head(EXTENDED_NEXT_HOP, tuples.len() * 6, out);
            for (AfiSafi { afi, safi }, next_hop_afi) in tuples {
                out.put_u16(*afi);
                out.put_u16((*safi).into());
                out.put_u16(*next_hop_afi);
            }
        }
        Capability::ExtendedMessage => out.put_slice(&[EXTENDED_MESSAGE, 0]),
        Capability::Role(role) => out.put_slice(&[ROLE, 1, *role]),
        Capability::GracefulRestart(restart) => encode_graceful_restart(restart, out),
        Capability::FourOctetAsn(number) => {
            out.put_slice(&[FOUR_OCTET_ASN, 4]);
            out.put_u32(*number);
        }
        Capability::AddPaths(families) => {
            let families = families.get(..255 / 4).unwrap_or(families);
            put_head(ADD_PATHS, families.len() * 4, out);
            for AddPathFamily { family, able } in families {
                out.put_u16(family.afi);
                out.put_slice(&[family.safi, *able]);
            }
        }
        Capability::EnhancedRouteRefresh => out.put_slice(&[ENHANCED_ROUTE_REFRESH, 0]),
        Capability::LongLivedRestart(families) => encode_long_lived_restart(families, out),
        Capability::Unknown { code, value } => {
            let value = value.get(..255).unwrap_or(value);
            put_head(*code, value.len(), out);
            out.put_slice(value);
        }
    }
}

fn encode_graceful_restart(restart: &GracefulRestart, out: &mut BytesMut) {
    let families = restart.families.get(..(255 - 2) / 4).unwrap_or(&restart.families);
    put_head(GRACEFUL_RESTART, 2 + families.len() * 4, out);
    let flag = |is_set, bit| if is_set { bit } else { 0 };
    // RFC 4724 §3: the time has twelve bits; a longer one is the longest there is.
    let time = restart.restart_secs.min(0x0FFF);
    out.put_u16(flag(restart.restarting, 0x8000) | flag(restart.notification, 0x4000) | time);
    for RestartFamily { family, forwarding } in families {
        out.put_u16(family.afi);
        out.put_slice(&[family.safi, if *forwarding { 0x80 } else { 0 }]);
    }
}

fn encode_long_lived_restart(families: &[LongLivedFamily], out: &mut BytesMut) {
    let families = families.get(..255 / 7).unwrap_or(families);
    put_head(LONG_LIVED_RESTART, families.len() * 7, out);
    for LongLivedFamily { family, forwarding, stale_secs } in families {
        out.put_u16(family.afi);
        out.put_slice(&[family.safi, if *forwarding { 0x80 } else { 0 }]);
        out.put_uint(u64::from((*stale_secs).min(0x00FF_FFFF)), 3);
    }
}

fn put_head(code: u8, length: usize, out: &mut BytesMut) {
    out.put_slice(&[code, u8::try_from(length).unwrap_or(u8::MAX)]);
}
