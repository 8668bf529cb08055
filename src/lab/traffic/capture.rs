//! Watches the nodes' uplinks: what passes there must be the pods' own packets.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{LinkAddr, recvfrom, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::netns;
use super::super::plan::{Node, Plan, UPLINK};
use super::{Kind, Outcome};

/// IP protocol numbers of the probes.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: [u8; 2] = [1, 58];

/// The outermost addresses and protocol of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Source.
    pub from: IpAddr,
    /// Destination.
    pub to: IpAddr,
    /// What follows the IP header (RFC 8200's name: next header).
    pub protocol: u8,
}

/// How often each flow was seen on one uplink.
pub type Seen = BTreeMap<Flow, usize>;

/// A socket that sees every packet of one node.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    uplink: usize,
}

/// Starts to watch the uplink of `node`.
///
/// # Errors
/// No privilege, or no uplink.
pub fn open(node: &Node) -> anyhow::Result<Watch> {
    netns::within(&node.namespace, || {
        let uplink = if_nametoindex(UPLINK).with_context(|| format!("no {UPLINK}"))?;
        // without the link layer's header: the packet starts with what the link carries
        let everything = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(everything))
            .context("cannot open a packet socket")?;
        // the usual size overflows in larger labs; where it is refused the usual must do
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20));
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Watch { socket, uplink: usize::try_from(uplink).context("interface number")? })
    })
    .with_context(|| format!("cannot watch {UPLINK} of {}", node.name))
}

impl Watch {
    /// Counts until `stop` is set and nothing is left to read.
    pub fn collect(self, stop: &AtomicUsize) -> Seen {
        let mut seen = Seen::new();
        let mut buffer = [0; 64];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(link))) if link.ifindex() == self.uplink => {
                    let packet = buffer.get(..length).unwrap_or(&buffer);
                    if let Some(flow) = outermost(u16::from_be(link.protocol()), packet) {
                        *seen.entry(flow).or_default() += 1;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let waiting = io::Error::from(error).kind() == io::ErrorKind::WouldBlock;
                    if waiting && stop.load(Ordering::Acquire) != 0 {
                        return seen;
                    }
                }
            }
        }
    }
}

/// Reads the first header of what a link carried; `None` if that is not IP.
fn outermost(ether_type: u16, packet: &[u8]) -> Option<Flow> {
    match ether_type {
        0x0800 => {
            let header: &[u8; 20] = packet.first_chunk()?;
            let at =
                |i: usize| Ipv4Addr::from([header[i], header[i + 1], header[i + 2], header[i + 3]]);
            Some(Flow { from: at(12).into(), to: at(16).into(), protocol: header[9] })
        }
        0x86dd => {
            let header: &[u8; 40] = packet.first_chunk()?;
            let (from, to) = header[8..].split_at(16);
            let at = |octets: &[u8]| Some(Ipv6Addr::from(*octets.first_chunk::<16>()?));
            Some(Flow { from: at(from)?.into(), to: at(to)?.into(), protocol: header[6] })
        }
        _ => None,
    }
}

/// Notes a failure wherever a probe between nodes succeeded but was not seen as itself on both
/// uplinks. Returns how many pairs (by family) were.
pub fn judge(plan: &Plan, seen: &BTreeMap<String, Seen>, outcomes: &mut [Outcome]) -> usize {
    let mut plain = 0;
    for outcome in outcomes {
        let pods = || plan.pods();
        let from = pods().find(|(_, pod)| pod.name == outcome.from);
        let to = pods().find(|(_, pod)| pod.name == outcome.to);
        let (Some((near, source)), Some((far, _))) = (from, to) else { continue };
        let same_family = |ip: &&IpAddr| ip.is_ipv4() == outcome.address.is_ipv4();
        let Some(&source) = source.addresses.iter().find(same_family) else { continue };
        if near.name == far.name {
            continue;
        }
        let icmp = ICMP[usize::from(source.is_ipv6())];
        let mut unseen = Vec::new();
        for (kind, protocol) in [(Kind::Tcp, TCP), (Kind::Udp, UDP), (Kind::Icmp, icmp)] {
            if outcome.failures.contains_key(kind.as_str()) {
                continue;
            }
            let flow = Flow { from: source, to: outcome.address, protocol };
            for node in [near, far] {
                if !seen.get(&node.name).is_some_and(|s| s.contains_key(&flow)) {
                    unseen.push((kind, node, protocol));
                }
            }
        }
        if unseen.is_empty() {
            plain += usize::from(outcome.failures.is_empty());
        }
        for (kind, node, protocol) in unseen {
            let instead =
                seen.get(&node.name).map(|s| disguises(plan, s, outcome.address, protocol));
            let instead = match instead.as_deref() {
                None | Some([]) => "nothing that could be it".to_owned(),
                Some(flows) => flows.join(", "),
            };
            let why = format!(
                "answered, but {UPLINK} of {} never carried {source} -> {} itself; it carried {instead}",
                node.name, outcome.address
            );
            outcome.failures.insert(kind.as_str(), why);
        }
    }
    plain
}

/// What a packet to the pod at `to` may have been turned into: another source, or a tunnel.
fn disguises(plan: &Plan, seen: &Seen, to: IpAddr, protocol: u8) -> Vec<String> {
    let is_pod = |ip: IpAddr| plan.cluster_cidrs().iter().any(|c| c.contains(ip));
    let mut found: Vec<_> = seen
        .keys()
        .filter(|flow| {
            let translated = flow.to == to && flow.protocol == protocol && !is_pod(flow.from);
            let tunnel =
                !is_pod(flow.from) && !is_pod(flow.to) && tunnel_name(flow.protocol).is_some();
            translated || tunnel
        })
        .map(|flow| {
            let what = match tunnel_name(flow.protocol) {
                Some(tunnel) if flow.to != to => format!("encapsulated: {tunnel}"),
                _ => "source translated".to_owned(),
            };
            format!("{} -> {} ({what})", flow.from, flow.to)
        })
        .collect();
    found.truncate(3);
    found
}

/// Protocols that carry packets within packets between nodes.
fn tunnel_name(protocol: u8) -> Option<&'static str> {
    match protocol {
        4 => Some("IP in IP"),
        17 => Some("UDP, as VXLAN, Geneve and WireGuard use"),
        41 => Some("IPv6 in IP"),
        47 => Some("GRE"),
        50 => Some("ESP"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::plan::{Options, TorKind};
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn flow(from: &str, to: &str, protocol: u8) -> Flow {
        Flow { from: ip(from), to: ip(to), protocol }
    }

    #[test]
    fn the_outermost_header_is_read() {
        let mut v4 = vec![0_u8; 40];
        (v4[0], v4[9]) = (0x45, 6);
        v4[12..20].copy_from_slice(&[10, 244, 1, 11, 10, 244, 2, 12]);
        let mut v6 = vec![0_u8; 40];
        (v6[0], v6[6], v6[23], v6[39]) = (0x60, 58, 1, 2);
        for (what, ether_type, packet, want) in [
            ("IPv4", 0x0800, &v4[..], Some(flow("10.244.1.11", "10.244.2.12", 6))),
            ("IPv6", 0x86dd, &v6[..], Some(flow("::1", "::2", 58))),
            ("ARP", 0x0806, &v4[..], None),
            ("IPv4 cut short", 0x0800, &v4[..19], None),
            ("IPv6 cut short", 0x86dd, &v6[..39], None),
            ("nothing", 0x0800, &[][..], None),
        ] {
            assert_eq!(outermost(ether_type, packet), want, "{what}");
        }
    }

    #[test]
    fn only_what_crosses_both_uplinks_as_itself_is_plain() {
        let name = "demo".parse().expect("a good name");
        let options =
            Options { name, nodes: 2, tors: 1, pods: 1, dual_stack: false, tor: TorKind::Brindle };
        let plan = Plan::new(&options).expect("within limits");
        let itself = [6, 17, 1].map(|p| (flow("10.244.1.11", "10.244.2.11", p), 1));
        let masked = [6, 17, 1].map(|p| (flow("10.0.0.1", "10.244.2.11", p), 1));
        let tunnelled = [(flow("10.0.0.1", "10.0.0.2", 4), 9)];
        for (what, on_n1, on_n2, want) in [
            ("itself", Seen::from(itself), Seen::from(itself), None),
            ("masked", Seen::from(masked), Seen::from(masked), Some("source translated")),
            ("tunnel", Seen::from(tunnelled), Seen::from(tunnelled), Some("IP in IP")),
            ("tunnel at one end", Seen::from(itself), Seen::from(tunnelled), Some("of n2")),
            ("silence", Seen::new(), Seen::new(), Some("nothing that could be it")),
        ] {
            let seen = BTreeMap::from([("n1".to_owned(), on_n1), ("n2".to_owned(), on_n2)]);
            let mut outcomes = [Outcome {
                from: "n1-p1".into(),
                to: "n2-p1".into(),
                address: ip("10.244.2.11"),
                round_trip_seconds: None,
                failures: BTreeMap::new(),
            }];
            let plain = judge(&plan, &seen, &mut outcomes);
            let failures = &outcomes[0].failures;
            match want {
                None => assert_eq!((plain, failures.len()), (1, 0), "{what}: {failures:?}"),
                Some(part) => {
                    assert_eq!(plain, 0, "{what}");
                    assert!(failures["TCP"].contains(part), "{what}: {failures:?}");
                }
            }
        }
    }
}
