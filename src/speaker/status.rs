//! What a peer's task tells about itself, readable at any time without asking it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use brindle_bgp::fsm::{Down, Idle, Negotiated, State};
use brindle_bgp::msg::{self, Capability, Message, Notification, WireFormat};
use bytes::Bytes;

use super::auth::AuthFailures;
use crate::bfd;

/// A peer's session as it is now.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The state of RFC 4271 §8.2.2.
    pub state: State,
    /// Since when it is, or is not, Established.
    pub since: Instant,
    /// Sessions that were Established and ended.
    pub flaps: u64,
    /// The same by the word for why, as [`Down::word`] has it.
    pub flaps_by: BTreeMap<&'static str, u64>,
    /// Why the last session or attempt ended.
    pub last_down: Option<Down>,
    /// The same as a sentence, with what to change where that is known.
    pub last_reason: Option<String>,
    /// Why dialling came to nothing the last time, if that is newer than `last_down`.
    pub last_dial_error: Option<String>,
    /// Until when it is left alone, and why.
    pub idle: Option<Idle>,
    /// When it is dialled next.
    pub next_dial: Option<Instant>,
    /// What was agreed, while Established.
    pub negotiated: Option<Negotiated>,
    /// What our OPEN offered, while Established.
    pub offered: Arc<[Capability]>,
    /// Both ends of the established connection: ours, theirs.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// What the kernel had dropped when it was last Established, or had not been yet.
    pub failures_before: AuthFailures,
    /// The last NOTIFICATION that we sent, and when.
    pub last_sent: Option<(Notification, Instant)>,
    /// The last NOTIFICATION that the peer sent, and when.
    pub last_received: Option<(Notification, Instant)>,
}

impl PeerStatus {
    pub(super) fn new() -> Self {
        Self {
            state: State::Idle,
            since: Instant::now(),
            flaps: 0,
            flaps_by: BTreeMap::new(),
            last_down: None,
            last_reason: None,
            last_dial_error: None,
            idle: None,
            next_dial: None,
            negotiated: None,
            offered: Arc::default(),
            ends: None,
            failures_before: AuthFailures::read(),
            last_sent: None,
            last_received: None,
        }
    }
}

/// What an OPEN of ours offers.
pub(super) fn offered(open: &Bytes) -> Arc<[Capability]> {
    match msg::decode(open, &WireFormat::default()).map(|decoded| decoded.message) {
        Ok(Message::Open(open)) => open.capabilities.into(),
        Ok(_) | Err(_) => Arc::default(),
    }
}

/// What others may read of a peer's task at any time.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) status: ArcSwap<PeerStatus>,
    pub(super) counters: Arc<Counters>,
    pub(super) bfd: Arc<bfd::Report>,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        let status = ArcSwap::from_pointee(PeerStatus::new());
        Arc::new(Self { status, counters: Arc::default(), bfd: Arc::default() })
    }

    /// The task that told of itself here cannot any more.
    pub(super) fn task_died(&self) {
        let mut status = PeerStatus::clone(&self.status.load());
        if status.state == State::Established {
            status.flaps += 1;
            status.since = Instant::now();
        }
        status.state = State::Idle;
        (status.negotiated, status.ends, status.next_dial) = (None, None, None);
        status.idle = None;
        status.last_reason = Some(
            "a fault in brindle ended the peer's task; it starts anew, see the log and report it"
                .to_owned(),
        );
        self.status.store(Arc::new(status));
    }
}

/// The message types by their code less one, as [`Counters`] counts them.
pub const MESSAGE_TYPES: [&str; 5] =
    ["open", "update", "notification", "keepalive", "routeRefresh"];

/// Messages since the peer was configured, by type.
#[derive(Debug, Default)]
pub struct Counters {
    received: [AtomicU64; 5],
    sent: [AtomicU64; 5],
    /// Malformed attributes that were discarded (RFC 7606).
    pub discarded: AtomicU64,
    /// Malformed attributes whose prefixes were treated as withdrawn (RFC 7606).
    pub treated_as_withdraw: AtomicU64,
    /// Octets of updates that the peer's socket has not taken yet.
    pub backlog: AtomicUsize,
    /// Milliseconds from the first look at the clock to the last octets received, plus one;
    /// zero before.
    heard: AtomicU64,
}

impl Counters {
    /// Counts a whole message that came in.
    pub(super) fn note_received(&self, octets: &[u8]) {
        note(&self.received, octets);
    }

    /// Counts a whole message that went out.
    pub(super) fn note_sent(&self, octets: &[u8]) {
        note(&self.sent, octets);
    }

    /// Notes that something came in just now.
    pub(super) fn note_heard(&self) {
        let since = epoch().elapsed().as_millis();
        self.heard.store(u64::try_from(since).unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
    }

    /// When something last came in.
    pub fn last_heard(&self) -> Option<Instant> {
        let heard = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        epoch().checked_add(Duration::from_millis(heard))
    }

    /// Messages received, in the order of [`MESSAGE_TYPES`].
    pub fn received(&self) -> [u64; 5] {
        self.received.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Messages sent, in the order of [`MESSAGE_TYPES`].
    pub fn sent(&self) -> [u64; 5] {
        self.sent.each_ref().map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// What [`Counters::note_heard`] counts from.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// The type octet stands behind marker and length (RFC 4271 §4.1).
fn note(counters: &[AtomicU64; 5], octets: &[u8]) {
    let code = octets.get(18).copied().unwrap_or_default();
    if let Some(counter) = counters.get(usize::from(code).wrapping_sub(1)) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
