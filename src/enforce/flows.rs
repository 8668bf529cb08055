//! The latest flows that were denied, that a policy wants told, or that a staged policy would
//! decide otherwise; for who asks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use brindle_policy::{Direction, PodKey, PolicyId};
use tokio::sync::watch;

/// Flows that are kept.
const KEPT: usize = 4096;
/// A packet that comes later than this after one of the same flow is told anew.
const SAME_FLOW: Duration = Duration::from_secs(60);

/// Why a flow is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowOutcome {
    /// It was denied.
    Denied,
    /// A rule with the action Log matched it.
    Logged,
    /// It was denied, and staged policies would allow it.
    WouldAllow,
    /// It was allowed, and staged policies would deny it.
    WouldDeny,
}

/// Packets of one flow that were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Why.
    pub outcome: FlowOutcome,
    /// Its number: greater than those of all flows that were told before. A flow that is told
    /// once more gets a new one.
    pub number: u64,
    /// When the first of the packets came.
    pub first: SystemTime,
    /// When the last came.
    pub last: SystemTime,
    /// How many came, as far as the kernel told: it tells only some a second.
    pub count: u64,
    /// Whether it was dropped on its way to an endpoint of this node or from one.
    pub direction: Direction,
    /// Where it comes from.
    pub source: FlowEnd,
    /// Where it goes, after destination translation.
    pub destination: FlowEnd,
    /// The number of the IP protocol.
    pub protocol: u8,
    /// The flags of a TCP packet, as in the header: 2 is SYN.
    pub tcp_flags: Option<u8>,
    /// Type and code of a message of ICMP or ICMPv6.
    pub icmp: Option<(u8, u8)>,
    /// The host endpoint that judged it; `None` if it was a pod's policies.
    pub host: Option<Arc<str>>,
    /// What decided, by the engine; `None` if it would allow it (by now), or if what decided
    /// is no policy: [`Flow::why`] tells.
    pub policy: Option<PolicyId>,
    /// The tier that decided.
    pub tier: Option<Arc<str>>,
    /// The rule of that policy which denied it, by index; `None` if none matched.
    pub rule: Option<usize>,
    /// Why it was dropped, in a few words.
    pub why: Arc<str>,
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowEnd {
    /// Its address.
    pub address: IpAddr,
    /// Its port, where the protocol has ports.
    pub port: Option<u16>,
    /// The endpoint that had the address then.
    pub pod: Option<PodKey>,
    /// The node whose address it is, if it is no pod's.
    pub node: Option<Arc<str>>,
}

/// The latest denied flows. Cheap to ask from any thread.
#[derive(Debug)]
pub struct Flows {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    newest: u64,
    flows: BTreeMap<u64, Flow>,
    numbers: HashMap<Key, u64>,
}

/// What makes packets one flow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    outcome: FlowOutcome,
    direction: Direction,
    source: FlowEnd,
    destination: FlowEnd,
    protocol: u8,
}

impl Key {
    fn of(flow: &Flow) -> Self {
        Self {
            outcome: flow.outcome,
            direction: flow.direction,
            source: flow.source.clone(),
            destination: flow.destination.clone(),
            protocol: flow.protocol,
        }
    }
}

/// An answer of [`Flows::after`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowPage {
    /// The flows, by number.
    pub flows: Vec<Flow>,
    /// Where to ask on from: the number of the last of `flows`, or what was asked after.
    pub last: u64,
    /// Whether flows after the number asked for have been dropped already.
    pub lost: bool,
}

impl Default for Flows {
    fn default() -> Self {
        Self { kept: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl Flows {
    /// Flows with a number greater than `number`, the first `limit` of them. Zero asks for all
    /// that are kept.
    pub fn after(&self, number: u64, limit: usize) -> FlowPage {
        let kept = self.lock();
        let flows: Vec<Flow> = kept
            .flows
            .range(number.saturating_add(1)..)
            .take(limit)
            .map(|(_, f)| f.clone())
            .collect();
        let oldest = kept.flows.first_key_value().map_or(kept.newest + 1, |(first, _)| *first);
        FlowPage {
            last: flows.last().map_or(number, |flow| flow.number),
            lost: number > 0 && kept.flows.len() == KEPT && number + 1 < oldest,
            flows,
        }
    }

    /// Tells the number of the newest flow whenever there is one.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Adds a flow, or more packets of one that is there.
    pub(crate) fn add(&self, mut flow: Flow) {
        let mut kept = self.lock();
        kept.newest += 1;
        flow.number = kept.newest;
        let key = Key::of(&flow);
        let before = kept.numbers.get(&key).copied();
        if let Some(before) = before.and_then(|number| kept.flows.remove(&number)) {
            let is_over = flow.first.duration_since(before.last).is_ok_and(|t| t > SAME_FLOW);
            if is_over {
                kept.flows.insert(before.number, before);
            } else {
                flow.first = before.first;
                flow.count += before.count;
            }
        }
        let number = flow.number;
        kept.numbers.insert(key, number);
        kept.flows.insert(number, flow);
        while kept.flows.len() > KEPT {
            if let Some((number, oldest)) = kept.flows.pop_first() {
                let key = Key::of(&oldest);
                if kept.numbers.get(&key) == Some(&number) {
                    kept.numbers.remove(&key);
                }
            }
        }
        drop(kept);
        self.newest.send_replace(number);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked in here left whole flows behind.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn flow(port: u16, second: u64) -> Flow {
        let end = |address: &str, port| FlowEnd {
            address: address.parse().unwrap(),
            port: Some(port),
            pod: None,
            node: None,
        };
        Flow {
            outcome: FlowOutcome::Denied,
            number: 0,
            first: at(second),
            last: at(second),
            count: 1,
            direction: Direction::Ingress,
            source: end("10.1.0.1", port),
            destination: end("10.1.0.2", 80),
            protocol: 6,
            tcp_flags: Some(2),
            icmp: None,
            host: None,
            policy: None,
            tier: None,
            rule: None,
            why: "".into(),
        }
    }

    #[test]
    fn packets_of_one_flow_are_told_as_one_with_a_new_number() {
        let flows = Flows::default();
        for (port, second) in [(1, 0), (2, 0), (1, 3), (1, 7)] {
            flows.add(flow(port, second));
        }
        let page = flows.after(0, 10);
        let told: Vec<_> = page.flows.iter().map(|f| (f.number, f.source.port, f.count)).collect();
        assert_eq!(told, [(2, Some(2), 1), (4, Some(1), 3)]);
        assert_eq!((page.flows[1].first, page.flows[1].last), (at(0), at(7)));
        assert_eq!((page.last, page.lost), (4, false));
        assert_eq!(flows.after(2, 10).flows.len(), 1);
        assert_eq!(flows.after(4, 10), FlowPage { flows: Vec::new(), last: 4, lost: false });
        // Much later it is another flow that happens to have the same ports.
        flows.add(flow(1, 100));
        let counts: Vec<_> = flows.after(0, 10).flows.iter().map(|f| f.count).collect();
        assert_eq!(counts, [1, 3, 1]);
    }

    #[test]
    fn the_oldest_flows_give_way_and_who_was_slow_is_told() {
        let flows = Flows::default();
        for n in 0..=KEPT as u64 + 1 {
            flows.add(flow(u16::try_from(n).unwrap(), 0));
        }
        let page = flows.after(1, 3);
        assert!(page.lost);
        assert_eq!(page.flows.iter().map(|f| f.number).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(!flows.after(2, 3).lost);
        assert_eq!(flows.after(0, usize::MAX).flows.len(), KEPT);
        assert_eq!(flows.lock().numbers.len(), KEPT);
    }

    #[test]
    fn who_waits_learns_of_the_newest() {
        let flows = Flows::default();
        let newest = flows.newest();
        flows.add(flow(1, 0));
        assert!(newest.has_changed().unwrap());
        assert_eq!(*newest.borrow(), 1);
    }
}
