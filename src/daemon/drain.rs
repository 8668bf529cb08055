//! Draining within the daemon: looks, has the steps taken, remembers.

use std::time::{Duration, Instant, SystemTime};

use brindle_bgp::fsm::State;
use brindle_bgp::net::Prefix;
use tracing::{info, warn};

use crate::control::view::{Clock, Drain as View, DrainState};
use crate::drain::{Arriving, By, Drain, Kept, Order, Outcome, Phase, Seen, Step, Store};
use crate::speaker::{self, Leave, SpeakerHandle};

/// Whether the node is drained or about to be, and why.
pub(super) struct Draining {
    store: Store,
    under_way: Option<UnderWay>,
    /// The Node's reason that an operator has undone, until it is gone once.
    undone: Option<String>,
}

struct UnderWay {
    order: Order,
    drain: Drain,
    /// Opened with the first look.
    arriving: Option<Result<Arriving, String>>,
}

/// A drain as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    order: Order,
    phase: Phase,
    outcome: Outcome,
    not_counted: Option<String>,
}

impl Draining {
    /// What an earlier run has left.
    pub(super) fn load(store: Store, now: Instant) -> Self {
        let (under_way, undone) = match store.load() {
            Ok(None) => (None, None),
            Ok(Some(Kept::Undone { reason })) => (None, Some(reason)),
            Ok(Some(Kept::Draining { order })) => {
                info!(by = ?order.by, "draining goes on, from the start");
                let drain = Drain::begin(order.wait, true, now);
                (Some(UnderWay { order, drain, arriving: None }), None)
            }
            Ok(Some(Kept::Drained { order, outcome })) => {
                info!(by = ?order.by, "this node is drained; `brindle undrain` ends that");
                let drain = Drain::done(outcome, now);
                (Some(UnderWay { order, drain, arriving: None }), None)
            }
            Err(error) => {
                // Somebody wanted it drained; that much is clear.
                warn!(%error, file = %store.path().display(),
                    "cannot read whether this node is drained, so it is; `brindle undrain` ends that");
                let order = order(By::Operator, Duration::ZERO, None);
                let drain = Drain::done(Outcome::default(), now);
                (Some(UnderWay { order, drain, arriving: None }), None)
            }
        };
        Self { store, under_way, undone }
    }

    /// What is to be seen of it; none while the node serves.
    pub(super) fn report(&self) -> Option<Report> {
        let UnderWay { order, drain, arriving } = self.under_way.as_ref()?;
        Some(Report {
            order: order.clone(),
            phase: drain.phase(),
            outcome: drain.outcome(),
            not_counted: arriving.as_ref().and_then(|counted| counted.as_ref().err().cloned()),
        })
    }

    /// How far the speaker must be.
    pub(super) fn leave(&self) -> Leave {
        let Some(UnderWay { order, drain, .. }) = &self.under_way else { return Leave::Not };
        match drain.phase() {
            Phase::Announcing => Leave::Announced,
            Phase::Withdrawing => Leave::Withdrawn,
            Phase::Closing | Phase::Drained => Leave::Gone(order.message.clone()),
        }
    }

    /// Whether it is done, so that no session is to be expected.
    pub(super) fn is_drained(&self) -> bool {
        self.under_way.as_ref().is_some_and(|way| way.drain.phase() == Phase::Drained)
    }

    /// What peers are told if the agent stops now, for those that would keep waiting for it.
    pub(super) fn farewell(&self) -> Option<Option<String>> {
        self.under_way.as_ref().map(|way| way.order.message.clone())
    }

    /// The speaker starts anew: what peers were told must be told again.
    pub(super) fn begin_again(&mut self, now: Instant) {
        if let Some(way) = &mut self.under_way
            && way.drain.phase() != Phase::Drained
        {
            way.drain = Drain::begin(way.order.wait, true, now);
        }
    }

    /// Begins what an operator wants; what is under way goes on with this wait, and is the
    /// operator's now.
    ///
    /// # Errors
    /// A sentence, if it could not be remembered.
    pub(super) fn begin(
        &mut self,
        wait: Duration,
        message: Option<String>,
        now: Instant,
    ) -> Result<(), String> {
        let mut wanted = order(By::Operator, wait, message);
        if let Some(way) = &self.under_way {
            wanted.since = way.order.since;
            wanted.message = wanted.message.or_else(|| way.order.message.clone());
        }
        let kept = match &self.under_way {
            Some(way) if way.drain.phase() == Phase::Drained => {
                Kept::Drained { order: wanted.clone(), outcome: way.drain.outcome() }
            }
            _ => Kept::Draining { order: wanted.clone() },
        };
        self.keep(&kept)?;
        self.undone = None;
        match &mut self.under_way {
            Some(way) => {
                way.drain.set_wait(wait);
                way.order = wanted;
            }
            None => self.start(wanted, now),
        }
        Ok(())
    }

    fn start(&mut self, order: Order, now: Instant) {
        info!(by = ?order.by, wait_seconds = order.wait.as_secs_f32(), "draining begins");
        let drain = Drain::begin(order.wait, false, now);
        self.under_way = Some(UnderWay { order, drain, arriving: None });
    }

    /// Ends it by an operator's will, even if the Node object asks for it.
    ///
    /// # Errors
    /// A sentence, if it would begin again with the agent's next start.
    pub(super) fn end(&mut self) -> Result<(), String> {
        let by = self.under_way.as_ref().map(|way| way.order.by.clone());
        let undone = match by {
            Some(By::Node(reason)) => Some(reason),
            Some(By::Operator) => None,
            None => return Ok(()),
        };
        match &undone {
            Some(reason) => self.keep(&Kept::Undone { reason: reason.clone() })?,
            None => self.forget()?,
        }
        info!("the node is not drained any more");
        (self.under_way, self.undone) = (None, undone);
        Ok(())
    }

    /// Follows what the Node object asks for: begins, or ends what was begun for it.
    pub(super) fn follow(&mut self, wanted: Option<String>, wait: Duration, now: Instant) {
        match (wanted, &mut self.under_way) {
            (Some(reason), None) if self.undone.as_ref() != Some(&reason) => {
                let order = order(By::Node(reason), wait, None);
                // The object will still say so after a restart.
                self.warn_unless(self.keep(&Kept::Draining { order: order.clone() }));
                self.undone = None;
                self.start(order, now);
            }
            (Some(reason), Some(way)) => {
                if let By::Node(before) = &mut way.order.by {
                    *before = reason;
                }
            }
            (Some(_), None) => {}
            (None, Some(way)) if way.order.by != By::Operator => {
                info!("the Node object asks no more for draining");
                self.under_way = None;
                self.warn_unless(self.forget());
            }
            (None, None) if self.undone.is_some() => {
                self.undone = None;
                self.warn_unless(self.forget());
            }
            (None, _) => {}
        }
    }

    /// Looks how far it is, and has the speaker do what is due.
    ///
    /// # Errors
    /// If the speaker has ended.
    pub(super) async fn look(
        &mut self,
        speaker: &SpeakerHandle,
        announced: &[Prefix],
    ) -> Result<(), speaker::Gone> {
        let Some(way) = &mut self.under_way else { return Ok(()) };
        if way.drain.phase() == Phase::Drained {
            return Ok(());
        }
        let arrived = way.count(announced);
        let seen = Seen { arrived, ..speaker.read(sessions).await? };
        let Some(step) = way.drain.look(&seen, Instant::now()) else { return Ok(()) };
        let outcome = way.drain.outcome();
        match step {
            Step::Withdraw => {
                info!(peers = outcome.peers, "what this node originates is withdrawn");
            }
            Step::Close => {}
            Step::Done => {
                way.arriving = way.arriving.take().filter(Result::is_err);
                info!(packets_per_second = ?outcome.packets_per_second, "this node is drained");
                let kept = Kept::Drained { order: way.order.clone(), outcome };
                self.warn_unless(self.keep(&kept));
            }
        }
        speaker.leave(self.leave()).await
    }

    fn keep(&self, what: &Kept) -> Result<(), String> {
        self.store.keep(what).map_err(|error| {
            format!(
                "cannot write {}, so a restart would forget it: {error}",
                self.store.path().display()
            )
        })
    }

    fn forget(&self) -> Result<(), String> {
        self.store.forget().map_err(|error| {
            format!(
                "cannot remove {}, so a restart would drain again: {error}",
                self.store.path().display()
            )
        })
    }

    fn warn_unless(&self, done: Result<(), String>) {
        if let Err(why) = done {
            warn!("{why}");
        }
    }
}

impl UnderWay {
    fn count(&mut self, announced: &[Prefix]) -> Option<u64> {
        let begin = || {
            Arriving::count(announced).map_err(|error| {
                warn!(%error, "packets to this node cannot be counted; each wait takes its time");
                error.to_string()
            })
        };
        let counted = self.arriving.get_or_insert_with(begin);
        let arrived = counted.as_mut().ok()?.so_far();
        arrived.map_err(|error| *counted = Err(error.to_string())).ok()
    }
}

fn order(by: By, wait: Duration, message: Option<String>) -> Order {
    Order { by, wait, message, since: SystemTime::now() }
}

fn sessions(view: &speaker::View<'_>) -> Seen {
    let mut seen = Seen::default();
    for (id, entry) in view.peers.iter().filter(|(_, entry)| !entry.disabled) {
        seen.peers += 1;
        if entry.status().state == State::Established {
            seen.established += 1;
            seen.untold += usize::from(!view.rib.has_told_all(*id));
        }
    }
    seen
}

impl Report {
    /// How far it is.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether no session is to be expected.
    pub(super) fn has_no_sessions(&self) -> bool {
        self.phase >= Phase::Closing
    }
}

/// As it is shown.
pub(super) fn view(node: &str, report: Option<&Report>, clock: &Clock) -> View {
    let Some(Report { order, phase, outcome, not_counted }) = report else {
        return View::serving(node);
    };
    let (since, since_seconds) = clock.past_time(order.since);
    View {
        state: match phase {
            Phase::Announcing => DrainState::Announcing,
            Phase::Withdrawing => DrainState::Withdrawing,
            Phase::Closing => DrainState::Closing,
            Phase::Drained => DrainState::Drained,
        },
        reason: Some(match &order.by {
            By::Operator => "an operator said so".to_owned(),
            By::Node(reason) => reason.clone(),
        }),
        message: order.message.clone(),
        since: Some(since),
        since_seconds: Some(since_seconds),
        wait_seconds: Some(order.wait.as_secs_f64()),
        peers: outcome.peers,
        withdrawn_after_seconds: outcome.withdrawn_after.map(|after| after.as_secs_f64()),
        packets_per_second: outcome.packets_per_second,
        not_counted: not_counted.clone(),
        safe_to_stop: *phase == Phase::Drained && outcome.packets_per_second.unwrap_or(0) == 0,
        ..View::serving(node)
    }
}
