//! Why a session ended, for the operator.

use std::fmt::{self, Write};

use crate::msg::{CeaseReason, Notification};

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
    /// BFD said that the path has failed; code 6, subcode 10 was sent (RFC 9384).
    BfdDown(BfdFailure),
    /// The TCP connection was closed or broke.
    Tcp(String),
    /// We closed without a NOTIFICATION.
    Silent,
}

/// A path that failed, as BFD saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdFailure {
    /// What it saw: `no packets from 10.0.0.2 for 150 ms`.
    pub why: String,
    /// Whether nothing but the path can have failed. Where the peer's BFD does not outlive its
    /// control plane (C bit), a restart of the peer looks just like this, and routes that it
    /// asked us to keep over one are kept (RFC 5882 §4.3), unless an operator wants otherwise.
    pub is_certain: bool,
}

impl Down {
    /// Whether it says what is wrong between both sides, and goes on being so until a session
    /// comes up: what attempts end with that the other side turns away meanwhile says less.
    pub(super) fn is_telling(&self) -> bool {
        match self {
            Down::Sent(notification) | Down::Received(notification) => !matches!(
                notification.cease_reason(),
                Some(CeaseReason::ConnectionRejected | CeaseReason::ConnectionCollisionResolution)
            ),
            Down::HoldTimerExpired | Down::SendHoldTimerExpired | Down::BfdDown(_) => true,
            Down::Tcp(_) | Down::Silent => false,
        }
    }

    /// Whether this side or the other had more prefixes than allowed.
    pub(super) fn is_limit(&self) -> bool {
        match self {
            Down::Sent(notification) | Down::Received(notification) => {
                notification.cease_reason() == Some(CeaseReason::MaximumPrefixesReached)
            }
            Down::HoldTimerExpired
            | Down::SendHoldTimerExpired
            | Down::BfdDown(_)
            | Down::Tcp(_)
            | Down::Silent => false,
        }
    }

    /// The reason in one word, as metrics have it.
    pub fn word(&self) -> &'static str {
        match self {
            Down::HoldTimerExpired | Down::SendHoldTimerExpired => "hold_timer",
            Down::Sent(Notification { code: 6, subcode: 2..=4 | 6, .. }) | Down::Silent => "admin",
            Down::Sent(_) => "notification_sent",
            Down::Received(_) => "notification_received",
            Down::BfdDown(_) => "bfd",
            Down::Tcp(_) => "tcp",
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Down::Sent(notification) => write!(f, "we sent {notification}"),
            Down::Received(notification) => write!(f, "peer sent {notification}"),
            Down::HoldTimerExpired => {
                f.write_str("hold timer expired: nothing came from the peer in time")
            }
            Down::SendHoldTimerExpired => {
                f.write_str("send hold timer expired: the peer does not read what we send")
            }
            Down::BfdDown(failure) => write!(f, "BFD: {}", failure.why),
            Down::Tcp(how) if how.is_empty() => f.write_str("TCP connection closed"),
            Down::Tcp(how) => how.chars().try_for_each(|c| match c.is_control() {
                true => write!(f, "{}", c.escape_debug()),
                false => f.write_char(c),
            }),
            Down::Silent => f.write_str("we closed without a NOTIFICATION"),
        }
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
                "peer sent Cease: Administrative Shutdown (6/2) \"maintenant\"",
            ),
            (
                Down::Received(n(6, 4, b"\x08a\n\x1b[2J\"x")),
                "peer sent Cease: Administrative Reset (6/4) \"a\\n\\u{1b}[2J\\\"x\"",
            ),
            (Down::Sent(n(2, 2, b"")), "we sent OPEN Message Error: Bad Peer AS (2/2)"),
            (Down::HoldTimerExpired, "hold timer expired: nothing came from the peer in time"),
            (
                Down::SendHoldTimerExpired,
                "send hold timer expired: the peer does not read what we send",
            ),
            (
                Down::BfdDown(BfdFailure {
                    why: "no packets from 10.0.0.2 for 150 ms".into(),
                    is_certain: false,
                }),
                "BFD: no packets from 10.0.0.2 for 150 ms",
            ),
            (Down::Tcp("reset\nby peer".into()), "reset\\nby peer"),
            (Down::Tcp(String::new()), "TCP connection closed"),
            (Down::Silent, "we closed without a NOTIFICATION"),
        ] {
            assert_eq!(down.to_string(), want, "{down:?}");
        }
    }
}
