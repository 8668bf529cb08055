//! The source of the cluster's state that the configuration names, and how it is doing.

use std::sync::Arc;

use arc_swap::ArcSwap;
use brindle_config::Source;
use tokio::sync::mpsc;

use crate::cluster::files::{self, Batch, FilesStatus};
use crate::cluster::kubernetes::client::ClientSettings;
use crate::cluster::kubernetes::{self, KubernetesStatus};
use crate::cluster::report::Reporter;

/// How the source is doing, by its kind.
pub(super) enum SourceState {
    Files(Arc<ArcSwap<FilesStatus>>),
    Kubernetes(Arc<ArcSwap<KubernetesStatus>>),
}

impl SourceState {
    /// Its kind as configuration and metrics have it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            SourceState::Files(_) => "files",
            SourceState::Kubernetes(_) => "kubernetes",
        }
    }

    /// Whether it has told everything that there was at the start.
    pub(super) fn is_in_sync(&self) -> bool {
        match self {
            SourceState::Files(status) => status.load().in_sync,
            SourceState::Kubernetes(status) => status.load().in_sync,
        }
    }

    /// Why it is not in sync, if it is not. What happens later makes nobody less ready: what
    /// was told stays in force.
    pub(super) fn readiness(&self) -> Result<(), String> {
        if self.is_in_sync() {
            return Ok(());
        }
        let why = match self {
            SourceState::Files(_) => None,
            SourceState::Kubernetes(status) => {
                status.load().troubles().next().map(|(_, trouble)| trouble.message.clone())
            }
        };
        Err(match why {
            Some(why) => format!("has not been read yet: {why}"),
            None => "has not been read yet".to_owned(),
        })
    }
}

/// Starts the source, which reports about the Node called `node`; keys of sessions are only read
/// if it `routes`.
pub(super) fn start(
    source: &Source,
    node: &Arc<str>,
    reporter: &Reporter,
    routes: bool,
) -> (mpsc::Receiver<Batch>, SourceState) {
    match source {
        Source::Files { path } => {
            let (changes, status) = files::watch(path.clone());
            (changes, SourceState::Files(status))
        }
        Source::Kubernetes { kubeconfig, context, hold_deletions } => {
            let settings = kubernetes::Settings {
                client: ClientSettings { kubeconfig: kubeconfig.clone(), context: context.clone() },
                hold_deletions: *hold_deletions,
                node: Arc::clone(node),
                secrets: routes,
            };
            let (changes, status) = kubernetes::watch(settings, reporter.clone());
            (changes, SourceState::Kubernetes(status))
        }
    }
}
