//! Endpoints of Services (`discovery.k8s.io/v1`).

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice as Object;

use super::address::address;
use super::port::{number, protocol};
use super::{Problems, name};
use crate::model::{EndpointSlice, Problem, ServiceName, SliceKey};

/// The label of slices with the name of their Service, which is in the same namespace.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The type of slices whose addresses are names.
const NAMES: &str = "FQDN";

/// What policy needs of `object`, and what is wrong with it. A bad address or port does not
/// count. Fails only if it has no name.
pub fn endpoint_slice(object: &Object) -> Result<(EndpointSlice, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("EndpointSlice", &object.metadata, &mut problems)?;
    let namespace = name::namespace(&object.metadata, &mut problems);
    let service = object.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
    let service = service
        .filter(|name| !name.is_empty())
        .map(|name| ServiceName { namespace: namespace.clone(), name: name.as_str().into() });

    let mut addresses = BTreeSet::new();
    let endpoints = if object.address_type == NAMES { &[][..] } else { &object.endpoints };
    for (nth, endpoint) in endpoints.iter().enumerate() {
        for (index, typed) in endpoint.addresses.iter().enumerate() {
            match address(typed) {
                Ok(address) => drop(addresses.insert(address)),
                Err(message) => problems.add(
                    format!("endpoints[{nth}].addresses[{index}]"),
                    format!("{message}; rules that name the Service do not match it"),
                ),
            }
        }
    }
    let mut ports = BTreeSet::new();
    for (index, typed) in object.ports.iter().flatten().enumerate() {
        let mut bad = |name: &str, message: String| {
            problems.add(
                format!("ports[{index}].{name}"),
                format!("{message}; rules that name the Service do not match this port"),
            );
        };
        let protocol =
            protocol(typed.protocol.as_deref()).map_err(|message| bad("protocol", message));
        let port = match typed.port {
            Some(port) => number(port),
            None => Err("no port; accepted are 1 to 65535".to_owned()),
        };
        let port = port.map_err(|message| bad("port", message));
        if let (Ok(protocol), Ok(port)) = (protocol, port) {
            ports.insert((protocol, port));
        }
    }
    let key = SliceKey { namespace, name };
    Ok((EndpointSlice { key, service, addresses, ports }, problems.0))
}
