//! What this node originates: pods, networks, addresses of Services.

use std::collections::BTreeSet;
use std::sync::Arc;

use brindle_bgp::filter::Change;
use brindle_bgp::msg::{Attributes, Origin};
use brindle_bgp::net::{Asn, Prefix};
use brindle_bgp::rib::OwnRoute;
use brindle_config::{Bgp, LoopPrevention, ServiceSettings};

use super::routing::Said;
use crate::cluster::claims::Claims;
use crate::cluster::services::{Advertised, EXCLUDE, advertise};
use crate::fib::guard::Guarded;
use crate::speaker::Originated;

/// What nodes announce for Services, worked out anew only when that may be another.
#[derive(Default)]
pub(super) struct OfServices {
    of: Option<(u64, ServiceSettings, BTreeSet<Arc<str>>)>,
    decided: Arc<Advertised>,
}

impl OfServices {
    /// By what is said; nothing before the cluster is known, which may say that this node is
    /// none to announce them.
    pub(super) fn settle(
        &mut self,
        said: &Said<'_>,
        settings: &ServiceSettings,
    ) -> Arc<Advertised> {
        if !said.in_sync {
            return Arc::default();
        }
        let excluded = said.nodes.values().filter(|node| node.labels.contains_key(EXCLUDE));
        let excluded: BTreeSet<Arc<str>> = excluded.map(|node| Arc::clone(&node.name)).collect();
        let of = (said.services.version(), settings.clone(), excluded);
        if self.of.as_ref() != Some(&of) {
            let decided = advertise(settings, said.services, of.2.clone());
            // The same again is told from another at a glance.
            if decided != *self.decided {
                self.decided = Arc::new(decided);
            }
            self.of = Some(of);
        }
        Arc::clone(&self.decided)
    }
}

/// What the node called `name`, of AS `asn`, originates: its `pod_cidrs` as far as they are its
/// own, networks, then what it announces for Services.
pub(super) fn originated(
    name: &str,
    asn: Asn,
    bgp: &Bgp,
    pod_cidrs: &[Prefix],
    claims: &Claims,
) -> Vec<Originated> {
    let pods = pod_cidrs.iter().filter(|range| claims.has(name, range));
    let local = pods.chain(&bgp.networks).map(|prefix| (*prefix, OwnRoute::Local));
    let services = claims.services().prefixes(name);
    let services = services.into_iter().map(|prefix| (prefix, OwnRoute::Service));
    let own =
        |(prefix, what)| Originated { prefix, what, attributes: attributes(bgp, asn, &prefix) };
    local.chain(services).map(own).collect()
}

/// What the node called `name` announces for Services, guarded against packets that its Service
/// proxy does not answer to and that would go back to the router which sent them.
pub(super) fn guarded(name: &str, settings: &ServiceSettings, claims: &Claims) -> Guarded {
    let prefixes = match settings.loop_prevention {
        LoopPrevention::Disabled => BTreeSet::new(),
        LoopPrevention::Drop | LoopPrevention::Reject => claims.services().prefixes(name),
    };
    Guarded { prefixes, reject: settings.loop_prevention == LoopPrevention::Reject }
}

fn attributes(bgp: &Bgp, asn: Asn, prefix: &Prefix) -> Attributes {
    let mut attributes = Attributes { origin: Origin::Igp, ..Attributes::default() };
    for one in bgp.prefix_advertisements.iter().filter(|one| one.cidr.covers(prefix)) {
        Change::AddCommunities(one.communities.clone()).apply(&mut attributes, asn);
    }
    attributes
}
