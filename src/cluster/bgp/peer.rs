//! What a BGPPeer asks for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use brindle_bgp::fsm::RestartTime;
use brindle_bgp::msg::HoldTime;
use brindle_bgp::net::{Asn, Family};
use brindle_bgp::rib::NextHopMode;
use brindle_config::PeerExtras;
use brindle_policy::selector::Expr;

use super::api::{BgpPeerSpec, NumberOrText};
use super::read::Judged;

/// A BGPPeer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpPeer {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `node` and `nodeSelector`: who has the sessions.
    pub whose: Whose,
    /// `peerIP` with `asNumber`, or `peerSelector`: with whom.
    pub remote: Remote,
    /// `localASNumber`.
    pub local_asn: Option<Asn>,
    /// `nextHopMode`; `None` if it is left out.
    pub next_hop_mode: Option<NextHopMode>,
    /// `keepOriginalNextHop`, which says something for external peers and without `nextHopMode`.
    pub keep_original_next_hop: bool,
    /// What the annotation [`EXTRAS`] says.
    pub extras: PeerExtras,
    /// `password`.
    pub password: Option<SecretRef>,
    /// `sourceAddress` is not None: sessions are from the node's address.
    pub from_node_address: bool,
    /// `keepaliveTime`, three of which make the hold time.
    pub hold_time: Option<HoldTime>,
    /// `maxRestartTime`.
    pub max_restart_time: Option<RestartTime>,
    /// `numAllowedLocalASNumbers`.
    pub allowed_own_asn: u8,
    /// `ttlSecurity`: the most hops to the peer; `None` does not look.
    pub ttl_security: Option<u8>,
    /// `reachableBy`.
    pub reachable_by: Option<IpAddr>,
    /// `filters`, in order.
    pub filters: Vec<Arc<str>>,
}

/// Who has sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Every node.
    Everybody,
    /// The node of this name.
    Node(Arc<str>),
    /// The nodes with such labels.
    Selected(Expr),
}

/// With whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A router.
    Router {
        /// Its address.
        address: IpAddr,
        /// Its port; `None` for 179, or the one that a node there listens on.
        port: Option<u16>,
        /// Its AS.
        asn: Asn,
    },
    /// The nodes with such labels.
    Nodes {
        /// Which.
        selected: Expr,
        /// Whether these have the session by this object too.
        both_ways: bool,
    },
}

/// A value of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef {
    /// The Secret, in our namespace.
    pub name: Arc<str>,
    /// The key within its data.
    pub key: Arc<str>,
    /// Whether it need not be there.
    pub optional: bool,
}

/// The annotation with keys of `bgp.peers` that are no fields of a BGPPeer.
pub const EXTRAS: &str = "brindle.dev/peer";

/// Reads the spec, and the text of the annotation [`EXTRAS`]; `None` if it cannot be told with
/// whom.
pub(super) fn read(
    name: Arc<str>,
    spec: &BgpPeerSpec,
    extras: Option<&str>,
    judged: &mut Judged,
) -> Option<BgpPeer> {
    let modes = [
        ("Auto", NextHopMode::Auto),
        ("Self", NextHopMode::SelfAddress),
        ("Keep", NextHopMode::Keep),
    ];
    let mode = judged.word("spec.nextHopMode", spec.next_hop_mode.as_deref(), &modes);
    let local_asn = spec.local_as_number.as_ref();
    let local_asn = local_asn.and_then(|asn| judged.as_number("spec.localASNumber", asn));
    let sources = [("UseNodeIP", true), ("None", false)];
    let source = judged.word("spec.sourceAddress", spec.source_address.as_deref(), &sources);
    let (whose, remote) = (whose(spec, judged), remote(spec, judged));
    let extras = read_extras(extras, judged);
    if let (true, Some(Remote::Nodes { both_ways: true, .. })) = (extras.passive, &remote) {
        let message = "passive: with peerSelector both ends would wait for the other; accepted \
                       with reversePeering: Manual";
        judged.refuse(extras_field(), message);
    }
    let ttl_security = judged.number("spec.ttlSecurity", spec.ttl_security, (0, 255));
    Some(BgpPeer {
        name,
        whose,
        local_asn,
        next_hop_mode: mode,
        keep_original_next_hop: spec.keep_original_next_hop == Some(true),
        extras,
        password: judged.password("spec.password", spec.password.as_ref()),
        from_node_address: source.unwrap_or(true),
        hold_time: hold_time(spec, judged),
        max_restart_time: judged
            .restart_time("spec.maxRestartTime", spec.max_restart_time.as_deref()),
        allowed_own_asn: judged
            .number("spec.numAllowedLocalASNumbers", spec.num_allowed_local_as_numbers, (0, 255))
            .unwrap_or_default(),
        // Zero is as good as left out, as Calico has it; 255 lets everything in.
        ttl_security: ttl_security.filter(|hops| *hops > 0),
        reachable_by: reachable_by(spec, remote.as_ref(), judged),
        filters: spec.filters.iter().flatten().map(|name| Arc::from(&**name)).collect(),
        remote: remote?,
    })
}

fn extras_field() -> String {
    format!("metadata.annotations[{EXTRAS}]")
}

fn read_extras(text: Option<&str>, judged: &mut Judged) -> PeerExtras {
    let read =
        text.map_or_else(|| Ok(PeerExtras::default()), |text| PeerExtras::from_yaml("line", text));
    read.unwrap_or_else(|problems| {
        for problem in problems {
            let at = if problem.path.is_empty() { "" } else { ": " };
            let message =
                format!("line {}: {}{at}{}", problem.place.line, problem.path, problem.message);
            judged.refuse(extras_field(), message);
        }
        PeerExtras::default()
    })
}

fn whose(spec: &BgpPeerSpec, judged: &mut Judged) -> Whose {
    match (said(spec.node.as_ref()), said(spec.node_selector.as_ref())) {
        (Some(_), Some(_)) => {
            judged.refuse("spec.nodeSelector", "goes without spec.node; leave one of them out");
            Whose::Everybody
        }
        (Some(node), None) => Whose::Node(node.into()),
        (None, Some(selector)) => Whose::Selected(judged.selector("spec.nodeSelector", selector)),
        (None, None) => Whose::Everybody,
    }
}

fn remote(spec: &BgpPeerSpec, judged: &mut Judged) -> Option<Remote> {
    let ways = [("Auto", true), ("Manual", false)];
    let both_ways = judged.word("spec.reversePeering", spec.reverse_peering.as_deref(), &ways);
    if said(spec.local_workload_selector.as_ref()).is_some() {
        judged.refuse(
            "spec.localWorkloadSelector",
            "sessions with pods are not supported; accepted are peerIP and peerSelector",
        );
        return None;
    }
    let selector = said(spec.peer_selector.as_ref());
    let Some(text) = said(spec.peer_ip.as_ref()) else {
        let Some(selector) = selector else {
            judged.refuse("spec.peerIP", "is missing; accepted are peerIP and peerSelector");
            return None;
        };
        // Calico takes zero for one that is left out.
        if spec.as_number.as_ref().is_some_and(|asn| *asn != NumberOrText::Number(0)) {
            let message = "goes without spec.peerSelector: nodes say themselves which AS is theirs";
            judged.refuse("spec.asNumber", message);
        }
        let selected = judged.selector("spec.peerSelector", selector);
        return Some(Remote::Nodes { selected, both_ways: both_ways.unwrap_or(true) });
    };
    if selector.is_some() {
        judged.refuse("spec.peerSelector", "goes without spec.peerIP; leave one of them out");
    }
    if both_ways.is_some() {
        judged.refuse("spec.reversePeering", "goes with spec.peerSelector only; leave it out");
    }
    let place = place(text);
    if let Err(message) = &place {
        judged.refuse("spec.peerIP", message);
    }
    let asn = match &spec.as_number {
        Some(asn) => judged.as_number("spec.asNumber", asn),
        None => {
            judged.refuse("spec.asNumber", "is missing; a peerIP goes with the AS of the peer");
            None
        }
    };
    let (address, port) = place.ok()?;
    Some(Remote::Router { address, port, asn: asn? })
}

/// `192.0.2.1`, `192.0.2.1:1179`, `2001:db8::1`, `[2001:db8::1]:1179`.
fn place(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let (address, port) = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(address), _) => (address, None),
        (Err(_), Ok(both)) if both.port() > 0 => (both.ip(), Some(both.port())),
        _ => {
            return Err(format!(
                "{text:?} is no address of a peer; accepted are such as 192.0.2.1, \
                 192.0.2.1:1179, 2001:db8::1 and [2001:db8::1]:1179"
            ));
        }
    };
    let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let is_mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if address.is_unspecified() || address.is_multicast() || is_link_local || is_mapped {
        return Err(format!("{address}: accepted is a unicast address that is not link-local"));
    }
    Ok((address, port))
}

fn hold_time(spec: &BgpPeerSpec, judged: &mut Judged) -> Option<HoldTime> {
    let keepalive = judged.time("spec.keepaliveTime", spec.keepalive_time.as_deref())?;
    let seconds = keepalive.as_secs().checked_mul(3).and_then(|seconds| seconds.try_into().ok());
    let hold = seconds.filter(|seconds: &u16| *seconds > 0);
    let hold = hold.and_then(|seconds| HoldTime::from_secs(seconds).ok());
    if hold.is_none() {
        judged.refuse("spec.keepaliveTime", format!("{keepalive:?}: accepted are 1s to 21845s"));
    }
    hold
}

fn reachable_by(
    spec: &BgpPeerSpec,
    remote: Option<&Remote>,
    judged: &mut Judged,
) -> Option<IpAddr> {
    let field = "spec.reachableBy";
    let text = said(spec.reachable_by.as_ref())?;
    let Ok(gateway) = text.parse::<IpAddr>() else {
        judged.refuse(field, format!("{text:?} is no address; accepted are such as 192.0.2.254"));
        return None;
    };
    match remote {
        Some(Remote::Router { address, .. }) if Family::of(*address) == Family::of(gateway) => {}
        Some(Remote::Router { address, .. }) => {
            judged.refuse(field, format!("{gateway} is of another family than peerIP, {address}"));
        }
        Some(Remote::Nodes { .. }) => judged.refuse(field, "goes with spec.peerIP only"),
        None => {}
    }
    Some(gateway)
}

/// A text that says something: Calico takes an empty one for one that is left out.
fn said(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.trim().is_empty())
}
