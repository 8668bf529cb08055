//! Ports of one protocol: merged ranges, and pieces that fit one rule.

/// Ranges of ports, both ends included; sorted and apart from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u16, u16)>);

/// How many ports one rule takes; a range counts as two (multiport's limit).
const SLOTS: usize = 15;

impl Ranges {
    /// Every port.
    pub(super) fn all() -> Self {
        Self(vec![(0, u16::MAX)])
    }

    /// The ports that are in one of `ranges`.
    pub(super) fn union(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// The ports that are in both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|a| other.0.iter().map(move |b| (a, b)));
        Self::union(pairs.map(|(a, b)| (a.0.max(b.0), a.1.min(b.1))))
    }

    /// The ports that are not in it.
    pub(super) fn complement(&self) -> Self {
        let mut rest = Vec::new();
        let mut next = Some(0);
        for &(first, last) in &self.0 {
            rest.extend(next.filter(|next| *next < first).map(|next| (next, first - 1)));
            next = last.checked_add(1);
        }
        rest.extend(next.map(|next| (next, u16::MAX)));
        Self(rest)
    }

    /// Whether it is every port.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// Whether it is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in pieces that one rule takes each; a single empty piece for every port, as
    /// that needs no match.
    pub(super) fn pieces(&self) -> Vec<Vec<(u16, u16)>> {
        if self.is_all() {
            return vec![Vec::new()];
        }
        let mut pieces: Vec<Vec<(u16, u16)>> = Vec::new();
        let mut free = 0;
        for &(first, last) in &self.0 {
            let slots = if first == last { 1 } else { 2 };
            match pieces.last_mut() {
                Some(piece) if slots <= free => piece.push((first, last)),
                _ => {
                    pieces.push(vec![(first, last)]);
                    free = SLOTS;
                }
            }
            free -= slots;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_where_they_touch() {
        for (ranges, want) in [
            (&[(80, 80)][..], &[(80, 80)][..]),
            (&[(80, 80), (80, 80), (81, 90)], &[(80, 90)]),
            (&[(100, 200), (1, 150), (202, 202)], &[(1, 200), (202, 202)]),
            (&[(65535, 65535), (65534, 65534)], &[(65534, 65535)]),
            (&[(9, 1)], &[]),
        ] {
            assert_eq!(Ranges::union(ranges.iter().copied()).0, want, "{ranges:?}");
        }
        let split = Ranges::union([(0, 100), (101, 65535)]);
        assert!(split.is_all() && split.pieces() == [vec![]]);
    }

    #[test]
    fn an_intersection_holds_what_both_hold() {
        let some = Ranges::union([(10, 20), (30, 40)]);
        for (other, want) in [
            (Ranges::all(), &[(10, 20), (30, 40)][..]),
            (Ranges::union([(15, 35)]), &[(15, 20), (30, 35)]),
            (Ranges::union([(21, 29)]), &[]),
        ] {
            assert_eq!(some.intersection(&other).0, want);
        }
    }

    #[test]
    fn a_complement_holds_the_rest() {
        for (ranges, want) in [
            (&[][..], &[(0, 65535)][..]),
            (&[(0, 65535)], &[]),
            (&[(80, 80)], &[(0, 79), (81, 65535)]),
            (&[(0, 0), (65535, 65535)], &[(1, 65534)]),
            (&[(1, 9), (20, 65534)], &[(0, 0), (10, 19), (65535, 65535)]),
        ] {
            let some = Ranges::union(ranges.iter().copied());
            assert_eq!(some.complement().0, want, "{ranges:?}");
            assert_eq!(some.complement().complement(), some);
        }
    }

    #[test]
    fn no_piece_takes_more_than_fifteen_slots() {
        for (singles, ranges, want) in [
            (15u16, 0u16, vec![15]),
            (16, 0, vec![15, 1]),
            (0, 8, vec![7, 1]),
            (14, 1, vec![14, 1]),
            (13, 1, vec![14]),
            (50, 0, vec![15, 15, 15, 5]),
        ] {
            let single = (0..singles).map(|n| (n * 2, n * 2));
            let range = (0..ranges).map(|n| (1000 + n * 10, 1005 + n * 10));
            let all = Ranges::union(single.chain(range));
            let pieces = all.pieces();
            assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), want);
            assert_eq!(pieces.concat(), all.0);
        }
    }
}
