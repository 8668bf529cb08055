//! UPDATE (RFC 4271 §4.3, RFC 4760) to values, with the error handling of RFC 7606.

use bytes::Bytes;

use super::attr::{self, code};
use super::read::{self, Read};
use super::{Decoded, MessageError, Treatment, WireFormat, nlri};
use crate::msg::{Announcement, Message, NextHop, Nlri, Notification, Update};
use crate::net::Family;

/// The three fields of an UPDATE.
struct Fields<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    nlri: &'a [u8],
}

fn fields(body: &[u8]) -> Read<'_, Fields<'_>> {
    let (rest, withdrawn) = read::take_u16(body)?;
    let (nlri, attributes) = read::take_u16(rest)?;
    Ok((&[], Fields { withdrawn, attributes, nlri }))
}

/// Reads the body of an UPDATE; `octets` is the whole message.
///
/// Fails where only the end of the session is left: fields that leave the message, prefixes
/// that cannot be told apart, see [`attr::read`], and malformed attributes without
/// reachable prefixes that could be withdrawn for it (RFC 7606 §5.2).
pub(super) fn decode(
    body: &[u8],
    octets: &Bytes,
    format: &WireFormat,
) -> Result<Decoded, MessageError> {
    let malformed = || MessageError(Notification::malformed_attribute_list());
    let (_, fields) = fields(body).map_err(|_| malformed())?;
    let mut withdrawn = ipv4_prefixes(fields.withdrawn, format)?;
    let mut list = attr::read(fields.attributes, octets, format)?;
    let nlri = ipv4_prefixes(fields.nlri, format)?;

    let has_nlri = !fields.nlri.is_empty();
    let is_reachable = has_nlri || list.has_reachable;
    if is_reachable {
        note_missing(&mut list, has_nlri);
    }
    let next_hop = match list.next_hop.take() {
        None => None,
        Some(Ok(address)) => Some(address),
        Some(Err(why)) => {
            // RFC 4760 §3: NEXT_HOP does not count if all prefixes stand in MP_REACH_NLRI.
            let is_idle = !has_nlri && list.has_reachable;
            let treatment =
                if is_idle { Treatment::DiscardAttribute } else { Treatment::TreatAsWithdraw };
            list.fault(code::NEXT_HOP, treatment, why);
            None
        }
    };
    let mut announced = Vec::new();
    if let (Some(address), false) = (next_hop, nlri.is_empty()) {
        announced.push(Announcement { next_hop: NextHop::V4(address), prefixes: nlri });
    } else {
        // Empty, or without NEXT_HOP, which was noted.
        withdrawn.extend(nlri);
    }
    if let Some(reach) = list.reach.take() {
        match reach.next_hop {
            Ok(_) if reach.prefixes.is_empty() => {}
            Ok(next_hop) => announced.push(Announcement { next_hop, prefixes: reach.prefixes }),
            Err(why) => {
                list.fault(code::MP_REACH_NLRI, Treatment::TreatAsWithdraw, why);
                withdrawn.extend(reach.prefixes);
            }
        }
    }
    let unreach = list.unreach.take();
    let is_end = fields.withdrawn.is_empty() && !has_nlri;
    if is_end && let Some(family) = end_of_rib(fields.attributes, &list, unreach.as_ref(), format) {
        return Ok(Decoded { message: Message::EndOfRib(family), faults: list.faults });
    }
    if let Some((_, prefixes)) = unreach {
        append(&mut withdrawn, prefixes);
    }
    let is_withdraw = list.faults.iter().any(|f| f.treatment == Treatment::TreatAsWithdraw);
    if is_withdraw {
        if !is_reachable && !list.seen.is_only(code::MP_UNREACH_NLRI) {
            return Err(malformed());
        }
        for announcement in announced.drain(..) {
            append(&mut withdrawn, announcement.prefixes);
        }
    }
    drop_announced(&mut withdrawn, &announced);
    let attributes = (!announced.is_empty()).then_some(list.attributes);
    let message = Message::Update(Update { withdrawn, announced, attributes });
    Ok(Decoded { message, faults: list.faults })
}

/// The prefixes of a field that holds IPv4 only; none if that family was not agreed.
fn ipv4_prefixes(field: &[u8], format: &WireFormat) -> Result<Vec<Nlri>, MessageError> {
    let mut prefixes = Vec::new();
    let family = Family::Ipv4Unicast;
    if format.families.contains(&family) {
        let has_ids = format.add_paths.receive[family.index()];
        nlri::decode(field, family, has_ids, &mut prefixes)
            .map_err(|_| MessageError(Notification::invalid_network_field()))?;
    }
    Ok(prefixes)
}

/// Notes the mandatory attributes that are not there at all (RFC 7606 §3 d). LOCAL_PREF is
/// not among them: peers that leave it out mean the default.
fn note_missing(list: &mut attr::List, has_nlri: bool) {
    for code in [code::ORIGIN, code::AS_PATH, code::NEXT_HOP] {
        let is_needed = code != code::NEXT_HOP || has_nlri;
        if is_needed && !list.seen.contains(code) {
            let why = format!("{} is missing", code::name(code));
            list.fault(code, Treatment::TreatAsWithdraw, why);
        }
    }
}

/// The family whose End-of-RIB the message is: an empty UPDATE, or one with nothing but an
/// MP_UNREACH_NLRI without prefixes (RFC 4724 §2).
fn end_of_rib(
    attributes: &[u8],
    list: &attr::List,
    unreach: Option<&(Family, Vec<Nlri>)>,
    format: &WireFormat,
) -> Option<Family> {
    if attributes.is_empty() {
        return Some(Family::Ipv4Unicast).filter(|family| format.families.contains(family));
    }
    match unreach {
        Some((family, prefixes)) if prefixes.is_empty() => {
            list.seen.is_only(code::MP_UNREACH_NLRI).then_some(*family)
        }
        _ => None,
    }
}

/// Appends `more`, without a copy where there was nothing before.
fn append(prefixes: &mut Vec<Nlri>, more: Vec<Nlri>) {
    if prefixes.is_empty() {
        *prefixes = more;
    } else {
        prefixes.extend(more);
    }
}

/// What is both withdrawn and announced counts as announced (RFC 4271 §4.3); of several paths of
/// a prefix each for itself.
fn drop_announced(withdrawn: &mut Vec<Nlri>, announced: &[Announcement]) {
    if withdrawn.is_empty() || announced.is_empty() {
        return;
    }
    // Sorted rather than hashed: a peer that picks its prefixes cannot make this slow.
    let mut announced: Vec<&Nlri> = announced.iter().flat_map(|a| &a.prefixes).collect();
    announced.sort_unstable();
    withdrawn.retain(|nlri| announced.binary_search(&nlri).is_err());
}
