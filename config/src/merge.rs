//! Several files as one: what a later file says goes on top of the earlier ones.

use crate::yaml::{Node, Value};

/// Lays `above` on `below`: maps are merged key by key, lists are appended, and of two scalars
/// the one above counts. A key without a value changes nothing. Two things of one name in a
/// list are left for the check, which knows both places.
pub(crate) fn lay(below: &mut Node, above: Node) {
    match (&mut below.value, above.value) {
        (_, Value::Null) => {}
        (Value::Map(entries), Value::Map(more)) => {
            for (key, value) in more {
                match entries.iter_mut().find(|(known, _)| known.name == key.name) {
                    Some((_, known)) => lay(known, value),
                    None => entries.push((key, value)),
                }
            }
        }
        (Value::List(items), Value::List(more)) => items.extend(more),
        (_, value) => *below = Node { place: above.place, value },
    }
}
