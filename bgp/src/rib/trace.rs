//! What filters did to single routes, for people.

use std::sync::Arc;

use super::Rib;
use super::adj_in::route;
use super::offers::Offers;
use super::path::{PathKey, Source};
use super::settings::{PeerId, PeerKind, PeerPolicy};
use crate::filter::{Filter, RuleTrace, trace};
use crate::msg::{Attributes, ExtendedCommunity, Nlri, PathId};
use crate::net::Prefix;

/// What the filters of one peer and direction say of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterTrace {
    /// The filters, in order.
    pub filters: Vec<Arc<Filter>>,
    /// The attributes before the first.
    pub before: Attributes,
    /// Every rule that matched.
    pub steps: Vec<RuleTrace>,
}

impl Rib {
    /// What import filters do to a path that a peer told us of a prefix; none if it did not, or
    /// has no filters.
    pub fn filtered_in(&self, from: PeerId, nlri: &Nlri) -> Option<FilterTrace> {
        let ix = self.peers.find(from)?;
        let how = &self.peers.get(ix)?.how;
        let PeerPolicy::Filters(filters) = &how.import else { return None };
        let (prefix, key) = (&nlri.prefix, PathKey { peer: ix, id: nlri.path_id });
        let table = &self.tables[prefix.family().index()];
        let entry = table.entry(table.find(prefix)?);
        let path = entry.paths.iter().find(|path| path.key() == key)?;
        let came = self.attributes.get(self.attributes.before(path.attributes));
        let session = self.session_of(how);
        let next_hop = self.hops.get(path.hop);
        let over = self.links.interface(next_hop);
        let next_hop = (next_hop, over.map(|name| &**name));
        let steps = trace(filters, &route(prefix, came, next_hop, path.origin(), session));
        Some(FilterTrace { filters: filters.clone(), before: (**came).clone(), steps })
    }

    /// What export filters do to the best path of a prefix, or to the one that is told with an
    /// identifier, on its way to a peer; none if there is none, or the peer has no filters.
    pub fn filtered_out(
        &self,
        to: PeerId,
        prefix: &Prefix,
        path_id: Option<PathId>,
    ) -> Option<FilterTrace> {
        let how = &self.peers.get(self.peers.find(to)?)?.how;
        let PeerPolicy::Filters(filters) = &how.export else { return None };
        let table = &self.tables[prefix.family().index()];
        let best = match path_id {
            None => table.entry(table.find(prefix)?).best()?,
            Some(id) => table.offers()?.find(Offers::number(id)?)?.1,
        };
        let mut before = (**self.attributes.get(best.attributes)).clone();
        if how.kind == PeerKind::External {
            // As they are when filters change them.
            before.extended_communities.retain(ExtendedCommunity::is_transitive);
            before.med = before.med.filter(|_| best.source() == Source::Ours);
        }
        let session = self.session_of(how);
        let next_hop = self.hops.get(best.hop);
        let over = self.links.interface(next_hop);
        let next_hop = (next_hop, over.map(|name| &**name));
        let route = route(prefix, &before, next_hop, best.origin(), session);
        let steps = trace(filters, &route);
        Some(FilterTrace { filters: filters.clone(), before, steps })
    }
}
