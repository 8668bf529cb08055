//! Addresses and blocks of addresses as objects write them.

use std::net::IpAddr;

use super::shown;
use crate::address::Cidr;

/// An address that a pod or a node can have; the error says what is wrong and what would be
/// accepted.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    let bad = |what: &str| {
        format!("{} is {what}; accepted are for instance 10.1.0.7 and fd00::7", shown(text))
    };
    let address: IpAddr = text.parse().map_err(|_| bad("not an address"))?;
    if address.to_canonical() != address {
        return Err(bad("an IPv4 address written as an IPv6 one"));
    }
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return Err(bad("an address that nobody else can reach"));
    }
    Ok(address)
}

/// A block; the error says what is wrong and what would be accepted.
pub(super) fn block(text: &str) -> Result<Cidr, String> {
    let bad = |what: &str| {
        let accepted = "accepted are for instance 10.1.0.0/16 and fd00::/8";
        format!("{} is {what}; {accepted}", shown(text))
    };
    let cidr: Cidr = text.parse().map_err(|_| bad("not a block of addresses"))?;
    // No packet carries such addresses, so that it would silently stand for nothing.
    if cidr.length() >= 96 && cidr.address().to_canonical() != cidr.address() {
        return Err(bad("a block of IPv4 addresses written as IPv6 ones"));
    }
    Ok(cidr)
}

/// A block or a single address, as Calico takes them; the error says what is wrong and what
/// would be accepted.
pub(super) fn net(text: &str) -> Result<Cidr, String> {
    if text.contains('/') {
        return block(text);
    }
    let bad = |what: &str| {
        let accepted = "accepted are for instance 10.1.0.0/16, 10.1.0.7 and fd00::/8";
        format!("{} is {what}; {accepted}", shown(text))
    };
    let address: IpAddr =
        text.parse().map_err(|_| bad("not a block of addresses or an address"))?;
    if address.to_canonical() != address {
        return Err(bad("an IPv4 address written as an IPv6 one"));
    }
    Ok(Cidr::host(address))
}
