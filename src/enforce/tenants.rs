//! Which pod has which address, and addresses that pass from one to another.
//!
//! Connection tracking knows addresses, not pods: what the former owner was allowed would go
//! on for the next (policy-semantics 7.8). So an address that passes on is taken from both
//! first. Once it is closed in the kernel, its entries are removed, and only then is it given
//! to the next.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use brindle_policy::names::ChainName;
use brindle_policy::{Change, Direction, PodKey, World};

/// Addresses without an owner that are remembered before their entries are removed in any
/// case.
const VACANT_KEPT: usize = 16_384;

/// Who has had which address.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    /// The last owner of each address, by the chain that judges what it gets. Nothing is kept
    /// back before this is known ([`Tenants::settle`]).
    last: Option<HashMap<IpAddr, ChainName>>,
    /// Addresses among those that nobody owns now.
    vacant: BTreeSet<IpAddr>,
    /// Pods that an address was taken from for now, and when they came.
    held: HashMap<PodKey, Instant>,
    /// Addresses that are to be closed in the kernel.
    closing: BTreeSet<IpAddr>,
    /// Addresses that are: their entries may be removed.
    closed: BTreeSet<IpAddr>,
}

impl Tenants {
    /// Applies a change to the world, less the addresses that pass to another pod by it.
    /// Whether all of it was applied.
    pub(super) fn apply(&mut self, world: &mut World, change: Change, arrived: Instant) -> bool {
        let keys: BTreeSet<PodKey> = match &change {
            Change::PodApplied(pod) => [pod.key.clone()].into(),
            Change::PodDeleted(key) => [key.clone()].into(),
            Change::Attached(attachment) => {
                let before = world.attachment(attachment.interface);
                before.into_iter().chain([attachment]).filter_map(|one| one.pod.clone()).collect()
            }
            Change::Detached(interface) => {
                world.attachment(*interface).and_then(|one| one.pod.clone()).into_iter().collect()
            }
            Change::NamespaceApplied(_)
            | Change::NamespaceDeleted(_)
            | Change::NodeApplied(_)
            | Change::NodeDeleted(_)
            | Change::PolicyApplied(_)
            | Change::PolicyDeleted(_)
            | Change::TierApplied(_)
            | Change::TierDeleted(_)
            | Change::HostEndpointApplied(_)
            | Change::HostEndpointDeleted(_)
            | Change::NetworkSetApplied(_)
            | Change::NetworkSetDeleted(_)
            | Change::ProfileApplied(_)
            | Change::ProfileDeleted(_)
            | Change::ServiceAccountApplied(_)
            | Change::ServiceAccountDeleted(_)
            | Change::SliceApplied(_)
            | Change::SliceDeleted(_)
            | Change::Devices(_)
            | Change::InSync => {
                world.apply(change);
                return true;
            }
        };
        let mut addresses: BTreeSet<IpAddr> =
            keys.iter().flat_map(|key| world.claims(key)).collect();
        for key in &keys {
            self.held.remove(key);
        }
        world.apply(change);
        addresses.extend(keys.iter().flat_map(|key| world.claims(key)));
        for address in addresses {
            self.look_at(world, address, arrived);
        }
        !keys.iter().any(|key| self.held.contains_key(key))
    }

    /// The world is complete: from now on it is known who passes an address to whom.
    /// `installed` tells the chains that the kernel has for addresses from an earlier run.
    pub(super) fn settle(&mut self, world: &mut World, installed: HashMap<IpAddr, ChainName>) {
        let now = Instant::now();
        let told = world.pods().flat_map(|pod| pod.addresses.iter().copied());
        let addresses: BTreeSet<IpAddr> = told.chain(installed.keys().copied()).collect();
        self.last = Some(installed);
        for address in addresses {
            self.look_at(world, address, now);
        }
    }

    fn look_at(&mut self, world: &mut World, address: IpAddr, arrived: Instant) {
        let Some(last) = &mut self.last else { return };
        let Some(owner) = world.endpoint_at(address) else {
            if last.contains_key(&address) {
                self.vacant.insert(address);
            }
            return;
        };
        let chain = ChainName::endpoint(&owner.key, Direction::Ingress);
        let known = last.entry(address).or_insert_with(|| chain.clone());
        if *known == chain && !self.closing.contains(&address) && !self.closed.contains(&address) {
            self.vacant.remove(&address);
            return;
        }
        self.closing.insert(address);
        while let Some(owner) = world.endpoint_at(address).cloned() {
            self.held.entry(owner.key.clone()).or_insert(arrived);
            world.take_from(&owner.key, address);
        }
    }

    /// The pods that are kept back, by name.
    pub(super) fn held(&self) -> impl Iterator<Item = &PodKey> {
        self.held.keys()
    }

    /// What is to be written now closes the addresses that pass on.
    pub(super) fn closing(&self) -> BTreeSet<IpAddr> {
        self.closing.clone()
    }

    /// It was written: these are closed in the kernel.
    pub(super) fn close(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.closing.retain(|address| !addresses.contains(address));
        self.closed.extend(addresses);
    }

    /// The addresses whose entries are to be removed now; empty if none are.
    pub(super) fn to_flush(&self) -> BTreeSet<IpAddr> {
        let mut addresses = self.closed.clone();
        if self.vacant.len() > VACANT_KEPT {
            addresses.extend(&self.vacant);
        }
        addresses
    }

    /// The entries of these addresses are removed: those that passed on are given to their new
    /// owners in `world`. When the changes came that did not fully count until now.
    pub(super) fn flushed(
        &mut self,
        world: &mut World,
        addresses: &BTreeSet<IpAddr>,
    ) -> Vec<Instant> {
        let last = self.last.get_or_insert_default();
        for address in addresses {
            last.remove(address);
            self.vacant.remove(address);
            self.closed.remove(address);
        }
        // All of them before any is looked at: of two that claim one address, one has it.
        let held = std::mem::take(&mut self.held);
        held.keys().for_each(|key| world.restore(key));
        for (key, arrived) in &held {
            for address in world.claims(key) {
                self.look_at(world, address, *arrived);
            }
        }
        let is_free = |(key, _): &(&PodKey, &Instant)| !self.held.contains_key(*key);
        held.iter().filter(is_free).map(|(_, arrived)| *arrived).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use brindle_policy::Attachment;
    use brindle_policy::model::Pod;

    use super::*;

    fn pod(name: &str, created: &str, addresses: &[&str]) -> Arc<Pod> {
        Arc::new(Pod {
            key: key(name),
            labels: Default::default(),
            node: Some("n1".into()),
            host_network: false,
            finished: false,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ports: BTreeSet::new(),
            created: created.into(),
            service_account: "default".into(),
        })
    }

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "a".into(), name: name.into() }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 1, 0, last])
    }

    /// The task's part: what it does whenever the kernel took something.
    struct Play {
        tenants: Tenants,
        world: World,
    }

    impl Play {
        fn new(pods: &[Arc<Pod>]) -> Self {
            let mut play = Self { tenants: Tenants::default(), world: World::default() };
            for pod in pods {
                assert!(play.apply(Change::PodApplied(pod.clone())), "nothing is known yet");
            }
            play.tenants.settle(&mut play.world, HashMap::new());
            assert_eq!(play.tenants.closing(), BTreeSet::new());
            play
        }

        fn apply(&mut self, change: Change) -> bool {
            self.tenants.apply(&mut self.world, change, Instant::now())
        }

        fn owner(&self, last: u8) -> Option<&str> {
            self.world.endpoint_at(address(last)).map(|pod| &*pod.key.name)
        }

        fn flush(&mut self) -> usize {
            let closing = self.tenants.closing();
            self.tenants.close(&closing);
            let addresses = self.tenants.to_flush();
            self.tenants.flushed(&mut self.world, &addresses).len()
        }
    }

    #[test]
    fn an_address_is_nobodys_until_its_entries_are_removed() {
        let [old, new] = [("old", "1"), ("new", "2")].map(|(n, c)| pod(n, c, &["10.1.0.1"]));
        let steps: [(&str, Vec<Change>); 3] = [
            ("the new one comes first", vec![Change::PodApplied(new.clone())]),
            (
                "the old one goes first",
                vec![Change::PodDeleted(key("old")), Change::PodApplied(new.clone())],
            ),
            (
                "it changes while it is held",
                vec![Change::PodApplied(new.clone()), Change::PodApplied(new.clone())],
            ),
        ];
        for (what, changes) in steps {
            let mut play = Play::new(std::slice::from_ref(&old));
            assert_eq!(play.owner(1), Some("old"));
            let last = changes.len() - 1;
            for (index, change) in changes.into_iter().enumerate() {
                let is_whole = play.apply(change);
                assert_eq!(is_whole, index < last && what == "the old one goes first", "{what}");
            }
            assert_eq!(play.owner(1), None, "{what}");
            assert_eq!(play.tenants.to_flush(), BTreeSet::new(), "{what}: not closed yet");
            assert_eq!(play.tenants.closing(), [address(1)].into(), "{what}");
            assert!(play.flush() > 0, "{what}");
            assert_eq!(play.owner(1), Some("new"), "{what}");
            assert_eq!(play.tenants.held().count(), 0, "{what}");
            assert_eq!(play.tenants.closing(), BTreeSet::new(), "{what}");
        }
    }

    #[test]
    fn who_keeps_its_address_is_left_alone() {
        let mut play = Play::new(&[pod("a", "1", &["10.1.0.1"]), pod("b", "1", &["10.1.0.2"])]);
        assert!(play.apply(Change::PodApplied(pod("a", "1", &["10.1.0.1", "fd00::1"]))));
        // Gone and back under its name, as by a relist.
        assert!(play.apply(Change::PodDeleted(key("a"))));
        assert!(play.apply(Change::PodApplied(pod("a", "9", &["10.1.0.1"]))));
        // One that is older than the owner gets nothing.
        assert!(play.apply(Change::PodApplied(pod("c", "0", &["10.1.0.1", "10.1.0.3"]))));
        assert_eq!([1, 2, 3].map(|last| play.owner(last)), [Some("a"), Some("b"), Some("c")]);
        assert_eq!(play.tenants.closing(), BTreeSet::new());
        // Until the owner goes.
        assert!(play.apply(Change::PodDeleted(key("a"))));
        assert_eq!([play.owner(1), play.owner(3)], [None, Some("c")]);
        play.flush();
        assert_eq!(play.owner(1), Some("c"));
    }

    #[test]
    fn an_address_that_passes_on_by_an_interface_is_nobodys_first_too() {
        let mut play = Play::new(&[pod("old", "1", &["10.1.0.1"]), pod("new", "2", &[])]);
        let attached = |name: &str, last| {
            Change::Attached(Arc::new(Attachment {
                node: "n1".into(),
                interface: "brn1".parse().unwrap(),
                pod: Some(key(name)),
                addresses: vec![address(last)],
            }))
        };
        assert!(play.apply(attached("new", 2)), "nobody had that one");
        assert!(!play.apply(attached("new", 1)));
        assert_eq!([1, 2].map(|last| play.owner(last)), [None, None]);
        // What is told meanwhile does not give it away.
        assert!(!play.apply(Change::PodApplied(pod("new", "2", &["10.1.0.1"]))));
        assert_eq!(play.owner(1), None);
        assert!(play.flush() > 0);
        assert_eq!(play.owner(1), Some("new"));
        // The interface goes, and with it what only the interface gave.
        assert!(play.apply(Change::PodApplied(pod("new", "2", &[]))));
        assert!(play.apply(Change::Detached("brn1".parse().unwrap())));
        assert_eq!(play.owner(1), None);
        play.flush();
        assert_eq!(play.owner(1), Some("old"));
    }

    #[test]
    fn what_passed_on_while_nobody_looked_is_known_from_the_kernel() {
        let mut play = Play::new(&[]);
        play.apply(Change::PodApplied(pod("a", "1", &["10.1.0.1"])));
        play.apply(Change::PodApplied(pod("b", "1", &["10.1.0.2"])));
        let chain = |name: &str| ChainName::endpoint(&key(name), Direction::Ingress);
        let installed = [(address(1), chain("a")), (address(2), chain("gone"))].into();
        play.tenants = Tenants::default();
        play.tenants.settle(&mut play.world, installed);
        assert_eq!([play.owner(1), play.owner(2)], [Some("a"), None]);
        assert_eq!(play.flush(), 1);
        assert_eq!(play.owner(2), Some("b"));
    }

    #[test]
    fn one_that_waits_for_two_addresses_gets_them_when_both_are_free() {
        let old = pod("old", "1", &["10.1.0.1", "10.1.0.2"]);
        let mut play = Play::new(std::slice::from_ref(&old));
        play.apply(Change::PodApplied(pod("new", "2", &["10.1.0.1", "10.1.0.2"])));
        assert_eq!([play.owner(1), play.owner(2)], [None, None]);
        // One is closed in the kernel before the other.
        play.tenants.close(&[address(1)].into());
        let first = play.tenants.to_flush();
        assert_eq!(first, [address(1)].into());
        assert_eq!(play.tenants.flushed(&mut play.world, &first).len(), 0);
        assert_eq!([play.owner(1), play.owner(2)], [Some("new"), None]);
        assert_eq!(play.flush(), 2);
        assert_eq!([play.owner(1), play.owner(2)], [Some("new"), Some("new")]);
    }

    #[test]
    fn addresses_that_nobody_uses_are_not_remembered_for_ever() {
        let mut play = Play::new(&[]);
        for number in 0..=u32::try_from(VACANT_KEPT).unwrap() {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 | number).to_string();
            play.apply(Change::PodApplied(pod("a", "1", &[&address])));
        }
        play.apply(Change::PodDeleted(key("a")));
        assert_eq!(play.tenants.to_flush().len(), VACANT_KEPT + 1);
        play.flush();
        assert_eq!(play.tenants.to_flush(), BTreeSet::new());
        assert_eq!(play.tenants.last.as_ref().map(HashMap::len), Some(0));
    }
}
