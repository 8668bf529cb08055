//! The MTU of the node's uplink: what fits through there fits between nodes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures::TryStreamExt as _;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;

use crate::fib::lookup::lookup;

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
    let (connection, handle, _) = rtnetlink::new_connection().ok()?;
    let connection = tokio::spawn(connection);
    let mut found = None;
    for address in addresses {
        if let (None, Some(index)) = (found, with_address(&handle, *address).await) {
            found = mtu_of(&handle, index).await;
        }
    }
    for nowhere in NOWHERE {
        if found.is_none()
            && let Ok(Some(way)) = lookup(nowhere).await
            && let Some(name) = way.interface
            && let Ok(index) = nix::net::if_::if_nametoindex(name.as_str())
        {
            found = mtu_of(&handle, index).await;
        }
    }
    connection.abort();
    found
}

async fn with_address(handle: &Handle, address: IpAddr) -> Option<u32> {
    let mut answers = handle.address().get().set_address_filter(address).execute();
    let message = answers.try_next().await.ok()??;
    let is_it = |attribute: &AddressAttribute| {
        matches!(
            attribute,
            AddressAttribute::Address(found) | AddressAttribute::Local(found) if *found == address
        )
    };
    message.attributes.iter().any(is_it).then_some(message.header.index)
}

async fn mtu_of(handle: &Handle, index: u32) -> Option<u32> {
    let mut answers = handle.link().get().match_index(index).execute();
    let message = answers.try_next().await.ok()??;
    message.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(mtu),
        _ => None,
    })
}
