//! Roles (RFC 9234): what may come from whom and go to whom, and what is marked on the way.

use brindle_bgp::msg::Attributes;
use brindle_bgp::net::Role;
use brindle_bgp::rib::{OwnRoute, PeerId, PeerKind, Refusal, RibPeer};

use crate::support::{
    OUR_AS, Scene, along, announce, hop, one_update, peer, prefix, refusal, session, settings, v4,
};

const FROM: u32 = 65000;
const TO: u32 = 65001;
const ELSE: u32 = 65099;

/// A scene with two external peers towards whom we have these roles.
fn scene(from: Option<Role>, to: Option<Role>) -> Scene {
    let mut scene = Scene::new(settings());
    for (number, role) in [(0, from), (1, to)] {
        let how = RibPeer { role, ..peer(number, PeerKind::External) };
        scene.up_as(number, how, session(number));
    }
    scene
}

fn marked(by: Option<u32>) -> Attributes {
    Attributes { only_to_customer: by, ..along(&[FROM]) }
}

#[test]
fn who_may_tell_what_is_for_customers_only() {
    use Role::{Customer, Peer, Provider, RouteServer, RouteServerClient as Client};
    for (ours, mark, refused, kept) in [
        // From a customer or the client of a route server nothing that is for customers.
        (Some(Provider), None, None, None),
        (Some(Provider), Some(FROM), Some(FROM), None),
        (Some(Provider), Some(ELSE), Some(ELSE), None),
        (Some(RouteServer), None, None, None),
        (Some(RouteServer), Some(FROM), Some(FROM), None),
        // From a peer only what it marked itself.
        (Some(Peer), None, None, Some(FROM)),
        (Some(Peer), Some(FROM), None, Some(FROM)),
        (Some(Peer), Some(ELSE), Some(ELSE), None),
        // What comes from above is marked if it is not.
        (Some(Customer), None, None, Some(FROM)),
        (Some(Customer), Some(ELSE), None, Some(ELSE)),
        (Some(Client), None, None, Some(FROM)),
        (Some(Client), Some(ELSE), None, Some(ELSE)),
        // Without a role nothing is looked at or marked.
        (None, None, None, None),
        (None, Some(ELSE), None, Some(ELSE)),
    ] {
        let mut scene = scene(ours, None);
        scene.learn(0, one_update(marked(mark)));
        let what = format!("we are {ours:?}, marked by {mark:?}");
        assert_eq!(refusal(&scene.rib, &v4()), refused.map(Refusal::RouteLeak), "{what}");
        if refused.is_none() {
            let paths = scene.rib.paths(&v4());
            assert_eq!(paths[0].attributes.only_to_customer, kept, "{what}");
        }
        // Inside an AS there are no roles.
        let how = RibPeer { role: ours, ..peer(2, PeerKind::Internal) };
        scene.up_as(2, how, session(2));
        let other = prefix("10.7.0.0/16");
        let update = Attributes { only_to_customer: mark, ..along(&[ELSE]) };
        scene.learn(2, announce(&[other], hop("198.51.100.1"), update));
        assert_eq!(scene.rib.paths(&other)[0].attributes.only_to_customer, mark, "{what}");
        assert_eq!(refusal(&scene.rib, &other), None, "{what}");
    }
}

#[test]
fn every_pair_of_roles_passes_on_what_it_may_and_no_more() {
    use Role::{Customer, Peer, Provider, RouteServer, RouteServerClient as Client};
    let above_or_beside = [Customer, Peer, Client];
    for from in Role::ALL {
        for to in Role::ALL {
            let mut scene = scene(Some(from), Some(to));
            let own = prefix("10.9.0.0/16");
            scene.rib.originate(own, along(&[]), OwnRoute::Local);
            scene.learn(0, one_update(marked(None)));
            scene.tell_all();
            let what = format!("from who we are {from} to, to who we are {to} to");
            let told = &scene.ear(1).told;
            let is_leak = above_or_beside.contains(&from) && above_or_beside.contains(&to);
            assert_eq!(told.contains_key(&v4()), !is_leak, "{what}");
            // Towards customers, peers and clients of a route server it is marked by us, unless
            // it is already.
            let marks = [Provider, Peer, RouteServer].contains(&to);
            let ours = marks.then_some(OUR_AS);
            assert_eq!(told[&own].0.only_to_customer, ours, "{what}: our own");
            if let Some((attributes, _)) = told.get(&v4()) {
                let want = if above_or_beside.contains(&from) { Some(FROM) } else { ours };
                assert_eq!(attributes.only_to_customer, want, "{what}");
            }
        }
    }
}

#[test]
fn peers_of_different_roles_are_told_apart_and_a_new_role_sends_the_difference() {
    let mut scene = scene(None, Some(Role::Customer));
    scene.rib.originate(v4(), along(&[]), OwnRoute::Local);
    scene.tell_all();
    let otc = |scene: &Scene, number| scene.ear(number).told[&v4()].0.only_to_customer;
    assert_eq!((otc(&scene, 0), otc(&scene, 1)), (None, None));
    let how = RibPeer { role: Some(Role::Provider), ..peer(1, PeerKind::External) };
    scene.rib.configure_peer(PeerId(1), how);
    scene.tell_all();
    assert_eq!((otc(&scene, 0), otc(&scene, 1)), (None, Some(OUR_AS)));
    assert_eq!(scene.ear(0).heard_announcements(), 1, "the other notices nothing");
    assert_eq!(peer(1, PeerKind::External).asn.get(), TO);
}
