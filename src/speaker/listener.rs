//! Accepting TCP connections, from known peers only.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use brindle_bgp::net::Prefix;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, warn};

use super::auth::{self, At, Key, ListenerKeys, Place, Signs};
use super::dial::set_options;
use super::dynamic::{Door, Newcomer};
use super::link::Link;
use super::{DynamicPeers, WantedPeer};

/// How often it is said that nothing can be accepted.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Who may connect, and where its connection goes.
pub(super) type KnownPeers = HashMap<Origin, mpsc::Sender<TcpStream>>;

/// An address, and the interface of one that is link-local.
type Origin = (IpAddr, Option<Arc<str>>);

/// Listening sockets and the tasks that accept from them; dropped, they close.
pub struct Listeners {
    pub(super) known: Arc<ArcSwap<KnownPeers>>,
    pub(super) door: Arc<Door>,
    /// Taken by the speaker.
    pub(super) newcomers: Option<mpsc::Receiver<Newcomer>>,
    /// What is listened on, and where.
    sockets: Vec<(SocketAddr, Arc<TcpListener>)>,
    /// The same of the link-local addresses of interfaces with peers.
    on_links: Vec<(Link, Arc<TcpListener>, AbortHandle)>,
    /// Links that could not be listened on, as was said.
    refused: Vec<Link>,
    keys: ListenerKeys,
    tasks: JoinSet<()>,
    /// Those of groups of dynamic peers.
    group_keys: ListenerKeys,
    /// Peers that are not dynamic.
    configured: Vec<auth::Known>,
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
            on_links: Vec::new(),
            refused: Vec::new(),
            tasks,
        })
    }

    /// What is listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address).collect()
    }

    /// Has these peers' keys asked for, and of others those of groups. Who is to be known must be
    /// so before. A peer whose key cannot be set has none afterwards, and is not spoken to.
    pub(super) fn follow_keys(&mut self, wanted: &mut [WantedPeer]) {
        // Of one that is not found yet nobody can come.
        let key = |peer: &WantedPeer| match peer.is_known() {
            true => peer.protection.key.clone(),
            false => Key::None,
        };
        let place = |peer: &WantedPeer| (Prefix::host(peer.address), peer.link.clone());
        let asked: Vec<(Place, Key)> = wanted.iter().map(|peer| (place(peer), key(peer))).collect();
        let mut groups = Vec::clone(&self.door.groups());
        // Keys of groups that overlap with a new one of TCP-AO would keep it out.
        self.note_configured(wanted);
        let of_groups = self.asked_of(&groups);
        let of_groups: Vec<_> = of_groups.into_iter().map(|(_, place, key)| (place, key)).collect();
        self.group_keys.forget_others(&of_groups, &all(&self.sockets, &self.on_links));
        let refusals = self.keys.follow(&asked, &all(&self.sockets, &self.on_links));
        for (peer, refusal) in wanted.iter_mut().zip(refusals) {
            if let Some(why) = refusal {
                peer.protection.key = Key::Missing(why);
            }
        }
        self.note_configured(wanted);
        self.follow_group_keys(&mut groups);
        self.door.expect(groups);
    }

    fn note_configured(&mut self, wanted: &[WantedPeer]) {
        let known = |peer: &WantedPeer| (peer.address, Signs::from(&peer.protection.key));
        self.configured = wanted.iter().map(known).collect();
    }

    /// Whose connections are asked for the keys of which of these groups.
    fn asked_of(&self, groups: &[DynamicPeers]) -> Vec<(usize, Place, Key)> {
        let asked = auth::asked(groups, &self.configured).into_iter();
        asked.map(|(index, peers, key)| (index, (peers, None), key)).collect()
    }

    /// Has the keys of these groups asked for, and of no others. A group whose key cannot be set
    /// has none afterwards, and nobody of it is spoken to.
    pub(super) fn follow_group_keys(&mut self, groups: &mut [DynamicPeers]) {
        loop {
            let asked = self.asked_of(groups);
            let wanted: Vec<(Place, Key)> =
                asked.iter().map(|(_, place, key)| (place.clone(), key.clone())).collect();
            let refusals = self.group_keys.follow(&wanted, &all(&self.sockets, &self.on_links));
            let mut refused =
                asked.iter().zip(refusals).filter_map(|((index, ..), why)| Some((*index, why?)));
            let Some((index, why)) = refused.next() else { return };
            let Some(group) = groups.get_mut(index) else { return };
            warn!(group = %group.name, why, "nobody of these dynamic peers is spoken to");
            group.template.protection.key = Key::Missing(why);
        }
    }

    /// Listens at our link-local addresses on these links as well, and on no others. Each has
    /// the keys of the peers on its link from the start.
    pub(super) fn follow_links(&mut self, links: &[Link]) {
        self.on_links.retain(|(link, _, task)| {
            let stays = links.contains(link);
            if !stays {
                task.abort();
            }
            stays
        });
        self.refused.retain(|link| links.contains(link));
        let is_any = |at: &SocketAddr| at.is_ipv6() && at.ip().is_unspecified();
        if self.sockets.iter().any(|(at, _)| is_any(at)) {
            return;
        }
        let Some(port) = self.sockets.first().map(|(at, _)| at.port()) else { return };
        for link in links {
            if self.on_links.iter().any(|(known, ..)| known == link) {
                continue;
            }
            let address = SocketAddrV6::new(link.address, port, 0, link.index).into();
            match listen(address) {
                Ok(listener) => {
                    let listener = Arc::new(listener);
                    self.keys.arm(&*listener, &link.name);
                    let (known, door) = (Arc::clone(&self.known), Arc::clone(&self.door));
                    let task = self.tasks.spawn(accept(Arc::clone(&listener), known, door));
                    self.on_links.push((link.clone(), listener, task));
                }
                Err(cause) if !self.refused.contains(link) => {
                    self.refused.push(link.clone());
                    let error = ListenError { address, cause };
                    warn!(%error, "the peer on that link must be dialled");
                }
                Err(_) => {}
            }
        }
    }
}

/// Each listening socket with where it listens.
fn all<'l>(
    plain: &'l [(SocketAddr, Arc<TcpListener>)],
    on_links: &'l [(Link, Arc<TcpListener>, AbortHandle)],
) -> Vec<At<&'l TcpListener>> {
    let plain = plain.iter().map(|(at, socket)| (at.ip(), None, &**socket));
    let on_links = on_links.iter().map(|(link, socket, _)| {
        (IpAddr::V6(link.address), Some(Arc::clone(&link.name)), &**socket)
    });
    plain.chain(on_links).collect()
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
            Ok((stream, from)) => hand_over(stream, from, &known, &door),
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

/// Whose connection it is that comes from there.
fn origin(from: SocketAddr) -> Origin {
    let link = match from {
        SocketAddr::V6(from) if from.ip().is_unicast_link_local() => {
            nix::net::if_::if_indextoname(from.scope_id()).ok()
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    };
    (from.ip().to_canonical(), link.map(|name| Arc::from(&*name.to_string_lossy())))
}

fn hand_over(stream: TcpStream, from: SocketAddr, known: &ArcSwap<KnownPeers>, door: &Arc<Door>) {
    let origin = origin(from);
    let from = origin.0;
    let refused = match known.load().get(&origin) {
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
