//! Protects the TCP connections of peers: signatures (RFC 2385, RFC 5925) and the generalized
//! TTL security mechanism (RFC 5082).
//!
//! ```text
//!                   before listening peers  ──► listening socket: keys, TTL 255
//!  Protection ────► before connecting       ──► dialled socket: key, TTL, least TTL
//!                   once accepted           ──► accepted socket: the same, and its SYN is looked at
//!                   while established       ──► the same socket: another key, another TTL
//! ```

mod ao;
mod kernel;
mod keys;
mod options;
mod ranges;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use brindle_bgp::net::Prefix;
use brindle_config::Secret;

pub use ao::AoKey;
pub use kernel::AuthFailures;
pub(super) use keys::{At, ListenerKeys, Place};
pub(super) use ranges::{Known, Signs, asked};

/// How the connections of a peer are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// What signs them.
    pub key: Key,
    /// How far they may go.
    pub ttl: Ttl,
    /// Where the key is from, for people: `file /etc/brindle/keys/tor`, `Secret keys, key tor`.
    pub source: Option<Arc<str>>,
    /// A sentence about a key that should be another by now but cannot be read; the one read
    /// before goes on being used.
    pub trouble: Option<String>,
}

/// What signs connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// Nothing.
    #[default]
    None,
    /// TCP MD5 signatures (RFC 2385).
    Md5(Secret),
    /// The TCP authentication option (RFC 5925), the preferred key first.
    Ao(Vec<AoKey>),
    /// A key that there is none of, and why. The peer is not spoken to: without its key,
    /// anybody could be it.
    Missing(String),
}

/// How far packets may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ttl {
    /// As far as those of everybody on the host.
    #[default]
    Any,
    /// So many hops: what we send goes no farther.
    Hops(u8),
    /// So many hops: we send with TTL 255, and drop what has come from farther off (RFC 5082).
    Security(u8),
}

impl Ttl {
    /// What our packets begin with; `None` as on the rest of the host.
    fn sent(self) -> Option<u8> {
        match self {
            Ttl::Any => None,
            Ttl::Hops(hops) => Some(hops.max(1)),
            Ttl::Security(_) => Some(u8::MAX),
        }
    }

    /// What the peer's must have left; 0 is everything.
    fn least(self) -> u8 {
        match self {
            Ttl::Any | Ttl::Hops(_) => 0,
            Ttl::Security(hops) => u8::MAX - hops.saturating_sub(1),
        }
    }
}

/// Readies a listening socket for peers of every kind: what it answers a SYN with has TTL 255,
/// since a peer that asks for that could not connect otherwise, and accepted connections
/// remember what they began with. A kernel that refuses either has those peers not come up,
/// and is no reason not to listen for the others.
pub(super) fn prepare_listener(socket: &impl AsFd, is_v4: bool) {
    let _ = options::ttl(socket, is_v4, Ttl::Hops(u8::MAX));
    let _ = options::save_syn(socket);
}

impl Protection {
    /// Why the peer is not spoken to; `None` if it is.
    pub fn refusal(&self) -> Option<&str> {
        match &self.key {
            Key::Missing(why) => Some(why),
            Key::None | Key::Md5(_) | Key::Ao(_) => None,
        }
    }

    /// Protects a socket that is not connected yet.
    ///
    /// # Errors
    /// A sentence: the socket must not be used.
    pub(super) fn arm_dial(&self, socket: &impl AsFd, peer: IpAddr) -> Result<(), String> {
        self.sign(socket, peer)?;
        options::ttl(socket, peer.is_ipv4(), self.ttl).map_err(|error| no_ttl(&error))
    }

    /// Protects a connection that was accepted, and looks at how it began: until now nobody
    /// has looked at its TTL, and a key may be newer than it.
    ///
    /// # Errors
    /// A sentence: the connection must be closed.
    pub(super) fn arm_accepted(&self, socket: &impl AsFd, peer: IpAddr) -> Result<(), String> {
        match &self.key {
            Key::Missing(why) => return Err(why.clone()),
            Key::None => {}
            Key::Md5(secret) => {
                options::md5(socket, Prefix::host(peer), secret.octets())
                    .map_err(|error| no_md5(&error))?;
            }
            // It has the keys of the listening socket, or was never signed; then it can take
            // none, and no unsigned connection is this peer's.
            Key::Ao(keys) => {
                let preferred = keys.first().ok_or("there is no key")?;
                options::ask_for_ao(socket, preferred.recv_id).map_err(|error| no_ao(&error))?;
            }
        }
        options::ttl(socket, peer.is_ipv4(), self.ttl).map_err(|error| no_ttl(&error))?;
        let least = self.ttl.least();
        match options::ttl_of_syn(socket).filter(|_| least > 0) {
            Some(ttl) if ttl < least => Err(format!(
                "the peer's connection came with TTL {ttl}, and ttlSecurity asks for {least} or \
                 more: it is farther off, or does not send with 255"
            )),
            _ => Ok(()),
        }
    }

    /// Changes a connection that lives on from `self` to `new`. What neither side signs as the
    /// other expects is lost, and sent again until both have changed.
    ///
    /// # Errors
    /// A sentence: the connection cannot live on.
    pub(super) fn change(
        &self,
        new: &Protection,
        socket: &impl AsFd,
        peer: IpAddr,
    ) -> Result<(), String> {
        let host = Prefix::host(peer);
        match (&self.key, &new.key) {
            (_, Key::Missing(why)) => return Err(why.clone()),
            (old, new) if old == new => {}
            (Key::None | Key::Md5(_), Key::Md5(secret)) => {
                options::md5(socket, host, secret.octets()).map_err(|error| no_md5(&error))?;
            }
            (Key::Md5(_), Key::None) => {
                options::md5(socket, host, &[]).map_err(|error| no_md5(&error))?;
            }
            (Key::Ao(have), Key::Ao(want)) => {
                let steps = ao::steps(have, want)
                    .ok_or("a key changed under its sendID or recvID, or none stays")?;
                keys::carry_out(&steps, socket, peer).map_err(|error| no_ao(&error))?;
            }
            _ => return Err("it is signed in another way from now on".to_owned()),
        }
        options::ttl(socket, peer.is_ipv4(), new.ttl).map_err(|error| no_ttl(&error))
    }

    fn sign(&self, socket: &impl AsFd, peer: IpAddr) -> Result<(), String> {
        let host = Prefix::host(peer);
        match &self.key {
            Key::None => Ok(()),
            Key::Missing(why) => Err(why.clone()),
            Key::Md5(secret) => {
                options::md5(socket, host, secret.octets()).map_err(|error| no_md5(&error))
            }
            Key::Ao(keys) => keys
                .iter()
                .enumerate()
                .try_for_each(|(index, key)| options::add_ao(socket, host, key, index == 0))
                .map_err(|error| no_ao(&error)),
        }
    }

    /// What a peer that does not answer might be told to look at.
    pub(super) fn hint(&self) -> &'static str {
        match (&self.key, self.ttl) {
            (Key::Md5(_), Ttl::Security(_)) => ", that both have the same password and ttlSecurity",
            (Key::Md5(_), _) => ", that both have the same password",
            (Key::Ao(_), _) => ", that both have the same keys of tcpAO",
            (Key::None | Key::Missing(_), Ttl::Security(_)) => ", that both have ttlSecurity",
            (Key::None | Key::Missing(_), _) => "",
        }
    }

    /// What the kernel dropped meanwhile that may have been this peer's, as a sentence.
    pub fn suspicion(&self, dropped: &AuthFailures) -> Option<String> {
        let said = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        // The kernel finds no key for what is signed in the way that a peer does not have.
        let unset = "TCP-AO failures: signed with TCP-AO, where no tcpAO is set";
        let signed = match &self.key {
            Key::None | Key::Missing(_) => vec![
                said(dropped.md5_unexpected, "MD5 failures: signed, where no password is set"),
                said(dropped.ao_unknown, unset),
            ],
            Key::Md5(_) => vec![
                said(dropped.md5_wrong, "MD5 failures: signed with another password"),
                said(dropped.md5_missing, "MD5 failures: not signed"),
                said(dropped.ao_unknown, unset),
            ],
            Key::Ao(_) => vec![
                said(dropped.ao_wrong, "TCP-AO failures: signed with another key"),
                said(dropped.ao_missing, "TCP-AO failures: not signed"),
                said(dropped.ao_unknown, "TCP-AO failures: the KeyID is the recvID of no key"),
                said(dropped.md5_unexpected, "MD5 failures: signed with a password, not tcpAO"),
            ],
        };
        let far = match self.ttl {
            Ttl::Security(_) => {
                said(dropped.ttl, "TTL failures: from farther off than ttlSecurity")
            }
            Ttl::Any | Ttl::Hops(_) => None,
        };
        let all: Vec<String> = signed.into_iter().flatten().chain(far).collect();
        (!all.is_empty()).then(|| format!("kernel counted {}", all.join(", ")))
    }
}

fn no_md5(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(nix::libc::ENOPROTOOPT) => "this kernel cannot sign with TCP MD5 (it lacks \
             CONFIG_TCP_MD5SIG), and without it a peer with a password is not spoken to"
            .to_owned(),
        Some(nix::libc::ENOMEM) => "the kernel has no room for another key on the listening \
             socket; raise the sysctl net.core.optmem_max"
            .to_owned(),
        _ => format!("the kernel refuses the password: {error}"),
    }
}

fn no_ao(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(nix::libc::ENOPROTOOPT) => "this kernel cannot sign with TCP-AO (it lacks \
             CONFIG_TCP_AO, which there is since Linux 6.7), and without it a peer with tcpAO is \
             not spoken to; where both sides can do no better, use password"
            .to_owned(),
        Some(nix::libc::ENOMEM) => "the kernel has no room for another key on the listening \
             socket; raise the sysctl net.core.optmem_max"
            .to_owned(),
        Some(nix::libc::ENOENT) => {
            "the connection is not signed with a key that tcpAO names".to_owned()
        }
        Some(nix::libc::EISCONN) => "the connection is not signed with TCP-AO".to_owned(),
        _ => format!("the kernel refuses the keys of tcpAO: {error}"),
    }
}

fn no_ttl(error: &io::Error) -> String {
    format!("the kernel refuses the TTL: {error}")
}

#[cfg(test)]
mod tests;
