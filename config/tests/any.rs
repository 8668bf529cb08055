//! Whatever is typed: an answer, never a panic.

use brindle_config::Config;
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

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

fn survives(text: &str) -> Result<(), proptest::test_runner::TestCaseError> {
    match Config::from_yaml("f", text) {
        Ok(config) => {
            let shown = config.to_yaml();
            let again = Config::from_yaml("shown", &shown);
            prop_assert!(again.as_ref() == Ok(&config), "{shown}\n{again:?}");
        }
        Err(errors) => {
            prop_assert!(!errors.problems().is_empty());
            for line in errors.to_string().lines() {
                prop_assert!(line.starts_with("f:") || line.starts_with("f  "), "{line:?}");
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_text_gets_an_answer(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn nearly_sensible_text_gets_an_answer(text in pieces()) {
        survives(&text)?;
    }

    #[test]
    fn a_damaged_good_file_gets_an_answer(text in damaged()) {
        survives(&text)?;
    }
}
