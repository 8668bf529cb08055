//! Accepting TCP connections, from known peers only.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use brindle_bgp::net::Prefix;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::auth::{self, Key, ListenerKeys};
use super::dial::set_options;
use super::dynamic::{Door, Newcomer};
use super::{DynamicPeers, WantedPeer};

/// How often it is said that nothing can be accepted.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Who may connect, and where its connection goes.
pub(super) type KnownPeers = HashMap<IpAddr, mpsc::Sender<TcpStream>>;

/// Listening sockets and the tasks that accept from them; dropped, they close.
pub struct Listeners {
    pub(super) known: Arc<ArcSwap<KnownPeers>>,
    pub(super) door: Arc<Door>,
    /// Taken by the speaker.
    pub(super) newcomers: Option<mpsc::Receiver<Newcomer>>,
    /// What is listened on, and where.
    sockets: Vec<(SocketAddr, Arc<TcpListener>)>,
    keys: ListenerKeys,
    /// Those of groups of dynamic peers.
    group_keys: ListenerKeys,
    /// Peers that are not dynamic.
    configured: Vec<auth::Known>,
    _tasks: JoinSet<()>,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{}", hint(.cause))]
pub struct ListenError {
    address: SocketAddr,
    /// Not a source: its text stands in ours.
    cause: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has that port: stop it, or choose another bgp.listen.port"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability NET_BIND_SERVICE"
        }
        _ => "",
    }
}

impl Listeners {
    /// Listens on `port` of each of `addresses`, also of those that the host does not have
    /// yet; port 0 takes any that is free.
    ///
    /// # Errors
    /// Names the first address that fails and why.
    pub fn bind(addresses: &[IpAddr], port: u16) -> Result<Self, ListenError> {
        let known = Arc::new(ArcSwap::from_pointee(KnownPeers::new()));
        let (door, newcomers) = Door::new();
        let mut tasks = JoinSet::new();
        let mut sockets = Vec::new();
        for &address in addresses {
            let address = SocketAddr::new(address, port);
            let listener = listen(address).map_err(|cause| ListenError { address, cause })?;
            let listener = Arc::new(listener);
            sockets.push((listener.local_addr().unwrap_or(address), Arc::clone(&listener)));
            tasks.spawn(accept(listener, Arc::clone(&known), Arc::clone(&door)));
        }
        Ok(Self {
            known,
            door,
            newcomers: Some(newcomers),
            sockets,
            keys: ListenerKeys::default(),
            group_keys: ListenerKeys::default(),
            configured: Vec::new(),
            _tasks: tasks,
        })
    }

    /// What is listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    /// Has these peers' keys asked for, and of others those of groups. Who is to be known must be
    /// so before. A peer whose key cannot be set has none afterwards, and is not spoken to.
    pub(super) fn follow_keys(&mut self, wanted: &mut [WantedPeer]) {
        let key = |peer: &WantedPeer| peer.protection.key.clone();
        let asked: Vec<(Prefix, Key)> =
            wanted.iter().map(|peer| (Prefix::host(peer.address), key(peer))).collect();
        let refusals = self.keys.follow(&asked, &sockets(&self.sockets));
        for (peer, refusal) in wanted.iter_mut().zip(refusals) {
            if let Some(why) = refusal {
                peer.protection.key = Key::Missing(why);
            }
        }
        let signs = |peer: &WantedPeer| peer.protection.key != Key::None;
        self.configured = wanted.iter().map(|peer| (peer.address, signs(peer))).collect();
        let mut groups = Vec::clone(&self.door.groups());
        self.follow_group_keys(&mut groups);
        self.door.expect(groups);
    }

    /// Has the keys of these groups asked for, and of no others. A group whose key cannot be set
    /// has none afterwards, and nobody of it is spoken to.
    pub(super) fn follow_group_keys(&mut self, groups: &mut [DynamicPeers]) {
        loop {
            let asked = auth::asked(groups, &self.configured);
            let wanted: Vec<(Prefix, Key)> =
                asked.iter().map(|(_, peers, key)| (*peers, key.clone())).collect();
            let refusals = self.group_keys.follow(&wanted, &sockets(&self.sockets));
            let mut refused =
                asked.iter().zip(refusals).filter_map(|((index, ..), why)| Some((*index, why?)));
            let Some((index, why)) = refused.next() else { return };
            let Some(group) = groups.get_mut(index) else { return };
            warn!(group = %group.name, why, "nobody of these dynamic peers is spoken to");
            group.template.protection.key = Key::Missing(why);
        }
    }
}

/// Each listening socket with where it listens.
fn sockets(all: &[(SocketAddr, Arc<TcpListener>)]) -> Vec<(IpAddr, &TcpListener)> {
    all.iter().map(|(at, socket)| (at.ip(), &**socket)).collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    set_options(&socket, address.is_ipv4());
    auth::prepare_listener(&socket, address.is_ipv4());
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: Arc<TcpListener>, known: Arc<ArcSwap<KnownPeers>>, door: Arc<Door>) {
    let mut said: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => hand_over(stream, from.ip().to_canonical(), &known, &door),
            Err(error) => {
                if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
                    said = Some(Instant::now());
                    warn!(%error, "cannot accept BGP connections; trying on. Too many open files? \
                        Then raise LimitNOFILE of the service");
                }
                // Out of descriptors, most likely: the connection stays in the backlog, so
                // asking again at once would spin.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

fn hand_over(stream: TcpStream, from: IpAddr, known: &ArcSwap<KnownPeers>, door: &Arc<Door>) {
    let refused = match known.load().get(&from) {
        Some(peer) => match peer.try_send(stream) {
            Ok(()) => return,
            Err(refused) => refused.into_inner(),
        },
        None => {
            let Some(stream) = door.take(stream, from) else { return };
            debug!(%from, "connection from an address that is no peer's, closed");
            stream
        }
    };
    // Reset instead of lingering: the stranger gets no state out of us.
    let _ = SockRef::from(&refused).set_linger(Some(Duration::ZERO));
}
