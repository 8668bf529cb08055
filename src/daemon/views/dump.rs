//! The RIB as it is written into files.

use std::time::Instant;

use brindle_bgp::mrt;
use brindle_bgp::msg::Open;
use brindle_bgp::net::Family;
use brindle_bgp::rib::{self, PathView, Which};

use super::routes::each_family;
use crate::control::view::{Clock, DumpHead, DumpPeer, DumpedPath, DumpedPrefix, TableDump};
use crate::control::{Failure, PageRequest};
use crate::daemon::answer::{Facts, no_speaker};
use crate::speaker::{PeerEntry, View};

/// A page of all paths that import accepted, of a family or of both. `node` is our name, and
/// since when we run.
pub(in crate::daemon) fn dump(
    view: &View<'_>,
    facts: &Facts,
    node: (&str, Instant),
    family: Option<Family>,
    page: &PageRequest,
) -> Result<TableDump, Failure> {
    let clock = Clock::now();
    let paths = each_family(family, page, |family, after, limit| {
        view.rib.page(family, Which::All, after, limit)
    })?;
    let is_accepted = |path: &&PathView| !matches!(path.status, rib::PathStatus::Refused(_));
    let as_path = |path: &PathView| {
        let since = path.from.and_then(|peer| view.peers.get(&peer));
        let since = since.map_or(node.1, |entry| entry.status().since);
        DumpedPath {
            from: path.from.map(|peer| view.name(peer).to_string()),
            path_id: path.path_id.map(|id| id.0),
            since: clock.past(since).0,
            attributes: mrt::attributes(&path.attributes, path.next_hop, path.prefix.family())
                .to_vec(),
        }
    };
    let by_prefix = paths.items.chunk_by(|a, b| a.prefix == b.prefix);
    let items = by_prefix.filter_map(|paths| {
        let prefix = paths.first()?.prefix;
        let paths: Vec<_> = paths.iter().filter(is_accepted).map(as_path).collect();
        (!paths.is_empty()).then_some(DumpedPrefix { prefix, paths })
    });
    let items = items.collect();
    let head = match page.after {
        None => Some(head(view, facts, node.0)?),
        Some(_) => None,
    };
    Ok(TableDump { head, items, next: paths.next })
}

fn head(view: &View<'_>, facts: &Facts, node: &str) -> Result<DumpHead, Failure> {
    let (Some(router_id), Some((asn, _))) = (facts.router_id, facts.asn) else {
        return Err(no_speaker(facts));
    };
    let mut peers: Vec<DumpPeer> = view.peers.values().map(as_peer).collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(DumpHead {
        node: node.to_owned(),
        as_number: asn.get(),
        router_id: router_id.get().into(),
        peers,
    })
}

fn as_peer(entry: &PeerEntry) -> DumpPeer {
    let status = entry.status();
    let open = status.negotiated.as_ref().map(|agreed| &agreed.their_open);
    let asn = open.and_then(Open::asn).unwrap_or(entry.wanted.rib.asn);
    DumpPeer {
        name: entry.wanted.rib.name.to_string(),
        address: entry.wanted.address,
        as_number: asn.get(),
        router_id: open.map(|open| open.router_id.get().into()),
    }
}
