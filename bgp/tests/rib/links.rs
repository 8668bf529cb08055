//! Filters that ask by which interface a next hop is reached.

use std::sync::Arc;

use brindle_bgp::filter::{Condition, Filter, FilterAction, FilterRule, Verdict};
use brindle_bgp::msg::Attributes;
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{OwnRoute, PeerId, PeerKind, PeerPolicy, RibPeer};

use crate::support::{Scene, along, one_update, peer, prefix, refusal, session, settings, v4};

/// Refuses what leaves by such an interface.
fn not_by(pattern: &str) -> PeerPolicy {
    let condition = Condition::Interface(pattern.parse().unwrap());
    let rule = FilterRule::new(FilterAction::Reject, vec![condition]);
    let filter = Filter { otherwise: Verdict::Accept, ..Filter::new("f", vec![rule]) };
    PeerPolicy::Filters(vec![filter.into()])
}

fn links(all: &[(&str, &str)]) -> Vec<(Prefix, Arc<str>)> {
    all.iter().map(|(link, interface)| (prefix(link), Arc::from(*interface))).collect()
}

#[test]
fn a_next_hop_is_reached_by_the_most_specific_link_that_it_is_on() {
    // The next hop is 198.51.100.1.
    for (all, want) in [
        (&[][..], false),
        (&[("198.51.100.0/24", "eth1")], true),
        (&[("198.51.100.0/24", "eth0")], false),
        (&[("192.0.2.0/24", "eth1")], false),
        (&[("198.51.0.0/16", "eth0"), ("198.51.100.0/24", "eth1")], true),
        (&[("198.51.0.0/16", "eth1"), ("198.51.100.0/24", "eth0")], false),
        // On two links at once, it is not known by which.
        (&[("198.51.100.0/24", "eth1"), ("198.51.100.0/24", "eth2")], false),
        (&[("198.51.100.0/24", "eth1"), ("198.51.100.0/24", "eth1")], true),
    ] {
        let mut scene = Scene::new(settings());
        scene.rib.set_links(links(all));
        let how = RibPeer { import: not_by("eth1"), ..peer(0, PeerKind::Internal) };
        scene.up_as(0, how, session(0));
        scene.learn(0, one_update(along(&[])));
        assert_eq!(refusal(&scene.rib, &v4()).is_some(), want, "{all:?}");
    }
}

#[test]
fn another_link_is_another_answer_for_what_was_told_before() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    let how = RibPeer { import: not_by("bond*"), ..peer(1, PeerKind::External) };
    scene.up_as(1, how, session(1));
    let how = RibPeer { export: not_by("bond*"), ..peer(2, PeerKind::Internal) };
    scene.up_as(2, how, session(2));
    scene.learn(1, one_update(along(&[65001])));
    let own = prefix("10.2.0.0/16");
    scene.rib.originate(own, Attributes::default(), OwnRoute::Local);
    scene.tell_all();
    assert_eq!(scene.ear(2).prefixes(), ["10.1.0.0/16", "10.2.0.0/16"]);

    scene.rib.set_links(links(&[("198.51.100.0/24", "bond0")]));
    assert!(refusal(&scene.rib, &v4()).is_some());
    scene.rib.configure_peer(PeerId(1), peer(1, PeerKind::External));
    assert_eq!(refusal(&scene.rib, &v4()), None);
    scene.tell_all();
    // Our own has no next hop.
    assert_eq!(scene.ear(2).prefixes(), ["10.2.0.0/16"]);
    assert_eq!(scene.ear(0).prefixes(), ["10.1.0.0/16", "10.2.0.0/16"]);

    scene.rib.set_links(links(&[("198.51.100.0/24", "eth0")]));
    scene.tell_all();
    assert_eq!(scene.ear(2).prefixes(), ["10.1.0.0/16", "10.2.0.0/16"]);
}
