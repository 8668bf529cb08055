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
use crate::cluster::files::{self, FilesStatus};
use crate::cluster::peers::wanted_peers;
use crate::cluster::{Change, Node};
use crate::control::{self, Query};
use crate::fib::{self, FibHandle, FibSettings};
use crate::speaker::{self, Listeners, SpeakerHandle};

/// How often the daemon looks whether leftover routes may go, and tells the supervisor that
/// it lives.
const TICK: Duration = Duration::from_millis(200);

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
    let control_path = config.control.socket.clone();
    let control = control::server::bind(&control_path)?;
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
        swept: false,
        ready: false,
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
    changes: Option<mpsc::Receiver<Change>>,
    source_in_sync: bool,
    running: Option<Running>,
    /// Leftovers of an earlier run were given free.
    swept: bool,
    /// The supervisor was told that we are ready.
    ready: bool,
}

/// The speaker, once it is clear who we are.
struct Running {
    speaker: SpeakerHandle,
    chosen: Chosen,
    since: Instant,
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
            if self.running.is_none() && self.may_start() {
                self.start()?;
                self.apply().await?;
            }
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.reload.recv() => {
                    self.reload().await?;
                }
                Some(change) = next_change(&mut self.changes) => self.take_change(change).await?,
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
        self.source_in_sync || !self.config.node.addresses.is_empty()
    }

    fn own_node(&self) -> Option<&Node> {
        self.nodes.get(&self.name).map(|node| &**node)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let chosen = identity::choose(&self.name, &self.config, self.own_node())?;
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
        });
        self.running = Some(Running { speaker, chosen, since: Instant::now() });
        Ok(())
    }

    /// Hands the speaker what configuration and cluster ask for; what is the same already
    /// is left alone.
    async fn apply(&self) -> anyhow::Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        let (peers, skipped) =
            wanted_peers(&self.config.bgp, &running.chosen.identity, &self.nodes);
        let pod_cidrs = identity::pod_cidrs(&self.config, self.own_node());
        let mut originated: Vec<Prefix> = pod_cidrs.clone();
        originated.extend(&self.config.bgp.networks);
        self.known.update(|facts| {
            for skip in &skipped {
                if !facts.skipped.contains(skip) {
                    warn!(node = %skip.name, why = %skip.why, "no peering with this node");
                }
            }
            facts.skipped = skipped;
            facts.pod_cidrs = pod_cidrs;
            facts.nodes = self.nodes.clone();
        });
        let attributes = Attributes { origin: Origin::Igp, ..Attributes::default() };
        running.speaker.set_originated(originated, attributes).await?;
        running.speaker.set_peers(peers).await?;
        Ok(())
    }

    async fn take_change(&mut self, change: Change) -> anyhow::Result<()> {
        match change {
            Change::NodeApplied(node) => {
                self.nodes.insert(Arc::clone(&node.name), node);
            }
            Change::NodeDeleted(name) => {
                self.nodes.remove(&name);
            }
            Change::InSync => {
                self.source_in_sync = true;
                info!(nodes = self.nodes.len(), "the cluster's state is in sync");
            }
        }
        // Whatever else is waiting belongs to the same look at the cluster.
        while let Some(Ok(more)) = self.changes.as_mut().map(mpsc::Receiver::try_recv) {
            match more {
                Change::NodeApplied(node) => {
                    self.nodes.insert(Arc::clone(&node.name), node);
                }
                Change::NodeDeleted(name) => {
                    self.nodes.remove(&name);
                }
                Change::InSync => self.source_in_sync = true,
            }
        }
        if self.source_in_sync { self.apply().await } else { Ok(()) }
    }

    /// What is due from time to time: leftovers of an earlier run, the supervisor.
    async fn look_around(&mut self) -> anyhow::Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        if !self.swept {
            let waited = running.since.elapsed();
            let synced = self.source_in_sync && all_synced(&running.speaker).await?;
            if synced || waited >= self.config.routes.startup_hold {
                if !synced {
                    warn!(
                        seconds = waited.as_secs(),
                        "some peers are not in sync yet; leftover routes go now"
                    );
                }
                self.fib.commands.send(fib::Command::Sweep).await.context("the fib task ended")?;
                self.swept = true;
            }
        }
        if !self.ready && self.source_in_sync && self.fib.status.load().ready {
            info!("ready");
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            self.ready = true;
        }
        if self.fib.commands.is_closed() {
            // Forwarding goes on; a supervisor starts us again, and we adopt what is there.
            error!("the fib task has ended");
            anyhow::bail!("the fib task has ended");
        }
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        Ok(())
    }

    async fn stop(self) {
        info!("stopping; routes stay in the kernel");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        if let Some(running) = self.running {
            let text = Some("brindle is stopping".to_owned());
            running.speaker.stop(CeaseReason::AdministrativeShutdown, text).await;
        }
        let _ = self.fib.commands.send(fib::Command::Stop).await;
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

async fn next_change(changes: &mut Option<mpsc::Receiver<Change>>) -> Option<Change> {
    match changes {
        Some(receiver) => {
            let change = receiver.recv().await;
            if change.is_none() {
                *changes = None;
            }
            change
        }
        None => std::future::pending().await,
    }
}
