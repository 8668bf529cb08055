//! NetworkPolicies and GlobalNetworkPolicies (policy-semantics 3.3, 3.4, 3.8, 5.2).

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::rule::rules;
use super::{list, text};
use crate::api::calico::{
    GlobalNetworkPolicy, GlobalNetworkPolicySpec, NetworkPolicy, NetworkPolicySpec, Rule as Typed,
};
use crate::ingest::doubt::{allow_nothing, distrust_subject};
use crate::ingest::network_policy::{IGNORED, rules_field};
use crate::ingest::{Problems, name, shown};
use crate::model::{
    DEFAULT_TIER, Direction, HostStage, Policy, PolicyId, PolicyKind, PolicyOrder, Problem, Rule,
    StagedAction,
};
use crate::selector::{Expr, Whose, parse_of};

/// What `object` means. Its rules keep their positions: `ingress[3]` of the result is
/// `spec.ingress[3]`. What is wrong with it is in [`Policy::problems`], and allows nothing
/// (policy-semantics 7.11):
///
/// - A bad element of a list of which one must fit stands for nothing in a rule that allows.
/// - Whatever else is bad in a rule: one that allows matches nothing, one that denies or passes
///   denies everything.
/// - With a bad selector of the policy it governs all that the other selectors mean, and allows
///   nothing.
///
/// Fails only if it has no name.
pub fn network_policy_v3(object: &NetworkPolicy) -> Result<Policy, Problem> {
    let nothing = NetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);
    policy(PolicyKind::CalicoNetworkPolicy, &object.metadata, &Body::of(spec), None)
}

/// As [`network_policy_v3`]. A combination of `doNotTrack`, `preDNAT` and `applyOnForward` that
/// there is not makes it a policy that allows nothing, too.
pub fn global_network_policy(object: &GlobalNetworkPolicy) -> Result<Policy, Problem> {
    let nothing = GlobalNetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&nothing);
    policy(PolicyKind::GlobalNetworkPolicy, &object.metadata, &Body::of_global(spec), None)
}

/// What the specs of all kinds of policies have; fields that one lacks are empty.
pub(super) struct Body<'o> {
    pub(super) tier: Option<&'o str>,
    pub(super) order: Option<f64>,
    pub(super) ingress: &'o [Typed],
    pub(super) egress: &'o [Typed],
    pub(super) selector: Option<&'o str>,
    pub(super) namespace_selector: Option<&'o str>,
    pub(super) service_account_selector: Option<&'o str>,
    pub(super) types: &'o [String],
    pub(super) do_not_track: bool,
    pub(super) pre_dnat: bool,
    pub(super) apply_on_forward: bool,
}

/// Defines how a spec is seen as a [`Body`].
macro_rules! body {
    ($spec:ident $(, $field:ident: $value:expr)*) => {
        Body {
            tier: text($spec.tier.as_ref()),
            order: $spec.order,
            ingress: list(&$spec.ingress),
            egress: list(&$spec.egress),
            selector: text($spec.selector.as_ref()),
            service_account_selector: text($spec.service_account_selector.as_ref()),
            types: list(&$spec.types),
            $($field: $value,)*
        }
    };
    (global $spec:ident) => {
        body!(
            $spec,
            namespace_selector: text($spec.namespace_selector.as_ref()),
            do_not_track: $spec.do_not_track.unwrap_or(false),
            pre_dnat: $spec.pre_dnat.unwrap_or(false),
            apply_on_forward: $spec.apply_on_forward.unwrap_or(false)
        )
    };
    (namespaced $spec:ident) => {
        body!(
            $spec,
            namespace_selector: None,
            do_not_track: false,
            pre_dnat: false,
            apply_on_forward: false
        )
    };
}
pub(super) use body;

impl<'o> Body<'o> {
    fn of(spec: &'o NetworkPolicySpec) -> Self {
        body!(namespaced spec)
    }

    fn of_global(spec: &'o GlobalNetworkPolicySpec) -> Self {
        body!(global spec)
    }

    fn rules(&self, direction: Direction) -> &'o [Typed] {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }
}

/// A policy of any of Calico's kinds.
pub(super) fn policy(
    kind: PolicyKind,
    metadata: &ObjectMeta,
    body: &Body<'_>,
    staged: Option<StagedAction>,
) -> Result<Policy, Problem> {
    let mut problems = Problems::default();
    let api_kind = kind.as_str().strip_prefix("Calico").unwrap_or(kind.as_str());
    let name = name::name(api_kind, metadata, &mut problems)?;
    let namespace = kind.is_namespaced().then(|| name::namespace(metadata, &mut problems));

    let (subject, mut is_trusted) = subject(namespace.as_ref(), body, &mut problems);
    let (stage, is_stage) = stage(body, &mut problems);
    is_trusted &= is_stage;
    let types = Types::read(body, stage, &mut problems);
    let mut rules = |direction| -> Option<Vec<Rule>> {
        let typed = body.rules(direction);
        let field = rules_field(direction);
        let mut rules = rules(typed, direction, namespace.as_ref(), &field, &mut problems);
        match types.of(direction) {
            Governs::No => None,
            Governs::Closed => {
                allow_nothing(&mut rules);
                Some(rules)
            }
            Governs::Yes => Some(rules),
        }
    };
    let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
    if body.order.is_some_and(f64::is_nan) {
        let message = "not a number; accepted are numbers; the policy is the last of its tier";
        problems.add("spec.order", message);
    }
    let mut policy = Policy {
        id: PolicyId { kind, namespace, name },
        tier: body.tier.unwrap_or(DEFAULT_TIER).into(),
        order: PolicyOrder::new(body.order),
        subject: subject.into(),
        stage,
        staged,
        ingress,
        egress,
        problems: problems.0,
    };
    if !is_trusted {
        distrust_subject(&mut policy);
    }
    Ok(policy)
}

/// The endpoints that a policy governs, and whether every selector was understood.
fn subject(namespace: Option<&Arc<str>>, body: &Body<'_>, problems: &mut Problems) -> (Expr, bool) {
    let follows = match namespace {
        Some(_) => {
            "all pods of the namespace that the rest selects are governed, and nothing is allowed"
        }
        None => "everything that the rest selects is governed, and nothing is allowed",
    };
    let mut parts = vec![namespace.map_or(Expr::All, |name| Expr::InNamespace(name.clone()))];
    let mut is_understood = true;
    for (field, typed, whose) in [
        ("spec.selector", body.selector, Whose::Endpoint),
        ("spec.namespaceSelector", body.namespace_selector, Whose::Namespace),
        ("spec.serviceAccountSelector", body.service_account_selector, Whose::ServiceAccount),
    ] {
        match typed.map(|typed| parse_of(typed, whose)).transpose() {
            Ok(expr) => parts.extend(expr),
            Err(error) => {
                is_understood = false;
                problems.add(field, format!("{error}; {follows}"));
            }
        }
    }
    (Expr::and(parts), is_understood)
}

/// Where a policy judges packets of hosts, and whether there is such a combination of fields.
fn stage(body: &Body<'_>, problems: &mut Problems) -> (HostStage, bool) {
    let mut is_sound = true;
    let mut bad = |field: &str, message: &str| {
        is_sound = false;
        problems.add(field, format!("{message}; the policy allows nothing"));
    };
    let (stage, field) = match (body.do_not_track, body.pre_dnat, body.apply_on_forward) {
        (true, true, _) => {
            bad("spec.preDNAT", "preDNAT and doNotTrack together; accepted is either");
            (HostStage::Untracked, "doNotTrack")
        }
        (true, false, _) => (HostStage::Untracked, "doNotTrack"),
        (false, true, _) => (HostStage::PreDnat, "preDNAT"),
        (false, false, true) => return (HostStage::Forward, is_sound),
        (false, false, false) => return (HostStage::Normal, is_sound),
    };
    if !body.apply_on_forward {
        let message = format!("{field} without applyOnForward; accepted is applyOnForward: true");
        bad("spec.applyOnForward", &message);
    }
    (stage, is_sound)
}

/// Whether a policy governs a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Governs {
    No,
    Yes,
    /// It may have been meant to: governed, and no rule allows.
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

    /// Policy-semantics 3.4.
    fn read(body: &Body<'_>, stage: HostStage, problems: &mut Problems) -> Self {
        let mut types = if body.types.is_empty() {
            let has = |rules: &[Typed]| !rules.is_empty();
            let governs = |is| if is { Governs::Yes } else { Governs::No };
            let ingress = has(body.ingress) || !has(body.egress);
            Self { ingress: governs(ingress), egress: governs(has(body.egress)) }
        } else {
            Self::named(body, problems)
        };
        if stage == HostStage::PreDnat && types.egress != Governs::No {
            types.egress = Governs::No;
            let message = "egress of a policy with preDNAT, which only packets that come in meet; \
                           accepted is Ingress alone";
            problems.add("spec.egress", format!("{message}; {IGNORED}"));
        }
        types
    }

    fn named(body: &Body<'_>, problems: &mut Problems) -> Self {
        let mut unknown = false;
        for (index, name) in body.types.iter().enumerate() {
            let field = format!("spec.types[{index}]");
            if !matches!(name.as_str(), "Ingress" | "Egress") {
                unknown = true;
                let message = format!(
                    "{} is not a type; accepted are Ingress and Egress; both directions are \
                     governed, and one that is not named allows nothing",
                    shown(name)
                );
                problems.add(field, message);
            } else if body.types[..index].contains(name) {
                problems.add(field, format!("{name} a second time; it counts once"));
            }
        }
        let governs = |name: &str| match body.types.iter().any(|typed| typed == name) {
            true => Governs::Yes,
            false if unknown => Governs::Closed,
            false => Governs::No,
        };
        let types = Self { ingress: governs("Ingress"), egress: governs("Egress") };
        for direction in Direction::ALL {
            let count = body.rules(direction).len();
            if count > 0 && types.of(direction) == Governs::No {
                let message = format!(
                    "rules ({count}) of a direction that spec.types does not list; list it there \
                     or take them away; {IGNORED}"
                );
                problems.add(rules_field(direction), message);
            }
        }
        types
    }
}
