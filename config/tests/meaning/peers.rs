//! What is meant by the settings of peers that have a meaning of their own.

use std::num::NonZeroU8;
use std::time::Duration;

use brindle_bgp::bfd::{Intervals, Path, Settings};
use brindle_bgp::rib::{LimitAction, PrefixLimits};

use super::{asn, read};

#[test]
fn a_peer_may_tell_as_much_as_is_said_and_others_without_limit() {
    let limits = |text: &str| {
        let text = format!(
            "bgp: {{peers: [{{name: a, peerIP: 10.0.0.9, asNumber: 64512, maxPrefixes: {text}}}]}}"
        );
        read(&text).bgp.peers[0].limits.clone()
    };
    let restart = |secs| LimitAction::Restart(Duration::from_secs(secs));
    for (text, most, warn_percent, action) in [
        ("{ipv4: 1000}", [Some(1000), None], 75, restart(300)),
        ("{ipv6: 7, warnAt: 100, retryAfter: 1s}", [None, Some(7)], 100, restart(1)),
        ("{ipv4: 1, ipv6: 2, action: warn}", [Some(1), Some(2)], 75, LimitAction::Warn),
    ] {
        assert_eq!(limits(text), PrefixLimits { most, warn_percent, action }, "{text}");
    }
}

#[test]
fn a_dynamic_peer_may_be_in_the_as_that_is_expected() {
    let own = asn(64512);
    for (text, is_in, is_not) in [
        ("65001", vec![65001], vec![65002, 64512]),
        ("64512", vec![64512], vec![64513]),
        ("64500-64600", vec![64500, 64511, 64600], vec![64512, 64499, 64601]),
        ("1.0-1.5", vec![65536, 65541], vec![65542]),
        ("external", vec![1, 64511, u32::MAX], vec![64512]),
    ] {
        let text =
            format!("bgp: {{dynamicPeers: [{{name: a, cidrs: [10.0.0.0/8], asNumber: {text}}}]}}");
        let group = &read(&text).bgp.dynamic[0];
        assert_eq!((group.limit, group.peer.passive), (100, true));
        for number in is_in {
            assert!(group.asn.has(asn(number), own), "{number} is in {text}");
        }
        for number in is_not {
            assert!(!group.asn.has(asn(number), own), "{number} is not in {text}");
        }
        assert!(group.asn.has(group.asn.example(own), own), "{text}");
    }
}

#[test]
fn bfd_has_usual_intervals_and_is_there_where_its_section_stands() {
    let interval = Duration::from_millis;
    let settings = |transmit, receive, multiplier, path| Settings {
        intervals: Intervals {
            transmit: interval(transmit),
            receive: interval(receive),
            multiplier: NonZeroU8::new(multiplier).expect("not zero"),
        },
        path,
        graceful_restart: true,
    };
    let certain = Settings { graceful_restart: false, ..Settings::DEFAULT };
    for (text, want) in [
        ("bfd: {gracefulRestart: false}", Some(certain)),
        ("bfd: {}", Some(Settings::DEFAULT)),
        ("bfd: {enabled: true}", Some(settings(300, 300, 3, Path::SingleHop))),
        ("bfd: {enabled: false, multiplier: 5}", None),
        (
            "bfd: {transmitInterval: 50ms, receiveInterval: 60s, multiplier: 255}",
            Some(settings(50, 60_000, 255, Path::SingleHop)),
        ),
        ("bfd: {multihop: true}", Some(settings(300, 300, 3, Path::Multihop { min_ttl: 1 }))),
        (
            "bfd: {multihop: true, minimumTTL: 253}",
            Some(settings(300, 300, 3, Path::Multihop { min_ttl: 253 })),
        ),
    ] {
        let peer = format!("{{name: a, peerIP: 10.0.0.9, asNumber: 64512, {text}}}");
        let config = read(&format!("bgp: {{peers: [{peer}], nodeToNodeMesh: {{{text}}}}}"));
        assert_eq!((config.bgp.peers[0].bfd, config.bgp.mesh_bfd), (want, want), "{text}");
        let again = read(&config.to_yaml());
        assert_eq!(again.bgp, config.bgp, "{text}");
    }
    assert_eq!(read("bgp: {}").bgp.mesh_bfd, None);
}
