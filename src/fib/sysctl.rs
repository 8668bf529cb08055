//! Forwarding, as `/proc/sys/net` has it.

use std::fs;
use std::io;
use std::path::Path;

use brindle_bgp::net::Family;

use super::ForwardingState;

const ROOT: &str = "/proc/sys/net";

/// The key that switches a family's forwarding, below `/proc/sys/net`.
pub fn forwarding_key(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4/ip_forward",
        Family::Ipv6Unicast => "ipv6/conf/all/forwarding",
    }
}

/// Whether a family's packets are forwarded in the network namespace of this thread.
///
/// # Errors
/// If the key cannot be read: the family is not there, or `/proc` is not mounted.
pub fn is_forwarding(family: Family) -> io::Result<bool> {
    let text = fs::read_to_string(Path::new(ROOT).join(forwarding_key(family)))?;
    Ok(text.trim() != "0")
}

/// Sees to it that a family's packets are forwarded; `before` is what was known of it.
///
/// # Errors
/// If the key cannot be read or written.
pub fn forward(family: Family, before: ForwardingState) -> io::Result<ForwardingState> {
    if is_forwarding(family)? {
        return Ok(match before {
            ForwardingState::SwitchedOn => ForwardingState::SwitchedOn,
            _ => ForwardingState::On,
        });
    }
    fs::write(Path::new(ROOT).join(forwarding_key(family)), "1")?;
    let key = forwarding_key(family);
    tracing::info!(%family, key, before = 0, now = 1, "switched on forwarding");
    Ok(ForwardingState::SwitchedOn)
}

/// Whether a link stops listening to router advertisements once it forwards: it does unless
/// its `accept_ra` is 2.
pub fn loses_router_advertisements(link: &str) -> bool {
    let path = Path::new(ROOT).join("ipv6/conf").join(link).join("accept_ra");
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}
