//! From Services and EndpointSlices as they are written to what is used of them.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::Family;
use brindle_policy::model::{ServiceName, SliceKey};
use k8s_openapi::api::core::v1::Service as RawService;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde_yaml::{Mapping, Value};

use super::{Endpoints, Service};
use crate::cluster::node::BadField;

/// The label of EndpointSlices with the name of their Service, which is in the same namespace.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// What a headless Service has in place of a cluster IP.
const HEADLESS: &str = "None";
const LOCAL: &str = "Local";

/// What a Service says. Fails with every field that is wrong.
pub(crate) fn read_service(object: &RawService) -> Result<Service, Vec<BadField>> {
    let mut bad = Vec::new();
    let metadata = &object.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        let message = "a Service must have a name".to_owned();
        bad.push(BadField { field: "metadata.name".to_owned(), message });
    }
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let mut service = Service {
        name: ServiceName { namespace: namespace.into(), name: name.into() },
        cluster_ips: Vec::new(),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        load_balancer_class: None,
        is_local_outside: false,
        is_local_inside: false,
    };
    let spec = object.spec.clone().unwrap_or_default();
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let single = spec.cluster_ip.filter(|text| !text.is_empty());
    let typed = match (spec.cluster_ips.unwrap_or_default(), single) {
        (list, Some(single)) if list.is_empty() => vec![("spec.clusterIP".to_owned(), single)],
        (list, _) => indexed("spec.clusterIPs", list),
    };
    // Nobody translates addresses of the others, whatever else they say.
    let is_translated = ["ClusterIP", "NodePort", "LoadBalancer"].contains(&kind)
        && typed.first().is_some_and(|(_, text)| text != HEADLESS);
    if is_translated {
        service.cluster_ips = addresses(typed, &mut bad);
        let external = indexed("spec.externalIPs", spec.external_ips.unwrap_or_default());
        service.external_ips = addresses(external, &mut bad);
        service.is_local_outside = spec.external_traffic_policy.as_deref() == Some(LOCAL);
        service.is_local_inside = spec.internal_traffic_policy.as_deref() == Some(LOCAL);
    }
    if is_translated && kind == "LoadBalancer" {
        let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        let typed = ingress.iter().enumerate().filter_map(|(index, ingress)| {
            // Packets of a proxy do not come in with the address.
            let is_ours = ingress.ip_mode.as_deref() != Some("Proxy");
            let text = ingress.ip.clone().filter(|text| is_ours && !text.is_empty())?;
            Some((format!("status.loadBalancer.ingress[{index}].ip"), text))
        });
        service.load_balancer_ips = addresses(typed.collect(), &mut bad);
        let class = spec.load_balancer_class.as_deref().filter(|class| !class.is_empty());
        service.load_balancer_class = class.map(Arc::from);
    }
    if bad.is_empty() { Ok(service) } else { Err(bad) }
}

fn indexed(field: &str, texts: Vec<String>) -> Vec<(String, String)> {
    let named = |(index, text)| (format!("{field}[{index}]"), text);
    texts.into_iter().enumerate().map(named).collect()
}

fn addresses(typed: Vec<(String, String)>, bad: &mut Vec<BadField>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for (field, text) in typed {
        match text.parse::<IpAddr>() {
            Ok(address) if !found.contains(&address) => found.push(address),
            Ok(_) => {}
            Err(_) => {
                let message = format!("{text:?} is not an IP address such as 10.96.0.1");
                bad.push(BadField { field, message });
            }
        }
    }
    found
}

/// A field of endpoints that only the first beta version has, as JSON has it.
pub(crate) const BETA_FIELD: &str = "\"topology\"";

/// Makes an EndpointSlice of `v1` of one of `v1beta1`, which is all that Kubernetes before 1.21
/// has: there the node of an endpoint stands in its topology.
pub(crate) fn lift_beta(object: &mut Mapping) {
    let version = object.get_mut("apiVersion");
    if let Some(version) = version.filter(|version| *version == "discovery.k8s.io/v1beta1") {
        *version = "discovery.k8s.io/v1".into();
    }
    let endpoints = object.get_mut("endpoints").and_then(Value::as_sequence_mut);
    for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_mapping_mut) {
        let topology = endpoint.remove("topology").unwrap_or_default();
        let node = topology.get("kubernetes.io/hostname").and_then(Value::as_str);
        if let Some(node) = node.filter(|_| !endpoint.contains_key("nodeName")) {
            endpoint.insert("nodeName".into(), node.into());
        }
    }
}

/// What an EndpointSlice says of where endpoints are; nothing if it has no Service, or names in
/// place of addresses.
pub(crate) fn read_endpoints(object: &EndpointSlice) -> Option<Endpoints> {
    let text = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    let namespace = text(object.metadata.namespace.as_ref())?;
    let name = text(object.metadata.name.as_ref())?;
    let labels = object.metadata.labels.as_ref();
    let service = text(labels.and_then(|labels| labels.get(SERVICE_LABEL)))?;
    let family = match &*object.address_type {
        "IPv4" => Family::Ipv4Unicast,
        "IPv6" => Family::Ipv6Unicast,
        _ => return None,
    };
    let ready = || object.endpoints.iter().filter(|endpoint| is_ready(endpoint));
    Some(Endpoints {
        service: ServiceName { namespace: (&*namespace).into(), name: service.into() },
        key: SliceKey { namespace: namespace.into(), name: name.into() },
        family,
        is_ready: ready().next().is_some(),
        nodes: ready().filter_map(|endpoint| Some(endpoint.node_name.as_deref()?.into())).collect(),
    })
}

/// Whether it takes new connections. Nothing said is ready; one that is ending shall get no more
/// from outside, even where the Service wants those that are not ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let says = |what: Option<bool>, otherwise| what.unwrap_or(otherwise);
    conditions.is_none_or(|conditions| {
        says(conditions.ready, true) && !says(conditions.terminating, false)
    })
}
