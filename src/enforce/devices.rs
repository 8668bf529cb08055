//! The interfaces of this host with their addresses, by which host endpoints are found.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use brindle_policy::model::DeviceAddresses;
use brindle_policy::names::INTERFACE_MARK;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::fib::netlink::{Drained, Dump, Monitor, Queries};
use crate::fib::news::News;

/// Room for events, in octets.
const RECEIVE_BUFFER: usize = 1024 * 1024;
/// How long after a change others are waited for.
const COLLECT: Duration = Duration::from_millis(50);
/// How long to wait before everything is read anew after that failed.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Watches the interfaces until it is dropped.
#[derive(Debug)]
pub(super) struct Devices {
    latest: watch::Receiver<Arc<DeviceAddresses>>,
    _task: AbortOnDropHandle<()>,
}

impl Devices {
    /// Begins to watch in the network namespace of this thread; to be called within a runtime.
    /// What is there now is there to be taken when it returns.
    ///
    /// # Errors
    /// If the kernel refuses a socket, or does not answer.
    pub(super) async fn start() -> io::Result<Self> {
        let monitor = Monitor::open_addresses(RECEIVE_BUFFER)?;
        let known = Known::read().await?;
        let (sender, mut latest) = watch::channel(Arc::new(known.devices()));
        latest.mark_changed();
        let task = tokio::spawn(look(monitor, known, sender));
        Ok(Self { latest, _task: AbortOnDropHandle::new(task) })
    }

    /// What there is now, if it was not taken yet.
    pub(super) fn take(&mut self) -> Option<Arc<DeviceAddresses>> {
        let is_new = self.latest.has_changed().unwrap_or(false);
        is_new.then(|| Arc::clone(&self.latest.borrow_and_update()))
    }

    /// Waits until there is something else. Nothing is lost if it is not waited for to the end.
    pub(super) async fn changed(&mut self) {
        if self.latest.changed().await.is_err() {
            // The task ends with this value only, if not by a panic, which was told.
            std::future::pending::<()>().await;
        }
        self.latest.mark_changed();
    }
}

async fn look(mut monitor: Monitor, mut known: Known, latest: watch::Sender<Arc<DeviceAddresses>>) {
    loop {
        monitor.ready().await;
        tokio::time::sleep(COLLECT).await;
        if !matches!(monitor.drain(|news| known.hear(news)).await, Ok(Drained::All)) {
            known = loop {
                match Known::read().await {
                    Ok(known) => break known,
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the host's interfaces");
                        tokio::time::sleep(READ_AGAIN).await;
                    }
                }
            };
        }
        let devices = known.devices();
        latest.send_if_modified(|before| {
            let is_new = **before != devices;
            if is_new {
                *before = Arc::new(devices);
            }
            is_new
        });
    }
}

/// Links and addresses as the kernel told them.
#[derive(Debug, Default)]
struct Known {
    links: BTreeMap<u32, Arc<str>>,
    addresses: BTreeMap<u32, BTreeSet<IpAddr>>,
}

impl Known {
    async fn read() -> io::Result<Self> {
        let mut queries = Queries::open()?;
        let links = queries.dump(Dump::Links, Known::default, Known::hear).await?.links;
        let addresses = queries.dump(Dump::Addresses, Known::default, Known::hear).await?.addresses;
        Ok(Self { links, addresses })
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Link(link) => _ = self.links.insert(link.index, link.name),
            News::LinkGone(index) => {
                self.links.remove(&index);
                self.addresses.remove(&index);
            }
            News::Address(address) => {
                self.addresses.entry(address.link).or_default().insert(address.address);
            }
            News::AddressGone(address) => {
                if let Some(all) = self.addresses.get_mut(&address.link) {
                    all.remove(&address.address);
                }
            }
            News::Route(..) | News::RouteGone(_) | News::GuardGone => {}
        }
    }

    /// Those that a host endpoint may be about: not the loopback interface, not pods', and none
    /// without an address that others can reach.
    fn devices(&self) -> DeviceAddresses {
        let devices = self.addresses.iter().filter_map(|(link, addresses)| {
            let name = self.links.get(link)?;
            let addresses: BTreeSet<IpAddr> =
                addresses.iter().copied().filter(|address| is_reached(*address)).collect();
            let is_own = &**name == "lo" || name.starts_with(INTERFACE_MARK);
            let is_one = !is_own && !addresses.is_empty();
            Some((name.parse().ok().filter(|_| is_one)?, addresses))
        });
        DeviceAddresses { devices: devices.collect() }
    }
}

/// Whether others can reach it: not an address of one link or host only.
fn is_reached(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::news::{Address, Link};

    fn link(index: u32, name: &str) -> News {
        News::Link(Link { index, name: name.into(), is_enabled: true, is_up: true })
    }

    fn address(link: u32, address: &str) -> Address {
        let address = address.parse().unwrap();
        let on_link = brindle_bgp::net::Prefix::new(address, 32).unwrap();
        Address { link, address, on_link, is_usable: true }
    }

    fn shown(known: &Known) -> Vec<String> {
        let devices = known.devices().devices;
        devices.iter().map(|(name, addresses)| format!("{name} {addresses:?}")).collect()
    }

    #[test]
    fn interfaces_count_that_others_can_reach_and_that_are_no_pods() {
        let mut known = Known::default();
        for (index, name, own) in [
            (1, "lo", "127.0.0.1"),
            (2, "eth0", "10.0.0.1"),
            (2, "eth0", "fe80::1"),
            (3, "brn0123456789a", "10.1.0.1"),
            (4, "cali0123", "169.254.1.1"),
            (5, "cni0", "10.1.0.1"),
            (6, "a;b", "10.0.0.9"),
        ] {
            known.hear(link(index, name));
            known.hear(News::Address(address(index, own)));
        }
        assert_eq!(shown(&known), ["cni0 {10.1.0.1}", "eth0 {10.0.0.1}"]);
        known.hear(link(5, "br0"));
        known.hear(News::Address(address(2, "fd00::1")));
        known.hear(News::AddressGone(address(2, "10.0.0.1")));
        assert_eq!(shown(&known), ["br0 {10.1.0.1}", "eth0 {fd00::1}"]);
        known.hear(News::LinkGone(5));
        known.hear(News::AddressGone(address(7, "10.0.0.1")));
        assert_eq!(shown(&known), ["eth0 {fd00::1}"]);
    }
}
