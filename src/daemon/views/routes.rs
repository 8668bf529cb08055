//! Routes as shown.

use std::net::IpAddr;
use std::sync::Arc;

use brindle_bgp::filter::Condition;
use brindle_bgp::msg::{NextHop, Nlri};
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{self, PathView, PeerId, PeerPolicy, Refusal, Stale, ToldView, Which};

use crate::cluster::claims::{Claims, Owner};
use crate::control::view::{
    self, Clock, FilterStep, Path, PathStatus, Rejected, Route, refusal_words,
};
use crate::control::{Failure, Page, PageRequest};
use crate::daemon::answer::{Facts, Known, page_after};
use crate::speaker::View;

/// What is known of routes of our own.
#[derive(Default)]
pub(in crate::daemon) struct Own {
    name: Arc<str>,
    claims: Arc<Claims>,
}

impl Own {
    pub(in crate::daemon) fn of(known: &Known, facts: &Facts) -> Self {
        Self { name: Arc::clone(&known.name), claims: Arc::clone(&facts.claims) }
    }

    /// For which Services it is there, unless it is there for pods.
    fn service(&self, prefix: &Prefix) -> Option<String> {
        let reasons = self.claims.services().reasons(&self.name, prefix);
        let reasons: Vec<String> = reasons.into_iter().map(ToString::to_string).collect();
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }
}

/// Where a list goes on: it ends where the RIB says, and then in the next family.
pub(super) fn each_family<T>(
    only: Option<Family>,
    page: &PageRequest,
    rows: impl Fn(Family, Option<&Prefix>, usize) -> rib::Page<T>,
) -> Result<Page<T>, Failure> {
    let after = page_after(page)?;
    let mut items = Vec::new();
    for family in Family::ALL.into_iter().filter(|family| only.is_none_or(|only| only == *family)) {
        // Families come one after the other: where the last page ended in the second, the
        // first is done.
        let after = match &after {
            Some(after) if after.family() > family => continue,
            after => after.as_ref().filter(|after| after.family() == family),
        };
        let part = rows(family, after, page.limit.saturating_sub(items.len()));
        items.extend(part.rows);
        if let Some(next) = part.next {
            return Ok(Page { items, next: Some(next.to_string()) });
        }
    }
    Ok(Page { items, next: None })
}

/// The best routes of a family or of both, IPv4 first.
pub(in crate::daemon) fn best_routes(
    view: &View<'_>,
    own: &Own,
    family: Option<Family>,
    page: &PageRequest,
) -> Result<Page<Route>, Failure> {
    let paths = each_family(family, page, |family, after, limit| {
        view.rib.page(family, Which::Used, after, limit)
    })?;
    let items = paths.items.chunk_by(|a, b| a.prefix == b.prefix);
    let items = items.filter_map(|paths| as_route(view, own, paths)).collect();
    Ok(Page { items, next: paths.next })
}

/// One prefix with all of its paths.
pub(in crate::daemon) fn route(view: &View<'_>, own: &Own, prefix: &Prefix) -> Option<Route> {
    as_route(view, own, &view.rib.paths(prefix))
}

/// The longest prefix that holds `address`, with all of its paths.
pub(in crate::daemon) fn longest(view: &View<'_>, own: &Own, address: IpAddr) -> Option<Route> {
    as_route(view, own, &view.rib.lookup(address)?.1)
}

fn as_route(view: &View<'_>, own: &Own, paths: &[PathView]) -> Option<Route> {
    let prefix = paths.first()?.prefix;
    Some(Route { prefix, paths: paths.iter().map(|path| as_path(view, own, path)).collect() })
}

/// What a peer told us.
pub(in crate::daemon) fn routes_in(
    view: &View<'_>,
    own: &Own,
    peer: PeerId,
    page: &PageRequest,
) -> Result<Page<Path>, Failure> {
    let paths = each_family(None, page, |family, after, limit| {
        view.rib.page(family, Which::From(peer), after, limit)
    })?;
    let items = paths.items.iter().map(|path| {
        let path_id = path.path_id.unwrap_or_default();
        let nlri = Nlri { prefix: path.prefix, path_id };
        let filters = steps(view.rib.filtered_in(peer, &nlri));
        Path { filters, ..as_path(view, own, path) }
    });
    Ok(Page { items: items.collect(), next: paths.next })
}

fn steps(trace: Option<rib::FilterTrace>) -> Vec<FilterStep> {
    let list =
        |trace: rib::FilterTrace| FilterStep::list(&trace.filters, &trace.before, &trace.steps);
    trace.map(list).unwrap_or_default()
}

/// What we told a peer.
pub(in crate::daemon) fn routes_out(
    view: &View<'_>,
    peer: PeerId,
    page: &PageRequest,
) -> Result<Page<Path>, Failure> {
    let told =
        each_family(None, page, |family, after, limit| view.rib.told(peer, family, after, limit))?;
    let items = told.items.iter().map(|told| {
        let filters = steps(view.rib.filtered_out(peer, &told.prefix, told.path_id));
        Path { filters, ..as_told(view, told) }
    });
    Ok(Page { items: items.collect(), next: told.next })
}

fn as_told(view: &View<'_>, told: &ToldView) -> Path {
    Path {
        prefix: told.prefix,
        from: told.from.map(|peer| view.name(peer).to_string()),
        path_id: told.path_id.map(|id| id.0),
        next_hop: Some(told.next_hop.address()),
        next_hop_link_local: link_local(Some(told.next_hop)),
        status: PathStatus::Advertised,
        stale: false,
        reason: told.is_pending.then(|| "still to be sent".to_owned()),
        attributes: view::Attributes::from(&*told.attributes),
        filters: Vec::new(),
    }
}

pub(super) fn link_local(next_hop: Option<NextHop>) -> Option<IpAddr> {
    match next_hop {
        Some(NextHop::V6 { link_local, .. }) => link_local.map(IpAddr::from),
        Some(NextHop::V4(_) | NextHop::Link { .. }) | None => None,
    }
}

fn as_path(view: &View<'_>, own: &Own, path: &PathView) -> Path {
    let (status, reason) = PathStatus::of(&path.status);
    let reason = match path.from {
        Some(_) => reason,
        None => reason.or_else(|| own.service(&path.prefix)),
    };
    let kept = path.stale.map(|why| match why {
        Stale::Restarting => "kept while its peer restarts",
        Stale::Owned => "kept without session while its Node object stands",
        Stale::LongLived => "kept as the last choice of a peer that is away for long",
    });
    let reason = match (reason, kept) {
        (Some(reason), Some(kept)) => Some(format!("{reason}; {kept}")),
        (reason, kept) => reason.or(kept.map(str::to_owned)),
    };
    Path {
        prefix: path.prefix,
        from: path.from.map(|peer| view.name(peer).to_string()),
        path_id: path.path_id.map(|id| id.0),
        next_hop: path.next_hop.map(|next_hop| next_hop.address()),
        next_hop_link_local: link_local(path.next_hop),
        status,
        stale: path.stale.is_some(),
        reason,
        attributes: view::Attributes::from(&*path.attributes),
        filters: Vec::new(),
    }
}

/// What was refused, of one peer or of all.
pub(in crate::daemon) fn rejected(
    view: &View<'_>,
    facts: &Facts,
    only: Option<PeerId>,
    page: &PageRequest,
) -> Result<Page<Rejected>, Failure> {
    let which = only.map_or(Which::Refused, Which::RefusedFrom);
    let paths =
        each_family(None, page, |family, after, limit| view.rib.page(family, which, after, limit))?;
    let clock = Clock::now();
    let items =
        paths.items.iter().filter_map(|path| as_rejected(view, facts, &clock, path)).collect();
    Ok(Page { items, next: paths.next })
}

fn as_rejected(view: &View<'_>, facts: &Facts, clock: &Clock, path: &PathView) -> Option<Rejected> {
    let from = &*view.name(path.from?);
    let rib::PathStatus::Refused(refusal) = &path.status else { return None };
    let (rule, mut reason) = refusal_words(refusal);
    let owner = (*refusal == Refusal::NotOwned).then(|| facts.claims.owner(&path.prefix));
    if let Some(owner) = &owner {
        // What a reflector passes on is told by the node that it leads to.
        let is_reflector = facts.nodes.get(from).is_some_and(|node| node.route_reflector.is_some());
        let next_hop = path.next_hop.filter(|_| is_reflector).map(|hop| hop.address());
        reason = match next_hop {
            Some(next_hop) => match facts.claims.node_at(next_hop) {
                Some(node) => format!("{owner}; {}", facts.claims.owns(node)),
                None => format!("{owner}; its next hop {next_hop} is no node's address"),
            },
            None => format!("{owner}; {}", facts.claims.owns(from)),
        };
    }
    if let Refusal::Filter(filter, Some(rule)) = refusal
        && let Some(peer) = path.from.and_then(|peer| view.peers.get(&peer))
        && let PeerPolicy::Filters(filters) = &peer.wanted.rib.import
    {
        let mut found = filters.iter().flat_map(|one| {
            let is_it = move |at: &usize| one.place(*at) == (filter, *rule);
            (0..one.rules.len()).filter(is_it).filter_map(|at| one.rules.get(at))
        });
        // Of a rule that came down to several it is not known which of them it was.
        if let (Some(rule), None) = (found.next(), found.next()) {
            reason += &conditions(&rule.conditions);
        }
    }
    let nlri = Nlri { prefix: path.prefix, path_id: path.path_id.unwrap_or_default() };
    let counted = path.from.and_then(|peer| view.rejections.of(peer, nlri));
    let last = counted.map(|refused| clock.past(refused.last));
    Some(Rejected {
        prefix: path.prefix,
        from: from.to_owned(),
        rule,
        reason,
        count: counted.map(|refused| refused.count),
        last_rejected: last.map(|(at, _)| at),
        last_rejected_seconds: last.map(|(_, ago)| ago),
        owner: owner.as_ref().and_then(Owner::node).map(|name| format!("Node/{name}")),
    })
}

/// What a rule asks for, as it is put behind its name.
fn conditions(conditions: &[Condition]) -> String {
    let words: Vec<String> = conditions.iter().map(ToString::to_string).collect();
    match &words[..] {
        [] => ", which takes everything".to_owned(),
        words => format!(": {}", words.join(", ")),
    }
}
