//! No text makes the reader of selectors panic, and what is wrong with one has a place in it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../policy/tests/support/selector.rs"]
mod selector;

fuzz_target!(|input: &[u8]| {
    selector::check(&String::from_utf8_lossy(input));
});
