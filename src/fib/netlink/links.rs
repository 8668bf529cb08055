//! Single questions about links, and the routes that lead to pods over them: for whoever looks
//! after the interfaces of pods.

use std::io;
use std::net::IpAddr;

use futures::TryStreamExt as _;
use rtnetlink::Handle;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{ANSWER_WITHIN, io_error, timed_out};

/// A connection that asks about links.
pub struct Links {
    handle: Handle,
    _connection: AbortOnDropHandle<()>,
}

impl Links {
    /// Opens the socket in the network namespace of this thread. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(Self { handle, _connection: connection })
    }

    /// The index of the link that has this address, if one has.
    pub async fn with_address(&self, address: IpAddr) -> Option<u32> {
        let mut answers = self.handle.address().get().set_address_filter(address).execute();
        let message = answers.try_next().await.ok()??;
        let is_it = |attribute: &AddressAttribute| {
            matches!(
                attribute,
                AddressAttribute::Address(found) | AddressAttribute::Local(found)
                    if *found == address
            )
        };
        message.attributes.iter().any(is_it).then_some(message.header.index)
    }

    /// The MTU of the link of this index, in octets; `None` if there is no such link.
    pub async fn mtu(&self, index: u32) -> Option<u32> {
        let mut answers = self.handle.link().get().match_index(index).execute();
        let message = answers.try_next().await.ok()??;
        message.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(mtu),
            _ => None,
        })
    }

    /// Adds the route to a pod's address over the link of this index, as the plug-in does.
    ///
    /// # Errors
    /// If the kernel refuses, as where there is one, or does not answer.
    pub async fn lead_to(&self, pod: IpAddr, link: u32) -> io::Result<()> {
        let mut route = RouteMessage::default();
        route.header = RouteHeader {
            address_family: pod.into(),
            destination_prefix_length: if pod.is_ipv4() { 32 } else { 128 },
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Link,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        route.attributes = vec![RouteAttribute::Destination(pod.into()), RouteAttribute::Oif(link)];
        let added = timeout(ANSWER_WITHIN, self.handle.route().add(route).execute()).await;
        added.map_err(|_| timed_out())?.map_err(io_error)
    }
}
