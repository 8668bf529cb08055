//! From a policy of Calico's language, or a ClusterNetworkPolicy, to one that is closed
//! wherever it is not understood: an API server would have refused it, so that nobody relies on
//! it.
//!
//! A value of a wrong type is taken out, and the rest read without it. What was taken out, and
//! what no policy has, closes what it may have restricted: its rule, or all rules.

use brindle_policy::model::{Action, HostStage, Policy, PolicyId, Problem, Rule};
use brindle_policy::{Direction, ingest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::fields::{at, culprit, remove};
use super::kind::Kind;
use super::typed::{unknown, without_place};

/// The policy that `value`, an object whose namespace is filled in, stands for. `id` says which
/// that is, if that can be told.
///
/// # Errors
/// If it has no usable name: nobody could tell which policy it is.
pub(super) fn read<T: DeserializeOwned + Serialize>(
    kind: Kind,
    id: Option<&PolicyId>,
    value: &Value,
    ingest: fn(&T) -> Result<Policy, Problem>,
) -> Result<Policy, Problem> {
    let mut readable = value.clone();
    let mut bad = None;
    let object = match T::deserialize(value) {
        Ok(object) => object,
        Err(error) => {
            let (field, message) = (culprit::<T>(value), without_place(&error));
            take_out(&mut readable, &field);
            // Without its whole spec nothing of a policy is left.
            let rest = T::deserialize(&readable).ok().filter(|_| field != "spec");
            match (rest, id) {
                (Some(object), _) => {
                    bad = Some((field, message));
                    object
                }
                // More is wrong than one value.
                (None, Some(id)) => {
                    let message = format!(
                        "{message}; the policy denies everything in every direction that it may \
                         be about, until that is mended"
                    );
                    let tier = value.get("spec").and_then(|spec| spec.get("tier"));
                    let tier = tier.and_then(Value::as_str);
                    // Its names in the API are not those of the tiers.
                    let tier = tier.filter(|_| kind != Kind::ClusterNetworkPolicy);
                    let problem = Problem { field, message };
                    return Ok(ingest::closed_policy(
                        id.clone(),
                        &directions(value),
                        tier,
                        problem,
                    ));
                }
                (None, None) => return Err(Problem { field, message }),
            }
        }
    };
    let mut policy = ingest(&object)?;
    let has_types = !is_empty(readable.get("spec").and_then(|spec| spec.get("types")));
    if let Some((field, message)) = bad {
        let follows = distrust(kind, &mut policy, has_types, &field);
        policy.problems.push(Problem { field, message: format!("{message}; {follows}") });
    }
    for field in unknown(&object, &readable) {
        let follows = distrust(kind, &mut policy, has_types, &field);
        let message = format!("a {} has no such field; {follows}", kind.name());
        policy.problems.push(Problem { field, message });
    }
    policy.problems.sort();
    Ok(policy)
}

/// Fields of a spec that say whom a policy governs, or where and when it is judged. The last two
/// are those of Kubernetes' own policies.
const RESTRICTING: [&str; 12] = [
    "tier",
    "order",
    "types",
    "doNotTrack",
    "preDNAT",
    "applyOnForward",
    "namespaceSelector",
    "serviceAccountSelector",
    "selector",
    "podSelector",
    "policyTypes",
    "stagedAction",
];

/// The same of a ClusterNetworkPolicy.
const RESTRICTING_CLUSTER: [&str; 3] = ["tier", "priority", "subject"];

/// Takes from the policy what a field that is not understood may have been meant to restrict:
/// left out, it would allow or govern something else than its author wrote. Answers what
/// follows.
fn distrust(kind: Kind, policy: &mut Policy, has_types: bool, field: &str) -> &'static str {
    const NOTHING: &str = "it says nothing";
    let Some(rest) = field.strip_prefix("spec.") else { return NOTHING };
    if let Some((direction, index, inside)) = rule_of(rest) {
        if inside.starts_with(".metadata.") || inside == ".name" || inside == ".metadata" {
            return NOTHING;
        }
        let rules = match direction {
            Direction::Ingress => &mut policy.ingress,
            Direction::Egress => &mut policy.egress,
        };
        if let Some(rule) = rules.as_mut().and_then(|rules| rules.get_mut(index)) {
            ingest::distrust_rule(rule);
        }
        return "until that is mended its rule allows nothing; one that does not allow denies \
                everything";
    }
    let name = rest.split(['.', '[']).next().unwrap_or_default();
    // They are like each other, too.
    let lists = [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")];
    let nearest = lists.into_iter().min_by_key(|(_, list)| distance(name, list));
    if let Some((direction, list)) = nearest
        && is_like(name, list)
    {
        deny(policy, direction);
        return "the policy denies everything in that direction until that is mended";
    }
    // It may be mistyped types. A ClusterNetworkPolicy has none.
    if kind != Kind::ClusterNetworkPolicy && !has_types {
        policy.ingress.get_or_insert_default();
        if policy.stage != HostStage::PreDnat {
            policy.egress.get_or_insert_default();
        }
    }
    let restricting: &[&str] = match kind {
        Kind::ClusterNetworkPolicy => &RESTRICTING_CLUSTER,
        _ => &RESTRICTING,
    };
    if name.to_lowercase().contains("selector")
        || restricting.iter().any(|known| is_like(name, known))
    {
        ingest::distrust_subject(policy);
        return "until that is mended the policy governs all that the rest of it selects, in both \
                directions if it names no types, and allows nothing";
    }
    if kind == Kind::ClusterNetworkPolicy || has_types {
        NOTHING
    } else {
        "the policy governs both directions, as it names no types"
    }
}

/// Puts a rule that denies everything in the place of all rules of a direction.
fn deny(policy: &mut Policy, direction: Direction) {
    let everything = vec![Rule { action: Action::Deny, criteria: Vec::new() }];
    match direction {
        Direction::Ingress => policy.ingress = Some(everything),
        // What is judged before the destination is translated only comes in.
        Direction::Egress if policy.stage == HostStage::PreDnat => {}
        Direction::Egress => policy.egress = Some(everything),
    }
}

/// The directions that an object names, both where that cannot be told.
fn directions(value: &Value) -> Vec<Direction> {
    let direction = |value: &Value| match value.as_str() {
        Some("Ingress") => Some(Direction::Ingress),
        Some("Egress") => Some(Direction::Egress),
        _ => None,
    };
    let types = match value.get("spec").and_then(|spec| spec.get("types")) {
        Some(Value::Sequence(types)) => types.iter().map(direction).collect(),
        _ => None,
    };
    types.filter(|types: &Vec<_>| !types.is_empty()).unwrap_or_else(|| Direction::ALL.to_vec())
}

fn is_empty(list: Option<&Value>) -> bool {
    match list {
        None | Some(Value::Null) => true,
        Some(Value::Sequence(items)) => items.is_empty(),
        Some(_) => false,
    }
}

/// Whether somebody who wrote `name` may have meant `known`.
fn is_like(name: &str, known: &str) -> bool {
    distance(name, known) <= 2
}

/// How many mistakes make the one the other.
fn distance(name: &str, known: &str) -> usize {
    strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase())
}

/// The rule that a field such as `ingress[3].source.x` of a spec belongs to, and what of the
/// path is inside of it.
fn rule_of(field: &str) -> Option<(Direction, usize, &str)> {
    let (direction, rest) = match field.strip_prefix("ingress[") {
        Some(rest) => (Direction::Ingress, rest),
        None => (Direction::Egress, field.strip_prefix("egress[")?),
    };
    let (index, inside) = rest.split_once(']')?;
    Some((direction, index.parse().ok()?, inside))
}

/// Takes out what is at a path such as `spec.ingress[3].source.x`; a whole rule leaves an empty
/// one in its place, so that the others keep theirs.
fn take_out(value: &mut Value, field: &str) {
    let mut steps: Vec<Value> = Vec::new();
    for part in field.split('.') {
        let (name, indices) = part.split_once('[').unwrap_or((part, ""));
        steps.push(name.into());
        let indices = indices.split(['[', ']']).filter(|index| !index.is_empty());
        steps.extend(indices.filter_map(|index| index.parse::<u64>().ok()).map(Value::from));
    }
    let rule = field.strip_prefix("spec.").and_then(rule_of);
    if let Some((direction, index, "")) = rule {
        let list = match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        let rules = value.get_mut("spec").and_then(|spec| spec.get_mut(list));
        if let Some(rule) = rules.and_then(|rules| rules.get_mut(index)) {
            *rule = Value::Mapping(Mapping::new());
        }
    } else if let Some((last, steps)) = steps.split_last()
        && at(value, steps).is_some()
    {
        remove(value, steps, last);
    }
}

#[cfg(test)]
mod tests {
    use brindle_policy::api::{calico, cluster};
    use brindle_policy::model::{Criterion, PolicyKind};

    use super::*;

    /// A rule in a word.
    fn word(rule: &Rule) -> String {
        let nothing =
            |one: &Criterion| matches!(one, Criterion::Peer { any_of, .. } if any_of.is_empty());
        match rule.action {
            _ if rule.criteria.iter().any(nothing) => "nothing".to_owned(),
            Action::Deny if rule.criteria.is_empty() => "DENY".to_owned(),
            action => format!("{action:?}").to_lowercase(),
        }
    }

    /// A policy `p` with this spec: its rules of each direction, whether it governs more than
    /// `app == "web"`, and the fields that are wrong.
    fn outline(kind: Kind, spec: &str) -> (String, Vec<String>) {
        let namespace = if kind.is_namespaced() { ", namespace: default" } else { "" };
        let text = format!("metadata: {{name: p{namespace}}}\nspec: {spec}");
        let value: Value = serde_yaml::from_str(&text).expect("YAML");
        let id = |kind: PolicyKind| PolicyId {
            kind,
            namespace: kind.is_namespaced().then(|| "default".into()),
            name: "p".into(),
        };
        let policy = match kind {
            Kind::CalicoNetworkPolicy => super::read::<calico::NetworkPolicy>(
                kind,
                Some(&id(PolicyKind::CalicoNetworkPolicy)),
                &value,
                ingest::network_policy_v3,
            ),
            Kind::GlobalNetworkPolicy => super::read::<calico::GlobalNetworkPolicy>(
                kind,
                Some(&id(PolicyKind::GlobalNetworkPolicy)),
                &value,
                ingest::global_network_policy,
            ),
            Kind::ClusterNetworkPolicy => super::read::<cluster::ClusterNetworkPolicy>(
                kind,
                Some(&id(PolicyKind::ClusterNetworkPolicy)),
                &value,
                ingest::cluster_network_policy,
            ),
            other => panic!("{other:?} is not tried here"),
        };
        let policy = policy.expect("it has a name");
        let rules = |direction| match policy.rules(direction) {
            Some(rules) => rules.iter().map(word).collect::<Vec<_>>().join(" "),
            None => "-".to_owned(),
        };
        let is_web = policy.subject.to_string().contains("web");
        let whom = if is_web { "web" } else { "all" };
        let fields = policy.problems.iter().map(|problem| problem.field.clone()).collect();
        let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
        (format!("{whom} in [{ingress}] out [{egress}]"), fields)
    }

    #[test]
    fn what_is_not_understood_closes_what_it_may_have_restricted() {
        use Kind::{CalicoNetworkPolicy, ClusterNetworkPolicy, GlobalNetworkPolicy};
        const ALLOW: &str = "{action: Allow, protocol: TCP}";
        const DENY: &str = "{action: Deny, protocol: TCP}";
        let web = "selector: app == 'web'";
        let subject = "subject: {pods: {podSelector: {matchLabels: {app: web}}}}";
        let admin = format!("tier: Admin, priority: 1, {subject}");
        let pods = "[{namespaces: {}}]";
        for (kind, spec, want, fields) in [
            // Understood.
            (
                CalicoNetworkPolicy,
                format!("{{{web}, ingress: [{ALLOW}, {DENY}]}}"),
                "web in [allow deny] out [-]",
                vec![],
            ),
            // A field that there is not, in rules that allow, deny and pass; a note says nothing.
            (
                CalicoNetworkPolicy,
                format!(
                    "{{{web}, ingress: [{{action: Allow, sorce: {{}}}}, {DENY}], egress: \
                     [{{action: Deny, destination: {{prts: [1]}}}}, {{action: Pass, x: 1}}]}}"
                ),
                "web in [nothing deny] out [DENY DENY]",
                vec![
                    "spec.egress[0].destination.prts",
                    "spec.egress[1].x",
                    "spec.ingress[0].sorce",
                ],
            ),
            (
                CalicoNetworkPolicy,
                format!(
                    "{{{web}, ingress: [{{action: Allow, protocol: TCP, metadata: {{x: 1}}}}]}}"
                ),
                "web in [allow] out [-]",
                vec!["spec.ingress[0].metadata.x"],
            ),
            // Values of wrong types in them.
            (
                CalicoNetworkPolicy,
                format!("{{{web}, ingress: [{{action: Allow, source: {{nets: 7}}}}, {DENY}]}}"),
                "web in [nothing deny] out [-]",
                vec!["spec.ingress[0].source.nets"],
            ),
            (
                CalicoNetworkPolicy,
                format!("{{{web}, ingress: [{ALLOW}, 7, {ALLOW}]}}"),
                "web in [allow DENY allow] out [-]",
                vec!["spec.ingress[1]", "spec.ingress[1].action"],
            ),
            // Mistyped: whom it governs, what about, and the rules themselves.
            (
                GlobalNetworkPolicy,
                format!("{{selectr: app == 'web', types: [Ingress], ingress: [{ALLOW}, {DENY}]}}"),
                "all in [nothing deny] out [-]",
                vec!["spec.selectr"],
            ),
            (
                GlobalNetworkPolicy,
                format!("{{{web}, preDnat: true, ingress: [{ALLOW}]}}"),
                "web in [nothing] out []",
                vec!["spec.preDnat"],
            ),
            (
                CalicoNetworkPolicy,
                format!("{{{web}, policyTypes: [Egress], ingress: [{ALLOW}]}}"),
                "web in [nothing] out []",
                vec!["spec.policyTypes"],
            ),
            (
                GlobalNetworkPolicy,
                format!("{{{web}, types: [Egress], ingres: [{DENY}], egress: [{ALLOW}]}}"),
                "web in [DENY] out [allow]",
                vec!["spec.ingres"],
            ),
            // Something new: it says nothing, but for the types that are not there.
            (
                GlobalNetworkPolicy,
                format!("{{{web}, newThing: 1, ingress: [{ALLOW}]}}"),
                "web in [allow] out []",
                vec!["spec.newThing"],
            ),
            (
                GlobalNetworkPolicy,
                format!("{{{web}, newThing: 1, types: [Ingress], ingress: [{ALLOW}]}}"),
                "web in [allow] out [-]",
                vec!["spec.newThing"],
            ),
            // Values of wrong types beside the rules.
            (
                GlobalNetworkPolicy,
                format!("{{selector: 7, types: [Ingress], ingress: [{ALLOW}, {DENY}]}}"),
                "all in [nothing deny] out [-]",
                vec!["spec.selector"],
            ),
            (
                GlobalNetworkPolicy,
                format!("{{{web}, types: Ingress, ingress: [{ALLOW}]}}"),
                "web in [nothing] out []",
                vec!["spec.types"],
            ),
            (
                GlobalNetworkPolicy,
                format!("{{{web}, types: [Ingress], order: first, ingress: [{ALLOW}]}}"),
                "web in [nothing] out [-]",
                vec!["spec.order"],
            ),
            (
                CalicoNetworkPolicy,
                format!("{{{web}, types: [Ingress, Egress], egress: 7, ingress: [{ALLOW}]}}"),
                "web in [allow] out [DENY]",
                vec!["spec.egress"],
            ),
            // Two of them: nothing is believed.
            (
                CalicoNetworkPolicy,
                "{selector: 7, types: [Ingress], order: first}".to_owned(),
                "all in [DENY] out [-]",
                vec!["spec"],
            ),
            (CalicoNetworkPolicy, "7".to_owned(), "all in [DENY] out [DENY]", vec!["spec"]),
            // The same of the other language, which has no types.
            (
                ClusterNetworkPolicy,
                format!(
                    "{{{admin}, ingress: [{{action: Accept, from: {pods}, x: 1}}, {{action: Deny, \
                     from: {pods}, x: 1}}, {{action: Accept, from: {pods}}}]}}"
                ),
                "web in [nothing DENY allow] out [-]",
                vec!["spec.ingress[0].x", "spec.ingress[1].x"],
            ),
            (
                ClusterNetworkPolicy,
                format!("{{{admin}, newThing: 1, ingress: [{{action: Accept, from: {pods}}}]}}"),
                "web in [allow] out [-]",
                vec!["spec.newThing"],
            ),
            (
                ClusterNetworkPolicy,
                format!("{{{admin}, ingres: [{{action: Deny, from: {pods}}}]}}"),
                "web in [DENY] out [-]",
                vec!["spec.ingres"],
            ),
        ] {
            let (got, got_fields) = outline(kind, &spec);
            assert_eq!((got.as_str(), got_fields), (want, own(fields)), "{kind:?} {spec}");
        }
    }

    fn own(fields: Vec<&str>) -> Vec<String> {
        fields.into_iter().map(str::to_owned).collect()
    }
}
