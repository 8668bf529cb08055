//! The RIB's next hops as the fib watches them: by address, with what is not answered yet.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use brindle_bgp::msg::NextHop;

use crate::fib::Gateway;

/// How long the kernel and peers may wait for answers, however many questions follow. The fib
/// answers within a millisecond or so; a test that plays it on a busy machine may be slower.
const PATIENCE: Duration =
    if cfg!(test) { Duration::from_secs(2) } else { Duration::from_millis(100) };

/// What is watched.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The fib knows addresses; the RIB also what came with them.
    known: HashMap<Gateway, Vec<NextHop>>,
    unanswered: HashSet<Gateway>,
    /// The RIB has questions that the fib was not asked yet.
    unasked: bool,
    /// Until when the kernel waits; set by the first question since best paths were last told.
    best: Option<Instant>,
    /// Until when peers wait; set by the first question since they last got what they wanted.
    peers: Option<Instant>,
}

impl Watched {
    /// Takes what the RIB begins and ceases to use; gives the addresses that the fib is to
    /// watch, and those no more.
    pub(super) fn change(
        &mut self,
        new: Vec<NextHop>,
        gone: Vec<NextHop>,
        now: Instant,
    ) -> (Vec<Gateway>, Vec<Gateway>) {
        let mut watch = Vec::new();
        for next_hop in new {
            let address = Gateway::from(&next_hop);
            let known = self.known.entry(address).or_default();
            if !known.contains(&next_hop) {
                known.push(next_hop);
            }
            // Also if it is watched already: the answer is wanted for this one, too.
            self.unanswered.insert(address);
            watch.push(address);
        }
        self.unasked = false;
        if !watch.is_empty() {
            self.best.get_or_insert(now + PATIENCE);
            self.peers.get_or_insert(now + PATIENCE);
        }
        let mut unwatch = Vec::new();
        for next_hop in gone {
            let address = Gateway::from(&next_hop);
            let Some(known) = self.known.get_mut(&address) else { continue };
            known.retain(|other| *other != next_hop);
            if known.is_empty() {
                self.known.remove(&address);
                self.unanswered.remove(&address);
                unwatch.push(address);
            }
        }
        (watch, unwatch)
    }

    /// The fib told of an address: the next hops that it is about.
    pub(super) fn answered(&mut self, address: Gateway) -> &[NextHop] {
        self.unanswered.remove(&address);
        self.known.get(&address).map(Vec::as_slice).unwrap_or_default()
    }

    /// The RIB has a question that the fib is asked as soon as it listens: peers wait for that,
    /// too, but not again and again.
    pub(super) fn will_ask(&mut self, now: Instant) {
        if !self.unasked {
            self.unasked = true;
            self.peers.get_or_insert(now + PATIENCE);
        }
    }

    /// Whether the fib still owes an answer: what depends on it is not decided yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Until when best paths wait for answers, if they do: a path that took the place of another
    /// cannot be used before its next hop is found, and the route would be removed for a moment.
    pub(super) fn best_waits_until(&self, now: Instant) -> Option<Instant> {
        self.best.filter(|until| *until > now && self.is_waiting())
    }

    /// Best paths are told.
    pub(super) fn best_told(&mut self) {
        self.best = None;
    }

    /// The same for what peers are told: they would hear a withdrawal before the new path.
    pub(super) fn peers_wait_until(&self, now: Instant) -> Option<Instant> {
        self.peers.filter(|until| *until > now && (self.unasked || self.is_waiting()))
    }

    /// Peers are told what they want to hear.
    pub(super) fn peers_told(&mut self) {
        self.peers = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(global: &str, link_local: Option<&str>) -> NextHop {
        let link_local = link_local.map(|address| address.parse().unwrap());
        NextHop::V6 { global: global.parse().unwrap(), link_local }
    }

    #[test]
    fn one_link_local_address_on_two_links_is_two() {
        let on = |link| NextHop::Link { address: "fe80::1".parse().unwrap(), link };
        let (mut watched, now) = (Watched::default(), Instant::now());
        let (watch, _) = watched.change(vec![on(2), on(3)], vec![], now);
        assert_eq!(watch.len(), 2);
        assert_eq!(watched.answered(watch[1]), [on(3)]);
        assert!(watched.is_waiting());
        assert_eq!(watched.change(vec![], vec![on(2)], now), (vec![], vec![watch[0]]));
        assert!(!watched.is_waiting());
    }

    #[test]
    fn an_address_is_watched_while_any_next_hop_has_it() {
        let (plain, linked) = (v6("2001:db8::1", None), v6("2001:db8::1", Some("fe80::1")));
        let address = Gateway::from(&plain);
        let (mut watched, now) = (Watched::default(), Instant::now());
        assert_eq!(watched.change(vec![plain], vec![], now), (vec![address], vec![]));
        assert!(watched.is_waiting());
        assert_eq!(watched.answered(address), [plain]);
        assert!(!watched.is_waiting());
        // One comes and the other goes at once: the address stays, and is asked for again.
        assert_eq!(watched.change(vec![linked], vec![plain], now), (vec![address], vec![]));
        assert!(watched.is_waiting());
        assert_eq!(watched.answered(address), [linked]);
        assert_eq!(watched.change(vec![], vec![linked], now), (vec![], vec![address]));
        assert!(watched.answered(address).is_empty());
        // Nobody answers for what is not watched any more.
        assert_eq!(watched.change(vec![plain], vec![], now), (vec![address], vec![]));
        assert_eq!(watched.change(vec![], vec![plain], now), (vec![], vec![address]));
        assert!(!watched.is_waiting());
    }

    #[test]
    fn what_is_told_waits_for_answers_but_not_for_one_question_after_the_other() {
        let (one, other) = (v6("2001:db8::1", None), v6("2001:db8::2", None));
        let (mut watched, now) = (Watched::default(), Instant::now());
        assert_eq!(watched.best_waits_until(now), None);
        let (watch, _) = watched.change(vec![one], vec![], now);
        assert_eq!(watched.best_waits_until(now), Some(now + PATIENCE));
        watched.answered(watch[0]);
        assert_eq!(watched.best_waits_until(now), None);
        let later = now + PATIENCE / 2;
        watched.change(vec![other], vec![], later);
        assert_eq!(watched.best_waits_until(later), Some(now + PATIENCE));
        assert_eq!(watched.best_waits_until(now + PATIENCE), None);
        watched.best_told();
        assert_eq!(watched.best_waits_until(later), None);
        watched.change(vec![], vec![one], later);
        assert_eq!(watched.best_waits_until(later), None, "nothing was asked");
        // Peers waited no longer, but were not told meanwhile.
        assert_eq!(watched.peers_wait_until(later), Some(now + PATIENCE));
        watched.peers_told();
        assert_eq!(watched.peers_wait_until(later), None);
    }

    #[test]
    fn a_question_that_the_fib_has_not_taken_yet_counts() {
        let (mut watched, now) = (Watched::default(), Instant::now());
        watched.will_ask(now);
        assert_eq!(watched.peers_wait_until(now), Some(now + PATIENCE));
        assert_eq!(watched.best_waits_until(now), None, "what is to ask the fib");
        let later = now + PATIENCE;
        assert_eq!(watched.peers_wait_until(later), None);
        watched.peers_told();
        watched.will_ask(later);
        assert_eq!(watched.peers_wait_until(later), None, "it is the same question");
        let (watch, _) = watched.change(vec![v6("2001:db8::1", None)], vec![], later);
        assert_eq!(watched.peers_wait_until(later), Some(later + PATIENCE));
        watched.answered(watch[0]);
        assert_eq!(watched.peers_wait_until(later), None);
        watched.peers_told();
        watched.will_ask(later);
        // It was taken back before it was asked.
        watched.change(vec![], vec![], later);
        assert_eq!(watched.peers_wait_until(later), None);
    }
}
