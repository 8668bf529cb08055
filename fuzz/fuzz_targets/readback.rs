//! No text makes the readers panic, and a rule that they understand is one that we write.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../policy/tests/support/readback.rs"]
mod readback;

fuzz_target!(|input: &[u8]| {
    readback::check(&String::from_utf8_lossy(input));
});
