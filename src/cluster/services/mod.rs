//! Services, as far as their addresses are announced.
//!
//! ```text
//!  Service, EndpointSlice ─read─► ServiceObjects ─┐
//!                    bgp.services, Nodes' labels ─┴─advertise─► Advertised: what each node may
//!                                                                announce, and for which Service
//! ```
//!
//! All of it is pure. Every agent knows the same objects, so that each knows what the others
//! may announce, too.

mod advertise;
mod overlap;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Family;
use brindle_config::ServiceAddresses;
use brindle_policy::model::{ServiceName, SliceKey};

pub use advertise::{Advertised, Reason, advertise};
pub use overlap::{Overlap, overlaps};
pub(crate) use read::{BETA_FIELD, lift_beta, read_endpoints, read_service};

/// The label of Nodes that keeps load balancers from them. As for these, it counts whatever its
/// value is.
pub const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A `v1` Service, as far as it has addresses that something on every node answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ServiceName,
    /// `spec.clusterIPs`; none of one that is headless or stands for a name.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Those of `status.loadBalancer.ingress` that packets come in with.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerClass`: whose business its load balancer is; `None` for the usual one.
    pub load_balancer_class: Option<Arc<str>>,
    /// `spec.externalTrafficPolicy: Local`: a node without endpoints drops what comes from
    /// outside.
    pub is_local_outside: bool,
    /// `spec.internalTrafficPolicy: Local`: a node without endpoints drops what comes to a
    /// cluster IP.
    pub is_local_inside: bool,
}

impl Service {
    fn addresses(&self, kind: ServiceAddresses) -> &[IpAddr] {
        match kind {
            ServiceAddresses::Cluster => &self.cluster_ips,
            ServiceAddresses::External => &self.external_ips,
            ServiceAddresses::LoadBalancer => &self.load_balancer_ips,
        }
    }

    /// Whether only nodes with endpoints are to get packets to these addresses.
    fn is_local(&self, kind: ServiceAddresses) -> bool {
        self.is_local_outside || (self.is_local_inside && kind == ServiceAddresses::Cluster)
    }
}

/// Where the endpoints of a Service are that can take packets: of one EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The EndpointSlice.
    pub key: SliceKey,
    /// The Service.
    pub service: ServiceName,
    /// The family of their addresses.
    pub family: Family,
    /// Whether any is ready, wherever it is.
    pub is_ready: bool,
    /// The nodes with one that is ready and not about to end.
    pub nodes: BTreeSet<Arc<str>>,
}

/// The objects that there are.
#[derive(Debug, Default)]
pub struct ServiceObjects {
    services: BTreeMap<ServiceName, Arc<Service>>,
    endpoints: BTreeMap<SliceKey, Arc<Endpoints>>,
    /// Another number after each change.
    version: u64,
}

impl ServiceObjects {
    /// Takes a Service that is new or changed.
    pub fn apply(&mut self, service: Arc<Service>) {
        self.version += 1;
        self.services.insert(service.name.clone(), service);
    }

    /// Takes that a Service is gone.
    pub fn delete(&mut self, name: &ServiceName) {
        self.version += u64::from(self.services.remove(name).is_some());
    }

    /// Takes what an EndpointSlice says by now; nothing if it is gone or says nothing.
    pub fn set_endpoints(&mut self, key: &SliceKey, endpoints: Option<Arc<Endpoints>>) {
        self.version += 1;
        match endpoints {
            Some(endpoints) => drop(self.endpoints.insert(key.clone(), endpoints)),
            None => drop(self.endpoints.remove(key)),
        }
    }

    /// Another number whenever the objects may be others.
    pub fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests;
