//! The kernel's routing table: what we want there, what is there, and the way between.
//!
//! ```text
//!  Command::Change ──► table (want) ─┐
//!                                    ├─ plan ──► writer ──► kernel
//!  kernel events ──► table (have) ───┘                        │
//!         ├────────► mirror: links, addresses, others' routes │
//!         │             └─ reach ──► Event::NextHops          │
//!         └──────────── monitor ◄─────────────────────────────┘
//! ```
//!
//! Our routes carry protocol number 98 and stand in the main table: learned ones at the
//! metric of the settings, unreachable ones for prefixes of our own at [`route::OWN_METRIC`].
//! With [`FibSettings::resilience`], those with several hops lead by [`groups`] of hops that
//! are objects of their own, with numbers of ours.
//! (What is [guarded](guard) against loops has a table of its own.)
//! A key that another protocol holds is left alone. The kernel is believed, not our memory:
//! events keep `have` current, and where they are known to fall short (a link going down,
//! lost events, time passing) everything is read anew.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use arc_swap::ArcSwap;
use brindle_bgp::msg::NextHop;
#[cfg(doc)]
use brindle_bgp::net::Family;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{BestChange, Forwarding};
use tokio::sync::{mpsc, oneshot};

pub mod forwarding;
pub mod found;
pub mod groups;
pub mod guard;
pub mod hash_policy;
pub mod lookup;
pub mod mirror;
pub mod netlink;
pub mod news;
pub mod object;
pub mod plan;
pub mod reachable;
pub mod route;
pub mod schedule;
pub mod sets;
pub mod table;
pub mod task;
pub mod view;
pub mod watch;

/// How routes are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibSettings {
    /// Write routes at all; if not, next hops are still resolved.
    pub install: bool,
    /// The metric of learned routes.
    pub metric: u32,
    /// Switch on forwarding for the families routed.
    pub forwarding: bool,
    /// By what packets are spread over several hops; `None` leaves that to the host.
    pub hash: Option<HashBy>,
    /// Have routes with several hops lead by resilient groups, so that flows keep their hops
    /// when others leave; `None` for ordinary multipath routes.
    pub resilience: Option<groups::Resilience>,
}

/// By what packets are spread over the hops of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// Their addresses.
    L3,
    /// Their addresses, protocol and ports.
    L4,
    /// Their addresses, or those of the packets that they carry.
    Inner,
}

impl HashBy {
    /// The kernel's number for it.
    pub fn number(self) -> u8 {
        match self {
            Self::L3 => 0,
            Self::L4 => 1,
            Self::Inner => 2,
        }
    }
}

/// By what a family's packets are spread, by the kernel's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashState {
    /// As it is; `None` if it is not looked at.
    pub now: Option<u8>,
    /// As it was before we first changed it.
    pub before: Option<u8>,
}

/// What the fib is told. Sent over a bounded channel.
#[derive(Debug)]
pub enum Command {
    /// Wanted routes changed. [`Forwarding::Local`] is a prefix of our own and gets an
    /// unreachable route at a bad metric.
    Change(Vec<BestChange>),
    /// These next hops are to be watched, and those no more.
    Watch(Vec<Gateway>, Vec<Gateway>),
    /// Each of these addresses is reached by a gateway, with a host route of ours, and no others
    /// are. Answered once the routes that can be written are.
    Reach(Vec<(IpAddr, IpAddr)>, oneshot::Sender<()>),
    /// Packets that come in shall not go on to these, unless the main table has routes to
    /// the same or longer prefixes.
    Guard(guard::Guarded),
    /// Peers come back one after the other: what is wanted of leftovers from now on is not the
    /// last word, and they stay until all of their hops are wanted again.
    Defer,
    /// Those at these addresses have said all that they know: what they did not is over.
    Heard(Vec<IpAddr>),
    /// All of them have, or had their time: what is wanted by now counts.
    EndDeferral,
    /// Sources and peers are in sync: leftovers of an earlier run may go.
    Sweep,
    /// The speaker has ended, and another one takes over, which is told by this channel:
    /// everything that stands is a leftover again.
    Succeed(mpsc::Sender<Event>),
    /// Asks for the leftovers that lead somewhere: each prefix with each of its gateways.
    Leftovers(oneshot::Sender<Vec<(Prefix, IpAddr)>>),
    /// Other settings from now on.
    Configure(FibSettings),
    /// Asks for routes, in prefix order.
    List(ListRequest, oneshot::Sender<Vec<RouteView>>),
    /// Ends the task; everything stays in the kernel.
    Stop,
}

/// Which routes [`Command::List`] asks for.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Only what is not as wanted.
    pub only_diff: bool,
    /// Prefixes after this one; `None` from the start.
    pub after: Option<Prefix>,
    /// At most so many.
    pub limit: usize,
}

/// What the fib tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The distance of watched next hops changed; `None` is unreachable, zero on-link.
    NextHops(Vec<(Gateway, Option<u32>)>),
    /// The addresses of this host changed, or which of their links are up.
    OwnAddresses(Vec<LocalAddress>),
}

/// A next hop as it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gateway {
    /// Its address.
    pub address: IpAddr,
    /// The number of the link that it is on, where the address alone does not say.
    pub link: Option<u32>,
}

impl From<&NextHop> for Gateway {
    fn from(next_hop: &NextHop) -> Self {
        Self { address: next_hop.address(), link: next_hop.link() }
    }
}

impl From<IpAddr> for Gateway {
    fn from(address: IpAddr) -> Self {
        Self { address, link: None }
    }
}

/// An address of this host and the prefix of its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The interface's name.
    pub interface: Arc<str>,
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The prefix that is on-link through it.
    pub link: Prefix,
    /// Whether its link is up: the address stays where a cable is pulled.
    pub is_up: bool,
}

/// A route as wanted and as installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// The prefix.
    pub prefix: Prefix,
    /// What is wanted; [`Forwarding::None`] if nothing.
    pub wanted: Forwarding,
    /// What the kernel holds of ours; [`Forwarding::None`] if nothing.
    pub installed: Forwarding,
    /// Interfaces that the wanted next hops leave by, in their order.
    pub interfaces: Vec<Arc<str>>,
    /// What it is about, if wanted and installed differ: a sentence with reason and next step.
    pub problem: Option<String>,
}

/// Figures of the fib, always current.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FibStatus {
    /// The start-up dump is read.
    pub ready: bool,
    /// Whether it had routes of ours, from an earlier run, by [`Family::index`].
    pub found: [bool; 2],
    /// Routes wanted, by [`Family::index`].
    pub wanted: [usize; 2],
    /// Routes installed, by [`Family::index`].
    pub installed: [usize; 2],
    /// Leftovers of an earlier run that wait for [`Command::Sweep`].
    pub stale: usize,
    /// Prefixes that another protocol holds and that we leave alone.
    pub conflicts: usize,
    /// Routes put back after somebody or something removed them.
    pub repairs: u64,
    /// Times that the kernel's events overran us.
    pub overruns: u64,
    /// Whether the family's forwarding is on, by [`Family::index`], and whether we did it.
    pub forwarding: [ForwardingState; 2],
    /// By what packets are spread over several hops, by [`Family::index`].
    pub hash: [HashState; 2],
    /// Prefixes that are guarded against loops, by [`Family::index`].
    pub guarded: [usize; 2],
    /// Why something that shall be guarded is not.
    pub unguarded: Option<String>,
    /// Resilient groups of hops, if they are asked for.
    pub groups: Option<GroupState>,
    /// The last thing that failed, with its reason.
    pub last_error: Option<String>,
}

/// Resilient groups of hops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Why the kernel has none, if that is so: then routes are ordinary multipath routes.
    pub refused: Option<String>,
    /// How many groups routes lead by.
    pub used: usize,
}

/// Whether the kernel forwards packets of a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardingState {
    /// Not looked at.
    #[default]
    Unknown,
    /// It does not.
    Off,
    /// It did before us.
    On,
    /// We switched it on.
    SwitchedOn,
}

/// The way to a running fib task.
#[derive(Clone, Debug)]
pub struct FibHandle {
    /// Commands.
    pub commands: mpsc::Sender<Command>,
    /// Figures.
    pub status: Arc<ArcSwap<FibStatus>>,
}

/// Commands that wait before a sender has to.
const COMMANDS: usize = 64;
/// Events that wait; behind them only the newest state is kept.
pub const EVENTS: usize = 16;

/// What a test may set otherwise than the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Room for events from the kernel, in octets.
    pub event_buffer: usize,
    /// The time after which everything is read anew without a reason; up to half as long
    /// again is added by chance.
    pub audit: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { event_buffer: netlink::RECEIVE_BUFFER, audit: Duration::from_secs(60) }
    }
}

/// Starts the fib task in the network namespace of the calling thread.
///
/// # Errors
/// If no netlink socket can be opened.
pub fn start(settings: FibSettings) -> anyhow::Result<(FibHandle, mpsc::Receiver<Event>)> {
    start_tuned(settings, Tuning::default())
}

/// As [`start`], with other limits.
///
/// The task has a thread of its own, because the kernel may keep a write waiting while
/// others hold its lock; the thread stays in the caller's namespace.
///
/// # Errors
/// If no netlink socket can be opened.
pub fn start_tuned(
    settings: FibSettings,
    tuning: Tuning,
) -> anyhow::Result<(FibHandle, mpsc::Receiver<Event>)> {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (outbox, events) = mpsc::channel(EVENTS);
    let status = Arc::new(ArcSwap::from_pointee(FibStatus::default()));
    let published = status.clone();
    let (report, opened) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("fib".to_owned())
        .spawn(move || match open(settings, tuning, published) {
            Ok((runtime, fib)) => {
                // Nobody waits for the report if the caller is gone; the inbox says so as well.
                let _ = report.send(Ok(()));
                runtime.block_on(fib.run(inbox, outbox));
            }
            Err(error) => _ = report.send(Err(error)),
        })
        .context("cannot start the thread of the fib")?;
    opened.recv().context("the thread of the fib ended at once")??;
    Ok((FibHandle { commands, status }, events))
}

/// Makes the task and its event loop, on the thread that will run it.
fn open(
    settings: FibSettings,
    tuning: Tuning,
    published: Arc<ArcSwap<FibStatus>>,
) -> anyhow::Result<(tokio::runtime::Runtime, task::Fib)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop of the fib")?;
    let writer = netlink::Writer::open().context("cannot open a netlink socket for routes")?;
    let entered = runtime.enter();
    let monitor = netlink::Monitor::open(tuning.event_buffer, &writer)
        .context("cannot open a netlink socket for events")?;
    let fib = task::Fib::new(settings, writer, monitor, published, tuning.audit);
    drop(entered);
    Ok((runtime, fib))
}
