//! Whose each range of pods is, and what lies in blocks of Services: decided from what nodes and
//! configuration say, and told where something is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_config::Config;
use tracing::{error, warn};

use super::answer::Known;
use crate::cluster::Node;
use crate::cluster::bgp::{BgpKey, DEFAULT};
use crate::cluster::claims::{self, Claims};
use crate::cluster::report::{Reason, Subject};
use crate::cluster::services::{Advertised, overlaps};

/// Decides whose each range is, and tells of what is refused.
pub(super) fn settle(
    known: &Known,
    config: &Config,
    nodes: &BTreeMap<Arc<str>, Arc<Node>>,
    services: Arc<Advertised>,
) -> Arc<Claims> {
    let before = Arc::clone(&known.facts.load().claims);
    let ranges = &config.node.pod_cidrs[..];
    let configured = (!ranges.is_empty()).then_some((&known.name, ranges));
    let claims = claims::settle(nodes, configured, &before);
    let claims = Arc::new(claims.with_services(services));
    for refused in claims.refused().iter().filter(|one| !before.refused().contains(one)) {
        let message = refused.to_string();
        if refused.node == known.name {
            error!(%message, "another node has a range of ours, which is not announced");
        } else {
            warn!(%message, "nothing in this range is accepted from the node");
        }
        // The two that it is about say so; from all nodes it would be an Event of each.
        if [&refused.node, &refused.owner].contains(&&known.name) {
            let subject = Subject::Node(Arc::clone(&refused.node));
            known.reporter.report(subject, Reason::RangeRefused, message);
        }
    }
    if claims != before {
        known.update(|facts| facts.claims = Arc::clone(&claims));
    }
    claims
}

/// Tells of blocks of Services that have pods or nodes in them; the node that is in one of an
/// object says it by an Event.
pub(super) fn tell_of_overlaps(known: &Known, yaml: &Config, config: &Config, claims: &Claims) {
    let found = overlaps(&config.bgp.services, &yaml.bgp.services, claims);
    let before = known.facts.load();
    for overlap in found.iter().filter(|one| !before.overlaps.contains(one)) {
        let message = overlap.to_string();
        warn!(%message, "a block of Services has something else in it");
        if overlap.of_object && overlap.node == known.name {
            let subject = Subject::Bgp(BgpKey::Configuration(DEFAULT.into()));
            known.reporter.report(subject, Reason::BgpInvalid, message);
        }
    }
    if found != before.overlaps {
        known.update(|facts| facts.overlaps = found);
    }
}
