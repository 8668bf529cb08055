//! The list of path attributes: what each must look like and what happens if it does not
//! (RFC 7606).

mod as_path;
pub(in crate::msg) mod code;
mod multiprotocol;
mod raw;
mod seen;
mod value;
pub(in crate::msg) mod write;

use std::net::Ipv4Addr;

use bytes::Bytes;

use super::{AttributeFault, MessageError, Treatment, WireFormat};
use crate::msg::{Aggregator, AsPath, Attributes, NextHop, Nlri, Notification, UnknownAttribute};
use crate::net::{Asn, Family};

use raw::Raw;
use seen::Seen;

/// What the list of attributes of an UPDATE says.
#[derive(Debug, Default)]
pub(super) struct List {
    /// The attributes proper. Only if `origin` and `as_path` were seen they are complete.
    pub(super) attributes: Attributes,
    /// NEXT_HOP, or what is wrong with it: how bad that is depends on where the prefixes stand.
    pub(super) next_hop: Option<Result<Ipv4Addr, String>>,
    /// MP_REACH_NLRI of an agreed family.
    pub(super) reach: Option<Reach>,
    /// MP_UNREACH_NLRI of an agreed family.
    pub(super) unreach: Option<(Family, Vec<Nlri>)>,
    /// Whether MP_REACH_NLRI has prefixes, of an agreed family or not.
    pub(super) has_reachable: bool,
    /// What was malformed.
    pub(super) faults: Vec<AttributeFault>,
    /// The type codes that were there, malformed or not.
    pub(super) seen: Seen,
    as4_path: Option<AsPath>,
    as4_aggregator: Option<Aggregator>,
}

/// Prefixes of an MP_REACH_NLRI.
#[derive(Debug)]
pub(super) struct Reach {
    /// Where to; or why it cannot be a next hop.
    pub(super) next_hop: Result<NextHop, String>,
    /// The prefixes, perhaps none.
    pub(super) prefixes: Vec<Nlri>,
}

/// What an attribute must look like. The row is found by type code, never by the flags that
/// were received (RFC 7606 §3 c).
struct Known {
    /// The Optional and Transitive bits.
    flags: u8,
    /// What happens if the value is malformed. Multiprotocol attributes end the session.
    malformed: Treatment,
    /// Whether it stays inside an AS.
    internal_only: bool,
}

impl Known {
    /// The row of an attribute; `None` if we do not know it.
    fn by_code(code: u8) -> Option<Self> {
        use Treatment::{DiscardAttribute as Discard, TreatAsWithdraw as Withdraw};
        let (flags, malformed, internal_only) = match code {
            code::ORIGIN => (code::WELL_KNOWN, Withdraw, false), // RFC 7606 §7.1
            code::AS_PATH => (code::WELL_KNOWN, Withdraw, false), // §7.2
            code::NEXT_HOP => (code::WELL_KNOWN, Withdraw, false), // §7.3
            code::MULTI_EXIT_DISC => (code::OPTIONAL, Withdraw, false), // §7.4
            code::LOCAL_PREF => (code::WELL_KNOWN, Withdraw, true), // §7.5
            code::ATOMIC_AGGREGATE => (code::WELL_KNOWN, Discard, false), // §7.6
            code::AGGREGATOR => (code::OPTIONAL_TRANSITIVE, Discard, false), // §7.7
            code::COMMUNITIES => (code::OPTIONAL_TRANSITIVE, Withdraw, false), // §7.8
            code::ORIGINATOR_ID => (code::OPTIONAL, Withdraw, true), // §7.9
            code::CLUSTER_LIST => (code::OPTIONAL, Withdraw, true), // §7.10
            code::MP_REACH_NLRI => (code::OPTIONAL, Withdraw, false), // §7.11
            code::MP_UNREACH_NLRI => (code::OPTIONAL, Withdraw, false), // §7.12
            code::EXTENDED_COMMUNITIES => (code::OPTIONAL_TRANSITIVE, Withdraw, false), // §7.14
            code::AS4_PATH => (code::OPTIONAL_TRANSITIVE, Discard, false), // RFC 6793 §6
            code::AS4_AGGREGATOR => (code::OPTIONAL_TRANSITIVE, Discard, false), // RFC 6793 §6
            code::LARGE_COMMUNITY => (code::OPTIONAL_TRANSITIVE, Withdraw, false), // RFC 8092 §5
            code::ONLY_TO_CUSTOMER => (code::OPTIONAL_TRANSITIVE, Withdraw, false), // RFC 9234 §5
            // Not used here, but a malformed one must not reach those that use it (RFC 8669 §6).
            code::PREFIX_SID => (code::OPTIONAL_TRANSITIVE, Discard, false),
            _ => return None,
        };
        Some(Self { flags, malformed, internal_only })
    }

    /// Who the peer is if it has no business to send the attribute, which is dropped then,
    /// whatever flags and value it has.
    fn out_of_place(&self, code: u8, format: &WireFormat) -> Option<&'static str> {
        match code {
            // RFC 7606 §7.5, 7.9, 7.10.
            _ if self.internal_only && !format.internal => Some("an external peer"),
            // RFC 6793 §4.1, 6.
            code::AS4_PATH | code::AS4_AGGREGATOR if format.four_octet_asns => {
                Some("a peer with four-octet AS numbers")
            }
            _ => None,
        }
    }
}

/// Reads a list of attributes, in whatever order they stand. `octets` is the whole message.
///
/// Fails where only the end of the session is left: a multiprotocol attribute that cannot
/// be split into prefixes or stands twice, an unknown attribute that claims to be well-known.
pub(super) fn read(list: &[u8], octets: &Bytes, format: &WireFormat) -> Result<List, MessageError> {
    let mut found = List::default();
    let mut rest = list;
    while !rest.is_empty() {
        let Ok((after, attribute)) = raw::attribute(rest) else {
            // RFC 7606 §4: the length of the list stands, so the prefixes behind it are found.
            let why = format!("the last {} octets of the list are no attribute", rest.len());
            found.fault(0, Treatment::TreatAsWithdraw, why);
            // Something stood there: what comes before it is not all that there is.
            found.seen.insert(0);
            break;
        };
        rest = after;
        found.take(attribute, octets, format)?;
    }
    found.finish();
    Ok(found)
}

impl List {
    /// Notes that an attribute is malformed and what becomes of it.
    pub(super) fn fault(&mut self, code: u8, treatment: Treatment, why: impl Into<String>) {
        self.faults.push(AttributeFault { code, treatment, why: why.into() });
    }

    fn take(
        &mut self,
        attribute: Raw<'_>,
        octets: &Bytes,
        format: &WireFormat,
    ) -> Result<(), MessageError> {
        let code = attribute.code;
        match self.seen.insert(code) {
            seen::Times::First => {}
            // RFC 7606 §3 g.
            _ if matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) => {
                return Err(MessageError(Notification::malformed_attribute_list()));
            }
            seen::Times::Second => {
                let why = format!("{} stands there more than once", code::name(code));
                self.fault(code, Treatment::DiscardAttribute, why);
                return Ok(());
            }
            seen::Times::More => return Ok(()),
        }
        let Some(known) = Known::by_code(code) else {
            return self.take_unknown(attribute, octets);
        };
        if let Some(sender) = known.out_of_place(code, format) {
            let why = format!("{} from {sender}", code::name(code));
            self.fault(code, Treatment::DiscardAttribute, why);
            return Ok(());
        }
        let flags = attribute.flags & code::OPTIONAL_TRANSITIVE;
        let conflict = (flags != known.flags)
            .then(|| format!("{} with flags 0x{:02x}", code::name(code), attribute.flags));
        if matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
            // The prefixes must be found even if the flags are wrong.
            self.take_multiprotocol(attribute, format)?;
        } else if code == code::NEXT_HOP {
            self.next_hop = Some(match conflict {
                Some(why) => Err(why),
                None => value::next_hop(attribute.value)
                    .map_err(|why| format!("{}: {why}", code::name(code))),
            });
            return Ok(());
        } else if conflict.is_none()
            && let Err(why) = self.take_value(attribute, octets, format)
        {
            self.fault(code, known.malformed, format!("{}: {why}", code::name(code)));
        }
        if let Some(why) = conflict {
            self.fault(code, Treatment::TreatAsWithdraw, why);
        }
        Ok(())
    }

    /// RFC 4271 §9: transitive ones are passed on, others forgotten.
    fn take_unknown(&mut self, attribute: Raw<'_>, octets: &Bytes) -> Result<(), MessageError> {
        if attribute.flags & code::OPTIONAL == 0 {
            let whole = octets.slice_ref(attribute.whole);
            return Err(MessageError(Notification::unrecognized_well_known(whole)));
        }
        if attribute.flags & code::TRANSITIVE != 0 {
            self.attributes.unknown.push(UnknownAttribute {
                code: attribute.code,
                partial: attribute.flags & code::PARTIAL != 0,
                value: octets.slice_ref(attribute.value),
            });
        }
        Ok(())
    }

    fn take_multiprotocol(
        &mut self,
        attribute: Raw<'_>,
        format: &WireFormat,
    ) -> Result<(), MessageError> {
        let malformed = || {
            let whole = Bytes::copy_from_slice(attribute.whole);
            MessageError(Notification::optional_attribute_error(whole))
        };
        let family = if attribute.code == code::MP_REACH_NLRI {
            let reach = multiprotocol::reach(attribute.value, format).ok_or_else(malformed)?;
            self.has_reachable = reach.has_prefixes;
            self.reach = reach.agreed;
            reach.family
        } else {
            let unreach = multiprotocol::unreach(attribute.value, format).ok_or_else(malformed)?;
            self.unreach = unreach.agreed;
            unreach.family
        };
        if self.reach.is_none() && attribute.code == code::MP_REACH_NLRI
            || self.unreach.is_none() && attribute.code == code::MP_UNREACH_NLRI
        {
            let why = format!("{} of {family}, which was not agreed", code::name(attribute.code));
            self.fault(attribute.code, Treatment::DiscardAttribute, why);
        }
        Ok(())
    }

    fn take_value(
        &mut self,
        Raw { flags, code, value, .. }: Raw<'_>,
        octets: &Bytes,
        format: &WireFormat,
    ) -> Result<(), String> {
        let a = &mut self.attributes;
        match code {
            code::ORIGIN => a.origin = value::origin(value)?,
            code::AS_PATH => {
                let path = as_path::decode(value, format.four_octet_asns)?;
                // RFC 5065 §5: only inside a confederation, and we are in none.
                if !format.internal && path.has_confederations() {
                    return Err("confederation segments from an external peer".to_owned());
                }
                a.as_path = path;
            }
            code::MULTI_EXIT_DISC => a.med = Some(value::number(value)?),
            code::LOCAL_PREF => a.local_pref = Some(value::number(value)?),
            code::ATOMIC_AGGREGATE => {
                value::empty(value)?;
                a.atomic_aggregate = true;
            }
            code::AGGREGATOR => {
                a.aggregator = Some(value::aggregator(value, format.four_octet_asns)?);
            }
            code::COMMUNITIES => a.communities = value::communities(value)?,
            code::ORIGINATOR_ID => a.originator_id = Some(value::originator_id(value)?),
            code::CLUSTER_LIST => a.cluster_list = value::cluster_list(value)?,
            code::EXTENDED_COMMUNITIES => {
                a.extended_communities = value::extended_communities(value)?;
            }
            code::LARGE_COMMUNITY => a.large_communities = value::large_communities(value)?,
            code::ONLY_TO_CUSTOMER => a.only_to_customer = Some(value::number(value)?),
            code::AS4_PATH => self.as4_path = Some(as_path::decode(value, true)?),
            code::AS4_AGGREGATOR => self.as4_aggregator = Some(value::aggregator(value, true)?),
            code::PREFIX_SID => {
                value::is_type_length_values(value)?;
                let partial = flags & code::PARTIAL != 0;
                let value = octets.slice_ref(value);
                a.unknown.push(UnknownAttribute { code, partial, value });
            }
            _ => {}
        }
        Ok(())
    }

    /// What can only be said once all attributes are there, in whatever order they came.
    fn finish(&mut self) {
        let a = &mut self.attributes;
        a.unknown.sort_by_key(|unknown| unknown.code);
        // RFC 6793 §4.2.3: an aggregator that knew only two octets makes both AS4 attributes
        // stale. AS4_AGGREGATOR without AGGREGATOR means nothing.
        match (&mut a.aggregator, self.as4_aggregator.take()) {
            (Some(aggregator), Some(_)) if aggregator.asn != Asn::TRANS => self.as4_path = None,
            (Some(aggregator), Some(as4)) => *aggregator = as4,
            (_, None) | (None, Some(_)) => {}
        }
        if let Some(as4) = self.as4_path.take() {
            a.as_path = as_path::merge(std::mem::take(&mut a.as_path), as4);
        }
    }
}
