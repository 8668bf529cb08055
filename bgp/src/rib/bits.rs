//! Sets of prefix numbers at one bit each.

/// A set of numbers that grows as needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: usize,
    /// No word before this one has a bit.
    low: usize,
}

impl Bits {
    /// All numbers below `bound`.
    pub(super) fn all(bound: u32) -> Self {
        let bound = bound as usize;
        let mut words = vec![u64::MAX; bound / 64];
        if !bound.is_multiple_of(64) {
            words.push((1 << (bound % 64)) - 1);
        }
        Self { words, count: bound, low: 0 }
    }

    /// Puts `id` in; whether it was not there.
    pub(super) fn set(&mut self, id: u32) -> bool {
        let (word, bit) = place(id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += usize::from(fresh);
        self.low = self.low.min(word);
        fresh
    }

    /// Takes `id` out; whether it was there.
    pub(super) fn clear(&mut self, id: u32) -> bool {
        let (word, bit) = place(id);
        let Some(word) = self.words.get_mut(word) else { return false };
        let there = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(there);
        if self.count == 0 && there {
            // An empty set holds no memory: most sets are empty most of the time.
            *self = Self::default();
        }
        there
    }

    /// Whether `id` is in.
    pub(super) fn has(&self, id: u32) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many are in.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether none is in.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The lowest number in it that is not below `from`.
    pub(super) fn next(&mut self, from: u32) -> Option<u32> {
        let (mut index, bit) = place(from);
        let mut mask = !(bit - 1);
        if index <= self.low {
            // Words before `low` are empty, and what this search passes over is, too.
            if index < self.low {
                mask = u64::MAX;
            }
            index = self.low;
            if mask == u64::MAX {
                while self.words.get(self.low) == Some(&0) {
                    self.low += 1;
                }
                index = self.low;
            }
        }
        let mut word = *self.words.get(index)? & mask;
        while word == 0 {
            index += 1;
            word = *self.words.get(index)?;
        }
        Some(u32::try_from(index * 64).ok()? + word.trailing_zeros())
    }
}

fn place(id: u32) -> (usize, u64) {
    (id as usize / 64, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{any, prop};
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_as_a_sorted_set_does(
            start in 0..200_u32,
            steps in prop::collection::vec((any::<bool>(), 0..300_u32), 0..200),
        ) {
            let mut bits = Bits::all(start);
            let mut model: BTreeSet<u32> = (0..start).collect();
            for (put, id) in steps {
                if put {
                    prop_assert_eq!(bits.set(id), model.insert(id));
                } else {
                    prop_assert_eq!(bits.clear(id), model.remove(&id));
                }
                prop_assert_eq!(bits.len(), model.len());
                prop_assert_eq!(bits.has(id), model.contains(&id));
                prop_assert_eq!(bits.next(id), model.range(id..).next().copied());
                prop_assert_eq!(bits.next(0), model.first().copied());
            }
        }
    }
}
