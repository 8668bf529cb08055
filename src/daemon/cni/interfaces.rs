//! Looks after pods' interfaces: forgets those that are gone, and puts back what leads to the
//! others.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::net::{Family, Prefix};
use brindle_policy::{Attachment, Change, Interface};
use tracing::{info, warn};

use super::super::answer::Known;
use crate::cluster::report::{Reason, Subject};
use crate::fib::netlink::{Dump, Links, Queries};
use crate::fib::news::News;
use crate::fib::route::Target;

/// Where the kernel is told how to check where packets come from.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";
/// Only from where their source is reached (RFC 3704 §2.2, ip-sysctl `rp_filter`).
const STRICT: &str = "1";

/// Whether the kernel has an interface of that name.
pub(super) fn is_there(interface: Interface) -> bool {
    nix::net::if_::if_nametoindex(interface.as_str()).is_ok()
}

/// Looks once.
pub(super) async fn see_to(known: &Known) {
    let Some(enforce) = &known.enforce else { return };
    let all = enforce.read(|view| view.world.attachments().cloned().collect::<Vec<_>>()).await;
    let (there, gone): (Vec<_>, Vec<_>) =
        all.unwrap_or_default().into_iter().partition(|one| is_there(one.interface));
    if !gone.is_empty() {
        for attachment in &gone {
            info!(interface = %attachment.interface, "the interface of a pod is gone");
        }
        let changes = gone.iter().map(|one| Change::Detached(one.interface)).collect();
        // The policy half may have ended: then all does.
        let _ = enforce.apply(changes).await;
    }
    if there.is_empty() {
        return;
    }
    match repair(&there).await {
        Ok(repaired) if repaired.is_empty() => {}
        Ok(repaired) => {
            let what = format!("put back what leads to pods: {}", repaired.join(", "));
            warn!("{what}");
            let node = Subject::Node(Arc::clone(&known.name));
            known.reporter.report(node, Reason::DataplaneRepaired, what);
        }
        Err(error) => warn!(%error, "what leads to pods cannot be looked after"),
    }
}

/// What the kernel has of links and routes.
#[derive(Debug, Default, PartialEq)]
struct Found {
    /// The numbers of links that are switched on.
    links: BTreeMap<String, u32>,
    /// The link that a pod's address is reached over.
    routes: BTreeMap<IpAddr, u32>,
}

/// The routes that are missing: an address, and the link that it is to be reached over. An
/// interface that is switched off is still being made.
fn missing(attachments: &[Arc<Attachment>], found: &Found) -> Vec<(IpAddr, u32, Interface)> {
    let mut missing = Vec::new();
    for attachment in attachments {
        let Some(&link) = found.links.get(attachment.interface.as_str()) else { continue };
        for &address in &attachment.addresses {
            if !found.routes.contains_key(&address) {
                missing.push((address, link, attachment.interface));
            }
        }
    }
    missing
}

async fn repair(attachments: &[Arc<Attachment>]) -> io::Result<Vec<String>> {
    let found = find().await?;
    let mut repaired = Vec::new();
    let missing = missing(attachments, &found);
    if !missing.is_empty() {
        let links = Links::open()?;
        for (address, link, interface) in missing {
            // One that is added or removed just now is as good.
            if links.lead_to(address, link).await.is_ok() {
                repaired.push(format!("the route to {address} over {interface}"));
            }
        }
    }
    for attachment in attachments {
        let name = attachment.interface.as_str();
        let path = format!("{SETTINGS}/{name}/rp_filter");
        let is_v4 = attachment.addresses.iter().any(IpAddr::is_ipv4);
        if is_v4
            && found.links.contains_key(name)
            && std::fs::read_to_string(&path).is_ok_and(|value| value.trim() != STRICT)
            && std::fs::write(&path, STRICT).is_ok()
        {
            repaired.push(format!("rp_filter of {name}"));
        }
    }
    Ok(repaired)
}

async fn find() -> io::Result<Found> {
    let mut queries = Queries::open()?;
    let mut found = queries
        .dump(Dump::Links, Found::default, |found, news| {
            if let News::Link(link) = news
                && link.is_enabled
            {
                found.links.insert(link.name.to_string(), link.index);
            }
        })
        .await?;
    for family in Family::ALL {
        let routes = queries.dump(Dump::Routes(family), BTreeMap::new, |routes, news| {
            if let News::Route(route, _) = news
                && let Some((address, link)) = to_a_pod(route.key.prefix, &route.target)
            {
                routes.insert(address, link);
            }
        });
        found.routes.extend(routes.await?);
    }
    Ok(found)
}

/// The address and the link of a route that leads to one address on a link.
fn to_a_pod(prefix: Prefix, target: &Target) -> Option<(IpAddr, u32)> {
    let is_one = prefix.length() == if prefix.address().is_ipv4() { 32 } else { 128 };
    match target {
        Target::Via(hops) if is_one => hops.first().map(|hop| (prefix.address(), hop.link)),
        Target::Via(_) | Target::Group(_) | Target::Unreachable | Target::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_put_back() {
        let attachment = |interface: &str, addresses: &[&str]| {
            Arc::new(Attachment {
                node: "n1".into(),
                interface: interface.parse().unwrap(),
                pod: None,
                addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            })
        };
        let all = [
            attachment("brn1", &["10.1.0.1", "fd00::1"]),
            attachment("brn2", &["10.1.0.2"]),
            attachment("brn3", &["10.1.0.3"]),
        ];
        let found = Found {
            // The third is not switched on.
            links: [("brn1".to_owned(), 1), ("brn2".to_owned(), 2)].into(),
            routes: [("10.1.0.1".parse().unwrap(), 1)].into(),
        };
        let missing: Vec<String> = missing(&all, &found)
            .iter()
            .map(|(address, link, interface)| format!("{address} {link} {interface}"))
            .collect();
        assert_eq!(missing, ["fd00::1 1 brn1", "10.1.0.2 2 brn2"]);
    }
}
