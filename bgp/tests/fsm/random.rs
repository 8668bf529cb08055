//! Random events in random order never break what the machine promises its shell.

use std::time::{Duration, Instant};

use brindle_bgp::fsm::{BfdFailure, Direction, Event, Peer, PeerSettings, State, WireId};
use brindle_bgp::msg::{CeaseReason, Message, Notification, Refresh, RouteRefresh, Update};
use brindle_bgp::net::{AfiSafi, Family};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use crate::support::shell::Shell;
use crate::support::{epoch, hold, open, settings};

/// One thing that happens; wires are chosen among those that ever were.
#[allow(clippy::large_enum_variant, reason = "a test may waste memory")]
#[derive(Clone, Debug)]
enum Move {
    Start,
    Stop,
    Restart,
    /// The dialling that is under way succeeds.
    Dialled,
    /// One that was abandoned succeeds all the same.
    DialledTooLate,
    DialFailed,
    Accepted,
    Closed(usize),
    Received(usize, Message),
    Malformed(usize),
    Progress(usize),
    BfdDown,
    Retry,
    /// Time goes on so many milliseconds, with all that is due.
    Wait(u64),
    /// Time goes on to the next deadline.
    Due,
}

fn any_message() -> impl Strategy<Value = Message> {
    let refresh = |kind| {
        let family = AfiSafi::from(Family::Ipv4Unicast);
        Message::RouteRefresh(RouteRefresh { family, kind })
    };
    let cease = |subcode| {
        Message::Notification(Notification { code: 6, subcode, data: Default::default() })
    };
    prop_oneof![
        8 => (1..4u32).prop_map(|id| Message::Open(open(id, 65001))),
        1 => Just(Message::Open(open(2, 65009))),
        1 => Just(Message::Open(brindle_bgp::msg::Open { hold_time: hold(0), ..open(2, 65001) })),
        8 => Just(Message::Keepalive),
        3 => Just(Message::Update(Update::default())),
        1 => Just(Message::EndOfRib(Family::Ipv4Unicast)),
        1 => Just(refresh(Refresh::Request)),
        1 => Just(refresh(Refresh::Unknown(7))),
        1 => Just(cease(7)),
        1 => Just(cease(2)),
    ]
}

fn any_move() -> impl Strategy<Value = Move> {
    let wire = any::<usize>;
    prop_oneof![
        2 => Just(Move::Start),
        1 => Just(Move::Stop),
        1 => Just(Move::Restart),
        6 => Just(Move::Dialled),
        1 => Just(Move::DialledTooLate),
        2 => Just(Move::DialFailed),
        6 => Just(Move::Accepted),
        2 => wire().prop_map(Move::Closed),
        20 => (wire(), any_message()).prop_map(|(wire, message)| Move::Received(wire, message)),
        1 => wire().prop_map(Move::Malformed),
        2 => wire().prop_map(Move::Progress),
        1 => Just(Move::BfdDown),
        1 => Just(Move::Retry),
        4 => (0..3000u64).prop_map(Move::Wait),
        1 => (0..600_000u64).prop_map(Move::Wait),
        6 => Just(Move::Due),
    ]
}

struct Run {
    peer: Peer,
    shell: Shell,
    wires: u64,
    now: Instant,
}

impl Run {
    fn event(&mut self, event: Event) {
        self.shell.before(&event);
        let actions = self.peer.handle(event, self.now);
        self.shell.after(&self.peer, &actions);
        assert!(self.peer.deadline().is_none_or(|at| at > self.now), "a deadline in the past");
    }

    fn connect(&mut self, direction: Direction) {
        self.wires += 1;
        self.event(Event::Connected(WireId(self.wires), direction));
    }

    /// A wire by number: mostly one of the last, which are open.
    fn wire(&self, number: usize) -> WireId {
        let back = [0, 0, 0, 1, 1, 2, 3, 9][number % 8];
        WireId(self.wires.saturating_sub(back))
    }

    fn wait_until(&mut self, end: Instant) {
        while let Some(at) = self.peer.deadline().filter(|&at| at <= end) {
            self.now = at;
            self.due();
        }
        self.now = end;
    }

    fn due(&mut self) {
        let actions = self.peer.on_deadline(self.now);
        self.shell.after(&self.peer, &actions);
        assert!(self.peer.deadline().is_none_or(|at| at > self.now), "a deadline in the past");
        assert_eq!(self.peer.on_deadline(self.now), [], "two times the same work");
    }

    fn make(&mut self, step: Move) {
        match step {
            Move::Start => self.event(Event::Start),
            Move::Stop => {
                self.event(Event::Stop(CeaseReason::AdministrativeShutdown, Some("x".into())));
                self.expect_rest();
            }
            Move::Restart => {
                self.event(Event::Restart(None));
                self.expect_rest();
            }
            Move::Dialled if self.shell.is_dialling => self.connect(Direction::Dialled),
            Move::DialledTooLate if !self.shell.is_dialling => self.connect(Direction::Dialled),
            Move::DialFailed if self.shell.is_dialling => {
                self.event(Event::ConnectFailed("refused".into()));
            }
            Move::Dialled | Move::DialledTooLate | Move::DialFailed => {}
            Move::Accepted => self.connect(Direction::Accepted),
            Move::Closed(wire) => self.event(Event::Closed(self.wire(wire), "reset".into())),
            Move::Received(wire, message) => {
                self.event(Event::Received(self.wire(wire), message));
            }
            Move::Malformed(wire) => {
                let notification = Notification { code: 1, subcode: 1, data: Default::default() };
                self.event(Event::Malformed(self.wire(wire), notification));
            }
            Move::Progress(wire) => self.event(Event::Progress(self.wire(wire))),
            Move::BfdDown => {
                let why = "no packets for 150 ms".to_owned();
                self.event(Event::BfdDown(BfdFailure { why, is_certain: false }));
                assert!(self.shell.open.is_empty(), "nothing runs over a path that failed");
            }
            Move::Retry => self.event(Event::Retry),
            Move::Wait(millis) => self.wait_until(self.now + Duration::from_millis(millis)),
            Move::Due => {
                if let Some(at) = self.peer.deadline() {
                    self.wait_until(at);
                }
            }
        }
    }

    fn expect_rest(&self) {
        assert_eq!((self.peer.state(), self.peer.deadline()), (State::Idle, None));
        assert!(self.shell.open.is_empty() && !self.shell.is_dialling, "{:?}", self.shell);
    }

    /// A fair peer reaches Established, whatever was before.
    fn expect_recovery(&mut self) {
        self.event(Event::Start);
        let limit = self.now + Duration::from_secs(600);
        while self.shell.up.is_none() {
            assert!(self.now < limit, "does not recover: {:?}", self.peer);
            let open_wires: Vec<WireId> = self.shell.open.iter().copied().collect();
            for wire in open_wires {
                self.event(Event::Closed(wire, "reset".into()));
            }
            if self.shell.is_dialling {
                self.connect(Direction::Dialled);
            } else if self.peer.settings().passive {
                self.wait_until(self.now + Duration::from_secs(5));
                self.connect(Direction::Accepted);
            }
            if let Some(&wire) = self.shell.open.iter().next() {
                self.event(Event::Received(wire, Message::Open(open(2, 65001))));
                self.event(Event::Received(wire, Message::Keepalive));
            } else if let Some(at) = self.peer.deadline() {
                self.wait_until(at);
            }
        }
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn no_order_of_events_breaks_a_promise(
        seed: u64,
        passive: bool,
        steps in proptest::collection::vec(any_move(), 0..120),
    ) {
        let settings = PeerSettings { passive, ..settings(1, 64512, 65001) };
        let peer = Peer::new(settings, seed);
        let mut run = Run { peer, shell: Shell::default(), wires: 0, now: epoch() };
        run.event(Event::Start);
        for step in steps {
            run.make(step);
        }
        assert!(!passive || run.shell.dials == 0, "a passive peer dials");
        run.expect_recovery();
        run.make(Move::Stop);
    }
}
