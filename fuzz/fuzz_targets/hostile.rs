//! Nothing that somebody writes into an object reaches a rule.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "the test looks at what comes of it")]
#[path = "../../policy/tests/support/hostile.rs"]
mod hostile;

fuzz_target!(|input: &[u8]| {
    hostile::check_input(&String::from_utf8_lossy(input));
});
