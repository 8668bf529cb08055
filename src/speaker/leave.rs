//! Leaving as a whole: first marked, then withdrawn, then without sessions until told to be back.

use brindle_bgp::msg::CeaseReason;
use brindle_bgp::rib::Departure;

use super::owner::Owner;
use super::peer::Order;

/// How far the speaker is to be with leaving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leave {
    /// It is there for its peers.
    #[default]
    Not,
    /// All that it tells is marked as about to go (RFC 8326).
    Announced,
    /// What it originates is withdrawn.
    Withdrawn,
    /// It has no sessions and lets none come up; peers are told why they end (RFC 9003).
    Gone(Option<String>),
}

impl Owner {
    /// Takes the step; said twice it does no harm, and orders that found no room are repeated.
    pub(super) fn leave(&mut self, how: &Leave) {
        self.rib.set_departure(match how {
            Leave::Not => Departure::Staying,
            Leave::Announced => Departure::Announced,
            Leave::Withdrawn | Leave::Gone(_) => Departure::Withdrawn,
        });
        let was_gone = std::mem::replace(&mut self.is_gone, matches!(how, Leave::Gone(_)));
        for entry in self.peers.values().filter(|entry| !entry.disabled) {
            let order = match how {
                Leave::Gone(text) => Order::Stop(CeaseReason::AdministrativeShutdown, text.clone()),
                _ if was_gone => Order::Start,
                _ => continue,
            };
            // Whoever asks looks whether it came true.
            let _ = entry.orders.try_send(order);
        }
    }
}
