//! Calico's objects about BGP: what they mean, and which sessions they come down to.
//!
//! ```text
//!  manifest, API server ─api─► peer, configuration, filter: read and judged ─► Objects
//!                                      nodes, brindle.yaml ─┐                    │
//!                                                           └───► sessions ◄─────┘
//! ```
//!
//! All of it is pure. An object with something wrong in it is refused as a whole: half of one
//! would be another peering.

pub mod api;
mod configuration;
mod engine;
mod filter;
mod keys;
mod peer;
mod read;
mod secret;
mod services;
pub(crate) mod sessions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use configuration::{Configuration, DEFAULT};
pub use engine::Direction;
pub use filter::BgpFilter;
pub use peer::{BgpPeer, EXTRAS, Remote, SecretRef, Whose};
pub(crate) use read::{Reading, read_configuration, read_filter, read_peer, read_secret};
pub use secret::{NoData, Secret};
pub(super) use services::service_field;

use super::kind::Kind;

/// Which object: a kind and a name. Sorts in the order in which objects are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BgpKey {
    /// A BGPConfiguration.
    Configuration(Arc<str>),
    /// A BGPFilter.
    Filter(Arc<str>),
    /// A BGPPeer.
    Peer(Arc<str>),
    /// A Secret, by namespace and name.
    Secret(Arc<str>, Arc<str>),
}

impl BgpKey {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            BgpKey::Configuration(_) => Kind::BgpConfiguration,
            BgpKey::Filter(_) => Kind::BgpFilter,
            BgpKey::Peer(_) => Kind::BgpPeer,
            BgpKey::Secret(..) => Kind::Secret,
        }
    }

    /// Its namespace, if it is in one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            BgpKey::Configuration(_) | BgpKey::Filter(_) | BgpKey::Peer(_) => None,
            BgpKey::Secret(namespace, _) => Some(namespace),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            BgpKey::Configuration(name)
            | BgpKey::Filter(name)
            | BgpKey::Peer(name)
            | BgpKey::Secret(_, name) => name,
        }
    }
}

impl fmt::Display for BgpKey {
    /// `BGPPeer/tor`, `Secret/kube-system/bgp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind().name();
        match self.namespace() {
            Some(namespace) => write!(f, "{kind}/{namespace}/{}", self.name()),
            None => write!(f, "{kind}/{}", self.name()),
        }
    }
}

/// An object, as far as it is used.
#[derive(Clone, Debug, PartialEq)]
pub enum BgpObject {
    /// A BGPConfiguration.
    Configuration(Arc<Configuration>),
    /// A BGPFilter.
    Filter(Arc<BgpFilter>),
    /// A BGPPeer.
    Peer(Arc<BgpPeer>),
    /// A Secret.
    Secret(Arc<Secret>),
}

impl BgpObject {
    /// Which it is.
    pub fn key(&self) -> BgpKey {
        match self {
            BgpObject::Configuration(one) => BgpKey::Configuration(Arc::clone(&one.name)),
            BgpObject::Filter(one) => BgpKey::Filter(Arc::clone(&one.name)),
            BgpObject::Peer(one) => BgpKey::Peer(Arc::clone(&one.name)),
            BgpObject::Secret(one) => {
                BgpKey::Secret(Arc::clone(&one.namespace), Arc::clone(&one.name))
            }
        }
    }
}

/// The objects that there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BgpObjects {
    configurations: BTreeMap<Arc<str>, Arc<Configuration>>,
    filters: BTreeMap<Arc<str>, Arc<BgpFilter>>,
    peers: BTreeMap<Arc<str>, Arc<BgpPeer>>,
    secrets: BTreeMap<(Arc<str>, Arc<str>), Arc<Secret>>,
    /// What they hold or held that objects name.
    held: keys::Held,
}

impl BgpObjects {
    /// Takes an object that is new or changed.
    pub fn apply(&mut self, object: BgpObject) {
        match object {
            BgpObject::Configuration(one) => {
                self.configurations.insert(Arc::clone(&one.name), one);
            }
            BgpObject::Filter(one) => drop(self.filters.insert(Arc::clone(&one.name), one)),
            BgpObject::Peer(one) => drop(self.peers.insert(Arc::clone(&one.name), one)),
            BgpObject::Secret(one) => {
                let key = (Arc::clone(&one.namespace), Arc::clone(&one.name));
                self.secrets.insert(key, one);
            }
        }
    }

    /// Takes that an object is gone.
    pub fn delete(&mut self, key: &BgpKey) {
        match key {
            BgpKey::Configuration(name) => drop(self.configurations.remove(name)),
            BgpKey::Filter(name) => drop(self.filters.remove(name)),
            BgpKey::Peer(name) => drop(self.peers.remove(name)),
            BgpKey::Secret(namespace, name) => {
                self.secrets.remove(&(Arc::clone(namespace), Arc::clone(name)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
