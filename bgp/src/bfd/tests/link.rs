//! Two machines on a link that loses, delays and is cut, on a clock of our own.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;

/// Two sessions and what is on its way between them.
struct Link {
    now: Instant,
    ends: [Session; 2],
    /// When a packet arrives, whether at the second end, and the packet.
    flying: BTreeMap<(Instant, usize), (usize, Packet)>,
    sent: usize,
    /// Packets lost, of a hundred.
    loss: u64,
    is_cut: bool,
    random: u64,
    changes: Vec<(usize, super::super::Change)>,
}

impl Link {
    fn new(wanted: [Intervals; 2], loss: u64, seed: u64) -> Self {
        let now = epoch();
        let end = |at: usize| {
            Session::new(wanted[at], discriminator(at as u32 + 1), seed ^ at as u64, now)
        };
        Self {
            now,
            ends: [end(0), end(1)],
            flying: BTreeMap::new(),
            sent: 0,
            loss,
            is_cut: false,
            random: seed | 1,
            changes: Vec::new(),
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn take(&mut self, end: usize, out: super::super::Output) {
        self.changes.extend(out.change.map(|change| (end, change)));
        let Some(packet) = out.send else { return };
        let octets = packet.encode();
        let (lost, delay) = (self.random() % 100 < self.loss, self.random() % 5_000);
        if !lost && !self.is_cut {
            let packet = Packet::decode(&octets).expect("what we write can be read");
            // Cables do not change the order of packets.
            let on_its_way = self.flying.iter().filter(|(_, (to, _))| *to != end);
            let last = on_its_way.map(|((at, _), _)| *at).max();
            let at = (self.now + Duration::from_micros(delay)).max(last.unwrap_or(self.now));
            self.flying.insert((at, self.sent), (1 - end, packet));
            self.sent += 1;
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let due = self.ends.iter().filter_map(Session::deadline).chain(arrival).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            // What has arrived comes before what is due.
            while let Some(next) = self.flying.first_entry()
                && next.key().0 <= self.now
            {
                let (to, packet) = next.remove();
                let mine = self.ends[to].discriminator();
                if packet.your_discriminator.is_none_or(|yours| yours == mine) {
                    let out = self.ends[to].receive(&packet, self.now);
                    self.take(to, out);
                }
            }
            for at in 0..2 {
                let out = self.ends[at].on_deadline(self.now);
                self.take(at, out);
            }
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }
}

fn any_intervals() -> impl proptest::strategy::Strategy<Value = Intervals> {
    use proptest::strategy::Strategy;
    (10..500u64, 10..500u64, 2..6u8).prop_map(|(tx, rx, multiplier)| intervals(tx, rx, multiplier))
}

const UP: [State; 2] = [State::Up; 2];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn on_a_good_link_both_come_up_and_stay_up_through_changes_of_intervals(
        wanted in [any_intervals(), any_intervals()],
        then in [any_intervals(), any_intervals()],
        seed in any::<u64>(),
    ) {
        let mut link = Link::new(wanted, 0, seed);
        link.run(ms(5_000));
        prop_assert_eq!(link.states(), UP);
        link.changes.clear();
        for (at, &then) in then.iter().enumerate() {
            let now = link.now;
            link.ends[at].configure(then, now);
            // Before the other has answered, or after.
            link.run(ms(link.random % 700));
        }
        link.run(ms(20_000));
        prop_assert_eq!(&link.changes, &vec![], "no flap");
        for at in 0..2 {
            let (us, them) = (&link.ends[at], &link.ends[1 - at]);
            let interval = then[at].transmit.max(then[1 - at].receive);
            prop_assert_eq!(us.transmit_interval(), interval);
            let multiplier = u32::from(then[at].multiplier.get());
            prop_assert_eq!(them.detection_time(), Some(interval * multiplier));
        }
    }

    #[test]
    fn a_cut_is_noticed_by_both_within_the_detection_time_and_healed_when_it_is_mended(
        wanted in [any_intervals(), any_intervals()],
        seed in any::<u64>(),
    ) {
        let mut link = Link::new(wanted, 0, seed);
        link.run(ms(10_000));
        prop_assert_eq!(link.states(), UP);
        link.changes.clear();
        link.is_cut = true;
        link.flying.clear();
        let limit = link.ends.iter().filter_map(Session::detection_time).max().unwrap();
        link.run(limit);
        prop_assert_eq!(link.states(), [State::Down; 2]);
        for (_, change) in &link.changes {
            prop_assert!(matches!(change.cause, Cause::Silence(_)), "{:?}", change);
        }
        link.is_cut = false;
        link.run(ms(10_000));
        prop_assert_eq!(link.states(), UP);
    }

    #[test]
    fn on_a_bad_link_nothing_but_silence_ends_a_session_and_it_comes_back(
        wanted in [any_intervals(), any_intervals()],
        loss in 10..60u64,
        seed in any::<u64>(),
    ) {
        let mut link = Link::new(wanted, loss, seed);
        link.run(ms(60_000));
        let mut state = [State::Down; 2];
        for (end, change) in &link.changes {
            prop_assert_eq!(state[*end], change.from, "changes follow each other");
            state[*end] = change.to;
            // One of them began with silence; the other may be told.
            let told = matches!(change.cause, Cause::Signaled(_));
            let was_silent = link.changes.iter().any(|(other, first)| {
                other != end && matches!(first.cause, Cause::Silence(_))
            });
            prop_assert!(!told || was_silent, "told without a reason");
        }
        prop_assert_eq!(state, link.states());
        link.loss = 0;
        link.run(ms(20_000));
        prop_assert_eq!(link.states(), UP);
    }
}

#[test]
fn one_side_that_is_switched_off_takes_the_other_down_without_alarm_and_both_come_back() {
    let mut link = Link::new([intervals(50, 50, 3); 2], 0, 3);
    link.run(ms(5_000));
    link.changes.clear();
    let (now, out) = (link.now, link.ends[0].disable(link.now));
    link.take(0, out);
    link.run(ms(5_000));
    assert_eq!(link.states(), [State::AdminDown, State::Down]);
    assert!(link.changes.iter().all(|(_, change)| !change.is_failure(true)), "{:?}", link.changes);
    assert!(link.now > now);
    let out = link.ends[0].enable(link.now);
    link.take(0, out);
    link.run(ms(5_000));
    assert_eq!(link.states(), UP);
}
