//! What would turn a verdict round.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::evaluate::{Packet, Quick, judge, sides};
use super::satisfy::{self, Steps, cost, together};
use super::view::View;
use super::{Outcome, Reason, Verdict};
use crate::model::{Action, Direction, Labels, Namespace, PodKey, PolicyId, PolicyKind, Protocol};
use crate::selector::Expr;
use crate::world::World;

/// The smallest change found that would allow a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// All of these together.
    pub steps: Vec<Step>,
    /// The rules that would match then: policy, direction, and position from 0. Egress first.
    pub rules: Vec<(PolicyId, Direction, usize)>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A label of a pod.
    PodLabel {
        /// The pod.
        pod: PodKey,
        /// The key.
        key: Arc<str>,
        /// The value that it should have; `None` if the label should go.
        value: Option<Arc<str>>,
    },
    /// A label of a namespace, which changes what all its pods may do.
    NamespaceLabel {
        /// The namespace.
        namespace: Arc<str>,
        /// The key.
        key: Arc<str>,
        /// The value that it should have; `None` if the label should go.
        value: Option<Arc<str>>,
    },
    /// Another port to go to.
    Port {
        /// The protocol.
        protocol: Protocol,
        /// The port.
        number: u16,
    },
    /// An address added to an `ipBlock` or the `nets` of a rule (or taken out of its `except`).
    Block {
        /// The policy.
        policy: PolicyId,
        /// The direction of the rule.
        direction: Direction,
        /// Its position, from 0.
        index: usize,
        /// The address.
        address: IpAddr,
    },
}

impl fmt::Display for Nearest {
    /// `would be allowed if cart-7d9 had label app=api`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.steps.iter().map(ToString::to_string).collect();
        write!(f, "would be allowed if {}", steps.join(" and "))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |f: &mut fmt::Formatter<'_>, key: &str, value: &Option<Arc<str>>| match value {
            Some(value) => write!(f, "had label {key}={value}"),
            None => write!(f, "had no label {key}"),
        };
        match self {
            Step::PodLabel { pod, key, value } => {
                write!(f, "{} ", pod.name)?;
                label(f, key, value)
            }
            Step::NamespaceLabel { namespace, key, value } => {
                write!(f, "namespace {namespace} ")?;
                label(f, key, value)
            }
            Step::Port { protocol, number } => write!(f, "it went to port {protocol} {number}"),
            Step::Block { policy, index, address, .. } => {
                let list = blocks(policy.kind);
                write!(f, "{address} were in {list} of {policy} rule {index}")
            }
        }
    }
}

/// Where rules of a kind have blocks.
fn blocks(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::NetworkPolicy | PolicyKind::StagedKubernetesNetworkPolicy => "an ipBlock",
        PolicyKind::ClusterNetworkPolicy => "the networks",
        PolicyKind::CalicoNetworkPolicy
        | PolicyKind::GlobalNetworkPolicy
        | PolicyKind::StagedNetworkPolicy
        | PolicyKind::StagedGlobalNetworkPolicy => "the nets",
    }
}

/// How many ways to open a direction are followed, and how many changes are tried out.
const MOST_WAYS: usize = 32;
const MOST_TRIED: usize = 256;
/// How many further values of a label are tried.
const MOST_VALUES: usize = 12;

/// The smallest change that would allow a packet that is denied. Each is tried out before it
/// is named: what opens one direction may close the other.
pub(super) fn nearest(view: &View<'_>, packet: &Packet<'_>, verdict: &Verdict) -> Option<Nearest> {
    search(view, packet, verdict).or_else(|| {
        // What was tried first may put a pod under policies that another value keeps it out of.
        let mut view = view.clone();
        view.further = selecting_values(&view);
        search(&view, packet, verdict)
    })
}

/// Values of labels that decide which pods policies apply to, by key.
fn selecting_values(view: &View<'_>) -> BTreeMap<Arc<str>, BTreeSet<Arc<str>>> {
    let mut values = BTreeMap::new();
    for policy in view.world.policies() {
        note_values(&policy.subject, &mut values);
    }
    values
}

fn note_values(expr: &Expr, values: &mut BTreeMap<Arc<str>, BTreeSet<Arc<str>>>) {
    match expr {
        Expr::In(key, listed) => {
            let noted = values.entry(key.name.clone()).or_default();
            let room = MOST_VALUES.saturating_sub(noted.len());
            noted.extend(listed.iter().take(room).cloned());
        }
        Expr::Not(inner) => note_values(inner, values),
        Expr::And(parts) | Expr::Or(parts) => {
            parts.iter().for_each(|part| note_values(part, values));
        }
        Expr::All | Expr::Nothing | Expr::InNamespace(_) | Expr::Has(_) | Expr::Text(..) => {}
    }
}

fn search(view: &View<'_>, packet: &Packet<'_>, verdict: &Verdict) -> Option<Nearest> {
    let ways = |direction| match verdict.of(direction).is_allowed() {
        true => vec![Steps::new()],
        false => ways(view, packet, direction),
    };
    let (egress, ingress) = (ways(Direction::Egress), ways(Direction::Ingress));
    let pairs = egress.iter().flat_map(|a| ingress.iter().filter_map(|b| together(a, b)));
    let mut changes: Vec<Steps> = pairs.collect();
    changes.sort_by(|a, b| cost(a).cmp(&cost(b)).then_with(|| a.cmp(b)));
    changes.dedup();
    changes.into_iter().take(MOST_TRIED).find_map(|steps| {
        let rules = try_out(view.world, packet, &steps)?;
        Some(Nearest { steps: steps.into_iter().collect(), rules })
    })
}

/// Ways to make some rule match that allows, or one not to match that denies; the cheapest
/// first.
fn ways(view: &View<'_>, packet: &Packet<'_>, direction: Direction) -> Vec<Steps> {
    let (own, _) = sides(direction);
    let Some(pod) = packet.end(own).endpoint else { return Vec::new() };
    let mut found = Vec::new();
    for policy in view.governing(pod, direction).iter().flat_map(|(_, policies)| policies) {
        let rules = policy.rules(direction).unwrap_or_default();
        for (index, rule) in rules.iter().enumerate() {
            match rule.action {
                Action::Allow => {
                    found.extend(satisfy::rule(view, packet, rule, (&policy.id, direction, index)));
                }
                Action::Deny => found.extend(satisfy::not_rule(view, packet, rule)),
                Action::Pass | Action::Log => {}
            }
        }
    }
    found.sort_by(|a, b| cost(a).cmp(&cost(b)).then_with(|| a.cmp(b)));
    found.dedup();
    found.truncate(MOST_WAYS);
    found
}

/// The rules that allow the packet after `steps`; `None` if it is not allowed then.
fn try_out(
    world: &World,
    packet: &Packet<'_>,
    steps: &Steps,
) -> Option<Vec<(PolicyId, Direction, usize)>> {
    let mut view = View::of(world);
    let mut packet = packet.clone();
    let set = |labels: &mut Labels, key: &Arc<str>, value: &Option<Arc<str>>| match value {
        Some(value) => drop(labels.insert(key.clone(), value.clone())),
        None => drop(labels.remove(key)),
    };
    // What is not known of a namespace is taken for what the world takes it.
    let of = |namespace: &Arc<str>| match world.namespace(namespace) {
        Some(found) => found.labels.clone(),
        None => Namespace::assumed(namespace.clone()).labels,
    };
    for step in steps {
        match step {
            Step::PodLabel { pod, key, value } => {
                let stored = || world.pod(pod).map(|pod| pod.labels.clone()).unwrap_or_default();
                set(view.pods.entry(pod.clone()).or_insert_with(stored), key, value);
                view.namespaces.entry(pod.namespace.clone()).or_insert_with(|| of(&pod.namespace));
            }
            Step::NamespaceLabel { namespace, key, value } => {
                let stored = || of(namespace);
                set(view.namespaces.entry(namespace.clone()).or_insert_with(stored), key, value);
            }
            Step::Port { protocol, number } => {
                packet.protocol = protocol.number();
                packet.destination.port = Some(*number);
            }
            Step::Block { policy, direction, index, address } => {
                let place = (policy.clone(), *direction, *index);
                view.blocks.entry(place).or_default().insert(*address);
            }
        }
    }
    let mut rules = Vec::new();
    for direction in [Direction::Egress, Direction::Ingress] {
        let judgement = judge(&view, &packet, direction, &mut Quick);
        match judgement.reason {
            _ if judgement.outcome == Outcome::Denied => return None,
            Reason::Rule { policy, direction, index } => rules.push((policy, direction, index)),
            _ => {}
        }
    }
    Some(rules)
}
