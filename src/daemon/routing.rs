//! The routing half within the daemon: the fib from the start, the speaker once it is clear
//! who we are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use brindle_bgp::fsm::State;
use brindle_bgp::msg::{Attributes, CeaseReason, Origin};
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::RibSettings;
use brindle_config::Config;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::answer::Known;
use super::identity::{self, Chosen};
use crate::cluster::Node;
use crate::cluster::peers::wanted_peers;
use crate::fib::{self, FibHandle, FibSettings};
use crate::speaker::{self, Listeners, SpeakerHandle};

/// How often it looks for the node's addresses while there are none.
const START_AGAIN: Duration = Duration::from_secs(1);

/// What the configuration asks of the fib.
pub(super) fn fib_settings(config: &Config) -> FibSettings {
    FibSettings {
        install: config.routes.install,
        metric: config.routes.metric,
        forwarding: config.routes.forwarding,
    }
}

/// The routing half.
pub(super) struct Routing {
    fib: FibHandle,
    /// Handed to the speaker when it starts.
    fib_events: Option<mpsc::Receiver<fib::Event>>,
    running: Option<Running>,
    /// When starting is tried again.
    start_after: Instant,
    /// Leftovers of an earlier run were given free.
    swept: bool,
}

/// The speaker, once it is clear who we are.
struct Running {
    speaker: SpeakerHandle,
    chosen: Chosen,
    /// Since when it knows everything that the source has.
    complete: Option<Instant>,
}

impl Routing {
    /// Starts the fib.
    ///
    /// # Errors
    /// If the kernel's routing table cannot be reached.
    pub(super) fn start(config: &Config) -> anyhow::Result<Self> {
        let (fib, events) =
            fib::start(fib_settings(config)).context("cannot reach the kernel's routing table")?;
        Ok(Self {
            fib,
            fib_events: Some(events),
            running: None,
            start_after: Instant::now(),
            swept: false,
        })
    }

    pub(super) fn fib(&self) -> &FibHandle {
        &self.fib
    }

    /// Whether the speaker runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether starting the speaker is due.
    pub(super) fn may_start(&self) -> bool {
        self.running.is_none() && Instant::now() >= self.start_after
    }

    /// Starts the speaker. Answers whether it did: a host that has no address yet may get one.
    ///
    /// # Errors
    /// What no waiting mends, such as a port in use.
    pub(super) fn speak(
        &mut self,
        known: &Known,
        config: &Config,
        own_node: Option<&Node>,
    ) -> anyhow::Result<bool> {
        let chosen = match identity::choose(&known.name, config, own_node) {
            Ok(chosen) => chosen,
            Err(error) => {
                let why = error.to_string();
                self.start_after = Instant::now() + START_AGAIN;
                known.update(|facts| {
                    if facts.start_problem.as_ref() != Some(&why) {
                        warn!(why, "BGP cannot start yet");
                        facts.start_problem = Some(why);
                    }
                });
                return Ok(false);
            }
        };
        let bgp = &config.bgp;
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
            track_next_hops: config.routes.install,
        };
        let addresses = listeners.addresses().to_vec();
        info!(asn = %bgp.asn, router_id = %chosen.identity.router_id, listen = ?addresses, "BGP starts");
        let events = self.fib_events.take().context("the speaker was started before")?;
        let speaker = speaker::start(settings, listeners, Some((self.fib.clone(), events)));
        known.update(|facts| {
            facts.speaker = Some(speaker.clone());
            facts.addresses.clone_from(&chosen.addresses);
            facts.router_id = Some(chosen.identity.router_id);
            facts.listen = addresses;
            facts.start_problem = None;
        });
        self.running = Some(Running { speaker, chosen, complete: None });
        Ok(true)
    }

    /// Hands the speaker what configuration and cluster ask for; what is the same already is
    /// left alone. `pod_cidrs` are the node's own, `in_sync` says whether the cluster is known.
    ///
    /// # Errors
    /// If the speaker has ended.
    pub(super) async fn apply(
        &mut self,
        known: &Known,
        config: &Config,
        nodes: &BTreeMap<Arc<str>, Arc<Node>>,
        pod_cidrs: &[Prefix],
        in_sync: bool,
    ) -> anyhow::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let own_node = nodes.get(&known.name).map(|node| &**node);
        let (peers, skipped) = wanted_peers(&config.bgp, &running.chosen.identity, nodes);
        let moved = identity::moved(&running.chosen, config, own_node);
        let mut originated: Vec<Prefix> = pod_cidrs.to_vec();
        originated.extend(&config.bgp.networks);
        known.update(|facts| {
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
        });
        let attributes = Attributes { origin: Origin::Igp, ..Attributes::default() };
        running.speaker.set_originated(originated, attributes).await?;
        running.speaker.set_peers(peers).await?;
        if in_sync && running.complete.is_none() {
            running.complete = Some(Instant::now());
        }
        Ok(())
    }

    /// Gives leftovers of an earlier run free once nobody can want them any more. Answers
    /// whether routes are as they should be.
    ///
    /// # Errors
    /// If fib or speaker have ended.
    pub(super) async fn look_around(&mut self, config: &Config) -> anyhow::Result<bool> {
        if self.fib.commands.is_closed() {
            // Forwarding goes on; a service manager starts us again, and we adopt what is there.
            anyhow::bail!("the fib task has ended");
        }
        let Some(Running { speaker, complete: Some(complete), .. }) = &self.running else {
            // Before the source has told what it knows, anything may still be wanted.
            return Ok(false);
        };
        if !self.swept {
            let waited = complete.elapsed();
            let synced = all_synced(speaker).await?;
            if synced || waited >= config.routes.startup_hold {
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
        Ok(self.fib.status.load().ready)
    }

    /// Ends speaker and fib; routes stay in the kernel.
    pub(super) async fn stop(self) {
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
