//! Host endpoints (policy-semantics 5.1).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::ports::{CALICO_PORT_NAMES, is_port_name, port_protocol};
use super::{list, text};
use crate::api::calico::{EndpointPort, HostEndpoint as Object, HostEndpointSpec};
use crate::ingest::address::address;
use crate::ingest::labels::labels;
use crate::ingest::{Problems, name, shown};
use crate::model::{HostEndpoint, HostInterface, NamedPort, Problem};

/// What `object` means, and what is wrong with it. An address or a port that is bad does not
/// count. Fails if it has no name, or says no interface that there can be.
pub fn host_endpoint(object: &Object) -> Result<(HostEndpoint, Vec<Problem>), Problem> {
    let mut problems = Problems::default();
    let name = name::name("HostEndpoint", &object.metadata, &mut problems)?;
    let labels = labels(object.metadata.labels.as_ref(), &mut problems);
    let nothing = HostEndpointSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);
    let bad = |field: &str, message: String| Problem {
        field: format!("spec.{field}"),
        message: format!("{message}; the host endpoint is ignored"),
    };

    let Some(node) = text(spec.node.as_ref()) else {
        return Err(bad("node", "no node; accepted is the name of one".to_owned()));
    };
    let interface = match text(spec.interface_name.as_ref()) {
        None => None,
        Some("*") => Some(HostInterface::Any),
        Some(typed) => match typed.parse() {
            Ok(device) => Some(HostInterface::Named(device)),
            Err(error) => return Err(bad("interfaceName", format!("{error}, or *"))),
        },
    };
    let expected = expected(list(&spec.expected_ips), &mut problems);
    if interface.is_none() && expected.is_empty() {
        let message = "neither interfaceName nor an address of the interface in expectedIPs; \
                       accepted is one of the two";
        return Err(bad("expectedIPs", message.to_owned()));
    }
    let mut ports = BTreeSet::new();
    for (index, typed) in list(&spec.ports).iter().enumerate() {
        ports.extend(port(typed, &format!("spec.ports[{index}]"), &mut problems));
    }
    let profiles = list(&spec.profiles).iter().map(|name| name.as_str().into()).collect();
    let node = node.into();
    Ok((HostEndpoint { name, labels, node, interface, expected, ports, profiles }, problems.0))
}

fn expected(typed: &[String], problems: &mut Problems) -> BTreeSet<IpAddr> {
    let mut expected = BTreeSet::new();
    for (index, typed) in typed.iter().enumerate() {
        match address(typed) {
            Ok(address) => drop(expected.insert(address)),
            Err(message) => problems.add(
                format!("spec.expectedIPs[{index}]"),
                format!("{message}; the host endpoint is known without it"),
            ),
        }
    }
    expected
}

fn port(typed: &EndpointPort, field: &str, problems: &mut Problems) -> Option<NamedPort> {
    let mut bad = |name: &str, message: String| {
        let message = format!("{message}; rules that name this port do not find it");
        problems.add(format!("{field}.{name}"), message);
    };
    let name = typed.name.as_deref().unwrap_or_default();
    let is_name = is_port_name(name);
    if !is_name {
        let name = shown(name);
        bad("name", format!("{name} is not the name of a port; accepted are {CALICO_PORT_NAMES}"));
    }
    let protocol = match &typed.protocol {
        Some(typed) => port_protocol(typed),
        None => Err("no protocol; accepted are TCP, UDP and SCTP".to_owned()),
    };
    let protocol = protocol.map_err(|message| bad("protocol", message));
    let number = match typed.port {
        Some(typed) => u16::try_from(typed)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| format!("{typed} is not a port; accepted are 1 to 65535")),
        None => Err("no port; accepted are 1 to 65535".to_owned()),
    };
    let number = number.map_err(|message| bad("port", message));
    is_name.then_some(NamedPort {
        name: name.into(),
        protocol: protocol.ok()?,
        number: number.ok()?,
    })
}
