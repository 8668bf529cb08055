//! The kernel's routing table: what we want there, what is there, and the way between.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{BestChange, Forwarding};
use tokio::sync::{mpsc, oneshot};

/// How routes are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibSettings {
    /// Write routes at all; if not, next hops are still resolved.
    pub install: bool,
    /// The metric of learned routes.
    pub metric: u32,
    /// Switch on forwarding for the families routed.
    pub forwarding: bool,
}

/// What the fib is told. Sent over a bounded channel.
#[derive(Debug)]
pub enum Command {
    /// Wanted routes changed. [`Forwarding::Local`] is a prefix of our own and gets an
    /// unreachable route at a bad metric.
    Change(Vec<BestChange>),
    /// These next hops are to be watched, and those no more.
    Watch(Vec<IpAddr>, Vec<IpAddr>),
    /// Sources and peers are in sync: leftovers of an earlier run may go.
    Sweep,
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
    NextHops(Vec<(IpAddr, Option<u32>)>),
    /// The addresses of this host changed.
    OwnAddresses(Vec<LocalAddress>),
}

/// An address of this host and the prefix of its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The interface's name.
    pub interface: Arc<str>,
    /// The address.
    pub address: IpAddr,
    /// The prefix that is on-link through it.
    pub link: Prefix,
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
    /// The last thing that failed, with its reason.
    pub last_error: Option<String>,
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

/// Starts the fib task in the network namespace of the calling thread.
///
/// # Errors
/// If no netlink socket can be opened.
pub fn start(settings: FibSettings) -> anyhow::Result<(FibHandle, mpsc::Receiver<Event>)> {
    let _ = (settings, Family::ALL, Forwarding::None, None::<BestChange>);
    anyhow::bail!("not yet")
}
