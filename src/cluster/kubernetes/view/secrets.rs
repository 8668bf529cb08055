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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::cluster::Change;
    use crate::cluster::kind::Kind;
    use crate::cluster::typed::{Reading, read_json};

    fn peer(node: &str, secret: &str) -> Reading {
        let spec = format!(
            r#"{{"node":"{node}","peerIP":"192.0.2.1","asNumber":65001,
                "password":{{"secretKeyRef":{{"name":"{secret}","key":"k"}}}}}}"#
        );
        let text = format!(r#"{{"metadata":{{"name":"tor"}},"spec":{spec}}}"#);
        read_json(Kind::BgpPeer, &text)
    }

    fn secret(name: &str) -> Reading {
        let metadata = format!(r#"{{"namespace":"kube-system","name":"{name}"}}"#);
        read_json(Kind::Secret, &format!(r#"{{"metadata":{metadata},"data":{{"k":"aHVzaA=="}}}}"#))
    }

    /// What is told, by kind and name.
    fn told(view: &mut View) -> Vec<String> {
        let shown = |change: &Change| match change {
            Change::BgpApplied(object) => object.key().to_string(),
            Change::BgpDeleted(key) => format!("no {key}"),
            Change::InSync => "in sync".to_owned(),
            other => format!("{other:?}"),
        };
        view.take().iter().map(shown).collect()
    }

    #[test]
    fn an_object_waits_for_its_secret_and_nothing_else_does() {
        let mut view = View::new(Duration::ZERO);
        for kind in Kind::ALL {
            let all = if kind == Kind::BgpPeer { vec![peer("n1", "one")] } else { Vec::new() };
            view.list(kind, all, Instant::now());
        }
        assert_eq!(view.secrets_of("n2"), BTreeSet::new(), "another's");
        assert_eq!(view.secrets_of("n1"), BTreeSet::from(["one".into()]));
        view.await_secret("one".into());
        assert!(!view.has_news(), "nothing is in sync without it");
        view.apply(Kind::Secret, secret("one"));
        view.has_answer("one");
        assert_eq!(told(&mut view), ["BGPPeer/tor", "Secret/kube-system/one", "in sync"]);

        // A session goes on with the one until the other is known.
        view.apply(Kind::BgpPeer, peer("n1", "two"));
        view.await_secret("two".into());
        assert!(!view.has_news() && told(&mut view).is_empty());
        view.apply(Kind::Secret, secret("other"));
        assert_eq!(told(&mut view), ["Secret/kube-system/other"]);
        view.apply(Kind::Secret, secret("two"));
        view.has_answer("two");
        assert_eq!(told(&mut view), ["BGPPeer/tor", "Secret/kube-system/two"]);
        view.forget_secret("one");
        assert_eq!(told(&mut view), ["no Secret/kube-system/one"]);
    }
}
