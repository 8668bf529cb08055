//! The corpus of the fuzz target `message`: octets of a format, a type and a body in each file;
//! those with a name of their own are the vectors and the incidents below.

#![expect(clippy::disallowed_methods, reason = "a test reads its files")]

use std::fs;
use std::path::PathBuf;

use crate::again::{check, check_input};
use crate::filter_text;
use crate::golden::vectors;
use crate::support::{hex, unhex};

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Inputs that broke some implementation, ours or another, as format, type and body.
const INCIDENTS: &[(&str, u8, u8, &str)] = &[
    (
        "prefix-sid-37-zeros",
        1,
        2,
        "0000 003c 40010100 4002060201 0000fde9 400304 c0000201 c02825
      00000000000000000000000000000000000000000000000000000000000000000000000000 080a",
    ),
    ("attributes-over-all", 1, 2, "0000 ffff 40010100"),
    ("attributes-near-65535", 1, 2, "0000 fff0 4001010040020040030401020304 5020fff0"),
    (
        "as4-path-before-as-path",
        0,
        2,
        "0000 001b c01105 0202000111 40010100 4002040201fde9
      400304c0000201 080a",
    ),
    ("next-hop-of-5", 1, 2, "0000 000f 40010100 400200 400305c000020100 080a"),
    ("segment-without-numbers", 1, 2, "0000 0010 40010100 4002020200 400304c0000201 080a"),
    ("reach-next-hop-48", 1, 2, "0000 0008 800e05 000201 3000"),
    ("unreach-and-junk", 1, 2, "0000 0008 800f03 000201 4001"),
    (
        "ipv6-extended-community-of-19",
        1,
        2,
        "0000 0027 40010100 400200 400304c0000201 c01913
      00020000000000000000000000000000000000 00 080a",
    ),
    ("parameters-255-both-meanings", 0, 1, "04 fde8 005a 0a000001 ff ff0005 02 0002 0200"),
    ("capability-over-its-parameter", 0, 1, "04 fde8 005a 0a000001 08 0202 4104 0202 0200"),
    ("keepalive-with-body", 0, 4, "00"),
    ("shutdown-text-too-long", 0, 3, "06 02 ff 6279"),
    ("refresh-begin-of-5", 1, 5, "0001 01 01 00"),
];

/// Name and content of every file that must be there.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let golden = vectors().into_iter().map(|(name, bits, kind, body, _)| (name, bits, kind, body));
    let incidents = INCIDENTS.iter().copied();
    let seed = |(name, bits, kind, body): (&str, u8, u8, &str)| {
        let name = format!("{}.bin", name.replace([' ', ','], "-").replace("--", "-"));
        (name.to_lowercase(), [&[bits, kind], &unhex(body)[..]].concat())
    };
    golden.chain(incidents).map(seed).collect()
}

/// `BLESS=1` writes what is missing or differs.
#[test]
fn every_vector_is_a_seed() {
    for (name, want) in seeds() {
        let path = folder("message").join(&name);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &want).unwrap();
        }
        let got = fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; BLESS=1 writes it", path.display()));
        assert_eq!(hex(&got), hex(&want), "{name}; BLESS=1 writes it anew");
    }
}

#[test]
fn the_corpus_can_be_read_and_said_again() {
    let mut count = 0;
    for entry in fs::read_dir(folder("message")).unwrap() {
        let octets = fs::read(entry.unwrap().path()).unwrap();
        check_input(&octets);
        if let [_, kind, body @ ..] = &octets[..] {
            (0..32).for_each(|bits| check(bits, *kind, body));
        }
        count += 1;
    }
    assert!(count >= seeds().len(), "{count} files");
}

#[test]
fn the_corpus_of_texts_in_filters_gets_an_answer() {
    let mut count = 0;
    for entry in fs::read_dir(folder("filter")).unwrap() {
        let octets = fs::read(entry.unwrap().path()).unwrap();
        filter_text::check(&String::from_utf8_lossy(&octets));
        count += 1;
    }
    assert!(count > 0, "an empty corpus");
}
