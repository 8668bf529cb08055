//! How a peer gets its connections: those that we dial, and those that it opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brindle_bgp::fsm::{Direction, Event, WireId};
use brindle_bgp::msg::CeaseReason;
use socket2::SockRef;
use tokio::net::TcpStream;
use tracing::{debug, info};

use super::PeerTask;
use crate::speaker::auth::Protection;
use crate::speaker::dial::dial;
use crate::speaker::status::PeerStatus;
use crate::speaker::wire::Wire;
use crate::speaker::writer::Writer;

/// Wire numbers are unique over all peers, so that late news of an old wire finds nobody.
static NEXT_WIRE: AtomicU64 = AtomicU64::new(1);

impl PeerTask {
    pub(super) fn dial_failed(&mut self, why: String) {
        debug!(peer = %self.wanted.rib.name, %why, "dialling failed");
        let mut status = PeerStatus::clone(&self.shared.status.load());
        status.last_dial_error = Some(why.clone());
        self.shared.status.store(Arc::new(status));
        self.feed(Event::ConnectFailed(why));
    }

    /// Dialling has come to something again.
    fn forget_dial_error(&self) {
        let status = self.shared.status.load();
        if status.last_dial_error.is_some() {
            let status = PeerStatus { last_dial_error: None, ..PeerStatus::clone(&status) };
            self.shared.status.store(Arc::new(status));
        }
    }

    pub(super) fn dial(&mut self) {
        let peer = self.wanted.socket_address();
        let (source, protection) = (self.wanted.source, self.protection.clone());
        self.dialling = Some(tokio::spawn(async move { dial(peer?, source, &protection).await }));
    }

    /// Changes the connections that there are; those that cannot live on end.
    pub(super) fn protect(&mut self, protection: Protection) {
        let old = std::mem::replace(&mut self.protection, protection);
        let peer = self.wanted.address;
        let change = |wire: &Wire| old.change(&self.protection, wire.socket(), peer).err();
        let lost = self.wires.iter().find_map(change);
        if let Some(why) = lost {
            info!(peer = %self.wanted.rib.name, why, "the session starts anew");
            self.feed(Event::Stop(CeaseReason::OtherConfigurationChange, None));
            self.feed(Event::Start);
        } else if let Some(dialling) = self.dialling.take() {
            dialling.abort();
            self.dial();
        } else {
            self.feed(Event::Retry);
        }
    }

    pub(super) fn connected(&mut self, stream: TcpStream, direction: Direction) {
        if direction == Direction::Accepted
            && let Err(why) = self.protection.arm_accepted(&stream, self.wanted.address)
        {
            return self.turn_away(&stream, why);
        }
        let id = WireId(NEXT_WIRE.fetch_add(1, Ordering::Relaxed));
        let start_writer = |write| {
            let counters = Arc::clone(&self.shared.counters);
            Writer::start(self.id, id, write, self.to_owner.clone(), self.news.0.clone(), counters)
        };
        match Wire::new(id, stream, start_writer) {
            Ok(wire) => {
                if direction == Direction::Dialled {
                    self.forget_dial_error();
                }
                self.wires.push(wire);
                self.machine.set_own_restart(**self.own_restart.load());
                self.feed(Event::Connected(id, direction));
            }
            Err(error) if direction == Direction::Dialled => self.dial_failed(error.to_string()),
            Err(error) => debug!(%error, "accepted connection was gone at once"),
        }
    }

    /// Resets a connection that is not protected as it shall be.
    fn turn_away(&mut self, stream: &TcpStream, why: String) {
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        debug!(peer = %self.wanted.rib.name, %why, "connection turned away");
        let mut status = PeerStatus::clone(&self.shared.status.load());
        status.last_dial_error = Some(why);
        self.shared.status.store(Arc::new(status));
    }
}
