//! Socket options of the kernel that no crate wraps: signatures (linux/tcp.h) and least TTLs.
//!
//! The calls themselves are made by `nix`, from the layouts written down here; each of these
//! is plain numbers without padding, as the kernel's structure is.

use std::ffi::{c_int, c_void};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use brindle_bgp::net::Prefix;
use nix::errno::Errno;
use nix::libc::{self, socklen_t};
use nix::sys::socket::setsockopt as set;
use nix::sys::socket::sockopt::{Get, SetStruct};
use nix::sys::socket::{getsockopt, sockopt};
use nix::{getsockopt_impl, setsockopt_impl};

use super::Ttl;
use super::ao::AoKey;

const TCP_AO_ADD_KEY: c_int = 38;
const TCP_AO_DEL_KEY: c_int = 39;
const TCP_AO_INFO: c_int = 40;
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
const SET_CURRENT: u32 = 1;
const SET_RNEXT: u32 = 2;
const DEL_ASYNC: u32 = 4;
/// RFC 5926 cuts both its algorithms to 96 bits.
const MAC_OCTETS: u8 = 12;
const MOST: usize = brindle_config::Secret::MOST;

/// `struct sockaddr_storage` with an address of either family and port 0, which the kernel
/// does not look at.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Address {
    family: u16,
    /// Port, flow information, then the address: where `sockaddr_in` and `sockaddr_in6` have it.
    rest: [u8; 126],
}

impl Address {
    fn of(address: IpAddr) -> Self {
        let mut rest = [0; 126];
        let family = match address {
            IpAddr::V4(v4) => {
                rest[2..6].copy_from_slice(&v4.octets());
                libc::AF_INET
            }
            IpAddr::V6(v6) => {
                rest[6..22].copy_from_slice(&v6.octets());
                libc::AF_INET6
            }
        };
        Self { family: family as u16, rest }
    }
}

/// `struct tcp_md5sig`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Md5Signature {
    address: Address,
    flags: u8,
    prefix: u8,
    key_octets: u16,
    interface: i32,
    key: [u8; MOST],
}

/// `struct tcp_ao_add`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct AoAdd {
    address: Address,
    algorithm: [u8; 64],
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    recv_id: u8,
    mac_octets: u8,
    key_flags: u8,
    key_octets: u8,
    key: [u8; MOST],
}

/// `struct tcp_ao_del`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct AoDelete {
    address: Address,
    interface: i32,
    flags: u32,
    reserved: u16,
    prefix: u8,
    send_id: u8,
    recv_id: u8,
    current: u8,
    rnext: u8,
    key_flags: u8,
}

/// `struct tcp_ao_info_opt` as Linux 6.7 has it; later ones only add behind, which a shorter
/// option leaves alone.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct AoInfo {
    flags: u32,
    reserved: u16,
    current: u8,
    rnext: u8,
    counters: [u64; 5],
}

/// The packet that a connection began with, as it came: network and TCP header.
#[derive(Clone, Copy)]
pub(super) struct SavedSyn {
    octets: [u8; 256],
    length: socklen_t,
}

impl Get<SavedSyn> for SavedSyn {
    fn uninit() -> Self {
        Self { octets: [0; 256], length: 256 }
    }

    fn ffi_ptr(&mut self) -> *mut c_void {
        self.octets.as_mut_ptr().cast()
    }

    fn ffi_len(&mut self) -> *mut socklen_t {
        &mut self.length
    }

    // Nothing of it is ever uninitialised: it begins as zeros.
    unsafe fn assume_init(self) -> SavedSyn {
        self
    }
}

#[derive(Clone)]
struct Md5;
#[derive(Clone)]
struct AddAo;
#[derive(Clone)]
struct DeleteAo;
#[derive(Clone)]
struct ChooseAo;
#[derive(Clone)]
struct LeastTtl;
#[derive(Clone)]
struct LeastHopLimit;
#[derive(Clone)]
struct TtlV6;
#[derive(Clone)]
struct SaveSyn;
#[derive(Clone, Copy)]
struct Syn;

setsockopt_impl!(
    Md5,
    libc::IPPROTO_TCP,
    libc::TCP_MD5SIG_EXT,
    Md5Signature,
    SetStruct<'_, Md5Signature>
);
setsockopt_impl!(AddAo, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, AoAdd, SetStruct<'_, AoAdd>);
setsockopt_impl!(DeleteAo, libc::IPPROTO_TCP, TCP_AO_DEL_KEY, AoDelete, SetStruct<'_, AoDelete>);
setsockopt_impl!(ChooseAo, libc::IPPROTO_TCP, TCP_AO_INFO, AoInfo, SetStruct<'_, AoInfo>);
setsockopt_impl!(LeastTtl, libc::IPPROTO_IP, libc::IP_MINTTL, c_int, SetStruct<'_, c_int>);
setsockopt_impl!(
    LeastHopLimit,
    libc::IPPROTO_IPV6,
    libc::IPV6_MINHOPCOUNT,
    c_int,
    SetStruct<'_, c_int>
);
setsockopt_impl!(TtlV6, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, c_int, SetStruct<'_, c_int>);
setsockopt_impl!(SaveSyn, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN, c_int, SetStruct<'_, c_int>);
getsockopt_impl!(Syn, libc::IPPROTO_TCP, libc::TCP_SAVED_SYN, SavedSyn, SavedSyn);

/// Signs what goes to `peers` with that key, and takes only what is signed with it; with no
/// octets, ends that.
pub(super) fn md5(socket: &impl AsFd, peers: Prefix, key: &[u8]) -> io::Result<()> {
    let (Ok(key_octets), true) = (u16::try_from(key.len()), key.len() <= MOST) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut signature = Md5Signature {
        address: Address::of(peers.address()),
        flags: TCP_MD5SIG_FLAG_PREFIX,
        prefix: peers.length(),
        key_octets,
        interface: 0,
        key: [0; MOST],
    };
    signature.key[..key.len()].copy_from_slice(key);
    Ok(set(socket, Md5, &signature)?)
}

/// Adds a key; if `preferred`, on a socket that is not connected yet, to begin with it.
pub(super) fn add_ao(
    socket: &impl AsFd,
    peers: Prefix,
    key: &AoKey,
    preferred: bool,
) -> io::Result<()> {
    let octets = key.secret.octets();
    let (Ok(key_octets), true) = (u8::try_from(octets.len()), octets.len() <= MOST) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let name = key.kernel_name().as_bytes();
    let mut add = AoAdd {
        address: Address::of(peers.address()),
        algorithm: [0; 64],
        interface: 0,
        flags: if preferred { SET_CURRENT | SET_RNEXT } else { 0 },
        reserved: 0,
        prefix: peers.length(),
        send_id: key.send_id,
        recv_id: key.recv_id,
        mac_octets: MAC_OCTETS,
        key_flags: 0,
        key_octets,
        key: [0; MOST],
    };
    add.algorithm[..name.len()].copy_from_slice(name);
    add.key[..octets.len()].copy_from_slice(octets);
    match set(socket, AddAo, &add) {
        Err(Errno::ENOENT) => {
            Err(io::Error::other(format!("it does not have the algorithm {}", key.kernel_name())))
        }
        added => Ok(added?),
    }
}

/// Removes a key from a listening socket, or from a connected one; that uses `instead` from
/// now on if it used the one that goes.
pub(super) fn delete_ao(
    socket: &impl AsFd,
    peers: Prefix,
    (send_id, recv_id): (u8, u8),
    instead: Option<(u8, u8)>,
) -> io::Result<()> {
    let delete = AoDelete {
        address: Address::of(peers.address()),
        interface: 0,
        // Without waiting is for listening sockets only.
        flags: if instead.is_some() { SET_CURRENT | SET_RNEXT } else { DEL_ASYNC },
        reserved: 0,
        prefix: peers.length(),
        send_id,
        recv_id,
        current: instead.map_or(0, |(send, _)| send),
        rnext: instead.map_or(0, |(_, recv)| recv),
        key_flags: 0,
    };
    Ok(set(socket, DeleteAo, &delete)?)
}

/// Asks the peer of a connection to sign with the key of that recvID.
pub(super) fn ask_for_ao(socket: &impl AsFd, recv_id: u8) -> io::Result<()> {
    let info =
        AoInfo { flags: SET_RNEXT, reserved: 0, current: 0, rnext: recv_id, counters: [0; 5] };
    Ok(set(socket, ChooseAo, &info)?)
}

/// What our packets begin with, and what the peer's must have left.
pub(super) fn ttl(socket: &impl AsFd, is_v4: bool, ttl: Ttl) -> io::Result<()> {
    // Minus one is what the host has for all.
    let out = ttl.sent().map_or(-1, c_int::from);
    let least = c_int::from(ttl.least());
    let sent = if is_v4 { set(socket, sockopt::Ipv4Ttl, &out) } else { set(socket, TtlV6, &out) };
    let taken =
        if is_v4 { set(socket, LeastTtl, &least) } else { set(socket, LeastHopLimit, &least) };
    // Who asks for nothing need not have a kernel that can do it.
    match ttl {
        Ttl::Any => Ok(()),
        Ttl::Hops(_) => Ok(sent?),
        Ttl::Security(_) => Ok(sent.and(taken)?),
    }
}

/// Has connections that come in remember what they began with.
pub(super) fn save_syn(socket: &impl AsFd) -> io::Result<()> {
    Ok(set(socket, SaveSyn, &1)?)
}

/// The TTL that the packet still had that this accepted connection began with; `None` if it
/// was not remembered. It can be read once.
pub(super) fn ttl_of_syn(socket: &impl AsFd) -> Option<u8> {
    let syn = getsockopt(socket, Syn).ok()?;
    let octets = syn.octets.get(..usize::try_from(syn.length).ok()?)?;
    match octets.first()? >> 4 {
        4 => octets.get(8).copied(),
        6 => octets.get(7).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// Offsets and sizes as a C compiler has them for linux/tcp.h.
    #[test]
    fn the_layouts_are_the_kernels() {
        assert_eq!(size_of::<Address>(), 128);
        assert_eq!((size_of::<Md5Signature>(), offset_of!(Md5Signature, key)), (216, 136));
        assert_eq!((size_of::<AoAdd>(), offset_of!(AoAdd, key)), (288, 208));
        assert_eq!((offset_of!(AoAdd, flags), offset_of!(AoAdd, prefix)), (196, 202));
        assert_eq!((size_of::<AoDelete>(), offset_of!(AoDelete, prefix)), (144, 138));
        assert_eq!((size_of::<AoInfo>(), offset_of!(AoInfo, counters)), (48, 8));
    }
}
