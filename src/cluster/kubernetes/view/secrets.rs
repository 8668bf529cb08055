//! Which Secrets objects need, and that objects wait for theirs: a session whose key is in
//! another Secret from now on goes on until that one is known.

use std::collections::BTreeSet;
use std::sync::Arc;

use brindle_policy::model::Labels;

use super::View;
use crate::cluster::bgp::{BgpKey, BgpObject};
use crate::cluster::object::{Key, Object};

impl View {
    /// The Secrets that objects about a node name.
    pub(in crate::cluster::kubernetes) fn secrets_of(&self, node: &str) -> BTreeSet<Arc<str>> {
        let labels = match self.objects.get(&Key::Node(node.into())) {
            Some(Object::Node { routing, .. }) => routing.selectable(),
            _ => Labels::default(),
        };
        let is_ours = |object: &&BgpObject| match object {
            BgpObject::Peer(peer) => peer.is_about(node, &labels),
            BgpObject::Configuration(_) | BgpObject::Filter(_) | BgpObject::Secret(_) => true,
        };
        let first = Key::Bgp(BgpKey::Configuration("".into()));
        let objects = self.objects.range(first..).filter_map(|(_, object)| match object {
            Object::Bgp(object) => Some(object),
            _ => None,
        });
        let named = objects.filter(|object| object.secret().is_some()).filter(is_ours);
        named.filter_map(|object| Some(Arc::clone(&object.secret()?.name))).collect()
    }

    /// Waits for what is known of a Secret.
    pub(in crate::cluster::kubernetes) fn await_secret(&mut self, name: Arc<str>) {
        self.awaited.insert(name);
    }

    /// Something is known of a Secret, be it that there is none.
    pub(in crate::cluster::kubernetes) fn has_answer(&mut self, name: &str) {
        self.awaited.remove(name);
    }

    /// Takes that nobody needs a Secret any more.
    pub(in crate::cluster::kubernetes) fn forget_secret(&mut self, name: &str) {
        self.awaited.remove(name);
        let is_it = |key: &&Key| match key {
            Key::Bgp(BgpKey::Secret(_, one)) => &**one == name,
            _ => false,
        };
        let first = Key::Bgp(BgpKey::Secret("".into(), "".into()));
        let gone: Vec<Key> =
            self.objects.range(first..).map(|(key, _)| key).filter(is_it).cloned().collect();
        for key in gone {
            self.delete(&key);
        }
    }

    /// Whether an object needs a Secret that is not known yet.
    pub(super) fn is_waiting(&self, key: &Key) -> bool {
        match self.objects.get(key) {
            Some(Object::Bgp(object)) if !self.awaited.is_empty() => {
                object.secret().is_some_and(|at| self.awaited.contains(&at.name))
            }
            _ => false,
        }
    }
}
