//! How the agent is: signs of life of its parts, whether it does its work, its metrics.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use brindle_bgp::fsm::State;
use brindle_bgp::net::Family;
use brindle_bgp::rib::{PeerId, Stale};
use brindle_policy::Direction;
use brindle_policy::model::{HostStage, PolicyKind};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answer::{Facts, Known};
use super::drain;
use super::source::SourceState;
use crate::bfd::{DROP_REASONS, Report};
use crate::enforce::{EnforceHandle, EnforceView};
use crate::fib::{self, ListRequest};
use crate::speaker::{AuthFailures, Faults, PeerEntry, SpeakerHandle, View};
use crate::telemetry::metrics::{
    AgentFigures, BfdFigures, ChainLabels, Figures, ObjectCounts, PacketTotals, PeerFigures,
    PolicyFigures, RoutingFigures,
};
use crate::telemetry::{self, Check, Health, Teller};

/// How long the daemon's own loop may stand still; it turns several times a second.
pub(super) const DAEMON_DEADLINE: Duration = Duration::from_secs(10);
/// How long speaker and fib may.
const ROUTING_DEADLINE: Duration = Duration::from_secs(10);
/// How long the policy half may: it waits for programs that may wait for others' locks, for up
/// to half a minute each.
const POLICY_DEADLINE: Duration = Duration::from_secs(90);
/// How often the parts are asked for a sign of life.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long an asker of health or metrics waits for a part.
const PATIENCE: Duration = Duration::from_secs(2);
/// After the start all peers must come up; after this time one is enough.
const PEERS_GRACE: Duration = Duration::from_secs(30);

/// Looks after the parts that run from the start.
pub(super) fn watch_parts(known: &Known) {
    if let Some(fib) = known.fib.clone() {
        watch(known, "fib", ROUTING_DEADLINE, move || {
            let fib = fib.clone();
            async move {
                let (reply, answered) = oneshot::channel();
                let request = ListRequest { only_diff: false, after: None, limit: 1 };
                let asked = fib.commands.send(fib::Command::List(request, reply)).await;
                asked.is_ok() && answered.await.is_ok()
            }
        });
    }
    if let Some(enforce) = known.enforce.clone() {
        watch(known, "enforce", POLICY_DEADLINE, move || {
            let enforce = enforce.clone();
            async move { enforce.read(|_| ()).await.is_ok() }
        });
    }
}

/// Looks after the speaker, which has just started.
pub(super) fn watch_speaker(known: &Known) {
    if let Some(speaker) = known.facts.load().speaker.clone() {
        watch(known, "speaker", ROUTING_DEADLINE, move || {
            let speaker = speaker.clone();
            async move { speaker.read(|_| ()).await.is_ok() }
        });
    }
}

/// Asks a part for signs of life until it has ended: one that ended gives none any more.
fn watch<F: Future<Output = bool> + Send>(
    known: &Known,
    name: &'static str,
    deadline: Duration,
    lives: impl Fn() -> F + Send + 'static,
) {
    let beat = known.beats.add(name, deadline);
    tokio::spawn(async move {
        while lives().await {
            beat.beat();
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
}

/// Whether policies are enforced as wanted; also where there are none to enforce.
pub(super) fn is_enforcing(known: &Known) -> bool {
    let is_ready = |enforce: &EnforceHandle| enforce.status.load().is_ready(SystemTime::now());
    known.enforce.as_ref().is_none_or(is_ready)
}

/// Answers questions for health and metrics until `shutdown`, where the configuration wants
/// it. That a port is taken keeps nobody from routing: it is logged and shown.
pub(super) async fn serve(known: &Arc<Known>, shutdown: CancellationToken) -> JoinHandle<()> {
    let wanted = known.facts.load().config.telemetry.listen.clone();
    let (listeners, warnings) = telemetry::bind(&wanted).await;
    for warning in &warnings {
        warn!("{warning}");
    }
    let listen: Vec<_> = listeners.iter().filter_map(|one| one.local_addr().ok()).collect();
    if !listen.is_empty() {
        info!(?listen, "health and metrics");
    }
    known.update(|facts| {
        facts.telemetry.listen = listen;
        facts.telemetry.warnings = warnings;
    });
    let teller: Arc<dyn Teller> = Arc::new(Told {
        known: Arc::clone(known),
        packets: Mutex::default(),
        counting: Semaphore::new(1),
    });
    tokio::spawn(telemetry::serve(listeners, teller, shutdown))
}

struct Told {
    known: Arc<Known>,
    packets: Mutex<PacketTotals>,
    /// Held by who reads the kernel's counters: what is read later must be taken later.
    counting: Semaphore,
}

impl Teller for Told {
    fn health(&self) -> Pin<Box<dyn Future<Output = Health> + Send + '_>> {
        Box::pin(health(&self.known))
    }

    fn metrics(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>> {
        Box::pin(async {
            self.count_packets().await;
            let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner).clone();
            figures(&self.known, packets).await.to_text()
        })
    }
}

impl Told {
    /// Takes over what the kernel's rules have counted. Whoever is too busy to say it now says
    /// it to the next who asks.
    async fn count_packets(&self) {
        let Some(enforce) = &self.known.enforce else { return };
        let Ok(_counting) = self.counting.try_acquire() else { return };
        let labels = enforce.read(|view| {
            brindle_policy::Family::ALL
                .map(|family| (family, ChainLabels::of(view.world, view.ruleset(family))))
        });
        let Ok(Ok(labels)) = timeout(PATIENCE, labels).await else { return };
        for (family, labels) in labels {
            let Ok(Ok(installed)) = timeout(PATIENCE, enforce.counters(family)).await else {
                return;
            };
            let mut totals = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
            totals.take(&labels, &installed);
        }
    }
}

async fn health(known: &Known) -> Health {
    let facts = known.facts.load_full();
    let live = known.beats.pulses(Instant::now()).into_iter().map(|pulse| {
        let silence = format!("no sign of life for {} s", pulse.silence.as_secs());
        Check::new(pulse.name, if pulse.is_late() { Err(silence) } else { Ok(()) })
    });
    let mut ready = vec![
        // What runs was loaded; a newer file that was refused changes nothing.
        Check::new("config", Ok(())),
    ];
    if let Some(source) = &known.source {
        ready.push(Check::new("source", source.readiness()));
    }
    if let Some(fib) = &known.fib {
        let is_ready = fib.status.load().ready;
        let outcome =
            is_ready.then_some(()).ok_or("the kernel's routes are not read yet".to_owned());
        ready.push(Check::new("routes", outcome));
        ready.push(Check::new("peers", peers(known, &facts).await));
    }
    if let Some(enforce) = &known.enforce {
        ready.push(Check::new("policy", policy(enforce)));
    }
    let connecting = known.cni.worst();
    if facts.config.cni.enabled || connecting.is_some() {
        ready.push(Check::new("cni", connecting.map_or(Ok(()), Err)));
    }
    let notes = known.missing.load().iter().map(ToString::to_string).collect();
    Health { live: live.collect(), ready, notes }
}

/// At first all peers must be up and no graceful restart may run, so that nobody is restarted
/// next before we are back; later one is enough, as others may be restarted just now.
async fn peers(known: &Known, facts: &Facts) -> Result<(), String> {
    let Some(speaker) = &facts.speaker else {
        return Err("BGP has not started".to_owned());
    };
    // It is meant to have none, and is ready for what is wanted of it.
    if facts.drain.as_ref().is_some_and(drain::Report::has_no_sessions) {
        return Ok(());
    }
    let count = |view: &View<'_>| {
        // Nobody waits for those that may come or not.
        let is_wanted = |entry: &&PeerEntry| !entry.disabled && entry.wanted.group.is_none();
        let wanted = || view.peers.values().filter(is_wanted);
        let up = wanted().filter(|entry| entry.status().state == State::Established).count();
        let is_restarting = |id: &PeerId| {
            Family::ALL.iter().any(|family| view.rib.stale(*id, *family) == Some(Stale::Restarting))
        };
        let restart = if view.rib.is_deferring() {
            Some("peers have not told yet all that they know since we restarted")
        } else if view.peers.keys().any(is_restarting) {
            Some("a peer that restarts has not told yet all that it knows")
        } else {
            None
        };
        (up, wanted().count(), restart)
    };
    match timeout(PATIENCE, speaker.read(count)).await {
        Ok(Ok((up, all, restart))) => {
            let is_early = known.started.elapsed() < PEERS_GRACE;
            match restart {
                _ if up < if is_early { all } else { all.min(1) } => {
                    Err(format!("{up} of {all} established"))
                }
                Some(restart) if is_early => Err(format!("graceful restart: {restart}")),
                _ => Ok(()),
            }
        }
        Ok(Err(_)) | Err(_) => Err("the speaker does not answer".to_owned()),
    }
}

fn policy(enforce: &EnforceHandle) -> Result<(), String> {
    let status = enforce.status.load();
    if status.is_ready(SystemTime::now()) {
        return Ok(());
    }
    let failing = status.failing.as_ref().map(|(_, why)| why.clone());
    let why = status.unavailable.clone().or(failing);
    Err(why.unwrap_or_else(|| "not in the kernel yet".to_owned()))
}

async fn figures(known: &Known, packets: PacketTotals) -> Figures {
    let facts = known.facts.load_full();
    let now = Instant::now();
    let time = |at: Instant| SystemTime::now() - now.saturating_duration_since(at);
    let routing = match &known.fib {
        Some(fib) => {
            let (peers, bfd_drops, faults) = match &facts.speaker {
                Some(speaker) => peer_figures(speaker).await,
                None => Default::default(),
            };
            Some(RoutingFigures {
                peers,
                bfd_drops,
                faults,
                drain: facts.drain.as_ref().map(drain::Report::phase),
                fib: fib.status.load_full(),
                auth_failures: AuthFailures::read(),
                bmp: facts.bmp.clone(),
            })
        }
        None => None,
    };
    let policy = match &known.enforce {
        Some(enforce) => {
            let name = Arc::clone(&known.name);
            let counts = enforce.read(move |view| object_counts(view, &name));
            Some(PolicyFigures {
                status: enforce.status.load_full(),
                objects: timeout(PATIENCE, counts).await.ok().and_then(Result::ok),
                packets,
                log_group: Some(facts.config.policy.flow_log)
                    .filter(|log| log.enabled)
                    .map(|log| log.group),
            })
        }
        None => None,
    };
    Figures {
        agent: AgentFigures {
            started: time(known.started),
            source: known.source.as_ref().map(|source| (source.kind(), source.is_in_sync())),
            config_loaded: time(facts.config_loaded),
            config_stale: facts.config_stale,
            reloads: [facts.reloads.taken, facts.reloads.refused],
            pulses: known.beats.pulses(now),
            calls: known.calls.all(),
        },
        kubernetes: match &known.source {
            Some(SourceState::Kubernetes(status)) => Some(status.load_full()),
            Some(SourceState::Files(_)) | None => None,
        },
        routing,
        policy,
    }
}

async fn peer_figures(
    speaker: &SpeakerHandle,
) -> (Vec<PeerFigures>, [u64; DROP_REASONS.len()], Faults) {
    let look = |view: &View<'_>| {
        let figures = |(id, entry): (&_, &PeerEntry)| {
            let status = entry.status();
            let is_up = status.state == State::Established;
            let since = SystemTime::now() - status.since.elapsed();
            let agreed = |family| {
                status.negotiated.as_ref().is_some_and(|agreed| agreed.families.contains(&family))
            };
            PeerFigures {
                name: Arc::clone(&entry.wanted.rib.name),
                is_mesh: entry.wanted.mesh,
                state: status.state,
                established: is_up.then_some(since),
                negotiated: Family::ALL.map(agreed),
                counts: Family::ALL.map(|family| view.rib.counts(*id, family).unwrap_or_default()),
                limits: entry.wanted.rib.limits.most,
                beyond: Family::ALL.map(|family| view.rib.beyond_limit(*id, family)),
                beyond_paths: Family::ALL.map(|family| view.rib.beyond_paths(*id, family)),
                flaps: status.flaps_by.clone(),
                bfd: bfd_figures(entry.bfd()),
            }
        };
        let mut peers: Vec<_> = view.peers.iter().map(figures).collect();
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        (peers, view.bfd_drops.counts(), view.faults)
    };
    timeout(PATIENCE, speaker.read(look)).await.ok().and_then(Result::ok).unwrap_or_default()
}

fn bfd_figures(report: &Report) -> Option<BfdFigures> {
    let seen = report.status().seen?;
    let counters = report.counters();
    Some(BfdFigures {
        state: seen.state,
        detection_seconds: seen.detection_time.map_or(0.0, |time| time.as_secs_f64()),
        packets: [&counters.sent, &counters.received].map(|count| count.load(Ordering::Relaxed)),
    })
}

fn object_counts(view: &EnforceView<'_>, node: &str) -> ObjectCounts {
    let world = view.world;
    let broken: BTreeSet<_> = view.status.broken.iter().map(|(id, _)| id).collect();
    let mut governing = BTreeSet::new();
    for direction in Direction::ALL {
        let pods = world.endpoints_on(node).flat_map(|pod| world.governing(pod, direction));
        let hosts = world.host_endpoints_on(node).flat_map(|host| {
            let stages = HostStage::ALL.into_iter();
            stages.flat_map(move |stage| world.governing_host(host, stage, direction))
        });
        let all = pods.chain(hosts).flat_map(|(_, policies)| policies);
        governing.extend(all.map(|policy| &policy.id));
    }
    let mut counts = ObjectCounts::default();
    counts.add("Namespace", "active", world.namespaces().count());
    counts.add("Pod", "active", world.pods().count());
    counts.add("ServiceAccount", "active", world.accounts().count());
    counts.add("EndpointSlice", "active", world.slices().count());
    counts.add("HostEndpoint", "active", world.host_endpoints().count());
    counts.add("Tier", "active", world.tiers().len());
    counts.add("Profile", "active", world.profiles().count());
    for set in world.network_sets() {
        let is_global = set.id.namespace.is_none();
        counts.add(if is_global { "GlobalNetworkSet" } else { "NetworkSet" }, "active", 1);
    }
    // So that whoever watches them has something to watch before the first comes.
    for state in ["active", "unused", "invalid"] {
        counts.add(PolicyKind::NetworkPolicy.as_str(), state, 0);
    }
    for policy in world.policies() {
        let is_lost = !policy.problems.is_empty()
            || broken.contains(&policy.id)
            || world.tier(&policy.tier).is_none();
        let state = if is_lost {
            "invalid"
        } else if policy.staged.is_some() {
            "staged"
        } else if governing.contains(&policy.id) {
            "active"
        } else {
            "unused"
        };
        counts.add(policy.id.kind.as_str(), state, 1);
    }
    counts
}
