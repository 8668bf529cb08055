//! Services, as their EndpointSlices have them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::World;
use crate::model::{EndpointSlice, Protocol, ServiceName, SliceKey};

/// EndpointSlices, and the services that they are of.
#[derive(Debug, Default)]
pub(super) struct Services {
    slices: BTreeMap<SliceKey, Arc<EndpointSlice>>,
    /// Never empty.
    of_service: BTreeMap<ServiceName, BTreeSet<SliceKey>>,
}

/// The endpoints of a service, of all its slices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceEndpoints {
    /// Their addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Their addresses with protocol and number of each of their ports.
    pub ports: BTreeSet<(IpAddr, Protocol, u16)>,
}

impl World {
    /// The endpoints of a service; none if it is not known.
    pub fn service_endpoints(&self, name: &ServiceName) -> ServiceEndpoints {
        let keys = self.services.of_service.get(name).into_iter().flatten();
        let mut endpoints = ServiceEndpoints::default();
        for slice in keys.filter_map(|key| self.services.slices.get(key)) {
            endpoints.addresses.extend(&slice.addresses);
            for address in slice.addresses.iter().copied() {
                let ports = slice.ports.iter();
                endpoints.ports.extend(ports.map(|(protocol, port)| (address, *protocol, *port)));
            }
        }
        endpoints
    }

    /// All EndpointSlices.
    pub fn slices(&self) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.services.slices.values()
    }

    /// An EndpointSlice is `after` from now on.
    pub(super) fn replace_slice(&mut self, key: &SliceKey, after: Option<Arc<EndpointSlice>>) {
        let Services { slices, of_service } = &mut self.services;
        if slices.get(key) == after.as_ref() {
            return;
        }
        let now = after.as_ref().and_then(|slice| slice.service.clone());
        let before = match after {
            Some(slice) => slices.insert(key.clone(), slice),
            None => slices.remove(key),
        };
        let was = before.and_then(|slice| slice.service.clone());
        if let Some(was) = was {
            if let Some(keys) = of_service.get_mut(&was) {
                keys.remove(key);
                if keys.is_empty() {
                    of_service.remove(&was);
                }
            }
            self.touched.services.insert(was);
        }
        if let Some(now) = now {
            of_service.entry(now.clone()).or_default().insert(key.clone());
            self.touched.services.insert(now);
        }
    }
}
