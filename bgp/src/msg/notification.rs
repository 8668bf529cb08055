//! Why a session ends.

use bytes::{BufMut, Bytes, BytesMut};

use super::Message;
use crate::net::{AfiSafi, Family};

/// A NOTIFICATION message (RFC 4271 §4.5): error code, subcode and data as they stand on
/// the wire. Constructors name the ones that we send; `Display` names all that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is unspecific.
    pub subcode: u8,
    /// Data, whose meaning depends on code and subcode.
    pub data: Bytes,
}

/// The states in which a message can come that has no place there (RFC 6608 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnexpectedIn {
    /// Subcode 1.
    OpenSent,
    /// Subcode 2.
    OpenConfirm,
    /// Subcode 3.
    Established,
}

/// The text up to `most` octets, cut at a character.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Notification {
    /// The longest text of a Cease, in octets (RFC 9003 §2).
    pub const MAX_TEXT: usize = 255;

    const fn bare(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Bytes::new() }
    }

    /// Connection Not Synchronized: the marker is not all ones (RFC 4271 §6.1).
    pub const fn not_synchronized() -> Self {
        Self::bare(1, 1)
    }

    /// Bad Message Length, with the length that was wrong (RFC 4271 §6.1).
    pub fn bad_length(length: usize) -> Self {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        Self { data: Bytes::copy_from_slice(&length.to_be_bytes()), ..Self::bare(1, 2) }
    }

    /// Bad Message Type, with the type (RFC 4271 §6.1).
    pub fn bad_type(kind: u8) -> Self {
        Self { data: Bytes::copy_from_slice(&[kind]), ..Self::bare(1, 3) }
    }

    /// An OPEN that is malformed in a way that has no subcode (RFC 4271 §6.2).
    pub const fn malformed_open() -> Self {
        Self::bare(2, 0)
    }

    /// Unsupported Version Number, with the one that we have (RFC 4271 §6.2).
    pub const fn unsupported_version() -> Self {
        Self { code: 2, subcode: 1, data: Bytes::from_static(&[0, 4]) }
    }

    /// Bad Peer AS: not the one that is configured, or zero (RFC 4271 §6.2, RFC 7607 §2).
    pub const fn bad_peer_as() -> Self {
        Self::bare(2, 2)
    }

    /// Bad BGP Identifier: zero, or our own from an internal peer (RFC 6286 §2.2).
    pub const fn bad_router_id() -> Self {
        Self::bare(2, 3)
    }

    /// Unsupported Optional Parameter (RFC 4271 §6.2).
    pub const fn unsupported_parameter() -> Self {
        Self::bare(2, 4)
    }

    /// Unacceptable Hold Time (RFC 4271 §6.2).
    pub const fn unacceptable_hold_time() -> Self {
        Self::bare(2, 6)
    }

    /// Unsupported Capability: the peer lacks one that the session needs; `capabilities` are
    /// those, encoded as in an OPEN (RFC 5492 §3, 5).
    pub const fn unsupported_capability(capabilities: Bytes) -> Self {
        Self { code: 2, subcode: 7, data: capabilities }
    }

    /// Role Mismatch: the peer's role is none that fits ours, or it says none or several
    /// (RFC 9234 §4.2).
    pub const fn role_mismatch() -> Self {
        Self::bare(2, 11)
    }

    /// Malformed Attribute List (RFC 4271 §6.3, RFC 7606 §3 g, 5.2).
    pub const fn malformed_attribute_list() -> Self {
        Self::bare(3, 1)
    }

    /// Unrecognized Well-known Attribute, with the whole attribute (RFC 4271 §6.3).
    pub const fn unrecognized_well_known(attribute: Bytes) -> Self {
        Self { code: 3, subcode: 2, data: attribute }
    }

    /// Optional Attribute Error, with the whole attribute: a multiprotocol attribute that
    /// cannot be read (RFC 4760 §7, RFC 7606 §5.3).
    pub const fn optional_attribute_error(attribute: Bytes) -> Self {
        Self { code: 3, subcode: 9, data: attribute }
    }

    /// Invalid Network Field: prefixes that cannot be told apart (RFC 4271 §6.3).
    pub const fn invalid_network_field() -> Self {
        Self::bare(3, 10)
    }

    /// Hold Timer Expired (RFC 4271 §6.5).
    pub const fn hold_timer_expired() -> Self {
        Self::bare(4, 0)
    }

    /// Finite State Machine Error: a message came that has no place in this state, with its
    /// type (RFC 6608 §4).
    pub fn unexpected_message(state: UnexpectedIn, message: &Message) -> Self {
        let subcode = match state {
            UnexpectedIn::OpenSent => 1,
            UnexpectedIn::OpenConfirm => 2,
            UnexpectedIn::Established => 3,
        };
        Self { data: Bytes::copy_from_slice(&[message.type_code()]), ..Self::bare(5, subcode) }
    }

    /// Cease for a reason. `text` goes to the peer's operator where the reason allows one:
    /// on shutdown and reset; over 255 octets it is cut at a character (RFC 9003 §2). A hard
    /// reset encloses an administrative one (RFC 8538 §3.1).
    pub fn cease(reason: CeaseReason, text: Option<&str>) -> Self {
        if reason == CeaseReason::HardReset {
            return Self::cease(CeaseReason::AdministrativeReset, text).into_hard_reset();
        }
        let mut data = BytesMut::new();
        if let Some(text) = text.filter(|_| reason.has_text()) {
            let text = cut(text, Self::MAX_TEXT);
            data.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
            data.put_slice(text.as_bytes());
        }
        Self { data: data.freeze(), ..Self::bare(6, reason.subcode()) }
    }

    /// Cease: the peer told more prefixes of a family than so many, which are named
    /// (RFC 4486 §4).
    pub fn max_prefixes(family: Family, limit: u32) -> Self {
        let AfiSafi { afi, safi } = family.into();
        let mut data = BytesMut::with_capacity(7);
        data.put_u16(afi);
        data.put_u8(safi);
        data.put_u32(limit);
        Self { data: data.freeze(), ..Self::bare(6, CeaseReason::MaximumPrefixesReached.subcode()) }
    }

    /// The family and the limit that a Cease for too many prefixes names (RFC 4486 §4); `None` if
    /// it names none.
    pub fn limit(&self) -> Option<(AfiSafi, u32)> {
        let &[a, b, safi, l0, l1, l2, l3] = self.data.as_ref() else { return None };
        let is_limit = self.cease_reason() == Some(CeaseReason::MaximumPrefixesReached);
        let family = AfiSafi { afi: u16::from_be_bytes([a, b]), safi };
        is_limit.then_some((family, u32::from_be_bytes([l0, l1, l2, l3])))
    }

    /// ROUTE-REFRESH Message Error: Invalid Message Length, with the message (RFC 7313 §5).
    pub const fn bad_refresh_length(message: Bytes) -> Self {
        Self { code: 7, subcode: 1, data: message }
    }

    /// Send Hold Timer Expired (RFC 9687 §4).
    pub const fn send_hold_timer_expired() -> Self {
        Self::bare(8, 0)
    }

    /// This, enclosed in a hard reset: who agreed that NOTIFICATIONs leave routes in place
    /// gives them up nevertheless (RFC 8538 §3.1).
    #[must_use]
    pub fn into_hard_reset(self) -> Self {
        let mut data = BytesMut::with_capacity(2 + self.data.len());
        data.put_slice(&[self.code, self.subcode]);
        data.put_slice(&self.data);
        Self { data: data.freeze(), ..Self::bare(6, CeaseReason::HardReset.subcode()) }
    }

    /// Why the sender ceased; `None` for another code or an unknown subcode.
    pub fn cease_reason(&self) -> Option<CeaseReason> {
        if self.code == 6 { CeaseReason::from_subcode(self.subcode) } else { None }
    }

    /// The octets of the text that came with a shutdown or a reset (RFC 9003 §2); `None` if
    /// there is none, or its length field is wrong. Not necessarily UTF-8: a stranger wrote
    /// it, `Display` shows it escaped.
    pub fn text(&self) -> Option<&[u8]> {
        if !self.cease_reason()?.has_text() {
            return None;
        }
        let (&length, text) = self.data.split_first()?;
        text.get(..length.into()).filter(|text| !text.is_empty())
    }

    /// The NOTIFICATION that a hard reset encloses (RFC 8538 §3.1).
    pub fn enclosed(&self) -> Option<Notification> {
        if self.cease_reason() != Some(CeaseReason::HardReset) {
            return None;
        }
        let &[code, subcode, ..] = self.data.as_ref() else { return None };
        Some(Self { code, subcode, data: self.data.slice(2..) })
    }
}

/// A subcode of Cease (RFC 4486, RFC 8538 §3.1, RFC 9384).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CeaseReason {
    /// 1: more prefixes than allowed.
    MaximumPrefixesReached,
    /// 2: shut down by an operator; may carry a text (RFC 9003).
    AdministrativeShutdown,
    /// 3: the peer was removed from the configuration.
    PeerDeconfigured,
    /// 4: reset by an operator; may carry a text (RFC 9003).
    AdministrativeReset,
    /// 5: not willing to accept the connection.
    ConnectionRejected,
    /// 6: configuration changed.
    OtherConfigurationChange,
    /// 7: the other connection won the collision.
    ConnectionCollisionResolution,
    /// 8: short of memory or the like.
    OutOfResources,
    /// 9: a hard reset, with the true code inside (RFC 8538).
    HardReset,
    /// 10: BFD says down (RFC 9384).
    BfdDown,
}

impl CeaseReason {
    /// All of them, by subcode from 1.
    pub const ALL: [CeaseReason; 10] = [
        CeaseReason::MaximumPrefixesReached,
        CeaseReason::AdministrativeShutdown,
        CeaseReason::PeerDeconfigured,
        CeaseReason::AdministrativeReset,
        CeaseReason::ConnectionRejected,
        CeaseReason::OtherConfigurationChange,
        CeaseReason::ConnectionCollisionResolution,
        CeaseReason::OutOfResources,
        CeaseReason::HardReset,
        CeaseReason::BfdDown,
    ];

    /// The error subcode.
    pub const fn subcode(self) -> u8 {
        match self {
            CeaseReason::MaximumPrefixesReached => 1,
            CeaseReason::AdministrativeShutdown => 2,
            CeaseReason::PeerDeconfigured => 3,
            CeaseReason::AdministrativeReset => 4,
            CeaseReason::ConnectionRejected => 5,
            CeaseReason::OtherConfigurationChange => 6,
            CeaseReason::ConnectionCollisionResolution => 7,
            CeaseReason::OutOfResources => 8,
            CeaseReason::HardReset => 9,
            CeaseReason::BfdDown => 10,
        }
    }

    /// The reason that a subcode stands for, if it is known.
    pub fn from_subcode(subcode: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.subcode() == subcode)
    }

    /// Whether what we told shall go with the session, although the peer would keep it: then
    /// the Cease travels in a hard reset. What ends only for a moment does not (RFC 8538 §5).
    pub const fn is_final(self) -> bool {
        match self {
            CeaseReason::MaximumPrefixesReached
            | CeaseReason::AdministrativeShutdown
            | CeaseReason::PeerDeconfigured
            // Addresses or numbers are others now, and next hops with them.
            | CeaseReason::OtherConfigurationChange
            | CeaseReason::HardReset
            // Packets do not get through either.
            | CeaseReason::BfdDown => true,
            CeaseReason::AdministrativeReset
            | CeaseReason::ConnectionRejected
            | CeaseReason::ConnectionCollisionResolution
            | CeaseReason::OutOfResources => false,
        }
    }

    /// Whether a text may come with it (RFC 9003 §2).
    pub const fn has_text(self) -> bool {
        matches!(self, CeaseReason::AdministrativeShutdown | CeaseReason::AdministrativeReset)
    }
}
