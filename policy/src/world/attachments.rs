//! Pods' interfaces on their nodes, and the addresses that pods have by them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::World;
use super::pods::distinct;
use crate::model::{Attachment, Pod, PodKey};
use crate::names::Interface;

/// The interfaces that our network plug-in made.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    all: BTreeMap<Interface, Arc<Attachment>>,
    of_pod: BTreeMap<PodKey, BTreeSet<Interface>>,
    /// Pods as they were told, where the world has them with other addresses.
    told: BTreeMap<PodKey, Arc<Pod>>,
}

impl Attachments {
    /// Puts an attachment in place of the one of that interface, which it gives.
    fn replace(
        &mut self,
        interface: Interface,
        after: Option<Arc<Attachment>>,
    ) -> Option<Arc<Attachment>> {
        let key = after.as_ref().and_then(|attachment| attachment.pod.clone());
        let before = match after {
            Some(attachment) => self.all.insert(interface, attachment),
            None => self.all.remove(&interface),
        };
        if let Some(key) = before.as_ref().and_then(|attachment| attachment.pod.as_ref())
            && let Some(interfaces) = self.of_pod.get_mut(key)
        {
            interfaces.remove(&interface);
            if interfaces.is_empty() {
                self.of_pod.remove(key);
            }
        }
        if let Some(key) = key {
            self.of_pod.entry(key).or_default().insert(interface);
        }
        before
    }

    /// Those of a pod, where it is.
    fn of(&self, pod: &Pod) -> impl Iterator<Item = &Arc<Attachment>> {
        let interfaces = self.of_pod.get(&pod.key).into_iter().flatten();
        let all = interfaces.filter_map(|interface| self.all.get(interface));
        let is_here = |one: &&Arc<Attachment>| pod.node.as_ref() == Some(&one.node);
        all.filter(is_here).filter(|_| !pod.host_network)
    }

    /// The pod with the addresses that it has, and whether it has them by an interface.
    fn equipped(&self, told: &Arc<Pod>) -> (Arc<Pod>, bool) {
        let mut attached = self.of(told).peekable();
        if attached.peek().is_none() {
            return (told.clone(), false);
        }
        let addresses: Vec<IpAddr> =
            attached.flat_map(|attachment| attachment.addresses.iter().copied()).collect();
        if distinct(addresses.iter().copied()) == distinct(told.addresses.iter().copied()) {
            return (told.clone(), true);
        }
        (Arc::new(Pod { addresses, ..Pod::clone(told) }), true)
    }
}

impl World {
    /// The interfaces that our network plug-in made, by name.
    pub fn attachments(&self) -> impl Iterator<Item = &Arc<Attachment>> {
        self.attachments.all.values()
    }

    /// One of them.
    pub fn attachment(&self, interface: Interface) -> Option<&Arc<Attachment>> {
        self.attachments.all.get(&interface)
    }

    /// Those of a pod, where it is, by name.
    pub fn attachments_of(&self, pod: &Pod) -> impl Iterator<Item = &Arc<Attachment>> {
        self.attachments.of(pod)
    }

    /// Whether a packet from `source` may come through `interface`: the address is that of the
    /// pod behind it, and no other pod's.
    pub fn is_attached(&self, interface: Interface, source: IpAddr) -> bool {
        let owner = self.endpoint_at(source);
        self.attachment(interface).is_some_and(|attachment| {
            attachment.addresses.contains(&source)
                && owner.is_some_and(|pod| {
                    Some(&pod.key) == attachment.pod.as_ref()
                        && pod.node.as_ref() == Some(&attachment.node)
                })
        })
    }

    /// The addresses that a pod claims: as [`World::pod`] has it, and those that were taken
    /// from it ([`World::take_from`]).
    pub fn claims(&self, key: &PodKey) -> Vec<IpAddr> {
        let told = self.told(key);
        told.map(|told| self.attachments.equipped(&told).0.addresses.clone()).unwrap_or_default()
    }

    /// What `status.podIPs` says of a pod that has other addresses by its interface; `None` if
    /// it says the same, or nothing yet.
    pub fn misreported(&self, key: &PodKey) -> Option<Vec<IpAddr>> {
        let told = self.attachments.told.get(key)?;
        let (pod, is_attached) = self.attachments.equipped(told);
        let differs = is_attached && pod.addresses != told.addresses && !told.addresses.is_empty();
        differs.then(|| told.addresses.clone())
    }

    /// Takes an address from a pod, until the pod is told again or [`World::restore`]d.
    pub fn take_from(&mut self, key: &PodKey, address: IpAddr) {
        let Some(told) = self.told(key) else { return };
        let (_, is_attached) = self.attachments.equipped(&told);
        let Some(pod) = self.pod(key) else { return };
        let mut less = Pod::clone(pod);
        less.addresses.retain(|other| *other != address);
        self.attachments.told.insert(key.clone(), told);
        self.replace_pod(key, Some(&Arc::new(less)), is_attached);
    }

    /// Gives back to a pod what was taken from it.
    pub fn restore(&mut self, key: &PodKey) {
        let told = self.told(key);
        self.tell_pod(key, told);
    }

    /// A pod is told to be `told` from now on.
    pub(super) fn tell_pod(&mut self, key: &PodKey, told: Option<Arc<Pod>>) {
        let Some(told) = told else {
            self.attachments.told.remove(key);
            self.replace_pod(key, None, false);
            return;
        };
        let (pod, is_attached) = self.attachments.equipped(&told);
        if pod == told {
            self.attachments.told.remove(key);
        } else {
            self.attachments.told.insert(key.clone(), told);
        }
        self.replace_pod(key, Some(&pod), is_attached);
    }

    /// An interface is `after` from now on.
    pub(super) fn replace_attachment(
        &mut self,
        interface: Interface,
        after: Option<Arc<Attachment>>,
    ) {
        if self.attachment(interface) == after.as_ref() {
            return;
        }
        let now = after.as_ref().and_then(|attachment| attachment.pod.clone());
        let before = self.attachments.replace(interface, after);
        let was = before.and_then(|attachment| attachment.pod.clone());
        self.touched.attachments.insert(interface);
        for key in [was, now].into_iter().flatten() {
            self.restore(&key);
        }
    }

    /// A pod as it was told.
    fn told(&self, key: &PodKey) -> Option<Arc<Pod>> {
        self.attachments.told.get(key).or_else(|| self.pod(key)).cloned()
    }
}
