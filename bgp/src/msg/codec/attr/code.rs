//! Attribute type codes and flags (RFC 4271 §4.3).

pub(in crate::msg) const ORIGIN: u8 = 1;
pub(in crate::msg) const AS_PATH: u8 = 2;
pub(in crate::msg) const NEXT_HOP: u8 = 3;
pub(in crate::msg) const MULTI_EXIT_DISC: u8 = 4;
pub(in crate::msg) const LOCAL_PREF: u8 = 5;
pub(in crate::msg) const ATOMIC_AGGREGATE: u8 = 6;
pub(in crate::msg) const AGGREGATOR: u8 = 7;
pub(in crate::msg) const COMMUNITIES: u8 = 8;
pub(in crate::msg) const ORIGINATOR_ID: u8 = 9;
pub(in crate::msg) const CLUSTER_LIST: u8 = 10;
pub(in crate::msg) const MP_REACH_NLRI: u8 = 14;
pub(in crate::msg) const MP_UNREACH_NLRI: u8 = 15;
pub(in crate::msg) const EXTENDED_COMMUNITIES: u8 = 16;
pub(in crate::msg) const AS4_PATH: u8 = 17;
pub(in crate::msg) const AS4_AGGREGATOR: u8 = 18;
pub(in crate::msg) const LARGE_COMMUNITY: u8 = 32;
pub(in crate::msg) const ONLY_TO_CUSTOMER: u8 = 35;
pub(in crate::msg) const PREFIX_SID: u8 = 40;

/// The attribute is not one that everybody must know.
pub(in crate::msg) const OPTIONAL: u8 = 0x80;
/// The attribute is passed on.
pub(in crate::msg) const TRANSITIVE: u8 = 0x40;
/// A speaker on the way did not know the attribute.
pub(in crate::msg) const PARTIAL: u8 = 0x20;
/// The length has two octets.
pub(in crate::msg) const EXTENDED_LENGTH: u8 = 0x10;

/// Flags of a well-known attribute.
pub(in crate::msg) const WELL_KNOWN: u8 = TRANSITIVE;
/// Flags of an optional transitive attribute.
pub(in crate::msg) const OPTIONAL_TRANSITIVE: u8 = OPTIONAL | TRANSITIVE;

/// What an attribute is called; its number if it has no name here.
pub(in crate::msg) fn name(code: u8) -> String {
    let name = match code {
        ORIGIN => "ORIGIN",
        AS_PATH => "AS_PATH",
        NEXT_HOP => "NEXT_HOP",
        MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
        LOCAL_PREF => "LOCAL_PREF",
        ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        AGGREGATOR => "AGGREGATOR",
        COMMUNITIES => "COMMUNITIES",
        ORIGINATOR_ID => "ORIGINATOR_ID",
        CLUSTER_LIST => "CLUSTER_LIST",
        MP_REACH_NLRI => "MP_REACH_NLRI",
        MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
        EXTENDED_COMMUNITIES => "EXTENDED_COMMUNITIES",
        AS4_PATH => "AS4_PATH",
        AS4_AGGREGATOR => "AS4_AGGREGATOR",
        LARGE_COMMUNITY => "LARGE_COMMUNITY",
        ONLY_TO_CUSTOMER => "ONLY_TO_CUSTOMER",
        PREFIX_SID => "PREFIX_SID",
        other => return format!("attribute {other}"),
    };
    name.to_owned()
}
