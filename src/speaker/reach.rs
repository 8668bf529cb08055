//! Peers that are reached by a gateway of their own: the fib is told, and they are dialled
//! again once the route stands.

use std::net::IpAddr;

use tokio::sync::oneshot;

use super::owner::Owner;
use super::peer::Order;
use crate::fib;

/// Which peers are reached by which gateway.
#[derive(Debug, Default)]
pub(super) struct Reach {
    wanted: Vec<(IpAddr, IpAddr)>,
    is_untold: bool,
}

impl Reach {
    /// Whether the fib is to be told something.
    pub(super) fn is_untold(&self) -> bool {
        self.is_untold
    }
}

impl Owner {
    /// Who is a peer has changed: so may have which gateways are needed.
    pub(super) fn follow_gateways(&mut self) {
        let wanted = self.peers.values().map(|entry| &entry.wanted);
        let by = wanted.filter_map(|peer| Some((peer.address, peer.reachable_by?)));
        let mut by: Vec<(IpAddr, IpAddr)> = by.collect();
        by.sort_unstable();
        if by != self.reach.wanted {
            self.reach = Reach { wanted: by, is_untold: true };
        }
    }

    /// What the fib is to be told of gateways.
    pub(super) fn tell_gateways(&mut self) -> fib::Command {
        self.reach.is_untold = false;
        let (done, written) = oneshot::channel();
        let by_gateway = self.peers.values().filter(|entry| entry.wanted.reachable_by.is_some());
        let orders: Vec<_> = by_gateway.map(|entry| entry.orders.clone()).collect();
        if !orders.is_empty() {
            tokio::spawn(async move {
                // Before that, dialling may have failed for want of a route.
                if written.await.is_ok() {
                    for peer in orders {
                        let _ = peer.send(Order::Retry).await;
                    }
                }
            });
        }
        fib::Command::Reach(self.reach.wanted.clone(), done)
    }
}
