//! Real traffic between the pods of a lab, and proof that it crosses the wires as it is.
//!
//! Every pod answers TCP and UDP from a thread in its namespace ([`responder`]) and says whom
//! it saw; every node and every other pod asks it ([`probe`]), while each node's uplink is
//! watched for what really passes ([`capture`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::plan::{Node, Plan, Pod};
use super::state::Lab;

pub mod capture;
pub mod checks;
pub mod expect;
pub mod icmp;
pub mod probe;
pub mod reason;
pub mod report;
pub mod responder;
pub mod socket;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A connection, data there and back.
    Tcp,
    /// A small datagram there and back.
    Udp,
    /// ICMP echo.
    Icmp,
    /// A packet of 1500 octets that must not be fragmented, there and back.
    FullSize,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Tcp, Kind::Udp, Kind::Icmp, Kind::FullSize];

    /// As people say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Tcp => "TCP",
            Kind::Udp => "UDP",
            Kind::Icmp => "ICMP",
            Kind::FullSize => "1500-byte packets with DF",
        }
    }
}

/// Where traffic starts or ends.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// Its node.
    pub node: &'a Node,
    /// The pod; `None` is the node itself.
    pub pod: Option<&'a Pod>,
}

impl<'a> Endpoint<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.pod.map_or(&self.node.name, |p| &p.name)
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &'a str {
        self.pod.map_or(&self.node.namespace, |p| &p.namespace)
    }

    /// Its address of the family that `like` has.
    pub fn address(&self, like: IpAddr) -> Option<IpAddr> {
        let same = |ip: &IpAddr| ip.is_ipv4() == like.is_ipv4();
        match self.pod {
            Some(pod) => pod.addresses.iter().copied().find(same),
            None => self.node.ips().find(same),
        }
    }
}

/// What came of all probes from one endpoint to one address.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Node or pod that asked.
    pub from: String,
    /// Pod that was asked.
    pub to: String,
    /// At this address.
    pub address: IpAddr,
    /// Round trip of the ICMP echo.
    pub round_trip_seconds: Option<f64>,
    /// What failed, with the reason; empty is good.
    pub failures: BTreeMap<Kind, String>,
    /// Something was answered without having been seen on the way.
    #[serde(skip)]
    pub unseen: bool,
}

/// What `lab test` found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `brindle.dev/v1alpha1`.
    pub api_version: &'static str,
    /// `LabTest`.
    pub kind: &'static str,
    /// How many probes were sent.
    pub probes: usize,
    /// Every pair and family.
    pub outcomes: Vec<Outcome>,
    /// Pairs of pods on different nodes whose packets were seen on both uplinks as they are.
    pub seen_plain: usize,
    /// Whether nothing failed.
    pub passed: bool,
}

/// Threads that send probes: more fill the captures' buffers faster than they are read.
const WORKERS: usize = 16;

struct Job<'a> {
    from: Endpoint<'a>,
    to: Endpoint<'a>,
    address: IpAddr,
    ports: responder::Ports,
}

/// Sends everything to every pod and collects what came of it.
///
/// # Errors
/// The lab's namespaces cannot be entered, or it has no pods.
pub fn run(lab: &Lab) -> anyhow::Result<Report> {
    let plan = &lab.state.plan;
    if plan.pods().next().is_none() {
        anyhow::bail!("lab \"{}\" has no pods to test with (--pods)", lab.state.options.name);
    }
    let (mut outcomes, mut seen_plain) = round(plan, WORKERS, |_, _, _| true)?;
    // a capture under load may miss a packet, so what was not seen gets a second, quiet chance
    let unseen: Vec<_> = outcomes.iter().filter(|o| o.unseen).cloned().collect();
    if !unseen.is_empty() {
        let asked = |from: &str, to: &str, at| {
            unseen.iter().any(|o| o.from == from && o.to == to && o.address == at)
        };
        let (again, plain) = round(plan, 1, asked)?;
        for outcome in again {
            let same = |o: &&mut Outcome| {
                o.from == outcome.from && o.to == outcome.to && o.address == outcome.address
            };
            if let Some(old) = outcomes.iter_mut().find(same) {
                *old = outcome;
            }
        }
        seen_plain += plain;
    }
    reason::explain(plan, &mut outcomes);
    Ok(Report {
        api_version: "brindle.dev/v1alpha1",
        kind: "LabTest",
        probes: outcomes.len() * Kind::ALL.len(),
        passed: outcomes.iter().all(|o| o.failures.is_empty()),
        seen_plain,
        outcomes,
    })
}

/// Sends everything from every source to every pod address for which `wanted` (from, to,
/// address) holds, with so many `workers`. Returns what came of it, and how many pairs of
/// pods on different nodes were seen on both uplinks as they are.
fn round(
    plan: &Plan,
    workers: usize,
    wanted: impl Fn(&str, &str, IpAddr) -> bool,
) -> anyhow::Result<(Vec<Outcome>, usize)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = || -> anyhow::Result<_> {
            let mut watches = Vec::new();
            for node in &plan.nodes {
                let watch = capture::open(node)?;
                watches.push((node, scope.spawn(|| watch.collect(&stop))));
            }
            let mut jobs = Vec::new();
            let mut all_ports = BTreeMap::new();
            for (node, pod) in plan.pods() {
                for &address in &pod.addresses {
                    let ports = responder::serve(scope, &stop, pod, address)?;
                    all_ports.insert(address, ports);
                    let to = Endpoint { node, pod: Some(pod) };
                    let others = sources(plan)
                        .filter(|f| f.name() != pod.name && wanted(f.name(), &pod.name, address));
                    jobs.extend(others.map(|from| Job { from, to, address, ports }));
                }
            }
            let mut outcomes = probe_all(&jobs, workers);
            // the last packet has been answered, so it has been seen or never will be
            stop.store(true, Ordering::Release);
            let mut seen = BTreeMap::new();
            for (node, watch) in watches {
                let frames = watch.join().ok().context("a capture failed")?;
                seen.insert(node.name.clone(), frames);
            }
            let plain = capture::judge(plan, &seen, &all_ports, &mut outcomes);
            Ok((outcomes, plain))
        };
        let done = work();
        stop.store(true, Ordering::Release);
        done
    })
}

/// Every node, then every pod.
fn sources(plan: &Plan) -> impl Iterator<Item = Endpoint<'_>> {
    let nodes = plan.nodes.iter().map(|node| Endpoint { node, pod: None });
    nodes.chain(plan.pods().map(|(node, pod)| Endpoint { node, pod: Some(pod) }))
}

/// Works through `jobs` with so many `workers`; outcomes in the order of the jobs.
fn probe_all(jobs: &[Job<'_>], workers: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((index, job)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(index).map(|job| (index, job))
        } {
            done.push((index, probe_one(index, job)));
        }
        done
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let join = |w: thread::ScopedJoinHandle<'_, Vec<(usize, Outcome)>>| {
            w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

fn probe_one(index: usize, job: &Job<'_>) -> Outcome {
    let mut outcome = Outcome {
        from: job.from.name().to_owned(),
        to: job.to.name().to_owned(),
        address: job.address,
        round_trip_seconds: None,
        failures: BTreeMap::new(),
        unseen: false,
    };
    let entered = super::netns::within(job.from.namespace(), || {
        let as_whom = job.from.address(job.address);
        Ok(Kind::ALL.map(|kind| {
            let target = probe::Target { ip: job.address, ports: job.ports, as_whom };
            (kind, probe::send(kind, index, &target))
        }))
    });
    match entered {
        Ok(results) => {
            for (kind, result) in results {
                match result {
                    Ok(trip) if kind == Kind::Icmp => {
                        outcome.round_trip_seconds = Some(trip.as_secs_f64());
                    }
                    Ok(_) => {}
                    Err(why) => {
                        outcome.failures.insert(kind, why.to_string());
                    }
                }
            }
        }
        Err(error) => {
            let why = format!("{error:#}");
            outcome.failures.extend(Kind::ALL.map(|kind| (kind, why.clone())));
        }
    }
    outcome
}

/// How long one answer may take.
pub const PATIENCE: Duration = Duration::from_secs(1);
