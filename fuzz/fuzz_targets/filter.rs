//! No text in a filter makes its reader panic or its conditions hang.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../bgp/tests/codec/filter_text.rs"]
mod filter;

fuzz_target!(|input: &[u8]| {
    filter::check(&String::from_utf8_lossy(input));
});
