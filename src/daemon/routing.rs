//! The routing half within the daemon: the fib from the start, the speaker once it is clear
//! who we are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use brindle_bgp::fsm::{OwnRestart, State};
use brindle_bgp::msg::CeaseReason;
use brindle_bgp::net::{Family, Prefix};
use brindle_bgp::rib::{PeerId, RibSettings};
use brindle_config::{Config, HashPolicy, Multipath, Retain};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::answer::Known;
use super::claiming;
use super::drain::Draining;
use super::identity::{self, Chosen};
use super::keys::Keys;
use super::originating::{self, OfServices};
use super::tidings::Tidings;
use crate::bmp::Stations;
use crate::cluster::Node;
use crate::cluster::bgp::BgpObjects;
use crate::cluster::claims::Claims;
use crate::cluster::peers::{dynamic_peers, wanted_peers};
use crate::cluster::report::{Reason, Subject};
use crate::cluster::services::ServiceObjects;
use crate::drain::{Store, wanted_by};
use crate::fib::groups::Resilience;
use crate::fib::guard::Guarded;
use crate::fib::{self, FibHandle, FibSettings, HashBy};
use crate::speaker::{self, Deed, Listeners, PeerEntry, SpeakerHandle, StopMode, Tiding};
use crate::spoken::Note;

/// Tidings of the speaker that may wait; of more there are too many to be of use.
const TIDINGS: usize = 256;

/// How often it looks for the node's addresses while there are none.
const START_AGAIN: Duration = Duration::from_secs(1);

/// How long the kernel's routes may take to be read before peers are spoken to, and how often
/// that is looked at.
const FIB_LIMIT: Duration = Duration::from_secs(5);
const FIB_LOOK: Duration = Duration::from_millis(2);

/// What the configuration asks of the fib.
pub(super) fn fib_settings(config: &Config) -> FibSettings {
    FibSettings {
        install: config.routes.install,
        metric: config.routes.metric,
        forwarding: config.routes.forwarding,
        hash: config.routes.hash_policy.map(|policy| match policy {
            HashPolicy::L3 => HashBy::L3,
            HashPolicy::L4 => HashBy::L4,
            HashPolicy::Inner => HashBy::Inner,
        }),
        resilience: (config.routes.multipath == Multipath::Resilient)
            .then_some(Resilience { idle: config.routes.resilient_idle }),
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
    /// The families whose routes stand in the kernel as a speaker before this one left them;
    /// `None` before the first one has ended.
    left: Option<[bool; 2]>,
    tidings: (mpsc::Sender<Tiding>, mpsc::Receiver<Tiding>),
    said: Tidings,
    draining: Draining,
    /// What the speaker originates.
    originated: Vec<Prefix>,
    of_services: OfServices,
    /// What the fib was told to guard.
    guarded: Option<Guarded>,
    keys: Keys,
}

/// What happens to the routing half.
pub(super) enum News {
    /// The speaker tells of something.
    Tiding(Tiding),
    /// A peer's key is another.
    Keys,
}

/// What configuration and cluster say.
pub(super) struct Said<'a> {
    /// brindle.yaml.
    pub(super) config: &'a Config,
    pub(super) nodes: &'a BTreeMap<Arc<str>, Arc<Node>>,
    pub(super) objects: &'a BgpObjects,
    pub(super) services: &'a ServiceObjects,
    /// The node's own.
    pub(super) pod_cidrs: &'a [Prefix],
    /// Whether the cluster is known.
    pub(super) in_sync: bool,
}

/// The speaker, once it is clear who we are.
struct Running {
    speaker: SpeakerHandle,
    chosen: Chosen,
    start: Start,
    /// Since when it knows everything that the source has.
    complete: Option<Instant>,
    /// Who is told of its sessions and routes over BMP.
    stations: Stations,
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
            left: None,
            tidings: mpsc::channel(TIDINGS),
            said: Tidings::default(),
            keys: Keys::new(),
            draining: Draining::load(Store::beside(&config.control.socket), Instant::now()),
            originated: Vec::new(),
            of_services: OfServices::default(),
            guarded: None,
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
        let own = &chosen.identity.addresses;
        let listen: Vec<IpAddr> = match &bgp.listen_addresses[..] {
            [] => own.clone(),
            // Every address means those of the families that we have; a host may lack the other.
            [IpAddr::V4(v4), IpAddr::V6(v6)] if v4.is_unspecified() && v6.is_unspecified() => {
                let families = Family::ALL.map(|family| {
                    let all =
                        if family == Family::Ipv4Unicast { (*v4).into() } else { (*v6).into() };
                    own.iter().any(|one| Family::of(*one) == family).then_some(all)
                });
                families.into_iter().flatten().collect()
            }
            addresses => addresses.to_vec(),
        };
        let listeners = match Listeners::bind(&listen, bgp.listen_port) {
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
        let addresses = listeners.addresses();
        info!(asn = %chosen.identity.asn, reason = chosen.asn_reason, router_id = %chosen.identity.router_id, listen = ?addresses, "BGP starts");
        let events = self.fib_events.take().context("the speaker was started before")?;
        let speaker = speaker::start(settings, listeners, Some((self.fib.clone(), events)));
        speaker.tell_of(self.tidings.0.clone()).await?;
        let own = self.own_restart(config).await;
        speaker.restarted(own, config.routes.startup_hold).await?;
        // Before it has peers: a drained node lets no session come up.
        self.draining.begin_again(Instant::now());
        speaker.leave(self.draining.leave()).await?;
        known.update(|facts| {
            facts.speaker = Some(speaker.clone());
            facts.asn = Some((chosen.identity.asn, chosen.asn_reason));
            facts.route_reflector = chosen.identity.route_reflector;
            facts.addresses.clone_from(&chosen.addresses);
            facts.router_id = Some(chosen.identity.router_id);
            facts.listen = addresses;
            facts.start_problem = None;
            facts.drain = self.draining.report();
        });
        let stations = Stations::new(speaker.clone(), Arc::clone(&known.name));
        let start = Start::of(config);
        self.running = Some(Running { speaker, chosen, start, complete: None, stations });
        self.has_spoken = true;
        Ok(true)
    }

    /// What is true of our restart. Who writes no routes forwards nothing itself, so that nothing
    /// of it was lost, and a note says whether anybody was here before; else the routes that stand
    /// in the kernel prove it.
    async fn own_restart(&self, config: &Config) -> OwnRestart {
        if !config.routes.install {
            let note = Note::beside(&config.control.socket);
            let restarting = note.leave().unwrap_or_else(|error| {
                warn!(%error, file = %note.path().display(),
                    "cannot note that BGP was spoken: the next start will be taken for the first");
                false
            });
            return OwnRestart { restarting, forwarding: [true; 2] };
        }
        let is_read = async {
            while !self.fib.status.load().ready {
                tokio::time::sleep(FIB_LOOK).await;
            }
        };
        // Whoever has no answer by then is taken for new, which is safe.
        let _ = tokio::time::timeout(FIB_LIMIT, is_read).await;
        let forwarding = self.left.unwrap_or_else(|| self.fib.status.load().found);
        OwnRestart { restarting: forwarding != [false; 2], forwarding }
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
        let is_other = identity::changed(&running.chosen, &now);
        let is_elsewhere = running.start.changed(&Start::of(config));
        // Next hops that peers know stay true only if we are who we were.
        let is_same = identity::is_the_same_to_peers(&running.chosen, &now);
        let Some(why) = is_other.or(is_elsewhere) else {
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
        let mode = if is_same {
            StopMode::Restart
        } else {
            StopMode::Leave(CeaseReason::OtherConfigurationChange, Some(why))
        };
        running.stations.stop().await;
        running.speaker.stop(mode).await;
        let status = self.fib.status.load_full();
        let stands =
            |family: Family| status.installed[family.index()] > 0 || status.found[family.index()];
        self.left = Some(Family::ALL.map(stands));
        let (events, told) = mpsc::channel(fib::EVENTS);
        self.fib.commands.send(fib::Command::Succeed(events)).await?;
        (self.fib_events, self.swept) = (Some(told), false);
        self.start_after = Instant::now();
        known.update(|facts| {
            facts.speaker = None;
            facts.bmp.clear();
        });
        Ok(true)
    }

    /// The next thing that happens. Can be cancelled.
    pub(super) async fn news(&mut self) -> News {
        tokio::select! {
            tiding = self.tidings.1.recv() => match tiding {
                Some(tiding) => News::Tiding(tiding),
                None => unreachable!("we keep a sender ourselves"),
            },
            () = self.keys.changed() => News::Keys,
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
    /// left alone.
    ///
    /// # Errors
    /// If the speaker has ended.
    pub(super) async fn apply(&mut self, known: &Known, said: &Said<'_>) -> anyhow::Result<()> {
        let Said { nodes, objects, pod_cidrs, in_sync, .. } = *said;
        let config = &objects.effective_config(said.config, &known.name);
        let services = self.of_services.settle(said, &config.bgp.services);
        let claims = claiming::settle(known, config, nodes, services);
        claiming::tell_of_overlaps(known, said.config, config, &claims);
        let own_node = nodes.get(&known.name).map(|node| &**node);
        if self.follow_identity(known, config, own_node).await? {
            return Ok(());
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        // Others' settings are told from those of brindle.yaml.
        let bgp = &said.config.bgp;
        let identity = &running.chosen.identity;
        let (mut peers, skipped) = wanted_peers(bgp, identity, nodes, &claims, objects);
        self.keys.follow(bgp).await;
        self.keys.protect(bgp, &mut peers);
        let originated =
            originating::originated(&known.name, identity.asn, &config.bgp, pod_cidrs, &claims);
        known.update(|facts| {
            for skip in &skipped {
                if !facts.skipped.contains(skip) {
                    let what = skip.what();
                    warn!(what, why = %skip.why, "no peering");
                    if let Some(object) = &skip.object {
                        let message = format!("Node/{} has no session: {}", known.name, skip.why);
                        let subject = Subject::Bgp(object.clone());
                        known.reporter.report(subject, Reason::PeerSkipped, message);
                    }
                }
            }
            facts.skipped = skipped;
        });
        self.originated = originated.iter().map(|own| own.prefix).collect();
        let prefixes = self.originated.iter().copied().collect();
        known.update(|facts| facts.originated = prefixes);
        if in_sync {
            let guarded = originating::guarded(&known.name, &config.bgp.services, &claims);
            if self.guarded.as_ref() != Some(&guarded) {
                self.fib.commands.send(fib::Command::Guard(guarded.clone())).await?;
                self.guarded = Some(guarded);
            }
        }
        running.speaker.originate(originated).await?;
        running.speaker.set_peers(peers).await?;
        let mut dynamic = dynamic_peers(&config.bgp, &running.chosen.identity);
        self.keys.protect_groups(&config.bgp, &mut dynamic);
        running.speaker.set_dynamic(dynamic).await?;
        if running.stations.follow(&config.bgp.bmp) {
            known.update(|facts| facts.bmp = running.stations.reports());
        }
        for peer in std::mem::take(&mut self.disabled) {
            // It may be no peer any more, which is as good.
            let _ = running.speaker.act(peer, Deed::Disable(None)).await?;
        }
        if in_sync && running.complete.is_none() {
            running.complete = Some(Instant::now());
            running.speaker.complete().await?;
        }
        if let (true, Some(node)) = (in_sync, own_node) {
            let settings = &config.bgp.drain;
            self.draining.follow(wanted_by(settings, node), settings.wait, Instant::now());
            self.drain_as_decided(known).await?;
        }
        Ok(())
    }

    /// Begins to drain by an operator's will. Answers with a sentence if it cannot.
    ///
    /// # Errors
    /// If the speaker has ended.
    pub(super) async fn drain(
        &mut self,
        known: &Known,
        wait: Duration,
        message: Option<String>,
    ) -> anyhow::Result<Result<(), String>> {
        let begun = self.draining.begin(wait, message, Instant::now());
        self.drain_as_decided(known).await?;
        Ok(begun)
    }

    /// Ends draining by an operator's will. Answers with a sentence if it cannot.
    ///
    /// # Errors
    /// If the speaker has ended.
    pub(super) async fn undrain(&mut self, known: &Known) -> anyhow::Result<Result<(), String>> {
        let ended = self.draining.end();
        self.drain_as_decided(known).await?;
        Ok(ended)
    }

    /// Has the speaker be as far with leaving as was decided.
    async fn drain_as_decided(&mut self, known: &Known) -> anyhow::Result<()> {
        let report = self.draining.report();
        if known.facts.load().drain != report {
            if let Some(running) = &self.running {
                running.speaker.leave(self.draining.leave()).await?;
            }
            known.update(|facts| facts.drain = report);
        }
        Ok(())
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
        if self.running.as_ref().is_some_and(|running| running.speaker.has_ended()) {
            // Peers that keep our routes go on using them until we are back.
            anyhow::bail!("the task of the speaker has ended");
        }
        if let Some(running) = &self.running {
            self.draining.look(&running.speaker, &self.originated).await?;
            let report = self.draining.report();
            if known.facts.load().drain != report {
                known.update(|facts| facts.drain = report);
            }
        }
        let Some(Running { speaker, complete: Some(complete), .. }) = &self.running else {
            // Before the source has told what it knows, anything may still be wanted.
            return Ok(false);
        };
        if !self.swept {
            let waited = complete.elapsed();
            let synced = self.draining.is_drained() || all_synced(speaker).await?;
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
            // Who is leaving does not come back in a moment, so nobody shall wait for that.
            let mode = match self.draining.farewell() {
                Some(text) => StopMode::Leave(CeaseReason::AdministrativeShutdown, text),
                None => StopMode::Restart,
            };
            running.stations.stop().await;
            running.speaker.stop(mode).await;
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

/// Whether every peer has told us everything, or is not wanted. Dynamic ones, of which nobody knows
/// whether they come, are waited for as long as a deferral lasts.
async fn all_synced(speaker: &SpeakerHandle) -> Result<bool, speaker::Gone> {
    let look = |view: &speaker::View<'_>| {
        let is_heard = |(id, entry): (&PeerId, &PeerEntry)| {
            entry.disabled
                || entry.wanted.group.is_some()
                || (entry.status().state == State::Established && view.rib.is_synced(*id))
        };
        !view.rib.is_deferring() && view.peers.iter().all(is_heard)
    };
    speaker.read(look).await
}
