//! Secrets with keys of sessions: each that an object about this node names is watched by its
//! name alone, in our own namespace, for as long as it is named. No right to others is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::client::ClientSettings;
use super::discovery::Served;
use super::trouble::Cause;
use super::view::View;
use super::watcher::{News, Watcher};
use crate::cluster::bgp::{BgpKey, BgpObject, NoData, Secret};
use crate::cluster::kind::{Kind, Place};
use crate::cluster::object::{Key, Object};
use crate::cluster::typed::Reading;

/// The role that grants the Secrets by name, and where it is shipped.
const ROLE: &str = "the resourceNames of Role brindle-bgp-keys (deploy/kubernetes/base/rbac.yaml)";

/// A Secret, alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct One {
    /// Ours; empty before there was a way to the server.
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl One {
    /// Where the API has it, in a list of its own.
    pub(super) fn path(&self, place: Place) -> String {
        let (root, plural) = (format!("/api/{}", place.api), place.kind.plural());
        format!("{root}/namespaces/{}/{plural}", self.namespace)
    }

    /// What picks it out of that list.
    pub(super) fn selector(&self) -> String {
        format!("metadata.name={}", self.name)
    }

    fn key(&self) -> Key {
        Key::Bgp(BgpKey::Secret(Arc::clone(&self.namespace), Arc::clone(&self.name)))
    }

    /// It, without data.
    fn without(&self, why: NoData) -> Reading {
        let (namespace, name) = (Arc::clone(&self.namespace), Arc::clone(&self.name));
        let secret = Secret { namespace, name, data: Err(why) };
        let object = Ok(Object::Bgp(BgpObject::Secret(Arc::new(secret))));
        Reading { key: Some(self.key()), object, stand_in: None, doubts: Vec::new() }
    }

    fn absent(&self) -> Reading {
        let One { namespace, name } = self;
        self.without(NoData::Absent(format!("there is no Secret {name} in namespace {namespace}")))
    }
}

/// The Secrets that are watched.
pub(super) struct Secrets {
    served: Served,
    settings: ClientSettings,
    news: mpsc::Sender<News>,
    /// They end with this.
    tasks: JoinSet<()>,
    running: BTreeMap<Arc<str>, AbortHandle>,
    /// What was last said of each that cannot be watched.
    said: BTreeMap<Arc<str>, String>,
}

impl Secrets {
    pub(super) fn new(served: Served, settings: ClientSettings, news: mpsc::Sender<News>) -> Self {
        let (tasks, running, said) = Default::default();
        Self { served, settings, news, tasks, running, said }
    }

    /// Watches the Secrets that objects about `node` name, and no others.
    pub(super) fn follow(&mut self, view: &mut View, node: &str) {
        let named = view.secrets_of(node);
        let gone: BTreeSet<Arc<str>> =
            self.running.keys().filter(|name| !named.contains(*name)).cloned().collect();
        for name in gone {
            if let Some(task) = self.running.remove(&name) {
                task.abort();
            }
            self.said.remove(&name);
            view.forget_secret(&name);
        }
        for name in named {
            if !self.running.contains_key(&name) {
                view.await_secret(Arc::clone(&name));
                let one = One { namespace: "".into(), name: Arc::clone(&name) };
                let watcher = Watcher::new(
                    Kind::Secret,
                    self.served.clone(),
                    self.settings.clone(),
                    self.news.clone(),
                );
                let task = self.tasks.spawn(watcher.of(one).run());
                self.running.insert(name, task);
            }
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// Takes news of one into the view.
    pub(super) fn take(&mut self, view: &mut View, one: &One, news: News) {
        let One { namespace, name } = one;
        // What was on its way when it was forgotten.
        if !self.running.contains_key(name) {
            return;
        }
        let reading = match news {
            News::Found(_) | News::Absent(_) => return,
            News::Listed { readings, .. } => {
                let is_it = |reading: &Reading| reading.key.as_ref() == Some(&one.key());
                readings.into_iter().find(is_it).unwrap_or_else(|| one.absent())
            }
            News::Applied { reading, .. } => reading,
            News::Deleted { .. } => {
                tracing::warn!(secret = %name, %namespace, "Secret with a key of sessions is gone");
                one.absent()
            }
            News::Heard(_) => {
                if self.said.remove(name).is_some() {
                    tracing::info!(secret = %name, %namespace, "watched again");
                }
                return;
            }
            News::Failed(_, trouble) => {
                let message = &trouble.message;
                if self.said.get(name) != Some(message) && trouble.cause != Cause::Gone {
                    tracing::warn!(secret = %name, "{message}");
                    self.said.insert(Arc::clone(name), message.clone());
                }
                // What the server cannot say just now it says later.
                if trouble.cause != Cause::Forbidden {
                    return;
                }
                one.without(NoData::Unreadable(format!(
                    "Secret {name} of namespace {namespace} may not be read: {message}; name it \
                     under {ROLE}"
                )))
            }
            News::OfSecret(..) => return,
        };
        view.apply(Kind::Secret, reading);
        view.has_answer(name);
    }
}
