//! Which pods' interfaces are open, and who waits for them to be.

use std::collections::BTreeMap;
use std::time::Instant;

use brindle_policy::{Change, Interface, PodKey};
use tokio::sync::oneshot;

use super::Enforcer;

/// Interfaces that are not open yet.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// When they were told, of those that came since all is in sync.
    closed: BTreeMap<Interface, Instant>,
    /// Who waits for which.
    asked: BTreeMap<Interface, Vec<oneshot::Sender<()>>>,
}

impl Enforcer {
    /// A change was told that came at `arrived`.
    pub(super) fn note_interface(&mut self, change: &Change, arrived: Instant) {
        match change {
            Change::Attached(attachment) if self.world.is_in_sync() => {
                let interface = attachment.interface;
                if self.world.attachment(interface) != Some(attachment) {
                    self.interfaces.closed.insert(interface, arrived);
                }
            }
            Change::Detached(interface) => drop(self.interfaces.closed.remove(interface)),
            _ => {}
        }
    }

    /// Says where the API server tells other addresses of a pod than its interface has.
    pub(super) fn look_at_report(&mut self, key: &PodKey) {
        let Some(told) = self.world.misreported(key) else { return };
        let list = |addresses: &[std::net::IpAddr]| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            addresses.join(", ")
        };
        let has = list(&self.world.claims(key));
        self.warn_once(format!(
            "Pod {key} has {has} by its interface, but status.podIPs says {}; the interface counts",
            list(&told)
        ));
    }

    /// Somebody wants to know when an interface is open.
    pub(super) fn await_open(&mut self, interface: Interface, answer: oneshot::Sender<()>) {
        self.interfaces.asked.entry(interface).or_default().push(answer);
    }

    /// Tells those who wait for interfaces that are open now.
    pub(super) fn tell_open(&mut self) {
        if self.interfaces.closed.is_empty() && self.interfaces.asked.is_empty() {
            return;
        }
        let mut interfaces = std::mem::take(&mut self.interfaces);
        interfaces.asked.retain(|interface, waiting| {
            waiting.retain(|answer| !answer.is_closed());
            if !waiting.is_empty() && self.missing(*interface).is_none() {
                // Whoever asked may have gone meanwhile.
                waiting.drain(..).for_each(|answer| _ = answer.send(()));
            }
            !waiting.is_empty()
        });
        interfaces.closed.retain(|interface, since| {
            let is_open = self.missing(*interface).is_none();
            if is_open {
                self.status.pod_wait.add(since.elapsed());
            }
            !is_open
        });
        self.interfaces = interfaces;
    }

    /// Why an interface is closed; `None` if it is open.
    pub(super) fn missing(&self, interface: Interface) -> Option<String> {
        let Some(attachment) = self.world.attachment(interface) else {
            return Some(format!("{interface} is no pod's interface that the agent knows"));
        };
        let Some(key) = &attachment.pod else {
            return Some(
                "the container has no pod name (K8S_POD_NAMESPACE and K8S_POD_NAME), so nobody \
                 can write a policy for it: where policies are enforced it stays closed"
                    .to_owned(),
            );
        };
        let writing = self.writing.as_ref().map(|writing| &writing.round);
        let is_free = self.tenants.held().all(|held| held != key);
        let is_programmed = self.roster.is_programmed(key, writing) && !self.world.has_touched(key);
        let has_all =
            attachment.addresses.iter().all(|address| self.world.is_attached(interface, *address));
        if is_programmed && has_all && is_free {
            return None;
        }
        if let Some(missing) = &self.status.unavailable {
            return Some(format!("policies cannot be written: {missing}"));
        }
        if !self.world.is_in_sync() {
            return Some("not all of the cluster's state has been told yet".to_owned());
        }
        let Some(pod) = self.world.pod(key) else {
            return Some(format!("Pod {key} is not known yet: the API server has not told of it"));
        };
        match &pod.node {
            Some(node) if *node == attachment.node => {}
            Some(node) => return Some(format!("Pod {key} is on node {node}")),
            None => return Some(format!("Pod {key} is not known to be on this node yet")),
        }
        if pod.host_network || pod.finished {
            let why = if pod.finished { "has finished" } else { "has the node's network" };
            return Some(format!("Pod {key} {why}: its interface stays closed"));
        }
        if let Some((_, why)) = &self.status.failing {
            return Some(format!("policies cannot be written: {why}"));
        }
        let other = attachment.addresses.iter().find_map(|address| {
            let owner = self.world.endpoint_at(*address)?;
            (owner.key != *key).then(|| format!("{address} belongs to Pod {}", owner.key))
        });
        let waits = || match is_free {
            true => format!("the chains of Pod {key} are not written yet"),
            false => format!(
                "connections of the last pod that had an address of Pod {key} are \
                              still there"
            ),
        };
        Some(other.unwrap_or_else(waits))
    }
}
