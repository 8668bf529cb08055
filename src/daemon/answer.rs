//! Answers to what is asked over the control socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use brindle_bgp::net::{Asn, ClusterId, Prefix, RouterId};
use brindle_config::Config;
use tokio::sync::oneshot;

use super::identity::ChosenAddress;
use super::source::SourceState;
use super::{Options, cni, drain, views};
use crate::bmp;
use crate::cluster::Node;
use crate::cluster::claims::Claims;
use crate::cluster::kubernetes::access::Missing;
use crate::cluster::peers::Skipped;
use crate::cluster::report::Reporter;
use crate::cluster::services::Overlap;
use crate::control::calls::CallCounts;
use crate::control::view::{self, Clock, KernelRoute};
use crate::control::{Answer, Failure, Page, PageRequest, Query, RouteFilter};
use crate::enforce::EnforceHandle;
use crate::fib::{self, FibHandle, ListRequest};
use crate::speaker::{Deed, DeedError, SpeakerHandle, View};
use crate::telemetry::Beats;

/// What answers are made of, shared by all who answer.
pub(super) struct Known {
    pub(super) options: Options,
    pub(super) started: Instant,
    pub(super) name: Arc<str>,
    /// `None` without BGP.
    pub(super) fib: Option<FibHandle>,
    /// `None` without policies.
    pub(super) enforce: Option<EnforceHandle>,
    /// What of an earlier run's policies is in the kernel where none are enforced.
    pub(super) leftover_policies: OnceLock<String>,
    pub(super) source: Option<SourceState>,
    pub(super) facts: ArcSwap<Facts>,
    /// Signs of life of the parts.
    pub(super) beats: Beats,
    /// What the cluster is to be told goes here.
    pub(super) reporter: Reporter,
    /// What keeps our network plug-in from connecting pods.
    pub(super) cni: cni::Problems,
    /// What the API server does not let us do.
    pub(super) missing: Missing,
    /// What was asked over the control socket.
    pub(super) calls: CallCounts,
}

/// How often the configuration was loaded again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reloads {
    /// And it was right.
    pub(super) taken: u64,
    /// And it was wrong.
    pub(super) refused: u64,
}

/// What the daemon decided last.
#[derive(Clone)]
pub(super) struct Facts {
    pub(super) config: Arc<Config>,
    pub(super) config_files: Vec<PathBuf>,
    pub(super) config_loaded: Instant,
    pub(super) config_stale: bool,
    pub(super) config_errors: Vec<String>,
    pub(super) reloads: Reloads,
    /// `None` until it is clear who we are.
    pub(super) speaker: Option<SpeakerHandle>,
    pub(super) addresses: Vec<ChosenAddress>,
    pub(super) router_id: Option<RouterId>,
    pub(super) listen: Vec<SocketAddr>,
    /// Where health and metrics are answered.
    pub(super) telemetry: view::TelemetryStatus,
    pub(super) pod_cidrs: Vec<Prefix>,
    pub(super) nodes: BTreeMap<Arc<str>, Arc<Node>>,
    pub(super) skipped: Vec<Skipped>,
    /// Blocks of Services that have pods or nodes in them.
    pub(super) overlaps: Vec<Overlap>,
    /// Why BGP has not started, if it was tried.
    pub(super) start_problem: Option<String>,
    /// Our own Node object was there and is not any more.
    pub(super) own_node_gone: bool,
    /// Whose each range is.
    pub(super) claims: Arc<Claims>,
    /// Our AS and why, once BGP runs.
    pub(super) asn: Option<(Asn, &'static str)>,
    /// Our cluster, if we reflect.
    pub(super) route_reflector: Option<ClusterId>,
    /// What this node originates.
    pub(super) originated: BTreeSet<Prefix>,
    /// The node is drained, or about to be.
    pub(super) drain: Option<drain::Report>,
    /// Monitoring stations.
    pub(super) bmp: Vec<Arc<bmp::Report>>,
}

impl Facts {
    pub(super) fn new(config: Arc<Config>, files: Vec<PathBuf>) -> Self {
        Self {
            config,
            config_files: files,
            config_loaded: Instant::now(),
            config_stale: false,
            config_errors: Vec::new(),
            reloads: Reloads::default(),
            speaker: None,
            addresses: Vec::new(),
            router_id: None,
            listen: Vec::new(),
            telemetry: view::TelemetryStatus::default(),
            pod_cidrs: Vec::new(),
            nodes: BTreeMap::new(),
            skipped: Vec::new(),
            overlaps: Vec::new(),
            start_problem: None,
            own_node_gone: false,
            claims: Arc::default(),
            asn: None,
            route_reflector: None,
            originated: BTreeSet::new(),
            drain: None,
            bmp: Vec::new(),
        }
    }

    pub(super) fn take_config(&mut self, config: Arc<Config>, files: Vec<PathBuf>) {
        self.config = config;
        self.config_files = files;
        self.config_loaded = Instant::now();
        self.config_stale = false;
        self.config_errors.clear();
    }

    pub(super) fn config_status(&self, clock: &Clock) -> view::ConfigStatus {
        let (loaded, loaded_seconds) = clock.past(self.config_loaded);
        view::ConfigStatus {
            files: self.config_files.iter().map(|file| file.display().to_string()).collect(),
            loaded,
            loaded_seconds,
            stale: self.config_stale,
            errors: self.config_errors.clone(),
        }
    }
}

impl Known {
    /// Changes the facts; only the daemon does, so nothing gets lost between.
    pub(super) fn update(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = Facts::clone(&self.facts.load());
        change(&mut facts);
        self.facts.store(Arc::new(facts));
    }
}

/// Answers everything but what is the daemon's: [`Query::Reload`], and the changes by
/// [`Query::Drain`] and [`Query::Undrain`].
pub(super) async fn answer(known: &Arc<Known>, query: Query) -> Result<Answer, Failure> {
    let facts = known.facts.load_full();
    match query {
        Query::Status => {
            let status = views::status(known, &facts).await?;
            Ok(Answer::Status(Box::new(status)))
        }
        Query::ConfigShow => Ok(Answer::Config(Box::new(view::Config {
            status: facts.config_status(&Clock::now()),
            yaml: facts.config.to_yaml(),
        }))),
        Query::Kernel { only_diff, page } => kernel(known, only_diff, &page).await,
        Query::Peers => {
            let all = Arc::clone(&facts);
            read(&facts, move |view| Ok(Answer::Peers(views::peers(view, &all)))).await
        }
        Query::Peer(name) => {
            let all = Arc::clone(&facts);
            read(&facts, move |view| {
                let (id, entry) = known_peer(view, &name)?;
                Ok(Answer::Peer(Box::new(views::peer(view, &all, id, entry))))
            })
            .await
        }
        Query::Routes(filter, page) => {
            let own = views::Own::of(known, &facts);
            read(&facts, move |view| match filter {
                RouteFilter::All(family) => {
                    Ok(Answer::Routes(views::best_routes(view, &own, family, &page)?))
                }
                RouteFilter::Exact(prefix) => Ok(one_route(views::route(view, &own, &prefix))),
                RouteFilter::Longest(address) => Ok(one_route(views::longest(view, &own, address))),
            })
            .await
        }
        Query::RouteChanges { filter, after, wait } => {
            let speaker = facts.speaker.as_ref().ok_or_else(|| no_speaker(&facts))?;
            let changes = views::route_changes(speaker, &filter, after.as_deref(), wait).await?;
            Ok(Answer::RouteChanges(Box::new(changes)))
        }
        Query::Dump(family, page) => {
            let all = Arc::clone(&facts);
            let (name, started) = (Arc::clone(&known.name), known.started);
            read(&facts, move |view| {
                Ok(Answer::Dump(Box::new(views::dump(
                    view,
                    &all,
                    (&name, started),
                    family,
                    &page,
                )?)))
            })
            .await
        }
        Query::RoutesIn(name, page) => {
            let own = views::Own::of(known, &facts);
            read(&facts, move |view| {
                let (id, _) = known_peer(view, &name)?;
                Ok(Answer::Paths(views::routes_in(view, &own, id, &page)?))
            })
            .await
        }
        Query::RoutesOut(name, page) => {
            read(&facts, move |view| {
                let (id, _) = known_peer(view, &name)?;
                Ok(Answer::Paths(views::routes_out(view, id, &page)?))
            })
            .await
        }
        Query::Rejected(name, page) => {
            let all = Arc::clone(&facts);
            read(&facts, move |view| {
                let only =
                    name.map(|name| known_peer(view, &name).map(|(id, _)| id)).transpose()?;
                Ok(Answer::Rejected(views::rejected(view, &all, only, &page)?))
            })
            .await
        }
        Query::PeerReset { peer, soft_in, soft_out } => {
            let mut done = Vec::new();
            for (wanted, deed, message) in [
                (soft_in, Deed::SoftIn, "asked for all its routes again"),
                (soft_out, Deed::SoftOut, "is sent all routes again"),
                (!soft_in && !soft_out, Deed::Reset, "session ended; it comes up again by itself"),
            ] {
                if wanted {
                    act(&facts, &peer, deed).await?;
                    done.push(message);
                }
            }
            Ok(Answer::Done(view::Done { peer, message: done.join(", ") }))
        }
        Query::PeerEnable(peer) => {
            act(&facts, &peer, Deed::Enable).await?;
            Ok(Answer::Done(view::Done { peer, message: "enabled".to_owned() }))
        }
        Query::PeerDisable { peer, message } => {
            act(&facts, &peer, Deed::Disable(message)).await?;
            let message = "disabled until it is enabled or the agent starts again".to_owned();
            Ok(Answer::Done(view::Done { peer, message }))
        }
        Query::Policy(query) => views::policy(known, &facts, query).await,
        Query::Cni(query) => cni::answer(known, &facts, query).await.map(Answer::Cni),
        Query::DrainState => Ok(draining(known)),
        Query::Reload | Query::Drain { .. } | Query::Undrain => {
            Err(Failure::Invalid("a change of the whole is not answered from facts".to_owned()))
        }
    }
}

/// Whether the node is drained, as it is known now.
pub(super) fn draining(known: &Known) -> Answer {
    let facts = known.facts.load();
    let view = drain::view(&known.name, facts.drain.as_ref(), &Clock::now());
    Answer::Drain(Box::new(view))
}

fn one_route(route: Option<view::Route>) -> Answer {
    Answer::Routes(Page { items: route.into_iter().collect(), next: None })
}

/// Why there is no speaker to ask.
pub(super) fn no_speaker(facts: &Facts) -> Failure {
    if !facts.config.bgp.enabled {
        return Failure::Unavailable(
            "this agent does not speak BGP (bgp.enabled: false)".to_owned(),
        );
    }
    Failure::Unavailable(
        "BGP has not started: the node's addresses are not known yet; see `brindle status`"
            .to_owned(),
    )
}

pub(super) fn stopping() -> Failure {
    Failure::Unavailable("the agent is stopping".to_owned())
}

async fn read(
    facts: &Facts,
    look: impl FnOnce(&View<'_>) -> Result<Answer, Failure> + Send + 'static,
) -> Result<Answer, Failure> {
    let speaker = facts.speaker.as_ref().ok_or_else(|| no_speaker(facts))?;
    speaker.read(look).await.map_err(|_| stopping())?
}

async fn act(facts: &Facts, peer: &str, deed: Deed) -> Result<(), Failure> {
    let speaker = facts.speaker.as_ref().ok_or_else(|| no_speaker(facts))?;
    let done = speaker.act(peer.to_owned(), deed).await.map_err(|_| stopping())?;
    done.map_err(|error| match error {
        DeedError::NoSuchPeer(_) => Failure::NotFound(error.to_string()),
        DeedError::NotEstablished(_) | DeedError::NoRefresh(_) | DeedError::Busy(_) => {
            Failure::Conflict(error.to_string())
        }
    })
}

fn known_peer<'a>(
    view: &'a View<'_>,
    name: &str,
) -> Result<(brindle_bgp::rib::PeerId, &'a crate::speaker::PeerEntry), Failure> {
    view.find(name).ok_or_else(|| {
        let mut names: Vec<&str> = view.peers.values().map(|e| &*e.wanted.rib.name).collect();
        names.sort_unstable();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Failure::NotFound(format!("there is no peer \"{name}\"; there are: {names}"))
    })
}

async fn kernel(known: &Known, only_diff: bool, page: &PageRequest) -> Result<Answer, Failure> {
    let after = page_after(page)?;
    let (reply, answered) = oneshot::channel();
    let request = ListRequest { only_diff, after, limit: page.limit };
    let command = fib::Command::List(request, reply);
    let fib = known.fib.as_ref().ok_or_else(|| no_speaker(&known.facts.load()))?;
    fib.commands.send(command).await.map_err(|_| stopping())?;
    let routes = answered.await.map_err(|_| stopping())?;
    let next = (routes.len() >= page.limit).then(|| routes.last()).flatten();
    let next = next.map(|route| route.prefix.to_string());
    Ok(Answer::Kernel(Page { items: routes.iter().map(KernelRoute::of).collect(), next }))
}

/// The prefix that a page begins after.
pub(super) fn page_after(page: &PageRequest) -> Result<Option<Prefix>, Failure> {
    let parse = |text: &String| {
        text.parse().map_err(|error| Failure::Invalid(format!("no such page: {error}")))
    };
    page.after.as_ref().map(parse).transpose()
}
