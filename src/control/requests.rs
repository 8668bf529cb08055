//! Questions as addresses: `GET /v1/peers/tor-a/routes/in?limit=10`, both ways.

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use super::{
    FlowQuestion, MAX_CHANGES_WAIT, MAX_PAGE, PageRequest, PolicyQuery, Query, RouteFilter, view,
};
use crate::flow::Service;

/// Longest text to a peer whose session is shut down (RFC 9003 §2), in octets.
const MAX_SHUTDOWN_TEXT: usize = 255;

/// The longest that a drain may be told to wait for traffic to go elsewhere.
const MAX_DRAIN_WAIT: Duration = Duration::from_secs(3600);

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
    wait_seconds: Option<f64>,
    namespace: Option<String>,
    pod: Option<String>,
    source: Option<String>,
    destination: Option<String>,
    port: Option<String>,
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

    fn flow(&mut self) -> Result<FlowQuestion, String> {
        let end = |name: &str, given: &mut Option<String>| match given.take() {
            Some(text) => text.parse().map_err(|bad| format!("{name}: {bad}")),
            None => Err(format!("{name} is missing: the pod, node or address")),
        };
        Ok(FlowQuestion {
            source: end("source", &mut self.source)?,
            destination: end("destination", &mut self.destination)?,
            service: self.service()?.unwrap_or_default(),
            family: self.family.take(),
        })
    }

    fn service(&mut self) -> Result<Option<Service>, String> {
        let text = self.port.take();
        text.map(|text| text.parse().map_err(|bad| format!("port: {bad}"))).transpose()
    }

    fn wait(&mut self, most: Duration) -> Result<Option<Duration>, String> {
        let Some(seconds) = self.wait_seconds.take() else { return Ok(None) };
        match Duration::try_from_secs_f64(seconds) {
            Ok(wait) if wait <= most => Ok(Some(wait)),
            Ok(_) | Err(_) => {
                let most = most.as_secs();
                Err(format!("waitSeconds: {seconds} is out of range; accepted are 0 to {most}"))
            }
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

/// Makes the question of an address out of the peer, policy or pod that its path names (else
/// empty) and its parameters, taking those that it understands.
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
        path: "/v1/routes/changes",
        read: |_, given| {
            let (filter, after) = (given.filter()?, given.after.take());
            let wait = given.wait(MAX_CHANGES_WAIT)?.unwrap_or_default();
            Ok(Query::RouteChanges { filter, after, wait })
        },
    },
    Entry {
        path: "/v1/routes/dump",
        read: |_, given| {
            let family = given.family.take().map(Into::into);
            Ok(Query::Dump(family, given.page()))
        },
    },
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
    Entry { path: "/v1/drain", read: |_, _| Ok(Query::DrainState) },
    Entry {
        path: "/v1/drain/begin",
        read: |_, given| {
            Ok(Query::Drain { wait: given.wait(MAX_DRAIN_WAIT)?, message: given.message()? })
        },
    },
    Entry { path: "/v1/drain/end", read: |_, _| Ok(Query::Undrain) },
    Entry { path: "/v1/config", read: |_, _| Ok(Query::ConfigShow) },
    Entry { path: "/v1/config/reload", read: |_, _| Ok(Query::Reload) },
    Entry {
        path: "/v1/policies",
        read: |_, given| Ok(Query::Policy(PolicyQuery::List(given.namespace.take(), given.page()))),
    },
    // What stands for a peer elsewhere is here the policy's or the pod's `namespace/name`.
    Entry {
        path: "/v1/policies/{policy}",
        read: |name, _| Ok(Query::Policy(PolicyQuery::Show(name))),
    },
    Entry {
        path: "/v1/pods/{pod}/policies",
        read: |pod, _| Ok(Query::Policy(PolicyQuery::For(pod))),
    },
    Entry {
        path: "/v1/policy/matrix",
        read: |_, given| {
            let (namespace, service) = (given.namespace.take(), given.service()?);
            Ok(Query::Policy(PolicyQuery::Matrix { namespace, service }))
        },
    },
    Entry { path: "/v1/policy/lint", read: |_, _| Ok(Query::Policy(PolicyQuery::Lint)) },
    Entry { path: "/v1/policy/hits", read: |_, _| Ok(Query::Policy(PolicyQuery::Hits)) },
    Entry {
        path: "/v1/endpoints",
        read: |_, given| Ok(Query::Policy(PolicyQuery::Endpoints(given.pod.take()))),
    },
    Entry {
        path: "/v1/explain",
        read: |_, given| Ok(Query::Policy(PolicyQuery::Explain(given.flow()?))),
    },
    Entry {
        path: "/v1/flows",
        read: |_, given| Ok(Query::Policy(PolicyQuery::Flows(given.pod.take(), given.page()))),
    },
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
            address.filter(filter);
            address.page(page);
        }
        Query::RouteChanges { filter, after, wait } => {
            address.path(&["routes", "changes"]);
            address.filter(filter);
            address.give_some("after", after.as_deref());
            if !wait.is_zero() {
                address.give("waitSeconds", &wait.as_secs_f64().to_string());
            }
        }
        Query::Dump(family, page) => {
            address.path(&["routes", "dump"]);
            address.filter(&RouteFilter::All(*family));
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
        Query::Policy(query) => address.policy(query),
        Query::Cni(query) => address.path(query.path()),
        Query::ConfigShow => address.path(&["config"]),
        Query::Reload => address.path(&["config", "reload"]),
        Query::DrainState => address.path(&["drain"]),
        Query::Drain { wait, message } => {
            address.path(&["drain", "begin"]);
            address.give_some("waitSeconds", wait.map(|w| w.as_secs_f64().to_string()).as_deref());
            address.give_some("message", message.as_deref());
        }
        Query::Undrain => address.path(&["drain", "end"]),
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

    fn filter(&mut self, filter: &RouteFilter) {
        match filter {
            RouteFilter::All(None) => {}
            RouteFilter::All(Some(family)) => self.give("family", &family.to_string()),
            RouteFilter::Exact(prefix) => self.give("prefix", &prefix.to_string()),
            RouteFilter::Longest(holds) => self.give("address", &holds.to_string()),
        }
    }

    fn policy(&mut self, query: &PolicyQuery) {
        match query {
            PolicyQuery::List(namespace, page) => {
                self.path(&["policies"]);
                self.give_some("namespace", namespace.as_deref());
                self.page(page);
            }
            PolicyQuery::Show(name) => self.path(&["policies", name]),
            PolicyQuery::For(pod) => self.path(&["pods", pod, "policies"]),
            PolicyQuery::Matrix { namespace, service } => {
                self.path(&["policy", "matrix"]);
                self.give_some("namespace", namespace.as_deref());
                self.give_some("port", service.map(Service::written).as_deref());
            }
            PolicyQuery::Lint => self.path(&["policy", "lint"]),
            PolicyQuery::Hits => self.path(&["policy", "hits"]),
            PolicyQuery::Endpoints(pod) => {
                self.path(&["endpoints"]);
                self.give_some("pod", pod.as_deref());
            }
            PolicyQuery::Explain(flow) => {
                self.path(&["explain"]);
                self.give("source", &flow.source.to_string());
                self.give("destination", &flow.destination.to_string());
                self.give("port", &flow.service.written());
                self.give_some("family", flow.family.map(|f| f.to_string()).as_deref());
            }
            PolicyQuery::Flows(pod, page) => {
                self.path(&["flows"]);
                self.give_some("pod", pod.as_deref());
                self.page(page);
            }
        }
    }

    fn give_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.give(name, value);
        }
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
