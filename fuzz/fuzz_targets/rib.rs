//! Nothing that peers send makes the RIB panic, or us send others what they cannot read.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "the tests seed the corpus with it")]
#[path = "../../bgp/tests/rib/hostile.rs"]
mod hostile;
#[path = "../../bgp/tests/rib/support.rs"]
mod support;

fuzz_target!(|input: &[u8]| {
    hostile::check(input);
});
