//! Questions as addresses: `GET /v1/peers/tor-a/routes/in?limit=10`, both ways.

use std::fmt::Write;

use serde::Deserialize;

use super::{MAX_PAGE, PageRequest, Query, RouteFilter, view};

/// Longest text to a peer whose session is shut down (RFC 9003 §2), in octets.
const MAX_SHUTDOWN_TEXT: usize = 255;

/// All parameters that an address may carry behind its question mark.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Given {
    prefix: Option<String>,
    address: Option<String>,
    family: Option<view::Family>,
    peer: Option<String>,
    diff: Option<bool>,
    soft_in: Option<bool>,
    soft_out: Option<bool>,
    message: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

impl Given {
    fn page(&mut self) -> PageRequest {
        let limit = self.limit.take().unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        PageRequest { after: self.after.take(), limit }
    }

    fn filter(&mut self) -> Result<RouteFilter, String> {
        match (self.prefix.take(), self.address.take(), self.family.take()) {
            (None, None, family) => Ok(RouteFilter::All(family.map(Into::into))),
            (Some(text), None, None) => match text.parse() {
                Ok(prefix) => Ok(RouteFilter::Exact(prefix)),
                Err(bad) => Err(format!("prefix: {bad}")),
            },
            (None, Some(text), None) => match text.parse() {
                Ok(address) => Ok(RouteFilter::Longest(address)),
                Err(_) => Err(format!("address: {text:?} is not an IP address")),
            },
            _ => Err("of prefix, address and family only one can be asked for".to_owned()),
        }
    }

    fn message(&mut self) -> Result<Option<String>, String> {
        match self.message.take() {
            Some(text) if text.len() > MAX_SHUTDOWN_TEXT => Err(format!(
                "message: it has {} octets; accepted are up to {MAX_SHUTDOWN_TEXT}",
                text.len()
            )),
            message => Ok(message),
        }
    }
}

/// Makes the question of an address out of the peer that its path names (else empty) and its
/// parameters, taking those that it understands.
pub(super) type Read = fn(String, &mut Given) -> Result<Query, String>;

/// One address that can be asked.
pub(super) struct Entry {
    /// Its path; `{peer}` stands for a name or address.
    pub(super) path: &'static str,
    /// What it asks.
    pub(super) read: Read,
}

/// All addresses.
pub(super) const ENTRIES: &[Entry] = &[
    Entry { path: "/v1/status", read: |_, _| Ok(Query::Status) },
    Entry { path: "/v1/peers", read: |_, _| Ok(Query::Peers) },
    Entry { path: "/v1/peers/{peer}", read: |peer, _| Ok(Query::Peer(peer)) },
    Entry {
        path: "/v1/peers/{peer}/routes/in",
        read: |peer, given| Ok(Query::RoutesIn(peer, given.page())),
    },
    Entry {
        path: "/v1/peers/{peer}/routes/out",
        read: |peer, given| Ok(Query::RoutesOut(peer, given.page())),
    },
    Entry {
        path: "/v1/peers/{peer}/reset",
        read: |peer, given| {
            let soft_in = given.soft_in.take().unwrap_or(false);
            let soft_out = given.soft_out.take().unwrap_or(false);
            Ok(Query::PeerReset { peer, soft_in, soft_out })
        },
    },
    Entry { path: "/v1/peers/{peer}/enable", read: |peer, _| Ok(Query::PeerEnable(peer)) },
    Entry {
        path: "/v1/peers/{peer}/disable",
        read: |peer, given| Ok(Query::PeerDisable { peer, message: given.message()? }),
    },
    Entry { path: "/v1/routes", read: |_, given| Ok(Query::Routes(given.filter()?, given.page())) },
    Entry {
        path: "/v1/routes/rejected",
        read: |_, given| Ok(Query::Rejected(given.peer.take(), given.page())),
    },
    Entry {
        path: "/v1/routes/kernel",
        read: |_, given| {
            let only_diff = given.diff.take().unwrap_or(false);
            Ok(Query::Kernel { only_diff, page: given.page() })
        },
    },
    Entry { path: "/v1/config", read: |_, _| Ok(Query::ConfigShow) },
    Entry { path: "/v1/config/reload", read: |_, _| Ok(Query::Reload) },
];

impl Entry {
    /// Whether it changes something, so that it takes a POST.
    pub(super) fn is_change(&self) -> bool {
        (self.read)(String::new(), &mut Given::default()).is_ok_and(|query| query.is_change())
    }
}

/// The question that an address asks; what is wrong with it else. A parameter that means
/// nothing there is told, not passed over: it may be a slip that asks for more than was meant.
pub(super) fn read(read: Read, peer: Option<String>, mut given: Given) -> Result<Query, String> {
    let query = read(peer.unwrap_or_default(), &mut given)?;
    if given != Given::default() {
        return Err("one of the parameters means nothing for this address".to_owned());
    }
    Ok(query)
}

/// The address that asks a question; the way back of [`read`].
pub(super) fn address(query: &Query) -> String {
    let mut address = Address::default();
    match query {
        Query::Status => address.path(&["status"]),
        Query::Peers => address.path(&["peers"]),
        Query::Peer(peer) => address.path(&["peers", peer]),
        Query::Routes(filter, page) => {
            address.path(&["routes"]);
            match filter {
                RouteFilter::All(None) => {}
                RouteFilter::All(Some(family)) => address.give("family", &family.to_string()),
                RouteFilter::Exact(prefix) => address.give("prefix", &prefix.to_string()),
                RouteFilter::Longest(holds) => address.give("address", &holds.to_string()),
            }
            address.page(page);
        }
        Query::RoutesIn(peer, page) => {
            address.path(&["peers", peer, "routes", "in"]);
            address.page(page);
        }
        Query::RoutesOut(peer, page) => {
            address.path(&["peers", peer, "routes", "out"]);
            address.page(page);
        }
        Query::Rejected(peer, page) => {
            address.path(&["routes", "rejected"]);
            if let Some(peer) = peer {
                address.give("peer", peer);
            }
            address.page(page);
        }
        Query::Kernel { only_diff, page } => {
            address.path(&["routes", "kernel"]);
            if *only_diff {
                address.give("diff", "true");
            }
            address.page(page);
        }
        Query::ConfigShow => address.path(&["config"]),
        Query::Reload => address.path(&["config", "reload"]),
        Query::PeerReset { peer, soft_in, soft_out } => {
            address.path(&["peers", peer, "reset"]);
            for (name, is_wanted) in [("softIn", soft_in), ("softOut", soft_out)] {
                if *is_wanted {
                    address.give(name, "true");
                }
            }
        }
        Query::PeerEnable(peer) => address.path(&["peers", peer, "enable"]),
        Query::PeerDisable { peer, message } => {
            address.path(&["peers", peer, "disable"]);
            if let Some(message) = message {
                address.give("message", message);
            }
        }
    }
    address.0
}

/// An address in the making.
#[derive(Default)]
struct Address(String);

impl Address {
    fn path(&mut self, segments: &[&str]) {
        self.0.push_str("/v1");
        for segment in segments {
            self.0.push('/');
            self.escaped(segment);
        }
    }

    fn give(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.escaped(value);
    }

    fn page(&mut self, page: &PageRequest) {
        if let Some(after) = &page.after {
            self.give("after", after);
        }
        if page.limit != MAX_PAGE {
            self.give("limit", &page.limit.to_string());
        }
    }

    /// Percent-encodes all but the unreserved characters (RFC 3986 §2.1, §2.3).
    fn escaped(&mut self, text: &str) {
        for octet in text.bytes() {
            match octet {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    self.0.push(octet.into());
                }
                _ => write!(self.0, "%{octet:02X}").expect("a String takes everything"),
            }
        }
    }
}
