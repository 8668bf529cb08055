//! The cable between a pod and its node, and what both ends need.
//!
//! ```text
//!  the pod's namespace                                the node's
//!  eth0  10.244.1.7/32  fd00:1::7/128                 brn0123456789a  fe80::1/64
//!    169.254.1.1 dev eth0 scope link   ── cable ──      10.244.1.7 dev brn... proto static
//!    default via 169.254.1.1                            fd00:1::7 dev brn... proto static
//!    default via fe80::1                                proxy ARP and NDP, strict source check
//!    both next hops: the node's hardware address
//! ```
//!
//! The node's end is down until [`open`] is called: until then nothing gets through, whatever
//! rules there are.

use std::fmt;
use std::io;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use sha2::{Digest as _, Sha256};

use super::record::HOST_INTERFACE_PREFIX;
use super::request::Key;
use super::result::{GATEWAY_V4, GATEWAY_V6, everything, gateway, single};

pub mod check;
mod namespace;
mod netlink;
mod settings;

pub use namespace::{BadNamespace, Namespace};
use netlink::{Cable, Netlink};

/// The hardware address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A link that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if it has one as Ethernet does.
    pub mac: Option<Mac>,
    /// What it is said to be for.
    pub alias: Option<String>,
    /// It is switched on.
    pub is_up: bool,
    /// It is one end of a cable (veth).
    pub is_cable: bool,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    to: IpNetwork,
    gateway: Option<IpAddr>,
    link: u32,
}

/// The names and hardware addresses of a cable, which follow from the key: a call that is made
/// again finds what the one before has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The name of the node's end.
    pub host_interface: String,
    /// Its hardware address.
    pub host_mac: Mac,
    /// The hardware address of the container's end.
    pub mac: Mac,
}

impl Ends {
    /// Those of this interface.
    pub fn of(key: &Key) -> Self {
        // Container ids have no '/', so that no two keys make one text.
        let digest = Sha256::digest(format!("{}/{}", key.container_id, key.interface));
        let hex: String = digest.iter().take(6).map(|octet| format!("{octet:02x}")).collect();
        let mac = |from: usize| {
            let mut octets = [0; 6];
            octets.copy_from_slice(&digest[from..from + 6]);
            // Locally administered, and of one station.
            octets[0] = octets[0] & 0xfc | 0x02;
            Mac(octets)
        };
        let host_interface = format!("{HOST_INTERFACE_PREFIX}{}", &hex[..11]);
        Self { host_interface, host_mac: mac(8), mac: mac(16) }
    }
}

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {deed}: {source}")]
pub struct LinkError {
    deed: String,
    #[source]
    source: io::Error,
}

/// Says what was tried where the kernel refuses.
trait Named<T> {
    fn named(self, deed: impl Into<String>) -> Result<T, LinkError>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, deed: impl Into<String>) -> Result<T, LinkError> {
        self.map_err(|source| LinkError { deed: deed.into(), source })
    }
}

/// Lays the cable and sets up everything but what [`open`] does. A cable of the same name, which
/// a call has left that did not come to its end, is removed first.
///
/// # Errors
/// What the kernel refused; the cable may be there then.
pub fn make(
    ends: &Ends,
    interface: &str,
    namespace: &Namespace,
    alias: &str,
    mtu: u32,
    addresses: &[IpAddr],
) -> Result<(), LinkError> {
    let name = &ends.host_interface;
    remove(name)?;
    let mut host = Netlink::open().named("open a netlink socket")?;
    let cable = Cable {
        host_interface: name,
        host_mac: ends.host_mac,
        interface,
        mac: ends.mac,
        mtu,
        namespace: namespace.descriptor(),
    };
    host.lay(&cable)
        .named(format!("make {name} and, in the container, {interface} (mtu {mtu})"))?;
    let index = index(&mut host, name)?;
    host.set_alias(index, alias).named(format!("set the alias of {name}"))?;
    let has_v6 = addresses.iter().any(IpAddr::is_ipv6);
    settings::of_node_end(name, has_v6)?;
    if has_v6 {
        let router = IpNetwork::new(GATEWAY_V6.into(), 64).expect("64 is a length of IPv6");
        host.add_address(index, router).named(format!("give {name} the address {router}"))?;
    }
    let inside = namespace.within(|| furnish(interface, ends.host_mac, addresses));
    inside.named("enter the container's namespace")?
}

/// Sets up the container's end; to be called within its namespace.
fn furnish(interface: &str, host_mac: Mac, addresses: &[IpAddr]) -> Result<(), LinkError> {
    let mut pod = Netlink::open().named("open a netlink socket in the container")?;
    let link = index(&mut pod, interface)?;
    settings::of_pod_end(interface, addresses.iter().any(IpAddr::is_ipv6))?;
    for &address in addresses {
        pod.add_address(link, single(address))
            .named(format!("give the container's {interface} the address {address}"))?;
    }
    pod.set_up(link).named(format!("switch on the container's {interface}"))?;
    for &address in addresses {
        let hop = gateway(address);
        // The route to the default's next hop; in IPv6 link-local addresses need none.
        let near =
            address.is_ipv4().then(|| Route { to: single(GATEWAY_V4.into()), gateway: None, link });
        let default = Route { to: everything(address), gateway: Some(hop), link };
        for route in near.iter().chain([&default]) {
            pod.add_route(route).named(format!("add the container's route to {}", route.to))?;
        }
        pod.add_neighbour(link, hop, host_mac)
            .named(format!("add the container's neighbour {hop}"))?;
    }
    Ok(())
}

/// Lets traffic through: switches the node's end on and adds the routes to the container.
///
/// # Errors
/// What the kernel refused.
pub fn open(ends: &Ends, addresses: &[IpAddr]) -> Result<(), LinkError> {
    let name = &ends.host_interface;
    let mut host = Netlink::open().named("open a netlink socket")?;
    let link = index(&mut host, name)?;
    host.set_up(link).named(format!("switch on {name}"))?;
    for &address in addresses {
        let route = Route { to: single(address), gateway: None, link };
        host.add_route(&route).named(format!("add the route to {address} over {name}"))?;
    }
    Ok(())
}

/// Removes a cable by the name of the node's end, with its routes and the container's end;
/// whether it was there.
///
/// # Errors
/// If the kernel refuses, or the name is none of ours.
pub fn remove(host_interface: &str) -> Result<bool, LinkError> {
    let deed = || format!("remove {host_interface}");
    let mut host = Netlink::open().named("open a netlink socket")?;
    let Some(link) = host.link(host_interface).named(deed())? else { return Ok(false) };
    if !is_ours(&link) {
        return Err(io::Error::other("it is no cable that brindle made")).named(deed());
    }
    match host.remove_link(link.index) {
        // The container's namespace went at this moment, and the cable with it.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        removed => removed.named(deed()).map(|()| true),
    }
}

/// The node's ends of all cables.
///
/// # Errors
/// If the kernel refuses.
pub fn all() -> Result<Vec<Link>, LinkError> {
    let mut host = Netlink::open().named("open a netlink socket")?;
    let links = host.links().named("list the links")?;
    Ok(links.into_iter().filter(is_ours).collect())
}

fn is_ours(link: &Link) -> bool {
    link.is_cable && link.name.starts_with(HOST_INTERFACE_PREFIX)
}

fn index(netlink: &mut Netlink, name: &str) -> Result<u32, LinkError> {
    let found = netlink.link(name).named(format!("look for {name}"))?;
    found
        .map(|link| link.index)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
        .named(format!("find {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_key_and_fit() {
        let key = |id: &str, interface: &str| Key {
            container_id: id.to_owned(),
            interface: interface.to_owned(),
        };
        let one = Ends::of(&key("abc", "eth0"));
        assert_eq!(one, Ends::of(&key("abc", "eth0")));
        assert_eq!(one.host_interface, "brn538f587a236");
        for other in [key("abc", "eth1"), key("abd", "eth0"), key("abce", "th0")] {
            assert_ne!(one.host_interface, Ends::of(&other).host_interface, "{other:?}");
        }
        for mac in [one.mac, one.host_mac] {
            assert_eq!(mac.0[0] & 3, 2, "{mac}");
        }
        assert_ne!(one.mac, one.host_mac);
    }
}
