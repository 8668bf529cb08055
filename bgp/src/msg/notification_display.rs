//! NOTIFICATIONs and reasons as an operator reads them.

use std::fmt;

use super::{CeaseReason, Notification};

/// How many octets of data are shown.
const SHOWN: usize = 32;

impl fmt::Display for Notification {
    /// `Cease: Administrative Shutdown (6/2) "maintenance until 7"`: names, numbers, and the
    /// text or data. Text of the peer is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_numbers(f)?;
        // One level only: what is enclosed may pretend to enclose again, without end.
        match self.enclosed() {
            Some(enclosed) => {
                f.write_str(" for ")?;
                enclosed.fmt_numbers(f)?;
                enclosed.fmt_data(f)
            }
            None => self.fmt_data(f),
        }
    }
}

impl Notification {
    fn fmt_numbers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code_name(self.code) {
            Some(name) => f.write_str(name)?,
            None => f.write_str("Unknown Error")?,
        }
        if let Some(name) = subcode_name(self.code, self.subcode) {
            write!(f, ": {name}")?;
        }
        write!(f, " ({}/{})", self.code, self.subcode)
    }

    fn fmt_data(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.text() {
            return write!(f, " \"{}\"", String::from_utf8_lossy(text).escape_debug());
        }
        if let Some((family, limit)) = self.limit() {
            return write!(f, " at {limit} prefixes of {family}");
        }
        // An empty text is a length of zero and says nothing.
        let is_empty_text =
            self.cease_reason().is_some_and(CeaseReason::has_text) && self.data.as_ref() == [0];
        if self.data.is_empty() || is_empty_text {
            return Ok(());
        }
        f.write_str(" data 0x")?;
        for octet in self.data.iter().take(SHOWN) {
            write!(f, "{octet:02x}")?;
        }
        if self.data.len() > SHOWN {
            write!(f, "... ({} octets)", self.data.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for CeaseReason {
    /// As RFC 4486 calls it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CeaseReason::MaximumPrefixesReached => "Maximum Number of Prefixes Reached",
            CeaseReason::AdministrativeShutdown => "Administrative Shutdown",
            CeaseReason::PeerDeconfigured => "Peer De-configured",
            CeaseReason::AdministrativeReset => "Administrative Reset",
            CeaseReason::ConnectionRejected => "Connection Rejected",
            CeaseReason::OtherConfigurationChange => "Other Configuration Change",
            CeaseReason::ConnectionCollisionResolution => "Connection Collision Resolution",
            CeaseReason::OutOfResources => "Out of Resources",
            CeaseReason::HardReset => "Hard Reset",
            CeaseReason::BfdDown => "BFD Down",
        })
    }
}

fn code_name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "Message Header Error",
        2 => "OPEN Message Error",
        3 => "UPDATE Message Error",
        4 => "Hold Timer Expired",
        5 => "Finite State Machine Error",
        6 => "Cease",
        7 => "ROUTE-REFRESH Message Error",
        8 => "Send Hold Timer Expired",
        _ => return None,
    })
}

fn subcode_name(code: u8, subcode: u8) -> Option<String> {
    if code == 6 {
        return CeaseReason::from_subcode(subcode).map(|reason| reason.to_string());
    }
    let name = match (code, subcode) {
        (1, 1) => "Connection Not Synchronized",
        (1, 2) => "Bad Message Length",
        (1, 3) => "Bad Message Type",
        (2, 1) => "Unsupported Version Number",
        (2, 2) => "Bad Peer AS",
        (2, 3) => "Bad BGP Identifier",
        (2, 4) => "Unsupported Optional Parameter",
        (2, 5) => "Authentication Failure",
        (2, 6) => "Unacceptable Hold Time",
        (2, 7) => "Unsupported Capability",
        (2, 11) => "Role Mismatch",
        (3, 1) => "Malformed Attribute List",
        (3, 2) => "Unrecognized Well-known Attribute",
        (3, 3) => "Missing Well-known Attribute",
        (3, 4) => "Attribute Flags Error",
        (3, 5) => "Attribute Length Error",
        (3, 6) => "Invalid ORIGIN Attribute",
        (3, 7) => "AS Routing Loop",
        (3, 8) => "Invalid NEXT_HOP Attribute",
        (3, 9) => "Optional Attribute Error",
        (3, 10) => "Invalid Network Field",
        (3, 11) => "Malformed AS_PATH",
        (5, 1) => "Unexpected Message in OpenSent State",
        (5, 2) => "Unexpected Message in OpenConfirm State",
        (5, 3) => "Unexpected Message in Established State",
        (7, 1) => "Invalid Message Length",
        _ => return None,
    };
    Some(name.to_owned())
}
