//! Whatever is typed: an answer, never a panic.

#[path = "support/config.rs"]
mod support;

use std::fs;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};

/// Pieces of which files like ours are made, in no sensible order.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "node",
        "bgp",
        "peers",
        "filters",
        "rules",
        "name",
        "peerIP",
        "asNumber",
        "addresses",
        "podCIDRs",
        "networks",
        "services",
        "clusterIPs",
        "hostRoutes",
        "loopPrevention",
        "loadBalancerClasses",
        "prefixAdvertisements",
        "listen",
        "port",
        "routerID",
        "holdTime",
        "prefixLengths",
        "cidr",
        "drain",
        "taints",
        "maintenance=disk:NoExecute",
        "action",
        "set",
        "asPath",
        "regex",
        "communities",
        "addMed",
        "prepend",
        "65001:*",
        "source",
        "policy",
        "enabled",
        "flowLog",
        "auditInterval",
        "hostEndpoints",
        "failsafeInbound",
        "tcp:22",
        "cni",
        "mtu",
        "chain",
        "portmap",
        "telemetry",
        "127.0.0.1:9798",
        "kind",
        "files",
        "path",
        "kubernetes",
        "kubeconfig",
        "holdDeletions",
        "10.0.0.1",
        "fd00::1",
        "10.0.0.0/8",
        "::/0",
        "64512",
        "1.10",
        "90s",
        "16-32",
        "accept",
        "true",
        "no",
        "~",
        "-",
        "- ",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "|\n",
        ">",
        "#",
        "---\n",
        "...",
        "\t",
        "\u{feff}",
        "é",
        "0x1f",
        "1e999",
        ".nan",
        "-0",
        "%YAML 1.1\n",
    ];
    let word = (0..words.len()).prop_map(move |index| words[index].to_owned());
    vec(prop_oneof![20 => word, 1 => any::<String>()], 0..60).prop_map(|words| words.concat())
}

/// The contract example with a few characters replaced by others.
fn damaged() -> impl Strategy<Value = String> {
    let good: Vec<char> = include_str!("../examples/node-with-tor-peers.yaml").chars().collect();
    vec((any::<proptest::sample::Index>(), any::<char>()), 1..8).prop_map(move |damages| {
        let mut text = good.clone();
        for (index, c) in damages {
            let index = index.index(text.len());
            text[index] = c;
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_text_gets_an_answer(text in any::<String>()) {
        support::check(&text);
    }

    #[test]
    fn nearly_sensible_text_gets_an_answer(text in pieces()) {
        support::check(&text);
    }

    #[test]
    fn a_damaged_good_file_gets_an_answer(text in damaged()) {
        support::check(&text);
    }
}

#[test]
fn the_corpus_gets_an_answer() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/config");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the corpus is there") {
        let octets = fs::read(entry.expect("a file").path()).expect("it can be read");
        support::check(&String::from_utf8_lossy(&octets));
        count += 1;
    }
    assert!(count > 0, "an empty corpus");
}
