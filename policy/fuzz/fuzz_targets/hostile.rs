//! Nothing that somebody writes into an object reaches a rule. Lines of the input are the
//! texts; a byte 1 in them is a line end of theirs.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "the test looks at what comes of it")]
#[path = "../../tests/support/hostile.rs"]
mod hostile;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let texts: Vec<String> =
        text.lines().take(64).map(|line| line.replace('\u{1}', "\n")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    hostile::check(&texts);
});
