//! Which way the kernel would send a packet.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType,
};
use tokio::time::timeout;

use super::netlink::read_gateway;
use super::route::protocol_name;

/// How long the kernel may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The route that a packet takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The route's prefix, as the kernel has it; the address alone if it does not say (before
    /// Linux 4.13).
    pub prefix: String,
    /// The next hop; `None` if the destination is on the link, or where the way is not one.
    pub gateway: Option<IpAddr>,
    /// The interface that the packet leaves through.
    pub interface: Option<String>,
    /// Who wrote the route, as a word.
    pub protocol: String,
    /// Whether packets are sent on, not turned back or dropped.
    pub is_open: bool,
}

impl fmt::Display for Way {
    /// `10.244.3.0/24 via 10.0.0.3 dev eth0, by brindle`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, " dev {interface}")?;
        }
        write!(f, ", by {}", self.protocol)?;
        if self.is_open { Ok(()) } else { f.write_str(", unreachable") }
    }
}

/// The route to `address`; `None` if there is none. Asks the kernel, in the network namespace
/// of this thread. To be called within a runtime.
///
/// # Errors
/// If the kernel cannot be asked, or does not answer.
pub async fn lookup(address: IpAddr) -> io::Result<Option<Way>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let mut message = RouteMessage::default();
    let (family, bits, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    // The route that matches, not what it was resolved to.
    message.header.flags = RouteFlags::FibMatch;
    message.attributes.push(RouteAttribute::Destination(destination));
    let mut answers = Box::pin(handle.route().get(message).execute());
    let answer = timeout(ANSWER_WITHIN, answers.try_next()).await;
    connection.abort();
    match answer {
        Ok(Ok(answer)) => Ok(answer.map(|message| read(&message, address))),
        Ok(Err(rtnetlink::Error::NetlinkError(error))) => match error.raw_code().saturating_neg() {
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EAFNOSUPPORT => Ok(None),
            errno => Err(io::Error::from_raw_os_error(errno)),
        },
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not answer")),
    }
}

fn read(message: &RouteMessage, asked: IpAddr) -> Way {
    let mut way = Way {
        prefix: match asked {
            IpAddr::V4(_) => "0.0.0.0/0".to_owned(),
            IpAddr::V6(_) => "::/0".to_owned(),
        },
        gateway: None,
        interface: None,
        protocol: protocol_name(u8::from(message.header.protocol)).to_string(),
        is_open: matches!(message.header.kind, RouteType::Unicast | RouteType::Local),
    };
    let length = message.header.destination_prefix_length;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                way.prefix = format!("{address}/{length}");
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                way.prefix = format!("{address}/{length}");
            }
            RouteAttribute::Oif(index) => way.interface = link_name(*index),
            // Of several next hops the first one says enough of which way it is.
            RouteAttribute::MultiPath(hops) => {
                if let Some(hop) = hops.first() {
                    way.interface = link_name(hop.interface_index);
                    way.gateway = hop.attributes.iter().find_map(read_gateway);
                }
            }
            other => way.gateway = read_gateway(other).or(way.gateway),
        }
    }
    way
}

fn link_name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    Some(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_way_to_this_host_is_the_loopback_interface() {
        let way = lookup("127.0.0.1".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(way.interface.as_deref(), Some("lo"), "{way}");
        assert!(way.is_open && way.gateway.is_none(), "{way}");
        assert!(way.to_string().starts_with("127.0.0."), "{way}");
    }
}
