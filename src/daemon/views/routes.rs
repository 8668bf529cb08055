//! Routes as shown.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::msg::NextHop;
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{self, PathView, PeerId, Refusal};

use crate::control::view::{self, Path, PathStatus, Rejected, Route, refusal_words};
use crate::control::{Failure, Page, PageRequest};
use crate::daemon::answer::{Facts, page_after};
use crate::speaker::View;

/// The best routes of a family or of both, IPv4 first.
pub(in crate::daemon) fn best_routes(
    view: &View<'_>,
    family: Option<Family>,
    page: &PageRequest,
) -> Result<Page<Route>, Failure> {
    let after = page_after(page)?;
    let mut items = Vec::new();
    for each in Family::ALL.into_iter().filter(|each| family.is_none_or(|only| only == *each)) {
        // Families come one after the other: where the last page ended in the second, the
        // first is done.
        let after = match after {
            Some(after) if after.family() > each => continue,
            Some(after) if after.family() == each => Some(after),
            Some(_) | None => None,
        };
        let room = page.limit - items.len();
        let routes = view.rib.best_page(each, after, room);
        items.extend(routes.into_iter().filter_map(|paths| as_route(view, &paths)));
    }
    let next = (items.len() >= page.limit).then(|| items.last()).flatten();
    let next = next.map(|route: &Route| route.prefix.to_string());
    Ok(Page { items, next })
}

/// One prefix with all of its paths.
pub(in crate::daemon) fn route(view: &View<'_>, prefix: &Prefix) -> Option<Route> {
    as_route(view, &view.rib.paths(prefix))
}

/// The longest prefix that holds `address`, with all of its paths.
pub(in crate::daemon) fn longest(view: &View<'_>, address: IpAddr) -> Option<Route> {
    route(view, &view.rib.lookup(address)?)
}

fn as_route(view: &View<'_>, paths: &[PathView]) -> Option<Route> {
    let prefix = paths.first()?.prefix;
    let mut paths: Vec<Path> = paths.iter().map(|path| as_path(view, path)).collect();
    paths.sort_by_key(|path| path.status);
    Some(Route { prefix, paths })
}

/// What a peer told us.
pub(in crate::daemon) fn routes_in(
    view: &View<'_>,
    peer: PeerId,
    page: &PageRequest,
) -> Result<Page<Path>, Failure> {
    let paths = view.rib.adj_in(peer, page_after(page)?, page.limit);
    Ok(as_page(view, &paths, page, |_| ()))
}

/// What we told a peer.
pub(in crate::daemon) fn routes_out(
    view: &View<'_>,
    peer: PeerId,
    page: &PageRequest,
) -> Result<Page<Path>, Failure> {
    let paths = view.rib.adj_out(peer, page_after(page)?, page.limit);
    let told = |path: &mut Path| (path.status, path.reason) = (PathStatus::Advertised, None);
    Ok(as_page(view, &paths, page, told))
}

fn as_page(
    view: &View<'_>,
    paths: &[PathView],
    page: &PageRequest,
    adjust: impl Fn(&mut Path),
) -> Page<Path> {
    let next = (paths.len() >= page.limit).then(|| paths.last()).flatten();
    let next = next.map(|path| path.prefix.to_string());
    let items = paths.iter().map(|path| {
        let mut path = as_path(view, path);
        adjust(&mut path);
        path
    });
    Page { items: items.collect(), next }
}

fn as_path(view: &View<'_>, path: &PathView) -> Path {
    let (status, reason) = PathStatus::of(&path.status);
    let link_local = match path.next_hop {
        Some(NextHop::V6 { link_local, .. }) => link_local.map(IpAddr::from),
        Some(NextHop::V4(_)) | None => None,
    };
    Path {
        prefix: path.prefix,
        from: path.from.map(|peer| view.name(peer).to_string()),
        next_hop: path.next_hop.map(|next_hop| next_hop.address()),
        next_hop_link_local: link_local,
        status,
        reason,
        attributes: view::Attributes::from(&*path.attributes),
    }
}

/// What was refused, of one peer or of all: peers in the order of their names, prefixes in
/// theirs. A page is marked by the name of the peer and the prefix that it ended with.
pub(in crate::daemon) fn rejected(
    view: &View<'_>,
    facts: &Facts,
    only: Option<PeerId>,
    page: &PageRequest,
) -> Result<Page<Rejected>, Failure> {
    let (after_peer, after_prefix) = match &page.after {
        None => (None, None),
        Some(text) => {
            let bad = || Failure::Invalid(format!("no such page: \"{text}\""));
            let (prefix, peer) = text.split_once(' ').ok_or_else(bad)?;
            (Some(peer.to_owned()), Some(prefix.parse().map_err(|_| bad())?))
        }
    };
    let mut peers: Vec<(Arc<str>, PeerId)> = view
        .peers
        .keys()
        .filter(|id| only.is_none_or(|only| only == **id))
        .map(|id| (view.name(*id), *id))
        .collect();
    peers.sort();
    let mut items: Vec<Rejected> = Vec::new();
    for (name, peer) in peers {
        let mut after = match &after_peer {
            Some(done) if **done > *name => continue,
            Some(done) if **done == *name => after_prefix,
            Some(_) | None => None,
        };
        loop {
            let room = page.limit - items.len();
            if room == 0 {
                let last = items.last().map(|item| format!("{} {}", item.prefix, item.from));
                return Ok(Page { items, next: last });
            }
            let paths = view.rib.rejected(peer, after, room);
            let Some(last) = paths.last() else { break };
            after = Some(last.prefix);
            items.extend(paths.iter().filter_map(|path| as_rejected(&name, facts, path)));
        }
    }
    Ok(Page { items, next: None })
}

fn as_rejected(from: &str, facts: &Facts, path: &PathView) -> Option<Rejected> {
    let rib::PathStatus::Refused(refusal) = &path.status else { return None };
    let (rule, mut reason) = refusal_words(refusal);
    let owner = facts.owner(&path.prefix).filter(|_| *refusal == Refusal::NotOwned);
    if *refusal == Refusal::NotOwned {
        let owns = facts.nodes.get(from).map(|node| &node.pod_cidrs[..]).unwrap_or_default();
        let owns: Vec<String> = owns.iter().map(ToString::to_string).collect();
        let owns = if owns.is_empty() { "nothing".to_owned() } else { owns.join(", ") };
        let whose = match owner {
            Some(owner) => format!("belongs to Node/{owner}"),
            None => "belongs to no node".to_owned(),
        };
        reason = format!("{whose}; {from} owns {owns}");
    }
    Some(Rejected {
        prefix: path.prefix,
        from: from.to_owned(),
        rule,
        reason,
        owner: owner.map(|owner| format!("Node/{owner}")),
    })
}
