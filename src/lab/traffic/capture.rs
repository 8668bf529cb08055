//! Watches the nodes' uplinks: what passes there must be the pods' own packets.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{LinkAddr, recvfrom, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::super::netns;
use super::super::plan::{Node, Plan, UPLINK};
use super::responder::Ports;
use super::{Kind, Outcome};

/// IP protocol numbers of the probes.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: [u8; 2] = [1, 58];

/// ICMP type of an echo request.
const ECHO: [u8; 2] = [8, 128];

/// The outermost addresses and protocol of a packet, and what tells a question from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Source.
    pub from: IpAddr,
    /// Destination.
    pub to: IpAddr,
    /// What follows the IP header (RFC 8200's name: next header).
    pub protocol: u8,
    /// Destination port, or type of an ICMP message; 0 for other protocols.
    pub service: u16,
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
        let uplink = usize::try_from(uplink).context("interface number")?;
        socket.attach_filter(&filter(u32::try_from(uplink)?)).context("packet filter")?;
        // the usual size may overflow in larger labs; root of a user namespace has to live
        // with it, and what was missed is asked for again
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20));
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Watch { socket, uplink })
    })
    .with_context(|| format!("cannot watch {UPLINK} of {}", node.name))
}

/// A kernel filter (classic BPF) for what matters: IP on one interface, and of TCP only each
/// connection's first packet, so that data does not fill the buffer.
fn filter(interface: u32) -> [SockFilter; 17] {
    let plain = |code: u32, operand: u32| SockFilter::new(code as u16, 0, 0, operand);
    let octet = |at: u32| plain(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at);
    let about = |what: i32| {
        plain(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (libc::SKF_AD_OFF + what) as u32)
    };
    let equal = |to: u32, yes: u8, no: u8| {
        SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, yes, no, to)
    };
    let (tcp, syn, syn_or_ack) = (u32::from(TCP), 0x02, 0x12);
    [
        about(libc::SKF_AD_IFINDEX),
        equal(interface, 0, 14), // else drop
        about(libc::SKF_AD_PROTOCOL),
        equal(0x0800, 1, 0),
        equal(0x86dd, 5, 11),                                  // else drop
        octet(9),                                              // IPv4: protocol
        equal(tcp, 0, 8),                                      // else keep
        plain(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0), // length of the header
        plain(libc::BPF_LD | libc::BPF_B | libc::BPF_IND, 13), // TCP flags
        plain(libc::BPF_JMP | libc::BPF_JA, 3),
        octet(6),         // IPv6: next header
        equal(tcp, 0, 3), // else keep
        octet(40 + 13),   // TCP flags
        plain(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, syn_or_ack),
        equal(syn, 0, 1),
        plain(libc::BPF_RET | libc::BPF_K, 64), // keep so many octets
        plain(libc::BPF_RET | libc::BPF_K, 0),  // drop
    ]
}

impl Watch {
    /// Counts until `stop` is set and nothing is left to read.
    pub fn collect(self, stop: &AtomicBool) -> Seen {
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
                    if waiting && stop.load(Ordering::Acquire) {
                        return seen;
                    }
                }
            }
        }
    }
}

/// Reads the first header of what a link carried; `None` if that is not IP.
fn outermost(ether_type: u16, packet: &[u8]) -> Option<Flow> {
    let v4 = |octets: &[u8]| Some(IpAddr::from(*octets.first_chunk::<4>()?));
    let v6 = |octets: &[u8]| Some(IpAddr::from(*octets.first_chunk::<16>()?));
    let (from, to, protocol, rest) = match ether_type {
        0x0800 => {
            let length = usize::from(packet.first()? & 0x0f) * 4;
            let (from, to) = (v4(packet.get(12..)?)?, v4(packet.get(16..)?)?);
            (from, to, *packet.get(9)?, packet.get(length..).unwrap_or_default())
        }
        0x86dd => {
            let (from, to) = (v6(packet.get(8..)?)?, v6(packet.get(24..)?)?);
            (from, to, *packet.get(6)?, packet.get(40..).unwrap_or_default())
        }
        _ => return None,
    };
    let service = match (protocol, rest) {
        (TCP | UDP, [_, _, high, low, ..]) => u16::from_be_bytes([*high, *low]),
        (1 | 58, [kind, ..]) => u16::from(*kind),
        _ => 0,
    };
    Some(Flow { from, to, protocol, service })
}

/// Notes a failure wherever a probe between nodes succeeded but was not seen as itself on both
/// uplinks. `ports` says where each address answers. Returns how many pairs (by family) were
/// seen.
pub fn judge(
    plan: &Plan,
    seen: &BTreeMap<String, Seen>,
    ports: &BTreeMap<IpAddr, Ports>,
    outcomes: &mut [Outcome],
) -> usize {
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
        let Some(port) = ports.get(&outcome.address) else { continue };
        let six = usize::from(source.is_ipv6());
        let mut unseen = Vec::new();
        for (kind, protocol, service) in [
            (Kind::Tcp, TCP, port.tcp),
            (Kind::Udp, UDP, port.udp),
            (Kind::Icmp, ICMP[six], ECHO[six].into()),
        ] {
            if outcome.failures.contains_key(&kind) {
                continue;
            }
            let flow = Flow { from: source, to: outcome.address, protocol, service };
            for node in [near, far] {
                if !seen.get(&node.name).is_some_and(|s| s.contains_key(&flow)) {
                    unseen.push((kind, node, flow));
                }
            }
        }
        if unseen.is_empty() {
            plain += usize::from(outcome.failures.is_empty());
        }
        for (kind, node, flow) in unseen {
            let instead = seen.get(&node.name).map(|s| disguises(plan, s, flow, near));
            let instead = match instead.as_deref() {
                None | Some([]) => "nothing that could be it".to_owned(),
                Some(flows) => flows.join(", "),
            };
            let why = format!(
                "answered, but {UPLINK} of {} never carried {source} -> {} itself; it carried {instead}",
                node.name, outcome.address
            );
            // the sender's uplink comes first and says more
            outcome.failures.entry(kind).or_insert(why);
            outcome.unseen = true;
        }
    }
    plain
}

/// What a packet of `missing` may have been turned into: another source, or a tunnel.
fn disguises(plan: &Plan, seen: &Seen, missing: Flow, sender: &Node) -> Vec<String> {
    let is_pod = |ip: IpAddr| plan.cluster_cidrs().iter().any(|c| c.contains(ip));
    // other nodes ask the same pod, too, as themselves
    let asks_itself =
        |ip| plan.nodes.iter().any(|n| n.name != sender.name && n.ips().any(|own| own == ip));
    let translated = |flow: &Flow| {
        let other = Flow { from: flow.from, ..missing };
        let hidden = !is_pod(flow.from) && !asks_itself(flow.from);
        (*flow == other && hidden).then(|| "source translated".to_owned())
    };
    let tunnel = |flow: &Flow| {
        let name = tunnel_name(flow.protocol)?;
        (!is_pod(flow.from) && !is_pod(flow.to)).then(|| format!("encapsulated: {name}"))
    };
    let mut found = Vec::new();
    for flow in seen.keys() {
        if let Some(what) = translated(flow).or_else(|| tunnel(flow)) {
            let line = format!("{} -> {} ({what})", flow.from, flow.to);
            // flows that differ in their ports alone look the same
            if !found.contains(&line) {
                found.push(line);
            }
        }
    }
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

    fn flow(from: &str, to: &str, protocol: u8, service: u16) -> Flow {
        Flow { from: ip(from), to: ip(to), protocol, service }
    }

    #[test]
    fn the_outermost_header_is_read() {
        let mut v4 = [0_u8; 40];
        (v4[0], v4[9], v4[22], v4[23]) = (0x45, 6, 0x01, 0xbb);
        v4[12..20].copy_from_slice(&[10, 244, 1, 11, 10, 244, 2, 12]);
        let mut v6 = [0_u8; 48];
        (v6[0], v6[6], v6[23], v6[39], v6[40]) = (0x60, 58, 1, 2, 129);
        let mut options = v4;
        (options[0], options[26], options[27]) = (0x46, 0, 80);
        for (what, ether_type, packet, want) in [
            ("IPv4", 0x0800, &v4[..], Some(flow("10.244.1.11", "10.244.2.12", 6, 443))),
            ("options", 0x0800, &options[..], Some(flow("10.244.1.11", "10.244.2.12", 6, 80))),
            ("IPv6", 0x86dd, &v6[..], Some(flow("::1", "::2", 58, 129))),
            ("header only", 0x0800, &v4[..20], Some(flow("10.244.1.11", "10.244.2.12", 6, 0))),
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
        let options = Options {
            name,
            nodes: 2,
            tors: 1,
            pods: 1,
            dual_stack: false,
            tor: TorKind::Brindle,
            policy: None,
            kube: None,
        };
        let plan = Plan::new(&options).expect("within limits");
        let services = [(6, 7000), (17, 7001), (1, 8)];
        let of = |from| services.map(|(p, service)| (flow(from, "10.244.2.11", p, service), 1));
        let (itself, masked) = (of("10.244.1.11"), of("10.0.0.1"));
        // what n1-p1 answers to questions from n2-p1 has the same addresses
        let answers = [(6, 50_000), (17, 50_001), (1, 0)];
        let answers = answers.map(|(p, s)| (flow("10.244.1.11", "10.244.2.11", p, s), 1));
        let tunnelled = [(flow("10.0.0.1", "10.0.0.2", 4, 0), 9)];
        let ports = BTreeMap::from([(ip("10.244.2.11"), Ports { tcp: 7000, udp: 7001 })]);
        for (what, on_n1, on_n2, want) in [
            ("itself", Seen::from(itself), Seen::from(itself), None),
            ("masked", Seen::from(masked), Seen::from(masked), Some("source translated")),
            ("answers alone", answers.into(), answers.into(), Some("nothing that could be it")),
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
                unseen: false,
            }];
            let plain = judge(&plan, &seen, &ports, &mut outcomes);
            let failures = &outcomes[0].failures;
            match want {
                None => assert_eq!((plain, failures.len()), (1, 0), "{what}: {failures:?}"),
                Some(part) => {
                    assert_eq!(plain, 0, "{what}");
                    assert!(failures[&Kind::Tcp].contains(part), "{what}: {failures:?}");
                }
            }
        }
    }
}
