//! What the service manager is told (sd_notify(3)): ready, reloading, alive, and a line about
//! how things are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::answer::Known;
use super::views;
use crate::control::view::Status;
use crate::fib::{self, ListRequest};

/// How often the line is renewed; the watchdog may want to hear more often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// While we are starting: how often the manager is asked for patience, and for how long.
const PATIENCE_EVERY: Duration = Duration::from_secs(10);
const PATIENCE_USEC: u32 = 60_000_000;

/// The way to the service manager, if there is one.
pub(super) struct Supervisor {
    /// How often it is told how things are.
    every: Duration,
    watchdog: bool,
    present: bool,
    ready: bool,
    /// A look at the parts that has not ended. While one hangs, nobody says that we live.
    looking: Option<JoinHandle<()>>,
    looked: Option<Instant>,
    asked: Option<Instant>,
}

impl Supervisor {
    pub(super) fn new() -> Self {
        let limit = sd_notify::watchdog_enabled();
        let every = limit.map_or(LOOK_EVERY, |limit| LOOK_EVERY.min(limit / 4));
        Self {
            every,
            watchdog: limit.is_some(),
            present: std::env::var_os("NOTIFY_SOCKET").is_some(),
            ready: false,
            looking: None,
            looked: None,
            asked: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// To be called often. The parts that route are asked for a sign of life in a task of
    /// its own, so that one that hangs keeps us from saying that we live and from nothing else.
    pub(super) fn look(&mut self, known: &Arc<Known>) {
        if !self.present {
            return;
        }
        let now = Instant::now();
        let is_due =
            |last: Option<Instant>, every| last.is_none_or(|at| now.duration_since(at) >= every);
        if !self.ready && is_due(self.asked, PATIENCE_EVERY) {
            self.asked = Some(now);
            tell(&[NotifyState::ExtendTimeoutUsec(PATIENCE_USEC)]);
        }
        let is_looking = self.looking.as_ref().is_some_and(|looking| !looking.is_finished());
        if is_due(self.looked, self.every) && !is_looking {
            self.looked = Some(now);
            self.looking = Some(tokio::spawn(look_at(Arc::clone(known), self.watchdog)));
        }
    }

    pub(super) fn ready(&mut self) {
        self.ready = true;
        tell(&[NotifyState::Ready]);
    }

    pub(super) fn reloading(&self) {
        if self.ready
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    pub(super) fn reloaded(&self) {
        if self.ready {
            tell(&[NotifyState::Ready]);
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping; routes stay in the kernel")]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Nobody may be there to be told.
    let _ = sd_notify::notify(states);
}

async fn look_at(known: Arc<Known>, watchdog: bool) {
    let facts = known.facts.load_full();
    let Ok(status) = views::status(&known, &facts).await else { return };
    if let Some(fib) = &known.fib {
        let (reply, answered) = oneshot::channel();
        let request = ListRequest { only_diff: false, after: None, limit: 1 };
        let asked = fib.commands.send(fib::Command::List(request, reply)).await;
        if asked.is_err() || answered.await.is_err() {
            return;
        }
    }
    // The policy half may be in the kernel for longer than the manager would wait; how long is
    // too long, its own deadline says.
    if !known.beats.late().is_empty() {
        return;
    }
    let line = in_a_line(&status);
    let mut states = vec![NotifyState::Status(&line)];
    states.extend(watchdog.then_some(NotifyState::Watchdog));
    tell(&states);
}

fn in_a_line(status: &Status) -> String {
    let routes: usize = status.routes.iter().map(|family| family.installed).sum();
    let figures = match &status.bgp {
        Some(bgp) => format!(
            "{} of {} peers established, {routes} routes installed",
            bgp.established, bgp.peers
        ),
        None => "no BGP".to_owned(),
    };
    let line = match &status.problems[..] {
        [] => figures,
        [first] => format!("{} ({figures})", first.what),
        [first, rest @ ..] => {
            format!("{} and {} more problems ({figures})", first.what, rest.len())
        }
    };
    // One line, whatever stands in it.
    line.replace(char::is_control, " ")
}
