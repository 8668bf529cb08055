//! Which of what the speaker tells is worth an Event, and in what words.

use std::collections::BTreeMap;
use std::sync::Arc;

use brindle_bgp::net::Prefix;

use crate::cluster::claims::Claims;
use crate::cluster::report::{Reason, Report, Subject};
use crate::speaker::Tiding;

/// Refused prefixes of one peer that are told one by one: whoever announces thousands is known
/// well enough by then.
const REFUSED_OF_ONE: usize = 64;

/// What was said already.
#[derive(Debug, Default)]
pub(super) struct Tidings {
    /// The message about each refused prefix, by the peer that announces it.
    refused: BTreeMap<Arc<str>, BTreeMap<Prefix, String>>,
}

impl Tidings {
    /// What to say on hearing this; nothing if it was said before. `own` is this node.
    pub(super) fn report(
        &mut self,
        own: &Arc<str>,
        claims: &Claims,
        tiding: &Tiding,
    ) -> Option<Report> {
        let (subject, reason, message) = match tiding {
            Tiding::Up(peer, address) => {
                (own, Reason::PeerUp, format!("session with {peer} ({address}) is up"))
            }
            Tiding::Down(peer, address, why) => {
                (own, Reason::PeerDown, format!("session with {peer} ({address}) is down: {why}"))
            }
            // Who knows of an endpoint a moment before us does nothing wrong.
            Tiding::NotOwned(_, prefix)
                if claims.services().blocks().iter().any(|block| block.covers(prefix)) =>
            {
                return None;
            }
            Tiding::NotOwned(peer, prefix) => {
                let owner = claims.owner(prefix);
                let message = format!("{prefix} {owner}; Node/{own} refuses it from {peer}");
                let said = self.refused.entry(Arc::clone(peer)).or_default();
                let is_known = said.get(prefix) == Some(&message);
                if is_known || (said.len() >= REFUSED_OF_ONE && !said.contains_key(prefix)) {
                    return None;
                }
                said.insert(*prefix, message.clone());
                (peer, Reason::PrefixRefused, message)
            }
        };
        Some(Report { subject: Subject::Node(Arc::clone(subject)), reason, message })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::Node;
    use crate::cluster::claims::settle;
    use crate::cluster::services::{ServiceObjects, advertise};

    fn claims(ranges: &[(&str, &str)]) -> Claims {
        let nodes = ranges.iter().map(|(name, range)| {
            let node = Node {
                name: (*name).into(),
                addresses: Vec::new(),
                pod_cidrs: vec![range.parse().unwrap()],
                networks: Vec::new(),
                asn: None,
                route_reflector: None,
                created: None,
                labels: BTreeMap::new(),
                cordon: Default::default(),
            };
            ((*name).into(), Arc::new(node))
        });
        settle(&nodes.collect(), None, &Claims::default())
    }

    #[test]
    fn a_refused_prefix_is_told_once_with_its_owner_until_that_changes() {
        let mut tidings = Tidings::default();
        let own = "n1".into();
        let mut hear = |claims: &Claims, peer: &str, prefix: &str| {
            let tiding = Tiding::NotOwned(peer.into(), prefix.parse().unwrap());
            tidings.report(&own, claims, &tiding)
        };
        let before = claims(&[("n2", "10.244.2.0/24"), ("n3", "10.244.3.0/24")]);
        let report = hear(&before, "n2", "10.244.3.0/24").expect("news");
        assert_eq!(report.subject, Subject::Node("n2".into()), "who announced it");
        assert_eq!(report.reason, Reason::PrefixRefused);
        assert_eq!(report.message, "10.244.3.0/24 belongs to Node/n3; Node/n1 refuses it from n2");
        assert_eq!(hear(&before, "n2", "10.244.3.0/24"), None, "said");
        assert!(hear(&before, "n4", "10.244.3.0/24").is_some(), "another peer");
        assert!(hear(&before, "n2", "0.0.0.0/0").is_some(), "another prefix");
        let after = claims(&[("n2", "10.244.2.0/24"), ("n5", "10.244.3.0/24")]);
        let report = hear(&after, "n2", "10.244.3.0/24").expect("it changed");
        assert!(report.message.contains("Node/n5"), "{report:?}");
        let told = (0..255_u8).filter(|n| hear(&after, "n2", &format!("192.0.2.{n}/32")).is_some());
        assert!(told.count() < REFUSED_OF_ONE);
    }

    #[test]
    fn addresses_of_services_may_be_announced_before_we_know_of_them() {
        let text =
            "source: {kind: files, path: /m}\nbgp: {services: {externalIPs: [192.0.2.0/24]}}";
        let settings = brindle_config::Config::from_yaml("f", text).unwrap().bgp.services;
        let advertised = advertise(&settings, &ServiceObjects::default(), BTreeSet::new());
        let claims = Claims::default().with_services(Arc::new(advertised));
        let mut tidings = Tidings::default();
        for (prefix, is_told) in
            [("192.0.2.1/32", false), ("192.0.2.0/24", false), ("192.0.0.0/16", true)]
        {
            let tiding = Tiding::NotOwned("n2".into(), prefix.parse().unwrap());
            let report = tidings.report(&"n1".into(), &claims, &tiding);
            assert_eq!(report.is_some(), is_told, "{prefix}");
        }
    }

    #[test]
    fn sessions_are_told_of_on_our_own_node() {
        let mut tidings = Tidings::default();
        for (tiding, reason, message) in [
            (
                Tiding::Up("n2".into(), "10.0.0.2".parse().unwrap()),
                Reason::PeerUp,
                "session with n2 (10.0.0.2) is up",
            ),
            (
                Tiding::Down("n2".into(), "10.0.0.2".parse().unwrap(), "hold timer".to_owned()),
                Reason::PeerDown,
                "session with n2 (10.0.0.2) is down: hold timer",
            ),
        ] {
            for _ in 0..2 {
                let report = tidings.report(&"n1".into(), &Claims::default(), &tiding);
                let report = report.expect("each transition");
                assert_eq!(report.subject, Subject::Node("n1".into()));
                assert_eq!((report.reason, &*report.message), (reason, message));
            }
        }
    }
}
