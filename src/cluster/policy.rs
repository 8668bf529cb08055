//! From a Kubernetes `NetworkPolicy` in a file to a policy that is closed wherever the file is
//! not understood: the API server would have refused it, so that nobody relies on it.

use brindle_policy::Direction;
use brindle_policy::ingest;
use brindle_policy::model::{Action, Criterion, Policy, Problem, Rule, Side};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_yaml::Value;

use super::fields::culprit;
use super::typed::{unknown, without_place};

/// The policy that `value`, an object whose namespace is filled in, stands for.
///
/// # Errors
/// If it has no usable name: nobody could tell which policy it is.
pub(super) fn read(value: &Value) -> Result<Policy, Problem> {
    let object = match NetworkPolicy::deserialize(value) {
        Ok(object) => object,
        Err(error) => {
            let field = culprit::<NetworkPolicy>(value);
            return closed(value, Problem { field, message: without_place(&error) });
        }
    };
    let mut policy = ingest::network_policy(&object)?;
    for field in unknown(&object, value) {
        distrust(&mut policy, &object, field);
    }
    policy.problems.sort();
    Ok(policy)
}

/// A policy of which nothing is understood but whom it may govern.
fn closed(value: &Value, problem: Problem) -> Result<Policy, Problem> {
    let metadata = value.get("metadata");
    let text = |key: &str| metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_str);
    let (Some(namespace), Some(name)) = (text("namespace"), text("name")) else {
        return Err(problem);
    };
    let nothing = Value::Null;
    let spec = value.get("spec").unwrap_or(&nothing);
    let subject = match spec.get("podSelector") {
        None | Some(Value::Null) => Some(LabelSelector::default()),
        // A selector with a field that it cannot have stands for more than was meant.
        Some(selector) => LabelSelector::deserialize(selector)
            .ok()
            .filter(|read| unknown(read, selector).is_empty()),
    };
    Ok(ingest::closed_network_policy(namespace, name, subject.as_ref(), &directions(spec), problem))
}

/// The directions that a `spec` is about, both where that cannot be told.
fn directions(spec: &Value) -> Vec<Direction> {
    let direction = |value: &Value| match value.as_str() {
        Some("Ingress") => Some(Direction::Ingress),
        Some("Egress") => Some(Direction::Egress),
        _ => None,
    };
    let types = match spec.get("policyTypes") {
        Some(Value::Sequence(types)) => types.iter().map(direction).collect(),
        Some(Value::Null) | None => Some(Vec::new()),
        Some(_) => None,
    };
    match types {
        Some(types) if !types.is_empty() => types,
        // policy-semantics 2.1: egress only counts with an element in it.
        Some(_) if is_empty(spec.get("egress")) && spec.is_mapping() => vec![Direction::Ingress],
        _ => Direction::ALL.to_vec(),
    }
}

fn is_empty(list: Option<&Value>) -> bool {
    match list {
        None | Some(Value::Null) => true,
        Some(Value::Sequence(items)) => items.is_empty(),
        Some(_) => false,
    }
}

/// Takes from the policy what a field that no NetworkPolicy has may have been meant to
/// restrict: left out, it would allow or govern something else than its author wrote.
fn distrust(policy: &mut Policy, object: &NetworkPolicy, field: String) {
    let types = object.spec.as_ref().and_then(|spec| spec.policy_types.as_deref());
    let follows = if let Some((direction, index)) = rule_of(&field) {
        let rules = match direction {
            Direction::Ingress => &mut policy.ingress,
            Direction::Egress => &mut policy.egress,
        };
        if let Some(rule) = rules.as_mut().and_then(|rules| rules.get_mut(index)) {
            *rule = matches_nothing(direction);
        }
        "its rule allows nothing until that is mended"
    } else if field.starts_with("spec.podSelector.") {
        let ingress = policy.ingress.iter_mut().flatten().map(|rule| (Direction::Ingress, rule));
        let egress = policy.egress.iter_mut().flatten().map(|rule| (Direction::Egress, rule));
        ingress.chain(egress).for_each(|(direction, rule)| *rule = matches_nothing(direction));
        "the policy governs all that the rest of its podSelector selects and allows nothing \
         until that is mended"
    } else if field.starts_with("spec.") && types.unwrap_or_default().is_empty() {
        // It may be a mistyped `policyTypes`.
        policy.ingress.get_or_insert_default();
        policy.egress.get_or_insert_default();
        "the policy governs both directions, as it names no policyTypes"
    } else {
        "it says nothing"
    };
    let message = format!("a NetworkPolicy has no such field; {follows}");
    policy.problems.push(Problem { field, message });
}

/// The rule that a field such as `spec.ingress[3].from[0].x` belongs to.
fn rule_of(field: &str) -> Option<(Direction, usize)> {
    let rest = field.strip_prefix("spec.")?;
    let (direction, rest) = match rest.strip_prefix("ingress[") {
        Some(rest) => (Direction::Ingress, rest),
        None => (Direction::Egress, rest.strip_prefix("egress[")?),
    };
    let (index, _) = rest.split_once(']')?;
    Some((direction, index.parse().ok()?))
}

fn matches_nothing(direction: Direction) -> Rule {
    let side = match direction {
        Direction::Ingress => Side::Source,
        Direction::Egress => Side::Destination,
    };
    let nobody = Criterion::Peer { side, any_of: Vec::new(), negated: false };
    Rule { action: Action::Allow, criteria: vec![nobody] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy `default/p` with this spec: the directions that it governs with the number of
    /// rules that can match anything, whether it governs the whole namespace, and the fields
    /// that are wrong.
    fn outline(spec: &str) -> (String, Vec<String>) {
        let text = format!("metadata: {{name: p, namespace: default}}\nspec: {spec}");
        let value: Value = serde_yaml::from_str(&text).expect("YAML");
        let policy = super::read(&value).expect("it has a name");
        let can_match = |rule: &&Rule| {
            !rule.criteria.iter().any(|criterion| match criterion {
                Criterion::Peer { any_of, .. } => any_of.is_empty(),
                Criterion::Ports { any_of, .. } => any_of.is_empty(),
                Criterion::Protocol { .. }
                | Criterion::Family(_)
                | Criterion::Icmp { .. }
                | Criterion::Service { .. } => false,
            })
        };
        let rules = |direction| match policy.rules(direction) {
            Some(rules) => format!("{direction} {}", rules.iter().filter(can_match).count()),
            None => format!("no {direction}"),
        };
        let fields = policy.problems.iter().map(|problem| problem.field.clone()).collect();
        let text = format!(
            "{}, {}, {}",
            rules(Direction::Ingress),
            rules(Direction::Egress),
            policy.subject
        );
        (text, fields)
    }

    #[test]
    fn what_is_not_understood_allows_nothing() {
        let app = "{podSelector: {matchLabels: {app: web}}, ";
        let whole = outline("{}").0.rsplit(", ").next().expect("a subject").to_owned();
        let (web, _) = outline(&format!("{app}policyTypes: [Ingress]}}"));
        let web = web.rsplit(", ").next().expect("a subject").to_owned();
        for (spec, want, fields) in [
            // Understood.
            ("{ingress: [{}]}".to_owned(), format!("ingress 1, no egress, {whole}"), vec![]),
            // A field that there is not, in a rule.
            (
                "{ingress: [{form: []}, {}], egress: [{}]}".to_owned(),
                format!("ingress 1, egress 1, {whole}"),
                vec!["spec.ingress[0].form"],
            ),
            (
                "{egress: [{to: [{podSelector: {matchLabel: {a: b}}}]}, {}]}".to_owned(),
                format!("ingress 0, egress 1, {whole}"),
                vec!["spec.egress[0].to[0].podSelector.matchLabel"],
            ),
            (
                "{ingress: [{ports: [{prt: 80}]}]}".to_owned(),
                format!("ingress 0, no egress, {whole}"),
                vec!["spec.ingress[0].ports[0].prt"],
            ),
            // In the selector: it stands for more pods than was meant.
            (
                "{podSelector: {matchLabel: {app: web}}, ingress: [{}]}".to_owned(),
                format!("ingress 0, no egress, {whole}"),
                vec!["spec.podSelector.matchLabel"],
            ),
            // Beside the rules: it may have been the types.
            (
                "{policyType: [Egress], ingress: [{}]}".to_owned(),
                format!("ingress 1, egress 0, {whole}"),
                vec!["spec.policyType"],
            ),
            (
                "{policyTypes: [Egress], newField: 1}".to_owned(),
                format!("no ingress, egress 0, {whole}"),
                vec!["spec.newField"],
            ),
            // Values of wrong types: all that can be told is whom it governs.
            (
                format!("{app}ingress: [{{from: 7}}]}}"),
                format!("ingress 0, no egress, {web}"),
                vec!["spec.ingress[0].from"],
            ),
            (
                format!("{app}ingress: [{{}}], egress: 7}}"),
                format!("ingress 0, egress 0, {web}"),
                vec!["spec.egress"],
            ),
            (
                format!("{app}policyTypes: [Egress], egress: [{{ports: {{}}}}]}}"),
                format!("no ingress, egress 0, {web}"),
                vec!["spec.egress[0].ports"],
            ),
            (
                format!("{app}policyTypes: [Egres], egress: [{{ports: {{}}}}]}}"),
                format!("ingress 0, egress 0, {web}"),
                vec!["spec.egress[0].ports"],
            ),
            (
                "{podSelector: 7, ingress: [{}]}".to_owned(),
                format!("ingress 0, no egress, {whole}"),
                vec!["spec.podSelector"],
            ),
            ("7".to_owned(), format!("ingress 0, egress 0, {whole}"), vec!["spec"]),
        ] {
            let (got, got_fields) = outline(&spec);
            assert_eq!((got.as_str(), got_fields), (want.as_str(), own(fields)), "{spec}");
        }
    }

    fn own(fields: Vec<&str>) -> Vec<String> {
        fields.into_iter().map(str::to_owned).collect()
    }
}
