//! Nothing that somebody writes into an object reaches a rule as more than a name of ours; and
//! no text makes a reader of ours panic.

#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/readback.rs"]
mod readback;
#[path = "support/selector.rs"]
mod selector;

use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Texts that are something to iptables, to a shell, or to the formats in between.
const BAD: [&str; 20] = [
    "a -j ACCEPT",
    "\n-A FORWARD -j ACCEPT\n",
    "\" -j ACCEPT",
    "\\\" -j ACCEPT --comment \"",
    "'; iptables -F; '",
    "$(reboot)",
    "`reboot`",
    "COMMIT\n*nat\n",
    "*filter",
    "BRN-FORWARD",
    "brindle:hook",
    "brn-s4-AAAAAAAAAAAAAAAAAAAA",
    "0.0.0.0/0 -j ACCEPT",
    "../../etc/passwd",
    "%s%n",
    "a\0b",
    "é\u{202e}\u{2028}",
    "\u{1b}[2J",
    "-",
    "",
];

/// Texts that objects may well have.
const GOOD: [&str; 10] = [
    "web",
    "app",
    "shop",
    "http",
    "TCP",
    "UDP",
    "Exists",
    "10.0.0.0/8",
    "fd00::/8",
    "192.0.2.9/32",
];

#[test]
fn hostile_texts_become_names_and_nothing_else() {
    for text in BAD {
        let long = text.repeat(200);
        let outcome = hostile::check(&[text, "web", &long]);
        for piece in ["reboot", "passwd", "iptables", "FORWARD -j ACCEPT", "0.0.0.0/0 -j"] {
            let rules = outcome.text.lines().filter(|line| !line.starts_with('#'));
            // A comment may show what is left of a name.
            let bare = rules.map(|line| line.split('"').step_by(2).collect::<String>());
            assert_eq!(bare.filter(|line| line.contains(piece)).count(), 0, "{text:?}: {piece}");
        }
    }
    let outcome = hostile::check(&GOOD);
    assert_eq!(outcome.policies, 8, "objects that are in order take part");
    assert!(outcome.text.contains("brindle:rule/0/NetworkPolicy/"), "{}", outcome.text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_texts_become_rules_that_read_back_as_they_were_meant(
        texts in vec(prop_oneof![3 => select(&GOOD[..]).prop_map(str::to_owned),
            1 => select(&BAD[..]).prop_map(str::to_owned), 1 => ".{0,300}"], 1..40),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        hostile::check(&texts);
    }
}

/// What the fuzz targets found worth keeping.
#[allow(clippy::disallowed_methods)] // the crate does no I/O, but this test does
#[test]
fn the_corpora_hold() {
    for (target, check) in [
        ("hostile", hostile::check_input as fn(&str)),
        ("readback", readback::check),
        ("selector", selector::check),
    ] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let octets = std::fs::read(entry.unwrap().path()).unwrap();
            check(&String::from_utf8_lossy(&octets));
            count += 1;
        }
        assert!(count > 0, "{target}: an empty corpus");
    }
}
