//! Sees to it that the kernel forwards packets of the families that we route.

use std::fs;
use std::io;
use std::path::Path;

use brindle_bgp::net::Family;
use tracing::{info, warn};

use super::ForwardingState;
use super::mirror::Mirror;

/// The network settings of the network namespace of the thread that reads them.
const ROOT: &str = "/proc/sys/net";
/// The same where it is mounted for a container, which sees the usual one read-only, and which
/// nothing can be mounted over in it.
const MOUNTED: &str = "/host/proc/sys/net";

/// What is known of forwarding, and what we did about it.
#[derive(Debug, Default)]
pub struct Forwarding {
    states: [ForwardingState; 2],
    has_warned: bool,
}

impl Forwarding {
    /// The states by [`Family::index`].
    pub fn states(&self) -> [ForwardingState; 2] {
        self.states
    }

    /// Whether a family that is wanted, by [`Family::index`], is not known to be forwarded.
    pub fn lacks(&self, wanted: [bool; 2]) -> bool {
        wanted.into_iter().zip(self.states).any(|(is_wanted, state)| {
            is_wanted && matches!(state, ForwardingState::Unknown | ForwardingState::Off)
        })
    }

    /// Looks at both families and switches on those that are wanted; what failed, if
    /// something did.
    pub fn ensure(&mut self, wanted: [bool; 2], mirror: &Mirror) -> Option<String> {
        let mut failure = None;
        for family in Family::ALL {
            let key = key(family);
            let is_wanted = wanted[family.index()];
            let before = self.states[family.index()];
            let mut state = look(family, before);
            if is_wanted && state != ForwardingState::On && state != ForwardingState::SwitchedOn {
                if family == Family::Ipv6Unicast {
                    self.warn_of_router_advertisements(mirror);
                }
                match write_setting(key, "1") {
                    Ok(()) => {
                        info!(%family, key, before = 0, now = 1, "switched on forwarding");
                        state = ForwardingState::SwitchedOn;
                    }
                    Err(error) => {
                        failure = Some(format!(
                            "switching on forwarding: {ROOT}/{key}: {error}; \
                             make it writable, or set it to 1 at boot"
                        ));
                    }
                }
            }
            self.states[family.index()] = state;
        }
        failure
    }

    /// A link that forwards stops listening to routers unless its `accept_ra` is 2.
    fn warn_of_router_advertisements(&mut self, mirror: &Mirror) {
        if std::mem::replace(&mut self.has_warned, true) {
            return;
        }
        for link in mirror.links_with_router_advertisements() {
            let path = Path::new(ROOT).join("ipv6/conf").join(&*link).join("accept_ra");
            if fs::read_to_string(path).is_ok_and(|text| text.trim() == "1") {
                let link = &*link;
                warn!(
                    link,
                    "this link has routes from a router's advertisements and takes no more of \
                     them once it forwards; set net.ipv6.conf.{link}.accept_ra to 2 to keep them"
                );
            }
        }
    }
}

/// The key that switches a family's forwarding.
fn key(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4/ip_forward",
        Family::Ipv6Unicast => "ipv6/conf/all/forwarding",
    }
}

/// Writes a network setting of this network namespace.
pub(super) fn write_setting(key: &str, value: &str) -> io::Result<()> {
    match fs::write(Path::new(ROOT).join(key), value) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            // Where that is missing, it is still the first that should be writable.
            fs::write(Path::new(MOUNTED).join(key), value).map_err(|_| error)
        }
        written => written,
    }
}

fn look(family: Family, before: ForwardingState) -> ForwardingState {
    match is_on(family) {
        Ok(true) if before == ForwardingState::SwitchedOn => before,
        Ok(true) => ForwardingState::On,
        Ok(false) => ForwardingState::Off,
        // The family is not there, or `/proc` is not.
        Err(_) => ForwardingState::Unknown,
    }
}

fn is_on(family: Family) -> io::Result<bool> {
    Ok(read_setting(key(family))? != "0")
}

/// Reads a network setting of this network namespace.
pub(super) fn read_setting(key: &str) -> io::Result<String> {
    Ok(fs::read_to_string(Path::new(ROOT).join(key))?.trim().to_owned())
}
