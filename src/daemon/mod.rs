//! Builds the parts, joins them, stops them in order.
//!
//! ```text
//!  brindle.yaml ─┐                    ┌─ speaker ◄──► peers
//!                ├─► daemon ──wants──►│     │ ▲
//!  cluster ──────┘      ▲             │     ▼ │ next hops, addresses
//!                       │             └─── fib ◄──► kernel
//!  control socket ──────┘
//! ```
//!
//! The daemon decides what is wanted (peers, own prefixes) from configuration and cluster,
//! hands it to the speaker, and answers questions. It holds no routing state.

mod answer;
mod identity;
mod reload;
mod supervisor;
mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use brindle_bgp::fsm::State;
use brindle_bgp::msg::{Attributes, CeaseReason, Origin};
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::RibSettings;
use brindle_config::{Config, Source};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use self::answer::{Facts, Known};
use self::identity::Chosen;
use self::supervisor::Supervisor;
use crate::cluster::files::{self, Batch, FilesStatus};
use crate::cluster::peers::wanted_peers;
use crate::cluster::{Change, Node};
use crate::control::{self, Query};
use crate::fib::{self, FibHandle, FibSettings};
use crate::speaker::{self, Listeners, SpeakerHandle};

/// How often the daemon looks whether leftover routes may go and what the service manager is
/// to be told.
const TICK: Duration = Duration::from_millis(200);

/// How often it looks for the node's addresses while there are none.
const START_AGAIN: Duration = Duration::from_secs(1);

/// How long the parts may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// What `brindle agent` was called with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Overrides `node.name`.
    pub node_name: Option<String>,
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT). Routes stay in the kernel.
///
/// # Errors
/// What keeps it from starting: a bad configuration, a port in use, missing rights.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let loaded = reload::load(&options.config).await?;
    let name = identity::name(options.node_name.as_deref(), &loaded.config)?;
    let config = Arc::new(loaded.config);
    info!(node = %name, version = env!("CARGO_PKG_VERSION"), "starting");

    let mut signals = Signals::new()?;
    // First of all: where another agent runs, nothing is touched.
    let control = control::server::bind(&config.control.socket)?;
    let (fib, fib_events) =
        fib::start(fib_settings(&config)).context("cannot reach the kernel's routing table")?;
    let (changes, source) = match &config.source {
        Some(Source::Files { path }) => {
            let (changes, status) = files::watch(path.clone());
            (Some(changes), Some(status))
        }
        None => (None, None),
    };
    let known = Known {
        options,
        started: Instant::now(),
        name: Arc::clone(&name),
        fib: fib.clone(),
        source,
        facts: ArcSwap::from_pointee(Facts::new(Arc::clone(&config), loaded.files)),
    };
    let (requests, asked) = mpsc::channel(64);
    let daemon = Daemon {
        name,
        config,
        known: Arc::new(known),
        fib,
        fib_events: Some(fib_events),
        nodes: BTreeMap::new(),
        source_in_sync: changes.is_none(),
        changes,
        running: None,
        start_after: Instant::now(),
        swept: false,
        supervisor: Supervisor::new(),
    };
    let stop_serving = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(control::server::serve_on(
        control,
        requests,
        stop_serving.clone(),
        control::server::Limits::default(),
    ));
    let outcome = daemon.run(asked, &mut signals).await;
    stop_serving.cancel();
    let _ = serving.await;
    outcome
}

fn fib_settings(config: &Config) -> FibSettings {
    FibSettings {
        install: config.routes.install,
        metric: config.routes.metric,
        forwarding: config.routes.forwarding,
    }
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
    name: Arc<str>,
    config: Arc<Config>,
    known: Arc<Known>,
    fib: FibHandle,
    /// Handed to the speaker when it starts.
    fib_events: Option<mpsc::Receiver<fib::Event>>,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    changes: Option<mpsc::Receiver<Batch>>,
    source_in_sync: bool,
    running: Option<Running>,
    /// When starting is tried again.
    start_after: Instant,
    /// Leftovers of an earlier run were given free.
    swept: bool,
    supervisor: Supervisor,
}

/// The speaker, once it is clear who we are.
struct Running {
    speaker: SpeakerHandle,
    chosen: Chosen,
    /// Since when it knows everything that the source has.
    complete: Option<Instant>,
}

impl Daemon {
    async fn run(
        mut self,
        mut asked: mpsc::Receiver<control::Request>,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.running.is_none() && self.may_start() && self.start()? {
                self.apply().await?;
            }
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.reload.recv() => {
                    self.reload().await?;
                }
                Some(batch) = next_batch(&mut self.changes) => self.take_batch(batch).await?,
                Some((query, reply)) = asked.recv() => match query {
                    Query::Reload => {
                        let outcome = self.reload().await?;
                        let _ = reply.send(Ok(control::Answer::Reload(Box::new(outcome))));
                    }
                    query => {
                        let known = Arc::clone(&self.known);
                        // In its own task: a slow answer must not hold up the cluster.
                        tokio::spawn(async move {
                            let _ = reply.send(answer::answer(&known, query).await);
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
    fn may_start(&self) -> bool {
        (self.source_in_sync || !self.config.node.addresses.is_empty())
            && Instant::now() >= self.start_after
    }

    fn own_node(&self) -> Option<&Node> {
        self.nodes.get(&self.name).map(|node| &**node)
    }

    /// Starts the speaker. Answers whether it did: a host that has no address yet may get one.
    fn start(&mut self) -> anyhow::Result<bool> {
        let chosen = match identity::choose(&self.name, &self.config, self.own_node()) {
            Ok(chosen) => chosen,
            Err(error) => {
                let why = error.to_string();
                self.start_after = Instant::now() + START_AGAIN;
                self.known.update(|facts| {
                    if facts.start_problem.as_ref() != Some(&why) {
                        warn!(why, "BGP cannot start yet");
                        facts.start_problem = Some(why);
                    }
                });
                return Ok(false);
            }
        };
        let bgp = &self.config.bgp;
        let listen = match &bgp.listen_addresses[..] {
            [] => &chosen.identity.addresses[..],
            addresses => addresses,
        };
        let listeners = Listeners::bind(listen, bgp.listen_port)?;
        for chosen in &chosen.addresses {
            info!(address = %chosen.address, reason = %chosen.reason, "node address");
        }
        let settings = RibSettings {
            asn: bgp.asn,
            router_id: chosen.identity.router_id,
            cluster_id: chosen.identity.router_id.into(),
            multipath: bgp.max_paths,
            track_next_hops: self.config.routes.install,
        };
        let addresses = listeners.addresses().to_vec();
        info!(asn = %bgp.asn, router_id = %chosen.identity.router_id, listen = ?addresses, "BGP starts");
        let events = self.fib_events.take().context("the speaker was started before")?;
        let speaker = speaker::start(settings, listeners, Some((self.fib.clone(), events)));
        self.known.update(|facts| {
            facts.speaker = Some(speaker.clone());
            facts.addresses.clone_from(&chosen.addresses);
            facts.router_id = Some(chosen.identity.router_id);
            facts.listen = addresses;
            facts.start_problem = None;
        });
        self.running = Some(Running { speaker, chosen, complete: None });
        Ok(true)
    }

    /// Hands the speaker what configuration and cluster ask for; what is the same already
    /// is left alone.
    async fn apply(&mut self) -> anyhow::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let own_node = self.nodes.get(&self.name).map(|node| &**node);
        let (peers, skipped) =
            wanted_peers(&self.config.bgp, &running.chosen.identity, &self.nodes);
        let pod_cidrs = identity::pod_cidrs(&self.config, own_node);
        let moved = identity::moved(&running.chosen, &self.config, own_node);
        let mut originated: Vec<Prefix> = pod_cidrs.clone();
        originated.extend(&self.config.bgp.networks);
        self.known.update(|facts| {
            for skip in &skipped {
                if !facts.skipped.contains(skip) {
                    warn!(node = %skip.name, why = %skip.why, "no peering with this node");
                }
            }
            if let (Some(moved), true) = (&moved, facts.moved != moved) {
                warn!("{moved}");
            }
            facts.moved = moved;
            facts.skipped = skipped;
            facts.pod_cidrs = pod_cidrs;
            facts.nodes = self.nodes.clone();
        });
        let attributes = Attributes { origin: Origin::Igp, ..Attributes::default() };
        running.speaker.set_originated(originated, attributes).await?;
        running.speaker.set_peers(peers).await?;
        if self.source_in_sync && running.complete.is_none() {
            running.complete = Some(Instant::now());
        }
        Ok(())
    }

    async fn take_batch(&mut self, batch: Batch) -> anyhow::Result<()> {
        for change in batch {
            self.note(change);
        }
        if self.source_in_sync { self.apply().await } else { Ok(()) }
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::NodeApplied(node) => {
                if node.name == self.name {
                    self.known.update(|facts| facts.own_node_gone = false);
                }
                self.nodes.insert(Arc::clone(&node.name), node);
            }
            // Others end their sessions with us if we are to leave the cluster. If somebody
            // only moves files about, our pods shall not be without a network meanwhile.
            Change::NodeDeleted(name) if name == self.name => {
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
            // The policy half is not joined yet.
            Change::Policy(_) => {}
            Change::InSync => {
                self.source_in_sync = true;
                info!(nodes = self.nodes.len(), "the cluster's state is in sync");
                if self.own_node().is_none() && self.config.node.pod_cidrs.is_empty() {
                    warn!(
                        node = %self.name,
                        "there is no Node object of this name, so this node announces no pod \
                         CIDRs; is node.name right?"
                    );
                }
            }
        }
    }

    /// What is due from time to time: leftovers of an earlier run, the service manager.
    async fn look_around(&mut self) -> anyhow::Result<()> {
        if self.fib.commands.is_closed() {
            // Forwarding goes on; a service manager starts us again, and we adopt what is there.
            anyhow::bail!("the fib task has ended");
        }
        self.supervisor.look(&self.known);
        let Some(Running { speaker, complete: Some(complete), .. }) = &self.running else {
            // Before the source has told what it knows, anything may still be wanted.
            return Ok(());
        };
        if !self.swept {
            let waited = complete.elapsed();
            let synced = all_synced(speaker).await?;
            if synced || waited >= self.config.routes.startup_hold {
                if !synced {
                    warn!(
                        seconds = waited.as_secs(),
                        "some peers are not in sync yet; leftover routes go now"
                    );
                }
                speaker.sweep().await?;
                self.swept = true;
            }
        }
        if !self.supervisor.is_ready() && self.fib.status.load().ready {
            info!("ready");
            self.supervisor.ready();
        }
        Ok(())
    }

    async fn stop(self) {
        info!("stopping; routes stay in the kernel");
        self.supervisor.stopping();
        let all = async {
            if let Some(running) = self.running {
                let text = Some("brindle is stopping".to_owned());
                running.speaker.stop(CeaseReason::AdministrativeShutdown, text).await;
            }
            let _ = self.fib.commands.send(fib::Command::Stop).await;
        };
        if tokio::time::timeout(STOP_LIMIT, all).await.is_err() {
            error!("some part does not stop; ending without it");
        }
    }
}

/// Whether every peer has told us everything, or is not wanted.
async fn all_synced(speaker: &SpeakerHandle) -> Result<bool, speaker::Gone> {
    let look = |view: &speaker::View<'_>| {
        view.peers.iter().all(|(id, entry)| {
            entry.disabled
                || (entry.status().state == State::Established && view.rib.is_synced(*id))
        })
    };
    speaker.read(look).await
}

async fn next_batch(changes: &mut Option<mpsc::Receiver<Batch>>) -> Option<Batch> {
    match changes {
        Some(receiver) => {
            let batch = receiver.recv().await;
            if batch.is_none() {
                *changes = None;
            }
            batch
        }
        None => std::future::pending().await,
    }
}
