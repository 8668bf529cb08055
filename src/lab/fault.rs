//! Breaks things in a lab, and mends them.

use std::time::Duration;

use anyhow::{Context, bail};
use brindle_bgp::net::Prefix;
use ipnetwork::IpNetwork;
use nix::sys::signal::Signal;

use super::plan::{Node, Plan, RACK_BRIDGE, UPLINK};
use super::process::{Condition, ProcessId};
use super::state::Lab;
use super::{build, netns};

/// What to break or mend.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Fault {
    /// Take the node's uplink down: the kernel drops its routes without a word.
    LinkDown {
        /// Which node.
        node: String,
    },
    /// Bring the uplink up again with its addresses and default route.
    LinkUp {
        /// Which node.
        node: String,
    },
    /// Kill the speaker (SIGKILL); its routes stay in the kernel.
    Kill {
        /// Which node or router.
        node: String,
    },
    /// Start the speaker if it does not run.
    Start {
        /// Which node or router.
        node: String,
    },
    /// Ask the speaker to end (SIGTERM), then start it again.
    Restart {
        /// Which node or router.
        node: String,
    },
    /// Freeze the speaker (SIGSTOP): connected, but silent.
    Stop {
        /// Which node or router.
        node: String,
    },
    /// Let a frozen speaker go on (SIGCONT).
    Cont {
        /// Which node or router.
        node: String,
    },
    /// Lose every packet between two nodes, or a node and a router.
    Partition {
        /// One of them.
        a: String,
        /// The other.
        b: String,
    },
    /// End a partition.
    Heal {
        /// One of them.
        a: String,
        /// The other.
        b: String,
    },
    /// Delete a route from the node's kernel, as somebody's script might.
    DelRoute {
        /// Which node or router.
        node: String,
        /// Which prefix.
        prefix: Prefix,
    },
}

/// Where lost packets are sent: an address of no machine.
const NOBODY: &str = "02:00:00:00:00:01";
/// Preference of the routing rules that lose packets in a router.
const RULE: u32 = 50;

/// Carries the fault out; says what was done.
///
/// # Errors
/// No such node, or the kernel refuses.
pub fn apply(lab: &mut Lab, fault: &Fault) -> anyhow::Result<String> {
    match fault {
        Fault::LinkDown { node } => {
            let node = find_node(&lab.state.plan, node)?;
            netns::ip_batch(Some(&node.namespace), &format!("link set {UPLINK} down\n"))?;
            Ok(format!("{UPLINK} of {} is down", node.name))
        }
        Fault::LinkUp { node } => link_up(lab, node),
        Fault::Kill { node } => {
            let process = running(lab, node)?;
            process.signal(Signal::SIGKILL)?;
            if !process.wait_end(Duration::from_secs(5)) {
                bail!("process {} of {node} does not end", process.pid);
            }
            Ok(format!("speaker of {node} killed (process {})", process.pid))
        }
        Fault::Start { node } => start(lab, node),
        Fault::Restart { node } => {
            if let Ok(process) = running(lab, node) {
                // a frozen one would not hear it
                process.signal(Signal::SIGTERM)?;
                process.signal(Signal::SIGCONT)?;
                if !process.wait_end(Duration::from_secs(15)) {
                    bail!("process {} of {node} does not end within 15 s of SIGTERM", process.pid);
                }
            }
            start(lab, node)
        }
        Fault::Stop { node } => {
            let process = running(lab, node)?;
            process.signal(Signal::SIGSTOP)?;
            // a thread at work in the kernel stops when it comes back from there
            if !process.wait_until(Condition::Stopped, Duration::from_secs(15)) {
                bail!("process {} of {node} does not stop within 15 s of SIGSTOP", process.pid);
            }
            Ok(format!("speaker of {node} is frozen; brindle lab fault cont {node}"))
        }
        Fault::Cont { node } => {
            let process = running(lab, node)?;
            process.signal(Signal::SIGCONT)?;
            if !process.wait_until(Condition::Running, Duration::from_secs(15)) {
                bail!("process {} of {node} does not go on within 15 s of SIGCONT", process.pid);
            }
            Ok(format!("speaker of {node} goes on"))
        }
        Fault::Partition { a, b } => partition(lab, a, b),
        Fault::Heal { a, b } => heal(lab, a, b),
        Fault::DelRoute { node, prefix } => {
            let found = super::exec::find(&lab.state.plan, node)?;
            netns::ip_batch(Some(found.namespace), &format!("route del {prefix}\n"))?;
            Ok(format!("route {prefix} deleted on {node}"))
        }
    }
}

fn link_up(lab: &Lab, name: &str) -> anyhow::Result<String> {
    let plan = &lab.state.plan;
    let node = find_node(plan, name)?;
    netns::ip_batch(Some(&node.namespace), &build::uplink_script(plan, node))?;
    // the neighbour entries that keep a pair apart went with the link
    for (a, b) in lab.state.partitions.iter().filter(|(a, b)| a == name || b == name) {
        split(plan, a, b, true)?;
    }
    Ok(format!("{UPLINK} of {name} is up, with its addresses and default route"))
}

fn start(lab: &mut Lab, name: &str) -> anyhow::Result<String> {
    if let Ok(process) = running(lab, name) {
        bail!("the speaker of {name} runs already (process {})", process.pid);
    }
    let process = build::start_speaker(lab, name)?;
    lab.state.processes.insert(name.to_owned(), process);
    lab.save()?;
    Ok(format!("speaker of {name} started (process {})", process.pid))
}

fn running(lab: &Lab, name: &str) -> anyhow::Result<ProcessId> {
    let found = super::exec::find(&lab.state.plan, name)?;
    if found.speaker != name {
        bail!("{name} is a pod and has no speaker; its node is {}", found.speaker);
    }
    let process = lab.state.processes.get(name).copied();
    process.filter(|p| p.condition() != Condition::Ended).with_context(|| {
        format!("the speaker of {name} does not run; brindle lab fault start {name}")
    })
}

fn find_node<'a>(plan: &'a Plan, name: &str) -> anyhow::Result<&'a Node> {
    plan.node(name).with_context(|| {
        let all: Vec<_> = plan.nodes.iter().map(|n| n.name.as_str()).collect();
        format!("no node \"{name}\" in this lab; there is: {}", all.join(", "))
    })
}

fn partition(lab: &mut Lab, a: &str, b: &str) -> anyhow::Result<String> {
    let pair = ordered(a, b);
    if lab.state.partitions.contains(&pair) {
        return Ok(format!("{a} and {b} are kept apart already"));
    }
    split(&lab.state.plan, a, b, true)?;
    lab.state.partitions.push(pair);
    lab.save()?;
    Ok(format!("{a} and {b} lose every packet between them; brindle lab fault heal {a} {b}"))
}

fn heal(lab: &mut Lab, a: &str, b: &str) -> anyhow::Result<String> {
    let pair = ordered(a, b);
    if !lab.state.partitions.contains(&pair) {
        bail!("{a} and {b} are not kept apart");
    }
    split(&lab.state.plan, a, b, false)?;
    lab.state.partitions.retain(|p| *p != pair);
    lab.save()?;
    Ok(format!("{a} and {b} reach each other again"))
}

fn ordered(a: &str, b: &str) -> (String, String) {
    let (a, b) = (a.to_owned(), b.to_owned());
    if a <= b { (a, b) } else { (b, a) }
}

/// One side of a partition: its namespace, the interface towards its rack, its addresses there
/// and all the addresses behind it.
struct Side<'a> {
    namespace: &'a str,
    interface: &'a str,
    rack: usize,
    addresses: &'a [IpNetwork],
    behind: Vec<String>,
}

fn side<'a>(plan: &'a Plan, name: &str) -> anyhow::Result<Side<'a>> {
    if let Some(node) = plan.node(name) {
        let own = node.ips().map(|ip| ip.to_string());
        return Ok(Side {
            namespace: &node.namespace,
            interface: UPLINK,
            rack: node.rack,
            addresses: &node.addresses,
            behind: own.chain(node.pod_cidrs.iter().map(ToString::to_string)).collect(),
        });
    }
    let index = plan.tors.iter().position(|t| t.name == name);
    let index = index.with_context(|| format!("no node or router \"{name}\" in this lab"))?;
    let tor = &plan.tors[index];
    Ok(Side {
        namespace: &tor.namespace,
        interface: RACK_BRIDGE,
        rack: index,
        addresses: &tor.addresses,
        behind: tor.ips().map(|ip| ip.to_string()).collect(),
    })
}

/// Loses (or stops losing) the packets between `a` and `b`.
fn split(plan: &Plan, a: &str, b: &str, lose: bool) -> anyhow::Result<()> {
    if a == b {
        bail!("{a} cannot be kept apart from itself");
    }
    if plan.tor(a).is_some() && plan.tor(b).is_some() {
        bail!("routers cannot be kept apart; name at least one node");
    }
    let (a, b) = (side(plan, a)?, side(plan, b)?);
    if a.rack == b.rack {
        // one wire for both: each takes the other for a machine that is not there
        for (here, there) in [(&a, &b), (&b, &a)] {
            let mut script = String::new();
            for address in there.addresses {
                let entry = format!("{} dev {}", address.ip(), here.interface);
                script += &if lose {
                    format!("neigh replace {entry} lladdr {NOBODY} nud permanent\n")
                } else {
                    format!("neigh del {entry}\n")
                };
            }
            netns::ip_batch(Some(here.namespace), &script)?;
        }
        return Ok(());
    }
    // the routers between them lose what one sends to the other
    for (here, there) in [(&a, &b), (&b, &a)] {
        let verb = if lose { "add" } else { "del" };
        let mut script = String::new();
        for from in &here.behind {
            let same = |to: &&String| to.contains(':') == from.contains(':');
            for to in there.behind.iter().filter(same) {
                script += &format!("rule {verb} pref {RULE} from {from} to {to} blackhole\n");
            }
        }
        netns::ip_batch(Some(&plan.tors[here.rack].namespace), &script)?;
    }
    Ok(())
}
