//! The addresses of a lab: they read as what they belong to.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

/// `n` as a group of an IPv6 address that reads the same: 12 becomes `:12`.
fn reads_as(n: u8) -> u16 {
    u16::from(n / 100) << 8 | u16::from(n / 10 % 10) << 4 | u16::from(n % 10)
}

pub(super) fn families(v4: IpNetwork, v6: IpNetwork, dual_stack: bool) -> Vec<IpNetwork> {
    if dual_stack { vec![v4, v6] } else { vec![v4] }
}

pub(super) fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNetwork {
    let address = Ipv4Addr::new(a, b, c, d);
    Ipv4Network::new(address, length).expect("lengths here are below 33").into()
}

pub(super) fn v6(groups: [u16; 8], length: u8) -> IpNetwork {
    Ipv6Network::new(groups.into(), length).expect("lengths here are below 129").into()
}

/// 10.0.RACK.HOST/24 and fd00:0:0:RACK::HOST/64.
pub(super) fn rack_addresses(rack: u8, host: u8, dual_stack: bool) -> Vec<IpNetwork> {
    let six = v6([0xfd00, 0, 0, reads_as(rack), 0, 0, 0, reads_as(host)], 64);
    families(v4(10, 0, rack, host, 24), six, dual_stack)
}

/// 172.16.NUMBER.HOST/30 and fd00:172:16:NUMBER::HOST/64.
pub(super) fn trunk_addresses(number: u8, host: u8, dual_stack: bool) -> Vec<IpNetwork> {
    let six = v6([0xfd00, 0x172, 0x16, reads_as(number), 0, 0, 0, reads_as(host)], 64);
    families(v4(172, 16, number, host, 30), six, dual_stack)
}

/// 10.244.NODE.0/24 and fd00:10:244:NODE::/64.
pub(super) fn pod_cidrs(node: u8, dual_stack: bool) -> Vec<IpNetwork> {
    let six = v6([0xfd00, 0x10, 0x244, reads_as(node), 0, 0, 0, 0], 64);
    families(v4(10, 244, node, 0, 24), six, dual_stack)
}

/// 10.244.NODE.HOST and fd00:10:244:NODE::HOST.
pub(super) fn pod_addresses(node: u8, host: u8, dual_stack: bool) -> Vec<IpAddr> {
    let six = v6([0xfd00, 0x10, 0x244, reads_as(node), 0, 0, 0, reads_as(host)], 128);
    families(v4(10, 244, node, host, 32), six, dual_stack).iter().map(IpNetwork::ip).collect()
}
