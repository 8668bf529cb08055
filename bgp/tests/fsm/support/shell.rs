//! What a shell would know of its wires, and the promises that the machine gives it.

use std::collections::BTreeSet;

use brindle_bgp::fsm::{Action, Event, Peer, State, WireId};
use brindle_bgp::msg::{Message, Notification};

use super::names;

/// Follows one machine and panics when it breaks a promise.
#[derive(Debug, Default)]
pub(crate) struct Shell {
    pub(crate) is_dialling: bool,
    pub(crate) open: BTreeSet<WireId>,
    pub(crate) up: Option<WireId>,
    pub(crate) dials: usize,
    pub(crate) ups: usize,
    pub(crate) ceases: usize,
}

impl Shell {
    /// Before an event goes to the machine.
    pub(crate) fn before(&mut self, event: &Event) {
        match event {
            Event::Connected(wire, direction) => {
                if *direction == brindle_bgp::fsm::Direction::Dialled {
                    self.is_dialling = false;
                }
                self.open.insert(*wire);
            }
            Event::ConnectFailed(_) => self.is_dialling = false,
            Event::Closed(wire, _) => {
                self.open.remove(wire);
            }
            Event::Start
            | Event::Stop(..)
            | Event::Restart(_)
            | Event::Received(..)
            | Event::Malformed(..)
            | Event::OverLimit(..)
            | Event::BfdDown(_)
            | Event::Retry
            | Event::Progress(_) => {}
        }
    }

    /// After the machine has answered.
    pub(crate) fn after(&mut self, peer: &Peer, actions: &[Action]) {
        let all = Names(actions);
        for action in actions {
            match action {
                Action::Dial => {
                    assert!(!self.is_dialling, "dials while it dials: {all}");
                    self.is_dialling = true;
                    self.dials += 1;
                }
                Action::AbandonDial => {
                    assert!(self.is_dialling, "abandons no dialling: {all}");
                    self.is_dialling = false;
                }
                Action::Send(wire, message) => {
                    assert!(self.open.contains(wire), "sends on a closed wire: {all}");
                    if matches!(message, Message::Notification(Notification { code: 6, .. })) {
                        self.ceases += 1;
                    }
                }
                Action::Close(wire) => {
                    assert!(self.open.remove(wire), "closes a closed wire: {all}");
                }
                Action::Up(wire, _) => {
                    assert!(self.open.contains(wire), "a closed wire is up: {all}");
                    assert_eq!(self.up.replace(*wire), None, "up twice: {all}");
                    self.ups += 1;
                }
                Action::Down(_) => {
                    assert!(self.up.take().is_some(), "down without up: {all}");
                }
                Action::Deliver(_) => {
                    assert!(self.up.is_some(), "delivers without a session: {all}");
                }
            }
        }
        assert!(self.open.len() <= 2, "more than two wires: {:?} after {all}", self.open);
        assert_eq!(self.up.is_some(), peer.state() == State::Established, "{all}");
        assert_eq!(self.up.is_some(), peer.negotiated().is_some(), "{all}");
        assert_eq!(self.up.is_some(), peer.established_since().is_some(), "{all}");
        assert_eq!(!self.open.is_empty(), peer.state() >= State::OpenSent, "{all}");
        if let Some(up) = self.up {
            assert_eq!(self.open, BTreeSet::from([up]), "a rival of an Established wire: {all}");
            assert!(!self.is_dialling, "dials while Established: {all}");
        }
    }
}

/// Writes actions only when a promise is broken.
struct Names<'a>(&'a [Action]);

impl std::fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&names(self.0))
    }
}
