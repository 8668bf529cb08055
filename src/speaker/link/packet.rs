//! Router solicitations and advertisements (RFC 4861 §4.1-4.2): the few octets of them by which
//! neighbours find each other. The kernel fills in the checksum (RFC 3542 §3.1).

/// The types that are listened for.
pub(super) const SOLICITATION: u8 = 133;
pub(super) const ADVERTISEMENT: u8 = 134;

/// What a neighbour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Who routes here?
    Solicitation,
    /// I do.
    Advertisement,
}

/// Asks who routes on the link.
pub(super) fn solicitation() -> [u8; 8] {
    [SOLICITATION, 0, 0, 0, 0, 0, 0, 0]
}

/// Says that we route on the link, and that nobody shall take us for a default router: the
/// lifetime is zero, and everything else is left to the host's own settings.
pub(super) fn advertisement() -> [u8; 16] {
    let mut octets = [0; 16];
    octets[0] = ADVERTISEMENT;
    octets
}

/// Reads a message that came with this hop limit; `None` if it is neither, or does not come from
/// the link (RFC 4861 §6.1: hop limit 255, code 0, whole options that are not empty).
pub(super) fn read(octets: &[u8], hop_limit: u8) -> Option<Heard> {
    let (heard, header) = match *octets.first()? {
        SOLICITATION => (Heard::Solicitation, 8),
        ADVERTISEMENT => (Heard::Advertisement, 16),
        _ => return None,
    };
    if hop_limit != u8::MAX || *octets.get(1)? != 0 {
        return None;
    }
    let mut options = octets.get(header..)?;
    while !options.is_empty() {
        let length = usize::from(*options.get(1)?) * 8;
        if length == 0 {
            return None;
        }
        options = options.get(length..)?;
    }
    Some(heard)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_comes_from_the_link_and_is_whole_counts() {
        let option = [1, 1, 2, 0, 0, 0, 0, 1];
        let with = |octets: &[u8], more: &[u8]| [octets, more].concat();
        let (ask, say) = (solicitation(), advertisement());
        let mut coded = say;
        coded[1] = 1;
        for (octets, hop_limit, want) in [
            (ask.to_vec(), 255, Some(Heard::Solicitation)),
            (say.to_vec(), 255, Some(Heard::Advertisement)),
            (with(&ask, &option), 255, Some(Heard::Solicitation)),
            (with(&say, &option), 255, Some(Heard::Advertisement)),
            (say.to_vec(), 254, None),
            (coded.to_vec(), 255, None),
            (say[..15].to_vec(), 255, None),
            (with(&say, &option[..7]), 255, None),
            (with(&say, &option[..1]), 255, None),
            (with(&say, &[1, 0, 0, 0, 0, 0, 0, 0]), 255, None),
            (vec![135; 24], 255, None),
            (vec![], 255, None),
        ] {
            assert_eq!(read(&octets, hop_limit), want, "{octets:?} with {hop_limit}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..64), at: bool) {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = if at { SOLICITATION } else { ADVERTISEMENT };
            }
            read(&octets, 255);
        }
    }
}
