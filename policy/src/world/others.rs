//! Host endpoints and network sets: what selectors hold for besides pods. They are few, but a
//! network set may have many nets, so that a change of one may not cost as much as all.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::World;
use super::expressions::ExprNumber;
use super::slab::{Number, Slab};
use crate::address::{Cidr, Family};
use crate::model::{
    HostEndpoint, Labels, NAMESPACE_NAME_LABEL, Namespace, NetworkSet, NetworkSetId,
    ORCHESTRATOR_LABEL, SHORT_ACCOUNT_NAME_LABEL,
};
use crate::selector::{Expr, Subject};

/// The number of a host endpoint or a network set.
pub(super) type OtherNumber = Number<OtherEntry>;

/// A host endpoint or a network set.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Other {
    /// A host endpoint.
    Host(Arc<HostEndpoint>),
    /// A network set.
    Set(Arc<NetworkSet>),
}

impl Other {
    /// What it stands for, with a block of length 0 as its two halves: sets of the kernel take
    /// no such block.
    pub(super) fn blocks(&self) -> Cow<'_, BTreeSet<Cidr>> {
        match self {
            Other::Host(host) => {
                Cow::Owned(host.expected.iter().copied().map(Cidr::host).collect())
            }
            Other::Set(set) => {
                let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
                let all = all.into_iter().filter_map(|address| Cidr::new(address, 0));
                let mut blocks = Cow::Borrowed(&set.nets);
                for whole in all.filter(|whole| set.nets.contains(whole)) {
                    let blocks = blocks.to_mut();
                    blocks.remove(&whole);
                    blocks.extend(whole.halves().into_iter().flatten());
                }
                blocks
            }
        }
    }
}

/// The labels of a host endpoint or a network set, and what stands in for those of a namespace
/// and of a service account.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Face {
    namespace: Option<Arc<str>>,
    own: Labels,
    of_namespace: Labels,
    of_account: Labels,
}

impl Face {
    /// policy-semantics 3.2: labels of one's own come before those that are inherited, and so
    /// does one that is written as an inherited one. Which namespace it is in nobody can
    /// pretend.
    fn new(own: Labels, namespace: Option<&Namespace>) -> Self {
        let mut of_namespace = namespace.map(|one| one.labels.clone()).unwrap_or_default();
        let mut of_account = Labels::new();
        for (key, value) in &own {
            if let Some(name) = key.strip_prefix("pcns.") {
                if name != NAMESPACE_NAME_LABEL {
                    of_namespace.insert(name.into(), value.clone());
                }
            } else if let Some(name) = key.strip_prefix("pcsa.") {
                of_account.insert(name.into(), value.clone());
            } else if matches!(&**key, SHORT_ACCOUNT_NAME_LABEL | ORCHESTRATOR_LABEL) {
                // Where selectors look for these.
                of_account.insert(key.clone(), value.clone());
            }
        }
        Self { namespace: namespace.map(|one| one.name.clone()), own, of_namespace, of_account }
    }

    /// What expressions see.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            namespace: self.namespace.as_deref(),
            own: &self.own,
            of_namespace: Some(&self.of_namespace),
            of_account: Some(&self.of_account),
        }
    }
}

/// A host endpoint or a network set, and the expressions in use that hold for it.
#[derive(Debug)]
pub(super) struct OtherEntry {
    pub(super) other: Other,
    face: Face,
    /// Sorted.
    exprs: Vec<ExprNumber>,
}

/// Who has which block. Nearly every block is of one only.
#[derive(Debug, Default)]
pub(super) struct Nets {
    first: FxHashMap<Cidr, OtherNumber>,
    /// Further ones that have a block; never empty.
    more: FxHashMap<Cidr, Vec<OtherNumber>>,
}

impl Nets {
    fn add(&mut self, block: Cidr, number: OtherNumber) {
        match self.first.entry(block) {
            Entry::Vacant(vacant) => drop(vacant.insert(number)),
            Entry::Occupied(_) => self.more.entry(block).or_default().push(number),
        }
    }

    fn remove(&mut self, block: Cidr, number: OtherNumber) {
        let mut more = self.more.remove(&block).unwrap_or_default();
        if self.first.get(&block) == Some(&number) {
            match more.pop() {
                Some(next) => drop(self.first.insert(block, next)),
                None => drop(self.first.remove(&block)),
            }
        } else {
            more.retain(|other| *other != number);
        }
        if !more.is_empty() {
            self.more.insert(block, more);
        }
    }

    /// Those that have exactly this block.
    fn holders(&self, block: Cidr) -> impl Iterator<Item = OtherNumber> {
        // Mostly there is nothing at all.
        let first = if self.first.is_empty() { None } else { self.first.get(&block) };
        let more = first.and_then(|_| self.more.get(&block));
        first.into_iter().chain(more.into_iter().flatten()).copied()
    }

    /// Whether one of `numbers` has exactly this block.
    pub(super) fn is_of_one(&self, block: Cidr, numbers: &FxHashSet<OtherNumber>) -> bool {
        self.holders(block).any(|number| numbers.contains(&number))
    }
}

/// All host endpoints and network sets.
#[derive(Debug, Default)]
pub(super) struct Others {
    entries: Slab<OtherEntry>,
    hosts: BTreeMap<Arc<str>, OtherNumber>,
    sets: BTreeMap<NetworkSetId, OtherNumber>,
    nets: Nets,
}

impl Others {
    /// Who has which block.
    pub(super) fn nets(&self) -> &Nets {
        &self.nets
    }

    /// One of them.
    pub(super) fn get(&self, number: OtherNumber) -> &OtherEntry {
        &self.entries[number]
    }

    /// An expression holds for one now.
    pub(super) fn gain(&mut self, number: OtherNumber, expr: ExprNumber) {
        let exprs = &mut self.entries[number].exprs;
        if let Err(place) = exprs.binary_search(&expr) {
            exprs.insert(place, expr);
        }
    }

    /// An expression no longer holds for one.
    pub(super) fn lose(&mut self, number: OtherNumber, expr: ExprNumber) {
        let exprs = &mut self.entries[number].exprs;
        if let Ok(place) = exprs.binary_search(&expr) {
            exprs.remove(place);
        }
    }

    /// Those for which `expr` holds.
    pub(super) fn search<'a>(&'a self, expr: &'a Expr) -> impl Iterator<Item = OtherNumber> + 'a {
        let within = expr.namespaces();
        // What is confined to namespaces holds for network sets in there at most.
        let everywhere = within.is_none().then(|| self.hosts.values().chain(self.sets.values()));
        let inside = within.into_iter().flatten().flat_map(|name| self.sets_in(name));
        let numbers = everywhere.into_iter().flatten().copied().chain(inside);
        numbers.filter(|number| expr.matches(&self.entries[*number].face.subject()))
    }

    /// The network sets of a namespace.
    fn sets_in(&self, namespace: &Arc<str>) -> impl Iterator<Item = OtherNumber> + use<'_> {
        let namespace = Some(namespace.clone());
        let from = NetworkSetId { namespace: namespace.clone(), name: "".into() };
        let sets = self.sets.range(from..).take_while(move |(id, _)| id.namespace == namespace);
        sets.map(|(_, number)| *number)
    }

    /// Whether one of `numbers` is a host endpoint.
    pub(super) fn has_host(&self, numbers: &FxHashSet<OtherNumber>) -> bool {
        numbers.iter().any(|number| matches!(self.entries[*number].other, Other::Host(_)))
    }

    /// All host endpoints, by name.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Arc<HostEndpoint>> + Clone {
        let numbers = self.hosts.values();
        numbers.filter_map(|number| match &self.entries[*number].other {
            Other::Host(host) => Some(host),
            Other::Set(_) => None,
        })
    }

    /// All network sets, global ones first, by name.
    pub(super) fn sets(&self) -> impl Iterator<Item = &Arc<NetworkSet>> {
        let numbers = self.sets.values();
        numbers.filter_map(|number| match &self.entries[*number].other {
            Other::Host(_) => None,
            Other::Set(set) => Some(set),
        })
    }

    /// The expressions that hold for a host endpoint, if it is as it is here.
    pub(super) fn exprs_of_host(&self, host: &HostEndpoint) -> Option<&[ExprNumber]> {
        let entry = &self.entries[*self.hosts.get(&host.name)?];
        match &entry.other {
            Other::Host(known) if std::ptr::eq(&**known, host) || **known == *host => {
                Some(&entry.exprs)
            }
            Other::Host(_) | Other::Set(_) => None,
        }
    }
}

impl World {
    /// What expressions see of a host endpoint: labels of its profiles count where it has none
    /// of that key, of the first that has one.
    pub(super) fn face_of_host(&self, host: &HostEndpoint) -> Face {
        let mut labels = Labels::new();
        for profile in host.profiles.iter().rev().filter_map(|name| self.profile(name)) {
            labels.extend(profile.labels.clone());
        }
        labels.extend(host.labels.clone());
        Face::new(labels, None)
    }

    /// What expressions see of a network set.
    pub(super) fn face_of_set(&self, set: &NetworkSet) -> Face {
        let namespace = set.id.namespace.as_ref().map(|name| self.namespace_named(name));
        Face::new(set.labels.clone(), namespace.as_deref())
    }

    /// A host endpoint is `after` from now on.
    pub(super) fn replace_host(&mut self, name: &Arc<str>, after: Option<Arc<HostEndpoint>>) {
        let number = self.others.hosts.get(name).copied();
        let after = after.map(Other::Host);
        if number.map(|number| &self.others.get(number).other) == after.as_ref() {
            return;
        }
        self.touched.hosts = true;
        let number = self.replace_other(number, after);
        match number {
            Some(number) => drop(self.others.hosts.insert(name.clone(), number)),
            None => drop(self.others.hosts.remove(name)),
        }
    }

    /// A network set is `after` from now on.
    pub(super) fn replace_set(&mut self, id: &NetworkSetId, after: Option<Arc<NetworkSet>>) {
        let number = self.others.sets.get(id).copied();
        let after = after.map(Other::Set);
        if number.map(|number| &self.others.get(number).other) == after.as_ref() {
            return;
        }
        let number = self.replace_other(number, after);
        match number {
            Some(number) => drop(self.others.sets.insert(id.clone(), number)),
            None => drop(self.others.sets.remove(id)),
        }
    }

    /// The labels of a namespace changed, which network sets in there inherit.
    pub(super) fn relabel_sets(&mut self, namespace: &Arc<str>) {
        for number in self.others.sets_in(namespace).collect::<Vec<_>>() {
            let other = self.others.get(number).other.clone();
            self.replace_other(Some(number), Some(other));
        }
    }

    /// A profile changed, whose labels host endpoints inherit.
    pub(super) fn relabel_hosts(&mut self, profile: &str) {
        let numbers = self.others.hosts.values().copied();
        let lists = |number: &OtherNumber| match &self.others.get(*number).other {
            Other::Host(host) => host.profiles.iter().any(|name| **name == *profile),
            Other::Set(_) => false,
        };
        for number in numbers.filter(lists).collect::<Vec<_>>() {
            let other = self.others.get(number).other.clone();
            self.replace_other(Some(number), Some(other));
        }
    }

    /// One is `after` from now on; gives its number if there is one then.
    fn replace_other(
        &mut self,
        number: Option<OtherNumber>,
        after: Option<Other>,
    ) -> Option<OtherNumber> {
        let before = number.map(|number| self.others.get(number).other.clone());
        let face = after.as_ref().map(|other| match other {
            Other::Host(host) => self.face_of_host(host),
            Other::Set(set) => self.face_of_set(set),
        });
        let holding =
            face.as_ref().map_or_else(Vec::new, |face| self.expressions.holding(&face.subject()));
        let number = match (number, &after, &face) {
            (Some(number), ..) => number,
            (None, Some(other), Some(face)) => self.others.entries.insert(OtherEntry {
                other: other.clone(),
                face: face.clone(),
                exprs: Vec::new(),
            }),
            (None, ..) => return None,
        };
        let has_changed = before != after;
        let former = self.others.entries[number].exprs.clone();
        let was = before.as_ref().map(Other::blocks).unwrap_or_default();
        let is = after.as_ref().map(Other::blocks).unwrap_or_default();
        // As with pods: what no longer holds goes with the blocks of before, what holds newly
        // comes with those of now, and between the two blocks change with what holds all along.
        for expr in former.iter().copied().filter(|expr| holding.binary_search(expr).is_err()) {
            let known = (&self.others.nets, &self.addresses);
            self.expressions.lose_other(expr, number, &was, known);
            self.others.lose(number, expr);
        }
        let steady = former.iter().filter(|expr| holding.binary_search(expr).is_ok());
        let steady: Vec<ExprNumber> = steady.copied().collect();
        if has_changed {
            self.move_blocks(number, &was, &is, &steady);
        }
        for expr in holding.iter().copied().filter(|expr| former.binary_search(expr).is_err()) {
            let known = (&self.others.nets, &self.addresses);
            self.expressions.gain_other(expr, number, &is, known);
            self.others.gain(number, expr);
        }
        if has_changed {
            self.move_host_ports(before.as_ref(), after.as_ref());
        }
        match (after, face) {
            (Some(after), Some(face)) => {
                let entry = &mut self.others.entries[number];
                (entry.other, entry.face) = (after, face);
                Some(number)
            }
            _ => {
                self.others.entries.remove(number);
                None
            }
        }
    }

    fn move_blocks(
        &mut self,
        number: OtherNumber,
        was: &BTreeSet<Cidr>,
        is: &BTreeSet<Cidr>,
        exprs: &[ExprNumber],
    ) {
        for block in was.difference(is).copied() {
            self.others.nets.remove(block, number);
            let known = (&self.others.nets, &self.addresses);
            exprs.iter().for_each(|expr| self.expressions.remove_block(*expr, block, known));
        }
        for block in is.difference(was).copied() {
            let known = (&self.others.nets, &self.addresses);
            exprs.iter().for_each(|expr| self.expressions.add_block(*expr, block, known));
            self.others.nets.add(block, number);
        }
    }

    fn move_host_ports(&mut self, before: Option<&Other>, after: Option<&Other>) {
        fn host(other: Option<&Other>) -> Option<&HostEndpoint> {
            match other? {
                Other::Host(host) => Some(host),
                Other::Set(_) => None,
            }
        }
        let (pods, addresses) = (&self.pods, &self.addresses);
        let owner = |address| addresses.owner(address).map(|number| &*pods[number].pod);
        self.ports.replace_host(host(before), host(after), owner);
    }

    /// Those for which `expr` holds: from the index if policies use it, otherwise found by
    /// trying.
    pub(super) fn other_numbers(&self, expr: &Expr) -> Vec<OtherNumber> {
        match self.expressions.find(expr) {
            Some(entry) => entry.others.iter().copied().collect(),
            None => self.others.search(expr).collect(),
        }
    }

    /// Whether a host endpoint or a network set for which `expr` holds stands for `address`.
    pub(super) fn is_selected_other(&self, expr: &Expr, address: IpAddr) -> bool {
        let entry = self.expressions.find(expr);
        let holds = |number: OtherNumber| match entry {
            Some(entry) => entry.others.contains(&number),
            None => expr.matches(&self.others.get(number).face.subject()),
        };
        let lengths = 1..=Family::of(address).bits();
        let blocks = lengths.filter_map(|length| Cidr::new(address, length));
        blocks.into_iter().any(|block| self.others.nets.holders(block).any(holds))
    }
}
