//! The one socket option that no crate wraps.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Forbids fragmentation, on the way and here, whatever the kernel remembers of the path from
/// earlier: what the path is now is to be found out.
///
/// # Errors
/// The kernel refuses.
pub fn forbid_fragments(socket: &impl AsFd, family_of: IpAddr) -> io::Result<()> {
    let (level, option, value) = if family_of.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    };
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads
    // `length` octets of `value`, which lives until the call returns.
    let done = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        libc::setsockopt(fd, level, option, (&raw const value).cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
