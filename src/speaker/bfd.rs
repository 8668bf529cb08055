//! BFD beside BGP: which peers have a session of it, and what comes of its failure.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::bfd::{Path, State};
use brindle_bgp::fsm::{BfdFailure, Event};
use tokio::sync::watch;
use tracing::info;

use super::PeerEntry;
use super::owner::Owner;
use super::peer::PeerTask;
use crate::bfd::{Report, Status, Wanted};
use crate::fib::LocalAddress;

impl Owner {
    /// Has a BFD session with every peer that shall have one; operators who disable a peer
    /// do not want one either.
    pub(super) fn set_bfd(&mut self) {
        let is_wanted = |entry: &&PeerEntry| !entry.disabled && entry.wanted.is_known();
        let enabled = self.peers.values().filter(is_wanted);
        let wanted = enabled.filter_map(|entry| {
            let (settings, peer) = (entry.wanted.bfd?, entry.wanted.address);
            let interface = match settings.path {
                _ if entry.wanted.link.is_some() => entry.wanted.link.clone(),
                Path::SingleHop => interface(&self.own, peer),
                Path::Multihop { .. } => None,
            };
            let is_near = |local: &LocalAddress| local.link.contains(peer);
            let is_far = entry.wanted.link.is_none()
                && !self.own.is_empty()
                && !self.own.iter().any(is_near);
            let report = Arc::clone(&entry.shared.bfd);
            let source = entry.wanted.source;
            Some(Wanted { peer, source, interface, is_far, settings, report })
        });
        let wanted = wanted.collect();
        self.bfd.set(wanted);
    }
}

/// The interface that the peer is on-link by, if there is just one.
fn interface(own: &[LocalAddress], peer: IpAddr) -> Option<Arc<str>> {
    let mut links = own.iter().filter(|local| local.link.contains(peer));
    let first = &links.next()?.interface;
    links.all(|other| other.interface == *first).then(|| Arc::clone(first))
}

/// What a peer's task has seen of BFD.
pub(super) struct BfdWatch {
    told: watch::Receiver<Status>,
    failures: u64,
    switched_off: u64,
    is_up: bool,
}

impl BfdWatch {
    /// What was before does not concern a task that begins.
    pub(super) fn new(report: &Report) -> Self {
        let mut told = report.subscribe();
        let Status { failures, switched_off, .. } = *told.borrow();
        // Whether it is up is to be seen all the same.
        told.mark_changed();
        Self { told, failures, switched_off, is_up: false }
    }

    /// Returns when there is something new to see.
    pub(super) async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl PeerTask {
    /// Does what RFC 5882 asks when BFD tells something: a path that failed ends the session
    /// at once (§4.2). That the peer's operator has switched BFD off says nothing about the
    /// path, unless BGP has no hold time to find out by itself (§3.2).
    pub(super) fn heed_bfd(&mut self) {
        let status = self.bfd.told.borrow_and_update().clone();
        let state = status.seen.as_ref().map(|seen| seen.state);
        let is_up = state == Some(State::Up);
        let has_failed = status.failures != self.bfd.failures;
        let is_off = status.switched_off != self.bfd.switched_off;
        let was_up = std::mem::replace(&mut self.bfd.is_up, is_up);
        (self.bfd.failures, self.bfd.switched_off) = (status.failures, status.switched_off);
        let peer = Arc::clone(&self.wanted.rib.name);
        if is_up && !was_up {
            self.say_session(|| info!(%peer, "BFD session up"));
        }
        if has_failed && let Some(failure) = status.last_failure {
            self.say_session(|| info!(%peer, why = failure.why, "BFD session down"));
            if failure.is_certain {
                self.path_failed();
            }
            return self.feed(Event::BfdDown(failure));
        }
        if !is_off {
            return;
        }
        let hold_time = self.machine.negotiated().map(|agreed| agreed.hold_time.timeout());
        if hold_time == Some(None) {
            let why = format!(
                "{} has switched BFD off, and the session has no hold time",
                self.wanted.address
            );
            self.feed(Event::BfdDown(BfdFailure { why, is_certain: false }));
        } else {
            self.say_session(|| info!(%peer, "the peer has switched BFD off"));
        }
    }
}
