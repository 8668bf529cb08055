//! From a tree to a [`Config`]: every key is asked for here, and every mistake noted.

mod add_paths;
pub(crate) mod auth;
mod bfd;
mod bgp;
mod bmp;
pub(crate) mod cni;
mod drain;
mod dynamic;
pub(crate) mod extras;
mod filter;
pub(crate) mod hosts;
mod limits;
mod node;
mod peer;
mod place;
pub(crate) mod policy;
pub(crate) mod services;
mod telemetry;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Prefix};
use brindle_bgp::rib::PrefixLimits;

use crate::meaning::{
    Auth, Backend, Bgp, ChainedPlugin, Cni, Config, Control, DrainSettings, EstablishedFlows,
    FlowLog, GracefulRestart, HostEndpoints, Node, Policy, Retain, Routes, ServiceSettings, Source,
    Telemetry,
};
use crate::meaning::{HashPolicy, Multipath};
use crate::section::{Good, Item, Report};
use crate::value;
use crate::yaml;

/// The BGP port (RFC 4271 §8.1).
pub(crate) const BGP_PORT: u16 = 179;

pub(crate) use bmp::BMP_PORT;
pub(crate) use dynamic::DEFAULT_LIMIT;
/// Where health and metrics are answered; no other program's (that IANA knows of).
const TELEMETRY_PORT: u16 = 9798;
const MAX_RESILIENT_IDLE: Duration = Duration::from_secs(3600);
const MAX_STARTUP_HOLD: Duration = Duration::from_secs(3600);
/// `source.holdDeletions` where it is left out.
pub(crate) const HOLD_DELETIONS: Duration = Duration::from_secs(60);
const MAX_HOLD_DELETIONS: Duration = Duration::from_secs(3600);
/// `sun_path` has 108 octets, the last of them zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

impl Default for Config {
    /// What an empty file means.
    fn default() -> Self {
        Config {
            node: Node { name: None, addresses: Vec::new(), pod_cidrs: Vec::new() },
            bgp: Bgp {
                enabled: true,
                asn: Asn::new(64512).expect("64512 is not zero"),
                router_id: None,
                listen_addresses: Vec::new(),
                listen_port: BGP_PORT,
                mesh: true,
                retain: Retain::NodeObject,
                mesh_bfd: None,
                mesh_auth: Auth::None,
                hold_time: HoldTime::DEFAULT,
                connect_retry: Duration::from_secs(1),
                graceful_restart: GracefulRestart {
                    enabled: true,
                    time: RestartTime::DEFAULT,
                    long_lived: None,
                },
                max_paths: 16,
                as_path_relax: false,
                mesh_limits: PrefixLimits::NONE,
                mesh_add_paths: false,
                dynamic: Vec::new(),
                peers: Vec::new(),
                networks: Vec::new(),
                services: ServiceSettings::default(),
                prefix_advertisements: Vec::new(),
                drain: DrainSettings::default(),
                bmp: Vec::new(),
            },
            routes: Routes {
                install: true,
                metric: 512,
                forwarding: true,
                hash_policy: None,
                multipath: Multipath::Plain,
                resilient_idle: Duration::from_secs(120),
                startup_hold: Duration::from_secs(60),
            },
            policy: Policy {
                enabled: false,
                backend: Backend::Auto,
                established: EstablishedFlows::Keep,
                masquerade: None,
                flow_log: FlowLog { enabled: true, group: 98, per_second: 10 },
                audit_interval: Duration::from_secs(30),
                hosts: HostEndpoints::default(),
            },
            cni: Cni {
                enabled: false,
                config_dir: PathBuf::from("/etc/cni/net.d"),
                data_dir: PathBuf::from("/var/lib/brindle/cni"),
                mtu: None,
                chain: vec![ChainedPlugin::Portmap, ChainedPlugin::Bandwidth],
            },
            source: None,
            control: Control { socket: PathBuf::from("/run/brindle/brindle.sock") },
            telemetry: Telemetry {
                listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, TELEMETRY_PORT))],
            },
        }
    }
}

/// What `tree` means. All that is wrong goes to `report`; the result counts only if that has
/// no errors afterwards. Unless the tree is `complete`, a name that it does not explain may
/// stand in a file that could not be read, and is let pass.
pub(crate) fn config(tree: &yaml::Node, report: &Report, complete: bool) -> Config {
    let mut config = Config::default();
    let root = Item { node: tree, path: String::new(), report };
    let Some(mut root) = root.section() else { return config };

    let node = root.get("node").map(|item| node::read(&item)).unwrap_or_default();
    config.node = Node {
        name: node.name.clone(),
        addresses: values(&node.addresses),
        pod_cidrs: values(&node.pod_cidrs),
    };
    let bgp = root.get("bgp");
    if let Some(item) = &bgp {
        config.bgp = bgp::read(item, &node, complete);
    }
    if let Some(item) = root.get("routes") {
        config.routes = routes(&item);
    }
    let policy = root.get("policy");
    let cni = root.get("cni");
    let source_item = root.get("source");
    config.source = source_item.as_ref().and_then(source);
    if let Some(item) = bgp.filter(|_| source_item.is_none() && complete)
        && config.bgp.services.all_blocks().next().is_some()
    {
        item.warn("services says nothing without source, which tells what Services there are");
    }
    if let Some(item) = policy {
        config.policy = policy::read(&item, source_item.is_some() || !complete, &config.bgp);
    }
    if let Some(item) = cni {
        let has_ranges = source_item.is_some() || !config.node.pod_cidrs.is_empty();
        config.cni = cni::read(&item, has_ranges || !complete);
    }
    if let Some(item) = root.get("control") {
        config.control = control(&item);
    }
    if let Some(item) = root.get("telemetry") {
        config.telemetry = telemetry::read(&item);
    }
    root.finish();
    config
}

/// What `routes.hashPolicy` accepts.
const HASH_POLICIES: [(&str, HashPolicy); 3] =
    [("l3", HashPolicy::L3), ("l4", HashPolicy::L4), ("inner", HashPolicy::Inner)];

/// What `routes.multipath` accepts.
const MULTIPATHS: [(&str, Multipath); 2] =
    [("plain", Multipath::Plain), ("resilient", Multipath::Resilient)];

fn routes(item: &Item) -> Routes {
    let mut routes = Config::default().routes;
    let Some(mut section) = item.section() else { return routes };
    set(&mut routes.install, section.get("install").and_then(|i| i.boolean()));
    // The kernel takes metric 0 for IPv6 as "1024, please".
    set(&mut routes.metric, section.get("metric").and_then(|i| i.number(1, u32::MAX)));
    set(&mut routes.forwarding, section.get("forwarding").and_then(|i| i.boolean()));
    routes.hash_policy = section.get("hashPolicy").and_then(|item| item.word(&HASH_POLICIES));
    if let (Some(_), false) = (routes.hash_policy, routes.install) {
        section.item.warn("hashPolicy says nothing while install is false");
    }
    set(&mut routes.multipath, section.get("multipath").and_then(|i| i.word(&MULTIPATHS)));
    let is_resilient = routes.multipath == Multipath::Resilient;
    if is_resilient && !routes.install {
        section.item.warn("multipath says nothing while install is false");
    }
    if let Some(item) = section.get("resilientIdle") {
        let idle = value::duration(&item, Duration::ZERO..=MAX_RESILIENT_IDLE);
        set(&mut routes.resilient_idle, idle);
        if !is_resilient {
            item.warn("resilientIdle says nothing unless multipath is resilient");
        }
    }
    let hold = section.get("startupHold");
    let hold = hold.and_then(|i| value::duration(&i, Duration::ZERO..=MAX_STARTUP_HOLD));
    set(&mut routes.startup_hold, hold);
    section.finish();
    routes
}

fn source(item: &Item) -> Option<Source> {
    #[derive(Clone, Copy)]
    enum Kind {
        Files,
        Kubernetes,
    }
    const KINDS: [(&str, Kind); 2] = [("files", Kind::Files), ("kubernetes", Kind::Kubernetes)];
    let mut section = item.section()?;
    let source = match section.need("kind", "kubernetes").and_then(|item| item.word(&KINDS)) {
        Some(Kind::Files) => {
            let path = section.need("path", "/etc/brindle/manifests");
            path.and_then(|item| value::path(&item)).map(|path| Source::Files { path })
        }
        Some(Kind::Kubernetes) => {
            let kubeconfig = section.get("kubeconfig").and_then(|item| value::path(&item));
            let context = section.get("context").and_then(|item| context(&item));
            let hold = section.get("holdDeletions");
            let hold = hold.and_then(|i| value::duration(&i, Duration::ZERO..=MAX_HOLD_DELETIONS));
            let hold_deletions = hold.unwrap_or(HOLD_DELETIONS);
            Some(Source::Kubernetes { kubeconfig, context, hold_deletions })
        }
        // Which keys are right cannot be told.
        None => {
            for key in ["path", "kubeconfig", "context", "holdDeletions"] {
                section.get(key);
            }
            None
        }
    };
    section.finish();
    source
}

fn context(item: &Item) -> Option<String> {
    let text = item.text()?;
    if text.is_empty() {
        item.refuse("is empty; accepted is the name of a context of the kubeconfig");
        return None;
    }
    Some(text.to_owned())
}

fn control(item: &Item) -> Control {
    let mut control = Config::default().control;
    let Some(mut section) = item.section() else { return control };
    if let Some(item) = section.get("socket") {
        let path = value::path(&item);
        let length = path.as_ref().map_or(0, |path| path.as_os_str().len());
        if length > MAX_SOCKET_PATH {
            item.refuse(format!(
                "the path has {length} octets; a UNIX socket takes at most {MAX_SOCKET_PATH}"
            ));
        }
        set(&mut control.socket, path);
    }
    section.finish();
    control
}

/// Takes what was read, if it was.
fn set<T>(field: &mut T, read: Option<T>) {
    if let Some(read) = read {
        *field = read;
    }
}

fn values<T: Clone>(goods: &[Good<T>]) -> Vec<T> {
    goods.iter().map(|good| good.value.clone()).collect()
}

/// Reads a list of prefixes that must not repeat one another; if `apart`, not overlap either.
fn prefixes<'a>(item: &Item<'a>, apart: bool) -> Vec<Good<'a, Prefix>> {
    let goods = item.list(Item::parse::<Prefix>).unwrap_or_default();
    // In the order of addresses, then lengths, whatever a prefix covers stands directly behind
    // it. (Lists may be long: no comparing of pairs.)
    let mut sorted: Vec<(usize, &Good<Prefix>)> = goods.iter().enumerate().collect();
    sorted.sort_by_key(|(index, good)| (good.value, *index));
    let mut wide: Option<(usize, &Good<Prefix>)> = None;
    let mut before: Option<&Good<Prefix>> = None;
    for (index, good) in sorted {
        if let Some(same) = before.filter(|before| before.value == good.value) {
            let place = &same.item.node.place;
            good.item.refuse(format!("{} stands here already, at {place}", good.value));
        } else if let Some((wide_index, wide)) =
            wide.filter(|(_, wide)| apart && wide.value.covers(&good.value))
        {
            // The later one is the one to complain about.
            let (first, later) = if wide_index < index { (wide, good) } else { (good, wide) };
            later.item.refuse(format!(
                "{} overlaps with {} at {}; pod ranges must be apart",
                later.value, first.value, first.item.node.place
            ));
        } else {
            wide = Some((index, good));
        }
        before = Some(good);
    }
    goods
}
