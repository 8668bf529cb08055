//! What the machine is told of the peer and of us.

use std::time::Duration;

use crate::msg::HoldTime;
use crate::net::{Asn, Family, Role, RouterId};

use super::{OwnRestart, RestartOffer};

/// What the machine must know of the peer and of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Our AS number on this session.
    pub local_asn: Asn,
    /// Our BGP Identifier.
    pub router_id: RouterId,
    /// The AS that the peer must be in.
    pub remote_asn: Asn,
    /// The families that we offer.
    pub families: Vec<Family>,
    /// The hold time that we propose.
    pub hold_time: HoldTime,
    /// First wait before dialling again; doubled after each failure up to `connect_retry_max`,
    /// each wait jittered to 75-100 % (RFC 4271 §10). Less than 100 ms counts as 100 ms.
    pub connect_retry: Duration,
    /// Longest wait before dialling again; at most a day.
    pub connect_retry_max: Duration,
    /// Never dial, only accept (RFC 4271 §8.1.1 PassiveTcpEstablishment).
    pub passive: bool,
    /// Offer messages of up to 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// Offer IPv6 next hops for IPv4 prefixes (RFC 8950).
    pub extended_next_hop: bool,
    /// What we are to a peer in another AS (RFC 9234); it must be the opposite.
    pub role: Option<Role>,
    /// Refuse a peer that says no role (RFC 9234 §4.2).
    pub role_strict: bool,
    /// Longest time without progress in writing before the session is dropped (RFC 9687);
    /// `None` takes the standard's: the greater of 8 minutes and twice the hold time. Less
    /// than the agreed hold time counts as that: the KEEPALIVEs of an idle session are all
    /// the progress it makes. Without a hold time there are none, and this timer is off.
    pub send_hold: Option<Duration>,
    /// Offer to receive several paths of one prefix (RFC 7911).
    pub receive_paths: bool,
    /// Offer to send them.
    pub send_paths: bool,
    /// Offer graceful restart (RFC 4724); `None` does not.
    pub graceful_restart: Option<RestartOffer>,
}

impl PeerSettings {
    /// A session with both families and usual times, and nothing more that need not be.
    pub fn new(local_asn: Asn, router_id: RouterId, remote_asn: Asn) -> Self {
        Self {
            local_asn,
            router_id,
            remote_asn,
            families: Family::ALL.to_vec(),
            hold_time: HoldTime::DEFAULT,
            connect_retry: Duration::from_secs(1),
            connect_retry_max: Duration::from_secs(60),
            passive: false,
            extended_message: true,
            extended_next_hop: true,
            role: None,
            role_strict: false,
            send_hold: None,
            receive_paths: false,
            send_paths: false,
            graceful_restart: None,
        }
    }

    /// Our role; inside an AS there are none (RFC 9234 §4.1).
    pub(super) fn external_role(&self) -> Option<Role> {
        self.role.filter(|_| !self.is_internal())
    }

    /// Whether the peer is in our AS.
    pub fn is_internal(&self) -> bool {
        self.local_asn == self.remote_asn
    }

    /// The OPEN that we send: what we offer.
    pub fn open(&self) -> crate::msg::Open {
        super::negotiate::our_open(self, OwnRestart::default())
    }
}
