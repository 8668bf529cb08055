//! Malformed attributes: what each does to an external and to an internal session
//! (RFC 7606, and the RFCs of the attributes).

use brindle_bgp::msg::{Message, NextHop, Treatment, Update, decode};

use crate::support::{
    EXTERNAL, INTERNAL, attribute, format, hex, mandatory, message, prefixes, reach, read,
    read_update, unhex, update, v6,
};

/// What becomes of an UPDATE that announces 10.0.0.0/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Announced, nothing noted.
    Fine,
    /// Announced, the attribute dropped.
    Discard,
    /// Withdrawn.
    Withdraw,
    /// The session ends with this code and subcode.
    Reset(u8, u8),
}

/// What becomes of octets; the update must be all announced or all withdrawn.
fn outcome(octets: &[u8], bits: u8) -> Outcome {
    let decoded = match read(octets, &format(bits)) {
        Ok(decoded) => decoded,
        Err(error) => return Outcome::Reset(error.0.code, error.0.subcode),
    };
    let Message::Update(update) = decoded.message else { panic!("an UPDATE") };
    let worst = decoded.faults.iter().map(|fault| fault.treatment).max();
    match (update.announced.is_empty(), update.withdrawn.is_empty(), worst) {
        (false, true, None) => Outcome::Fine,
        (false, true, Some(Treatment::DiscardAttribute)) => Outcome::Discard,
        (true, false, Some(Treatment::TreatAsWithdraw)) => {
            assert_eq!(update.attributes, None);
            Outcome::Withdraw
        }
        other => panic!("{other:?} of {}", hex(octets)),
    }
}

/// An UPDATE of 10.0.0.0/8 whose mandatory attributes are there unless `code` is one of them,
/// and then `extra`.
fn around(code: u8, extra: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for (have, octets) in [(1, "40010100"), (2, "4002060201 0000fde9"), (3, "400304 c0000201")] {
        if have != code {
            list.extend(unhex(octets));
        }
    }
    list.extend_from_slice(extra);
    update(&[], &list, &[8, 10]).to_vec()
}

#[test]
fn malformed_values_are_treated_by_type_code() {
    use Outcome::{Discard, Fine, Reset, Withdraw};
    for (name, flags, code, value, external, internal) in [
        // ORIGIN
        ("egp", 0x40, 1, "01", Fine, Fine),
        ("value 3", 0x40, 1, "03", Withdraw, Withdraw),
        ("empty", 0x40, 1, "", Withdraw, Withdraw),
        ("two octets", 0x40, 1, "0000", Withdraw, Withdraw),
        ("optional", 0xC0, 1, "00", Withdraw, Withdraw),
        ("not transitive", 0x00, 1, "00", Withdraw, Withdraw),
        ("partial, which does not count", 0x60, 1, "00", Fine, Fine),
        ("unused flags, which do not count", 0x4F, 1, "00", Fine, Fine),
        ("extended length", 0x50, 1, "00", Fine, Fine),
        // AS_PATH
        ("empty", 0x40, 2, "", Fine, Fine),
        ("a set", 0x40, 2, "0101 00000001", Fine, Fine),
        ("segment type 0", 0x40, 2, "0001 00000001", Withdraw, Withdraw),
        ("segment type 5", 0x40, 2, "0501 00000001", Withdraw, Withdraw),
        ("segment without numbers", 0x40, 2, "0200", Withdraw, Withdraw),
        ("second segment without numbers", 0x40, 2, "0201 00000001 0200", Withdraw, Withdraw),
        ("segment too long", 0x40, 2, "0202 00000001", Withdraw, Withdraw),
        ("an octet left", 0x40, 2, "0201 00000001 02", Withdraw, Withdraw),
        ("two-octet numbers", 0x40, 2, "0201 0001", Withdraw, Withdraw),
        ("AS 0", 0x40, 2, "0202 00000001 00000000", Withdraw, Withdraw),
        ("AS 0 in a set", 0x40, 2, "0201 00000001 0101 00000000", Withdraw, Withdraw),
        ("confederation sequence", 0x40, 2, "0301 00000001", Withdraw, Fine),
        ("confederation set", 0x40, 2, "0401 00000001", Withdraw, Fine),
        ("optional", 0xC0, 2, "0201 00000001", Withdraw, Withdraw),
        // NEXT_HOP
        ("unspecified", 0x40, 3, "00000000", Withdraw, Withdraw),
        ("this network", 0x40, 3, "00000001", Withdraw, Withdraw),
        ("loopback", 0x40, 3, "7f000001", Withdraw, Withdraw),
        ("multicast", 0x40, 3, "e0000001", Withdraw, Withdraw),
        ("broadcast", 0x40, 3, "ffffffff", Withdraw, Withdraw),
        ("private", 0x40, 3, "0a000001", Fine, Fine),
        ("optional", 0x80, 3, "0a000001", Withdraw, Withdraw),
        // MULTI_EXIT_DISC
        ("four octets", 0x80, 4, "00000001", Fine, Fine),
        ("three octets", 0x80, 4, "000001", Withdraw, Withdraw),
        ("five octets", 0x80, 4, "0000000001", Withdraw, Withdraw),
        ("transitive", 0xC0, 4, "00000001", Withdraw, Withdraw),
        ("well-known", 0x00, 4, "00000001", Withdraw, Withdraw),
        // LOCAL_PREF
        ("four octets", 0x40, 5, "00000001", Discard, Fine),
        ("three octets", 0x40, 5, "000001", Discard, Withdraw),
        ("empty", 0x40, 5, "", Discard, Withdraw),
        ("optional", 0x80, 5, "00000001", Discard, Withdraw),
        // ATOMIC_AGGREGATE
        ("empty", 0x40, 6, "", Fine, Fine),
        ("one octet", 0x40, 6, "00", Discard, Discard),
        ("optional", 0xC0, 6, "", Withdraw, Withdraw),
        // AGGREGATOR
        ("eight octets", 0xC0, 7, "00000001 0a000001", Fine, Fine),
        ("six octets", 0xC0, 7, "0001 0a000001", Discard, Discard),
        ("AS 0", 0xC0, 7, "00000000 0a000001", Discard, Discard),
        ("well-known", 0x40, 7, "00000001 0a000001", Withdraw, Withdraw),
        // COMMUNITIES
        ("one", 0xC0, 8, "00010001", Fine, Fine),
        ("empty", 0xC0, 8, "", Withdraw, Withdraw),
        ("five octets", 0xC0, 8, "0001000100", Withdraw, Withdraw),
        ("not transitive", 0x80, 8, "00010001", Withdraw, Withdraw),
        // ORIGINATOR_ID
        ("four octets", 0x80, 9, "0a000001", Discard, Fine),
        ("zero", 0x80, 9, "00000000", Discard, Withdraw),
        ("five octets", 0x80, 9, "0a00000100", Discard, Withdraw),
        ("well-known", 0x40, 9, "0a000001", Discard, Withdraw),
        // CLUSTER_LIST
        ("one", 0x80, 10, "0a000001", Discard, Fine),
        ("empty", 0x80, 10, "", Discard, Withdraw),
        ("six octets", 0x80, 10, "0a0000010a00", Discard, Withdraw),
        // MP_REACH_NLRI and MP_UNREACH_NLRI
        ("too short", 0x80, 14, "00020110", Reset(3, 9), Reset(3, 9)),
        ("empty", 0x80, 14, "", Reset(3, 9), Reset(3, 9)),
        ("too short", 0x80, 15, "0002", Reset(3, 9), Reset(3, 9)),
        ("prefix too long", 0x80, 15, "000201 81 00", Reset(3, 9), Reset(3, 9)),
        ("prefix cut off", 0x80, 15, "000201 10 20", Reset(3, 9), Reset(3, 9)),
        // EXTENDED COMMUNITIES
        ("one", 0xC0, 16, "0002000100000001", Fine, Fine),
        ("empty", 0xC0, 16, "", Withdraw, Withdraw),
        ("nine octets", 0xC0, 16, "000200010000000100", Withdraw, Withdraw),
        ("well-known", 0x40, 16, "0002000100000001", Withdraw, Withdraw),
        // From a peer with four-octet numbers: AS4_PATH and AS4_AGGREGATOR have no place.
        ("a path", 0xC0, 17, "0201 00000001", Discard, Discard),
        ("an aggregator", 0xC0, 18, "00000001 0a000001", Discard, Discard),
        ("malformed", 0xC0, 17, "02", Discard, Discard),
        ("well-known", 0x40, 18, "00000001 0a000001", Discard, Discard),
        // LARGE_COMMUNITY
        ("one", 0xC0, 32, "000000010000000200000003", Fine, Fine),
        ("empty", 0xC0, 32, "", Withdraw, Withdraw),
        ("eleven octets", 0xC0, 32, "0000000100000002000000", Withdraw, Withdraw),
        // ONLY_TO_CUSTOMER
        ("one", 0xC0, 35, "0000fde9", Fine, Fine),
        ("AS 0, which does not count", 0xE0, 35, "00000000", Fine, Fine),
        ("three octets", 0xC0, 35, "00fde9", Withdraw, Withdraw),
        ("eight octets", 0xC0, 35, "0000fde90000fde9", Withdraw, Withdraw),
        ("empty", 0xC0, 35, "", Withdraw, Withdraw),
        ("not transitive", 0x80, 35, "0000fde9", Withdraw, Withdraw),
        // PREFIX_SID: 37 zeros are twelve elements and one octet.
        ("seen in the wild", 0xC0, 40, &"00".repeat(37), Discard, Discard),
        ("well-formed", 0xC0, 40, "01 0007 00 0000 00000064", Fine, Fine),
        // Unknown ones
        ("optional", 0x80, 99, "010203", Fine, Fine),
        ("transitive", 0xC0, 99, "010203", Fine, Fine),
        ("well-known", 0x40, 99, "010203", Reset(3, 2), Reset(3, 2)),
        ("no flags", 0x00, 99, "", Reset(3, 2), Reset(3, 2)),
    ] {
        let octets = around(code, &attribute(flags, code, &unhex(value)));
        let row = format!("attribute {code}, flags 0x{flags:02x}, {name}");
        assert_eq!(outcome(&octets, EXTERNAL), external, "{row}, from an external peer");
        assert_eq!(outcome(&octets, INTERNAL), internal, "{row}, from an internal peer");
    }
}

#[test]
fn two_octet_attributes_are_treated_by_type_code() {
    use Outcome::{Discard, Fine, Withdraw};
    let list = |extra: &str| unhex(&["40010100 4002040201 fde9 400304 c0000201", extra].concat());
    for (extra, want) in [
        ("c00706 0001 0a000001", Fine),
        ("c00708 00000001 0a000001", Discard),
        ("c01106 0201 00000001", Fine),
        ("c01100", Fine),
        ("c01105 0201 000001", Discard),
        ("c01106 0901 00000001", Discard),
        ("c01106 0201 00000000", Discard),
        ("c01202 0201", Discard),
        ("c01208 00000000 0a000001", Discard),
        ("801106 0201 00000001", Withdraw),
        ("401208 00000001 0a000001", Withdraw),
    ] {
        assert_eq!(outcome(&update(&[], &list(extra), &[8, 10]), 0), want, "{extra}");
    }
}

#[test]
fn a_fault_says_what_and_what_became_of_it() {
    for (flags, code, value, want) in [
        (0x40, 3, "0a0000", "NEXT_HOP: 3 octets, not 4: prefixes treated as withdrawn"),
        (0x40, 3, "7f000001", "NEXT_HOP: address 127.0.0.1: prefixes treated as withdrawn"),
        (0x40, 1, "07", "ORIGIN: value 7: prefixes treated as withdrawn"),
        (0x80, 1, "00", "ORIGIN with flags 0x80: prefixes treated as withdrawn"),
        (0x40, 2, "0200", "AS_PATH: a segment without AS numbers: prefixes treated as withdrawn"),
        (0xC0, 7, "01", "AGGREGATOR: 1 octets, not 8: attribute discarded"),
        (
            0xC0,
            8,
            "01",
            "COMMUNITIES: 1 octets, not a multiple of 4: prefixes treated as withdrawn",
        ),
        (0x40, 5, "00000001", "LOCAL_PREF from an external peer: attribute discarded"),
        (0xC0, 17, "", "AS4_PATH from a peer with four-octet AS numbers: attribute discarded"),
    ] {
        let octets = around(code, &attribute(flags, code, &unhex(value)));
        let decoded = read_update(&octets, &format(EXTERNAL));
        let faults: Vec<String> = decoded.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, [want], "{}", hex(&octets));
    }
}

#[test]
fn a_next_hop_has_four_octets() {
    for length in 0..=17 {
        let octets = around(3, &attribute(0x40, 3, &vec![10; length]));
        let want = if length == 4 { Outcome::Fine } else { Outcome::Withdraw };
        for bits in [EXTERNAL, INTERNAL] {
            assert_eq!(outcome(&octets, bits), want, "{length} octets");
        }
    }
}

#[test]
fn a_multiprotocol_next_hop_has_a_length_of_its_family() {
    let global = unhex("20010db8000000000000000000000001");
    for length in 0..=64_usize {
        let next_hop: Vec<u8> = global.iter().copied().cycle().take(length).collect();
        for (afi, bits, legal) in [
            (1, EXTERNAL, &[4][..]),
            (1, EXTERNAL | 8, &[4, 16, 32]),
            (2, EXTERNAL, &[16, 32]),
            (2, EXTERNAL | 8, &[16, 32]),
        ] {
            let list = [mandatory(), reach(afi, &next_hop, &[8, 0x20])].concat();
            let want = if legal.contains(&length) { Outcome::Fine } else { Outcome::Reset(3, 9) };
            let row = format!("AFI {afi}, {length} octets, format {bits}");
            assert_eq!(outcome(&update(&[], &list, &[]), bits), want, "{row}");
        }
    }
}

#[test]
fn a_multiprotocol_next_hop_is_read_as_it_is_meant() {
    let beside = |global: &str, link_local: &str| NextHop::V6 {
        global: global.parse().unwrap(),
        link_local: Some(link_local.parse().unwrap()),
    };
    for (name, octets, want) in [
        ("global", "20010db8 00000000 00000000 00000001", Some(v6("2001:db8::1"))),
        ("link-local", "fe800000 00000000 00000000 00000001", Some(v6("fe80::1"))),
        (
            "both",
            "20010db8 00000000 00000000 00000001 fe800000 00000000 00000000 00000002",
            Some(beside("2001:db8::1", "fe80::2")),
        ),
        (
            "no link-local address where one could be",
            "20010db8 00000000 00000000 00000001 00000000 00000000 00000000 00000000",
            Some(v6("2001:db8::1")),
        ),
        (
            "link-local twice",
            "fe800000 00000000 00000000 00000001 fe800000 00000000 00000000 00000001",
            Some(v6("fe80::1")),
        ),
        (
            "link-local only",
            "00000000 00000000 00000000 00000000 fe800000 00000000 00000000 00000001",
            Some(v6("fe80::1")),
        ),
        ("unspecified", "00000000 00000000 00000000 00000000", None),
        ("loopback", "00000000 00000000 00000000 00000001", None),
        ("multicast", "ff020000 00000000 00000000 00000001", None),
    ] {
        let list = [mandatory(), reach(2, &unhex(octets), &[8, 0x20])].concat();
        let Message::Update(got) = read_update(&update(&[], &list, &[]), &format(EXTERNAL)).message
        else {
            panic!("an UPDATE");
        };
        let next_hop = got.announced.first().map(|announcement| announcement.next_hop);
        assert_eq!(next_hop, want, "{name}");
        assert_eq!(got.withdrawn.is_empty(), want.is_some(), "{name}");
    }
}

#[test]
fn the_reserved_octet_of_multiprotocol_attributes_does_not_count() {
    let mut attribute = reach(2, &unhex("20010db8 00000000 00000000 00000001"), &[8, 0x20]);
    let reserved = attribute.len() - 3;
    attribute[reserved] = 7;
    let list = [mandatory(), attribute].concat();
    assert_eq!(outcome(&update(&[], &list, &[]), EXTERNAL), Outcome::Fine);
}

#[test]
fn missing_mandatory_attributes_withdraw() {
    let all = ["40010100", "4002060201 0000fde9", "400304 c0000201"].map(unhex);
    for missing in 0..3 {
        let mut list = all.to_vec();
        list.remove(missing);
        let octets = update(&[], &list.concat(), &[8, 10]);
        assert_eq!(outcome(&octets, EXTERNAL), Outcome::Withdraw, "without {}", missing + 1);
        // NEXT_HOP is not needed where MP_REACH_NLRI has its own.
        list.push(reach(2, &unhex("20010db8 00000000 00000000 00000001"), &[8, 0x20]));
        let octets = update(&[], &list.concat(), &[]);
        let want = if missing == 2 { Outcome::Fine } else { Outcome::Withdraw };
        assert_eq!(outcome(&octets, EXTERNAL), want, "without {}, IPv6", missing + 1);
    }
    assert_eq!(outcome(&update(&[], &[], &[8, 10]), EXTERNAL), Outcome::Withdraw);
}

#[test]
fn withdrawals_need_no_attributes() {
    let unreach = attribute(0x80, 15, &[0, 2, 1, 8, 0x20]);
    for (octets, want) in [
        (update(&[8, 10], &[], &[]), "10.0.0.0/8"),
        (update(&[], &unreach, &[]), "2000::/8"),
        // Attributes that serve nothing do no harm.
        (update(&[8, 10], &mandatory(), &[]), "10.0.0.0/8"),
        (update(&[], &[mandatory(), unreach.clone()].concat(), &[]), "2000::/8"),
        // The prefixes of an MP_UNREACH_NLRI are found even if its flags are wrong.
        (update(&[], &attribute(0xC0, 15, &[0, 2, 1, 8, 0x20]), &[]), "2000::/8"),
    ] {
        let Message::Update(got) = read_update(&octets, &format(EXTERNAL)).message else {
            panic!("an UPDATE");
        };
        let want = Update { withdrawn: prefixes([want]), ..Update::default() };
        assert_eq!(got, want, "{}", hex(&octets));
    }
}

#[test]
fn malformed_attributes_without_reachable_prefixes_end_the_session() {
    let bad_origin = unhex("40010103");
    let unreach = attribute(0x80, 15, &[0, 2, 1, 8, 0x20]);
    let no_prefixes = attribute(0x80, 15, &[0, 2, 1]);
    let bad_aggregator = unhex("c00701 00");
    for (name, octets, is_reset) in [
        ("nothing but the attribute", update(&[], &bad_origin, &[]), true),
        ("withdrawn", update(&[8, 10], &bad_origin, &[]), true),
        ("MP_UNREACH", update(&[], &[bad_origin.clone(), unreach].concat(), &[]), true),
        ("nearly End-of-RIB", update(&[], &[no_prefixes, bad_origin].concat(), &[]), true),
        ("only discarded", update(&[8, 10], &bad_aggregator, &[]), false),
        ("a list cut off", update(&[8, 10], &[0x40, 1], &[]), true),
    ] {
        let got =
            decode(&octets, &format(EXTERNAL)).map_err(|error| (error.0.code, error.0.subcode));
        assert_eq!(got.err(), is_reset.then_some((3, 1)), "{name}");
    }
}

#[test]
fn a_list_of_attributes_that_does_not_add_up_withdraws() {
    for (name, tail) in [
        ("one octet left", "40"),
        ("two octets left", "4005"),
        ("an attribute longer than the list", "c00808 00010001"),
        ("an extended length cut off", "d00800"),
        ("an extended length over all", "d008ffff 00010001"),
    ] {
        let list = [mandatory(), unhex(tail)].concat();
        let octets = update(&[], &list, &[8, 10]);
        assert_eq!(outcome(&octets, EXTERNAL), Outcome::Withdraw, "{name}");
        assert_eq!(outcome(&octets, INTERNAL), Outcome::Withdraw, "{name}");
    }
}

#[test]
fn fields_that_leave_the_message_end_the_session() {
    for body in ["0005 00000000", "ffff 0000", "0000 0005 400101", "0000 ffff", "0001 08 0001"] {
        let octets = message(2, &unhex(body));
        assert_eq!(outcome(&octets, EXTERNAL), Outcome::Reset(3, 1), "{body}");
    }
}

#[test]
fn prefixes_that_cannot_be_told_apart_end_the_session() {
    for (name, field) in
        [("too long", "21 0a00000000"), ("cut off", "18 0a00"), ("length only", "01")]
    {
        let field = unhex(field);
        let want = Outcome::Reset(3, 10);
        assert_eq!(outcome(&update(&[], &mandatory(), &field), EXTERNAL), want, "{name}");
        assert_eq!(outcome(&update(&field, &[], &[]), EXTERNAL), want, "{name}, withdrawn");
        let list = [mandatory(), reach(1, &[192, 0, 2, 1], &field)].concat();
        let want = Outcome::Reset(3, 9);
        assert_eq!(outcome(&update(&[], &list, &[]), EXTERNAL), want, "{name}, MP_REACH");
    }
}

#[test]
fn the_first_of_equal_attributes_counts() {
    let med = |value: u8| attribute(0x80, 4, &[0, 0, 0, value]);
    let list = [mandatory(), med(1), med(2), med(3)].concat();
    let decoded = read_update(&update(&[], &list, &[8, 10]), &format(EXTERNAL));
    let Message::Update(got) = decoded.message else { panic!("an UPDATE") };
    assert_eq!(got.attributes.unwrap().med, Some(1));
    let faults: Vec<_> = decoded.faults.iter().map(|f| (f.code, f.treatment)).collect();
    assert_eq!(faults, [(4, Treatment::DiscardAttribute)]);
    for twice in [reach(2, &[0x20; 16], &[8, 0x20]), attribute(0x80, 15, &[0, 2, 1, 8, 0x20])] {
        let list = [mandatory(), twice.clone(), twice].concat();
        assert_eq!(outcome(&update(&[], &list, &[8, 10]), EXTERNAL), Outcome::Reset(3, 1));
    }
}

#[test]
fn next_hop_does_not_count_beside_multiprotocol_prefixes_alone() {
    let list = [
        unhex("40010100 4002060201 0000fde9 400302 c000"),
        reach(2, &unhex("20010db8 00000000 00000000 00000001"), &[8, 0x20]),
    ];
    assert_eq!(outcome(&update(&[], &list.concat(), &[]), EXTERNAL), Outcome::Discard);
    assert_eq!(outcome(&update(&[], &list.concat(), &[8, 10]), EXTERNAL), Outcome::Withdraw);
}
