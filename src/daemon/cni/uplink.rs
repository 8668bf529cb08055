//! The MTU of the node's uplink: what fits through there fits between nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::fib::lookup::lookup;
use crate::fib::netlink::Links;

/// That of Ethernet, where nothing else is known.
const ETHERNET: u32 = 1500;
/// How long the kernel may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Nobody is there (RFC 5737, RFC 3849): only a default route leads there.
const NOWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The MTU of the interface that has one of these addresses, else of the one that a default
/// route leads through, in octets.
pub(super) async fn mtu(addresses: &[IpAddr]) -> u32 {
    let found = tokio::time::timeout(ANSWER_WITHIN, find(addresses)).await;
    found.ok().flatten().unwrap_or(ETHERNET)
}

async fn find(addresses: &[IpAddr]) -> Option<u32> {
    let links = Links::open().ok()?;
    for address in addresses {
        if let Some(index) = links.with_address(*address).await
            && let Some(mtu) = links.mtu(index).await
        {
            return Some(mtu);
        }
    }
    for nowhere in NOWHERE {
        if let Ok(Some(way)) = lookup(nowhere).await
            && let Some(name) = way.interface
            && let Ok(index) = nix::net::if_::if_nametoindex(name.as_str())
            && let Some(mtu) = links.mtu(index).await
        {
            return Some(mtu);
        }
    }
    None
}
