//! The session machine of one peer: events and the time in, actions and a deadline out
//! (RFC 4271 §8).
//!
//! ```text
//!             Event, now                        Message, now
//!   shell ──────────────────►  Peer  ─────────────────────────────►  Wire, Wire
//!         ◄──────────────────  dialling, back-off, collisions  ◄───  OPEN, timers, states
//!          Vec<Action>, deadline                    Step
//! ```
//!
//! A [`Peer`] is Idle, Connect or Active by what it does to reach the other side; from
//! OpenSent on the state belongs to a wire, and there may be two until the collision is
//! settled. The shell owns sockets and the clock: it reports every [`Event`], carries out
//! every [`Action`] in order, and calls [`Peer::on_deadline`] when [`Peer::deadline`] has come.

mod advice;
mod collisions;
mod damping;
mod down;
mod event;
mod negotiate;
mod peer;
mod restart;
mod settings;
mod state;
mod timers;
mod wire;

pub use down::{BfdFailure, Down};
pub use event::{Action, Delivery, Direction, Event, WireId};
pub use negotiate::Negotiated;
pub use peer::{Idle, Peer};
pub use restart::{BadRestartTime, OwnRestart, PeerRestart, RestartOffer, RestartTime};
pub use settings::PeerSettings;
pub use state::State;
pub(crate) use timers::Random;
