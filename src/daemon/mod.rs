//! Builds the parts, joins them, stops them in order.
//!
//! ```text
//!  brindle.yaml ─┐                    ┌─ speaker ◄──► peers
//!                ├─► daemon ──wants──►│     │ ▲
//!  cluster ──────┘   ▲  ▲  │          │     ▼ │ next hops, addresses
//!                    │  │  │          └─── fib ◄──► kernel
//!  control socket ───┘  │  └─changes──► enforce ◄──► iptables, ipset
//!  telemetry ───────────┘
//! ```
//!
//! The daemon decides what is wanted (peers, own prefixes) from configuration and cluster,
//! hands it to the speaker, passes on to the policy half what policies are about, and answers
//! questions. It holds no routing state and no policies. Either half runs without the other.

mod answer;
mod claiming;
mod cni;
mod drain;
mod health;
mod identity;
mod keys;
mod originating;
mod policy;
mod reload;
mod reports;
mod routing;
mod source;
mod supervisor;
mod teller;
mod tidings;
mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use brindle_config::Config;
use brindle_policy::Change as PolicyChange;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use self::answer::{Facts, Known};
use self::policy::PolicyHalf;
use self::routing::{News, Routing, Said};
use self::supervisor::Supervisor;
use self::teller::Teller;
use crate::cluster::bgp::BgpObjects;
use crate::cluster::files::Batch;
use crate::cluster::kubernetes::access::Missing;
use crate::cluster::services::ServiceObjects;
use crate::cluster::{Change, Node};
use crate::control::calls::CallCounts;
use crate::control::{self, Query};
use crate::enforce::Gone;
use crate::telemetry::{Beat, Beats};

/// How often the daemon looks whether leftover routes may go and what the service manager is
/// to be told.
const TICK: Duration = Duration::from_millis(200);

/// How long the parts may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// What `brindle agent` was called with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Overrides `node.name`.
    pub node_name: Option<String>,
    /// Only enforce policies, whatever `bgp.enabled` and `policy.enabled` say.
    pub policy_only: bool,
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT). Routes and policies stay in the
/// kernel.
///
/// # Errors
/// What keeps it from starting: a bad configuration, a port in use, missing rights.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let loaded = reload::load(&options).await?;
    let name = identity::name(options.node_name.as_deref(), &loaded.config)?;
    let config = Arc::new(loaded.config);
    info!(node = %name, version = env!("CARGO_PKG_VERSION"), "starting");

    let mut signals = Signals::new()?;
    // First of all: where another agent runs, nothing is touched.
    let control = control::server::bind(&config.control.socket)?;
    let routing = config.bgp.enabled.then(|| Routing::start(&config)).transpose()?;
    let policy = config.policy.enabled.then(|| PolicyHalf::start(policy::settings(&name, &config)));
    let (reporter, teller) = teller::open(&config);
    let source = config
        .source
        .as_ref()
        .map(|source| source::start(source, &name, &reporter, config.bgp.enabled));
    let (changes, source) = source.unzip();
    let beats = Beats::default();
    let known = Known {
        options,
        started: Instant::now(),
        name,
        fib: routing.as_ref().map(|routing| routing.fib().clone()),
        enforce: policy.as_ref().map(|policy| policy.handle().clone()),
        leftover_policies: OnceLock::new(),
        source,
        facts: ArcSwap::from_pointee(Facts::new(Arc::clone(&config), loaded.files)),
        beats: beats.clone(),
        reporter,
        cni: cni::Problems::default(),
        missing: Missing::default(),
        calls: CallCounts::default(),
    };
    let known = Arc::new(known);
    let (requests, asked) = mpsc::channel(64);
    let daemon = Daemon {
        config,
        nodes: BTreeMap::new(),
        bgp: BgpObjects::default(),
        services: ServiceObjects::default(),
        source_in_sync: changes.is_none(),
        changes,
        supervisor: Supervisor::new(),
        beat: beats.add("daemon", health::DAEMON_DEADLINE),
        known: Arc::clone(&known),
        routing,
        policy,
        records: cni::Records::default(),
        caretaker: cni::Caretaker::default(),
        teller,
    };
    health::watch_parts(&known);
    if known.enforce.is_none() {
        policy::look_for_leftovers(&known);
    }
    let stop_serving = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(control::server::serve_on(
        control,
        requests,
        stop_serving.clone(),
        control::server::Limits::default(),
        known.calls.clone(),
    ));
    let telling = health::serve(&known, stop_serving.clone()).await;
    let outcome = daemon.run(asked, &mut signals).await;
    stop_serving.cancel();
    let _ = serving.await;
    let _ = telling.await;
    outcome
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }
}

struct Daemon {
    config: Arc<Config>,
    known: Arc<Known>,
    /// `None` without BGP.
    routing: Option<Routing>,
    /// `None` without policies.
    policy: Option<PolicyHalf>,
    records: cni::Records,
    caretaker: cni::Caretaker,
    /// `None` without an API server.
    teller: Option<Teller>,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    /// The objects about BGP.
    bgp: BgpObjects,
    services: ServiceObjects,
    changes: Option<mpsc::Receiver<Batch>>,
    source_in_sync: bool,
    supervisor: Supervisor,
    beat: Beat,
}

impl Daemon {
    async fn run(
        mut self,
        mut asked: mpsc::Receiver<control::Request>,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        if let Some(teller) = &mut self.teller {
            teller.start(&self.known);
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.beat.beat();
            if self.may_speak() && self.speak().await? {
                self.apply().await?;
            }
            let is_busy = self.policy.as_ref().is_some_and(PolicyHalf::is_busy);
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.reload.recv() => {
                    self.reload().await?;
                }
                batch = next_batch(&mut self.changes), if !is_busy => {
                    self.take_batch(batch?).await?;
                }
                told = told(&mut self.policy) => told?,
                news = news(&mut self.routing) => match (news, &mut self.routing) {
                    (News::Tiding(tiding), Some(routing)) => routing.report(&self.known, &tiding),
                    (News::Keys, _) => self.apply().await?,
                    (News::Tiding(_), None) => {}
                },
                request = asked.recv() => match request.context("the control socket's task has ended")? {
                    (Query::Reload, reply) => {
                        let outcome = self.reload().await?;
                        let _ = reply.send(Ok(control::Answer::Reload(Box::new(outcome))));
                    }
                    (query @ (Query::Drain { .. } | Query::Undrain), reply) => {
                        let _ = reply.send(self.drain(query).await?);
                    }
                    (query, mut reply) => {
                        let known = Arc::clone(&self.known);
                        // In its own task: a slow answer must not hold up the cluster.
                        tokio::spawn(async move {
                            // What changes something is done also if nobody waits any more.
                            let may_end = !query.is_change();
                            let answer = tokio::select! {
                                answer = answer::answer(&known, query) => answer,
                                () = reply.closed(), if may_end => return,
                            };
                            let _ = reply.send(answer);
                        });
                    }
                },
                _ = tick.tick() => self.look_around().await?,
            }
        }
        self.stop().await;
        Ok(())
    }

    /// Who we are is known if it is configured, or the source has told what it knows.
    fn may_speak(&self) -> bool {
        (self.source_in_sync || !self.config.node.addresses.is_empty())
            && self.routing.as_ref().is_some_and(Routing::may_start)
    }

    fn own_node(&self) -> Option<&Node> {
        self.nodes.get(&self.known.name).map(|node| &**node)
    }

    /// Begins to drain, or ends it.
    async fn drain(
        &mut self,
        query: Query,
    ) -> anyhow::Result<Result<control::Answer, control::Failure>> {
        let Some(routing) = &mut self.routing else {
            return Ok(Err(answer::no_speaker(&self.known.facts.load())));
        };
        let done = match query {
            Query::Drain { wait, message } => {
                let wait = wait.unwrap_or(self.config.bgp.drain.wait);
                routing.drain(&self.known, wait, message).await?
            }
            _ => routing.undrain(&self.known).await?,
        };
        let answer = done.map(|()| answer::draining(&self.known));
        Ok(answer.map_err(control::Failure::Conflict))
    }

    /// Starts the speaker. Answers whether it did.
    async fn speak(&mut self) -> anyhow::Result<bool> {
        let own_node = self.nodes.get(&self.known.name).map(|node| &**node);
        let Some(routing) = &mut self.routing else { return Ok(false) };
        let config = &self.bgp.effective_config(&self.config, &self.known.name);
        let spoke = routing.speak(&self.known, config, own_node).await?;
        if spoke {
            health::watch_speaker(&self.known);
        }
        Ok(spoke)
    }

    /// Takes over what configuration and cluster say.
    async fn apply(&mut self) -> anyhow::Result<()> {
        let own_node = self.own_node();
        let pod_cidrs = identity::pod_cidrs(&self.config, own_node);
        let addresses = identity::addresses(&self.known.name, &self.config, own_node);
        self.known.update(|facts| {
            // The speaker keeps those that it started with.
            if !self.config.bgp.enabled {
                facts.addresses = addresses;
            }
            facts.pod_cidrs.clone_from(&pod_cidrs);
            facts.nodes.clone_from(&self.nodes);
        });
        let Some(routing) = &mut self.routing else { return Ok(()) };
        let said = Said {
            config: &self.config,
            nodes: &self.nodes,
            objects: &self.bgp,
            services: &self.services,
            pod_cidrs: &pod_cidrs,
            in_sync: self.source_in_sync,
        };
        routing.apply(&self.known, &said).await
    }

    async fn take_batch(&mut self, batch: Batch) -> anyhow::Result<()> {
        let policy = batch.into_iter().filter_map(|change| self.note(change)).collect();
        self.bgp.remember_keys();
        if let Some(half) = &mut self.policy {
            half.tell(self.records.before(&self.known, policy));
        }
        if self.source_in_sync { self.apply().await } else { Ok(()) }
    }

    /// Takes a change over, or answers it if it is for the policy half.
    fn note(&mut self, change: Change) -> Option<PolicyChange> {
        match change {
            Change::Policy(change) => return Some(change),
            Change::NodeApplied(node) => {
                if node.name == self.known.name {
                    self.known.update(|facts| facts.own_node_gone = false);
                }
                self.nodes.insert(Arc::clone(&node.name), node);
            }
            // Others end their sessions with us if we are to leave the cluster. If somebody
            // only moves files about, our pods shall not be without a network meanwhile.
            Change::NodeDeleted(name) if name == self.known.name => {
                warn!(
                    node = %name,
                    "our own Node object is gone; what it said stays in force until it is back \
                     or the agent starts again"
                );
                self.known.update(|facts| facts.own_node_gone = true);
            }
            Change::NodeDeleted(name) => {
                self.nodes.remove(&name);
            }
            Change::BgpApplied(object) => self.bgp.apply(object),
            Change::BgpDeleted(key) => self.bgp.delete(&key),
            Change::ServiceApplied(service) => self.services.apply(service),
            Change::ServiceDeleted(name) => self.services.delete(&name),
            Change::EndpointsChanged(key, endpoints) => {
                self.services.set_endpoints(&key, endpoints);
            }
            Change::InSync => {
                self.source_in_sync = true;
                info!(nodes = self.nodes.len(), "the cluster's state is in sync");
                if self.own_node().is_none() && self.config.node.pod_cidrs.is_empty() {
                    warn!(
                        node = %self.known.name,
                        "there is no Node object of this name, so this node's pod CIDRs are not \
                         known; is node.name right?"
                    );
                }
                return Some(PolicyChange::InSync);
            }
        }
        None
    }

    /// What is due from time to time: leftovers of an earlier run, the service manager.
    async fn look_around(&mut self) -> anyhow::Result<()> {
        if self.policy.as_ref().is_some_and(|half| half.handle().has_ended()) {
            anyhow::bail!("the policy half has ended");
        }
        self.supervisor.look(&self.known);
        if let Some(half) = self.policy.as_mut().filter(|half| !half.is_busy()) {
            half.tell(self.records.again(&self.known));
        }
        let routes = match &mut self.routing {
            Some(routing) => routing.look_around(&self.known, &self.config).await?,
            None => true,
        };
        if routes && !self.supervisor.is_ready() && health::is_enforcing(&self.known) {
            info!("ready");
            self.supervisor.ready();
            if let Some(teller) = &mut self.teller {
                teller.ready(&self.known.name);
            }
        }
        self.caretaker.look(&self.known, self.supervisor.is_ready());
        Ok(())
    }

    async fn stop(self) {
        info!("stopping; routes and policies stay in the kernel");
        self.supervisor.stopping();
        let routing = async {
            if let Some(routing) = self.routing {
                routing.stop().await;
            }
        };
        let policy = async {
            if let Some(policy) = self.policy {
                policy.stop().await;
            }
        };
        let all = async { tokio::join!(routing, policy) };
        if tokio::time::timeout(STOP_LIMIT, all).await.is_err() {
            error!("some part does not stop; ending without it");
        }
    }
}

async fn told(policy: &mut Option<PolicyHalf>) -> Result<(), Gone> {
    match policy {
        Some(half) => half.told().await,
        None => std::future::pending().await,
    }
}

async fn news(routing: &mut Option<Routing>) -> News {
    match routing {
        Some(routing) => routing.news().await,
        None => std::future::pending().await,
    }
}

/// What the source tells next; nothing for ever where there is none.
///
/// # Errors
/// If its task has ended, which only a fault of ours can make it: to go on would be to believe
/// for ever what the cluster was like. Started again, we adopt what is in the kernel.
async fn next_batch(changes: &mut Option<mpsc::Receiver<Batch>>) -> anyhow::Result<Batch> {
    match changes {
        Some(receiver) => receiver.recv().await.context("the task of the source has ended"),
        None => std::future::pending().await,
    }
}
