//! Changes of namespaces, nodes and pods.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::World;
use super::expressions::ExprNumber;
use super::pods::{NamespaceEntry, PodEntry, PodNumber, distinct};
use super::policies::concerns_pods;
use crate::model::{Labels, Namespace, Node, Pod, PodKey};
use crate::selector::Scope;

impl World {
    /// A namespace is `after` from now on.
    pub(super) fn replace_namespace(&mut self, name: &Arc<str>, after: Option<Arc<Namespace>>) {
        let entry = self
            .namespaces
            .entry(name.clone())
            .or_insert_with(|| NamespaceEntry::assumed(name.clone()));
        entry.is_known = after.is_some();
        let after = after.unwrap_or_else(|| Arc::new(Namespace::assumed(name.clone())));
        let before = std::mem::replace(&mut entry.namespace, after.clone());
        if entry.is_vain() {
            self.namespaces.remove(name);
        } else if before != after {
            self.relabel(&before.labels, &after);
        }
        if before != after {
            self.relabel_sets(name);
        }
    }

    /// Tries those expressions again, for the endpoints of `namespace`, that look at a label of
    /// it that changed.
    fn relabel(&mut self, before: &Labels, namespace: &Namespace) {
        let (name, labels) = (&namespace.name, &namespace.labels);
        let keys = before.keys().chain(labels.keys());
        let keys = keys.filter(|key| before.get(*key) != labels.get(*key)).collect();
        let mut flips = Vec::new();
        for number in self.expressions.looking_at(&keys) {
            let entry = self.expressions.get(number);
            let everyone = entry.expr.holds_in(name, labels);
            if everyone.is_some() && everyone == entry.expr.holds_in(name, before) {
                continue;
            }
            let space = &self.namespaces[name];
            let looks_at_account = entry.expr.looks_at(Scope::ServiceAccount);
            for member in space.pods.values().copied() {
                let pod = &self.pods[member].pod;
                let holds = || entry.expr.matches(&space.subject(pod, looks_at_account));
                let now = pod.is_endpoint() && everyone.unwrap_or_else(holds);
                if now != entry.members.contains(&member) {
                    flips.push((member, number, now));
                }
            }
        }
        self.flip(flips);
    }

    /// Expressions that held for endpoints no longer do, or others do now.
    pub(super) fn flip(&mut self, flips: Vec<(PodNumber, ExprNumber, bool)>) {
        for (member, number, now) in flips {
            let owned = self.owned_by(member);
            if now {
                self.gain(member, number, &owned);
            } else {
                self.lose(member, number, &owned);
            }
        }
    }

    /// A node is `after` from now on.
    pub(super) fn replace_node(&mut self, name: &Arc<str>, after: Option<Arc<Node>>) {
        let entry = self.nodes.entry(name.clone()).or_default();
        self.touched.nodes |= entry.node != after;
        entry.node = after;
        if entry.node.is_none() && entry.endpoints.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// A pod is `after` from now on; whether it has its addresses by its interface.
    pub(super) fn replace_pod(
        &mut self,
        key: &PodKey,
        after: Option<&Arc<Pod>>,
        is_attached: bool,
    ) {
        let number = self.pod_number(key);
        let before = number.map(|number| self.pods[number].pod.clone());
        let was_attached = number.is_some_and(|number| self.pods[number].is_attached);
        if before.as_ref() == after && was_attached == is_attached {
            return;
        }
        let Some(number) = number.or_else(|| Some(self.admit(after?.clone()))) else { return };
        let was = before.as_deref().filter(|pod| pod.is_endpoint());
        let is = after.map(|pod| &**pod).filter(|pod| pod.is_endpoint());

        let account = after.map(|pod| &pod.service_account);
        let former_account =
            before.as_ref().map(|pod| &pod.service_account).filter(|name| Some(*name) != account);
        if former_account.is_some()
            && let Some(account) = account
        {
            self.enlist(&key.namespace, account);
        }
        let former = self.pods[number].exprs().to_vec();
        let holding = is.map_or_else(Vec::new, |pod| {
            let with_account = self.expressions.look_at_accounts();
            self.expressions.holding(&self.namespaces[&key.namespace].subject(pod, with_account))
        });
        // What no longer holds goes with the addresses that were owned, what holds newly comes
        // with those that are; between the two, addresses move with what holds all along.
        let owned = self.owned_by(number);
        for expr in former.iter().filter(|expr| holding.binary_search(expr).is_err()) {
            self.lose(number, *expr, &owned);
        }
        if let Some(after) = after {
            self.pods[number].pod = after.clone();
            self.pods[number].is_attached = is_attached;
        }
        self.move_addresses(number, was, is);
        self.ports.replace(number, was, is);
        self.by_label.replace(number, was, is);
        self.move_node(number, was, is);
        let owned = self.owned_by(number);
        for expr in holding.iter().filter(|expr| former.binary_search(expr).is_err()) {
            self.gain(number, *expr, &owned);
        }

        let has_moved = was.map(|pod| &pod.node) != is.map(|pod| &pod.node);
        if has_moved || was.map(|pod| &pod.addresses) != is.map(|pod| &pod.addresses) {
            self.touched.endpoints.insert(key.clone());
        }
        if after.is_none() {
            self.dismiss(number, key);
        }
        if let Some(account) = former_account {
            self.discharge(&key.namespace, account);
        }
    }

    /// Gives a new pod a number.
    fn admit(&mut self, pod: Arc<Pod>) -> PodNumber {
        let PodKey { namespace, name } = pod.key.clone();
        self.enlist(&namespace, &pod.service_account);
        let number = self.pods.insert(PodEntry::new(pod));
        let entry = self
            .namespaces
            .entry(namespace.clone())
            .or_insert_with(|| NamespaceEntry::assumed(namespace));
        entry.pods.insert(name, number);
        number
    }

    /// Takes the number from a pod that is gone, after everything else was.
    fn dismiss(&mut self, number: PodNumber, key: &PodKey) {
        if let Some(entry) = self.namespaces.get_mut(&key.namespace) {
            entry.pods.remove(&key.name);
        }
        self.pods.remove(number);
    }

    /// Settles whom the addresses belong to that an endpoint had or has. Only expressions that
    /// held for it before and still do are known of it at this point.
    fn move_addresses(&mut self, number: PodNumber, was: Option<&Pod>, is: Option<&Pod>) {
        let has_other_ports = was.map(|pod| &pod.ports) != is.map(|pod| &pod.ports);
        let both = [was, is].into_iter().flatten();
        for address in distinct(both.flat_map(|pod| pod.addresses.iter().copied())) {
            let former = self.addresses.owner(address);
            let claims = is.is_some_and(|pod| pod.addresses.contains(&address));
            self.addresses.settle(address, number, claims, &self.pods);
            let owner = self.addresses.owner(address);
            if former == owner && !(owner == Some(number) && has_other_ports) {
                continue;
            }
            if let Some(former) = former {
                let entry = &self.pods[former];
                let pod = was.filter(|_| former == number).unwrap_or(&entry.pod);
                self.ports.remove_address(address, pod);
                if Some(former) != owner {
                    let exprs = entry.exprs().iter();
                    let nets = self.others.nets();
                    exprs.for_each(|e| self.expressions.remove_address(*e, address, nets));
                    self.touched.endpoints.insert(pod.key.clone());
                }
            }
            if let Some(owner) = owner {
                let entry = &self.pods[owner];
                self.ports.add_address(address, &entry.pod);
                if Some(owner) != former {
                    let exprs = entry.exprs().iter();
                    let nets = self.others.nets();
                    exprs.for_each(|e| self.expressions.add_address(*e, address, nets));
                    self.touched.endpoints.insert(entry.pod.key.clone());
                }
            }
        }
    }

    fn move_node(&mut self, number: PodNumber, was: Option<&Pod>, is: Option<&Pod>) {
        let (was, is) =
            (was.and_then(|pod| pod.node.as_ref()), is.and_then(|pod| pod.node.as_ref()));
        if was == is {
            return;
        }
        if let Some(is) = is {
            self.nodes.entry(is.clone()).or_default().endpoints.insert(number);
        }
        if let Some(was) = was
            && let Some(entry) = self.nodes.get_mut(was)
        {
            entry.endpoints.remove(&number);
            if entry.node.is_none() && entry.endpoints.is_empty() {
                self.nodes.remove(was);
            }
        }
    }

    fn gain(&mut self, member: PodNumber, expr: ExprNumber, owned: &[IpAddr]) {
        self.pods[member].gain(expr);
        self.expressions.gain(expr, member, owned, self.others.nets());
        self.touch_governed(member, expr);
    }

    fn lose(&mut self, member: PodNumber, expr: ExprNumber, owned: &[IpAddr]) {
        self.pods[member].lose(expr);
        self.expressions.lose(expr, member, owned, self.others.nets());
        self.touch_governed(member, expr);
    }

    /// An expression came to hold for an endpoint or ceased to: so do policies to govern it.
    fn touch_governed(&mut self, member: PodNumber, expr: ExprNumber) {
        let policies = self.expressions.get(expr).governs.iter();
        let ids: BTreeSet<_> = policies
            .filter(|policy| concerns_pods(policy))
            .map(|policy| policy.id.clone())
            .collect();
        if !ids.is_empty() {
            self.touched.endpoints.insert(self.pods[member].pod.key.clone());
            self.touched.policies.extend(ids);
        }
    }

    /// The number of a pod.
    pub(super) fn pod_number(&self, key: &PodKey) -> Option<PodNumber> {
        self.namespaces.get(&key.namespace)?.pods.get(&key.name).copied()
    }

    /// The addresses that a pod owns.
    pub(super) fn owned_by(&self, number: PodNumber) -> Vec<IpAddr> {
        let addresses = self.pods[number].pod.addresses.iter().copied();
        distinct(addresses.filter(|address| self.addresses.owner(*address) == Some(number)))
    }
}
