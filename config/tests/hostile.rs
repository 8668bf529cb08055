//! Files made to exhaust whoever reads them.

use std::time::{Duration, Instant};

use brindle_config::Config;

/// The lines that `text` is refused with; none if it is accepted.
fn errors(text: &str) -> Vec<String> {
    match Config::from_yaml("f", text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

/// Ten anchors, each ten times the one before: a thousand million values if it were believed.
fn alias_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    text
}

#[test]
fn hostile_files_are_refused_early() {
    for (what, text, want) in [
        ("alias bomb", alias_bomb(), "aliases that stand for more values than any"),
        ("alias to itself", "bgp: &b {peers: *b}".to_owned(), "recursive"),
        (
            "10 MB",
            format!("bgp: {}", "x".repeat(10 << 20)),
            "the file has 10485765 bytes; accepted are at most 4194304",
        ),
        ("a million values", format!("bgp: [{}]", "1,".repeat(1 << 20)), "more values than any"),
        ("brackets", "[".repeat(1 << 20), "recursion limit exceeded"),
        ("braces", "{a: ".repeat(1 << 18), "recursion limit exceeded"),
        ("dashes", "- ".repeat(1 << 19), "nested deeper than 32 levels"),
        (
            "indentation",
            (0..1500).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
            "nested deeper than 32 levels",
        ),
    ] {
        let start = Instant::now();
        let got = errors(&text);
        assert!(
            got.len() == 1 && got[0].to_lowercase().contains(&want.to_lowercase()),
            "{what}: {got:.200?}"
        );
        // Far under a second even here, unoptimised and on a busy machine; a file that is
        // believed takes minutes.
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", start.elapsed());
    }
}
