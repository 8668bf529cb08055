//! Graceful restart in the OPENs, and which ends of a session it outlives (RFC 4724, RFC 8538,
//! RFC 9494).

use std::time::Duration;

use crate::msg::{Capability, CeaseReason, GracefulRestart, Notification, RestartFamily};
use crate::net::{AfiSafi, Family};

use super::{Down, Negotiated, PeerSettings};

/// Seconds that a peer is asked to wait for us: 1 to 4095 (RFC 4724 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestartTime(u16);

/// A restart time that does not fit into its twelve bits, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} s is no restart time; 1 to 4095 are")]
pub struct BadRestartTime(u16);

impl RestartTime {
    /// The default: two minutes.
    pub const DEFAULT: RestartTime = RestartTime(120);
    /// The longest that can be said.
    pub const MAX: RestartTime = RestartTime(0x0FFF);

    /// A time of so many seconds.
    ///
    /// # Errors
    /// If it is zero or above 4095.
    pub const fn from_secs(secs: u16) -> Result<Self, BadRestartTime> {
        match secs {
            1..=0x0FFF => Ok(Self(secs)),
            _ => Err(BadRestartTime(secs)),
        }
    }

    /// The seconds.
    pub const fn secs(self) -> u16 {
        self.0
    }
}

/// What we offer of graceful restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartOffer {
    /// How long the peer shall wait for us.
    pub time: RestartTime,
    /// Offer to keep what the peer tells for long, if it wants that (RFC 9494), but never for
    /// longer than this; `None` does not.
    pub long_lived: Option<Duration>,
}

/// What is true of our own last start, as an OPEN tells it (RFC 4724 §3). By default we have
/// just come to be and forward nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRestart {
    /// R bit: we have restarted, and have not heard all peers again.
    pub restarting: bool,
    /// F bits by [`Family::index`]: packets went on being forwarded meanwhile.
    pub forwarding: [bool; 2],
}

/// What the peer said of graceful restart, where both sides offer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRestart {
    /// R bit: it has restarted, and does not wait for our End-of-RIB.
    pub restarting: bool,
    /// N bit, of both sides: NOTIFICATIONs leave routes in place (RFC 8538 §2).
    pub notification: bool,
    /// How long it asks us to wait for it.
    pub time: Duration,
    /// The families that are kept, by [`Family::index`]; whether it went on forwarding.
    pub families: [Option<bool>; 2],
    /// Likewise after `time` (RFC 9494), with how long.
    pub long_lived: [Option<(bool, Duration)>; 2],
}

impl PeerRestart {
    /// Whether a family's routes are kept when the session ends.
    pub fn keeps(&self, family: Family) -> bool {
        self.families[family.index()].is_some()
    }
}

impl Negotiated {
    /// Whether the end of this session for this reason leaves the routes of both sides where
    /// they are, for the families that [`PeerRestart`] names: the end of TCP always
    /// (RFC 4724 §4.2); a NOTIFICATION, the one of the hold timer included, if both sides set
    /// the N bit, unless it is a hard reset (RFC 8538 §4); silence of a BFD that would not
    /// outlive the peer's control plane. Who told us too much keeps nothing here: the limit is
    /// there for our memory.
    pub fn is_outlived(&self, why: &Down) -> bool {
        let Some(restart) = &self.restart else { return false };
        match why {
            Down::Tcp(_) | Down::Silent => true,
            // A restart of the peer silences its BFD too, unless that lives on its own
            // (RFC 5882 §4.3).
            Down::BfdDown(failure) => !failure.is_certain,
            Down::HoldTimerExpired | Down::SendHoldTimerExpired => restart.notification,
            Down::Sent(_) if why.is_limit() => false,
            Down::Sent(notification) | Down::Received(notification) => {
                restart.notification && notification.cease_reason() != Some(CeaseReason::HardReset)
            }
        }
    }

    /// How long the peer's routes are kept after this end of the session, and the peer waited for;
    /// `None` if they go.
    pub(super) fn awaits(&self, why: &Down) -> Option<Duration> {
        let restart = self.restart.as_ref().filter(|_| self.is_outlived(why))?;
        Family::ALL.into_iter().any(|family| restart.keeps(family)).then_some(restart.time)
    }

    /// The Cease that ends this session because BFD says so, if the peer hears it: in a hard
    /// reset where it would keep our routes over a path that has surely failed; none where any
    /// NOTIFICATION would have it drop them, while we keep its own (RFC 4724 §4.2).
    pub(super) fn bfd_cease(&self, why: &Down) -> Option<Notification> {
        let cease = Notification::cease(CeaseReason::BfdDown, None);
        match (&self.restart, self.is_outlived(why)) {
            (Some(restart), true) => restart.notification.then_some(cease),
            (Some(restart), false) if restart.notification => Some(cease.into_hard_reset()),
            _ => Some(cease),
        }
    }

    /// The Cease that ends this session: in a hard reset where the peer would keep our routes
    /// otherwise and shall not.
    pub(super) fn cease(&self, reason: CeaseReason, text: Option<&str>) -> Notification {
        let cease = Notification::cease(reason, text);
        let is_soft = self.restart.as_ref().is_some_and(|restart| restart.notification);
        match reason {
            CeaseReason::HardReset => cease,
            reason if is_soft && reason.is_final() => cease.into_hard_reset(),
            _ => cease,
        }
    }
}

/// The capabilities of graceful restart for our OPEN; none if it is off.
pub(super) fn offer(settings: &PeerSettings, own: OwnRestart) -> Vec<Capability> {
    let Some(offer) = settings.graceful_restart else { return Vec::new() };
    let offered = Family::ALL.into_iter().filter(|family| settings.families.contains(family));
    let families = offered.map(|family| RestartFamily {
        family: family.into(),
        forwarding: own.forwarding[family.index()],
    });
    let mut capabilities = vec![Capability::GracefulRestart(GracefulRestart {
        restarting: own.restarting,
        notification: true,
        restart_secs: offer.time.secs(),
        families: families.collect(),
    })];
    if offer.long_lived.is_some() {
        capabilities.push(Capability::LongLivedRestart(Vec::new()));
    }
    capabilities
}

/// What the peer said, if both offer it; of families that are not agreed nothing counts. Of
/// several such capabilities the last one does (RFC 4724 §3).
pub(super) fn agree(
    settings: &PeerSettings,
    families: &[Family],
    theirs: &[Capability],
) -> Option<PeerRestart> {
    let offer = settings.graceful_restart?;
    let said = theirs.iter().rev().find_map(|capability| match capability {
        Capability::GracefulRestart(restart) => Some(restart),
        _ => None,
    })?;
    let long_lived = theirs.iter().rev().find_map(|capability| match capability {
        Capability::LongLivedRestart(families) => Some(&families[..]),
        _ => None,
    });
    let by_family = Family::ALL.map(|family| families.contains(&family).then(|| family.into()));
    let of = |family: Option<AfiSafi>| {
        let family = family?;
        said.families.iter().find(|said| said.family == family).map(|said| said.forwarding)
    };
    let long = |family: Option<AfiSafi>| {
        let family = family?;
        let said = long_lived?.iter().find(|said| said.family == family)?;
        let time = Duration::from_secs(said.stale_secs.into());
        Some((said.forwarding, time.min(offer.long_lived?)))
    };
    Some(PeerRestart {
        restarting: said.restarting,
        notification: said.notification,
        time: said.restart_time(),
        families: by_family.map(of),
        long_lived: by_family.map(long),
    })
}
