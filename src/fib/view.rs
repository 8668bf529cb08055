//! Routes as an operator sees them: wanted, installed, and what it is about if they differ.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::msg::NextHop;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::Forwarding;

use super::mirror::Mirror;
use super::route::{Hop, KernelRoute, RouteKey, Target, protocol_name};
use super::table::{Table, Want};
use super::{Gateway, ListRequest, RouteView};

/// The routes that are asked for, in prefix order.
pub fn list(
    request: &ListRequest,
    table: &Table,
    mirror: &Mirror,
    is_installing: bool,
) -> Vec<RouteView> {
    let mut wanted = table.wanted_after(request.after).peekable();
    let mut have = table.have_after(request.after).map(|(key, _)| key.prefix).peekable();
    let mut views = Vec::new();
    while views.len() < request.limit {
        let next = wanted.peek().map(|(prefix, _)| *prefix).into_iter().chain(have.peek().copied());
        let Some(prefix) = next.min() else { break };
        let want = wanted.next_if(|(at, _)| *at == prefix).map(|(_, want)| want);
        while have.next_if_eq(&prefix).is_some() {}
        let problem = problem(prefix, want, table, mirror, is_installing);
        if problem.is_some() || !request.only_diff {
            views.push(view(prefix, want, problem, table, mirror));
        }
    }
    views
}

fn view(
    prefix: Prefix,
    want: Option<Want>,
    problem: Option<String>,
    table: &Table,
    mirror: &Mirror,
) -> RouteView {
    let wanted = match want {
        None => Forwarding::None,
        Some(Want::Local) => Forwarding::Local,
        Some(Want::Via(set)) => Forwarding::Via(table.next_hops(set).to_vec()),
    };
    let there = table.have_of(prefix).next().map(|(_, target)| target.clone());
    let interfaces = match (&wanted, there.as_deref()) {
        (Forwarding::Via(next_hops), _) => {
            next_hops.iter().map(|next_hop| interface(next_hop.into(), mirror)).collect()
        }
        (Forwarding::None, Some(target)) => {
            let hops = table.hops_of(target).unwrap_or_default();
            hops.iter().map(|hop| mirror.link_name(hop.link)).collect()
        }
        _ => Vec::new(),
    };
    let installed =
        there.as_deref().map_or(Forwarding::None, |target| as_forwarding(target, table));
    RouteView { prefix, wanted, installed, interfaces, problem }
}

fn interface(gateway: Gateway, mirror: &Mirror) -> Arc<str> {
    match mirror.reach_gateway(gateway) {
        Ok(reached) => reached.hops.first().map_or("-".into(), |hop| mirror.link_name(hop.link)),
        Err(_) => "-".into(),
    }
}

/// The router that a hop leads to, as it is wanted: a link-local one with its link.
fn as_next_hop(hop: &Hop) -> Option<NextHop> {
    match hop.gateway? {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            Some(NextHop::Link { address, link: hop.link })
        }
        gateway => Some(gateway.into()),
    }
}

fn as_forwarding(target: &Target, table: &Table) -> Forwarding {
    match table.hops_of(target) {
        None => Forwarding::Local,
        Some(hops) => Forwarding::Via(hops.iter().filter_map(as_next_hop).collect()),
    }
}

/// What is not as wanted, as a sentence; `None` if all is.
fn problem(
    prefix: Prefix,
    want: Option<Want>,
    table: &Table,
    mirror: &Mirror,
    is_installing: bool,
) -> Option<String> {
    let Some(want) = want else {
        let is_leftover = table.have_of(prefix).any(|(key, _)| table.is_leftover(key));
        return Some(if is_leftover {
            "leftover of an earlier run: removed once sources and peers are in sync".to_owned()
        } else {
            "no longer wanted: about to be removed".to_owned()
        });
    };
    let missing = match want {
        Want::Via(set) => table.sets().missing(set),
        Want::Local => None,
    };
    let Some((metric, target)) = table.goal(prefix) else {
        let why = missing.map(ToString::to_string).unwrap_or_default();
        return Some(format!("missing: {why}; installed as soon as that changes"));
    };
    let key = RouteKey { prefix, metric };
    if let Some(foreign) = mirror.winner(&key) {
        return Some(conflict(foreign, &key));
    }
    if !table.have_of(prefix).any(|(at, there)| *at == key && table.is_as_good(there, &target)) {
        return Some(match table.refusal(&key) {
            None if is_installing && table.is_waiting(prefix) => {
                "in part: a next hop joins its group in a moment".to_owned()
            }
            None if is_installing && table.is_returning(prefix) => {
                "as an earlier run left it: peers that come back have not told yet all they know"
                    .to_owned()
            }
            _ if !is_installing => "missing: installing routes is switched off".to_owned(),
            Some(refused) => format!("missing: the kernel refuses it: {refused}; tried again soon"),
            None => "missing: about to be installed".to_owned(),
        });
    }
    missing.map(|why| format!("in part: {why}; the other next hops are used"))
}

fn conflict(foreign: &KernelRoute, key: &RouteKey) -> String {
    let protocol = protocol_name(foreign.protocol);
    let way = match &foreign.target {
        Target::Via(hops) => hops.iter().find_map(|hop| hop.gateway),
        _ => None,
    };
    let way = way.map_or("a route".to_owned(), |gateway| gateway.to_string());
    if foreign.key.metric == key.metric {
        format!("foreign: {way} proto {protocol} holds it; left alone")
    } else {
        let metric = foreign.key.metric;
        format!(
            "foreign: {way} proto {protocol} holds it at the better metric {metric}; left alone"
        )
    }
}
