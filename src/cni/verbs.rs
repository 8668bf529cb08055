//! What the verbs do, one step after another.

use std::path::Path;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::addresses::Range;
use super::agent::{Agent, closed};
use super::configuration::Network;
use super::links::{self, BadNamespace, Ends, LinkError, Namespace, check};
use super::protocol::NodeAnswer;
use super::record::Record;
use super::request::{Attachment, Key};
use super::result::{Connected, Previous};
use super::spec::{Code, Failure};
use super::store::{Kept, Store};

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Failure::new(Code::Kernel, error.to_string())
    }
}

impl From<BadNamespace> for Failure {
    fn from(error: BadNamespace) -> Self {
        let code = match error {
            BadNamespace::Missing(_) => Code::UnknownContainer,
            BadNamespace::NoNamespace(_) | BadNamespace::Own(_) => Code::InvalidEnvironment,
            BadNamespace::Io { .. } => Code::Io,
        };
        Failure::new(code, error.to_string())
    }
}

/// Connects a container. It is open only when its isolation is in the kernel; whatever fails,
/// nothing is left.
pub(super) fn add(
    attachment: &Attachment,
    sandbox: &Path,
    network: &Network,
) -> Result<Value, Failure> {
    let namespace = Namespace::open(sandbox)?;
    let agent = Agent::at(&network.socket);
    let node = agent.node().map_err(|why| closed(&why))?;
    let mtu = network.mtu.unwrap_or(node.mtu);
    if mtu < LEAST_OF_V6 && node.pod_cidrs.iter().any(IpNetwork::is_ipv6) {
        let message = format!("mtu: {mtu}: accepted is at least {LEAST_OF_V6}, as pods have IPv6");
        return Err(Failure::new(Code::InvalidConfig, message));
    }
    let store = Store::at(&network.data_dir);
    let ends = Ends::of(&attachment.key);
    let record = store.lock(limit(network))?.reserve(
        attachment,
        &network.name,
        &ends.host_interface,
        &ranges(&node),
        &network.addresses,
    )?;
    let connected = (|| -> Result<(), Failure> {
        let alias = alias(attachment, network);
        let Record { interface, addresses, .. } = &record;
        links::make(&ends, interface, &namespace, &alias, mtu, addresses)?;
        agent.attach(&record, network.wait_seconds)?;
        links::open(&ends, addresses)?;
        Ok(())
    })();
    if let Err(mut failure) = connected {
        if let Err(left) = take_back(&attachment.key, network) {
            failure.details = format!("and what was made is not all undone: {left}; DEL does it");
        }
        return Err(failure);
    }
    let connected = Connected {
        host_interface: &ends.host_interface,
        host_mac: ends.host_mac,
        interface: &record.interface,
        mac: ends.mac,
        mtu,
        sandbox: &namespace.path().to_string_lossy(),
        addresses: &record.addresses,
        dns: network.dns.as_ref(),
    };
    Ok(connected.to_json(network.version))
}

/// Disconnects a container, as far as it is connected. Needs neither its namespace nor the agent.
pub(super) fn del(attachment: &Attachment, network: &Network) -> Result<(), Failure> {
    take_back(&attachment.key, network)
}

/// The interface goes first: while it is there, its addresses are taken.
fn take_back(key: &Key, network: &Network) -> Result<(), Failure> {
    let host_interface = Ends::of(key).host_interface;
    let was_there = links::remove(&host_interface)?;
    let store = Store::at(&network.data_dir);
    let had_record = store.lock(limit(network))?.release(key)?;
    if was_there || had_record {
        Agent::at(&network.socket).detach(&host_interface);
    }
    Ok(())
}

/// Compares a container's interface with what it was made as.
pub(super) fn check(
    attachment: &Attachment,
    sandbox: &Path,
    network: &Network,
    previous: &Previous,
) -> Result<(), Failure> {
    let key = &attachment.key;
    let kept = Store::at(&network.data_dir).find(key)?.ok_or_else(|| {
        let message = format!(
            "container {} has no {} of network {}: there is no record of it in {}",
            key.container_id,
            key.interface,
            network.name,
            network.data_dir.display()
        );
        Failure::new(Code::UnknownContainer, message)
    })?;
    let namespace = Namespace::open(sandbox)?;
    let record = &kept.record;
    let seen = check::look(&record.host_interface, &record.interface, &namespace)?;
    let found = check::deviations(&seen, previous, record, &sandbox.to_string_lossy());
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Deviates, found.join("; ")))
}

/// Disconnects every container of this network that is not among the valid ones. Does as much
/// as it can, and names what it could not do.
pub(super) fn collect(valid: &[Key], network: &Network) -> Result<(), Failure> {
    let store = Store::at(&network.data_dir);
    let kept = store.lock(limit(network))?.all()?;
    let mut problems = Vec::new();
    let is_stale = |key: &Key| !valid.contains(key);
    for key in kept.iter().filter(|kept| kept.network == network.name).map(Kept::key) {
        if is_stale(&key)
            && let Err(failure) = take_back(&key, network)
        {
            problems.push(failure.message);
        }
    }
    // Cables whose records were lost.
    let valid: Vec<String> = valid.iter().map(|key| Ends::of(key).host_interface).collect();
    let has_record = |name: &String| kept.iter().any(|kept| kept.record.host_interface == *name);
    for link in links::all()? {
        let is_of_network =
            link.alias.as_ref().is_some_and(|alias| alias.ends_with(&alias_end(network)));
        if is_of_network && !has_record(&link.name) && !valid.contains(&link.name) {
            match links::remove(&link.name) {
                Ok(_) => Agent::at(&network.socket).detach(&link.name),
                Err(error) => problems.push(error.to_string()),
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Kernel, problems.join("; ")))
}

/// Whether a container could be connected now.
pub(super) fn status(network: &Network) -> Result<(), Failure> {
    let unavailable = |why: String| Failure::new(Code::Unavailable, why);
    let node = Agent::at(&network.socket).node().map_err(unavailable)?;
    let taken = Store::at(&network.data_dir).taken()?;
    match ranges(&node).iter().find(|range| range.left(&taken) == 0) {
        None => Ok(()),
        Some(full) => Err(unavailable(format!(
            "the pod range {} of node {} is full: all {} addresses are taken",
            full.network(),
            node.node,
            full.size()
        ))),
    }
}

fn ranges(node: &NodeAnswer) -> Vec<Range> {
    node.pod_cidrs.iter().copied().map(Range::new).collect()
}

fn limit(network: &Network) -> Duration {
    Duration::from_secs(network.wait_seconds.into())
}

/// The least MTU of IPv6 (RFC 8200 section 5), in octets.
const LEAST_OF_V6: u32 = 1280;
/// The most octets that the kernel takes is one less.
const ALIAS_ROOM: usize = 256;

/// What the node's end is said to be for: `NAMESPACE/NAME eth0 (network NAME)`.
fn alias(attachment: &Attachment, network: &Network) -> String {
    let Key { container_id, interface } = &attachment.key;
    let mut whose = match &attachment.pod {
        Some(pod) => format!("{}/{}", pod.namespace, pod.name),
        None => format!("container {container_id}"),
    };
    let end = format!(" {interface}{}", alias_end(network));
    // Names are ASCII: cutting between octets is cutting between letters.
    whose.truncate((ALIAS_ROOM - 1).saturating_sub(end.len()));
    whose + &end
}

/// What the aliases of a network's cables end with.
fn alias_end(network: &Network) -> String {
    let name: String = network.name.chars().take(100).collect();
    format!(" (network {name})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::configuration;
    use super::super::record::PodName;
    use super::super::spec::SpecVersion;
    use super::*;

    #[test]
    fn an_alias_says_whose_it_is_and_fits() {
        let network = |name: &str| {
            configuration::network(&json!({ "name": name }), SpecVersion::LATEST).unwrap()
        };
        let attachment = |pod: Option<(&str, &str)>| Attachment {
            key: Key { container_id: "c".repeat(200), interface: "eth0".to_owned() },
            pod: pod.map(|(namespace, name)| PodName {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: None,
            }),
        };
        let long = ("n".repeat(63), "p".repeat(253));
        for (pod, name, start, end) in [
            (Some(("shop", "web-0")), "k8s", "shop/web-0 eth0", " (network k8s)"),
            (None, "k8s", "container ccc", " (network k8s)"),
            (Some((&*long.0, &*long.1)), &*"x".repeat(255), "nnn", &*format!("x{}", ")")),
        ] {
            let text = alias(&attachment(pod), &network(name));
            assert!(text.len() < ALIAS_ROOM, "{text}");
            assert!(text.starts_with(start) && text.ends_with(end), "{text}");
            assert!(text.ends_with(&alias_end(&network(name))), "{text}");
        }
    }
}
