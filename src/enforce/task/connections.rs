//! What is done about connections: those that are denied now, those of addresses that pass to
//! another pod, and those that were denied, which are told.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::SystemTime;

use super::super::attribution::{self, Sight};
use super::super::denied::{Heard, Listener, ToldPacket};
use super::super::flows::FlowOutcome;
use super::super::recheck::{Affected, Trial};
use super::super::status::Trigger;
use super::super::tracker::Tracked;
use super::Enforcer;

/// Connections that are judged before others get their turn.
const JUDGED_A_TURN: usize = 500;
/// How often removing the entries of an address that passes on is tried.
const FLUSH_TRIES: u32 = 3;

impl Enforcer {
    /// Begins the next work on tracked connections, once everything is in the kernel.
    pub(super) fn track(&mut self) {
        if let Some(trial) = &mut self.trial
            && let Some(guilty) = trial.go_on(&self.world, &self.settings.node, JUDGED_A_TURN)
        {
            self.guilty.extend(guilty);
            self.trial = None;
        }
        if self.tracker.is_busy() || !self.status.ready {
            return;
        }
        let to_flush = self.tenants.to_flush();
        if !to_flush.is_empty() {
            self.tracker.flush(to_flush);
        } else if !self.guilty.is_empty() {
            self.tracker.cut(std::mem::take(&mut self.guilty));
        } else if !self.affected.is_empty() && self.trial.is_none() {
            self.tracker.entries(std::mem::replace(&mut self.affected, Affected::none()));
        }
    }

    pub(super) fn take_tracked(&mut self, tracked: Tracked) {
        match tracked {
            Tracked::Flushed(addresses, flushed) => self.has_flushed(&addresses, flushed),
            Tracked::Entries(Ok(entries)) => self.trial = Some(Trial::new(entries)),
            Tracked::Cut(Ok(cut)) => self.status.flushed.denied += cut,
            Tracked::Entries(Err(error)) | Tracked::Cut(Err(error)) => {
                self.warn_once(format!("cannot cut connections that are denied now: {error}"));
            }
        }
    }

    fn has_flushed(&mut self, addresses: &BTreeSet<IpAddr>, flushed: io::Result<u64>) {
        match flushed {
            Ok(count) => self.status.flushed.reused += count,
            Err(_) if self.flush_tries < FLUSH_TRIES => {
                self.flush_tries += 1;
                return;
            }
            // A pod without a network would be worse than a connection of its predecessor's.
            Err(error) => self.warn_once(format!(
                "connections of addresses that are used again cannot be removed: {error}"
            )),
        }
        self.flush_tries = 0;
        for arrived in self.tenants.flushed(&mut self.world, addresses) {
            self.roster.arrived(Trigger::Pod, arrived);
        }
    }

    /// Listens for denied packets, if they are told.
    pub(super) fn listen(&mut self) {
        self.listener = None;
        let Some(log) = self.settings.flow_log else { return };
        match Listener::open(log.group) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => {
                let group = log.group;
                self.warn_once(format!(
                    "cannot hear of denied packets, NFLOG group {group}: {error}"
                ));
            }
        }
    }

    /// Takes in packets that were told.
    pub(super) fn hear(&mut self, heard: io::Result<Heard>) {
        match heard {
            Ok(Heard::Packets(packets)) => {
                let now = SystemTime::now();
                self.status.denied[0] += packets.len() as u64;
                for packet in &packets {
                    self.tell(packet, now);
                }
            }
            Ok(Heard::Lost) => self.status.denied[1] += 1,
            Err(error) => {
                self.listener = None;
                self.warn_once(format!("denied packets are not heard of any more: {error}"));
            }
        }
    }

    fn tell(&mut self, packet: &ToldPacket, now: SystemTime) {
        let hosts = &self.settings.hosts;
        let sight = Sight { world: &self.world, hosts, rulesets: self.rulesets() };
        let Some(flow) = attribution::flow(sight, packet, now) else { return };
        match flow.outcome {
            FlowOutcome::Denied | FlowOutcome::Logged => {}
            FlowOutcome::WouldAllow | FlowOutcome::WouldDeny => {
                let would_allow = flow.outcome == FlowOutcome::WouldAllow;
                *self.status.staged.entry((flow.direction, would_allow)).or_default() += 1;
            }
        }
        self.flows.add(flow);
    }
}
