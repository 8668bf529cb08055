//! Bidirectional Forwarding Detection without I/O: is the peer still there, asked many times
//! a second (RFC 5880; RFC 5881 over one hop, RFC 5883 over several).
//!
//! ```text
//!   octets ──Packet::decode──►  Session  ──Output──►  a packet to send, a change to tell of
//!   now    ──on_deadline─────►  states, Poll Sequence, two timers
//! ```
//!
//! The shell owns sockets and the clock: it finds the [`Session`] that a [`Packet`] is for,
//! hands it in with the time, and calls [`Session::on_deadline`] when [`Session::deadline`]
//! has come. What waits in a socket is handed in before a timer runs: a peer whose packets
//! have arrived is not silent, however late we read them.
//!
//! Asynchronous mode only. A peer in Demand mode is served as §6.6 asks; we never ask for it.
//! There is no Echo function and no authentication: packets with the A bit are dropped.

mod packet;
mod session;
mod settings;
mod words;

pub use packet::{Fault, PORT_MULTIHOP, PORT_SINGLE_HOP, Packet};
pub use session::{Cause, Change, Output, Remote, Session};
pub use settings::{Intervals, Path, Settings};
pub use words::{Diagnostic, State};

#[cfg(test)]
mod tests;
