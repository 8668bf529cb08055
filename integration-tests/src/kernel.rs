//! What the kernel of a namespace holds, and what happens to it.

use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Netns;
use crate::process::Process;
use crate::wait::{SOON, met, until};

/// The protocol number of brindle's routes.
pub const PROTOCOL: &str = "98";

/// A route of the kernel's main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Its prefix, `default` spelled out.
    pub prefix: String,
    /// `unicast`, `unreachable`, ...
    pub kind: String,
    /// Its gateways, in order; empty for an interface route.
    pub gateways: Vec<String>,
    /// Its metric.
    pub metric: u64,
}

/// All routes of one protocol number, both families, sorted.
///
/// # Panics
/// If `ip` fails.
pub fn routes(netns: &Netns, protocol: &str) -> Vec<Route> {
    let mut routes = Vec::new();
    for family in ["-4", "-6"] {
        let text = netns.ip(&format!("-j -N -d {family} route show proto {protocol}"));
        let text = text.expect("ip can list routes");
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        routes.extend(list.as_array().into_iter().flatten().map(route));
    }
    routes.sort();
    routes
}

fn route(value: &Value) -> Route {
    let text = |value: &Value| value.as_str().map(String::from);
    let gateway = |hop: &Value| text(&hop["gateway"]).or_else(|| text(&hop["via"]["host"]));
    let hops = value["nexthops"].as_array().into_iter().flatten();
    let prefix = match value["dst"].as_str() {
        Some("default") | None => "default".to_owned(),
        Some(prefix) if prefix.contains('/') => prefix.to_owned(),
        Some(address) if address.contains(':') => format!("{address}/128"),
        Some(address) => format!("{address}/32"),
    };
    Route {
        prefix,
        // With -N, ip prints the number of a kind; 1 is unicast, 7 unreachable, 6 blackhole.
        kind: match text(&value["type"]).as_deref() {
            None | Some("1") => "unicast".into(),
            Some("6") => "blackhole".into(),
            Some("7") => "unreachable".into(),
            Some(other) => other.into(),
        },
        gateways: hops.filter_map(&gateway).chain(gateway(value)).collect(),
        metric: value["metric"].as_u64().unwrap_or(0),
    }
}

/// `ip monitor route` in a namespace: every change of a route while it runs.
#[derive(Debug)]
pub struct Monitor {
    process: Process,
    netns: Arc<Netns>,
    _folder: TempDir,
}

impl Monitor {
    /// Starts it and waits until it sees changes.
    ///
    /// # Panics
    /// If `ip` cannot be started.
    pub fn start(netns: &Arc<Netns>) -> Self {
        let folder = TempDir::new().expect("a folder for temporary files can be made");
        let args = ["-N", "monitor", "route"];
        let process = Process::start(netns, "monitor", folder.path(), "ip", args);
        let process = process.expect("ip can be started");
        let monitor = Self { process, netns: netns.clone(), _folder: folder };
        monitor.mark("198.18.255.253/32");
        monitor
    }

    /// The lines so far that name a route of `protocol`.
    ///
    /// # Panics
    /// If `ip` does not see a change any more.
    pub fn changes(&self, protocol: &str) -> Vec<String> {
        self.mark("198.18.255.254/32");
        let wanted = format!(" proto {protocol} ");
        let output = self.process.output();
        output
            .lines()
            .filter(|line| format!("{line} ").contains(&wanted))
            .map(String::from)
            .collect()
    }

    /// Makes a change of our own and waits until it is seen: everything before is, too.
    fn mark(&self, prefix: &str) {
        let count = || self.process.output().matches("198.18.255.25").count();
        let before = count();
        until("ip monitor sees a mark", SOON, || {
            self.netns
                .ip(&format!("route replace unreachable {prefix} proto 99 metric 4242"))
                .map_err(|error| format!("{error:#}"))?;
            self.netns
                .ip(&format!("route del unreachable {prefix} proto 99 metric 4242"))
                .map_err(|error| format!("{error:#}"))?;
            met(count() > before, || "nothing".into())
        });
    }
}
