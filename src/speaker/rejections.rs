//! How often and when last paths were refused: the RIB knows why, and has no clock.

use std::collections::HashMap;
use std::time::Instant;

use brindle_bgp::msg::Nlri;
use brindle_bgp::rib::PeerId;

use super::owner::Owner;

/// Paths of one of the two halves. Of the half that was not refused again for the longest nothing
/// is known any more once the other one is full.
const HALF: usize = 1 << 15;

/// What is known of the refusals of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How often it was told and refused, or refused by a changed filter.
    pub count: u64,
    /// When that was last.
    pub last: Instant,
}

/// The refusals of as many paths as fit, of whatever session with the same peer.
#[derive(Debug, Default)]
pub struct Rejections {
    young: HashMap<(PeerId, Nlri), Refused>,
    old: HashMap<(PeerId, Nlri), Refused>,
}

impl Rejections {
    /// What is known of a path that is refused; `None` if there were too many after it.
    pub fn of(&self, peer: PeerId, path: Nlri) -> Option<Refused> {
        let key = (peer, path);
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    fn note(&mut self, peer: PeerId, path: Nlri, now: Instant) {
        let key = (peer, path);
        if let Some(refused) = self.young.get_mut(&key) {
            *refused = Refused { count: refused.count + 1, last: now };
            return;
        }
        let before = self.old.remove(&key).map_or(0, |refused| refused.count);
        if self.young.len() == HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, Refused { count: before + 1, last: now });
    }

    /// The peer will not come back under this number.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.young.retain(|(from, _), _| *from != peer);
        self.old.retain(|(from, _), _| *from != peer);
    }
}

impl Owner {
    /// Notes what the RIB has refused since the last call.
    pub(super) fn count_rejections(&mut self) {
        let now = Instant::now();
        for (peer, path) in self.rib.take_rejections() {
            self.rejections.note(peer, path, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use brindle_bgp::msg::PathId;
    use brindle_bgp::net::Prefix;

    use super::*;

    fn path(number: u32) -> Nlri {
        let address = std::net::Ipv4Addr::from_bits(number << 8);
        Nlri { prefix: Prefix::v4(address, 24).unwrap(), path_id: PathId(0) }
    }

    #[test]
    fn each_path_of_each_peer_is_counted_for_itself() {
        let (mut all, start) = (Rejections::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (peer, number, seconds) in [(1, 7, 0), (1, 7, 5), (2, 7, 6), (1, 8, 9)] {
            all.note(PeerId(peer), path(number), at(seconds));
        }
        let of = |all: &Rejections, peer, number| all.of(PeerId(peer), path(number));
        assert_eq!(of(&all, 1, 7), Some(Refused { count: 2, last: at(5) }));
        assert_eq!(of(&all, 2, 7), Some(Refused { count: 1, last: at(6) }));
        assert_eq!(of(&all, 2, 8), None);
        all.forget(PeerId(1));
        assert_eq!((of(&all, 1, 7), of(&all, 1, 8)), (None, None));
        assert!(of(&all, 2, 7).is_some());
    }

    #[test]
    fn it_holds_so_many_and_what_comes_again_stays() {
        let (mut all, now) = (Rejections::default(), Instant::now());
        let many = u32::try_from(HALF).unwrap();
        for number in 0..4 * many {
            all.note(PeerId(1), path(number), now);
            all.note(PeerId(2), path(0), now);
        }
        assert!(all.young.len() + all.old.len() <= 2 * HALF);
        assert_eq!(all.of(PeerId(1), path(5)), None);
        assert_eq!(all.of(PeerId(1), path(4 * many - 1)).map(|it| it.count), Some(1));
        let often = all.of(PeerId(2), path(0)).map(|it| it.count);
        assert_eq!(often, Some(u64::from(4 * many)));
    }
}
