//! What the machine is told and what it asks for.

use std::time::Duration;

use crate::msg::{CeaseReason, Message, Notification, RouteRefresh, Update};
use crate::net::Family;

use super::{BfdFailure, Down, Negotiated};

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
    /// We are about to be started again, and stay down until then: closes without a word where
    /// that lets the peer keep our routes (RFC 4724 §4.2), else as `Stop` for a shutdown with
    /// this text.
    Restart(Option<String>),
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
    /// The peer has told more prefixes of a family than so many (RFC 4271 §6.7): it rests for
    /// the time given.
    OverLimit(Family, u32, Duration),
    /// BFD says that the path to the peer has failed (RFC 5882 §4.2): the session ends at
    /// once, and is tried again as after any other failure.
    BfdDown(BfdFailure),
    /// The way to the peer may have come to be: dials now where the next attempt only waits for
    /// its time. A peer that rests goes on resting, and what it rests for is not forgotten.
    Retry,
    /// The kernel took octets that we wrote: restarts the send hold timer (RFC 9687).
    Progress(WireId),
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a TCP connection; answered by `Connected` or `ConnectFailed`.
    Dial,
    /// Stop an attempt at dialling that is still under way. A `Connected` that was already
    /// on its way is answered with `Close`.
    AbandonDial,
    /// Send a message, ahead of any updates that wait.
    Send(WireId, Message),
    /// Close the wire once what was sent is out, or a second has passed. No other action
    /// names the wire afterwards, and events of it are ignored.
    Close(WireId),
    /// The session is Established on this wire.
    Up(WireId, Box<Negotiated>),
    /// The session that was Established is over.
    Down(Down),
    /// Hand to the RIB what came in.
    Deliver(Delivery),
}

/// What an established session hands to the RIB.
#[allow(clippy::large_enum_variant, reason = "nearly all are UPDATEs; a box each would cost more")]
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Announced and withdrawn prefixes of agreed families.
    Update(Update),
    /// Everything was sent (RFC 4724 §2).
    EndOfRib(Family),
    /// The peer asks for a family again, or marks begin and end of it.
    Refresh(RouteRefresh),
}
