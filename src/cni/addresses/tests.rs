//! Tests of the choice of addresses.

use proptest::prelude::*;

use super::*;

fn range(network: &str) -> Range {
    Range::new(network.parse().unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_no_pod_may_have_is_left_out() {
    for (network, first, last, size) in [
        ("10.244.1.0/24", "10.244.1.1", "10.244.1.254", 254),
        ("10.244.1.77/24", "10.244.1.1", "10.244.1.254", 254),
        ("10.244.1.4/30", "10.244.1.5", "10.244.1.6", 2),
        ("10.244.1.4/31", "10.244.1.4", "10.244.1.5", 2),
        ("10.244.1.4/32", "10.244.1.4", "10.244.1.4", 1),
        ("10.0.0.0/8", "10.0.0.1", "10.255.255.254", (1 << 24) - 2),
        ("0.0.0.0/0", "0.0.0.1", "255.255.255.254", (1 << 32) - 2),
        ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", (1 << 64) - 1),
        ("fd00::8/127", "fd00::8", "fd00::9", 2),
        ("fd00::8/128", "fd00::8", "fd00::8", 1),
        ("::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX),
    ] {
        let range = range(network);
        assert_eq!(range.address(range.first), ip(first), "{network}");
        assert_eq!(range.address(range.last), ip(last), "{network}");
        assert_eq!(range.size(), size, "{network}");
        assert!(range.contains(ip(first)) && range.contains(ip(last)), "{network}");
    }
    assert!(!range("10.244.1.0/24").contains(ip("10.244.1.0")));
    assert!(!range("10.244.1.0/24").contains(ip("10.244.1.255")));
    assert!(!range("10.244.1.0/24").contains(ip("::10.244.1.3")));
    assert!(!range("0.0.0.0/0").contains(ip("fd00::1")));
}

#[test]
fn released_addresses_rest_until_nothing_else_is_free() {
    let ranges = [range("10.244.1.0/29")];
    let mut ledger = Ledger::default();
    let mut taken = BTreeSet::new();
    let give = |taken: &BTreeSet<IpAddr>, ledger: &mut Ledger| {
        allocate(&ranges, &[], taken, ledger).map(|given| given[0].to_string())
    };
    for want in 1..=4 {
        let given = give(&taken, &mut ledger).unwrap();
        assert_eq!(given, format!("10.244.1.{want}"));
        taken.insert(ip(&given));
    }
    for (address, at) in [("10.244.1.3", 1000), ("10.244.1.2", 1001)] {
        taken.remove(&ip(address));
        ledger.release(&[ip(address)], at);
    }
    for want in ["10.244.1.5", "10.244.1.6", "10.244.1.3", "10.244.1.2"] {
        let given = give(&taken, &mut ledger).unwrap();
        assert_eq!(given, want);
        taken.insert(ip(&given));
    }
    assert_eq!(ledger.released, BTreeMap::new());
    let failure = give(&taken, &mut ledger).unwrap_err();
    assert_eq!(failure.code, Code::RangeFull);
    assert!(failure.message.contains("10.244.1.0/29 of this node is full: all 6"), "{failure}");
}

#[test]
fn rest_ends_and_a_clock_set_back_does_not_prolong_it() {
    let address = ip("10.244.1.3");
    for (released, now, rests) in [
        (1000, 1000, true),
        (1000, 1000 + REST - 1, true),
        (1000, 1000 + REST, false),
        (9_000_000, 1000, true),
    ] {
        let mut ledger = Ledger::default();
        ledger.release(&[address], released);
        ledger.refresh(now);
        assert_eq!(ledger.released.contains_key(&address), rests, "{released} at {now}");
        ledger.refresh(now + REST);
        assert!(ledger.released.is_empty(), "{released} at {now}");
    }
}

#[test]
fn wanted_addresses_are_had_or_refused() {
    let ranges = [range("10.244.1.0/24"), range("fd00:1::/64")];
    let taken = BTreeSet::from([ip("10.244.1.9")]);
    for (wanted, want) in [
        (vec!["10.244.1.7"], Ok(vec!["10.244.1.7", "fd00:1::1"])),
        (vec!["fd00:1::7"], Ok(vec!["10.244.1.1", "fd00:1::7"])),
        (vec!["fd00:1::7", "10.244.1.7"], Ok(vec!["10.244.1.7", "fd00:1::7"])),
        (vec!["10.244.1.9"], Err("is another container's")),
        (vec!["10.244.2.9"], Err("accepted are those of 10.244.1.0/24, fd00:1::/64")),
        (vec!["10.244.1.0"], Err("is no address for pods of this node")),
        (vec!["10.244.1.255"], Err("is no address for pods of this node")),
    ] {
        let asked: Vec<IpAddr> = wanted.iter().map(|text| ip(text)).collect();
        match (allocate(&ranges, &asked, &taken, &mut Ledger::default()), want) {
            (Ok(given), Ok(want)) => {
                assert_eq!(given, want.into_iter().map(ip).collect::<Vec<_>>(), "{wanted:?}");
            }
            (Err(failure), Err(why)) => {
                assert_eq!(failure.code, Code::AddressRefused, "{wanted:?}");
                assert!(failure.message.contains(why), "{wanted:?}: {failure}");
            }
            (got, want) => panic!("{wanted:?}: {got:?} instead of {want:?}"),
        }
    }
}

/// A range of any size with addresses at both of its ends and anywhere.
fn ranges() -> impl Strategy<Value = Range> {
    let v4 = (any::<u32>(), 8u8..=32)
        .prop_map(|(bits, length)| IpNetwork::new(IpAddr::V4(bits.into()), length).unwrap());
    let v6 = (any::<u128>(), 48u8..=128)
        .prop_map(|(bits, length)| IpNetwork::new(IpAddr::V6(bits.into()), length).unwrap());
    prop_oneof![v4, v6].prop_map(Range::new)
}

/// Places in a range, most of them near its start and its end.
fn place() -> impl Strategy<Value = u128> {
    prop_oneof![0u128..12, (0u128..12).prop_map(|n| u128::MAX - n), any::<u128>()]
}

fn at(range: &Range, place: u128) -> IpAddr {
    let offset = if place > u128::MAX - 12 {
        range.size().saturating_sub(1).saturating_sub(u128::MAX - place)
    } else {
        place % range.size()
    };
    range.address(range.first + offset)
}

proptest! {
    #[test]
    fn a_choice_is_free_and_rested_where_one_is(
        range in ranges(),
        taken in prop::collection::vec(place(), 0..20),
        resting in prop::collection::vec((place(), 0u64..100), 0..20),
        last in prop::option::of(place()),
    ) {
        let taken: BTreeSet<IpAddr> = taken.into_iter().map(|p| at(&range, p)).collect();
        let resting: BTreeMap<IpAddr, u64> =
            resting.into_iter().map(|(p, since)| (at(&range, p), since)).collect();
        let last = last.map(|p| at(&range, p));
        let unused = resting.keys().chain(&taken).collect::<BTreeSet<_>>().len() as u128;
        match range.choose(last, &taken, &resting) {
            Some(address) => {
                prop_assert!(range.contains(address));
                prop_assert!(!taken.contains(&address));
                // It rests only where nothing else was to be had.
                if resting.contains_key(&address) {
                    prop_assert_eq!(unused, range.size());
                } else if let Some(last) = last {
                    // All between the last and it were not to be had.
                    let (from, to) = (number(last), number(address));
                    for other in taken.iter().chain(resting.keys()).map(|a| number(*a)) {
                        prop_assert!(other != to);
                    }
                    let skipped = if to > from { to - from - 1 } else {
                        (range.last - from) + (to - range.first)
                    };
                    prop_assert!(skipped <= unused);
                }
            }
            None => prop_assert_eq!(range.left(&taken), 0),
        }
    }

    #[test]
    fn giving_and_releasing_never_gives_one_address_twice(
        length in 26u8..=30,
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
    ) {
        let network = IpNetwork::new("10.1.1.0".parse().unwrap(), length).unwrap();
        let ranges = [Range::new(network)];
        let mut ledger = Ledger::default();
        let mut taken = BTreeSet::new();
        for (now, (gives, which)) in steps.into_iter().enumerate() {
            let now = now as u64 * 20;
            ledger.refresh(now);
            if gives || taken.is_empty() {
                match allocate(&ranges, &[], &taken, &mut ledger) {
                    Ok(given) => prop_assert!(taken.insert(given[0])),
                    Err(_) => prop_assert_eq!(taken.len() as u128, ranges[0].size()),
                }
            } else {
                let one = *which.get(&taken.iter().copied().collect::<Vec<_>>());
                taken.remove(&one);
                ledger.release(&[one], now);
            }
        }
    }
}
