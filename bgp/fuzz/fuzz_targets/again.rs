//! What was read can be written and read again as the same. Seeds:
//! `cargo fuzz run again tests/vectors`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/codec/again.rs"]
mod again;

fuzz_target!(|input: &[u8]| {
    let [bits, kind, body @ ..] = input else { return };
    if body.len() <= 65535 - 19 {
        again::check(*bits, *kind, body);
    }
});
