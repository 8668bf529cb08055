//! Flows as people write them: `shop/cart-7d9`, `node/n2`, `[fd00::7]:53/udp`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use brindle_policy::{Family, PodKey, Protocol};

/// The namespace of pods that are named without one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// A pod: `namespace/name`.
    Pod(PodKey),
    /// A node: `node/name`.
    Node(String),
    /// An address.
    Address(IpAddr),
}

/// What a flow is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// A protocol and its destination port; without one it is a port that no rule names, so
    /// that only rules for all ports match.
    Port(Protocol, Option<u16>),
    /// An echo request.
    Icmp,
}

/// Text that names no end, no port or no flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFlow(String);

/// What is said of text that is no end.
const ENDS: &str = "accepted are a pod (shop/cart-7d9, or cart-7d9 in the namespace default), a \
                    node (node/n2) and an address (10.1.2.3, [fd00::7])";

impl End {
    /// An end whose pods are in `namespace` unless they say otherwise.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &str, namespace: &str) -> Result<Self, BadFlow> {
        let bad = || BadFlow(format!("{text:?} is no end of a flow; {ENDS}"));
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse() {
            return Ok(Self::Address(address));
        }
        let (namespace, name) = text.split_once('/').unwrap_or((namespace, text));
        if !is_name(namespace) || !is_name(name) {
            return Err(bad());
        }
        if text.starts_with("node/") {
            return Ok(Self::Node(name.to_owned()));
        }
        // No pod is called so, but somebody who mistyped an address may think so.
        if text.parse::<std::net::SocketAddr>().is_ok() || name.bytes().all(is_of_number) {
            return Err(bad());
        }
        Ok(Self::Pod(PodKey { namespace: namespace.into(), name: name.into() }))
    }
}

fn is_of_number(octet: u8) -> bool {
    octet.is_ascii_digit() || octet == b'.'
}

/// Whether an object may be called so (RFC 1123 subdomain, as Kubernetes has it).
fn is_name(text: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
    let inner = |octet: u8| plain(octet) || octet == b'-' || octet == b'.';
    text.len() <= 253
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(plain)
        && text.bytes().last().is_some_and(plain)
}

impl FromStr for End {
    type Err = BadFlow;

    /// Pods without a namespace are in [`DEFAULT_NAMESPACE`].
    fn from_str(text: &str) -> Result<Self, BadFlow> {
        Self::read(text, DEFAULT_NAMESPACE)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Pod(key) => write!(f, "{key}"),
            End::Node(name) => write!(f, "node/{name}"),
            End::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Service {
    /// Type and code of the message, if it is one: an echo request has type 8 in ICMP and 128
    /// in ICMPv6.
    pub fn icmp(self, family: Family) -> Option<(u8, u8)> {
        match (self, family) {
            (Service::Port(..), _) => None,
            (Service::Icmp, Family::V4) => Some((8, 0)),
            (Service::Icmp, Family::V6) => Some((128, 0)),
        }
    }

    /// The number of its protocol; ICMP has one for each family.
    pub fn protocol(self, family: brindle_policy::Family) -> u8 {
        match (self, family) {
            (Service::Port(protocol, _), _) => protocol.number(),
            (Service::Icmp, brindle_policy::Family::V4) => 1,
            (Service::Icmp, brindle_policy::Family::V6) => 58,
        }
    }

    /// The destination port, if it has one and it is known.
    pub fn port(self) -> Option<u16> {
        match self {
            Service::Port(_, port) => port,
            Service::Icmp => None,
        }
    }
}

impl Default for Service {
    /// TCP, to no particular port.
    fn default() -> Self {
        Service::Port(Protocol::Tcp, None)
    }
}

impl FromStr for Service {
    type Err = BadFlow;

    /// `80`, `80/tcp`, `53/UDP`, `sctp`, `icmp`. A number alone is a TCP port.
    fn from_str(text: &str) -> Result<Self, BadFlow> {
        let bad = || {
            BadFlow(format!(
                "{text:?} is no port; accepted are for instance 80, 53/udp, 9/sctp, tcp, icmp"
            ))
        };
        let number = |text: &str| match text.bytes().all(|octet| octet.is_ascii_digit()) {
            true => text.parse::<u16>().ok().filter(|port| *port > 0),
            false => None,
        };
        if let Some((port, protocol)) = text.split_once('/') {
            let port = number(port).ok_or_else(bad)?;
            return Ok(Service::Port(protocol_called(protocol).ok_or_else(bad)?, Some(port)));
        }
        if text.eq_ignore_ascii_case("icmp") {
            return Ok(Service::Icmp);
        }
        if let Some(protocol) = protocol_called(text) {
            return Ok(Service::Port(protocol, None));
        }
        Ok(Service::Port(Protocol::Tcp, Some(number(text).ok_or_else(bad)?)))
    }
}

fn protocol_called(name: &str) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(name))
}

impl fmt::Display for Service {
    /// `tcp/80`, `udp`, `icmp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Port(protocol, port) => {
                f.write_str(&protocol.to_string().to_lowercase())?;
                port.map_or(Ok(()), |port| write!(f, "/{port}"))
            }
            Service::Icmp => f.write_str("icmp"),
        }
    }
}

impl Service {
    /// As [`Service::from_str`] reads it: `80/tcp`, `udp`, `icmp`.
    pub fn written(self) -> String {
        match self {
            Service::Port(protocol, Some(port)) => {
                format!("{port}/{}", protocol.to_string().to_lowercase())
            }
            Service::Port(..) | Service::Icmp => self.to_string(),
        }
    }
}

/// Where a flow goes, and to what there: `shop/db-0:5432`, `10.1.2.3:53/udp`, `[fd00::7]:80`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Where it goes.
    pub end: End,
    /// To what.
    pub service: Service,
}

impl FromStr for Destination {
    type Err = BadFlow;

    fn from_str(text: &str) -> Result<Self, BadFlow> {
        // An address of IPv6 has colons of its own; with a port it stands in brackets.
        if let Ok(end @ End::Address(_)) = text.parse() {
            return Ok(Self { end, service: Service::default() });
        }
        match text.rsplit_once(':') {
            Some((end, _)) if end.contains(':') && !end.starts_with('[') => Err(BadFlow(format!(
                "{text:?} is no destination; an IPv6 address with a port is written [fd00::7]:80"
            ))),
            Some((end, service)) => Ok(Self { end: end.parse()?, service: service.parse()? }),
            None => Ok(Self { end: text.parse()?, service: Service::default() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_they_are_written() {
        for (text, want) in [
            ("cart", Some("default/cart")),
            ("shop/cart-7d9", Some("shop/cart-7d9")),
            ("node/n2", Some("node/n2")),
            ("10.1.2.3", Some("10.1.2.3")),
            ("fd00::7", Some("fd00::7")),
            ("[fd00::7]", Some("fd00::7")),
            ("web.v2", Some("default/web.v2")),
            ("10.1.2.300", None),
            ("10.1.2", None),
            ("10.1.2.3/24", None),
            ("", None),
            ("/cart", None),
            ("shop/", None),
            ("Shop/cart", None),
            ("a/b/c", None),
            ("shop/-x", None),
            ("cart ", None),
        ] {
            let read = text.parse::<End>().ok().map(|end| end.to_string());
            assert_eq!(read.as_deref(), want, "{text:?}");
        }
        let in_shop = End::read("cart", "shop").map(|end| end.to_string());
        assert_eq!(in_shop.as_deref(), Ok("shop/cart"));
    }

    #[test]
    fn services_are_read_in_either_case_and_back() {
        for (text, want) in [
            ("80", Some("80/tcp")),
            ("53/UDP", Some("53/udp")),
            ("9/sctp", Some("9/sctp")),
            ("tcp", Some("tcp")),
            ("ICMP", Some("icmp")),
            ("0", None),
            ("65536", None),
            ("+80", None),
            ("80/icmp", None),
            ("80/quic", None),
            ("", None),
        ] {
            let read = text.parse::<Service>().ok();
            assert_eq!(read.map(Service::written).as_deref(), want, "{text:?}");
            if let Some(service) = read {
                assert_eq!(service.written().parse(), Ok(service), "{text:?}");
            }
        }
    }

    #[test]
    fn destinations_have_a_port_behind_the_last_colon() {
        for (text, want) in [
            ("shop/db-0:5432", Some(("shop/db-0", "tcp/5432"))),
            ("db-0", Some(("default/db-0", "tcp"))),
            ("node/n2:icmp", Some(("node/n2", "icmp"))),
            ("10.1.2.3:53/udp", Some(("10.1.2.3", "udp/53"))),
            ("[fd00::7]:53/udp", Some(("fd00::7", "udp/53"))),
            ("fd00::7", Some(("fd00::7", "tcp"))),
            ("[fd00::7]", Some(("fd00::7", "tcp"))),
            ("fd00::7:zz", None),
            ("10.1.2.3:", None),
            ("db-0:http", None),
        ] {
            let read = text.parse::<Destination>().ok();
            let read = read.map(|to| (to.end.to_string(), to.service.to_string()));
            let read = read.as_ref().map(|(end, service)| (end.as_str(), service.as_str()));
            assert_eq!(read, want, "{text:?}");
        }
    }
}
