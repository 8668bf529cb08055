//! From the values of BGP and of the kernel to what is shown.

use brindle_bgp::msg;
use brindle_bgp::{fsm, net, rib};

use super::{
    Attributes, Family, Forwarding, Hop, KernelRoute, KernelState, PathStatus, SessionState,
    Target, UnknownAttribute,
};
use crate::fib;

impl From<net::Family> for Family {
    fn from(family: net::Family) -> Self {
        match family {
            net::Family::Ipv4Unicast => Family::Ipv4,
            net::Family::Ipv6Unicast => Family::Ipv6,
        }
    }
}

impl From<Family> for net::Family {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => net::Family::Ipv4Unicast,
            Family::Ipv6 => net::Family::Ipv6Unicast,
        }
    }
}

impl From<fsm::State> for SessionState {
    fn from(state: fsm::State) -> Self {
        match state {
            fsm::State::Idle => SessionState::Idle,
            fsm::State::Connect => SessionState::Connect,
            fsm::State::Active => SessionState::Active,
            fsm::State::OpenSent => SessionState::OpenSent,
            fsm::State::OpenConfirm => SessionState::OpenConfirm,
            fsm::State::Established => SessionState::Established,
        }
    }
}

impl From<fib::ForwardingState> for Forwarding {
    fn from(state: fib::ForwardingState) -> Self {
        match state {
            fib::ForwardingState::Unknown => Forwarding::Unknown,
            fib::ForwardingState::Off => Forwarding::Off,
            fib::ForwardingState::On => Forwarding::On,
            fib::ForwardingState::SwitchedOn => Forwarding::SwitchedOn,
        }
    }
}

impl From<&msg::Attributes> for Attributes {
    fn from(attributes: &msg::Attributes) -> Self {
        Attributes {
            origin: attributes.origin.to_string(),
            as_path: attributes.as_path.to_string(),
            med: attributes.med,
            local_pref: attributes.local_pref,
            atomic_aggregate: attributes.atomic_aggregate,
            aggregator: attributes.aggregator.map(|by| format!("{} {}", by.asn, by.address)),
            communities: texts(&attributes.communities),
            extended_communities: texts(&attributes.extended_communities),
            large_communities: texts(&attributes.large_communities),
            only_to_customer: attributes.only_to_customer,
            originator_id: attributes.originator_id.map(|id| id.to_string()),
            cluster_list: texts(&attributes.cluster_list),
            unknown: attributes
                .unknown
                .iter()
                .map(|unknown| UnknownAttribute {
                    code: unknown.code,
                    value: unknown.value.iter().map(|octet| format!("{octet:02x}")).collect(),
                })
                .collect(),
        }
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

impl PathStatus {
    /// The status of a path, and the reason for it in words where it is not used.
    pub fn of(status: &rib::PathStatus) -> (Self, Option<String>) {
        match status {
            rib::PathStatus::Best => (PathStatus::Best, None),
            rib::PathStatus::Multipath => (PathStatus::Multipath, None),
            rib::PathStatus::Lost(reason) => (PathStatus::Lost, Some(lost_by(*reason).to_owned())),
            rib::PathStatus::Unreachable => (PathStatus::Unreachable, Some(UNREACHABLE.to_owned())),
            rib::PathStatus::Refused(refusal) => {
                let (_, reason) = refusal_words(refusal);
                (PathStatus::Refused, Some(reason))
            }
        }
    }
}

const UNREACHABLE: &str = "its next hop is not reached: no route leads there, or its link is down";

/// What the better path has that this one has not.
fn lost_by(reason: rib::Reason) -> &'static str {
    match reason {
        rib::Reason::Local => "the best is our own",
        rib::Reason::Stale => "the best is from a session that is up",
        rib::Reason::LocalPref => "the best has a higher local preference",
        rib::Reason::AsPathLength => "the best has a shorter AS path",
        rib::Reason::Origin => "the best has a lower origin",
        rib::Reason::Med => "the best has a lower MED",
        rib::Reason::ExternalOverInternal => "the best is from another AS, this one from ours",
        rib::Reason::IgpCost => "the best has a nearer next hop",
        rib::Reason::RouterId => "the best has a lower router id",
        rib::Reason::ClusterListLength => "the best has a shorter cluster list",
        rib::Reason::PeerAddress => "the best is from a lower peer address",
        rib::Reason::PathId => "the best has a lower path identifier",
    }
}

/// What refused a path (for the column RULE and for counting) and why, a sentence.
pub fn refusal_words(refusal: &rib::Refusal) -> (String, String) {
    let (rule, reason) = match refusal {
        rib::Refusal::AsLoop => ("as-loop", "our AS stands in its AS path"),
        rib::Refusal::OriginatorLoop => ("originator-loop", "we are its originator"),
        rib::Refusal::ClusterLoop => ("cluster-loop", "our cluster stands in its cluster list"),
        rib::Refusal::Unfiltered => (
            "no-filter",
            "an external peer without importFilters: set them, or [] to accept everything",
        ),
        rib::Refusal::NotOwned => ("mesh-ownership", "the node behind the peer does not own it"),
        rib::Refusal::WrongFirstAs => {
            ("first-as", "its AS path does not begin with the AS of the peer")
        }
        rib::Refusal::Filter(name, Some(rule)) => {
            // Rules are counted from one here: people read the list from the top.
            let rule = rule + 1;
            return (format!("filter {name}"), format!("rejected by rule {rule} of {name}"));
        }
        rib::Refusal::Filter(name, None) => {
            return (format!("filter {name}"), format!("no rule of {name} accepts it"));
        }
        rib::Refusal::RouteLeak(asn) => {
            return (
                "route-leak".to_owned(),
                format!("route leak (OTC {asn}): AS {asn} meant it for customers only"),
            );
        }
        rib::Refusal::BadNextHop(address) => {
            return (
                "next-hop".to_owned(),
                format!("its next hop {address} is ours, or no address of a neighbour"),
            );
        }
    };
    (rule.to_owned(), reason.to_owned())
}

impl KernelRoute {
    /// A route of the fib.
    pub fn of(route: &fib::RouteView) -> Self {
        let wanted = target(&route.wanted, Some(&route.interfaces));
        // Interfaces are those of what is wanted, or of what is there if nothing is; the same
        // next hops leave the same way.
        let same = route.wanted == route.installed || route.wanted == rib::Forwarding::None;
        let installed = target(&route.installed, same.then_some(&route.interfaces));
        let state = match (&route.wanted, &route.installed) {
            (wanted, installed) if wanted == installed => KernelState::Installed,
            (rib::Forwarding::None, _) => KernelState::Stale,
            (_, rib::Forwarding::None) => KernelState::Missing,
            // The kernel has the gateways by which the next hops are reached.
            _ if route.problem.is_none() => KernelState::Installed,
            _ => KernelState::Different,
        };
        Self { prefix: route.prefix, wanted, installed, state, problem: route.problem.clone() }
    }
}

fn target(
    forwarding: &rib::Forwarding,
    interfaces: Option<&Vec<std::sync::Arc<str>>>,
) -> Option<Target> {
    match forwarding {
        rib::Forwarding::None => None,
        rib::Forwarding::Local => Some(Target::Local),
        rib::Forwarding::Via(next_hops) => {
            let interface = |index: usize| interfaces.and_then(|names| names.get(index));
            let hops = next_hops.iter().enumerate().map(|(index, next_hop)| Hop {
                address: next_hop.address(),
                interface: interface(index).map(ToString::to_string),
            });
            Some(Target::Via { next_hops: hops.collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_route_to_a_next_hop_behind_a_gateway_is_as_wanted() {
        let via =
            |address: &str| rib::Forwarding::Via(vec![address.parse::<IpAddr>().unwrap().into()]);
        for (installed, problem, want) in [
            (via("192.0.2.1"), None, KernelState::Installed),
            (via("10.0.0.254"), None, KernelState::Installed),
            (via("10.0.0.254"), Some("in part".to_owned()), KernelState::Different),
            (rib::Forwarding::None, Some("missing".to_owned()), KernelState::Missing),
        ] {
            let view = fib::RouteView {
                prefix: "10.244.2.0/24".parse().unwrap(),
                wanted: via("192.0.2.1"),
                installed: installed.clone(),
                interfaces: vec!["eth0".into()],
                problem,
            };
            assert_eq!(KernelRoute::of(&view).state, want, "{installed:?}");
        }
    }

    #[test]
    fn a_leftover_is_shown_with_its_interface() {
        let next_hop = msg::NextHop::Link { address: "fe80::1".parse().unwrap(), link: 2 };
        let view = fib::RouteView {
            prefix: "10.244.2.0/24".parse().unwrap(),
            wanted: rib::Forwarding::None,
            installed: rib::Forwarding::Via(vec![next_hop]),
            interfaces: vec!["eth1".into()],
            problem: Some("leftover".to_owned()),
        };
        let shown = KernelRoute::of(&view);
        let interface = Some("eth1".to_owned());
        let next_hops = vec![Hop { address: next_hop.address(), interface }];
        assert_eq!((shown.wanted, shown.installed), (None, Some(Target::Via { next_hops })));
        assert_eq!(shown.state, KernelState::Stale);
    }
}
