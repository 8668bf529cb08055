//! What filters mean.

use brindle_bgp::filter::{
    Change, Condition, FilterAction, FilterRule, Has, MatchOperator, NextHopChange, PeerType,
    RouteSource,
};

use super::{asn, prefix, read};

#[test]
fn every_condition_and_change_of_a_filter_is_read_and_shown_as_it_was_written() {
    let config = read(include_str!("../../examples/filters.yaml"));
    let again = read(&config.to_json().to_string());
    assert_eq!(again.bgp, config.bgp);
    let [peer] = &config.bgp.peers[..] else { panic!("{:?}", config.bgp.peers) };
    let (Some([import]), Some([export])) = (peer.import.as_deref(), peer.export.as_deref()) else {
        panic!("{peer:?}");
    };
    fn all<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
        texts.iter().map(|text| text.parse().expect("right")).collect()
    }
    let cidr = |operator, text| Condition::Cidr(operator, prefix(text));
    let reject = |condition| FilterRule::new(FilterAction::Reject, vec![condition]);
    let want = [
        reject(cidr(MatchOperator::In, "10.244.0.0/16")),
        reject(Condition::AsPathRegex("_(64666|65099)_".parse().expect("right"))),
        FilterRule {
            changes: vec![Change::LocalPref(50), Change::RemoveCommunities(all(&["65001:*"]))],
            ..FilterRule::new(
                FilterAction::Continue,
                vec![Condition::Communities(Has::Any, all(&["65001:666", "65001:80:*"]))],
            )
        },
        FilterRule::new(FilterAction::Accept, vec![cidr(MatchOperator::Equal, "0.0.0.0/0")]),
        FilterRule::new(
            FilterAction::Accept,
            vec![
                Condition::PrefixLengths(8..=24),
                Condition::Family(brindle_bgp::net::Family::Ipv4Unicast),
                Condition::NextHop(vec![prefix("10.0.0.0/24")]),
                Condition::PeerType(PeerType::External),
                Condition::AsPathContains(vec![asn(65010), asn(65011)]),
                Condition::AsPathFirst(vec![asn(65001)]),
                Condition::AsPathLast(vec![asn(65010)]),
                Condition::AsPathLength(1..=5),
                Condition::AsPathPrefix(vec![asn(65001)]),
            ],
        ),
        FilterRule {
            changes: vec![Change::Med(20)],
            ..FilterRule::new(
                FilterAction::Accept,
                vec![Condition::Communities(Has::All, all(&["rt:65001:1", "no-export"]))],
            )
        },
    ];
    assert_eq!(import.rules, want);
    let want = [
        FilterRule {
            changes: vec![
                Change::Med(10),
                Change::SetCommunities(all(&["64512:100", "64512:1:1", "rt:64512:1"])),
            ],
            ..FilterRule::new(
                FilterAction::Accept,
                vec![
                    cidr(MatchOperator::In, "10.244.0.0/16"),
                    Condition::PrefixLengths(24..=32),
                    Condition::Source(vec![RouteSource::Local]),
                ],
            )
        },
        FilterRule {
            changes: vec![
                Change::AddMed(50),
                Change::AddCommunities(all(&["graceful-shutdown"])),
                Change::Prepend(None, 2),
                Change::NextHop(NextHopChange::SelfAddress),
            ],
            ..FilterRule::new(
                FilterAction::Accept,
                vec![
                    cidr(MatchOperator::NotIn, "192.0.2.0/24"),
                    Condition::Source(vec![RouteSource::Mesh, RouteSource::Service]),
                ],
            )
        },
    ];
    assert_eq!(export.rules, want);
}
