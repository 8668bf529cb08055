//! Everything that policies are about, kept up to date one change at a time.
//!
//! ```text
//!             policies ──use──► expressions ◄──hold for──► pods ──claim──► addresses
//!                    └──use──► named ports ◄────have────────┘
//! ```
//!
//! Every expression that a policy uses is there once, with the endpoints for which it holds,
//! and every pod knows the expressions that hold for it. So a change costs what it touches:
//! a pod is tried against those expressions only that may hold for it (`anchors`), and what
//! comes to or goes from a peer set is written down as it happens ([`Touched`]).
//!
//! A pod that our own network plug-in connected has the addresses of its interface as long as
//! that is there, also before `status.podIPs` tells of them and whatever that tells.

mod addresses;
mod anchors;
mod attachments;
mod expressions;
mod pods;
mod policies;
mod ports;
mod query;
mod search;
mod slab;
mod touched;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use addresses::Addresses;
use attachments::Attachments;
use expressions::Expressions;
use pods::{NamespaceEntry, NodeEntry, Pods};
use policies::PolicyEntry;
use ports::Ports;
use search::ByLabel;

pub use touched::{Delta, Touched};

pub use crate::model::PortName;
use crate::model::{Change, PodKey, PolicyId, Tier};
use crate::names::Interface;

/// All objects, and what follows from them.
#[derive(Debug)]
pub struct World {
    namespaces: BTreeMap<Arc<str>, NamespaceEntry>,
    nodes: BTreeMap<Arc<str>, NodeEntry>,
    policies: BTreeMap<PolicyId, PolicyEntry>,
    tiers: Vec<Tier>,
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
        Self {
            namespaces: BTreeMap::new(),
            nodes: BTreeMap::new(),
            policies: BTreeMap::new(),
            // policy-semantics 4: the tiers that are always there, in their order.
            tiers: Tier::built_in().into(),
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
            Change::TierApplied(_)
            | Change::TierDeleted(_)
            | Change::HostEndpointApplied(_)
            | Change::HostEndpointDeleted(_)
            | Change::NetworkSetApplied(_)
            | Change::NetworkSetDeleted(_)
            | Change::ProfileApplied(_)
            | Change::ProfileDeleted(_)
            | Change::ServiceAccountApplied(_)
            | Change::ServiceAccountDeleted(_)
            | Change::SliceApplied(_)
            | Change::SliceDeleted(_)
            | Change::Devices(_) => {}
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
        let peers = self.expressions.take(&mut self.pods);
        let named_ports = self.ports.take();
        Touched { peers, named_ports, ..std::mem::take(&mut self.touched) }
    }

    /// Whether everything that there was at the start has been told.
    pub fn is_in_sync(&self) -> bool {
        self.in_sync
    }
}
