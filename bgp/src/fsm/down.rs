//! Why a session ended, for the operator.

use std::fmt::{self, Write};

use crate::msg::Notification;

/// Why a session or an attempt ended; `Display` is a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// We sent this NOTIFICATION.
    Sent(Notification),
    /// The peer sent this NOTIFICATION.
    Received(Notification),
    /// Nothing came in for the hold time; code 4 was sent.
    HoldTimerExpired,
    /// Nothing could be written for the send hold time (RFC 9687); code 8 was sent if it could be.
    SendHoldTimerExpired,
    /// The TCP connection was closed or broke.
    Tcp(String),
    /// We closed without a NOTIFICATION.
    Silent,
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Down::Sent(notification) => write!(f, "we sent {}", Named(notification)),
            Down::Received(notification) => write!(f, "peer sent {}", Named(notification)),
            Down::HoldTimerExpired => {
                f.write_str("hold timer expired: nothing came from the peer in time")
            }
            Down::SendHoldTimerExpired => {
                f.write_str("send hold timer expired: the peer does not read what we send")
            }
            Down::Tcp(how) if how.is_empty() => f.write_str("TCP connection closed"),
            Down::Tcp(how) => how.chars().try_for_each(|c| match c.is_control() {
                true => write!(f, "{}", c.escape_debug()),
                false => f.write_char(c),
            }),
            Down::Silent => f.write_str("we closed without a NOTIFICATION"),
        }
    }
}

/// `Cease/AdministrativeShutdown: "text"`.
struct Named<'a>(&'a Notification);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Notification { code, subcode, data } = self.0;
        match code_name(*code) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "NOTIFICATION {code}")?,
        }
        match subcode_name(*code, *subcode) {
            Some(name) => write!(f, "/{name}")?,
            None if *subcode == 0 => {}
            None => write!(f, "/{subcode}")?,
        }
        match (code, subcode) {
            // A hard reset carries the true reason (RFC 8538 §3).
            (6, 9) => match data[..] {
                [code, subcode, ..] if (code, subcode) != (6, 9) => {
                    let inner = Notification { code, subcode, data: data.slice(2..) };
                    write!(f, " of {}", Named(&inner))
                }
                _ => Ok(()),
            },
            (6, 2 | 4) => match shutdown_text(data) {
                // Debug escapes whatever could play tricks on a terminal or a log.
                Some(text) => write!(f, ": {text:?}"),
                None => Ok(()),
            },
            (5, 1..=3) => match data.first() {
                Some(kind) => write!(f, " ({})", message_name(*kind)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// The text of a shutdown or reset (RFC 9003 §2), if there is one.
fn shutdown_text(data: &[u8]) -> Option<String> {
    let (&length, rest) = data.split_first()?;
    let text = rest.get(..usize::from(length)).unwrap_or(rest);
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

fn code_name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "MessageHeaderError",
        2 => "OpenMessageError",
        3 => "UpdateMessageError",
        4 => "HoldTimerExpired",
        5 => "FiniteStateMachineError",
        6 => "Cease",
        7 => "RouteRefreshMessageError",
        8 => "SendHoldTimerExpired",
        _ => return None,
    })
}

fn subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (1, 1) => "ConnectionNotSynchronized",
        (1, 2) => "BadMessageLength",
        (1, 3) => "BadMessageType",
        (2, 1) => "UnsupportedVersionNumber",
        (2, 2) => "BadPeerAs",
        (2, 3) => "BadBgpIdentifier",
        (2, 4) => "UnsupportedOptionalParameter",
        (2, 6) => "UnacceptableHoldTime",
        (2, 7) => "UnsupportedCapability",
        (2, 11) => "RoleMismatch",
        (3, 1) => "MalformedAttributeList",
        (3, 2) => "UnrecognizedWellKnownAttribute",
        (3, 3) => "MissingWellKnownAttribute",
        (3, 4) => "AttributeFlagsError",
        (3, 5) => "AttributeLengthError",
        (3, 6) => "InvalidOriginAttribute",
        (3, 8) => "InvalidNextHopAttribute",
        (3, 9) => "OptionalAttributeError",
        (3, 10) => "InvalidNetworkField",
        (3, 11) => "MalformedAsPath",
        (5, 1) => "UnexpectedMessageInOpenSent",
        (5, 2) => "UnexpectedMessageInOpenConfirm",
        (5, 3) => "UnexpectedMessageInEstablished",
        (6, 1) => "MaximumPrefixesReached",
        (6, 2) => "AdministrativeShutdown",
        (6, 3) => "PeerDeconfigured",
        (6, 4) => "AdministrativeReset",
        (6, 5) => "ConnectionRejected",
        (6, 6) => "OtherConfigurationChange",
        (6, 7) => "ConnectionCollisionResolution",
        (6, 8) => "OutOfResources",
        (6, 9) => "HardReset",
        (6, 10) => "BfdDown",
        (7, 1) => "InvalidMessageLength",
        _ => return None,
    })
}

fn message_name(kind: u8) -> &'static str {
    match kind {
        1 => "OPEN",
        2 => "UPDATE",
        3 => "NOTIFICATION",
        4 => "KEEPALIVE",
        5 => "ROUTE-REFRESH",
        _ => "unknown message",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_reads_as_a_sentence_with_names_and_without_tricks() {
        let n =
            |code, subcode, data: &'static [u8]| Notification { code, subcode, data: data.into() };
        for (down, want) in [
            (
                Down::Received(n(6, 2, b"\x0amaintenant")),
                "peer sent Cease/AdministrativeShutdown: \"maintenant\"",
            ),
            (
                Down::Received(n(6, 4, b"\x08a\n\x1b[2J\"x")),
                "peer sent Cease/AdministrativeReset: \"a\\n\\u{1b}[2J\\\"x\"",
            ),
            (Down::Received(n(6, 2, b"")), "peer sent Cease/AdministrativeShutdown"),
            (Down::Received(n(6, 2, b"\x00")), "peer sent Cease/AdministrativeShutdown"),
            (Down::Received(n(6, 2, b"\xffab")), "peer sent Cease/AdministrativeShutdown: \"ab\""),
            (
                Down::Received(n(6, 2, b"\x02\xff\xfe")),
                "peer sent Cease/AdministrativeShutdown: \"\u{fffd}\u{fffd}\"",
            ),
            (
                Down::Sent(n(6, 9, b"\x06\x04\x02hi")),
                "we sent Cease/HardReset of Cease/AdministrativeReset: \"hi\"",
            ),
            (Down::Received(n(6, 9, b"\x06\x09\x06\x09")), "peer sent Cease/HardReset"),
            (Down::Received(n(6, 9, b"\x06")), "peer sent Cease/HardReset"),
            (Down::Sent(n(2, 2, b"")), "we sent OpenMessageError/BadPeerAs"),
            (Down::Sent(n(8, 0, b"")), "we sent SendHoldTimerExpired"),
            (
                Down::Received(n(5, 1, b"\x02")),
                "peer sent FiniteStateMachineError/UnexpectedMessageInOpenSent (UPDATE)",
            ),
            (Down::Received(n(2, 99, b"")), "peer sent OpenMessageError/99"),
            (Down::Received(n(77, 3, b"")), "peer sent NOTIFICATION 77/3"),
            (Down::HoldTimerExpired, "hold timer expired: nothing came from the peer in time"),
            (
                Down::SendHoldTimerExpired,
                "send hold timer expired: the peer does not read what we send",
            ),
            (Down::Tcp("reset\nby peer".into()), "reset\\nby peer"),
            (Down::Tcp(String::new()), "TCP connection closed"),
            (Down::Silent, "we closed without a NOTIFICATION"),
        ] {
            assert_eq!(down.to_string(), want, "{down:?}");
        }
    }
}
