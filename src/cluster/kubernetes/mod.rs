//! The `kubernetes` source: the state that the API server has, watched.
//!
//! ```text
//!  API server ─► Watcher, one a kind ─news─► View ─(listener ready)─► changes
//!           │    list, watch, resume           └─► KubernetesStatus
//!           │          ▲ where the kind is served
//!           └──────► Discovery
//! ```
//!
//! A watcher knows the wire and no objects' meaning; the view knows objects and no wire. What
//! the API server cannot be asked just now stays as it was: nothing is deleted because of a
//! broken connection, half a list, or an object that cannot be read.

pub mod access;
pub mod client;
pub mod condition;
mod discovery;
pub mod events;
pub mod line;
mod names;
mod secrets;
mod status;
mod trouble;
mod view;
mod watcher;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::client::ClientSettings;
use self::discovery::Discovery;
use self::secrets::Secrets;
pub use self::status::{CurrentTrouble, HeldDeletions, KubernetesStatus, ResourceStatus};
pub use self::trouble::{Cause, Trouble};
pub use self::view::ObjectProblem;
use self::view::{Held, View};
pub use self::watcher::Relist;
use self::watcher::{News, Watcher};
use super::files::Batch;
use super::kind::Kind;
use super::object::Key;
use super::report::{Reason, Reporter, Subject};

/// News that may wait for the view.
const NEWS: usize = 1_024;
/// News that are taken in before what they come down to is told, if there are always more.
const AT_ONCE: usize = 4_096;

/// How the API server is watched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The way to it.
    pub client: ClientSettings,
    /// How long the deletion of more than half of the nodes, the policies, or what these are
    /// about that a listing finds is held back; zero never.
    pub hold_deletions: Duration,
    /// The node that reports are about.
    pub node: Arc<str>,
    /// Whether the Secrets are watched that hold keys of its sessions.
    pub secrets: bool,
}

/// Starts tasks that watch the API server until the receiver is dropped. It need not be
/// reachable yet. Every object that is there is told first, then [`super::Change::InSync`],
/// both in one batch, then what changes; objects that stay the same are never told again. Must
/// be called within a tokio runtime.
pub fn watch(
    settings: Settings,
    reporter: Reporter,
) -> (mpsc::Receiver<Batch>, Arc<ArcSwap<KubernetesStatus>>) {
    // One: whatever happens while the listener is busy is told in one piece.
    let (changes, receiver) = mpsc::channel(1);
    let resources = Kind::ALL.map(ResourceStatus::of);
    let status = KubernetesStatus { resources: resources.into(), ..KubernetesStatus::default() };
    let shown = Arc::new(ArcSwap::from_pointee(status.clone()));
    let source = Source {
        view: View::new(settings.hold_deletions),
        node: settings.node,
        wants_secrets: settings.secrets,
        reporter,
        changes,
        status,
        shown: Arc::clone(&shown),
        problems_age: 0,
    };
    tokio::spawn(source.run(settings.client));
    (receiver, shown)
}

struct Source {
    view: View,
    node: Arc<str>,
    wants_secrets: bool,
    reporter: Reporter,
    changes: mpsc::Sender<Batch>,
    status: KubernetesStatus,
    shown: Arc<ArcSwap<KubernetesStatus>>,
    /// Of the problems in the status.
    problems_age: u64,
}

impl Source {
    async fn run(mut self, client: ClientSettings) {
        let (news, mut told) = mpsc::channel(NEWS);
        // They end with this task.
        let mut watchers = JoinSet::new();
        let (discovery, served) = Discovery::new(client.clone());
        watchers.spawn(discovery.run());
        for kind in Kind::ALL {
            let watcher = Watcher::new(kind, served.clone(), client.clone(), news.clone());
            watchers.spawn(watcher.run());
        }
        let mut secrets = self.wants_secrets.then(|| Secrets::new(served, client, news));
        let changes = self.changes.clone();
        loop {
            let release = self.view.next_release();
            tokio::select! {
                Some(first) = told.recv() => {
                    self.take(first, &mut secrets);
                    // What is ready is told together.
                    for _ in 0..AT_ONCE {
                        let Ok(next) = told.try_recv() else { break };
                        self.take(next, &mut secrets);
                    }
                    if let Some(secrets) = &mut secrets {
                        secrets.follow(&mut self.view, &self.node);
                    }
                }
                permit = changes.reserve(), if self.view.has_news() => {
                    let Ok(permit) = permit else { return };
                    self.tell(permit);
                }
                Some(ended) = watchers.join_next() => {
                    // None ends in order: without it we would not hear of changes any more.
                    return tracing::error!(?ended, "a fault of ours: a watcher has ended");
                }
                () = at(release) => {
                    self.release();
                    if let Some(secrets) = &mut secrets {
                        secrets.follow(&mut self.view, &self.node);
                    }
                }
                () = changes.closed() => return,
            }
            self.report_doubts();
            self.show();
        }
    }

    /// Takes news into the view.
    fn take(&mut self, news: News, secrets: &mut Option<Secrets>) {
        let now = SystemTime::now();
        match news {
            News::Found(place) => self.resource(place.kind).found(place),
            News::Absent(kind) => {
                // As a listing in which there is nothing: no more is believed of it.
                let held = self.view.list(kind, Vec::new(), Instant::now());
                self.resource(kind).lost();
                if let Some(held) = held {
                    self.hold(&held);
                }
            }
            News::Listed { kind, readings, why } => {
                let held = self.view.list(kind, readings, Instant::now());
                let status = self.resource(kind);
                status.listed = true;
                status.heard = Some(now);
                if let Some(why) = why {
                    *status.relists.entry(why.as_str()).or_default() += 1;
                    tracing::info!(resource = kind.resource(), why = why.as_str(), "listed again");
                }
                if let Some(held) = held {
                    self.hold(&held);
                }
            }
            News::Applied { kind, reading } => {
                self.view.apply(kind, reading);
                self.heard(kind, now);
            }
            News::Deleted { kind, key } => {
                self.view.delete(&key);
                self.heard(kind, now);
            }
            News::Heard(kind) => self.heard(kind, now),
            News::OfSecret(one, news) => {
                if let Some(secrets) = secrets {
                    secrets.take(&mut self.view, &one, *news);
                }
            }
            News::Failed(kind, trouble) => {
                let before = self.resource(kind).trouble.as_ref();
                // The same again is no news; that everything is listed anew is said then.
                if before.is_none_or(|before| before.message != trouble.message)
                    && trouble.cause != Cause::Gone
                {
                    let Trouble { message, next, .. } = &trouble;
                    tracing::warn!(resource = kind.resource(), next, "{message}");
                }
                // The cluster's own kinds are waited for: without them nothing is right. Others
                // may be none of our business here.
                if kind.is_optional() && trouble.cause == Cause::Forbidden {
                    self.view.do_without(kind);
                }
                self.resource(kind).failed(trouble, now);
            }
        }
    }

    fn heard(&mut self, kind: Kind, now: SystemTime) {
        let status = self.resource(kind);
        if let Some(trouble) = &status.trouble
            && trouble.cause != Cause::Gone
        {
            tracing::info!(resource = kind.resource(), "watched again");
        }
        status.heard(now);
    }

    fn resource(&mut self, kind: Kind) -> &mut ResourceStatus {
        let place = self.status.resources.iter().position(|one| one.resource == kind.resource());
        let place = place.expect("there is a status for each kind from the start");
        &mut self.status.resources[place]
    }

    /// Says that deletions are not believed yet.
    fn hold(&self, held: &Held) {
        let Held { kind, missing, known, first } = held;
        let seconds = self.view.hold().as_secs();
        let message = format!(
            "{missing} of {known} {} are missing from a new listing of the API server, {first} \
             among them; they stay in force for {seconds} s more, or until they are back",
            kind.resource()
        );
        tracing::warn!("{message}");
        self.reporter.report(Subject::Node(self.node.clone()), Reason::DeletionsHeld, message);
    }

    /// Believes deletions that have waited long enough.
    fn release(&mut self) {
        for (kind, count) in self.view.release(Instant::now()) {
            tracing::warn!(resource = kind.resource(), count, "missing objects are deleted now");
        }
    }

    /// Says what has come to be wrong with objects.
    fn report_doubts(&mut self) {
        for (key, problems) in self.view.take_doubts() {
            for ObjectProblem { object, field, message } in problems {
                tracing::warn!(object, field, "object in doubt: {message}");
                let (subject, reason) = match &key {
                    Key::Policy(id) => (Subject::Policy(id.clone()), Reason::PolicyInvalid),
                    Key::HostEndpoint(name) => {
                        (Subject::HostEndpoint(name.clone()), Reason::HostEndpointInvalid)
                    }
                    Key::Bgp(id) => (Subject::Bgp(id.clone()), Reason::BgpInvalid),
                    _ => continue,
                };
                self.reporter.report(subject, reason, format!("{field}: {message}"));
            }
        }
    }

    /// Tells what there is to be told.
    fn tell(&mut self, permit: mpsc::Permit<'_, Batch>) {
        let was_in_sync = self.view.is_in_sync();
        let batch = self.view.take();
        if batch.is_empty() {
            return;
        }
        if !was_in_sync {
            let counts = self.view.counts();
            let super::files::Counts { nodes, namespaces, pods, policies, .. } = counts;
            tracing::info!(nodes, namespaces, pods, policies, "the API server's state is read");
        }
        self.status.last_change = Some(SystemTime::now());
        permit.send(batch);
    }

    /// Shows how it is.
    fn show(&mut self) {
        let view = &self.view;
        self.status.in_sync = view.is_in_sync();
        self.status.objects = view.counts();
        for (resource, kind) in self.status.resources.iter_mut().zip(Kind::ALL) {
            resource.objects = view.count(kind);
        }
        if self.problems_age != view.problems_age() {
            self.status.problems = view.problems().cloned().collect();
            self.problems_age = view.problems_age();
        }
        let (now, clock) = (Instant::now(), SystemTime::now());
        let held = view.held().into_iter().map(|(kind, (count, until))| HeldDeletions {
            resource: kind.resource(),
            count,
            of: view.count(kind),
            until: clock + until.saturating_duration_since(now),
        });
        self.status.held = held.collect();
        self.shown.store(Arc::new(self.status.clone()));
    }
}

/// Ends at a time; never without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
