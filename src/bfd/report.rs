//! What a session tells of itself, readable at any time without asking the thread.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use brindle_bgp::bfd::{Diagnostic, Fault, Remote, Settings, State};
use brindle_bgp::fsm::BfdFailure;
use tokio::sync::watch;

/// Where the session with a peer is told of; there may be none.
#[derive(Debug)]
pub struct Report {
    status: watch::Sender<Status>,
    counters: Counters,
}

impl Default for Report {
    fn default() -> Self {
        Self { status: watch::Sender::new(Status::default()), counters: Counters::default() }
    }
}

impl Report {
    /// The session now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Tells of every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Packets so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Tells how the session is now, or that there is none; who waits is woken only if that
    /// is something else.
    pub(super) fn show(&self, seen: Option<Seen>) {
        self.status.send_if_modified(|status| {
            let is_new = status.seen != seen;
            if is_new {
                status.seen = seen;
            }
            is_new
        });
    }

    /// Tells of something that clients act on.
    pub(super) fn note(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }
}

/// What there is to tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The session; `None` if there is none.
    pub seen: Option<Seen>,
    /// How often the path failed while the session was Up.
    pub failures: u64,
    /// How the last time.
    pub last_failure: Option<BfdFailure>,
    /// How often the peer's operator switched its side off while the session was Up.
    pub switched_off: u64,
}

/// A session as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Our state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub diagnostic: Diagnostic,
    /// Our address, once it is known.
    pub local: Option<IpAddr>,
    /// As it is wanted.
    pub settings: Settings,
    /// Ours.
    pub discriminator: NonZeroU32,
    /// The peer's side as it says.
    pub remote: Remote,
    /// The time between packets of ours, before jitter.
    pub transmit_interval: Duration,
    /// The time between packets of the peer, before jitter.
    pub receive_interval: Duration,
    /// How long the peer may be silent; `None` while it is not heard.
    pub detection_time: Option<Duration>,
    /// Why packets cannot be sent or received: a sentence for the operator.
    pub problem: Option<String>,
}

/// Packets of a session.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sent.
    pub sent: AtomicU64,
    /// Received, and handed to the session.
    pub received: AtomicU64,
}

impl Counters {
    pub(super) fn note(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why packets are dropped, as [`Drops`] counts them.
pub const DROP_REASONS: [&str; 6] =
    ["malformed", "authenticated", "ttl", "discriminator", "unknown_peer", "interface"];

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drop {
    /// RFC 5880 §6.8.6 refuses it.
    Malformed,
    /// It is authenticated, and we know no keys.
    Authenticated,
    /// It came from further away than the peer is.
    Ttl,
    /// Its Your Discriminator is no session's of that peer.
    Discriminator,
    /// It came from an address that there is no session with.
    UnknownPeer,
    /// It came by another interface than the one of the peer's link.
    Interface,
}

impl From<Fault> for Drop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Authenticated => Drop::Authenticated,
            Fault::Version(_)
            | Fault::Short { .. }
            | Fault::Length(_)
            | Fault::ZeroMultiplier
            | Fault::Multipoint
            | Fault::ZeroDiscriminator
            | Fault::Unbound(_) => Drop::Malformed,
        }
    }
}

/// Packets dropped, by [`DROP_REASONS`].
#[derive(Debug, Default)]
pub struct Drops([AtomicU64; DROP_REASONS.len()]);

impl Drops {
    pub(super) fn note(&self, reason: Drop) {
        let index = match reason {
            Drop::Malformed => 0,
            Drop::Authenticated => 1,
            Drop::Ttl => 2,
            Drop::Discriminator => 3,
            Drop::UnknownPeer => 4,
            Drop::Interface => 5,
        };
        Counters::note(&self.0[index]);
    }

    /// So many, in the order of [`DROP_REASONS`].
    pub fn counts(&self) -> [u64; DROP_REASONS.len()] {
        self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }
}
