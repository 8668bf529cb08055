//! No octets make the reader of messages panic, and what it reads can be said again.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../bgp/tests/codec/again.rs"]
mod message;

fuzz_target!(|input: &[u8]| {
    message::check_input(input);
});
