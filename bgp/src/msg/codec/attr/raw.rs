//! One attribute as it stands in the list: flags, type code, value (RFC 4271 §4.3).

use crate::msg::codec::attr::code;
use crate::msg::codec::read::{self, Read};

/// An attribute whose value is not read yet.
#[derive(Clone, Copy, Debug)]
pub(in crate::msg) struct Raw<'a> {
    /// The flags, the unused ones included.
    pub(in crate::msg) flags: u8,
    /// The type code.
    pub(in crate::msg) code: u8,
    /// The value.
    pub(in crate::msg) value: &'a [u8],
    /// The whole attribute, flags included: what a NOTIFICATION quotes.
    pub(in crate::msg) whole: &'a [u8],
}

/// Splits the first attribute off a list; fails if the list ends before it does
/// (RFC 7606 §4).
pub(in crate::msg) fn attribute(list: &[u8]) -> Read<'_, Raw<'_>> {
    let (rest, flags) = read::u8(list)?;
    let (rest, code) = read::u8(rest)?;
    let (rest, value) = if flags & code::EXTENDED_LENGTH == 0 {
        read::take_u8(rest)?
    } else {
        read::take_u16(rest)?
    };
    let whole = list.get(..list.len() - rest.len()).unwrap_or(list);
    Ok((rest, Raw { flags, code, value, whole }))
}
