//! No file makes the reader of brindle.yaml panic, and what it reads is what it shows.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../config/tests/support/config.rs"]
mod config;

fuzz_target!(|input: &[u8]| {
    config::check(&String::from_utf8_lossy(input));
});
