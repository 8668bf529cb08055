//! What the agent tells the API server: Events, that its node's network is there, and asks:
//! whether it may do what it needs to.

use std::sync::Arc;

use brindle_config::{Config, Source};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::answer::Known;
use super::reports;
use super::source::SourceState;
use crate::cluster::kubernetes::access::{self, Missing, Need};
use crate::cluster::kubernetes::client::ClientSettings;
use crate::cluster::kubernetes::line::Line;
use crate::cluster::kubernetes::{condition, events};
use crate::cluster::report::{Report, Reporter};

/// The tasks that tell; they end with this.
pub(super) struct Teller {
    line: Line,
    /// Whether the node's network is ours.
    routing: bool,
    /// What was reported; `None` once it is being told.
    reports: Option<mpsc::Receiver<Report>>,
    tasks: JoinSet<()>,
}

/// Where to report and who tells it, if there is an API server to tell.
pub(super) fn open(config: &Config) -> (Reporter, Option<Teller>) {
    let Some(Source::Kubernetes { kubeconfig, context, .. }) = &config.source else {
        return (Reporter::none(), None);
    };
    let (reporter, reports) = Reporter::new();
    let settings = ClientSettings { kubeconfig: kubeconfig.clone(), context: context.clone() };
    let teller = Teller {
        line: Line::new(settings),
        routing: config.bgp.enabled,
        reports: Some(reports),
        tasks: JoinSet::new(),
    };
    (reporter, Some(teller))
}

impl Teller {
    /// Starts to tell, and to ask what we may do.
    pub(super) fn start(&mut self, known: &Arc<Known>) {
        let Some(reports) = self.reports.take() else { return };
        let line = &self.line;
        self.tasks.spawn(events::publish(line.clone(), Arc::clone(&known.name), reports));
        let missing = Missing::clone(&known.missing);
        let its = Arc::clone(known);
        let is_served = move |need: &Need| match &its.source {
            Some(SourceState::Kubernetes(status)) => status.load().has(need.group, need.resource),
            Some(SourceState::Files(_)) | None => false,
        };
        self.tasks.spawn(access::watch(line.clone(), self.routing, missing, is_served));
        self.tasks.spawn(reports::watch(Arc::clone(known), line.clone()));
    }

    /// The node's network is there. To be called once.
    pub(super) fn ready(&mut self, node: &Arc<str>) {
        // Somebody else's, where we only enforce policies.
        if self.routing {
            self.tasks.spawn(condition::keep_clear(self.line.clone(), Arc::clone(node)));
        }
    }
}
