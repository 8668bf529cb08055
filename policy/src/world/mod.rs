//! Everything that policies are about, kept up to date one change at a time.
//!
//! ```text
//!             policies ──use──► expressions ◄──hold for──► pods ──claim──► addresses
//!                    └──use──► named ports ◄────have────────┘
//! ```
//!
//! Expressions hold for host endpoints and network sets too, which have blocks of addresses
//! without claiming them (`others`).
//!
//! Every expression that a policy uses is there once, with the endpoints for which it holds,
//! and every pod knows the expressions that hold for it. So a change costs what it touches:
//! a pod is tried against those expressions only that may hold for it (`anchors`), and what
//! comes to or goes from a peer set is written down as it happens ([`Touched`]).
//!
//! A pod that our own network plug-in connected has the addresses of its interface as long as
//! that is there, also before `status.podIPs` tells of them and whatever that tells.

mod accounts;
mod addresses;
mod anchors;
mod attachments;
mod expressions;
mod hosts;
mod others;
mod pods;
mod policies;
mod ports;
mod profiles;
mod query;
mod search;
mod services;
mod slab;
mod tiers;
mod touched;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use addresses::Addresses;
use attachments::Attachments;
use expressions::{Expressions, PeerDeltas};
use others::Others;
use pods::{NamespaceEntry, NodeEntry, Pods};
use policies::PolicyEntry;
use ports::Ports;
use profiles::ProfileEntry;
use search::ByLabel;
use services::Services;

pub use services::ServiceEndpoints;
pub use touched::{Delta, Touched};

pub use crate::model::PortName;
use crate::model::{Change, DeviceAddresses, PodKey, PolicyId, Tier};
use crate::names::Interface;

/// All objects, and what follows from them.
#[derive(Debug)]
pub struct World {
    namespaces: BTreeMap<Arc<str>, NamespaceEntry>,
    nodes: BTreeMap<Arc<str>, NodeEntry>,
    policies: BTreeMap<PolicyId, PolicyEntry>,
    tiers: Vec<Tier>,
    profiles: BTreeMap<Arc<str>, ProfileEntry>,
    services: Services,
    others: Others,
    devices: Arc<DeviceAddresses>,
    pods: Pods,
    by_label: ByLabel,
    addresses: Addresses,
    attachments: Attachments,
    expressions: Expressions,
    ports: Ports,
    in_sync: bool,
    touched: Touched,
}

impl Default for World {
    fn default() -> Self {
        let profile = ProfileEntry::default_allow();
        Self {
            namespaces: BTreeMap::new(),
            nodes: BTreeMap::new(),
            policies: BTreeMap::new(),
            // policy-semantics 4: the tiers that are always there, in their order.
            tiers: Tier::built_in().into(),
            profiles: BTreeMap::from([(profile.profile.name.clone(), profile)]),
            services: Services::default(),
            others: Others::default(),
            devices: Arc::default(),
            pods: Pods::default(),
            by_label: ByLabel::default(),
            addresses: Addresses::default(),
            attachments: Attachments::default(),
            expressions: Expressions::default(),
            ports: Ports::default(),
            in_sync: false,
            touched: Touched::default(),
        }
    }
}

impl World {
    /// Takes a change. An object that is applied again as it was changes nothing.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::NamespaceApplied(namespace) => {
                let name = namespace.name.clone();
                self.replace_namespace(&name, Some(namespace));
            }
            Change::NamespaceDeleted(name) => self.replace_namespace(&name, None),
            Change::PodApplied(pod) => self.tell_pod(&pod.key.clone(), Some(pod)),
            Change::PodDeleted(key) => self.tell_pod(&key, None),
            Change::NodeApplied(node) => {
                let name = node.name.clone();
                self.replace_node(&name, Some(node));
            }
            Change::NodeDeleted(name) => self.replace_node(&name, None),
            Change::PolicyApplied(policy) => {
                let id = policy.id.clone();
                self.replace_policy(&id, Some(policy));
            }
            Change::PolicyDeleted(id) => self.replace_policy(&id, None),
            Change::Attached(attachment) => {
                self.replace_attachment(attachment.interface, Some(attachment));
            }
            Change::Detached(interface) => self.replace_attachment(interface, None),
            Change::TierApplied(tier) => self.replace_tier(&tier.name.clone(), Some(tier)),
            Change::TierDeleted(name) => self.replace_tier(&name, None),
            Change::HostEndpointApplied(host) => {
                self.replace_host(&host.name.clone(), Some(host));
            }
            Change::HostEndpointDeleted(name) => self.replace_host(&name, None),
            Change::NetworkSetApplied(set) => self.replace_set(&set.id.clone(), Some(set)),
            Change::NetworkSetDeleted(id) => self.replace_set(&id, None),
            Change::ProfileApplied(profile) => {
                self.replace_profile(&profile.name.clone(), Some(profile));
            }
            Change::ProfileDeleted(name) => self.replace_profile(&name, None),
            Change::ServiceAccountApplied(account) => {
                self.replace_account(&account.key.clone(), Some(account));
            }
            Change::ServiceAccountDeleted(key) => self.replace_account(&key, None),
            Change::SliceApplied(slice) => self.replace_slice(&slice.key.clone(), Some(slice)),
            Change::SliceDeleted(key) => self.replace_slice(&key, None),
            Change::Devices(devices) => {
                self.touched.hosts |= self.devices != devices;
                self.devices = devices;
            }
            Change::InSync => self.in_sync = true,
        }
    }

    /// Whether an endpoint is among what changed since [`World::take_touched`] was last asked,
    /// or an interface of it.
    pub fn has_touched(&self, key: &PodKey) -> bool {
        let is_its = |interface: &Interface| {
            self.attachment(*interface).is_some_and(|one| one.pod.as_ref() == Some(key))
        };
        self.touched.endpoints.contains(key) || self.touched.attachments.iter().any(is_its)
    }

    /// What changed since this was last asked.
    pub fn take_touched(&mut self) -> Touched {
        let PeerDeltas { peers, selected } =
            self.expressions.take(&mut self.pods, &mut self.others);
        let named_ports = self.ports.take();
        Touched { peers, selected, named_ports, ..std::mem::take(&mut self.touched) }
    }

    /// Whether everything that there was at the start has been told.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }
}
