//! Host routes of ours to addresses that are reached by a gateway of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use brindle_bgp::net::Prefix;
use brindle_bgp::rib::{BestChange, Forwarding};
use tokio::sync::oneshot;

use super::mirror::Mirror;
use super::table::Table;

/// Which addresses these are, and what the speaker would have in their places.
#[derive(Debug, Default)]
pub struct Reachable {
    hidden: BTreeMap<Prefix, Forwarding>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Reachable {
    /// Wants such routes to these addresses and to no others; who waits is answered by
    /// [`Reachable::written`].
    pub fn set(
        &mut self,
        gateways: Vec<(IpAddr, IpAddr)>,
        done: oneshot::Sender<()>,
        table: &mut Table,
        mirror: &mut Mirror,
    ) {
        let gateways: BTreeMap<IpAddr, IpAddr> = gateways.into_iter().collect();
        let before = mirror.reachable_by().clone();
        mirror.set_reachable_by(gateways.clone());
        for address in before.keys().filter(|address| !gateways.contains_key(address)) {
            let prefix = Prefix::host(*address);
            let now = self.hidden.remove(&prefix).unwrap_or(Forwarding::None);
            table.change(BestChange { prefix, now }, mirror);
        }
        for (address, gateway) in gateways {
            if before.get(&address) == Some(&gateway) {
                continue;
            }
            let prefix = Prefix::host(address);
            self.hidden.entry(prefix).or_insert_with(|| table.wanted(prefix));
            let now = Forwarding::Via(vec![gateway.into()]);
            table.change(BestChange { prefix, now }, mirror);
            // The peer itself can come back by this way only.
            table.insist(prefix);
        }
        self.waiting.push(done);
    }

    /// What a change of the speaker's comes down to: nothing, where a gateway is given.
    pub fn overrule(&mut self, change: BestChange) -> Option<BestChange> {
        let Some(hidden) = self.hidden.get_mut(&change.prefix) else { return Some(change) };
        *hidden = change.now;
        None
    }

    /// All that could be written is.
    pub fn written(&mut self) {
        for waiting in self.waiting.drain(..) {
            // Whoever waited may have gone.
            let _ = waiting.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(gateway: &str) -> Forwarding {
        Forwarding::Via(vec![gateway.parse::<IpAddr>().unwrap().into()])
    }

    #[test]
    fn a_given_gateway_goes_before_what_is_learned_and_gives_its_place_back() {
        let (mut table, mut mirror) = (Table::new(512), Mirror::default());
        let mut reachable = Reachable::default();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let [first, second] = ["10.0.0.1", "10.0.0.2"].map(|gateway| gateway.parse().unwrap());
        let prefix = Prefix::host(address);
        let learn = |reachable: &mut Reachable, table: &mut Table, now: Forwarding| {
            let change = reachable.overrule(BestChange { prefix, now });
            change.into_iter().for_each(|change| table.change(change, &Mirror::default()));
        };
        learn(&mut reachable, &mut table, via("10.0.0.9"));
        let (done, mut answered) = oneshot::channel();
        reachable.set(vec![(address, first)], done, &mut table, &mut mirror);
        assert_eq!(table.wanted(prefix), via("10.0.0.1"));
        assert!(answered.try_recv().is_err(), "not written yet");
        reachable.written();
        assert!(answered.try_recv().is_ok());
        learn(&mut reachable, &mut table, via("10.0.0.8"));
        assert_eq!(table.wanted(prefix), via("10.0.0.1"));
        reachable.set(vec![(address, second)], oneshot::channel().0, &mut table, &mut mirror);
        assert_eq!(table.wanted(prefix), via("10.0.0.2"));
        reachable.set(vec![], oneshot::channel().0, &mut table, &mut mirror);
        assert_eq!(table.wanted(prefix), via("10.0.0.8"), "learned meanwhile");
        assert!(mirror.reachable_by().is_empty());
        learn(&mut reachable, &mut table, Forwarding::None);
        assert_eq!(table.wanted(prefix), Forwarding::None);
    }
}
