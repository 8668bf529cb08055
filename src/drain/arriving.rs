//! Counts packets that come to this host for addresses that it announces.
//!
//! A packet socket of each family sees what interfaces receive, not what they send; a filter in
//! the kernel lets only those pass that are for one of the prefixes and from none of them: not
//! what one pod sends to another here. None is read: the kernel counts those that pass.

use std::io;
use std::net::IpAddr;

use brindle_bgp::net::{Family, Prefix};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// Packets since this was asked last (packet(7)).
#[derive(Clone, Copy, Debug)]
struct PacketStatistics;

nix::getsockopt_impl!(
    PacketStatistics,
    libc::SOL_PACKET,
    libc::PACKET_STATISTICS,
    libc::tpacket_stats,
    GetStruct<libc::tpacket_stats>
);

/// The most instructions that the kernel takes of a filter.
const LONGEST: usize = 4096;

/// A running count.
#[derive(Debug)]
pub struct Arriving {
    sockets: Vec<Socket>,
    count: u64,
}

impl Arriving {
    /// Begins to count packets for these prefixes.
    ///
    /// # Errors
    /// Without the right to open packet sockets (CAP_NET_RAW), or with too many prefixes.
    pub fn count(prefixes: &[Prefix]) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for family in Family::ALL {
            let of: Vec<Prefix> =
                prefixes.iter().filter(|prefix| prefix.family() == family).copied().collect();
            if !of.is_empty() {
                sockets.push(open(family, &filter(&of)?)?);
            }
        }
        Ok(Self { sockets, count: 0 })
    }

    /// All packets so far.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn so_far(&mut self) -> io::Result<u64> {
        for socket in &self.sockets {
            self.count += u64::from(passed(socket)?);
        }
        Ok(self.count)
    }
}

/// What has passed the filter since it was asked last; those for which there was no room count.
fn passed(socket: &Socket) -> io::Result<u32> {
    Ok(getsockopt(socket, PacketStatistics)?.tp_packets)
}

fn open(family: Family, program: &[SockFilter]) -> io::Result<Socket> {
    let ether_type = match family {
        Family::Ipv4Unicast => libc::ETH_P_IP,
        Family::Ipv6Unicast => libc::ETH_P_IPV6,
    };
    // Of one protocol only received packets are seen; and without the link layer's header they
    // begin with that of IP.
    let protocol = Protocol::from(i32::from((ether_type as u16).to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    socket.attach_filter(program)?;
    // Nobody reads what passes, so no more room than must be.
    socket.set_recv_buffer_size(1)?;
    // What came before the filter was there.
    passed(&socket)?;
    Ok(socket)
}

/// Lets packets of one family pass to any of the prefixes and from none of them.
fn filter(prefixes: &[Prefix]) -> io::Result<Vec<SockFilter>> {
    let is_v4 = prefixes.iter().any(|prefix| prefix.address().is_ipv4());
    let (source, destination) = if is_v4 { (12, 16) } else { (8, 24) };
    let from: Vec<_> = prefixes.iter().map(|prefix| tests(source, prefix)).collect();
    let to: Vec<_> = prefixes.iter().map(|prefix| tests(destination, prefix)).collect();
    // Each prefix jumps ahead if it matches; behind the last one the question is answered.
    let mut program = Vec::new();
    either(&to, 1, &mut program); // over the next instruction
    program.push(answer(0));
    either(&from, 1, &mut program);
    program.push(answer(1));
    program.push(answer(0));
    if program.len() > LONGEST {
        let many = prefixes.len();
        return Err(io::Error::other(format!("{many} prefixes are too many to count packets for")));
    }
    Ok(program)
}

/// Where a word of the packet stands, its bits that matter, and what they must be.
type Word = (u32, u32, u32);

/// The words that decide whether the address at `at` lies in `prefix`.
fn tests(at: u32, prefix: &Prefix) -> Vec<Word> {
    let octets = match prefix.address() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let (words, _) = octets.as_chunks::<4>();
    let mut left = u32::from(prefix.length());
    let mut tests = Vec::new();
    for (place, word) in (at..).step_by(4).zip(words) {
        if left == 0 {
            break;
        }
        let mask = u32::MAX << (32 - left.min(32));
        tests.push((place, mask, u32::from_be_bytes(*word) & mask));
        left = left.saturating_sub(32);
    }
    tests
}

/// Appends code that goes on behind itself plus `beyond` instructions if any of these hold, and
/// right behind itself if none does.
fn either(alternatives: &[Vec<Word>], beyond: u32, program: &mut Vec<SockFilter>) {
    let length = |words: &Vec<Word>| u32::try_from(3 * words.len() + 1).unwrap_or(u32::MAX);
    let mut rest: u32 = alternatives.iter().map(length).sum();
    for words in alternatives {
        let mut left = 3 * words.len() as u32 + 1;
        rest -= length(words);
        for &(place, mask, value) in words {
            left -= 3;
            program.push(plain(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place));
            program.push(plain(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
            let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
            // At most ten instructions to the next alternative.
            program.push(SockFilter::new(code, 0, u8::try_from(left).unwrap_or(u8::MAX), value));
        }
        program.push(plain(libc::BPF_JMP | libc::BPF_JA, rest + beyond));
    }
}

/// Ends the filter: keeps so many octets of the packet, or drops it.
fn answer(octets: u32) -> SockFilter {
    plain(libc::BPF_RET | libc::BPF_K, octets)
}

fn plain(code: u32, operand: u32) -> SockFilter {
    SockFilter::new(code as u16, 0, 0, operand)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// The first octets of an IP packet.
    fn packet(from: &str, to: &str) -> Vec<u8> {
        match (from.parse().unwrap(), to.parse().unwrap()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                [&[0x45; 12], &from.octets()[..], &to.octets()].concat()
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                [&[0x60; 8], &from.octets()[..], &to.octets()].concat()
            }
            _ => panic!("of one family"),
        }
    }

    #[test]
    fn the_kernel_lets_packets_from_elsewhere_to_the_prefixes_pass() {
        let v4 = ["10.244.1.0/24", "192.0.2.1/32", "172.16.0.0/12"];
        let v6 = ["fd00:10:244:1::/64", "2001:db8::7/128", "2001:db8:4000::/34"];
        for (prefixes, from, to, want) in [
            (&v4[..], "10.244.2.9", "10.244.1.9", true),
            (&v4, "10.0.0.2", "192.0.2.1", true),
            (&v4, "10.0.0.2", "172.31.255.255", true),
            (&v4, "10.0.0.2", "10.244.2.9", false),
            (&v4, "10.0.0.2", "192.0.2.2", false),
            (&v4, "10.0.0.2", "172.32.0.0", false),
            (&v4, "10.244.1.7", "10.244.1.9", false),
            (&v4, "172.16.0.1", "10.244.1.9", false),
            (&v4[1..2], "192.0.2.2", "192.0.2.1", true),
            (&["0.0.0.0/0"], "10.0.0.2", "10.0.0.1", false),
            (&v6, "fd00:10:244:2::9", "fd00:10:244:1::9", true),
            (&v6, "fd00::1", "2001:db8::7", true),
            (&v6, "fd00::1", "2001:db8:7fff::1", true),
            (&v6, "fd00::1", "2001:db8:8000::1", false),
            (&v6, "fd00::1", "2001:db8::8", false),
            (&v6, "fd00:10:244:1::7", "fd00:10:244:1::9", false),
        ] {
            let of: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
            let (mut near, mut far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
            far.attach_filter(&filter(&of).unwrap()).unwrap();
            far.set_nonblocking(true).unwrap();
            near.write_all(&packet(from, to)).ok();
            let passed = far.read(&mut [0; 64]).is_ok();
            assert_eq!(passed, want, "{from} to {to}, {prefixes:?}");
        }
    }

    #[test]
    fn too_many_prefixes_are_refused() {
        let prefix = |number: u16| format!("10.{}.{}.0/24", number >> 8, number & 0xFF);
        let many: Vec<Prefix> = (0..2000).map(|n| prefix(n).parse().unwrap()).collect();
        assert_eq!(filter(&many[..500]).unwrap().len(), 500 * 8 + 3);
        assert!(filter(&many).unwrap_err().to_string().contains("2000 prefixes"));
    }
}
