//! What the RIB shows of itself.

use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{Page, PathView, PeerId, PeerKind, Which};

use crate::support::{OUR_AS, Scene, along, announce, hop, numbered, prefix, settings};

#[test]
fn an_address_is_looked_up_by_its_longest_usable_prefix() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    for text in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16"] {
        scene.learn(0, announce(&[prefix(text)], hop("198.51.100.1"), along(&[65000])));
    }
    // The longest one is not usable.
    let looped = along(&[65000, OUR_AS]);
    scene.learn(0, announce(&[prefix("10.1.1.0/24")], hop("198.51.100.1"), looped));
    for (address, want) in
        [("10.1.1.1", "10.1.0.0/16"), ("10.2.0.1", "10.0.0.0/8"), ("11.0.0.1", "0.0.0.0/0")]
    {
        let found = scene.rib.lookup(address.parse().unwrap());
        assert_eq!(found.map(|(prefix, _)| prefix.to_string()).as_deref(), Some(want), "{address}");
    }
    assert!(scene.rib.lookup("fd00::1".parse().unwrap()).is_none());
}

#[test]
fn pages_together_list_every_prefix_once_and_in_order() {
    let mut scene = Scene::new(settings());
    scene.up(0, PeerKind::External);
    scene.up(1, PeerKind::Internal);
    let mut prefixes: Vec<Prefix> = (0..100).map(|number| numbered(number * 37 % 100)).collect();
    scene.learn(0, announce(&prefixes, hop("198.51.100.1"), along(&[65000])));
    scene.learn(1, announce(&prefixes[..40], hop("198.51.100.2"), along(&[65010, 65011])));
    scene.tell_all();
    prefixes.sort_unstable();
    let read = |page: &dyn Fn(Option<&Prefix>) -> Page<Prefix>| {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = page(after.as_ref());
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return rows;
            }
        }
    };
    let names = |page: Page<PathView>| Page {
        rows: page.rows.into_iter().map(|row| row.prefix).collect(),
        next: page.next,
    };
    let family = Family::Ipv4Unicast;
    for (which, want) in [
        (Which::Used, 100),
        (Which::All, 140),
        (Which::From(PeerId(1)), 40),
        (Which::Refused, 0),
        (Which::From(PeerId(99)), 0),
    ] {
        let rows = read(&|after| names(scene.rib.page(family, which, after, 7)));
        assert_eq!(rows.len(), want, "{which:?}");
        assert!(rows.is_sorted(), "{which:?}");
        if which == Which::Used {
            assert_eq!(rows, prefixes);
        }
    }
    let told = read(&|after| {
        let page = scene.rib.told(PeerId(1), family, after, 7);
        Page { rows: page.rows.into_iter().map(|row| row.prefix).collect(), next: page.next }
    });
    assert_eq!(told, prefixes, "what came from outside is best and told inside");
}
