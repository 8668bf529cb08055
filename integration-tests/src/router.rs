//! Others' routers behind one trait, so that a test is written once and runs against all.

use std::net::IpAddr;

use crate::bird::Bird;
use crate::frr::{self, Frr};
use crate::gobgp::Gobgp;
use crate::netns::Host;
use crate::skip;

/// The implementations that brindle is tested against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BIRD 2.
    Bird,
    /// FRR's bgpd and zebra.
    Frr,
    /// GoBGP.
    Gobgp,
}

/// What a router is told at its start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its AS.
    pub asn: u32,
    /// Whom it talks to.
    pub neighbors: Vec<Neighbor>,
    /// Prefixes that it originates, of either family.
    pub originate: Vec<String>,
}

/// A neighbour of a router. The session carries the family of its addresses.
#[derive(Clone, Debug)]
pub struct Neighbor {
    /// Where it is.
    pub address: IpAddr,
    /// Its AS.
    pub asn: u32,
    /// Reflect to and from it (RFC 4456). Only BIRD and GoBGP are told.
    pub is_client: bool,
    /// Keep its routes over its restarts (RFC 4724), and have them in the kernel, where the
    /// router needs to be told.
    pub keeps: bool,
    /// Sign the session with this (TCP MD5).
    pub password: Option<&'static str>,
    /// Take only packets from one hop away, and send such (RFC 5082). GoBGP is not told.
    pub ttl_security: bool,
    /// Wait to be connected to.
    pub passive: bool,
    /// Tell it every path of a prefix, and take several from it (RFC 7911).
    pub add_paths: bool,
}

impl Neighbor {
    /// A neighbour like any other.
    pub fn new(address: impl Into<IpAddr>, asn: u32) -> Self {
        Self {
            address: address.into(),
            asn,
            is_client: false,
            keeps: false,
            password: None,
            ttl_security: false,
            passive: false,
            add_paths: false,
        }
    }
}

/// A session as a router shows it.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Whether it is established.
    pub up: bool,
    /// All that the router says about it, for messages and to look for reasons in.
    pub text: String,
}

/// A route as a router shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// AS_PATH, nearest first.
    pub as_path: Vec<u32>,
    /// The next hop.
    pub next_hop: IpAddr,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// COMMUNITIES, as `64512:1`.
    pub communities: Vec<String>,
    /// LARGE_COMMUNITY, as `64512:1:2`.
    pub large_communities: Vec<String>,
}

/// What a test asks of a router.
pub trait Router {
    /// The session with `neighbor`.
    fn session(&self, neighbor: IpAddr) -> Session;

    /// The best route to a prefix learned by BGP; `None` if there is none.
    fn route(&self, prefix: &str) -> Option<Seen>;

    /// The next hops of all paths to a prefix that it has, sorted.
    fn next_hops(&self, prefix: &str) -> Vec<IpAddr>;

    /// How many routes it has learned from `neighbor`.
    fn learned(&self, neighbor: IpAddr) -> usize;

    /// Announces one more prefix.
    fn originate(&mut self, prefix: &str);

    /// Announces a prefix no more.
    fn withdraw(&mut self, prefix: &str);

    /// Ends the session with `neighbor` by the operator's will, with the words given.
    fn shut(&mut self, neighbor: IpAddr, words: &str);

    /// Kills it with SIGKILL.
    fn kill(&mut self);

    /// Starts it again after [`Router::kill`], with what it had been told.
    fn start(&mut self);
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Bird, Kind::Frr, Kind::Gobgp];

    /// What must be installed.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Kind::Bird => &["bird", "birdc"],
            Kind::Frr => &["bgpd", "zebra", "vtysh"],
            Kind::Gobgp => &["gobgpd", "gobgp"],
        }
    }

    /// Whether tests with it can run here; if not, says so for `test`.
    #[must_use]
    pub fn can_run(self, test: &str) -> bool {
        let missing = skip::what_is_missing(self.programs());
        skip::unless(
            test,
            match self {
                Kind::Frr => missing.or_else(frr::what_is_missing),
                Kind::Bird | Kind::Gobgp => missing,
            },
        )
    }

    /// Starts one on `host`, listening on its addresses.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(self, host: &Host, plan: Plan) -> Box<dyn Router> {
        match self {
            Kind::Bird => Box::new(Bird::start(host, plan)),
            Kind::Frr => Box::new(Frr::start(host, plan)),
            Kind::Gobgp => Box::new(Gobgp::start(host, plan)),
        }
    }
}

/// Numbers separated by blanks, as looking glasses write AS paths.
pub(crate) fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
