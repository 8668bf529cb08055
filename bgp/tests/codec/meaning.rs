//! What well-formed UPDATEs mean: what counts twice, in which order, for which family, and
//! what is passed on.

use brindle_bgp::msg::{Message, Nlri, Treatment, Update};

use crate::support::{
    ADD_PATHS, EXTERNAL, INTERNAL, asn, attribute, format, hex, mandatory, paths, prefixes, reach,
    read_update, unhex, update, v4,
};

#[test]
fn what_is_withdrawn_and_announced_counts_as_announced() {
    let both = [8, 10, 16, 10, 1];
    let octets = update(&both, &mandatory(), &[8, 10]);
    let Message::Update(got) = read_update(&octets, &format(EXTERNAL)).message else {
        panic!("an UPDATE");
    };
    assert_eq!(got.withdrawn, prefixes(["10.1.0.0/16"]));
    assert_eq!(got.announced[0].prefixes, prefixes(["10.0.0.0/8"]));
    assert_eq!(got.announced[0].next_hop, v4("192.0.2.1"));
}

#[test]
fn paths_of_one_prefix_are_told_apart_by_their_identifiers() {
    let format = format(EXTERNAL | ADD_PATHS);
    let withdrawn = unhex("00000000 080a 00000001 080a 00000003 080a");
    let octets = update(&withdrawn, &mandatory(), &unhex("00000001 080a 00000002 080a"));
    let Message::Update(got) = read_update(&octets, &format).message else { panic!("an UPDATE") };
    assert_eq!(got.withdrawn, paths([(0, "10.0.0.0/8"), (3, "10.0.0.0/8")]));
    assert_eq!(got.announced[0].prefixes, paths([(1, "10.0.0.0/8"), (2, "10.0.0.0/8")]));
}

#[test]
fn path_identifiers_are_read_only_where_they_were_agreed() {
    let mut v6_alone = format(EXTERNAL);
    v6_alone.add_paths.receive[1] = true;
    // Nothing of what we send says how to read what comes.
    v6_alone.add_paths.send[0] = true;
    let next_hop = unhex("20010db8 00000000 00000000 00000001");
    let list = [reach(2, &next_hop, &unhex("00000005 0820")), mandatory()].concat();
    let octets = update(&[], &list, &[8, 10]);
    let Message::Update(got) = read_update(&octets, &v6_alone).message else { panic!("an UPDATE") };
    let got: Vec<Nlri> = got.announced.into_iter().flat_map(|a| a.prefixes).collect();
    assert_eq!(got, [prefixes(["10.0.0.0/8"]), paths([(5, "2000::/8")])].concat());
}

#[test]
fn families_that_were_not_agreed_are_ignored() {
    let mut only_v6 = format(EXTERNAL);
    only_v6.families.remove(0);
    let mut only_v4 = format(EXTERNAL);
    only_v4.families.remove(1);
    let reach = reach(2, &unhex("20010db8 00000000 00000000 00000001"), &[8, 0x20]);
    let list = [reach, mandatory()].concat();
    let octets = update(&[8, 11], &list, &[8, 10]);
    for (name, format, want) in [("IPv4", only_v4, "10.0.0.0/8"), ("IPv6", only_v6, "2000::/8")] {
        let Message::Update(got) = read_update(&octets, &format).message else {
            panic!("an UPDATE")
        };
        let got: Vec<Nlri> = got.announced.into_iter().flat_map(|a| a.prefixes).collect();
        assert_eq!(got, prefixes([want]), "{name}");
    }
    let multicast = [mandatory(), attribute(0x80, 14, &unhex("0001 02 04 c0000201 00 08e0"))];
    let decoded = read_update(&update(&[], &multicast.concat(), &[]), &format(EXTERNAL));
    assert_eq!(decoded.message, Message::Update(Update::default()));
    assert_eq!(decoded.faults[0].treatment, Treatment::DiscardAttribute);
}

#[test]
fn unknown_transitive_attributes_of_every_code_pass_unchanged() {
    // Known codes have rows of their own above; 40 is checked before it passes.
    let known = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 35, 40];
    for code in (0..=255_u8).filter(|code| !known.contains(code)) {
        let value: Vec<u8> = (0..code).map(|octet: u8| octet.wrapping_mul(37) ^ code).collect();
        for (flags, is_partial) in [(0xC0, false), (0xE0, true)] {
            let list = [mandatory(), attribute(flags, code, &value)].concat();
            let octets = update(&[], &list, &[8, 10]);
            for bits in [EXTERNAL, INTERNAL] {
                let decoded = read_update(&octets, &format(bits));
                assert_eq!(decoded.faults, [], "{code}");
                let Message::Update(got) = decoded.message else { panic!("an UPDATE") };
                let unknown = got.attributes.clone().unwrap().unknown;
                let [unknown] = &unknown[..] else { panic!("{code}: {unknown:?}") };
                assert_eq!((unknown.code, unknown.partial), (code, is_partial));
                assert_eq!(unknown.value, value, "{code}");
                let again = crate::support::write(&Message::Update(got), &format(bits));
                let passed = hex(&attribute(0xE0, code, &value));
                assert!(hex(&again).contains(&passed), "{code}: {}", hex(&again));
            }
        }
        // Those that are not transitive end here.
        let list = [mandatory(), attribute(0x80, code, &value)].concat();
        let Message::Update(got) =
            read_update(&update(&[], &list, &[8, 10]), &format(EXTERNAL)).message
        else {
            panic!("an UPDATE");
        };
        assert_eq!(got.attributes.unwrap().unknown, [], "{code}");
    }
}

/// Calls `each` with every order of `items`.
fn permute<T: Clone>(items: &[T], each: &mut impl FnMut(&[T])) {
    fn go<T: Clone>(done: &mut Vec<T>, rest: &[T], each: &mut impl FnMut(&[T])) {
        if rest.is_empty() {
            each(done);
        }
        for index in 0..rest.len() {
            let mut rest = rest.to_vec();
            done.push(rest.remove(index));
            go(done, &rest, each);
            done.pop();
        }
    }
    go(&mut Vec::new(), items, each);
}

#[test]
fn the_order_of_attributes_does_not_count() {
    let mandatory = ["40010100", "400208 0203 fde9 5ba0 5ba0", "400304 c0000201"];
    for (name, extra) in [
        (
            "well-formed",
            ["c00706 5ba0 0a000001", "c0110a 0202 00011170 00011171", "c01208 00011170 0a000001"],
        ),
        ("AS4_PATH cut off", ["80040400000001", "c01105 0202 000111", "c0080400010001"]),
        (
            "stale AS4_PATH",
            ["c00706 0001 0a000001", "c0110a 0202 00011170 00011171", "c01208 00011170 0a000001"],
        ),
        ("unknown ones", ["c0c80101", "c0630102", "801a0103"]),
        (
            "IPv6 too",
            [
                "800e17 000201 10 20010db8000000000000000000000001 00 0820",
                "800f05 000201 0820",
                "c00803000100",
            ],
        ),
    ] {
        let list: Vec<Vec<u8>> = mandatory.iter().chain(&extra).map(|text| unhex(text)).collect();
        let result = |list: &[Vec<u8>]| {
            let octets = update(&[8, 11], &list.concat(), &[8, 10]);
            let mut decoded = read_update(&octets, &format(0));
            decoded.faults.sort_by_key(|fault| fault.code);
            decoded
        };
        let want = result(&list);
        permute(&list, &mut |list| assert_eq!(result(list), want, "{name}"));
    }
}

#[test]
fn as_paths_of_two_and_four_octets_merge() {
    for (name, path, as4, aggregator, want) in [
        ("none", "0202 fde9 5ba0", "", "", "65001 23456"),
        ("equally long", "0202 fde9 5ba0", "c0110a 0202 0000fde9 00011170", "", "65001 70000"),
        (
            "longer by an old speaker",
            "0203 0001 fde9 5ba0",
            "c0110a 0202 0000fde9 00011170",
            "",
            "1 65001 70000",
        ),
        ("longer than the path", "0201 5ba0", "c0110a 0202 0000fde9 00011170", "", "23456"),
        ("a set in front", "0102 0001 0002 0201 5ba0", "c01106 0201 00011170", "", "{1,2} 70000"),
        (
            "a set that counts one",
            "0201 0001 0102 5ba0 5ba0",
            "c0110a 0102 00011170 00011171",
            "",
            "1 {70000,70001}",
        ),
        (
            "a confederation in front",
            "0301 0009 0202 0001 5ba0",
            "c01106 0201 00011170",
            "",
            "(9) 1 70000",
        ),
        (
            "a confederation inside AS4_PATH",
            "0201 5ba0",
            "c0110c 0301 00000009 0201 00011170",
            "",
            "70000",
        ),
        (
            "a new aggregator",
            "0201 5ba0",
            "c01106 0201 00011170",
            "c00706 5ba0 0a000001 c01208 00011170 0a000002",
            "70000",
        ),
        (
            "an old aggregator",
            "0201 5ba0",
            "c01106 0201 00011170",
            "c00706 0001 0a000001 c01208 00011170 0a000002",
            "23456",
        ),
        (
            "an old aggregator alone",
            "0201 5ba0",
            "c01106 0201 00011170",
            "c00706 0001 0a000001",
            "70000",
        ),
    ] {
        let list = [
            unhex("40010100 400304 c0000201"),
            attribute(0x40, 2, &unhex(path)),
            unhex(as4),
            unhex(aggregator),
        ];
        // From an internal peer, for the confederations.
        let decoded = read_update(&update(&[], &list.concat(), &[8, 10]), &format(2));
        assert_eq!(decoded.faults, [], "{name}");
        let Message::Update(got) = decoded.message else { panic!("an UPDATE") };
        let attributes = got.attributes.unwrap();
        assert_eq!(attributes.as_path.to_string(), want, "{name}");
        let want = match name {
            "a new aggregator" => Some((asn(70000), "10.0.0.2")),
            "an old aggregator" | "an old aggregator alone" => Some((asn(1), "10.0.0.1")),
            _ => None,
        };
        let got = attributes.aggregator.map(|a| (a.asn, a.address.to_string()));
        assert_eq!(got, want.map(|(asn, address)| (asn, address.to_owned())), "{name}");
    }
}
