//! The kernel's settings of both ends of a cable.

use std::fs;
use std::io;
use std::path::Path;

use super::{LinkError, Named};

/// The settings of the network namespace of the thread that writes them.
const ROOT: &str = "/proc/sys/net";

/// Prepares the node's end.
pub(super) fn of_node_end(name: &str, has_v6: bool) -> Result<(), LinkError> {
    // What comes in must have a source that is routed there.
    set("ipv4/conf", name, "rp_filter", "1")?;
    // Whatever a pod asks for, the answer is this node.
    set("ipv4/conf", name, "proxy_arp", "1")?;
    set("ipv4/neigh", name, "proxy_delay", "0")?;
    set("ipv4/conf", name, "forwarding", "1")?;
    of_v6(name, has_v6)?;
    if has_v6 {
        // Its only address is that of the next hop, which we give it.
        set("ipv6/conf", name, "addr_gen_mode", "1")?;
        set("ipv6/conf", name, "proxy_ndp", "1")?;
        set("ipv6/neigh", name, "proxy_delay", "0")?;
        set("ipv6/conf", name, "forwarding", "1")?;
    }
    Ok(())
}

/// Prepares the container's end; to be called within its namespace.
pub(super) fn of_pod_end(name: &str, has_v6: bool) -> Result<(), LinkError> {
    of_v6(name, has_v6)
}

/// Switches IPv6 on or off. Nobody there but us gives addresses or routes, and ours are unique.
fn of_v6(name: &str, has_v6: bool) -> Result<(), LinkError> {
    if !has_v6 {
        return match set("ipv6/conf", name, "disable_ipv6", "1") {
            // A kernel without IPv6 has none to switch off.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
    }
    for (key, value) in [("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_dad", "0")] {
        set("ipv6/conf", name, key, value)?;
    }
    Ok(())
}

fn set(part: &str, name: &str, key: &str, value: &str) -> Result<(), LinkError> {
    let path = Path::new(ROOT).join(part).join(name).join(key);
    fs::write(&path, value).named(format!("write {value} to {}", path.display()))
}
