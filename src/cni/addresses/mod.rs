//! Which addresses a pod gets. No I/O: the store asks, and writes down what comes of it.
//!
//! ```text
//! 10.244.1.0/29   .0  .1  .2  .3  .4  .5  .6  .7
//!                  x   a   r   b  ↑            x     x never given  a,b taken  r resting
//!                                last ──▶ next       after the last comes the first again
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::spec::{Code, Failure};

/// How long an address rests after its pod has gone, in seconds: until others have forgotten
/// whose it was.
pub const REST: u64 = 300;

/// The addresses of a pod range that pods may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    network: IpNetwork,
    first: u128,
    last: u128,
}

impl Range {
    /// All of `network` but its own address (in IPv6 that of all its routers) and, in IPv4,
    /// the broadcast address; ranges of one or two addresses are used whole.
    pub fn new(network: IpNetwork) -> Self {
        let (bits, start) = match network.network() {
            IpAddr::V4(address) => (32, u128::from(address.to_bits())),
            IpAddr::V6(address) => (128, address.to_bits()),
        };
        let host_bits = u32::from(bits - network.prefix());
        let mask = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        let end = start | mask;
        let (first, last) = match (host_bits, bits) {
            (0 | 1, _) => (start, end),
            (_, 32) => (start + 1, end - 1),
            _ => (start + 1, end),
        };
        Self { network, first, last }
    }

    /// As the node has it.
    pub fn network(&self) -> IpNetwork {
        self.network
    }

    /// Whether a pod may have this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4()
            && (self.first..=self.last).contains(&number(address))
    }

    /// How many addresses pods may have.
    pub fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// The next free address after `last`, the first after the last. If there is none, the one
    /// of `resting` (address and when it was released) that has rested longest.
    ///
    /// Takes time by what is taken, not by the size of the range.
    pub fn choose(
        &self,
        last: Option<IpAddr>,
        taken: &BTreeSet<IpAddr>,
        resting: &BTreeMap<IpAddr, u64>,
    ) -> Option<IpAddr> {
        let start = last.filter(|&last| self.contains(last)).map_or(self.last, number);
        let mut candidate = start;
        // Of that many candidates in a row one is free, or none is.
        for _ in 0..=taken.len() + resting.len() {
            candidate = if candidate == self.last { self.first } else { candidate + 1 };
            let address = self.address(candidate);
            if !taken.contains(&address) && !resting.contains_key(&address) {
                return Some(address);
            }
            if candidate == start {
                break;
            }
        }
        let mine = resting.iter().filter(|(a, _)| self.contains(**a) && !taken.contains(a));
        mine.min_by_key(|(_, since)| **since).map(|(&address, _)| address)
    }

    /// How many addresses are not in `taken`.
    pub fn left(&self, taken: &BTreeSet<IpAddr>) -> u128 {
        let mine = taken.iter().filter(|address| self.contains(**address)).count();
        self.size().saturating_sub(mine as u128)
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.network {
            // Numbers between an IPv4 network's first and last fit.
            IpNetwork::V4(_) => {
                IpAddr::V4(u32::try_from(number).expect("an IPv4 number has 32 bits").into())
            }
            IpNetwork::V6(_) => IpAddr::V6(number.into()),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What is remembered besides the records of what is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The address of each range that was given last.
    #[serde(default)]
    pub last: BTreeMap<String, IpAddr>,
    /// When addresses were released, in seconds since 1970.
    #[serde(default)]
    pub released: BTreeMap<IpAddr, u64>,
}

impl Ledger {
    /// Notes that these addresses have no pod any more.
    pub fn release(&mut self, addresses: &[IpAddr], now: u64) {
        self.released.extend(addresses.iter().map(|&address| (address, now)));
    }

    /// Forgets what has rested. A clock that was set back gives no longer rest than a full one.
    pub fn refresh(&mut self, now: u64) {
        for since in self.released.values_mut() {
            *since = (*since).min(now);
        }
        self.released.retain(|_, since| now - *since < REST);
    }
}

/// The addresses for a new pod: one of each range, those `wanted` where they are named. Notes in
/// `ledger` what it gave.
///
/// # Errors
/// If a range is full, or a wanted address is taken or outside of all ranges.
pub fn allocate(
    ranges: &[Range],
    wanted: &[IpAddr],
    taken: &BTreeSet<IpAddr>,
    ledger: &mut Ledger,
) -> Result<Vec<IpAddr>, Failure> {
    let listed = || {
        let all: Vec<String> = ranges.iter().map(|range| range.network.to_string()).collect();
        all.join(", ")
    };
    for address in wanted {
        let refused = |why: String| {
            Failure::new(Code::AddressRefused, format!("runtimeConfig.ips: {address} {why}"))
        };
        if !ranges.iter().any(|range| range.contains(*address)) {
            let why =
                format!("is no address for pods of this node; accepted are those of {}", listed());
            return Err(refused(why));
        }
        if taken.contains(address) {
            return Err(refused("is another container's".to_owned()));
        }
    }
    let mut given = Vec::new();
    for range in ranges {
        let key = range.network.to_string();
        let address = match wanted.iter().find(|address| range.contains(**address)) {
            Some(&address) => address,
            None => {
                let last = ledger.last.get(&key).copied();
                let next = range.choose(last, taken, &ledger.released);
                let next = next.ok_or_else(|| full(range))?;
                ledger.last.insert(key, next);
                next
            }
        };
        given.push(address);
    }
    for address in &given {
        ledger.released.remove(address);
    }
    Ok(given)
}

fn full(range: &Range) -> Failure {
    let (network, size) = (range.network, range.size());
    let message = format!(
        "the pod range {network} of this node is full: all {size} addresses are taken; remove pods, or give the node a larger podCIDR"
    );
    Failure::new(Code::RangeFull, message)
}

#[cfg(test)]
mod tests;
