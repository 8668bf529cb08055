//! What must hold of any text that is read as a selector: shared with the fuzz target.

use brindle_policy::selector::{Whose, parse_of, parse_peer_namespaces};

/// Reads a text as each kind of selector.
pub(crate) fn check(text: &str) {
    let read = [Whose::Endpoint, Whose::Namespace, Whose::ServiceAccount]
        .map(|whose| parse_of(text, whose))
        .into_iter()
        .chain([parse_peer_namespaces(text)]);
    for read in read {
        match read {
            // Its text names sets.
            Ok(expr) => assert!(!expr.to_string().is_empty()),
            Err(error) => assert!(text.is_char_boundary(error.offset), "{error}"),
        }
    }
}
