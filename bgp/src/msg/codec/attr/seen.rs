//! Which type codes a list of attributes has had.

/// A set of type codes that remembers once and again.
#[derive(Debug, Default)]
pub(in crate::msg::codec) struct Seen {
    once: [u64; 4],
    again: [u64; 4],
}

/// The how-manieth an attribute is of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    First,
    Second,
    More,
}

impl Seen {
    /// Notes one more.
    pub(super) fn insert(&mut self, code: u8) -> Times {
        let (word, bit) = (usize::from(code >> 6), 1 << (code & 63));
        // Two bits of an octet are an index of four.
        if self.once[word] & bit == 0 {
            self.once[word] |= bit;
            Times::First
        } else if self.again[word] & bit == 0 {
            self.again[word] |= bit;
            Times::Second
        } else {
            Times::More
        }
    }

    /// Whether there was one.
    pub(in crate::msg::codec) fn contains(&self, code: u8) -> bool {
        self.once[usize::from(code >> 6)] & (1 << (code & 63)) != 0
    }

    /// Whether there was this one and no other.
    pub(in crate::msg::codec) fn is_only(&self, code: u8) -> bool {
        let mut only = [0; 4];
        only[usize::from(code >> 6)] = 1 << (code & 63);
        self.once == only
    }
}
