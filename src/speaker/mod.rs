//! The BGP speaker: sockets, clock and tasks around the pure core.
//!
//! ```text
//!  listener ──accepted──►┌ peer task ┐──news──►┌ owner ┐──changes──► fib
//!  dialler ◄───────────► │ session   │         │  Rib  │◄─next hops─
//!                        └ machine   ┘         └───────┘
//!                           │ urgent    wake ▲ │ ▲ pull
//!                           ▼                │ ▼ │
//!                        ┌ writer ┐◄─────messages
//! ```
//!
//! One task owns the RIB; one task a peer owns its session machine and reads its wires;
//! one task a wire writes. The RIB keeps what a peer is still to be told; the writer asks
//! for it when the socket has taken the last of it, so nothing queues up for a slow peer.

mod auth;
mod bfd;
mod calm;
mod dial;
mod dynamic;
mod handover;
mod leave;
mod limits;
mod link;
mod listener;
mod monitor;
mod next_hops;
mod originated;
mod owner;
mod peer;
mod reach;
mod refresh;
mod rejections;
mod restart;
mod retain;
mod roster;
mod status;
mod view;
mod wire;
mod writer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use brindle_bgp::bfd::Settings;
use brindle_bgp::fsm::{OwnRestart, PeerSettings};
use brindle_bgp::msg::CeaseReason;
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{RibPeer, RibSettings, SessionLink};
use tokio::sync::{mpsc, oneshot};

use crate::fib;

pub use auth::{AoKey, AuthFailures, Key, Protection, Ttl};
pub use dynamic::DynamicPeers;
pub use leave::Leave;
pub use listener::{ListenError, Listeners};
pub use monitor::{Feed, Newest};
pub use originated::Originated;
pub use rejections::{Refused, Rejections};
pub use status::{Counters, MESSAGE_TYPES, PeerStatus};
pub use view::{Faults, PeerEntry, View};
pub(crate) use writer::write_some;

/// The port that BGP listens on (RFC 4271 §8.2.1).
const BGP_PORT: u16 = 179;

/// A peer as it shall be. Two that are equal are treated the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPeer {
    /// Where it is.
    pub address: IpAddr,
    /// The port to dial.
    pub port: u16,
    /// The interface that it is on, where its address is link-local; else `None`.
    pub link: Option<Arc<str>>,
    /// Whether its address is the one that is found on that interface; until then it has none.
    pub is_found: bool,
    /// The gateway by which it is reached, with a route of ours; `None` for the routes that
    /// there are.
    pub reachable_by: Option<IpAddr>,
    /// Our address on the session; `None` lets the kernel choose.
    pub source: Option<IpAddr>,
    /// Our address of each family, told as next hop where the session itself has none.
    pub own_addresses: Vec<IpAddr>,
    /// Whether it comes from the node mesh; else it is configured.
    pub mesh: bool,
    /// Whether it is a node that reflects routes of others.
    pub reflects: bool,
    /// The group of dynamic peers that it belongs to, if it was not configured itself.
    pub group: Option<Arc<str>>,
    /// Whether it was wanted for what others bring from now on: it goes as soon as they do, and
    /// is not there without a session.
    pub leaving: bool,
    /// Whether its routes are kept while it has no session and is wanted nevertheless.
    pub retain: bool,
    /// The BFD session beside the BGP session; `None` for none.
    pub bfd: Option<Settings>,
    /// How its TCP connections are signed, and how far they go.
    pub protection: Protection,
    /// What the session machine must know.
    pub session: PeerSettings,
    /// What the RIB must know; the name is the key.
    pub rib: RibPeer,
}

impl WantedPeer {
    /// A configured peer at the port of BGP, from whatever address the kernel chooses.
    pub fn new(session: PeerSettings, rib: RibPeer) -> Self {
        Self {
            address: rib.address,
            port: BGP_PORT,
            link: None,
            is_found: false,
            reachable_by: None,
            source: None,
            own_addresses: Vec::new(),
            mesh: false,
            reflects: false,
            group: None,
            leaving: false,
            retain: false,
            bfd: None,
            protection: Protection::default(),
            session,
            rib,
        }
    }
}

/// What an operator does to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// End the session and start anew.
    Reset,
    /// Ask the peer to send everything again.
    SoftIn,
    /// Send everything to the peer again.
    SoftOut,
    /// End the session and stay down, with a text for the peer (RFC 9003).
    Disable(Option<String>),
    /// Undo `Disable`.
    Enable,
    /// Let its task die of a fault.
    #[cfg(test)]
    Panic,
}

/// The peer has no session, or there is none of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeedError {
    /// Nobody has that name or address.
    #[error("there is no peer \"{0}\"; `brindle peers` lists those that there are")]
    NoSuchPeer(String),
    /// A soft reset needs a session.
    #[error("peer \"{0}\" has no session, so there is nothing to refresh")]
    NotEstablished(String),
    /// The peer cannot be asked to send again.
    #[error(
        "peer \"{0}\" does not understand ROUTE-REFRESH; `peers reset` without --soft-in works"
    )]
    NoRefresh(String),
    /// Earlier orders to the peer are not carried out yet.
    #[error("peer \"{0}\" is busy with earlier orders; try again in a moment")]
    Busy(String),
}

/// Something about a peer that others may be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tiding {
    /// A session came up: the peer's name and address.
    Up(Arc<str>, IpAddr),
    /// A session ended, and why.
    Down(Arc<str>, IpAddr, String),
    /// The peer of this name announced what the node that it leads to does not own.
    NotOwned(Arc<str>, Prefix),
}

/// How the speaker ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// To be back in a moment, as for an upgrade: where graceful restart is agreed the session
    /// ends without a word, so that the peer keeps our routes; others are told that we are gone.
    Restart,
    /// To stay away, or to come back as somebody else: every peer is told why, with a text
    /// where the reason allows one (RFC 9003).
    Leave(CeaseReason, Option<String>),
}

type Reader = Box<dyn FnOnce(&View<'_>) + Send>;

/// What the speaker is told.
enum Command {
    /// These peers and no others.
    SetPeers(Vec<WantedPeer>),
    /// These groups of dynamic peers and no others.
    SetDynamic(Vec<DynamicPeers>),
    /// These prefixes of our own and no others.
    SetOriginated(Vec<Originated>),
    /// Look at the RIB; must be short.
    Read(Reader),
    /// Do something for one who follows the RIB.
    Watching(monitor::Watching),
    /// Do something to a peer.
    Do(String, Deed, oneshot::Sender<Result<(), DeedError>>),
    /// Be so far with leaving.
    Leave(Leave),
    /// Take these routes of an earlier run over, for peers that have no session.
    Adopt(Vec<(Prefix, IpAddr)>),
    /// We have been here before: this is true of our restart, and peers get so long for what
    /// they have to say before others are told.
    Restarted(OwnRestart, Duration),
    /// All peers that there will be are known.
    Complete,
    /// Leftover routes of an earlier run may go, once the fib knows all that is wanted.
    Sweep,
    /// Say here what happens.
    TellOf(mpsc::Sender<Tiding>),
    /// Close every session and end.
    Stop(StopMode, oneshot::Sender<()>),
}

/// The way to a running speaker.
#[derive(Clone)]
pub struct SpeakerHandle {
    commands: mpsc::Sender<Command>,
}

/// The speaker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the BGP speaker has ended")]
pub struct Gone;

impl SpeakerHandle {
    /// Wants these peers and no others: equal ones are left alone, those that differ only
    /// in filters keep their session.
    pub async fn set_peers(&self, peers: Vec<WantedPeer>) -> Result<(), Gone> {
        self.send(Command::SetPeers(peers)).await
    }

    /// Lets peers of these groups and of no others become such by connecting. Those that there
    /// are and may stay follow a changed group as configured peers follow a change.
    pub async fn set_dynamic(&self, groups: Vec<DynamicPeers>) -> Result<(), Gone> {
        self.send(Command::SetDynamic(groups)).await
    }

    /// Originates these prefixes and no others, of two that are the same the first.
    pub async fn originate(&self, wanted: Vec<Originated>) -> Result<(), Gone> {
        self.send(Command::SetOriginated(wanted)).await
    }

    /// Runs `look` on the RIB's task and returns its answer; it must be short, since routing
    /// waits for it.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        let reader: Reader = Box::new(move |view| {
            // Nobody may be waiting any more; that is the asker's business.
            let _ = answer.send(look(view));
        });
        self.send(Command::Read(reader)).await?;
        answered.await.map_err(|_| Gone)
    }

    /// Does `deed` to the peer of that name or address.
    pub async fn act(&self, peer: String, deed: Deed) -> Result<Result<(), DeedError>, Gone> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Do(peer, deed, answer)).await?;
        answered.await.map_err(|_| Gone)
    }

    /// Says that an earlier run of ours has left its routes in the kernel, before any peer is
    /// wanted: OPENs tell it, and what others tell is passed on to peers that keep our routes
    /// only when all have told it, or after this time (RFC 4724 §4.1).
    pub async fn restarted(&self, own: OwnRestart, limit: Duration) -> Result<(), Gone> {
        self.send(Command::Restarted(own, limit)).await
    }

    /// Says that no more peers will become known, other than by changes: who of them does not
    /// come back now is not waited for any more.
    pub async fn complete(&self) -> Result<(), Gone> {
        self.send(Command::Complete).await
    }

    /// Is so far with leaving from now on. What peers must still be told can be read of the RIB,
    /// and whether their sessions have ended of their states.
    pub async fn leave(&self, how: Leave) -> Result<(), Gone> {
        self.send(Command::Leave(how)).await
    }

    /// Takes over routes of an earlier run, each a prefix and the node that it leads to, that
    /// mesh peers without session may tell: they are kept as if that session had just ended.
    pub async fn adopt(&self, routes: Vec<(Prefix, IpAddr)>) -> Result<(), Gone> {
        self.send(Command::Adopt(routes)).await
    }

    /// Has what happens told there, as far as there is room.
    pub async fn tell_of(&self, tidings: mpsc::Sender<Tiding>) -> Result<(), Gone> {
        self.send(Command::TellOf(tidings)).await
    }

    /// Sources and peers are in sync: lets the fib remove what an earlier run left, as soon
    /// as it was told everything that is wanted by now.
    pub async fn sweep(&self) -> Result<(), Gone> {
        self.send(Command::Sweep).await
    }

    /// Ends all sessions and the speaker with them; returns once the peers were told, or
    /// after two seconds.
    pub async fn stop(&self, mode: StopMode) {
        let (answer, answered) = oneshot::channel();
        if self.send(Command::Stop(mode, answer)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// Whether it has ended, in order or by a fault of ours.
    pub fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    async fn send(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }
}

/// Starts the speaker's owner task. `listeners` hands over accepted connections; `fib` is
/// where best paths go if next hops are tracked, and what tells of our addresses; `None` for a
/// speaker that installs nothing and resolves nothing.
pub fn start(
    settings: RibSettings,
    listeners: Listeners,
    fib: Option<(fib::FibHandle, mpsc::Receiver<fib::Event>)>,
) -> SpeakerHandle {
    let (commands, orders) = mpsc::channel(64);
    let owner = owner::Owner::new(settings, orders, listeners, fib);
    tokio::spawn(owner.run());
    SpeakerHandle { commands }
}

/// The prefixes that an address of ours is on-link with.
fn shared_link(own: &[fib::LocalAddress], peer: IpAddr) -> Vec<Prefix> {
    let links = own.iter().map(|local| local.link).filter(|link| link.contains(peer));
    // Every link has the link-local prefix, so that it says nothing of which link.
    let mut links: Vec<Prefix> = links.filter(|link| !is_link_local(link.address())).collect();
    links.sort_unstable();
    links.dedup();
    links
}

/// The link that the peer is on: its own interface, or that of our end of the session.
fn session_link(
    own: &[fib::LocalAddress],
    session: IpAddr,
    wanted: &WantedPeer,
) -> Option<SessionLink> {
    let is_it = |local: &&fib::LocalAddress| match &wanted.link {
        Some(link) => local.interface == *link,
        None => local.address == session && local.link.contains(wanted.address),
    };
    let number = own.iter().find(is_it)?.index;
    Some(SessionLink { number, is_unnumbered: wanted.link.is_some() })
}

/// Our address of a family that is told as next hop on a session between these two. An IPv6 one
/// stands for IPv4, where the peer can read that (RFC 8950), on a link without IPv4 addresses.
fn local_next_hop(
    family: Family,
    session: IpAddr,
    wanted: &WantedPeer,
    own: &[fib::LocalAddress],
    extended: bool,
) -> Option<IpAddr> {
    // With a speaker on the same host a session may run over loopback, which means nothing
    // to those that it passes the next hop on to.
    if Family::of(session) == family && !session.is_loopback() {
        return Some(session);
    }
    let link = session_link(own, session, wanted).map(|link| link.number);
    let is_at_home = |local: &&fib::LocalAddress| match link {
        Some(link) => local.index == link,
        None => own.iter().any(|at| at.address == session && at.index == local.index),
    };
    let is_fit = |address: &IpAddr| Family::of(*address) == family && !is_link_local(*address);
    let same_link = own.iter().filter(is_at_home).map(|local| local.address).find(is_fit);
    if family == Family::Ipv4Unicast && extended && link.is_some() && same_link.is_none() {
        return Some(session);
    }
    wanted.own_addresses.iter().copied().find(|a| Family::of(*a) == family).or(same_link)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
