//! Kubernetes NetworkPolicies (policy-semantics 2.1).

use k8s_openapi::api::networking::v1::{
    NetworkPolicy as Object, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::labels::selector;
use super::peer::peer;
use super::port::port;
use super::{Problems, name, shown};
use crate::model::{
    Action, Criterion, DEFAULT_TIER, Direction, HostStage, Policy, PolicyId, PolicyKind,
    PolicyOrder, Problem, Rule, Side,
};
use crate::selector::{Expr, Scope};

/// What follows for rules whose direction `policyTypes` leaves out: how such a problem ends.
pub(super) const IGNORED: &str = "they have no effect";

/// The direction whose rules are ignored (K05), if that is all that `problem` is about. Such a
/// policy is as the API server takes it.
pub fn ignored_rules(problem: &Problem) -> Option<Direction> {
    let is_of = |direction: &Direction| problem.field == rules_field(*direction);
    let direction = Direction::ALL.into_iter().find(is_of)?;
    problem.message.ends_with(IGNORED).then_some(direction)
}

/// What `object` means. Its rules keep their positions: `ingress[3]` of the result is
/// `spec.ingress[3]`. What is wrong with it is in [`Policy::problems`], and allows nothing:
///
/// - A bad element of `from`, `to` or `ports` matches nothing.
/// - A bad `podSelector` is taken for all pods of the namespace, with no rules.
/// - With a bad element in `policyTypes`, a direction that no good one names is governed too,
///   with no rules.
///
/// Rules of a direction that `policyTypes` does not list are no mistake to the API server and
/// change nothing (K05), but are told as a problem of `spec.ingress` or `spec.egress`.
///
/// Fails only if it has no name.
pub fn network_policy(object: &Object) -> Result<Policy, Problem> {
    let mut problems = Problems::default();
    let name = name::name(PolicyKind::NetworkPolicy.as_str(), &object.metadata, &mut problems)?;
    let namespace = name::namespace(&object.metadata, &mut problems);
    let nothing = NetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);

    let pods = subject(&namespace, spec.pod_selector.as_ref(), &mut problems);
    let types = Types::read(spec, &mut problems);
    let mut rules = |direction| {
        let rules = rules(&typed_rules(spec, direction), direction, &namespace, &mut problems);
        match types.of(direction) {
            Governs::No => None,
            Governs::Closed => Some(Vec::new()),
            Governs::Yes if pods.is_none() => Some(Vec::new()),
            Governs::Yes => Some(rules),
        }
    };
    let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
    Ok(Policy {
        subject: pods.unwrap_or_else(|| Expr::InNamespace(namespace.clone())).into(),
        ingress,
        egress,
        problems: problems.0,
        ..empty(&namespace, &name)
    })
}

/// What stands in for a policy of which no more could be read than this: it governs
/// `directions` of the pods that `pod_selector` selects (of the whole namespace if that cannot
/// be read either) and allows nothing. `problem` says what is wrong.
pub fn closed_network_policy(
    namespace: &str,
    name: &str,
    pod_selector: Option<&LabelSelector>,
    directions: &[Direction],
    problem: Problem,
) -> Policy {
    let mut problems = Problems(vec![problem]);
    let whole = || Some(Expr::InNamespace(namespace.into()));
    let pods = pod_selector
        .map_or_else(whole, |typed| subject(namespace, Some(typed), &mut problems).or_else(whole));
    let closed = |direction| directions.contains(&direction).then(Vec::new);
    Policy {
        subject: pods.unwrap_or(Expr::All).into(),
        ingress: closed(Direction::Ingress),
        egress: closed(Direction::Egress),
        problems: problems.0,
        ..empty(namespace, name)
    }
}

fn empty(namespace: &str, name: &str) -> Policy {
    Policy {
        id: PolicyId {
            kind: PolicyKind::NetworkPolicy,
            namespace: Some(namespace.into()),
            name: name.into(),
        },
        tier: DEFAULT_TIER.into(),
        order: PolicyOrder::KUBERNETES,
        subject: Expr::Nothing.into(),
        stage: HostStage::Normal,
        staged: None,
        ingress: None,
        egress: None,
        problems: Vec::new(),
    }
}

/// A missing selector is the empty one here, unlike in peers.
fn subject(
    namespace: &str,
    typed: Option<&LabelSelector>,
    problems: &mut Problems,
) -> Option<Expr> {
    let follows = "all pods of the namespace are governed, and nothing is allowed";
    let own = match typed {
        Some(typed) => selector(typed, Scope::Own, "spec.podSelector", follows, problems)?,
        None => Expr::All,
    };
    Some(Expr::and([Expr::InNamespace(namespace.into()), own]))
}

/// Whether a policy governs a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Governs {
    No,
    Yes,
    /// It may have been meant to: governed, and no rule counts.
    Closed,
}

struct Types {
    ingress: Governs,
    egress: Governs,
}

impl Types {
    fn of(&self, direction: Direction) -> Governs {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }

    fn read(spec: &NetworkPolicySpec, problems: &mut Problems) -> Self {
        let typed = spec.policy_types.as_deref().unwrap_or_default();
        if typed.is_empty() {
            let has_egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
            let egress = if has_egress { Governs::Yes } else { Governs::No };
            return Self { ingress: Governs::Yes, egress };
        }
        let mut unknown = false;
        for (index, name) in typed.iter().enumerate() {
            if !matches!(name.as_str(), "Ingress" | "Egress") {
                unknown = true;
                problems.add(
                    format!("spec.policyTypes[{index}]"),
                    format!(
                        "{} is not a policy type; accepted are Ingress and Egress; both \
                         directions are governed, and one that is not named allows nothing",
                        shown(name)
                    ),
                );
            }
        }
        if typed.len() > 2 {
            problems.add(
                "spec.policyTypes",
                format!(
                    "{} types; accepted are at most two; what is named twice counts once",
                    typed.len()
                ),
            );
        }
        let governs = |name: &str| match typed.iter().any(|typed| typed == name) {
            true => Governs::Yes,
            false if unknown => Governs::Closed,
            false => Governs::No,
        };
        let types = Self { ingress: governs("Ingress"), egress: governs("Egress") };
        for direction in Direction::ALL {
            let count = typed_rules(spec, direction).len();
            if count > 0 && types.of(direction) == Governs::No {
                problems.add(
                    rules_field(direction),
                    format!(
                        "rules ({count}) of a direction that spec.policyTypes does not list; list \
                         it there or take them away; {IGNORED}"
                    ),
                );
            }
        }
        types
    }
}

pub(super) fn rules_field(direction: Direction) -> String {
    format!("spec.{direction}")
}

/// The two lists of a rule, each with its length as typed: empty is not the same as nothing
/// that can be understood.
type TypedRule<'o> = (&'o [NetworkPolicyPeer], &'o [NetworkPolicyPort]);

fn typed_rules(spec: &NetworkPolicySpec, direction: Direction) -> Vec<TypedRule<'_>> {
    fn list<T>(typed: &Option<Vec<T>>) -> &[T] {
        typed.as_deref().unwrap_or_default()
    }
    match direction {
        Direction::Ingress => {
            list(&spec.ingress).iter().map(|rule| (list(&rule.from), list(&rule.ports))).collect()
        }
        Direction::Egress => {
            list(&spec.egress).iter().map(|rule| (list(&rule.to), list(&rule.ports))).collect()
        }
    }
}

fn rules(
    typed: &[TypedRule<'_>],
    direction: Direction,
    namespace: &str,
    problems: &mut Problems,
) -> Vec<Rule> {
    let (side, list) = match direction {
        Direction::Ingress => (Side::Source, "from"),
        Direction::Egress => (Side::Destination, "to"),
    };
    let mut rules = Vec::with_capacity(typed.len());
    for (index, (peers, ports)) in typed.iter().enumerate() {
        let field = format!("{}[{index}]", rules_field(direction));
        let mut criteria = Vec::new();
        if !peers.is_empty() {
            let read = |(index, typed): (usize, &NetworkPolicyPeer)| {
                peer(typed, namespace, &format!("{field}.{list}[{index}]"), problems)
            };
            let any_of = peers.iter().enumerate().filter_map(read).collect();
            criteria.push(Criterion::Peer { side, any_of, negated: false });
        }
        if !ports.is_empty() {
            let read = |(index, typed): (usize, &NetworkPolicyPort)| {
                port(typed, &format!("{field}.ports[{index}]"), problems)
            };
            let any_of = ports.iter().enumerate().filter_map(read).collect();
            criteria.push(Criterion::Ports { side: Side::Destination, any_of, negated: false });
        }
        rules.push(Rule { action: Action::Allow, criteria });
    }
    rules
}
