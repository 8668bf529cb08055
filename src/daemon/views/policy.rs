//! Answers about policies: from the policy half's world, what its kernel holds, and its log.

use std::net::IpAddr;
use std::time::SystemTime;

use brindle_policy::readback::Installed;
use brindle_policy::{Family, PolicyId, World};

use crate::control::view::{self, DeniedFlow, Endpoint, Explanation, FlowEnd, RouteTaken};
use crate::control::{Answer, Failure, FlowQuestion, Page, PageRequest, PolicyQuery};
use crate::daemon::answer::{Facts, Known};
use crate::enforce::{self, EnforceHandle, EnforceStatus, EnforceView};
use crate::fib::lookup::{Way, lookup};
use crate::flow::End;
use crate::policies::{self, Here};
use crate::speaker::View;

/// How often a flow is looked at again whose verdict the kernel does not share: a change may
/// have been on its way between one look and the other.
const LOOKS: usize = 3;

/// Answers a question about policies.
pub(in crate::daemon) async fn policy(
    known: &Known,
    facts: &Facts,
    query: PolicyQuery,
) -> Result<Answer, Failure> {
    let off = "policies are not enforced on this node: policy.enabled is false";
    let enforce = known.enforce.as_ref().ok_or_else(|| Failure::Conflict(off.to_owned()))?;
    let asker = Asker { node: known.name.to_string(), enforce };
    match query {
        PolicyQuery::Flows(pod, page) => Ok(Answer::Flows(flows(enforce, pod.as_deref(), &page)?)),
        PolicyQuery::Matrix { .. } | PolicyQuery::Lint => asker.aside(query).await,
        PolicyQuery::List(..) | PolicyQuery::Show(_) | PolicyQuery::For(_) => {
            asker.ask(query, Vec::new()).await
        }
        PolicyQuery::Endpoints(_) => {
            let mut answer = asker.ask(query, Vec::new()).await?;
            if let Answer::Endpoints(endpoints) = &mut answer {
                for endpoint in endpoints {
                    if endpoint.interface.is_none() {
                        endpoint.interface = interface(endpoint).await;
                    }
                }
            }
            Ok(answer)
        }
        PolicyQuery::Hits => {
            let installed = asker.installed(&Family::ALL).await?;
            asker.ask(query, installed).await
        }
        PolicyQuery::Explain(flow) => {
            let mut explained = asker.explain(flow).await?;
            explained.route = route(known, facts, explained.destination.address).await;
            Ok(Answer::Explanation(explained))
        }
    }
}

/// The way to the policy half.
struct Asker<'a> {
    node: String,
    enforce: &'a EnforceHandle,
}

fn stopping() -> Failure {
    Failure::Unavailable("the agent is stopping".to_owned())
}

impl Asker<'_> {
    /// Answers what takes no longer than the policy half can wait.
    async fn ask(&self, query: PolicyQuery, installed: Vec<Installed>) -> Result<Answer, Failure> {
        let node = self.node.clone();
        let look = move |view: &EnforceView<'_>| {
            let here =
                Here { node: &node, status: view.status, installed: &installed, hosts: view.hosts };
            policies::answer(&policies::Known { world: view.world, here: Some(here) }, &query)
        };
        self.enforce.read(look).await.map_err(|_| stopping())?
    }

    /// Answers what takes longer from a copy, while the policy half goes on.
    async fn aside(&self, query: PolicyQuery) -> Result<Answer, Failure> {
        let copy = |view: &EnforceView<'_>| {
            (view.world.objects(), view.status.clone(), view.hosts.clone())
        };
        let (objects, status, hosts) = self.enforce.read(copy).await.map_err(|_| stopping())?;
        let node = self.node.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let mut world = World::default();
            objects.into_iter().for_each(|object| world.apply(object));
            let here = Here { node: &node, status: &status, installed: &[], hosts: &hosts };
            policies::answer(&policies::Known { world: &world, here: Some(here) }, &query)
        });
        answered.await.map_err(|_| Failure::Unavailable("the answer broke off".to_owned()))?
    }

    async fn explain(&self, flow: FlowQuestion) -> Result<Box<Explanation>, Failure> {
        let families = families(&flow);
        let query = PolicyQuery::Explain(flow);
        for look in 1..=LOOKS {
            let (installed, unread) = match self.installed(&families).await {
                Ok(installed) => (installed, None),
                Err(failure) => (Vec::new(), Some(failure.to_string())),
            };
            if let Answer::Explanation(mut explained) = self.ask(query.clone(), installed).await? {
                if !explained.disagreements.is_empty() && look < LOOKS {
                    continue;
                }
                explained.notes.extend(unread);
                return Ok(explained);
            }
        }
        Err(stopping())
    }

    async fn installed(&self, families: &[Family]) -> Result<Vec<Installed>, Failure> {
        let mut installed = Vec::new();
        for family in families {
            let held = self.enforce.counters(*family).await;
            installed.push(held.map_err(|error| Failure::Unavailable(error.to_string()))?);
        }
        Ok(installed)
    }
}

/// The families whose addresses a flow may have.
fn families(flow: &FlowQuestion) -> Vec<Family> {
    let of_end = |end: &End| match end {
        End::Address(address) => Some(Family::of(*address)),
        End::Pod(_) | End::Node(_) => None,
    };
    let asked = flow.family.map(|family| match family {
        view::Family::Ipv4 => Family::V4,
        view::Family::Ipv6 => Family::V6,
    });
    match asked.or(of_end(&flow.source)).or(of_end(&flow.destination)) {
        Some(family) => vec![family],
        None => Family::ALL.to_vec(),
    }
}

/// The interface through which the kernel reaches an endpoint.
async fn interface(endpoint: &Endpoint) -> Option<String> {
    let address = endpoint.addresses.first()?;
    lookup(*address).await.ok()??.interface
}

/// The way from here, and who told us of it.
async fn route(known: &Known, facts: &Facts, address: IpAddr) -> Option<RouteTaken> {
    let node = known.name.to_string();
    let (text, found) = match lookup(address).await {
        Ok(Some(way)) => {
            let from = learned_from(facts, address, &way).await;
            (format!("{way}{}", from.unwrap_or_default()), way.is_open)
        }
        Ok(None) => (format!("no route to {address}"), false),
        Err(error) => (format!("the kernel does not tell the route to {address}: {error}"), false),
    };
    Some(RouteTaken { node, text, found })
}

/// The peer whose route it is, if it is one of ours.
async fn learned_from(facts: &Facts, address: IpAddr, way: &Way) -> Option<String> {
    let speaker = facts.speaker.as_ref().filter(|_| way.protocol == "brindle")?;
    let look = move |view: &View<'_>| super::longest(view, &super::Own::default(), address);
    let longest = speaker.read(look).await.ok()??;
    let from = longest.paths.into_iter().next()?.from?;
    Some(format!(", learned from {from}"))
}

/// Flows that were denied after a number, of one pod or all.
fn flows(
    enforce: &EnforceHandle,
    pod: Option<&str>,
    page: &PageRequest,
) -> Result<Page<DeniedFlow>, Failure> {
    let after = match &page.after {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Failure::Invalid(format!("no such page: {text:?} is no sequence number"))
        })?,
    };
    let told = enforce.flows.after(after, page.limit);
    let is_full = told.flows.len() >= page.limit;
    let is_of = |end: &enforce::FlowEnd| {
        pod.is_none_or(|pod| end.pod.as_ref().is_some_and(|key| key.to_string() == pod))
    };
    let asked = told.flows.iter().filter(|flow| is_of(&flow.source) || is_of(&flow.destination));
    Ok(Page { items: asked.map(denied).collect(), next: is_full.then(|| told.last.to_string()) })
}

fn denied(flow: &enforce::Flow) -> DeniedFlow {
    let end = |end: &enforce::FlowEnd| FlowEnd {
        name: end.pod.as_ref().map(ToString::to_string),
        address: end.address,
        node: end.node.as_ref().map(ToString::to_string),
    };
    DeniedFlow {
        sequence: flow.number,
        outcome: match flow.outcome {
            enforce::FlowOutcome::Denied => view::FlowOutcome::Denied,
            enforce::FlowOutcome::Logged => view::FlowOutcome::Logged,
            enforce::FlowOutcome::WouldAllow => view::FlowOutcome::WouldAllow,
            enforce::FlowOutcome::WouldDeny => view::FlowOutcome::WouldDeny,
        },
        at: flow.last.into(),
        direction: flow.direction.into(),
        source: end(&flow.source),
        source_port: flow.source.port,
        destination: end(&flow.destination),
        destination_port: flow.destination.port,
        protocol: protocol(flow.protocol, flow.tcp_flags, flow.icmp),
        host_endpoint: flow.host.as_ref().map(ToString::to_string),
        policy: flow.policy.as_ref().map(PolicyId::to_string),
        rule: flow.rule,
        reason: flow.why.to_string(),
        count: flow.count,
    }
}

/// `tcp SYN`, `udp`, `icmp 8/0`, or the number.
fn protocol(number: u8, tcp_flags: Option<u8>, icmp: Option<(u8, u8)>) -> String {
    const SYN: u8 = 0x02;
    match number {
        1 | 58 => match icmp {
            Some((kind, code)) => format!("icmp {kind}/{code}"),
            None => "icmp".to_owned(),
        },
        number => match brindle_policy::Protocol::of_number(number) {
            Some(known) => {
                let syn = if tcp_flags.is_some_and(|flags| flags & SYN != 0) { " SYN" } else { "" };
                format!("{}{syn}", known.to_string().to_lowercase())
            }
            None => number.to_string(),
        },
    }
}

/// The policy half in figures.
pub(in crate::daemon) fn policy_status(enforce: &EnforceStatus) -> view::PolicyStatus {
    let ago = |at: SystemTime| at.elapsed().unwrap_or_default().as_secs();
    view::PolicyStatus {
        backend: enforce.backend.map(|backend| {
            let name = match backend {
                enforce::Backend::Nft => "iptables-nft",
                enforce::Backend::Legacy => "iptables-legacy",
            };
            name.to_owned()
        }),
        ready: enforce.ready,
        endpoints: enforce.programmed + enforce.pending.len(),
        programmed: enforce.programmed,
        pending: enforce.pending.iter().map(ToString::to_string).collect(),
        apply_p99_seconds: enforce.percentile(99).map(|latency| latency.as_secs_f64()),
        repairs: enforce.repairs,
        last_repair: enforce.last_repair.as_ref().map(|(at, _)| (*at).into()),
        last_repair_seconds: enforce.last_repair.as_ref().map(|(at, _)| ago(*at)),
        last_repair_reason: enforce.last_repair.as_ref().map(|(_, what)| what.clone()),
        unavailable: enforce.unavailable.clone(),
        failing: enforce.failing.as_ref().map(|(_, why)| why.clone()),
        failing_seconds: enforce.failing.as_ref().map(|(since, _)| ago(*since)),
        broken: enforce.broken.iter().map(|(id, _)| id.to_string()).collect(),
        host_endpoints: enforce.host_endpoints,
    }
}
