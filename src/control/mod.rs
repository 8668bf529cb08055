//! The control socket: HTTP and JSON on a UNIX socket, for whoever operates this node.
//!
//! ```text
//! brindle peers ──GET /v1/peers──▶ server ──(Query, reply)──▶ the agent
//!     table     ◀────── JSON ─────        ◀── Answer/Failure ──  (from snapshots)
//! ```
//!
//! The server knows no BGP and the agent knows no HTTP: between them stand [`Query`] and
//! [`Answer`]. What is shown is shaped in [`view`], the same for the socket and for `-o json`.

use std::net::IpAddr;
use std::time::Duration;

use brindle_bgp::net::{Family, Prefix};
use tokio::sync::oneshot;

pub mod calls;
pub mod client;
mod cni;
mod policy;
mod requests;
pub mod server;
mod socket;
pub mod view;
pub mod wire;

pub use cni::{CniAnswer, CniQuery, MAX_WAIT_SECONDS};
pub use policy::{FlowQuestion, PolicyQuery};

/// Where the socket is unless somebody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/brindle/brindle.sock";

/// What can be asked and done over the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// How the node is; answered by [`Answer::Status`].
    Status,
    /// All peers in the order of their names; answered by [`Answer::Peers`].
    Peers,
    /// One peer by name or address; answered by [`Answer::Peer`].
    Peer(String),
    /// What the Loc-RIB holds; answered by [`Answer::Routes`].
    Routes(RouteFilter, PageRequest),
    /// What becomes of the paths in use; answered by [`Answer::RouteChanges`].
    RouteChanges {
        /// Of which prefixes: all of a family, one prefix, or all that hold an address.
        filter: RouteFilter,
        /// [`view::RouteChanges::next`] of the answer before; `None` asks where to begin. Comes
        /// from the client, so may be anything.
        after: Option<String>,
        /// How long to wait for a change; at most [`MAX_CHANGES_WAIT`].
        wait: Duration,
    },
    /// All paths of a family or of both that import accepted; answered by [`Answer::Dump`].
    Dump(Option<Family>, PageRequest),
    /// What a peer (name or address) advertised to us; answered by [`Answer::Paths`].
    RoutesIn(String, PageRequest),
    /// What we advertised to a peer (name or address); answered by [`Answer::Paths`].
    RoutesOut(String, PageRequest),
    /// What was refused, of one peer (name or address) or of all; answered by
    /// [`Answer::Rejected`].
    Rejected(Option<String>, PageRequest),
    /// Routes as wanted and as the kernel holds them; answered by [`Answer::Kernel`].
    Kernel {
        /// Only those that are not as wanted.
        only_diff: bool,
        /// Which page.
        page: PageRequest,
    },
    /// The configuration in force; answered by [`Answer::Config`].
    ConfigShow,
    /// About policies.
    Policy(PolicyQuery),
    /// What our network plug-in asks; answered by [`Answer::Cni`].
    Cni(CniQuery),
    /// Reads the configuration again; answered by [`Answer::Reload`], also when refused.
    Reload,
    /// Whether the node is drained; answered by [`Answer::Drain`].
    DrainState,
    /// Takes the node out of routing, traffic first; answered by [`Answer::Drain`] at once.
    Drain {
        /// Longest wait for traffic to go elsewhere; `None` takes that of the configuration.
        wait: Option<Duration>,
        /// What peers are told (RFC 9003), at most 255 octets.
        message: Option<String>,
    },
    /// Lets the node take part in routing again; answered by [`Answer::Drain`].
    Undrain,
    /// Ends the session and lets it come up again, or with either flag only asks the peer for
    /// its routes again or sends ours again; answered by [`Answer::Done`].
    PeerReset {
        /// Name or address.
        peer: String,
        /// Ask for everything again (ROUTE-REFRESH).
        soft_in: bool,
        /// Send everything again.
        soft_out: bool,
    },
    /// Lets a disabled peer come up again; answered by [`Answer::Done`].
    PeerEnable(String),
    /// Shuts a session down until it is enabled or the agent starts again; answered by
    /// [`Answer::Done`].
    PeerDisable {
        /// Name or address.
        peer: String,
        /// What the peer is told (RFC 9003), at most 255 octets.
        message: Option<String>,
    },
}

impl Query {
    /// Whether it changes something, which only root and the agent's own user may.
    pub fn is_change(&self) -> bool {
        match self {
            Query::Status
            | Query::Peers
            | Query::Peer(_)
            | Query::Routes(..)
            | Query::RouteChanges { .. }
            | Query::Dump(..)
            | Query::RoutesIn(..)
            | Query::RoutesOut(..)
            | Query::Rejected(..)
            | Query::Kernel { .. }
            | Query::ConfigShow
            | Query::DrainState
            | Query::Policy(_) => false,
            Query::Cni(query) => query.is_change(),
            Query::Reload
            | Query::Drain { .. }
            | Query::Undrain
            | Query::PeerReset { .. }
            | Query::PeerEnable(_)
            | Query::PeerDisable { .. } => true,
        }
    }

    /// How long it may wait for something to happen before it is answered.
    pub fn waits(&self) -> Duration {
        match self {
            Query::Cni(CniQuery::Attach(attach)) => {
                Duration::from_secs(attach.wait_seconds.min(MAX_WAIT_SECONDS).into())
            }
            Query::RouteChanges { wait, .. } => (*wait).min(MAX_CHANGES_WAIT),
            _ => Duration::ZERO,
        }
    }

    /// Which page it asks for, if its answer comes in pages.
    pub fn page_mut(&mut self) -> Option<&mut PageRequest> {
        match self {
            Query::Routes(_, page)
            | Query::Dump(_, page)
            | Query::RoutesIn(_, page)
            | Query::RoutesOut(_, page)
            | Query::Rejected(_, page)
            | Query::Kernel { page, .. } => Some(page),
            Query::Policy(query) => query.page_mut(),
            Query::Status
            | Query::Peers
            | Query::Peer(_)
            | Query::RouteChanges { .. }
            | Query::ConfigShow
            | Query::Cni(_)
            | Query::Reload
            | Query::DrainState
            | Query::Drain { .. }
            | Query::Undrain
            | Query::PeerReset { .. }
            | Query::PeerEnable(_)
            | Query::PeerDisable { .. } => None,
        }
    }
}

/// Which routes [`Query::Routes`] and [`Query::RouteChanges`] ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteFilter {
    /// All of a family, or of both, IPv4 first; only the paths in use.
    All(Option<Family>),
    /// This prefix, with all of its paths and why they are used or not.
    Exact(Prefix),
    /// The longest prefix that holds this address, likewise.
    Longest(IpAddr),
}

/// Which part of a long answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// [`Page::next`] of the page before; `None` from the start. Comes from the client, so
    /// may be anything.
    pub after: Option<String>,
    /// At most so many; 1 to [`MAX_PAGE`].
    pub limit: usize,
}

impl PageRequest {
    /// The first page, as long as pages get.
    pub fn first() -> Self {
        Self { after: None, limit: MAX_PAGE }
    }
}

/// The most items of one page: keeps an answer below about 1 MiB and the time that it takes
/// below a few milliseconds.
pub const MAX_PAGE: usize = 1000;

/// The longest that a question waits for a route to change: short of what anybody's connection
/// may live.
pub const MAX_CHANGES_WAIT: Duration = Duration::from_secs(10);

/// A part of a long answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in a fixed order.
    pub items: Vec<T>,
    /// Where the next page begins, as the answering side likes to write it; `None` if this
    /// is the last. Items that come or go between two pages may be missed; none comes twice.
    pub next: Option<String>,
}

/// What a [`Query`] is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Query::Status`].
    Status(Box<view::Status>),
    /// To [`Query::Peers`].
    Peers(Vec<view::Peer>),
    /// To [`Query::Peer`].
    Peer(Box<view::Peer>),
    /// To [`Query::Routes`]; no items if there is no such route.
    Routes(Page<view::Route>),
    /// To [`Query::RouteChanges`].
    RouteChanges(Box<view::RouteChanges>),
    /// To [`Query::Dump`].
    Dump(Box<view::TableDump>),
    /// To [`Query::RoutesIn`] and [`Query::RoutesOut`].
    Paths(Page<view::Path>),
    /// To [`Query::Rejected`].
    Rejected(Page<view::Rejected>),
    /// To [`Query::Kernel`].
    Kernel(Page<view::KernelRoute>),
    /// To [`Query::ConfigShow`].
    Config(Box<view::Config>),
    /// To [`Query::Reload`].
    Reload(Box<view::Reload>),
    /// To the changes of a peer.
    Done(view::Done),
    /// To [`Query::Drain`], [`Query::Undrain`] and [`Query::DrainState`].
    Drain(Box<view::Drain>),
    /// To [`PolicyQuery::List`].
    Policies(Page<view::Policy>),
    /// To [`PolicyQuery::Show`].
    Policy(Box<view::Policy>),
    /// To [`PolicyQuery::For`].
    PodPolicies(Box<view::PodPolicies>),
    /// To [`PolicyQuery::Matrix`].
    Matrix(Box<view::Matrix>),
    /// To [`PolicyQuery::Lint`].
    Findings(Vec<view::Finding>),
    /// To [`PolicyQuery::Hits`].
    Hits(Vec<view::RuleHits>),
    /// To [`PolicyQuery::Endpoints`].
    Endpoints(Vec<view::Endpoint>),
    /// To [`PolicyQuery::Explain`].
    Explanation(Box<view::Explanation>),
    /// To [`PolicyQuery::Flows`].
    Flows(Page<view::DeniedFlow>),
    /// To [`Query::Cni`]; no command asks for it.
    Cni(CniAnswer),
    /// What became of tests; no agent is asked for it.
    TestReport(Box<view::PolicyTestReport>),
}

impl Answer {
    /// Takes out where the next page begins, if there is one.
    pub fn take_next(&mut self) -> Option<String> {
        match self {
            Answer::Routes(page) => page.next.take(),
            Answer::Paths(page) => page.next.take(),
            Answer::Rejected(page) => page.next.take(),
            Answer::Kernel(page) => page.next.take(),
            Answer::Policies(page) => page.next.take(),
            Answer::Flows(page) => page.next.take(),
            Answer::Dump(page) => page.next.take(),
            Answer::Status(_)
            | Answer::Peers(_)
            | Answer::Peer(_)
            | Answer::RouteChanges(_)
            | Answer::Config(_)
            | Answer::Reload(_)
            | Answer::Done(_)
            | Answer::Drain(_)
            | Answer::Policy(_)
            | Answer::PodPolicies(_)
            | Answer::Matrix(_)
            | Answer::Findings(_)
            | Answer::Hits(_)
            | Answer::Endpoints(_)
            | Answer::Explanation(_)
            | Answer::Cni(_)
            | Answer::TestReport(_) => None,
        }
    }
}

/// Why there is no answer; the text is a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no such thing, for instance no such peer. Names what there is.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be done in the present state.
    #[error("{0}")]
    Conflict(String),
    /// The agent is starting or stopping.
    #[error("{0}")]
    Unavailable(String),
}

/// A question and where its answer goes; sent over a bounded channel to whoever answers.
/// A dropped reply means that the agent is stopping.
pub type Request = (Query, oneshot::Sender<Result<Answer, Failure>>);
