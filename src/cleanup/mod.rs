//! Takes everything that carries our mark out of this host, and nothing else.
//!
//! ```text
//!  CNI configuration ─► jumps and chains ─► sets ─► rules, routes, ─► interfaces ─► records ─► dead
//!                       a table at once             next hops        └─ only if asked for ─┘   socket
//! ```
//!
//! First what would connect new pods, so that none comes up while the rest goes; then what
//! judges packets, a whole table in one transaction, so that no packet meets half of it; then
//! what that referred to. What runs over interfaces of ours keeps running: pods are cut off
//! only if that is asked for.
//!
//! What cannot be removed is told, and does not keep the rest from going. So a second run does
//! what the first could not, and finds nothing where that did all.

mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;

use brindle_bgp::net::Family;

use crate::cni::record::{self, HOST_INTERFACE_PREFIX};
use crate::control::server::refuse_if_taken;
use crate::drain::Store;
use crate::enforce::dataplane::{Tuning, marked};
use crate::fib::netlink::{GuardSocket, NamedLink, Remover};
use crate::spoken::Note;

pub use files::CONFLIST;

/// What the plug-in ends the alias of an interface with, followed by the network's name.
const ALIAS_MARK: &str = " (network ";

/// Where to look, and how far to go.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The folder of CNI configurations.
    pub config_dir: PathBuf,
    /// The plug-in's data folder.
    pub data_dir: PathBuf,
    /// The agent's control socket.
    pub socket: PathBuf,
    /// Whether interfaces of pods go too, and the records of them.
    pub pods: bool,
    /// Whether to only tell what would go.
    pub dry_run: bool,
    /// Where programs are looked for, and how long they may take.
    pub tuning: Tuning,
}

/// What became of everything, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What is gone, or would go.
    pub gone: Vec<String>,
    /// What is ours and was left, and why.
    pub left: Vec<String>,
    /// What could not be looked at or removed, and why.
    pub failed: Vec<String>,
    /// What was not looked at, as the programs for it are not there.
    pub unseen: Vec<String>,
}

impl Account {
    /// Whether there is nothing of ours, as far as could be seen.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.left.is_empty() && self.failed.is_empty()
    }
}

/// Cleans up in the network namespace of this thread.
pub async fn clean(scope: &Scope) -> Account {
    let mut account = Account::default();
    account.conflist(scope);
    account.rules_and_sets(scope).await;
    account.guard(scope).await;
    match Remover::open() {
        Ok(remover) => {
            account.routes(scope, &remover).await;
            account.interfaces(scope, &remover).await;
        }
        Err(error) => account.failed.push(format!("cannot look at routes and interfaces: {error}")),
    }
    account.socket(scope);
    account
}

impl Account {
    fn conflist(&mut self, scope: &Scope) {
        let file = scope.config_dir.join(CONFLIST);
        let what = format!("file {}", file.display());
        match files::is_ours(&file) {
            Ok(None) => {}
            Ok(Some(true)) => {
                let removal = || files::remove(&file);
                self.settle(what, if scope.dry_run { Ok(()) } else { removal() });
            }
            Ok(Some(false)) => {
                self.left.push(format!("{what}: it does not name our plug-in, so it is not ours"));
            }
            Err(error) => self.failed.push(format!("{what}: {error}")),
        }
        if let Some(file) = files::unfinished(&scope.config_dir) {
            let removed = if scope.dry_run { Ok(()) } else { files::remove(&file) };
            self.settle(format!("file {}", file.display()), removed);
        }
    }

    /// The socket that an agent that was killed has left, which one that still runs removes
    /// itself; and the notes that the node is drained, and that somebody has spoken on it.
    fn socket(&mut self, scope: &Scope) {
        if files::is_dead_socket(&scope.socket) {
            let removed = if scope.dry_run { Ok(()) } else { files::remove(&scope.socket) };
            self.settle(format!("socket {}", scope.socket.display()), removed);
        }
        let (drained, spoken) = (Store::beside(&scope.socket), Note::beside(&scope.socket));
        for note in [drained.path(), spoken.path()] {
            if note.is_file() && refuse_if_taken(&scope.socket).is_ok() {
                let removed = if scope.dry_run { Ok(()) } else { files::remove(note) };
                self.settle(format!("file {}", note.display()), removed);
            }
        }
    }

    async fn rules_and_sets(&mut self, scope: &Scope) {
        let found = marked::search(scope.tuning.clone()).await;
        self.failed.extend(found.failed);
        self.unseen.extend(found.absent);
        for marked in found.marked {
            if scope.dry_run {
                self.gone.extend(marked.lines());
            } else {
                let removed = marked.remove().await;
                self.gone.extend(removed.gone);
                self.failed.extend(removed.failed);
            }
        }
    }

    /// The rules that lead to the routes which guard what was announced for Services.
    async fn guard(&mut self, scope: &Scope) {
        let socket = match GuardSocket::open() {
            Ok(socket) => socket,
            Err(error) => return self.failed.push(format!("cannot look at rules: {error}")),
        };
        for family in Family::ALL {
            let rules = match socket.rules(family).await {
                Ok(rules) => rules,
                Err(error) => {
                    self.failed.push(format!("cannot read {family} rules: {error}"));
                    continue;
                }
            };
            for rule in rules {
                let removed = match scope.dry_run {
                    true => Ok(()),
                    false => socket.remove_rule(&rule).await,
                };
                self.settle(rule.to_string(), removed);
            }
        }
    }

    async fn routes(&mut self, scope: &Scope, remover: &Remover) {
        let routes = match remover.routes().await {
            Ok(routes) => routes,
            Err(error) => return self.failed.push(format!("cannot read routes: {error}")),
        };
        for route in routes {
            let removed = match scope.dry_run {
                true => Ok(()),
                false => remover.remove_route(&route).await,
            };
            self.settle(route.to_string(), removed);
        }
        self.next_hops(scope, remover);
    }

    /// Once no route leads by them.
    fn next_hops(&mut self, scope: &Scope, remover: &Remover) {
        let objects = match remover.objects() {
            Ok(objects) => objects,
            Err(error) => return self.failed.push(format!("cannot read next hops: {error}")),
        };
        for object in objects {
            let removed = if scope.dry_run { Ok(()) } else { remover.remove_object(&object) };
            self.settle(object.to_string(), removed);
        }
    }

    async fn interfaces(&mut self, scope: &Scope, remover: &Remover) {
        let (records, problems) = record::read_all(&scope.data_dir).unwrap_or_else(|error| {
            (Vec::new(), vec![format!("cannot read {}: {error}", scope.data_dir.display())])
        });
        self.failed.extend(problems);
        let pods: BTreeMap<String, String> = records
            .into_iter()
            .map(|record| {
                let pod = record.pod.map(|pod| format!("pod {}/{}", pod.namespace, pod.name));
                let container = || format!("container {}", record.container_id);
                (record.host_interface, pod.unwrap_or_else(container))
            })
            .collect();
        let links = match remover.links(HOST_INTERFACE_PREFIX).await {
            Ok(links) => links,
            Err(error) => return self.failed.push(format!("cannot read interfaces: {error}")),
        };
        for link in links {
            let what = format!("interface {}", link.name);
            let Some(whose) = whose(&link, &pods) else {
                self.left
                    .push(format!("{what}: neither a record nor its alias says that we made it"));
                continue;
            };
            if !scope.pods {
                self.left.push(format!("{what} of {whose}: it connects it; --pods removes it too"));
                continue;
            }
            let removed = match scope.dry_run {
                true => Ok(()),
                false => remover.remove_link(&link).await,
            };
            self.settle(format!("{what} of {whose}"), removed);
        }
        if scope.pods {
            self.records(scope);
        }
    }

    /// Without interfaces, their records and addresses are of no use.
    fn records(&mut self, scope: &Scope) {
        match files::records(&scope.data_dir) {
            Ok(files) => {
                for file in files {
                    let removed = if scope.dry_run { Ok(()) } else { files::remove(&file) };
                    self.settle(format!("file {}", file.display()), removed);
                }
            }
            Err(error) => self.failed.push(format!("{}: {error}", scope.data_dir.display())),
        }
        if !scope.dry_run {
            files::remove_empty_folders(&scope.data_dir);
        }
    }

    fn settle(&mut self, what: String, removed: std::io::Result<()>) {
        match removed {
            Ok(()) => self.gone.push(what),
            Err(error) => self.failed.push(format!("{what}: {error}")),
        }
    }
}

/// What an interface of ours connects; `None` if nothing says that it is ours.
fn whose(link: &NamedLink, pods: &BTreeMap<String, String>) -> Option<String> {
    let marked = link.alias.as_deref().and_then(|alias| Some(alias.split_once(ALIAS_MARK)?.0));
    pods.get(&link.name).cloned().or_else(|| marked.map(|pod| format!("pod {pod}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_ours_by_its_record_or_its_alias() {
        let pods = [("brn1".to_owned(), "pod default/web".to_owned())].into();
        let link = |name: &str, alias: Option<&str>| NamedLink {
            index: 7,
            name: name.to_owned(),
            alias: alias.map(str::to_owned),
        };
        for (name, alias, want) in [
            ("brn1", None, Some("pod default/web")),
            ("brn2", Some("default/db eth0 (network brindle)"), Some("pod default/db eth0")),
            ("brn2", Some("uplink"), None),
            ("brn2", None, None),
        ] {
            assert_eq!(whose(&link(name, alias), &pods).as_deref(), want, "{name} {alias:?}");
        }
    }
}
