//! No text makes the reader of selectors panic, and what is wrong with one has a place in it.

#![no_main]

use brindle_policy::selector::{Whose, parse_of, parse_peer_namespaces};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let read = [Whose::Endpoint, Whose::Namespace, Whose::ServiceAccount]
        .map(|whose| parse_of(&text, whose))
        .into_iter()
        .chain([parse_peer_namespaces(&text)]);
    for read in read {
        match read {
            // Its text names sets.
            Ok(expr) => assert!(!expr.to_string().is_empty()),
            Err(error) => assert!(text.is_char_boundary(error.offset), "{error}"),
        }
    }
});
