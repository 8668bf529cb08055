//! The routing half within the daemon: the fib from the start, the speaker once it is clear
//! who we are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use brindle_bgp::fsm::State;
use brindle_bgp::msg::{Attributes, CeaseReason, Origin};
use brindle_bgp::net::Prefix;
use brindle_bgp::rib::RibSettings;
use brindle_config::{Config, Retain};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::answer::Known;
use super::identity::{self, Chosen};
use super::tidings::Tidings;
use crate::cluster::Node;
use crate::cluster::claims::{self, Claims};
use crate::cluster::peers::{dynamic_peers, wanted_peers};
use crate::cluster::report::{Reason, Subject};
use crate::fib::{self, FibHandle, FibSettings};
use crate::speaker::{self, Deed, Listeners, SpeakerHandle, StopMode, Tiding};

/// Tidings of the speaker that may wait; of more there are too many to be of use.
const TIDINGS: usize = 256;

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
    /// It has spoken before: what keeps it from speaking now may pass.
    has_spoken: bool,
    /// Names of peers that an operator disabled before the speaker started anew.
    disabled: Vec<String>,
    tidings: (mpsc::Sender<Tiding>, mpsc::Receiver<Tiding>),
    said: Tidings,
}

/// The speaker, once it is clear who we are.
struct Running {
    speaker: SpeakerHandle,
    chosen: Chosen,
    start: Start,
    /// Since when it knows everything that the source has.
    complete: Option<Instant>,
}

/// What of the configuration a speaker starts with and cannot change in place, beside who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Start {
    addresses: Vec<IpAddr>,
    port: u16,
    max_paths: usize,
    as_path_relax: bool,
}

impl Start {
    fn of(config: &Config) -> Self {
        let bgp = &config.bgp;
        let addresses = bgp.listen_addresses.clone();
        Self {
            addresses,
            port: bgp.listen_port,
            max_paths: bgp.max_paths,
            as_path_relax: bgp.as_path_relax,
        }
    }

    /// A sentence if a speaker that started so would start otherwise now.
    fn changed(&self, now: &Self) -> Option<String> {
        let keys = [
            ("bgp.listen.addresses", self.addresses != now.addresses),
            ("bgp.listen.port", self.port != now.port),
            ("bgp.maxPaths", self.max_paths != now.max_paths),
            ("bgp.multipath", self.as_path_relax != now.as_path_relax),
        ];
        let changed: Vec<&str> =
            keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
        (!changed.is_empty()).then(|| format!("{} changed", changed.join(", ")))
    }
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
            has_spoken: false,
            disabled: Vec::new(),
            tidings: mpsc::channel(TIDINGS),
            said: Tidings::default(),
        })
    }

    pub(super) fn fib(&self) -> &FibHandle {
        &self.fib
    }

    /// Whether a speaker that runs could go on with this configuration, or start anew with it.
    ///
    /// # Errors
    /// If it would not be clear any more who we are.
    pub(super) fn may_follow(
        &self,
        name: &Arc<str>,
        config: &Config,
        own_node: Option<&Node>,
    ) -> anyhow::Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        identity::choose(name, config, own_node, Some(&running.chosen)).map(drop)
    }

    /// Whether starting the speaker is due.
    pub(super) fn may_start(&self) -> bool {
        self.running.is_none() && Instant::now() >= self.start_after
    }

    /// Starts the speaker. Answers whether it did: a host that has no address yet may get one.
    ///
    /// # Errors
    /// What no waiting mends, such as a port in use.
    pub(super) async fn speak(
        &mut self,
        known: &Known,
        config: &Config,
        own_node: Option<&Node>,
    ) -> anyhow::Result<bool> {
        let chosen = match identity::choose(&known.name, config, own_node, None) {
            Ok(chosen) => chosen,
            Err(error) => {
                self.wait(known, error.to_string());
                return Ok(false);
            }
        };
        let bgp = &config.bgp;
        let listen = match &bgp.listen_addresses[..] {
            [] => &chosen.identity.addresses[..],
            addresses => addresses,
        };
        let listeners = match Listeners::bind(listen, bgp.listen_port) {
            Ok(listeners) => listeners,
            Err(error) if self.has_spoken => {
                self.wait(known, error.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        for chosen in &chosen.addresses {
            info!(address = %chosen.address, reason = %chosen.reason, "node address");
        }
        let settings = RibSettings {
            cluster_id: chosen
                .identity
                .route_reflector
                .unwrap_or_else(|| chosen.identity.router_id.into()),
            multipath: bgp.max_paths,
            as_path_relax: bgp.as_path_relax,
            track_next_hops: config.routes.install,
            ..RibSettings::new(chosen.identity.asn, chosen.identity.router_id)
        };
        let addresses = listeners.addresses().to_vec();
        info!(asn = %chosen.identity.asn, reason = chosen.asn_reason, router_id = %chosen.identity.router_id, listen = ?addresses, "BGP starts");
        let events = self.fib_events.take().context("the speaker was started before")?;
        let speaker = speaker::start(settings, listeners, Some((self.fib.clone(), events)));
        speaker.tell_of(self.tidings.0.clone()).await?;
        known.update(|facts| {
            facts.speaker = Some(speaker.clone());
            facts.asn = Some((chosen.identity.asn, chosen.asn_reason));
            facts.route_reflector = chosen.identity.route_reflector;
            facts.addresses.clone_from(&chosen.addresses);
            facts.router_id = Some(chosen.identity.router_id);
            facts.listen = addresses;
            facts.start_problem = None;
        });
        self.running = Some(Running { speaker, chosen, start: Start::of(config), complete: None });
        self.has_spoken = true;
        Ok(true)
    }

    /// Tries to start again in a while.
    fn wait(&mut self, known: &Known, why: String) {
        self.start_after = Instant::now() + START_AGAIN;
        known.update(|facts| {
            if facts.start_problem.as_ref() != Some(&why) {
                warn!(why, "BGP cannot start yet");
                facts.start_problem = Some(why);
            }
        });
    }

    /// Ends the speaker if the node is somebody else by now, or is to listen elsewhere; the next
    /// one takes its routes over as they stand. Answers whether it did.
    ///
    /// # Errors
    /// If fib or speaker have ended.
    async fn follow_identity(
        &mut self,
        known: &Known,
        config: &Config,
        own_node: Option<&Node>,
    ) -> anyhow::Result<bool> {
        let Some(running) = &mut self.running else { return Ok(false) };
        // Where it is not clear any more who we are, we go on being who we were.
        let Ok(now) = identity::choose(&known.name, config, own_node, Some(&running.chosen)) else {
            return Ok(false);
        };
        let why = identity::changed(&running.chosen, &now);
        let why = why.or_else(|| running.start.changed(&Start::of(config)));
        let Some(why) = why else {
            // Somebody else may say the same by now.
            if running.chosen != now {
                known.update(|facts| {
                    facts.asn = Some((now.identity.asn, now.asn_reason));
                    facts.addresses.clone_from(&now.addresses);
                });
                running.chosen = now;
            }
            return Ok(false);
        };
        warn!(why, "BGP starts anew; routes stay in the kernel meanwhile");
        let Some(running) = self.running.take() else { return Ok(false) };
        let disabled = |view: &speaker::View<'_>| {
            let entries = view.peers.values().filter(|entry| entry.disabled);
            entries.map(|entry| entry.wanted.rib.name.to_string()).collect()
        };
        self.disabled = running.speaker.read(disabled).await?;
        let mode = StopMode::Leave(CeaseReason::OtherConfigurationChange, Some(why));
        running.speaker.stop(mode).await;
        let (events, told) = mpsc::channel(fib::EVENTS);
        self.fib.commands.send(fib::Command::Succeed(events)).await?;
        (self.fib_events, self.swept) = (Some(told), false);
        self.start_after = Instant::now();
        known.update(|facts| facts.speaker = None);
        Ok(true)
    }

    /// The next thing that the speaker tells.
    pub(super) async fn tidings(&mut self) -> Tiding {
        match self.tidings.1.recv().await {
            Some(tiding) => tiding,
            None => unreachable!("we keep a sender ourselves"),
        }
    }

    /// Passes on what is worth an Event.
    pub(super) fn report(&mut self, known: &Known, tiding: &Tiding) {
        let facts = known.facts.load();
        if let Some(report) = self.said.report(&known.name, &facts.claims, tiding) {
            known.reporter.report(report.subject, report.reason, report.message);
        }
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
        let claims = self.settle_claims(known, config, nodes);
        let own_node = nodes.get(&known.name).map(|node| &**node);
        if self.follow_identity(known, config, own_node).await? {
            return Ok(());
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        let (peers, skipped) = wanted_peers(&config.bgp, &running.chosen.identity, nodes, &claims);
        let is_ours = |range: &&Prefix| claims.has(&known.name, range);
        let mut originated: Vec<Prefix> = pod_cidrs.iter().filter(is_ours).copied().collect();
        originated.extend(&config.bgp.networks);
        known.update(|facts| {
            for skip in &skipped {
                if !facts.skipped.contains(skip) {
                    warn!(node = %skip.name, why = %skip.why, "no peering with this node");
                }
            }
            facts.skipped = skipped;
        });
        let attributes = Attributes { origin: Origin::Igp, ..Attributes::default() };
        running.speaker.set_originated(originated, attributes).await?;
        running.speaker.set_peers(peers).await?;
        let dynamic = dynamic_peers(&config.bgp, &running.chosen.identity);
        running.speaker.set_dynamic(dynamic).await?;
        for peer in std::mem::take(&mut self.disabled) {
            // It may be no peer any more, which is as good.
            let _ = running.speaker.act(peer, Deed::Disable(None)).await?;
        }
        if in_sync && running.complete.is_none() {
            running.complete = Some(Instant::now());
        }
        Ok(())
    }

    /// Decides whose each range is, and tells of what is refused.
    fn settle_claims(
        &mut self,
        known: &Known,
        config: &Config,
        nodes: &BTreeMap<Arc<str>, Arc<Node>>,
    ) -> Arc<Claims> {
        let before = Arc::clone(&known.facts.load().claims);
        let ranges = &config.node.pod_cidrs[..];
        let configured = (!ranges.is_empty()).then_some((&known.name, ranges));
        let claims = Arc::new(claims::settle(nodes, configured, &before));
        for refused in claims.refused().iter().filter(|one| !before.refused().contains(one)) {
            let message = refused.to_string();
            if refused.node == known.name {
                error!(%message, "another node has a range of ours, which is not announced");
            } else {
                warn!(%message, "nothing in this range is accepted from the node");
            }
            // The two that it is about say so; from all nodes it would be an Event of each.
            if [&refused.node, &refused.owner].contains(&&known.name) {
                let subject = Subject::Node(Arc::clone(&refused.node));
                known.reporter.report(subject, Reason::RangeRefused, message);
            }
        }
        if claims != before {
            known.update(|facts| facts.claims = Arc::clone(&claims));
        }
        claims
    }

    /// Gives leftovers of an earlier run free once nobody can want them any more. Answers
    /// whether routes are as they should be.
    ///
    /// # Errors
    /// If fib or speaker have ended.
    pub(super) async fn look_around(
        &mut self,
        known: &Known,
        config: &Config,
    ) -> anyhow::Result<bool> {
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
                if config.bgp.retain == Retain::NodeObject {
                    adopt(&self.fib, speaker, &known.facts.load().claims).await?;
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
            running.speaker.stop(StopMode::Restart).await;
        }
        let _ = self.fib.commands.send(fib::Command::Stop).await;
    }
}

/// Has the speaker take over what an earlier run left and Node objects justify: who told it may
/// be down just now.
async fn adopt(fib: &FibHandle, speaker: &SpeakerHandle, claims: &Claims) -> anyhow::Result<()> {
    let (reply, answered) = oneshot::channel();
    fib.commands.send(fib::Command::Leftovers(reply)).await?;
    let mut leftovers = answered.await?;
    leftovers.retain(|(prefix, gateway)| claims.is_justified(prefix, *gateway));
    if !leftovers.is_empty() {
        info!(routes = leftovers.len(), "leftover routes that Node objects justify are kept");
        speaker.adopt(leftovers).await?;
    }
    Ok(())
}

/// Whether every peer has told us everything, or is not wanted.
async fn all_synced(speaker: &SpeakerHandle) -> Result<bool, speaker::Gone> {
    let look = |view: &speaker::View<'_>| {
        view.peers.iter().all(|(id, entry)| {
            entry.disabled
                || entry.wanted.group.is_some()
                || (entry.status().state == State::Established && view.rib.is_synced(*id))
        })
    };
    speaker.read(look).await
}
