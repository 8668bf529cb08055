//! No octets make the reader panic. Seeds: `cargo fuzz run decode tests/vectors`.

#![no_main]

use brindle_bgp::msg::{decode, frame};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "the other target uses the rest")]
#[path = "../../tests/codec/again.rs"]
mod again;

fuzz_target!(|input: &[u8]| {
    let [bits, kind, body @ ..] = input else { return };
    let format = again::format(*bits);
    // As a stream of whatever comes, and behind a header that is right.
    let _ = frame(body, &format);
    let _ = decode(&Bytes::copy_from_slice(body), &format);
    if body.len() <= 65535 - 19 {
        let _ = decode(&again::message(*kind, body), &format);
    }
});
