//! What speakers tell each other that they can (RFC 5492).

use std::time::Duration;

use bytes::Bytes;

use crate::net::AfiSafi;

/// One capability of an OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// 1: a family (RFC 4760 §8).
    Multiprotocol(AfiSafi),
    /// 2: ROUTE-REFRESH (RFC 2918).
    RouteRefresh,
    /// 5: next hops of another family (RFC 8950 §4): family of the prefixes and AFI of the next hop.
    ExtendedNextHop(Vec<(AfiSafi, u16)>),
    /// 6: messages of up to 65535 octets (RFC 8654).
    ExtendedMessage,
    /// 9: what the sender is to us; the value as it stands there (RFC 9234 §4.1).
    Role(u8),
    /// 64: graceful restart (RFC 4724 §3, RFC 8538 §2).
    GracefulRestart(GracefulRestart),
    /// 65: four-octet AS numbers; the number as it stands there, zero included (RFC 6793 §3).
    FourOctetAsn(u32),
    /// 69: several paths of one prefix (RFC 7911 §4).
    AddPaths(Vec<AddPathFamily>),
    /// 70: enhanced route refresh (RFC 7313).
    EnhancedRouteRefresh,
    /// 71: long-lived graceful restart (RFC 9494 §3.1); without families its sender only keeps
    /// what others tell.
    LongLivedRestart(Vec<LongLivedFamily>),
    /// Any other, and a known one whose value has another length than its RFC gives it.
    Unknown {
        /// The capability code.
        code: u8,
        /// The capability value, at most 255 octets (or what RFC 9072 allows).
        value: Bytes,
    },
}

/// The graceful restart capability (RFC 4724 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// R bit: the sender has just restarted.
    pub restarting: bool,
    /// N bit: NOTIFICATIONs do not end the retention (RFC 8538 §2).
    pub notification: bool,
    /// Restart Time in seconds, 0 to 4095.
    pub restart_secs: u16,
    /// The families whose forwarding state may be kept.
    pub families: Vec<RestartFamily>,
}

impl GracefulRestart {
    /// How long the peer asks us to wait for it.
    pub fn restart_time(&self) -> Duration {
        Duration::from_secs(self.restart_secs.into())
    }
}

/// One family of a long-lived graceful restart capability (RFC 9494 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongLivedFamily {
    /// Which family.
    pub family: AfiSafi,
    /// F bit: forwarding state was kept over the restart.
    pub forwarding: bool,
    /// Long-lived Stale Time in seconds, below 2^24.
    pub stale_secs: u32,
}

/// One family of an ADD-PATH capability (RFC 7911 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddPathFamily {
    /// Which family.
    pub family: AfiSafi,
    /// What the sender is able to do; the value as it stands there: 1 to receive several paths,
    /// 2 to send them, 3 both.
    pub able: u8,
}

impl AddPathFamily {
    /// A family of which the sender is able to receive or to send several paths, or both.
    pub fn new(family: AfiSafi, receive: bool, send: bool) -> Self {
        Self { family, able: u8::from(receive) | u8::from(send) << 1 }
    }

    /// Whether the sender is able to receive several paths. Any other value than the three
    /// counts as not understood (RFC 7911 §4).
    pub fn receives(&self) -> bool {
        matches!(self.able, 1 | 3)
    }

    /// Whether the sender is able to send several paths.
    pub fn sends(&self) -> bool {
        matches!(self.able, 2 | 3)
    }
}

/// One family of a graceful restart capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartFamily {
    /// Which family.
    pub family: AfiSafi,
    /// F bit: forwarding state was kept over the restart.
    pub forwarding: bool,
}
