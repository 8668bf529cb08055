//! Two other implementations as judges: what we write they read as the same, and what they
//! write we read as the same. One is strict, the other tolerant and told to complain.

use bgpkit_parser::models::{AsnLength, AttributeValue, BgpMessage as Tolerant};
use bgpkit_parser::parser::bgp::parse_bgp_message;
use brindle_bgp::msg::{Attributes, Message, Nlri, Origin, SegmentKind, Update, WireFormat};
use brindle_bgp::net::{ClusterId, Family};
use bytes::Bytes;
use netgauze_bgp_pkt::BgpMessage as Strict;
use netgauze_bgp_pkt::path_attribute::{MpReach, MpUnreach, PathAttributeValue};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_iana::address_family::AddressType;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert_eq, proptest};

use crate::generate::{any_format, any_update};
use crate::golden::vectors;
use crate::support::{
    EXTERNAL, INTERNAL, announce, format, hex, message, path, prefixes, read, split, unhex, v4, v6,
    write,
};

/// Prefixes as text, sorted, each with its path identifier: withdrawn and announced.
type Said = (Vec<String>, Vec<String>);

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn said_of(prefix: &impl std::fmt::Display, path_id: u32) -> String {
    format!("{prefix}#{path_id}")
}

fn said_by_us(message: &Message) -> Said {
    let Message::Update(update) = message else { return Said::default() };
    let texts = |prefixes: &mut dyn Iterator<Item = &Nlri>| {
        sorted(prefixes.map(|nlri| said_of(&nlri.prefix, nlri.path_id.0)).collect())
    };
    let announced = update.announced.iter().flat_map(|announcement| &announcement.prefixes);
    (texts(&mut update.withdrawn.iter()), texts(&mut { announced }))
}

/// What the strict one reads, and what it writes for that.
fn strict(octets: &[u8], format: &WireFormat) -> (Said, Vec<u8>) {
    let mut context = if format.four_octet_asns {
        BgpParsingContext::default()
    } else {
        BgpParsingContext::asn2_default()
    };
    for address_type in [AddressType::Ipv4Unicast, AddressType::Ipv6Unicast] {
        context.add_path_mut().insert(address_type, format.add_paths.receive[0]);
    }
    let read = Strict::parse(&mut SliceReader::new(octets), &mut context)
        .unwrap_or_else(|error| panic!("{error}: {}", hex(octets)));
    let mut said = Said::default();
    if let Strict::Update(update) = &read {
        let (withdrawn, announced) = &mut said;
        withdrawn.extend(
            update
                .withdraw_routes()
                .iter()
                .map(|p| said_of(&p.network().address(), p.path_id().unwrap_or_default())),
        );
        announced.extend(
            update
                .nlri()
                .iter()
                .map(|p| said_of(&p.network().address(), p.path_id().unwrap_or_default())),
        );
        for attribute in update.path_attributes() {
            match attribute.value() {
                PathAttributeValue::MpReach(MpReach::Ipv4Unicast { nlri, .. }) => {
                    announced.extend(
                        nlri.iter().map(|p| {
                            said_of(&p.network().address(), p.path_id().unwrap_or_default())
                        }),
                    );
                }
                PathAttributeValue::MpReach(MpReach::Ipv6Unicast { nlri, .. }) => {
                    announced.extend(
                        nlri.iter().map(|p| {
                            said_of(&p.network().address(), p.path_id().unwrap_or_default())
                        }),
                    );
                }
                PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                    withdrawn.extend(
                        nlri.iter().map(|p| {
                            said_of(&p.network().address(), p.path_id().unwrap_or_default())
                        }),
                    );
                }
                _ => {}
            }
        }
    }
    let mut written = Vec::new();
    read.write(&mut written).unwrap_or_else(|error| panic!("{error}: {}", hex(octets)));
    ((sorted(said.0), sorted(said.1)), written)
}

/// What the tolerant one reads without a warning, and what it writes for that.
fn tolerant(octets: &[u8], format: &WireFormat) -> (Said, Vec<u8>) {
    let length = if format.four_octet_asns { AsnLength::Bits32 } else { AsnLength::Bits16 };
    let read = parse_bgp_message(
        &mut Bytes::copy_from_slice(octets),
        format.add_paths.receive[0],
        &length,
    )
    .unwrap_or_else(|error| panic!("{error}: {}", hex(octets)));
    let mut said = Said::default();
    if let Tolerant::Update(update) = &read {
        let warnings = update.attributes.validation_warnings();
        assert!(warnings.is_empty(), "{warnings:?}: {}", hex(octets));
        let (withdrawn, announced) = &mut said;
        withdrawn.extend(
            update
                .withdrawn_prefixes
                .iter()
                .map(|p| said_of(&p.prefix, p.path_id.unwrap_or_default())),
        );
        announced.extend(
            update
                .announced_prefixes
                .iter()
                .map(|p| said_of(&p.prefix, p.path_id.unwrap_or_default())),
        );
        for attribute in &update.attributes {
            match attribute {
                AttributeValue::MpReachNlri(nlri) => {
                    announced.extend(
                        nlri.prefixes
                            .iter()
                            .map(|p| said_of(&p.prefix, p.path_id.unwrap_or_default())),
                    );
                }
                AttributeValue::MpUnreachNlri(nlri) => {
                    withdrawn.extend(
                        nlri.prefixes
                            .iter()
                            .map(|p| said_of(&p.prefix, p.path_id.unwrap_or_default())),
                    );
                }
                _ => {}
            }
        }
    }
    let written = read.encode(length).unwrap_or_else(|error| panic!("{error}: {}", hex(octets)));
    ((sorted(said.0), sorted(said.1)), written.to_vec())
}

/// Leaves out what the judges refuse for reasons of their own: multicast prefixes,
/// attributes that they know and we do not, confederation segments, and extended communities
/// whose reserved octets they do not keep.
fn judgeable(mut update: Update) -> Update {
    let is_unicast = |Nlri { prefix, .. }: &Nlri| match prefix.address() {
        std::net::IpAddr::V4(address) => prefix.length() >= 8 && address.octets()[0] < 224,
        std::net::IpAddr::V6(address) => prefix.length() >= 8 && address.octets()[0] < 0xFE,
    };
    update.withdrawn.retain(is_unicast);
    for announcement in &mut update.announced {
        announcement.prefixes.retain(is_unicast);
    }
    update.announced.retain(|announcement| !announcement.prefixes.is_empty());
    if update.announced.is_empty() {
        update.attributes = None;
    }
    if let Some(attributes) = &mut update.attributes {
        attributes.unknown.retain(|unknown| (100..=120).contains(&unknown.code));
        for community in &mut attributes.extended_communities {
            community.0[..2].copy_from_slice(&[0, 2]);
        }
        attributes.extended_communities.sort_unstable();
        attributes.extended_communities.dedup();
        let segments = &mut attributes.as_path.0;
        segments.retain(|s| matches!(s.kind, SegmentKind::Sequence | SegmentKind::Set));
    }
    update
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn judges_agree_on_generated_updates((format, update) in any_format().prop_flat_map(|format| {
        let update = any_update(&format);
        (Just(format), update.prop_map(judgeable))
    })) {
        for octets in split(&write(&Message::Update(update), &format), &format) {
            let ours = read(&octets, &format).unwrap().message;
            for (judge, (said, written)) in [
                ("strict", strict(&octets, &format)),
                ("tolerant", tolerant(&octets, &format)),
            ] {
                prop_assert_eq!(&said, &said_by_us(&ours), "{}: {}", judge, hex(&octets));
                let again = read(&written, &format);
                let again = again.unwrap_or_else(|e| panic!("{judge}: {e}: {}", hex(&written)));
                prop_assert_eq!(&again.message, &ours, "{}: {}", judge, hex(&octets));
                prop_assert_eq!(&again.faults, &[], "{}: {}", judge, hex(&octets));
            }
        }
    }
}

#[test]
fn judges_agree_on_golden_octets() {
    for (name, bits, kind, body, want) in vectors() {
        // What one of them does not know: a subtype, RFC 8538, attribute 26 of any value.
        let beyond = [
            "unknown refresh",
            "open with every capability",
            "every attribute of an internal peer",
            "origin incomplete, every kind of segment",
        ];
        if beyond.contains(&name) {
            continue;
        }
        let format = format(bits);
        let octets = message(kind, &unhex(body));
        for (judge, (said, written)) in
            [("strict", strict(&octets, &format)), ("tolerant", tolerant(&octets, &format))]
        {
            assert_eq!(said, said_by_us(&want), "{judge}: {name}");
            let again = read(&written, &format);
            let again = again.unwrap_or_else(|e| panic!("{judge}: {name}: {e}: {}", hex(&written)));
            assert_eq!(again.message, want, "{judge}: {name}");
        }
    }
}

#[test]
fn judges_know_our_end_of_rib() {
    for family in Family::ALL {
        let octets = brindle_bgp::msg::end_of_rib(family);
        let mut context = BgpParsingContext::default();
        let Strict::Update(update) =
            Strict::parse(&mut SliceReader::new(&octets), &mut context).unwrap()
        else {
            panic!("an UPDATE");
        };
        let want = match family {
            Family::Ipv4Unicast => "Ipv4Unicast",
            Family::Ipv6Unicast => "Ipv6Unicast",
        };
        assert_eq!(format!("{:?}", update.end_of_rib().unwrap()), want);
        let Tolerant::Update(update) =
            parse_bgp_message(&mut octets.clone(), false, &AsnLength::Bits32).unwrap()
        else {
            panic!("an UPDATE");
        };
        assert!(update.is_end_of_rib(), "{family}");
    }
}

#[test]
fn what_the_strict_one_makes_is_read_as_it_is_meant() {
    use netgauze_bgp_pkt::community::LargeCommunity;
    use netgauze_bgp_pkt::nlri::{Ipv4Unicast, Ipv4UnicastAddress};
    use netgauze_bgp_pkt::path_attribute as theirs;
    use netgauze_bgp_pkt::path_attribute::PathAttributeValue as Value;
    use netgauze_bgp_pkt::update::BgpUpdateMessage;

    let attribute = |optional, transitive, value| {
        theirs::PathAttribute::from(optional, transitive, false, true, value).unwrap()
    };
    let network = |text: &str| {
        let network = Ipv4Unicast::from_net(text.parse().unwrap()).unwrap();
        Ipv4UnicastAddress::new_no_path_id(network)
    };
    let segment =
        theirs::As4PathSegment::new(theirs::AsPathSegmentType::AsSequence, [70_000, 65_001]);
    // Not in ascending order, and all with two octets of length.
    let update = BgpUpdateMessage::new(
        [network("10.9.0.0/16")],
        [
            attribute(
                true,
                true,
                Value::LargeCommunities(theirs::LargeCommunities::new([
                    LargeCommunity::new(70_000, 3, 4),
                    LargeCommunity::new(70_000, 1, 2),
                ])),
            ),
            attribute(
                true,
                false,
                Value::MultiExitDiscriminator(theirs::MultiExitDiscriminator::new(7)),
            ),
            attribute(false, true, Value::NextHop(theirs::NextHop::new([192, 0, 2, 1].into()))),
            attribute(
                false,
                true,
                Value::AsPath(theirs::AsPath::As4PathSegments([segment].into())),
            ),
            attribute(false, true, Value::Origin(theirs::Origin::Incomplete)),
        ],
        [network("10.0.0.0/8"), network("10.1.2.0/24")],
    );
    let mut octets = Vec::new();
    Strict::Update(update).write(&mut octets).unwrap();
    let want = Update {
        withdrawn: prefixes(["10.9.0.0/16"]),
        ..announce(
            v4("192.0.2.1"),
            prefixes(["10.0.0.0/8", "10.1.2.0/24"]),
            Attributes {
                origin: Origin::Incomplete,
                med: Some(7),
                large_communities: [(1, 2), (3, 4)]
                    .map(|(local1, local2)| brindle_bgp::msg::LargeCommunity {
                        global: 70_000,
                        local1,
                        local2,
                    })
                    .to_vec(),
                ..path(&[70_000, 65_001])
            },
        )
    };
    let decoded = read(&octets, &format(EXTERNAL)).unwrap();
    assert_eq!((decoded.message, decoded.faults), (Message::Update(want), vec![]));
}

#[test]
fn what_the_tolerant_one_makes_is_read_as_it_is_meant() {
    use bgpkit_parser::models as theirs;

    let nlri = theirs::Nlri::new_reachable(
        "2001:db8:1::/48".parse().unwrap(),
        Some("2001:db8::1".parse().unwrap()),
    );
    let attributes: theirs::Attributes = [
        AttributeValue::MpReachNlri(nlri),
        AttributeValue::Origin(theirs::Origin::EGP),
        AttributeValue::AsPath(theirs::AsPath::from_sequence([65_001, 70_000])),
        AttributeValue::LocalPreference(50),
        AttributeValue::AtomicAggregate,
        AttributeValue::Clusters(vec![9, 8]),
    ]
    .into_iter()
    .collect();
    let update = theirs::BgpUpdateMessage {
        withdrawn_prefixes: vec!["10.9.0.0/16".parse().unwrap()],
        attributes,
        announced_prefixes: Vec::new(),
    };
    let octets = Tolerant::Update(update).encode(AsnLength::Bits32).unwrap();
    let want = Update {
        withdrawn: prefixes(["10.9.0.0/16"]),
        ..announce(
            v6("2001:db8::1"),
            prefixes(["2001:db8:1::/48"]),
            Attributes {
                origin: Origin::Egp,
                local_pref: Some(50),
                atomic_aggregate: true,
                cluster_list: vec![ClusterId(9), ClusterId(8)],
                ..path(&[65_001, 70_000])
            },
        )
    };
    let decoded = read(&octets, &format(INTERNAL)).unwrap();
    assert_eq!((decoded.message, decoded.faults), (Message::Update(want), vec![]));
}
