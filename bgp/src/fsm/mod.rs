//! The session machine of one peer: events and the time in, actions and a deadline out
//! (RFC 4271 §8).

use std::time::{Duration, Instant};

use crate::msg::{CeaseReason, HoldTime, Message, Notification, Open, RouteRefresh, Update};
use crate::net::{Asn, Family, RouterId};

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
    /// each wait jittered to 75-100 % (RFC 4271 §10).
    pub connect_retry: Duration,
    /// Longest wait before dialling again.
    pub connect_retry_max: Duration,
    /// Never dial, only accept (RFC 4271 §8.1.1 PassiveTcpEstablishment).
    pub passive: bool,
    /// Offer messages of up to 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// Offer IPv6 next hops for IPv4 prefixes (RFC 8950).
    pub extended_next_hop: bool,
    /// Longest time without progress in writing before the session is dropped (RFC 9687);
    /// `None` takes the standard's: the greater of 8 minutes and twice the hold time.
    pub send_hold: Option<Duration>,
}

/// One TCP connection with the peer; numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireId(pub u64);

/// Who opened a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// We did.
    Dialled,
    /// The peer did.
    Accepted,
}

/// What happens to a peer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The operator wants the session (ManualStart, AutomaticStart).
    Start,
    /// The operator does not want it any more (ManualStop); the text goes to the peer
    /// where the reason allows one (RFC 9003).
    Stop(CeaseReason, Option<String>),
    /// Close without a NOTIFICATION and stay down: the peer shall keep our routes over a restart.
    StopSilently,
    /// A TCP connection stands.
    Connected(WireId, Direction),
    /// The dialling that [`Action::Dial`] asked for came to nothing; the text says why.
    ConnectFailed(String),
    /// A wire was closed or broke; the text says how.
    Closed(WireId, String),
    /// A message came in.
    Received(WireId, Message),
    /// Octets came in that are no message; the NOTIFICATION to answer with.
    Malformed(WireId, Notification),
    /// The kernel took octets that we wrote: restarts the send hold timer (RFC 9687).
    Progress(WireId),
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a TCP connection; answered by `Connected` or `ConnectFailed`.
    Dial,
    /// Stop an attempt at dialling that is still under way.
    AbandonDial,
    /// Send a message, ahead of any updates that wait.
    Send(WireId, Message),
    /// Close the wire once what was sent is out, or a second has passed.
    Close(WireId),
    /// The session is Established on this wire.
    Up(WireId, Box<Negotiated>),
    /// The session that was Established is over.
    Down(Down),
    /// Hand to the RIB what came in.
    Deliver(Delivery),
}

/// What an established session hands to the RIB.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Announced and withdrawn prefixes of agreed families.
    Update(Update),
    /// Everything was sent (RFC 4724 §2).
    EndOfRib(Family),
    /// The peer asks for a family again, or marks begin and end of it.
    Refresh(RouteRefresh),
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Who opened the wire.
    pub direction: Direction,
    /// The hold time in force.
    pub hold_time: HoldTime,
    /// Time between KEEPALIVEs; `None` if the hold timer is off.
    pub keepalive: Option<Duration>,
    /// The families that both offered; IPv4 alone if the peer offered none (RFC 4760 §8).
    pub families: Vec<Family>,
    /// AS numbers have four octets in both directions (RFC 6793).
    pub four_octet_asns: bool,
    /// Messages may have 65535 octets (RFC 8654).
    pub extended_message: bool,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer understands ROUTE-REFRESH (RFC 2918).
    pub route_refresh: bool,
    /// The peer understands its begin and end marks (RFC 7313).
    pub enhanced_refresh: bool,
    /// The peer's OPEN, for display.
    pub their_open: Open,
}

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

/// The states of RFC 4271 §8.2.2, as shown: that of the wire that got furthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not wanted, or waiting before the next attempt.
    Idle,
    /// Dialling.
    Connect,
    /// Waiting to dial again, or to be dialled.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPENs exchanged.
    OpenConfirm,
    /// Up.
    Established,
}

/// The session machine of one peer, with up to two wires until a collision is settled
/// (RFC 4271 §6.8).
#[derive(Clone, Debug)]
pub struct Peer {
    _settings: PeerSettings,
}

impl Peer {
    /// A machine in Idle that waits for [`Event::Start`]. `seed` drives the jitter.
    pub fn new(settings: PeerSettings, seed: u64) -> Self {
        let _ = seed;
        Self { _settings: settings }
    }

    /// Takes one event and says what to do.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let _ = (event, now);
        Vec::new()
    }

    /// The next instant at which [`Peer::on_deadline`] has work; `None` if no timer runs.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Runs the timers that are due.
    pub fn on_deadline(&mut self, now: Instant) -> Vec<Action> {
        let _ = now;
        Vec::new()
    }

    /// The state to show.
    pub fn state(&self) -> State {
        State::Idle
    }

    /// Why the last session or attempt ended; `None` before the first end.
    pub fn last_error(&self) -> Option<&Down> {
        None
    }

    /// What was agreed, while Established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        None
    }
}
